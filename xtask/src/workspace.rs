//! Where the workspace is, and what a command of it fails with.

use std::error::Error;
use std::path::PathBuf;

/// What a command comes to.
pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Returns the folder of the workspace.
pub(crate) fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().map_or(here.clone(), PathBuf::from)
}
