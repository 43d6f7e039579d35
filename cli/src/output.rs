//! Standard output is written whole, and a failure to write it is the command's failure.

use std::io::{self, Write};

use super::failure::Failure;
use super::terminal;

/// Writes `text` to standard output and flushes it.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    terminal::end_progress();
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(|error| Failure::output(&error))
}
