//! A directory is opened and looked at once, and all that is done in it afterwards goes through
//! that handle with a bare name: so nobody can put another directory in its place, and whoever
//! moves it takes what is done in it along.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};

use super::super::StorageError;
use super::errors::io_error;

/// A directory that is only walked through or worked in need not be readable, where the system has
/// such handles.
#[cfg(any(target_os = "linux", target_os = "android"))]
const TO_WALK: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const TO_WALK: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const TO_LIST: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// What the system says of a file, a directory or a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    /// Device and inode: no two files that exist share both.
    pub(super) identity: (u64, u64),
    pub(super) kind: FileType,
    /// Permissions, and the bits for set-user-id, set-group-id and sticky.
    pub(super) mode: u32,
    pub(super) user: u32,
    pub(super) group: u32,
    /// How many names it has.
    pub(super) names: u64,
    pub(super) size: u64,
    pub(super) modified_ns: i128,
    pub(super) changed_ns: i128,
}

impl Stat {
    pub(super) fn of(file: impl AsFd) -> io::Result<Self> {
        Ok(rustix::fs::fstat(file).map(|stat| Self::from(&stat))?)
    }

    pub(super) fn modified(&self) -> SystemTime {
        let since = Duration::from_nanos(self.modified_ns.unsigned_abs().try_into().unwrap_or(u64::MAX));
        let at = if self.modified_ns < 0 { UNIX_EPOCH.checked_sub(since) } else { UNIX_EPOCH.checked_add(since) };
        at.unwrap_or(UNIX_EPOCH)
    }

    pub(super) fn is_dir(&self) -> bool {
        self.kind == FileType::Directory
    }

    pub(super) fn is_file(&self) -> bool {
        self.kind == FileType::RegularFile
    }

    pub(super) fn is_link(&self) -> bool {
        self.kind == FileType::Symlink
    }
}

#[allow(
    clippy::unnecessary_cast,
    clippy::cast_lossless,
    reason = "the fields have another width or sign on other systems"
)]
impl From<&rustix::fs::Stat> for Stat {
    fn from(stat: &rustix::fs::Stat) -> Self {
        let ns = |seconds: i64, nanos: i64| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
        Self {
            identity: (stat.st_dev as u64, stat.st_ino as u64),
            kind: FileType::from_raw_mode(stat.st_mode as _),
            mode: stat.st_mode as u32 & 0o7777,
            user: stat.st_uid as u32,
            group: stat.st_gid as u32,
            names: stat.st_nlink as u64,
            size: stat.st_size as u64,
            modified_ns: ns(stat.st_mtime as i64, stat.st_mtime_nsec as i64),
            changed_ns: ns(stat.st_ctime as i64, stat.st_ctime_nsec as i64),
        }
    }
}

/// An open directory. Every name is a single one, and no link is followed.
#[derive(Debug)]
pub(super) struct Folder {
    handle: OwnedFd,
    /// Where it was walked to: for messages, and to tell its own name. Nothing is opened by it.
    pub(super) path: PathBuf,
    /// As it was opened.
    pub(super) stat: Stat,
}

impl Folder {
    pub(super) fn root() -> Result<Self, StorageError> {
        let path = PathBuf::from("/");
        let opened = rustix::fs::openat(rustix::fs::CWD, "/", TO_WALK, Mode::empty()).map_err(io::Error::from);
        opened.and_then(|handle| Self::of(handle, path.clone())).map_err(|error| io_error("look at", &path, &error))
    }

    fn of(handle: OwnedFd, path: PathBuf) -> io::Result<Self> {
        let stat = Stat::of(&handle)?;
        Ok(Self { handle, path, stat })
    }

    /// The directory of that name in it.
    pub(super) fn open(&self, name: &OsStr) -> io::Result<Self> {
        let handle = rustix::fs::openat(&self.handle, name, TO_WALK, Mode::empty())?;
        Self::of(handle, self.path.join(name))
    }

    /// The directory that it lies in by now; the root lies in itself.
    pub(super) fn above(&self) -> io::Result<Self> {
        let mut path = self.path.clone();
        path.pop();
        let handle = rustix::fs::openat(&self.handle, "..", TO_WALK, Mode::empty())?;
        Self::of(handle, path)
    }

    /// The same directory, to list its names and to sync them.
    pub(super) fn listed(&self) -> io::Result<File> {
        Ok(rustix::fs::openat(&self.handle, ".", TO_LIST, Mode::empty())?.into())
    }

