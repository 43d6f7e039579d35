//! What takes longer than a second is told of on a terminal, and nowhere else.

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::home::Home;
use crate::home::terminal::Terminal;
use lazaretto_testing::demo_server::Fault;

const PATIENCE: Duration = Duration::from_secs(60);

fn piped(home: &Home, arguments: &[&str]) -> std::process::Child {
    home.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs")
}

/// Only what goes to standard error is seen: the token stays in a pipe.
fn on_a_terminal(home: &Home, arguments: &[&str]) -> Terminal {
    let connect = |command: &mut Command, end: &dyn Fn() -> Stdio| {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(end());
    };
    Terminal::start_with(home.command(arguments), 100, connect)
}

fn out_of(terminal: &mut Terminal) -> String {
    let mut out = String::new();
    std::io::Read::read_to_string(terminal.child.stdout.as_mut().expect("piped"), &mut out).expect("text");
    assert_eq!(terminal.child.wait().expect("it ends").code(), Some(0));
    out
}

#[test]
fn a_slow_server_and_whoever_waits_for_another_process_say_so() {
    let home = Home::with_expired_login();
    home.server.fault([Fault::Held]);
    let mut first = on_a_terminal(&home, &["token", "acme"]);
    assert!(home.server.wait_for_requests(1, PATIENCE));
    let mut second = on_a_terminal(&home, &["token", "acme"]);
    first.wait_for("asking 127.0.0.1:");
    second.wait_for(&format!("waiting for pid {} on ", first.child.id()));
    second.wait_for(", which is refreshing acme ...");
    home.server.let_go();
    // What was told is gone from the line in the end, and the token went elsewhere.
    let (a, b) = (out_of(&mut first), out_of(&mut second));
    assert!(a == b && a.ends_with('\n') && home.server.requests() == 1, "{a} {b}");
    for terminal in [&first, &second] {
        terminal.wait_for("...\r\u{1b}[K");
        assert!(terminal.text().ends_with("\r\u{1b}[K"), "{:?}", terminal.text());
        assert!(!terminal.text().contains(a.trim()));
    }
}

#[test]
fn where_there_is_no_terminal_and_in_json_nothing_is_said() {
    let home = Home::with_expired_login();
    home.server.fault([Fault::Held]);
    let first = piped(&home, &["token", "acme"]);
    assert!(home.server.wait_for_requests(1, PATIENCE));
    let second = piped(&home, &["token", "acme"]);
    let mut third = on_a_terminal(&home, &["token", "acme", "--json"]);
    // Who came last is told: so long the others have waited too.
    let mut told = on_a_terminal(&home, &["token", "acme"]);
    told.wait_for("waiting for pid ");
    home.server.let_go();
    for child in [first, second] {
        let ended = child.wait_with_output().expect("it ends");
        assert_eq!((ended.status.code(), crate::home::text(&ended.stderr)), (Some(0), ""));
    }
    out_of(&mut told);
    out_of(&mut third);
    assert!(!third.text().contains("..."), "{:?}", third.text());
}

#[test]
fn a_terminal_without_utf_8_gets_ascii() {
    let home = Home::with_expired_login();
    let login = home.vault();
    let mut vault = login.clone();
    vault["credential_pool"] = serde_json::json!({ "acme": [{ "id": "k", "label": "a label that is too long for any column ".repeat(3),
        "auth_type": "api_key", "source": "manual", "access_token": "sk-key" }] });
    home.write(vault.to_string());
    for (locale, is_ascii) in [("C", true), ("C.UTF-8", false)] {
        let mut command = home.command(&["status"]);
        command.env("LC_ALL", locale);
        let out = command.output().expect("it runs").stdout;
        assert_eq!(out.is_ascii(), is_ascii, "{locale}: {}", crate::home::text(&out));
        assert!(crate::home::text(&out).contains(if is_ascii { "..." } else { "…" }));
    }
}

#[test]
fn a_time_of_day_is_one_of_the_time_zone() {
    let home = Home::with_expired_login();
    for (zone, until) in [("UTC0", "until: 2020-01-01 00:01:00"), ("XYZ5", "until: 2019-12-31 19:01:00")] {
        let out = home.command(&["status", "--verbose"]).env("TZ", zone).output().expect("it runs").stdout;
        assert!(crate::home::text(&out).contains(until), "{zone}: {}", crate::home::text(&out));
    }
}
