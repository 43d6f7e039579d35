//! How a credential stands, in a person's words: the same on every screen. Text of others is escaped.

use super::need::Need;
use super::{text, time};
use lazaretto_host::{CredentialStatus, LastError};

/// How long something takes or took, as this screen says it.
pub(super) type Span = fn(u64) -> String;

/// What a credential is called: its id first, for that is what `--credential` takes.
pub(super) fn name(status: &CredentialStatus) -> String {
    let (id, label) = (text::escape(&status.credential), text::escape(&status.label));
    if label.is_empty() || label == id { id } else { format!("{id} ({label})") }
}

/// Whether it is usable now, and for how long.
pub(super) fn usable(status: &CredentialStatus, now_ms: u64, span: Span) -> String {
    let left = status.expires_at_ms.and_then(|at_ms| at_ms.checked_sub(now_ms)).filter(|left_ms| *left_ms > 0);
    match (status.usable.as_str(), left) {
        ("yes" | "expiring", Some(left_ms)) => format!("{} left", span(left_ms)),
        ("yes", None) => "yes".to_owned(),
        ("expiring", None) => "yes, not long".to_owned(),
        ("expired", _) => "expired".to_owned(),
        ("unknown", _) => "end unknown".to_owned(),
        ("no", _) => "no".to_owned(),
        (other, _) => text::escape(other),
    }
}

/// Whether it will renew, and since or until when something keeps it from it.
pub(super) fn renewal(status: &CredentialStatus, now_ms: u64, span: Span) -> String {
    let until = status.retry_at_ms.map(|at_ms| at_ms.saturating_sub(now_ms));
    match (status.renewal.as_str(), until) {
        ("ok" | "paused" | "none", Some(1..)) => format!("paused, {}", span(until.unwrap_or_default())),
        ("ok" | "paused" | "none", Some(0)) => "paused till now".to_owned(),
        ("ok", _) => "ok".to_owned(),
        ("paused", _) => "paused".to_owned(),
        ("refreshing", _) => {
            let since =
                status.refreshing_since_ms.map(|since_ms| format!(", {}", span(now_ms.saturating_sub(since_ms))));
            format!("refreshing{}", since.unwrap_or_default())
        }
        ("in-doubt", _) => "in doubt".to_owned(),
        ("needs-login", _) => "needs login".to_owned(),
        ("needs-configuration", _) => "needs configuration".to_owned(),
        ("none", _) if status.kind == "api-key" => "API key".to_owned(),
        ("none", _) => "no refresh token".to_owned(),
        (other, _) => text::escape(other),
    }
}

/// Why it stands so, in sentences. Empty: there is nothing to say.
pub(super) fn why(status: &CredentialStatus, now_ms: u64) -> Vec<String> {
    let mut why = Vec::new();
    if let Some(who) = status.refreshing_by.as_ref().filter(|_| status.renewal == "refreshing") {
        let since = status.refreshing_since_ms.map(|at_ms| time::span(now_ms.saturating_sub(at_ms)));
        why.push(text::escape(&match since {
            Some(since) => format!("{who} has been refreshing it for {since}"),
            None => format!("{who} is refreshing it"),
        }));
    }
    why.extend(status.note.as_ref().map(|note| text::escape(note)));
    if status.renewal == "in-doubt" && status.note.is_none() {
        why.push("an answer was lost; the next call asks once more".to_owned());
    }
    if let Some(error) = &status.last_error {
        let said = sentence(error, now_ms);
        // A note may have been made of it.
        if !said.is_empty() && !why.iter().any(|why| why.contains(&text::escape(&error.message))) {
            why.push(said);
        }
    }
    why
}

/// What a failure says; its code only where it says nothing.
fn sentence(error: &LastError, now_ms: u64) -> String {
    let words = [&error.message, &error.reason, &error.code];
    let said = words.into_iter().find(|words| !words.is_empty());
    let when = error.at_ms.map(|at_ms| format!(" ({})", time::relative(at_ms, now_ms)));
    said.map(|said| text::escape(&format!("{said}{}", when.unwrap_or_default()))).unwrap_or_default()
}

/// What is wrong with it, as the end of a sentence that it begins.
pub(super) fn trouble(status: &CredentialStatus) -> String {
    match (status.renewal.as_str(), Need::of(status)) {
        ("quarantined", _) => "it is quarantined".to_owned(),
        ("dead", _) => "it is dead".to_owned(),
        (_, Need::Login) => "a person must log in".to_owned(),
        (_, Need::Configuration) => "its configuration must change, or it must be reset".to_owned(),
        (_, Need::Time) => "it is not usable now".to_owned(),
        (_, Need::Unknown) => {
            format!("its state is not known here: {} {}", text::escape(&status.usable), text::escape(&status.renewal))
        }
        (_, Need::Nothing) => "it is fine".to_owned(),
    }
}

