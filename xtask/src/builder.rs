//! No published file names a folder of whoever built it: neither the workspace, nor cargo's home,
//! nor their own.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::componentize::builders_folders;
use crate::{Result, dist, parts, root};

/// Looks at every file, and at those in packages.
///
/// # Errors
/// One of them names such a folder.
pub(crate) fn is_named_nowhere(published: &Path) -> Result<()> {
    let unpacked = parts::target().join("dist-unpacked");
    if unpacked.exists() {
        fs::remove_dir_all(&unpacked)?;
    }
    let folders: Vec<PathBuf> =
        builders_folders(&root())?.into_iter().map(|(folder, _)| folder).chain(env::home_dir()).collect();
    let found = search(published, &unpacked, &folders)?;
    if found.is_empty() { Ok(()) } else { Err(format!("a path of this machine is in {}", found.join(", ")).into()) }
}

/// The files in which one of the folders is named.
fn search(published: &Path, unpacked: &Path, folders: &[PathBuf]) -> Result<Vec<String>> {
    let (mut files, mut inner) = (Vec::new(), Vec::new());
    dist::list(published, &mut files)?;
    for package in files.iter().filter(|file| is_package(file)) {
        let into = unpacked.join(package.file_name().unwrap_or_default());
        unpack(package, &into)?;
        dist::list(&into, &mut inner)?;
    }
    files.append(&mut inner);
    // With what follows it, as `/root` alone may be a word of a text. A home of `/` would be in
    // everything.
    let needles: Vec<String> =
        folders.iter().map(|folder| format!("{}/", folder.display())).filter(|needle| needle.len() > 2).collect();
    let mut found = Vec::new();
    for file in files {
        let bytes = fs::read(&file)?;
        for needle in &needles {
            if bytes.windows(needle.len()).any(|window| window == needle.as_bytes()) {
                found.push(format!("{} ({needle})", file.display()));
            }
        }
    }
    Ok(found)
}

fn is_package(file: &Path) -> bool {
    matches!(file.extension().and_then(OsStr::to_str), Some("whl" | "tgz"))
}

/// By Python, which `dist` needs anyway.
fn unpack(package: &Path, into: &Path) -> Result<()> {
    const UNPACK: &str = "import shutil, sys; shutil.unpack_archive(sys.argv[1], sys.argv[2], sys.argv[3])";
    let format = if package.extension() == Some(OsStr::new("whl")) { "zip" } else { "gztar" };
    fs::create_dir_all(into)?;
    dist::tool(Command::new("python3").args(["-c", UNPACK]).arg(package).arg(into).arg(format))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_builders_path_is_found_in_files_and_in_packages() {
        let folder = parts::target().join(format!("tmp/builder-{}", std::process::id()));
        let (published, unpacked) = (folder.join("published"), folder.join("unpacked"));
        fs::create_dir_all(&published).expect("made");
        fs::write(published.join("clean.wasm"), b"\0asm cargo/registry/src/serde_json /rustc/1/core.rs")
            .expect("written");
        fs::write(published.join("leaking.wasm"), b"\0asm\xff/home/me/.cargo/registry/src/serde_json")
            .expect("written");
        const PACK: &str = "
import io, sys, tarfile, zipfile
leak = b'at /home/me/work/lazaretto/src'
zipfile.ZipFile(sys.argv[1] + '/a.whl', 'w', zipfile.ZIP_DEFLATED).writestr('lazaretto/a.wasm', leak)
with tarfile.open(sys.argv[1] + '/b.tgz', 'w:gz') as tar:
    info = tarfile.TarInfo('package/b.wasm')
    info.size = len(leak)
    tar.addfile(info, io.BytesIO(leak))
";
        dist::tool(Command::new("python3").args(["-c", PACK]).arg(&published)).expect("packed");
        let folders = ["/home/me/.cargo", "/home/me/work/lazaretto", "/"].map(PathBuf::from);
        let found = search(&published, &unpacked, &folders).expect("read");
        fs::remove_dir_all(&folder).expect("removed");
        let named = |name: &str| found.iter().filter(|line| line.contains(name)).count();
        assert_eq!((named("leaking.wasm"), named("a.whl/lazaretto/a.wasm"), named("b.tgz/package/b.wasm")), (1, 1, 1));
        assert_eq!(found.len(), 3, "{found:?}");
    }
}
