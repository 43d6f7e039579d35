//! Every credential as a person wants to see it. Reads only.

use crate::error::KeeperError;
use crate::keeper::{Keeper, no_credential};
use crate::ledger::{self, Counterpart, Ledger, Standing, Until};
use crate::pool::{self, Resting};
use crate::ports::Ports;
use crate::provider::Profile;
use crate::quarantine::explain;
use crate::request;
use crate::sealed::{self, Sealed};
use crate::sendable;
use crate::text;
use crate::vault::{Credential, CredentialKind, EntryState, LOGIN, LastError, Spot};

/// One credential, as a person wants to see it: `credential-status` in the contract.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "wit/keeper.wit documents them")]
pub struct CredentialStatus {
    pub provider: String,
    pub credential: String,
    pub label: String,
    pub source: String,
    pub kind: CredentialKind,
    pub state: &'static str,
    pub expires_at_ms: Option<u64>,
    pub retry_at_ms: Option<u64>,
    pub sealed_until_ms: Option<u64>,
    pub last_error: Option<LastError>,
    pub todo: Option<String>,
}

/// Every credential, and what could not be read.
#[derive(Clone, Debug, Default)]
pub struct StatusReport {
    /// In the order in which they would be picked.
    pub credentials: Vec<CredentialStatus>,
    /// For a person.
    pub warnings: Vec<String>,
}

#[cfg_attr(target_arch = "wasm32", lazaret_macros::synchronous)]
impl<P: Ports> Keeper<P> {
    /// Every credential of a vault, or of one provider. Reads only.
    pub async fn status(&self, vault: &str, provider: Option<&str>) -> Result<StatusReport, KeeperError> {
        self.load_profiles().await?;
        let snapshot = self.vault(vault).await?;
        let opened = snapshot.open()?;
        let mut report = StatusReport::default();
        let ledger = ledger::load(&self.ports, vault).await.map(|read| read.ledger).unwrap_or_else(|error| {
            report.warnings.push(error.message.clone());
            Ledger::default()
        });
        let sealed = sealed::load(&self.ports, vault).await.unwrap_or_else(|error| {
            report.warnings.push(error.message.clone());
            Sealed::default()
        });
        let pools = self.pool_state(vault).await;
        let wanted = match provider {
            Some(name) => Some(self.profile(name).await?.id.clone()),
            None => None,
        };
        for id in opened.providers() {
            if wanted.as_ref().is_some_and(|wanted| *wanted != id) {
                continue;
            }
            let profile = self.profile_for(&snapshot, &id)?;
            report.warnings.extend(profile.wrong.as_ref().map(|error| text::line(&error.0)));
            let reading = snapshot.reading(&profile)?;
            report.warnings.extend(reading.warnings.iter().map(|warning| text::line(warning)));
            let policy = self.settings(vault).await?.pool(&id)?;
            let is_sole = pool::is_sole(&reading.credentials);
            let login = opened.node(&id, Spot::Login);
            let to = request::counterpart(&profile, login).ok().map(|(to, _)| to);
            for credential in &reading.credentials {
                let mut explained = None;
                if snapshot.is_foreign() {
                    explain(explained.insert(credential.clone()), &ledger);
                }
                let credential = explained.as_ref().unwrap_or(credential);
                let key = self.key_in_environment(&profile, credential.leading()).await;
                let in_environment = sendable::access_token(key.as_ref()).is_some();
                let rest = pool::resting(credential, pools.pool(&id), is_sole, &policy, self.ports.wall_ms());
                report.credentials.push(self.credential_status(
                    &profile,
                    credential,
                    to.as_ref(),
                    rest,
                    in_environment,
                    &ledger,
                    &sealed,
                ));
            }
        }
        report.warnings.extend(ledger.understood().err().map(|error| error.message.clone()));
        Ok(report)
    }

    pub(crate) async fn status_of(
        &self,
        vault: &str,
        profile: &Profile,
        credential: &str,
    ) -> Result<CredentialStatus, KeeperError> {
        let report = self.status(vault, Some(&profile.id)).await?;
        report
            .credentials
            .into_iter()
            .find(|status| status.credential == credential)
            .ok_or_else(|| no_credential(profile))
    }

