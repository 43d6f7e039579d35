//! Who may read the vault and what lies beside it, and whether this user can replace it.

use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags};
use rustix::io::Errno;

use super::super::super::Exposed;
use super::super::folder::{Folder, Spot, Stat};
use super::super::replaceable::{self, Obstacle};
use super::{Code, Found, Help, Level, set_aside, shell_path};

/// Below this the next store may fail.
pub(super) const LITTLE_ROOM: u64 = 16 * 1024 * 1024;

/// The vault's file and its directory. `all` is the vault with what else belongs to its owner,
/// `command` how it is called.
pub(super) fn around(vault: &Spot, user: u32, all: &[PathBuf], command: &str, found: &mut Found) {
    let path = vault.path();
    if let Ok(stat) = vault.stat() {
        rights(&path, &stat, found);
        owner(&path, (stat.user, user), all, command, found);
        hard_links(vault, &stat, found);
    }
    folder_rights(&vault.folder, user, found);
    if let Some(obstacle) = replaceable::look(vault) {
        not_replaceable(&obstacle, user, found);
    }
    look_for_room(&vault.folder, found);
}

/// A directory in which the vault's own directory has yet to be made.
pub(super) fn folder_to_create_in(folder: &Folder, user: u32, found: &mut Found) {
    let obstacle = match rustix::fs::accessat(folder, ".", Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS) {
        Err(Errno::ROFS) => Some(Obstacle::ReadOnly(folder.path.clone())),
        Err(Errno::ACCESS) => Some(Obstacle::Folder(folder.path.clone())),
        _ => None,
    };
    if let Some(obstacle) = obstacle {
        not_replaceable(&obstacle, user, found);
    }
    look_for_room(folder, found);
}

/// What lies beside the vault is its owner's or root's.
pub(super) fn beside(at: &Spot, of: u32, has_secrets: bool, found: &mut Found) {
    let Ok(stat) = at.stat() else { return };
    let path = at.path();
    if let Some(message) = super::super::somebody_elses(of, &stat, &path) {
        found.note(Level::Error, Code::OwnerBeside, message, Help::fix(set_aside(&path)));
    } else if has_secrets {
        rights(&path, &stat, found);
    }
}

fn hard_links(vault: &Spot, stat: &Stat, found: &mut Found) {
    if stat.names < 2 {
        return;
    }
    let path = vault.path();
    let message = format!(
        "{} has {} names (hard links): a store gives this one the new tokens, and the others keep the old ones, which are \
         spent then. Let no program use another name",
        path.display(),
        stat.names
    );
    let fix = format!("find {} -xdev -samefile {}", shell_path(&vault.folder.path), shell_path(&path));
    found.note(Level::Warning, Code::HardLinked, message, Help::fix(fix));
}

/// The same as a refresh says before it sends anything.
pub(super) fn not_replaceable(obstacle: &Obstacle, user: u32, found: &mut Found) {
    let (code, help) = match obstacle {
        Obstacle::Mounted(file) => (Code::VaultMounted, Help::fix(format!("findmnt -T {}", shell_path(file)))),
        Obstacle::ReadOnly(folder) => (Code::VaultReadOnly, Help::fix(format!("findmnt -T {}", shell_path(folder)))),
        Obstacle::Immutable(path) => {
            (Code::VaultImmutable, Help::fix(format!("sudo chattr -i -a {}", shell_path(path))))
        }
        Obstacle::Folder(folder) => (Code::DirectoryClosed, open_folder(folder, user)),
        // Each is told of already, in its own words.
        Obstacle::NotOwner { .. } | Obstacle::NoRoom(_) => return,
    };
    let message = format!("{}: nothing can be stored, so nothing is refreshed", obstacle.cause());
    found.note(Level::Error, code, message, help);
}

/// One's own directory needs its rights back; another's would change hands, and its owner may need
/// it.
fn open_folder(folder: &Path, user: u32) -> Help {
    use std::os::unix::fs::MetadataExt;
    let path = shell_path(folder);
    match folder.metadata() {
        Ok(stat) if stat.uid() == user => Help::fix(format!("chmod u+rwx {path}")),
        _ => Help {
            fix: Some(format!("ls -ld {path}")),
            alternative: Some(format!("sudo chown {user} {path} && chmod u+rwx {path}")),
        },
    }
}

