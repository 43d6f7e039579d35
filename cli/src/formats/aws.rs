//! An AWS `credential_process`: an access key and its secret on standard output. Only a key of the
//! vault can be one: AWS requests are signed with a secret, and a bearer token signs nothing.
//!
//! <https://docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html>. What goes to
//! standard error is logged by SDKs, it says: nothing of a secret is ever in a message here.

use serde_json::{Map, Value, json};

use super::super::args::TokenArgs;
use super::super::failure::Failure;
use super::super::setup::Setup;
use super::super::time;
use super::exchange;
use lazaretto_host::AccessToken;

const SHAPES: &str = "it should be ID:SECRET, ID:SECRET:SESSION, or a JSON object with AccessKeyId, SecretAccessKey and, if \
                      there are such, SessionToken and Expiration";

pub(super) fn run(setup: &Setup, args: &TokenArgs) -> Result<(), Failure> {
    let (token, saved) = exchange::ask(setup, args)?;
    exchange::answer(&format!("{}\n", process_credentials(&token)?), saved)
}

fn process_credentials(token: &AccessToken) -> Result<Value, Failure> {
    let unfit = |what: &str| {
        let AccessToken { provider, credential, .. } = token;
        Failure::configure(format_args!("{provider} ({credential}): {what}")).coded("unfit").of(provider, credential)
    };
    let keys = read(&token.token).map_err(|wrong| match token.origin.as_str() {
        "api-key" => unfit(&format!("this key is no AWS access key: {wrong}")),
        _ => unfit(
            "an OAuth access token cannot be an AWS credential: AWS requests are signed with a secret access key. Add the access \
             key to the vault as an API key, or use the token as it is where AWS takes one: $AWS_BEARER_TOKEN_BEDROCK for \
             Bedrock, or a file named by $AWS_WEB_IDENTITY_TOKEN_FILE for a role that trusts its issuer",
        ),
    })?;
    let mut answer = json!({ "Version": 1, "AccessKeyId": keys.id, "SecretAccessKey": keys.secret });
    let ends = keys.ends.or_else(|| token.expires_at_ms.map(time::rfc3339));
    for (name, value) in [("SessionToken", keys.session), ("Expiration", ends), ("AccountId", keys.account)] {
        // Without an Expiration an SDK takes the keys for lasting ones.
        if let Some(value) = value {
            answer[name] = value.into();
        }
    }
    Ok(answer)
}

/// An access key. All but `id` and `account` is secret.
struct Keys {
    id: String,
    secret: String,
    session: Option<String>,
    ends: Option<String>,
    account: Option<String>,
}

/// The error says what is wrong, and nothing of what was there.
fn read(secret: &str) -> Result<Keys, String> {
    let keys = if secret.trim_start().starts_with('{') { from_json(secret)? } else { from_words(secret)? };
    let is_id =
        (16..=128).contains(&keys.id.len()) && keys.id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !is_id {
        return Err(format!("its id should be 16 to 128 letters and digits; {SHAPES}"));
    }
    if keys.secret.is_empty() || keys.session.as_deref() == Some("") {
        return Err(format!("a part of it is empty; {SHAPES}"));
    }
    Ok(keys)
}

fn from_words(secret: &str) -> Result<Keys, String> {
    let mut words = secret.trim().splitn(3, ':').map(str::to_owned);
    let (Some(id), Some(secret), session) = (words.next(), words.next(), words.next()) else {
        return Err(SHAPES.to_owned());
    };
    Ok(Keys { id, secret, session, ends: None, account: None })
}

fn from_json(secret: &str) -> Result<Keys, String> {
    let keys: Map<String, Value> = serde_json::from_str(secret).map_err(|_| format!("it is not JSON; {SHAPES}"))?;
    // As `aws sts assume-role` prints them.
    let keys = keys.get("Credentials").and_then(Value::as_object).unwrap_or(&keys);
    if keys.get("Version").is_some_and(|version| *version != 1) {
        return Err("its Version is not 1".to_owned());
    }
    let may = |name: &str| match keys.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(format!("its {name} should be a string")),
    };
    let must = |name: &str| may(name)?.ok_or_else(|| format!("it has no {name}; {SHAPES}"));
    Ok(Keys {
        id: must("AccessKeyId")?,
        secret: must("SecretAccessKey")?,
        session: may("SessionToken")?,
        ends: may("Expiration")?,
        account: may("AccountId")?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::token::example;
    use super::*;

    const ID: &str = "AKIAIOSFODNN7EXAMPLE";

    fn made(secret: &str) -> Result<String, Failure> {
        let key = AccessToken { token: secret.into(), origin: "api-key".into(), expires_at_ms: None, ..example() };
        process_credentials(&key).map(|made| made.to_string())
    }

    #[test]
    fn a_key_is_two_or_three_words_or_json() {
        let wanted = |more: &str| format!(r#"{{"Version":1,"AccessKeyId":"{ID}","SecretAccessKey":"s/+="{more}}}"#);
        assert_eq!(made(&format!("{ID}:s/+=")).unwrap(), wanted(""));
        assert_eq!(made(&format!(" {ID}:s/+=:t/+=:x\n")).unwrap(), wanted(r#","SessionToken":"t/+=:x""#));
        let json = json!({ "AccessKeyId": ID, "SecretAccessKey": "s/+=", "SessionToken": "t", "Expiration": "2026-07-20T10:00:00Z" });
        let full = wanted(r#","SessionToken":"t","Expiration":"2026-07-20T10:00:00Z""#);
        assert_eq!(made(&json.to_string()).unwrap(), full);
        assert_eq!(made(&json!({ "Credentials": json }).to_string()).unwrap(), full);
    }

    #[test]
    fn what_is_no_access_key_is_refused_without_being_shown() {
        for bad in [
            "sk-secretsecretsecret".to_owned(),
            format!("{ID}:"),
            "short:secret".to_owned(),
            "sk-secret-secret-secret:secret".to_owned(),
            format!("{ID}:secret:"),
            "{secret".to_owned(),
            json!({ "AccessKeyId": ID }).to_string(),
            json!({ "AccessKeyId": ID, "SecretAccessKey": ["secret"] }).to_string(),
            json!({ "Version": 2, "AccessKeyId": ID, "SecretAccessKey": "secret" }).to_string(),
        ] {
            let failure = made(&bad).unwrap_err();
            assert!(failure.exit as u8 == 5 && !failure.message.contains("secretsecret"), "{}", failure.message);
            assert!(!failure.message.contains(ID), "{}", failure.message);
        }
    }

    #[test]
    fn a_bearer_token_is_refused_with_the_reason_and_what_fits() {
        let failure = process_credentials(&example()).unwrap_err();
        assert!(failure.message.contains("signed") && failure.message.contains("AWS_BEARER_TOKEN_BEDROCK"));
        assert!(!failure.message.contains("at-secret"));
    }
}
