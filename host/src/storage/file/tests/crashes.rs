//! After any failure and any crash a document is the old text or the new one, whole; and an error means the old.

use std::ffi::OsStr;
use std::io;

use super::super::files::{Dir, Temp};
use super::*;

/// The real disk, with somebody who is told of each operation before it happens, and may make it fail.
struct Rigged<F>(Mutex<F>);

impl<F: FnMut(&str, &Path) -> io::Result<()> + Send> Rigged<F> {
    fn told(&self, operation: &str, path: &Path) -> io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)(operation, path)
    }
}

impl<F: FnMut(&str, &Path) -> io::Result<()> + Send> Files for Rigged<F> {
    fn create_dir(&self, at: &Spot) -> io::Result<()> {
        self.told("create_dir", &at.path())?;
        Disk.create_dir(at)
    }

    fn open_temp(&self, at: &Spot) -> io::Result<Temp> {
        self.told("open_temp", &at.path())?;
        Disk.open_temp(at)
    }

    fn set_group(&self, temp: &Temp, group: u32) -> io::Result<()> {
        self.told("set_group", &temp.at.path())?;
        Disk.set_group(temp, group)
    }

    fn set_mode(&self, temp: &Temp, mode: u32) -> io::Result<()> {
        self.told("set_mode", &temp.at.path())?;
        Disk.set_mode(temp, mode)
    }

    /// A write that fails has written half.
    fn write(&self, temp: &Temp, bytes: &[u8]) -> io::Result<()> {
        let (half, rest) = bytes.split_at(bytes.len() / 2);
        Disk.write(temp, half)?;
        self.told("write", &temp.at.path())?;
        Disk.write(temp, rest)
    }

    fn sync_file(&self, temp: &Temp) -> io::Result<()> {
        self.told("sync_file", &temp.at.path())?;
        Disk.sync_file(temp)
    }

    fn rename(&self, temp: &Temp, to: &OsStr) -> io::Result<()> {
        self.told("rename", &temp.at.beside(to).path())?;
        Disk.rename(temp, to)
    }

    fn sync_dir(&self, dir: &Dir) -> io::Result<()> {
        self.told("sync_dir", &dir.path)?;
        Disk.sync_dir(dir)
    }

    fn remove(&self, at: &Spot) -> io::Result<()> {
        self.told("remove", &at.path())?;
        Disk.remove(at)
    }

    fn allocate(&self, temp: &Temp, bytes: u64) -> io::Result<()> {
        self.told("allocate", &temp.at.path())?;
        Disk.allocate(temp, bytes)
    }

    fn cut(&self, temp: &Temp, bytes: u64) -> io::Result<()> {
        self.told("cut", &temp.at.path())?;
        Disk.cut(temp, bytes)
    }
}

pub(super) fn rigged(vault: &Path, told: impl FnMut(&str, &Path) -> io::Result<()> + Send + 'static) -> FileStorage {
    let mut storage = FileStorage::open(vault);
    storage.files = Arc::new(Rigged(Mutex::new(told)));
    storage
}

/// A disk that is quick because it promises nothing.
struct Unsynced;

impl Files for Unsynced {
    fn create_dir(&self, at: &Spot) -> io::Result<()> {
        Disk.create_dir(at)
    }
    fn open_temp(&self, at: &Spot) -> io::Result<Temp> {
        Disk.open_temp(at)
    }
    fn set_group(&self, temp: &Temp, group: u32) -> io::Result<()> {
        Disk.set_group(temp, group)
    }
    fn set_mode(&self, temp: &Temp, mode: u32) -> io::Result<()> {
        Disk.set_mode(temp, mode)
    }
    fn write(&self, temp: &Temp, bytes: &[u8]) -> io::Result<()> {
        Disk.write(temp, bytes)
    }
    fn sync_file(&self, _: &Temp) -> io::Result<()> {
        Ok(())
    }
    fn rename(&self, temp: &Temp, to: &OsStr) -> io::Result<()> {
        Disk.rename(temp, to)
    }
    fn sync_dir(&self, _: &Dir) -> io::Result<()> {
        Ok(())
    }
    fn remove(&self, at: &Spot) -> io::Result<()> {
        Disk.remove(at)
    }
    fn allocate(&self, temp: &Temp, bytes: u64) -> io::Result<()> {
        Disk.allocate(temp, bytes)
    }
    fn cut(&self, temp: &Temp, bytes: u64) -> io::Result<()> {
        Disk.cut(temp, bytes)
    }
}

