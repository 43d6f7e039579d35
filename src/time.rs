//! Times are milliseconds since 1970, unsigned; a text that is no time is none, never a guess.

use crate::json::{self, Kind, Value};

/// Milliseconds in a day.
pub const DAY_MS: u64 = 86_400_000;

/// A number of seconds from here on (the year 5138) is one of milliseconds, and one of milliseconds
/// is no time at all.
const TIMELESS_MS: u64 = 100_000_000_000_000;

/// How a zone is spelled: the documents we share with others mix both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zone {
    /// `Z`
    Letter,
    /// `+00:00`
    Offset,
}

/// Spells a moment as RFC 3339 in UTC, with microseconds as the documents we share have them.
///
/// ```
/// use lazaretto::time::{Zone, to_rfc3339};
///
/// assert_eq!(to_rfc3339(1_795_219_200_000, Zone::Letter), "2026-11-21T00:00:00.000000Z");
/// ```
pub fn to_rfc3339(unix_ms: u64, zone: Zone) -> String {
    let (days, in_day) = (unix_ms / DAY_MS, unix_ms % DAY_MS);
    let (year, month, day) = civil(days);
    let zone = match zone {
        Zone::Letter => "Z",
        Zone::Offset => "+00:00",
    };
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:06}{zone}",
        in_day / 3_600_000,
        in_day / 60_000 % 60,
        in_day / 1_000 % 60,
        in_day % 1_000 * 1_000
    )
}

/// Reads RFC 3339 with any offset; without one it is taken as UTC.
///
/// ```
/// use lazaretto::time::from_rfc3339;
///
/// assert_eq!(from_rfc3339("2026-11-21T01:00:00.25+01:00"), Some(1_795_219_200_250));
/// assert_eq!(from_rfc3339("yesterday"), None);
/// ```
pub fn from_rfc3339(text: &str) -> Option<u64> {
    let bytes = text.as_bytes();
    let number = |range: std::ops::Range<usize>| -> Option<i64> {
        let digit = |number, byte: &u8| byte.is_ascii_digit().then(|| number * 10 + i64::from(byte - b'0'));
        bytes.get(range)?.iter().try_fold(0, digit)
    };
    let separators = [(4, b"-"), (7, b"-"), (13, b":"), (16, b":")];
    if separators.iter().any(|(at, wanted)| bytes.get(*at) != wanted.first())
        || !matches!(bytes.get(10), Some(b'T' | b't' | b' '))
    {
        return None;
    }
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 24 || minute > 59 || second > 60 {
        return None;
    }
    let mut rest = text.get(19..)?;
    let mut millis = 0;
    if let Some(fraction) = rest.strip_prefix('.') {
        let digits = fraction.bytes().take_while(u8::is_ascii_digit);
        rest = &fraction[digits.clone().count()..];
        millis = digits.chain(*b"000").take(3).fold(0, |millis, digit| millis * 10 + i64::from(digit - b'0'));
    }
    let offset_minutes = match rest {
        "" | "Z" | "z" => 0,
        _ => {
            let sign = match rest.as_bytes().first()? {
                b'+' => 1,
                b'-' => -1,
                _ => return None,
            };
            let digits: String = rest.chars().skip(1).filter(|&digit| digit != ':').collect();
            let value: i64 = (digits.len() == 4).then(|| digits.parse().ok()).flatten()?;
            sign * (value / 100 * 60 + value % 100)
        }
    };
    let minutes = (days_before(year, month, day) * 24 + hour) * 60 + minute - offset_minutes;
    u64::try_from((minutes * 60 + second) * 1_000 + millis).ok()
}

/// A moment as programs spell it: a number of seconds or of milliseconds since 1970, which its size
/// tells, such a number as a text, or RFC 3339. 0 is none that is known.
pub fn from_json(value: Value<'_>) -> Option<u64> {
    if value.kind() == Kind::String {
        let text = value.as_str()?;
        return match json::number(text.trim()) {
            Some(number) => from_number(number),
            None => from_rfc3339(text.trim()),
        };
    }
    from_number(value)
}

fn from_number(number: Value<'_>) -> Option<u64> {
    let from_seconds_ms = number.as_millis().filter(|at_ms| *at_ms > 0)?;
    if from_seconds_ms < TIMELESS_MS {
        Some(from_seconds_ms)
    } else {
        number.as_u64().filter(|at_ms| *at_ms < TIMELESS_MS)
    }
}

/// A lifetime in seconds, as a number or as a text, in milliseconds. 0 is none that is known.
pub fn lifetime_from_json(value: Value<'_>) -> Option<u64> {
    let text = value.as_str();
    let lifetime_ms = match &text {
        Some(text) => json::number(text.trim())?.as_millis(),
        None => value.as_millis(),
    };
    lifetime_ms.filter(|lifetime_ms| (1..TIMELESS_MS).contains(lifetime_ms))
}

