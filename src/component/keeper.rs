//! `wit/keeper.wit` on [`crate::keeper`], and `wit/pool.wit` on [`crate::pool`].

use crate::keeper::{AccessToken, TokenRequest};
use crate::pool::{Advice, ApiCall};
use crate::secret::Secret;

use super::bindings::Component;
use super::bindings::exports::lazaret::keeper::keeper as wit;
use super::bindings::exports::lazaret::keeper::pool;
use super::world::keeper;

impl wit::Guest for Component {
    fn token(request: wit::TokenRequest) -> Result<wit::AccessToken, wit::Error> {
        Ok(keeper().token(&request.into())?.into())
    }

    fn refresh(request: wit::TokenRequest) -> Result<wit::AccessToken, wit::Error> {
        Ok(keeper().refresh(&request.into())?.into())
    }

    fn status(vault: String, provider: Option<String>) -> Result<wit::StatusReport, wit::Error> {
        let report = keeper().status(&vault, provider.as_deref())?;
        Ok(wit::StatusReport {
            credentials: report.credentials.into_iter().map(Into::into).collect(),
            warnings: report.warnings,
        })
    }

    fn unquarantine(selector: wit::Selector) -> Result<wit::CredentialStatus, wit::Error> {
        let named = selector.credential.as_deref();
        Ok(keeper().unquarantine(&selector.vault, &selector.provider, named)?.into())
    }

    fn reset(selector: wit::Selector) -> Result<wit::CredentialStatus, wit::Error> {
        let named = selector.credential.as_deref();
        Ok(keeper().reset(&selector.vault, &selector.provider, named)?.into())
    }

    fn save_unsaved(unsaved: String) -> Result<(), wit::Error> {
        Ok(keeper().save_unsaved(&Secret::new(unsaved))?)
    }

    fn origins() -> Result<Vec<String>, wit::Error> {
        Ok(keeper().origins()?)
    }
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
        let Advice { what, token, retry_after_s, message } = keeper().report(&call)?;
        Ok(pool::Advice { advice: what.as_str().to_owned(), token: token.map(Into::into), retry_after_s, message })
    }

    fn end_use(selector: wit::Selector) -> Result<(), wit::Error> {
        let credential = selector.credential.unwrap_or_default();
        Ok(keeper().end_use(&selector.vault, &selector.provider, &credential)?)
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
            unsaved: token.unsaved.map(|unsaved| unsaved.expose().to_owned()),
        }
    }
}
