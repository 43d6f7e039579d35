//! New tokens that can be stored nowhere else are kept in a file of their own in the user's state
//! folder, until the next call on the same vault stores them:
//! `<state>/lazaretto/rescue/<hash of the vault's path>.<random>`.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::super::{Rescued, StorageError, random_id, version_of};
use super::errors::io_error;
use super::files::{Dir, Disk, Files, create_dirs, stat_of, sync_way_to};
use super::folder::{Folder, Spot};
use super::safe_path::Way;
use super::{FileStorage, Kind};

/// In the state folder.
const FOLDER: &str = "lazaretto/rescue";
/// More than one answer's tokens can be.
const MAX_BYTES: u64 = 1024 * 1024;

/// Where programs keep the state of this user: the XDG Base Directory Specification. None: nothing
/// says where.
pub(super) fn state_folder() -> Option<PathBuf> {
    let set = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    // A relative path there is to be ignored.
    set("XDG_STATE_HOME").or_else(|| set("HOME").map(|home| home.join(".local/state")))
}

impl FileStorage {
    /// Keeps tokens that could be stored in no document, durably and for this user alone. Returns
    /// the path of the file.
    pub(super) fn keep_for_later(&self, unsaved: &str) -> Result<PathBuf, StorageError> {
        let nowhere =
            || StorageError::new("unsupported", "there is no state folder: neither $XDG_STATE_HOME nor $HOME is set");
        let state = self.state.as_ref().ok_or_else(nowhere)?;
        let target = self.places.find(Kind::Vault).ok().flatten().map(|place| place.anchor.target());
        let mut name = OsString::from(prefix(target.as_ref().unwrap_or(&self.places.vault)));
        name.push(random_id()?);
        let way = create_dirs(&Disk, Way::walk(&state.join(FOLDER).join(&name))?)?;
        is_private(&way.folder)?;
        let (at, dir) = (way.spot(), Dir::open(&way.folder)?);
        let path = at.path();
        let failed = |error| io_error("keep the new tokens in", &path, &error);
        let temp = Disk.open_temp(&at).map_err(failed)?;
        let written = Disk.write(&temp, unsaved.as_bytes()).and_then(|()| Disk.sync_file(&temp));
        written
            .and_then(|()| Disk.sync_dir(&dir))
            .map_err(failed)
            .and_then(|()| sync_way_to(&Disk, &way.folder))
            .inspect_err(
                // Half of it is of no use, and secret.
                |_| drop(Disk.remove(&at)),
            )?;
        Ok(path)
    }

    /// What was kept for this vault. What cannot be read, or is not this user's alone, is left out.
    pub(super) fn kept_for_later(&self) -> Vec<Rescued> {
        let Some(folder) = self.state.as_ref().map(|state| state.join(FOLDER)).filter(|folder| folder.exists()) else {
            return Vec::new(); // nothing ever was
        };
        let target = self.places.find(Kind::Vault).ok().flatten().map(|place| place.anchor.target());
        let vaults: Vec<OsString> =
            target.iter().chain([&self.places.vault]).map(|vault| prefix(vault).into()).collect();
        let Ok(way) = Way::walk(&folder.join("any")) else { return Vec::new() };
        let listed = is_private(&way.folder).ok().and_then(|()| way.folder.listed().ok());
        let Some(entries) = listed.and_then(|dir| rustix::fs::Dir::read_from(&dir).ok()) else { return Vec::new() };
        let names = entries.flatten().map(|entry| OsStr::from_bytes(entry.file_name().to_bytes()).to_owned());
        let is_ours = |name: &OsString| vaults.iter().any(|vault| name.as_bytes().starts_with(vault.as_bytes()));
        names.filter(is_ours).filter_map(|name| read(&way.spot().beside(name))).collect()
    }

    /// Removes what was kept, when it has been stored.
    pub(super) fn forget_kept(&self, name: &str) {
        let way = self.state.as_ref().and_then(|state| Way::walk(&state.join(FOLDER).join(name)).ok());
        if let Some(way) = way.filter(|way| way.missing.is_empty() && way.links.is_empty()) {
            // What stays is stored once more by the next call, which changes nothing.
            let _ = Disk.remove(&way.spot());
            let _ = Dir::open(&way.folder).map(|dir| Disk.sync_dir(&dir));
        }
    }
}

/// What the names of a vault's files begin with.
fn prefix(vault: &Path) -> String {
    format!("{}.", version_of(vault.as_os_str().as_bytes()))
}

/// Nobody else can put a file there.
fn is_private(folder: &Folder) -> Result<(), StorageError> {
    if folder.stat.user == rustix::process::geteuid().as_raw() && folder.stat.mode & 0o077 == 0 {
        return Ok(());
    }
    let what = format!("{} is not this user's alone, so no tokens are kept there", folder.path.display());
    Err(StorageError::new("unsafe", what))
}

fn read(at: &Spot) -> Option<Rescued> {
    let file = at.folder.open_file(&at.name, OFlags::RDONLY | OFlags::NONBLOCK).ok()?;
    let stat = stat_of(&file, &at.path()).ok()?;
    let is_own = stat.is_file() && stat.user == rustix::process::geteuid().as_raw() && stat.mode == 0o600;
    let mut unsaved = String::new();
    (is_own && stat.size <= MAX_BYTES).then_some(())?;
    file.take(MAX_BYTES).read_to_string(&mut unsaved).ok()?;
    Some(Rescued { name: at.name.to_str()?.to_owned(), unsaved })
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn storage(home: &Path, vault: &str) -> FileStorage {
        let vault = home.join(vault);
        fs::create_dir_all(vault.parent().expect("a directory")).expect("made");
        fs::write(&vault, "{}").expect("written");
        let mut storage = FileStorage::open(vault);
        storage.state = Some(home.join("state"));
        storage
    }

    #[test]
    fn what_is_kept_is_found_by_the_same_vault_alone() {
        let home = tempfile::tempdir().expect("a directory");
        let (one, other) = (storage(home.path(), "one/auth.json"), storage(home.path(), "other/auth.json"));
        assert_eq!(one.kept_for_later(), []);
        let path = one.keep_for_later("rt-secret").expect("kept");
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o7777;
        assert_eq!((mode(&path), mode(path.parent().expect("a directory"))), (0o600, 0o700));
        std::os::unix::fs::symlink("one/auth.json", home.path().join("link.json")).expect("linked");
        let mut linked = FileStorage::open(home.path().join("link.json"));
        linked.state = one.state.clone();
        assert_eq!(other.kept_for_later(), []);
        for storage in [&one, &linked] {
            let kept = storage.kept_for_later();
            assert_eq!(kept.iter().map(|kept| kept.unsaved.as_str()).collect::<Vec<_>>(), ["rt-secret"]);
            assert!(!format!("{kept:?}").contains("rt-secret"));
        }
        one.forget_kept(&one.kept_for_later()[0].name);
        assert!(one.kept_for_later().is_empty() && !path.exists());
    }

    #[test]
    fn what_others_could_have_put_there_is_not_believed() {
        let home = tempfile::tempdir().expect("a directory");
        let one = storage(home.path(), "auth.json");
        let path = one.keep_for_later("rt-secret").expect("kept");
        fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("chmod");
        assert_eq!(one.kept_for_later(), []);
        fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("chmod");
        assert_eq!(one.kept_for_later().len(), 1);
        fs::set_permissions(path.parent().expect("a directory"), Permissions::from_mode(0o770)).expect("chmod");
        assert_eq!(one.kept_for_later(), []);
        assert_eq!(one.keep_for_later("more").err().map(|error| error.code), Some("unsafe"));
    }
}
