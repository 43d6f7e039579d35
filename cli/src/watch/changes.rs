//! What happened between two readings of a vault, whoever did it: told from the two alone.

use std::collections::HashMap;

use super::super::table::Look;
use super::super::{text, time, words};
use lazaretto_host::{CredentialStatus, StatusReport};

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
            None => Some((added(status, now_ms), Look::Plain)),
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

fn added(status: &CredentialStatus, now_ms: u64) -> String {
    format!("added: {}, {}", words::usable(status, now_ms, time::span), words::renewal(status, now_ms, time::span))
}

fn changed(before: &CredentialStatus, after: &CredentialStatus, now_ms: u64) -> Option<(String, Look)> {
    renewed(before, after, now_ms).or_else(|| used_up(before, after))
}

/// What became of its renewal, or of its token.
fn renewed(before: &CredentialStatus, after: &CredentialStatus, now_ms: u64) -> Option<(String, Look)> {
    let is_new = before.renewal != after.renewal;
    let has_other_token = before.expires_at_ms != after.expires_at_ms;
    let why = || {
        let code = after.last_error.as_ref().map(|error| error.code.as_str()).filter(|code| !code.is_empty());
        code.map(|code| format!(": {}", text::escape(code))).unwrap_or_default()
    };
    let left = |at_ms: u64| time::span(at_ms.saturating_sub(now_ms));
    let is_paused = after.retry_at_ms.is_some_and(|at_ms| at_ms > now_ms) && after.retry_at_ms > before.retry_at_ms;
    let said = match after.renewal.as_str() {
        "quarantined" | "dead" if is_new => (format!("{}{}", after.renewal, why()), Look::Bad),
        "needs-login" if is_new => (format!("a person must log in{}", why()), Look::Bad),
        "needs-configuration" if is_new => (format!("its configuration must change{}", why()), Look::Bad),
        "ok" | "none" | "paused" if is_paused => {
            let until = after.retry_at_ms.map(|at_ms| format!(" for {}", left(at_ms))).unwrap_or_default();
            (format!("paused{until}{}", why()), Look::Warn)
        }
        "paused" if is_new => (format!("paused until it is reset{}", why()), Look::Bad),
        "refreshing" if is_new => {
            let who = after.refreshing_by.as_ref().map(|who| format!(" by {}", text::escape(who)));
            (format!("being refreshed{}", who.unwrap_or_default()), Look::Plain)
        }
        "in-doubt" if is_new => ("an answer was lost; the next call asks once more".to_owned(), Look::Warn),
        "ok" | "none" if has_other_token && live(after, now_ms) => {
            let good = after.expires_at_ms.map(|at_ms| format!(", good for {}", left(at_ms))).unwrap_or_default();
            let what = if is_out(before) { "back in use" } else { "refreshed" };
            (format!("{what}{good}"), Look::Good)
        }
        // Somebody was at it, and it came to nothing new.
        "ok" if is_new && before.renewal == "refreshing" => return None,
        "ok" | "none" if is_new || (before.retry_at_ms.is_some() && after.retry_at_ms.is_none()) => {
            ("fine again".to_owned(), Look::Good)
        }
        other if is_new => (text::escape(other), Look::Plain),
        _ => return None,
    };
    Some(said)
}

/// What time has made of its token.
fn used_up(before: &CredentialStatus, after: &CredentialStatus) -> Option<(String, Look)> {
    if before.usable == after.usable || !matches!(after.renewal.as_str(), "ok" | "in-doubt" | "none") {
        return None;
    }
    let said = match after.usable.as_str() {
        "expiring" => ("due for a refresh".to_owned(), Look::Plain),
        "expired" => ("expired; the next call refreshes it".to_owned(), Look::Warn),
        "no" => ("not usable any more".to_owned(), Look::Bad),
        "yes" => ("fine again".to_owned(), Look::Good),
        _ => return None,
    };
    Some(said)
}

fn live(status: &CredentialStatus, now_ms: u64) -> bool {
    status.expires_at_ms.is_none_or(|at_ms| at_ms > now_ms)
}

/// No refresh could have helped it.
fn is_out(status: &CredentialStatus) -> bool {
    matches!(status.renewal.as_str(), "quarantined" | "dead" | "needs-login")
}

#[cfg(test)]
mod tests {
    use super::super::super::need::example;
    use super::super::tests::{NOW_MS, report};
    use super::*;

    fn said(before: CredentialStatus, after: CredentialStatus) -> Vec<String> {
        let changes = between(&report(vec![before]), &report(vec![after]), NOW_MS);
        changes.into_iter().map(|change| change.what).collect()
    }

    #[test]
    fn nothing_happened_if_nothing_differs() {
        let same = || report(vec![example("yes", "ok")]);
        assert_eq!(between(&same(), &same(), NOW_MS), []);
    }

    #[test]
    fn what_happened_is_told_from_the_difference() {
        let hour = 3_600_000;
        let fresh = CredentialStatus { expires_at_ms: Some(NOW_MS + 2 * hour), ..example("yes", "ok") };
        let paused = |at_ms| CredentialStatus { retry_at_ms: Some(NOW_MS + at_ms), ..example("yes", "paused") };
        let refreshing = || CredentialStatus {
            refreshing_by: Some("pid 4711".into()),
            refreshing_since_ms: Some(NOW_MS),
            ..example("expired", "refreshing")
        };
        for (before, after, wanted) in [
            (example("expired", "ok"), fresh.clone(), "refreshed, good for 2 h"),
            (example("yes", "ok"), fresh.clone(), "refreshed, good for 2 h"),
            (refreshing(), fresh.clone(), "refreshed, good for 2 h"),
            (example("no", "quarantined"), fresh, "back in use, good for 2 h"),
            (example("expired", "ok"), refreshing(), "being refreshed by pid 4711"),
            (refreshing(), example("expired", "in-doubt"), "an answer was lost; the next call asks once more"),
            (example("no", "ok"), example("no", "quarantined"), "quarantined: invalid_grant"),
            (example("yes", "ok"), example("yes", "needs-login"), "a person must log in: invalid_grant"),
            (example("yes", "ok"), paused(60_000), "paused for 60 s: invalid_grant"),
            (paused(60_000), paused(90_000), "paused for 90 s: invalid_grant"),
            (paused(60_000), example("yes", "ok"), "fine again"),
            (example("yes", "ok"), example("expiring", "ok"), "due for a refresh"),
            (example("expiring", "ok"), example("expired", "ok"), "expired; the next call refreshes it"),
            (example("yes", "ok"), example("yes", "something-new"), "something-new"),
        ] {
            assert_eq!(said(before, after), [wanted]);
        }
        assert_eq!(said(refreshing(), example("expired", "ok")), [""; 0], "it has not changed");
    }

    #[test]
    fn what_comes_and_goes_is_named_and_text_of_others_is_escaped() {
        let other = CredentialStatus {
            credential: "k\u{1b}[2J".into(),
            kind: "api-key".into(),
            expires_at_ms: None,
            ..example("yes", "none")
        };
        let changes = between(&report(vec![example("yes", "ok")]), &report(vec![other]), NOW_MS);
        let said: Vec<_> = changes.iter().map(|change| format!("{} {}", change.of, change.what)).collect();
        assert_eq!(said, ["xai-oauth (k\\u{1b}[2J) added: yes, API key", "xai-oauth (login) removed"]);
    }
}
