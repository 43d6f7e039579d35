//! The `lazaretto` command.

/// Of a token nothing stays on the heap that is not in use. A host that embeds the library chooses
/// its allocator itself.
#[cfg(not(target_arch = "wasm32"))]
#[global_allocator]
static HEAP: lazaretto_wipe::Wiping<std::alloc::System> = lazaretto_wipe::Wiping(std::alloc::System);

#[cfg(not(target_arch = "wasm32"))]
fn main() -> std::process::ExitCode {
    lazaretto_cli::main()
}

// `cargo component build` at the root builds every default member. There is no command in a
// component.
#[cfg(target_arch = "wasm32")]
fn main() {}
