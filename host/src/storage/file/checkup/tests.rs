use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};

use super::super::super::{AcquireOutcome, Scope, Storage, VAULT};
use super::super::replaceable::Obstacle;
use super::rights::{LITTLE_ROOM, not_replaceable, owner, room};
use super::*;

/// A vault as lazaretto makes one.
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

/// A mode that is too wide is found in the vault and in what is sealed.
#[test]
fn a_too_wide_mode_of_vault_or_sealed_document_is_found() {
    let (_dir, path) = vault();
    chmod(&path, 0o644);
    assert_eq!(found(&path), one("error", "mode-wide", format!("chmod 600 {}", path.display())));
    // A group that shares a login keeps it: that is somebody's wish.
    chmod(&path, 0o640);
    let told = FileStorage::open(&path).checkup();
    assert_eq!(told[0].alternative, Some(format!("chmod 600 {}", path.display())));
    assert_eq!(of(told), one("warning", "mode-group", String::new()));
    chmod(&path, 0o600);
    let sealed = path.with_file_name("auth.json.lazaretto-sealed");
    fs::write(&sealed, "{}").expect("written");
    chmod(&sealed, 0o604);
    assert_eq!(found(&path), one("error", "mode-wide", format!("chmod 600 {}", sealed.display())));
}

/// A directory that others can write is found unless it is sticky.
#[test]
fn a_directory_others_can_write_is_found_unless_sticky() {
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
        let all = ["/v/auth.json".into(), "/v/auth.json.lazaretto".into()];
        owner(Path::new("/v/auth.json"), (of, user), &all, "lazaretto --vault /v/auth.json", &mut found);
        self::of(found.0)
    };
    assert_eq!(seen(1000, 1000), []);
    let run = "sudo -u '#1001' lazaretto --vault /v/auth.json doctor";
    assert_eq!(seen(1001, 1000), one("error", "owner-other", run.into()));
    let give = "sudo chown -hR 1000 /v/auth.json /v/auth.json.lazaretto";
    assert_eq!(seen(0, 1000), one("error", "owner-other", give.into()));
    assert_eq!(seen(1000, 0), one("ok", "owner-other", String::new()));
}

/// A lock that is held is told of and one held for long is a warning.
#[test]
fn a_held_lock_is_reported_and_a_long_held_one_is_a_warning() {
    let (_dir, path) = vault();
    let storage = FileStorage::open(&path);
    let scope = Scope::Grant { document: VAULT.into(), fingerprint: "00000000000000000000000000000000".into() };
    let AcquireOutcome::Acquired(lease) = storage.acquire(&scope, 0, 0).expect("free") else { panic!("held") };
    let lock = path.with_file_name("auth.json.lazaretto-locks").join("00");
    let now = FileStorage::open(&path).checkup();
    assert!(now[0].message.contains(&format!("held by pid {}", std::process::id())), "{now:?}");
    assert_eq!(of(now), one("ok", "lock-held", String::new()));
    let mut late = FileStorage::open(&path);
    late.now = || std::time::SystemTime::now() + std::time::Duration::from_secs(200);
    assert_eq!(of(late.checkup()), one("warning", "lock-held", format!("fuser -v {}", lock.display())));
    storage.release(&lease.lease);
    assert_eq!(found(&path), []);
    // The reference's own.
    let theirs = path.with_extension("lock");
    let file = File::create(&theirs).expect("made");
    file.lock().expect("free");
    assert_eq!(found(&path), one("ok", "lock-held", String::new()));
}

