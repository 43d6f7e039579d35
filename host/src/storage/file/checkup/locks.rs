//! Who holds the vault's locks at this moment, and whether they can be taken.

use std::fs::{File, TryLockError};
use std::io;
use std::sync::Arc;

use rustix::fs::{Access, AtFlags, OFlags};

use super::super::super::{Holder, StorageError};
use super::super::documents::{Claim, Kind};
use super::super::folder::{Spot, Stat};
use super::super::foreign_marks::{Mark, Sign};
use super::super::holder::Hint;
use super::super::left_behind::LeftBehind;
use super::super::locks::LEFT_BEHIND;
use super::super::other_tools::marks;
use super::super::places::{Place, foreign_locks};
use super::super::{FileStorage, somebody_elses};
use super::{Code, Found, Help, Level, set_aside, shell_path};

/// A refresh takes seconds. Who holds a lock for longer than this hangs, or was stopped.
const LONG_HELD_MS: u64 = 120_000;
/// The grants' locks are numbered.
const GRANT_LOCKS: u8 = 64;

impl FileStorage {
    pub(super) fn locks_held(&self, place: &Place, now_ms: u64, found: &mut Found) {
        let (home, owner, mut left) = (place.locks(), place.anchor.owner(), LeftBehind::default());
        if let Ok(stat) = home.stat() {
            if let Some((what, fix)) = unusable(&home, &stat, owner) {
                let message =
                    format!("{} {what}: no lock can be taken, so nothing is refreshed", home.path().display());
                return found.note(Level::Error, Code::LocksUnusable, message, Help::fix(fix));
            }
            let Ok(folder) = home.folder.open(&home.name) else { return };
            let folder = Arc::new(folder);
            left = LeftBehind::read(&Spot { folder: folder.clone(), name: LEFT_BEHIND.into() });
            let documents = Kind::ALL.into_iter().filter(|kind| *kind != Kind::Profiles).map(Claim::Document);
            for claim in documents.chain((0..GRANT_LOCKS).map(Claim::Grant)) {
                let lock = Spot { folder: folder.clone(), name: claim.lock_name().into() };
                tried(&lock, owner, true, now_ms, found);
            }
        }
        for lock in foreign_locks(&place.anchor, self.foreign_lock) {
            tried(&lock, owner, false, now_ms, found);
        }
        for mark in marks(&place.anchor, self.foreign_lock) {
            made(&mark, mark.look((self.now)(), &left), found);
        }
    }
}

/// Why no lock can be taken in the folder of locks, and the command that mends it.
fn unusable(home: &Spot, stat: &Stat, owner: u32) -> Option<(String, String)> {
    let path = home.path();
    if !stat.is_dir() {
        return Some(("is not a directory".into(), set_aside(&path)));
    }
    if stat.user != owner && stat.user != 0 {
        let what = format!("belongs to user {}, and the vault to user {owner}", stat.user);
        return Some((what, set_aside(&path)));
    }
    if stat.mode & 0o022 != 0 {
        let what = format!("may be written by others (mode {:04o})", stat.mode);
        return Some((what, format!("chmod 700 {}", shell_path(&path))));
    }
    let wanted = Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK;
    let access = rustix::fs::accessat(&*home.folder, &home.name, wanted, AtFlags::EACCESS);
    // That it lies on a file system that is read-only is told of the vault.
    if access.is_ok() || access == Err(rustix::io::Errno::ROFS) {
        return None;
    }
    let folder = shell_path(&path);
    let is_ours = stat.user == rustix::process::geteuid().as_raw();
    let fix = if is_ours {
        format!("chmod 700 {folder}")
    } else {
        format!("sudo chown \"$(id -u)\" {folder} && chmod 700 {folder}")
    };
    Some(("may not be written".into(), fix))
}

