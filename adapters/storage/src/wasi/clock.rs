//! Time, chance, and waiting.

use crate::text::hex;

use super::bindings::wasi::clocks::{monotonic_clock, wall_clock};
use super::bindings::wasi::random::random;

const LONGEST_PAUSE_MS: u64 = 25;

pub(super) fn wall_ms() -> u64 {
    let now = wall_clock::now();
    now.seconds.saturating_mul(1_000).saturating_add(u64::from(now.nanoseconds / 1_000_000))
}

/// 128 bits by chance: never used before, and not to be guessed.
pub(super) fn nonce() -> String {
    let (one, two) = (random::get_random_u64(), random::get_random_u64());
    hex(&(u128::from(one) << 64 | u128::from(two)).to_be_bytes())
}

/// How long somebody is ready to wait, in all.
#[derive(Clone, Copy)]
pub(super) struct Patience {
    started_ns: u64,
    wait_ms: u64,
}

impl Patience {
    pub(super) fn new(wait_ms: u64) -> Self {
        Self { started_ns: monotonic_clock::now(), wait_ms }
    }

    /// Waits a moment, by chance shorter or longer, as those who wait should not all look at once.
    /// False: the patience has ended.
    pub(super) fn pause(self) -> bool {
        let passed_ms = monotonic_clock::now().saturating_sub(self.started_ns) / 1_000_000;
        let Some(left_ms) = self.wait_ms.checked_sub(passed_ms).filter(|left| *left > 0) else {
            return false;
        };
        // Short at first: as long as was waited already.
        let most_us = left_ms.min((passed_ms + 1).min(LONGEST_PAUSE_MS)) * 1_000;
        let pause_us = most_us / 2 + random::get_random_u64() % (most_us / 2 + 1);
        monotonic_clock::subscribe_duration(pause_us * 1_000).block();
        true
    }
}
