//! A credential joins a pool as the reference would have written it. Nothing else of the vault changes, and no account comes to
//! be there twice where its token says whose it is.

use lazaretto_macros::async_natively;

use crate::error::{Code, KeeperError};
use crate::json::{self, Kind, Value};
use crate::ports::{Event, Ports, Severity, Stored};
use crate::provider::{self, ClientSecret, Field, Profile, Source};
use crate::secret::Secret;
use crate::session::{Session, Snapshot, uneditable};
use crate::state::document;
use crate::state::fingerprint::Fingerprint;
use crate::state::ledger::{self, State};
use crate::state::sealed::{self, Sealed};
use crate::status::{self, CredentialStatus};
use crate::vault::edit::{Change, Edits};
use crate::vault::{self, CredentialKind, Fresh, Place, Spot, Vault};
use crate::{did_you_mean, jwt, sendable};

/// What a vault is before the first credential comes.
pub(crate) const NEW_VAULT: &str = "{\n  \"version\": 1,\n  \"providers\": {},\n  \"credential_pool\": {}\n}\n";
/// How often a vault that somebody else holds is waited for.
pub(crate) const LONGEST_WAITS: u32 = 6;
/// How an entry is doing, in the reference's words.
const STATUSES: [&str; 6] = ["status", "status_at", "error_code", "error_reason", "error_message", "error_reset_at"];
/// No token is longer.
const LONGEST: usize = 64 * 1024;
/// The claims that tell one account from another: who says so, who it is, and for OpenAI under which of his accounts.
const ACCOUNT: [&str; 3] = ["/iss", "/sub", "/https:~1~1api.openai.com~1auth/chatgpt_account_id"];

/// A credential to add.
#[derive(Clone, Debug)]
pub struct NewCredential {
    /// The vault's document name.
    pub vault: String,
    /// A profile's id or alias.
    pub provider: String,
    /// What a person calls it; none: what its token says.
    pub label: Option<String>,
    /// `oauth` or `api-key`; none: what it looks like.
    pub kind: Option<String>,
    /// The access token, or the key.
    pub access_token: Secret,
    /// The refresh token.
    pub refresh_token: Option<Secret>,
    /// How long the access token lives from now on, in seconds.
    pub expires_in_s: Option<u64>,
    /// What else is told of it.
    pub more: More,
}

/// What else may be told of a credential that is added. What the profile says itself is compared with it, and not kept.
#[derive(Clone, Debug, Default)]
pub struct More {
    /// What was granted.
    pub scope: Option<String>,
    /// The token type of the access token.
    pub token_type: Option<String>,
    /// Who logged in, as the server says it.
    pub id_token: Option<Secret>,
    /// The client that the tokens were issued to.
    pub client_id: Option<String>,
    /// That client's secret.
    pub client_secret: Option<Secret>,
    /// Where they are refreshed.
    pub token_endpoint: Option<String>,
    /// Whether it takes the place of the entry that has its label.
    pub replace: bool,
}

/// One that is good to be added.
struct Adding<'a> {
    profile: &'a Profile,
    label: Option<&'a str>,
    kind: CredentialKind,
    fresh: Fresh,
    /// For an entry of its own.
    id: String,
    /// It may have been stored already.
    is_tried: bool,
    /// An entry of its label gives way to it.
    replaces: bool,
    /// It is nowhere else: a person has just logged in.
    arrives: bool,
}

enum Plan {
    /// The vault's text with it, and the id of its entry.
    Write(String, String),
    /// It is there.
    Done(String),
}

/// A vault's text, opened to have a credential put in: what another tool keeps in its own file is that tool's to log in.
pub(crate) fn open_ours<'a, P: Ports>(
    session: &Session<P>,
    vault: &str,
    text: &'a str,
) -> Result<Vault<'a>, KeeperError> {
    let vault = session.opened(vault, text)?;
    let (Some(tool), Some(hint)) = (vault.tool(), vault.login_hint()) else { return Ok(vault) };
    let what = format!("this is the own file of {tool}, and nothing is added to it");
    Err(KeeperError::new(Code::BadRequest, what).run(hint))
}

