//! JSON is read through byte spans and never re-serialised: [`check`] validates a text once,
//! without building a tree; a [`Value`] is then a span of that text, and its members and items are
//! found by scanning.
//!
//! So a text of any shape costs no memory, an edit (`vault::edit`) leaves every byte that it does
//! not name, and the component stays small: derived deserialisation of its documents was more than
//! half of its code.

mod scan;
mod spell;

use std::cmp::Ordering;
use std::fmt;
use std::iter;
use std::ops::Range;

use scan::{Scanner, position};
use spell::unquote;

pub use spell::{Object, quote};

/// Where and why a text is not JSON (RFC 8259).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonError {
    /// What is wrong, for a person.
    pub what: &'static str,
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// Counted from 0.
    pub byte: usize,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at line {}, column {} (byte {})", self.what, self.line, self.column, self.byte)
    }
}

/// What kind of value a span holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `{...}`
    Object,
    /// `[...]`
    Array,
    /// `"..."`
    String,
    /// Any spelling of a number.
    Number,
    /// `true` or `false`
    Bool,
    /// `null`
    Null,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Object => "an object",
            Self::Array => "a list",
            Self::String => "a string",
            Self::Number => "a number",
            Self::Bool => "true or false",
            Self::Null => "null",
        })
    }
}

/// One value of a checked text.
#[derive(Clone, Copy)]
pub struct Value<'a> {
    pub(crate) text: &'a str,
    start: usize,
    end: usize,
}

/// An object whose members are looked up often: scanned once.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    kind: Kind,
    /// Whether a key is spelled with an escape, so that its bytes are not its text.
    has_escapes: bool,
    /// In order.
    pub members: Vec<Member<'a>>,
}

impl<'a> Fields<'a> {
    /// Returns the members of an object; none for any other kind.
    pub fn of(value: Value<'a>) -> Self {
        Self::new(value.kind(), value.members().collect())
    }

    fn new(kind: Kind, members: Vec<Member<'a>>) -> Self {
        let has_escapes = members.iter().any(|member| member.key.inner().as_bytes().contains(&b'\\'));
        Self { kind, has_escapes, members }
    }

    /// Returns an object that has these members.
    pub fn of_members(members: Vec<Member<'a>>) -> Self {
        Self::new(Kind::Object, members)
    }

    /// Reads an object, whose first byte is at `at`, and returns its members and where it ends: one
    /// scan where [`Value::items`] and [`Fields::of`] would need two.
    fn object_at(text: &'a str, at: usize) -> (Self, usize) {
        let mut members = Members { text, at: at + 1, open: true };
        let mut all = Vec::with_capacity(16);
        all.extend(&mut members);
        (Self::new(Kind::Object, all), members.at + 1)
    }

    /// Of what kind of value they are.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The value of a key; of the last one where it is repeated.
    pub fn get(&self, key: &str) -> Option<Value<'a>> {
        let is_key = |member: &&Member<'a>| {
            if self.has_escapes {
                return member.key.is_str(key);
            }
            // The length tells most keys apart, and is compared without a look at the text.
            member.key.end - member.key.start == key.len() + 2 && member.key.inner() == key
        };
        self.members.iter().rev().find(is_key).map(|member| member.value)
    }

    /// The value at a JSON pointer (RFC 6901).
    pub fn pointer(&self, pointer: &str) -> Option<Value<'a>> {
        let below = pointer.strip_prefix('/')?;
        let (first, deeper) = below.split_at(below.find('/').unwrap_or(below.len()));
        let value = if first.contains('~') { self.get(&tokens(pointer).next()?) } else { self.get(first) };
        value?.pointer(deeper)
    }
}

/// One member of an object.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    /// The key, quotes and all.
    pub key: Value<'a>,
    /// The value.
    pub value: Value<'a>,
}

/// Validates a text and returns its one value.
///
/// ```
/// use lazaretto::json::check;
///
/// let error = check("{\n  \"a\": 01 }").unwrap_err();
/// assert_eq!((error.line, error.column), (2, 9));
/// assert_eq!(check("[1, 2]")?.items().count(), 2);
/// # Ok::<(), lazaretto::json::JsonError>(())
/// ```
pub fn check(text: &str) -> Result<Value<'_>, JsonError> {
    let mut scanner = Scanner::new(text, 0);
    scanner.document().map(|span| Value::at(text, span)).map_err(|what| position(text, scanner.at, what))
}

