//! The command and the C library for this machine. In a target directory of their own: their flags
//! are not those of `cargo build`, and cargo would build everything again each time they change.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::componentize::remapping;
use crate::{Result, dist, parts, root};

/// Builds them into a folder that is called as the target is.
pub(crate) fn build(dist: &Path) -> Result<()> {
    let target = triple()?;
    let built = parts::target().join("native");
    dist::tool(
        Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".into()))
            .current_dir(root())
            .args(["build", "--release", "--package", "lazaretto-cli", "--package", "lazaretto-ffi", "--bins", "--lib"])
            .arg("--target-dir")
            .arg(&built)
            .arg("--config")
            .arg(format!("target.{target}.rustflags={:?}", remapping(&root())?)),
    )?;
    let published = dist.join(target);
    fs::create_dir(&published)?;
    for file in ["lazaretto", "liblazaretto_ffi.so", "liblazaretto_ffi.dylib"] {
        let from = built.join("release").join(file);
        if from.exists() {
            fs::copy(from, published.join(file))?;
        }
    }
    Ok(())
}

/// What the compiler calls this machine.
fn triple() -> Result<String> {
    let output = Command::new("rustc").args(["--print", "host-tuple"]).output()?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