    #[allow(clippy::too_many_arguments, reason = "all that is known of one credential")]
    fn credential_status(
        &self,
        profile: &Profile,
        credential: &Credential,
        to: Option<&Counterpart>,
        rest: Option<Resting>,
        in_environment: bool,
        ledger: &Ledger,
        sealed: &Sealed,
    ) -> CredentialStatus {
        let (now_ms, place) = (self.ports.wall_ms(), credential.leading());
        let token = place.fingerprint();
        let standing = token.as_ref().zip(to).map(|(token, to)| ledger.standing(token, to, now_ms));
        let sealed_until_ms = sealed
            .quarantined
            .values()
            .filter(|entry| {
                entry.provider == profile.id && entry.credential == credential.id() && now_ms < entry.until_ms
            })
            .map(|entry| entry.until_ms)
            .max();
        let mut last_error = credential.places.iter().find_map(|place| place.last_error.clone());
        let mut retry_at_ms = None;
        let relogin = || Some(format!("log in again: {}", profile.login_hint));
        let reset = || Some(format!("lazaret reset {}", profile.id));
        let cannot_be_sent =
            place.access_token.is_some() && sendable::access_token(place.access_token.as_ref()).is_none();
        let mend = || Some(format!("log in again, or put the right token there: {}", profile.login_hint));
        let (state, todo) = match standing {
            _ if place.state == EntryState::Dead => ("dead", relogin()),
            _ if cannot_be_sent && place.refresh_token.is_none() => ("unusable", mend()),
            _ if place.refresh_token.as_ref().is_some_and(|token| !request::can_carry(profile, token)) => {
                ("unusable", mend())
            }
            _ if place.is_empty() && sealed_until_ms.is_some() => ("quarantined", relogin()),
            _ if place.is_empty() && last_error.is_some() && credential.is_login() => ("quarantined", relogin()),
            _ if place.is_empty() && place.kind == CredentialKind::ApiKey && !in_environment => {
                ("unusable", Some(format!("its key is not in the vault: {}", place.source)))
            }
            _ if place.is_empty() && !in_environment => ("no-token", relogin()),
            Some(Standing::Dead(tombstone)) => {
                last_error = Some(LastError {
                    code: tombstone.code.clone(),
                    message: tombstone.summary.clone(),
                    reason: "re-seeded".into(),
                    at_ms: Some(tombstone.at_ms),
                });
                ("dead", relogin())
            }
            Some(Standing::Paused(pause)) => {
                last_error = Some(LastError {
                    code: pause.code.clone(),
                    message: pause.summary.clone(),
                    reason: "refresh-failed".into(),
                    at_ms: Some(pause.at_ms),
                });
                match pause.until {
                    Until::Time(until_ms) => {
                        retry_at_ms = Some(until_ms);
                        ("cooling-down", None)
                    }
                    Until::Change { .. } => ("held", reset()),
                    Until::Operator => ("parked", reset()),
                }
            }
            Some(Standing::Sendable(Some(_))) => ("in-doubt", None),
            _ => match (rest, place.kind, place.expires_at_ms) {
                (Some(Resting { until_ms: None, why }), ..) => {
                    last_error = Some(LastError {
                        code: "access-refused".into(),
                        message: why,
                        reason: String::new(),
                        at_ms: None,
                    });
                    ("refused", relogin())
                }
                (Some(rest), ..) => {
                    retry_at_ms = rest.until_ms;
                    ("cooling-down", None)
                }
                (_, CredentialKind::ApiKey, _) => ("key", None),
                _ if cannot_be_sent => ("expired", None),
                (_, _, None) if place.ends_at_zero && place.refresh_token.is_some() => ("expiring", None),
                (_, _, None) => ("unknown-expiry", None),
                (_, _, Some(at_ms)) if at_ms <= now_ms && place.refresh_token.is_none() => ("no-token", relogin()),
                (_, _, Some(at_ms)) if at_ms <= now_ms => ("expired", None),
                (_, _, Some(at_ms)) if at_ms - now_ms <= profile.skew_s.saturating_mul(1_000) => ("expiring", None),
                _ => ("valid", None),
            },
        };
        CredentialStatus {
            provider: profile.id.clone(),
            credential: credential.id().to_owned(),
            label: place.label.clone(),
            source: if credential.is_login() { LOGIN.to_owned() } else { place.source.clone() },
            kind: place.kind,
            state,
            expires_at_ms: place.expires_at_ms.filter(|_| place.access_token.is_some()),
            retry_at_ms,
            sealed_until_ms,
            last_error: last_error.filter(|_| !matches!(state, "valid" | "expiring")).map(LastError::on_one_line),
            todo: todo.map(|todo| text::line(&todo)),
        }
    }
}
