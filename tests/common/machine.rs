//! One machine for the logic to run on natively: documents in memory, a clock that stands still until it is told, and a server
//! that answers what it was told to. Nothing in it waits.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::future::{Future, pending};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use lazaretto::error::KeeperError;
use lazaretto::keeper::{AccessToken, Keeper, TokenRequest};
use lazaretto::ports::{
    Acquired, Capabilities, Clock, Document, Event, Events, Holder, Http, HttpFailure, Lease, Loaded, Random, Request,
    Response, Scope, Severity, Storage, StorageError, Stored, Version,
};
use lazaretto::secret::Secret;
use lazaretto::status::CredentialStatus;
use serde_json::{Value, json};

pub const START_MS: u64 = 1_784_541_600_000;
pub const SECOND_MS: u64 = 1_000;
pub const DAY_MS: u64 = 86_400_000;
/// Since when a lease is held that somebody holds.
pub const HELD_SINCE_MS: u64 = START_MS + 7;

/// One machine: its documents, its clock, and a server that answers what it is told to.
#[derive(Clone, Default)]
pub struct World(pub Rc<Machine>);

#[derive(Default)]
pub struct Machine {
    documents: RefCell<BTreeMap<String, (u64, String)>>,
    pub now_ms: Cell<u64>,
    answers: RefCell<VecDeque<Answer>>,
    drawn: Cell<u64>,
    /// The body of each request, and when it left.
    pub sent: RefCell<Vec<(String, u64)>>,
    /// The headers of each request.
    pub headers: RefCell<Vec<Vec<(String, String)>>>,
    /// Where each request went.
    pub urls: RefCell<Vec<String>>,
    /// How long each might take, in milliseconds.
    pub deadlines: RefCell<Vec<u64>>,
    pub events: RefCell<Vec<Event>>,
    /// Every store and every send, in order.
    pub deeds: RefCell<Vec<String>>,
    /// Another process holds every lease.
    pub is_busy: Cell<bool>,
    /// What is leased by a process that lives.
    held: RefCell<Vec<Scope>>,
    /// How long each lease was waited for, in milliseconds.
    pub waits: RefCell<Vec<u64>>,
    meanwhile: RefCell<Option<(Moment, Deed)>>,
    /// The document that cannot be written.
    refused: RefCell<String>,
}

type Deed = Box<dyn FnOnce(&World)>;

enum Answer {
    Comes(Response),
    /// After so many milliseconds.
    Fails(u64, HttpFailure),
    /// The process is gone by then.
    Never,
}

/// When somebody else does something.
pub enum Moment {
    /// Right before the next call of this kind: `load`, `store`, `acquire`, `release`, `holder_of` or `send`.
    Before(&'static str),
    /// So many calls from now.
    After(u32),
}

impl World {
    /// With a login whose access token ended an hour ago.
    pub fn new() -> Self {
        let world = Self::default();
        world.0.now_ms.set(START_MS);
        world.log_in("rt-1");
        world.profile("client-1");
        world
    }

    pub fn log_in(&self, refresh_token: &str) {
        self.write("vault", &json!({ "providers": { "acme": login(refresh_token) } }).to_string());
    }

    pub fn profile(&self, client: &str) {
        self.profile_with(&json!({ "client_id": client }));
    }

    /// What a profile of acme says beside its endpoint.
    pub fn profile_with(&self, more: &Value) {
        let mut profile = more.clone();
        profile["token_endpoint"] = json!("https://acme.example/token");
        self.write("providers.json", &json!({ "profiles": { "acme": profile } }).to_string());
    }

    pub fn write(&self, name: &str, text: &str) {
        let mut documents = self.0.documents.borrow_mut();
        let version = documents.get(name).map_or(0, |(version, _)| version + 1);
        documents.insert(name.to_owned(), (version, text.to_owned()));
    }

    pub fn text(&self, name: &str) -> String {
        self.0.documents.borrow()[name].1.clone()
    }

    pub fn vault(&self) -> Value {
        serde_json::from_str(&self.text("vault")).expect("json")
    }

    /// The tokens of the login, as they are stored.
    pub fn tokens(&self) -> Value {
        self.vault()["providers"]["acme"]["tokens"].clone()
    }

    pub fn answer(&self, status: u16, body: &Value) {
        self.answer_with(status, &[], body);
    }

    pub fn answer_with(&self, status: u16, headers: &[(&str, &str)], body: &Value) {
        let headers = [headers, &[("content-type", "application/json")]].concat();
        self.answer_text(status, &headers, &body.to_string());
    }

