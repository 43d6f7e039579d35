//! A lock is held by an open file, so it ends with its holder and with nothing else: never by age,
//! never because somebody removed a file. Locks are `flock` on files of their own, which are never
//! deleted; two handles exclude each other within one process as between two.

use std::ffi::OsString;
use std::fs::{File, TryLockError};
use std::io::{self, ErrorKind};
use std::process;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use rustix::fs::OFlags;

use super::super::{Holder, StorageError};
use super::errors::io_error;
use super::files::{Files, create_dir, stat_of};
use super::folder::{Folder, Spot, Stat, suffixed};
use super::foreign_marks::{BEAT, Made, Mark};
use super::heartbeat::Heartbeat;
use super::holder::Hint;
use super::left_behind::LeftBehind;
use super::sight;

/// The pauses between two looks at a lock that somebody holds.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(25);

/// What follows the vault's path in that of the directory of our locks.
pub(super) const LOCKS: &str = ".lazaretto-locks";
/// What is known of other tools' locks, in that directory.
pub(super) const LEFT_BEHIND: &str = "made";
/// The same of the folder of hosts that cannot take them: see `docs/file-store.md`.
const WITHOUT_FLOCK: &str = ".lazaretto-wasi";

/// The locks that make up one lease, in the order in which they are taken.
pub(super) struct Locks {
    /// Another program's own lock files: locked, never written.
    pub(super) foreign: Vec<Spot>,
    /// Other programs' too, of those that lock by making something.
    pub(super) marks: Vec<Mark>,
    /// The directory of our own lock files, which need not exist.
    pub(super) home: Spot,
    /// The one of them that is wanted.
    pub(super) own: OsString,
    /// The fingerprint of the grant that it is wanted for, if it is one on grants.
    pub(super) grant: Option<String>,
    /// Whose the vault is: lock files are that user's or root's.
    pub(super) owner: u32,
    /// What time the marks are dated with and judged by.
    pub(super) now: fn() -> SystemTime,
}

/// Locks that are held until this is dropped.
pub(super) struct Held {
    /// Another program's, in the order of taking, and our own as the last.
    locks: Vec<Lock>,
    made: Vec<Made>,
    heartbeat: Option<Heartbeat>,
    /// The directory of our own, as others would look for it.
    home: Spot,
    /// The process that took them. One that is forked off has the files too, but not the right.
    pid: u32,
}

/// A lock file that was opened, and where.
struct Lock {
    file: File,
    at: Spot,
}

/// The marks that were made, and what shows that we live while they are held.
type Marks = (Vec<Made>, Option<Heartbeat>);

impl Held {
    pub(super) fn is_of_this_process(&self) -> bool {
        self.pid == process::id()
    }

    /// The kernel's locks end with a process, and what it made stays.
    #[cfg(test)]
    pub(super) fn end_as_if_killed(&self) {
        self.locks.last().into_iter().for_each(|own| sight::hide(&own.file));
        unlock(&self.locks);
    }

    #[cfg(test)]
    pub(super) fn pretend_to_be_forked(&mut self) {
        self.pid += 1;
    }

    /// Whether each is still the file that others would lock: somebody may have moved or removed it
    /// all the same.
    pub(super) fn is_in_place(&self) -> bool {
        let home = self.locks.last().map(|own| own.at.folder.stat.identity);
        self.home.stat().is_ok_and(|named| Some(named.identity) == home)
            && self.locks.iter().all(|lock| {
                let (named, locked) = (lock.at.stat(), Stat::of(&lock.file));
                named.is_ok_and(|named| locked.is_ok_and(|locked| named.identity == locked.identity))
            })
            && self.made.iter().all(Made::is_in_place)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.is_of_this_process() {
            return; // closed, and nothing else: the lock is its parent's
        }
        if let Some(own) = self.locks.last() {
            sight::hide(&own.file);
            Hint::clear(&own.file);
        }
        drop(self.heartbeat.take());
        self.made.iter().for_each(Made::remove);
        // Closing would do, but for a process forked off in between, which keeps the file open.
        unlock(&self.locks);
    }
}

