//! A document lies beside the vault file that all links lead to, whatever name it was opened by; and so do its locks.

use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::path::{self, Path, PathBuf};

use super::super::StorageError;
use super::kinds::{Claim, Kind};
use super::locks::LOCKS;
use super::way::Way;

/// The layouts whose own lock is taken unless somebody says otherwise.
const REFERENCE_FILES: [&str; 2] = [REFERENCE_VAULT, "nous_auth.json"];
/// The reference's vault.
pub(super) const REFERENCE_VAULT: &str = "auth.json";

/// The paths that a storage was opened with.
pub(super) struct Places {
    pub(super) vault: PathBuf,
    pub(super) profiles: Option<PathBuf>,
}

impl Places {
    /// Looks at a document with one stat, wherever the kernel finds it. None: that may be the wrong file.
    pub(super) fn glance(&self, kind: Kind) -> Option<io::Result<Metadata>> {
        match kind.suffix() {
            None if kind == Kind::Vault => Some(fs::metadata(&self.vault)),
            None => Some(match &self.profiles {
                Some(profiles) => fs::metadata(profiles),
                None => Err(ErrorKind::NotFound.into()),
            }),
            Some(suffix) => {
                // Beside a link there lies nothing of ours, but beside its target.
                let is_link = fs::symlink_metadata(&self.vault).is_ok_and(|vault| vault.is_symlink());
                (!is_link).then(|| fs::metadata(with_suffix(&self.vault, suffix)))
            }
        }
    }

    /// Finds a document by walking to it. None: it has no place in this storage.
    pub(super) fn find(&self, kind: Kind) -> Result<Option<Place>, StorageError> {
        let named = match kind {
            Kind::Profiles => self.profiles.as_ref(),
            _ => Some(&self.vault),
        };
        let Some(named) = named else {
            return Ok(None);
        };
        let anchor = Way::walk(named)?;
        let path = match kind.suffix() {
            None => anchor.target.clone(),
            Some(suffix) => {
                let beside = with_suffix(&anchor.target, suffix);
                // Its directory has been walked to already; only a link leads elsewhere.
                match fs::symlink_metadata(&beside) {
                    Ok(found) if found.is_symlink() => Way::walk(&beside)?.target,
                    _ => beside,
                }
            }
        };
        Ok(Some(Place { anchor, path }))
    }
}

/// Where a document lies.
pub(super) struct Place {
    /// The file that the locks are named after: the vault's, or the profiles' own.
    pub(super) anchor: Way,
    /// The document's own file.
    pub(super) path: PathBuf,
}

impl Place {
    /// Whether both are the same file with the same locks; its owner may have changed.
    pub(super) fn is(&self, other: &Self) -> bool {
        let (ours, theirs) = (&self.anchor, &other.anchor);
        (&self.path, &ours.target, &ours.links) == (&other.path, &theirs.target, &theirs.links)
    }

    /// Where a text of this document may lie that was not synced. None: nowhere.
    pub(super) fn unsynced(&self, kind: Kind) -> Option<PathBuf> {
        // All other documents are read by people and by other programs, who would not know.
        (kind == Kind::Ledger).then(|| with_suffix(&self.path, ".unsynced"))
    }

    /// Our own lock file for `claim`.
    pub(super) fn lock(&self, claim: Claim) -> PathBuf {
        let dir = with_suffix(&self.anchor.target, LOCKS);
        match claim {
            Claim::Document(kind) => dir.join(kind.lock_name()),
            Claim::Grant(number) => dir.join(format!("{number:02x}")),
        }
    }

    /// Whom anything new here is to belong to. None: to this process. What root creates beside somebody's vault
    /// belongs to that somebody, or they could never use it.
    pub(super) fn owner_of_new(&self) -> Option<(u32, u32)> {
        let owner = self.anchor.owner;
        owner.filter(|(user, _)| *user != 0 && rustix::process::geteuid().is_root())
    }
}

/// The reference program's lock files for a vault, in the order of their paths.
///
/// It locks beside the path that it was given and not beside what a link leads to: so there is one beside each.
/// `wanted` none: if any of the paths is what the reference calls its vault.
pub(super) fn foreign_locks(vault: &Way, wanted: Option<bool>) -> Vec<PathBuf> {
    let names = || vault.links.iter().chain([&vault.target]);
    let is_its = |path: &PathBuf| REFERENCE_FILES.iter().any(|name| path.file_name() == Some(OsStr::new(name)));
    if !wanted.unwrap_or_else(|| names().any(is_its)) {
        return Vec::new();
    }
    let is_json = |path: &&PathBuf| path.extension() == Some(OsStr::new("json"));
    let beside = |path: &PathBuf| path.with_extension("lock");
    let mut locks: Vec<PathBuf> = names().filter(is_json).map(beside).collect();
    locks.sort();
    locks.dedup();
    locks
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Later changes of the current directory must not move a vault. If there is none, walking to it says so.
pub(super) fn absolute(path: PathBuf) -> PathBuf {
    path::absolute(&path).unwrap_or(path)
}
