//! `lazaret refresh --all`: every OAuth credential, one after the other, and a line for each. A signal ends it between two of them.

use std::fmt;

use serde_json::{Value, json};

use super::args::RefreshArgs;
use super::failure::{Exit, Failure};
use super::setup::Setup;
use super::signals::{self, Signals};
use super::{refresh, status, terminal, text, time, token, unsaved};
use crate::storage::VAULT;
use crate::{AccessToken, CredentialStatus, TokenRequest};

pub(super) fn run(setup: &Setup, args: &RefreshArgs) -> Result<(), Failure> {
    let signals = Signals::listen(setup.events.clone(), "")?;
    let open = setup.open_heeding(&signals)?;
    let report = open.keeper.status(VAULT, args.provider.as_deref());
    let report = report.map_err(|error| status::unreadable(&open, error))?;
    let swept: Vec<&CredentialStatus> = report.credentials.iter().filter(|status| is_swept(status, args.due)).collect();
    if swept.is_empty() && !setup.json {
        let vault = text::escape(&open.places.vault.display().to_string());
        let what = if args.due { "nothing is due" } else { "no OAuth credential to refresh" };
        return terminal::print(&format!("{vault}: {what}\n"));
    }
    let mut tally = Tally { all: swept.len(), ..Tally::default() };
    for status in swept {
        let (provider, credential) = (&status.provider, &status.credential);
        terminal::progress(&format!("[{}/{}] {provider} ({credential}) ...", tally.done() + 1, tally.all));
        signals.is_about(provider);
        let request = TokenRequest {
            credential: Some(credential.clone()),
            min_valid_s: if args.due { more_than_left(status, time::now_ms()) } else { 0 },
            ..TokenRequest::new(VAULT, provider.clone())
        };
        // What is due is refreshed unless somebody has done it meanwhile; else it is refreshed whatever its state.
        let asked = if args.due { open.keeper.token(&request) } else { open.keeper.refresh(&request) };
        let done = match asked {
            Ok(token) => unsaved::save(&open, &token).map(|()| token),
            Err(error) => Err(open.failure(error).of(provider, credential)),
        };
        let signal = signals.finished();
        tally.take(&done);
        let printed = show(setup, &done);
        if let Some(signal) = signal {
            note(setup, &format!("stopped: {tally}"));
            signals::end(signal);
        }
        printed?;
    }
    note(setup, &tally.to_string());
    // Every line has said what is wrong.
    tally.worst.map_or(Ok(()), |exit| Err(Failure::of_many(exit, &tally).said()))
}

/// For a person only.
fn note(setup: &Setup, line: &str) {
    if !setup.json {
        terminal::note(line);
    }
}

fn is_swept(status: &CredentialStatus, due: bool) -> bool {
    status.kind == "oauth"
        && (!due || matches!(status.state.as_str(), "expired" | "expiring" | "refreshing" | "in-doubt"))
}

/// For how many seconds a token must be good so that the one known now is not.
fn more_than_left(status: &CredentialStatus, now_ms: u64) -> u64 {
    status.expires_at_ms.map_or(0, |at_ms| at_ms.saturating_sub(now_ms).div_ceil(1_000))
}

fn show(setup: &Setup, done: &Result<AccessToken, Failure>) -> Result<(), Failure> {
    let said = match (done, setup.json) {
        (Ok(token), true) => token::to_json(token, false).to_string(),
        (Ok(token), false) => refresh::what_happened(token, time::now_ms()),
        (Err(failure), true) => in_json(failure).to_string(),
        (Err(failure), false) => {
            let style = terminal::stdout_style();
            let message = text::escape(&failure.message);
            if failure.exit == Exit::Retry { style.warn(&message) } else { style.bad(&message) }
        }
    };
    let printed = terminal::print(&format!("{said}\n"));
    match done {
        Ok(token) => token::warn(setup, token),
        Err(failure) => setup.events.finish(Some(&failure.message)),
    }
    printed
}

/// With the same members first as a token has.
fn in_json(failure: &Failure) -> Value {
    let error = &failure.to_json()["error"];
    json!({ "provider": error["provider"], "credential": error["credential"], "error": error })
}

/// What became of how many.
#[derive(Default)]
struct Tally {
    all: usize,
    refreshed: usize,
    as_they_were: usize,
    failed: [usize; 6],
    worst: Option<Exit>,
}

