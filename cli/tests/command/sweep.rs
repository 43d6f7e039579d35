//! `lazaretto refresh --all`: a line for each credential, the exit code of the worst, and an end between two of them.

use std::collections::HashSet;
use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::home::{Home, Ran};
use lazaretto_testing::demo_server::{Behaviour, Fault};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const PROVIDERS: [&str; 3] = ["acme", "bolt", "cord"];

/// Three expired logins, and a key beside them.
fn home() -> Home {
    let home = Home::with(Behaviour::default());
    let profile = json!({ "token_endpoint": home.server.token_endpoint(), "client_id": "acme-client" });
    home.profiles(
        &PROVIDERS.iter().map(|name| ((*name).to_owned(), profile.clone())).collect::<serde_json::Map<_, _>>().into(),
    );
    // A grant's lock is named by the first byte of its token's hash: two of one name would exclude each other.
    let mut locks = HashSet::new();
    let mut token_with_a_lock_of_its_own = || loop {
        let token = home.server.login("acme-client").refresh_token;
        if locks.insert(Sha256::digest(&token)[0]) {
            return token;
        }
    };
    let login = |name: &&str| {
        let token = token_with_a_lock_of_its_own();
        let tokens = json!({ "access_token": "at-old", "refresh_token": token, "expires_in": 60 });
        ((*name).to_owned(), json!({ "tokens": tokens, "last_refresh": "2020-01-01T00:00:00Z" }))
    };
    let logins: serde_json::Map<_, _> = PROVIDERS.iter().map(login).collect();
    let key = json!([{ "id": "k", "auth_type": "api_key", "source": "manual", "access_token": "sk-key" }]);
    home.write(json!({ "providers": logins, "credential_pool": { "acme": key } }).to_string());
    home
}

