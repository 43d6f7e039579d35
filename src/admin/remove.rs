//! A person takes a credential out: everything of its own grant goes, its sealed copy included, and
//! nothing of any other.

use lazaretto_macros::async_natively;

use crate::admin::add::{self, bad};
use crate::did_you_mean;
use crate::error::KeeperError;
use crate::json::{self, Kind};
use crate::lookup::{self, no_credential};
use crate::ports::{Lease, Ports, Severity};
use crate::protocol::quarantine::erase;
use crate::provider::Profile;
use crate::session::{Session, uneditable};
use crate::state::sealed;
use crate::vault::edit::{Change, EditError, Edits};
use crate::vault::{Credential, LOGIN, Place, Spot, Vault};

/// Removes a credential and its sealed copy. Nothing is sent.
#[async_natively]
pub(crate) async fn remove<P: Ports>(
    session: &Session<P>,
    vault: &str,
    provider: &str,
    credential: Option<&str>,
) -> Result<(), KeeperError> {
    let (profile, reading) = lookup::profile_in(session, vault, provider).await?;
    let sealed = sealed::load(&session.ports, vault).await?;
    let mut of_provider = sealed.quarantined.values().filter(|entry| entry.provider == profile.id);
    let mut only_sealed = |name: &str| of_provider.any(|entry| entry.credential == name);
    let ids = match meant(&reading.credentials, &profile, credential) {
        Ok(found) => {
            remove_credential(session, vault, &profile, found, None).await?;
            let places = found.places.iter().map(|place| place.id.clone());
            places.chain([found.id().to_owned()]).collect::<Vec<_>>()
        }
        // Its quarantine took the whole entry out, and its tokens are still sealed.
        Err(error) => match credential {
            Some(name) if only_sealed(name) => vec![name.to_owned()],
            _ => return Err(error),
        },
    };
    wipe_sealed(session, vault, &profile, &ids).await?;
    let id = ids.last().map_or(LOGIN, String::as_str);
    add::tell_person(session, "removed", Severity::Info, &profile, id, "removed by a person");
    Ok(())
}

/// Takes a credential out of the vault, whatever became of its tokens since it was found.
#[async_natively]
pub(crate) async fn remove_credential<P: Ports>(
    session: &Session<P>,
    vault: &str,
    profile: &Profile,
    found: &Credential,
    lease: Option<&Lease>,
) -> Result<(), KeeperError> {
    let take_away = |text: &str| without_credential(session, vault, text, profile, found);
    session.edit_vault(vault, lease, async |text| take_away(text)).await
}

fn without_credential<P: Ports>(
    session: &Session<P>,
    vault: &str,
    text: &str,
    profile: &Profile,
    found: &Credential,
) -> Result<Option<String>, KeeperError> {
    let vault = session.opened(vault, text)?;
    let reading = vault.read(profile);
    let now = reading.credentials.iter().find(|credential| credential.id() == found.id());
    let Some(now) = now else { return Ok(None) };
    // An entry without an id is known by its place in the list, and that may be another's by now.
    let is_other = |place: &Place| place.id.starts_with('#') && !found.places.iter().any(|was| is_same(was, place));
    if now.places.iter().any(is_other) {
        return Err(bad(profile, "the pool changed meanwhile, and the entry has no id to find it by: try again"));
    }
    let mut edits = Edits::default();
    take_out(&mut edits, &vault, profile, now).map_err(|error| uneditable(&error))?;
    Ok(Some(edits.apply(text)))
}

