//! A keeper lives until it is closed and its last call has ended. Its pointer is a number that was
//! never used before: one that is stale, or made up, finds nothing.

use std::collections::HashMap;
use std::ptr;
use std::sync::{LazyLock, PoisonError, RwLock};

use lazaretto_host::Keeper;

use crate::LazarettoKeeper;

#[derive(Default)]
struct Open {
    last: usize,
    keepers: HashMap<usize, Keeper>,
}

static OPEN: LazyLock<RwLock<Open>> = LazyLock::new(RwLock::default);

pub(crate) fn keep(keeper: Keeper) -> *mut LazarettoKeeper {
    let mut open = OPEN.write().unwrap_or_else(PoisonError::into_inner);
    // Even, as a pointer is; and none that a debugger would take for one into a mapped page.
    open.last += 16;
    let number = open.last;
    open.keepers.insert(number, keeper);
    ptr::without_provenance_mut(number)
}

pub(crate) fn find(keeper: *const LazarettoKeeper) -> Option<Keeper> {
    OPEN.read().unwrap_or_else(PoisonError::into_inner).keepers.get(&keeper.addr()).cloned()
}

pub(crate) fn close(keeper: *const LazarettoKeeper) {
    let closed = OPEN.write().unwrap_or_else(PoisonError::into_inner).keepers.remove(&keeper.addr());
    drop(closed); // outside the lock of the table
}
