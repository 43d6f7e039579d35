//! The protocol step by step: what is sent, what is written before and after it, and what becomes of it when somebody else, or
//! the end of the process, comes in between. The logic itself, natively, under a virtual clock.

use crate::machine::{Moment, SECOND_MS, START_MS, World, login, tokens};
use lazaretto::error::Code;
use lazaretto::state::fingerprint::Fingerprint;
use serde_json::{Value, json};

/// The login of another program, with an access token that is good for an hour.
fn newer_login() -> Value {
    json!({ "tokens": { "access_token": "at-theirs", "refresh_token": "rt-theirs", "expires_in": 3600 },
        "last_refresh": lazaretto::time::to_rfc3339(START_MS, lazaretto::time::Zone::Letter) })
}

fn write_login(world: &World, login: &Value) {
    world.write("vault", &json!({ "providers": { "acme": login } }).to_string());
}

/// What the ledger has of a token.
fn record(world: &World, token: &str) -> Value {
    let ledger: Value = serde_json::from_str(&world.text("vault.lazaretto")).expect("json");
    ledger["tokens"][Fingerprint::of(token).as_str()].clone()
}

/// An intent is durable before the send and the successor before its caller has anything.
#[test]
fn the_intent_precedes_the_send_and_the_store_its_answer() {
    let world = World::new();
    world.answer(200, &tokens());
    world.meanwhile(Moment::Before("send"), |world| {
        assert!(record(world, "rt-1")["intent"].is_object());
    });
    world.token().expect("refreshed");
    assert_eq!(
        *world.0.deeds.borrow(),
        ["vault.lazaretto durably", "send", "vault durably", "vault.lazaretto at leisure"]
    );
    assert_eq!(world.tokens()["refresh_token"], "rt-2");
}

/// A tombstone comes before the sealed copy and that before the vault.
#[test]
fn a_tombstone_precedes_the_sealed_copy_and_the_vault() {
    let world = World::new();
    world.answer(400, &json!({ "error": "invalid_grant" }));
    world.token().expect_err("dead");
    assert_eq!(
        *world.0.deeds.borrow(),
        [
            "vault.lazaretto durably",
            "send",
            "vault.lazaretto durably",
            "vault.lazaretto-sealed durably",
            "vault durably"
        ]
    );
}

#[test]
fn each_refresh_sends_the_token_that_the_last_one_brought() {
    let world = World::new();
    for round in 2..=5 {
        world.answer(
            200,
            &json!({ "access_token": format!("at-{round}"), "refresh_token": format!("rt-{round}"), "expires_in": 60 }),
        );
        assert_eq!(world.token().expect("refreshed").token.expose(), format!("at-{round}"));
        world.pass(61 * SECOND_MS);
    }
    assert_eq!(world.sent("refresh_token"), ["rt-1", "rt-2", "rt-3", "rt-4"]);
}

/// What another program wrote while we waited for the lease is adopted and nothing is sent.
#[test]
fn tokens_written_while_we_waited_are_adopted_without_a_send() {
    let world = World::new();
    world.meanwhile(Moment::Before("acquire"), |world| write_login(world, &newer_login()));
    let token = world.token().expect("theirs");
    assert_eq!((token.token.expose(), token.origin.as_str()), ("at-theirs", "adopted"));
    assert_eq!(world.requests(), 0);
}

/// Who still has a good token does not wait for the one who refreshes it.
#[test]
fn a_caller_with_a_good_token_does_not_wait_for_a_refresh() {
    let world = World::new();
    world.0.is_busy.set(true);
    world.0.now_ms.set(START_MS - 3_660 * SECOND_MS);
    let token = world.token().expect("good for another minute");
    assert_eq!((token.token.expose(), world.requests()), ("at-old", 0));
    assert_eq!(*world.0.waits.borrow(), [0]);
    // And who has none waits as long as a refresh may take, and is told who is at it.
    world.pass(3_660 * SECOND_MS);
    let error = world.token().expect_err("not in time");
    assert!(error.code == Code::Busy && error.message.contains("pid 7"), "{error}");
    assert_eq!(*world.0.waits.borrow(), [0, 45_000], "two requests and an allowance");
}

