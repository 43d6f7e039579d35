//! What the ledger and the sealed document say of the tokens that lie in a vault, and what they say of each other.

use crate::adding::account;
use crate::fingerprint::Fingerprint;
use crate::ledger::{Ledger, Standing, Until};
use crate::next_step::Reach;
use crate::refresh::earned_a_send;
use crate::sealed::Sealed;
use crate::table::Table;
use crate::time::{self, DAY_MS, Zone};
use crate::vault::{Credential, CredentialKind, Place};

use super::{Findings, Held, Level, called, quoted};

pub(super) fn look_over(
    held: &Held,
    ledger: &Ledger,
    sealed: &Sealed,
    all: &[Held],
    now_ms: u64,
    findings: &mut Findings,
) {
    for credential in &held.reading.credentials {
        ended(held, credential, sealed, now_ms, findings);
    }
    let Some(to) = &held.to else { return };
    for credential in &held.reading.credentials {
        let mut seen: Vec<Fingerprint> = Vec::new();
        for place in &credential.places {
            let Some(token) = place.fingerprint().filter(|token| !seen.contains(token)) else { continue };
            let is_new_here = seen.is_empty();
            match ledger.standing(&token, to, now_ms) {
                Standing::Dead(tombstone) if !earned_a_send(place, tombstone) => {
                    let code = if tombstone.code.is_empty() { &tombstone.reason } else { &tombstone.code };
                    let at = time::to_rfc3339(tombstone.at_ms, Zone::Letter);
                    dead(held, credential, place, code, &at, findings);
                }
                Standing::Spent(_) => spent(held, credential, place, &token, ledger, sealed, all, findings),
                Standing::Paused(pause) => {
                    let until = match pause.until {
                        // It ends by itself.
                        Until::Time(_) => continue,
                        Until::Change { .. } => "until its profile or client changes",
                        Until::Operator => "until you say so",
                    };
                    let message =
                        format!("{}: it is not refreshed {until} ({})", held.called(credential.id()), pause.code);
                    findings.note(Level::Warning, "held", message, Some(held.command("reset", credential.id())));
                }
                Standing::Sendable(_) if is_new_here => {
                    grant_ends(held, credential, place, &token, ledger, now_ms, findings)
                }
                Standing::Sendable(_) | Standing::Dead(_) => {}
            }
            seen.push(token);
        }
    }
}

/// Some servers end a login after a time, however often it is refreshed. It may be older than anybody here knows.
fn grant_ends(
    held: &Held,
    credential: &Credential,
    place: &Place,
    token: &Fingerprint,
    ledger: &Ledger,
    now_ms: u64,
    findings: &mut Findings,
) {
    const WARNED_MS: u64 = 5 * DAY_MS;
    let Some(lifetime_s) = held.profile.authorization.grant_lifetime_s else { return };
    let known_ms = ledger.tokens.get(token).map(|record| record.granted_by_ms);
    let Some(since_ms) = known_ms.into_iter().chain(place.issued_at_ms).min() else { return };
    let ends_ms = since_ms.saturating_add(lifetime_s.saturating_mul(1_000));
    if now_ms.saturating_add(WARNED_MS) < ends_ms {
        return;
    }
    let message = format!(
        "{}: its server ends a login after {} days, however often it is refreshed. This one is known since {}: log in anew before {}",
        held.called(credential.id()),
        lifetime_s / (DAY_MS / 1_000),
        time::to_rfc3339(since_ms, Zone::Letter),
        time::to_rfc3339(ends_ms, Zone::Letter)
    );
    findings.note(Level::Warning, "grant-ends", message, held.login_or_remove(credential));
}

/// A login that is empty since it was refused, and of which nothing is sealed any more: a program may have ended it itself.
fn ended(held: &Held, credential: &Credential, sealed: &Sealed, now_ms: u64, findings: &mut Findings) {
    let id = &held.profile.id;
    let mut kept = sealed.quarantined.values().filter(|entry| now_ms < entry.until_ms);
    let is_kept = kept.any(|entry| entry.provider == *id && entry.credential == credential.id());
    let error = credential.places.iter().find_map(|place| place.last_error.as_ref());
    if let Some(error) = error.filter(|_| credential.is_login() && credential.leading().is_empty() && !is_kept) {
        let message = format!("{}: its login ended ({}). Log in again", held.called(credential.id()), error.code);
        findings.note(Level::Warning, "login-ended", message, held.login_or_remove(credential));
    }
}

/// The server refused it for good, and here it is.
fn dead(held: &Held, credential: &Credential, place: &Place, code: &str, at: &str, findings: &mut Findings) {
    let message = format!(
        "{}: the server refused this refresh token for good ({code}, {at}), and it lies in the vault again. Some program put it \
         back from {}: log in there anew, or remove it here, and it is not taken from there again",
        held.called(credential.id()),
        quoted(&place.source)
    );
    let fix = if credential.is_login() {
        held.login_or_remove(credential)
    } else {
        Some(held.command("remove", credential.id()))
    };
    findings.note(Level::Error, "token-dead", message, fix);
}

