//! Step 5 of the protocol: an intent is durable before a token is sent, and is closed when its
//! outcome is known.

use lazaretto_macros::async_natively;

use crate::error::KeeperError;
use crate::ports::Ports;
use crate::protocol::{Exchange, Intended};
use crate::session::Session;
use crate::state::fingerprint::Fingerprint;
use crate::state::ledger::{self, Counterpart, Intent, Ledger, State, Swapped};
use crate::vault::Fresh;

/// Step 5: the intent, durable before anything leaves. None: somebody else was first.
#[async_natively]
pub(crate) async fn record<P: Ports>(
    session: &Session<P>,
    exchange: &Exchange<'_>,
    mut read: ledger::Read,
) -> Result<Option<Intended>, KeeperError> {
    let now_ms = session.ports.wall_ms();
    let nonce = format!("{:016x}", session.ports.random_u64());
    let record = read.ledger.record(&exchange.fingerprint, &exchange.to, now_ms);
    let before = record.intent.clone();
    let intent = Intent {
        nonce: nonce.clone(),
        since_ms: before.as_ref().map_or(now_ms, |before| before.since_ms),
        sent_at_ms: now_ms,
        sends: before.as_ref().map_or(0, |before| before.sends) + 1,
    };
    record.intent = Some(intent.clone());
    // A tombstone that earned a send is lifted with it.
    if matches!(record.state, State::Dead(_)) {
        record.state = State::Live;
    }
    let ours = |ledger: &Ledger| {
        let record = ledger.tokens.get(&exchange.fingerprint);
        record.and_then(|record| record.intent.as_ref()).is_some_and(|intent| intent.nonce == nonce)
    };
    match ledger::swap(&session.ports, exchange.demand.vault, read, true, &ours).await? {
        Swapped::Done(ledger) => Ok(Some(Intended { intent, ledger })),
        Swapped::Stale => Ok(None),
    }
}

/// Takes an intent back: nothing was sent.
#[async_natively]
pub(crate) async fn withdraw<P: Ports>(session: &Session<P>, exchange: &Exchange<'_>, intended: Intended) {
    let now_ms = session.ports.wall_ms();
    let withdrawn = ledger::update(&session.ports, exchange.demand.vault, true, Some(intended.ledger), &|ledger| {
        ledger.record(&exchange.fingerprint, &exchange.to, now_ms).account_for(&intended.intent);
    })
    .await;
    // An open intent only makes the next one more careful.
    drop(withdrawn);
}

/// Closes an intent after the vault holds its result. If this is lost, an open intent whose token
/// is in no vault is never sent either.
#[async_natively]
pub(crate) async fn close<P: Ports>(
    session: &Session<P>,
    vault: &str,
    sent: &Fingerprint,
    to: &Counterpart,
    fresh: &Fresh,
    intended: Option<Intended>,
) {
    let now_ms = session.ports.wall_ms();
    let successor = fresh.refresh_token.as_ref().map(|token| Fingerprint::of(token.expose()));
    // What was known of it before it was given to us.
    let record = |ledger: &Ledger| ledger.tokens.get(successor.as_ref()?).map(|record| record.state.clone());
    let was = intended.as_ref().and_then(|intended| record(&intended.ledger.ledger));
    let (ours, known) = intended.map(|intended| (intended.intent, intended.ledger)).unzip();
    let resolved = ledger::update(&session.ports, vault, false, known, &|ledger| match &successor {
        Some(successor) => ledger.rotate(sent, successor, to, was.as_ref(), now_ms),
        None => {
            let record = ledger.record(sent, to, now_ms);
            record.generation += 1;
            match &ours {
                // It is good: that ends every doubt about it. But another's intent is another's.
                Some(ours) if record.intent.as_ref().is_some_and(|intent| intent.nonce != ours.nonce) => {
                    record.account_for(ours);
                }
                _ => record.intent = None,
            }
            record.state = State::Live;
            record.pause = None;
        }
    })
    .await;
    // Nothing depends on it: see above.
    drop(resolved);
}
