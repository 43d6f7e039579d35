//! A name that nobody knows: what is said names those that are near, or those that are there.

use crate::error::{Code, KeeperError};
use crate::json;
use crate::keeper::{Keeper, Snapshot};
use crate::near;
use crate::ports::Ports;
use crate::provider::{Catalog, Profile};
use crate::vault::Credential;

/// A list of more would be no help.
const SHOWN: usize = 8;

#[cfg_attr(target_arch = "wasm32", lazaretto_macros::synchronous)]
impl<P: Ports> Keeper<P> {
    /// Whether lazaretto or the user's file has this id, if only for its keys.
    pub(crate) fn is_known(&self, id: &str) -> bool {
        self.asked_of_catalog(|catalog| catalog.ids().iter().any(|known| known == id)) || self.is_for_keys(id)
    }

    /// Whether an id has no profile, and is known for its keys.
    pub(crate) fn is_for_keys(&self, id: &str) -> bool {
        self.asked_of_catalog(|catalog| {
            catalog.ids_of_keys().iter().any(|known| known == id) && !catalog.ids().iter().any(|known| known == id)
        })
    }

    fn asked_of_catalog(&self, ask: impl Fn(&Catalog) -> bool) -> bool {
        self.with_catalog(&mut |catalog| Ok(ask(catalog))).unwrap_or_default()
    }

    /// That neither a profile nor the vault knows a name, unless one does.
    pub(crate) fn check_known(&self, id: &str, name: &str, vault: Option<&Snapshot>) -> Result<(), KeeperError> {
        if self.is_known(id) {
            return Ok(());
        }
        let held = match vault {
            Some(vault) => vault.open().providers(),
            None => Vec::new(),
        };
        if held.iter().any(|held| held == id) { Ok(()) } else { Err(self.unknown_provider(name, &held)) }
    }

    fn unknown_provider(&self, name: &str, held: &[String]) -> KeeperError {
        let mut known = self.with_catalog(&mut |catalog| Ok(catalog.names())).unwrap_or_default();
        known.extend_from_slice(held);
        known.sort();
        known.dedup();
        let question = near::question(name, known.iter().map(String::as_str));
        let what = format!("{name}: no provider of this name is known.{question}");
        let mut error = KeeperError::new(Code::UnknownProvider, what);
        error.provider = Some(name.to_owned());
        error
    }
}

/// That no credential of a provider has this name.
pub(crate) fn credential(profile: &Profile, name: &str, known: &[Credential]) -> KeeperError {
    let what = format!("{}: no credential is called {}. There is {}", profile.id, json::quote(name), listed(known));
    KeeperError::new(Code::UnknownCredential, what).of(&profile.id, name)
}

/// What a person calls these credentials, with the id of each that has a label.
pub(crate) fn listed(credentials: &[Credential]) -> String {
    let name = |credential: &Credential| {
        let (id, label) = (credential.id(), &credential.leading().label);
        if label.is_empty() || label == id { id.to_owned() } else { format!("{} ({id})", json::quote(label)) }
    };
    let mut names: Vec<String> = credentials.iter().take(SHOWN).map(name).collect();
    if credentials.len() > SHOWN {
        names.push(format!("{} more", credentials.len() - SHOWN));
    }
    match names.split_last() {
        None => "none".to_owned(),
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
    }
}
