//! The imports as [`crate::ports`], and the keeper that lives on them.

#[cfg(feature = "admin")]
use crate::admin::Admin as Exported;
#[cfg(not(feature = "admin"))]
use crate::keeper::Keeper as Exported;
use crate::ports::{
    Acquired, Capabilities, Clock, Document, Event, Events, Holder, Http, HttpFailure, Lease, Loaded, Random, Request,
    Response, Scope, Severity, Storage, StorageError, Stored, Version,
};
use crate::secret::Secret;

use super::bindings::lazaretto::keeper::{events, http, storage};
use super::bindings::wasi::clocks::{monotonic_clock, wall_clock};
use super::bindings::wasi::random::random;

/// What a warm instance remembers between calls. A cold one starts with nothing and comes to the same.
pub(super) fn keeper() -> &'static Exported<World> {
    thread_local! {
        static EXPORTED: &'static Exported<World> = Box::leak(Box::new(Exported::new(World)));
    }
    EXPORTED.with(|keeper| *keeper)
}

/// The imports.
pub(super) struct World;

impl Storage for World {
    fn load(&self, name: &str, known: Option<&Version>) -> Result<Loaded, StorageError> {
        match storage::load(name, known.map(|version| version.0.as_str()))? {
            storage::LoadOutcome::Unchanged => Ok(Loaded::Unchanged),
            storage::LoadOutcome::Absent => Ok(Loaded::Absent),
            storage::LoadOutcome::Loaded(document) => Ok(Loaded::Found(document.into())),
        }
    }

    fn store(
        &self,
        name: &str,
        text: &str,
        expected: Option<&Version>,
        durable: bool,
        lease: Option<&Lease>,
    ) -> Result<Stored, StorageError> {
        let expected = expected.map(|version| version.0.as_str());
        match storage::store(name, text, expected, durable, lease.map(|lease| lease.0.as_str()))? {
            storage::StoreOutcome::Stored(version) => Ok(Stored::Done(Version(version))),
            storage::StoreOutcome::Stale(current) => Ok(Stored::Stale(current.map(Into::into))),
            storage::StoreOutcome::Unknown => Ok(Stored::Unknown),
        }
    }

    fn acquire(&self, scope: &Scope, ttl_ms: u64, wait_ms: u64) -> Result<Acquired, StorageError> {
        match storage::acquire(&scope.into(), ttl_ms, wait_ms)? {
            storage::AcquireOutcome::Acquired(grant) => {
                Ok(Acquired::Granted { lease: Lease(grant.lease), granted_ttl_ms: grant.granted_ttl_ms })
            }
            storage::AcquireOutcome::Busy(holder) => Ok(Acquired::Busy(holder.name)),
        }
    }

    fn release(&self, lease: &Lease) {
        storage::release(&lease.0);
    }

    fn holder_of(&self, scope: &Scope) -> Result<Option<Holder>, StorageError> {
        let holder = storage::holder_of(&scope.into())?;
        Ok(holder.map(|holder| Holder { name: holder.name, since_ms: holder.since_ms }))
    }

    fn describe(&self) -> Capabilities {
        let capabilities = storage::describe();
        Capabilities {
            reads_are_linearizable: capabilities.reads == "linearizable",
            excludes_foreign: capabilities.excludes_foreign,
        }
    }
}

impl Http for World {
    fn send(&self, request: Request) -> Result<Response, HttpFailure> {
        let header =
            |(name, value): &(String, Secret)| http::Header { name: name.clone(), value: value.expose().to_owned() };
        let request = http::Request {
            method: request.method.to_owned(),
            url: request.url,
            headers: request.headers.iter().map(header).collect(),
            body: request.body.expose().to_owned(),
            deadline_ms: request.deadline_ms,
        };
        match http::send(&request) {
            Ok(response) => Ok(Response {
                status: response.status,
                headers: response.headers.into_iter().map(|header| (header.name, header.value)).collect(),
                body: Secret::new(response.body),
                body_complete: response.body_complete,
                body_lossy: response.body_lossy,
            }),
            Err(failure) => Err(HttpFailure {
                kind: failure.kind,
                maybe_sent: failure.sent == http::Sent::Maybe,
                message: failure.message,
            }),
        }
    }
}

impl Clock for World {
    fn wall_ms(&self) -> u64 {
        let now = wall_clock::now();
        now.seconds.saturating_mul(1_000).saturating_add(u64::from(now.nanoseconds / 1_000_000))
    }

    fn monotonic_ms(&self) -> u64 {
        monotonic_clock::now() / 1_000_000
    }
}

impl Random for World {
    fn random_u64(&self) -> u64 {
        random::get_random_u64()
    }
}

impl Events for World {
    fn emit(&self, event: Event) {
        events::emit(&events::Event {
            name: event.name.to_owned(),
            severity: match event.severity {
                Severity::Info => "info",
                Severity::Warning => "warning",
                Severity::Error => "error",
            }
            .to_owned(),
            at_ms: event.at_ms,
            provider: event.provider,
            credential: event.credential,
            message: event.message,
            attributes: event
                .attributes
                .into_iter()
                .map(|(key, value)| events::Attribute { key: key.to_owned(), value })
                .collect(),
        });
    }
}

impl From<&Scope> for storage::Scope {
    fn from(scope: &Scope) -> Self {
        match scope {
            Scope::Document(name) => Self::Document(name.clone()),
            Scope::Grant { document, fingerprint } => {
                Self::Grant(storage::GrantScope { document: document.clone(), fingerprint: fingerprint.clone() })
            }
        }
    }
}

impl From<storage::Document> for Document {
    fn from(document: storage::Document) -> Self {
        Self { version: Version(document.version), text: Secret::new(document.text) }
    }
}

impl From<storage::StorageError> for StorageError {
    fn from(error: storage::StorageError) -> Self {
        Self { code: error.code, message: error.message }
    }
}
