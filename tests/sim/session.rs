//! The shipped code, as the scheduler sees it: a session asks something of the world, is answered, and asks the next.
//!
//! A session reaches nothing but its ports, so what it does next follows from what it was answered so far, and from nothing
//! else. Each such history is run through the shipped code once; whenever it comes up again, in whatever schedule, the
//! session is a number that moves along a tree. That is why millions of schedules can be run: not one of them runs a model
//! of the protocol. [`Sessions::forgetful`] runs every step anew, and a test sees that it comes to the same.

use std::cell::{Cell, OnceCell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use lazaret::error::KeeperError;
use lazaret::keeper::{AccessToken, Keeper, TokenRequest};
use lazaret::ports::{
    Acquired, Capabilities, Clock, Document, Event, Events, Http, HttpFailure, Lease, Loaded, Random, Request,
    Response, Scope, Storage, StorageError, Stored, Version,
};
use lazaret::secret::Secret;
use rustc_hash::FxHashMap;

use super::server::{Answer, NO_TOKEN, Token};
use super::text::{self, Text, Texts, Tokens};

/// Milliseconds since 1970 at which every simulation's wall clock shows `BEGINNING_MS`.
pub const EPOCH_MS: u64 = 1_784_541_600_000 - BEGINNING_MS as u64;
pub const BEGINNING_MS: u32 = 864_000_000;

/// A document of the simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Doc {
    Vault,
    Ledger,
    Sealed,
    Settings,
    Profiles,
}

/// What a lease is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Right {
    /// Writing the vault, for whoever writes it.
    Vault,
    /// Refreshing a grant.
    Grant(Token),
}

/// What a session asks of the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    Load {
        doc: Doc,
        known: Option<Text>,
    },
    Store {
        doc: Doc,
        text: Text,
        expected: Option<Text>,
        durable: bool,
    },
    Acquire {
        right: Right,
        ttl_ms: u32,
        wait_ms: u32,
    },
    Release {
        right: Right,
    },
    Send {
        token: Token,
        deadline_ms: u32,
    },
    /// It has ended.
    End(u32),
}

/// What it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reply {
    /// The first poll: nothing was asked yet.
    Start,
    Unchanged,
    Absent,
    Found(Text),
    Stored(Text),
    Stale,
    Unknown,
    Failed,
    Granted {
        ttl_ms: u32,
    },
    Busy,
    Released,
    Answered(Answer),
    NoAnswer {
        maybe_sent: bool,
    },
}

/// Both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Now {
    pub wall_ms: u32,
    pub mono_ms: u32,
}

/// What a session is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Errand {
    /// A token, please.
    Token,
    /// Another one than the one that is there.
    Refresh,
    /// A token; and as an API refuses it, another. In one instance.
    TokenTwice,
    /// A person puts back what was quarantined.
    Unquarantine,
    /// A person ends a hold.
    Reset,
}

/// A session's beginning: with its number, it decides everything that is not answered by the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Start {
    /// Tells this session's random numbers from any other's.
    pub number: u8,
    pub errand: Errand,
    pub reads_may_be_stale: bool,
}

/// How one call of a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ended {
    Token(text::Access),
    Done,
    Error { code: &'static str, action: &'static str, retry_after_s: Option<u64> },
}

/// How a session ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct End {
    pub calls: Vec<Ended>,
    /// It was handed what could be stored nowhere, and could not store it later either.
    pub unsaved: Tokens,
}

/// A point in a session's history.
pub type At = u32;

struct Point {
    call: Call,
    /// What it told since the point before.
    events: Box<[Text]>,
    parent: At,
    reply: Reply,
    now: Now,
    /// What came next the first time: mostly it comes next again.
    next: Option<(Reply, Now, At)>,
}

