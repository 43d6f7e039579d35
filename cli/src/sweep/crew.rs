//! The threads that refresh. What each has on its way is stored before it is told of, and before it
//! takes another.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::super::events::Events;
use super::super::failure::Failure;
use super::super::open::Open;
use super::super::signals::Signals;
use super::super::{time, unsaved};
use super::queue::{Job, Queue};
use lazaretto_host::storage::VAULT;
use lazaretto_host::{AccessToken, CredentialStatus, TokenRequest};

/// What the threads that refresh tell the one that prints.
pub(super) enum Told {
    Begun(String),
    Done {
        job: Box<Job>,
        done: Box<Result<AccessToken, Failure>>,
    },
    /// A thread has nothing on its way any more.
    Idle,
}

/// What the threads share.
pub(super) struct Crew<'a> {
    pub(super) queue: Mutex<Queue>,
    pub(super) freed: Condvar,
    /// Nothing more is begun.
    pub(super) stopped: AtomicBool,
    pub(super) signals: &'a Signals,
    pub(super) opened: &'a [Open],
    pub(super) events: &'a Events,
    pub(super) due: bool,
}

impl Crew<'_> {
    pub(super) fn work(&self, tell: &Sender<Told>) {
        while let Some(job) = self.next() {
            let (provider, credential) = (&job.status.provider, &job.status.credential);
            self.signals.is_about(provider);
            // Who prints may have gone: what is under way is stored all the same.
            let _ = tell.send(Told::Begun(format!("{provider} ({credential})")));
            let done = self.refresh(&job);
            let (vault, provider) = (job.vault, provider.clone());
            // Told before the next may begin: where one waits for another they are told of in their
            // order.
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
        // What is due is refreshed unless somebody has done it meanwhile; else it is refreshed
        // whatever its state.
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

    pub(super) fn stop(&self) {
        let _queue = self.queue();
        self.stopped.store(true, Ordering::SeqCst);
        self.freed.notify_all();
    }

    pub(super) fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// For how many seconds a token must be good so that the one known now is not.
fn more_than_left(status: &CredentialStatus, now_ms: u64) -> u64 {
    status.expires_at_ms.map_or(0, |at_ms| at_ms.saturating_sub(now_ms).div_ceil(1_000))
}

#[cfg(test)]
mod tests {
    use super::super::super::need::example;
    use super::*;

    #[test]
    fn a_token_must_be_good_for_longer_than_the_one_that_is_due() {
        let expires = |at_ms| CredentialStatus { expires_at_ms: Some(at_ms), ..example("expiring", "ok") };
        assert_eq!(more_than_left(&expires(90_500), 30_000), 61);
        assert_eq!(more_than_left(&expires(90_500), 90_500), 0);
    }
}
