//! New tokens become the provider's own login, in place of what was there, and in every copy of it.
//!
//! A refresh of the old login that is on its way finds a token it does not know, issued after its own, and gives way: see
//! `landing`.

use std::collections::BTreeMap;

use lazaretto_macros::async_natively;

use crate::admin::add::{self, LONGEST_WAITS, More, NEW_VAULT, NewCredential};
use crate::admin::remove;
use crate::classify::{RefreshToken, Tokens};
use crate::error::{Code, KeeperError};
use crate::json::{self, Kind, Value};
use crate::ports::{Ports, Severity, Stored};
use crate::protocol::request;
use crate::provider::{Field, Profile, Source};
use crate::secret::Secret;
use crate::session::{Session, uneditable};
use crate::state::fingerprint::Fingerprint;
use crate::state::{document, ledger};
use crate::status::{self, CredentialStatus};
use crate::vault::edit::{Change, EditError, Edits};
use crate::vault::{CredentialKind, Fresh, LOGIN, Vault, is_seeded};

use super::With;

/// Stores what a login brought. Whoever holds the vault is waited for: these tokens are nowhere else.
#[async_natively]
pub(crate) async fn store<P: Ports>(
    session: &Session<P>,
    state: &super::LoginState,
    with: &With,
    tokens: Option<Tokens>,
) -> Result<CredentialStatus, KeeperError> {
    let (vault, profile) = (state.vault.as_str(), &with.profile);
    let Some(tokens) = tokens.map(|tokens| request::received(profile, tokens)) else {
        return Err(super::refused(with));
    };
    let is_unusable = tokens.refresh_token == RefreshToken::Unusable;
    let fresh = request::fresh(tokens, session.ports.wall_ms());
    let lost = |error: KeeperError| {
        let what = format!("the login was approved, and could not be stored: {}", error.message);
        with.error(Code::Storage, &what)
    };
    let lacks_refresh_token = is_unusable || fresh.refresh_token.is_none() && profile.issues_refresh_token;
    if let Some(token) = &fresh.refresh_token {
        allow_new_token(session, vault, token).await.map_err(lost)?;
    }
    if let Some(label) = &state.label {
        let status = store_entry(session, vault, with, fresh, label).await.map_err(lost)?;
        tell_stored(session, profile, &status.credential, lacks_refresh_token, is_unusable);
        return Ok(status);
    }
    store_in_login(session, vault, with, &fresh).await.map_err(lost)?;
    let copies = session.vault(vault).await.and_then(|snapshot| snapshot.reading(profile)).ok();
    let copies = copies.iter().flat_map(|reading| &reading.credentials).filter(|credential| credential.is_login());
    let ids = copies.flat_map(|credential| &credential.places).map(|place| place.id.clone());
    let ids: Vec<String> = ids.chain([LOGIN.to_owned()]).collect();
    // What was kept of the login before would only be put over this one.
    remove::wipe_sealed(session, vault, profile, &ids).await?;
    tell_stored(session, profile, LOGIN, lacks_refresh_token, is_unusable);
    status::status_of(session, vault, profile, LOGIN).await
}

fn tell_stored<P: Ports>(
    session: &Session<P>,
    profile: &Profile,
    credential: &str,
    lacks_refresh_token: bool,
    is_unusable: bool,
) {
    add::tell_person(session, "logged-in", Severity::Info, profile, credential, "a person logged in");
    if lacks_refresh_token {
        let what = if is_unusable {
            "the server gave a refresh token that cannot be used, so this login ends with its access token"
        } else {
            "the server gave no refresh token, so this login ends with its access token. Many servers give one only for a scope \
             (`offline_access`), and some only with `prompt=consent`: `authorization.scope` and `authorization.parameters`"
        };
        add::tell_person(session, "missing-refresh-token", Severity::Warning, profile, credential, what);
    }
}

