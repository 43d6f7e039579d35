//! A vault is somebody's file: it is read tolerantly, and of it only the values that must change are changed.
//!
//! | question | file |
//! |---|---|
//! | what stands at one spot | `place` |
//! | which spots are one credential | `credential` |
//! | where are the spots | `hermes` |
//! | how do fresh tokens get there | `fresh` |
//! | how does everything else stay as it was | [`edit`] |

mod credential;
pub mod edit;
mod fresh;
mod hermes;
mod place;

use crate::json::{self, JsonError, Kind, Value};
use crate::provider::{Layout, Profile};

pub use credential::{Credential, Reading, is_seeded};
use edit::{Change, EditError, Edits};
pub use fresh::Fresh;
pub use place::{CredentialKind, EntryState, LOGIN, LastError, Place, Spot};

/// Why a text is no vault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VaultError {
    /// It is not JSON.
    NotJson(JsonError),
    /// Its top is not an object.
    NotAnObject(Kind),
}

impl std::fmt::Display for VaultError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotJson(error) => write!(f, "it is not JSON: {error}"),
            Self::NotAnObject(kind) => write!(f, "it should hold a JSON object, and holds {kind}"),
        }
    }
}

/// A vault's text, and where in it what lies.
#[derive(Clone, Debug)]
pub struct Vault<'a> {
    root: Value<'a>,
}

impl<'a> Vault<'a> {
    /// A vault's text, checked.
    pub fn open(text: &'a str) -> Result<Self, VaultError> {
        let root = json::check(text).map_err(VaultError::NotJson)?;
        if root.kind() == Kind::Object { Ok(Self { root }) } else { Err(VaultError::NotAnObject(root.kind())) }
    }

    /// The ids of all providers it names.
    pub fn providers(&self) -> Vec<String> {
        hermes::providers(self.root)
    }

    /// The credentials of one provider.
    pub fn read(&self, profile: &Profile) -> Reading {
        let mut warnings = Vec::new();
        let places = self.places(profile, &mut warnings);
        Reading { credentials: credential::of_places(places, profile), warnings }
    }

    /// Every place of one provider, in the order of the text.
    pub fn places(&self, profile: &Profile, warnings: &mut Vec<String>) -> Vec<Place> {
        hermes::places(self.root, profile, warnings)
    }

    /// The object at a spot.
    pub fn node(&self, provider: &str, spot: Spot) -> Option<Value<'a>> {
        hermes::node(self.root, provider, spot)
    }

    /// The list of a provider's entries.
    pub fn pool(&self, provider: &str) -> Option<Value<'a>> {
        hermes::pool(self.root, provider)
    }

    /// How the tokens lie at a spot.
    pub fn layout<'l>(&'l self, profile: &'l Profile, spot: Spot) -> &'l Layout {
        if spot == Spot::Login { &profile.login } else { &profile.entry }
    }

    /// Writes fresh tokens to a spot.
    pub fn write_tokens(
        &self,
        edits: &mut Edits,
        node: Value<'_>,
        spot: Spot,
        profile: &Profile,
        fresh: &Fresh,
    ) -> Result<(), EditError> {
        let mut changes = fresh::changes(node, self.layout(profile, spot), fresh);
        if spot == Spot::Login {
            changes.push(("/last_auth_error".to_owned(), Change::Remove));
        }
        edits.members(node, &changes)
    }
}
