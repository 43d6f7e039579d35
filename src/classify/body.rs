//! What a body is, is seen from its first bytes; the content type only decides where those leave it
//! open.

use std::borrow::Cow;

use super::Answer;
use super::json::{self, End, Json};
use super::meanings;
use super::words::is_one_of;

/// The shapes a body can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Empty,
    /// A page: never the word of a token endpoint.
    Html,
    Json,
    Form,
    /// Plain text, XML, anything else.
    Text,
}

/// A body before it is parsed.
pub(super) struct Raw<'a> {
    pub(super) shape: Shape,
    pub(super) text: &'a str,
    /// The content type says HTML, whatever the bytes are.
    pub(super) labelled_html: bool,
}

/// A body that was parsed; `json` is `None` for shapes without members.
pub(super) struct Body<'a> {
    pub(super) shape: Shape,
    pub(super) json: Option<Json<'a>>,
    /// Nothing is missing at the end, and nothing is in the way before it.
    pub(super) whole: bool,
    /// It ended too early: whatever would have followed was not read.
    pub(super) cut: bool,
    pub(super) labelled_html: bool,
}

/// The value of the first header of that name, in any case.
pub(super) fn header<'a>(answer: &Answer<'a>, name: &str) -> Option<&'a str> {
    let found = answer.headers.iter().find(|(key, _)| key.trim().eq_ignore_ascii_case(name))?;
    Some(found.1.trim())
}

/// Whether `text` begins with `start`, in any case.
pub(super) fn begins(text: &str, start: &str) -> bool {
    text.as_bytes().get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start.as_bytes()))
}

/// The first bytes of a text, up to a character boundary.
pub(super) fn head(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[0..end]
}

impl<'a> Raw<'a> {
    pub(super) fn of(answer: &Answer<'a>) -> Self {
        let label = header(answer, "content-type").unwrap_or_default().to_ascii_lowercase();
        let labelled_html = label.contains("html");
        let text = answer.body.trim_matches(|c: char| c.is_whitespace() || matches!(c, '\u{feff}' | '\0'));
        // The prefix some servers put before JSON, so that no browser runs it as a script.
        let text = text.strip_prefix(")]}'").map_or(text, |rest| rest.trim_start_matches([',', '\n', '\r', ' ']));
        let shape = match text.as_bytes().first() {
            None if labelled_html => Shape::Html,
            None => Shape::Empty,
            Some(b'{' | b'[') => Shape::Json,
            Some(b'<') if begins(text, "<?xml") && !labelled_html && !head(text, 512).contains("<html") => Shape::Text,
            Some(b'<') if label.contains("xml") && !labelled_html => Shape::Text,
            Some(b'<') => Shape::Html,
            Some(_) if labelled_html => Shape::Html,
            Some(b'"') if label.contains("json") => Shape::Json,
            Some(_) if looks_like_a_form(text, &label) => Shape::Form,
            Some(_) => Shape::Text,
        };
        Self { shape, text, labelled_html }
    }

    /// Parses what has members.
    pub(super) fn parse(&self, answer: &Answer<'_>) -> Body<'a> {
        let complete = answer.body_complete;
        let (shape, json, whole, cut) = match self.shape {
            Shape::Json => match json::read(self.text) {
                // "[warning] ..." begins like a list and is none.
                None => (Shape::Text, None, complete, !complete),
                Some((Json::List(ref items), end)) if items.is_empty() && end != End::Whole => {
                    (Shape::Text, None, complete, !complete)
                }
                // Of a value that came to its end nothing is missing, whatever became of the
                // connection.
                Some((json, End::Whole)) => (Shape::Json, Some(json), true, false),
                Some((json, end)) => (Shape::Json, Some(json), false, end == End::Cut || !complete),
            },
            Shape::Form => (Shape::Form, Some(form(self.text, complete)), complete, !complete),
            Shape::Text if complete && is_bare_code(self.text) => {
                (Shape::Text, Some(Json::Text(self.text.into())), true, false)
            }
            shape => (shape, None, complete, !complete),
        };
        Body { shape, json, whole, cut, labelled_html: self.labelled_html }
    }
}

/// Text that begins with a member only a token endpoint would send, or is labelled as a form.
fn looks_like_a_form(text: &str, label: &str) -> bool {
    let Some((key, _)) = text.split_once('=') else { return false };
    let known = "error error_description error_uri access_token refresh_token expires_in token_type scope";
    !text.contains('\n') && (label.contains("x-www-form-urlencoded") || is_one_of(key, known))
}

/// A code of the table as the whole body, as written in its RFC: no proxy speaks so.
fn is_bare_code(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') && meanings::is_decisive(text)
}

fn form(text: &str, complete: bool) -> Json<'_> {
    let mut members: Vec<_> = text
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (Json::Text(decoded(key)), Json::Text(decoded(value))))
        .collect();
    if !complete {
        members.pop();
    }
    Json::Object(members)
}

/// Undoes the form encoding. Of what is no UTF-8 then, only the ASCII stays: no word that we know
/// needs more.
fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains(['%', '+']) {
        return Cow::Borrowed(text);
    }
    let digit = |byte: Option<&u8>| byte.and_then(|&b| char::from(b).to_digit(16));
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        bytes.push(match (first, digit(after.first()), digit(after.get(1))) {
            (b'%', Some(high), Some(low)) => {
                rest = after.get(2..).unwrap_or_default();
                (high * 16 + low) as u8
            }
            (b'+', ..) => b' ',
            _ => first,
        });
    }
    let ascii = |byte: &u8| if byte.is_ascii() { char::from(*byte) } else { char::REPLACEMENT_CHARACTER };
    Cow::Owned(String::from_utf8(bytes).unwrap_or_else(|error| error.as_bytes().iter().map(ascii).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(label: &str, body: &str) -> Shape {
        let headers = [("Content-Type".to_owned(), label.to_owned())];
        let answer = Answer {
            status: Some(200),
            headers: &headers,
            body,
            body_complete: true,
            body_lossy: false,
            transport_error: None,
        };
        Raw::of(&answer).shape
    }

    #[test]
    fn the_bytes_decide_before_the_label() {
        assert_eq!(shape("application/json", "\u{feff} <!DOCTYPE "), Shape::Html);
        assert_eq!(shape("text/html", "\u{feff}{\"error\":1}"), Shape::Json);
        assert_eq!(shape("text/html", "Attention Required!"), Shape::Html);
        assert_eq!(shape("text/html", ""), Shape::Html);
        assert_eq!(shape("text/plain", "error=bad_refresh_token&error_description=a+b"), Shape::Form);
        assert_eq!(shape("text/plain", "error code: 1020"), Shape::Text);
        assert_eq!(shape("text/xml", "<?xml version=\"1.0\"?><Error/>"), Shape::Text);
        assert_eq!(shape("", "  \r\n"), Shape::Empty);
    }

    #[test]
    fn form_values_are_decoded_and_a_cut_last_pair_is_dropped() {
        let whole = form("error=a+b%21%zz&x=1", true);
        assert_eq!(whole.member("error").and_then(Json::text), Some("a b!%zz"));
        let cut = form("access_token=abc&refresh_token=de", false);
        assert!(cut.member("access_token").is_some() && cut.member("refresh_token").is_none());
    }
}
