//! The refresh protocol: at most one request per token generation, and no token is ever sent that is known to be
//! spent or dead.
//!
//! [`ensure`] and [`refresh_under_lease`] are its ten steps in order; each step is a file beside this one.
//! `docs/protocol.md` says why each step is there.

use lazaretto_macros::async_natively;

use crate::classify::{RefreshToken, Tokens, Verdict};
use crate::error::{Code, KeeperError};
use crate::ports::Ports;
use crate::protocol::{
    Dead, Demand, Due, Exchange, Freshness, HeldLease, Next, Outcome, Patience, Reason, backoff, can_store,
    check_ledger, client_secret, exchange, freshness, intent, lease, ownership, quarantine, recover, request,
    store_successor,
};
use crate::secret::Secret;
use crate::session::Session;
use crate::state::fingerprint::Fingerprint;
use crate::state::{ledger, sealed};
use crate::token::AccessToken;
use crate::vault::{Place, Spot};

/// How often the protocol starts over before it gives up: each time somebody else changed something.
const ROUNDS: u32 = 16;
/// The reference's programs wait 15 s for their lock, and a request must be over by then.
const SHARED_DEADLINE_MS: u64 = 10_000;

/// An access token that is valid as asked.
#[async_natively]
pub(crate) async fn ensure<P: Ports>(session: &Session<P>, demand: &Demand<'_>) -> Result<AccessToken, KeeperError> {
    for round in 0..ROUNDS {
        // 1. Freshness: a token that is good enough needs no lock, no ledger and no parsing.
        let due = match freshness::look(session, demand, round).await? {
            Freshness::Serve(token) => return Ok(token),
            Freshness::Due(due) => due,
        };
        // A program that is asked for the client's secret may ask a person: that takes its time, so nobody waits for a lock meanwhile.
        let client_secret = match &due.credential.leading().refresh_token {
            Some(_) => client_secret::read(session, &demand.profile).await,
            None => Ok(None),
        };
        let client_secret = match client_secret {
            Ok(client_secret) => client_secret,
            Err(error) => return due.usable_or(error.of(&demand.profile.id, &demand.credential)),
        };
        // 2. Lease.
        // Who still has a good token does not wait: somebody is refreshing it.
        let patience = if due.usable.is_some() { Patience::None } else { Patience::OneRefresh };
        let held = match lease::acquire(session, demand, due.token().as_ref(), patience).await {
            Ok(held) => held,
            Err(error) => return due.usable_or(error),
        };
        let next = refresh_under_lease(session, demand, &due, &held, client_secret.as_ref()).await;
        lease::release(session, held).await;
        match next {
            Ok(Next::Serve(token)) => return Ok(token),
            Ok(Next::Again) => {}
            // In the advisory window a failure leaves the token served that is still good.
            Err(error) => return due.usable_or(error),
        }
    }
    Err(KeeperError::new(Code::Busy, format!("{}: the vault keeps changing under this refresh", demand.profile.id))
        .of(&demand.profile.id, &demand.credential)
        .after(1))
}

#[async_natively]
async fn refresh_under_lease<P: Ports>(
    session: &Session<P>,
    demand: &Demand<'_>,
    due: &Due,
    held: &HeldLease,
    client_secret: Option<&Secret>,
) -> Result<Next, KeeperError> {
    // 3. Freshness again, under the lease.
    let Some(now) = look_again(session, demand, due).await? else { return Ok(Next::Again) };
    let place = now.credential.leading();
    let Some(token) = &place.refresh_token else { return without_refresh_token(session, demand, &now, held).await };
    if !request::can_carry(&demand.profile, token) {
        return Err(demand.unusable("refresh token"));
    }
    let exchange = prepare(demand, &now, place, token, held, client_secret)?;
    // 4. Demand the ledger.
    let read = ledger::load(&session.ports, demand.vault).await?;
    check_ledger::notice_lost_ledger(session, &exchange, read.version.is_none()).await;
    if let Some(next) = check_ledger::check_ledger(session, &exchange, &read).await? {
        return Ok(next);
    }
    if let Some(next) = ownership::owned_elsewhere(session, &exchange).await? {
        return Ok(next);
    }
    if !can_store::can_store(session, &exchange).await? {
        return Ok(Next::Again);
    }
    // 5. Intent: this, not the lease, is what makes the send safe.
    let Some(intended) = intent::record(session, &exchange, read).await? else { return Ok(Next::Again) };
    // 6. and 7. Check the deadline and send. From here on nothing cancels.
    let Some(outcome) = exchange::send(session, &exchange, &intended).await else {
        intent::withdraw(session, &exchange, intended).await;
        return Ok(Next::Again);
    };
    // 8. Refreshed.
    let is_usable = |tokens: &Tokens| matches!(tokens.refresh_token, RefreshToken::Usable(_));
    if outcome.judgement.verdict == Verdict::Refreshed || outcome.judgement.tokens.as_ref().is_some_and(is_usable) {
        return store_successor::store_successor(session, &exchange, outcome, intended).await;
    }
    match outcome.judgement.verdict {
        // 9. Refused.
        Verdict::Terminal => end_refused(session, &exchange, &outcome).await,
        // 10. In doubt: the intent stays open. Or 9 again: a known outcome that is not the token's end.
        _ => Err(backoff::back_off(session, &exchange, &outcome, intended).await?),
    }
}

