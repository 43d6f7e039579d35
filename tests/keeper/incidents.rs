//! Rules from the reference's incidents that no other test shows: `docs/reference-parity.md` says which. The logic itself,
//! natively, under a virtual clock.

use crate::machine::{SECOND_MS, START_MS, World, login, now, tokens};
use lazaretto::error::Code;
use lazaretto::keeper::{Keeper, TokenRequest};
use lazaretto::provider::Catalog;
use lazaretto::status::CredentialStatus;
use lazaretto::time::{Zone, to_rfc3339};
use serde_json::{Value, json};

/// An entry of its own whose access token ended an hour ago.
fn entry(id: &str, priority: u32) -> Value {
    json!({ "id": id, "label": id, "auth_type": "oauth", "priority": priority, "source": "manual:device_code",
        "access_token": format!("at-{id}"), "refresh_token": format!("rt-{id}"), "expires_in": 3600,
        "last_refresh": "2026-07-20T08:00:00Z" })
}

/// The same with another hour to go.
fn good(id: &str, priority: u32) -> Value {
    let mut entry = entry(id, priority);
    entry["last_refresh"] = json!(to_rfc3339(START_MS, Zone::Letter));
    entry
}

fn with(entry: Value, more: &Value) -> Value {
    let mut entry = entry;
    entry.as_object_mut().expect("an entry").extend(more.as_object().expect("members").clone());
    entry
}

/// A world with these entries of acme, and no login.
fn pool_of(entries: &[Value]) -> World {
    let world = World::new();
    world.write("vault", &json!({ "version": 1, "credential_pool": { "acme": entries } }).to_string());
    world
}

fn row(world: &World, id: &str) -> Value {
    let rows = world.vault()["credential_pool"]["acme"].as_array().expect("a pool").clone();
    rows.into_iter().find(|row| row["id"] == id).unwrap_or_else(|| panic!("{id} is gone"))
}

fn status_of(world: &World, id: &str) -> CredentialStatus {
    let report = now(Keeper::new(world.clone()).status("vault", Some("acme"))).expect("a status");
    report.credentials.into_iter().find(|status| status.credential == id).unwrap_or_else(|| panic!("{id} is gone"))
}

fn successor(access: &str, refresh: &str) -> Value {
    json!({ "access_token": access, "refresh_token": refresh, "expires_in": 3600 })
}

/// #27911, #28119: a provider whose terminal refusals nobody thought of.
#[test]
fn every_known_providers_terminal_refusal_is_quarantined() {
    let catalog = Catalog::new(None).expect("the built-in profiles");
    let ids: Vec<String> = catalog.ids().into_iter().filter(|id| id != "generic").collect();
    assert!(ids.len() > 30, "{ids:?}");
    for id in ids.iter().map(String::as_str).chain(["a-provider-added-by-its-endpoint-alone"]) {
        let world = World::new();
        let profile = json!({ "token_endpoint": "https://acme.example/token", "client_id": "c", "aliases": ["acme"] });
        world.write("providers.json", &json!({ "profiles": { id: profile } }).to_string());
        let key = json!({ "id": "bbbbbb", "auth_type": "api_key", "access_token": "sk-b" });
        let rows = json!([entry("aaaaaa", 0), key]);
        world.write("vault", &json!({ "credential_pool": { id: rows } }).to_string());
        world.answer(400, &json!({ "error": "invalid_grant" }));
        for _ in 0..3 {
            assert!(world.token_instead_of("at-aaaaaa").is_ok_and(|token| token.token.expose() == "sk-b"), "{id}");
        }
        assert_eq!(world.requests(), 1, "{id}: sent once in its life");
        let pool = world.vault()["credential_pool"][id].clone();
        assert!(pool[0].get("refresh_token").is_none(), "{id}: {pool}");
        assert_eq!((&pool[0]["last_status"], &pool[1]), (&json!("dead"), &key), "{id}");
    }
}

