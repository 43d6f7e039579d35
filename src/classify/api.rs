//! What an API's answer says of the access token or key it was asked with. It never ends a grant:
//! only a token endpoint can.
//!
//! Evidence decides here too: a 403 may be a stale token, a plan that lacks something, or a
//! firewall's page.

use super::body::{Body, Raw, header};
use super::find_codes::{self, Found};
use super::words::is_one_of;
use super::{Answer, evidence, meanings, retry_after, who_speaks, words};

/// What an API's answer is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiVerdict {
    /// The call went through.
    Accepted,
    /// The access token or key is not accepted: another one may be.
    Refused,
    /// Too many calls for now.
    Throttled,
    /// The account's money or quota is used up.
    Billing,
    /// The account may not do this; another credential may.
    Forbidden,
    /// The API has a fault, or could not be reached: nothing about the credential.
    Fault,
    /// Nothing about the credential: the request itself was wrong, or something in between
    /// answered.
    Unrelated,
}

impl ApiVerdict {
    /// The word in the documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::Throttled => "throttled",
            Self::Billing => "billing",
            Self::Forbidden => "forbidden",
            Self::Fault => "fault",
            Self::Unrelated => "unrelated",
        }
    }
}

/// A verdict on an API's answer, with its evidence. No field holds a secret.
#[derive(Clone, Debug)]
pub struct ApiJudgement {
    /// What it is about.
    pub verdict: ApiVerdict,
    /// The error code as sent, if it may be shown; else none.
    pub code: Option<String>,
    /// How long the API asks to wait, in seconds, bounded by [`super::LONGEST_WAIT_S`].
    pub retry_after_s: Option<u64>,
    /// One line for a person, bounded and redacted.
    pub summary: String,
}

/// The token is not accepted, said under another status than 401.
const TOKEN_PHRASES: &[&str] = &[
    " wke unauthenticated ",
    " access token could not be validated ",
    " oauth2 access token could not be validated ",
    " token has expired ",
    " token is expired ",
    " token expired ",
    " token has been revoked ",
    " token is invalid ",
    " invalid access token ",
    " invalid api key ",
    " incorrect api key ",
];
const TOKEN_CODES: &str = "invalid_token token_expired token_revoked token_invalidated expired_token \
    invalid_api_key authentication_error unauthenticated";
/// Money, in words that APIs use.
const BILLING_PHRASES: &[&str] = &[
    " billing ",
    " credit balance ",
    " insufficient credits ",
    " insufficient balance ",
    " insufficient funds ",
    " out of credits ",
    " spending limit ",
    " spend limit ",
    " key limit exceeded ",
    " payment required ",
    " payment method ",
    " purchase more ",
];
const BILLING_CODES: &str = "insufficient_quota billing_error billing_hard_limit_reached billing_not_active \
    insufficient_balance insufficient_credits credit_balance_too_low payment_required \
    personal_team_blocked_spending_limit";
/// A limit that ends by itself.
const LIMIT_PHRASES: &[&str] = &[
    " rate limit ",
    " rate limited ",
    " usage limit ",
    " too many requests ",
    " quota exceeded ",
    " exceeded your current quota ",
    " request limit ",
];
const LIMIT_CODES: &str = "rate_limit_exceeded rate_limit_error rate_limited usage_limit_reached \
    usage_limit_exceeded resource_exhausted too_many_requests throttled throttling_exception";
const AGAIN_PHRASES: &[&str] = &[" try again ", " resets in ", " reset in ", " retry "];
const OVERLOAD_PHRASES: &[&str] = &[" overloaded ", " at capacity ", " over capacity "];
const PLAN_PHRASES: &[&str] = &[
    " subscription ",
    " your plan ",
    " entitlement ",
    " entitled ",
    " upgrade ",
    " not available on ",
    " tier ",
    " does not have access ",
    " not have permission ",
];

