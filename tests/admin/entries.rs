//! A person adds and removes credentials: each entry as the reference writes it, and not a byte of anything else changed.

use crate::machine::{World, login, now, tokens};
use lazaretto::admin::Admin;
use lazaretto::admin::add::{More, NewCredential};
use lazaretto::error::{Code, KeeperError};
use lazaretto::secret::Secret;
use lazaretto::status::CredentialStatus;
use serde_json::{Value, json};

/// A token that claims this.
fn jwt(claims: &Value) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut payload = String::new();
    for chunk in claims.to_string().as_bytes().chunks(3) {
        let bits = chunk.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for at in 0..=chunk.len() {
            payload.push(char::from(DIGITS[(bits >> (18 - 6 * at)) as usize & 63]));
        }
    }
    format!("e30.{payload}.c2ln")
}

fn key(provider: &str, key: &str) -> NewCredential {
    NewCredential {
        vault: "vault".into(),
        provider: provider.into(),
        label: None,
        kind: None,
        access_token: Secret::from(key),
        refresh_token: None,
        expires_in_s: None,
        more: More::default(),
    }
}

fn oauth(provider: &str, access: &str, refresh: &str) -> NewCredential {
    NewCredential { refresh_token: Some(Secret::from(refresh)), expires_in_s: Some(3600), ..key(provider, access) }
}

fn add(world: &World, new: &NewCredential) -> Result<CredentialStatus, KeeperError> {
    now(Admin::new(world.clone()).add(new))
}

fn remove(world: &World, provider: &str, credential: Option<&str>) -> Result<(), KeeperError> {
    now(Admin::new(world.clone()).remove("vault", provider, credential))
}

fn pool(world: &World, provider: &str) -> Vec<Value> {
    world.vault()["credential_pool"][provider].as_array().expect("a pool").clone()
}

fn keys(entry: &Value) -> Vec<String> {
    entry.as_object().expect("an entry").keys().cloned().collect()
}

const REFERENCES: &str = r#"{
  "version": 1,
  "updated_at": "2026-07-20T10:00:00.123456+00:00",
  "providers": {},
  "credential_pool": {
    "xai-oauth": [
      {
        "id": "a1b2c3",
        "label": "first",
        "auth_type": "oauth",
        "priority": 3,
        "source": "manual:device_code",
        "access_token": "at-1",
        "refresh_token": "rt-1",
        "mine" : 1.50
      }
    ]
  },
  "other": [ 1,2 ]
}
"#;

/// A key makes a vault with the entry that the reference would have written.
#[test]
fn a_first_key_makes_the_vault_the_reference_would_write() {
    let world = World::default();
    let status = add(&world, &key("anthropic", "sk-test-1")).expect("added");
    assert_eq!((status.state, status.label.as_str(), status.credential.len()), ("key", "api-key-1", 6));
    let vault = world.vault();
    assert_eq!((&vault["version"], &vault["providers"]), (&json!(1), &json!({})));
    let entry = pool(&world, "anthropic").remove(0);
    assert_eq!(
        entry,
        json!({ "id": status.credential, "label": "api-key-1", "auth_type": "api_key", "priority": 0, "source": "manual",
            "access_token": "sk-test-1", "last_status": null, "last_status_at": null, "last_error_code": null,
            "last_error_reason": null, "last_error_message": null, "last_error_reset_at": null,
            "base_url": "https://api.anthropic.com", "request_count": 0 })
    );
    assert_eq!(keys(&entry)[..6], ["id", "label", "auth_type", "priority", "source", "access_token"]);
    assert_eq!(world.0.deeds.borrow()[..], ["vault durably"]);
}