    pub(super) fn stat_of(&self, name: &OsStr) -> io::Result<Stat> {
        let stat = rustix::fs::statat(&self.handle, name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(Stat::from(&stat))
    }

    pub(super) fn read_link(&self, name: &OsStr) -> io::Result<PathBuf> {
        let text = rustix::fs::readlinkat(&self.handle, name, Vec::new())?;
        Ok(PathBuf::from(OsString::from_vec(text.into_bytes())))
    }

    /// Opens a file as `flags` say; a new one is for its owner alone.
    pub(super) fn open_file(&self, name: &OsStr, flags: OFlags) -> io::Result<File> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NOCTTY;
        Ok(rustix::fs::openat(&self.handle, name, flags, Mode::from_raw_mode(0o600))?.into())
    }

    /// Creates a file that did not exist.
    pub(super) fn create_file(&self, name: &OsStr) -> io::Result<File> {
        self.open_file(name, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL)
    }

    /// Creates a directory for its owner alone.
    pub(super) fn create_dir(&self, name: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::mkdirat(&self.handle, name, Mode::from_raw_mode(0o700))?)
    }

    pub(super) fn rename(&self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.handle, from, &self.handle, to)?)
    }

    pub(super) fn remove_file(&self, name: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.handle, name, AtFlags::empty())?)
    }

    pub(super) fn remove_dir(&self, name: &OsStr) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(&self.handle, name, AtFlags::REMOVEDIR)?)
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        self.stat.identity == other.stat.identity
    }
}

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }
}

/// A name in an open directory. There need not be anything of that name.
#[derive(Clone, Debug)]
pub(super) struct Spot {
    pub(super) folder: Arc<Folder>,
    pub(super) name: OsString,
}

impl Spot {
    /// For messages.
    pub(super) fn path(&self) -> PathBuf {
        self.folder.path.join(&self.name)
    }

    pub(super) fn stat(&self) -> io::Result<Stat> {
        self.folder.stat_of(&self.name)
    }

    pub(super) fn exists(&self) -> bool {
        self.stat().is_ok()
    }

    /// Another name in the same directory.
    pub(super) fn beside(&self, name: impl Into<OsString>) -> Self {
        Self { folder: Arc::clone(&self.folder), name: name.into() }
    }

    pub(super) fn with_suffix(&self, suffix: &str) -> Self {
        self.beside(suffixed(&self.name, suffix))
    }

    pub(super) fn with_extension(&self, extension: &str) -> Self {
        self.beside(Path::new(&self.name).with_extension(extension))
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        self.folder.is(&other.folder) && self.name == other.name
    }

    /// The place that the system finds at `path`, whose directory must exist.
    #[cfg(test)]
    pub(super) fn at(path: &Path) -> Self {
        let above = path.parent().expect("a directory").canonicalize().expect("there");
        let handle = rustix::fs::openat(rustix::fs::CWD, &above, TO_WALK, Mode::empty()).expect("opened");
        let folder = Arc::new(Folder::of(handle, above).expect("looked at"));
        Self { folder, name: path.file_name().expect("a name").to_owned() }
    }
}

pub(super) fn suffixed(name: &OsStr, suffix: &str) -> OsString {
    let mut name = name.to_owned();
    name.push(suffix);
    name
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_is_done_in_a_directory_moves_with_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let (here, there) = (dir.path().join("here"), dir.path().join("there"));
        fs::create_dir(&here).expect("made");
        let spot = Spot::at(&here.join("a"));
        fs::rename(&here, &there).expect("moved");
        symlink("/", &here).expect("linked");
        drop(spot.folder.create_file(&spot.name).expect("created"));
        assert!(there.join("a").exists());
        spot.folder.rename(&spot.name, OsStr::new("b")).expect("renamed");
        assert_eq!((there.join("a").exists(), there.join("b").exists()), (false, true));
        assert!(spot.folder.above().expect("opened").is(&Spot::at(&there).folder));
    }

    #[test]
    fn a_link_is_no_directory_and_no_file() {
        let dir = tempfile::tempdir().expect("a directory");
        symlink("/", dir.path().join("link")).expect("linked");
        fs::write(dir.path().join("file"), "").expect("written");
        symlink("file", dir.path().join("file-link")).expect("linked");
        let spot = Spot::at(&dir.path().join("link"));
        assert!(spot.folder.open(&spot.name).is_err());
        assert!(spot.folder.open_file(OsStr::new("file-link"), OFlags::RDONLY).is_err());
        assert!(spot.stat().expect("there").is_link());
    }
}
