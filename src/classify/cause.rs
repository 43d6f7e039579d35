//! What the prose beside a refusal names as its cause, where that is not the end of the token.
//! Servers answer `invalid_grant` whenever they know no better word, and only the description says
//! what went wrong: a fault of their own, another client.
//!
//! A phrase that is missing here costs a login its life, one too many costs a few requests: where
//! both readings are possible, these lists take the one that keeps the token.

use std::borrow::Cow;

use super::Verdict;
use super::body::head;
use super::prose;
use super::words::is_one_of;
use super::words::{self, DEAD, GRANT, NOT, REFRESH, SESSION, TOKEN, USER};

/// Of one message this much is read: the sentence of RFC 6749 alone is 250 bytes, and what matters
/// stands behind it.
const LONGEST: usize = 2_048;

/// A fault in words: one of the first, and one of the second among the next so many words.
#[rustfmt::skip]
const FAULTS: &[(&str, &str, usize)] = &[
    ("internal", "error errors failure failures fault exception problem issue", 3),
    ("server service services system backend database db sql redis cache storage network connectivity infrastructure \
      upstream gateway platform socket ldap host dns",
     "error errors failure failures fail failed fault exception problem problems unavailable timeout outage busy \
      overloaded unreachable down trouble crashed", 3),
    ("connection connections", "error failure failed refused reset closed aborted lost dropped timeout", 3),
    ("unexpected", "error exception failure fault problem condition response", 2),
    ("unknown unhandled uncaught unspecified fatal critical generic general runtime technical processing transient io",
     "error exception failure fault problem issue", 1),
    ("try trying retry retrying", "later shortly soon momentarily", 4),
    ("try trying retry attempt refresh", "minute minutes moment moments second seconds hour hours while", 5),
    ("retry", "request operation again", 3),
    ("connect reach contact", "database db server service backend upstream host storage redis ldap provider", 3),
    ("could unable failed cannot couldn", "connect reach contact", 3),
    ("rate", "limit limits limited limiting exceeded", 2),
    ("limit quota", "exceeded reached hit exhausted", 2),
    ("deadline", "exceeded", 1),
    ("context", "canceled cancelled", 1),
    ("requests calls attempts", "throttled limited", 3),
    ("too", "often frequently fast quickly busy", 1),
    ("at over", "capacity", 1),
    ("not", "available", 2),
    ("bad", "gateway", 1),
    ("slow", "down", 1),
    ("in", "progress", 1),
    ("being already", "processed processing", 1),
    ("race", "condition", 1),
    ("out", "memory", 2),
    ("null", "pointer reference", 1),
    ("object", "reference", 1),
    ("stack", "trace overflow", 1),
    ("broken", "pipe", 1),
    ("under", "maintenance", 2),
    ("interner interne interno", "fehler erreur error", 1),
    ("erreur error erro errore", "interne interno interna", 1),
    ("http status code error returned response upstream", "500 502 503 504 520 521 522 524", 2),
];

/// Words that are a fault by themselves.
const FAULT_WORDS: &str = "maintenance outage downtime overload overloaded busy unreachable throttle throttled throttling \
    ratelimit ratelimited deadlock econnrefused econnreset etimedout enotfound traceback nullpointerexception unexpectedly";

/// Where words have no spaces between them: internal error, server error, system is busy, later,
/// timeout.
const FAULT_SIGNS: [&str; 8] =
    ["内部错误", "服务器错误", "系统错误", "系统繁忙", "稍后", "超时", "内部エラー", "サーバーエラー"];

/// Whether the prose names a fault of the server, or something that passes.
pub(super) fn names_a_fault(sent: &str) -> bool {
    let sent = head(sent, LONGEST);
    if FAULT_SIGNS.iter().any(|sign| sent.contains(sign)) {
        return true;
    }
    sentences(&without_names(sent)).any(|sentence| {
        let plain = words::plain(sentence);
        let words: Vec<&str> = plain.split_ascii_whitespace().collect();
        (0..words.len()).any(|at| is_fault(&words, at))
    })
}

/// Words belong together within a sentence only.
fn sentences(text: &str) -> impl Iterator<Item = &str> {
    text.split([';', '!', '?', '\n']).flat_map(|part| part.split(". "))
}

