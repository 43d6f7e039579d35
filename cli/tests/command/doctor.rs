//! `lazaretto doctor` as its user runs it: what it finds, what it says, and that the commands it shows mend what they are for.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::home::{Home, Ran};
use serde_json::Value;

/// A vault that lazaretto itself has used.
fn used() -> Home {
    let home = Home::with_expired_login();
    fs::set_permissions(home.path("auth.json"), fs::Permissions::from_mode(0o600)).expect("chmod");
    fs::set_permissions(home.folder.path(), fs::Permissions::from_mode(0o700)).expect("chmod");
    assert_eq!(home.run(&["token", "acme"]).code, Some(0));
    home
}

/// Code and fix of whatever is not well.
fn troubles(home: &Home) -> Vec<(String, String)> {
    let found = findings(home);
    found.into_iter().map(|finding| (text(&finding["code"]), text(&finding["fix"]))).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Whatever is not well.
fn findings(home: &Home) -> Vec<Value> {
    let ran = home.run(&["doctor", "--json"]);
    let told: Value = serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    let findings = told["findings"].as_array().expect("a list");
    let errors = findings.iter().filter(|finding| finding["severity"] == "error").count();
    assert_eq!((told["healthy"] == true, ran.code), (errors == 0, Some(i32::from(errors > 0))), "{ran:?}");
    findings.iter().filter(|finding| finding["severity"] != "ok").cloned().collect()
}

/// As a person pastes it, whose shell finds lazaretto.
fn paste(command: &str) -> Ran {
    let binary = Path::new(env!("CARGO_BIN_EXE_lazaretto")).parent().expect("a folder");
    let path = format!("{}:{}", binary.display(), std::env::var("PATH").unwrap_or_default());
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).env("PATH", path).env_remove("LAZARETTO_VAULT");
    Ran::of(shell.output().expect("sh runs"))
}

