//! Everything the logic may reach. There is no other way out of this crate: no file, no socket, no clock, no thread.
//!
//! The calls that can be slow, fail, or be the place where a process dies are `async`. In the component each
//! answers at once, so there the `async` is taken out; in the simulator each one parks, and a scheduler decides what
//! becomes of it.

use std::fmt;

use crate::secret::Secret;

/// A document's version: only equality means anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version(pub String);

/// A text and its version, read together. The text of a vault holds secrets.
#[derive(Clone, Debug)]
pub struct Document {
    /// Marks this text.
    pub version: Version,
    /// The whole text.
    pub text: Secret,
}

/// What [`Storage::load`] found.
#[derive(Clone, Debug)]
pub enum Loaded {
    /// The version named as known is current.
    Unchanged,
    /// There is no such document.
    Absent,
    /// The document.
    Found(Document),
}

/// What became of a [`Storage::store`].
#[derive(Clone, Debug)]
pub enum Stored {
    /// It is stored; its version.
    Done(Version),
    /// Somebody else was first; what is there now.
    Stale(Option<Document>),
    /// It cannot be said: reload and compare.
    Unknown,
}

/// What a lease is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All writing of one document.
    Document(String),
    /// The refreshing of one grant of the vault `document`.
    Grant {
        /// The vault's name.
        document: String,
        /// The fingerprint about to be sent.
        fingerprint: String,
    },
}

/// What became of a [`Storage::acquire`].
#[derive(Clone, Debug)]
pub enum Acquired {
    /// Ours, for `granted_ttl_ms` milliseconds from before the call, or until released.
    Granted {
        /// Names it in `store` and `release`.
        lease: Lease,
        /// None: until released, or until the process ends.
        granted_ttl_ms: Option<u64>,
    },
    /// Somebody else's, for the whole wait. Who, as far as is known.
    Busy(String),
}

/// A lease held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease(pub String);

/// Who holds a lease, as far as is known: for a person.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holder {
    /// Empty: not known.
    pub name: String,
    /// In milliseconds since 1970. None: not known.
    pub since_ms: Option<u64>,
}

/// What a storage can promise.
#[derive(Clone, Debug)]
pub struct Capabilities {
    /// A load sees every store that ended before it.
    pub reads_are_linearizable: bool,
    /// A document lease also excludes other programs that write the document.
    pub excludes_foreign: bool,
}

/// Why a storage call could not be answered. Nothing was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageError {
    /// The open set of `wit/storage.wit`.
    pub code: String,
    /// For a person.
    pub message: String,
}

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Documents, and the right to change them: `wit/storage.wit` says what each call must keep.
#[allow(async_fn_in_trait, reason = "no Send bound is wanted: the executors are single-threaded")]
#[lazaretto_macros::async_natively]
pub trait Storage {
    /// Reads a document.
    async fn load(&self, name: &str, known: Option<&Version>) -> Result<Loaded, StorageError>;
    /// Replaces a document that is still at `expected`.
    async fn store(
        &self,
        name: &str,
        text: &str,
        expected: Option<&Version>,
        durable: bool,
        lease: Option<&Lease>,
    ) -> Result<Stored, StorageError>;
    /// Takes a lease, waiting at most `wait_ms`.
    async fn acquire(&self, scope: &Scope, ttl_ms: u64, wait_ms: u64) -> Result<Acquired, StorageError>;
    /// Gives a lease back.
    async fn release(&self, lease: &Lease);
    /// Returns who holds a lease now, without taking it.
    async fn holder_of(&self, scope: &Scope) -> Result<Option<Holder>, StorageError>;
    /// What the storage can promise.
    fn describe(&self) -> Capabilities;
}

/// One request to an authorization server.
#[derive(Clone, Debug)]
pub struct Request {
    /// `POST` or `GET`.
    pub method: &'static str,
    /// Absolute.
    pub url: String,
    /// Lower-case names. A value may be a secret.
    pub headers: Vec<(String, Secret)>,
    /// Holds a secret.
    pub body: Secret,
    /// From now to the last byte of the answer, in milliseconds.
    pub deadline_ms: u64,
}

/// The answer. Its body may hold secrets.
#[derive(Clone, Debug)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// As sent.
    pub headers: Vec<(String, String)>,
    /// At most 64 KiB.
    pub body: Secret,
    /// False: it was cut.
    pub body_complete: bool,
    /// True: bytes that were not UTF-8 were replaced.
    pub body_lossy: bool,
}

/// No answer with a status came.
#[derive(Clone, Debug)]
pub struct HttpFailure {
    /// The open set of `wit/http.wit`: `dns`, `timeout`, ...
    pub kind: String,
    /// False only if not one byte of the request left.
    pub maybe_sent: bool,
    /// For a person.
    pub message: String,
}

/// One attempt, no retry, no redirect: `wit/http.wit`.
#[allow(async_fn_in_trait, reason = "no Send bound is wanted: the executors are single-threaded")]
#[lazaretto_macros::async_natively]
pub trait Http {
    /// Sends one request.
    async fn send(&self, request: Request) -> Result<Response, HttpFailure>;
}

/// Both clocks, in milliseconds.
pub trait Clock {
    /// Since 1970. It may be wrong and it may step.
    fn wall_ms(&self) -> u64;
    /// Since some moment. It never goes back.
    fn monotonic_ms(&self) -> u64;
}

/// Unpredictable bits.
pub trait Random {
    /// 64 of them.
    fn random_u64(&self) -> u64;
}

/// How much an event matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// As it should be.
    Info,
    /// A person should look.
    Warning,
    /// Something was lost or is about to be.
    Error,
}

/// What was decided. Never a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The open set of `wit/events.wit`.
    pub name: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// The profile's id.
    pub provider: String,
    /// An entry's id, or `login`.
    pub credential: Option<String>,
    /// One line for a person.
    pub message: String,
    /// More, by name.
    pub attributes: Vec<(&'static str, String)>,
}

/// Where events go.
pub trait Events {
    /// Takes one event; it cannot fail.
    fn emit(&self, event: Event);
}

/// All of them: what a [`Keeper`](crate::keeper::Keeper) runs on.
pub trait Ports: Storage + Http + Clock + Random + Events {}

impl<T: Storage + Http + Clock + Random + Events> Ports for T {}