#[test]
fn a_login_is_added_after_the_others_and_every_other_byte_stays() {
    let world = World::default();
    world.0.now_ms.set(crate::machine::START_MS);
    world.write("vault", REFERENCES);
    let token = jwt(&json!({ "sub": "s-2", "email": "b@example.com" }));
    let status = add(&world, &oauth("xai", &token, "rt-2")).expect("added");
    assert_eq!((status.state, status.label.as_str()), ("valid", "b@example.com"));
    let entry = pool(&world, "xai-oauth").remove(1);
    assert_eq!((&entry["priority"], &entry["source"]), (&json!(4), &json!("manual:device_code")));
    assert_eq!((&entry["auth_type"], &entry["refresh_token"]), (&json!("oauth"), &json!("rt-2")));
    assert_eq!((&entry["expires_in"], &entry["last_refresh"]), (&json!(3600), &json!("2026-07-20T10:00:00.000000Z")));
    assert_eq!((&entry["last_status"], &entry["base_url"]), (&Value::Null, &json!("https://api.x.ai/v1")));
    // Taken out again, the text is what it was.
    remove(&world, "xai", Some("b@example.com")).expect("removed");
    assert_eq!(world.text("vault"), REFERENCES);
}

/// A login of a known account replaces its entry and clears its status.
#[test]
fn a_login_of_a_known_account_replaces_its_entry() {
    let world = World::default();
    let of = |sub: &str, n: u32| jwt(&json!({ "iss": "https://auth.x.ai", "sub": sub, "n": n }));
    let first = add(&world, &oauth("xai-oauth", &of("s-1", 1), "rt-1")).expect("added");
    let second = add(&world, &oauth("xai-oauth", &of("s-2", 1), "rt-2")).expect("added");
    assert_ne!(first.credential, second.credential);
    let marked = world.text("vault").replacen("\"last_status\": null", "\"last_status\": \"dead\", \"mine\":0.10", 1);
    world.write("vault", &marked);
    let again = add(&world, &oauth("xai-oauth", &of("s-1", 2), "rt-9")).expect("replaced");
    assert_eq!((&again.credential, again.state), (&first.credential, "valid"));
    let pool = pool(&world, "xai-oauth");
    assert_eq!(pool.len(), 2);
    assert_eq!((&pool[0]["refresh_token"], &pool[0]["last_status"]), (&json!("rt-9"), &json!("ok")));
    assert_eq!((&pool[0]["priority"], &pool[1]["refresh_token"]), (&json!(0), &json!("rt-2")));
    assert!(world.text("vault").contains("\"mine\":0.10"));
}

/// What does not say whose it is is never merged nor is another workspace of one person.
#[test]
fn logins_of_unknown_or_other_accounts_are_never_merged() {
    let world = World::default();
    for (access, refresh) in
        [("opaque-1", "rt-1"), ("opaque-2", "rt-2"), ("e30.e30.c2ln", "rt-3"), ("e30.e30.x", "rt-4")]
    {
        add(&world, &oauth("openai-codex", access, refresh)).expect("added");
    }
    for account in ["personal", "team"] {
        let claims = json!({ "sub": "s", "https://api.openai.com/auth": { "chatgpt_account_id": account } });
        add(&world, &oauth("openai-codex", &jwt(&claims), account)).expect("added");
    }
    let pool = pool(&world, "openai-codex");
    assert_eq!(pool.len(), 6);
    let labels: Vec<_> = pool.iter().map(|entry| entry["label"].as_str().expect("a label")).collect();
    assert_eq!(labels[..2], ["openai-codex-oauth-1", "openai-codex-oauth-2"]);
    let mut ids: Vec<_> = pool.iter().map(|entry| entry["id"].as_str().expect("an id")).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 6, "although the random numbers are all the same");
}

/// An entry that a quarantine emptied is known by what is sealed of it.
#[test]
fn an_entry_emptied_by_a_quarantine_is_recognised() {
    let world = World::default();
    world.0.now_ms.set(crate::machine::START_MS);
    world.profile("client-1");
    let token = |n: u32| jwt(&json!({ "sub": "s-1", "exp": n }));
    let new = NewCredential { expires_in_s: None, ..oauth("acme", &token(1), "rt-1") };
    let id = add(&world, &new).expect("added").credential;
    world.answer(400, &json!({ "error": "invalid_grant" }));
    world.token().expect_err("refused");
    assert!(pool(&world, "acme")[0].get("access_token").is_none());
    let again = add(&world, &oauth("acme", &token(1_800_000_000), "rt-2")).expect("replaced");
    assert_eq!((again.credential, again.state), (id, "valid"));
    assert_eq!(pool(&world, "acme").len(), 1);
}

