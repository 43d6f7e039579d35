//! The pool document of a vault: it is read once as long as it does not change, and changed against
//! others who write it too.

use std::rc::Rc;

use lazaretto_macros::async_natively;

use crate::ports::{Loaded, Ports, Stored};
use crate::session::Session;
use crate::state::document;

use super::{Pool, PoolState, name, spelled};

/// The pool document as it is now; not read again if it has not changed. One that cannot be read
/// holds nothing, and stays.
#[async_natively]
pub(crate) async fn load<P: Ports>(session: &Session<P>, vault: &str) -> Rc<PoolState> {
    let known = session.pools.borrow().get(vault).cloned();
    let version = known.as_ref().and_then(|state| state.version.as_ref());
    let state = match (session.ports.load(&name(vault), version).await, known) {
        (Ok(Loaded::Unchanged), Some(state)) => return state,
        (Ok(Loaded::Absent), Some(state)) if state.version.is_none() && !state.is_foreign => return state,
        (Ok(Loaded::Found(document)), _) => {
            let pools = PoolState::read(document.text.expose());
            PoolState {
                version: Some(document.version),
                is_foreign: pools.is_err(),
                text: document.text.expose().to_owned(),
                pools: pools.unwrap_or_default(),
            }
        }
        (Ok(Loaded::Absent | Loaded::Unchanged), _) => PoolState::default(),
        (Err(_), _) => PoolState { is_foreign: true, ..PoolState::default() },
    };
    let state = Rc::new(state);
    session.pools.borrow_mut().insert(vault.to_owned(), state.clone());
    state
}

/// Changes a provider's pool, whoever else does too. What cannot be written is only forgotten.
#[async_natively]
pub(crate) async fn change<P: Ports>(session: &Session<P>, vault: &str, provider: &str, change: &dyn Fn(&mut Pool)) {
    let changed = document::until_stored(async || {
        let is_done = swap(session, vault, provider, &*load(session, vault).await, change).await;
        Ok(is_done.then_some(()))
    });
    // What is lost is a count.
    drop(changed.await);
}

/// Changes a provider's pool if the document is still as it was read. False: it is not.
#[async_natively]
pub(crate) async fn swap<P: Ports>(
    session: &Session<P>,
    vault: &str,
    provider: &str,
    state: &PoolState,
    change: &dyn Fn(&mut Pool),
) -> bool {
    if state.is_foreign {
        return true;
    }
    let mut pools = PoolState::read(&state.text).unwrap_or_default();
    change(pools.entry(provider.to_owned()).or_default());
    let text = spelled(&pools);
    match session.ports.store(&name(vault), &text, state.version.as_ref(), false, None).await {
        Ok(Stored::Done(version)) => {
            let changed = PoolState { version: Some(version), is_foreign: false, text, pools };
            session.pools.borrow_mut().insert(vault.to_owned(), Rc::new(changed));
            true
        }
        Ok(Stored::Stale(_) | Stored::Unknown) => false,
        Err(_) => true,
    }
}
