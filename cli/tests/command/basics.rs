//! The command as a person or a script meets it: what stands on which stream, exit codes, and bad input of every kind, none of
//! which may cost a byte of the vault.

use std::fs::{self, File, TryLockError};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::home::{Home, Ran};
use lazaretto::time::{Zone, to_rfc3339};
use lazaretto_testing::demo_server::{Behaviour, Fault, TokenServer};
use serde_json::{Value, json};
use tempfile::TempDir;

#[test]
fn token_prints_the_token_and_nothing_else() {
    let home = Home::with_expired_login();
    let first = home.run(&["token", "acme"]);
    assert_eq!(first.code, Some(0), "{first:?}");
    assert_eq!(first.err, "");
    let vault: Value = serde_json::from_slice(&fs::read(home.path("auth.json")).expect("a vault")).expect("json");
    assert_eq!(
        first.out,
        format!("{}\n", vault["providers"]["acme"]["tokens"]["access_token"].as_str().expect("a token"))
    );
    let again = home.run(&["token", "acme", "--min-valid", "60"]);
    assert_eq!((again.code, again.out), (Some(0), first.out));
    assert_eq!(home.server.requests(), 1);
}

/// A refused token is read from standard input and never from an argument.
#[test]
fn a_refused_token_is_read_from_stdin_only() {
    let home = Home::with_expired_login();
    let token = home.run(&["token", "acme"]).out;
    let mut child = home
        .command(&["refresh", "acme", "--refused-from-stdin", "--print"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    child.stdin.take().expect("piped").write_all(token.as_bytes()).expect("written");
    let ran = Ran::of(child.wait_with_output().expect("it ends"));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_ne!(ran.out, token);
    // It names a token that is not in the vault any more: what is there is the answer, and nothing is sent.
    let mut child = home.command(&["refresh", "acme", "--refused-from-stdin", "--print"]);
    let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it runs");
    child.stdin.take().expect("piped").write_all(token.as_bytes()).expect("written");
    assert_eq!(Ran::of(child.wait_with_output().expect("it ends")).out, ran.out);
    assert_eq!(home.server.requests(), 2);
}

/// The reference's variable for the folder of the logins that its profiles share.
#[test]
fn a_login_in_hermes_shared_auth_dir_is_refreshed_only_there() {
    let home = Home::with_expired_login();
    home.profiles(&json!({ "nous": { "token_endpoint": home.server.token_endpoint(), "client_id": "demo" } }));
    let mut vault = home.vault();
    vault["providers"]["nous"] =
        json!({ "access_token": "at-old", "refresh_token": "rt-old", "expires_at": "2026-01-01T00:00:00Z" });
    home.write(vault.to_string());
    let shared = home.path("elsewhere");
    fs::create_dir(&shared).expect("made");
    let login = json!({
        "_schema": 1, "access_token": "at-1", "refresh_token": "rt-1", "token_type": "Bearer", "client_id": "hermes-cli",
        "portal_base_url": "https://portal.nousresearch.com", "expires_at": "2026-01-01T00:00:00+00:00",
        "obtained_at": "2026-01-01T00:00:00+00:00",
    });
    fs::write(shared.join("nous_auth.json"), login.to_string()).expect("written");
    let ran =
        Ran::of(home.command(&["token", "nous"]).env("HERMES_SHARED_AUTH_DIR", &shared).output().expect("it runs"));
    assert_eq!((ran.code, home.server.requests()), (Some(5), 0), "{ran:?}");
    assert!(ran.err.contains("elsewhere/nous_auth.json"), "{}", ran.err);
}

#[test]
fn exit_codes_say_what_helps() {
    let home = Home::with_expired_login();
    assert_eq!(home.run(&["token", "nobody-knows"]).code, Some(5));
    assert_eq!(home.run(&["token", "xai"]).code, Some(3));
    assert_eq!(home.run(&["token", "acme", "--credential", "none-such"]).code, Some(2));
    assert_eq!(home.run(&["tokn"]).code, Some(2));
    home.server.fault([Fault::status(429, "application/json", r#"{"error":"slow_down"}"#)]);
    assert_eq!(home.run(&["token", "acme"]).code, Some(4));
    let cooling = home.run(&["token", "acme"]);
    assert_eq!(cooling.code, Some(4));
    assert!(cooling.err.contains("may be tried in"), "{cooling:?}");
    assert_eq!(home.run(&["reset", "acme"]).code, Some(0));
    home.server.fault([Fault::status(401, "application/json", r#"{"error":"invalid_client"}"#)]);
    assert_eq!(home.run(&["token", "acme"]).code, Some(5));
    assert_eq!(home.run(&["reset", "acme"]).code, Some(0));
    home.server.fault([Fault::status(400, "application/json", r#"{"error":"invalid_grant"}"#)]);
    assert_eq!(home.run(&["token", "acme"]).code, Some(3));
    assert_eq!(home.run(&["status"]).code, Some(0));
    assert_eq!(home.run(&["unquarantine", "acme"]).code, Some(0));
    assert_eq!(home.run(&["token", "acme"]).code, Some(0));
}

/// While a refresh is under way the vault can be read and a good token is served.
#[test]
fn during_a_refresh_readers_get_the_good_token() {
    let home = Home::with_expired_login();
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as u64;
    let mut vault = home.vault();
    vault["providers"]["acme"]["tokens"]["expires_in"] = json!(3600);
    vault["providers"]["acme"]["last_refresh"] = json!(to_rfc3339(now_ms, Zone::Letter));
    home.write(vault.to_string());
    home.server.fault([Fault::Held]);
    let refresh = home.command(&["refresh", "acme"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let refresh = refresh.expect("it runs");
    assert!(home.server.wait_for_requests(1, Duration::from_secs(60)));
    // The other program's lock is held from before the send until after the write, and it is a file of its own.
    let lock = File::open(home.path("auth.lock")).expect("it is there");
    assert!(matches!(lock.try_lock(), Err(TryLockError::WouldBlock)));
    assert_eq!(home.text(), vault.to_string());
    let status = home.run(&["status"]);
    assert!(status.code == Some(0) && status.out.contains("acme"), "{status:?}");
    let token = home.run(&["token", "acme"]);
    assert_eq!((token.code, token.out.as_str(), token.err.as_str()), (Some(0), "at-old\n", ""));
    home.server.let_go();
    assert_eq!(Ran::of(refresh.wait_with_output().expect("it ends")).code, Some(0));
    assert!(home.server.is_live(&home.refresh_token()));
    lock.try_lock().expect("it was given back");
    assert_eq!((home.server.requests(), home.server.replays()), (1, 0));
}

/// After a 429 no process sends before the wait is over and each says why.
#[test]
fn after_a_429_no_process_sends_before_the_wait_is_over() {
    let home = Home::with_expired_login();
    home.server.fault([Fault::Status {
        code: 429,
        content_type: "application/json".into(),
        body: r#"{"error":"slow_down"}"#.into(),
        headers: vec![("retry-after".into(), "600".into())],
    }]);
    assert_eq!(home.run(&["token", "acme"]).code, Some(4));
    for command in [&["token", "acme"][..], &["refresh", "acme"], &["token", "acme", "--min-valid", "60"]] {
        let ran = home.run(command);
        assert_eq!((ran.code, ran.out.as_str()), (Some(4), ""), "{ran:?}");
        assert!(ran.err.contains("HTTP 429 slow_down") && ran.err.contains("may be tried in"), "{ran:?}");
    }
    assert_eq!(home.server.requests(), 1);
    assert_eq!(home.run(&["reset", "acme"]).code, Some(0));
    assert_eq!(home.run(&["token", "acme"]).code, Some(0));
}

#[test]
fn an_error_is_one_json_object_where_that_is_asked_for() {
    let home = Home::new();
    home.write("{}");
    let ran = home.run(&["--json", "token", "acme"]);
    let error: Value = serde_json::from_str(ran.err.lines().last().expect("a line")).expect("json");
    assert_eq!((ran.code, &error["error"]["action"]), (Some(3), &json!("login")));
}

/// Every kind of file that is no vault: refused with its path and a reason, and left as it is.
#[test]
fn what_is_no_vault_is_refused_and_left_unchanged() {
    let deep = format!("{{\"providers\":{}1{}}}", "{\"a\":".repeat(200), "}".repeat(200));
    let cases: [(&str, Vec<u8>, &str); 9] = [
        ("not JSON", b"hello".to_vec(), "line 1, column 1"),
        ("truncated", b"{\"providers\": {\"acme\": {\"tokens\"".to_vec(), "line 1, column 33"),
        ("empty", Vec::new(), "nothing in it"),
        ("a list", b"[]".to_vec(), "should hold a JSON object"),
        ("trailing", b"{}\n{}".to_vec(), "line 2, column 1"),
        ("byte-order mark", b"\xef\xbb\xbf{}".to_vec(), "byte-order mark"),
        ("not UTF-8", b"{\"a\": \"\xff\xfe\"}".to_vec(), "UTF-8"),
        ("deep nesting", deep.into_bytes(), "nesting deeper"),
        ("50 MB", [b"{\"a\": \"".to_vec(), vec![b'x'; 50_000_000], b"\"}".to_vec()].concat(), "16"),
    ];
    for (name, text, reason) in cases {
        let home = Home::new();
        home.write(&text);
        for command in [&["token", "acme"][..], &["refresh", "acme"], &["status"], &["reset", "acme"]] {
            let ran = home.run(command);
            assert_eq!(ran.code, Some(1), "{name} {command:?}: {}", ran.err);
            assert!(ran.err.contains(reason), "{name} {command:?}: {}", ran.err);
            assert!(ran.err.contains("auth.json"), "{name} {command:?}: {}", ran.err);
            assert_eq!(ran.out, "", "{name} {command:?}");
        }
        assert!(fs::read(home.path("auth.json")).expect("there") == text, "{name}: not a byte changed");
        let left: Vec<_> = fs::read_dir(home.folder.path())
            .expect("a folder")
            .filter_map(Result::ok)
            .map(|entry| entry.file_name())
            .collect();
        assert!(!left.iter().any(|name| name.to_string_lossy().contains("tmp")), "{name}: {left:?}");
    }
}

#[test]
fn wrong_types_in_any_field_spoil_only_themselves() {
    let home = Home::with_expired_login();
    let good: Value = serde_json::from_slice(&fs::read(home.path("auth.json")).expect("a vault")).expect("json");
    for wrong in [json!(null), json!(7), json!(true), json!([1]), json!({ "a": 1 }), json!("text"), json!(1.5e300)] {
        for pointer in [
            "/version",
            "/credential_pool",
            "/suppressed_sources",
            "/providers/other",
            "/providers/acme/tokens/expires_in",
            "/providers/acme/last_refresh",
            "/providers/acme/label",
            "/providers/acme/last_auth_error",
            "/providers/acme/tokens/token_type",
        ] {
            let mut vault = good.clone();
            let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
            vault
                .pointer_mut(parent)
                .and_then(Value::as_object_mut)
                .expect("an object")
                .insert(key.to_owned(), wrong.clone());
            home.write(vault.to_string());
            let status = home.run(&["status", "--json"]);
            assert_eq!(status.code, Some(0), "{pointer} {wrong}: {}", status.err);
            let listed: Value = serde_json::from_str(&status.out).expect("json");
            assert!(listed.to_string().contains("\"acme\""), "{pointer} {wrong}: {}", status.out);
        }
    }
}

/// A vault that cannot be read or written is named and nothing is sent.
#[test]
fn an_unreadable_or_read_only_vault_is_named_and_nothing_sent() {
    let home = Home::new();
    fs::create_dir(home.path("auth.json")).expect("made");
    let ran = home.run(&["token", "acme"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.err.contains("auth.json") && ran.err.contains("director"), "{ran:?}");

    let home = Home::new();
    let ran = home.run(&["token", "acme"]);
    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert!(ran.err.contains("auth.json"), "{ran:?}");

    // Root reads and writes everything, so somebody else is asked.
    let home = Home::with_expired_login();
    let before = fs::read(home.path("auth.json")).expect("there");
    let set_mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("set");
    let Some(nobody) = Nobody::owning(&home) else { return };
    set_mode(&home.path("auth.json"), 0o000);
    let ran = nobody.run(&home, &["token", "acme"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.err.contains("auth.json"), "{ran:?}");
    set_mode(&home.path("auth.json"), 0o600);
    set_mode(home.folder.path(), 0o500);
    let ran = nobody.run(&home, &["token", "acme"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.err.to_lowercase().contains("denied") || ran.err.contains("may not"), "{ran:?}");
    set_mode(home.folder.path(), 0o700);
    assert_eq!(fs::read(home.path("auth.json")).expect("there"), before);
    assert_eq!(home.server.requests(), 0, "what could not have been stored was not asked for");
    assert_eq!(nobody.run(&home, &["token", "acme"]).code, Some(0), "and now it works");
}

/// Another user, where we may become one; else ourselves.
struct Nobody {
    id: Option<u32>,
}

impl Nobody {
    const ID: u32 = 65_534;

    /// None: neither root nor bound by permissions.
    fn owning(home: &Home) -> Option<Self> {
        let is_root =
            fs::metadata("/proc/self").map(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0).unwrap_or(false);
        if !is_root {
            return Some(Self { id: None });
        }
        for path in [home.folder.path().to_owned(), home.path("auth.json"), home.path("providers.json")] {
            std::os::unix::fs::chown(path, Some(Self::ID), Some(Self::ID)).ok()?;
        }
        Some(Self { id: Some(Self::ID) })
    }

    fn run(&self, home: &Home, arguments: &[&str]) -> Ran {
        use std::os::unix::process::CommandExt;
        let mut command = home.command(arguments);
        if let Some(id) = self.id {
            // The binary may lie where only root may go.
            let binary = home.path("lazaretto");
            if !binary.exists() {
                fs::set_permissions(home.folder.path(), fs::Permissions::from_mode(0o700)).expect("set");
                // By another process: a file that is open for writing here while another test forks cannot be run.
                let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_lazaretto")).arg(&binary).status();
                assert!(copied.expect("cp").success());
            }
            let arguments: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
            command = Command::new(binary);
            command.args(arguments).uid(id).gid(id).stdin(Stdio::null()).current_dir("/");
        }
        Ran::of(command.output().expect("it runs"))
    }
}

#[test]
fn a_full_disk_costs_neither_the_vault_nor_the_token() {
    let folder = TempDir::new().expect("a folder");
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"]).arg(folder.path()).output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        println!("a tmpfs cannot be mounted here; the storage's own tests inject the failure");
        return;
    }
    let home = Home::with_expired_login();
    let vault = folder.path().join("auth.json");
    fs::copy(home.path("auth.json"), &vault).expect("copied");
    let before = fs::read(&vault).expect("there");
    let filled = fs::write(folder.path().join("filler"), vec![0; 1 << 20]);
    assert!(filled.is_err(), "the disk is full");
    let run = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lazaretto"));
        command.arg("--vault").arg(&vault).arg("--providers").arg(home.path("providers.json"));
        Ran::of(command.args(["--allow-loopback-http", "token", "acme"]).output().expect("it runs"))
    };
    let ran = run();
    let (after, requests) = (fs::read(&vault).expect("there"), home.server.requests());
    fs::remove_file(folder.path().join("filler")).expect("removed");
    let later = run();
    let unmounted = Command::new("umount").arg(folder.path()).status();
    assert_eq!((ran.code, requests), (Some(1), 0), "{ran:?}");
    assert!(ran.err.contains("space") || ran.err.contains("full"), "{ran:?}");
    assert!(after == before);
    assert_eq!(later.code, Some(0), "with room again: {later:?}");
    assert!(unmounted.is_ok_and(|status| status.success()));
}

#[test]
fn a_bad_profile_is_named_and_nothing_is_sent() {
    let home = Home::with_expired_login();
    let before = fs::read(home.path("auth.json")).expect("there");
    for (profile, reason) in [
        (json!({ "token_endpoint": "http://auth.example.com/token" }), "not https"),
        (json!({ "token_endpoint": "nonsense" }), "not an absolute https address"),
        (json!({ "token_endpoint": 7 }), "should be a string"),
        (json!({ "token_endpont": "https://a.example/t" }), "token_endpont"),
        (
            json!({ "token_endpoint": "https://a.example/t", "rules": { "rules": [{ "name": "x", "verdict": "dead" }] } }),
            "verdict",
        ),
    ] {
        home.profiles(&json!({ "acme": profile }));
        let ran = home.run(&["token", "acme"]);
        assert_eq!(ran.code, Some(5), "{profile}: {ran:?}");
        assert!(
            ran.err.contains(reason) && ran.err.contains("acme") && ran.err.contains("providers.json"),
            "{profile}: {ran:?}"
        );
    }
    fs::write(home.path("providers.json"), "{\"profiles\":").expect("written");
    let ran = home.run(&["token", "acme"]);
    assert_eq!(ran.code, Some(5), "{ran:?}");
    assert!(ran.err.contains("line 1"), "{ran:?}");
    // Plain http on this machine needs the flag.
    home.profiles(&json!({ "acme": { "token_endpoint": home.server.token_endpoint(), "client_id": "acme-client" } }));
    let mut command = Command::new(env!("CARGO_BIN_EXE_lazaretto"));
    command.arg("--vault").arg(home.path("auth.json")).arg("--providers").arg(home.path("providers.json"));
    let ran = Ran::of(command.args(["token", "acme"]).output().expect("it runs"));
    assert_eq!(ran.code, Some(5), "{ran:?}");
    assert!(ran.err.contains("--allow-loopback-http"), "{ran:?}");
    assert_eq!(fs::read(home.path("auth.json")).expect("there"), before);
    assert_eq!(home.server.requests(), 0);
    assert_eq!(home.run(&["token", "acme"]).code, Some(0), "none of it held the credential back");
}

#[test]
fn a_bad_profile_of_one_provider_is_nothing_to_another() {
    let home = Home::with_expired_login();
    let mut vault: Value = serde_json::from_slice(&fs::read(home.path("auth.json")).expect("a vault")).expect("json");
    vault["providers"]["broken"] = json!({ "tokens": { "refresh_token": "rt" } });
    home.write(vault.to_string());
    home.profiles(&json!({
        "broken": { "token_endpoint": "http://a.example/t" },
        "acme": { "token_endpoint": home.server.token_endpoint(), "client_id": "acme-client" }
    }));
    let ran = home.run(&["token", "acme"]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    let status = home.run(&["status"]);
    assert_eq!(status.code, Some(0));
    assert!(format!("{}{}", status.out, status.err).contains("not https"), "{status:?}");
    assert_eq!(home.run(&["token", "broken"]).code, Some(5));
}

#[test]
fn an_endpoint_that_misbehaves_changes_nothing_in_the_vault() {
    let elsewhere = TokenServer::start(Behaviour::default()).expect("a port");
    for fault in [
        Fault::Redirect { to: elsewhere.token_endpoint() },
        Fault::EndlessBody,
        Fault::NotUtf8,
        Fault::HalfBody,
        Fault::status(200, "text/html", "<html>Welcome to the hotel</html>"),
        Fault::status(200, "application/json", "{\"ok\":true}"),
        Fault::status(200, "application/json", "{\"access_token\":\"\"}"),
        Fault::status(403, "text/html", "<html>blocked</html>"),
    ] {
        let home = Home::with_expired_login();
        home.profiles(&json!({ "acme": { "token_endpoint": home.server.token_endpoint(), "client_id": "acme-client", "deadline_ms": 1500 } }));
        let before = fs::read(home.path("auth.json")).expect("there");
        let name = format!("{fault:?}");
        let processed = matches!(fault, Fault::HalfBody);
        home.server.fault([fault.clone(), fault]);
        let ran = home.run(&["token", "acme"]);
        assert!(matches!(ran.code, Some(3..=5)), "{name}: {ran:?}");
        if !processed {
            assert!(fs::read(home.path("auth.json")).expect("there") == before, "{name}: {ran:?}");
            assert_ne!(ran.code, Some(3), "{name}: no login is asked for");
        }
    }
    assert_eq!(elsewhere.requests(), 0, "no redirect was followed");
}

#[test]
fn classify_judges_line_by_line() {
    let home = Home::new();
    let lines = [
        json!({ "id": "a", "provider": "xai", "status": 400, "headers": {}, "body": "{\"error\":\"invalid_grant\"}", "transport_error": null }),
        json!({ "id": "b", "provider": "openai", "status": 429, "headers": { "retry-after": "120" }, "body": "" }),
        json!({ "id": "c", "provider": "never-heard-of", "status": null, "headers": null, "body": null, "transport_error": "dns" }),
    ];
    let input: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let mut child = home.command(&["classify"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it runs");
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("written");
    let ran = Ran::of(child.wait_with_output().expect("it ends"));
    let judged: Vec<Value> = ran.out.lines().map(|line| serde_json::from_str(line).expect("json")).collect();
    assert_eq!(
        (&judged[0]["id"], &judged[0]["verdict"], &judged[0]["code"]),
        (&json!("a"), &json!("terminal"), &json!("invalid_grant"))
    );
    assert_eq!((&judged[1]["verdict"], &judged[1]["retry_after_s"]), (&json!("transient"), &json!(120)));
    assert_eq!(
        (&judged[2]["id"], &judged[2]["verdict"], &judged[2]["code"]),
        (&json!("c"), &json!("transient"), &json!(null))
    );
}

#[test]
fn the_demo_holds() {
    let ran =
        Ran::of(Command::new(env!("CARGO_BIN_EXE_lazaretto")).args(["demo", "--json"]).output().expect("it runs"));
    assert_eq!(ran.code, Some(0), "{}\n{}", ran.out, ran.err);
}
