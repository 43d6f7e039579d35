//! What may stand in a request.

use crate::headers::is_reserved;

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
        if is_reserved(name) {
            return Err(format!("the header {name} is the host's to set; leave it out"));
        }
        if !value.bytes().all(|b| (b' '..=b'~').contains(&b) || b == b'\t') {
            return Err(format!("the value of the header {name} holds a control character or one outside ASCII"));
        }
    }
    Ok(())
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
    fn a_url_in_a_message_has_no_user_and_no_query() {
        use crate::without_secrets;
        assert_eq!(without_secrets("https://you:s3cret@a.example/b?c=d"), "https://[redacted]@a.example/b");
        assert_eq!(without_secrets("you@a#b"), "[redacted]@a");
        assert_eq!(without_secrets("https://a.example"), "https://a.example");
    }
}
