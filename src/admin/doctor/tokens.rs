//! What the ledger and the sealed document say of the tokens that lie in a vault, and what they say
//! of each other.

use std::collections::BTreeMap;

use crate::admin::add::account;
use crate::error::KeeperError;
use crate::next_step::{self, Reach};
use crate::ports::Ports;
use crate::protocol::Reason;
use crate::protocol::check_ledger::earned_a_send;
use crate::session::Session;
use crate::state::fingerprint::Fingerprint;
use crate::state::ledger::{Ledger, Pause, Standing, Until};
use crate::state::sealed::Sealed;
use crate::status::{CredentialStatus, Renewal, Usable};
use crate::time::DAY_MS;
use crate::vault::{Credential, CredentialKind, Place};

use super::findings::{at, quoted};
use super::{FindingCode, Findings, Help, Level, ProviderView, is_over};

pub(super) fn look_over(
    held: &ProviderView,
    ledger: &Ledger,
    sealed: &Sealed,
    all: &[ProviderView],
    now_ms: u64,
    findings: &mut Findings,
) {
    for credential in &held.reading.credentials {
        standing(held, credential, ledger, sealed, all, now_ms, findings);
        // What is not in the vault yet is as good as there.
        if sealed.successor_for(&held.profile.id, credential.id()).is_some() {
            continue;
        }
        ended(held, credential, sealed, now_ms, findings);
        // What the status says, and nothing above did.
        if let Some(status) = held.status(credential) {
            out_of_use(held, credential, status, findings);
        }
    }
}

/// What the ledger says of each of its refresh tokens.
fn standing(
    held: &ProviderView,
    credential: &Credential,
    ledger: &Ledger,
    sealed: &Sealed,
    all: &[ProviderView],
    now_ms: u64,
    findings: &mut Findings,
) {
    let Some(to) = &held.to else { return };
    let mut seen: Vec<Fingerprint> = Vec::new();
    for place in &credential.places {
        let Some(token) = place.fingerprint().filter(|token| !seen.contains(token)) else { continue };
        let is_new_here = seen.is_empty();
        match ledger.standing(&token, to, now_ms) {
            Standing::Dead(tombstone) if !earned_a_send(place, tombstone) => {
                let code = if tombstone.code.is_empty() { &tombstone.reason } else { &tombstone.code };
                put_back(held, credential, place, code, tombstone.at_ms, findings);
            }
            Standing::Spent(_) => spent(held, credential, place, &token, ledger, sealed, all, findings),
            Standing::Paused(pause) if is_new_here => paused(held, credential, place, pause, now_ms, findings),
            Standing::Sendable(_) if is_new_here => {
                grant_ends(held, credential, place, &token, ledger, now_ms, findings)
            }
            Standing::Sendable(_) | Standing::Dead(_) | Standing::Paused(_) => {}
        }
        seen.push(token);
    }
}

fn paused(
    held: &ProviderView,
    credential: &Credential,
    place: &Place,
    pause: &Pause,
    now_ms: u64,
    findings: &mut Findings,
) {
    let of = (held.profile.id.as_str(), credential.id());
    let good = place.expires_at_ms.filter(|at_ms| place.access_token.is_some() && *at_ms > now_ms);
    let good = good.map_or_else(String::new, |at_ms| format!("; its access token is good until {}", at(at_ms)));
    let reset = || held.run("reset", credential);
    let (code, until, help) = match pause.until {
        Until::Time(until_ms) => (FindingCode::CoolingDown, format!("until {}", at(until_ms)), Help::NONE),
        Until::Change { .. } if pause.needs_login() => {
            (FindingCode::ProviderView, "until a person has logged in".to_owned(), held.log_in(credential).or(reset()))
        }
        Until::Change { .. } => {
            (FindingCode::ProviderView, "until its profile or client changes".to_owned(), held.describe().or(reset()))
        }
        Until::Operator => (FindingCode::ProviderView, "until you say so".to_owned(), Help::alternative(reset())),
    };
    let what = format!("it is not refreshed {until} ({}){good}", pause.code);
    findings.of_credential(of, Level::Warning, code, what, help);
}

/// Some servers end a login after a time, however often it is refreshed. It may be older than
/// anybody here knows.
fn grant_ends(
    held: &ProviderView,
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
    let what = format!(
        "its server ends a login after {} days, however often it is refreshed. This one is known since {}: log in anew before {}",
        lifetime_s / (DAY_MS / 1_000),
        at(since_ms),
        at(ends_ms)
    );
    let of = (held.profile.id.as_str(), credential.id());
    findings.of_credential(of, Level::Warning, FindingCode::GrantEnds, what, held.log_in(credential));
}

