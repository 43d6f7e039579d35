//! What is pasted on a terminal: it is not shown, and the terminal is given back however the command ends.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::home::Home;
use rustix::process::{Pid, Signal, kill_process};
use rustix::termios::{LocalModes, tcgetattr};

const PATIENCE: Duration = Duration::from_secs(60);

/// A terminal, and the command on it.
struct Terminal {
    keys: File,
    slave: OwnedFd,
    shown: Arc<Mutex<Vec<u8>>>,
    child: Child,
}

impl Terminal {
    #[allow(unsafe_code, reason = "rustix is built without pseudo-terminals here")]
    fn start(home: &Home, arguments: &[&str]) -> Self {
        let (mut master, mut slave) = (0, 0);
        let size = libc::winsize { ws_row: 40, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: both descriptors are written on success, and belong to nobody else.
        let (keys, slave) = unsafe {
            let made = libc::openpty(&mut master, &mut slave, std::ptr::null_mut(), std::ptr::null(), &size);
            assert_eq!(made, 0, "{}", std::io::Error::last_os_error());
            (File::from(OwnedFd::from_raw_fd(master)), OwnedFd::from_raw_fd(slave))
        };
        let end = || Stdio::from(slave.try_clone().expect("another"));
        let mut command = home.command(arguments);
        for name in ["DISPLAY", "WAYLAND_DISPLAY"] {
            command.env_remove(name);
        }
        command
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .env("TERM", "xterm")
            .env("NO_COLOR", "1")
            .env("LC_ALL", "C.UTF-8");
        let child = command.spawn().expect("it runs");
        let shown = Arc::new(Mutex::new(Vec::new()));
        let (mut from, into) = (keys.try_clone().expect("another"), shown.clone());
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(read @ 1..) = from.read(&mut bytes) {
                into.lock().expect("whole").extend_from_slice(&bytes[..read]);
            }
        });
        Self { keys, slave, shown, child }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.shown.lock().expect("whole")).into_owned()
    }

    fn wait_until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !is_so(self) {
            assert!(start.elapsed() < PATIENCE, "{what}: {}", self.text());
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn shows_what_is_typed(&self) -> bool {
        let modes = tcgetattr(self.slave.as_fd()).expect("a terminal").local_modes;
        modes.contains(LocalModes::ICANON | LocalModes::ECHO)
    }

    fn paste(&mut self, text: &str) {
        self.wait_until("it hides what is typed", |terminal| !terminal.shows_what_is_typed());
        self.keys.write_all(text.as_bytes()).expect("pasted");
    }
}

#[test]
fn a_key_that_is_pasted_is_not_shown_however_long_it_is() {
    // A terminal's own line ends at 4095 bytes.
    let secret = format!("sk-{}", "secret".repeat(2_000));
    let home = Home::new();
    let mut terminal = Terminal::start(&home, &["add", "openrouter", "--label", "work"]);
    terminal.wait_until("it asks", |terminal| terminal.text().contains("It is not shown."));
    terminal.paste(&format!("{secret}\n"));
    assert!(terminal.child.wait().expect("it ends").success(), "{}", terminal.text());
    terminal.wait_until("it says so", |terminal| terminal.text().contains("added"));
    assert!(!terminal.text().contains("secret") && terminal.shows_what_is_typed(), "{}", terminal.text());
    assert_eq!(home.run(&["token", "openrouter"]).out, format!("{secret}\n"));
}

#[test]
fn tokens_that_are_pasted_as_json_end_where_the_object_does() {
    let home = Home::new();
    let mut terminal = Terminal::start(&home, &["add", "acme"]);
    terminal.paste("{\n  \"access_token\": \"at-secret\",\n  \"refresh_token\": \"rt-secret\"\n}\n");
    assert!(terminal.child.wait().expect("it ends").success(), "{}", terminal.text());
    assert!(home.text().contains("rt-secret") && !terminal.text().contains("secret"), "{}", terminal.text());
}

#[test]
fn a_signal_gives_the_terminal_back() {
    for (signal, number) in [(Signal::TERM, 15), (Signal::INT, 2)] {
        let home = Home::new();
        let mut terminal = Terminal::start(&home, &["add", "openrouter"]);
        terminal.paste("half-a-secret");
        let id = Pid::from_raw(terminal.child.id().try_into().expect("an id")).expect("an id");
        kill_process(id, signal).expect("sent");
        let status = terminal.child.wait().expect("it ends");
        assert_eq!(status.signal(), Some(number), "{status:?}");
        assert!(terminal.shows_what_is_typed() && !terminal.text().contains("secret"), "{}", terminal.text());
        assert!(!home.path("auth.json").exists());
    }
}
