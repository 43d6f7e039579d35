//! Runs the lazaretto component in wasmtime, on real files and a real network.
//!
//! ```no_run
//! use lazaretto_host::{Keeper, TokenRequest};
//! use lazaretto_host::storage::{FileStorage, VAULT};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let keeper = Keeper::builder().storage(FileStorage::open("/home/me/.hermes/auth.json")).build()?;
//! let token = keeper.token(&TokenRequest::new(VAULT, "xai-oauth"))?;
//! println!("{} ({})", token.provider, token.origin);
//! # Ok(())
//! # }
//! ```
//!
//! | question | module |
//! |---|---|
//! | how do I get a token | [`Keeper`] |
//! | how do I add and remove one | [`Admin`] |
//! | where do documents live | [`storage`] |
//! | who may be spoken to | [`http`] |
//! | what may the component use up | [`Limits`] |
//! | what time is it for the component | [`Clock`] |

#![cfg(not(target_arch = "wasm32"))]
#![deny(missing_docs)]
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may panic"))]

pub mod http;
pub mod storage;

mod admin;
mod bindings;
mod clock;
mod component;
mod engine;
mod events;
mod keeper;
mod limits;
mod types;
mod world;

pub use admin::Admin;
pub use clock::{Clock, Random, SystemClock, SystemRandom};
pub use component::{ADMIN_WASM, CLASSIFIER_WASM, COMPONENT_WASM};
pub use events::{Event, EventSink, NoEvents};
pub use keeper::{Builder, Keeper, OpenError};
pub use limits::Limits;
pub use types::{
    AccessToken, Advice, Answer, ApiCall, CredentialStatus, Finding, Judgement, KeeperError, LastError, LoggedOut,
    LoginBegun, LoginFlow, LoginProgress, NewCredential, ProviderInfo, Selector, StatusReport, Step, TokenRequest,
};
pub use world::{LONG_WAIT, Wait};
