//! `lazaret add` and `lazaret remove`: a person puts a credential into the vault, or takes one out.

use serde_json::{Value, json};

use super::args::{AddArgs, Which};
use super::failure::Failure;
use super::setup::{Open, Setup};
use super::{mend, stdin, terminal, text};
use crate::NewCredential;
use crate::storage::VAULT;

/// Adds what comes on standard input.
pub(super) fn add(setup: &Setup, args: &AddArgs) -> Result<(), Failure> {
    let what = if args.api_key { "the key" } else { "the key, or the tokens as a JSON object" };
    let given = given(&stdin::secret("add", what)?)?;
    let kind = if args.api_key {
        Some("api-key")
    } else if args.oauth {
        Some("oauth")
    } else {
        None
    };
    let credential = NewCredential {
        vault: VAULT.into(),
        provider: args.provider.clone(),
        label: args.label.clone(),
        kind: kind.map(Into::into),
        ..given
    };
    let open = setup.open()?;
    let status = open.keeper.admin().add(&credential).map_err(|error| open.failure(error))?;
    setup.events.drop_last("added");
    mend::report(setup, &status, "added")
}

/// Takes one out.
pub(super) fn remove(setup: &Setup, which: &Which) -> Result<(), Failure> {
    let remove = |open: &Open| open.keeper.admin().remove(&which.selector());
    let (open, removed) = setup.in_its_vault(&which.provider, which.credential.as_deref(), None, remove)?;
    removed.map_err(|error| open.failure(error))?;
    setup.events.drop_last("removed");
    let named = which.credential.as_deref().unwrap_or("its only credential");
    if setup.json {
        let removed = json!({ "removed": { "provider": which.provider, "credential": which.credential } });
        return terminal::print(&format!("{removed}\n"));
    }
    terminal::print(&format!("{}\n", text::escape(&format!("{} ({named}): removed", which.provider))))
}

/// Tokens as a token endpoint answers them, or one bare word. Nothing of it is ever shown.
fn given(text: &str) -> Result<NewCredential, Failure> {
    if !text.starts_with('{') {
        return Ok(NewCredential { access_token: text.to_owned(), ..NewCredential::default() });
    }
    let bad = |what: &str| {
        Failure::usage(format_args!(
            "add: what came on standard input {what}; it should be one key, or \
             {{\"access_token\": \"...\", \"refresh_token\": \"...\", \"expires_in\": 3600}}"
        ))
    };
    let Ok(object) = serde_json::from_str::<Value>(text) else { return Err(bad("begins like JSON and is not")) };
    let token = |name: &str| match &object[name] {
        Value::Null => Ok(None),
        Value::String(token) => Ok(Some(token.clone())),
        _ => Err(bad(&format!("has a `{name}` that is not a string"))),
    };
    let (access_token, refresh_token) = (token("access_token")?.unwrap_or_default(), token("refresh_token")?);
    let expires_in_s = match &object["expires_in"] {
        Value::Null => None,
        Value::String(seconds) => Some(seconds.parse().map_err(|_| bad("has an `expires_in` that is no number"))?),
        seconds => match seconds.as_u64().or_else(|| seconds.as_f64().map(|seconds| seconds as u64)) {
            Some(seconds) => Some(seconds),
            None => return Err(bad("has an `expires_in` that is no number")),
        },
    };
    if access_token.is_empty() && refresh_token.is_none() {
        return Err(bad("has neither an `access_token` nor a `refresh_token`"));
    }
    Ok(NewCredential { access_token, refresh_token, expires_in_s, ..NewCredential::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_as_a_token_endpoint_answers_them_and_a_key_as_it_is() {
        let tokens = given(r#"{"access_token":"a","refresh_token":"r","expires_in":"60","scope":"x"}"#).unwrap();
        assert_eq!(
            (tokens.access_token.as_str(), tokens.refresh_token.as_deref(), tokens.expires_in_s),
            ("a", Some("r"), Some(60))
        );
        assert_eq!(given(r#"{"access_token":"a","expires_in":59.9}"#).unwrap().expires_in_s, Some(59));
        assert_eq!(given("sk-1").unwrap().access_token, "sk-1");
    }

    #[test]
    fn what_is_wrong_is_said_without_showing_it() {
        for text in [
            "{secret",
            r#"{"access_token":["secret"]}"#,
            r#"{"key":"secret"}"#,
            r#"{"access_token":"secret","expires_in":"soon"}"#,
            r#"{"access_token":"secret","expires_in":true}"#,
        ] {
            let failure = given(text).unwrap_err();
            assert!(failure.exit as u8 == 2 && !failure.message.contains("secret"), "{}", failure.message);
        }
    }
}
