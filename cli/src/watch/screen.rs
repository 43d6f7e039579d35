//! The terminal while it is drawn on. However the process ends, short of being killed, the terminal
//! is as it was before.

use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::panic;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::termios::{self, LocalModes, OptionalActions, SpecialCodeIndex, Termios};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};

use super::super::failure::Failure;

/// Another screen, no cursor, no line runs over into the next.
const ENTER: &str = "\u{1b}[?1049h\u{1b}[?25l\u{1b}[?7l\u{1b}[2J";
const LEAVE: &str = "\u{1b}[0m\u{1b}[?7h\u{1b}[?25h\u{1b}[?1049l";
/// How long a look for a key waits, in tenths of a second.
const PATIENCE_DS: u8 = 2;

/// How the terminal was. None: nothing is to be put back.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// What a person does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Quit,
    Lines(isize),
    Pages(isize),
    First,
    Last,
    Help,
}

/// The screen. When it is dropped the terminal is as it was.
pub(super) struct Screen {
    signal: Arc<AtomicUsize>,
}

impl Screen {
    pub(super) fn open() -> Result<Self, Failure> {
        if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
            return Err(Failure::usage(
                "watch draws on a terminal, and this is none. `lazaretto status --all` prints the same once",
            ));
        }
        let cannot = |error: &dyn std::fmt::Display| Failure::broken(format_args!("cannot use this terminal: {error}"));
        let signal = Arc::new(AtomicUsize::new(0));
        for number in [SIGHUP, SIGINT, SIGQUIT, SIGTERM] {
            let value = usize::try_from(number).unwrap_or_default();
            signal_hook::flag::register_usize(number, signal.clone(), value).map_err(|error| cannot(&error))?;
        }
        let before = termios::tcgetattr(io::stdin().as_fd()).map_err(|error| cannot(&error))?;
        let mut keys = before.clone();
        // Keys come one by one and unseen; Ctrl-C still is a signal. Ctrl-Z is not: it would leave
        // the screen as it is.
        keys.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
        keys.special_codes[SpecialCodeIndex::VSUSP] = 0;
        keys.special_codes[SpecialCodeIndex::VMIN] = 0;
        keys.special_codes[SpecialCodeIndex::VTIME] = PATIENCE_DS;
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
        let others = panic::take_hook();
        // A panic's message belongs on the screen that stays.
        panic::set_hook(Box::new(move |why| {
            restore();
            others(why);
        }));
        let screen = Self { signal };
        termios::tcsetattr(io::stdin().as_fd(), OptionalActions::Now, &keys).map_err(|error| cannot(&error))?;
        write(ENTER).map_err(|error| Failure::output(&error))?;
        Ok(screen)
    }

    /// Columns and rows.
    pub(super) fn size(&self) -> (usize, usize) {
        let size = termios::tcgetwinsize(io::stdout().as_fd()).ok();
        let size = size.map(|size| (usize::from(size.ws_col), usize::from(size.ws_row)));
        size.filter(|(columns, rows)| *columns > 0 && *rows > 0).unwrap_or((80, 24))
    }

    /// Draws every line of the screen anew, in one piece: as many lines as it has rows.
    pub(super) fn show(&self, lines: &[String]) -> Result<(), Failure> {
        write(&frame(lines)).map_err(|error| Failure::output(&error))
    }

    /// The keys that were pressed; after a fifth of a second, none.
    pub(super) fn keys(&self) -> Result<Vec<Key>, Failure> {
        let mut bytes = [0; 256];
        match rustix::io::read(io::stdin().as_fd(), &mut bytes) {
            Ok(read) => Ok(keys(&bytes[..read])),
            Err(rustix::io::Errno::INTR) => Ok(Vec::new()),
            Err(error) => Err(Failure::broken(format_args!("the terminal is gone: {error}")).coded("input")),
        }
    }

    /// The signal that came, if one did.
    pub(super) fn signal(&self) -> Option<i32> {
        i32::try_from(self.signal.load(Ordering::SeqCst)).ok().filter(|signal| *signal != 0)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

/// Puts the terminal back, once.
fn restore() {
    let before = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(before) = before {
        // What else was typed is not for the shell.
        let _ = termios::tcsetattr(io::stdin().as_fd(), OptionalActions::Flush, &before);
        let _ = write(LEAVE);
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// Between the marks of one update, so that no half of it is seen.
fn frame(lines: &[String]) -> String {
    // A line is cleared before it is written: after it, its last column would go too.
    let body: Vec<String> = lines.iter().map(|line| format!("\u{1b}[2K{line}\u{1b}[0m")).collect();
    format!("\u{1b}[?2026h\u{1b}[H{}\u{1b}[?2026l", body.join("\r\n"))
}

fn keys(mut bytes: &[u8]) -> Vec<Key> {
    const KNOWN: [(&[u8], Key); 16] = [
        (b"q", Key::Quit),
        (b"Q", Key::Quit),
        (b"j", Key::Lines(1)),
        (b"k", Key::Lines(-1)),
        (b"\x1b[B", Key::Lines(1)),
        (b"\x1b[A", Key::Lines(-1)),
        (b"\x1bOB", Key::Lines(1)),
        (b"\x1bOA", Key::Lines(-1)),
        (b" ", Key::Pages(1)),
        (b"\x1b[6~", Key::Pages(1)),
        (b"\x1b[5~", Key::Pages(-1)),
        (b"\x1b[H", Key::First),
        (b"g", Key::First),
        (b"G", Key::Last),
        (b"?", Key::Help),
        (b"h", Key::Help),
    ];
    let mut pressed = Vec::new();
    while !bytes.is_empty() {
        let known = KNOWN.iter().find(|(spelled, _)| bytes.starts_with(spelled));
        pressed.extend(known.map(|(_, key)| *key));
        bytes = &bytes[known.map_or_else(|| unknown(bytes), |(spelled, _)| spelled.len())..];
    }
    pressed
}

/// How long a key is that means nothing here: an escape sequence goes as a whole, or its letters
/// would be taken for keys.
fn unknown(bytes: &[u8]) -> usize {
    if !bytes.starts_with(b"\x1b[") {
        return 1;
    }
    let end = bytes[2..].iter().position(|byte| (0x40..0x7f).contains(byte));
    end.map_or(bytes.len(), |end| end + 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_apart_and_what_means_nothing_is_nothing() {
        assert_eq!(keys(b"q"), [Key::Quit]);
        assert_eq!(keys(b"\x1b[Aj\x1b[6~G"), [Key::Lines(-1), Key::Lines(1), Key::Pages(1), Key::Last]);
        assert_eq!(keys(b"?"), [Key::Help]);
        assert_eq!(keys(b"\x1b[1;5q\x1b[xy\x1b[3"), []);
        assert_eq!(keys(b""), []);
    }

    #[test]
    fn a_frame_clears_what_was_there() {
        assert_eq!(
            frame(&["a".into(), "b".into()]),
            "\u{1b}[?2026h\u{1b}[H\u{1b}[2Ka\u{1b}[0m\r\n\u{1b}[2Kb\u{1b}[0m\u{1b}[?2026l"
        );
    }
}
