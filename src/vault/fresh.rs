//! What a refresh brought, and how a place says it.

use crate::json::{self, Kind, Value};
use crate::jwt;
use crate::provider::{Field, Layout, Source};
use crate::secret::Secret;
use crate::sendable;
use crate::time::{self, Zone};

use super::edit::Change;

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

/// The changes that bring fresh tokens to a place. Another tool's file keeps a number where it has one.
pub(super) fn changes(node: Value<'_>, layout: &Layout, fresh: &Fresh, is_foreign: bool) -> Vec<(String, Change)> {
    let mut changes = Vec::new();
    for (pointer, source) in layout.write.iter() {
        let there = node.pointer(pointer);
        let value = match source {
            // A constant mends what is there and adds nothing.
            Source::Constant(value) => there.map(|_| value.clone()),
            // Without an access token nothing that the vault says of one is new.
            Source::Field(field) if fresh.access_token.is_empty() && *field != Field::RefreshToken => None,
            Source::Field(field) => fresh.field(*field).or_else(|| {
                let unknown = if is_foreign && *field == Field::ExpiresAtMs { "0" } else { "null" };
                stale(*field, there).then(|| unknown.to_owned())
            }),
        };
        if let Some(value) = value {
            changes.push((pointer.clone(), Change::Set(value)));
        }
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
    use super::super::{Spot, Vault};
    use super::*;
    use crate::provider::Catalog;

    #[test]
    fn fresh_tokens_are_written_where_the_profile_says_and_a_stale_expiry_goes() {
        let text = r#"{"providers":{"nous":{"refresh_token" : "r1","access_token":"a1","expires_at":"x","agent_key_id":"k","scope":"s"}}}"#;
        let vault = Vault::open(text).unwrap();
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
