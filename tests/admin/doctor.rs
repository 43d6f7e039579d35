//! A person has a vault looked over: each kind of trouble is found, with the command that mends it, and a healthy vault has none.

use crate::machine::{DAY_MS, START_MS, World, now};
use lazaretto::admin::Admin;
use lazaretto::admin::doctor::{Finding, FindingCode, Level};
use lazaretto::state::fingerprint::Fingerprint;
use serde_json::{Value, json};

const ENDPOINT: &str = "https://acme.example/token";
const OLD: &str = "2026-07-20T09:30:00Z";

fn findings_with(world: &World, ask_servers: bool) -> Vec<Finding> {
    let (stores, sent) = (world.0.deeds.borrow().len(), world.requests());
    let found = now(Admin::new(world.clone()).doctor("vault", ask_servers)).expect("findings");
    let deeds = world.0.deeds.borrow().len() - stores;
    assert_eq!(deeds, world.requests() - sent, "it reads only");
    for finding in &found {
        // Every token and key of these worlds begins so; members of profiles are called `client_secret`, and more.
        let said = format!("{finding:?}");
        assert!(!["secret-", "secret at", "secret1", "secret2"].iter().any(|one| said.contains(one)), "{finding:?}");
    }
    found
}

fn findings(world: &World) -> Vec<Finding> {
    findings_with(world, false)
}

/// The one finding of a kind.
fn the(world: &World, code: &str) -> Finding {
    let found = findings(world);
    let mut of_it = found.iter().filter(|finding| finding.code.as_str() == code);
    let first = of_it.next().unwrap_or_else(|| panic!("no {code} in {found:#?}")).clone();
    assert!(of_it.next().is_none(), "{code} twice in {found:#?}");
    first
}

#[track_caller]
fn expect(world: &World, code: &str, level: Level, said: &str, fix: Option<&str>) {
    expect_or(world, code, level, said, fix, None);
}

#[track_caller]
fn expect_or(world: &World, code: &str, level: Level, said: &str, fix: Option<&str>, alternative: Option<&str>) {
    let finding = the(world, code);
    let commands = (finding.fix.as_deref(), finding.alternative.as_deref());
    assert_eq!((finding.level, commands), (level, (fix, alternative)), "{finding:?}");
    assert!(finding.message.contains(said), "{finding:?}");
    // And nothing of the kind where it is not so.
    assert!(!codes(&findings(&healthy())).contains(&code));
}

fn codes(found: &[Finding]) -> Vec<&'static str> {
    found.iter().map(|finding| finding.code.as_str()).collect()
}

/// What is not well.
fn troubles(world: &World) -> Vec<Finding> {
    findings(world).into_iter().filter(|finding| finding.level != Level::Ok).collect()
}

fn acme() -> Value {
    json!({ "tokens": { "access_token": "secret-at-1", "refresh_token": "secret-rt-1", "expires_in": 3600 }, "last_refresh": OLD })
}

fn entry(id: &str, access: &str, refresh: &str) -> Value {
    json!({ "id": id, "label": id, "auth_type": "oauth", "source": "manual:device_code", "priority": 1,
        "access_token": access, "refresh_token": refresh, "expires_in": 3600, "last_refresh": OLD, "request_count": 0 })
}

/// A login and two entries, all good for half an hour.
fn vault() -> Value {
    json!({
        "version": 1,
        "providers": { "acme": acme() },
        "credential_pool": {
            "acme": [entry("aa", "secret-at-2", "secret-rt-2"), entry("bb", "secret-at-3", "secret-rt-3")],
            "openrouter": [{ "id": "cc", "auth_type": "api_key", "source": "manual", "access_token": "secret-key" }],
        },
    })
}

fn with(vault: &Value) -> World {
    let world = World::default();
    world.0.now_ms.set(START_MS);
    world.write("vault", &vault.to_string());
    profile(&world, &json!({}));
    ledger(&world, &json!({}));
    world
}

fn profile(world: &World, more: &Value) {
    let mut profile = json!({ "token_endpoint": ENDPOINT, "client_id": "client-1", "login_hint": "acme login" });
    profile.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    world.write("providers.json", &json!({ "profiles": { "acme": profile } }).to_string());
}

