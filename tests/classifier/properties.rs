//! Whatever a server sends, the classifier keeps its promises: no panic, no token called dead by a page, a throttle,
//! a server fault or a lost answer, no success without a token, and no secret in the evidence.

use std::sync::LazyLock;

use lazaretto::classify::{Answer, Judgement, LONGEST_WAIT_S, Rules, Verdict, classify};
use lazaretto::provider::Catalog;
use proptest::prelude::*;
use serde_json::{Value, json};

/// The generic rules and those of every profile.
static RULES: LazyLock<Vec<Rules>> = LazyLock::new(|| {
    let catalog = Catalog::new(None).expect("the built-in profiles");
    let read = |id: &String| catalog.profile(id).expect("a good profile").expect("it is there").rules;
    std::iter::once(Rules::default()).chain(catalog.ids().iter().map(read)).collect()
});

/// Bodies of real answers: the mutations start from what servers send.
static BODIES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let lines = [
        include_str!("../cases/refresh-failures.jsonl"),
        include_str!("../cases/more-answers.jsonl"),
        include_str!("../cases/field-answers.jsonl"),
    ];
    let cases =
        lines.iter().flat_map(|text| text.lines()).map(|line| serde_json::from_str::<Value>(line).expect("a case"));
    let body = |case: Value| case["body"].as_str().map(ToOwned::to_owned).filter(|body| body.len() < 5_000);
    cases.filter_map(body).collect()
});

/// Codes that decide whatever is written beside them. `invalid_grant` is none: it stands for whatever went wrong.
const DECISIVE: [(&str, Verdict); 9] = [
    ("invalid_client", Verdict::Config),
    ("unauthorized_client", Verdict::Config),
    ("unsupported_grant_type", Verdict::Config),
    ("invalid_scope", Verdict::Config),
    ("temporarily_unavailable", Verdict::Transient),
    ("server_error", Verdict::Transient),
    ("interaction_required", Verdict::Interaction),
    ("login_required", Verdict::Interaction),
    ("refresh_token_reused", Verdict::Terminal),
];

/// What servers say of faults of their own.
const FAULTS: [&str; 36] = [
    "The service has encountered an internal error",
    "Internal Server Error",
    "internal error",
    "An internal failure occurred",
    "An unexpected error occurred",
    "Unexpected server error",
    "Unknown error",
    "An unhandled exception has occurred on the server",
    "Server error",
    "system error",
    "The service is temporarily unavailable",
    "Service Unavailable",
    "temporarily unable to process the request",
    "Temporary failure in name resolution",
    "a temporary problem",
    "Please try again later",
    "try again in a few minutes",
    "Please retry your request",
    "rate limit exceeded",
    "Too many requests",
    "Quota exceeded",
    "slow down",
    "The request timed out",
    "i/o timeout",
    "upstream request timeout",
    "504 Gateway Timeout",
    "502 Bad Gateway",
    "upstream returned HTTP 503",
    "context deadline exceeded",
    "database error",
    "connection refused",
    "could not connect to the session store",
    "the authorization server is overloaded",
    "down for maintenance",
    "another refresh is in progress",
    "java.lang.NullPointerException",
];

/// What servers say of tokens that are over, with words of faults in a harmless sense among them.
const ENDS: [&str; 24] = [
    "Refresh token expired",
    "Token has been expired or revoked.",
    "Unknown or invalid refresh token.",
    "The refresh token was already used",
    "Refresh token not found in database",
    "Maximum allowed refresh token reuse exceeded",
    "Session not active",
    "Session doesn't have required client",
    "Stale token",
    "Bad Request",
    "grant request is invalid",
    "The provided authorization grant is invalid, expired, revoked, does not match the redirection URI used in the authorization request, or was issued to another client.",
    "The provided grant has expired. Please re-authenticate and try again. Current time: 1717837319",
    "The provided grant has been revoked. Please reauthenticate and try again.",
    "Error: the refresh token has been revoked",
    "Token error: the refresh token is invalid",
    "Errors.User.RefreshToken.Invalid",
    "Your session has timed out. Please log in again.",
    "Session idle timeout",
    "The temporary session has expired",
    "The refresh token was temporarily valid and has expired",
    "The refresh token was used too many times",
    "The refresh token is no longer available",
    "inactive user",
];

