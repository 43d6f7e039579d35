//! The documents beside a vault that are ours.

pub(crate) mod document;
pub mod fingerprint;
pub mod ledger;
pub mod sealed;
pub(crate) mod settings;
