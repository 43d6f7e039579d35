//! The one command that helps. Every command that a person is told to run is made here, and is complete as a shell takes it.
//!
//! How the command `lazaret` is about the vault, and what an embedder has for logging in, is the host's to say: in the document
//! `<vault>.lazaret-place` of `wit/storage.wit`.

use crate::error::{Action, KeeperError};
use crate::json;
use crate::keeper::{AccessToken, Keeper, PLACE};
use crate::ports::{Loaded, Ports};
use crate::provider::Profile;
use crate::text;
use crate::vault::LOGIN;

/// How a person reaches a vault.
#[derive(Clone, Debug)]
pub(crate) struct Reach {
    /// By which the command is about this vault: `lazaret --vault /v/auth.json`.
    command: String,
    /// What else logs in; `{provider}` in it stands for the provider.
    login_hint: Option<String>,
    /// It is the vault of the reference.
    is_of_reference: bool,
}

impl Default for Reach {
    fn default() -> Self {
        Self { command: "lazaret".to_owned(), login_hint: None, is_of_reference: false }
    }
}

impl Reach {
    fn read(text: &str) -> Self {
        let Ok(root) = json::check(text) else { return Self::default() };
        let text = |name: &str| root.get(name).and_then(|value| value.as_str()).filter(|text| !text.is_empty());
        let is_of_reference = text("path").is_some_and(|path| text::split(&path, "/").any(|part| part == ".hermes"));
        Self {
            command: text("command").unwrap_or_else(|| "lazaret".to_owned()),
            login_hint: text("login_hint"),
            is_of_reference,
        }
    }

    /// A command of ours.
    pub(crate) fn command(&self, rest: &str) -> String {
        format!("{} {rest}", self.command)
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

#[cfg_attr(target_arch = "wasm32", lazaret_macros::synchronous)]
impl<P: Ports> Keeper<P> {
    /// How a person reaches a vault, as the host has it.
    pub(crate) async fn reach(&self, vault: &str) -> Reach {
        match self.ports.load(&format!("{vault}{PLACE}"), None).await {
            Ok(Loaded::Found(document)) => Reach::read(document.text.expose()),
            // A host need not know the document.
            _ => Reach::default(),
        }
    }

    /// What a person runs to log in: the embedder's own way; in another tool's file that tool's; else ours, where the profile
    /// describes a login. None: there is no way that is known.
    pub(crate) fn login_command(&self, reach: &Reach, vault: &str, profile: &Profile) -> Option<String> {
        let of_embedder = reach.login_hint.as_ref().map(|hint| hint.replace("{provider}", &profile.id));
        let stated = of_embedder.or_else(|| self.login_hint_of_tool(vault, &profile.id));
        let stated = stated.or_else(|| profile.login_hint.clone());
        let of_reference = || profile.reference_login.clone().filter(|_| reach.is_of_reference);
        let ours = || profile.offers_login.then(|| reach.about("login", &profile.id, LOGIN));
        stated.or_else(of_reference).or_else(ours)
    }

    /// The same; where no way is known, what says why.
    pub(crate) fn login_step(&self, reach: &Reach, vault: &str, profile: &Profile) -> String {
        let login = self.login_command(reach, vault, profile);
        login.unwrap_or_else(|| reach.about("providers", &profile.id, LOGIN))
    }

    /// An error of a call about a vault and a provider, with the command that helps.
    pub async fn advised(&self, vault: &str, provider: Option<&str>, mut error: KeeperError) -> KeeperError {
        if error.run.is_none() {
            error.run = self.next_step(vault, provider, &error).await;
        }
        error
    }

    /// What ends that of which a token's warning tells.
    pub async fn advised_of(&self, vault: &str, token: &AccessToken) -> Option<String> {
        if !token.needs_login {
            return None;
        }
        let profile = self.profile(&token.provider).await.ok()?;
        Some(self.login_step(&self.reach(vault).await, vault, &profile))
    }

    async fn next_step(&self, vault: &str, provider: Option<&str>, error: &KeeperError) -> Option<String> {
        if error.action == Action::Retry {
            return None;
        }
        let reach = self.reach(vault).await;
        let named = error.provider.as_deref().or(provider);
        let profile = match named {
            Some(name) => self.profile(name).await.ok(),
            None => None,
        };
        let id = profile.as_ref().map(|profile| profile.id.as_str()).or(named);
        let credential = error.credential.as_deref().unwrap_or(LOGIN);
        match (error.action, error.code) {
            (Action::Login, _) => Some(match &profile {
                Some(profile) => self.login_step(&reach, vault, profile),
                None => reach.command("providers"),
            }),
            (Action::Configure, "unknown-provider") => Some(reach.command("providers")),
            (Action::Configure, "parked") => id.map(|id| reach.about("reset", id, credential)),
            (Action::Configure, "held" | "bad-profile") => id.map(|id| reach.about("providers", id, LOGIN)),
            (Action::Inspect, "storage" | "corrupt-vault" | "corrupt-ledger" | "newer-ledger") => {
                Some(reach.command("doctor"))
            }
            (Action::Usage, "unknown-credential") => id.map(|id| reach.about("status", id, LOGIN)),
            _ => None,
        }
    }
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
        assert_eq!(reach.about("remove", "acme", "login"), "lazaret remove acme");
        assert_eq!(reach.about("remove", "acme", "a b"), "lazaret remove acme --credential='a b'");
        let reach = Reach::read(r#"{"path": "/home/a/.hermes/auth.json", "command": "lazaret --vault '/a b'"}"#);
        assert_eq!(reach.about("login", "acme", "login"), "lazaret --vault '/a b' login acme");
        assert!(reach.is_of_reference);
    }
}
