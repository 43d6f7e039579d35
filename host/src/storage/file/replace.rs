//! A document is the old text or the new one at every moment, whole, whatever fails or crashes: the new text is
//! written beside it under another name, synced, and renamed over it.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::super::{StorageError, StoreOutcome, random_id, version_of};
use super::errors::io_error;
use super::files::{Dir, Files, Temp, sync_way_to};
use super::holder::is_alive;
use super::text::Text;
use super::unsynced;

/// How many names are looked at, and how many files removed, in search of what crashed processes left.
const MAX_NAMES: usize = 1024;
const MAX_LEFTOVERS: usize = 16;

/// One replacement of a document.
pub(super) struct Change<'a> {
    /// The document, in a directory named without links.
    pub(super) target: &'a Path,
    /// Where a text that need not be durable may lie, in the same directory.
    pub(super) unsynced: Option<&'a Path>,
    pub(super) text: &'a str,
    /// The version that it must be at. None: it must not exist.
    pub(super) expected: Option<&'a str>,
    pub(super) durable: bool,
    /// Whom the document is to belong to if it is new. None: to this process.
    pub(super) new_owner: Option<(u32, u32)>,
}

/// Performs `change` under the document's lock, which the caller holds. `read` reads the document.
pub(super) fn replace(
    files: &dyn Files,
    change: &Change<'_>,
    read: impl Fn() -> Result<Option<Text>, StorageError>,
) -> Result<StoreOutcome, StorageError> {
    let target = change.target;
    let (Some(parent), Some(file_name)) = (target.parent(), target.file_name()) else {
        return Err(StorageError::new("unsupported", format!("{} is not the path of a file", target.display())));
    };

    let before = read()?;
    if !is_at(before.as_ref(), change.expected) {
        return Ok(stale(before));
    }

    let dir = Dir::open(parent)?;
    remove_leftovers(files, &dir.path, file_name);
    if change.durable && before.is_none() {
        sync_way_to(files, &dir)?;
    }

    let is_replaced = before.as_ref().is_some_and(|text| text.is_unsynced);
    let beside = change.unsynced;
    if let Some(idle) = beside.filter(|path| !is_replaced && fs::symlink_metadata(path).is_ok()) {
        // It was left behind. It must not come back if the file below it should ever be at that version again.
        let removed = files.remove(idle).and_then(|()| files.sync_dir(&dir));
        removed.map_err(|error| io_error("remove", idle, &error))?;
    }

    // The first text of a document needs a file of its own.
    let base = before.as_ref().filter(|_| !change.durable).map(|text| text.base.as_str());
    let unsynced = base.zip(beside).and_then(|(base, path)| unsynced::spelled(base, change.text).zip(Some(path)));
    let temp = Unfinished::open(files, &dir.path.join(temp_name(file_name)?))?;
    keep_owner_and_mode(files, &temp.temp, before.as_ref(), change)?;
    let write =
        |text: &str| files.write(&temp.temp, text.as_bytes()).map_err(|error| io_error("write", target, &error));
    match &unsynced {
        Some((spelled, _)) => write(spelled)?,
        // Also when the store need not be durable: a rename that reaches the disk before the content it names would
        // leave an empty document after a power cut.
        None => {
            write(change.text)?;
            files.sync_file(&temp.temp).map_err(|error| io_error("sync", target, &error))?;
        }
    }

    // As late as can be, for programs that keep no lock.
    let now = read()?;
    let base = |text: &Option<Text>| text.as_ref().map(|text| text.base.clone());
    if !is_at(now.as_ref(), change.expected) || base(&now) != base(&before) {
        return Ok(stale(now));
    }
    if let Err(error) = files.rename(&temp.temp, unsynced.as_ref().map_or(target, |(_, path)| path)) {
        // What still has its own name has not taken the other's.
        return if temp.is_still_there() {
            Err(io_error("replace", target, &error))
        } else {
            Ok(StoreOutcome::Unknown)
        };
    }
    temp.keep();

    if let Some(replaced) = beside.filter(|_| is_replaced && unsynced.is_none())
        && files.remove(replaced).is_err()
    {
        return Ok(StoreOutcome::Unknown);
    }
    if change.durable && files.sync_dir(&dir).is_err() {
        return Ok(StoreOutcome::Unknown);
    }
    Ok(StoreOutcome::Stored(version_of(change.text.as_bytes())))
}

fn is_at(text: Option<&Text>, expected: Option<&str>) -> bool {
    text.map(|text| text.document.version.as_str()) == expected
}

fn stale(current: Option<Text>) -> StoreOutcome {
    StoreOutcome::Stale(current.map(|text| text.document))
}

