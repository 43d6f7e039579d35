//! Stores the new tokens that a caller kept while nothing could be stored.

use lazaretto_macros::async_natively;

use crate::error::{Code, KeeperError};
use crate::ports::Ports;
use crate::protocol::unsaved::Unsaved;
use crate::protocol::{Demand, HeldLease, Patience, StoreOutcome, Storing, intent, lease, request, store_successor};
use crate::secret::Secret;
use crate::session::Session;
use crate::state::fingerprint::Fingerprint;
use crate::state::ledger::{self, Counterpart};
use crate::state::sealed::{self, Successor};
use crate::vault::Spot;

/// Stores what [`AccessToken::unsaved`] held.
#[async_natively]
pub(crate) async fn save_unsaved<P: Ports>(session: &Session<P>, unsaved: &Secret) -> Result<(), KeeperError> {
    let unsaved = Unsaved::read(unsaved.expose())
        .ok_or_else(|| KeeperError::new(Code::BadRequest, "this is not what `unsaved` held"))?;
    let profile = session.profile(&unsaved.successor.provider).await?;
    let snapshot = session.vault(&unsaved.vault).await?;
    let login = snapshot.open().node(&profile.id, Spot::Login);
    let (to, _) = request::counterpart(&profile, login, None)?;
    let demand = Demand {
        vault: &unsaved.vault,
        profile,
        credential: unsaved.successor.credential.clone(),
        min_valid_ms: 0,
        refused: None,
        replaced: None,
        is_forced: false,
    };
    // Nobody sends the spent token while its successor is on its way.
    let held = lease::acquire(session, &demand, Some(&unsaved.spent), Patience::OneRefresh).await?;
    let saved = save(session, &demand, &unsaved.spent, &to, &unsaved.successor, &held).await;
    lease::release(session, held).await;
    saved
}

#[async_natively]
async fn save<P: Ports>(
    session: &Session<P>,
    demand: &Demand<'_>,
    spent: &Fingerprint,
    to: &Counterpart,
    successor: &Successor,
    held: &HeldLease,
) -> Result<(), KeeperError> {
    let ledger = ledger::load(&session.ports, demand.vault).await?.ledger;
    let unsaved = || {
        let what = "the vault still cannot be written: keep `unsaved`";
        KeeperError::new(Code::Unsaved, what)
    };
    match store_successor::store(session, demand, &Storing::of(spent, successor, &ledger, held)).await? {
        StoreOutcome::Failed => return Err(unsaved()),
        // Older tokens that somebody put back are not written over; these wait until they are
        // refused.
        StoreOutcome::Overtaken => sealed::update(&session.ports, demand.vault, &|sealed| {
            sealed.successors.insert(spent.clone(), successor.clone());
        })
        .await
        .map_err(|_| unsaved())?,
        StoreOutcome::Stored | StoreOutcome::Superseded | StoreOutcome::Gone => {}
    }
    intent::close(session, demand.vault, spent, to, &successor.fresh, None).await;
    Ok(())
}
