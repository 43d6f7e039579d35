//! The component as a Rust object. Each call runs in an instance of its own unless warm ones are asked for, so that in the
//! component no secret outlives the call it was read for. What the host copies on the way (documents, requests, answers) is freed with
//! the call; freed memory is overwritten in programs whose allocator does that, as the command's and the C library's do (`lazaretto-wipe`).

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use wasmtime::component::{Component, Linker};
use wasmtime::{Engine, Store, StoreContextMut, UpdateDeadline};

use crate::admin::Admin;
use crate::bindings::admin::AdminWorldPre;
use crate::bindings::exports::lazaretto::keeper::{
    classifier as classifier_wit, keeper as keeper_wit, pool as pool_wit,
};
use crate::bindings::{KeeperWorld, KeeperWorldPre};
use crate::clock::{Clock, Random, SystemClock, SystemRandom};
use crate::component::COMPONENT_CWASM;
use crate::engine;
use crate::events::{Event, EventSink, NoEvents};
use crate::http;
use crate::http::{AllowList, Http, HttpFailure, HttpRequest, HttpResponse, NetworkHttp, Requests, Sent};
use crate::limits::{Limits, Ticker};
use crate::storage::{Exposed, LoadOutcome, Rescued, Storage};
use crate::types::{
    AccessToken, Advice, Answer, ApiCall, CredentialStatus, Judgement, KeeperError, LastError, Selector, StatusReport,
    Step, TokenRequest,
};
use crate::world::{self, BeforeSend, OnWait, Shared, Wait, World};

/// Keeps the credentials of the vaults in one storage. Cheap to clone; calls may run on many threads at once.
#[derive(Clone)]
pub struct Keeper(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) code: Arc<Code>,
    limits: Limits,
    shared: Arc<Shared>,
    warm: Mutex<Vec<Instance>>,
    warm_at_most: usize,
    /// Whether it was looked who else may read the vault.
    is_looked_at: AtomicBool,
}

/// The component, loaded: any number of keepers may run it.
pub(crate) struct Code {
    pub(crate) engine: Engine,
    ticker: Ticker,
    component: KeeperWorldPre<World>,
    /// The component for persons, if one has asked for anything.
    pub(crate) admin: OnceLock<AdminWorldPre<World>>,
}

impl Code {
    fn load() -> wasmtime::Result<Self> {
        let engine = Engine::new(&engine::config())?;
        let mut linker = Linker::new(&engine);
        world::add_to_linker(&mut linker)?;
        let component = deserialize(&engine, COMPONENT_CWASM)?;
        let component = linker.instantiate_pre(&component).and_then(KeeperWorldPre::new)?;
        Ok(Self { engine, ticker: Ticker::new(), component, admin: OnceLock::new() })
    }
}

struct Instance {
    store: Store<World>,
    world: KeeperWorld,
}

/// Why a keeper could not be made.
#[derive(Debug)]
pub enum OpenError {
    /// No storage was given.
    NoStorage,
    /// The profiles name an origin that cannot be allowed, or cannot be read.
    Profiles(String),
    /// wasmtime refused the component.
    Component(wasmtime::Error),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoStorage => f.write_str("a keeper needs a storage: Keeper::builder().storage(...)"),
            Self::Profiles(message) => f.write_str(message),
            Self::Component(error) => write!(f, "the component cannot be loaded: {error}"),
        }
    }
}

impl std::error::Error for OpenError {}

/// What a [`Keeper`] is made of.
#[derive(Default)]
pub struct Builder {
    storage: Option<Box<dyn Storage>>,
    http: Option<Box<dyn Http>>,
    events: Option<Box<dyn EventSink>>,
    clock: Option<Box<dyn Clock>>,
    random: Option<Box<dyn Random>>,
    code: Option<Arc<Code>>,
    limits: Limits,
    before_send: Option<Box<BeforeSend>>,
    on_wait: Option<Box<OnWait>>,
    allow_loopback_http: bool,
    warm_instances: usize,
}

impl Builder {
    /// Where the documents live. There is no default.
    pub fn storage(mut self, storage: impl Storage + 'static) -> Self {
        self.storage = Some(Box::new(storage));
        self
    }

