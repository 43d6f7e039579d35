//! What is on the screen, as lines: nothing but what it is given decides it. No line is wider than asked, and text of others is
//! escaped.

use std::collections::HashMap;

use super::super::table::Look;
use super::super::terminal::Style;
use super::super::{status, text, time};
use super::Happening;
use crate::{CredentialStatus, StatusReport};

/// How long tokens are usually good, in minutes.
const SCALES_MIN: [u64; 9] = [15, 60, 120, 480, 1_440, 10_080, 43_200, 129_600, 525_600];
const BAR: usize = 16;
/// The bar is left out on a narrower screen.
const ROOM_FOR_BARS: usize = 72;
const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
const WIDEST_NAME: usize = 28;

/// One vault, as far as it is shown.
pub(super) struct Shown<'a> {
    pub(super) path: String,
    pub(super) report: &'a Result<StatusReport, String>,
}

/// All that is on the screen.
pub(super) struct View<'a> {
    pub(super) vaults: &'a [Shown<'a>],
    /// The oldest first.
    pub(super) happenings: &'a [Happening],
    pub(super) scales: &'a Scales,
    /// The first line of the list that is shown.
    pub(super) top: usize,
    pub(super) now_ms: u64,
    pub(super) style: Style,
}

/// How long each bar is when it is full.
#[derive(Default)]
pub(super) struct Scales(HashMap<(String, String, String), Scale>);

struct Scale {
    /// What it counts down to.
    to_ms: u64,
    full_ms: u64,
}

impl Scales {
    /// Takes note of how long everything has to go.
    pub(super) fn see(&mut self, vault: &str, report: &StatusReport, now_ms: u64) {
        for status in &report.credentials {
            let Some(to_ms) = counted(status) else { continue };
            let key = (vault.to_owned(), status.provider.clone(), status.credential.clone());
            let left_ms = to_ms.saturating_sub(now_ms);
            let is_pause = status.state == "cooling-down";
            let full_ms = match self.0.get(&key) {
                Some(scale) if scale.to_ms == to_ms => continue,
                None if !is_pause => usual(left_ms),
                // It has just begun.
                _ => left_ms,
            };
            self.0.insert(key, Scale { to_ms, full_ms });
        }
    }

    fn of(&self, vault: &str, status: &CredentialStatus) -> u64 {
        let scale = self.0.get(&(vault.to_owned(), status.provider.clone(), status.credential.clone()));
        scale.map(|scale| scale.full_ms).unwrap_or_default()
    }
}

/// Of a token that was there before: how long it is good when it is new can only be guessed.
fn usual(left_ms: u64) -> u64 {
    SCALES_MIN.into_iter().map(|min| min * 60_000).find(|scale| *scale >= left_ms).unwrap_or(left_ms)
}

/// The time that a bar counts down to.
fn counted(status: &CredentialStatus) -> Option<u64> {
    match status.state.as_str() {
        "cooling-down" => status.retry_at_ms,
        "quarantined" | "dead" | "no-token" | "unusable" | "key" => None,
        _ => status.expires_at_ms,
    }
}

/// A line of the list.
enum Item<'a> {
    Vault(&'a Shown<'a>),
    Credential(&'a Shown<'a>, &'a CredentialStatus),
    Said(Look, String),
    Gap,
}

