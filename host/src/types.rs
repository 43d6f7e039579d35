//! What goes in and comes out, in Rust's own shapes. Whatever holds a secret prints it as `[redacted]`.

use std::fmt;

/// A secret, as text: it prints as `[redacted]`.
#[derive(Clone, PartialEq, Eq)]
struct Redacted<'a>(Option<&'a str>);

impl fmt::Debug for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "[redacted]" } else { "None" })
    }
}

/// Which access token is wanted.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct TokenRequest {
    /// The vault's document name: [`VAULT`](crate::storage::VAULT) for file storage.
    pub vault: String,
    /// A profile's id, or one of its aliases.
    pub provider: String,
    /// A pool entry's id or label, or `login`. None: the first that can serve.
    pub credential: Option<String>,
    /// The token must be good for at least so many seconds more.
    pub min_valid_s: u64,
    /// An access token that an API refused. Secret.
    pub refused_access_token: Option<String>,
    /// Where the settings let a session keep its credential: any name of the session.
    pub session: Option<String>,
}

impl TokenRequest {
    /// Any valid token of a provider.
    pub fn new(vault: impl Into<String>, provider: impl Into<String>) -> Self {
        Self { vault: vault.into(), provider: provider.into(), ..Self::default() }
    }
}

impl fmt::Debug for TokenRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenRequest")
            .field("vault", &self.vault)
            .field("provider", &self.provider)
            .field("credential", &self.credential)
            .field("min_valid_s", &self.min_valid_s)
            .field("refused_access_token", &Redacted(self.refused_access_token.as_deref()))
            .field("session", &self.session)
            .finish()
    }
}

/// An access token to use.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessToken {
    /// The token. Secret.
    pub token: String,
    /// `Bearer`, mostly.
    pub token_type: String,
    /// The profile's id.
    pub provider: String,
    /// The entry it belongs to: its id, or `login`.
    pub credential: String,
    /// Milliseconds since 1970. None: unknown.
    pub expires_at_ms: Option<u64>,
    /// Why this credential: `named`, `only`, `priority`, `round-robin`, `random`, `least-used` or `sticky`.
    pub picked: String,
    /// `stored`, `refreshed`, `adopted`, `sealed` or `api-key`.
    pub origin: String,
    /// What a person should know although the token is good.
    pub warning: Option<String>,
    /// The one command that ends what the warning tells of.
    pub run: Option<String>,
    /// New tokens that could be stored nowhere: hand them to [`Keeper::save_unsaved`](crate::Keeper::save_unsaved). Secret.
    pub unsaved: Option<String>,
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessToken")
            .field("token", &Redacted(Some(&self.token)))
            .field("token_type", &self.token_type)
            .field("provider", &self.provider)
            .field("credential", &self.credential)
            .field("expires_at_ms", &self.expires_at_ms)
            .field("picked", &self.picked)
            .field("origin", &self.origin)
            .field("warning", &self.warning)
            .field("run", &self.run)
            .field("unsaved", &Redacted(self.unsaved.as_deref()))
            .finish()
    }
}

/// A call to an API with an access token, and what it answered.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ApiCall {
    /// The vault's document name.
    pub vault: String,
    /// A profile's id, or one of its aliases.
    pub provider: String,
    /// What [`AccessToken::credential`] said.
    pub credential: Option<String>,
    /// As in [`TokenRequest::session`].
    pub session: Option<String>,
    /// The access token or key that the call was made with. Secret.
    pub access_token: String,
    /// The HTTP status. None: no answer came.
    pub status: Option<u16>,
    /// Names in any case.
    pub headers: Vec<(String, String)>,
    /// As far as it came; its first 64 KiB are enough.
    pub body: String,
}

impl fmt::Debug for ApiCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Servers repeat tokens in their answers.
        f.debug_struct("ApiCall")
            .field("vault", &self.vault)
            .field("provider", &self.provider)
            .field("credential", &self.credential)
            .field("access_token", &Redacted(Some(&self.access_token)))
            .field("status", &self.status)
            .field("body", &Redacted(Some(&self.body)))
            .finish_non_exhaustive()
    }
}

