//! Refreshes, classifies and quarantines OAuth credentials: it keeps live refresh tokens alive and never sends a dead
//! one again. All logic, no I/O, no clock, no thread: what it can reach is [`ports`].
//!
//! Built for `wasm32-unknown-unknown` this crate is the component `lazaretto.wasm`, or with the feature `admin` the component
//! `lazaretto-admin.wasm`; built natively it is the same logic as a
//! library, for tests and simulation.
//!
//! | question | file |
//! |---|---|
//! | what can a caller ask for | [`keeper`] |
//! | when is a refresh token sent | `refresh`: the protocol's ten steps; `look` is the first, `lease` the second and sixth, `sending` the seventh |
//! | how does a login leave another tool's file | `importing`, `moving` |
//! | whose file a token may be sent from | `owner` |
//! | what becomes of the answer | `landing` (new tokens), `pausing` (not now), `quarantine` (never again) |
//! | what does a server's answer mean | [`classify`] |
//! | which texts may leave as tokens | `sendable` |
//! | what does a person do to a vault | [`adding`], `removing`, [`login`]: only in the component `lazaretto-admin.wasm` |
//! | where are tokens that are out of use | [`sealed`] |
//! | what is known of a token | [`ledger`], [`fingerprint`], `document` |
//! | which of several credentials is used, and which rests | [`pool`], `settings` |
//! | how is a credential doing | [`status`] |
//! | what is wrong around a vault | [`doctor`] |
//! | how is a provider spoken to, and which are there | [`provider`], `request`, `client_secret` |
//! | which name was meant by a mistyped one | `near`, `unknown` |
//! | where in a vault does what lie | [`vault`] |
//! | what must a host supply | [`ports`], and `wit/` |

// The generated bindings of the component hold the only unsafe code, behind their own allowance.
#![deny(unsafe_code)]
#![deny(missing_docs)]
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may panic"))]

pub mod classify;
pub mod json;
mod layers;
mod packed;
pub mod provider;
pub mod secret;
pub mod table;
mod text;

#[cfg(feature = "admin")]
pub mod adding;
#[cfg(feature = "keeper")]
mod client_secret;
#[cfg(feature = "admin")]
pub mod doctor;
#[cfg(feature = "keeper")]
mod document;
#[cfg(feature = "keeper")]
pub mod error;
#[cfg(feature = "keeper")]
pub mod fingerprint;
#[cfg(feature = "admin")]
mod importing;
#[cfg(feature = "keeper")]
mod jwt;
#[cfg(feature = "keeper")]
pub mod keeper;
#[cfg(feature = "keeper")]
mod landing;
#[cfg(feature = "keeper")]
mod lease;
#[cfg(feature = "keeper")]
pub mod ledger;
#[cfg(feature = "admin")]
pub mod login;
#[cfg(feature = "keeper")]
mod look;
#[cfg(feature = "admin")]
mod moving;
#[cfg(feature = "keeper")]
mod near;
#[cfg(feature = "keeper")]
pub mod next_step;
#[cfg(feature = "keeper")]
mod owner;
#[cfg(feature = "keeper")]
mod pausing;
#[cfg(feature = "keeper")]
pub mod pool;
#[cfg(feature = "keeper")]
pub mod ports;
#[cfg(feature = "keeper")]
mod quarantine;
#[cfg(feature = "keeper")]
mod refresh;
#[cfg(feature = "admin")]
mod removing;
#[cfg(feature = "keeper")]
mod request;
#[cfg(feature = "keeper")]
pub mod sealed;
mod sendable;
#[cfg(feature = "keeper")]
mod sending;
#[cfg(feature = "keeper")]
mod settings;
#[cfg(feature = "keeper")]
pub mod status;
pub mod time;
#[cfg(feature = "keeper")]
mod unknown;
#[cfg(feature = "keeper")]
pub mod vault;

#[cfg(target_arch = "wasm32")]
mod component;
