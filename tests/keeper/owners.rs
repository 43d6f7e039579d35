//! One grant in several files: one of them owns it, and it is refreshed there or nowhere.

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::{Home, entry, login, moment};
use lazaretto_host::storage::{FileStorage, VAULT};
use lazaretto_host::{AccessToken, KeeperError, TokenRequest};
use lazaretto_testing::demo_server::Login;
use serde_json::{Value, json};

/// The reference's root folder, with its files around one server's logins.
struct Root {
    home: Home,
}

const ROOT: &str = "auth.json";
const SHARED: &str = "shared/nous_auth.json";
const PROFILE: &str = "profiles/work/auth.json";

impl Root {
    fn new() -> Self {
        Self { home: Home::new() }
    }

    fn path(&self, file: &str) -> PathBuf {
        self.home.folder.path().join(file)
    }

    fn write(&self, file: &str, json: &Value) {
        fs::create_dir_all(self.path(file).parent().expect("a folder")).expect("made");
        fs::write(self.path(file), serde_json::to_string_pretty(json).expect("json")).expect("written");
    }

    fn text(&self, file: &str) -> String {
        fs::read_to_string(self.path(file)).expect("a file")
    }

    fn storage(&self, file: &str) -> FileStorage {
        FileStorage::open(self.path(file)).with_profiles(self.path("providers.json"))
    }

    fn token(&self, file: &str, provider: &str) -> Result<AccessToken, KeeperError> {
        self.home.keeper_on(self.storage(file)).token(&TokenRequest::new(VAULT, provider))
    }
}

/// A store of the reference's with one login in it, whose access token ended long ago.
fn store(provider: &str, of: &Login) -> Value {
    let mut state = login(provider, of);
    for (time, old) in [("last_refresh", "2020-01-01T00:00:00Z"), ("obtained_at", "2020-01-01T00:00:00+00:00")] {
        if state.get(time).is_some() {
            state[time] = json!(old);
        }
    }
    if state.get("expires_at").is_some() {
        state["expires_at"] = json!("2020-01-01T01:00:00+00:00");
    }
    json!({ "version": 1, "providers": { provider: state }, "credential_pool": {} })
}

/// The reference's shared Nous store, whose access token ends so many milliseconds from now.
fn shared(of: &Login, ends_in_ms: i64) -> Value {
    json!({
        "_schema": 1, "access_token": of.access_token, "refresh_token": of.refresh_token, "token_type": "Bearer",
        "client_id": "hermes-cli", "portal_base_url": "https://portal.nousresearch.com",
        "expires_at": moment(ends_in_ms), "obtained_at": moment(ends_in_ms - 3_600_000)
    })
}

fn is_owned_by(error: &KeeperError, path: &Path, provider: &str) {
    assert_eq!((error.code.as_str(), error.action.as_str()), ("owned-elsewhere", "configure"), "{}", error.message);
    assert!(error.message.contains(&path.display().to_string()), "{}", error.message);
    let run = error.run.as_deref().unwrap_or_default();
    // The vault that owns it, once, and the options in use.
    let there = format!("--vault {} token {provider}", path.display());
    assert!(run.starts_with("lazaretto ") && run.ends_with(&there) && run.matches("--vault").count() == 1, "{run}");
}

/// A login that the shared file holds is refreshed there and served everywhere.
#[test]
fn a_shared_login_is_refreshed_there_and_served_everywhere() {
    for file in [ROOT, PROFILE] {
        let root = Root::new();
        let own = root.home.log_in("nous");
        root.write(file, &store("nous", &own));
        root.write(SHARED, &shared(&own, -1_000));
        let before = root.text(file);
        is_owned_by(&root.token(file, "nous").expect_err("not here"), &root.path(SHARED), "nous");
        assert_eq!(root.home.server.requests(), 0);
        let fresh = root.token(SHARED, "nous").expect("refreshed there");
        assert_eq!(fresh.origin, "refreshed");
        for _ in 0..2 {
            let token = root.token(file, "nous").expect("served");
            assert_eq!((token.origin.as_str(), &token.token), ("adopted", &fresh.token));
        }
        assert_eq!((root.home.server.requests(), root.home.server.replays()), (1, 0));
        assert_eq!(root.text(file), before, "a copy of the new tokens would be a second owner");
    }
}

