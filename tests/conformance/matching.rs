//! What is expected, compared with what came: JSON of which only the members that are named count, and text in which only the times are left open.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

/// How far a clock may be from what is expected: a case takes a moment, on a machine that is busy a long one.
const NEAR_S: i64 = 120;

/// Where they differ. Only what is expected counts; `{"near_ms": n}` stands for a time n milliseconds from now, `{"near": n}` for a
/// number of seconds, `{"has": "text"}` for any text with that in it.
pub fn differs(expected: &Value, found: &Value, path: &str) -> Option<String> {
    let wrong = |what: String| Some(format!("{path}: {what}"));
    match expected {
        Value::Object(members) => {
            if let Some(from_now) = members.get("near_ms").and_then(Value::as_i64) {
                let off_s = found.as_i64().map(|at_ms| (at_ms - now_ms() - from_now).abs() / 1_000);
                return off_s
                    .is_none_or(|off_s| off_s > NEAR_S)
                    .then(|| format!("{path}: {found} is not {from_now} ms from now"));
            }
            if let Some(near) = members.get("near").and_then(Value::as_i64) {
                let off = found.as_i64().map(|number| (number - near).abs());
                return off.is_none_or(|off| off > NEAR_S).then(|| format!("{path}: {found} is not about {near}"));
            }
            if let Some(part) = members.get("has").and_then(Value::as_str) {
                let has = found.as_str().is_some_and(|text| text.contains(part));
                return (!has).then(|| format!("{path}: {found} does not say {part:?}"));
            }
            if !found.is_object() {
                return wrong(format!("expected {expected}, found {found}"));
            }
            members.iter().find_map(|(name, value)| {
                differs(value, found.get(name).unwrap_or(&Value::Null), &format!("{path}.{name}"))
            })
        }
        Value::Array(items) => match found.as_array() {
            Some(there) if there.len() == items.len() => items
                .iter()
                .zip(there)
                .enumerate()
                .find_map(|(index, (item, found))| differs(item, found, &format!("{path}[{index}]"))),
            _ => wrong(format!("expected {expected}, found {found}")),
        },
        _ if expected == found => None,
        _ => wrong(format!("expected {expected}, found {found}")),
    }
}

/// Where two texts differ, byte for byte. In what is expected `{{iso}}` stands for a date and time near now, `{{s}}` and `{{ms}}` for a number
/// of seconds or milliseconds since 1970, `{{s+3600}}` for one so much later.
pub fn text_differs(expected: &str, found: &str) -> Option<String> {
    let (mut left, mut rest) = (expected, found);
    loop {
        let (literal, after) = left.split_once("{{").map_or((left, None), |(literal, after)| (literal, Some(after)));
        if !rest.starts_with(literal) {
            let at = literal.bytes().zip(rest.bytes()).take_while(|(one, other)| one == other).count();
            return Some(format!("expected ...{:?}, found ...{:?}", window(literal, at), window(rest, at)));
        }
        rest = &rest[literal.len()..];
        let Some(after) = after else {
            return (!rest.is_empty()).then(|| format!("and then there is {:?}", window(rest, 0)));
        };
        let (kind, behind) = after.split_once("}}").expect("a placeholder ends");
        let length = rest.bytes().take_while(|byte| byte.is_ascii_digit() || b"T:.+-Z".contains(byte)).count();
        let (moment, behind_it) = rest.split_at(length);
        let (unit, later) =
            kind.split_once('+').map_or((kind, 0), |(unit, later)| (unit, later.parse().expect("a number")));
        let at_s = match unit {
            "iso" => seconds(moment),
            "s" => moment.parse::<f64>().ok().map(|at| at as i64),
            "ms" => moment.parse::<i64>().ok().map(|at| at / 1_000),
            _ => panic!("{{{{{kind}}}}} is no placeholder"),
        };
        if at_s.is_none_or(|at_s| (at_s - now_ms() / 1_000 - later).abs() > NEAR_S) {
            return Some(format!("{moment:?} is not {{{{{kind}}}}}"));
        }
        (left, rest) = (behind, behind_it);
    }
}

/// A text with its times left open, for [`text_differs`].
pub fn blessed(text: &str) -> String {
    let (mut open, mut rest) = (String::new(), text);
    while let Some(at) = rest.find(|letter: char| letter.is_ascii_digit()) {
        let length = rest[at..].bytes().take_while(|byte| byte.is_ascii_digit() || b"T:.+-Z".contains(byte)).count();
        let moment = &rest[at..at + length];
        let number = moment.parse::<f64>().ok().filter(|_| moment.len() > 9).map(|number| number as i64);
        let units = [("iso", seconds(moment)), ("s", number), ("ms", number.map(|at_ms| at_ms / 1_000))];
        let times = units.into_iter().flat_map(|(unit, at_s)| [0, 120, 3_600].map(|later| (unit, later, at_s)));
        // Half of how far it may be, so that no two of them are near.
        let is_it = |at_s: i64, later: i64| (at_s - now_ms() / 1_000 - later).abs() < NEAR_S / 2;
        let found = times.into_iter().find(|(_, later, at_s)| at_s.is_some_and(|at_s| is_it(at_s, *later)));
        let kind = match found {
            Some((unit, 0, _)) => format!("{{{{{unit}}}}}"),
            Some((unit, later, _)) => format!("{{{{{unit}+{later}}}}}"),
            None => moment.to_owned(),
        };
        open = open + &rest[..at] + &kind;
        rest = &rest[at + length..];
    }
    open + rest
}

/// Of a date and time as RFC 3339 spells it, in UTC.
fn seconds(moment: &str) -> Option<i64> {
    lazaretto::time::from_rfc3339(moment).map(|at_ms| at_ms as i64 / 1_000)
}

fn window(text: &str, at: usize) -> String {
    text.chars().skip(at.saturating_sub(30)).take(90).collect()
}

pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as i64
}

#[test]
fn what_is_not_as_expected_is_found_and_times_are_left_open() {
    let json = |text: &str| serde_json::from_str::<Value>(text).expect("json");
    assert_eq!(differs(&json(r#"{"a":[1,{"b":2}]}"#), &json(r#"{"a":[1,{"b":2,"c":3}],"d":4}"#), ""), None);
    assert!(differs(&json(r#"{"a":null}"#), &json(r#"{"a":0}"#), "").is_some());
    assert!(differs(&json(r#"{"a":[1]}"#), &json(r#"{"a":[1,2]}"#), "").is_some());
    let at = json(&format!(r#"{{"at":{}}}"#, now_ms() + 60_000));
    assert_eq!(differs(&json(r#"{"at":{"near_ms":60000}}"#), &at, ""), None);
    assert!(differs(&json(r#"{"at":{"near_ms":600000}}"#), &at, "").is_some());

    let now_s = now_ms() / 1_000;
    assert_eq!(text_differs(r#"{"at": {{s+3600}}, "b": 1}"#, &format!(r#"{{"at": {}, "b": 1}}"#, now_s + 3_600)), None);
    assert!(text_differs(r#"{"at": {{s}}}"#, &format!(r#"{{"at": {}}}"#, now_s + 3_600)).is_some());
    assert!(text_differs("{ \"a\":1}", "{\"a\":1}").is_some());
    assert!(text_differs("whole", "whole and more").is_some());
}
