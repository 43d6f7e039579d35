//! Every operation that changes a document on the disk, and nothing else: so that a test can record
//! them, fail them one by one, or stop after any of them.

use std::ffi::OsStr;
use std::fs::{File, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::FallocateFlags;

use super::super::StorageError;
use super::errors::io_error;
use super::folder::{Folder, Spot, Stat};
use super::safe_path::Way;
use super::size_limit::as_an_error;

/// A new file that is to take a document's place.
pub(super) struct Temp {
    pub(super) at: Spot,
    pub(super) file: File,
}

/// A directory, open for syncing since before anything in it was changed: what cannot be opened is
/// found out in time.
pub(super) struct Dir {
    pub(super) path: PathBuf,
    pub(super) file: File,
}

impl Dir {
    pub(super) fn open(folder: &Folder) -> Result<Self, StorageError> {
        let path = folder.path.clone();
        let file = folder.listed().map_err(|error| io_error("open the directory", &path, &error))?;
        Ok(Self { path, file })
    }
}

/// The operations, in the order in which a store performs them.
pub(super) trait Files: Send + Sync {
    /// Creates one directory for its owner alone.
    fn create_dir(&self, at: &Spot) -> io::Result<()>;
    /// Creates a file that did not exist, for its owner alone from the start.
    fn open_temp(&self, at: &Spot) -> io::Result<Temp>;
    fn set_group(&self, temp: &Temp, group: u32) -> io::Result<()>;
    fn set_mode(&self, temp: &Temp, mode: u32) -> io::Result<()>;
    fn write(&self, temp: &Temp, bytes: &[u8]) -> io::Result<()>;
    /// Returns once the content is on the disk.
    fn sync_file(&self, temp: &Temp) -> io::Result<()>;
    /// Puts the file in the place of `to`, in the same directory, in one step.
    fn rename(&self, temp: &Temp, to: &OsStr) -> io::Result<()>;
    /// Returns once the names in the directory are on the disk.
    fn sync_dir(&self, dir: &Dir) -> io::Result<()>;
    fn remove(&self, at: &Spot) -> io::Result<()>;
    /// Sets room aside for the file, or finds that there is none.
    fn allocate(&self, temp: &Temp, bytes: u64) -> io::Result<()>;
    /// Cuts the file off after `bytes`: of what was set aside, the rest is given back.
    fn cut(&self, temp: &Temp, bytes: u64) -> io::Result<()>;
}

/// The real disk.
pub(super) struct Disk;

impl Files for Disk {
    fn create_dir(&self, at: &Spot) -> io::Result<()> {
        at.folder.create_dir(&at.name)
    }

    fn open_temp(&self, at: &Spot) -> io::Result<Temp> {
        Ok(Temp { at: at.clone(), file: at.folder.create_file(&at.name)? })
    }

    fn set_group(&self, temp: &Temp, group: u32) -> io::Result<()> {
        fchown(&temp.file, None, Some(group))
    }

    fn set_mode(&self, temp: &Temp, mode: u32) -> io::Result<()> {
        temp.file.set_permissions(Permissions::from_mode(mode))
    }

    fn write(&self, temp: &Temp, bytes: &[u8]) -> io::Result<()> {
        as_an_error(|| (&temp.file).write_all(bytes))
    }

    fn sync_file(&self, temp: &Temp) -> io::Result<()> {
        temp.file.sync_all()
    }

    fn rename(&self, temp: &Temp, to: &OsStr) -> io::Result<()> {
        temp.at.folder.rename(&temp.at.name, to)
    }

    fn sync_dir(&self, dir: &Dir) -> io::Result<()> {
        match dir.file.sync_all() {
            // A file system that has nothing to sync in a directory says so; it is not a failure.
            Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => Ok(()),
            result => result,
        }
    }

    fn remove(&self, at: &Spot) -> io::Result<()> {
        at.folder.remove_file(&at.name)
    }

    fn allocate(&self, temp: &Temp, bytes: u64) -> io::Result<()> {
        let allocate = || Ok(rustix::fs::fallocate(&temp.file, FallocateFlags::empty(), 0, bytes)?);
        as_an_error(allocate).or_else(|error| match rustix::io::Errno::from_io_error(&error) {
            // Not every file system can. Then a full one is found out by the store.
            Some(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => Ok(()),
            _ => Err(error),
        })
    }

    fn cut(&self, temp: &Temp, bytes: u64) -> io::Result<()> {
        temp.file.set_len(bytes)
    }
}

/// Creates the directories on a way that are missing, durably, and gives the way through them.
pub(super) fn create_dirs(files: &dyn Files, way: Way) -> Result<Way, StorageError> {
    let mut folder = Arc::clone(&way.folder);
    for name in &way.missing {
        let at = Spot { folder, name: name.clone() };
        create_dir(files, &at)?;
        let opened = at.folder.open(name).map_err(|error| io_error("open the directory", &at.path(), &error))?;
        folder = Arc::new(opened);
    }
    Ok(way.through(folder))
}

/// Creates one directory, durably. It may be there already.
pub(super) fn create_dir(files: &dyn Files, at: &Spot) -> Result<(), StorageError> {
    let failed = |error: &io::Error| io_error("create the directory", &at.path(), error);
    match files.create_dir(at) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(failed(&error)),
        _ => files.sync_dir(&Dir::open(&at.folder)?).map_err(|error| failed(&error)),
    }
}

/// Makes the names of the directories that lead to `folder` durable, on its file system. Somebody
/// else may have created them just now, and have died before telling the disk.
pub(super) fn sync_way_to(files: &dyn Files, folder: &Folder) -> Result<(), StorageError> {
    let look_above = |folder: &Folder| folder.above().map_err(|error| io_error("look above", &folder.path, &error));
    let (mut below, device) = (folder.stat, folder.stat.identity.0);
    let mut above = look_above(folder)?;
    // The root lies in itself.
    while above.stat.identity.0 == device && above.stat.identity != below.identity {
        match Dir::open(&above) {
            Ok(dir) => files.sync_dir(&dir).map_err(|error| io_error("sync", &dir.path, &error))?,
            // Who may not read a directory has hardly created one in it.
            Err(error) if error.code == "denied" => {}
            Err(error) => return Err(error),
        }
        below = above.stat;
        above = look_above(&above)?;
    }
    Ok(())
}

/// What was opened, for a message about `path`.
pub(super) fn stat_of(file: &File, path: &Path) -> Result<Stat, StorageError> {
    Stat::of(file).map_err(|error| io_error("look at", path, &error))
}
