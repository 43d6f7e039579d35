//! What is secret comes on standard input: arguments are seen by every process of the machine. On a
//! terminal it is not shown.

use std::io::{self, Read};

use super::failure::Failure;
use super::{terminal, unseen};

/// No token is longer, nor is any answer with tokens in it.
const LONGEST: u64 = 64 * 1024;

/// All of standard input, without white space around it; on a terminal what is pasted, up to the
/// end of a line or of a JSON object. What is wrong with it is not shown: it may be half a secret.
/// `option` is what led here, `what` is what should come.
pub(super) fn secret(option: &str, what: &str) -> Result<String, Failure> {
    if unseen::is_possible() {
        terminal::complain(&format!("Paste {what}, then press Enter. It is not shown."));
        let bytes = unseen::read(LONGEST as usize, is_whole)?;
        return secret_in(&bytes, option, what);
    }
    let mut bytes = Vec::new();
    io::stdin()
        .lock()
        .take(LONGEST + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::broken(format_args!("cannot read standard input: {error}")).coded("input"))?;
    secret_in(&bytes, option, what)
}

/// Whether a line's end is the end: not within a JSON object.
fn is_whole(text: &[u8]) -> bool {
    !text.trim_ascii_start().starts_with(b"{") || serde_json::from_slice::<serde::de::IgnoredAny>(text).is_ok()
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

    #[test]
    fn a_json_object_is_whole_at_its_end_and_a_key_at_the_lines() {
        assert!(is_whole(b"sk-1") && is_whole(b"{\n\"a\": 1\n}"));
        assert!(!is_whole(b"{") && !is_whole(b" {\"a\":"));
    }
}
