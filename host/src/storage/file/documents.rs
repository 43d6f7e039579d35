//! What a file storage knows by name: six documents, and 64 grant locks.

use super::super::{Scope, StorageError, VAULT, check_name, fingerprint_byte, quoted};

/// The documents that have a place on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Vault,
    Ledger,
    Sealed,
    Pool,
    Settings,
    Profiles,
}

impl Kind {
    pub(super) const ALL: [Self; 6] =
        [Self::Vault, Self::Ledger, Self::Sealed, Self::Pool, Self::Settings, Self::Profiles];

    pub(super) fn of(name: &str) -> Result<Self, StorageError> {
        check_name(name)?;
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| {
            let known = Self::ALL.map(Self::name).join(", ");
            StorageError::new("unsupported", format!("file storage has no document {}, only {known}", quoted(name)))
        })
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Vault => VAULT,
            Self::Ledger => "vault.lazaretto",
            Self::Sealed => "vault.lazaretto-sealed",
            Self::Pool => "vault.lazaretto-pool",
            Self::Settings => "settings.json",
            Self::Profiles => "providers.json",
        }
    }

    /// What follows the vault file's path in this document's.
    pub(super) fn suffix(self) -> Option<&'static str> {
        match self {
            Self::Vault | Self::Profiles => None,
            Self::Ledger => Some(".lazaretto"),
            Self::Sealed => Some(".lazaretto-sealed"),
            Self::Pool => Some(".lazaretto-pool"),
            Self::Settings => Some(".lazaretto-settings.json"),
        }
    }

    pub(super) fn lock_name(self) -> &'static str {
        match self {
            Self::Vault => "document-vault",
            Self::Ledger => "document-ledger",
            Self::Sealed => "document-sealed",
            Self::Pool => "document-pool",
            Self::Settings => "document-settings",
            Self::Profiles => "document-profiles",
        }
    }
}

/// What a lock is wanted for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Claim {
    Document(Kind),
    /// The number of the grant lock.
    Grant(u8),
}

impl Claim {
    /// The document that is locked, or whose grant is.
    pub(super) fn kind(self) -> Kind {
        match self {
            Self::Document(kind) => kind,
            Self::Grant(_) => Kind::Vault,
        }
    }

    pub(super) fn of(scope: &Scope) -> Result<Self, StorageError> {
        match scope {
            Scope::Document(name) => Ok(Self::Document(Kind::of(name)?)),
            Scope::Grant { document, fingerprint } if Kind::of(document)? == Kind::Vault => {
                Ok(Self::Grant(fingerprint_byte(fingerprint)? & 0x3f))
            }
            Scope::Grant { document, .. } => {
                Err(StorageError::new("unsupported", format!("{document} holds no grants, only {VAULT} does")))
            }
        }
    }
}
