//! The examples do what their first line says.

use std::cell::RefCell;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lazaretto_host::http::{Http, HttpFailure, HttpRequest, HttpResponse};
use lazaretto_host::storage::{LoadOutcome, MemoryStorage, Storage, StoreOutcome};
use lazaretto_host::{Event, Keeper, Selector, TokenRequest};
use lazaretto_testing::demo_server::{Behaviour, Fault, TokenServer};

#[allow(dead_code, unreachable_pub, reason = "a test calls what main calls")]
#[path = "../../examples/errors.rs"]
mod errors;
#[allow(dead_code, unreachable_pub, reason = "a test calls what main calls")]
#[path = "../../examples/login.rs"]
mod login;
#[allow(dead_code, unreachable_pub, reason = "a test calls what main calls")]
#[path = "../../examples/refused.rs"]
mod refused;
#[allow(dead_code, unreachable_pub, reason = "a test calls what main calls")]
#[path = "../../examples/storage.rs"]
mod storage;

use errors::Next;

/// Stores a document that is not there yet.
fn put(storage: &impl Storage, name: &str, text: &str) {
    let stored = storage.store(name, text, None, true, None).expect("stored");
    assert!(matches!(stored, StoreOutcome::Stored(_)));
}

/// Returns a store with a login of `acme` that has expired, at a server of this machine.
fn expired_login(server: &TokenServer) -> MemoryStorage {
    let storage = MemoryStorage::new();
    let endpoint = server.token_endpoint();
    put(
        &storage,
        "providers.json",
        &format!(r#"{{"profiles":{{"acme":{{"token_endpoint":"{endpoint}","client_id":"c"}}}}}}"#),
    );
    let token = server.login("c").refresh_token;
    put(
        &storage,
        "vault",
        &format!(
            r#"{{"providers":{{"acme":{{"tokens":{{"access_token":"at-old","refresh_token":"{token}","expires_at":"2020-01-01T00:00:00Z"}}}}}}}}"#
        ),
    );
    storage
}

fn keeper(storage: impl Storage + 'static) -> Keeper {
    Keeper::builder().storage(storage).allow_loopback_http(true).build().expect("a keeper")
}

#[test]
fn an_error_says_what_to_do_next() {
    let server = TokenServer::start(Behaviour::default()).expect("a port");
    let keeper = keeper(expired_login(&server));
    let token = |provider| errors::patient_token(&keeper, provider, Duration::ZERO);

    server.fault([Fault::status(429, "application/json", "{}")]);
    assert!(matches!(token("acme"), Err(Next::TryAgainIn(pause)) if pause > Duration::ZERO));
    assert!(matches!(token("nous"), Err(Next::AskToLogIn(command)) if command.contains("login nous")));
    assert!(matches!(token("nobody"), Err(Next::Stop(message)) if message.contains("\nrun: lazaretto ")));
}

#[test]
fn a_refused_token_is_refreshed_once_and_the_call_made_again() {
    let server = TokenServer::start(Behaviour::default()).expect("a port");
    let keeper = keeper(expired_login(&server));
    let first = keeper.token(&TokenRequest::new("vault", "acme")).expect("refreshed").token;
    let seen = RefCell::new(Vec::new());
    let api = |token: &str| {
        seen.borrow_mut().push(token.to_owned());
        if token == first { (401, "{}".to_owned()) } else { (200, "welcome".to_owned()) }
    };
    assert_eq!(refused::call(&keeper, "acme", api).expect("it answers"), "welcome");
    assert_eq!((seen.borrow().len(), server.requests()), (2, 2));
}

/// Answers as an authorization server whose person approves between the first poll and the second.
struct Approving(Mutex<u32>);

impl Http for Approving {
    fn send(&self, request: &HttpRequest) -> Result<HttpResponse, HttpFailure> {
        let mut polls = self.0.lock().expect("no panic");
        let (status, body) = if request.url.ends_with("/device") {
            (
                200,
                r#"{"device_code":"d","user_code":"ABCD","verification_uri":"https://acme.example/go","expires_in":600,"interval":5}"#,
            )
        } else if *polls == 0 {
            *polls += 1;
            (400, r#"{"error":"authorization_pending"}"#)
        } else {
            (200, r#"{"access_token":"at-1","refresh_token":"rt-1","expires_in":3600}"#)
        };
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        Ok(HttpResponse { status, headers, body: body.to_owned(), body_complete: true, body_lossy: false })
    }
}

#[test]
fn a_person_logs_in_by_a_code() {
    let storage = MemoryStorage::new();
    let profile = r#"{"profiles":{"acme":{"token_endpoint":"https://acme.example/token","client_id":"c",
        "authorization":{"device_authorization_endpoint":"https://acme.example/device"}}}}"#;
    put(&storage, "providers.json", profile);
    let keeper = Keeper::builder().storage(storage).http(Approving(Mutex::default())).build().expect("a keeper");
    let (shown, waits) = (RefCell::new(String::new()), RefCell::new(0));
    let show = |url: &str, code: &str| *shown.borrow_mut() = format!("{url} {code}");
    let done = login::log_in(&keeper, "acme", show, |_| *waits.borrow_mut() += 1).expect("approved");
    assert_eq!((done.provider.as_str(), shown.into_inner().as_str()), ("acme", "https://acme.example/go ABCD"));
    assert_eq!(waits.into_inner(), 2);
    assert_eq!(keeper.token(&TokenRequest::new("vault", "acme")).expect("stored").token, "at-1");
}

#[test]
fn a_tenants_documents_and_events_are_its_own() {
    let (store, seen) = (Arc::new(MemoryStorage::new()), Arc::new(Mutex::new(Vec::new())));
    let tenant = |name: &str| storage::Tenant(name.to_owned(), store.clone());
    let key =
        r#"{"credential_pool":{"acme":[{"id":"k","auth_type":"api_key","source":"manual","access_token":"sk-a"}]}}"#;
    put(&tenant("a"), "vault", key);
    let log = seen.clone();
    let events = move |event: &Event| log.lock().expect("no panic").push(event.name.clone());
    let mine = Keeper::builder().storage(tenant("a")).events(events).build().expect("a keeper");
    assert_eq!(mine.token(&TokenRequest::new("vault", "acme")).expect("a key").token, "sk-a");
    assert_eq!(store.load("vault", None).expect("loads"), LoadOutcome::Absent);
    assert!(keeper(tenant("b")).token(&TokenRequest::new("vault", "acme")).is_err());
    let selector = Selector { vault: "vault".into(), provider: "acme".into(), credential: None };
    mine.admin().remove(&selector).expect("removed");
    assert_eq!(*seen.lock().expect("no panic"), ["removed"]);
}