/// Stores a login as an entry of the pool: another account of the provider's.
#[async_natively]
async fn store_entry<P: Ports>(
    session: &Session<P>,
    vault: &str,
    with: &With,
    fresh: Fresh,
    label: &str,
) -> Result<CredentialStatus, KeeperError> {
    let new = NewCredential {
        vault: vault.to_owned(),
        provider: with.profile.id.clone(),
        label: Some(label.to_owned()),
        kind: Some("oauth".to_owned()),
        access_token: fresh.access_token,
        refresh_token: fresh.refresh_token,
        expires_in_s: fresh.expires_in_s,
        more: More {
            scope: fresh.scope,
            token_type: fresh.token_type,
            id_token: fresh.id_token,
            replace: true,
            ..More::default()
        },
    };
    add::add_entry(session, &with.profile, CredentialKind::OAuth, &new, true).await
}

/// Before a person goes to any trouble: the ledger can be read, and the vault be edited where the tokens must go.
#[async_natively]
pub(crate) async fn check_can_store<P: Ports>(
    session: &Session<P>,
    vault: &str,
    with: &With,
) -> Result<(), KeeperError> {
    ledger::load(&session.ports, vault).await?;
    let token = || Secret::new("-");
    let fresh = Fresh {
        access_token: token(),
        refresh_token: Some(token()),
        expires_in_s: None,
        scope: None,
        token_type: None,
        id_token: None,
        received_at_ms: session.ports.wall_ms(),
    };
    let snapshot = add::maybe_vault(session, vault).await?;
    let text = snapshot.as_ref().map_or(NEW_VAULT, |snapshot| snapshot.text());
    let opened = add::open_ours(session, vault, text)?;
    with_login(text, &opened, with, &fresh).map_err(|error| uneditable(&error))?;
    Ok(())
}

/// What the server gives is good, whatever was known of it.
#[async_natively]
async fn allow_new_token<P: Ports>(session: &Session<P>, vault: &str, token: &Secret) -> Result<(), KeeperError> {
    let token = Fingerprint::of(token.expose());
    let ledger = ledger::load(&session.ports, vault).await?.ledger;
    let is_known = ledger.tokens.get(&token).is_some();
    ledger.understood()?;
    if is_known {
        ledger::update(&session.ports, vault, true, None, &|ledger| {
            ledger.allow_again(&token);
        })
        .await?;
    }
    Ok(())
}

#[async_natively]
async fn store_in_login<P: Ports>(
    session: &Session<P>,
    vault: &str,
    with: &With,
    fresh: &Fresh,
) -> Result<(), KeeperError> {
    let mut waits = 0;
    let stored = document::until_stored(async || {
        let snapshot = add::maybe_vault(session, vault).await?;
        let text = snapshot.as_ref().map_or(NEW_VAULT, |snapshot| snapshot.text());
        let opened = add::open_ours(session, vault, text)?;
        let edited = with_login(text, &opened, with, fresh).map_err(|error| uneditable(&error))?;
        let edited = Secret::new(edited);
        let version = snapshot.as_ref().map(|snapshot| &snapshot.version);
        match session.ports.store(vault, edited.expose(), version, true, None).await {
            Ok(Stored::Done(_)) => Ok(Some(())),
            // Making the edit once more comes to the same.
            Ok(Stored::Stale(_) | Stored::Unknown) => Ok(None),
            Err(error) if error.code == "unavailable" && waits < LONGEST_WAITS => {
                waits += 1;
                Ok(None)
            }
            Err(error) => Err(KeeperError::storage(vault, &error)),
        }
    });
    stored.await?.ok_or_else(|| document::busy("the vault"))
}

/// The vault's text with the tokens as its provider's login.
fn with_login(text: &str, vault: &Vault<'_>, with: &With, fresh: &Fresh) -> Result<String, EditError> {
    let root = vault.root();
    let profile: &Profile = &with.profile;
    let at = json::pointer(&["providers", &profile.id]);
    let node = root.pointer(&at).filter(|login| login.kind() != Kind::Null);
    let changes = changes(node, with, fresh);
    let mut edits = Edits::default();
    match node {
        Some(node) if node.kind() == Kind::Object => edits.members(node, &over_nulls(node, changes)?)?,
        Some(_) => return Err(EditError::NotAnObject(format!("providers/{}", profile.id))),
        None => edits.members(root, &[(at, Change::Set(object(changes)?))])?,
    }
    for place in vault.places(profile, &mut Vec::new()) {
        if let (true, Some(node)) = (is_seeded(&place, profile), vault.node(&profile.id, place.spot)) {
            vault.write_tokens(&mut edits, node, place.spot, profile, fresh)?;
        }
    }
    lift_suppression(&mut edits, root, profile)?;
    Ok(edits.apply(text))
}

