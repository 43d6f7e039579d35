//! One spot of a vault that holds, or held, a credential: what stands there, read tolerantly.

use crate::json::{Fields, Kind};
use crate::jwt;
use crate::provider::{ExpiryAt, Layout};
use crate::secret::Secret;
use crate::state::fingerprint::Fingerprint;
use crate::time;
use crate::visible::visible_line;

/// The id under which a provider's own login is addressed.
pub const LOGIN: &str = "login";

/// A JWT's `exp` is the server's clock, a stored lifetime is ours. Past the stored one by more than
/// this, the stored one must be about another token.
const CLOCK_ALLOWANCE_MS: u64 = 300_000;

/// A spot in a provider's part of a vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Spot {
    /// `providers.<id>`
    Login,
    /// `credential_pool.<id>[index]`
    Entry(usize),
}

/// What kind of credential a place holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialKind {
    /// An access token, perhaps with a refresh token.
    OAuth,
    /// A key that does not expire.
    ApiKey,
}

/// What an entry says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryState {
    /// Usable.
    Ok,
    /// Not before this moment, in milliseconds since 1970.
    Resting(u64),
    /// Not again.
    Dead,
}

/// `last_auth_error`, or an entry's own error fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastError {
    /// As stored.
    pub code: String,
    /// As stored.
    pub message: String,
    /// As stored.
    pub reason: String,
    /// Milliseconds since 1970.
    pub at_ms: Option<u64>,
}

/// One spot that holds, or held, a credential.
#[derive(Clone, Debug)]
pub struct Place {
    /// Where.
    pub spot: Spot,
    /// The entry's id, `#2` for one that has none, or `login`.
    pub id: String,
    /// For a person; the id if there is none.
    pub label: String,
    /// The entry's source, or `login`.
    pub source: String,
    /// What it is.
    pub kind: CredentialKind,
    /// How often another program used it, by its own count.
    pub request_count: u64,
    /// Smaller comes first.
    pub priority: i64,
    /// What the entry says of itself.
    pub state: EntryState,
    /// Its error fields.
    pub last_error: Option<LastError>,
    /// None if absent or empty.
    pub access_token: Option<Secret>,
    /// None if absent or empty.
    pub refresh_token: Option<Secret>,
    /// `Bearer` if it does not say.
    pub token_type: String,
    /// Milliseconds since 1970.
    pub expires_at_ms: Option<u64>,
    /// It names its end as 0, which is none that is known.
    pub ends_at_zero: bool,
    /// How long the access token lives in all, in milliseconds.
    pub lifetime_ms: Option<u64>,
    /// When the tokens were issued, in milliseconds since 1970.
    pub issued_at_ms: Option<u64>,
}

impl LastError {
    /// Another program's words, for whoever shows them.
    pub(crate) fn on_one_line(self) -> Self {
        let [code, message, reason] = [&self.code, &self.message, &self.reason].map(|words| visible_line(words));
        Self { code, message, reason, at_ms: self.at_ms }
    }
}

impl Place {
    /// The fingerprint of its refresh token.
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        self.refresh_token.as_ref().map(|token| Fingerprint::of(token.expose()))
    }

    /// Whether it only names an environment variable that its key is in.
    pub fn is_in_environment(&self) -> bool {
        self.kind == CredentialKind::ApiKey && self.access_token.is_none() && self.source.starts_with("env:")
    }

    /// Whether it holds nothing that could be used.
    pub fn is_empty(&self) -> bool {
        self.access_token.is_none() && self.refresh_token.is_none()
    }
}

