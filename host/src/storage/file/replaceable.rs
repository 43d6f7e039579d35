//! What can keep the file of a document from being replaced, and what a person does about it. What
//! is found is no promise: a disk can fill up and a file be mounted a moment later.

use std::path::PathBuf;

use rustix::fs::{Access, AtFlags};
use rustix::io::Errno;

use super::super::{PrepareCause, StorageError};
use super::folder::{Folder, Spot, Stat};

/// How much larger than expected the next text may be.
pub(super) const GROWTH_BYTES: u64 = 64 * 1024;

/// Why a vault's file cannot be replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Obstacle {
    /// The file itself is a mount point, as `docker run -v auth.json:...` makes it.
    Mounted(PathBuf),
    /// The file system is mounted read-only.
    ReadOnly(PathBuf),
    /// A file or directory has the attribute `i` or `a`.
    Immutable(PathBuf),
    /// The file is another user's.
    NotOwner { file: PathBuf, owner: u32, user: u32 },
    /// Nothing may be created in the directory.
    Folder(PathBuf),
    /// There is no room for another text.
    NoRoom(PathBuf),
}

impl Obstacle {
    /// As in `wit/storage.wit`.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::Mounted(_) | Self::ReadOnly(_) | Self::Immutable(_) => "read-only",
            Self::NotOwner { .. } | Self::Folder(_) => "denied",
            Self::NoRoom(_) => "full",
        }
    }

    /// Returns the same as the contract's `prepare` names it.
    pub(super) fn prepare_cause(&self) -> PrepareCause {
        match self {
            Self::Mounted(_) => PrepareCause::MountPoint,
            Self::ReadOnly(_) => PrepareCause::ReadOnly,
            Self::Immutable(_) => PrepareCause::Immutable,
            Self::NotOwner { .. } => PrepareCause::NotOwner,
            Self::Folder(_) => PrepareCause::Folder,
            Self::NoRoom(_) => PrepareCause::NoRoom,
        }
    }

    pub(super) fn cause(&self) -> String {
        match self {
            Self::Mounted(file) => format!("{} is mounted as a single file, so it cannot be replaced", file.display()),
            Self::ReadOnly(folder) => format!("{} is mounted read-only", folder.display()),
            Self::Immutable(path) => format!("{} has the attribute immutable or append-only", path.display()),
            Self::NotOwner { file, owner, user } => {
                format!(
                    "{} belongs to user {owner}, and only that user can replace it: this is user {user}",
                    file.display()
                )
            }
            Self::Folder(folder) => format!("the directory {} may not be written", folder.display()),
            Self::NoRoom(folder) => {
                format!("the disk of {} is full: it has no room for another text of the vault", folder.display())
            }
        }
    }

    pub(super) fn cure(&self) -> String {
        match self {
            Self::Mounted(_) => "mount its folder instead".into(),
            Self::ReadOnly(_) => "mount it for writing, or move the vault".into(),
            Self::Immutable(path) => format!("run: sudo chattr -i -a {}", super::shell_path(path)),
            Self::NotOwner { owner, .. } => format!("run: sudo -u '#{owner}' ..."),
            Self::Folder(folder) => {
                format!("run: ls -ld {}, and let the vault's owner write there", super::shell_path(folder))
            }
            Self::NoRoom(folder) => format!("run: df -h {}, and make room", super::shell_path(folder)),
        }
    }
}

impl From<Obstacle> for StorageError {
    fn from(obstacle: Obstacle) -> Self {
        let (cause, cure) = (obstacle.cause(), obstacle.cure());
        Self::new(obstacle.code(), format!("{cause}; nothing was sent: {cure}"))
    }
}

/// Returns why the file at `vault` cannot be replaced, as far as it can be seen without creating
/// anything.
pub(super) fn look(vault: &Spot) -> Option<Obstacle> {
    let file = vault.stat().ok();
    let folder = &*vault.folder;
    at_a_look(vault, file.as_ref()).or_else(|| {
        match rustix::fs::accessat(folder, ".", Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS) {
            Err(Errno::ROFS) => return Some(Obstacle::ReadOnly(folder.path.clone())),
            Err(Errno::ACCESS) => return Some(Obstacle::Folder(folder.path.clone())),
            _ => {}
        }
        let disk = rustix::fs::fstatvfs(folder).ok()?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        (free < file.map_or(0, |file| file.size) + GROWTH_BYTES).then(|| Obstacle::NoRoom(folder.path.clone()))
    })
}

