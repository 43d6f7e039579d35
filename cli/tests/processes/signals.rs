//! Nothing cancels a refresh: a signal that comes after the request has left ends the process, and loses no token.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use crate::home::{Home, text};
use lazaretto_testing::demo_server::{Fault, Rotation};
use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};

const PATIENCE: Duration = Duration::from_secs(60);
const SIGNALS: [Signal; 3] = [Signal::TERM, Signal::INT, Signal::HUP];

/// Every signal that ends a process by default, can be caught, and says nothing of the program itself.
fn all_signals() -> Vec<i32> {
    let named = [
        libc::SIGTERM,
        libc::SIGINT,
        libc::SIGHUP,
        libc::SIGQUIT,
        libc::SIGABRT,
        libc::SIGUSR1,
        libc::SIGUSR2,
        libc::SIGALRM,
        libc::SIGVTALRM,
        libc::SIGPROF,
        libc::SIGXCPU,
    ];
    let mut all = named.to_vec();
    if cfg!(target_os = "linux") {
        // SIGIO, SIGSTKFLT, SIGPWR, and real-time signals.
        all.extend([29, 16, 30, 34, 64]);
    }
    all
}

fn spawn(home: &Home, arguments: &[&str]) -> Child {
    let mut command = home.command(arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    heeding_signals(&mut command).spawn().expect("it runs")
}

/// As a terminal starts it, although this test may run in the background or under `nohup`, where signals are ignored.
#[allow(unsafe_code, reason = "the standard library cannot set how a signal is handled")]
fn heeding_signals(command: &mut Command) -> &mut Command {
    let heed = || {
        for signal in all_signals().into_iter().chain([libc::SIGXFSZ]) {
            // SAFETY: safe to call after a fork, and nothing else runs there that it could surprise.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
        Ok(())
    };
    // SAFETY: as above.
    unsafe { command.pre_exec(heed) }
}

/// With a number: rustix has no name for all of them.
#[allow(unsafe_code, reason = "rustix sends no signal that it has no name for")]
fn send_raw(child: &Child, signal: i32) {
    // SAFETY: the child is not waited for yet, so the number is its own.
    assert_eq!(unsafe { libc::kill(child.id() as i32, signal) }, 0);
}

fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).expect("it runs");
}

/// Every line that the process has written to standard error, up to the first that holds this.
fn wait_for_line(child: &mut Child, word: &str) -> String {
    use std::io::Read;
    let stderr = child.stderr.as_mut().expect("piped");
    let (mut said, mut byte) = (Vec::new(), [0]);
    while stderr.read(&mut byte).expect("read") == 1 {
        said.push(byte[0]);
        if byte == *b"\n" && String::from_utf8_lossy(&said).contains(word) {
            break;
        }
    }
    String::from_utf8(said).expect("text")
}

/// The request has arrived, a signal is sent and taken, and only then the answer comes.
#[test]
fn a_signal_during_the_exchange_loses_no_successor() {
    for signal in SIGNALS {
        for command in [&["token", "acme"][..], &["refresh", "acme"], &["refresh", "acme", "--print"]] {
            let home = Home::with_expired_login();
            home.server.fault([Fault::Held]);
            let mut child = spawn(&home, command);
            assert!(home.server.wait_for_requests(1, PATIENCE));
            send(&child, signal);
            let said = wait_for_line(&mut child, "refresh");
            assert!(said.contains("finished first") && said.contains(" s at most"), "{said}");
            assert!(child.try_wait().expect("asked").is_none(), "it does not end");
            home.server.let_go();
            let Output { status, stdout, stderr } = child.wait_with_output().expect("it ends");
            assert_eq!(
                status.signal(),
                Some(signal.as_raw()),
                "{status}: what a shell calls {}",
                128 + signal.as_raw()
            );
            assert_eq!((text(&stdout), text(&stderr)), ("", ""), "said once, and nobody is there for the token");
            assert_eq!((home.server.requests(), home.server.replays()), (1, 0));
            assert!(home.server.is_live(&home.refresh_token()), "{signal:?} {command:?}");
            assert!(home.run(&["token", "acme"]).code == Some(0) && home.server.requests() == 1);
        }
    }
}

