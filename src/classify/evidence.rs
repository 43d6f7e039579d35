//! Nothing of an answer is shown but words of the closed list, codes made of them, short numbers,
//! and codes that a rule names: a secret that a server echoes has no way into the evidence.

use super::find_codes::{Code, Found};
use super::words::is_one_of;
use super::words::{self, CONFIG, DEAD, FAULT, INTERACT, NOT};
use crate::visible::visible_line;

/// The longest summary, in bytes.
pub(super) const LONGEST_SUMMARY: usize = 200;

/// The code as sent, if it may be shown. `named`: a rule or the table knows this very code.
pub(super) fn shown(code: &Code<'_>, named: bool) -> Option<String> {
    const LONGEST: usize = 64;
    const LONGEST_NUMBER: usize = 9;
    let fits = if code.is_number {
        code.sent.len() <= LONGEST_NUMBER
    } else {
        code.sent.len() <= LONGEST && (named || is_error_word(&code.name))
    };
    fits.then(|| visible_line(&code.sent))
}

/// A text that is no code of the table, but made of known words of which one complains.
pub(super) fn is_error_word(name: &str) -> bool {
    let complains = |word: &str| {
        words::meaning(word) & (DEAD | NOT | CONFIG | FAULT | INTERACT) != 0
            || is_one_of(word, "error exception denied failed failure forbidden required unauthorized")
    };
    name.split('_').all(words::known) && name.split('_').any(complains)
}

/// The message with every word that is not on the list replaced by one "..".
pub(super) fn redacted(message: &str, most: usize) -> String {
    let mut out = String::new();
    let mut hidden = false;
    for piece in message.split_whitespace() {
        if out.len() + 4 > most {
            break;
        }
        let word = piece.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        let end = if piece.ends_with(['.', ',', ':', ';', '?', '!']) { &piece[piece.len() - 1..] } else { "" };
        let fits = out.len() + word.len() + 2 <= most;
        if word.is_empty() || (fits && may_be_shown(word)) {
            if !word.is_empty() {
                if !out.is_empty() {
                    out.push(' ');
                }
                out.push_str(word);
                out.push_str(end);
                hidden = false;
            }
        } else if !hidden {
            out.push_str(if out.is_empty() { ".." } else { " .." });
            hidden = true;
        }
    }
    out
}

/// One known word, or two joined as in `refresh_token` or "doesn't"; a longer chain might be a
/// made-up secret.
fn may_be_shown(word: &str) -> bool {
    const MOST_PARTS: usize = 2;
    const LONGEST_NUMBER: usize = 3;
    if word.len() <= LONGEST_NUMBER && word.bytes().all(|b| b.is_ascii_digit()) {
        return true;
    }
    if word.len() > 40 {
        return false;
    }
    let mut parts = 0;
    word.split(['_', '-', '\'', '/', '\u{2019}']).all(|part| {
        parts += 1;
        parts <= MOST_PARTS && words::known(part)
    })
}

/// What the person is told: the status, the codes, what it means, and the server's own words as far
/// as they are words.
pub(super) fn summary(status: &str, codes: &[&str], why: &str, found: &Found<'_>) -> String {
    let mut text = String::from(status);
    for code in codes {
        text.push(' ');
        text.push_str(code);
    }
    text.push_str(": ");
    text.push_str(why);
    let message = found.messages.iter().max_by_key(|message| message.sent.len().min(80));
    let room = LONGEST_SUMMARY.saturating_sub(text.len() + 12);
    if let Some(message) = message.filter(|_| room > 20) {
        let said = redacted(message.sent, room);
        if said.bytes().any(|b| b.is_ascii_alphabetic()) {
            text.push_str(" (it said: ");
            text.push_str(&said);
            text.push(')');
        }
    }
    let end = super::body::head(&text, LONGEST_SUMMARY).len();
    text.truncate(end);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_words_of_a_message_are_shown() {
        let shown = redacted(
            "Refresh token invalid: 4f9a0bc1d2. Visit https://x.test/?t=4f9a0bc1d2 for more information.",
            160,
        );
        assert_eq!(shown, "Refresh token invalid: .. Visit .. for more information.");
        assert_eq!(
            redacted("password=hunter2 eyJhbGciOi.eyJzdWIi.c2ln me@example.test correct-horse-battery", 160),
            ".."
        );
        assert_eq!(redacted("The refresh_token doesn't exist", 160), "The refresh_token doesn't exist");
        assert!(redacted(&"token ".repeat(100), 50).len() <= 50);
    }

    #[test]
    fn a_code_is_shown_if_a_rule_names_it_or_its_words_do() {
        let code =
            |sent: &'static str| Code { sent: sent.into(), name: words::snake(sent), is_number: false, place: "error" };
        assert_eq!(shown(&code("BadCredentialsException"), false).as_deref(), Some("BadCredentialsException"));
        assert_eq!(shown(&code("aXb81kQz"), false), None);
        assert_eq!(shown(&code("rt-very-secret"), false), None);
        assert_eq!(shown(&code("secret_token"), false), None);
        assert_eq!(shown(&code("quirky_code"), true).as_deref(), Some("quirky_code"));
    }
}