/// Every history that came up.
pub struct Sessions {
    pub texts: Rc<RefCell<Texts>>,
    first_texts: OnceCell<(Text, Text)>,
    points: Vec<Point>,
    next: FxHashMap<(At, Reply, Now), At>,
    starts: FxHashMap<(Start, Now), At>,
    started: FxHashMap<At, Start>,
    ends: Vec<End>,
    end_numbers: FxHashMap<End, u32>,
    /// How often the shipped code was run for a step.
    pub polls: u64,
    remembers: bool,
    /// A secret that was told or returned in an error.
    pub leak: Option<String>,
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            texts: Rc::default(),
            first_texts: OnceCell::new(),
            points: Vec::new(),
            next: FxHashMap::default(),
            starts: FxHashMap::default(),
            started: FxHashMap::default(),
            ends: Vec::new(),
            end_numbers: FxHashMap::default(),
            polls: 0,
            remembers: true,
            leak: None,
        }
    }
}

impl Sessions {
    /// Runs the shipped code for every step, whether it came up before or not.
    pub fn forgetful() -> Self {
        Self { remembers: false, ..Self::default() }
    }

    /// The vault that every world begins with, and the settings that say it is nobody else's.
    pub fn first_texts(&self) -> (Text, Text) {
        *self.first_texts.get_or_init(|| {
            let mut texts = self.texts.borrow_mut();
            (texts.number(include_str!("vault.json")), texts.number("{\"shared_with_reference\": false}"))
        })
    }

    /// How many points it remembers.
    pub fn len(&self) -> usize {
        self.points.len()
    }

    pub fn call(&self, at: At) -> Call {
        self.points[at as usize].call
    }

    pub fn events(&self, at: At) -> &[Text] {
        &self.points[at as usize].events
    }

    pub fn end(&self, number: u32) -> &End {
        &self.ends[number as usize]
    }

    /// A session begins. `live` keeps the running code, where it must be run.
    pub fn start(&mut self, start: Start, now: Now, live: &mut Option<Live>) -> At {
        if self.remembers
            && let Some(at) = self.starts.get(&(start, now))
        {
            return *at;
        }
        let mut running = Live::new(start, self.texts.clone());
        let at = self.run(&mut running, u32::MAX, Reply::Start, now);
        *live = Some(running);
        self.starts.insert((start, now), at);
        self.started.insert(at, start);
        at
    }

    /// The session at a point is answered.
    pub fn answer(&mut self, at: At, reply: Reply, now: Now, live: &mut Option<Live>) -> At {
        if self.remembers {
            match self.points[at as usize].next {
                Some((known, then, next)) if known == reply && then == now => return next,
                Some(_) => {
                    if let Some(next) = self.next.get(&(at, reply, now)) {
                        return *next;
                    }
                }
                None => {}
            }
        }
        let mut running = match live.take() {
            Some(running) if running.at == at => running,
            _ => self.replay(at),
        };
        let next = self.run(&mut running, at, reply, now);
        *live = Some(running);
        match &mut self.points[at as usize].next {
            Some(_) => drop(self.next.insert((at, reply, now), next)),
            first => *first = Some((reply, now, next)),
        }
        next
    }

    /// Runs the code to where it was.
    fn replay(&mut self, at: At) -> Live {
        let mut path = Vec::new();
        let mut point = at;
        while self.points[point as usize].parent != u32::MAX {
            path.push(point);
            point = self.points[point as usize].parent;
        }
        let mut running = Live::new(self.started[&point], self.texts.clone());
        self.polls += 1 + path.len() as u64;
        running.poll(Reply::Start, self.points[point as usize].now);
        for point in path.into_iter().rev() {
            let Point { call, reply, now, .. } = self.points[point as usize];
            let again = running.poll(reply, now);
            assert!(again.0.is_none_or(|again| again == call), "a session's history decides what it does");
        }
        running.at = at;
        running.take_events();
        running
    }

