//! A text is written beside its document under a name of its own, and what processes that have
//! ended left of such files is removed: they hold secrets.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{FileType, FlockOperation, OFlags, flock};
use rustix::io::Errno;

use super::super::{StorageError, random_id};
use super::files::{Dir, Files, Temp};
use super::folder::Spot;
use super::holder::is_alive;

/// How many names are looked at, and how many files removed, in search of leftovers.
const MAX_NAMES: usize = 1024;
const MAX_LEFTOVERS: usize = 16;

/// A temporary file that is removed again unless it took its place.
pub(super) struct Unfinished<'a> {
    files: &'a dyn Files,
    pub(super) temp: Temp,
    is_kept: bool,
}

impl<'a> Unfinished<'a> {
    /// Creates the file, for its owner alone.
    pub(super) fn create(files: &'a dyn Files, at: &Spot) -> io::Result<Self> {
        Ok(Self { files, temp: files.open_temp(at)?, is_kept: false })
    }

    /// Leaves the file where it is.
    pub(super) fn keep(mut self) {
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

/// Locks a temporary file, so that no store of its document takes it for a leftover: a process in
/// another container cannot tell that ours is alive.
pub(super) fn show_that_it_is_wanted(temp: &Temp) {
    // Where there are no locks a store may remove the file, and the one that it is for makes
    // another.
    let _ = flock(&temp.file, FlockOperation::NonBlockingLockExclusive);
}

/// Returns the name of a new temporary file: `.<file>.lazaretto-tmp.<pid>.<random>`.
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

/// Removes what processes that have ended left of this document. As the caller holds the document's
/// lock, no living process has such a file but a prepared one, which is locked; that its process
/// has ended as well is asked for safety.
pub(super) fn remove_leftovers(files: &dyn Files, dir: &Dir, target: &Spot) {
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
        .filter(|at| !is_wanted(at))
        .take(MAX_LEFTOVERS)
        .for_each(|at| {
            let _ = files.remove(&at);
        });
}

/// Returns whether somebody prepared the file and still has it open.
fn is_wanted(at: &Spot) -> bool {
    let Ok(file) = at.folder.open_file(&at.name, OFlags::RDONLY | OFlags::NONBLOCK) else { return false };
    flock(&file, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK)
}

/// Returns the process that made a temporary file, if its name is exactly one of ours.
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