/// The same for every other signal. That a stop loses nothing is `network.rs`.
#[test]
fn any_signal_that_can_be_caught_waits_for_the_answer() {
    for signal in all_signals() {
        let home = Home::with_expired_login();
        home.server.fault([Fault::Held]);
        let mut child = spawn(&home, &["token", "acme"]);
        assert!(home.server.wait_for_requests(1, PATIENCE));
        send_raw(&child, signal);
        let said = wait_for_line(&mut child, "refresh");
        assert!(said.contains("finished first"), "{signal}: {said}");
        home.server.let_go();
        let Output { status, stdout, .. } = child.wait_with_output().expect("it ends");
        assert_eq!((status.signal(), text(&stdout)), (Some(signal), ""), "{status}");
        assert_eq!((home.server.requests(), home.server.replays()), (1, 0));
        assert!(home.server.is_live(&home.refresh_token()), "{signal}");
    }
}

/// The limit comes while the answer is on its way: what is larger than it cannot be stored, and the signal that says so ends nothing.
#[test]
#[cfg(target_os = "linux")]
fn a_vault_beyond_the_file_size_limit_costs_no_successor() {
    let home = Home::with_expired_login();
    let mut vault = home.vault();
    vault["notes"] = "x".repeat(64 * 1024).into();
    home.write(vault.to_string());
    home.server.fault([Fault::Held]);
    let child = spawn(&home, &["token", "acme"]);
    assert!(home.server.wait_for_requests(1, PATIENCE));
    let limit = Rlimit { current: Some(16 * 1024), maximum: None };
    prlimit(Some(Pid::from_child(&child)), Resource::Fsize, limit).expect("limited");
    home.server.let_go();
    let ended = child.wait_with_output().expect("it ends");
    assert_eq!((ended.status.signal(), home.server.requests()), (None, 1), "{ended:?}");
    assert!(!home.server.is_live(&home.refresh_token()), "the vault is as it was");
    let next = home.run(&["refresh", "acme", "--print"]);
    assert_eq!(next.code, Some(0), "{}", next.err);
    assert!(home.server.is_live(&home.refresh_token()) && home.server.replays() == 0);
}

/// A core file would hold the tokens.
#[test]
#[cfg(target_os = "linux")]
fn no_core_file_is_written() {
    let home = Home::with_expired_login();
    home.server.fault([Fault::Held]);
    let mut child = spawn(&home, &["token", "acme"]);
    assert!(home.server.wait_for_requests(1, PATIENCE));
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", child.id())).expect("read");
    let core: Vec<&str> = limits.lines().filter(|line| line.starts_with("Max core file size")).collect();
    assert_eq!(core[0].split_whitespace().collect::<Vec<_>>()[4..6], ["0", "0"], "{core:?}");
    // What is not dumpable belongs to root.
    let owner =
        std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(format!("/proc/{}/mem", child.id())).expect("there"));
    assert_eq!(owner, 0);
    send(&child, Signal::QUIT);
    wait_for_line(&mut child, "finished first");
    home.server.let_go();
    let status = child.wait().expect("it ends");
    assert_eq!((status.signal(), status.core_dumped()), (Some(libc::SIGQUIT), false));
}

/// A second signal changes nothing and is told how long it takes.
#[test]
fn a_second_signal_changes_nothing_and_reports_the_wait() {
    let home = Home::with_expired_login();
    home.server.fault([Fault::Held]);
    let mut child = spawn(&home, &["token", "acme", "--json"]);
    assert!(home.server.wait_for_requests(1, PATIENCE));
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        send(&child, signal);
        let said = wait_for_line(&mut child, "\n");
        let event: serde_json::Value = serde_json::from_str(&said).expect("json");
        assert_eq!((&event["event"]["name"], &event["event"]["provider"]), (&"finishing".into(), &"acme".into()));
        assert!(event["event"]["message"].as_str().is_some_and(|said| said.contains("s at most")), "{said}");
    }
    home.server.let_go();
    let ended = child.wait_with_output().expect("it ends");
    assert_eq!(ended.status.signal(), Some(Signal::TERM.as_raw()), "by the first");
    assert!(home.server.is_live(&home.refresh_token()) && home.server.requests() == 1);
}