/// Adds a credential to a provider's pool.
#[async_natively]
pub(crate) async fn add<P: Ports>(session: &Session<P>, new: &NewCredential) -> Result<CredentialStatus, KeeperError> {
    let profile = session.profile(&new.provider).await?;
    let kind = kind(new).map_err(|what| bad(&profile, &what))?;
    if kind == CredentialKind::OAuth && !profile.has_endpoint() {
        did_you_mean::check_known(session, &profile.id, &new.provider, None)?;
        let what = "no profile says where it would be refreshed";
        let error = KeeperError::new(Code::UnknownProvider, format!("{}: {what}", profile.id));
        return Err(error);
    }
    if kind == CredentialKind::OAuth {
        is_of_profile(&profile, &new.more)?;
    }
    add_entry(session, &profile, kind, new, false).await
}

/// Before a person goes to any trouble: whether a login of this label can become an entry.
#[async_natively]
pub(crate) async fn check_can_add<P: Ports>(
    session: &Session<P>,
    vault: &str,
    profile: &Profile,
    label: &str,
) -> Result<(), KeeperError> {
    let token = || Secret::new("-");
    let new = NewCredential {
        vault: vault.to_owned(),
        provider: profile.id.clone(),
        label: Some(label.to_owned()),
        kind: None,
        access_token: token(),
        refresh_token: Some(token()),
        expires_in_s: None,
        more: More { replace: true, ..More::default() },
    };
    let adding = new_entry(session, profile, CredentialKind::OAuth, &new, true);
    let snapshot = maybe_vault(session, vault).await?;
    let text = snapshot.as_ref().map_or(NEW_VAULT, |snapshot| snapshot.text());
    plan(session, vault, text, &adding, &Sealed::default()).map(drop)
}

fn new_entry<'a, P: Ports>(
    session: &Session<P>,
    profile: &'a Profile,
    kind: CredentialKind,
    new: &'a NewCredential,
    arrives: bool,
) -> Adding<'a> {
    Adding {
        profile,
        label: new.label.as_deref().filter(|label| !label.is_empty()),
        kind,
        fresh: Fresh {
            access_token: new.access_token.clone(),
            refresh_token: new.refresh_token.clone().filter(|token| !token.is_empty()),
            expires_in_s: new.expires_in_s,
            scope: new.more.scope.clone(),
            token_type: new.more.token_type.clone(),
            id_token: new.more.id_token.clone(),
            received_at_ms: session.ports.wall_ms(),
        },
        id: id(session.ports.random_u64()),
        is_tried: false,
        replaces: new.more.replace,
        arrives,
    }
}

/// Stores an entry. Where it `arrives`, whoever holds the vault is waited for.
#[async_natively]
pub(crate) async fn add_entry<P: Ports>(
    session: &Session<P>,
    profile: &Profile,
    kind: CredentialKind,
    new: &NewCredential,
    arrives: bool,
) -> Result<CredentialStatus, KeeperError> {
    let mut waits = if arrives { LONGEST_WAITS } else { 0 };
    let mut adding = new_entry(session, profile, kind, new, arrives);
    // It only tells whose an emptied entry was.
    let sealed = sealed::load(&session.ports, &new.vault).await.unwrap_or_default();
    // What cannot be added at all shall lift no tombstone.
    let snapshot = maybe_vault(session, &new.vault).await?;
    plan(session, &new.vault, snapshot.as_ref().map_or(NEW_VAULT, |snapshot| snapshot.text()), &adding, &sealed)?;
    if let Some(token) = &adding.fresh.refresh_token {
        allow_to_send(session, &new.vault, profile, token).await?;
    }
    let stored = document::until_stored(async || {
        let snapshot = maybe_vault(session, &new.vault).await?;
        let text = snapshot.as_ref().map_or(NEW_VAULT, |snapshot| snapshot.text());
        let (edited, id) = match plan(session, &new.vault, text, &adding, &sealed)? {
            Plan::Done(id) => return Ok(Some(id)),
            Plan::Write(edited, id) => (Secret::new(edited), id),
        };
        let version = snapshot.as_ref().map(|snapshot| &snapshot.version);
        match session.ports.store(&new.vault, edited.expose(), version, true, None).await {
            Ok(Stored::Done(_)) => {
                tell_person(session, "added", Severity::Info, profile, &id, "added by a person");
                Ok(Some(id))
            }
            // Making the plan once more finds it there, if it is.
            Ok(Stored::Stale(_) | Stored::Unknown) => {
                adding.is_tried = true;
                Ok(None)
            }
            Err(error) if error.code == "unavailable" && waits > 0 => {
                waits -= 1;
                Ok(None)
            }
            Err(error) => Err(KeeperError::storage(&new.vault, &error)),
        }
    });
    let id = stored.await?.ok_or_else(|| document::busy("the vault").after(1))?;
    status::status_of(session, &new.vault, profile, &id).await
}

