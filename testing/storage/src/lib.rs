//! The contract suite of a storage: a case for each rule of `wit/storage.wit`, by the names of
//! `tests/conformance/storage/cases.json`. Python and Node run the same list on their storages.
//!
//! ```
//! use lazaretto_host::storage::MemoryStorage;
//! use lazaretto_storage_contract::{CASES, World};
//!
//! /// Ends with its process, so that opening it again finds the same value.
//! struct InMemory(MemoryStorage);
//!
//! impl World for InMemory {
//!     type Storage<'a> = &'a MemoryStorage;
//!
//!     fn open(&self) -> &MemoryStorage {
//!         &self.0
//!     }
//!
//!     fn survives_reopen(&self) -> bool {
//!         false
//!     }
//! }
//!
//! for case in CASES {
//!     case.check(&InMemory(MemoryStorage::new())).unwrap();
//! }
//! ```

#![cfg(not(target_arch = "wasm32"))]
#![deny(missing_docs)]

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::sync::{Mutex, PoisonError};
use std::thread;

use lazaretto_host::storage::{
    AcquireOutcome, Document, LoadOutcome, Scope, Storage, StorageError, StoreOutcome, VAULT,
};

const FINGERPRINT: &str = "0123456789abcdef0123456789abcdef";
const LEDGER: &str = "vault.lazaretto";
const SETTINGS: &str = "settings.json";
/// How long a lease lasts where the storage lets leases run out, in milliseconds.
const TTL_MS: u64 = 60_000;
/// How long a case waits for a lease that is about to be free, in milliseconds.
const WAIT_MS: u64 = 10_000;

/// A place for documents that is empty at first, and can be opened again.
pub trait World: Sync {
    /// An open storage.
    type Storage<'a>: Deref<Target: Storage>
    where
        Self: 'a;

    /// Opens the storage, beside others that are open already.
    fn open(&self) -> Self::Storage<'_>;

    /// Opens what an earlier storage stored. By default the same as [`World::open`].
    fn reopen(&self) -> Self::Storage<'_> {
        self.open()
    }

    /// Ends a holder of `scope` that released nothing. Returns false if this world has no such end.
    fn crash(&self, scope: &Scope) -> bool {
        let _ = scope;
        false
    }

    /// Returns whether a stored text survives the end of the process.
    fn survives_reopen(&self) -> bool;
}

/// A rule of the contract that a storage does not keep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken(String);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Broken {}

impl From<StorageError> for Broken {
    fn from(error: StorageError) -> Self {
        Self(format!("{}: {}", error.code, error.message))
    }
}

/// Fails the case with this text unless the condition holds.
macro_rules! ensure {
    ($holds:expr, $($text:tt)+) => {
        if !$holds {
            return Err(Broken(format!($($text)+)));
        }
    };
}

/// The list of the cases, each by the name of its function.
macro_rules! cases {
    ($($case:ident),+ $(,)?) => {
        /// A case of the suite. Its name is the one of `tests/conformance/storage/cases.json`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(non_camel_case_types, reason = "the names of the cases, as functions are called")]
        enum Which { $($case),+ }

        impl Case {
            /// Returns the name of the case.
            pub fn name(self) -> String {
                match self.0 { $(Which::$case => stringify!($case).replace('_', "-")),+ }
            }

            /// Runs the case on a world that is empty.
            ///
            /// # Errors
            /// The storage does not keep the rule.
            pub fn check<W: World>(self, world: &W) -> Result<(), Broken> {
                match self.0 { $(Which::$case => $case(world)),+ }
            }
        }

        /// Every case.
        pub const CASES: &[Case] = &[$(Case(Which::$case)),+];
    };
}

/// One rule of `wit/storage.wit`, as a case that a storage keeps or breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case(Which);

