//! An error says what happened to which credential, why, and which command helps. It never holds a secret.

use std::fmt;
use std::ops::{Deref, DerefMut};

use crate::ports::StorageError;
use crate::visible::visible_line;

/// Says what helps against an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A person must log in again.
    Login,
    /// Time alone helps: the call may be made again later.
    Retry,
    /// A profile, a setting or the client must change.
    Configure,
    /// Something around the vault is broken, and a person must look.
    Inspect,
    /// The call was wrong.
    Usage,
}

impl Action {
    /// Returns the word that the contract has for this action.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Retry => "retry",
            Self::Configure => "configure",
            Self::Inspect => "inspect",
            Self::Usage => "usage",
        }
    }
}

/// Says why a call did not do what was asked: the open set of `wit/keeper.wit` and `wit/admin.wit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Code {
    /// A person must log in: there is no refresh token, or the server ended the login.
    LoginRequired,
    /// Its refresh token was refused for good, and is kept out of use.
    Quarantined,
    /// The vault holds no credential of the provider.
    NoCredential,
    /// The server wants a person to confirm the login.
    InteractionRequired,
    /// An API refuses even a fresh access token.
    AccessRefused,
    /// Its token holds characters that no request can carry.
    Unusable,
    /// A login was not approved.
    LoginRefused,
    /// A login was not approved in time.
    LoginExpired,
    /// A login failed, and beginning anew may help.
    LoginFailed,
    /// An authorization server that was not asked answered a login (RFC 9207).
    WrongIssuer,
    /// The server refuses the client or a parameter of a login.
    LoginMisconfigured,
    /// The server cannot log anybody in at the moment.
    LoginUnavailable,
    /// A logout could not revoke the login, and changed nothing.
    NotRevoked,
    /// The last attempt failed, and the next one is not due yet.
    CoolingDown,
    /// Somebody else is writing or refreshing.
    Busy,
    /// The server may or may not have replaced the refresh token.
    InDoubt,
    /// The refresh failed, and nothing changed.
    RefreshFailed,
    /// No profile has this name.
    UnknownProvider,
    /// The profile cannot be used as it is.
    BadProfile,
    /// The client secret that the profile names cannot be read.
    ClientSecret,
    /// The settings of the vault cannot be read.
    BadSettings,
    /// The server refuses the client or the request, not the token.
    Held,
    /// Too many answers in a row said nothing clear.
    Parked,
    /// Another program writes the vault, and takes no lock that we know.
    SharedVault,
    /// The login belongs to another file.
    OwnedElsewhere,
    /// The host does not allow the request.
    HostForbids,
    /// Others can read the document, and the host does not allow that.
    StorageNotPrivate,
    /// A document cannot be read or stored.
    Storage,
    /// The vault is not what a vault should be.
    CorruptVault,
    /// A document of ours cannot be understood.
    CorruptLedger,
    /// A newer lazaretto wrote a document of ours.
    NewerLedger,
    /// New tokens could be stored nowhere.
    Unsaved,
    /// The login cannot be moved: its token is spent, refused or being sent.
    NotMovable,
    /// A fault of lazaretto itself.
    Internal,
    /// No credential has this name.
    UnknownCredential,
    /// It is not certain which program wrote the vault.
    UnknownLayout,
    /// The call itself is wrong.
    BadRequest,
    /// What was asked for does not apply to this credential.
    NothingToDo,
}

impl Code {
    /// Every code, in the order in which they are declared.
    pub const ALL: [Self; 38] = [
        Self::LoginRequired,
        Self::Quarantined,
        Self::NoCredential,
        Self::InteractionRequired,
        Self::AccessRefused,
        Self::Unusable,
        Self::LoginRefused,
        Self::LoginExpired,
        Self::LoginFailed,
        Self::WrongIssuer,
        Self::LoginMisconfigured,
        Self::LoginUnavailable,
        Self::NotRevoked,
        Self::CoolingDown,
        Self::Busy,
        Self::InDoubt,
        Self::RefreshFailed,
        Self::UnknownProvider,
        Self::BadProfile,
        Self::ClientSecret,
        Self::BadSettings,
        Self::Held,
        Self::Parked,
        Self::SharedVault,
        Self::OwnedElsewhere,
        Self::HostForbids,
        Self::StorageNotPrivate,
        Self::Storage,
        Self::CorruptVault,
        Self::CorruptLedger,
        Self::NewerLedger,
        Self::Unsaved,
        Self::NotMovable,
        Self::Internal,
        Self::UnknownCredential,
        Self::UnknownLayout,
        Self::BadRequest,
        Self::NothingToDo,
    ];