/// Wipes what is sealed of these credentials.
#[async_natively]
pub(crate) async fn wipe_sealed<P: Ports>(
    session: &Session<P>,
    vault: &str,
    profile: &Profile,
    ids: &[String],
) -> Result<(), KeeperError> {
    let is_its = |provider: &str, credential: &String| provider == profile.id && ids.contains(credential);
    let sealed = sealed::load(&session.ports, vault).await?;
    let quarantined = sealed.quarantined.values().any(|entry| is_its(&entry.provider, &entry.credential));
    let mut tokens = sealed.successors.values().chain(sealed.kept.values());
    if !quarantined && !tokens.any(|entry| is_its(&entry.provider, &entry.credential)) {
        return Ok(());
    }
    sealed::update(&session.ports, vault, &|sealed| {
        sealed.quarantined.retain(|_, entry| !is_its(&entry.provider, &entry.credential));
        sealed.successors.retain(|_, entry| !is_its(&entry.provider, &entry.credential));
        sealed.kept.retain(|_, entry| !is_its(&entry.provider, &entry.credential));
    })
    .await
}

/// The one credential that a person means: by its id, else by its label.
pub(crate) fn meant<'a>(
    credentials: &'a [Credential],
    profile: &Profile,
    named: Option<&str>,
) -> Result<&'a Credential, KeeperError> {
    let has_id = |credential: &&Credential, name: &str| {
        credential.id() == name || credential.places.iter().any(|place| place.id == name)
    };
    let mut found: Vec<&Credential> = match named {
        Some(name) => credentials.iter().filter(|credential| has_id(credential, name)).collect(),
        None => credentials.iter().collect(),
    };
    if let (true, Some(name)) = (found.is_empty(), named) {
        found = credentials.iter().filter(|credential| credential.answers_to(name)).collect();
    }
    match (found.as_slice(), named) {
        ([only], _) => Ok(only),
        ([], None) => Err(no_credential(profile)),
        ([], Some(_)) if credentials.is_empty() => Err(no_credential(profile)),
        ([], Some(name)) => Err(did_you_mean::credential(profile, name, credentials)),
        (several, _) => {
            let several: Vec<Credential> = several.iter().map(|credential| (*credential).clone()).collect();
            let what = format!("more than one credential is meant. Name one: {}", did_you_mean::listed(&several));
            Err(bad(profile, &what))
        }
    }
}

fn is_same(was: &Place, now: &Place) -> bool {
    was.id == now.id && was.access_token == now.access_token && was.refresh_token == now.refresh_token
}

fn take_out(edits: &mut Edits, vault: &Vault<'_>, profile: &Profile, credential: &Credential) -> Result<(), EditError> {
    let root = vault.root();
    // Another tool's file is left as that tool leaves it without a login; its keys are its own.
    if vault.tool().is_some() {
        let login = vault.node(&profile.id, Spot::Login).filter(|_| credential.is_login());
        let Some(login) = login else { return Ok(()) };
        return erase(edits, login, &vault.layout(profile, Spot::Login).erase, []).map(drop);
    }
    let mut entries = Vec::new();
    let mut sources: Vec<String> = Vec::new();
    let mut changes = Vec::new();
    for place in &credential.places {
        match place.spot {
            Spot::Login => changes.push((json::pointer(&["providers", &profile.id]), Change::Remove)),
            Spot::Entry(index) => {
                entries.push(index);
                // What was not added by a person would be put back by the program that found it
                // somewhere.
                if place.source != "manual" && !place.source.starts_with("manual:") && !sources.contains(&place.source)
                {
                    sources.push(place.source.clone());
                }
            }
        }
    }
    if sources.is_empty() && credential.is_login() {
        sources.extend(profile.seeded_sources.last().cloned());
    }
    if let Some(pool) = vault.pool(&profile.id) {
        edits.remove_items(pool, &entries);
    }
    let path = json::pointer(&["suppressed_sources", &profile.id]);
    let suppressed = root.pointer(&path).filter(|list| list.kind() == Kind::Array);
    sources.retain(|source| !suppressed.is_some_and(|list| list.items().any(|item| item.is_str(source))));
    let spelled: Vec<String> = sources.iter().map(|source| json::quote(source)).collect();
    let spelled = spelled.join(", ");
    match suppressed {
        _ if sources.is_empty() => {}
        Some(list) => edits.push_item(list, &spelled),
        None => changes.push((path, Change::Set(format!("[{spelled}]")))),
    }
    edits.members(root, &changes)
}
