//! What an error code says wherever it comes from: the codes of the RFCs first, then the words a
//! code is made of.

use super::Verdict;
use super::words::is_one_of;
use super::words::{
    self, CLIENT, CONFIG, DEAD, FAULT, GONE, GRANT, INTERACT, LIVE, NOT, OTHER, PLAN, REFRESH, SESSION, TOKEN, USER,
};

/// How much a code decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    /// Alone, whatever is written beside it.
    Firm,
    /// Unless the message beside it says something clearer: servers use the code for several
    /// things.
    Soft,
}

/// What a code says, and which list says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    Says(Verdict, Weight, &'static str),
    /// No more than the status says: `unauthorized`, `Bad Request`.
    Status,
    Unknown,
}

use Meaning::{Says, Status};
use Verdict::{Config, Interaction, Terminal, Transient};
use Weight::{Firm, Soft};

/// The meaning of a code in snake case.
pub(super) fn meaning(code: &str) -> Meaning {
    in_table(listed_name(code)).or_else(|| of_words(code)).unwrap_or(Meaning::Unknown)
}

/// The name in the table: `invalid_grant` of `invalid_grant_exception`, but `server_error` as it
/// is.
pub(super) fn listed_name(code: &str) -> &str {
    if is_listed(code) {
        return code;
    }
    ["_exception", "_error", "_fault"].iter().find_map(|suffix| code.strip_suffix(suffix)).unwrap_or(code)
}

/// Whether the table names this very code, so that it may be shown as it is.
pub(super) fn is_listed(code: &str) -> bool {
    in_table(code).is_some()
}

/// Whether the table names this very code, and it says more than the status.
pub(super) fn is_decisive(code: &str) -> bool {
    matches!(in_table(code), Some(Says(..)))
}

fn in_table(code: &str) -> Option<Meaning> {
    CODES.iter().find(|(codes, _)| is_one_of(code, codes)).map(|(_, meaning)| *meaning)
}

#[rustfmt::skip]
const CODES: &[(&str, Meaning)] = &[
    ("about_blank api authentication authentication_failed bad_request client_error error exception fail \
      failed failure false forbidden none not_authorized not_found null ok success true unauthenticated \
      unauthorised unauthorized unknown unknown_error", Status),
    ("invalid_request_object invalid_request_uri request_not_supported request_uri_not_supported", Says(Config, Firm, "oidc")),
    ("account_selection_required consent_required interaction_required login_required \
      unmet_authentication_requirements", Says(Interaction, Firm, "oidc")),
    ("invalid_client invalid_scope unauthorized_client unsupported_grant_type unsupported_response_type", Says(Config, Firm, "rfc6749")),
    ("invalid_grant", Says(Terminal, Firm, "rfc6749")),
    ("server_error temporarily_unavailable", Says(Transient, Firm, "rfc6749")),
    // `access_denied` is an error of the authorization endpoint; on a refresh a policy refused it,
    // and a login meets the same policy.
    ("access_denied invalid_request", Says(Config, Soft, "rfc6749")),
    ("insufficient_scope", Says(Config, Firm, "rfc6750")),
    // On a refresh the refresh token is the only token sent; but a gateway may ask for another one.
    ("invalid_token", Says(Terminal, Soft, "rfc6750")),
    // An error of the revocation endpoint; who sends it here wraps what another service said of the
    // token.
    ("unsupported_token_type", Says(Config, Soft, "rfc7009")),
    ("invalid_client_metadata invalid_redirect_uri", Says(Config, Firm, "rfc7591")),
    ("authorization_pending slow_down", Says(Transient, Firm, "rfc8628")),
    ("expired_token", Says(Terminal, Soft, "rfc8628")),
    ("invalid_target", Says(Config, Firm, "rfc8707")),
    ("invalid_authorization_details", Says(Config, Firm, "rfc9396")),
    // RFC 9449 8: the server wants its nonce in the proof. No proof can be made here, so the next
    // request would be no other, and some servers count each as a use of the token.
    ("invalid_dpop_proof use_dpop_nonce", Says(Config, Firm, "rfc9449")),
    ("insufficient_user_authentication", Says(Interaction, Firm, "rfc9470")),
    ("api_error bad_gateway gateway_timeout internal internal_failure internal_server_error overloaded \
      request_timeout resource_exhausted service_unavailable too_many_requests unavailable", Says(Transient, Firm, "fault-words")),
    ("payment_required", Says(Config, Firm, "plan-words")),
    // Schwab quotes it from the service behind its token endpoint: the refresh token is over its 7
    // days, or was replaced.
    ("refresh_token_authentication_error", Says(Terminal, Firm, "dead-token-words")),
    ("invalid_argument permission_denied validation", Says(Config, Soft, "request-words")),
];

