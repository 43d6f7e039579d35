//! Root on another user's vault: a library refuses, and the command becomes that user before it opens anything. So whatever that user
//! does meanwhile, nothing is done that this user could not do. Needs root; elsewhere each test says that it was skipped.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use lazaretto_host::storage::{FileStorage, Scope, Storage, VAULT};
use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::home::{Home, Ran};

/// No user that the system knows.
const SOMEBODY: u32 = 54_321;
/// Turns the test below into the attacker's part of another: the folder in which it exchanges two names.
const EXCHANGED: &str = "LAZARETTO_TEST_EXCHANGED";

/// False, and says so, where this is not root.
fn is_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "this needs root");
        println!("SKIPPED: this needs root");
    }
    is_root
}

/// Somebody's folder with a vault whose login has expired.
fn of_somebody() -> Home {
    let home = Home::with_expired_login();
    for name in ["", "auth.json", "providers.json"] {
        chown(home.path(name), Some(SOMEBODY), Some(SOMEBODY)).expect("given away");
    }
    home
}

/// A process of somebody's that exchanges `name` and a link to `target` for as long as it lives.
struct Exchanging(Child);

impl Exchanging {
    fn begin(folder: &Path, name: &str, target: &Path) -> Self {
        let link = folder.join(format!("{name}.x"));
        symlink(target, &link).expect("linked");
        std::os::unix::fs::lchown(&link, Some(SOMEBODY), Some(SOMEBODY)).expect("given away");
        let mut command = Command::new("/proc/self/exe");
        command
            .args(["--exact", "root::exchange_two_names_in_another_process", "--nocapture"])
            .env(EXCHANGED, folder.join(name));
        Self(command.uid(SOMEBODY).gid(SOMEBODY).stdout(Stdio::null()).spawn().expect("this binary runs again"))
    }
}

impl Drop for Exchanging {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn exchange_two_names_in_another_process() {
    let Some(name) = std::env::var_os(EXCHANGED).map(PathBuf::from) else { return };
    let link = PathBuf::from(format!("{}.x", name.display()));
    loop {
        // The one or the other may be missing for a moment.
        let _ = renameat_with(CWD, &name, CWD, &link, RenameFlags::EXCHANGE);
    }
}

fn names_in(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").file_name());
    entries.map(|name| name.to_string_lossy().into_owned()).collect()
}

/// A folder in which only root may create anything.
fn of_root() -> tempfile::TempDir {
    let folder = tempfile::TempDir::new().expect("a folder");
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("set");
    folder
}

#[test]
fn the_command_leaves_everything_to_the_vaults_owner() {
    if !is_root() {
        return;
    }
    let home = of_somebody();
    let ran = home.run(&["token", "acme"]);
    assert_eq!((ran.code, home.server.requests()), (Some(0), 1), "{ran:?}");
    let mut folders = vec![home.folder.path().to_owned()];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let stat = fs::symlink_metadata(&path).expect("there");
            assert_eq!((stat.uid(), stat.gid()), (SOMEBODY, SOMEBODY), "{}", path.display());
            files += 1;
            folders.extend(stat.is_dir().then_some(path));
        }
    }
    assert!(files > 5, "a ledger and locks as well: {files}");
    // What the owner may not read is not read for them.
    fs::set_permissions(home.path("providers.json"), Permissions::from_mode(0o600)).expect("set");
    chown(home.path("providers.json"), Some(0), Some(0)).expect("taken back");
    let ran = home.run(&["refresh", "acme"]);
    assert_ne!(ran.code, Some(0), "{ran:?}");
    assert!(ran.err.contains("providers.json") && ran.err.to_lowercase().contains("denied"), "{ran:?}");
}

/// Root becomes whom a vault belongs to only where a person named that vault.
#[test]
fn root_finds_no_login_in_a_known_vault_of_another_user() {
    if !is_root() {
        return;
    }
    let (home, of_root) = (of_somebody(), of_root());
    let config = of_root.path().join("lazaretto");
    fs::create_dir(&config).expect("made");
    let known = serde_json::json!({ "vaults": [{ "path": home.path("auth.json") }] });
    fs::write(config.join("vaults.json"), known.to_string()).expect("written");
    let before = home.text();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_lazaretto"));
    command.arg("--providers").arg(home.path("providers.json")).args(["--allow-loopback-http", "token", "acme"]);
    command.env("XDG_CONFIG_HOME", of_root.path()).env("HOME", of_root.path()).env_remove("LAZARETTO_VAULT");
    let ran = Ran::of(command.output().expect("it runs"));
    assert!(ran.code != Some(0) && ran.out.is_empty() && !ran.err.contains("using"), "{ran:?}");
    assert_eq!((home.text(), home.server.requests()), (before, 0));
}