/// What waiting for locks came to.
pub(super) enum Taken {
    Held(Held),
    Busy(Holder),
}

/// How long somebody is ready to wait, for all locks together.
#[derive(Clone, Copy)]
pub(super) struct Patience {
    started: Instant,
    wait: Duration,
}

impl Patience {
    pub(super) fn new(wait: Duration) -> Self {
        Self { started: Instant::now(), wait }
    }

    fn left(&self) -> Option<Duration> {
        self.wait.checked_sub(self.started.elapsed()).filter(|left| !left.is_zero())
    }
}

impl Locks {
    /// Takes all of them, or none.
    pub(super) fn take(&self, files: &dyn Files, patience: Patience) -> Result<Taken, StorageError> {
        let locks = self.open(files)?;
        let mut pauses = Pauses { patience, next: FIRST_PAUSE };
        let (made, heartbeat) = loop {
            let busy = match lock_all(&locks)? {
                None => match self.make_all(&locks)? {
                    Ok(all) => break all,
                    Err(busy) => {
                        unlock(&locks);
                        Holder { name: held_by_a_program(busy), since_ms: None }
                    }
                },
                Some(busy) => holder(&locks, busy),
            };
            if !pauses.wait() {
                return Ok(Taken::Busy(busy));
            }
        };
        if let Some(own) = locks.last() {
            Hint::of_this_process(self.grant.as_deref()).write(&own.file);
            sight::show(&own.file);
        }
        Ok(Taken::Held(Held { locks, made, heartbeat, home: self.home.clone(), pid: process::id() }))
    }

    /// Who holds our own lock. Nothing is taken, made or written.
    pub(super) fn holder(&self) -> Result<Option<Holder>, StorageError> {
        no_host_without_flock(&self.home)?;
        let nobody_if_missing = |at: &Spot, error: io::Error| match error.kind() {
            ErrorKind::NotFound => Ok(None),
            _ => Err(io_error("look at the lock", &at.path(), &error)),
        };
        let home = match self.home.folder.open(&self.home.name) {
            Ok(home) => self.checked(home)?,
            Err(error) => return nobody_if_missing(&self.home, error),
        };
        let own = Spot { folder: Arc::new(home), name: self.own.clone() };
        match own.folder.open_file(&own.name, OFlags::RDONLY | OFlags::NONBLOCK) {
            Ok(file) => Ok(sight::holder(&file, self.grant.as_deref())),
            Err(error) => nobody_if_missing(&own, error),
        }
    }

    /// Every mark, or none: then the one that somebody else holds. Our own lock is held, so nobody
    /// else reads or writes what is known of them.
    fn make_all(&self, locks: &[Lock]) -> Result<Result<Marks, &Spot>, StorageError> {
        let mut made = Vec::new();
        if self.marks.is_empty() {
            return Ok(Ok((made, None)));
        }
        let Some(own) = locks.last() else { return Ok(Ok((made, None))) };
        // Where it is noted which marks a lazaretto made.
        let known = own.at.beside(LEFT_BEHIND);
        let mut left = LeftBehind::read(&known);
        let mut busy = Ok(None);
        for mark in &self.marks {
            match mark.make((self.now)(), &mut left) {
                Ok(Some(mark)) => made.push(mark),
                Err(_) if mark.is_optional => {}
                failed => {
                    made.drain(..).for_each(|made| made.remove());
                    busy = failed.map(|_| Some(&mark.at));
                    break;
                }
            }
        }
        left.write(|| self.open_lock(&known).map(|(file, _)| file));
        if let Some(busy) = busy? {
            return Ok(Err(busy));
        }
        let heartbeat = Heartbeat::start(&made, left.signature(), self.now, BEAT);
        Ok(Ok((made, heartbeat)))
    }