/// A code nobody listed, by its words. What keeps the token is looked for first.
fn of_words(code: &str) -> Option<Meaning> {
    let mut all = 0;
    let mut denied_life = false;
    let mut gone = false;
    for word in code.split('_') {
        let says = words::meaning(word);
        denied_life |= all & NOT != 0 && says & LIVE != 0;
        gone |= says & GONE != 0 || (all & NOT != 0 && matches!(word, "found" | "exist" | "exists"));
        all |= says;
    }
    let has = |bits| all & bits != 0;
    let dead = has(DEAD) || denied_life;
    let subject = has(GRANT | SESSION | TOKEN | REFRESH);
    Some(if has(PLAN) {
        Says(Config, Firm, "plan-words")
    } else if has(CONFIG) || (has(CLIENT) && (dead || has(NOT))) {
        Says(Config, Firm, "client-words")
    } else if has(FAULT) {
        Says(Transient, Firm, "fault-words")
    } else if has(INTERACT) {
        Says(Interaction, Firm, "interaction-words")
    } else if has(REFRESH | GRANT) && dead {
        Says(Terminal, Firm, "dead-token-words")
    } else if has(SESSION | TOKEN) && dead && !has(OTHER) {
        // A session is what the refresh token stands for; a bare "token" might be another one.
        Says(Terminal, if has(SESSION) { Firm } else { Soft }, "dead-token-words")
    } else if has(USER) && !subject && gone {
        Says(Terminal, Firm, "no-such-user-words")
    } else if has(USER) && !subject && dead {
        Says(Config, Soft, "inactive-user-words")
    } else {
        return None;
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(code: &str) -> Option<Verdict> {
        match meaning(&words::snake(code)) {
            Says(verdict, ..) => Some(verdict),
            _ => None,
        }
    }

    #[test]
    fn the_table_means_each_code_once() {
        let mut codes: Vec<&str> = CODES.iter().flat_map(|(codes, _)| codes.split(' ')).collect();
        let all = codes.len();
        codes.sort();
        codes.dedup();
        assert_eq!((codes.len(), codes.contains(&"")), (all, false));
    }

    #[test]
    fn words_that_name_the_refresh_token_and_its_end_are_terminal() {
        for code in [
            "refresh_token_reused",
            "refresh_token_expired",
            "refresh_token_invalidated",
            "refresh_token_already_used",
            "refresh_token_not_found",
            "BAD_REFRESH_TOKEN",
            "INVALID_REFRESH_TOKEN",
            "bad_refresh_token",
            "session_invalid",
            "session_not_found",
            "session_expired",
            "grant_revoked",
            "unauthorized.bad_refresh_token",
            "token_expired",
            "token_revoked",
            "token_inactive",
            "token_not_valid",
            "InvalidGrantException",
            "ExpiredTokenException",
            "RefreshTokenReuseException",
            "user_not_found",
            "keymanagement.service.invalid_refresh_token",
        ] {
            assert_eq!(verdict(code), Some(Terminal), "{code}");
        }
    }

    #[test]
    fn words_about_the_client_or_the_request_keep_the_token() {
        for code in [
            "invalid_client_id",
            "bad_client_secret",
            "incorrect_client_credentials",
            "redirect_uri_mismatch",
            "unsupported_grant",
            "missing_refresh_token",
            "refresh_token_client_mismatch",
            "invalid_grant_type",
            "invalid_token_type",
            "client_not_found",
            "validation_error",
            "InvalidParameterException",
            "subscription_required",
            "plan_not_supported",
            "user_disabled",
            "unverified_user_email",
            "personal-team-blocked:spending-limit",
            "invalid_request_error",
        ] {
            assert_eq!(verdict(code), Some(Config), "{code}");
        }
    }

    #[test]
    fn words_about_a_fault_or_a_limit_are_transient() {
        for code in [
            "rate_limit_error",
            "ratelimited",
            "ThrottlingException",
            "TooManyRequestsException",
            "InternalErrorException",
            "service_unavailable_error",
            "overloaded_error",
            "LOGIN_RATE_EXCEEDED",
            "concurrent_refresh",
            "RESOURCE_EXHAUSTED",
        ] {
            assert_eq!(verdict(code), Some(Transient), "{code}");
        }
    }

    #[test]
    fn other_tokens_and_unknown_words_decide_nothing() {
        for code in [
            "access_token_expired",
            "invalid_id_token",
            "expired_code",
            "BadCredentialsException",
            "weird_failure",
            "invalid",
            "unauthorized",
            "Bad Request",
            "csrf_token_invalid",
        ] {
            assert_eq!(verdict(code), None, "{code}");
        }
        assert_eq!(verdict("mfa_required"), Some(Interaction));
        assert_eq!(
            (listed_name("server_error"), listed_name("invalid_grant_exception")),
            ("server_error", "invalid_grant")
        );
    }
}
