//! Logging in and out, answer by answer: a server that answers what it was told to, and a clock that stands still.

use crate::machine::{Moment, SECOND_MS, World, login, now, tokens};
use lazaretto::admin::Admin;
use lazaretto::admin::login::{Begun, LoggedOut, Progress, Revocation};
use lazaretto::error::{Action, Code, KeeperError};
use lazaretto::keeper::Keeper;
use lazaretto::secret::Secret;
use serde_json::{Value, json};

const REDIRECT: &str = "http://127.0.0.1:4711/callback";

/// A world whose profile describes both ways, and how to revoke.
fn world() -> World {
    let world = World::new();
    world.profile_with(&json!({ "client_id": "client-1", "authorization": {
        "device_authorization_endpoint": "https://login.acme.example/device",
        "authorization_endpoint": "https://login.acme.example/authorize?tenant=t",
        "scope": "a b",
        "parameters": { "prompt": "consent" },
        "revocation_endpoint": "https://login.acme.example/revoke",
    } }));
    world
}

fn admin(world: &World) -> Admin<World> {
    Admin::new(world.clone())
}

fn start(world: &World, flow: &str) -> Result<Begun, KeeperError> {
    now(admin(world).login_start("vault", "acme", flow, Some(REDIRECT), None))
}

fn poll(world: &World, state: &Secret) -> Result<Progress, KeeperError> {
    now(admin(world).login_poll(state))
}

fn finish(world: &World, state: &Secret, url: &str) -> Result<String, KeeperError> {
    now(admin(world).login_finish(state, &Secret::from(url))).map(|status| status.state.to_owned())
}

fn logout(world: &World, credential: Option<&str>, keep: bool) -> Result<LoggedOut, KeeperError> {
    now(admin(world).logout("vault", "acme", credential, keep))
}

fn device() -> Value {
    json!({ "device_code": "dc-secret", "user_code": "ABCD-EFGH", "verification_uri": "https://acme.example/go",
        "verification_uri_complete": "https://acme.example/go?c=ABCD", "expires_in": 900, "interval": 7 })
}

fn begun_by_device(world: &World) -> Begun {
    world.answer(200, &device());
    start(world, "device-code").expect("it begins")
}

fn error(code: &str) -> Value {
    json!({ "error": code })
}

/// A device login waits as the server asks and ends with the tokens in the vault.
#[test]
fn a_device_login_waits_as_asked_and_stores_the_tokens() {
    let world = world();
    let begun = begun_by_device(&world);
    assert_eq!((begun.url.as_str(), begun.user_code.as_deref()), ("https://acme.example/go", Some("ABCD-EFGH")));
    assert_eq!((begun.interval_s, begun.expires_at_ms), (7, crate::machine::START_MS + 900 * SECOND_MS));
    let mut progress = Progress { done: None, state: begun.state, interval_s: 0 };
    let mut intervals = Vec::new();
    let mut ask = |world: &World| {
        progress = poll(world, &progress.state).expect("it goes on");
        intervals.push(progress.interval_s);
        progress.done.clone()
    };
    for (status, code) in
        [(400, "authorization_pending"), (400, "slow_down"), (400, "authorization_pending"), (429, "slow_down")]
    {
        world.answer(status, &error(code));
        assert!(ask(&world).is_none());
    }
    // What is no answer of the server's own ends nothing, and is asked for less often.
    world.answer_text(503, &[("content-type", "text/html")], "<html>busy</html>");
    world.fail("timeout", true, 1);
    world.fail("connect", false, 1);
    world.answer_with(503, &[("retry-after", "1")], &json!({}));
    for _ in 0..4 {
        assert!(ask(&world).is_none());
    }
    world.answer(200, &tokens());
    let status = ask(&world).expect("it is done");
    assert_eq!((status.credential.as_str(), status.state), ("login", "valid"));
    assert_eq!(intervals, [7, 12, 12, 17, 34, 60, 60, 60, 0]);
    assert_eq!(world.tokens()["refresh_token"], "rt-2");
    assert_eq!(world.sent("device_code")[1..], vec!["dc-secret"; 9]);
    assert_eq!(world.sent("grant_type")[1], "urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code");
    assert_eq!((world.sent("client_id"), world.sent("scope")[0].as_str()), (vec!["client-1".to_owned(); 10], "a+b"));
    let urls = world.0.urls.borrow();
    assert!(
        urls[0] == "https://login.acme.example/device"
            && urls[1..].iter().all(|url| url == "https://acme.example/token")
    );
}

