//! Documents as files, seen from outside: names, contents, owners, links.

mod crashes;
mod late;
mod leases;
mod power_cuts;
mod prepared;
mod recorder;
mod replaceable;

use std::fs::{self, File, FileTimes, Permissions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread;

use tempfile::TempDir;

use super::super::{Document, VAULT, version_of};
use super::*;

const TEXT: &str = "{\"version\": 1}";

/// A directory of our own with a storage for a vault in it that does not exist yet.
fn empty(name: &str) -> (TempDir, PathBuf, FileStorage) {
    let dir = tempfile::tempdir().expect("a directory");
    let vault = dir.path().canonicalize().expect("a path").join(name);
    let storage = FileStorage::open(&vault);
    (dir, vault, storage)
}

/// The same, with a vault.
fn with_vault(name: &str, text: &str) -> (TempDir, PathBuf, FileStorage) {
    let (dir, vault, storage) = empty(name);
    fs::write(&vault, text).expect("written");
    chmod(&vault, 0o600);
    (dir, vault, storage)
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("chmod");
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("there").mode() & 0o7777
}

fn document(text: &str) -> Document {
    Document { version: version_of(text.as_bytes()), text: text.into() }
}

fn loaded(text: &str) -> Result<LoadOutcome, StorageError> {
    Ok(LoadOutcome::Loaded(document(text)))
}

fn stored(outcome: Result<StoreOutcome, StorageError>) -> String {
    match outcome {
        Ok(StoreOutcome::Stored(version)) => version,
        other => panic!("not stored: {other:?}"),
    }
}

fn acquired(outcome: Result<AcquireOutcome, StorageError>) -> String {
    match outcome {
        Ok(AcquireOutcome::Acquired(grant)) => grant.lease,
        other => panic!("not acquired: {other:?}"),
    }
}

fn code<T>(outcome: Result<T, StorageError>) -> &'static str {
    outcome.err().map_or("no error", |error| error.code)
}

/// The names in a directory, without those of locks.
fn names_in(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<String> = entries.map(|name| name.to_string_lossy().into_owned()).collect();
    names.retain(|name| !name.ends_with(".lazaretto-locks") && !name.ends_with(".lock"));
    names.sort();
    names
}

/// Whether this process may do anything to any file.
fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn each_document_has_its_place_beside_the_vault() {
    let (dir, vault, storage) = empty("my.json");
    let profiles = dir.path().join("elsewhere.json");
    let storage = storage.with_profiles(profiles.clone());
    let places = [
        ("vault", vault.clone()),
        ("vault.lazaretto", dir.path().join("my.json.lazaretto")),
        ("vault.lazaretto-sealed", dir.path().join("my.json.lazaretto-sealed")),
        ("settings.json", dir.path().join("my.json.lazaretto-settings.json")),
        ("providers.json", profiles),
    ];
    for (name, path) in &places {
        assert_eq!(storage.load(name, None), Ok(LoadOutcome::Absent), "{name}");
        assert_eq!(stored(storage.store(name, name, None, true, None)), version_of(name.as_bytes()));
        assert_eq!(fs::read_to_string(path).expect("there"), *name);
        assert_eq!(mode(path), 0o600, "{name}");
        assert_eq!(storage.load(name, None), loaded(name));
        assert_eq!(storage.load(name, Some(&document(name).version)), Ok(LoadOutcome::Unchanged));
    }
    assert_eq!(storage.list("").map(|names| names.len()), Ok(5));
    assert_eq!(storage.list("vault."), Ok(vec!["vault.lazaretto".into(), "vault.lazaretto-sealed".into()]));
    assert_eq!(storage.list("nothing"), Ok(vec![]));
}

