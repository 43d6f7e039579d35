//! Step 1 of the protocol, the hot path: is there a token that is good enough, and if not, what is there to refresh.

use std::rc::Rc;

use crate::classify;
use crate::error::{Code, KeeperError};
use crate::keeper::{AccessToken, Ask, Keeper, Origin, Snapshot};
use crate::ports::{Loaded, Ports, Severity};
use crate::protocol::quarantine::explain;
use crate::provider::Profile;
use crate::secret::Secret;
use crate::sendable;
use crate::state::fingerprint::Fingerprint;
use crate::state::ledger;
use crate::state::sealed;
use crate::vault::{Credential, CredentialKind, EntryState, Place};

/// What step 1 of the protocol found.
pub(crate) enum Look {
    Serve(AccessToken),
    Due(Due),
}

/// A credential whose access token should be refreshed.
pub(crate) struct Due {
    /// The vault that it was found in.
    pub(crate) vault: Rc<Snapshot>,
    pub(crate) credential: Credential,
    /// Its access token, if it is still good enough should the refresh fail.
    pub(crate) usable: Option<AccessToken>,
    /// The token that was spent for tokens which wait in the sealed document, where its places hold none any more.
    pub(crate) spent: Option<Fingerprint>,
}

impl Due {
    /// The token that a lease is about: the one that would be sent.
    pub(crate) fn token(&self) -> Option<Fingerprint> {
        self.credential.leading().fingerprint().or_else(|| self.spent.clone())
    }

    pub(crate) fn usable_or(self, error: KeeperError) -> Result<AccessToken, KeeperError> {
        self.usable.map(|token| token.warned_by(&error)).ok_or(error)
    }
}

#[cfg_attr(target_arch = "wasm32", lazaretto_macros::synchronous)]
impl<P: Ports> Keeper<P> {
    /// Step 1 of the protocol.
    pub(crate) async fn look(&self, ask: &Ask<'_>, round: u32) -> Result<Look, KeeperError> {
        let (vault, credential) = self.found(ask).await?;
        let (now_ms, place) = (self.ports.wall_ms(), credential.leading());
        if place.state == EntryState::Dead {
            return Err(dead_entry(&ask.profile, &credential));
        }
        // What cannot be sent is as good as none, where a refresh brings another.
        let access = sendable::access_token(place.access_token.as_ref()).filter(|token| !ask.is_unwanted(token));
        let serve = |token: &Secret, origin| ask.served(token, &place.token_type, place.expires_at_ms, origin);
        let (kind, origin) = match (place.kind, round) {
            (CredentialKind::ApiKey, _) => (CredentialKind::ApiKey, Origin::ApiKey),
            (CredentialKind::OAuth, 0) => (CredentialKind::OAuth, Origin::Stored),
            (CredentialKind::OAuth, _) => (CredentialKind::OAuth, Origin::Adopted),
        };
        let in_environment = match access {
            None if kind == CredentialKind::ApiKey => self.key_in_environment(&ask.profile, place).await,
            _ => None,
        };
        let access = access.or_else(|| in_environment.as_ref().filter(|key| !ask.is_unwanted(key)));
        let Some(access) = access else {
            let can_refresh = place.refresh_token.is_some() && kind == CredentialKind::OAuth;
            return if can_refresh {
                Ok(Look::Due(Due { vault, credential, usable: None, spent: None }))
            } else {
                self.without_tokens(ask, vault, credential).await
            };
        };
        let left_ms = place.expires_at_ms.map(|at_ms| at_ms.saturating_sub(now_ms));
        let skew_ms =
            ask.profile.skew_s.saturating_mul(1_000).min(place.lifetime_ms.map_or(u64::MAX, |lifetime| lifetime / 2));
        let good = |needed_ms: u64| left_ms.is_none_or(|left| left > needed_ms);
        // An end of 0 is none that is known, and a refresh tells one.
        let is_told_end = !(place.ends_at_zero && place.refresh_token.is_some());
        if kind == CredentialKind::ApiKey
            || is_told_end && good(ask.min_valid_ms.max(self.refresh_point(skew_ms, left_ms)))
        {
            if origin == Origin::Adopted {
                self.tell(ask, "adopted", Severity::Info, "another process had refreshed it meanwhile");
            }
            return Ok(Look::Serve(serve(access, origin)?));
        }
        let usable = if good(ask.min_valid_ms) { Some(serve(access, origin)?) } else { None };
        match (&place.refresh_token, usable) {
            (None, Some(token)) => Ok(Look::Serve(token)),
            // An entry without a refresh token simply ends; a login that should have one is broken.
            (None, None)
                if !(credential.is_login() && ask.profile.issues_refresh_token)
                    || place.expires_at_ms > Some(now_ms) =>
            {
                self.without_tokens(ask, vault, credential).await
            }
            (_, usable) => Ok(Look::Due(Due { vault, credential, usable, spent: None })),
        }
    }

