//! How wasmtime is configured. build.rs reads this file too: code compiled ahead of time runs only
//! in an engine that is configured as its compiler was.

use wasmtime::Config;

/// The configuration of compiler and runtime.
pub(crate) fn config() -> Config {
    let mut config = Config::new();
    config.wasm_component_model(true);
    // An endless loop in the guest is interrupted at the next tick after its time is over.
    config.epoch_interruption(true);
    config
}
