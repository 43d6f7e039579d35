//! Every credential as a person wants to see it. Reads only.

use lazaretto_macros::async_natively;

use crate::error::{Code, KeeperError};
use crate::lookup::no_credential;
use crate::next_step::{self, Reach};
use crate::pool::{self, Resting};
use crate::ports::{Ports, Scope};
use crate::protocol::why_ended::explain;
use crate::protocol::{freshness, request};
use crate::provider::{Field, Profile, Source};
use crate::session::Session;
use crate::state::fingerprint::Fingerprint;
use crate::state::ledger::{self, Intent, Pause, Read, Standing, Until};
use crate::state::sealed::{self, Sealed};
use crate::vault::{Credential, CredentialKind, EntryState, LOGIN, LastError, Place, Spot, Vault};
use crate::visible::visible_line;
use crate::{classify, did_you_mean, jwt, sendable};

/// How often a vault is read whose exchanges end meanwhile.
const MOST_READS: u32 = 3;

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
    pub usable: Usable,
    pub renewal: Renewal,
    pub refreshing_by: Option<String>,
    pub refreshing_since_ms: Option<u64>,
    pub account: Option<String>,
    pub expires_at_ms: Option<u64>,
    pub retry_at_ms: Option<u64>,
    pub sealed_until_ms: Option<u64>,
    pub last_error: Option<LastError>,
    pub note: Option<String>,
    pub todo: Option<String>,
}

/// Whether a credential can be used now: `credential-status.usable` in the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "wit/keeper.wit documents them")]
pub enum Usable {
    Yes,
    Expiring,
    Expired,
    Unknown,
    No,
}

/// Whether a credential will be refreshed: `credential-status.renewal` in the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "wit/keeper.wit documents them")]
pub enum Renewal {
    Ok,
    Refreshing,
    InDoubt,
    Paused,
    NeedsLogin,
    NeedsConfiguration,
    Quarantined,
    Dead,
    None,
}

impl Usable {
    /// The word in the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::Expiring => "expiring",
            Self::Expired => "expired",
            Self::Unknown => "unknown",
            Self::No => "no",
        }
    }
}

impl Renewal {
    /// The word in the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Refreshing => "refreshing",
            Self::InDoubt => "in-doubt",
            Self::Paused => "paused",
            Self::NeedsLogin => "needs-login",
            Self::NeedsConfiguration => "needs-configuration",
            Self::Quarantined => "quarantined",
            Self::Dead => "dead",
            Self::None => "none",
        }
    }
}

/// Every credential, and what could not be read.
#[derive(Clone, Debug, Default)]
pub struct StatusReport {
    /// In the order in which they would be picked.
    pub credentials: Vec<CredentialStatus>,
    /// For a person.
    pub warnings: Vec<String>,
}

/// Every credential of a vault, or of one provider. Reads only.
#[async_natively]
pub(crate) async fn status<P: Ports>(
    session: &Session<P>,
    vault: &str,
    provider: Option<&str>,
) -> Result<StatusReport, KeeperError> {
    let mut reads = 1;
    loop {
        let (report, is_overtaken) = read_status(session, vault, provider).await?;
        if !is_overtaken || reads == MOST_READS {
            return Ok(report);
        }
        reads += 1;
    }
}