/// A bad name is invalid and an unknown one unsupported in every call.
#[test]
fn every_call_refuses_bad_and_unknown_names() {
    let (dir, _, storage) = empty("auth.json");
    let fingerprint = "0".repeat(32);
    for (name, expected) in [("../auth.json", "invalid-name"), ("VAULT", "invalid-name"), ("other", "unsupported")] {
        assert_eq!(code(storage.load(name, None)), expected);
        assert_eq!(code(storage.store(name, "", None, true, None)), expected);
        assert_eq!(code(storage.acquire(&Scope::Document(name.into()), 1, 0)), expected);
        let grant = Scope::Grant { document: name.into(), fingerprint: fingerprint.clone() };
        assert_eq!(code(storage.acquire(&grant, 1, 0)), expected);
    }
    let grant = Scope::Grant { document: "vault.lazaretto".into(), fingerprint };
    assert_eq!(code(storage.acquire(&grant, 1, 0)), "unsupported");
    let grant = Scope::Grant { document: VAULT.into(), fingerprint: "abc".into() };
    assert_eq!(code(storage.acquire(&grant, 1, 0)), "other");
    assert_eq!(fs::read_dir(dir.path()).expect("a directory").count(), 0, "nothing was created");
}

/// Without a named file the profiles are absent and cannot be written.
#[test]
fn without_a_named_file_the_profiles_are_absent() {
    let (_dir, _, storage) = empty("auth.json");
    assert_eq!(storage.load("providers.json", Some("v")), Ok(LoadOutcome::Absent));
    assert_eq!(code(storage.store("providers.json", "{}", None, true, None)), "unsupported");
    assert_eq!(code(storage.acquire(&Scope::Document("providers.json".into()), 1, 0)), "unsupported");
    assert_eq!(storage.list(""), Ok(vec![]));
}

/// A missing directory means absent and is created for its owner alone.
#[test]
fn a_missing_directory_is_absent_and_created_private() {
    let (dir, vault, storage) = empty("lazaretto/deep/auth.json");
    assert_eq!(storage.load(VAULT, None), Ok(LoadOutcome::Absent));
    assert_eq!(fs::read_dir(dir.path()).expect("a directory").count(), 0, "a load creates nothing");
    stored(storage.store(VAULT, TEXT, None, true, None));
    assert_eq!(fs::read_to_string(&vault).expect("there"), TEXT);
    assert_eq!(mode(&dir.path().join("lazaretto")), 0o700);
    assert_eq!(mode(&dir.path().join("lazaretto/deep")), 0o700);
}

#[test]
fn only_a_certain_answer_is_absent() {
    let (_dir, vault, _) = with_vault("file", "");
    let below = FileStorage::open(vault.join("auth.json"));
    assert_eq!(code(below.load(VAULT, None)), "other");
    assert_eq!(code(below.store(VAULT, TEXT, None, true, None)), "other");
}

/// A store under a wrong expectation is stale and carries what is there.
#[test]
fn a_stale_store_carries_the_current_document() {
    let (_dir, vault, storage) = with_vault("auth.json", "one");
    let current = Ok(StoreOutcome::Stale(Some(document("one"))));
    assert_eq!(storage.store(VAULT, "two", None, true, None), current);
    assert_eq!(storage.store(VAULT, "two", Some("v"), true, None), current);
    assert_eq!(storage.store("vault.lazaretto", "two", Some("v"), true, None), Ok(StoreOutcome::Stale(None)));
    assert_eq!(fs::read_to_string(&vault).expect("there"), "one");

    let version = stored(storage.store(VAULT, "two", Some(&document("one").version), false, None));
    assert_eq!(version, document("two").version);
    assert_eq!(storage.load(VAULT, None), loaded("two"));
}