    /// All of them in their order, each once.
    fn open(&self, files: &dyn Files) -> Result<Vec<Lock>, StorageError> {
        let home = Arc::new(self.open_home(files)?);
        let own = Spot { folder: home, name: self.own.clone() };
        let mut locks: Vec<(Lock, Stat)> = Vec::new();
        for at in self.foreign.iter().cloned().chain([own]) {
            let (file, stat) = self.open_lock(&at)?;
            // Two names of one lock file would wait for each other for ever.
            if !locks.iter().any(|(_, other)| stat.identity == other.identity) {
                locks.push((Lock { file, at }, stat));
            }
        }
        Ok(locks.into_iter().map(|(lock, _)| lock).collect())
    }

    /// Opens the directory of our own locks, and creates it if it is missing.
    fn open_home(&self, files: &dyn Files) -> Result<Folder, StorageError> {
        no_host_without_flock(&self.home)?;
        let mut found = self.home.stat();
        if found.as_ref().is_err_and(|error| error.kind() == ErrorKind::NotFound) {
            create_dir(files, &self.home)?;
            // Such a host makes its folder and then looks for this one: of two that begin at once
            // none goes on.
            let remove = || drop(self.home.folder.remove_dir(&self.home.name));
            no_host_without_flock(&self.home).inspect_err(|_| remove())?;
            found = self.home.stat();
        }
        let found = found.map_err(|error| io_error("look at", &self.home.path(), &error))?;
        if !found.is_dir() {
            return Err(self.unsafe_home("is not a directory: lazaretto keeps its locks there"));
        }
        let home = self.home.folder.open(&self.home.name);
        self.checked(home.map_err(|error| io_error("open the directory", &self.home.path(), &error))?)
    }

    /// The directory of our own locks, if nobody else can have put them there or take them away.
    fn checked(&self, home: Folder) -> Result<Folder, StorageError> {
        if home.stat.user != self.owner && home.stat.user != 0 {
            let (user, owner) = (home.stat.user, self.owner);
            return Err(self.unsafe_home(&format!(
                "belongs to user {user} and the vault to user {owner}: who made it holds its locks"
            )));
        }
        if home.stat.mode & 0o022 != 0 {
            return Err(self.unsafe_home(&format!(
                "may be written by others (mode {:04o}): they could take its locks away",
                home.stat.mode
            )));
        }
        Ok(home)
    }

    fn unsafe_home(&self, what: &str) -> StorageError {
        StorageError::new("unsafe", format!("{} {what}; move it away", self.home.path().display()))
    }

    /// Opens a lock file, and creates it for its owner alone if it is missing.
    fn open_lock(&self, at: &Spot) -> Result<(File, Stat), StorageError> {
        let path = at.path();
        let open = |flags: OFlags| at.folder.open_file(&at.name, OFlags::RDWR | OFlags::NONBLOCK | flags);
        let opened = match open(OFlags::empty()) {
            Err(error) if error.kind() == ErrorKind::NotFound => match open(OFlags::CREATE | OFlags::EXCL) {
                // Somebody else was faster: theirs is the lock.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => open(OFlags::empty()),
                created => created,
            },
            opened => opened,
        };
        let file = opened.map_err(|error| io_error("open the lock", &path, &error))?;
        let stat = stat_of(&file, &path)?;
        if !stat.is_file() {
            return Err(StorageError::new(
                "unsafe",
                format!("the lock {} is not a file: move it away", path.display()),
            ));
        }
        super::belongs_to(self.owner, &stat, &path)?;
        Ok((file, stat))
    }
}

