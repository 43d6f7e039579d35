//! A field that nobody knows and that is nearly called as a known one was mistyped, and what it
//! holds is not read.

use crate::json::{self, Kind, Value};
use crate::provider::{ExpiryAt, Layout};

/// What the reference and its like write into logins and entries, beside what the layouts name.
const KNOWN: &str = "id label auth_type priority source access_token refresh_token id_token token_type scope client_id \
    client_secret last_status last_status_at last_error_code last_error_reason last_error_message last_error_reset_at \
    base_url expires_at expires_at_ms expires_in last_refresh inference_base_url portal_base_url agent_key \
    agent_key_expires_at agent_key_expires_in agent_key_id agent_key_reused agent_key_obtained_at request_count obtained_at tls \
    secret_source secret_fingerprint tokens discovery token_endpoint authorization_endpoint redirect_uri auth_mode \
    last_auth_error code message reason relogin_required at provider account_id email granted_at insecure ca_bundle extra region";

/// The fields that a login or an entry may have.
pub(super) struct Known(Vec<String>);

impl Known {
    /// Those that everybody writes, and those of a layout.
    pub(super) fn of(layout: &Layout) -> Self {
        let words = KNOWN.split(' ').filter(|word| !word.is_empty());
        let mut known: Vec<String> = words.map(str::to_owned).collect();
        let mut learn = |pointer: &str| known.extend(json::tokens(pointer));
        for pointer in [&layout.access_token, &layout.refresh_token, &layout.issued_at] {
            learn(pointer);
        }
        layout.token_type.iter().for_each(|pointer| learn(pointer));
        layout.write.iter().for_each(|(pointer, _)| learn(pointer));
        layout.erase.iter().for_each(|(pointer, _)| learn(pointer));
        for expiry in &layout.expiry {
            match expiry {
                ExpiryAt::Moment { at } => learn(at),
                ExpiryAt::Lifetime { seconds, since } => {
                    learn(seconds);
                    learn(since);
                }
            }
        }
        Self(known)
    }

    /// Each field of an object, or of an object in it, that looks like a mistyped one: its name and
    /// the one that was meant.
    pub(super) fn mistyped(&self, node: Value<'_>) -> Vec<(String, String)> {
        let mut found = Vec::new();
        look(node, &self.0, &mut found);
        for member in node.members().filter(|member| member.value.kind() == Kind::Object) {
            look(member.value, &self.0, &mut found);
        }
        found
    }
}

fn look(node: Value<'_>, known: &[String], found: &mut Vec<(String, String)>) {
    for member in node.members() {
        let name = member.key.as_str().unwrap_or_default();
        if name.len() > 64 || known.contains(&name) {
            continue;
        }
        // The nearest counts. Short words are near to everything.
        let nearest = known.iter().map(|word| (distance(&name, word), word)).min_by_key(|(distance, _)| *distance);
        if let Some((distance, word)) = nearest
            && distance <= if word.len() >= 8 { 2 } else { 1 }
            && word.len() >= 4
        {
            found.push((name, word.clone()));
        }
    }
}

/// How many letters must be added, taken out, changed, or exchanged with their neighbour; more than
/// two is as good as three.
fn distance(one: &str, other: &str) -> usize {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    if one.len().abs_diff(other.len()) > 2 {
        return 3;
    }
    // Rows of the usual table; of an exchange the row before the last is wanted too.
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=other.len()).collect();
    for (at, byte) in one.iter().enumerate() {
        let mut row = vec![at + 1];
        for (column, wanted) in other.iter().enumerate() {
            let changed = last[column] + usize::from(byte != wanted);
            let mut least = changed.min(last[column + 1] + 1).min(row[column] + 1);
            let is_exchanged = at > 0 && column > 0 && one[at - 1] == *wanted && *byte == other[column - 1];
            if is_exchanged {
                least = least.min(before[column - 1] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::Catalog;

    #[test]
    fn letters_are_counted() {
        for (one, other, count) in [
            ("access_token", "access_token", 0),
            ("acess_token", "access_token", 1),
            ("refresh_tokn", "refresh_token", 1),
            ("refersh_token", "refresh_token", 1),
            ("acces_tokens", "access_token", 2),
            ("token", "access_token", 3),
            ("", "id", 2),
        ] {
            assert_eq!(distance(one, other), count, "{one}");
            assert_eq!(distance(other, one), count, "{one}");
        }
    }

    #[test]
    fn only_what_is_nearly_known_was_mistyped() {
        let layout = Catalog::new(None).unwrap().profile("nous").unwrap().unwrap().login;
        let text =
            r#"{"acess_token":"a","tokens":{"refresh_tokn":"r","note":1},"agent_key":"k","mine":1,"ids":2,"scpoe":""}"#;
        let found = Known::of(&layout).mistyped(json::check(text).unwrap());
        let found: Vec<_> = found.iter().map(|(name, meant)| (name.as_str(), meant.as_str())).collect();
        assert_eq!(found, [("acess_token", "access_token"), ("scpoe", "scope"), ("refresh_tokn", "refresh_token")]);
    }

    #[test]
    fn nothing_that_the_reference_writes_was_mistyped() {
        let catalog = Catalog::new(None).unwrap();
        let profile = catalog.profile("xai-oauth").unwrap().unwrap();
        let login = r#"{"tokens":{"access_token":"","refresh_token":"","id_token":"","expires_in":1,"token_type":""},"last_refresh":"",
            "auth_mode":"","discovery":{"authorization_endpoint":"","token_endpoint":""},"redirect_uri":"","region":"","label":"",
            "scope":"","client_id":"","portal_base_url":"","inference_base_url":"","obtained_at":"","expires_at":"","agent_key":"",
            "agent_key_id":null,"agent_key_reused":false,"agent_key_obtained_at":"","agent_key_expires_in":1,
            "agent_key_expires_at":"","tls":{"insecure":false,"ca_bundle":null},"last_auth_error":{"provider":"","code":"",
            "message":"","reason":"","relogin_required":true,"at":""}}"#;
        assert_eq!(Known::of(&profile.login).mistyped(json::check(login).unwrap()), []);
        let entry = r#"{"id":"","label":"","auth_type":"","priority":0,"source":"","access_token":"","refresh_token":"",
            "last_status":"","last_status_at":1,"last_error_code":1,"last_error_reason":"","last_error_message":"",
            "last_error_reset_at":1,"base_url":"","last_refresh":"","request_count":0,"secret_fingerprint":"","secret_source":"",
            "expires_at_ms":1,"token_type":"","tls":null}"#;
        assert_eq!(Known::of(&profile.entry).mistyped(json::check(entry).unwrap()), []);
    }
}