/// A vault that is not a file of text is refused everywhere and left alone.
#[test]
fn a_vault_that_is_no_text_file_is_refused_and_untouched() {
    let (dir, _, _) = empty("auth.json");
    let path = |name: &str| dir.path().join(name);
    fs::create_dir(path("directory")).expect("made");
    assert!(Command::new("mkfifo").arg(path("pipe")).status().expect("mkfifo runs").success());
    fs::write(path("binary"), b"\xfe{}").expect("written");
    File::create(path("huge")).and_then(|file| file.set_len(17 << 20)).expect("sized");
    symlink("/dev/null", path("device")).expect("linked");
    for (name, expected) in [
        ("directory", "unsupported"),
        ("pipe", "unsupported"),
        ("device", "unsupported"),
        ("binary", "corrupt"),
        ("huge", "too-large"),
    ] {
        let storage = FileStorage::open(path(name));
        assert_eq!(code(storage.load(VAULT, None)), expected, "{name}");
        assert_eq!(code(storage.load(VAULT, Some("v"))), expected, "{name}");
        for known in [None, Some("v")] {
            let refused = storage.store(VAULT, TEXT, known, true, None).expect_err(name);
            assert_eq!(refused.code, expected, "{name}");
            let there = if name == "device" { "/dev/null".into() } else { path(name) };
            assert!(refused.message.contains(&there.display().to_string()), "{refused}");
        }
    }
    assert_eq!(fs::read(path("binary")).expect("there"), b"\xfe{}");
    assert_eq!(names_in(dir.path()), ["binary", "device", "directory", "huge", "pipe"]);
}

#[test]
fn a_text_over_the_limit_is_refused_before_anything_is_written() {
    let (_dir, vault, storage) = with_vault("auth.json", "one");
    let large = "x".repeat(MAX_BYTES as usize + 1);
    assert_eq!(code(storage.store(VAULT, &large, Some(&document("one").version), true, None)), "too-large");
    assert_eq!(fs::read_to_string(&vault).expect("there"), "one");
    let largest = &large[1..];
    stored(storage.store(VAULT, largest, Some(&document("one").version), true, None));
    assert_eq!(storage.load(VAULT, None), loaded(largest));
}

#[test]
fn an_empty_file_is_a_document_and_not_absent() {
    let (_dir, _, storage) = with_vault("auth.json", "");
    assert_eq!(storage.load(VAULT, None), loaded(""));
    assert_eq!(storage.store(VAULT, TEXT, None, true, None), Ok(StoreOutcome::Stale(Some(document("")))));
}

#[test]
fn a_replacement_keeps_the_rights_of_owner_and_group_alone() {
    let (_dir, vault, storage) = with_vault("auth.json", "0");
    for (n, (before, after)) in
        [(0o600, 0o600), (0o644, 0o640), (0o666, 0o660), (0o750, 0o750), (0o400, 0o600), (0o4755, 0o750)]
            .into_iter()
            .enumerate()
    {
        if is_root() {
            chown(&vault, None, Some(2345)).expect("given to a group");
        }
        let group = fs::metadata(&vault).expect("there").gid();
        chmod(&vault, before);
        assert_eq!(storage.load(VAULT, None), loaded(&n.to_string()), "readable by others is not refused");
        stored(storage.store(VAULT, &(n + 1).to_string(), Some(&document(&n.to_string()).version), true, None));
        assert_eq!(mode(&vault), after, "from {before:o}");
        assert_eq!(fs::metadata(&vault).expect("there").gid(), group);
    }
}

#[test]
fn a_group_that_cannot_be_kept_loses_its_rights() {
    let test = "a_group_that_cannot_be_kept_loses_its_rights";
    let Some((_dir, dir)) = unprivileged(test) else {
        return;
    };
    let vault = dir.join("of-a-group.json");
    if !vault.exists() {
        return; // only root can give a file to a group that it is not in
    }
    let storage = FileStorage::open(&vault);
    stored(storage.store(VAULT, "mine", Some(&document("shared").version), true, None));
    let found = fs::metadata(&vault).expect("there");
    assert_eq!((found.mode() & 0o777, found.uid()), (0o600, 65534));
    assert_ne!(found.gid(), 2345);
}

