//! What [`crate::replace`] does to a document, or to a lease, on a WASI host.

use crate::lease::{self, State};
use crate::names::Kind;
use crate::problem::Problem;
use crate::replace::{Disk, Put};
use crate::text::Document;

use super::bindings::wasi::filesystem::types::{Descriptor, DescriptorFlags, ErrorCode, OpenFlags, PathFlags};
use super::clock::{self, Patience};
use super::files::{Files, WORKSHOP, problem};

/// Not a code of the contract: somebody holds the document's lease. It becomes `unavailable`.
pub(super) const RESERVED: &str = "reserved";

/// One document, or one lease.
pub(super) struct Target<'a> {
    files: &'a Files,
    /// What follows the vault's path in its own.
    suffix: String,
    /// What the names of its prepared texts begin with, less the dot.
    prefix: String,
    /// None: it is a lease.
    kind: Option<Kind>,
    /// Of the document's lease, if the writer holds it.
    nonce: Option<&'a str>,
    patience: Patience,
}

impl Files {
    pub(super) fn document<'a>(&'a self, kind: Kind, patience: Patience, nonce: Option<&'a str>) -> Target<'a> {
        let (suffix, prefix) = (kind.suffix().to_owned(), kind.short().to_owned());
        Target { files: self, suffix, prefix, kind: Some(kind), nonce, patience }
    }

    pub(super) fn lease<'a>(&'a self, claim: &str, patience: Patience) -> Target<'a> {
        let suffix = format!("{WORKSHOP}/{claim}");
        Target { files: self, suffix, prefix: claim.to_owned(), kind: None, nonce: None, patience }
    }
}

impl Target<'_> {
    fn base(&self) -> &Descriptor {
        &self.files.vault.folder
    }

    /// Returns where a prepared text lies.
    pub(super) fn at(&self, name: &str) -> String {
        format!("{}/{name}", self.files.vault.beside(WORKSHOP))
    }

    pub(super) fn discard_all(&self) -> Result<(), Problem> {
        self.prepared()?.iter().try_for_each(|name| self.discard(name))
    }
}

impl Disk for Target<'_> {
    fn fresh_name(&self) -> String {
        format!("{}.{}", self.prefix, clock::nonce())
    }

    fn prepare(&self, name: &str, text: &str, is_synced: bool) -> Result<(), Problem> {
        let path = self.at(name);
        let flags = OpenFlags::CREATE | OpenFlags::EXCLUSIVE;
        let file = self.base().open_at(PathFlags::empty(), &path, flags, DescriptorFlags::WRITE);
        let file = file.map_err(|error| problem("make", &path, error))?;
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            let at = (text.len() - rest.len()) as u64;
            // As large a piece as every host takes at once.
            let piece = &rest[..rest.len().min(64 << 10)];
            let written = file.write(piece, at).map_err(|error| problem("write", &path, error))?;
            if written == 0 {
                return Err(Problem::new("full", format!("cannot write {path}: nothing more is taken")));
            }
            rest = &rest[(written as usize).min(rest.len())..];
        }
        if is_synced { file.sync_data().map_err(|error| problem("sync", &path, error)) } else { Ok(()) }
    }

    fn prepared(&self) -> Result<Vec<String>, Problem> {
        let path = self.files.vault.beside(WORKSHOP);
        let failed = |error| problem("list", &path, error);
        let folder = self.base().open_at(PathFlags::empty(), &path, OpenFlags::DIRECTORY, DescriptorFlags::READ);
        let entries = folder.and_then(|folder| folder.read_directory()).map_err(failed)?;
        let mut names = Vec::new();
        while let Some(entry) = entries.read_directory_entry().map_err(failed)? {
            // A lease's own file has no dot.
            if entry.name.strip_prefix(self.prefix.as_str()).is_some_and(|rest| rest.starts_with('.')) {
                names.push(entry.name);
            }
        }
        Ok(names)
    }

    fn discard(&self, name: &str) -> Result<(), Problem> {
        let path = self.at(name);
        match self.base().unlink_file_at(&path) {
            Ok(()) | Err(ErrorCode::NoEntry) => Ok(()),
            Err(error) => Err(problem("remove", &path, error)),
        }
    }

    fn permitted(&self) -> Result<(), Problem> {
        let Some(kind) = self.kind else { return Ok(()) };
        let current = self.files.read_lease(&format!("document-{}", kind.short()))?;
        match lease::state(current.as_ref().map(|current| current.text.as_str()), clock::wall_ms()) {
            State::Free if self.nonce.is_none() => Ok(()),
            State::Held(line) if self.nonce == Some(line.nonce.as_str()) => Ok(()),
            _ if self.nonce.is_some() => Err(Problem::new("invalid-lease", "the lease is over; take it anew")),
            _ => Err(Problem::new(RESERVED, format!("somebody else holds {}; try again", kind.name()))),
        }
    }

    fn read(&self) -> Result<Option<Document>, Problem> {
        match self.kind {
            Some(kind) => self.files.read(kind),
            None => self.files.read_lease(&self.prefix),
        }
    }

    fn put(&self, name: &str) -> Result<Put, Problem> {
        let (from, to) = (self.at(name), self.files.vault.beside(&self.suffix));
        match self.base().rename_at(&from, self.base(), &to) {
            Ok(()) => Ok(Put::Done),
            Err(ErrorCode::NoEntry) => Ok(Put::Gone),
            Err(error) => Err(problem("replace", &to, error)),
        }
    }

    fn settle(&self) -> Result<(), Problem> {
        self.files.vault.sync_folder()
    }

    fn pause(&self) -> bool {
        self.patience.pause()
    }
}
