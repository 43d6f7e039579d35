//! `lazaretto watch` on a terminal of its own: what it draws, that it follows what others do, and that it gives the terminal back.

use std::fs;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;

use crate::home::Home;
use crate::home::terminal::Terminal;
use lazaretto_testing::demo_server::Fault;
use rustix::process::{Pid, Signal, kill_process};

const ENTER: &str = "\u{1b}[?1049h";

fn watch(home: &Home) -> Terminal {
    // Only this home's vault: the list of whoever runs the test is not read.
    let mut command = home.command(&["watch", "--interval", "0.1"]);
    command.env("XDG_CONFIG_HOME", home.path("config"));
    Terminal::start(command)
}

/// What other processes do is seen and q gives the terminal back.
#[test]
fn watch_shows_other_processes_and_q_restores_the_terminal() {
    let home = Home::with_expired_login();
    let mut terminal = watch(&home);
    terminal.wait_for(ENTER);
    terminal.wait_for("acme");
    assert!(!terminal.is_as_before(), "keys come one by one");
    let text = terminal.text();
    assert!(text.contains("expired") && text.contains(home.path("auth.json").to_str().expect("text")), "{text}");

    assert_eq!(home.run(&["token", "acme"]).code, Some(0));
    terminal.wait_for("acme (login): refreshed, good for");
    home.server.fault([Fault::status(429, "application/json", r#"{"error":"slow_down"}"#)]);
    assert_eq!(home.run(&["refresh", "acme"]).code, Some(4));
    terminal.wait_for("acme (login): paused for");
    terminal.wait_for("paused, 0:");
    assert_eq!(home.run(&["reset", "acme"]).code, Some(0));
    terminal.wait_for("acme (login): fine again");
    home.server.fault([Fault::status(400, "application/json", r#"{"error":"invalid_grant"}"#)]);
    assert_eq!(home.run(&["refresh", "acme"]).code, Some(3));
    terminal.wait_for("acme (login): quarantined");
    home.write("{");
    terminal.wait_for("it is not JSON");

    terminal.keys.write_all(b"q").expect("typed");
    assert_eq!(terminal.end().code(), Some(0));
    assert!(terminal.is_as_before());
    assert_eq!(home.text(), "{", "it only reads");
}

#[test]
fn a_signal_gives_the_terminal_back_too() {
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        let home = Home::with_expired_login();
        let mut terminal = watch(&home);
        terminal.wait_for("acme");
        kill_process(Pid::from_child(&terminal.child), signal).expect("it runs");
        assert_eq!(terminal.end().signal(), Some(signal.as_raw()));
        assert!(terminal.is_as_before(), "{signal:?}");
    }
}

#[test]
fn what_is_no_terminal_gets_an_error_that_names_status() {
    let home = Home::with_expired_login();
    for arguments in
        [&["watch"][..], &["watch", "--json"], &["watch", "--interval", "0"], &["watch", "--interval", "x"]]
    {
        let ran = home.run(arguments);
        assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""), "{ran:?}");
    }
    assert!(home.run(&["watch"]).err.contains("lazaretto status --all"));
    assert!(fs::read_dir(home.folder.path()).expect("a folder").count() <= 2, "nothing was made");
}
