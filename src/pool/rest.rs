//! Rests: which credential is resting, and how long a new rest is.

use crate::classify::ApiVerdict;
use crate::error::{Code, KeeperError};
use crate::state::fingerprint::Fingerprint;
use crate::state::pause;
use crate::state::settings::PoolPolicy;
use crate::time::DAY_MS;
use crate::vault::{Credential, EntryState, Place};

use super::{Pool, Trouble};

/// Who names a shorter wait has not said how often: each call would be refused anew.
const SHORTEST_S: u64 = 5;
/// Failures longer ago than this are not in a row with a new one.
const ROW_MS: u64 = DAY_MS;

/// That a credential is not to be picked for now.
#[derive(Clone, Debug)]
pub(crate) struct Resting {
    /// Milliseconds since 1970; none: until it has another access token.
    pub(crate) until_ms: Option<u64>,
    /// What the API had against it.
    pub(crate) why: String,
}

/// The rest of a credential, if it has one. `is_sole`: there is no other that could be picked
/// instead.
pub(crate) fn resting(
    credential: &Credential,
    pool: Option<&Pool>,
    is_sole: bool,
    policy: &PoolPolicy,
    now_ms: u64,
) -> Option<Resting> {
    let place = credential.leading();
    let ends = |until_ms: u64, since_ms: Option<u64>, is_billing: bool| {
        let sole_until_ms = since_ms.map(|since_ms| since_ms.saturating_add(policy.sole_most_s.saturating_mul(1_000)));
        let until_ms = if is_sole && !is_billing { sole_until_ms.unwrap_or(until_ms).min(until_ms) } else { until_ms };
        pause::holds(since_ms, until_ms, now_ms).then_some(until_ms)
    };
    // An entry's word is about its own access token.
    let about_it = |entry: &&Place| entry.access_token == place.access_token;
    for entry in credential.places.iter().filter(about_it) {
        let EntryState::Resting(until_ms) = entry.state else { continue };
        let error = entry.last_error.as_ref();
        let is_billing = error.is_some_and(|error| error.code == "402" || error.reason == ApiVerdict::Billing.as_str());
        if let Some(until_ms) = ends(until_ms, error.and_then(|error| error.at_ms), is_billing) {
            let why = error.map_or_else(String::new, |error| {
                if error.message.is_empty() { error.reason.clone() } else { error.message.clone() }
            });
            return Some(Resting { until_ms: Some(until_ms), why });
        }
    }
    let trouble = pool?.trouble(credential.id()).filter(|trouble| !trouble.in_entry)?;
    if !trouble.concerns(place) {
        return None;
    }
    let why = trouble.summary.clone();
    match trouble.until_ms {
        None => Some(Resting { until_ms: None, why }),
        Some(until_ms) => {
            let until_ms = ends(until_ms, Some(trouble.at_ms), trouble.kind == ApiVerdict::Billing.as_str())?;
            Some(Resting { until_ms: Some(until_ms), why })
        }
    }
}

impl Resting {
    /// What a caller is told who finds nothing but this.
    pub(crate) fn error(&self, provider: &str, credential: &str, now_ms: u64) -> KeeperError {
        let why = if self.why.is_empty() { String::new() } else { format!(" ({})", self.why) };
        match self.until_ms {
            Some(until_ms) => {
                let wait_s = until_ms.saturating_sub(now_ms).div_ceil(1_000);
                let what = format!("{provider} ({credential}): rests for another {wait_s} s{why}");
                KeeperError::new(Code::CoolingDown, what).after(wait_s)
            }
            None => {
                let what = format!(
                    "{provider} ({credential}): the API refuses even the access token that a refresh has just brought{why}"
                );
                KeeperError::new(Code::AccessRefused, what)
            }
        }
        .of(provider, credential)
    }
}

impl Trouble {
    /// Whether it is about the access token that a place holds now.
    pub(super) fn concerns(&self, place: &Place) -> bool {
        place.access_token.as_ref().is_some_and(|token| Fingerprint::of(token.expose()) == self.access)
    }
}

/// How often in a row an API had the same against a credential, this time among them.
pub(super) fn in_a_row(before: Option<&Trouble>, kind: ApiVerdict, now_ms: u64) -> u64 {
    match before {
        Some(trouble) if trouble.kind == kind.as_str() && now_ms.abs_diff(trouble.at_ms) < ROW_MS => {
            // Many calls that were under way together fail together: that is one failure.
            let together = kind != ApiVerdict::Fault && trouble.until_ms.is_some_and(|until_ms| now_ms < until_ms);
            trouble.failures + u64::from(!together)
        }
        _ => 1,
    }
}

/// How long a rest is, in seconds. `named_s`: what the API asked for.
pub(super) fn length_s(
    kind: ApiVerdict,
    failures: u64,
    named_s: Option<u64>,
    is_sole: bool,
    policy: &PoolPolicy,
) -> u64 {
    let grown = |first: u64, factor: u64, most: u64| {
        (1..failures.min(16)).fold(first, |seconds, _| seconds.saturating_mul(factor).min(most)).min(most)
    };
    match kind {
        // Money does not come back by waiting a little: whoever names a shorter time means
        // something else.
        ApiVerdict::Billing => {
            let rest_s = grown(policy.billing_s, 2, policy.billing_most_s);
            named_s.unwrap_or_default().max(rest_s)
        }
        ApiVerdict::Throttled => match (named_s, is_sole) {
            (Some(named_s), false) => named_s.max(SHORTEST_S),
            (Some(named_s), true) => named_s.max(SHORTEST_S).min(policy.sole_most_s),
            (None, false) => grown(policy.throttled_s, 5, policy.throttled_most_s),
            (None, true) => grown(policy.throttled_s, 5, policy.throttled_most_s).min(policy.sole_s),
        },
        ApiVerdict::Forbidden => policy.forbidden_s,
        ApiVerdict::Fault => {
            named_s.map_or(policy.fault_s, |named_s| named_s.max(SHORTEST_S).min(policy.throttled_most_s))
        }
        _ => policy.refused_s,
    }
}
