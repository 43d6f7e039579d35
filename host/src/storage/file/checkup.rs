//! What lies around a vault on the disk, looked over for a person: who may read and replace it, where its links lead, who
//! holds its locks, and whether there is room. Nothing is written; a lock is tried and let go in the same moment.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;
use std::time::UNIX_EPOCH;

use rustix::fs::{Access, AtFlags, OFlags};

use super::super::{Holder, StorageError};
use super::folder::{Folder, Spot, Stat};
use super::holder::Hint;
use super::kinds::Kind;
use super::left_behind::LeftBehind;
use super::locks::LEFT_BEHIND;
use super::marks::{Mark, Sign};
use super::other_tools::marks;
use super::places::{Place, foreign_locks};
use super::replaceable::{self, Obstacle};
use super::{FileStorage, text};
use crate::Finding;

/// Below this the next store may fail.
const LITTLE_ROOM: u64 = 16 * 1024 * 1024;
/// A refresh takes seconds. Who holds a lock for longer than this hangs, or was stopped.
const LONG_HELD_MS: u64 = 120_000;
/// The grants' locks are numbered.
const GRANT_LOCKS: u8 = 64;

/// What was found so far.
#[derive(Default)]
struct Found(Vec<Finding>);

impl Found {
    fn note(&mut self, severity: &str, code: &str, message: String, fix: Option<String>) {
        self.0.push(Finding { severity: severity.into(), code: code.into(), message, fix, ..Finding::default() });
    }
}

impl FileStorage {
    /// Looks over what lies around the vault. Text of others may be in what is found: escape it.
    pub fn checkup(&self) -> Vec<Finding> {
        let mut found = Found::default();
        let place = match self.places.find(Kind::Vault) {
            Ok(Some(place)) => place,
            Ok(None) => return found.0,
            Err(error) => {
                unsafe_way(&self.places.vault, &error, &mut found);
                return found.0;
            }
        };
        links(&place, &mut found);
        let user = rustix::process::geteuid().as_raw();
        if let Some(vault) = place.file() {
            around(vault, user, &mut found);
        }
        for kind in Kind::ALL.into_iter().filter(|kind| kind.suffix().is_some()) {
            if let Ok(Some(of_kind)) = self.places.find(kind) {
                let unsynced = of_kind.unsynced(kind).into_iter();
                for at in of_kind.file().cloned().into_iter().chain(unsynced) {
                    beside(&at, place.anchor.owner(), kind == Kind::Sealed, &mut found);
                }
            }
        }
        if let Some(network) = self.network(&place.anchor).filter(|_| !self.allow_network) {
            let message = format!(
                "{} lies on {network}: a lock there may not keep another machine from refreshing the same login, so nothing is \
                 refreshed. Move it to a local disk",
                place.path().display()
            );
            found.note("error", "network-file-system", message, Some(format!("df -T {}", shell_path(&place.path()))));
        }
        if let Ok(Some(ledger)) = self.places.find(Kind::Ledger) {
            self.unsynced(&ledger, &mut found);
        }
        let now_ms = (self.now)().duration_since(UNIX_EPOCH).ok().and_then(|now| now.as_millis().try_into().ok());
        self.locks_held(&place, now_ms.unwrap_or_default(), &mut found);
        found.0
    }

    /// The newest text of the ledger may lie beside it; one that does not count was left behind.
    fn unsynced(&self, ledger: &Place, found: &mut Found) {
        let Some(beside) = ledger.unsynced(Kind::Ledger).filter(Spot::exists) else { return };
        let path = beside.path();
        match self.read(Kind::Ledger, ledger) {
            Ok(Some(text::Text { is_unsynced: true, .. })) => {
                let message = format!("{} holds the ledger's newest text, and counts", path.display());
                found.note("ok", "ledger-unsynced", message, None);
            }
            Ok(_) => {
                let message = format!(
                    "{} was left over: it is not whole, or the ledger has changed since, and it does not count",
                    path.display()
                );
                found.note("warning", "unsynced-left-over", message, Some(format!("rm {}", shell_path(&path))));
            }
            // That is told of the ledger itself.
            Err(_) => {}
        }
    }

