//! How JSON is spelled: strings, and objects for a person to read.

/// Spells a string as JSON.
pub fn quote(text: &str) -> String {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for char in text.chars() {
        match char {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            control @ ('\0'..='\x1f' | '\x7f') => {
                quoted.push_str("\\u00");
                quoted.push(char::from(HEX[control as usize >> 4]));
                quoted.push(char::from(HEX[control as usize & 15]));
            }
            _ => quoted.push(char),
        }
    }
    quoted.push('"');
    quoted
}

/// The text of a checked string's inside.
pub(super) fn unquote(inner: &str) -> String {
    let mut unquoted = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(at) = rest.find("\\") {
        let (plain, escape) = rest.split_at(at);
        let (char, length) = escaped(escape);
        unquoted.push_str(plain);
        unquoted.push(char);
        rest = &escape[length..];
    }
    unquoted.push_str(rest);
    unquoted
}

/// The character that an escape stands for, and the escape's length.
fn escaped(escape: &str) -> (char, usize) {
    let unit = |at: usize| escape.get(at..at + 4).and_then(|hex| u32::from_str_radix(hex, 16).ok());
    match escape.as_bytes().get(1) {
        Some(b'n') => ('\n', 2),
        Some(b'r') => ('\r', 2),
        Some(b't') => ('\t', 2),
        Some(b'b') => ('\u{8}', 2),
        Some(b'f') => ('\u{c}', 2),
        Some(b'u') => match (unit(2), escape.get(6..8), unit(8)) {
            (Some(high @ 0xd800..0xdc00), Some("\\u"), Some(low @ 0xdc00..0xe000)) => {
                let scalar = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                (char::from_u32(scalar).unwrap_or(char::REPLACEMENT_CHARACTER), 12)
            }
            (Some(unit), ..) => (char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER), 6),
            (None, ..) => (char::REPLACEMENT_CHARACTER, 2),
        },
        Some(other) => (char::from(*other), 2),
        None => (char::REPLACEMENT_CHARACTER, 1),
    }
}

/// Spells an object, member by member, for a person to read.
#[derive(Default)]
pub struct Object {
    members: Vec<(String, String)>,
}

impl Object {
    /// A string member.
    pub fn text(&mut self, key: &str, value: &str) -> &mut Self {
        self.raw(key, quote(value))
    }

    /// A string member, if there is one.
    pub fn maybe_text(&mut self, key: &str, value: Option<&str>) -> &mut Self {
        match value {
            Some(value) => self.text(key, value),
            None => self,
        }
    }

    /// A number member.
    pub fn number(&mut self, key: &str, value: u64) -> &mut Self {
        self.raw(key, value.to_string())
    }

    /// A number member, if there is one.
    pub fn maybe_number(&mut self, key: &str, value: Option<u64>) -> &mut Self {
        match value {
            Some(value) => self.number(key, value),
            None => self,
        }
    }

    /// A member spelled already.
    pub fn raw(&mut self, key: &str, value: String) -> &mut Self {
        self.members.push((quote(key), value));
        self
    }

    /// A member spelled already, if there is one.
    pub fn maybe_raw(&mut self, key: &str, value: Option<String>) -> &mut Self {
        match value {
            Some(value) => self.raw(key, value),
            None => self,
        }
    }

    /// The object on one line.
    pub fn line(&self) -> String {
        let members: Vec<String> = self.members.iter().map(|(key, value)| format!("{key}:{value}")).collect();
        format!("{{{}}}", members.join(","))
    }

    /// The object with a line for each member.
    pub fn lines(&self) -> String {
        if self.members.is_empty() {
            return "{}".to_owned();
        }
        let members: Vec<String> =
            self.members.iter().map(|(key, value)| format!("  {key}: {}", value.replace('\n', "\n  "))).collect();
        format!("{{\n{}\n}}", members.join(",\n"))
    }
}
