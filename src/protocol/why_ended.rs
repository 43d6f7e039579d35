//! What ended a login: read from its place in the vault, or from the ledger where that place cannot
//! say it.

use crate::classify;
use crate::error::{Code, KeeperError};
use crate::protocol::Demand;
use crate::provider::Profile;
use crate::state::ledger::Ledger;
use crate::vault::{Credential, LastError, Place, Spot};

/// Says why a login was emptied whose place cannot say it: by what the ledger knows of its
/// provider's last end.
pub(crate) fn explain(credential: &mut Credential, ledger: &Ledger) {
    let provider = &credential.provider;
    let Some(login) = credential.places.first_mut().filter(|place| place.spot == Spot::Login && place.is_empty())
    else {
        return;
    };
    let ends = ledger.tokens.values().filter(|record| record.provider == *provider);
    let last = ends.filter_map(|record| record.tombstone()).max_by_key(|tombstone| tombstone.at_ms);
    login.last_error = last.map(|tombstone| LastError {
        code: tombstone.code.clone(),
        message: tombstone.summary.clone(),
        reason: tombstone.reason.clone(),
        at_ms: Some(tombstone.at_ms),
    });
}

pub(crate) fn login_required(demand: &Demand<'_>, place: &Place, now_ms: u64) -> KeeperError {
    let has_access_token = place.access_token.is_some() && place.refresh_token.is_none();
    let left_ms = place.expires_at_ms.map(|at_ms| at_ms.saturating_sub(now_ms));
    let why = match left_ms.filter(|_| has_access_token) {
        Some(0) => "it has no refresh token, and its access token has expired".to_owned(),
        Some(left_ms) => {
            let left_s = left_ms.div_ceil(1_000);
            format!("it has no refresh token, so it cannot be refreshed; its access token ends in {left_s} s")
        }
        None if has_access_token => "it has no refresh token, so it cannot be refreshed".to_owned(),
        None => "it holds no token that could be used or refreshed".to_owned(),
    };
    not_usable(&demand.profile, &demand.credential, place, &why)
}

/// That a person must log in: what ended it, or `why`.
fn not_usable(profile: &Profile, credential: &str, place: &Place, why: &str) -> KeeperError {
    let why = match &place.last_error {
        Some(error) if error.message.contains(&error.code) => {
            format!("its login ended ({})", classify::in_brackets(&error.message))
        }
        Some(error) if !error.message.is_empty() => {
            format!("its login ended ({}: {})", error.code, classify::in_brackets(&error.message))
        }
        Some(error) if error.code.is_empty() => "its login ended".to_owned(),
        Some(error) => format!("its login ended ({})", error.code),
        None => why.to_owned(),
    };
    let code = if place.last_error.is_some() { Code::Quarantined } else { Code::LoginRequired };
    let what = format!("{} ({credential}): {why}", profile.id);
    KeeperError::new(code, what).of(&profile.id, credential)
}

/// What is said of an entry that is marked as dead.
pub(crate) fn dead_entry(profile: &Profile, credential: &Credential) -> KeeperError {
    let mut error = not_usable(profile, credential.id(), credential.leading(), "it is marked as dead");
    error.code = Code::Quarantined;
    error
}
