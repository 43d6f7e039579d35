//! What each verdict leaves behind, over days and months: the logic itself, natively, under a virtual clock.

use crate::machine::{DAY_MS, SECOND_MS, START_MS, World, now, tokens};
use lazaretto::error::{Action, Code, KeeperError};
use lazaretto::keeper::Keeper;
use lazaretto::ports::Severity;
use serde_json::json;

/// A wait that the server names is kept to the second by every session.
#[test]
fn every_session_keeps_the_servers_wait_to_the_second() {
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
    for (status, code, is_told) in [
        (400, "interaction_required", Code::InteractionRequired),
        (401, "invalid_client", Code::Held),
        (403, "unauthorized_client", Code::Held),
        (400, "invalid_request", Code::Held),
        (400, "invalid_scope", Code::Held),
    ] {
        // Held for a year, and ended by another client.
        let world = World::new();
        world.answer(status, &json!({ "error": code }));
        let told = |error: KeeperError| error.code;
        assert_eq!(told(world.token().expect_err("held")), is_told, "{code}");
        world.pass(365 * DAY_MS);
        assert_eq!(told(world.token().expect_err("still held")), is_told, "{code}");
        assert_eq!(world.requests(), 1, "{code}");
        assert_eq!(world.warnings(), ["held"], "{code}: the operator was told once");
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

/// A server that once loses its client for a moment must not hold a login until a person comes.
#[test]
fn a_client_refused_after_it_worked_backs_off_first() {
    for (status, code) in
        [(401, "invalid_client"), (403, "unauthorized_client"), (400, "invalid_scope"), (301, "moved")]
    {
        // One refusal after a refresh that worked is over in a minute.
        let world = World::new();
        world.answer(200, &tokens());
        world.token().expect("refreshed");
        world.pass(3_600 * SECOND_MS);
        world.answer(status, &json!({ "error": code }));
        let error = world.token().expect_err("refused");
        assert_eq!(error.code, Code::RefreshFailed, "{code}: {error}");
        let wait_s = error.retry_after_s.expect("a wait");
        assert!((48..=72).contains(&wait_s), "{code}: {wait_s}");
        assert_eq!(world.status().state, "cooling-down", "{code}");
        assert_eq!(world.tokens()["refresh_token"], "rt-2", "{code}");
        world.pass(wait_s * SECOND_MS);
        world.answer(200, &json!({ "access_token": "at-3", "refresh_token": "rt-3", "expires_in": 3600 }));
        assert_eq!(world.token().expect("the client is known again").token.expose(), "at-3", "{code}");
        // Eight in a row hold it, two hours later; what comes in between neither counts nor begins anew.
        world.pass(3_600 * SECOND_MS);
        let mut waits = Vec::new();
        for number in 1..=8 {
            if number == 4 {
                world.answer(503, &json!({}));
                let wait_s = world.token().expect_err("in trouble").retry_after_s.expect("a wait");
                world.pass(wait_s * SECOND_MS);
            }
            world.answer(status, &json!({ "error": code }));
            let error = world.token().expect_err("refused");
            if number == 8 {
                assert_eq!(error.code, Code::Held, "{code}: {error}");
            } else {
                waits.push(error.retry_after_s.unwrap_or_else(|| panic!("{code} {number}: {error}")));
                world.pass(waits[waits.len() - 1] * SECOND_MS);
            }
        }
        assert!(waits.windows(2).all(|pair| pair[0] < pair[1]), "{code}: {waits:?}");
        assert!((5_700..=9_000).contains(&waits.iter().sum::<u64>()), "{code}: {waits:?}");
        world.pass(365 * DAY_MS);
        assert_eq!(world.token().expect_err("still held").code, Code::Held, "{code}");
        assert_eq!(world.requests(), 12, "{code}");
        // Whoever mends the profile need not wait.
        let world = World::new();
        world.answer(200, &tokens());
        world.token().expect("refreshed");
        world.pass(3_600 * SECOND_MS);
        world.answer(status, &json!({ "error": code }));
        world.token().expect_err("refused");
        assert_eq!(world.token().expect_err("refused").code, Code::CoolingDown, "{code}");
        world.profile_with(&json!({ "client_id": "client-1", "request": { "parameters": { "scope": "a" } } }));
        world.answer(200, &json!({ "access_token": "at-3", "refresh_token": "rt-3", "expires_in": 3600 }));
        assert_eq!(world.token().expect("tried at once").token.expose(), "at-3", "{code}");
    }
}

#[test]
fn a_retry_after_of_zero_has_a_floor() {
    for named in ["0", "0.0", "1", "Mon, 20 Jul 2026 10:00:00 GMT"] {
        let world = World::new();
        for calls in 1..=10 {
            world.answer_with(429, &[("Retry-After", named)], &json!({ "error": "rate_limited" }));
            let wait_s = world.token().expect_err("throttled").retry_after_s.expect("a wait");
            assert!(wait_s >= 4, "{named}, call {calls}: {wait_s}");
            for _ in 0..3 {
                world.token().expect_err("not yet");
            }
            assert_eq!(world.requests(), calls, "{named}");
            world.pass(wait_s * SECOND_MS);
        }
    }
}

#[test]
fn a_refused_forced_refresh_leaves_the_good_access_token_served() {
    let world = World::new();
    world.0.now_ms.set(START_MS - 2 * 3_600 * SECOND_MS);
    world.answer(400, &json!({ "error": "invalid_grant" }));
    let error = world.refresh().expect_err("another token was wanted");
    assert_eq!(error.code, Code::Quarantined);
    let token = world.token().expect("it is good for an hour");
    assert_eq!((token.token.expose(), token.origin.as_str(), token.warning.is_some()), ("at-old", "sealed", true));
    // Whoever forces once more wants another one than this.
    assert_eq!(world.refresh().expect_err("there is none").code, Code::Quarantined);
    // But one that an API refused is not served any more.
    let world = World::new();
    world.0.now_ms.set(START_MS - 2 * 3_600 * SECOND_MS);
    world.answer(400, &json!({ "error": "invalid_grant" }));
    world.token_instead_of("at-old").expect_err("dead");
    assert_eq!(world.token().expect_err("an API refused it").code, Code::Quarantined);
    assert_eq!(world.requests(), 1);
}

/// An answer that nobody understands is tried five times and then parked.
#[test]
fn an_unknown_answer_is_tried_five_times_and_then_paused() {
    let world = World::new();
    for _ in 0..5 {
        world.answer(418, &json!({ "mood": "teapot" }));
        world.token().expect_err("what?");
        world.pass(2 * 3_600 * SECOND_MS);
    }
    assert_eq!(world.token().expect_err("parked").code, Code::Parked);
    assert_eq!(world.warnings().iter().filter(|name| **name == "parked").count(), 1, "the operator was told once");
    world.pass(365 * DAY_MS);
    world.token().expect_err("parked for good");
    assert_eq!(world.requests(), 5);
    assert_eq!(world.vault()["providers"]["acme"]["tokens"]["refresh_token"], "rt-1", "and never called dead");
    world.reset();
    world.answer(200, &tokens());
    world.token().expect("an operator said so");
}

/// In the advisory window a failure leaves the good token served.
#[test]
fn in_the_advisory_window_a_failure_still_serves_the_token() {
    let world = World::new();
    world.0.now_ms.set(START_MS - 3_660 * SECOND_MS);
    world.answer(503, &json!({}));
    let token = world.token().expect("a minute is left");
    assert_eq!((token.token.expose(), token.warning.is_some()), ("at-old", true));
    world.token().expect("and it is served while the refresh cools down");
    assert_eq!(world.requests(), 1);
}

/// A tombstone outlives the sealed copy and a new login with the same token earns one send.
#[test]
fn a_tombstone_outlives_the_sealed_copy() {
    let world = World::new();
    world.answer(400, &json!({ "error": "invalid_grant" }));
    assert_eq!(world.token().expect_err("dead").code, Code::Quarantined);
    world.pass(8 * DAY_MS);
    let keeper = Keeper::new(world.clone());
    now(keeper.unquarantine("vault", "acme", None)).expect_err("its seven days are over");
    // Another program puts the old file back, a year later.
    world.pass(365 * DAY_MS);
    world.log_in("rt-1");
    assert_eq!(world.token().expect_err("still dead").code, Code::Quarantined);
    assert_eq!(world.requests(), 1);
    // A person logs in again, and the server gives the same refresh token beside a new access token.
    let later = lazaretto::time::to_rfc3339(world.0.now_ms.get() - 3_700 * SECOND_MS, lazaretto::time::Zone::Letter);
    let login = json!({ "tokens": { "access_token": "at-of-a-new-login", "refresh_token": "rt-1", "expires_in": 3600 }, "last_refresh": later });
    world.write("vault", &json!({ "providers": { "acme": login } }).to_string());
    world.answer(200, &tokens());
    assert_eq!(world.token().expect("it lives").token.expose(), "at-new");
}

/// A thousand callers of a dead token cause no request and no second warning.
#[test]
fn a_thousand_callers_of_a_dead_token_cause_no_request() {
    let world = World::new();
    world.answer(400, &json!({ "error": "invalid_grant" }));
    for _ in 0..1_000 {
        assert_eq!(world.token().expect_err("dead").code, Code::Quarantined);
        world.pass(60 * SECOND_MS);
    }
    assert_eq!(world.requests(), 1, "the one that told");
    assert_eq!(world.warnings(), ["quarantined"]);
}

/// A thousand callers after a 429 fail at once with its cause and do not prolong it.
#[test]
fn a_thousand_callers_after_a_429_fail_at_once() {
    let world = World::new();
    world.answer_with(429, &[("Retry-After", "1000")], &json!({ "error": "slow_down" }));
    world.token().expect_err("throttled");
    for passed_s in 1..=999 {
        world.pass(SECOND_MS);
        let error = world.token().expect_err("not yet");
        assert_eq!((error.code, error.retry_after_s), (Code::CoolingDown, Some(1_000 - passed_s)));
        assert!(error.message.contains("HTTP 429 slow_down"), "{error}");
    }
    assert_eq!((world.requests(), world.warnings().len()), (1, 1));
    world.pass(SECOND_MS);
    world.answer(200, &tokens());
    world.token().expect("the wait is over");
}

#[test]
fn a_wait_of_days_ends_at_once_when_an_operator_says_so() {
    let world = World::new();
    world.answer_with(429, &[("Retry-After", "500000")], &json!({ "error": "slow_down" }));
    assert!(world.token().expect_err("throttled").retry_after_s > Some(4 * 86_400));
    world.reset();
    world.answer(200, &tokens());
    world.token().expect("an operator said so");
}

#[test]
fn a_network_that_fails_changes_no_byte_and_costs_a_few_seconds() {
    for (kind, maybe_sent) in
        [("dns", false), ("connect", false), ("tls", false), ("timeout", false), ("timeout", true), ("reset", true)]
    {
        let world = World::new();
        let before = world.text("vault");
        // What may have arrived is asked for again at once.
        (0..1 + usize::from(maybe_sent)).for_each(|_| world.fail(kind, maybe_sent, 0));
        let error = world.token().expect_err("no network");
        assert_eq!(error.action().as_str(), "retry", "{kind}: no login is asked for");
        assert!(error.retry_after_s <= Some(6), "{kind}: one failure is no reason for a long wait: {error}");
        assert_eq!(world.text("vault"), before, "{kind}");
        world.pass(6 * SECOND_MS);
        world.answer(200, &tokens());
        world.token().expect("the network is back");
    }
}

/// An answer without a code that somebody defined changes no byte.
#[test]
fn an_answer_without_a_known_code_changes_no_byte() {
    for status in [400, 401, 403, 404, 418] {
        for (kind, body) in [
            ("text/plain", ""),
            ("application/json", "{}"),
            ("application/json", r#"{"error":"quirky_thing"}"#),
            ("application/json", r#"{"message":"Bad Request"}"#),
            ("text/plain", "no"),
            ("text/html", "<html>invalid_grant</html>"),
        ] {
            let world = World::new();
            let before = world.text("vault");
            world.answer_text(status, &[("content-type", kind)], body);
            assert_eq!(world.token().expect_err("no token").action().as_str(), "retry", "{status} {body}");
            assert_eq!(world.text("vault"), before, "{status} {body}");
            world.pass(60 * SECOND_MS);
            world.answer(200, &tokens());
            world.token().expect("it was good all the time");
        }
    }
}

#[test]
fn every_failure_says_status_code_and_what_to_do_and_no_secret() {
    for (status, code, event) in [
        (400, "invalid_grant", "quarantined"),
        (401, "invalid_client", "held"),
        (400, "interaction_required", "held"),
        (429, "slow_down", "cooling"),
        (503, "temporarily_unavailable", "in-doubt"),
    ] {
        let world = World::new();
        world.answer(status, &json!({ "error": code, "error_description": "no such token: rt-1" }));
        let error = world.token().expect_err("no token");
        let told = world.0.events.borrow().last().expect("an event").clone();
        assert_eq!((told.name, told.severity, told.provider.as_str()), (event, Severity::Warning, "acme"), "{code}");
        for said in [("status", status.to_string()), ("code", code.to_owned())] {
            assert!(told.attributes.contains(&said), "{code}: {told:?}");
        }
        for message in [&error.message, &told.message] {
            assert!(message.contains(&format!("HTTP {status} {code}")), "{message}");
        }
        let help = match (error.action(), error.code) {
            (Action::Retry, _) => None,
            (_, Code::Parked) => Some("lazaretto reset acme"),
            // The profile describes no login, and says so.
            _ => Some("lazaretto providers acme"),
        };
        assert_eq!((error.run.as_deref(), error.retry_after_s.is_some()), (help, help.is_none()), "{error}");
        // Now and at the next call: the answer once, no brackets in brackets, and no command within the sentence.
        let again = world.token().expect_err("still none");
        for message in [&error.message, &again.message] {
            let said = [
                message.matches("HTTP").count(),
                message.matches(code).count(),
                message.matches("no such token").count(),
            ];
            assert!(said == [1, 1, 1] && !message.contains("))") && !message.contains("og in again"), "{message}");
        }
        let shown = format!("{error:?} {told:?} {:?} {}", world.status(), world.text("vault.lazaretto"));
        assert!(!shown.contains("rt-1") && shown.contains("no such token: .."), "{shown}");
    }
}

/// Status says what stops a credential since when and what ends it.
#[test]
fn status_says_what_stops_a_credential_and_since_when() {
    for (status, code, times, state, todo) in [
        (429, "slow_down", 1, "cooling-down", None),
        (401, "invalid_client", 1, "held", Some("lazaretto providers acme")),
        (418, "quirky_thing", 5, "parked", Some("lazaretto reset acme")),
        (400, "invalid_grant", 1, "quarantined", Some("lazaretto providers acme")),
    ] {
        let world = World::new();
        let mut at_ms = START_MS;
        for _ in 0..times {
            world.pass(DAY_MS);
            at_ms = world.0.now_ms.get();
            world.answer(status, &json!({ "error": code }));
            world.token().expect_err("no token");
        }
        world.pass(SECOND_MS);
        let shown = world.status();
        assert_eq!(shown.state, state, "{code}");
        let error = shown.last_error.expect("a reason");
        // Codes that nobody defined are not repeated: they could be anything.
        assert!(error.code == code || times > 1, "{error:?}");
        assert!(error.message.contains(&format!("HTTP {status}")), "{error:?}");
        assert_eq!(error.at_ms, Some(at_ms), "{code}: since when");
        assert_eq!(shown.todo.as_deref(), todo);
        assert_eq!((shown.todo.is_some(), shown.retry_at_ms.is_some()), (todo.is_some(), state == "cooling-down"));
        assert_eq!(world.requests(), times, "to ask is not to refresh");
    }
}

/// A dead refresh token leaves its access token served until that ends.
#[test]
fn an_access_token_outlives_its_dead_refresh_token() {
    let world = World::new();
    world.0.now_ms.set(START_MS - 3_660 * SECOND_MS);
    world.answer(400, &json!({ "error": "invalid_grant" }));
    for _ in 0..60 {
        let token = world.token().expect("it is still good");
        assert_eq!((token.token.expose(), token.origin.as_str()), ("at-old", "sealed"));
        assert!(token.warning.is_some() && token.needs_login, "and says so each time");
        assert_eq!(world.status().state, "quarantined");
        world.pass(SECOND_MS);
    }
    assert_eq!(world.token().expect_err("its hour is over").action().as_str(), "login");
    assert_eq!((world.requests(), world.warnings()), (1, vec!["quarantined"]));
}

/// Where a server is known to refuse good tokens a refusal is tried again and never a tombstone.
#[test]
fn a_server_that_refuses_good_tokens_causes_no_tombstone() {
    let flapping = "AADSTS70000: The provided value for the 'refresh_token' parameter is not valid";
    let world = World::new();
    let rule = json!({ "name": "acme-flaps", "verdict": "unknown", "code": ["invalid_grant"] });
    world.profile_with(&json!({ "client_id": "client-1", "rules": { "rules": [rule] } }));
    let before = world.text("vault");
    for _ in 0..2 {
        world.answer(400, &json!({ "error": "invalid_grant", "error_description": flapping }));
        assert_eq!(world.token().expect_err("refused").action().as_str(), "retry");
        world.pass(3_600 * SECOND_MS);
    }
    assert_eq!(world.text("vault"), before);
    world.answer(200, &tokens());
    world.token().expect("the same token works minutes later");
    assert_eq!(world.sent("refresh_token"), ["rt-1", "rt-1", "rt-1"]);
}

/// A record that cannot be understood stops its token and no other and is left as it is.
#[test]
fn an_unreadable_record_stops_only_its_own_token() {
    let world = World::new();
    world.answer(503, &json!({}));
    world.token().expect_err("in trouble");
    let broken = world.text("vault.lazaretto").replace("\"live\"", "\"alive\"");
    world.write("vault.lazaretto", &broken);
    let keeper = Keeper::new(world.clone());
    assert_eq!(world.token().expect_err("what is known of it cannot be read").code, Code::CorruptLedger);
    assert_eq!(now(keeper.reset("vault", "acme", None)).expect_err("nor ended").code, Code::CorruptLedger);
    let warnings = now(keeper.status("vault", None)).expect("served").warnings;
    assert!(warnings[0].contains("`state` should be one of"), "{warnings:?}");
    assert_eq!((world.requests(), world.text("vault.lazaretto")), (1, broken.clone()));
    // Another login does not need it, until what is old is looked for.
    world.log_in("rt-of-another-login");
    world.answer(200, &tokens());
    world.token().expect("refreshed");
    assert!(world.text("vault.lazaretto").contains("\"alive\"") && world.text("vault.lazaretto").contains("\"spent\""));
    world.pass(DAY_MS);
    assert_eq!(world.token().expect_err("every record is read now").code, Code::CorruptLedger);
    assert_eq!(world.requests(), 2);
}

/// Not every process refreshes at the same moment of the advisory window.
#[test]
fn processes_spread_their_refreshes_over_the_window() {
    let world = World::new();
    world.let_chance_decide();
    world.answer(200, &tokens());
    world.token().expect("refreshed");
    // The skew is 120 s; in its first fifth chance decides.
    world.pass((3_600 - 108) * SECOND_MS);
    let mut early = 0;
    for _ in 0..40 {
        world.answer(503, &json!({}));
        let before = world.requests();
        world.token().expect("it is still good");
        early += world.requests() - before;
        world.forget_answers();
        if world.requests() > before {
            world.reset();
        }
    }
    assert!((1..40).contains(&early), "{early} of 40 were early");
    world.pass(12 * SECOND_MS);
    world.answer(503, &json!({}));
    let before = world.requests();
    world.token().expect("it is still good");
    assert_eq!(world.requests(), before + 1, "96 s before the end everybody is due");
}

#[test]
fn a_clock_that_differs_from_the_servers_is_told_of() {
    let world = World::new();
    // START_MS is 10:00:00 on the server's calendar too.
    world.answer_with(200, &[("Date", "Mon, 20 Jul 2026 10:04:59 GMT")], &tokens());
    world.token().expect("refreshed");
    assert!(!world.warnings().contains(&"clock-differs"), "five minutes are no news");
    let world = World::new();
    world.answer_with(200, &[("Date", "Mon, 20 Jul 2026 11:00:00 GMT")], &tokens());
    world.token().expect("refreshed");
    assert!(world.warnings().contains(&"clock-differs"), "{:?}", world.warnings());
}

/// Who has no refresh token is told so and until when the access token is good.
#[test]
fn a_login_without_a_refresh_token_says_how_long_it_lasts() {
    let world = World::new();
    let login = |end: &str| json!({ "tokens": { "access_token": "at-1", "expires_at": end } });
    let put = |login: serde_json::Value| world.write("vault", &json!({ "providers": { "acme": login } }).to_string());
    let told = |error: KeeperError| (error.code, error.message.clone());
    put(login("2999-01-01T00:00:00Z"));
    assert_eq!(world.token().expect("good").token.expose(), "at-1");
    let (code, message) = told(world.refresh().expect_err("nothing to send"));
    assert_eq!(code, Code::LoginRequired);
    assert!(message.contains("no refresh token") && message.contains("ends in"), "{message}");
    let status = world.status();
    assert_eq!((status.state, status.usable.as_str(), status.renewal.as_str()), ("valid", "yes", "none"));
    assert!(status.note.is_some() && status.todo.is_none(), "nothing is wrong yet: {status:?}");
}
