//! A success is a non-empty access token, nothing less; a new refresh token is kept even without
//! one.

use std::fmt;

use super::json::Json;
use super::rules::{Fields, Unit};
use crate::secret::Secret;
use crate::sendable;

/// What a 2xx answer carried. `Debug` shows only what is there: a server may put anything into any
/// of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Tokens {
    /// Present unless the answer is no success.
    pub access_token: Option<Secret>,
    /// What the server says of the refresh token.
    pub refresh_token: RefreshToken,
    /// Seconds from now; absent where the server did not say or said 0.
    pub expires_in_s: Option<u64>,
    /// The granted scope, space separated.
    pub scope: Option<String>,
    /// As sent.
    pub token_type: Option<String>,
    /// OpenID Connect's.
    pub id_token: Option<Secret>,
}

/// The refresh token of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefreshToken {
    /// There is none, so the one that was sent stays (RFC 6749 section 6).
    Absent,
    /// New, or the same again.
    Usable(Secret),
    /// There is one, and it is no text that could be sent: whether the one that was sent is still
    /// good, nobody knows.
    Unusable,
}

impl RefreshToken {
    /// One that can be stored and sent.
    pub fn usable(&self) -> Option<&Secret> {
        match self {
            Self::Usable(token) => Some(token),
            Self::Absent | Self::Unusable => None,
        }
    }

    /// Whether the server named one.
    pub fn is_there(&self) -> bool {
        *self != Self::Absent
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens")
            .field("access_token", &self.access_token)
            .field("refresh_token", &self.refresh_token)
            .field("expires_in_s", &self.expires_in_s)
            .finish_non_exhaustive()
    }
}

/// Reads the tokens of an answer; `None` if there is neither an access token that can be used nor a
/// refresh token.
pub(super) fn read(fields: &Fields, json: &Json<'_>, now_unix_s: u64) -> Option<Tokens> {
    let named: Vec<&str> = fields.within.iter().map(String::as_str).collect();
    // Without a profile: the object itself, or the envelope that many servers put around
    // everything.
    let places: &[&str] = if named.is_empty() { &["", "/data"] } else { &named };
    let read: Vec<Tokens> =
        places.iter().filter_map(|place| Some(read_object(fields, json.pointer(place)?, now_unix_s))).collect();
    let best = read.iter().position(|tokens| tokens.access_token.is_some());
    let usable = |tokens: &Tokens| matches!(tokens.refresh_token, RefreshToken::Usable(_));
    let best = best.or_else(|| read.iter().position(usable));
    let best = best.or_else(|| read.iter().position(|tokens| tokens.refresh_token.is_there()))?;
    read.into_iter().nth(best)
}

fn read_object(fields: &Fields, object: &Json<'_>, now_unix_s: u64) -> Tokens {
    let member = |own: &Option<String>, names: [&str; 2]| match own {
        Some(own) => object.member(own),
        None => names.iter().find_map(|name| object.member(name)),
    };
    let access = member(&fields.access_token, ["access_token", "accessToken"]);
    let refresh = member(&fields.refresh_token, ["refresh_token", "refreshToken"]);
    let id = member(&fields.id_token, ["id_token", "idToken"]);
    let expires = member(&fields.expires_in, ["expires_in", "expiresIn"]);
    let scope = member(&fields.scope, ["scope", "scopes"]);
    let token_type = member(&fields.token_type, ["token_type", "tokenType"]);
    Tokens {
        access_token: access.and_then(usable),
        refresh_token: refresh.map_or(RefreshToken::Absent, refresh_token),
        expires_in_s: expires.and_then(|value| lifetime_s(value, fields.expires_unit, now_unix_s)),
        scope: scope.and_then(scope_text),
        token_type: token_type.and_then(Json::text).filter(|text| !text.is_empty()).map(Into::into),
        id_token: id.and_then(usable),
    }
}

/// An access token, or one that stands beside it in headers.
fn usable(value: &Json<'_>) -> Option<Secret> {
    let text = value.text()?.trim();
    sendable::is_access_token(text).then(|| Secret::new(text))
}

/// A text is sent back as it came, a whole number as its digits. Empty, null and a program's word
/// for it are none.
fn refresh_token(value: &Json<'_>) -> RefreshToken {
    let text = match value {
        Json::Text(text) if text.is_empty() || sendable::is_null(text.trim()) => return RefreshToken::Absent,
        Json::Text(text) if sendable::is_refresh_token(text) => text.as_ref(),
        Json::Number(number) if number.raw().bytes().all(|byte| byte.is_ascii_digit()) => number.raw(),
        Json::Nothing => return RefreshToken::Absent,
        _ => return RefreshToken::Unusable,
    };
    RefreshToken::Usable(Secret::new(text))
}

fn scope_text(value: &Json<'_>) -> Option<String> {
    let scope = match value {
        Json::List(items) => items.iter().filter_map(Json::text).collect::<Vec<_>>().join(" "),
        value => value.text()?.into(),
    };
    (!scope.is_empty()).then_some(scope)
}

