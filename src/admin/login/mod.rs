//! Logging in: a person approves in a browser, and the tokens become the provider's own login in the vault.
//!
//! | question | file |
//! |---|---|
//! | login by a code that a person types (RFC 8628) | `device` |
//! | login by a browser on this machine (RFC 8252, RFC 7636) | `loopback` |
//! | where the tokens go | `arriving` |
//! | logging out, and revoking (RFC 7009) | `leaving` |
//!
//! Nothing is remembered between calls: what a login needs travels in its opaque state.

mod device;
pub(crate) mod logout;
mod loopback;
mod store_login;

use std::collections::BTreeSet;
use std::rc::Rc;

use lazaretto_macros::async_natively;

use crate::admin::add;
use crate::classify::{self, Judgement, Verdict};
use crate::did_you_mean;
use crate::error::{Code, KeeperError};
use crate::json::{self, Object};
use crate::layers::Layers;
use crate::next_step::{self, shell_word};
use crate::ports::{HttpFailure, Ports, Request, Response};
use crate::protocol::exchange::{answer_of, no_answer};
use crate::protocol::{client_secret, request};
use crate::provider::{self, Needed, Profile};
use crate::secret::Secret;
use crate::session::Session;
use crate::state::ledger::Counterpart;
use crate::status::CredentialStatus;
use crate::vault::{LOGIN, Spot};

pub use logout::{LoggedOut, Revocation};

const DEVICE: &str = "device-code";
const LOOPBACK: &str = "loopback-pkce";
/// What kept a request from leaving that would keep every other.
const NEVER_SENT: [&str; 2] = ["not-allowed", "unsupported"];

/// A way to log in: `login-flow` in the contract.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "wit/login.wit documents them")]
pub struct Flow {
    pub flow: &'static str,
    pub redirect_url: Option<String>,
}

/// A login that has begun: `login-begun` in the contract.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "wit/login.wit documents them")]
pub struct Begun {
    pub state: Secret,
    pub url: String,
    pub url_complete: Option<String>,
    pub user_code: Option<String>,
    pub expires_at_ms: u64,
    pub interval_s: u64,
}

/// How a login by device code stands: `login-progress` in the contract.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "wit/login.wit documents them")]
pub struct Progress {
    pub done: Option<CredentialStatus>,
    pub state: Secret,
    pub interval_s: u64,
}

/// What travels from one call of a login to the next.
struct LoginState {
    vault: String,
    provider: String,
    flow: String,
    expires_at_ms: u64,
    interval_s: u64,
    /// The device code, or the code verifier (RFC 7636 section 4.1).
    secret: Secret,
    /// RFC 6749 section 10.12.
    nonce: Option<String>,
    redirect_url: Option<String>,
    /// What the entry that it becomes is called; none: it becomes the provider's own login.
    label: Option<String>,
}

impl LoginState {
    fn read(text: &str) -> Option<Self> {
        let read = Layers::read(vec![json::check(text).ok()?], |state| Self {
            vault: state.text("vault"),
            provider: state.text("provider"),
            flow: state.text("flow"),
            expires_at_ms: state.number("expires_at_ms"),
            interval_s: state.number("interval_s"),
            secret: Secret::new(state.text("secret")),
            nonce: state.maybe_text("nonce"),
            redirect_url: state.maybe_text("redirect_url"),
            label: state.maybe_text("label"),
        });
        read.ok()
    }

    fn spelled(&self) -> Secret {
        Secret::new(
            Object::default()
                .text("vault", &self.vault)
                .text("provider", &self.provider)
                .text("flow", &self.flow)
                .number("expires_at_ms", self.expires_at_ms)
                .number("interval_s", self.interval_s)
                .text("secret", self.secret.expose())
                .maybe_text("nonce", self.nonce.as_deref())
                .maybe_text("redirect_url", self.redirect_url.as_deref())
                .maybe_text("label", self.label.as_deref())
                .line(),
        )
    }
}

/// Whom a login is with.
struct With {
    profile: Rc<Profile>,
    to: Counterpart,
    client_secret: Option<Secret>,
    /// Why the client's secret could not be read, so that nothing can be asked as this client.
    unread_secret: Option<KeeperError>,
}

impl With {
    fn can_authenticate(&self) -> Result<(), KeeperError> {
        self.unread_secret.clone().map_or(Ok(()), Err)
    }

    fn error(&self, code: Code, what: &str) -> KeeperError {
        let id = &self.profile.id;
        KeeperError::new(code, format!("{id} ({LOGIN}): {what}")).of(id, LOGIN)
    }