    fn run(&mut self, running: &mut Live, parent: At, reply: Reply, now: Now) -> At {
        self.polls += 1;
        let (call, end) = running.poll(reply, now);
        let events = running.take_events();
        let call = call.unwrap_or_else(|| Call::End(self.number(end.expect("it asks or it ends"))));
        self.leak = self.leak.take().or_else(|| running.wire.leak.take());
        let at = self.points.len() as At;
        self.points.push(Point { call, events, parent, reply, now, next: None });
        running.at = at;
        at
    }

    fn number(&mut self, end: End) -> u32 {
        let ends = &mut self.ends;
        *self.end_numbers.entry(end.clone()).or_insert_with(|| {
            ends.push(end);
            ends.len() as u32 - 1
        })
    }
}

/// A session whose code is running.
pub struct Live {
    wire: Rc<Wire>,
    code: Pin<Box<dyn Future<Output = End>>>,
    at: At,
}

impl Live {
    fn new(start: Start, texts: Rc<RefCell<Texts>>) -> Self {
        let wire = Rc::new(Wire {
            call: Cell::new(None),
            reply: Cell::new(None),
            now: Cell::new(Now { wall_ms: 0, mono_ms: 0 }),
            randoms: Cell::new(u64::from(start.number) << 32 | 1),
            reads_may_be_stale: start.reads_may_be_stale,
            events: RefCell::default(),
            leak: Cell::new(None),
            texts,
        });
        Self { code: Box::pin(run(Ports(wire.clone()), start.errand)), wire, at: u32::MAX }
    }

    fn poll(&mut self, reply: Reply, now: Now) -> (Option<Call>, Option<End>) {
        self.wire.reply.set(Some(reply).filter(|reply| *reply != Reply::Start));
        self.wire.now.set(now);
        match self.code.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => (self.wire.call.take(), None),
            Poll::Ready(end) => (None, Some(end)),
        }
    }

    fn take_events(&mut self) -> Box<[Text]> {
        self.wire.events.take().into()
    }
}

/// One session, from its first call to its last.
async fn run(ports: Ports, errand: Errand) -> End {
    let wire = ports.0.clone();
    let keeper = Keeper::new(ports);
    let request = |refused: Option<Secret>| TokenRequest {
        vault: "vault".into(),
        provider: "xai-oauth".into(),
        credential: Some("login".into()),
        min_valid_s: 0,
        refused_access_token: refused,
    };
    let mut end = End { calls: Vec::new(), unsaved: Tokens::default() };
    let mut unsaved = Vec::new();
    let mut note = |result: Result<AccessToken, KeeperError>| match result {
        Ok(token) => {
            unsaved.extend(token.unsaved);
            end.calls.push(Ended::Token(text::as_access_token(token.token.expose()).expect("an access token")));
            Some(token.token)
        }
        Err(error) => {
            end.calls.push(wire.error(&error));
            None
        }
    };
    match errand {
        Errand::Token => drop(note(keeper.token(&request(None)).await)),
        Errand::Refresh => drop(note(keeper.refresh(&request(None)).await)),
        Errand::TokenTwice => {
            if let Some(token) = note(keeper.token(&request(None)).await) {
                note(keeper.token(&request(Some(token))).await);
            }
        }
        Errand::Unquarantine | Errand::Reset => {
            let result = match errand {
                Errand::Reset => keeper.reset("vault", "xai-oauth", Some("login")).await,
                _ => keeper.unquarantine("vault", "xai-oauth", Some("login")).await,
            };
            end.calls.push(result.map_or_else(|error| wire.error(&error), |_| Ended::Done));
        }
    }
    // As `AccessToken::unsaved` asks: kept, and tried again.
    for unsaved in unsaved {
        if keeper.save_unsaved(&unsaved).await.is_err() && keeper.save_unsaved(&unsaved).await.is_err() {
            let json: serde_json::Value = serde_json::from_str(unsaved.expose()).expect("JSON");
            let token = json["successor"]["refresh_token"].as_str().and_then(text::as_refresh_token);
            end.unsaved = token.map_or(end.unsaved, |token| end.unsaved.with(token));
        }
    }
    end
}

