//! What a message says where no code decides. It ends a grant only in sentences that name the
//! refresh token, the grant or the session together with its end; any doubt keeps the token.

use super::Verdict;
use super::words::is_one_of;
use super::words::{CLIENT, CONFIG, DEAD, FAULT, GRANT, LIVE, NOT, OTHER, PLAN, SESSION, TOKEN, meaning};

/// What a message says, and the rule that heard it. `text` is in [`super::words::plain`] form.
pub(super) fn judge(text: &str, status: u16) -> Option<(Verdict, &'static str)> {
    let words = with_meaning(text);
    let says = |bits: u16| words.iter().any(|(_, says)| says & bits != 0);
    if matches!(status, 402 | 403) && says(PLAN) {
        return Some((Verdict::Config, "message-names-plan"));
    }
    if (0..words.len()).any(|at| passes(&words, at)) {
        return Some((Verdict::Transient, "message-names-passing-fault"));
    }
    if names_the_request(&words) {
        return Some((Verdict::Config, "message-names-client-or-request"));
    }
    if (0..words.len()).any(|at| asks(&words, at)) {
        return Some((Verdict::Interaction, "message-asks-for-interaction"));
    }
    is_of_a_dead_grant(&words).then_some((Verdict::Terminal, "message-names-dead-refresh-token"))
}

/// Whether a message names the refresh token, the grant or the session together with its end.
pub(super) fn names_a_dead_grant(text: &str) -> bool {
    is_of_a_dead_grant(&with_meaning(text))
}

/// Whether a message asks for a person.
pub(super) fn asks_for_interaction(text: &str) -> bool {
    let words = with_meaning(text);
    (0..words.len()).any(|at| asks(&words, at))
}

fn with_meaning(text: &str) -> Vec<(&str, u16)> {
    text.split_ascii_whitespace().map(|word| (word, meaning(word))).collect()
}

/// Whether a message speaks of an access token and of no refresh token: then its complaint is about
/// another token.
pub(super) fn names_another_token(text: &str) -> bool {
    let mut other = false;
    let mut before = "";
    for word in text.split_ascii_whitespace() {
        if word == "accesstoken" || (meaning(word) & TOKEN != 0 && meaning(before) & OTHER != 0) {
            other = true;
        }
        if before == "refresh" && meaning(word) & TOKEN != 0 {
            return false;
        }
        before = word;
    }
    other
}

/// Words of faults that are also said of what stays as it is.
const STAYS: &str = "limit limits limited exceeded unexpected many pending progress deadline backend quota exhausted \
    conflict maintenance outage busy";

/// "rate limit", "too many requests", "try again later", "temporarily unavailable", "concurrent
/// requests", ...
fn passes(words: &[(&str, u16)], at: usize) -> bool {
    let (word, says) = words[at];
    let next = |by: usize| words.get(at + by).map_or("", |next| next.0);
    match word {
        "rate" => next(1).starts_with("limit"),
        "too" => matches!(next(1), "many" | "often"),
        "try" => next(1) == "again" && matches!(next(2), "later" | "in" | "after"),
        "retry" => matches!(next(1), "later" | "after" | "your"),
        "timed" => next(1) == "out",
        "in" => next(1) == "progress",
        "being" => next(1) == "processed",
        "already" => next(1) == "processing",
        "server" => next(1) == "error",
        "internal" => next(1) == "error" || (next(1) == "server" && next(2) == "error"),
        "slow" => next(1) == "down",
        _ => says & FAULT != 0 && !is_one_of(word, STAYS),
    }
}

/// "multi factor", "consent required", "reauthentication is required", ...
fn asks(words: &[(&str, u16)], at: usize) -> bool {
    let next = |by: usize| words.get(at + by).map_or("", |next| next.0);
    let before = at.checked_sub(1).map_or("", |at| words[at].0);
    match words[at].0 {
        "mfa" | "multifactor" => true,
        "factor" => matches!(before, "multi" | "two" | "second"),
        "consent" | "interaction" | "reauthentication" => {
            next(1) == "required" || (next(1) == "is" && next(2) == "required")
        }
        "consented" => before == "not",
        "reauthenticate" => before == "must",
        _ => false,
    }
}

