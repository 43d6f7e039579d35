//! `wit/classifier.wit` on [`crate::classify`].

use std::cell::RefCell;
use std::rc::Rc;

use crate::classify::{self, Answer, Verdict};
use crate::provider::{Catalog, GENERIC, Profile, ProfileError};
use crate::visible::visible_line;
use std::collections::BTreeMap;

use super::bindings::Component;
use super::bindings::exports::lazaretto::keeper::classifier as wit;

thread_local! {
    // Reading profiles takes far longer than judging by them, and the same ones come again and again.
    static READ: RefCell<Option<Read>> = const { RefCell::new(None) };
}

/// What was read of a user's profiles.
struct Read {
    profiles: Option<String>,
    catalog: Catalog,
    read: BTreeMap<String, Rc<Profile>>,
}

/// The profile by whose rules a provider's answers are judged.
fn profile(provider: &str, profiles: Option<String>) -> Result<Rc<Profile>, ProfileError> {
    READ.with_borrow_mut(|read| {
        let read = match read {
            Some(read) if read.profiles == profiles => read,
            _ => read.insert(Read { catalog: Catalog::new(profiles.as_deref())?, profiles, read: BTreeMap::new() }),
        };
        if let Some(profile) = read.read.get(provider) {
            return Ok(profile.clone());
        }
        let profile = match read.catalog.profile(&read.catalog.resolve(provider))? {
            Some(profile) => profile,
            None => read.catalog.generic(GENERIC)?,
        };
        let profile = Rc::new(profile);
        read.read.insert(provider.to_owned(), profile.clone());
        Ok(profile)
    })
}

impl wit::Guest for Component {
    fn classify(answer: wit::Answer, profiles: Option<String>, now_s: u64) -> Result<wit::Judgement, wit::Error> {
        let profile = profile(&answer.provider, profiles)
            .map_err(|error| wit::Error { code: "bad-profile".to_owned(), message: visible_line(&error.0) })?;
        let judgement = classify::classify(
            &profile.rules,
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
