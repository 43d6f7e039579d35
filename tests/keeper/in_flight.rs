//! What is said of a credential whose refresh is under way: that somebody is at it, who, and since when. Doubt begins when nobody holds
//! its lease any more.

use std::cell::RefCell;
use std::rc::Rc;

use crate::machine::{HELD_SINCE_MS, Moment, World, tokens};
use lazaretto::status::{CredentialStatus, Renewal, Usable};

/// The status that somebody else sees at a moment of the next refresh.
fn seen_by_another(world: &World, moment: Moment, act: impl FnOnce(&World)) -> CredentialStatus {
    let seen = Rc::new(RefCell::new(None));
    let eye = seen.clone();
    world.meanwhile(moment, move |world| *eye.borrow_mut() = Some(world.status()));
    act(world);
    seen.take().expect("the moment came")
}

#[test]
fn an_exchange_in_flight_is_refreshing_and_no_lost_answer() {
    let world = World::new();
    world.answer(200, &tokens());
    let status = seen_by_another(&world, Moment::Before("send"), |world| drop(world.token().expect("refreshed")));
    assert_eq!((status.state, status.renewal, status.usable), ("refreshing", Renewal::Refreshing, Usable::Expired));
    assert_eq!(status.refreshing_by.as_deref(), Some("pid 7"));
    assert_eq!(status.refreshing_since_ms, Some(HELD_SINCE_MS));
    assert_eq!((status.note, status.todo, status.last_error.is_none()), (None, None, true));
    assert_eq!(world.warnings(), [""; 0], "nothing was lost");
    assert_eq!(world.status().renewal, Renewal::Ok);
}

#[test]
fn an_exchange_whose_process_died_is_in_doubt() {
    let world = World::new();
    world.die_at_the_next_request();
    world.token_of_a_process_that_dies();
    let status = world.status();
    assert_eq!((status.state, status.renewal), ("in-doubt", Renewal::InDoubt));
    assert_eq!((status.refreshing_by, status.refreshing_since_ms), (None, None));
    assert!(status.note.is_some_and(|note| !note.is_empty()));
    // Who takes it up is seen at it.
    world.answer(200, &tokens());
    let status = seen_by_another(&world, Moment::Before("send"), |world| drop(world.token().expect("asked once more")));
    assert_eq!(status.renewal, Renewal::Refreshing);
}

/// The ledger was read with an open intent, and the lease was given back before anybody asked who has it.
#[test]
fn an_exchange_that_ends_during_the_read_leaves_no_doubt() {
    let world = World::new();
    world.die_at_the_next_request();
    world.token_of_a_process_that_dies();
    world.answer(200, &tokens());
    world.meanwhile(Moment::Before("holder_of"), |world| drop(world.token().expect("refreshed")));
    let status = world.status();
    assert!(!world.is_still_to_come());
    assert_eq!((status.state, status.renewal, status.usable), ("valid", Renewal::Ok, Usable::Yes));
}
