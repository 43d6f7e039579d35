//! `wit/admin.wit` on [`crate::admin::add`], [`crate::admin::remove`] and [`crate::admin::doctor`], `wit/login.wit` on [`crate::admin::login`].

use crate::admin::add::{More, NewCredential};
use crate::admin::doctor::Finding;
use crate::admin::login::{Begun, Progress};
use crate::provider::ProviderInfo;
use crate::secret::Secret;

use super::bindings::Component;
use super::bindings::exports::lazaretto::keeper::{admin as wit, login};
use super::types::advised;
use super::world::keeper;

/// How a person reaches the vault that most hosts call so, where a call names none.
const VAULT: &str = "vault";

impl wit::Guest for Component {
    fn add(credential: wit::NewCredential) -> Result<wit::CredentialStatus, wit::Error> {
        let new = credential.into();
        let NewCredential { vault, provider, .. } = &new;
        Ok(advised(vault, Some(provider), keeper().add(&new))?.into())
    }

    fn remove(selector: wit::Selector) -> Result<(), wit::Error> {
        let wit::Selector { vault, provider, credential } = &selector;
        advised(vault, Some(provider), keeper().remove(vault, provider, credential.as_deref()))
    }

    fn import(
        vault: String,
        from: String,
        provider: Option<String>,
        is_move: bool,
    ) -> Result<Vec<wit::CredentialStatus>, wit::Error> {
        let provider = provider.as_deref();
        let done = advised(&vault, provider, keeper().import(&vault, &from, provider, is_move))?;
        Ok(done.into_iter().map(Into::into).collect())
    }

    fn providers(name: Option<String>) -> Result<Vec<wit::ProviderInfo>, wit::Error> {
        let known = advised(VAULT, name.as_deref(), keeper().providers(name.as_deref()))?;
        Ok(known.into_iter().map(Into::into).collect())
    }

    fn doctor(vault: String, ask_servers: bool) -> Result<Vec<wit::Finding>, wit::Error> {
        let findings = advised(&vault, None, keeper().doctor(&vault, ask_servers))?;
        Ok(findings.into_iter().map(Into::into).collect())
    }
}

impl login::Guest for Component {
    fn login_flows(provider: String) -> Result<Vec<login::LoginFlow>, wit::Error> {
        let flows = advised(VAULT, Some(&provider), keeper().login_flows(&provider))?.into_iter();
        let flow = |flow: crate::admin::login::Flow| login::LoginFlow {
            flow: flow.flow.to_owned(),
            redirect_url: flow.redirect_url,
        };
        Ok(flows.map(flow).collect())
    }

    fn login_start(
        vault: String,
        provider: String,
        flow: String,
        redirect_url: Option<String>,
        label: Option<String>,
    ) -> Result<login::LoginBegun, wit::Error> {
        let (redirect_url, label) = (redirect_url.as_deref(), label.as_deref());
        let done = keeper().login_start(&vault, &provider, &flow, redirect_url, label);
        Ok(advised(&vault, Some(&provider), done)?.into())
    }

    fn login_poll(state: String) -> Result<login::LoginProgress, wit::Error> {
        Ok(keeper().login_poll(&Secret::new(state))?.into())
    }

    fn login_finish(state: String, redirected_to: String) -> Result<wit::CredentialStatus, wit::Error> {
        Ok(keeper().login_finish(&Secret::new(state), &Secret::new(redirected_to))?.into())
    }

    fn logout(selector: wit::Selector, keep_if_not_revoked: bool) -> Result<login::LoggedOut, wit::Error> {
        let named = selector.credential.as_deref();
        let done = keeper().logout(&selector.vault, &selector.provider, named, keep_if_not_revoked);
        let left = advised(&selector.vault, Some(&selector.provider), done)?;
        Ok(login::LoggedOut { revocation: left.revocation.as_str().to_owned(), message: left.message })
    }

    fn origins() -> Result<Vec<String>, wit::Error> {
        Ok(keeper().login_origins()?)
    }
}

impl From<Finding> for wit::Finding {
    fn from(finding: Finding) -> Self {
        Self {
            severity: finding.level.as_str().to_owned(),
            code: finding.code.as_str().to_owned(),
            message: finding.message,
            provider: finding.provider,
            credential: finding.credential,
            fix: finding.fix,
            alternative: finding.alternative,
        }
    }
}

impl From<ProviderInfo> for wit::ProviderInfo {
    fn from(info: ProviderInfo) -> Self {
        Self {
            id: info.id,
            name: info.name,
            aliases: info.aliases,
            whose: info.whose.as_str().to_owned(),
            keys_only: info.keys_only,
            token_endpoint: info.token_endpoint,
            client_id: info.client_id,
            client_auth: info.client_auth.as_str().to_owned(),
            device_authorization_endpoint: info.device_authorization_endpoint,
            authorization_endpoint: info.authorization_endpoint,
            redirect_url: info.redirect_url,
            revocation_endpoint: info.revocation_endpoint,
            scope: info.scope,
            environment: info.environment,
            flows: info.flows,
            no_login: info.no_login,
            to_write: info.to_write,
            wrong: info.wrong,
        }
    }
}

impl From<Begun> for login::LoginBegun {
    fn from(begun: Begun) -> Self {
        Self {
            state: begun.state.expose().to_owned(),
            url: begun.url,
            url_complete: begun.url_complete,
            user_code: begun.user_code,
            expires_at_ms: begun.expires_at_ms,
            interval_s: begun.interval_s,
        }
    }
}

impl From<Progress> for login::LoginProgress {
    fn from(progress: Progress) -> Self {
        Self {
            done: progress.done.map(Into::into),
            state: progress.state.expose().to_owned(),
            interval_s: progress.interval_s,
        }
    }
}

impl From<wit::NewCredential> for NewCredential {
    fn from(credential: wit::NewCredential) -> Self {
        Self {
            vault: credential.vault,
            provider: credential.provider,
            label: credential.label,
            kind: credential.kind,
            access_token: Secret::new(credential.access_token),
            refresh_token: credential.refresh_token.map(Secret::new),
            expires_in_s: credential.expires_in_s,
            more: More {
                scope: credential.scope,
                token_type: credential.token_type,
                id_token: credential.id_token.map(Secret::new),
                client_id: credential.client_id,
                client_secret: credential.client_secret.map(Secret::new),
                token_endpoint: credential.token_endpoint,
                replace: credential.replace,
            },
        }
    }
}
