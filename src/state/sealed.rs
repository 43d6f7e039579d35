//! Tokens kept unused for a bounded time: what a quarantine removed, a successor that could not be
//! written to its vault, and a copy of one that another program may write over.

use std::collections::BTreeMap;

use crate::error::KeeperError;
use crate::json::{self, Kind, Object};
use crate::layers::Layers;
use crate::ports::{Ports, Stored, Version};
use crate::secret::Secret;
use crate::state::document;
use crate::state::fingerprint::Fingerprint;
use crate::time::DAY_MS;
use crate::vault::Fresh;

const ABOUT: &str = "lazaretto's sealed document: SECRETS that are not in use. `lazaretto unquarantine` puts one back.";

/// How long a quarantine can be undone, and a copy is kept.
pub const KEPT_MS: u64 = 7 * DAY_MS;

/// The sealed document's name beside a vault.
pub fn name(vault: &str) -> String {
    format!("{vault}.lazaretto-sealed")
}

/// Everything that is sealed.
#[derive(Clone, Debug, Default)]
pub struct Sealed {
    /// What quarantines removed, by the dead token's fingerprint.
    pub quarantined: BTreeMap<Fingerprint, Quarantined>,
    /// Successors that are in no vault yet, by the fingerprint of the token that was spent for
    /// them.
    pub successors: BTreeMap<Fingerprint, Successor>,
    /// Copies of the last tokens of entries that lie in one place only, which another program may
    /// write over with what it read long ago. By the fingerprint of the token that was spent for
    /// them.
    pub kept: BTreeMap<Fingerprint, Successor>,
}

impl Sealed {
    /// Nothing is kept of an older refresh of the same credential: its token is spent.
    pub(crate) fn keep(&mut self, spent: &Fingerprint, successor: &Successor) {
        let received_at_ms = successor.fresh.received_at_ms;
        self.kept.retain(|_, kept| {
            let is_its = kept.provider == successor.provider && kept.credential == successor.credential;
            !is_its || kept.fresh.received_at_ms > received_at_ms
        });
        self.kept.insert(spent.clone(), successor.clone());
    }

    /// New tokens of a credential, and the token that was spent for them.
    pub(crate) fn successor_for(&self, provider: &str, credential: &str) -> Option<(&Fingerprint, &Successor)> {
        let is_its = |successor: &Successor| successor.provider == provider && successor.credential == credential;
        self.successors.iter().find(|(_, successor)| is_its(successor))
    }
}

/// What one quarantine removed.
#[derive(Clone, Debug)]
pub struct Quarantined {
    /// The profile's id.
    pub provider: String,
    /// The entry's id, or `login`.
    pub credential: String,
    /// Milliseconds since 1970.
    pub sealed_at_ms: u64,
    /// When it is wiped, in milliseconds since 1970.
    pub until_ms: u64,
    /// The access token that lay beside the dead refresh token.
    pub access_token: Option<Secret>,
    /// Milliseconds since 1970.
    pub access_expires_at_ms: Option<u64>,
    /// An API refused that access token, so it is not served either.
    pub access_refused: bool,
    /// What was where.
    pub removed: Vec<Removed>,
}

/// One spot that a quarantine changed.
#[derive(Clone)]
pub enum Removed {
    /// Values of a login, each as it was spelled in the vault; none for one that was added.
    Login {
        /// The provider whose login it is.
        provider: String,
        /// By JSON pointer.
        values: BTreeMap<String, Option<String>>,
    },
    /// Values of an entry.
    EntryValues {
        /// The provider whose pool it is in.
        provider: String,
        /// The entry's id.
        id: String,
        /// By JSON pointer.
        values: BTreeMap<String, Option<String>>,
    },
    /// An entry, whole.
    Entry {
        /// The provider whose pool it was in.
        provider: String,
        /// The entry's id.
        id: String,
        /// As it was spelled in the vault.
        text: String,
    },
}

impl std::fmt::Debug for Removed {
    // Its values are secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Login { .. } => "Login([redacted])",
            Self::EntryValues { .. } => "EntryValues([redacted])",
            Self::Entry { .. } => "Entry([redacted])",
        })
    }
}

/// Fresh tokens on their way to a vault.
#[derive(Clone, Debug)]
pub struct Successor {
    /// The profile's id.
    pub provider: String,
    /// The entry's id, or `login`.
    pub credential: String,
    /// What the refresh brought.
    pub fresh: Fresh,
    /// When the token that was spent for it was issued, in milliseconds since 1970: what is older
    /// is no new login.
    pub parent_issued_at_ms: Option<u64>,
}