cases! {
    an_absent_document_is_absent,
    a_stored_text_is_loaded_with_its_version,
    any_text_comes_back_as_it_was,
    a_known_version_is_unchanged,
    an_old_version_loads_the_document,
    no_two_texts_have_one_version,
    a_name_outside_the_grammar_is_refused,
    expected_none_stores_only_what_is_absent,
    a_stale_store_writes_nothing,
    a_stale_store_of_an_absent_document_carries_nothing,
    of_two_stores_at_one_version_one_wins,
    a_durable_store_survives_reopen,
    a_store_that_need_not_be_durable_survives_reopen,
    a_store_under_its_lease_takes_no_lock,
    a_lease_keeps_other_stores_out,
    a_lease_on_another_document_permits_no_store,
    a_released_lease_permits_no_store,
    a_document_lease_excludes_every_other,
    a_grant_lease_excludes_every_other,
    a_grant_lease_leaves_the_document_free,
    a_fingerprint_outside_the_grammar_is_refused,
    a_released_lease_is_free,
    an_unknown_lease_releases_nothing,
    the_holder_is_told_and_keeps_its_lease,
    nobody_holds_a_free_lease,
    a_holder_that_ended_holds_nothing,
    list_names_what_begins_with_the_prefix,
    describe_promises_what_reopen_shows,
}

fn vault() -> Scope {
    Scope::Document(VAULT.into())
}

fn grant() -> Scope {
    Scope::Grant { document: VAULT.into(), fingerprint: FINGERPRINT.into() }
}

/// Stores a text durably and returns its version.
fn store(
    storage: &(impl Storage + ?Sized),
    text: &str,
    expected: Option<&str>,
    lease: Option<&str>,
) -> Result<String, Broken> {
    stored(storage.store(VAULT, text, expected, true, lease)?)
}

fn stored(outcome: StoreOutcome) -> Result<String, Broken> {
    match outcome {
        StoreOutcome::Stored(version) => Ok(version),
        other => Err(Broken(format!("a store that nothing stands against was answered with {other:?}"))),
    }
}

/// Returns a document that must be there.
fn document(storage: &(impl Storage + ?Sized), name: &str) -> Result<Document, Broken> {
    match storage.load(name, None)? {
        LoadOutcome::Loaded(document) => Ok(document),
        other => Err(Broken(format!("`{name}` was stored, and a load was answered with {other:?}"))),
    }
}

/// Takes a lease that is free, or is about to be.
fn lease_on(storage: &(impl Storage + ?Sized), scope: &Scope) -> Result<String, Broken> {
    match storage.acquire(scope, TTL_MS, WAIT_MS)? {
        AcquireOutcome::Acquired(grant) => Ok(grant.lease),
        AcquireOutcome::Busy(holder) => Err(Broken(format!("{scope:?} is free, and is said to be held by {holder:?}"))),
    }
}

/// Returns whether a lease is refused at once, because it is held.
fn is_busy(storage: &(impl Storage + ?Sized), scope: &Scope) -> Result<bool, Broken> {
    Ok(matches!(storage.acquire(scope, TTL_MS, 0)?, AcquireOutcome::Busy(_)))
}

/// Fails unless a call was refused with `code`.
fn refused<T: fmt::Debug>(result: Result<T, StorageError>, code: &str) -> Result<StorageError, Broken> {
    match result {
        Err(error) if error.code == code => Ok(error),
        other => Err(Broken(format!("a call that must fail with `{code}` ended with {other:?}"))),
    }
}

/// Fails unless a store was refused because the document is another one.
fn stale(outcome: StoreOutcome, current: Option<Document>) -> Result<(), Broken> {
    let wanted = StoreOutcome::Stale(current);
    ensure!(outcome == wanted, "a stale store was answered with {outcome:?} and not with {wanted:?}");
    Ok(())
}

fn an_absent_document_is_absent<W: World>(world: &W) -> Result<(), Broken> {
    let storage = world.open();
    for known in [None, Some("known")] {
        let found = storage.load(VAULT, known)?;
        ensure!(found == LoadOutcome::Absent, "nothing was stored, and a load was answered with {found:?}");
    }
    Ok(())
}

fn a_stored_text_is_loaded_with_its_version<W: World>(world: &W) -> Result<(), Broken> {
    let storage = world.open();
    let version = store(&*storage, "{}", None, None)?;
    let found = document(&*storage, VAULT)?;
    ensure!(found.version == version, "the version differs from the one that the store returned");
    ensure!(found.text == "{}", "the text differs from what was stored");
    Ok(())
}

