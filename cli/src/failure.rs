//! A failure says what happened and what to do next, on standard error, and ends the process with
//! the code for it.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::process::ExitCode;
use std::{env, fmt};

use serde::Serialize;
use serde_json::{Value, json};

use super::{terminal, text};
use lazaretto_host::KeeperError;
use lazaretto_host::storage::shell_path;

/// How the process ends. `0` is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// Input, output, or something that should not be.
    Broken = 1,
    /// The command was wrong, or what it was fed.
    Usage = 2,
    /// A person must log in again.
    Login = 3,
    /// It may work later.
    Retry = 4,
    /// A profile, a setting or the client must change.
    Configure = 5,
}

impl Exit {
    /// By [`KeeperError::action`]. A word that a newer component may know is no reason to hide that
    /// it failed.
    fn of(action: &str) -> Self {
        match action {
            "login" => Self::Login,
            "retry" => Self::Retry,
            "configure" => Self::Configure,
            "usage" => Self::Usage,
            _ => Self::Broken,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        (exit as u8).into()
    }
}

/// Why the command did not do what was asked.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) exit: Exit,
    pub(super) message: String,
    about: Box<About>,
}

/// What a program wants to know of a failure.
#[derive(Debug, Default, Serialize)]
struct About {
    code: String,
    action: String,
    provider: Option<String>,
    credential: Option<String>,
    retry_after_s: Option<u64>,
    /// The one command that helps.
    run: Option<String>,
    /// It was said already, or whoever should have read the output has gone and there is nobody to
    /// say it to.
    #[serde(skip)]
    silent: bool,
}

impl Failure {
    fn new(exit: Exit, code: &str, action: &str, message: impl fmt::Display) -> Self {
        let about = About { code: code.to_owned(), action: action.to_owned(), ..About::default() };
        Self { exit, message: message.to_string(), about: Box::new(about) }
    }

    /// The command was wrong.
    pub(super) fn usage(message: impl fmt::Display) -> Self {
        Self::new(Exit::Usage, "bad-request", "usage", message)
    }

    /// Something that should work does not.
    pub(super) fn broken(message: impl fmt::Display) -> Self {
        Self::new(Exit::Broken, "internal", "inspect", message)
    }

    /// A person did not do his part.
    pub(super) fn login(message: impl fmt::Display) -> Self {
        Self::new(Exit::Login, "login-expired", "login", message)
    }

    /// A profile, or the file they are in.
    pub(super) fn configure(message: impl fmt::Display) -> Self {
        Self::new(Exit::Configure, "bad-profile", "configure", message)
    }

    /// What became of several; each has been told of.
    pub(super) fn of_many(exit: Exit, message: impl fmt::Display) -> Self {
        Self::new(exit, "several", "inspect", message)
    }

    /// The same under another code.
    pub(super) fn coded(mut self, code: &str) -> Self {
        code.clone_into(&mut self.about.code);
        self
    }

    /// The same, led by the path it is about.
    pub(super) fn at(mut self, path: &str) -> Self {
        self.message = format!("{path}: {}", self.message);
        self
    }

    /// The same about one credential.
    pub(super) fn of(mut self, provider: &str, credential: &str) -> Self {
        self.about.provider = Some(provider.to_owned());
        self.about.credential = Some(credential.to_owned());
        self
    }

    /// The same with the command that helps, where none is known yet.
    pub(super) fn run(mut self, command: impl Into<String>) -> Self {
        self.about.run.get_or_insert_with(|| command.into());
        self
    }

    /// Standard output does not take what it should.
    pub(super) fn output(error: &io::Error) -> Self {
        let mut failure = Self::broken(format_args!("cannot write to standard output: {error}")).coded("output");
        failure.about.silent = error.kind() == ErrorKind::BrokenPipe;
        failure
    }

    /// What the component says, in other words where the caller knows better ones.
    pub(super) fn keeper(error: KeeperError, message: String) -> Self {
        let exit = Exit::of(&error.action);
        let KeeperError { code, action, provider, credential, retry_after_s, run, .. } = error;
        Self {
            exit,
            message,
            about: Box::new(About { code, action, provider, credential, retry_after_s, run, silent: false }),
        }
    }

    /// The same, after it was said where it belongs.
    pub(super) fn said(mut self) -> Self {
        self.about.silent = true;
        self
    }

    /// Nothing is left to say.
    pub(super) fn is_silent(&self) -> bool {
        self.about.silent
    }

    /// The one command that helps.
    pub(super) fn command(&self) -> Option<&str> {
        self.about.run.as_deref()
    }

    /// For a program.
    pub(super) fn code(&self) -> &str {
        &self.about.code
    }

    /// On standard error: a line for a person and one for the command that helps, or one JSON
    /// object.
    pub(super) fn print(&self, as_json: bool) {
        if self.about.silent {
            return;
        }
        if as_json {
            terminal::complain(&self.to_json().to_string());
        } else {
            let mark = terminal::stderr_style().bad("error:");
            terminal::complain(&format!("{mark} {}", text::escape(&self.message)));
            if let Some(command) = &self.about.run {
                terminal::advise(command);
            }
        }
    }

    /// As a program gets it.
    pub(super) fn to_json(&self) -> Value {
        let mut error = json!(self.about);
        error["message"] = self.message.as_str().into();
        json!({ "error": error })
    }
}

/// This very command once more, with an option in front of the others.
pub(super) fn again_with(option: &str) -> String {
    let words = env::args_os().skip(1).map(|word| shell_path(Path::new(&word)));
    let words: Vec<String> = ["lazaretto".to_owned(), option.to_owned()].into_iter().chain(words).collect();
    words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every action has its exit code and an unknown one is never done.
    #[test]
    fn every_action_has_its_exit_code_and_an_unknown_one_fails() {
        for (action, code) in [("inspect", 1), ("usage", 2), ("login", 3), ("retry", 4), ("configure", 5), ("new", 1)] {
            assert_eq!(Exit::of(action) as u8, code, "{action}");
        }
    }

    #[test]
    fn the_json_form_has_all_members_on_one_line() {
        let failure = Failure::usage("no\nsuch").of("xai-oauth", "login").to_json().to_string();
        assert_eq!(
            failure,
            r#"{"error":{"code":"bad-request","action":"usage","provider":"xai-oauth","credential":"login","#
                .to_owned()
                + r#""retry_after_s":null,"run":null,"message":"no\nsuch"}}"#
        );
    }

    #[test]
    fn a_reader_who_has_gone_is_not_complained_to() {
        assert!(Failure::output(&ErrorKind::BrokenPipe.into()).about.silent);
        assert!(!Failure::output(&ErrorKind::StorageFull.into()).about.silent);
    }
}
