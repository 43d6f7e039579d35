//! The scanner: it says whether a text is JSON, and where in it each value ends. It builds nothing.

use std::ops::Range;

use super::JsonError;

/// Deeper nesting is refused: no credential file needs it, and the scanners below recurse.
const MAX_DEPTH: usize = 128;

/// Where it stands in a text.
pub(super) struct Scanner<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
    /// Key and value of each member of the outermost object, if they are asked for.
    pub(super) members: Option<Vec<[Range<usize>; 2]>>,
}

pub(super) type Scan<T> = Result<T, &'static str>;

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str, at: usize) -> Self {
        Self { bytes: text.as_bytes(), at, members: None }
    }

    pub(super) fn document(&mut self) -> Scan<Range<usize>> {
        if self.bytes.starts_with(b"\xef\xbb\xbf") {
            return Err("a byte-order mark where JSON should begin");
        }
        self.space();
        if self.at == self.bytes.len() {
            return Err("there is nothing in it");
        }
        let range = self.value(0)?;
        self.space();
        if self.at < self.bytes.len() { Err("something follows the end of the JSON value") } else { Ok(range) }
    }

    pub(super) fn value(&mut self, depth: usize) -> Scan<Range<usize>> {
        let start = self.at;
        match self.peek() {
            Some(b'{') => self.container(depth, b'}', true)?,
            Some(b'[') => self.container(depth, b']', false)?,
            Some(b'"') => self.string()?,
            Some(b't') => self.word(b"true")?,
            Some(b'f') => self.word(b"false")?,
            Some(b'n') => self.word(b"null")?,
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(_) => return Err("a character that begins no JSON value"),
            None => return Err("the text ends where a value should be"),
        }
        Ok(start..self.at)
    }

    fn container(&mut self, depth: usize, close: u8, keyed: bool) -> Scan<()> {
        if depth == MAX_DEPTH {
            return Err("nesting deeper than 128 levels");
        }
        self.at += 1;
        self.space();
        if self.peek() == Some(close) {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.space();
            let key_at = self.at;
            let mut key = key_at..key_at;
            if keyed {
                match self.peek() {
                    Some(b'"') => self.string()?,
                    Some(_) => return Err("a key that is not a string"),
                    None => return Err("the text ends inside an object"),
                }
                key = key_at..self.at;
                self.space();
                if self.peek() != Some(b':') {
                    return Err("no colon after a key");
                }
                self.at += 1;
                self.space();
            }
            let value = self.value(depth + 1)?;
            if let (0, true, Some(members)) = (depth, keyed, &mut self.members) {
                members.push([key, value]);
            }
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(byte) if byte == close => {
                    self.at += 1;
                    return Ok(());
                }
                Some(_) => return Err("neither a comma nor the end of the object or list"),
                None => return Err("the text ends inside an object or list"),
            }
        }
    }

    fn string(&mut self) -> Scan<()> {
        self.at += 1;
        loop {
            self.plain();
            match self.peek() {
                None => return Err("the text ends inside a string"),
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => self.escape()?,
                Some(_) => return Err("a control character inside a string"),
            }
        }
    }

    /// Steps over what stands for itself in a string.
    fn plain(&mut self) {
        // Eight bytes at a time: most of a document are strings.
        while self.bytes.get(self.at..).and_then(<[u8]>::first_chunk).is_some_and(|eight| !has_special(eight)) {
            self.at += 8;
        }
        while self.peek().is_some_and(|byte| !matches!(byte, b'"' | b'\\' | 0..=0x1f)) {
            self.at += 1;
        }
    }

    fn escape(&mut self) -> Scan<()> {
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
            Some(b'u') => {
                let hex = self.bytes.get(self.at + 1..self.at + 5);
                if !hex.is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)) {
                    return Err("a \\u escape without four hex digits");
                }
                self.at += 5;
            }
            _ => return Err("an escape that JSON does not have"),
        }
        Ok(())
    }

    fn number(&mut self) -> Scan<()> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1
        } else {
            self.digits()?
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Scan<()> {
        if !matches!(self.peek(), Some(b'0'..=b'9')) {
            return Err("a number without a digit where one must be");
        }
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        Ok(())
    }

    fn word(&mut self, word: &[u8]) -> Scan<()> {
        if !self.bytes[self.at..].starts_with(word) {
            return Err("a word that JSON does not have");
        }
        self.at += word.len();
        Ok(())
    }

    /// A value of a text that was checked before: of what is in brackets only the brackets and
    /// strings count.
    pub(super) fn known_value(&mut self) -> Option<Range<usize>> {
        let (start, mut depth) = (self.at, 0);
        if !matches!(self.peek()?, b'{' | b'[') {
            return self.value(0).ok();
        }
        loop {
            match self.peek()? {
                b'"' => {
                    self.string().ok()?;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return Some(start..self.at);
            }
        }
    }

    /// Steps over space and one comma to the next item of a container; none at its end.
    pub(super) fn next_item(&mut self, close: u8) -> Option<()> {
        self.space();
        if self.peek() == Some(b',') {
            self.at += 1;
            self.space();
        }
        (self.peek()? != close).then_some(())
    }

    pub(super) fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    /// Asked of every byte: as a call it takes half of a scan's time, and more code than it saves.
    #[inline(always)]
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }
}

/// Whether a quote, a backslash or a control character is among eight bytes.
fn has_special(eight: &[u8; 8]) -> bool {
    const ONES: u64 = u64::MAX / 255;
    let eight = u64::from_le_bytes(*eight);
    // The high bit of a byte that is below `least`: subtracting that takes it from the one above.
    let below = |bytes: u64, least: u64| bytes.wrapping_sub(ONES * least) & !bytes & ONES << 7;
    let is = |byte: u8| below(eight ^ (ONES * u64::from(byte)), 1);
    below(eight, 0x20) | is(b'"') | is(b'\\') != 0
}

/// The place of a byte, for a person.
pub(super) fn position(text: &str, byte: usize, what: &'static str) -> JsonError {
    let byte = (0..=byte.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    let before = &text[0..byte];
    JsonError {
        what,
        line: before.matches('\n').count() + 1,
        column: before.rsplit_once('\n').map_or(before, |(_, line)| line).chars().count() + 1,
        byte,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_special_in_a_string_is_seen_wherever_it_stands() {
        for byte in 0..=u8::MAX {
            for (at, beside) in (0..8).flat_map(|at| [b' ', b'a', 0x7f, 0x80, 0xff].map(|beside| (at, beside))) {
                let mut eight = [beside; 8];
                eight[at] = byte;
                assert_eq!(has_special(&eight), matches!(byte, b'"' | b'\\' | 0..=0x1f), "{eight:?}");
            }
        }
    }

    #[test]
    fn a_value_that_was_checked_ends_where_it_ended() {
        for text in [
            "{}",
            "[[],{}]",
            r#"{"a":{"}":"[\"{"},"b":[1,"]\\",{"c":null}]}"#,
            r#""twelve bytes}\" and more""#,
            "-1.5e3",
            "true",
        ] {
            let text = format!("{text} , ]");
            let mut scanner = Scanner::new(&text, 0);
            assert_eq!(scanner.known_value(), Some(0..text.len() - 4), "{text}");
            assert_eq!(Scanner::new(&text, 0).value(0), Ok(0..text.len() - 4), "{text}");
        }
    }
}
