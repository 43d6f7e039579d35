//! Any answer at all, under any profile: no panic, nothing called dead on no evidence, no success without a token.
#![no_main]

use std::sync::LazyLock;

use lazaretto::classify::{Answer, Rules, Verdict, classify};
use lazaretto::provider::Catalog;
use libfuzzer_sys::fuzz_target;

static RULES: LazyLock<Vec<Rules>> = LazyLock::new(|| {
    let catalog = Catalog::new(None).expect("the built-in profiles");
    let rules = |id: &String| catalog.profile(id).expect("a good profile").expect("it is there").rules;
    std::iter::once(Rules::default()).chain(catalog.ids().iter().map(rules)).collect()
});

const STATUSES: [Option<u16>; 16] = [
    None,
    Some(200),
    Some(204),
    Some(302),
    Some(307),
    Some(400),
    Some(401),
    Some(403),
    Some(404),
    Some(407),
    Some(408),
    Some(429),
    Some(500),
    Some(502),
    Some(503),
    Some(511),
];
const HEADERS: [(&str, &str); 8] = [
    ("content-type", "application/json"),
    ("Content-Type", "text/html"),
    ("content-type", "application/x-www-form-urlencoded"),
    ("retry-after", "120"),
    ("retry-after", "Fri, 31 Dec 1999 23:59:59 GMT"),
    ("cf-mitigated", "challenge"),
    ("www-authenticate", "Bearer error=\"invalid_token\""),
    ("x-amzn-errortype", "NotAuthorizedException:"),
];

fuzz_target!(|data: &[u8]| {
    let [status, provider, headers, flags, body @ ..] = data else { return };
    let text = String::from_utf8_lossy(body);
    let status = STATUSES[usize::from(*status) % STATUSES.len()];
    let mut list: Vec<(String, String)> = HEADERS
        .iter()
        .enumerate()
        .filter(|(at, _)| headers & (1 << at) != 0)
        .map(|(_, (name, value))| ((*name).to_owned(), (*value).to_owned()))
        .collect();
    if flags & 8 != 0 {
        list.push(("retry-after".to_owned(), text.lines().next().unwrap_or_default().to_owned()));
    }
    let answer = Answer {
        status,
        headers: &list,
        body: &text,
        body_complete: flags & 1 == 0,
        body_lossy: flags & 2 != 0,
        transport_error: status.is_none().then_some("reset"),
    };
    let judged = classify(&RULES[usize::from(*provider) % RULES.len()], &answer, 1_784_541_600);
    if matches!(status, None | Some(302 | 307 | 408 | 429 | 500..)) {
        assert_ne!(judged.verdict, Verdict::Terminal, "{judged:?}");
    }
    if judged.verdict == Verdict::Refreshed {
        let token = judged.tokens.as_ref().and_then(|tokens| tokens.access_token.as_ref());
        assert!(token.is_some_and(|token| !token.is_empty()), "{judged:?}");
    }
    assert!(judged.summary.chars().count() <= 400 && judged.retry_after_s.unwrap_or_default() <= 7 * 86_400, "{judged:?}");
});
