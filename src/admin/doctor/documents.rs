//! The vault's own documents: each can be read, and what one says fits what another holds.

use std::collections::BTreeMap;

use lazaretto_macros::async_natively;

use crate::error::{Code, KeeperError};
use crate::next_step::Reach;
use crate::pool;
use crate::ports::{Loaded, Ports};
use crate::session::Session;
use crate::state::document;
use crate::state::fingerprint::Fingerprint;
use crate::state::ledger::{self, Intent, Ledger};
use crate::state::sealed::{self, Sealed};
use crate::vault::LOGIN;

use super::{FindingCode, Findings, Help, Level, ProviderView, shell_word};

/// A refresh that takes longer than this is over, whatever became of it.
const STALE_MS: u64 = 3_600_000;

/// The ledger and the sealed document; empty where they are not there or cannot be read.
#[async_natively]
pub(crate) async fn look_at_documents<P: Ports>(
    session: &Session<P>,
    vault: &str,
    held: &[ProviderView],
    reach: &Reach,
    findings: &mut Findings,
) -> (Ledger, Sealed) {
    let sealed_name = sealed::name(vault);
    let is_sealed_there = !matches!(session.ports.load(&sealed_name, None).await, Ok(Loaded::Absent));
    let sealed = match sealed::load(&session.ports, vault).await {
        Ok(sealed) => {
            let count = sealed.quarantined.len() + sealed.successors.len();
            findings.ok(FindingCode::Sealed, format!("sealed credentials: {count}"));
            sealed
        }
        Err(error) => {
            let mut message = error.message.clone();
            message.push_str(". Set aside, what it holds cannot be put back");
            findings.note(Level::Error, FindingCode::SealedUnreadable, message, Help::fix(set_aside(&sealed_name)));
            Sealed::default()
        }
    };
    look_at_pool(session, &pool::name(vault), findings).await;
    let read = ledger::load(&session.ports, vault).await;
    let read = read.and_then(|read| {
        // Each record is read when it is asked for.
        let count = read.ledger.tokens.values().count();
        read.ledger.understood()?;
        Ok((read, count))
    });
    let name = ledger::name(vault);
    let ledger = match read {
        Ok((read, count)) => {
            if read.version.is_some() {
                findings.ok(FindingCode::Ledger, format!("the ledger can be read; tokens: {count}"));
            } else {
                lost(held, is_sealed_there, &name, findings);
            }
            stale_intents(&read.ledger, held, reach, session.ports.wall_ms(), findings);
            read.ledger
        }
        Err(error) => {
            unreadable(&error, &name, findings);
            Ledger::default()
        }
    };
    (ledger, sealed)
}

/// Whose turn it is. It is used as if it were empty where it cannot be read, so nobody would
/// notice.
#[async_natively]
async fn look_at_pool<P: Ports>(session: &Session<P>, name: &str, findings: &mut Findings) {
    let loaded = document::loaded(name, session.ports.load(name, None).await);
    let advice = ": whose turn it is in a pool is not known, and not kept";
    let read = loaded.and_then(|document| match document {
        Some(document) => {
            document::read(document.text.expose(), "the pool document", advice, |top| drop(top.objects("pools")))
        }
        None => Ok(()),
    });
    if let Err(error) = read {
        findings.note(Level::Warning, FindingCode::PoolUnreadable, error.message.clone(), Help::fix(set_aside(name)));
    }
}

fn unreadable(error: &KeeperError, name: &str, findings: &mut Findings) {
    let (code, help) = match error.code {
        // Whoever wrote it can read it: nothing need be given up.
        Code::NewerLedger => (FindingCode::LedgerNewer, Help::alternative(set_aside(name))),
        Code::CorruptLedger => (FindingCode::LedgerUnreadable, Help::fix(set_aside(name))),
        _ => return findings.note(Level::Error, FindingCode::LedgerUnreachable, error.message.clone(), Help::NONE),
    };
    let mut message = error.message.clone();
    message.push_str(". Set aside, it is begun anew; dead tokens that lie in the vault may then be sent once more");
    findings.note(Level::Error, code, message, help);
}

/// Overwrites nothing: run again, it does nothing. The host knows the path.
fn set_aside(name: &str) -> String {
    let mut command = String::from("mv -n ");
    command.push_str(&shell_word(name));
    command.push(' ');
    command.push_str(&shell_word(name));
    command.push_str(".aside");
    command
}

/// There is no ledger: was there one?
fn lost(held: &[ProviderView], is_sealed_there: bool, name: &str, findings: &mut Findings) {
    let is_ended = |held: &&ProviderView| {
        let mut logins = held.reading.credentials.iter().filter(|credential| credential.is_login());
        logins.any(|login| login.places.iter().any(|place| place.is_empty() && place.last_error.is_some()))
    };
    let sign = match held.iter().find(is_ended) {
        _ if is_sealed_there => "a sealed document is there".to_owned(),
        Some(held) => format!("the login of {} ended", held.profile.id),
        None => return findings.ok(FindingCode::Ledger, "there is no ledger yet".to_owned()),
    };
    let message = format!(
        "there is no ledger, and {sign}: if there was one it is lost, and dead tokens that come back may be sent once more. \
         Restore it from a backup if you have one"
    );
    let look = Help::fix(format!("ls -la {}*", shell_word(name)));
    findings.note(Level::Warning, FindingCode::LedgerLost, message, look);
}

/// Sends of which nobody ever told the end, by provider.
fn stale_intents(ledger: &Ledger, held: &[ProviderView], reach: &Reach, now_ms: u64, findings: &mut Findings) {
    let is_stale = |intent: &Intent| now_ms.saturating_sub(intent.sent_at_ms.max(intent.since_ms)) >= STALE_MS;
    if !ledger.tokens.values().any(|record| record.intent.as_ref().is_some_and(is_stale)) {
        return;
    }
    let places = held.iter().flat_map(|held| &held.reading.credentials).flat_map(|credential| &credential.places);
    let mut there: BTreeMap<Fingerprint, ()> = BTreeMap::new();
    there.extend(places.filter_map(|place| Some((place.fingerprint()?, ()))));
    // How many may still matter, and how many are of tokens that are gone.
    let mut stale: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for (token, record) in ledger.tokens.iter() {
        if !record.intent.as_ref().is_some_and(is_stale) {
            continue;
        }
        let (open, over) = stale.entry(record.provider.clone()).or_insert((0, 0));
        *if there.contains_key(token) { open } else { over } += 1;
    }
    for (provider, (open, over)) in stale.iter() {
        if *open > 0 {
            let what = format!(
                "{open} refreshes were sent more than an hour ago, and no answer tells what became of them. The \
                 server may have replaced the token"
            );
            let fix = reach.about("refresh", provider, LOGIN);
            findings.of_provider(provider, Level::Warning, FindingCode::IntentStale, &what, Help::fix(fix));
        }
        if *over > 0 {
            let what = format!("of {over} refreshes the end is not known, and their tokens are gone: they are over");
            findings.of_provider(provider, Level::Ok, FindingCode::IntentOver, &what, Help::NONE);
        }
    }
}
