//! A login leaves another tool's file for a vault that will own it. Two files that both refresh it would end it for both; so it is
//! durable in the one before it is erased from the other, and in between nobody else may refresh it there. What is erased is sealed
//! first: the object that held it may hold more than its tokens.
//!
//! Interrupted anywhere, the same call once more completes it: what was taken already is taken as such.

use crate::error::{Code, KeeperError};
use crate::keeper::{Ask, Keeper, no_credential};
use crate::ports::{Ports, Severity};
use crate::protocol::lease::{Held, Patience};
use crate::protocol::quarantine::erase;
use crate::protocol::request;
use crate::state::fingerprint::Fingerprint;
use crate::state::ledger::{self, Standing};
use crate::state::sealed::{self, Quarantined, Removed};
use crate::vault::edit::Edits;
use crate::vault::{LOGIN, Place, Spot};
use std::collections::BTreeMap;

#[cfg_attr(target_arch = "wasm32", lazaretto_macros::synchronous)]
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
            return Err(ask.error(Code::NothingToDo, what));
        }
        let Some(token) = credential.leading().fingerprint() else {
            return Err(ask.error(Code::NothingToDo, "there is no refresh token in that file"));
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
            return Err(ask.error(Code::Busy, "its own tool has just refreshed it").after(1));
        }
        let login = vault.open().node(&ask.profile.id, Spot::Login);
        let (to, _) = request::counterpart(&ask.profile, login, None)?;
        let ledger = ledger::load(&self.ports, ask.vault).await?.ledger;
        let standing = ledger.standing(token, &to, self.ports.wall_ms());
        if !matches!(standing, Standing::Sendable(None) | Standing::Paused(_)) {
            let what = "that file's ledger says that its token is spent, refused or being sent";
            return Err(ask.error(Code::NotMovable, what));
        }
        ledger.understood()?;
        take(place).await?;
        let mut is_sealed = false;
        self.edit_vault(ask.vault, held.document.as_ref(), async |text| {
            let vault = self.opened(ask.vault, text)?;
            let mut places = vault.places(&ask.profile, &mut Vec::new()).into_iter();
            let is_it = |place: &Place| place.fingerprint().as_ref() == Some(token);
            let Some(place) = places.find(is_it) else { return Ok(None) };
            let Some(node) = vault.node(&ask.profile.id, place.spot) else { return Ok(None) };
            let mut edits = Edits::default();
            let values = erase(&mut edits, node, &vault.layout(&ask.profile, place.spot).erase, [])
                .map_err(|error| self.uneditable(&error))?;
            if !is_sealed {
                self.seal_moved(ask, token, &place, values).await?;
                is_sealed = true;
            }
            Ok(Some(edits.apply(text)))
        })
        .await
    }

    /// Seals what is about to be erased. It is not served from there: the login is another vault's now.
    async fn seal_moved(
        &self,
        ask: &Ask<'_>,
        token: &Fingerprint,
        place: &Place,
        values: BTreeMap<String, Option<String>>,
    ) -> Result<(), KeeperError> {
        let at_ms = self.ports.wall_ms();
        let entry = Quarantined {
            provider: ask.profile.id.clone(),
            credential: ask.credential.clone(),
            sealed_at_ms: at_ms,
            until_ms: at_ms.saturating_add(sealed::KEPT_MS),
            access_token: place.access_token.clone(),
            access_expires_at_ms: place.expires_at_ms,
            access_refused: true,
            removed: vec![Removed::Login { provider: ask.profile.id.clone(), values }],
        };
        sealed::update(&self.ports, ask.vault, &|sealed| {
            sealed.quarantined.insert(token.clone(), entry.clone());
        })
        .await
    }
}
