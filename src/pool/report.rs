//! What an API's answer to a call leads to: which credential rests, and what the caller should do
//! next.
//!
//! Only the credential that the call was made with is concerned, and only while it still has that
//! access token. A refused access token is refreshed once; it never ends a grant.

use std::rc::Rc;

use lazaretto_macros::async_natively;

use crate::classify::{Answer, ApiJudgement, ApiVerdict, judge_api};
use crate::error::{Action, Code, KeeperError};
use crate::pool::{memory, pick};
use crate::ports::{Event, Ports, Severity};
use crate::protocol::{freshness, refresh};
use crate::provider::Profile;
use crate::secret::Secret;
use crate::session::{Session, uneditable};
use crate::state::fingerprint::Fingerprint;
use crate::state::settings::PoolPolicy;
use crate::token::{AccessToken, TokenRequest};
use crate::vault::edit::{Change, Edits};
use crate::vault::{Credential, CredentialKind, EntryState, Place, Reading, Spot};
use crate::visible::visible_line;
use crate::{json, lookup, next_step};

use super::pick::is_sole;
use super::rest::{in_a_row, length_s, resting};
use super::{Trouble, is_recent};

/// A call to an API, and what it answered: `api-call` in the contract.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "wit/pool.wit documents them")]
pub struct ApiCall {
    pub vault: String,
    pub provider: String,
    pub credential: Option<String>,
    pub session: Option<String>,
    pub access_token: Secret,
    pub status: Option<u16>,
    pub headers: Vec<(String, String)>,
    pub body: Secret,
}

/// What the caller of an API should do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhatToDo {
    /// Nothing: the call went through.
    GoOn,
    /// Call again with the access token that comes along.
    Use,
    /// Call again later.
    Wait,
    /// Calling again would not help.
    GiveUp,
}

impl WhatToDo {
    /// The word in the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::GoOn => "go-on",
            Self::Use => "use",
            Self::Wait => "wait",
            Self::GiveUp => "give-up",
        }
    }
}

/// Advice on an API call that was reported.
#[derive(Clone, Debug)]
pub struct Advice {
    /// What to do.
    pub what: WhatToDo,
    /// The access token to use.
    pub token: Option<AccessToken>,
    /// When to call again, in seconds.
    pub retry_after_s: Option<u64>,
    /// Why, for a person.
    pub message: String,
    /// The one command that helps.
    pub run: Option<String>,
}

/// What an API had against a credential that is to rest.
struct Blame<'a> {
    call: &'a ApiCall,
    profile: &'a Profile,
    policy: &'a PoolPolicy,
    credential: &'a Credential,
    judged: &'a ApiJudgement,
    now_ms: u64,
}

/// Takes note of what an API answered, and says what to do next.
#[async_natively]
pub(crate) async fn report<P: Ports>(session: &Session<P>, call: &ApiCall) -> Result<Advice, KeeperError> {
    let (profile, reading) = lookup::profile_in(session, &call.vault, &call.provider).await?;
    let now_ms = session.ports.wall_ms();
    let answer = Answer {
        status: call.status,
        headers: &call.headers,
        body: call.body.expose(),
        body_complete: true,
        body_lossy: false,
        transport_error: None,
    };
    let judged = judge_api(&answer, now_ms / 1_000);
    let Some(credential) = holder(session, &profile, call, &reading).await else {
        return advise_on_unknown_token(session, call, &judged).await;
    };
    let policy = session.settings(&call.vault).await?.pool(&profile.id)?;
    let blame = Blame { call, profile: &profile, policy: &policy, credential, judged: &judged, now_ms };
    match judged.verdict {
        ApiVerdict::Accepted => {
            forgive(session, &blame).await?;
            Ok(Advice::of(WhatToDo::GoOn, None, &judged.summary))
        }
        ApiVerdict::Unrelated => Ok(Advice::of(WhatToDo::GiveUp, None, &judged.summary)),
        ApiVerdict::Refused => refused_by_api(session, &blame, &profile).await,
        ApiVerdict::Fault => fault(session, &blame, &reading).await,
        ApiVerdict::Throttled | ApiVerdict::Billing | ApiVerdict::Forbidden => {
            rest(session, &blame, &reading, false).await?;
            next(session, call, &judged).await
        }
    }
}

/// One who used a credential is done with it.
#[async_natively]
pub(crate) async fn end_use<P: Ports>(
    session: &Session<P>,
    vault: &str,
    provider: &str,
    credential: &str,
) -> Result<(), KeeperError> {
    let (profile, _) = lookup::profile_in(session, vault, provider).await?;
    let state = memory::load(session, vault).await;
    let in_use = state.pool(&profile.id).and_then(|pool| pool.members.get(credential));
    if in_use.is_none_or(|member| member.in_use.is_empty()) {
        let what = format!("{} ({credential}): nobody was counted as using it", profile.id);
        return Err(KeeperError::new(Code::NothingToDo, what).of(&profile.id, credential));
    }
    memory::change(session, vault, &profile.id, &|pool| {
        let in_use = &mut pool.member(credential).in_use;
        in_use.drain(..in_use.len().min(1));
    })
    .await;
    Ok(())
}

