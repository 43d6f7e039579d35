//! The shipped logic as a native library: it stays async, and is polled whenever it was answered.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use lazaretto::error::KeeperError;
use lazaretto::keeper::{AccessToken, Keeper, TokenRequest};
use lazaretto::ports::{
    Acquired, Capabilities, Clock, Document, Event, Events, Holder, Http, HttpFailure, Lease, Loaded, Random, Request,
    Response, Scope, Storage, StorageError, Stored, Version,
};
use lazaretto::secret::Secret;
use lazaretto::status::CredentialStatus;

use super::session::{
    Asked, End, FAILED, HOLDER, Heard, Keeps, Next, Notes, Now, Reply, Running, Start, no_answer, random, response,
    run, wall_ms,
};
use super::text::Text;

/// The shipped logic, as a native library.
pub struct Native {
    wire: Rc<Wire>,
    code: Pin<Box<dyn Future<Output = End>>>,
}

impl Native {
    pub fn new(start: Start, keeper_per_call: bool, notes: Notes) -> Self {
        let wire = Rc::new(Wire {
            asked: Cell::new(None),
            heard: Cell::new(None),
            now: Cell::new(Now { wall_ms: 0, mono_ms: 0 }),
            start,
            drawn: Cell::new(0),
            notes: notes.clone(),
        });
        let ports = Ports(wire.clone());
        let one = (!keeper_per_call).then(|| Rc::new(Keeper::new(ports.clone())));
        Self { wire, code: Box::pin(run(NativeKeeper { ports, one }, start, notes)) }
    }
}

impl Running for Native {
    fn go_on(&mut self, heard: Heard) -> Next {
        self.wire.now.set(heard.now);
        self.wire.heard.set(Some(heard).filter(|heard| heard.reply != Reply::Start));
        match self.code.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => Next::Asks(self.wire.asked.take().expect("who waits has asked")),
            Poll::Ready(end) => Next::Ends(end),
        }
    }
}

struct NativeKeeper {
    ports: Ports,
    one: Option<Rc<Keeper<Ports>>>,
}

impl NativeKeeper {
    fn keeper(&self) -> Rc<Keeper<Ports>> {
        self.one.clone().unwrap_or_else(|| Rc::new(Keeper::new(self.ports.clone())))
    }
}

impl Keeps for NativeKeeper {
    async fn token(&self, request: &TokenRequest) -> Result<AccessToken, KeeperError> {
        let keeper = self.keeper();
        told(&keeper, request, keeper.token(request).await).await
    }

    async fn refresh(&self, request: &TokenRequest) -> Result<AccessToken, KeeperError> {
        let keeper = self.keeper();
        told(&keeper, request, keeper.refresh(request).await).await
    }

    async fn unquarantine(&self, vault: &str, provider: &str, named: &str) -> Result<CredentialStatus, KeeperError> {
        let keeper = self.keeper();
        advised(&keeper, vault, provider, keeper.unquarantine(vault, provider, Some(named)).await).await
    }

    async fn reset(&self, vault: &str, provider: &str, named: &str) -> Result<CredentialStatus, KeeperError> {
        let keeper = self.keeper();
        advised(&keeper, vault, provider, keeper.reset(vault, provider, Some(named)).await).await
    }

    async fn save_unsaved(&self, unsaved: &Secret) -> Result<(), KeeperError> {
        self.keeper().save_unsaved(unsaved).await
    }
}

/// What the component makes of an error: with the command that helps.
async fn advised<T>(
    keeper: &Keeper<Ports>,
    vault: &str,
    provider: &str,
    done: Result<T, KeeperError>,
) -> Result<T, KeeperError> {
    match done {
        Ok(done) => Ok(done),
        Err(error) => Err(keeper.advised(vault, Some(provider), error).await),
    }
}

/// The same of a token: with what ends that of which its warning tells.
async fn told(
    keeper: &Keeper<Ports>,
    request: &TokenRequest,
    done: Result<AccessToken, KeeperError>,
) -> Result<AccessToken, KeeperError> {
    let token = advised(keeper, &request.vault, &request.provider, done).await?;
    keeper.advised_of(&request.vault, &token).await;
    Ok(token)
}

/// Between a native session and the scheduler.
struct Wire {
    asked: Cell<Option<Asked>>,
    heard: Cell<Option<Heard>>,
    now: Cell<Now>,
    start: Start,
    drawn: Cell<u32>,
    notes: Notes,
}