/// The vault as it is now; none if there is none yet.
#[async_natively]
pub(crate) async fn maybe_vault<P: Ports>(
    session: &Session<P>,
    vault: &str,
) -> Result<Option<std::rc::Rc<Snapshot>>, KeeperError> {
    match session.vault(vault).await {
        Ok(snapshot) => Ok(Some(snapshot)),
        Err(error) if error.code == Code::NoCredential => Ok(None),
        Err(error) => Err(error),
    }
}

/// A tombstone ends when a person brings the token himself, and so does a pause. That it was spent is no opinion, and stays.
#[async_natively]
async fn allow_to_send<P: Ports>(
    session: &Session<P>,
    vault: &str,
    profile: &Profile,
    token: &Secret,
) -> Result<(), KeeperError> {
    let token = Fingerprint::of(token.expose());
    let read = ledger::load(&session.ports, vault).await?;
    let known = read.ledger.tokens.get(&token).map(|record| (record.state.clone(), record.pause.is_some()));
    read.ledger.understood()?;
    match known {
        Some((State::Spent { .. }, _)) => {
            let what = "this refresh token was refreshed before, and the server gave another for it: log in anew";
            return Err(bad(profile, what));
        }
        Some((State::Dead(_), _) | (_, true)) => {}
        None | Some((State::Live, false)) => return Ok(()),
    }
    ledger::update(&session.ports, vault, true, None, &|ledger| {
        ledger.allow_again(&token);
    })
    .await?;
    Ok(())
}

