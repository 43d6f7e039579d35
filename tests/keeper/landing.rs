//! A successor in hand outranks everything: wherever its way into the vault is barred, it gets there later.

use std::fs;
use std::sync::{Arc, Mutex};

use crate::common::{Home, Refusing, login};
use lazaretto_host::TokenRequest;
use lazaretto_host::storage::VAULT;
use serde_json::{Value, json};

const SEALED: &str = "vault.lazaretto-sealed";

fn home_with_login() -> Home {
    let home = Home::new();
    let own = home.log_in("xai-oauth");
    home.write_json(&json!({ "providers": { "xai-oauth": login("xai-oauth", &own) } }));
    home
}

fn request() -> TokenRequest {
    TokenRequest::new(VAULT, "xai-oauth")
}

/// The vault, made as old as a vault whose access token has expired.
fn expire(home: &Home) {
    let mut vault = home.json();
    vault["providers"]["xai-oauth"]["tokens"]["access_token"] = json!("opaque-and-old");
    vault["providers"]["xai-oauth"]["last_refresh"] = json!("2020-01-01T00:00:00Z");
    home.write_json(&vault);
}

fn stored_refresh_token(home: &Home) -> String {
    home.json()["providers"]["xai-oauth"]["tokens"]["refresh_token"].as_str().expect("a token").to_owned()
}

/// A vault that cannot be written gets its successor from the sealed document.
#[test]
fn an_unwritable_vault_gets_its_successor_from_the_sealed() {
    let home = home_with_login();
    expire(&home);
    let before = home.text();
    let refuse = Arc::new(Mutex::new(vec![VAULT]));
    let keeper = home.keeper_on(Refusing { storage: home.storage(), refuse: refuse.clone() });
    let token = keeper.token(&request()).expect("a token");
    assert!(token.warning.as_deref().is_some_and(|warning| warning.contains("sealed")), "{token:?}");
    assert_eq!(home.text(), before);
    // While it lasts, the token that waits is served, and nothing is sent.
    assert_eq!(keeper.token(&request()).expect("the same").token, token.token);
    // The next call after the trouble, here in another session, finishes the job.
    refuse.lock().expect("no panic").clear();
    assert_eq!(home.token("xai-oauth").expect("the same").token, token.token);
    assert!(home.server.is_live(&stored_refresh_token(&home)));
    assert_eq!((home.server.requests(), home.server.replays()), (1, 0));
    let sealed = fs::read_to_string(home.folder.path().join("auth.json.lazaretto-sealed")).expect("sealed");
    assert!(!sealed.contains(&stored_refresh_token(&home)), "nothing waits any more");
    home.refresh("xai-oauth").expect("and on it goes");
}

/// A vault that was moved away in the middle gets its successor when it is back.
#[test]
fn a_vault_moved_away_gets_its_successor_when_it_returns() {
    let home = home_with_login();
    expire(&home);
    let (vault, away) = (home.vault_path(), home.folder.path().join("away"));
    let (from, to) = (vault.clone(), away.clone());
    let keeper = home.session_with(move || fs::rename(&from, &to).expect("moved"));
    let token = keeper.token(&request()).expect("a token");
    assert!(!vault.exists(), "nothing is made up in its place");
    fs::rename(&away, &vault).expect("moved back");
    assert_eq!(home.token("xai-oauth").expect("the same").token, token.token);
    assert!(home.server.is_live(&stored_refresh_token(&home)));
    assert_eq!((home.server.requests(), home.server.replays()), (1, 0));
}

/// What can be stored nowhere is handed over and can be saved later.
#[test]
fn unstorable_tokens_are_returned_and_can_be_saved_later() {
    let home = home_with_login();
    expire(&home);
    let refuse = Arc::new(Mutex::new(vec![VAULT, SEALED]));
    let keeper = home.keeper_on(Refusing { storage: home.storage(), refuse: refuse.clone() });
    let token = keeper.token(&request()).expect("a token");
    let unsaved = token.unsaved.expect("it is in nobody's hands but ours");
    assert!(home.event_names().contains(&"successor-unsaved".to_owned()));
    keeper.save_unsaved(&unsaved).expect_err("still no room");
    refuse.lock().expect("no panic").clear();
    keeper.save_unsaved(&unsaved).expect("room again");
    assert!(home.server.is_live(&stored_refresh_token(&home)));
    assert_eq!(home.token("xai-oauth").expect("the same").token, token.token);
    home.refresh("xai-oauth").expect("and on it goes");
    assert_eq!(home.server.replays(), 0);
}

#[test]
fn nothing_is_sent_if_the_intent_cannot_be_made_durable() {
    let home = home_with_login();
    expire(&home);
    let refuse = Arc::new(Mutex::new(vec!["vault.lazaretto"]));
    let keeper = home.keeper_on(Refusing { storage: home.storage(), refuse });
    let error = keeper.token(&request()).expect_err("no intent, no send");
    assert_eq!(error.action, "inspect");
    assert_eq!(home.server.requests(), 0);
}

/// A new login that came meanwhile wins and the caller still has a token.
#[test]
fn a_new_login_during_the_exchange_wins() {
    let home = home_with_login();
    expire(&home);
    let newer = home.log_in("xai-oauth");
    let (vault, mut text) = (home.vault_path(), home.json());
    text["providers"]["xai-oauth"] = login("xai-oauth", &newer);
    let keeper = home.session_with(move || fs::write(&vault, text.to_string()).expect("written"));
    let token = keeper.token(&request()).expect("a token");
    assert!(token.warning.is_some_and(|warning| warning.contains("logged in anew")));
    assert_eq!(stored_refresh_token(&home), newer.refresh_token);
}

#[test]
fn unrelated_edits_that_came_meanwhile_are_kept() {
    let home = home_with_login();
    expire(&home);
    let vault = home.vault_path();
    let added = home.text().replacen('{', "{\n  \"added\": [1,  2],", 1);
    let keeper = home.session_with(move || fs::write(&vault, &added).expect("written"));
    let token = keeper.token(&request()).expect("a token");
    let after: Value = home.json();
    assert_eq!(after["providers"]["xai-oauth"]["tokens"]["access_token"], token.token.as_str());
    assert!(home.text().contains("\"added\": [1,  2],"));
}

/// A ledger that cannot be read stops refreshing and not serving.
#[test]
fn an_unreadable_ledger_stops_refreshing_but_not_serving() {
    let home = home_with_login();
    let good = home.token("xai-oauth").expect("good").token;
    for ledger in ["{", "{\"schema\": 9, \"tokens\": {}}", "{\"schema\": 1}", "[]"] {
        fs::write(home.folder.path().join("auth.json.lazaretto"), ledger).expect("written");
        assert_eq!(home.token("xai-oauth").expect("served").token, good, "{ledger}");
        let error = home.refresh("xai-oauth").expect_err("not refreshed");
        assert_eq!(error.action, "inspect", "{ledger}: {error}");
        assert_eq!(home.ledger(), ledger, "and left as it is");
    }
    assert_eq!(home.server.requests(), 0);
}
