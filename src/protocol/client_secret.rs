//! The secret of a client is read when it is about to be used, by the host, from the one place that
//! the user's profile names.

use lazaretto_macros::async_natively;

use crate::error::{Code, KeeperError};
use crate::ports::{Loaded, Ports};
use crate::provider::{ClientSecret, Profile};
use crate::secret::Secret;
use crate::session::Session;

/// What the host is asked for: this, and the profile's id.
const DOCUMENT: &str = "secret/";
/// No secret is longer.
const LONGEST: usize = 8 * 1024;

/// The secret, if the profile has the host read it. None: the profile holds it itself, or the
/// client has none.
#[async_natively]
pub(crate) async fn read<P: Ports>(session: &Session<P>, profile: &Profile) -> Result<Option<Secret>, KeeperError> {
    let Some(ClientSecret::Elsewhere { member, .. }) = &profile.client_secret else { return Ok(None) };
    let unread = |why: &str| {
        let what =
            format!("{}: the client secret that `{member}` in providers.json names was not read: {why}", profile.id);
        let mut error = KeeperError::new(Code::ClientSecret, what);
        error.provider = Some(profile.id.clone());
        error
    };
    let name = format!("{DOCUMENT}{}", profile.id);
    match session.ports.load(&name, None).await {
        Ok(Loaded::Found(document)) if can_be_sent(document.text.expose()) => Ok(Some(document.text)),
        Ok(Loaded::Found(_)) => Err(unread("what is there is empty, longer than a secret, or not one line of text")),
        Ok(_) => Err(unread("this host reads no client secrets")),
        Err(error) if error.code == "invalid-name" => Err(unread("this host reads no client secrets")),
        Err(error) => Err(unread(&error.message)),
    }
}

fn can_be_sent(secret: &str) -> bool {
    !secret.is_empty() && secret.len() <= LONGEST && !secret.chars().any(char::is_control)
}

/// What is said beside a server's refusal of a client that has no secret; none if it has one, or
/// was not refused for that.
pub(crate) fn missing(profile: &Profile, has_secret: bool, code: Option<&str>, said: &str) -> Option<String> {
    const REFUSED: [&str; 3] = ["invalid_client", "incorrect_client_credentials", "bad_client_secret"];
    let is_refused = code.is_some_and(|code| REFUSED.contains(&code)) || said.contains("client_secret");
    if has_secret || !is_refused {
        return None;
    }
    Some(match &profile.client_secret_in_login {
        Some(pointer) => format!("the login holds no client secret at `{pointer}`, where its profile looks for one"),
        None => format!(
            "the profile `{}` has no client secret: if the server issued one to this client, name it there as \
             `client_secret_file`, or `client_secret_env`, `client_secret_command` or `client_secret`",
            profile.id
        ),
    })
}