pub(super) fn without_syncing(vault: &Path) -> FileStorage {
    let mut storage = FileStorage::open(vault);
    storage.files = Arc::new(Unsynced);
    storage
}

pub(super) fn errno(errno: rustix::io::Errno) -> io::Error {
    io::Error::from(errno)
}

/// The operations of one store, in order.
fn operations_of(durable: bool, prepare: impl Fn(&Path)) -> Vec<String> {
    let (_dir, vault, _) = with_vault("auth.json", "old");
    stored(FileStorage::open(&vault).store("settings.json", "", None, true, None)); // so that there are locks
    prepare(&vault);
    let log = Arc::new(Mutex::new(Vec::new()));
    let storage = rigged(&vault, {
        let log = Arc::clone(&log);
        move |operation, _| {
            log.lock().expect("not poisoned").push(operation.to_owned());
            Ok(())
        }
    });
    stored(storage.store(VAULT, "new", Some(&document("old").version), durable, None));
    drop(storage);
    Arc::into_inner(log).expect("the only one").into_inner().expect("not poisoned")
}

/// A store writes syncs renames and syncs the directory in this order.
#[test]
fn a_store_writes_syncs_renames_and_syncs_the_directory() {
    let durable = ["open_temp", "write", "sync_file", "rename", "sync_dir"];
    assert_eq!(operations_of(true, |_| ()), durable);
    assert_eq!(operations_of(false, |_| ()), durable[..4], "whole all the same, but perhaps not yet named");
    assert_eq!(
        operations_of(true, |vault| chmod(vault, 0o700)),
        ["open_temp", "set_mode", "write", "sync_file", "rename", "sync_dir"]
    );
}

#[test]
fn a_store_of_the_ledger_that_need_not_be_durable_syncs_nothing() {
    let (_dir, vault, plain) = with_vault("auth.json", "vault");
    let version = stored(plain.store("vault.lazaretto", "one", None, true, None));
    let log = Arc::new(Mutex::new(Vec::new()));
    let storage = rigged(&vault, {
        let log = Arc::clone(&log);
        move |operation, _| {
            log.lock().expect("not poisoned").push(operation.to_owned());
            Ok(())
        }
    });
    let taken = || std::mem::take(&mut *log.lock().expect("not poisoned"));
    let version = stored(storage.store("vault.lazaretto", "two", Some(&version), false, None));
    assert_eq!(taken(), ["open_temp", "write", "rename"]);
    stored(storage.store("vault.lazaretto", "three", Some(&version), true, None));
    assert_eq!(taken(), ["open_temp", "write", "sync_file", "rename", "remove", "sync_dir"]);
}

/// An unsynced text that cannot be removed makes the outcome unknown and does not come back.
#[test]
fn an_unremovable_unsynced_text_makes_the_outcome_unknown() {
    let (_dir, vault, plain) = with_vault("auth.json", "vault");
    let version = stored(plain.store("vault.lazaretto", "one", None, true, None));
    let version = stored(plain.store("vault.lazaretto", "two", Some(&version), false, None));
    let storage = rigged(&vault, |operation, _| match operation {
        "remove" => Err(errno(rustix::io::Errno::IO)),
        _ => Ok(()),
    });
    let outcome = storage.store("vault.lazaretto", "three", Some(&version), true, None);
    assert_eq!(outcome, Ok(StoreOutcome::Unknown));
    assert_eq!(storage.load("vault.lazaretto", None), loaded("three"));
    let outcome = storage.store("vault.lazaretto", "one", Some(&document("three").version), true, None);
    assert_eq!(code(outcome), "other", "it would come back over this text");
    assert_eq!(plain.load("vault.lazaretto", None), loaded("three"));
    stored(plain.store("vault.lazaretto", "one", Some(&document("three").version), true, None));
    assert_eq!(plain.load("vault.lazaretto", None), loaded("one"));
}

