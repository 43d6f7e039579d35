//! A line of JSON is one call of the keeper, and one line of JSON its answer. Nothing that a caller
//! wrote is repeated in an error: it may be a token.

use std::borrow::Cow;
use std::env;
use std::path::PathBuf;

use lazaretto_host::storage::VAULT;
use lazaretto_host::{
    AccessToken, Advice, ApiCall, CredentialStatus, Judgement, Keeper, KeeperError, OpenError, Selector, StatusReport,
    TokenRequest,
};
use serde::{Deserialize, Serialize, Serializer};
use zeroize::Zeroize;

use crate::{failure, usage};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Options {
    vault: PathBuf,
    layout: Option<String>,
    providers: Option<PathBuf>,
    allow_loopback_http: Option<bool>,
    environment: Option<bool>,
    also: Option<Vec<PathBuf>>,
    command: Option<String>,
    login_hint: Option<String>,
    warm_instances: Option<usize>,
}

/// Returns the keeper that `options` describe.
#[cfg(unix)]
pub(crate) fn open(options: &str) -> Result<Keeper, Failure> {
    use lazaretto_host::storage::FileStorage;

    let options: Options = serde_json::from_str(options).map_err(|error| not_as_described("options_json", &error))?;
    let mut storage = FileStorage::open(at_home(options.vault)).with_environment(options.environment.unwrap_or(false));
    if let Some(layout) = options.layout {
        storage = storage.layout(layout);
    }
    if let Some(providers) = options.providers {
        storage = storage.with_profiles(at_home(providers));
    }
    if let Some(command) = options.command {
        storage = storage.command(command);
    }
    if let Some(hint) = options.login_hint {
        storage = storage.login_hint(hint);
    }
    for also in options.also.unwrap_or_default() {
        storage = storage.also(at_home(also));
    }
    Keeper::builder()
        .storage(storage)
        .allow_loopback_http(options.allow_loopback_http.unwrap_or(false))
        .warm_instances(options.warm_instances.unwrap_or(0))
        .build()
        .map_err(|error| match error {
            OpenError::Profiles(message) => failure("bad-profile", "configure", message),
            other => failure("internal", "inspect", other.to_string()),
        })
}

/// There is no file storage without `flock`.
#[cfg(not(unix))]
pub(crate) fn open(_: &str) -> Result<Keeper, Failure> {
    Err(failure("unsupported", "configure", "files can only be kept where there is flock(2)".into()))
}

/// `~/` is what a shell would make of it, and C has no shell.
fn at_home(path: PathBuf) -> PathBuf {
    match (path.strip_prefix("~"), env::var_os("HOME")) {
        (Ok(rest), Some(home)) => PathBuf::from(home).join(rest),
        _ => path,
    }
}

/// One call.
pub(crate) enum Call {
    Token(TokenRequest),
    Refresh(TokenRequest),
    Status {
        vault: String,
        provider: Option<String>,
        /// Else the credentials alone.
        with_warnings: bool,
    },
    Report(ApiCall),
    Reset(Selector),
    Unquarantine(Selector),
    EndUse(Selector),
    SaveUnsaved(String),
    Origins,
    Classify(lazaretto_host::Answer, u64),
}

/// Every member that some call has.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    call: String,
    vault: Option<String>,
    provider: Option<String>,
    credential: Option<String>,
    min_valid_s: Option<u64>,
    refused_access_token: Option<String>,
    session: Option<String>,
    access_token: Option<String>,
    status: Option<u16>,
    headers: Option<Vec<(String, String)>>,
    body: Option<String>,
    answer: Option<Answered>,
    now_s: Option<u64>,
    unsaved: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answered {
    provider: String,
    status: Option<u16>,
    headers: Option<Vec<(String, String)>>,
    body: Option<String>,
    body_complete: Option<bool>,
    /// The native keeper has no use for it: a text comes here as it was read.
    #[serde(rename = "body_lossy")]
    _body_lossy: Option<bool>,
    transport_error: Option<String>,
}