    pub fn answer_text(&self, status: u16, headers: &[(&str, &str)], body: &str) {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let body = Secret::new(body.to_owned());
        let response = Response { status, headers, body, body_complete: true, body_lossy: false };
        self.0.answers.borrow_mut().push_back(Answer::Comes(response));
    }

    /// No answer comes to the next request.
    pub fn fail(&self, kind: &str, maybe_sent: bool, after_ms: u64) {
        let failure =
            HttpFailure { kind: kind.to_owned(), maybe_sent, message: format!("https://acme.example: {kind}") };
        self.0.answers.borrow_mut().push_back(Answer::Fails(after_ms, failure));
    }

    /// The process is killed when its next request has left.
    pub fn die_at_the_next_request(&self) {
        self.0.answers.borrow_mut().push_back(Answer::Never);
    }

    /// Somebody else does something, once.
    pub fn meanwhile(&self, moment: Moment, deed: impl FnOnce(&World) + 'static) {
        *self.0.meanwhile.borrow_mut() = Some((moment, Box::new(deed)));
    }

    /// This document cannot be written any more.
    pub fn refuse(&self, name: &str) {
        name.clone_into(&mut self.0.refused.borrow_mut());
    }

    /// Whether that has not happened yet.
    pub fn is_still_to_come(&self) -> bool {
        self.0.meanwhile.borrow().is_some()
    }

    /// From now on no two random numbers are the same.
    pub fn let_chance_decide(&self) {
        self.0.drawn.set(1);
    }

    /// What was not asked for is not answered.
    pub fn forget_answers(&self) {
        self.0.answers.borrow_mut().clear();
    }

    pub fn pass(&self, time_ms: u64) {
        self.0.now_ms.set(self.0.now_ms.get() + time_ms);
    }

    /// A new session asks for a token.
    pub fn token(&self) -> Result<AccessToken, KeeperError> {
        self.advised(now(Keeper::new(self.clone()).token(&request(None))))
    }

    /// What the contract makes of an error: with the command that helps.
    fn advised(&self, done: Result<AccessToken, KeeperError>) -> Result<AccessToken, KeeperError> {
        done.map_err(|error| now(Keeper::new(self.clone()).advised("vault", Some("acme"), error)))
    }

    /// A new session asks for another token than the one an API refused.
    pub fn token_instead_of(&self, refused: &str) -> Result<AccessToken, KeeperError> {
        self.advised(now(Keeper::new(self.clone()).token(&request(Some(refused)))))
    }

    /// A new session asks for another token than the one that is there.
    pub fn refresh(&self) -> Result<AccessToken, KeeperError> {
        now(Keeper::new(self.clone()).refresh(&request(None)))
    }

    /// A new session asks for a token, and is killed before it has one.
    pub fn token_of_a_process_that_dies(&self) {
        let keeper = Keeper::new(self.clone());
        let request = request(None);
        let call = pin!(keeper.token(&request));
        assert!(call.poll(&mut Context::from_waker(Waker::noop())).is_pending(), "it lived");
        self.0.held.borrow_mut().clear();
    }

    pub fn reset(&self) {
        now(Keeper::new(self.clone()).reset("vault", "acme", None)).expect("there is something to end");
    }

    /// Of the first credential.
    pub fn status(&self) -> CredentialStatus {
        let report = now(Keeper::new(self.clone()).status("vault", Some("acme"))).expect("a status");
        report.credentials.into_iter().next().expect("a credential")
    }

    pub fn requests(&self) -> usize {
        self.0.sent.borrow().len()
    }

    /// What each request carried under this name.
    pub fn sent(&self, name: &str) -> Vec<String> {
        let value = |body: &str| {
            let pair = body.split('&').filter_map(|pair| pair.split_once('=')).find(|pair| pair.0 == name);
            pair.map_or_else(String::new, |pair| pair.1.to_owned())
        };
        self.0.sent.borrow().iter().map(|(body, _)| value(body)).collect()
    }

    /// The names of all events that a person should see.
    pub fn warnings(&self) -> Vec<&'static str> {
        let events = self.0.events.borrow();
        events.iter().filter(|event| event.severity != Severity::Info).map(|event| event.name).collect()
    }

