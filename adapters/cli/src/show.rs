//! What a person or a program reads. Text of others is escaped: a terminal would obey it.

use std::fmt::Write;

/// Returns the exit code for an error's `action`. A word that a newer keeper may know is no reason
/// to hide that it failed.
#[must_use]
pub fn exit_code(action: &str) -> u8 {
    match action {
        "usage" => 2,
        "login" => 3,
        "retry" => 4,
        "configure" => 5,
        _ => 1,
    }
}

/// Returns the word that a failure's line begins with. Programs look for these five and no other.
#[must_use]
pub fn first_word(action: &str) -> &'static str {
    match action {
        "usage" => "usage",
        "login" => "login",
        "retry" => "retry",
        "configure" => "configure",
        _ => "inspect",
    }
}

/// Returns what an access token's `origin` means.
#[must_use]
pub fn origin(origin: &str) -> &str {
    match origin {
        "refreshed" => "refreshed",
        "adopted" => "another process had just refreshed it, so nothing was sent",
        "stored" => "the vault already holds another token, so nothing was sent",
        "sealed" => "not refreshed; the access token from before is still good",
        "api-key" => "a key, which is not refreshed",
        other => other,
    }
}

/// Returns the text without what a terminal would obey, on one line.
#[must_use]
pub fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        let is_turning = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if c.is_control() || is_turning {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Rows in columns, the last one as it is.
#[must_use]
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |at: usize| rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|at| width(at).unwrap_or(0)).collect();
    let mut shown = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            // Writing to a string does not fail.
            let _ = write!(line, "{cell:<width$}  ");
        }
        shown.push_str(line.trim_end());
        shown.push('\n');
    }
    shown
}

/// Returns how long from now, in the two largest units.
#[must_use]
pub fn relative(at_ms: u64, now_ms: u64) -> String {
    let (seconds, is_past) = (at_ms.abs_diff(now_ms) / 1_000, at_ms < now_ms);
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    let length = match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    };
    if is_past { format!("{length} ago") } else { format!("in {length}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every action has its exit code and an unknown one is never done.
    #[test]
    fn every_action_has_its_exit_code_and_an_unknown_one_fails() {
        for (action, code) in [("inspect", 1), ("usage", 2), ("login", 3), ("retry", 4), ("configure", 5), ("new", 1)] {
            assert_eq!(exit_code(action), code, "{action}");
            let word = if action == "new" { "inspect" } else { action };
            assert_eq!(first_word(action), word);
        }
    }

    #[test]
    fn a_terminal_obeys_nothing_of_what_others_wrote() {
        assert_eq!(escaped("a\u{1b}[31m\n\u{202e}é"), "a\\u{1b}[31m\\n\\u{202e}é");
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["A", "B"], ["long", "é"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(table(&rows), "A     B\nlong  é\n");
        assert_eq!(table(&[]), "");
    }

    #[test]
    fn a_time_is_said_in_its_largest_units() {
        assert_eq!(relative(59_000, 0), "in 59 s");
        assert_eq!(relative(0, 3_660_000), "1 h 1 min ago");
        assert_eq!(relative(90_000_000, 0), "in 1 d 1 h");
    }
}