/// The same, and whether an exchange that was in flight ended while it was read: then it mixes before and after.
#[async_natively]
async fn read_status<P: Ports>(
    session: &Session<P>,
    vault: &str,
    provider: Option<&str>,
) -> Result<(StatusReport, bool), KeeperError> {
    session.load_profiles().await?;
    let snapshot = match session.vault(vault).await {
        Err(error) if error.code == Code::NoCredential => {
            if let Some(name) = provider {
                did_you_mean::check_known(session, &session.profile(name).await?.id, name, None).map_err(mistyped)?;
            }
            return Err(error);
        }
        found => found?,
    };
    let opened = snapshot.open();
    let mut report = StatusReport::default();
    let mut is_overtaken = false;
    let Read { ledger, version } = ledger::load(&session.ports, vault).await.unwrap_or_else(|error| {
        report.warnings.push(error.message.clone());
        Read::default()
    });
    let sealed = sealed::load(&session.ports, vault).await.unwrap_or_else(|error| {
        report.warnings.push(error.message.clone());
        Sealed::default()
    });
    let pools = pool::load(session, vault).await;
    let wanted = match provider {
        Some(name) => {
            let id = session.profile(name).await?.id.clone();
            // Who asks for what nobody knows has mistyped it: nothing has to be configured for that.
            did_you_mean::check_known(session, &id, name, Some(&*snapshot)).map_err(mistyped)?;
            Some(id)
        }
        None => None,
    };
    let reach = next_step::reach(session, vault).await;
    for id in opened.providers() {
        if wanted.as_ref().is_some_and(|wanted| *wanted != id) {
            continue;
        }
        let profile = session.profile_or_generic(&id)?;
        report.warnings.extend(profile.wrong.as_ref().map(|error| visible_line(&error.0)));
        let reading = snapshot.reading(&profile)?;
        report.warnings.extend(reading.warnings.iter().map(|warning| visible_line(warning)));
        let policy = session.settings(vault).await?.pool(&id)?;
        let is_sole = pool::is_sole(&reading.credentials);
        let login = opened.node(&id, Spot::Login);
        let to = request::counterpart(&profile, login, None).ok().map(|(to, _)| to);
        let login_step = next_step::login_step(session, &reach, vault, &profile);
        for credential in &reading.credentials {
            let mut explained = None;
            if snapshot.is_foreign() {
                explain(explained.insert(credential.clone()), &ledger);
            }
            let credential = explained.as_ref().unwrap_or(credential);
            let key = freshness::key_in_environment(session, &profile, credential.leading()).await;
            let in_environment = sendable::access_token(key.as_ref()).is_some();
            let rest = pool::resting(credential, pools.pool(&id), is_sole, &policy, session.ports.wall_ms());
            let token = credential.leading().fingerprint();
            let known = token.as_ref().zip(to.as_ref());
            let standing = known.map(|(token, to)| ledger.standing(token, to, session.ports.wall_ms()));
            let refreshing = match (&token, &standing) {
                (Some(token), Some(Standing::Sendable(Some(intent)))) => {
                    let refreshing = refreshing(session, vault, token, intent).await;
                    is_overtaken |= refreshing.is_none() && ledger::has_changed(&session.ports, vault, &version).await;
                    refreshing
                }
                _ => None,
            };
            let facts = Facts {
                profile: &profile,
                credential,
                standing,
                refreshing,
                rest,
                in_environment,
                sealed_until_ms: sealed_until_ms(session, &sealed, &profile.id, credential.id()),
                now_ms: session.ports.wall_ms(),
            };
            let mut status = facts.status(&login_step, &reach);
            status.account = account(&opened, &profile, credential);
            report.credentials.push(status);
        }
    }
    report.warnings.extend(ledger.understood().err().map(|error| error.message.clone()));
    Ok((report, is_overtaken))
}

/// Who is sending a token whose intent is open: whoever holds the lease on its grant. None: nobody is, so an answer was lost.
#[async_natively]
async fn refreshing<P: Ports>(
    session: &Session<P>,
    vault: &str,
    token: &Fingerprint,
    intent: &Intent,
) -> Option<Refreshing> {
    let scope = Scope::Grant { document: vault.to_owned(), fingerprint: token.as_str().to_owned() };
    // A host that cannot tell leaves it in doubt, which the next call clears up.
    let holder = session.ports.holder_of(&scope).await.ok().flatten()?;
    let by = Some(visible_line(&holder.name)).filter(|name| !name.is_empty());
    Some(Refreshing { by, since_ms: holder.since_ms.unwrap_or(intent.sent_at_ms) })
}

#[async_natively]
pub(crate) async fn status_of<P: Ports>(
    session: &Session<P>,
    vault: &str,
    profile: &Profile,
    credential: &str,
) -> Result<CredentialStatus, KeeperError> {
    let report = status(session, vault, Some(&profile.id)).await?;
    report.credentials.into_iter().find(|status| status.credential == credential).ok_or_else(|| no_credential(profile))
}

/// Until when the latest quarantine of a credential can be undone.
fn sealed_until_ms<P: Ports>(session: &Session<P>, sealed: &Sealed, provider: &str, credential: &str) -> Option<u64> {
    let now_ms = session.ports.wall_ms();
    let of_it = sealed
        .quarantined
        .values()
        .filter(|entry| entry.provider == provider && entry.credential == credential && now_ms < entry.until_ms);
    of_it.map(|entry| entry.until_ms).max()
}

fn mistyped(mut error: KeeperError) -> KeeperError {
    error.code = Code::UnknownCredential;
    error
}

/// Who is refreshing a credential now, and since when.
struct Refreshing {
    by: Option<String>,
    since_ms: u64,
}

/// All that is known of one credential.
struct Facts<'a> {
    profile: &'a Profile,
    credential: &'a Credential,
    /// What the ledger says of its refresh token.
    standing: Option<Standing<'a>>,
    refreshing: Option<Refreshing>,
    rest: Option<Resting>,
    in_environment: bool,
    sealed_until_ms: Option<u64>,
    now_ms: u64,
}

