//! Which pauses are believed: the same rule for a token's back-off in the ledger and for a
//! credential's rest in a pool.

use crate::time::DAY_MS;

/// A pause that ends later than this is not believed: whoever asked for it may ask again.
const LONGEST_MS: u64 = 8 * DAY_MS;
/// How far in the future a pause may have begun: two clocks of one machine differ by less.
const CLOCK_ALLOWANCE_MS: u64 = 60_000;

/// Returns whether a pause from `since_ms` to `until_ms` holds at `now_ms`. A pause that began in
/// the future does not: the clock was set back, and that must stretch no pause.
pub(crate) fn holds(since_ms: Option<u64>, until_ms: u64, now_ms: u64) -> bool {
    let has_begun = since_ms.is_none_or(|since_ms| since_ms <= now_ms.saturating_add(CLOCK_ALLOWANCE_MS));
    has_begun && now_ms < until_ms && until_ms - now_ms <= LONGEST_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_holds_until_it_ends() {
        assert!(holds(Some(1_000), 5_000, 4_999) && !holds(Some(1_000), 5_000, 5_000));
        assert!(holds(None, 5_000, 0));
    }

    #[test]
    fn a_pause_that_is_too_long_is_not_believed() {
        assert!(holds(Some(0), LONGEST_MS, 0) && !holds(Some(0), LONGEST_MS + 1, 0));
        assert!(!holds(Some(0), u64::MAX, 0));
    }

    #[test]
    fn a_pause_that_began_in_the_future_does_not_hold() {
        assert!(holds(Some(60_000), 90_000, 0) && !holds(Some(60_001), 90_000, 0));
    }
}
