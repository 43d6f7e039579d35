//! Error codes and messages are found wherever a server puts them; what they mean is decided
//! elsewhere.

use std::borrow::Cow;
use std::cell::OnceCell;

use super::Answer;
use super::body::{Body, head, header};
use super::json::{self, Json};
use super::meanings::{self, Meaning};
use super::words;

/// Looked at in one answer at most; more is no error answer.
const MOST: usize = 12;
/// A longer text is no code.
const LONGEST_CODE: usize = 80;
/// Of one message this much is read.
const LONGEST_MESSAGE: usize = 320;

/// One error code.
pub(super) struct Code<'a> {
    pub(super) sent: Cow<'a, str>,
    /// In snake case, for comparing.
    pub(super) name: String,
    /// Sent as a JSON number.
    pub(super) is_number: bool,
    /// Where it was found, for `--explain`.
    pub(super) place: &'static str,
}

impl Code<'_> {
    /// Whether it stands in JSON within a message: the word of whoever the server asked.
    pub(super) fn is_quoted(&self) -> bool {
        self.place == QUOTED
    }
}

const QUOTED: &str = "within a message";

/// One message. Its [`words::plain`] form is made when a rule asks for it: most answers are decided
/// by a code.
pub(super) struct Message<'a> {
    pub(super) sent: &'a str,
    plain: OnceCell<String>,
}

impl Message<'_> {
    pub(super) fn plain(&self) -> &str {
        self.plain.get_or_init(|| words::plain(head(self.sent, LONGEST_MESSAGE)))
    }
}

/// All that an answer says, most telling first.
#[derive(Default)]
pub(super) struct Found<'a> {
    pub(super) codes: Vec<Code<'a>>,
    pub(super) messages: Vec<Message<'a>>,
}

/// Reads the body, and the headers that carry a code: all of them, because providers repeat
/// themselves.
pub(super) fn find<'a>(answer: &Answer<'a>, body: &'a Body<'_>) -> Found<'a> {
    let mut found = Found::default();
    if let Some(json) = &body.json {
        found.walk(json, 0);
    }
    if let Some(kind) = header(answer, "x-amzn-errortype") {
        found.code(kind.split(':').next().unwrap_or_default(), "x-amzn-errortype");
    }
    if let Some(message) = header(answer, "x-amzn-errormessage") {
        found.message(message);
    }
    if let Some(code) = header(answer, "www-authenticate").and_then(|challenge| quoted(challenge, "error=\"")) {
        // A bearer challenge speaks of the token in the Authorization header, which a refresh does
        // not send.
        if found.codes.is_empty() && words::snake(code) != "invalid_token" {
            found.code(code, "www-authenticate");
            if let Some(said) = header(answer, "www-authenticate").and_then(|it| quoted(it, "error_description=\"")) {
                found.message(said);
            }
        }
    }
    found.quoted();
    found
}

fn quoted<'a>(text: &'a str, before: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    rest.split_once('"').map(|(value, _)| value)
}

/// Members that hold a code, a message, or either. Names are compared without case, `_` and `-`.
#[derive(Clone, Copy, PartialEq)]
enum Holds {
    Code,
    Message,
    /// The member may hold the word of an error, or more members.
    Either,
    /// Only looked into for more members.
    Members,
}

const AWS_TYPE: &str = "__type";

/// In this order the members are read: the most telling first.
const MEMBERS: &[(&str, Holds)] = &[
    ("error", Holds::Either),
    ("errors", Holds::Either),
    ("errorcode", Holds::Code),
    ("errcode", Holds::Code),
    ("code", Holds::Either),
    (AWS_TYPE, Holds::Code),
    ("errortype", Holds::Code),
    ("type", Holds::Code),
    ("status", Holds::Code),
    ("reason", Holds::Either),
    ("suberror", Holds::Code),
    ("errorsubtype", Holds::Code),
    ("subcode", Holds::Code),
    ("ecode", Holds::Code),
    ("err", Holds::Either),
    ("errorname", Holds::Code),
    ("errorid", Holds::Code),
    ("errordescription", Holds::Message),
    ("message", Holds::Either),
    ("msg", Holds::Message),
    ("errmsg", Holds::Message),
    ("errormessage", Holds::Either),
    ("errormsg", Holds::Message),
    ("errorsummary", Holds::Message),
    ("detail", Holds::Either),
    ("details", Holds::Either),
    ("description", Holds::Message),
    ("title", Holds::Message),
    ("faultstring", Holds::Message),
    ("errorhint", Holds::Message),
    ("hint", Holds::Message),
    ("debug", Holds::Message),
    ("errordebug", Holds::Message),
    ("cause", Holds::Either),
    ("info", Holds::Either),
    ("exception", Holds::Message),
    ("developermessage", Holds::Message),
    ("usermessage", Holds::Message),
    ("innererror", Holds::Members),
    ("fault", Holds::Members),
    ("data", Holds::Members),
    ("body", Holds::Members),
    ("result", Holds::Members),
    ("response", Holds::Members),
];