/// An answer that is lost while a signal waits is asked for once more, which is the only way to the successor.
#[test]
fn a_lost_answer_is_asked_for_again_although_a_signal_waits() {
    let home = Home::rotating(Rotation::Grace { window_ms: 600_000 });
    home.server.fault([Fault::HeldThenLost, Fault::Held]);
    let mut child = spawn(&home, &["token", "acme"]);
    assert!(home.server.wait_for_requests(1, PATIENCE));
    send(&child, Signal::TERM);
    wait_for_line(&mut child, "finished first");
    home.server.let_go();
    let ended = child.wait_with_output().expect("it ends");
    assert_eq!(ended.status.signal(), Some(Signal::TERM.as_raw()), "{ended:?}");
    assert_eq!(home.server.requests(), 2);
    assert!(home.server.is_live(&home.refresh_token()));
}

#[test]
fn what_went_wrong_meanwhile_is_still_said() {
    let home = Home::with_expired_login();
    home.server.fault([Fault::Held]);
    home.server.revoke(&home.refresh_token());
    let mut child = spawn(&home, &["token", "acme"]);
    assert!(home.server.wait_for_requests(1, PATIENCE));
    send(&child, Signal::INT);
    wait_for_line(&mut child, "finished first");
    home.server.let_go();
    let ended = child.wait_with_output().expect("it ends");
    assert_eq!(ended.status.signal(), Some(Signal::INT.as_raw()));
    let command = text(&ended.stderr).lines().any(|line| line.starts_with("run: lazaretto "));
    assert!(command, "{}", text(&ended.stderr));
    assert!(home.vault()["providers"]["acme"]["last_auth_error"].is_object(), "and its verdict is stored");
}

/// Before the request leaves a signal ends the process at once and costs nothing.
#[test]
fn a_signal_before_the_request_ends_the_process_at_once() {
    for signal in SIGNALS {
        let home = Home::with_expired_login();
        let before = home.text();
        // Another program holds the vault's lock, so that the command waits for it.
        let lock = std::fs::File::create(home.path("auth.lock")).expect("made");
        lock.lock().expect("locked");
        let child = spawn(&home, &["token", "acme", "--verbose"]);
        home.wait_for_a_grants_lock();
        send(&child, signal);
        let ended = child.wait_with_output().expect("it ends");
        assert_eq!(ended.status.signal(), Some(signal.as_raw()));
        assert_eq!(text(&ended.stderr), "");
        assert_eq!((home.text(), home.server.requests()), (before, 0));
        drop(lock);
        assert_eq!(home.run(&["token", "acme"]).code, Some(0));
        assert_eq!(home.server.requests(), 1);
    }
}

/// A signal that the process was started to ignore stays ignored.
#[test]
fn an_inherited_ignored_signal_stays_ignored() {
    let home = Home::with_expired_login();
    home.server.fault([Fault::Held]);
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' HUP; exec \"$0\" \"$@\""]).arg(env!("CARGO_BIN_EXE_lazaretto"));
    shell.args(home.command(&["token", "acme"]).get_args()).stdin(Stdio::null());
    let child = shell.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    assert!(home.server.wait_for_requests(1, PATIENCE));
    send(&child, Signal::HUP);
    home.server.let_go();
    let ended = child.wait_with_output().expect("it ends");
    assert_eq!((ended.status.code(), text(&ended.stderr)), (Some(0), ""));
    assert!(!ended.stdout.is_empty());
}

/// Whoever asked for the token is gone when it comes: SIGPIPE, or a closed descriptor.
#[test]
fn a_closed_pipe_does_not_stop_the_token_from_being_stored() {
    for command in [&["token", "acme"][..], &["token", "acme", "--json"], &["refresh", "acme", "--print"]] {
        let home = Home::with_expired_login();
        home.server.fault([Fault::Held]);
        let mut child = spawn(&home, command);
        assert!(home.server.wait_for_requests(1, PATIENCE));
        drop((child.stdout.take(), child.stderr.take()));
        home.server.let_go();
        let status = child.wait().expect("it ends");
        assert_eq!(status.code(), Some(1), "{command:?}: {status}");
        assert!(home.server.is_live(&home.refresh_token()), "{command:?}");
        assert_eq!((home.server.requests(), home.server.replays()), (1, 0));
    }
}
