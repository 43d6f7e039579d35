//! Columns that line up, whatever is in them, and notes beneath a row that keep to the width of the
//! terminal.

use super::terminal::Style;
use super::text;

/// A column that may be cut is left at least so wide.
const NARROWEST: usize = 8;
/// And is never wider than this: one row's long text would move the others out of sight.
const WIDEST: usize = 48;
/// What a note shows at most.
const LONGEST_NOTE: usize = 600;
const GAP: &str = "  ";
const INDENT: &str = "    ";

/// How a cell looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    Plain,
    Good,
    Warn,
    Bad,
    Faint,
}

impl Look {
    pub(super) fn paint(self, style: Style, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Good => style.good(text),
            Self::Warn => style.warn(text),
            Self::Bad => style.bad(text),
            Self::Faint => style.faint(text),
        }
    }
}

/// What is said beneath a row.
#[derive(Debug)]
pub(super) enum Note {
    /// Broken at the width of the terminal.
    Text(String),
    /// Never broken or cut: it is to be pasted as it stands.
    Command(String),
}

/// One line of a table, and what is said beneath it.
#[derive(Debug)]
pub(super) struct Row<const N: usize> {
    pub(super) cells: [(String, Look); N],
    /// Name and text.
    pub(super) notes: Vec<(&'static str, Note)>,
}

/// Draws a table. Only the columns in `may_be_cut` are cut, and only if `columns` says that there
/// is no room.
pub(super) fn draw<const N: usize>(
    heads: [&str; N],
    may_be_cut: [bool; N],
    rows: &[Row<N>],
    style: Style,
    columns: Option<usize>,
) -> String {
    let widths = widths(heads, may_be_cut, rows, columns);
    let mut drawn = line(heads.map(|head| (head, Look::Faint)), widths, style);
    for row in rows {
        drawn += &line(row.cells.each_ref().map(|(text, look)| (text.as_str(), *look)), widths, style);
        for (name, note) in &row.notes {
            drawn += &draw_note(name, note, style, columns);
        }
    }
    drawn
}

fn draw_note(name: &str, note: &Note, style: Style, columns: Option<usize>) -> String {
    let head = format!("{INDENT}{name}: ");
    let lines = match (note, columns) {
        (Note::Command(command), _) => return format!("{}{}\n", style.faint(&head), style.strong(command)),
        (Note::Text(text), Some(columns)) => {
            text::wrap(&text::cut(text, LONGEST_NOTE), columns.saturating_sub(head.len()))
        }
        (Note::Text(text), None) => vec![text::cut(text, LONGEST_NOTE)],
    };
    let further = " ".repeat(head.len());
    let lines = lines.iter().enumerate().map(|(index, line)| match index {
        0 => format!("{}{line}\n", style.faint(&head)),
        _ => format!("{further}{line}\n"),
    });
    lines.collect()
}

fn line<const N: usize>(cells: [(&str, Look); N], widths: [usize; N], style: Style) -> String {
    let mut drawn = String::new();
    for (index, (cell, look)) in cells.into_iter().enumerate() {
        let shown = text::cut(cell, widths[index]);
        let padding = if index + 1 < N { widths[index] - text::width(&shown) } else { 0 };
        drawn += &look.paint(style, &shown);
        drawn.extend(std::iter::repeat_n(' ', padding));
        drawn += if index + 1 < N { GAP } else { "\n" };
    }
    drawn
}

fn widths<const N: usize>(
    heads: [&str; N],
    may_be_cut: [bool; N],
    rows: &[Row<N>],
    columns: Option<usize>,
) -> [usize; N] {
    let mut widths = heads.map(text::width);
    for row in rows {
        for (width, (cell, _)) in widths.iter_mut().zip(&row.cells) {
            *width = (*width).max(text::width(cell));
        }
    }
    for (width, may_be_cut) in widths.iter_mut().zip(may_be_cut) {
        *width = if may_be_cut { (*width).min(WIDEST) } else { *width };
    }
    let Some(columns) = columns else { return widths };
    let gaps = GAP.len() * N.saturating_sub(1);
    loop {
        let excess = (widths.iter().sum::<usize>() + gaps).saturating_sub(columns);
        let widest =
            (0..N).filter(|index| may_be_cut[*index] && widths[*index] > NARROWEST).max_by_key(|index| widths[*index]);
        match widest {
            Some(index) if excess > 0 => widths[index] -= 1,
            _ => return widths,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(a: &str, b: &str, note: &str) -> Row<2> {
        let cell = |text: &str| (text.to_owned(), Look::Plain);
        Row { cells: [cell(a), cell(b)], notes: vec![("why", Note::Text(note.to_owned()))] }
    }

    #[test]
    fn columns_line_up_by_what_is_seen() {
        let drawn =
            draw(["A", "B"], [true, false], &[row("日本", "x", "n"), row("abcdef", "y", "n")], Style::PLAIN, None);
        assert_eq!(drawn, "A       B\n日本    x\n    why: n\nabcdef  y\n    why: n\n");
    }

    #[test]
    fn only_what_may_be_cut_is_cut_and_notes_are_broken() {
        let drawn = draw(
            ["A", "B"],
            [true, false],
            &[row("abcdefghijklmnop", "12345", "one two three")],
            Style::PLAIN,
            Some(18),
        );
        assert_eq!(drawn, "A            B\nabcdefghij…  12345\n    why: one two\n         three\n");
    }

    #[test]
    fn one_endless_text_does_not_make_every_row_endless() {
        let drawn =
            draw(["A", "B"], [true, false], &[row(&"a".repeat(9_999), "b", &"c".repeat(9_999))], Style::PLAIN, None);
        assert!(drawn.len() < 900, "{}", drawn.len());
    }

    #[test]
    fn a_very_narrow_terminal_still_gets_something() {
        let drawn =
            draw(["A", "B"], [true, true], &[row("abcdefghijklmnop", "abcdefghijklmnop", "a")], Style::PLAIN, Some(3));
        assert!(drawn.contains("abcdefg…  abcdefg…"), "{drawn}");
    }

    #[test]
    fn a_command_is_neither_broken_nor_cut() {
        let command = format!("lazaretto --vault /{} login nous", "a".repeat(700));
        let rows =
            [Row { cells: [("a".to_owned(), Look::Plain)], notes: vec![("run", Note::Command(command.clone()))] }];
        let drawn = draw(["A"], [true], &rows, Style::PLAIN, Some(40));
        assert_eq!(drawn, format!("A\na\n    run: {command}\n"));
    }
}