/// It may come before any call that the session makes once it was refused, or after the last: the older token is taken out, the
/// newer one never.
#[test]
fn a_login_written_after_a_refusal_is_kept_and_used() {
    let mut adopted = 0;
    for calls in 0.. {
        let world = World::new();
        world.answer(400, &json!({ "error": "invalid_grant" }));
        world.meanwhile(Moment::Before("send"), move |world| {
            world.meanwhile(Moment::After(calls), |world| write_login(world, &newer_login()));
        });
        let answer = world.token();
        adopted += u32::from(answer.as_ref().is_ok_and(|token| token.token.expose() == "at-theirs"));
        let was_in_time = !world.is_still_to_come();
        if !was_in_time {
            assert_eq!(answer.expect_err("nobody wrote anything").code, Code::Quarantined);
            world.pass(200);
            write_login(&world, &newer_login());
        }
        assert_eq!(
            world.vault()["providers"]["acme"],
            newer_login(),
            "after {calls} calls: not a byte of it is changed"
        );
        assert_eq!(world.token().expect("theirs").token.expose(), "at-theirs", "after {calls} calls");
        assert_eq!(world.sent("refresh_token"), ["rt-1"], "after {calls} calls");
        if !was_in_time {
            break;
        }
    }
    assert!(adopted > 4, "{adopted}: whoever was refused looks again before he gives up");
}

/// A process that dies with its request out leaves a note of the token and since when.
#[test]
fn a_process_that_dies_in_an_exchange_leaves_its_intent() {
    let world = World::new();
    world.die_at_the_next_request();
    world.token_of_a_process_that_dies();
    let intent = record(&world, "rt-1")["intent"].clone();
    assert_eq!((&intent["since_ms"], &intent["sends"]), (&json!(START_MS), &json!(1)));
    assert!(!world.text("vault.lazaretto").contains("rt-1"), "by its fingerprint only");
    assert_eq!(world.status().state, "in-doubt");
    // The next session sends the same token; a refusal then is no revocation, and says so.
    world.pass(7 * SECOND_MS);
    world.answer(400, &json!({ "error": "invalid_grant" }));
    let error = world.token().expect_err("the successor went with the process");
    assert!(error.message.contains("the answer to an earlier refresh was lost"), "{error}");
    assert_eq!(world.sent("refresh_token"), ["rt-1", "rt-1"]);
}

/// A timed out request is repeated word for word inside a short replay window.
#[test]
fn a_timed_out_request_is_repeated_in_the_replay_window() {
    let world = World::new();
    // On a vault that another program may wait for, a request has ten seconds.
    world.fail("timeout", true, 10 * SECOND_MS);
    world.answer(200, &tokens());
    world.token().expect("the server gave the successor again");
    let sent = world.0.sent.borrow();
    assert_eq!(sent.len(), 2);
    assert_eq!(sent[0].0, sent[1].0, "the same token, the same body");
    assert_eq!(sent[1].1 - sent[0].1, 10 * SECOND_MS, "as soon as the first was given up");
}

/// After a server error the tokens stay the state is in doubt and the same token is sent again.
#[test]
fn a_server_error_keeps_the_tokens_in_doubt_and_retries() {
    for status in [500, 502, 503, 504, 520] {
        let world = World::new();
        let before = world.text("vault");
        // Behind a gateway it is asked for once more at once.
        let requests = if matches!(status, 500 | 503) { 1 } else { 2 };
        (0..requests).for_each(|_| world.answer_text(status, &[("content-type", "text/html")], "<html>sorry</html>"));
        let error = world.token().expect_err("no token");
        assert_eq!(error.code, Code::InDoubt, "{status}: {error}");
        assert_eq!((world.text("vault"), world.requests()), (before, requests), "{status}");
        assert!(record(&world, "rt-1")["intent"].is_object(), "{status}");
        world.pass(6 * SECOND_MS);
        assert_eq!(world.status().state, "in-doubt", "{status}");
        world.answer(200, &tokens());
        world.token().expect("refreshed");
        assert!(world.sent("refresh_token").iter().all(|token| token == "rt-1"), "{status}");
        assert_eq!(record(&world, "rt-1")["intent"], Value::Null, "{status}: no doubt is left");
    }
}

