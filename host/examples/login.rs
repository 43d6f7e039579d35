//! Logs a person in by device code: the browser may be on any machine.

use std::thread;
use std::time::Duration;

use lazaretto_host::storage::{FileStorage, VAULT};
use lazaretto_host::{CredentialStatus, Keeper, KeeperError};

/// Logs in. `show` is given the address and the code for the person, `wait` sleeps between two polls.
pub fn log_in(
    keeper: &Keeper,
    provider: &str,
    show: impl Fn(&str, &str),
    wait: impl Fn(Duration),
) -> Result<CredentialStatus, KeeperError> {
    let admin = keeper.admin();
    let begun = admin.login_start(VAULT, provider, DEVICE_CODE, None)?;
    show(begun.url_complete.as_ref().unwrap_or(&begun.url), begun.user_code.as_deref().unwrap_or_default());
    let (mut state, mut interval_s) = (begun.state, begun.interval_s);
    loop {
        wait(Duration::from_secs(interval_s));
        // An error ends the login: the person refused, or took too long.
        let progress = admin.login_poll(&state)?;
        if let Some(done) = progress.done {
            return Ok(done);
        }
        (state, interval_s) = (progress.state, progress.interval_s);
    }
}

const DEVICE_CODE: &str = "device-code";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let keeper = Keeper::builder().storage(FileStorage::open("auth.json")).build()?;
    let show = |url: &str, code: &str| println!("open {url} and enter {code}");
    let done = log_in(&keeper, "xai-oauth", show, thread::sleep)?;
    println!("logged in: {} {}", done.provider, done.account.unwrap_or_default());
    Ok(())
}
