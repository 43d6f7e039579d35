//! What the keys do and what the words mean, on the screen of `watch` itself.

use super::super::table::Look;
use super::super::terminal::Style;
use super::super::text;

const KEYS: [(&str, &str); 5] = [
    ("q", "quit"),
    ("arrows, j, k", "select a credential; what it needs stands at the bottom"),
    ("Page Up, Page Down, Space", "move by half a screen"),
    ("g, G", "the first, the last"),
    ("?", "this, and back"),
];

const USABLE: [(&str, &str); 5] = [
    ("59:00 left", "it can be used, and so much time is left; a full bar is an hour or more"),
    ("yes", "it can be used, and has no end"),
    ("expired", "the next call refreshes it"),
    ("end unknown", "it can be used, perhaps"),
    ("no", "it cannot be used"),
];

const RENEWAL: [(&str, &str); 10] = [
    ("ok", "it will be refreshed when it is due"),
    ("refreshing", "a process is at it now"),
    ("in doubt", "an answer was lost; the next call asks once more"),
    ("paused", "it is tried again by itself after that time"),
    ("needs login", "a person must log in: `run:`"),
    ("needs configuration", "a profile or the client must change"),
    ("quarantined", "the server refused it; it is kept sealed for seven days"),
    ("dead", "the server refused it, and it is not sent again"),
    ("no refresh token", "it ends when its access token ends"),
    ("API key", "it does not end by itself"),
];

/// As many lines as there are; the first word of each stands by itself where there is room.
pub(super) fn lines(columns: usize, style: Style) -> Vec<String> {
    let mut lines = Vec::new();
    for (title, entries) in [("Keys", &KEYS[..]), ("Usable", &USABLE), ("Renewal", &RENEWAL)] {
        if !lines.is_empty() {
            lines.push(String::new());
        }
        lines.push(style.strong(&text::cut(title, columns)));
        let widest = entries.iter().map(|(name, _)| text::width(name)).max().unwrap_or(0);
        for (name, meaning) in entries {
            // On a narrow screen the meaning stands beneath.
            let is_beside = columns >= widest + 30;
            let indent = if is_beside { widest + 4 } else { 4 };
            let mut meanings = text::wrap(meaning, columns.saturating_sub(indent)).into_iter();
            let name = text::cut(name, columns.saturating_sub(2));
            let gap = " ".repeat(indent.saturating_sub(text::width(&name) + 2));
            let first = if is_beside { meanings.next().unwrap_or_default() } else { String::new() };
            lines.push(format!("  {}{}{first}", Look::Good.paint(style, &name), if is_beside { &gap } else { "" }));
            let further = meanings.map(|line| format!("{}{line}", " ".repeat(indent)));
            lines.extend(further.map(|line| text::cut(&line, columns)));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_wider_than_the_screen_and_every_word_is_explained() {
        for columns in [40, 60, 80, 120] {
            let lines = lines(columns, Style::PLAIN);
            assert!(lines.iter().all(|line| text::width(line) <= columns), "{columns}: {lines:?}");
            let text = lines.join("\n");
            for word in ["refreshing", "in doubt", "paused", "needs login", "quarantined", "no refresh token", "quit"] {
                assert!(text.contains(word), "{columns}: {word}");
            }
        }
        assert!(lines(3, Style::PLAIN).iter().all(|line| text::width(line) <= 3));
    }
}
