//! Step 8 of the protocol: fresh tokens reach the vault by lineage, wherever it stands now, or are kept where nothing is
//! lost until they can.

use crate::classify::RefreshToken;
use crate::error::{Code, KeeperError};
use crate::keeper::{AccessToken, Ask, Keeper, Origin};
use crate::ports::{Lease, Loaded, Ports, Severity, StorageError, Stored, Version};
use crate::protocol::exchange::Outcome;
use crate::protocol::lease::Held;
use crate::protocol::quarantine::{Dead, Reason, is_refused};
use crate::protocol::refresh::{Intended, Next, Sending};
use crate::secret::Secret;
use crate::state::fingerprint::Fingerprint;
use crate::state::ledger::{self, Counterpart, Ledger, Standing, State};
use crate::state::sealed::{self, Successor};
use crate::vault::edit::Edits;
use crate::vault::{Credential, Fresh, LOGIN, Place};

/// How often a vault is written against others who write too, before the successor is sealed instead.
const STORE_ATTEMPTS: u32 = 64;
const UNUSABLE: &str = "the server answered with a refresh token that cannot be used: the old one stays in the vault, and may have been replaced";

/// What became of fresh tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Landed {
    /// They are in the vault.
    Stored,
    /// A new login is: it wins.
    Superseded,
    /// Somebody put older tokens in its place meanwhile.
    Overtaken,
    /// The credential is not in the vault any more.
    Gone,
    /// The vault cannot be written.
    Failed,
}

impl Landed {
    /// What a person should know although the access token is good.
    fn warning(self, is_unsaved: bool, is_replaced: bool) -> Option<&'static str> {
        match (self, is_unsaved) {
            (Self::Failed | Self::Overtaken, true) => Some(
                "the new tokens could not be stored anywhere: hand `unsaved` to save-unsaved, or this login is lost",
            ),
            (Self::Failed | Self::Overtaken, false) if !is_replaced => {
                Some("the new access token could not be written to the vault; the refresh token in it was not touched")
            }
            (Self::Overtaken, false) => {
                Some("another program put older tokens back meanwhile; the new ones wait in the sealed document")
            }
            (Self::Failed, false) => {
                Some("the new tokens could not be written to the vault; they wait in the sealed document")
            }
            (Self::Superseded, _) => {
                Some("somebody logged in anew meanwhile: the vault has that login, this token is of the old one")
            }
            (Self::Gone, _) => {
                Some("the credential was removed from the vault meanwhile: its new tokens were not put back")
            }
            (Self::Stored, _) => None,
        }
    }
}

/// What an answer says of the token that was sent for it.
enum Rotation {
    /// It stays good.
    Stays,
    /// This one takes its place.
    Replaced(Secret),
    /// Nobody can say.
    Unclear,
}

impl Rotation {
    fn of(answered: RefreshToken, sent: &Secret) -> Self {
        match answered {
            RefreshToken::Usable(token) if token == *sent => Self::Stays,
            RefreshToken::Usable(token) => Self::Replaced(token),
            RefreshToken::Absent => Self::Stays,
            RefreshToken::Unusable => Self::Unclear,
        }
    }
}

/// Fresh tokens on their way.
pub(crate) struct Landing<'a> {
    /// The token that was spent for them.
    pub(crate) sent: &'a Fingerprint,
    pub(crate) fresh: &'a Fresh,
    /// Who came before whom.
    pub(crate) ledger: &'a Ledger,
    /// A place that was emptied after this moment, by somebody who was refused the parent, is a place for them,
    pub(crate) since_ms: u64,
    /// and so is one that held the parent here and is empty now.
    pub(crate) was: Option<&'a Credential>,
    /// When the parent was issued, if that is known: what is older is no new login.
    pub(crate) parent_issued_ms: Option<u64>,
    pub(crate) lease: Option<&'a Lease>,
}

