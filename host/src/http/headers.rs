//! Headers are the host's where they say how a message is carried, and an answer's are handed on as
//! far as they fit.
//!
//! The adapter over `wasi:http` includes this file too.

use super::CAP_BYTES;

/// Headers that say how a message is carried. They are the host's.
const RESERVED: [&str; 11] = [
    "connection",
    "content-length",
    "cookie",
    "expect",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "proxy-authorization",
];

/// Whether a caller may not set it. `name` is in lower case.
pub(crate) fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name)
}

/// As many headers, from the first on, as fit under the cap; without `content-encoding`, if that
/// was taken off the body.
pub(crate) fn fitting(headers: Vec<(String, Vec<u8>)>, is_coded: bool) -> Vec<(String, String)> {
    let mut room = CAP_BYTES;
    let fits = |(name, value): &(String, Vec<u8>)| {
        let left = room.checked_sub(name.len() + value.len());
        room = left.unwrap_or(0);
        left.is_some()
    };
    let text = |(name, value): (String, Vec<u8>)| (name, String::from_utf8_lossy(&value).into_owned());
    let is_kept = |(name, _): &(String, Vec<u8>)| is_coded || !name.eq_ignore_ascii_case("content-encoding");
    headers.into_iter().take_while(fits).filter(is_kept).map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_end_where_the_cap_is_reached() {
        let header = |length| ("a".to_owned(), vec![b'x'; length]);
        assert_eq!(fitting(vec![header(10), header(CAP_BYTES), header(1)], false).len(), 1);
    }

    #[test]
    fn a_coding_that_was_taken_off_is_not_named() {
        let headers = || vec![("Content-Encoding".to_owned(), b"gzip".to_vec()), ("a".to_owned(), b"b".to_vec())];
        assert_eq!(fitting(headers(), false), [("a".into(), "b".into())]);
        assert_eq!(fitting(headers(), true).len(), 2);
    }
}
