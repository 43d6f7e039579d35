//! An event that is told is one line of JSON on standard error, whole or not at all as far as the
//! host allows, and nothing that goes wrong there is anybody's concern.

#![deny(unsafe_code)]
#![deny(missing_docs)]

/// The user's variable for what is told.
pub const WHICH: &str = "LAZARETTO_EVENTS";

/// Returns whether an event of this severity is told: `LAZARETTO_EVENTS` is `off`, `errors`,
/// `warnings` (and errors: so it is without it) or `all`.
#[must_use]
pub fn is_told(severity: &str, which: Option<&str>) -> bool {
    match which {
        Some("off") => false,
        Some("errors") => severity == "error",
        Some("all") => true,
        // A word that is none of these hides nothing that a person should see.
        _ => severity != "info",
    }
}

/// An event's line, member by member.
#[derive(Debug)]
pub struct Line(String);

impl Line {
    /// Returns an object without members.
    #[must_use]
    pub fn new() -> Self {
        Self("{".into())
    }

    /// With a member that is a string.
    pub fn string(&mut self, name: &str, value: &str) {
        self.name(name);
        self.quote(value);
    }

    /// With a member that is a string, or null.
    pub fn option(&mut self, name: &str, value: Option<&str>) {
        match value {
            Some(value) => self.string(name, value),
            None => {
                self.name(name);
                self.0.push_str("null");
            }
        }
    }

    /// With a member that is a number.
    pub fn number(&mut self, name: &str, value: u64) {
        self.name(name);
        self.0.push_str(&value.to_string());
    }

    /// With a member that is an object of strings.
    pub fn object<'a>(&mut self, name: &str, members: impl Iterator<Item = (&'a str, &'a str)>) {
        self.name(name);
        self.0.push('{');
        members.for_each(|(name, value)| self.string(name, value));
        self.0.push('}');
    }

    /// With its end.
    #[must_use]
    pub fn end(mut self) -> String {
        self.0.push_str("}\n");
        self.0
    }

    fn name(&mut self, name: &str) {
        if !self.0.ends_with('{') {
            self.0.push(',');
        }
        self.quote(name);
        self.0.push(':');
    }

    fn quote(&mut self, text: &str) {
        self.0.push('"');
        for c in text.chars() {
            match c {
                '"' => self.0.push_str("\\\""),
                '\\' => self.0.push_str("\\\\"),
                '\n' => self.0.push_str("\\n"),
                // A terminal obeys these too, the second row of them and the marks that turn text
                // around included.
                '\0'..='\u{1f}'
                | '\u{7f}'..='\u{9f}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{202a}'..='\u{202e}'
                | '\u{2066}'..='\u{2069}' => {
                    self.0.push_str("\\u");
                    for shift in [12, 8, 4, 0] {
                        self.0.extend(char::from_digit(u32::from(c) >> shift & 15, 16));
                    }
                }
                c => self.0.push(c),
            }
        }
        self.0.push('"');
    }
}

impl Default for Line {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(target_arch = "wasm32")]
mod wasi {
    use lazaretto_wipe::Wiping;
    use talc::wasm::{WasmDynamicTalc, new_wasm_dynamic_allocator};

    use super::{Line, WHICH, is_told};
    use bindings::exports::lazaretto::keeper::events as wit;
    use bindings::wasi::cli::environment::get_environment;
    use bindings::wasi::cli::stderr::get_stderr;

    #[global_allocator]
    static HEAP: Wiping<WasmDynamicTalc> = Wiping(new_wasm_dynamic_allocator());

    #[allow(unsafe_code, missing_docs, unreachable_pub, clippy::all, reason = "generated")]
    mod bindings {
        wit_bindgen::generate!({
            path: ["../../wit", "../wit"],
            world: "lazaretto:adapters/events-adapter",
            generate_all,
        });

        export!(Component);
        /// The one type that exports.
        pub struct Component;
    }

    /// No stream takes more at once.
    const PIECE: usize = 4096;

    impl wit::Guest for bindings::Component {
        fn emit(event: wit::Event) {
            let which = get_environment().into_iter().find(|(name, _)| name == WHICH).map(|(_, value)| value);
            if !is_told(&event.severity, which.as_deref()) {
                return;
            }
            let mut line = Line::new();
            line.string("event", &event.name);
            line.string("severity", &event.severity);
            line.number("at_ms", event.at_ms);
            line.string("provider", &event.provider);
            line.option("credential", event.credential.as_deref());
            line.string("message", &event.message);
            let attributes = event.attributes.iter();
            line.object("attributes", attributes.map(|attribute| (attribute.key.as_str(), attribute.value.as_str())));
            let stderr = get_stderr();
            for piece in line.end().as_bytes().chunks(PIECE) {
                if stderr.blocking_write_and_flush(piece).is_err() {
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_should_see_is_told_unless_it_was_turned_off() {
        let told = |which| ["info", "warning", "error"].map(|severity| is_told(severity, which));
        for (which, wanted) in [
            (None, [false, true, true]),
            (Some("warnings"), [false, true, true]),
            (Some("erors"), [false, true, true]),
            (Some("errors"), [false, false, true]),
            (Some("off"), [false, false, false]),
            (Some("all"), [true, true, true]),
        ] {
            assert_eq!(told(which), wanted, "{which:?}");
        }
    }

    #[test]
    fn an_event_is_one_line_of_json_whatever_it_says() {
        let mut line = Line::new();
        line.string("message", "a \"b\"\\\n\u{1b}[31m\u{9b}");
        line.option("credential", None);
        line.number("at_ms", 7);
        line.object("attributes", [("a", "1"), ("b", "2")].into_iter());
        assert_eq!(
            line.end(),
            "{\"message\":\"a \\\"b\\\"\\\\\\n\\u001b[31m\\u009b\",\"credential\":null,\"at_ms\":7,\"attributes\":{\"a\":\"1\",\"b\":\"2\"}}\n"
        );
    }
}