/// Ends the rests of these credentials. False: none had one.
#[async_natively]
pub(crate) async fn end_rests<P: Ports>(
    session: &Session<P>,
    vault: &str,
    profile: &Profile,
    credentials: &[&Credential],
) -> Result<bool, KeeperError> {
    let marked =
        |place: &Place| matches!(place.spot, Spot::Entry(_)) && place.state != EntryState::Ok && !place.is_empty();
    let state = memory::load(session, vault).await;
    let pool = state.pool(&profile.id);
    let is_remembered = |id: &str| pool.is_some_and(|pool| pool.has_trouble(id));
    let remembered = credentials.iter().any(|credential| is_remembered(credential.id()));
    let ids: Vec<&str> = credentials
        .iter()
        .flat_map(|credential| &credential.places)
        .filter(|place| marked(place))
        .map(|place| place.id.as_str())
        .collect();
    if !ids.is_empty() {
        session
            .edit_vault(vault, None, async |text| {
                with_status(
                    session,
                    vault,
                    text,
                    profile,
                    &|place| marked(place) && ids.contains(&place.id.as_str()),
                    &healthy(),
                )
            })
            .await?;
    }
    if remembered {
        memory::change(session, vault, &profile.id, &|pool| {
            for credential in credentials {
                pool.forget_trouble(credential.id());
            }
        })
        .await;
    }
    Ok(remembered || !ids.is_empty())
}

/// The credential that a call was made with: the access token says so, whatever name came with it.
#[async_natively]
async fn holder<'a, P: Ports>(
    session: &Session<P>,
    profile: &Profile,
    call: &ApiCall,
    reading: &'a Reading,
) -> Option<&'a Credential> {
    let holds = |place: &Place| place.access_token.as_ref() == Some(&call.access_token);
    if let Some(found) = reading.credentials.iter().find(|credential| credential.places.iter().any(holds)) {
        return Some(found);
    }
    for credential in &reading.credentials {
        if freshness::key_in_environment(session, profile, credential.leading()).await.as_ref()
            == Some(&call.access_token)
        {
            return Some(credential);
        }
    }
    None
}

/// Nobody holds that token any more, so nobody is to blame; what is there now may serve.
#[async_natively]
async fn advise_on_unknown_token<P: Ports>(
    session: &Session<P>,
    call: &ApiCall,
    judged: &ApiJudgement,
) -> Result<Advice, KeeperError> {
    match judged.verdict {
        ApiVerdict::Accepted => Ok(Advice::of(WhatToDo::GoOn, None, &judged.summary)),
        ApiVerdict::Unrelated => Ok(Advice::of(WhatToDo::GiveUp, None, &judged.summary)),
        _ => next(session, call, judged).await,
    }
}

/// An API does not accept the access token: one refresh; after that, another credential.
#[async_natively]
async fn refused_by_api<P: Ports>(
    session: &Session<P>,
    blame: &Blame<'_>,
    profile: &Rc<Profile>,
) -> Result<Advice, KeeperError> {
    let Blame { call, credential, judged, now_ms, .. } = blame;
    let id = credential.id();
    let access = Fingerprint::of(call.access_token.expose());
    let state = memory::load(session, &call.vault).await;
    let renewed = state.pool(&profile.id).and_then(|pool| pool.members.get(id)?.renewed.as_ref());
    let is_straight =
        renewed.is_some_and(|(new, at_ms)| *new == access && is_recent(*at_ms, *now_ms, blame.policy.refused_s));
    if is_straight {
        // Refreshing again would go on for ever: the login lacks something that a refresh does not
        // bring.
        rest(session, blame, &Reading::default(), true).await?;
        tell_of(
            session,
            blame,
            "access-refused",
            "an API refuses even the access token that a refresh has just brought",
        );
        return next(session, call, judged).await;
    }
    let place = credential.leading();
    if place.kind == CredentialKind::OAuth && place.access_token.as_ref() == Some(&call.access_token) {
        let request = TokenRequest { refused_access_token: Some(call.access_token.clone()), ..request(call) };
        match refresh::ensure(session, &super::demand(&request, profile, id)).await {
            Ok(token) => {
                let new = Fingerprint::of(token.token.expose());
                memory::change(session, &call.vault, &profile.id, &|pool| {
                    let member = pool.member(id);
                    member.renewed = Some((new.clone(), *now_ms));
                    member.trouble = None;
                })
                .await;
                let message = format!("{}; here is a newer one", judged.summary);
                return Ok(Advice::of(WhatToDo::Use, Some(token), &message));
            }
            // Its login is over, and says so itself.
            Err(error) if error.action() == Action::Login => return next(session, call, judged).await,
            Err(_) => {}
        }
    }
    // A copy of a login that has moved on is not to blame.
    let has_newer = place.access_token.as_ref() != Some(&call.access_token) && place.access_token.is_some();
    if !has_newer {
        rest(session, blame, &Reading::default(), false).await?;
    }
    next(session, call, judged).await
}