/// A vault that is in use is well and its server is asked for nothing secret.
#[test]
fn a_vault_in_use_is_healthy_and_no_secret_is_sent() {
    let home = used();
    let ran = home.run(&["doctor", "--ask-servers"]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{ran:?}");
    assert!(
        ran.out.contains("is an authorization server (status 400") && ran.out.ends_with("no error, no warning\n"),
        "{ran:?}"
    );
    let token = home.refresh_token();
    assert!(!ran.out.contains(&token), "{ran:?}");
    assert_eq!(troubles(&home), []);
}

#[test]
fn a_server_that_is_gone_is_an_error_only_for_who_asks() {
    let home = used();
    let endpoint = "http://127.0.0.1:1/token";
    home.profiles(&serde_json::json!({ "acme": { "token_endpoint": endpoint, "client_id": "acme-client" } }));
    let ran = home.run(&["doctor", "--ask-servers"]);
    assert!(ran.code == Some(1) && ran.out.contains("server-unreachable"), "{ran:?}");
    assert!(ran.out.contains("fix: curl -sS -o /dev/null -D - -d '' http://127.0.0.1:1/token\n"), "{ran:?}");
    assert_eq!(home.run(&["doctor"]).code, Some(0));
}

#[test]
fn the_commands_it_shows_mend_what_they_are_for() {
    let home = used();
    let ledger = home.path("auth.json.lazaretto");
    let locks = home.path("auth.json.lazaretto-locks");
    let breaks: [(&str, &dyn Fn()); 4] = [
        ("mode-wide", &|| {
            fs::set_permissions(home.path("auth.json"), fs::Permissions::from_mode(0o644)).expect("chmod");
        }),
        ("directory-open", &|| {
            fs::set_permissions(home.folder.path(), fs::Permissions::from_mode(0o777)).expect("chmod");
        }),
        ("ledger-unreadable", &|| fs::write(&ledger, "{ half").expect("written")),
        ("locks-unusable", &|| {
            fs::remove_dir_all(&locks).expect("removed");
            fs::write(&locks, "").expect("written");
        }),
    ];
    for (code, break_it) in breaks {
        break_it();
        let found = troubles(&home);
        assert_eq!(found.iter().map(|(other, _)| other.as_str()).collect::<Vec<_>>(), [code], "{found:?}");
        for (_, fix) in &found {
            let mended = paste(fix);
            assert_eq!(mended.code, Some(0), "{fix} {mended:?}");
        }
        assert_eq!(troubles(&home), [], "{code}");
    }
    assert_eq!(home.run(&["token", "acme"]).code, Some(0));
}

#[test]
fn a_ledger_that_cannot_be_reached_is_named() {
    let home = used();
    let ledger = home.path("auth.json.lazaretto");
    fs::remove_file(&ledger).expect("removed");
    fs::create_dir(&ledger).expect("made");
    let ran = home.run(&["doctor"]);
    assert!(ran.code == Some(1) && ran.out.contains("ledger-unreachable"), "{ran:?}");
    assert!(ran.out.contains(&format!("fix: ls -la {}\n", ledger.display())), "{ran:?}");
}

#[test]
fn a_dead_entry_is_removed_by_the_command_whatever_its_id_is() {
    let home = used();
    let mut vault = home.vault();
    vault["credential_pool"]["acme"] = serde_json::json!([
        { "id": "it's; touch pwned \u{202e}", "auth_type": "oauth", "source": "manual:device_code", "access_token": "at-secret-9",
          "refresh_token": "rt-secret-9", "last_status": "dead" },
        { "id": "bb", "auth_type": "api_key", "source": "manual", "access_token": "key-secret-9" },
    ]);
    home.write(vault.to_string());
    let shown = home.run(&["doctor"]);
    assert_eq!(shown.code, Some(0), "a dead entry is a warning: {shown:?}");
    assert!(!shown.out.contains("secret") && !shown.out.contains('\u{202e}'), "{shown:?}");
    let found = findings(&home);
    assert!(found.len() == 1 && found[0]["code"] == "entry-dead", "{found:?}");
    assert_eq!(found[0]["fix"], Value::Null, "a login would end the one that is alive");
    let mended = paste(&text(&found[0]["alternative"]));
    assert_eq!(mended.code, Some(0), "{mended:?}");
    assert_eq!(home.vault()["credential_pool"]["acme"].as_array().map(Vec::len), Some(1));
    assert_eq!(troubles(&home), []);
}

#[test]
fn a_program_that_puts_a_dead_token_back_is_found_out() {
    let home = used();
    let before = home.text();
    let token = home.refresh_token();
    home.server.revoke(&token);
    assert_eq!(home.run(&["refresh", "acme"]).code, Some(3));
    let risky = |found: &Value| text(&found["alternative"]).ends_with(" unquarantine acme");
    let safe = |found: &Value| text(&found["fix"]).ends_with(" providers acme");
    let found = findings(&home);
    assert!(found.len() == 1 && found[0]["code"] == "quarantined" && risky(&found[0]) && safe(&found[0]), "{found:?}");
    home.write(before);
    let found = findings(&home);
    assert!(found.len() == 1 && found[0]["code"] == "token-dead" && risky(&found[0]) && safe(&found[0]), "{found:?}");
    assert_eq!((&found[0]["provider"], &found[0]["credential"]), (&Value::from("acme"), &Value::from("login")));
}

#[test]
fn a_vault_that_is_not_there_is_an_error_and_nothing_is_made() {
    let home = Home::new();
    let found = troubles(&home);
    assert!(found.len() == 1 && found[0].0 == "vault-absent", "{found:?}");
    assert_eq!(fs::read_dir(home.folder.path()).expect("a folder").count(), 1, "but providers.json");
}

#[test]
fn a_link_that_is_not_followed_is_one_finding() {
    let home = used();
    let (open, target) = (home.path("open"), home.path("open/b/x.json"));
    fs::create_dir_all(home.path("open/b")).expect("made");
    fs::rename(home.path("auth.json"), &target).expect("moved");
    std::os::unix::fs::symlink("open/auth.json", home.path("auth.json")).expect("linked");
    std::os::unix::fs::symlink("b/x.json", open.join("auth.json")).expect("linked");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o775)).expect("chmod");
    let vault = home.path("auth.json").display().to_string();
    assert_eq!(troubles(&home), [("link-unsafe".to_owned(), format!("namei -l {vault}"))]);
}

#[test]
fn what_somebody_else_put_beside_a_vault_is_one_finding() {
    let home = used();
    let ledger = home.path("auth.json.lazaretto");
    if std::os::unix::fs::chown(&ledger, Some(54_321), None).is_err() {
        return; // only root can give a file away
    }
    let fix = format!("mv -n {0} {0}.aside", ledger.display());
    assert_eq!(troubles(&home), [("owner-beside".to_owned(), fix)]);
}

#[test]
fn a_hard_link_is_a_warning_and_no_refusal() {
    let home = used();
    let vault = home.path("auth.json");
    fs::hard_link(&vault, home.path("backup.json")).expect("linked");
    let troubles = troubles(&home);
    let codes: Vec<_> = troubles.iter().map(|(code, _)| code.as_str()).collect();
    assert_eq!(codes, ["hard-linked"]);
    let found = paste(&troubles[0].1);
    assert!(found.out.contains("backup.json") && found.out.contains("auth.json"), "{found:?}");
    assert_eq!(home.run(&["refresh", "acme"]).code, Some(0));
}

/// The fault of a token endpoint that was mistyped is seen by who asks, and its file is opened.
#[test]
fn a_mistyped_token_endpoint_is_found_and_a_wrong_profile_too() {
    let home = used();
    let endpoint = format!("{}/oauth/tokn", home.server.origin());
    home.profiles(&serde_json::json!({
        "acme": { "token_endpoint": endpoint, "client_id": "acme-client" },
        "later": { "token_endpont": "https://later.example/token" },
    }));
    let ran = home.run(&["doctor", "--ask-servers"]);
    let edit = format!("fix: ${{EDITOR:-vi}} {}\n", home.path("providers.json").display());
    assert!(ran.code == Some(1) && ran.out.matches(&edit).count() == 2, "{ran:?}");
    // It answers 404 with an error of its own, as a web framework does.
    assert!(ran.out.contains("warning  not-an-authorization-server: ") && ran.out.contains("profile-wrong"), "{ran:?}");
    assert!(!ran.out.contains("acme: nothing is wrong"), "{ran:?}");
}

