//! `lazaretto watch`: all known vaults on the screen, as they change. It only reads, and what
//! happens is told from what changed between two readings, whoever changed it.
//!
//! | question | file |
//! |---|---|
//! | how the terminal is taken and given back | `screen.rs` |
//! | when a vault is read again | `reading.rs` |
//! | what happened | `changes.rs` |
//! | what is drawn | `view.rs` `row.rs` `bar.rs` `help.rs` |

mod bar;
mod changes;
mod happening;
mod help;
mod reading;
mod row;
mod screen;
mod view;

use std::time::{Duration, Instant};

use super::args::WatchArgs;
use super::failure::Failure;
use super::glyphs::Glyphs;
use super::setup::Setup;
use super::table::Look;
use super::{signals, terminal, text, time};
use happening::Happening;
use lazaretto_host::StatusReport;
use reading::Reading;
use screen::{Key, Screen};
use view::{Selected, Shown, View};

/// So many events are kept.
const REMEMBERED: usize = 500;
/// So often it is looked whether other vaults are known now.
const LIST_EVERY_MS: u64 = 5_000;

pub(super) fn run(setup: &Setup, args: &WatchArgs) -> Result<(), Failure> {
    if setup.json {
        return Err(Failure::usage(
            "watch draws on a terminal; for a program there is `lazaretto status --all --json`",
        ));
    }
    let interval = Duration::try_from_secs_f64(args.interval).map_err(|_| Failure::usage("--interval is too long"))?;
    // Whatever is wrong with the list or a profile is said before the screen is taken.
    let mut watched = Watched::new(setup, time::now_ms())?;
    let screen = Screen::open()?;
    let ended = watch(setup, &mut watched, &screen, interval);
    let signal = screen.signal();
    drop(screen);
    if let Some(signal) = signal {
        signals::end(signal);
    }
    ended
}