/// A library that runs as root opens nothing beside somebodys vault.
#[test]
fn a_root_library_opens_nothing_beside_a_users_vault() {
    if !is_root() {
        return; // there is no root to refuse
    }
    let (dir, vault, storage) = with_vault("auth.json", "one");
    fs::write(dir.path().join("auth.json.lazaretto"), "theirs").expect("written");
    chown(&vault, Some(1234), Some(2345)).expect("given away");
    let version = document("one").version;
    for refused in [
        storage.load(VAULT, None).map(drop),
        storage.load("vault.lazaretto", None).map(drop),
        storage.store(VAULT, "two", Some(&version), true, None).map(drop),
        storage.store("vault.lazaretto-sealed", "rt-secret", None, true, None).map(drop),
        storage.acquire(&Scope::Document(VAULT.into()), 1, 0).map(drop),
        storage.list("").map(drop),
    ] {
        let error = refused.expect_err("refused");
        assert_eq!(error.code, "unsafe");
        assert!(error.message.contains("belongs to user 1234") && error.message.contains("sudo -u '#1234'"), "{error}");
    }
    let names = fs::read_dir(dir.path()).expect("a directory").map(|entry| entry.expect("an entry").file_name());
    let names: std::collections::BTreeSet<_> = names.collect();
    assert_eq!(names, ["auth.json", "auth.json.lazaretto"].map(Into::into).into());
    assert_eq!(fs::read_to_string(&vault).expect("there"), "one");
}

/// What somebody else put beside a vault is refused also for reading.
#[test]
fn files_of_others_beside_a_vault_are_not_even_read() {
    if !is_root() {
        return; // only root can make a file that is somebody else's
    }
    let beside = ["lazaretto", "lazaretto.unsynced", "lazaretto-sealed", "lazaretto-pool", "lazaretto-settings.json"];
    let names =
        ["vault.lazaretto", "vault.lazaretto", "vault.lazaretto-sealed", "vault.lazaretto-pool", "settings.json"];
    for (file, name) in beside.into_iter().zip(names) {
        let (dir, _, storage) = with_vault("auth.json", "one");
        let theirs = dir.path().join(format!("auth.json.{file}"));
        fs::write(dir.path().join("auth.json.lazaretto"), "ours").expect("written");
        fs::write(&theirs, "").expect("written");
        chmod(&theirs, 0o666);
        chown(&theirs, Some(1234), None).expect("given away");
        for refused in
            [storage.load(name, None).map(drop), storage.store(name, "rt-secret", None, true, None).map(drop)]
        {
            let error = refused.expect_err(file);
            assert_eq!(error.code, "unsafe", "{file}: {error}");
            assert!(error.message.contains("belongs to user 1234") && error.message.contains(file), "{error}");
        }
        assert_eq!(fs::read_to_string(&theirs).expect("there"), "", "{file}");
        assert_eq!(storage.load(VAULT, None), loaded("one"));
        // Root's own is believed beside anybody's.
        chown(&theirs, Some(0), None).expect("taken back");
        assert!(storage.load(name, None).is_ok(), "{file}");
    }
    for (name, is_dir) in [("auth.json.lazaretto-locks", true), ("auth.lock", false)] {
        let (dir, vault, storage) = with_vault("auth.json", "one");
        let theirs = dir.path().join(name);
        if is_dir {
            fs::create_dir(&theirs).expect("made")
        } else {
            fs::write(&theirs, "").expect("written")
        }
        chown(&theirs, Some(1234), None).expect("given away");
        let error = storage.store(VAULT, "two", Some(&document("one").version), true, None).expect_err(name);
        assert_eq!(error.code, "unsafe", "{name}: {error}");
        assert_eq!(fs::read_to_string(&vault).expect("there"), "one");
        assert!(fs::read_dir(&theirs).map_or(true, |mut names| names.next().is_none()), "no lock was made there");
    }
}

