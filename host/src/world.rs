//! The component's imports: what it asks of the world, and the host's answers.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::{HasSelf, Linker};
use wasmtime::{StoreContextMut, StoreLimits};

use crate::bindings::lazaretto::keeper::{events, http, storage};
use crate::bindings::wasi::clocks::wall_clock::Datetime;
use crate::clock::{Clock, Random};
use crate::events::{Event, EventSink};
use crate::http::{Http, HttpRequest, Reach, Sent};
use crate::limits::{Limits, Stopwatch};
use crate::storage::{AcquireOutcome, Document, Holder, LoadOutcome, Scope, Storage, StorageError, StoreOutcome};

/// What is told of each request before it leaves.
pub(crate) type BeforeSend = dyn Fn(&HttpRequest) + Send + Sync;

/// What is told of what a call waits for.
pub(crate) type OnWait = dyn Fn(Wait<'_>) + Send + Sync;

/// What a call waits for from now on. [`Builder::on_wait`](crate::Builder::on_wait) is called with it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Wait<'a> {
    /// A lease that another process holds. Reported once the call has waited [`LONG_WAIT`] for it.
    Lease(&'a Scope, &'a Holder),
    /// The answer to a request that leaves now.
    Answer(&'a HttpRequest),
    /// Nothing: the wait is over.
    Over,
}

/// How long a call waits before a person wants to know why nothing happens.
pub const LONG_WAIT: Duration = Duration::from_secs(1);

/// The parts of a host that all calls share.
pub(crate) struct Shared {
    pub(crate) storage: Box<dyn Storage>,
    pub(crate) http: Arc<dyn Http>,
    /// For the component for persons, which may reach more.
    pub(crate) admin_http: Arc<dyn Http>,
    /// Reached through [`Shared::emit`].
    pub(crate) events: Box<dyn EventSink>,
    /// Called before each request leaves.
    pub(crate) before_send: Option<Box<BeforeSend>>,
    /// Called when a call begins to wait for somebody else, and when that is over.
    pub(crate) on_wait: Option<Box<OnWait>>,
    pub(crate) clock: Box<dyn Clock>,
    pub(crate) random: Box<dyn Random>,
}

impl Shared {
    /// Tells of an event. A sink that panics costs its event. Unwinding through the guest it might cost the tokens that are about to be
    /// stored.
    pub(crate) fn emit(&self, event: &Event) {
        let _ = catch_unwind(AssertUnwindSafe(|| self.events.emit(event)));
    }

    /// Takes a lease. Whoever listens is told for whom the call waits, once it has waited for long.
    fn acquire(&self, scope: &Scope, ttl_ms: u64, wait_ms: u64) -> Result<AcquireOutcome, StorageError> {
        let long_ms = u64::try_from(LONG_WAIT.as_millis()).unwrap_or(u64::MAX);
        if self.on_wait.is_none() || wait_ms <= long_ms {
            return self.storage.acquire(scope, ttl_ms, wait_ms);
        }
        match self.storage.acquire(scope, ttl_ms, long_ms)? {
            AcquireOutcome::Busy(holder) => {
                self.tell(Wait::Lease(scope, &holder));
                let outcome = self.storage.acquire(scope, ttl_ms, wait_ms - long_ms);
                self.tell(Wait::Over);
                outcome
            }
            acquired => Ok(acquired),
        }
    }

    /// A listener that panics costs what it was told. Unwinding through the guest it might cost tokens.
    fn tell(&self, wait: Wait<'_>) {
        if let Some(on_wait) = &self.on_wait {
            let _ = catch_unwind(AssertUnwindSafe(|| on_wait(wait)));
        }
    }
}

/// The state of one instance.
pub(crate) struct World {
    pub(crate) shared: Arc<Shared>,
    http: Arc<dyn Http>,
    limits: Limits,
    pub(crate) memory: StoreLimits,
    guest_time: Duration,
    stopwatch: Stopwatch,
    /// Leases that the instance holds, so that none outlives its call.
    leases: Vec<String>,
}

impl World {
    pub(crate) fn new(shared: Arc<Shared>, http: Arc<dyn Http>, limits: Limits) -> Self {
        let (memory, guest_time) = (limits.store_limits(), limits.guest_time);
        Self { shared, http, limits, memory, guest_time, stopwatch: Stopwatch::start(), leases: Vec::new() }
    }

    pub(crate) fn begin_call(&mut self) {
        self.allow(&self.limits.clone());
    }

    /// Sets the limits, and the guest's time to nothing used.
    fn allow(&mut self, limits: &Limits) {
        (self.memory, self.guest_time, self.stopwatch) = (limits.store_limits(), limits.guest_time, Stopwatch::start());
    }

    /// The time that the guest may compute for, if it has computed for longer.
    pub(crate) fn overdrawn(&self) -> Option<Duration> {
        (self.stopwatch.guest_time() > self.guest_time).then_some(self.guest_time)
    }

    /// A call is over, or trapped: what it still holds is given back.
    pub(crate) fn end_call(&mut self) {
        for lease in self.leases.drain(..) {
            self.shared.storage.release(&lease);
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.end_call();
    }
}

/// Gives a linker everything that the world `keeper-world` imports, and nothing else.
pub(crate) fn add_to_linker(linker: &mut Linker<World>) -> wasmtime::Result<()> {
    storage::add_to_linker::<_, HasSelf<World>>(linker, |world| world)?;
    events::add_to_linker::<_, HasSelf<World>>(linker, |world| world)?;
    linker.instance("lazaretto:keeper/http@0.1.0")?.func_wrap("send", send)?;
    // Of the WASI interfaces the component uses these functions only.
    linker.instance("wasi:clocks/wall-clock@0.2.0")?.func_wrap("now", |store, (): ()| {
        let now = store.data().shared.clock.wall();
        Ok((Datetime { seconds: now.as_secs(), nanoseconds: now.subsec_nanos() },))
    })?;
    linker.instance("wasi:clocks/monotonic-clock@0.2.0")?.func_wrap("now", |store, (): ()| {
        let now = store.data().shared.clock.monotonic();
        Ok((u64::try_from(now.as_nanos()).unwrap_or(u64::MAX),))
    })?;
    linker.instance("wasi:random/random@0.2.0")?.func_wrap("get-random-u64", |store, (): ()| {
        let number = store.data().shared.random.random_u64();
        Ok((number.map_err(|error| wasmtime::Error::msg(format!("no random bytes: {error}")))?,))
    })?;
    Ok(())
}

impl storage::Host for World {
    fn load(&mut self, name: String, known: Option<String>) -> Result<storage::LoadOutcome, storage::StorageError> {
        let Self { shared, stopwatch, .. } = self;
        let outcome = stopwatch.pause(|| shared.storage.load(&name, known.as_deref()))?;
        Ok(match outcome {
            LoadOutcome::Unchanged => storage::LoadOutcome::Unchanged,
            LoadOutcome::Absent => storage::LoadOutcome::Absent,
            LoadOutcome::Loaded(document) => storage::LoadOutcome::Loaded(document.into()),
        })
    }

    fn store(
        &mut self,
        name: String,
        text: String,
        expected: Option<String>,
        durable: bool,
        lease: Option<String>,
    ) -> Result<storage::StoreOutcome, storage::StorageError> {
        let Self { shared, stopwatch, .. } = self;
        let outcome =
            stopwatch.pause(|| shared.storage.store(&name, &text, expected.as_deref(), durable, lease.as_deref()))?;
        Ok(match outcome {
            StoreOutcome::Stored(version) => storage::StoreOutcome::Stored(version),
            StoreOutcome::Stale(current) => storage::StoreOutcome::Stale(current.map(Into::into)),
            StoreOutcome::Unknown => storage::StoreOutcome::Unknown,
        })
    }

    fn acquire(
        &mut self,
        scope: storage::Scope,
        ttl_ms: u64,
        wait_ms: u64,
    ) -> Result<storage::AcquireOutcome, storage::StorageError> {
        let scope = scope.into();
        let Self { shared, stopwatch, leases, .. } = self;
        Ok(match stopwatch.pause(|| shared.acquire(&scope, ttl_ms, wait_ms))? {
            AcquireOutcome::Acquired(grant) => {
                leases.push(grant.lease.clone());
                storage::AcquireOutcome::Acquired(storage::LeaseGrant {
                    lease: grant.lease,
                    granted_ttl_ms: grant.granted_ttl_ms,
                })
            }
            AcquireOutcome::Busy(holder) => storage::AcquireOutcome::Busy(holder.into()),
        })
    }

    fn release(&mut self, lease: String) {
        // Only what this instance holds: an instance must not free another's.
        let Self { shared, stopwatch, leases, .. } = self;
        if let Some(at) = leases.iter().position(|held| *held == lease) {
            leases.swap_remove(at);
            stopwatch.pause(|| shared.storage.release(&lease));
        }
    }

    fn list(&mut self, prefix: String) -> Result<Vec<String>, storage::StorageError> {
        let Self { shared, stopwatch, .. } = self;
        Ok(stopwatch.pause(|| shared.storage.list(&prefix))?)
    }

    fn holder_of(&mut self, scope: storage::Scope) -> Result<Option<storage::Holder>, storage::StorageError> {
        let scope = scope.into();
        let Self { shared, stopwatch, .. } = self;
        Ok(stopwatch.pause(|| shared.storage.holder_of(&scope))?.map(Into::into))
    }

    fn describe(&mut self) -> storage::Capabilities {
        let Self { shared, stopwatch, .. } = self;
        let capabilities = stopwatch.pause(|| shared.storage.describe());
        storage::Capabilities {
            cas: capabilities.cas.to_owned(),
            reads: capabilities.reads.to_owned(),
            durability: capabilities.durability.to_owned(),
            excludes_foreign: capabilities.excludes_foreign,
        }
    }
}

/// From here on nothing may stop the guest until the answer is stored.
fn send(
    mut context: StoreContextMut<'_, World>,
    (request,): (http::Request,),
) -> wasmtime::Result<(Result<http::Response, http::Failure>,)> {
    let limits = context.data().limits.after_a_send();
    context.set_hostcall_fuel(limits.hostcall_bytes);
    let world = context.data_mut();
    let answer = world.send(request);
    world.allow(&limits);
    Ok((answer,))
}

impl World {
    fn send(&mut self, request: http::Request) -> Result<http::Response, http::Failure> {
        let request = HttpRequest {
            method: request.method,
            url: request.url,
            headers: request.headers.into_iter().map(|header| (header.name, header.value)).collect(),
            body: request.body,
            deadline_ms: request.deadline_ms,
            reach: Reach::Any,
        };
        if let Some(before_send) = &self.shared.before_send {
            before_send(&request);
        }
        self.shared.tell(Wait::Answer(&request));
        let answer = self.http.send(&request);
        self.shared.tell(Wait::Over);
        match answer {
            Ok(response) => Ok(http::Response {
                status: response.status,
                headers: response.headers.into_iter().map(|(name, value)| http::Header { name, value }).collect(),
                body: response.body,
                body_complete: response.body_complete,
                body_lossy: response.body_lossy,
            }),
            Err(failure) => Err(http::Failure {
                kind: failure.kind.to_owned(),
                sent: match failure.sent {
                    Sent::No => http::Sent::No,
                    Sent::Maybe => http::Sent::Maybe,
                },
                message: failure.message,
            }),
        }
    }
}

impl events::Host for World {
    fn emit(&mut self, event: events::Event) {
        let event = Event {
            name: event.name,
            severity: event.severity,
            at_ms: event.at_ms,
            provider: event.provider,
            credential: event.credential,
            message: event.message,
            attributes: event.attributes.into_iter().map(|attribute| (attribute.key, attribute.value)).collect(),
        };
        let Self { shared, stopwatch, .. } = self;
        stopwatch.pause(|| shared.emit(&event));
    }
}

impl From<storage::Scope> for Scope {
    fn from(scope: storage::Scope) -> Self {
        match scope {
            storage::Scope::Document(name) => Self::Document(name),
            storage::Scope::Grant(grant) => Self::Grant { document: grant.document, fingerprint: grant.fingerprint },
        }
    }
}

impl From<Holder> for storage::Holder {
    fn from(holder: Holder) -> Self {
        Self { name: holder.name, since_ms: holder.since_ms }
    }
}

impl From<Document> for storage::Document {
    fn from(document: Document) -> Self {
        Self { version: document.version, text: document.text }
    }
}

impl From<StorageError> for storage::StorageError {
    fn from(error: StorageError) -> Self {
        Self { code: error.code.to_owned(), message: error.message }
    }
}