/// What to do with a call that was reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    /// `go-on`, `use` (call again with `token`), `wait` or `give-up`.
    pub advice: String,
    /// Another access token.
    pub token: Option<AccessToken>,
    /// When to call again, in seconds, where that is known.
    pub retry_after_s: Option<u64>,
    /// Why, for a person.
    pub message: String,
    /// The one command that helps.
    pub run: Option<String>,
}

/// One credential of one vault.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// The vault's document name.
    pub vault: String,
    /// A profile's id, or one of its aliases.
    pub provider: String,
    /// An id, a label, or `login`. None: the first that the call applies to.
    pub credential: Option<String>,
}

/// A credential to add.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct NewCredential {
    /// The vault's document name. It is made if there is none.
    pub vault: String,
    /// A profile's id, or one of its aliases.
    pub provider: String,
    /// None: what its token calls its owner, else a number.
    pub label: Option<String>,
    /// `oauth` or `api-key`. None: `oauth` where a refresh token or a lifetime is given.
    pub kind: Option<String>,
    /// The access token, or the key. Secret.
    pub access_token: String,
    /// Secret.
    pub refresh_token: Option<String>,
    /// How long the access token lives from now on.
    pub expires_in_s: Option<u64>,
    /// What was granted.
    pub scope: Option<String>,
    /// The access token's type.
    pub token_type: Option<String>,
    /// Secret.
    pub id_token: Option<String>,
    /// The client that the tokens were issued to. This and the next two are compared with the profile, and not kept.
    pub client_id: Option<String>,
    /// That client's secret. Secret.
    pub client_secret: Option<String>,
    /// Where they are refreshed.
    pub token_endpoint: Option<String>,
    /// Whether it takes the place of the entry that has its label; without a label: of the same account's, or of the only one of
    /// its kind.
    pub replace: bool,
}

impl fmt::Debug for NewCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewCredential")
            .field("vault", &self.vault)
            .field("provider", &self.provider)
            .field("label", &self.label)
            .field("kind", &self.kind)
            .field("access_token", &Redacted(Some(&self.access_token)))
            .field("refresh_token", &Redacted(self.refresh_token.as_deref()))
            .field("expires_in_s", &self.expires_in_s)
            .field("scope", &self.scope)
            .field("token_type", &self.token_type)
            .field("id_token", &Redacted(self.id_token.as_deref()))
            .field("client_id", &self.client_id)
            .field("client_secret", &Redacted(self.client_secret.as_deref()))
            .field("token_endpoint", &self.token_endpoint)
            .field("replace", &self.replace)
            .finish()
    }
}

/// A way to log in.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct LoginFlow {
    /// `device-code` or `loopback-pkce`.
    pub flow: String,
    /// Where to listen for the browser; port 0 stands for any free one.
    pub redirect_url: Option<String>,
}

/// A login that has begun.
#[derive(Clone, PartialEq, Eq)]
pub struct LoginBegun {
    /// For [`Admin::login_poll`](crate::Admin::login_poll) or [`Admin::login_finish`](crate::Admin::login_finish). Secret.
    pub state: String,
    /// What a person opens.
    pub url: String,
    /// The same with the code in it.
    pub url_complete: Option<String>,
    /// What a person types there.
    pub user_code: Option<String>,
    /// Milliseconds since 1970.
    pub expires_at_ms: u64,
    /// Wait so long before each poll.
    pub interval_s: u64,
}

impl fmt::Debug for LoginBegun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginBegun").field("state", &Redacted(Some(&self.state))).finish_non_exhaustive()
    }
}

/// How a login by device code stands.
#[derive(Clone, PartialEq, Eq)]
pub struct LoginProgress {
    /// None: not yet.
    pub done: Option<CredentialStatus>,
    /// For the next poll, in place of the one before. Secret.
    pub state: String,
    /// Wait so long before it.
    pub interval_s: u64,
}

impl fmt::Debug for LoginProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginProgress")
            .field("done", &self.done)
            .field("state", &Redacted(Some(&self.state)))
            .field("interval_s", &self.interval_s)
            .finish()
    }
}