/// What stands at a spot. `name` says where that is, for a person.
pub(super) fn place(
    node: &Fields<'_>,
    spot: Spot,
    layout: &Layout,
    name: &dyn Fn() -> String,
    warnings: &mut Vec<String>,
) -> Place {
    let mut text = |pointer: &str| {
        let value = node.pointer(pointer)?;
        if !matches!(value.kind(), Kind::String | Kind::Null) {
            warnings.push(format!("`{pointer}` in {} is {}, not a string: it is ignored", name(), value.kind()));
        }
        value.as_str().filter(|text| !text.is_empty())
    };
    let access_token = text(&layout.access_token).map(Secret::new);
    let refresh_token = text(&layout.refresh_token).map(Secret::new);
    let token_type = layout.token_type.as_deref().and_then(&mut text).unwrap_or_else(|| "Bearer".to_owned());
    let (id, label, source, kind) = match spot {
        Spot::Login => (LOGIN.to_owned(), text("/label"), LOGIN.to_owned(), CredentialKind::OAuth),
        Spot::Entry(index) => {
            let kind = match text("/auth_type").as_deref() {
                Some("oauth") => CredentialKind::OAuth,
                _ if refresh_token.is_some() => CredentialKind::OAuth,
                _ => CredentialKind::ApiKey,
            };
            let source = text("/source").unwrap_or_else(|| "manual".to_owned());
            (text("/id").unwrap_or_else(|| format!("#{index}")), text("/label"), source, kind)
        }
    };
    let expiry = match kind {
        CredentialKind::OAuth => expiry(node, layout, access_token.as_ref()),
        CredentialKind::ApiKey => Expiry::default(),
    };
    Place {
        spot,
        label: label.unwrap_or_else(|| id.clone()),
        id,
        source,
        kind,
        priority: node.get("priority").and_then(|value| value.as_i64()).unwrap_or(0),
        request_count: node.get("request_count").and_then(|value| value.as_u64()).unwrap_or(0),
        state: if spot == Spot::Login { EntryState::Ok } else { entry_state(node) },
        last_error: if spot == Spot::Login { login_error(node) } else { entry_error(node) },
        access_token,
        refresh_token,
        token_type,
        expires_at_ms: expiry.at_ms,
        ends_at_zero: expiry.is_zero,
        lifetime_ms: expiry.lifetime_ms,
        issued_at_ms: expiry.issued_at_ms,
    }
}

#[derive(Default)]
struct Expiry {
    at_ms: Option<u64>,
    is_zero: bool,
    lifetime_ms: Option<u64>,
    issued_at_ms: Option<u64>,
}

/// What the vault says comes first, for it was reckoned on our own clock; a JWT that expired well
/// before that shows that the vault speaks of another token (the reference does not keep it up to
/// date).
fn expiry(node: &Fields<'_>, layout: &Layout, access_token: Option<&Secret>) -> Expiry {
    let claims = access_token.map(|token| jwt::times(token.expose())).unwrap_or_default();
    let issued_at_ms = claims.issued_at_ms.or_else(|| moment(node, &layout.issued_at));
    let at_moment = |at: &str| {
        let at_ms = moment(node, at)?;
        Some((at_ms, issued_at_ms.map(|issued| at_ms.saturating_sub(issued))))
    };
    let listed = layout.expiry.iter().find_map(|at| match at {
        ExpiryAt::Moment { at } => at_moment(at),
        ExpiryAt::Lifetime { seconds, since } => {
            let lifetime_ms = time::lifetime_from_json(node.pointer(seconds)?)?;
            Some((moment(node, since)?.saturating_add(lifetime_ms), Some(lifetime_ms)))
        }
    });
    let stored = listed.or_else(|| usual_expiries(layout).find_map(|at| at_moment(&at)));
    let claimed_lifetime = claims.expires_at_ms.zip(claims.issued_at_ms).map(|(end, start)| end.saturating_sub(start));
    let is_zero = stored.is_none() && claims.expires_at_ms.is_none() && {
        let listed = layout.expiry.iter().filter_map(|at| match at {
            ExpiryAt::Moment { at } => Some(at.clone()),
            ExpiryAt::Lifetime { .. } => None,
        });
        listed.chain(usual_expiries(layout)).any(|at| node.pointer(&at).is_some_and(time::is_zero))
    };
    match (stored, claims.expires_at_ms) {
        (Some((at_ms, lifetime_ms)), Some(claimed)) if at_ms <= claimed.saturating_add(CLOCK_ALLOWANCE_MS) => {
            Expiry { at_ms: Some(at_ms), is_zero, lifetime_ms, issued_at_ms }
        }
        (Some((at_ms, lifetime_ms)), None) => Expiry { at_ms: Some(at_ms), is_zero, lifetime_ms, issued_at_ms },
        (_, claimed) => Expiry { at_ms: claimed, is_zero, lifetime_ms: claimed_lifetime, issued_at_ms },
    }
}

/// Where programs are known to keep a token's end beside the token, whatever their layout says.
pub(super) fn usual_expiries(layout: &Layout) -> impl Iterator<Item = String> {
    const NAMES: [&str; 5] = ["expires_at", "expires_at_ms", "expiresAt", "expiry", "expiry_date"];
    let beside = layout.access_token.rsplit_once('/').map_or("", |(object, _)| object).to_owned();
    NAMES.iter().map(move |name| format!("{beside}/{name}"))
}