impl Call {
    /// Reads a line.
    pub(crate) fn parse(line: &str) -> Result<Self, Failure> {
        let line: Line = serde_json::from_str(line).map_err(|error| not_as_described("call_json", &error))?;
        let vault = line.vault.unwrap_or_else(|| VAULT.into());
        let wanted = |member: &str| usage(format!("call_json: this call needs the member `{member}`"));
        let provider = || line.provider.clone().ok_or_else(|| wanted("provider"));
        let selector = || -> Result<Selector, Failure> {
            Ok(Selector { vault: vault.clone(), provider: provider()?, credential: line.credential.clone() })
        };
        let request = || -> Result<TokenRequest, Failure> {
            Ok(TokenRequest {
                vault: vault.clone(),
                provider: provider()?,
                credential: line.credential.clone(),
                min_valid_s: line.min_valid_s.unwrap_or(0),
                refused_access_token: line.refused_access_token.clone(),
                session: line.session.clone(),
            })
        };
        Ok(match line.call.as_str() {
            "token" => Self::Token(request()?),
            "refresh" => Self::Refresh(request()?),
            "status" => Self::Status { vault, provider: line.provider, with_warnings: false },
            "report" => Self::Report(ApiCall {
                provider: provider()?,
                vault,
                credential: line.credential,
                session: line.session,
                access_token: line.access_token.ok_or_else(|| wanted("access_token"))?,
                status: line.status,
                headers: line.headers.unwrap_or_default(),
                body: line.body.unwrap_or_default(),
            }),
            "reset" => Self::Reset(selector()?),
            "unquarantine" => Self::Unquarantine(selector()?),
            "end_use" => Self::EndUse(selector()?),
            "save_unsaved" => Self::SaveUnsaved(line.unsaved.ok_or_else(|| wanted("unsaved"))?),
            "origins" => Self::Origins,
            "classify" => {
                let answer = line.answer.ok_or_else(|| wanted("answer"))?;
                let judged = lazaretto_host::Answer {
                    provider: answer.provider,
                    status: answer.status,
                    headers: answer.headers.unwrap_or_default(),
                    body: answer.body.unwrap_or_default(),
                    body_cut: !answer.body_complete.unwrap_or(true),
                    transport_error: answer.transport_error,
                };
                Self::Classify(judged, line.now_s.ok_or_else(|| wanted("now_s"))?)
            }
            _ => return Err(usage(format!("call_json: there is no such call; there are {CALLS}"))),
        })
    }

    /// Makes the call.
    pub(crate) fn make(self, keeper: &Keeper) -> Result<Answer, Failure> {
        Ok(match self {
            Self::Token(request) => Answer::Token(Token(keeper.token(&request)?)),
            Self::Refresh(request) => Answer::Token(Token(keeper.refresh(&request)?)),
            Self::Status { vault, provider, with_warnings } => {
                let report = keeper.status(&vault, provider.as_deref())?;
                if with_warnings { Answer::Report(report) } else { Answer::Credentials(report.credentials) }
            }
            Self::Report(call) => Answer::Advice(keeper.report(&call)?.into()),
            Self::Reset(selector) => Answer::Credential(keeper.reset(&selector)?),
            Self::Unquarantine(selector) => Answer::Credential(keeper.unquarantine(&selector)?),
            Self::EndUse(selector) => Answer::Nothing(keeper.end_use(&selector)?),
            Self::SaveUnsaved(unsaved) => Answer::Nothing(keeper.save_unsaved(&unsaved)?),
            Self::Origins => Answer::Origins(keeper.origins()?),
            Self::Classify(answer, now_s) => Answer::Judgement(keeper.classify(&answer, now_s)?),
        })
    }
}

const CALLS: &str = "token, refresh, status, report, reset, unquarantine, end_use, save_unsaved, origins and classify";