/// What became of a logout.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct LoggedOut {
    /// `revoked`, `not-offered`, `nothing` or `failed`.
    pub revocation: String,
    /// Why, where it failed.
    pub message: Option<String>,
}

/// The last thing that went wrong with a credential.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct LastError {
    /// As the server sent it, or the rule that matched.
    pub code: String,
    /// Bounded and redacted.
    pub message: String,
    /// Why it counts.
    pub reason: String,
    /// Milliseconds since 1970.
    pub at_ms: Option<u64>,
}

/// One credential, as a person wants to see it.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct CredentialStatus {
    /// The profile's id.
    pub provider: String,
    /// The entry's id, or `login`.
    pub credential: String,
    /// Another program's text: escape it before it goes to a terminal.
    pub label: String,
    /// `login`, or the entry's own source.
    pub source: String,
    /// `oauth` or `api-key`.
    pub kind: String,
    /// `valid`, `expired`, `quarantined`, ...: see `wit/keeper.wit`.
    pub state: String,
    /// Whether it can be used now: `yes`, `expiring`, `expired`, `unknown` or `no`.
    pub usable: String,
    /// Whether it will be refreshed: `ok`, `refreshing`, `in-doubt`, `paused`, `needs-login`, `needs-configuration`, `quarantined`, `dead`
    /// or `none`.
    pub renewal: String,
    /// Who is refreshing it.
    pub refreshing_by: Option<String>,
    /// Since when, in milliseconds since 1970.
    pub refreshing_since_ms: Option<u64>,
    /// Whose it is, by what its tokens claim. Another program's text.
    pub account: Option<String>,
    /// Milliseconds since 1970.
    pub expires_at_ms: Option<u64>,
    /// When a cooldown ends, in milliseconds since 1970.
    pub retry_at_ms: Option<u64>,
    /// Until when a quarantine can be undone, in milliseconds since 1970.
    pub sealed_until_ms: Option<u64>,
    /// The last thing that went wrong.
    pub last_error: Option<LastError>,
    /// Why it is so, for a person.
    pub note: Option<String>,
    /// The one command that helps, if any does.
    pub todo: Option<String>,
}

/// Every credential of a vault.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct StatusReport {
    /// In the order in which they would be picked.
    pub credentials: Vec<CredentialStatus>,
    /// What could not be read as it should be.
    pub warnings: Vec<String>,
}

/// One provider that a credential may be of: see [`Admin::providers`](crate::Admin::providers). Nothing of it is secret.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ProviderInfo {
    /// As vaults and calls name it.
    pub id: String,
    /// For a person.
    pub name: String,
    /// Other names for it.
    pub aliases: Vec<String>,
    /// `built-in`, `changed` (the user's file lies over a built-in profile) or `user`.
    pub whose: String,
    /// There is no profile: it is known only where its keys are kept.
    pub keys_only: bool,
    /// Where tokens come from.
    pub token_endpoint: Option<String>,
    /// As whom lazaretto asks.
    pub client_id: Option<String>,
    /// `none`, `body` or `basic`.
    pub client_auth: String,
    /// Where a login by device code begins.
    pub device_authorization_endpoint: Option<String>,
    /// What a browser opens.
    pub authorization_endpoint: Option<String>,
    /// Where it comes back to. Port 0 stands for any free one.
    pub redirect_url: Option<String>,
    /// Where a token is revoked.
    pub revocation_endpoint: Option<String>,
    /// What a login asks for, separated by spaces.
    pub scope: Option<String>,
    /// The environment variables that its keys may be in.
    pub environment: Vec<String>,
    /// The ways to log in, the one to try first first.
    pub flows: Vec<String>,
    /// Why there is none.
    pub no_login: Option<String>,
    /// The text of a `providers.json` with what is missing, and `...` for what only the user knows.
    pub to_write: Option<String>,
    /// What is wrong with the profile. Nothing else of it is told then.
    pub wrong: Option<String>,
}