fn refused() -> Fault {
    Fault::status(400, "application/json", r#"{"error":"invalid_grant"}"#)
}

#[test]
fn each_credential_has_a_line_and_a_key_has_none() {
    let home = home();
    let ran = home.run(&["refresh", "--all"]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "no progress where there is no terminal");
    let lines: Vec<&str> = ran.out.lines().collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    for (line, provider) in lines.iter().zip(PROVIDERS) {
        assert!(line.starts_with(&format!("{provider} (login): refreshed; ")), "{line}");
    }
    assert_eq!(home.server.requests(), 3);
    // Nothing is due now; and all again is all again.
    let ran = home.run(&["refresh", "--all", "--due"]);
    assert!(ran.code == Some(0) && ran.out.contains("nothing is due"), "{ran:?}");
    assert_eq!(home.server.requests(), 3);
    assert_eq!(home.run(&["refresh", "bolt", "--all"]).out.lines().count(), 1);
    assert_eq!(home.server.requests(), 4);
    assert!(!format!("{:?}", home.run(&["refresh", "--all"])).contains("at-"));
}

#[test]
fn one_that_fails_stops_no_other_and_the_worst_is_the_exit_code() {
    let home = home();
    home.server.fault([Fault::status(429, "application/json", r#"{"error":"slow_down"}"#), refused()]);
    let ran = home.run(&["refresh", "--all", "--due"]);
    assert_eq!(ran.code, Some(3), "{ran:?}");
    let lines: Vec<&str> = ran.out.lines().collect();
    assert!(
        lines.len() == 3 && lines[1].contains("; run: lazaretto ") && lines[2].contains("cord (login): refreshed"),
        "{ran:?}"
    );
    // The one is paused, the other has nothing to refresh: neither is due, and a timer is told that the other needs a person.
    let ran = home.run(&["refresh", "--all", "--due"]);
    assert!(ran.code == Some(3) && ran.out.contains("nothing is due"), "{ran:?}");
    assert!(ran.out.contains("bolt (login): it is quarantined") && !ran.out.contains("acme (login)"), "{ran:?}");
    let ran = home.run(&["refresh", "--all", "--due", "--json"]);
    let line: Value = serde_json::from_str(ran.out.trim_end()).expect("one line");
    assert_eq!((ran.code, &line["provider"], &line["error"]["action"]), (Some(3), &json!("bolt"), &json!("login")));
    assert!(line["error"]["run"].as_str().is_some_and(|run| run.starts_with("lazaretto ")), "{line}");
    assert_eq!(line["vault"], json!(home.path("auth.json")));
    let ran = home.run(&["refresh", "--all", "--json"]);
    let lines: Vec<Value> = ran.out.lines().map(|line| serde_json::from_str(line).expect("json")).collect();
    assert_eq!((ran.code, lines.len()), (Some(3), 3), "{ran:?}");
    for (line, (provider, action)) in
        lines.iter().zip([("acme", json!("retry")), ("bolt", json!("login")), ("cord", Value::Null)])
    {
        assert_eq!(
            (&line["provider"], &line["credential"], &line["error"]["action"]),
            (&json!(provider), &json!("login"), &action)
        );
    }
    assert!(lines[2]["origin"] == "refreshed" && lines[2].get("token").is_none());
    assert_eq!(home.server.requests(), 4);
}

fn spawn(mut command: Command) -> Child {
    heeding(&mut command).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs")
}

/// As a terminal starts it, although this test may run where signals are ignored.
#[allow(unsafe_code, reason = "the standard library cannot set how a signal is handled")]
fn heeding(command: &mut Command) -> &mut Command {
    let heed = || {
        // SAFETY: safe to call after a fork, and nothing else runs there that it could surprise.
        unsafe { libc::signal(libc::SIGINT, libc::SIG_DFL) };
        Ok(())
    };
    // SAFETY: as above.
    unsafe { command.pre_exec(heed) }
}

#[test]
fn a_signal_finishes_the_one_under_way_and_begins_no_other() {
    let home = home();
    home.server.fault([Fault::Held]);
    let mut child = spawn(home.command(&["refresh", "--all"]));
    assert!(home.server.wait_for_requests(1, Duration::from_secs(60)));
    kill_process(Pid::from_child(&child), Signal::INT).expect("it runs");
    let (mut said, mut byte) = (Vec::new(), [0]);
    while byte != *b"\n" && child.stderr.as_mut().expect("piped").read(&mut byte).expect("read") == 1 {
        said.push(byte[0]);
    }
    let said = String::from_utf8(said).expect("text");
    assert!(said.contains("acme") && said.contains("finished first"), "{said}");
    home.server.let_go();
    let ended = child.wait_with_output().expect("it ends");
    assert_eq!(ended.status.signal(), Some(Signal::INT.as_raw()));
    assert_eq!(String::from_utf8_lossy(&ended.stdout).lines().count(), 1, "{ended:?}");
    assert_eq!(home.server.requests(), 1);
    assert!(home.server.is_live(&home.refresh_token()), "its successor is stored");
    assert_eq!(home.run(&["refresh", "--all", "--due"]).out.lines().count(), 2, "the others are left as they were");
}

/// No other program writes this vault: its exchanges need not exclude each other.
fn at_once(home: &Home) {
    std::fs::write(home.path("auth.json.lazaretto-settings.json"), r#"{"shared_with_reference": false}"#)
        .expect("written");
}

#[test]
fn several_are_refreshed_at_a_time_where_they_may_be() {
    let home = home();
    at_once(&home);
    home.server.fault([Fault::Held, Fault::Held, Fault::Held]);
    let child = spawn(home.command(&["refresh", "--all"]));
    // All three requests are there before one is answered.
    assert!(home.server.wait_for_requests(3, Duration::from_secs(60)));
    home.server.let_go();
    let ended = Ran::of(child.wait_with_output().expect("it ends"));
    assert_eq!((ended.code, ended.out.lines().count(), ended.err.as_str()), (Some(0), 3, ""), "{ended:?}");
    let vault = home.vault();
    for provider in PROVIDERS {
        let token = vault["providers"][provider]["tokens"]["refresh_token"].as_str().expect("a token");
        assert!(home.server.is_live(token), "{provider}");
    }
}

#[test]
fn a_signal_finishes_all_that_are_under_way() {
    let home = home();
    at_once(&home);
    home.server.fault([Fault::Held, Fault::Held, Fault::Held]);
    let mut child = spawn(home.command(&["refresh", "--all"]));
    assert!(home.server.wait_for_requests(3, Duration::from_secs(60)));
    kill_process(Pid::from_child(&child), Signal::TERM).expect("it runs");
    let (mut said, mut byte) = (Vec::new(), [0]);
    while byte != *b"\n" && child.stderr.as_mut().expect("piped").read(&mut byte).expect("read") == 1 {
        said.push(byte[0]);
    }
    let said = String::from_utf8(said).expect("text");
    assert!(said.contains("acme, bolt, cord") && said.contains("finished first"), "{said}");
    home.server.let_go();
    let ended = child.wait_with_output().expect("it ends");
    assert_eq!(ended.status.signal(), Some(Signal::TERM.as_raw()));
    assert_eq!(String::from_utf8_lossy(&ended.stdout).lines().count(), 3, "each was told of: {ended:?}");
    let vault = home.vault();
    for provider in PROVIDERS {
        let token = vault["providers"][provider]["tokens"]["refresh_token"].as_str().expect("a token");
        assert!(home.server.is_live(token), "{provider}");
    }
}

#[test]
fn without_a_named_vault_it_is_all_that_are_known() {
    let (home, other) = (home(), home());
    let config = home.path("config/lazaretto");
    std::fs::create_dir_all(&config).expect("made");
    let known = json!({ "vaults": [{ "path": home.path("auth.json") }, { "path": other.path("auth.json") }] });
    std::fs::write(config.join("vaults.json"), known.to_string()).expect("written");
    let run = |profiles: &Home, arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lazaretto"));
        command.arg("--providers").arg(profiles.path("providers.json")).arg("--allow-loopback-http").args(arguments);
        command.env_remove("LAZARETTO_VAULT").env("XDG_CONFIG_HOME", home.path("config")).stdin(Stdio::null());
        Ran::of(command.output().expect("it runs"))
    };
    // Of the other vault's logins this server knows nothing: what matters is that each was tried.
    let ran = run(&home, &["refresh", "--all"]);
    let of = |home: &Home| {
        ran.out.lines().filter(|line| line.contains(home.path("auth.json").to_str().expect("text"))).count()
    };
    assert_eq!((of(&home), of(&other)), (3, 3), "{ran:?}");
    // A named one is that one alone.
    let ran = run(&home, &["refresh", "--all", "--vault", home.path("auth.json").to_str().expect("text")]);
    assert_eq!((ran.code, ran.out.lines().count()), (Some(0), 3), "{ran:?}");
    home.write("{");
    let ran = run(&other, &["refresh", "--all", "--json"]);
    assert_eq!(ran.code, Some(1), "the worst: {ran:?}");
    assert!(ran.out.lines().count() == 4 && ran.out.contains("corrupt-vault"), "{ran:?}");
}

#[test]
fn what_makes_no_sense_together_is_wrong_usage() {
    let home = Home::new();
    for arguments in [
        &["refresh"][..],
        &["refresh", "acme", "--due"],
        &["refresh", "--all", "--print"],
        &["refresh", "--all", "--credential", "x"],
        &["refresh", "--all", "--refused-from-stdin"],
    ] {
        assert_eq!(home.run(arguments).code, Some(2), "{arguments:?}");
    }
    home.write("{}");
    let ran: Ran = home.run(&["refresh", "--all"]);
    assert!(ran.code == Some(0) && ran.out.contains("no OAuth credential"), "{ran:?}");
}