/// A login that is empty since it was refused, and of which nothing is sealed any more: a program
/// may have ended it itself.
fn ended(held: &ProviderView, credential: &Credential, sealed: &Sealed, now_ms: u64, findings: &mut Findings) {
    let id = &held.profile.id;
    let mut kept = sealed.quarantined.values().filter(|entry| now_ms < entry.until_ms);
    let is_kept = kept.any(|entry| entry.provider == *id && entry.credential == credential.id());
    let error = credential.places.iter().find_map(|place| place.last_error.as_ref());
    if let Some(error) = error.filter(|_| credential.is_login() && credential.leading().is_empty() && !is_kept) {
        let what = format!("its login ended ({})", error.code);
        findings.of_credential(
            (id, credential.id()),
            Level::Warning,
            FindingCode::LoginEnded,
            what,
            held.log_in(credential),
        );
    }
}

/// The server refused it for good, and here it is.
fn put_back(
    held: &ProviderView,
    credential: &Credential,
    place: &Place,
    code: &str,
    refused_ms: u64,
    findings: &mut Findings,
) {
    let from = if credential.is_login() { String::new() } else { format!(" from {}", quoted(&place.source)) };
    let when = at(refused_ms);
    let what =
        format!("the server refused this refresh token for good ({code}, {when}), and some program put it back{from}");
    let help = held.log_in_or_remove(credential);
    findings.of_credential((&held.profile.id, credential.id()), Level::Error, FindingCode::TokenDead, what, help);
}

/// The server gave another for it. Where that one is known, the next call puts it in place.
#[allow(clippy::too_many_arguments, reason = "each is one of the things that are compared")]
fn spent(
    held: &ProviderView,
    credential: &Credential,
    place: &Place,
    token: &Fingerprint,
    ledger: &Ledger,
    sealed: &Sealed,
    all: &[ProviderView],
    findings: &mut Findings,
) {
    let of = (held.profile.id.as_str(), credential.id());
    let mut places = all.iter().flat_map(|held| &held.reading.credentials).flat_map(|credential| &credential.places);
    let is_descendant = |place: &Place| place.fingerprint().is_some_and(|held| ledger.is_ancestor(token, &held));
    let waits = sealed.successors.contains_key(token);
    if waits || places.any(is_descendant) {
        let what = format!(
            "an older refresh token lies there (source {}), and its successor elsewhere. The next refresh puts the newer one in place",
            quoted(&place.source)
        );
        let help = Help::fix(held.run("refresh", credential));
        return findings.of_credential(of, Level::Warning, FindingCode::TokenSpent, what, help);
    }
    let what = "this refresh token was refreshed before, and the one that the server gave for it is nowhere: some program wrote \
                the older one back. It is not sent, for that may end every login that came from it";
    findings.of_credential(of, Level::Error, FindingCode::TokenSpent, what, held.log_in_or_remove(credential));
}

/// What gives no token for a reason that is told of nowhere else.
fn out_of_use(held: &ProviderView, credential: &Credential, status: &CredentialStatus, findings: &mut Findings) {
    let of = (held.profile.id.as_str(), credential.id());
    if status.usable != Usable::No || findings.has_end(of) || status.renewal == Renewal::Quarantined {
        return;
    }
    let error = status.last_error.as_ref().map(|error| error.message.as_str()).filter(|message| !message.is_empty());
    let why = status.note.as_deref().or(error).unwrap_or("it holds no token");
    if let Some(until_ms) = status.retry_at_ms {
        let what = format!("it is not used until {} ({why})", at(until_ms));
        return findings.of_credential(of, Level::Warning, FindingCode::CoolingDown, what, Help::NONE);
    }
    let what = format!("it cannot be used: {why}");
    let is_login = status.kind == CredentialKind::OAuth;
    let help = if is_login { held.log_in_or_remove(credential) } else { Help::fix(status.todo.clone()) };
    findings.of_credential(of, Level::Warning, FindingCode::CannotBeUsed, what, help);
}

