//! Documents that live as long as the value that holds them: for an embedder's tests, and for secrets that must
//! not touch a disk. Everything else is as the contract says: versions, compare and swap, leases that wait.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::{
    AcquireOutcome, Capabilities, Document, Holder, LeaseGrant, LoadOutcome, STORE_WAIT_MS, Scope, Storage,
    StorageError, StoreOutcome, check_name, fingerprint_byte, invalid_lease, random_id, version_of,
};

/// Documents in memory. Share one by `Arc` or by reference: two values share nothing.
///
/// ```
/// use lazaretto_host::storage::{LoadOutcome, MemoryStorage, Storage, StoreOutcome};
///
/// let storage = MemoryStorage::new();
/// let stored = storage.store("vault", "{}", None, true, None)?;
/// let StoreOutcome::Stored(version) = stored else { panic!("nobody else writes") };
/// assert_eq!(storage.load("vault", Some(&version))?, LoadOutcome::Unchanged);
///
/// // Compare and swap: who expects that there is none is told what is there.
/// assert!(matches!(storage.store("vault", "[]", None, true, None)?, StoreOutcome::Stale(Some(_))));
/// # Ok::<(), lazaretto_host::storage::StorageError>(())
/// ```
#[derive(Default)]
pub struct MemoryStorage {
    state: Mutex<State>,
    /// Told whenever a lease is given back.
    released: Condvar,
}

#[derive(Default)]
struct State {
    documents: BTreeMap<String, Document>,
    leases: HashMap<Scope, Lease>,
}

struct Lease {
    id: String,
    since_ms: Option<u64>,
}

impl Lease {
    fn holder(&self) -> Holder {
        Holder { name: format!("pid {}, in its own memory", std::process::id()), since_ms: self.since_ms }
    }
}

/// Refuses the lease of what can be no document or no fingerprint.
fn check_scope(scope: &Scope) -> Result<(), StorageError> {
    match scope {
        Scope::Document(name) => check_name(name),
        Scope::Grant { document, fingerprint } => {
            check_name(document)?;
            fingerprint_byte(fingerprint).map(|_| ())
        }
    }
}

impl MemoryStorage {
    /// No documents, no leases.
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A caller that panicked cannot have left a half-made change: each one is a single insert.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until nobody holds `scope`. The error is the holder after `wait_ms`.
    fn wait_until_free(&self, scope: &Scope, wait_ms: u64) -> Result<MutexGuard<'_, State>, Holder> {
        let started = Instant::now();
        let wait = Duration::from_millis(wait_ms);
        let mut state = self.state();
        while let Some(lease) = state.leases.get(scope) {
            let Some(left) = wait.checked_sub(started.elapsed()).filter(|left| !left.is_zero()) else {
                return Err(lease.holder());
            };
            state = self.released.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(state)
    }
}

impl Storage for MemoryStorage {
    fn load(&self, name: &str, known: Option<&str>) -> Result<LoadOutcome, StorageError> {
        check_name(name)?;
        Ok(match self.state().documents.get(name) {
            None => LoadOutcome::Absent,
            Some(document) if known == Some(&document.version) => LoadOutcome::Unchanged,
            Some(document) => LoadOutcome::Loaded(document.clone()),
        })
    }

    fn store(
        &self,
        name: &str,
        text: &str,
        expected: Option<&str>,
        _durable: bool,
        lease: Option<&str>,
    ) -> Result<StoreOutcome, StorageError> {
        check_name(name)?;
        let scope = Scope::Document(name.to_owned());
        let mut state = match lease {
            Some(lease) => {
                let state = self.state();
                if state.leases.get(&scope).is_none_or(|held| held.id != lease) {
                    return Err(invalid_lease(name));
                }
                state
            }
            None => self.wait_until_free(&scope, STORE_WAIT_MS).map_err(|holder| {
                StorageError::new("unavailable", format!("{name} is leased by {}; try again", holder.name))
            })?,
        };
        let current = state.documents.get(name);
        if current.map(|document| document.version.as_str()) != expected {
            return Ok(StoreOutcome::Stale(current.cloned()));
        }
        let version = version_of(text.as_bytes());
        state.documents.insert(name.to_owned(), Document { version: version.clone(), text: text.to_owned() });
        Ok(StoreOutcome::Stored(version))
    }

