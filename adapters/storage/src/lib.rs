//! The keeper's documents in files, for hosts that have no lock: a text replaces another only if no
//! other writer can have replaced it meanwhile, and whoever is killed, at any moment, stands in
//! nobody's way.
//!
//! The rules, and why they hold, are in `docs/file-store.md`, "A host without flock (WASI)".
//!
//! | question | file |
//! |---|---|
//! | which file a document is | [`names`] |
//! | how a text replaces another | [`replace`] |
//! | who may refresh | [`lease`] |
//! | what a version is | [`text`] |
//! | what WASI is asked for | `wasi`: only in WebAssembly |

#![deny(unsafe_code)]
#![deny(missing_docs)]
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may panic"))]

pub mod lease;
#[cfg(test)]
mod model;
pub mod names;
pub mod problem;
pub mod replace;
pub mod text;
#[cfg(target_arch = "wasm32")]
mod wasi;
