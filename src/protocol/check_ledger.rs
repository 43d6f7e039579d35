//! Step 4 of the protocol: what the ledger knows of a token decides whether it may be sent.

use lazaretto_macros::async_natively;

use crate::error::KeeperError;
use crate::ports::{Ports, Severity};
use crate::protocol::{Dead, Exchange, Next, Reason, backoff, events, lease, quarantine, recover};
use crate::session::Session;
use crate::state::fingerprint::Fingerprint;
use crate::state::ledger::{self, Standing};
use crate::state::sealed;
use crate::vault::{Place, Spot};

/// Step 4: what follows from what is known of the token; nothing, if it may be sent.
#[async_natively]
pub(crate) async fn check_ledger<P: Ports>(
    session: &Session<P>,
    exchange: &Exchange<'_>,
    read: &ledger::Read,
) -> Result<Option<Next>, KeeperError> {
    let ledger = &read.ledger;
    let now_ms = session.ports.wall_ms();
    match ledger.standing(&exchange.fingerprint, &exchange.to, now_ms) {
        // Where the ledger was lost, the sealed document may still know the successor.
        Standing::Sendable(None) if read.version.is_none() => recover::finish_sealed(session, exchange, ledger).await,
        Standing::Sendable(None) => Ok(None),
        Standing::Sendable(Some(intent)) => {
            // The answer may have come, and only the vault could not be written.
            if let Some(next) = recover::finish_sealed(session, exchange, ledger).await? {
                return Ok(Some(next));
            }
            lease::check_other_sender(exchange, intent, now_ms)?;
            Ok(None)
        }
        Standing::Dead(tombstone) if earned_a_send(exchange.place, tombstone) => Ok(None),
        Standing::Dead(tombstone) => {
            let (code, summary) = (tombstone.code.clone(), tombstone.summary.clone());
            let dead = Dead { status: tombstone.status, code, summary, ..Dead::of(exchange, Reason::ReSeeded) };
            quarantine::quarantine_sent(session, exchange, &dead).await.map(Some)
        }
        Standing::Spent(_) => recover::restore_descendant(session, exchange, ledger).await.map(Some),
        Standing::Paused(pause) => Err(backoff::paused_error(exchange, pause, now_ms)),
    }
}

#[async_natively]
pub(crate) async fn notice_lost_ledger<P: Ports>(session: &Session<P>, exchange: &Exchange<'_>, absent: bool) {
    if !absent {
        return;
    }
    let marked =
        exchange.due.credential.places.iter().any(|place| place.spot == Spot::Login && place.last_error.is_some());
    let sealed = sealed::load(&session.ports, exchange.demand.vault).await;
    if marked || sealed.is_ok_and(|sealed| !sealed.quarantined.is_empty()) {
        events::tell(
            session,
            exchange.demand,
            "ledger-lost",
            Severity::Warning,
            "there is no ledger, and there was one: what was known of dead tokens is lost",
        );
    }
}

/// The same token beside an access token that was issued after the tombstone: a new login, at a
/// server that gives the same refresh token again.
pub(crate) fn earned_a_send(place: &Place, tombstone: &ledger::Tombstone) -> bool {
    let access = place.access_token.as_ref().map(|token| Fingerprint::of(token.expose()));
    access.is_some()
        && access != tombstone.access
        && place.issued_at_ms.is_some_and(|issued_ms| issued_ms > tombstone.at_ms)
}
