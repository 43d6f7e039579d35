//! A lease excludes every other holder, in this process, in another one, and in a program that
//! knows only its own lock; and it ends with its holder.

use std::fs::TryLockError;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use super::*;

/// This test binary once more, running `test` of the module above.
pub(super) fn this_test_binary(test: &str) -> Command {
    let module = module_path!().split_once("::").map_or("", |(_, path)| path);
    let above = module.rsplit_once("::").map_or("", |(above, _)| above);
    let itself = Path::new("/proc/self/exe"); // also where another user cannot reach its directory
    let binary = if itself.exists() { itself.to_owned() } else { std::env::current_exe().expect("a path") };
    let mut command = Command::new(binary);
    command.args(["--exact", "--nocapture", &format!("{above}::{test}")]);
    command
}

fn grant(byte: u8) -> Scope {
    Scope::Grant { document: VAULT.into(), fingerprint: format!("{byte:02x}{}", "0".repeat(30)) }
}

fn of(name: &str) -> Scope {
    Scope::Document(name.into())
}

fn busy(outcome: Result<AcquireOutcome, StorageError>) -> Holder {
    match outcome {
        Ok(AcquireOutcome::Busy(holder)) => holder,
        other => panic!("not busy: {other:?}"),
    }
}

/// A lease excludes a second one in the same storage and in another.
#[test]
fn a_lease_excludes_a_second_in_the_same_and_another_storage() {
    let (_dir, vault, one) = with_vault("auth.json", TEXT);
    let two = FileStorage::open(&vault);
    for scope in [grant(7), of(VAULT), of("vault.lazaretto")] {
        let lease = acquired(one.acquire(&scope, 1000, 0));
        for storage in [&one, &two] {
            let holder = busy(storage.acquire(&scope, 1000, 5));
            assert!(holder.name.starts_with(&format!("pid {}", std::process::id())), "{holder:?}");
            assert!(holder.since_ms.is_some());
        }
        two.release(&lease); // not its holder
        busy(two.acquire(&scope, 1000, 0));
        one.release(&lease);
        two.release(&acquired(two.acquire(&scope, 1000, 0)));
    }
}

#[test]
fn grants_share_64_locks_by_the_first_byte_of_the_fingerprint() {
    let (dir, _, storage) = with_vault("auth.json", TEXT);
    let lease = acquired(storage.acquire(&grant(0x07), 1000, 0));
    busy(storage.acquire(&grant(0x47), 1000, 0));
    acquired(storage.acquire(&grant(0x08), 1000, 0));
    storage.release(&lease);
    acquired(storage.acquire(&grant(0xc7), 1000, 0));
    let locks = dir.path().join("auth.json.lazaretto-locks");
    assert_eq!(names_in(&locks), ["07", "08"]);
    assert_eq!((mode(&locks), mode(&locks.join("07"))), (0o700, 0o600));
    for byte in 0..=255 {
        let _ = storage.acquire(&grant(byte), 1000, 0);
    }
    assert_eq!(names_in(&locks).len(), 64);
    assert_eq!(names_in(&locks)[63], "3f");
}

#[test]
fn only_one_thread_at_a_time_holds_a_lease() {
    let (_dir, vault, storage) = with_vault("auth.json", TEXT);
    let other = FileStorage::open(&vault);
    let inside = Mutex::new(());
    thread::scope(|scope| {
        for storage in [&storage, &other].into_iter().cycle().take(8) {
            scope.spawn(|| {
                for _ in 0..25 {
                    let lease = acquired(storage.acquire(&grant(1), 1000, 60_000));
                    drop(inside.try_lock().expect("nobody else is inside"));
                    let guard = inside.try_lock().expect("nobody else is inside");
                    thread::yield_now();
                    drop(guard);
                    storage.release(&lease);
                }
            });
        }
    });
}

#[test]
fn a_store_needs_the_right_lease_or_none() {
    let (_dir, vault, storage) = with_vault("auth.json", "one");
    let version = document("one").version;
    let ledger = acquired(storage.acquire(&of("vault.lazaretto"), 1000, 0));
    let refresh = acquired(storage.acquire(&grant(0), 1000, 0));
    for lease in ["", "0123456789abcdef0123456789abcdef", &ledger, &refresh] {
        assert_eq!(code(storage.store(VAULT, "two", Some(&version), true, Some(lease))), "invalid-lease");
    }
    assert_eq!(fs::read_to_string(&vault).expect("there"), "one");

    let lease = acquired(storage.acquire(&of(VAULT), 1000, 0));
    let elsewhere = FileStorage::open(&vault);
    assert_eq!(code(elsewhere.store(VAULT, "two", Some(&version), true, Some(&lease))), "invalid-lease");
    let version = stored(storage.store(VAULT, "two", Some(&version), true, Some(&lease)));
    storage.release(&lease);
    assert_eq!(code(storage.store(VAULT, "three", Some(&version), true, Some(&lease))), "invalid-lease");
    stored(storage.store(VAULT, "three", Some(&version), true, None));
}