/// A sentence as servers join it to others.
fn joined(before: &str, sentence: &str, after: &str) -> String {
    format!(
        "{before}{}{sentence}{}{after}",
        if before.is_empty() { "" } else { ". " },
        if after.is_empty() { "" } else { ". " }
    )
}

/// `invalid_grant` with that description, wherever servers put the two.
fn bad_grants(description: &str) -> Vec<String> {
    let text = json!({ "error": "invalid_grant", "error_description": description }).to_string();
    vec![
        text.clone(),
        json!({ "error": { "code": "invalid_grant", "message": format!("{description} .") } }).to_string(),
        json!({ "errors": [{ "errorType": "invalid_grant", "message": description }] }).to_string(),
        json!({ "error": "invalid_grant", "error_description": "The refresh token is invalid.", "hint": description })
            .to_string(),
        json!({ "error": "invalid_request", "error_description": format!("upstream: {text}") }).to_string(),
        json!({ "error": "invalid_grant", "error_description": "Bad", "details": [{ "message": description }] })
            .to_string(),
    ]
}

#[derive(Debug, Clone)]
struct Sent {
    status: Option<u16>,
    headers: Vec<(String, String)>,
    body: String,
    body_complete: bool,
    body_lossy: bool,
    transport_error: Option<String>,
}

impl Sent {
    fn new(status: u16, body: impl Into<String>) -> Self {
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        Self {
            status: Some(status),
            headers,
            body: body.into(),
            body_complete: true,
            body_lossy: false,
            transport_error: None,
        }
    }

    fn judged(&self, rules: &Rules) -> Judgement {
        let answer = Answer {
            status: self.status,
            headers: &self.headers,
            body: &self.body,
            body_complete: self.body_complete,
            body_lossy: self.body_lossy,
            transport_error: self.transport_error.as_deref(),
        };
        classify(rules, &answer, 1_790_000_000)
    }
}

fn any_rules() -> impl Strategy<Value = &'static Rules> {
    (0..RULES.len()).prop_map(|at| &RULES[at])
}

fn real_body() -> impl Strategy<Value = String> {
    (0..BODIES.len()).prop_map(|at| BODIES[at].clone())
}

/// A real body, cut, glued to another, put in a page, or anything at all.
fn any_body() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => real_body(),
        2 => (real_body(), any::<prop::sample::Index>()).prop_map(|(body, at)| {
            let cuts: Vec<usize> = body.char_indices().map(|(at, _)| at).chain([body.len()]).collect();
            body[..cuts[at.index(cuts.len())]].to_owned()
        }),
        1 => (real_body(), real_body()).prop_map(|(one, other)| one + &other),
        1 => any_json(3).prop_map(|value| value.to_string()),
        1 => ".{0,200}",
        1 => r#"[\[\]{}":,a-z0-9\\ <>=&%+]{0,120}"#,
    ]
}

fn any_json(depth: u32) -> impl Strategy<Value = Value> {
    let names = prop::sample::select(vec![
        "error",
        "errors",
        "code",
        "message",
        "type",
        "status",
        "error_description",
        "access_token",
        "refresh_token",
        "expires_in",
        "data",
        "errcode",
        "__type",
        "detail",
        "retry_after",
        "field",
        "x",
    ]);
    let words = prop::sample::select(vec![
        "invalid_grant",
        "Invalid refresh token",
        "expired",
        "",
        "temporarily_unavailable",
        "invalid_request",
        "token",
        "-1",
        "1e999",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        words.prop_map(Value::from),
        ".{0,20}".prop_map(Value::from)
    ];
    leaf.prop_recursive(depth, 24, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((names.clone(), inner), 0..5).prop_map(|members| Value::Object(
                members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
            )),
        ]
    })
}

