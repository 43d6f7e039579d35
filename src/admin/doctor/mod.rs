//! A vault is looked over: what is wrong, or soon will be, and the command that mends it. Reads
//! only; no secret is in any of it.
//!
//! | question | file |
//! |---|---|
//! | can the documents be read, and do they fit together | `documents` |
//! | may what lies in the vault be used | `tokens` |
//! | is it written as it should be | `entries`, and `spelling` for names |
//! | can every profile be used | `profiles` |
//! | do the servers answer | `servers` |
//! | what becomes of all that was found | `findings` |
//!
//! What the next `token`, `refresh` or `login` needs is looked at, and [`Keeper::status`] is
//! believed where it has an answer already.

mod codes;
mod documents;
mod entries;
mod findings;
mod profiles;
mod servers;
mod spelling;
mod tokens;

use std::rc::Rc;

use findings::{Findings, Help};
use lazaretto_macros::async_natively;

use crate::error::{Code, KeeperError};
use crate::next_step::{self, Reach, shell_word};
use crate::ports::Ports;
use crate::protocol::request;
use crate::provider::Profile;
use crate::session::{Session, Snapshot};
use crate::state::ledger::Counterpart;
use crate::status::{self, CredentialStatus, Renewal, Usable};
use crate::vault::{Credential, CredentialKind, LOGIN, Reading, Spot, Vault};

pub use codes::FindingCode;

/// The clocks of two machines, or of a machine and a server, may differ by so much.
const CLOCK_ALLOWANCE_MS: u64 = 300_000;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be, or good to know.
    Ok,
    /// It works, and somebody should look at it.
    Warning,
    /// It does not work, or will end a login.
    Error,
}

impl Level {
    /// The word in the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How much it matters.
    pub level: Level,
    /// The open set of `wit/admin.wit`.
    pub code: FindingCode,
    /// What and where, for a person.
    pub message: String,
    /// The profile's id, if it is about one provider.
    pub provider: Option<String>,
    /// An entry's id, or `login`.
    pub credential: Option<String>,
    /// The command that mends it, in any order with the others and run twice.
    pub fix: Option<String>,
    /// Another way, which deletes or risks something.
    pub alternative: Option<String>,
}

/// What a vault holds of one provider.
struct ProviderView {
    profile: Rc<Profile>,
    reading: Reading,
    /// Whom its refreshes go to; none if no profile says.
    to: Option<Counterpart>,
    /// By which a person logs in, or learns why that cannot be.
    login: String,
    /// How a person reaches the vault.
    reach: Rc<Reach>,
    /// What each of its credentials is good for.
    statuses: Vec<CredentialStatus>,
    /// Whether the user's own providers.json describes it.
    is_the_users: bool,
}

impl ProviderView {
    /// A command of ours about one of its credentials.
    fn run(&self, command: &str, credential: &Credential) -> String {
        self.reach.about(command, &self.profile.id, credential.id())
    }

    /// What removes a credential.
    fn remove(&self, credential: &Credential) -> String {
        self.run("remove", credential)
    }

    /// What shows the profile, and what it lacks.
    fn describe(&self) -> Help {
        Help::fix(self.reach.about("providers", &self.profile.id, LOGIN))
    }

    /// What gives a credential new tokens. A login takes the place of the provider's own one: for
    /// an entry's sake one that is alive must not be given up.
    fn log_in(&self, credential: &Credential) -> Help {
        self.log_in_for(credential.id())
    }

    /// The same for one that is of no use any more: an entry may as well go.
    fn log_in_or_remove(&self, credential: &Credential) -> Help {
        let help = self.log_in(credential);
        if credential.is_login() { help } else { help.or(self.remove(credential)) }
    }

    /// The same for one that may have left the vault.
    fn log_in_for(&self, credential: &str) -> Help {
        let is_alive = |login: &CredentialStatus| login.credential == LOGIN && !is_over(login);
        let would_end_another = credential != LOGIN && self.statuses.iter().any(is_alive);
        if would_end_another { Help::NONE } else { Help::fix(self.login.clone()) }
    }

    fn status(&self, credential: &Credential) -> Option<&CredentialStatus> {
        self.statuses.iter().find(|status| status.credential == credential.id())
    }

    fn has_oauth(&self) -> bool {
        let mut places = self.reading.credentials.iter().flat_map(|credential| &credential.places);
        places.any(|place| place.kind == CredentialKind::OAuth && !place.is_empty())
    }

    /// Whether a refresh would go over plain http.
    fn is_plain_http(&self) -> bool {
        self.to.as_ref().is_some_and(|to| profiles::is_plain_http(&to.endpoint))
    }

    /// Whether nothing of it gives a token before a person has acted.
    fn is_stopped(&self) -> bool {
        let mut logins = self.statuses.iter().filter(|status| status.kind == CredentialKind::OAuth).peekable();
        let others_serve = self.statuses.iter().any(|status| status.kind == CredentialKind::ApiKey && !is_over(status));
        logins.peek().is_some() && logins.all(is_over) && !others_serve
    }
}

/// Whether a credential gives no token before a person has acted.
fn is_over(status: &CredentialStatus) -> bool {
    let is_not_renewed = matches!(
        status.renewal,
        Renewal::NeedsLogin | Renewal::NeedsConfiguration | Renewal::Quarantined | Renewal::Dead
    );
    match status.usable {
        Usable::No => status.retry_at_ms.is_none(),
        Usable::Expired => is_not_renewed,
        // Who put it back may hold an access token that is still good.
        Usable::Yes | Usable::Expiring | Usable::Unknown => status.renewal == Renewal::Dead,
    }
}

