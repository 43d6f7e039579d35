//! Builds the three components from the crate above this one and compiles them ahead of time for the target, so that the
//! `lazaretto` binary starts without a compiler.

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
    for input in
        ["src", "macros", "wipe", "wit", "Cargo.toml", "Cargo.lock", ".cargo/config.toml", "rust-toolchain.toml"]
    {
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
    // The host names the origins itself, from the same profiles.
    for profiles in ["providers.json", "authorization.json"] {
        fs::copy(root.join("src/provider").join(profiles), out.join(profiles))?;
    }
    // Of a hostile guest, for the test of the limits.
    fs::write(out.join("growing.cwasm"), compiler.precompile_module(&GROWING)?)?;
    let keeper = build("lazaretto", "keeper")?;
    fs::write(out.join("lazaretto.wasm"), &keeper)?;
    fs::write(out.join("lazaretto.cwasm"), compiler.precompile_component(&keeper)?)?;
    let admin = build("lazaretto-admin", "admin")?;
    fs::write(out.join("lazaretto-admin.wasm"), &admin)?;
    fs::write(out.join("lazaretto-admin.cwasm"), compiler.precompile_component(&admin)?)?;
    // The classifier is handed on as it is; nothing here runs it by itself.
    fs::write(out.join("lazaretto-classifier.wasm"), build("lazaretto-classifier", "")?)?;
    Ok(())
}

/// Of a guest that grows what it is told to, by as much as it is told:
/// `(module (table 1 funcref) (memory 1)
///   (func (export "grow_table") (param i32) (result i32) (table.grow (ref.null func) (local.get 0)))
///   (func (export "grow_memory") (param i32) (result i32) (memory.grow (local.get 0))))`.
#[rustfmt::skip]
const GROWING: [u8; 82] = [
    0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00, 0x01, 0x06, 0x01, 0x60, 0x01, 0x7f, 0x01, 0x7f,
    0x03, 0x03, 0x02, 0x00, 0x00, 0x04, 0x04, 0x01, 0x70, 0x00, 0x01, 0x05, 0x03, 0x01, 0x00, 0x01,
    0x07, 0x1c, 0x02, 0x0a, 0x67, 0x72, 0x6f, 0x77, 0x5f, 0x74, 0x61, 0x62, 0x6c, 0x65, 0x00, 0x00,
    0x0b, 0x67, 0x72, 0x6f, 0x77, 0x5f, 0x6d, 0x65, 0x6d, 0x6f, 0x72, 0x79, 0x00, 0x01, 0x0a, 0x12,
    0x02, 0x09, 0x00, 0xd0, 0x70, 0x20, 0x00, 0xfc, 0x0f, 0x00, 0x0b, 0x06, 0x00, 0x20, 0x00, 0x40,
    0x00, 0x0b,
];

/// Where cargo builds the component: shared by all profiles of the host, so that it is built once for debug and release.
fn target_dir(out: &Path, name: &str) -> PathBuf {
    let shared = out
        .ancestors()
        .find(|folder| folder.file_name().is_some_and(|name| name == "build"))
        .and_then(|folder| folder.ancestors().nth(2));
    shared.unwrap_or(out).join("component").join(name)
}