/// Reads an API's answer. `now_unix_s` is for dates in it.
pub fn judge_api(answer: &Answer<'_>, now_unix_s: u64) -> ApiJudgement {
    let raw = Raw::of(answer);
    let body = raw.parse(answer);
    let found = find_codes::find(answer, &body);
    let (verdict, why) = verdict(answer, &body, &found, raw.text);
    let code = own(&found).find_map(|code| {
        let named = [TOKEN_CODES, BILLING_CODES, LIMIT_CODES].iter().any(|known| is_one_of(&code.name, known));
        evidence::shown(code, named || (!code.is_number && meanings::is_listed(&code.name)))
    });
    let waits = matches!(verdict, ApiVerdict::Throttled | ApiVerdict::Billing | ApiVerdict::Fault);
    let retry_after_s = retry_after::read(answer, body.json.as_ref(), &found, waits, now_unix_s).filter(|_| waits);
    let status = answer.status.map_or("no answer".to_owned(), |status| format!("HTTP {status}"));
    let shown: Vec<&str> = code.as_deref().into_iter().collect();
    let summary = evidence::summary(&status, &shown, why, &found);
    ApiJudgement { verdict, code, retry_after_s, summary }
}

fn verdict(answer: &Answer<'_>, body: &Body<'_>, found: &Found<'_>, text: &str) -> (ApiVerdict, &'static str) {
    use ApiVerdict::{Accepted, Billing, Fault, Forbidden, Refused, Throttled, Unrelated};
    let Some(status) = answer.status else { return (Fault, "the API could not be reached, or its answer was lost") };
    if (200..300).contains(&status) {
        return (Accepted, "accepted");
    }
    let codes = |known: &str| own(found).any(|code| is_one_of(&code.name, known));
    let says = |phrases: &[&str]| {
        found.messages.iter().any(|message| phrases.iter().any(|phrase| message.plain().contains(phrase)))
            || own(found).any(|code| {
                let plain = words::plain(&code.sent);
                phrases.iter().any(|phrase| plain.contains(phrase))
            })
    };
    let limited = || codes(LIMIT_CODES) || says(LIMIT_PHRASES);
    let billing = || codes(BILLING_CODES) || says(BILLING_PHRASES);
    // A page is not the API's word, whatever its status; only a throttle and a fault mean the same
    // from a proxy.
    let page = who_speaks::read(answer, status, body, text).is_some();
    match status {
        429 if says(OVERLOAD_PHRASES) => (Fault, "the API is overloaded"),
        429 if !page && billing() => (Billing, "the account's quota or money is used up"),
        429 => (Throttled, "too many calls for now"),
        408 | 425 | 500..=599 => (Fault, "a passing fault of the API"),
        _ if page => (Unrelated, "answered by something before the API, which says nothing of the token"),
        401 => (Refused, "the API does not accept this access token"),
        402 if limited() && says(AGAIN_PHRASES) => (Throttled, "a limit that ends by itself"),
        402 => (Billing, "the account has to be paid for"),
        403 if codes(TOKEN_CODES) || says(TOKEN_PHRASES) || challenges(answer) => {
            (Refused, "the API does not accept this access token")
        }
        400 | 403 | 404 if billing() => (Billing, "the account's quota or money is used up"),
        400 | 403 | 404 if limited() => (Throttled, "a limit that ends by itself"),
        400 if codes(TOKEN_CODES) || says(TOKEN_PHRASES) => (Refused, "the API does not accept this access token"),
        403 if says(PLAN_PHRASES) => (Forbidden, "the account's plan or rights do not cover this"),
        _ => (Unrelated, "nothing about the credential"),
    }
}

/// The API's own codes. What it quotes of somebody else's answer is about somebody else's
/// credential.
fn own<'f>(found: &'f Found<'_>) -> impl Iterator<Item = &'f find_codes::Code<'f>> {
    found.codes.iter().filter(|code| !code.is_quoted())
}

/// RFC 6750 section 3.1: the token in the request is named as what is wrong.
fn challenges(answer: &Answer<'_>) -> bool {
    header(answer, "www-authenticate").is_some_and(|challenge| challenge.contains("invalid_token"))
}

