//! A home as a person has it: a vault file, profiles that lead to a server on loopback, and a keeper on the compiled component.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]

pub mod oidc;
pub mod reference;
pub mod tools;

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use lazaretto_host::http::{AllowList, Http, HttpFailure, HttpRequest, HttpResponse, NetworkHttp};
use lazaretto_host::storage::{
    AcquireOutcome, Capabilities, FileStorage, Holder, LoadOutcome, Scope, Storage, StorageError, StoreOutcome, VAULT,
};
use lazaretto_host::{AccessToken, Event, Keeper, KeeperError, Selector, TokenRequest};
use lazaretto_testing::demo_server::{Behaviour, Login, Rotation, TokenServer};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The client ids of the built-in profiles that the tests play.
pub fn client_id(provider: &str) -> &'static str {
    match provider {
        "xai-oauth" => "b1a00492-073a-47ea-816f-4c329264a828",
        "openai-codex" => "app_EMoamEEZ73f0CkXaXp7hrann",
        "nous" => "hermes-cli",
        "anthropic" => "9d1c250a-e61b-44d9-88ed-5944d1962f5e",
        _ => "acme-client",
    }
}

pub struct Home<S = TokenServer> {
    pub folder: TempDir,
    pub server: S,
    pub events: Arc<Mutex<Vec<Event>>>,
}

impl Home<TokenServer> {
    /// With a server that rotates and ends the family on reuse.
    pub fn new() -> Self {
        Self::with(Behaviour { rotate: Rotation::RevokeFamilyOnReuse, ..Behaviour::default() })
    }

    pub fn with(behaviour: Behaviour) -> Self {
        let server = TokenServer::start(behaviour).expect("a loopback port");
        let endpoint = server.token_endpoint();
        let profiles = json!({
            "xai-oauth": { "token_endpoint": endpoint },
            "openai-codex": { "token_endpoint": endpoint },
            "nous": { "token_endpoint": endpoint },
            "anthropic": { "token_endpoint": endpoint },
            "acme": { "token_endpoint": endpoint, "client_id": "acme-client" },
        });
        Self::around(server, &profiles)
    }

    pub fn log_in(&self, provider: &str) -> Login {
        self.server.login(client_id(provider))
    }

    /// A session after each of whose requests something else happens in the world.
    pub fn session_with(&self, meanwhile: impl Fn() + Send + Sync + 'static) -> Keeper {
        let allow = AllowList::new([self.server.origin()], true).expect("an origin");
        let http = Meanwhile(NetworkHttp::new(allow), meanwhile);
        Keeper::builder().storage(self.storage()).http(http).build().expect("a keeper")
    }
}

impl<S> Home<S> {
    /// With any server, and profiles that lead to it.
    pub fn around(server: S, profiles: &Value) -> Self {
        let home = Self { folder: TempDir::new().expect("a folder"), server, events: Arc::default() };
        home.write_profiles(profiles);
        home
    }

    pub fn vault_path(&self) -> PathBuf {
        self.folder.path().join("auth.json")
    }

    pub fn write_profiles(&self, profiles: &Value) {
        fs::write(self.folder.path().join("providers.json"), json!({ "profiles": profiles }).to_string())
            .expect("written");
    }

    pub fn write(&self, text: &str) {
        fs::write(self.vault_path(), text).expect("written");
    }

    /// Writes a vault as the reference would: two spaces, newline at the end.
    pub fn write_json(&self, vault: &Value) {
        self.write(&(serde_json::to_string_pretty(vault).expect("json") + "\n"));
    }

    pub fn text(&self) -> String {
        fs::read_to_string(self.vault_path()).expect("a vault")
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text()).expect("json")
    }

    pub fn ledger(&self) -> String {
        match self.storage().load("vault.lazaretto", None) {
            Ok(LoadOutcome::Loaded(document)) => document.text,
            _ => String::new(),
        }
    }

    /// A keeper as a new session has it: nothing in memory, everything on disk.
    pub fn session(&self) -> Keeper {
        self.keeper_on(self.storage())
    }

    pub fn keeper_on(&self, storage: impl Storage + 'static) -> Keeper {
        let events = self.events.clone();
        Keeper::builder()
            .storage(storage)
            .allow_loopback_http(true)
            .events(move |event: &Event| events.lock().expect("no panic").push(event.clone()))
            .build()
            .expect("a keeper")
    }

    pub fn storage(&self) -> FileStorage {
        FileStorage::open(self.vault_path()).with_profiles(self.folder.path().join("providers.json"))
    }

    pub fn token(&self, provider: &str) -> Result<AccessToken, KeeperError> {
        self.session().token(&TokenRequest::new(VAULT, provider))
    }

    pub fn refresh(&self, provider: &str) -> Result<AccessToken, KeeperError> {
        self.session().refresh(&TokenRequest::new(VAULT, provider))
    }

    /// Refreshes one credential by name.
    pub fn refresh_entry(&self, provider: &str, credential: &str) -> Result<AccessToken, KeeperError> {
        let request = TokenRequest { credential: Some(credential.to_owned()), ..TokenRequest::new(VAULT, provider) };
        self.session().refresh(&request)
    }

    pub fn state(&self, provider: &str, credential: &str) -> String {
        let report = self.session().status(VAULT, Some(provider)).expect("a status");
        let found = report.credentials.into_iter().find(|status| status.credential == credential);
        found.map_or_else(|| "absent".to_owned(), |status| status.state)
    }

    pub fn selector(&self, provider: &str) -> Selector {
        Selector { vault: VAULT.into(), provider: provider.into(), credential: None }
    }

    pub fn event_names(&self) -> Vec<String> {
        self.events.lock().expect("no panic").iter().map(|event| event.name.clone()).collect()
    }
}

