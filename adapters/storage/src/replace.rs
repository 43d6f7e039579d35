//! A text replaces the one that its writer saw, or nothing: without a lock, and whoever stops at
//! any step stands in nobody's way.
//!
//! A writer prepares its text under a name of its own in one folder, **then removes every other
//! prepared text of that document, then reads the document, and then renames its own over it.** A
//! writer whose prepared text was removed can no longer rename it, however late it goes on. So of
//! two that saw the same text one fails: if B read before A renamed, then A's text was not yet
//! there when B looked, so B's was there when A looked, and A removed it before it renamed its own.

use crate::problem::Problem;
use crate::text::{Document, version_of};

/// What a writer does to the world, one step each.
#[lazaretto_macros::async_natively]
#[allow(async_fn_in_trait, reason = "no Send bound is wanted: there is one thread")]
pub trait Disk {
    /// Returns a name for a prepared text that nobody ever used or will use.
    fn fresh_name(&self) -> String;

    /// Makes a file in the folder of prepared texts, whole, and synced if `is_synced`. It must not
    /// exist.
    async fn prepare(&self, name: &str, text: &str, is_synced: bool) -> Result<(), Problem>;

    /// Returns the prepared texts of this document. What is there from before the call until after
    /// it is among them.
    async fn prepared(&self) -> Result<Vec<String>, Problem>;

    /// Removes a prepared text. It is well if it is gone already.
    async fn discard(&self, name: &str) -> Result<(), Problem>;

    /// Whether this writer may write: nobody else has the right to it alone.
    async fn permitted(&self) -> Result<(), Problem>;

    /// Returns the document as it is.
    async fn read(&self) -> Result<Option<Document>, Problem>;

    /// Renames a prepared text over the document.
    async fn put(&self, name: &str) -> Result<Put, Problem>;

    /// Makes the new name as durable as the text.
    async fn settle(&self) -> Result<(), Problem>;

    /// Waits a moment before the next attempt. False: the patience has ended.
    async fn pause(&self) -> bool;
}

/// What became of a rename.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// The document is the new text.
    Done,
    /// There was nothing to rename: somebody removed it.
    Gone,
}

/// One replacement.
#[derive(Clone, Copy)]
pub struct Change<'a> {
    /// The new text.
    pub text: &'a str,
    /// The version that the document must be at. None: it must not exist.
    pub expected: Option<&'a str>,
    /// Whether the text is synced before it counts.
    pub is_synced: bool,
    /// Whether it must survive the machine.
    pub is_durable: bool,
}

/// What became of a replacement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The document is the new text, at this version.
    Stored(String),
    /// It is another than was expected: nothing was written.
    Stale(Option<Document>),
    /// It cannot be said.
    Unknown,
}

/// Replaces the document. An error means that nothing was written.
///
/// # Errors
/// What the disk says; `unavailable` if others were faster for as long as the patience lasts.
#[lazaretto_macros::async_natively]
pub async fn replace(disk: &impl Disk, change: Change<'_>) -> Result<Outcome, Problem> {
    loop {
        // Who comes too late anyway disturbs nobody.
        let current = disk.read().await?;
        if !is_at(current.as_ref(), change.expected) {
            return Ok(Outcome::Stale(current));
        }
        let ours = disk.fresh_name();
        if let Err(problem) = disk.prepare(&ours, change.text, change.is_synced).await {
            return given_up(disk, &ours, problem).await;
        }
        match attempt(disk, &ours, change.expected).await {
            Ok(Attempt::Put) => break,
            Ok(Attempt::Stale(current)) => {
                // What cannot be removed is removed by the next writer.
                let _ = disk.discard(&ours).await;
                return Ok(Outcome::Stale(current));
            }
            Ok(Attempt::Removed) => {}
            Err(problem) => return given_up(disk, &ours, problem).await,
        }
        // A disk may say that there was nothing to rename when it was asked twice for the same.
        let current = disk.read().await?;
        if current.is_some_and(|current| current.version == version_of(change.text.as_bytes())) {
            return Ok(Outcome::Unknown);
        }
        if !disk.pause().await {
            let why = "other programs replace it without a pause; nothing was written. Try again";
            return Err(Problem::new("unavailable", why));
        }
    }
    if change.is_durable && disk.settle().await.is_err() {
        return Ok(Outcome::Unknown);
    }
    Ok(Outcome::Stored(version_of(change.text.as_bytes())))
}

enum Attempt {
    Put,
    Stale(Option<Document>),
    Removed,
}

#[lazaretto_macros::async_natively]
async fn attempt(disk: &impl Disk, ours: &str, expected: Option<&str>) -> Result<Attempt, Problem> {
    for other in disk.prepared().await? {
        if other != ours {
            disk.discard(&other).await?;
        }
    }
    disk.permitted().await?;
    let current = disk.read().await?;
    if !is_at(current.as_ref(), expected) {
        return Ok(Attempt::Stale(current));
    }
    Ok(match disk.put(ours).await? {
        Put::Done => Attempt::Put,
        Put::Gone => Attempt::Removed,
    })
}

/// Decides what a failed rename did: nothing was written if the prepared text still has its name,
/// or never had it.
#[lazaretto_macros::async_natively]
async fn given_up(disk: &impl Disk, ours: &str, problem: Problem) -> Result<Outcome, Problem> {
    let _ = disk.discard(ours).await;
    Err(problem)
}

fn is_at(current: Option<&Document>, expected: Option<&str>) -> bool {
    current.map(|current| current.version.as_str()) == expected
}
