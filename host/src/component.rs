//! The component, as build.rs made it.

/// `lazaret.wasm`: the whole keeper, for any host.
pub static COMPONENT_WASM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/lazaret.wasm"));

/// The classifier alone, which imports nothing.
pub static CLASSIFIER_WASM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/lazaret-classifier.wasm"));

/// The keeper, compiled ahead of time for this machine's architecture.
pub(crate) static COMPONENT_CWASM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/lazaret.cwasm"));