/// Between a session and the scheduler.
struct Wire {
    call: Cell<Option<Call>>,
    reply: Cell<Option<Reply>>,
    now: Cell<Now>,
    randoms: Cell<u64>,
    reads_may_be_stale: bool,
    events: RefCell<Vec<Text>>,
    leak: Cell<Option<String>>,
    texts: Rc<RefCell<Texts>>,
}

impl Wire {
    /// Parks the session until the scheduler has answered.
    fn ask(&self, call: Call) -> impl Future<Output = Reply> {
        let mut call = Some(call);
        std::future::poll_fn(move |_| match call.take() {
            Some(call) => {
                self.call.set(Some(call));
                Poll::Pending
            }
            None => self.reply.take().map_or(Poll::Pending, Poll::Ready),
        })
    }

    fn error(&self, error: &KeeperError) -> Ended {
        self.look_for_secrets(&format!("{error} {error:?}"));
        Ended::Error { code: error.code, action: error.action.as_str(), retry_after_s: error.retry_after_s }
    }

    fn look_for_secrets(&self, text: &str) {
        if text::shows_a_token(text) {
            self.leak.set(Some(text.to_owned()));
        }
    }

    fn version(&self, version: Option<&Version>) -> Option<Text> {
        version.map(|version| Text(version.0.parse().expect("a version of this world")))
    }

    fn right(&self, scope: &Scope) -> Right {
        match scope {
            Scope::Document(_) => Right::Vault,
            Scope::Grant { fingerprint, .. } => {
                Right::Grant(self.texts.borrow().token_of(fingerprint).unwrap_or(NO_TOKEN))
            }
        }
    }
}

#[derive(Clone)]
struct Ports(Rc<Wire>);

fn doc(name: &str) -> Doc {
    match name {
        "vault" => Doc::Vault,
        "vault.lazaret" => Doc::Ledger,
        "vault.lazaret-sealed" => Doc::Sealed,
        "settings.json" => Doc::Settings,
        "providers.json" => Doc::Profiles,
        name => panic!("nobody needs a document called {name}"),
    }
}

fn failed() -> StorageError {
    StorageError { code: "io".into(), message: "the disk said no".into() }
}

impl Storage for Ports {
    async fn load(&self, name: &str, known: Option<&Version>) -> Result<Loaded, StorageError> {
        match self.0.ask(Call::Load { doc: doc(name), known: self.0.version(known) }).await {
            Reply::Unchanged => Ok(Loaded::Unchanged),
            Reply::Absent => Ok(Loaded::Absent),
            Reply::Found(text) => Ok(Loaded::Found(Document {
                version: Version(text.0.to_string()),
                text: Secret::from(&*self.0.texts.borrow().text(text)),
            })),
            _ => Err(failed()),
        }
    }

    async fn store(
        &self,
        name: &str,
        text: &str,
        expected: Option<&Version>,
        durable: bool,
        _lease: Option<&Lease>,
    ) -> Result<Stored, StorageError> {
        let text = self.0.texts.borrow_mut().number(text);
        let expected = self.0.version(expected);
        match self.0.ask(Call::Store { doc: doc(name), text, expected, durable }).await {
            Reply::Stored(text) => Ok(Stored::Done(Version(text.0.to_string()))),
            Reply::Stale => Ok(Stored::Stale(None)),
            Reply::Unknown => Ok(Stored::Unknown),
            _ => Err(failed()),
        }
    }

    async fn acquire(&self, scope: &Scope, ttl_ms: u64, wait_ms: u64) -> Result<Acquired, StorageError> {
        let right = self.0.right(scope);
        match self.0.ask(Call::Acquire { right, ttl_ms: ttl_ms as u32, wait_ms: wait_ms as u32 }).await {
            Reply::Granted { ttl_ms } => Ok(Acquired::Granted {
                lease: Lease(match right {
                    Right::Vault => "vault".into(),
                    Right::Grant(token) => token.to_string(),
                }),
                granted_ttl_ms: (ttl_ms > 0).then_some(ttl_ms.into()),
            }),
            Reply::Busy => Ok(Acquired::Busy("pid 1".into())),
            _ => Err(failed()),
        }
    }

