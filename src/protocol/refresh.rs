//! The refresh protocol: at most one request per token generation, and no token is ever sent that is known to be
//! spent or dead.
//!
//! [`Keeper::ensure`] and [`Keeper::under_lease`] are its ten steps in order; everything else here is a step's detail.
//! `docs/protocol.md` says why each step is there.

use crate::classify::{RefreshToken, Tokens, Verdict};
use crate::error::{Code, KeeperError};
use crate::keeper::{AccessToken, Ask, Keeper, Origin};
use crate::ports::{Ports, Severity};
use crate::protocol::exchange::Outcome;
use crate::protocol::freshness::{Due, Look};
use crate::protocol::lease::{Held, Patience};
use crate::protocol::quarantine::{Dead, Reason, is_refused};
use crate::protocol::request;
use crate::secret::Secret;
use crate::state::fingerprint::Fingerprint;
use crate::state::ledger::{self, Counterpart, Intent, Ledger, Standing, State, Swapped};
use crate::state::sealed;
use crate::vault::{Place, Spot};

/// How often the protocol starts over before it gives up: each time somebody else changed something.
const ROUNDS: u32 = 16;
/// The reference's programs wait 15 s for their lock, and a request must be over by then.
const SHARED_DEADLINE_MS: u64 = 10_000;

/// What follows from a round under the lease.
pub(crate) enum Next {
    /// An access token for the caller.
    Serve(AccessToken),
    /// Something changed: start over.
    Again,
}

/// What is about to be sent, and for whom.
pub(crate) struct Sending<'a> {
    pub(crate) ask: &'a Ask<'a>,
    pub(crate) due: &'a Due,
    pub(crate) place: &'a Place,
    pub(crate) token: &'a Secret,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) to: Counterpart,
    pub(crate) client_secret: Option<Secret>,
    pub(crate) deadline_ms: u64,
    pub(crate) held: &'a Held,
}

/// A send that may go out.
pub(crate) struct Intended {
    pub(crate) intent: Intent,
    /// The ledger as it was stored with the intent.
    pub(crate) ledger: ledger::Read,
}

#[cfg_attr(target_arch = "wasm32", lazaretto_macros::synchronous)]
impl<P: Ports> Keeper<P> {
    /// An access token that is valid as asked.
    pub(crate) async fn ensure(&self, ask: &Ask<'_>) -> Result<AccessToken, KeeperError> {
        for round in 0..ROUNDS {
            // 1. Look: a token that is good enough needs no lock, no ledger and no parsing.
            let due = match self.look(ask, round).await? {
                Look::Serve(token) => return Ok(token),
                Look::Due(due) => due,
            };
            // A program that is asked for the client's secret may ask a person: that takes its time, so nobody waits for a lock meanwhile.
            let client_secret = match &due.credential.leading().refresh_token {
                Some(_) => self.client_secret(&ask.profile).await,
                None => Ok(None),
            };
            let client_secret = match client_secret {
                Ok(client_secret) => client_secret,
                Err(error) => return due.usable_or(error.of(&ask.profile.id, &ask.credential)),
            };
            // 2. Lease.
            // Who still has a good token does not wait: somebody is refreshing it.
            let patience = if due.usable.is_some() { Patience::None } else { Patience::OneRefresh };
            let held = match self.lease(ask, due.token().as_ref(), patience).await {
                Ok(held) => held,
                Err(error) => return due.usable_or(error),
            };
            let next = self.under_lease(ask, &due, &held, client_secret.as_ref()).await;
            self.give_back(held).await;
            match next {
                Ok(Next::Serve(token)) => return Ok(token),
                Ok(Next::Again) => {}
                // In the advisory window a failure leaves the token served that is still good.
                Err(error) => return due.usable_or(error),
            }
        }
        Err(KeeperError::new(Code::Busy, format!("{}: the vault keeps changing under this refresh", ask.profile.id))
            .of(&ask.profile.id, &ask.credential)
            .after(1))
    }

