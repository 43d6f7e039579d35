//! Evidence in, verdict out: a pure function of the answer, the profile's rules and the time. A live token is
//! never called dead on a guess, and nothing secret leaves in the evidence.
//!
//! The reading order is [`STEPS`]; each step either decides or leaves it to the next.

#[cfg(feature = "keeper")]
mod api;
mod body;
mod cause;
mod coding;
mod evidence;
mod find_codes;
mod json;
mod meanings;
mod prose;
mod report;
mod retry_after;
mod rules;
mod tokens;
mod verdict;
mod who_speaks;
mod words;

use std::borrow::Cow;

use body::{Body, Raw, Shape};
use find_codes::{Code, Found};
use meanings::{Meaning, Weight};

#[cfg(feature = "keeper")]
pub use api::{ApiJudgement, ApiVerdict, judge_api};
pub use report::in_brackets;
pub use retry_after::LONGEST_WAIT_S;
pub use rules::{Fields, Rule, Rules, StatusRule, SubCodes, Unit};
pub use tokens::{RefreshToken, Tokens};
pub use verdict::{Judgement, NotAVerdict, Step, Verdict};

/// What came back from a token endpoint, or did not.
#[derive(Clone, Copy)]
pub struct Answer<'a> {
    /// HTTP status; `None` when no answer came.
    pub status: Option<u16>,
    /// Header names in any case.
    pub headers: &'a [(String, String)],
    /// Text as far as it came.
    pub body: &'a str,
    /// `false`: the body was cut (cap reached, connection lost in the middle).
    pub body_complete: bool,
    /// `true`: bytes that were not UTF-8 were replaced.
    pub body_lossy: bool,
    /// What failed when no whole answer came: `dns`, `connect`, `tls`, `timeout`, `reset`, `not-allowed`, ... (an open set).
    pub transport_error: Option<&'a str>,
}

/// What the server's own clock showed, in seconds since 1970 (RFC 9110 section 6.6.1).
pub fn date_s(answer: &Answer<'_>) -> Option<u64> {
    retry_after::http_date(body::header(answer, "date")?)
}

/// A server's words for a person: bounded, and without what may be a secret.
#[cfg(feature = "admin")]
pub(crate) fn redacted(message: &str) -> String {
    evidence::redacted(message, 200)
}

/// Reads an answer. `now_unix_s` is for dates in it; the verdict does not depend on it.
///
/// ```
/// use lazaretto::classify::{Answer, Rules, Verdict, classify};
///
/// let answer = |status, body| Answer {
///     status: Some(status),
///     headers: &[],
///     body,
///     body_complete: true,
///     body_lossy: false,
///     transport_error: None,
/// };
/// let verdict = |status, body| classify(&Rules::default(), &answer(status, body), 0).verdict;
///
/// assert_eq!(verdict(400, r#"{"error": "invalid_grant"}"#), Verdict::Terminal);
/// assert_eq!(verdict(400, r#"{"error": "invalid_client"}"#), Verdict::Config);
/// assert_ne!(verdict(400, "<html>invalid_grant</html>"), Verdict::Terminal);
/// assert_eq!(verdict(503, r#"{"error": "invalid_grant"}"#), Verdict::Transient);
/// ```
pub fn classify(rules: &Rules, answer: &Answer<'_>, now_unix_s: u64) -> Judgement {
    let raw = Raw::of(answer);
    let body = raw.parse(answer);
    let found = find_codes::find(answer, &body);
    let succeeded = answer.status.is_some_and(|status| (200..300).contains(&status));
    let reading = Reading {
        rules,
        answer,
        text: raw.text,
        sub_codes: rules.sub_codes.find(body.json.as_ref(), &found),
        tokens: body.json.as_ref().filter(|_| succeeded).and_then(|json| tokens::read(&rules.fields, json, now_unix_s)),
        body: &body,
        found: &found,
    };
    let mut steps = vec![Step { name: "answer", finding: reading.describe() }];
    let ruling = reading.decide(&mut steps);
    let passing = ruling.verdict == Verdict::Transient;
    let retry_after_s = retry_after::read(answer, body.json.as_ref(), &found, passing, now_unix_s);
    reading.judgement(ruling, retry_after_s, steps)
}

/// All that is known of the answer, before anything is decided.
struct Reading<'r> {
    rules: &'r Rules,
    answer: &'r Answer<'r>,
    text: &'r str,
    body: &'r Body<'r>,
    found: &'r Found<'r>,
    sub_codes: Vec<String>,
    tokens: Option<Tokens>,
}

/// What a step decided.
struct Ruling<'r> {
    verdict: Verdict,
    rule: Cow<'static, str>,
    /// Which code of the answer decided.
    code: Option<usize>,
    sub_code: Option<String>,
    why: Option<&'r str>,
    /// The server itself said so, in a code or a message: it did not rotate.
    spoken: bool,
    basis: Basis,
}