#[test]
fn a_locks_folder_that_others_may_write_is_refused() {
    let (dir, _, storage) = with_vault("auth.json", "one");
    let locks = dir.path().join("auth.json.lazaretto-locks");
    fs::create_dir(&locks).expect("made");
    for mode in [0o777, 0o770, 0o1777] {
        chmod(&locks, mode);
        let error = storage.acquire(&Scope::Document(VAULT.into()), 1, 0).expect_err("refused");
        assert!(error.code == "unsafe" && error.message.contains("may be written by others"), "{error}");
    }
    chmod(&locks, 0o755);
    acquired(storage.acquire(&Scope::Document(VAULT.into()), 1, 0));
}

/// Runs the rest of the calling test as a user without rights, in a directory that is that user's: in a process
/// of its own where this one is root. None: it has been run.
fn unprivileged(test: &str) -> Option<(Option<TempDir>, PathBuf)> {
    const VARIABLE: &str = "LAZARETTO_TEST_UNPRIVILEGED_DIR";
    if let Some(dir) = std::env::var_os(VARIABLE) {
        assert!(!is_root());
        return Some((None, dir.into()));
    }
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().canonicalize().expect("a path");
    if !is_root() {
        return Some((Some(dir), path));
    }
    fs::write(path.join("of-root.json"), "root's").expect("written");
    chmod(&path.join("of-root.json"), 0o644);
    fs::write(path.join("of-a-group.json"), "shared").expect("written");
    chown(path.join("of-a-group.json"), Some(65534), Some(2345)).expect("given away");
    chmod(&path.join("of-a-group.json"), 0o660);
    chown(&path, Some(65534), Some(65534)).expect("given away");
    let output = leases::this_test_binary(test)
        .env(VARIABLE, &path)
        .uid(65534)
        .gid(65534)
        .output()
        .expect("this binary runs again");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "no such test: {test}");
    None
}

#[test]
fn what_may_not_be_read_or_written_is_denied_with_its_path() {
    let test = "what_may_not_be_read_or_written_is_denied_with_its_path";
    let Some((_dir, dir)) = unprivileged(test) else {
        return;
    };
    let vault = dir.join("auth.json");
    fs::write(&vault, "one").expect("written");
    let storage = FileStorage::open(&vault);
    let version = document("one").version;
    stored(storage.store(VAULT, "one", Some(&version), true, None));

    chmod(&vault, 0o000);
    let error = storage.load(VAULT, Some(&version)).expect_err("unreadable");
    assert!(error.code == "denied" && error.message.contains(&vault.display().to_string()), "{error}");
    assert_eq!(code(storage.store(VAULT, "two", Some(&version), true, None)), "denied");

    chmod(&vault, 0o600);
    chmod(&dir, 0o500);
    assert_eq!(storage.load(VAULT, None), loaded("one"));
    assert_eq!(code(storage.store(VAULT, "two", Some(&version), true, None)), "denied");
    let grant = Scope::Grant { document: VAULT.into(), fingerprint: "0".repeat(32) };
    let refused = storage.acquire(&grant, 1, 0).expect_err("nothing can be created there");
    assert!(refused.code == "denied" && refused.message.contains(&dir.display().to_string()), "{refused}");
    chmod(&dir, 0o700);
    fs::remove_dir_all(dir.join("auth.json.lazaretto-locks")).expect("removed");
    chmod(&dir, 0o500);
    let grant = Scope::Grant { document: VAULT.into(), fingerprint: "0".repeat(32) };
    assert_eq!(code(storage.acquire(&grant, 1, 0)), "denied");

    chmod(&dir, 0o000);
    assert_eq!(code(storage.load(VAULT, None)), "denied");
    assert_eq!(code(FileStorage::open(dir.join("new/auth.json")).load(VAULT, None)), "denied");
    chmod(&dir, 0o700);
    assert_eq!(fs::read_to_string(&vault).expect("there"), "one");
}