/// A message without the member names of JSON within it: `"error":` is no word of the one who wrote
/// it.
fn without_names(sent: &str) -> Cow<'_, str> {
    if !sent.contains('{') {
        return sent.into();
    }
    let mut out = String::new();
    let mut rest = sent;
    while let Some((before, after)) = rest.split_once('"') {
        out.push_str(before);
        let named = after.split_once('"').map(|(_, more)| more);
        let value = named.filter(|more| more.trim_start_matches(['\\', ' ']).starts_with(':'));
        out.push_str(if value.is_some() { ". " } else { " " });
        rest = value.unwrap_or(after);
    }
    out.push_str(rest);
    out.into()
}

fn is_fault(words: &[&str], at: usize) -> bool {
    let word = words[at];
    let next = |by: usize| words.get(at + by).copied().unwrap_or_default();
    let before = |by: usize| at.checked_sub(by).map_or("", |at| words[at]);
    let paired = |&(first, then, within): &(&str, &str, usize)| is_one_of(word, first) && soon(words, at, within, then);
    match word {
        // A thing that was made for a while, and is over.
        "temporarily" => !is_one_of(next(1), "valid active issued granted authorized approved stored created"),
        "temporary" => !is_one_of(
            next(1),
            "token tokens access refresh session grant credential credentials password code key login account user",
        ),
        // A session has its time; a service that has none left is in trouble.
        "timeout" | "timedout" => !is_of_a_session(words, at),
        "timed" | "time" => next(1) == "out" && !is_of_a_session(words, at),
        "unavailable" => !(1..=3).any(|by| is_subject(before(by))),
        "available" if is_one_of(before(1), "not longer") => !(1..=5).any(|by| is_subject(before(by))),
        "many" => {
            before(1) == "too" && !is_one_of(next(1), "times session sessions device devices token tokens active users")
        }
        "concurrent" | "concurrently" | "simultaneous" | "simultaneously" => {
            !is_one_of(next(1), "session sessions login logins device devices user users sign")
        }
        // Below, for the words before it decide.
        "not" if next(1) == "available" => false,
        // How often a token may be used, how many sessions there may be: that is the token's own
        // end.
        "limit" | "quota" if (1..=3).any(|by| is_subject(before(by)) || is_one_of(before(by), "reuse use usage")) => {
            false
        }
        _ => is_one_of(word, FAULT_WORDS) || FAULTS.iter().any(paired),
    }
}

/// Whether one of these words comes among the next so many.
fn soon(words: &[&str], at: usize, within: usize, wanted: &str) -> bool {
    words[at + 1..].iter().take(within).any(|word| is_one_of(word, wanted))
}

fn is_subject(word: &str) -> bool {
    words::meaning(word) & (TOKEN | SESSION | GRANT) != 0
}

/// "session timed out", "idle timeout": the word right before says whose time it was.
fn is_of_a_session(words: &[&str], at: usize) -> bool {
    const BETWEEN: &str = "has have had been was is due to the a";
    const WHOSE: &str = "session sessions token idle inactivity login refresh absolute sso grant lifetime";
    words[..at].iter().rev().find(|word| !is_one_of(word, BETWEEN)).is_some_and(|word| is_one_of(word, WHOSE))
}

/// What the prose names instead of the token's end, with the rule that heard it; nothing if it does
/// not speak, or speaks of that end.
pub(super) fn beside_the_token(sent: &str) -> Option<(Verdict, &'static str)> {
    if names_a_fault(sent) {
        return Some((Verdict::Unknown, "names-a-fault"));
    }
    let sent = &*without_names(head(sent, LONGEST));
    // Sentence by sentence: what RFC 6749 says of the code is often sent before what happened.
    for sentence in sentences(sent) {
        let plain = words::plain(sentence);
        let words: Vec<&str> = plain.split_ascii_whitespace().collect();
        if names_another_client(&words) && !lists_causes(&words) {
            return Some((Verdict::Config, "issued-to-another-client"));
        }
    }
    let plain = words::plain(sent);
    let words: Vec<&str> = plain.split_ascii_whitespace().collect();
    if names_an_end(&words) || prose::names_a_dead_grant(&plain) {
        return None;
    }
    let at_any = |heard: fn(&[&str], usize) -> bool| (0..words.len()).any(|at| heard(&words, at));
    if at_any(went_wrong) {
        return Some((Verdict::Unknown, "names-a-fault"));
    }
    if at_any(account_is_barred) {
        return Some((Verdict::Config, "account-is-barred"));
    }
    if at_any(was_not_sent) {
        return Some((Verdict::Config, "token-was-not-sent"));
    }
    prose::asks_for_interaction(&plain).then_some((Verdict::Interaction, "asks-for-interaction"))
}

