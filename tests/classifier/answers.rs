//! Every known answer gets its verdict: the cases of `tests/cases/` against the classifier, with the confusion table
//! and the rules of other systems beside ours (`cargo test --workspace --test classifier -- --nocapture`).

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::LazyLock;

use lazaretto::classify::{Answer, Judgement, Rules, Verdict, classify};
use lazaretto::provider::Catalog;
use serde_json::{Value, json};

const REPORTED: &str = include_str!("../cases/refresh-failures.jsonl");
const MORE: &str = include_str!("../cases/more-answers.jsonl");
const FIELD: &str = include_str!("../cases/field-answers.jsonl");
const NOW: u64 = 1_790_000_000;

/// Prints past the capture of the test harness: these tables are what the tests are read for.
macro_rules! show {
    ($($arguments:tt)*) => { writeln!(std::io::stderr(), $($arguments)*).expect("standard error") };
}

/// Cases that the bytes do not decide, with the reason. At most three.
const UNDECIDABLE: [(&str, &str); 1] = [(
    "micronaut-500-for-dead-token",
    "the very bytes of soundcloud-500-refresh, where the token was good: 500, no header, no body",
)];

struct Case {
    id: String,
    provider: String,
    status: Option<u16>,
    headers: Vec<(String, String)>,
    body: String,
    body_complete: bool,
    transport_error: Option<String>,
    verdict: String,
    accept: Vec<String>,
    /// What else the answer should be read to say, where the case states it: `in_doubt`, `retry_after_s`, ...
    also: Value,
}

fn cases(text: &str) -> Vec<Case> {
    let text_of = |value: &Value| value.as_str().map(ToOwned::to_owned);
    let case = |line: &str| {
        let case: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let needed = |name: &str| text_of(&case[name]).unwrap_or_else(|| panic!("no {name}: {line}"));
        Case {
            id: needed("id"),
            provider: needed("provider"),
            status: case["status"].as_u64().and_then(|status| status.try_into().ok()),
            headers: case["headers"]
                .as_object()
                .into_iter()
                .flatten()
                .filter_map(|(name, value)| Some((name.clone(), text_of(value)?)))
                .collect(),
            body: needed("body"),
            body_complete: case["body_complete"].as_bool().unwrap_or(true),
            transport_error: text_of(&case["transport_error"]),
            verdict: needed("verdict"),
            accept: case["accept"].as_array().into_iter().flatten().filter_map(text_of).collect(),
            also: case.clone(),
        }
    };
    text.lines().filter(|line| !line.is_empty()).map(case).collect()
}

/// The rules of the profile with that id or alias; a provider without one is judged by the generic rules.
fn rules_of(provider: &str) -> Rules {
    static PROFILES: LazyLock<Catalog> = LazyLock::new(|| Catalog::new(None).expect("the built-in profiles"));
    let profile = PROFILES.profile(&PROFILES.resolve(provider)).expect("a good profile");
    profile.map(|profile| profile.rules).unwrap_or_default()
}

fn judge(case: &Case, rules: &Rules) -> Judgement {
    let answer = Answer {
        status: case.status,
        headers: &case.headers,
        body: &case.body,
        body_complete: case.body_complete,
        body_lossy: false,
        transport_error: case.transport_error.as_deref(),
    };
    classify(rules, &answer, NOW)
}

fn is_right(case: &Case, verdict: Verdict) -> bool {
    case.accept.contains(&verdict.to_string())
}

