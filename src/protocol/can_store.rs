//! Before a token is sent: the vault is what the token was read from, and can be edited where the
//! successor must go.

use lazaretto_macros::async_natively;

use crate::error::KeeperError;
use crate::ports::{Lease, Ports, Stored, Version};
use crate::protocol::Exchange;
use crate::secret::Secret;
use crate::session::{Session, uneditable};
use crate::vault::edit::Edits;
use crate::vault::{Fresh, Place};

/// Before a token is spent: the vault is what it was taken for, and can be edited where the
/// successor must go. False: it has changed.
#[async_natively]
pub(crate) async fn can_store<P: Ports>(session: &Session<P>, exchange: &Exchange<'_>) -> Result<bool, KeeperError> {
    let opened = exchange.due.vault.open();
    let fresh = fresh_of(exchange.place, session.ports.wall_ms());
    let mut edits = Edits::default();
    for place in &exchange.due.credential.places {
        if let Some(node) = opened.node(&exchange.demand.profile.id, place.spot) {
            opened
                .renew_tokens(&mut edits, node, place.spot, &exchange.demand.profile, &fresh)
                .map_err(|error| uneditable(&error))?;
        }
    }
    let vault = &exchange.due.vault;
    Ok(is_current(session, exchange.demand.vault, vault.text(), &vault.version, exchange.held.document.as_ref()).await)
}

/// Where a load may serve what was there before, a vault is confirmed by storing it as it is.
#[async_natively]
pub(crate) async fn is_current<P: Ports>(
    session: &Session<P>,
    name: &str,
    text: &str,
    version: &Version,
    lease: Option<&Lease>,
) -> bool {
    session.ports.describe().reads_are_linearizable
        || matches!(session.ports.store(name, text, Some(version), true, lease).await, Ok(Stored::Done(_)))
}

/// The tokens of a place, as if a refresh had just brought them: what has expired stays so.
pub(crate) fn fresh_of(place: &Place, now_ms: u64) -> Fresh {
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
