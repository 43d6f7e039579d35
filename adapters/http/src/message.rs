//! What may stand in a request, and what is made of an answer's bytes.

/// Bodies and headers beyond this are cut.
pub const CAP_BYTES: usize = 64 << 10;

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

/// Whether a request can be made of this.
///
/// # Errors
/// What cannot stand in it, for a person. Never a value.
pub fn check<'a>(method: &str, body: &str, headers: impl Iterator<Item = (&'a str, &'a str)>) -> Result<(), String> {
    match method {
        "POST" => {}
        "GET" if body.is_empty() => {}
        "GET" => return Err("a GET request has no body; use POST".into()),
        _ => return Err("the method is neither POST nor GET".into()),
    }
    for (index, (name, value)) in headers.enumerate() {
        let is_token = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&b);
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(format!("the name of header {} is not one", index + 1));
        }
        if RESERVED.contains(&name) {
            return Err(format!("the header {name} is the host's to set; leave it out"));
        }
        if !value.bytes().all(|b| (b' '..=b'~').contains(&b) || b == b'\t') {
            return Err(format!("the value of the header {name} holds a control character or one outside ASCII"));
        }
    }
    Ok(())
}

/// A body as far as it came.
#[derive(Debug, PartialEq, Eq)]
pub struct Body {
    /// At most [`CAP_BYTES`].
    pub text: String,
    /// Nothing of it is missing.
    pub is_complete: bool,
    /// Bytes that were not UTF-8 were replaced.
    pub is_lossy: bool,
}

/// The text of at most [`CAP_BYTES`] bytes, which are all there is if `is_whole`.
#[must_use]
pub fn decode(bytes: &[u8], is_whole: bool) -> Body {
    let bytes = match std::str::from_utf8(bytes) {
        // The cut went through a character: that is not the server's mistake.
        Err(error) if !is_whole && error.error_len().is_none() => &bytes[..error.valid_up_to()],
        _ => bytes,
    };
    let decoded = String::from_utf8_lossy(bytes);
    let is_lossy = matches!(decoded, std::borrow::Cow::Owned(_));
    let mut text = decoded.into_owned();
    // A replaced byte becomes three.
    let fits = text.len() <= CAP_BYTES;
    text.truncate(text.floor_char_boundary(CAP_BYTES));
    Body { text, is_complete: is_whole && fits, is_lossy }
}

/// As many headers, from the first on, as fit under the cap.
#[must_use]
pub fn fitting(headers: Vec<(String, Vec<u8>)>) -> Vec<(String, String)> {
    let mut room = CAP_BYTES;
    let fits = |(name, value): &(String, Vec<u8>)| {
        let left = room.checked_sub(name.len() + value.len());
        room = left.unwrap_or(0);
        left.is_some()
    };
    let text = |(name, value): (String, Vec<u8>)| (name, String::from_utf8_lossy(&value).into_owned());
    headers.into_iter().take_while(fits).map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_a_post_or_a_bare_get_with_headers_of_its_own() {
        let check = |method, body, header: (&'static str, &'static str)| check(method, body, [header].into_iter());
        assert_eq!(check("POST", "a=b", ("content-type", "application/json")), Ok(()));
        assert_eq!(check("GET", "", ("accept", "a, b")), Ok(()));
        for (method, body, header) in [
            ("GET", "a", ("a", "b")),
            ("PUT", "", ("a", "b")),
            ("POST", "", ("host", "s3cret")),
            ("POST", "", ("a", "s3cret\r\nb: c")),
            ("POST", "", ("a", "s3crét")),
            ("POST", "", ("a b", "s3cret")),
            ("POST", "", ("A", "s3cret")),
        ] {
            let why = check(method, body, header).unwrap_err();
            assert!(!why.contains("s3cr"), "{why}");
        }
    }

    #[test]
    fn a_cut_through_a_character_is_nobodys_mistake() {
        let bytes = "aé".as_bytes();
        assert_eq!(decode(&bytes[..2], false), Body { text: "a".into(), is_complete: false, is_lossy: false });
        assert_eq!(decode(&bytes[..2], true), Body { text: "a\u{fffd}".into(), is_complete: true, is_lossy: true });
        assert_eq!(decode(bytes, true), Body { text: "aé".into(), is_complete: true, is_lossy: false });
    }

    #[test]
    fn a_text_that_grew_beyond_the_cap_is_cut() {
        let body = decode(&vec![0xff; CAP_BYTES], true);
        assert!(body.text.len() <= CAP_BYTES && !body.is_complete && body.is_lossy);
    }

    #[test]
    fn headers_end_where_the_cap_is_reached() {
        let header = |length| ("a".to_owned(), vec![b'x'; length]);
        assert_eq!(fitting(vec![header(10), header(CAP_BYTES), header(1)]).len(), 1);
    }

    #[test]
    fn a_url_in_a_message_has_no_user_and_no_query() {
        use crate::without_secrets;
        assert_eq!(without_secrets("https://you:s3cret@a.example/b?c=d"), "https://[redacted]@a.example/b");
        assert_eq!(without_secrets("you@a#b"), "[redacted]@a");
        assert_eq!(without_secrets("https://a.example"), "https://a.example");
    }
}