fn plan<P: Ports>(
    session: &Session<P>,
    vault: &str,
    text: &str,
    adding: &Adding<'_>,
    sealed: &Sealed,
) -> Result<Plan, KeeperError> {
    let (profile, fresh) = (adding.profile, &adding.fresh);
    let opened = open_ours(session, vault, text)?;
    let root = opened.root();
    let places = opened.places(profile, &mut Vec::new());
    if adding.is_tried && places.iter().any(|place| place.id == adding.id && holds(place, fresh)) {
        return Ok(Plan::Done(adding.id.clone()));
    }
    let pool = root.pointer(&json::pointer(&["credential_pool", &profile.id]));
    if let Some(pool) = pool.filter(|pool| pool.kind() != Kind::Array) {
        let what = format!("`credential_pool.{}` is {}, not a list", profile.id, pool.kind());
        return Err(KeeperError::new(Code::CorruptVault, format!("{what}: mend it by hand")));
    }
    let account = account(fresh.access_token.expose());
    let is_same = |place: &Place| {
        if place.spot == Spot::Login || vault::is_seeded(place, profile) || place.kind != adding.kind {
            return false;
        }
        let is_its = |access: &Option<Secret>| {
            account.is_some() && access.as_ref().and_then(|token| self::account(token.expose())) == account
        };
        holds(place, fresh) || is_its(&place.access_token) || {
            // A quarantine took its token out; whose it was can be told from that.
            let mut of_it = sealed.quarantined.values();
            let its = of_it.find(|entry| entry.provider == profile.id && entry.credential == place.id);
            place.is_empty() && its.is_some_and(|entry| is_its(&entry.access_token))
        }
    };
    if let Some(place) = places.iter().find(|place| place.spot == Spot::Login && holds(place, fresh)) {
        let what = format!("{}: this is the token of `{}` already", profile.id, place.id);
        return Err(KeeperError::new(Code::NothingToDo, what).of(&profile.id, &place.id));
    }
    let same = places.iter().find(|place| is_same(place));
    let same = if adding.replaces { given_way(adding, &places, same)? } else { same };
    if let Some(label) = adding.label {
        let taken = |place: &&Place| place.id == label || place.label.eq_ignore_ascii_case(label);
        let others = places.iter().filter(|place| same.is_none_or(|same| same.spot != place.spot));
        if let Some(other) = others.clone().find(taken) {
            let what = format!(
                "{} is the name of `{}` already: choose another label, or replace it",
                json::quote(label),
                other.id
            );
            return Err(bad(profile, &what));
        }
    }
    let mut edits = Edits::default();
    let edited = match same {
        Some(place) if adding.kind == CredentialKind::ApiKey && adding.replaces => {
            if holds(place, fresh) {
                return Ok(Plan::Done(place.id.clone()));
            }
            let Some(node) = opened.node(&profile.id, place.spot) else {
                return Err(KeeperError::new(Code::Internal, "an entry is not where it was read"));
            };
            edits.members(node, &replaced_key(profile, fresh)).map(|()| place.id.clone())
        }
        Some(place) if adding.kind == CredentialKind::ApiKey => {
            let what = format!("{}: this key is there already, as `{}`", profile.id, place.id);
            return Err(KeeperError::new(Code::NothingToDo, what).of(&profile.id, &place.id));
        }
        Some(place) => {
            let Some(node) = opened.node(&profile.id, place.spot) else {
                return Err(KeeperError::new(Code::Internal, "an entry is not where it was read"));
            };
            let renamed = adding.label.filter(|label| *label != place.label);
            let label = renamed.map(|label| ("/label".to_owned(), Change::Set(json::quote(label))));
            opened
                .write_tokens(&mut edits, node, place.spot, profile, fresh)
                .and_then(|()| edits.members(node, label.as_slice()))
                .map(|()| place.id.clone())
        }
        None => {
            let id = free_id(&adding.id, &places);
            let entry = entry(adding, &id, &places).map_err(|error| uneditable(&error))?;
            match pool {
                Some(pool) => {
                    edits.push_item(pool, &entry);
                    Ok(id)
                }
                None => {
                    let pool = (
                        json::pointer(&["credential_pool", &profile.id]),
                        Change::Set(format!("[\n      {entry}\n    ]")),
                    );
                    edits.members(root, &[pool]).map(|()| id)
                }
            }
        }
    };
    let id = edited.map_err(|error| uneditable(&error))?;
    Ok(Plan::Write(edits.apply(text), id))
}

/// What a person did, for the log.
pub(crate) fn tell_person<P: Ports>(
    session: &Session<P>,
    name: &'static str,
    severity: Severity,
    profile: &Profile,
    credential: &str,
    what: &str,
) {
    session.emit(Event {
        name,
        severity,
        at_ms: session.ports.wall_ms(),
        provider: profile.id.clone(),
        credential: Some(credential.to_owned()),
        message: format!("{} ({credential}): {what}", profile.id),
        attributes: Vec::new(),
    });
}

/// That a person asked for what cannot be.
pub(crate) fn bad(profile: &Profile, what: &str) -> KeeperError {
    let mut error = KeeperError::new(Code::BadRequest, format!("{}: {what}", profile.id));
    error.provider = Some(profile.id.clone());
    error
}

/// What is added, if it can be. What is wrong with a secret is said without showing any of it.
fn kind(new: &NewCredential) -> Result<CredentialKind, String> {
    let is_word = |token: &Secret| {
        token.expose().len() <= LONGEST && !token.expose().chars().any(|char| char <= ' ' || char == '\x7f')
    };
    let refresh_token = new.refresh_token.as_ref().filter(|token| !token.is_empty());
    let kind = match new.kind.as_deref() {
        Some("oauth") => CredentialKind::OAuth,
        Some("api-key") if refresh_token.is_some() => return Err("a key has no refresh token".to_owned()),
        Some("api-key") => CredentialKind::ApiKey,
        Some(other) => return Err(format!("a credential is `oauth` or `api-key`, and not {}", json::quote(other))),
        None if refresh_token.is_some() || new.expires_in_s.is_some() => CredentialKind::OAuth,
        // As the reference has it, whatever anybody says.
        None if new.access_token.expose().starts_with("sk-ant-oat") => CredentialKind::OAuth,
        None => CredentialKind::ApiKey,
    };
    if new.access_token.is_empty() && refresh_token.is_none() {
        return Err("there is no token and no key in what was given".to_owned());
    }
    if !is_word(&new.access_token) || !refresh_token.is_none_or(is_word) {
        return Err("a token or key is one word: what was given has white space in it, or is too long".to_owned());
    }
    if !new.access_token.is_empty() && !sendable::is_access_token(new.access_token.expose()) {
        return Err("no request can carry what was given: an access token or key is visible ASCII".to_owned());
    }
    Ok(kind)
}