/// The command that risks something, where one could help too: with the words by which this command is called.
pub(super) fn alternative(status: &CredentialStatus, command: &str, now_ms: u64) -> Option<(String, String)> {
    let until_ms = status.sealed_until_ms.filter(|until_ms| *until_ms > now_ms)?;
    // A token that was used before must not be sent again: that may end every login that came from it.
    let reason = status.last_error.as_ref().map_or("", |error| &error.reason);
    if matches!(reason, "overwritten" | "answer-lost") {
        return None;
    }
    let word = |word: &str| lazaretto_host::storage::shell_path(std::path::Path::new(word));
    let which = match status.credential.as_str() {
        "login" => String::new(),
        credential => format!(" --credential {}", word(credential)),
    };
    let command = text::escape(&format!("{command} unquarantine {}{which}", word(&status.provider)));
    Some((command, format!("if the server was wrong; possible for {} more", time::span(until_ms - now_ms))))
}

#[cfg(test)]
mod tests {
    use super::super::need::example;
    use super::*;

    const NOW_MS: u64 = 1_784_541_600_000;

    #[test]
    fn the_two_questions_have_an_answer_each() {
        let at = |ms: u64| Some(NOW_MS + ms);
        for (status, is_usable, renews) in [
            (example("yes", "ok"), "59 min left", "ok"),
            (example("expiring", "ok"), "59 min left", "ok"),
            (CredentialStatus { expires_at_ms: None, ..example("unknown", "ok") }, "end unknown", "ok"),
            (example("expired", "in-doubt"), "expired", "in doubt"),
            (
                CredentialStatus { retry_at_ms: at(840_000), ..example("yes", "paused") },
                "59 min left",
                "paused, 14 min",
            ),
            (CredentialStatus { retry_at_ms: at(60_000), ..example("no", "ok") }, "no", "paused, 60 s"),
            (example("no", "needs-login"), "no", "needs login"),
            (example("no", "quarantined"), "no", "quarantined"),
            (example("yes", "needs-configuration"), "59 min left", "needs configuration"),
            (example("yes", "none"), "59 min left", "no refresh token"),
            (
                CredentialStatus { kind: "api-key".into(), expires_at_ms: None, ..example("yes", "none") },
                "yes",
                "API key",
            ),
            (
                CredentialStatus { refreshing_since_ms: Some(NOW_MS - 3_000), ..example("expired", "refreshing") },
                "expired",
                "refreshing, 3 s",
            ),
            (example("new\u{1b}", "newer\n"), "new\\u{1b}", "newer\\n"),
        ] {
            assert_eq!(usable(&status, NOW_MS, time::span), is_usable);
            assert_eq!(renewal(&status, NOW_MS, time::span), renews);
        }
    }

    #[test]
    fn a_failure_is_a_sentence_and_said_once() {
        let error = |message: &str| LastError {
            code: "invalid_grant".into(),
            message: message.into(),
            reason: String::new(),
            at_ms: Some(NOW_MS - 180_000),
        };
        let with = |message: &str, note: Option<&str>| CredentialStatus {
            last_error: Some(error(message)),
            note: note.map(Into::into),
            ..example("no", "needs-login")
        };
        assert_eq!(why(&with("revoked", None), NOW_MS), ["revoked (3 min ago)"]);
        assert_eq!(why(&with("", None), NOW_MS), ["invalid_grant (3 min ago)"]);
        assert_eq!(why(&with("revoked", Some("it is over: revoked")), NOW_MS), ["it is over: revoked"]);
        assert_eq!(why(&example("yes", "in-doubt"), NOW_MS), ["an answer was lost; the next call asks once more"]);
        let refreshing = CredentialStatus {
            refreshing_by: Some("pid 4711 on build-3".into()),
            refreshing_since_ms: Some(NOW_MS - 3_000),
            ..example("expired", "refreshing")
        };
        assert_eq!(why(&refreshing, NOW_MS), ["pid 4711 on build-3 has been refreshing it for 3 s"]);
    }

    #[test]
    fn what_was_used_before_is_not_offered_back() {
        let sealed = |reason: &str| CredentialStatus {
            credential: "my key".into(),
            sealed_until_ms: Some(NOW_MS + 6 * 86_400_000),
            last_error: Some(LastError {
                code: "x".into(),
                message: String::new(),
                reason: reason.into(),
                at_ms: None,
            }),
            ..example("no", "quarantined")
        };
        let (command, when) = alternative(&sealed("refresh-refused"), "lazaretto --vault '/my v'", NOW_MS).unwrap();
        assert_eq!(command, "lazaretto --vault '/my v' unquarantine xai-oauth --credential 'my key'");
        assert!(when.ends_with("6 d more"), "{when}");
        for reason in ["overwritten", "answer-lost"] {
            assert_eq!(alternative(&sealed(reason), "lazaretto", NOW_MS), None, "{reason}");
        }
        assert_eq!(alternative(&sealed("refresh-refused"), "lazaretto", NOW_MS + 7 * 86_400_000), None);
    }
}