#[test]
fn each_refusal_of_a_device_login_ends_it_and_says_what_helps() {
    for (status, body, code) in [
        (400, error("access_denied"), Code::LoginRefused),
        (400, error("expired_token"), Code::LoginExpired),
        (400, error("invalid_grant"), Code::LoginFailed),
        (401, error("invalid_client"), Code::LoginMisconfigured),
        (400, error("unauthorized_client"), Code::LoginMisconfigured),
        (400, error("unsupported_grant_type"), Code::LoginMisconfigured),
        (200, json!({ "token_type": "Bearer" }), Code::LoginFailed),
        (404, json!({}), Code::LoginFailed),
    ] {
        let world = world();
        let begun = begun_by_device(&world);
        let before = world.text("vault");
        world.answer(status, &body);
        let error = poll(&world, &begun.state).expect_err("it is over");
        assert_eq!(error.code, code, "{body} {error}");
        assert!(!error.message.contains("dc-secret"), "{error}");
        assert_eq!(world.text("vault"), before);
    }
}

/// A device login that nobody approved in time sends nothing more.
#[test]
fn a_device_login_not_approved_in_time_sends_nothing_more() {
    let world = world();
    let begun = begun_by_device(&world);
    world.pass(900 * SECOND_MS);
    let error = poll(&world, &begun.state).expect_err("too late");
    assert_eq!((error.code, world.requests()), (Code::LoginExpired, 1));
}

#[test]
fn what_is_no_beginning_of_a_login_is_refused() {
    let without = |name: &str| {
        let mut answer = device();
        answer.as_object_mut().expect("an object").remove(name);
        answer
    };
    let with = |name: &str, value: &str| {
        let mut answer = device();
        answer[name] = json!(value);
        answer
    };
    for (status, body, code) in [
        (200, without("device_code"), Code::LoginFailed),
        (200, without("user_code"), Code::LoginFailed),
        (200, without("verification_uri"), Code::LoginFailed),
        (200, with("verification_uri", "javascript:alert(1)"), Code::LoginFailed),
        (200, with("verification_uri", "https://a.example/\u{1b}[2J"), Code::LoginFailed),
        (400, error("invalid_scope"), Code::LoginMisconfigured),
        (401, error("invalid_client"), Code::LoginMisconfigured),
        (503, json!({}), Code::LoginUnavailable),
    ] {
        let world = world();
        world.answer(status, &body);
        let error = start(&world, "device-code").expect_err("no login");
        assert_eq!(error.code, code, "{body} {error}");
    }
    let world = world();
    world.fail("dns", false, 1);
    assert_eq!(start(&world, "device-code").expect_err("no answer").action(), Action::Retry);
    assert_eq!(start(&world, "password").expect_err("no such flow").code, Code::BadRequest);
    assert_eq!(poll(&world, &Secret::from("nonsense")).expect_err("no state").code, Code::BadRequest);
    let begun = start(&world, "loopback-pkce").expect("it begins");
    assert_eq!(poll(&world, &begun.state).expect_err("another flow's").code, Code::BadRequest);
    let error = now(admin(&world).login_start("vault", "acme", "loopback-pkce", Some("https://evil.example/"), None));
    assert_eq!(error.expect_err("not on this machine").code, Code::BadRequest);
    world.profile("client-1");
    assert_eq!(start(&world, "device-code").expect_err("not described").action(), Action::Configure);
}