    fn locks_held(&self, place: &Place, now_ms: u64, found: &mut Found) {
        let (home, owner, mut left) = (place.locks(), place.anchor.owner(), LeftBehind::default());
        if let Ok(stat) = home.stat() {
            let path = home.path();
            let unusable = |what: &str, fix: String, found: &mut Found| {
                let message = format!("{} {what}: no lock can be taken, so nothing is refreshed", path.display());
                found.note("error", "locks-unusable", message, Some(fix));
            };
            if !stat.is_dir() {
                return unusable("is not a directory", set_aside(&path), found);
            }
            if stat.user != owner && stat.user != 0 {
                let what = format!("belongs to user {}, and the vault to user {owner}", stat.user);
                return unusable(&what, set_aside(&path), found);
            }
            if stat.mode & 0o022 != 0 {
                let what = format!("may be written by others (mode {:04o})", stat.mode);
                return unusable(&what, format!("chmod 700 {}", shell_path(&path)), found);
            }
            let Ok(folder) = home.folder.open(&home.name) else { return };
            let wanted = Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK;
            let access = rustix::fs::accessat(&folder, ".", wanted, AtFlags::EACCESS);
            // That it lies on a file system that is read-only is told of the vault.
            if access.is_err_and(|error| error != rustix::io::Errno::ROFS) {
                let folder = shell_path(&path);
                let fix = format!("sudo chown \"$(id -u)\" {folder} && chmod 700 {folder}");
                return unusable("may not be written", fix, found);
            }
            let folder = std::sync::Arc::new(folder);
            left = LeftBehind::read(&Spot { folder: folder.clone(), name: LEFT_BEHIND.into() });
            let documents = Kind::ALL.into_iter().filter(|kind| *kind != Kind::Profiles).map(super::Claim::Document);
            for claim in documents.chain((0..GRANT_LOCKS).map(super::Claim::Grant)) {
                let lock = Spot { folder: folder.clone(), name: claim.lock_name().into() };
                tried(&lock, owner, true, now_ms, found);
            }
        }
        for lock in foreign_locks(&place.anchor, self.foreign_lock) {
            tried(&lock, owner, false, now_ms, found);
        }
        for mark in marks(&place.anchor, self.foreign_lock) {
            made(&mark, mark.look((self.now)(), &left), found);
        }
    }
}

/// What another tool's lock says of its maker.
fn made(mark: &Mark, sign: Result<Sign, StorageError>, found: &mut Found) {
    let at = mark.at.path();
    let (path, tool) = (at.display(), mark.tool);
    let remove = format!("{} {}", if mark.is_folder { "rmdir" } else { "rm" }, shell_path(&at));
    let stale_s = mark.stale_after.as_secs();
    let (severity, message, fix) = match sign {
        Ok(Sign::Gone) => return,
        Ok(Sign::Lives(age)) => (
            "ok",
            format!(
                "{path} is held: {tool}, or a lazaret, refreshes the login. Its last sign of life is {} s old",
                age.as_secs()
            ),
            format!("ls -ld {}", shell_path(&at)),
        ),
        Ok(Sign::OfOurs) => (
            "ok",
            format!(
                "{path} was made by a lazaret, which refreshes the login, or was killed: then the next refresh removes it"
            ),
            format!("ls -ld {}", shell_path(&at)),
        ),
        Ok(Sign::Stale(age)) => (
            "warning",
            format!(
                "{path} was left behind: {tool} has shown no sign of life for {} s. The next refresh removes it",
                age.as_secs()
            ),
            remove,
        ),
        Ok(Sign::InTheFuture(ahead) | Sign::StaleInTheFuture(ahead)) => (
            "warning",
            format!(
                "{path} is dated {} s ahead, so {tool} may wait for it for that long. A refresh removes it once it has seen it \
                 unchanged for {stale_s} s; if {tool} does not run, remove it yourself",
                ahead.as_secs()
            ),
            remove,
        ),
        Err(error) => ("error", error.message, format!("ls -ld {}", shell_path(&at))),
    };
    found.note(severity, "lock-held", message, Some(fix));
}

