//! From a file of an unknown layout no command sends anything, and each says how a person states whose it is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Stdio;

use crate::home::{Home, Ran};
use serde_json::json;

/// Codex CLI's file under another name, in a home whose profile leads to its own server.
fn renamed() -> (Home, PathBuf, String) {
    let home = Home::new();
    home.profiles(
        &json!({ "openai-codex": { "token_endpoint": home.server.token_endpoint(), "client_id": "acme-client" } }),
    );
    let login = home.server.login("acme-client");
    let text = json!({
        "OPENAI_API_KEY": null, "last_refresh": "2020-01-01T00:00:00Z",
        "tokens": { "access_token": "e30.eyJleHAiOjE2MDAwMDAwMDB9.c2ln", "refresh_token": login.refresh_token, "id_token": "i" }
    })
    .to_string();
    fs::create_dir(home.path("work")).expect("made");
    let path = home.path("work/codex-copy.json");
    fs::write(&path, &text).expect("written");
    (home, path, text)
}

fn run(home: &Home, vault: &str, arguments: &[&str]) -> Ran {
    // The last one that is given counts, and the home's own command names its vault.
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_lazaretto"));
    command.arg("--vault").arg(vault).arg("--providers").arg(home.path("providers.json")).arg("--allow-loopback-http");
    command.args(arguments).env("HOME", home.folder.path()).env_remove("XDG_CONFIG_HOME").env_remove("LAZARETTO_VAULT");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it runs");
    // Whoever reads no input may be gone already.
    let _ = child.stdin.take().expect("piped").write_all(b"key-1\n");
    Ran::of(child.wait_with_output().expect("it ends"))
}

#[test]
fn every_command_refuses_a_file_of_an_unknown_layout() {
    let (home, path, text) = renamed();
    let file = path.to_str().expect("text");
    for arguments in [
        &["token", "openai-codex"][..],
        &["refresh", "openai-codex"],
        &["refresh", "--all"],
        &["refresh", "--all", "--due"],
        &["status"],
        &["doctor"],
        &["doctor", "--ask-servers"],
        &["unquarantine", "openai-codex"],
        &["reset", "openai-codex"],
        &["add", "openai-codex"],
        &["remove", "openai-codex"],
        &["logout", "openai-codex"],
        &["import", file],
    ] {
        let ran = run(&home, file, arguments);
        assert_eq!(ran.code, Some(2), "{arguments:?}: {ran:?}");
        assert!(ran.err.contains("--layout NAME") && ran.err.contains(file), "{arguments:?}: {}", ran.err);
    }
    for arguments in [&["import", file, "--move"][..], &["import", file, "--both-will-refresh"]] {
        let ran = run(&home, home.path("auth.json").to_str().expect("text"), arguments);
        assert_eq!(ran.code, Some(2), "{arguments:?}: {ran:?}");
        assert!(ran.err.contains("--layout NAME") && ran.err.contains(file), "{arguments:?}: {}", ran.err);
    }
    assert_eq!(home.server.requests(), 0);
    assert_eq!(fs::read_to_string(&path).expect("a file"), text);
}

#[test]
fn what_a_person_states_is_used_and_said_in_what_to_run() {
    let (home, path, _) = renamed();
    let file = path.to_str().expect("text");
    let imported = run(&home, file, &["import", file, "--layout", "codex"]);
    assert_eq!(imported.code, Some(0), "{imported:?}");
    let told = imported.out.lines().find(|line| line.starts_with("run: lazaretto ")).unwrap_or_default();
    assert!(told.contains(" --layout codex ") && told.ends_with(" token openai-codex"), "{}", imported.out);
    let token = run(&home, file, &["token", "openai-codex", "--layout", "codex"]);
    assert_eq!((token.code, home.server.requests()), (Some(0), 1), "{token:?}");
    let wrong = run(&home, file, &["token", "openai-codex", "--layout", "codecs"]);
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
    assert!(wrong.err.contains("codecs") && wrong.err.contains("claude-code"), "{}", wrong.err);
    // What is stated of the file that is imported is not stated of the vault, and the other way round.
    let moved =
        run(&home, home.path("auth.json").to_str().expect("text"), &["import", file, "--move", "--layout", "codex"]);
    assert_eq!(moved.code, Some(0), "{moved:?}");
    assert!(home.vault()["credential_pool"]["openai-codex"][0]["refresh_token"].is_string());
    assert!(fs::read_to_string(&path).expect("a file").contains("\"tokens\":null"));
}
