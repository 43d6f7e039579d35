//! What each verdict leaves behind, over days and months: the logic itself, natively, under a virtual clock.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use lazaret::error::KeeperError;
use lazaret::keeper::{AccessToken, Keeper, TokenRequest};
use lazaret::ports::{
    Acquired, Capabilities, Clock, Document, Event, Events, Http, HttpFailure, Lease, Loaded, Random, Request,
    Response, Scope, Storage, StorageError, Stored, Version,
};
use lazaret::secret::Secret;
use serde_json::{Value, json};

const START_MS: u64 = 1_784_541_600_000;
const SECOND_MS: u64 = 1_000;
const DAY_MS: u64 = 86_400_000;

/// One machine: its documents, its clock, and a server that answers what it is told to.
#[derive(Clone, Default)]
struct World(Rc<Machine>);

#[derive(Default)]
struct Machine {
    documents: RefCell<BTreeMap<String, (u64, String)>>,
    now_ms: Cell<u64>,
    answers: RefCell<VecDeque<Response>>,
    requests: Cell<u32>,
    events: RefCell<Vec<String>>,
}

impl World {
    /// With a login whose access token ended an hour ago.
    fn new() -> Self {
        let world = Self::default();
        world.0.now_ms.set(START_MS);
        world.log_in("rt-1");
        world.profile("client-1");
        world
    }

    fn log_in(&self, refresh_token: &str) {
        let login = json!({ "tokens": { "access_token": "at-old", "refresh_token": refresh_token, "expires_in": 3600 },
            "last_refresh": "2026-07-20T08:00:00Z" });
        self.write("vault", &json!({ "providers": { "acme": login } }).to_string());
    }

    fn profile(&self, client: &str) {
        let profile = json!({ "token_endpoint": "https://acme.example/token", "client_id": client });
        self.write("providers.json", &json!({ "profiles": { "acme": profile } }).to_string());
    }

    fn write(&self, name: &str, text: &str) {
        let mut documents = self.0.documents.borrow_mut();
        let version = documents.get(name).map_or(0, |(version, _)| version + 1);
        documents.insert(name.to_owned(), (version, text.to_owned()));
    }

    fn vault(&self) -> Value {
        serde_json::from_str(&self.0.documents.borrow()["vault"].1).expect("json")
    }

    fn ledger(&self) -> String {
        self.0.documents.borrow()["vault.lazaret"].1.clone()
    }

    fn answer(&self, status: u16, body: &Value) {
        self.answer_with(status, &[], body);
    }

    fn answer_with(&self, status: u16, headers: &[(&str, &str)], body: &Value) {
        let mut headers: Vec<_> =
            headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        headers.push(("content-type".into(), "application/json".into()));
        let body = Secret::new(body.to_string());
        self.0.answers.borrow_mut().push_back(Response {
            status,
            headers,
            body,
            body_complete: true,
            body_lossy: false,
        });
    }

    fn pass(&self, time_ms: u64) {
        self.0.now_ms.set(self.0.now_ms.get() + time_ms);
    }

    /// A new session asks for a token.
    fn token(&self) -> Result<AccessToken, KeeperError> {
        let request = TokenRequest {
            vault: "vault".into(),
            provider: "acme".into(),
            credential: None,
            min_valid_s: 0,
            refused_access_token: None,
        };
        let keeper = Keeper::new(self.clone());
        now(keeper.token(&request))
    }

    fn reset(&self) {
        now(Keeper::new(self.clone()).reset("vault", "acme", None)).expect("there is something to end");
    }

    fn requests(&self) -> u32 {
        self.0.requests.get()
    }
}

/// Nothing here waits, so a future is ready when it is polled once.
fn now<T>(call: impl Future<Output = T>) -> T {
    match pin!(call).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("something waited"),
    }
}

impl Storage for World {
    async fn load(&self, name: &str, known: Option<&Version>) -> Result<Loaded, StorageError> {
        let documents = self.0.documents.borrow();
        let Some((version, text)) = documents.get(name) else { return Ok(Loaded::Absent) };
        let version = Version(version.to_string());
        if known == Some(&version) {
            return Ok(Loaded::Unchanged);
        }
        Ok(Loaded::Found(Document { version, text: Secret::from(text.as_str()) }))
    }

    async fn store(
        &self,
        name: &str,
        text: &str,
        expected: Option<&Version>,
        _durable: bool,
        _lease: Option<&Lease>,
    ) -> Result<Stored, StorageError> {
        let current = self.0.documents.borrow().get(name).map(|(version, _)| Version(version.to_string()));
        if current.as_ref() != expected {
            return Ok(Stored::Stale(None));
        }
        self.write(name, text);
        Ok(Stored::Done(Version(self.0.documents.borrow()[name].0.to_string())))
    }

