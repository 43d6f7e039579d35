//! What `cargo component build --target wasm32-unknown-unknown` at the root of the workspace makes:
//! the crate `lazaretto`, and nothing of its own.
//!
//! cargo-component builds the default members, and makes bindings of its own for any of them that
//! has a `wit` folder beside its manifest, without looking into `wit/deps`. So the crate with that
//! folder is no default member, and this one is.

#[cfg(target_arch = "wasm32")]
extern crate lazaretto as _;