/// #28171: a second way to refresh that did not know the rule.
#[test]
fn whichever_way_a_refusal_came_the_vault_is_the_same_after_it() {
    let after = |ask: &dyn Fn(&World)| {
        let world = World::new();
        let copy = with(
            entry("copy01", 0),
            &json!({ "source": "device_code", "access_token": "at-old", "refresh_token": "rt-1" }),
        );
        world.profile_with(&json!({ "client_id": "client-1", "seeded_sources": ["device_code"] }));
        world.write(
            "vault",
            &json!({ "providers": { "acme": login("rt-1") }, "credential_pool": { "acme": [copy, good("mine01", 1)] } })
                .to_string(),
        );
        world.answer(400, &json!({ "error": "invalid_grant" }));
        ask(&world);
        assert_eq!(world.requests(), 1);
        (world.text("vault"), world.text("vault.lazaretto"))
    };
    let token = after(&|world| assert_eq!(world.token().expect("mine01").credential, "mine01"));
    let instead = after(&|world| assert_eq!(world.token_instead_of("at-old").expect("mine01").credential, "mine01"));
    let then_reset = after(&|world| {
        world.token().expect("mine01");
        now(Keeper::new(world.clone()).reset("vault", "acme", None)).expect_err("a tombstone is no pause");
    });
    assert_eq!(token, instead);
    assert_eq!(token, then_reset);
    assert!(!token.0.contains("rt-1") && token.0.contains("mine01"));
}

/// #106705, #39236, #74796, W16: whatever happens to one account, no token crosses to another.
#[test]
fn three_accounts_of_one_provider_keep_their_own_tokens() {
    for (status, answer) in
        [(200, successor("at-new", "rt-new")), (400, json!({ "error": "invalid_grant" })), (429, json!({}))]
    {
        let world = pool_of(&[entry("aaaaaa", 0), good("bbbbbb", 1), good("cccccc", 2)]);
        let others = [row(&world, "bbbbbb"), row(&world, "cccccc")];
        world.answer(status, &answer);
        let token = world.token().expect("one of them serves");
        assert_eq!(token.credential, if status == 200 { "aaaaaa" } else { "bbbbbb" }, "{status}");
        assert_eq!(world.sent("refresh_token"), ["rt-aaaaaa"], "{status}: its own");
        assert_eq!([row(&world, "bbbbbb"), row(&world, "cccccc")], others, "{status}");
    }
}

/// #63413: all rows dead is no reason to wait.
#[test]
fn all_dead_asks_for_a_login_and_all_paused_names_the_time() {
    let dead = json!({ "last_status": "dead", "last_error_code": 401, "last_error_reason": "token_revoked" });
    let world = pool_of(&[with(good("aaaaaa", 0), &dead), with(good("bbbbbb", 1), &dead)]);
    let error = world.token().expect_err("nobody is left");
    assert_eq!((error.action().as_str(), error.retry_after_s), ("login", None), "{error}");
    // #40960: the cause and the time, not an empty key.
    let until_s = START_MS / 1_000 + 600;
    let rests = json!({ "last_status": "exhausted", "last_status_at": START_MS / 1_000, "last_error_code": 429,
        "last_error_reason": "rate_limited", "last_error_reset_at": until_s });
    let world = pool_of(&[with(good("aaaaaa", 0), &rests), with(good("bbbbbb", 1), &rests)]);
    let error = world.token().expect_err("both rest");
    assert_eq!((error.code, error.retry_after_s), (Code::CoolingDown, Some(600)), "{error}");
    assert_eq!(world.requests(), 0);
}

