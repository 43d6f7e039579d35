//! Step 2 of the protocol, and step 6: the right to refresh one grant, and whether it lasts for one more exchange.

use lazaretto_macros::async_natively;

use crate::error::{Code, KeeperError};
use crate::next_step;
use crate::ports::{Acquired, Lease, Ports, Scope};
use crate::protocol::{Demand, Exchange, HeldLease, Patience};
use crate::session::Session;
use crate::state::fingerprint::Fingerprint;
use crate::state::ledger::Intent;

/// What a lease must last beyond the deadlines of two requests.
const LEASE_ALLOWANCE_MS: u64 = 5_000;
/// The reference's programs wait 15 s for their lock: within this, a second request must be over as well.
const SHARED_HOLD_MS: u64 = 14_000;

/// Step 2: the lease on the grant, by the fingerprint about to be sent; then the vault's own lock, if another program
/// writes the vault too.
#[async_natively]
pub(crate) async fn acquire<P: Ports>(
    session: &Session<P>,
    demand: &Demand<'_>,
    token: Option<&Fingerprint>,
    patience: Patience,
) -> Result<HeldLease, KeeperError> {
    let shared = session.settings(demand.vault).await?.shared_with_reference()?;
    if shared && !session.ports.describe().excludes_foreign {
        let settings = next_step::reach(session, demand.vault).await.settings();
        let what = format!(
            "the vault counts as shared with a program whose lock this host cannot take, so nothing is refreshed. If no other \
             program writes it, put {{\"shared_with_reference\": false}} into {settings}"
        );
        return Err(demand.error(Code::SharedVault, &what));
    }
    let (monotonic_ms, wall_ms) = (session.ports.monotonic_ms(), session.ports.wall_ms());
    // A request whose answer is lost is made once more.
    let ttl_ms = demand.profile.deadline_ms.saturating_mul(2).saturating_add(LEASE_ALLOWANCE_MS);
    let wait_ms = match patience {
        Patience::None => 0,
        Patience::OneRefresh => ttl_ms,
    };
    let of_its_name = Fingerprint::of(&demand.credential);
    let fingerprint = token.unwrap_or(&of_its_name).as_str().to_owned();
    let scope = Scope::Grant { document: demand.vault.to_owned(), fingerprint };
    let (grant, granted_ttl_ms) = acquire_scope(session, demand, &scope, ttl_ms, wait_ms).await?;
    if !shared {
        let since_ms = session.ports.monotonic_ms();
        return Ok(HeldLease { grant, document: None, granted_ttl_ms, monotonic_ms, wall_ms, since_ms });
    }
    match acquire_scope(session, demand, &Scope::Document(demand.vault.to_owned()), ttl_ms, wait_ms).await {
        Ok((document, _)) => {
            let since_ms = session.ports.monotonic_ms();
            Ok(HeldLease { grant, document: Some(document), granted_ttl_ms, monotonic_ms, wall_ms, since_ms })
        }
        Err(error) => {
            session.ports.release(&grant).await;
            Err(error)
        }
    }
}

#[async_natively]
async fn acquire_scope<P: Ports>(
    session: &Session<P>,
    demand: &Demand<'_>,
    scope: &Scope,
    ttl_ms: u64,
    wait_ms: u64,
) -> Result<(Lease, Option<u64>), KeeperError> {
    match session.ports.acquire(scope, ttl_ms, wait_ms).await {
        Ok(Acquired::Granted { lease, granted_ttl_ms }) => Ok((lease, granted_ttl_ms)),
        Ok(Acquired::Busy(holder)) => {
            let holder = if holder.is_empty() { "another process".to_owned() } else { holder };
            let what = format!("{holder} holds the lock and did not let go within {wait_ms} ms");
            Err(demand.error(Code::Busy, &what).after(1))
        }
        Err(error) => Err(KeeperError::storage(demand.vault, &error).of(&demand.profile.id, &demand.credential)),
    }
}

#[async_natively]
pub(crate) async fn release<P: Ports>(session: &Session<P>, held: HeldLease) {
    if let Some(document) = &held.document {
        session.ports.release(document).await;
    }
    session.ports.release(&held.grant).await;
}

/// Step 6: the lease, counted from before it was asked for, outlasts one more exchange.
pub(crate) fn has_time<P: Ports>(session: &Session<P>, exchange: &Exchange<'_>) -> bool {
    let Some(ttl_ms) = exchange.held.granted_ttl_ms else { return true };
    let (monotonic_ms, wall_ms) = (session.ports.monotonic_ms(), session.ports.wall_ms());
    if wall_ms < exchange.held.wall_ms {
        return false;
    }
    let elapsed_ms = monotonic_ms.saturating_sub(exchange.held.monotonic_ms).max(wall_ms - exchange.held.wall_ms);
    elapsed_ms.saturating_add(exchange.deadline_ms) < ttl_ms
}

/// Whoever waits for the vault's own lock waits for both requests.
pub(crate) fn resend_deadline_ms<P: Ports>(session: &Session<P>, exchange: &Exchange<'_>) -> u64 {
    if exchange.held.document.is_none() {
        return exchange.deadline_ms;
    }
    let held_ms = session.ports.monotonic_ms().saturating_sub(exchange.held.since_ms);
    exchange.deadline_ms.min(SHARED_HOLD_MS.saturating_sub(held_ms))
}

/// A lease with a time to live may have passed while its holder was still sending: one HTTP deadline is waited out.
pub(crate) fn check_other_sender(exchange: &Exchange<'_>, intent: &Intent, now_ms: u64) -> Result<(), KeeperError> {
    let over_ms = intent.sent_at_ms.saturating_add(exchange.demand.profile.deadline_ms);
    if exchange.held.granted_ttl_ms.is_none() || now_ms >= over_ms || now_ms < intent.sent_at_ms {
        return Ok(());
    }
    let what = "another process may still be sending this refresh token";
    Err(exchange.demand.error(Code::InDoubt, what).after((over_ms - now_ms).div_ceil(1_000)))
}