/// Looks a vault over. With `ask_servers` each used token endpoint is sent one empty request;
/// nothing of the vault is in it.
#[async_natively]
pub(crate) async fn doctor<P: Ports>(
    session: &Session<P>,
    vault: &str,
    ask_servers: bool,
) -> Result<Vec<Finding>, KeeperError> {
    let mut findings = Findings::default();
    let note = |findings: &mut Findings, code: FindingCode, error: &KeeperError, help: Help| {
        findings.note(Level::Error, code, error.message.clone(), help);
    };
    if let Err(error) = session.load_profiles().await {
        // Without profiles nothing says where in the vault the tokens lie.
        note(&mut findings, FindingCode::ProfilesUnreadable, &error, Help::NONE);
        return Ok(findings.report(&[], &[]));
    }
    let reach = Rc::new(next_step::reach(session, vault).await);
    let snapshot = match session.vault(vault).await {
        Ok(snapshot) => Some(snapshot),
        // There is nothing to look over before a person has said what the file is.
        Err(error) if matches!(error.code, Code::BadRequest | Code::UnknownLayout) => return Err(error),
        Err(error) if error.code == Code::NoCredential => {
            note(&mut findings, FindingCode::VaultAbsent, &error, Help::fix(reach.command("providers")));
            None
        }
        Err(error) => {
            note(&mut findings, FindingCode::VaultUnreadable, &error, Help::NONE);
            None
        }
    };
    let held = match &snapshot {
        Some(snapshot) => views(session, vault, &reach, snapshot, &mut findings).await?,
        None => Vec::new(),
    };
    if let Err(error) = check_settings(session, vault, &held).await {
        note(&mut findings, FindingCode::SettingsUnreadable, &error, Help::NONE);
    }
    profiles::look_over_profiles(session, &held, &mut findings)?;
    let (ledger, sealed) = documents::look_at_documents(session, vault, &held, &reach, &mut findings).await;
    if let Some(snapshot) = &snapshot {
        let (opened, now_ms) = (snapshot.open(), session.ports.wall_ms());
        for one in &held {
            entries::look_over(one, &opened, now_ms, &mut findings);
            tokens::look_over(one, &ledger, &sealed, &held, now_ms, &mut findings);
        }
        tokens::in_several_places(&held, &mut findings);
        tokens::look_at_sealed(session, vault, &sealed, &ledger, &held, &reach, &mut findings)?;
    }
    if ask_servers {
        servers::ask_servers(session, &held, &mut findings).await;
    }
    let ids = |wanted: &dyn Fn(&&ProviderView) -> bool| -> Vec<String> {
        held.iter().filter(wanted).map(|held| held.profile.id.clone()).collect()
    };
    Ok(findings.report(&ids(&|held| held.is_stopped()), &ids(&|_| true)))
}

/// Returns what is in a vault, a view for each provider.
#[async_natively]
async fn views<P: Ports>(
    session: &Session<P>,
    vault: &str,
    reach: &Rc<Reach>,
    snapshot: &Snapshot,
    findings: &mut Findings,
) -> Result<Vec<ProviderView>, KeeperError> {
    let mut held = Vec::new();
    let opened = snapshot.open();
    for id in opened.providers() {
        let profile = session.profile_or_generic(&id)?;
        held.push(view(session, vault, reach, &opened, profile).await);
    }
    let count: usize = held.iter().map(|held| held.reading.credentials.len()).sum();
    let message = format!("the vault can be read; credentials: {count}, providers: {}", held.len());
    findings.ok(FindingCode::Vault, message);
    Ok(held)
}

/// Each part of the settings is read when it is asked for.
#[async_natively]
async fn check_settings<P: Ports>(session: &Session<P>, vault: &str, held: &[ProviderView]) -> Result<(), KeeperError> {
    let settings = session.settings(vault).await?;
    settings.shared_with_reference()?;
    settings.is_owner()?;
    settings.layout()?;
    held.iter().try_for_each(|held| settings.pool(&held.profile.id).map(drop))
}

#[async_natively]
async fn view<P: Ports>(
    session: &Session<P>,
    vault: &str,
    reach: &Rc<Reach>,
    opened: &Vault<'_>,
    profile: Rc<Profile>,
) -> ProviderView {
    let login = opened.node(&profile.id, Spot::Login);
    let to = request::counterpart(&profile, login, None).ok().map(|(to, _)| to);
    // What keeps the status from being told is told of itself.
    let report =
        if profile.wrong.is_none() { status::status(session, vault, Some(&profile.id)).await.ok() } else { None };
    ProviderView {
        reading: opened.read(&profile),
        to,
        login: next_step::login_step(session, reach, vault, &profile),
        reach: reach.clone(),
        statuses: report.map(|report| report.credentials).unwrap_or_default(),
        is_the_users: own_profiles(session).contains(&profile.id),
        profile,
    }
}

/// Returns the ids of the profiles that the user's own file describes.
fn own_profiles<P: Ports>(session: &Session<P>) -> Vec<String> {
    session.with_catalog(&mut |catalog| Ok(catalog.own_ids())).unwrap_or_default()
}
