//! A client's secret goes only to the endpoints of the profile that names it, and only a profile
//! names where it is: a vault never does.

use crate::json::{Kind, Value};
use crate::layers::Layers;
use crate::secret::Secret;

use super::{ClientAuth, Profile};

/// The members of a profile that hold the secret or name one place to read it from.
const MEMBERS: [&str; 4] = ["client_secret", "client_secret_env", "client_secret_file", "client_secret_command"];

/// The client's secret (RFC 6749 section 2.3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientSecret {
    /// `client_secret`: it stands in the profile.
    Written(Secret),
    /// The host reads it: the document `secret/<provider>`.
    Elsewhere {
        /// The member that says where: `client_secret_env`, `client_secret_file` or
        /// `client_secret_command`.
        member: &'static str,
        /// What it says, as JSON.
        place: String,
    },
}

impl ClientSecret {
    /// The secret of the client that these layers name. A secret was issued to one client of one
    /// server, so a layer that names another `client_id` or `token_endpoint` inherits none.
    pub(super) fn read(layers: &Layers<'_>) -> Option<Self> {
        let of_client = layers.down_to("token_endpoint").down_to("client_id").first_with(&MEMBERS)?;
        let mut named = MEMBERS.into_iter().filter_map(|member| Some((member, of_client.one(member)?)));
        let (member, value) = named.next()?;
        if let Some((other, _)) = named.next() {
            of_client.misread(other, &format!("must not stand beside `{member}`: a client has one secret"));
            return None;
        }
        let problem = problem(member, value);
        if let Some(problem) = problem {
            of_client.misread(member, problem);
        }
        Some(match member {
            "client_secret" => Self::Written(Secret::new(value.as_str().unwrap_or_default())),
            member => Self::Elsewhere { member, place: value.raw().to_owned() },
        })
    }
}

