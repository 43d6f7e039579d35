//! What servers do with a refresh token that was used: each kind is kept alive, and one request serves all who wait.

use std::sync::Arc;
use std::thread;

use crate::common::{Home, client_id, entry, login, seeded};
use lazaretto_host::TokenRequest;
use lazaretto_host::storage::VAULT;
use lazaretto_testing::demo_server::{Behaviour, Fault, Rotation};
use serde_json::json;

fn home_with(rotate: Rotation) -> Home {
    let home = Home::with(Behaviour { rotate, ..Behaviour::default() });
    let own = home.log_in("xai-oauth");
    home.write_json(&json!({
        "providers": { "xai-oauth": login("xai-oauth", &own) },
        "credential_pool": { "xai-oauth": [seeded("aaaaaa", "device_code", &own)] }
    }));
    home
}

fn stored_token(home: &Home) -> String {
    home.json()["providers"]["xai-oauth"]["tokens"]["refresh_token"].as_str().expect("a token").to_owned()
}

#[test]
fn ten_refreshes_in_a_row_work_with_a_server_that_rotates() {
    let home = home_with(Rotation::RevokeFamilyOnReuse);
    for round in 1..=10 {
        let before = stored_token(&home);
        let token = home.refresh("xai-oauth").expect("refreshed");
        assert_eq!(token.origin, "refreshed");
        assert_ne!(stored_token(&home), before);
        let vault = home.json();
        assert_eq!(vault["providers"]["xai-oauth"]["tokens"]["access_token"], token.token.as_str());
        let row = &vault["credential_pool"]["xai-oauth"][0];
        assert_eq!((&row["access_token"], &row["refresh_token"]), (&json!(token.token), &json!(stored_token(&home))));
        assert_eq!((home.server.requests(), home.server.replays()), (round, 0));
        assert!(home.server.is_live(&stored_token(&home)));
    }
}

/// Ten refreshes in a row work where the token stays and nothing is called spent.
#[test]
fn ten_refreshes_work_where_the_token_stays_the_same() {
    for rotate in [Rotation::SameToken, Rotation::OmitToken] {
        let home = home_with(rotate);
        let first = stored_token(&home);
        for _ in 0..10 {
            home.refresh("xai-oauth").expect("refreshed");
            assert_eq!(stored_token(&home), first);
        }
        assert_eq!(home.server.requests(), 10);
        let ledger: serde_json::Value = serde_json::from_str(&home.ledger()).expect("a ledger");
        let records: Vec<_> = ledger["tokens"].as_object().expect("tokens").values().collect();
        assert_eq!(records.len(), 1);
        assert_eq!((&records[0]["state"], &records[0]["generation"]), (&json!("live"), &json!(10)));
        assert!(records[0].get("intent").is_none());
    }
}

/// A hundred callers who wait for an expired token cause one request.
#[test]
fn a_hundred_callers_of_an_expired_token_cause_one_request() {
    for rotate in [Rotation::RevokeFamilyOnReuse, Rotation::SameToken, Rotation::OmitToken] {
        let home = home_with(rotate);
        let mut vault = home.json();
        vault["providers"]["xai-oauth"]["tokens"]["access_token"] = json!("opaque-and-expired");
        vault["providers"]["xai-oauth"]["last_refresh"] = json!("2020-01-01T00:00:00Z");
        vault["credential_pool"]["xai-oauth"] = json!([]);
        home.write_json(&vault);
        let keeper = Arc::new(home.session());
        let callers: Vec<_> = (0..100)
            .map(|_| {
                let keeper = keeper.clone();
                thread::spawn(move || keeper.token(&TokenRequest::new(VAULT, "xai-oauth")).expect("a token").token)
            })
            .collect();
        let mut tokens: Vec<String> = callers.into_iter().map(|caller| caller.join().expect("no panic")).collect();
        tokens.dedup();
        assert_eq!(tokens.len(), 1, "all have the same token");
        assert_eq!(home.server.requests(), 1);
    }
}