fn any_headers() -> impl Strategy<Value = Vec<(String, String)>> {
    let name = prop::sample::select(vec![
        "Content-Type",
        "retry-after",
        "Retry-After-Ms",
        "www-authenticate",
        "location",
        "server",
        "cf-mitigated",
        "x-amzn-errortype",
        "x-ratelimit-reset",
        "proxy-authenticate",
    ]);
    let value = prop_oneof![
        prop::sample::select(vec![
            "application/json",
            "text/html",
            "text/plain",
            "application/x-www-form-urlencoded",
            "120",
            "-1",
            "Fri, 31 Dec 1999 23:59:59 GMT",
            "Bearer error=\"invalid_grant\"",
            "https://u:p@host.example/x?y",
            "InvalidGrantException:",
            "9999999999",
        ])
        .prop_map(ToOwned::to_owned),
        "[ -~]{0,40}"
    ];
    prop::collection::vec((name.prop_map(ToOwned::to_owned), value), 0..4)
}

fn any_answer() -> impl Strategy<Value = Sent> {
    let status = prop_oneof![
        1 => Just(None),
        8 => prop::sample::select(vec![200, 201, 302, 307, 400, 401, 403, 404, 408, 409, 429, 500, 502, 503]).prop_map(Some),
        1 => any::<u16>().prop_map(Some)
    ];
    let transport = prop_oneof![4 => Just(None), 1 => prop::sample::select(vec!["dns", "tls", "reset", "odd"]).prop_map(|kind| Some(kind.to_owned()))];
    (status, any_headers(), any_body(), any::<bool>(), any::<bool>(), transport).prop_map(
        |(status, headers, body, body_complete, body_lossy, transport_error)| Sent {
            status,
            headers,
            body,
            body_complete,
            body_lossy,
            transport_error,
        },
    )
}

/// Long enough that no words of our own contain it: letters, digits and the signs tokens are made of.
fn secret() -> impl Strategy<Value = String> {
    prop_oneof![
        "[A-Za-z0-9_-]{12,60}",
        "[a-z]{12,30}",
        "[A-Z]{12,30}",
        "[a-z]{5,9}_[a-z]{5,9}_[a-z]{5,9}",
        "[0-9]{10,30}",
        "rt[.][0-9a-f]{16}",
        "eyJ[A-Za-z0-9]{10,20}[.][A-Za-z0-9_-]{10,30}[.][A-Za-z0-9_-]{10}",
        "[a-z]{6,10}@[a-z]{6,10}[.]test",
        "AADSTS[0-9]{11,14}",
    ]
}

/// The value with the secret put into the text that `at` points to, instead of it, within it or as a member.
fn planted(value: &mut Value, secret: &str, at: &mut usize, how: u8) -> bool {
    match value {
        Value::String(text) => {
            if *at > 0 {
                *at -= 1;
                return false;
            }
            *text = match how {
                0 => secret.to_owned(),
                1 => format!("{text} {secret}"),
                2 => format!("{text}: '{secret}'."),
                _ => format!("token={secret}&x {text}"),
            };
            true
        }
        Value::Array(items) => items.iter_mut().any(|item| planted(item, secret, at, how)),
        Value::Object(members) => members.values_mut().any(|member| planted(member, secret, at, how)),
        _ => false,
    }
}

