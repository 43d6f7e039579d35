//! What became of several: how many of each, and the exit code of the worst.

use std::fmt;

use super::failure::{Exit, Failure};
use lazaretto_host::AccessToken;

/// What became of how many.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) all: usize,
    refreshed: usize,
    as_they_were: usize,
    failed: [usize; 6],
    pub(super) worst: Option<Exit>,
}

impl Tally {
    pub(super) fn of(all: usize) -> Self {
        Self { all, ..Self::default() }
    }

    pub(super) fn take(&mut self, done: &Result<AccessToken, Failure>) {
        match done {
            Ok(token) if token.origin == "refreshed" => self.refreshed += 1,
            Ok(_) => self.as_they_were += 1,
            Err(failure) => {
                self.failed[failure.exit as usize] += 1;
                self.worst = self.worst.max_by_badness(failure.exit);
            }
        }
    }

    pub(super) fn done(&self) -> usize {
        self.refreshed + self.as_they_were + self.failed.iter().sum::<usize>()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} done: {} refreshed", self.done(), self.all, self.refreshed)?;
        for (count, what) in [
            (self.as_they_were, "needed no request"),
            (self.failed[Exit::Retry as usize], "to be tried again later"),
            (self.failed[Exit::Login as usize], "must be logged in"),
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

pub(super) trait Worst {
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
    use lazaretto_host::KeeperError;

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
        let wanted = "4 of 9 done: 1 refreshed, 1 needed no request, 1 to be tried again later, 1 must be logged in";
        assert_eq!((tally.to_string(), tally.worst), (wanted.to_owned(), Some(Exit::Login)));
    }
}
