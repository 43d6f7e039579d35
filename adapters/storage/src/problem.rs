//! Why something was not done. Never a document's text.

/// What `storage-error` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// As in `wit/storage.wit`.
    pub code: &'static str,
    /// What, where, and what to do.
    pub message: String,
}

impl Problem {
    /// Returns a problem of a kind, in words.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}