impl<'a> Found<'a> {
    fn walk(&mut self, value: &'a Json<'_>, depth: u8) {
        const DEEPEST: u8 = 4;
        if depth > DEEPEST {
            return;
        }
        match value {
            Json::List(items) => items.iter().take(4).for_each(|item| match item {
                Json::Text(text) => self.either(text, "list"),
                item => self.walk(item, depth + 1),
            }),
            Json::Object(members) => self.members(members, depth),
            // A bare string is read like the error member of an object.
            Json::Text(text) if depth == 0 => self.either(text, "body"),
            _ => {}
        }
    }

    fn members(&mut self, members: &'a [(Json<'_>, Json<'_>)], depth: u8) {
        // One pass over the object, then one over what was found in it: an object may have
        // thousands of members.
        let mut slots: [Option<&'a Json<'_>>; MEMBERS.len()] = [None; MEMBERS.len()];
        let (mut field, mut resource) = (None, None);
        for (key, value) in members {
            let mut space = [0; 24];
            let name = match key.text().unwrap_or_default() {
                AWS_TYPE => AWS_TYPE,
                key if may_be_ours(key) => compact(key, &mut space),
                _ => continue,
            };
            match name {
                "field" => field = value.text(),
                "resource" => resource = value.text(),
                name => {
                    if let Some(at) = MEMBERS.iter().position(|(member, _)| *member == name) {
                        slots[at] = Some(value);
                    }
                }
            }
        }
        let field = field.or(resource);
        for ((name, holds), value) in MEMBERS.iter().zip(slots) {
            match (value, holds) {
                (None | Some(Json::Nothing | Json::Truth), _) => {}
                (Some(Json::Text(text)), Holds::Message) => self.message(text),
                (Some(Json::Text(_)), Holds::Members) => {}
                // {"field": "refresh_token", "code": "invalid"}: only together they say it.
                (Some(Json::Text(text)), _) if *name == "code" && field.is_some() => {
                    self.pair(field.unwrap_or_default(), text)
                }
                (Some(Json::Text(text)), Holds::Code) => self.code(text, name),
                (Some(Json::Text(text)), Holds::Either) => self.either(text, name),
                (Some(number @ Json::Number(_)), Holds::Code | Holds::Either) => {
                    if let Some(whole) = number.whole_number() {
                        let sent = whole.to_string();
                        self.push(Code { name: sent.clone(), sent: sent.into(), is_number: true, place: name });
                    }
                }
                (Some(Json::Number(_)), _) => {}
                (Some(value), _) => self.walk(value, depth + 1),
            }
        }
    }

    /// The codes of an answer that a message repeats:
    /// `400 Bad Request: "{"error":"invalid_grant"}"`.
    fn quoted(&mut self) {
        const LONGEST: usize = 4_096;
        let mut codes = Vec::new();
        for message in &self.messages {
            let Some(at) = message.sent.find('{') else { continue };
            let sent = head(&message.sent[at..], LONGEST);
            // Whoever wrote the message may have escaped the quotation once more.
            let unescaped = sent.contains("{\\\"").then(|| sent.replace("\\\"", "\""));
            let Some((json, _)) = json::read(unescaped.as_deref().unwrap_or(sent)) else { continue };
            let mut inner = Found::default();
            inner.walk(&json, 1);
            for Code { sent, name, is_number, .. } in inner.codes {
                let sent = Cow::Owned(sent.into_owned());
                codes.push(Code { sent, name, is_number, place: QUOTED });
            }
        }
        codes.into_iter().for_each(|code| self.push(code));
    }

    fn pair(&mut self, field: &str, code: &str) {
        if field.len() + code.len() < LONGEST_CODE {
            let sent = format!("{field}.{code}");
            self.push(Code { name: words::snake(&sent), sent: sent.into(), is_number: false, place: "field and code" });
        }
    }

    fn code(&mut self, text: &'a str, place: &'static str) {
        let text = text.trim();
        let is_code = text.len() <= LONGEST_CODE
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b':' | b'#' | b'/'))
            && text.bytes().any(|b| b.is_ascii_alphanumeric())
            && !text.contains("//");
        if is_code {
            self.push(Code { sent: text.into(), name: words::snake(text), is_number: false, place });
        }
    }

    /// Some servers write the code as a sentence ("Invalid refresh token") and some write a code as
    /// the message.
    fn either(&mut self, text: &'a str, place: &'static str) {
        const MOST_WORDS: usize = 4;
        let text = text.trim();
        let is_message = matches!(place, "message" | "detail" | "errormessage");
        // "refused" as a message is a short message; `TOKEN_EXPIRED` or `invalid_grant` there is a
        // code.
        if is_message
            && !text.contains('_')
            && meanings::meaning(&words::snake(head(text, LONGEST_CODE))) == Meaning::Unknown
        {
            return self.message(text);
        }
        // A whole answer as text.
        if text.contains('{') {
            return self.message(text);
        }
        if !text.contains(' ') {
            return self.code(text, place);
        }
        if !is_message && text.len() <= LONGEST_CODE && text.split(' ').count() <= MOST_WORDS {
            self.push(Code { sent: text.into(), name: words::snake(text), is_number: false, place });
        }
        self.message(text);
    }

    fn message(&mut self, text: &'a str) {
        if self.messages.len() < MOST && !text.is_empty() {
            self.messages.push(Message { sent: text, plain: OnceCell::new() });
        }
    }

    fn push(&mut self, code: Code<'a>) {
        if self.codes.len() < MOST && !code.name.is_empty() {
            self.codes.push(code);
        }
    }
}

