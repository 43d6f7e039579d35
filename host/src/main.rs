//! The `lazaret` command.

#[cfg(not(target_arch = "wasm32"))]
fn main() -> std::process::ExitCode {
    lazaret_host::cli::main()
}

// `cargo component build` at the root builds every default member. There is no command in a component.
#[cfg(target_arch = "wasm32")]
fn main() {}
