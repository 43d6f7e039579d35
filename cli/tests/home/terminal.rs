//! A terminal of its own for one process: what is drawn on it, and what is typed.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::termios::{LocalModes, tcgetattr};

const PATIENCE: Duration = Duration::from_secs(60);
pub const LEAVE: &str = "\u{1b}[?7h\u{1b}[?25h\u{1b}[?1049l";

/// A terminal, and the command on it.
pub struct Terminal {
    pub keys: File,
    /// Kept open, so that it can be asked how it is set.
    slave: OwnedFd,
    drawn: Arc<Mutex<Vec<u8>>>,
    pub child: Child,
}

#[allow(unsafe_code, reason = "rustix is built without pseudo-terminals here")]
fn open_terminal(columns: u16) -> (File, OwnedFd) {
    let (mut master, mut slave) = (0, 0);
    let size = libc::winsize { ws_row: 30, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: both descriptors are written on success, and belong to nobody else.
    unsafe {
        let made = libc::openpty(&mut master, &mut slave, std::ptr::null_mut(), std::ptr::null(), &size);
        assert_eq!(made, 0, "{}", std::io::Error::last_os_error());
        (File::from(OwnedFd::from_raw_fd(master)), OwnedFd::from_raw_fd(slave))
    }
}

impl Terminal {
    /// With standard input, output and error on it, in UTF-8.
    pub fn start(command: Command) -> Self {
        Self::start_with(command, 100, |command, end| {
            command.stdin(end()).stdout(end()).stderr(end());
        })
    }

    /// With so many columns, and on it what `connect` says.
    pub fn start_with(
        mut command: Command,
        columns: u16,
        connect: impl FnOnce(&mut Command, &dyn Fn() -> Stdio),
    ) -> Self {
        let (keys, slave) = open_terminal(columns);
        command.env("TERM", "xterm").env("LC_ALL", "C.UTF-8").env_remove("NO_COLOR");
        connect(&mut command, &|| Stdio::from(slave.try_clone().expect("another")));
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

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.drawn.lock().expect("whole")).into_owned()
    }

    pub fn wait_for(&self, what: &str) {
        let start = Instant::now();
        while !self.text().contains(what) {
            assert!(start.elapsed() < PATIENCE, "{what} is not in {}", self.text());
            thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn is_as_before(&self) -> bool {
        let modes = tcgetattr(self.slave.as_fd()).expect("a terminal").local_modes;
        modes.contains(LocalModes::ICANON | LocalModes::ECHO)
    }

    pub fn end(&mut self) -> std::process::ExitStatus {
        let status = self.child.wait().expect("it ends");
        self.wait_for(LEAVE);
        status
    }
}
