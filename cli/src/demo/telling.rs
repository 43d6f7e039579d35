//! How the story is told: paragraphs, commands and what they print, and one mark for each thing
//! that was checked.

use std::time::Duration;

use serde::Serialize;

use super::super::failure::Failure;
use super::super::glyphs::Glyphs;
use super::super::terminal::{self, Style};
use super::super::{output, text};
use super::stage::Ended;

const WIDEST: usize = 100;

/// One thing that was claimed, and whether it is so.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Check {
    pub(super) step: u8,
    pub(super) claim: &'static str,
    pub(super) ok: bool,
}

/// Tells it on standard output, or silently.
pub(super) struct Telling {
    silent: bool,
    style: Style,
    columns: usize,
    step: u8,
    checks: Vec<Check>,
}

impl Telling {
    pub(super) fn new(silent: bool) -> Self {
        let columns = terminal::stdout_columns().unwrap_or(WIDEST).min(WIDEST);
        Self { silent, style: terminal::stdout_style(), columns, step: 0, checks: Vec::new() }
    }

    /// The next step begins.
    pub(super) fn step(&mut self, title: &str) -> Result<(), Failure> {
        self.step += 1;
        let title = self.style.strong(&format!("{}. {title}", self.step));
        self.print(&format!("\n{title}\n"))
    }

    /// In a person's words.
    pub(super) fn say(&self, what: &str) -> Result<(), Failure> {
        let margin = if self.step == 0 { "" } else { "   " };
        self.lines(margin, margin, what)
    }

    /// A piece of a file, as it is.
    pub(super) fn quote(&self, title: &str, lines: &str) -> Result<(), Failure> {
        let title = if title.is_empty() { String::new() } else { format!("   {title}\n") };
        let mut quoted = title;
        for line in lines.lines() {
            let line = text::escape(line);
            let room = self.columns.saturating_sub("   | ".len());
            // What is too long goes on beneath, a little further in.
            let inside = line.len() - line.trim_start().len();
            let lines = match text::width(&line) {
                fits if fits <= room => vec![line],
                _ => text::wrap(&line, room.saturating_sub(inside + 2)),
            };
            for (index, part) in lines.iter().enumerate() {
                let indent = if lines.len() == 1 { 0 } else { inside + 2 * usize::from(index > 0) };
                quoted += &format!("   {} {}{part}\n", self.style.faint("|"), " ".repeat(indent));
            }
        }
        self.print(&quoted)
    }

    /// A command, what it printed for a person, and its exit code.
    pub(super) fn ran(&self, ended: &Ended) -> Result<(), Failure> {
        let words = self.style.strong(&format!("lazaretto {}", ended.words));
        self.print(&format!("   {} {words}\n", self.style.faint("$")))?;
        for line in ended.shown.lines() {
            self.lines("   ", "     ", line)?;
        }
        if ended.code != Some(0) {
            let code = ended
                .code
                .map_or_else(|| "none: it was killed".to_owned(), |code| format!("{code}: {}", meaning(code)));
            self.print(&format!("   {}\n", self.style.faint(&format!("exit code {code}"))))?;
        }
        Ok(())
    }

    /// A claim, and whether it is so.
    pub(super) fn check(&mut self, claim: &'static str, ok: bool) -> Result<(), Failure> {
        self.checks.push(Check { step: self.step, claim, ok });
        let mark = self.mark(ok);
        self.print(&format!("   {mark} {claim}\n"))
    }

    pub(super) fn checks(&self) -> &[Check] {
        &self.checks
    }

    pub(super) fn failed(&self) -> usize {
        self.checks.iter().filter(|check| !check.ok).count()
    }

    /// The table at the end.
    pub(super) fn conclude(&self, requests: u64, took: Duration) -> Result<(), Failure> {
        let mut table = format!("\n{}\n", self.style.strong("What was checked"));
        for check in &self.checks {
            table += &format!(" {} {}  {}\n", self.mark(check.ok), check.step, check.claim);
        }
        let held = self.checks.len() - self.failed();
        let sum = format!(
            "{held} of {} hold. The server saw {requests} requests in all. {:.1} s",
            self.checks.len(),
            took.as_secs_f32()
        );
        let sum = if self.failed() == 0 { self.style.good(&sum) } else { self.style.bad(&sum) };
        self.print(&format!("{table}{sum}\n"))
    }

    fn mark(&self, ok: bool) -> String {
        let glyphs = Glyphs::of_this_process();
        if ok { self.style.good(glyphs.good) } else { self.style.bad(glyphs.bad) }
    }

    fn lines(&self, first: &str, further: &str, what: &str) -> Result<(), Failure> {
        let lines = text::wrap(&text::escape(what), self.columns.saturating_sub(further.len()));
        let lines = lines.iter().enumerate().map(|(index, line)| {
            let margin = if index == 0 { first } else { further };
            format!("{margin}{line}\n")
        });
        self.print(&lines.collect::<String>())
    }

    fn print(&self, text: &str) -> Result<(), Failure> {
        if self.silent { Ok(()) } else { output::print(text) }
    }
}

fn meaning(code: i32) -> &'static str {
    match code {
        0 => "done",
        1 => "input, output or internal",
        2 => "wrong usage",
        3 => "log in again",
        4 => "try again later",
        5 => "the configuration must change",
        _ => "a crash",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_claim_that_is_not_so_is_counted() {
        let mut telling = Telling::new(true);
        telling.step("a").unwrap();
        telling.check("so", true).unwrap();
        telling.step("b").unwrap();
        telling.check("not so", false).unwrap();
        assert_eq!(telling.failed(), 1);
        let steps: Vec<_> = telling.checks().iter().map(|check| check.step).collect();
        assert_eq!(steps, [1, 2]);
    }
}
