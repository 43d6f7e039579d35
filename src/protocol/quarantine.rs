//! A token that the server refused for good leaves every place that held it, and comes back only
//! when a person says so.
//!
//! Order of writes: tombstone, sealed copy, vault. Whatever is interrupted, the token is not sent
//! again and no token is gone that a person could still want.

use std::collections::BTreeMap;

use lazaretto_macros::async_natively;

use crate::error::KeeperError;
use crate::json::{self, Value};
use crate::ports::{Event, Lease, Ports, Severity};
use crate::protocol::{Dead, Exchange, Next, freshness};
use crate::provider::Profile;
use crate::session::{Session, uneditable};
use crate::state::fingerprint::Fingerprint;
use crate::state::ledger::{self, Counterpart, Ledger, State, Tombstone};
use crate::state::sealed::{self, Quarantined, Removed};
use crate::token::{AccessToken, Origin};
use crate::vault::edit::{Change, EditError, Edits};
use crate::vault::{self, Place, Spot, Vault};

/// Quarantines, and goes on with whatever newer tokens lie in the credential's places, or wait for
/// them.
#[async_natively]
pub(crate) async fn quarantine_sent<P: Ports>(
    session: &Session<P>,
    exchange: &Exchange<'_>,
    dead: &Dead<'_>,
) -> Result<Next, KeeperError> {
    quarantine(session, exchange.demand.vault, &exchange.to, dead, exchange.held.document.as_ref()).await?;
    let demand = exchange.demand;
    let found = freshness::find(session, demand).await;
    let has_other = found.is_ok_and(|(_, credential)| credential.leading().refresh_token.is_some());
    // A copy from before a refresh died, whose successor the vault could not take.
    let sealed = sealed::load(&session.ports, demand.vault).await;
    if has_other || sealed.is_ok_and(|sealed| sealed.successor_for(&demand.profile.id, &demand.credential).is_some()) {
        return Ok(Next::Again);
    }
    match &exchange.due.usable {
        Some(token) => {
            let served = AccessToken { origin: Origin::Sealed, ..token.clone() };
            Ok(Next::Serve(served.warned_by(&dead.error())))
        }
        None => Err(dead.error()),
    }
}

/// Takes a dead token out of use everywhere in the vault.
#[async_natively]
pub(crate) async fn quarantine<P: Ports>(
    session: &Session<P>,
    vault: &str,
    to: &Counterpart,
    dead: &Dead<'_>,
    lease: Option<&Lease>,
) -> Result<(), KeeperError> {
    let at_ms = session.ports.wall_ms();
    let token = dead.place.fingerprint();
    let mut known = None;
    if let Some(token) = &token {
        let tombstone = Tombstone {
            at_ms,
            reason: dead.reason.as_str().to_owned(),
            status: dead.status,
            code: dead.code.clone(),
            summary: dead.summary.clone(),
            access: dead.place.access_token.as_ref().map(|access| Fingerprint::of(access.expose())),
        };
        known = Some(
            ledger::update(&session.ports, vault, true, None, &|ledger| bury(ledger, token, to, &tombstone)).await?,
        );
    }
    let ledger = match known {
        Some(ledger) => ledger,
        None => ledger::load(&session.ports, vault).await?.ledger,
    };
    // Without a refresh token it is sealed by the access token that goes.
    let sealed_by =
        token.clone().or_else(|| dead.place.access_token.as_ref().map(|access| Fingerprint::of(access.expose())));
    let removed = |text: &str| without_dead(session, vault, text, dead, &ledger, at_ms);
    let mut sealed = false;
    session
        .edit_vault(vault, lease, async |text| {
            let Some((edited, removed)) = removed(text)? else { return Ok(None) };
            if let (Some(by), false) = (&sealed_by, sealed) {
                seal(session, vault, by, dead, removed, at_ms).await?;
                sealed = true;
            }
            Ok(Some(edited))
        })
        .await?;
    tell_quarantined(session, dead, token.as_ref());
    Ok(())
}

#[async_natively]
async fn seal<P: Ports>(
    session: &Session<P>,
    vault: &str,
    token: &Fingerprint,
    dead: &Dead<'_>,
    removed: Vec<Removed>,
    at_ms: u64,
) -> Result<(), KeeperError> {
    let place = dead.place;
    let entry = Quarantined {
        provider: dead.provider.id.clone(),
        credential: dead.credential.to_owned(),
        sealed_at_ms: at_ms,
        until_ms: at_ms.saturating_add(sealed::KEPT_MS),
        access_token: place.access_token.clone(),
        access_expires_at_ms: place.expires_at_ms,
        access_refused: dead.access_refused,
        removed,
    };
    sealed::update(&session.ports, vault, &|sealed| {
        // The first quarantine saw the vault as its owner knew it; a re-seeded token adds nothing
        // to that while it is kept.
        let kept = sealed.quarantined.entry(token.clone()).or_insert_with(|| entry.clone());
        if kept.until_ms <= at_ms {
            *kept = entry.clone();
        }
        sealed.kept.retain(|_, kept| place.refresh_token.is_none() || kept.fresh.refresh_token != place.refresh_token);
    })
    .await
}

/// The vault's text without the dead token, and what was taken out; none if no place holds it.
fn without_dead<P: Ports>(
    session: &Session<P>,
    vault: &str,
    text: &str,
    dead: &Dead<'_>,
    ledger: &Ledger,
    at_ms: u64,
) -> Result<Option<(String, Vec<Removed>)>, KeeperError> {
    let vault = session.opened(vault, text)?;
    let mut edits = Edits::default();
    let mut removed = Vec::new();
    for provider in vault.providers() {
        let profile = session.profile_or_generic(&provider)?;
        let places = vault.places(&profile, &mut Vec::new());
        take_out(&mut edits, &mut removed, &vault, &profile, &places, dead, ledger, at_ms)
            .map_err(|error| uneditable(&error))?;
    }
    Ok((!removed.is_empty()).then(|| (edits.apply(text), removed)))
}

