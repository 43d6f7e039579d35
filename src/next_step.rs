//! The one command that helps. Every command that a person is told to run is made here, and is
//! complete as a shell takes it.
//!
//! How the command `lazaretto` is about the vault, and what an embedder has for logging in, is the
//! host's to say: in the document `<vault>.lazaretto-place` of `wit/storage.wit`.

use lazaretto_macros::async_natively;

use crate::error::{Code, KeeperError};
use crate::ports::{Loaded, Ports};
use crate::provider::Profile;
use crate::session::{PLACE, Session};
use crate::token::AccessToken;
use crate::vault::LOGIN;
use crate::{did_you_mean, json};

/// How a person reaches a vault.
#[derive(Clone, Debug)]
pub struct Reach {
    /// By which the command is about this vault: `lazaretto --vault /v/auth.json`.
    command: String,
    /// What else logs in; `{provider}` in it stands for the provider.
    login_hint: Option<String>,
    /// It is the vault of the reference.
    is_of_reference: bool,
    /// Where it lies.
    path: Option<String>,
}

impl Default for Reach {
    fn default() -> Self {
        Self { command: "lazaretto".to_owned(), login_hint: None, is_of_reference: false, path: None }
    }
}

impl Reach {
    fn read(text: &str) -> Self {
        let Ok(root) = json::check(text) else { return Self::default() };
        let text = |name: &str| root.get(name).and_then(|value| value.as_str()).filter(|text| !text.is_empty());
        let is_of_reference = text("path").is_some_and(|path| path.split('/').any(|part| part == ".hermes"));
        Self {
            command: text("command").unwrap_or_else(|| "lazaretto".to_owned()),
            login_hint: text("login_hint"),
            is_of_reference,
            path: text("path"),
        }
    }

    /// A command of ours.
    pub(crate) fn command(&self, rest: &str) -> String {
        format!("{} {rest}", self.command)
    }

    /// What a person calls the vault's settings. Where a vault is a file they lie beside it, as
    /// `docs/file-store.md` has it.
    pub(crate) fn settings(&self) -> String {
        match &self.path {
            Some(path) => format!("{path}.lazaretto-settings.json"),
            None => "`settings.json`".to_owned(),
        }
    }

    /// The same command about another vault.
    pub(crate) fn at(&self, vault: &str) -> Self {
        // What is stated of a layout is stated of this vault only.
        let others = without_option(&without_option(&self.command, " --vault "), " --layout ");
        Self { command: format!("{others} --vault {}", shell_word(vault)), ..self.clone() }
    }

    /// A command of ours about one credential.
    pub(crate) fn about(&self, verb: &str, provider: &str, credential: &str) -> String {
        let mut command = format!("{} {verb} {}", self.command, shell_word(provider));
        if credential != LOGIN && !credential.is_empty() {
            command += &format!(" --credential={}", shell_word(credential));
        }
        command
    }
}

/// How a person reaches a vault, as the host has it.
#[async_natively]
pub(crate) async fn reach<P: Ports>(session: &Session<P>, vault: &str) -> Reach {
    match session.ports.load(&format!("{vault}{PLACE}"), None).await {
        Ok(Loaded::Found(document)) => Reach::read(document.text.expose()),
        // A host need not know the document.
        _ => Reach::default(),
    }
}

/// What a person runs to log in: the embedder's own way; in another tool's file that tool's; else
/// ours, where the profile describes a login. None: there is no way that is known.
fn login_command<P: Ports>(session: &Session<P>, reach: &Reach, vault: &str, profile: &Profile) -> Option<String> {
    let of_embedder = reach.login_hint.as_ref().map(|hint| hint.replace("{provider}", &profile.id));
    let stated = of_embedder.or_else(|| session.login_hint_of_tool(vault, &profile.id));
    let stated = stated.or_else(|| profile.login_hint.clone());
    let of_reference = || profile.reference_login.clone().filter(|_| reach.is_of_reference);
    let ours = || profile.offers_login.then(|| reach.about("login", &profile.id, LOGIN));
    stated.or_else(of_reference).or_else(ours)
}