    /// How authorization servers are reached. Default: the network, to the origins that the profiles name.
    pub fn http(mut self, http: impl Http + 'static) -> Self {
        self.http = Some(Box::new(http));
        self
    }

    /// Where events go. Default: nowhere.
    pub fn events(mut self, events: impl EventSink + 'static) -> Self {
        self.events = Some(Box::new(events));
        self
    }

    /// What time it is for the component. Default: what this machine's clocks show.
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Some(Box::new(clock));
        self
    }

    /// Where the component's random numbers come from. Default: this machine's generator.
    pub fn random(mut self, random: impl Random + 'static) -> Self {
        self.random = Some(Box::new(random));
        self
    }

    /// Runs the code that another keeper has loaded already, instead of loading it again: for a host that makes many
    /// keepers. They share nothing else.
    pub fn code_of(mut self, keeper: &Keeper) -> Self {
        self.code = Some(keeper.0.code.clone());
        self
    }

    /// What a call may use up.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Calls `before_send` before each request leaves. Until then the process may end without any loss.
    pub fn before_send(mut self, before_send: impl Fn(&HttpRequest) + Send + Sync + 'static) -> Self {
        self.before_send = Some(Box::new(before_send));
        self
    }

    /// Calls `on_wait` when a call begins to wait for a lease or an answer, and when that wait is over, on the
    /// thread that makes the call.
    pub fn on_wait(mut self, on_wait: impl Fn(Wait<'_>) + Send + Sync + 'static) -> Self {
        self.on_wait = Some(Box::new(on_wait));
        self
    }

    /// Allows plain http to loopback, for profiles that name it. For tests.
    pub fn allow_loopback_http(mut self, allow: bool) -> Self {
        self.allow_loopback_http = allow;
        self
    }

    /// Keeps at most so many instances between calls. They are faster on a hot path, and what they have read of a vault
    /// stays in memory. Default: none.
    pub fn warm_instances(mut self, at_most: usize) -> Self {
        self.warm_instances = at_most;
        self
    }

    /// Loads the component, which was compiled when this crate was.
    pub fn build(self) -> Result<Keeper, OpenError> {
        let storage = self.storage.ok_or(OpenError::NoStorage)?;
        let code = match self.code {
            Some(code) => code,
            None => Arc::new(Code::load().map_err(OpenError::Component)?),
        };
        let network = |requests: Requests| {
            Arc::new(Network {
                allow_loopback_http: self.allow_loopback_http,
                requests,
                keeper: OnceLock::new(),
                http: OnceLock::new(),
            })
        };
        let networks = [Requests::Refresh, Requests::Login].map(network);
        let given: Option<Arc<dyn Http>> = self.http.map(Arc::from);
        let [http, admin_http] = networks.clone().map(|network| given.clone().unwrap_or_else(|| Arc::new(network)));
        let shared = Shared {
            storage,
            http,
            admin_http,
            events: self.events.unwrap_or_else(|| Box::new(NoEvents)),
            before_send: self.before_send,
            on_wait: self.on_wait,
            clock: self.clock.unwrap_or_else(|| Box::new(SystemClock::default())),
            random: self.random.unwrap_or_else(|| Box::new(SystemRandom)),
        };
        let inner = Arc::new(Inner {
            code,
            limits: self.limits,
            shared: Arc::new(shared),
            warm: Mutex::default(),
            warm_at_most: self.warm_instances,
            is_looked_at: AtomicBool::new(false),
        });
        // A network reads the profiles for the origins to allow at the first request: a call that sends nothing need not.
        for network in networks {
            let _ = network.keeper.set(Arc::downgrade(&inner));
        }
        Ok(Keeper(inner))
    }
}

