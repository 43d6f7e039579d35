//! `lazaret watch` on a terminal of its own: what it draws, that it follows what others do, and that it gives the terminal back.

mod home;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use home::Home;
use lazaret_host::demo_server::Fault;
use rustix::process::{Pid, Signal, kill_process};
use rustix::termios::{LocalModes, tcgetattr};

const PATIENCE: Duration = Duration::from_secs(60);
const ENTER: &str = "\u{1b}[?1049h";
const LEAVE: &str = "\u{1b}[?7h\u{1b}[?25h\u{1b}[?1049l";

/// A terminal, and the command on it.
struct Terminal {
    keys: File,
    /// Kept open, so that it can be asked how it is set.
    slave: OwnedFd,
    drawn: Arc<Mutex<Vec<u8>>>,
    child: Child,
}

#[allow(unsafe_code, reason = "rustix is built without pseudo-terminals here")]
fn open_terminal() -> (File, OwnedFd) {
    let (mut master, mut slave) = (0, 0);
    let size = libc::winsize { ws_row: 30, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: both descriptors are written on success, and belong to nobody else.
    unsafe {
        let made = libc::openpty(&mut master, &mut slave, std::ptr::null_mut(), std::ptr::null(), &size);
        assert_eq!(made, 0, "{}", std::io::Error::last_os_error());
        (File::from(OwnedFd::from_raw_fd(master)), OwnedFd::from_raw_fd(slave))
    }
}

impl Terminal {
    fn start(mut command: Command) -> Self {
        let (keys, slave) = open_terminal();
        let end = || Stdio::from(slave.try_clone().expect("another"));
        command.stdin(end()).stdout(end()).stderr(end()).env("TERM", "xterm").env_remove("NO_COLOR");
        let child = command.spawn().expect("it runs");
        let drawn = Arc::new(Mutex::new(Vec::new()));
        let (mut from, into) = (keys.try_clone().expect("another"), drawn.clone());
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(read @ 1..) = from.read(&mut bytes) {
                into.lock().expect("whole").extend_from_slice(&bytes[..read]);
            }
        });
        Self { keys, slave, drawn, child }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.drawn.lock().expect("whole")).into_owned()
    }

    fn wait_for(&self, what: &str) {
        let start = Instant::now();
        while !self.text().contains(what) {
            assert!(start.elapsed() < PATIENCE, "{what} is not in {}", self.text());
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn is_as_before(&self) -> bool {
        let modes = tcgetattr(self.slave.as_fd()).expect("a terminal").local_modes;
        modes.contains(LocalModes::ICANON | LocalModes::ECHO)
    }

    fn end(&mut self) -> std::process::ExitStatus {
        let status = self.child.wait().expect("it ends");
        self.wait_for(LEAVE);
        status
    }
}

fn watch(home: &Home) -> Terminal {
    // Only this home's vault: the list of whoever runs the test is not read.
    let mut command = home.command(&["watch", "--interval", "0.1"]);
    command.env("XDG_CONFIG_HOME", home.path("config"));
    Terminal::start(command)
}

#[test]
fn what_other_processes_do_is_seen_and_q_gives_the_terminal_back() {
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
    terminal.wait_for("acme (login): cooling down for");
    terminal.wait_for("next try in 0:");
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
    assert!(home.run(&["watch"]).err.contains("lazaret status --all"));
    assert!(fs::read_dir(home.folder.path()).expect("a folder").count() <= 2, "nothing was made");
}