#[test]
fn a_lease_is_no_lease_in_a_forked_process() {
    let (_dir, _, storage) = with_vault("auth.json", "one");
    let id = acquired(storage.acquire(&of(VAULT), 1000, 0));
    let lease = storage.leases().remove(&id).and_then(Arc::into_inner);
    let mut lease = lease.expect("nobody else has it");
    lease.held.pretend_to_be_forked();
    storage.leases().insert(id.clone(), Arc::new(lease));
    let outcome = storage.store(VAULT, "two", Some(&document("one").version), true, Some(&id));
    assert_eq!(code(outcome), "invalid-lease");
}

/// A lease whose lock file somebody removed permits nothing any more.
#[test]
fn a_lease_whose_lock_file_was_removed_permits_nothing() {
    for removed in ["auth.json.lazaretto-locks/document-vault", "auth.lock"] {
        let (dir, vault, storage) = with_vault("auth.json", "one");
        let version = document("one").version;
        let lease = acquired(storage.acquire(&of(VAULT), 1000, 0));
        fs::remove_file(dir.path().join(removed)).expect("removed");
        let other = FileStorage::open(&vault);
        // Whoever comes now locks another file. What the first still has does not count beside it.
        busy(other.acquire(&of(VAULT), 1000, 0)); // the one of the two that is still there
        assert_eq!(code(storage.store(VAULT, "two", Some(&version), true, Some(&lease))), "unavailable", "{removed}");
        storage.release(&lease);
        let lease = acquired(storage.acquire(&of(VAULT), 1000, 0));
        stored(storage.store(VAULT, "two", Some(&version), true, Some(&lease)));
    }
}

/// A store without a lease waits for the lock and then names its holder.
#[test]
fn a_store_without_a_lease_waits_and_names_the_holder() {
    let (_dir, vault, storage) = with_vault("auth.json", "one");
    let mut impatient = FileStorage::open(&vault);
    impatient.store_wait = Duration::from_millis(5);
    let lease = acquired(storage.acquire(&of(VAULT), 1000, 0));
    let version = document("one").version;
    let error = impatient.store(VAULT, "two", Some(&version), true, None).expect_err("locked");
    assert!(error.code == "unavailable", "{error}");
    assert!(error.message.contains(&format!("pid {}", std::process::id())), "{error}");
    stored(impatient.store("vault.lazaretto", "{}", None, true, None)); // another document, another lock

    thread::scope(|scope| {
        let waiting = FileStorage::open(&vault);
        let store = scope.spawn(move || stored(waiting.store(VAULT, "two", Some(&version), true, None)));
        storage.release(&lease);
        store.join().expect("stored");
    });
    assert_eq!(fs::read_to_string(&vault).expect("there"), "two");
}

#[test]
fn all_names_of_one_vault_share_its_locks() {
    let (dir, vault, storage) = with_vault("auth.json", TEXT);
    fs::create_dir(dir.path().join("sub")).expect("made");
    symlink("../auth.json", dir.path().join("sub/one.json")).expect("linked");
    symlink("sub/one.json", dir.path().join("two.json")).expect("linked");
    symlink(dir.path(), dir.path().join("sub/dir")).expect("linked");
    let lease = acquired(storage.acquire(&grant(0), 1000, 0));
    let others = ["sub/one.json", "two.json", "sub/dir/auth.json", "sub/../auth.json"];
    for name in others {
        busy(FileStorage::open(dir.path().join(name)).acquire(&grant(0), 1000, 0));
    }
    storage.release(&lease);
    let lease = acquired(FileStorage::open(dir.path().join("two.json")).acquire(&of("vault.lazaretto"), 1000, 0));
    assert!(!lease.is_empty());
    acquired(FileStorage::open(&vault).acquire(&of("vault.lazaretto"), 1000, 0)); // dropped with its storage
}

