//! A body is read in one pass, without copying its strings, and as far as it goes: of one that was
//! cut, every value that came whole is kept and no half one.

use std::borrow::Cow;

use zeroize::Zeroize;

use crate::json::{self, Value};

/// Deeper than any answer goes; a body that does is read up to there.
const DEEPEST: u8 = 64;

/// One JSON value. Strings without escapes stay in the body: an answer holds tokens, and each copy
/// is one more to wipe.
pub(super) enum Json<'a> {
    /// Null: there is no value.
    Nothing,
    /// True or false: a value that is neither a code nor a token.
    Truth,
    Number(Value<'a>),
    Text(Cow<'a, str>),
    List(Vec<Json<'a>>),
    Object(Vec<(Json<'a>, Json<'a>)>),
}

impl<'a> Json<'a> {
    /// The member of that name; of two, the last, as most parsers have it.
    pub(super) fn member(&self, name: &str) -> Option<&Json<'a>> {
        let Self::Object(members) = self else { return None };
        members.iter().rev().find(|(key, _)| key.text() == Some(name)).map(|(_, value)| value)
    }

    /// RFC 6901, without its escapes: no provider needs them.
    pub(super) fn pointer(&self, pointer: &str) -> Option<&Json<'a>> {
        pointer.split('/').skip(1).try_fold(self, |at, step| match at {
            Self::List(items) => items.get(usize::try_from(step.parse::<u64>().ok()?).ok()?),
            _ => at.member(step),
        })
    }

    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A number without a fraction or an exponent.
    pub(super) fn whole_number(&self) -> Option<i64> {
        match self {
            Self::Number(number) => number.raw().parse().ok(),
            _ => None,
        }
    }
}

impl Drop for Json<'_> {
    fn drop(&mut self) {
        if let Self::Text(Cow::Owned(text)) = self {
            text.zeroize();
        }
    }
}

/// The value at the start of a text, and whether it came whole; what follows a whole value is not
/// looked at. `None` if not even its beginning is there.
pub(super) fn read(text: &str) -> Option<(Json<'_>, End)> {
    let mut reader = Reader { text, at: 0, cut: false, ran_out: false };
    let value = reader.value(0)?;
    let end = match (reader.cut, reader.ran_out) {
        (false, _) => End::Whole,
        (true, true) => End::Cut,
        (true, false) => End::Broken,
    };
    Some((value, end))
}