fn any_text_comes_back_as_it_was<W: World>(world: &W) -> Result<(), Broken> {
    let storage = world.open();
    let mut version = None;
    for text in ["", "\u{feff}{}\r\n", "a\nb\n", "é𝄞\u{2028}", &"x".repeat(100_000)] {
        version = Some(store(&*storage, text, version.as_deref(), None)?);
        ensure!(document(&*storage, VAULT)?.text == text, "a text of {} bytes came back changed", text.len());
    }
    Ok(())
}

fn a_known_version_is_unchanged<W: World>(world: &W) -> Result<(), Broken> {
    let storage = world.open();
    let version = store(&*storage, "{}", None, None)?;
    let found = storage.load(VAULT, Some(&version))?;
    ensure!(found == LoadOutcome::Unchanged, "the known version was answered with {found:?}");
    Ok(())
}

fn an_old_version_loads_the_document<W: World>(world: &W) -> Result<(), Broken> {
    let storage = world.open();
    let first = store(&*storage, "1", None, None)?;
    let second = store(&*storage, "2", Some(&first), None)?;
    let found = storage.load(VAULT, Some(&first))?;
    let wanted = LoadOutcome::Loaded(Document { version: second, text: "2".into() });
    ensure!(found == wanted, "an old version was answered with {found:?}");
    Ok(())
}

fn no_two_texts_have_one_version<W: World>(world: &W) -> Result<(), Broken> {
    let storage = world.open();
    let (mut version, mut seen) = (None, BTreeMap::new());
    for text in ["1", "2", "3", "1", "4"] {
        let new = store(&*storage, text, version.as_deref(), None)?;
        let of = *seen.entry(new.clone()).or_insert(text);
        ensure!(of == text, "the texts {of:?} and {text:?} have one version");
        version = Some(new);
    }
    Ok(())
}

fn a_name_outside_the_grammar_is_refused<W: World>(world: &W) -> Result<(), Broken> {
    let storage = world.open();
    for name in ["", "../x", "a/../b", "/etc/passwd", "Vault", "a//b", "a\nb", "a b", "vault\0"] {
        refused(storage.load(name, None), "invalid-name")?;
        refused(storage.store(name, "", None, true, None), "invalid-name")?;
        refused(storage.acquire(&Scope::Document(name.into()), 1, 0), "invalid-name")?;
    }
    Ok(())
}

fn expected_none_stores_only_what_is_absent<W: World>(world: &W) -> Result<(), Broken> {
    let storage = world.open();
    let version = store(&*storage, "1", None, None)?;
    stale(storage.store(VAULT, "2", None, true, None)?, Some(Document { version, text: "1".into() }))?;
    ensure!(document(&*storage, VAULT)?.text == "1", "a stale store wrote its text");
    Ok(())
}

fn a_stale_store_writes_nothing<W: World>(world: &W) -> Result<(), Broken> {
    let storage = world.open();
    let first = store(&*storage, "1", None, None)?;
    let current = Document { version: store(&*storage, "2", Some(&first), None)?, text: "2".into() };
    stale(storage.store(VAULT, "3", Some(&first), true, None)?, Some(current.clone()))?;
    ensure!(document(&*storage, VAULT)? == current, "a stale store wrote its text");
    Ok(())
}

fn a_stale_store_of_an_absent_document_carries_nothing<W: World>(world: &W) -> Result<(), Broken> {
    let storage = world.open();
    stale(storage.store(VAULT, "1", Some("some-version"), true, None)?, None)?;
    ensure!(storage.load(VAULT, None)? == LoadOutcome::Absent, "a stale store wrote its text");
    Ok(())
}

fn of_two_stores_at_one_version_one_wins<W: World>(world: &W) -> Result<(), Broken> {
    let version = store(&*world.open(), "0", None, None)?;
    let outcomes = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for number in 1..5 {
            let (outcomes, version) = (&outcomes, &version);
            scope.spawn(move || {
                let outcome = world.open().store(VAULT, &number.to_string(), Some(version), true, None);
                outcomes.lock().unwrap_or_else(PoisonError::into_inner).push(outcome);
            });
        }
    });
    let mut wins = 0;
    for outcome in outcomes.into_inner().unwrap_or_else(PoisonError::into_inner) {
        match outcome? {
            StoreOutcome::Stored(_) => wins += 1,
            StoreOutcome::Stale(_) => {}
            StoreOutcome::Unknown => return Err(Broken("a store without a fault has no certain outcome".into())),
        }
    }
    ensure!(wins == 1, "{wins} of four stores at one version succeeded");
    Ok(())
}