    fn acquire(&self, scope: &Scope, _ttl_ms: u64, wait_ms: u64) -> Result<AcquireOutcome, StorageError> {
        check_scope(scope)?;
        let id = random_id()?;
        let mut state = match self.wait_until_free(scope, wait_ms) {
            Ok(state) => state,
            Err(holder) => return Ok(AcquireOutcome::Busy(holder)),
        };
        state.leases.insert(scope.clone(), Lease { id: id.clone(), since_ms: now_ms() });
        Ok(AcquireOutcome::Acquired(LeaseGrant { lease: id, granted_ttl_ms: None }))
    }

    fn release(&self, lease: &str) {
        self.state().leases.retain(|_, held| held.id != lease);
        self.released.notify_all();
    }

    fn holder_of(&self, scope: &Scope) -> Result<Option<Holder>, StorageError> {
        check_scope(scope)?;
        Ok(self.state().leases.get(scope).map(Lease::holder))
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>, StorageError> {
        Ok(self.state().documents.keys().filter(|name| name.starts_with(prefix)).cloned().collect())
    }

    fn describe(&self) -> Capabilities {
        Capabilities {
            cas: "native",
            reads: "linearizable",
            durability: "none",
            // No other program can reach these documents.
            excludes_foreign: true,
        }
    }
}

fn now_ms() -> Option<u64> {
    SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_millis().try_into().ok()
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

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

    fn vault() -> Scope {
        Scope::Document("vault".into())
    }

    fn grant(digit: char) -> Scope {
        Scope::Grant { document: "vault".into(), fingerprint: digit.to_string().repeat(32) }
    }

    #[test]
    fn a_document_is_absent_then_loaded_then_unchanged() {
        let storage = MemoryStorage::new();
        assert_eq!(storage.load("vault", None), Ok(LoadOutcome::Absent));
        let version = stored(storage.store("vault", "one", None, true, None));
        assert_eq!(
            storage.load("vault", None),
            Ok(LoadOutcome::Loaded(Document { version: version.clone(), text: "one".into() }))
        );
        assert_eq!(storage.load("vault", Some(&version)), Ok(LoadOutcome::Unchanged));
        assert!(matches!(storage.load("vault", Some("other")), Ok(LoadOutcome::Loaded(_))));
    }

    #[test]
    fn losing_the_race_carries_what_is_stored_instead() {
        let storage = MemoryStorage::new();
        assert_eq!(storage.store("vault", "x", Some("v"), true, None), Ok(StoreOutcome::Stale(None)));
        let version = stored(storage.store("vault", "one", None, true, None));
        let current = Document { version, text: "one".into() };
        assert_eq!(storage.store("vault", "x", None, true, None), Ok(StoreOutcome::Stale(Some(current.clone()))));
        assert_eq!(storage.store("vault", "x", Some("v"), true, None), Ok(StoreOutcome::Stale(Some(current))));
    }

    #[test]
    fn no_update_is_lost_between_threads() {
        let storage = MemoryStorage::new();
        stored(storage.store("vault", "0", None, true, None));
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let Ok(LoadOutcome::Loaded(mut at)) = storage.load("vault", None) else { panic!("absent") };
                        loop {
                            let next = (at.text.parse::<u32>().expect("a number") + 1).to_string();
                            match storage.store("vault", &next, Some(&at.version), true, None) {
                                Ok(StoreOutcome::Stored(_)) => break,
                                Ok(StoreOutcome::Stale(Some(now))) => at = now,
                                other => panic!("{other:?}"),
                            }
                        }
                    }
                });
            }
        });
        assert!(matches!(storage.load("vault", None), Ok(LoadOutcome::Loaded(at)) if at.text == "1600"));
    }

    #[test]
    fn a_lease_excludes_until_its_holder_releases_it() {
        let storage = MemoryStorage::new();
        let lease = acquired(storage.acquire(&grant('a'), 1000, 0));
        assert!(matches!(storage.acquire(&grant('a'), 1000, 0), Ok(AcquireOutcome::Busy(h)) if h.since_ms.is_some()));
        let other = acquired(storage.acquire(&grant('b'), 1000, 0));
        storage.release("not a lease");
        storage.release(&other);
        assert!(matches!(storage.acquire(&grant('a'), 1000, 0), Ok(AcquireOutcome::Busy(_))));
        storage.release(&lease);
        acquired(storage.acquire(&grant('a'), 1000, 0));
    }

    #[test]
    fn who_holds_a_lease_is_told_until_it_is_released() {
        let storage = MemoryStorage::new();
        assert_eq!(storage.holder_of(&grant('a')), Ok(None));
        let lease = acquired(storage.acquire(&grant('a'), 1000, 0));
        let Ok(Some(holder)) = storage.holder_of(&grant('a')) else { panic!("nobody") };
        assert!(holder.name.starts_with("pid ") && holder.since_ms.is_some(), "{holder:?}");
        assert_eq!(storage.holder_of(&grant('b')), Ok(None));
        storage.release(&lease);
        assert_eq!(storage.holder_of(&grant('a')), Ok(None));
        assert_eq!(storage.holder_of(&Scope::Document("../x".into())).map_err(|e| e.code), Err("invalid-name"));
    }

    /// A waiting caller is let in by the release and not by the end of its wait.
    #[test]
    fn a_release_ends_the_wait_of_the_next_caller() {
        let storage = MemoryStorage::new();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        // Were nobody told, somebody would wait for ever.
                        let lease = acquired(storage.acquire(&vault(), 1000, u64::MAX));
                        thread::yield_now();
                        storage.release(&lease);
                    }
                });
            }
        });
    }

    /// A store under its own lease does not wait and any other lease is refused.
    #[test]
    fn a_store_under_its_own_lease_does_not_wait() {
        let storage = MemoryStorage::new();
        let lease = acquired(storage.acquire(&vault(), 1000, 0));
        let other = acquired(storage.acquire(&grant('a'), 1000, 0));
        for bad in [other.as_str(), "", "0123"] {
            let refused = storage.store("vault", "one", None, true, Some(bad));
            assert_eq!(refused.map_err(|e| e.code), Err("invalid-lease"));
        }
        assert_eq!(storage.load("vault", None), Ok(LoadOutcome::Absent));
        stored(storage.store("vault", "one", None, true, Some(&lease)));
        storage.release(&lease);
        let late = storage.store("vault", "two", Some(&version_of(b"one")), true, Some(&lease));
        assert_eq!(late.map_err(|e| e.code), Err("invalid-lease"));
    }

    #[test]
    fn names_are_checked_and_listed_by_prefix() {
        let storage = MemoryStorage::new();
        for name in ["vault", "vault.lazaretto", "settings.json"] {
            stored(storage.store(name, "{}", None, false, None));
        }
        assert_eq!(storage.list("vault"), Ok(vec!["vault".to_owned(), "vault.lazaretto".to_owned()]));
        assert_eq!(storage.list("").map(|names| names.len()), Ok(3));
        assert_eq!(storage.load("../vault", None).map_err(|e| e.code), Err("invalid-name"));
        assert_eq!(storage.store("A", "", None, true, None).map_err(|e| e.code), Err("invalid-name"));
        let bad = Scope::Document("/etc/passwd".into());
        assert_eq!(storage.acquire(&bad, 1, 0).map_err(|e| e.code), Err("invalid-name"));
    }
}
