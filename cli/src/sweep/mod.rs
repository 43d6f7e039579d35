//! `lazaretto refresh --all`: every OAuth credential, several at a time, one of a provider at a
//! time, and a line for each. A signal lets what is under way be stored, and begins nothing more.
//!
//! | question | file |
//! |---|---|
//! | which credentials, and which at the same time | `queue.rs` |
//! | what each thread does | `crew.rs` |

mod crew;
mod queue;

use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::args::RefreshArgs;
use super::failure::{Exit, Failure};
use super::open::Open;
use super::setup::Setup;
use super::signals::{self, Signals};
use super::tally::Tally;
use super::terminal::Style;
use super::{output, status, terminal, text, time, token};
use crew::{Crew, Told};
use lazaretto_host::AccessToken;
use lazaretto_host::storage::VAULT;
use queue::Queue;

/// So many exchanges at a time at most.
const AT_ONCE: usize = 4;
/// How often it is looked whether a signal came, while nothing is told.
const LOOK_EVERY: Duration = Duration::from_millis(200);

pub(super) fn run(setup: &Setup, args: &RefreshArgs) -> Result<(), Failure> {
    let signals = Signals::listen(setup.events.clone(), "")?;
    signals.leave_the_end_to_the_caller();
    let vaults = setup.vaults_to_refresh()?;
    let is_one = vaults.len() == 1;
    let (mut opened, mut unreadable, mut queue) = (Vec::<Open>::new(), Vec::new(), Queue::default());
    for vault in vaults {
        let open = setup.open_vault_heeding(vault, opened.first(), &signals)?;
        match open.keeper.status(VAULT, args.provider.as_deref()) {
            Ok(report) => queue.add(opened.len(), open.keeper.exchanges_at_once(), report.credentials, args.due),
            Err(error) if is_one => return Err(status::unreadable(&open, error)),
            Err(error) => unreadable.push((opened.len(), status::unreadable(&open, error))),
        }
        opened.push(open);
    }
    let waiting = std::mem::take(&mut queue.waiting_for_a_person);
    if queue.jobs.is_empty() && unreadable.is_empty() && !setup.json {
        output::print(&nothing(&opened, args.due))?;
    }
    let vaults = opened.iter().map(|open| open.places.vault.display().to_string()).collect();
    let all = queue.jobs.len() + unreadable.len() + waiting.len();
    let mut sweep = Sweep { setup, vaults, under_way: Vec::new(), tally: Tally::of(all) };
    for (vault, failure) in unreadable {
        sweep.done(vault, &Err(failure))?;
    }
    for job in waiting {
        sweep.done(job.vault, &Err(job.waits_for_a_person()))?;
    }
    let crew = Crew {
        queue: Mutex::new(queue),
        freed: Condvar::new(),
        stopped: AtomicBool::new(false),
        signals: &signals,
        opened: &opened,
        events: &setup.events,
        due: args.due,
    };
    sweep.run(&crew)?;
    if all > 0 {
        note(setup, &sweep.tally.to_string());
    }
    // Every line has said what is wrong.
    sweep.tally.worst.map_or(Ok(()), |exit| Err(Failure::of_many(exit, &sweep.tally).said()))
}

/// Where there is nothing to do.
fn nothing(opened: &[Open], due: bool) -> String {
    let what = if due { "nothing is due" } else { "no OAuth credential to refresh" };
    let vaults = opened.iter().map(|open| text::escape(&open.places.vault.display().to_string()));
    vaults.map(|vault| format!("{vault}: {what}\n")).collect()
}

/// For a person only.
fn note(setup: &Setup, line: &str) {
    if !setup.json {
        terminal::note(line);
    }
}

/// What is printed, and what became of all.
struct Sweep<'a> {
    setup: &'a Setup,
    vaults: Vec<String>,
    under_way: Vec<String>,
    tally: Tally,
}