/// That what was told of the tokens is what the profile says: with another client they would be refused, and to another server they
/// must not go.
fn is_of_profile(profile: &Profile, more: &More) -> Result<(), KeeperError> {
    let refused = |what: String| {
        let mut error = KeeperError::new(Code::BadProfile, format!("{}: {what}", profile.id));
        error.provider = Some(profile.id.clone());
        Err(error)
    };
    if let Some(endpoint) = &more.token_endpoint {
        let is_its = provider::origin(endpoint).is_some_and(|origin| profile.allowed_origins().contains(&origin));
        if !is_its {
            return refused(format!(
                "these tokens are of {}, and not of {}",
                json::quote(endpoint),
                profile.token_endpoint
            ));
        }
    }
    if let Some(client) = more.client_id.as_ref().filter(|client| **client != profile.client_id) {
        let of_profile = match profile.client_id.as_str() {
            "" => "and the profile names no client".to_owned(),
            other => format!("and the profile is of the client {}", json::quote(other)),
        };
        let client = json::quote(client);
        return refused(format!(
            "these tokens were issued to the client {client}, {of_profile}: it should say \"client_id\": {client} in providers.json"
        ));
    }
    let is_known = match (&more.client_secret, &profile.client_secret) {
        (None, _) | (Some(_), Some(ClientSecret::Elsewhere { .. })) => true,
        (Some(secret), Some(ClientSecret::Written(known))) => secret == known,
        (Some(_), None) => false,
    };
    if !is_known {
        return refused(
            "a client's secret is not kept with its tokens: the profile should name it in providers.json, as \
             `client_secret_file` or `client_secret`"
                .to_owned(),
        );
    }
    Ok(())
}

/// The entry that a new credential takes the place of: the one of its label, or of its account, or the only one of its kind.
fn given_way<'a>(
    adding: &Adding<'_>,
    places: &'a [Place],
    same: Option<&'a Place>,
) -> Result<Option<&'a Place>, KeeperError> {
    let profile = adding.profile;
    let is_own = |place: &&Place| place.spot != Spot::Login && !vault::is_seeded(place, profile);
    let mut own = places.iter().filter(is_own);
    let named = match adding.label {
        Some(label) => own.find(|place| place.id == label || place.label.eq_ignore_ascii_case(label)),
        None if same.is_some() => None,
        None => {
            let mut of_kind = own.filter(|place| place.kind == adding.kind);
            match (of_kind.next(), of_kind.next()) {
                (Some(_), Some(_)) => return Err(bad(profile, "which of several is to be replaced? Name its label")),
                (only, _) => only,
            }
        }
    };
    match (named, same) {
        (Some(named), _) if named.kind != adding.kind => {
            let what = format!("`{}` is of the other kind, a key or a login: remove it first", named.id);
            Err(bad(profile, &what))
        }
        (Some(named), Some(same)) if named.spot != same.spot && !adding.arrives => {
            let what = format!("what was given is there already, as `{}`", same.id);
            Err(bad(profile, &what))
        }
        _ => Ok(named.or(same)),
    }
}

/// A key in place of another one, of which nothing is known yet.
fn replaced_key(profile: &Profile, fresh: &Fresh) -> Vec<(String, Change)> {
    let mut changes = vec![(profile.entry.access_token.clone(), Change::Set(json::quote(fresh.access_token.expose())))];
    let statuses = STATUSES.iter().map(|status| (format!("/last_{status}"), Change::Set("null".to_owned())));
    changes.extend(statuses);
    changes
}

