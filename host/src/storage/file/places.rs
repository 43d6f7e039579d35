//! A document lies beside the vault file that all links lead to, whatever name it was opened by;
//! and so do its locks.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{self, Path, PathBuf};
use std::sync::Arc;

use super::super::StorageError;
use super::documents::{Claim, Kind};
use super::folder::{Spot, Stat};
use super::locks::LOCKS;
use super::safe_path::Way;

/// The layouts whose own lock is taken unless somebody says otherwise.
const REFERENCE_FILES: [&str; 2] = [REFERENCE_VAULT, "nous_auth.json"];
/// The reference's vault.
pub(super) const REFERENCE_VAULT: &str = "auth.json";

/// The paths that a storage was opened with.
pub(super) struct Places {
    pub(super) vault: PathBuf,
    pub(super) profiles: Option<PathBuf>,
    /// Whether nothing here is ever written: then root may read what is anybody's.
    pub(super) only_read: bool,
}

impl Places {
    /// Looks at a document with one stat, wherever the kernel finds it. None: that may be the wrong
    /// file.
    pub(super) fn glance(&self, kind: Kind) -> Option<io::Result<Stat>> {
        match kind.suffix() {
            None if kind == Kind::Vault => Some(stat_at(&self.vault)),
            None => Some(match &self.profiles {
                Some(profiles) => stat_at(profiles),
                None => Err(ErrorKind::NotFound.into()),
            }),
            Some(suffix) => {
                // Beside a link there lies nothing of ours, but beside its target.
                let is_link = fs::symlink_metadata(&self.vault).is_ok_and(|vault| vault.is_symlink());
                (!is_link).then(|| stat_at(&with_suffix(&self.vault, suffix)))
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
        let anchor = Arc::new(Way::walk(named)?);
        if kind != Kind::Profiles && !self.only_read {
            refuse_as_root(&anchor)?;
        }
        Place::of(anchor, kind).map(Some)
    }
}

/// Root would believe, and read for its owner, whatever that owner puts beside the vault.
fn refuse_as_root(vault: &Way) -> Result<(), StorageError> {
    let user = rustix::process::geteuid().as_raw();
    let Some(owner) = vault.file.map(|file| file.user).filter(|owner| user == 0 && *owner != 0) else {
        return Ok(());
    };
    let what = format!("{} belongs to user {owner}, and this process runs as root", vault.target().display());
    let fix = format!("run: sudo -u '#{owner}' ... or use the command `lazaretto`, which becomes that user");
    Err(StorageError::new("unsafe", format!("{what}: whatever that user puts beside it would be done as root. {fix}")))
}

/// Where a document lies.
#[derive(Clone)]
pub(super) struct Place {
    /// The way to the file that the locks are named after: the vault's, or the profiles' own.
    pub(super) anchor: Arc<Way>,
    /// The document's own file.
    pub(super) at: Spot,
    /// Whether the directory of that file is missing: then it is absent.
    is_nowhere: bool,
}

impl Place {
    /// Finds a document beside the file that `anchor` leads to.
    pub(super) fn of(anchor: Arc<Way>, kind: Kind) -> Result<Self, StorageError> {
        let own = anchor.spot();
        let at = match kind.suffix() {
            None => own,
            Some(suffix) => own.with_suffix(suffix),
        };
        // Its directory has been walked to already; only a link leads elsewhere.
        let is_link =
            kind.suffix().is_some() && anchor.missing.is_empty() && at.stat().is_ok_and(|found| found.is_link());
        if !is_link {
            let is_nowhere = !anchor.missing.is_empty();
            return Ok(Self { anchor, at, is_nowhere });
        }
        let way = anchor.on_to(at.name)?;
        let (at, is_nowhere) = (way.spot(), !way.missing.is_empty());
        Ok(Self { anchor, at, is_nowhere })
    }

    /// Whether both are the same file with the same locks; its owner may have changed.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.at.is(&other.at) && self.anchor.is(&other.anchor)
    }

    /// The document's own file. None: there is no directory that it could lie in.
    pub(super) fn file(&self) -> Option<&Spot> {
        (!self.is_nowhere).then_some(&self.at)
    }

    /// For messages.
    pub(super) fn path(&self) -> PathBuf {
        match self.anchor.spot().is(&self.at) {
            true => self.anchor.target(),
            false => self.at.path(),
        }
    }

    /// Where a text of this document may lie that was not synced. None: nowhere.
    pub(super) fn unsynced(&self, kind: Kind) -> Option<Spot> {
        // All other documents are read by people and by other programs, who would not know.
        (kind == Kind::Ledger).then(|| self.at.with_suffix(".unsynced"))
    }

    /// The directory of our own locks.
    pub(super) fn locks(&self) -> Spot {
        self.anchor.spot().with_suffix(LOCKS)
    }
}

impl Claim {
    /// The name of our own lock file for it.
    pub(super) fn lock_name(self) -> String {
        match self {
            Self::Document(kind) => kind.lock_name().to_owned(),
            Self::Grant(number) => format!("{number:02x}"),
        }
    }
}

/// The reference program's lock files for a vault, in the order of their paths.
///
/// It locks beside the path that it was given and not beside what a link leads to: so there is one
/// beside each. `wanted` none: if any of the paths is what the reference calls its vault.
pub(super) fn foreign_locks(vault: &Way, wanted: Option<bool>) -> Vec<Spot> {
    let names = || vault.links.iter().cloned().chain([vault.spot()]);
    let is_its = |at: Spot| REFERENCE_FILES.iter().any(|name| at.name == *name);
    if !wanted.unwrap_or_else(|| names().any(is_its)) {
        return Vec::new();
    }
    let is_json = |at: &Spot| Path::new(&at.name).extension() == Some(OsStr::new("json"));
    let mut locks: Vec<Spot> = names().filter(is_json).map(|at| at.with_extension("lock")).collect();
    locks.sort_by_key(Spot::path);
    locks.dedup_by(|one, other| one.is(other));
    locks
}

fn stat_at(path: &Path) -> io::Result<Stat> {
    Ok(rustix::fs::stat(path).map(|stat| Stat::from(&stat))?)
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Later changes of the current directory must not move a vault. If there is none, walking to it
/// says so.
pub(super) fn absolute(path: PathBuf) -> PathBuf {
    path::absolute(&path).unwrap_or(path)
}