fn ledger(world: &World, tokens: &Value) {
    let text = json!({ "schema": 1, "about": "", "pruned_at_ms": START_MS, "tokens": tokens });
    world.write("vault.lazaretto", &text.to_string());
}

fn sealed(world: &World, quarantined: &Value, successors: &Value) {
    let text = json!({ "schema": 1, "about": "", "quarantined": quarantined, "successors": successors });
    world.write("vault.lazaretto-sealed", &text.to_string());
}

fn healthy() -> World {
    with(&vault())
}

fn changed(change: impl FnOnce(&mut Value)) -> World {
    let mut vault = vault();
    change(&mut vault);
    with(&vault)
}

fn token(name: &str) -> String {
    Fingerprint::of(name).as_str().to_owned()
}

/// What the ledger knows of a token of acme.
fn record(name: &str, more: &Value) -> (String, Value) {
    let mut record = json!({ "provider": "acme", "endpoint": ENDPOINT, "client": "client-1", "generation": 0,
        "lineage": token(name), "changed_at_ms": START_MS - DAY_MS, "state": "live" });
    record.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    (token(name), record)
}

fn known(records: &[(&str, Value)]) -> World {
    let world = healthy();
    let records = records.iter().map(|(name, more)| record(name, more));
    ledger(&world, &Value::Object(records.collect()));
    world
}

#[test]
fn a_healthy_vault_has_nothing_but_ok() {
    let found = findings(&healthy());
    assert!(found.iter().all(|finding| finding.level == Level::Ok), "{found:#?}");
    assert_eq!(found.last().map(|finding| finding.code), Some(FindingCode::Healthy));
}

#[test]
fn what_lazaretto_itself_writes_is_healthy() {
    let world = World::new();
    world.answer(200, &crate::machine::tokens());
    world.token().expect("refreshed");
    let found = findings(&world);
    assert!(found.iter().all(|finding| finding.level == Level::Ok), "{found:#?}");
}

#[test]
fn a_vault_that_is_not_there_or_is_none_is_said() {
    let world = World::default();
    assert_eq!((the(&world, "vault-absent").level, findings(&world).len() > 1), (Level::Error, true));
    let world = healthy();
    world.write("vault", "{ broken");
    assert_eq!(the(&world, "vault-unreadable").level, Level::Error);
    // What is beside it is looked at all the same.
    assert_eq!(the(&world, "ledger").level, Level::Ok);
}

#[test]
fn settings_and_profiles_that_cannot_be_read_are_said() {
    let world = healthy();
    world.write("settings.json", "[]x");
    assert_eq!(the(&world, "settings-unreadable").level, Level::Error);
    for wrong in
        [json!({ "owned": true }), json!({ "owner": 7 }), json!({ "pools": { "acme": { "strategy": "best" } } })]
    {
        let world = healthy();
        world.write("settings.json", &wrong.to_string());
        expect(&world, "settings-unreadable", Level::Error, "settings", None);
    }
    let world = healthy();
    world.write("providers.json", "[]x");
    assert_eq!(the(&world, "profiles-unreadable").level, Level::Error);
    let world = healthy();
    profile(&world, &json!({ "token_endpoint": "http://acme.example/token" }));
    expect(&world, "profile-wrong", Level::Error, "not https", None);
}

