//! One grant may lie in several files, and then one of them owns it: it is refreshed there, under
//! that file's lock, and nowhere else. Two owners would spend each other's tokens until the server
//! ends the grant for both.
//!
//! Which files may own what is in a vault the host knows. Its document [`ALSO`] lists them,
//! `{"also/0": {"called": "/home/you/.hermes/shared/nous_auth.json", "owns": ["nous"]}}`: what a
//! person calls the file, and the providers whose logins are that file's whatever their tokens. For
//! every other provider it owns the tokens that it holds, and those of which its ledger knows that
//! they are spent or dead, or being sent.

use lazaretto_macros::async_natively;

use crate::error::{Code, KeeperError};
use crate::json::{self, Value};
use crate::ports::{Ports, Severity};
use crate::protocol::{Exchange, Next, events};
use crate::session::Session;
use crate::state::document;
use crate::state::ledger::{self, State};
use crate::token::{AccessToken, Origin};
use crate::vault::{LOGIN, Place, Provenance, Vault, VaultError};
use crate::{next_step, sendable};

/// The host's list of files that may own what is in a vault.
const ALSO: &str = "also.json";

/// What follows from another file's owning the grant; nothing, if none does and it may be sent.
/// Only who is about to send asks, for every file must be read.
#[async_natively]
pub(crate) async fn owned_elsewhere<P: Ports>(
    session: &Session<P>,
    exchange: &Exchange<'_>,
) -> Result<Option<Next>, KeeperError> {
    let demand = exchange.demand;
    let list = match session.ports.load(ALSO, None).await {
        // A host that knows of no other files need not know the list.
        Err(error) if error.code == "unsupported" => return Ok(None),
        loaded => document::loaded(ALSO, loaded)?,
    };
    let Some(list) = list else { return Ok(None) };
    if session.settings(demand.vault).await?.is_owner()? {
        return Ok(None);
    }
    let list = json::check(list.text.expose())
        .map_err(|error| demand.error(Code::Storage, &format!("{ALSO} is not JSON: {error}")))?;
    for other in list.members() {
        if let Some(next) = owned_by(session, exchange, &other.key.as_str().unwrap_or_default(), other.value).await? {
            return Ok(Some(next));
        }
    }
    Ok(None)
}

#[async_natively]
async fn owned_by<P: Ports>(
    session: &Session<P>,
    exchange: &Exchange<'_>,
    name: &str,
    listed: Value<'_>,
) -> Result<Option<Next>, KeeperError> {
    let (demand, token) = (exchange.demand, &exchange.fingerprint);
    let provider = &demand.profile.id;
    let Some(document) = document::loaded(name, session.ports.load(name, None).await)? else { return Ok(None) };
    let called = listed.get("called").and_then(|called| called.as_str()).unwrap_or_else(|| name.to_owned());
    let vault = match Vault::open(document.text.expose(), &Provenance::at(&called)) {
        Ok(vault) => Some(vault),
        // Whoever wrote it, what it holds is not sent from here too.
        Err(VaultError::UnknownLayout(_)) => None,
        Err(error) => {
            let what = format!("{called} may hold the same login and cannot be read, so nothing is sent: {error}");
            return Err(demand.error(Code::CorruptVault, &what));
        }
    };
    let owns = listed.get("owns").is_some_and(|owns| owns.items().any(|owned| owned.is_str(provider)));
    let ledger = ledger::load(&session.ports, name).await?.ledger;
    // What is live there and lies there no more was taken from there.
    let was_used = |record: &ledger::Record| record.state != State::Live || record.intent.is_some();
    let mut is_owner = ledger.tokens.get(token).is_some_and(was_used);
    if vault.is_none() {
        is_owner |= document.text.expose().contains(&json::quote(exchange.token.expose()));
    }
    let mut fresh: Option<AccessToken> = None;
    let now_ms = session.ports.wall_ms();
    let good = |place: &Place| {
        place.expires_at_ms.is_none_or(|at_ms| at_ms > now_ms.saturating_add(demand.min_valid_ms))
            && sendable::access_token(place.access_token.as_ref()).is_some_and(|token| !demand.is_unwanted(token))
    };
    let profile = session.profile_or_generic(provider)?;
    for place in vault.into_iter().flat_map(|vault| vault.places(&profile, &mut Vec::new())) {
        let Some(held) = place.fingerprint() else { continue };
        if !(owns || held == *token || ledger.is_ancestor(token, &held)) {
            continue;
        }
        is_owner = true;
        if let Some(access) = place.access_token.as_ref().filter(|_| good(&place) && fresh.is_none()) {
            fresh = Some(demand.served(access, &place.token_type, place.expires_at_ms, Origin::Adopted)?);
        }
    }
    ledger.understood()?;
    if !is_owner {
        return Ok(None);
    }
    if let Some(token) = fresh {
        events::tell(
            session,
            demand,
            "adopted",
            Severity::Info,
            &format!("{called} owns this login, and has a token that is good"),
        );
        return Ok(Some(Next::Serve(token)));
    }
    let reach = next_step::reach(session, demand.vault).await;
    let what = format!(
        "{called} owns this login, so it is refreshed only there. If that file is not in use any more, put {{\"owner\": true}} \
         into {}",
        reach.settings()
    );
    let there = reach.at(&called).about("token", provider, LOGIN);
    Err(demand.error(Code::OwnedElsewhere, &what).run(there))
}