#[test]
fn a_new_vault_belongs_to_whom_its_folder_belongs_to() {
    if !is_root() {
        return;
    }
    let home = Home::new();
    chown(home.folder.path(), Some(SOMEBODY), Some(SOMEBODY)).expect("given away");
    let mut command = home.command(&["add", "acme"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    std::io::Write::write_all(&mut child.stdin.take().expect("piped"), b"sk-of-somebody\n").expect("written");
    let ran = Ran::of(child.wait_with_output().expect("it runs"));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(fs::metadata(home.path("auth.json")).expect("there").uid(), SOMEBODY);
}

/// Whatever its owner exchanges the command writes nothing as root.
#[test]
fn exchanged_names_never_make_the_command_write_as_root() {
    if !is_root() {
        return;
    }
    let (home, elsewhere) = (of_somebody(), of_root());
    assert_eq!(home.run(&["token", "acme"]).code, Some(0), "so that there are locks");
    let exchanging = Exchanging::begin(home.folder.path(), "auth.json.lazaretto-locks", elsewhere.path());
    for _ in 0..12 {
        home.run(&["refresh", "acme"]);
        assert_eq!(names_in(elsewhere.path()), BTreeSet::new());
    }
    drop(exchanging);

    // The vault's own folder.
    let (home, elsewhere) = (of_somebody(), of_root());
    let folder = home.path("folder");
    fs::create_dir(&folder).expect("made");
    fs::rename(home.path("auth.json"), folder.join("auth.json")).expect("moved");
    chown(&folder, Some(SOMEBODY), Some(SOMEBODY)).expect("given away");
    let exchanging = Exchanging::begin(home.folder.path(), "folder", elsewhere.path());
    for _ in 0..12 {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lazaretto"));
        command.arg("--vault").arg(folder.join("auth.json")).arg("--providers").arg(home.path("providers.json"));
        Ran::of(command.args(["--allow-loopback-http", "refresh", "acme"]).output().expect("it runs"));
        assert_eq!(names_in(elsewhere.path()), BTreeSet::new());
    }
    drop(exchanging);
}

/// Whatever its owner exchanges a library of roots writes nothing.
#[test]
fn exchanged_names_never_make_a_root_library_write() {
    if !is_root() {
        return;
    }
    let (home, elsewhere) = (of_somebody(), of_root());
    let locks = home.path("auth.json.lazaretto-locks");
    fs::create_dir(&locks).expect("made");
    chown(&locks, Some(SOMEBODY), Some(SOMEBODY)).expect("given away");
    let exchanging = Exchanging::begin(home.folder.path(), "auth.json.lazaretto-locks", elsewhere.path());
    for _ in 0..500 {
        let storage = FileStorage::open(home.path("auth.json"));
        let refused = storage.acquire(&Scope::Document(VAULT.into()), 1, 0).expect_err("refused");
        assert_eq!(refused.code, "unsafe", "{refused}");
        assert_eq!(storage.store("vault.lazaretto", "{}", None, true, None).map_err(|e| e.code), Err("unsafe"));
    }
    drop(exchanging);
    assert_eq!(names_in(elsewhere.path()), BTreeSet::new());
}

/// Root's own vault in a folder where somebody else may exchange names: the folder of locks that was opened is the one that was
/// looked at, or none.
#[test]
fn roots_own_locks_are_never_made_where_somebody_points_them() {
    if !is_root() {
        return;
    }
    let (folder, elsewhere) = (of_root(), of_root());
    let vault = folder.path().join("auth.json");
    fs::write(&vault, "{}").expect("written");
    fs::set_permissions(&vault, Permissions::from_mode(0o600)).expect("set");
    fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).expect("set");
    fs::create_dir(folder.path().join("auth.json.lazaretto-locks")).expect("made");
    let exchanging = Exchanging::begin(folder.path(), "auth.json.lazaretto-locks", elsewhere.path());
    let mut outcomes = BTreeSet::new();
    for _ in 0..2_000 {
        let storage = FileStorage::open(&vault);
        let outcome = storage.acquire(&Scope::Document(VAULT.into()), 1, 0);
        outcomes.insert(outcome.map_or_else(|error| error.code, |_| "acquired"));
    }
    drop(exchanging);
    assert_eq!(names_in(elsewhere.path()), BTreeSet::new(), "{outcomes:?}");
}