/// Callers who were refused the same access token cause one request.
#[test]
fn callers_refused_the_same_token_cause_one_request() {
    let home = home_with(Rotation::RevokeFamilyOnReuse);
    let refused = home.json()["providers"]["xai-oauth"]["tokens"]["access_token"].as_str().expect("a token").to_owned();
    let keeper = Arc::new(home.session());
    let callers: Vec<_> = (0..20)
        .map(|_| {
            let (keeper, refused) = (keeper.clone(), refused.clone());
            thread::spawn(move || {
                let request =
                    TokenRequest { refused_access_token: Some(refused), ..TokenRequest::new(VAULT, "xai-oauth") };
                keeper.refresh(&request).expect("a token").token
            })
        })
        .collect();
    for caller in callers {
        assert_ne!(caller.join().expect("no panic"), refused);
    }
    assert_eq!(home.server.requests(), 1);
}

/// One grant in three places is refreshed once and written to all of them.
#[test]
fn one_grant_in_three_places_is_refreshed_once_for_all() {
    let home = Home::new();
    let (own, other) = (home.log_in("xai-oauth"), home.log_in("xai-oauth"));
    home.write_json(&json!({
        "providers": { "xai-oauth": login("xai-oauth", &own) },
        "credential_pool": { "xai-oauth": [
            seeded("aaaaaa", "device_code", &own),
            entry("alias1", "manual:device_code", &own, 1),
            entry("stays0", "manual:device_code", &other, 2),
        ]}
    }));
    let untouched = home.json()["credential_pool"]["xai-oauth"][2].clone();
    let token = home.refresh_entry("xai-oauth", "alias1").expect("refreshed");
    let vault = home.json();
    for row in 0..2 {
        assert_eq!(vault["credential_pool"]["xai-oauth"][row]["access_token"], token.token.as_str());
    }
    assert_eq!(vault["providers"]["xai-oauth"]["tokens"]["access_token"], token.token.as_str());
    assert_eq!(vault["credential_pool"]["xai-oauth"][2], untouched);
    // Whoever still holds the old access token in hand gets the new one without another request.
    let request =
        TokenRequest { refused_access_token: Some(own.access_token), ..TokenRequest::new(VAULT, "xai-oauth") };
    assert_eq!(home.session().token(&request).expect("a token").token, token.token);
    assert_eq!(home.server.requests(), 1);
}

/// A spent token written over its successor in one place is replaced by it again.
#[test]
fn a_spent_token_over_its_successor_is_replaced_again() {
    let home = home_with(Rotation::RevokeFamilyOnReuse);
    let before = home.json();
    let token = home.refresh("xai-oauth").expect("refreshed");
    // A stale program writes its old copy of the login, and leaves the entry alone.
    let mut vault = home.json();
    vault["providers"]["xai-oauth"] = before["providers"]["xai-oauth"].clone();
    vault["providers"]["xai-oauth"]["last_refresh"] = json!(crate::common::moment(1_000).replace("+00:00", "Z"));
    vault["providers"]["xai-oauth"]["tokens"]["access_token"] = json!("old-and-opaque");
    home.write_json(&vault);
    let request =
        TokenRequest { refused_access_token: Some("old-and-opaque".into()), ..TokenRequest::new(VAULT, "xai-oauth") };
    assert_eq!(home.session().token(&request).expect("restored").token, token.token);
    assert_eq!((home.server.requests(), home.server.replays()), (1, 0));
    assert!(home.server.is_live(&stored_token(&home)));
    assert!(home.event_names().contains(&"restored".to_owned()));
}

/// A spent token with no successor left anywhere is taken out and not replayed.
#[test]
fn a_spent_token_without_a_successor_is_not_replayed() {
    let home = home_with(Rotation::RevokeFamilyOnReuse);
    let before = home.text();
    home.refresh("xai-oauth").expect("refreshed");
    home.write(&before);
    let error = home.refresh("xai-oauth").expect_err("its successor is gone");
    assert_eq!(error.action, "login");
    assert_eq!(home.json()["providers"]["xai-oauth"]["last_auth_error"]["reason"], "overwritten");
    assert_eq!((home.server.requests(), home.server.replays()), (1, 0));
}

