//! `lazaretto refresh`: another access token than the one found, or than the one that an API refused.

use super::args::RefreshArgs;
use super::failure::Failure;
use super::setup::{Obtained, Setup};
use super::{stdin, sweep, terminal, text, time, token};
use lazaretto_host::{AccessToken, Keeper, TokenRequest};

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
        (false, false) => terminal::print(&format!("{}\n", what_happened(&token, time::now_ms()))),
    };
    token::warn(setup, &token);
    if args.print && !setup.json {
        terminal::complain(&what_happened(&token, time::now_ms()));
    }
    saved.and(printed)
}

/// One line, without the token.
pub(super) fn what_happened(token: &AccessToken, now_ms: u64) -> String {
    let what = match token.origin.as_str() {
        "refreshed" => "refreshed",
        "adopted" => "another process had just refreshed it, so nothing was sent",
        "stored" => "the vault already holds another token, so nothing was sent",
        "sealed" => "not refreshed; the access token from before is still good",
        "api-key" => "a key, which is not refreshed",
        other => other,
    };
    let good = match token.expires_at_ms {
        Some(at_ms) if at_ms > now_ms => format!("; the access token is good for {}", time::span(at_ms - now_ms)),
        Some(_) => "; the access token has expired already".to_owned(),
        None if token.origin == "api-key" => String::new(),
        None => "; how long the access token is good is not known".to_owned(),
    };
    text::escape(&format!("{} ({}): {what}{good}", token.provider, token.credential))
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
    use super::super::token::example;
    use super::*;

    #[test]
    fn a_refused_token_is_one_word_and_never_shown() {
        assert_eq!(refused("abc.def".into()).unwrap(), "abc.def");
        let failure = refused("secret secret".into()).unwrap_err();
        assert!(failure.exit as u8 == 2 && !failure.message.contains("secret"), "{}", failure.message);
    }

    #[test]
    fn one_line_says_what_happened_without_the_token() {
        let at = |origin: &str, expires_at_ms| {
            what_happened(&AccessToken { origin: origin.into(), expires_at_ms, ..example() }, 1_000)
        };
        assert_eq!(
            at("refreshed", Some(3_601_000)),
            "xai-oauth (login): refreshed; the access token is good for 60 min"
        );
        assert_eq!(
            at("adopted", None),
            "xai-oauth (login): another process had just refreshed it, so nothing was sent; \
             how long the access token is good is not known"
        );
        for origin in ["refreshed", "adopted", "stored", "sealed", "api-key", "new"] {
            assert!(!at(origin, Some(0)).contains("secret"));
        }
    }
}