/// The server gave another for it. Where that one is known, the next call puts it in place.
#[allow(clippy::too_many_arguments, reason = "each is one of the things that are compared")]
fn spent(
    held: &Held,
    credential: &Credential,
    place: &Place,
    token: &Fingerprint,
    ledger: &Ledger,
    sealed: &Sealed,
    all: &[Held],
    findings: &mut Findings,
) {
    let mut places = all.iter().flat_map(|held| &held.reading.credentials).flat_map(|credential| &credential.places);
    let is_descendant = |place: &Place| place.fingerprint().is_some_and(|held| ledger.is_ancestor(token, &held));
    let waits = sealed.successors.get(token).is_some();
    let is_kept = waits || places.any(is_descendant);
    let called = held.called(credential.id());
    if is_kept {
        let message = format!(
            "{called}: an older refresh token lies there (source {}), and its successor elsewhere. The next refresh puts the newer one in place",
            quoted(&place.source)
        );
        findings.note(Level::Warning, "token-spent", message, Some(held.command("refresh", credential.id())));
        return;
    }
    let message = format!(
        "{called}: this refresh token was refreshed before, and the one that the server gave for it is nowhere: some program wrote \
         the older one back. It is not sent, for that may end every login that came from it. Log in again"
    );
    findings.note(Level::Error, "token-spent", message, held.login_or_remove(credential));
}

/// One grant under several providers, one account in several entries.
pub(super) fn in_several_places(held: &[Held], findings: &mut Findings) {
    // The first place of each grant, and of each account of a provider.
    let mut tokens: Table<Fingerprint, (&Held, &Credential)> = Table::default();
    for one in held {
        let mut accounts: Table<[Option<String>; 3], &Credential> = Table::default();
        for credential in &one.reading.credentials {
            let mut is_told = false;
            for token in credential.places.iter().filter_map(Place::fingerprint) {
                let (of, there) = *tokens.entry(token, || (one, credential));
                if of.profile.id != one.profile.id && !is_told {
                    is_told = true;
                    let message = format!(
                        "{} and {} hold the same refresh token: whichever is refreshed first ends the other's",
                        of.called(there.id()),
                        one.called(credential.id())
                    );
                    // The one that cannot be refreshed anyhow, if there is such.
                    let is_first_idle = of.to.is_none() && one.to.is_some();
                    let (which, its) = if is_first_idle { (of, there) } else { (one, credential) };
                    let fix = Some(which.command("remove", its.id()));
                    findings.note(Level::Error, "grant-shared", message, fix);
                }
            }
            let leading = credential.leading();
            let access = leading.access_token.as_ref().filter(|_| leading.kind == CredentialKind::OAuth);
            let Some(account) = access.and_then(|token| account(token.expose())) else { continue };
            let first = *accounts.entry(account, || credential);
            if !std::ptr::eq(first, credential) {
                let message = format!(
                    "{} and {} are of the same account: they share its limits, and a login of one may end the other",
                    one.called(first.id()),
                    one.called(credential.id())
                );
                let fix = Some(one.command("remove", credential.id()));
                findings.note(Level::Warning, "account-twice", message, fix);
            }
        }
    }
}

/// What is out of use and can be put back, and what waits to be.
pub(super) fn sealed(
    sealed: &Sealed,
    ledger: &Ledger,
    held: &[Held],
    reach: &Reach,
    now_ms: u64,
    findings: &mut Findings,
) {
    for (token, entry) in sealed.quarantined.iter().filter(|(_, entry)| now_ms < entry.until_ms) {
        let until = time::to_rfc3339(entry.until_ms, Zone::Letter);
        let reason = ledger.tokens.get(token).and_then(|record| record.tombstone());
        let reason = reason.map_or("", |tombstone| tombstone.reason.as_str());
        let called = called(&entry.provider, &entry.credential);
        // What was used before must not be sent again.
        let (message, fix) = if matches!(reason, "overwritten" | "answer-lost") {
            let login = held.iter().find(|held| held.profile.id == entry.provider).and_then(|held| held.login.clone());
            (format!("{called}: its login ended ({reason}). Its tokens are sealed until {until}. Log in again"), login)
        } else {
            let fix = reach.about("unquarantine", &entry.provider, &entry.credential);
            let what = "If the server was wrong it can be put back; else log in again";
            (format!("{called}: it is quarantined, and its tokens are sealed until {until}. {what}"), Some(fix))
        };
        findings.note(Level::Warning, "quarantined", message, fix);
    }
    for (_, waiting) in sealed.successors.iter() {
        let message = format!(
            "{}: new tokens wait in the sealed document, for the vault could not be written. The next call puts them there",
            called(&waiting.provider, &waiting.credential)
        );
        let fix = reach.about("token", &waiting.provider, &waiting.credential);
        findings.note(Level::Warning, "successor-waiting", message, Some(fix));
    }
}
