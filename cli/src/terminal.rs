//! Standard output and standard error: written whole, coloured only for a terminal that wants it.

use std::env;
use std::io::{self, IsTerminal, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use super::text;

/// Puts colours on text, or does not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    coloured: bool,
}

impl Style {
    /// No colours.
    #[cfg(test)]
    pub(super) const PLAIN: Self = Self { coloured: false };

    pub(super) fn is_coloured(self) -> bool {
        self.coloured
    }

    pub(super) fn good(self, text: &str) -> String {
        self.paint("32", text)
    }

    pub(super) fn warn(self, text: &str) -> String {
        self.paint("33", text)
    }

    pub(super) fn bad(self, text: &str) -> String {
        self.paint("1;31", text)
    }

    pub(super) fn strong(self, text: &str) -> String {
        self.paint("1", text)
    }

    pub(super) fn faint(self, text: &str) -> String {
        self.paint("2", text)
    }

    fn paint(self, how: &str, text: &str) -> String {
        if self.coloured && !text.is_empty() { format!("\u{1b}[{how}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

/// For standard output.
pub(super) fn stdout_style() -> Style {
    Style { coloured: wants_colours(io::stdout().is_terminal()) }
}

/// For standard error.
pub(super) fn stderr_style() -> Style {
    Style { coloured: wants_colours(io::stderr().is_terminal()) }
}

/// <https://no-color.org>
fn wants_colours(is_terminal: bool) -> bool {
    let is_set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
    is_terminal && !is_set("NO_COLOR") && env::var_os("TERM").is_none_or(|kind| kind != "dumb")
}

/// How many columns standard output has. None: it is no terminal, so nothing is broken or cut.
pub(super) fn stdout_columns() -> Option<usize> {
    let stdout = io::stdout();
    if !stdout.is_terminal() {
        return None;
    }
    Some(columns(stdout.as_fd()))
}

/// The same of standard error.
pub(super) fn stderr_columns() -> Option<usize> {
    let stderr = io::stderr();
    stderr.is_terminal().then(|| columns(stderr.as_fd()))
}

/// A terminal that does not say, or says something odd, has the usual width.
fn columns(terminal: BorrowedFd<'_>) -> usize {
    let size = rustix::termios::tcgetwinsize(terminal).ok();
    size.map(|size| usize::from(size.ws_col)).filter(|columns| *columns >= 20).unwrap_or(80)
}

/// Whether a line on standard error is to be replaced by what comes next.
static PROGRESS: AtomicBool = AtomicBool::new(false);

/// Whether somebody sees what goes to standard error.
pub(super) fn is_stderr_a_terminal() -> bool {
    io::stderr().is_terminal()
}

/// A line on standard error that goes when anything else is said. Only for a terminal.
pub(super) fn progress(line: &str) {
    if io::stderr().is_terminal() {
        let columns = columns(io::stderr().as_fd());
        // The last column stays free, or the cursor would be on the next line.
        let line = text::cut(&text::escape(line), columns.saturating_sub(1));
        PROGRESS.store(true, Ordering::SeqCst);
        let _ = io::stderr().lock().write_all(format!("\r\u{1b}[K{line}").as_bytes());
    }
}

/// A line on standard error for whoever sits there. Only for a terminal.
pub(super) fn note(line: &str) {
    if io::stderr().is_terminal() {
        complain(&text::escape(line));
    }
}

/// Clears that line, if there is one.
pub(super) fn end_progress() {
    if PROGRESS.swap(false, Ordering::SeqCst) {
        let _ = io::stderr().lock().write_all(b"\r\x1b[K");
    }
}

/// One line on standard error. If that fails, there is nobody to tell.
pub(super) fn complain(line: &str) {
    end_progress();
    let _ = io::stderr().lock().write_all(format!("{line}\n").as_bytes());
}

/// The one command that helps, on standard error.
pub(super) fn advise(command: &str) {
    let style = stderr_style();
    complain(&format!("{} {}", style.faint("run:"), style.strong(&text::escape(command))));
}

/// A warning on standard error.
pub(super) fn warn(message: &str) {
    complain(&format!("{} {}", stderr_style().warn("warning:"), text::escape(message)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_a_terminal_gets_no_colours() {
        assert!(!wants_colours(false));
        assert_eq!(Style::PLAIN.bad("x"), "x");
        assert_eq!(Style { coloured: true }.bad("x"), "\u{1b}[1;31mx\u{1b}[0m");
        assert_eq!(Style { coloured: true }.bad(""), "");
    }
}