    /// How long before a token's end it is refreshed: within the skew, and not by every process at the same moment.
    fn refresh_point(&self, skew_ms: u64, left_ms: Option<u64>) -> u64 {
        let latest_ms = skew_ms - skew_ms / 5;
        if left_ms.is_none_or(|left| left > skew_ms || left <= latest_ms) {
            return skew_ms;
        }
        let share = self.share.get().unwrap_or_else(|| self.ports.random_u64() % 1_024);
        self.share.set(Some(share));
        skew_ms - skew_ms / 5 * share / 1_024
    }

    /// A credential with nothing to send: its new tokens may wait in the sealed document, or its access token may still
    /// be good there.
    async fn without_tokens(
        &self,
        ask: &Ask<'_>,
        vault: Rc<Snapshot>,
        mut credential: Credential,
    ) -> Result<Look, KeeperError> {
        let now_ms = self.ports.wall_ms();
        let sealed = sealed::load(&self.ports, ask.vault).await.unwrap_or_default();
        if let Some((spent, _)) = sealed.successor_for(&ask.profile.id, &ask.credential) {
            return Ok(Look::Due(Due { vault, credential, usable: None, spent: Some(spent.clone()) }));
        }
        if vault.is_foreign() {
            explain(&mut credential, &ledger::load(&self.ports, ask.vault).await?.ledger);
        }
        let place = credential.leading();
        let kept = sealed
            .quarantined
            .values()
            .filter(|entry| entry.provider == ask.profile.id && entry.credential == ask.credential && !ask.is_forced);
        for entry in kept {
            let good = entry.access_expires_at_ms.is_some_and(|at_ms| at_ms > now_ms.saturating_add(ask.min_valid_ms));
            let token = sendable::access_token(entry.access_token.as_ref()).filter(|token| !ask.is_unwanted(token));
            if let (Some(token), true, false) = (token, good, entry.access_refused) {
                let served = ask.served(token, &place.token_type, entry.access_expires_at_ms, Origin::Sealed)?;
                return Ok(Look::Serve(served.warned_by(&login_required(ask, place, now_ms))));
            }
        }
        // What is there, and is not what an API refused, is of no use to anybody.
        let there = place.access_token.as_ref().filter(|token| sendable::access_token(Some(token)).is_none());
        if let Some(_unsendable) = there.filter(|token| !ask.is_unwanted(token)) {
            let is_key = place.kind == CredentialKind::ApiKey;
            return Err(ask.unusable(if is_key { "key" } else { "access token" }));
        }
        Err(login_required(ask, place, now_ms))
    }

    /// The key of an entry that only names the environment variable it is in: the reference keeps such keys out of its file. It is a
    /// variable of its provider's, or anyone who can write a vault could have any other secret sent to that provider.
    pub(crate) async fn key_in_environment(&self, profile: &Profile, place: &Place) -> Option<Secret> {
        let variable = place.source.strip_prefix("env:").filter(|_| place.is_in_environment())?;
        if !profile.environment.iter().any(|allowed| allowed == variable) {
            return None;
        }
        let name = format!("env/{}", variable.to_ascii_lowercase());
        match self.ports.load(&name, None).await {
            Ok(Loaded::Found(document)) if !document.text.is_empty() => Some(document.text),
            _ => None,
        }
    }

    /// The credential that an ask is about, as the vault has it now, and that vault.
    pub(crate) async fn found(&self, ask: &Ask<'_>) -> Result<(Rc<Snapshot>, Credential), KeeperError> {
        let vault = self.vault(ask.vault).await?;
        let reading = vault.reading(&ask.profile)?;
        let credential = reading.credentials.iter().find(|credential| credential.id() == ask.credential).cloned();
        let credential = credential.ok_or_else(|| ask.error(Code::NoCredential, "it is not in the vault any more"))?;
        Ok((vault, credential))
    }
}

fn login_required(ask: &Ask<'_>, place: &Place, now_ms: u64) -> KeeperError {
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
    not_usable(&ask.profile, &ask.credential, place, &why)
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
