//! What a refresh brought, and how a place says it.

use crate::json::{self, Kind, Value};
use crate::jwt;
use crate::provider::{ExpiryAt, Field, Layout, Source};
use crate::secret::Secret;
use crate::sendable;
use crate::time::{self, Zone};

use super::edit::Change;
use super::place::usual_expiries;

/// What a refresh brought.
#[derive(Clone, Debug)]
pub struct Fresh {
    /// Empty if the answer's access token was unusable.
    pub access_token: Secret,
    /// None: the one that was sent stays.
    pub refresh_token: Option<Secret>,
    /// If the answer said.
    pub expires_in_s: Option<u64>,
    /// If the answer said.
    pub scope: Option<String>,
    /// If the answer said.
    pub token_type: Option<String>,
    /// If the answer had one.
    pub id_token: Option<Secret>,
    /// Milliseconds since 1970.
    pub received_at_ms: u64,
}

impl Fresh {
    /// When its access token expires: what the server said, else what the token says.
    pub fn expires_at_ms(&self) -> Option<u64> {
        let stated = self.expires_in_s.map(|seconds| self.received_at_ms.saturating_add(seconds.saturating_mul(1_000)));
        stated.or_else(|| jwt::times(self.access_token.expose()).expires_at_ms)
    }

    /// A value spelled as JSON; none if the answer did not bring it.
    pub(crate) fn field(&self, field: Field) -> Option<String> {
        let text = |text: &str| (!text.is_empty()).then(|| json::quote(text));
        let moment = |zone| self.expires_at_ms().map(|at| json::quote(&time::to_rfc3339(at, zone)));
        match field {
            Field::AccessToken => text(self.access_token.expose()),
            Field::RefreshToken => self.refresh_token.as_ref().and_then(|token| text(token.expose())),
            Field::IdToken => self.id_token.as_ref().and_then(|token| text(token.expose())),
            Field::TokenType => self.token_type.as_deref().filter(|name| sendable::is_scheme(name)).and_then(text),
            Field::Scope => self.scope.as_deref().and_then(text),
            Field::ExpiresInS => self
                .expires_in_s
                .or_else(|| self.expires_at_ms().map(|at| at.saturating_sub(self.received_at_ms) / 1_000))
                .map(|seconds| seconds.to_string()),
            Field::ExpiresAtRfc3339 => moment(Zone::Offset),
            Field::ExpiresAtMs => self.expires_at_ms().map(|at| at.to_string()),
            Field::NowRfc3339 => Some(json::quote(&time::to_rfc3339(self.received_at_ms, Zone::Offset))),
            Field::NowRfc3339Z => Some(json::quote(&time::to_rfc3339(self.received_at_ms, Zone::Letter))),
        }
    }
}

/// The changes that bring fresh tokens to a place. A time that the answer did not bring is never
/// written as 1970: a number in another tool's file goes, and all else is null.
pub(super) fn changes(node: Value<'_>, layout: &Layout, fresh: &Fresh, is_foreign: bool) -> Vec<(String, Change)> {
    let assumed = layout.assumed_lifetime_s.filter(|_| fresh.expires_at_ms().is_none());
    let assumed = assumed.map(|seconds| Fresh { expires_in_s: Some(seconds), ..fresh.clone() });
    let fresh = assumed.as_ref().unwrap_or(fresh);
    let mut changes = Vec::new();
    for (pointer, source) in layout.write.iter() {
        let there = node.pointer(pointer);
        let change = match source {
            // A constant mends what is there and adds nothing.
            Source::Constant(value) => there.map(|_| Change::Set(value.clone())),
            // Without an access token nothing that the vault says of one is new.
            Source::Field(field) if fresh.access_token.is_empty() && *field != Field::RefreshToken => None,
            Source::Field(field) => match fresh.field(*field) {
                Some(value) => Some(Change::Set(value)),
                None if !stale(*field, there) => None,
                None if is_foreign && *field == Field::ExpiresAtMs => Some(Change::Remove),
                None => Some(Change::Set("null".to_owned())),
            },
        };
        changes.extend(change.map(|change| (pointer.clone(), change)));
    }
    if !fresh.access_token.is_empty() {
        changes.extend(other_ends(node, layout, fresh, is_foreign));
    }
    changes
}

/// What a place says of its token's end beside what a refresh writes: it would be about the token
/// before.
fn other_ends(node: Value<'_>, layout: &Layout, fresh: &Fresh, is_foreign: bool) -> Vec<(String, Change)> {
    let listed = layout.expiry.iter().filter_map(|at| match at {
        ExpiryAt::Moment { at } => Some(at.clone()),
        ExpiryAt::Lifetime { .. } => None,
    });
    let mut changes: Vec<(String, Change)> = Vec::new();
    for at in listed.chain(usual_expiries(layout)) {
        let is_known = layout.write.contains_key(&at) || changes.iter().any(|(known, _)| *known == at);
        let Some(there) = node.pointer(&at).filter(|_| !is_known) else { continue };
        if time::from_json(there).is_none() && !time::is_zero(there) {
            continue;
        }
        let change = match fresh.expires_at_ms() {
            Some(at_ms) => Change::Set(time::respelled(there, at_ms)),
            None if is_foreign => Change::Remove,
            None => Change::Set("null".to_owned()),
        };
        changes.push((at, change));
    }
    changes
}