/// An object of these members, spelled.
fn object(members: impl IntoIterator<Item = (String, Change)>) -> Result<String, EditError> {
    // One by one: what is missing on the way is made by the first, and found by the next.
    let mut object = "{}".to_owned();
    for member in members {
        let mut edits = Edits::default();
        edits.members(Value::trusted(&object), &[member])?;
        object = edits.apply(&object);
    }
    Ok(object)
}

/// The changes, with a new object for what goes into one that somebody set to null.
fn over_nulls(node: Value<'_>, changes: Vec<(String, Change)>) -> Result<Vec<(String, Change)>, EditError> {
    let is_null = |key: &str| node.get(key).is_some_and(|value| value.kind() == Kind::Null);
    let mut kept = Vec::new();
    let mut inside: BTreeMap<String, Vec<(String, Change)>> = BTreeMap::new();
    for (pointer, change) in changes {
        let path: Vec<String> = json::tokens(&pointer).collect();
        match path.as_slice() {
            [first, deeper @ ..] if !deeper.is_empty() && is_null(first) => {
                let deeper: Vec<&str> = deeper.iter().map(String::as_str).collect();
                inside.entry(first.clone()).or_default().push((json::pointer(&deeper), change));
            }
            _ => kept.push((pointer, change)),
        }
    }
    for (key, members) in inside.iter() {
        kept.push((json::pointer(&[key]), Change::Set(object(members.iter().cloned())?)));
    }
    Ok(kept)
}

/// What a new login changes in what is there; nothing of the old one's tokens stays.
fn changes(node: Option<Value<'_>>, with: &With, fresh: &Fresh) -> Vec<(String, Change)> {
    let profile: &Profile = &with.profile;
    let mut changes: Vec<(String, Change)> = Vec::new();
    let mut set = |pointer: &str, change: Change| changes.push((pointer.to_owned(), change));
    for (pointer, source) in profile.login.write.iter() {
        match source {
            Source::Constant(value) => set(pointer, Change::Set(value.clone())),
            Source::Field(field) => match fresh.field(*field) {
                Some(value) => set(pointer, Change::Set(value)),
                // Granted as it was asked for (RFC 6749 section 5.1).
                None if *field == Field::Scope => {
                    set(pointer, Change::Set(json::quote(&profile.authorization.scope)));
                }
                None => set(pointer, Change::Remove),
            },
        }
    }
    if let (Some(pointer), Some(token_type)) = (&profile.login.token_type, fresh.field(Field::TokenType))
        && !profile.login.write.contains_key(pointer.as_str())
    {
        set(pointer, Change::Set(token_type));
    }
    for (pointer, value) in profile.authorization.login.iter() {
        set(pointer, Change::Set(value.clone()));
    }
    // Whom it must be refreshed as, and where.
    let names = [(&profile.client_id_in_login, &with.to.client), (&profile.token_endpoint_in_login, &with.to.endpoint)];
    for (pointer, value) in names {
        if let Some(pointer) =
            pointer.as_deref().filter(|pointer| node.is_none_or(|node| node.pointer(pointer).is_none()))
        {
            set(pointer, Change::Set(json::quote(value)));
        }
    }
    set("/last_auth_error", Change::Remove);
    changes
}

/// A person who logs in wants the login's copies back.
fn lift_suppression(edits: &mut Edits, root: Value<'_>, profile: &Profile) -> Result<(), EditError> {
    let path = json::pointer(&["suppressed_sources", &profile.id]);
    let Some(list) = root.pointer(&path).filter(|list| list.kind() == Kind::Array) else { return Ok(()) };
    let is_its = |item: &Value<'_>| profile.seeded_sources.iter().any(|source| item.is_str(source));
    let lifted: Vec<usize> = list.items().enumerate().filter(|(_, item)| is_its(item)).map(|(at, _)| at).collect();
    if !lifted.is_empty() && lifted.len() == list.items().count() {
        return edits.members(root, &[(path, Change::Remove)]);
    }
    edits.remove_items(list, &lifted);
    Ok(())
}