/// #18072, #45155, #78627: what is shown is what is done, and no two states look alike.
#[test]
fn status_and_use_agree_about_any_entry() {
    let (later_s, now_s) = (START_MS / 1_000 + 30, START_MS / 1_000);
    let rests = json!({ "last_status": "exhausted", "last_status_at": now_s, "last_error_code": 429, "last_error_reset_at": later_s });
    let over = json!({ "last_status": "exhausted", "last_status_at": now_s - 10, "last_error_code": 429, "last_error_reset_at": now_s - 1 });
    let none = json!({ "access_token": "", "refresh_token": null });
    let mut seen: Vec<&str> = Vec::new();
    for (entry, state, does) in [
        (good("aaaaaa", 0), "valid", "serves"),
        (entry("aaaaaa", 0), "expired", "refreshes"),
        (with(good("aaaaaa", 0), &json!({ "expires_in": null })), "unknown-expiry", "serves"),
        (with(good("aaaaaa", 0), &json!({ "auth_type": "api_key", "refresh_token": null })), "key", "serves"),
        (with(good("aaaaaa", 0), &json!({ "last_status": "dead" })), "dead", "login"),
        (with(good("aaaaaa", 0), &rests), "cooling-down", "retry"),
        (with(good("aaaaaa", 0), &over), "valid", "serves"),
        (with(good("aaaaaa", 0), &none), "no-token", "login"),
        (with(entry("aaaaaa", 0), &json!({ "refresh_token": "" })), "no-token", "login"),
        (with(good("aaaaaa", 0), &json!({ "last_status": "what?" })), "valid", "serves"),
    ] {
        let world = pool_of(&[entry]);
        let shown = status_of(&world, "aaaaaa");
        assert_eq!((shown.state, world.requests()), (state, 0));
        let before = world.text("vault");
        world.answer(200, &tokens());
        let done = match world.token() {
            Ok(_) if world.requests() == 1 => "refreshes",
            Ok(_) => "serves",
            Err(error) => error.action().as_str(),
        };
        assert_eq!(done, does, "{state}");
        assert_eq!(world.text("vault") == before, does != "refreshes", "{state}: to read is not to write");
        assert_eq!((shown.todo.is_some(), shown.retry_at_ms.is_some()), (does == "login", does == "retry"), "{state}");
        seen.push(shown.state);
    }
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 7, "{seen:?}");
}

/// #104634, #104635: one is named, and only that one is meant.
#[test]
fn a_reset_of_one_leaves_the_pause_of_the_other() {
    let world = pool_of(&[entry("aaaaaa", 0), entry("bbbbbb", 1)]);
    (0..2).for_each(|_| world.answer(429, &json!({})));
    world.token().expect_err("both are throttled");
    assert_eq!(world.requests(), 2);
    let before = world.text("vault");
    now(Keeper::new(world.clone()).reset("vault", "acme", Some("bbbbbb"))).expect("it was throttled");
    assert_eq!((status_of(&world, "aaaaaa").state, status_of(&world, "bbbbbb").state), ("cooling-down", "expired"));
    assert_eq!(world.text("vault"), before);
    // #79156: and what a later session stores of the other does not bring the pause back.
    world.answer(200, &tokens());
    assert_eq!(world.token().expect("refreshed").credential, "bbbbbb");
    assert_eq!((status_of(&world, "aaaaaa").state, status_of(&world, "bbbbbb").state), ("cooling-down", "valid"));
}

/// #101442: who does not get the lock has lost nothing.
#[test]
fn a_lease_held_by_another_changes_nothing_and_means_retry() {
    let world = pool_of(&[entry("aaaaaa", 0)]);
    let before = world.text("vault");
    world.0.is_busy.set(true);
    for _ in 0..5 {
        let error = world.token().expect_err("somebody else has it");
        assert_eq!(error.code, Code::Busy, "{error}");
    }
    assert_eq!((world.text("vault"), world.requests()), (before, 0));
    assert_eq!(status_of(&world, "aaaaaa").state, "expired", "and not at rest");
    world.0.is_busy.set(false);
    world.answer(200, &tokens());
    world.token().expect("at once");
}

