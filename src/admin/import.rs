//! The logins of another tool's file come into a vault: taken out of there, or copied, and then both files refresh them.

use lazaretto_macros::async_natively;

use crate::admin::add::{self, More, NewCredential};
use crate::admin::hand_over;
use crate::error::{Code, KeeperError};
use crate::ports::Ports;
use crate::provider::Profile;
use crate::secret::Secret;
use crate::session::Session;
use crate::state::fingerprint::Fingerprint;
use crate::state::ledger::{self, State};
use crate::status::{self, CredentialStatus};
use crate::vault::{CredentialKind, Place};

/// Brings what `from` holds, of one provider or all, into a vault. Keys stay where they are too: they do not rotate.
#[async_natively]
pub(crate) async fn import<P: Ports>(
    session: &Session<P>,
    vault: &str,
    from: &str,
    provider: Option<&str>,
    is_move: bool,
) -> Result<Vec<CredentialStatus>, KeeperError> {
    let mut brought = Vec::new();
    let named = match provider {
        Some(name) => Some(session.profile(name).await?.id.clone()),
        None => {
            session.load_profiles().await?;
            None
        }
    };
    let file = session.vault(from).await?;
    let mut logins = file.open().providers();
    logins.retain(|id| named.as_ref().is_none_or(|named| named == id));
    for id in &logins {
        let profile = session.profile_or_generic(id)?;
        for credential in &file.reading(&profile)?.credentials {
            let place = credential.leading();
            if place.is_empty() {
                continue;
            }
            if is_move && place.kind == CredentialKind::OAuth {
                if !file.is_foreign() {
                    return Err(of_same_form(id, credential.id()));
                }
                let take = async |place: &Place| import_one(session, vault, &profile, place).await;
                hand_over::hand_over(session, from, id, take).await?;
            } else {
                import_one(session, vault, &profile, place).await?;
            }
            brought.push(id.clone());
        }
    }
    if brought.is_empty() {
        let whose = named.map_or_else(String::new, |id| format!(" of {id}"));
        let what = format!("there is no login and no key{whose} in that file to bring");
        return Err(KeeperError::new(Code::NothingToDo, what));
    }
    let report = status::status(session, vault, None).await?;
    Ok(report.credentials.into_iter().filter(|status| brought.contains(&status.provider)).collect())
}

/// Stores a place's tokens durably in a vault, unless they or their descendants are there already.
#[async_natively]
async fn import_one<P: Ports>(
    session: &Session<P>,
    vault: &str,
    profile: &Profile,
    place: &Place,
) -> Result<(), KeeperError> {
    let ledger = ledger::load(&session.ports, vault).await?.ledger;
    let token = place.refresh_token.as_ref().map(|token| Fingerprint::of(token.expose()));
    let record = token.as_ref().and_then(|token| ledger.tokens.get(token));
    // It was taken in before, and refreshed here since.
    if record.is_some_and(|record| matches!(record.state, State::Spent { .. })) {
        return Ok(());
    }
    let left_ms = place.expires_at_ms.map(|at_ms| at_ms.saturating_sub(session.ports.wall_ms()));
    let new = NewCredential {
        vault: vault.to_owned(),
        provider: profile.id.clone(),
        label: None,
        kind: Some(if place.kind == CredentialKind::OAuth { "oauth" } else { "api-key" }.to_owned()),
        access_token: place.access_token.clone().unwrap_or_else(|| Secret::new("")),
        refresh_token: place.refresh_token.clone(),
        expires_in_s: left_ms.filter(|_| place.kind == CredentialKind::OAuth).map(|left_ms| left_ms / 1_000),
        more: More::default(),
    };
    match add::add(session, &new).await {
        Err(error) if error.code == Code::NothingToDo => Ok(()),
        added => added.map(drop),
    }
}

fn of_same_form(provider: &str, credential: &str) -> KeeperError {
    let what =
        "that file is a vault of the same form as this one, and no login is moved out of it: use the file as it is";
    let message = format!("{provider} ({credential}): {what}");
    KeeperError::new(Code::NothingToDo, message).of(provider, credential)
}
