//! The reference, hermes-agent 0.19.0, agrees with us on what is usable: after our refresh, after our quarantine, and when
//! what was quarantined is put back. Its own functions wrote the vault, and its own functions read it.

use std::collections::BTreeSet;
use std::fs;

use crate::common::Home;
use crate::common::reference::Reference;
use lazaretto::state::fingerprint::Fingerprint;
use lazaretto_host::storage::VAULT;
use lazaretto_testing::demo_server::{Behaviour, Login};
use serde_json::{Value, json};

const PROVIDERS: [&str; 3] = ["xai-oauth", "openai-codex", "nous"];

/// Where the reference keeps a second copy of a Nous login.
const SHARED_COPY: &str = "shared/nous_auth.json";

/// One provider's part of a home that the reference made.
struct Story {
    provider: &'static str,
    reference: Reference,
    home: Home,
    own: Login,
    manual: Login,
}

impl Story {
    /// For each provider a login with an API key, and with a manual OAuth entry where the reference makes those.
    fn each() -> impl Iterator<Item = Self> {
        PROVIDERS.into_iter().map_while(|provider| {
            let story = Self::with_login_alone(provider)?;
            if provider != "nous" {
                story.write_login(&story.manual, &json!({ "manual": true, "label": "second" }));
            }
            // To the reference a key of Nous is one of its inference tokens.
            let key = if provider == "nous" { &story.manual.access_token } else { "sk-bbbbbb" };
            story.push_key(key);
            Some(story)
        })
    }

    fn with_login_alone(provider: &'static str) -> Option<Self> {
        let story = Self::with_shared_copy(provider)?;
        let copy = story.home.folder.path().join(SHARED_COPY);
        if provider == "nous" {
            fs::remove_file(copy).expect("the reference wrote it");
        } else {
            assert!(!copy.exists());
        }
        Some(story)
    }

    fn with_shared_copy(provider: &'static str) -> Option<Self> {
        Self::issued_at(provider, 0)
    }

    /// As the reference's login leaves a home, with tokens for a day; none where there is no Python.
    fn issued_at(provider: &'static str, clock_offset_s: i64) -> Option<Self> {
        let reference = Reference::install()?;
        // The reference refreshes an xAI token an hour before its end, and takes a Nous token only with this scope.
        let home = Home::with(Behaviour {
            access_ttl_s: 86_400,
            jwt_access_tokens: true,
            scope: "inference:invoke".into(),
            clock_offset_s,
            ..Behaviour::default()
        });
        let (own, manual) = (home.log_in(provider), home.log_in(provider));
        let story = Self { provider, reference, home, own, manual };
        story.write_login(&story.own, &json!({}));
        Some(story)
    }

    fn write_login(&self, login: &Login, more: &Value) {
        let mut response = json!({
            "access_token": login.access_token, "refresh_token": login.refresh_token, "expires_in": login.expires_in_s,
        });
        response.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        self.reference.write_login(self.home.folder.path(), self.provider, &response);
    }

    fn push_key(&self, key: &str) {
        self.push_row(|row| {
            let fields = row.as_object_mut().expect("an object");
            for of_the_login in ["refresh_token", "last_refresh", "agent_key", "agent_key_expires_at", "expires_at"] {
                fields.remove(of_the_login);
            }
            row["id"] = json!("bbbbbb");
            row["label"] = json!("my key");
            row["auth_type"] = json!("api_key");
            row["source"] = json!("manual");
            row["access_token"] = json!(key);
        });
    }

    /// Another row in the pool: the login's copy, but for what `change` does.
    fn push_row(&self, change: impl FnOnce(&mut Value)) {
        let mut vault = self.home.json();
        let pool = vault["credential_pool"][self.provider].as_array_mut().expect("a pool");
        let mut row = pool[0].clone();
        change(&mut row);
        pool.push(row);
        // The reference numbers the rows itself.
        for (priority, row) in pool.iter_mut().enumerate() {
            row["priority"] = json!(priority);
        }
        self.home.write_json(&vault);
    }

    /// The server ends a grant, and we hear of it.
    fn quarantine(&self, credential: &str, refresh_token: &str) {
        self.home.server.revoke(refresh_token);
        let error = self.home.refresh_entry(self.provider, credential).expect_err("revoked");
        assert_eq!(error.code, "quarantined", "{error}");
    }

    fn load(&self) -> Loaded {
        let answer = self.reference.load(self.home.folder.path(), self.provider);
        assert_eq!((&answer["load_error"], &answer["taken_for_corrupt"]), (&Value::Null, &json!(false)));
        Loaded(answer)
    }

    /// What the reference makes of the vault: nothing in it is lost on it or rewritten, and it would pass over the same
    /// credentials as we.
    fn load_in_agreement(&self) -> Loaded {
        let loaded = self.load();
        assert_eq!((&loaded["changed"], &loaded["lost"]), (&json!(false), &json!([])), "{}", self.provider);
        assert_eq!(loaded.usable(), self.usable_to_us(), "{}", self.provider);
        loaded
    }