#[cfg(test)]
mod tests {
    use super::ApiVerdict::{Accepted, Billing, Fault, Forbidden, Refused, Throttled, Unrelated};
    use super::*;

    fn judged(status: u16, headers: &[(&str, &str)], body: &str) -> ApiJudgement {
        let headers: Vec<_> = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        judge_api(
            &Answer {
                status: (status != 0).then_some(status),
                headers: &headers,
                body,
                body_complete: true,
                body_lossy: false,
                transport_error: None,
            },
            1_784_541_600,
        )
    }

    #[test]
    fn what_apis_answer_is_told_apart() {
        // From hermes-behaviour.md sections 4.8 and 4.9, and the incidents it names.
        for (status, body, wanted) in [
            (200, "{}", Accepted),
            (0, "", Fault),
            (401, r#"{"error":{"code":"token_invalidated"}}"#, Refused),
            (401, "", Refused),
            (402, r#"{"error":"payment required"}"#, Billing),
            (402, r#"{"error":{"message":"Usage limit reached. Try again in 5 minutes."}}"#, Throttled),
            (403, r#"{"error":"[WKE=unauthenticated:xyz] OAuth2 access token could not be validated"}"#, Refused),
            (403, r#"{"code":"personal-team-blocked:spending-limit"}"#, Billing),
            (403, r#"{"error":{"message":"Your subscription does not include Grok Code"}}"#, Forbidden),
            (403, r#"{"error":"forbidden"}"#, Unrelated),
            (404, r#"{"error":{"message":"insufficient credits"}}"#, Billing),
            (404, r#"{"error":{"message":"model not found"}}"#, Unrelated),
            (400, r#"{"error":{"type":"invalid_request_error","message":"Your credit balance is too low"}}"#, Billing),
            (400, r#"{"error":{"code":"rate_limit_exceeded"}}"#, Throttled),
            (400, r#"{"error":{"message":"messages: field required"}}"#, Unrelated),
            (429, "", Throttled),
            (429, r#"{"error":{"code":"insufficient_quota"}}"#, Billing),
            (429, r#"{"error":{"message":"The model is overloaded"}}"#, Fault),
            (500, "", Fault),
            (529, r#"{"type":"overloaded_error"}"#, Fault),
        ] {
            assert_eq!(judged(status, &[], body).verdict, wanted, "{status} {body}");
        }
    }

    #[test]
    fn a_page_says_nothing_of_a_token() {
        let html = [("content-type", "text/html")];
        for status in [401, 403] {
            assert_eq!(judged(status, &html, "<html>Just a moment</html>").verdict, Unrelated, "{status}");
        }
        assert_eq!(judged(403, &[("www-authenticate", r#"Bearer error="invalid_token""#)], "{}").verdict, Refused);
    }

    #[test]
    fn the_time_that_is_named_is_read_and_bounded() {
        let wait = |headers: &[(&str, &str)], body| judged(429, headers, body).retry_after_s;
        assert_eq!(wait(&[("retry-after", "30")], ""), Some(30));
        assert_eq!(wait(&[], r#"{"error":{"resets_at":1784541660}}"#), Some(60));
        assert_eq!(wait(&[("retry-after", "99999999")], ""), Some(super::super::LONGEST_WAIT_S));
        // A relative number in a header for moments is not the year 1970.
        assert_eq!(wait(&[("x-ratelimit-reset", "5")], ""), None);
        assert_eq!(wait(&[("retry-after", "Mon, 20 Jul 2026 10:01:00 GMT")], ""), Some(60));
    }

    #[test]
    fn no_word_of_an_answer_is_shown_that_could_be_a_secret() {
        let shown = judged(401, &[], r#"{"error":{"code":"sk-live-123","message":"Incorrect API key: sk-live-123"}}"#);
        assert!(!shown.summary.contains("sk-live") && shown.code.is_none(), "{shown:?}");
    }
}
