//! One credential in the list. Its state, its times and its command are shown whole or, as the
//! command, not at all; the bar gives way first, then the names are shortened.

use super::super::glyphs::Glyphs;
use super::super::need;
use super::super::table::Look;
use super::super::terminal::Style;
use super::super::{text, words};
use super::bar;
use lazaretto_host::CredentialStatus;

const GAP: usize = 2;
/// What marks the selected row, or the space in its place.
const MARK: usize = 2;
/// A name is not shortened further than this on one line.
const NARROWEST: usize = 6;
/// Beside bars: one long name would move them all out of sight.
const WIDEST: usize = 28;
/// The countdown of a token of a day, so that the columns stand still.
const USABLE: usize = "23:59:59 left".len();

/// What of a credential stands in which column.
pub(super) struct Cells {
    provider: String,
    name: String,
    usable: String,
    renewal: String,
    /// What is left of what counts down.
    left_ms: Option<u64>,
    /// Who refreshes it, or the command that helps.
    more: Option<(String, Look)>,
    look: Look,
}

impl Cells {
    pub(super) fn of(status: &CredentialStatus, now_ms: u64) -> Self {
        let look = need::look(status);
        let refreshing = status.refreshing_by.as_ref().filter(|_| status.renewal == "refreshing");
        let more = match (&status.todo, refreshing) {
            (Some(todo), _) => Some((text::escape(todo), Look::Bad)),
            (None, Some(who)) => Some((format!("by {}", text::escape(who)), Look::Faint)),
            (None, None) => None,
        };
        Self {
            provider: text::escape(&status.provider),
            name: words::name(status),
            usable: words::usable(status, now_ms, bar::countdown),
            renewal: words::renewal(status, now_ms, bar::countdown),
            left_ms: counted(status).map(|at_ms| at_ms.saturating_sub(now_ms)),
            more,
            look,
        }
    }
}

/// The time that a bar counts down to.
fn counted(status: &CredentialStatus) -> Option<u64> {
    match status.usable.as_str() {
        "yes" | "expiring" => status.expires_at_ms,
        // It can be used again then, or is tried again.
        _ => status.retry_at_ms,
    }
}

/// How the columns of a whole list are laid out.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Layout {
    columns: usize,
    provider: usize,
    name: usize,
    usable: usize,
    renewal: usize,
    has_bars: bool,
    /// Names on one line, states on the next.
    is_narrow: bool,
}

impl Layout {
    pub(super) fn of<'a>(rows: impl Iterator<Item = &'a Cells> + Clone, columns: usize) -> Self {
        let widest = |cell: fn(&Cells) -> &str| rows.clone().map(|cells| text::width(cell(cells))).max().unwrap_or(0);
        let (provider, name) = (widest(|cells| &cells.provider), widest(|cells| &cells.name));
        let usable = widest(|cells| &cells.usable).max(USABLE);
        let renewal = widest(|cells| &cells.renewal);
        let states = usable + GAP + renewal;
        let room = columns.saturating_sub(MARK + GAP + GAP + states);
        let with_bars = room.saturating_sub(GAP + bar::COLUMNS);
        let has_bars = provider.min(WIDEST) + name.min(WIDEST) <= with_bars;
        let is_narrow = room < provider.min(NARROWEST) + name.min(NARROWEST);
        let (mut provider, mut name) =
            if has_bars { (provider.min(WIDEST), name.min(WIDEST)) } else { (provider, name) };
        let room = if is_narrow { columns.saturating_sub(MARK + GAP) } else { room };
        // The label gives way first, then the provider.
        let excess = |provider: usize, name: usize| (provider + name).saturating_sub(room);
        name -= excess(provider, name).min(name.saturating_sub(NARROWEST));
        provider -= excess(provider, name).min(provider.saturating_sub(NARROWEST));
        Self { columns, provider, name, usable, renewal, has_bars, is_narrow }
    }

    pub(super) fn draw(&self, cells: &Cells, is_selected: bool, style: Style, glyphs: &Glyphs) -> Vec<String> {
        let mark = if is_selected { glyphs.selected } else { "" };
        let mut line = Line::new(self.columns, style, glyphs);
        line.cell(mark, MARK, Look::Plain);
        let name_look = if is_selected { Look::Plain } else { Look::Faint };
        line.cell(&cells.provider, self.provider + GAP, Look::Plain);
        line.cell(&cells.name, self.name + GAP, name_look);
        let mut lines = Vec::new();
        if self.is_narrow {
            lines.push(std::mem::replace(&mut line, Line::new(self.columns, style, glyphs)).drawn);
            line.cell("", MARK, Look::Plain);
            line.cell("", GAP, Look::Plain);
        }
        line.cell(&cells.usable, self.usable + GAP, cells.look);
        line.cell(&cells.renewal, self.renewal + GAP, cells.look);
        match (&cells.more, cells.left_ms) {
            (Some((more, look)), _) if text::width(more) <= line.left => line.rest(more, *look),
            (None, Some(left_ms)) if self.has_bars => line.rest(&bar::bar(left_ms, glyphs), cells.look),
            _ => {}
        }
        lines.push(line.drawn);
        lines
    }
}