/// A fault of the API is nobody's: only several in a row are a reason to try another credential.
#[async_natively]
async fn fault<P: Ports>(session: &Session<P>, blame: &Blame<'_>, reading: &Reading) -> Result<Advice, KeeperError> {
    let Blame { call, credential, judged, now_ms, .. } = blame;
    let state = memory::load(session, &call.vault).await;
    let before = state.pool(&blame.profile.id).and_then(|pool| pool.trouble(credential.id()));
    let failures = in_a_row(before, ApiVerdict::Fault, *now_ms);
    if failures >= blame.policy.faults {
        rest(session, blame, reading, false).await?;
        return next(session, call, judged).await;
    }
    // What is known of it already stays known.
    if before.is_none_or(|before| before.kind == ApiVerdict::Fault.as_str()) {
        let trouble = blame.trouble(failures, Some(*now_ms), false);
        memory::change(session, &call.vault, &blame.profile.id, &|pool| {
            pool.member(credential.id()).trouble = Some(trouble.clone());
        })
        .await;
    }
    let wait_s = judged.retry_after_s.unwrap_or(failures);
    Ok(Advice::of(WhatToDo::Wait, None, &judged.summary).after(wait_s))
}

/// Lets a credential rest: in the entry's own fields where it has an entry, else in the pool
/// document.
#[async_natively]
async fn rest<P: Ports>(
    session: &Session<P>,
    blame: &Blame<'_>,
    reading: &Reading,
    until_changed: bool,
) -> Result<(), KeeperError> {
    let Blame { call, profile, policy, credential, judged, now_ms } = blame;
    let state = memory::load(session, &call.vault).await;
    let pool = state.pool(&profile.id);
    let id = credential.id();
    let failures = in_a_row(pool.and_then(|pool| pool.trouble(id)), judged.verdict, *now_ms);
    let sole = is_sole(&reading.credentials) && !reading.credentials.is_empty();
    let length_s = length_s(judged.verdict, failures, judged.retry_after_s, sole, policy);
    let mut until_ms = now_ms.saturating_add(length_s.saturating_mul(1_000));
    // A longer rest is not made shorter by a later word.
    if let Some(known_ms) = resting(credential, pool, sole, policy, *now_ms).and_then(|rest| rest.until_ms) {
        until_ms = until_ms.max(known_ms);
    }
    let is_its =
        |place: &Place| place.access_token.is_none() || place.access_token.as_ref() == Some(&call.access_token);
    let has_entry = credential.places.iter().any(|place| place.spot != Spot::Login && is_its(place));
    let in_entry = has_entry && !until_changed && judged.verdict != ApiVerdict::Fault;
    if in_entry {
        let ids: Vec<&str> = credential.places.iter().map(|place| place.id.as_str()).collect();
        let status = blame.status(until_ms);
        session
            .edit_vault(&call.vault, None, async |text| {
                with_status(
                    session,
                    &call.vault,
                    text,
                    profile,
                    &|place| is_its(place) && ids.contains(&place.id.as_str()),
                    &status,
                )
            })
            .await?;
    }
    let trouble = blame.trouble(failures, (!until_changed).then_some(until_ms), in_entry);
    memory::change(session, &call.vault, &profile.id, &|pool| pool.member(id).trouble = Some(trouble.clone())).await;
    if !until_changed {
        tell_of(session, blame, "resting", &judged.summary);
    }
    Ok(())
}

/// A call went through: what was counted against the credential is over, but for a rest that still
/// lasts.
#[async_natively]
async fn forgive<P: Ports>(session: &Session<P>, blame: &Blame<'_>) -> Result<(), KeeperError> {
    let Blame { call, profile, policy, credential, now_ms, .. } = blame;
    let state = memory::load(session, &call.vault).await;
    let pool = state.pool(&profile.id);
    let is_known = pool.is_some_and(|pool| pool.has_trouble(credential.id()));
    let is_marked = credential.places.iter().any(|place| matches!(place.state, EntryState::Resting(_)));
    if (is_known || is_marked) && resting(credential, pool, false, policy, *now_ms).is_none() {
        end_rests(session, &call.vault, profile, &[credential]).await?;
    }
    Ok(())
}

