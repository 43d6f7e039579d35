//! What is secret comes on standard input: arguments are seen by every process of the machine.

use std::io::{self, IsTerminal, Read};

use super::failure::Failure;
use super::terminal;

/// No token is longer, nor is any answer with tokens in it.
const LONGEST: u64 = 64 * 1024;

/// All of standard input, without white space around it. What is wrong with it is not shown: it may be half a secret. `option` is
/// what led here, `what` is what should come.
pub(super) fn secret(option: &str, what: &str) -> Result<String, Failure> {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        terminal::complain(&format!("Paste {what}, then Enter and Ctrl-D:"));
    }
    let mut bytes = Vec::new();
    stdin
        .lock()
        .take(LONGEST + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::broken(format_args!("cannot read standard input: {error}")).coded("input"))?;
    secret_in(&bytes, option, what)
}

fn secret_in(bytes: &[u8], option: &str, what: &str) -> Result<String, Failure> {
    if bytes.len() as u64 > LONGEST {
        return Err(Failure::usage(format_args!("{option}: what came on standard input is too long for {what}")));
    }
    match std::str::from_utf8(bytes).map(str::trim) {
        Ok("") => Err(Failure::usage(format_args!("{option}: nothing came on standard input; pipe {what} in"))),
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(Failure::usage(format_args!("{option}: what came on standard input is no text, so not {what}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_a_secret_is_refused_and_not_shown() {
        assert_eq!(secret_in(b" abc.def \r\n", "add", "a key").unwrap(), "abc.def");
        for bad in [&b""[..], b" \n", b"\xffsecret", &[b's'; 70_000]] {
            let failure = secret_in(bad, "add", "a key").unwrap_err();
            assert!(failure.exit as u8 == 2 && !failure.message.contains("secret"), "{}", failure.message);
        }
    }
}
