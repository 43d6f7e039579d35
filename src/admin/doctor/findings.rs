//! What was found so far, and the report that comes of it: one finding a credential, the worst
//! first, none that contradicts another.

use crate::json;
use crate::time::{self, Zone};
use crate::visible::visible_line;

use super::{Finding, FindingCode, Level};

/// What helps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Help {
    /// The command that mends it. Safe in any order with every other `fix`, and run twice.
    pub(super) fix: Option<String>,
    /// One that deletes something or takes a risk.
    pub(super) alternative: Option<String>,
}

impl Help {
    pub(super) const NONE: Self = Self { fix: None, alternative: None };

    pub(super) fn fix(command: impl Into<Option<String>>) -> Self {
        Self { fix: command.into(), alternative: None }
    }

    pub(super) fn alternative(command: impl Into<Option<String>>) -> Self {
        Self { fix: None, alternative: command.into() }
    }

    pub(super) fn or(self, command: impl Into<Option<String>>) -> Self {
        Self { alternative: command.into(), ..self }
    }
}

/// Something that is so of one credential.
struct Fact {
    provider: String,
    credential: String,
    level: Level,
    code: FindingCode,
    what: String,
    help: Help,
}

/// What was found so far.
#[derive(Default)]
pub(super) struct Findings {
    others: Vec<Finding>,
    facts: Vec<Fact>,
    named: Vec<String>,
}

impl Findings {
    /// Something about no credential in particular.
    pub(super) fn note(&mut self, level: Level, code: FindingCode, message: String, help: Help) {
        self.note_of(None, level, code, message, help);
    }

    /// Something about a provider.
    pub(super) fn of_provider(&mut self, provider: &str, level: Level, code: FindingCode, what: &str, help: Help) {
        let mut message = provider.to_owned();
        message.push_str(": ");
        message.push_str(what);
        self.note_of(Some(provider.to_owned()), level, code, message, help);
    }

    /// The same in a message that names the provider itself.
    pub(super) fn of_provider_said(
        &mut self,
        provider: &str,
        level: Level,
        code: FindingCode,
        message: String,
        help: Help,
    ) {
        self.note_of(Some(provider.to_owned()), level, code, message, help);
    }

    /// A provider is named in a finding about another one: nothing else may call it well.
    pub(super) fn names_also(&mut self, provider: &str) {
        self.named.push(provider.to_owned());
    }

    /// Something about one credential. `what` does not name it.
    pub(super) fn of_credential(
        &mut self,
        of: (&str, &str),
        level: Level,
        code: FindingCode,
        what: impl Into<String>,
        help: Help,
    ) {
        let (provider, credential) = (of.0.to_owned(), of.1.to_owned());
        self.facts.push(Fact { provider, credential, level, code, what: what.into(), help });
    }

    /// Whether it is known of a credential that it has ended.
    pub(super) fn has_end(&self, of: (&str, &str)) -> bool {
        self.facts.iter().any(|fact| fact.provider == of.0 && fact.credential == of.1 && fact.code.is_end())
    }

    pub(super) fn ok(&mut self, code: FindingCode, message: String) {
        self.note(Level::Ok, code, message, Help::NONE);
    }

    fn note_of(&mut self, provider: Option<String>, level: Level, code: FindingCode, message: String, help: Help) {
        // A command is left as it is, for it must mean the same when it is run; whoever shows it
        // escapes it.
        let (message, Help { fix, alternative }) = (visible_line(&message), help);
        self.others.push(Finding { level, code, message, fix, alternative, provider, credential: None });
    }

    /// The report. `stopped`: of which providers nothing can be used until a person acts. `whole`:
    /// of which providers all was looked at.
    pub(super) fn report(mut self, stopped: &[String], whole: &[String]) -> Vec<Finding> {
        let mut report = self.others;
        while let Some(first) = self.facts.first() {
            let of = (first.provider.clone(), first.credential.clone());
            let (its, others) =
                self.facts.into_iter().partition(|fact| fact.provider == of.0 && fact.credential == of.1);
            self.facts = others;
            report.push(one_of(of, its, stopped));
        }
        let named = self.named;
        let is_ill = |provider: &String| {
            let of_it = |finding: &&Finding| finding.provider.as_ref() == Some(provider);
            named.contains(provider) || report.iter().filter(of_it).any(|finding| finding.level != Level::Ok)
        };
        for provider in whole.iter().filter(|provider| !is_ill(provider)).collect::<Vec<_>>() {
            let message = visible_line(&format!("{provider}: nothing is wrong"));
            let (level, code, provider) = (Level::Ok, FindingCode::Provider, Some(provider.clone()));
            report.push(Finding { level, code, message, fix: None, alternative: None, provider, credential: None });
        }
        if report.iter().all(|finding| finding.level == Level::Ok) {
            let message = "nothing is wrong".to_owned();
            let (level, code, provider) = (Level::Ok, FindingCode::Healthy, None);
            report.push(Finding { level, code, message, fix: None, alternative: None, provider, credential: None });
        }
        worst_first(report)
    }
}