impl Keeper {
    /// A keeper is made of a storage, and of defaults.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// An access token that is valid as asked, refreshed if need be.
    ///
    /// # Nothing cancels a refresh
    /// From the moment its request leaves until its answer is stored, no refresh can be given up: the answer may hold the only
    /// refresh token that still works. There is no future to drop, no timeout to pass, and none of the [`Limits`] stops
    /// the component in between. The call is bounded all the same: by the profile's deadline for a request, one
    /// repetition of it if its answer is lost, and the storage.
    ///
    /// A caller that cannot wait that long makes the call on a thread of its own, and stops waiting for it. The thread runs on:
    ///
    /// ```no_run
    /// # use std::{sync::mpsc, thread, time::Duration};
    /// # use lazaretto_host::{Keeper, TokenRequest, storage::VAULT};
    /// # fn within(keeper: Keeper, patience: Duration) {
    /// let (answer, answers) = mpsc::sync_channel(1);
    /// // Nobody may be waiting for the answer any more. What matters is stored by then.
    /// thread::spawn(move || answer.send(keeper.token(&TokenRequest::new(VAULT, "xai-oauth"))));
    /// let token = answers.recv_timeout(patience);
    /// # }
    /// ```
    ///
    /// What is left is the end of the whole process: one that handles SIGTERM and the like should join such threads
    /// before it goes, as the `lazaretto` command does. A process that is killed in that window leaves a note in the ledger,
    /// and the next caller sends the same refresh token once more; a server that gives its successor again, loses nothing.
    ///
    /// # Errors
    /// [`KeeperError::action`] says what helps.
    pub fn token(&self, request: &TokenRequest) -> Result<AccessToken, KeeperError> {
        self.0.look_who_may_read();
        self.0.store_rescued();
        self.0
            .call(|instance| instance.world.lazaretto_keeper_keeper().call_token(&mut instance.store, &request.into()))?
            .map(|token| self.0.rescue(token.into()))
            .map_err(Into::into)
    }

    /// Another access token than the one named as refused, or than the one the vault holds now. As with [`Keeper::token`],
    /// nothing cancels it once its request has left.
    ///
    /// # Errors
    /// [`KeeperError::action`] says what helps.
    pub fn refresh(&self, request: &TokenRequest) -> Result<AccessToken, KeeperError> {
        self.0.look_who_may_read();
        self.0.store_rescued();
        self.0
            .call(|instance| {
                instance.world.lazaretto_keeper_keeper().call_refresh(&mut instance.store, &request.into())
            })?
            .map(|token| self.0.rescue(token.into()))
            .map_err(Into::into)
    }

    /// Every credential of a vault, or of one provider. Reads only.
    ///
    /// # Errors
    /// If the vault cannot be read.
    pub fn status(&self, vault: &str, provider: Option<&str>) -> Result<StatusReport, KeeperError> {
        self.0.look_who_may_read();
        let report = self.0.call(|instance| {
            instance.world.lazaretto_keeper_keeper().call_status(&mut instance.store, vault, provider)
        })??;
        Ok(StatusReport {
            credentials: report.credentials.into_iter().map(Into::into).collect(),
            warnings: report.warnings,
        })
    }

    /// Puts a quarantined credential back as it was, and lifts its tombstone.
    ///
    /// # Errors
    /// If nothing of it is sealed any more, or something newer is in its place.
    pub fn unquarantine(&self, selector: &Selector) -> Result<CredentialStatus, KeeperError> {
        let selector = selector.into();
        self.0
            .call(|instance| {
                instance.world.lazaretto_keeper_keeper().call_unquarantine(&mut instance.store, &selector)
            })?
            .map(Into::into)
            .map_err(Into::into)
    }

    /// Ends a cooldown, a hold or a park. Tombstones stay.
    ///
    /// # Errors
    /// If there is none to end.
    pub fn reset(&self, selector: &Selector) -> Result<CredentialStatus, KeeperError> {
        let selector = selector.into();
        self.0
            .call(|instance| instance.world.lazaretto_keeper_keeper().call_reset(&mut instance.store, &selector))?
            .map(Into::into)
            .map_err(Into::into)
    }

    /// Reports what an API answered to a call, and gives advice: go on, use another access token, wait, or give up.
    ///
    /// # Errors
    /// If the vault or the settings cannot be read.
    pub fn report(&self, call: &ApiCall) -> Result<Advice, KeeperError> {
        let call = call.into();
        self.0.look_who_may_read();
        self.0.store_rescued();
        let advice =
            self.0.call(|instance| instance.world.lazaretto_keeper_pool().call_report(&mut instance.store, &call))?;
        let advice: Advice = advice.map(Into::into)?;
        Ok(Advice { token: advice.token.map(|token| self.0.rescue(token)), ..advice })
    }

