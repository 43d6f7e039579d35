//! Which texts may leave as tokens: one rule for what a server answered, what lies in a vault and
//! what a person adds.
//!
//! An access token is the value of an `authorization` header, so it is visible ASCII (RFC 9110
//! section 5.5, without the space): a line break or a NUL would begin a header of its own wherever
//! a caller puts it together by hand. A refresh token goes back to the server that gave it, escaped
//! as its form or JSON asks, so any text is good. RFC 6749 appendix A.17 has printable ASCII with
//! the space; what a server gives beyond that is returned as it came, for only that server knows
//! what it means.

#[cfg(feature = "keeper")]
use crate::secret::Secret;

/// What programs write where they have no value: no token is called so.
const NULLS: [&str; 4] = ["null", "undefined", "None", "nil"];
/// What stands for a character that could not be read: the text is not what the server sent.
const REPLACEMENT: char = '\u{fffd}';

/// Whether a text is a program's word for no value.
pub(crate) fn is_null(text: &str) -> bool {
    NULLS.contains(&text)
}

/// Whether a header can carry a text.
pub(crate) fn in_header(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Whether a text may be handed out as an access token or a key.
pub(crate) fn is_access_token(text: &str) -> bool {
    in_header(text) && !is_null(text)
}

/// Whether a text may be sent as a refresh token in a form or in JSON.
pub(crate) fn is_refresh_token(text: &str) -> bool {
    !text.trim().is_empty() && !text.contains(REPLACEMENT) && !is_null(text.trim())
}

/// The access token, if it may be handed out.
#[cfg(feature = "keeper")]
pub(crate) fn access_token(token: Option<&Secret>) -> Option<&Secret> {
    token.filter(|token| is_access_token(token.expose()))
}

/// Whether a text is an RFC 9110 section 5.6.2 token, as an authentication scheme is one.
#[cfg(feature = "keeper")]
pub(crate) fn is_scheme(text: &str) -> bool {
    let is_char = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_char)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_access_token_is_visible_ascii() {
        for text in ["at", "eyJ.a-b_c~+/=", "sk-!\"#$"] {
            assert!(is_access_token(text), "{text:?}");
        }
        for text in ["", " ", "a b", "a\n", "\ta", "a\r\nb", "a\0", "\u{7f}", "é", "a\u{200b}", "null", "None"] {
            assert!(!is_access_token(text), "{text:?}");
        }
    }

    #[test]
    fn a_refresh_token_is_any_text_that_was_read_whole() {
        for text in ["rt", "r t", " rt", "r\nt", "é", "\0", "nullable"] {
            assert!(is_refresh_token(text), "{text:?}");
        }
        for text in ["", " ", "\r\n", "rt\u{fffd}", "null", " undefined "] {
            assert!(!is_refresh_token(text), "{text:?}");
        }
    }

    #[test]
    #[cfg(feature = "keeper")]
    fn a_token_type_is_one_rfc_9110_token() {
        assert!(["Bearer", "DPoP", "N_A", "urn!x"].into_iter().all(is_scheme));
        assert!(!["", "a b", "a:b", "a\n", "é", "a/b", "\"a\""].into_iter().any(is_scheme));
    }
}
