//! `lazaretto import`: the login of another tool's own file, in place, or taken out of there.

use std::path::Path;

use serde_json::json;

use super::args::ImportArgs;
use super::failure::Failure;
use super::open::Open;
use super::setup::Setup;
use super::{output, terminal, text};
use lazaretto_host::storage::{FROM, VAULT, shell_path};
use lazaretto_host::{CredentialStatus, KeeperError};

pub(super) fn run(setup: &Setup, args: &ImportArgs) -> Result<(), Failure> {
    if !args.file.exists() {
        return Err(Failure::usage(format_args!("import: there is no file {}", args.file.display())));
    }
    if !(args.moves || args.both_will_refresh) {
        return in_place(setup, args);
    }
    if args.both_will_refresh {
        terminal::warn(
            "two files will have this login, and whichever is refreshed first ends the other's. Use --move, or the file in place. This \
             vault refreshes it only if its settings say {\"owner\": true}",
        );
    }
    let open = setup.open_importing(&args.file)?;
    let brought = open.keeper.admin().import(VAULT, FROM, args.provider.as_deref(), args.moves);
    let brought = brought.map_err(|error| {
        let is_of_file = matches!(error.code.as_str(), "no-credential" | "nothing-to-do" | "unknown-layout");
        if !is_of_file {
            return open.failure(error);
        }
        let message = of(&args.file, &error.message);
        let run = (error.code != "unknown-layout").then(|| setup.reach(&args.file, "status"));
        Failure::keeper(KeeperError { run, ..error }, message)
    })?;
    print(setup, &open, &brought, "is in")
}

/// The file is a vault as it is, and stays the only owner of what is in it.
fn in_place(setup: &Setup, args: &ImportArgs) -> Result<(), Failure> {
    let open = setup.open_at(args.file.clone())?;
    let report = open.keeper.status(VAULT, args.provider.as_deref()).map_err(|error| open.failure(error))?;
    if report.credentials.is_empty() {
        let what = "it is of no tool that is known here, or holds no login";
        let failure = Failure::usage(format_args!("import: {}: {what}", args.file.display()));
        return Err(failure.run("lazaretto help import"));
    }
    super::known_vaults::add(&args.file, setup.layout())?;
    print(setup, &open, &report.credentials, "can be used in")
}

fn print(setup: &Setup, open: &Open, credentials: &[CredentialStatus], is: &str) -> Result<(), Failure> {
    let vault = open.places.vault.display().to_string();
    if setup.json {
        return output::print(&format!("{}\n", json!({ "vault": vault, "credentials": credentials })));
    }
    let mut lines = String::new();
    for status in credentials {
        let (provider, credential) = (&status.provider, &status.credential);
        let line = format!("{provider} ({credential}): {is} {vault}. State: {}", status.state);
        lines += &text::escape(&line);
        lines.push('\n');
    }
    if let Some(first) = credentials.first() {
        let token = format!("token {}", shell_path(Path::new(&first.provider)));
        lines += &text::escape(&format!("run: {}", open.reach(&token)));
        lines.push('\n');
    }
    output::print(&lines)
}

fn of(file: &Path, message: &str) -> String {
    format!("{}: {message}", file.display())
}
