//! The compiled component, run by the host that is shipped: each session on a thread of its own, which stands still whenever
//! it has asked something. One thread runs at a time, so that a seed is the same schedule every time.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread::JoinHandle;
use std::time::Duration;

use lazaretto::error::{Code, KeeperError};
use lazaretto::keeper::{AccessToken, Origin, TokenRequest};
use lazaretto::pool::Picked;
use lazaretto::ports::{Event, Request, Scope, Severity};
use lazaretto::secret::Secret;
use lazaretto::status::{CredentialStatus, Renewal, Usable};
use lazaretto::vault::{CredentialKind, LastError};
use lazaretto_host::http::{Http, HttpFailure, HttpRequest, HttpResponse, Sent};
use lazaretto_host::storage::{
    self, AcquireOutcome, Capabilities, Document, Holder, LeaseGrant, LoadOutcome, MemoryStorage, Storage,
    StorageError, StoreOutcome,
};
use lazaretto_host::{Clock, EventSink, Keeper, Random, Selector};

use super::action::Action;
use super::outside::Act;
use super::schedule::{FIRST_WIDE_PLAN, Figures, Lab, Seed};
use super::server::{Answer, Kind};
use super::session::{
    Asked, Errand, FAILED, HOLDER, Heard, Keeps, Next, Notes, Now, Reply, Running, Sessions, Start, no_answer, random,
    response, run, wall_ms,
};
use super::text::Text;

/// The component, loaded once.
pub struct Component {
    loaded: Keeper,
    /// How many instances of it were run.
    instances: Arc<AtomicU64>,
    /// What is wrong with this host, to see that a comparison sees it.
    pub wrong: Wrong,
}

/// Mutants of the host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wrong {
    #[default]
    Nothing,
    /// Its wall clock is a millisecond fast.
    Clock,
    /// Of the events, one kind is dropped.
    Event,
    /// Random numbers begin one later.
    Random,
    /// What an instance has read is forgotten between two calls.
    Forgets,
}

impl Component {
    pub fn load() -> Self {
        let loaded = Keeper::builder().storage(MemoryStorage::new()).build().expect("the component can be loaded");
        Self { loaded, instances: Arc::default(), wrong: Wrong::Nothing }
    }

    /// Sessions that run it.
    pub fn sessions(self: &Arc<Self>) -> Sessions {
        let component = self.clone();
        Sessions::running(move |start, keeper_per_call, notes| Box::new(component.begin(start, keeper_per_call, notes)))
    }

    /// A session begins, and stands still until it is told to start.
    fn begin(&self, start: Start, keeper_per_call: bool, notes: Notes) -> Session {
        let ((to_it, hears), (asks, from_it)) = (channel(), channel());
        let now = Now { wall_ms: 0, mono_ms: 0 };
        let link = Link(Arc::new(Wire {
            asks: Mutex::new(asks.clone()),
            hears: Mutex::new(hears),
            state: Mutex::new(State { now, drawn: u32::from(self.wrong == Wrong::Random) }),
            start,
            notes: notes.clone(),
            wrong: self.wrong,
        }));
        let is_cold = keeper_per_call || self.wrong == Wrong::Forgets;
        let keeper = Keeper::builder()
            .code_of(&self.loaded)
            .storage(link.clone())
            .http(link.clone())
            .events(link.clone())
            .clock(link.clone())
            .random(link.clone())
            .warm_instances(usize::from(!is_cold))
            .build()
            .expect("a keeper can be made");
        let instances = self.instances.clone();
        if !is_cold {
            instances.fetch_add(1, Ordering::Relaxed);
        }
        let keeper = Compiled { keeper, instances: is_cold.then_some(instances) };
        let thread = std::thread::spawn(move || {
            if link.0.hear().is_some() {
                let end = at_once(run(keeper, start, notes));
                let _ = asks.send(Next::Ends(end));
            }
        });
        Session { to_it: Some(to_it), from_it: Some(from_it), thread: Some(thread) }
    }
}

/// A session on its thread.
pub struct Session {
    to_it: Option<Sender<Heard>>,
    from_it: Option<Receiver<Next>>,
    thread: Option<JoinHandle<()>>,
}

