//! The keeper's command line for hosts that run `wasi:cli/run` and know nothing of lazaret: `token`, `refresh`, `status`, `classify`, with
//! the exit codes of the native command.
//!
//! | question | file |
//! |---|---|
//! | what was asked for | [`args`] |
//! | what a line for `classify` may be | [`line`] |
//! | what is printed | [`show`] |
//! | what WASI is asked for | `wasi`: only in WebAssembly |

#![deny(unsafe_code)]
#![deny(missing_docs)]
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may panic"))]

pub mod args;
pub mod line;
pub mod show;
#[cfg(target_arch = "wasm32")]
mod wasi;