/// Returns a request without the rarer members.
pub(crate) fn token_request(provider: &str, credential: Option<&str>, refused: Option<&str>) -> TokenRequest {
    TokenRequest {
        credential: credential.map(Into::into),
        refused_access_token: refused.map(Into::into),
        ..TokenRequest::new(VAULT, provider)
    }
}

/// What a call came to.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum Answer {
    Token(Token),
    Credentials(Vec<CredentialStatus>),
    Report(StatusReport),
    Credential(CredentialStatus),
    Advice(Advised),
    Judgement(Judgement),
    Origins(Vec<String>),
    Nothing(()),
}

/// An access token that wipes itself.
pub(crate) struct Token(AccessToken);

impl Drop for Token {
    fn drop(&mut self) {
        self.0.token.zeroize();
        self.0.unsaved.zeroize();
    }
}

impl Serialize for Token {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Members<'a> {
            token: &'a str,
            token_type: &'a str,
            provider: &'a str,
            credential: &'a str,
            expires_at_ms: Option<u64>,
            picked: &'a str,
            origin: &'a str,
            warning: Option<&'a str>,
            run: Option<&'a str>,
            unsaved: Option<&'a str>,
        }
        let token = &self.0;
        Members {
            token: &token.token,
            token_type: &token.token_type,
            provider: &token.provider,
            credential: &token.credential,
            expires_at_ms: token.expires_at_ms,
            picked: &token.picked,
            origin: &token.origin,
            warning: token.warning.as_deref(),
            run: token.run.as_deref(),
            unsaved: token.unsaved.as_deref(),
        }
        .serialize(serializer)
    }
}

#[derive(Serialize)]
pub(crate) struct Advised {
    advice: String,
    token: Option<Token>,
    retry_after_s: Option<u64>,
    message: String,
    run: Option<String>,
}

impl From<Advice> for Advised {
    fn from(advice: Advice) -> Self {
        Self {
            advice: advice.advice,
            token: advice.token.map(Token),
            retry_after_s: advice.retry_after_s,
            message: advice.message,
            run: advice.run,
        }
    }
}

/// `{"ok":..}`
#[derive(Serialize)]
pub(crate) struct WentWell<'a> {
    pub(crate) ok: &'a Answer,
}

/// `{"error":..}`
#[derive(Serialize)]
pub(crate) struct WentWrong<'a> {
    pub(crate) error: &'a Failure,
}

/// Why a call did not do what was asked.
#[derive(Debug)]
pub(crate) struct Failure(pub(crate) KeeperError);

impl From<KeeperError> for Failure {
    fn from(error: KeeperError) -> Self {
        Self(error)
    }
}

impl Serialize for Failure {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Members<'a> {
            code: &'a str,
            action: &'a str,
            message: &'a str,
            run: Option<&'a str>,
            provider: Option<&'a str>,
            credential: Option<&'a str>,
            retry_after_s: Option<u64>,
        }
        let error = &self.0;
        Members {
            code: &error.code,
            action: &error.action,
            message: &error.message,
            run: error.run.as_deref(),
            provider: error.provider.as_deref(),
            credential: error.credential.as_deref(),
            retry_after_s: error.retry_after_s,
        }
        .serialize(serializer)
    }
}

/// Returns a member of an object: a string as it is, anything else as it stands there.
pub(crate) fn member<'a>(json: &'a str, name: &str) -> Option<Cow<'a, str>> {
    let object: serde_json::Value = serde_json::from_str(json).ok()?;
    match object.as_object()?.get(name)? {
        serde_json::Value::Null => None,
        serde_json::Value::String(text) => Some(Cow::Owned(text.clone())),
        other => Some(Cow::Owned(other.to_string())),
    }
}

/// Serde's own message would quote what it found.
fn not_as_described(what: &str, error: &serde_json::Error) -> Failure {
    let why = match error.classify() {
        serde_json::error::Category::Data => {
            "a member is missing, has another type than lazaretto.h says, or is none that it names"
        }
        _ => "it is not JSON",
    };
    usage(format!("{what}: {why} (line {}, column {})", error.line(), error.column()))
}
