//! Which credentials are refreshed, and which of them may be refreshed at the same time.

use std::collections::{HashSet, VecDeque};

use super::super::failure::Failure;
use super::super::need::Need;
use super::super::{time, words};
use lazaretto_host::CredentialStatus;

/// One credential to refresh, and in which vault.
pub(super) struct Job {
    pub(super) vault: usize,
    pub(super) status: CredentialStatus,
}

impl Job {
    /// Of what no refresh can help.
    pub(super) fn waits_for_a_person(&self) -> Failure {
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

/// What is to be done. Two jobs of one provider, or of a vault whose exchanges exclude each other,
/// are never given out at the same time.
#[derive(Default)]
pub(super) struct Queue {
    /// In the order of the vaults.
    pub(super) jobs: VecDeque<Job>,
    /// Vaults in which every exchange holds the vault's own lock.
    one_at_a_time: HashSet<usize>,
    busy: Vec<(usize, String)>,
    /// Not due, for a timer can do nothing for them.
    pub(super) waiting_for_a_person: Vec<Job>,
}

impl Queue {
    pub(super) fn add(&mut self, vault: usize, at_once: bool, credentials: Vec<CredentialStatus>, due: bool) {
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
    pub(super) fn next(&mut self) -> Option<Job> {
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

    pub(super) fn is_over(&mut self, vault: usize, provider: &str) {
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

#[cfg(test)]
mod tests {
    use super::super::super::failure::Exit;
    use super::super::super::need::example;
    use super::*;

    /// Only what is due is swept if that is asked for and a key never.
    #[test]
    fn due_sweeps_only_due_credentials_and_never_a_key() {
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
    }

    #[test]
    fn what_waits_for_a_person_has_the_exit_code_and_the_command() {
        for (renewal, exit) in
            [("quarantined", Exit::Login), ("needs-configuration", Exit::Configure), ("new", Exit::Broken)]
        {
            let failure = Job { vault: 0, status: example("no", renewal) }.waits_for_a_person();
            assert_eq!(failure.exit, exit, "{renewal}");
            let is_known = renewal != "new";
            assert_eq!(failure.command(), Some("lazaretto login xai-oauth").filter(|_| is_known), "{renewal}");
        }
    }

    fn of(provider: &str, credential: &str) -> CredentialStatus {
        CredentialStatus { provider: provider.into(), credential: credential.into(), ..example("expired", "ok") }
    }

    fn taken(queue: &mut Queue) -> Vec<String> {
        let next = std::iter::from_fn(|| queue.next());
        next.map(|job| format!("{}{}{}", job.vault, job.status.provider, job.status.credential)).collect()
    }

    /// Of one provider one is refreshed at a time whatever vault it is in.
    #[test]
    fn one_provider_is_refreshed_one_at_a_time_across_vaults() {
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

    /// Of a vault whose own lock each exchange holds one is refreshed at a time.
    #[test]
    fn a_shared_vault_is_refreshed_one_at_a_time() {
        let mut queue = Queue::default();
        queue.add(0, false, vec![of("a", "1"), of("b", "1")], false);
        queue.add(1, false, vec![of("c", "1")], false);
        assert_eq!(taken(&mut queue), ["0a1", "1c1"]);
        queue.is_over(0, "a");
        assert_eq!(taken(&mut queue), ["0b1"]);
    }
}
