//! The documents beside a vault that are ours.

pub(crate) mod document;
pub mod fingerprint;
pub mod ledger;
pub(crate) mod pause;
pub mod sealed;
pub(crate) mod settings;
