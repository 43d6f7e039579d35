//! New tokens that could be stored nowhere, not even in a file for the next call: tried again for a
//! while, and never shown, for they would be on a screen then.

use std::thread;
use std::time::Duration;

use super::failure::Failure;
use super::open::Open;
use super::{terminal, time};
use lazaretto_host::AccessToken;

/// How long to wait before each try, in milliseconds.
const PAUSES_MS: [u64; 5] = [100, 250, 500, 1_000, 2_000];

/// Stores what a token's refresh could not, if there is such.
pub(super) fn save(open: &Open, token: &AccessToken) -> Result<(), Failure> {
    let Some(unsaved) = &token.unsaved else { return Ok(()) };
    let last = retry(&PAUSES_MS, || open.keeper.save_unsaved(unsaved));
    let Err(error) = last else {
        terminal::warn("the vault could not be written at first; the new tokens are in it now");
        return Ok(());
    };
    Err(lost(token, &open.failure(error), &open.places.vault.display().to_string()).run(open.reach("doctor")))
}

fn retry<E>(pauses_ms: &[u64], mut save: impl FnMut() -> Result<(), E>) -> Result<(), E> {
    let mut last = Ok(());
    for pause_ms in pauses_ms {
        thread::sleep(Duration::from_millis(*pause_ms));
        last = save();
        if last.is_ok() {
            break;
        }
    }
    last
}

fn lost(token: &AccessToken, why: &Failure, vault: &str) -> Failure {
    let good = token.expires_at_ms.map_or_else(String::new, |at_ms| format!(", until {}", time::rfc3339(at_ms)));
    let message = format!(
        "THE NEW TOKENS ARE LOST: {} ({}) was refreshed, and nothing could be stored. The access token is good{good}; \
         the refresh token in {vault} is spent. Make {vault} writable ({}), then log in again",
        token.provider, token.credential, why.message,
    );
    Failure::broken(message).coded("unsaved").of(&token.provider, &token.credential)
}

#[cfg(test)]
mod tests {
    use super::super::token::example;
    use super::*;

    #[test]
    fn it_is_tried_until_it_works() {
        let mut tries = 0;
        let saved = retry(&[0; 5], || {
            tries += 1;
            if tries < 3 { Err(()) } else { Ok(()) }
        });
        assert!(saved.is_ok() && tries == 3);
    }

    #[test]
    fn it_is_not_tried_for_ever() {
        let mut tries = 0;
        let saved = retry(&[0; 5], || {
            tries += 1;
            Err(())
        });
        assert!(saved.is_err() && tries == 5);
    }

    #[test]
    fn the_loss_is_loud_and_shows_no_secret() {
        let failure = lost(&example(), &Failure::broken("no space left"), "/v/auth.json");
        assert!(failure.message.starts_with("THE NEW TOKENS ARE LOST: xai-oauth (login)"), "{}", failure.message);
        assert!(failure.message.contains("no space left") && !failure.message.contains("secret"));
        assert_eq!((failure.code(), failure.exit as u8), ("unsaved", 1));
    }
}