/// A WASI host takes none of these locks, and keeps leases of its own in a folder beside ours: both
/// at once would lose updates.
fn no_host_without_flock(home: &Spot) -> Result<(), StorageError> {
    let Some(vault) = home.name.to_str().and_then(|name| name.strip_suffix(LOCKS)) else {
        return Ok(());
    };
    let theirs = home.beside(suffixed(vault.as_ref(), WITHOUT_FLOCK));
    if !theirs.exists() {
        return Ok(());
    }
    let what = "is used by a lazaretto on a WASI host, which sees none of this one's locks";
    let fix =
        format!("nothing is written. If no such lazaretto uses the vault any more, remove {}", theirs.path().display());
    Err(StorageError::new("unsupported", format!("{} {what}: {fix}", home.beside(vault).path().display())))
}

/// Locks all of them, or none: who kept the first while waiting for the second could wait for
/// somebody who does the opposite, and another program's order is its own. Some: the one that
/// somebody else holds.
fn lock_all(locks: &[Lock]) -> Result<Option<usize>, StorageError> {
    for (at, lock) in locks.iter().enumerate() {
        let error = loop {
            match lock.file.try_lock() {
                Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Interrupted => {}
                Ok(()) => break None,
                Err(error) => break Some(error),
            }
        };
        if let Some(error) = error {
            unlock(&locks[..at]);
            return match error {
                TryLockError::WouldBlock => Ok(Some(at)),
                TryLockError::Error(error) => Err(io_error("lock", &lock.at.path(), &error)),
            };
        }
    }
    Ok(None)
}

/// In the reverse of the order of taking.
fn unlock(locks: &[Lock]) {
    for lock in locks.iter().rev() {
        // What cannot be unlocked is unlocked when it is closed.
        let _ = lock.file.unlock();
    }
}

/// The pauses of one who waits.
struct Pauses {
    patience: Patience,
    next: Duration,
}

impl Pauses {
    /// False: the patience has ended.
    fn wait(&mut self) -> bool {
        let Some(left) = self.patience.left() else {
            return false;
        };
        // Half of the pause by chance, so that those who wait do not all look at the same moment.
        let chance = f64::from(getrandom::u32().unwrap_or(0)) / f64::from(u32::MAX);
        thread::sleep(self.next.mul_f64(0.5 + chance / 2.0).min(left));
        self.next = (self.next * 2).min(LONGEST_PAUSE);
        true
    }
}

/// Who may hold `locks[busy]`. Another program's lock: a lazaretto, if one that lives says so in
/// our own lock file.
fn holder(locks: &[Lock], busy: usize) -> Holder {
    let hint = locks.last().and_then(|own| Hint::read(&own.file));
    if busy + 1 == locks.len() {
        return hint.map(Holder::from).unwrap_or_default();
    }
    hint.filter(Hint::is_of_a_living_process_here)
        .map_or_else(|| Holder { name: held_by_a_program(&locks[busy].at), since_ms: None }, Holder::from)
}

