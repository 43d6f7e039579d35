//! Texts are searched and cut plainly. What the standard library brings for that, with the messages of its indexing and
//! the Unicode tables behind them, is 8 KB of WebAssembly.

use std::iter;

/// The bytes of a text from `start` to `end`, both between two characters: anything else is a mistake of ours, and a panic.
pub(crate) fn part(text: &str, start: usize, end: usize) -> &str {
    text.get(start..end).expect("a text is cut between its characters")
}

/// What of a text comes after its first bytes.
pub(crate) fn after(text: &str, start: usize) -> &str {
    part(text, start, text.len())
}

/// A text in two.
pub(crate) fn split_at(text: &str, at: usize) -> (&str, &str) {
    (part(text, 0, at), after(text, at))
}

/// Where a text first holds another.
pub(crate) fn find(text: &str, wanted: &str) -> Option<usize> {
    let Some((first, more)) = wanted.as_bytes().split_first() else { return Some(0) };
    let mut rest = text.as_bytes();
    loop {
        // Most bytes are not the first one.
        rest = rest.get(rest.iter().position(|byte| byte == first)?..)?;
        if rest.get(1..)?.starts_with(more) {
            return Some(text.len() - rest.len());
        }
        rest = rest.get(1..)?;
    }
}

/// Whether a text holds another.
pub(crate) fn contains(text: &str, wanted: &str) -> bool {
    find(text, wanted).is_some()
}

/// What stands before another text, and what after it.
pub(crate) fn split_once<'a>(text: &'a str, by: &str) -> Option<(&'a str, &'a str)> {
    let at = find(text, by)?;
    Some((part(text, 0, at), after(text, at + by.len())))
}

/// What stands before the last of another text, and what after it.
pub(crate) fn rsplit_once<'a>(text: &'a str, by: &str) -> Option<(&'a str, &'a str)> {
    let at = text.as_bytes().windows(by.len()).rposition(|part| part == by.as_bytes())?;
    Some((part(text, 0, at), after(text, at + by.len())))
}

/// What stands before, between and after all of another text.
pub(crate) fn split<'a>(text: &'a str, by: &'static str) -> impl Iterator<Item = &'a str> {
    let mut rest = Some(text);
    iter::from_fn(move || {
        let text = rest?;
        let (part, more) = split_once(text, by).map_or((text, None), |(part, more)| (part, Some(more)));
        rest = more;
        Some(part)
    })
}

/// Texts behind each other, with another between each two.
pub(crate) fn joined(texts: &[impl AsRef<str>], by: &str) -> String {
    let mut all = String::new();
    for (at, text) in texts.iter().enumerate() {
        if at > 0 {
            all.push_str(by);
        }
        all.push_str(text.as_ref());
    }
    all
}

/// A text of others as one line of visible characters: whatever begins a line, moves a cursor or turns the reading order is
/// spelled out. What is escaped once stays as it is.
pub(crate) fn line(text: &str) -> String {
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

/// Characters that nobody sees, and that change what is seen. The zero-width joiner (200D) makes emoji.
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

/// Whether a word is one of those in a list with a space between each two.
pub(crate) fn is_one_of(word: &str, words: &str) -> bool {
    words.as_bytes().split(|byte| *byte == b' ').any(|known| known == word.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_of_a_list_is_a_whole_one() {
        assert!(is_one_of("b", "a b c") && is_one_of("a", "a"));
        assert!(!is_one_of("", "a b") && !is_one_of("a b", "a b") && !is_one_of("ab", "a b abc"));
    }

    #[test]
    fn a_text_of_others_is_one_line_of_visible_characters() {
        for (text, shown) in [
            ("plain, Zoë 日本 👩‍🚀", "plain, Zoë 日本 👩‍🚀"),
            ("a\r\nb\tc\\n", "a\\r\\nb\\tc\\n"),
            ("\u{1b}[2J\u{0}\u{9b}\u{7f}", "\\u{1b}[2J\\u{0}\\u{9b}\\u{7f}"),
            ("a\u{2028}b\u{202e}c\u{2066}\u{feff}", "a\\u{2028}b\\u{202e}c\\u{2066}\\u{feff}"),
        ] {
            assert_eq!(line(text), shown);
            assert_eq!(line(shown), shown);
        }
    }

    #[test]
    fn a_text_is_found_where_it_begins_first() {
        for (text, wanted) in [
            ("abcabc", "bc"),
            ("abc", "abc"),
            ("ab", "abc"),
            ("", "a"),
            ("aab", "ab"),
            ("aa", "a"),
            ("é=a", "="),
            ("a", ""),
        ] {
            assert_eq!(find(text, wanted), text.find(wanted), "{text}");
            assert_eq!(split_once(text, wanted), text.split_once(wanted), "{text}");
            if !wanted.is_empty() {
                assert_eq!(rsplit_once(text, wanted), text.rsplit_once(wanted), "{text}");
                assert!(split(text, wanted).eq(text.split(wanted)), "{text}");
            }
        }
    }
}