/// What the system tells of the file and of its directory.
pub(super) fn at_a_look(vault: &Spot, file: Option<&Stat>) -> Option<Obstacle> {
    let user = rustix::process::geteuid().as_raw();
    let of_folder = Told::of_folder(&vault.folder);
    if of_folder.is_fixed {
        return Some(Obstacle::Immutable(vault.folder.path.clone()));
    }
    let file = file?;
    if file.user != user {
        return Some(Obstacle::NotOwner { file: vault.path(), owner: file.user, user });
    }
    let of_file = Told::of_file(vault);
    // Device numbers decide only where the system has no numbers for mounts: a file of an overlay
    // may have another one than its directory.
    let is_another_mount = match (of_file.mount, of_folder.mount) {
        (Some(file), Some(folder)) => file != folder,
        _ => file.identity.0 != vault.folder.stat.identity.0,
    };
    if is_another_mount {
        return Some(Obstacle::Mounted(vault.path()));
    }
    of_file.is_fixed.then(|| Obstacle::Immutable(vault.path()))
}

/// What the kernel tells of a file besides its stat.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    /// Which mount it is reached through.
    mount: Option<u64>,
    /// Whether it is immutable or append-only.
    is_fixed: bool,
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod linux {
    use std::ffi::OsStr;
    use std::fs::{self, File};
    use std::os::fd::{AsFd, AsRawFd};

    use rustix::fs::{AtFlags, IFlags, OFlags, StatxAttributes, StatxFlags, ioctl_getflags, statx};

    use super::{Folder, Spot, Told};

    impl Told {
        pub(super) fn of_folder(folder: &Folder) -> Self {
            Self::by_statx(folder, OsStr::new(""), AtFlags::EMPTY_PATH, || folder.listed().ok(), || mount_of(folder))
        }

        pub(super) fn of_file(at: &Spot) -> Self {
            let open = |flags| at.folder.open_file(&at.name, flags | OFlags::NONBLOCK).ok();
            Self::by_statx(
                &at.folder,
                &at.name,
                AtFlags::SYMLINK_NOFOLLOW,
                || open(OFlags::RDONLY),
                || mount_of(&open(OFlags::PATH)?),
            )
        }

        /// What `statx` does not say, on kernels before 5.8 and on some file systems, is asked for
        /// otherwise.
        fn by_statx(
            folder: &Folder,
            name: &OsStr,
            flags: AtFlags,
            open: impl FnOnce() -> Option<File>,
            mount: impl FnOnce() -> Option<u64>,
        ) -> Self {
            let fixed = StatxAttributes::IMMUTABLE | StatxAttributes::APPEND;
            let told = statx(folder, name, flags, StatxFlags::MNT_ID).ok();
            let by_id = told.filter(|told| told.stx_mask & StatxFlags::MNT_ID.bits() != 0).map(|told| told.stx_mnt_id);
            let by_attribute = told.filter(|told| told.stx_attributes_mask.contains(fixed));
            Self {
                mount: by_id.or_else(mount),
                is_fixed: match by_attribute {
                    Some(told) => told.stx_attributes.intersects(fixed),
                    None => open()
                        .and_then(|file| ioctl_getflags(&file).ok())
                        .is_some_and(|flags| flags.intersects(IFlags::IMMUTABLE | IFlags::APPEND)),
                },
            }
        }
    }

    fn mount_of(file: &impl AsFd) -> Option<u64> {
        let told = fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_fd().as_raw_fd())).ok()?;
        told.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok())
    }
}

/// Elsewhere neither is told. A file cannot be a mount point of its own there, and an attribute
/// shows when a file is created.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
impl Told {
    fn of_folder(_: &Folder) -> Self {
        Self::default()
    }

    fn of_file(_: &Spot) -> Self {
        Self::default()
    }
}
