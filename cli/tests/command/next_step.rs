//! What an error tells a person to run can be pasted into a shell, and helps; every command that fails for one reason says the same.

use std::env;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::home::{Home, Ran};
use serde_json::{Value, json};

/// In a home folder of its own, with no vault named.
fn command(home: &Home, program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(home.folder.path()).stdin(Stdio::null());
    command.env("HOME", home.folder.path()).env_remove("XDG_CONFIG_HOME").env_remove("LAZARETTO_VAULT");
    command
}

fn run(home: &Home, arguments: &[&str]) -> Ran {
    Ran::of(command(home, env!("CARGO_BIN_EXE_lazaretto"), arguments).output().expect("it runs"))
}

/// The error, as a program gets it.
fn error(home: &Home, arguments: &[&str]) -> (Option<i32>, Value) {
    let ran = run(home, &[&["--json"], arguments].concat());
    let last = ran.err.lines().last().unwrap_or_else(|| panic!("{arguments:?}: {ran:?}"));
    let told: Value = serde_json::from_str(last).unwrap_or_else(|_| panic!("{arguments:?}: {ran:?}"));
    (ran.code, told["error"].clone())
}

/// Pastes a command into a shell that knows this `lazaretto`.
fn paste(home: &Home, told: &str) -> Ran {
    let programs = home.path("bin");
    fs::create_dir_all(&programs).expect("made");
    let _ = symlink(env!("CARGO_BIN_EXE_lazaretto"), programs.join("lazaretto"));
    let path = format!("{}:{}", programs.display(), env::var("PATH").unwrap_or_default());
    Ran::of(command(home, "sh", &["-c", told]).env("PATH", path).output().expect("it runs"))
}

fn vault(path: &Path, provider: &str) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    let login =
        json!({ "tokens": { "access_token": "at-1", "refresh_token": "rt", "expires_at": "2999-01-01T00:00:00Z" } });
    fs::write(path, json!({ "providers": { provider: login } }).to_string()).expect("written");
}

#[test]
fn without_a_vault_every_command_says_the_same() {
    let home = Home::new();
    for arguments in [
        &["token", "xai"][..],
        &["refresh", "xai"],
        &["refresh", "--all"],
        &["reset", "xai"],
        &["unquarantine", "xai"],
        &["remove", "xai"],
        &["logout", "xai"],
        &["status"],
        &["status", "xai"],
    ] {
        let (code, error) = error(&home, arguments);
        assert_eq!(
            (code, error["code"].as_str(), error["action"].as_str()),
            (Some(3), Some("no-credential"), Some("login")),
            "{arguments:?}: {error}"
        );
        let login = if arguments.contains(&"xai") { "lazaretto login xai-oauth" } else { "lazaretto providers" };
        assert_eq!(error["run"].as_str(), Some(login), "{arguments:?}");
    }
    assert_eq!(paste(&home, "lazaretto providers").code, Some(0));
}

/// A mistyped provider is answered with the nearest by every command.
#[test]
fn every_command_answers_a_mistyped_provider_with_the_nearest() {
    let home = Home::new();
    vault(&home.path(".config/lazaretto/auth.json"), "xai-oauth");
    for (arguments, code, exit) in [
        (&["token", "xia-oauth"][..], "unknown-provider", 5),
        (&["refresh", "xia-oauth"], "unknown-provider", 5),
        (&["reset", "xia-oauth"], "unknown-provider", 5),
        (&["unquarantine", "xia-oauth"], "unknown-provider", 5),
        (&["remove", "xia-oauth"], "unknown-provider", 5),
        (&["login", "xia-oauth"], "unknown-provider", 5),
        (&["logout", "xia-oauth"], "unknown-provider", 5),
        (&["providers", "xia-oauth"], "unknown-provider", 5),
        (&["status", "xia-oauth"], "unknown-credential", 2),
    ] {
        let (exited, error) = error(&home, arguments);
        assert_eq!((exited, error["code"].as_str()), (Some(exit), Some(code)), "{arguments:?}: {error}");
        assert!(
            error["message"].as_str().is_some_and(|message| message.contains("xai-oauth")),
            "{arguments:?}: {error}"
        );
        let told = error["run"].as_str().unwrap_or_else(|| panic!("{arguments:?}: {error}"));
        let pasted = paste(&home, told);
        assert!(pasted.code == Some(0) && pasted.out.contains("xai-oauth"), "{told}: {pasted:?}");
    }
}