/// Whether a moment is spelled as 0, which programs write for one that they do not know.
pub fn is_zero(value: Value<'_>) -> bool {
    let text = value.as_str();
    let number = match &text {
        Some(text) => json::number(text.trim()),
        None => Some(value),
    };
    number.is_some_and(|number| number.kind() == Kind::Number && number.as_millis() == Some(0))
}

/// Spells a moment as JSON, in the way in which this one is spelled.
pub fn respelled(value: Value<'_>, at_ms: u64) -> String {
    let text = value.as_str();
    let number = match &text {
        Some(text) => json::check(text.trim()).ok(),
        None => Some(value),
    };
    let number = number.filter(|number| number.kind() == Kind::Number);
    let in_ms = |number: Value<'_>| number.as_millis().is_some_and(|from_seconds_ms| from_seconds_ms >= TIMELESS_MS);
    let digits = |number: Value<'_>| (if in_ms(number) { at_ms } else { at_ms / 1_000 }).to_string();
    match (number, &text) {
        (Some(number), None) => digits(number),
        (Some(number), Some(_)) => json::quote(&digits(number)),
        (None, Some(text)) if text.ends_with(['Z', 'z']) => json::quote(&to_rfc3339(at_ms, Zone::Letter)),
        _ => json::quote(&to_rfc3339(at_ms, Zone::Offset)),
    }
}

// The two conversions are Howard Hinnant's `days_from_civil` and `civil_from_days` (public domain).
/// The days from 1970 to a date.
pub(crate) fn days_before(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let era = days / 146_097;
    let of_era = days % 146_097;
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * of_year + 2) / 153;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, of_year - (153 * month_index + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_survives_being_spelled_and_read() {
        for unix_ms in [0, 951_782_399_999, 951_782_400_000, 1_784_541_600_123, 4_102_444_800_000] {
            for zone in [Zone::Letter, Zone::Offset] {
                assert_eq!(from_rfc3339(&to_rfc3339(unix_ms, zone)), Some(unix_ms));
            }
        }
        assert_eq!(to_rfc3339(1_784_541_600_123, Zone::Letter), "2026-07-20T10:00:00.123000Z");
    }

    #[test]
    fn offsets_fractions_and_missing_zones_are_read() {
        let noon = from_rfc3339("2026-07-20T12:00:00Z");
        assert_eq!(from_rfc3339("2026-07-20T14:00:00+02:00"), noon);
        assert_eq!(from_rfc3339("2026-07-20 12:00:00.000"), noon);
        assert_eq!(from_rfc3339("2026-07-20T12:00:00.1234567+0000"), noon.map(|ms| ms + 123));
    }

    #[test]
    fn a_moment_is_read_in_any_usual_spelling() {
        let read = |text: &str| from_json(json::check(text).unwrap());
        let at_ms = Some(1_784_541_600_000);
        for text in [
            "1784541600",
            "1784541600.0",
            "1.7845416e9",
            "1784541600000",
            "1784541600000.9",
            "\"1784541600\"",
            "\" 1784541600000 \"",
            "\"2026-07-20T10:00:00Z\"",
            "\"2026-07-20T10:00:00.000000000Z\"",
            "\"2026-07-20T12:00:00.000000001+02:00\"",
        ] {
            assert_eq!(read(text), at_ms, "{text}");
        }
        assert_eq!(read("1784541600.5"), Some(1_784_541_600_500));
        for text in ["0", "0.0", "\"0\"", "-1", "\"-5\"", "1e15", "null", "true", "\"\"", "\"soon\"", "[]", "{}"] {
            assert_eq!(read(text), None, "{text}");
        }
        for text in ["0", "0.0", "\"0\""] {
            assert!(is_zero(json::check(text).unwrap()), "{text}");
        }
        for text in ["1", "null", "\"\"", "\"x\"", "{}"] {
            assert!(!is_zero(json::check(text).unwrap()), "{text}");
        }
    }

    #[test]
    fn a_moment_is_spelled_anew_as_it_was() {
        for (was, now) in [
            ("1", "1784541600"),
            ("1700000000000", "1784541600123"),
            ("\"1700000000\"", "\"1784541600\""),
            ("\"1700000000000\"", "\"1784541600123\""),
            ("\"2020-01-01T00:00:00Z\"", "\"2026-07-20T10:00:00.123000Z\""),
            ("\"2020-01-01T00:00:00+00:00\"", "\"2026-07-20T10:00:00.123000+00:00\""),
        ] {
            assert_eq!(respelled(json::check(was).unwrap(), 1_784_541_600_123), now, "{was}");
        }
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "",
            "yesterday",
            "2026-13-01T00:00:00Z",
            "2026-07-20",
            "2026-07-20T12:00:00+2",
            "1969-01-01T00:00:00Z",
            "2026-07-20T12:00:00é",
        ] {
            assert_eq!(from_rfc3339(text), None, "{text}");
        }
    }
}