#[test]
fn a_store_that_comes_too_late_touches_nothing() {
    let (_dir, vault, plain) = with_vault("auth.json", "old");
    stored(plain.store("settings.json", "", None, true, None));
    let storage = rigged(&vault, |operation, _| panic!("{operation}"));
    for expected in [None, Some("v")] {
        let outcome = storage.store(VAULT, "new", expected, true, None);
        assert_eq!(outcome, Ok(StoreOutcome::Stale(Some(document("old")))));
    }
}

/// A temporary file is for its owner alone before it has any content.
#[test]
fn a_temporary_file_is_private_before_it_has_content() {
    let (dir, vault, _) = with_vault("auth.json", "old");
    let log = Arc::new(Mutex::new(Vec::new()));
    let storage = rigged(&vault, {
        let log = Arc::clone(&log);
        move |operation, path| {
            if let Ok(stat) = fs::symlink_metadata(path)
                && path.to_string_lossy().contains("lazaretto-tmp")
            {
                log.lock().expect("not poisoned").push((operation.to_owned(), stat.mode() & 0o777));
            }
            Ok(())
        }
    });
    chmod(&vault, 0o606);
    stored(storage.store(VAULT, "new", Some(&document("old").version), true, None));
    let seen = log.lock().expect("not poisoned").clone();
    assert!(seen.len() >= 2 && seen.iter().all(|(_, mode)| *mode == 0o600), "{seen:?}");
    // Its group gets what it had, once the file is of that group.
    chmod(&vault, 0o666);
    log.lock().expect("not poisoned").clear();
    stored(storage.store(VAULT, "newer", Some(&document("new").version), true, None));
    let seen = log.lock().expect("not poisoned").clone();
    let (before, after): (Vec<_>, Vec<_>) = seen.iter().partition(|(operation, _)| operation == "set_mode");
    assert!(before.iter().all(|(_, mode)| *mode == 0o600) && before.len() == 1, "{seen:?}");
    assert!(after.len() >= 2 && after.iter().all(|(_, mode)| *mode == 0o660), "{seen:?}");
    assert_eq!(names_in(dir.path()), ["auth.json"]);
}

/// A failing operation is an error that leaves everything as it was or an unknown outcome after the
/// rename.
#[test]
fn a_failing_operation_changes_nothing_or_is_an_unknown_outcome() {
    use rustix::io::Errno;
    let cases = [
        ("open_temp", Errno::NOSPC, Err("full")),
        ("open_temp", Errno::ROFS, Err("read-only")),
        ("open_temp", Errno::ACCESS, Err("denied")),
        ("write", Errno::NOSPC, Err("full")),
        ("write", Errno::DQUOT, Err("full")),
        ("write", Errno::IO, Err("other")),
        ("sync_file", Errno::NOSPC, Err("full")),
        ("sync_file", Errno::IO, Err("other")),
        ("rename", Errno::NOSPC, Err("full")),
        ("rename", Errno::PERM, Err("denied")),
        ("sync_dir", Errno::IO, Ok(StoreOutcome::Unknown)),
    ];
    for (failing, error, expected) in cases {
        let (dir, vault, plain) = with_vault("auth.json", "old");
        stored(plain.store("settings.json", "", None, true, None));
        let storage = rigged(&vault, move |operation, _| match operation == failing {
            true => Err(errno(error)),
            false => Ok(()),
        });
        let outcome = storage.store(VAULT, "new", Some(&document("old").version), true, None);
        assert_eq!(outcome.map_err(|e| e.code), expected, "{failing} {error:?}");
        let text = if expected.is_ok() { "new" } else { "old" };
        assert_eq!(fs::read_to_string(&vault).expect("there"), text, "{failing}");
        assert_eq!(names_in(dir.path()), ["auth.json", "auth.json.lazaretto-settings.json"], "{failing}");
        // The lock was given back as well.
        stored(plain.store(VAULT, "next", Some(&document(text).version), true, None));
    }
}

