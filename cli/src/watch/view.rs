//! What is on the screen, as lines: nothing but what it is given decides it. No line is wider than
//! asked, and text of others is escaped.

use super::super::glyphs::Glyphs;
use super::super::need::{self, Count, some};
use super::super::table::Look;
use super::super::terminal::Style;
use super::super::{text, time, words};
use super::happening::Happening;
use super::help;
use super::row::{Cells, Layout, Line};
use lazaretto_host::{CredentialStatus, StatusReport};

/// On a narrower screen an event does not say in which vault it was.
const ROOM_FOR_VAULTS: usize = 72;
/// So many lines say why a credential stands as it does. The command beneath is shown whole.
const WHY: usize = 2;

/// One vault, as far as it is shown.
pub(super) struct Shown<'a> {
    pub(super) path: String,
    pub(super) report: &'a Result<StatusReport, String>,
}

/// Which credential is selected: vault, provider and credential.
pub(super) type Selected = (String, String, String);

/// All that is on the screen.
pub(super) struct View<'a> {
    pub(super) vaults: &'a [Shown<'a>],
    /// The oldest first.
    pub(super) happenings: &'a [Happening],
    /// None, or what is gone: the first is.
    pub(super) selected: Option<&'a Selected>,
    /// The words are explained instead.
    pub(super) is_help: bool,
    pub(super) now_ms: u64,
    pub(super) style: Style,
    pub(super) glyphs: &'static Glyphs,
}

/// A part of the list.
enum Item<'a> {
    Vault(&'a Shown<'a>),
    Credential(&'a Shown<'a>, &'a CredentialStatus),
    Said(Look, String),
    Gap,
}

impl<'a> View<'a> {
    /// Exactly `rows` lines of at most `columns` columns.
    pub(super) fn draw(&self, columns: usize, rows: usize) -> Vec<String> {
        let mut lines = vec![self.head(columns)];
        if self.is_help {
            lines.extend(help::lines(columns, self.style));
            lines.truncate(rows.saturating_sub(1).max(1));
            lines.resize(rows.saturating_sub(1).max(1), String::new());
            lines.push(self.style.faint(&self.cut("? back  q quit", columns)));
        } else {
            self.fill(&mut lines, columns, rows);
        }
        // A screen of one line has room for the first.
        lines.truncate(rows);
        lines
    }

    fn fill(&self, lines: &mut Vec<String>, columns: usize, rows: usize) {
        let (list, selected) = self.list(columns);
        let mut detail = self.detail(columns);
        detail.truncate(rows.saturating_sub(3) / 2);
        let (height, log) = split(rows.saturating_sub(2 + detail.len()), list.len(), self.happenings.len());
        let top = top(&selected, height, list.len());
        let hidden = list.len() > height;
        lines.extend(list.into_iter().skip(top).take(height));
        lines.resize(1 + height, String::new());
        if log > 0 {
            lines.push(self.style.faint(&self.rule("events", columns)));
            let newest = &self.happenings[self.happenings.len().saturating_sub(log - 1)..];
            lines.extend(newest.iter().map(|happening| self.happening(happening, columns)));
        }
        lines.resize(rows.saturating_sub(1 + detail.len()).max(1), String::new());
        lines.extend(detail);
        lines.push(self.foot(hidden, columns));
    }

