//! Every operation that changes a document on the disk, and nothing else: so that a test can record them, fail them
//! one by one, or stop after any of them.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::super::StorageError;
use super::errors::io_error;
use super::size_limit::as_an_error;

/// A new file that is to take a document's place.
pub(super) struct Temp {
    pub(super) path: PathBuf,
    pub(super) file: File,
}

/// A directory, open since before anything in it was changed: what cannot be opened is found out in time.
pub(super) struct Dir {
    pub(super) path: PathBuf,
    file: File,
}

impl Dir {
    pub(super) fn open(path: &Path) -> Result<Self, StorageError> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW;
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(flags.bits() as i32)
            .open(path)
            .map_err(|error| io_error("open the directory", path, &error))?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// Gives away the very directory that was opened, whatever has its name by now.
    pub(super) fn give_to(&self, user: u32, group: u32) -> io::Result<()> {
        fchown(&self.file, Some(user), Some(group))
    }
}

/// The operations, in the order in which a store performs them.
pub(super) trait Files: Send + Sync {
    /// Creates one directory for its owner alone.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Creates a file that did not exist, for its owner alone from the start.
    fn open_temp(&self, path: &Path) -> io::Result<Temp>;
    fn set_owner(&self, temp: &Temp, user: u32, group: u32) -> io::Result<()>;
    fn set_mode(&self, temp: &Temp, mode: u32) -> io::Result<()>;
    fn write(&self, temp: &Temp, bytes: &[u8]) -> io::Result<()>;
    /// Returns once the content is on the disk.
    fn sync_file(&self, temp: &Temp) -> io::Result<()>;
    /// Puts the file in the place of `to`, in one step.
    fn rename(&self, temp: &Temp, to: &Path) -> io::Result<()>;
    /// Returns once the names in the directory are on the disk.
    fn sync_dir(&self, dir: &Dir) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
}

/// The real disk.
pub(super) struct Disk;

impl Files for Disk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        DirBuilder::new().mode(0o700).create(path)
    }

    fn open_temp(&self, path: &Path) -> io::Result<Temp> {
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .custom_flags(OFlags::NOFOLLOW.bits() as i32)
            .open(path)?;
        Ok(Temp { path: path.to_owned(), file })
    }

    fn set_owner(&self, temp: &Temp, user: u32, group: u32) -> io::Result<()> {
        fchown(&temp.file, Some(user), Some(group))
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

    fn rename(&self, temp: &Temp, to: &Path) -> io::Result<()> {
        fs::rename(&temp.path, to)
    }

    fn sync_dir(&self, dir: &Dir) -> io::Result<()> {
        match dir.file.sync_all() {
            // A file system that has nothing to sync in a directory says so; it is not a failure.
            Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => Ok(()),
            result => result,
        }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }
}

/// Creates `path` and the directories above it that are missing, durably.
pub(super) fn create_dirs(files: &dyn Files, path: &Path) -> Result<(), StorageError> {
    if path.is_dir() {
        return Ok(());
    }
    let failed = |error: &io::Error| io_error("create the directory", path, error);
    if let Some(above) = path.parent() {
        create_dirs(files, above)?;
        match files.create_dir(path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(failed(&error)),
            _ => files.sync_dir(&Dir::open(above)?).map_err(|error| failed(&error))?,
        }
    }
    Ok(())
}

/// Makes the names of the directories that lead to `dir` durable, on its file system. Somebody else may have created
/// them just now, and have died before telling the disk.
pub(super) fn sync_way_to(files: &dyn Files, dir: &Dir) -> Result<(), StorageError> {
    let device = |dir: &Dir| dir.file.metadata().map(|stat| stat.dev()).ok();
    for above in dir.path.ancestors().skip(1) {
        let above = match Dir::open(above) {
            Ok(above) => above,
            // Who may not read a directory has hardly created one in it.
            Err(error) if error.code == "denied" => continue,
            Err(error) => return Err(error),
        };
        if device(&above) != device(dir) {
            return Ok(());
        }
        files.sync_dir(&above).map_err(|error| io_error("sync", &above.path, &error))?;
    }
    Ok(())
}
