//! `lazaret refresh --all`: every OAuth credential, several at a time, one of a provider at a time, and a line for each. A signal
//! lets what is under way be stored, and begins nothing more.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::args::RefreshArgs;
use super::events::Events;
use super::failure::{Exit, Failure};
use super::need::Need;
use super::setup::{Open, Setup};
use super::signals::{self, Signals};
use super::tally::Tally;
use super::terminal::Style;
use super::{refresh, status, terminal, text, time, token, unsaved, words};
use crate::storage::VAULT;
use crate::{AccessToken, CredentialStatus, TokenRequest};

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
        terminal::print(&nothing(&opened, args.due))?;
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

/// One credential to refresh, and in which vault.
struct Job {
    vault: usize,
    status: CredentialStatus,
}

impl Job {
    /// Of what no refresh can help.
    fn waits_for_a_person(&self) -> Failure {
        let CredentialStatus { provider, credential, todo, .. } = &self.status;
        let why = words::why(&self.status, time::now_ms()).join("; ");
        let why = if why.is_empty() { why } else { format!(": {why}") };
        let message = format!("{provider} ({credential}): {}{why}", words::trouble(&self.status));
        let failure = match Need::of(&self.status) {
            Need::Login => Failure::login(message).coded("login-required"),
            Need::Configuration => Failure::configure(message).coded("held"),
            _ => Failure::broken(message).coded("unknown-state"),
        };
        let failure = failure.of(provider, credential);
        match todo {
            Some(command) => failure.run(command),
            None => failure,
        }
    }
}

/// What is to be done. Two jobs of one provider, or of a vault whose exchanges exclude each other, are never given out at the same time.
#[derive(Default)]
struct Queue {
    /// In the order of the vaults.
    jobs: VecDeque<Job>,
    /// Vaults in which every exchange holds the vault's own lock.
    one_at_a_time: HashSet<usize>,
    busy: Vec<(usize, String)>,
    /// Not due, for a timer can do nothing for them.
    waiting_for_a_person: Vec<Job>,
}

impl Queue {
    fn add(&mut self, vault: usize, at_once: bool, credentials: Vec<CredentialStatus>, due: bool) {
        if !at_once {
            self.one_at_a_time.insert(vault);
        }
        for status in credentials {
            if is_swept(&status, due) {
                self.jobs.push_back(Job { vault, status });
            } else if due && Need::of(&status).is_a_persons() {
                self.waiting_for_a_person.push(Job { vault, status });
            }
        }
    }

    /// The next job that excludes none of those under way.
    fn next(&mut self) -> Option<Job> {
        let is_free = |job: &Job| {
            self.busy.iter().all(|(vault, provider)| {
                *provider != job.status.provider && (*vault != job.vault || !self.one_at_a_time.contains(vault))
            })
        };
        let at = self.jobs.iter().position(is_free)?;
        let job = self.jobs.remove(at)?;
        self.busy.push((job.vault, job.status.provider.clone()));
        Some(job)
    }

    fn is_over(&mut self, vault: usize, provider: &str) {
        let at = self.busy.iter().position(|(busy, of)| *busy == vault && *of == provider);
        if let Some(at) = at {
            self.busy.swap_remove(at);
        }
    }
}

fn is_swept(status: &CredentialStatus, due: bool) -> bool {
    let renews = matches!(status.renewal.as_str(), "ok" | "refreshing" | "in-doubt");
    let is_due =
        renews && (status.renewal == "in-doubt" || matches!(status.usable.as_str(), "expiring" | "expired" | "no"));
    status.kind == "oauth" && (!due || is_due)
}

/// For how many seconds a token must be good so that the one known now is not.
fn more_than_left(status: &CredentialStatus, now_ms: u64) -> u64 {
    status.expires_at_ms.map_or(0, |at_ms| at_ms.saturating_sub(now_ms).div_ceil(1_000))
}

/// What the threads that refresh tell the one that prints.
enum Told {
    Begun(String),
    Done {
        job: Box<Job>,
        done: Box<Result<AccessToken, Failure>>,
    },
    /// A thread has nothing on its way any more.
    Idle,
}

/// What the threads share.
struct Crew<'a> {
    queue: Mutex<Queue>,
    freed: Condvar,
    /// Nothing more is begun.
    stopped: AtomicBool,
    signals: &'a Signals,
    opened: &'a [Open],
    events: &'a Events,
    due: bool,
}

