//! `lazaret refresh --all`: a line for each credential, the exit code of the worst, and an end between two of them.

mod home;

use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use home::{Home, Ran};
use lazaret_host::demo_server::{Behaviour, Fault};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

const PROVIDERS: [&str; 3] = ["acme", "bolt", "cord"];

/// Three expired logins, and a key beside them.
fn home() -> Home {
    let home = Home::with(Behaviour::default());
    let profile = json!({ "token_endpoint": home.server.token_endpoint(), "client_id": "acme-client" });
    home.profiles(
        &PROVIDERS.iter().map(|name| ((*name).to_owned(), profile.clone())).collect::<serde_json::Map<_, _>>().into(),
    );
    let login = |name: &&str| {
        let token = home.server.login("acme-client").refresh_token;
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
        lines.len() == 3 && lines[1].contains("log in again") && lines[2].contains("cord (login): refreshed"),
        "{ran:?}"
    );
    // The one cools down, the other has nothing to refresh: neither is due. Asked about all, both are told of.
    assert!(home.run(&["refresh", "--all", "--due"]).out.contains("nothing is due"));
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