    /// A request that no caller waits long for.
    fn request(&self, url: &str, grant_type: Option<&str>, more: &[(&str, &str)]) -> Request {
        let secret = self.client_secret.as_ref();
        let body = self.profile.request.body;
        request::post(&self.profile, body, url, &self.to.client, secret, grant_type, more, self.profile.deadline_ms)
    }

    fn judged(&self, result: &Result<Response, HttpFailure>, now_s: u64) -> Judgement {
        match result {
            Ok(response) => classify::classify(&self.profile.rules, &answer_of(response), now_s),
            Err(failure) => classify::classify(&self.profile.rules, &no_answer(failure), now_s),
        }
    }

    /// That the server did not do what it was asked for, in its own words.
    fn failed(
        &self,
        what: &str,
        url: &str,
        judgement: &Judgement,
        result: &Result<Response, HttpFailure>,
    ) -> KeeperError {
        let said = match result {
            Err(failure) => failure.message.clone(),
            Ok(_) => self.answered(url, judgement),
        };
        // Nothing left, for this host may not send there: no time mends that.
        let is_not_allowed = result.as_ref().is_err_and(|failure| NEVER_SENT.contains(&failure.kind.as_str()));
        let code = match judgement.verdict {
            _ if is_not_allowed => Code::HostForbids,
            Verdict::Config => Code::LoginMisconfigured,
            Verdict::Transient => Code::LoginUnavailable,
            _ => Code::LoginFailed,
        };
        let mut message = format!("{what}: {said}");
        let (has_secret, code_said) = (self.client_secret.is_some(), judgement.code.as_deref());
        if let Some(missing) = client_secret::missing(&self.profile, has_secret, code_said, &judgement.summary) {
            message.push_str("; ");
            message.push_str(&missing);
        }
        let error = self.error(code, &message);
        judgement.retry_after_s.map_or(error.clone(), |seconds| error.after(seconds))
    }

    /// What a server answered, and which.
    fn answered(&self, url: &str, judgement: &Judgement) -> String {
        let origin = provider::origin(url).unwrap_or_default();
        format!("{} answered {}", shown_origin(&origin), judgement.summary)
    }
}

/// The ways to log in that a profile describes, the one to try first first.
#[async_natively]
pub(crate) async fn login_flows<P: Ports>(session: &Session<P>, provider: &str) -> Result<Vec<Flow>, KeeperError> {
    let profile = session.profile(provider).await?;
    did_you_mean::check_known(session, &profile.id, provider, None)?;
    Ok(flows(&profile))
}

/// Begins a login. With a label it becomes an entry of the provider's pool, beside whatever logins are there.
#[async_natively]
pub(crate) async fn login_start<P: Ports>(
    session: &Session<P>,
    vault: &str,
    provider: &str,
    flow: &str,
    redirect_url: Option<&str>,
    label: Option<&str>,
) -> Result<Begun, KeeperError> {
    let label = label.filter(|label| !label.is_empty());
    let with = party(session, vault, provider).await?;
    let authorization = &with.profile.authorization;
    let endpoint = match flow {
        DEVICE => &authorization.device_authorization_endpoint,
        LOOPBACK => &authorization.authorization_endpoint,
        other => {
            let what = format!("a login is by {DEVICE} or {LOOPBACK}, and not by {}", json::quote(other));
            return Err(with.error(Code::BadRequest, &what));
        }
    };
    let Some(endpoint) = endpoint.clone() else {
        let missing = provider::missing(&with.profile);
        let what = if missing.contains(&Needed::Authorization) {
            format!("no login is offered: {}", provider::why_none(&missing))
        } else {
            format!("its profile describes no login by {flow}")
        };
        return Err(with.error(Code::BadProfile, &what));
    };
    if with.to.client.is_empty() {
        let what = format!(
            "its profile names no `client_id`: register a client with {} and write {{\"profiles\": {{{}: \
             {{\"client_id\": \"...\"}}}}}} into providers.json",
            with.profile.name,
            json::quote(&with.profile.id)
        );
        return Err(with.error(Code::BadProfile, &what));
    }
    with.can_authenticate()?;
    store_login::check_can_store(session, vault, &with).await?;
    if let Some(label) = label {
        add::check_can_add(session, vault, &with.profile, label).await?;
    }
    match (flow, redirect_url) {
        (DEVICE, _) => device::start(session, vault, &with, &endpoint, label).await,
        (_, Some(redirect_url)) => loopback::start(session, vault, &with, &endpoint, redirect_url, label),
        (_, None) => {
            let what = "where will you listen for the browser? No redirect URL was given";
            Err(with.error(Code::BadRequest, what))
        }
    }
}

