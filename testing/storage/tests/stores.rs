//! The storages of the host keep the contract, and the suite finds one that does not.

use std::collections::BTreeSet;
use std::ops::Deref;

use lazaretto_host::storage::{
    AcquireOutcome, Capabilities, FileStorage, Holder, LoadOutcome, MemoryStorage, Scope, Storage, StorageError,
    StoreOutcome, VAULT,
};
use lazaretto_storage_contract::{CASES, World};
use serde_json::Value;
use tempfile::TempDir;

/// Ends with its process.
struct InMemory(MemoryStorage);

impl World for InMemory {
    type Storage<'a> = &'a MemoryStorage;

    fn open(&self) -> &MemoryStorage {
        &self.0
    }

    fn survives_reopen(&self) -> bool {
        false
    }
}

struct OnDisk(TempDir);

/// A storage by itself.
struct Own(FileStorage);

impl Deref for Own {
    type Target = FileStorage;

    fn deref(&self) -> &FileStorage {
        &self.0
    }
}

impl World for OnDisk {
    type Storage<'a> = Own;

    fn open(&self) -> Own {
        Own(FileStorage::open(self.0.path().join("vault.json")))
    }

    /// Drops a storage that holds the lease. That a killed process holds nothing is tested in the file store.
    fn crash(&self, scope: &Scope) -> bool {
        matches!(self.open().acquire(scope, 60_000, 10_000), Ok(AcquireOutcome::Acquired(_)))
    }

    fn survives_reopen(&self) -> bool {
        true
    }
}

#[test]
fn the_memory_store_keeps_the_contract() {
    for case in CASES {
        case.check(&InMemory(MemoryStorage::new())).unwrap_or_else(|broken| panic!("{}: {broken}", case.name()));
    }
}

#[test]
fn the_file_store_keeps_the_contract() {
    for case in CASES {
        let folder = TempDir::new().expect("a folder");
        case.check(&OnDisk(folder)).unwrap_or_else(|broken| panic!("{}: {broken}", case.name()));
    }
}

/// Python and Node run the same cases: a rule that one language forgets would hold nowhere but by chance.
#[test]
fn every_case_of_the_list_is_run() {
    let list: Value =
        serde_json::from_str(include_str!("../../../tests/conformance/storage/cases.json")).expect("JSON");
    let listed = list["cases"].as_array().expect("cases").iter().filter_map(|case| case["name"].as_str());
    let listed: BTreeSet<String> = listed.map(ToOwned::to_owned).collect();
    assert_eq!(CASES.iter().map(|case| case.name()).collect::<BTreeSet<_>>(), listed);
}

/// Writes whatever version is expected, gives every lease, and promises more than it keeps.
struct Careless(MemoryStorage);

impl Storage for Careless {
    fn load(&self, name: &str, known: Option<&str>) -> Result<LoadOutcome, StorageError> {
        self.0.load(name, known)
    }

    fn store(
        &self,
        name: &str,
        text: &str,
        _: Option<&str>,
        durable: bool,
        _: Option<&str>,
    ) -> Result<StoreOutcome, StorageError> {
        let current = match self.0.load(name, None)? {
            LoadOutcome::Loaded(document) => Some(document.version),
            _ => None,
        };
        self.0.store(name, text, current.as_deref(), durable, None)
    }

    fn acquire(&self, scope: &Scope, ttl_ms: u64, wait_ms: u64) -> Result<AcquireOutcome, StorageError> {
        let outcome = self.0.acquire(scope, ttl_ms, wait_ms)?;
        if let AcquireOutcome::Acquired(grant) = &outcome {
            self.0.release(&grant.lease);
        }
        Ok(outcome)
    }

    fn release(&self, lease: &str) {
        self.0.release(lease);
    }

    fn holder_of(&self, scope: &Scope) -> Result<Option<Holder>, StorageError> {
        self.0.holder_of(scope)
    }

    fn list(&self, _: &str) -> Result<Vec<String>, StorageError> {
        Ok(vec![VAULT.into()])
    }

    fn describe(&self) -> Capabilities {
        Capabilities { durability: "machine-crash", ..self.0.describe() }
    }
}

struct CarelessWorld(Careless);

impl World for CarelessWorld {
    type Storage<'a> = &'a Careless;

    fn open(&self) -> &Careless {
        &self.0
    }

    fn survives_reopen(&self) -> bool {
        false
    }
}

#[test]
fn a_wrong_store_is_found() {
    let broken = |name: &str| {
        let case = CASES.iter().find(|case| case.name() == name).expect("a case");
        case.check(&CarelessWorld(Careless(MemoryStorage::new()))).is_err()
    };
    for name in [
        "expected-none-stores-only-what-is-absent",
        "a-stale-store-writes-nothing",
        "a-stale-store-of-an-absent-document-carries-nothing",
        "a-lease-on-another-document-permits-no-store",
        "a-released-lease-permits-no-store",
        "a-document-lease-excludes-every-other",
        "a-grant-lease-excludes-every-other",
        "an-unknown-lease-releases-nothing",
        "the-holder-is-told-and-keeps-its-lease",
        "list-names-what-begins-with-the-prefix",
        "describe-promises-what-reopen-shows",
    ] {
        assert!(broken(name), "{name} does not see it");
    }
    assert!(!broken("a-known-version-is-unchanged"), "it keeps that rule");
}
