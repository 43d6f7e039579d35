//! Text from others is shown as one line of visible characters, whatever it contains: servers,
//! vaults and file names cannot break a line, move a cursor or reverse the reading order of a
//! message.

/// Returns `text` as one line of visible characters. Every character that ends a line, moves a
/// cursor, changes the direction of reading or cannot be seen is replaced by its escape. Escapes
/// that are already in the text stay as they are.
pub(crate) fn visible_line(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '\n' | '\r' | '\t' => shown.extend(char.escape_default()),
            _ if is_hidden(char) => shown.extend(char.escape_unicode()),
            _ => shown.push(char),
        }
    }
    shown
}

/// Returns whether nobody sees a character although it changes what is seen. The zero-width joiner
/// (200D) is not one of them: emoji are made with it.
fn is_hidden(char: char) -> bool {
    char.is_control()
        || matches!(char,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200c}' | '\u{200e}' | '\u{200f}'
            // Separators of lines and paragraphs, embeddings and overrides of direction.
            | '\u{2028}'..='\u{202e}'
            // Invisible operators, isolates.
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            // Tags.
            | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_becomes_one_line_of_visible_characters() {
        for (text, shown) in [
            ("plain, Zoë 日本 👩‍🚀", "plain, Zoë 日本 👩‍🚀"),
            ("a\r\nb\tc\\n", "a\\r\\nb\\tc\\n"),
            ("\u{1b}[2J\u{0}\u{9b}\u{7f}", "\\u{1b}[2J\\u{0}\\u{9b}\\u{7f}"),
            ("a\u{2028}b\u{202e}c\u{2066}\u{feff}", "a\\u{2028}b\\u{202e}c\\u{2066}\\u{feff}"),
        ] {
            assert_eq!(visible_line(text), shown);
            assert_eq!(visible_line(shown), shown);
        }
    }
}
