//! `wit/classifier.wit` on [`crate::classify`].

use crate::classify::{self, Answer, Verdict};
use crate::provider::{Catalog, GENERIC};

use super::bindings::Component;
use super::bindings::exports::lazaret::keeper::classifier as wit;

impl wit::Guest for Component {
    fn classify(answer: wit::Answer, profiles: Option<String>, now_s: u64) -> Result<wit::Judgement, wit::Error> {
        let bad_profile =
            |error: crate::provider::ProfileError| wit::Error { code: "bad-profile".to_owned(), message: error.0 };
        let catalog = Catalog::new(profiles.as_deref()).map_err(bad_profile)?;
        let id = catalog.resolve(&answer.provider);
        let profile = match catalog.profile(&id).map_err(bad_profile)? {
            Some(profile) => profile,
            None => catalog.generic(GENERIC).map_err(bad_profile)?,
        };
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
