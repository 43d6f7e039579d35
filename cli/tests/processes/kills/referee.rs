//! What the servers know, and what follows from it: which windows were open, and whether one explains what was lost.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use lazaretto_testing::demo_server::{Fault, Login, Processed, Received, TokenServer};

use super::slots::CLIENT;
use crate::oidc::OidcServer;

/// What a window costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Window {
    /// The login: a successor that nobody heard of is gone.
    CostsTheLogin,
    /// Nothing: the same token still works, or its successor is given again.
    CostsNothing,
}

/// One request for a refresh, as its server decided it.
#[derive(Clone, Debug)]
pub(crate) struct Exchange {
    /// The number of the process.
    pub(crate) asker: u64,
    /// Fingerprint of the token in it.
    pub(crate) token: String,
    pub(crate) refreshed: bool,
    /// Fingerprint of the token that came instead, if another did.
    pub(crate) successor: Option<String>,
    pub(crate) replay: bool,
    pub(crate) fault: String,
}

impl Exchange {
    /// The server did its part, and did not say so.
    pub(crate) fn lost_on_the_way(&self) -> bool {
        matches!(self.fault.as_str(), "drop-after" | "half-body")
    }
}

/// A server with fault doors.
pub(crate) trait Server: Send + Sync {
    fn endpoint(&self) -> String;
    fn window(&self) -> Window;
    fn log_in(&self) -> Login;
    fn is_live(&self, refresh_token: &str) -> bool;
    /// What each of the next requests meets.
    fn faults(&self, faults: &[(&'static str, u64)]);
    fn no_more_faults(&self);
    fn exchanges_after(&self, seen: usize) -> Vec<Exchange>;
    /// Whether a request of this process, not among the first `seen`, is decided within this time.
    fn arrives(&self, asker: u64, seen: usize, within: Duration) -> bool;
}

/// How a process tells the server who it is.
pub(crate) fn user_agent(process: u64) -> String {
    format!("kills/{process}")
}

fn asker(user_agent: &str) -> u64 {
    user_agent.strip_prefix("kills/").and_then(|number| number.parse().ok()).expect("one of our processes")
}

impl Server for (TokenServer, Window) {
    fn endpoint(&self) -> String {
        self.0.token_endpoint()
    }

    fn window(&self) -> Window {
        self.1
    }

    fn log_in(&self) -> Login {
        self.0.login(CLIENT)
    }

    fn is_live(&self, refresh_token: &str) -> bool {
        self.0.is_live(refresh_token)
    }

    fn faults(&self, faults: &[(&'static str, u64)]) {
        self.0.fault(faults.iter().map(|(kind, ms)| match *kind {
            "none" => Fault::None,
            "drop-before" => Fault::DropBeforeProcessing,
            "drop-after" => Fault::DropAfterProcessing,
            "half-body" => Fault::HalfBody,
            "slow" => Fault::Slow { ms: *ms },
            "status-503" => Fault::status(503, "application/json", "{}"),
            other => panic!("no fault {other}"),
        }));
    }

    fn no_more_faults(&self) {
        self.0.no_more_faults();
    }

    fn exchanges_after(&self, seen: usize) -> Vec<Exchange> {
        let exchange = |received: Received| Exchange {
            asker: asker(received.user_agent.as_deref().unwrap_or_default()),
            token: received.refresh_token_fingerprint.unwrap_or_default(),
            refreshed: matches!(received.processed, Processed::Refreshed { .. }),
            successor: match received.processed {
                Processed::Refreshed { successor } => successor,
                _ => None,
            },
            replay: received.replay,
            fault: match received.fault {
                Fault::None => "none",
                Fault::DropBeforeProcessing => "drop-before",
                Fault::DropAfterProcessing => "drop-after",
                Fault::HalfBody => "half-body",
                Fault::Slow { .. } => "slow",
                _ => "status-503",
            }
            .to_owned(),
        };
        self.0.received_after(seen).into_iter().map(exchange).collect()
    }

    fn arrives(&self, asker: u64, seen: usize, within: Duration) -> bool {
        let agent = Some(user_agent(asker));
        self.0.wait_until(within, |received| received.iter().skip(seen).any(|one| one.user_agent == agent))
    }
}

impl Server for OidcServer {
    fn endpoint(&self) -> String {
        self.token_endpoint.clone()
    }

    fn window(&self) -> Window {
        Window::CostsTheLogin
    }

    fn log_in(&self) -> Login {
        self.log_in()
    }

    fn is_live(&self, refresh_token: &str) -> bool {
        self.is_live(refresh_token)
    }

    fn faults(&self, faults: &[(&'static str, u64)]) {
        self.faults(faults);
    }

    fn no_more_faults(&self) {
        self.faults(&[]);
    }

    fn exchanges_after(&self, seen: usize) -> Vec<Exchange> {
        let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
        let exchange = |exchange: serde_json::Value| Exchange {
            asker: asker(exchange["asker"].as_str().unwrap_or_default()),
            token: text(&exchange["token"]).unwrap_or_default(),
            refreshed: exchange["processed"] == "refreshed",
            successor: text(&exchange["successor"]),
            replay: exchange["replay"] == true,
            fault: text(&exchange["fault"]).unwrap_or_default(),
        };
        self.exchanges_after(seen).into_iter().map(exchange).collect()
    }

    fn arrives(&self, asker: u64, seen: usize, within: Duration) -> bool {
        std::thread::sleep(within);
        Server::exchanges_after(self, seen).iter().any(|exchange| exchange.asker == asker)
    }
}

/// The referee's book of one login. Nothing of it is known to any `lazaretto` process.
#[derive(Default)]
pub(crate) struct Book {
    pub(crate) exchanges: Vec<Exchange>,
    /// Those whose process has ended, and was looked at then.
    judged: BTreeSet<usize>,
    killed: BTreeSet<u64>,
    /// Exchanges that replaced a token, whose successor was stored nowhere when their process was gone: and why.
    windows: BTreeMap<usize, &'static str>,
    /// Processes that said a person must log in again.
    pub(crate) asked_for_login: Vec<u64>,
    pub(crate) problems: Vec<String>,
}

impl Book {
    /// The one that follows. Requests of processes killed before may still come.
    pub(crate) fn next(&self) -> Self {
        Self { killed: self.killed.clone(), ..Self::default() }
    }

    /// A process has ended, and these are the fingerprints of all refresh tokens that were stored anywhere right after.
    pub(crate) fn ended(&mut self, process: u64, killed: bool, stored: &BTreeSet<String>) {
        if killed {
            self.killed.insert(process);
        }
        for at in 0..self.exchanges.len() {
            if self.exchanges[at].asker == process {
                self.judge(at, stored);
            }
        }
    }

    fn judge(&mut self, at: usize, stored: &BTreeSet<String>) {
        let exchange = &self.exchanges[at];
        let Some(successor) = &exchange.successor else { return };
        // What somebody has sent somebody had.
        let is_safe = stored.contains(successor) || self.exchanges.iter().any(|other| other.token == *successor);
        if !self.judged.insert(at) || is_safe {
            return;
        }
        if exchange.lost_on_the_way() {
            self.windows.insert(at, "the answer was lost on the way");
        } else if self.killed.contains(&exchange.asker) {
            self.windows.insert(at, "its process was killed before it had stored it");
        } else {
            let what = format!("process {} had the whole answer, ended by itself and stored nothing", exchange.asker);
            self.problems.push(what);
        }
    }

    /// At rest: whatever came of processes that were gone by then, and whether every replay has its window.
    pub(crate) fn close(&mut self, stored: &BTreeSet<String>) {
        for at in 0..self.exchanges.len() {
            self.judge(at, stored);
        }
        for (at, replay) in self.exchanges.iter().enumerate().filter(|(_, exchange)| exchange.replay) {
            let opened = self.exchanges.iter().enumerate().any(|(other, first)| {
                other != at
                    && first.token == replay.token
                    && first.refreshed
                    && (first.lost_on_the_way()
                        || self.windows.contains_key(&other)
                        // Given again, the successor may have been stored before the killed process was looked at.
                        || (replay.refreshed && self.killed.contains(&first.asker)))
            });
            // A killed process's request may still have been on its way, behind that of another.
            if !opened && !self.killed.contains(&replay.asker) {
                let what = format!("process {} replayed a token, and no window explains it", replay.asker);
                self.problems.push(what);
            }
        }
    }

    /// The windows that were open on a successor nobody else has heard of since, each with its reason.
    pub(crate) fn windows_that_hit(&self) -> Vec<&'static str> {
        let heard = |successor: &String| self.exchanges.iter().any(|exchange| exchange.token == *successor);
        let mut hit = BTreeMap::new();
        for (at, why) in &self.windows {
            if let Some(successor) = self.exchanges[*at].successor.as_ref().filter(|successor| !heard(successor)) {
                hit.entry(successor).or_insert(*why);
            }
        }
        hit.into_values().collect()
    }

    /// The request of a killed process may still have been on its way, and come after that of another process.
    pub(crate) fn came_too_late(&self) -> Option<&'static str> {
        let late = self.exchanges.iter().any(|one| one.replay && self.killed.contains(&one.asker));
        late.then_some("the request of a killed process came after that of another")
    }

    /// All windows that were open, whether or not they cost anything.
    pub(crate) fn windows(&self) -> impl Iterator<Item = &'static str> {
        self.windows.values().copied()
    }
}

/// A referee who sees nothing would be content with everything.
mod tests {
    use super::*;

    fn exchange(asker: u64, token: &str, successor: Option<&str>, replay: bool, fault: &str) -> Exchange {
        Exchange {
            asker,
            token: token.into(),
            refreshed: successor.is_some(),
            successor: successor.map(str::to_owned),
            replay,
            fault: fault.into(),
        }
    }

    /// The book after these processes have ended in turn; each is killed or not, and leaves this stored.
    fn book(exchanges: Vec<Exchange>, ends: &[(u64, bool, &[&str])]) -> Book {
        let mut book = Book { exchanges, ..Book::default() };
        let mut stored = BTreeSet::new();
        for (process, killed, texts) in ends {
            stored = texts.iter().map(|text| (*text).to_owned()).collect();
            book.ended(*process, *killed, &stored);
        }
        book.close(&stored);
        book
    }

    #[test]
    fn what_a_process_stored_is_no_window_even_if_it_was_killed() {
        let book = book(vec![exchange(1, "a", Some("b"), false, "none")], &[(1, true, &["b"])]);
        assert!(book.problems.is_empty() && book.windows_that_hit().is_empty());
    }

    #[test]
    fn a_process_that_was_killed_or_heard_nothing_leaves_a_window() {
        for (killed, fault) in [(true, "none"), (true, "slow"), (false, "drop-after"), (false, "half-body")] {
            let book = book(vec![exchange(1, "a", Some("b"), false, fault)], &[(1, killed, &["a"])]);
            assert_eq!((book.problems.len(), book.windows_that_hit().len()), (0, 1), "{killed} {fault}");
        }
    }

    #[test]
    fn a_process_that_ends_by_itself_and_stored_nothing_is_found() {
        for fault in ["none", "slow"] {
            let book = book(vec![exchange(1, "a", Some("b"), false, fault)], &[(1, false, &["a"])]);
            assert_eq!((book.problems.len(), book.windows_that_hit().len()), (1, 0), "{fault}");
        }
    }

    #[test]
    fn a_replay_without_a_window_is_found() {
        let first = exchange(1, "a", Some("b"), false, "none");
        let replay = exchange(2, "a", None, true, "none");
        let ended = [(1, false, &["b"][..]), (2, false, &["b"])];
        assert_eq!(book(vec![first.clone(), replay.clone()], &ended).problems.len(), 1);
        // Killed after it had stored is no excuse either.
        let ended = [(1, true, &["b"][..]), (2, false, &["b"])];
        assert_eq!(book(vec![first.clone(), replay.clone()], &ended).problems.len(), 1);
        let ended = [(1, true, &["a"][..]), (2, false, &[])];
        let book = book(vec![first, replay], &ended);
        assert_eq!((book.problems.len(), book.windows_that_hit().len()), (0, 1));
    }

    /// A successor that is given again before the killed process was looked at is no unexplained
    /// replay.
    #[test]
    fn a_repeated_successor_is_no_unexplained_replay() {
        let exchanges = vec![exchange(1, "a", Some("b"), false, "none"), exchange(2, "a", Some("b"), true, "none")];
        let book = book(exchanges, &[(2, false, &["b"]), (1, true, &["b"])]);
        assert!(book.problems.is_empty() && book.windows_that_hit().is_empty());
    }
}