/// Reads the sealed document of a vault.
#[lazaretto_macros::async_natively]
pub async fn load<P: Ports>(ports: &P, vault: &str) -> Result<Sealed, KeeperError> {
    read(ports, vault).await.map(|(sealed, _)| sealed)
}

/// Changes the sealed document, whoever else does too. What is past its time goes with it.
#[lazaretto_macros::async_natively]
pub async fn update<P: Ports>(ports: &P, vault: &str, change: &dyn Fn(&mut Sealed)) -> Result<(), KeeperError> {
    let stored = document::until_stored(async || {
        let (mut sealed, version) = read(ports, vault).await?;
        change(&mut sealed);
        let now_ms = ports.wall_ms();
        sealed.quarantined.retain(|_, entry| now_ms < entry.until_ms);
        sealed.kept.retain(|_, kept| now_ms < kept.fresh.received_at_ms.saturating_add(KEPT_MS));
        let is_empty = sealed.quarantined.is_empty() && sealed.successors.is_empty() && sealed.kept.is_empty();
        if version.is_none() && is_empty {
            return Ok(Some(()));
        }
        let text = Secret::new(render(&sealed));
        match ports.store(&name(vault), text.expose(), version.as_ref(), true, None).await {
            Ok(Stored::Done(_)) => Ok(Some(())),
            // Making the change once more comes to the same.
            Ok(Stored::Stale(_) | Stored::Unknown) => Ok(None),
            Err(error) => Err(KeeperError::storage(&name(vault), &error)),
        }
    });
    stored.await?.ok_or_else(|| document::busy(&format!("`{}`", name(vault))))
}

#[lazaretto_macros::async_natively]
async fn read<P: Ports>(ports: &P, vault: &str) -> Result<(Sealed, Option<Version>), KeeperError> {
    let name = name(vault);
    match document::loaded(&name, ports.load(&name, None).await)? {
        Some(document) => Ok((parse(document.text.expose())?, Some(document.version))),
        None => Ok((Sealed::default(), None)),
    }
}

fn parse(text: &str) -> Result<Sealed, KeeperError> {
    let advice = ". Restore it, or set it aside: what it holds is lost then";
    document::read(text, "the sealed document", advice, |top| Sealed {
        quarantined: by_fingerprint(top, "quarantined", Quarantined::read),
        successors: by_fingerprint(top, "successors", Successor::read),
        kept: by_fingerprint(top, "kept", Successor::read),
    })
}

fn render(sealed: &Sealed) -> String {
    let mut quarantined = Object::default();
    for (token, entry) in sealed.quarantined.iter() {
        quarantined.raw(token.as_str(), entry.spelled());
    }
    let tokens = |table: &BTreeMap<Fingerprint, Successor>| {
        let mut all = Object::default();
        for (token, entry) in table.iter() {
            all.raw(token.as_str(), entry.spelled());
        }
        all.lines()
    };
    Object::default()
        .number("schema", document::SCHEMA)
        .text("about", ABOUT)
        .raw("quarantined", quarantined.lines())
        .raw("successors", tokens(&sealed.successors))
        .raw("kept", tokens(&sealed.kept))
        .lines()
        + "\n"
}

fn by_fingerprint<T>(top: &Layers<'_>, name: &str, read: fn(&Layers<'_>) -> T) -> BTreeMap<Fingerprint, T> {
    let mut entries = BTreeMap::new();
    for (key, entry) in top.entries(name) {
        entries.insert(document::fingerprint(top, name, &key), read(&entry));
    }
    entries
}

impl Quarantined {
    fn read(entry: &Layers<'_>) -> Self {
        Self {
            provider: entry.text("provider"),
            credential: entry.text("credential"),
            sealed_at_ms: entry.number("sealed_at_ms"),
            until_ms: entry.number("until_ms"),
            access_token: entry.maybe_text("access_token").map(Secret::new),
            access_expires_at_ms: entry.one("access_expires_at_ms").and_then(|at| at.as_u64()),
            access_refused: entry.flag("access_refused"),
            removed: entry.items("removed").iter().map(Removed::read).collect(),
        }
    }

    fn spelled(&self) -> String {
        let removed: Vec<String> = self.removed.iter().map(Removed::spelled).collect();
        Object::default()
            .text("provider", &self.provider)
            .text("credential", &self.credential)
            .number("sealed_at_ms", self.sealed_at_ms)
            .number("until_ms", self.until_ms)
            .maybe_text("access_token", self.access_token.as_ref().map(Secret::expose))
            .maybe_number("access_expires_at_ms", self.access_expires_at_ms)
            .raw("access_refused", self.access_refused.to_string())
            .raw("removed", format!("[{}]", removed.join(", ")))
            .lines()
    }
}