/// What belongs to somebody else can be read and is never replaced.
#[test]
fn a_file_of_another_user_is_readable_and_never_replaced() {
    let test = "a_file_of_another_user_is_readable_and_never_replaced";
    let Some((_dir, dir)) = unprivileged(test) else {
        return;
    };
    let vault = dir.join("of-root.json");
    if !vault.exists() {
        return; // only root can make a file that is somebody else's
    }
    let storage = FileStorage::open(&vault);
    assert_eq!(storage.load(VAULT, None), loaded("root's"));
    let error = storage.store(VAULT, "mine", Some(&document("root's").version), true, None).expect_err("denied");
    assert!(error.code == "denied" && error.message.contains("belongs to user 0"), "{error}");
    let grant = Scope::Grant { document: VAULT.into(), fingerprint: "0".repeat(32) };
    assert_eq!(code(storage.acquire(&grant, 1, 0)), "denied");
    assert_eq!(fs::read_to_string(&vault).expect("there"), "root's");
    let names = fs::read_dir(&dir).expect("a directory").map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<_> = names.collect();
    names.sort();
    assert_eq!(names, ["of-a-group.json", "of-root.json"], "its owner is not shut out by what another user made");
}

/// A link is written through and everything of ours lies beside its target.
#[test]
fn a_link_is_followed_and_our_files_lie_beside_its_target() {
    let (dir, target, _) = empty("real/auth.json");
    fs::create_dir(dir.path().join("real")).expect("made");
    fs::write(&target, "one").expect("written");
    symlink(&target, dir.path().join("link.json")).expect("linked");
    let storage = FileStorage::open(dir.path().join("link.json"));
    assert_eq!(storage.load(VAULT, None), loaded("one"));
    let version = stored(storage.store(VAULT, "two", Some(&document("one").version), true, None));
    stored(storage.store("vault.lazaretto", "ledger", None, true, None));
    assert!(fs::symlink_metadata(dir.path().join("link.json")).expect("there").is_symlink());
    assert_eq!(fs::read_to_string(&target).expect("there"), "two");
    assert_eq!(names_in(dir.path()), ["link.json", "real"]);
    assert_eq!(names_in(&dir.path().join("real")), ["auth.json", "auth.json.lazaretto"]);
    assert_eq!(storage.load("vault.lazaretto", None), loaded("ledger"));
    assert_eq!(FileStorage::open(&target).load("vault.lazaretto", None), loaded("ledger"));
    assert_eq!(storage.load(VAULT, Some(&version)), Ok(LoadOutcome::Unchanged));
}

/// A dangling link is an absent document that can be created through it.
#[test]
fn a_dangling_link_is_absent_and_can_be_created_through() {
    let (dir, target, _) = empty("auth.json");
    symlink("auth.json", dir.path().join("link")).expect("linked");
    let storage = FileStorage::open(dir.path().join("link"));
    assert_eq!(storage.load(VAULT, None), Ok(LoadOutcome::Absent));
    stored(storage.store(VAULT, TEXT, None, true, None));
    assert_eq!(fs::read_to_string(&target).expect("there"), TEXT);
    assert_eq!(mode(&target), 0o600);
}

#[test]
fn an_unsafe_link_is_neither_read_nor_written_through() {
    let (dir, target, _) = with_vault("auth.json", "one");
    fs::create_dir(dir.path().join("open")).expect("made");
    symlink(&target, dir.path().join("open/link")).expect("linked");
    chmod(&dir.path().join("open"), 0o777);
    let storage = FileStorage::open(dir.path().join("open/link"));
    assert_eq!(code(storage.load(VAULT, None)), "unsafe");
    assert_eq!(code(storage.store(VAULT, "two", Some(&document("one").version), true, None)), "unsafe");
    assert_eq!(code(storage.acquire(&Scope::Document(VAULT.into()), 1, 0)), "unsafe");
    assert!(!storage.describe().excludes_foreign);
    assert_eq!(fs::read_to_string(&target).expect("there"), "one");
}

