//! Where a credential is that the vault in use does not hold: in one of the known vaults, or
//! nowhere. Looking reads only, and nothing is sent to find out.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::failure::{self, Failure};
use super::open::Open;
use super::{known_vaults, terminal, text};
use lazaretto_host::storage::{VAULT, shell_path};
use lazaretto_host::{CredentialStatus, KeeperError};

/// Whether an error may say only that the credential lies in another vault. None of these came from
/// a server.
pub(super) fn may_be(error: &KeeperError) -> bool {
    matches!(error.code.as_str(), "no-credential" | "unknown-provider" | "unknown-credential" | "nothing-to-do")
}

/// The only known vault that holds the credential, if the one in use does not. More than one is for
/// a person to choose from.
pub(super) fn find(
    used: &Open,
    provider: &str,
    credential: Option<&str>,
    open: impl Fn(PathBuf) -> Result<Open, Failure>,
) -> Result<Option<PathBuf>, Failure> {
    if holds(used, provider, credential) {
        return Ok(None);
    }
    let mut seen = HashSet::from([real(&used.places.vault)]);
    let mut found = Vec::new();
    for known in known_vaults::list()?.into_iter().map(|known| known.path) {
        if seen.insert(real(&known)) && holds(&open(known.clone())?, provider, credential) {
            found.push(known);
        }
    }
    match found.as_slice() {
        [] => Ok(None),
        [only] => Ok(Some(only.clone())),
        several => Err(which_of(several, provider)),
    }
}

/// One vault may be known by several paths.
fn real(vault: &Path) -> PathBuf {
    vault.canonicalize().unwrap_or_else(|_| vault.to_owned())
}

/// A vault that cannot be read, or may not be, holds nothing.
fn holds(open: &Open, provider: &str, credential: Option<&str>) -> bool {
    let Ok(report) = open.keeper.status(VAULT, Some(provider)) else { return false };
    let answers = |name: &str| {
        let is_it = |found: &CredentialStatus| found.credential == name || found.label.eq_ignore_ascii_case(name);
        report.credentials.iter().any(is_it)
    };
    credential.map_or(!report.credentials.is_empty(), answers)
}

fn which_of(vaults: &[PathBuf], provider: &str) -> Failure {
    let way = |vault: &PathBuf| failure::again_with(&format!("--vault {}", shell_path(vault)));
    let ways: Vec<String> = vaults.iter().map(way).collect();
    Failure::usage(format_args!(
        "{provider}: more than one of the known vaults holds a credential of it. Name one: {}",
        ways.join("; or: ")
    ))
    .coded("several-vaults")
}

/// Says on standard error which vault is used, for nobody named it.
pub(super) fn tell(json: bool, vault: &Path) {
    if !json {
        terminal::complain(&text::escape(&format!("using {}", vault.display())));
    }
}
