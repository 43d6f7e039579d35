//! A call may be stopped for what it uses up, but not between its request and the durable write of the answer.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use lazaretto_host::http::{Http, HttpFailure, HttpRequest, HttpResponse};
use lazaretto_host::storage::{FileStorage, VAULT};
use lazaretto_host::{Event, Keeper, Limits, TokenRequest};
use serde_json::json;
use tempfile::TempDir;

/// A server that gives out a new pair at each request.
#[derive(Clone, Default)]
struct Server(Arc<AtomicU32>);

impl Http for Server {
    fn send(&self, _: &HttpRequest) -> Result<HttpResponse, HttpFailure> {
        let number = self.0.fetch_add(1, Ordering::SeqCst) + 1;
        let body = json!({ "access_token": format!("at-{number}"), "refresh_token": format!("rt-{number}"), "expires_in": 3600 });
        Ok(HttpResponse {
            status: 200,
            headers: vec![("content-type".into(), "application/json".into())],
            body: body.to_string(),
            body_complete: true,
            body_lossy: false,
        })
    }
}

/// A vault whose reading and writing takes the guest some time and memory.
struct Home(TempDir);

impl Home {
    fn new(megabytes: usize) -> Self {
        let home = Self(TempDir::new().expect("a folder"));
        let filler: Vec<String> = (0..megabytes * 1024).map(|row| format!("{row:0>1000}")).collect();
        let vault = json!({ "filler": filler, "providers": { "acme": {
            "tokens": { "access_token": "at-0", "refresh_token": "rt-0", "expires_in": 60 },
            "last_refresh": "2020-01-01T00:00:00Z" } } });
        let profile = json!({ "token_endpoint": "https://a.example/token", "client_id": "acme" });
        for (name, text) in [("vault", vault), ("providers.json", json!({ "profiles": { "acme": profile } }))] {
            fs::write(home.0.path().join(name), text.to_string()).expect("written");
        }
        home
    }

    fn storage(&self) -> FileStorage {
        FileStorage::open(self.0.path().join("vault")).with_profiles(self.0.path().join("providers.json"))
    }

    fn vault(&self) -> String {
        fs::read_to_string(self.0.path().join("vault")).expect("a vault")
    }
}

/// What became of one call under these limits: whether it sent. What it sent for is stored, or the test fails.
fn try_with(limits: Limits, megabytes: usize) -> bool {
    let (home, server) = (Home::new(megabytes), Server::default());
    let keeper = Keeper::builder().storage(home.storage()).http(server.clone()).limits(limits.clone()).build();
    let token = keeper.expect("a keeper").token(&TokenRequest::new(VAULT, "acme"));
    let (sends, vault) = (server.0.load(Ordering::SeqCst), home.vault());
    match sends {
        0 => {
            let error = token.expect_err("nothing was sent");
            assert!(error.message.contains("the component was stopped"), "{error}");
            assert!(vault.contains("\"rt-0\""));
        }
        1 => {
            assert!(vault.contains("\"rt-1\"") && !vault.contains("\"rt-0\""), "{limits:?}: its successor is stored");
            assert_eq!(token.map(|token| token.token).map_err(|error| error.message), Ok("at-1".into()), "{limits:?}");
        }
        more => panic!("{more} requests"),
    }
    sends == 1
}

/// Tries smaller and smaller limits until nothing is sent any more: somewhere on the way is the one that is nearly used up when
/// the request leaves.
fn tighten(megabytes: usize, mut limits: impl FnMut(f64) -> Limits) {
    let mut share = 1.0;
    let mut sent = 0;
    while try_with(limits(share), megabytes) {
        share /= 1.15;
        sent += 1;
        assert!(sent < 400, "the limit is none");
    }
    assert!(sent > 3, "{sent} calls got as far as their request");
}

/// A call that used up its time before its request still stores the successor.
#[test]
fn a_call_out_of_time_still_stores_the_successor() {
    let start = Instant::now();
    assert!(try_with(Limits::default(), 6));
    let whole_call = start.elapsed();
    tighten(6, |share| Limits { guest_time: whole_call.mul_f64(share), ..Limits::default() });
}

/// A call that used up its memory before its request still stores the successor.
#[test]
fn a_call_out_of_memory_still_stores_the_successor() {
    tighten(4, |share| Limits { memory_bytes: ((64 << 20) as f64 * share) as usize, ..Limits::default() });
}

/// A vault that is too large to hand over is handed over all the same once its successor is there.
#[test]
fn a_too_large_vault_still_gets_its_successor() {
    tighten(1, |share| Limits { hostcall_bytes: ((16 << 20) as f64 * share) as usize, ..Limits::default() });
}

/// The event sink is the embedder's own code, and it is called between the answer and the vault too.
#[test]
fn an_event_sink_that_panics_costs_no_token() {
    let (home, server) = (Home::new(0), Server::default());
    let keeper = Keeper::builder().storage(home.storage()).http(server);
    let keeper = keeper.events(|_: &Event| panic!("a bug of the embedder")).build().expect("a keeper");
    assert_eq!(keeper.token(&TokenRequest::new(VAULT, "acme")).expect("refreshed").token, "at-1");
    assert!(home.vault().contains("\"rt-1\""));
}
