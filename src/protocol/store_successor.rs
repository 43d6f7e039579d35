//! Step 8 of the protocol: fresh tokens reach the vault by lineage, wherever it stands now, or are kept where nothing is
//! lost until they can.

use lazaretto_macros::async_natively;

use crate::classify::RefreshToken;
use crate::error::{Code, KeeperError};
use crate::ports::{Loaded, Ports, Severity, StorageError, Stored};
use crate::protocol::{
    Demand, Exchange, HeldLease, Intended, Next, Outcome, StoreOutcome, Storing, can_store, events, intent, request,
    unsaved,
};
use crate::secret::Secret;
use crate::session::{Session, uneditable};
use crate::state::document;
use crate::state::fingerprint::Fingerprint;
use crate::state::sealed::{self, Successor};
use crate::token::{AccessToken, Origin};
use crate::vault::edit::Edits;
use crate::vault::{Fresh, LOGIN, Place};

const UNUSABLE: &str = "the server answered with a refresh token that cannot be used: the old one stays in the vault, and may have been replaced";

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
    fn of(answered: &RefreshToken, sent: &Secret) -> Self {
        match answered {
            RefreshToken::Usable(token) if token == sent => Self::Stays,
            RefreshToken::Usable(token) => Self::Replaced(token.clone()),
            RefreshToken::Absent => Self::Stays,
            RefreshToken::Unusable => Self::Unclear,
        }
    }
}

enum Plan {
    Write(String),
    Done(StoreOutcome),
}

/// Step 8. The successor is durable before the caller has the access token.
#[async_natively]
pub(crate) async fn store_successor<P: Ports>(
    session: &Session<P>,
    exchange: &Exchange<'_>,
    outcome: Outcome,
    intended: Intended,
) -> Result<Next, KeeperError> {
    let Some(tokens) = outcome.judgement.tokens else { return Ok(Next::Again) };
    let demand = exchange.demand;
    let rotation = Rotation::of(&tokens.refresh_token, exchange.token);
    let is_clear = !matches!(rotation, Rotation::Unclear);
    let fresh = Fresh {
        refresh_token: if let Rotation::Replaced(successor) = rotation { Some(successor) } else { None },
        ..request::fresh(tokens, session.ports.wall_ms())
    };
    let storing = Storing {
        sent: &exchange.fingerprint,
        fresh: &fresh,
        ledger: &intended.ledger.ledger,
        since_ms: outcome.sent_at_ms,
        was: Some(&exchange.due.credential),
        parent_issued_ms: exchange.place.issued_at_ms,
        lease: exchange.held.document.as_ref(),
    };
    let stored_as = store(session, demand, &storing).await?;
    let mut unsaved = None;
    if fresh.refresh_token.is_some() {
        match stored_as {
            StoreOutcome::Failed | StoreOutcome::Overtaken => unsaved = seal_successor(session, exchange, &fresh).await,
            StoreOutcome::Stored => keep_copy(session, exchange, &fresh).await,
            StoreOutcome::Superseded | StoreOutcome::Gone => {}
        }
    }
    // An intent that stays open says that nobody knows whether the token that was sent is still good.
    if unsaved.is_none() && is_clear {
        intent::close(session, demand.vault, &exchange.fingerprint, &exchange.to, &fresh, Some(intended)).await;
    }
    let rotated = match (&fresh.refresh_token, is_clear) {
        (Some(_), _) => "the refresh token was replaced",
        (None, true) => "the refresh token stays",
        (None, false) => "the access token was replaced",
    };
    events::tell(session, demand, "refreshed", Severity::Info, rotated);
    if !is_clear {
        events::tell(session, demand, "in-doubt", Severity::Warning, UNUSABLE);
    }
    if fresh.access_token.is_empty() {
        let what = "the server sent a new refresh token, but no access token that can be used";
        return Err(demand.error(Code::RefreshFailed, what));
    }
    let warning = stored_as.warning(unsaved.is_some(), fresh.refresh_token.is_some());
    let token_type = fresh.token_type.as_deref().unwrap_or(&exchange.place.token_type);
    let token = demand.served(&fresh.access_token, token_type, fresh.expires_at_ms(), Origin::Refreshed)?;
    let token = AccessToken { unsaved, ..token }.warned(warning);
    Ok(Next::Serve(token.warned((!is_clear).then_some(UNUSABLE))))
}

