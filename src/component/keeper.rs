//! `wit/keeper.wit` on [`crate::keeper`], and `wit/pool.wit` on [`crate::pool`].

use crate::error::KeeperError;
use crate::keeper::{AccessToken, TokenRequest};
use crate::pool::{Advice, ApiCall};
use crate::secret::Secret;

use super::bindings::Component;
use super::bindings::exports::lazaretto::keeper::keeper as wit;
use super::bindings::exports::lazaretto::keeper::pool;
use super::types::advised;
use super::world::keeper;

impl wit::Guest for Component {
    fn token(request: wit::TokenRequest) -> Result<wit::AccessToken, wit::Error> {
        let request = request.into();
        asked(&request, keeper().token(&request))
    }

    fn refresh(request: wit::TokenRequest) -> Result<wit::AccessToken, wit::Error> {
        let request = request.into();
        asked(&request, keeper().refresh(&request))
    }

    fn status(vault: String, provider: Option<String>) -> Result<wit::StatusReport, wit::Error> {
        let report = advised(&vault, provider.as_deref(), keeper().status(&vault, provider.as_deref()))?;
        Ok(wit::StatusReport {
            credentials: report.credentials.into_iter().map(Into::into).collect(),
            warnings: report.warnings,
        })
    }

    fn unquarantine(selector: wit::Selector) -> Result<wit::CredentialStatus, wit::Error> {
        let wit::Selector { vault, provider, credential } = &selector;
        let done = keeper().unquarantine(vault, provider, credential.as_deref());
        Ok(advised(vault, Some(provider), done)?.into())
    }

    fn reset(selector: wit::Selector) -> Result<wit::CredentialStatus, wit::Error> {
        let wit::Selector { vault, provider, credential } = &selector;
        let done = keeper().reset(vault, provider, credential.as_deref());
        Ok(advised(vault, Some(provider), done)?.into())
    }

    fn save_unsaved(unsaved: String) -> Result<(), wit::Error> {
        Ok(keeper().save_unsaved(&Secret::new(unsaved))?)
    }

    fn origins() -> Result<Vec<String>, wit::Error> {
        Ok(keeper().origins()?)
    }
}

/// What became of a request for a token.
fn asked(request: &TokenRequest, done: Result<AccessToken, KeeperError>) -> Result<wit::AccessToken, wit::Error> {
    Ok(told(&request.vault, advised(&request.vault, Some(&request.provider), done)?))
}

/// A token, with the command that ends what its warning tells of.
fn told(vault: &str, token: AccessToken) -> wit::AccessToken {
    let run = keeper().advised_of(vault, &token);
    wit::AccessToken { run, ..token.into() }
}

impl pool::Guest for Component {
    fn report(call: pool::ApiCall) -> Result<pool::Advice, wit::Error> {
        let call = ApiCall {
            vault: call.vault,
            provider: call.provider,
            credential: call.credential,
            session: call.session,
            access_token: Secret::new(call.access_token),
            status: call.status,
            headers: call.headers,
            body: Secret::new(call.body),
        };
        let Advice { what, token, retry_after_s, message, run } =
            advised(&call.vault, Some(&call.provider), keeper().report(&call))?;
        let token = token.map(|token| told(&call.vault, token));
        Ok(pool::Advice { advice: what.as_str().to_owned(), token, retry_after_s, message, run })
    }

    fn end_use(selector: wit::Selector) -> Result<(), wit::Error> {
        let wit::Selector { vault, provider, credential } = &selector;
        let done = keeper().end_use(vault, provider, credential.as_deref().unwrap_or_default());
        advised(vault, Some(provider), done)
    }
}

impl From<wit::TokenRequest> for TokenRequest {
    fn from(request: wit::TokenRequest) -> Self {
        Self {
            vault: request.vault,
            provider: request.provider,
            credential: request.credential,
            min_valid_s: request.min_valid_s,
            refused_access_token: request.refused_access_token.map(Secret::new),
            session: request.session,
        }
    }
}

impl From<AccessToken> for wit::AccessToken {
    fn from(token: AccessToken) -> Self {
        Self {
            token: token.token.expose().to_owned(),
            token_type: token.token_type,
            provider: token.provider,
            credential: token.credential,
            expires_at_ms: token.expires_at_ms,
            picked: token.picked.as_str().to_owned(),
            origin: token.origin.as_str().to_owned(),
            warning: token.warning,
            run: None,
            unsaved: token.unsaved.map(|unsaved| unsaved.expose().to_owned()),
        }
    }
}
