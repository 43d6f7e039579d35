//! A wait is never negative and never longer than a week, however the server writes it.

use super::Answer;
use super::body::header;
use super::find_codes::Found;
use super::json::Json;
use super::words::is_one_of;
use crate::time::days_before;

/// The longest wait that is believed: seven days. A server that means more is asked again after
/// that.
pub const LONGEST_WAIT_S: u64 = 7 * 24 * 3600;

/// How long the server asks to wait, in seconds; a moment in the past is no wait. Sentences are
/// read only where the verdict is one to wait for: elsewhere "try again in" is advice.
pub(super) fn read(
    answer: &Answer<'_>,
    json: Option<&Json<'_>>,
    found: &Found<'_>,
    passing: bool,
    now_unix_s: u64,
) -> Option<u64> {
    let wait = from_headers(answer, now_unix_s)
        .or_else(|| json.and_then(|json| from_members(json, now_unix_s, 0)))
        .or_else(|| found.messages.iter().filter(|_| passing).find_map(|message| from_words(message.plain())));
    wait.map(|seconds| seconds.min(LONGEST_WAIT_S))
}

fn from_headers(answer: &Answer<'_>, now: u64) -> Option<u64> {
    let milliseconds = ["retry-after-ms", "x-ms-retry-after-ms"];
    let seconds = ["x-ratelimit-reset-after", "ratelimit-reset"];
    milliseconds
        .iter()
        .find_map(|name| number(header(answer, name)?, 1))
        .or_else(|| {
            header(answer, "retry-after")
                .and_then(|value| number(value, 1000).or_else(|| until(http_date(value)?, now)))
        })
        .or_else(|| seconds.iter().find_map(|name| number(header(answer, name)?, 1000)))
        .or_else(|| {
            // Relative at some servers, absolute at others: only a moment near now can be told from
            // a duration.
            let throttled = answer.status == Some(429) || header(answer, "x-ratelimit-remaining") == Some("0");
            let at: u64 =
                header(answer, "x-ratelimit-reset").or_else(|| header(answer, "x-rate-limit-reset"))?.parse().ok()?;
            (throttled && at > now && at - now <= LONGEST_WAIT_S).then(|| at - now)
        })
}

/// Looks for the members that servers use, at any place near the root.
fn from_members(json: &Json<'_>, now: u64, depth: u8) -> Option<u64> {
    match json {
        Json::List(items) if depth < 5 => items.iter().take(8).find_map(|item| from_members(item, now, depth + 1)),
        Json::Object(members) if depth < 5 => members
            .iter()
            .find_map(|(key, value)| named(key.text()?, value, now))
            .or_else(|| members.iter().take(32).find_map(|(_, value)| from_members(value, now, depth + 1))),
        _ => None,
    }
}

fn named(key: &str, value: &Json<'_>, now: u64) -> Option<u64> {
    const SECONDS: &str = "retry_after retryAfter retry_after_seconds retryAfterSeconds retry_after_s \
        resets_in_seconds retryDelay quotaResetDelay retry_delay";
    if is_one_of(key, SECONDS) {
        match value {
            Json::Number(seconds) => seconds.as_millis().map(up),
            value => value.text().and_then(|text| number(text, 1000).or_else(|| duration(text))),
        }
    } else if is_one_of(key, "retry_after_ms retryAfterMs") {
        match value {
            Json::Number(milliseconds) => milliseconds.as_u64().map(up),
            value => number(value.text()?, 1),
        }
    } else if is_one_of(key, "resets_at reset_at retry_until") {
        let at = u64::try_from(value.whole_number()?).ok()?;
        // Seconds or milliseconds since 1970: no date of ours is both.
        until(if at > 100_000_000_000 { at / 1000 } else { at }, now)
    } else {
        None
    }
}

/// Full seconds of milliseconds, rounded up: a wait must not end early.
fn up(milliseconds: u64) -> u64 {
    milliseconds.div_ceil(1000)
}

/// Seconds, of a decimal that counts units of so many milliseconds.
fn number(text: &str, unit_ms: u64) -> Option<u64> {
    decimal_ms(text.trim(), unit_ms).map(up)
}

