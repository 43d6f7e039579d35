//! The component, as build.rs made it.

/// `lazaretto.wasm`: the whole keeper, for any host.
pub static COMPONENT_WASM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/lazaretto.wasm"));

/// The classifier alone, which imports nothing.
pub static CLASSIFIER_WASM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/lazaretto-classifier.wasm"));

/// The keeper, compiled ahead of time for this machine's architecture.
pub(crate) static COMPONENT_CWASM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/lazaretto.cwasm"));

/// `lazaretto-admin.wasm`: what only a person does to a vault, for any host.
pub static ADMIN_WASM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/lazaretto-admin.wasm"));

/// The same, compiled ahead of time for this machine's architecture.
pub(crate) static ADMIN_CWASM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/lazaretto-admin.cwasm"));
