//! One line of the list of events.

use super::super::table::Look;

/// One line of the events. Its text is safe to show, but for `vault`.
#[derive(Clone)]
pub(super) struct Happening {
    pub(super) at_ms: u64,
    pub(super) vault: String,
    /// `provider (credential): `, or nothing.
    pub(super) of: String,
    pub(super) what: String,
    pub(super) look: Look,
}
