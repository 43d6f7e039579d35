//! What comes back is stored where it belongs, or nothing is sent; and what can be stored nowhere is not lost.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::home::{Home, Ran};
use lazaretto_testing::demo_server::Fault;

const PATIENCE: Duration = Duration::from_secs(60);

/// Says that something could not be tried here; where all must be tried that is a failure.
fn skip(why: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{why}");
    println!("SKIPPED: {why}");
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn on(home: &Home, vault: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lazaretto"));
    command.arg("--vault").arg(vault).arg("--providers").arg(home.path("providers.json")).arg("--allow-loopback-http");
    command
        .args(arguments)
        .env_remove("LAZARETTO_VAULT")
        .env("XDG_STATE_HOME", home.path("state"))
        .stdin(Stdio::null());
    command
}

fn refresh_token_in(vault: &Path) -> String {
    let vault: serde_json::Value = serde_json::from_slice(&fs::read(vault).expect("there")).expect("json");
    vault["providers"]["acme"]["tokens"]["refresh_token"].as_str().expect("a token").to_owned()
}

#[test]
fn nothing_is_sent_for_a_vault_that_is_mounted_as_a_single_file() {
    let home = Home::with_expired_login();
    let (inside, before) = (home.path("inside.json"), home.text());
    fs::write(&inside, "").expect("written");
    for options in ["rw", "ro"] {
        let lazaretto = on(&home, &inside, &["token", "acme"]);
        let script = r#"mount --bind "$1" "$2" && mount -o "remount,bind,$3" "$2" || exit 99; shift 3; exec "$@""#;
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", script, "sh"]).arg(home.path("auth.json")).arg(&inside).arg(options);
        command.arg(lazaretto.get_program()).args(lazaretto.get_args()).env("XDG_STATE_HOME", home.path("state"));
        let Ok(output) = command.output() else { return skip("there is no unshare here") };
        let ran = Ran::of(output);
        if ran.code == Some(99) || ran.err.contains("unshare") {
            return skip("nothing can be mounted here");
        }
        assert_eq!((ran.code, home.server.requests()), (Some(1), 0), "{options}: {ran:?}");
        assert!(ran.err.contains("is mounted as a single file") && ran.err.contains("mount its folder"), "{ran:?}");
        assert_eq!((home.text(), fs::read_to_string(&inside).expect("there")), (before.clone(), String::new()));
    }
    assert!(!home.path("inside.json.lazaretto-sealed").exists());
}

#[test]
fn who_is_not_the_owner_sends_nothing_and_shuts_nobody_out() {
    const OWNER: u32 = 54_321;
    const OTHER: u32 = 54_322;
    const GROUP: u32 = 54_323;
    if !is_root() {
        return skip("only root can be two users");
    }
    let home = Home::with_expired_login();
    let vault = home.path("auth.json");
    // The binary may lie where only root may go.
    let binary = home.path("lazaretto");
    // By another process: a file that is open for writing here while another test forks cannot be run.
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_lazaretto")).arg(&binary).status();
    assert!(copied.expect("cp").success());
    chown(&vault, Some(OWNER), Some(GROUP)).expect("given away");
    chown(home.folder.path(), Some(OWNER), Some(GROUP)).expect("given away");
    fs::set_permissions(&vault, Permissions::from_mode(0o640)).expect("set");
    fs::set_permissions(home.folder.path(), Permissions::from_mode(0o777)).expect("set");
    let as_user = |user: u32| {
        let lazaretto = on(&home, &vault, &["token", "acme"]);
        let mut command = Command::new(&binary);
        command.args(lazaretto.get_args()).env("XDG_STATE_HOME", home.path("state")).env("HOME", "/nonexistent");
        Ran::of(command.uid(user).gid(GROUP).current_dir("/").output().expect("it runs"))
    };
    let names = || fs::read_dir(home.folder.path()).expect("a folder").count();
    let before = names();
    let ran = as_user(OTHER);
    assert_eq!((ran.code, home.server.requests()), (Some(1), 0), "{ran:?}");
    assert!(ran.err.contains("belongs to user 54321"), "{ran:?}");
    assert_eq!(names(), before, "nothing of theirs lies beside it");
    let ran = as_user(OWNER);
    assert_eq!((ran.code, home.server.requests()), (Some(0), 1), "{ran:?}");
    let stat = fs::metadata(&vault).expect("there");
    assert_eq!((stat.uid(), stat.gid(), stat.mode() & 0o777), (OWNER, GROUP, 0o640), "its group can still read it");
    let ran = as_user(OTHER);
    assert_eq!((ran.code, home.server.requests()), (Some(0), 1), "a token that is good is served: {ran:?}");
}

#[test]
fn a_folder_that_moves_during_an_exchange_keeps_its_login() {
    let home = Home::with_expired_login();
    let (here, moved) = (home.path("here"), home.path("moved"));
    fs::create_dir(&here).expect("made");
    fs::rename(home.path("auth.json"), here.join("auth.json")).expect("moved");
    home.server.fault([Fault::Held]);
    let mut command = on(&home, &here.join("auth.json"), &["token", "acme"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    assert!(home.server.wait_for_requests(1, PATIENCE));
    fs::rename(&here, &moved).expect("moved");
    home.server.let_go();
    let ran = Ran::of(child.wait_with_output().expect("it ends"));
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{ran:?}");
    assert!(!here.exists(), "nothing is made where it was");
    assert!(home.server.is_live(&refresh_token_in(&moved.join("auth.json"))));
    let ran = Ran::of(on(&home, &moved.join("auth.json"), &["refresh", "acme"]).output().expect("it runs"));
    assert_eq!((ran.code, home.server.requests(), home.server.replays()), (Some(0), 2, 0), "{ran:?}");
}

/// Tokens that can be stored nowhere are stored by the next command.
#[test]
fn unstorable_tokens_are_stored_by_the_next_command() {
    /// Taken away again whatever happens, or the folder stays for ever.
    struct Immutable<'a>(&'a Path);
    impl Drop for Immutable<'_> {
        fn drop(&mut self) {
            let _ = Command::new("chattr").arg("-i").arg(self.0).status();
        }
    }
    let home = Home::with_expired_login();
    let folder = home.path("folder");
    fs::create_dir(&folder).expect("made");
    let vault = folder.join("auth.json");
    fs::rename(home.path("auth.json"), &vault).expect("moved");
    home.server.fault([Fault::Held]);
    let mut command = on(&home, &vault, &["token", "acme"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    assert!(home.server.wait_for_requests(1, PATIENCE));
    let made = Command::new("chattr").arg("+i").arg(&folder).output();
    let is_immutable = made.is_ok_and(|output| output.status.success());
    let immutable = Immutable(&folder);
    home.server.let_go();
    let ran = Ran::of(child.wait_with_output().expect("it ends"));
    if !is_immutable {
        return skip("nothing can be made immutable here");
    }
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.err.contains("the next call stores them") && !ran.err.contains("unsaved"), "{ran:?}");
    let kept = home.path("state/lazaretto/rescue");
    let names: Vec<_> = fs::read_dir(&kept).expect("kept").map(|entry| entry.expect("an entry").path()).collect();
    assert_eq!((names.len(), fs::metadata(&names[0]).expect("there").mode() & 0o777), (1, 0o600));
    drop(immutable);
    let again = Ran::of(on(&home, &vault, &["token", "acme"]).output().expect("it runs"));
    assert_eq!((again.code, &again.out, home.server.requests()), (Some(0), &ran.out, 1), "{again:?}");
    assert!(home.server.is_live(&refresh_token_in(&vault)));
    assert_eq!(fs::read_dir(&kept).expect("there").count(), 0);
}
