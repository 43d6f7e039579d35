//! The refresh protocol: at most one request per token generation, and no token is ever sent that is known to be
//! spent or dead.
//!
//! [`Keeper::ensure`] and [`Keeper::under_lease`] are its ten steps in order; everything else here is a step's detail.
//! `docs/protocol.md` says why each step is there.

use crate::classify::{self, Answer, Judgement, Verdict};
use crate::error::{Action, KeeperError};
use crate::fingerprint::Fingerprint;
use crate::keeper::{AccessToken, Ask, Due, Keeper, Look, Origin};
use crate::ledger::{self, Counterpart, Intent, Ledger, Pause, Standing, State, Swapped, Until};
use crate::ports::{Acquired, HttpFailure, Lease, Loaded, Ports, Response, Scope, Severity, StorageError, Stored};
use crate::quarantine::{Dead, Reason, is_refused};
use crate::request;
use crate::sealed::{self, Successor};
use crate::secret::Secret;
use crate::vault::edit::Edits;
use crate::vault::hermes::{self, Fresh, Place, Spot};

/// How often the protocol starts over before it gives up: each time somebody else changed something.
const ROUNDS: u32 = 16;
/// What a lease must last beyond the HTTP deadline.
const LEASE_ALLOWANCE_MS: u64 = 5_000;
/// The reference's programs wait 15 s for their lock, and a request must be over by then.
const SHARED_DEADLINE_MS: u64 = 10_000;
/// The first cooldown after a passing fault; it doubles up to the cap.
const COOLDOWN_MS: u64 = 5_000;
const COOLDOWN_CAP_MS: u64 = 300_000;
/// The same after an answer that nobody understands, and how many of those park a credential.
const UNKNOWN_COOLDOWN_MS: u64 = 30_000;
const UNKNOWN_COOLDOWN_CAP_MS: u64 = 3_600_000;
const UNKNOWN_BEFORE_PARK: u32 = 5;
/// How often a vault is written against others who write too, before the successor is sealed instead.
const STORE_ATTEMPTS: u32 = 64;

/// What follows from a round under the lease.
enum Next {
    /// An access token for the caller.
    Serve(AccessToken),
    /// Something changed: start over.
    Again,
}

/// The leases of one refresh.
struct Held {
    grant: Lease,
    /// The vault's own lock, if another program writes it too.
    document: Option<Lease>,
    granted_ttl_ms: Option<u64>,
    /// Read before the lease was asked for.
    monotonic_ms: u64,
    wall_ms: u64,
}

/// What is about to be sent, and for whom.
struct Sending<'a> {
    ask: &'a Ask<'a>,
    due: &'a Due,
    place: &'a Place,
    token: &'a Secret,
    fingerprint: Fingerprint,
    to: Counterpart,
    client_secret: Option<Secret>,
    deadline_ms: u64,
    held: &'a Held,
}

/// What became of a send.
struct Outcome {
    judgement: Judgement,
    failure: Option<HttpFailure>,
    sent_at_ms: u64,
    /// An earlier answer was lost: a refusal now may be about a token that was replaced.
    answer_lost: bool,
}

#[cfg_attr(target_arch = "wasm32", lazaret_macros::synchronous)]
impl<P: Ports> Keeper<P> {
    /// An access token that is valid as asked.
    pub(crate) async fn ensure(&self, ask: &Ask<'_>) -> Result<AccessToken, KeeperError> {
        for round in 0..ROUNDS {
            // 1. Look: a token that is good enough needs no lock, no ledger and no parsing.
            let due = match self.look(ask, round).await? {
                Look::Serve(token) => return Ok(token),
                Look::Due(due) => due,
            };
            // 2. Lease.
            let held = match self.lease(ask, &due).await {
                Ok(held) => held,
                Err(error) => return due.usable_or(error),
            };
            let next = self.under_lease(ask, &due, &held).await;
            self.give_back(held).await;
            match next {
                Ok(Next::Serve(token)) => return Ok(token),
                Ok(Next::Again) => {}
                // In the advisory window a failure leaves the token served that is still good.
                Err(error) => return due.usable_or(error),
            }
        }
        Err(KeeperError::new(
            "busy",
            Action::Retry,
            format!("{}: the vault keeps changing under this refresh", ask.profile.id),
        )
        .of(&ask.profile.id, &ask.credential)
        .after(1))
    }

