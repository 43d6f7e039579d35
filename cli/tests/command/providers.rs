//! `lazaretto providers`: what is known, how to log in, and what to write where none can.

use std::fs;

use crate::home::Home;
use serde_json::{Value, json};

fn listed(home: &Home) -> Vec<Value> {
    let ran = home.run(&["--json", "providers"]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{ran:?}");
    let answer: Value = serde_json::from_str(&ran.out).expect("json");
    assert_eq!(answer["file"].as_str(), home.path("providers.json").to_str());
    answer["providers"].as_array().expect("a list").clone()
}

fn of(home: &Home, id: &str) -> Value {
    listed(home).into_iter().find(|known| known["id"] == id).unwrap_or_else(|| panic!("{id} is not listed"))
}

/// Every provider is listed with its login and no vault is needed.
#[test]
fn every_provider_is_listed_without_a_vault() {
    let home = Home::new();
    assert!(!home.path("auth.json").exists());
    assert_eq!(of(&home, "xai-oauth")["flows"], json!(["device-code"]));
    assert_eq!(of(&home, "acme")["whose"], "user");
    assert_eq!(of(&home, "openrouter")["keys_only"], true);
    let ran = home.run(&["providers"]);
    let line = |id: &str| ran.out.lines().find(|line| line.starts_with(&format!("{id} "))).expect("a line").to_owned();
    assert!(line("xai-oauth").contains("device") && line("google").contains("needs a client id"), "{}", ran.out);
    assert!(line("openrouter").contains("keys only") && line("acme").contains("providers.json"), "{}", ran.out);
    assert_eq!(home.server.requests(), 0);
}

#[test]
fn what_it_says_to_write_makes_the_login_offered() {
    let home = Home::new();
    let acme = of(&home, "acme");
    assert!(acme["no_login"].as_str().is_some_and(|why| why.contains("`authorization`")), "{acme}");
    let shown = home.run(&["providers", "acme"]);
    let file = home.path("providers.json").display().to_string();
    assert!(shown.code == Some(0) && shown.out.contains(&file), "{shown:?}");
    // The lines that are indented as JSON, with a real address for the dots.
    let written: String = shown.out.lines().filter(|line| line.starts_with("    ")).collect::<Vec<_>>().join("\n");
    let mut written: Value = serde_json::from_str(&written.replace("...", "acme.example/x")).expect("json");
    written["profiles"]["acme"]["token_endpoint"] = home.server.token_endpoint().into();
    written["profiles"]["acme"]["client_id"] = "acme-client".into();
    fs::write(home.path("providers.json"), written.to_string()).expect("written");
    let offered = home.run(&["providers", "acme"]);
    assert!(
        offered.out.contains("browser") && offered.out.contains("lazaretto") && !offered.out.contains("none: "),
        "{offered:?}"
    );
    assert_eq!(of(&home, "acme")["no_login"], Value::Null);
}

#[test]
fn no_secret_of_a_profile_is_shown() {
    let home = Home::new();
    home.profiles(&json!({ "acme": {
        "token_endpoint": home.server.token_endpoint(), "client_id": "c", "client_auth": "none",
        "request": { "parameters": { "client_secret": "s3cret" }, "headers": { "x-api-key": "s3cret" } },
    } }));
    for arguments in
        [&["providers"][..], &["providers", "acme"], &["--json", "providers"], &["--json", "providers", "acme"]]
    {
        let ran = home.run(arguments);
        assert!(ran.code == Some(0) && !format!("{ran:?}").contains("s3cret"), "{ran:?}");
    }
}

#[test]
fn an_unknown_name_is_answered_with_the_nearest() {
    let home = Home::new();
    let ran = home.run(&["--json", "providers", "xia-oauth"]);
    let error: Value = serde_json::from_str(&ran.err).expect("json");
    assert_eq!((ran.code, error["error"]["code"].as_str()), (Some(5), Some("unknown-provider")), "{ran:?}");
    assert!(error["error"]["message"].as_str().is_some_and(|message| message.contains("xai-oauth")), "{error}");
}

#[test]
fn a_profile_that_is_wrong_is_named_and_hides_no_other() {
    let home = Home::new();
    home.profiles(&json!({ "acme": { "token_endpont": "https://a.example/t" }, "other": { "token_endpoint": "https://a.example/t" } }));
    assert!(of(&home, "acme")["wrong"].as_str().is_some_and(|what| what.contains("token_endpont")));
    assert_eq!(of(&home, "other")["wrong"], Value::Null);
    let shown = home.run(&["providers", "acme"]);
    assert!(shown.code == Some(0) && shown.out.contains("token_endpont"), "{shown:?}");
}