impl<'a> Landing<'a> {
    /// Tokens that were received some time ago.
    pub(crate) fn of(sent: &'a Fingerprint, successor: &'a Successor, ledger: &'a Ledger, held: &'a Held) -> Self {
        let (fresh, parent_issued_ms) = (&successor.fresh, successor.parent_issued_at_ms);
        let lease = held.document.as_ref();
        Self { sent, fresh, ledger, since_ms: fresh.received_at_ms, was: None, parent_issued_ms, lease }
    }
}

enum Plan {
    Write(String),
    Done(Landed),
}

#[cfg_attr(target_arch = "wasm32", lazaretto_macros::synchronous)]
impl<P: Ports> Keeper<P> {
    /// Step 8. The successor is durable before the caller has the access token.
    pub(crate) async fn refreshed(
        &self,
        sending: &Sending<'_>,
        outcome: Outcome,
        intended: Intended,
    ) -> Result<Next, KeeperError> {
        let Some(tokens) = outcome.judgement.tokens else { return Ok(Next::Again) };
        let ask = sending.ask;
        let rotation = Rotation::of(tokens.refresh_token, sending.token);
        let is_clear = !matches!(rotation, Rotation::Unclear);
        let fresh = Fresh {
            access_token: tokens.access_token.unwrap_or_else(|| Secret::new("")),
            refresh_token: if let Rotation::Replaced(successor) = rotation { Some(successor) } else { None },
            expires_in_s: tokens.expires_in_s,
            scope: tokens.scope,
            token_type: tokens.token_type,
            id_token: tokens.id_token,
            received_at_ms: self.ports.wall_ms(),
        };
        let landing = Landing {
            sent: &sending.fingerprint,
            fresh: &fresh,
            ledger: &intended.ledger.ledger,
            since_ms: outcome.sent_at_ms,
            was: Some(&sending.due.credential),
            parent_issued_ms: sending.place.issued_at_ms,
            lease: sending.held.document.as_ref(),
        };
        let landed = self.land(ask, &landing).await?;
        let mut unsaved = None;
        if fresh.refresh_token.is_some() {
            match landed {
                Landed::Failed | Landed::Overtaken => unsaved = self.seal_successor(sending, &fresh).await,
                Landed::Stored => self.keep_a_copy(sending, &fresh).await,
                Landed::Superseded | Landed::Gone => {}
            }
        }
        // An intent that stays open says that nobody knows whether the token that was sent is still good.
        if unsaved.is_none() && is_clear {
            self.resolve(ask.vault, &sending.fingerprint, &sending.to, &fresh, Some(intended)).await;
        }
        let rotated = match (&fresh.refresh_token, is_clear) {
            (Some(_), _) => "the refresh token was replaced",
            (None, true) => "the refresh token stays",
            (None, false) => "the access token was replaced",
        };
        self.tell(ask, "refreshed", Severity::Info, rotated);
        if !is_clear {
            self.tell(ask, "in-doubt", Severity::Warning, UNUSABLE);
        }
        if fresh.access_token.is_empty() {
            let what = "the server sent a new refresh token, but no access token that can be used";
            return Err(ask.error(Code::RefreshFailed, what));
        }
        let warning = landed.warning(unsaved.is_some(), fresh.refresh_token.is_some());
        let token_type = fresh.token_type.as_deref().unwrap_or(&sending.place.token_type);
        let token = ask.served(&fresh.access_token, token_type, fresh.expires_at_ms(), Origin::Refreshed)?;
        let token = AccessToken { unsaved, ..token }.warned(warning);
        Ok(Next::Serve(token.warned((!is_clear).then_some(UNUSABLE))))
    }