    /// The credentials, in the order in which they stand: vaults with trouble first, and in each
    /// who needs a person first.
    pub(super) fn credentials(&self) -> Vec<Selected> {
        let name = |item: &Item<'_>| match item {
            Item::Credential(vault, status) => {
                Some((vault.path.clone(), status.provider.clone(), status.credential.clone()))
            }
            _ => None,
        };
        self.items().iter().filter_map(name).collect()
    }

    fn items(&self) -> Vec<Item<'a>> {
        let mut vaults: Vec<&Shown<'_>> = self.vaults.iter().collect();
        vaults.sort_by_key(|vault| match vault.report {
            Ok(report) => report.credentials.iter().map(need::rank).min().unwrap_or(u8::MAX),
            Err(_) => 0,
        });
        let mut items = Vec::new();
        for vault in vaults {
            if !items.is_empty() {
                items.push(Item::Gap);
            }
            items.push(Item::Vault(vault));
            match vault.report {
                Ok(report) => {
                    let mut credentials: Vec<&CredentialStatus> = report.credentials.iter().collect();
                    credentials.sort_by_key(|status| need::rank(status));
                    items.extend(credentials.into_iter().map(|status| Item::Credential(vault, status)));
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

    /// All lines of the list, and which of them the selected credential has.
    fn list(&self, columns: usize) -> (Vec<String>, std::ops::Range<usize>) {
        let items = self.items();
        let cells: Vec<Option<Cells>> = items.iter().map(|item| self.cells(item)).collect();
        let layout = Layout::of(cells.iter().flatten(), columns);
        let selected = self.selected();
        let (mut lines, mut range) = (Vec::new(), 0..0);
        for (item, cells) in items.iter().zip(&cells) {
            let from = lines.len();
            match (item, cells) {
                (Item::Credential(vault, status), Some(cells)) => {
                    let is_selected = selected.is_some_and(|selected| is_same(selected, vault, status));
                    lines.extend(layout.draw(cells, is_selected, self.style, self.glyphs));
                    range = if is_selected { from..lines.len() } else { range };
                }
                (Item::Vault(vault), _) => {
                    let path = text::cut_front(&text::escape(&vault.path), columns, self.glyphs);
                    lines.push(self.style.strong(&path));
                }
                (Item::Said(look, said), _) => {
                    lines.push(look.paint(self.style, &self.cut(&format!("  {said}"), columns)));
                }
                _ => lines.push(String::new()),
            }
        }
        (lines, range)
    }

    fn cells(&self, item: &Item<'_>) -> Option<Cells> {
        match item {
            Item::Credential(_, status) => Some(Cells::of(status, self.now_ms)),
            _ => None,
        }
    }

    fn selected(&self) -> Option<(&'a Shown<'a>, &'a CredentialStatus)> {
        let items = self.items();
        let credentials = items.iter().filter_map(|item| match item {
            Item::Credential(vault, status) => Some((*vault, *status)),
            _ => None,
        });
        let is_it = |(vault, status): &(&Shown<'_>, &CredentialStatus)| {
            self.selected.is_some_and(|(path, provider, credential)| {
                *path == vault.path && *provider == status.provider && *credential == status.credential
            })
        };
        credentials.clone().find(is_it).or_else(|| credentials.clone().next())
    }

    /// How many need a person, first of all.
    fn head(&self, columns: usize) -> String {
        let mut count = Count::of(self.reports().flat_map(|report| &report.credentials));
        let unreadable = self.vaults.iter().filter(|vault| vault.report.is_err()).count();
        let (trouble, look) = match (count.need_a_person, unreadable) {
            (0, 0) => count.trouble(),
            (0, _) => (format!("{} cannot be read", some(unreadable, "vault")), Look::Bad),
            (need, _) => {
                count.wait = 0;
                let of = format!("{need} of {}", count.all);
                let (told, look) = count.trouble();
                let told = told.replacen(&need.to_string(), &of, 1);
                let more = if unreadable > 0 {
                    format!(", {} cannot be read", some(unreadable, "vault"))
                } else {
                    String::new()
                };
                (told + &more, look)
            }
        };
        let mut line = Line::new(columns, self.style, self.glyphs);
        line.cell(&trouble, text::width(&trouble) + 2, look);
        let all = if trouble.contains(" of ") { String::new() } else { format!("{}, ", some(count.all, "credential")) };
        let told = format!("{all}{}  {}", some(self.vaults.len(), "vault"), time::clock(self.now_ms));
        line.rest(&told, Look::Faint);
        line.drawn
    }

    fn reports(&self) -> impl Iterator<Item = &'a StatusReport> {
        self.vaults.iter().filter_map(|vault| vault.report.as_ref().ok())
    }

    /// Why the selected credential stands as it does, and the whole command that helps.
    fn detail(&self, columns: usize) -> Vec<String> {
        let Some((_, status)) = self.selected() else { return Vec::new() };
        let name = format!("{} {}", text::escape(&status.provider), words::name(status));
        let account = status.account.as_ref().map(|account| format!(", {}", text::escape(account)));
        let mut lines = vec![self.style.faint(&self.rule(&(name + &account.unwrap_or_default()), columns))];
        let why = words::why(status, self.now_ms).join("; ");
        let how = [words::usable(status, self.now_ms, time::span), words::renewal(status, self.now_ms, time::span)];
        let why = if why.is_empty() { how.join(", ") } else { why };
        let mut wrapped = text::wrap(&why, columns);
        if wrapped.len() > WHY {
            let rest = wrapped.split_off(WHY - 1).join(" ");
            wrapped.push(self.cut(&rest, columns));
        }
        lines.extend(wrapped);
        if let Some(todo) = &status.todo {
            let command = text::wrap(&format!("run: {}", text::escape(todo)), columns);
            lines.extend(command.iter().map(|line| self.style.strong(line)));
        }
        lines
    }

    fn foot(&self, hidden: bool, columns: usize) -> String {
        let credentials = self.credentials();
        let selected = self.selected().and_then(|(vault, status)| {
            credentials.iter().position(|(path, provider, credential)| {
                *path == vault.path && *provider == status.provider && *credential == status.credential
            })
        });
        let of = selected.filter(|_| hidden).map(|at| format!("  {} of {}", at + 1, credentials.len()));
        let keys = format!("q quit  ? help  {} select{}", self.glyphs.up_down, of.unwrap_or_default());
        self.style.faint(&self.cut(&keys, columns))
    }

    fn happening(&self, happening: &Happening, columns: usize) -> String {
        let mut line = Line::new(columns, self.style, self.glyphs);
        line.cell(&time::clock(happening.at_ms), 10, Look::Faint);
        if self.vaults.len() > 1 && columns >= ROOM_FOR_VAULTS {
            line.cell(&text::cut_front(&text::escape(&happening.vault), 20, self.glyphs), 22, Look::Faint);
        }
        line.rest(&format!("{}{}", happening.of, happening.what), happening.look);
        line.drawn
    }

    fn rule(&self, name: &str, columns: usize) -> String {
        let line = self.glyphs.line;
        let head = self.cut(&format!("{line}{line} {name} "), columns);
        let rest = columns.saturating_sub(text::width(&head));
        head + &line.repeat(rest)
    }

    fn cut(&self, content: &str, columns: usize) -> String {
        text::cut_with(content, columns, self.glyphs)
    }
}

fn is_same(selected: (&Shown<'_>, &CredentialStatus), vault: &Shown<'_>, status: &CredentialStatus) -> bool {
    std::ptr::eq(selected.0, vault) && std::ptr::eq(selected.1, status)
}

/// How many rows the list and the events have, the rule above the events among them. The list comes
/// first.
fn split(room: usize, items: usize, happenings: usize) -> (usize, usize) {
    let least = (room / 3).min(happenings + 1);
    // Fewer than two are a rule without events.
    let log = if happenings == 0 { 0 } else { room.saturating_sub(items).max(least).min(happenings + 1) };
    let log = if log < 2 { 0 } else { log };
    (room - log, log)
}

/// The first line that is shown, so that the selected ones are in the middle, or as near to it as
/// the ends of the list allow.
fn top(selected: &std::ops::Range<usize>, height: usize, lines: usize) -> usize {
    let middle = selected.start.saturating_sub(height.saturating_sub(selected.len()) / 2);
    middle.min(lines.saturating_sub(height))
}

#[cfg(test)]
mod tests;