/// Most members of a long answer are none of ours, and their first letter says so.
fn may_be_ours(key: &str) -> bool {
    key.len() <= 24
        && matches!(
            key.as_bytes().first().map(u8::to_ascii_lowercase),
            Some(b'b'..=b'f' | b'h' | b'i' | b'm' | b'r'..=b'u')
        )
}

/// The letters and digits of a member name, in lower case; a name too long for any of ours is
/// nothing.
fn compact<'s>(name: &str, space: &'s mut [u8; 24]) -> &'s str {
    let mut length = 0;
    for byte in name.bytes().filter(|byte| !matches!(byte, b'_' | b'-')) {
        let Some(slot) = space.get_mut(length) else { return "" };
        *slot = byte.to_ascii_lowercase();
        length += 1;
    }
    str::from_utf8(&space[..length]).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::body::Raw;
    use super::*;

    fn codes(headers: &[(&str, &str)], body: &str) -> Vec<String> {
        let headers: Vec<_> = headers.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let answer = Answer {
            status: Some(400),
            headers: &headers,
            body,
            body_complete: true,
            body_lossy: false,
            transport_error: None,
        };
        let body = Raw::of(&answer).parse(&answer);
        find(&answer, &body).codes.into_iter().map(|code| code.name).collect()
    }

    #[test]
    fn codes_are_found_wherever_servers_put_them() {
        for body in [
            r#"{"error":"invalid_grant"}"#,
            r#"{"error":{"code":"invalid_grant"}}"#,
            r#"{"error":{"type":"invalid_grant"}}"#,
            r#"{"errors":[{"errorType":"invalid_grant"}]}"#,
            r#"{"errors":[{"code":"invalid_grant"}]}"#,
            r#"{"code":"invalid_grant"}"#,
            r#"{"__type":"com.x#InvalidGrant"}"#,
            r#"{"status":"INVALID_GRANT"}"#,
            r#"{"errorCode":"invalid_grant"}"#,
            "error=invalid_grant",
            r#"{"error":["invalid_grant"]}"#,
            r#"[{"error_code":"invalid_grant"}]"#,
            r#"{"fault":{"detail":{"errorcode":"invalid_grant"}}}"#,
            r#"{"message":"invalid_grant"}"#,
            r#"{"error":"Invalid Grant"}"#,
            r#"{"error":"invalid_grant","x"#,
            "\"invalid_grant\"",
        ] {
            let label = if body.starts_with('"') { "application/json" } else { "" };
            assert_eq!(codes(&[("content-type", label)], body), ["invalid_grant"], "{body}");
        }
        assert_eq!(codes(&[("X-Amzn-ErrorType", "InvalidGrant:http://x")], ""), ["invalid_grant"]);
        assert_eq!(
            codes(&[("WWW-Authenticate", "Bearer realm=\"D\", error=\"invalid_grant\"")], ""),
            ["invalid_grant"]
        );
    }

    #[test]
    fn a_code_in_a_text_in_a_message_is_found_behind_the_answers_own() {
        for body in [
            json!({ "error": "outer", "error_description": r#"400: "{"error":"invalid_grant","error_description":"x"}""# }),
            json!({ "error": "outer", "error_description": r#"{"error":"invalid_grant"}"# }),
            json!({ "error": "outer", "error_description": r#"upstream said {\"error\":\"invalid_grant\"}"# }),
            json!({ "error": "outer", "message": r#"failed: {"error":{"code":"invalid_grant"}} and more"# }),
            json!({ "error": "outer", "detail": r#"{"error":"invalid_grant","cut"# }),
        ] {
            assert_eq!(codes(&[], &body.to_string()), ["outer", "invalid_grant"], "{body}");
        }
        assert_eq!(codes(&[], r#"{"error":"{\"error\":\"invalid_grant\"}"}"#), ["invalid_grant"]);
        assert_eq!(codes(&[], r#"{"error":"outer","error_description":"we sent {\"grant_type\":\"x\"}"}"#), ["outer"]);
    }

    #[test]
    fn a_field_and_its_code_are_one_code() {
        let body = r#"{"message":"Bad Request","errors":[{"resource":"RefreshToken","field":"refresh_token","code":"invalid"}]}"#;
        assert_eq!(codes(&[], body), ["refresh_token_invalid"]);
    }

    #[test]
    fn a_bearer_challenge_about_an_access_token_is_not_about_ours() {
        assert!(codes(&[("www-authenticate", "Bearer error=\"invalid_token\"")], "").is_empty());
    }
}