impl Running for Session {
    fn go_on(&mut self, heard: Heard) -> Next {
        let went_on = self.to_it.as_ref().and_then(|to_it| to_it.send(heard).ok());
        let next = went_on.and_then(|()| self.from_it.as_ref()?.recv().ok());
        next.unwrap_or_else(|| match self.thread.take().map(JoinHandle::join) {
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            _ => panic!("a session asks or ends"),
        })
    }
}

impl Drop for Session {
    /// Whatever it asks from now on fails at once, so that it ends; nobody sees what it does meanwhile.
    fn drop(&mut self) {
        (self.to_it, self.from_it) = (None, None);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A future that waits for nothing.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("the component answers before it returns"),
    }
}

struct Compiled {
    keeper: Keeper,
    /// Counts the calls, if each has an instance of its own.
    instances: Option<Arc<AtomicU64>>,
}

impl Compiled {
    fn keeper(&self) -> &Keeper {
        if let Some(instances) = &self.instances {
            instances.fetch_add(1, Ordering::Relaxed);
        }
        &self.keeper
    }
}

impl Keeps for Compiled {
    async fn token(&self, request: &TokenRequest) -> Result<AccessToken, KeeperError> {
        self.keeper().token(&wanted(request)).map(access_token).map_err(error)
    }

    async fn refresh(&self, request: &TokenRequest) -> Result<AccessToken, KeeperError> {
        self.keeper().refresh(&wanted(request)).map(access_token).map_err(error)
    }

    async fn unquarantine(&self, vault: &str, provider: &str, named: &str) -> Result<CredentialStatus, KeeperError> {
        self.keeper().unquarantine(&selector(vault, provider, named)).map(status).map_err(error)
    }

    async fn reset(&self, vault: &str, provider: &str, named: &str) -> Result<CredentialStatus, KeeperError> {
        self.keeper().reset(&selector(vault, provider, named)).map(status).map_err(error)
    }

    async fn save_unsaved(&self, unsaved: &Secret) -> Result<(), KeeperError> {
        self.keeper().save_unsaved(unsaved.expose()).map_err(error)
    }
}

// ---- The host's shapes as the library's, every field of them.

fn wanted(request: &TokenRequest) -> lazaretto_host::TokenRequest {
    lazaretto_host::TokenRequest {
        vault: request.vault.clone(),
        provider: request.provider.clone(),
        credential: request.credential.clone(),
        min_valid_s: request.min_valid_s,
        refused_access_token: request.refused_access_token.as_ref().map(|token| token.expose().to_owned()),
        session: request.session.clone(),
    }
}

fn selector(vault: &str, provider: &str, named: &str) -> Selector {
    Selector { vault: vault.into(), provider: provider.into(), credential: Some(named.into()) }
}

fn access_token(token: lazaretto_host::AccessToken) -> AccessToken {
    AccessToken {
        token: Secret::new(token.token),
        token_type: token.token_type,
        provider: token.provider,
        credential: token.credential,
        expires_at_ms: token.expires_at_ms,
        picked: Picked::Named,
        origin: one_of(
            [Origin::Stored, Origin::Refreshed, Origin::Adopted, Origin::Sealed, Origin::ApiKey],
            |origin| origin.as_str(),
            &token.origin,
        ),
        warning: token.warning,
        needs_login: token.run.is_some(),
        unsaved: token.unsaved.map(Secret::new),
    }
}