/// What follows from the facts.
struct Judged {
    /// The one word of 0.1.0.
    state: &'static str,
    renewal: Renewal,
    /// Whether an access token that lies there may be used.
    may_be_used: bool,
    retry_at_ms: Option<u64>,
    last_error: Option<LastError>,
    note: Option<String>,
    todo: Option<String>,
}

impl Judged {
    fn new(state: &'static str, renewal: Renewal) -> Self {
        Self { state, renewal, may_be_used: true, retry_at_ms: None, last_error: None, note: None, todo: None }
    }

    /// What can neither be used nor refreshed before a command was run.
    fn ended(state: &'static str, renewal: Renewal, todo: &str) -> Self {
        Self { may_be_used: false, ..Self::new(state, renewal) }.helped_by(todo)
    }

    fn helped_by(mut self, command: &str) -> Self {
        self.todo = Some(command.to_owned());
        self
    }

    fn noted(mut self, why: impl Into<String>) -> Self {
        self.note = Some(why.into());
        self
    }
}

impl Facts<'_> {
    fn status(&self, login: &str, reach: &Reach) -> CredentialStatus {
        let (credential, place) = (self.credential, self.credential.leading());
        let judged = self.judged(login, reach);
        let last_error =
            judged.last_error.or_else(|| credential.places.iter().find_map(|place| place.last_error.clone()));
        let is_well = matches!(judged.state, "valid" | "expiring");
        CredentialStatus {
            provider: self.profile.id.clone(),
            credential: credential.id().to_owned(),
            label: place.label.clone(),
            source: if credential.is_login() { LOGIN.to_owned() } else { place.source.clone() },
            kind: place.kind,
            state: judged.state,
            usable: if judged.may_be_used { self.usable() } else { Usable::No },
            renewal: judged.renewal,
            refreshing_by: self.refreshing.as_ref().and_then(|refreshing| refreshing.by.clone()),
            refreshing_since_ms: self.refreshing.as_ref().map(|refreshing| refreshing.since_ms),
            account: None,
            expires_at_ms: place.expires_at_ms.filter(|_| place.access_token.is_some()),
            retry_at_ms: judged.retry_at_ms,
            sealed_until_ms: self.sealed_until_ms,
            last_error: last_error.filter(|_| !is_well).map(shown),
            note: judged.note.map(|note| visible_line(&note)),
            todo: judged.todo.map(|todo| visible_line(&todo)),
        }
    }

    fn cannot_be_sent(&self) -> bool {
        let token = self.credential.leading().access_token.as_ref();
        token.is_some() && sendable::access_token(token).is_none()
    }

    /// Whether the access token or key can be used now, whatever becomes of its refresh.
    fn usable(&self) -> Usable {
        let place = self.credential.leading();
        let is_there = place.access_token.is_some() && !self.cannot_be_sent() || self.in_environment;
        let can_refresh = place.refresh_token.is_some();
        let skew_ms = self.profile.skew_s.saturating_mul(1_000);
        match (place.kind, place.expires_at_ms) {
            _ if !is_there && can_refresh => Usable::Expired,
            _ if !is_there => Usable::No,
            (CredentialKind::ApiKey, _) => Usable::Yes,
            (_, None) if place.ends_at_zero && can_refresh => Usable::Expiring,
            (_, None) => Usable::Unknown,
            (_, Some(at_ms)) if at_ms <= self.now_ms => Usable::Expired,
            (_, Some(at_ms)) if at_ms - self.now_ms <= skew_ms => Usable::Expiring,
            _ => Usable::Yes,
        }
    }

    fn judged(&self, login: &str, reach: &Reach) -> Judged {
        let (credential, place) = (self.credential, self.credential.leading());
        let has_error = credential.places.iter().any(|place| place.last_error.is_some());
        let is_quarantined = self.sealed_until_ms.is_some() || has_error && credential.is_login();
        let cannot_carry = |token| !request::can_carry(self.profile, token);
        let unsendable = "its token cannot be sent: it holds white space, a control character or a letter beyond ASCII";
        match &self.standing {
            _ if place.state == EntryState::Dead => Judged::ended("dead", Renewal::Dead, login),
            _ if self.cannot_be_sent() && place.refresh_token.is_none() => {
                Judged::ended("unusable", Renewal::NeedsLogin, login).noted(unsendable)
            }
            _ if place.refresh_token.as_ref().is_some_and(cannot_carry) => {
                Judged::ended("unusable", Renewal::NeedsLogin, login).noted(unsendable)
            }
            _ if place.is_empty() && is_quarantined => Judged::ended("quarantined", Renewal::Quarantined, login),
            _ if place.is_empty() && place.kind == CredentialKind::ApiKey && !self.in_environment => {
                let add = reach.about("add", &self.profile.id, LOGIN);
                Judged::ended("unusable", Renewal::None, &add)
                    .noted(format!("its key is not in the vault: {}", place.source))
            }
            _ if place.is_empty() && !self.in_environment => Judged::ended("no-token", Renewal::NeedsLogin, login),
            Some(Standing::Dead(tombstone)) => Judged {
                last_error: Some(LastError {
                    code: tombstone.code.clone(),
                    message: tombstone.summary.clone(),
                    reason: "re-seeded".into(),
                    at_ms: Some(tombstone.at_ms),
                }),
                ..Judged::new("dead", Renewal::Dead)
            }
            .helped_by(login),
            Some(Standing::Paused(pause)) => self.paused(pause, login, reach),
            Some(Standing::Sendable(Some(_))) if self.refreshing.is_some() => {
                Judged::new("refreshing", Renewal::Refreshing)
            }
            Some(Standing::Sendable(Some(_))) => Judged::new("in-doubt", Renewal::InDoubt)
                .noted("no answer tells what became of its last refresh; the next call asks once more"),
            _ => self.standing_well(login),
        }
    }

    fn paused(&self, pause: &Pause, login: &str, reach: &Reach) -> Judged {
        let judged = match pause.until {
            Until::Time(until_ms) => {
                Judged { retry_at_ms: Some(until_ms), ..Judged::new("cooling-down", Renewal::Paused) }
            }
            Until::Change { .. } if pause.needs_login() => Judged::new("held", Renewal::NeedsLogin).helped_by(login),
            Until::Change { .. } => Judged::new("held", Renewal::NeedsConfiguration).helped_by(&reach.about(
                "providers",
                &self.profile.id,
                LOGIN,
            )),
            Until::Operator => Judged::new("parked", Renewal::Paused).helped_by(&reach.about(
                "reset",
                &self.profile.id,
                self.credential.id(),
            )),
        };
        let last_error = Some(LastError {
            code: pause.code.clone(),
            message: pause.summary.clone(),
            reason: "refresh-failed".into(),
            at_ms: Some(pause.at_ms),
        });
        Judged { last_error, ..judged }
    }

    /// Nothing in the ledger is against it: what an API said, and the clock.
    fn standing_well(&self, login: &str) -> Judged {
        let place = self.credential.leading();
        let can_refresh = place.refresh_token.is_some();
        let renewal = if can_refresh { Renewal::Ok } else { Renewal::None };
        let state = match (&self.rest, place.kind, self.usable()) {
            (Some(Resting { until_ms: None, why }), ..) => {
                let last_error = Some(LastError {
                    code: "access-refused".into(),
                    message: why.clone(),
                    reason: String::new(),
                    at_ms: None,
                });
                return Judged { last_error, ..Judged::ended("refused", Renewal::NeedsLogin, login) };
            }
            (Some(rest), ..) => {
                let judged = Judged::new("cooling-down", renewal).noted(rest.why.clone());
                return Judged { retry_at_ms: rest.until_ms, may_be_used: false, ..judged };
            }
            (_, CredentialKind::ApiKey, _) => "key",
            (_, _, Usable::Expired) if !can_refresh => return Judged::ended("no-token", Renewal::NeedsLogin, login),
            (_, _, Usable::Expired | Usable::No) => "expired",
            (_, _, Usable::Unknown) => "unknown-expiry",
            (_, _, Usable::Expiring) => "expiring",
            (_, _, Usable::Yes) => "valid",
        };
        let judged = Judged::new(state, renewal);
        match place.kind {
            CredentialKind::OAuth if !can_refresh => {
                judged.noted("it has no refresh token: a person must log in when it ends")
            }
            _ => judged,
        }
    }
}

/// An error as it is shown: the state says the verdict already.
fn shown(error: LastError) -> LastError {
    let message = classify::in_brackets(&error.message);
    LastError { message, ..error }.on_one_line()
}

/// Whose a credential is, by what its tokens claim.
fn account(vault: &Vault<'_>, profile: &Profile, credential: &Credential) -> Option<String> {
    let of_access = |place: &Place| place.access_token.as_ref().and_then(|token| jwt::owner(token.expose()));
    let of_id = |place: &Place| {
        let layout = vault.layout(profile, place.spot);
        let is_id = |(_, source): &(_, &Source)| matches!(source, Source::Field(Field::IdToken));
        // An entry that a person added has it where the reference writes one.
        let pointer = layout.write.iter().find(is_id).map_or("/id_token", |(pointer, _)| pointer.as_str());
        jwt::owner(&vault.node(&profile.id, place.spot)?.pointer(pointer)?.as_str()?)
    };
    let mut places = credential.places.iter();
    places.find_map(|place| of_id(place).or_else(|| of_access(place))).map(|account| visible_line(&account))
}
