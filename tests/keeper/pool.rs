//! Several credentials of one provider: which is picked, what an API's answer leads to, and that nobody else is touched by it.
//! The logic itself, natively, under a virtual clock.

use crate::machine::{DAY_MS, SECOND_MS, START_MS, World, now, tokens};
use lazaretto::error::Code;
use lazaretto::keeper::{AccessToken, Keeper, TokenRequest};
use lazaretto::pool::{Advice, ApiCall, WhatToDo};
use lazaretto::secret::Secret;
use serde_json::{Value, json};

/// An OAuth entry whose access token is good for an hour.
fn oauth(id: &str, priority: u64) -> Value {
    json!({ "id": id, "label": id, "auth_type": "oauth", "priority": priority, "source": "manual:device_code",
        "access_token": format!("at-{id}"), "refresh_token": format!("rt-{id}"), "expires_in": 3600,
        "last_refresh": lazaretto::time::to_rfc3339(START_MS, lazaretto::time::Zone::Letter), "x_own": [1, 2.50] })
}

fn key(id: &str, priority: u64) -> Value {
    json!({ "id": id, "auth_type": "api_key", "priority": priority, "source": "manual", "access_token": format!("key-{id}") })
}

fn with_rows(rows: &[Value]) -> World {
    let world = World::new();
    world.write("vault", &json!({ "credential_pool": { "acme": rows } }).to_string());
    world
}

fn call(access_token: &str, status: u16, headers: &[(&str, &str)], body: &str) -> ApiCall {
    ApiCall {
        vault: "vault".into(),
        provider: "acme".into(),
        credential: None,
        session: None,
        access_token: Secret::from(access_token),
        status: (status != 0).then_some(status),
        headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        body: Secret::from(body),
    }
}

/// A process of its own reports.
fn report(world: &World, access_token: &str, status: u16, headers: &[(&str, &str)], body: &str) -> Advice {
    now(Keeper::new(world.clone()).report(&call(access_token, status, headers, body))).expect("advice")
}

fn used(advice: &Advice) -> (WhatToDo, &str) {
    (advice.what, advice.token.as_ref().map_or("", |token| token.token.expose()))
}

fn pick(world: &World) -> AccessToken {
    world.token().expect("a token")
}

fn row(world: &World, at: usize) -> Value {
    world.vault()["credential_pool"]["acme"][at].clone()
}

/// What the pool document remembers of acme.
fn remembered(world: &World) -> Value {
    serde_json::from_str::<Value>(&world.text("vault.lazaretto-pool")).expect("json")["pools"]["acme"].clone()
}

