//! Which of several credentials is used. The same pool, the same random numbers and the same time
//! give the same pick.

use std::rc::Rc;

use lazaretto_macros::async_natively;

use crate::error::{Action, KeeperError};
use crate::lookup::{self, candidates, no_credential};
use crate::pool::memory;
use crate::ports::Ports;
use crate::protocol::{Demand, refresh};
use crate::provider::Profile;
use crate::session::Session;
use crate::state::fingerprint::Fingerprint;
use crate::state::settings::{PoolPolicy, Strategy};
use crate::token::{AccessToken, Picked, TokenRequest};
use crate::vault::{Credential, EntryState, Place, Reading};

use super::rest::{Resting, resting};
use super::{ATTEMPTS, Pool};

/// Credentials without anything to use of which the reason is looked for.
const MOST_EMPTY: usize = 8;

/// A pool as a pick sees it.
struct Choice<'a> {
    credentials: &'a [Credential],
    pool: Option<&'a Pool>,
    policy: &'a PoolPolicy,
    session: Option<&'a str>,
    now_ms: u64,
    is_sole: bool,
    /// Those that failed already, in order.
    tried: &'a [usize],
}

/// An access token that is valid as asked, refreshed if need be.
#[async_natively]
pub(crate) async fn token<P: Ports>(session: &Session<P>, request: &TokenRequest) -> Result<AccessToken, KeeperError> {
    let (profile, reading) = lookup::profile_in(session, &request.vault, &request.provider).await?;
    let found = candidates(&reading, &profile, request.credential.as_deref())?;
    if request.credential.is_none() {
        return pick(session, request, &profile, &reading).await;
    }
    // Who names a credential means that one, though it rests.
    let mut first_error = None;
    for credential in found {
        match refresh::ensure(session, &demand(request, &profile, credential.id())).await {
            Ok(token) => return Ok(token),
            // One label may stand for several.
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    Err(first_error.unwrap_or_else(|| no_credential(&profile)))
}

/// An access token of the credential that is picked; of another one if that cannot serve.
#[async_natively]
pub(crate) async fn pick<P: Ports>(
    session: &Session<P>,
    request: &TokenRequest,
    profile: &Rc<Profile>,
    reading: &Reading,
) -> Result<AccessToken, KeeperError> {
    let policy = session.settings(&request.vault).await?.pool(&profile.id)?;
    let of_session = request.session.as_ref().map(|session| Fingerprint::of(session).as_str().to_owned());
    let mut tried: Vec<usize> = Vec::new();
    let mut worst = None;
    let mut lost = 0;
    loop {
        let now_ms = session.ports.wall_ms();
        let state = memory::load(session, &request.vault).await;
        let choice = Choice {
            credentials: &reading.credentials,
            pool: state.pool(&profile.id),
            policy: &policy,
            session: of_session.as_deref(),
            now_ms,
            is_sole: is_sole(&reading.credentials),
            tried: &tried,
        };
        let Some((at, picked)) = choice.best(|| session.ports.random_u64()) else {
            choice.why_none(profile, &mut worst);
            break;
        };
        let id = reading.credentials[at].id();
        if policy.keeps_count() {
            let take = |pool: &mut Pool| pool.take(id, of_session.as_deref(), now_ms, &policy);
            if !memory::swap(session, &request.vault, &profile.id, &state, &take).await && lost < ATTEMPTS {
                // Somebody else picked meanwhile, perhaps the same one.
                lost += 1;
                continue;
            }
        }
        match refresh::ensure(session, &demand(request, profile, id)).await {
            Ok(token) => return Ok(AccessToken { picked, ..token }),
            Err(error) => worse(&mut worst, error),
        }
        let place = tried.binary_search(&at).unwrap_or_else(|place| place);
        tried.insert(place, at);
    }
    // What holds nothing may still have its tokens in the sealed document, and knows best why it
    // holds nothing.
    let is_empty = |credential: &&Credential| {
        let place = credential.leading();
        place.is_empty() && !place.is_in_environment()
    };
    for credential in reading.credentials.iter().filter(is_empty).take(MOST_EMPTY) {
        match refresh::ensure(session, &demand(request, profile, credential.id())).await {
            Ok(token) => return Ok(AccessToken { picked: Picked::Priority, ..token }),
            Err(error) => worse(&mut worst, error),
        }
    }
    Err(worst.unwrap_or_else(|| no_credential(profile)))
}

/// What is asked of one credential.
pub(crate) fn demand<'a>(request: &'a TokenRequest, profile: &Rc<Profile>, id: &str) -> Demand<'a> {
    Demand {
        vault: &request.vault,
        profile: profile.clone(),
        credential: id.to_owned(),
        min_valid_ms: request.min_valid_s.saturating_mul(1_000),
        refused: request.refused_access_token.clone(),
        replaced: None,
        is_forced: false,
    }
}

