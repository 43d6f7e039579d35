//! The only files that know this is WebAssembly: exports to logic, imports to ports.
//!
//! Every import answers before it returns, so the logic is synchronous here: `lazaretto_macros::async_natively` takes its async out.

use lazaretto_wipe::Wiping;
use talc::wasm::{WasmDynamicTalc, new_wasm_dynamic_allocator};

#[cfg(feature = "admin")]
mod admin;
#[cfg(not(feature = "admin"))]
mod classifier;
#[cfg(all(feature = "keeper", not(feature = "admin")))]
mod keeper;
#[cfg(feature = "keeper")]
mod types;
#[cfg(feature = "keeper")]
mod world;

// The standard library's own allocator is three times its size. What is freed is wiped.
#[global_allocator]
static HEAP: Wiping<WasmDynamicTalc> = Wiping(new_wasm_dynamic_allocator());

#[allow(unsafe_code, missing_docs, unreachable_pub, clippy::all, reason = "generated")]
mod bindings {
    #[cfg(feature = "admin")]
    wit_bindgen::generate!({ path: "wit", world: "admin-world", generate_all });
    #[cfg(all(feature = "keeper", not(feature = "admin")))]
    wit_bindgen::generate!({ path: "wit", world: "keeper-world", generate_all });
    #[cfg(not(feature = "keeper"))]
    wit_bindgen::generate!({ path: "wit", world: "classifier-world" });

    export!(Component);
    /// All interfaces of a world are exported by one type.
    pub struct Component;
}