/// Whether somebody holds a lock at this moment.
fn tried(at: &Spot, owner: u32, is_ours: bool, now_ms: u64, found: &mut Found) {
    let stat = match at.stat() {
        Ok(stat) => stat,
        // It is made when it is first wanted.
        Err(_) => return,
    };
    let path = &*at.path();
    if !stat.is_file() {
        let message = format!("the lock {} is not a file: it cannot be taken", path.display());
        return found.note("error", "locks-unusable", message, Some(set_aside(path)));
    }
    if let Err(error) = super::belongs_to(owner, &stat, path) {
        return found.note("error", "locks-unusable", error.message, Some(set_aside(path)));
    }
    let file: File = match at.folder.open_file(&at.name, OFlags::RDONLY | OFlags::NONBLOCK) {
        Ok(file) => file,
        Err(error) => {
            let message = format!("the lock {} cannot be opened: {error}", path.display());
            let fix = format!("sudo chown \"$(id -u)\" {0} && chmod 600 {0}", shell_path(path));
            return found.note("error", "locks-unusable", message, Some(fix));
        }
    };
    // Shared, so that two who only look do not take each other for a holder.
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
        Err(TryLockError::Error(error)) => {
            let message = format!("the lock {} cannot be taken on this file system: {error}", path.display());
            return found.note("error", "locks-unusable", message, Some(format!("df -T {}", shell_path(path))));
        }
        Ok(()) => return, // closing lets go of it
    }
    let holder = if is_ours { Hint::read(&file).map(Holder::from).unwrap_or_default() } else { Holder::default() };
    let name = if holder.name.is_empty() { "a program" } else { &holder.name };
    let held_ms = holder.since_ms.map(|since_ms| now_ms.saturating_sub(since_ms));
    let since = held_ms.map_or_else(String::new, |held_ms| format!(", for {} s", held_ms / 1_000));
    let message = format!("{} is held by {name} at this moment{since}", path.display());
    let severity = if held_ms.is_some_and(|held_ms| held_ms > LONG_HELD_MS) { "warning" } else { "ok" };
    found.note(severity, "lock-held", message, Some(format!("fuser -v {}", shell_path(path))));
}

fn unsafe_way(vault: &Path, error: &StorageError, found: &mut Found) {
    let code = if error.code == "unsafe" { "link-unsafe" } else { "path-unusable" };
    found.note("error", code, error.message.clone(), Some(format!("namei -l {}", shell_path(vault))));
}

fn links(place: &Place, found: &mut Found) {
    for link in &place.anchor.links {
        let message = format!("{} is a link; the vault is {}", link.path().display(), place.anchor.target().display());
        found.note("ok", "linked", message, None);
    }
}

/// The vault's file and its directory.
fn around(vault: &Spot, user: u32, found: &mut Found) {
    let path = vault.path();
    if let Ok(stat) = vault.stat() {
        rights(&path, &stat, found);
        owner(&path, stat.user, user, found);
        if stat.names > 1 {
            let message = format!(
                "{} has {} names (hard links): a store gives this one the new tokens, and the others keep the old ones, which are \
                 spent then. Let no program use another name",
                path.display(),
                stat.names
            );
            let folder = shell_path(&vault.folder.path);
            let fix = format!("find {folder} -xdev -samefile {}", shell_path(&path));
            found.note("warning", "hard-linked", message, Some(fix));
        }
    }
    folder_rights(&vault.folder, user, found);
    if let Some(obstacle) = replaceable::look(vault) {
        not_replaceable(&obstacle, user, found);
    }
    if let Ok(disk) = rustix::fs::fstatvfs(&*vault.folder) {
        room(&vault.folder.path, disk.f_bavail.saturating_mul(disk.f_frsize), found);
    }
}