    /// Gives back a credential that [`Keeper::token`] counted as in use, where the settings limit that.
    ///
    /// # Errors
    /// If nobody was counted as using it.
    pub fn end_use(&self, selector: &Selector) -> Result<(), KeeperError> {
        let selector = selector.into();
        self.0
            .call(|instance| instance.world.lazaretto_keeper_pool().call_end_use(&mut instance.store, &selector))?
            .map_err(Into::into)
    }

    /// Stores what [`AccessToken::unsaved`] held.
    ///
    /// # Errors
    /// If the storage still does not work.
    pub fn save_unsaved(&self, unsaved: &str) -> Result<(), KeeperError> {
        self.0.save_unsaved(unsaved)
    }

    /// What only a person does to the vaults: log in and out, add and remove. Another component does it, with this keeper's storage,
    /// events and clocks; it is loaded at the first such call. A host that serves tokens to others passes on what
    /// [`Keeper::token`] gives, and keeps this.
    pub fn admin(&self) -> Admin {
        Admin::of(self.0.clone())
    }

    /// Returns whether several grants of the vault may be exchanged at the same time. They may not where every exchange
    /// holds the vault's own lock, because another program may write the vault too. If that is unknown, returns false.
    pub fn exchanges_at_once(&self) -> bool {
        let Ok(LoadOutcome::Loaded(settings)) = self.0.shared.storage.load("settings.json", None) else { return false };
        let settings: Option<serde_json::Value> = serde_json::from_str(&settings.text).ok();
        settings.is_some_and(|settings| settings["shared_with_reference"] == false)
    }

    /// The origins that the profiles name.
    ///
    /// # Errors
    /// If the user's profiles cannot be read.
    pub fn origins(&self) -> Result<Vec<String>, KeeperError> {
        self.0.origins()
    }

    /// What an answer to a refresh means. `now_s` is the time in seconds since 1970, against which a date in Retry-After is read.
    ///
    /// # Errors
    /// If the user's profiles cannot be read.
    pub fn classify(&self, answer: &Answer, now_s: u64) -> Result<Judgement, KeeperError> {
        let profiles = match self.0.shared.storage.load("providers.json", None) {
            Ok(LoadOutcome::Loaded(document)) => Some(document.text),
            Ok(_) => None,
            Err(error) => return Err(KeeperError::internal(error.message)),
        };
        let answer = classifier_wit::Answer {
            provider: answer.provider.clone(),
            status: answer.status,
            headers: answer.headers.clone(),
            body: answer.body.clone(),
            body_complete: !answer.body_cut,
            body_lossy: false,
            transport_error: answer.transport_error.clone(),
        };
        let judged = self.0.call(|instance| {
            instance.world.lazaretto_keeper_classifier().call_classify(
                &mut instance.store,
                &answer,
                profiles.as_deref(),
                now_s,
            )
        })?;
        judged.map(Into::into).map_err(|error| KeeperError {
            code: error.code,
            action: "configure".into(),
            ..KeeperError::internal(error.message)
        })
    }
}

impl Inner {
    fn origins(self: &Arc<Self>) -> Result<Vec<String>, KeeperError> {
        self.call(|instance| instance.world.lazaretto_keeper_keeper().call_origins(&mut instance.store))?
            .map_err(Into::into)
    }

    fn save_unsaved(&self, unsaved: &str) -> Result<(), KeeperError> {
        self.call(|instance| instance.world.lazaretto_keeper_keeper().call_save_unsaved(&mut instance.store, unsaved))?
            .map_err(Into::into)
    }

    /// Tells once of a vault that everybody may read.
    fn look_who_may_read(&self) {
        if self.is_looked_at.swap(true, Ordering::Relaxed) {
            return;
        }
        if let Some(Exposed { message, run }) = self.shared.storage.exposed() {
            self.shared.emit(&Event {
                name: "vault-exposed".into(),
                severity: "warning".into(),
                at_ms: self.shared.clock.wall().as_millis().try_into().unwrap_or(u64::MAX),
                provider: String::new(),
                credential: None,
                message: format!("{message}. run: {run}"),
                attributes: vec![("run".into(), run)],
            });
        }
    }

    /// Stores what an earlier call could store nowhere, before anything is sent for the same login. What still cannot be stored
    /// is left for the next call.
    fn store_rescued(&self) {
        for Rescued { name, unsaved } in self.shared.storage.rescued() {
            if self.save_unsaved(&unsaved).is_ok() {
                self.shared.storage.forget_rescued(&name);
            }
        }
    }