impl View<'_> {
    /// Exactly `rows` lines of at most `columns` columns.
    pub(super) fn draw(&self, columns: usize, rows: usize) -> Vec<String> {
        let items = self.items();
        let (list, log) = split(rows, items.len(), self.happenings.len());
        let mut lines = vec![self.head(columns)];
        let shown = &items[self.top.min(last_top(items.len(), list))..];
        let shown = &shown[..shown.len().min(list)];
        let widths = Widths::of(shown);
        lines.extend(shown.iter().map(|item| self.item(item, &widths, columns)));
        lines.resize(1 + list, String::new());
        if log > 0 {
            lines.push(self.style.faint(&rule("events", columns)));
            let newest = &self.happenings[self.happenings.len().saturating_sub(log - 1)..];
            lines.extend(newest.iter().map(|happening| self.happening(happening, columns)));
        }
        lines.resize(rows.saturating_sub(1).max(1), String::new());
        lines.push(self.foot(items.len(), list, columns));
        // A screen of one line has room for the first.
        lines.truncate(rows);
        lines
    }

    /// How far down the list may be moved on a screen of so many rows.
    pub(super) fn last_top(&self, rows: usize) -> usize {
        let items = self.items().len();
        last_top(items, split(rows, items, self.happenings.len()).0)
    }

    fn items(&self) -> Vec<Item<'_>> {
        let mut items = Vec::new();
        for (index, vault) in self.vaults.iter().enumerate() {
            if index > 0 {
                items.push(Item::Gap);
            }
            items.push(Item::Vault(vault));
            match vault.report {
                Ok(report) => {
                    items.extend(report.credentials.iter().map(|status| Item::Credential(vault, status)));
                    if report.credentials.is_empty() {
                        items.push(Item::Said(Look::Faint, "no credential".to_owned()));
                    }
                    let warnings = report.warnings.iter().map(|warning| format!("warning: {}", text::escape(warning)));
                    items.extend(warnings.map(|warning| Item::Said(Look::Warn, warning)));
                }
                Err(wrong) => items.push(Item::Said(Look::Bad, text::escape(wrong))),
            }
        }
        items
    }

    fn head(&self, columns: usize) -> String {
        let credentials: usize = self.reports().map(|report| report.credentials.len()).sum();
        let bad = self.reports().flat_map(|report| &report.credentials);
        let bad = bad.filter(|status| status::look(&status.state) == Look::Bad).count()
            + self.vaults.iter().filter(|vault| vault.report.is_err()).count();
        let some = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
        let told = format!(
            "lazaret  {} UTC  {}, {}",
            time::clock(self.now_ms),
            some(self.vaults.len(), "vault"),
            some(credentials, "credential")
        );
        let told = text::cut(&told, columns);
        let left = columns.saturating_sub(text::width(&told));
        let trouble = if bad == 0 { "  all well".to_owned() } else { format!("  {bad} need attention") };
        let look = if bad == 0 { Look::Good } else { Look::Bad };
        if text::width(&trouble) > left {
            return self.style.strong(&told);
        }
        self.style.strong(&told) + &look.paint(self.style, &trouble)
    }

    fn reports(&self) -> impl Iterator<Item = &StatusReport> {
        self.vaults.iter().filter_map(|vault| vault.report.as_ref().ok())
    }

    fn foot(&self, items: usize, list: usize, columns: usize) -> String {
        let hidden = items > list;
        let more = format!("  ↑ ↓ to move, {} to {} of {items}", self.top + 1, (self.top + list).min(items));
        self.style.faint(&text::cut(&format!("q to quit{}", if hidden { more.as_str() } else { "" }), columns))
    }

    fn item(&self, item: &Item<'_>, widths: &Widths, columns: usize) -> String {
        match item {
            Item::Gap => String::new(),
            Item::Vault(vault) => self.style.strong(&cut_front(&text::escape(&vault.path), columns)),
            Item::Said(look, said) => look.paint(self.style, &text::cut(&format!("  {said}"), columns)),
            Item::Credential(vault, status) => self.credential(vault, status, widths, columns),
        }
    }

    fn credential(&self, vault: &Shown<'_>, status: &CredentialStatus, widths: &Widths, columns: usize) -> String {
        let look = status::look(&status.state);
        let mut line = Pieces { drawn: String::new(), left: columns, style: self.style };
        line.cell("", 2, Look::Plain);
        line.cell(&text::escape(&status.provider), widths.provider, Look::Plain);
        line.cell(&name(status), widths.name, Look::Faint);
        line.cell(&text::escape(&status.state), widths.state, look);
        let left_ms = counted(status).map(|at_ms| at_ms.saturating_sub(self.now_ms));
        if columns >= ROOM_FOR_BARS {
            let scale_ms = self.scales.of(&vault.path, status);
            let drawn = left_ms.map(|left_ms| bar(left_ms, scale_ms)).unwrap_or_default();
            line.cell(&drawn, BAR + 1, look);
        }
        line.rest(&self.note(status, left_ms), if look == Look::Bad { Look::Bad } else { Look::Plain });
        line.drawn
    }

    fn note(&self, status: &CredentialStatus, left_ms: Option<u64>) -> String {
        let why = status.last_error.as_ref().map(|error| error.code.as_str()).filter(|code| !code.is_empty());
        let why = why.map(|code| format!("  {}", text::escape(code))).unwrap_or_default();
        match (left_ms, &status.todo) {
            (_, Some(todo)) => text::escape(todo) + &why,
            (Some(0), _) if status.state == "cooling-down" => format!("next try now{why}"),
            (Some(0), _) => format!("expired{why}"),
            (Some(left_ms), _) if status.state == "cooling-down" => format!("next try in {}{why}", countdown(left_ms)),
            (Some(left_ms), _) => format!("{} left{why}", countdown(left_ms)),
            (None, _) if status.state == "unknown-expiry" => format!("no end known{why}"),
            (None, _) => why.trim_start().to_owned(),
        }
    }

    fn happening(&self, happening: &Happening, columns: usize) -> String {
        let mut line = Pieces { drawn: String::new(), left: columns, style: self.style };
        line.cell(&time::clock(happening.at_ms), 10, Look::Faint);
        if self.vaults.len() > 1 && columns >= ROOM_FOR_BARS {
            line.cell(&cut_front(&text::escape(&happening.vault), 20), 22, Look::Faint);
        }
        line.rest(&format!("{}{}", happening.of, happening.what), happening.look);
        line.drawn
    }
}