/// The file keeps its owner, and never gets more rights than its owner's own.
fn keep_owner_and_mode(
    files: &dyn Files,
    temp: &Temp,
    before: Option<&Text>,
    change: &Change<'_>,
) -> Result<(), StorageError> {
    let born = temp.file.metadata().map_err(|error| io_error("look at", &temp.path, &error))?;
    let owner = before.map(|text| (text.stat.uid(), text.stat.gid())).or(change.new_owner);
    if let Some((user, group)) = owner
        && (user, group) != (born.uid(), born.gid())
        && files.set_owner(temp, user, group).is_err()
        // A group that cannot be kept has no rights to lose: the mode gives it none.
        && user != born.uid()
    {
        return Err(StorageError::new(
            "denied",
            format!(
                "{} belongs to user {user}, and only that user or root can replace it and leave it so; \
                 nothing was written. Run as that user",
                change.target.display()
            ),
        ));
    }
    let mode = before.map_or(0, |text| text.stat.mode() & 0o700) | 0o600;
    if born.mode() & 0o7777 != mode {
        files.set_mode(temp, mode).map_err(|error| io_error("set the mode of", &temp.path, &error))?;
    }
    Ok(())
}

/// A temporary file that is removed again unless it took its place.
struct Unfinished<'a> {
    files: &'a dyn Files,
    temp: Temp,
}

impl<'a> Unfinished<'a> {
    fn open(files: &'a dyn Files, path: &Path) -> Result<Self, StorageError> {
        let temp = files.open_temp(path).map_err(|error| io_error("create", path, &error))?;
        Ok(Self { files, temp })
    }

    fn is_still_there(&self) -> bool {
        fs::symlink_metadata(&self.temp.path).is_ok()
    }

    fn keep(mut self) {
        self.temp.path = PathBuf::new();
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if !self.temp.path.as_os_str().is_empty() {
            // If it cannot be removed now, a later store does it.
            let _ = self.files.remove(&self.temp.path);
        }
    }
}

/// `.<file>.lazaret-tmp.<pid>.<random>`
fn temp_name(file_name: &OsStr) -> Result<OsString, StorageError> {
    let mut name = temp_prefix(file_name);
    name.push(format!("{}.{}", std::process::id(), random_id()?));
    Ok(name)
}

fn temp_prefix(file_name: &OsStr) -> OsString {
    let mut prefix = OsString::from(".");
    prefix.push(file_name);
    prefix.push(".lazaret-tmp.");
    prefix
}

/// Removes what processes that are no more left of this document: it holds secrets. As we hold the document's
/// lock, no living process has such a file; that its process is gone as well is asked for safety.
fn remove_leftovers(files: &dyn Files, dir: &Path, file_name: &OsStr) {
    let prefix = temp_prefix(file_name);
    let Ok(entries) = fs::read_dir(dir) else {
        return;
    };
    entries
        .take(MAX_NAMES)
        .flatten()
        .filter(|entry| pid_in(&entry.file_name(), &prefix).is_some_and(|pid| !is_another_living_process(pid)))
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()))
        .take(MAX_LEFTOVERS)
        .for_each(|entry| {
            let _ = files.remove(&entry.path());
        });
}

/// The process that made a temporary file, if its name is exactly one of ours.
fn pid_in(name: &OsStr, prefix: &OsStr) -> Option<u32> {
    let rest = std::str::from_utf8(name.as_bytes().strip_prefix(prefix.as_bytes())?).ok()?;
    let (pid, random) = rest.split_once('.')?;
    let is_random = random.len() == 32 && random.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let is_number = pid.bytes().all(|b| b.is_ascii_digit());
    if is_random && is_number { pid.parse().ok() } else { None }
}

/// A file with our own pid is not ours either: in a container every process may have had it.
fn is_another_living_process(pid: u32) -> bool {
    pid != std::process::id() && is_alive(pid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temporary_name_is_recognised_by_its_document_only() {
        let vault = OsStr::new("auth.json");
        let name = temp_name(vault).expect("random bytes");
        assert_eq!(pid_in(&name, &temp_prefix(vault)), Some(std::process::id()));
        assert_eq!(pid_in(&name, &temp_prefix(OsStr::new("auth.json.lazaret"))), None);
        let random = "0123456789abcdef0123456789abcdef";
        for (other, pid) in [
            (format!(".auth.json.lazaret-tmp.17.{random}"), Some(17)),
            (format!(".auth.json.lazaret-tmp.+17.{random}"), None),
            (format!(".auth.json.lazaret-tmp..{random}"), None),
            (format!(".auth.json.lazaret-tmp.17.{random}0"), None),
            (format!(".auth.json.lazaret-tmp.17.{}", random.to_uppercase()), None),
            (format!(".auth.json.lazaret-tmp.17.{random}.bak"), None),
            (format!("auth.json.lazaret-tmp.17.{random}"), None),
            ("auth.json.tmp.17.0123".into(), None),
        ] {
            assert_eq!(pid_in(OsStr::new(&other), &temp_prefix(vault)), pid, "{other}");
        }
    }
}
