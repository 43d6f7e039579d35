//! A login leaves another tool's file for a vault that will own it. Two files that both refresh it would end it for both; so it is
//! durable in the one before it is erased from the other, and in between nobody else may refresh it there.
//!
//! Interrupted anywhere, the same call once more completes it: what was taken already is taken as such.

use crate::error::{Action, KeeperError};
use crate::fingerprint::Fingerprint;
use crate::keeper::{Ask, Keeper, no_credential};
use crate::lease::{Held, Patience};
use crate::ledger::{self, Standing};
use crate::ports::{Ports, Severity};
use crate::quarantine::erase;
use crate::request;
use crate::vault::edit::Edits;
use crate::vault::{LOGIN, Place, Spot, Vault};

#[cfg_attr(target_arch = "wasm32", lazaret_macros::synchronous)]
impl<P: Ports> Keeper<P> {
    /// Hands the login of another tool's file over. `take` must have stored it durably when it returns, or have found it stored.
    pub async fn hand_over(
        &self,
        from: &str,
        provider: &str,
        take: impl AsyncFnMut(&Place) -> Result<(), KeeperError>,
    ) -> Result<(), KeeperError> {
        let (profile, _) = self.profile_in(from, provider).await?;
        let ask = Ask {
            vault: from,
            profile: profile.clone(),
            credential: LOGIN.to_owned(),
            min_valid_ms: 0,
            refused: None,
            replaced: None,
            is_forced: false,
        };
        let (vault, credential) = self.found(&ask).await.map_err(|_| no_credential(&profile))?;
        if !vault.is_foreign() {
            let what = "it is in a vault of the same form as this one: use that one, or log in anew";
            return Err(ask.error("nothing-to-do", Action::Usage, what));
        }
        let Some(token) = credential.leading().fingerprint() else {
            return Err(ask.error("nothing-to-do", Action::Usage, "there is no refresh token in that file"));
        };
        let held = self.lease(&ask, Some(&token), Patience::OneRefresh).await?;
        let done = self.move_out(&ask, &token, &held, take).await;
        self.give_back(held).await;
        done?;
        self.tell(&ask, "handed-over", Severity::Info, "it was taken out of its tool's own file");
        Ok(())
    }
    async fn move_out(
        &self,
        ask: &Ask<'_>,
        token: &Fingerprint,
        held: &Held,
        mut take: impl AsyncFnMut(&Place) -> Result<(), KeeperError>,
    ) -> Result<(), KeeperError> {
        let (vault, credential) = self.found(ask).await?;
        let place = credential.leading();
        if place.fingerprint().as_ref() != Some(token) {
            return Err(ask.error("busy", Action::Retry, "its own tool has just refreshed it").after(1));
        }
        let login = vault.open()?.node(&ask.profile.id, Spot::Login);
        let (to, _) = request::counterpart(&ask.profile, login).map_err(|error| self.bad_profile(&error))?;
        let ledger = ledger::load(&self.ports, ask.vault).await?.ledger;
        let standing = ledger.standing(token, &to, self.ports.wall_ms());
        if !matches!(standing, Standing::Sendable(None) | Standing::Paused(_)) {
            let what = "that file's ledger says that its token is spent, refused or being sent";
            return Err(ask.error("in-doubt", Action::Inspect, what));
        }
        ledger.understood()?;
        take(place).await?;
        self.edit_vault(ask.vault, held.document.as_ref(), async |text| {
            let vault = Vault::open(text).map_err(|error| self.corrupt(&error))?;
            let mut places = vault.places(&ask.profile, &mut Vec::new()).into_iter();
            let is_it = |place: &Place| place.fingerprint().as_ref() == Some(token);
            let Some(place) = places.find(is_it) else { return Ok(None) };
            let Some(node) = vault.node(&ask.profile.id, place.spot) else { return Ok(None) };
            let mut edits = Edits::default();
            erase(&mut edits, node, &vault.layout(&ask.profile, place.spot).erase, [])
                .map_err(|error| self.uneditable(&error))?;
            Ok(Some(edits.apply(text)))
        })
        .await
    }
}
