//! A document is the old text or the new one at every moment, whole, whatever fails or crashes: the new text is
//! written beside it under another name, synced, and renamed over it.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::FileType;

use super::super::{StorageError, StoreOutcome, random_id, version_of};
use super::errors::io_error;
use super::files::{Dir, Files, Temp, stat_of, sync_way_to};
use super::folder::Spot;
use super::holder::is_alive;
use super::text::Text;
use super::unsynced;

/// How many names are looked at, and how many files removed, in search of what crashed processes left.
const MAX_NAMES: usize = 1024;
const MAX_LEFTOVERS: usize = 16;

/// One replacement of a document.
pub(super) struct Change<'a> {
    /// The document's own file.
    pub(super) target: &'a Spot,
    /// Where a text that need not be durable may lie, in the same directory.
    pub(super) unsynced: Option<&'a Spot>,
    pub(super) text: &'a str,
    /// The version that it must be at. None: it must not exist.
    pub(super) expected: Option<&'a str>,
    pub(super) durable: bool,
}

/// Performs `change` under the document's lock, which the caller holds. `read` reads the document.
pub(super) fn replace(
    files: &dyn Files,
    change: &Change<'_>,
    read: impl Fn() -> Result<Option<Text>, StorageError>,
) -> Result<StoreOutcome, StorageError> {
    let path = change.target.path();
    let before = read()?;
    if !is_at(before.as_ref(), change.expected) {
        return Ok(stale(before));
    }

    let dir = Dir::open(&change.target.folder)?;
    remove_leftovers(files, &dir, change.target);
    if change.durable && before.is_none() {
        sync_way_to(files, &change.target.folder)?;
    }

    let is_replaced = before.as_ref().is_some_and(|text| text.is_unsynced);
    let beside = change.unsynced;
    if let Some(idle) = beside.filter(|beside| !is_replaced && beside.exists()) {
        // It was left behind. It must not come back if the file below it should ever be at that version again.
        let removed = files.remove(idle).and_then(|()| files.sync_dir(&dir));
        removed.map_err(|error| io_error("remove", &idle.path(), &error))?;
    }

    // The first text of a document needs a file of its own.
    let base = before.as_ref().filter(|_| !change.durable).map(|text| text.base.as_str());
    let unsynced = base.zip(beside).and_then(|(base, beside)| unsynced::spelled(base, change.text).zip(Some(beside)));
    let at = change.target.beside(temp_name(&change.target.name)?);
    let temp = Unfinished::create(files, &at).map_err(|error| io_error("create", &at.path(), &error))?;
    keep_group_and_mode(files, &temp.temp, before.as_ref(), change.target)?;
    let write = |text: &str| files.write(&temp.temp, text.as_bytes()).map_err(|error| io_error("write", &path, &error));
    match &unsynced {
        Some((spelled, _)) => write(spelled)?,
        // Also when the store need not be durable: a rename that reaches the disk before the content it names would
        // leave an empty document after a power cut.
        None => {
            write(change.text)?;
            files.sync_file(&temp.temp).map_err(|error| io_error("sync", &path, &error))?;
        }
    }

    // As late as can be, for programs that keep no lock.
    let now = read()?;
    let base = |text: &Option<Text>| text.as_ref().map(|text| text.base.clone());
    if !is_at(now.as_ref(), change.expected) || base(&now) != base(&before) {
        return Ok(stale(now));
    }
    if let Err(error) = files.rename(&temp.temp, &unsynced.as_ref().map_or(change.target, |(_, beside)| beside).name) {
        // What still has its own name has not taken the other's.
        return if temp.is_still_there() { Err(io_error("replace", &path, &error)) } else { Ok(StoreOutcome::Unknown) };
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

/// The file keeps its owner and its group, and the rights of both; nobody else gets any.
fn keep_group_and_mode(
    files: &dyn Files,
    temp: &Temp,
    before: Option<&Text>,
    target: &Spot,
) -> Result<(), StorageError> {
    let Some(old) = before.map(|text| &text.stat) else {
        return Ok(()); // as it was born
    };
    let path = temp.at.path();
    let born = stat_of(&temp.file, &path)?;
    if old.user != born.user {
        let what =
            format!("{} belongs to user {}, and only that user can replace it", target.path().display(), old.user);
        return Err(StorageError::new("denied", format!("{what}; nothing was written. Run as that user")));
    }
    // Another group must not come into the rights of one that cannot be kept.
    let keeps_group = old.group == born.group || files.set_group(temp, old.group).is_ok();
    let mode = old.mode & if keeps_group { 0o770 } else { 0o700 } | 0o600;
    if born.mode != mode {
        files.set_mode(temp, mode).map_err(|error| io_error("set the mode of", &path, &error))?;
    }
    Ok(())
}

/// A temporary file that is removed again unless it took its place.
pub(super) struct Unfinished<'a> {
    files: &'a dyn Files,
    pub(super) temp: Temp,
    is_kept: bool,
}

impl<'a> Unfinished<'a> {
    pub(super) fn create(files: &'a dyn Files, at: &Spot) -> io::Result<Self> {
        Ok(Self { files, temp: files.open_temp(at)?, is_kept: false })
    }

    fn is_still_there(&self) -> bool {
        self.temp.at.exists()
    }

    fn keep(mut self) {
        self.is_kept = true;
    }
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if !self.is_kept {
            // If it cannot be removed now, a later store does it.
            let _ = self.files.remove(&self.temp.at);
        }
    }
}