/// A number or a number in quotes; 0, negative and absurd ones mean that the server did not say.
fn lifetime_s(value: &Json<'_>, unit: Unit, now_unix_s: u64) -> Option<u64> {
    const LONGEST_S: u64 = 100 * 365 * 24 * 3600;
    let whole = match value {
        Json::Number(number) => number.as_u64()?,
        value => value.text()?.trim().split('.').next()?.parse().ok()?,
    };
    let seconds = match unit {
        Unit::S => whole,
        Unit::Ms => whole / 1000,
        Unit::EpochS => whole.saturating_sub(now_unix_s),
        Unit::EpochMs => (whole / 1000).saturating_sub(now_unix_s),
    };
    (1..=LONGEST_S).contains(&seconds).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use super::super::{Rules, json};
    use super::*;

    fn tokens(fields: &str, body: &str) -> Option<Tokens> {
        let rules = Rules::parse(&format!(r#"{{"fields":{fields}}}"#)).expect("rules");
        read(&rules.fields, &json::read(body).expect("JSON").0, 1_000)
    }

    #[test]
    fn an_access_token_is_a_text_that_can_be_sent() {
        for body in [
            r#"{"access_token":""}"#,
            r#"{"access_token":null}"#,
            r#"{"access_token":17}"#,
            r#"{"access_token":" \n"}"#,
            r#"{"access_token":"null"}"#,
            r#"{"access_token":{"a":"b"}}"#,
            r#"{"access_token":"a\r\nb"}"#,
            "{\"access_token\":\"a\u{fffd}b\"}",
            "[]",
        ] {
            assert_eq!(tokens("{}", body), None, "{body}");
        }
        let found = tokens("{}", r#"{"access_token":"at","refresh_token":"rt","expires_in":"3600","scope":["a","b"]}"#)
            .expect("tokens");
        assert_eq!(found.access_token, Some("at".into()));
        assert_eq!(found.refresh_token, RefreshToken::Usable("rt".into()));
        assert_eq!((found.expires_in_s, found.scope.as_deref()), (Some(3600), Some("a b")));
    }

    #[test]
    fn a_new_refresh_token_is_found_beside_an_unusable_access_token() {
        let found = tokens("{}", r#"{"access_token":null,"refresh_token":"rt2"}"#).expect("tokens");
        assert_eq!((found.access_token, found.refresh_token), (None, RefreshToken::Usable("rt2".into())));
    }

    #[test]
    fn a_refresh_token_is_absent_or_usable_or_there_and_unusable() {
        let read = |value: &str| {
            tokens("{}", &format!(r#"{{"access_token":"at","refresh_token":{value}}}"#)).expect("tokens").refresh_token
        };
        for absent in ["null", r#""""#, r#""null""#, r#"" undefined ""#] {
            assert_eq!(read(absent), RefreshToken::Absent, "{absent}");
        }
        for (value, token) in [
            (r#""r t""#, "r t"),
            (r#"" rt ""#, " rt "),
            (r#""\n\u00e9""#, "\né"),
            ("7", "7"),
            ("12345678901234567890123", "12345678901234567890123"),
        ] {
            assert_eq!(read(value), RefreshToken::Usable(token.into()), "{value}");
        }
        for unusable in
            ["true", "false", "{}", "[]", r#"["rt"]"#, r#"{"a":"rt"}"#, "1.0", "-1", "1e3", r#"" ""#, "\"rt\u{fffd}\""]
        {
            assert_eq!(read(unusable), RefreshToken::Unusable, "{unusable}");
        }
        // One that can be used is looked for first, in every place.
        let both = r#"{"refresh_token":{},"data":{"refresh_token":"rt"}}"#;
        assert_eq!(tokens("{}", both).expect("tokens").refresh_token, RefreshToken::Usable("rt".into()));
        assert_eq!(tokens("{}", r#"{"refresh_token":{}}"#).expect("tokens").refresh_token, RefreshToken::Unusable);
        assert_eq!(tokens("{}", r#"{"refresh_token":null}"#), None);
    }

    #[test]
    fn a_profile_says_where_the_tokens_stand_and_what_the_expiry_counts() {
        let fields = r#"{"within":["/AuthenticationResult"],"access_token":"AccessToken","expires_in":"At","expires_unit":"epoch-ms"}"#;
        let found = tokens(fields, r#"{"AuthenticationResult":{"AccessToken":"at","At":1600000}}"#).expect("tokens");
        assert_eq!((found.access_token, found.expires_in_s), (Some("at".into()), Some(600)));
        assert!(tokens("{}", r#"{"data":{"access_token":"at"}}"#).is_some());
        assert!(tokens("{}", r#"{"accessToken":"at","expiresIn":8}"#).is_some_and(|t| t.expires_in_s == Some(8)));
    }

    #[test]
    fn an_expiry_that_says_nothing_is_unknown() {
        for expiry in ["0", "-5", "\"\"", "\"soon\"", "1e300", "null", "[]"] {
            let found = tokens("{}", &format!(r#"{{"access_token":"at","expires_in":{expiry}}}"#)).expect("tokens");
            assert_eq!(found.expires_in_s, None, "{expiry}");
        }
        assert_eq!(
            tokens("{}", r#"{"access_token":"at","expires_in":3599.6}"#).and_then(|t| t.expires_in_s),
            Some(3599)
        );
    }
}
