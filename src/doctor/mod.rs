//! A vault is looked over: what is wrong, or soon will be, and the command that mends it. Reads only; no secret is in any of it.
//!
//! | question | file |
//! |---|---|
//! | can the documents be read, and do they fit together | `documents` |
//! | may what lies in the vault be used | `tokens` |
//! | is it written as it should be | `entries`, and `spelling` for names |
//! | do the servers answer | `servers` |

mod documents;
mod entries;
mod servers;
mod spelling;
mod tokens;

use std::rc::Rc;

use crate::error::KeeperError;
use crate::json;
use crate::keeper::Keeper;
use crate::ledger::Counterpart;
use crate::next_step::Reach;
pub(crate) use crate::next_step::shell_word;
use crate::ports::Ports;
use crate::provider::Profile;
use crate::request;
use crate::text;
use crate::vault::{Credential, CredentialKind, Reading, Spot, Vault};

/// The clocks of two machines, or of a machine and a server, may differ by so much.
const CLOCK_ALLOWANCE_MS: u64 = 300_000;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    pub code: &'static str,
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

/// What was found so far.
#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn note(&mut self, level: Level, code: &'static str, message: String, fix: Option<String>) {
        // A command is left as it is, for it must mean the same when it is run; whoever shows it escapes it.
        let message = text::line(&message);
        self.0.push(Finding { level, code, message, provider: None, credential: None, fix, alternative: None });
    }

    fn ok(&mut self, code: &'static str, message: String) {
        self.note(Level::Ok, code, message, None);
    }

    fn of_error(&mut self, code: &'static str, error: &KeeperError) {
        self.note(Level::Error, code, error.message.clone(), None);
    }

    fn are_well(&self) -> bool {
        self.0.iter().all(|finding| finding.level == Level::Ok)
    }
}

/// What a vault holds of one provider.
struct Held {
    profile: Rc<Profile>,
    reading: Reading,
    /// Whom its refreshes go to; none if no profile says.
    to: Option<Counterpart>,
    /// The command by which a person logs in, if one is known.
    login: Option<String>,
    /// How a person reaches the vault.
    reach: Rc<Reach>,
}

impl Held {
    /// `xai-oauth (login)`
    fn called(&self, credential: &str) -> String {
        called(&self.profile.id, credential)
    }

    /// `lazaret remove xai-oauth --credential=ab12`
    fn command(&self, command: &str, credential: &str) -> String {
        self.reach.about(command, &self.profile.id, credential)
    }

    /// The same for what a person must log in for.
    fn login_or_remove(&self, credential: &Credential) -> Option<String> {
        self.login.clone().or_else(|| Some(self.command("remove", credential.id())))
    }

    fn has_oauth(&self) -> bool {
        let mut places = self.reading.credentials.iter().flat_map(|credential| &credential.places);
        places.any(|place| place.kind == CredentialKind::OAuth && !place.is_empty())
    }
}

fn called(provider: &str, credential: &str) -> String {
    let mut called = provider.to_owned();
    called.push_str(" (");
    called.push_str(credential);
    called.push(')');
    called
}

/// A text of others in a message.
fn quoted(text: &str) -> String {
    json::quote(text)
}

#[cfg_attr(target_arch = "wasm32", lazaret_macros::synchronous)]
impl<P: Ports> Keeper<P> {
    /// Looks a vault over. With `ask_servers` each used token endpoint is asked whether it can be reached; no credential is sent.
    pub async fn doctor(&self, vault: &str, ask_servers: bool) -> Result<Vec<Finding>, KeeperError> {
        let mut findings = Findings::default();
        if let Err(error) = self.load_profiles().await {
            // Without profiles nothing says where in the vault the tokens lie.
            findings.of_error("profiles-unreadable", &error);
            return Ok(findings.0);
        }
        let snapshot = match self.vault(vault).await {
            Ok(snapshot) => Some(snapshot),
            // There is nothing to look over before a person has said what the file is.
            Err(error) if matches!(error.code, "bad-request" | "unknown-layout") => return Err(error),
            Err(error) if error.code == "no-credential" => {
                let fix = Some(self.reach(vault).await.command("providers"));
                findings.note(Level::Error, "vault-absent", error.message.clone(), fix);
                None
            }
            Err(error) => {
                findings.of_error("vault-unreadable", &error);
                None
            }
        };
        let reach = Rc::new(self.reach(vault).await);
        let mut held = Vec::new();
        if let Some(snapshot) = &snapshot {
            let opened = snapshot.open()?;
            for id in opened.providers() {
                let profile = self.profile_or_generic(&id)?;
                held.push(self.held(vault, &reach, &opened, profile));
            }
            let count: usize = held.iter().map(|held| held.reading.credentials.len()).sum();
            findings.ok("vault", format!("the vault can be read; credentials: {count}, providers: {}", held.len()));
        }
        if let Err(error) = self.settings_of(vault, &held).await {
            findings.of_error("settings-unreadable", &error);
        }
        let (ledger, sealed) = self.look_at_documents(vault, &held, &reach, &mut findings).await;
        if let Some(snapshot) = &snapshot {
            let opened = snapshot.open()?;
            let now_ms = self.ports.wall_ms();
            for one in &held {
                let before = findings.0.len();
                entries::look_over(one, &opened, now_ms, &mut findings);
                tokens::look_over(one, &ledger, &sealed, &held, now_ms, &mut findings);
                if findings.0.len() == before {
                    findings.ok("provider", format!("{}: nothing is wrong", one.profile.id));
                }
            }
            tokens::in_several_places(&held, &mut findings);
            tokens::sealed(&sealed, &ledger, &held, &reach, now_ms, &mut findings);
        }
        if ask_servers {
            self.ask_servers(&held, &mut findings).await;
        }
        if findings.are_well() {
            findings.ok("healthy", "nothing is wrong".to_owned());
        }
        Ok(findings.0)
    }

    /// Each part of the settings is read when it is asked for.
    async fn settings_of(&self, vault: &str, held: &[Held]) -> Result<(), KeeperError> {
        let settings = self.settings(vault).await?;
        settings.shared_with_reference()?;
        settings.is_owner()?;
        settings.layout()?;
        held.iter().try_for_each(|held| settings.pool(&held.profile.id).map(drop))
    }

    fn held(&self, vault: &str, reach: &Rc<Reach>, opened: &Vault<'_>, profile: Rc<Profile>) -> Held {
        let login = opened.node(&profile.id, Spot::Login);
        let to = request::counterpart(&profile, login).ok().map(|(to, _)| to);
        let login = self.login_command(reach, vault, &profile);
        Held { reading: opened.read(&profile), to, login, profile, reach: reach.clone() }
    }
}
