//! `wit/admin.wit` on [`crate::adding`] and [`crate::removing`].

use crate::adding::NewCredential;
use crate::secret::Secret;

use super::bindings::Component;
use super::bindings::exports::lazaret::keeper::admin as wit;
use super::world::keeper;

impl wit::Guest for Component {
    fn add(credential: wit::NewCredential) -> Result<wit::CredentialStatus, wit::Error> {
        Ok(keeper().add(&credential.into())?.into())
    }

    fn remove(selector: wit::Selector) -> Result<(), wit::Error> {
        Ok(keeper().remove(&selector.vault, &selector.provider, selector.credential.as_deref())?)
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
        }
    }
}
