//! What is written in a vault's logins and entries, each by itself.

use crate::json::Value;
use crate::table::Table;
use crate::time::{self, Zone};
use crate::vault::{CredentialKind, EntryState, LOGIN, Place, Spot, Vault};

use super::spelling::Known;
use super::{CLOCK_ALLOWANCE_MS, Findings, Held, Level, quoted};

pub(super) fn look_over(held: &Held, vault: &Vault<'_>, now_ms: u64, findings: &mut Findings) {
    let profile = &held.profile;
    let id = &profile.id;
    if let Some(wrong) = &profile.wrong {
        findings.note(Level::Error, "profile-wrong", wrong.0.clone(), None);
    } else if !profile.has_endpoint() && held.has_oauth() {
        let message =
            format!("{id}: no profile says where its tokens are refreshed. a profile in providers.json can say so");
        findings.note(Level::Warning, "profile-missing", message, None);
    }
    for warning in &held.reading.warnings {
        findings.note(Level::Warning, "field-unreadable", warning.clone(), None);
    }
    // Of another tool's file the forms know no more than where the tokens are.
    let is_ours = vault.tool().is_none();
    let login = vault.node(id, Spot::Login).filter(|_| is_ours);
    let pool: Vec<Value<'_>> = vault.pool(id).into_iter().flat_map(|pool| pool.items()).collect();
    let (of_login, of_entry) = (Known::of(&profile.login), Known::of(&profile.entry));
    let mut ids: Table<&str, u32> = Table::default();
    for credential in &held.reading.credentials {
        if credential.leading().state == EntryState::Dead {
            dead(held, credential.leading(), findings);
        } else {
            times(held, credential.leading(), credential.id(), now_ms, findings);
        }
        for place in &credential.places {
            let mistyped = match place.spot {
                Spot::Login => login.map(|node| of_login.mistyped(node)),
                Spot::Entry(index) => pool.get(index).map(|node| of_entry.mistyped(*node)),
            };
            one(held, place, &mistyped.unwrap_or_default(), findings);
            let count = ids.entry(&place.id, || 0);
            *count += 1;
            if *count == 2 {
                let message = format!(
                    "{id}: two entries have the id {}: only the first of them can be used or named",
                    quoted(&place.id)
                );
                findings.note(Level::Error, "id-twice", message, None);
            }
        }
    }
    suppressed(held, vault, findings);
}

/// Where a place is, for a person.
fn place_name(held: &Held, place: &Place) -> String {
    match place.spot {
        Spot::Login => format!("providers.{}", held.profile.id),
        Spot::Entry(index) => format!("entry {index} of credential_pool.{}", held.profile.id),
    }
}

fn one(held: &Held, place: &Place, mistyped: &[(String, String)], findings: &mut Findings) {
    if matches!(place.spot, Spot::Entry(_)) && place.id.starts_with('#') {
        let message =
            format!("{} has no `id`: it is known by its place only, and that may change", place_name(held, place));
        findings.note(Level::Warning, "entry-without-id", message, None);
    }
    for (name, meant) in mistyped {
        let message = format!(
            "{} has a field {} that nothing reads: was `{meant}` meant?",
            place_name(held, place),
            quoted(name)
        );
        findings.note(Level::Warning, "field-mistyped", message, None);
    }
}

fn dead(held: &Held, place: &Place, findings: &mut Findings) {
    let why = match &place.last_error {
        Some(error) if !error.code.is_empty() => format!(" ({})", error.code),
        _ => String::new(),
    };
    let message = format!("{}: it is marked dead{why}. Log in again, or remove it", held.called(&place.id));
    findings.note(Level::Warning, "entry-dead", message, Some(held.command("remove", &place.id)));
}

fn times(held: &Held, place: &Place, id: &str, now_ms: u64, findings: &mut Findings) {
    if place.kind != CredentialKind::OAuth || place.is_empty() {
        return;
    }
    let called = held.called(id);
    if place.expires_at_ms.is_none() && place.access_token.is_some() {
        let unknown = "nothing says when its access token ends, so it is served until an API refuses it";
        match &place.refresh_token {
            Some(_) if held.profile.has_endpoint() => {
                let message = format!("{called}: {unknown}. A refresh brings the time, if the server tells it");
                findings.note(Level::Warning, "expiry-unknown", message, Some(held.command("refresh", id)));
            }
            _ => findings.ok("expiry-unknown", format!("{called}: {unknown}")),
        }
    }
    let skew_ms = held.profile.skew_s.saturating_mul(1_000);
    if let Some(lifetime_ms) = place.lifetime_ms.filter(|lifetime| *lifetime > 0 && *lifetime < skew_ms) {
        let message = format!(
            "{called}: its access tokens live {} s, and the profile has them refreshed {} s before their end. The last half of \
             their life is used instead; a smaller `skew_s` in providers.json says what you want",
            lifetime_ms / 1_000,
            held.profile.skew_s
        );
        findings.note(Level::Warning, "lifetime-short", message, None);
    }
    if let Some(issued_ms) = place.issued_at_ms.filter(|issued| *issued > now_ms.saturating_add(CLOCK_ALLOWANCE_MS)) {
        let message = format!(
            "{called}: its tokens were issued {} s from now ({}): this machine's clock is wrong, or was",
            (issued_ms - now_ms) / 1_000,
            time::to_rfc3339(issued_ms, Zone::Letter)
        );
        findings.note(Level::Error, "issued-in-future", message, Some("timedatectl set-ntp true".to_owned()));
    }
}

/// Sources that a person removed a credential of.
fn suppressed(held: &Held, vault: &Vault<'_>, findings: &mut Findings) {
    let id = &held.profile.id;
    let list = vault.root().get("suppressed_sources").and_then(|sources| sources.get(id));
    for source in list.into_iter().flat_map(|list| list.items()).filter_map(|source| source.as_str()) {
        let message =
            format!("{id}: what comes from {} is not added, for it was removed. A login ends that", quoted(&source));
        let login = held.login.clone().unwrap_or_else(|| held.reach.about("login", id, LOGIN));
        findings.note(Level::Ok, "source-suppressed", message, Some(login));
    }
}