    /// Stores fresh tokens by lineage, looking at what is stored now, until it is durable or cannot be.
    pub(crate) async fn land(&self, ask: &Ask<'_>, landing: &Landing<'_>) -> Result<Landed, KeeperError> {
        let lease = landing.lease;
        for _ in 0..STORE_ATTEMPTS {
            let document = match self.ports.load(ask.vault, None).await {
                Ok(Loaded::Found(document)) => document,
                // A file that is away for a moment is no removed credential.
                Ok(Loaded::Absent | Loaded::Unchanged) => return Ok(Landed::Failed),
                Err(error) => return Ok(self.cannot_store(ask, &error)),
            };
            let text = document.text.expose();
            let planned = self.plan_landing(text, ask, landing);
            let edited = match planned {
                Ok(Plan::Write(edited)) => Secret::new(edited),
                // What an old read says is no reason to let fresh tokens go.
                Ok(Plan::Done(landed)) if self.is_current(ask.vault, text, &document.version, lease).await => {
                    return Ok(landed);
                }
                Ok(Plan::Done(_)) => continue,
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

    fn plan_landing(&self, text: &str, ask: &Ask<'_>, landing: &Landing<'_>) -> Result<Plan, KeeperError> {
        let (sent, fresh) = (landing.sent, landing.fresh);
        let ours = |token: &Fingerprint| token == sent || landing.ledger.is_ancestor(token, sent);
        let vault = self.opened(ask.vault, text)?;
        let mut edits = Edits::default();
        let (mut holds_it, mut holds_successor) = (false, false);
        let mut write = |place: &Place, profile: &crate::provider::Profile| match vault.node(&profile.id, place.spot) {
            Some(node) => vault
                .renew_tokens(&mut edits, node, place.spot, profile, fresh)
                .map_err(|error| self.uneditable(&error)),
            None => Ok(()),
        };
        for provider in vault.providers() {
            let profile = self.profile_or_generic(&provider)?;
            for place in vault.places(&profile, &mut Vec::new()) {
                if place.fingerprint().as_ref().is_some_and(&ours) {
                    holds_it = true;
                    write(&place, &profile)?;
                } else if place.refresh_token.is_some() && place.refresh_token == fresh.refresh_token {
                    holds_successor = true;
                }
            }
        }
        let reading = vault.read(&ask.profile);
        let credential = reading.credentials.iter().find(|credential| credential.id() == ask.credential);
        // Emptied by somebody who was refused what we were just given another for.
        let held_it = |place: &Place| {
            let before = landing.was.into_iter().flat_map(|credential| &credential.places);
            before.filter(|was| was.id == place.id).any(|was| was.fingerprint().as_ref() == Some(sent))
        };
        let emptied = |place: &Place| {
            let since = place.last_error.as_ref().map(|error| error.at_ms >= Some(landing.since_ms));
            // Another tool's file says nothing of it: what held the parent was emptied.
            let Some(since) = since.or(vault.tool().map(|_| false)) else { return false };
            place.refresh_token.is_none() && (since || held_it(place))
        };
        let places = || credential.into_iter().flat_map(|credential| &credential.places);
        for place in places().filter(|place| emptied(place)) {
            holds_it = true;
            write(place, &ask.profile)?;
        }
        if !holds_it && !holds_successor {
            let is_new = |place: &Place| {
                let (issued_ms, parent_issued_ms) = (place.issued_at_ms, landing.parent_issued_ms);
                issued_ms.zip(parent_issued_ms).is_none_or(|(issued_ms, parent_ms)| issued_ms > parent_ms)
            };
            let mut others = places().filter(|place| place.refresh_token.is_some()).map(is_new);
            return Ok(Plan::Done(match others.next() {
                None => Landed::Gone,
                Some(is_new) if is_new || others.any(|is_new| is_new) => Landed::Superseded,
                Some(_) => Landed::Overtaken,
            }));
        }
        Ok(if edits.is_empty() { Plan::Done(Landed::Stored) } else { Plan::Write(edits.apply(text)) })
    }

    fn cannot_store(&self, ask: &Ask<'_>, error: &StorageError) -> Landed {
        self.tell(ask, "conflict", Severity::Error, &format!("the vault cannot be written: {error}"));
        Landed::Failed
    }

    /// Another program may write the list of entries as it read it long ago. A login's tokens lie beside the list too; those of an
    /// entry that was added by itself would be lost.
    async fn keep_a_copy(&self, sending: &Sending<'_>, fresh: &Fresh) {
        if !may_be_written_over(sending.ask, sending.held) {
            return;
        }
        let successor = successor(sending, fresh);
        let kept = sealed::update(&self.ports, sending.ask.vault, &|sealed| {
            sealed.keep(&sending.fingerprint, &successor);
        })
        .await;
        // The vault has them.
        drop(kept);
    }

    /// The vault cannot take the successor: the sealed document can, or the caller must.
    async fn seal_successor(&self, sending: &Sending<'_>, fresh: &Fresh) -> Option<Secret> {
        let ask = sending.ask;
        let successor = successor(sending, fresh);
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
                    "the vault could not take the new tokens: they wait in the sealed document",
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
    pub(crate) async fn resolve(
        &self,
        vault: &str,
        sent: &Fingerprint,
        to: &Counterpart,
        fresh: &Fresh,
        intended: Option<Intended>,
    ) {
        let now_ms = self.ports.wall_ms();
        let successor = fresh.refresh_token.as_ref().map(|token| Fingerprint::of(token.expose()));
        // What was known of it before it was given to us.
        let record = |ledger: &Ledger| ledger.tokens.get(successor.as_ref()?).map(|record| record.state.clone());
        let was = intended.as_ref().and_then(|intended| record(&intended.ledger.ledger));
        let (ours, known) = intended.map(|intended| (intended.intent, intended.ledger)).unzip();
        let resolved = ledger::update(&self.ports, vault, false, known, &|ledger| match &successor {
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

    /// Before a token is spent: the vault is what it was taken for, and can be edited where the successor must go. False: it
    /// has changed.
    pub(crate) async fn check_that_it_can_be_stored(&self, sending: &Sending<'_>) -> Result<bool, KeeperError> {
        let opened = sending.due.vault.open();
        let fresh = fresh_of(sending.place, self.ports.wall_ms());
        let mut edits = Edits::default();
        for place in &sending.due.credential.places {
            if let Some(node) = opened.node(&sending.ask.profile.id, place.spot) {
                opened
                    .renew_tokens(&mut edits, node, place.spot, &sending.ask.profile, &fresh)
                    .map_err(|error| self.uneditable(&error))?;
            }
        }
        let vault = &sending.due.vault;
        Ok(self.is_current(sending.ask.vault, vault.text(), &vault.version, sending.held.document.as_ref()).await)
    }

    /// Where a load may serve what was there before, a vault is confirmed by storing it as it is.
    async fn is_current(&self, name: &str, text: &str, version: &Version, lease: Option<&Lease>) -> bool {
        self.ports.describe().reads_are_linearizable
            || matches!(self.ports.store(name, text, Some(version), true, lease).await, Ok(Stored::Done(_)))
    }

    /// A spent token lies in the vault: its descendant is put in every place it should be in. Only where there is none
    /// is the token taken out: another program wrote it over its successor.
    pub(crate) async fn restore_the_descendant(
        &self,
        sending: &Sending<'_>,
        ledger: &Ledger,
    ) -> Result<Next, KeeperError> {
        if let Some(next) = self.finish_a_sealed_successor(sending, ledger).await? {
            return Ok(next);
        }
        let vault = sending.due.vault.open();
        let now_ms = self.ports.wall_ms();
        for provider in vault.providers() {
            let profile = self.profile_or_generic(&provider)?;
            for place in vault.places(&profile, &mut Vec::new()) {
                let Some(token) = place.fingerprint() else { continue };
                let live =
                    matches!(ledger.standing(&token, &sending.to, now_ms), Standing::Sendable(_) | Standing::Paused(_));
                if live && ledger.is_ancestor(&sending.fingerprint, &token) {
                    let fresh = fresh_of(&place, now_ms);
                    let landing = Landing {
                        sent: &token,
                        fresh: &fresh,
                        ledger,
                        since_ms: now_ms,
                        was: None,
                        parent_issued_ms: None,
                        lease: sending.held.document.as_ref(),
                    };
                    self.land(sending.ask, &landing).await?;
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
        // A descendant is looked for along the lineage.
        ledger.understood()?;
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

    /// A successor of the token at hand that waits in the sealed document, or was kept there, goes where it belongs.
    pub(crate) async fn finish_a_sealed_successor(
        &self,
        sending: &Sending<'_>,
        ledger: &Ledger,
    ) -> Result<Option<Next>, KeeperError> {
        let sealed = sealed::load(&self.ports, sending.ask.vault).await?;
        let is_live = |sealed: &&Successor| self.is_live(sealed, &sending.to, ledger);
        let mut at = &sending.fingerprint;
        for _ in 0..64 {
            let mut of_it = sealed.successors.get(at).into_iter().chain(sealed.kept.get(at));
            if let Some(successor) = of_it.find(is_live) {
                let next = self.unseal_successor(sending.ask, at, successor, &sending.to, ledger, sending.held).await;
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
    pub(crate) fn is_live(&self, sealed: &Successor, to: &Counterpart, ledger: &Ledger) -> bool {
        let token = sealed.fresh.refresh_token.as_ref().map(|token| Fingerprint::of(token.expose()));
        let standing = token.as_ref().map(|token| ledger.standing(token, to, self.ports.wall_ms()));
        matches!(standing, Some(Standing::Sendable(_) | Standing::Paused(_)))
    }

    pub(crate) async fn unseal_successor(
        &self,
        ask: &Ask<'_>,
        spent: &Fingerprint,
        successor: &Successor,
        to: &Counterpart,
        ledger: &Ledger,
        held: &Held,
    ) -> Result<Next, KeeperError> {
        let fresh = &successor.fresh;
        let landed = self.land(ask, &Landing::of(spent, successor, ledger, held)).await?;
        self.resolve(ask.vault, spent, to, fresh, None).await;
        if matches!(landed, Landed::Failed | Landed::Overtaken) {
            return self.serve_from_sealed(ask, fresh);
        }
        sealed::update(&self.ports, ask.vault, &|sealed| {
            sealed.successors.remove(spent);
            if may_be_written_over(ask, held) {
                sealed.keep(spent, successor);
            }
        })
        .await?;
        let what = "tokens that an earlier refresh could not store are in the vault now";
        self.tell(ask, "restored", Severity::Info, what);
        Ok(Next::Again)
    }

    /// The vault still cannot be written: what waits for it is good meanwhile.
    fn serve_from_sealed(&self, ask: &Ask<'_>, fresh: &Fresh) -> Result<Next, KeeperError> {
        let good =
            fresh.expires_at_ms().is_none_or(|at_ms| at_ms > self.ports.wall_ms().saturating_add(ask.min_valid_ms));
        if !good || fresh.access_token.is_empty() || ask.is_unwanted(&fresh.access_token) {
            let what = "its new tokens wait in the sealed document, for the vault cannot be written";
            return Err(ask.error(Code::Storage, what));
        }
        let token_type = fresh.token_type.as_deref().unwrap_or("Bearer");
        let token = ask.served(&fresh.access_token, token_type, fresh.expires_at_ms(), Origin::Sealed)?;
        Ok(Next::Serve(token.warned(Some("the vault cannot be written; its new tokens wait in the sealed document"))))
    }
}

fn may_be_written_over(ask: &Ask<'_>, held: &Held) -> bool {
    held.document.is_some() && ask.credential != LOGIN
}

fn successor(sending: &Sending<'_>, fresh: &Fresh) -> Successor {
    Successor {
        provider: sending.ask.profile.id.clone(),
        credential: sending.ask.credential.clone(),
        fresh: fresh.clone(),
        parent_issued_at_ms: sending.place.issued_at_ms,
    }
}

/// The tokens of a place, as if a refresh had just brought them: what has expired stays so.
fn fresh_of(place: &Place, now_ms: u64) -> Fresh {
    let issued_ms = place.issued_at_ms.unwrap_or(now_ms);
    // A lifetime of nothing at all would read as an unknown one.
    let received_at_ms = place.expires_at_ms.map_or(issued_ms, |at_ms| issued_ms.min(at_ms.saturating_sub(1_000)));
    Fresh {
        access_token: place.access_token.clone().unwrap_or_else(|| Secret::new("")),
        refresh_token: place.refresh_token.clone(),
        expires_in_s: place.expires_at_ms.map(|at_ms| at_ms.saturating_sub(received_at_ms) / 1_000),
        scope: None,
        token_type: None,
        id_token: None,
        received_at_ms,
    }
}
