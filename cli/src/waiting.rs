//! Whoever sits at a terminal is told after a second what a call waits for. Anybody else is told
//! nothing.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::terminal;
use lazaretto_host::http::HttpRequest;
use lazaretto_host::storage::{Holder, Scope};
use lazaretto_host::{LONG_WAIT, Wait};

/// Shows on a terminal what one call waits for.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// Counts what was waited for, so that nothing is said of what is over.
    wait: Mutex<Wanted>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Wanted {
    number: u64,
    /// What is to be said, if it is still true after a second.
    line: Option<String>,
}

impl Waiting {
    /// None where nobody would see it.
    pub(super) fn for_a_person(json: bool, provider: &str) -> Option<impl Fn(Wait<'_>) + Send + Sync + 'static> {
        let (waiting, provider) = (Arc::new(Self::default()), provider.to_owned());
        (!json && terminal::is_stderr_a_terminal()).then_some(move |wait: Wait<'_>| waiting.take(wait, &provider))
    }

    fn take(self: &Arc<Self>, wait: Wait<'_>, provider: &str) {
        let mut wanted = self.wanted();
        wanted.number += 1;
        wanted.line = None;
        match wait {
            // It has lasted for a second when it is told of.
            Wait::Lease(scope, holder) => terminal::progress(&for_lease(scope, holder, provider)),
            Wait::Answer(request) => {
                wanted.line = Some(for_answer(request));
                let (this, number) = (Arc::clone(self), wanted.number);
                // Without a thread nothing is said, and nothing else is lost.
                let _ = thread::Builder::new().name("lazaretto-waiting".into()).spawn(move || this.say_later(number));
            }
            _ => {
                self.changed.notify_all();
                terminal::end_progress();
            }
        }
    }

    fn say_later(&self, number: u64) {
        let wanted = self.wanted();
        let waits = |wanted: &mut Wanted| wanted.number == number;
        let waited = self.changed.wait_timeout_while(wanted, LONG_WAIT, waits);
        let (wanted, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if wanted.number == number
            && let Some(line) = &wanted.line
        {
            terminal::progress(line);
        }
    }

    fn wanted(&self) -> MutexGuard<'_, Wanted> {
        self.wait.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn for_lease(scope: &Scope, holder: &Holder, provider: &str) -> String {
    let who = if holder.name.is_empty() { "another process" } else { &holder.name };
    match scope {
        Scope::Grant { .. } if !provider.is_empty() => format!("waiting for {who}, which is refreshing {provider} ..."),
        Scope::Grant { .. } => format!("waiting for {who}, which is refreshing the same login ..."),
        Scope::Document(_) => format!("waiting for {who}, which holds the lock of the vault ..."),
    }
}

/// Of the address only the host: the rest may hold what is not for a screen.
fn for_answer(request: &HttpRequest) -> String {
    let rest = request.url.split_once("://").map_or("", |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if host.is_empty() { "waiting for an answer ...".to_owned() } else { format!("asking {host} ...") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_waited_for_is_named() {
        let holder = Holder { name: "pid 4711 on build-3".into(), since_ms: None };
        let grant = Scope::Grant { document: "vault".into(), fingerprint: String::new() };
        let document = Scope::Document("vault".into());
        for (scope, holder, provider, wanted) in [
            (&grant, &holder, "acme", "waiting for pid 4711 on build-3, which is refreshing acme ..."),
            (&grant, &Holder::default(), "", "waiting for another process, which is refreshing the same login ..."),
            (&document, &holder, "acme", "waiting for pid 4711 on build-3, which holds the lock of the vault ..."),
        ] {
            assert_eq!(for_lease(scope, holder, provider), wanted);
        }
    }

    #[test]
    fn of_an_address_only_the_host_is_shown() {
        for (url, wanted) in [
            ("https://auth.example/token?code=s3cret", "asking auth.example ..."),
            ("http://us:s3cret@127.0.0.1:8080/t", "asking 127.0.0.1:8080 ..."),
            ("s3cret", "waiting for an answer ..."),
        ] {
            let request = HttpRequest {
                method: "POST".into(),
                url: url.into(),
                headers: vec![],
                body: String::new(),
                deadline_ms: 1,
                reach: lazaretto_host::http::Reach::Any,
            };
            assert_eq!(for_answer(&request), wanted);
        }
    }
}