impl Tally {
    fn take(&mut self, done: &Result<AccessToken, Failure>) {
        match done {
            Ok(token) if token.origin == "refreshed" => self.refreshed += 1,
            Ok(_) => self.as_they_were += 1,
            Err(failure) => {
                self.failed[failure.exit as usize] += 1;
                self.worst = self.worst.max_by_badness(failure.exit);
            }
        }
    }

    fn done(&self) -> usize {
        self.refreshed + self.as_they_were + self.failed.iter().sum::<usize>()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} done: {} refreshed", self.done(), self.all, self.refreshed)?;
        for (count, what) in [
            (self.as_they_were, "needed no request"),
            (self.failed[Exit::Retry as usize], "to be tried again later"),
            (self.failed[Exit::Login as usize], "to be logged in again"),
            (self.failed[Exit::Configure as usize] + self.failed[Exit::Usage as usize], "wrongly configured"),
            (self.failed[Exit::Broken as usize], "failed"),
        ] {
            if count > 0 {
                write!(f, ", {count} {what}")?;
            }
        }
        Ok(())
    }
}

trait Worst {
    fn max_by_badness(self, other: Exit) -> Self;
}

impl Worst for Option<Exit> {
    /// What mends itself is the least, what is broken here the most.
    fn max_by_badness(self, other: Exit) -> Self {
        let badness = |exit: Exit| match exit {
            Exit::Retry => 1,
            Exit::Login => 2,
            Exit::Configure => 3,
            Exit::Usage => 4,
            Exit::Broken => 5,
        };
        Some(self.filter(|exit| badness(*exit) >= badness(other)).unwrap_or(other))
    }
}

#[cfg(test)]
mod tests {
    use super::super::token::example;
    use super::*;
    use crate::KeeperError;

    fn failed(action: &str) -> Result<AccessToken, Failure> {
        let error = KeeperError { action: action.into(), ..KeeperError::internal("no".into()) };
        Err(Failure::keeper(error, "xai-oauth (login): no".into()))
    }

    #[test]
    fn the_exit_code_is_that_of_the_worst() {
        for (actions, worst) in [
            (&["retry"][..], 4),
            (&["retry", "login", "retry"], 3),
            (&["login", "configure", "retry"], 5),
            (&["configure", "inspect", "login"], 1),
        ] {
            let mut tally = Tally::default();
            actions.iter().for_each(|action| tally.take(&failed(action)));
            assert_eq!(tally.worst.map(|exit| exit as u8), Some(worst), "{actions:?}");
        }
    }

    #[test]
    fn a_tally_says_what_became_of_all() {
        let mut tally = Tally { all: 9, ..Tally::default() };
        assert_eq!(tally.to_string(), "0 of 9 done: 0 refreshed");
        tally.take(&Ok(AccessToken { origin: "refreshed".into(), ..example() }));
        tally.take(&Ok(AccessToken { origin: "stored".into(), ..example() }));
        tally.take(&failed("login"));
        tally.take(&failed("retry"));
        let wanted =
            "4 of 9 done: 1 refreshed, 1 needed no request, 1 to be tried again later, 1 to be logged in again";
        assert_eq!((tally.to_string(), tally.worst), (wanted.to_owned(), Some(Exit::Login)));
    }

    #[test]
    fn only_what_is_due_is_swept_if_that_is_asked_for_and_a_key_never() {
        let status = |kind: &str, state: &str| CredentialStatus {
            provider: "xai-oauth".into(),
            credential: "login".into(),
            label: String::new(),
            source: String::new(),
            kind: kind.into(),
            state: state.into(),
            expires_at_ms: Some(90_500),
            ..CredentialStatus::default()
        };
        for (kind, state, all, due) in [
            ("oauth", "valid", true, false),
            ("oauth", "expired", true, true),
            ("oauth", "expiring", true, true),
            ("oauth", "refreshing", true, true),
            ("oauth", "in-doubt", true, true),
            ("oauth", "quarantined", true, false),
            ("oauth", "cooling-down", true, false),
            ("api-key", "key", false, false),
        ] {
            let status = status(kind, state);
            assert_eq!((is_swept(&status, false), is_swept(&status, true)), (all, due), "{kind} {state}");
        }
        assert_eq!(more_than_left(&status("oauth", "expiring"), 30_000), 61);
        assert_eq!(more_than_left(&status("oauth", "expired"), 90_500), 0);
    }
}