    /// Keeps new tokens that no document could take. Only where that cannot be done either, the caller gets them.
    fn rescue(&self, mut token: AccessToken) -> AccessToken {
        let kept = token.unsaved.as_ref().and_then(|unsaved| self.shared.storage.rescue(unsaved).ok());
        if let Some(place) = kept {
            token.unsaved = None;
            token.warning = Some(format!(
                "the new tokens could not be stored in the vault: they are kept in {place}, and the next call stores them"
            ));
        }
        token
    }

    /// One call, in a warm instance or in a new one. A trap ends the instance, and nothing else.
    fn call<T>(&self, call: impl FnOnce(&mut Instance) -> wasmtime::Result<T>) -> Result<T, KeeperError> {
        let _under_way = self.code.ticker.during_a_call(&self.code.engine);
        let mut instance = match self.warm.lock().unwrap_or_else(PoisonError::into_inner).pop() {
            Some(instance) => instance,
            None => self.instance().map_err(|error| trapped(&error))?,
        };
        instance.store.set_hostcall_fuel(self.limits.hostcall_bytes);
        instance.store.data_mut().begin_call();
        let result = call(&mut instance);
        instance.store.data_mut().end_call();
        if result.is_ok() && self.warm_at_most > 0 {
            let mut warm = self.warm.lock().unwrap_or_else(PoisonError::into_inner);
            if warm.len() < self.warm_at_most {
                warm.push(instance);
            }
        }
        result.map_err(|error| trapped(&error))
    }

    fn instance(&self) -> wasmtime::Result<Instance> {
        let mut store = self.store(self.shared.http.clone());
        let world = self.code.component.instantiate(&mut store)?;
        Ok(Instance { store, world })
    }

    /// One call of the component for persons, in an instance that ends with it.
    pub(crate) fn call_once<T>(
        &self,
        call: impl FnOnce(&mut Store<World>) -> wasmtime::Result<T>,
    ) -> Result<T, KeeperError> {
        let _under_way = self.code.ticker.during_a_call(&self.code.engine);
        let mut store = self.store(self.shared.admin_http.clone());
        store.set_hostcall_fuel(self.limits.hostcall_bytes);
        store.data_mut().begin_call();
        call(&mut store).map_err(|error| trapped(&error))
    }

    fn store(&self, http: Arc<dyn Http>) -> Store<World> {
        let mut store = Store::new(&self.code.engine, World::new(self.shared.clone(), http, self.limits.clone()));
        store.limiter(|world| &mut world.memory);
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(move |context: StoreContextMut<'_, World>| match context.data().overdrawn() {
            Some(limit) => Err(wasmtime::Error::msg(format!("the component computed for more than {limit:?}"))),
            None => Ok(UpdateDeadline::Continue(1)),
        });
        store
    }
}

/// The network, to the origins that the profiles name when the first request is made. The component is not asked for them.
struct Network {
    allow_loopback_http: bool,
    requests: Requests,
    keeper: OnceLock<Weak<Inner>>,
    http: OnceLock<NetworkHttp>,
}

impl Network {
    fn open(&self) -> Result<NetworkHttp, String> {
        let keeper = self.keeper.get().and_then(Weak::upgrade).ok_or("the keeper is gone")?;
        let profiles = match keeper.shared.storage.load("providers.json", None) {
            Ok(LoadOutcome::Loaded(document)) => Some(document.text),
            Ok(_) => None,
            Err(error) => return Err(error.message),
        };
        let origins = http::origins(profiles.as_deref(), self.requests)?;
        AllowList::new(origins, self.allow_loopback_http).map(NetworkHttp::new).map_err(|error| error.to_string())
    }
}

impl Http for Arc<Network> {
    fn send(&self, request: &HttpRequest) -> Result<HttpResponse, HttpFailure> {
        let http = match self.http.get() {
            Some(http) => http,
            // Why there is none may pass, so only what works is kept.
            None => {
                let failure = |message| HttpFailure { kind: "not-allowed", sent: Sent::No, message };
                let opened = self.open().map_err(failure)?;
                self.http.get_or_init(|| opened)
            }
        };
        http.send(request)
    }
}

