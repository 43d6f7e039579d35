//! What is chosen at random, all from one seed: which process is killed when, and what goes wrong with which request.

use std::time::Duration;

use rustix::process::Signal;

/// SplitMix64.
pub(crate) struct Chooser(pub(crate) u64);

impl Chooser {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub(crate) fn per_cent(&mut self, share: u64) -> bool {
        self.below(100) < share
    }
}

/// When a process is to be killed, and by what.
pub(crate) enum Fate {
    Lives,
    Signal { signal: Signal, after: Duration },
    SignalAtTheServer { signal: Signal, after: Duration },
}

/// What a request meets.
pub(crate) fn fault(chooser: &mut Chooser) -> (&'static str, u64) {
    match chooser.below(100) {
        0..4 => ("drop-after", 0),
        4..6 => ("half-body", 0),
        6..14 => ("drop-before", 0),
        14..34 => ("slow", 1 + chooser.below(40)),
        34..37 => ("status-503", 0),
        _ => ("none", 0),
    }
}

/// Of a process that may refresh.
pub(crate) fn fate(chooser: &mut Chooser) -> Fate {
    let after = Duration::from_micros(chooser.below(120_000));
    let shortly = Duration::from_micros(chooser.below(12_000));
    match chooser.below(100) {
        0..30 => Fate::Signal { signal: Signal::KILL, after },
        30..42 => Fate::SignalAtTheServer { signal: Signal::KILL, after: shortly },
        42..48 => Fate::Signal { signal: Signal::TERM, after },
        48..56 => Fate::SignalAtTheServer { signal: Signal::TERM, after: shortly },
        _ => Fate::Lives,
    }
}

pub(crate) fn fate_of_a_reset(chooser: &mut Chooser) -> Fate {
    let after = Duration::from_micros(chooser.below(60_000));
    if chooser.per_cent(30) { Fate::Signal { signal: Signal::KILL, after } } else { Fate::Lives }
}
