//! Brings its own storage and takes the events: for a program that keeps its documents elsewhere.

use std::sync::Arc;

use lazaretto_host::storage::{
    AcquireOutcome, Capabilities, Holder, LoadOutcome, MemoryStorage, Scope, Storage, StorageError, StoreOutcome,
};
use lazaretto_host::{Event, Keeper, OpenError};

type Result<T> = std::result::Result<T, StorageError>;

/// The documents of one tenant in a store that all share. `wit/storage.wit` says what a store must hold to.
pub struct Tenant(pub String, pub Arc<MemoryStorage>);

impl Tenant {
    fn inner(&self, name: &str) -> String {
        format!("{}/{name}", self.0)
    }

    fn scope(&self, scope: &Scope) -> Scope {
        let mut scope = scope.clone();
        let (Scope::Document(name) | Scope::Grant { document: name, .. }) = &mut scope;
        *name = self.inner(name);
        scope
    }
}

impl Storage for Tenant {
    fn load(&self, name: &str, known: Option<&str>) -> Result<LoadOutcome> {
        self.1.load(&self.inner(name), known)
    }
    fn store(&self, name: &str, text: &str, at: Option<&str>, sync: bool, lease: Option<&str>) -> Result<StoreOutcome> {
        self.1.store(&self.inner(name), text, at, sync, lease)
    }
    fn acquire(&self, scope: &Scope, ttl_ms: u64, wait_ms: u64) -> Result<AcquireOutcome> {
        self.1.acquire(&self.scope(scope), ttl_ms, wait_ms)
    }
    fn release(&self, lease: &str) {
        self.1.release(lease);
    }
    fn holder_of(&self, scope: &Scope) -> Result<Option<Holder>> {
        self.1.holder_of(&self.scope(scope))
    }
    fn list(&self, prefix: &str) -> Result<Vec<String>> {
        let names = self.1.list(&self.inner(prefix))?;
        Ok(names.iter().filter_map(|name| name.strip_prefix(&self.inner("")).map(str::to_owned)).collect())
    }
    fn describe(&self) -> Capabilities {
        self.1.describe()
    }
}

fn main() -> std::result::Result<(), OpenError> {
    // No event holds a secret.
    let log = |event: &Event| eprintln!("{} {}: {}", event.severity, event.name, event.message);
    Keeper::builder().storage(Tenant("acme".into(), Arc::default())).events(log).build().map(drop)
}