/// A vault that others than its owner and its group may open: a group may share a login, everybody
/// may not.
pub(in super::super) fn exposed(vault: &Spot) -> Option<Exposed> {
    open_to_all(&vault.path(), &vault.stat().ok()?)
}

fn open_to_all(path: &Path, stat: &Stat) -> Option<Exposed> {
    let mode = stat.mode;
    (mode & 0o007 != 0).then(|| Exposed {
        message: format!("{} has the mode {mode:04o}: every user of this machine may open it", path.display()),
        run: close(path),
    })
}

fn close(path: &Path) -> String {
    format!("chmod 600 {}", shell_path(path))
}

/// Nobody else may read it; its group only if somebody wants that.
fn rights(path: &Path, stat: &Stat, found: &mut Found) {
    let mode = stat.mode;
    if let Some(Exposed { message, run }) = open_to_all(path, stat) {
        found.note(Level::Error, Code::ModeWide, message, Help::fix(run));
    } else if mode & 0o070 != 0 {
        let message = format!(
            "{} has the mode {mode:04o}: everybody in group {} may open it. A store keeps that, for a login may be shared so",
            path.display(),
            stat.group
        );
        found.note(Level::Warning, Code::ModeGroup, message, Help::alternative(close(path)));
    }
}

fn folder_rights(folder: &Folder, user: u32, found: &mut Found) {
    let Folder { path, stat, .. } = folder;
    let mode = stat.mode;
    // In a sticky one nobody can replace what is another's.
    if mode & 0o022 != 0 && mode & 0o1000 == 0 {
        let message = format!(
            "the directory {} has the mode {mode:04o}: others than its owner may replace the vault",
            path.display()
        );
        let fix = Help::fix(format!("chmod go-w {}", shell_path(path)));
        found.note(Level::Error, Code::DirectoryOpen, message, fix);
    }
    if stat.user != 0 && stat.user != user {
        let level = if user == 0 { Level::Ok } else { Level::Error };
        let path_word = shell_path(path);
        let help = Help {
            fix: (user != 0).then(|| format!("ls -ld {path_word}")),
            alternative: (user != 0).then(|| format!("sudo chown {user} {path_word}")),
        };
        found.note(level, Code::OwnerOther, belongs(path, stat.user, user), help);
    }
}

/// Whoever owns it can do anything with it.
pub(super) fn owner(path: &Path, (of, user): (u32, u32), all: &[PathBuf], command: &str, found: &mut Found) {
    if of == user {
        return;
    }
    let help = match (of, user) {
        // Root becomes whom a vault belongs to.
        (_, 0) => Help::NONE,
        // A command that was run as root once leaves all of it behind as root's.
        (0, _) => {
            let words: Vec<String> = all.iter().map(|path| shell_path(path)).collect();
            Help::fix(format!("sudo chown -hR {user} {}", words.join(" ")))
        }
        _ => Help::fix(format!("sudo -u '#{of}' {command} doctor")),
    };
    let level = if user == 0 { Level::Ok } else { Level::Error };
    found.note(level, Code::OwnerOther, belongs(path, of, user), help);
}

fn belongs(path: &Path, of: u32, user: u32) -> String {
    format!("{} belongs to user {of}, and you are user {user}", path.display())
}

fn look_for_room(folder: &Folder, found: &mut Found) {
    if let Ok(disk) = rustix::fs::fstatvfs(folder) {
        room(&folder.path, disk.f_bavail.saturating_mul(disk.f_frsize), found);
    }
}

pub(super) fn room(folder: &Path, free: u64, found: &mut Found) {
    if free < LITTLE_ROOM {
        let message = format!(
            "the disk of {} has {} left: new tokens may find no room",
            folder.display(),
            super::super::errors::size(free)
        );
        let level = if free < LITTLE_ROOM / 16 { Level::Error } else { Level::Warning };
        found.note(level, Code::DiskFull, message, Help::fix(format!("df -h {}", shell_path(folder))));
    }
}