#[test]
fn plain_http_without_the_option_is_an_error_with_the_command() {
    let home = used();
    let vault = home.path("auth.json").display().to_string();
    let providers = home.path("providers.json").display().to_string();
    let ran = paste(&format!("lazaretto --vault {vault} --providers {providers} doctor --ask-servers"));
    let fix =
        format!("fix: lazaretto --vault {vault} --providers {providers} --allow-loopback-http doctor --ask-servers\n");
    assert!(ran.code == Some(1) && ran.out.contains("plain-http") && ran.out.contains(&fix), "{ran:?}");
    assert!(!ran.out.contains("server-unreachable"), "one cause, one finding: {ran:?}");
    let mended = paste(fix.trim_start_matches("fix: "));
    assert_eq!(mended.code, Some(0), "{mended:?}");
}

#[test]
fn a_vault_that_everybody_may_open_is_warned_of_at_use() {
    let home = used();
    let vault = home.path("auth.json");
    fs::set_permissions(&vault, fs::Permissions::from_mode(0o644)).expect("chmod");
    for arguments in [&["token", "acme"][..], &["status"], &["--json", "token", "acme"]] {
        let ran = home.run(arguments);
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert_eq!(ran.err.lines().count(), 1, "one line: {ran:?}");
        assert!(ran.err.contains(&format!("run: chmod 600 {}", vault.display())), "{ran:?}");
        assert_eq!(ran.err.contains("\"vault-exposed\""), arguments[0] == "--json", "{ran:?}");
    }
    // A group may share a login.
    fs::set_permissions(&vault, fs::Permissions::from_mode(0o660)).expect("chmod");
    assert_eq!(home.run(&["token", "acme"]).err, "");
    let found = findings(&home);
    assert!(found.len() == 1 && found[0]["code"] == "mode-group" && found[0]["fix"] == Value::Null, "{found:?}");
}

/// A user without rights of root, whatever runs the test.
fn as_user(user: u32, command: &str) -> Option<Ran> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let binary = Path::new(env!("CARGO_BIN_EXE_lazaretto"));
    let copy = Path::new("/tmp").join(format!("lazaretto-of-{}", std::process::id()));
    fs::copy(binary, &copy).ok()?;
    let command = command.replace("lazaretto ", &format!("{} ", copy.display()));
    let id = user.to_string();
    let ran = Command::new("setpriv").args(["--reuid", &id, "--clear-groups", "sh", "-c", &command]).output().ok();
    fs::remove_file(&copy).ok()?;
    ran.map(Ran::of)
}

#[test]
fn a_folder_that_its_user_may_not_write() {
    let home = used();
    let (vault, folder) = (home.path("auth.json"), home.folder.path());
    for entry in fs::read_dir(folder).expect("a folder") {
        let given = Command::new("chown").args(["-R", "54321"]).arg(entry.expect("an entry").path()).status();
        if !given.is_ok_and(|status| status.success()) {
            return; // only root can give files away
        }
    }
    std::os::unix::fs::chown(folder, Some(54_321), None).expect("given");
    fs::set_permissions(folder, fs::Permissions::from_mode(0o555)).expect("chmod");
    let doctor = format!("lazaretto --vault {} --json doctor", vault.display());
    let Some(ran) = as_user(54_321, &doctor) else { return };
    let told: Value = serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    let closed =
        told["findings"].as_array().expect("a list").iter().find(|finding| finding["code"] == "directory-closed");
    let fix = text(&closed.unwrap_or_else(|| panic!("{ran:?}"))["fix"]);
    assert_eq!(fix, format!("chmod u+rwx {}", folder.display()));
    let mended = as_user(54_321, &format!("{fix} && {doctor}")).expect("root");
    assert!(!mended.out.contains("directory-closed"), "{mended:?}");
}

#[test]
fn another_users_vault() {
    let home = used();
    let vault = home.path("auth.json");
    if std::os::unix::fs::chown(&vault, Some(54_321), None).is_err() {
        return; // only root can give a file away
    }
    fs::set_permissions(home.folder.path(), fs::Permissions::from_mode(0o755)).expect("chmod");
    let Some(ran) = as_user(54_322, &format!("lazaretto --vault {} --json doctor", vault.display())) else { return };
    let told: Value = serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    let errors = told["findings"].as_array().expect("a list").iter().filter(|finding| finding["severity"] == "error");
    let of_vault: Vec<_> =
        errors.filter(|finding| finding["code"] == "owner-other").map(|finding| text(&finding["fix"])).collect();
    assert!(of_vault.len() == 1 && of_vault[0].starts_with("sudo -u '#54321' "), "{ran:?}");
    assert!(!ran.out.contains("vault-unreadable"), "one cause, one finding: {ran:?}");
}