/// #9331: a process that does not have a variable knows nothing of the others that have it.
#[test]
fn a_source_that_is_missing_here_deletes_no_entry() {
    let borrowed = json!({ "id": "eeeeee", "label": "ACME_API_KEY", "auth_type": "api_key", "priority": 0,
        "source": "env:ACME_API_KEY", "secret_fingerprint": "sha256:0123456789abcdef", "last_status": null });
    let world = pool_of(&[borrowed, good("bbbbbb", 1)]);
    let before = world.text("vault");
    for _ in 0..10 {
        assert_eq!(world.token().expect("the other one").credential, "bbbbbb");
        assert_eq!(status_of(&world, "eeeeee").state, "unusable");
    }
    assert_eq!(world.text("vault"), before);
}

/// #32790: out of quota is not logged out.
#[test]
fn a_429_hints_at_no_login_anywhere() {
    let world = World::new();
    world.answer(429, &json!({ "error": "rate_limited" }));
    let error = world.token().expect_err("throttled");
    let again = world.token().expect_err("still");
    let shown = format!("{error:?} {again:?} {:?} {:?}", world.0.events.borrow(), world.status()).to_lowercase();
    assert!(!shown.contains("log in") && !shown.contains("login_hint") && shown.contains("429"), "{shown}");
}

/// #26847: a plan that lacks something is not mended by logging in again.
#[test]
fn a_missing_plan_keeps_the_token_despite_a_terminal_status() {
    let world = World::new();
    let rules = json!({ "status_rule": { "terminal": [400, 401, 403] } });
    world.profile_with(&json!({ "client_id": "client-1", "rules": rules }));
    let before = world.text("vault");
    world.answer(403, &json!({ "error": "Your subscription plan does not include access to this product." }));
    let error = world.token().expect_err("no plan");
    assert_eq!(error.action().as_str(), "configure", "{error}");
    assert_eq!((world.text("vault"), world.status().state), (before, "held"));
    world.token().expect_err("and it is not asked again");
    assert_eq!(world.requests(), 1);
}

/// W11: a refused access token and an endpoint that is down are no end of a grant.
#[test]
fn a_refused_access_token_and_a_down_endpoint_end_no_grant() {
    let world = pool_of(&[good("aaaaaa", 0)]);
    let before = world.text("vault");
    for _ in 0..3 {
        world.fail("connect", false, 0);
        assert_eq!(world.token_instead_of("at-aaaaaa").expect_err("nobody is there").action().as_str(), "retry");
        world.pass(600 * SECOND_MS);
    }
    assert_eq!(world.text("vault"), before);
    world.answer(200, &tokens());
    assert_eq!(world.token_instead_of("at-aaaaaa").expect("it is back").token.expose(), "at-new");
}

/// W13: six expired entries are no reason for six requests.
#[test]
fn of_six_expired_credentials_only_the_chosen_is_refreshed() {
    let rows: Vec<Value> = (0..6).map(|n| entry(&format!("row{n:03}"), n)).collect();
    let world = pool_of(&rows);
    world.answer(200, &tokens());
    assert_eq!(world.token().expect("refreshed").credential, "row000");
    assert_eq!(world.sent("refresh_token"), ["rt-row000"]);
    // Nor does one that fails hold up a good one before it.
    let world = pool_of(&[good("aaaaaa", 0), entry("bbbbbb", 1), entry("cccccc", 2)]);
    assert_eq!((world.token().expect("stored").credential.as_str(), world.requests()), ("aaaaaa", 0));
}

/// W26: a marker of an end that a later login has mended.
#[test]
fn a_marker_older_than_its_tokens_is_ignored() {
    let world = World::new();
    let mut state = login("rt-1");
    state["last_refresh"] = json!(to_rfc3339(START_MS, Zone::Letter));
    state["last_auth_error"] = json!({ "provider": "acme", "code": "invalid_grant", "message": "over", "reason": "r",
        "relogin_required": true, "at": "2026-07-01T00:00:00+00:00" });
    world.write("vault", &json!({ "providers": { "acme": state } }).to_string());
    let status = world.status();
    assert!(status.state == "valid" && status.last_error.is_none() && status.todo.is_none(), "{status:?}");
    assert_eq!(world.token().expect("served").token.expose(), "at-old");
    world.answer(200, &tokens());
    world.token_instead_of("at-old").expect("refreshed");
    assert!(world.vault()["providers"]["acme"].get("last_auth_error").is_none(), "and a refresh takes it away");
}