/// A link that is pointed elsewhere is seen at once but by who holds a lease.
#[test]
fn a_moved_link_is_seen_at_once_except_under_a_lease() {
    let (dir, one, _) = with_vault("one.json", "one");
    let two = dir.path().join("two.json");
    fs::write(&two, "two").expect("written");
    let link = dir.path().join("link");
    symlink(&one, &link).expect("linked");
    let mut storage = FileStorage::open(&link);
    storage.now = later;
    assert_eq!(storage.load(VAULT, None), loaded("one"));
    let lease = acquired(storage.acquire(&Scope::Document(VAULT.into()), 1, 0));

    fs::remove_file(&link).expect("removed");
    symlink(&two, &link).expect("linked");
    // What was read under the lease, and what comes of it, belongs to the vault that was leased.
    assert_eq!(storage.load(VAULT, Some(&document("one").version)), Ok(LoadOutcome::Unchanged));
    assert_eq!(thread::scope(|scope| scope.spawn(|| storage.load(VAULT, None)).join()).expect("joined"), loaded("two"));
    stored(storage.store(VAULT, "three", Some(&document("one").version), true, Some(&lease)));
    storage.release(&lease);
    assert_eq!(storage.load(VAULT, Some(&document("three").version)), loaded("two"));
    assert_eq!([&one, &two].map(|path| fs::read_to_string(path).expect("there")), ["three", "two"]);
}

#[test]
fn who_holds_a_lease_keeps_to_the_folder_wherever_it_is_moved() {
    let (dir, _, _) = empty("auth.json");
    let (home, moved) = (dir.path().join("home"), dir.path().join("moved"));
    let vault = home.join("auth.json");
    fs::create_dir(&home).expect("made");
    fs::write(&vault, "parent").expect("written");
    let storage = FileStorage::open(&vault);
    let grant = Scope::Grant { document: VAULT.into(), fingerprint: "0".repeat(32) };
    stored(storage.store("vault.lazaretto", "before", None, true, None));
    let lease = acquired(storage.acquire(&grant, 1000, 0));
    stored(storage.store("vault.lazaretto", "intent", Some(&document("before").version), true, None));

    fs::rename(&home, &moved).expect("moved");
    assert_eq!(storage.load("vault.lazaretto", None), loaded("intent"));
    let document_lease = acquired(storage.acquire(&Scope::Document(VAULT.into()), 1000, 0));
    stored(storage.store(VAULT, "successor", Some(&document("parent").version), true, Some(&document_lease)));
    storage.release(&document_lease);
    stored(storage.store("vault.lazaretto-sealed", "a copy", None, true, None));
    stored(storage.store("vault.lazaretto", "resolved", Some(&document("intent").version), false, None));
    assert_eq!(storage.load(VAULT, None), loaded("successor"));
    assert!(!home.exists(), "nothing is made where it was");
    storage.release(&lease);
    assert_eq!(storage.load(VAULT, None), Ok(LoadOutcome::Absent), "without a lease the path is what counts");

    let now = FileStorage::open(moved.join("auth.json"));
    assert_eq!(now.load(VAULT, None), loaded("successor"));
    assert_eq!(now.load("vault.lazaretto", None), loaded("resolved"));
    acquired(now.acquire(&grant, 1000, 0));
}

/// A clock by which every stamp of now is old.
fn later() -> SystemTime {
    SystemTime::now() + Duration::from_secs(60)
}

#[test]
fn an_old_document_is_unchanged_by_one_stat_without_reading_it() {
    let (_dir, vault, mut storage) = with_vault("auth.json", "one");
    storage.now = later;
    assert_eq!(storage.load(VAULT, None), loaded("one"));
    // Were it read, it would be at another version than this.
    storage.seen()[Kind::Vault as usize].as_mut().expect("proof").pretend("as remembered");
    assert_eq!(storage.load(VAULT, Some("as remembered")), Ok(LoadOutcome::Unchanged));

    chmod(&vault, 0o640);
    assert_eq!(storage.load(VAULT, Some("as remembered")), loaded("one"), "any new change time ends the proof");
}

