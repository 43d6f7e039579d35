//! The exported use cases of `wit/keeper.wit` and `wit/pool.wit`, and nothing else. Each call is complete in itself.

use lazaretto_macros::async_natively;

use crate::error::{Code, KeeperError};
use crate::lookup::{candidates, profile_in};
use crate::next_step;
use crate::pool::{self, Advice, ApiCall};
use crate::ports::Ports;
use crate::protocol::{Demand, refresh, save_unsaved, unquarantine};
use crate::secret::Secret;
use crate::session::Session;
use crate::state::fingerprint::Fingerprint;
use crate::state::ledger;
use crate::status::{self, CredentialStatus, StatusReport};
use crate::vault::{Credential, CredentialKind};

pub use crate::token::{AccessToken, Origin, TokenRequest};

/// Keeps the credentials of any number of vaults.
pub struct Keeper<P> {
    session: Session<P>,
}

#[async_natively]
impl<P: Ports> Keeper<P> {
    /// Makes a keeper that reaches the world through these ports.
    pub fn new(ports: P) -> Self {
        Self { session: Session::new(ports) }
    }

    /// Returns an access token that is valid as asked, refreshed if need be.
    pub async fn token(&self, request: &TokenRequest) -> Result<AccessToken, KeeperError> {
        pool::token(&self.session, request).await
    }

    /// Another access token than the one named as refused, or than the one found now.
    pub async fn refresh(&self, request: &TokenRequest) -> Result<AccessToken, KeeperError> {
        let (profile, reading) = profile_in(&self.session, &request.vault, &request.provider).await?;
        let named = request.credential.as_deref();
        let candidates = candidates(&reading, &profile, named)?;
        let mut refreshable = candidates.filter(|credential| credential.leading().kind == CredentialKind::OAuth);
        // What is dead has nothing to refresh; if all are, the first says so.
        let first = refreshable.clone().next();
        let credential =
            refreshable.find(|credential| credential.leading().refresh_token.is_some()).or(first).ok_or_else(|| {
                KeeperError::new(Code::NothingToDo, format!("{}: only keys, and keys are not refreshed", profile.id))
                    .of(&profile.id, named.unwrap_or_default())
            })?;
        let is_forced = request.refused_access_token.is_none();
        let demand = Demand {
            vault: &request.vault,
            profile: profile.clone(),
            credential: credential.id().to_owned(),
            min_valid_ms: request.min_valid_s.saturating_mul(1_000),
            refused: request.refused_access_token.clone(),
            replaced: credential.leading().access_token.clone().filter(|_| is_forced),
            is_forced,
        };
        refresh::ensure(&self.session, &demand).await
    }

    /// Puts a quarantined credential back as it was.
    pub async fn unquarantine(
        &self,
        vault: &str,
        provider: &str,
        credential: Option<&str>,
    ) -> Result<CredentialStatus, KeeperError> {
        let (profile, _) = profile_in(&self.session, vault, provider).await?;
        let restored = unquarantine::restore(&self.session, vault, &profile, credential).await?;
        status::status_of(&self.session, vault, &profile, &restored).await
    }

    /// Ends a cooldown, a hold, a park or a rest. Tombstones stay.
    pub async fn reset(
        &self,
        vault: &str,
        provider: &str,
        credential: Option<&str>,
    ) -> Result<CredentialStatus, KeeperError> {
        let (profile, reading) = profile_in(&self.session, vault, provider).await?;
        let tokens: Vec<(Fingerprint, String)> = candidates(&reading, &profile, credential)?
            .flat_map(|found| {
                found.places.iter().filter_map(|place| Some((place.fingerprint()?, found.id().to_owned())))
            })
            .collect();
        let ledger = ledger::load(&self.session.ports, vault).await?.ledger;
        let is_paused = |token: &Fingerprint| ledger.tokens.get(token).is_some_and(|record| record.pause.is_some());
        let paused = tokens.iter().find(|(token, _)| is_paused(token));
        ledger.understood()?;
        let found: Vec<&Credential> = candidates(&reading, &profile, credential)?.collect();
        let rested = pool::end_rests(&self.session, vault, &profile, &found).await?;
        let first = found.first().filter(|_| rested).map(|found| found.id());
        let Some(id) = paused.map(|(_, id)| id.as_str()).or(first) else {
            let what = format!("{}: nothing of it is cooling down, held, parked or resting", profile.id);
            return Err(KeeperError::new(Code::NothingToDo, what));
        };
        if paused.is_none() {
            return status::status_of(&self.session, vault, &profile, id).await;
        }
        ledger::update(&self.session.ports, vault, true, None, &|ledger| {
            for (token, _) in &tokens {
                if let Some(record) = ledger.tokens.get_mut(token) {
                    record.pause = None;
                }
            }
        })
        .await?;
        status::status_of(&self.session, vault, &profile, id).await
    }

    /// Returns every credential of a vault, or of one provider. Reads only.
    pub async fn status(&self, vault: &str, provider: Option<&str>) -> Result<StatusReport, KeeperError> {
        status::status(&self.session, vault, provider).await
    }

    /// Stores what [`AccessToken::unsaved`] held.
    pub async fn save_unsaved(&self, unsaved: &Secret) -> Result<(), KeeperError> {
        save_unsaved::save_unsaved(&self.session, unsaved).await
    }

    /// Returns the origins that the profiles name.
    pub async fn origins(&self) -> Result<Vec<String>, KeeperError> {
        self.session.origins().await
    }

    /// Judges what an API answered to an access token, and returns what the caller does next.
    pub async fn report(&self, call: &ApiCall) -> Result<Advice, KeeperError> {
        pool::report(&self.session, call).await
    }

    /// Ends one use of a credential that a pick counted.
    pub async fn end_use(&self, vault: &str, provider: &str, credential: &str) -> Result<(), KeeperError> {
        pool::end_use(&self.session, vault, provider, credential).await
    }

    /// Returns the error with the command that helps.
    pub async fn advised(&self, vault: &str, provider: Option<&str>, error: KeeperError) -> KeeperError {
        next_step::advise(&self.session, vault, provider, error).await
    }

    /// Returns the command that ends what a token's warning is about.
    pub async fn advised_of(&self, vault: &str, token: &AccessToken) -> Option<String> {
        next_step::advise_of(&self.session, vault, token).await
    }
}
