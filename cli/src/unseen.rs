//! What is pasted on a terminal is not shown there. However the process ends, short of being
//! killed, the terminal is as it was before.

use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};

use rustix::termios::{self, LocalModes, OptionalActions, SpecialCodeIndex, Termios};

use super::failure::Failure;

/// How long a look for what was typed waits, in tenths of a second.
const PATIENCE_DS: u8 = 2;
const END: u8 = 0x04; // Ctrl-D
const ERASE_LINE: u8 = 0x15; // Ctrl-U

/// How the terminal was. None: nothing is to be put back.
static BEFORE: Mutex<Option<Termios>> = Mutex::new(None);

/// Whether a person can paste something here.
pub(super) fn is_possible() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Reads until `is_whole` says so of a line's end, or until Ctrl-D; at most `most` bytes. In the
/// terminal's own line mode a line of more than 4095 bytes would be cut.
pub(super) fn read(most: usize, is_whole: impl Fn(&[u8]) -> bool) -> Result<Vec<u8>, Failure> {
    let _hidden = Hidden::begin()?;
    let stdin = io::stdin();
    let (mut typed, mut bytes) = (Vec::new(), [0; 4096]);
    loop {
        let read = match rustix::io::read(stdin.as_fd(), &mut bytes) {
            Ok(read) => read,
            Err(rustix::io::Errno::INTR) => 0,
            Err(error) => {
                return Err(Failure::broken(format_args!("cannot read from the terminal: {error}")).coded("input"));
            }
        };
        for byte in &bytes[..read] {
            if take(&mut typed, *byte, &is_whole) || typed.len() > most {
                return Ok(typed);
            }
        }
    }
}

/// Takes one byte; whether it was the last.
fn take(typed: &mut Vec<u8>, byte: u8, is_whole: &impl Fn(&[u8]) -> bool) -> bool {
    match byte {
        END => return true,
        b'\r' | b'\n' if !typed.is_empty() => {
            if is_whole(typed) {
                return true;
            }
            typed.push(b'\n');
        }
        b'\r' | b'\n' => {}
        0x08 | 0x7f => drop(typed.pop()),
        ERASE_LINE => typed.clear(),
        byte => typed.push(byte),
    }
    false
}

/// The terminal shows nothing of what is typed, until this is dropped.
struct Hidden;

impl Hidden {
    fn begin() -> Result<Self, Failure> {
        let cannot = |error| Failure::broken(format_args!("cannot use this terminal: {error}"));
        let before = termios::tcgetattr(io::stdin().as_fd()).map_err(cannot)?;
        let mut hidden = before.clone();
        hidden.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
        // Ctrl-Z would leave the terminal as it is now.
        hidden.special_codes[SpecialCodeIndex::VSUSP] = 0;
        hidden.special_codes[SpecialCodeIndex::VMIN] = 0;
        hidden.special_codes[SpecialCodeIndex::VTIME] = PATIENCE_DS;
        *BEFORE.lock().unwrap_or_else(PoisonError::into_inner) = Some(before);
        termios::tcsetattr(io::stdin().as_fd(), OptionalActions::Now, &hidden).map_err(cannot)?;
        Ok(Self)
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        restore();
    }
}

/// Puts the terminal back as it was. Called by whatever ends the process.
pub(super) fn restore() {
    if let Some(before) = BEFORE.lock().unwrap_or_else(PoisonError::into_inner).take() {
        let _ = termios::tcsetattr(io::stdin().as_fd(), OptionalActions::Now, &before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(bytes: &[u8], is_whole: impl Fn(&[u8]) -> bool) -> (Vec<u8>, usize) {
        let mut typed = Vec::new();
        let taken = bytes.iter().position(|byte| take(&mut typed, *byte, &is_whole));
        (typed, taken.unwrap_or(bytes.len()))
    }

    #[test]
    fn a_line_ends_where_it_is_whole_and_can_be_corrected() {
        let line = |_: &[u8]| true;
        assert_eq!(typed(b"\nabc\nrest", line), (b"abc".to_vec(), 4));
        assert_eq!(typed(b"abx\x7fc\r", line), (b"abc".to_vec(), 5));
        assert_eq!(typed(b"wrong\x15abc\n", line), (b"abc".to_vec(), 9));
        assert_eq!(typed(b"abc\x04", line), (b"abc".to_vec(), 3));
        let json = |text: &[u8]| text.ends_with(b"}");
        assert_eq!(typed(b"{\n1\n}\nrest", json), (b"{\n1\n}".to_vec(), 5));
    }
}