    async fn release(&self, lease: &Lease) {
        let right = if lease.0 == "vault" { Right::Vault } else { Right::Grant(lease.0.parse().expect("a lease")) };
        self.0.ask(Call::Release { right }).await;
    }

    fn describe(&self) -> Capabilities {
        Capabilities { reads_are_linearizable: !self.0.reads_may_be_stale, excludes_foreign: true }
    }
}

impl Http for Ports {
    async fn send(&self, request: Request) -> Result<Response, HttpFailure> {
        let sent = request.body.expose().split('&').find_map(|pair| pair.strip_prefix("refresh_token="));
        let token = sent.and_then(text::as_refresh_token).expect("a refresh request names its token");
        match self.0.ask(Call::Send { token, deadline_ms: request.deadline_ms as u32 }).await {
            Reply::Answered(answer) => Ok(response(answer)),
            Reply::NoAnswer { maybe_sent } => Err(HttpFailure {
                kind: if maybe_sent { "timeout" } else { "connect" }.into(),
                maybe_sent,
                message: "no answer".into(),
            }),
            reply => panic!("{reply:?} is no answer to a request"),
        }
    }
}

/// The bytes of an answer.
pub fn response(answer: Answer) -> Response {
    let (status, media, body, is_whole, retry_after) = match answer {
        Answer::Tokens { access, refresh } => (200, "json", tokens(access, refresh), true, None),
        Answer::Half { access, refresh } => {
            let whole = tokens(access, refresh);
            (200, "json", whole[..whole.len() / 2].to_owned(), false, None)
        }
        Answer::Refused => (400, "json", r#"{"error":"invalid_grant","error_description":"no"}"#.into(), true, None),
        Answer::SpentAndBadScope => (400, "json", r#"{"error":"invalid_scope"}"#.into(), true, None),
        Answer::Unavailable => (503, "json", r#"{"error":"temporarily_unavailable"}"#.into(), true, None),
        Answer::SlowDown => (429, "json", r#"{"error":"slow_down"}"#.into(), true, Some("30")),
        Answer::Page => (403, "html", "<html><title>Forbidden</title></html>".into(), true, None),
        Answer::BadGateway => (502, "html", "<html><title>Bad Gateway</title></html>".into(), true, None),
    };
    let media = if media == "json" { "application/json" } else { "text/html" };
    let mut headers = vec![("content-type".to_owned(), media.to_owned())];
    headers.extend(retry_after.map(|seconds| ("retry-after".to_owned(), seconds.to_owned())));
    Response { status, headers, body: Secret::new(body), body_complete: is_whole, body_lossy: false }
}

fn tokens(access: text::Access, refresh: Token) -> String {
    let access = text::access_token(access);
    let refresh = match refresh {
        NO_TOKEN => String::new(),
        token => format!(r#","refresh_token":"{}""#, text::refresh_token(token)),
    };
    format!(r#"{{"access_token":"{access}","token_type":"Bearer","expires_in":3600{refresh}}}"#)
}

impl Clock for Ports {
    fn wall_ms(&self) -> u64 {
        EPOCH_MS + u64::from(self.0.now.get().wall_ms)
    }

    fn monotonic_ms(&self) -> u64 {
        self.0.now.get().mono_ms.into()
    }
}

impl Random for Ports {
    fn random_u64(&self) -> u64 {
        let number = self.0.randoms.get();
        self.0.randoms.set(number + 1);
        // Spread, so that what is made of it shows in every bit.
        number.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }
}

impl Events for Ports {
    fn emit(&self, event: Event) {
        let told = format!("{}: {}", event.name, event.message);
        self.0.look_for_secrets(&format!("{event:?}"));
        let told = self.0.texts.borrow_mut().number(&told);
        self.0.events.borrow_mut().push(told);
    }
}