fn status(status: lazaretto_host::CredentialStatus) -> CredentialStatus {
    CredentialStatus {
        provider: status.provider,
        credential: status.credential,
        label: status.label,
        source: status.source,
        kind: match status.kind.as_str() {
            "oauth" => CredentialKind::OAuth,
            "api-key" => CredentialKind::ApiKey,
            kind => panic!("{kind} is no kind of credential"),
        },
        state: word(&status.state),
        usable: one_of(
            [Usable::Yes, Usable::Expiring, Usable::Expired, Usable::Unknown, Usable::No],
            |usable| usable.as_str(),
            &status.usable,
        ),
        renewal: one_of(
            [
                Renewal::Ok,
                Renewal::Refreshing,
                Renewal::InDoubt,
                Renewal::Paused,
                Renewal::NeedsLogin,
                Renewal::NeedsConfiguration,
                Renewal::Quarantined,
                Renewal::Dead,
                Renewal::None,
            ],
            |renewal| renewal.as_str(),
            &status.renewal,
        ),
        refreshing_by: status.refreshing_by,
        refreshing_since_ms: status.refreshing_since_ms,
        account: status.account,
        expires_at_ms: status.expires_at_ms,
        retry_at_ms: status.retry_at_ms,
        sealed_until_ms: status.sealed_until_ms,
        last_error: status.last_error.map(|error| LastError {
            code: error.code,
            message: error.message,
            reason: error.reason,
            at_ms: error.at_ms,
        }),
        note: status.note,
        todo: status.todo,
    }
}

fn error(error: lazaretto_host::KeeperError) -> KeeperError {
    let code = one_of(Code::ALL, Code::as_str, &error.code);
    assert_eq!(code.action().as_str(), error.action, "{code}");
    let mut same = KeeperError::new(code, error.message);
    (same.provider, same.credential) = (error.provider, error.credential);
    same.retry_after_s = error.retry_after_s;
    same.run = error.run;
    same
}

fn one_of<T: Copy, const N: usize>(all: [T; N], spelled: impl Fn(T) -> &'static str, word: &str) -> T {
    let found = all.into_iter().find(|one| spelled(*one) == word);
    found.unwrap_or_else(|| panic!("{word} is not a word of the contract"))
}

/// A word of an open set, of which there are few.
fn word(text: &str) -> &'static str {
    static WORDS: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut words = WORDS.lock().unwrap();
    words.get(text).copied().unwrap_or_else(|| {
        let word: &'static str = Box::leak(text.into());
        words.insert(word);
        word
    })
}

/// Between the component's host and the scheduler.
struct Wire {
    asks: Mutex<Sender<Next>>,
    hears: Mutex<Receiver<Heard>>,
    state: Mutex<State>,
    start: Start,
    notes: Notes,
    wrong: Wrong,
}

#[derive(Clone, Copy)]
struct State {
    now: Now,
    drawn: u32,
}

impl Wire {
    /// Stands still until the scheduler has answered. None: the session has crashed.
    fn ask(&self, asked: Asked) -> Option<Heard> {
        self.asks.lock().unwrap().send(Next::Asks(asked)).ok()?;
        self.hear()
    }

    fn hear(&self) -> Option<Heard> {
        let heard = self.hears.lock().unwrap().recv().ok()?;
        self.state.lock().unwrap().now = heard.now;
        Some(heard)
    }
}

#[derive(Clone)]
struct Link(Arc<Wire>);

fn failed() -> StorageError {
    StorageError { code: FAILED.0, message: FAILED.1.into() }
}

fn of_the_logic(scope: &storage::Scope) -> Scope {
    match scope.clone() {
        storage::Scope::Document(name) => Scope::Document(name),
        storage::Scope::Grant { document, fingerprint } => Scope::Grant { document, fingerprint },
    }
}

impl Storage for Link {
    fn load(&self, name: &str, known: Option<&str>) -> Result<LoadOutcome, StorageError> {
        let asked = Asked::Load { name: name.to_owned(), known: known.map(str::to_owned) };
        let Heard { reply, text, .. } = self.0.ask(asked).ok_or_else(failed)?;
        match reply {
            Reply::Unchanged => Ok(LoadOutcome::Unchanged),
            Reply::Absent => Ok(LoadOutcome::Absent),
            Reply::Found(Text(number)) => Ok(LoadOutcome::Loaded(Document { version: number.to_string(), text })),
            _ => Err(failed()),
        }
    }