/// Stores fresh tokens by lineage, looking at what is stored now, until it is durable or cannot be.
#[async_natively]
pub(crate) async fn store<P: Ports>(
    session: &Session<P>,
    demand: &Demand<'_>,
    storing: &Storing<'_>,
) -> Result<StoreOutcome, KeeperError> {
    let lease = storing.lease;
    let stored = document::until_stored(async || {
        let document = match session.ports.load(demand.vault, None).await {
            Ok(Loaded::Found(document)) => document,
            // A file that is away for a moment is no removed credential.
            Ok(Loaded::Absent | Loaded::Unchanged) => return Ok(Some(StoreOutcome::Failed)),
            Err(error) => return Ok(Some(cannot_store(session, demand, &error))),
        };
        let text = document.text.expose();
        let planned = plan(session, text, demand, storing);
        let edited = match planned {
            Ok(Plan::Write(edited)) => Secret::new(edited),
            // What an old read says is no reason to let fresh tokens go.
            Ok(Plan::Done(stored_as))
                if can_store::is_current(session, demand.vault, text, &document.version, lease).await =>
            {
                return Ok(Some(stored_as));
            }
            Ok(Plan::Done(_)) => return Ok(None),
            Err(error) => {
                events::tell(session, demand, "conflict", Severity::Error, &error.message);
                return Ok(Some(StoreOutcome::Failed));
            }
        };
        match session.ports.store(demand.vault, edited.expose(), Some(&document.version), true, lease).await {
            Ok(Stored::Done(_)) => Ok(Some(StoreOutcome::Stored)),
            Ok(Stored::Stale(_)) => {
                events::tell(
                    session,
                    demand,
                    "conflict",
                    Severity::Info,
                    "the vault changed while it was being written: decided again",
                );
                Ok(None)
            }
            Ok(Stored::Unknown) => Ok(None),
            Err(error) => Ok(Some(cannot_store(session, demand, &error))),
        }
    });
    Ok(stored.await?.unwrap_or(StoreOutcome::Failed))
}