    async fn under_lease(
        &self,
        ask: &Ask<'_>,
        due: &Due,
        held: &Held,
        client_secret: Option<&Secret>,
    ) -> Result<Next, KeeperError> {
        // 3. Look again, under the lease.
        let Some(now) = self.look_again(ask, due).await? else { return Ok(Next::Again) };
        let place = now.credential.leading();
        let Some(token) = &place.refresh_token else { return self.without_refresh_token(ask, &now, held).await };
        if !request::can_carry(&ask.profile, token) {
            return Err(ask.unusable("refresh token"));
        }
        let sending = self.sending(ask, &now, place, token, held, client_secret).await?;
        // 4. Ask the ledger.
        let read = ledger::load(&self.ports, ask.vault).await?;
        self.notice_a_lost_ledger(&sending, read.version.is_none()).await;
        if let Some(next) = self.ask_the_ledger(&sending, &read).await? {
            return Ok(next);
        }
        if let Some(next) = self.owned_elsewhere(&sending).await? {
            return Ok(next);
        }
        if !self.check_that_it_can_be_stored(&sending).await? {
            return Ok(Next::Again);
        }
        // 5. Intent: this, not the lease, is what makes the send safe.
        let Some(intended) = self.intend(&sending, read).await? else { return Ok(Next::Again) };
        // 6. and 7. Check the deadline and send. From here on nothing cancels.
        let Some(outcome) = self.send(&sending, &intended).await else {
            self.withdraw(&sending, intended).await;
            return Ok(Next::Again);
        };
        // 8. Refreshed.
        let is_usable = |tokens: &Tokens| matches!(tokens.refresh_token, RefreshToken::Usable(_));
        if outcome.judgement.verdict == Verdict::Refreshed || outcome.judgement.tokens.as_ref().is_some_and(is_usable) {
            return self.refreshed(&sending, outcome, intended).await;
        }
        match outcome.judgement.verdict {
            // 9. Refused.
            Verdict::Terminal => self.refused(&sending, &outcome).await,
            // 10. In doubt: the intent stays open. Or 9 again: a known outcome that is not the token's end.
            _ => Err(self.put_off(&sending, &outcome, intended).await?),
        }
    }

    /// Step 3: what the vault holds now, unless that is something else than step 1 saw.
    async fn look_again(&self, ask: &Ask<'_>, due: &Due) -> Result<Option<Due>, KeeperError> {
        let (vault, credential) = self.found(ask).await?;
        let (seen, place) = (due.credential.leading(), credential.leading());
        let same = place.refresh_token == seen.refresh_token && place.access_token == seen.access_token;
        Ok(same.then(|| Due { vault, credential, usable: due.usable.clone(), spent: due.spent.clone() }))
    }