    async fn under_lease(&self, ask: &Ask<'_>, due: &Due, held: &Held) -> Result<Next, KeeperError> {
        // 3. Look again, under the lease.
        let Some(now) = self.look_again(ask, due).await? else { return Ok(Next::Again) };
        let place = now.credential.leading();
        let Some(token) = &place.refresh_token else { return self.without_refresh_token(ask, &now, held).await };
        let sending = self.sending(ask, &now, place, token, held).await?;
        // 4. Ask the ledger.
        let read = ledger::load(&self.ports, ask.vault).await?;
        self.notice_a_lost_ledger(&sending, read.version.is_none()).await;
        if let Some(next) = self.ask_the_ledger(&sending, &read.ledger).await? {
            return Ok(next);
        }
        self.check_that_it_can_be_stored(&sending).await?;
        // 5. Intent: this, not the lease, is what makes the send safe.
        let Some(intent) = self.intend(&sending, read).await? else { return Ok(Next::Again) };
        // 6. and 7. Check the deadline and send. From here on nothing cancels.
        let Some(outcome) = self.send(&sending, &intent).await? else { return Ok(Next::Again) };
        // 8. Refreshed.
        let tokens = outcome.judgement.tokens.as_ref();
        if outcome.judgement.verdict == Verdict::Refreshed
            || tokens.is_some_and(|tokens| tokens.refresh_token.is_some())
        {
            return self.refreshed(&sending, outcome).await;
        }
        match outcome.judgement.verdict {
            // 9. Refused.
            Verdict::Terminal => self.refused(&sending, &outcome).await,
            // 10. In doubt: the intent stays open. Or 9 again: a known outcome that is not the token's end.
            _ => Err(self.put_off(&sending, &outcome).await?),
        }
    }

    /// Step 2: the lease on the grant, by the fingerprint about to be sent; then the vault's own lock, if another program
    /// writes the vault too.
    async fn lease(&self, ask: &Ask<'_>, due: &Due) -> Result<Held, KeeperError> {
        let shared = self.settings(ask.vault).await?.shared_with_reference;
        if shared && !self.ports.describe().excludes_foreign {
            return Err(KeeperError::new(
                "shared-vault",
                Action::Configure,
                format!(
                    "{}: this vault counts as shared with another program, and this host cannot take that program's lock, so nothing is refreshed. If the vault is lazaret's alone, say so in its settings: {{\"shared_with_reference\": false}}",
                    ask.profile.id
                ),
            )
            .of(&ask.profile.id, &ask.credential));
        }
        let (monotonic_ms, wall_ms) = (self.ports.monotonic_ms(), self.ports.wall_ms());
        let ttl_ms = ask.profile.deadline_ms.saturating_add(LEASE_ALLOWANCE_MS);
        // Who still has a good token does not wait: somebody is refreshing it.
        let wait_ms = if due.usable.is_some() { 0 } else { ttl_ms };
        let fingerprint = due.credential.leading().fingerprint();
        let scope = Scope::Grant {
            document: ask.vault.to_owned(),
            fingerprint: fingerprint.map_or_else(
                || Fingerprint::of(&ask.credential).as_str().to_owned(),
                |token| token.as_str().to_owned(),
            ),
        };
        let (grant, granted_ttl_ms) = self.acquire(ask, &scope, ttl_ms, wait_ms).await?;
        if !shared {
            return Ok(Held { grant, document: None, granted_ttl_ms, monotonic_ms, wall_ms });
        }
        match self.acquire(ask, &Scope::Document(ask.vault.to_owned()), ttl_ms, wait_ms).await {
            Ok((document, _)) => Ok(Held { grant, document: Some(document), granted_ttl_ms, monotonic_ms, wall_ms }),
            Err(error) => {
                self.ports.release(&grant).await;
                Err(error)
            }
        }
    }

    async fn acquire(
        &self,
        ask: &Ask<'_>,
        scope: &Scope,
        ttl_ms: u64,
        wait_ms: u64,
    ) -> Result<(Lease, Option<u64>), KeeperError> {
        match self.ports.acquire(scope, ttl_ms, wait_ms).await {
            Ok(Acquired::Granted { lease, granted_ttl_ms }) => Ok((lease, granted_ttl_ms)),
            Ok(Acquired::Busy(holder)) => {
                let holder = if holder.is_empty() { "another process".to_owned() } else { holder };
                let what = format!("{holder} holds the lock and did not let go within {wait_ms} ms");
                Err(ask.error("busy", Action::Retry, &what).after(1))
            }
            Err(error) => Err(KeeperError::storage(ask.vault, &error).of(&ask.profile.id, &ask.credential)),
        }
    }

    async fn give_back(&self, held: Held) {
        if let Some(document) = &held.document {
            self.ports.release(document).await;
        }
        self.ports.release(&held.grant).await;
    }

