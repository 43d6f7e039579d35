//! Several vaults: the list of those that are known, and what `status --all` shows of them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::home::{Home, Ran};
use serde_json::{Value, json};

/// With a config directory of its own, and the vault in use not named.
fn run(home: &Home, arguments: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lazaretto"));
    command.args(arguments).current_dir(home.folder.path());
    command.env_remove("LAZARETTO_VAULT").env("XDG_CONFIG_HOME", home.path("config"));
    Ran::of(command.output().expect("it runs"))
}

fn vault(home: &Home, name: &str, provider: &str) {
    let path = home.path(name);
    fs::create_dir_all(path.parent().expect("a directory")).expect("made");
    let login = json!({ "tokens": { "access_token": "at-x", "refresh_token": "rt-x" } });
    fs::write(&path, json!({ "providers": { provider: login } }).to_string()).expect("written");
    // One that everybody may read is warned of.
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("chmod");
}

/// Every known vault is shown under its path and one that is broken hides no other.
#[test]
fn every_known_vault_is_shown_and_a_broken_one_hides_none() {
    let home = Home::new();
    vault(&home, "config/lazaretto/auth.json", "xai-oauth");
    vault(&home, "other/auth.json", "nous");
    for _ in 0..2 {
        assert_eq!(run(&home, &["vaults", "add", "other/auth.json"]).code, Some(0));
    }
    let listed = run(&home, &["vaults"]);
    let lines: Vec<&str> = listed.out.lines().collect();
    assert!(lines.len() == 2 && lines[0].ends_with("config/lazaretto/auth.json"), "{lines:?}");
    assert!(Path::new(lines[1]).is_absolute() && lines[1].ends_with("other/auth.json"), "{lines:?}");

    let shown = run(&home, &["status", "--all"]);
    assert_eq!((shown.code, shown.err.as_str()), (Some(0), ""));
    let at = |what: &str| shown.out.find(what).unwrap_or_else(|| panic!("{what}: {}", shown.out));
    assert!(at(lines[0]) < at("xai-oauth") && at("xai-oauth") < at(lines[1]) && at(lines[1]) < at("nous"));

    vault(&home, "broken.json", "nous");
    assert_eq!(run(&home, &["vaults", "add", "broken.json"]).code, Some(0));
    fs::write(home.path("broken.json"), "{").expect("written");
    fs::set_permissions(home.path("broken.json"), fs::Permissions::from_mode(0o600)).expect("chmod");
    vault(&home, "last/auth.json", "anthropic");
    run(&home, &["vaults", "add", "last/auth.json"]);
    let shown = run(&home, &["status", "--all"]);
    assert_eq!(shown.code, Some(1));
    assert!(shown.out.contains("cannot be read") && shown.out.contains("anthropic"), "{shown:?}");
    let json = run(&home, &["status", "--all", "--json"]);
    let vaults: Vec<Value> = json.out.lines().map(|line| serde_json::from_str(line).expect("json")).collect();
    assert!(vaults.len() == 3 && vaults[2]["credentials"][0]["provider"] == "anthropic", "{json:?}");
    assert!(json.err.lines().count() == 1 && json.err.contains("broken.json"), "{json:?}");

    run(&home, &["vaults", "remove", "broken.json"]);
    assert!(home.path("broken.json").exists());
    assert_eq!(run(&home, &["status", "--all"]).code, Some(0));
}

#[test]
fn a_default_vault_that_is_not_there_is_not_shown_beside_others() {
    let home = Home::new();
    let shown = run(&home, &["status", "--all"]);
    assert!(shown.code == Some(1) && shown.out.contains("no vault yet"), "{shown:?}");
    vault(&home, "other/auth.json", "nous");
    run(&home, &["vaults", "add", "other/auth.json"]);
    let shown = run(&home, &["status", "--all"]);
    assert!(shown.code == Some(0) && !shown.out.contains("config/lazaretto"), "{shown:?}");
}

#[test]
fn a_list_that_cannot_be_read_is_named_and_left() {
    let home = Home::new();
    fs::create_dir_all(home.path("config/lazaretto")).expect("made");
    fs::write(home.path("config/lazaretto/vaults.json"), "[not json").expect("written");
    for arguments in [&["vaults"][..], &["vaults", "add", "x"], &["status", "--all"]] {
        let ran = run(&home, arguments);
        assert!(ran.code == Some(1) && ran.err.contains("vaults.json: it is not JSON (line 1"), "{ran:?}");
    }
    assert_eq!(fs::read_to_string(home.path("config/lazaretto/vaults.json")).expect("there"), "[not json");
}
