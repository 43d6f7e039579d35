//! The ledger's newest text may lie beside it unsynced: whoever asks gets it, and whoever replaces
//! the ledger's own file wins.

use super::*;

const LEDGER: &str = "vault.lazaretto";

/// A vault's directory with a ledger at `old`, and what was stored over it without need of being
/// durable.
fn with_ledger(old: &str, late: &str) -> (TempDir, PathBuf, FileStorage) {
    let (dir, vault, storage) = with_vault("auth.json", TEXT);
    let version = stored(storage.store(LEDGER, old, None, true, None));
    stored(storage.store(LEDGER, late, Some(&version), false, None));
    let ledger = vault.with_file_name("auth.json.lazaretto");
    assert_eq!(fs::read_to_string(&ledger).expect("there"), old);
    assert_eq!(mode(&ledger.with_extension("lazaretto.unsynced")), 0o600);
    (dir, ledger, storage)
}

/// It is what everybody reads and compares with until a durable store takes its place.
#[test]
fn the_unsynced_text_counts_until_a_durable_store() {
    let (dir, ledger, storage) = with_ledger("old", "late");
    let other = FileStorage::open(dir.path().join("auth.json"));
    for storage in [&storage, &other] {
        assert_eq!(storage.load(LEDGER, None), loaded("late"));
        assert_eq!(storage.load(LEDGER, Some(&document("late").version)), Ok(LoadOutcome::Unchanged));
        assert_eq!(storage.load(LEDGER, Some(&document("old").version)), loaded("late"));
        for durable in [true, false] {
            let outcome = storage.store(LEDGER, "mine", Some(&document("old").version), durable, None);
            assert_eq!(outcome, Ok(StoreOutcome::Stale(Some(document("late")))));
        }
    }
    stored(other.store(LEDGER, "later", Some(&document("late").version), false, None));
    assert_eq!(storage.load(LEDGER, None), loaded("later"));
    stored(storage.store(LEDGER, "durable", Some(&document("later").version), true, None));
    assert_eq!(fs::read_to_string(&ledger).expect("there"), "durable");
    assert_eq!(names_in(dir.path()), ["auth.json", "auth.json.lazaretto"]);
}

/// A ledger that somebody edits restores or sets aside wins over it.
#[test]
fn an_edited_or_restored_ledger_wins_over_the_unsynced_text() {
    let (dir, ledger, storage) = with_ledger("old", "late");
    fs::write(&ledger, "edited").expect("written");
    assert_eq!(storage.load(LEDGER, None), loaded("edited"));
    stored(storage.store(LEDGER, "mine", Some(&document("edited").version), true, None));
    assert_eq!(names_in(dir.path()), ["auth.json", "auth.json.lazaretto"]);

    let (dir, ledger, storage) = with_ledger("old", "late");
    fs::rename(&ledger, dir.path().join("aside")).expect("set aside");
    assert_eq!(storage.load(LEDGER, None), Ok(LoadOutcome::Absent));
    stored(storage.store(LEDGER, "old", None, true, None));
    assert_eq!(storage.load(LEDGER, None), loaded("old"), "what was late for another file does not come back");
    assert_eq!(names_in(dir.path()), ["aside", "auth.json", "auth.json.lazaretto"]);
}

#[test]
fn it_is_ignored_when_torn_and_an_error_when_it_cannot_be_read() {
    for torn in [&b""[..], b"lazaretto-unsynced 1 ", b"\xff\xfe", &[0; 100]] {
        let (_dir, ledger, storage) = with_ledger("old", "late");
        fs::write(ledger.with_extension("lazaretto.unsynced"), torn).expect("written");
        assert_eq!(storage.load(LEDGER, None), loaded("old"));
        stored(storage.store(LEDGER, "new", Some(&document("old").version), false, None));
        assert_eq!(storage.load(LEDGER, None), loaded("new"));
    }
    let (_dir, ledger, storage) = with_ledger("old", "late");
    let unsynced = ledger.with_extension("lazaretto.unsynced");
    fs::remove_file(&unsynced).expect("removed");
    fs::create_dir(&unsynced).expect("made");
    assert_eq!(code(storage.load(LEDGER, None)), "unsupported");
    assert_eq!(code(storage.store(LEDGER, "new", Some(&document("old").version), true, None)), "unsupported");
}

#[test]
fn no_other_document_has_one() {
    let (dir, _, storage) = with_vault("auth.json", "one");
    for name in [VAULT, "vault.lazaretto-sealed", "settings.json"] {
        let known = (name == VAULT).then(|| document("one").version);
        let version = stored(storage.store(name, "two", known.as_deref(), false, None));
        stored(storage.store(name, "three", Some(&version), false, None));
    }
    assert_eq!(fs::read_to_string(dir.path().join("auth.json")).expect("there"), "three");
    assert_eq!(names_in(dir.path()), ["auth.json", "auth.json.lazaretto-sealed", "auth.json.lazaretto-settings.json"]);
}