impl Removed {
    fn read(removed: &Layers<'_>) -> Self {
        let (provider, id) = (removed.text("provider"), removed.maybe_text("id").unwrap_or_default());
        match removed.which_of("kind", &["login", "entry-values", "entry"]) {
            0 => Self::Login { provider, values: values(removed) },
            1 => Self::EntryValues { provider, id, values: values(removed) },
            _ => Self::Entry { provider, id, text: removed.text("text") },
        }
    }

    fn spelled(&self) -> String {
        let spelled = |values: &BTreeMap<String, Option<String>>| {
            let mut all = Object::default();
            for (pointer, text) in values.iter() {
                all.raw(pointer, text.as_deref().map_or_else(|| "null".to_owned(), json::quote));
            }
            all.lines()
        };
        let mut object = Object::default();
        match self {
            Self::Login { provider, values } => {
                object.text("kind", "login").text("provider", provider).raw("values", spelled(values))
            }
            Self::EntryValues { provider, id, values } => object
                .text("kind", "entry-values")
                .text("provider", provider)
                .text("id", id)
                .raw("values", spelled(values)),
            Self::Entry { provider, id, text } => {
                object.text("kind", "entry").text("provider", provider).text("id", id).text("text", text)
            }
        }
        .lines()
    }
}

/// Each value as it was spelled in the vault.
fn values(removed: &Layers<'_>) -> BTreeMap<String, Option<String>> {
    let mut values = BTreeMap::new();
    for member in removed.one("values").into_iter().flat_map(|values| values.members()) {
        let text = member.value.as_str();
        if text.is_none() && member.value.kind() != Kind::Null {
            removed.misread("values", "should hold strings or null");
        }
        values.insert(member.key.as_str().unwrap_or_default(), text);
    }
    values
}

impl Successor {
    /// As [`Successor::spelled`] has it.
    pub(crate) fn read(entry: &Layers<'_>) -> Self {
        Self {
            provider: entry.text("provider"),
            credential: entry.text("credential"),
            fresh: Fresh {
                access_token: Secret::new(entry.maybe_text("access_token").unwrap_or_default()),
                refresh_token: entry.maybe_text("refresh_token").map(Secret::new),
                expires_in_s: entry.one("expires_in_s").and_then(|seconds| seconds.as_u64()),
                scope: entry.maybe_text("scope"),
                token_type: entry.maybe_text("token_type"),
                id_token: entry.maybe_text("id_token").map(Secret::new),
                received_at_ms: entry.number("received_at_ms"),
            },
            parent_issued_at_ms: entry.one("parent_issued_at_ms").and_then(|at| at.as_u64()),
        }
    }

    /// With its secrets: only for the sealed document, and for `unsaved`.
    pub(crate) fn spelled(&self) -> String {
        let fresh = &self.fresh;
        Object::default()
            .text("provider", &self.provider)
            .text("credential", &self.credential)
            .text("access_token", fresh.access_token.expose())
            .maybe_text("refresh_token", fresh.refresh_token.as_ref().map(Secret::expose))
            .maybe_number("expires_in_s", fresh.expires_in_s)
            .maybe_text("scope", fresh.scope.as_deref())
            .maybe_text("token_type", fresh.token_type.as_deref())
            .maybe_text("id_token", fresh.id_token.as_ref().map(Secret::expose))
            .number("received_at_ms", fresh.received_at_ms)
            .maybe_number("parent_issued_at_ms", self.parent_issued_at_ms)
            .lines()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_sealed_shows_in_debug_output() {
        let mut values = BTreeMap::new();
        values.insert("/tokens/refresh_token".to_owned(), Some("\"rt-secret\"".to_owned()));
        let removed = Removed::Login { provider: "p".into(), values };
        let entry = Quarantined {
            provider: "p".into(),
            credential: "login".into(),
            sealed_at_ms: 0,
            until_ms: 1,
            access_token: Some(Secret::from("at-secret")),
            access_expires_at_ms: None,
            access_refused: false,
            removed: vec![removed],
        };
        let text = format!("{entry:?}");
        assert!(!text.contains("secret") && text.contains("[redacted]"), "{text}");
        let mut sealed = Sealed::default();
        sealed.quarantined.insert(Fingerprint::of("t"), entry);
        let spelled = render(&sealed);
        assert!(spelled.contains("rt-secret") && spelled.contains("at-secret"));
        assert_eq!(render(&parse(&spelled).unwrap()), spelled);
    }
}
