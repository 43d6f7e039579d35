//! The component for persons: what they do to a vault, and programs that only use tokens must not.

use std::sync::Arc;

use wasmtime::Store;
use wasmtime::component::Linker;

use crate::bindings::admin::exports::lazaretto::keeper::admin as wit;
use crate::bindings::admin::{AdminWorld, AdminWorldPre};
use crate::component::ADMIN_CWASM;
use crate::keeper::{Code, Inner, deserialize};
use crate::types::{
    CredentialStatus, Finding, KeeperError, LastError, LoggedOut, LoginBegun, LoginFlow, LoginProgress, NewCredential,
    ProviderInfo, Selector,
};
use crate::world::{self, World};

/// Logs in and out of the vaults of one keeper, and changes them as a person wants them. Each call runs in an instance of its own.
#[derive(Clone)]
pub struct Admin(Arc<Inner>);

impl Admin {
    pub(crate) fn of(keeper: Arc<Inner>) -> Self {
        Self(keeper)
    }

    /// Adds a credential to a provider's pool; the vault is made if there is none.
    ///
    /// # Errors
    /// If it is there already, or is none.
    pub fn add(&self, credential: &NewCredential) -> Result<CredentialStatus, KeeperError> {
        let credential = credential.into();
        self.call(|world, store| world.lazaretto_keeper_admin().call_add(store, &credential))?
            .map(Into::into)
            .map_err(Into::into)
    }

    /// Removes a credential, its sealed copy included. Nothing is sent.
    ///
    /// # Errors
    /// If there is none of that name, or more than one.
    pub fn remove(&self, selector: &Selector) -> Result<(), KeeperError> {
        let selector = selector.into();
        self.call(|world, store| world.lazaretto_keeper_admin().call_remove(store, &selector))?.map_err(Into::into)
    }

    /// Brings what another tool's file holds into a vault: [`FileStorage::from_file`](crate::storage::FileStorage::from_file) names
    /// the file. `is_move` takes the logins out of there, durably here first; otherwise both files refresh them, and the first to do so
    /// ends the other's.
    ///
    /// # Errors
    /// What was brought before it is there; the same call once more completes it.
    pub fn import(
        &self,
        vault: &str,
        from: &str,
        provider: Option<&str>,
        is_move: bool,
    ) -> Result<Vec<CredentialStatus>, KeeperError> {
        let brought = self
            .call(|world, store| world.lazaretto_keeper_admin().call_import(store, vault, from, provider, is_move))??;
        Ok(brought.into_iter().map(Into::into).collect())
    }

    /// Looks a vault over: what is wrong or soon will be, and the command that mends it. Reads only. `ask_servers` sends one empty POST,
    /// with nothing of the vault in it, to each token endpoint that the vault uses.
    ///
    /// # Errors
    /// If the name is none of a document. Whatever is wrong with the vault is a finding.
    pub fn doctor(&self, vault: &str, ask_servers: bool) -> Result<Vec<Finding>, KeeperError> {
        let found =
            self.call(|world, store| world.lazaretto_keeper_admin().call_doctor(store, vault, ask_servers))??;
        let finding = |finding: wit::Finding| Finding {
            severity: finding.severity,
            code: finding.code,
            message: finding.message,
            provider: finding.provider,
            credential: finding.credential,
            fix: finding.fix,
            alternative: finding.alternative,
        };
        Ok(found.into_iter().map(finding).collect())
    }

    /// Every provider that is known, or the one that a name stands for: what its profile says, which logins it offers, and if none, why.
    ///
    /// # Errors
    /// If no provider has that name (the message names the nearest), or the user's profiles cannot be read.
    pub fn providers(&self, name: Option<&str>) -> Result<Vec<ProviderInfo>, KeeperError> {
        let infos = self.call(|world, store| world.lazaretto_keeper_admin().call_providers(store, name))??;
        Ok(infos.into_iter().map(Into::into).collect())
    }

    /// The ways to log in that a provider's profile describes, the one to try first first.
    ///
    /// # Errors
    /// If the profiles cannot be read.
    pub fn login_flows(&self, provider: &str) -> Result<Vec<LoginFlow>, KeeperError> {
        let flows = self.call(|world, store| world.lazaretto_keeper_login().call_login_flows(store, provider))??;
        Ok(flows.into_iter().map(|flow| LoginFlow { flow: flow.flow, redirect_url: flow.redirect_url }).collect())
    }

    /// Begins a login. The caller shows the address and the code to a person; then it polls, or for `loopback-pkce` listens at
    /// `redirect_url` for the browser.
    ///
    /// # Errors
    /// [`KeeperError::action`] says what helps.
    pub fn login_start(
        &self,
        vault: &str,
        provider: &str,
        flow: &str,
        redirect_url: Option<&str>,
    ) -> Result<LoginBegun, KeeperError> {
        self.login_start_as(vault, provider, flow, redirect_url, None)
    }

    /// The same; with a label the login becomes an entry of the provider's pool that is called so, in place of one of that name.
    ///
    /// # Errors
    /// [`KeeperError::action`] says what helps.
    pub fn login_start_as(
        &self,
        vault: &str,
        provider: &str,
        flow: &str,
        redirect_url: Option<&str>,
        label: Option<&str>,
    ) -> Result<LoginBegun, KeeperError> {
        let begun = self.call(|world, store| {
            world.lazaretto_keeper_login().call_login_start(store, vault, provider, flow, redirect_url, label)
        })??;
        Ok(LoginBegun {
            state: begun.state,
            url: begun.url,
            url_complete: begun.url_complete,
            user_code: begun.user_code,
            expires_at_ms: begun.expires_at_ms,
            interval_s: begun.interval_s,
        })
    }

