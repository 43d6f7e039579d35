//! The vault layout of the reference (`auth.json`): logins in `providers`, pools in `credential_pool`. One bad row
//! never spoils the rest.
//!
//! Where in a login or an entry the tokens lie is data: the [`Layout`]s of the provider's [`Profile`].

use std::collections::BinaryHeap;

use crate::fingerprint::Fingerprint;
use crate::json::{self, Fields, JsonError, Kind, Value};
use crate::jwt;
use crate::provider::{ExpiryAt, Field, Layout, Profile, Source, Unit};
use crate::secret::Secret;
use crate::table;
use crate::time::{self, Zone};

use super::edit::{Change, EditError, Edits};

/// The id under which a provider's own login is addressed.
pub const LOGIN: &str = "login";

/// A JWT's `exp` is the server's clock, a stored lifetime is ours. Past the stored one by more than this, the
/// stored one must be about another token.
const CLOCK_ALLOWANCE_MS: u64 = 300_000;

/// A moment or a lifetime beyond this (the year 5138) is no time at all.
const TIMELESS_MS: u64 = 100_000_000_000_000;

/// Why a text is no vault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VaultError {
    /// It is not JSON.
    NotJson(JsonError),
    /// Its top is not an object.
    NotAnObject(Kind),
}

impl std::fmt::Display for VaultError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotJson(error) => write!(f, "it is not JSON: {error}"),
            Self::NotAnObject(kind) => write!(f, "it should hold a JSON object, and holds {kind}"),
        }
    }
}

/// A vault's text, checked.
pub fn open(text: &str) -> Result<Value<'_>, VaultError> {
    let root = json::check(text).map_err(VaultError::NotJson)?;
    if root.kind() == Kind::Object { Ok(root) } else { Err(VaultError::NotAnObject(root.kind())) }
}

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
    /// How long the access token lives in all, in milliseconds.
    pub lifetime_ms: Option<u64>,
    /// When the tokens were issued, in milliseconds since 1970.
    pub issued_at_ms: Option<u64>,
}

impl Place {
    /// The fingerprint of its refresh token.
    pub fn fingerprint(&self) -> Option<Fingerprint> {
        self.refresh_token.as_ref().map(|token| Fingerprint::of(token.expose()))
    }

    /// Whether it holds nothing that could be used.
    pub fn is_empty(&self) -> bool {
        self.access_token.is_none() && self.refresh_token.is_none()
    }
}

/// One credential: a login with the entries copied from it, or an entry of its own.
#[derive(Clone, Debug)]
pub struct Credential {
    /// The profile's id.
    pub provider: String,
    /// Where it lies; the one that leads comes first. Never empty.
    pub places: Vec<Place>,
}

impl Credential {
    /// The place whose tokens count.
    pub fn leading(&self) -> &Place {
        &self.places[0]
    }

    /// The id it is addressed by: `login`, or its entry's.
    pub fn id(&self) -> &str {
        let place = self.places.iter().find(|place| place.spot == Spot::Login).unwrap_or(self.leading());
        &place.id
    }

    /// Whether a person means this one by `name`: an id, or a label in any case.
    pub fn answers_to(&self, name: &str) -> bool {
        self.places.iter().any(|place| place.id == name || place.label.eq_ignore_ascii_case(name))
    }

    /// Whether it is the provider's own login.
    pub fn is_login(&self) -> bool {
        self.id() == LOGIN
    }
}

/// What a vault holds of one provider.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// By priority; the login stands where its first copy does, before everything if it has none.
    pub credentials: Vec<Credential>,
    /// What could not be read as it should be.
    pub warnings: Vec<String>,
}

/// The ids of all providers a vault names.
pub fn providers(root: Value<'_>) -> Vec<String> {
    let mut ids = Vec::new();
    for section in ["providers", "credential_pool"].iter().filter_map(|name| root.get(name)) {
        for member in section.members() {
            table::insert_sorted(&mut ids, member.key.as_str().unwrap_or_default());
        }
    }
    ids
}