/// How many rows the list and the events have, the rule above the events among them. The list comes first.
fn split(rows: usize, items: usize, happenings: usize) -> (usize, usize) {
    let room = rows.saturating_sub(2);
    let least = (room / 3).min(happenings + 1);
    // Fewer than two are a rule without events.
    let log = if happenings == 0 { 0 } else { room.saturating_sub(items).max(least).min(happenings + 1) };
    let log = if log < 2 { 0 } else { log };
    (room - log, log)
}

fn last_top(items: usize, list: usize) -> usize {
    items.saturating_sub(list)
}

/// Of what is on the screen, so that a long name far down moves nothing.
struct Widths {
    provider: usize,
    name: usize,
    state: usize,
}

impl Widths {
    fn of(items: &[Item<'_>]) -> Self {
        let mut widths = Self { provider: 0, name: 0, state: 0 };
        for item in items {
            if let Item::Credential(_, status) = item {
                let widest = |width: usize, cell: &str| width.max(text::width(cell).min(WIDEST_NAME) + 2);
                widths.provider = widest(widths.provider, &text::escape(&status.provider));
                widths.name = widest(widths.name, &name(status));
                widths.state = widest(widths.state, &text::escape(&status.state));
            }
        }
        widths
    }
}

fn name(status: &CredentialStatus) -> String {
    let (id, label) = (text::escape(&status.credential), text::escape(&status.label));
    if label.is_empty() || label == id { id } else { format!("{id} ({label})") }
}

/// Pieces of one line, as long as there is room.
struct Pieces {
    drawn: String,
    left: usize,
    style: Style,
}

impl Pieces {
    /// So many columns, one of them at least a gap.
    fn cell(&mut self, content: &str, columns: usize, look: Look) {
        let columns = columns.min(self.left);
        let shown = text::cut(content, columns.saturating_sub(1));
        let shown = if columns == 0 { String::new() } else { shown };
        let gap = columns.saturating_sub(text::width(&shown));
        self.drawn += &look.paint(self.style, &shown);
        self.drawn.extend(std::iter::repeat_n(' ', gap));
        self.left -= columns;
    }

