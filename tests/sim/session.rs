//! The shipped code, as the scheduler sees it: a session asks something of the world, is answered, and asks the next.
//!
//! A session reaches nothing but its ports, so what it does next follows from what it was answered so far, and from nothing
//! else. Each such history is run through the shipped code once; whenever it comes up again, in whatever schedule, the
//! session is a number that moves along a tree. That is why millions of schedules can be run: not one of them runs a model
//! of the protocol. [`Sessions::forgetful`] runs every step anew, and a test sees that it comes to the same.

use std::cell::{OnceCell, RefCell};
use std::hash::Hasher;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use lazaretto::error::KeeperError;
use lazaretto::keeper::{AccessToken, TokenRequest};
use lazaretto::ports::{Event, Request, Response, Scope};
use lazaretto::secret::Secret;
use lazaretto::status::CredentialStatus;
use rustc_hash::{FxHashMap, FxHasher};

use super::native::Native;
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
    /// Who holds it, without taking it.
    Holder {
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
    /// Somebody holds the lease that was asked about.
    Held,
    /// Nobody does.
    Free,
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

/// The credential that sessions ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum About {
    #[default]
    Login,
    /// The entry that was added by itself: the only place of its tokens.
    Entry,
}

impl About {
    pub fn id(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Entry => "man1",
        }
    }

    /// The places of it that the model knows.
    pub fn places(self) -> &'static [usize] {
        match self {
            Self::Login => &[text::LOGIN, text::ROW],
            Self::Entry => &[text::ENTRY],
        }
    }
}

/// A session's beginning: with its number, it decides everything that is not answered by the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Start {
    /// Tells this session's random numbers from any other's.
    pub number: u8,
    pub errand: Errand,
    pub about: About,
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