/// Passes requests on, and does something in the world after each answer.
pub struct Meanwhile<F>(pub NetworkHttp, pub F);

impl<F: Fn() + Send + Sync> Http for Meanwhile<F> {
    fn send(&self, request: &HttpRequest) -> Result<HttpResponse, HttpFailure> {
        let result = self.0.send(request);
        (self.1)();
        result
    }
}

/// File storage that refuses to write some documents while it is told to.
pub struct Refusing {
    pub storage: FileStorage,
    pub refuse: Arc<Mutex<Vec<&'static str>>>,
}

impl Storage for Refusing {
    fn load(&self, name: &str, known: Option<&str>) -> Result<LoadOutcome, StorageError> {
        self.storage.load(name, known)
    }

    fn store(
        &self,
        name: &str,
        text: &str,
        expected: Option<&str>,
        durable: bool,
        lease: Option<&str>,
    ) -> Result<StoreOutcome, StorageError> {
        if self.refuse.lock().expect("no panic").contains(&name) {
            return Err(StorageError { code: "full", message: "no space left, says the test".into() });
        }
        self.storage.store(name, text, expected, durable, lease)
    }

    fn acquire(&self, scope: &Scope, ttl_ms: u64, wait_ms: u64) -> Result<AcquireOutcome, StorageError> {
        self.storage.acquire(scope, ttl_ms, wait_ms)
    }

    fn release(&self, lease: &str) {
        self.storage.release(lease);
    }

    fn holder_of(&self, scope: &Scope) -> Result<Option<Holder>, StorageError> {
        self.storage.holder_of(scope)
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>, StorageError> {
        self.storage.list(prefix)
    }

    fn describe(&self) -> Capabilities {
        self.storage.describe()
    }
}

/// A provider's login as the reference writes it.
pub fn login(provider: &str, login: &Login) -> Value {
    match provider {
        "nous" => json!({
            "access_token": login.access_token, "refresh_token": login.refresh_token, "token_type": "Bearer",
            "scope": "inference:invoke", "client_id": "hermes-cli",
            "portal_base_url": "https://portal.nousresearch.com",
            "inference_base_url": "https://inference-api.nousresearch.com/v1",
            "obtained_at": moment(0), "expires_in": 3599, "expires_at": moment(3_599_000),
            "agent_key": login.access_token, "agent_key_id": null, "agent_key_reused": false,
            "agent_key_obtained_at": moment(0), "agent_key_expires_in": 3599, "agent_key_expires_at": moment(3_599_000),
            "tls": { "insecure": false, "ca_bundle": null }
        }),
        _ => json!({
            "tokens": { "access_token": login.access_token, "refresh_token": login.refresh_token, "id_token": "",
                        "expires_in": login.expires_in_s, "token_type": "Bearer" },
            "last_refresh": moment(0).replace("+00:00", "Z"), "auth_mode": "oauth_device_code",
            "unknown_to_lazaretto": [1, 2.50, { "deep": true }]
        }),
    }
}

/// A vault with a login, its seeded entries, a manual OAuth entry and two API keys.
pub fn household(provider: &str, own: &Login, manual: &Login) -> Value {
    let mut stripped = seeded("c0ffee", "loopback_pkce", own);
    for field in ["access_token", "refresh_token"] {
        stripped.as_object_mut().expect("object").remove(field);
    }
    json!({
        "version": 1,
        "active_provider": "openrouter",
        "providers": { provider: login(provider, own), "other": { "tokens": { "access_token": "x" } } },
        "credential_pool": {
            provider: [
                seeded("aaaaaa", "device_code", own),
                api_key("bbbbbb", 1),
                stripped,
                entry("dddddd", "manual:device_code", manual, 2),
            ],
            "openrouter": [api_key("eeeeee", 0)]
        },
        "suppressed_sources": {}
    })
}

/// A pool entry copied from a login.
pub fn seeded(id: &str, source: &str, login: &Login) -> Value {
    entry(id, source, login, 0)
}

pub fn entry(id: &str, source: &str, login: &Login, priority: u64) -> Value {
    json!({
        "id": id, "label": format!("{id}@example.com"), "auth_type": "oauth", "priority": priority, "source": source,
        "access_token": login.access_token, "refresh_token": login.refresh_token,
        "last_status": "ok", "last_status_at": null, "last_error_code": null, "last_error_reason": null,
        "last_error_message": null, "last_error_reset_at": null, "base_url": "https://api.x.ai/v1",
        "last_refresh": moment(0).replace("+00:00", "Z"), "request_count": 0
    })
}

pub fn api_key(id: &str, priority: u64) -> Value {
    json!({
        "id": id, "label": "my key", "auth_type": "api_key", "priority": priority, "source": "manual",
        "access_token": format!("sk-{id}"), "request_count": 3, "note": "keep me"
    })
}

/// Now, or so many milliseconds later or earlier, as the reference spells it.
pub fn moment(later_ms: i64) -> String {
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as u64;
    lazaretto::time::to_rfc3339(now_ms.saturating_add_signed(later_ms), lazaretto::time::Zone::Offset)
}