/// Whatever nous login the shared file holds is the one that counts.
#[test]
fn the_nous_login_of_the_shared_file_counts() {
    let root = Root::new();
    let (older, newer) = (root.home.log_in("nous"), root.home.log_in("nous"));
    root.write(ROOT, &store("nous", &older));
    root.write(SHARED, &shared(&newer, 3_000_000));
    let token = root.token(ROOT, "nous").expect("served");
    assert_eq!((token.origin.as_str(), &token.token), ("adopted", &newer.access_token));
    // What is no Nous login is none of its business.
    let other = root.home.log_in("xai-oauth");
    root.write(ROOT, &store("xai-oauth", &other));
    assert_eq!(root.token(ROOT, "xai-oauth").expect("refreshed").origin, "refreshed");
}

/// A login that a profile has from the root is refreshed in the root.
#[test]
fn a_login_borrowed_from_the_root_is_refreshed_in_the_root() {
    let root = Root::new();
    let own = root.home.log_in("xai-oauth");
    root.write(ROOT, &store("xai-oauth", &own));
    root.write(PROFILE, &store("xai-oauth", &own));
    is_owned_by(&root.token(PROFILE, "xai-oauth").expect_err("not here"), &root.path(ROOT), "xai-oauth");
    let mut fresh = root.token(ROOT, "xai-oauth").expect("refreshed there");
    for _ in 0..3 {
        // The profile's token is spent now, and lies in no other file: the root's ledger knows it.
        let token = root.token(PROFILE, "xai-oauth").expect("served");
        assert_eq!((token.origin.as_str(), &token.token), ("adopted", &fresh.token));
        let keeper = root.home.keeper_on(root.storage(ROOT));
        fresh = keeper.refresh(&TokenRequest::new(VAULT, "xai-oauth")).expect("refreshed once more");
    }
    assert_eq!((root.home.server.requests(), root.home.server.replays()), (4, 0));
}

#[test]
fn a_login_that_died_in_its_owner_is_not_sent_from_a_copy() {
    let root = Root::new();
    let own = root.home.log_in("xai-oauth");
    root.write(ROOT, &store("xai-oauth", &own));
    root.write(PROFILE, &store("xai-oauth", &own));
    root.home.server.revoke(&own.refresh_token);
    assert_eq!(root.token(ROOT, "xai-oauth").expect_err("refused").code, "quarantined");
    is_owned_by(&root.token(PROFILE, "xai-oauth").expect_err("not here"), &root.path(ROOT), "xai-oauth");
    assert_eq!(root.home.server.requests(), 1);
}

/// A profiles own login is its own and a link to the root is the root.
#[test]
fn a_profile_owns_its_login_and_a_link_to_the_root_is_the_root() {
    let root = Root::new();
    let (own, theirs) = (root.home.log_in("xai-oauth"), root.home.log_in("xai-oauth"));
    root.write(ROOT, &store("xai-oauth", &theirs));
    root.write(PROFILE, &store("xai-oauth", &own));
    assert_eq!(root.token(PROFILE, "xai-oauth").expect("refreshed").origin, "refreshed");
    fs::remove_file(root.path(PROFILE)).expect("removed");
    std::os::unix::fs::symlink("../../auth.json", root.path(PROFILE)).expect("linked");
    assert_eq!(root.token(PROFILE, "xai-oauth").expect("refreshed").origin, "refreshed");
    assert_eq!((root.home.server.requests(), root.home.server.replays()), (2, 0));
}