#[test]
fn a_ledger_that_cannot_be_used_is_set_aside() {
    let world = healthy();
    world.write("vault.lazaretto", "{}x");
    expect(&world, "ledger-unreadable", Level::Error, "Set aside", Some("mv -n vault.lazaretto vault.lazaretto.aside"));
    world.write("vault.lazaretto", r#"{"schema":2,"tokens":{}}"#);
    let aside = Some("mv -n vault.lazaretto vault.lazaretto.aside");
    expect_or(&world, "ledger-newer", Level::Error, "newer", None, aside);
    // One record of it is enough.
    let world = known(&[("x", json!({ "state": "undead" }))]);
    expect(&world, "ledger-unreadable", Level::Error, "Set aside", Some("mv -n vault.lazaretto vault.lazaretto.aside"));
}

#[test]
fn a_sealed_document_that_cannot_be_used_is_set_aside() {
    let world = healthy();
    world.write("vault.lazaretto-sealed", "no");
    let fix = "mv -n vault.lazaretto-sealed vault.lazaretto-sealed.aside";
    expect(&world, "sealed-unreadable", Level::Error, "put back", Some(fix));
}

/// A pool document that cannot be read is found although nothing fails by it.
#[test]
fn an_unreadable_pool_document_is_found() {
    let world = healthy();
    world.write("vault.lazaretto-pool", "{ half");
    let fix = "mv -n vault.lazaretto-pool vault.lazaretto-pool.aside";
    expect(&world, "pool-unreadable", Level::Warning, "the pool document", Some(fix));
}

#[test]
fn a_ledger_that_was_lost_is_missed() {
    let lost = |vault: &Value| {
        let world = World::default();
        world.0.now_ms.set(START_MS);
        world.write("vault", &vault.to_string());
        profile(&world, &json!({}));
        world
    };
    let world = lost(&vault());
    assert!(!codes(&findings(&world)).contains(&"ledger-lost"));
    sealed(&world, &json!({}), &json!({}));
    expect(&world, "ledger-lost", Level::Warning, "sealed document", Some("ls -la vault.lazaretto*"));
    let error = json!({ "code": "invalid_grant", "message": "m", "reason": "r" });
    let world = lost(&json!({ "providers": { "acme": { "tokens": {}, "last_auth_error": error } } }));
    expect(&world, "ledger-lost", Level::Warning, "login of acme", Some("ls -la vault.lazaretto*"));
}

#[test]
fn a_send_of_which_nobody_knows_the_end_is_found_after_an_hour() {
    let open = |ago_ms: u64| json!({ "intent": { "nonce": "n", "since_ms": START_MS - ago_ms, "sent_at_ms": START_MS - ago_ms, "sends": 1 } });
    let world = known(&[("secret-rt-1", open(4_000_000))]);
    expect(&world, "intent-stale", Level::Warning, "acme: 1 refresh", Some("lazaretto refresh acme"));
    let world = known(&[("secret-rt-1", open(3_000_000))]);
    assert!(!codes(&findings(&world)).contains(&"intent-stale"));
    let world = known(&[("gone", open(4_000_000))]);
    expect(&world, "intent-over", Level::Ok, "they are over", None);
}

fn tombstone(ago_ms: u64) -> Value {
    json!({ "at_ms": START_MS - ago_ms, "reason": "refresh-refused", "status": 400, "code": "invalid_grant",
        "summary": "" })
}

#[test]
fn a_dead_token_that_lies_in_the_vault_again_is_found() {
    let world = known(&[("secret-rt-2", json!({ "state": "dead", "tombstone": tombstone(60_000) }))]);
    // The provider has a login that is alive: a new one would end that.
    let or = Some("lazaretto remove acme --credential=aa");
    expect_or(&world, "token-dead", Level::Error, "manual:device_code", None, or);
    let world = known(&[("secret-rt-1", json!({ "state": "dead", "tombstone": tombstone(60_000) }))]);
    expect(&world, "token-dead", Level::Error, "acme (login)", Some("acme login"));
    // Beside an access token that was issued since it is a new login at a server that gives the same one again.
    let world = known(&[("secret-rt-1", json!({ "state": "dead", "tombstone": tombstone(DAY_MS) }))]);
    assert!(!codes(&findings(&world)).contains(&"token-dead"));
}

#[test]
fn a_spent_token_is_found_and_whether_its_successor_is_there() {
    let spent = |successor: &str| json!({ "state": "spent", "successor": token(successor) });
    let world = known(&[("secret-rt-2", spent("nowhere"))]);
    let or = Some("lazaretto remove acme --credential=aa");
    expect_or(&world, "token-spent", Level::Error, "is nowhere", None, or);
    let world = known(&[("secret-rt-1", spent("nowhere"))]);
    expect(&world, "token-spent", Level::Error, "is nowhere", Some("acme login"));
    let after = json!({ "parent": token("secret-rt-2"), "lineage": token("secret-rt-2"), "generation": 1 });
    let world = known(&[("secret-rt-2", spent("secret-rt-3")), ("secret-rt-3", after)]);
    expect(&world, "token-spent", Level::Warning, "elsewhere", Some("lazaretto refresh acme --credential=aa"));
}

#[test]
fn what_is_held_until_somebody_says_so_is_found() {
    let pause = json!({ "kind": "parked", "failures": 9, "code": "odd", "summary": "", "at_ms": START_MS - 1 });
    let world = known(&[("secret-rt-2", json!({ "pause": pause }))]);
    expect_or(&world, "held", Level::Warning, "odd", None, Some("lazaretto reset acme --credential=aa"));
}

#[test]
fn a_dead_entry_is_found() {
    let world = changed(|vault| {
        vault["credential_pool"]["acme"][1]["last_status"] = json!("dead");
        vault["credential_pool"]["acme"][1]["last_error_code"] = json!("invalid_grant");
    });
    let or = Some("lazaretto remove acme --credential=bb");
    expect_or(&world, "entry-dead", Level::Warning, "acme (bb): it is marked dead (invalid_grant)", None, or);
}

#[test]
fn a_login_that_ended_and_left_nothing_to_put_back_is_found() {
    let error = json!({ "code": "invalid_grant", "message": "m", "reason": "r" });
    let world = changed(|vault| vault["providers"]["acme"] = json!({ "tokens": {}, "last_auth_error": error }));
    expect(&world, "login-ended", Level::Warning, "acme (login): its login ended (invalid_grant)", Some("acme login"));
}

/// What a quarantine took can be put back unless it was used before.
#[test]
fn a_quarantine_can_be_undone_unless_it_was_used_before() {
    let world = World::new();
    world.answer(400, &json!({ "error": "invalid_grant" }));
    world.token().expect_err("refused");
    let quarantined = the(&world, "quarantined");
    let commands = (quarantined.fix.as_deref(), quarantined.alternative.as_deref());
    assert_eq!(commands, (Some("lazaretto providers acme"), Some("lazaretto unquarantine acme")));
    assert!(quarantined.message.contains("until 2026-07-27T10:00:00"), "{quarantined:?}");
    // Nothing of the provider is of use any more.
    assert_eq!(quarantined.level, Level::Error);
    assert!(!codes(&findings(&world)).contains(&"login-ended"));
    world.pass(8 * DAY_MS);
    assert_eq!(codes(&troubles(&world)), ["login-ended"]);

    let used = json!({ "at_ms": START_MS, "reason": "overwritten", "status": 400, "code": "x", "summary": "" });
    let world =
        changed(|vault| vault["providers"]["acme"] = json!({ "tokens": {}, "last_auth_error": { "code": "x" } }));
    let (name, dead) = record("gone", &json!({ "state": "dead", "tombstone": used }));
    ledger(&world, &json!({ name: dead }));
    let entry = json!({ "provider": "acme", "credential": "login", "sealed_at_ms": START_MS, "until_ms": START_MS + DAY_MS,
        "access_refused": false, "removed": [] });
    sealed(&world, &json!({ (token("gone")): entry }), &json!({}));
    expect(&world, "quarantined", Level::Warning, "an older, spent refresh token", Some("acme login"));
}

#[test]
fn tokens_that_wait_for_the_vault_are_found() {
    let world = healthy();
    let waiting = json!({ "provider": "acme", "credential": "aa", "access_token": "secret-at-9", "refresh_token": "secret-rt-9",
        "received_at_ms": START_MS });
    sealed(&world, &json!({}), &json!({ (token("gone")): waiting }));
    expect(&world, "successor-waiting", Level::Warning, "acme (aa)", Some("lazaretto refresh acme --credential=aa"));
}

#[test]
fn one_grant_under_two_providers_is_found() {
    let world = changed(|vault| {
        vault["credential_pool"]["nous"] = json!([entry("dd", "secret-at-1", "secret-rt-1")]);
    });
    let or = Some("lazaretto remove nous --credential=dd");
    let said = "nous (dd): it holds the same refresh token as acme (login)";
    expect_or(&world, "grant-shared", Level::Error, said, None, or);
    let well: Vec<_> = findings(&world).into_iter().filter(|finding| finding.code == FindingCode::Provider).collect();
    assert!(well.len() == 1 && well[0].provider.as_deref() == Some("openrouter"), "both are named in it: {well:?}");
    // Of a provider that cannot be refreshed it is removed, whichever comes first.
    let world = changed(|vault| {
        vault["credential_pool"]["aaa"] = json!([entry("dd", "secret-at-1", "secret-rt-1")]);
    });
    let or = Some("lazaretto remove aaa --credential=dd");
    expect_or(&world, "grant-shared", Level::Error, "aaa (dd): it holds the same", None, or);
}

#[test]
fn one_account_in_two_entries_is_found() {
    // {"sub":"me"}
    let of_me = |signature: &str| format!("e30.eyJzdWIiOiJtZSJ9.{signature}");
    let world = changed(|vault| {
        vault["credential_pool"]["acme"][0]["access_token"] = json!(of_me("secret1"));
        vault["credential_pool"]["acme"][1]["access_token"] = json!(of_me("secret2"));
    });
    let or = Some("lazaretto remove acme --credential=bb");
    expect_or(&world, "account-twice", Level::Warning, "acme (bb): it is of the same account as aa", None, or);
}

#[test]
fn entries_without_an_id_or_with_one_twice_are_found() {
    let world = changed(|vault| {
        vault["credential_pool"]["acme"][1].as_object_mut().expect("an entry").remove("id");
    });
    expect(&world, "entry-without-id", Level::Warning, "entry 1 of credential_pool.acme", None);
    let world = changed(|vault| vault["credential_pool"]["acme"][1]["id"] = json!("aa"));
    expect(&world, "id-twice", Level::Error, "\"aa\"", None);
}

#[test]
fn fields_that_were_mistyped_are_found_in_entries_and_logins() {
    let world = changed(|vault| {
        vault["credential_pool"]["acme"][1]["acess_token"] = json!("secret-lost");
        vault["credential_pool"]["acme"][1]["my_own_note"] = json!("kept");
    });
    expect(&world, "field-mistyped", Level::Warning, "\"acess_token\" that nothing reads: was `access_token`", None);
    let world = changed(|vault| vault["providers"]["acme"]["tokens"]["refresh_tokn"] = json!("secret-lost"));
    expect(&world, "field-mistyped", Level::Warning, "providers.acme has a field \"refresh_tokn\"", None);
    let world = changed(|vault| vault["credential_pool"]["acme"][1]["label"] = json!(7));
    expect(&world, "field-unreadable", Level::Warning, "label", None);
}

#[test]
fn a_token_whose_end_nobody_knows_is_found() {
    let world = changed(|vault| {
        vault["credential_pool"]["acme"][0].as_object_mut().expect("an entry").remove("expires_in");
    });
    expect(&world, "expiry-unknown", Level::Warning, "acme (aa)", Some("lazaretto refresh acme --credential=aa"));
    // One that cannot be refreshed is served as long as it is good: nothing is to be done.
    let world = changed(|vault| {
        let entry = vault["credential_pool"]["acme"][0].as_object_mut().expect("an entry");
        entry.retain(|name, _| !matches!(name.as_str(), "expires_in" | "refresh_token"));
    });
    expect(&world, "expiry-unknown", Level::Ok, "acme (aa)", None);
}

#[test]
fn a_life_that_is_shorter_than_the_skew_is_found() {
    let world = healthy();
    profile(&world, &json!({ "skew_s": 7200 }));
    let short = findings(&world).into_iter().filter(|finding| finding.code.as_str() == "lifetime-short");
    let short: Vec<_> = short.map(|finding| (finding.level, finding.message.contains("live 3600 s"))).collect();
    assert_eq!(short, [(Level::Warning, true); 3]);
    assert!(!codes(&findings(&healthy())).contains(&"lifetime-short"));
}

/// A server may end a grant by its age, whatever is refreshed: the ledger knows since when there is one.
#[test]
fn a_grant_that_ends_soon_by_its_age_is_told_of_days_before() {
    let aged = |days: u64, lifetime_days: u64| {
        let world = healthy();
        profile(&world, &json!({ "authorization": { "grant_lifetime_s": lifetime_days * DAY_MS / 1_000 } }));
        let first = START_MS - days * DAY_MS;
        let (name, known) = record("secret-rt-1", &json!({ "granted_by_ms": first, "generation": 40 }));
        ledger(&world, &json!({ name: known }));
        findings(&world).into_iter().filter(|finding| finding.code.as_str() == "grant-ends").collect::<Vec<_>>()
    };
    assert_eq!(aged(24, 30), []);
    let found = aged(26, 30);
    let [finding] = &found[..] else { panic!("{found:?}") };
    assert_eq!((finding.level, finding.fix.as_deref()), (Level::Warning, Some("acme login")));
    assert!(finding.message.contains("30 days") && finding.message.contains("2026-06-24"), "{finding:?}");
    assert_eq!(aged(26, 90), []);
    // A refresh does not make it younger.
    let world = healthy();
    profile(&world, &json!({ "authorization": { "grant_lifetime_s": 30 * DAY_MS / 1_000 } }));
    let granted = |world: &World| {
        let ledger: Value = serde_json::from_str(&world.text("vault.lazaretto")).expect("json");
        let live = ledger["tokens"].as_object().expect("tokens").values().find(|record| record["state"] == "live");
        live.expect("a live token")["granted_by_ms"].clone()
    };
    for day in 1..4 {
        world.pass(DAY_MS);
        world.answer(
            200,
            &json!({ "access_token": "secret-at", "refresh_token": format!("secret-{day}"), "expires_in": 3600 }),
        );
        world.token().expect("refreshed");
        assert_eq!(granted(&world), START_MS + DAY_MS);
    }
}

#[test]
fn tokens_from_the_future_are_found() {
    let world = changed(|vault| vault["credential_pool"]["acme"][0]["last_refresh"] = json!("2026-07-20T10:06:00Z"));
    expect(&world, "issued-in-future", Level::Error, "360 s from now", Some("timedatectl set-ntp true"));
}

/// A provider that no profile knows is found and one of keys needs none.
#[test]
fn an_unknown_provider_is_found_unless_it_has_only_keys() {
    let world = changed(|vault| vault["providers"]["elsewhere"] = acme());
    expect(&world, "profile-missing", Level::Warning, "elsewhere: no profile", Some("lazaretto providers elsewhere"));
}

#[test]
fn suppressed_sources_are_told() {
    let world = changed(|vault| vault["suppressed_sources"] = json!({ "acme": ["device_code"] }));
    // A login ends that, and the one that is alive: nothing needs to be mended.
    expect(&world, "source-suppressed", Level::Ok, "device_code", None);
}

#[test]
fn what_others_wrote_cannot_become_another_command() {
    let world = changed(|vault| {
        vault["credential_pool"]["acme"][1]["id"] = json!("x'; rm -rf ~ #");
        vault["credential_pool"]["acme"][1]["last_status"] = json!("dead");
    });
    let alternative = the(&world, "entry-dead").alternative;
    assert_eq!(alternative.as_deref(), Some("lazaretto remove acme --credential='x'\\''; rm -rf ~ #'"));
}

#[test]
fn each_server_is_asked_once_and_told_nothing() {
    let world = healthy();
    world.answer_with(400, &[("date", "Mon, 20 Jul 2026 10:04:00 GMT")], &json!({ "error": "invalid_request" }));
    let found = findings_with(&world, true);
    assert!(found.iter().all(|finding| finding.level == Level::Ok), "{found:#?}");
    assert!(found.iter().any(|finding| finding.code == FindingCode::Server && finding.message.contains("400")));
    assert_eq!(world.0.sent.borrow().iter().map(|(body, _)| body.as_str()).collect::<Vec<_>>(), [""]);
    assert_eq!(*world.0.urls.borrow(), [ENDPOINT]);
    assert!(!codes(&findings(&world)).contains(&"server") && world.requests() == 1);
}

#[test]
fn a_server_that_does_not_answer_or_has_another_time_is_found() {
    let code = |world: &World| {
        let found = findings_with(world, true);
        found
            .into_iter()
            .filter(|finding| finding.level != Level::Ok)
            .map(|finding| (finding.code.as_str(), finding.fix))
            .collect::<Vec<_>>()
    };
    let curl = Some(format!("curl -sS -o /dev/null -D - -d '' {ENDPOINT}"));
    let world = healthy();
    world.fail("dns", false, 0);
    assert_eq!(code(&world), [("server-unreachable", curl.clone())]);
    let world = healthy();
    world.answer_text(503, &[], "");
    assert_eq!(code(&world), [("server-failing", curl)]);
    for date in ["Mon, 20 Jul 2026 10:06:00 GMT", "Mon, 20 Jul 2026 09:54:00 GMT"] {
        let world = healthy();
        world.answer_with(401, &[("date", date)], &json!({ "error": "invalid_client" }));
        assert_eq!(code(&world), [("clock-wrong", Some("timedatectl set-ntp true".to_owned()))]);
    }
}

/// What is no authorization server is found and its file is the hosts to name.
#[test]
fn a_wrong_authorization_server_is_found() {
    for (status, body, level) in
        [(404, "<html>", Level::Error), (200, "<html>", Level::Warning), (403, "", Level::Warning)]
    {
        let world = healthy();
        world.answer_text(status, &[], body);
        let found = findings_with(&world, true);
        let found = found.iter().find(|finding| finding.code == FindingCode::NotAnAuthorizationServer);
        let found = found.unwrap_or_else(|| panic!("{status}"));
        assert_eq!((found.level, found.fix.as_deref(), found.provider.as_deref()), (level, None, Some("acme")));
    }
}

/// One credential of which several things are so is one finding; the most useful one decides.
#[test]
fn a_token_put_back_after_a_quarantine_is_one_finding() {
    let world = World::new();
    let before = world.text("vault");
    world.answer(400, &json!({ "error": "invalid_grant" }));
    world.token().expect_err("refused");
    world.write("vault", &before);
    let found = troubles(&world);
    assert_eq!(codes(&found), ["token-dead"], "{found:#?}");
    let commands = (found[0].fix.as_deref(), found[0].alternative.as_deref());
    assert_eq!(commands, (Some("lazaretto providers acme"), Some("lazaretto unquarantine acme")));
    assert_eq!((found[0].provider.as_deref(), found[0].credential.as_deref()), (Some("acme"), Some("login")));
    let said = &found[0].message;
    assert!(
        said.contains("put it back. Its tokens are sealed until") && said.matches("refused").count() == 1,
        "{said}"
    );
    assert!(findings(&world).iter().all(|finding| finding.code != FindingCode::Provider), "it is not called well");
}

/// No credential has two findings and no ill provider is called well.
#[test]
fn no_credential_has_two_findings_and_no_bad_one_is_ok() {
    let mut worlds = vec![healthy(), World::new()];
    let id = |vault: &mut Value| {
        vault["credential_pool"]["acme"][1]["id"] = json!("aa");
        vault["credential_pool"]["acme"][1]["last_status"] = json!("dead");
        vault["credential_pool"]["acme"][0]["acess_token"] = json!("secret");
        vault["credential_pool"]["acme"][0].as_object_mut().expect("an entry").remove("refresh_token");
        vault["credential_pool"]["nous"] = json!([entry("dd", "secret-at-1", "secret-rt-1")]);
    };
    worlds.push(changed(id));
    for world in &worlds {
        let found = findings(world);
        for (at, finding) in found.iter().enumerate().filter(|(_, finding)| finding.credential.is_some()) {
            let of = |finding: &Finding| (finding.provider.clone(), finding.credential.clone());
            assert!(found[..at].iter().all(|other| of(other) != of(finding)), "{found:#?}");
        }
        for well in found.iter().filter(|finding| finding.code == FindingCode::Provider) {
            let is_ill = |other: &Finding| other.provider == well.provider && other.level != Level::Ok;
            assert!(!found.iter().any(is_ill), "{found:#?}");
        }
        assert!(found.is_sorted_by_key(|finding| std::cmp::Reverse(finding.level)), "{found:#?}");
    }
}

#[test]
fn a_login_without_a_refresh_token_says_when_it_ends() {
    let without = |ends: &str| {
        changed(|vault| {
            let login = vault["providers"]["acme"].as_object_mut().expect("a login");
            login["tokens"] = json!({ "access_token": "secret-at-1", "expires_in": 3600 });
            login["last_refresh"] = json!(ends);
        })
    };
    let world = without(OLD);
    expect(&world, "no-refresh-token", Level::Warning, "it ends at 2026-07-20T10:30:00Z", Some("acme login"));
    // A server that gives none has nothing to be warned of.
    profile(&world, &json!({ "issues_refresh_token": false }));
    expect(&world, "no-refresh-token", Level::Ok, "2026-07-20T10:30:00Z", None);
    let world = without("2026-07-20T08:30:00Z");
    let said = "its access token ended at 2026-07-20T09:30:00Z";
    expect(&world, "login-ended", Level::Warning, said, Some("acme login"));
}

/// A provider that cools down says until when and that its token is good.
#[test]
fn a_paused_provider_says_until_when_and_that_its_token_works() {
    let pause = json!({ "kind": "cooling", "failures": 1, "code": "http-429", "summary": "", "at_ms": START_MS - 1,
        "until_ms": START_MS + 900_000 });
    let world = known(&[("secret-rt-2", json!({ "pause": pause }))]);
    let said = "acme (aa): it is not refreshed until 2026-07-20T10:15:00Z (http-429); its access token is good until 2026-07-20T10:30:00Z";
    expect(&world, "cooling-down", Level::Warning, said, None);
}

#[test]
fn every_profile_of_the_users_is_read() {
    let world = healthy();
    let profiles = json!({ "profiles": {
        "acme": { "token_endpoint": ENDPOINT, "client_id": "client-1" },
        "later": { "token_endpont": "https://later.example/token" },
    } });
    world.write("providers.json", &profiles.to_string());
    expect(&world, "profile-wrong", Level::Error, "token_endpont", None);
    assert_eq!(the(&world, "profile-wrong").provider.as_deref(), Some("later"));
}

#[test]
fn plain_http_is_told_of_for_a_host_that_does_not_send_there() {
    let world = healthy();
    let login = json!({ "device_authorization_endpoint": "http://127.0.0.1:9/device", "revocation_endpoint": "https://acme.example/r" });
    profile(&world, &json!({ "authorization": login }));
    expect(&world, "plain-http", Level::Warning, "`device_authorization_endpoint`:", None);
    assert!(!the(&world, "plain-http").message.contains("revocation"));
    let world = healthy();
    let other = json!({ "token_endpoint": "http://127.0.0.1:9/token" });
    let acme = json!({ "token_endpoint": ENDPOINT, "client_id": "client-1" });
    world.write("providers.json", &json!({ "profiles": { "acme": acme, "other": other } }).to_string());
    expect(&world, "plain-http", Level::Ok, "other: ", None);
}

/// A new login is no way to mend an entry beside a login that is alive.
#[test]
fn a_dead_entry_beside_a_live_login_needs_no_new_login() {
    let dead = |vault: &mut Value| vault["credential_pool"]["acme"][0]["last_status"] = json!("dead");
    assert_eq!(the(&changed(dead), "entry-dead").fix, None);
    let world = changed(|vault| {
        dead(vault);
        vault["providers"].as_object_mut().expect("logins").remove("acme");
    });
    assert_eq!(the(&world, "entry-dead").fix.as_deref(), Some("acme login"));
}

#[test]
fn what_only_the_status_knows_is_found_too() {
    let world = changed(|vault| {
        let entry = vault["credential_pool"]["acme"][0].as_object_mut().expect("an entry");
        entry.remove("refresh_token");
        entry["access_token"] = json!("secret at");
    });
    let found = the(&world, "cannot-be-used");
    assert_eq!((found.level, found.credential.as_deref()), (Level::Warning, Some("aa")), "{found:?}");
}