#[test]
fn a_lost_answer_is_asked_for_again_with_the_same_token() {
    // Nothing was processed: the token is as good as before.
    let home = home_with(Rotation::RevokeFamilyOnReuse);
    home.server.fault([Fault::DropBeforeProcessing]);
    home.refresh("xai-oauth").expect("the second request was answered");
    assert_eq!((home.server.requests(), home.server.replays()), (2, 0));
    // It was processed, and the server gives the successor again for a while.
    let home = home_with(Rotation::Grace { window_ms: 60_000 });
    home.server.fault([Fault::DropAfterProcessing]);
    home.refresh("xai-oauth").expect("the successor");
    assert_eq!(home.server.requests(), 2);
    assert!(home.server.is_live(&stored_token(&home)));
    // It was processed, and there is no grace: the login is lost, and the reason says how.
    let home = home_with(Rotation::RevokeFamilyOnReuse);
    home.server.fault([Fault::DropAfterProcessing]);
    let error = home.refresh("xai-oauth").expect_err("lost");
    assert!(error.message.contains("answer to an earlier refresh was lost"), "{error}");
    assert_eq!(home.json()["providers"]["xai-oauth"]["last_auth_error"]["reason"], "answer-lost");
    assert_eq!(home.server.requests(), 2);
}

/// An html page or half an answer changes nothing and is no verdict on the token.
#[test]
fn an_html_page_or_half_an_answer_changes_nothing() {
    let page = "<html><body>Attention Required! invalid_grant</body></html>";
    for status in [200, 400, 401, 403] {
        let home = home_with(Rotation::RevokeFamilyOnReuse);
        let before = home.text();
        home.server.fault([Fault::status(status, "text/html", page), Fault::status(status, "text/html", page)]);
        let error = home.refresh("xai-oauth").expect_err("no token");
        assert_eq!(error.action, "retry", "{status}: {error}");
        assert_eq!(home.text(), before, "{status}");
    }
}

#[test]
fn a_token_is_sent_only_where_its_profile_says() {
    let home = Home::new();
    let own = home.log_in("xai-oauth");
    let mut state = login("xai-oauth", &own);
    state["discovery"] = json!({ "token_endpoint": "https://evil.example/token" });
    home.write_json(&json!({ "providers": { "xai-oauth": state } }));
    home.refresh("xai-oauth").expect("at the profile's own endpoint");
    let received = home.server.received();
    assert_eq!(received.len(), 1);
    assert_eq!(received[0].client_id.as_deref(), Some(client_id("xai-oauth")));
}

#[test]
fn each_profile_speaks_its_providers_dialect() {
    for provider in ["nous", "anthropic", "openai-codex", "acme"] {
        let home = Home::new();
        let own = home.log_in(provider);
        if provider == "anthropic" {
            let mut row = entry("row001", "manual:hermes_pkce", &own, 0);
            row["expires_at_ms"] = json!(1_000);
            home.write_json(&json!({ "credential_pool": { "anthropic": [row] } }));
        } else {
            home.write_json(&json!({ "providers": { provider: login(provider, &own) } }));
        }
        let token = home.refresh(provider).expect("refreshed");
        let received = &home.server.received()[0];
        assert_eq!(received.had_header_token, provider == "nous");
        let json = received.content_type.as_deref() == Some("application/json");
        assert_eq!(json, provider == "anthropic");
        assert_eq!(received.user_agent.as_deref(), Some(concat!("lazaretto/", env!("CARGO_PKG_VERSION"))));
        if provider == "anthropic" {
            assert!(home.json()["credential_pool"]["anthropic"][0]["expires_at_ms"].as_u64() > Some(1_784_541_600_000));
        }
        if provider == "nous" {
            let state = &home.json()["providers"]["nous"];
            assert_eq!((&state["access_token"], &state["agent_key"]), (&json!(token.token), &json!(token.token)));
        }
    }
}