#[test]
fn a_label_is_what_the_token_calls_its_person() {
    for (claims, label) in [
        (json!({ "sub": "s", "upn": "u@x", "preferred_username": "p", "email": "e@x" }), "e@x"),
        (json!({ "sub": "s", "upn": "u@x", "preferred_username": "p" }), "p"),
        (json!({ "sub": "s", "upn": "u@x" }), "u@x"),
        (json!({ "sub": "s" }), "xai-oauth-oauth-1"),
    ] {
        let status = add(&World::default(), &oauth("xai-oauth", &jwt(&claims), "rt-1")).expect("added");
        assert_eq!(status.label, label);
    }
}

#[test]
fn a_dead_token_that_a_person_brings_again_may_be_sent_again() {
    let world = World::new();
    world.answer(400, &json!({ "error": "invalid_grant" }));
    world.token().expect_err("refused");
    assert_eq!(world.requests(), 1);
    let new = NewCredential { expires_in_s: None, ..oauth("acme", "", "rt-1") };
    let status = add(&world, &new).expect("added");
    assert_eq!(status.kind, lazaretto::vault::CredentialKind::OAuth);
    world.answer(200, &tokens());
    world.token().expect("sent once more");
    assert_eq!(world.sent("refresh_token"), ["rt-1", "rt-1"]);
}

#[test]
fn a_number_that_another_entry_has_is_not_given_again() {
    let world = World::default();
    for name in ["sk-1", "sk-2"] {
        add(&world, &key("anthropic", name)).expect("added");
    }
    remove(&world, "anthropic", Some("api-key-1")).expect("removed");
    assert_eq!(add(&world, &key("anthropic", "sk-3")).expect("added").label, "api-key-3");
}

#[test]
fn a_spent_token_is_refused_and_so_is_what_is_there_already() {
    let world = World::new();
    world.answer(200, &tokens());
    world.token().expect("refreshed");
    let before = world.text("vault");
    let error = add(&world, &oauth("acme", "at", "rt-1")).expect_err("spent");
    assert!(error.code == Code::BadRequest && error.message.contains("gave another"), "{error}");
    let error = add(&world, &oauth("acme", "at-new", "rt-2")).expect_err("the login's own");
    assert_eq!((error.code, error.credential.as_deref()), (Code::NothingToDo, Some("login")));
    assert_eq!(world.text("vault"), before);
    add(&world, &key("acme", "sk-1")).expect("a key");
    let error = add(&world, &key("acme", "sk-1")).expect_err("the same key");
    assert_eq!(error.code, Code::NothingToDo);
}