    /// Returns the word that the contract has for this code.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LoginRequired => "login-required",
            Self::Quarantined => "quarantined",
            Self::NoCredential => "no-credential",
            Self::InteractionRequired => "interaction-required",
            Self::AccessRefused => "access-refused",
            Self::Unusable => "unusable",
            Self::LoginRefused => "login-refused",
            Self::LoginExpired => "login-expired",
            Self::LoginFailed => "login-failed",
            Self::WrongIssuer => "wrong-issuer",
            Self::LoginMisconfigured => "login-misconfigured",
            Self::LoginUnavailable => "login-unavailable",
            Self::NotRevoked => "not-revoked",
            Self::CoolingDown => "cooling-down",
            Self::Busy => "busy",
            Self::InDoubt => "in-doubt",
            Self::RefreshFailed => "refresh-failed",
            Self::UnknownProvider => "unknown-provider",
            Self::BadProfile => "bad-profile",
            Self::ClientSecret => "client-secret",
            Self::BadSettings => "bad-settings",
            Self::Held => "held",
            Self::Parked => "parked",
            Self::SharedVault => "shared-vault",
            Self::OwnedElsewhere => "owned-elsewhere",
            Self::HostForbids => "host-forbids",
            Self::StorageNotPrivate => "storage-not-private",
            Self::Storage => "storage",
            Self::CorruptVault => "corrupt-vault",
            Self::CorruptLedger => "corrupt-ledger",
            Self::NewerLedger => "newer-ledger",
            Self::Unsaved => "unsaved",
            Self::NotMovable => "not-movable",
            Self::Internal => "internal",
            Self::UnknownCredential => "unknown-credential",
            Self::UnknownLayout => "unknown-layout",
            Self::BadRequest => "bad-request",
            Self::NothingToDo => "nothing-to-do",
        }
    }

    /// Returns what helps against an error of this code.
    pub const fn action(self) -> Action {
        match self {
            Self::LoginRequired
            | Self::Quarantined
            | Self::NoCredential
            | Self::InteractionRequired
            | Self::AccessRefused
            | Self::Unusable
            | Self::LoginRefused
            | Self::LoginExpired
            | Self::LoginFailed => Action::Login,
            Self::LoginUnavailable
            | Self::NotRevoked
            | Self::CoolingDown
            | Self::Busy
            | Self::InDoubt
            | Self::RefreshFailed => Action::Retry,
            Self::LoginMisconfigured
            | Self::UnknownProvider
            | Self::BadProfile
            | Self::ClientSecret
            | Self::BadSettings
            | Self::Held
            | Self::Parked
            | Self::SharedVault
            | Self::OwnedElsewhere
            | Self::HostForbids
            | Self::StorageNotPrivate => Action::Configure,
            Self::WrongIssuer
            | Self::Storage
            | Self::CorruptVault
            | Self::CorruptLedger
            | Self::NewerLedger
            | Self::Unsaved
            | Self::NotMovable
            | Self::Internal => Action::Inspect,
            Self::UnknownCredential | Self::UnknownLayout | Self::BadRequest | Self::NothingToDo => Action::Usage,
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Says why a call did not do what was asked. Boxed, because every call returns one by value and few do.
///
/// ```
/// use lazaretto::error::{Action, Code, KeeperError};
///
/// let error = KeeperError::new(Code::NoCredential, "the vault holds no credential of xai-oauth")
///     .run("lazaretto login xai-oauth");
/// assert_eq!(error.action(), Action::Login);
/// assert_eq!(error.code.as_str(), "no-credential");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeeperError(Box<Details>);

/// Holds what a [`KeeperError`] says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Details {
    /// What kind of error it is; [`Code::action`] says what helps.
    pub code: Code,
    /// One line for a person.
    pub message: String,
    /// The id of the profile that the error is about.
    pub provider: Option<String>,
    /// The credential that the error is about: an entry's id, or `login`.
    pub credential: Option<String>,
    /// In how many seconds the call may succeed, where that is known.
    pub retry_after_s: Option<u64>,
    /// The one command that helps.
    pub run: Option<String>,
}

impl Details {
    /// Returns what helps.
    pub fn action(&self) -> Action {
        self.code.action()
    }
}

impl KeeperError {
    /// Makes an error about no credential in particular. The message becomes one line: it may hold
    /// names and words of vaults, servers and hosts, and none of them may begin another line.
    pub fn new(code: Code, message: impl AsRef<str>) -> Self {
        let message = visible_line(message.as_ref());
        Self(Box::new(Details { code, message, provider: None, credential: None, retry_after_s: None, run: None }))
    }

    /// Adds the credential that the error is about.
    pub fn of(mut self, provider: &str, credential: &str) -> Self {
        self.provider = Some(provider.to_owned());
        self.credential = Some(credential.to_owned());
        self
    }

    /// Adds in how many seconds the call may succeed.
    pub fn after(mut self, seconds: u64) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    /// Adds the command that helps.
    pub fn run(mut self, command: impl Into<String>) -> Self {
        self.run = Some(command.into());
        self
    }

    /// Makes the error that follows from a failure of the storage.
    pub fn storage(document: &str, error: &StorageError) -> Self {
        match error.code.as_str() {
            "unavailable" => Self::new(Code::Busy, &error.message),
            // The message of the host names the setting that helps.
            "not-private" => Self::new(Code::StorageNotPrivate, &error.message),
            "corrupt" | "too-large" => Self::new(Code::CorruptVault, &error.message),
            _ => Self::new(Code::Storage, format!("the document `{document}`: {}", error.message)),
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns what a contract lists: each code with the word of its action.
    fn listed(contract: &str) -> Vec<(&str, &str)> {
        let (_, after) = contract.split_once("/// An open set, in kebab case. ").unwrap();
        let words = after.split_once("    code: string,").unwrap().0.split('`').skip(1).step_by(2);
        let (mut action, mut is_action_next, mut codes) = ("", false, Vec::new());
        for word in words {
            if is_action_next {
                action = word;
            } else if word != "action" {
                codes.push((word, action));
            }
            is_action_next = word == "action";
        }
        codes
    }

    #[test]
    fn the_contract_lists_every_code_under_its_action() {
        let known: Vec<_> = Code::ALL.iter().map(|code| (code.as_str(), code.action().as_str())).collect();
        let (keeper, admin) = (listed(include_str!("../wit/keeper.wit")), listed(include_str!("../wit/admin.wit")));
        for code in keeper.iter().chain(&admin) {
            assert!(known.contains(code), "{code:?}");
        }
        for (at, code) in Code::ALL.into_iter().enumerate() {
            assert_eq!(code as usize, at, "{code} is listed once");
            assert!(admin.contains(&(code.as_str(), code.action().as_str())), "{code}");
        }
    }
}
