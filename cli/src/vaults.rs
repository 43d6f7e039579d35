//! `lazaretto vaults`: shows and edits the list of known vaults.

use std::path::Path;

use serde_json::json;

use super::args::{VaultsArgs, VaultsCommand};
use super::failure::Failure;
use super::known_vaults::{absolute, add, list, remove};
use super::setup::Setup;
use super::{output, text};
use lazaretto_host::storage::VAULT;

/// `lazaretto vaults`
pub(super) fn run(setup: &Setup, args: &VaultsArgs) -> Result<(), Failure> {
    let (vault, changed, did, was) = match &args.command {
        None => return show(setup),
        Some(VaultsCommand::Add { path }) => {
            check(setup, path)?;
            (path, add(path, setup.layout())?, "added", "was known already")
        }
        Some(VaultsCommand::Remove { path }) => (path, remove(path)?, "removed", "was not known"),
    };
    let vault = absolute(vault).display().to_string();
    if setup.json {
        return output::print(&format!("{}\n", json!({ "vault": vault, "changed": changed })));
    }
    output::print(&format!("{}: {}\n", text::escape(&vault), if changed { did } else { was }))
}

/// A vault that is added is there and can be read: what is mistyped here would be missed much
/// later.
fn check(setup: &Setup, path: &Path) -> Result<(), Failure> {
    let shown = path.display();
    let open = setup.open_at(path.to_owned())?;
    // A list that cannot be read is the first thing to mend.
    list()?;
    if !path.try_exists().unwrap_or(true) {
        return Err(Failure::usage(format_args!("vaults add: there is no file {shown}")));
    }
    match open.keeper.status(VAULT, None) {
        Ok(_) => Ok(()),
        Err(error) => {
            let code = error.code.clone();
            let reason = open.failure(error).message;
            Err(Failure::usage(format_args!("vaults add: {shown} was not added: {reason}")).coded(&code))
        }
    }
}

fn show(setup: &Setup) -> Result<(), Failure> {
    let mut shown = String::new();
    for vault in setup.vaults()? {
        let (path, is_there) = (vault.display().to_string(), vault.exists());
        shown += &match setup.json {
            true => json!({ "vault": path, "exists": is_there }).to_string(),
            false => text::escape(&path) + if is_there { "" } else { "  (not there)" },
        };
        shown.push('\n');
    }
    output::print(&shown)
}