#[test]
fn a_login_that_could_not_be_stored_is_not_begun() {
    for (name, text, code) in [
        ("vault", "{", Code::CorruptVault),
        ("vault", r#"{"providers":{"acme":{"tokens":{},"tokens":{}}}}"#, Code::CorruptVault),
        ("vault", r#"{"providers":{"acme":7}}"#, Code::CorruptVault),
        ("vault.lazaretto", "{", Code::CorruptLedger),
    ] {
        let world = world();
        world.write(name, text);
        for flow in ["device-code", "loopback-pkce"] {
            assert_eq!(start(&world, flow).expect_err("it could not be stored").code, code, "{text}");
        }
        assert_eq!((world.requests(), world.text(name).as_str()), (0, text));
    }
}

/// A loopback login proves that it asked and takes no other answer.
#[test]
fn a_loopback_login_accepts_only_its_own_answer() {
    let world = world();
    world.let_chance_decide();
    let begun = start(&world, "loopback-pkce").expect("it begins");
    let (address, query) = begun.url.split_once('&').expect("a query");
    assert_eq!(address, "https://login.acme.example/authorize?tenant=t");
    let value = |name: &str| {
        let found = query.split('&').filter_map(|pair| pair.split_once('=')).find(|pair| pair.0 == name);
        found.unwrap_or_else(|| panic!("no {name} in {query}")).1.to_owned()
    };
    assert_eq!((value("response_type"), value("code_challenge_method")), ("code".into(), "S256".into()));
    assert_eq!(
        (value("prompt"), value("client_id"), value("scope")),
        ("consent".into(), "client-1".into(), "a+b".into())
    );
    let (nonce, challenge) = (value("state"), value("code_challenge"));
    assert!(nonce.len() == 43 && challenge.len() == 43 && nonce != challenge);
    for (url, code) in [
        (format!("{REDIRECT}?code=c&state=other"), Code::BadRequest),
        (format!("{REDIRECT}?code=c"), Code::BadRequest),
        (format!("{REDIRECT}?error=access_denied"), Code::BadRequest),
        (format!("http://127.0.0.1:4711/other?code=c&state={nonce}"), Code::BadRequest),
        (format!("{REDIRECT}?code=c&state={nonce}&state={nonce}"), Code::BadRequest),
        (format!("{REDIRECT}?code=c&state={nonce}&iss=https%3A%2F%2Fevil.example"), Code::WrongIssuer),
        (format!("{REDIRECT}?state={nonce}"), Code::LoginFailed),
        (format!("{REDIRECT}?code=a&code=b&state={nonce}"), Code::LoginFailed),
        (format!("{REDIRECT}?error=access_denied&state={nonce}"), Code::LoginRefused),
        (
            format!("{REDIRECT}?error=server_error&error_description=eyJhbGciOiJub25lIn0.c2VjcmV0.x&state={nonce}"),
            Code::LoginUnavailable,
        ),
        (
            format!("{REDIRECT}?error=invalid_scope&error_description=eyJhbGciOiJub25lIn0.c2VjcmV0.x&state={nonce}"),
            Code::LoginMisconfigured,
        ),
    ] {
        let error = finish(&world, &begun.state, &url).expect_err(&url);
        assert!(error.code == code && !error.message.contains("eyJ"), "{url}: {error}");
    }
    assert_eq!(world.requests(), 0);
    world.answer(200, &tokens());
    let good = format!("{REDIRECT}?code=c%2F1&state={nonce}&iss=https%3A%2F%2Flogin.acme.example");
    assert_eq!(finish(&world, &begun.state, &good).expect("logged in"), "valid");
    assert_eq!(
        (world.sent("code"), world.sent("grant_type")),
        (vec!["c%2F1".to_owned()], vec!["authorization_code".to_owned()])
    );
    assert_eq!(world.sent("redirect_uri"), ["http%3A%2F%2F127.0.0.1%3A4711%2Fcallback"]);
    assert_eq!(world.sent("code_verifier")[0].len(), 43);
    assert_ne!(world.sent("code_verifier")[0], challenge);
    world.pass(601 * SECOND_MS);
    assert_eq!(finish(&world, &begun.state, &good).expect_err("too late").code, Code::LoginExpired);
}

/// What a login by device code leaves, over what was there.
fn logged_in_over(vault: &Value, provider: &str, tokens: &Value) -> (World, Value) {
    let world = World::default();
    world.0.now_ms.set(crate::machine::START_MS);
    world.write("vault", &vault.to_string());
    world.answer(200, &device());
    let begun = now(admin(&world).login_start("vault", provider, "device-code", None, None)).expect("it begins");
    world.answer(200, tokens);
    poll(&world, &begun.state).expect("approved").done.expect("it is done");
    let vault = world.vault();
    (world, vault)
}

/// A new login replaces the old one and its copies and nothing else.
#[test]
fn a_new_login_replaces_the_old_one_and_its_copies_only() {
    let copy = json!({ "id": "aaaaaa", "auth_type": "oauth", "source": "device_code", "access_token": "a", "refresh_token": "rt-1",
        "last_status": "dead", "last_error_code": 401, "mine": 1 });
    let manual = json!({ "id": "bbbbbb", "auth_type": "oauth", "source": "manual:device_code", "access_token": "a", "refresh_token": "rt-9" });
    let before = json!({
        "active_provider": "other",
        "providers": { "xai-oauth": { "tokens": { "id_token": "of-another", "expires_in": 1 }, "label": "mine", "last_auth_error": { "code": "x" } } },
        "credential_pool": { "xai-oauth": [copy, manual] },
        "suppressed_sources": { "xai-oauth": ["device_code", "claude_code"] },
    });
    let (_, after) = logged_in_over(&before, "xai", &tokens());
    let mut wanted = before.clone();
    wanted["providers"]["xai-oauth"] = json!({
        "tokens": { "access_token": "at-new", "refresh_token": "rt-2", "expires_in": 3600, "token_type": "Bearer" },
        "label": "mine", "last_refresh": "2026-07-20T10:00:00.000000Z", "auth_mode": "oauth_device_code",
        "discovery": { "token_endpoint": "https://auth.x.ai/oauth2/token" },
    });
    let row = &mut wanted["credential_pool"]["xai-oauth"][0];
    for (name, value) in [
        ("access_token", json!("at-new")),
        ("refresh_token", json!("rt-2")),
        ("expires_in", json!(3600)),
        ("expires_at", json!("2026-07-20T11:00:00.000000+00:00")),
        ("last_refresh", json!("2026-07-20T10:00:00.000000Z")),
        ("last_status", json!("ok")),
        ("last_error_code", Value::Null),
    ] {
        row[name] = value;
    }
    wanted["suppressed_sources"] = json!({ "xai-oauth": ["claude_code"] });
    assert_eq!(after, wanted);
}

#[test]
fn a_login_that_another_program_set_to_null_is_no_hindrance() {
    for before in [json!({ "acme": null }), json!({ "acme": { "tokens": null, "mine": [1] } })] {
        let world = world();
        world.write("vault", &json!({ "providers": before }).to_string());
        let begun = begun_by_device(&world);
        world.answer(200, &tokens());
        poll(&world, &begun.state).expect("approved").done.expect("it is done");
        let login = &world.vault()["providers"]["acme"];
        assert_eq!((&login["tokens"]["refresh_token"], &login["mine"]), (&json!("rt-2"), &before["acme"]["mine"]));
    }
}

/// A first login makes the vault and has the layout of its provider.
#[test]
fn a_first_login_creates_the_vault_in_its_providers_layout() {
    let (_, vault) = logged_in_over(&json!({}), "nous", &tokens());
    assert_eq!(
        vault["providers"]["nous"],
        json!({ "access_token": "at-new", "agent_key": "at-new", "agent_key_expires_at": "2026-07-20T11:00:00.000000+00:00",
            "agent_key_expires_in": 3600, "agent_key_id": null, "agent_key_obtained_at": "2026-07-20T10:00:00.000000+00:00",
            "agent_key_reused": false, "expires_at": "2026-07-20T11:00:00.000000+00:00", "expires_in": 3600,
            "obtained_at": "2026-07-20T10:00:00.000000+00:00", "refresh_token": "rt-2", "scope": "inference:invoke",
            "token_type": "Bearer", "inference_base_url": "https://inference-api.nousresearch.com/v1",
            "portal_base_url": "https://portal.nousresearch.com", "client_id": "hermes-cli" })
    );
    let world = World::default();
    world.answer(200, &device());
    let begun =
        now(admin(&world).login_start("vault", "xai", "device-code", None, None)).expect("there need be no vault");
    world.answer(200, &tokens());
    poll(&world, &begun.state).expect("approved").done.expect("it is done");
    assert_eq!(world.vault()["version"], 1);
}

/// A token that was dead is good again when the server gives it anew and what was sealed is gone.
#[test]
fn a_dead_token_that_the_server_issues_anew_is_good() {
    let world = world();
    world.answer(400, &error("invalid_grant"));
    world.token().expect_err("refused");
    assert!(world.text("vault.lazaretto-sealed").contains("rt-1"));
    let begun = begun_by_device(&world);
    world.answer(200, &json!({ "access_token": "at-new", "refresh_token": "rt-1", "expires_in": 1 }));
    poll(&world, &begun.state).expect("approved");
    assert!(!world.text("vault.lazaretto-sealed").contains("rt-1"));
    assert!(world.vault()["providers"]["acme"].get("last_auth_error").is_none());
    world.pass(2 * SECOND_MS);
    world.answer(200, &tokens());
    assert_eq!(world.token().expect("refreshed").token, Secret::from("at-new"));
}

/// A refresh of the old login that comes back later does not overwrite the new one.
#[test]
fn a_late_refresh_of_the_old_login_does_not_overwrite() {
    let world = world();
    world.meanwhile(Moment::Before("send"), |world| {
        world.pass(SECOND_MS);
        let begun = begun_by_device(world);
        world.answer(200, &json!({ "access_token": "at-login", "refresh_token": "rt-login", "expires_in": 3600 }));
        poll(world, &begun.state).expect("approved");
        // For the refresh that was about to leave.
        world.answer(200, &tokens());
    });
    let token = world.token().expect("the old login's, for this once");
    assert!(token.warning.is_some_and(|warning| warning.contains("logged in anew")));
    assert_eq!(world.tokens()["refresh_token"], "rt-login");
    assert_eq!(world.token().expect("the new login's").token, Secret::from("at-login"));
}

#[test]
fn what_others_write_while_a_login_arrives_is_kept() {
    let world = world();
    let begun = begun_by_device(&world);
    world.answer(200, &tokens());
    world.meanwhile(Moment::Before("store"), |world| {
        world.write("vault", &json!({ "theirs": 1, "providers": { "acme": login("rt-0") } }).to_string());
    });
    poll(&world, &begun.state).expect("approved");
    assert_eq!((&world.vault()["theirs"], &world.tokens()["refresh_token"]), (&json!(1), &json!("rt-2")));
    assert!(!world.is_still_to_come());
}

#[test]
fn a_logout_tells_the_server_first_and_then_leaves_nothing() {
    let world = world();
    world.answer_text(200, &[], "");
    let left = logout(&world, None, false).expect("logged out");
    assert_eq!(left, LoggedOut { revocation: Revocation::Revoked, message: None });
    assert_eq!(
        (world.sent("token"), world.sent("token_type_hint")),
        (vec!["rt-1".to_owned()], vec!["refresh_token".to_owned()])
    );
    assert_eq!((world.sent("client_id"), world.sent("grant_type")), (vec!["client-1".to_owned()], vec![String::new()]));
    assert_eq!(world.0.urls.borrow()[..], ["https://login.acme.example/revoke"]);
    assert_eq!(world.vault(), json!({ "providers": {} }));
    let deeds = world.0.deeds.borrow().join(", ");
    assert_eq!(deeds, "send, vault.lazaretto durably, vault durably");
    // Whoever puts it back finds it dead.
    world.log_in("rt-1");
    assert_eq!(world.token().expect_err("dead").code, Code::Quarantined);
    assert_eq!(world.requests(), 1);
}

/// A server that does not revoke is told of and keeps nobody logged in here.
#[test]
fn a_failed_revocation_is_reported_and_logs_out_here() {
    for (status, body) in [(503, json!({})), (400, error("unsupported_token_type")), (401, error("invalid_client"))] {
        let world = world();
        let before = world.text("vault");
        world.answer(status, &body);
        let error = logout(&world, None, true).expect_err("kept");
        assert_eq!((error.code, world.text("vault")), (Code::NotRevoked, before));
        world.answer(status, &body);
        let left = logout(&world, Some("login"), false).expect("removed all the same");
        assert!(left.revocation == Revocation::Failed && left.message.is_some(), "{left:?}");
        assert_eq!((world.warnings(), world.vault()), (vec!["not-revoked"], json!({ "providers": {} })));
    }
    let world = world();
    world.fail("timeout", true, 1);
    assert_eq!(logout(&world, None, false).expect("removed").revocation, Revocation::Failed);
    // Nowhere to say it.
    let world = World::new();
    assert_eq!(logout(&world, None, true).expect("removed").revocation, Revocation::NotOffered);
    assert_eq!(world.requests(), 0);
}

#[test]
fn a_logout_waits_for_a_refresh_and_revokes_what_that_brought() {
    let world = world();
    world.0.is_busy.set(true);
    let before = world.text("vault");
    assert_eq!(logout(&world, None, false).expect_err("somebody is refreshing").code, Code::Busy);
    assert_eq!((world.requests(), world.text("vault")), (0, before));
    world.0.is_busy.set(false);
    world.meanwhile(Moment::Before("acquire"), |world| {
        world.answer(200, &tokens());
        world.token().expect("refreshed");
        world.answer_text(200, &[], "");
    });
    assert_eq!(logout(&world, None, false).expect("logged out").revocation, Revocation::Revoked);
    assert_eq!(world.sent("token"), [String::new(), "rt-2".to_owned()]);
}

#[test]
fn only_the_credential_that_is_meant_is_logged_out() {
    let world = world();
    let entry = |id: &str, token: &str| json!({ "id": id, "auth_type": "oauth", "source": "manual:device_code", "access_token": "a", "refresh_token": token });
    let key = json!({ "id": "kkkkkk", "auth_type": "api_key", "source": "manual", "access_token": "sk-1" });
    let vault = json!({ "providers": { "acme": login("rt-1") }, "credential_pool": { "acme": [entry("aaaaaa", "rt-a"), entry("bbbbbb", "rt-b"), key.clone()] } });
    world.write("vault", &vault.to_string());
    world.answer_text(200, &[], "");
    logout(&world, Some("bbbbbb"), false).expect("logged out");
    assert_eq!(world.sent("token"), ["rt-b"]);
    assert_eq!(logout(&world, Some("kkkkkk"), false).expect_err("a key").code, Code::NothingToDo);
    let mut wanted = vault;
    wanted["credential_pool"]["acme"] = json!([entry("aaaaaa", "rt-a"), key]);
    assert_eq!(world.vault(), wanted);
}

/// The origins of logging in are those that something is sent to.
#[test]
fn the_origins_of_a_login_are_those_it_sends_to() {
    let world = world();
    let names = |origins: Result<Vec<String>, KeeperError>| origins.expect("origins");
    let (keepers, logins) =
        (names(now(Keeper::new(world.clone()).origins())), names(now(admin(&world).login_origins())));
    assert!(!keepers.contains(&"https://login.acme.example:443".to_owned()));
    assert!(logins.contains(&"https://login.acme.example:443".to_owned()));
    assert!(keepers.iter().all(|origin| logins.contains(origin)));
    assert!(!logins.contains(&"https://accounts.google.com:443".to_owned()), "that one is for a browser");
}

#[test]
fn codex_is_asked_by_browser_and_told_in_json() {
    let world = World::default();
    world.0.now_ms.set(crate::machine::START_MS);
    let flows = now(admin(&world).login_flows("codex")).expect("flows");
    assert_eq!(flows.len(), 1);
    assert_eq!(flows[0].redirect_url.as_deref(), Some("http://localhost:1455/auth/callback"));
    world.write("vault", &json!({ "providers": { "openai-codex": login("rt-1") } }).to_string());
    world.answer_text(200, &[], "");
    now(admin(&world).logout("vault", "codex", None, true)).expect("logged out");
    let (body, _) = world.0.sent.borrow()[0].clone();
    assert_eq!(
        serde_json::from_str::<Value>(&body).expect("json"),
        json!({ "client_id": "app_EMoamEEZ73f0CkXaXp7hrann", "token": "rt-1", "token_type_hint": "refresh_token" })
    );
}

/// A world whose client has a secret.
fn world_with_secret(more: &Value) -> World {
    let world = world();
    let mut profile = json!({ "client_id": "client-1", "authorization": {
        "device_authorization_endpoint": "https://login.acme.example/device",
        "authorization_endpoint": "https://login.acme.example/authorize",
        "revocation_endpoint": "https://login.acme.example/revoke",
    } });
    for (name, value) in more.as_object().expect("members") {
        profile[name] = value.clone();
    }
    world.profile_with(&profile);
    world
}

/// Of each request that was sent.
fn headers(world: &World, name: &str) -> Vec<Option<String>> {
    let find = |headers: &Vec<(String, String)>| {
        headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    };
    world.0.headers.borrow().iter().map(find).collect()
}

/// Every request of a device login, a refresh, a browser login and a logout.
fn all_requests(world: &World) {
    let begun = begun_by_device(world);
    world.answer(200, &json!({ "access_token": "at", "refresh_token": "rt-2", "expires_in": 1 }));
    poll(world, &begun.state).expect("approved");
    world.pass(2 * SECOND_MS);
    world.answer(200, &tokens());
    world.token().expect("refreshed");
    let begun = start(world, "loopback-pkce").expect("it begins");
    let state = begun.url.split("state=").nth(1).and_then(|rest| rest.split('&').next()).expect("a state").to_owned();
    world.answer(200, &tokens());
    finish(world, &begun.state, &format!("{REDIRECT}?code=c&state={state}")).expect("logged in");
    world.answer_text(200, &[], "");
    logout(world, None, true).expect("logged out");
}

#[test]
fn a_client_with_a_secret_proves_itself_in_every_request() {
    let basic = Some("Basic Y2xpZW50LTE6cy0x".to_owned());
    let world = world_with_secret(&json!({ "client_secret": "s-1" }));
    all_requests(&world);
    assert_eq!(headers(&world, "authorization"), vec![basic.clone(); 5]);
    assert_eq!(
        (world.sent("client_id"), world.sent("client_secret")),
        (vec![String::new(); 5], vec![String::new(); 5])
    );

    let world = world_with_secret(&json!({ "client_secret": "s-1", "client_auth": "body" }));
    all_requests(&world);
    assert_eq!(headers(&world, "authorization"), vec![None; 5]);
    assert_eq!(world.sent("client_secret"), vec!["s-1"; 5]);

    // The host reads it, each time it is needed.
    let world = world_with_secret(&json!({ "client_secret_env": "ACME_SECRET" }));
    world.write("secret/acme", "s-1");
    all_requests(&world);
    assert_eq!(headers(&world, "authorization"), vec![basic; 5]);
}

/// A secret that the host cannot read stops everything before it is sent.
#[test]
fn an_unreadable_client_secret_stops_the_login_before_a_send() {
    let world = world_with_secret(&json!({ "client_secret_command": ["op", "read", "x"] }));
    for flow in ["device-code", "loopback-pkce"] {
        let error = start(&world, flow).expect_err("it has no secret");
        assert_eq!(error.code, Code::ClientSecret, "{error}");
    }
    let error = world.token().expect_err("it has no secret");
    assert_eq!((error.code, error.credential.as_deref()), (Code::ClientSecret, Some("login")));
    world.write("secret/acme", "two\nlines");
    assert_eq!(world.token().expect_err("no secret").code, Code::ClientSecret);
    let before = world.text("vault");
    assert_eq!(logout(&world, None, true).expect_err("kept").code, Code::NotRevoked);
    assert_eq!((world.requests(), world.text("vault")), (0, before));
    // A token that is still good is served.
    world.write(
        "vault",
        &json!({ "providers": { "acme": { "tokens": { "access_token": "at", "refresh_token": "rt",
        "expires_in": 100 }, "last_refresh": "2026-07-20T10:00:00Z" } } })
        .to_string(),
    );
    world.0.now_ms.set(crate::machine::START_MS);
    let served = world.token().expect("it is good for 100 s more");
    assert!(served.token == Secret::from("at") && served.warning.is_none(), "{served:?}");
    world.pass(60 * SECOND_MS);
    let served = world.token().expect("it is good for 40 s more");
    assert!(served.warning.is_some_and(|warning| warning.contains("client_secret_command")));
    assert_eq!(world.requests(), 0);
}

/// A hold ends when the secret changes and status needs no secret to tell it.
#[test]
fn a_hold_ends_with_a_new_secret_and_status_reads_none() {
    let world = world_with_secret(&json!({ "client_secret_file": "secret" }));
    world.write("secret/acme", "wrong");
    world.answer(401, &error("invalid_client"));
    assert_eq!(world.token().expect_err("refused").code, Code::Held);
    assert_eq!(world.token().expect_err("not sent again").code, Code::Held);
    let state = |world: &World| {
        let report = now(Keeper::new(world.clone()).status("vault", Some("acme"))).expect("a status");
        report.credentials[0].state
    };
    assert_eq!((state(&world), world.requests()), ("held", 1));
    world.write("secret/acme", "right");
    assert_eq!(state(&world), "held", "nobody read it yet");
    world.answer(200, &tokens());
    world.token().expect("the client is another");
    assert_eq!(world.requests(), 2);
}

/// A refusal of a client without a secret names the member to write.
#[test]
fn a_refused_client_without_a_secret_names_the_member() {
    let world = world();
    world.answer(401, &error("invalid_client"));
    let said = start(&world, "device-code").expect_err("refused");
    assert!(said.action() == Action::Configure && said.message.contains("`client_secret_file`"), "{said}");
    // Google's words.
    world.answer(400, &json!({ "error": "invalid_request", "error_description": "client_secret is missing." }));
    assert!(start(&world, "device-code").expect_err("refused").message.contains("`client_secret_file`"));
    world.answer(401, &error("invalid_client"));
    assert!(world.token().expect_err("refused").message.contains("`client_secret_file`"));
    let world = world_with_secret(&json!({ "client_secret": "s" }));
    world.answer(401, &error("invalid_client"));
    assert!(!start(&world, "device-code").expect_err("refused").message.contains("`client_secret_file`"));
}

#[test]
fn what_no_time_mends_is_never_said_to_pass() {
    let world = world();
    world.fail("not-allowed", false, 1);
    let begun = start(&world, "device-code").expect_err("nothing may be sent there");
    assert_eq!(begun.code, Code::HostForbids);
    let begun = start(&world, "loopback-pkce").expect("it begins");
    let state = begun.url.split("state=").nth(1).and_then(|rest| rest.split('&').next()).expect("a state").to_owned();
    world.fail("not-allowed", false, 1);
    let error = finish(&world, &begun.state, &format!("{REDIRECT}?code=c&state={state}")).expect_err("not allowed");
    assert_eq!(error.action(), Action::Configure);
}

#[test]
fn a_failing_server_is_named_and_not_taken_for_a_proxy() {
    for (kind, body) in
        [("application/json", "{}"), ("text/html", "<html>Server Error (500)</html>"), ("text/plain", "")]
    {
        let world = world();
        world.answer_text(500, &[("content-type", kind)], body);
        let said = start(&world, "device-code").expect_err("no login");
        assert_eq!(said.code, Code::LoginUnavailable, "{said}");
        let wanted = "https://login.acme.example answered HTTP 500";
        assert!(said.message.contains(wanted) && !said.message.contains("firewall"), "{said}");
    }
}

#[test]
fn a_login_with_a_label_becomes_an_entry_beside_the_login() {
    let world = world();
    let begin = |label: &str| {
        world.answer(200, &device());
        let begun = now(admin(&world).login_start("vault", "acme", "device-code", None, Some(label)));
        begun.expect("it begins").state
    };
    let before = world.vault()["providers"].clone();
    for (token, label) in [("rt-a", "work"), ("rt-b", "home"), ("rt-c", "WORK")] {
        let state = begin(label);
        world.answer(200, &json!({ "access_token": "at", "refresh_token": token, "expires_in": 3600, "scope": "a" }));
        let done = poll(&world, &state).expect("approved").done.expect("it is done");
        assert_ne!(done.credential, "login");
    }
    let vault = world.vault();
    assert_eq!(vault["providers"], before, "the provider's own login is as it was");
    let entries = vault["credential_pool"]["acme"].as_array().expect("a pool");
    let found: Vec<_> =
        entries.iter().map(|entry| (&entry["label"], &entry["refresh_token"], &entry["scope"])).collect();
    let (work, home, a) = (json!("WORK"), json!("home"), json!("a"));
    assert_eq!(found, [(&work, &json!("rt-c"), &a), (&home, &json!("rt-b"), &a)]);
}

/// Google's installed app and GitHub's web flow, as docs/providers.md has them.
#[test]
fn the_documented_clients_with_a_secret_offer_a_login() {
    let page = include_str!("../../docs/providers.md");
    let mut blocks = page.split("```json\n").skip(1).filter_map(|rest| rest.split("```").next());
    let profiles = blocks.find(|block| block.contains("client_secret_file")).expect("the example");
    let world = World::new();
    world.write("providers.json", profiles);
    for provider in ["google", "github"] {
        let flows = now(admin(&world).login_flows(provider)).expect("the profile is good");
        let flows: Vec<_> = flows.iter().map(|flow| flow.flow).collect();
        assert_eq!(flows, ["loopback-pkce"], "{provider}");
        world.write(&format!("secret/{provider}"), "s");
        let begun = now(admin(&world).login_start("vault", provider, "loopback-pkce", Some(REDIRECT), None));
        assert!(begun.expect("it begins").url.contains("code_challenge="), "{provider}");
    }
}

/// A label that a login cannot have is refused before anybody logs in.
#[test]
fn a_bad_label_is_refused_before_the_login() {
    let world = world();
    let key =
        json!({ "id": "kkkkkk", "label": "work", "auth_type": "api_key", "source": "manual", "access_token": "sk-1" });
    world.write(
        "vault",
        &json!({ "providers": { "acme": login("rt-1") }, "credential_pool": { "acme": [key] } }).to_string(),
    );
    for label in ["work", "login"] {
        let begun = now(admin(&world).login_start("vault", "acme", "device-code", None, Some(label)));
        assert_eq!(begun.expect_err("the name is taken").code, Code::BadRequest, "{label}");
    }
    assert_eq!(world.requests(), 0);
}
