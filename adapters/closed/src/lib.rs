//! An HTTP that sends nothing: for the keeper that the HTTP adapter asks for its origins, and for
//! nothing else.

#![deny(unsafe_code)]

#[cfg(target_arch = "wasm32")]
mod wasi {
    use talc::wasm::{WasmDynamicTalc, new_wasm_dynamic_allocator};

    use bindings::exports::lazaretto::keeper::http as wit;

    #[global_allocator]
    static HEAP: WasmDynamicTalc = new_wasm_dynamic_allocator();

    #[allow(unsafe_code, missing_docs, unreachable_pub, clippy::all, reason = "generated")]
    mod bindings {
        wit_bindgen::generate!({
            path: ["../../wit", "../wit"],
            world: "lazaretto:adapters/closed-adapter",
            generate_all,
        });

        export!(Component);
        /// The one type that exports.
        pub struct Component;
    }

    impl wit::Guest for bindings::Component {
        fn send(_: wit::Request) -> Result<wit::Response, wit::Failure> {
            let message = "this keeper is only asked for its origins: it sends nothing".into();
            Err(wit::Failure { kind: "not-allowed".into(), sent: wit::Sent::No, message })
        }
    }
}
