//! `lazaretto unquarantine` and `lazaretto reset`: what only a person may decide.

use serde_json::json;

use super::args::Which;
use super::failure::Failure;
use super::open::Open;
use super::setup::Setup;
use super::{output, terminal, text};
use lazaretto_host::CredentialStatus;

/// Puts a quarantined credential back, and says what that may lead to.
pub(super) fn unquarantine(setup: &Setup, which: &Which) -> Result<(), Failure> {
    let unquarantine = |open: &Open| open.keeper.unquarantine(&which.selector());
    let (open, status) = setup.in_its_vault(&which.provider, which.credential.as_deref(), None, unquarantine)?;
    let status = status.map_err(|error| open.failure(error))?;
    setup.events.drop_last("unquarantined");
    if !setup.json {
        terminal::warn(
            "the next refresh sends this refresh token once more, although the server refused it for good. If it had been used \
             before, a server that watches for reuse may end every login that came from it. When in doubt, log in again instead",
        );
    }
    report(setup, &status, "put back as it was")
}

/// Ends a pause.
pub(super) fn reset(setup: &Setup, which: &Which) -> Result<(), Failure> {
    let reset = |open: &Open| open.keeper.reset(&which.selector());
    let (open, status) = setup.in_its_vault(&which.provider, which.credential.as_deref(), None, reset)?;
    let status = status.map_err(|error| open.failure(error))?;
    report(setup, &status, "the pause is over; the next call may try once")
}

pub(super) fn report(setup: &Setup, status: &CredentialStatus, what: &str) -> Result<(), Failure> {
    if setup.json {
        return output::print(&format!("{}\n", json!(status)));
    }
    let line = format!("{} ({}): {what}. State: {}", status.provider, status.credential, status.state);
    output::print(&format!("{}\n", text::escape(&line)))
}
