//! The vaults that lazaretto knows of besides the one in use: `vaults.json` in its config
//! directory. What is there stays, members that are not ours too; a file that cannot be read is
//! never written.
//!
//! ```json
//! { "vaults": [ { "path": "/home/me/.codex/auth.json" }, { "path": "/home/me/copy.json", "layout": "codex" } ] }
//! ```
//!
//! `layout` is what a person stated of a file whose layout cannot be told for certain.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::failure::Failure;
use super::owner;
use lazaretto_host::storage::{FileStorage, LoadOutcome, Storage, StoreOutcome, VAULT};

const FILE: &str = "vaults.json";
const SHAPE: &str = r#"{"vaults":[{"path":"..."}]}"#;
/// How often the file is edited against others who write too.
const ATTEMPTS: u32 = 16;

/// A vault that is known.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct KnownVault {
    pub(super) path: PathBuf,
    /// What a person stated of it.
    pub(super) layout: Option<String>,
}

/// Adds a vault to those that are known. False: it was known already, with this layout.
pub(super) fn add(vault: &Path, layout: Option<&str>) -> Result<bool, Failure> {
    Known::of_this_user()?.add(vault, layout)
}

/// Removes a vault from those that are known; the vault itself is not touched. False: it was not
/// known.
pub(super) fn remove(vault: &Path) -> Result<bool, Failure> {
    Known::of_this_user()?.remove(vault)
}

/// The vaults that are known, in the order in which they were added. Not all need be there.
pub(super) fn list() -> Result<Vec<KnownVault>, Failure> {
    // Without a home directory there is no list either.
    config_directory().map_or_else(|| Ok(Vec::new()), |directory| Known::in_directory(&directory).list())
}