    fn rest(&mut self, content: &str, look: Look) {
        if self.left > 0 {
            self.drawn += &look.paint(self.style, &text::cut(content, self.left));
        }
    }
}

/// The end of a path says more than its beginning.
fn cut_front(path: &str, columns: usize) -> String {
    let mut from = path.char_indices().map(|(at, _)| at);
    if text::width(path) <= columns {
        return path.to_owned();
    }
    let fits = from.find(|at| text::width(&path[*at..]) < columns);
    fits.map_or_else(|| text::cut(path, columns), |at| format!("…{}", &path[at..]))
}

fn rule(name: &str, columns: usize) -> String {
    format!("── {name} {}", "─".repeat(columns)).chars().take(columns).collect()
}

/// In eighths of a column. What has some time to go is never empty.
fn bar(left_ms: u64, scale_ms: u64) -> String {
    let whole = u64::try_from(BAR * 8).unwrap_or(1);
    let eighths = left_ms.min(scale_ms).saturating_mul(whole).checked_div(scale_ms).unwrap_or_default();
    let eighths = usize::try_from(eighths).unwrap_or_default().max(usize::from(left_ms > 0));
    let full = "█".repeat(eighths / 8) + EIGHTHS[eighths % 8];
    let rest = BAR.saturating_sub(eighths.div_ceil(8));
    full + &"·".repeat(rest)
}

/// `0:42`, `59:59`, `7:59:59`; more than two days in words.
fn countdown(left_ms: u64) -> String {
    let seconds = left_ms.div_ceil(1_000);
    let (hours, minutes, rest) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    match hours {
        0 => format!("{minutes}:{rest:02}"),
        1..48 => format!("{hours}:{minutes:02}:{rest:02}"),
        _ => time::span(left_ms),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{NOW_MS, credential, report};
    use super::*;

    fn view<'a>(vaults: &'a [Shown<'a>], happenings: &'a [Happening], scales: &'a Scales) -> View<'a> {
        View { vaults, happenings, scales, top: 0, now_ms: NOW_MS, style: Style::PLAIN }
    }

    fn happening(what: &str) -> Happening {
        let of = "xai-oauth (login): ".into();
        Happening { at_ms: NOW_MS, vault: "/home/me/auth.json".into(), of, what: what.into(), look: Look::Good }
    }

    #[test]
    fn a_screen_shows_vaults_bars_countdowns_and_events() {
        let cooling = CredentialStatus {
            credential: "a1".into(),
            retry_at_ms: Some(NOW_MS + 63_000),
            ..credential("cooling-down")
        };
        let dead = CredentialStatus { todo: Some("log in again: auth add nous".into()), ..credential("quarantined") };
        let (first, second) = (Ok(report(vec![credential("valid"), cooling, dead])), Err("/b: is not JSON".to_owned()));
        let vaults = [Shown { path: "/a".into(), report: &first }, Shown { path: "/b".into(), report: &second }];
        let mut scales = Scales::default();
        scales.see("/a", first.as_ref().unwrap(), NOW_MS);
        let happenings = [happening("refreshed")];
        let mut view = view(&vaults, &happenings, &scales);
        view.now_ms += 21_000;
        let drawn = view.draw(100, 12);
        let wanted = "\
lazaret  10:00:21 UTC  2 vaults, 3 credentials  2 need attention
/a
  xai-oauth  login       valid         ███████████████▋ 58:39 left
  xai-oauth  a1 (login)  cooling-down  ██████████▋····· next try in 0:42  invalid_grant
  xai-oauth  login       quarantined                    log in again: auth add nous  invalid_grant

/b
  /b: is not JSON

── events ──────────────────────────────────────────────────────────────────────────────────────────
10:00:00  /home/me/auth.json    xai-oauth (login): refreshed
q to quit";
        let drawn: Vec<&str> = drawn.iter().map(|line| line.trim_end()).collect();
        assert_eq!(drawn.join("\n"), wanted);
    }

    #[test]
    fn a_bar_is_full_when_what_it_counts_begins() {
        let (mut scales, hour) = (Scales::default(), 3_600_000);
        let mut see = |state: &str, to_ms: u64, now_ms: u64| {
            let status = CredentialStatus { expires_at_ms: Some(to_ms), retry_at_ms: Some(to_ms), ..credential(state) };
            scales.see("/a", &report(vec![status.clone()]), now_ms);
            scales.of("/a", &status)
        };
        assert_eq!(see("valid", NOW_MS + hour / 2, NOW_MS), hour, "how long it was good at first is a guess");
        assert_eq!(see("valid", NOW_MS + hour / 2, NOW_MS + 60_000), hour);
        assert_eq!(see("valid", NOW_MS + 6 * hour, NOW_MS + hour), 5 * hour, "refreshed just now");
        assert_eq!(see("cooling-down", NOW_MS + 2 * hour, NOW_MS + hour), hour);
    }

    #[test]
    fn a_bar_shrinks_with_time_and_is_empty_only_at_the_end() {
        let hour = 3_600_000;
        assert_eq!(bar(hour, hour), "█".repeat(16));
        assert_eq!(bar(hour / 2, hour), "████████········");
        assert_eq!(bar(1, hour), "▏···············");
        assert_eq!(bar(0, hour), "················");
        assert_eq!(bar(0, 0), "················");
        assert_eq!(bar(u64::MAX, hour), "█".repeat(16));
    }

    #[test]
    fn what_is_left_counts_down_by_the_second() {
        for (ms, said) in [
            (0, "0:00"),
            (1, "0:01"),
            (59_000, "0:59"),
            (3_540_000, "59:00"),
            (28_799_000, "7:59:59"),
            (432_000_000, "5 d"),
        ] {
            assert_eq!(countdown(ms), said);
        }
    }

    #[test]
    fn nothing_is_wider_or_higher_than_the_screen_and_nothing_hidden_reaches_it() {
        let bad = "\u{1b}[2J\u{202e}日本語\n".repeat(20);
        let hostile = CredentialStatus {
            provider: bad.clone(),
            credential: bad.clone(),
            label: format!("{bad}!"),
            todo: Some(bad.clone()),
            ..credential("valid")
        };
        let mut broken = report(vec![hostile; 30]);
        broken.warnings.push(bad.clone());
        let (first, second) = (Ok(broken), Err(bad.clone()));
        let vaults = [Shown { path: bad.clone(), report: &first }, Shown { path: bad, report: &second }];
        let (scales, happenings) = (Scales::default(), vec![happening(&"x".repeat(200)); 9]);
        for (columns, rows) in [(1, 1), (2, 2), (10, 3), (40, 10), (80, 24), (200, 60)] {
            let drawn = view(&vaults, &happenings, &scales).draw(columns, rows);
            assert_eq!(drawn.len(), rows);
            for line in drawn {
                assert!(text::width(&line) <= columns, "{columns}: {line}");
                assert!(!line.chars().any(|char| char.is_control() || char == '\u{202e}'), "{line:?}");
            }
        }
    }

    #[test]
    fn a_long_list_is_moved_through_and_no_further() {
        let report = Ok(report(
            (0..50).map(|number| CredentialStatus { credential: format!("k{number}"), ..credential("key") }).collect(),
        ));
        let vaults = [Shown { path: "/a".into(), report: &report }];
        let scales = Scales::default();
        let mut view = view(&vaults, &[], &scales);
        assert_eq!(view.last_top(12), 41);
        view.top = 41;
        let drawn = view.draw(80, 12).join("\n");
        assert!(drawn.contains("k49") && !drawn.contains("k39") && drawn.contains("42 to 51 of 51"), "{drawn}");
    }
}
