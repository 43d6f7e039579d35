//! The only files that know this is WebAssembly: exports to logic, imports to ports.
//!
//! Every import answers before it returns, so the logic is synchronous here: `lazaret_macros::synchronous` takes its async out.

mod classifier;
#[cfg(feature = "keeper")]
mod keeper;

#[allow(unsafe_code, missing_docs, unreachable_pub, clippy::all, reason = "generated")]
mod bindings {
    #[cfg(feature = "keeper")]
    wit_bindgen::generate!({ path: "wit", world: "keeper-world", generate_all });
    #[cfg(not(feature = "keeper"))]
    wit_bindgen::generate!({ path: "wit", world: "classifier-world" });

    export!(Component);
    /// Both interfaces are exported by one type.
    pub struct Component;
}
