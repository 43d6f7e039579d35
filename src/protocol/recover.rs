//! New tokens that an earlier refresh could not store, or that another program wrote over, reach
//! the vault again.

use lazaretto_macros::async_natively;

use crate::error::{Code, KeeperError};
use crate::ports::{Ports, Severity};
use crate::protocol::can_store::fresh_of;
use crate::protocol::store_successor::{self, may_be_written_over};
use crate::protocol::{
    Dead, Demand, Exchange, HeldLease, Next, Reason, StoreOutcome, Storing, events, intent, quarantine,
};
use crate::session::Session;
use crate::state::fingerprint::Fingerprint;
use crate::state::ledger::{Counterpart, Ledger, Standing, State};
use crate::state::sealed::{self, Successor};
use crate::token::Origin;
use crate::vault::Fresh;

/// A spent token lies in the vault: its descendant is put in every place it should be in. Only
/// where there is none is the token taken out: another program wrote it over its successor.
#[async_natively]
pub(crate) async fn restore_descendant<P: Ports>(
    session: &Session<P>,
    exchange: &Exchange<'_>,
    ledger: &Ledger,
) -> Result<Next, KeeperError> {
    if let Some(next) = finish_sealed(session, exchange, ledger).await? {
        return Ok(next);
    }
    let vault = exchange.due.vault.open();
    let now_ms = session.ports.wall_ms();
    for provider in vault.providers() {
        let profile = session.profile_or_generic(&provider)?;
        for place in vault.places(&profile, &mut Vec::new()) {
            let Some(token) = place.fingerprint() else { continue };
            let live =
                matches!(ledger.standing(&token, &exchange.to, now_ms), Standing::Sendable(_) | Standing::Paused(_));
            if live && ledger.is_ancestor(&exchange.fingerprint, &token) {
                let fresh = fresh_of(&place, now_ms);
                let storing = Storing {
                    sent: &token,
                    fresh: &fresh,
                    ledger,
                    since_ms: now_ms,
                    was: None,
                    parent_issued_ms: None,
                    lease: exchange.held.document.as_ref(),
                };
                store_successor::store(session, exchange.demand, &storing).await?;
                events::tell(
                    session,
                    exchange.demand,
                    "restored",
                    Severity::Warning,
                    "a spent token had come back beside its successor; the successor is in its place again",
                );
                return Ok(Next::Again);
            }
        }
    }
    // A descendant is looked for along the lineage.
    ledger.understood()?;
    let dead = Dead::of(exchange, Reason::Overwritten);
    quarantine::quarantine_sent(session, exchange, &dead).await
}

/// A successor of the token at hand that waits in the sealed document, or was kept there, goes
/// where it belongs.
#[async_natively]
pub(crate) async fn finish_sealed<P: Ports>(
    session: &Session<P>,
    exchange: &Exchange<'_>,
    ledger: &Ledger,
) -> Result<Option<Next>, KeeperError> {
    let sealed = sealed::load(&session.ports, exchange.demand.vault).await?;
    let is_live = |sealed: &&Successor| is_live(session, sealed, &exchange.to, ledger);
    let mut at = &exchange.fingerprint;
    for _ in 0..64 {
        let mut of_it = sealed.successors.get(at).into_iter().chain(sealed.kept.get(at));
        if let Some(successor) = of_it.find(is_live) {
            let next = unseal(session, exchange.demand, at, successor, &exchange.to, ledger, exchange.held).await;
            return next.map(Some);
        }
        match ledger.tokens.get(at).map(|record| &record.state) {
            Some(State::Spent { successor }) => at = successor,
            _ => break,
        }
    }
    Ok(None)
}

/// What is sealed may have been spent or have died since.
pub(crate) fn is_live<P: Ports>(session: &Session<P>, sealed: &Successor, to: &Counterpart, ledger: &Ledger) -> bool {
    let token = sealed.fresh.refresh_token.as_ref().map(|token| Fingerprint::of(token.expose()));
    let standing = token.as_ref().map(|token| ledger.standing(token, to, session.ports.wall_ms()));
    matches!(standing, Some(Standing::Sendable(_) | Standing::Paused(_)))
}

#[async_natively]
pub(crate) async fn unseal<P: Ports>(
    session: &Session<P>,
    demand: &Demand<'_>,
    spent: &Fingerprint,
    successor: &Successor,
    to: &Counterpart,
    ledger: &Ledger,
    held: &HeldLease,
) -> Result<Next, KeeperError> {
    let fresh = &successor.fresh;
    let stored_as = store_successor::store(session, demand, &Storing::of(spent, successor, ledger, held)).await?;
    intent::close(session, demand.vault, spent, to, fresh, None).await;
    if matches!(stored_as, StoreOutcome::Failed | StoreOutcome::Overtaken) {
        return serve_from_sealed(session, demand, fresh);
    }
    sealed::update(&session.ports, demand.vault, &|sealed| {
        sealed.successors.remove(spent);
        if may_be_written_over(demand, held) {
            sealed.keep(spent, successor);
        }
    })
    .await?;
    let what = "tokens that an earlier refresh could not store are in the vault now";
    events::tell(session, demand, "restored", Severity::Info, what);
    Ok(Next::Again)
}

/// The vault still cannot be written: what waits for it is good meanwhile.
fn serve_from_sealed<P: Ports>(session: &Session<P>, demand: &Demand<'_>, fresh: &Fresh) -> Result<Next, KeeperError> {
    let good =
        fresh.expires_at_ms().is_none_or(|at_ms| at_ms > session.ports.wall_ms().saturating_add(demand.min_valid_ms));
    if !good || fresh.access_token.is_empty() || demand.is_unwanted(&fresh.access_token) {
        let what = "its new tokens wait in the sealed document, for the vault cannot be written";
        return Err(demand.error(Code::Storage, what));
    }
    let token_type = fresh.token_type.as_deref().unwrap_or("Bearer");
    let token = demand.served(&fresh.access_token, token_type, fresh.expires_at_ms(), Origin::Sealed)?;
    Ok(Next::Serve(token.warned(Some("the vault cannot be written; its new tokens wait in the sealed document"))))
}