fn held_by_a_program(lock: &Spot) -> String {
    format!("a program that holds {}", lock.path().display())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};
    use std::process::Command;
    use std::time::UNIX_EPOCH;

    use super::super::files::Disk;
    use super::*;

    fn locks(dir: &Path) -> Locks {
        let owner = rustix::process::geteuid().as_raw();
        let home = Spot::at(&dir.join("locks"));
        let (foreign, marks, now) = (Vec::new(), Vec::new(), SystemTime::now);
        Locks { foreign, marks, home, own: "00".into(), grant: None, owner, now }
    }

    fn spots<const N: usize>(paths: [&PathBuf; N]) -> Vec<Spot> {
        paths.map(|path| Spot::at(path)).into()
    }

    fn now() -> Patience {
        Patience::new(Duration::ZERO)
    }

    fn held(taken: Result<Taken, StorageError>) -> Held {
        match taken {
            Ok(Taken::Held(held)) => held,
            Ok(Taken::Busy(holder)) => panic!("held by {holder:?}"),
            Err(error) => panic!("{error}"),
        }
    }

    fn busy(taken: Result<Taken, StorageError>) -> Holder {
        match taken {
            Ok(Taken::Busy(holder)) => holder,
            Ok(Taken::Held(_)) => panic!("it was free"),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn a_busy_lock_names_its_holder_and_a_free_one_names_nobody() {
        let dir = tempfile::tempdir().expect("a directory");
        let lock = held(locks(dir.path()).take(&Disk, now()));
        let holder = busy(locks(dir.path()).take(&Disk, now()));
        assert!(holder.name.starts_with(&format!("pid {}", std::process::id())), "{holder:?}");
        assert!(holder.since_ms.is_some_and(|since| since > 1_700_000_000_000));
        drop(lock);
        assert_eq!(fs::read(dir.path().join("locks/00")).expect("never deleted"), b"");
        held(locks(dir.path()).take(&Disk, now()));
    }

    #[test]
    fn two_names_of_one_foreign_lock_are_locked_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let (one, two) = (dir.path().join("a.lock"), dir.path().join("b.lock"));
        fs::write(&one, "theirs").expect("written");
        fs::hard_link(&one, &two).expect("linked");
        let both = Locks { foreign: spots([&one, &two]), ..locks(dir.path()) };
        let lock = held(both.take(&Disk, now()));
        let outsider = File::open(&one).expect("open");
        assert!(matches!(outsider.try_lock(), Err(TryLockError::WouldBlock)));
        drop(lock);
        outsider.try_lock().expect("free again");
        assert_eq!(fs::read(&one).expect("read"), b"theirs", "another program's lock file is never written");
    }

    /// A foreign lock is named by the living lazaretto that holds it and else by its path.
    #[test]
    fn a_foreign_lock_names_its_live_holder_or_its_path() {
        let dir = tempfile::tempdir().expect("a directory");
        let auth = dir.path().join("auth.lock");
        let shared = Locks { foreign: spots([&auth]), ..locks(dir.path()) };
        let lock = held(shared.take(&Disk, now()));
        assert!(busy(shared.take(&Disk, now())).name.starts_with("pid "));
        drop(lock);
        let outsider = File::open(&auth).expect("open");
        outsider.try_lock().expect("free");
        fs::write(dir.path().join("locks/00"), "{\"pid\":2147483647,\"host\":\"\"}").expect("a stale hint");
        let holder = busy(shared.take(&Disk, now()));
        assert_eq!(holder.name, format!("a program that holds {}", auth.display()));
    }

    #[test]
    fn a_lock_that_is_a_link_or_a_pipe_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::create_dir(dir.path().join("locks")).expect("made");
        fs::write(dir.path().join("elsewhere"), "keep").expect("written");
        std::os::unix::fs::symlink("../elsewhere", dir.path().join("locks/00")).expect("linked");
        assert_eq!(locks(dir.path()).take(&Disk, now()).err().map(|e| e.code), Some("unsafe"));
        assert_eq!(fs::read(dir.path().join("elsewhere")).expect("read"), b"keep");

        let pipe = Locks { own: "pipe".into(), ..locks(dir.path()) };
        assert!(Command::new("mkfifo").arg(dir.path().join("locks/pipe")).status().expect("mkfifo runs").success());
        assert_eq!(pipe.take(&Disk, now()).err().map(|e| e.code), Some("unsafe"));
    }

    /// Neither age nor a dead pid nor a lost hint frees a lock that is held.
    #[test]
    fn only_its_holder_frees_a_held_lock() {
        let dir = tempfile::tempdir().expect("a directory");
        let lock = held(locks(dir.path()).take(&Disk, now()));
        let path = dir.path().join("locks/00");
        for hint in ["{\"pid\":2147483647,\"host\":\"\",\"since_ms\":0}", "", "\0\0\0"] {
            fs::write(&path, hint).expect("written");
            let file = File::options().write(true).open(&path).expect("open");
            file.set_modified(UNIX_EPOCH).expect("set back");
            busy(locks(dir.path()).take(&Disk, now()));
        }
        drop(lock);
        held(locks(dir.path()).take(&Disk, now()));
    }

    /// Waiting ends in time also for a thread that holds the lock itself.
    #[test]
    fn waiting_for_ones_own_lock_ends_in_time() {
        let dir = tempfile::tempdir().expect("a directory");
        let _lock = held(locks(dir.path()).take(&Disk, now()));
        let (started, wait) = (Instant::now(), Duration::from_millis(60));
        busy(locks(dir.path()).take(&Disk, Patience::new(wait)));
        assert!(started.elapsed() >= wait, "{:?}", started.elapsed());
    }

    #[test]
    fn who_waits_for_one_lock_holds_no_other() {
        let dir = tempfile::tempdir().expect("a directory");
        let [one, two] = ["a.lock", "b.lock"].map(|name| dir.path().join(name));
        fs::write(&one, "").expect("written");
        fs::write(&two, "").expect("written");
        let open = |path: &Path| File::options().write(true).open(path).expect("open");
        let both = Locks { foreign: spots([&one, &two]), ..locks(dir.path()) };
        // The reference may hold the second and wait for the first.
        let (first, second) = (open(&one), open(&two));
        second.try_lock().expect("free");
        thread::scope(|scope| {
            let waiting = scope.spawn(|| held(both.take(&Disk, Patience::new(Duration::from_secs(60)))));
            while !dir.path().join("locks/00").exists() {
                thread::yield_now(); // until it waits
            }
            let until = Instant::now() + Duration::from_secs(30);
            for _ in 0..30 {
                while first.try_lock().is_err() {
                    assert!(Instant::now() < until, "the one who waits keeps the first");
                    thread::yield_now();
                }
                first.unlock().expect("free");
                thread::sleep(LONGEST_PAUSE / 10); // in which one who keeps it would take it
            }
            first.lock().expect("free again and again");
            second.unlock().expect("free");
            assert!(!waiting.is_finished(), "the first is not free");
            first.unlock().expect("free");
            let lock = waiting.join().expect("held");
            assert!(first.try_lock().is_err() && second.try_lock().is_err() && lock.is_in_place());
        });
    }

    /// What a forked process has: the same open files.
    fn forked(lock: &Held, pid: u32) -> Held {
        let copy = |lock: &Lock| Lock { file: lock.file.try_clone().expect("a copy"), at: lock.at.clone() };
        let locks = lock.locks.iter().map(copy).collect();
        Held { locks, made: Vec::new(), heartbeat: None, home: lock.home.clone(), pid }
    }

    /// A forked process neither keeps a lock that was let go nor lets go one that is held.
    #[test]
    fn a_fork_neither_keeps_nor_releases_a_lock() {
        let dir = tempfile::tempdir().expect("a directory");
        let lock = held(locks(dir.path()).take(&Disk, now()));
        let child = forked(&lock, process::id() + 1);
        assert!(lock.is_of_this_process() && !child.is_of_this_process());
        drop(child);
        let holder = busy(locks(dir.path()).take(&Disk, now()));
        assert!(holder.name.starts_with("pid "), "the hint is still there: {holder:?}");

        let child = forked(&lock, process::id() + 1);
        drop(lock);
        held(locks(dir.path()).take(&Disk, now()));
        drop(child);
    }

    #[test]
    fn a_lock_file_that_was_moved_away_is_no_lock_any_more() {
        let dir = tempfile::tempdir().expect("a directory");
        let lock = held(locks(dir.path()).take(&Disk, now()));
        assert!(lock.is_in_place());
        fs::rename(dir.path().join("locks"), dir.path().join("moved")).expect("moved");
        assert!(!lock.is_in_place());
        let other = held(locks(dir.path()).take(&Disk, now()));
        assert!(other.is_in_place() && !lock.is_in_place());
    }
}