/// How far a value could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// To its end.
    Whole,
    /// To something that is no JSON; more text follows.
    Broken,
    /// To the end of the text, which comes too early.
    Cut,
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    /// Something was missing or wrong: what was read before it counts, nothing after it.
    cut: bool,
    /// What was missing is the rest of the text.
    ran_out: bool,
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: u8) -> Option<Json<'a>> {
        match self.next()? {
            b'{' | b'[' if depth == DEEPEST => None,
            b'{' => {
                let mut members = Vec::new();
                self.container(b'}', |reader| {
                    let key = reader.string()?;
                    reader.expect(b':')?;
                    members.push((key, reader.value(depth + 1)?));
                    Some(())
                });
                Some(Json::Object(members))
            }
            b'[' => {
                let mut items = Vec::new();
                self.container(b']', |reader| {
                    items.push(reader.value(depth + 1)?);
                    Some(())
                });
                Some(Json::List(items))
            }
            b'"' => self.string(),
            _ => self.word(),
        }
    }

    fn container(&mut self, close: u8, mut item: impl FnMut(&mut Self) -> Option<()>) {
        self.at += 1;
        if self.next() == Some(close) {
            self.at += 1;
            return;
        }
        while item(self).is_some() && !self.cut {
            match self.next() {
                Some(b',') => self.at += 1,
                Some(byte) if byte == close => {
                    self.at += 1;
                    return;
                }
                _ => break,
            }
        }
        self.cut = true;
    }

    /// A string with its closing quote. One with a bare line break in it is no JSON, but servers
    /// send it.
    fn string(&mut self) -> Option<Json<'a>> {
        self.expect(b'"')?;
        let start = self.at;
        let Some((plain, _)) = self.text[start..].split_once('"') else { return self.run_out() };
        if !plain.contains('\\') {
            self.at += plain.len() + 1;
            return Some(Json::Text(plain.into()));
        }
        loop {
            let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
            let Some(length) = rest.iter().position(|byte| matches!(byte, b'"' | b'\\')) else { return self.run_out() };
            self.at += length + 1;
            if self.text.as_bytes()[self.at - 1] == b'"' {
                return Some(Json::Text(json::check(&self.text[start - 1..self.at]).ok()?.as_str()?.into()));
            }
            self.at += 1;
        }
    }

    /// A number, true, false or null; whole only if something follows it.
    fn word(&mut self) -> Option<Json<'a>> {
        let rest = &self.text[self.at..];
        let length = rest.bytes().position(|byte| !byte.is_ascii_alphanumeric() && !matches!(byte, b'+' | b'-' | b'.'));
        let Some(length) = length else { return self.run_out() };
        let word = &rest[0..length];
        self.at += word.len();
        match word {
            "null" => return Some(Json::Nothing),
            "true" | "false" => return Some(Json::Truth),
            _ => {}
        }
        json::check(word).ok().map(Json::Number)
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        if self.next()? != byte {
            return None;
        }
        self.at += 1;
        Some(())
    }

    /// The next byte that is not white space; it is not taken.
    fn next(&mut self) -> Option<u8> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let Some(space) = rest.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r')) else {
            return self.run_out();
        };
        self.at += space;
        self.text.as_bytes().get(self.at).copied()
    }

    fn run_out<T>(&mut self) -> Option<T> {
        self.ran_out = true;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As JSON again, with the mark `~` where the text ended, and `!` where it went on as something
    /// else.
    fn seen(text: &str) -> String {
        fn spell(json: &Json<'_>) -> String {
            match json {
                Json::Nothing | Json::Truth => "-".into(),
                Json::Number(number) => number.raw().into(),
                Json::Text(text) => format!("\"{text}\""),
                Json::List(items) => format!("[{}]", items.iter().map(spell).collect::<Vec<_>>().join(",")),
                Json::Object(members) => {
                    let members: Vec<_> =
                        members.iter().map(|(key, value)| format!("{}:{}", spell(key), spell(value))).collect();
                    format!("{{{}}}", members.join(","))
                }
            }
        }
        match read(text) {
            Some((json, End::Whole)) => spell(&json),
            Some((json, End::Cut)) => spell(&json) + "~",
            Some((json, End::Broken)) => spell(&json) + "!",
            None => "nothing".into(),
        }
    }

    #[test]
    fn a_whole_body_is_read_as_it_is() {
        assert_eq!(
            seen(" {\"a\" : [1, -2.5e3 ,true,null],\n\"b\":{\"c\":\"\"} } "),
            r#"{"a":[1,-2.5e3,-,-],"b":{"c":""}}"#
        );
        assert_eq!(seen(r#"{"a":"say \"x\" \u0041"}"#), r#"{"a":"say "x" A"}"#);
        assert_eq!(seen("{}"), "{}");
        assert_eq!(seen("{\"a\":\"two\nlines\"}"), "{\"a\":\"two\nlines\"}");
    }

    #[test]
    fn a_cut_body_keeps_its_whole_values_and_no_half_ones() {
        assert_eq!(seen(r#"{"error":"invalid_grant","error_desc"#), r#"{"error":"invalid_grant"}~"#);
        assert_eq!(seen(r#"{"error":"invalid_grant""#), r#"{"error":"invalid_grant"}~"#);
        assert_eq!(seen(r#"{"access_token":"half"#), "{}~");
        assert_eq!(seen(r#"{"access_token":"half\"#), "{}~");
        assert_eq!(seen(r#"{"a":"x","expires_in":36"#), r#"{"a":"x"}~"#);
        assert_eq!(seen(r#"{"a":{"b":["c","d"#), r#"{"a":{"b":["c"]}}~"#);
        assert_eq!(seen(r#"{"a":"\u00"#), "{}~");
        assert_eq!(seen("{"), "{}~");
        assert_eq!(seen(""), "nothing");
    }

    #[test]
    fn what_is_no_json_is_read_up_to_there() {
        assert_eq!(seen(r#"{"a":1}<!-- served in 3 ms -->"#), r#"{"a":1}"#);
        assert_eq!(seen(r#"{"a":1,"b":nil,"c":2}"#), r#"{"a":1}!"#);
        assert_eq!(seen(r#"{"a":"\q","c":2}"#), "{}!");
        assert_eq!(seen("[warning] x"), "[]!");
        assert_eq!(seen("{\"a\":\"\\\u{e9}\"}"), "{}!");
        assert_eq!(seen(r#"{"a":"400: "{"b":"c"}"}"#), r#"{"a":"400: "}!"#);
    }

    #[test]
    fn strings_without_escapes_stay_in_the_body() {
        let (json, _) = read(r#"{"a":"plain","b":"esc\u0061ped"}"#).expect("JSON");
        assert!(matches!(json.member("a"), Some(Json::Text(Cow::Borrowed("plain")))));
        assert_eq!(json.pointer("/b").and_then(Json::text), Some("escaped"));
    }

    #[test]
    fn a_hundred_thousand_levels_do_not_overflow_the_stack() {
        let deep = "[".repeat(100_000);
        assert!(read(&deep).is_some_and(|(_, end)| end == End::Broken));
        assert!(read(&r#"{"a":"#.repeat(100_000)).is_some_and(|(_, end)| end == End::Broken));
    }
}