    fn store(
        &self,
        name: &str,
        text: &str,
        expected: Option<&str>,
        durable: bool,
        lease: Option<&str>,
    ) -> Result<StoreOutcome, StorageError> {
        let asked = Asked::Store {
            name: name.to_owned(),
            text: text.to_owned(),
            expected: expected.map(str::to_owned),
            durable,
            lease: lease.map(str::to_owned),
        };
        match self.0.ask(asked).ok_or_else(failed)?.reply {
            Reply::Stored(Text(number)) => Ok(StoreOutcome::Stored(number.to_string())),
            Reply::Stale => Ok(StoreOutcome::Stale(None)),
            Reply::Unknown => Ok(StoreOutcome::Unknown),
            _ => Err(failed()),
        }
    }

    fn acquire(&self, scope: &storage::Scope, ttl_ms: u64, wait_ms: u64) -> Result<AcquireOutcome, StorageError> {
        let asked = Asked::Acquire { scope: of_the_logic(scope), ttl_ms, wait_ms };
        let Heard { reply, text: lease, .. } = self.0.ask(asked).ok_or_else(failed)?;
        match reply {
            Reply::Granted { ttl_ms } => {
                let granted_ttl_ms = (ttl_ms > 0).then_some(ttl_ms.into());
                Ok(AcquireOutcome::Acquired(LeaseGrant { lease, granted_ttl_ms }))
            }
            Reply::Busy => Ok(AcquireOutcome::Busy(Holder { name: HOLDER.into(), since_ms: None })),
            _ => Err(failed()),
        }
    }

    fn release(&self, lease: &str) {
        self.0.ask(Asked::Release { lease: lease.to_owned() });
    }

    fn holder_of(&self, scope: &storage::Scope) -> Result<Option<Holder>, StorageError> {
        match self.0.ask(Asked::Holder { scope: of_the_logic(scope) }).ok_or_else(failed)?.reply {
            Reply::Held => Ok(Some(Holder { name: HOLDER.into(), since_ms: None })),
            Reply::Free => Ok(None),
            _ => Err(failed()),
        }
    }

    fn list(&self, _: &str) -> Result<Vec<String>, StorageError> {
        Err(failed())
    }

    fn describe(&self) -> Capabilities {
        self.0.notes.say(|| "asks what the storage promises".to_owned());
        Capabilities {
            cas: "native",
            reads: if self.0.start.reads_may_be_stale { "may-be-stale" } else { "linearizable" },
            durability: "machine-crash",
            excludes_foreign: true,
        }
    }
}

impl Http for Link {
    fn send(&self, request: &HttpRequest) -> Result<HttpResponse, HttpFailure> {
        let heard = self.0.ask(Asked::Send(Request {
            method: word(&request.method),
            url: request.url.clone(),
            headers: request.headers.iter().map(|(name, value)| (name.clone(), Secret::from(&**value))).collect(),
            body: Secret::from(&*request.body),
            deadline_ms: request.deadline_ms,
        }));
        match heard.map_or(Reply::NoAnswer { maybe_sent: false }, |heard| heard.reply) {
            Reply::Answered(answer) => {
                let answer = response(answer);
                Ok(HttpResponse {
                    status: answer.status,
                    headers: answer.headers,
                    body: answer.body.expose().to_owned(),
                    body_complete: answer.body_complete,
                    body_lossy: answer.body_lossy,
                })
            }
            Reply::NoAnswer { maybe_sent } => {
                let (kind, message) = no_answer(maybe_sent);
                let sent = if maybe_sent { Sent::Maybe } else { Sent::No };
                Err(HttpFailure { kind, sent, message: message.into() })
            }
            reply => panic!("{reply:?} is no answer to a request"),
        }
    }
}

impl Clock for Link {
    fn wall(&self) -> Duration {
        self.0.notes.say(|| "reads the wall clock".to_owned());
        let now = self.0.state.lock().unwrap().now;
        Duration::from_millis(wall_ms(now) + u64::from(self.0.wrong == Wrong::Clock))
    }

    fn monotonic(&self) -> Duration {
        self.0.notes.say(|| "reads the monotonic clock".to_owned());
        Duration::from_millis(self.0.state.lock().unwrap().now.mono_ms.into())
    }
}

impl Random for Link {
    fn random_u64(&self) -> io::Result<u64> {
        self.0.notes.say(|| "draws a random number".to_owned());
        let mut state = self.0.state.lock().unwrap();
        state.drawn += 1;
        Ok(random(self.0.start, state.drawn - 1))
    }
}

