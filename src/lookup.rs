//! What a call is about: the profile that a name stands for, and the credentials that the vault
//! holds of it.

use std::rc::Rc;

use lazaretto_macros::async_natively;

use crate::did_you_mean;
use crate::error::{Code, KeeperError};
use crate::ports::Ports;
use crate::provider::Profile;
use crate::session::Session;
use crate::vault::{Credential, Reading};

/// The profile a name stands for, as it is for a vault, and what that holds of it.
#[async_natively]
pub(crate) async fn profile_in<P: Ports>(
    session: &Session<P>,
    vault: &str,
    name: &str,
) -> Result<(Rc<Profile>, Rc<Reading>), KeeperError> {
    let profile = session.profile(name).await?;
    let snapshot = match session.vault(vault).await {
        // A name that nobody knows is the first mistake.
        Err(error) if error.code == Code::NoCredential => {
            did_you_mean::check_known(session, &profile.id, name, None)?;
            return Err(error);
        }
        found => found?,
    };
    did_you_mean::check_known(session, &profile.id, name, Some(&*snapshot))?;
    let reading = snapshot.reading(&profile)?;
    Ok((profile, reading))
}

/// The credentials to try, in order. A name that nobody answers to is the caller's mistake.
pub(crate) fn candidates<'a>(
    reading: &'a Reading,
    profile: &Profile,
    named: Option<&'a str>,
) -> Result<impl Iterator<Item = &'a Credential> + Clone + use<'a>, KeeperError> {
    let found =
        reading.credentials.iter().filter(move |credential| named.is_none_or(|name| credential.answers_to(name)));
    match (found.clone().next(), named) {
        (Some(_), _) => Ok(found),
        (None, None) => Err(no_credential(profile)),
        (None, Some(name)) => Err(did_you_mean::credential(profile, name, &reading.credentials)),
    }
}

pub(crate) fn no_credential(profile: &Profile) -> KeeperError {
    let what = format!("{}: the vault holds no credential of it", profile.id);
    let mut error = KeeperError::new(Code::NoCredential, what);
    error.provider = Some(profile.id.clone());
    error
}
