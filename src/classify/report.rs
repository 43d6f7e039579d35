//! What the caller and the person are told of a ruling; it changes nothing about the verdict.

use super::body::Shape;
use super::meanings::{self, Meaning};
use super::words::is_one_of;
use super::{Judgement, Reading, Ruling, Step, UNREADABLE, Verdict, coding, evidence, who_speaks, words};

impl Reading<'_> {
    fn shown(&self, at: usize, named: bool) -> Option<String> {
        let code = &self.found.codes[at];
        let listed = !code.is_number && meanings::is_listed(&code.name);
        evidence::shown(code, named || listed)
    }

    pub(super) fn describe(&self) -> String {
        let shape = match self.body.shape {
            Shape::Empty => "empty body",
            Shape::Html => "HTML",
            Shape::Json => "JSON",
            Shape::Form => "form",
            Shape::Text => "plain text",
        };
        let mut text = format!("{}, {shape}", self.status_text());
        for (at, what) in [
            (!self.body.whole, ", cut"),
            (self.answer.body_lossy, ", not UTF-8"),
            (self.body.labelled_html, ", labelled HTML"),
        ] {
            text.push_str(if at { what } else { "" });
        }
        if let Some(coding) = coding::of(self.answer) {
            text.push_str(&format!(", in the coding {coding}"));
        }
        for (at, code) in self.found.codes.iter().enumerate() {
            let shown = self.shown(at, false);
            text.push_str(&format!(", {} {}", code.place, shown.as_deref().unwrap_or("(not shown)")));
        }
        text
    }

    fn status_text(&self) -> String {
        match (self.answer.status.map(u64::from), self.answer.transport_error) {
            (Some(status), None) => format!("HTTP {status}"),
            (Some(status), Some(_)) => format!("HTTP {status}, then the connection failed"),
            (None, kind) => {
                match kind.map(str::to_ascii_lowercase).filter(|kind| TRANSPORT.iter().any(|known| known.0 == kind)) {
                    Some(kind) => format!("no answer ({kind})"),
                    None => "no answer".into(),
                }
            }
        }
    }

    pub(super) fn judgement(mut self, ruling: Ruling<'_>, retry_after_s: Option<u64>, steps: Vec<Step>) -> Judgement {
        let named = ruling.code.is_some() && ruling.rule.starts_with("profile:");
        let telling = || self.found.codes.iter().position(|code| self.meaning(code) != Meaning::Status);
        let code = ruling.code.or_else(telling).or(if self.found.codes.is_empty() { None } else { Some(0) });
        let code = code.and_then(|at| self.shown(at, named));
        let sub_code = ruling
            .sub_code
            .clone()
            .or_else(|| self.sub_codes.iter().find(|sub| self.sub_code_may_be_shown(sub)).cloned());
        let in_doubt = self.in_doubt(&ruling);
        let codes: Vec<&str> = [code.as_deref(), sub_code.as_deref()].into_iter().flatten().collect();
        let host = who_speaks::redirect_host(self.answer).filter(|_| matches!(self.answer.status, Some(300..=399)));
        let why = ruling.why.unwrap_or_else(|| explanation(ruling.verdict, &ruling.rule, self.answer.status));
        let is_unreadable = ruling.rule == UNREADABLE;
        let coding = coding::of(self.answer).filter(|_| is_unreadable);
        let summary = match host {
            None if coding.is_some() => {
                let why = format!("{why}: the content coding {}", coding.unwrap_or_default());
                evidence::summary(&self.status_text(), &codes, &why, self.found)
            }
            Some(host) => {
                evidence::summary(&self.status_text(), &codes, &format!("{why}; it points to {host}"), self.found)
            }
            None => evidence::summary(&self.status_text(), &codes, why, self.found),
        };
        let mut tokens = self.tokens.take();
        if ruling.verdict != Verdict::Refreshed {
            tokens = tokens.filter(|tokens| tokens.refresh_token.is_there());
            if let Some(tokens) = &mut tokens {
                tokens.access_token = None;
            }
        }
        Judgement {
            verdict: ruling.verdict,
            status: self.answer.status,
            code,
            sub_code,
            rule: ruling.rule.into_owned(),
            retry_after_s,
            summary,
            in_doubt,
            is_unreadable,
            tokens,
            steps,
        }
    }

    fn sub_code_may_be_shown(&self, sub_code: &str) -> bool {
        let prefixes = &self.rules.sub_codes.prefixes;
        let number = prefixes.iter().find_map(|prefix| sub_code.strip_prefix(prefix.as_str())).unwrap_or(sub_code);
        let name = words::snake(sub_code);
        (number.len() < 10 && number != sub_code && number.bytes().all(|b| b.is_ascii_digit()))
            || meanings::is_listed(&name)
            || evidence::is_error_word(&name)
    }

    fn in_doubt(&self, ruling: &Ruling<'_>) -> bool {
        let sent = |kind: &str| !TRANSPORT.iter().any(|(known, before_sending)| *known == kind && *before_sending);
        match (self.answer.status.map(u64::from), self.answer.transport_error) {
            (None, kind) => kind.is_none_or(|kind| sent(&kind.to_ascii_lowercase())),
            (Some(_), Some(_)) => true,
            (Some(200..=299), None) => ruling.verdict != Verdict::Refreshed && !ruling.spoken,
            (Some(408 | 409), None) => !ruling.spoken,
            (Some(500..=599), None) => {
                matches!(ruling.verdict, Verdict::Transient | Verdict::Unknown) && ruling.rule != "captive-portal"
            }
            (Some(_), None) => false,
        }
    }
}