fn watch(setup: &Setup, watched: &mut Watched, screen: &Screen, interval: Duration) -> Result<(), Failure> {
    let (mut drawn_at, mut drawn_size) = (None::<Instant>, (0, 0));
    let (mut selected, mut is_help) = (None::<Selected>, false);
    while screen.signal().is_none() {
        let size = screen.size();
        let is_time = drawn_at.is_none_or(|at| at.elapsed() >= interval);
        let looked = Instant::now();
        if is_time {
            watched.renew(setup, time::now_ms());
        }
        let pressed = if drawn_at.is_some() { screen.keys()? } else { Vec::new() };
        if pressed.contains(&Key::Quit) {
            break;
        }
        if is_time || size != drawn_size || !pressed.is_empty() {
            let shown = watched.shown();
            let view = View {
                vaults: &shown,
                happenings: &watched.happenings,
                selected: None,
                is_help: false,
                now_ms: time::now_ms(),
                style: terminal::stdout_style(),
                glyphs: Glyphs::of_this_process(),
            };
            let page = isize::try_from(size.1).unwrap_or(24) / 2;
            for key in pressed {
                is_help ^= key == Key::Help;
                selected = moved(&view.credentials(), selected, key, page);
            }
            screen.show(&View { selected: selected.as_ref(), is_help, ..view }.draw(size.0, size.1))?;
            drawn_size = size;
            if is_time {
                drawn_at = Some(looked);
            }
        } else if looked.elapsed() < Duration::from_millis(20) {
            // A terminal that has gone answers at once, for ever.
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    Ok(())
}

/// What is selected after a key. None: the first, whichever that is.
fn moved(credentials: &[Selected], selected: Option<Selected>, key: Key, page: isize) -> Option<Selected> {
    let at = selected.as_ref().and_then(|selected| credentials.iter().position(|other| other == selected)).unwrap_or(0);
    let at = match key {
        Key::Lines(lines) => at.saturating_add_signed(lines),
        Key::Pages(pages) => at.saturating_add_signed(pages * page),
        Key::Last => credentials.len(),
        // Who leads is selected, also when that becomes another one.
        Key::First => return None,
        Key::Help | Key::Quit => return selected,
    };
    credentials.get(at.min(credentials.len().saturating_sub(1))).cloned()
}

/// The vaults, and what happened to them.
struct Watched {
    readings: Vec<Reading>,
    /// The oldest first.
    happenings: Vec<Happening>,
    listed_at_ms: u64,
}

impl Watched {
    fn new(setup: &Setup, now_ms: u64) -> Result<Self, Failure> {
        let mut watched = Self { readings: Vec::new(), happenings: Vec::new(), listed_at_ms: now_ms };
        for path in setup.vaults()? {
            let reading = Reading::new(setup, path, watched.readings.first(), now_ms)?;
            watched.readings.push(reading);
        }
        Ok(watched)
    }

    fn renew(&mut self, setup: &Setup, now_ms: u64) {
        if now_ms.abs_diff(self.listed_at_ms) >= LIST_EVERY_MS {
            self.listed_at_ms = now_ms;
            self.list(setup, now_ms);
        }
        let mut readings = std::mem::take(&mut self.readings);
        for reading in &mut readings {
            if let Some(before) = reading.renew(now_ms) {
                let vault = reading.path.display().to_string();
                self.happenings.extend(happenings(&vault, &before, &reading.last, now_ms));
            }
        }
        self.readings = readings;
        let old = self.happenings.len().saturating_sub(REMEMBERED);
        self.happenings.drain(..old);
    }

    /// Vaults that were added to the list or removed from it meanwhile.
    fn list(&mut self, setup: &Setup, now_ms: u64) {
        // A list that cannot be read now changes nothing.
        let Ok(paths) = setup.vaults() else { return };
        let say = |path: &std::path::Path, what: &str| Happening {
            at_ms: now_ms,
            vault: path.display().to_string(),
            of: String::new(),
            what: what.to_owned(),
            look: Look::Plain,
        };
        let gone = self.readings.iter().filter(|reading| !paths.contains(&reading.path));
        self.happenings.extend(gone.map(|reading| say(&reading.path, "no longer known")));
        self.readings.retain(|reading| paths.contains(&reading.path));
        for path in paths {
            if self.readings.iter().all(|reading| reading.path != path)
                && let Ok(reading) = Reading::new(setup, path, self.readings.first(), now_ms)
            {
                self.happenings.push(say(&reading.path, "known now"));
                self.readings.push(reading);
            }
        }
    }

    fn shown(&self) -> Vec<Shown<'_>> {
        let shown = |reading: &'_ Reading| reading.path.display().to_string();
        self.readings.iter().map(|reading| Shown { path: shown(reading), report: &reading.last }).collect()
    }
}

/// What happened to one vault between two readings.
fn happenings(
    vault: &str,
    before: &Result<StatusReport, String>,
    after: &Result<StatusReport, String>,
    now_ms: u64,
) -> Vec<Happening> {
    let say = |of: String, what: String, look| Happening { at_ms: now_ms, vault: vault.to_owned(), of, what, look };
    match (before, after) {
        (Ok(before), Ok(after)) => {
            let changes = changes::between(before, after, now_ms).into_iter();
            changes.map(|change| say(format!("{}: ", change.of), change.what, change.look)).collect()
        }
        (Err(_), Ok(_)) => vec![say(String::new(), "it can be read again".to_owned(), Look::Good)],
        (before, Err(wrong)) if before.as_ref().err() != Some(wrong) => {
            vec![say(String::new(), text::escape(wrong), Look::Bad)]
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::need::example;
    use super::*;
    use lazaretto_host::CredentialStatus;

    pub(super) const NOW_MS: u64 = 1_784_541_600_000;

    pub(super) fn report(credentials: Vec<CredentialStatus>) -> StatusReport {
        StatusReport { credentials, warnings: Vec::new() }
    }

    /// A vault that cannot be read is said once and so is its return.
    #[test]
    fn an_unreadable_vault_and_its_return_are_reported_once() {
        let (good, bad) = (Ok(report(vec![example("yes", "ok")])), Err("not \u{1b}JSON".to_owned()));
        let said = |before, after| {
            let said = happenings("/a", before, after, NOW_MS);
            said.into_iter().map(|happening| happening.what).collect::<Vec<_>>()
        };
        assert_eq!(said(&good, &bad), ["not \\u{1b}JSON"]);
        assert_eq!(said(&bad, &bad), [""; 0]);
        assert_eq!(said(&bad, &good), ["it can be read again"]);
        assert_eq!(said(&good, &good), [""; 0]);
    }

    /// A selection moves within the list and the first is whoever leads.
    #[test]
    fn a_selection_stays_in_the_list_and_starts_at_the_first() {
        let name = |number: usize| (String::new(), String::new(), number.to_string());
        let all: Vec<Selected> = (0..9).map(name).collect();
        for (from, key, to) in [
            (None, Key::Lines(1), Some(1)),
            (Some(1), Key::Lines(-1), Some(0)),
            (Some(0), Key::Lines(-1), Some(0)),
            (Some(8), Key::Lines(1), Some(8)),
            (Some(2), Key::Pages(1), Some(6)),
            (Some(6), Key::Pages(1), Some(8)),
            (Some(3), Key::First, None),
            (None, Key::Last, Some(8)),
            (Some(3), Key::Help, Some(3)),
            (Some(77), Key::Lines(1), Some(1)),
        ] {
            assert_eq!(moved(&all, from.map(name), key, 4), to.map(name), "{from:?} {key:?}");
        }
        assert_eq!(moved(&[], None, Key::Last, 4), None);
    }
}