    async fn acquire(&self, _: &Scope, _: u64, _: u64) -> Result<Acquired, StorageError> {
        Ok(Acquired::Granted { lease: Lease("lease".into()), granted_ttl_ms: None })
    }

    async fn release(&self, _: &Lease) {}

    fn describe(&self) -> Capabilities {
        Capabilities { reads_are_linearizable: true, excludes_foreign: true }
    }
}

impl Http for World {
    async fn send(&self, _: Request) -> Result<Response, HttpFailure> {
        self.0.requests.set(self.0.requests.get() + 1);
        Ok(self.0.answers.borrow_mut().pop_front().expect("no request was expected"))
    }
}

impl Clock for World {
    fn wall_ms(&self) -> u64 {
        self.0.now_ms.get()
    }

    fn monotonic_ms(&self) -> u64 {
        self.0.now_ms.get()
    }
}

impl Random for World {
    fn random_u64(&self) -> u64 {
        4
    }
}

impl Events for World {
    fn emit(&self, event: Event) {
        self.0.events.borrow_mut().push(event.name.to_owned());
    }
}

fn tokens() -> Value {
    json!({ "access_token": "at-new", "refresh_token": "rt-2", "expires_in": 3600, "token_type": "Bearer" })
}

#[test]
fn a_wait_that_the_server_names_is_kept_to_the_second_by_every_session() {
    let world = World::new();
    world.answer_with(429, &[("Retry-After", "120")], &json!({ "error": "slow_down" }));
    assert_eq!(world.token().expect_err("throttled").retry_after_s, Some(120));
    world.pass(119 * SECOND_MS);
    assert_eq!(world.token().expect_err("not yet").retry_after_s, Some(1));
    assert_eq!(world.requests(), 1);
    world.pass(SECOND_MS);
    world.answer(200, &tokens());
    assert_eq!(world.token().expect("refreshed").token.expose(), "at-new");
}

#[test]
fn a_server_in_trouble_is_asked_less_and_less_often_up_to_a_cap() {
    let world = World::new();
    let mut waits = Vec::new();
    for _ in 0..10 {
        world.answer(503, &json!({}));
        let wait_s = world.token().expect_err("in trouble").retry_after_s.expect("a wait");
        waits.push(wait_s);
        world.pass(wait_s * SECOND_MS);
    }
    assert!(waits.windows(2).all(|pair| pair[0] <= pair[1]), "{waits:?}");
    assert!((4..=6).contains(&waits[0]) && (240..=360).contains(&waits[9]), "{waits:?}");
    world.answer(200, &tokens());
    world.token().expect("the token lived through it");
    // And it is forgotten: the next trouble begins at the beginning.
    world.pass(2 * 3_600 * SECOND_MS);
    world.answer(503, &json!({}));
    assert!(world.token().expect_err("in trouble").retry_after_s <= Some(6));
}

#[test]
fn a_clock_that_was_set_back_does_not_stretch_a_cooldown() {
    let world = World::new();
    world.answer(503, &json!({}));
    world.token().expect_err("in trouble");
    world.0.now_ms.set(START_MS - 3_600 * SECOND_MS);
    world.answer(200, &tokens());
    // By that clock the old token is not valid yet again either: it is the refreshed one that comes.
    assert_eq!(world.token().expect("tried at once").token.expose(), "at-new");
}

#[test]
fn what_only_a_person_can_mend_is_held_until_something_changes() {
    for (status, code, action) in [
        (400, "interaction_required", "configure"),
        (401, "invalid_client", "configure"),
        (400, "invalid_scope", "configure"),
    ] {
        // Held for a year, and ended by another client.
        let world = World::new();
        world.answer(status, &json!({ "error": code }));
        assert_eq!(world.token().expect_err("held").action.as_str(), action, "{code}");
        world.pass(365 * DAY_MS);
        assert_eq!(world.token().expect_err("still held").code, "held", "{code}");
        assert_eq!(world.requests(), 1, "{code}");
        assert_eq!(
            world.vault()["providers"]["acme"]["tokens"]["refresh_token"],
            "rt-1",
            "{code}: nothing was taken out"
        );
        world.profile("client-2");
        world.answer(200, &tokens());
        world.token().expect("another client, another try");
        // Or by another login.
        let world = World::new();
        world.answer(status, &json!({ "error": code }));
        world.token().expect_err("held");
        world.log_in("rt-of-a-new-login");
        world.answer(200, &tokens());
        world.token().expect("another token, another try");
        // Or by a person who says so, for one try.
        let world = World::new();
        world.answer(status, &json!({ "error": code }));
        world.token().expect_err("held");
        world.reset();
        world.answer(status, &json!({ "error": code }));
        world.token().expect_err("held again");
        world.token().expect_err("held again");
        assert_eq!(world.requests(), 2, "{code}");
    }
}

