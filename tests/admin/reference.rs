//! What a person adds and logs in here, the reference, hermes-agent 0.19.0, finds and would use; and what he removes it does not put back.

use crate::common::Home;
use crate::common::oidc::OidcServer;
use crate::common::reference::Reference;
use lazaretto_host::storage::VAULT;
use lazaretto_host::{NewCredential, Selector};
use serde_json::{Value, json};

fn new(provider: &str, access_token: &str, refresh_token: Option<&str>) -> NewCredential {
    NewCredential {
        vault: VAULT.into(),
        provider: provider.into(),
        access_token: access_token.into(),
        refresh_token: refresh_token.map(Into::into),
        expires_in_s: refresh_token.map(|_| 3_600),
        ..NewCredential::default()
    }
}

fn row<'a>(loaded: &'a Value, id: &str) -> Option<&'a Value> {
    assert_eq!(loaded["load_error"], Value::Null);
    assert_eq!(loaded["lost"], json!([]), "the reference carries every field");
    loaded["rows"].as_array().expect("rows").iter().find(|row| row["id"] == id)
}

/// What is added is usable for the reference and an entry of its own has the same members.
#[test]
fn an_added_entry_is_like_one_of_the_reference() {
    let Some(reference) = Reference::install() else { return };
    let home = Home::new();
    let tokens =
        json!({ "access_token": "at-theirs", "refresh_token": "rt-theirs", "expires_in": 3600, "manual": true });
    reference.write_login(home.folder.path(), "xai-oauth", &tokens);
    let admin = home.session().admin();
    let ours = admin.add(&new("xai-oauth", "at-ours", Some("rt-ours"))).expect("added");
    let key = admin.add(&new("openrouter", "sk-ours", None)).expect("added");
    for (provider, id, auth_type) in
        [("xai-oauth", &ours.credential, "oauth"), ("openrouter", &key.credential, "api_key")]
    {
        let loaded = reference.load(home.folder.path(), provider);
        let row = row(&loaded, id).expect("it is there");
        assert_eq!((&row["usable"], &row["has_runtime_key"]), (&json!(true), &json!(true)), "{row}");
        assert_eq!((&row["auth_type"], &row["last_status"]), (&json!(auth_type), &Value::Null));
    }
    let pool = home.json()["credential_pool"]["xai-oauth"].clone();
    let members = |row: &Value| row.as_object().expect("a row").keys().cloned().collect::<Vec<_>>();
    let (theirs, ours) = (members(&pool[0]), members(&pool[1]));
    let missing: Vec<_> = theirs.iter().filter(|name| !ours.contains(name)).collect();
    let more: Vec<_> = ours.iter().filter(|name| !theirs.contains(name)).collect();
    assert!(missing.is_empty() && more == ["expires_at", "expires_in"], "{missing:?} {more:?}");
    assert_eq!(pool[0]["source"], pool[1]["source"]);
    assert_eq!(pool[0]["base_url"], pool[1]["base_url"]);
    assert_eq!((&pool[0]["priority"], &pool[1]["priority"]), (&json!(0), &json!(1)));
}

/// A login is the references login and one that is removed is not seeded again.
#[test]
fn a_login_is_the_references_and_a_removed_one_stays_removed() {
    let Some(reference) = Reference::install() else { return };
    let Some(server) = OidcServer::start("b1a00492-073a-47ea-816f-4c329264a828") else { return };
    let mut authorization = server.authorization();
    authorization["login"] = json!({ "/auth_mode": "oauth_device_code" });
    let profile = json!({ "token_endpoint": server.token_endpoint, "authorization": authorization });
    let home = Home::around(server, &json!({ "xai-oauth": profile }));
    let admin = home.session().admin();
    let begun = admin.login_start(VAULT, "xai-oauth", "device-code", None).expect("it begins");
    home.server.approve(begun.user_code.as_deref().expect("a code"), true);
    admin.login_poll(&begun.state).expect("approved").done.expect("it is done");
    let loaded = reference.load(home.folder.path(), "xai-oauth");
    assert_eq!(loaded["login"]["logged_in"], true, "{loaded}");
    let seeded = loaded["rows"].as_array().expect("rows").iter().find(|row| row["source"] == "device_code");
    assert_eq!(seeded.expect("it is seeded")["usable"], true);

    let selector = Selector { vault: VAULT.into(), provider: "xai-oauth".into(), credential: Some("login".into()) };
    admin.remove(&selector).expect("removed");
    let loaded = reference.load(home.folder.path(), "xai-oauth");
    assert_eq!((&loaded["rows"], &loaded["login"]["logged_in"]), (&json!([]), &json!(false)), "{loaded}");
}
