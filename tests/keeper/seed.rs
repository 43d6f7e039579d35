//! The change lazaretto started from, case by case, through the compiled component: a terminal refusal is quarantined, a passing
//! one changes nothing, and no dead token is sent in any later session.

use crate::common::{Home, login};
use lazaretto_host::storage::VAULT;
use lazaretto_host::{Answer, KeeperError};
use lazaretto_testing::demo_server::Fault;
use serde_json::{Value, json};

const PROVIDERS: [&str; 3] = ["xai-oauth", "openai-codex", "nous"];

fn household(home: &Home, provider: &str) -> (lazaretto_testing::demo_server::Login, Value) {
    let (own, manual) = (home.log_in(provider), home.log_in(provider));
    let vault = crate::common::household(provider, &own, &manual);
    home.write_json(&vault);
    (own, vault)
}

fn answer(provider: &str, status: u16, body: &str) -> Answer {
    Answer {
        provider: provider.into(),
        status: Some(status),
        headers: vec![("content-type".into(), "application/json".into())],
        body: body.into(),
        ..Answer::default()
    }
}

#[test]
fn terminal_against_transient_against_other_provider_verdicts() {
    let home = Home::new();
    let keeper = home.session();
    let verdict = |provider: &str, status, body: &str| {
        keeper.classify(&answer(provider, status, body), 1_784_541_600).expect("a judgement").verdict
    };
    for provider in PROVIDERS {
        for status in [400, 401, 403] {
            assert_eq!(verdict(provider, status, r#"{"error":"invalid_grant"}"#), "terminal", "{provider} {status}");
            assert_eq!(
                verdict(provider, status, r#"{"detail":"no"}"#),
                "terminal",
                "{provider} {status} without a code"
            );
            assert_eq!(verdict(provider, status, ""), "terminal", "{provider} {status} without a body");
        }
        for status in [429, 500, 502, 503, 504] {
            assert_ne!(verdict(provider, status, r#"{"error":"invalid_grant"}"#), "terminal", "{provider} {status}");
            assert_eq!(verdict(provider, status, ""), "transient", "{provider} {status}");
        }
    }
    // The status rule is those providers' own.
    for provider in ["anthropic", "acme", "nobody-knows"] {
        assert_eq!(verdict(provider, 401, r#"{"detail":"no"}"#), "unknown", "{provider}");
        assert_eq!(verdict(provider, 400, r#"{"error":"invalid_grant"}"#), "terminal", "{provider}");
    }
}

/// A terminal refusal is quarantined persisted and never replayed.
#[test]
fn a_terminal_refusal_is_quarantined_and_never_replayed() {
    for provider in PROVIDERS {
        for (status, body) in [(400, r#"{"error":"invalid_grant"}"#), (401, ""), (403, r#"{"message":"no"}"#)] {
            let home = Home::new();
            let (_, before) = household(&home, provider);
            home.server.fault([Fault::status(status, "application/json", body)]);

            let error = home.refresh_entry(provider, "login").expect_err("refused");
            assert_eq!((error.code.as_str(), error.action.as_str()), ("quarantined", "login"), "{provider} {status}");

            let after = home.json();
            let tokens = if provider == "nous" {
                &after["providers"][provider]
            } else {
                &after["providers"][provider]["tokens"]
            };
            assert!(
                tokens.get("access_token").is_none() && tokens.get("refresh_token").is_none(),
                "{provider} {status}"
            );
            assert_eq!(tokens["token_type"], "Bearer");
            let marker = &after["providers"][provider]["last_auth_error"];
            assert_eq!(marker["provider"], provider);
            assert_eq!(marker["relogin_required"], true);
            for field in ["code", "message", "reason", "at"] {
                assert!(marker[field].as_str().is_some_and(|text| !text.is_empty()), "{provider} {status}: {field}");
            }
            let ids: Vec<&Value> =
                after["credential_pool"][provider].as_array().expect("a pool").iter().map(|row| &row["id"]).collect();
            assert_eq!(ids, ["bbbbbb", "dddddd"], "the seeded entries are gone, manual and API-key entries stay");
            assert_eq!(after["credential_pool"][provider][0], before["credential_pool"][provider][1]);
            assert_eq!(after["credential_pool"][provider][1], before["credential_pool"][provider][3]);
            for untouched in ["version", "active_provider", "suppressed_sources"] {
                assert_eq!(after[untouched], before[untouched]);
            }
            assert_eq!(after["providers"]["other"], before["providers"]["other"]);
            assert_eq!(after["credential_pool"]["openrouter"], before["credential_pool"]["openrouter"]);

            // The next session, and the one after it.
            assert_eq!(home.server.requests(), 1);
            for _ in 0..3 {
                home.refresh_entry(provider, "login").expect_err("still dead");
            }
            assert_eq!(home.server.requests(), 1, "nothing was sent again");
            assert_eq!(home.json(), after, "and nothing was written again");
            assert_eq!(home.state(provider, "login"), "quarantined");
            assert_eq!(home.event_names().iter().filter(|name| *name == "quarantined").count(), 1, "one event");
        }
    }
}

#[test]
fn rate_limits_and_server_errors_leave_the_vault_byte_identical() {
    for provider in PROVIDERS {
        // Behind a gateway the server may have answered, so there the same token is sent once more.
        for (status, body, requests) in [
            (429, r#"{"error":"rate_limited"}"#, 1),
            (429, r#"{"error":"invalid_grant"}"#, 1),
            (500, r#"{"error":"invalid_grant"}"#, 1),
            (502, "<html>Bad gateway</html>", 2),
            (503, "", 1),
            (504, "", 2),
        ] {
            let home = Home::new();
            let (own, _) = household(&home, provider);
            let before = home.text();
            home.server.fault((0..requests).map(|_| Fault::status(status, "application/json", body)));
            let error: KeeperError = home.refresh_entry(provider, "login").expect_err("no token");
            assert_eq!(error.action, "retry", "{provider} {status} {body}: {error}");
            assert_eq!(home.text(), before, "{provider} {status}");
            assert!(home.server.is_live(&own.refresh_token));
            assert_eq!(home.server.requests(), requests, "{status}");
            home.refresh_entry(provider, "login").expect_err("it cools down");
            assert_eq!(home.server.requests(), requests, "{status}: nothing is sent meanwhile");
            // Once it has cooled down, or somebody says so, the same token works.
            home.session().reset(&home.selector(provider)).expect("there is a cooldown");
            home.refresh_entry(provider, "login").expect("refreshed");
        }
    }
}

/// Tokens that another process rotated meanwhile are adopted and nothing is cleared.
#[test]
fn tokens_rotated_by_another_process_are_adopted() {
    for provider in PROVIDERS {
        let home = Home::new();
        let (own, _) = household(&home, provider);
        // The other process refreshed, and the server refuses what we still hold in our hands.
        let newer = home.log_in(provider);
        let vault = home.vault_path();
        let text = home
            .text()
            .replace(&own.access_token, &newer.access_token)
            .replace(&own.refresh_token, &newer.refresh_token);
        home.server.revoke(&own.refresh_token);
        let hooked = home.session_with(move || std::fs::write(&vault, &text).expect("written"));
        let request = lazaretto_host::TokenRequest {
            credential: Some("login".into()),
            ..lazaretto_host::TokenRequest::new(VAULT, provider)
        };
        let token = hooked.refresh(&request).expect("adopted");
        assert_eq!(token.token, newer.access_token, "{provider}");
        assert_eq!(token.origin, "adopted");
        let after = home.json();
        assert!(after["providers"][provider].get("last_auth_error").is_none(), "{provider}");
        assert_eq!(after["credential_pool"][provider].as_array().expect("a pool").len(), 4);
        assert!(home.server.is_live(&newer.refresh_token), "the newer token was not sent");
    }
}

/// A login without its refresh token is taken out once its access token has expired.
#[test]
fn a_login_without_a_refresh_token_is_removed_at_its_expiry() {
    let home = Home::new();
    let own = home.log_in("xai-oauth");
    let mut vault = json!({ "providers": { "xai-oauth": login("xai-oauth", &own) }, "credential_pool": {} });
    let state = vault["providers"]["xai-oauth"].as_object_mut().expect("object");
    state["tokens"].as_object_mut().expect("object").remove("refresh_token");
    home.write_json(&vault);
    assert_eq!(home.token("xai-oauth").expect("still good").token, own.access_token);

    vault["providers"]["xai-oauth"]["last_refresh"] = json!("2020-01-01T00:00:00Z");
    vault["providers"]["xai-oauth"]["tokens"]["access_token"] = json!("opaque-and-old");
    home.write_json(&vault);
    let error = home.token("xai-oauth").expect_err("expired");
    assert_eq!(error.action, "login");
    let after = home.json();
    assert!(after["providers"]["xai-oauth"]["tokens"].get("access_token").is_none());
    assert_eq!(after["providers"]["xai-oauth"]["last_auth_error"]["reason"], "missing-refresh-token");
    assert_eq!(home.server.requests(), 0);
}

/// Tokens that are put back by hand are not sent and are taken out again.
#[test]
fn dead_tokens_restored_by_hand_are_removed_and_not_sent() {
    for provider in PROVIDERS {
        let home = Home::new();
        let (own, before) = household(&home, provider);
        home.server.revoke(&own.refresh_token);
        home.refresh_entry(provider, "login").expect_err("revoked");
        assert_eq!(home.server.requests(), 1);
        // Another program's start-up: the file as it was. Nothing in it says that the tokens are dead.
        for _ in 0..3 {
            home.write_json(&before);
            let report = home.session().status(VAULT, Some(provider)).expect("a status");
            let status = report.credentials.iter().find(|status| status.credential == "login").expect("the login");
            assert_eq!(status.state, "dead");
            assert_eq!(status.last_error.as_ref().map(|error| error.reason.as_str()), Some("re-seeded"));
            let error = home.refresh_entry(provider, "login").expect_err("dead");
            assert_eq!(error.code, "quarantined");
            assert!(error.message.contains("put back"), "{error}");
            assert_eq!(home.json()["providers"][provider]["last_auth_error"]["reason"], "re-seeded");
        }
        assert_eq!(home.server.requests(), 1, "{provider}: sent once in its life");
        assert_eq!(home.server.replays(), 0);
    }
}

#[test]
fn a_manual_entry_dies_alone() {
    let home = Home::new();
    let (_, before) = household(&home, "xai-oauth");
    let manual = before["credential_pool"]["xai-oauth"][3]["refresh_token"].as_str().expect("a token").to_owned();
    home.server.revoke(&manual);
    home.refresh_entry("xai-oauth", "dddddd").expect_err("revoked");
    let after = home.json();
    assert_eq!(after["providers"], before["providers"], "the login did not die with it");
    for row in 0..3 {
        assert_eq!(after["credential_pool"]["xai-oauth"][row], before["credential_pool"]["xai-oauth"][row]);
    }
    let dead = &after["credential_pool"]["xai-oauth"][3];
    assert_eq!(dead["last_status"], "dead");
    assert!(dead.get("refresh_token").is_none() && dead.get("access_token").is_none());
    assert_eq!(
        (&dead["label"], &dead["base_url"]),
        (&before["credential_pool"]["xai-oauth"][3]["label"], &json!("https://api.x.ai/v1"))
    );
    home.refresh_entry("xai-oauth", "dddddd").expect_err("dead");
    assert_eq!(home.server.requests(), 1);
    home.refresh_entry("xai-oauth", "login").expect("the login lives");
}

#[test]
fn what_was_quarantined_wrongly_can_be_put_back_and_works() {
    let home = Home::new();
    let (own, before) = household(&home, "xai-oauth");
    home.server.fault([Fault::status(400, "application/json", r#"{"error":"invalid_grant"}"#)]);
    home.refresh_entry("xai-oauth", "login").expect_err("refused although it lives");
    let status = home.session().unquarantine(&home.selector("xai-oauth")).expect("sealed");
    assert_eq!(status.credential, "login");
    let after = home.json();
    assert_eq!(after["providers"]["xai-oauth"], before["providers"]["xai-oauth"]);
    assert_eq!(after["credential_pool"]["xai-oauth"].as_array().expect("a pool").len(), 4);
    home.refresh_entry("xai-oauth", "login").expect("it lives");
    assert!(!home.server.is_live(&own.refresh_token), "it was spent for another");
    let sealed = std::fs::read_to_string(home.folder.path().join("auth.json.lazaretto-sealed")).expect("sealed");
    assert!(!sealed.contains(&own.refresh_token), "its sealed copy is wiped");
    home.session().unquarantine(&home.selector("xai-oauth")).expect_err("nothing is sealed any more");
}

/// A dead refresh token beside a live access token leaves that one served.
#[test]
fn a_live_access_token_is_served_beside_a_dead_refresh_token() {
    let home = Home::new();
    let own = home.log_in("xai-oauth");
    let mut state = login("xai-oauth", &own);
    // It ends in a minute: inside the refresh window, and still good.
    state["tokens"]["access_token"] = json!("opaque-but-good");
    state["tokens"]["expires_in"] = json!(3600);
    state["last_refresh"] = json!(crate::common::moment(-3_540_000).replace("+00:00", "Z"));
    home.write_json(&json!({ "providers": { "xai-oauth": state } }));
    home.server.revoke(&own.refresh_token);
    for _ in 0..3 {
        let token = home.token("xai-oauth").expect("good for a minute");
        assert_eq!((token.token.as_str(), token.origin.as_str()), ("opaque-but-good", "sealed"));
        assert!(token.warning.is_some() && token.run.is_some());
    }
    assert_eq!(home.server.requests(), 1);
    // Named as refused it is not served either.
    let request = lazaretto_host::TokenRequest {
        refused_access_token: Some("opaque-but-good".into()),
        ..lazaretto_host::TokenRequest::new(VAULT, "xai-oauth")
    };
    assert_eq!(home.session().token(&request).expect_err("refused").action, "login");
}

#[test]
fn nothing_of_a_token_shows_in_events_errors_status_or_ledger() {
    let home = Home::new();
    let (own, _) = household(&home, "xai-oauth");
    let echo = format!(r#"{{"error":"invalid_grant","error_description":"no such token: {}"}}"#, own.refresh_token);
    home.server.fault([Fault::status(400, "application/json", &echo)]);
    let error = home.refresh_entry("xai-oauth", "login").expect_err("refused");
    let status = home.session().status(VAULT, None).expect("a status");
    let shown = format!("{error:?} {error} {status:?} {:?} {}", home.events.lock().expect("no panic"), home.ledger());
    assert!(!shown.contains(&own.refresh_token) && !shown.contains(&own.access_token));
    assert!(!home.text().contains(&own.refresh_token), "not in last_auth_error either");
}
