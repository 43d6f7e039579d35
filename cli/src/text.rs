//! Text of others - labels in files, messages of servers - reaches a terminal as visible characters
//! only.

use std::fmt::Write;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::glyphs::Glyphs;

/// One line that can be shown: whatever moves the cursor, changes colours or turns the reading
/// order is spelled out.
pub(super) fn escape(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '\n' | '\r' | '\t' => shown.extend(char.escape_default()),
            _ if is_hidden(char) => {
                // Writing to a String cannot fail.
                let _ = write!(shown, "\\u{{{:x}}}", u32::from(char));
            }
            _ => shown.push(char),
        }
    }
    shown
}

/// Characters that a person does not see, and that change what is seen.
fn is_hidden(char: char) -> bool {
    char.is_control()
        || matches!(char,
            '\u{ad}' | '\u{61c}' | '\u{180e}'
            // Zero-width space and non-joiner, marks of direction. The joiner (200D) makes emoji.
            | '\u{200b}' | '\u{200c}' | '\u{200e}' | '\u{200f}'
            // Line and paragraph separators, embeddings and overrides of direction.
            | '\u{2028}'..='\u{202e}'
            // Invisible operators, isolates.
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            // Tags.
            | '\u{e0000}'..='\u{e007f}')
}

/// How many columns it takes.
pub(super) fn width(text: &str) -> usize {
    text.width()
}

/// At most so many columns of it, with an ellipsis where something is missing.
pub(super) fn cut(text: &str, columns: usize) -> String {
    cut_with(text, columns, Glyphs::of_this_process())
}

/// The same with these characters.
pub(super) fn cut_with(text: &str, columns: usize, glyphs: &Glyphs) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let ellipsis: String = glyphs.ellipsis.chars().take(columns.max(1)).collect();
    let mut kept = String::new();
    let mut used = width(&ellipsis);
    for char in text.chars() {
        used += char.width().unwrap_or(0);
        if used > columns {
            break;
        }
        kept.push(char);
    }
    kept + &ellipsis
}

/// The end of it, where that says more than the beginning, as of a path.
pub(super) fn cut_front(text: &str, columns: usize, glyphs: &Glyphs) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let room = columns.saturating_sub(width(glyphs.ellipsis));
    let mut from = text.char_indices().map(|(at, _)| at);
    let fits = from.find(|at| width(&text[*at..]) <= room);
    fits.filter(|_| room > 0)
        .map_or_else(|| cut_with(text, columns, glyphs), |at| format!("{}{}", glyphs.ellipsis, &text[at..]))
}

/// Lines of at most so many columns, broken at spaces; a longer word is broken where it must be.
/// Never empty.
pub(super) fn wrap(text: &str, columns: usize) -> Vec<String> {
    let columns = columns.max(1);
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        if !line.is_empty() && width(&line) + 1 + width(word) > columns {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        for char in word.chars() {
            if !line.is_empty() && width(&line) + char.width().unwrap_or(0) > columns {
                lines.push(std::mem::take(&mut line));
            }
            line.push(char);
        }
    }
    if !line.is_empty() || lines.is_empty() {
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_deceive_a_reader_is_spelled_out() {
        for (text, shown) in [
            ("plain, Zoë 日本 👩‍🚀", "plain, Zoë 日本 👩‍🚀"),
            ("\u{1b}[2J\u{7}", "\\u{1b}[2J\\u{7}"),
            ("a\r\nb\tc", "a\\r\\nb\\tc"),
            ("\u{9b}31m\u{7f}", "\\u{9b}31m\\u{7f}"),
            ("abc\u{202e}fed\u{2066}", "abc\\u{202e}fed\\u{2066}"),
            ("\u{feff}\u{200b}\u{e0041}", "\\u{feff}\\u{200b}\\u{e0041}"),
        ] {
            assert_eq!(escape(text), shown);
        }
        // A break in a name or an answer begins no line of its own.
        assert_eq!(escape("a\u{1b}\nb"), "a\\u{1b}\\nb");
    }

    /// A cut text is never wider than asked and says that it was cut.
    #[test]
    fn a_cut_text_fits_its_width_and_shows_the_cut() {
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdefg", 6), "abcde…");
        assert_eq!(cut("日本語です", 6), "日本…");
        assert_eq!(cut("abc", 1), "…");
        for (columns, wanted) in [(7, "abcdefg"), (6, "abc..."), (3, "..."), (1, ".")] {
            assert_eq!(cut_with("abcdefg", columns, &Glyphs::ASCII), wanted);
        }
        assert_eq!(cut_front("/home/me/auth.json", 10, &Glyphs::UNICODE), "…auth.json");
        assert_eq!(cut_front("/home/me/auth.json", 12, &Glyphs::ASCII), "...auth.json");
        assert_eq!(cut_front("abc", 1, &Glyphs::ASCII), ".");
    }

    #[test]
    fn lines_break_at_spaces_and_inside_a_word_only_if_they_must() {
        assert_eq!(wrap("the quick brown fox", 10), ["the quick", "brown fox"]);
        assert_eq!(wrap("a abcdefghij b", 4), ["a", "abcd", "efgh", "ij b"]);
        assert_eq!(wrap("日本語", 4), ["日本", "語"]);
        assert_eq!(wrap("", 4), [""]);
        assert_eq!(wrap("x", 0), ["x"]);
    }
}
