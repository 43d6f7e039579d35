//! A success that came in bytes nobody can read says nothing, and is not asked for at once again: a
//! server that rotated takes that for a replay, and the next answer would be as unreadable.
//!
//! A host takes gzip and deflate off (`wit/http.wit`). Where it cannot take a coding off,
//! `content-encoding` still names it and the body is marked as lossy; where a proxy stripped that
//! name too, the bytes themselves are no text.

use super::body::{Shape, header};
use super::{Answer, Reading, Ruling, Verdict};

/// Codings whose names may be shown; another may be anything.
const KNOWN: [&str; 9] = ["gzip", "x-gzip", "deflate", "br", "zstd", "compress", "x-compress", "dcb", "dcz"];

/// The coding that is left on a body, as far as it may be shown.
pub(super) fn of(answer: &Answer<'_>) -> Option<&'static str> {
    if !answer.body_lossy {
        return None;
    }
    match header(answer, "content-encoding").map(str::to_ascii_lowercase).filter(|named| named != "identity") {
        Some(named) => Some(shown(&named)),
        None if answer.body.starts_with("\u{1f}\u{fffd}") => Some("gzip"),
        None if answer.body.starts_with("(\u{fffd}/\u{fffd}") => Some("zstd"),
        None if answer.body.contains(is_binary) => Some("without a name"),
        None => None,
    }
}

fn shown(named: &str) -> &'static str {
    KNOWN.into_iter().find(|known| *known == named).unwrap_or("with another name")
}

/// A control character that stands in no text.
fn is_binary(character: char) -> bool {
    character.is_ascii_control() && !matches!(character, '\t' | '\n' | '\x0c' | '\r')
}

impl<'r> Reading<'r> {
    /// A 2xx of which neither a success nor a word of the server's can be read, because of its
    /// coding.
    pub(super) fn unreadable(&self, status: u16) -> Option<Ruling<'r>> {
        of(self.answer)?;
        let is_named = header(self.answer, "content-encoding").is_some();
        // A page in another character set is a page.
        let may_be_coded = is_named || (self.body.shape != Shape::Html && self.found.codes.is_empty());
        let is_unreadable = matches!(status, 200..=299) && may_be_coded && self.success().is_none();
        is_unreadable.then(|| Ruling::of(Verdict::Unknown, super::UNREADABLE))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Rules, classify};
    use super::*;

    fn judged(status: u16, coding: &str, body: &str, body_lossy: bool) -> super::super::Judgement {
        let named = ("Content-Encoding".to_owned(), coding.to_owned());
        let headers: Vec<_> = Some(named).filter(|_| !coding.is_empty()).into_iter().collect();
        let answer = Answer {
            status: Some(status),
            headers: &headers,
            body,
            body_complete: true,
            body_lossy,
            transport_error: None,
        };
        classify(&Rules::default(), &answer, 0)
    }

    #[test]
    fn a_success_that_cannot_be_read_is_in_doubt_by_the_name_of_its_coding() {
        for (coding, body, said) in [
            ("br", "\u{b}\u{2}\u{fffd}", "coding br"),
            ("zstd", "(\u{fffd}/\u{fffd}", "coding zstd"),
            ("", "(\u{fffd}/\u{fffd}", "coding zstd"),
            ("gzip", "\u{1f}\u{fffd}", "coding gzip"),
            ("", "\u{1f}\u{fffd}", "coding gzip"),
            ("", "\u{b}\u{2}\u{fffd}", "coding without a name"),
            ("s3cret", "{}", "coding with another name"),
            ("gzip, br", "{}", "coding with another name"),
            ("gzip", "<html>\u{fffd}", "coding gzip"),
            ("deflate", "", "coding deflate"),
        ] {
            let judgement = judged(200, coding, body, true);
            assert_eq!(
                (judgement.verdict, judgement.rule.as_str()),
                (Verdict::Unknown, "unreadable-coding"),
                "{coding}"
            );
            assert!(
                judgement.in_doubt && judgement.is_unreadable && judgement.summary.contains(said),
                "{}",
                judgement.summary
            );
        }
    }

    #[test]
    fn what_can_be_read_counts_whatever_it_is_called() {
        let judgement = judged(200, "gzip", r#"{"access_token":"at"}"#, true);
        assert_eq!((judgement.verdict, judgement.is_unreadable), (Verdict::Refreshed, false));
        // Taken off by the host, which let the name stay.
        assert!(!judged(200, "gzip", "{}", false).is_unreadable);
        assert!(!judged(200, "", "Zugriff verweigert f\u{fffd}r Sie", true).is_unreadable);
        assert!(!judged(200, "", "<html>\u{1}\u{fffd}", true).is_unreadable);
        assert!(!judged(200, "", "{\"error\":\"server_error\",\"a\":\"\u{1}\u{fffd}\"}", true).is_unreadable);
        assert_eq!(judged(400, "gzip", r#"{"error":"invalid_grant"}"#, true).verdict, Verdict::Terminal);
    }

    #[test]
    fn a_refusal_that_cannot_be_read_is_no_proof_against_the_token() {
        for body in ["\u{b}\u{fffd}", "{\u{fffd}", "\0\u{fffd}", "\u{fffd}"] {
            let judgement = judged(401, "br", body, true);
            assert!(judgement.verdict != Verdict::Terminal && !judgement.is_unreadable, "{body:?}");
        }
    }

    #[test]
    fn a_successor_is_kept_even_if_the_rest_cannot_be_read() {
        let judgement = judged(200, "gzip", r#"{"refresh_token":"rt2","access_t"#, true);
        assert_eq!(judgement.verdict, Verdict::Unknown);
        assert!(judgement.tokens.is_some_and(|tokens| tokens.refresh_token.usable() == Some(&"rt2".into())));
    }
}