#[test]
fn what_is_no_credential_is_refused_without_showing_it() {
    let world = World::default();
    let labelled = |label: &str, new| NewCredential { label: Some(label.into()), ..new };
    add(&world, &labelled("Work", key("anthropic", "sk-0"))).expect("added");
    let before = world.text("vault");
    for (new, wanted) in [
        (key("anthropic", ""), "no token"),
        (key("anthropic", "secret secret"), "one word"),
        (key("anthropic", &"secret".repeat(20_000)), "too long"),
        (NewCredential { kind: Some("api-key".into()), ..oauth("anthropic", "secret", "r") }, "no refresh token"),
        (NewCredential { kind: Some("cookie".into()), ..key("anthropic", "secret") }, "`oauth` or `api-key`"),
        (labelled("work", key("anthropic", "secret")), "choose another"),
        (oauth("nobody-knows", "secret", "r"), "no provider"),
    ] {
        let error = add(&world, &new).expect_err(wanted);
        assert_eq!(
            error.code,
            if wanted == "no provider" { Code::UnknownProvider } else { Code::BadRequest },
            "{error}"
        );
        assert!(error.message.contains(wanted) && !error.message.contains("secret"), "{error}");
    }
    let wrong_vault = NewCredential { vault: "../x".into(), ..key("anthropic", "k") };
    assert_eq!(add(&world, &wrong_vault).expect_err("no name").code, Code::BadRequest);
    assert_eq!(world.text("vault"), before);
    for (text, code) in [("{", Code::CorruptVault), (r#"{"credential_pool":{"anthropic":{}}}"#, Code::CorruptVault)] {
        world.write("vault", text);
        assert_eq!(add(&world, &key("anthropic", "sk-9")).expect_err("corrupt").code, code);
        assert_eq!(world.text("vault"), text);
    }
}

#[test]
fn what_another_writes_meanwhile_is_kept() {
    let world = World::default();
    world.write("vault", REFERENCES);
    world.meanwhile(crate::machine::Moment::Before("store"), |world| {
        world.write("vault", &REFERENCES.replace("[ 1,2 ]", "[ 3 ]"));
    });
    add(&world, &key("xai", "sk-1")).expect("added");
    assert!(world.text("vault").contains("[ 3 ]") && pool(&world, "xai-oauth").len() == 2);
    assert!(!world.is_still_to_come());
}

/// A removed login takes its copies with it and is not seeded again.
#[test]
fn a_removed_login_takes_its_copies_and_stays_removed() {
    let world = World::default();
    let entry = |id: &str, source: &str, token: &str| json!({ "id": id, "label": id, "auth_type": "oauth", "source": source, "access_token": "a", "refresh_token": token });
    let vault = json!({
        "active_provider": "xai-oauth",
        "providers": { "xai-oauth": login("rt-1"), "other": { "n": 1 } },
        "credential_pool": { "xai-oauth": [
            entry("aaaaaa", "device_code", "rt-1"), entry("bbbbbb", "manual:device_code", "rt-2"), entry("cccccc", "manual", "rt-3")] },
    });
    for named in ["login", "aaaaaa"] {
        world.write("vault", &vault.to_string());
        remove(&world, "xai", Some(named)).expect("removed");
        let mut wanted = vault.clone();
        wanted["providers"].as_object_mut().expect("logins").remove("xai-oauth");
        wanted["credential_pool"]["xai-oauth"].as_array_mut().expect("a pool").remove(0);
        wanted["suppressed_sources"] = json!({ "xai-oauth": ["device_code"] });
        assert_eq!(world.vault(), wanted, "{named}");
    }
    // A manual entry goes alone: the login of the same provider is another grant.
    world.write("vault", &vault.to_string());
    remove(&world, "xai", Some("BBBBBB")).expect("removed by its label");
    let mut wanted = vault.clone();
    wanted["credential_pool"]["xai-oauth"].as_array_mut().expect("a pool").remove(1);
    assert_eq!(world.vault(), wanted);
}

/// An entry that its program would find again is suppressed by its source.
#[test]
fn an_entry_its_program_would_find_again_is_suppressed() {
    let world = World::default();
    let entry =
        |id: &str, source: &str| json!({ "id": id, "auth_type": "api_key", "source": source, "access_token": id });
    let pool = json!([entry("aaaaaa", "env:A_KEY"), entry("bbbbbb", "env:B_KEY")]);
    world.write(
        "vault",
        &json!({ "suppressed_sources": { "anthropic": ["env:A_KEY"] }, "credential_pool": { "anthropic": pool } })
            .to_string(),
    );
    remove(&world, "anthropic", Some("aaaaaa")).expect("removed");
    remove(&world, "anthropic", None).expect("the only one need not be named");
    assert_eq!(world.vault()["suppressed_sources"], json!({ "anthropic": ["env:A_KEY", "env:B_KEY"] }));
    assert_eq!(world.vault()["credential_pool"], json!({ "anthropic": [] }));
}

#[test]
fn who_is_not_named_clearly_is_not_removed() {
    let world = World::default();
    let entry = |id: &str, label: &str| json!({ "id": id, "label": label, "auth_type": "api_key", "access_token": id });
    let pool = json!([entry("aaaaaa", "work"), entry("bbbbbb", "Work"), entry("cccccc", "aaaaaa")]);
    world.write("vault", &json!({ "credential_pool": { "anthropic": pool } }).to_string());
    let before = world.text("vault");
    for (named, code) in
        [(None, Code::BadRequest), (Some("work"), Code::BadRequest), (Some("none"), Code::UnknownCredential)]
    {
        let error = remove(&world, "anthropic", named).expect_err("not clear");
        assert!(error.code == code && error.message.contains("bbbbbb"), "{error}");
    }
    assert_eq!(remove(&world, "xai", None).expect_err("none").code, Code::NoCredential);
    assert_eq!(world.text("vault"), before);
    remove(&world, "anthropic", Some("aaaaaa")).expect("an id goes before a label");
    assert_eq!(self::pool(&world, "anthropic").len(), 2);
}

/// With a credential goes what is sealed of it even if the vault has no trace of it.
#[test]
fn a_removed_credential_takes_its_sealed_tokens() {
    for is_gone in [false, true] {
        let world = World::new();
        world.answer(400, &json!({ "error": "invalid_grant" }));
        world.token().expect_err("refused");
        assert!(world.text("vault.lazaretto-sealed").contains("rt-1"));
        if is_gone {
            world.write("vault", "{}");
        }
        remove(&world, "acme", Some("login")).expect("removed");
        assert!(!world.text("vault.lazaretto-sealed").contains("rt-1"));
        assert!(world.text("vault.lazaretto").contains("dead"), "what is known of the token stays known");
    }
}

#[test]
fn a_key_takes_the_place_of_one_only_where_it_should() {
    let world = World::default();
    let labelled = |secret: &str, label: &str, replace: bool| NewCredential {
        label: Some(label.into()),
        more: More { replace, ..More::default() },
        ..key("anthropic", secret)
    };
    let first = add(&world, &labelled("sk-1", "work", true)).expect("there is none of that name yet");
    assert_eq!(add(&world, &labelled("sk-2", "work", false)).expect_err("the name is taken").code, Code::BadRequest);
    let second = add(&world, &labelled("sk-2", "Work", true)).expect("replaced");
    assert_eq!((&second.credential, second.label.as_str()), (&first.credential, "work"));
    assert_eq!(add(&world, &labelled("sk-2", "work", true)).expect("it is so already").credential, first.credential);
    assert_eq!(pool(&world, "anthropic").len(), 1);
    assert_eq!(pool(&world, "anthropic")[0]["access_token"], "sk-2");
    let only = NewCredential { more: More { replace: true, ..More::default() }, ..key("anthropic", "sk-3") };
    assert_eq!(add(&world, &only).expect("the only key").credential, first.credential);
    add(&world, &labelled("sk-4", "home", false)).expect("a second");
    let only = NewCredential { access_token: Secret::from("sk-5"), ..only };
    assert_eq!(add(&world, &only).expect_err("which?").code, Code::BadRequest);
    assert_eq!(add(&world, &labelled("sk-4", "work", true)).expect_err("it is `home`").code, Code::BadRequest);
    let login = NewCredential { label: Some("work".into()), more: only.more, ..oauth("anthropic", "at", "rt") };
    assert_eq!(add(&world, &login).expect_err("a login is no key").code, Code::BadRequest);
    let kept: Vec<_> = pool(&world, "anthropic").iter().map(|entry| entry["access_token"].clone()).collect();
    assert_eq!(kept, ["sk-3", "sk-4"]);
}

#[test]
fn what_is_told_of_tokens_is_kept_or_compared_with_the_profile() {
    let world = World::new();
    let with = |more: More| NewCredential { more, ..oauth("acme", "at-9", "rt-9") };
    let told = More {
        scope: Some("a b".into()),
        token_type: Some("Bearer".into()),
        id_token: Some(Secret::from("it")),
        ..More::default()
    };
    add(&world, &with(told)).expect("added");
    let entry = pool(&world, "acme").remove(0);
    assert_eq!(
        (&entry["scope"], &entry["token_type"], &entry["id_token"]),
        (&json!("a b"), &json!("Bearer"), &json!("it"))
    );
    let before = world.text("vault");
    for more in [
        More { client_id: Some("another".into()), ..More::default() },
        More { client_secret: Some(Secret::from("s")), ..More::default() },
        More { token_endpoint: Some("https://evil.example/token".into()), ..More::default() },
    ] {
        let error = add(&world, &with(more)).expect_err("the profile says otherwise");
        assert_eq!(error.code, Code::BadProfile, "{error}");
    }
    assert_eq!(world.text("vault"), before);
    world.profile_with(&json!({ "client_id": "c-9", "client_secret": "s" }));
    let fits = More {
        client_id: Some("c-9".into()),
        client_secret: Some(Secret::from("s")),
        token_endpoint: Some("https://acme.example/token".into()),
        replace: true,
        ..More::default()
    };
    add(&world, &with(fits)).expect("it is the profile's client");
    assert!(!world.text("vault").contains("c-9") && !world.text("vault").contains("client_secret"));
}