/// W27: a new login beside its old copy, which was marked dead.
#[test]
fn a_new_login_counts_despite_marks_on_its_old_copy() {
    for mark in
        [json!({ "last_status": "dead" }), json!({ "last_status": "exhausted", "last_status_at": START_MS / 1_000 })]
    {
        let world = World::new();
        world.profile_with(&json!({ "client_id": "client-1", "seeded_sources": ["device_code"] }));
        let mut state = login("rt-new");
        state["tokens"]["access_token"] = json!("at-of-the-new-login");
        state["last_refresh"] = json!(to_rfc3339(START_MS, Zone::Letter));
        let copy = with(with(entry("copy01", 0), &json!({ "source": "device_code" })), &mark);
        world.write(
            "vault",
            &json!({ "providers": { "acme": state }, "credential_pool": { "acme": [copy] } }).to_string(),
        );
        assert_eq!(world.token().expect("the new login").token.expose(), "at-of-the-new-login", "{mark}");
        assert_eq!((world.status().state, world.requests()), ("valid", 0), "{mark}");
    }
}

/// W17: what nobody can do is not said to be done.
#[test]
fn what_cannot_be_refreshed_says_so() {
    let world = pool_of(&[with(good("aaaaaa", 0), &json!({ "auth_type": "api_key", "refresh_token": null }))]);
    let error = world.token_instead_of("at-aaaaaa").expect_err("a key that was refused has no successor");
    assert_ne!(error.action().as_str(), "retry", "{error}");
    // And a provider that nobody described has no endpoint.
    world.write("providers.json", "{}");
    world.write("vault", &json!({ "credential_pool": { "acme": [entry("aaaaaa", 0)] } }).to_string());
    let error = world.token().expect_err("where to?");
    assert_eq!(error.action().as_str(), "configure", "{error}");
    assert_eq!(world.requests(), 0);
}

/// W31: a token that is used up by being sent goes to one host.
#[test]
fn an_anthropic_token_goes_to_one_host_whatever_comes_back() {
    for failure in [None, Some(400), Some(500)] {
        let world = World::new();
        world.write("providers.json", &json!({ "profiles": { "anthropic": { "aliases": ["acme"] } } }).to_string());
        let row = with(entry("aaaaaa", 0), &json!({ "expires_at_ms": 1_600_000_000_000u64 }));
        world.write("vault", &json!({ "credential_pool": { "anthropic": [row] } }).to_string());
        for _ in 0..2 {
            match failure {
                Some(status) => world.answer(status, &json!({ "error": "server_error" })),
                None => world.fail("timeout", true, 0),
            }
        }
        world.token().expect_err("no token");
        let urls = world.0.urls.borrow();
        assert!(
            !urls.is_empty() && urls.iter().all(|url| url == "https://platform.claude.com/v1/oauth/token"),
            "{urls:?}"
        );
    }
}

/// W35: how long a request may take is a profile's to say; on a vault that the reference waits for, ten seconds at most.
#[test]
fn a_request_has_as_long_as_its_profile_says() {
    for (stated, shared, wanted) in [
        (None, false, 20_000),
        (Some(7_000), false, 7_000),
        (Some(30_000), false, 30_000),
        (Some(30_000), true, 10_000),
    ] {
        let world = World::new();
        world.profile_with(&json!({ "client_id": "client-1" }));
        if let Some(stated) = stated {
            world.profile_with(&json!({ "client_id": "client-1", "deadline_ms": stated }));
        }
        world.write("settings.json", &json!({ "shared_with_reference": shared }).to_string());
        world.answer(200, &tokens());
        world.token().expect("refreshed");
        assert_eq!(*world.0.deadlines.borrow(), [wanted], "{stated:?}");
    }
}

