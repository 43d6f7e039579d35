//! Step 1 of the protocol, the hot path: is there a token that is good enough, and if not, what is
//! there to refresh.

use std::rc::Rc;

use lazaretto_macros::async_natively;

use crate::error::{Code, KeeperError};
use crate::ports::{Loaded, Ports, Severity};
use crate::protocol::why_ended::{dead_entry, explain, login_required};
use crate::protocol::{Demand, Due, Freshness, events};
use crate::provider::Profile;
use crate::secret::Secret;
use crate::sendable;
use crate::session::{Session, Snapshot};
use crate::state::{ledger, sealed};
use crate::token::Origin;
use crate::vault::{Credential, CredentialKind, EntryState, Place};

/// Step 1 of the protocol.
#[async_natively]
pub(crate) async fn look<P: Ports>(
    session: &Session<P>,
    demand: &Demand<'_>,
    round: u32,
) -> Result<Freshness, KeeperError> {
    let (vault, credential) = find(session, demand).await?;
    let (now_ms, place) = (session.ports.wall_ms(), credential.leading());
    if place.state == EntryState::Dead {
        return Err(dead_entry(&demand.profile, &credential));
    }
    // What cannot be sent is as good as none, where a refresh brings another.
    let access = sendable::access_token(place.access_token.as_ref()).filter(|token| !demand.is_unwanted(token));
    let serve = |token: &Secret, origin| demand.served(token, &place.token_type, place.expires_at_ms, origin);
    let (kind, origin) = match (place.kind, round) {
        (CredentialKind::ApiKey, _) => (CredentialKind::ApiKey, Origin::ApiKey),
        (CredentialKind::OAuth, 0) => (CredentialKind::OAuth, Origin::Stored),
        (CredentialKind::OAuth, _) => (CredentialKind::OAuth, Origin::Adopted),
    };
    let in_environment = match access {
        None if kind == CredentialKind::ApiKey => key_in_environment(session, &demand.profile, place).await,
        _ => None,
    };
    let access = access.or_else(|| in_environment.as_ref().filter(|key| !demand.is_unwanted(key)));
    let Some(access) = access else {
        let can_refresh = place.refresh_token.is_some() && kind == CredentialKind::OAuth;
        return if can_refresh {
            Ok(Freshness::Due(Due { vault, credential, usable: None, spent: None }))
        } else {
            look_in_sealed(session, demand, vault, credential).await
        };
    };
    let left_ms = place.expires_at_ms.map(|at_ms| at_ms.saturating_sub(now_ms));
    let skew_ms =
        demand.profile.skew_s.saturating_mul(1_000).min(place.lifetime_ms.map_or(u64::MAX, |lifetime| lifetime / 2));
    let good = |needed_ms: u64| left_ms.is_none_or(|left| left > needed_ms);
    // An end of 0 is none that is known, and a refresh tells one.
    let is_told_end = !(place.ends_at_zero && place.refresh_token.is_some());
    if kind == CredentialKind::ApiKey
        || is_told_end && good(demand.min_valid_ms.max(refresh_point(session, skew_ms, left_ms)))
    {
        if origin == Origin::Adopted {
            events::tell(session, demand, "adopted", Severity::Info, "another process had refreshed it meanwhile");
        }
        return Ok(Freshness::Serve(serve(access, origin)?));
    }
    let usable = if good(demand.min_valid_ms) { Some(serve(access, origin)?) } else { None };
    match (&place.refresh_token, usable) {
        (None, Some(token)) => Ok(Freshness::Serve(token)),
        // An entry without a refresh token simply ends; a login that should have one is broken.
        (None, None)
            if !(credential.is_login() && demand.profile.issues_refresh_token)
                || place.expires_at_ms > Some(now_ms) =>
        {
            look_in_sealed(session, demand, vault, credential).await
        }
        (_, usable) => Ok(Freshness::Due(Due { vault, credential, usable, spent: None })),
    }
}