fn trapped(error: &wasmtime::Error) -> KeeperError {
    // The root cause names the limit or the fault; the frames around it are the component's own business.
    KeeperError::internal(format!("the component was stopped: {}", error.root_cause()))
}

#[allow(unsafe_code, reason = "wasmtime trusts compiled code; this was compiled by our own build script")]
pub(crate) fn deserialize(engine: &Engine, compiled: &'static [u8]) -> wasmtime::Result<Component> {
    // SAFETY: the bytes were made by `Engine::precompile_component` in build.rs, and embedded in this binary: nothing else
    // of this crate is `'static` and ends in `CWASM`.
    unsafe { Component::deserialize(engine, compiled) }
}

impl From<&TokenRequest> for keeper_wit::TokenRequest {
    fn from(request: &TokenRequest) -> Self {
        Self {
            vault: request.vault.clone(),
            provider: request.provider.clone(),
            credential: request.credential.clone(),
            min_valid_s: request.min_valid_s,
            refused_access_token: request.refused_access_token.clone(),
            session: request.session.clone(),
        }
    }
}

impl From<&ApiCall> for pool_wit::ApiCall {
    fn from(call: &ApiCall) -> Self {
        Self {
            vault: call.vault.clone(),
            provider: call.provider.clone(),
            credential: call.credential.clone(),
            session: call.session.clone(),
            access_token: call.access_token.clone(),
            status: call.status,
            headers: call.headers.clone(),
            body: call.body.clone(),
        }
    }
}

impl From<pool_wit::Advice> for Advice {
    fn from(advice: pool_wit::Advice) -> Self {
        Self {
            advice: advice.advice,
            token: advice.token.map(Into::into),
            retry_after_s: advice.retry_after_s,
            message: advice.message,
            run: advice.run,
        }
    }
}

impl From<&Selector> for keeper_wit::Selector {
    fn from(selector: &Selector) -> Self {
        Self {
            vault: selector.vault.clone(),
            provider: selector.provider.clone(),
            credential: selector.credential.clone(),
        }
    }
}

impl From<keeper_wit::AccessToken> for AccessToken {
    fn from(token: keeper_wit::AccessToken) -> Self {
        Self {
            token: token.token,
            token_type: token.token_type,
            provider: token.provider,
            credential: token.credential,
            expires_at_ms: token.expires_at_ms,
            picked: token.picked,
            origin: token.origin,
            warning: token.warning,
            run: token.run,
            unsaved: token.unsaved,
        }
    }
}

impl From<keeper_wit::Error> for KeeperError {
    fn from(error: keeper_wit::Error) -> Self {
        Self {
            code: error.code,
            action: error.action,
            message: error.message,
            run: error.run,
            provider: error.provider,
            credential: error.credential,
            retry_after_s: error.retry_after_s,
        }
    }
}

impl From<keeper_wit::LastError> for LastError {
    fn from(error: keeper_wit::LastError) -> Self {
        Self { code: error.code, message: error.message, reason: error.reason, at_ms: error.at_ms }
    }
}

impl From<keeper_wit::CredentialStatus> for CredentialStatus {
    fn from(status: keeper_wit::CredentialStatus) -> Self {
        Self {
            provider: status.provider,
            credential: status.credential,
            label: status.label,
            source: status.source,
            kind: status.kind,
            state: status.state,
            usable: status.usable,
            renewal: status.renewal,
            refreshing_by: status.refreshing_by,
            refreshing_since_ms: status.refreshing_since_ms,
            account: status.account,
            expires_at_ms: status.expires_at_ms,
            retry_at_ms: status.retry_at_ms,
            sealed_until_ms: status.sealed_until_ms,
            last_error: status.last_error.map(Into::into),
            note: status.note,
            todo: status.todo,
        }
    }
}

