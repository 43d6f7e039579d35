//! The only files that know this is WebAssembly: what `storage` asks for, by way of
//! `wasi:filesystem`.

use lazaretto_wipe::Wiping;
use talc::wasm::{WasmDynamicTalc, new_wasm_dynamic_allocator};

use crate::lease::{self, FREE, LONGEST_MS, Line, State};
use crate::names::{self, Kind, Name};
use crate::problem::Problem;
use crate::replace::{Change, Outcome, replace};
use crate::text::Document;

use bindings::exports::lazaretto::keeper::storage as wit;
use clock::Patience;
use files::Files;

mod clock;
mod disk;
mod files;

// The standard library's own allocator is three times its size. What is freed is wiped.
#[global_allocator]
static HEAP: Wiping<WasmDynamicTalc> = Wiping(new_wasm_dynamic_allocator());

#[allow(unsafe_code, missing_docs, unreachable_pub, clippy::all, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({
        path: ["../../wit", "../wit"],
        world: "lazaretto:adapters/storage-adapter",
        generate_all,
    });

    export!(Component);
    /// The one type that exports.
    pub struct Component;
}

/// How long a store without a lease waits for others.
const STORE_WAIT_MS: u64 = 10_000;

impl wit::Guest for bindings::Component {
    fn load(name: String, known: Option<String>) -> Result<wit::LoadOutcome, wit::StorageError> {
        let found = match names::find(&name)? {
            Name::Never => None,
            Name::Place => Some(Document::new(files::place())),
            Name::Variable(variable) => files::variable(&variable).map(Document::new),
            Name::File(kind) => Files::open()?.read(kind)?,
        };
        Ok(match found {
            None => wit::LoadOutcome::Absent,
            Some(document) if known.as_deref() == Some(document.version.as_str()) => wit::LoadOutcome::Unchanged,
            Some(document) => wit::LoadOutcome::Loaded(document.into()),
        })
    }

    fn store(
        name: String,
        text: String,
        expected: Option<String>,
        durable: bool,
        lease: Option<String>,
    ) -> Result<wit::StoreOutcome, wit::StorageError> {
        let kind = written(&name)?;
        if text.len() as u64 > crate::text::MAX_BYTES {
            return Err(Problem::new("too-large", format!("{name} would be larger than 16 MiB")).into());
        }
        let files = Files::open()?;
        if kind.is_secret() {
            files.check_private()?;
        }
        files.take_over()?;
        if durable {
            files.sync_way_to(kind)?;
        }
        let patience = Patience::new(STORE_WAIT_MS);
        let nonce = lease.as_deref().map(|lease| held(&files, kind, lease)).transpose()?;
        if kind == Kind::Ledger && !settle_unsynced(&files, patience, nonce)? {
            return Ok(wit::StoreOutcome::Unknown);
        }
        let change = Change {
            text: &text,
            expected: expected.as_deref(),
            // The pool document may be lost, and is not read by who could not bear a torn one.
            is_synced: durable || kind != Kind::Pool,
            is_durable: durable,
        };
        let stored = loop {
            match replace(&files.document(kind, patience, nonce), change) {
                // Somebody has the right to it alone, for a while.
                Err(problem) if problem.code == disk::RESERVED && patience.pause() => {}
                stored => break stored?,
            }
        };
        Ok(match stored {
            Outcome::Stored(version) => wit::StoreOutcome::Stored(version),
            Outcome::Stale(current) => wit::StoreOutcome::Stale(current.map(Into::into)),
            Outcome::Unknown => wit::StoreOutcome::Unknown,
        })
    }