/// Whether an entry rests for what a refresh does not mend: too many calls, money, rights.
pub(super) fn rests_for_quota(node: Value<'_>) -> bool {
    let code = node.get("last_error_code").and_then(|code| code.as_u64());
    node.get("last_status").is_some_and(|status| status.is_str("exhausted")) && matches!(code, Some(402 | 403 | 429))
}

/// Whether a member says how an entry is doing.
pub(super) fn is_status(pointer: &str) -> bool {
    pointer.starts_with("/last_status") || pointer.starts_with("/last_error")
}

/// Whether a value that the answer did not bring would now be about another token.
fn stale(field: Field, there: Option<Value<'_>>) -> bool {
    let about_expiry = matches!(field, Field::ExpiresInS | Field::ExpiresAtRfc3339 | Field::ExpiresAtMs);
    about_expiry && there.is_some_and(|value| value.kind() != Kind::Null)
}

#[cfg(test)]
mod tests {
    use super::super::edit::Edits;
    use super::super::{Provenance, Spot, Vault};
    use super::*;
    use crate::provider::Catalog;

    fn renewed(text: &str, known: &Provenance, provider: &str, expires_in_s: Option<u64>) -> String {
        let vault = Vault::open(text, known).unwrap();
        let profile = Catalog::new(None).unwrap().profile(provider).unwrap().unwrap();
        let fresh = Fresh {
            access_token: Secret::from("a2"),
            refresh_token: Some(Secret::from("r2")),
            expires_in_s,
            scope: None,
            token_type: None,
            id_token: None,
            received_at_ms: 1_784_541_600_000,
        };
        let mut edits = Edits::default();
        let node = vault.node(provider, Spot::Login).unwrap();
        vault.write_tokens(&mut edits, node, Spot::Login, &profile, &fresh).unwrap();
        edits.apply(text)
    }

    #[test]
    fn an_end_is_spelled_anew_wherever_it_stands_and_never_as_1970() {
        let ours = |ends: &str| {
            format!(
                r#"{{"providers":{{"xai-oauth":{{"tokens":{{"access_token":"a1","refresh_token":"r1"{ends}}}}}}}}}"#
            )
        };
        let unknown = Provenance::default();
        let text = renewed(
            &ours(
                r#","expires_at":1700000000,"expiresAt":"1700000000000","expiry":"2020-01-01T00:00:00Z","expiry_date":"never""#,
            ),
            &unknown,
            "xai-oauth",
            Some(60),
        );
        for part in [
            r#""expires_at":1784541660"#,
            r#""expiresAt":"1784541660000""#,
            r#""expiry":"2026-07-20T10:01:00.000000Z""#,
            r#""expiry_date":"never""#,
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let text = renewed(&ours(r#","expires_at":1700000000,"expiry":0"#), &unknown, "xai-oauth", None);
        assert!(text.contains(r#""expires_at":null,"expiry":null"#), "{text}");
        for (layout, provider, file, wanted) in [
            (
                "claude-code",
                "anthropic",
                r#"{"claudeAiOauth":{"accessToken":"a1","refreshToken":"r1","expiresAt":0,"scopes":[]}}"#,
                r#"{"claudeAiOauth":{"accessToken":"a2","refreshToken":"r2","scopes":[]}}"#,
            ),
            (
                "opencode",
                "anthropic",
                r#"{"anthropic":{"type":"oauth","refresh":"r1","access":"a1","expires":0}}"#,
                r#"{"anthropic":{"type":"oauth","refresh":"r2","access":"a2","expires":1784545200000}}"#,
            ),
            (
                "gemini-cli",
                "gemini-cli",
                r#"{"access_token":"a1","refresh_token":"r1","expiry_date":1,"expires_at":"0"}"#,
                r#"{"access_token":"a2","refresh_token":"r2"}"#,
            ),
        ] {
            assert_eq!(renewed(file, &Provenance::stated(layout), provider, None), wanted);
        }
    }

    #[test]
    fn fresh_tokens_are_written_where_the_profile_says_and_a_stale_expiry_goes() {
        let text = r#"{"providers":{"nous":{"refresh_token" : "r1","access_token":"a1","expires_at":"x","agent_key_id":"k","scope":"s"}}}"#;
        let vault = Vault::open(text, &Provenance::default()).unwrap();
        let profile = Catalog::new(None).unwrap().profile("nous").unwrap().unwrap();
        let fresh = Fresh {
            access_token: Secret::from("a2"),
            refresh_token: Some(Secret::from("r2")),
            expires_in_s: None,
            scope: None,
            token_type: None,
            id_token: None,
            received_at_ms: 1_784_541_600_000,
        };
        let mut edits = Edits::default();
        let node = vault.node("nous", Spot::Login).unwrap();
        vault.write_tokens(&mut edits, node, Spot::Login, &profile, &fresh).unwrap();
        assert_eq!(
            edits.apply(text),
            r#"{"providers":{"nous":{"refresh_token" : "r2","access_token":"a2","expires_at":null,"agent_key_id":null,"scope":"s","agent_key":"a2","agent_key_obtained_at":"2026-07-20T10:00:00.000000+00:00","obtained_at":"2026-07-20T10:00:00.000000+00:00"}}}"#
        );
    }
}