fn problem(member: &str, value: Value<'_>) -> Option<&'static str> {
    let text = value.as_str();
    let is_text = text.as_ref().is_some_and(|text| !text.is_empty() && !text.contains('\0'));
    let is_well = match member {
        "client_secret_env" => text.is_some_and(|name| is_variable(&name)),
        "client_secret_command" => {
            let mut words = value.items();
            let program = words.next().and_then(|word| word.as_str());
            value.kind() == Kind::Array
                && program.is_some_and(|program| !program.is_empty())
                && value.items().all(|word| word.as_str().is_some_and(|word| !word.contains('\0')))
        }
        _ => is_text,
    };
    (!is_well).then_some(match member {
        "client_secret_env" => "should be the name of an environment variable",
        "client_secret_file" => "should be the path of a file",
        "client_secret_command" => {
            "should be a list, the program and each of its arguments, as [\"op\", \"read\", \"op://vault/item\"]: no shell runs it"
        }
        _ => "should be a string that is not empty",
    })
}

fn is_variable(name: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    !name.is_empty() && name.bytes().all(is_part) && !name.starts_with(|first: char| first.is_ascii_digit())
}

/// How a client authenticates that does not say how: by Basic, which every server takes that issues
/// secrets (RFC 6749 section 2.3.1), if it has a secret.
pub(super) fn auth(layers: &Layers<'_>, has_secret: bool) -> ClientAuth {
    match layers.one("client_auth") {
        Some(_) => layers.one_of(
            "client_auth",
            ["none", "body", "basic"],
            [ClientAuth::None, ClientAuth::Body, ClientAuth::Basic],
        ),
        None if has_secret => ClientAuth::Basic,
        None => ClientAuth::None,
    }
}

/// Why the secret that a profile names cannot be used, if so.
pub(super) fn check(profile: &Profile) -> Result<(), String> {
    let member = match &profile.client_secret {
        None => return Ok(()),
        Some(ClientSecret::Written(_)) => "client_secret",
        Some(ClientSecret::Elsewhere { member, .. }) => {
            let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
            if matches!(profile.id.as_str(), "." | "..") || !profile.id.bytes().all(is_plain) {
                return Err(format!(
                    "`{member}` needs a profile whose name has only lower-case letters, digits, `.`, `_` and `-`"
                ));
            }
            member
        }
    };
    if profile.client_auth == ClientAuth::None {
        return Err(format!(
            "`{member}` would not be sent, for `client_auth` is \"none\": it should be \"basic\" or \"body\""
        ));
    }
    if profile.client_id.is_empty() && profile.client_id_in_login.is_none() {
        return Err(format!("`{member}` needs a `client_id`"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::Catalog;
    use super::*;

    fn profile(text: &str) -> Result<Profile, String> {
        let catalog = Catalog::new(Some(text)).unwrap();
        catalog.profile("a").map(Option::unwrap).map_err(|error| error.0)
    }

    fn of(more: &str) -> Result<Profile, String> {
        profile(&format!(r#"{{"profiles":{{"a":{{"token_endpoint":"https://a.example/t","client_id":"c",{more}}}}}}}"#))
    }

    #[test]
    fn a_secret_is_written_or_read_from_one_place() {
        let written = of(r#""client_secret":"s""#).unwrap();
        assert_eq!(written.client_secret, Some(ClientSecret::Written(Secret::from("s"))));
        assert_eq!(written.client_auth, ClientAuth::Basic);
        for (member, place) in [
            ("client_secret_env", r#""ACME_SECRET""#),
            ("client_secret_file", r#""~/acme-secret""#),
            ("client_secret_command", r#"["op", "read", "op://a/b"]"#),
        ] {
            let found = of(&format!(r#""client_auth":"body","{member}":{place}"#)).unwrap();
            assert_eq!(found.client_secret, Some(ClientSecret::Elsewhere { member, place: place.to_owned() }));
            assert_eq!(found.client_auth, ClientAuth::Body);
        }
        assert_eq!(of(r#""client_secret":null"#).unwrap().client_secret, None);
    }

    #[test]
    fn what_cannot_be_a_secret_is_refused_by_its_member() {
        for (more, wanted) in [
            (r#""client_secret":"""#, "`client_secret` should be"),
            (r#""client_secret":1"#, "`client_secret` should be"),
            (r#""client_secret":"s","client_secret_env":"S""#, "must not stand beside `client_secret`"),
            (r#""client_secret_env":"A B""#, "environment variable"),
            (r#""client_secret_env":"1A""#, "environment variable"),
            (r#""client_secret_file":"""#, "path of a file"),
            (r#""client_secret_command":"op read x""#, "should be a list"),
            (r#""client_secret_command":[]"#, "should be a list"),
            (r#""client_secret_command":["op",1]"#, "should be a list"),
            (r#""client_secret":"s","client_auth":"none""#, "would not be sent"),
            (r#""client_secret":"s","client_id":null"#, "`client_id`"),
        ] {
            let error = of(more).unwrap_err();
            assert!(error.contains(wanted), "{more}: {error}");
        }
        let named =
            r#"{"profiles":{"A b":{"token_endpoint":"https://a.example/t","client_id":"c","client_secret_env":"S"}}}"#;
        assert!(Catalog::new(Some(named)).unwrap().profile("A b").is_err());
    }

    #[test]
    fn a_secret_is_inherited_only_for_the_same_client_and_server() {
        let over = |top: &str| {
            let text = format!(
                r#"{{"profiles":{{"a":{{"extends":"b",{top}}},"b":{{"token_endpoint":"https://b.example/t","client_id":"c","client_secret":"s"}}}}}}"#
            );
            profile(&text).unwrap()
        };
        assert!(over(r#""name":"n""#).client_secret.is_some());
        for top in [r#""token_endpoint":"https://a.example/t""#, r#""client_id":"other""#, r#""client_secret":null"#] {
            assert_eq!(over(top).client_secret, None, "{top}");
        }
        let other = over(r#""client_secret_env":"S""#).client_secret;
        assert!(matches!(other, Some(ClientSecret::Elsewhere { member: "client_secret_env", .. })));
    }
}