/// Of a login and its copy the later issued is sent and the other never.
#[test]
fn of_a_login_and_its_copy_only_the_later_issued_is_sent() {
    let (early, late) = ("2026-07-20T07:00:00Z", "2026-07-20T08:00:00Z");
    for (of_login, of_copy, copy_token, sent) in [
        (early, late, json!("rt-copy"), "rt-copy"),
        (late, early, json!("rt-copy"), "rt-1"),
        (late, late, json!("rt-copy"), "rt-1"),
        // Later, but nothing that could be sent.
        (early, late, json!(""), "rt-1"),
        (early, late, json!(null), "rt-1"),
        (early, late, json!(["rt-copy"]), "rt-1"),
        (late, "yesterday", json!("rt-copy"), "rt-1"),
    ] {
        let world = World::new();
        world.profile_with(&json!({ "client_id": "client-1", "seeded_sources": ["device_code"] }));
        let mut login = login("rt-1");
        login["last_refresh"] = json!(of_login);
        let copy = json!({ "id": "copy01", "auth_type": "oauth", "source": "device_code", "access_token": "at-copy",
            "refresh_token": copy_token, "expires_in": 60, "last_refresh": of_copy });
        world.write(
            "vault",
            &json!({ "providers": { "acme": login }, "credential_pool": { "acme": [copy] } }).to_string(),
        );
        world.answer(200, &tokens());
        world.token().expect("refreshed");
        world.pass(3_600 * SECOND_MS);
        world.answer(200, &json!({ "access_token": "at-3", "refresh_token": "rt-3", "expires_in": 3600 }));
        world.token().expect("refreshed");
        assert_eq!(world.sent("refresh_token"), [sent, "rt-2"], "{of_login} {of_copy} {copy_token}");
    }
}

#[test]
fn the_client_goes_with_the_token_that_was_issued_to_it() {
    let login_of = |token: &str, client: &str| {
        let mut login = login(token);
        login["client_id"] = json!(client);
        login
    };
    let world = World::new();
    world.profile_with(&json!({ "client_id": "nobody", "client_id_in_login": "/client_id" }));
    write_login(&world, &login_of("rt-1", "client-1"));
    // Another program registers anew and logs in while we wait for the lease.
    world.meanwhile(Moment::Before("acquire"), move |world| write_login(world, &login_of("rt-of-2", "client-2")));
    world.answer(200, &tokens());
    world.token().expect("refreshed");
    assert_eq!(
        (world.sent("refresh_token"), world.sent("client_id")),
        (vec!["rt-of-2".into()], vec!["client-2".into()])
    );
    let stored = world.vault()["providers"]["acme"].clone();
    assert_eq!((&stored["client_id"], &stored["tokens"]["refresh_token"]), (&json!("client-2"), &json!("rt-2")));
}

