//! A login leaves another tool's file for a vault that will own it. Two files that both refresh it
//! would end it for both; so it is durable in the one before it is erased from the other, and in
//! between nobody else may refresh it there. What is erased is sealed first: the object that held
//! it may hold more than its tokens.
//!
//! Interrupted anywhere, the same call once more completes it: what was taken already is taken as
//! such.

use std::collections::BTreeMap;

use lazaretto_macros::async_natively;

use crate::error::{Code, KeeperError};
use crate::lookup::{self, no_credential};
use crate::ports::{Ports, Severity};
use crate::protocol::quarantine::erase;
use crate::protocol::{Demand, HeldLease, Patience, events, freshness, lease, request};
use crate::session::{Session, uneditable};
use crate::state::fingerprint::Fingerprint;
use crate::state::ledger::{self, Standing};
use crate::state::sealed::{self, Quarantined, Removed};
use crate::vault::edit::Edits;
use crate::vault::{LOGIN, Place, Spot};

/// Hands the login of another tool's file over. `take` must have stored it durably when it returns,
/// or have found it stored.
#[async_natively]
pub(crate) async fn hand_over<P: Ports>(
    session: &Session<P>,
    from: &str,
    provider: &str,
    take: impl AsyncFnMut(&Place) -> Result<(), KeeperError>,
) -> Result<(), KeeperError> {
    let (profile, _) = lookup::profile_in(session, from, provider).await?;
    let demand = Demand {
        vault: from,
        profile: profile.clone(),
        credential: LOGIN.to_owned(),
        min_valid_ms: 0,
        refused: None,
        replaced: None,
        is_forced: false,
    };
    let (vault, credential) = freshness::find(session, &demand).await.map_err(|_| no_credential(&profile))?;
    if !vault.is_foreign() {
        let what = "it is in a vault of the same form as this one: use that one, or log in anew";
        return Err(demand.error(Code::NothingToDo, what));
    }
    let Some(token) = credential.leading().fingerprint() else {
        return Err(demand.error(Code::NothingToDo, "there is no refresh token in that file"));
    };
    let held = lease::acquire(session, &demand, Some(&token), Patience::OneRefresh).await?;
    let done = move_login(session, &demand, &token, &held, take).await;
    lease::release(session, held).await;
    done?;
    events::tell(session, &demand, "handed-over", Severity::Info, "it was taken out of its tool's own file");
    Ok(())
}

#[async_natively]
async fn move_login<P: Ports>(
    session: &Session<P>,
    demand: &Demand<'_>,
    token: &Fingerprint,
    held: &HeldLease,
    mut take: impl AsyncFnMut(&Place) -> Result<(), KeeperError>,
) -> Result<(), KeeperError> {
    let (vault, credential) = freshness::find(session, demand).await?;
    let place = credential.leading();
    if place.fingerprint().as_ref() != Some(token) {
        return Err(demand.error(Code::Busy, "its own tool has just refreshed it").after(1));
    }
    let login = vault.open().node(&demand.profile.id, Spot::Login);
    let (to, _) = request::counterpart(&demand.profile, login, None)?;
    let ledger = ledger::load(&session.ports, demand.vault).await?.ledger;
    let standing = ledger.standing(token, &to, session.ports.wall_ms());
    if !matches!(standing, Standing::Sendable(None) | Standing::Paused(_)) {
        let what = "that file's ledger says that its token is spent, refused or being sent";
        return Err(demand.error(Code::NotMovable, what));
    }
    ledger.understood()?;
    take(place).await?;
    let mut is_sealed = false;
    session
        .edit_vault(demand.vault, held.document.as_ref(), async |text| {
            let vault = session.opened(demand.vault, text)?;
            let mut places = vault.places(&demand.profile, &mut Vec::new()).into_iter();
            let is_it = |place: &Place| place.fingerprint().as_ref() == Some(token);
            let Some(place) = places.find(is_it) else { return Ok(None) };
            let Some(node) = vault.node(&demand.profile.id, place.spot) else { return Ok(None) };
            let mut edits = Edits::default();
            let values = erase(&mut edits, node, &vault.layout(&demand.profile, place.spot).erase, [])
                .map_err(|error| uneditable(&error))?;
            if !is_sealed {
                seal_moved(session, demand, token, &place, values).await?;
                is_sealed = true;
            }
            Ok(Some(edits.apply(text)))
        })
        .await
}

/// Seals what is about to be erased. It is not served from there: the login is another vault's now.
#[async_natively]
async fn seal_moved<P: Ports>(
    session: &Session<P>,
    demand: &Demand<'_>,
    token: &Fingerprint,
    place: &Place,
    values: BTreeMap<String, Option<String>>,
) -> Result<(), KeeperError> {
    let at_ms = session.ports.wall_ms();
    let entry = Quarantined {
        provider: demand.profile.id.clone(),
        credential: demand.credential.clone(),
        sealed_at_ms: at_ms,
        until_ms: at_ms.saturating_add(sealed::KEPT_MS),
        access_token: place.access_token.clone(),
        access_expires_at_ms: place.expires_at_ms,
        access_refused: true,
        removed: vec![Removed::Login { provider: demand.profile.id.clone(), values }],
    };
    sealed::update(&session.ports, demand.vault, &|sealed| {
        sealed.quarantined.insert(token.clone(), entry.clone());
    })
    .await
}
