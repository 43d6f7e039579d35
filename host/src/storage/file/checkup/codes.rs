//! Every code that a finding about files can have, with what it says.

/// One kind of finding about the files of a vault. `docs/doctor.md` lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Code {
    LinkUnsafe,
    PathUnusable,
    Linked,
    HardLinked,
    ModeWide,
    ModeGroup,
    DirectoryOpen,
    DirectoryClosed,
    OwnerOther,
    OwnerBeside,
    VaultMounted,
    VaultReadOnly,
    VaultImmutable,
    DiskFull,
    NetworkFileSystem,
    LocksUnusable,
    LockHeld,
    UnsyncedLeftOver,
}

impl Code {
    const ALL: [Self; 18] = [
        Self::LinkUnsafe,
        Self::PathUnusable,
        Self::Linked,
        Self::HardLinked,
        Self::ModeWide,
        Self::ModeGroup,
        Self::DirectoryOpen,
        Self::DirectoryClosed,
        Self::OwnerOther,
        Self::OwnerBeside,
        Self::VaultMounted,
        Self::VaultReadOnly,
        Self::VaultImmutable,
        Self::DiskFull,
        Self::NetworkFileSystem,
        Self::LocksUnusable,
        Self::LockHeld,
        Self::UnsyncedLeftOver,
    ];

    /// The word that a finding carries.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::LinkUnsafe => "link-unsafe",
            Self::PathUnusable => "path-unusable",
            Self::Linked => "linked",
            Self::HardLinked => "hard-linked",
            Self::ModeWide => "mode-wide",
            Self::ModeGroup => "mode-group",
            Self::DirectoryOpen => "directory-open",
            Self::DirectoryClosed => "directory-closed",
            Self::OwnerOther => "owner-other",
            Self::OwnerBeside => "owner-beside",
            Self::VaultMounted => "vault-mounted",
            Self::VaultReadOnly => "vault-read-only",
            Self::VaultImmutable => "vault-immutable",
            Self::DiskFull => "disk-full",
            Self::NetworkFileSystem => "network-file-system",
            Self::LocksUnusable => "locks-unusable",
            Self::LockHeld => "lock-held",
            Self::UnsyncedLeftOver => "unsynced-left-over",
        }
    }
}

/// The codes of every finding that [`FileStorage::checkup`](super::super::FileStorage::checkup) can
/// return.
pub const CHECKUP_CODES: [&str; Code::ALL.len()] = {
    let mut codes = [""; Code::ALL.len()];
    let mut at = 0;
    while at < codes.len() {
        codes[at] = Code::ALL[at].as_str();
        at += 1;
    }
    codes
};