/// The credentials of one provider.
pub fn read(root: Value<'_>, profile: &Profile) -> Reading {
    let mut reading = Reading::default();
    let places = places(root, profile, &mut reading.warnings);
    let (mut of_login, own): (Vec<Place>, Vec<Place>) =
        places.into_iter().partition(|place| place.spot == Spot::Login || is_seeded(place, profile));
    // Copies without a login behind them are credentials like any other.
    let (copies, own) = if of_login.iter().any(|place| place.spot == Spot::Login) {
        (of_login, own)
    } else {
        of_login.extend(own);
        (Vec::new(), of_login)
    };
    let rank = |credential: &Credential| {
        let entries = credential.places.iter().filter(|place| place.spot != Spot::Login);
        entries.map(|place| (place.priority, place.spot)).min()
    };
    let credential = |mut places: Vec<Place>| {
        // The later issued leads; the first, which is the login, where there is nothing to tell them apart.
        let weight = |place: &Place| (place.refresh_token.is_some(), !place.is_empty(), place.issued_at_ms);
        let leading =
            (1..places.len()).fold(0, |best, at| if weight(&places[at]) > weight(&places[best]) { at } else { best });
        places.swap(0, leading);
        Credential { provider: profile.id.clone(), places }
    };
    let login = (!copies.is_empty()).then(|| credential(copies));
    let all: Vec<Credential> = login.into_iter().chain(own.into_iter().map(|place| credential(vec![place]))).collect();
    reading.credentials = sorted_by_key(all, rank);
    reading
}

/// Sorted by a key; those of one key stay as they were. By a heap: the standard sorts are 4 KB of WebAssembly.
fn sorted_by_key<T, K: Ord>(items: Vec<T>, key: impl Fn(&T) -> K) -> Vec<T> {
    let order: BinaryHeap<(K, usize)> = items.iter().enumerate().map(|(at, item)| (key(item), at)).collect();
    let mut items: Vec<Option<T>> = items.into_iter().map(Some).collect();
    order.into_sorted_vec().into_iter().filter_map(|(_, at)| items[at].take()).collect()
}

/// Whether an entry is a copy of its provider's login.
pub fn is_seeded(place: &Place, profile: &Profile) -> bool {
    matches!(place.spot, Spot::Entry(_)) && profile.seeded_sources.contains(&place.source)
}

/// Every place of one provider, in the order of the text.
pub fn places(root: Value<'_>, profile: &Profile, warnings: &mut Vec<String>) -> Vec<Place> {
    let mut places = Vec::new();
    if let Some(login) = section(root, "providers", warnings).and_then(|section| section.get(&profile.id)) {
        if login.kind() == Kind::Object {
            places.push(place(login, Spot::Login, profile, warnings));
        } else {
            warnings.push(format!("`providers.{}` is {}, not an object: it is ignored", profile.id, login.kind()));
        }
    }
    if let Some(pool) = section(root, "credential_pool", warnings).and_then(|section| section.get(&profile.id)) {
        if pool.kind() != Kind::Array {
            warnings.push(format!("`credential_pool.{}` is {}, not a list: it is ignored", profile.id, pool.kind()));
        }
        for (index, entry) in pool.items().enumerate() {
            if entry.kind() == Kind::Object {
                places.push(place(entry, Spot::Entry(index), profile, warnings));
            } else {
                warnings.push(format!(
                    "entry {index} of `credential_pool.{}` is {}, not an object: it is ignored",
                    profile.id,
                    entry.kind()
                ));
            }
        }
    }
    places
}

/// The object at a spot.
pub fn node<'a>(root: Value<'a>, provider: &str, spot: Spot) -> Option<Value<'a>> {
    match spot {
        Spot::Login => root.get("providers")?.get(provider),
        Spot::Entry(index) => root.get("credential_pool")?.get(provider)?.items().nth(index),
    }
    .filter(|node| node.kind() == Kind::Object)
}

/// The list of a provider's entries.
pub fn pool<'a>(root: Value<'a>, provider: &str) -> Option<Value<'a>> {
    root.get("credential_pool")?.get(provider).filter(|pool| pool.kind() == Kind::Array)
}

/// How the tokens lie at a spot.
pub fn layout(profile: &Profile, spot: Spot) -> &Layout {
    if spot == Spot::Login { &profile.login } else { &profile.entry }
}

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
            Field::TokenType => self.token_type.as_deref().and_then(text),
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

/// Writes fresh tokens to a spot.
pub fn write_tokens(
    edits: &mut Edits,
    node: Value<'_>,
    spot: Spot,
    profile: &Profile,
    fresh: &Fresh,
) -> Result<(), EditError> {
    let mut changes = Vec::new();
    for (pointer, source) in layout(profile, spot).write.iter() {
        let there = node.pointer(pointer);
        let value = match source {
            // A constant mends what is there and adds nothing.
            Source::Constant(value) => there.map(|_| value.clone()),
            // Without an access token nothing that the vault says of one is new.
            Source::Field(field) if fresh.access_token.is_empty() && *field != Field::RefreshToken => None,
            Source::Field(field) => fresh.field(*field).or_else(|| stale(*field, there).then(|| "null".to_owned())),
        };
        if let Some(value) = value {
            changes.push((pointer.clone(), Change::Set(value)));
        }
    }
    if spot == Spot::Login {
        changes.push(("/last_auth_error".to_owned(), Change::Remove));
    }
    edits.members(node, &changes)
}

