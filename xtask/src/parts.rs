//! The components that everything else is made of, each built from its crate.

use std::env;
use std::path::PathBuf;

use crate::componentize::{Crate, component, have_wasm_target};
use crate::{Result, root};

/// What cargo makes of the crates.
pub(crate) struct Parts {
    pub(crate) keeper: Vec<u8>,
    pub(crate) storage: Vec<u8>,
    pub(crate) http: Vec<u8>,
    pub(crate) closed: Vec<u8>,
    pub(crate) events: Vec<u8>,
    pub(crate) front: Vec<u8>,
    /// The front that ends with the native command's exit codes.
    pub(crate) front_exit_codes: Vec<u8>,
}

impl Parts {
    pub(crate) fn build() -> Result<Self> {
        have_wasm_target("rustc")?;
        Ok(Self {
            keeper: core("lazaretto", "keeper")?,
            storage: adapter("lazaretto-storage-adapter")?,
            http: adapter("lazaretto-http-adapter")?,
            closed: adapter("lazaretto-closed-adapter")?,
            events: adapter("lazaretto-events-adapter")?,
            front: adapter("lazaretto-cli-front")?,
            front_exit_codes: build(&Crate::with("lazaretto-cli-front", "exit-codes"), "adapters-exit-codes")?,
        })
    }
}

/// One of the components of the crate `lazaretto`. In the folders where `host/build.rs` builds them
/// too, so that each is built once.
pub(crate) fn core(name: &str, features: &'static str) -> Result<Vec<u8>> {
    build(&Crate::core(features), name)
}

fn adapter(package: &'static str) -> Result<Vec<u8>> {
    build(&Crate::plain(package), "adapters")
}

fn build(part: &Crate, folder: &str) -> Result<Vec<u8>> {
    let cargo = env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    component(&part.build(&cargo, &root(), &target().join("component").join(folder))?)
}

/// Cargo's target directory.
pub(crate) fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |target| root().join(target))
}