/// The same as a refresh says before it sends anything.
fn not_replaceable(obstacle: &Obstacle, user: u32, found: &mut Found) {
    let (code, fix) = match obstacle {
        Obstacle::Mounted(file) => ("vault-mounted", format!("findmnt -T {}", shell_path(file))),
        Obstacle::ReadOnly(folder) => ("vault-read-only", format!("findmnt -T {}", shell_path(folder))),
        Obstacle::Immutable(path) => ("vault-immutable", format!("sudo chattr -i -a {}", shell_path(path))),
        Obstacle::Folder(folder) => {
            ("directory-closed", format!("sudo chown {user} {0} && chmod u+wx {0}", shell_path(folder)))
        }
        // Each is told of already, in its own words.
        Obstacle::NotOwner { .. } | Obstacle::NoRoom(_) => return,
    };
    let message = format!("{}: nothing can be stored, so nothing is refreshed; {}", obstacle.cause(), obstacle.cure());
    found.note("error", code, message, Some(fix));
}

/// What lies beside the vault is its owner's or root's.
fn beside(at: &Spot, of: u32, has_secrets: bool, found: &mut Found) {
    let Ok(stat) = at.stat() else { return };
    let path = at.path();
    if let Err(error) = super::belongs_to(of, &stat, &path) {
        found.note("error", "owner-beside", error.message, Some(set_aside(&path)));
    } else if has_secrets {
        rights(&path, &stat, found);
    }
}

/// Nobody else may read it; its group only if somebody wants that.
fn rights(path: &Path, stat: &Stat, found: &mut Found) {
    let mode = stat.mode;
    if mode & 0o007 != 0 {
        let message = format!("{} has the mode {mode:04o}: others than its owner may open it", path.display());
        found.note("error", "mode-wide", message, Some(format!("chmod 600 {}", shell_path(path))));
    } else if mode & 0o070 != 0 {
        let message = format!(
            "{} has the mode {mode:04o}: everybody in group {} may open it. A store keeps that",
            path.display(),
            stat.group
        );
        found.note("warning", "mode-group", message, Some(format!("chmod 600 {}", shell_path(path))));
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
        found.note("error", "directory-open", message, Some(format!("chmod go-w {}", shell_path(path))));
    }
    if stat.user != 0 {
        owner(path, stat.user, user, found);
    }
}

/// Whoever owns it can do anything with it.
fn owner(path: &Path, of: u32, user: u32, found: &mut Found) {
    if of == user {
        return;
    }
    // Root becomes whom a vault belongs to, and may use what lies in somebody's directory.
    let severity = if user == 0 { "ok" } else { "error" };
    let message = format!("{} belongs to user {of}, and you are user {user}", path.display());
    let fix = (user != 0).then(|| format!("sudo chown {user} {}", shell_path(path)));
    found.note(severity, "owner-other", message, fix);
}

fn room(folder: &Path, free: u64, found: &mut Found) {
    if free < LITTLE_ROOM {
        let message = format!(
            "the disk of {} has {} left: new tokens may find no room",
            folder.display(),
            super::errors::size(free)
        );
        let severity = if free < LITTLE_ROOM / 16 { "error" } else { "warning" };
        found.note(severity, "disk-full", message, Some(format!("df -h {}", shell_path(folder))));
    }
}

fn set_aside(path: &Path) -> String {
    let path = shell_path(path);
    format!("mv -i {path} {path}.aside")
}