/// The same; where no way is known, what says why.
pub(crate) fn login_step<P: Ports>(session: &Session<P>, reach: &Reach, vault: &str, profile: &Profile) -> String {
    let login = login_command(session, reach, vault, profile);
    login.unwrap_or_else(|| reach.about("providers", &profile.id, LOGIN))
}

/// An error of a call about a vault and a provider, with the command that helps.
#[async_natively]
pub(crate) async fn advise<P: Ports>(
    session: &Session<P>,
    vault: &str,
    provider: Option<&str>,
    mut error: KeeperError,
) -> KeeperError {
    if error.run.is_none() {
        error.run = next_command(session, vault, provider, &error).await;
    }
    error
}

/// What ends that of which a token's warning tells.
#[async_natively]
pub(crate) async fn advise_of<P: Ports>(session: &Session<P>, vault: &str, token: &AccessToken) -> Option<String> {
    if !token.needs_login {
        return None;
    }
    let profile = session.profile(&token.provider).await.ok()?;
    Some(login_step(session, &reach(session, vault).await, vault, &profile))
}

#[async_natively]
async fn next_command<P: Ports>(
    session: &Session<P>,
    vault: &str,
    provider: Option<&str>,
    error: &KeeperError,
) -> Option<String> {
    let step = step_of(error.code);
    if matches!(step, Step::None(_)) {
        return None;
    }
    let reach = reach(session, vault).await;
    let named = error.provider.as_deref().or(provider);
    let profile = match named {
        Some(name) => session.profile(name).await.ok(),
        None => None,
    };
    let id = profile.as_ref().map(|profile| profile.id.as_str()).or(named);
    match (step, &profile, id) {
        (Step::Login, Some(profile), _)
            if error.code == Code::NoCredential && did_you_mean::is_for_keys(session, &profile.id) =>
        {
            Some(reach.command(&format!("add {} --api-key", shell_word(&profile.id))))
        }
        (Step::Login, Some(profile), _) => Some(login_step(session, &reach, vault, profile)),
        (Step::Login, None, _) => Some(reach.command("providers")),
        // Of a name that nobody knows nothing can be shown.
        (Step::Providers, _, Some(id)) if !did_you_mean::is_known(session, id) => Some(reach.command("providers")),
        (Step::Status, _, Some(id)) if !did_you_mean::is_known(session, id) => Some(reach.command("status")),
        _ => step.command(&reach, id, error.credential.as_deref()),
    }
}

/// What kind of command helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Logging in, by whatever way there is.
    Login,
    /// Looking at the provider: which profile it has, and where it is from.
    Providers,
    /// Looking at what the vault holds of the provider.
    Status,
    /// Looking the vault over.
    Doctor,
    /// Ending a pause.
    Reset,
    /// None, and why.
    None(&'static str),
}

/// Returns the step that helps against an error of this code.
pub const fn step_of(code: Code) -> Step {
    match code {
        Code::LoginRequired
        | Code::Quarantined
        | Code::NoCredential
        | Code::InteractionRequired
        | Code::AccessRefused
        | Code::Unusable
        | Code::LoginRefused
        | Code::LoginExpired
        | Code::LoginFailed => Step::Login,
        Code::UnknownProvider | Code::BadProfile | Code::ClientSecret | Code::LoginMisconfigured | Code::Held => {
            Step::Providers
        }
        Code::Parked => Step::Reset,
        Code::Storage | Code::CorruptVault | Code::CorruptLedger => Step::Doctor,
        Code::UnknownCredential | Code::NothingToDo => Step::Status,
        Code::CoolingDown
        | Code::Busy
        | Code::InDoubt
        | Code::RefreshFailed
        | Code::LoginUnavailable
        | Code::NotRevoked => Step::None("time alone helps"),
        Code::OwnedElsewhere => Step::None("the command is about the file that is named, and comes with the error"),
        Code::HostForbids => Step::None("only the host knows what it allows"),
        Code::NewerLedger => Step::None("only a newer lazaretto reads it"),
        Code::UnknownLayout => Step::None("only a person can say which layout it is, and the message says how"),
        Code::BadSettings
        | Code::SharedVault
        | Code::StorageNotPrivate
        | Code::WrongIssuer
        | Code::NotMovable
        | Code::Unsaved
        | Code::Internal
        | Code::BadRequest => Step::None("the message says what must change"),
    }
}