/// `.<file>.lazaretto-tmp.<pid>.<random>`
pub(super) fn temp_name(file_name: &OsStr) -> Result<OsString, StorageError> {
    let mut name = temp_prefix(file_name);
    name.push(format!("{}.{}", std::process::id(), random_id()?));
    Ok(name)
}

fn temp_prefix(file_name: &OsStr) -> OsString {
    let mut prefix = OsString::from(".");
    prefix.push(file_name);
    prefix.push(".lazaretto-tmp.");
    prefix
}

/// Removes what processes that are no more left of this document: it holds secrets. As we hold the document's
/// lock, no living process has such a file; that its process is gone as well is asked for safety.
fn remove_leftovers(files: &dyn Files, dir: &Dir, target: &Spot) {
    let prefix = temp_prefix(&target.name);
    let Ok(entries) = rustix::fs::Dir::read_from(&dir.file) else {
        return;
    };
    entries
        .take(MAX_NAMES)
        .flatten()
        .map(|entry| target.beside(OsStr::from_bytes(entry.file_name().to_bytes())))
        .filter(|at| pid_in(&at.name, &prefix).is_some_and(|pid| !is_another_living_process(pid)))
        .filter(|at| at.stat().is_ok_and(|stat| stat.kind == FileType::RegularFile))
        .take(MAX_LEFTOVERS)
        .for_each(|at| {
            let _ = files.remove(&at);
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
        assert_eq!(pid_in(&name, &temp_prefix(OsStr::new("auth.json.lazaretto"))), None);
        let random = "0123456789abcdef0123456789abcdef";
        for (other, pid) in [
            (format!(".auth.json.lazaretto-tmp.17.{random}"), Some(17)),
            (format!(".auth.json.lazaretto-tmp.+17.{random}"), None),
            (format!(".auth.json.lazaretto-tmp..{random}"), None),
            (format!(".auth.json.lazaretto-tmp.17.{random}0"), None),
            (format!(".auth.json.lazaretto-tmp.17.{}", random.to_uppercase()), None),
            (format!(".auth.json.lazaretto-tmp.17.{random}.bak"), None),
            (format!("auth.json.lazaretto-tmp.17.{random}"), None),
            ("auth.json.tmp.17.0123".into(), None),
        ] {
            assert_eq!(pid_in(OsStr::new(&other), &temp_prefix(vault)), pid, "{other}");
        }
    }
}