/// "not issued to this client", "issued to a different app", "client mismatch", "client id does not
/// match".
fn names_another_client(words: &[&str]) -> bool {
    let is_party = |word: &str| is_one_of(word, "client clientid app application consumer");
    let party_within = |at: usize, within: usize| words[at + 1..].iter().take(within).any(|word| is_party(word));
    (0..words.len()).any(|at| {
        let word = words[at];
        let denied = || words[at.saturating_sub(7)..at].iter().any(|word| says_not(word));
        let before = |within: usize| words[at.saturating_sub(within)..at].iter().any(|word| is_party(word));
        if is_one_of(word, "another different other wrong") {
            return party_within(at, 3);
        }
        if is_one_of(word, "mismatch mismatched mismatches mismatching unmatching") {
            return before(4) || party_within(at, 4);
        }
        if is_one_of(word, "issued belong belongs linked bound associated assigned intended granted created") {
            return denied() && party_within(at, 6);
        }
        // "the client id of this request does not match", "does not match the client"
        is_one_of(word, "match matches valid") && denied() && (party_within(at, 4) || (word != "valid" && before(10)))
    })
}

fn says_not(word: &str) -> bool {
    words::meaning(word) & NOT != 0 || is_one_of(word, "don didn aren weren")
}

/// The causes that RFC 6749 5.2 gives for the code, several in one sentence, say no more than the
/// code.
fn lists_causes(words: &[&str]) -> bool {
    ["invalid", "expired", "revoked"].iter().filter(|cause| words.contains(cause)).count() >= 2
}

/// Some word for the end of a token, beside a word for the token.
fn names_an_end(words: &[&str]) -> bool {
    let vague = "bad unknown wrong incorrect malformed invalid unrecognized unrecognised";
    let ends = |word: &&str| words::meaning(word) & DEAD != 0 && !is_one_of(word, vague);
    words.iter().any(ends) && words.iter().any(|word| is_subject(word) || words::meaning(word) & REFRESH != 0)
}

/// "an error occurred", "something went wrong", "unable to process the request".
fn went_wrong(words: &[&str], at: usize) -> bool {
    match words[at] {
        "error" | "problem" | "exception" => soon(words, at, 3, "occurred happened encountered"),
        "encountered" => soon(words, at, 3, "error problem exception"),
        "went" => soon(words, at, 1, "wrong"),
        "could" | "unable" | "failed" | "cannot" | "couldn" => {
            soon(words, at, 3, "process complete load fetch perform handle")
        }
        _ => false,
    }
}

/// "account is disabled", "user has been blocked", "disabled account": lifted by an administrator,
/// with the same token.
fn account_is_barred(words: &[&str], at: usize) -> bool {
    const BARRED: &str = "disabled locked blocked suspended banned deactivated";
    let is_user = |word: &str| words::meaning(word) & USER != 0;
    (is_user(words[at]) && soon(words, at, 4, BARRED))
        || (is_one_of(words[at], BARRED) && words.get(at + 1).is_some_and(|word| is_user(word)))
}

