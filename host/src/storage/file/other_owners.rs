//! Which other files may hold the grants that are in a vault, and own them. They are read, never
//! written.
//!
//! The reference keeps a second copy of a Nous login in `<root>/shared/nous_auth.json` and prefers
//! that one, and the store of one of its profiles, `<root>/profiles/<name>/auth.json`, borrows from
//! `<root>/auth.json`. Beside each it may keep an Anthropic login in `.anthropic_oauth.json`.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde_json::{Map, json};

use super::super::{Document, LoadOutcome, Storage, StorageError, VAULT, version_of};
use super::FileStorage;
use super::places::REFERENCE_VAULT;

/// The document that lists them.
const LIST: &str = "also.json";
/// What their names begin with.
const PREFIX: &str = "also/";

/// Files that may own what is in a vault.
#[derive(Default)]
pub(super) struct Also {
    named: Vec<PathBuf>,
    /// Where the reference's shared logins lie, if not in their usual folder.
    shared: Option<PathBuf>,
}

/// One of them.
struct Owner {
    path: PathBuf,
    /// The providers whose logins are its own, whatever their tokens.
    owns: &'static [&'static str],
}

impl Also {
    pub(super) fn name(&mut self, path: PathBuf) {
        self.named.push(path);
    }

    pub(super) fn share(&mut self, folder: PathBuf) {
        self.shared = Some(folder);
    }

    /// A document of theirs; none if `name` is not of that kind.
    pub(super) fn load(
        &self,
        vault: &Path,
        name: &str,
        known: Option<&str>,
    ) -> Option<Result<LoadOutcome, StorageError>> {
        if name == LIST {
            return Some(Ok(self.list(vault, known)));
        }
        let (number, suffix) = match name.strip_prefix(PREFIX)?.split_once('.') {
            Some((number, suffix)) => (number, format!("{VAULT}.{suffix}")),
            None => (name.strip_prefix(PREFIX)?, VAULT.to_owned()),
        };
        let number: usize = number.parse().ok()?;
        Some(match self.owners(vault).into_iter().nth(number) {
            Some(owner) => FileStorage::only_read(owner.path).load(&suffix, known),
            None => Ok(LoadOutcome::Absent),
        })
    }

    fn list(&self, vault: &Path, known: Option<&str>) -> LoadOutcome {
        let row = |(at, owner): (usize, Owner)| {
            (format!("{PREFIX}{at}"), json!({ "called": owner.path.to_string_lossy(), "owns": owner.owns }))
        };
        let rows: Map<_, _> = self.owners(vault).into_iter().enumerate().map(row).collect();
        if rows.is_empty() {
            return LoadOutcome::Absent;
        }
        let text = serde_json::Value::Object(rows).to_string();
        let version = version_of(text.as_bytes());
        if known == Some(&version) { LoadOutcome::Unchanged } else { LoadOutcome::Loaded(Document { version, text }) }
    }

    /// Those that are there, and are not the vault by another name.
    fn owners(&self, vault: &Path) -> Vec<Owner> {
        let mut owners = Vec::new();
        if vault.file_name() == Some(REFERENCE_VAULT.as_ref())
            && let Some(home) = vault.parent()
        {
            let of_profile = home.parent().filter(|profiles| profiles.file_name() == Some("profiles".as_ref()));
            let root = of_profile.and_then(Path::parent);
            let shared = self.shared.clone().unwrap_or_else(|| root.unwrap_or(home).join("shared"));
            owners.push(Owner { path: shared.join("nous_auth.json"), owns: &["nous"] });
            // At each start the reference copies it over the entry that it once made from it, and
            // never back.
            owners.push(Owner { path: home.join(".anthropic_oauth.json"), owns: &[] });
            owners.extend(root.map(|root| Owner { path: root.join(REFERENCE_VAULT), owns: &[] }));
        }
        owners.extend(self.named.iter().map(|path| Owner { path: path.clone(), owns: &[] }));
        let identity = |path: &Path| fs::metadata(path).ok().map(|stat| (stat.dev(), stat.ino()));
        let own = identity(vault);
        owners.retain(|owner| identity(&owner.path).is_some_and(|theirs| Some(theirs) != own));
        owners
    }
}
