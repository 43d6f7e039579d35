//! What a shell offers for a provider or a credential: what is in the vaults, as they are when the
//! key is pressed. Reads only, and says nothing: what cannot be read offers nothing.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};

use super::args::{self, Global};
use super::setup::Setup;
use super::{known_vaults, text};
use lazaretto_host::CredentialStatus;
use lazaretto_host::storage::VAULT;

/// With this variable set the command completes a line instead of doing what it says.
pub(super) const VARIABLE: &str = "_LAZARETTO_COMPLETE";
/// So many vaults are read: a person waits.
const VAULTS: usize = 8;

/// Returns the command line with what a shell offers for each argument.
pub(super) fn command() -> clap::Command {
    args::command().mut_subcommands(|command| {
        let providers: fn(&OsStr) -> Vec<CompletionCandidate> = match command.get_name() {
            "login" | "add" | "providers" => any_providers,
            _ => providers,
        };
        let command = completed(command, "provider", providers);
        let command = completed(command, "credential", credentials);
        let command = completed(command, "of", commands);
        command.mut_subcommands(|inner| match inner.get_name() {
            "remove" => completed(inner, "path", known_vaults),
            _ => inner,
        })
    })
}

/// Gives an argument its candidates, if the command has that argument.
fn completed(command: clap::Command, id: &str, candidates: fn(&OsStr) -> Vec<CompletionCandidate>) -> clap::Command {
    // Not `mut_arg`: it moves the argument behind the others, and the place of a positional one
    // would change.
    command.mut_args(|argument| match argument.get_id() == id {
        true => argument.add(ArgValueCompleter::new(candidates)),
        false => argument,
    })
}

/// Providers that have a credential.
pub(super) fn providers(current: &OsStr) -> Vec<CompletionCandidate> {
    let mut found: Vec<(String, usize)> = Vec::new();
    for status in credentials_of(&typed()) {
        match found.iter_mut().find(|(provider, _)| *provider == status.provider) {
            Some((_, count)) => *count += 1,
            None => found.push((status.provider, 1)),
        }
    }
    let candidate = |(provider, count): (String, usize)| {
        let help = if count == 1 { "1 credential".to_owned() } else { format!("{count} credentials") };
        candidate(current, &provider, help)
    };
    found.into_iter().filter_map(candidate).collect()
}

/// Providers that a person may log in to or add a key of: all that have a profile.
pub(super) fn any_providers(current: &OsStr) -> Vec<CompletionCandidate> {
    let mut found = providers(current);
    let setup = Setup::new(typed().global);
    let vault = setup.vaults().unwrap_or_default().into_iter().next();
    let open = vault.and_then(|vault| setup.open_silently(vault, None).ok());
    let known = open.and_then(|open| open.keeper.admin().providers(None).ok()).unwrap_or_default();
    for profile in known {
        if found.iter().all(|other| other.get_value() != OsStr::new(&profile.id)) {
            found.extend(candidate(current, &profile.id, profile.name));
        }
    }
    found
}

/// Credentials of the provider that was typed before, or of all.
pub(super) fn credentials(current: &OsStr) -> Vec<CompletionCandidate> {
    let typed = typed();
    let all = credentials_of(&typed);
    let is_typed = |status: &CredentialStatus| typed.words.contains(&status.provider);
    let is_any_typed = all.iter().any(is_typed);
    let offered = all.iter().filter(|status| !is_any_typed || is_typed(status));
    offered.filter_map(|status| candidate(current, &status.credential, status.label.clone())).collect()
}

/// Commands that have a page.
pub(super) fn commands(current: &OsStr) -> Vec<CompletionCandidate> {
    let whole = args::command();
    let names = whole.get_subcommands().map(|command| (command.get_name(), command.get_about()));
    names
        .filter_map(|(name, about)| candidate(current, name, about.map(ToString::to_string).unwrap_or_default()))
        .collect()
}

/// The vaults of the list.
pub(super) fn known_vaults(current: &OsStr) -> Vec<CompletionCandidate> {
    let paths = known_vaults::list().unwrap_or_default();
    paths.iter().filter_map(|known| candidate(current, known.path.to_str()?, String::new())).collect()
}

/// Text of others is offered only if it is one plain word: a shell takes it as it stands, and some
/// would expand it.
fn candidate(current: &OsStr, value: &str, help: String) -> Option<CompletionCandidate> {
    let is_safe = |char: char| char.is_alphanumeric() || "._-@:+/=,%".contains(char);
    let is_plain = !value.is_empty() && !value.starts_with('-') && value.chars().all(is_safe);
    let is_meant = value.as_bytes().starts_with(current.as_encoded_bytes());
    let help = Some(text::escape(&help)).filter(|help| !help.is_empty());
    (is_plain && is_meant).then(|| CompletionCandidate::new(value).help(help.map(Into::into)))
}

fn credentials_of(typed: &Typed) -> Vec<CredentialStatus> {
    let setup = Setup::new(typed.global.clone());
    let (mut first, mut found) = (None, Vec::new());
    for vault in setup.vaults().unwrap_or_default().into_iter().take(VAULTS) {
        let Ok(open) = setup.open_silently(vault, first.as_ref()) else { continue };
        found.extend(open.keeper.status(VAULT, None).map(|report| report.credentials).unwrap_or_default());
        first.get_or_insert(open);
    }
    found
}

/// What stands on the line so far.
struct Typed {
    global: Global,
    words: Vec<String>,
}

/// The shell's script passes the line behind `--`.
fn typed() -> Typed {
    let line: Vec<OsString> = env::args_os().skip_while(|word| word != "--").skip(2).collect();
    read(line)
}

fn read(line: Vec<OsString>) -> Typed {
    let mut typed = Typed { global: Global::default(), words: Vec::new() };
    let mut line = line.into_iter();
    while let Some(word) = line.next() {
        let Some(word) = word.to_str() else { continue };
        let (name, value) = match word.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name, Some(value.to_owned())),
            _ => (word, None),
        };
        let mut value = || value.clone().map(OsString::from).or_else(|| line.next());
        match name {
            "--vault" => typed.global.vault = value().map(PathBuf::from),
            "--providers" => typed.global.providers = value().map(PathBuf::from),
            "--layout" => typed.global.layout = value().and_then(|layout| layout.into_string().ok()),
            "--allow-loopback-http" => typed.global.allow_loopback_http = true,
            _ if !name.starts_with('-') => typed.words.push(name.to_owned()),
            _ => {}
        }
    }
    typed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_options_that_name_files_are_read_from_the_line() {
        let line = ["--vault", "/a b", "token", "acme", "--providers=/p", "--credential", ""].map(OsString::from);
        let typed = read(line.into());
        assert_eq!((typed.global.vault, typed.global.providers), (Some("/a b".into()), Some("/p".into())));
        assert!(typed.words.contains(&"acme".to_owned()), "{:?}", typed.words);
        assert!(read(vec!["--vault".into()]).global.vault.is_none());
    }

    /// What a shell could take for more than one word is not offered.
    #[test]
    fn completions_are_one_shell_word_each() {
        for (value, current, is_offered) in [
            ("work", "", true),
            ("work", "wo", true),
            ("work", "x", false),
            ("my key", "", false),
            ("a\u{1b}[2J", "", false),
            ("*", "", false),
            ("$(id)", "", false),
            ("--vault", "", false),
            ("", "", false),
        ] {
            let offered = candidate(OsStr::new(current), value, String::new());
            assert_eq!(offered.is_some(), is_offered, "{value:?} {current:?}");
        }
    }
}