/// What another tool's lock says of its maker.
fn made(mark: &Mark, sign: Result<Sign, StorageError>, found: &mut Found) {
    let at = mark.at.path();
    let (path, tool) = (at.display(), mark.tool);
    // Its maker may be back by the time that this is run.
    let remove = || Help::alternative(format!("{} {}", if mark.is_folder { "rmdir" } else { "rm" }, shell_path(&at)));
    let stale_s = mark.stale_after.as_secs();
    let (level, message, help) = match sign {
        Ok(Sign::Gone) => return,
        Ok(Sign::Lives(age)) => (
            Level::Ok,
            format!(
                "{path} is held: {tool}, or a lazaretto, refreshes the login. Its last sign of life is {} s old",
                age.as_secs()
            ),
            Help::NONE,
        ),
        Ok(Sign::OfOurs) => (
            Level::Ok,
            format!(
                "{path} was made by a lazaretto, which refreshes the login, or was killed: then the next refresh removes it"
            ),
            Help::NONE,
        ),
        Ok(Sign::Stale(age)) => (
            Level::Warning,
            format!(
                "{path} was left behind: {tool} has shown no sign of life for {} s. The next refresh removes it",
                age.as_secs()
            ),
            remove(),
        ),
        Ok(Sign::InTheFuture(ahead) | Sign::StaleInTheFuture(ahead)) => (
            Level::Warning,
            format!(
                "{path} is dated {} s ahead, so {tool} may wait for it for that long. A refresh removes it once it has seen it \
                 unchanged for {stale_s} s; if {tool} does not run, remove it yourself",
                ahead.as_secs()
            ),
            remove(),
        ),
        Err(error) => (Level::Error, error.message, Help::fix(format!("ls -ld {}", shell_path(&at)))),
    };
    found.note(level, Code::LockHeld, message, help);
}

/// Whether somebody holds a lock at this moment.
fn tried(at: &Spot, owner: u32, is_ours: bool, now_ms: u64, found: &mut Found) {
    let stat = match at.stat() {
        Ok(stat) => stat,
        // It is made when it is first wanted.
        Err(_) => return,
    };
    let path = &*at.path();
    let mut cannot = |message: String, fix: String| {
        found.note(Level::Error, Code::LocksUnusable, message, Help::fix(fix));
    };
    if !stat.is_file() {
        return cannot(format!("the lock {} is not a file: it cannot be taken", path.display()), set_aside(path));
    }
    if let Some(message) = somebody_elses(owner, &stat, path) {
        return cannot(message, set_aside(path));
    }
    let file: File = match at.folder.open_file(&at.name, OFlags::RDONLY | OFlags::NONBLOCK) {
        Ok(file) => file,
        Err(error) => {
            let word = shell_path(path);
            let is_ours = stat.user == rustix::process::geteuid().as_raw();
            let chown = if is_ours { String::new() } else { format!("sudo chown \"$(id -u)\" {word} && ") };
            let fix = format!("{chown}chmod 600 {word}");
            return cannot(format!("the lock {} cannot be opened: {error}", path.display()), fix);
        }
    };
    // Shared, so that two who only look do not take each other for a holder.
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
        Err(TryLockError::Error(error)) => {
            let message = format!("the lock {} cannot be taken on this file system: {error}", path.display());
            return cannot(message, format!("df -T {}", shell_path(path)));
        }
        Ok(()) => return, // closing lets go of it
    }
    let holder = if is_ours { Hint::read(&file).map(Holder::from).unwrap_or_default() } else { Holder::default() };
    let name = if holder.name.is_empty() { "a program" } else { &holder.name };
    let held_ms = holder.since_ms.map(|since_ms| now_ms.saturating_sub(since_ms));
    let since = held_ms.map_or_else(String::new, |held_ms| format!(", for {} s", held_ms / 1_000));
    let message = format!("{} is held by {name} at this moment{since}", path.display());
    let is_long = held_ms.is_some_and(|held_ms| held_ms > LONG_HELD_MS);
    let (level, help) = if is_long {
        (Level::Warning, Help::fix(format!("fuser -v {}", shell_path(path))))
    } else {
        (Level::Ok, Help::NONE)
    };
    found.note(level, Code::LockHeld, message, help);
}