impl Crew<'_> {
    fn work(&self, tell: &Sender<Told>) {
        while let Some(job) = self.next() {
            let (provider, credential) = (&job.status.provider, &job.status.credential);
            self.signals.is_about(provider);
            // Who prints may have gone: what is under way is stored all the same.
            let _ = tell.send(Told::Begun(format!("{provider} ({credential})")));
            let done = self.refresh(&job);
            let (vault, provider) = (job.vault, provider.clone());
            // Told before the next may begin: where one waits for another they are told of in their order.
            let _ = tell.send(Told::Done { job: Box::new(job), done: Box::new(done) });
            self.queue().is_over(vault, &provider);
            self.freed.notify_all();
            let stops = self.signals.finished().is_some();
            let _ = tell.send(Told::Idle);
            if stops {
                self.stop();
            }
        }
    }

    fn refresh(&self, job: &Job) -> Result<AccessToken, Failure> {
        let (provider, credential) = (&job.status.provider, &job.status.credential);
        let Some(open) = self.opened.get(job.vault) else { return Err(Failure::broken("there is no such vault")) };
        let request = TokenRequest {
            credential: Some(credential.clone()),
            min_valid_s: if self.due { more_than_left(&job.status, time::now_ms()) } else { 0 },
            ..TokenRequest::new(VAULT, provider.clone())
        };
        // What is due is refreshed unless somebody has done it meanwhile; else it is refreshed whatever its state.
        let asked = if self.due { open.keeper.token(&request) } else { open.keeper.refresh(&request) };
        let done = match asked {
            Ok(token) => unsaved::save(open, &token).map(|()| token),
            Err(error) => Err(open.failure(error).of(provider, credential)),
        };
        // Events are held back by the thread that they came in.
        match &done {
            Ok(token) => self.events.finish(token.warning.as_deref()),
            Err(failure) => self.events.finish(Some(&failure.message)),
        }
        done
    }

    /// Waits as long as what is left excludes what is under way.
    fn next(&self) -> Option<Job> {
        let mut queue = self.queue();
        loop {
            if self.stopped.load(Ordering::SeqCst) || queue.jobs.is_empty() {
                return None;
            }
            if let Some(job) = queue.next() {
                return Some(job);
            }
            queue = self.freed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn stop(&self) {
        let _queue = self.queue();
        self.stopped.store(true, Ordering::SeqCst);
        self.freed.notify_all();
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
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
                let spawned =
                    thread::Builder::new().name("lazaret-refresh".into()).spawn_scoped(scope, move || crew.work(&tell));
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
            // A thread that may not send any more says nothing: whether it was the last is looked for.
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
        terminal::print(&format!("{said}\n"))?;
        if let Ok(token) = done {
            token::warn(self.setup, token);
        }
        Ok(())
    }
}

/// What became of one, for a person. A vault's path leads it where there are several.
fn line(done: &Result<AccessToken, Failure>, vault: Option<&str>, style: Style, now_ms: u64) -> String {
    let said = match done {
        Ok(token) => refresh::what_happened(token, now_ms),
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
    use super::*;
    use crate::KeeperError;

    #[test]
    fn only_what_is_due_is_swept_if_that_is_asked_for_and_a_key_never() {
        for (usable, renewal, due, waits) in [
            ("yes", "ok", false, false),
            ("expired", "ok", true, false),
            ("expiring", "ok", true, false),
            ("expired", "refreshing", true, false),
            ("yes", "in-doubt", true, false),
            ("expired", "paused", false, false),
            ("no", "quarantined", false, true),
            ("no", "dead", false, true),
            ("yes", "needs-login", false, true),
            ("yes", "needs-configuration", false, true),
            ("yes", "a-new-word", false, true),
            ("yes", "none", false, false),
        ] {
            let status = example(usable, renewal);
            assert_eq!((is_swept(&status, false), is_swept(&status, true)), (true, due), "{usable} {renewal}");
            let key = CredentialStatus { kind: "api-key".into(), ..status.clone() };
            assert!(!is_swept(&key, false) && !is_swept(&key, true));
            let mut queue = Queue::default();
            queue.add(0, true, vec![status.clone()], true);
            assert_eq!(queue.waiting_for_a_person.len(), usize::from(waits), "{usable} {renewal}");
            queue.add(0, true, vec![status], false);
            assert_eq!(queue.waiting_for_a_person.len(), usize::from(waits), "without --due it is tried");
        }
        let expires = |at_ms| CredentialStatus { expires_at_ms: Some(at_ms), ..example("expiring", "ok") };
        assert_eq!(more_than_left(&expires(90_500), 30_000), 61);
        assert_eq!(more_than_left(&expires(90_500), 90_500), 0);
    }

    #[test]
    fn what_waits_for_a_person_has_the_exit_code_and_the_command() {
        for (renewal, exit) in
            [("quarantined", Exit::Login), ("needs-configuration", Exit::Configure), ("new", Exit::Broken)]
        {
            let failure = Job { vault: 0, status: example("no", renewal) }.waits_for_a_person();
            assert_eq!(failure.exit, exit, "{renewal}");
            let is_known = renewal != "new";
            assert_eq!(failure.command(), Some("lazaret login xai-oauth").filter(|_| is_known), "{renewal}");
        }
    }

    fn of(provider: &str, credential: &str) -> CredentialStatus {
        CredentialStatus { provider: provider.into(), credential: credential.into(), ..example("expired", "ok") }
    }

    fn taken(queue: &mut Queue) -> Vec<String> {
        let next = std::iter::from_fn(|| queue.next());
        next.map(|job| format!("{}{}{}", job.vault, job.status.provider, job.status.credential)).collect()
    }

    #[test]
    fn of_one_provider_one_is_refreshed_at_a_time_whatever_vault_it_is_in() {
        let mut queue = Queue::default();
        queue.add(0, true, vec![of("a", "1"), of("a", "2"), of("b", "1")], false);
        queue.add(1, true, vec![of("b", "2"), of("c", "1")], false);
        assert_eq!(taken(&mut queue), ["0a1", "0b1", "1c1"]);
        queue.is_over(0, "b");
        assert_eq!(taken(&mut queue), ["1b2"]);
        queue.is_over(0, "a");
        assert_eq!(taken(&mut queue), ["0a2"]);
        assert!(queue.jobs.is_empty());
    }

    #[test]
    fn of_a_vault_whose_own_lock_each_exchange_holds_one_is_refreshed_at_a_time() {
        let mut queue = Queue::default();
        queue.add(0, false, vec![of("a", "1"), of("b", "1")], false);
        queue.add(1, false, vec![of("c", "1")], false);
        assert_eq!(taken(&mut queue), ["0a1", "1c1"]);
        queue.is_over(0, "a");
        assert_eq!(taken(&mut queue), ["0b1"]);
    }

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
