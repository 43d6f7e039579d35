//! Login by a browser on this machine, which is sent back to a port that the caller listens on (RFC 8252 section 7.3), with
//! PKCE (RFC 7636), and with the answer's state and issuer checked (RFC 6749 section 10.12, RFC 9207).

use lazaretto_macros::async_natively;
use sha2::{Digest, Sha256};

use crate::admin::login::store_login;
use crate::classify;
use crate::encoding::{base64url, form_unescape};
use crate::error::{Code, KeeperError};
use crate::ports::Ports;
use crate::protocol::request;
use crate::provider::{self, is_loopback};
use crate::secret::Secret;
use crate::session::Session;
use crate::status::CredentialStatus;

use super::{Begun, LOOPBACK, LoginState, With, refused};

/// How long a person has.
const LIFE_MS: u64 = 600_000;

pub(crate) fn start<P: Ports>(
    session: &Session<P>,
    vault: &str,
    with: &With,
    endpoint: &str,
    redirect_url: &str,
    label: Option<&str>,
) -> Result<Begun, KeeperError> {
    if !provider::origin(redirect_url).is_some_and(|origin| is_loopback(&origin)) {
        let what = "the redirect URL is not on this machine: it should be http://127.0.0.1:<port>/...";
        return Err(with.error(Code::BadRequest, what));
    }
    // 256 bits each; section 4.1 of RFC 7636 asks for at least 43 characters.
    let [verifier, nonce] = [(); 2].map(|()| {
        let random = [(); 4].map(|()| session.ports.random_u64().to_be_bytes());
        base64url(random.as_flattened())
    });
    let challenge = base64url(&Sha256::digest(verifier.as_bytes()));
    let authorization = &with.profile.authorization;
    let mut parameters: Vec<(&str, &str)> = vec![
        ("response_type", "code"),
        ("client_id", &with.to.client),
        ("redirect_uri", redirect_url),
        ("state", &nonce),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ];
    if !authorization.scope.is_empty() {
        parameters.push(("scope", &authorization.scope));
    }
    parameters.extend(authorization.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let mut url = endpoint.to_owned();
    url.push(if endpoint.contains('?') { '&' } else { '?' });
    url.push_str(&request::form(&parameters));
    let expires_at_ms = session.ports.wall_ms().saturating_add(LIFE_MS);
    let state = LoginState {
        vault: vault.to_owned(),
        provider: with.profile.id.clone(),
        flow: LOOPBACK.to_owned(),
        expires_at_ms,
        interval_s: 0,
        secret: Secret::new(verifier),
        nonce: Some(nonce),
        redirect_url: Some(redirect_url.to_owned()),
        label: label.map(str::to_owned),
    };
    Ok(Begun { state: state.spelled(), url, url_complete: None, user_code: None, expires_at_ms, interval_s: 0 })
}

#[async_natively]
pub(crate) async fn finish<P: Ports>(
    session: &Session<P>,
    state: &LoginState,
    with: &With,
    redirected_to: &str,
) -> Result<CredentialStatus, KeeperError> {
    let redirect_url = state.redirect_url.as_deref().unwrap_or_default();
    let code = code(with, state, redirect_url, redirected_to)?;
    let parameters =
        [("code", code.expose()), ("redirect_uri", redirect_url), ("code_verifier", state.secret.expose())];
    let result = session.ports.send(with.request(&with.to.endpoint, Some("authorization_code"), &parameters)).await;
    let judgement = with.judged(&result, session.ports.wall_ms() / 1_000);
    if judgement.tokens.as_ref().is_some_and(|tokens| tokens.access_token.is_some()) {
        return store_login::store(session, state, with, judgement.tokens).await;
    }
    Err(with.failed("the login failed", &with.to.endpoint, &judgement, &result))
}

/// The authorization code in an answer that is to our own question.
fn code(with: &With, state: &LoginState, redirect_url: &str, redirected_to: &str) -> Result<Secret, KeeperError> {
    let (address, query) = redirected_to.split_once('?').unwrap_or((redirected_to, ""));
    let query = query.split_once('#').map_or(query, |(query, _)| query);
    let one = |name: &str| {
        let mut found = query.split('&').filter_map(|pair| pair.split_once('=')).filter(|pair| pair.0 == name);
        match (found.next(), found.next()) {
            (Some((_, value)), None) => form_unescape(value).filter(|value| !value.is_empty()),
            // Which of two counts depends on the reader.
            _ => None,
        }
    };
    let stray = |what: &str| with.error(Code::BadRequest, what);
    // First of all: whoever else sends something here must not end the login, nor begin another.
    if address != redirect_url || one("state") != state.nonce {
        return Err(stray("this is no answer to the login that was begun: its address or its state is another"));
    }
    if let Some(issuer) = one("iss") {
        let authorization = &with.profile.authorization;
        let is_its = match (&authorization.issuer, &authorization.authorization_endpoint) {
            (Some(known), _) => *known == issuer,
            (None, Some(endpoint)) => provider::origin(&issuer) == provider::origin(endpoint),
            (None, None) => false,
        };
        if !is_its {
            let what = "the answer is another authorization server's: its issuer is not the one that was asked";
            return Err(with.error(Code::WrongIssuer, what));
        }
    }
    match (one("error"), one("code")) {
        (Some(error), _) if error == "access_denied" => Err(refused(with)),
        (Some(error), _) => {
            let said = one("error_description").unwrap_or_default();
            let said = classify::redacted(&format!("{error} {said}"));
            // RFC 6749 section 4.1.2.1, and OpenID Connect Core 3.1.2.6 of what a person must do first.
            let code = match error.as_str() {
                "server_error" | "temporarily_unavailable" => Code::LoginUnavailable,
                "login_required" | "interaction_required" | "consent_required" | "account_selection_required" => {
                    Code::LoginFailed
                }
                _ => Code::LoginMisconfigured,
            };
            Err(with.error(code, &format!("the server says {said}")))
        }
        (None, Some(code)) => Ok(Secret::new(code)),
        (None, None) => Err(with.error(Code::LoginFailed, "the answer has no code in it. Begin anew")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_is_that_of_rfc_7636_appendix_b() {
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        assert_eq!(base64url(&Sha256::digest(verifier)), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }
}