fn a_durable_store_survives_reopen<W: World>(world: &W) -> Result<(), Broken> {
    let version = store(&*world.open(), "kept", None, None)?;
    let found = document(&*world.reopen(), VAULT)?;
    ensure!(found == Document { version, text: "kept".into() }, "another document is there after opening again");
    Ok(())
}

fn a_store_that_need_not_be_durable_survives_reopen<W: World>(world: &W) -> Result<(), Broken> {
    let storage = world.open();
    let first = stored(storage.store(LEDGER, "1", None, true, None)?)?;
    let version = stored(storage.store(LEDGER, "2", Some(&first), false, None)?)?;
    drop(storage);
    let found = document(&*world.reopen(), LEDGER)?;
    ensure!(found == Document { version, text: "2".into() }, "another document is there after opening again");
    Ok(())
}

fn a_store_under_its_lease_takes_no_lock<W: World>(world: &W) -> Result<(), Broken> {
    let storage = world.open();
    let lease = lease_on(&*storage, &vault())?;
    let version = store(&*storage, "1", None, Some(&lease))?;
    store(&*storage, "2", Some(&version), Some(&lease))?;
    Ok(())
}

/// However late the other thread begins: its store ends after the holder's, and is stale.
fn a_lease_keeps_other_stores_out<W: World>(world: &W) -> Result<(), Broken> {
    let storage = world.open();
    let first = store(&*storage, "1", None, None)?;
    let lease = lease_on(&*storage, &vault())?;
    let (second, theirs) = thread::scope(|scope| {
        let other = scope.spawn(|| world.open().store(VAULT, "theirs", Some(&first), true, None));
        let second = store(&*storage, "ours", Some(&first), Some(&lease));
        storage.release(&lease);
        (second, other.join())
    });
    let theirs = theirs.map_err(|_| Broken("a store panicked".into()))?;
    stale(theirs?, Some(Document { version: second?, text: "ours".into() }))
}

fn a_lease_on_another_document_permits_no_store<W: World>(world: &W) -> Result<(), Broken> {
    let storage = world.open();
    for scope in [Scope::Document(SETTINGS.into()), grant()] {
        let lease = lease_on(&*storage, &scope)?;
        refused(storage.store(VAULT, "1", None, true, Some(&lease)), "invalid-lease")?;
        storage.release(&lease);
    }
    ensure!(storage.load(VAULT, None)? == LoadOutcome::Absent, "a store under a wrong lease wrote its text");
    Ok(())
}

fn a_released_lease_permits_no_store<W: World>(world: &W) -> Result<(), Broken> {
    let storage = world.open();
    let lease = lease_on(&*storage, &vault())?;
    storage.release(&lease);
    refused(storage.store(VAULT, "1", None, true, Some(&lease)), "invalid-lease")?;
    Ok(())
}

fn a_document_lease_excludes_every_other<W: World>(world: &W) -> Result<(), Broken> {
    let storage = world.open();
    lease_on(&*storage, &vault())?;
    ensure!(is_busy(&*storage, &vault())?, "one storage gave the lease of one document twice");
    ensure!(is_busy(&*world.open(), &vault())?, "a second storage gave the lease of one document again");
    let other = Scope::Document(SETTINGS.into());
    ensure!(!is_busy(&*world.open(), &other)?, "the lease of one document excludes that of another");
    Ok(())
}

fn a_grant_lease_excludes_every_other<W: World>(world: &W) -> Result<(), Broken> {
    let storage = world.open();
    lease_on(&*storage, &grant())?;
    ensure!(is_busy(&*storage, &grant())?, "one storage gave the lease of one grant twice");
    ensure!(is_busy(&*world.open(), &grant())?, "a second storage gave the lease of one grant again");
    Ok(())
}