#[test]
fn what_another_tools_lock_says_of_its_maker_is_told() {
    let (_dir, path) = vault();
    let vault = path.with_file_name(".credentials.json");
    fs::write(&vault, r#"{"claudeAiOauth":{}}"#).expect("written");
    chmod(&vault, 0o600);
    let lock = path.with_file_name(".oauth_refresh.lock");
    let remove = Some(format!("rmdir {}", lock.display()));
    assert_eq!(found(&vault), []);
    let mut storage = FileStorage::open(&vault);
    storage.now = || UNIX_EPOCH + std::time::Duration::from_secs(1_800_000_000);
    fs::create_dir(&lock).expect("theirs");
    for (offset, severity, alternative, said) in [
        (0, "ok", &None, "refreshes the login"),
        (-60, "ok", &None, "60 s old"),
        (-61, "warning", &remove, "no sign of life for 61 s"),
        (86_400, "warning", &remove, "dated 86400 s ahead"),
    ] {
        let at = UNIX_EPOCH + std::time::Duration::from_secs(1_800_000_000_u64.saturating_add_signed(offset));
        File::open(&lock).expect("there").set_modified(at).expect("set");
        let told = storage.checkup();
        assert!(told[0].message.contains(said), "{told:?}");
        assert_eq!(told[0].alternative, *alternative);
        assert_eq!(of(told), one(severity, "lock-held", String::new()));
    }
}

#[test]
fn locks_that_cannot_be_taken_are_found() {
    let (_dir, path) = vault();
    let locks = path.with_file_name("auth.json.lazaretto-locks");
    fs::write(&locks, "").expect("written");
    assert_eq!(found(&path), one("error", "locks-unusable", format!("mv -n {0} {0}.aside", locks.display())));
    fs::remove_file(&locks).expect("removed");
    fs::create_dir_all(locks.join("05")).expect("made");
    let lock = locks.join("05");
    assert_eq!(found(&path), one("error", "locks-unusable", format!("mv -n {0} {0}.aside", lock.display())));
}

#[test]
fn what_lies_unsynced_beside_the_ledger_counts_or_is_found() {
    let (_dir, path) = vault();
    let storage = FileStorage::open(&path);
    storage.store("vault.lazaretto", "one", None, true, None).expect("stored");
    let version = super::super::super::version_of(b"one");
    storage.store("vault.lazaretto", "two", Some(&version), false, None).expect("stored");
    assert_eq!(found(&path), [], "one that counts is as it should be");
    let beside = path.with_file_name("auth.json.lazaretto.unsynced");
    fs::write(&beside, "half").expect("written");
    assert_eq!(found(&path), one("ok", "unsynced-left-over", String::new()));
}

#[test]
fn a_network_file_system_is_found() {
    let (_dir, path) = vault();
    let mut storage = FileStorage::open(&path);
    storage.network_name = |_| Some("NFS");
    assert_eq!(of(storage.checkup()), one("error", "network-file-system", format!("df -T {}", path.display())));
    assert_eq!(of(storage.allow_network_filesystem(true).checkup()), []);
}

/// What keeps a vault from being replaced is found with a command.
#[test]
fn an_obstacle_to_replacing_the_vault_is_found_with_a_command() {
    let (_dir, path) = vault();
    let folder = path.parent().expect("a folder").to_owned();
    let (file, user) = (path.display(), rustix::process::geteuid().as_raw());
    for (obstacle, code, fix) in [
        (Obstacle::Mounted(path.clone()), "vault-mounted", format!("findmnt -T {file}")),
        (Obstacle::ReadOnly(folder.clone()), "vault-read-only", format!("findmnt -T {}", folder.display())),
        (Obstacle::Immutable(path.clone()), "vault-immutable", format!("sudo chattr -i -a {file}")),
        (Obstacle::Folder(folder.clone()), "directory-closed", format!("chmod u+rwx {}", folder.display())),
    ] {
        let mut found = Found::default();
        not_replaceable(&obstacle, user, &mut found);
        assert_eq!(of(found.0), one("error", code, fix));
    }
    // A folder of somebody else's changes hands only if a person decides so.
    let mut found = Found::default();
    not_replaceable(&Obstacle::Folder(folder.clone()), user + 1, &mut found);
    let give = format!("sudo chown {0} {1} && chmod u+rwx {1}", user + 1, folder.display());
    assert_eq!(found.0[0].alternative, Some(give));
    assert_eq!(of(found.0), one("error", "directory-closed", format!("ls -ld {}", folder.display())));
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