/// What is so of one credential, as one finding: the most useful fact decides, and the message says
/// them all.
fn one_of((provider, credential): (String, String), mut facts: Vec<Fact>, stopped: &[String]) -> Finding {
    if facts.iter().any(|fact| fact.code.is_end()) {
        facts.retain(|fact| !fact.code.is_of_renewal());
    }
    let mut ordered: Vec<Fact> = Vec::new();
    for fact in facts {
        let rank = |fact: &Fact| (std::cmp::Reverse(fact.level), fact.code);
        let at = ordered.iter().position(|known| rank(&fact) < rank(known)).unwrap_or(ordered.len());
        ordered.insert(at, fact);
    }
    let mut message = provider.clone();
    message.push_str(" (");
    message.push_str(&credential);
    message.push_str("): ");
    let mut told: Vec<&str> = Vec::new();
    for fact in &ordered {
        let what = fact.what.as_str();
        if told.contains(&what) {
            continue;
        }
        match told.is_empty() {
            true => message.push_str(what),
            false => {
                message.push_str(". ");
                push_capitalised(&mut message, what);
            }
        }
        told.push(what);
    }
    let (mut level, code) = ordered.first().map_or((Level::Ok, FindingCode::Provider), |fact| (fact.level, fact.code));
    if level == Level::Warning && (code.is_end() || code == FindingCode::ProviderView) && stopped.contains(&provider) {
        level = Level::Error;
    }
    let Help { fix, alternative } = help_of(&ordered);
    let (provider, credential) = (Some(provider), Some(credential));
    Finding { level, code, message: visible_line(&message), fix, alternative, provider, credential }
}

/// What helps with several facts, the most useful one first. The command for a lesser one may be
/// wrong while the first is so; a way that a person decides about is worth telling all the same.
fn help_of(ordered: &[Fact]) -> Help {
    // Tokens that wait are alive: whatever else is so, they come first.
    let waiting = ordered.iter().find(|fact| fact.code == FindingCode::SuccessorWaiting);
    let decides = waiting.or_else(|| ordered.first().filter(|fact| fact.help != Help::NONE));
    let fix = match decides {
        Some(fact) => fact.help.fix.clone(),
        None => ordered.iter().find_map(|fact| fact.help.fix.clone()),
    };
    let mut alternatives = ordered.iter().filter_map(|fact| fact.help.alternative.clone());
    let alternative = if waiting.is_some() { None } else { alternatives.next() };
    Help { alternative: alternative.filter(|alternative| fix.as_ref() != Some(alternative)), fix }
}

fn push_capitalised(message: &mut String, what: &str) {
    let mut letters = what.chars();
    if let Some(first) = letters.next() {
        message.push(first.to_ascii_uppercase());
        message.push_str(letters.as_str());
    }
}

/// Errors, warnings and what is well, in this order; of each first what somebody can do something
/// about.
fn worst_first(report: Vec<Finding>) -> Vec<Finding> {
    let rank = |finding: &Finding| {
        let has_no_help = finding.fix.is_none() && finding.alternative.is_none();
        (std::cmp::Reverse(finding.level), has_no_help)
    };
    let mut ordered: Vec<Finding> = Vec::new();
    for finding in report {
        let at = ordered.iter().position(|known| rank(&finding) < rank(known)).unwrap_or(ordered.len());
        ordered.insert(at, finding);
    }
    ordered
}

/// A moment, to the second.
pub(super) fn at(ms: u64) -> String {
    let exact = time::to_rfc3339(ms, Zone::Letter);
    exact.split_once('.').map_or_else(|| exact.clone(), |(seconds, _)| format!("{seconds}Z"))
}

/// A text of others in a message.
pub(super) fn quoted(text: &str) -> String {
    json::quote(text)
}