#[test]
fn a_401_is_one_refresh_and_then_the_next_credential() {
    let world = with_rows(&[oauth("a", 0), oauth("b", 1)]);
    world.answer(200, &tokens());
    let advice = report(&world, "at-a", 401, &[], r#"{"error":{"code":"token_expired"}}"#);
    assert_eq!(used(&advice), (WhatToDo::Use, "at-new"));
    assert_eq!(world.sent("refresh_token"), ["rt-a"]);
    // Where the token endpoint has a fault, the other one serves, and neither is dead.
    let world = with_rows(&[oauth("a", 0), oauth("b", 1)]);
    world.answer(503, &json!({}));
    world.answer(503, &json!({}));
    assert_eq!(used(&report(&world, "at-a", 401, &[], "")), (WhatToDo::Use, "at-b"));
    assert_eq!(row(&world, 0)["last_status"], "exhausted");
    assert_eq!(row(&world, 0)["refresh_token"], "rt-a");
    assert_eq!(pick(&world).credential, "b");
    world.pass(300 * SECOND_MS);
    world.answer(200, &tokens());
    assert_eq!(pick(&world).credential, "a");
    // A key cannot be refreshed.
    let world = with_rows(&[key("a", 0), key("b", 1)]);
    assert_eq!(used(&report(&world, "key-a", 401, &[], "")), (WhatToDo::Use, "key-b"));
    assert_eq!((world.requests(), row(&world, 0)["last_error_code"].as_u64()), (0, Some(401)));
}

#[test]
fn a_401_straight_after_a_refresh_asks_for_a_login_and_stops() {
    let world = World::new();
    world.write("vault", &json!({ "providers": { "acme": crate::machine::login("rt-1") } }).to_string());
    let mut token = "at-old".to_owned();
    for round in 2..=10 {
        world.answer(200, &json!({ "access_token": format!("at-{round}"), "refresh_token": format!("rt-{round}"), "expires_in": 3600 }));
        let advice = report(&world, &token, 401, &[], "");
        match advice.token {
            Some(newer) => newer.token.expose().clone_into(&mut token),
            None => {
                assert_eq!(advice.what, WhatToDo::GiveUp);
                assert_eq!(advice.run.as_deref(), Some("lazaretto providers acme"));
                break;
            }
        }
    }
    assert_eq!(world.requests(), 1);
    let error = world.token().expect_err("refused");
    assert_eq!(error.code, Code::AccessRefused);
    assert_eq!(world.status().state, "refused");
    assert_eq!(world.tokens()["refresh_token"], "rt-2", "nothing is taken out");
    assert_eq!(world.warnings(), ["access-refused"]);
    // A new login is another token.
    world.log_in("rt-other");
    world.answer(200, &json!({ "access_token": "at-theirs", "refresh_token": "rt-theirs", "expires_in": 3600 }));
    world.forget_answers();
    world.answer(200, &json!({ "access_token": "at-theirs", "refresh_token": "rt-theirs", "expires_in": 3600 }));
    assert_eq!(pick(&world).token.expose(), "at-theirs");
}

#[test]
fn a_429_rests_until_the_time_that_is_named_else_by_the_ladder() {
    let world = with_rows(&[key("a", 0), key("b", 1)]);
    let advice = report(&world, "key-a", 429, &[("retry-after", "120")], r#"{"error":{"code":"rate_limit_exceeded"}}"#);
    assert_eq!(used(&advice), (WhatToDo::Use, "key-b"));
    let rests = row(&world, 0);
    assert_eq!((rests["last_status"].as_str(), rests["last_error_code"].as_u64()), (Some("exhausted"), Some(429)));
    assert_eq!(rests["last_error_reset_at"].as_f64(), Some((START_MS / 1_000 + 120) as f64));
    assert_eq!(rests["last_error_reason"], "rate_limit_exceeded");
    world.pass(119 * SECOND_MS);
    assert_eq!(pick(&world).credential, "b");
    world.pass(SECOND_MS);
    assert_eq!(pick(&world).credential, "a");
    // Without a named time: 1, 5, 25 and 60 minutes, once a call has gone through.
    report(&world, "key-a", 200, &[], "");
    for minutes in [1, 5, 25, 60, 60] {
        report(&world, "key-a", 429, &[], "");
        world.pass((minutes * 60 - 1) * SECOND_MS);
        assert_eq!(pick(&world).credential, "b", "{minutes} minutes");
        world.pass(SECOND_MS);
        assert_eq!(pick(&world).credential, "a", "{minutes} minutes");
    }
    // What went through ends the row.
    assert_eq!(report(&world, "key-a", 200, &[], "").what, WhatToDo::GoOn);
    assert_eq!(row(&world, 0)["last_status"], "ok");
    report(&world, "key-a", 429, &[], "");
    world.pass(60 * SECOND_MS);
    assert_eq!(pick(&world).credential, "a");
}

#[test]
fn billing_rests_long_and_is_not_shortened() {
    let world = with_rows(&[key("a", 0), key("b", 1)]);
    report(&world, "key-a", 402, &[], "");
    report(&world, "key-a", 429, &[("retry-after", "1")], "");
    report(&world, "key-a", 503, &[], "");
    world.pass(5 * 3_600 * SECOND_MS - SECOND_MS);
    assert_eq!(pick(&world).credential, "b");
    world.pass(SECOND_MS);
    assert_eq!(pick(&world).credential, "a");
    // A short time that comes with words about money is not believed.
    report(&world, "key-a", 429, &[("retry-after", "1")], r#"{"error":{"code":"insufficient_quota"}}"#);
    world.pass(3_600 * SECOND_MS);
    assert_eq!(pick(&world).credential, "b");
}

#[test]
fn a_403_is_judged_by_its_evidence() {
    let stale = r#"{"error":"[WKE=unauthenticated:x] OAuth2 access token could not be validated"}"#;
    let plan = r#"{"error":{"message":"Your subscription does not include this model"}}"#;
    for (body, headers, refreshes, wanted) in [
        (stale, &[][..], 1, (WhatToDo::Use, "at-new")),
        (plan, &[], 0, (WhatToDo::Use, "at-b")),
        ("{}", &[], 0, (WhatToDo::GiveUp, "")),
        ("<html>Just a moment</html>", &[("content-type", "text/html")], 0, (WhatToDo::GiveUp, "")),
    ] {
        let world = with_rows(&[oauth("a", 0), oauth("b", 1)]);
        let before = world.text("vault");
        world.answer(200, &tokens());
        assert_eq!(used(&report(&world, "at-a", 403, headers, body)), wanted, "{body}");
        assert_eq!(world.requests(), refreshes, "{body}");
        assert_eq!(world.text("vault") == before, wanted.0 == WhatToDo::GiveUp, "{body}");
    }
}

#[test]
fn one_fault_rests_nothing_and_three_rest_shortly() {
    let world = with_rows(&[oauth("a", 0), oauth("b", 1)]);
    let before = world.text("vault");
    for (status, wait_s) in [(0, 1), (502, 2)] {
        let advice = report(&world, "at-a", status, &[], "");
        assert_eq!((advice.what, advice.retry_after_s), (WhatToDo::Wait, Some(wait_s)));
        assert_eq!(pick(&world).credential, "a");
    }
    assert_eq!(used(&report(&world, "at-a", 500, &[], "")), (WhatToDo::Use, "at-b"));
    assert_eq!(world.text("vault"), before, "a fault of the API is nobody's");
    world.pass(30 * SECOND_MS);
    assert_eq!(pick(&world).credential, "a");
    // What goes through in between ends the row.
    report(&world, "at-a", 200, &[], "");
    report(&world, "at-a", 0, &[], "");
    assert_eq!(pick(&world).credential, "a");
}

#[test]
fn the_only_credential_rests_a_minute_at_most() {
    let world = with_rows(&[key("a", 0)]);
    for _ in 0..4 {
        let advice = report(&world, "key-a", 429, &[], "");
        assert_eq!((advice.what, advice.retry_after_s), (WhatToDo::Wait, Some(60)));
        assert!(!advice.message.contains("og in"), "{}", advice.message);
        world.pass(60 * SECOND_MS);
        assert_eq!(pick(&world).credential, "a");
    }
    // Nor is it locked out for days: it is tried again.
    report(&world, "key-a", 429, &[("retry-after", "500000")], "");
    world.pass(15 * 60 * SECOND_MS);
    assert_eq!(pick(&world).credential, "a");
    // And what another program wrote is bounded in the same way.
    let mut far = key("a", 0);
    far["last_status"] = json!("exhausted");
    far["last_status_at"] = json!(START_MS / 1_000);
    far["last_error_code"] = json!(429);
    far["last_error_reset_at"] = json!(START_MS / 1_000 + 86_400 * 3);
    let world = with_rows(&[far]);
    assert_eq!(world.token().expect_err("rests").retry_after_s, Some(900));
}

#[test]
fn an_unknown_reset_far_ahead_is_bounded() {
    let mut far = key("a", 0);
    far["last_status"] = json!("exhausted");
    far["last_status_at"] = json!(START_MS / 1_000);
    far["last_error_reset_at"] = json!(START_MS / 1_000 + 86_400 * 30);
    let world = with_rows(&[far, key("b", 1)]);
    assert_eq!(pick(&world).credential, "a", "nobody knows what is in thirty days");
    report(&world, "key-a", 429, &[("retry-after", "99999999")], "");
    world.pass(7 * DAY_MS);
    assert_eq!(pick(&world).credential, "a");
}

#[test]
fn an_outcome_for_a_token_that_nobody_holds_marks_nobody() {
    let world = with_rows(&[oauth("a", 0), oauth("b", 1)]);
    let before = world.text("vault");
    for status in [401, 402, 429, 403, 500] {
        let mut stale = call("at-from-before", status, &[], "");
        stale.credential = Some("a".into());
        let advice = now(Keeper::new(world.clone()).report(&stale)).expect("advice");
        assert!(advice.what != WhatToDo::Use || advice.token.is_some(), "{status}");
    }
    assert_eq!((world.text("vault"), world.requests()), (before, 0));
    // A name that does not agree with the token: the token is right.
    let mut wrong = call("at-b", 402, &[], "");
    wrong.credential = Some("a".into());
    now(Keeper::new(world.clone()).report(&wrong)).expect("advice");
    assert_eq!((&row(&world, 0)["last_status"], &row(&world, 1)["last_status"]), (&Value::Null, &json!("exhausted")));
}

#[test]
fn many_calls_that_fail_together_are_one_failure() {
    let world = with_rows(&[key("a", 0), key("b", 1)]);
    for _ in 0..20 {
        report(&world, "key-a", 429, &[], "");
    }
    world.pass(60 * SECOND_MS);
    assert_eq!(pick(&world).credential, "a");
    // Twenty refused calls are one refresh, too.
    let world = with_rows(&[oauth("a", 0)]);
    world.answer(200, &tokens());
    for _ in 0..20 {
        assert_eq!(used(&report(&world, "at-a", 401, &[], "")), (WhatToDo::Use, "at-new"));
    }
    assert_eq!(world.requests(), 1);
}

#[test]
fn no_other_entry_is_touched_by_a_report() {
    let rows = [oauth("a", 0), oauth("b", 1), key("c", 2)];
    let world = with_rows(&rows);
    let before = world.text("vault");
    report(&world, "at-b", 429, &[], "");
    let after = world.text("vault");
    let (start, end) = (before.find(r#"{"id":"b""#).expect("b"), before.find(r#"{"id":"c""#).expect("c"));
    assert_eq!(before[..start], after[..start]);
    assert!(after.ends_with(&before[end..]));
    assert_eq!(row(&world, 1)["x_own"], rows[1]["x_own"]);
}

#[test]
fn a_reset_clears_a_rest_and_it_stays_cleared() {
    let world = with_rows(&[key("a", 0), key("b", 1)]);
    report(&world, "key-a", 402, &[], "");
    assert_eq!(world.status().state, "cooling-down");
    let reset = |name: &str| now(Keeper::new(world.clone()).reset("vault", "acme", Some(name)));
    assert_eq!(reset("b").expect_err("nothing rests").code, Code::NothingToDo);
    assert_eq!(reset("a").expect("cleared").state, "key");
    assert_eq!((pick(&world).credential.as_str(), row(&world, 0)["last_status"].as_str()), ("a", Some("ok")));
    assert_eq!(remembered(&world)["credentials"]["a"], json!({ "uses": 0 }));
    // A call from before the reset is one failure, the first.
    report(&world, "key-a", 429, &[], "");
    world.pass(60 * SECOND_MS);
    assert_eq!(pick(&world).credential, "a");
}

#[test]
fn a_new_login_ends_a_rest() {
    // A login without a copy rests in the pool document.
    let world = World::new();
    world.0.now_ms.set(START_MS - 7_000 * SECOND_MS);
    report(&world, "at-old", 429, &[], "");
    let error = world.token().expect_err("rests");
    assert_eq!((error.code, error.retry_after_s), (Code::CoolingDown, Some(60)));
    assert_eq!(world.status().state, "cooling-down");
    let login = crate::machine::login("rt-new").to_string().replace("at-old", "at-newer");
    world.write("vault", &format!(r#"{{"providers":{{"acme":{login}}}}}"#));
    assert_eq!(pick(&world).token.expose(), "at-newer");
    // A copy whose rest is about an older token than its login's.
    let world = with_rows(&[]);
    let mut copy = oauth("c", 0);
    copy["source"] = json!("device_code");
    copy["last_status"] = json!("exhausted");
    copy["last_error_reset_at"] = json!(START_MS / 1_000 + 3_600);
    copy["last_refresh"] = json!("2026-07-20T07:00:00Z");
    world.profile_with(&json!({ "client_id": "c", "seeded_sources": ["device_code"] }));
    let mut login = crate::machine::login("rt-login");
    login["last_refresh"] = json!(lazaretto::time::to_rfc3339(START_MS, lazaretto::time::Zone::Letter));
    world.write("vault", &json!({ "providers": { "acme": login }, "credential_pool": { "acme": [copy] } }).to_string());
    assert_eq!(pick(&world).token.expose(), "at-old");
}

#[test]
fn a_clock_set_back_an_hour_kills_nothing() {
    let world = with_rows(&[oauth("a", 0), key("b", 1)]);
    report(&world, "at-a", 429, &[("retry-after", "60")], "");
    report(&world, "key-b", 429, &[("retry-after", "60")], "");
    assert_eq!(world.token().expect_err("both rest").code, Code::CoolingDown);
    world.0.now_ms.set(START_MS - 3_600 * SECOND_MS);
    let before = world.text("vault");
    assert_eq!(pick(&world).credential, "a");
    assert_eq!((world.text("vault"), world.requests()), (before, 0));
    assert!(now(Keeper::new(world.clone()).status("vault", None)).expect("a status").credentials.len() == 2);
    world.0.now_ms.set(START_MS + 30 * SECOND_MS);
    assert_eq!(world.token().expect_err("the rests are as they were").retry_after_s, Some(30));
}

#[test]
fn a_refresh_does_not_end_a_quota_rest() {
    for (status, ends) in [(429, false), (401, true)] {
        let world = with_rows(&[oauth("a", 0), oauth("b", 1)]);
        let mut rests = oauth("a", 0);
        rests["last_status"] = json!("exhausted");
        rests["last_status_at"] = json!(START_MS / 1_000);
        rests["last_error_code"] = json!(status);
        rests["last_error_reset_at"] = json!(START_MS / 1_000 + 600);
        world.write("vault", &json!({ "credential_pool": { "acme": [rests, oauth("b", 1)] } }).to_string());
        world.answer(200, &tokens());
        let named = TokenRequest {
            vault: "vault".into(),
            provider: "acme".into(),
            credential: Some("a".into()),
            min_valid_s: 0,
            refused_access_token: None,
            session: None,
        };
        let refreshed = now(Keeper::new(world.clone()).refresh(&named)).expect("refreshed although it rests");
        assert_eq!(refreshed.token.expose(), "at-new");
        assert_eq!(pick(&world).credential, if ends { "a" } else { "b" }, "{status}");
        // Who names it means it.
        assert_eq!(now(Keeper::new(world.clone()).token(&named)).expect("named").picked.as_str(), "named");
    }
}

#[test]
fn keys_from_the_environment_are_served_and_not_written() {
    let row =
        json!({ "id": "e", "auth_type": "api_key", "source": "env:ACME_API_KEY", "secret_fingerprint": "sha256:0" });
    let world = with_rows(&[row]);
    world.profile_with(&json!({ "environment": ["ACME_API_KEY"] }));
    assert_eq!((world.token().expect_err("no key").action().as_str(), world.status().state), ("login", "unusable"));
    world.write("env/acme_api_key", "key-from-outside");
    let before = world.text("vault");
    let token = pick(&world);
    assert_eq!(
        (token.token.expose(), token.origin.as_str(), token.credential.as_str()),
        ("key-from-outside", "api-key", "e")
    );
    assert_eq!((world.text("vault"), world.status().state), (before, "key"));
    report(&world, "key-from-outside", 429, &[("retry-after", "30")], "");
    assert!(!world.text("vault").contains("outside") && !world.text("vault.lazaretto-pool").contains("outside"));
    assert_eq!(world.token().expect_err("rests").retry_after_s, Some(30));
}

/// F6: a vault that names another variable than its provider's would have that sent to the provider.
#[test]
fn a_vault_can_have_no_variable_read_but_its_providers() {
    let pick = |provider: &str, profile: &Value, variable: &str| {
        let world = World::new();
        world.write("providers.json", &json!({ "profiles": { provider: profile } }).to_string());
        let row = json!({ "id": "e", "auth_type": "api_key", "source": format!("env:{variable}"), "access_token": "" });
        world.write("vault", &json!({ "credential_pool": { provider: [row] } }).to_string());
        world.write(&format!("env/{}", variable.to_lowercase()), "key-from-outside");
        let request = TokenRequest {
            vault: "vault".into(),
            provider: provider.into(),
            credential: None,
            min_valid_s: 0,
            refused_access_token: None,
            session: None,
        };
        let status = now(Keeper::new(world.clone()).status("vault", None)).expect("a status").credentials[0].state;
        let served = now(Keeper::new(world.clone()).token(&request)).is_ok();
        assert_eq!(served, status == "key", "{provider} {variable}: {status}");
        served
    };
    let (acme, nothing) = (json!({ "token_endpoint": "https://acme.example/token" }), json!({}));
    for variable in ["AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "SSH_PRIVATE_KEY", "ACME_API_KEY", "OPENROUTER_API_KEY"] {
        assert!(!pick("acme", &acme, variable), "{variable}");
    }
    assert!(pick("acme", &json!({ "environment": ["ACME_API_KEY"] }), "ACME_API_KEY"));
    assert!(!pick("acme", &json!({ "environment": ["ACME_API_KEY"] }), "acme_api_key"), "by its own name");
    // The reference's table is built in, and a person's own profile takes its place.
    assert!(pick("openrouter", &nothing, "OPENROUTER_API_KEY"));
    assert!(!pick("openrouter", &nothing, "ANTHROPIC_API_KEY"));
    assert!(pick("anthropic", &nothing, "CLAUDE_CODE_OAUTH_TOKEN"));
    assert!(!pick("anthropic", &nothing, "OPENAI_API_KEY"));
    assert!(!pick("anthropic", &json!({ "environment": [] }), "ANTHROPIC_API_KEY"));
}

#[test]
fn turns_go_on_in_the_next_process_and_uses_are_given_back() {
    let world = with_rows(&[key("a", 0), key("b", 1), key("c", 2)]);
    world.write("settings.json", r#"{"pools":{"acme":{"strategy":"round_robin"}}}"#);
    let picked: Vec<String> = (0..4).map(|_| pick(&world).credential).collect();
    assert_eq!(picked, ["a", "b", "c", "a"]);
    world.write("settings.json", r#"{"pool":{"max_in_use":1}}"#);
    let picked: Vec<String> = (0..3).map(|_| pick(&world).credential).collect();
    assert_eq!(picked, ["a", "b", "c"]);
    let end = |id: &str| now(Keeper::new(world.clone()).end_use("vault", "acme", id));
    end("b").expect("given back");
    assert_eq!(pick(&world).credential, "b");
    assert_eq!(end("nobody").expect_err("unknown").code, Code::NothingToDo);
}

#[test]
fn a_pool_document_that_cannot_be_read_stops_nothing_and_stays() {
    let world = with_rows(&[key("a", 0), key("b", 1)]);
    world.write("settings.json", r#"{"pool":{"strategy":"round_robin"}}"#);
    for text in ["{", r#"{"schema":99}"#, r#"{"schema":1,"pools":{"acme":7}}"#] {
        world.write("vault.lazaretto-pool", text);
        assert_eq!(pick(&world).credential, "a");
        report(&world, "key-a", 500, &[], "");
        assert_eq!(world.text("vault.lazaretto-pool"), text);
    }
}

#[test]
fn what_ends_by_itself_is_told_before_what_needs_a_login() {
    let mut dead = oauth("a", 0);
    dead["last_status"] = json!("dead");
    let world = with_rows(&[dead.clone(), key("b", 1)]);
    report(&world, "key-b", 402, &[], "");
    let error = world.token().expect_err("nothing serves");
    assert_eq!((error.code, error.credential.as_deref()), (Code::CoolingDown, Some("b")));
    let world = with_rows(&[dead]);
    assert_eq!(world.token().expect_err("all are dead").action().as_str(), "login");
}
