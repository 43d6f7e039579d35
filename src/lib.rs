//! Refreshes, classifies and quarantines OAuth credentials: it keeps live refresh tokens alive and
//! never sends a dead one again. All logic, no I/O, no clock, no thread: what it can reach is
//! [`ports`].
//!
//! Built for `wasm32-unknown-unknown` this crate is the component `lazaretto.wasm`, or with the
//! feature `admin` the component `lazaretto-admin.wasm`; built natively it is the same logic as a
//! library, for tests and simulation.
//!
//! | question | module |
//! |---|---|
//! | what can a caller ask for | [`keeper`]: the exports, and nothing else |
//! | what does every call stand on | `session`, `profiles`: the ports, and what was read through them |
//! | what does a name stand for | `lookup`, `did_you_mean` |
//! | when is a refresh token sent, and what follows | `protocol`: a file for each step |
//! | what does a server's answer mean | [`classify`] |
//! | where in a vault does what lie, and how is it edited | [`vault`], [`json`] |
//! | what do we remember of a token | [`state`]: the documents beside a vault |
//! | which of several credentials is used | [`pool`] |
//! | how is a credential doing, and what helps | [`status`], [`next_step`] |
//! | which providers are there | [`provider`] |
//! | what does a person do to a vault | [`admin`]: login, logout, add, remove, import, doctor |
//! | which texts may leave as tokens | `sendable` |
//! | what must a host supply | [`ports`], and `wit/` |

// The generated bindings of the component hold the only unsafe code, behind their own allowance.
#![deny(unsafe_code)]
#![deny(missing_docs)]
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may panic"))]

pub mod classify;
pub mod json;
mod layers;
pub mod provider;
pub mod secret;
mod sendable;
pub mod time;
mod visible;

#[cfg(feature = "admin")]
pub mod admin;
#[cfg(feature = "keeper")]
mod did_you_mean;
#[cfg(feature = "keeper")]
pub mod encoding;
#[cfg(feature = "keeper")]
pub mod error;
#[cfg(feature = "keeper")]
mod jwt;
#[cfg(feature = "keeper")]
pub mod keeper;
#[cfg(feature = "keeper")]
mod lookup;
#[cfg(feature = "keeper")]
pub mod next_step;
#[cfg(feature = "keeper")]
pub mod pool;
#[cfg(feature = "keeper")]
pub mod ports;
#[cfg(feature = "keeper")]
mod profiles;
#[cfg(feature = "keeper")]
mod protocol;
#[cfg(feature = "keeper")]
mod session;
#[cfg(feature = "keeper")]
pub mod state;
#[cfg(feature = "keeper")]
pub mod status;
#[cfg(feature = "keeper")]
mod token;
#[cfg(feature = "keeper")]
pub mod vault;

#[cfg(target_arch = "wasm32")]
mod component;