#[test]
fn an_answer_that_nobody_understands_is_tried_five_times_and_then_parked() {
    let world = World::new();
    for _ in 0..5 {
        world.answer(418, &json!({ "mood": "teapot" }));
        world.token().expect_err("what?");
        world.pass(2 * 3_600 * SECOND_MS);
    }
    assert_eq!(world.token().expect_err("parked").code, "parked");
    assert_eq!(
        world.0.events.borrow().iter().filter(|name| *name == "parked").count(),
        1,
        "the operator was told once"
    );
    world.pass(365 * DAY_MS);
    world.token().expect_err("parked for good");
    assert_eq!(world.requests(), 5);
    assert_eq!(world.vault()["providers"]["acme"]["tokens"]["refresh_token"], "rt-1", "and never called dead");
    world.reset();
    world.answer(200, &tokens());
    world.token().expect("an operator said so");
}

#[test]
fn in_the_advisory_window_a_failure_leaves_the_good_token_served() {
    let world = World::new();
    world.0.now_ms.set(START_MS - 3_660 * SECOND_MS);
    world.answer(503, &json!({}));
    let token = world.token().expect("a minute is left");
    assert_eq!((token.token.expose(), token.warning.is_some()), ("at-old", true));
    world.token().expect("and it is served while the refresh cools down");
    assert_eq!(world.requests(), 1);
}

#[test]
fn a_tombstone_outlives_the_sealed_copy_and_a_new_login_with_the_same_token_earns_one_send() {
    let world = World::new();
    world.answer(400, &json!({ "error": "invalid_grant" }));
    assert_eq!(world.token().expect_err("dead").code, "quarantined");
    world.pass(8 * DAY_MS);
    let keeper = Keeper::new(world.clone());
    now(keeper.unquarantine("vault", "acme", None)).expect_err("its seven days are over");
    // Another program puts the old file back, a year later.
    world.pass(365 * DAY_MS);
    world.log_in("rt-1");
    assert_eq!(world.token().expect_err("still dead").code, "quarantined");
    assert_eq!(world.requests(), 1);
    // A person logs in again, and the server gives the same refresh token beside a new access token.
    let later = lazaret::time::to_rfc3339(world.0.now_ms.get() - 3_700 * SECOND_MS, lazaret::time::Zone::Letter);
    let login = json!({ "tokens": { "access_token": "at-of-a-new-login", "refresh_token": "rt-1", "expires_in": 3600 }, "last_refresh": later });
    world.write("vault", &json!({ "providers": { "acme": login } }).to_string());
    world.answer(200, &tokens());
    assert_eq!(world.token().expect("it lives").token.expose(), "at-new");
}

#[test]
fn a_record_that_cannot_be_understood_stops_its_token_and_no_other_and_is_left_as_it_is() {
    let world = World::new();
    world.answer(503, &json!({}));
    world.token().expect_err("in trouble");
    let broken = world.ledger().replace("\"live\"", "\"alive\"");
    world.write("vault.lazaret", &broken);
    let keeper = Keeper::new(world.clone());
    assert_eq!(world.token().expect_err("what is known of it cannot be read").code, "corrupt-ledger");
    assert_eq!(now(keeper.reset("vault", "acme", None)).expect_err("nor ended").code, "corrupt-ledger");
    let warnings = now(keeper.status("vault", None)).expect("served").warnings;
    assert!(warnings[0].contains("`state` should be one of"), "{warnings:?}");
    assert_eq!((world.requests(), world.ledger()), (1, broken.clone()));
    // Another login does not need it, until what is old is looked for.
    world.log_in("rt-of-another-login");
    world.answer(200, &tokens());
    world.token().expect("refreshed");
    assert!(world.ledger().contains("\"alive\"") && world.ledger().contains("\"spent\""));
    world.pass(DAY_MS);
    assert_eq!(world.token().expect_err("every record is read now").code, "corrupt-ledger");
    assert_eq!(world.requests(), 2);
}
