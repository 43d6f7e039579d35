//! Whenever the power goes, each document is the old text or the new one, whole, with its owner and mode; what a durable
//! store wrote is never lost, and the next store works.

use std::collections::BTreeSet;

use super::recorder::{Content, Node, Op, Recorder, State, left_after, rebuild, scratch, snapshot};
use super::*;

/// Stores, one after another, into a directory that `prepare` has filled.
struct Story {
    name: &'static str,
    /// The path that the storage is opened with, and the file that it leads to.
    vault: &'static str,
    target: &'static str,
    prepare: fn(&Path),
    /// Directories that somebody has just created and has not synced.
    fresh: &'static [&'static str],
    stores: &'static [Told],
}

/// One store: the document, a word that its text is made of, and whether it is durable.
type Told = (&'static str, &'static str, bool);

const LEDGER: &str = "vault.lazaretto";
const SEALED: &str = "vault.lazaretto-sealed";

const STORIES: &[Story] = &[
    Story {
        name: "a vault is replaced",
        vault: "auth.json",
        target: "auth.json",
        prepare: |root| file(&root.join("auth.json"), "old", 0o644),
        fresh: &[],
        stores: &[(VAULT, "new", true)],
    },
    Story {
        name: "a vault is created, and the directories it lies in",
        vault: "new/deep/auth.json",
        target: "new/deep/auth.json",
        prepare: |_| (),
        fresh: &[],
        stores: &[(VAULT, "first", true)],
    },
    Story {
        name: "a vault is created in directories that another process had just created",
        vault: "new/deep/auth.json",
        target: "new/deep/auth.json",
        prepare: |_| (),
        fresh: &["new", "new/deep"],
        stores: &[(VAULT, "first", true), (LEDGER, "first", true), (VAULT, "second", true)],
    },
    Story {
        name: "a vault is replaced twice, not durably",
        vault: "auth.json",
        target: "auth.json",
        prepare: |root| file(&root.join("auth.json"), "old", 0o700),
        fresh: &[],
        stores: &[(VAULT, "new", false), (VAULT, "newer", false)],
    },
    Story {
        name: "a vault is created, not durably, and then replaced",
        vault: "auth.json",
        target: "auth.json",
        prepare: |_| (),
        fresh: &[],
        stores: &[(VAULT, "first", false), (VAULT, "second", true)],
    },
    Story {
        name: "a vault behind links is replaced",
        vault: "home/auth.json",
        target: "real/credentials.json",
        prepare: |root| {
            fs::create_dir(root.join("home")).expect("made");
            fs::create_dir(root.join("real")).expect("made");
            symlink("link.json", root.join("home/auth.json")).expect("linked");
            symlink("../real/credentials.json", root.join("home/link.json")).expect("linked");
            file(&root.join("real/credentials.json"), "old", 0o600);
        },
        fresh: &[],
        stores: &[(VAULT, "new", true), (LEDGER, "first", true)],
    },
    Story {
        name: "two refreshes: intent, vault, resolve",
        vault: "auth.json",
        target: "auth.json",
        prepare: |root| file(&root.join("auth.json"), "parent", 0o600),
        fresh: &[],
        stores: &[
            (LEDGER, "intent", true),
            (VAULT, "successor", true),
            (LEDGER, "resolved", false),
            (LEDGER, "second intent", true),
            (VAULT, "second successor", true),
            (LEDGER, "resolved again", false),
        ],
    },
    Story {
        name: "a ledger is written back and forth",
        vault: "auth.json",
        target: "auth.json",
        prepare: |root| {
            file(&root.join("auth.json"), "vault", 0o600);
            file(&root.join("auth.json.lazaretto"), "a", 0o600);
        },
        fresh: &[],
        stores: &[
            (LEDGER, "b", false),
            (LEDGER, "c", true),
            (LEDGER, "a", true),
            (LEDGER, "b", false),
            (LEDGER, "a", false),
            (LEDGER, "b", true),
            (LEDGER, "c", false),
            (LEDGER, "b", true),
        ],
    },
    Story {
        name: "a ledger is created, not durably, and replaced twice",
        vault: "auth.json",
        target: "auth.json",
        prepare: |root| file(&root.join("auth.json"), "vault", 0o600),
        fresh: &[],
        stores: &[(LEDGER, "first", false), (LEDGER, "second", false), (LEDGER, "third", true)],
    },
    Story {
        name: "an earlier crash left an unsynced text for a ledger that comes back",
        vault: "auth.json",
        target: "auth.json",
        prepare: |root| {
            file(&root.join("auth.json"), "vault", 0o600);
            file(&root.join("auth.json.lazaretto"), "c", 0o600);
            let late = unsynced::spelled(&version_of(text_of("a").as_bytes()), &text_of("b")).expect("small");
            fs::write(root.join("auth.json.lazaretto.unsynced"), late).expect("written");
            chmod(&root.join("auth.json.lazaretto.unsynced"), 0o600);
        },
        fresh: &[],
        stores: &[(LEDGER, "a", true), (LEDGER, "c", true)],
    },
    Story {
        name: "a quarantine: tombstone, sealed, vault; and back",
        vault: "auth.json",
        target: "auth.json",
        prepare: |root| {
            file(&root.join("auth.json"), "live", 0o600);
            file(&root.join("auth.json.lazaretto"), "live", 0o600);
        },
        fresh: &[],
        stores: &[
            (LEDGER, "tombstone", true),
            (SEALED, "sealed", true),
            (VAULT, "cleared", true),
            (LEDGER, "lifted", true),
            (VAULT, "live", true),
            (SEALED, "wiped", true),
        ],
    },
    Story {
        name: "an earlier crash left temporary files",
        vault: "auth.json",
        target: "auth.json",
        prepare: |root| {
            file(&root.join("auth.json"), "old", 0o600);
            for (n, text) in ["", "torn", "old"].into_iter().enumerate() {
                let name = format!(".auth.json.lazaretto-tmp.2147483647.{n:032x}");
                file(&root.join(name), text, 0o600);
            }
        },
        fresh: &[],
        stores: &[(VAULT, "new", true), (VAULT, "newer", false)],
    },
];

