//! What happened between two readings of a vault, whoever did it: told from the two alone.

use std::collections::HashMap;

use super::super::table::Look;
use super::super::{text, time};
use crate::{CredentialStatus, StatusReport};

/// One thing that happened to one credential. Its text is safe to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// `provider (credential)`
    pub(super) of: String,
    pub(super) what: String,
    pub(super) look: Look,
}

/// In the order of the vault; what is gone comes last.
pub(super) fn between(before: &StatusReport, after: &StatusReport, now_ms: u64) -> Vec<Change> {
    let mut gone: HashMap<_, _> = before.credentials.iter().map(|status| (key(status), status)).collect();
    let mut changes = Vec::new();
    for status in &after.credentials {
        let said = match gone.remove(&key(status)) {
            None => Some((format!("added, {}", text::escape(&status.state)), Look::Plain)),
            Some(before) => changed(before, status, now_ms),
        };
        changes.extend(said.map(|(what, look)| Change { of: of(status), what, look }));
    }
    for status in before.credentials.iter().filter(|status| gone.contains_key(&key(status))) {
        changes.push(Change { of: of(status), what: "removed".to_owned(), look: Look::Plain });
    }
    changes
}

fn key(status: &CredentialStatus) -> (&str, &str) {
    (&status.provider, &status.credential)
}

fn of(status: &CredentialStatus) -> String {
    text::escape(&format!("{} ({})", status.provider, status.credential))
}

fn changed(before: &CredentialStatus, after: &CredentialStatus, now_ms: u64) -> Option<(String, Look)> {
    let is_new_state = before.state != after.state;
    let has_other_token = before.expires_at_ms != after.expires_at_ms;
    let why = || {
        let code = after.last_error.as_ref().map(|error| error.code.as_str()).filter(|code| !code.is_empty());
        code.map(|code| format!(": {}", text::escape(code))).unwrap_or_default()
    };
    let left = |at_ms: u64| time::span(at_ms.saturating_sub(now_ms));
    let said = match after.state.as_str() {
        "quarantined" if is_new_state => (format!("quarantined{}", why()), Look::Bad),
        "dead" if is_new_state => (format!("dead{}", why()), Look::Bad),
        "cooling-down" if is_new_state || later(before.retry_at_ms, after.retry_at_ms) => {
            let pause = after.retry_at_ms.map(|at_ms| format!(" for {}", left(at_ms))).unwrap_or_default();
            (format!("cooling down{pause}{}", why()), Look::Warn)
        }
        "held" if is_new_state => (format!("held until something changes{}", why()), Look::Bad),
        "parked" if is_new_state => (format!("parked until `lazaret reset`{}", why()), Look::Bad),
        "in-doubt" if is_new_state => ("an answer was lost; the next call asks once more".to_owned(), Look::Warn),
        "no-token" | "unusable" if is_new_state => (text::escape(&after.state), Look::Bad),
        "valid" | "expiring" | "unknown-expiry" if has_other_token && live(after, now_ms) => {
            let good = after.expires_at_ms.map(|at_ms| format!(", good for {}", left(at_ms))).unwrap_or_default();
            let what = if is_out(before) { "back in use" } else { "refreshed" };
            (format!("{what}{good}"), Look::Good)
        }
        "valid" | "key" if is_new_state => ("fine again".to_owned(), Look::Good),
        "expiring" if is_new_state => ("due for a refresh".to_owned(), Look::Plain),
        "expired" if is_new_state => ("expired; the next call refreshes it".to_owned(), Look::Warn),
        state if is_new_state => (text::escape(state), Look::Plain),
        _ => return None,
    };
    Some(said)
}

fn live(status: &CredentialStatus, now_ms: u64) -> bool {
    status.expires_at_ms.is_none_or(|at_ms| at_ms > now_ms)
}

fn later(before: Option<u64>, after: Option<u64>) -> bool {
    after > before
}

/// No refresh could have helped it.
fn is_out(status: &CredentialStatus) -> bool {
    matches!(status.state.as_str(), "quarantined" | "dead" | "no-token" | "unusable")
}

#[cfg(test)]
mod tests {
    use super::super::tests::{NOW_MS, credential, report};
    use super::*;

    fn said(before: CredentialStatus, after: CredentialStatus) -> Vec<String> {
        let changes = between(&report(vec![before]), &report(vec![after]), NOW_MS);
        changes.into_iter().map(|change| change.what).collect()
    }

    #[test]
    fn nothing_happened_if_nothing_differs() {
        assert_eq!(between(&report(vec![credential("valid")]), &report(vec![credential("valid")]), NOW_MS), []);
    }

    #[test]
    fn what_happened_is_told_from_the_difference() {
        let hour = 3_600_000;
        let fresh = CredentialStatus { expires_at_ms: Some(NOW_MS + 2 * hour), ..credential("valid") };
        let cooling = |at_ms| CredentialStatus { retry_at_ms: Some(NOW_MS + at_ms), ..credential("cooling-down") };
        for (before, after, wanted) in [
            (credential("expired"), fresh.clone(), "refreshed, good for 2 h"),
            (credential("valid"), fresh.clone(), "refreshed, good for 2 h"),
            (credential("quarantined"), fresh, "back in use, good for 2 h"),
            (credential("expired"), credential("quarantined"), "quarantined: invalid_grant"),
            (credential("valid"), cooling(60_000), "cooling down for 60 s: invalid_grant"),
            (cooling(60_000), cooling(90_000), "cooling down for 90 s: invalid_grant"),
            (cooling(60_000), credential("valid"), "fine again"),
            (credential("valid"), credential("expiring"), "due for a refresh"),
            (credential("expiring"), credential("expired"), "expired; the next call refreshes it"),
            (credential("valid"), credential("something-new"), "something-new"),
        ] {
            assert_eq!(said(before, after), [wanted]);
        }
    }

    #[test]
    fn what_comes_and_goes_is_named_and_text_of_others_is_escaped() {
        let other = CredentialStatus { credential: "k\u{1b}[2J".into(), ..credential("key") };
        let changes = between(&report(vec![credential("valid")]), &report(vec![other]), NOW_MS);
        let said: Vec<_> = changes.iter().map(|change| format!("{} {}", change.of, change.what)).collect();
        assert_eq!(said, ["xai-oauth (k\\u{1b}[2J) added, key", "xai-oauth (login) removed"]);
    }
}