fn a_grant_lease_leaves_the_document_free<W: World>(world: &W) -> Result<(), Broken> {
    let storage = world.open();
    lease_on(&*storage, &grant())?;
    let lease = lease_on(&*storage, &vault())?;
    store(&*storage, "1", None, Some(&lease))?;
    Ok(())
}

fn a_fingerprint_outside_the_grammar_is_refused<W: World>(world: &W) -> Result<(), Broken> {
    let storage = world.open();
    for fingerprint in ["", "rt-secret", &"0".repeat(31), &"0".repeat(33), &"A".repeat(32)] {
        let scope = Scope::Grant { document: VAULT.into(), fingerprint: fingerprint.into() };
        let Err(error) = storage.acquire(&scope, TTL_MS, 0) else {
            return Err(Broken(format!("{} characters that are no fingerprint were taken for one", fingerprint.len())));
        };
        // Whoever confuses the two passes a refresh token here.
        let repeats = !fingerprint.is_empty() && error.message.contains(fingerprint);
        ensure!(!repeats, "the error repeats what was passed as a fingerprint");
    }
    Ok(())
}

fn a_released_lease_is_free<W: World>(world: &W) -> Result<(), Broken> {
    let storage = world.open();
    for scope in [vault(), grant()] {
        storage.release(&lease_on(&*storage, &scope)?);
        lease_on(&*world.open(), &scope)?;
    }
    Ok(())
}

fn an_unknown_lease_releases_nothing<W: World>(world: &W) -> Result<(), Broken> {
    let storage = world.open();
    let lease = lease_on(&*storage, &vault())?;
    world.open().release("no-such-lease");
    storage.release("no-such-lease");
    ensure!(is_busy(&*world.open(), &vault())?, "the release of an unknown lease released another one");
    store(&*storage, "1", None, Some(&lease))?;
    Ok(())
}

fn the_holder_is_told_and_keeps_its_lease<W: World>(world: &W) -> Result<(), Broken> {
    let storage = world.open();
    for scope in [vault(), grant()] {
        let lease = lease_on(&*storage, &scope)?;
        ensure!(world.open().holder_of(&scope)?.is_some(), "{scope:?} is held, and nobody is said to hold it");
        ensure!(is_busy(&*world.open(), &scope)?, "whoever asked for the holder of {scope:?} ended the lease");
        storage.release(&lease);
    }
    Ok(())
}

fn nobody_holds_a_free_lease<W: World>(world: &W) -> Result<(), Broken> {
    let storage = world.open();
    for scope in [vault(), grant()] {
        let before = storage.holder_of(&scope)?;
        storage.release(&lease_on(&*storage, &scope)?);
        let after = world.open().holder_of(&scope)?;
        ensure!(before.is_none() && after.is_none(), "{scope:?} is free, and is said to be held");
    }
    Ok(())
}

fn a_holder_that_ended_holds_nothing<W: World>(world: &W) -> Result<(), Broken> {
    for scope in [vault(), grant()] {
        if !world.crash(&scope) {
            return Ok(());
        }
        let storage = world.reopen();
        ensure!(storage.holder_of(&scope)?.is_none(), "a holder of {scope:?} that ended is said to hold it");
        storage.release(&lease_on(&*storage, &scope)?);
    }
    Ok(())
}

fn list_names_what_begins_with_the_prefix<W: World>(world: &W) -> Result<(), Broken> {
    let storage = world.open();
    ensure!(storage.list("")?.is_empty(), "an empty storage lists documents");
    for name in [VAULT, LEDGER, SETTINGS] {
        stored(storage.store(name, "{}", None, true, None)?)?;
    }
    for (prefix, wanted) in [("vault", &[VAULT, LEDGER][..]), ("", &[SETTINGS, VAULT, LEDGER])] {
        let mut names = storage.list(prefix)?;
        names.sort();
        ensure!(names == wanted, "the names with the prefix {prefix:?} are said to be {names:?}");
    }
    Ok(())
}

fn describe_promises_what_reopen_shows<W: World>(world: &W) -> Result<(), Broken> {
    let promised = world.open().describe().durability;
    let is_promised = promised != "none";
    ensure!(is_promised == world.survives_reopen(), "the durability is said to be `{promised}`");
    Ok(())
}
