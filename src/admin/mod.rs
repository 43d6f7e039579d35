//! What a person does to a vault. Compiled to WebAssembly it is a component of its own, `lazaretto-admin.wasm`.

pub mod add;
pub mod doctor;
pub(crate) mod hand_over;
pub(crate) mod import;
pub mod login;
pub(crate) mod providers;
pub(crate) mod remove;

use add::NewCredential;
use doctor::Finding;
use lazaretto_macros::async_natively;
use login::{Begun, Flow, LoggedOut, Progress};

use crate::error::KeeperError;
use crate::next_step;
use crate::ports::Ports;
use crate::provider::ProviderInfo;
use crate::secret::Secret;
use crate::session::Session;
use crate::status::CredentialStatus;
use crate::vault::Place;

/// Changes vaults for a person: the use cases of `wit/admin.wit` and `wit/login.wit`, and nothing else.
pub struct Admin<P> {
    session: Session<P>,
}

#[async_natively]
impl<P: Ports> Admin<P> {
    /// Makes an admin that reaches the world through these ports.
    pub fn new(ports: P) -> Self {
        Self { session: Session::new(ports) }
    }

    /// Adds a credential to a provider's pool.
    pub async fn add(&self, new: &NewCredential) -> Result<CredentialStatus, KeeperError> {
        add::add(&self.session, new).await
    }

    /// Removes a credential and its sealed copy. Sends nothing.
    pub async fn remove(&self, vault: &str, provider: &str, credential: Option<&str>) -> Result<(), KeeperError> {
        remove::remove(&self.session, vault, provider, credential).await
    }

    /// Stores the logins of another tool's file in a vault: moves them, or copies them.
    pub async fn import(
        &self,
        vault: &str,
        from: &str,
        provider: Option<&str>,
        is_move: bool,
    ) -> Result<Vec<CredentialStatus>, KeeperError> {
        import::import(&self.session, vault, from, provider, is_move).await
    }

    /// Moves the login out of another tool's file. `take` has stored it durably when it returns.
    pub async fn hand_over(
        &self,
        from: &str,
        provider: &str,
        take: impl AsyncFnMut(&Place) -> Result<(), KeeperError>,
    ) -> Result<(), KeeperError> {
        hand_over::hand_over(&self.session, from, provider, take).await
    }

    /// Returns every provider that is known, or the one that a name stands for.
    pub async fn providers(&self, name: Option<&str>) -> Result<Vec<ProviderInfo>, KeeperError> {
        providers::providers(&self.session, name).await
    }

    /// Checks a vault. With `ask_servers` each token endpoint in use is sent one empty request.
    pub async fn doctor(&self, vault: &str, ask_servers: bool) -> Result<Vec<Finding>, KeeperError> {
        doctor::doctor(&self.session, vault, ask_servers).await
    }

    /// Returns the ways to log in that a profile describes, the one to try first first.
    pub async fn login_flows(&self, provider: &str) -> Result<Vec<Flow>, KeeperError> {
        login::login_flows(&self.session, provider).await
    }

    /// Begins a login. With a label it becomes an entry of the provider's pool, beside the logins that are there.
    pub async fn login_start(
        &self,
        vault: &str,
        provider: &str,
        flow: &str,
        redirect_url: Option<&str>,
        label: Option<&str>,
    ) -> Result<Begun, KeeperError> {
        login::login_start(&self.session, vault, provider, flow, redirect_url, label).await
    }

    /// Asks the server whether the person has approved the login.
    pub async fn login_poll(&self, state: &Secret) -> Result<Progress, KeeperError> {
        login::login_poll(&self.session, state).await
    }

    /// Ends a login by loopback with the address that the browser was sent to.
    pub async fn login_finish(&self, state: &Secret, redirected_to: &Secret) -> Result<CredentialStatus, KeeperError> {
        login::login_finish(&self.session, state, redirected_to).await
    }

    /// Revokes a login at its server, and removes it.
    pub async fn logout(
        &self,
        vault: &str,
        provider: &str,
        credential: Option<&str>,
        keep_if_not_revoked: bool,
    ) -> Result<LoggedOut, KeeperError> {
        login::logout::logout(&self.session, vault, provider, credential, keep_if_not_revoked).await
    }

    /// Returns the origins that a host of logins allows.
    pub async fn login_origins(&self) -> Result<Vec<String>, KeeperError> {
        login::login_origins(&self.session).await
    }

    /// Returns the error with the command that helps.
    pub async fn advised(&self, vault: &str, provider: Option<&str>, error: KeeperError) -> KeeperError {
        next_step::advise(&self.session, vault, provider, error).await
    }
}
