//! One attempt over the host's HTTP, to the origins that the profiles name and to no other.
//!
//! | question | file |
//! |---|---|
//! | what may be sent to | `allow` and `origin`, which are the native host's own |
//! | what a header may be | [`message`], and `headers`, which is the native host's own |
//! | what came of a body, in whatever coding | `body`, which is the native host's own |
//! | what WASI is asked for | `wasi`: only in WebAssembly |
//!
//! | variable | what it does |
//! |---|---|
//! | `LAZARETTO_ALLOW_LOOPBACK_HTTP` | `1`: plain http may go to loopback, for servers on this machine |
//! | `LAZARETTO_ALLOWED_ORIGINS` | separated by commas: of the origins that the profiles name, only these |
//!
//! The list is made at the first request of an instance and never widened. What a host does beneath
//! `wasi:http` is its own: whether it takes a connection from a pool, or which address of a name it
//! dials. Where it does not say for certain that nothing was sent, the answer is `maybe`.

#![deny(unsafe_code)]
#![deny(missing_docs)]
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may panic"))]

#[cfg_attr(not(target_arch = "wasm32"), allow(dead_code, reason = "only what is sent asks for it"))]
#[path = "../../../host/src/http/allow.rs"]
mod allow;
#[cfg_attr(not(target_arch = "wasm32"), allow(dead_code, reason = "only what is sent asks for it"))]
#[path = "../../../host/src/http/body.rs"]
mod body;
#[cfg_attr(not(target_arch = "wasm32"), allow(dead_code, reason = "only what is sent asks for it"))]
#[path = "../../../host/src/http/headers.rs"]
mod headers;
pub mod message;
#[cfg_attr(not(target_arch = "wasm32"), allow(dead_code, reason = "only what is sent asks for it"))]
#[path = "../../../host/src/http/origin.rs"]
mod origin;
#[cfg(target_arch = "wasm32")]
mod wasi;

pub use allow::{AllowList, BadOrigin, Refusal};
pub use origin::Malformed;

/// Bodies and headers beyond this are cut.
pub const CAP_BYTES: usize = 64 << 10;

/// Returns a URL without what may be secret in it: no user, no query. For messages.
fn without_secrets(url: &str) -> String {
    let end = url.find(['?', '#']).unwrap_or(url.len());
    let shown = &url[..end];
    match (shown.find("://"), shown.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => format!("{}[redacted]{}", &shown[..scheme + 3], &shown[at..]),
        (None, Some(at)) => format!("[redacted]{}", &shown[at..]),
        _ => shown.to_owned(),
    }
}