/// A token borrowed from another tools file is refreshed only in that file.
#[test]
fn a_borrowed_token_is_refreshed_only_in_its_owner_file() {
    let root = Root::new();
    let (own, manual) = (root.home.log_in("anthropic"), root.home.log_in("anthropic"));
    let tool = ".claude/.credentials.json";
    root.write(
        tool,
        &json!({ "claudeAiOauth": { "accessToken": own.access_token, "refreshToken": own.refresh_token, "expiresAt": 1 } }),
    );
    let mut vault = json!({ "version": 1, "credential_pool": { "anthropic": [
        entry("aaaaaa", "claude_code", &own, 0), entry("bbbbbb", "manual:hermes_pkce", &manual, 1)
    ] } });
    for at in 0..2 {
        vault["credential_pool"]["anthropic"][at]["expires_at_ms"] = json!(1_600_000_000_000u64);
    }
    root.write(ROOT, &vault);
    let keeper = || root.home.keeper_on(root.storage(ROOT).also(root.path(tool)));
    let ask = |credential: &str| {
        keeper().token(&TokenRequest { credential: Some(credential.into()), ..TokenRequest::new(VAULT, "anthropic") })
    };
    is_owned_by(&ask("aaaaaa").expect_err("borrowed"), &root.path(tool), "anthropic");
    assert_eq!(ask("bbbbbb").expect("its own").origin, "refreshed");
    let fresh = root.token(tool, "anthropic").expect("refreshed there");
    assert_eq!(ask("aaaaaa").expect("served").token, fresh.token);
    assert_eq!((root.home.server.requests(), root.home.server.replays()), (2, 0));
}

/// An anthropic login that the reference keeps in a file of its own is refreshed there.
#[test]
fn an_anthropic_login_in_its_own_file_is_refreshed_there() {
    let root = Root::new();
    let own = root.home.log_in("anthropic");
    let file = ".anthropic_oauth.json";
    root.write(file, &json!({ "accessToken": own.access_token, "refreshToken": own.refresh_token, "expiresAt": 1 }));
    let mut copy = entry("aaaaaa", "hermes_pkce", &own, 0);
    copy["expires_at_ms"] = json!(1_600_000_000_000u64);
    root.write(ROOT, &json!({ "version": 1, "credential_pool": { "anthropic": [copy] } }));
    is_owned_by(&root.token(ROOT, "anthropic").expect_err("not here"), &root.path(file), "anthropic");
    let fresh = root.token(file, "anthropic").expect("refreshed there");
    assert_eq!(root.token(ROOT, "anthropic").expect("served").token, fresh.token);
    assert_eq!((root.home.server.requests(), root.home.server.replays()), (1, 0));
}

/// A token that is still good is served with the reason why it is not refreshed.
#[test]
fn a_good_borrowed_token_is_served_with_the_reason() {
    let root = Root::new();
    let own = root.home.log_in("xai-oauth");
    let mut early = store("xai-oauth", &own);
    // A minute is left of an hour.
    early["providers"]["xai-oauth"]["last_refresh"] = json!(moment(-3_540_000));
    root.write(ROOT, &early);
    root.write(PROFILE, &early);
    let token = root.token(PROFILE, "xai-oauth").expect("served");
    assert_eq!((&token.token, root.home.server.requests()), (&own.access_token, 0));
}

#[test]
fn the_settings_can_make_a_file_the_owner() {
    let root = Root::new();
    let own = root.home.log_in("nous");
    root.write(ROOT, &store("nous", &own));
    root.write(SHARED, &shared(&own, -1_000));
    root.write("auth.json.lazaretto-settings.json", &json!({ "owner": true }));
    assert_eq!(root.token(ROOT, "nous").expect("refreshed").origin, "refreshed");
}

/// A file that may hold the login and cannot be read stops the send.
#[test]
fn an_unreadable_possible_owner_file_stops_the_send() {
    let root = Root::new();
    let own = root.home.log_in("nous");
    root.write(ROOT, &store("nous", &own));
    root.write(SHARED, &json!([]));
    let error = root.token(ROOT, "nous").expect_err("who knows");
    assert_eq!(error.code, "corrupt-vault");
    assert!(error.message.contains("nous_auth.json"), "{}", error.message);
    assert_eq!(root.home.server.requests(), 0);
}