/// What a `terminal` rests on, and so what else in the answer takes it back.
#[derive(Clone, Copy, PartialEq)]
enum Basis {
    /// A code that says how the token ended. Nothing that is written beside it matters.
    Exact,
    /// Prose, a status, or a profile's reading of either: a fault that the prose names takes it back.
    Likely,
    /// A code that servers use for whatever went wrong, `invalid_grant` first: any other cause that the prose names takes it back.
    Vague,
}

impl Ruling<'_> {
    fn of(verdict: Verdict, rule: &'static str) -> Self {
        Self {
            verdict,
            rule: Cow::Borrowed(rule),
            code: None,
            sub_code: None,
            why: None,
            spoken: false,
            basis: Basis::Likely,
        }
    }
}

type StepFn = for<'r> fn(&Reading<'r>, u16) -> Option<Ruling<'r>>;

/// The rule of a success in a coding that cannot be read.
const UNREADABLE: &str = "unreadable-coding";

/// The reading order, once an answer came.
const STEPS: [(&str, StepFn); 10] = [
    ("content coding", |reading, status| reading.unreadable(status)),
    ("who speaks", |reading, status| reading.who_speaks(status)),
    ("throttled", |_, status| {
        matches!(status, 408 | 425 | 429).then(|| Ruling::of(Verdict::Transient, "throttled-status"))
    }),
    ("success", |reading, _| reading.success()),
    ("profile rules", |reading, status| reading.profile_rules(status)),
    ("quoted codes", |reading, status| reading.quoted_codes(status)),
    ("codes", |reading, status| reading.firm_codes(status)),
    ("message", |reading, status| reading.message(status)),
    ("profile status rule", |reading, status| reading.profile_status_rule(status)),
    ("status", |reading, status| Some(reading.status_alone(status))),
];