/// The kinds of transport failure that may be shown, those of `wit/http.wit` first, and whether nothing can have been sent.
const TRANSPORT: [(&str, bool); 13] = [
    ("dns", true),
    ("connect", true),
    ("tls", true),
    ("not-allowed", true),
    ("unsupported", true),
    ("timeout", false),
    ("reset", false),
    ("protocol", false),
    ("other", false),
    // The set is open: what other hosts call them.
    ("refused", true),
    ("proxy", true),
    ("closed", false),
    ("too-large", false),
];

/// What a summary says of its verdict by itself.
const MEANINGS: [&str; 4] = [DEAD, CONFIRM, REFUSED, PASSING];
const DEAD: &str = "the refresh token is dead, log in again";
const CONFIRM: &str = "the user has to confirm something at the provider";
const REFUSED: &str = "the client, the request or the account is refused, not the token";
const PASSING: &str = "a passing fault, try again later";
const IT_SAID: &str = " (it said: ";

/// A summary to stand in the brackets of a sentence that says the verdict itself: without what the verdict means, and without
/// brackets of its own.
pub fn in_brackets(summary: &str) -> String {
    let (before, said) = match summary.split_once(IT_SAID) {
        Some((before, said)) => (before, Some(without_stop(said.strip_suffix(')').unwrap_or(said)))),
        None => (summary, None),
    };
    let meaning = MEANINGS.iter().find_map(|meaning| before.strip_suffix(meaning)?.strip_suffix(": "));
    match (meaning.unwrap_or(before), said) {
        (before, None) => before.to_owned(),
        (before, Some(said)) if meaning.is_some() => format!("{before}: {said}"),
        (before, Some(said)) => format!("{before}; it said: {said}"),
    }
}

/// Without the full stop at its end; two stand for words that are not shown.
fn without_stop(said: &str) -> &str {
    said.strip_suffix('.').filter(|said| !said.ends_with('.')).unwrap_or(said)
}

fn explanation(verdict: Verdict, rule: &str, status: Option<u16>) -> &'static str {
    const BY_RULE: [(&str, &str); 11] = [
        ("html-page", "an HTML page: a proxy or firewall answered, not the authorization server"),
        ("bot-challenge blocked-at-the-edge", "a firewall answered, not the authorization server"),
        ("captive-portal proxy-authentication", "answered by the network's own proxy or portal"),
        ("endpoint-moved redirected-elsewhere odd-redirect", "the token endpoint redirects, which is not followed"),
        ("request-not-allowed", "the host's allow-list refuses this address"),
        ("transport-failure", "the token endpoint could not be reached or the answer was lost"),
        (UNREADABLE, "a success that cannot be read, and the server may have rotated"),
        ("cut-success not-an-oauth-answer", "a success that cannot be read; the server may have rotated"),
        ("cut-refusal", "the answer ends too early to be a proof against the token"),
        ("names-a-fault", "the server names a fault of its own beside it, so no proof against the token"),
        ("unusable-refresh-token", "the server named a refresh token that cannot be used"),
    ];
    // Frameworks show such a page for a fault of their own, too.
    if rule == "html-page" && matches!(status, Some(500..=599)) {
        return "an HTML page in place of an answer: the server, or a proxy before it, failed";
    }
    if let Some((_, why)) = BY_RULE.iter().find(|(rules, _)| is_one_of(rule, rules)) {
        return why;
    }
    match verdict {
        Verdict::Refreshed => "refreshed",
        Verdict::Terminal => DEAD,
        Verdict::Interaction => CONFIRM,
        Verdict::Config => REFUSED,
        Verdict::Transient => PASSING,
        Verdict::Unknown if is_one_of(rule, "empty-body no-code plain-text profile:status") => {
            "no error code, so no proof against the token"
        }
        Verdict::Unknown => "the answer does not say what is wrong",
    }
}

#[cfg(test)]
mod tests {
    use super::in_brackets;

    #[test]
    fn a_summary_in_brackets_has_none_and_says_no_verdict_twice() {
        for (summary, wanted) in [
            ("HTTP 400 invalid_grant: the refresh token is dead, log in again", "HTTP 400 invalid_grant"),
            (
                "HTTP 400 invalid_grant: the refresh token is dead, log in again (it said: revoked.)",
                "HTTP 400 invalid_grant: revoked",
            ),
            ("HTTP 503: a passing fault, try again later", "HTTP 503"),
            (
                "HTTP 403: blocked or answered before the authorization server",
                "HTTP 403: blocked or answered before the authorization server",
            ),
            (
                "HTTP 400: the answer does not say what is wrong (it said: ..)",
                "HTTP 400: the answer does not say what is wrong; it said: ..",
            ),
            // As another program, or an older lazaretto, has written it.
            ("revoked", "revoked"),
            ("", ""),
        ] {
            assert_eq!(in_brackets(summary), wanted);
        }
    }
}
