//! `cargo xtask dist`: everything that is published, with checksums, in `dist/`. Nothing is
//! uploaded.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};
use wit_parser::Resolve;

use crate::stock::{self, Stock};
use crate::{Result, builder, metadata, native, parts, root};

const SUMS: &str = "SHA256SUMS";

pub(crate) fn run(with_native: bool) -> Result<()> {
    let dist = root().join("dist");
    if dist.exists() {
        fs::remove_dir_all(&dist)?;
    }
    fs::create_dir(&dist)?;
    components(&dist)?;
    wit(&dist)?;
    node(&dist)?;
    python(&dist)?;
    header(&dist)?;
    if with_native {
        native::build(&dist)?;
    }
    builder::is_named_nowhere(&dist)?;
    sums(&dist)
}

fn components(dist: &Path) -> Result<()> {
    let say = |name: &str, component: &[u8], description| {
        let said = metadata::said(component, name, description)?;
        Ok::<_, Box<dyn std::error::Error>>(fs::write(dist.join(format!("{name}.wasm")), said)?)
    };
    for (name, features, description) in [
        ("lazaretto", "keeper", "Keeps OAuth credentials alive, and stops dead ones from being used again"),
        (
            "lazaretto-admin",
            "admin",
            "What a person does to a vault of OAuth credentials: log in, add, remove, import, doctor",
        ),
        ("lazaretto-classifier", "", "What a token endpoint's answer means. Imports nothing"),
    ] {
        say(name, &parts::core(name, features)?, description)?;
    }
    for Stock { name, component } in stock::build()? {
        let description = match name {
            "lazaretto-stock" => "lazaretto on any WASI 0.2 host with a folder and HTTP",
            "lazaretto-cli" => "lazaretto's command line on any WASI 0.2 host: token, refresh, status, classify",
            "lazaretto-cli-exit-codes" => {
                "lazaretto's command line with its exit codes, for hosts with wasi:cli/exit 0.2.12"
            }
            // A part of the others, for tests.
            _ => continue,
        };
        say(name, &component, description)?;
    }
    Ok(())
}

/// The package as a binary, and its texts with those it names.
fn wit(dist: &Path) -> Result<()> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(root().join("wit"))?;
    let encoded = wit_component::encode(&resolve, package, false)?;
    let said = metadata::said(
        &encoded,
        "lazaretto:keeper",
        "The contract of lazaretto: storage, http and events in, tokens out",
    )?;
    fs::write(dist.join("lazaretto-wit.wasm"), said)?;
    copy(&root().join("wit"), &dist.join("wit"), &|path| path.extension() == Some(OsStr::new("wit")))?;
    Ok(())
}

/// The npm package, and its types by themselves.
fn node(dist: &Path) -> Result<()> {
    let package = root().join("bindings/node");
    if !package.join("package.json").exists() {
        return skipped("bindings/node: no npm package, no .d.ts");
    }
    if !package.join("node_modules").exists() {
        tool(Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(&package))?;
    }
    let core = dist.join("lazaretto.wasm");
    tool(Command::new("npm").args(["run", "build"]).env("LAZARETTO_WASM", core).current_dir(&package))?;
    tool(Command::new("npm").args(["pack", "--pack-destination"]).arg(dist).current_dir(&package))?;
    let is_type = |path: &Path| path.to_string_lossy().ends_with(".d.ts");
    for folder in ["dist", "generated"] {
        copy(&package.join(folder), &dist.join("types").join(folder), &is_type)?;
    }
    Ok(())
}

/// The wheel, by the tools that the package's own lock file names.
fn python(dist: &Path) -> Result<()> {
    let package = root().join("bindings/python");
    if !package.join("pyproject.toml").exists() {
        return skipped("bindings/python: no wheel");
    }
    let tools = parts::target().join("dist-python");
    let python = tools.join("bin/python");
    if !python.exists() {
        tool(Command::new("python3").args(["-m", "venv"]).arg(&tools))?;
    }
    tool(
        Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "--require-hashes", "-r"])
            .arg(package.join("requirements.txt")),
    )?;
    tool(
        Command::new(&python)
            .args(["-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir"])
            .arg(dist)
            .arg(&package)
            .env("LAZARETTO_WASM", dist.join("lazaretto.wasm")),
    )
}

fn header(dist: &Path) -> Result<()> {
    let header = root().join("ffi/include/lazaretto.h");
    if !header.exists() {
        return skipped("ffi/include/lazaretto.h: no C header");
    }
    fs::copy(header, dist.join("lazaretto.h"))?;
    Ok(())
}

/// One line a file, as `sha256sum --check` reads it.
fn sums(dist: &Path) -> Result<()> {
    let mut files = Vec::new();
    list(dist, &mut files)?;
    files.sort();
    let mut sums = String::new();
    for file in &files {
        let bytes = fs::read(file)?;
        let name = file.strip_prefix(dist)?.display();
        let digest: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        sums += &format!("{digest}  {name}\n");
        println!("{:>9} bytes  {name}", bytes.len());
    }
    fs::write(dist.join(SUMS), sums)?;
    println!("{} files and {SUMS} in {}; nothing was uploaded", files.len(), dist.display());
    Ok(())
}

fn skipped(what: &str) -> Result<()> {
    println!("skipped, as it is not there: {what}");
    Ok(())
}

pub(crate) fn tool(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command.status().map_err(|error| format!("{name} is needed and cannot be started: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{command:?} failed: {status}").into()) }
}

/// Copies the files that are wanted, with their folders.
fn copy(from: &Path, to: &Path, is_wanted: &dyn Fn(&Path) -> bool) -> Result<()> {
    let mut files = Vec::new();
    list(from, &mut files)?;
    for file in files.iter().filter(|file| is_wanted(file)) {
        let target = to.join(file.strip_prefix(from)?);
        fs::create_dir_all(target.parent().unwrap_or(to))?;
        fs::copy(file, target)?;
    }
    Ok(())
}

pub(crate) fn list(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    if !folder.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { list(&path, files)? } else { files.push(path) }
    }
    Ok(())
}
