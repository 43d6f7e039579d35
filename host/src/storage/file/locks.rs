//! A lock is held by an open file, so it ends with its holder and with nothing else: never by age, never because
//! somebody removed a file. Locks are `flock` on files of their own, which are never deleted; two handles exclude each
//! other within one process as between two.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::OFlags;

use super::super::{Holder, StorageError};
use super::errors::io_error;
use super::files::{Dir, Files, create_dirs};
use super::holder::Hint;

/// The pauses between two looks at a lock that somebody holds.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(25);

/// The locks that make up one lease, in the order in which they are taken.
pub(super) struct Locks {
    /// Another program's own lock files: locked, never written.
    pub(super) foreign: Vec<PathBuf>,
    /// Ours, in a directory that is ours as well.
    pub(super) own: PathBuf,
    /// Whom lock files that do not exist yet are to belong to. None: to this process.
    pub(super) owner: Option<(u32, u32)>,
}

/// Locks that are held until this is dropped.
pub(super) struct Held {
    own: File,
    /// Let go after our own, in the reverse of the order of taking.
    _foreign: Vec<File>,
}

impl Drop for Held {
    fn drop(&mut self) {
        Hint::clear(&self.own);
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
        if let Some(dir) = self.own.parent() {
            self.create_own_dir(files, dir)?;
        }
        let own = open_lock(&self.own, self.owner)?;
        let mut foreign: Vec<(File, &Path)> = Vec::new();
        for path in &self.foreign {
            let file = open_lock(path, self.owner)?;
            // Two names of one lock file would wait for each other for ever.
            let mut known = false;
            for (other, _) in &foreign {
                known |= is_same_file(&file, other).map_err(|error| io_error("look at", path, &error))?;
            }
            if !known {
                foreign.push((file, path));
            }
        }
        for (file, path) in &foreign {
            if !lock(file, path, patience)? {
                return Ok(Taken::Busy(foreign_holder(&own, path)));
            }
        }
        if !lock(&own, &self.own, patience)? {
            return Ok(Taken::Busy(Hint::read(&own).map(Holder::from).unwrap_or_default()));
        }
        Hint::of_this_process().write(&own);
        Ok(Taken::Held(Held { own, _foreign: foreign.into_iter().map(|(file, _)| file).collect() }))
    }

    fn create_own_dir(&self, files: &dyn Files, dir: &Path) -> Result<(), StorageError> {
        let is_new = match fs::symlink_metadata(dir) {
            Ok(found) if found.is_dir() => return Ok(()),
            Ok(_) => {
                let what = "is not a directory: lazaret keeps its locks there; move it away";
                return Err(StorageError::new("unsafe", format!("{} {what}", dir.display())));
            }
            Err(error) => error.kind() == ErrorKind::NotFound,
        };
        create_dirs(files, dir)?;
        if is_new && let Some((user, group)) = self.owner {
            let opened = Dir::open(dir)?;
            opened.give_to(user, group).map_err(|error| io_error("give its owner the directory", dir, &error))?;
        }
        Ok(())
    }
}

/// Opens a lock file, and creates it for its owner alone if it is missing.
fn open_lock(path: &Path, owner: Option<(u32, u32)>) -> Result<File, StorageError> {
    let failed = |error: &io::Error| io_error("open the lock", path, error);
    let open = |create: bool| {
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(create)
            .mode(0o600)
            .custom_flags(flags.bits() as i32)
            .open(path)
    };
    let file = match open(false) {
        Err(error) if error.kind() == ErrorKind::NotFound => match open(true) {
            Ok(new) => {
                if let Some((user, group)) = owner {
                    fchown(&new, Some(user), Some(group)).map_err(|error| failed(&error))?;
                }
                Ok(new)
            }
            // Somebody else was faster: theirs is the lock.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => open(false),
            Err(error) => Err(error),
        },
        result => result,
    }
    .map_err(|error| failed(&error))?;
    if file.metadata().is_ok_and(|stat| stat.is_file()) {
        return Ok(file);
    }
    Err(StorageError::new("unsafe", format!("the lock {} is not a file: move it away", path.display())))
}

fn is_same_file(one: &File, other: &File) -> io::Result<bool> {
    let (one, other) = (one.metadata()?, other.metadata()?);
    Ok((one.dev(), one.ino()) == (other.dev(), other.ino()))
}

/// Locks `file`, looking again and again until the patience ends; false: it ended.
fn lock(file: &File, path: &Path, patience: Patience) -> Result<bool, StorageError> {
    let mut pause = FIRST_PAUSE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) if error.kind() == ErrorKind::Interrupted => continue,
            Err(TryLockError::Error(error)) => return Err(io_error("lock", path, &error)),
        }
        let Some(left) = patience.left() else {
            return Ok(false);
        };
        // Half of the pause by chance, so that those who wait do not all look at the same moment.
        let chance = f64::from(getrandom::u32().unwrap_or(0)) / f64::from(u32::MAX);
        thread::sleep(pause.mul_f64(0.5 + chance / 2.0).min(left));
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Who may hold another program's lock: a lazaret, if one that lives says so in our own lock file.
fn foreign_holder(own: &File, path: &Path) -> Holder {
    let hint = Hint::read(own).filter(Hint::is_of_a_living_process_here);
    hint.map_or_else(
        || Holder { name: format!("a program that holds {}", path.display()), since_ms: None },
        Holder::from,
    )
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::super::files::Disk;
    use super::*;

    fn locks(dir: &Path) -> Locks {
        Locks { foreign: Vec::new(), own: dir.join("locks/00"), owner: None }
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
        let both = Locks { foreign: vec![one.clone(), two], ..locks(dir.path()) };
        let lock = held(both.take(&Disk, now()));
        let outsider = File::open(&one).expect("open");
        assert!(matches!(outsider.try_lock(), Err(TryLockError::WouldBlock)));
        drop(lock);
        outsider.try_lock().expect("free again");
        assert_eq!(fs::read(&one).expect("read"), b"theirs", "another program's lock file is never written");
    }

    #[test]
    fn a_foreign_lock_is_named_by_the_living_lazaret_that_holds_it_and_else_by_its_path() {
        let dir = tempfile::tempdir().expect("a directory");
        let auth = dir.path().join("auth.lock");
        let shared = Locks { foreign: vec![auth.clone()], ..locks(dir.path()) };
        let lock = held(shared.take(&Disk, now()));
        assert!(busy(shared.take(&Disk, now())).name.starts_with("pid "));
        drop(lock);
        let outsider = File::open(&auth).expect("open");
        outsider.try_lock().expect("free");
        fs::write(&shared.own, "{\"pid\":2147483647,\"host\":\"\"}").expect("a stale hint");
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

        let pipe = Locks { own: dir.path().join("locks/pipe"), ..locks(dir.path()) };
        assert!(Command::new("mkfifo").arg(&pipe.own).status().expect("mkfifo runs").success());
        assert_eq!(pipe.take(&Disk, now()).err().map(|e| e.code), Some("unsafe"));
    }
}
