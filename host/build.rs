//! Builds the three components from the crate above this one and compiles them ahead of time for the target, so that the
//! `lazaret` binary starts without a compiler.

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

mod componentize;
#[path = "src/engine.rs"]
mod engine;

use componentize::{Crate, component};

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?)
        .parent()
        .ok_or("the host crate has no parent folder")?
        .to_owned();
    for input in ["src", "macros", "wit", "Cargo.toml", "Cargo.lock", ".cargo/config.toml", "rust-toolchain.toml"] {
        println!("cargo:rerun-if-changed={}", root.join(input).display());
    }
    println!("cargo:rerun-if-changed=src/engine.rs");
    println!("cargo:rerun-if-changed=componentize.rs");
    // For wasm32 this crate is empty: there is nothing to embed.
    if env::var("CARGO_CFG_TARGET_ARCH")? == "wasm32" {
        return Ok(());
    }
    let out = PathBuf::from(env::var("OUT_DIR")?);
    componentize::have_wasm_target(&env::var("RUSTC")?)?;
    let mut config = engine::config();
    // Named even when it is this machine, so that the code needs no more than the target's baseline.
    config.target(&env::var("TARGET")?)?;
    let compiler = wasmtime::Engine::new(&config)?;
    let cargo = env::var("CARGO")?;
    let build = |name, features| component(&Crate::core(features).build(&cargo, &root, &target_dir(&out, name))?);
    let keeper = build("lazaret", "keeper")?;
    fs::write(out.join("lazaret.wasm"), &keeper)?;
    fs::write(out.join("lazaret.cwasm"), compiler.precompile_component(&keeper)?)?;
    let admin = build("lazaret-admin", "admin")?;
    fs::write(out.join("lazaret-admin.wasm"), &admin)?;
    fs::write(out.join("lazaret-admin.cwasm"), compiler.precompile_component(&admin)?)?;
    // The classifier is handed on as it is; nothing here runs it by itself.
    fs::write(out.join("lazaret-classifier.wasm"), build("lazaret-classifier", "")?)?;
    Ok(())
}

/// Where cargo builds the component: shared by all profiles of the host, so that it is built once for debug and release.
fn target_dir(out: &Path, name: &str) -> PathBuf {
    let shared = out
        .ancestors()
        .find(|folder| folder.file_name().is_some_and(|name| name == "build"))
        .and_then(|folder| folder.ancestors().nth(2));
    shared.unwrap_or(out).join("component").join(name)
}