/// A change of the same size within one step of the clock is never missed.
#[test]
fn a_change_within_one_clock_step_is_never_missed() {
    let (_dir, vault, storage) = with_vault("auth.json", "00000");
    let mut file = File::options().write(true).open(&vault).expect("open");
    let stamp = FileTimes::new().set_modified(SystemTime::now());
    let mut known = document("00000").version;
    for n in 1..=2000 {
        let text = format!("{n:05}");
        std::io::Seek::rewind(&mut file).expect("rewound");
        file.write_all(text.as_bytes()).expect("written");
        file.set_times(stamp).expect("stamped"); // as coarse as a clock can be
        assert_eq!(storage.load(VAULT, Some(&known)), loaded(&text));
        known = document(&text).version;
    }
    assert!(storage.seen()[Kind::Vault as usize].is_none(), "so fresh a stat proves nothing");
}

/// A change by another program is seen whatever it does to the modification time.
#[test]
fn a_change_with_a_reset_modification_time_is_seen() {
    let (_dir, vault, mut storage) = with_vault("auth.json", "one");
    storage.now = later;
    let before = fs::metadata(&vault).and_then(|stat| stat.modified()).expect("a time");
    assert_eq!(storage.load(VAULT, None), loaded("one"));
    // Until the change time of a file written now would differ.
    let probe = vault.with_file_name("probe");
    let changed = |path: &Path| fs::metadata(path).map(|stat| (stat.ctime(), stat.ctime_nsec())).expect("there");
    while {
        fs::write(&probe, "").expect("written");
        changed(&probe) == changed(&vault)
    } {
        thread::yield_now();
    }
    fs::write(&vault, "two").expect("written");
    let file = File::options().write(true).open(&vault).expect("open");
    file.set_times(FileTimes::new().set_modified(before)).expect("set back");
    assert_eq!(storage.load(VAULT, Some(&document("one").version)), loaded("two"));
}

#[test]
fn no_update_is_lost_between_threads_and_storages() {
    let (_dir, vault, storage) = with_vault("auth.json", "0");
    drop(storage);
    thread::scope(|scope| {
        for _ in 0..4 {
            // Two threads share a storage, four storages share the file.
            let storage = Arc::new(crashes::without_syncing(&vault));
            for _ in 0..2 {
                let storage = Arc::clone(&storage);
                scope.spawn(move || {
                    for _ in 0..200 {
                        let Ok(LoadOutcome::Loaded(mut at)) = storage.load(VAULT, None) else { panic!("no vault") };
                        loop {
                            let next = (at.text.parse::<u32>().expect("a number") + 1).to_string();
                            match storage.store(VAULT, &next, Some(&at.version), true, None) {
                                Ok(StoreOutcome::Stored(_)) => break,
                                Ok(StoreOutcome::Stale(Some(now))) => at = now,
                                other => panic!("{other:?}"),
                            }
                        }
                    }
                });
            }
        }
    });
    assert_eq!(fs::read_to_string(&vault).expect("there"), "1600");
}

#[test]
fn a_relative_path_is_fixed_when_the_storage_is_opened() {
    let storage = FileStorage::open("some/auth.json").with_profiles("p.json".into());
    assert!(storage.places.vault.is_absolute());
    assert!(storage.places.profiles.expect("given").is_absolute());
}

#[test]
fn the_storage_promises_what_it_keeps() {
    let (_dir, _, mut storage) = with_vault("auth.json", TEXT);
    let local =
        Capabilities { cas: "emulated", reads: "linearizable", durability: "machine-crash", excludes_foreign: true };
    assert_eq!(storage.describe(), local);
    storage.network_name = |_| Some("NFS");
    assert_eq!(storage.describe(), Capabilities { reads: "may-be-stale", ..local });
    fn needs_to_be_shared<T: Send + Sync>(_: &T) {}
    needs_to_be_shared(&storage);
}