    async fn sending<'a>(
        &self,
        ask: &'a Ask<'a>,
        due: &'a Due,
        place: &'a Place,
        token: &'a Secret,
        held: &'a Held,
        client_secret: Option<&Secret>,
    ) -> Result<Sending<'a>, KeeperError> {
        let login = due.vault.open().node(&ask.profile.id, Spot::Login);
        let (to, client_secret) = request::counterpart(&ask.profile, login, client_secret)?;
        let deadline_ms = if held.document.is_some() {
            ask.profile.deadline_ms.min(SHARED_DEADLINE_MS)
        } else {
            ask.profile.deadline_ms
        };
        Ok(Sending {
            ask,
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
    async fn without_refresh_token(&self, ask: &Ask<'_>, due: &Due, held: &Held) -> Result<Next, KeeperError> {
        let place = due.credential.leading();
        let login = due.vault.open().node(&ask.profile.id, Spot::Login);
        let (to, _) = request::counterpart(&ask.profile, login, None)?;
        if let Some(spent) = &due.spent {
            let sealed = sealed::load(&self.ports, ask.vault).await?;
            let ledger = ledger::load(&self.ports, ask.vault).await?.ledger;
            return match sealed.successors.get(spent) {
                Some(successor) if self.is_live(successor, &to, &ledger) => {
                    self.unseal_successor(ask, spent, successor, &to, &ledger, held).await
                }
                Some(_) => {
                    sealed::update(&self.ports, ask.vault, &|sealed| {
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
            return Err(ask.error(Code::LoginRequired, what));
        }
        let dead = Dead {
            provider: &ask.profile,
            credential: &ask.credential,
            place,
            reason: Reason::MissingRefreshToken,
            status: None,
            code: "missing_refresh_token".into(),
            summary: String::new(),
            access_refused: true,
        };
        self.quarantine(ask.vault, &to, &dead, held.document.as_ref()).await?;
        Err(dead.error())
    }

    /// Step 4: what follows from what is known of the token; nothing, if it may be sent.
    async fn ask_the_ledger(&self, sending: &Sending<'_>, read: &ledger::Read) -> Result<Option<Next>, KeeperError> {
        let ledger = &read.ledger;
        let now_ms = self.ports.wall_ms();
        match ledger.standing(&sending.fingerprint, &sending.to, now_ms) {
            // Where the ledger was lost, the sealed document may still know the successor.
            Standing::Sendable(None) if read.version.is_none() => self.finish_a_sealed_successor(sending, ledger).await,
            Standing::Sendable(None) => Ok(None),
            Standing::Sendable(Some(intent)) => {
                // The answer may have come, and only the vault could not be written.
                if let Some(next) = self.finish_a_sealed_successor(sending, ledger).await? {
                    return Ok(Some(next));
                }
                self.wait_for_the_other(sending, intent, now_ms)?;
                Ok(None)
            }
            Standing::Dead(tombstone) if earned_a_send(sending.place, tombstone) => Ok(None),
            Standing::Dead(tombstone) => {
                let dead = Dead {
                    provider: &sending.ask.profile,
                    credential: &sending.ask.credential,
                    place: sending.place,
                    reason: Reason::ReSeeded,
                    status: tombstone.status,
                    code: tombstone.code.clone(),
                    summary: tombstone.summary.clone(),
                    access_refused: is_refused(sending.place.access_token.as_ref(), sending.ask.refused.as_ref()),
                };
                self.take_out(sending, &dead).await.map(Some)
            }
            Standing::Spent(_) => self.restore_the_descendant(sending, ledger).await.map(Some),
            Standing::Paused(pause) => Err(self.paused(sending, pause, now_ms)),
        }
    }

    /// Step 5: the intent, durable before anything leaves. None: somebody else was first.
    async fn intend(&self, sending: &Sending<'_>, mut read: ledger::Read) -> Result<Option<Intended>, KeeperError> {
        let now_ms = self.ports.wall_ms();
        let nonce = format!("{:016x}", self.ports.random_u64());
        let record = read.ledger.record(&sending.fingerprint, &sending.to, now_ms);
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
            let record = ledger.tokens.get(&sending.fingerprint);
            record.and_then(|record| record.intent.as_ref()).is_some_and(|intent| intent.nonce == nonce)
        };
        match ledger::swap(&self.ports, sending.ask.vault, read, true, &ours).await? {
            Swapped::Done(ledger) => Ok(Some(Intended { intent, ledger })),
            Swapped::Stale => Ok(None),
        }
    }

    /// Step 9, terminal: ours and still stored, or somebody else's newer token.
    async fn refused(&self, sending: &Sending<'_>, outcome: &Outcome) -> Result<Next, KeeperError> {
        let judgement = &outcome.judgement;
        let dead = Dead {
            provider: &sending.ask.profile,
            credential: &sending.ask.credential,
            place: sending.place,
            reason: if outcome.answer_lost { Reason::AnswerLost } else { Reason::RefreshRefused },
            status: judgement.status,
            code: judgement.code.clone().unwrap_or_else(|| judgement.rule.clone()),
            summary: judgement.summary.clone(),
            access_refused: is_refused(sending.place.access_token.as_ref(), sending.ask.refused.as_ref()),
        };
        self.take_out(sending, &dead).await
    }

    /// Quarantines, and goes on with whatever newer tokens lie in the credential's places, or wait for them.
    pub(crate) async fn take_out(&self, sending: &Sending<'_>, dead: &Dead<'_>) -> Result<Next, KeeperError> {
        self.quarantine(sending.ask.vault, &sending.to, dead, sending.held.document.as_ref()).await?;
        let ask = sending.ask;
        let found = self.found(ask).await;
        let has_other = found.is_ok_and(|(_, credential)| credential.leading().refresh_token.is_some());
        // A copy from before a refresh died, whose successor the vault could not take.
        let sealed = sealed::load(&self.ports, ask.vault).await;
        if has_other || sealed.is_ok_and(|sealed| sealed.successor_for(&ask.profile.id, &ask.credential).is_some()) {
            return Ok(Next::Again);
        }
        match &sending.due.usable {
            Some(token) => {
                let served = AccessToken { origin: Origin::Sealed, ..token.clone() };
                Ok(Next::Serve(served.warned_by(&dead.error())))
            }
            None => Err(dead.error()),
        }
    }

    /// Takes an intent back: nothing was sent.
    async fn withdraw(&self, sending: &Sending<'_>, intended: Intended) {
        let now_ms = self.ports.wall_ms();
        let withdrawn = ledger::update(&self.ports, sending.ask.vault, true, Some(intended.ledger), &|ledger| {
            ledger.record(&sending.fingerprint, &sending.to, now_ms).account_for(&intended.intent);
        })
        .await;
        // An open intent only makes the next one more careful.
        drop(withdrawn);
    }

    async fn notice_a_lost_ledger(&self, sending: &Sending<'_>, absent: bool) {
        if !absent {
            return;
        }
        let marked =
            sending.due.credential.places.iter().any(|place| place.spot == Spot::Login && place.last_error.is_some());
        let sealed = sealed::load(&self.ports, sending.ask.vault).await;
        if marked || sealed.is_ok_and(|sealed| !sealed.quarantined.is_empty()) {
            self.tell(
                sending.ask,
                "ledger-lost",
                Severity::Warning,
                "there is no ledger, and there was one: what was known of dead tokens is lost",
            );
        }
    }
}

/// The same token beside an access token that was issued after the tombstone: a new login, at a server that gives the
/// same refresh token again.
pub(crate) fn earned_a_send(place: &Place, tombstone: &ledger::Tombstone) -> bool {
    let access = place.access_token.as_ref().map(|token| Fingerprint::of(token.expose()));
    access.is_some()
        && access != tombstone.access
        && place.issued_at_ms.is_some_and(|issued_ms| issued_ms > tombstone.at_ms)
}