/// Whether a value that the answer did not bring would now be about another token.
fn stale(field: Field, there: Option<Value<'_>>) -> bool {
    let about_expiry = matches!(field, Field::ExpiresInS | Field::ExpiresAtRfc3339 | Field::ExpiresAtMs);
    about_expiry && there.is_some_and(|value| value.kind() != Kind::Null)
}

fn section<'a>(root: Value<'a>, name: &str, warnings: &mut Vec<String>) -> Option<Value<'a>> {
    let section = root.get(name)?;
    if section.kind() != Kind::Object {
        let warning = format!("`{name}` is {}, not an object: it is ignored", section.kind());
        if !warnings.contains(&warning) {
            warnings.push(warning);
        }
        return None;
    }
    Some(section)
}

fn place(node: Value<'_>, spot: Spot, profile: &Profile, warnings: &mut Vec<String>) -> Place {
    let node = &Fields::of(node);
    let layout = layout(profile, spot);
    let name = || match spot {
        Spot::Login => format!("providers.{}", profile.id),
        Spot::Entry(index) => format!("entry {index} of credential_pool.{}", profile.id),
    };
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
        state: if spot == Spot::Login { EntryState::Ok } else { entry_state(node) },
        last_error: if spot == Spot::Login { login_error(node) } else { entry_error(node) },
        access_token,
        refresh_token,
        token_type,
        expires_at_ms: expiry.at_ms,
        lifetime_ms: expiry.lifetime_ms,
        issued_at_ms: expiry.issued_at_ms,
    }
}

#[derive(Default)]
struct Expiry {
    at_ms: Option<u64>,
    lifetime_ms: Option<u64>,
    issued_at_ms: Option<u64>,
}

/// What the vault says comes first, for it was reckoned on our own clock; a JWT that expired well before that
/// shows that the vault speaks of another token (the reference does not keep it up to date).
fn expiry(node: &Fields<'_>, layout: &Layout, access_token: Option<&Secret>) -> Expiry {
    let claims = access_token.map(|token| jwt::times(token.expose())).unwrap_or_default();
    let issued_at_ms = claims.issued_at_ms.or_else(|| moment(node, &layout.issued_at, Unit::Rfc3339));
    let stored = layout.expiry.iter().find_map(|at| match at {
        ExpiryAt::Moment { at, unit } => {
            let at_ms = moment(node, at, *unit)?;
            Some((at_ms, issued_at_ms.map(|issued| at_ms.saturating_sub(issued))))
        }
        ExpiryAt::Lifetime { seconds, since } => {
            let lifetime_ms =
                node.pointer(seconds)?.as_millis().filter(|lifetime| (1..TIMELESS_MS).contains(lifetime))?;
            Some((moment(node, since, Unit::Rfc3339)?.saturating_add(lifetime_ms), Some(lifetime_ms)))
        }
    });
    let claimed_lifetime = claims.expires_at_ms.zip(claims.issued_at_ms).map(|(end, start)| end.saturating_sub(start));
    match (stored, claims.expires_at_ms) {
        (Some((at_ms, lifetime_ms)), Some(claimed)) if at_ms <= claimed.saturating_add(CLOCK_ALLOWANCE_MS) => {
            Expiry { at_ms: Some(at_ms), lifetime_ms, issued_at_ms }
        }
        (Some((at_ms, lifetime_ms)), None) => Expiry { at_ms: Some(at_ms), lifetime_ms, issued_at_ms },
        (_, claimed) => Expiry { at_ms: claimed, lifetime_ms: claimed_lifetime, issued_at_ms },
    }
}

fn moment(node: &Fields<'_>, pointer: &str, unit: Unit) -> Option<u64> {
    let value = node.pointer(pointer)?;
    match unit {
        Unit::Rfc3339 => time::from_rfc3339(&value.as_str()?),
        Unit::S => value.as_millis().filter(|at_ms| (1..TIMELESS_MS).contains(at_ms)),
        Unit::Ms => value.as_u64().filter(|at_ms| (1..TIMELESS_MS).contains(at_ms)),
    }
}

/// Seconds since 1970 or RFC 3339: the reference writes one and takes both.
fn loose_moment(node: &Fields<'_>, key: &str) -> Option<u64> {
    let pointer = format!("/{key}");
    moment(node, &pointer, Unit::S).or_else(|| moment(node, &pointer, Unit::Rfc3339))
}