/// Validates a text and returns its one value and, if that is an object, its members: in one scan.
pub fn check_fields(text: &str) -> Result<(Value<'_>, Fields<'_>), JsonError> {
    let mut scanner = Scanner::new(text, 0);
    scanner.members = Some(Vec::new());
    let span = scanner.document().map_err(|what| position(text, scanner.at, what))?;
    let value = Value::at(text, span);
    let spans = scanner.members.unwrap_or_default();
    let member =
        |[key, of_key]: [Range<usize>; 2]| Member { key: Value::at(text, key), value: Value::at(text, of_key) };
    Ok((value, Fields::new(value.kind(), spans.into_iter().map(member).collect())))
}

/// Returns the number that a text spells; none if it is not a JSON number.
pub fn number(text: &str) -> Option<Value<'_>> {
    // Most texts that are asked about are times, and a number has no letter but its exponent's.
    let may_be = text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E'));
    may_be.then(|| check(text).ok()).flatten().filter(|value| value.kind() == Kind::Number)
}

impl<'a> Value<'a> {
    /// The one value of a text that [`check`] has found good before.
    pub fn trusted(text: &'a str) -> Self {
        let end = text.trim_end().len();
        Self { text, start: text.len() - text.trim_start().len(), end }
    }

    /// The value at a span of a text, as [`Value::span`] gave it.
    pub fn at(text: &'a str, span: Range<usize>) -> Self {
        Self { text, start: span.start, end: span.end }
    }

    /// The bytes it occupies in the text.
    pub fn span(&self) -> Range<usize> {
        self.start..self.end
    }

