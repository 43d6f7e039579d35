//! Authorization servers on loopback: what `lazaretto demo` and the tests of this workspace refresh
//! at.
//!
//! | question | module |
//! |---|---|
//! | how does a test get a server that rotates refresh tokens, counts requests and misbehaves | [`demo_server`] |
//! | is a secret left in the memory of another process | [`times_in_memory`] |
//!
//! Whether a storage keeps the contract is the crate `lazaretto-storage-contract`.

#![cfg(not(target_arch = "wasm32"))]
#![deny(missing_docs)]
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may panic"))]

pub mod demo_server;
#[cfg(target_os = "linux")]
mod memory;

#[cfg(target_os = "linux")]
pub use memory::times_in_memory;