/// One grant under several providers, one account in several entries.
pub(super) fn in_several_places(held: &[ProviderView], findings: &mut Findings) {
    // The first place of each grant, and of each account of a provider.
    let mut tokens: BTreeMap<Fingerprint, (&ProviderView, &Credential)> = BTreeMap::new();
    for one in held {
        let mut accounts: BTreeMap<[Option<String>; 3], &Credential> = BTreeMap::new();
        for credential in &one.reading.credentials {
            let mut is_told = false;
            for token in credential.places.iter().filter_map(Place::fingerprint) {
                let (of, there) = *tokens.entry(token).or_insert((one, credential));
                if of.profile.id != one.profile.id && !is_told {
                    is_told = true;
                    shared((of, there), (one, credential), findings);
                }
            }
            let leading = credential.leading();
            let access = leading.access_token.as_ref().filter(|_| leading.kind == CredentialKind::OAuth);
            let Some(account) = access.and_then(|token| account(token.expose())) else { continue };
            let first = *accounts.entry(account).or_insert(credential);
            if !std::ptr::eq(first, credential) {
                let what = format!(
                    "it is of the same account as {}: they share its limits, and a login of one may end the other",
                    first.id()
                );
                let of = (one.profile.id.as_str(), credential.id());
                let help = Help::alternative(one.remove(credential));
                findings.of_credential(of, Level::Warning, FindingCode::AccountTwice, what, help);
            }
        }
    }
}

/// One grant in two providers: told of the one that cannot be refreshed anyhow, if there is such. A
/// login of its own ends that.
fn shared(first: (&ProviderView, &Credential), second: (&ProviderView, &Credential), findings: &mut Findings) {
    let is_first_idle = first.0.to.is_none() && second.0.to.is_some();
    let ((which, its), (other, there)) = if is_first_idle { (first, second) } else { (second, first) };
    let what = format!(
        "it holds the same refresh token as {} ({}): whichever is refreshed first ends the other's",
        other.profile.id,
        there.id()
    );
    let help = if its.is_login() { which.log_in(its) } else { Help::NONE };
    let of = (which.profile.id.as_str(), its.id());
    findings.of_credential(of, Level::Error, FindingCode::GrantShared, what, help.or(which.remove(its)));
    findings.names_also(&other.profile.id);
}

/// What is out of use and can be put back, and what waits to be.
pub(crate) fn look_at_sealed<P: Ports>(
    session: &Session<P>,
    vault: &str,
    sealed: &Sealed,
    ledger: &Ledger,
    all: &[ProviderView],
    reach: &Reach,
    findings: &mut Findings,
) -> Result<(), KeeperError> {
    let now_ms = session.ports.wall_ms();
    for (token, entry) in sealed.quarantined.iter().filter(|(_, entry)| now_ms < entry.until_ms) {
        let held = all.iter().find(|held| held.profile.id == entry.provider);
        let now = held.and_then(|held| held.statuses.iter().find(|status| status.credential == entry.credential));
        // Somebody has logged in since.
        if now.is_some_and(|now| !is_over(now)) {
            continue;
        }
        let tombstone = ledger.tokens.get(token).and_then(|record| record.tombstone());
        let reason = tombstone.and_then(|tombstone| reason_of(&tombstone.reason));
        let why = reason.map_or("it was taken out of use", Reason::sentence);
        let until = at(entry.until_ms);
        // Why is said already of one that was put back.
        let what = if findings.has_end((&entry.provider, &entry.credential)) {
            format!("its tokens are sealed until {until}")
        } else {
            format!("{why}. Its tokens are sealed until {until}")
        };
        // A token that was used before must not be sent again.
        let is_spent = matches!(reason, Some(Reason::Overwritten | Reason::AnswerLost));
        let put_back = (!is_spent).then(|| reach.about("unquarantine", &entry.provider, &entry.credential));
        let of = (entry.provider.as_str(), entry.credential.as_str());
        let log_in = match held {
            Some(held) => held.log_in_for(of.1),
            None => Help::fix(next_step::login_step(session, reach, vault, &*session.profile_or_generic(of.0)?)),
        };
        findings.of_credential(of, Level::Warning, FindingCode::Quarantined, what, log_in.or(put_back));
    }
    for waiting in sealed.successors.values() {
        let what = "new tokens wait in the sealed document, for the vault could not be written. The next refresh puts them there";
        let of = (waiting.provider.as_str(), waiting.credential.as_str());
        let fix = reach.about("refresh", of.0, of.1);
        findings.of_credential(of, Level::Warning, FindingCode::SuccessorWaiting, what, Help::fix(fix));
    }
    Ok(())
}

/// The reason that a tombstone names.
fn reason_of(word: &str) -> Option<Reason> {
    let all = [
        Reason::RefreshRefused,
        Reason::AnswerLost,
        Reason::ReSeeded,
        Reason::Overwritten,
        Reason::MissingRefreshToken,
    ];
    all.into_iter().find(|reason| reason.as_str() == word)
}
