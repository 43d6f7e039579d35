//! `lazaretto add` and `lazaretto remove`: a person puts a credential into the vault, or takes one
//! out.

use serde_json::{Map, Value, json};

use super::args::{AddArgs, Which};
use super::failure::Failure;
use super::open::Open;
use super::setup::Setup;
use super::{operator, output, stdin, terminal, text, time};
use lazaretto_host::storage::VAULT;
use lazaretto_host::{Event, NewCredential};

/// Adds what comes on standard input.
pub(super) fn add(setup: &Setup, args: &AddArgs) -> Result<(), Failure> {
    let what = if args.api_key { "the key" } else { "the key, or the tokens as a JSON object" };
    // A signal that comes while something is pasted leaves the terminal as it was.
    let (open, _signals) = setup.open_listening(&args.provider)?;
    let Given { credential, dropped } = given(&stdin::secret("add", what)?, args.api_key)?;
    let kind = match (args.api_key, args.oauth) {
        (true, _) => Some("api-key".to_owned()),
        (_, true) => Some("oauth".to_owned()),
        _ => credential.kind.clone(),
    };
    let credential = NewCredential {
        vault: VAULT.into(),
        provider: args.provider.clone(),
        label: args.label.clone(),
        kind,
        replace: args.replace,
        ..credential
    };
    let status = open.keeper.admin().add(&credential).map_err(|error| open.failure(error))?;
    setup.events.drop_last("added");
    let of_profile = [
        ("client_id", credential.client_id.is_some()),
        ("client_secret", credential.client_secret.is_some()),
        ("token_uri", credential.token_endpoint.is_some()),
    ];
    let of_profile: Vec<&str> =
        of_profile.into_iter().filter(|(_, is_given)| *is_given).map(|(name, _)| name).collect();
    if !of_profile.is_empty() && !setup.json {
        terminal::note(&format!("not kept, for the profile says it: {}", of_profile.join(", ")));
    }
    if !dropped.is_empty() {
        setup.events.tell(&Event {
            name: "not-kept".into(),
            severity: "warning".into(),
            at_ms: time::now_ms(),
            provider: status.provider.clone(),
            credential: Some(status.credential.clone()),
            message: format!("not kept, for nothing here uses it: {}", dropped.join(", ")),
            attributes: Vec::new(),
        });
    }
    operator::report(setup, &status, if args.replace { "stored" } else { "added" })
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
        return output::print(&format!("{removed}\n"));
    }
    output::print(&format!("{}\n", text::escape(&format!("{} ({named}): removed", which.provider))))
}

/// What was given, and the names of the members of it that are not kept.
#[derive(Debug)]
struct Given {
    credential: NewCredential,
    dropped: Vec<String>,
}

/// The members of tokens that are kept or compared, by the names that servers and tools give them.
const ACCESS_TOKEN: [&str; 2] = ["access_token", "token"];
const ENDS_AT: [&str; 3] = ["expires_at", "expiry", "expiry_date"];
const ENDPOINT: [&str; 2] = ["token_uri", "token_endpoint"];
const OTHERS: [&str; 7] =
    ["refresh_token", "expires_in", "scope", "token_type", "id_token", "client_id", "client_secret"];

/// Tokens as a token endpoint answers them or a tool keeps them, a key that is JSON itself, or one
/// bare word. Nothing of it is ever shown.
fn given(text: &str, is_key: bool) -> Result<Given, Failure> {
    let bare = |text: &str| NewCredential { access_token: text.to_owned(), ..NewCredential::default() };
    if !text.starts_with('{') {
        return Ok(Given { credential: bare(text), dropped: Vec::new() });
    }
    let Ok(Value::Object(object)) = serde_json::from_str::<Value>(text) else {
        return Err(bad("begins like JSON and is not"));
    };
    let has_tokens = object.contains_key("refresh_token") || ACCESS_TOKEN.iter().any(|name| object.contains_key(*name));
    if is_key && has_tokens {
        return Err(Failure::usage(
            "add: what came on standard input is the tokens of a login, and no key: leave --api-key out",
        ));
    }
    if is_key || is_aws_key(&object) {
        // On one line and without spaces: a key is one word.
        let key = NewCredential { kind: Some("api-key".into()), ..bare(&Value::Object(object).to_string()) };
        return Ok(Given { credential: key, dropped: Vec::new() });
    }
    tokens(&object)
}