    /// As spelled in the text.
    ///
    /// ```
    /// use lazaretto::json::check;
    ///
    /// let vault = check("{ \"expires\" : 1.50e3 }")?;
    /// assert_eq!(vault.get("expires").map(|value| value.raw()), Some("1.50e3"));
    /// # Ok::<(), lazaretto::json::JsonError>(())
    /// ```
    pub fn raw(&self) -> &'a str {
        &self.text[self.start..self.end]
    }

    /// Read off the first byte.
    pub fn kind(&self) -> Kind {
        match self.text.as_bytes()[self.start] {
            b'{' => Kind::Object,
            b'[' => Kind::Array,
            b'"' => Kind::String,
            b't' | b'f' => Kind::Bool,
            b'n' => Kind::Null,
            _ => Kind::Number,
        }
    }

    /// The members of an object, in order; none for any other kind.
    pub fn members(&self) -> Members<'a> {
        Members { text: self.text, at: self.start + 1, open: self.kind() == Kind::Object }
    }

    /// The items of a list, in order; none for any other kind.
    pub fn items(&self) -> Items<'a> {
        Items { text: self.text, at: self.start + 1, open: self.kind() == Kind::Array }
    }

    /// Returns each item of a list with its members scanned; no item for any other kind.
    pub fn fields_of_items(&self) -> impl Iterator<Item = Fields<'a>> {
        let mut items = self.items();
        iter::from_fn(move || {
            if !items.open {
                return None;
            }
            let mut scanner = Scanner::new(items.text, items.at);
            if scanner.next_item(b']').is_some() && items.text.as_bytes().get(scanner.at) == Some(&b'{') {
                let (fields, end) = Fields::object_at(items.text, scanner.at);
                items.at = end;
                return Some(fields);
            }
            items.next().map(Fields::of)
        })
    }

    /// The value of a key; of the last one where it is repeated, as most parsers have it.
    pub fn get(&self, key: &str) -> Option<Value<'a>> {
        self.members().filter(|member| member.key.is_str(key)).last().map(|member| member.value)
    }

    /// The value at a JSON pointer (RFC 6901).
    ///
    /// ```
    /// use lazaretto::json::check;
    ///
    /// let vault = check(r#"{"tokens": [{"id": "a"}, {"id": "b"}]}"#)?;
    /// let id = vault.pointer("/tokens/1/id").and_then(|value| value.as_str());
    /// assert_eq!(id.as_deref(), Some("b"));
    /// # Ok::<(), lazaretto::json::JsonError>(())
    /// ```
    pub fn pointer(&self, pointer: &str) -> Option<Value<'a>> {
        tokens(pointer).try_fold(*self, |value, token| match value.kind() {
            Kind::Object => value.get(&token),
            Kind::Array => value.items().nth(token.parse::<u64>().ok()?.try_into().ok()?),
            _ => None,
        })
    }

    /// A string's text, unescaped. A lone surrogate becomes U+FFFD.
    pub fn as_str(&self) -> Option<String> {
        (self.kind() == Kind::String).then(|| unquote(self.inner()))
    }

    /// A whole number that is not negative. A fraction is cut off, and so is what 64 bits cannot
    /// hold.
    pub fn as_u64(&self) -> Option<u64> {
        self.decimal(0).filter(|_| !self.raw().starts_with('-'))
    }

    /// A number of seconds, perhaps with a fraction, in milliseconds. None if it is negative.
    pub fn as_millis(&self) -> Option<u64> {
        self.decimal(3).filter(|_| !self.raw().starts_with('-'))
    }

    /// A whole number of either sign; what is out of range ends at the range's end.
    pub fn as_i64(&self) -> Option<i64> {
        let size = i64::try_from(self.decimal(0)?).unwrap_or(i64::MAX);
        Some(if self.raw().starts_with('-') { -size } else { size })
    }

    /// `true` or `false`.
    pub fn as_bool(&self) -> Option<bool> {
        (self.kind() == Kind::Bool).then(|| self.raw() == "true")
    }

    /// A number's size times ten to `shift`, without its fraction. Read by hand: floating point
    /// would bring its tables.
    fn decimal(&self, shift: i32) -> Option<u64> {
        if self.kind() != Kind::Number {
            return None;
        }
        let raw = self.raw().trim_start_matches('-');
        let (mantissa, exponent) = raw.split_once(['e', 'E']).unwrap_or((raw, "0"));
        let exponent: i64 =
            exponent.trim_start_matches('+').parse().unwrap_or(if exponent.starts_with('-') { -999 } else { 999 });
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = whole.bytes().chain(fraction.bytes());
        let kept = exponent.clamp(-999, 999) + i64::from(shift) + whole.len() as i64;
        let mut value = 0u64;
        let mut taken = 0i64;
        for digit in digits.take(usize::try_from(kept).unwrap_or(0)) {
            value = value.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
            taken += 1;
        }
        while taken < kept.min(40) && value > 0 {
            value = value.saturating_mul(10);
            taken += 1;
        }
        Some(value)
    }

    /// A string without its quotes.
    fn inner(&self) -> &'a str {
        &self.text[self.start + 1..self.end - 1]
    }

    /// Returns whether it is a string with this text.
    pub fn is_str(&self, wanted: &str) -> bool {
        if self.kind() != Kind::String {
            return false;
        }
        let inner = &self.text.as_bytes()[self.start + 1..self.end - 1];
        // An escape is longer than what it stands for, so only a longer spelling can be the same
        // text.
        match inner.len().cmp(&wanted.len()) {
            Ordering::Less => false,
            Ordering::Equal => inner == wanted.as_bytes() && !inner.contains(&b'\\'),
            Ordering::Greater => inner.contains(&b'\\') && self.as_str().as_deref() == Some(wanted),
        }
    }
}

impl fmt::Debug for Value<'_> {
    // A vault's values are secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}..{}", self.kind(), self.start, self.end)
    }
}

/// The unescaped reference tokens of a JSON pointer.
pub fn tokens(pointer: &str) -> impl Iterator<Item = String> {
    pointer.split('/').skip(1).map(|token| {
        let mut parts = token.split('~');
        let mut unescaped = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (char, rest) = match part.as_bytes().first() {
                Some(b'0') => ('~', &part[1..]),
                Some(b'1') => ('/', &part[1..]),
                _ => ('~', part),
            };
            unescaped.push(char);
            unescaped.push_str(rest);
        }
        unescaped
    })
}

/// The JSON pointer with these reference tokens.
///
/// ```
/// use lazaretto::json::{pointer, tokens};
///
/// assert_eq!(pointer(&["a/b", "c"]), "/a~1b/c");
/// assert_eq!(tokens("/a~1b/c").collect::<Vec<_>>(), ["a/b", "c"]);
/// ```
#[cfg(feature = "admin")]
pub fn pointer(tokens: &[&str]) -> String {
    let mut pointer = String::new();
    for token in tokens {
        pointer.push('/');
        for char in token.chars() {
            match char {
                '~' => pointer.push_str("~0"),
                '/' => pointer.push_str("~1"),
                _ => pointer.push(char),
            }
        }
    }
    pointer
}

