//! What lies around a vault on the disk, looked over for a person: who may read and replace it,
//! where its links lead, who holds its locks, and whether there is room. Nothing is written; a lock
//! is tried and let go in the same moment.
//!
//! A `fix` is safe in any order with any other fix, and run twice. What deletes something, or takes
//! rights from somebody who may need them, is an `alternative`.

mod codes;
mod locks;
mod rights;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

pub use self::codes::CHECKUP_CODES;
use self::codes::Code;
pub(super) use self::rights::exposed;
use super::super::StorageError;
use super::documents::Kind;
use super::folder::Spot;
use super::places::Place;
use super::{FileStorage, text};
use crate::Finding;

/// How much a finding matters. The words are those of `wit/admin.wit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Ok,
    Warning,
    Error,
}

/// What a person can do about a finding.
#[derive(Default)]
struct Help {
    fix: Option<String>,
    alternative: Option<String>,
}

impl Help {
    /// There is nothing to do.
    const NONE: Self = Self { fix: None, alternative: None };

    fn fix(command: String) -> Self {
        Self { fix: Some(command), alternative: None }
    }

    /// Only something that deletes or takes rights away would help at once.
    fn alternative(command: String) -> Self {
        Self { fix: None, alternative: Some(command) }
    }
}

/// What was found so far.
#[derive(Default)]
struct Found(Vec<Finding>);

impl Found {
    fn note(&mut self, level: Level, code: Code, message: String, help: Help) {
        let severity = match level {
            Level::Ok => "ok",
            Level::Warning => "warning",
            Level::Error => "error",
        };
        let Help { fix, alternative } = help;
        self.0.push(Finding {
            severity: severity.into(),
            code: code.as_str().into(),
            message,
            fix,
            alternative,
            ..Finding::default()
        });
    }
}

impl FileStorage {
    /// Looks over what lies around the vault. Text of others may be in what is found: escape it.
    pub fn checkup(&self) -> Vec<Finding> {
        let mut found = Found::default();
        let place = match self.places.find(Kind::Vault) {
            Ok(Some(place)) => place,
            Ok(None) => return found.0,
            Err(error) => {
                unsafe_way(&self.places.vault, &error, &mut found);
                return found.0;
            }
        };
        links(&place, &mut found);
        let user = rustix::process::geteuid().as_raw();
        let beside = self.beside();
        match place.file() {
            Some(vault) => {
                let all = self.owned_with(vault, &place, &beside);
                rights::around(vault, user, &all, &self.command_words(), &mut found);
            }
            None => rights::folder_to_create_in(&place.anchor.folder, user, &mut found),
        }
        for (kind, at) in &beside {
            rights::beside(at, place.anchor.owner(), *kind == Kind::Sealed, &mut found);
        }
        if let Some(network) = self.network(&place.anchor).filter(|_| !self.allow_network) {
            let message = format!(
                "{} lies on {network}: a lock there may not keep another machine from refreshing the same login, so nothing is \
                 refreshed. Move it to a local disk",
                place.path().display()
            );
            let fix = Help::fix(format!("df -T {}", shell_path(&place.path())));
            found.note(Level::Error, Code::NetworkFileSystem, message, fix);
        }
        if let Ok(Some(ledger)) = self.places.find(Kind::Ledger) {
            self.unsynced(&ledger, &mut found);
        }
        let now_ms = (self.now)().duration_since(UNIX_EPOCH).ok().and_then(|now| now.as_millis().try_into().ok());
        self.locks_held(&place, now_ms.unwrap_or_default(), &mut found);
        found.0
    }

    /// The documents that lie beside the vault, there or not.
    fn beside(&self) -> Vec<(Kind, Spot)> {
        let mut all = Vec::new();
        for kind in Kind::ALL.into_iter().filter(|kind| kind.suffix().is_some()) {
            if let Ok(Some(place)) = self.places.find(kind) {
                let unsynced = place.unsynced(kind);
                all.extend(place.file().cloned().into_iter().chain(unsynced).map(|at| (kind, at)));
            }
        }
        all
    }

    /// The vault and all beside it that belongs to the same user: what changes hands together.
    fn owned_with(&self, vault: &Spot, place: &Place, beside: &[(Kind, Spot)]) -> Vec<PathBuf> {
        let owner = place.anchor.owner();
        let is_his = |at: &&Spot| at.stat().is_ok_and(|stat| stat.user == owner);
        let locks = place.locks();
        let all = [vault].into_iter().chain(beside.iter().map(|(_, at)| at)).chain([&locks]);
        all.filter(is_his).map(Spot::path).collect()
    }

    /// The newest text of the ledger may lie beside it; one that does not count was left behind.
    fn unsynced(&self, ledger: &Place, found: &mut Found) {
        let Some(beside) = ledger.unsynced(Kind::Ledger).filter(Spot::exists) else { return };
        // One that counts is as it should be, and what cannot be read is told of the ledger itself.
        if let Ok(Some(text::Text { is_unsynced: true, .. })) | Err(_) = self.read(Kind::Ledger, ledger) {
            return;
        }
        // No command removes it: by the time that one is run, it may be the newest text.
        let message = format!(
            "{} was left over: it is not whole, or the ledger has changed since. It does not count, and the next refresh removes it",
            beside.path().display()
        );
        found.note(Level::Ok, Code::UnsyncedLeftOver, message, Help::NONE);
    }
}

fn unsafe_way(vault: &Path, error: &StorageError, found: &mut Found) {
    let code = if error.code == "unsafe" { Code::LinkUnsafe } else { Code::PathUnusable };
    let fix = Help::fix(format!("namei -l {}", shell_path(vault)));
    found.note(Level::Error, code, error.message.clone(), fix);
}

fn links(place: &Place, found: &mut Found) {
    for link in &place.anchor.links {
        let message = format!("{} is a link; the vault is {}", link.path().display(), place.anchor.target().display());
        found.note(Level::Ok, Code::Linked, message, Help::NONE);
    }
}

/// Returns the shell command that renames the file at `path` and overwrites nothing. Run a second
/// time, it does nothing.
pub fn set_aside(path: &Path) -> String {
    let free = (1..100).map(|count| {
        let mut aside = path.as_os_str().to_owned();
        aside.push(if count == 1 { ".aside".to_owned() } else { format!(".aside-{count}") });
        PathBuf::from(aside)
    });
    // Names that are all taken are kept: then the command does nothing.
    let aside = free.into_iter().find(|aside| aside.symlink_metadata().is_err());
    let aside = aside.unwrap_or_else(|| path.with_added_extension("aside"));
    format!("mv -n {} {}", shell_path(path), shell_path(&aside))
}

/// Returns a path as one word of a shell command, quoted if it needs quotes.
pub fn shell_path(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:/@%+=-".contains(&byte);
    if !text.is_empty() && text.bytes().all(is_plain) && !text.starts_with('-') {
        return text;
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}