    fn usable_to_us(&self) -> BTreeSet<String> {
        let report = self.home.session().status(VAULT, Some(self.provider)).expect("a status");
        let usable = ["valid", "expiring", "expired", "unknown-expiry", "key"];
        let found = report.credentials.into_iter().filter(|status| usable.contains(&status.state.as_str()));
        found.map(|status| status.credential).collect()
    }
}

/// The reference's answer about a vault.
#[derive(Debug, PartialEq)]
struct Loaded(Value);

impl Loaded {
    fn rows(&self) -> &Vec<Value> {
        self.0["rows"].as_array().expect("a list")
    }

    /// The row that is a copy of the login.
    fn login_row(&self) -> Option<&Value> {
        self.rows().iter().find(|row| row["source"] == "device_code")
    }

    fn other_rows(&self) -> Vec<&Value> {
        self.rows().iter().filter(|row| row["source"] != "device_code").collect()
    }

    /// What it would not pass over, by our ids.
    fn usable(&self) -> BTreeSet<String> {
        let usable = self.rows().iter().filter(|row| row["usable"] == true);
        let id = |row: &Value| row["id"].as_str().expect("an id").to_owned();
        usable.map(|row| if row["source"] == "device_code" { "login".to_owned() } else { id(row) }).collect()
    }
}

impl std::ops::Index<&str> for Loaded {
    type Output = Value;

    fn index(&self, key: &str) -> &Value {
        &self.0[key]
    }
}

/// As the reference's answers name a token.
fn fingerprint(token: &str) -> Value {
    json!(Fingerprint::of(token).as_str())
}

/// After our refresh the reference reads the new tokens and rewrites nothing.
#[test]
fn the_reference_reads_our_refresh_and_rewrites_nothing() {
    for story in Story::each() {
        let provider = story.provider;
        let before = story.load_in_agreement();
        let token = story.home.refresh_entry(provider, "login").expect("refreshed");
        let after = story.load_in_agreement();

        assert_eq!(after.usable(), before.usable(), "{provider}");
        assert_eq!(after.other_rows(), before.other_rows(), "{provider}");
        assert_eq!(after["selected"], before["selected"], "{provider}");
        let row = after.login_row().expect("the login's copy");
        let successor = &story.home.server.live_tokens()[0];
        assert_ne!(*successor, story.own.refresh_token);
        assert_eq!(row["access_token_sha256_128"], fingerprint(&token.token), "{provider}");
        assert_eq!(row["refresh_token_sha256_128"], fingerprint(successor), "{provider}");
        assert_eq!(row["runtime_key_sha256_128"], fingerprint(&token.token), "{provider}");
        assert_eq!(row["needs_refresh"], false, "{provider}");
        let login = &after["login"];
        assert_eq!((&login["logged_in"], &login["last_auth_error"]), (&json!(true), &Value::Null), "{provider}");
        assert_eq!(login["api_key_sha256_128"], fingerprint(&token.token), "{provider}");
        if provider == "nous" {
            assert_eq!(after["nous_session_valid"], "valid");
            assert_eq!(after["nous_next_refresh_token_sha256_128"], fingerprint(successor));
        } else {
            assert_eq!(login["own_tokens"], "ok", "{provider}");
        }
    }
}

/// After our quarantine the reference uses nothing of the login and the other entries as before.
#[test]
fn the_reference_uses_other_entries_after_our_quarantine() {
    for story in Story::each() {
        let provider = story.provider;
        let before = story.load_in_agreement();
        story.quarantine("login", &story.own.refresh_token);
        let after = story.load_in_agreement();

        assert_eq!(after.login_row(), None, "{provider}");
        assert_eq!(after.other_rows(), before.other_rows(), "{provider}");
        assert!(after.other_rows().iter().all(|row| row["usable"] == true), "{provider}");
        assert_eq!(after["selected"], after.other_rows()[0]["id"], "{provider}");
        assert_eq!(after["login"]["last_auth_error"]["relogin_required"], true);
        if provider == "nous" {
            assert_eq!(after["login"]["logged_in"], false);
            assert_eq!(after["nous_session_valid"], "terminal");
            assert_eq!(after["nous_next_refresh_token_sha256_128"], Value::Null);
        } else {
            // By its manual entry.
            assert_eq!(after["login"]["source"], "pool:second", "{provider}");
            assert_eq!(after["login"]["api_key_sha256_128"], fingerprint(&story.manual.access_token), "{provider}");
        }
    }
}

/// After our quarantine of an only login the reference asks for a new one.
#[test]
fn the_reference_asks_for_a_login_after_our_quarantine() {
    for story in PROVIDERS.into_iter().map_while(Story::with_login_alone) {
        let provider = story.provider;
        assert_eq!(story.load_in_agreement()["login"]["logged_in"], true, "{provider}");
        story.quarantine("login", &story.own.refresh_token);
        let after = story.load_in_agreement();
        assert_eq!((after.rows(), &after["selected"]), (&Vec::new(), &Value::Null), "{provider}");
        let login = &after["login"];
        assert_eq!((&login["logged_in"], &login["wanted_network"]), (&json!(false), &json!(false)), "{provider}");
        assert_ne!(login["own_tokens"], "ok", "{provider}");
    }
}