/// A moment in any usual spelling: the reference writes several, and takes them all.
fn moment(node: &Fields<'_>, pointer: &str) -> Option<u64> {
    node.pointer(pointer).and_then(time::from_json)
}

fn entry_state(node: &Fields<'_>) -> EntryState {
    match node.get("last_status").and_then(|status| status.as_str()).as_deref() {
        Some("dead") => EntryState::Dead,
        Some("exhausted") => {
            let code = node.get("last_error_code").and_then(|code| code.as_u64());
            let rest_ms = if code == Some(401) { 300_000 } else { 3_600_000 };
            let until = moment(node, "/last_error_reset_at")
                .or_else(|| moment(node, "/last_status_at").map(|since| since.saturating_add(rest_ms)));
            until.map_or(EntryState::Ok, EntryState::Resting)
        }
        _ => EntryState::Ok,
    }
}

fn entry_error(node: &Fields<'_>) -> Option<LastError> {
    let text = |key: &str| node.get(key).and_then(|value| value.as_str()).unwrap_or_default();
    let code = node.get("last_error_code").filter(|code| code.kind() != Kind::Null);
    let error = LastError {
        code: code.map_or_else(String::new, |code| code.as_str().unwrap_or_else(|| code.raw().to_owned())),
        message: text("last_error_message"),
        reason: text("last_error_reason"),
        at_ms: moment(node, "/last_status_at"),
    };
    let said = !(error.code.is_empty() && error.message.is_empty() && error.reason.is_empty());
    said.then_some(error)
}

fn login_error(node: &Fields<'_>) -> Option<LastError> {
    let error = &Fields::of(node.get("last_auth_error").filter(|error| error.kind() == Kind::Object)?);
    let text = |key: &str| error.get(key).and_then(|value| value.as_str()).unwrap_or_default();
    Some(LastError {
        code: text("code"),
        message: text("message"),
        reason: text("reason"),
        at_ms: moment(error, "/at"),
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Provenance, Vault};
    use crate::provider::Catalog;

    #[test]
    fn an_end_is_found_beside_the_token_in_any_usual_spelling() {
        let profile = Catalog::new(None).unwrap().profile("xai-oauth").unwrap().unwrap();
        let place = |ends: &str| {
            let text = format!(r#"{{"providers":{{"xai-oauth":{{"tokens":{{"access_token":"a"{ends}}}}}}}}}"#);
            Vault::open(&text, &Provenance::default()).unwrap().read(&profile).credentials[0].leading().clone()
        };
        for ends in [
            r#","expires_at":1784541600"#,
            r#","expires_at_ms":"1784541600000""#,
            r#","expiresAt":1784541600000"#,
            r#","expiry":"2026-07-20T10:00:00.000000000Z""#,
            r#","expiry_date":1784541600000"#,
            r#","expires_at":0,"expiry":"1784541600""#,
        ] {
            let place = place(ends);
            assert_eq!((place.expires_at_ms, place.ends_at_zero), (Some(1_784_541_600_000), false), "{ends}");
        }
        for ends in [r#","expires_at":0"#, r#","expiresAt":"0""#] {
            assert_eq!((place(ends).expires_at_ms, place(ends).ends_at_zero), (None, true), "{ends}");
        }
        for ends in ["", r#","expires_at":null"#, r#","expires_at":"soon""#, r#","expires_at":-1"#] {
            assert_eq!((place(ends).expires_at_ms, place(ends).ends_at_zero), (None, false), "{ends}");
        }
    }

    #[test]
    fn a_stored_lifetime_counts_unless_the_token_itself_ended_long_before() {
        let profile = Catalog::new(None).unwrap().profile("xai-oauth").unwrap().unwrap();
        let at = |expires_in: u64, access: &str| {
            let text = format!(
                r#"{{"providers":{{"xai-oauth":{{"tokens":{{"access_token":"{access}","expires_in":{expires_in}}},"last_refresh":"2026-07-20T10:00:00Z"}}}}}}"#
            );
            Vault::open(&text, &Provenance::default()).unwrap().read(&profile).credentials[0].leading().expires_at_ms
        };
        // The JWT says 2026-07-20T11:00:00.500Z.
        let token = "e30.eyJpYXQiOjE3ODQ1NDE2MDAsImV4cCI6MTc4NDU0NTIwMC41fQ.c2ln";
        assert_eq!(at(60, "opaque"), Some(1_784_541_660_000));
        assert_eq!(at(60, token), Some(1_784_541_660_000));
        assert_eq!(at(7_200, token), Some(1_784_545_200_500));
    }
}
