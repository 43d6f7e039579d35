//! A login that is in none but a known vault is found there, and nowhere if a vault was named.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::home::{Home, Ran};
use serde_json::{Value, json};

const CODEX: &str = "openai-codex";

/// A home folder of its own with no vault in it, and a profile that leads `openai-codex` to the server of the test.
fn home() -> Home {
    let home = Home::new();
    fs::create_dir_all(home.path("config/lazaretto")).expect("made");
    home.profiles(&json!({
        "openai-codex": { "token_endpoint": home.server.token_endpoint(), "client_id": "acme-client" },
        "acme": { "token_endpoint": home.server.token_endpoint(), "client_id": "acme-client" },
    }));
    home
}

fn command(home: &Home, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lazaretto"));
    command.arg("--providers").arg(home.path("providers.json")).arg("--allow-loopback-http").args(arguments);
    command.env("HOME", home.folder.path()).env("XDG_CONFIG_HOME", home.path("config"));
    command.env_remove("LAZARETTO_VAULT").env_remove("CODEX_HOME").stdin(Stdio::null());
    command
}

fn run(home: &Home, arguments: &[&str]) -> Ran {
    Ran::of(command(home, arguments).output().expect("it runs"))
}

/// Codex CLI's own file, with an access token that has ended long ago.
fn codex_file(home: &Home, name: &str) -> String {
    let login = home.server.login("acme-client");
    let path = home.path(name);
    fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    let text = json!({
        "OPENAI_API_KEY": null, "last_refresh": "2020-01-01T00:00:00Z",
        "tokens": { "access_token": "e30.eyJleHAiOjE2MDAwMDAwMDB9.c2ln", "refresh_token": login.refresh_token, "id_token": "i" }
    });
    put(&path, text.to_string());
    path.to_str().expect("text").to_owned()
}

/// A vault of our own with one login that is good for a while.
/// A file that nobody else may open: of any other the command warns.
fn put(path: impl AsRef<Path>, text: impl AsRef<[u8]>) {
    fs::write(&path, text).expect("written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("closed");
}

fn vault(path: &Path, provider: &str, access_token: &str) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("made");
    let login = json!({ "tokens": { "access_token": access_token, "refresh_token": "rt", "expires_at": "2999-01-01T00:00:00Z" } });
    put(path, json!({ "providers": { provider: login } }).to_string());
}

#[test]
fn what_was_imported_in_place_gives_its_token() {
    let home = home();
    let file = codex_file(&home, ".codex/auth.json");
    assert_eq!(run(&home, &["import", &file]).code, Some(0));
    let token = run(&home, &["token", CODEX]);
    assert_eq!((token.code, home.server.requests()), (Some(0), 1), "{token:?}");
    assert!(!token.out.trim().is_empty() && token.err.contains(&format!("using {file}")), "{token:?}");
    // The answer names the file to a program too, and nothing else is on standard error.
    let json = run(&home, &["--json", "token", CODEX]);
    let answer: Value = serde_json::from_str(&json.out).expect("json");
    assert_eq!((answer["vault"].as_str(), json.err.as_str()), (Some(file.as_str()), ""));
    // Every command that is about one credential looks there.
    let refreshed = run(&home, &["refresh", CODEX]);
    assert!(refreshed.code == Some(0) && refreshed.err.contains(&file), "{refreshed:?}");
    let reset = run(&home, &["reset", CODEX]);
    assert!(reset.code == Some(2) && reset.err.contains(&file), "there is nothing to reset: {reset:?}");
    let out = run(&home, &["logout", CODEX]);
    assert!(out.code == Some(0) && out.err.contains(&file), "{out:?}");
    assert!(!fs::read_to_string(&file).expect("there").contains("refresh_token\":\"rt"));
}

#[test]
fn a_layout_that_was_stated_is_remembered() {
    let home = home();
    let file = codex_file(&home, "work/copy.json");
    assert_eq!(run(&home, &["import", &file]).code, Some(2));
    assert_eq!(run(&home, &["--layout", "codex", "import", &file]).code, Some(0));
    let token = run(&home, &["token", CODEX]);
    assert!(token.code == Some(0) && token.err.contains(&file), "{token:?}");
    assert_eq!(run(&home, &["status", "--all"]).code, Some(0));
}