/// One thing that [`Admin::doctor`](crate::Admin::doctor) found.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// `ok`, `warning` or `error`.
    pub severity: String,
    /// See `wit/admin.wit`.
    pub code: String,
    /// What, and where. It may hold text of others: escape it before it goes to a terminal.
    pub message: String,
    /// The provider that it is about.
    pub provider: Option<String>,
    /// And the credential.
    pub credential: Option<String>,
    /// The command that mends it, as a shell takes it: in any order with the others, and twice.
    pub fix: Option<String>,
    /// Another way, which deletes or risks something.
    pub alternative: Option<String>,
}

/// Why a call did not do what was asked, and what to do next. Never a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeeperError {
    /// The open set of `wit/keeper.wit`.
    pub code: String,
    /// `login`, `retry`, `configure`, `inspect` or `usage`.
    pub action: String,
    /// What happened to which credential, and why.
    pub message: String,
    /// The one command that helps, as a shell takes it.
    pub run: Option<String>,
    /// The profile's id.
    pub provider: Option<String>,
    /// An entry's id, or `login`.
    pub credential: Option<String>,
    /// In how many seconds a retry can succeed.
    pub retry_after_s: Option<u64>,
}

impl KeeperError {
    /// Returns the error of a component that failed itself: it trapped, or reached a limit.
    pub fn internal(message: String) -> Self {
        Self {
            code: "internal".into(),
            action: "inspect".into(),
            message,
            run: None,
            provider: None,
            credential: None,
            retry_after_s: None,
        }
    }
}

impl fmt::Display for KeeperError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for KeeperError {}

/// One HTTP exchange with a token endpoint, to be judged.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// A profile's id or alias.
    pub provider: String,
    /// None: no answer came.
    pub status: Option<u16>,
    /// Names in any case.
    pub headers: Vec<(String, String)>,
    /// May hold secrets.
    pub body: String,
    /// The body was cut.
    pub body_cut: bool,
    /// What failed, if no answer came: `dns`, `timeout`, ...
    pub transport_error: Option<String>,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("provider", &self.provider)
            .field("status", &self.status)
            .field("transport_error", &self.transport_error)
            .finish_non_exhaustive()
    }
}

/// One step of the classifier's reading.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Step {
    /// What was looked at.
    pub name: String,
    /// What was found.
    pub finding: String,
}

/// What an answer means, and why. No field holds a secret.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Judgement {
    /// `refreshed`, `terminal`, `interaction`, `config`, `transient` or `unknown`.
    pub verdict: String,
    /// The HTTP status.
    pub status: Option<u16>,
    /// The error code as sent.
    pub code: Option<String>,
    /// The provider's own code behind it.
    pub sub_code: Option<String>,
    /// The rule that decided.
    pub rule: String,
    /// How long the server asks to wait, in seconds.
    pub retry_after_s: Option<u64>,
    /// One redacted line.
    pub summary: String,
    /// The server may have rotated the token although the answer does not say so.
    pub in_doubt: bool,
    /// How it was read.
    pub steps: Vec<Step>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_holds_a_secret_prints_it() {
        let token = AccessToken {
            token: "at-secret".into(),
            token_type: "Bearer".into(),
            provider: "p".into(),
            credential: "login".into(),
            expires_at_ms: None,
            picked: "only".into(),
            origin: "stored".into(),
            warning: None,
            run: None,
            unsaved: Some("rt-secret".into()),
        };
        let request =
            TokenRequest { refused_access_token: Some("at-secret".into()), ..TokenRequest::new("vault", "p") };
        let answer =
            Answer { body: "secret".into(), headers: vec![("x".into(), "secret".into())], ..Answer::default() };
        let new = NewCredential {
            access_token: "at-secret".into(),
            refresh_token: Some("rt-secret".into()),
            id_token: Some("it-secret".into()),
            client_secret: Some("cs-secret".into()),
            ..NewCredential::default()
        };
        let text = format!("{token:?} {request:?} {answer:?} {new:?}");
        let text = text.replace("client_secret: [redacted]", "");
        assert!(!text.contains("secret"), "{text}");
    }
}