    /// Step 3: what the vault holds now, unless that is something else than step 1 saw.
    async fn look_again(&self, ask: &Ask<'_>, due: &Due) -> Result<Option<Due>, KeeperError> {
        let (seen, now) = (due.credential.leading(), self.credential(ask).await?);
        let place = now.leading();
        let same = place.refresh_token == seen.refresh_token && place.access_token == seen.access_token;
        Ok(same.then_some(Due { credential: now, usable: due.usable.clone() }))
    }

    async fn sending<'a>(
        &self,
        ask: &'a Ask<'a>,
        due: &'a Due,
        place: &'a Place,
        token: &'a Secret,
        held: &'a Held,
    ) -> Result<Sending<'a>, KeeperError> {
        let snapshot = self.vault(ask.vault).await?;
        let root = snapshot.root()?;
        let login = hermes::node(root, &ask.profile.id, Spot::Login);
        let (to, client_secret) =
            request::counterpart(&ask.profile, login).map_err(|error| self.bad_profile(&error))?;
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

    /// A login whose access token has expired and that has no refresh token, although its provider issues them.
    async fn without_refresh_token(&self, ask: &Ask<'_>, due: &Due, held: &Held) -> Result<Next, KeeperError> {
        let place = due.credential.leading();
        let snapshot = self.vault(ask.vault).await?;
        let (to, _) = request::counterpart(&ask.profile, hermes::node(snapshot.root()?, &ask.profile.id, Spot::Login))
            .map_err(|error| self.bad_profile(&error))?;
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
    async fn ask_the_ledger(&self, sending: &Sending<'_>, ledger: &Ledger) -> Result<Option<Next>, KeeperError> {
        let now_ms = self.ports.wall_ms();
        match ledger.standing(&sending.fingerprint, &sending.to, now_ms) {
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

    /// A lease with a time to live may have passed while its holder was still sending: one HTTP deadline is waited out.
    fn wait_for_the_other(&self, sending: &Sending<'_>, intent: &Intent, now_ms: u64) -> Result<(), KeeperError> {
        let over_ms = intent.sent_at_ms.saturating_add(sending.ask.profile.deadline_ms);
        if sending.held.granted_ttl_ms.is_none() || now_ms >= over_ms || now_ms < intent.sent_at_ms {
            return Ok(());
        }
        let what = "another process may still be sending this refresh token";
        Err(sending.ask.error("in-doubt", Action::Retry, what).after((over_ms - now_ms).div_ceil(1_000)))
    }

    fn paused(&self, sending: &Sending<'_>, pause: &Pause, now_ms: u64) -> KeeperError {
        let (ask, id, said) = (sending.ask, &sending.ask.profile.id, &pause.summary);
        match &pause.until {
            Until::Time(until_ms) => {
                let wait_s = until_ms.saturating_sub(now_ms).div_ceil(1_000);
                let what = format!("the last refresh failed ({said}); the next one may be tried in {wait_s} s");
                ask.error("cooling-down", Action::Retry, &what).after(wait_s)
            }
            Until::Change { .. } => {
                let what = format!(
                    "held, because trying again cannot help until the login, the profile or the client changes ({said}). `lazaret reset {id}` tries once more"
                );
                ask.error("held", Action::Configure, &what)
            }
            Until::Operator => {
                let what = format!(
                    "parked after {} answers that say nothing clear ({said}). Look at it, then `lazaret reset {id}`",
                    pause.failures
                );
                ask.error("parked", Action::Configure, &what)
            }
        }
    }

    /// A spent token lies in the vault: its descendant is put in every place it should be in. Only where there is none
    /// is the token taken out: another program wrote it over its successor.
    async fn restore_the_descendant(&self, sending: &Sending<'_>, ledger: &Ledger) -> Result<Next, KeeperError> {
        if let Some(next) = self.finish_a_sealed_successor(sending, ledger).await? {
            return Ok(next);
        }
        let snapshot = self.vault(sending.ask.vault).await?;
        let root = snapshot.root()?;
        let now_ms = self.ports.wall_ms();
        for provider in hermes::providers(root) {
            let profile = self.profile_or_generic(&provider)?;
            for place in hermes::places(root, &profile, &mut Vec::new()) {
                let Some(token) = place.fingerprint() else { continue };
                let live =
                    matches!(ledger.standing(&token, &sending.to, now_ms), Standing::Sendable(_) | Standing::Paused(_));
                if live && ledger.is_ancestor(&sending.fingerprint, &token) {
                    let fresh = fresh_of(&place, now_ms);
                    self.land(sending.ask, &token, &fresh, ledger, None, sending.held.document.as_ref()).await?;
                    self.tell(
                        sending.ask,
                        "restored",
                        Severity::Warning,
                        "a spent token had come back beside its successor; the successor is in its place again",
                    );
                    return Ok(Next::Again);
                }
            }
        }
        let dead = Dead {
            provider: &sending.ask.profile,
            credential: &sending.ask.credential,
            place: sending.place,
            reason: Reason::Overwritten,
            status: None,
            code: "overwritten".into(),
            summary: String::new(),
            access_refused: is_refused(sending.place.access_token.as_ref(), sending.ask.refused.as_ref()),
        };
        self.take_out(sending, &dead).await
    }

    /// A successor that waits in the sealed document goes where it belongs.
    async fn finish_a_sealed_successor(
        &self,
        sending: &Sending<'_>,
        ledger: &Ledger,
    ) -> Result<Option<Next>, KeeperError> {
        let sealed = sealed::load(&self.ports, sending.ask.vault).await?;
        let mut at = &sending.fingerprint;
        for _ in 0..64 {
            if let Some(successor) = sealed.successors.get(at) {
                let fresh = &successor.fresh;
                let landed = self
                    .land(sending.ask, &sending.fingerprint, fresh, ledger, None, sending.held.document.as_ref())
                    .await?;
                self.resolve(sending.ask.vault, at, &sending.to, fresh).await;
                if landed == Landed::Failed {
                    return self.serve_from_sealed(sending.ask, fresh).map(Some);
                }
                let spent = at.clone();
                sealed::update(&self.ports, sending.ask.vault, &|sealed| {
                    sealed.successors.remove(&spent);
                })
                .await?;
                self.tell(
                    sending.ask,
                    "restored",
                    Severity::Info,
                    "tokens that an earlier refresh could not store are in the vault now",
                );
                return Ok(Some(Next::Again));
            }
            match ledger.tokens.get(at).map(|record| &record.state) {
                Some(State::Spent { successor }) => at = successor,
                _ => break,
            }
        }
        Ok(None)
    }

    /// The vault still cannot be written: what waits for it is good meanwhile.
    fn serve_from_sealed(&self, ask: &Ask<'_>, fresh: &Fresh) -> Result<Next, KeeperError> {
        let good =
            fresh.expires_at_ms().is_none_or(|at_ms| at_ms > self.ports.wall_ms().saturating_add(ask.min_valid_ms));
        if !good || fresh.access_token.is_empty() || is_refused(Some(&fresh.access_token), ask.refused.as_ref()) {
            let what = "its new tokens wait in the sealed document, for the vault cannot be written";
            return Err(ask.error("storage", Action::Inspect, what));
        }
        let token_type = fresh.token_type.as_deref().unwrap_or("Bearer");
        Ok(Next::Serve(AccessToken {
            warning: Some("the vault cannot be written; its new tokens wait in the sealed document".to_owned()),
            ..ask.served(&fresh.access_token, token_type, fresh.expires_at_ms(), Origin::Sealed)
        }))
    }

    /// Before a token is spent: the vault can be edited where its successor must go.
    async fn check_that_it_can_be_stored(&self, sending: &Sending<'_>) -> Result<(), KeeperError> {
        let snapshot = self.vault(sending.ask.vault).await?;
        let root = snapshot.root()?;
        let fresh = fresh_of(sending.place, self.ports.wall_ms());
        let mut edits = Edits::default();
        for place in &sending.due.credential.places {
            if let Some(node) = hermes::node(root, &sending.ask.profile.id, place.spot) {
                hermes::write_tokens(&mut edits, node, place.spot, &sending.ask.profile, &fresh)
                    .map_err(|error| self.uneditable(&error))?;
            }
        }
        // A storage that may serve old reads confirms the vault by writing it as it is.
        if !self.ports.describe().reads_are_linearizable {
            let stored = self
                .ports
                .store(
                    sending.ask.vault,
                    snapshot.text(),
                    Some(&snapshot.version),
                    true,
                    sending.held.document.as_ref(),
                )
                .await;
            if !matches!(stored, Ok(Stored::Done(_))) {
                return Err(KeeperError::new("busy", Action::Retry, "the vault changed under this refresh").after(1));
            }
        }
        Ok(())
    }

    /// Step 5: the intent, durable before anything leaves. None: somebody else was first.
    async fn intend(&self, sending: &Sending<'_>, mut read: ledger::Read) -> Result<Option<Intent>, KeeperError> {
        let now_ms = self.ports.wall_ms();
        let nonce = format!("{:016x}", self.ports.random_u64());
        let record = read.ledger.record(&sending.fingerprint, &sending.to, now_ms);
        let before = record.intent.take();
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
            Swapped::Done => Ok(Some(intent)),
            Swapped::Stale => Ok(None),
        }
    }

    /// Steps 6 and 7, and the one resend of step 10. None: there is no time left for a send.
    async fn send(&self, sending: &Sending<'_>, intent: &Intent) -> Result<Option<Outcome>, KeeperError> {
        let mut answer_lost = intent.sends > 1;
        if !self.has_time(sending) {
            self.withdraw(sending).await;
            return Ok(None);
        }
        let mut outcome = self.send_once(sending, answer_lost).await;
        // The answer was lost. If the server has spent the token, sending it again soon is the only way to its successor; if
        // it has not, the token is as good as before.
        if lost(&outcome) && self.has_time(sending) && self.still_stored(sending).await {
            self.tell(
                sending.ask,
                "in-doubt",
                Severity::Warning,
                "the answer to a refresh was lost; the same token is sent once more",
            );
            answer_lost = true;
            outcome = self.send_once(sending, answer_lost).await;
        }
        Ok(Some(outcome))
    }

    async fn send_once(&self, sending: &Sending<'_>, answer_lost: bool) -> Outcome {
        let request = request::refresh(
            &sending.ask.profile,
            &sending.to,
            sending.token,
            sending.client_secret.as_ref(),
            sending.deadline_ms,
        );
        let sent_at_ms = self.ports.wall_ms();
        let result = self.ports.send(request).await;
        let now_s = self.ports.wall_ms() / 1_000;
        let judgement = match &result {
            Ok(response) => classify::classify(&sending.ask.profile.rules, &answer_of(response), now_s),
            Err(failure) => {
                let mut judgement = classify::classify(&sending.ask.profile.rules, &no_answer(failure), now_s);
                judgement.in_doubt = failure.maybe_sent;
                judgement
            }
        };
        Outcome { judgement, failure: result.err(), sent_at_ms, answer_lost }
    }

    /// Step 6: the lease, counted from before it was asked for, outlasts one more exchange.
    fn has_time(&self, sending: &Sending<'_>) -> bool {
        let Some(ttl_ms) = sending.held.granted_ttl_ms else { return true };
        let (monotonic_ms, wall_ms) = (self.ports.monotonic_ms(), self.ports.wall_ms());
        if wall_ms < sending.held.wall_ms {
            return false;
        }
        let elapsed_ms = monotonic_ms.saturating_sub(sending.held.monotonic_ms).max(wall_ms - sending.held.wall_ms);
        elapsed_ms.saturating_add(sending.deadline_ms) < ttl_ms
    }

    async fn still_stored(&self, sending: &Sending<'_>) -> bool {
        match self.credential(sending.ask).await {
            Ok(credential) => credential.places.iter().any(|place| place.refresh_token.as_ref() == Some(sending.token)),
            Err(_) => false,
        }
    }

    /// Step 8. The successor is durable before the caller has the access token.
    async fn refreshed(&self, sending: &Sending<'_>, outcome: Outcome) -> Result<Next, KeeperError> {
        let Some(tokens) = outcome.judgement.tokens else { return Ok(Next::Again) };
        let ask = sending.ask;
        let successor = tokens.refresh_token.filter(|token| !token.is_empty() && token != sending.token);
        let fresh = Fresh {
            access_token: tokens.access_token.unwrap_or_else(|| Secret::new("")),
            refresh_token: successor,
            expires_in_s: tokens.expires_in_s,
            scope: tokens.scope,
            token_type: tokens.token_type,
            id_token: tokens.id_token,
            received_at_ms: self.ports.wall_ms(),
        };
        let ledger = ledger::load(&self.ports, ask.vault).await.map(|read| read.ledger).unwrap_or_default();
        let landed = self
            .land(ask, &sending.fingerprint, &fresh, &ledger, Some(outcome.sent_at_ms), sending.held.document.as_ref())
            .await?;
        let mut unsaved = None;
        if landed == Landed::Failed && fresh.refresh_token.is_some() {
            unsaved = self.seal_successor(sending, &fresh).await;
        }
        if unsaved.is_none() {
            self.resolve(ask.vault, &sending.fingerprint, &sending.to, &fresh).await;
        }
        let rotated =
            if fresh.refresh_token.is_some() { "the refresh token was replaced" } else { "the refresh token stays" };
        self.tell(ask, "refreshed", Severity::Info, rotated);
        if fresh.access_token.is_empty() {
            let what = "the server sent a new refresh token, but no access token that can be used";
            return Err(ask.error("refresh-failed", Action::Retry, what));
        }
        let warning = match (landed, &unsaved) {
            (Landed::Failed, Some(_)) => Some(
                "the new tokens could not be stored anywhere: hand `unsaved` to save-unsaved, or this login is lost",
            ),
            (Landed::Failed, None) => {
                Some("the new tokens could not be written to the vault; they wait in the sealed document")
            }
            (Landed::Superseded, _) => {
                Some("somebody logged in anew meanwhile: that login is in the vault, and this token is of the old one")
            }
            (Landed::Gone, _) => {
                Some("the credential was removed from the vault meanwhile: its new tokens were not put back")
            }
            (Landed::Stored, _) => None,
        };
        let token_type = fresh.token_type.as_deref().unwrap_or(&sending.place.token_type);
        Ok(Next::Serve(AccessToken {
            warning: warning.map(str::to_owned),
            unsaved,
            ..ask.served(&fresh.access_token, token_type, fresh.expires_at_ms(), Origin::Refreshed)
        }))
    }

    /// Stores fresh tokens by lineage, looking at what is stored now, until it is durable or cannot be.
    pub(crate) async fn land(
        &self,
        ask: &Ask<'_>,
        sent: &Fingerprint,
        fresh: &Fresh,
        ledger: &Ledger,
        sent_at_ms: Option<u64>,
        lease: Option<&Lease>,
    ) -> Result<Landed, KeeperError> {
        let ours = |token: &Fingerprint| token == sent || ledger.is_ancestor(token, sent);
        for _ in 0..STORE_ATTEMPTS {
            let document = match self.ports.load(ask.vault, None).await {
                Ok(Loaded::Found(document)) => document,
                // A file that is away for a moment is no removed credential.
                Ok(Loaded::Absent | Loaded::Unchanged) => return Ok(Landed::Failed),
                Err(error) => return Ok(self.cannot_store(ask, &error)),
            };
            let text = document.text.expose();
            let planned = self.plan_landing(text, ask, &ours, fresh, sent_at_ms);
            let edited = match planned {
                Ok(Plan::Write(edited)) => Secret::new(edited),
                Ok(Plan::Done(landed)) => return Ok(landed),
                Err(error) => {
                    self.tell(ask, "conflict", Severity::Error, &error.message);
                    return Ok(Landed::Failed);
                }
            };
            match self.ports.store(ask.vault, edited.expose(), Some(&document.version), true, lease).await {
                Ok(Stored::Done(_)) => return Ok(Landed::Stored),
                Ok(Stored::Stale(_)) => self.tell(
                    ask,
                    "conflict",
                    Severity::Info,
                    "the vault changed while it was being written: decided again",
                ),
                Ok(Stored::Unknown) => {}
                Err(error) => return Ok(self.cannot_store(ask, &error)),
            }
        }
        Ok(Landed::Failed)
    }

    fn plan_landing(
        &self,
        text: &str,
        ask: &Ask<'_>,
        ours: &dyn Fn(&Fingerprint) -> bool,
        fresh: &Fresh,
        sent_at_ms: Option<u64>,
    ) -> Result<Plan, KeeperError> {
        let root = hermes::open(text).map_err(|error| self.corrupt(&error))?;
        let mut edits = Edits::default();
        let (mut holds_it, mut holds_successor) = (false, false);
        let mut write =
            |place: &Place, profile: &crate::provider::Profile| match hermes::node(root, &profile.id, place.spot) {
                Some(node) => hermes::write_tokens(&mut edits, node, place.spot, profile, fresh)
                    .map_err(|error| self.uneditable(&error)),
                None => Ok(()),
            };
        for provider in hermes::providers(root) {
            let profile = self.profile_or_generic(&provider)?;
            for place in hermes::places(root, &profile, &mut Vec::new()) {
                if place.fingerprint().as_ref().is_some_and(ours) {
                    holds_it = true;
                    write(&place, &profile)?;
                } else if place.refresh_token.is_some() && place.refresh_token == fresh.refresh_token {
                    holds_successor = true;
                }
            }
        }
        if !holds_it && !holds_successor {
            let reading = hermes::read(root, &ask.profile);
            let Some(credential) = reading.credentials.iter().find(|credential| credential.id() == ask.credential)
            else {
                return Ok(Plan::Done(Landed::Gone));
            };
            // Emptied by somebody who was refused what we were just given another for.
            let emptied = |place: &Place| {
                let marked_at = place.last_error.as_ref().and_then(|error| error.at_ms);
                place.refresh_token.is_none() && sent_at_ms.zip(marked_at).is_some_and(|(sent, marked)| marked >= sent)
            };
            let emptied: Vec<&Place> = credential.places.iter().filter(|place| emptied(place)).collect();
            if emptied.is_empty() {
                let has_other = credential.places.iter().any(|place| place.refresh_token.is_some());
                return Ok(Plan::Done(if has_other { Landed::Superseded } else { Landed::Gone }));
            }
            for place in emptied {
                write(place, &ask.profile)?;
            }
        }
        Ok(if edits.is_empty() { Plan::Done(Landed::Stored) } else { Plan::Write(edits.apply(text)) })
    }

    fn cannot_store(&self, ask: &Ask<'_>, error: &StorageError) -> Landed {
        self.tell(ask, "conflict", Severity::Error, &format!("the vault cannot be written: {error}"));
        Landed::Failed
    }

    /// The vault cannot take the successor: the sealed document can, or the caller must.
    async fn seal_successor(&self, sending: &Sending<'_>, fresh: &Fresh) -> Option<Secret> {
        let ask = sending.ask;
        let successor =
            Successor { provider: ask.profile.id.clone(), credential: ask.credential.clone(), fresh: fresh.clone() };
        let sealed = sealed::update(&self.ports, ask.vault, &|sealed| {
            sealed.successors.insert(sending.fingerprint.clone(), successor.clone());
        })
        .await;
        match sealed {
            Ok(()) => {
                self.tell(
                    ask,
                    "successor-sealed",
                    Severity::Error,
                    "the vault could not be written: the new tokens wait in the sealed document",
                );
                None
            }
            Err(error) => {
                let what = format!("the new tokens could not be stored anywhere: {}", error.message);
                self.tell(ask, "successor-unsaved", Severity::Error, &what);
                Some(crate::keeper::unsaved(ask.vault, &sending.fingerprint, &successor))
            }
        }
    }

    /// Closes an intent after the vault holds its result. If this is lost, an open intent whose token is in no vault is
    /// never sent either.
    pub(crate) async fn resolve(&self, vault: &str, sent: &Fingerprint, to: &Counterpart, fresh: &Fresh) {
        let now_ms = self.ports.wall_ms();
        let successor = fresh.refresh_token.as_ref().map(|token| Fingerprint::of(token.expose()));
        let resolved = ledger::update(&self.ports, vault, false, &|ledger| match &successor {
            Some(successor) => ledger.rotate(sent, successor, to, now_ms),
            None => {
                let record = ledger.record(sent, to, now_ms);
                // Made twice it must come to the same.
                record.generation += u64::from(record.intent.is_some());
                record.state = State::Live;
                record.intent = None;
                record.pause = None;
            }
        })
        .await;
        // Nothing depends on it: see above.
        drop(resolved);
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

    /// Quarantines, and goes on with whatever newer tokens lie in the credential's places.
    async fn take_out(&self, sending: &Sending<'_>, dead: &Dead<'_>) -> Result<Next, KeeperError> {
        self.quarantine(sending.ask.vault, &sending.to, dead, sending.held.document.as_ref()).await?;
        match self.credential(sending.ask).await {
            Ok(credential) if credential.leading().refresh_token.is_some() => Ok(Next::Again),
            _ => match &sending.due.usable {
                Some(token) => Ok(Next::Serve(AccessToken {
                    origin: Origin::Sealed,
                    warning: Some(dead.message()),
                    ..token.clone()
                })),
                None => Err(dead.error()),
            },
        }
    }

    /// Steps 9 and 10, everything but terminal: says in the ledger when it may be tried again. The vault stays as it is.
    async fn put_off(&self, sending: &Sending<'_>, outcome: &Outcome) -> Result<KeeperError, KeeperError> {
        let (ask, judgement) = (sending.ask, &outcome.judgement);
        let (now_ms, jitter) = (self.ports.wall_ms(), self.ports.random_u64());
        let not_allowed = outcome.failure.as_ref().is_some_and(|failure| failure.kind == "not-allowed");
        let pause = Pause {
            until: Until::Operator,
            failures: 0,
            code: judgement.code.clone().unwrap_or_else(|| judgement.rule.clone()),
            summary: outcome
                .failure
                .as_ref()
                .map_or_else(|| judgement.summary.clone(), |failure| failure.message.clone()),
            at_ms: now_ms,
        };
        let until =
            |failures: u32| match judgement.verdict {
                Verdict::Config | Verdict::Interaction => Until::Change { profile: sending.to.profile.clone() },
                Verdict::Unknown if !judgement.in_doubt && failures >= UNKNOWN_BEFORE_PARK => Until::Operator,
                verdict => {
                    let (base_ms, cap_ms) = match verdict {
                        Verdict::Unknown => (UNKNOWN_COOLDOWN_MS, UNKNOWN_COOLDOWN_CAP_MS),
                        _ => (COOLDOWN_MS, COOLDOWN_CAP_MS),
                    };
                    let grown_ms = base_ms.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(cap_ms);
                    let own_ms = grown_ms - grown_ms / 5 + jitter % (grown_ms / 5 * 2).max(1);
                    Until::Time(now_ms.saturating_add(
                        judgement.retry_after_s.map_or(own_ms, |seconds| seconds.saturating_mul(1_000)),
                    ))
                }
            };
        let kept = std::cell::RefCell::new(pause);
        ledger::update(&self.ports, ask.vault, true, &|ledger| {
            let record = ledger.record(&sending.fingerprint, &sending.to, now_ms);
            if !judgement.in_doubt {
                record.intent = None;
            }
            let failures = record.pause.as_ref().map_or(0, |pause| pause.failures).saturating_add(1);
            let mut pause = kept.borrow_mut();
            (pause.until, pause.failures) = (until(failures), failures);
            // What never left, for the profile is wrong, is not the credential's fault.
            record.pause = (!not_allowed).then(|| pause.clone());
        })
        .await?;
        let pause = kept.into_inner();
        if not_allowed {
            return Ok(ask.error("bad-profile", Action::Configure, &pause.summary));
        }
        let error = self.put_off_error(sending, judgement, &pause, now_ms);
        let name = match (&pause.until, judgement.in_doubt) {
            (Until::Time(_), true) => "in-doubt",
            (Until::Time(_), false) => "cooling",
            (Until::Change { .. }, _) => "held",
            (Until::Operator, _) => "parked",
        };
        self.tell_judged(ask, name, judgement, &error.message);
        Ok(error)
    }

    fn put_off_error(&self, sending: &Sending<'_>, judgement: &Judgement, pause: &Pause, now_ms: u64) -> KeeperError {
        let Until::Time(until_ms) = pause.until else { return self.paused(sending, pause, now_ms) };
        let wait_s = until_ms.saturating_sub(now_ms).div_ceil(1_000);
        let (code, what) = if judgement.in_doubt {
            ("in-doubt", "the server may or may not have replaced the refresh token")
        } else {
            ("refresh-failed", "the refresh could not be made")
        };
        let said = &pause.summary;
        let what = format!("{what} ({said}). Nothing in the vault changed; next try in {wait_s} s");
        sending.ask.error(code, Action::Retry, &what).after(wait_s)
    }

    /// Takes an intent back: nothing was sent.
    async fn withdraw(&self, sending: &Sending<'_>) {
        let now_ms = self.ports.wall_ms();
        let withdrawn = ledger::update(&self.ports, sending.ask.vault, true, &|ledger| {
            ledger.record(&sending.fingerprint, &sending.to, now_ms).intent = None;
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

/// What became of fresh tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Landed {
    /// They are in the vault.
    Stored,
    /// A new login is: it wins.
    Superseded,
    /// The credential is not in the vault any more.
    Gone,
    /// The vault cannot be written.
    Failed,
}

enum Plan {
    Write(String),
    Done(Landed),
}

/// The same token beside an access token that was issued after the tombstone: a new login, at a server that gives the
/// same refresh token again.
fn earned_a_send(place: &Place, tombstone: &ledger::Tombstone) -> bool {
    let access = place.access_token.as_ref().map(|token| Fingerprint::of(token.expose()));
    access.is_some()
        && access != tombstone.access
        && place.issued_at_ms.is_some_and(|issued_ms| issued_ms > tombstone.at_ms)
}

/// No answer came although the server may have seen the request, or what came is no answer.
fn lost(outcome: &Outcome) -> bool {
    let judgement = &outcome.judgement;
    let gateway = matches!(judgement.status, None | Some(200..=299 | 502 | 504 | 520..=524));
    let new_token = judgement.tokens.as_ref().is_some_and(|tokens| tokens.refresh_token.is_some());
    judgement.in_doubt
        && gateway
        && judgement.retry_after_s.is_none()
        && !new_token
        && judgement.verdict != Verdict::Refreshed
}

fn fresh_of(place: &Place, now_ms: u64) -> Fresh {
    Fresh {
        access_token: place.access_token.clone().unwrap_or_else(|| Secret::new("")),
        refresh_token: place.refresh_token.clone(),
        expires_in_s: place.expires_at_ms.map(|at_ms| at_ms.saturating_sub(now_ms) / 1_000),
        scope: None,
        token_type: None,
        id_token: None,
        received_at_ms: now_ms,
    }
}

fn answer_of(response: &Response) -> Answer<'_> {
    Answer {
        status: Some(response.status),
        headers: &response.headers,
        body: response.body.expose(),
        body_complete: response.body_complete,
        body_lossy: response.body_lossy,
        transport_error: None,
    }
}

fn no_answer(failure: &HttpFailure) -> Answer<'_> {
    Answer {
        status: None,
        headers: &[],
        body: "",
        body_complete: true,
        body_lossy: false,
        transport_error: Some(&failure.kind),
    }
}
