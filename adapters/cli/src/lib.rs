//! The keeper's command line for hosts that run `wasi:cli/run` and know nothing of lazaretto:
//! `token`, `refresh`, `status`, `reset`, `unquarantine`, `classify`.
//!
//! A failure's line on standard error begins with what helps (`login: ...`). With the feature
//! `exit-codes` it is also the exit code, as of the native command; without it the host ends with
//! its one code for failures, and the component needs nothing newer than WASI 0.2.0.
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
