//! Builds the three components from the crate above this one and compiles them ahead of time for the target, so that the
//! `lazaret` binary starts without a compiler.

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[path = "src/engine.rs"]
mod engine;

const WASM_TARGET: &str = "wasm32-unknown-unknown";

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?)
        .parent()
        .ok_or("the host crate has no parent folder")?
        .to_owned();
    for input in ["src", "macros", "wit", "Cargo.toml", "Cargo.lock", ".cargo/config.toml", "rust-toolchain.toml"] {
        println!("cargo:rerun-if-changed={}", root.join(input).display());
    }
    println!("cargo:rerun-if-changed=src/engine.rs");
    // For wasm32 this crate is empty: there is nothing to embed.
    if env::var("CARGO_CFG_TARGET_ARCH")? == "wasm32" {
        return Ok(());
    }
    let out = PathBuf::from(env::var("OUT_DIR")?);
    have_wasm_target()?;
    let mut config = engine::config();
    // Named even when it is this machine, so that the code needs no more than the target's baseline.
    config.target(&env::var("TARGET")?)?;
    let compiler = wasmtime::Engine::new(&config)?;
    let keeper = component(&build(&root, &out, "lazaret", "keeper")?)?;
    fs::write(out.join("lazaret.wasm"), &keeper)?;
    fs::write(out.join("lazaret.cwasm"), compiler.precompile_component(&keeper)?)?;
    let admin = component(&build(&root, &out, "lazaret-admin", "admin")?)?;
    fs::write(out.join("lazaret-admin.wasm"), &admin)?;
    fs::write(out.join("lazaret-admin.cwasm"), compiler.precompile_component(&admin)?)?;
    // The classifier is handed on as it is; nothing here runs it by itself.
    fs::write(out.join("lazaret-classifier.wasm"), component(&build(&root, &out, "lazaret-classifier", "")?)?)?;
    Ok(())
}

/// The core module, by a cargo of its own: it has another target and its own profile.
fn build(root: &Path, out: &Path, name: &str, features: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    // Shared by all profiles of the host, so that the component is built once for debug and release.
    let shared = out
        .ancestors()
        .find(|folder| folder.file_name().is_some_and(|name| name == "build"))
        .and_then(|folder| folder.ancestors().nth(2));
    let target_dir = shared.unwrap_or(out).join("component").join(name);
    let status = Command::new(env::var("CARGO")?)
        .current_dir(root)
        // A cdylib alone: beside an rlib it would not be optimised as a whole.
        .args([
            "rustc",
            "--package=lazaret",
            "--lib",
            "--crate-type=cdylib",
            "--profile=component",
            "--no-default-features",
        ])
        .args(["--target", WASM_TARGET, "--features", features, "--target-dir"])
        .arg(&target_dir)
        // What the outer cargo set is about the host, and would hide .cargo/config.toml.
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("RUSTFLAGS")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env_remove("CARGO_BUILD_TARGET")
        .status()?;
    if !status.success() {
        return Err(format!("the component could not be built ({status})").into());
    }
    Ok(fs::read(target_dir.join(WASM_TARGET).join("component/lazaret.wasm"))?)
}

fn component(module: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut encoder = wit_component::ComponentEncoder::default();
    Ok(without_names(&encoder.validate(true).module(module)?.encode()?))
}

/// The component without the names that the encoder gave to its parts: nothing reads them. They are a custom section
/// (id 0) at its top.
fn without_names(component: &[u8]) -> Vec<u8> {
    const HEADER: usize = 8;
    let (mut kept, mut rest) = component.split_at(HEADER.min(component.len()));
    let mut component = kept.to_vec();
    while !rest.is_empty() {
        // A section is its id, its size in LEB128, and its content.
        let digits = rest[1..].iter().position(|byte| byte & 0x80 == 0).map_or(0, |at| at + 1);
        let size = rest[1..=digits].iter().rev().fold(0, |size, byte| size << 7 | usize::from(byte & 0x7f));
        (kept, rest) = rest.split_at(1 + digits + size);
        if !(kept[0] == 0 && kept[1 + digits..].starts_with(b"\x0ecomponent-name")) {
            component.extend_from_slice(kept);
        }
    }
    component
}

/// rustup installs the target from rust-toolchain.toml, unless it is told not to install anything by itself.
fn have_wasm_target() -> Result<(), Box<dyn Error>> {
    let rustc = env::var("RUSTC")?;
    let output = Command::new(&rustc).args(["--print", "target-libdir", "--target", WASM_TARGET]).output()?;
    if Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_dir() {
        return Ok(());
    }
    let added = Command::new("rustup").args(["target", "add", WASM_TARGET]).status();
    if added.is_ok_and(|status| status.success()) {
        return Ok(());
    }
    Err(format!(
        "the component needs the target {WASM_TARGET}, which is not installed: rustup target add {WASM_TARGET}"
    )
    .into())
}
