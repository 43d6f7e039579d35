//! `lazaretto refresh`: another access token than the one found, or than the one that an API
//! refused.

use super::args::RefreshArgs;
use super::failure::Failure;
use super::setup::{Obtained, Setup};
use super::{output, stdin, sweep, terminal, time, token};
use lazaretto_host::{Keeper, TokenRequest};

pub(super) fn run(setup: &Setup, args: &RefreshArgs) -> Result<(), Failure> {
    if args.all {
        return sweep::run(setup, args);
    }
    let refused = if args.refused_from_stdin { Some(read_refused()?) } else { None };
    let request = TokenRequest { refused_access_token: refused, ..args.request() };
    let Obtained { token, saved, vault } = setup.access_token(&request, Keeper::refresh)?;
    let printed = match (setup.json, args.print) {
        (true, with_token) => token::print_json(&token, with_token, &vault),
        (false, true) => token::print(&token),
        (false, false) => output::print(&format!("{}\n", token::what_happened(&token, time::now_ms()))),
    };
    token::warn(setup, &token);
    if args.print && !setup.json {
        terminal::complain(&token::what_happened(&token, time::now_ms()));
    }
    saved.and(printed)
}

fn read_refused() -> Result<String, Failure> {
    refused(stdin::secret("--refused-from-stdin", "the refused access token")?)
}

/// One token, and nothing else. What is wrong is not shown: it may be half a token.
fn refused(token: String) -> Result<String, Failure> {
    if token.contains(char::is_whitespace) {
        return Err(Failure::usage(
            "--refused-from-stdin: what came on standard input is no access token: it should be one word",
        ));
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_token_is_one_word_and_never_shown() {
        assert_eq!(refused("abc.def".into()).unwrap(), "abc.def");
        let failure = refused("secret secret".into()).unwrap_err();
        assert!(failure.exit as u8 == 2 && !failure.message.contains("secret"), "{}", failure.message);
    }
}
