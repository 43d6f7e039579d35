//! What each verdict leaves behind, over days and months: the logic itself, natively, under a virtual clock.

#[path = "common/machine.rs"]
mod machine;

use lazaret::keeper::Keeper;
use machine::{DAY_MS, SECOND_MS, START_MS, World, now, tokens};
use serde_json::json;

#[test]
fn a_wait_that_the_server_names_is_kept_to_the_second_by_every_session() {
    let world = World::new();
    world.answer_with(429, &[("Retry-After", "120")], &json!({ "error": "slow_down" }));
    assert_eq!(world.token().expect_err("throttled").retry_after_s, Some(120));
    world.pass(119 * SECOND_MS);
    assert_eq!(world.token().expect_err("not yet").retry_after_s, Some(1));
    assert_eq!(world.requests(), 1);
    world.pass(SECOND_MS);
    world.answer(200, &tokens());
    assert_eq!(world.token().expect("refreshed").token.expose(), "at-new");
}

#[test]
fn a_server_in_trouble_is_asked_less_and_less_often_up_to_a_cap() {
    let world = World::new();
    let mut waits = Vec::new();
    for _ in 0..10 {
        world.answer(503, &json!({}));
        let wait_s = world.token().expect_err("in trouble").retry_after_s.expect("a wait");
        waits.push(wait_s);
        world.pass(wait_s * SECOND_MS);
    }
    assert!(waits.windows(2).all(|pair| pair[0] <= pair[1]), "{waits:?}");
    assert!((4..=6).contains(&waits[0]) && (240..=360).contains(&waits[9]), "{waits:?}");
    world.answer(200, &tokens());
    world.token().expect("the token lived through it");
    // And it is forgotten: the next trouble begins at the beginning.
    world.pass(2 * 3_600 * SECOND_MS);
    world.answer(503, &json!({}));
    assert!(world.token().expect_err("in trouble").retry_after_s <= Some(6));
}

#[test]
fn a_clock_that_was_set_back_does_not_stretch_a_cooldown() {
    let world = World::new();
    world.answer(503, &json!({}));
    world.token().expect_err("in trouble");
    world.0.now_ms.set(START_MS - 3_600 * SECOND_MS);
    world.answer(200, &tokens());
    // By that clock the old token is not valid yet again either: it is the refreshed one that comes.
    assert_eq!(world.token().expect("tried at once").token.expose(), "at-new");
}

#[test]
fn what_only_a_person_can_mend_is_held_until_something_changes() {
    for (status, code, action) in [
        (400, "interaction_required", "configure"),
        (401, "invalid_client", "configure"),
        (400, "invalid_scope", "configure"),
    ] {
        // Held for a year, and ended by another client.
        let world = World::new();
        world.answer(status, &json!({ "error": code }));
        assert_eq!(world.token().expect_err("held").action.as_str(), action, "{code}");
        world.pass(365 * DAY_MS);
        assert_eq!(world.token().expect_err("still held").code, "held", "{code}");
        assert_eq!(world.requests(), 1, "{code}");
        assert_eq!(
            world.vault()["providers"]["acme"]["tokens"]["refresh_token"],
            "rt-1",
            "{code}: nothing was taken out"
        );
        world.profile("client-2");
        world.answer(200, &tokens());
        world.token().expect("another client, another try");
        // Or by another login.
        let world = World::new();
        world.answer(status, &json!({ "error": code }));
        world.token().expect_err("held");
        world.log_in("rt-of-a-new-login");
        world.answer(200, &tokens());
        world.token().expect("another token, another try");
        // Or by a person who says so, for one try.
        let world = World::new();
        world.answer(status, &json!({ "error": code }));
        world.token().expect_err("held");
        world.reset();
        world.answer(status, &json!({ "error": code }));
        world.token().expect_err("held again");
        world.token().expect_err("held again");
        assert_eq!(world.requests(), 2, "{code}");
    }
}

