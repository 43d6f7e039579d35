//! What lazaretto's own documents beside a vault have in common: a schema, fingerprints, and that
//! one which cannot be understood is an error.

use std::fmt;

use lazaretto_macros::async_natively;

use crate::error::{Code, KeeperError};
use crate::json;
use crate::layers::Layers;
use crate::ports::{Document, Loaded, StorageError};
use crate::state::fingerprint::Fingerprint;

/// The one that is written; a document of a later one is not read.
pub(crate) const SCHEMA: u64 = 1;

/// The text and version of a document; none if there is none.
pub(crate) fn loaded(name: &str, outcome: Result<Loaded, StorageError>) -> Result<Option<Document>, KeeperError> {
    match outcome.map_err(|error| KeeperError::storage(name, &error))? {
        Loaded::Found(document) => Ok(Some(document)),
        Loaded::Absent | Loaded::Unchanged => Ok(None),
    }
}

/// How often a document is changed against others who change it too.
const ATTEMPTS: u32 = 64;

/// Calls `attempt` until it returns an outcome. None says that somebody else changed the document
/// between its load and its store: then `attempt` loads it again. Returns none where that happens
/// every time.
#[async_natively]
pub(crate) async fn until_stored<T>(
    mut attempt: impl AsyncFnMut() -> Result<Option<T>, KeeperError>,
) -> Result<Option<T>, KeeperError> {
    for _ in 0..ATTEMPTS {
        if let Some(outcome) = attempt().await? {
            return Ok(Some(outcome));
        }
    }
    Ok(None)
}

/// Returns the error for a document that others change every time.
pub(crate) fn busy(document: &str) -> KeeperError {
    KeeperError::new(Code::Busy, format!("{document} is being written by others all the time"))
}

/// What `read` makes of the document called `name`; where that cannot be, `advice` ends the
/// sentence.
pub(crate) fn read<T>(
    text: &str,
    name: &str,
    advice: &str,
    read: impl FnOnce(&Layers<'_>) -> T,
) -> Result<T, KeeperError> {
    let root = json::check(text).map_err(|error| corrupt(name, &error, advice))?;
    let read = Layers::read(vec![root], |top| {
        let schema = top.number("schema");
        if schema > SCHEMA { Err(schema) } else { Ok(read(top)) }
    });
    read.map_err(|misread| corrupt(name, &misread, advice))?.map_err(|schema| {
        let what = format!(
            "{name} has schema {schema}, and this lazaretto knows {SCHEMA}: nothing is sent. Use the newer lazaretto that wrote it"
        );
        KeeperError::new(Code::NewerLedger, what)
    })
}

/// That the document called `name` cannot be understood.
#[cold]
pub(crate) fn corrupt(name: &str, what: &dyn fmt::Display, advice: &str) -> KeeperError {
    KeeperError::new(Code::CorruptLedger, format!("{name} cannot be read ({what}){advice}"))
}

/// A fingerprint that a member holds, or is a key of.
pub(crate) fn fingerprint(of: &Layers<'_>, name: &str, text: &str) -> Fingerprint {
    Fingerprint::parse(text).unwrap_or_else(|| {
        of.misread(name, "should be a fingerprint");
        Fingerprint::of("")
    })
}