/// Begins a session, with one keeper for all its calls or with one for each.
type Code = Rc<dyn Fn(Start, bool, Notes) -> Box<dyn Running>>;

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
    /// How the code of a session is begun.
    code: Code,
    /// Each call of a session has a keeper of its own, as in a host that keeps no instance between calls.
    keeper_per_call: bool,
    /// Every step of every session, in full, if somebody wants to compare.
    pub record: Option<String>,
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
            code: Rc::new(|start, keeper_per_call, notes| Box::new(Native::new(start, keeper_per_call, notes))),
            keeper_per_call: false,
            record: None,
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

    /// Runs another build of the code than the native one, for every step.
    pub fn running(code: impl Fn(Start, bool, Notes) -> Box<dyn Running> + 'static) -> Self {
        Self { code: Rc::new(code), ..Self::forgetful() }
    }

    /// Calls share nothing but their session's storage.
    pub fn with_a_keeper_per_call(self, keeper_per_call: bool) -> Self {
        Self { keeper_per_call, ..self }
    }

    /// Writes down every step.
    pub fn recording(self) -> Self {
        Self { record: Some(String::new()), ..self }
    }

    /// Adds to the record, if there is one.
    pub fn note(&mut self, line: &str) {
        if let Some(record) = &mut self.record {
            record.push_str(line);
        }
    }

    /// What a session was answered, and what it did then.
    fn note_point(&mut self, at: At) {
        let Some(record) = &mut self.record else { return };
        let (texts, point) = (self.texts.borrow(), &self.points[at as usize]);
        let whole = |text: Text| {
            let (text, mut hasher) = (texts.text(text), FxHasher::default());
            hasher.write(text.as_bytes());
            format!("{} bytes, {:016x}", text.len(), hasher.finish())
        };
        let content = if let Reply::Found(text) = point.reply { whole(text) } else { String::new() };
        *record += &format!("  is answered {:?} {content} at {:?}\n", point.reply, point.now);
        for said in &point.events {
            *record += &format!("  {}\n", texts.text(*said));
        }
        *record += &match point.call {
            Call::End(end) => format!("  ends {:?}\n", self.ends[end as usize]),
            Call::Store { text, .. } => format!("  asks {:?}\n{}\n", point.call, texts.text(text)),
            call => format!("  asks {call:?}\n"),
        };
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
        if self.record.is_some() {
            self.note(&format!("  begins {start:?}\n"));
        }
        let at = self.begun(start, now, live);
        self.note_point(at);
        at
    }

    fn begun(&mut self, start: Start, now: Now, live: &mut Option<Live>) -> At {
        if self.remembers
            && let Some(at) = self.starts.get(&(start, now))
        {
            return *at;
        }
        let mut running = self.live(start);
        let at = self.run(&mut running, u32::MAX, Reply::Start, now);
        *live = Some(running);
        self.starts.insert((start, now), at);
        self.started.insert(at, start);
        at
    }

    /// The session at a point is answered.
    pub fn answer(&mut self, at: At, reply: Reply, now: Now, live: &mut Option<Live>) -> At {
        let next = self.answered(at, reply, now, live);
        self.note_point(next);
        next
    }

    fn answered(&mut self, at: At, reply: Reply, now: Now, live: &mut Option<Live>) -> At {
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

    fn live(&self, start: Start) -> Live {
        let notes = Notes::new(self.record.is_some());
        let code = (self.code)(start, self.keeper_per_call, notes.clone());
        Live { code, notes, texts: self.texts.clone(), asked_for: Right::Vault, at: u32::MAX }
    }

    /// Runs the code to where it was.
    fn replay(&mut self, at: At) -> Live {
        let mut path = Vec::new();
        let mut point = at;
        while self.points[point as usize].parent != u32::MAX {
            path.push(point);
            point = self.points[point as usize].parent;
        }
        let mut running = self.live(self.started[&point]);
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
        self.leak = self.leak.take().or_else(|| running.notes.leak());
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

/// What the code asks of the world, whichever build of it asks.
#[derive(Clone, Debug)]
pub enum Asked {
    Load { name: String, known: Option<String> },
    Store { name: String, text: String, expected: Option<String>, durable: bool, lease: Option<String> },
    Acquire { scope: Scope, ttl_ms: u64, wait_ms: u64 },
    Release { lease: String },
    Holder { scope: Scope },
    Send(Request),
}

impl Asked {
    /// In full, but for the text of a store.
    fn told(&self) -> String {
        match self {
            Self::Store { name, text, expected, durable, lease } => {
                format!("Store {name}, {} bytes, expected {expected:?}, durable {durable}, lease {lease:?}", text.len())
            }
            Self::Send(Request { method, url, headers, body, deadline_ms }) => {
                let headers: String =
                    headers.iter().map(|(name, value)| format!("{name}: {}, ", value.expose())).collect();
                format!("Send {method} {url} {headers}{} within {deadline_ms} ms", body.expose())
            }
            asked => format!("{asked:?}"),
        }
    }
}

/// What it is answered.
#[derive(Clone, Debug)]
pub struct Heard {
    pub reply: Reply,
    /// The text that was found, or the name of the lease that was granted.
    pub text: String,
    pub now: Now,
}

/// What a session does next.
pub enum Next {
    Asks(Asked),
    Ends(End),
}

/// Code that runs until it asks something or ends.
pub trait Running {
    fn go_on(&mut self, heard: Heard) -> Next;
}

/// What a session tells, beside what it asks.
#[derive(Clone)]
pub struct Notes(Arc<Mutex<Noted>>);

struct Noted {
    lines: Vec<String>,
    leak: Option<String>,
    is_everything: bool,
}

impl Notes {
    fn new(is_everything: bool) -> Self {
        Self(Arc::new(Mutex::new(Noted { lines: Vec::new(), leak: None, is_everything })))
    }

    /// For the record alone.
    pub fn say(&self, line: impl FnOnce() -> String) {
        let mut noted = self.0.lock().unwrap();
        if noted.is_everything {
            noted.lines.push(line());
        }
    }

    pub fn event(&self, event: &Event) {
        let whole = format!("{event:?}");
        self.look_for_secrets(&whole);
        let mut noted = self.0.lock().unwrap();
        let line = if noted.is_everything { whole } else { format!("{}: {}", event.name, event.message) };
        noted.lines.push(line);
    }

    fn error(&self, error: &KeeperError) -> Ended {
        self.look_for_secrets(&format!("{error} {error:?}"));
        self.say(|| format!("{error:?}"));
        Ended::Error { code: error.code.as_str(), action: error.action().as_str(), retry_after_s: error.retry_after_s }
    }

    fn look_for_secrets(&self, text: &str) {
        if text::shows_a_token(text) {
            self.0.lock().unwrap().leak = Some(text.to_owned());
        }
    }

    fn leak(&self) -> Option<String> {
        self.0.lock().unwrap().leak.take()
    }

    fn lines(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap().lines)
    }
}

/// A session whose code is running.
pub struct Live {
    code: Box<dyn Running>,
    notes: Notes,
    texts: Rc<RefCell<Texts>>,
    /// The lease that was asked for last.
    asked_for: Right,
    at: At,
}

impl Live {
    fn poll(&mut self, reply: Reply, now: Now) -> (Option<Call>, Option<End>) {
        let text = match (reply, self.asked_for) {
            (Reply::Found(text), _) => self.texts.borrow().text(text).as_ref().to_owned(),
            (Reply::Granted { .. }, Right::Vault) => "vault".to_owned(),
            (Reply::Granted { .. }, Right::Grant(token)) => token.to_string(),
            _ => String::new(),
        };
        match self.code.go_on(Heard { reply, text, now }) {
            Next::Asks(asked) => {
                self.notes.say(|| asked.told());
                (Some(self.call(asked)), None)
            }
            Next::Ends(end) => (None, Some(end)),
        }
    }

    fn call(&mut self, asked: Asked) -> Call {
        let version =
            |version: Option<String>| version.map(|text| Text(text.parse().expect("a version of this world")));
        match asked {
            Asked::Load { name, known } => Call::Load { doc: doc(&name), known: version(known) },
            Asked::Store { name, text, expected, durable, .. } => Call::Store {
                doc: doc(&name),
                text: self.texts.borrow_mut().number(&text),
                expected: version(expected),
                durable,
            },
            Asked::Acquire { scope, ttl_ms, wait_ms } => {
                let right = self.right(&scope);
                self.asked_for = right;
                Call::Acquire { right, ttl_ms: ttl_ms as u32, wait_ms: wait_ms as u32 }
            }
            Asked::Holder { scope } => Call::Holder { right: self.right(&scope) },
            Asked::Release { lease } if lease == "vault" => Call::Release { right: Right::Vault },
            Asked::Release { lease } => Call::Release { right: Right::Grant(lease.parse().expect("a lease")) },
            Asked::Send(request) => {
                let sent = request.body.expose().split('&').find_map(|pair| pair.strip_prefix("refresh_token="));
                let token = sent.and_then(text::as_refresh_token).expect("a refresh request names its token");
                Call::Send { token, deadline_ms: request.deadline_ms as u32 }
            }
        }
    }

    fn right(&self, scope: &Scope) -> Right {
        match scope {
            Scope::Document(_) => Right::Vault,
            Scope::Grant { fingerprint, .. } => {
                Right::Grant(self.texts.borrow().token_of(fingerprint).unwrap_or(NO_TOKEN))
            }
        }
    }

    fn take_events(&mut self) -> Box<[Text]> {
        let mut texts = self.texts.borrow_mut();
        self.notes.lines().iter().map(|line| texts.number(line)).collect()
    }
}

fn doc(name: &str) -> Doc {
    match name {
        "vault" => Doc::Vault,
        "vault.lazaretto" => Doc::Ledger,
        "vault.lazaretto-sealed" => Doc::Sealed,
        "settings.json" => Doc::Settings,
        // There is one file only.
        "providers.json" | "also.json" | "vault.lazaretto-pool" | "vault.lazaretto-place" => Doc::Profiles,
        name => panic!("nobody needs a document called {name}"),
    }
}

/// A keeper of either build.
#[allow(async_fn_in_trait, reason = "nobody sends it anywhere")]
pub trait Keeps {
    async fn token(&self, request: &TokenRequest) -> Result<AccessToken, KeeperError>;
    async fn refresh(&self, request: &TokenRequest) -> Result<AccessToken, KeeperError>;
    async fn unquarantine(&self, vault: &str, provider: &str, named: &str) -> Result<CredentialStatus, KeeperError>;
    async fn reset(&self, vault: &str, provider: &str, named: &str) -> Result<CredentialStatus, KeeperError>;
    async fn save_unsaved(&self, unsaved: &Secret) -> Result<(), KeeperError>;
}

/// One session, from its first call to its last.
pub async fn run(keeper: impl Keeps, start: Start, notes: Notes) -> End {
    let id = start.about.id();
    let request = |refused: Option<Secret>| TokenRequest {
        vault: "vault".into(),
        provider: "xai-oauth".into(),
        credential: Some(id.into()),
        min_valid_s: 0,
        refused_access_token: refused,
        session: None,
    };
    let mut end = End { calls: Vec::new(), unsaved: Tokens::default() };
    let mut unsaved = Vec::new();
    let mut note = |result: Result<AccessToken, KeeperError>| match result {
        Ok(token) => {
            let exposed = |secret: &Secret| secret.expose().to_owned();
            notes.say(|| format!("{token:?} {} {:?}", token.token.expose(), token.unsaved.as_ref().map(exposed)));
            unsaved.extend(token.unsaved);
            end.calls.push(Ended::Token(text::as_access_token(token.token.expose()).expect("an access token")));
            Some(token.token)
        }
        Err(error) => {
            end.calls.push(notes.error(&error));
            None
        }
    };
    match start.errand {
        Errand::Token => drop(note(keeper.token(&request(None)).await)),
        Errand::Refresh => drop(note(keeper.refresh(&request(None)).await)),
        Errand::TokenTwice => {
            if let Some(token) = note(keeper.token(&request(None)).await) {
                note(keeper.token(&request(Some(token))).await);
            }
        }
        Errand::Unquarantine | Errand::Reset => {
            let result = match start.errand {
                Errand::Reset => keeper.reset("vault", "xai-oauth", id).await,
                _ => keeper.unquarantine("vault", "xai-oauth", id).await,
            };
            notes.say(|| format!("{:?}", result.as_ref().ok()));
            end.calls.push(result.map_or_else(|error| notes.error(&error), |_| Ended::Done));
        }
    }
    // As `AccessToken::unsaved` asks: kept, and tried again.
    for unsaved in unsaved {
        let mut is_saved = false;
        for _ in 0..2 {
            is_saved = is_saved || keeper.save_unsaved(&unsaved).await.map_err(|error| notes.error(&error)).is_ok();
        }
        if !is_saved {
            let json: serde_json::Value = serde_json::from_str(unsaved.expose()).expect("JSON");
            let token = json["successor"]["refresh_token"].as_str().and_then(text::as_refresh_token);
            end.unsaved = token.map_or(end.unsaved, |token| end.unsaved.with(token));
        }
    }
    end
}

/// A session's random numbers: the next, where this many were drawn.
pub fn random(start: Start, drawn: u32) -> u64 {
    // Spread, so that what is made of it shows in every bit.
    (u64::from(start.number) << 32 | u64::from(drawn + 1)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// What a storage says that cannot: its code and its message.
pub const FAILED: (&str, &str) = ("io", "the disk said no");
/// Who holds a lease that is not to be had.
pub const HOLDER: &str = "pid 1";

/// What an HTTP client says that got no answer: the kind and the message.
pub fn no_answer(maybe_sent: bool) -> (&'static str, &'static str) {
    (if maybe_sent { "timeout" } else { "connect" }, "no answer")
}

/// What a wall clock shows, in milliseconds since 1970.
pub fn wall_ms(now: Now) -> u64 {
    EPOCH_MS + u64::from(now.wall_ms)
}

/// The bytes of an answer.
pub fn response(answer: Answer) -> Response {
    let (status, media, body, is_whole, retry_after) = match answer {
        Answer::Tokens { access, refresh } => (200, "json", tokens(access, refresh), true, None),
        Answer::NoAccess { refresh } => {
            let body = format!(r#"{{"token_type":"Bearer","refresh_token":"{}"}}"#, text::refresh_token(refresh));
            (200, "json", body, true, None)
        }
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
