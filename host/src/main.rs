//! The `lazaret` command. Built for `wasm32-unknown-unknown` it is the component itself, so that
//! `cargo component build` at the root of the workspace makes that.

#[cfg(not(target_arch = "wasm32"))]
fn main() -> std::process::ExitCode {
    lazaret_host::cli::main()
}

#[cfg(target_arch = "wasm32")]
extern crate lazaret as _;

#[cfg(target_arch = "wasm32")]
fn main() {}