/// See [`Value::members`].
pub struct Members<'a> {
    text: &'a str,
    at: usize,
    open: bool,
}

impl<'a> Iterator for Members<'a> {
    type Item = Member<'a>;

    fn next(&mut self) -> Option<Member<'a>> {
        if !self.open {
            return None;
        }
        let mut scanner = Scanner::new(self.text, self.at);
        let key = scanner.next_item(b'}').and_then(|()| scanner.known_value());
        let member = key.and_then(|key| {
            scanner.space();
            scanner.at += 1; // the colon
            scanner.space();
            let value = scanner.known_value()?;
            Some(Member {
                key: Value { text: self.text, start: key.start, end: key.end },
                value: Value { text: self.text, start: value.start, end: value.end },
            })
        });
        self.at = scanner.at;
        self.open = member.is_some();
        member
    }
}

/// See [`Value::items`].
#[derive(Default)]
pub struct Items<'a> {
    text: &'a str,
    at: usize,
    open: bool,
}

impl<'a> Iterator for Items<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        if !self.open {
            return None;
        }
        let mut scanner = Scanner::new(self.text, self.at);
        let item = scanner.next_item(b']').and_then(|()| scanner.known_value()).map(|range| Value {
            text: self.text,
            start: range.start,
            end: range.end,
        });
        self.at = scanner.at;
        self.open = item.is_some();
        item
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_serde_json_takes_is_taken_and_what_it_refuses_is_refused() {
        for text in
            ["{}", "[]", " [1, 2.50, -0, 1e+9, 1E-2] ", r#"{"a":{"b":[true,false,null]},"a":1}"#, r#""\u00e9\n\"""#]
        {
            assert!(check(text).is_ok(), "{text}");
        }
        for text in [
            "",
            "  ",
            "{",
            "[1,]",
            "{\"a\":1,}",
            "{a:1}",
            "01",
            "1.",
            "-",
            "\"\\x\"",
            "\"\\u12\"",
            "tru",
            "[1 2]",
            "{\"a\" 1}",
            "{} {}",
            "\"\n\"",
            "+1",
            ".5",
            "'a'",
            "\u{feff}{}",
            "nul",
            "1e",
        ] {
            assert!(check(text).is_err(), "{text}");
            assert!(serde_json::from_str::<serde_json::Value>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_error_names_line_column_and_byte() {
        let error = check("{\n  \"é\": tru\n}").unwrap_err();
        assert_eq!((error.line, error.column, error.byte), (2, 8, 10));
        assert_eq!(error.to_string(), "a word that JSON does not have at line 2, column 8 (byte 10)");
    }

    #[test]
    fn deep_nesting_is_refused_without_exhausting_the_stack() {
        let error = check(&"[".repeat(1_000_000)).unwrap_err();
        assert_eq!(error.what, "nesting deeper than 128 levels");
    }

    #[test]
    fn a_pointer_finds_escaped_keys_and_list_items() {
        let value = check(r#"{"a/b":{"c\u0041~":[10,{"d":"x"}]}}"#).unwrap();
        assert_eq!(value.pointer("/a~1b/cA~0/1/d").unwrap().as_str().unwrap(), "x");
        assert!(value.pointer("/a~1b/cA~0/2").is_none());
    }

    #[cfg(feature = "admin")]
    #[test]
    fn a_pointer_is_spelled_as_it_is_read() {
        let path = ["a/b", "~1", "", "c"];
        assert!(tokens(&pointer(&path)).eq(path));
    }

    #[test]
    fn an_object_that_was_scanned_once_finds_what_a_scan_finds() {
        let value = check(r#"{"a":1,"a/b":{"c~":[1,{"d":2}]},"a":{"x":{"y":3}},"":4}"#).unwrap();
        let fields = Fields::of(value);
        for pointer in ["/a", "/a/x/y", "/a~1b/c~0/1/d", "/a~1b", "/none", "/a/none", "/"] {
            let raw = |found: Option<Value<'_>>| found.map(|value| value.raw().to_owned());
            assert_eq!(raw(fields.pointer(pointer)), raw(value.pointer(pointer)), "{pointer}");
        }
    }

    #[test]
    fn items_scanned_with_their_members_are_the_items() {
        let list = check(r#" [ {"a":1, "b":{"c":[]} } ,7,[{}],{},"x" , {"}":"]"}] "#).unwrap();
        let spelled = |fields: Fields<'_>| {
            let members = fields.members.iter().map(|member| (member.key.span(), member.value.span()));
            (fields.kind(), members.collect::<Vec<_>>())
        };
        assert!(list.fields_of_items().map(spelled).eq(list.items().map(Fields::of).map(spelled)));
        assert_eq!(list.fields_of_items().count(), 6);
        assert_eq!(check("{}").unwrap().fields_of_items().count(), 0);
    }

    #[test]
    fn members_found_while_checking_are_the_members() {
        for text in [r#" {"a":1, "\u0062":{"c":{"d":2}} ,"a" : [{"e":3}]} "#, "{}", "[1]", r#"[{"a":1}]"#, "7"] {
            let (value, fields) = check_fields(text).unwrap();
            let spans = |fields: &Fields<'_>| {
                fields.members.iter().map(|member| (member.key.span(), member.value.span())).collect::<Vec<_>>()
            };
            assert_eq!(spans(&fields), spans(&Fields::of(value)), "{text}");
            assert_eq!((value.span(), fields.kind()), (check(text).unwrap().span(), value.kind()));
        }
        let (_, fields) = check_fields(r#"{"\u0062":1,"a":2,"a":3}"#).unwrap();
        let raw = |key: &str| fields.get(key).map(|value| value.raw());
        assert_eq!((raw("b"), raw("a"), raw("\\u0062")), (Some("1"), Some("3"), None));
        assert_eq!(check_fields("{\"a\":}").unwrap_err(), check("{\"a\":}").unwrap_err());
    }

    #[test]
    fn of_a_repeated_key_the_last_value_counts() {
        assert_eq!(check(r#"{"a":1,"a":2}"#).unwrap().get("a").unwrap().raw(), "2");
    }

    #[test]
    fn strings_are_spelled_and_read_as_serde_json_has_them() {
        for text in ["", "a\"\\/\n\r\t\u{1}\u{8}\u{c}\u{7f}é\u{1f600}\u{2028}", "\0"] {
            assert_eq!(serde_json::from_str::<String>(&quote(text)).unwrap(), text);
            let quoted = serde_json::to_string(text).unwrap();
            assert_eq!(check(&quoted).unwrap().as_str().unwrap(), text);
        }
        for (quoted, text) in [
            (r#""\ud83d\ude00\u00e9\/""#, "\u{1f600}é/"),
            (r#""\ud83d!""#, "\u{fffd}!"),
            (r#""\udc00\b\f""#, "\u{fffd}\u{8}\u{c}"),
        ] {
            assert_eq!(check(quoted).unwrap().as_str().unwrap(), text);
        }
    }

    #[test]
    fn numbers_are_read_whatever_their_spelling() {
        let number = |text: &'static str| check(text).unwrap();
        for (text, whole, millis) in [
            ("0", 0, 0),
            ("21600", 21_600, 21_600_000),
            ("2.16e4", 21_600, 21_600_000),
            ("1784541600.5", 1_784_541_600, 1_784_541_600_500),
            ("0.0015e3", 1, 1_500),
            ("5e-1", 0, 500),
            ("1E+30", u64::MAX, u64::MAX),
            ("1e999999999999", u64::MAX, u64::MAX),
            ("1e-999999999999", 0, 0),
            ("0e999", 0, 0),
        ] {
            assert_eq!(number(text).as_u64(), Some(whole), "{text}");
            assert_eq!(number(text).as_millis(), Some(millis), "{text}");
        }
        assert_eq!((number("-3.7").as_u64(), number("-3.7").as_i64()), (None, Some(-3)));
        assert_eq!(number("\"3\"").as_u64(), None);
    }

    #[test]
    fn an_object_is_spelled_as_json() {
        let inner = Object::default().number("n", 1).lines();
        let mut object = Object::default();
        object.text("a\"", "b").maybe_number("c", None).raw("d", inner);
        assert_eq!(object.line(), "{\"a\\\"\":\"b\",\"d\":{\n  \"n\": 1\n}}");
        assert_eq!(object.lines(), "{\n  \"a\\\"\": \"b\",\n  \"d\": {\n    \"n\": 1\n  }\n}");
    }
}
