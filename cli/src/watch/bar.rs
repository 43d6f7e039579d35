//! Time that runs down: one scale for all bars, so that two of them can be compared.

use super::super::glyphs::Glyphs;
use super::super::time;

/// The columns of a bar.
pub(super) const COLUMNS: usize = 16;
/// What a full bar stands for, and anything longer too.
pub(super) const FULL_MS: u64 = 3_600_000;

/// What has some time to go is never empty.
pub(super) fn bar(left_ms: u64, glyphs: &Glyphs) -> String {
    let parts = glyphs.bar_parts.len().max(1);
    let whole = u64::try_from(COLUMNS * parts).unwrap_or(1);
    let filled = usize::try_from(left_ms.min(FULL_MS) * whole / FULL_MS).unwrap_or_default();
    let filled = filled.max(usize::from(left_ms > 0));
    let part = glyphs.bar_parts.get(filled % parts).copied().unwrap_or_default();
    let rest = COLUMNS.saturating_sub(filled.div_ceil(parts));
    glyphs.bar_full.repeat(filled / parts) + part + &glyphs.bar_empty.repeat(rest)
}

/// `0:42`, `59:59`, `7:59:59`; more than two days in words.
pub(super) fn countdown(left_ms: u64) -> String {
    let seconds = left_ms.div_ceil(1_000);
    let (hours, minutes, rest) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    match hours {
        0 => format!("{minutes}:{rest:02}"),
        1..48 => format!("{hours}:{minutes:02}:{rest:02}"),
        _ => time::span(left_ms),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_shrinks_with_time_and_is_empty_only_at_the_end() {
        let drawn = |left_ms| bar(left_ms, &Glyphs::UNICODE);
        assert_eq!(drawn(FULL_MS), "█".repeat(16));
        assert_eq!(drawn(FULL_MS / 2), "████████········");
        assert_eq!(drawn(FULL_MS / 4 + 60_000), "████▎···········");
        assert_eq!(drawn(1), "▏···············");
        assert_eq!(drawn(0), "················");
        assert_eq!(drawn(u64::MAX), "█".repeat(16));
        assert_eq!(bar(FULL_MS / 2, &Glyphs::ASCII), "########........");
        assert_eq!(bar(1, &Glyphs::ASCII), "#...............");
    }

    #[test]
    fn what_is_left_counts_down_by_the_second() {
        for (ms, said) in [
            (0, "0:00"),
            (1, "0:01"),
            (59_000, "0:59"),
            (3_540_000, "59:00"),
            (28_799_000, "7:59:59"),
            (432_000_000, "5 d"),
        ] {
            assert_eq!(countdown(ms), said);
        }
    }
}