/// "123.4" of a unit, in milliseconds; more digits than fit are a long time, not none. Without
/// floating point, whose parser is 15 KB of WebAssembly.
fn decimal_ms(text: &str, unit_ms: u64) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(part) {
        return None;
    }
    let mut milliseconds = whole.parse().unwrap_or(u64::MAX).saturating_mul(unit_ms);
    let mut unit = unit_ms;
    for digit in part.bytes().take(4) {
        milliseconds = milliseconds.saturating_add(u64::from(digit - b'0') * unit / 10);
        unit /= 10;
    }
    Some(milliseconds)
}

fn until(at: u64, now: u64) -> Option<u64> {
    (at > now).then(|| at - now)
}

/// "123.4s", "500ms", "4h5m3s".
fn duration(text: &str) -> Option<u64> {
    let mut rest = text.trim();
    let mut milliseconds: u64 = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
        let (count, after) = rest.split_at(digits);
        let after = after.trim_start();
        let (unit, after) = after.split_at(after.bytes().take_while(u8::is_ascii_alphabetic).count());
        milliseconds = milliseconds.saturating_add(decimal_ms(count, unit_ms(unit)?)?);
        rest = after.trim_start();
    }
    Some(up(milliseconds))
}

fn unit_ms(unit: &str) -> Option<u64> {
    const UNITS: [(&str, u64); 5] = [
        ("ms millisecond milliseconds", 1),
        ("s sec secs second seconds", 1000),
        ("m min mins minute minutes", 60_000),
        ("h hr hrs hour hours", 3_600_000),
        ("d day days", 86_400_000),
    ];
    let unit = unit.to_ascii_lowercase();
    UNITS.iter().find(|(words, _)| is_one_of(&unit, words)).map(|(_, milliseconds)| *milliseconds)
}

/// "resets in 4hr 5min", "try again in 20 seconds", "retry after 30 s", in words of a message.
fn from_words(plain: &str) -> Option<u64> {
    const BEFORE: &[&str] =
        &[" resets in ", " reset in ", " try again in ", " retry in ", " retry after ", " available in "];
    let (_, rest) = BEFORE.iter().find_map(|before| plain.split_once(before))?;
    let mut milliseconds: u64 = 0;
    let mut found = false;
    let mut words = rest.split_ascii_whitespace();
    let mut next = words.next();
    while let Some(word) = next {
        let (count, unit) = word.split_at(word.bytes().take_while(u8::is_ascii_digit).count());
        let unit = if unit.is_empty() { words.next().unwrap_or_default() } else { unit };
        let Some(part) = unit_ms(unit).and_then(|unit| decimal_ms(count, unit)) else { break };
        milliseconds = milliseconds.saturating_add(part);
        found = true;
        next = words.next();
        if next == Some("and") {
            next = words.next();
        }
    }
    found.then(|| up(milliseconds))
}

/// The three forms of RFC 9110 5.6.7, read by their parts: day, month, year, time. Seconds
/// since 1970.
pub(super) fn http_date(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    let text = text.to_ascii_lowercase();
    let (mut day, mut month, mut year, mut time) = (None, None, None, None);
    for part in text.split(|c: char| c.is_whitespace() || matches!(c, ',' | '-')).filter(|part| !part.is_empty()) {
        if let Some(at) = MONTHS.iter().position(|name| part == *name) {
            month = Some(at as i64 + 1);
        } else if part.contains(':') {
            let mut clock = part.split(':').map(|field| field.parse::<i64>().ok().filter(|n| (0..=60).contains(n)));
            let (hours, minutes, seconds) = (clock.next()??, clock.next()??, clock.next()??);
            time = (hours < 24 && minutes < 60).then_some(hours * 3600 + minutes * 60 + seconds);
        } else if let Ok(number) = part.parse::<i64>() {
            match (day, part.len()) {
                (None, 1 | 2) => day = Some(number).filter(|d| (1..=31).contains(d)),
                // RFC 850 years have two digits and are never far in the future.
                (Some(_), 2) => year = Some(if number < 70 { 2000 + number } else { 1900 + number }),
                (_, 4) => year = Some(number),
                _ => return None,
            }
        }
    }
    let days = days_before(year?, month?, day?);
    u64::try_from(days * 86_400 + time?).ok()
}

