//! Moments as a person says them. Times are milliseconds since 1970.

use std::time::{SystemTime, UNIX_EPOCH};

/// Now.
pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// `4 min`, `2 h`, `3 d`, to the nearest.
pub(super) fn span(ms: u64) -> String {
    const MIN: u64 = 60;
    const HOUR: u64 = 60 * MIN;
    const DAY: u64 = 24 * HOUR;
    const YEAR: u64 = 365 * DAY;
    let nearest = |amount: u64, unit: u64| amount.saturating_add(unit / 2) / unit;
    match nearest(ms, 1_000) {
        seconds if seconds < 2 * MIN => format!("{seconds} s"),
        seconds if seconds < 2 * HOUR => format!("{} min", nearest(seconds, MIN)),
        seconds if seconds < 2 * DAY => format!("{} h", nearest(seconds, HOUR)),
        seconds if seconds < 2 * YEAR => format!("{} d", nearest(seconds, DAY)),
        seconds => format!("{} years", nearest(seconds, YEAR)),
    }
}

/// `in 4 min`, `2 h ago`, `now`
pub(super) fn relative(at_ms: u64, now_ms: u64) -> String {
    match at_ms.abs_diff(now_ms) {
        // What rounds to nothing.
        0..500 => "now".to_owned(),
        ms if at_ms > now_ms => format!("in {}", span(ms)),
        ms => format!("{} ago", span(ms)),
    }
}

/// `2026-07-20T10:00:00Z` (RFC 3339, UTC)
pub(super) fn rfc3339(at_ms: u64) -> String {
    let (days, seconds) = (at_ms / 86_400_000, at_ms / 1_000 % 86_400);
    let (year, month, day) = civil(days);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// The moment of a text like `2026-07-20T10:00:00.5+02:00` (RFC 3339), to the second.
pub(super) fn of_rfc3339(text: &str) -> Option<u64> {
    let number = |at: std::ops::Range<usize>| {
        let digits = text.get(at).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
        digits.parse::<u64>().ok()
    };
    let is_between = |at: usize, marks: &[u8]| text.as_bytes().get(at).is_some_and(|byte| marks.contains(byte));
    let is_shaped = [(4, &b"-"[..]), (7, b"-"), (10, b"Tt "), (13, b":"), (16, b":")];
    if !is_shaped.iter().all(|(at, marks)| is_between(*at, marks)) {
        return None;
    }
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    if year < 1970 || !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60
    {
        return None;
    }
    let rest = text.get(19..)?;
    let zone =
        rest.strip_prefix('.').map_or(rest, |fraction| fraction.trim_start_matches(|char: char| char.is_ascii_digit()));
    let offset_s: i64 = match zone.as_bytes() {
        b"Z" | b"z" => 0,
        [sign @ (b'+' | b'-'), h, i, b':', m, n] if [h, i, m, n].iter().all(|digit| digit.is_ascii_digit()) => {
            let of = |tens: u8, ones: u8| i64::from(tens - b'0') * 10 + i64::from(ones - b'0');
            (of(*h, *i) * 3_600 + of(*m, *n) * 60) * if *sign == b'+' { 1 } else { -1 }
        }
        _ => return None,
    };
    let seconds = days_since_1970(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    seconds.checked_add_signed(-offset_s)?.checked_mul(1_000)
}

/// The other way round than [`civil`].
fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let in_era = year % 400;
    let in_year = (153 * month + 2) / 5 + day - 1;
    year / 400 * 146_097 + in_era * 365 + in_era / 4 - in_era / 100 + in_year - 719_468
}

/// `10:00:00`, where this process is.
pub(super) fn clock(at_ms: u64) -> String {
    clock_at(at_ms, offset_s(at_ms))
}

/// `2026-07-20 12:00:00`, where this process is.
pub(super) fn local(at_ms: u64) -> String {
    let offset_s = offset_s(at_ms);
    let (year, month, day) = civil(shifted_s(at_ms, offset_s) / 86_400);
    format!("{year:04}-{month:02}-{day:02} {}", clock_at(at_ms, offset_s))
}

fn clock_at(at_ms: u64, offset_s: i64) -> String {
    let seconds = shifted_s(at_ms, offset_s) % 86_400;
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

fn shifted_s(at_ms: u64, offset_s: i64) -> u64 {
    (at_ms / 1_000).saturating_add_signed(offset_s)
}

/// How far the clocks here are ahead of UTC at that time. What cannot be told is UTC; a unit test
/// is in UTC wherever it runs.
#[allow(unsafe_code, reason = "the standard library does not know time zones")]
#[allow(clippy::useless_conversion, reason = "a long has 32 bits elsewhere")]
fn offset_s(at_ms: u64) -> i64 {
    if cfg!(test) {
        return 0;
    }
    let Ok(seconds) = libc::time_t::try_from(at_ms / 1_000) else { return 0 };
    let mut local = std::mem::MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: it writes only to `local`, which is of its size, and zeroes are a `tm` too.
    unsafe {
        let told = libc::localtime_r(&seconds, local.as_mut_ptr());
        if told.is_null() { 0 } else { i64::from(local.assume_init().tm_gmtoff) }
    }
}

/// Days since 1970 as year, month and day of the Gregorian calendar: counted in years that begin in
/// March, so that a leap day comes last.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, in_era) = (days / 146_097, days % 146_097);
    let year = (in_era - in_era / 1_460 + in_era / 36_524 - in_era / 146_096) / 365;
    let in_year = in_era - (365 * year + year / 4 - year / 100);
    let month = (5 * in_year + 2) / 153;
    let day = in_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_said_in_the_largest_unit_of_which_there_are_two() {
        for (seconds, said) in [
            (0, "0 s"),
            (119, "119 s"),
            (120, "2 min"),
            (7_139, "119 min"),
            (7_200, "2 h"),
            (172_800, "2 d"),
            (94_608_000, "3 years"),
        ] {
            assert_eq!(span(seconds * 1_000), said);
        }
        assert_eq!(relative(5_000, 1_000), "in 4 s");
        assert_eq!(relative(1_000, 5_000), "4 s ago");
        assert_eq!(relative(1_000, 1_499), "now");
        assert!(relative(u64::MAX, 0).ends_with(" years"));
    }

    #[test]
    fn moments_are_spelled_as_rfc_3339_has_them() {
        for (at_ms, spelled) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400_000, "2000-02-29T00:00:00Z"),
            (1_784_541_600_999, "2026-07-20T10:00:00Z"),
            (4_107_542_399_000, "2100-02-28T23:59:59Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339(at_ms), spelled);
            assert_eq!(of_rfc3339(spelled), Some(at_ms / 1_000 * 1_000));
        }
        assert_eq!(of_rfc3339("2026-07-20 12:00:00.123456+02:00"), Some(1_784_541_600_000));
        for bad in ["", "soon", "2026-07-20", "2026-07-20T10:00:00", "2026-13-20T10:00:00Z", "2026-07-20T10:00:00+2"] {
            assert_eq!(of_rfc3339(bad), None, "{bad}");
        }
        assert_eq!(clock(1_784_541_661_000), "10:01:01");
        assert_eq!(clock_at(1_784_541_661_000, -5 * 3_600), "05:01:01");
        assert_eq!(clock_at(1_784_541_661_000, 14 * 3_600 + 1_800), "00:31:01");
        assert_eq!(clock_at(0, -3_600), "00:00:00", "there is nothing before 1970");
        assert_eq!(local(1_784_541_661_000), "2026-07-20 10:01:01");
        assert!(!rfc3339(u64::MAX).is_empty());
    }
}