#[test]
fn a_credential_is_asked_for_by_the_labels_that_there_are() {
    let home = Home::new();
    let keys = json!({ "providers": {}, "credential_pool": { "openrouter": [
        { "id": "d4e5f6", "label": "my key", "auth_type": "api_key", "access_token": "k1", "source": "manual" },
    ] } });
    fs::create_dir_all(home.path(".config/lazaretto")).expect("made");
    fs::write(home.path(".config/lazaretto/auth.json"), keys.to_string()).expect("written");
    let (code, error) = error(&home, &["token", "openrouter", "--credential", "work"]);
    assert_eq!((code, error["code"].as_str()), (Some(2), Some("unknown-credential")), "{error}");
    assert!(error["message"].as_str().is_some_and(|message| message.contains(r#""my key" (d4e5f6)"#)), "{error}");
    assert!(paste(&home, error["run"].as_str().expect("a command")).out.contains("my key"));
    assert_eq!(run(&home, &["token", "openrouter", "--credential", "MY KEY"]).out, "k1\n");
}

/// Http on this machine is refused with the same command that allows it.
#[test]
fn plain_http_is_refused_with_the_command_that_allows_it() {
    let home = Home::with_expired_login();
    let (vault, profiles) = (home.path("auth.json"), home.path("providers.json"));
    let named =
        ["--vault", vault.to_str().expect("text"), "--providers", profiles.to_str().expect("text"), "token", "acme"];
    // Of a login that cannot begin the command carries the options in use, too.
    let (_, unknown) = error(&home, &[&named[..4], &["login", "acne"]].concat());
    let told = unknown["run"].as_str().expect("a command");
    assert!(told.contains("--vault") && told.contains("--providers") && paste(&home, told).code == Some(0), "{told}");
    let (code, error) = error(&home, &named);
    assert_eq!(
        (code, error["code"].as_str(), error["action"].as_str()),
        (Some(5), Some("host-forbids"), Some("configure")),
        "{error}"
    );
    assert_eq!(home.server.requests(), 0);
    let pasted = paste(&home, error["run"].as_str().expect("a command"));
    assert_eq!((pasted.code, home.server.requests()), (Some(0), 1), "{pasted:?}");
}

#[test]
fn of_two_vaults_each_is_named_with_its_command() {
    let home = Home::new();
    for name in ["one vault.json", "two.json"] {
        vault(&home.path(name), "acme");
        assert_eq!(run(&home, &["vaults", "add", name]).code, Some(0));
    }
    let (code, error) = error(&home, &["token", "acme"]);
    assert_eq!((code, error["code"].as_str()), (Some(2), Some("several-vaults")), "{error}");
    let (_, ways) = error["message"].as_str().and_then(|message| message.split_once("Name one: ")).expect("ways");
    let ways: Vec<&str> = ways.split("; or: ").collect();
    assert_eq!(ways.len(), 2);
    for way in ways {
        let pasted = paste(&home, way);
        assert!(pasted.code == Some(0) && pasted.out.contains("at-1"), "{way}: {pasted:?}");
    }
}

#[test]
fn a_settings_file_that_is_wrong_is_named() {
    let home = Home::new();
    vault(&home.path(".config/lazaretto/auth.json"), "acme");
    let settings = home.path(".config/lazaretto/auth.json.lazaretto-settings.json");
    fs::write(&settings, r#"{"ownre": true}"#).expect("written");
    let (code, error) = error(&home, &["refresh", "acme"]);
    assert_eq!((code, error["code"].as_str()), (Some(5), Some("bad-settings")), "{error}");
    let message = error["message"].as_str().unwrap_or_default();
    assert!(message.contains(settings.to_str().expect("text")) && message.contains("ownre"), "{message}");
}