/// A text in which a torn write shows.
fn text_of(word: &str) -> String {
    format!("{{\"{word}\": \"{}\"}}", word.repeat(40))
}

/// A file of another group than new ones have, where it can be given to one.
fn file(path: &Path, word: &str, mode: u32) {
    fs::write(path, text_of(word)).expect("written");
    if is_root() {
        chown(path, None, Some(2345)).expect("given to a group");
    }
    chmod(path, mode);
}

/// A store that was made: between which operations.
struct Made {
    told: Told,
    begun: usize,
    ended: usize,
}

struct Recorded {
    before: State,
    ops: Vec<Op>,
    made: Vec<Made>,
}

/// Whether the vault's stores are made ready before, under the lease of a grant.
type IsPrepared = bool;

fn record(story: &Story, without: Option<&'static str>, is_prepared: IsPrepared) -> Recorded {
    let dir = scratch();
    let root = dir.path().canonicalize().expect("a path");
    (story.prepare)(&root);
    let before = snapshot(&root);
    let mut begun = Vec::new();
    for dir in story.fresh {
        fs::create_dir(root.join(dir)).expect("made");
        chmod(&root.join(dir), 0o700);
        begun.push(Op::CreateDir { path: dir.into() });
    }
    let log = Arc::new(Mutex::new(begun));
    let mut storage = FileStorage::open(root.join(story.vault));
    storage.files = Arc::new(Recorder { root, log: Arc::clone(&log), without });
    let length = || log.lock().expect("not poisoned").len();
    let mut made = Vec::new();
    for told in story.stores {
        let begun = length();
        let version = version_at(&storage, told.0);
        let (text, version) = (text_of(told.1), version.as_deref());
        if is_prepared && told.0 == VAULT {
            let grant = Scope::Grant { document: VAULT.into(), fingerprint: "0".repeat(32) };
            let lease = acquired(storage.acquire(&grant, 1, 0));
            let ticket = storage.prepare(VAULT, text.len() as u64, &lease).expect("prepared").expect("a ticket");
            stored(storage.store_prepared(VAULT, &text, version, told.2, None, &ticket));
            storage.release(&lease);
        } else {
            stored(storage.store(told.0, &text, version, told.2, None));
        }
        made.push(Made { told: *told, begun, ended: length() });
    }
    let ops = log.lock().expect("not poisoned").clone();
    Recorded { before, ops, made }
}

fn version_at(storage: &FileStorage, name: &str) -> Option<String> {
    match storage.load(name, None) {
        Ok(LoadOutcome::Loaded(document)) => Some(document.version),
        Ok(_) => None,
        Err(error) => panic!("{error}"),
    }
}