    fn acquire(scope: wit::Scope, ttl_ms: u64, wait_ms: u64) -> Result<wit::AcquireOutcome, wit::StorageError> {
        let (claim, reserves) = claim_of(&scope)?;
        let files = Files::open()?;
        if reserves.is_none_or(Kind::is_secret) {
            files.check_private()?;
        }
        files.take_over()?;
        let ttl_ms = ttl_ms.min(LONGEST_MS);
        let patience = Patience::new(wait_ms);
        let nonce = lease::nonce(fingerprint(&scope), &clock::nonce());
        let disk = files.lease(&claim, patience);
        loop {
            let current = files.read_lease(&claim)?;
            let now_ms = clock::wall_ms();
            let line = match lease::state(current.as_ref().map(|current| current.text.as_str()), now_ms) {
                State::Free => Line::new(nonce.clone(), now_ms, ttl_ms),
                State::Undated(line) => line,
                State::Held(line) if line.nonce == nonce => break,
                State::Held(line) => {
                    if patience.pause() {
                        continue;
                    }
                    return Ok(wit::AcquireOutcome::Busy(holder(Some(line.since_ms))));
                }
            };
            let change = Change {
                text: &line.text(),
                expected: current.as_ref().map(|current| current.version.as_str()),
                // After a power cut nobody holds a lease.
                is_synced: false,
                is_durable: false,
            };
            match replace(&disk, change) {
                Err(problem) if problem.code == "unavailable" => {
                    return Ok(wit::AcquireOutcome::Busy(holder(None)));
                }
                // Whatever came of it, the file says who holds it.
                outcome => drop(outcome?),
            }
        }
        if let Some(kind) = reserves {
            // Whoever looked at the lease before it was taken can no longer write.
            if let Err(problem) = files.document(kind, patience, None).discard_all() {
                give_back(&files, &claim, &nonce);
                return Err(problem.into());
            }
        }
        let lease = format!("{claim}:{nonce}");
        if reserves.is_none()
            && let Err(problem) = files.check_replaceable()
        {
            give_back(&files, &claim, &nonce);
            return Err(problem.into());
        }
        files.hold(&lease);
        Ok(wit::AcquireOutcome::Acquired(wit::LeaseGrant { lease, granted_ttl_ms: Some(ttl_ms) }))
    }

    fn release(lease: String) {
        let Some((claim, nonce)) = lease.split_once(':').filter(|(claim, _)| is_claim(claim)) else {
            return;
        };
        // What cannot be given back ends by itself.
        if let Ok(files) = Files::open() {
            give_back(&files, claim, nonce);
        }
        Files::let_go(&lease);
    }

    fn holder_of(scope: wit::Scope) -> Result<Option<wit::Holder>, wit::StorageError> {
        let (claim, _) = claim_of(&scope)?;
        let files = Files::open()?;
        files.no_flock()?;
        let current = files.read_lease(&claim)?;
        let state = lease::state(current.as_ref().map(|current| current.text.as_str()), clock::wall_ms());
        Ok(match state {
            State::Held(line) if line.may_be_for(fingerprint(&scope)) => Some(holder(Some(line.since_ms))),
            // Since when it is held the clock cannot say.
            State::Undated(line) if line.may_be_for(fingerprint(&scope)) => Some(holder(None)),
            _ => None,
        })
    }

    fn list(prefix: String) -> Result<Vec<String>, wit::StorageError> {
        let files = Files::open()?;
        let mut names = Vec::new();
        for kind in Kind::ALL.into_iter().filter(|kind| kind.name().starts_with(&prefix)) {
            if files.exists(kind)? {
                names.push(kind.name().to_owned());
            }
        }
        Ok(names)
    }

    fn describe() -> wit::Capabilities {
        let survives_machine = Files::open().is_ok_and(|files| files.can_sync_folders());
        wit::Capabilities {
            cas: "emulated".into(),
            // A file on another machine looks like any other from here.
            reads: "may-be-stale".into(),
            durability: if survives_machine { "machine-crash" } else { "process-crash" }.into(),
            excludes_foreign: false,
        }
    }
}

/// Returns a document that lazaretto writes.
fn written(name: &str) -> Result<Kind, Problem> {
    match names::find(name)? {
        Name::File(kind) if kind.is_ours() => Ok(kind),
        _ => Err(Problem::new("read-only", format!("{name} is the user's: lazaretto reads it and does not write it"))),
    }
}