impl From<classifier_wit::Judgement> for Judgement {
    fn from(judgement: classifier_wit::Judgement) -> Self {
        let verdict = match judgement.verdict {
            classifier_wit::Verdict::Refreshed => "refreshed",
            classifier_wit::Verdict::Terminal => "terminal",
            classifier_wit::Verdict::Interaction => "interaction",
            classifier_wit::Verdict::Config => "config",
            classifier_wit::Verdict::Transient => "transient",
            classifier_wit::Verdict::Unknown => "unknown",
        };
        Self {
            verdict: verdict.to_owned(),
            status: judgement.status,
            code: judgement.code,
            sub_code: judgement.sub_code,
            rule: judgement.rule,
            retry_after_s: judgement.retry_after_s,
            summary: judgement.summary,
            in_doubt: judgement.in_doubt,
            steps: judgement.steps.into_iter().map(|step| Step { name: step.name, finding: step.finding }).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use lazaretto_testing::demo_server::{Behaviour, TokenServer};
    use serde_json::json;

    use super::*;
    use crate::storage::{AcquireOutcome, Capabilities, FileStorage, Holder, Scope, StorageError, StoreOutcome, VAULT};

    /// Takes no secret once a request has left, until it is told otherwise.
    struct Stuck(FileStorage, Arc<AtomicBool>);

    impl Storage for Stuck {
        fn load(&self, name: &str, known: Option<&str>) -> Result<LoadOutcome, StorageError> {
            self.0.load(name, known)
        }
        fn store(
            &self,
            name: &str,
            text: &str,
            expected: Option<&str>,
            durable: bool,
            lease: Option<&str>,
        ) -> Result<StoreOutcome, StorageError> {
            if self.1.load(Ordering::SeqCst) {
                return Err(StorageError { code: "read-only", message: "not now, says the test".into() });
            }
            self.0.store(name, text, expected, durable, lease)
        }
        fn acquire(&self, scope: &Scope, ttl_ms: u64, wait_ms: u64) -> Result<AcquireOutcome, StorageError> {
            self.0.acquire(scope, ttl_ms, wait_ms)
        }
        fn release(&self, lease: &str) {
            self.0.release(lease);
        }
        fn holder_of(&self, scope: &Scope) -> Result<Option<Holder>, StorageError> {
            self.0.holder_of(scope)
        }
        fn list(&self, prefix: &str) -> Result<Vec<String>, StorageError> {
            self.0.list(prefix)
        }
        fn describe(&self) -> Capabilities {
            self.0.describe()
        }
        fn rescue(&self, unsaved: &str) -> Result<String, StorageError> {
            self.0.rescue(unsaved)
        }
        fn rescued(&self) -> Vec<Rescued> {
            self.0.rescued()
        }
        fn forget_rescued(&self, name: &str) {
            self.0.forget_rescued(name);
        }
    }

    /// A login that has expired, and a keeper whose storage takes nothing once a request has left, while `stuck` holds.
    fn stuck_keeper(server: &TokenServer, folder: &std::path::Path, stuck: &Arc<AtomicBool>) -> Keeper {
        let (vault, profiles) = (folder.join("vault"), folder.join("providers.json"));
        let profile = json!({ "token_endpoint": server.token_endpoint(), "client_id": "acme-client" });
        std::fs::write(&profiles, json!({ "profiles": { "acme": profile } }).to_string()).unwrap();
        let refresh_token = server.login("acme-client").refresh_token;
        let login = json!({ "tokens": { "refresh_token": refresh_token }, "last_refresh": "2020-01-01T00:00:00Z" });
        std::fs::write(&vault, json!({ "providers": { "acme": login } }).to_string()).unwrap();
        let storage = FileStorage::open(vault).with_profiles(profiles).state_folder(folder.join("state"));
        let sent = stuck.clone();
        Keeper::builder()
            .storage(Stuck(storage, stuck.clone()))
            .before_send(move |_| sent.store(true, Ordering::SeqCst))
            .allow_loopback_http(true)
            .build()
            .unwrap()
    }

    /// Tokens that can be stored nowhere are stored by the next call.
    #[test]
    fn unstorable_tokens_are_stored_by_the_next_call() {
        let server = TokenServer::start(Behaviour::default()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let stuck = Arc::new(AtomicBool::new(false));
        let keeper = stuck_keeper(&server, folder.path(), &stuck);
        let request = TokenRequest::new(VAULT, "acme");
        let token = keeper.token(&request).unwrap();
        assert_eq!((token.unsaved, server.requests()), (None, 1));
        let warning = token.warning.unwrap();
        assert!(warning.contains("the next call stores them") && !warning.contains("unsaved"), "{warning}");
        let kept = folder.path().join("state/lazaretto/rescue");
        assert_eq!(std::fs::read_dir(&kept).unwrap().count(), 1);

        // A call that cannot store them either leaves them, and sends nothing in the place of the spent token.
        keeper.token(&request).unwrap_err();
        assert_eq!((std::fs::read_dir(&kept).unwrap().count(), server.requests()), (1, 1));
        stuck.store(false, Ordering::SeqCst);
        let again = keeper.token(&request).unwrap();
        assert_eq!((again.token, again.origin.as_str(), server.requests()), (token.token, "stored", 1));
        assert_eq!(std::fs::read_dir(&kept).unwrap().count(), 0);
        assert!(keeper.status(VAULT, None).unwrap().credentials.iter().all(|status| status.state == "valid"));
    }

    #[test]
    fn tokens_that_cannot_be_kept_for_the_next_call_are_the_callers() {
        let server = TokenServer::start(Behaviour::default()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("state"), "no folder").unwrap();
        let stuck = Arc::new(AtomicBool::new(false));
        let keeper = stuck_keeper(&server, folder.path(), &stuck);
        let token = keeper.token(&TokenRequest::new(VAULT, "acme")).unwrap();
        let unsaved = token.unsaved.unwrap();
        keeper.save_unsaved(&unsaved).unwrap_err();
        stuck.store(false, Ordering::SeqCst);
        keeper.save_unsaved(&unsaved).unwrap();
        assert_eq!(keeper.token(&TokenRequest::new(VAULT, "acme")).unwrap().token, token.token);
    }

    /// Cannot read the profiles once, when it is told to.
    struct Failing(FileStorage, Arc<AtomicBool>);

    impl Storage for Failing {
        fn load(&self, name: &str, known: Option<&str>) -> Result<LoadOutcome, StorageError> {
            if name == "providers.json" && self.1.swap(false, Ordering::SeqCst) {
                return Err(StorageError { code: "other", message: "not now, says the test".into() });
            }
            self.0.load(name, known)
        }
        fn store(
            &self,
            name: &str,
            text: &str,
            expected: Option<&str>,
            durable: bool,
            lease: Option<&str>,
        ) -> Result<StoreOutcome, StorageError> {
            self.0.store(name, text, expected, durable, lease)
        }
        fn acquire(&self, scope: &Scope, ttl_ms: u64, wait_ms: u64) -> Result<AcquireOutcome, StorageError> {
            self.0.acquire(scope, ttl_ms, wait_ms)
        }
        fn release(&self, lease: &str) {
            self.0.release(lease);
        }
        fn holder_of(&self, scope: &Scope) -> Result<Option<Holder>, StorageError> {
            self.0.holder_of(scope)
        }
        fn list(&self, prefix: &str) -> Result<Vec<String>, StorageError> {
            self.0.list(prefix)
        }
        fn describe(&self) -> Capabilities {
            self.0.describe()
        }
    }

    /// Origins that cannot be read at the first request are read at the next.
    #[test]
    fn unreadable_origins_are_read_again_at_the_next_request() {
        let server = TokenServer::start(Behaviour::default()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (vault, profiles) = (folder.path().join("vault"), folder.path().join("providers.json"));
        let profile = json!({ "token_endpoint": server.token_endpoint(), "client_id": "acme-client" });
        std::fs::write(&profiles, json!({ "profiles": { "acme": profile } }).to_string()).unwrap();
        let refresh_token = server.login("acme-client").refresh_token;
        let login = json!({ "tokens": { "refresh_token": refresh_token }, "last_refresh": "2020-01-01T00:00:00Z" });
        std::fs::write(&vault, json!({ "providers": { "acme": login } }).to_string()).unwrap();

        let fails = Arc::new(AtomicBool::new(false));
        let (failing, sends) = (fails.clone(), AtomicBool::new(false));
        let keeper = Keeper::builder()
            .storage(Failing(FileStorage::open(vault).with_profiles(profiles), fails))
            .before_send(move |_| failing.store(!sends.swap(true, Ordering::SeqCst), Ordering::SeqCst))
            .allow_loopback_http(true)
            .build()
            .unwrap();
        let request = TokenRequest::new(VAULT, "acme");
        keeper.token(&request).unwrap_err();
        assert_eq!(server.requests(), 0);
        keeper.token(&request).unwrap();
        assert_eq!(server.requests(), 1);
    }
}