/// Another credential; or when there will be one.
#[async_natively]
async fn next<P: Ports>(session: &Session<P>, call: &ApiCall, judged: &ApiJudgement) -> Result<Advice, KeeperError> {
    let request =
        TokenRequest { credential: None, refused_access_token: Some(call.access_token.clone()), ..request(call) };
    Ok(match pick::token(session, &request).await {
        Ok(token) => Advice::of(WhatToDo::Use, Some(token), &judged.summary),
        Err(error) => {
            let error = next_step::advise(session, &call.vault, Some(&call.provider), error).await;
            let message = if error.message.contains(&judged.summary) {
                error.message.clone()
            } else {
                format!("{}; {}", judged.summary, error.message)
            };
            let what = if error.action() == Action::Retry { WhatToDo::Wait } else { WhatToDo::GiveUp };
            Advice { retry_after_s: error.retry_after_s, run: error.run.clone(), ..Advice::of(what, None, &message) }
        }
    })
}

/// A vault's text with other status fields in some entries of a provider; none if it has none such.
fn with_status<P: Ports>(
    session: &Session<P>,
    vault: &str,
    text: &str,
    profile: &Profile,
    is_meant: &dyn Fn(&Place) -> bool,
    status: &[(String, Change)],
) -> Result<Option<String>, KeeperError> {
    let vault = session.opened(vault, text)?;
    let mut edits = Edits::default();
    for place in vault.places(profile, &mut Vec::new()) {
        if !matches!(place.spot, Spot::Entry(_)) || !is_meant(&place) {
            continue;
        }
        if let Some(node) = vault.node(&profile.id, place.spot) {
            edits.members(node, status).map_err(|error| uneditable(&error))?;
        }
    }
    Ok((!edits.is_empty()).then(|| edits.apply(text)))
}

fn tell_of<P: Ports>(session: &Session<P>, blame: &Blame<'_>, name: &'static str, what: &str) {
    let (id, credential) = (&blame.profile.id, blame.credential.id());
    session.emit(Event {
        name,
        severity: Severity::Warning,
        at_ms: blame.now_ms,
        provider: id.clone(),
        credential: Some(credential.to_owned()),
        message: format!("{id} ({credential}): {what}"),
        attributes: vec![("verdict", blame.judged.verdict.as_str().to_owned())],
    });
}

fn request(call: &ApiCall) -> TokenRequest {
    TokenRequest {
        vault: call.vault.clone(),
        provider: call.provider.clone(),
        credential: None,
        min_valid_s: 0,
        refused_access_token: None,
        session: call.session.clone(),
    }
}

impl Blame<'_> {
    /// The status fields with which the reference marks an entry that rests.
    fn status(&self, until_ms: u64) -> Vec<(String, Change)> {
        let seconds = |at_ms: u64| format!("{}.{:03}", at_ms / 1_000, at_ms % 1_000);
        let code = self.judged.code.as_deref().unwrap_or(self.judged.verdict.as_str());
        fields([
            json::quote("exhausted"),
            seconds(self.now_ms),
            self.call.status.map_or_else(|| "null".to_owned(), |status| status.to_string()),
            json::quote(code),
            json::quote(&self.judged.summary),
            seconds(until_ms),
        ])
    }

    fn trouble(&self, failures: u64, until_ms: Option<u64>, in_entry: bool) -> Trouble {
        Trouble {
            access: Fingerprint::of(self.call.access_token.expose()),
            kind: self.judged.verdict.as_str().to_owned(),
            failures,
            at_ms: self.now_ms,
            until_ms,
            in_entry,
            code: self.call.status.map(|status| status.to_string()).unwrap_or_default(),
            summary: self.judged.summary.clone(),
        }
    }
}

/// The status fields of an entry against which nobody has anything.
fn healthy() -> Vec<(String, Change)> {
    let null = || "null".to_owned();
    fields([json::quote("ok"), null(), null(), null(), null(), null()])
}

fn fields(values: [String; 6]) -> Vec<(String, Change)> {
    const NAMES: [&str; 6] = [
        "/last_status",
        "/last_status_at",
        "/last_error_code",
        "/last_error_reason",
        "/last_error_message",
        "/last_error_reset_at",
    ];
    NAMES.iter().zip(values).map(|(name, value)| ((*name).to_owned(), Change::Set(value))).collect()
}

impl Advice {
    fn of(what: WhatToDo, token: Option<AccessToken>, message: &str) -> Self {
        Self { what, token, retry_after_s: None, message: visible_line(message), run: None }
    }

    fn after(self, seconds: u64) -> Self {
        Self { retry_after_s: Some(seconds), ..self }
    }
}
