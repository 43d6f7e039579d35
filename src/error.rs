//! An error says what happened to which credential, and why; and which command helps. It never holds a secret.

use std::fmt;
use std::ops::{Deref, DerefMut};

use crate::ports::StorageError;
use crate::text;

/// What helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A person must log in again.
    Login,
    /// Later, by itself.
    Retry,
    /// A profile, a setting or the client must change.
    Configure,
    /// Something around the vault is broken.
    Inspect,
    /// The call was wrong.
    Usage,
}

impl Action {
    /// The word in the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Retry => "retry",
            Self::Configure => "configure",
            Self::Inspect => "inspect",
            Self::Usage => "usage",
        }
    }
}

/// Why a call did not do what was asked. In a box: it travels through every call, and is seldom there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeeperError(Box<Details>);

/// What a [`KeeperError`] says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Details {
    /// The open set of `wit/keeper.wit`.
    pub code: &'static str,
    /// What helps.
    pub action: Action,
    /// For a person.
    pub message: String,
    /// The profile's id.
    pub provider: Option<String>,
    /// An entry's id, or `login`.
    pub credential: Option<String>,
    /// In seconds, where it is known.
    pub retry_after_s: Option<u64>,
    /// The one command that helps.
    pub run: Option<String>,
}

impl KeeperError {
    /// An error about no credential in particular. A message is one line: names and words of vaults, servers and hosts are in it,
    /// and none of them may begin another.
    pub fn new(code: &'static str, action: Action, message: impl AsRef<str>) -> Self {
        let message = text::line(message.as_ref());
        Self(Box::new(Details {
            code,
            action,
            message,
            provider: None,
            credential: None,
            retry_after_s: None,
            run: None,
        }))
    }

    /// The same about a credential.
    pub fn of(mut self, provider: &str, credential: &str) -> Self {
        self.provider = Some(provider.to_owned());
        self.credential = Some(credential.to_owned());
        self
    }

    /// The same with a wait.
    pub fn after(mut self, seconds: u64) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// The same with the command that helps.
    pub fn run(mut self, command: impl Into<String>) -> Self {
        self.run = Some(command.into());
        self
    }

    /// The storage could not do its part.
    pub fn storage(document: &str, error: &StorageError) -> Self {
        match error.code.as_str() {
            "unavailable" => Self::new("busy", Action::Retry, error.message.clone()),
            // What helps is said with it: a setting of the host.
            "not-private" => Self::new("storage", Action::Configure, error.message.clone()),
            "corrupt" | "too-large" => Self::new("corrupt-vault", Action::Inspect, error.message.clone()),
            _ => Self::new("storage", Action::Inspect, format!("the document `{document}`: {}", error.message)),
        }
    }
}

impl Deref for KeeperError {
    type Target = Details;

    fn deref(&self) -> &Details {
        &self.0
    }
}

impl DerefMut for KeeperError {
    fn deref_mut(&mut self) -> &mut Details {
        &mut self.0
    }
}

impl From<KeeperError> for Details {
    fn from(error: KeeperError) -> Self {
        *error.0
    }
}

impl fmt::Display for KeeperError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for KeeperError {}