/// "refresh_token is required", "missing parameter", "token not provided": it was, so the request
/// went wrong on its way.
fn was_not_sent(words: &[&str], at: usize) -> bool {
    const SENT: &str = "refresh token parameter refreshtoken";
    let before =
        |within: usize, wanted: &str| words[at.saturating_sub(within)..at].iter().any(|word| is_one_of(word, wanted));
    match words[at] {
        "missing" => before(4, SENT) || soon(words, at, 4, SENT),
        "required" => before(3, SENT),
        "provided" | "specified" | "supplied" | "present" | "sent" | "included" => {
            before(4, SENT) && words[at.saturating_sub(2)..at].iter().any(|word| says_not(word))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(text: &str) -> Option<Verdict> {
        beside_the_token(text).map(|(verdict, _)| verdict)
    }

    #[test]
    fn a_fault_of_the_server_is_heard_in_any_words() {
        for text in [
            "AADB2C90085: The service has encountered an internal error. Please reauthenticate and try again.",
            "Internal server error",
            "Refresh token expired. Internal Server Error",
            "The service is temporarily unavailable. Please retry after a few minutes.",
            "Please try again later.",
            "An unexpected error occurred",
            "Unhandled exception while loading the grant",
            "database error",
            "Redis connection timeout",
            "could not connect to session store",
            "upstream returned 503",
            "502 Bad Gateway",
            "context deadline exceeded",
            "rate limit exceeded",
            "Too many refresh requests",
            "request timed out",
            "Timeout while validating the refresh token",
            "Your account is temporarily locked to prevent unauthorized use. Try again later.",
            "Server is down for maintenance",
            "java.lang.NullPointerException",
            "Object reference not set to an instance of an object.",
            "a concurrent refresh is in progress",
            "service not available",
            "Something went wrong",
            "An error has occurred.",
            "Ein interner Fehler ist aufgetreten",
            "Error interno del servidor",
            "系统繁忙，请稍后重试",
        ] {
            assert_eq!(heard(text), Some(Verdict::Unknown), "{text}");
        }
    }

    #[test]
    fn a_client_that_the_token_was_not_issued_to_is_heard() {
        for text in [
            "Token was not issued to this client",
            "The refresh token was issued to another client.",
            "refresh token belongs to a different application",
            "Token is not linked to client",
            "client_id mismatch",
            "Invalid refresh token: client mismatch",
            "The provided authorization grant (e.g., authorization code, resource owner credentials) or refresh token is \
             invalid, expired, revoked, does not match the redirection URI used in the authorization request, or was issued to \
             another client. The OAuth 2.0 Client ID from this request does not match the ID during the initial token issuance.",
            "Session doesn't have a refresh token bound to this client",
        ] {
            assert_eq!(heard(text), Some(Verdict::Config), "{text}");
        }
    }

    #[test]
    fn an_account_a_request_and_a_person_are_other_causes() {
        for (text, verdict) in [
            ("User account is disabled", Verdict::Config),
            ("User disabled", Verdict::Config),
            ("refresh_token is required", Verdict::Config),
            ("Missing refresh token", Verdict::Config),
            ("Refresh token not provided", Verdict::Config),
            ("consent required", Verdict::Interaction),
            ("Multi-factor authentication required", Verdict::Interaction),
        ] {
            assert_eq!(heard(text), Some(verdict), "{text}");
        }
    }

    #[test]
    fn words_of_a_fault_in_a_harmless_sense_are_no_fault() {
        for text in [
            "",
            "Bad Request",
            "Token has been expired or revoked.",
            "The provided authorization grant is invalid, expired, revoked, does not match the redirection URI used in the \
             authorization request, or was issued to another client.",
            "AADB2C90080: The provided grant has expired. Please re-authenticate and try again. Current time: 1717837319, \
             Grant issued time: 1716629330, Grant expiration time: 1716629630",
            "AADB2C90129: The provided grant has been revoked. Please reauthenticate and try again.",
            "Maximum allowed refresh token reuse exceeded",
            "Session doesn't have required client",
            "Error: refresh token expired",
            "Token error: the refresh token is invalid",
            "Errors.User.RefreshToken.Invalid",
            "reauth related error (invalid_rapt)",
            "The session has timed out. Please log in again.",
            "Session idle timeout",
            "The refresh token was temporarily valid and has expired",
            "Temporary session expired",
            "The refresh token is no longer available",
            "Refresh token was used too many times",
            "Session terminated: too many sessions",
            "Maximum number of concurrent sessions reached, this session was ended",
            "Refresh token not found in database",
            "The authorization server has revoked this token",
            "An error occurred while refreshing: the refresh token has been revoked",
            "Unable to process the request: refresh token expired",
            "The user's refresh token was reused; consent required",
            "Session limit reached: the oldest session was terminated",
            "grant request is invalid",
            "Contact your system administrator to issue a new token",
            r#"Upstream answered: {"error":"invalid_grant","error_description":"Token has been expired or revoked."}"#,
            r#"server response {\"error\": \"invalid_grant\", \"error_description\": \"refresh token expired\"}"#,
            "no such token",
        ] {
            assert_eq!(heard(text), None, "{text}");
        }
    }
}