impl Step {
    /// The command of ours for this step; none where there is none, or where only the vault tells.
    pub fn command(self, reach: &Reach, provider: Option<&str>, credential: Option<&str>) -> Option<String> {
        let credential = credential.unwrap_or(LOGIN);
        match self {
            Self::Doctor => Some(reach.command("doctor")),
            Self::Login => provider.map(|id| reach.about("login", id, LOGIN)),
            Self::Providers => provider.map(|id| reach.about("providers", id, LOGIN)),
            Self::Status => provider.map(|id| reach.about("status", id, LOGIN)),
            Self::Reset => provider.map(|id| reach.about("reset", id, credential)),
            Self::None(_) => None,
        }
    }
}

/// A command of ours without an option and its word, if it is there.
fn without_option(command: &str, option: &str) -> String {
    let Some((before, after)) = command.split_once(option) else { return command.to_owned() };
    let (mut is_quoted, mut is_escaped) = (false, false);
    let mut end = after.len();
    for (at, char) in after.char_indices() {
        match char {
            _ if is_escaped => is_escaped = false,
            '\'' => is_quoted = !is_quoted,
            '\\' if !is_quoted => is_escaped = true,
            ' ' if !is_quoted => {
                end = at;
                break;
            }
            _ => {}
        }
    }
    format!("{before}{}", &after[end..])
}

/// A text as one word of a shell's command, and never an option.
pub(crate) fn shell_word(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:/@%+=-#".contains(&byte);
    if !text.is_empty() && !text.starts_with(['#', '-']) && text.bytes().all(is_plain) {
        return text.to_owned();
    }
    let mut word = "'".to_owned();
    for char in text.chars() {
        match char {
            '\'' => word.push_str("'\\''"),
            _ => word.push(char),
        }
    }
    word.push('\'');
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_is_one_word_of_a_command() {
        for (text, word) in [
            ("xai-oauth", "xai-oauth"),
            ("#2", "'#2'"),
            ("", "''"),
            ("-x", "'-x'"),
            ("x; rm -rf ~", "'x; rm -rf ~'"),
            ("it's $(id)", "'it'\\''s $(id)'"),
        ] {
            assert_eq!(shell_word(text), word);
        }
        let reach = Reach::default();
        assert_eq!(reach.about("remove", "acme", "login"), "lazaretto remove acme");
        assert_eq!(reach.about("remove", "acme", "a b"), "lazaretto remove acme --credential='a b'");
        let reach = Reach::read(r#"{"path": "/home/a/.hermes/auth.json", "command": "lazaretto --vault '/a b'"}"#);
        assert_eq!(reach.about("login", "acme", "login"), "lazaretto --vault '/a b' login acme");
        assert!(reach.is_of_reference);
    }

    #[test]
    fn a_command_about_another_vault_keeps_every_other_option() {
        for (command, wanted) in [
            ("lazaretto", "lazaretto --vault /o login a"),
            ("python -m lazaretto --vault /v --layout codex", "python -m lazaretto --vault /o login a"),
            ("lazaretto --vault '/my v' --providers '/p p'", "lazaretto --providers '/p p' --vault /o login a"),
            (
                r"lazaretto --vault '/it'\''s v' --allow-loopback-http",
                "lazaretto --allow-loopback-http --vault /o login a",
            ),
        ] {
            let reach = Reach { command: command.to_owned(), ..Reach::default() };
            assert_eq!(reach.at("/o").about("login", "a", LOGIN), wanted);
        }
    }
}
