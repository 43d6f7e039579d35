//! What a loop came to, for whoever wants to know what it was worth.

use std::collections::BTreeMap;
use std::fmt;

/// What was counted in all, over all logins.
#[derive(Default)]
pub(crate) struct Figures {
    pub(crate) processes: u64,
    pub(crate) ended: BTreeMap<String, u64>,
    pub(crate) kills: u64,
    pub(crate) terms: u64,
    pub(crate) resets: u64,
    pub(crate) requests: u64,
    pub(crate) refreshes: u64,
    pub(crate) replays: u64,
    pub(crate) faults: BTreeMap<String, u64>,
    pub(crate) windows: BTreeMap<&'static str, u64>,
    pub(crate) hit: BTreeMap<&'static str, u64>,
    pub(crate) logins: u64,
    pub(crate) lost: u64,
    pub(crate) rests: u64,
    pub(crate) most_leftovers: usize,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { processes, ended, kills, terms, resets, .. } = self;
        let Self { requests, refreshes, replays, faults, windows, logins, lost, hit, rests, most_leftovers, .. } = self;
        writeln!(
            f,
            "{processes} processes, {kills} killed -9, {terms} ended by SIGTERM, {resets} resets; ends: {ended:?}"
        )?;
        writeln!(f, "  {requests} requests, {refreshes} refreshes, {replays} replays; met: {faults:?}")?;
        writeln!(f, "  windows: {windows:?}")?;
        write!(
            f,
            "  {logins} logins, {lost} lost; windows that hit: {hit:?}; at rest {rests} times, at most {most_leftovers} leftover files"
        )
    }
}

impl Figures {
    /// The loop did what it is for, and the sums agree.
    pub(crate) fn must_be_of_a_fair_try(&self) {
        assert!(self.kills > 0 && self.refreshes > 0 && self.faults.len() > 1, "nothing was tried");
        assert_eq!(self.lost, self.hit.values().sum::<u64>(), "logins lost, and windows that hit");
    }
}