fn plan<P: Ports>(
    session: &Session<P>,
    text: &str,
    demand: &Demand<'_>,
    storing: &Storing<'_>,
) -> Result<Plan, KeeperError> {
    let (sent, fresh) = (storing.sent, storing.fresh);
    let ours = |token: &Fingerprint| token == sent || storing.ledger.is_ancestor(token, sent);
    let vault = session.opened(demand.vault, text)?;
    let mut edits = Edits::default();
    let (mut holds_it, mut holds_successor) = (false, false);
    let mut write = |place: &Place, profile: &crate::provider::Profile| match vault.node(&profile.id, place.spot) {
        Some(node) => {
            vault.renew_tokens(&mut edits, node, place.spot, profile, fresh).map_err(|error| uneditable(&error))
        }
        None => Ok(()),
    };
    for provider in vault.providers() {
        let profile = session.profile_or_generic(&provider)?;
        for place in vault.places(&profile, &mut Vec::new()) {
            if place.fingerprint().as_ref().is_some_and(&ours) {
                holds_it = true;
                write(&place, &profile)?;
            } else if place.refresh_token.is_some() && place.refresh_token == fresh.refresh_token {
                holds_successor = true;
            }
        }
    }
    let reading = vault.read(&demand.profile);
    let credential = reading.credentials.iter().find(|credential| credential.id() == demand.credential);
    // Emptied by somebody who was refused what we were just given another for.
    let held_it = |place: &Place| {
        let before = storing.was.into_iter().flat_map(|credential| &credential.places);
        before.filter(|was| was.id == place.id).any(|was| was.fingerprint().as_ref() == Some(sent))
    };
    let emptied = |place: &Place| {
        let since = place.last_error.as_ref().map(|error| error.at_ms >= Some(storing.since_ms));
        // Another tool's file says nothing of it: what held the parent was emptied.
        let Some(since) = since.or(vault.tool().map(|_| false)) else { return false };
        place.refresh_token.is_none() && (since || held_it(place))
    };
    let places = || credential.into_iter().flat_map(|credential| &credential.places);
    for place in places().filter(|place| emptied(place)) {
        holds_it = true;
        write(place, &demand.profile)?;
    }
    if !holds_it && !holds_successor {
        let is_new = |place: &Place| {
            let (issued_ms, parent_issued_ms) = (place.issued_at_ms, storing.parent_issued_ms);
            issued_ms.zip(parent_issued_ms).is_none_or(|(issued_ms, parent_ms)| issued_ms > parent_ms)
        };
        let mut others = places().filter(|place| place.refresh_token.is_some()).map(is_new);
        return Ok(Plan::Done(match others.next() {
            None => StoreOutcome::Gone,
            Some(is_new) if is_new || others.any(|is_new| is_new) => StoreOutcome::Superseded,
            Some(_) => StoreOutcome::Overtaken,
        }));
    }
    Ok(if edits.is_empty() { Plan::Done(StoreOutcome::Stored) } else { Plan::Write(edits.apply(text)) })
}

fn cannot_store<P: Ports>(session: &Session<P>, demand: &Demand<'_>, error: &StorageError) -> StoreOutcome {
    events::tell(session, demand, "conflict", Severity::Error, &format!("the vault cannot be written: {error}"));
    StoreOutcome::Failed
}

/// Another program may write the list of entries as it read it long ago. A login's tokens lie beside the list too; those of an
/// entry that was added by itself would be lost.
#[async_natively]
async fn keep_copy<P: Ports>(session: &Session<P>, exchange: &Exchange<'_>, fresh: &Fresh) {
    if !may_be_written_over(exchange.demand, exchange.held) {
        return;
    }
    let successor = successor(exchange, fresh);
    let kept = sealed::update(&session.ports, exchange.demand.vault, &|sealed| {
        sealed.keep(&exchange.fingerprint, &successor);
    })
    .await;
    // The vault has them.
    drop(kept);
}

/// The vault cannot take the successor: the sealed document can, or the caller must.
#[async_natively]
async fn seal_successor<P: Ports>(session: &Session<P>, exchange: &Exchange<'_>, fresh: &Fresh) -> Option<Secret> {
    let demand = exchange.demand;
    let successor = successor(exchange, fresh);
    let sealed = sealed::update(&session.ports, demand.vault, &|sealed| {
        sealed.successors.insert(exchange.fingerprint.clone(), successor.clone());
    })
    .await;
    match sealed {
        Ok(()) => {
            events::tell(
                session,
                demand,
                "successor-sealed",
                Severity::Error,
                "the vault could not take the new tokens: they wait in the sealed document",
            );
            None
        }
        Err(error) => {
            let what = format!("the new tokens could not be stored anywhere: {}", error.message);
            events::tell(session, demand, "successor-unsaved", Severity::Error, &what);
            Some(unsaved::unsaved(demand.vault, &exchange.fingerprint, &successor))
        }
    }
}

pub(crate) fn may_be_written_over(demand: &Demand<'_>, held: &HeldLease) -> bool {
    held.document.is_some() && demand.credential != LOGIN
}

fn successor(exchange: &Exchange<'_>, fresh: &Fresh) -> Successor {
    Successor {
        provider: exchange.demand.profile.id.clone(),
        credential: exchange.demand.credential.clone(),
        fresh: fresh.clone(),
        parent_issued_at_ms: exchange.place.issued_at_ms,
    }
}
