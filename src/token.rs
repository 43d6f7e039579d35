//! What a caller asks for and what it gets: a request for an access token, and the token.

use std::fmt;

use crate::error::{Action, KeeperError};
use crate::secret::Secret;

/// Which access token is wanted.
#[derive(Clone, Debug)]
pub struct TokenRequest {
    /// The vault's document name.
    pub vault: String,
    /// A profile's id or alias.
    pub provider: String,
    /// An id, a label or `login`; none: the first that can serve.
    pub credential: Option<String>,
    /// For how many more seconds it must be good.
    pub min_valid_s: u64,
    /// One that an API refused.
    pub refused_access_token: Option<Secret>,
    /// Where a session keeps its credential: the session.
    pub session: Option<String>,
}

/// An access token to use.
#[derive(Clone, Debug)]
pub struct AccessToken {
    /// The token.
    pub token: Secret,
    /// `Bearer`, mostly.
    pub token_type: String,
    /// The profile's id.
    pub provider: String,
    /// An entry's id, or `login`.
    pub credential: String,
    /// Milliseconds since 1970; none if it is not known.
    pub expires_at_ms: Option<u64>,
    /// Why this credential and no other.
    pub picked: Picked,
    /// How it was come by.
    pub origin: Origin,
    /// What a person should know although the token is good.
    pub warning: Option<String>,
    /// A person must log in before it ends.
    pub needs_login: bool,
    /// New tokens that could be stored nowhere: for [`Keeper::save_unsaved`].
    pub unsaved: Option<Secret>,
}

impl AccessToken {
    /// The same with what keeps it from being refreshed.
    pub(crate) fn warned_by(self, error: &KeeperError) -> Self {
        let needs_login = error.action() == Action::Login;
        Self { needs_login, ..self.warned(Some(&error.message)) }
    }

    /// The same with one more thing that a person should know.
    pub(crate) fn warned(mut self, warning: Option<&str>) -> Self {
        let Some(warning) = warning else { return self };
        self.warning = Some(match self.warning.take() {
            Some(known) => format!("{known}; {warning}"),
            None => warning.to_owned(),
        });
        self
    }
}

/// How an access token was come by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It lay in the vault.
    Stored,
    /// This call refreshed it.
    Refreshed,
    /// Another process did, meanwhile.
    Adopted,
    /// Its refresh token is out of use, it is not.
    Sealed,
    /// It is a key.
    ApiKey,
}

impl Origin {
    /// The word in the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Refreshed => "refreshed",
            Self::Adopted => "adopted",
            Self::Sealed => "sealed",
            Self::ApiKey => "api-key",
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why this credential and no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Picked {
    /// The caller named it.
    Named,
    /// There is no other.
    Only,
    /// It is the first by priority that can serve.
    Priority,
    /// It was its turn.
    RoundRobin,
    /// By chance.
    Random,
    /// It was used least.
    LeastUsed,
    /// The session has it already.
    Sticky,
}

impl Picked {
    /// The word in the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Named => "named",
            Self::Only => "only",
            Self::Priority => "priority",
            Self::RoundRobin => "round-robin",
            Self::Random => "random",
            Self::LeastUsed => "least-used",
            Self::Sticky => "sticky",
        }
    }
}

impl fmt::Display for Picked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