/// A vault of the reference is locked by its own lock beside the link and the target.
#[test]
fn a_reference_vault_is_locked_beside_link_and_target() {
    let (dir, target, _) = with_vault("real.json", "one");
    fs::create_dir(dir.path().join("home")).expect("made");
    symlink("../real.json", dir.path().join("home/auth.json")).expect("linked");
    let storage = FileStorage::open(dir.path().join("home/auth.json"));
    assert!(storage.describe().excludes_foreign);
    let paths = [dir.path().join("home/auth.lock"), dir.path().join("real.lock")];

    let lease = acquired(storage.acquire(&of(VAULT), 1000, 0));
    for path in &paths {
        let reference = File::open(path).expect("there");
        assert!(matches!(reference.try_lock(), Err(TryLockError::WouldBlock)), "{}", path.display());
        assert_eq!((mode(path), reference.metadata().expect("stat").len()), (0o600, 0), "never written");
    }
    stored(storage.store(VAULT, "two", Some(&document("one").version), true, Some(&lease)));
    storage.release(&lease);

    for path in &paths {
        let reference = File::open(path).expect("never deleted");
        reference.try_lock().expect("free");
        let holder = busy(storage.acquire(&of(VAULT), 1000, 0));
        assert_eq!(holder.name, format!("a program that holds {}", path.display()));
        acquired(storage.acquire(&of("vault.lazaretto"), 1000, 0)); // theirs is the vault only
        acquired(storage.acquire(&grant(0), 1000, 0));
        let fresh = FileStorage::open(&target).foreign_lock(false);
        assert!(!fresh.describe().excludes_foreign);
        stored(fresh.store(VAULT, "two", Some(&document("two").version), true, None));
        *storage.leases() = HashMap::new();
    }
}

/// The foreign lock is on for a vault called auth json and else by choice.
#[test]
fn the_foreign_lock_is_on_for_auth_json_and_else_by_choice() {
    let (dir, vault, storage) = with_vault("auth.json", TEXT);
    assert!(storage.describe().excludes_foreign);
    assert!(!FileStorage::open(&vault).foreign_lock(false).describe().excludes_foreign);
    let other = dir.path().join("my.json");
    assert!(FileStorage::open(&other).describe().excludes_foreign, "the reference never writes it");
    assert!(FileStorage::open(&other).foreign_lock(true).describe().excludes_foreign);
    symlink("auth.json", &other).expect("linked");
    assert!(FileStorage::open(&other).describe().excludes_foreign, "its target is called so");
    // Without `.json` there is nothing that the reference would lock, and nothing is promised.
    assert!(!FileStorage::open(dir.path().join("vault.lock")).foreign_lock(true).describe().excludes_foreign);
}

/// Other tools are kept out by the locks that they make themselves.
#[test]
fn other_tools_are_kept_out_by_their_own_locks() {
    let dir = tempfile::tempdir().expect("a folder");
    let files = [
        (".qwen/oauth_creds.json", Some(".qwen/oauth_creds.lock")),
        (".claude/.credentials.json", Some(".claude/.oauth_refresh.lock")),
        (".claude/.credentials.json", Some(".claude.lock")),
        (".gemini/oauth_creds.json", None),
        ("shared/nous_auth.json", None),
    ];
    for (file, lock) in files {
        let path = dir.path().join(file);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(&path, "{}").expect("written");
        let storage = FileStorage::open(&path);
        let lease = acquired(storage.acquire(&of(VAULT), 1000, 0));
        stored(storage.store(VAULT, "{ }", Some(&document("{}").version), true, Some(&lease)));
        let Some(lock) = lock.map(|lock| dir.path().join(lock)) else {
            storage.release(&lease);
            continue;
        };
        assert!(lock.exists(), "{file}");
        busy(FileStorage::open(&path).acquire(&of(VAULT), 1000, 0));
        storage.release(&lease);
        assert!(!lock.exists(), "{file}: what is made is removed");
        fs::create_dir(&lock).expect("theirs");
        let holder = busy(storage.acquire(&of(VAULT), 1000, 0));
        assert_eq!(holder.name, format!("a program that holds {}", lock.display()));
        acquired(storage.acquire(&grant(0), 1000, 0)); // theirs is the file only
        acquired(FileStorage::open(&path).foreign_lock(false).acquire(&of(VAULT), 1000, 0));
        assert!(lock.exists(), "{file}: theirs stays");
        fs::remove_dir(&lock).expect("and is let go");
    }
    let nous = File::open(dir.path().join("shared/nous_auth.lock")).expect("the reference's lock");
    nous.try_lock().expect("free again");
}