/// Pieces of one line, as long as there is room.
pub(super) struct Line<'a> {
    pub(super) drawn: String,
    left: usize,
    style: Style,
    glyphs: &'a Glyphs,
}

impl<'a> Line<'a> {
    pub(super) fn new(columns: usize, style: Style, glyphs: &'a Glyphs) -> Self {
        Self { drawn: String::new(), left: columns, style, glyphs }
    }

    /// So many columns. What is at the end of the line has no need of a gap.
    pub(super) fn cell(&mut self, content: &str, columns: usize, look: Look) {
        let columns = columns.min(self.left);
        let room = if columns == self.left { columns } else { columns.saturating_sub(1) };
        let shown = if room == 0 { String::new() } else { text::cut_with(content, room, self.glyphs) };
        let gap = columns.saturating_sub(text::width(&shown));
        self.drawn += &look.paint(self.style, &shown);
        self.drawn.extend(std::iter::repeat_n(' ', gap));
        self.left -= columns;
    }

    pub(super) fn rest(&mut self, content: &str, look: Look) {
        self.cell(content, self.left, look);
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::need::example;
    use super::super::tests::NOW_MS;
    use super::*;

    fn layout(name: &str, columns: usize) -> Layout {
        let status = CredentialStatus { credential: name.into(), label: String::new(), ..example("yes", "ok") };
        Layout::of([Cells::of(&status, NOW_MS)].iter(), columns)
    }

    #[test]
    fn the_bar_goes_first_and_then_the_label_and_then_the_provider() {
        let name = "a".repeat(20);
        for (columns, has_bars, widths, is_narrow) in [
            (120, true, (9, 20), false),
            (70, true, (9, 20), false),
            (69, false, (9, 20), false),
            (52, false, (9, 20), false),
            (51, false, (9, 19), false),
            (38, false, (9, 6), false),
            (35, false, (6, 6), false),
            (34, false, (9, 20), true),
        ] {
            let layout = layout(&name, columns);
            let of = (layout.has_bars, (layout.provider, layout.name), layout.is_narrow);
            assert_eq!(of, (has_bars, widths, is_narrow), "{columns}");
        }
    }

    #[test]
    fn state_and_time_are_whole_at_any_width_that_has_room_for_them() {
        for (usable, renewal) in [("yes", "needs-configuration"), ("no", "quarantined"), ("yes", "none")] {
            let status = CredentialStatus {
                label: "a very long label that somebody gave it".into(),
                ..example(usable, renewal)
            };
            let cells = Cells::of(&status, NOW_MS);
            for columns in 40..=160 {
                let layout = Layout::of([&cells].into_iter(), columns);
                let drawn = layout.draw(&cells, true, Style::PLAIN, &Glyphs::ASCII);
                assert!(drawn.iter().all(|line| text::width(line) <= columns), "{columns}: {drawn:?}");
                let drawn = drawn.join("\n");
                assert!(drawn.contains(&cells.usable) && drawn.contains(&cells.renewal), "{columns}: {drawn}");
                let command = status.todo.clone().unwrap_or_default();
                assert!(drawn.contains(&command) || !drawn.contains("lazaretto"), "{columns}: {drawn}");
            }
        }
    }
}