/// A success without an access token writes nothing unless it brings a successor.
#[test]
fn a_success_without_tokens_writes_nothing() {
    for (kind, body) in [
        ("application/json", "{}"),
        ("application/json", r#"{"access_token":""}"#),
        ("application/json", r#"{"access_token":null,"expires_in":3600}"#),
        ("application/json", r#"{"ok":true}"#),
        ("application/x-www-form-urlencoded", "access_token=&token_type=bearer"),
        ("text/html", "<html>welcome</html>"),
    ] {
        let world = World::new();
        let before = world.text("vault");
        (0..2).for_each(|_| world.answer_text(200, &[("content-type", kind)], body));
        world.token().expect_err("no token");
        assert_eq!(world.text("vault"), before, "{body}");
    }
    // A successor in hand outranks everything; and no empty value is written beside it.
    let world = World::new();
    world.answer(200, &json!({ "access_token": "", "refresh_token": "rt-2" }));
    world.token().expect_err("no token");
    assert_eq!((&world.tokens()["access_token"], &world.tokens()["refresh_token"]), (&json!("at-old"), &json!("rt-2")));
}

/// A successor without an access token does not make the old access token good again.
#[test]
fn a_successor_alone_does_not_renew_the_access_token() {
    let world = World::new();
    world.answer(200, &json!({ "access_token": "", "refresh_token": "rt-2" }));
    world.token().expect_err("no token");
    world.answer(200, &json!({ "access_token": "at-3", "refresh_token": "rt-3", "expires_in": 3600 }));
    assert_eq!(world.token().expect("with the successor").token.expose(), "at-3");
    assert_eq!(world.sent("refresh_token"), ["rt-1", "rt-2"]);
}

#[test]
fn a_redirect_is_not_followed_and_its_host_is_named() {
    for status in [301, 302, 307, 308] {
        let world = World::new();
        let before = world.text("vault");
        world.answer_text(status, &[("location", "https://elsewhere.example/token?x=rt-1")], "");
        let error = world.token().expect_err("no token");
        assert!(error.message.contains("elsewhere.example") && !error.message.contains("rt-1"), "{error}");
        assert_ne!(error.action().as_str(), "login", "{status}");
        assert_eq!((world.text("vault"), world.requests()), (before, 1), "{status}");
    }
}

/// An answer that names no lifetime leaves it unknown and a refusal still refreshes.
#[test]
fn an_answer_without_a_lifetime_leaves_it_unknown() {
    for lifetime in [None, Some(json!(0)), Some(json!(-1)), Some(json!("soon"))] {
        let world = World::new();
        let mut answer = json!({ "access_token": "at-2", "refresh_token": "rt-2", "refresh_expires_in": 0 });
        if let Some(lifetime) = lifetime.clone() {
            answer["expires_in"] = lifetime;
        }
        world.answer(200, &answer);
        assert_eq!(world.token().expect("refreshed").expires_at_ms, None, "{lifetime:?}");
        // What was known of the old token is not said of the new one.
        assert_eq!(world.tokens()["expires_in"], Value::Null, "{lifetime:?}");
        assert_eq!(world.status().state, "unknown-expiry", "{lifetime:?}");
        assert_eq!(world.token().expect("served").token.expose(), "at-2", "{lifetime:?}");
        world.answer(200, &json!({ "access_token": "at-3", "refresh_token": "rt-3", "expires_in": 60 }));
        assert_eq!(world.token_instead_of("at-2").expect("refreshed").token.expose(), "at-3", "{lifetime:?}");
        assert_eq!(world.sent("refresh_token"), ["rt-1", "rt-2"], "{lifetime:?}");
    }
}

/// A server that answers `refresh_expires_in: 0` says that it does not know.
#[test]
fn how_long_a_refresh_token_is_said_to_live_stops_no_refresh() {
    let world = World::new();
    world.answer(
        200,
        &json!({ "access_token": "at-2", "refresh_token": "rt-2", "expires_in": 60, "refresh_expires_in": 0 }),
    );
    world.token().expect("refreshed");
    world.pass(365 * 86_400 * SECOND_MS);
    world.answer(200, &json!({ "access_token": "at-3", "expires_in": 60, "refresh_expires_in": 0 }));
    assert_eq!(world.token().expect("refreshed").token.expose(), "at-3");
    assert_eq!(world.tokens()["refresh_token"], "rt-2", "an answer without one leaves it");
}

/// The user restores a backup while a refresh is on its way, and neither the vault nor the sealed document takes what it brings.
#[test]
fn an_older_token_put_back_does_not_end_what_is_saved_later() {
    let world = World::new();
    let moment = |ms: u64| lazaretto::time::to_rfc3339(ms, lazaretto::time::Zone::Letter);
    let old = json!({ "tokens": { "access_token": "at-backup", "refresh_token": "rt-backup", "expires_in": 3600 },
        "last_refresh": moment(START_MS - 50 * 3_600 * SECOND_MS) });
    world.answer(200, &tokens());
    world.meanwhile(Moment::Before("send"), move |world| {
        write_login(world, &old);
        // The sealed document is read right after the vault.
        world.refuse("vault.lazaretto-sealed");
    });
    let token = world.token().expect("refreshed");
    let unsaved = token.unsaved.expect("stored nowhere");
    world.refuse("");
    let keeper = lazaretto::keeper::Keeper::new(world.clone());
    crate::machine::now(keeper.save_unsaved(&unsaved)).expect("kept somewhere");
    assert_eq!(world.tokens()["refresh_token"], "rt-backup", "what somebody put back is not written over");
    assert!(world.text("vault.lazaretto-sealed").contains("rt-2"), "and the new tokens wait");
    world.answer(400, &json!({ "error": "invalid_grant" }));
    assert_eq!(world.token().expect("they are used when the old ones are refused").token.expose(), "at-new");
    assert_eq!(world.tokens()["refresh_token"], "rt-2");
}