#[test]
fn the_default_vault_comes_first_and_a_named_one_alone() {
    let home = home();
    let file = codex_file(&home, ".codex/auth.json");
    run(&home, &["import", &file]);
    vault(&home.path("config/lazaretto/auth.json"), CODEX, "at-default");
    let token = run(&home, &["token", CODEX]);
    assert_eq!((token.out.as_str(), token.err.as_str()), ("at-default\n", ""));
    // What the default one lacks is looked for; what was named is not left.
    vault(&home.path("config/lazaretto/auth.json"), "acme", "at-acme");
    assert!(run(&home, &["token", CODEX]).err.contains(&file));
    let named = home.path("config/lazaretto/auth.json");
    let asked = home.server.requests();
    let missing = run(&home, &["--vault", named.to_str().expect("text"), "token", CODEX]);
    assert!(missing.code == Some(3) && missing.out.is_empty() && !missing.err.contains("using"), "{missing:?}");
    let by_variable = command(&home, &["token", CODEX]).env("LAZARETTO_VAULT", &named).output().expect("it runs");
    assert_eq!(by_variable.status.code(), Some(3));
    assert_eq!(home.server.requests(), asked);
}

#[test]
fn of_two_vaults_a_person_chooses() {
    let home = home();
    let (one, two) = (home.path("one.json"), home.path("two.json"));
    for (path, token) in [(&one, "at-1"), (&two, "at-2")] {
        vault(path, "acme", token);
        assert_eq!(run(&home, &["vaults", "add", path.to_str().expect("text")]).code, Some(0));
    }
    let token = run(&home, &["token", "acme"]);
    assert!(token.code == Some(2) && token.out.is_empty(), "{token:?}");
    for path in [&one, &two] {
        assert!(token.err.contains(&format!("--vault {}", path.display())), "{token:?}");
    }
    // A vault that is known by two paths is one.
    fs::remove_file(&two).expect("removed");
    std::os::unix::fs::symlink(&one, &two).expect("linked");
    let token = run(&home, &["token", "acme"]);
    assert_eq!((token.code, token.out.as_str()), (Some(0), "at-1\n"), "{token:?}");
}

#[test]
fn a_known_vault_that_cannot_be_read_hides_no_other() {
    let home = home();
    let (one, two) = (home.path("one.json"), home.path("two.json"));
    for path in [&one, &two] {
        vault(path, "acme", "at-2");
        assert_eq!(run(&home, &["vaults", "add", path.to_str().expect("text")]).code, Some(0));
    }
    put(&one, "{");
    assert_eq!(run(&home, &["token", "acme"]).out, "at-2\n");
    fs::remove_file(&one).expect("removed");
    assert_eq!(run(&home, &["token", "acme"]).out, "at-2\n");
}

#[test]
fn a_vault_that_cannot_be_read_is_not_added() {
    let home = home();
    put(home.path("broken.json"), "{");
    put(home.path("other.json"), r#"{"some": "thing"}"#);
    for (name, code) in
        [("nope.json", "bad-request"), ("broken.json", "corrupt-vault"), ("other.json", "unknown-layout")]
    {
        let path = home.path(name);
        let added = run(&home, &["--json", "vaults", "add", path.to_str().expect("text")]);
        let error: Value = serde_json::from_str(&added.err).expect("json");
        assert_eq!((added.code, error["error"]["code"].as_str()), (Some(2), Some(code)), "{added:?}");
        assert!(added.err.contains(name), "{added:?}");
    }
    assert!(!home.path("config/lazaretto/vaults.json").exists());
}

/// There is no way back out of a vault of our own form, and no word of a login that is not there.
#[test]
fn what_was_moved_cannot_be_moved_back_and_stays() {
    let home = home();
    let file = codex_file(&home, ".codex/auth.json");
    let moved = run(&home, &["import", &file, "--move"]);
    assert_eq!(moved.code, Some(0), "{moved:?}");
    let ours = home.path("config/lazaretto/auth.json");
    let (text, theirs) = (fs::read_to_string(&ours).expect("there"), fs::read_to_string(&file).expect("there"));
    put(home.path("other.json"), r#"{"version": 1, "providers": {}, "credential_pool": {}}"#);
    for into in [file.as_str(), home.path("other.json").to_str().expect("text")] {
        let back = run(&home, &["--json", "--vault", into, "import", ours.to_str().expect("text"), "--move"]);
        let error: Value = serde_json::from_str(&back.err).expect("json");
        assert_eq!((back.code, error["error"]["code"].as_str()), (Some(2), Some("nothing-to-do")), "{back:?}");
    }
    assert_eq!(fs::read_to_string(&ours).expect("there"), text);
    assert_eq!(fs::read_to_string(&file).expect("there"), theirs);
}