/// 2.3: an hour ahead made tokens of a quarter of an hour rotate at each call.
#[test]
fn a_token_of_a_minute_is_not_refreshed_at_each_call() {
    let world = World::new();
    world.answer(200, &json!({ "access_token": "at-2", "refresh_token": "rt-2", "expires_in": 60 }));
    for _ in 0..30 {
        assert_eq!(world.token().expect("served").token.expose(), "at-2");
        world.pass(SECOND_MS);
    }
    assert_eq!(world.requests(), 1, "for the first half of its life");
    world.pass(10 * SECOND_MS);
    world.answer(200, &tokens());
    assert_eq!(world.token().expect("refreshed ahead").token.expose(), "at-new");
}

/// W14, W15: a profile of the reference and the root behind it, after the root's login died and a new one came.
#[test]
fn a_roots_login_is_neither_sent_nor_hidden_by_a_profile() {
    let root = "/home/you/.hermes/auth.json";
    let at = |vault: &str| TokenRequest {
        vault: vault.into(),
        provider: "acme".into(),
        credential: None,
        min_valid_s: 0,
        refused_access_token: None,
        session: None,
    };
    // The host's list says who owns what is in a profile; for the root it names nobody.
    let ask_root = |world: &World| {
        world.write("also.json", "{}");
        let token = now(Keeper::new(world.clone()).token(&at("also/0")));
        world.write("also.json", &json!({ "also/0": { "called": root, "owns": [] } }).to_string());
        token
    };
    let world = World::new();
    world.write("also/0", &json!({ "providers": { "acme": login("rt-1") } }).to_string());
    world.answer(400, &json!({ "error": "invalid_grant" }));
    assert_eq!(ask_root(&world).expect_err("refused").code, Code::Quarantined);
    for of_root in [None, Some(login("rt-of-a-new-login"))] {
        if let Some(of_root) = of_root {
            world.write("also/0", &json!({ "providers": { "acme": of_root } }).to_string());
        }
        let error = world.token().expect_err("it is the root's");
        assert!(error.code == Code::OwnedElsewhere && error.message.contains(root), "{error}");
    }
    assert_eq!(world.sent("refresh_token"), ["rt-1"], "by the root, once");
    // A profile without a login of its own says so: which file is meant is never guessed.
    for own in
        [json!({}), json!({ "acme": { "last_auth_error": { "code": "invalid_grant", "relogin_required": true } } })]
    {
        world.write("vault", &json!({ "version": 1, "providers": own }).to_string());
        assert_eq!(world.token().expect_err("nothing here").action().as_str(), "login");
    }
    world.answer(200, &tokens());
    assert_eq!(ask_root(&world).expect("the root's").token.expose(), "at-new");
}

/// W22, W33: who picked what is known to the next process, and a use that nobody ended is over after a time.
#[test]
fn the_least_used_is_shared_and_a_use_ends_by_itself() {
    let key =
        |id: &str, priority: u32| with(good(id, priority), &json!({ "auth_type": "api_key", "refresh_token": null }));
    let world = pool_of(&[key("aaaaaa", 0), key("bbbbbb", 1)]);
    let before = world.text("vault");
    world.write("settings.json", &json!({ "pool": { "strategy": "least_used" } }).to_string());
    let pick = || world.token().expect("a key").credential;
    assert_eq!([pick(), pick(), pick(), pick()], ["aaaaaa", "bbbbbb", "aaaaaa", "bbbbbb"]);
    world.write("settings.json", &json!({ "pool": { "max_in_use": 1, "in_use_s": 600 } }).to_string());
    assert_eq!([pick(), pick()], ["aaaaaa", "bbbbbb"], "one use each");
    world.pass(599 * SECOND_MS);
    assert_eq!([pick(), pick()], ["aaaaaa", "bbbbbb"], "all are in use: each once more");
    world.pass(601 * SECOND_MS);
    assert_eq!([pick(), pick()], ["aaaaaa", "bbbbbb"]);
    world.pass(601 * SECOND_MS);
    assert_eq!(pick(), "aaaaaa", "nobody has it any more");
    assert_eq!(world.text("vault"), before, "and nothing of it is in the vault");
}
