//! An address as a QR code on the terminal, where it fits and can be scanned.

use std::env;

use qrcode::{Color, EcLevel, QrCode};

/// Light modules around the code, without which no camera finds it (ISO/IEC 18004 asks for four;
/// two are enough for cameras).
const QUIET: usize = 2;

/// How a code is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// Dark on light, two modules in one character.
    Coloured,
    /// The same where no colours are wanted: what is light is drawn, for most terminals are dark.
    Blocks,
    /// The same without letters beyond ASCII.
    Ascii,
}

/// What this terminal can show.
pub(super) fn look(is_coloured: bool) -> Look {
    match (speaks_utf8(), is_coloured) {
        (false, _) => Look::Ascii,
        (true, true) => Look::Coloured,
        (true, false) => Look::Blocks,
    }
}

/// Whether the locale's letters are UTF-8.
fn speaks_utf8() -> bool {
    let set = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(env::var_os).find(|value| !value.is_empty());
    let name = set.unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    name.contains("utf-8") || name.contains("utf8")
}

/// The lines of a code; none if there are more columns than so many.
pub(super) fn lines(text: &str, look: Look, columns: usize) -> Option<Vec<String>> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L).ok()?;
    let (width, modules) = (code.width(), code.to_colors());
    let size = width + 2 * QUIET;
    if (if look == Look::Ascii { 2 * size } else { size }) > columns {
        return None;
    }
    let is_dark = |row: usize, column: usize| {
        let (Some(row), Some(column)) = (row.checked_sub(QUIET), column.checked_sub(QUIET)) else { return false };
        row < width && column < width && modules[row * width + column] == Color::Dark
    };
    let line = |row: usize| -> String {
        let drawn: String =
            (0..size).map(|column| drawn(look, is_dark(row, column), is_dark(row + 1, column))).collect();
        if look == Look::Coloured { format!("\u{1b}[38;5;16;48;5;231m{drawn}\u{1b}[0m") } else { drawn }
    };
    Some((0..size).step_by(if look == Look::Ascii { 1 } else { 2 }).map(line).collect())
}

/// One module, or two above each other.
fn drawn(look: Look, is_dark: bool, is_dark_below: bool) -> &'static str {
    match look {
        Look::Ascii if is_dark => "  ",
        Look::Ascii => "##",
        _ => match (is_dark == (look == Look::Coloured), is_dark_below == (look == Look::Coloured)) {
            (true, true) => "█",
            (true, false) => "▀",
            (false, true) => "▄",
            (false, false) => " ",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://login.example/device?user_code=ABCD-EFGH";

    #[test]
    fn a_code_is_drawn_alike_in_every_look() {
        let ascii = lines(URL, Look::Ascii, 80).unwrap();
        let dark =
            |row: usize, column: usize| ascii.get(row).is_some_and(|line| &line[2 * column..2 * column + 2] == "  ");
        for look in [Look::Coloured, Look::Blocks] {
            let drawn = lines(URL, look, 80).unwrap();
            for (at, line) in drawn.iter().enumerate() {
                let plain = line.trim_start_matches("\u{1b}[38;5;16;48;5;231m").trim_end_matches("\u{1b}[0m");
                assert_eq!(plain.chars().count(), ascii[0].len() / 2);
                for (column, char) in plain.chars().enumerate() {
                    let (above, below) = (matches!(char, '█' | '▀'), matches!(char, '█' | '▄'));
                    let is_dark = look == Look::Coloured;
                    assert_eq!((above == is_dark, below == is_dark), (dark(2 * at, column), dark(2 * at + 1, column)));
                }
            }
        }
        // The corner of a finder pattern.
        assert!(!dark(1, 1) && dark(2, 2) && dark(2, 8) && !dark(3, 3) && dark(4, 4));
    }

    #[test]
    fn a_code_that_does_not_fit_is_not_shown() {
        assert!(lines(URL, Look::Blocks, 30).is_none() && lines(URL, Look::Blocks, 60).is_some());
        assert!(lines(URL, Look::Ascii, 60).is_none());
        assert!(lines(&"x".repeat(5_000), Look::Blocks, 1_000).is_none());
    }
}