/// What was quarantined and put back reads to the reference as before.
#[test]
fn the_reference_reads_a_restored_login_as_before() {
    for story in Story::each() {
        let before = story.load_in_agreement();
        story.quarantine("login", &story.own.refresh_token);
        assert_ne!(story.load(), before, "{}", story.provider);
        story.home.session().unquarantine(&story.home.selector(story.provider)).expect("it was sealed");
        assert_eq!(story.load_in_agreement(), before, "{}", story.provider);
    }
}

/// A manual entry that died is passed over by the reference too and no other is.
#[test]
fn the_reference_skips_only_the_dead_manual_entry() {
    for story in Story::each().filter(|story| story.provider != "nous") {
        let provider = story.provider;
        let before = story.load_in_agreement();
        let manual = before.other_rows()[0]["id"].as_str().expect("an id").to_owned();
        story.quarantine(&manual, &story.manual.refresh_token);
        let after = story.load_in_agreement();
        assert_eq!(after.usable(), &before.usable() - &BTreeSet::from([manual]), "{provider}");
        assert_eq!(after.login_row(), before.login_row(), "{provider}");
        assert_eq!(after["login"], before["login"], "{provider}");
    }
}

#[test]
fn an_expired_login_is_one_to_refresh_for_both_of_us() {
    // The reference stores no Nous token that has expired.
    for provider in ["xai-oauth", "openai-codex"] {
        let Some(story) = Story::issued_at(provider, -100_000) else { return };
        assert_eq!(story.home.state(provider, "login"), "expired", "{provider}");
        let row = story.load_in_agreement().login_row().expect("the login's copy").clone();
        assert_eq!((&row["usable"], &row["needs_refresh"]), (&json!(true), &json!(true)), "{provider}");
    }
}

/// The reference keeps a second copy of a Nous login for its other profiles, outside the vault, and believes it over the vault at
/// its next refresh if their tokens differ. So the copy owns the login: refreshed in the vault, the reference would send a spent
/// token.
#[test]
fn a_nous_login_with_a_shared_copy_is_refreshed_only_there() {
    let Some(story) = Story::with_shared_copy("nous") else { return };
    let copy = story.home.folder.path().join(SHARED_COPY);
    let before = (fs::read(&copy).expect("the reference wrote it"), story.home.text());
    let token = fingerprint(&story.own.refresh_token);
    assert_eq!(story.load_in_agreement()["nous_shared_refresh_token_sha256_128"], token);

    let error = story.home.refresh_entry("nous", "login").expect_err("the vault does not own it");
    assert_eq!((error.code.as_str(), error.action.as_str()), ("owned-elsewhere", "configure"));
    let run = error.run.as_deref().unwrap_or_default();
    assert!(
        error.message.contains(SHARED_COPY) && run.starts_with("lazaretto ") && run.contains("--vault"),
        "{error} {run}"
    );
    assert!(run.contains(SHARED_COPY), "{run}");
    assert_eq!((fs::read(&copy).expect("still there"), story.home.text()), before);
    assert_eq!(story.home.server.requests(), 0);
    let after = story.load();
    assert_eq!(after["nous_next_refresh_token_sha256_128"], token, "what the reference would send is alive");
    assert_eq!((&after["login"]["logged_in"], &after["nous_session_valid"]), (&json!(true), &json!("valid")));
}

/// A known difference. The reference makes no manual OAuth entry for Nous; it takes one it finds for an old copy of the login,
/// and deletes it as soon as that login is empty. To us it is a grant of its own, and it stays.
#[test]
fn the_reference_deletes_a_quarantined_manual_nous_entry() {
    let Some(story) = Story::with_login_alone("nous") else { return };
    story.push_row(|row| {
        for (field, value) in [
            ("id", "dddddd"),
            ("source", "manual:device_code"),
            ("access_token", &story.manual.access_token),
            ("agent_key", &story.manual.access_token),
            ("refresh_token", &story.manual.refresh_token),
        ] {
            row[field] = json!(value);
        }
    });
    assert_eq!(story.load_in_agreement().usable(), BTreeSet::from(["login".to_owned(), "dddddd".to_owned()]));
    story.quarantine("login", &story.own.refresh_token);
    assert_eq!(story.usable_to_us(), BTreeSet::from(["dddddd".to_owned()]));
    let after = story.load();
    assert_eq!((&after["changed"], &after["lost"]), (&json!(true), &json!(["credential_pool.nous[dddddd]"])));
}

/// A known difference. The reference sends a key of Nous only if it is one of its inference tokens; we do not look into keys.
#[test]
fn a_nous_key_is_served_by_us_and_skipped_by_the_reference() {
    let Some(story) = Story::with_login_alone("nous") else { return };
    story.push_key("sk-bbbbbb");
    assert_eq!(story.load().usable(), BTreeSet::from(["login".to_owned()]));
    assert_eq!(story.usable_to_us(), BTreeSet::from(["login".to_owned(), "bbbbbb".to_owned()]));
}
