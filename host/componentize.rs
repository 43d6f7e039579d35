//! A crate of this workspace becomes a component: by a cargo of its own for WebAssembly, and `wit-component`. `host/build.rs` and
//! `cargo xtask` do it alike.

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const WASM_TARGET: &str = "wasm32-unknown-unknown";

/// A crate, and with what it is built.
pub(crate) struct Crate {
    package: &'static str,
    features: &'static str,
}

impl Crate {
    /// One of the components of the crate `lazaretto`.
    pub(crate) fn core(features: &'static str) -> Self {
        Self { package: "lazaretto", features }
    }

    /// A crate without features.
    #[allow(dead_code, reason = "only `cargo xtask` builds others than the core")]
    pub(crate) fn plain(package: &'static str) -> Self {
        Self { package, features: "" }
    }

    /// A crate with features.
    #[allow(dead_code, reason = "only `cargo xtask` builds others than the core")]
    pub(crate) fn with(package: &'static str, features: &'static str) -> Self {
        Self { package, features }
    }

    /// The core module, by a cargo of its own: it has another target and its own profile.
    pub(crate) fn build(&self, cargo: &str, root: &Path, target_dir: &Path) -> Result<Vec<u8>, Box<dyn Error>> {
        let status = Command::new(cargo)
            .current_dir(root)
            // A cdylib alone: beside an rlib it would not be optimised as a whole.
            .args(["rustc", "--package", self.package, "--lib", "--crate-type=cdylib", "--profile=component"])
            .args(["--no-default-features", "--target", WASM_TARGET, "--features", self.features, "--target-dir"])
            .arg(target_dir)
            // Beside those of .cargo/config.toml.
            .arg("--config")
            .arg(format!("target.{WASM_TARGET}.rustflags={:?}", remapping(root)?))
            // What the outer cargo set is about the host, and would hide .cargo/config.toml.
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .env_remove("RUSTFLAGS")
            .env_remove("RUSTC_WORKSPACE_WRAPPER")
            .env_remove("CARGO_BUILD_TARGET")
            .status()?;
        if !status.success() {
            return Err(format!("the component {} could not be built ({status})", self.package).into());
        }
        let file = format!("{}.wasm", self.package.replace('-', "_"));
        Ok(fs::read(target_dir.join(WASM_TARGET).join("component").join(file))?)
    }
}

/// The folders of whoever builds, and what they are called in what is built. A panic names the file it is in: with its full path that
/// would tell the builder's name, and make two people's builds differ.
pub(crate) fn builders_folders(root: &Path) -> Result<Vec<(PathBuf, &'static str)>, Box<dyn Error>> {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).current_dir(root).args(["--print", "sysroot"]).output()?;
    let sysroot = PathBuf::from(String::from_utf8(output.stdout)?.trim());
    let mut folders = vec![(root.to_owned(), "lazaretto"), (sysroot.join("lib/rustlib/src/rust"), "rust")];
    let cargo = env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(env::home_dir()?.join(".cargo")));
    folders.extend(cargo.map(|cargo| (cargo, "cargo")));
    Ok(folders)
}

/// The compiler's flags for [`builders_folders`].
pub(crate) fn remapping(root: &Path) -> Result<Vec<String>, Box<dyn Error>> {
    let flag = |(from, to): &(PathBuf, &str)| format!("--remap-path-prefix={}={to}", from.display());
    Ok(builders_folders(root)?.iter().map(flag).collect())
}

pub(crate) fn component(module: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
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
pub(crate) fn have_wasm_target(rustc: &str) -> Result<(), Box<dyn Error>> {
    let output = Command::new(rustc).args(["--print", "target-libdir", "--target", WASM_TARGET]).output()?;
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