/// How many ways there were for the power to go, and how many different states they left.
#[derive(Debug, Default)]
struct Count {
    operations: usize,
    ways: u64,
    states: usize,
}

/// Rebuilds and opens every state. The error is the first one that is not as it must be.
fn check(story: &Story, without: Option<&'static str>, is_prepared: IsPrepared) -> Result<Count, String> {
    let recorded = record(story, without, is_prepared);
    let mut count = Count { operations: recorded.ops.len(), ..Count::default() };
    let mut known = BTreeSet::new();
    for cut in 0..=recorded.ops.len() {
        let left = left_after(&recorded.before, &recorded.ops[..cut]);
        count.ways += left.ways;
        for (state, nothing_lost) in left.states {
            let allowed = allowed_at(story, &recorded, cut, nothing_lost);
            if known.insert((state.clone(), allowed.clone())) {
                count.states += 1;
                check_state(story, &state, &allowed, count.states)
                    .map_err(|wrong| format!("{}, after {:?}: {wrong}", story.name, &recorded.ops[..cut].last()))?;
            }
        }
    }
    Ok(count)
}

/// What each document may be, and whether as new or as it was before the story.
type Allowed = Vec<(&'static str, Vec<Option<Content>>)>;

/// After the first `cut` operations: from what is certainly there to what was begun.
fn allowed_at(story: &Story, recorded: &Recorded, cut: usize, nothing_lost: bool) -> Allowed {
    let names: BTreeSet<&'static str> = story.stores.iter().map(|told| told.0).collect();
    let me = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let of = |name: &'static str| {
        let before = match recorded.before.get(&path_of(story, name)) {
            Some(Node::File(content)) => Some(content.clone()),
            _ => None,
        };
        let after = |word: &str| Content {
            bytes: text_of(word).into_bytes(),
            mode: before.as_ref().map_or(0, |before| before.mode & 0o770) | 0o600,
            owner: before.as_ref().map_or(me, |before| before.owner),
        };
        let mut allowed = vec![before.clone()];
        for made in recorded.made.iter().filter(|made| made.told.0 == name && made.begun <= cut) {
            if made.ended <= cut && (made.told.2 || nothing_lost) {
                allowed.clear();
            }
            allowed.push(Some(after(made.told.1)));
        }
        (name, allowed)
    };
    names.into_iter().map(of).collect()
}

fn path_of(story: &Story, name: &str) -> PathBuf {
    let suffix = Kind::of(name).expect("a document").suffix().unwrap_or_default();
    PathBuf::from(format!("{}{suffix}", story.target))
}

fn check_state(story: &Story, state: &State, allowed: &Allowed, number: usize) -> Result<(), String> {
    // The group of the vault may read what it could read before, and only if it is that group.
    let group = (is_root()).then_some(2345);
    for (path, node) in state.iter().filter(|(path, _)| path.to_string_lossy().contains("lazaretto")) {
        let kept = |content: &Content| if group == Some(content.owner.1) { 0o007 } else { 0o077 };
        let is_open = matches!(node, Node::File(content) if content.mode & kept(content) != 0);
        ensure(!is_open, || format!("{} can be read by others", path.display()))?;
    }
    let dir = scratch();
    let root = dir.path().canonicalize().expect("a path");
    rebuild(state, &root);
    leave_torn_locks(&root, story, number);
    let storage = crashes::without_syncing(&root.join(story.vault));
    for (name, contents) in allowed {
        let found = storage.load(name, None).map_err(|error| error.message)?;
        let path = root.join(path_of(story, name));
        let stat = fs::metadata(&path).ok();
        let is_as = |content: &Option<Content>| match (content, &found) {
            (None, LoadOutcome::Absent) => true,
            (Some(content), LoadOutcome::Loaded(document)) => document.text.as_bytes() == content.bytes,
            _ => false,
        };
        let word = |found: &LoadOutcome| match found {
            LoadOutcome::Loaded(document) => document.text.chars().take(24).collect(),
            other => format!("{other:?}"),
        };
        let content = contents.iter().find(|content| is_as(content));
        let content = content.ok_or_else(|| format!("{name} is {:?}", word(&found)))?;
        if let (Some(content), Some(stat)) = (content, stat) {
            let (mode, owner) = (stat.mode() & 0o7777, (stat.uid(), stat.gid()));
            let text = word(&found);
            ensure(mode == content.mode, || format!("{name} {text:?} has mode {mode:o}"))?;
            ensure(owner == content.owner || !is_root(), || format!("{name} {text:?} belongs to {owner:?}"))?;
        }
    }
    // Nothing that lies about is in anybody's way, and each store tidies up after those before it.
    for (name, _) in allowed {
        let version = version_at(&storage, name);
        stored(storage.store(name, "{\"after\": 1}", version.as_deref(), true, None));
        let found = storage.load(name, None);
        ensure(found == loaded("{\"after\": 1}"), || format!("{name} cannot be written again"))?;
        let path = root.join(path_of(story, name));
        let file_name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let (temp, unsynced) = (format!(".{file_name}.lazaretto-tmp."), format!("{file_name}.unsynced"));
        let names = names_in(path.parent().expect("a directory"));
        let is_left = |name: &String| name.starts_with(&temp) || *name == unsynced;
        ensure(!names.iter().any(is_left), || format!("left behind: {names:?}"))?;
    }
    let grant = Scope::Grant { document: VAULT.into(), fingerprint: "0".repeat(32) };
    acquired(storage.acquire(&grant, 1, 0));
    Ok(())
}