/// Every wrong case as one line, and the table of verdict expected against verdict given.
fn tally(cases: &[Case], rules: impl Fn(&Case) -> Rules) -> (Vec<String>, String) {
    const WORDS: [&str; 6] = ["refreshed", "terminal", "interaction", "config", "transient", "unknown"];
    let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
    let mut wrong = Vec::new();
    for case in cases {
        let judged = judge(case, &rules(case));
        *counts.entry((case.verdict.clone(), judged.verdict.to_string())).or_default() += 1;
        if !is_right(case, judged.verdict) {
            wrong.push(format!(
                "{}: {} is not in {:?} ({})\n    {}",
                case.id, judged.verdict, case.accept, judged.rule, judged.summary
            ));
        }
    }
    let mut table = format!("{:>13}", "is \\ called");
    WORDS.iter().for_each(|word| table.push_str(&format!("{word:>12}")));
    for is in WORDS {
        table.push_str(&format!("\n{is:>13}"));
        for called in WORDS {
            table.push_str(&format!("{:>12}", counts.get(&(is.into(), called.into())).copied().unwrap_or(0)));
        }
    }
    (wrong, table)
}

#[test]
fn every_reported_answer_gets_its_verdict() {
    let cases = cases(REPORTED);
    let (wrong, table) = tally(&cases, |case| rules_of(&case.provider));
    show!("{} reported answers\n{table}", cases.len());
    let undecided = |line: &String| UNDECIDABLE.iter().any(|(id, _)| line.starts_with(id));
    UNDECIDABLE.iter().for_each(|(id, why)| show!("undecidable: {id}: {why}"));
    let wrong: Vec<_> = wrong.iter().filter(|line| !undecided(line)).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_answer_from_the_field_gets_its_verdict() {
    let cases = cases(FIELD);
    let (wrong, table) = tally(&cases, |case| rules_of(&case.provider));
    show!("{} answers from the field\n{table}", cases.len());
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn answers_beyond_the_reported_ones_get_their_verdicts_too() {
    let cases = cases(MORE);
    let (wrong, table) = tally(&cases, |case| rules_of(&case.provider));
    show!("{} more answers\n{table}", cases.len());
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// No answer about a live token is called terminal even without its profile.
#[test]
fn no_answer_about_a_live_token_is_terminal() {
    // Two providers say of live tokens what the RFC says of dead ones; only their profiles know better.
    let misleads = |case: &Case| case.body.contains("invalid_grant") || case.provider == "wechat-open";
    for case in cases(REPORTED)
        .iter()
        .chain(&cases(MORE))
        .chain(&cases(FIELD))
        .filter(|case| !is_right(case, Verdict::Terminal))
    {
        let own = judge(case, &rules_of(&case.provider));
        assert_ne!(own.verdict, Verdict::Terminal, "{}: {} {}", case.id, own.rule, own.summary);
        let generic = judge(case, &Rules::default());
        assert!(
            misleads(case) || generic.verdict != Verdict::Terminal,
            "{} without a profile: {} {}",
            case.id,
            generic.rule,
            generic.summary
        );
    }
}

#[test]
fn what_an_answer_says_beside_the_verdict_is_read_too() {
    for case in cases(MORE) {
        let judged = judge(&case, &rules_of(&case.provider));
        let refresh_token = judged.tokens.as_ref().and_then(|tokens| tokens.refresh_token.usable());
        for (name, read) in [
            ("in_doubt", json!(judged.in_doubt)),
            ("retry_after_s", json!(judged.retry_after_s)),
            ("refresh_token", json!(refresh_token.map(|token| token.expose()))),
            ("code", json!(judged.code)),
            ("sub_code", json!(judged.sub_code)),
        ] {
            assert!(case.also[name].is_null() || case.also[name] == read, "{}: {name} is {read}", case.id);
        }
    }
}

/// What is not the authorization server is called so and not repeated.
#[test]
fn other_speakers_than_the_server_are_named_and_not_quoted() {
    const PAGE: &str = "<!DOCTYPE html><html><title>Welcome to the hotel</title></html>";
    let (html, json) = (("content-type", "text/html"), ("content-type", "application/json"));
    let portal = ("location", "https://portal.example/login?token=s3cret");
    let (page, network) = ("a proxy or firewall answered", "answered by the network's own proxy or portal");
    let fault = "the server, or a proxy before it, failed";
    for (status, headers, body, said) in [
        (403, vec![html], PAGE, page),
        (503, vec![html], PAGE, fault),
        (500, vec![html], PAGE, fault),
        (200, vec![html], PAGE, page),
        (200, vec![json], PAGE, page),
        (403, vec![json], PAGE, page),
        (200, vec![("content-type", "text/plain")], "Welcome to the hotel", "a success that cannot be read"),
        (407, vec![html], PAGE, network),
        (511, vec![html], PAGE, network),
        (302, vec![html, portal], PAGE, "redirects, which is not followed; it points to portal.example"),
    ] {
        let headers: Vec<_> = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let answer = Answer {
            status: Some(status),
            headers: &headers,
            body,
            body_complete: true,
            body_lossy: false,
            transport_error: None,
        };
        let judged = classify(&Rules::default(), &answer, NOW);
        assert_eq!(judged.verdict, Verdict::Transient, "{status}");
        assert!(judged.summary.starts_with(&format!("HTTP {status}: ")), "{}", judged.summary);
        assert!(judged.summary.contains(said), "{status}: {}", judged.summary);
        assert!(judged.summary.len() <= 200 && !judged.summary.contains("hotel") && !judged.summary.contains("s3cret"));
    }
}

#[test]
fn profile_rules_are_written_in_the_form_they_are_compared_in() {
    let is_code =
        |text: &String| text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-'));
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let catalog = Catalog::new(None).expect("the built-in profiles");
    for profile in catalog.ids().iter().filter_map(|id| catalog.profile(id).expect("a good profile")) {
        let (names, rules) = ([&[profile.id], &profile.aliases[..]].concat(), profile.rules);
        assert!(names.iter().chain(&rules.status_words).all(is_code), "{names:?}");
        for rule in rules.rules {
            assert!(
                rule.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'),
                "{}",
                rule.name
            );
            assert!(rule.code.iter().all(is_code), "{}", rule.name);
            assert!(rule.text.iter().all(|text| text.split(' ').all(is_word)), "{}", rule.name);
        }
    }
}

/// The rule of another system: whether it calls the token dead.
type Elsewhere = (&'static str, fn(&Case) -> bool);

#[test]
fn our_rule_beside_those_in_use_elsewhere() {
    let elsewhere: [Elsewhere; 5] = [
        ("status only 400/401/403", |case| matches!(case.status, Some(400 | 401 | 403))),
        ("any 400 or 401 (hermes xai 0.19)", |case| matches!(case.status, Some(400 | 401))),
        ("body has revoked or invalid_grant (crush)", |case| {
            case.body.contains("revoked") || case.body.contains("invalid_grant")
        }),
        ("400/401/403, JSON, invalid_grant (vault oauthapp)", |case| {
            let json: Option<Value> = serde_json::from_str(&case.body).ok();
            matches!(case.status, Some(400 | 401 | 403)) && json.is_some_and(|json| json["error"] == "invalid_grant")
        }),
        ("lazaretto", |case| judge(case, &rules_of(&case.provider)).verdict == Verdict::Terminal),
    ];
    for (name, text) in [("reported", REPORTED), ("more", MORE), ("field", FIELD)] {
        let (dead, live): (Vec<_>, Vec<_>) =
            cases(text).into_iter().partition(|case| case.accept.iter().any(|word| word == "terminal"));
        show!("{name}: {:50} {:>12} {:>18}", "rule", "dead found", "live called dead");
        for (rule, calls_dead) in elsewhere {
            let found = dead.iter().filter(|case| calls_dead(case)).count();
            let lost = live.iter().filter(|case| calls_dead(case)).count();
            show!(
                "{name}: {rule:50} {:>12} {:>18}",
                format!("{found}/{}", dead.len()),
                format!("{lost}/{}", live.len())
            );
            assert!(rule != "lazaretto" || lost == 0, "a live token was called dead");
        }
    }
}