    /// Asks whether the person has approved. Nothing cancels it once its request has left, as with
    /// [`Keeper::token`](crate::Keeper::token): its answer may be the login.
    ///
    /// # Errors
    /// The login is over then: begin anew.
    pub fn login_poll(&self, state: &str) -> Result<LoginProgress, KeeperError> {
        let progress = self.call(|world, store| world.lazaretto_keeper_login().call_login_poll(store, state))??;
        Ok(LoginProgress {
            done: progress.done.map(Into::into),
            state: progress.state,
            interval_s: progress.interval_s,
        })
    }

    /// Ends a login by loopback with the address that the browser was sent to, query and all.
    ///
    /// # Errors
    /// `bad-request` if it is no answer to this login: go on listening. Otherwise the login is over.
    pub fn login_finish(&self, state: &str, redirected_to: &str) -> Result<CredentialStatus, KeeperError> {
        self.call(|world, store| world.lazaretto_keeper_login().call_login_finish(store, state, redirected_to))?
            .map(Into::into)
            .map_err(Into::into)
    }

    /// Revokes at the server where that can be done, then removes. What could not be revoked is removed all the same, unless
    /// `keep_if_not_revoked`.
    ///
    /// # Errors
    /// If there is none of that name, or it was not revoked and is kept.
    pub fn logout(&self, selector: &Selector, keep_if_not_revoked: bool) -> Result<LoggedOut, KeeperError> {
        let selector = selector.into();
        let left = self
            .call(|world, store| world.lazaretto_keeper_login().call_logout(store, &selector, keep_if_not_revoked))??;
        Ok(LoggedOut { revocation: left.revocation, message: left.message })
    }

    /// The origins that the profiles name, those for logging in and out included.
    ///
    /// # Errors
    /// If the user's profiles cannot be read.
    pub fn origins(&self) -> Result<Vec<String>, KeeperError> {
        self.call(|world, store| world.lazaretto_keeper_login().call_origins(store))?.map_err(Into::into)
    }

    fn call<T>(
        &self,
        call: impl FnOnce(&AdminWorld, &mut Store<World>) -> wasmtime::Result<T>,
    ) -> Result<T, KeeperError> {
        self.0.call_once(|store| {
            let world = self.0.code.admin()?.instantiate(&mut *store)?;
            call(&world, store)
        })
    }
}

impl Code {
    fn admin(&self) -> wasmtime::Result<&AdminWorldPre<World>> {
        if let Some(admin) = self.admin.get() {
            return Ok(admin);
        }
        let mut linker = Linker::new(&self.engine);
        world::add_to_linker(&mut linker)?;
        let component = deserialize(&self.engine, ADMIN_CWASM)?;
        let admin = linker.instantiate_pre(&component).and_then(AdminWorldPre::new)?;
        Ok(self.admin.get_or_init(|| admin))
    }
}

impl From<&NewCredential> for wit::NewCredential {
    fn from(credential: &NewCredential) -> Self {
        Self {
            vault: credential.vault.clone(),
            provider: credential.provider.clone(),
            label: credential.label.clone(),
            kind: credential.kind.clone(),
            access_token: credential.access_token.clone(),
            refresh_token: credential.refresh_token.clone(),
            expires_in_s: credential.expires_in_s,
            scope: credential.scope.clone(),
            token_type: credential.token_type.clone(),
            id_token: credential.id_token.clone(),
            client_id: credential.client_id.clone(),
            client_secret: credential.client_secret.clone(),
            token_endpoint: credential.token_endpoint.clone(),
            replace: credential.replace,
        }
    }
}

impl From<&Selector> for wit::Selector {
    fn from(selector: &Selector) -> Self {
        Self {
            vault: selector.vault.clone(),
            provider: selector.provider.clone(),
            credential: selector.credential.clone(),
        }
    }
}

impl From<wit::Error> for KeeperError {
    fn from(error: wit::Error) -> Self {
        Self {
            code: error.code,
            action: error.action,
            message: error.message,
            run: error.run,
            provider: error.provider,
            credential: error.credential,
            retry_after_s: error.retry_after_s,
        }
    }
}

impl From<wit::ProviderInfo> for ProviderInfo {
    fn from(info: wit::ProviderInfo) -> Self {
        Self {
            id: info.id,
            name: info.name,
            aliases: info.aliases,
            whose: info.whose,
            keys_only: info.keys_only,
            token_endpoint: info.token_endpoint,
            client_id: info.client_id,
            client_auth: info.client_auth,
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

impl From<wit::LastError> for LastError {
    fn from(error: wit::LastError) -> Self {
        Self { code: error.code, message: error.message, reason: error.reason, at_ms: error.at_ms }
    }
}

impl From<wit::CredentialStatus> for CredentialStatus {
    fn from(status: wit::CredentialStatus) -> Self {
        Self {
            provider: status.provider,
            credential: status.credential,
            label: status.label,
            source: status.source,
            kind: status.kind,
            state: status.state,
            usable: status.usable,
            renewal: status.renewal,
            refreshing_by: status.refreshing_by,
            refreshing_since_ms: status.refreshing_since_ms,
            account: status.account,
            expires_at_ms: status.expires_at_ms,
            retry_at_ms: status.retry_at_ms,
            sealed_until_ms: status.sealed_until_ms,
            last_error: status.last_error.map(Into::into),
            note: status.note,
            todo: status.todo,
        }
    }
}