/// Claude Code goes on without the lock beside its folder, if that cannot be made: here its name is
/// too long.
#[test]
fn a_lock_that_its_tool_does_without_is_done_without() {
    let dir = tempfile::tempdir().expect("a folder");
    let folder = dir.path().join("x".repeat(252));
    fs::create_dir(&folder).expect("made");
    let vault = folder.join(".credentials.json");
    fs::write(&vault, r#"{"claudeAiOauth":{}}"#).expect("written");
    let storage = FileStorage::open(&vault);
    let lease = acquired(storage.acquire(&of(VAULT), 1000, 0));
    assert!(folder.join(".oauth_refresh.lock").exists());
    storage.release(&lease);
}

/// A lazaretto was killed: what it made is taken away by the next one at once, and by other
/// programs when it is old.
#[test]
fn what_a_killed_lazaretto_left_keeps_nobody_waiting() {
    let dir = tempfile::tempdir().expect("a folder");
    let vault = dir.path().join(".claude/.credentials.json");
    fs::create_dir(dir.path().join(".claude")).expect("made");
    fs::write(&vault, "{}").expect("written");
    let lock = dir.path().join(".claude/.oauth_refresh.lock");
    let killed = FileStorage::open(&vault);
    acquired(killed.acquire(&of(VAULT), 1000, 0));
    // Its locks end with it, and nothing else does.
    killed.leases().values().for_each(|lease| lease.held.end_as_if_killed());
    assert!(lock.exists());
    assert_eq!(fs::read_dir(&lock).expect("listed").count(), 0, "others can remove an empty folder only");
    let lease = acquired(FileStorage::open(&vault).acquire(&of(VAULT), 1000, 0));
    drop(lease);
}

/// On a network file system no grant is leased unless that is allowed.
#[test]
fn no_grant_is_leased_on_a_network_file_system_by_default() {
    let (_dir, vault, mut storage) = with_vault("auth.json", TEXT);
    storage.network_name = |_| Some("NFS");
    let error = storage.acquire(&grant(0), 1000, 0).expect_err("refused");
    assert!(error.code == "unsupported" && error.message.contains("NFS"), "{error}");
    assert_eq!(storage.load(VAULT, None), loaded(TEXT));
    stored(storage.store(VAULT, TEXT, Some(&document(TEXT).version), true, None));
    let mut allowed = FileStorage::open(&vault).allow_network_filesystem(true);
    allowed.network_name = |_| Some("NFS");
    acquired(allowed.acquire(&grant(0), 1000, 0));
}

#[test]
fn a_panic_elsewhere_does_not_spoil_the_storage() {
    let (_dir, _, storage) = with_vault("auth.json", TEXT);
    let panicked = thread::scope(|scope| {
        let panicking = scope.spawn(|| {
            let _leases = storage.leases.lock();
            let _seen = storage.seen.lock();
            panic!("on purpose");
        });
        panicking.join().is_err()
    });
    assert!(panicked && storage.leases.is_poisoned());
    assert_eq!(storage.load(VAULT, None), loaded(TEXT));
    storage.release(&acquired(storage.acquire(&grant(0), 1000, 0)));
}

#[test]
fn who_holds_a_lease_is_told_without_making_anything() {
    let (dir, vault, storage) = with_vault("auth.json", TEXT);
    let other = FileStorage::open(&vault);
    assert_eq!(other.holder_of(&grant(7)), Ok(None));
    assert_eq!(names_in(dir.path()), ["auth.json"], "nothing was made");
    let missing = FileStorage::open(dir.path().join("nowhere/auth.json"));
    assert_eq!(missing.holder_of(&grant(7)), Ok(None));

    let lease = acquired(storage.acquire(&grant(0x07), 1000, 0));
    for storage in [&storage, &other] {
        let holder = storage.holder_of(&grant(0x07)).expect("told").expect("somebody");
        assert!(holder.name.starts_with(&format!("pid {}", std::process::id())), "{holder:?}");
        assert!(holder.since_ms.is_some_and(|since| since > 1_700_000_000_000));
        // The same lock, held for another grant.
        assert_eq!(storage.holder_of(&grant(0x47)), Ok(None));
        assert_eq!(storage.holder_of(&of(VAULT)), Ok(None));
    }
    assert_eq!(names_in(&dir.path().join("auth.json.lazaretto-locks")), ["07"], "nothing was made");
    storage.release(&lease);
    assert_eq!(other.holder_of(&grant(0x07)), Ok(None));

    assert_eq!(code(storage.holder_of(&of("../x"))), "invalid-name");
    fs::create_dir(vault.with_file_name("auth.json.lazaretto-wasi")).expect("made");
    assert_eq!(code(storage.holder_of(&grant(7))), "unsupported", "what holds it there cannot be seen from here");
}

/// Whoever asks who holds a lease must not be in the way of one who takes it and does not wait.
#[test]
fn asking_who_holds_a_lease_keeps_nobody_out() {
    let (_dir, vault, storage) = with_vault("auth.json", TEXT);
    storage.release(&acquired(storage.acquire(&grant(0), 1000, 0)));
    let is_over = std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        let asking: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let other = FileStorage::open(&vault);
                    let (mut held, mut free) = (0_u32, 0_u32);
                    while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                        match other.holder_of(&grant(0)).expect("told") {
                            Some(_) => held += 1,
                            None => free += 1,
                        }
                    }
                    (held, free)
                })
            })
            .collect();
        let kept_out = (0..2000).filter(|_| {
            let outcome = storage.acquire(&grant(0), 1000, 0);
            thread::yield_now();
            *storage.leases() = HashMap::new();
            !matches!(outcome, Ok(AcquireOutcome::Acquired(_)))
        });
        let kept_out = kept_out.count();
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(kept_out, 0, "of 2000");
        let seen: Vec<_> = asking.into_iter().map(|asking| asking.join().expect("no panic")).collect();
        assert!(seen.iter().all(|(held, free)| held + free > 0), "{seen:?}");
    });
}