/// A path as one word of a command.
pub(crate) fn shell_path(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:/@%+=-".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_plain) && !text.starts_with('-') {
        return text;
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::PathBuf;

    use super::super::super::{AcquireOutcome, Scope, Storage, VAULT};
    use super::*;

    /// A vault as lazaret makes one.
    fn vault() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().canonicalize().expect("a path").join("auth.json");
        fs::write(&path, "{}").expect("written");
        chmod(&path, 0o600);
        (dir, path)
    }

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
    }

    /// Severity, code and fix of what is not well, and what is worth knowing.
    fn found(path: &Path) -> Vec<(String, String, String)> {
        of(FileStorage::open(path).checkup())
    }

    fn of(findings: Vec<Finding>) -> Vec<(String, String, String)> {
        let each = findings.into_iter();
        each.map(|finding| (finding.severity, finding.code, finding.fix.unwrap_or_default())).collect()
    }

    fn one(severity: &str, code: &str, fix: String) -> Vec<(String, String, String)> {
        vec![(severity.to_owned(), code.to_owned(), fix)]
    }

    #[test]
    fn around_a_vault_as_it_should_be_nothing_is_found() {
        let (_dir, path) = vault();
        assert_eq!(found(&path), []);
        let storage = FileStorage::open(&path);
        let scope = Scope::Document(VAULT.into());
        let AcquireOutcome::Acquired(lease) = storage.acquire(&scope, 0, 0).expect("free") else { panic!("held") };
        storage.release(&lease.lease);
        assert_eq!(of(storage.checkup()), []);
    }

    #[test]
    fn a_mode_that_is_too_wide_is_found_in_the_vault_and_in_what_is_sealed() {
        let (_dir, path) = vault();
        chmod(&path, 0o644);
        assert_eq!(found(&path), one("error", "mode-wide", format!("chmod 600 {}", path.display())));
        // A group that shares a login keeps it: that is somebody's wish.
        chmod(&path, 0o640);
        assert_eq!(found(&path), one("warning", "mode-group", format!("chmod 600 {}", path.display())));
        chmod(&path, 0o600);
        let sealed = path.with_file_name("auth.json.lazaret-sealed");
        fs::write(&sealed, "{}").expect("written");
        chmod(&sealed, 0o604);
        assert_eq!(found(&path), one("error", "mode-wide", format!("chmod 600 {}", sealed.display())));
    }

    #[test]
    fn a_directory_that_others_can_write_is_found_unless_it_is_sticky() {
        let (dir, path) = vault();
        let folder = path.parent().expect("a folder").display().to_string();
        for mode in [0o770, 0o702] {
            chmod(dir.path(), mode);
            assert_eq!(found(&path), one("error", "directory-open", format!("chmod go-w {folder}")));
        }
        chmod(dir.path(), 0o1777);
        assert_eq!(found(&path), []);
    }

    #[test]
    fn a_link_is_told_of_and_one_that_is_not_safe_is_an_error() {
        let (dir, path) = vault();
        let link = path.with_file_name("link.json");
        symlink(&path, &link).expect("linked");
        let told = FileStorage::open(&link).checkup();
        assert!(told.len() == 1 && told[0].code == "linked" && told[0].severity == "ok", "{told:?}");
        assert!(told[0].message.ends_with(&format!("the vault is {}", path.display())), "{told:?}");
        chmod(dir.path(), 0o777);
        assert_eq!(found(&link), one("error", "link-unsafe", format!("namei -l {}", link.display())));
        chmod(dir.path(), 0o700);
        assert_eq!(found(dir.path())[0].1, "path-unusable");
    }

    #[test]
    fn what_belongs_to_somebody_else_is_found_and_root_is_only_told() {
        let seen = |of: u32, user: u32| {
            let mut found = Found::default();
            owner(Path::new("/v/auth.json"), of, user, &mut found);
            self::of(found.0)
        };
        assert_eq!(seen(1000, 1000), []);
        assert_eq!(seen(1001, 1000), one("error", "owner-other", "sudo chown 1000 /v/auth.json".into()));
        assert_eq!(seen(1000, 0), one("ok", "owner-other", String::new()));
    }

    #[test]
    fn a_lock_that_is_held_is_told_of_and_one_held_for_long_is_a_warning() {
        let (_dir, path) = vault();
        let storage = FileStorage::open(&path);
        let scope = Scope::Grant { document: VAULT.into(), fingerprint: "00000000000000000000000000000000".into() };
        let AcquireOutcome::Acquired(lease) = storage.acquire(&scope, 0, 0).expect("free") else { panic!("held") };
        let lock = path.with_file_name("auth.json.lazaret-locks").join("00");
        let now = FileStorage::open(&path).checkup();
        assert!(now[0].message.contains(&format!("held by pid {}", std::process::id())), "{now:?}");
        assert_eq!(of(now), one("ok", "lock-held", format!("fuser -v {}", lock.display())));
        let mut late = FileStorage::open(&path);
        late.now = || std::time::SystemTime::now() + std::time::Duration::from_secs(200);
        assert_eq!(of(late.checkup()), one("warning", "lock-held", format!("fuser -v {}", lock.display())));
        storage.release(&lease.lease);
        assert_eq!(found(&path), []);
        // The reference's own.
        let theirs = path.with_extension("lock");
        let file = File::create(&theirs).expect("made");
        file.lock().expect("free");
        assert_eq!(found(&path), one("ok", "lock-held", format!("fuser -v {}", theirs.display())));
    }

    #[test]
    fn what_another_tools_lock_says_of_its_maker_is_told() {
        let (_dir, path) = vault();
        let vault = path.with_file_name(".credentials.json");
        fs::write(&vault, r#"{"claudeAiOauth":{}}"#).expect("written");
        chmod(&vault, 0o600);
        let lock = path.with_file_name(".oauth_refresh.lock");
        let (look, remove) = (format!("ls -ld {}", lock.display()), format!("rmdir {}", lock.display()));
        assert_eq!(found(&vault), []);
        let mut storage = FileStorage::open(&vault);
        storage.now = || UNIX_EPOCH + std::time::Duration::from_secs(1_800_000_000);
        fs::create_dir(&lock).expect("theirs");
        for (offset, severity, fix, said) in [
            (0, "ok", &look, "refreshes the login"),
            (-60, "ok", &look, "60 s old"),
            (-61, "warning", &remove, "no sign of life for 61 s"),
            (86_400, "warning", &remove, "dated 86400 s ahead"),
        ] {
            let at = UNIX_EPOCH + std::time::Duration::from_secs(1_800_000_000_u64.saturating_add_signed(offset));
            File::open(&lock).expect("there").set_modified(at).expect("set");
            let told = storage.checkup();
            assert!(told[0].message.contains(said), "{told:?}");
            assert_eq!(of(told), one(severity, "lock-held", fix.clone()));
        }
    }

    #[test]
    fn locks_that_cannot_be_taken_are_found() {
        let (_dir, path) = vault();
        let locks = path.with_file_name("auth.json.lazaret-locks");
        fs::write(&locks, "").expect("written");
        assert_eq!(found(&path), one("error", "locks-unusable", format!("mv -i {0} {0}.aside", locks.display())));
        fs::remove_file(&locks).expect("removed");
        fs::create_dir_all(locks.join("05")).expect("made");
        let lock = locks.join("05");
        assert_eq!(found(&path), one("error", "locks-unusable", format!("mv -i {0} {0}.aside", lock.display())));
    }

    #[test]
    fn what_lies_unsynced_beside_the_ledger_counts_or_is_found() {
        let (_dir, path) = vault();
        let storage = FileStorage::open(&path);
        storage.store("vault.lazaret", "one", None, true, None).expect("stored");
        let version = super::super::super::version_of(b"one");
        storage.store("vault.lazaret", "two", Some(&version), false, None).expect("stored");
        assert_eq!(found(&path), one("ok", "ledger-unsynced", String::new()));
        let beside = path.with_file_name("auth.json.lazaret.unsynced");
        fs::write(&beside, "half").expect("written");
        assert_eq!(found(&path), one("warning", "unsynced-left-over", format!("rm {}", beside.display())));
    }

    #[test]
    fn a_network_file_system_is_found() {
        let (_dir, path) = vault();
        let mut storage = FileStorage::open(&path);
        storage.network_name = |_| Some("NFS");
        assert_eq!(of(storage.checkup()), one("error", "network-file-system", format!("df -T {}", path.display())));
        assert_eq!(of(storage.allow_network_filesystem(true).checkup()), []);
    }

    #[test]
    fn little_room_is_found() {
        let seen = |free: u64| {
            let mut found = Found::default();
            room(Path::new("/v"), free, &mut found);
            of(found.0)
        };
        assert_eq!(seen(LITTLE_ROOM), []);
        assert_eq!(seen(LITTLE_ROOM - 1), one("warning", "disk-full", "df -h /v".into()));
        assert_eq!(seen(4096), one("error", "disk-full", "df -h /v".into()));
    }

    #[test]
    fn a_path_is_one_word_of_a_command() {
        for (path, word) in [("/a/b.c", "/a/b.c"), ("/a b", "'/a b'"), ("/it's", "'/it'\\''s'"), ("-x", "'-x'")] {
            assert_eq!(shell_path(Path::new(path)), word);
        }
    }
}