/// Step 3: what the vault holds now, unless that is something else than step 1 saw.
#[async_natively]
async fn look_again<P: Ports>(
    session: &Session<P>,
    demand: &Demand<'_>,
    due: &Due,
) -> Result<Option<Due>, KeeperError> {
    let (vault, credential) = freshness::find(session, demand).await?;
    let (seen, place) = (due.credential.leading(), credential.leading());
    let same = place.refresh_token == seen.refresh_token && place.access_token == seen.access_token;
    Ok(same.then(|| Due { vault, credential, usable: due.usable.clone(), spent: due.spent.clone() }))
}

fn prepare<'a>(
    demand: &'a Demand<'a>,
    due: &'a Due,
    place: &'a Place,
    token: &'a Secret,
    held: &'a HeldLease,
    client_secret: Option<&Secret>,
) -> Result<Exchange<'a>, KeeperError> {
    let login = due.vault.open().node(&demand.profile.id, Spot::Login);
    let (to, client_secret) = request::counterpart(&demand.profile, login, client_secret)?;
    let deadline_ms = if held.document.is_some() {
        demand.profile.deadline_ms.min(SHARED_DEADLINE_MS)
    } else {
        demand.profile.deadline_ms
    };
    Ok(Exchange {
        demand,
        due,
        place,
        token,
        fingerprint: Fingerprint::of(token.expose()),
        to,
        client_secret,
        deadline_ms,
        held,
    })
}

/// Nothing to send. Its new tokens may wait in the sealed document; or it is a login whose access token has expired and that
/// has no refresh token, although its provider issues them.
#[async_natively]
async fn without_refresh_token<P: Ports>(
    session: &Session<P>,
    demand: &Demand<'_>,
    due: &Due,
    held: &HeldLease,
) -> Result<Next, KeeperError> {
    let place = due.credential.leading();
    let login = due.vault.open().node(&demand.profile.id, Spot::Login);
    let (to, _) = request::counterpart(&demand.profile, login, None)?;
    if let Some(spent) = &due.spent {
        let sealed = sealed::load(&session.ports, demand.vault).await?;
        let ledger = ledger::load(&session.ports, demand.vault).await?.ledger;
        return match sealed.successors.get(spent) {
            Some(successor) if recover::is_live(session, successor, &to, &ledger) => {
                recover::unseal(session, demand, spent, successor, &to, &ledger, held).await
            }
            Some(_) => {
                sealed::update(&session.ports, demand.vault, &|sealed| {
                    sealed.successors.remove(spent);
                })
                .await?;
                Ok(Next::Again)
            }
            None => Ok(Next::Again),
        };
    }
    // This machine's clock alone is no reason to take anything out of another tool's file: it may be wrong.
    if due.vault.is_foreign() {
        let what = "there is no refresh token, and by this machine's clock the access token has expired. Nothing was sent or \
                    changed";
        return Err(demand.error(Code::LoginRequired, what));
    }
    let missing = Dead::new(demand, place, Reason::MissingRefreshToken);
    let dead = Dead { code: "missing_refresh_token".into(), access_refused: true, ..missing };
    quarantine::quarantine(session, demand.vault, &to, &dead, held.document.as_ref()).await?;
    Err(dead.error())
}

/// Step 9, terminal: ours and still stored, or somebody else's newer token.
#[async_natively]
async fn end_refused<P: Ports>(
    session: &Session<P>,
    exchange: &Exchange<'_>,
    outcome: &Outcome,
) -> Result<Next, KeeperError> {
    let judgement = &outcome.judgement;
    let reason = if outcome.answer_lost { Reason::AnswerLost } else { Reason::RefreshRefused };
    let dead = Dead {
        status: judgement.status,
        code: judgement.code.clone().unwrap_or_else(|| judgement.rule.clone()),
        summary: judgement.summary.clone(),
        ..Dead::of(exchange, reason)
    };
    quarantine::quarantine_sent(session, exchange, &dead).await
}