/// Asks whether the person has approved.
#[async_natively]
pub(crate) async fn login_poll<P: Ports>(session: &Session<P>, state: &Secret) -> Result<Progress, KeeperError> {
    let (state, with) = resume(session, state, DEVICE).await?;
    let (vault, label) = (state.vault.clone(), state.label.clone());
    match device::poll(session, state, &with).await {
        Ok(progress) => Ok(progress),
        Err(error) => Err(advise_as(session, &vault, &with, label.as_deref(), error).await),
    }
}

/// Ends a login by loopback with the address that the browser was sent to.
#[async_natively]
pub(crate) async fn login_finish<P: Ports>(
    session: &Session<P>,
    state: &Secret,
    redirected_to: &Secret,
) -> Result<CredentialStatus, KeeperError> {
    let (state, with) = resume(session, state, LOOPBACK).await?;
    match loopback::finish(session, &state, &with, redirected_to.expose()).await {
        Ok(status) => Ok(status),
        Err(error) => Err(advise_as(session, &state.vault, &with, state.label.as_deref(), error).await),
    }
}

/// The same as `advised`, and a login with a label is begun anew with it.
#[async_natively]
async fn advise_as<P: Ports>(
    session: &Session<P>,
    vault: &str,
    with: &With,
    label: Option<&str>,
    error: KeeperError,
) -> KeeperError {
    let id = &with.profile.id;
    let mut error = next_step::advise(session, vault, Some(id), error).await;
    if let (Some(label), Some(run)) = (label, &mut error.run)
        && *run == next_step::reach(session, vault).await.about("login", id, LOGIN)
    {
        run.push_str(" --label=");
        run.push_str(&shell_word(label));
    }
    error
}

/// The origins that a host of logins allows.
#[async_natively]
pub(crate) async fn login_origins<P: Ports>(session: &Session<P>) -> Result<Vec<String>, KeeperError> {
    let mut origins = BTreeSet::from_iter(session.origins().await?);
    session.with_catalog(&mut |catalog| {
        for id in catalog.ids() {
            if let Ok(Some(profile)) = catalog.profile(&id) {
                origins.extend(profile.authorization.origins());
            }
        }
        Ok(())
    })?;
    Ok(origins.into_iter().collect())
}

#[async_natively]
async fn resume<P: Ports>(session: &Session<P>, state: &Secret, flow: &str) -> Result<(LoginState, With), KeeperError> {
    let state = LoginState::read(state.expose()).filter(|state| state.flow == flow);
    let state = state.ok_or_else(|| {
        let what = format!("this is not the state of a login by {flow}");
        KeeperError::new(Code::BadRequest, what)
    })?;
    let with = party(session, &state.vault, &state.provider).await?;
    if session.ports.wall_ms() >= state.expires_at_ms {
        return Err(expired(&with));
    }
    with.can_authenticate()?;
    Ok((state, with))
}

#[async_natively]
async fn party<P: Ports>(session: &Session<P>, vault: &str, provider: &str) -> Result<With, KeeperError> {
    let profile = session.profile(provider).await?;
    let (read, unread_secret) = match client_secret::read(session, &profile).await {
        Ok(read) => (read, None),
        Err(error) => (None, Some(error)),
    };
    let snapshot = add::maybe_vault(session, vault).await?;
    did_you_mean::check_known(session, &profile.id, provider, snapshot.as_deref())?;
    let opened = snapshot.as_ref().map(|snapshot| snapshot.open());
    let login = opened.and_then(|opened| opened.node(&profile.id, Spot::Login));
    let (to, client_secret) = request::counterpart(&profile, login, read.as_ref())?;
    Ok(With { profile, to, client_secret, unread_secret })
}

/// The ways to log in that a profile describes, the one to try first first.
pub(crate) fn flows(profile: &Profile) -> Vec<Flow> {
    let authorization = &profile.authorization;
    let mut flows = Vec::new();
    if authorization.device_authorization_endpoint.is_some() {
        flows.push(Flow { flow: DEVICE, redirect_url: None });
    }
    if authorization.authorization_endpoint.is_some() {
        flows.push(Flow { flow: LOOPBACK, redirect_url: Some(authorization.redirect_url.clone()) });
    }
    flows
}

/// An origin as a person writes it: without the port that its scheme has anyway.
fn shown_origin(origin: &str) -> &str {
    let [https, http] = [("https://", ":443"), ("http://", ":80")]
        .map(|(scheme, port)| origin.strip_suffix(port).filter(|rest| rest.starts_with(scheme)));
    https.or(http).unwrap_or(origin)
}

fn expired(with: &With) -> KeeperError {
    with.error(Code::LoginExpired, "nobody approved the login in time. Begin anew")
}

fn refused(with: &With) -> KeeperError {
    with.error(Code::LoginRefused, "the login was not approved")
}