#[test]
fn a_rename_that_failed_in_name_only_is_an_unknown_outcome() {
    let (_dir, vault, _) = with_vault("auth.json", "old");
    let temp = Arc::new(Mutex::new(PathBuf::new()));
    let storage = rigged(&vault, move |operation, path| {
        let mut temp = temp.lock().expect("not poisoned");
        match operation {
            "open_temp" => *temp = path.to_owned(),
            "rename" => {
                fs::rename(&*temp, path)?;
                return Err(errno(rustix::io::Errno::IO));
            }
            _ => {}
        }
        Ok(())
    });
    let outcome = storage.store(VAULT, "new", Some(&document("old").version), true, None);
    assert_eq!(outcome, Ok(StoreOutcome::Unknown));
    assert_eq!(fs::read_to_string(&vault).expect("there"), "new");
}

/// A crash before any operation leaves the old or the new document whole and the next store cleans
/// up.
#[test]
fn a_crash_leaves_the_old_or_new_document_and_is_cleaned_up() {
    for expected in [Some(document("old").version), None] {
        let mut crash_at = 0;
        loop {
            let (dir, vault, _) = match expected {
                Some(_) => with_vault("auth.json", "old"),
                None => empty("new/auth.json"),
            };
            chmod(dir.path(), 0o700);
            let (mut count, crashed) = (0, Arc::new(Mutex::new(false)));
            let storage = rigged(&vault, {
                let crashed = Arc::clone(&crashed);
                move |_, _| {
                    count += 1;
                    // Nothing happens after a crash, not even tidying up.
                    if count > crash_at {
                        *crashed.lock().expect("not poisoned") = true;
                        return Err(io::Error::other("crashed"));
                    }
                    Ok(())
                }
            });
            let outcome = storage.store(VAULT, "new text", expected.as_deref(), true, None);
            drop(storage);

            // The next process, which is another one: as if the leftovers were a dead one's.
            let next = FileStorage::open(&vault);
            let found = next.load(VAULT, None).expect("readable");
            let old = match expected {
                Some(_) => LoadOutcome::Loaded(document("old")),
                None => LoadOutcome::Absent,
            };
            let new = LoadOutcome::Loaded(document("new text"));
            match &outcome {
                Err(_) => assert_eq!(found, old, "an error means that nothing was written"),
                Ok(StoreOutcome::Unknown | StoreOutcome::Stored(_)) => assert_eq!(found, new),
                Ok(StoreOutcome::Stale(_)) => panic!("nobody else wrote"),
            }
            let at = match &found {
                LoadOutcome::Loaded(document) => Some(document.version.as_str()),
                _ => None,
            };
            stored(next.store(VAULT, "after", at, true, None));
            assert_eq!(mode(&vault), 0o600);
            assert_eq!(names_in(vault.parent().expect("a directory")), ["auth.json"], "crash at {crash_at}");
            if !*crashed.lock().expect("not poisoned") {
                break;
            }
            crash_at += 1;
        }
        assert!(crash_at >= 5, "every operation was tried: {crash_at}");
    }
}

/// A program that writes without a lock is noticed up to the rename.
#[test]
fn an_unlocked_writer_is_noticed_up_to_the_rename() {
    for foreign in [Some("theirs"), None] {
        let (dir, vault, _) = with_vault("auth.json", "old");
        let target = vault.clone();
        let storage = rigged(&vault, move |operation, _| {
            match (operation, foreign) {
                ("sync_file", Some(text)) => fs::write(&target, text)?,
                ("sync_file", None) => fs::remove_file(&target)?,
                _ => {}
            }
            Ok(())
        });
        let outcome = storage.store(VAULT, "ours", Some(&document("old").version), true, None);
        assert_eq!(outcome, Ok(StoreOutcome::Stale(foreign.map(document))));
        assert_eq!(fs::read_to_string(&vault).ok().as_deref(), foreign);
        assert!(names_in(dir.path()).iter().all(|name| name == "auth.json"));
    }
}