fn entry_state(node: &Fields<'_>) -> EntryState {
    match node.get("last_status").and_then(|status| status.as_str()).as_deref() {
        Some("dead") => EntryState::Dead,
        Some("exhausted") => {
            let code = node.get("last_error_code").and_then(|code| code.as_u64());
            let rest_ms = if code == Some(401) { 300_000 } else { 3_600_000 };
            let until = loose_moment(node, "last_error_reset_at")
                .or_else(|| loose_moment(node, "last_status_at").map(|since| since.saturating_add(rest_ms)));
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
        at_ms: loose_moment(node, "last_status_at"),
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
        at_ms: moment(error, "/at", Unit::Rfc3339),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::Catalog;

    fn profile(id: &str) -> Profile {
        Catalog::new(None).unwrap().profile(id).unwrap().unwrap()
    }

    #[test]
    fn a_login_and_its_copy_are_one_credential_and_the_later_issued_leads() {
        let text = r#"{"providers":{"xai-oauth":{"tokens":{"access_token":"a1","refresh_token":"r1"},"last_refresh":"2026-01-01T00:00:00Z"}},
            "credential_pool":{"xai-oauth":[
                {"id":"aa","auth_type":"oauth","source":"manual:device_code","refresh_token":"r9","access_token":"a9","priority":0},
                {"id":"bb","auth_type":"oauth","source":"device_code","refresh_token":"r2","access_token":"a2","priority":1,"last_refresh":"2026-01-02T00:00:00Z"}]}}"#;
        let reading = read(open(text).unwrap(), &profile("xai-oauth"));
        let ids: Vec<_> = reading.credentials.iter().map(Credential::id).collect();
        assert_eq!(ids, ["aa", "login"]);
        assert_eq!(reading.credentials[1].leading().refresh_token, Some(Secret::from("r2")));
        assert!(reading.credentials[1].answers_to("bb"));
        assert!(reading.warnings.is_empty(), "{:?}", reading.warnings);
    }

    #[test]
    fn bad_rows_and_bad_fields_are_named_and_spoil_nothing() {
        let text = r#"{"providers":{"xai-oauth":7},"credential_pool":{"xai-oauth":[5,{"id":3,"access_token":9,"auth_type":"oauth"},
            {"id":"ok","auth_type":"api_key","access_token":"key"}]}}"#;
        let reading = read(open(text).unwrap(), &profile("xai-oauth"));
        let ids: Vec<_> = reading.credentials.iter().map(Credential::id).collect();
        assert_eq!(ids, ["#1", "ok"]);
        assert_eq!(reading.warnings.len(), 4, "{:?}", reading.warnings);
    }

    #[test]
    fn a_stored_lifetime_counts_unless_the_token_itself_ended_long_before() {
        let profile = profile("xai-oauth");
        let at = |expires_in: u64, access: &str| {
            let text = format!(
                r#"{{"providers":{{"xai-oauth":{{"tokens":{{"access_token":"{access}","expires_in":{expires_in}}},"last_refresh":"2026-07-20T10:00:00Z"}}}}}}"#
            );
            read(open(&text).unwrap(), &profile).credentials[0].leading().expires_at_ms
        };
        // The JWT says 2026-07-20T11:00:00.500Z.
        let token = "e30.eyJpYXQiOjE3ODQ1NDE2MDAsImV4cCI6MTc4NDU0NTIwMC41fQ.c2ln";
        assert_eq!(at(60, "opaque"), Some(1_784_541_660_000));
        assert_eq!(at(60, token), Some(1_784_541_660_000));
        assert_eq!(at(7_200, token), Some(1_784_545_200_500));
    }

    #[test]
    fn fresh_tokens_are_written_where_the_profile_says_and_a_stale_expiry_goes() {
        let text = r#"{"providers":{"nous":{"refresh_token" : "r1","access_token":"a1","expires_at":"x","agent_key_id":"k","scope":"s"}}}"#;
        let root = open(text).unwrap();
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
        write_tokens(&mut edits, node(root, "nous", Spot::Login).unwrap(), Spot::Login, &profile("nous"), &fresh)
            .unwrap();
        assert_eq!(
            edits.apply(text),
            r#"{"providers":{"nous":{"refresh_token" : "r2","access_token":"a2","expires_at":null,"agent_key_id":null,"scope":"s","agent_key":"a2","agent_key_obtained_at":"2026-07-20T10:00:00.000000+00:00","obtained_at":"2026-07-20T10:00:00.000000+00:00"}}}"#
        );
    }
}
