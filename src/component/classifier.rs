//! `wit/classifier.wit` on [`crate::classify`].

use std::cell::RefCell;
use std::rc::Rc;

use crate::classify::{self, Answer, Rules, Verdict};
use crate::provider::{Catalog, GENERIC, ProfileError};
use crate::table::Table;

use super::bindings::Component;
use super::bindings::exports::lazaret::keeper::classifier as wit;

thread_local! {
    // Reading profiles takes far longer than judging by them, and the same ones come again and again.
    static READ: RefCell<Option<Read>> = const { RefCell::new(None) };
}

/// What was read of a user's profiles.
struct Read {
    profiles: Option<String>,
    catalog: Catalog,
    rules: Table<String, Rc<Rules>>,
}

/// The rules by which a provider's answers are judged.
fn rules(provider: &str, profiles: Option<String>) -> Result<Rc<Rules>, ProfileError> {
    READ.with_borrow_mut(|read| {
        let read = match read {
            Some(read) if read.profiles == profiles => read,
            _ => read.insert(Read { catalog: Catalog::new(profiles.as_deref())?, profiles, rules: Table::default() }),
        };
        if let Some(rules) = read.rules.get(provider) {
            return Ok(rules.clone());
        }
        let profile = match read.catalog.profile(&read.catalog.resolve(provider))? {
            Some(profile) => profile,
            None => read.catalog.generic(GENERIC)?,
        };
        let rules = Rc::new(profile.rules);
        read.rules.insert(provider.to_owned(), rules.clone());
        Ok(rules)
    })
}

impl wit::Guest for Component {
    fn classify(answer: wit::Answer, profiles: Option<String>, now_s: u64) -> Result<wit::Judgement, wit::Error> {
        let rules = rules(&answer.provider, profiles)
            .map_err(|error| wit::Error { code: "bad-profile".to_owned(), message: error.0 })?;
        let judgement = classify::classify(
            &rules,
            &Answer {
                status: answer.status,
                headers: &answer.headers,
                body: &answer.body,
                body_complete: answer.body_complete,
                body_lossy: answer.body_lossy,
                transport_error: answer.transport_error.as_deref(),
            },
            now_s,
        );
        Ok(wit::Judgement {
            verdict: match judgement.verdict {
                Verdict::Refreshed => wit::Verdict::Refreshed,
                Verdict::Terminal => wit::Verdict::Terminal,
                Verdict::Interaction => wit::Verdict::Interaction,
                Verdict::Config => wit::Verdict::Config,
                Verdict::Transient => wit::Verdict::Transient,
                Verdict::Unknown => wit::Verdict::Unknown,
            },
            status: judgement.status,
            code: judgement.code,
            sub_code: judgement.sub_code,
            rule: judgement.rule,
            retry_after_s: judgement.retry_after_s,
            summary: judgement.summary,
            in_doubt: judgement.in_doubt,
            steps: judgement
                .steps
                .into_iter()
                .map(|step| wit::Step { name: step.name.to_owned(), finding: step.finding })
                .collect(),
        })
    }
}