/// The variable that turns the test below into another process's part.
const VAULT_OF_CHILD: &str = "LAZARETTO_TEST_VAULT_OF_CHILD";

/// Another process holds what it leased until it is killed whatever it has started.
#[test]
fn a_process_holds_its_lease_until_it_is_killed() {
    if let Some(vault) = std::env::var_os(VAULT_OF_CHILD) {
        let storage = FileStorage::open(PathBuf::from(vault));
        acquired(storage.acquire(&grant(0), 1000, 0));
        acquired(storage.acquire(&of(VAULT), 1000, 0));
        // It lives until the test is over, and must not have inherited the locks.
        let mut grandchild = Command::new("cat").stdout(Stdio::null()).spawn().expect("a process");
        println!("\nboth are held");
        let _ = std::io::stdin().read_line(&mut String::new()); // until it is killed
        let _ = grandchild.wait();
        return;
    }
    let (_dir, vault, storage) = with_vault("auth.json", "one");
    let mut child = this_test_binary("leases::a_process_holds_its_lease_until_it_is_killed")
        .env(VAULT_OF_CHILD, &vault)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map(Killed)
        .expect("this binary runs again");
    let output = child.0.stdout.take().expect("piped");
    assert!(BufReader::new(output).lines().map_while(Result::ok).any(|line| line == "both are held"));

    for scope in [grant(0), of(VAULT)] {
        let holder = busy(storage.acquire(&scope, 1000, 5));
        assert!(holder.name.starts_with(&format!("pid {}", child.0.id())), "{holder:?}");
        assert_eq!(storage.holder_of(&scope), Ok(Some(holder)));
    }
    child.0.kill().expect("killed");
    child.0.wait().expect("dead");
    let left_behind = fs::read_to_string(vault.with_file_name("auth.json.lazaretto-locks/00")).expect("there");
    assert!(left_behind.contains(&child.0.id().to_string()), "{left_behind}");
    for scope in [grant(0), of(VAULT)] {
        assert_eq!(storage.holder_of(&scope), Ok(None));
    }
    acquired(storage.acquire(&grant(0), 1000, 0));
    stored(storage.store(VAULT, "two", Some(&document("one").version), true, None));
}

/// A process that does not outlive its test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn nothing_is_written_beside_a_host_that_cannot_flock() {
    let (dir, vault, storage) = with_vault("auth.json", TEXT);
    let theirs = vault.with_file_name("auth.json.lazaretto-wasi");
    fs::create_dir(&theirs).expect("made");
    let refused = storage.store(VAULT, "{}", Some(&version_of(TEXT.as_bytes())), true, None).expect_err("refused");
    assert_eq!(refused.code, "unsupported");
    assert!(refused.message.contains("auth.json.lazaretto-wasi"), "{refused:?}");
    assert_eq!(code(storage.acquire(&grant(7), 1000, 0)), "unsupported");
    assert_eq!(storage.load(VAULT, None), loaded(TEXT));
    // Or that host would be kept out by what this one made and never used.
    assert!(!dir.path().join("auth.json.lazaretto-locks").exists());

    fs::remove_dir(&theirs).expect("removed");
    stored(storage.store(VAULT, "{}", Some(&version_of(TEXT.as_bytes())), true, None));
}
