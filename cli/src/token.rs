//! `lazaretto token`: the access token and a newline on standard output; everything else goes to
//! standard error.

use std::path::Path;

use serde_json::{Value, json};

use super::args::TokenArgs;
use super::failure::Failure;
use super::setup::{Obtained, Setup};
use super::{output, terminal, text, time};
use lazaretto_host::{AccessToken, Keeper};

/// In other programs' protocols: `formats/`.
pub(super) fn plain(setup: &Setup, args: &TokenArgs) -> Result<(), Failure> {
    let Obtained { token, saved, vault } = setup.access_token(&args.request(), Keeper::token)?;
    let printed = if setup.json { print_json(&token, true, &vault) } else { print(&token) };
    warn(setup, &token);
    saved.and(printed)
}

/// The token itself, and a newline.
pub(super) fn print(token: &AccessToken) -> Result<(), Failure> {
    output::print(&format!("{}\n", token.token))
}

/// All that is known of the token, and the vault that it is from.
pub(super) fn print_json(token: &AccessToken, with_token: bool, vault: &Path) -> Result<(), Failure> {
    let mut json = to_json(token, with_token);
    json["vault"] = vault.display().to_string().into();
    output::print(&format!("{json}\n"))
}

/// The token's warning, unless an event has just said the same.
pub(super) fn warn(setup: &Setup, token: &AccessToken) {
    setup.events.finish(token.warning.as_deref());
    // What could not be saved is spoken of by `unsaved`, which knows how it ended.
    if let (Some(warning), None, false) = (&token.warning, &token.unsaved, setup.json) {
        terminal::warn(warning);
        if let Some(command) = &token.run {
            terminal::advise(command);
        }
    }
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

/// All that is known of a token, and the token itself only if it was asked for.
pub(super) fn to_json(token: &AccessToken, with_token: bool) -> Value {
    let mut json = json!({
        "token_type": token.token_type,
        "provider": token.provider,
        "credential": token.credential,
        "expires_at": token.expires_at_ms.map(time::rfc3339),
        "expires_at_ms": token.expires_at_ms,
        "picked": token.picked,
        "origin": token.origin,
        "warning": token.warning,
        "run": token.run,
    });
    if with_token {
        json["token"] = token.token.as_str().into();
    }
    json
}

#[cfg(test)]
pub(super) fn example() -> AccessToken {
    AccessToken {
        token: "at-secret".into(),
        token_type: "Bearer".into(),
        provider: "xai-oauth".into(),
        credential: "login".into(),
        expires_at_ms: Some(1_784_541_600_000),
        picked: "only".into(),
        origin: "stored".into(),
        warning: None,
        run: None,
        unsaved: Some("rt-secret".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The token is in the json only if asked for and what could not be saved never.
    #[test]
    fn json_has_the_token_only_on_request_and_unsaved_never() {
        let (with, without) = (to_json(&example(), true), to_json(&example(), false));
        assert_eq!(with["token"], "at-secret");
        assert_eq!(with["expires_at"], "2026-07-20T10:00:00Z");
        assert!(!without.to_string().contains("secret"), "{without}");
        assert!(!with.to_string().contains("rt-secret"));
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