/// How long before a token's end it is refreshed: within the skew, and not by every process at the
/// same moment.
fn refresh_point<P: Ports>(session: &Session<P>, skew_ms: u64, left_ms: Option<u64>) -> u64 {
    let latest_ms = skew_ms - skew_ms / 5;
    if left_ms.is_none_or(|left| left > skew_ms || left <= latest_ms) {
        return skew_ms;
    }
    let share = session.share.get().unwrap_or_else(|| session.ports.random_u64() % 1_024);
    session.share.set(Some(share));
    skew_ms - skew_ms / 5 * share / 1_024
}

/// A credential with nothing to send: its new tokens may wait in the sealed document, or its access
/// token may still be good there.
#[async_natively]
async fn look_in_sealed<P: Ports>(
    session: &Session<P>,
    demand: &Demand<'_>,
    vault: Rc<Snapshot>,
    mut credential: Credential,
) -> Result<Freshness, KeeperError> {
    let now_ms = session.ports.wall_ms();
    let sealed = sealed::load(&session.ports, demand.vault).await.unwrap_or_default();
    if let Some((spent, _)) = sealed.successor_for(&demand.profile.id, &demand.credential) {
        return Ok(Freshness::Due(Due { vault, credential, usable: None, spent: Some(spent.clone()) }));
    }
    if vault.is_foreign() {
        explain(&mut credential, &ledger::load(&session.ports, demand.vault).await?.ledger);
    }
    let place = credential.leading();
    let kept = sealed.quarantined.values().filter(|entry| {
        entry.provider == demand.profile.id && entry.credential == demand.credential && !demand.is_forced
    });
    for entry in kept {
        let good = entry.access_expires_at_ms.is_some_and(|at_ms| at_ms > now_ms.saturating_add(demand.min_valid_ms));
        let token = sendable::access_token(entry.access_token.as_ref()).filter(|token| !demand.is_unwanted(token));
        if let (Some(token), true, false) = (token, good, entry.access_refused) {
            let served = demand.served(token, &place.token_type, entry.access_expires_at_ms, Origin::Sealed)?;
            return Ok(Freshness::Serve(served.warned_by(&login_required(demand, place, now_ms))));
        }
    }
    // What is there, and is not what an API refused, is of no use to anybody.
    let there = place.access_token.as_ref().filter(|token| sendable::access_token(Some(token)).is_none());
    if let Some(_unsendable) = there.filter(|token| !demand.is_unwanted(token)) {
        let is_key = place.kind == CredentialKind::ApiKey;
        return Err(demand.unusable(if is_key { "key" } else { "access token" }));
    }
    Err(login_required(demand, place, now_ms))
}

/// The key of an entry that only names the environment variable it is in: the reference keeps such
/// keys out of its file. It is a variable of its provider's, or anyone who can write a vault could
/// have any other secret sent to that provider.
#[async_natively]
pub(crate) async fn key_in_environment<P: Ports>(
    session: &Session<P>,
    profile: &Profile,
    place: &Place,
) -> Option<Secret> {
    let variable = place.source.strip_prefix("env:").filter(|_| place.is_in_environment())?;
    if !profile.environment.iter().any(|allowed| allowed == variable) {
        return None;
    }
    let name = format!("env/{}", variable.to_ascii_lowercase());
    match session.ports.load(&name, None).await {
        Ok(Loaded::Found(document)) if !document.text.is_empty() => Some(document.text),
        _ => None,
    }
}

/// The credential that an ask is about, as the vault has it now, and that vault.
#[async_natively]
pub(crate) async fn find<P: Ports>(
    session: &Session<P>,
    demand: &Demand<'_>,
) -> Result<(Rc<Snapshot>, Credential), KeeperError> {
    let vault = session.vault(demand.vault).await?;
    let reading = vault.reading(&demand.profile)?;
    let credential = reading.credentials.iter().find(|credential| credential.id() == demand.credential).cloned();
    let credential = credential.ok_or_else(|| demand.error(Code::NoCredential, "it is not in the vault any more"))?;
    Ok((vault, credential))
}
