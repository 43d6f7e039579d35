//! Handles each action of an error: what to do follows from it, and no code has to be compared.

use std::thread;
use std::time::Duration;

use lazaretto_host::storage::{FileStorage, VAULT};
use lazaretto_host::{AccessToken, Keeper, KeeperError, TokenRequest};

/// What a program does about an error.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Ask a person to run this command, which logs in.
    AskToLogIn(String),
    /// Try once more after so long.
    TryAgainIn(Duration),
    /// Stop, and show this: somebody must change the configuration, look at a file, or correct this program.
    Stop(String),
}

pub fn next(error: &KeeperError) -> Next {
    let command = error.run.clone().unwrap_or_default();
    match error.action.as_str() {
        "login" => Next::AskToLogIn(command),
        "retry" => Next::TryAgainIn(Duration::from_secs(error.retry_after_s.unwrap_or(60))),
        // `configure`, `inspect` and `usage`: time does not help, and a login does not either.
        _ => Next::Stop(format!("{error}\nrun: {command}")),
    }
}

/// Returns a token; waits for a busy server, but not for ever.
pub fn patient_token(keeper: &Keeper, provider: &str, patience: Duration) -> Result<AccessToken, Next> {
    let error = match keeper.token(&TokenRequest::new(VAULT, provider)) {
        Ok(token) => return Ok(token),
        Err(error) => error,
    };
    match next(&error) {
        Next::TryAgainIn(pause) if pause <= patience => {
            thread::sleep(pause);
            patient_token(keeper, provider, patience - pause)
        }
        other => Err(other),
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let keeper = Keeper::builder().storage(FileStorage::open("auth.json")).build()?;
    match patient_token(&keeper, "xai-oauth", Duration::from_secs(30)) {
        Ok(token) => println!("{} {}", token.token_type, token.credential),
        Err(next) => println!("{next:?}"),
    }
    Ok(())
}