/// Of two errors the caller should hear the one that ends by itself, and of those the one that ends
/// first; else the first.
fn worse(worst: &mut Option<KeeperError>, error: KeeperError) {
    let ends = |error: &KeeperError| (error.action() == Action::Retry).then(|| error.retry_after_s.unwrap_or(u64::MAX));
    let is_sooner = |known: &KeeperError| match (ends(known), ends(&error)) {
        (Some(known), Some(new)) => new < known,
        (None, Some(_)) => true,
        _ => false,
    };
    if worst.as_ref().is_none_or(is_sooner) {
        *worst = Some(error);
    }
}

/// Whether at most one credential has anything to use.
pub(crate) fn is_sole(credentials: &[Credential]) -> bool {
    let can = |credential: &&Credential| {
        let place = credential.leading();
        may_serve(place)
    };
    credentials.iter().filter(can).nth(1).is_none()
}

fn may_serve(place: &Place) -> bool {
    (!place.is_empty() || place.is_in_environment()) && place.state != EntryState::Dead
}

impl Choice<'_> {
    fn resting(&self, credential: &Credential) -> Option<Resting> {
        resting(credential, self.pool, self.is_sole, self.policy, self.now_ms)
    }

    fn is_ready(&self, at: usize) -> bool {
        let credential = &self.credentials[at];
        let place = credential.leading();
        may_serve(place) && self.tried.binary_search(&at).is_err() && self.resting(credential).is_none()
    }

    /// Whether nobody would be one too many to use it.
    fn is_free(&self, at: usize) -> bool {
        self.policy.max_in_use == 0 || self.users(at) < self.policy.max_in_use
    }

    fn users(&self, at: usize) -> u64 {
        let id = self.credentials[at].id();
        self.pool.map_or(0, |pool| pool.users(id, self.now_ms, self.policy.in_use_s))
    }

    /// The credential to use now. None: none can be used.
    fn best(&self, random: impl FnOnce() -> u64) -> Option<(usize, Picked)> {
        let all = self.credentials.len();
        let is_free = |at: &usize| self.is_ready(*at) && self.is_free(*at);
        let mut free = (0..all).filter(is_free);
        let in_turn = || {
            let last = self.pool.map_or("", |pool| pool.last.as_str());
            let after = self.credentials.iter().position(|credential| credential.id() == last).map_or(0, |at| at + 1);
            (after..all).chain(0..after.min(all)).find(is_free)
        };
        let (at, picked) = match self.policy.strategy {
            Strategy::FillFirst => (free.next(), Picked::Priority),
            Strategy::RoundRobin => (in_turn(), Picked::RoundRobin),
            Strategy::Random => {
                let ready = (0..all).filter(is_free).count();
                let at = if ready > 1 { (random() % ready as u64) as usize } else { 0 };
                (free.nth(at), Picked::Random)
            }
            Strategy::LeastUsed => {
                let uses = |at: &usize| {
                    let credential = &self.credentials[*at];
                    self.pool.map_or(0, |pool| pool.uses(credential.id())) + credential.leading().request_count
                };
                (free.min_by_key(uses), Picked::LeastUsed)
            }
            Strategy::Sticky => match self.of_session().filter(|at| self.is_ready(*at)) {
                // A session keeps its credential although others use it: another one would cost it
                // more.
                Some(at) => (Some(at), Picked::Sticky),
                None => (in_turn(), Picked::RoundRobin),
            },
        };
        // Where all are in use, the one that fewest use: a limit here spreads, it does not refuse.
        let at = at.or_else(|| (0..all).filter(|at| self.is_ready(*at)).min_by_key(|at| self.users(*at)))?;
        Some((at, if all == 1 { Picked::Only } else { picked }))
    }

    /// The credential that the session has.
    fn of_session(&self) -> Option<usize> {
        let (id, at_ms) = self.pool?.sessions.get(self.session?)?;
        let is_on = super::is_recent(*at_ms, self.now_ms, self.policy.session_s);
        self.credentials.iter().position(|credential| is_on && credential.id() == id)
    }

    /// Why nothing can be picked: what rests, and what is dead.
    fn why_none(&self, profile: &Profile, worst: &mut Option<KeeperError>) {
        for credential in self.credentials {
            if let Some(rest) = self.resting(credential) {
                worse(worst, rest.error(&profile.id, credential.id(), self.now_ms));
            } else if credential.leading().state == EntryState::Dead && worst.is_none() {
                *worst = Some(crate::protocol::why_ended::dead_entry(profile, credential));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::Catalog;
    use crate::secret::Secret;
    use crate::state::settings::Settings;
    use crate::vault::{Provenance, Vault};

    const NOW_MS: u64 = 1_784_541_600_000;

    fn reading(rows: &str) -> Reading {
        let profile = Catalog::new(None).unwrap().generic("p").unwrap();
        let text = format!(r#"{{"credential_pool":{{"p":[{rows}]}}}}"#);
        Vault::open(&text, &Provenance::default()).unwrap().read(&profile)
    }

    fn keys(ids: &[&str]) -> Reading {
        let rows: Vec<String> =
            ids.iter().map(|id| format!(r#"{{"id":"{id}","auth_type":"api_key","access_token":"k-{id}"}}"#)).collect();
        reading(&rows.join(","))
    }

    fn policy(text: &str) -> Rc<PoolPolicy> {
        Settings::of(Secret::from(format!(r#"{{"pool":{text}}}"#).as_str())).pool("p").unwrap()
    }

    fn picks(
        reading: &Reading,
        policy: &PoolPolicy,
        pool: &mut Pool,
        sessions: &[Option<&str>],
    ) -> Vec<(String, Picked)> {
        sessions
            .iter()
            .map(|session| {
                let choice = Choice {
                    credentials: &reading.credentials,
                    pool: Some(pool),
                    policy,
                    session: *session,
                    now_ms: NOW_MS,
                    is_sole: is_sole(&reading.credentials),
                    tried: &[],
                };
                let (at, picked) = choice.best(|| 7).unwrap();
                let id = reading.credentials[at].id().to_owned();
                pool.take(&id, *session, NOW_MS, policy);
                (id, picked)
            })
            .collect()
    }

    fn ids(picks: &[(String, Picked)]) -> Vec<&str> {
        picks.iter().map(|(id, _)| id.as_str()).collect()
    }

    #[test]
    fn each_strategy_picks_as_its_name_says_and_says_so() {
        let three = keys(&["a", "b", "c"]);
        for (strategy, wanted, why) in [
            ("fill_first", ["a", "a", "a", "a"], Picked::Priority),
            ("round_robin", ["a", "b", "c", "a"], Picked::RoundRobin),
            ("least_used", ["a", "b", "c", "a"], Picked::LeastUsed),
            ("random", ["b", "b", "b", "b"], Picked::Random),
        ] {
            let policy = policy(&format!(r#"{{"strategy":"{strategy}"}}"#));
            let picked = picks(&three, &policy, &mut Pool::default(), &[None; 4]);
            assert_eq!(ids(&picked), wanted, "{strategy}");
            assert!(picked.iter().all(|(_, picked)| *picked == why), "{strategy}");
        }
        let alone = picks(&keys(&["a"]), &policy(r#"{"strategy":"random"}"#), &mut Pool::default(), &[None]);
        assert_eq!(alone[0].1, Picked::Only);
    }

    #[test]
    fn what_another_program_counted_counts() {
        let rows = reading(r#"{"id":"a","access_token":"k","request_count":2},{"id":"b","access_token":"l"}"#);
        let picked = picks(&rows, &policy(r#"{"strategy":"least_used"}"#), &mut Pool::default(), &[None; 4]);
        assert_eq!(ids(&picked), ["b", "b", "a", "b"]);
    }

    #[test]
    fn a_session_keeps_its_credential_while_it_is_healthy() {
        let policy = policy(r#"{"strategy":"sticky"}"#);
        let mut pool = Pool::default();
        let (s, t) = (Some("s"), Some("t"));
        let picked = picks(&keys(&["a", "b"]), &policy, &mut pool, &[s, t, s, t, s]);
        assert_eq!(ids(&picked), ["a", "b", "a", "b", "a"]);
        assert_eq!(picked[2].1, Picked::Sticky);
        let until = NOW_MS / 1_000 + 60;
        let a_rests = reading(&format!(
            r#"{{"id":"a","access_token":"k","last_status":"exhausted","last_error_reset_at":{until}}},{{"id":"b","access_token":"k2"}}"#
        ));
        assert_eq!(ids(&picks(&a_rests, &policy, &mut pool, &[s, s])), ["b", "b"]);
    }

    #[test]
    fn a_limit_of_users_spreads_and_never_refuses() {
        let policy = policy(r#"{"max_in_use":1}"#);
        let mut pool = Pool::default();
        let two = keys(&["a", "b"]);
        assert_eq!(ids(&picks(&two, &policy, &mut pool, &[None; 3])), ["a", "b", "a"]);
        // One of the two that use `a` is done, then the other.
        pool.member("a").in_use.pop();
        assert_eq!(ids(&picks(&two, &policy, &mut pool, &[None])), ["a"]);
        pool.member("a").in_use.clear();
        assert_eq!(ids(&picks(&two, &policy, &mut pool, &[None])), ["a"]);
        // Nobody ended the others in time.
        pool.member("a").in_use = vec![NOW_MS - 600_000];
        assert_eq!(ids(&picks(&two, &policy, &mut pool, &[None])), ["a"]);
    }
}