impl<'r> Reading<'r> {
    fn decide(&self, steps: &mut Vec<Step>) -> Ruling<'r> {
        let (Some(status), None) = (self.answer.status, self.answer.transport_error) else {
            let ruling = self.transport();
            steps.push(Step { name: "transport", finding: format!("{}: {}", ruling.rule, ruling.verdict) });
            return ruling;
        };
        for (name, step) in STEPS {
            let Some(ruling) = step(self, status) else {
                steps.push(Step { name, finding: "decides nothing".into() });
                continue;
            };
            steps.push(Step { name, finding: format!("{}: {}", ruling.rule, ruling.verdict) });
            return self.guarded(ruling, status, steps);
        }
        Ruling::of(Verdict::Unknown, "nothing-decided")
    }

    fn transport(&self) -> Ruling<'r> {
        match self.answer.transport_error {
            // The host's own allow-list: asking again changes nothing.
            Some("not-allowed") => Ruling::of(Verdict::Config, "request-not-allowed"),
            _ => Ruling::of(Verdict::Transient, "transport-failure"),
        }
    }

    fn who_speaks(&self, status: u16) -> Option<Ruling<'r>> {
        let (verdict, rule) = who_speaks::read(self.answer, status, self.body, self.text)?;
        Some(Ruling::of(verdict, rule))
    }

    /// An access token, and no error beside it: where both stand, the answer is no success.
    fn success(&self) -> Option<Ruling<'r>> {
        let usable = self.tokens.as_ref()?.access_token.is_some();
        let is_error = |code: &Code<'_>| {
            matches!(code.place, "error" | "errors" | "errorcode" | "errcode") && self.meaning(code) != Meaning::Status
        };
        let refreshed = usable && self.body.whole && !self.found.codes.iter().any(is_error);
        refreshed.then(|| Ruling::of(Verdict::Refreshed, "access-token"))
    }

    fn profile_rules(&self, status: u16) -> Option<Ruling<'r>> {
        let fit = self.rules.fit(status, self.found, &self.sub_codes)?;
        let names_only_a_code = fit.rule.text.is_empty() && fit.code.is_some_and(|at| !self.is_vague(at));
        let is_exact = !fit.rule.sub_code.is_empty() || names_only_a_code;
        Some(Ruling {
            verdict: fit.rule.verdict,
            rule: format!("profile:{}", fit.rule.name).into(),
            code: fit.code,
            sub_code: fit.sub_code.filter(|sub| fit.rule.sub_code.contains(sub)),
            why: fit.rule.why.as_deref(),
            spoken: true,
            basis: if is_exact { Basis::Exact } else { Basis::Likely },
        })
    }

    /// What a code means, without the profile's rules.
    fn meaning(&self, code: &Code<'_>) -> Meaning {
        if self.rules.status_words.contains(&code.name) {
            return Meaning::Status;
        }
        // 0 is success, and many servers repeat an HTTP status in the body.
        match code.name.parse::<i64>() {
            Ok(0 | 100..=599) => Meaning::Status,
            Ok(_) => Meaning::Unknown,
            Err(_) => meanings::meaning(&code.name),
        }
    }

    fn says(&self, wanted: Weight) -> impl Iterator<Item = (usize, Verdict, &'static str)> {
        let own = self.found.codes.iter().enumerate().filter(|(_, code)| !code.is_quoted());
        own.filter_map(move |(at, code)| match self.meaning(code) {
            Meaning::Says(verdict, weight, list) if weight == wanted => Some((at, verdict, list)),
            _ => None,
        })
    }

    fn by_code(&self, (at, verdict, list): (usize, Verdict, &'static str)) -> Ruling<'r> {
        let name = &self.found.codes[at].name;
        // Only codes of the table are named in a rule: others are the server's own words.
        let rule = match list.strip_suffix("-words") {
            Some(_) => Cow::Borrowed(list),
            None => format!("{list}-{}", meanings::listed_name(name).replace('_', "-")).into(),
        };
        let basis = if self.is_vague(at) { Basis::Vague } else { Basis::Exact };
        Ruling { verdict, rule, code: Some(at), sub_code: None, why: None, spoken: true, basis }
    }

    /// Whether a code leaves open what became of the token.
    fn is_vague(&self, at: usize) -> bool {
        let code = &self.found.codes[at];
        meanings::listed_name(&code.name) == "invalid_grant"
            || matches!(self.meaning(code), Meaning::Says(_, Weight::Soft, _))
    }

    /// The codes of an answer that a message repeats are those of whoever the server asked: they say why it refuses, where its
    /// own code leaves that open.
    fn quoted_codes(&self, status: u16) -> Option<Ruling<'r>> {
        let says_itself = self.says(Weight::Firm).any(|(at, ..)| !self.is_vague(at));
        if status >= 500 || says_itself {
            return None;
        }
        let mut terminal = None;
        for (at, code) in self.found.codes.iter().enumerate().filter(|(_, code)| code.is_quoted()) {
            let Meaning::Says(verdict, Weight::Firm, list) = self.meaning(code) else { continue };
            if verdict != Verdict::Terminal {
                return Some(self.by_code((at, verdict, list)));
            }
            terminal.get_or_insert((at, verdict, list));
        }
        Some(Ruling { basis: Basis::Vague, ..self.by_code(terminal?) })
    }

    /// Codes that decide alone. Where two disagree, the one that keeps the token wins.
    fn firm_codes(&self, status: u16) -> Option<Ruling<'r>> {
        let server_fault = status >= 500;
        let mut terminal = None;
        for said in self.says(Weight::Firm) {
            let (_, verdict, list) = said;
            // Under a 5xx only a code somebody defined is worth more than the status.
            if server_fault && list.ends_with("-words") && verdict != Verdict::Transient {
                continue;
            }
            if verdict != Verdict::Terminal {
                return Some(self.by_code(said));
            }
            terminal.get_or_insert(said);
        }
        terminal.map(|said| self.by_code(said))
    }

    /// Codes that servers use for several things, and answers without a code: here the message may decide.
    fn message(&self, status: u16) -> Option<Ruling<'r>> {
        if self.body.json.is_none() || !matches!(status, 200..=299 | 400..=499) {
            return None;
        }
        let soft = self.says(Weight::Soft).next();
        let code = soft.map(|(at, ..)| at);
        let mut terminal = None;
        for (verdict, rule) in self.found.messages.iter().filter_map(|message| prose::judge(message.plain(), status)) {
            if verdict != Verdict::Terminal {
                return Some(Ruling { code, spoken: true, ..Ruling::of(verdict, rule) });
            }
            terminal.get_or_insert(rule);
        }
        if let Some(rule) = terminal.filter(|_| !self.body.labelled_html) {
            let basis = if code.is_some() { Basis::Vague } else { Basis::Likely };
            return Some(Ruling { code, spoken: true, basis, ..Ruling::of(Verdict::Terminal, rule) });
        }
        let ruling = self.by_code(soft?);
        let other = || self.found.messages.iter().any(|message| prose::names_another_token(message.plain()));
        let plain_refusal = matches!(status, 200..=299 | 400 | 401 | 403) && !self.body.labelled_html;
        if ruling.verdict == Verdict::Terminal && (!plain_refusal || other()) {
            return Some(Ruling { verdict: Verdict::Unknown, rule: "perhaps-another-token".into(), ..ruling });
        }
        Some(ruling)
    }

    fn has_unknown_code(&self) -> bool {
        self.found.codes.iter().any(|code| self.meaning(code) == Meaning::Unknown)
    }

    /// The server named a new refresh token, and it is of no use: it may have replaced the one that was sent.
    fn has_an_unusable_refresh_token(&self) -> bool {
        self.tokens.as_ref().is_some_and(|tokens| tokens.refresh_token == RefreshToken::Unusable)
    }

    fn profile_status_rule(&self, status: u16) -> Option<Ruling<'r>> {
        let verdict = self.rules.status_rule.verdict(status)?;
        let silent = match self.body.shape {
            Shape::Empty => true,
            Shape::Json => self.body.whole && !self.body.labelled_html,
            Shape::Html | Shape::Form | Shape::Text => false,
        };
        let applies = silent
            && self.answer.body_complete
            && !self.has_unknown_code()
            && !who_speaks::challenged(self.answer, status);
        applies.then(|| Ruling::of(verdict, "profile:status"))
    }

    /// What the status says where nothing else does. Never terminal: 400 and 401 have too many causes.
    fn status_alone(&self, status: u16) -> Ruling<'r> {
        use Verdict::{Config, Transient, Unknown};
        let body_status = self
            .found
            .codes
            .iter()
            .filter(|code| code.is_number)
            .find_map(|code| i32::try_from(code.name.parse::<i64>().ok()?).ok());
        let (verdict, rule) = match status {
            500..=599 => (Transient, "server-error"),
            402 => (Config, "payment-required"),
            405 | 415 => (Config, "wrong-request"),
            // Another refresh of the same grant is under way.
            409 => (Transient, "conflict"),
            200..=299 if !self.body.whole => (Transient, "cut-success"),
            200..=299 if self.body.shape == Shape::Text => (Transient, "not-an-oauth-answer"),
            200..=299 if self.has_an_unusable_refresh_token() => (Unknown, "unusable-refresh-token"),
            200..=299 if matches!(body_status, Some(429 | 500..=599)) => (Transient, "fault-status-in-body"),
            _ if who_speaks::challenged(self.answer, status) => (Transient, "bot-challenge"),
            _ if self.has_unknown_code() => (Unknown, "unknown-code"),
            200..=299 => (Unknown, "success-without-access-token"),
            _ if self.body.shape == Shape::Empty => (Unknown, "empty-body"),
            _ if self.body.shape == Shape::Text => (Unknown, "plain-text"),
            _ => (Unknown, "no-code"),
        };
        Ruling::of(verdict, rule)
    }

    /// What takes a `terminal` back: an answer that ends too early, or another cause that its prose names.
    fn doubt(&self, basis: Basis) -> Option<(Verdict, &'static str)> {
        // The rest may have held the very word that keeps the token.
        let sub_code_is_missing = !self.body.whole && self.sub_codes.is_empty() && !self.rules.sub_codes.at.is_empty();
        if self.body.cut || (basis == Basis::Vague && sub_code_is_missing) {
            return Some((Verdict::Unknown, "cut-refusal"));
        }
        // What comes behind a broken place is read as prose.
        let broken = (self.body.json.is_some() && !self.body.whole).then_some(self.text);
        let prose = || self.found.messages.iter().map(|message| message.sent).chain(broken);
        match basis {
            Basis::Exact => None,
            Basis::Likely => prose().any(cause::names_a_fault).then_some((Verdict::Unknown, "names-a-fault")),
            Basis::Vague => prose().find_map(cause::beside_the_token),
        }
    }

    /// The last word on `terminal` and `refreshed`, whatever rule spoke them.
    fn guarded(&self, mut ruling: Ruling<'r>, status: u16, steps: &mut Vec<Step>) -> Ruling<'r> {
        if ruling.verdict == Verdict::Terminal
            && let Some((verdict, rule)) = self.doubt(ruling.basis)
        {
            steps.push(Step { name: "other causes", finding: format!("{rule}: {verdict}") });
            let spoken = ruling.spoken && rule != "cut-refusal";
            ruling = Ruling { verdict, rule: rule.into(), why: None, spoken, ..ruling };
        }
        let allowed = match ruling.verdict {
            Verdict::Terminal => matches!(status, 200..=299 | 400..=499) && self.body.shape != Shape::Html,
            Verdict::Refreshed => self.tokens.as_ref().is_some_and(|tokens| tokens.access_token.is_some()),
            _ => true,
        };
        if allowed {
            return ruling;
        }
        // Code that trips over a dead token answers 500 for it; the other 5xx come from what stands before it.
        let verdict = if (501..=599).contains(&status) { Verdict::Transient } else { Verdict::Unknown };
        steps.push(Step {
            name: "guard",
            finding: format!("{} does not go with the status or the body: {verdict}", ruling.verdict),
        });
        Ruling { verdict, rule: "contradiction".into(), why: None, spoken: false, ..ruling }
    }
}