/// A link that is pointed elsewhere while its lock is taken is followed again.
#[test]
fn a_link_moved_during_locking_is_followed_again() {
    let (dir, one, _) = with_vault("one.json", "one");
    let (two, link) = (dir.path().join("two.json"), dir.path().join("link"));
    fs::write(&two, "two").expect("written");
    symlink(&one, &link).expect("linked");
    let storage = rigged(&link, {
        let (link, two) = (link.clone(), two.clone());
        move |operation, path| {
            if operation == "create_dir" && path.ends_with("one.json.lazaretto-locks") {
                fs::remove_file(&link)?;
                symlink(&two, &link)?;
            }
            Ok(())
        }
    });
    let scope = Scope::Document(VAULT.into());
    let lease = acquired(storage.acquire(&scope, 1, 0));
    let at_two = FileStorage::open(&two).acquire(&scope, 1, 0);
    assert!(matches!(at_two, Ok(AcquireOutcome::Busy(_))));
    acquired(FileStorage::open(&one).acquire(&scope, 1, 0));
    stored(storage.store(VAULT, "new", Some(&document("two").version), true, Some(&lease)));
}

/// What a dead process left of this document is removed and nothing else.
#[test]
fn only_a_dead_processes_leftovers_are_removed() {
    let (dir, _, storage) = with_vault("auth.json", "old");
    let mut child = Command::new("true").spawn().expect("a process");
    let (dead, living) = (child.id(), 1);
    child.wait().expect("dead");
    let random = "0123456789abcdef0123456789abcdef";
    let dead_of_ours = format!(".auth.json.lazaretto-tmp.{dead}.{random}");
    let kept = [
        format!(".auth.json.lazaretto-tmp.{living}.{random}"),
        format!(".auth.json.lazaretto.lazaretto-tmp.{dead}.{random}"),
        format!(".other.json.lazaretto-tmp.{dead}.{random}"),
        format!("auth.json.tmp.{dead}.{random}"),
    ];
    for name in kept.iter().chain([&dead_of_ours]) {
        fs::write(dir.path().join(name), "rt-secret").expect("written");
    }
    fs::create_dir(dir.path().join(format!(".auth.json.lazaretto-tmp.{dead}.{}", "f".repeat(32)))).expect("made");
    stored(storage.store(VAULT, "new", Some(&document("old").version), true, None));
    let names = names_in(dir.path());
    assert!(kept.iter().all(|name| names.contains(name)), "{names:?}");
    assert!(!names.contains(&dead_of_ours), "{names:?}");

    stored(storage.store("vault.lazaretto", "{}", None, true, None));
    assert!(!names_in(dir.path()).contains(&kept[1]), "it was the ledger's");
}

/// A file system of 64 KiB, unmounted when dropped.
struct SmallDisk(TempDir);

impl SmallDisk {
    /// None: this process may not mount.
    fn mount() -> Option<Self> {
        let dir = tempfile::tempdir().expect("a directory");
        let options = ["-t", "tmpfs", "-o", "size=64k,mode=700", "tmpfs"];
        let mounted = Command::new("mount").args(options).arg(dir.path()).output();
        mounted.is_ok_and(|output| output.status.success()).then_some(Self(dir))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn on_a_really_full_disk_the_old_document_stays_whole() {
    let Some(disk) = SmallDisk::mount() else {
        return; // the injected failures above stand for it
    };
    let vault = disk.0.path().join("auth.json");
    let old = "o".repeat(20_000);
    fs::write(&vault, &old).expect("written");
    let storage = FileStorage::open(&vault);
    let error = storage
        .store(VAULT, &"n".repeat(60_000), Some(&document(&old).version), true, None)
        .expect_err("there is no room");
    assert!(error.code == "full" && error.message.contains("auth.json"), "{error}");
    assert_eq!(fs::read_to_string(&vault).expect("there"), old);
    assert_eq!(names_in(disk.0.path()), ["auth.json"]);
    // Nor is the token spent whose successor might find no room.
    let grant = Scope::Grant { document: VAULT.into(), fingerprint: "0".repeat(32) };
    assert_eq!(code(storage.acquire(&grant, 1, 0)), "full");
    assert_eq!(names_in(disk.0.path()), ["auth.json"]);
    stored(storage.store(VAULT, "small", Some(&document(&old).version), true, None));
}
