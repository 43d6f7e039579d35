//! Before a refresh token is spent, what the store of its successor needs is made ready: a temporary
//! file beside the document, with its blocks allocated. It is no promise: a disk can fail at any time.

use std::sync::Arc;

use rustix::io::Errno;

use super::super::{PrepareCause, PrepareError, StorageError};
use super::errors::io_error;
use super::files::{Files, Temp};
use super::folder::{Spot, Stat};
use super::replaceable::{GROWTH_BYTES, Obstacle, at_a_look};
use super::temporary::{show_that_it_is_wanted, temp_name};

/// A temporary file that is ready for a text, and is removed again unless it took its place.
pub(super) struct Prepared {
    files: Arc<dyn Files>,
    target: Spot,
    temp: Temp,
    /// The process that made it. One that is forked off has the file too, but not the right.
    pid: u32,
}

impl Prepared {
    /// Returns the file.
    pub(super) fn temp(&self) -> &Temp {
        &self.temp
    }

    /// Returns whether the file can still take the place of `target`.
    pub(super) fn is_for(&self, target: &Spot) -> bool {
        self.target.is(target) && self.is_in_place()
    }

    fn is_in_place(&self) -> bool {
        let (named, opened) = (self.temp.at.stat(), Stat::of(&self.temp.file));
        named.is_ok_and(|named| opened.is_ok_and(|opened| named.identity == opened.identity))
    }
}

impl Drop for Prepared {
    fn drop(&mut self) {
        if self.pid == std::process::id() && self.is_in_place() {
            // If it cannot be removed now, a later store does it.
            let _ = self.files.remove(&self.temp.at);
        }
    }
}

/// Makes the file for a text of `size` bytes, or of a little more.
///
/// # Errors
/// The document cannot be replaced. Nothing is left.
pub(super) fn prepare(files: &Arc<dyn Files>, target: &Spot, size: u64) -> Result<Prepared, Refused> {
    if let Some(obstacle) = at_a_look(target, target.stat().ok().as_ref()) {
        return Err(obstacle.into());
    }
    let folder = || target.folder.path.clone();
    let at = target.beside(temp_name(&target.name).map_err(Refused::Other)?);
    let temp = files.open_temp(&at).map_err(|error| match Errno::from_io_error(&error) {
        Some(Errno::ROFS) => Obstacle::ReadOnly(folder()).into(),
        // An attribute that the file system does not tell of.
        Some(Errno::PERM) => Obstacle::Immutable(folder()).into(),
        Some(Errno::ACCESS) => Obstacle::Folder(folder()).into(),
        Some(Errno::NOSPC | Errno::DQUOT) => Obstacle::NoRoom(folder()).into(),
        _ => Refused::Other(io_error("create", &at.path(), &error)),
    })?;
    // From here on it is removed again whatever fails.
    let prepared = Prepared { files: Arc::clone(files), target: target.clone(), temp, pid: std::process::id() };
    files.allocate(&prepared.temp, size + GROWTH_BYTES).map_err(|error| match Errno::from_io_error(&error) {
        // Also the limit that a process may have for its files (`ulimit -f`).
        Some(Errno::NOSPC | Errno::DQUOT | Errno::FBIG) => Obstacle::NoRoom(folder()).into(),
        _ => Refused::Other(io_error("set room aside for", &target.path(), &error)),
    })?;
    show_that_it_is_wanted(&prepared.temp);
    Ok(prepared)
}

/// Looks whether the file at `vault` can be replaced, by making ready what that needs and removing it again.
pub(super) fn check(files: &Arc<dyn Files>, vault: &Spot) -> Result<(), StorageError> {
    let size = vault.stat().map_or(0, |stat| stat.size);
    Ok(prepare(files, vault, size).map(drop)?)
}

/// Why nothing was made ready.
#[derive(Debug)]
pub(super) enum Refused {
    /// The document cannot be replaced.
    Obstacle(Obstacle),
    /// It could not be tried.
    Other(StorageError),
}

impl From<Obstacle> for Refused {
    fn from(obstacle: Obstacle) -> Self {
        Self::Obstacle(obstacle)
    }
}

impl From<Refused> for StorageError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Obstacle(obstacle) => obstacle.into(),
            Refused::Other(error) => error,
        }
    }
}

impl From<Refused> for PrepareError {
    fn from(refused: Refused) -> Self {
        let cause = match &refused {
            Refused::Obstacle(obstacle) => obstacle.prepare_cause(),
            Refused::Other(_) => PrepareCause::Other,
        };
        Self { cause, message: StorageError::from(refused).message }
    }
}