#[test]
fn an_answer_that_nobody_understands_is_tried_five_times_and_then_parked() {
    let world = World::new();
    for _ in 0..5 {
        world.answer(418, &json!({ "mood": "teapot" }));
        world.token().expect_err("what?");
        world.pass(2 * 3_600 * SECOND_MS);
    }
    assert_eq!(world.token().expect_err("parked").code, "parked");
    assert_eq!(
        world.warnings().iter().filter(|name| **name == "parked").count(),
        1,
        "the operator was told once"
    );
    world.pass(365 * DAY_MS);
    world.token().expect_err("parked for good");
    assert_eq!(world.requests(), 5);
    assert_eq!(world.vault()["providers"]["acme"]["tokens"]["refresh_token"], "rt-1", "and never called dead");
    world.reset();
    world.answer(200, &tokens());
    world.token().expect("an operator said so");
}

#[test]
fn in_the_advisory_window_a_failure_leaves_the_good_token_served() {
    let world = World::new();
    world.0.now_ms.set(START_MS - 3_660 * SECOND_MS);
    world.answer(503, &json!({}));
    let token = world.token().expect("a minute is left");
    assert_eq!((token.token.expose(), token.warning.is_some()), ("at-old", true));
    world.token().expect("and it is served while the refresh cools down");
    assert_eq!(world.requests(), 1);
}

#[test]
fn a_tombstone_outlives_the_sealed_copy_and_a_new_login_with_the_same_token_earns_one_send() {
    let world = World::new();
    world.answer(400, &json!({ "error": "invalid_grant" }));
    assert_eq!(world.token().expect_err("dead").code, "quarantined");
    world.pass(8 * DAY_MS);
    let keeper = Keeper::new(world.clone());
    now(keeper.unquarantine("vault", "acme", None)).expect_err("its seven days are over");
    // Another program puts the old file back, a year later.
    world.pass(365 * DAY_MS);
    world.log_in("rt-1");
    assert_eq!(world.token().expect_err("still dead").code, "quarantined");
    assert_eq!(world.requests(), 1);
    // A person logs in again, and the server gives the same refresh token beside a new access token.
    let later = lazaret::time::to_rfc3339(world.0.now_ms.get() - 3_700 * SECOND_MS, lazaret::time::Zone::Letter);
    let login = json!({ "tokens": { "access_token": "at-of-a-new-login", "refresh_token": "rt-1", "expires_in": 3600 }, "last_refresh": later });
    world.write("vault", &json!({ "providers": { "acme": login } }).to_string());
    world.answer(200, &tokens());
    assert_eq!(world.token().expect("it lives").token.expose(), "at-new");
}

#[test]
fn a_record_that_cannot_be_understood_stops_its_token_and_no_other_and_is_left_as_it_is() {
    let world = World::new();
    world.answer(503, &json!({}));
    world.token().expect_err("in trouble");
    let broken = world.ledger().replace("\"live\"", "\"alive\"");
    world.write("vault.lazaret", &broken);
    let keeper = Keeper::new(world.clone());
    assert_eq!(world.token().expect_err("what is known of it cannot be read").code, "corrupt-ledger");
    assert_eq!(now(keeper.reset("vault", "acme", None)).expect_err("nor ended").code, "corrupt-ledger");
    let warnings = now(keeper.status("vault", None)).expect("served").warnings;
    assert!(warnings[0].contains("`state` should be one of"), "{warnings:?}");
    assert_eq!((world.requests(), world.ledger()), (1, broken.clone()));
    // Another login does not need it, until what is old is looked for.
    world.log_in("rt-of-another-login");
    world.answer(200, &tokens());
    world.token().expect("refreshed");
    assert!(world.ledger().contains("\"alive\"") && world.ledger().contains("\"spent\""));
    world.pass(DAY_MS);
    assert_eq!(world.token().expect_err("every record is read now").code, "corrupt-ledger");
    assert_eq!(world.requests(), 2);
}