/// Returns `lazaretto/` in `$XDG_CONFIG_HOME`, or in `~/.config`.
pub(super) fn config_directory() -> Option<PathBuf> {
    // A relative path there is to be ignored (XDG Base Directory Specification).
    let config = owner::variable("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let config = config.or_else(|| owner::variable("HOME").map(|home| Path::new(&home).join(".config")));
    config.map(|config| config.join("lazaretto"))
}

/// The list, as a document of its own: written whole, durably, for its owner's eyes only, and never
/// over another's change.
struct Known {
    path: PathBuf,
    storage: FileStorage,
}

impl Known {
    fn of_this_user() -> Result<Self, Failure> {
        let directory = config_directory();
        directory.map(|directory| Self::in_directory(&directory)).ok_or_else(|| {
            Failure::usage("there is no home directory to keep the list of vaults in: set $HOME or $XDG_CONFIG_HOME")
        })
    }

    fn in_directory(directory: &Path) -> Self {
        let path = directory.join(FILE);
        Self { storage: FileStorage::open(&path), path }
    }

    fn list(&self) -> Result<Vec<KnownVault>, Failure> {
        let (_, document) = self.load()?;
        vaults(&document).map_err(|wrong| self.wrong(&wrong))
    }

    fn add(&self, vault: &Path, layout: Option<&str>) -> Result<bool, Failure> {
        let vault = absolute(vault);
        let spelled = vault.to_str().ok_or_else(|| {
            Failure::usage(format_args!("{}: a path that is not UTF-8 cannot be kept in JSON", vault.display()))
        })?;
        self.edit(|vaults, known| {
            if let Some(at) = known.iter().position(|known| known.path == vault) {
                let states_another = layout.is_some() && known[at].layout.as_deref() != layout;
                if let (true, Some(vault)) = (states_another, vaults.get_mut(at)) {
                    vault["layout"] = layout.into();
                }
                return states_another;
            }
            let mut vault = json!({ "path": spelled });
            if let Some(layout) = layout {
                vault["layout"] = layout.into();
            }
            vaults.push(vault);
            true
        })
    }

    fn remove(&self, vault: &Path) -> Result<bool, Failure> {
        let vault = absolute(vault);
        self.edit(|vaults, known| {
            let before = vaults.len();
            // The two lists are of the same length and order.
            let mut known = known.iter();
            vaults.retain(|_| known.next().is_none_or(|known| known.path != vault));
            vaults.len() < before
        })
    }

    /// The version of the file, if there is one, and what it holds.
    fn load(&self) -> Result<(Option<String>, Map<String, Value>), Failure> {
        match self.storage.load(VAULT, None).map_err(|error| self.failed(&error.message))? {
            LoadOutcome::Loaded(document) => match serde_json::from_str(&document.text) {
                Ok(Value::Object(members)) => Ok((Some(document.version), members)),
                Ok(_) => Err(self.wrong("it is JSON of another shape")),
                Err(error) => {
                    let at = format!("it is not JSON (line {}, column {})", error.line(), error.column());
                    Err(self.wrong(&at))
                }
            },
            LoadOutcome::Absent | LoadOutcome::Unchanged => Ok((None, Map::new())),
        }
    }

    fn edit(&self, change: impl Fn(&mut Vec<Value>, &[KnownVault]) -> bool) -> Result<bool, Failure> {
        for _ in 0..ATTEMPTS {
            let (version, mut document) = self.load()?;
            let known = vaults(&document).map_err(|wrong| self.wrong(&wrong))?;
            let vaults = document.entry("vaults").or_insert_with(|| json!([]));
            let Value::Array(vaults) = vaults else { return Err(self.wrong("`vaults` is no list")) };
            if !change(vaults, &known) {
                return Ok(false);
            }
            let text = format!("{:#}\n", Value::Object(document));
            let stored = self.storage.store(VAULT, &text, version.as_deref(), true, None);
            match stored.map_err(|error| self.failed(&error.message))? {
                StoreOutcome::Stored(_) => return Ok(true),
                // Another process was quicker: its change stays.
                StoreOutcome::Stale(_) | StoreOutcome::Unknown => {}
            }
        }
        Err(self.failed("other processes keep changing it; try again"))
    }

    fn failed(&self, what: &str) -> Failure {
        let path = self.path.display().to_string();
        let what = if what.contains(&path) { what.to_owned() } else { format!("{path}: {what}") };
        Failure::broken(what).coded("storage")
    }

    fn wrong(&self, what: &str) -> Failure {
        let path = self.path.display();
        Failure::broken(format_args!("{path}: {what}; it should be {SHAPE}. Mend it, or move it away"))
            .coded("bad-list")
    }
}

fn vaults(document: &Map<String, Value>) -> Result<Vec<KnownVault>, String> {
    let Some(vaults) = document.get("vaults") else { return Ok(Vec::new()) };
    let vaults = vaults.as_array().ok_or("`vaults` is no list")?;
    let known = |(index, vault): (usize, &Value)| {
        let path = vault.get("path").and_then(Value::as_str).map(PathBuf::from);
        // A relative one would be another file in every directory.
        let path = path.filter(|path| path.is_absolute());
        let path = path.ok_or_else(|| format!("vault {} has no absolute `path`", index + 1))?;
        Ok(KnownVault { path, layout: vault.get("layout").and_then(Value::as_str).map(str::to_owned) })
    };
    vaults.iter().enumerate().map(known).collect()
}

pub(super) fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use tempfile::TempDir;

    use super::*;

    fn known() -> (TempDir, Known) {
        let folder = TempDir::new().unwrap();
        let known = Known::in_directory(&folder.path().join("lazaretto"));
        (folder, known)
    }

    fn with(text: &str) -> (TempDir, Known) {
        let (folder, known) = known();
        fs::create_dir(known.path.parent().unwrap()).unwrap();
        fs::write(&known.path, text).unwrap();
        (folder, known)
    }

    /// A vault is added once and removed once and the file is its owners.
    #[test]
    fn a_vault_is_listed_once_and_the_list_is_private() {
        let (_folder, known) = known();
        assert!(known.list().unwrap().is_empty());
        assert!(known.add(Path::new("/a/auth.json"), None).unwrap());
        assert!(!known.add(Path::new("/a/./auth.json"), None).unwrap());
        assert!(known.add(Path::new("/b"), None).unwrap());
        assert_eq!(paths(&known), [Path::new("/a/auth.json"), Path::new("/b")]);
        assert_eq!(fs::metadata(&known.path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(known.remove(Path::new("/a/auth.json")).unwrap() && !known.remove(Path::new("/a/auth.json")).unwrap());
        assert_eq!(paths(&known), [Path::new("/b")]);
    }

    fn paths(known: &Known) -> Vec<PathBuf> {
        known.list().unwrap().into_iter().map(|known| known.path).collect()
    }

    #[test]
    fn a_stated_layout_is_kept_and_can_be_stated_anew() {
        let (_folder, known) = known();
        let layout = || known.list().unwrap().remove(0).layout;
        assert!(known.add(Path::new("/a"), None).unwrap() && layout().is_none());
        assert!(known.add(Path::new("/a"), Some("codex")).unwrap() && layout().as_deref() == Some("codex"));
        assert!(!known.add(Path::new("/a"), Some("codex")).unwrap() && !known.add(Path::new("/a"), None).unwrap());
        assert_eq!(layout().as_deref(), Some("codex"));
    }

    #[test]
    fn a_relative_path_is_kept_as_an_absolute_one() {
        let (_folder, known) = known();
        known.add(Path::new("auth.json"), None).unwrap();
        assert_eq!(paths(&known), [std::env::current_dir().unwrap().join("auth.json")]);
    }

    #[test]
    fn what_others_wrote_into_the_file_stays() {
        let (_folder, known) = with(r#"{"note":"mine","vaults":[{"path":"/a","label":"work","n":1.50}]}"#);
        known.add(Path::new("/b"), None).unwrap();
        known.remove(Path::new("/b")).unwrap();
        let kept: Value = serde_json::from_str(&fs::read_to_string(&known.path).unwrap()).unwrap();
        assert_eq!(kept, json!({ "note": "mine", "vaults": [{ "path": "/a", "label": "work", "n": 1.5 }] }));
    }

    #[test]
    fn a_bad_file_is_named_and_left_as_it_is() {
        for bad in ["", "{", "[]", r#"{"vaults":{}}"#, r#"{"vaults":[{}]}"#, r#"{"vaults":[{"path":"relative"}]}"#] {
            let (_folder, known) = with(bad);
            for failure in
                [known.list().err(), known.add(Path::new("/a"), None).err(), known.remove(Path::new("/a")).err()]
            {
                let message = failure.unwrap().message;
                assert!(message.contains("vaults.json") && message.contains(SHAPE), "{bad}: {message}");
            }
            assert_eq!(fs::read_to_string(&known.path).unwrap(), bad);
        }
    }

    #[test]
    fn of_many_who_add_at_once_nothing_is_lost() {
        let (_folder, known) = known();
        std::thread::scope(|scope| {
            for number in 0..6 {
                let directory = known.path.parent().unwrap();
                let path = PathBuf::from(format!("/vault-{number}"));
                scope.spawn(move || Known::in_directory(directory).add(&path, None).unwrap());
            }
        });
        assert_eq!(known.list().unwrap().len(), 6);
    }
}
