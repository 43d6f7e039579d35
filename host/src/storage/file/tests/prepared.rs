//! What a store needs is made ready under a grant's lease, used once, and never left behind.

use std::os::unix::fs::MetadataExt;

use rustix::io::Errno;

use super::super::super::{PrepareCause, PrepareError};
use super::crashes::{errno, rigged};
use super::*;

fn grant() -> Scope {
    Scope::Grant { document: VAULT.into(), fingerprint: "0".repeat(32) }
}

fn leased(storage: &FileStorage) -> String {
    acquired(storage.acquire(&grant(), 1, 0))
}

fn ticket(prepared: Result<Option<String>, PrepareError>) -> String {
    prepared.expect("prepared").expect("a ticket")
}

fn temps_in(dir: &Path) -> Vec<PathBuf> {
    let names = names_in(dir).into_iter().filter(|name| name.contains(".lazaretto-tmp."));
    names.map(|name| dir.join(name)).collect()
}

fn store(storage: &FileStorage, text: &str, ticket: &str) -> Result<StoreOutcome, StorageError> {
    storage.store_prepared(VAULT, text, Some(&document("old").version), true, None, ticket)
}

#[test]
fn the_file_that_was_made_ready_takes_the_place_of_the_document() {
    let (dir, vault, storage) = with_vault("auth.json", "old");
    chmod(&vault, 0o640);
    let lease = leased(&storage);
    let ticket = ticket(storage.prepare(VAULT, 3, &lease));
    let [temp] = &temps_in(dir.path())[..] else { panic!("{:?}", names_in(dir.path())) };
    let ready = fs::metadata(temp).expect("there");
    assert!(ready.mode() & 0o777 == 0o600 && ready.len() >= 64 * 1024, "{ready:?}");
    stored(store(&storage, "new text", &ticket));
    assert_eq!(fs::metadata(&vault).expect("there").ino(), ready.ino());
    assert_eq!(fs::read_to_string(&vault).expect("there"), "new text");
    assert_eq!(mode(&vault), 0o640);
    assert_eq!(names_in(dir.path()), ["auth.json"]);
    storage.release(&lease);
    assert_eq!(fs::read_to_string(&vault).expect("there"), "new text");
}

#[test]
fn it_lies_beside_the_file_that_a_link_leads_to() {
    let (dir, target, _) = with_vault("real.json", "old");
    let elsewhere = tempfile::tempdir().expect("a directory");
    chmod(elsewhere.path(), 0o700);
    let link = elsewhere.path().join("auth.json");
    symlink(&target, &link).expect("linked");
    let storage = FileStorage::open(&link);
    let lease = leased(&storage);
    let ticket = ticket(storage.prepare(VAULT, 3, &lease));
    assert_eq!((temps_in(dir.path()).len(), temps_in(elsewhere.path()).len()), (1, 0));
    stored(store(&storage, "new", &ticket));
    assert_eq!(fs::read_to_string(&target).expect("there"), "new");
    assert!(temps_in(dir.path()).is_empty());
}

#[test]
fn what_is_not_used_goes_with_the_lease() {
    let (dir, _, storage) = with_vault("auth.json", "old");
    let lease = leased(&storage);
    for _ in 0..3 {
        ticket(storage.prepare(VAULT, 3, &lease));
        assert_eq!(temps_in(dir.path()).len(), 1, "one for each document is enough");
    }
    storage.release(&lease);
    assert!(temps_in(dir.path()).is_empty());
    let lease = leased(&storage);
    ticket(storage.prepare(VAULT, 3, &lease));
    drop(storage);
    assert!(temps_in(dir.path()).is_empty(), "a storage that ends gives its leases back");
}

#[test]
fn a_ticket_is_used_once_and_one_that_is_not_known_changes_nothing() {
    let (dir, vault, storage) = with_vault("auth.json", "old");
    let lease = leased(&storage);
    let used = ticket(storage.prepare(VAULT, 3, &lease));
    let outcome = storage.store_prepared(VAULT, "new", None, true, None, &used);
    assert!(matches!(outcome, Ok(StoreOutcome::Stale(Some(_)))), "{outcome:?}");
    assert!(temps_in(dir.path()).is_empty());
    for unknown in [used.as_str(), "", "0123456789abcdef"] {
        chmod(&vault, 0o600);
        fs::write(&vault, "old").expect("written");
        stored(store(&storage, "new", unknown));
        assert_eq!(names_in(dir.path()), ["auth.json"]);
    }
}

#[test]
fn a_ticket_for_another_document_is_not_used_for_this_one() {
    let (dir, vault, storage) = with_vault("auth.json", "old");
    let lease = leased(&storage);
    let other = ticket(storage.prepare("vault.lazaretto-sealed", 3, &lease));
    stored(store(&storage, "new", &other));
    assert_eq!(fs::read_to_string(&vault).expect("there"), "new");
    assert_eq!(names_in(dir.path()), ["auth.json"]);
}