fn tell_quarantined<P: Ports>(session: &Session<P>, dead: &Dead<'_>, token: Option<&Fingerprint>) {
    let mut attributes = vec![("reason", dead.reason.as_str().to_owned()), ("code", dead.code.clone())];
    attributes.extend(dead.status.map(|status| ("status", status.to_string())));
    attributes.extend(token.map(|token| ("fingerprint", token.short().to_owned())));
    session.emit(Event {
        name: "quarantined",
        severity: Severity::Warning,
        at_ms: session.ports.wall_ms(),
        provider: dead.provider.id.clone(),
        credential: Some(dead.credential.to_owned()),
        message: dead.message(),
        attributes,
    });
}

pub(crate) fn bury(ledger: &mut Ledger, token: &Fingerprint, to: &Counterpart, tombstone: &Tombstone) {
    let record = ledger.record(token, to, tombstone.at_ms);
    let keep = matches!(
        (&record.state, tombstone.reason.as_str()),
        (State::Dead(_) | State::Spent { .. }, "re-seeded" | "overwritten")
    );
    if !keep {
        record.state = State::Dead(tombstone.clone());
    }
    record.intent = None;
    record.pause = None;
}

#[allow(clippy::too_many_arguments, reason = "one provider's part of one plan")]
fn take_out(
    edits: &mut Edits,
    removed: &mut Vec<Removed>,
    vault: &Vault<'_>,
    profile: &Profile,
    places: &[Place],
    dead: &Dead<'_>,
    ledger: &Ledger,
    at_ms: u64,
) -> Result<(), EditError> {
    let has_login = places.iter().any(|place| place.spot == Spot::Login);
    let login_dies = places.iter().any(|place| place.spot == Spot::Login && dead.is_in(&profile.id, place));
    let is_older = |place: &Place| match (place.fingerprint(), dead.place.fingerprint()) {
        (Some(token), Some(dead)) => ledger.is_ancestor(&token, &dead),
        _ => false,
    };
    let mut gone = Vec::new();
    for place in places {
        let Some(node) = vault.node(&profile.id, place.spot) else { continue };
        let is_dead = dead.is_in(&profile.id, place);
        match place.spot {
            Spot::Login if is_dead => {
                // Another tool's file says nothing of it: the ledger does.
                let marker = ("/last_auth_error", Change::Set(dead.marker(at_ms)));
                let marker = vault.tool().is_none().then_some(marker);
                let values = erase(edits, node, &vault.layout(profile, place.spot).erase, marker)?;
                removed.push(Removed::Login { provider: profile.id.clone(), values });
            }
            // A copy goes with its login; a copy alone goes because the login has moved on.
            Spot::Entry(index) if vault::is_seeded(place, profile) && has_login => {
                let goes = is_dead || (login_dies && (place.is_empty() || is_older(place)));
                gone.extend(goes.then_some(index));
                removed.extend(goes.then(|| Removed::Entry {
                    provider: profile.id.clone(),
                    id: place.id.clone(),
                    text: node.raw().to_owned(),
                }));
            }
            Spot::Entry(_) if is_dead => {
                let values = erase(edits, node, &vault.layout(profile, place.spot).erase, death(dead, node, at_ms))?;
                removed.push(Removed::EntryValues { provider: profile.id.clone(), id: place.id.clone(), values });
            }
            _ => {}
        }
    }
    if let Some(pool) = vault.pool(&profile.id).filter(|_| !gone.is_empty()) {
        edits.remove_items(pool, &gone);
    }
    Ok(())
}

/// The fields with which the reference marks an entry that is never to be used again.
fn death<'a>(dead: &Dead<'_>, node: Value<'_>, at_ms: u64) -> Vec<(&'a str, Change)> {
    let mut changes = vec![
        ("/last_status", Change::Set("\"dead\"".to_owned())),
        ("/last_status_at", Change::Set(format!("{}.{:03}", at_ms / 1_000, at_ms % 1_000))),
        ("/last_error_code", Change::Set(dead.status.map_or("null".to_owned(), |status| status.to_string()))),
        ("/last_error_reason", Change::Set(json::quote(&dead.code))),
        ("/last_error_message", Change::Set(json::quote(&dead.summary))),
    ];
    if node.get("last_error_reset_at").is_some() {
        changes.push(("/last_error_reset_at", Change::Set("null".to_owned())));
    }
    changes
}

/// Erases values and makes the other changes; returns how each was spelled before.
pub(crate) fn erase<'a>(
    edits: &mut Edits,
    node: Value<'_>,
    erased: &[(String, Option<String>)],
    others: impl IntoIterator<Item = (&'a str, Change)>,
) -> Result<BTreeMap<String, Option<String>>, EditError> {
    let there = erased.iter().filter(|(pointer, _)| node.pointer(pointer).is_some());
    let change = |empty: &Option<String>| empty.clone().map_or(Change::Remove, Change::Set);
    let mut changes: Vec<(String, Change)> = there.map(|(pointer, empty)| (pointer.clone(), change(empty))).collect();
    changes.extend(others.into_iter().map(|(pointer, change)| (pointer.to_owned(), change)));
    edits.members(node, &changes)?;
    let mut values = BTreeMap::new();
    for (pointer, _) in &changes {
        values.insert(pointer.clone(), node.pointer(pointer).map(|value| value.raw().to_owned()));
    }
    Ok(values)
}