impl EventSink for Link {
    fn emit(&self, event: &lazaretto_host::Event) {
        if self.0.wrong == Wrong::Event && event.name == "refreshed" {
            return;
        }
        self.0.notes.event(&Event {
            name: word(&event.name),
            severity: match event.severity.as_str() {
                "info" => Severity::Info,
                "warning" => Severity::Warning,
                "error" => Severity::Error,
                severity => panic!("{severity} is no severity"),
            },
            at_ms: event.at_ms,
            provider: event.provider.clone(),
            credential: event.credential.clone(),
            message: event.message.clone(),
            attributes: event.attributes.iter().map(|(name, value)| (word(name), value.clone())).collect(),
        });
    }
}

// ---- Two builds of the same code, side by side.

/// What a comparison came to.
#[derive(Default)]
pub struct Compared {
    pub seeds: u64,
    /// Bytes of the records that were equal.
    pub bytes: u64,
    pub figures: Figures,
    kinds: BTreeSet<String>,
    errands: BTreeSet<String>,
}

/// Seeds that differ in plan and in who goes on when. Every eighth world is a wide one.
pub fn spread(seeds: u64) -> impl Iterator<Item = Seed> {
    let first = |number: u64| if number % 8 == 7 { FIRST_WIDE_PLAN } else { 0 };
    (0..seeds).map(move |number| Seed { plan: first(number) + number, order: number })
}

/// Runs seeds twice, and compares every step. After so many seeds both begin anew, so as not to fill the memory with texts.
pub fn compare(
    seeds: impl Iterator<Item = Seed>,
    anew_after: u64,
    one: impl Fn(bool) -> Sessions,
    other: impl Fn(bool) -> Sessions,
) -> Result<Compared, String> {
    let mut compared = Compared::default();
    let lab = |sessions: Sessions| Lab { sessions: sessions.recording(), ..Lab::telling() };
    let mut labs = [false, true].map(|keeper_per_call| (lab(one(keeper_per_call)), lab(other(keeper_per_call))));
    for seed in seeds {
        if compared.seeds % anew_after == 0 {
            for (keeper_per_call, (labs_one, labs_other)) in [false, true].into_iter().zip(&mut labs) {
                *labs_one = lab(one(keeper_per_call));
                let done = std::mem::replace(labs_other, lab(other(keeper_per_call)));
                compared.figures.add(done.finish());
            }
        }
        // Every other seed by a keeper that remembers between calls, every other by one that does not.
        let (one, other) = &mut labs[(compared.seeds % 2) as usize];
        let results = [run_recorded(one, seed), run_recorded(other, seed)];
        let [record, other_record] = &results;
        if record != other_record {
            return Err(format!("seed {seed}: {}", first_difference(record, other_record)));
        }
        for kind in Kind::ALL.map(|kind| format!("{kind:?}")) {
            if record.contains(&format!("kind: {kind},")) {
                compared.kinds.insert(kind);
            }
        }
        for errand in ERRANDS.map(|errand| format!("{errand:?}")) {
            if record.contains(&format!("errand: {errand},")) {
                compared.errands.insert(errand);
            }
        }
        compared.seeds += 1;
        compared.bytes += record.len() as u64;
    }
    for (_, other) in labs {
        compared.figures.add(other.finish());
    }
    Ok(compared)
}

fn run_recorded(lab: &mut Lab, seed: Seed) -> String {
    let result = lab.run(seed);
    lab.trace = Some(String::new());
    let mut record = lab.sessions.record.replace(String::new()).unwrap_or_default();
    let _ = writeln!(record, "{result:?}");
    record
}

fn first_difference(one: &str, other: &str) -> String {
    let mut lines = one.lines().zip(other.lines()).enumerate();
    let (number, before) = match lines.find(|(_, (one, other))| one != other) {
        Some((number, _)) => (number, number.saturating_sub(12)),
        None => (one.lines().count().min(other.lines().count()), 0),
    };
    let [ours, theirs] = [one, other].map(|text| text.lines().nth(number).unwrap_or("(it is over)").to_owned());
    let context: String = one.lines().skip(before).take(number - before).map(|line| format!("  {line}\n")).collect();
    format!("the first difference is in line {}\n{context}- {ours}\n+ {theirs}\n", number + 1)
}