/// Returns the lease of a scope, and the document that nobody else writes meanwhile.
fn claim_of(scope: &wit::Scope) -> Result<(String, Option<Kind>), Problem> {
    Ok(match scope {
        wit::Scope::Document(name) => {
            let kind = written(name)?;
            (format!("document-{}", kind.short()), Some(kind))
        }
        wit::Scope::Grant(grant) => (grant_lease(grant)?, None),
    })
}

fn fingerprint(scope: &wit::Scope) -> Option<&str> {
    match scope {
        wit::Scope::Document(_) => None,
        wit::Scope::Grant(grant) => Some(&grant.fingerprint),
    }
}

/// WASI tells nobody's process.
fn holder(since_ms: Option<u64>) -> wit::Holder {
    wit::Holder { name: "a lazaretto in a WASI host".into(), since_ms }
}

/// Returns one of 64 leases: a collision delays, it lets nobody in.
fn grant_lease(grant: &wit::GrantScope) -> Result<String, Problem> {
    if names::find(&grant.document)? != Name::File(Kind::Vault) {
        return Err(Problem::new("unsupported", format!("{} holds no grants, only the vault does", grant.document)));
    }
    let fingerprint = grant.fingerprint.as_bytes();
    let is_hex = |b: &u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    if fingerprint.len() != 32 || !fingerprint.iter().all(is_hex) {
        return Err(Problem::new("invalid-name", "a fingerprint is 32 lower-case hex digits"));
    }
    let byte = u8::from_str_radix(&grant.fingerprint[..2], 16).unwrap_or(0);
    Ok(format!("grant-{}", crate::text::hex(&[byte & 0x3f])))
}

/// Returns whether a lease's name begins as ours do: it becomes part of a path.
fn is_claim(claim: &str) -> bool {
    let is_plain = claim.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    is_plain && (claim.starts_with("grant-") || claim.starts_with("document-"))
}

/// Returns the nonce of a lease on `kind` that is still held.
fn held<'a>(files: &Files, kind: Kind, lease: &'a str) -> Result<&'a str, Problem> {
    let over = || Problem::new("invalid-lease", "the lease is not held, or is not of this document; take it anew");
    let (claim, nonce) = lease.split_once(':').ok_or_else(over)?;
    if claim != format!("document-{}", kind.short()) {
        return Err(over());
    }
    let current = files.read_lease(claim)?;
    match lease::state(current.as_ref().map(|current| current.text.as_str()), clock::wall_ms()) {
        State::Held(line) if line.nonce == nonce => Ok(nonce),
        _ => Err(over()),
    }
}

fn give_back(files: &Files, claim: &str, nonce: &str) {
    // Whoever waits may replace the line meanwhile only if it is over.
    let Ok(Some(current)) = files.read_lease(claim) else { return };
    if lease::is_of(&current.text, nonce) {
        let change = Change { text: FREE, expected: Some(&current.version), is_synced: false, is_durable: false };
        let _ = replace(&files.lease(claim, Patience::new(1_000)), change);
    }
}

/// Stores the text that a host with `flock` left unsynced beside the ledger, if it is the newest, and
/// removes it. Returns false if it cannot be said whether that was done.
fn settle_unsynced(files: &Files, patience: Patience, nonce: Option<&str>) -> Result<bool, Problem> {
    while files.has_unsynced()? {
        let (ledger, is_unsynced) = files.read_ledger()?;
        if let Some(ledger) = ledger.filter(|_| is_unsynced) {
            let change =
                Change { text: &ledger.text, expected: Some(&ledger.version), is_synced: true, is_durable: true };
            match replace(&files.document(Kind::Ledger, patience, nonce), change)? {
                Outcome::Stored(_) => {}
                Outcome::Stale(_) => continue,
                Outcome::Unknown => return Ok(false),
            }
        }
        files.remove_unsynced()?;
    }
    Ok(true)
}

impl From<Document> for wit::Document {
    fn from(document: Document) -> Self {
        Self { version: document.version, text: document.text }
    }
}

impl From<Problem> for wit::StorageError {
    fn from(problem: Problem) -> Self {
        let code = if problem.code == disk::RESERVED { "unavailable" } else { problem.code };
        Self { code: code.into(), message: problem.message }
    }
}
