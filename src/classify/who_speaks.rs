//! A page, a proxy, a captive portal or a bot challenge says nothing about a token, whatever words
//! are in it.

use super::body::{Body, Shape, begins, head, header};
use super::{Answer, Verdict};

/// Headers that only a bot challenge or a block carries.
const CHALLENGE_HEADERS: [&str; 4] = ["cf-mitigated", "x-amzn-waf-action", "x-vercel-mitigated", "x-datadome"];

/// Words on the pages of content networks and firewalls.
const CHALLENGE_WORDS: [&str; 7] =
    ["Just a moment", "Attention Required", "captcha", "Request blocked", "edgesuite", "Incapsula", "cf-error"];

/// What kept the answer from being the authorization server's, with the rule that saw it.
pub(super) fn read(answer: &Answer<'_>, status: u16, body: &Body<'_>, text: &str) -> Option<(Verdict, &'static str)> {
    let transient = |rule| Some((Verdict::Transient, rule));
    match status {
        511 => return transient("captive-portal"),
        407 => return transient("proxy-authentication"),
        301 | 307 | 308 => return Some((Verdict::Config, "endpoint-moved")),
        302 | 303 => return transient("redirected-elsewhere"),
        300..=399 => return Some((Verdict::Unknown, "odd-redirect")),
        _ => {}
    }
    if header(answer, "proxy-authenticate").is_some() && body.json.is_none() {
        return transient("proxy-authentication");
    }
    if challenged(answer, status) && body.json.is_none() {
        return transient("bot-challenge");
    }
    match (body.shape, status) {
        (Shape::Html, 200..=299 | 403 | 406 | 408 | 429 | 500..=599) => transient("html-page"),
        (Shape::Html, _) if CHALLENGE_WORDS.iter().any(|word| head(text, 4096).contains(word)) => {
            transient("html-page")
        }
        // Google answers a malformed request with a page: not a block, and not proof of anything
        // either.
        (Shape::Html, _) => Some((Verdict::Unknown, "html-page")),
        (Shape::Text, 400..=499)
            if body.json.is_none() && (begins(text, "error code: 1") || (status == 403 && at_the_edge(answer))) =>
        {
            transient("blocked-at-the-edge")
        }
        _ => None,
    }
}

/// Whether a header says that the request was stopped to see whether a person sends it.
pub(super) fn challenged(answer: &Answer<'_>, status: u16) -> bool {
    status >= 400 && CHALLENGE_HEADERS.iter().any(|name| header(answer, name).is_some())
}

fn at_the_edge(answer: &Answer<'_>) -> bool {
    let server = header(answer, "server").unwrap_or_default();
    ["cloudflare", "cloudfront", "akamai"].iter().any(|edge| begins(server, edge))
}

/// The host a redirect points to; the rest of the address may hold anything.
pub(super) fn redirect_host<'a>(answer: &Answer<'a>) -> Option<&'a str> {
    let (_, rest) = (header(answer, "location")?).split_once("//")?;
    let host = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host).split(':').next().unwrap_or_default();
    let is_host =
        (1..=80).contains(&host.len()) && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'));
    is_host.then_some(host)
}