const ERRANDS: [Errand; 5] = [Errand::Token, Errand::Refresh, Errand::TokenTwice, Errand::Unquarantine, Errand::Reset];

impl Compared {
    /// The share of all kinds of things that can go wrong that did, and those that did not.
    pub fn faults(&self) -> (usize, Vec<&'static str>) {
        let all = all_that_goes_wrong();
        let missing = all.iter().copied().filter(|name| !self.figures.by_name.contains_key(name)).collect();
        (all.len(), missing)
    }

    /// How many kinds of servers, and of errands.
    pub fn kinds_and_errands(&self) -> (usize, usize) {
        (self.kinds.len(), self.errands.len())
    }
}

impl Component {
    /// How many instances were run.
    pub fn instances(&self) -> u64 {
        self.instances.load(Ordering::Relaxed)
    }
}

/// The names of everything that is not as it should be, or that others do.
fn all_that_goes_wrong() -> BTreeSet<&'static str> {
    let (session, answer) = (0, Answer::BadGateway);
    let others = [
        Act::Read,
        Act::WriteStaleRows,
        Act::LoginOverRow,
        Act::Refresh,
        Act::WriteLogin,
        Act::PutBack,
        Act::LogIn,
        Act::LogInAgain,
        Act::LogOut,
    ];
    let actions = [
        Action::Crash { session, done_first: false },
        Action::Crash { session, done_first: true },
        Action::FailToLoad(session),
        Action::StaleLoad(session),
        Action::FailToStore(session),
        Action::StoreUnknown { session, stored: false },
        Action::StoreUnknown { session, stored: true },
        Action::NoLease(session),
        Action::NotSent(session),
        Action::RequestLost(session),
        Action::RequestLate(session),
        Action::Arrive(0),
        Action::AnswerLost(session),
        Action::AnswerHalved(session),
        Action::AccessOmitted(session),
        Action::Instead { session, answer: Answer::SlowDown, arrives: false },
        Action::Instead { session, answer: Answer::Page, arrives: false },
        Action::Instead { session, answer, arrives: false },
        Action::Instead { session, answer, arrives: true },
        Action::SpentAndFailed { session, answer },
        Action::Slander(session),
        Action::pass(1),
        Action::Pass { wall_ms: -1, mono_ms: 0, real_ms: 0 },
        Action::Pass { wall_ms: 1, mono_ms: 0, real_ms: 0 },
        Action::Pass { wall_ms: 1, mono_ms: 0, real_ms: 1 },
        Action::MachineCrash,
        Action::LedgerLost,
    ];
    actions.into_iter().chain(others.map(Action::Outside)).map(Action::name).collect()
}

/// For a person: the seeds, what was run for them, and what came up.
pub fn told(compared: &Compared, component: &Component, took: Duration) -> String {
    let ((kinds, errands), (all, missing)) = (compared.kinds_and_errands(), compared.faults());
    format!(
        "{} seeds through the component in {:.1} s: {} steps of it in {} instances, {:.1} MB of records equal to the \
         native code's; {kinds} of {} kinds of servers, {errands} of {} errands, {} of {all} kinds of what goes wrong{}",
        compared.seeds,
        took.as_secs_f64(),
        compared.figures.polls,
        component.instances(),
        compared.bytes as f64 / 1e6,
        Kind::ALL.len(),
        ERRANDS.len(),
        all - missing.len(),
        if missing.is_empty() { String::new() } else { format!(" (never: {})", missing.join(", ")) },
    )
}

/// A host that is wrong, and the seed that tells. None: nothing tells.
pub fn found_out(wrong: Wrong) -> Option<String> {
    let component = Arc::new(Component { wrong, ..Component::load() });
    let native = |per_call| Sessions::forgetful().with_a_keeper_per_call(per_call);
    let compiled = |per_call| component.sessions().with_a_keeper_per_call(per_call);
    compare(spread(200), 64, native, compiled).err()
}
