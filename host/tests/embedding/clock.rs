//! What the component takes from nobody's answer, the time and chance, it takes from where the embedder says.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lazaretto_host::http::{Http, HttpFailure, HttpRequest, HttpResponse, Sent};
use lazaretto_host::storage::{MemoryStorage, Storage, VAULT};
use lazaretto_host::{Builder, Clock, Keeper, Random, TokenRequest};

/// 2026-01-01T00:00:00Z, in seconds since 1970: when the vault's token was received, good for an hour.
const RECEIVED_S: u64 = 1_767_225_600;

fn storage() -> MemoryStorage {
    let storage = MemoryStorage::new();
    let vault = r#"{"providers":{"xai-oauth":{"tokens":{"access_token":"At_0","refresh_token":"Rt_0","expires_in":3600,
        "token_type":"Bearer"},"last_refresh":"2026-01-01T00:00:00Z","auth_mode":"oauth_pkce"}}}"#;
    storage.store(VAULT, vault, None, true, None).unwrap();
    storage
}

/// Shows so many seconds since 1970.
struct Stopped(u64);

impl Clock for Stopped {
    fn wall(&self) -> Duration {
        Duration::from_secs(self.0)
    }
    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

fn state(builder: Builder, now_s: u64) -> String {
    let keeper = builder.storage(storage()).clock(Stopped(now_s)).build().unwrap();
    keeper.status(VAULT, None).unwrap().credentials[0].state.clone()
}

/// A token has run out when the given clock says so in keepers that run the same code too.
#[test]
fn a_token_expires_by_the_given_clock() {
    let first = Keeper::builder().storage(MemoryStorage::new()).build().unwrap();
    assert_eq!(state(Keeper::builder(), RECEIVED_S + 60), "valid");
    assert_eq!(state(Keeper::builder(), RECEIVED_S + 7_200), "expired");
    assert_eq!(state(Keeper::builder().code_of(&first), RECEIVED_S + 60), "valid");
    assert_eq!(state(Keeper::builder().code_of(&first), RECEIVED_S + 7_200), "expired");
}

struct NoChance;

impl Random for NoChance {
    fn random_u64(&self) -> io::Result<u64> {
        Err(io::Error::other("the test has no chance"))
    }
}

struct Watched(Arc<AtomicBool>);

impl Http for Watched {
    fn send(&self, _: &HttpRequest) -> Result<HttpResponse, HttpFailure> {
        self.0.store(true, Ordering::SeqCst);
        Err(HttpFailure { kind: "connect", sent: Sent::No, message: "nobody is there".into() })
    }
}

#[test]
fn without_random_numbers_a_call_ends_before_anything_is_sent() {
    let sent = Arc::new(AtomicBool::new(false));
    let keeper = Keeper::builder()
        .storage(storage())
        .http(Watched(sent.clone()))
        .clock(Stopped(RECEIVED_S + 7_200))
        .random(NoChance)
        .build()
        .unwrap();
    let error = keeper.token(&TokenRequest::new(VAULT, "xai-oauth")).unwrap_err();
    assert_eq!((error.code.as_str(), error.action.as_str()), ("internal", "inspect"));
    assert!(error.message.contains("the test has no chance"), "{error}");
    assert!(!sent.load(Ordering::SeqCst));
}