impl Sweep<'_> {
    fn run(&mut self, crew: &Crew<'_>) -> Result<(), Failure> {
        let (tell, told) = mpsc::channel();
        let threads = AT_ONCE.min(crew.queue().jobs.len());
        thread::scope(|scope| {
            for _ in 0..threads {
                let tell = tell.clone();
                let spawned = thread::Builder::new()
                    .name("lazaretto-refresh".into())
                    .spawn_scoped(scope, move || crew.work(&tell));
                if let Err(error) = spawned {
                    crew.stop();
                    return Err(Failure::broken(format_args!("cannot start a thread: {error}")));
                }
            }
            drop(tell);
            let printed = self.follow(crew, &told);
            if printed.is_err() {
                crew.stop();
            }
            printed
        })
    }

    /// Until all is done, or a signal came and nothing is on its way any more.
    fn follow(&mut self, crew: &Crew<'_>, told: &Receiver<Told>) -> Result<(), Failure> {
        loop {
            // A thread that may not send any more says nothing: whether it was the last is looked
            // for.
            let first = match told.recv_timeout(LOOK_EVERY) {
                Ok(first) => Some(first),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            };
            let signal = crew.signals.ended();
            // What was done before that is told already, and printed before the end.
            let mut printed = first.map_or(Ok(()), |first| self.take(first));
            if let Some(signal) = signal {
                while let Ok(further) = told.try_recv() {
                    printed = printed.and(self.take(further));
                }
                note(self.setup, &format!("stopped: {}", self.tally));
                signals::end(signal);
            }
            printed?;
        }
    }

    fn take(&mut self, told: Told) -> Result<(), Failure> {
        match told {
            Told::Begun(name) => self.under_way.push(name),
            Told::Idle => {}
            Told::Done { job, done } => {
                let name = format!("{} ({})", job.status.provider, job.status.credential);
                self.under_way.retain(|other| *other != name);
                self.done(job.vault, &done)?;
            }
        }
        if !self.under_way.is_empty() {
            terminal::progress(&progress(&self.tally, &self.under_way));
        }
        Ok(())
    }

    fn done(&mut self, vault: usize, done: &Result<AccessToken, Failure>) -> Result<(), Failure> {
        self.tally.take(done);
        let vault = self.vaults.get(vault).map_or("", String::as_str);
        let said = match (done, self.setup.json) {
            (Ok(token), true) => in_vault(token::to_json(token, false), vault).to_string(),
            (Err(failure), true) => in_vault(in_json(failure), vault).to_string(),
            (done, false) => {
                let vault = Some(vault).filter(|_| self.vaults.len() > 1);
                line(done, vault, terminal::stdout_style(), time::now_ms())
            }
        };
        output::print(&format!("{said}\n"))?;
        if let Ok(token) = done {
            token::warn(self.setup, token);
        }
        Ok(())
    }
}

/// What became of one, for a person. A vault's path leads it where there are several.
fn line(done: &Result<AccessToken, Failure>, vault: Option<&str>, style: Style, now_ms: u64) -> String {
    let said = match done {
        Ok(token) => token::what_happened(token, now_ms),
        Err(failure) => {
            let run = failure.command().map(|command| format!("; run: {command}")).unwrap_or_default();
            let message = text::escape(&format!("{}{run}", failure.message));
            if failure.exit == Exit::Retry { style.warn(&message) } else { style.bad(&message) }
        }
    };
    match vault.filter(|vault| !said.contains(*vault)) {
        Some(vault) => format!("{}: {said}", text::escape(vault)),
        None => said,
    }
}

/// What is under way, after how many of how many.
fn progress(tally: &Tally, under_way: &[String]) -> String {
    format!("[{} of {}] {} ...", tally.done(), tally.all, under_way.join(", "))
}

fn in_vault(mut json: Value, vault: &str) -> Value {
    json["vault"] = vault.into();
    json
}

/// With the same members first as a token has.
fn in_json(failure: &Failure) -> Value {
    let error = &failure.to_json()["error"];
    json!({ "provider": error["provider"], "credential": error["credential"], "error": error })
}

#[cfg(test)]
mod tests {
    use super::super::need::example;
    use super::super::screens::{self, NOW_MS};
    use super::super::token::example as example_token;
    use super::queue::Job;
    use super::*;
    use lazaretto_host::{CredentialStatus, KeeperError};

    /// The lines, the line that is replaced while something is under way, and the summary.
    #[test]
    fn the_screen_is_as_it_is_kept() {
        let token = |provider: &str, origin: &str| AccessToken {
            provider: provider.into(),
            origin: origin.into(),
            expires_at_ms: Some(NOW_MS + 3_600_000),
            ..example_token()
        };
        let sick =
            Job { vault: 0, status: CredentialStatus { provider: "nous".into(), ..example("no", "quarantined") } };
        let error = KeeperError { action: "retry".into(), ..KeeperError::internal(String::new()) };
        let paused = "cooling (login): the refresh could not be made (HTTP 429 slow_down); next try in 840 s";
        let all = [
            Err(sick.waits_for_a_person()),
            Ok(token("acme", "refreshed")),
            Ok(token("bolt", "adopted")),
            Err(Failure::keeper(error, paused.to_owned())),
        ];
        for columns in [60, 80, 120] {
            let (mut tally, mut drawn) = (Tally::of(6), String::new());
            for done in &all {
                tally.take(done);
                // As the terminal breaks it.
                let line: Vec<char> = line(done, None, Style::PLAIN, NOW_MS).chars().collect();
                line.chunks(columns).for_each(|part| drawn.extend(part.iter().chain(&['\n'])));
            }
            let under_way =
                ["cord (login)", "delta (77aa01)", "a-provider-with-a-long-name (login)"].map(str::to_owned);
            drawn += &format!("{}\n", text::cut(&progress(&tally, &under_way), columns - 1));
            tally.take(&Ok(token("cord", "refreshed")));
            tally.take(&Ok(token("delta", "refreshed")));
            drawn += &text::wrap(&tally.to_string(), columns).join("\n");
            screens::compare(&format!("refresh-all-{columns}.txt"), columns, &drawn);
        }
        let several = line(&Ok(token("acme", "refreshed")), Some("/b/auth.json"), Style::PLAIN, NOW_MS);
        assert_eq!(several, "/b/auth.json: acme (login): refreshed; the access token is good for 60 min");
    }
}