fn reordered(value: &Value, indent: bool) -> String {
    let space = if indent { "\n \t" } else { "" };
    match value {
        Value::Object(members) => {
            let members: Vec<_> = members
                .iter()
                .rev()
                .map(|(name, value)| {
                    format!("{space}{}:{space}{}", Value::from(name.clone()), reordered(value, indent))
                })
                .collect();
            format!("{{{}{space}}}", members.join(","))
        }
        Value::Array(items) => {
            format!("[{}]", items.iter().map(|item| reordered(item, indent)).collect::<Vec<_>>().join(","))
        }
        value => value.to_string(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_answer_makes_it_panic_or_break_a_bound(rules in any_rules(), sent in any_answer()) {
        let judged = sent.judged(rules);
        prop_assert!(judged.summary.len() <= 200 && !judged.summary.contains('\n'));
        prop_assert!(judged.retry_after_s.is_none_or(|wait| wait <= LONGEST_WAIT_S));
        prop_assert!(judged.code.is_none_or(|code| code.len() <= 64));
        prop_assert!(!judged.rule.is_empty() && !judged.steps.is_empty());
    }

    #[test]
    fn only_a_4xx_or_a_2xx_of_the_server_itself_is_terminal(rules in any_rules(), sent in any_answer()) {
        let judged = sent.judged(rules);
        if judged.verdict == Verdict::Terminal {
            let status = sent.status.unwrap_or(0);
            prop_assert!(sent.transport_error.is_none() && matches!(status, 200..=299 | 400..=499) && !matches!(status, 407 | 408 | 429));
            let page = sent.body.trim_start().to_lowercase().starts_with("<html");
            prop_assert!(!page);
        }
    }

    #[test]
    fn a_page_is_never_terminal(rules in any_rules(), inner in any_body(), status in 100_u16..600, label in prop::sample::select(vec!["text/html", "application/json", ""])) {
        for page in [format!("<html><body>{inner}</body></html>"), format!("\u{feff}\n<!DOCTYPE html>{inner}"), format!("<title>x</title>{inner}")] {
            let mut sent = Sent::new(status, page);
            sent.headers = vec![("Content-Type".into(), label.into())];
            prop_assert_ne!(sent.judged(rules).verdict, Verdict::Terminal);
        }
    }

    /// A throttle a server fault and a lost answer are never terminal.
    #[test]
    fn throttles_server_faults_and_lost_answers_are_not_terminal(rules in any_rules(), body in any_body(), status in 500_u16..600) {
        for status in [429, status] {
            prop_assert_ne!(Sent::new(status, body.clone()).judged(rules).verdict, Verdict::Terminal);
        }
        for status in [None, Some(400), Some(200)] {
            let lost = Sent { status, transport_error: Some("reset".into()), ..Sent::new(400, body.clone()) };
            prop_assert_eq!(lost.judged(rules).verdict, Verdict::Transient);
        }
    }

    #[test]
    fn refreshed_means_a_usable_access_token(rules in any_rules(), sent in any_answer()) {
        let judged = sent.judged(rules);
        let access_token = judged.tokens.as_ref().and_then(|tokens| tokens.access_token.as_ref());
        prop_assert_eq!(judged.verdict == Verdict::Refreshed, access_token.is_some());
        prop_assert!(access_token.is_none_or(|token| !token.expose().trim().is_empty()));
        if judged.verdict == Verdict::Refreshed {
            prop_assert!(matches!(sent.status, Some(200..=299)));
        }
    }

    #[test]
    fn header_case_key_order_and_white_space_do_not_matter(rules in any_rules(), sent in any_answer(), indent in any::<bool>()) {
        let before = sent.judged(rules);
        let mut shouted = sent.clone();
        shouted.headers.iter_mut().for_each(|(name, _)| *name = name.to_uppercase());
        prop_assert_eq!(shouted.judged(rules).verdict, before.verdict);
        if let Ok(value) = serde_json::from_str::<Value>(&sent.body) {
            let canonical = Sent { body: value.to_string(), ..sent.clone() };
            let after = Sent { body: reordered(&value, indent), ..sent.clone() };
            prop_assert_eq!(after.judged(rules).verdict, canonical.judged(rules).verdict, "{}", after.body);
        }
    }

    #[test]
    fn prose_does_not_matter_beside_a_code_that_decides(
        at in 0..DECISIVE.len(), status in prop::sample::select(vec![400, 401, 403]), prose in prop_oneof![
            ".{0,80}".boxed(), real_body().boxed(),
            prop::sample::select(vec!["Refresh token expired", "session not found", "Too many requests", "client mismatch", "consent required"]).prop_map(ToOwned::to_owned).boxed(),
        ],
    ) {
        let (code, verdict) = DECISIVE[at];
        for body in [json!({"error": code, "error_description": prose}), json!({"error": {"code": code, "message": format!("{prose} .")}})] {
            prop_assert_eq!(Sent::new(status, body.to_string()).judged(&RULES[0]).verdict, verdict, "{}", body);
        }
    }

    #[test]
    fn no_description_that_names_a_fault_makes_a_grant_dead(
        rules in any_rules(), status in prop::sample::select(vec![200, 400, 401, 403]), at in 0..FAULTS.len(), shout in any::<bool>(),
        before in prop_oneof![Just(String::new()), prop::sample::select(ENDS.to_vec()).prop_map(ToOwned::to_owned), "[a-z ]{0,400}"],
        after in prop_oneof![Just(String::new()), prop::sample::select(ENDS.to_vec()).prop_map(ToOwned::to_owned), "[a-z ]{0,400}"],
    ) {
        let fault = if shout { FAULTS[at].to_uppercase() } else { FAULTS[at].to_owned() };
        for body in bad_grants(&joined(&before, &fault, &after)) {
            let judged = Sent::new(status, body.as_str()).judged(rules);
            prop_assert_ne!(judged.verdict, Verdict::Terminal, "{}: {}", body, judged.rule);
        }
    }

    #[test]
    fn a_description_of_the_tokens_end_leaves_the_grant_dead(
        status in prop::sample::select(vec![400, 401, 403]), one in prop::sample::select(ENDS.to_vec()), other in prop::sample::select(ENDS.to_vec()),
    ) {
        for body in bad_grants(one).into_iter().chain(bad_grants(&joined(one, other, ""))) {
            let judged = Sent::new(status, body.as_str()).judged(&RULES[0]);
            prop_assert_eq!(judged.verdict, Verdict::Terminal, "{}: {}", body, judged.rule);
        }
    }

    /// Prose beside a bad grant never makes a success and another client keeps it.
    #[test]
    fn prose_beside_a_bad_grant_never_makes_a_success(
        rules in any_rules(), status in prop::sample::select(vec![400, 401, 403]), prose in prop_oneof![".{0,80}", real_body()],
        client in prop::sample::select(vec!["Token was not issued to this client", "The refresh token was issued to another client", "client_id mismatch"]),
    ) {
        for body in bad_grants(&prose) {
            prop_assert_ne!(Sent::new(status, body).judged(rules).verdict, Verdict::Refreshed);
        }
        for body in bad_grants(client) {
            let judged = Sent::new(status, body.as_str()).judged(rules);
            prop_assert_ne!(judged.verdict, Verdict::Terminal, "{}: {}", body, judged.rule);
        }
    }

    #[test]
    fn an_answer_that_was_cut_is_never_terminal(
        rules in any_rules(), body in real_body(), at in any::<prop::sample::Index>(), status in prop::sample::select(vec![200, 400, 401, 403]),
        told in any::<bool>(),
    ) {
        let body = body.trim();
        let cuts: Vec<usize> = body.char_indices().map(|(at, _)| at).filter(|at| *at > 0).collect();
        prop_assume!(!cuts.is_empty() && (body.starts_with('{') || body.starts_with('[')));
        let mut cut = Sent::new(status, &body[..cuts[at.index(cuts.len())]]);
        // Where only the end of the connection ends a body, nobody can tell that it came too early.
        cut.body_complete = told;
        let whole = serde_json::from_str::<Value>(&cut.body).is_ok();
        let judged = cut.judged(rules);
        let is_json = serde_json::from_str::<Value>(body).is_ok();
        prop_assert!(judged.verdict != Verdict::Terminal || whole || !is_json, "{}: {}", cut.body, judged.rule);
    }

    #[test]
    fn a_secret_anywhere_in_a_body_is_not_in_the_evidence(
        rules in any_rules(), body in real_body(), secret in secret(), at in any::<prop::sample::Index>(), how in 0_u8..4,
        status in prop::sample::select(vec![200, 302, 400, 401, 403, 429, 500]), cut in any::<bool>(),
    ) {
        let mut texts = Vec::new();
        if let Ok(mut value) = serde_json::from_str::<Value>(&body) {
            let mut at = at.index(12);
            if planted(&mut value, &secret, &mut at, how) {
                texts.push(value.to_string());
            }
            if let Value::Object(members) = &mut value {
                members.insert(secret.clone(), json!("invalid_grant"));
                members.insert("suberror".into(), json!(secret));
                members.insert("error_codes".into(), json!([secret]));
                texts.push(value.to_string());
            }
        }
        texts.push(format!("{body}{secret}"));
        texts.push(format!("error={secret}&error_description={secret}"));
        texts.push(json!({"error": secret, "error_description": secret, "access_token": secret, "refresh_token": secret}).to_string());
        texts.push(json!({"access_token": secret, "refresh_token": secret, "token_type": secret, "scope": secret}).to_string());
        for text in texts {
            let sent = Sent { body_complete: !cut, ..Sent::new(status, text) };
            let judged = sent.judged(rules);
            let evidence = format!("{judged:?}");
            prop_assert!(!evidence.contains(&secret), "{}\n{}", sent.body, evidence);
        }
    }
}