/// Lock files are never synced: any may be missing, or have a hint of nothing but zeroes, or half of one.
fn leave_torn_locks(root: &Path, story: &Story, number: usize) {
    let locks = root.join(format!("{}.lazaretto-locks", story.target));
    if !locks.is_dir() {
        return;
    }
    for (n, name) in ["document-vault", "document-ledger", "document-sealed", "00"].into_iter().enumerate() {
        match (number + n) % 3 {
            0 => {}
            1 => fs::write(locks.join(name), [0; 60]).expect("written"),
            _ => fs::write(locks.join(name), "{\"pid\":4711,\"ho").expect("written"),
        }
    }
}

fn ensure(holds: bool, wrong: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(wrong()) }
}

/// Whenever the power goes every document is whole and a durable one is there.
#[test]
fn after_a_power_cut_durable_documents_are_whole() {
    let mut all = Count::default();
    let tell = |count: &Count, name: &str| {
        println!("{:4} operations, {:7} ways, {:5} states: {name}", count.operations, count.ways, count.states);
    };
    for story in STORIES {
        let count = check(story, None, false).unwrap_or_else(|wrong| panic!("{wrong}"));
        tell(&count, story.name);
        all.operations += count.operations;
        all.ways += count.ways;
        all.states += count.states;
    }
    tell(&all, "all rebuilt, opened and written again");
    assert!(all.states > 500, "{all:?}");
}

#[test]
fn a_store_that_was_made_ready_survives_every_power_cut() {
    for name in ["a vault is replaced", "a vault behind links is replaced", "two refreshes: intent, vault, resolve"] {
        let count = check(story(name), None, true).unwrap_or_else(|wrong| panic!("{wrong}"));
        assert!(count.states > 10, "{name}: {count:?}");
    }
    let torn = check(story("a vault is replaced"), Some("sync_file"), true).expect_err("an unsynced file may be torn");
    assert!(torn.contains("vault is "), "{torn}");
}

fn story(name: &str) -> &'static Story {
    STORIES.iter().find(|story| story.name == name).expect("a story")
}

#[test]
fn a_store_that_leaves_out_a_step_is_found_out() {
    let replaced = story("a vault is replaced");
    let torn = check(replaced, Some("sync_file"), false).expect_err("an unsynced file may be torn");
    assert!(torn.contains("vault is "), "{torn}");
    let lost = check(replaced, Some("sync_dir"), false).expect_err("an unsynced name may be lost");
    assert!(lost.contains("vault is \"{\\\"old"), "{lost}");
    let changed = check(story("a vault is replaced twice, not durably"), Some("set_mode"), false)
        .expect_err("the owner's rights are kept");
    assert!(changed.contains("has mode 600"), "{changed}");
    let taken = check(replaced, Some("set_group"), false);
    assert!(
        !is_root()
            || taken.is_err_and(|wrong| wrong.contains("belongs to (0, 0)") || wrong.contains("can be read by others"))
    );
    let created = check(story("a vault is created, and the directories it lies in"), Some("sync_dir"), false)
        .expect_err("an unsynced directory may be lost");
    assert!(created.contains("Absent"), "{created}");
}