impl Wire {
    /// Parks the session until the scheduler has answered.
    fn ask(&self, asked: Asked) -> impl Future<Output = Heard> {
        let mut asked = Some(asked);
        std::future::poll_fn(move |_| match asked.take() {
            Some(asked) => {
                self.asked.set(Some(asked));
                Poll::Pending
            }
            None => self.heard.take().map_or(Poll::Pending, Poll::Ready),
        })
    }
}

#[derive(Clone)]
struct Ports(Rc<Wire>);

fn failed() -> StorageError {
    StorageError { code: FAILED.0.into(), message: FAILED.1.into() }
}

fn version(version: Option<&Version>) -> Option<String> {
    version.map(|version| version.0.clone())
}

impl Storage for Ports {
    async fn load(&self, name: &str, known: Option<&Version>) -> Result<Loaded, StorageError> {
        let heard = self.0.ask(Asked::Load { name: name.to_owned(), known: version(known) }).await;
        match heard.reply {
            Reply::Unchanged => Ok(Loaded::Unchanged),
            Reply::Absent => Ok(Loaded::Absent),
            Reply::Found(Text(number)) => {
                Ok(Loaded::Found(Document { version: Version(number.to_string()), text: Secret::new(heard.text) }))
            }
            _ => Err(failed()),
        }
    }

    async fn store(
        &self,
        name: &str,
        text: &str,
        expected: Option<&Version>,
        durable: bool,
        lease: Option<&Lease>,
    ) -> Result<Stored, StorageError> {
        let asked = Asked::Store {
            name: name.to_owned(),
            text: text.to_owned(),
            expected: version(expected),
            durable,
            lease: lease.map(|lease| lease.0.clone()),
        };
        match self.0.ask(asked).await.reply {
            Reply::Stored(Text(number)) => Ok(Stored::Done(Version(number.to_string()))),
            Reply::Stale => Ok(Stored::Stale(None)),
            Reply::Unknown => Ok(Stored::Unknown),
            _ => Err(failed()),
        }
    }

    async fn acquire(&self, scope: &Scope, ttl_ms: u64, wait_ms: u64) -> Result<Acquired, StorageError> {
        let heard = self.0.ask(Asked::Acquire { scope: scope.clone(), ttl_ms, wait_ms }).await;
        match heard.reply {
            Reply::Granted { ttl_ms } => Ok(Acquired::Granted {
                lease: Lease(heard.text),
                granted_ttl_ms: (ttl_ms > 0).then_some(ttl_ms.into()),
            }),
            Reply::Busy => Ok(Acquired::Busy(HOLDER.into())),
            _ => Err(failed()),
        }
    }

    async fn release(&self, lease: &Lease) {
        self.0.ask(Asked::Release { lease: lease.0.clone() }).await;
    }

    async fn holder_of(&self, scope: &Scope) -> Result<Option<Holder>, StorageError> {
        match self.0.ask(Asked::Holder { scope: scope.clone() }).await.reply {
            Reply::Held => Ok(Some(Holder { name: HOLDER.into(), since_ms: None })),
            Reply::Free => Ok(None),
            _ => Err(failed()),
        }
    }

    fn describe(&self) -> Capabilities {
        self.0.notes.say(|| "asks what the storage promises".to_owned());
        Capabilities { reads_are_linearizable: !self.0.start.reads_may_be_stale, excludes_foreign: true }
    }
}

impl Http for Ports {
    async fn send(&self, request: Request) -> Result<Response, HttpFailure> {
        match self.0.ask(Asked::Send(request)).await.reply {
            Reply::Answered(answer) => Ok(response(answer)),
            Reply::NoAnswer { maybe_sent } => {
                let (kind, message) = no_answer(maybe_sent);
                Err(HttpFailure { kind: kind.into(), maybe_sent, message: message.into() })
            }
            reply => panic!("{reply:?} is no answer to a request"),
        }
    }
}

impl Clock for Ports {
    fn wall_ms(&self) -> u64 {
        self.0.notes.say(|| "reads the wall clock".to_owned());
        wall_ms(self.0.now.get())
    }

    fn monotonic_ms(&self) -> u64 {
        self.0.notes.say(|| "reads the monotonic clock".to_owned());
        self.0.now.get().mono_ms.into()
    }
}

impl Random for Ports {
    fn random_u64(&self) -> u64 {
        self.0.notes.say(|| "draws a random number".to_owned());
        random(self.0.start, self.0.drawn.replace(self.0.drawn.get() + 1))
    }
}

impl Events for Ports {
    fn emit(&self, event: Event) {
        self.0.notes.event(&event);
    }
}