/// The client, the shape of the request, or a switch at the server: the same token works when that
/// is put right.
fn names_the_request(words: &[(&str, u16)]) -> bool {
    // A grant type belongs to the request; a token type may be any token's.
    let of_request = |at: usize| {
        words[at].0 != "type" || at.checked_sub(1).is_some_and(|b| is_one_of(words[b].0, "grant response content"))
    };
    let all = words.iter().enumerate().fold(0, |all, (at, (_, says))| all | if of_request(at) { *says } else { 0 });
    let has = |bits| all & bits != 0;
    let required = |at: usize| at.checked_sub(1).is_some_and(|b| is_one_of(words[b].0, "token is parameter field are"));
    words.iter().enumerate().any(|(at, &(word, says))| match word {
        // "not supported" complains; "the supported types are" does not.
        _ if ["supported", "allowed", "enabled", "permitted", "registered"].contains(&word) => near(words, at, 3, NOT),
        _ if ["another", "different", "match"].contains(&word) => has(TOKEN | CLIENT | GRANT),
        "required" => required(at) && has(TOKEN | CLIENT),
        // "not found in the request" is a token that was not sent.
        "found" => near(words, at, 3, NOT) && words.get(at + 1).is_some_and(|next| next.0 == "in"),
        _ if ["provided", "specified", "supplied", "present", "sent"].contains(&word) => near(words, at, 2, NOT),
        "permission" | "permissions" => has(NOT),
        _ => says & CONFIG != 0,
    }) || (has(CLIENT) && (has(DEAD) || all & (NOT | LIVE) == NOT | LIVE))
}

fn near(words: &[(&str, u16)], at: usize, most: usize, bits: u16) -> bool {
    words[at.saturating_sub(most)..at].iter().any(|(_, says)| says & bits != 0)
}

fn is_of_a_dead_grant(words: &[(&str, u16)]) -> bool {
    (0..words.len()).any(|at| {
        let after = match words[at].0 {
            "refresh" if words.get(at + 1).is_some_and(|next| next.1 & TOKEN != 0) => at + 2,
            "refreshtoken" => at + 1,
            // "Invalid grant" is the name of the code in prose, and no sentence about this grant.
            _ if words[at].1 & GRANT != 0 && at.checked_sub(1).is_some_and(|before| words[before].0 == "invalid") => {
                return said_after(&words[at + 1..]);
            }
            _ if words[at].1 & GRANT != 0 => at + 1,
            _ if words[at].1 & SESSION != 0
                && words.get(at + 1).is_none_or(|next| !is_one_of(next.0, "id cookie key state")) =>
            {
                at + 1
            }
            _ => return false,
        };
        said_before(&words[..at]) || said_after(&words[after..]) || is_not_authenticated(&words[..at], &words[after..])
    })
}

/// "Failed refresh token authentication", "refresh token authentication failed".
fn is_not_authenticated(before: &[(&str, u16)], after: &[(&str, u16)]) -> bool {
    after.first().is_some_and(|word| word.0 == "authentication")
        && (before.last().is_some_and(|word| word.0 == "failed")
            || after.get(1).is_some_and(|word| is_one_of(word.0, "failed error")))
}

/// "invalid refresh token", "expired access/refresh token", "unknown or invalid refresh token".
fn said_before(words: &[(&str, u16)]) -> bool {
    const BETWEEN: &str = "the a an your this provided supplied given authorization or and access user";
    words.iter().rev().find(|(word, _)| !is_one_of(word, BETWEEN)).is_some_and(|(_, says)| says & DEAD != 0)
}