#[cfg(test)]
mod tests {
    use super::super::{body::Raw, find_codes};
    use super::*;

    const NOW: u64 = 784_111_777; // Sun, 06 Nov 1994 08:49:37 GMT, the date in RFC 9110

    fn wait(headers: &[(&str, &str)], text: &str) -> Option<u64> {
        let headers: Vec<_> = headers.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let answer = Answer {
            status: Some(429),
            headers: &headers,
            body: text,
            body_complete: true,
            body_lossy: false,
            transport_error: None,
        };
        let body = Raw::of(&answer).parse(&answer);
        read(&answer, body.json.as_ref(), &find_codes::find(&answer, &body), true, NOW - 60)
    }

    #[test]
    fn all_three_date_forms_name_the_same_moment() {
        for date in ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"] {
            assert_eq!(http_date(date), Some(NOW), "{date}");
            assert_eq!(wait(&[("Retry-After", date)], ""), Some(60), "{date}");
        }
        assert_eq!(http_date("Thu, 29 Feb 2024 00:00:00 GMT"), Some(1_709_164_800));
    }

    #[test]
    fn a_date_in_the_past_or_no_date_is_no_wait() {
        for value in
            ["Fri, 31 Dec 1993 23:59:59 GMT", "-5", "soon", "", "99:99:99", "1 1 1", "NaN", "inf", "1e3", ".", "1.2.3"]
        {
            assert_eq!(wait(&[("retry-after", value)], ""), None, "{value}");
        }
    }

    #[test]
    fn headers_in_every_unit() {
        assert_eq!(wait(&[("RETRY-AFTER", "120")], ""), Some(120));
        assert_eq!(wait(&[("retry-after", "1.2")], ""), Some(2));
        assert_eq!(wait(&[("retry-after-ms", "1500"), ("retry-after", "9")], ""), Some(2));
        assert_eq!(wait(&[("x-ratelimit-reset-after", "0.5")], ""), Some(1));
        assert_eq!(wait(&[("x-ratelimit-reset", &(NOW + 30).to_string())], ""), Some(90));
        assert_eq!(wait(&[("x-ratelimit-reset", "30")], ""), None);
    }

    #[test]
    fn waits_in_the_body() {
        assert_eq!(wait(&[], r#"{"retry_after":1.25}"#), Some(2));
        assert_eq!(wait(&[], r#"{"error":{"retryAfter":"30"}}"#), Some(30));
        assert_eq!(wait(&[], r#"{"error":{"details":[{"metadata":{"quotaResetDelay":"123.4s"}}]}}"#), Some(124));
        assert_eq!(wait(&[], r#"{"quotaResetDelay":"500ms"}"#), Some(1));
        assert_eq!(wait(&[], r#"{"quotaResetDelay":"4h5m3s"}"#), Some(14_703));
        assert_eq!(wait(&[], r#"{"error":{"resets_at":784112017}}"#), Some(300));
        assert_eq!(wait(&[], r#"{"message":"Limit reached, resets in 4hr 5min"}"#), Some(14_700));
        assert_eq!(wait(&[], r#"{"message":"Rate limited. Try again in 20 seconds."}"#), Some(20));
        assert_eq!(wait(&[], r#"{"retry_after":-3}"#), None);
    }

    #[test]
    fn no_wait_is_longer_than_the_cap() {
        for value in ["99999999", "99999999999999999999999999", "Fri, 31 Dec 9999 23:59:59 GMT"] {
            assert_eq!(wait(&[("retry-after", value)], ""), Some(LONGEST_WAIT_S), "{value}");
        }
        assert_eq!(wait(&[], r#"{"retry_after":1e300}"#), Some(LONGEST_WAIT_S));
    }
}
