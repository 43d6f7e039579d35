//! Login by device code (RFC 8628): a person types a short code on any device, and we ask until he has.

use lazaretto_macros::async_natively;

use crate::admin::login::store_login;
use crate::error::KeeperError;
use crate::json;
use crate::ports::{HttpFailure, Ports, Response};
use crate::secret::Secret;
use crate::session::Session;

use super::{Begun, DEVICE, LoginState, Progress, With, expired, refused};

const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// Where the server does not say (section 3.2).
const INTERVAL_S: u64 = 5;
/// By how much `slow_down` lengthens it, for good (section 3.5).
const SLOWER_S: u64 = 5;
/// A server that cannot be reached is asked ever less often, but not less often than this.
const LONGEST_INTERVAL_S: u64 = 60;
const LONGEST_LIFE_S: u64 = 3_600;

#[async_natively]
pub(crate) async fn start<P: Ports>(
    session: &Session<P>,
    vault: &str,
    with: &With,
    endpoint: &str,
    label: Option<&str>,
) -> Result<Begun, KeeperError> {
    let scope = with.profile.authorization.scope.as_str();
    let parameters = [("scope", scope)];
    let parameters = if scope.is_empty() { &[][..] } else { &parameters[..] };
    let asked_ms = session.ports.wall_ms();
    let result = session.ports.send(with.request(endpoint, None, parameters)).await;
    let judgement = with.judged(&result, session.ports.wall_ms() / 1_000);
    let Some(answer) = result.as_ref().ok().and_then(Answer::read) else {
        return Err(with.failed("no login was begun", endpoint, &judgement, &result));
    };
    let expires_at_ms = asked_ms.saturating_add(answer.expires_in_s.min(LONGEST_LIFE_S) * 1_000);
    let state = LoginState {
        vault: vault.to_owned(),
        provider: with.profile.id.clone(),
        flow: DEVICE.to_owned(),
        expires_at_ms,
        interval_s: answer.interval_s,
        secret: answer.device_code,
        nonce: None,
        redirect_url: None,
        label: label.map(str::to_owned),
    };
    Ok(Begun {
        state: state.spelled(),
        url: answer.url,
        url_complete: answer.url_complete,
        user_code: Some(answer.user_code),
        expires_at_ms,
        interval_s: answer.interval_s,
    })
}

#[async_natively]
pub(crate) async fn poll<P: Ports>(
    session: &Session<P>,
    mut state: LoginState,
    with: &With,
) -> Result<Progress, KeeperError> {
    let parameters = [("device_code", state.secret.expose())];
    let result = session.ports.send(with.request(&with.to.endpoint, Some(GRANT_TYPE), &parameters)).await;
    let judgement = with.judged(&result, session.ports.wall_ms() / 1_000);
    if judgement.tokens.as_ref().is_some_and(|tokens| tokens.access_token.is_some()) {
        let done = store_login::store(session, &state, with, judgement.tokens).await?;
        return Ok(Progress { done: Some(done), state: state.spelled(), interval_s: 0 });
    }
    match judgement.code.as_deref() {
        Some("authorization_pending") => {}
        Some("slow_down") => state.interval_s += SLOWER_S,
        Some("access_denied") => return Err(refused(with)),
        Some("expired_token") => return Err(expired(with)),
        _ if can_pass(&result) => {
            let asked_s = judgement.retry_after_s.unwrap_or(state.interval_s.saturating_mul(2));
            state.interval_s = asked_s.clamp(state.interval_s, LONGEST_INTERVAL_S.max(state.interval_s));
        }
        _ => return Err(with.failed("the login failed", &with.to.endpoint, &judgement, &result)),
    }
    Ok(Progress { done: None, state: state.spelled(), interval_s: state.interval_s })
}

/// No answer of the server's own: it may give one later (section 3.5).
fn can_pass(result: &Result<Response, HttpFailure>) -> bool {
    match result {
        Ok(response) => matches!(response.status, 408 | 429 | 500..=599),
        Err(failure) => !matches!(failure.kind.as_str(), "not-allowed" | "unsupported"),
    }
}

/// Section 3.2.
struct Answer {
    device_code: Secret,
    user_code: String,
    url: String,
    url_complete: Option<String>,
    expires_in_s: u64,
    interval_s: u64,
}

impl Answer {
    fn read(response: &Response) -> Option<Self> {
        if !(200..300).contains(&response.status) {
            return None;
        }
        let answer = json::check(response.body.expose()).ok()?;
        let text = |name: &str| answer.get(name).and_then(|value| value.as_str()).filter(|text| !text.is_empty());
        // A person opens it, and some programs do that by themselves: nothing but a web page is handed on.
        let url = |name: &str| text(name).filter(|url| is_web_page(url));
        let number = |name: &str| answer.get(name).and_then(|value| value.as_u64());
        Some(Self {
            device_code: Secret::new(text("device_code")?),
            user_code: text("user_code")?,
            // Google's name for it.
            url: url("verification_uri").or_else(|| url("verification_url"))?,
            url_complete: url("verification_uri_complete"),
            expires_in_s: number("expires_in").unwrap_or(LONGEST_LIFE_S),
            interval_s: number("interval").unwrap_or(INTERVAL_S).clamp(1, LONGEST_INTERVAL_S),
        })
    }
}

fn is_web_page(url: &str) -> bool {
    let is_plain = url.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"'<>\\^`{|}".contains(&byte));
    is_plain
        && url.split_once("://").is_some_and(|(scheme, rest)| matches!(scheme, "https" | "http") && !rest.is_empty())
}