    /// Before each call that leaves the logic.
    fn step(&self, call: &str) {
        let mut meanwhile = self.0.meanwhile.borrow_mut();
        let is_now = match &mut *meanwhile {
            Some((Moment::Before(kind), _)) => *kind == call,
            Some((Moment::After(0), _)) => true,
            Some((Moment::After(calls), _)) => {
                *calls -= 1;
                false
            }
            None => false,
        };
        let due = if is_now { meanwhile.take() } else { None };
        drop(meanwhile);
        if let Some((_, deed)) = due {
            deed(self);
        }
    }
}

/// A login as the reference writes it, whose access token ended an hour ago.
pub fn login(refresh_token: &str) -> Value {
    json!({ "tokens": { "access_token": "at-old", "refresh_token": refresh_token, "expires_in": 3600 },
        "last_refresh": "2026-07-20T08:00:00Z" })
}

/// What a server answers that rotates.
pub fn tokens() -> Value {
    json!({ "access_token": "at-new", "refresh_token": "rt-2", "expires_in": 3600, "token_type": "Bearer" })
}

fn request(refused: Option<&str>) -> TokenRequest {
    TokenRequest {
        vault: "vault".into(),
        provider: "acme".into(),
        credential: None,
        min_valid_s: 0,
        refused_access_token: refused.map(Secret::from),
        session: None,
    }
}

/// Nothing here waits, so a future is ready when it is polled once.
pub fn now<T>(call: impl Future<Output = T>) -> T {
    match pin!(call).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("something waited"),
    }
}

impl Storage for World {
    async fn load(&self, name: &str, known: Option<&Version>) -> Result<Loaded, StorageError> {
        self.step("load");
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
        durable: bool,
        _lease: Option<&Lease>,
    ) -> Result<Stored, StorageError> {
        self.step("store");
        if *self.0.refused.borrow() == name {
            return Err(StorageError { code: "full".into(), message: "no space left, says the test".into() });
        }
        let current = self.0.documents.borrow().get(name).map(|(version, _)| Version(version.to_string()));
        if current.as_ref() != expected {
            return Ok(Stored::Stale(None));
        }
        self.write(name, text);
        let how = if durable { "durably" } else { "at leisure" };
        self.0.deeds.borrow_mut().push(format!("{name} {how}"));
        Ok(Stored::Done(Version(self.0.documents.borrow()[name].0.to_string())))
    }

    async fn acquire(&self, scope: &Scope, _: u64, wait_ms: u64) -> Result<Acquired, StorageError> {
        self.step("acquire");
        if self.0.is_busy.get() {
            self.0.waits.borrow_mut().push(wait_ms);
            return Ok(Acquired::Busy("pid 7".to_owned()));
        }
        self.0.held.borrow_mut().push(scope.clone());
        let lease = Lease(format!("{scope:?}"));
        Ok(Acquired::Granted { lease, granted_ttl_ms: None })
    }

    async fn release(&self, lease: &Lease) {
        self.step("release");
        self.0.held.borrow_mut().retain(|scope| format!("{scope:?}") != lease.0);
    }

    async fn holder_of(&self, scope: &Scope) -> Result<Option<Holder>, StorageError> {
        self.step("holder_of");
        let is_held = self.0.held.borrow().contains(scope) || self.0.is_busy.get();
        Ok(is_held.then(|| Holder { name: "pid 7".to_owned(), since_ms: Some(HELD_SINCE_MS) }))
    }

    fn describe(&self) -> Capabilities {
        Capabilities { reads_are_linearizable: true, excludes_foreign: true }
    }
}

impl Http for World {
    async fn send(&self, request: Request) -> Result<Response, HttpFailure> {
        self.step("send");
        self.0.sent.borrow_mut().push((request.body.expose().to_owned(), self.0.now_ms.get()));
        self.0.urls.borrow_mut().push(request.url.clone());
        let headers = request.headers.iter().map(|(name, value)| (name.clone(), value.expose().to_owned()));
        self.0.headers.borrow_mut().push(headers.collect());
        self.0.deadlines.borrow_mut().push(request.deadline_ms);
        self.0.deeds.borrow_mut().push("send".to_owned());
        let answer = self.0.answers.borrow_mut().pop_front().expect("no request was expected");
        match answer {
            Answer::Comes(response) => Ok(response),
            Answer::Fails(after_ms, failure) => {
                self.pass(after_ms);
                Err(failure)
            }
            Answer::Never => pending().await,
        }
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
        // The same each time, unless a test is about chance.
        let drawn = self.0.drawn.get();
        if drawn > 0 {
            self.0.drawn.set(drawn + 1);
        }
        4 + (drawn.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40)
    }
}

impl Events for World {
    fn emit(&self, event: Event) {
        self.0.events.borrow_mut().push(event);
    }
}
