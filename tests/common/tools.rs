//! Programs from other registries that the tests borrow: installed once for each target directory, and used only whole.
//!
//! A machine without the program that installs them skips the tests that need it, and says so; where `CI=true` it fails.

use std::env;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The folder of a tool: the `recipe` files, and what `install` made of them there. Files or a `platform` that differ give
/// another folder, so what is found whole is never out of date.
pub fn installed(name: &str, recipe: &[PathBuf], platform: &str, install: impl FnOnce(&Path)) -> PathBuf {
    let mut hash = DefaultHasher::new();
    platform.hash(&mut hash);
    for file in recipe {
        fs::read(file).expect("a file of the recipe").hash(&mut hash);
    }
    let tools = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let folder = tools.join(format!("{name}-{:016x}", hash.finish()));
    let whole = folder.join(".installed");

    // Threads and processes wait here for the one that installs. The lock ends with its process, and a folder without the
    // stamp is what that one left.
    let lock = File::create(tools.join(format!("{name}.lock"))).expect("a lock file");
    lock.lock().expect("the lock");
    if !whole.exists() {
        if folder.exists() {
            fs::remove_dir_all(&folder).expect("removed");
        }
        fs::create_dir_all(&folder).expect("a folder");
        for file in recipe {
            fs::copy(file, folder.join(file.file_name().expect("a name"))).expect("copied");
        }
        install(&folder);
        fs::write(whole, "").expect("stamped");
    }
    folder
}

/// Runs a program to its end, and fails with its own words if it fails.
pub fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?} failed\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// What a program prints if it is there and content.
pub fn answer(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Says on the terminal that this test proves nothing here.
pub fn skip(needed: &str) {
    assert!(env::var("CI").as_deref() != Ok("true"), "CI=true, and there is no {needed}");
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    // Past the test harness, which shows a passing test's output to nobody.
    let _ = writeln!(io::stderr(), "SKIPPED {test}: it needs {needed}");
}

/// A file of this repository's `tests/`.
pub fn source(path: &str) -> PathBuf {
    repository("tests").join(path)
}

/// A file of this repository.
pub fn repository(path: &str) -> PathBuf {
    // The tests of other packages use these tools too. Only the workspace has a lock file.
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = package.ancestors().find(|folder| folder.join("Cargo.lock").exists()).expect("a workspace");
    root.join(path)
}