/// "refresh token has been revoked", "the refresh token passed is incorrect", "session not found".
fn said_after(words: &[(&str, u16)]) -> bool {
    const BETWEEN: &str = "passed provided supplied given you sent value that this the it was were is are has have had been already either or and currently now s user associated with";
    let Some(at) = words.iter().position(|(word, _)| !is_one_of(word, BETWEEN)) else { return false };
    let (word, says) = words[at];
    let rest = &words[at + 1..];
    if word == "could" || word == "can" || says & NOT != 0 {
        // "not found", "could not be found", "doesn t exist", "is no longer valid"
        let denied = says & NOT != 0 || rest.first().is_some_and(|next| next.1 & NOT != 0);
        return denied && rest.iter().take(4).any(|(_, says)| says & LIVE != 0);
    }
    at <= 8 && says & DEAD != 0
}

#[cfg(test)]
mod tests {
    use super::super::words::plain;
    use super::*;

    fn verdict(text: &str) -> Option<Verdict> {
        judge(&plain(text), 400).map(|(verdict, _)| verdict)
    }

    #[test]
    fn a_sentence_about_the_end_of_the_refresh_token_is_terminal() {
        for text in [
            "Invalid refresh token",
            "Invalid \"refresh_token\" in request.",
            "The refresh token has expired.",
            "session not found",
            "Refresh Token has been revoked",
            "Refresh token not found or invalid",
            "The refresh token passed is incorrect or expired.",
            "Invalid Refresh Token: Already Used",
            "Your session has ended. Please log in again.",
            "expired access/refresh token",
            "The provided authorization grant or refresh token is invalid, expired or revoked",
            "refresh token is no longer valid",
            "refresh token could not be found",
            "Refresh token doesn't exist",
            "Unknown or invalid refresh token.",
            "refreshToken is expired",
            "The refresh_token is invalid.",
            "Refresh token was already used",
            "Session not active",
            "Invalid grant: refresh token is invalid",
            "Failed refresh token authentication",
            "refresh_token_authentication_error",
        ] {
            assert_eq!(verdict(text), Some(Verdict::Terminal), "{text}");
        }
    }

    #[test]
    fn a_sentence_about_the_client_or_the_request_is_config() {
        for text in [
            "Missing required parameter: refresh_token",
            "A required parameter \"refresh_token\" is missing",
            "refresh token is required",
            "Invalid refresh token or client_id",
            "The refresh token was issued to another client",
            "missing client id",
            "invalid client secret",
            "Grant type refresh_token is not supported.",
            "Refresh token not found in request",
            "Email logins are disabled",
            "Refresh token not provided",
            "Invalid refresh token: client mismatch",
            "Invalid Params: invalid refresh_token",
            "Missing redirect_uri param is required.",
        ] {
            assert_eq!(verdict(text), Some(Verdict::Config), "{text}");
        }
    }

    #[test]
    fn a_sentence_about_load_is_transient_even_if_it_names_the_token() {
        for text in [
            "You have made too many requests continuously. Please try again after some time.",
            "Refresh token expired, please try again later",
            "Failed to refresh token because of multiple concurrent requests using the same token",
            "Service is temporarily unavailable",
        ] {
            assert_eq!(verdict(text), Some(Verdict::Transient), "{text}");
        }
    }

    #[test]
    fn what_names_no_refresh_token_says_nothing() {
        for text in [
            "Bad credentials",
            "Token id is invalid",
            "Bad Request",
            "token expired",
            "Invalid token",
            "The access token expired",
            "Unauthorized",
            "refresh token is valid",
            "refresh token has not been used",
            "An error has occurred.",
            "",
            "Session cookie invalid",
            "Could not refresh token",
            "Invalid grant",
            "Error: Invalid grant.",
        ] {
            assert_eq!(verdict(text), None, "{text}");
        }
    }

    #[test]
    fn a_plan_counts_only_where_the_status_refuses_access() {
        let text = plain("Your subscription does not include API access");
        assert_eq!(judge(&text, 403), Some((Verdict::Config, "message-names-plan")));
        assert_eq!(judge(&text, 401), None);
    }
}