fn bad(what: &str) -> Failure {
    Failure::usage(format_args!(
        "add: what came on standard input {what}; it should be one key, or \
         {{\"access_token\": \"...\", \"refresh_token\": \"...\", \"expires_in\": 3600}}"
    ))
}

/// As `credential_process` answers them, or as `aws sts assume-role` prints them.
fn is_aws_key(object: &Map<String, Value>) -> bool {
    let keys = object.get("Credentials").and_then(Value::as_object).unwrap_or(object);
    keys.contains_key("AccessKeyId") && keys.contains_key("SecretAccessKey")
}

fn tokens(object: &Map<String, Value>) -> Result<Given, Failure> {
    let text = |names: &[&str]| match names.iter().find_map(|name| object.get(*name).map(|value| (name, value))) {
        None | Some((_, Value::Null)) => Ok(None),
        Some((_, Value::String(text))) if text.is_empty() => Ok(None),
        Some((_, Value::String(text))) => Ok(Some(text.clone())),
        Some((name, _)) => Err(bad(&format!("has a `{name}` that is not a string"))),
    };
    let (access_token, refresh_token) = (text(&ACCESS_TOKEN)?.unwrap_or_default(), text(&["refresh_token"])?);
    if access_token.is_empty() && refresh_token.is_none() {
        return Err(bad("has neither an `access_token` nor a `refresh_token`"));
    }
    let credential = NewCredential {
        access_token,
        refresh_token,
        expires_in_s: lifetime(object)?,
        // Several scopes may be a list.
        scope: match object.get("scope").or_else(|| object.get("scopes")) {
            Some(Value::Array(scopes)) => Some(scopes.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ")),
            Some(Value::String(scope)) => Some(scope.clone()),
            _ => None,
        },
        token_type: text(&["token_type"])?,
        id_token: text(&["id_token"])?,
        client_id: text(&["client_id"])?,
        client_secret: text(&["client_secret"])?,
        token_endpoint: text(&ENDPOINT)?,
        ..NewCredential::default()
    };
    let known = [&ACCESS_TOKEN[..], &ENDS_AT, &ENDPOINT, &OTHERS, &["scopes"]].concat();
    let dropped = object.iter().filter(|(name, value)| !known.contains(&name.as_str()) && !value.is_null());
    let dropped = dropped.map(|(name, _)| shown(name)).collect();
    Ok(Given { credential, dropped })
}

/// A member's name; one that may be a secret is not shown.
fn shown(name: &str) -> String {
    let is_word = name.len() <= 40 && name.bytes().all(|byte| byte.is_ascii_alphabetic() || b"_-.".contains(&byte));
    if is_word { name.to_owned() } else { "(a member whose name is not shown)".to_owned() }
}

/// For how many more seconds the access token lives.
fn lifetime(object: &Map<String, Value>) -> Result<Option<u64>, Failure> {
    let number = |value: &Value| match value {
        Value::String(text) => text.trim().parse::<f64>().ok(),
        other => other.as_f64(),
    };
    if let Some(seconds) = object.get("expires_in").filter(|value| !value.is_null()) {
        let seconds = number(seconds).filter(|seconds| *seconds >= 0.0);
        return seconds.map(|seconds| Some(seconds as u64)).ok_or_else(|| bad("has an `expires_in` that is no number"));
    }
    let Some((name, at)) = ENDS_AT.iter().find_map(|name| Some((name, object.get(*name)?))) else { return Ok(None) };
    let at_ms = match (number(at), at) {
        (None, Value::Null) => return Ok(None),
        // Seconds, or in so many digits milliseconds.
        (Some(at), _) if at >= 0.0 => (if at < 1e11 { at * 1_000.0 } else { at }) as u64,
        (None, Value::String(at)) => {
            time::of_rfc3339(at).ok_or_else(|| bad(&format!("has an `{name}` that is no moment")))?
        }
        _ => return Err(bad(&format!("has an `{name}` that is no moment"))),
    };
    Ok(Some(at_ms.saturating_sub(time::now_ms()) / 1_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credential(text: &str) -> NewCredential {
        given(text, false).unwrap().credential
    }

    /// Tokens come as a token endpoint answers them and a key as it is.
    #[test]
    fn add_reads_token_responses_and_bare_keys() {
        let tokens = credential(r#"{"access_token":"a","refresh_token":"r","expires_in":"60","scope":"x"}"#);
        assert_eq!(
            (tokens.access_token.as_str(), tokens.refresh_token.as_deref(), tokens.expires_in_s),
            ("a", Some("r"), Some(60))
        );
        assert_eq!(credential(r#"{"access_token":"a","expires_in":59.9}"#).expires_in_s, Some(59));
        assert_eq!(credential("sk-1").access_token, "sk-1");
    }

    #[test]
    fn every_member_is_kept_or_compared_or_named() {
        let text = r#"{"type":"authorized_user","token":"a","refresh_token":"r","client_id":"c","client_secret":"s",
            "token_uri":"https://o.example/token","scopes":["x","y"],"expiry":"2020-01-01T00:00:00Z","account":"",
            "universe_domain":"u","sk-looks-like-1-secret":"z","nothing":null}"#;
        let Given { credential, dropped } = given(text, false).unwrap();
        assert_eq!((credential.access_token.as_str(), credential.scope.as_deref()), ("a", Some("x y")));
        assert_eq!((credential.client_id.as_deref(), credential.client_secret.as_deref()), (Some("c"), Some("s")));
        assert_eq!(credential.token_endpoint.as_deref(), Some("https://o.example/token"));
        assert_eq!(credential.expires_in_s, Some(0), "it is over");
        assert_eq!(dropped, ["type", "account", "universe_domain", "(a member whose name is not shown)"]);
        for ends in ["4102444800", "4102444800000", "\"2100-01-01T00:00:00.5+00:00\""] {
            let text = format!(r#"{{"access_token":"a","expires_at":{ends}}}"#);
            let ends_ms = self::credential(&text).expires_in_s.unwrap() * 1_000 + time::now_ms();
            assert!(ends_ms.abs_diff(4_102_444_800_000) < 5_000, "{ends}: {ends_ms}");
        }
    }

    #[test]
    fn a_key_that_is_json_is_one_word_afterwards() {
        let keys = r#"{ "Version": 1, "AccessKeyId": "i", "SecretAccessKey": "s" }"#;
        let wanted = r#"{"Version":1,"AccessKeyId":"i","SecretAccessKey":"s"}"#;
        for is_key in [true, false] {
            let found = given(keys, is_key).unwrap().credential;
            assert_eq!((found.access_token.as_str(), found.kind.as_deref()), (wanted, Some("api-key")));
        }
        let role = format!(r#"{{"Credentials": {keys}, "AssumedRoleUser": {{"Arn": "a"}}}}"#);
        assert!(given(&role, false).unwrap().credential.access_token.starts_with(r#"{"Credentials":{"#));
        assert_eq!(given(r#"{"any": "thing"}"#, true).unwrap().credential.access_token, r#"{"any":"thing"}"#);
        assert_eq!(given(r#"{"refresh_token":"r"}"#, true).unwrap_err().exit as u8, 2);
    }

    #[test]
    fn what_is_wrong_is_said_without_showing_it() {
        for text in [
            "{secret",
            r#"{"access_token":["secret"]}"#,
            r#"{"key":"secret"}"#,
            r#"{"access_token":"secret","expires_in":"soon"}"#,
            r#"{"access_token":"secret","expires_in":true}"#,
            r#"{"access_token":"secret","expires_at":"secret"}"#,
        ] {
            let failure = given(text, false).unwrap_err();
            assert!(failure.exit as u8 == 2 && !failure.message.contains("secret"), "{}", failure.message);
        }
    }
}