#[test]
fn only_a_lease_that_is_held_permits_it() {
    let (dir, _, storage) = with_vault("auth.json", "old");
    let lease = leased(&storage);
    storage.release(&lease);
    for lease in [lease.as_str(), ""] {
        let error = storage.prepare(VAULT, 3, lease).expect_err("refused");
        assert_eq!(error.cause, PrepareCause::Other, "{error}");
    }
    assert!(temps_in(dir.path()).is_empty());
}

#[test]
fn another_store_leaves_it_alone_while_the_lease_is_held() {
    let (dir, vault, storage) = with_vault("auth.json", "old");
    let lease = leased(&storage);
    let ready = ticket(storage.prepare(VAULT, 3, &lease));
    // As a process in another container would, to which ours does not seem to live.
    stored(FileStorage::open(&vault).store(VAULT, "between", Some(&document("old").version), true, None));
    assert_eq!(temps_in(dir.path()).len(), 1);
    let version = document("between").version;
    stored(storage.store_prepared(VAULT, "new", Some(&version), true, None, &ready));
    assert_eq!(names_in(dir.path()), ["auth.json"]);
}

#[test]
fn a_file_that_was_removed_is_made_anew() {
    let (dir, vault, storage) = with_vault("auth.json", "old");
    let lease = leased(&storage);
    let ready = ticket(storage.prepare(VAULT, 3, &lease));
    let [temp] = &temps_in(dir.path())[..] else { panic!("{:?}", names_in(dir.path())) };
    fs::remove_file(temp).expect("removed");
    // Nor is another file of its name taken for it.
    fs::write(temp, "somebody's").expect("written");
    stored(store(&storage, "new", &ready));
    assert_eq!(fs::read_to_string(&vault).expect("there"), "new");
}

#[test]
fn a_dead_process_leaves_nothing_for_long() {
    let (dir, vault, storage) = with_vault("auth.json", "old");
    let lease = leased(&storage);
    ticket(storage.prepare(VAULT, 3, &lease));
    let [temp] = &temps_in(dir.path())[..] else { panic!("{:?}", names_in(dir.path())) };
    let left = temp.with_file_name(temp.file_name().expect("a name"));
    storage.release(&lease);
    // Its lock ended with its process, and the file stayed.
    fs::write(&left, "").expect("written");
    stored(FileStorage::open(&vault).store(VAULT, "new", Some(&document("old").version), true, None));
    assert_eq!(names_in(dir.path()), ["auth.json"]);
}

#[test]
fn every_obstacle_has_its_cause_and_leaves_nothing() {
    use PrepareCause::{Folder, Immutable, NoRoom, Other, ReadOnly};
    for (operation, error, expected) in [
        ("open_temp", Errno::ROFS, ReadOnly),
        ("open_temp", Errno::PERM, Immutable),
        ("open_temp", Errno::ACCESS, Folder),
        ("open_temp", Errno::NOSPC, NoRoom),
        ("open_temp", Errno::DQUOT, NoRoom),
        ("open_temp", Errno::IO, Other),
        ("allocate", Errno::NOSPC, NoRoom),
        ("allocate", Errno::DQUOT, NoRoom),
        ("allocate", Errno::FBIG, NoRoom),
        ("allocate", Errno::IO, Other),
    ] {
        let (dir, vault, _) = with_vault("auth.json", "old");
        let fails = Arc::new(Mutex::new(false));
        let storage = rigged(&vault, {
            let fails = Arc::clone(&fails);
            move |told, _| match told == operation && *fails.lock().expect("not poisoned") {
                true => Err(errno(error)),
                false => Ok(()),
            }
        });
        let lease = leased(&storage);
        *fails.lock().expect("not poisoned") = true;
        let refused = storage.prepare(VAULT, 3, &lease).expect_err("refused");
        assert_eq!(refused.cause, expected, "{operation} {error:?}: {refused}");
        assert_eq!(names_in(dir.path()), ["auth.json"], "{operation} {error:?}");
    }
}

#[test]
fn a_store_that_fails_leaves_the_old_text_and_no_file() {
    for failing in ["set_mode", "write", "cut", "sync_file", "rename"] {
        let (dir, vault, _) = with_vault("auth.json", "old");
        chmod(&vault, 0o640);
        let storage = rigged(&vault, move |told, _| match told == failing {
            true => Err(errno(Errno::IO)),
            false => Ok(()),
        });
        let lease = leased(&storage);
        let ready = ticket(storage.prepare(VAULT, 3, &lease));
        assert_eq!(code(store(&storage, "new", &ready)), "other", "{failing}");
        assert_eq!(fs::read_to_string(&vault).expect("there"), "old", "{failing}");
        assert_eq!(names_in(dir.path()), ["auth.json"], "{failing}");
    }
}
