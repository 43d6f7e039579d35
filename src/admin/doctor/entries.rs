//! What is written in a vault's logins and entries, each by itself.

use std::collections::BTreeMap;

use crate::json::Value;
use crate::vault::{Credential, CredentialKind, EntryState, Place, Spot, Vault};

use super::findings::{at, quoted};
use super::spelling::Known;
use super::{CLOCK_ALLOWANCE_MS, FindingCode, Findings, Help, Level, ProviderView};

pub(super) fn look_over(held: &ProviderView, vault: &Vault<'_>, now_ms: u64, findings: &mut Findings) {
    let profile = &held.profile;
    let id = &profile.id;
    if profile.wrong.is_none() && !profile.has_endpoint() && held.has_oauth() {
        let what = "no profile says where its tokens are refreshed";
        findings.of_provider(id, Level::Warning, FindingCode::ProfileMissing, what, held.describe());
    }
    for warning in &held.reading.warnings {
        // The host knows the file.
        findings.of_provider(id, Level::Warning, FindingCode::FieldUnreadable, warning, Help::NONE);
    }
    // Of another tool's file the forms know no more than where the tokens are.
    let is_ours = vault.tool().is_none();
    let login = vault.node(id, Spot::Login).filter(|_| is_ours);
    let pool: Vec<Value<'_>> = vault.pool(id).into_iter().flat_map(|pool| pool.items()).collect();
    let (of_login, of_entry) = (Known::of(&profile.login), Known::of(&profile.entry));
    let mut ids: BTreeMap<&str, u32> = BTreeMap::new();
    for credential in &held.reading.credentials {
        let of = (id.as_str(), credential.id());
        if credential.leading().state == EntryState::Dead {
            dead(held, credential, findings);
        } else {
            times(held, credential, now_ms, findings);
        }
        for place in &credential.places {
            let mistyped = match place.spot {
                Spot::Login => login.map(|node| of_login.mistyped(node)),
                Spot::Entry(index) => pool.get(index).map(|node| of_entry.mistyped(*node)),
            };
            one(held, of, place, &mistyped.unwrap_or_default(), findings);
            let count = ids.entry(&place.id).or_insert(0);
            *count += 1;
            if *count == 2 {
                let what = format!(
                    "two entries have the id {}: only the first of them can be used or named",
                    quoted(&place.id)
                );
                findings.of_credential(of, Level::Error, FindingCode::IdTwice, what, Help::NONE);
            }
        }
    }
    suppressed(held, vault, findings);
}

/// Where a place is, for a person.
fn place_name(held: &ProviderView, place: &Place) -> String {
    match place.spot {
        Spot::Login => format!("providers.{}", held.profile.id),
        Spot::Entry(index) => format!("entry {index} of credential_pool.{}", held.profile.id),
    }
}

fn one(held: &ProviderView, of: (&str, &str), place: &Place, mistyped: &[(String, String)], findings: &mut Findings) {
    if matches!(place.spot, Spot::Entry(_)) && place.id.starts_with('#') {
        let what =
            format!("{} has no `id`: it is known by its place only, and that may change", place_name(held, place));
        findings.of_credential(of, Level::Warning, FindingCode::EntryWithoutId, what, Help::NONE);
    }
    for (name, meant) in mistyped {
        let what = format!(
            "{} has a field {} that nothing reads: was `{meant}` meant?",
            place_name(held, place),
            quoted(name)
        );
        findings.of_credential(of, Level::Warning, FindingCode::FieldMistyped, what, Help::NONE);
    }
}

fn dead(held: &ProviderView, credential: &Credential, findings: &mut Findings) {
    let why = match &credential.leading().last_error {
        Some(error) if !error.code.is_empty() => format!(" ({})", error.code),
        _ => String::new(),
    };
    let what = format!("it is marked dead{why}");
    let help = held.log_in_or_remove(credential);
    findings.of_credential((&held.profile.id, credential.id()), Level::Warning, FindingCode::EntryDead, what, help);
}

fn times(held: &ProviderView, credential: &Credential, now_ms: u64, findings: &mut Findings) {
    let place = credential.leading();
    if place.kind != CredentialKind::OAuth || place.is_empty() {
        return;
    }
    let of = (held.profile.id.as_str(), credential.id());
    let can_refresh = place.refresh_token.is_some() && held.profile.has_endpoint();
    if place.expires_at_ms.is_none() && place.access_token.is_some() {
        let what = "nothing says when its access token ends, so it is served until an API refuses it";
        if can_refresh {
            let what = format!("{what}. A refresh brings the time, if the server tells it");
            let help = held.run("refresh", credential);
            findings.of_credential(of, Level::Warning, FindingCode::ExpiryUnknown, what, Help::fix(help));
        } else {
            findings.of_credential(of, Level::Ok, FindingCode::ExpiryUnknown, what, Help::NONE);
        }
    }
    if let Some(ends_ms) = place.expires_at_ms.filter(|_| place.refresh_token.is_none()) {
        ends(held, credential, ends_ms, now_ms, findings);
    }
    let skew_ms = held.profile.skew_s.saturating_mul(1_000);
    if let Some(lifetime_ms) = place.lifetime_ms.filter(|lifetime| *lifetime > 0 && *lifetime < skew_ms) {
        let what = format!(
            "its access tokens live {} s, and the profile has them refreshed {} s before their end. The last half of \
             their life is used instead; a smaller `skew_s` in providers.json says what you want",
            lifetime_ms / 1_000,
            held.profile.skew_s
        );
        findings.of_credential(of, Level::Warning, FindingCode::LifetimeShort, what, Help::NONE);
    }
    if let Some(issued_ms) = place.issued_at_ms.filter(|issued| *issued > now_ms.saturating_add(CLOCK_ALLOWANCE_MS)) {
        let what = format!(
            "its tokens were issued {} s from now ({}): this machine's clock is wrong, or was",
            (issued_ms - now_ms) / 1_000,
            at(issued_ms)
        );
        let help = Help::fix("timedatectl set-ntp true".to_owned());
        findings.of_credential(of, Level::Error, FindingCode::IssuedInFuture, what, help);
    }
}

/// A login without a refresh token is over with its access token.
fn ends(held: &ProviderView, credential: &Credential, ends_ms: u64, now_ms: u64, findings: &mut Findings) {
    let of = (held.profile.id.as_str(), credential.id());
    let ends_at = at(ends_ms);
    if ends_ms <= now_ms {
        let what = format!("its access token ended at {ends_at}, and there is no refresh token to renew it with");
        return findings.of_credential(
            of,
            Level::Warning,
            FindingCode::LoginEnded,
            what,
            held.log_in_or_remove(credential),
        );
    }
    // Some servers give none, and their logins end as they are meant to.
    let level = if held.profile.issues_refresh_token { Level::Warning } else { Level::Ok };
    let what = format!("it has no refresh token: it ends at {ends_at}");
    let help = if level == Level::Ok { Help::NONE } else { held.log_in(credential) };
    findings.of_credential(of, level, FindingCode::NoRefreshToken, what, help);
}

/// Sources that a person removed a credential of.
fn suppressed(held: &ProviderView, vault: &Vault<'_>, findings: &mut Findings) {
    let id = &held.profile.id;
    let list = vault.root().get("suppressed_sources").and_then(|sources| sources.get(id));
    for source in list.into_iter().flat_map(|list| list.items()).filter_map(|source| source.as_str()) {
        let what = format!("what comes from {} is not added, for it was removed. A login ends that", quoted(&source));
        findings.of_provider(id, Level::Ok, FindingCode::SourceSuppressed, &what, Help::NONE);
    }
}