/// Whether a place holds these very tokens.
fn holds(place: &Place, fresh: &Fresh) -> bool {
    match &fresh.refresh_token {
        Some(token) => place.refresh_token.as_ref() == Some(token),
        None => place.refresh_token.is_none() && place.access_token.as_ref() == Some(&fresh.access_token),
    }
}

/// Whose token it is; none if it does not say. Two that say the same are of one account.
pub(crate) fn account(token: &str) -> Option<[Option<String>; 3]> {
    let text = jwt::claims(token)?;
    let claims = json::check(&text).ok()?;
    let account = ACCOUNT.map(|pointer| claims.pointer(pointer).and_then(|claim| claim.as_str()));
    account[1].as_ref().is_some_and(|subject| !subject.is_empty()).then_some(account)
}

/// Six hex digits, as the reference has them.
fn id(random: u64) -> String {
    let digit = |at: u32| char::from_digit((random >> (4 * at)) as u32 & 15, 16);
    (0..6).filter_map(digit).collect()
}

/// An id that no entry has.
fn free_id(wanted: &str, places: &[Place]) -> String {
    let mut number = u64::from_str_radix(wanted, 16).unwrap_or_default();
    let mut wanted = wanted.to_owned();
    while places.iter().any(|place| place.id == wanted) {
        number += 1;
        wanted = id(number);
    }
    wanted
}

/// A new entry, as the reference spells one: its members in that order.
fn entry(adding: &Adding<'_>, id: &str, places: &[Place]) -> Result<String, crate::vault::edit::EditError> {
    let (profile, fresh) = (adding.profile, &adding.fresh);
    let of_pool = places.iter().filter(|place| place.spot != Spot::Login);
    let (auth_type, source, numbered) = match adding.kind {
        CredentialKind::OAuth => {
            ("oauth", profile.authorization.manual_source.as_str(), format!("{}-oauth-", profile.id))
        }
        CredentialKind::ApiKey => ("api_key", "manual", "api-key-".to_owned()),
    };
    // Some of the later numbers are taken where earlier entries were removed.
    let numbers = of_pool.clone().count() + 1..;
    let mut numbered = numbers.map(|number| format!("{numbered}{number}"));
    let numbered = numbered.find(|label| !places.iter().any(|place| place.label == *label)).unwrap_or_default();
    let label = adding.label.map(str::to_owned).or_else(|| jwt::owner(fresh.access_token.expose())).unwrap_or(numbered);
    let priority = of_pool.map(|place| place.priority.saturating_add(1)).max().unwrap_or(0);
    let mut members: Vec<(String, Change)> = Vec::new();
    let mut set = |pointer: &str, value: String| members.push((pointer.to_owned(), Change::Set(value)));
    set("/label", json::quote(&label));
    set("/auth_type", json::quote(auth_type));
    set("/priority", priority.to_string());
    set("/source", json::quote(source));
    let layout = &profile.entry;
    match adding.kind {
        CredentialKind::ApiKey => set(&layout.access_token, json::quote(fresh.access_token.expose())),
        CredentialKind::OAuth => {
            for (pointer, source) in layout.write.iter() {
                if let Source::Field(field) = source
                    && let Some(value) = fresh.field(*field)
                {
                    set(pointer, value);
                }
            }
        }
    }
    for (name, field) in [("/token_type", Field::TokenType), ("/scope", Field::Scope), ("/id_token", Field::IdToken)] {
        if let Some(value) = fresh.field(field).filter(|_| !layout.write.contains_key(name)) {
            set(name, value);
        }
    }
    for status in STATUSES {
        set(&format!("/last_{status}"), "null".to_owned());
    }
    if let Some(url) = profile.base_url.clone().or_else(|| provider::base_url(&profile.id)) {
        set("/base_url", json::quote(&url));
    }
    set("/request_count", "0".to_owned());
    // On lines of its own, as the reference has it; what follows is laid out like the first member.
    let start = format!("{{\n        \"id\": {}\n      }}", json::quote(id));
    let mut edits = Edits::default();
    edits.members(Value::trusted(&start), &members)?;
    Ok(edits.apply(&start))
}
