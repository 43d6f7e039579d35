//! What both contracts say in the same words, `keeper` to programs and `admin` to persons.

use crate::error::{Details, KeeperError};
use crate::status::CredentialStatus;
use crate::vault::{CredentialKind, LastError};

#[cfg(feature = "admin")]
use super::bindings::exports::lazaretto::keeper::admin as wit;
#[cfg(not(feature = "admin"))]
use super::bindings::exports::lazaretto::keeper::keeper as wit;
use super::world::keeper;

impl From<LastError> for wit::LastError {
    fn from(error: LastError) -> Self {
        Self { code: error.code, message: error.message, reason: error.reason, at_ms: error.at_ms }
    }
}

impl From<CredentialStatus> for wit::CredentialStatus {
    fn from(status: CredentialStatus) -> Self {
        Self {
            provider: status.provider,
            credential: status.credential,
            label: status.label,
            source: status.source,
            kind: match status.kind {
                CredentialKind::OAuth => "oauth",
                CredentialKind::ApiKey => "api-key",
            }
            .to_owned(),
            state: status.state.to_owned(),
            usable: status.usable.as_str().to_owned(),
            renewal: status.renewal.as_str().to_owned(),
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

/// What a call came to; an error with the command that helps.
pub(super) fn advised<T>(vault: &str, provider: Option<&str>, done: Result<T, KeeperError>) -> Result<T, wit::Error> {
    done.map_err(|error| keeper().advised(vault, provider, error).into())
}

impl From<KeeperError> for wit::Error {
    fn from(error: KeeperError) -> Self {
        let error = Details::from(error);
        Self {
            code: error.code.as_str().to_owned(),
            action: error.action().as_str().to_owned(),
            message: error.message,
            run: error.run,
            provider: error.provider,
            credential: error.credential,
            retry_after_s: error.retry_after_s,
        }
    }
}
