//! Documents as files. `docs/file-store.md` is the written protocol, for hosts in any language; this is it in Rust.
//!
//! | file | what it holds true |
//! |---|---|
//! | `documents.rs` | which documents there are, and what can be locked |
//! | `places.rs` | a document and its locks lie beside the file that all links lead to |
//! | `safe_path.rs` | links are followed only where they are safe |
//! | `folder.rs` | what is done in a directory goes through the handle that was looked at |
//! | `text.rs` | files are read bounded, and not again while a stat proves them unchanged |
//! | `locks.rs` | a lock lasts as long as its holder |
//! | `other_tools.rs` | which other tool's lock belongs to a vault is decided by place and content |
//! | `foreign_marks.rs` | the locks that other tools make are made, and end with their maker |
//! | `heartbeat.rs` | what we made shows that we live |
//! | `left_behind.rs` | what a killed lazaretto made is known again |
//! | `holder.rs` | who holds a lock is told to people and decides nothing |
//! | `sight.rs` | who wants to know who holds a lock does not touch it |
//! | `replace.rs` | a document is the old text or the new one, whole |
//! | `prepared.rs` | what a store needs is made ready before a token is spent |
//! | `replaceable.rs` | what can keep a file from being replaced, and what to do |
//! | `temporary.rs` | a text is written beside its document, and what was left is removed |
//! | `rescue.rs` | tokens that can be stored nowhere else are kept for the next call |
//! | `secrets.rs` | a client's secret is read from the place that the user's profile names, and from no other |
//! | `unsynced.rs` | the ledger's newest text may lie beside it, and counts only if it is whole |
//! | `files.rs` | the operations that change the disk, behind a trait |
//! | `size_limit.rs` | a write beyond `ulimit -f` is an error, in a process that has no handler for it too |
//! | `checkup.rs` | what lies around a vault is looked over for a person, and nothing is written |
//! | `network.rs` | which file systems lie on another machine |

mod checkup;
mod documents;
mod errors;
mod files;
mod folder;
mod foreign_marks;
mod heartbeat;
mod holder;
mod left_behind;
mod locks;
mod network;
mod other_owners;
mod other_tools;
mod places;
mod prepared;
mod replace;
mod replaceable;
mod rescue;
mod safe_path;
mod secrets;
mod sight;
mod size_limit;
mod temporary;
mod text;
mod unsynced;

use std::collections::HashMap;
use std::env;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::{Duration, SystemTime};

use serde_json::json;

pub use self::checkup::CHECKUP_CODES;
pub use self::checkup::{set_aside, shell_path};
use self::documents::{Claim, Kind};
use self::files::{Disk, Files, create_dirs};
use self::folder::{Spot, Stat};
use self::locks::{Held, Locks, Patience, Taken};
use self::other_owners::Also;
use self::other_tools::marks;
use self::places::{Place, Places, absolute, foreign_locks};
use self::prepared::Prepared;
use self::replace::{Change, replace};
use self::safe_path::Way;
use self::secrets::Secrets;
use self::text::{MAX_BYTES, NetworkName, Seen, Text, too_large};
use super::{
    AcquireOutcome, Capabilities, Document, Exposed, Holder, LeaseGrant, LoadOutcome, PrepareError, Rescued,
    STORE_WAIT_MS, Scope, Storage, StorageError, StoreOutcome, invalid_lease, random_id, version_of,
};

/// The name by which the component knows the vault that is imported from.
pub const FROM: &str = "from";
/// The document that says where the vault lies.
const PLACE: &str = "vault.lazaretto-place";

/// One vault file and what lies beside it.
///
/// Any number of values, in any number of processes, may share one vault.
pub struct FileStorage {
    places: Places,
    also: Also,
    /// The file that [`FROM`] names.
    from: Option<Box<FileStorage>>,
    /// Which program's layout a person states that the vault is in.
    layout: Option<String>,
    /// By which the command `lazaretto` is about this vault.
    command: Option<String>,
    /// What else logs in.
    login_hint: Option<String>,
    /// None: decided by the name of the vault file.
    foreign_lock: Option<bool>,
    allow_network: bool,
    environment: bool,
    secrets: Secrets,
    leases: Mutex<HashMap<String, Arc<Lease>>>,
    tickets: Mutex<HashMap<String, Ticket>>,
    /// Per [`Kind`]: what was last read, if its stat proves it.
    seen: Mutex<[Option<Seen>; Kind::ALL.len()]>,
    files: Arc<dyn Files>,
    now: fn() -> SystemTime,
    network_name: NetworkName,
    store_wait: Duration,
    /// The user's, for tokens that can be stored nowhere else.
    state: Option<PathBuf>,
}

/// Locks that are held, and for what.
struct Lease {
    claim: Claim,
    /// Where the document was when the lease was given: there it is loaded and stored, wherever its directory is moved.
    place: Place,
    held: Held,
    /// Who took it: what that thread loads and stores meanwhile is beside it.
    thread: ThreadId,
}

/// What was made ready, for which document and under which lease.
struct Ticket {
    lease: String,
    kind: Kind,
    prepared: Prepared,
}

/// An environment variable as a document, its name in lower case. What is called like a key or a token, and nothing else: who can
/// write a vault must not be able to ask for just anything.
fn variable_named(variable: &str) -> LoadOutcome {
    const LIKE_A_KEY: [&str; 3] = ["_key", "_token", "_pat"];
    let value = env::var(variable.to_ascii_uppercase()).ok().filter(|value| !value.is_empty());
    match value.filter(|_| LIKE_A_KEY.iter().any(|end| variable.ends_with(end))) {
        Some(text) => LoadOutcome::Loaded(Document { version: version_of(text.as_bytes()), text }),
        None => LoadOutcome::Absent,
    }
}

impl FileStorage {
    /// The storage for the vault at `vault`, which need not exist. Nothing is touched before the first call.
    pub fn open(vault: impl Into<PathBuf>) -> Self {
        Self {
            places: Places { vault: absolute(vault.into()), profiles: None, only_read: false },
            also: Also::default(),
            from: None,
            layout: None,
            command: None,
            login_hint: None,
            foreign_lock: None,
            allow_network: false,
            environment: false,
            secrets: Secrets::default(),
            leases: Mutex::default(),
            tickets: Mutex::default(),
            seen: Mutex::default(),
            files: Arc::new(Disk),
            now: SystemTime::now,
            network_name: network::name_at,
            store_wait: Duration::from_millis(STORE_WAIT_MS),
            state: rescue::state_folder(),
        }
    }

    /// Returns the user and group ids of the vault at `vault`, or of the nearest directory above it if there is no such file.
    ///
    /// # Errors
    /// Fails if the path cannot be walked.
    pub fn owner_of(vault: &Path) -> Result<(u32, u32), StorageError> {
        let way = Way::walk(&absolute(vault.to_owned()))?;
        let stat = way.file.unwrap_or(way.folder.stat);
        Ok((stat.user, stat.group))
    }

    /// Where `providers.json` lies. Without this it is absent and cannot be written.
    pub fn with_profiles(mut self, path: PathBuf) -> Self {
        self.places.profiles = Some(absolute(path));
        self
    }

    /// Whether `<stem>.lock` beside `<stem>.json`, the reference program's own lock, is taken for writing the vault.
    /// The default is yes for a vault file called `auth.json` or `nous_auth.json`, and no for any other. No also leaves other
    /// tools' locks for their own files alone, which are taken else.
    pub fn foreign_lock(mut self, on: bool) -> Self {
        self.foreign_lock = Some(on);
        self
    }

    /// The file that is imported from: the vault [`FROM`], with all that belongs to it.
    pub fn from_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.from = Some(Box::new(Self::open(path)));
        self
    }

    /// States which program's layout the vault is in, by a name of `src/vault/layouts.json`, where its own name, its folder and
    /// what is in it do not tell for certain. A vault in hermes-agent's layout is always taken for one.
    pub fn layout(mut self, name: impl Into<String>) -> Self {
        self.layout = Some(name.into());
        self
    }

    /// States the same of the file that is imported from.
    pub fn from_layout(mut self, name: impl Into<String>) -> Self {
        self.from = self.from.map(|from| Box::new(from.layout(name)));
        self
    }

    /// States by which words a person calls the command `lazaretto` so that it is about this vault. Unless it is said,
    /// `lazaretto --vault PATH`, with the layout and the profiles where they are named.
    pub fn command(mut self, words: impl Into<String>) -> Self {
        self.command = Some(words.into());
        self
    }

    /// States what a person runs to log in, in place of the command `lazaretto`; `{provider}` in it stands for the provider.
    pub fn login_hint(mut self, command: impl Into<String>) -> Self {
        self.login_hint = Some(command.into());
        self
    }

    fn command_words(&self) -> String {
        self.command.clone().unwrap_or_else(|| {
            let mut words = format!("lazaretto --vault {}", shell_path(&self.places.vault));
            if let Some(layout) = &self.layout {
                words += &format!(" --layout {}", shell_path(Path::new(layout)));
            }
            if let Some(profiles) = &self.places.profiles {
                words += &format!(" --providers {}", shell_path(profiles));
            }
            words
        })
    }

    /// The document that says where the vault lies, as it was named, and how a person reaches it.
    fn place(&self, known: Option<&str>) -> LoadOutcome {
        let place = json!({
            "path": self.places.vault.to_string_lossy(), "layout": self.layout,
            "command": self.command_words(), "login_hint": self.login_hint,
        });
        let text = place.to_string();
        let version = version_of(text.as_bytes());
        if known == Some(&version) { LoadOutcome::Unchanged } else { LoadOutcome::Loaded(Document { version, text }) }
    }

    /// The storage that has a document, and its name there.
    fn elsewhere(&self, name: &str) -> Option<(&Self, String)> {
        let suffix = name.strip_prefix(FROM).filter(|suffix| suffix.is_empty() || suffix.starts_with('.'))?;
        Some((self.from.as_deref()?, format!("{}{suffix}", super::VAULT)))
    }

    /// The storage that has the document of a scope, and the scope there.
    fn scope_elsewhere(&self, scope: &Scope) -> Option<(&Self, Scope)> {
        let (Scope::Document(name) | Scope::Grant { document: name, .. }) = scope;
        let (from, document) = self.elsewhere(name)?;
        Some(match scope {
            Scope::Document(_) => (from, Scope::Document(document)),
            Scope::Grant { fingerprint, .. } => (from, Scope::Grant { document, fingerprint: fingerprint.clone() }),
        })
    }

    /// Another file that may hold the same grants. Those that it holds are refreshed only there. What the reference's own
    /// layout says of its shared and its root store is known without this.
    pub fn also(mut self, path: impl Into<PathBuf>) -> Self {
        self.also.name(absolute(path.into()));
        self
    }

    /// Where the reference keeps the logins that its profiles share, if not in `shared` in its root.
    pub fn shared_logins(mut self, folder: impl Into<PathBuf>) -> Self {
        self.also.share(absolute(folder.into()));
        self
    }

    /// Whether keys of this process's environment may be read, for entries of a vault that only name a variable. Only
    /// variables that are called like a key or a token can be.
    pub fn with_environment(mut self, on: bool) -> Self {
        self.environment = on;
        self
    }

    /// Where this user's programs keep their state, if not in `$XDG_STATE_HOME` or `~/.local/state`: new tokens that can be stored
    /// nowhere else are kept there.
    pub fn state_folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.state = Some(absolute(folder.into()));
        self
    }

    /// Lets grants be leased on a network file system, where locks may not exclude other machines.
    pub fn allow_network_filesystem(mut self, on: bool) -> Self {
        self.allow_network = on;
        self
    }

    /// A file that may own the same grants as a vault: it is read, and never written.
    fn only_read(path: PathBuf) -> Self {
        let mut storage = Self::open(path);
        storage.places.only_read = true;
        storage
    }

    /// The secret of a provider's client, as `providers.json` says where it is.
    fn client_secret(&self, provider: &str) -> Result<LoadOutcome, StorageError> {
        let (Some(path), LoadOutcome::Loaded(profiles)) =
            (&self.places.profiles, self.load(Kind::Profiles.name(), None)?)
        else {
            return Ok(LoadOutcome::Absent);
        };
        let Some(text) = self.secrets.of(provider, &profiles.text, path)? else { return Ok(LoadOutcome::Absent) };
        Ok(LoadOutcome::Loaded(Document { version: version_of(text.as_bytes()), text }))
    }

    /// What one stat can say: that the document certainly is at version `known`, or that there is none. None: nothing.
    ///
    /// The kernel followed whatever links there are. But it came to nothing, or to the very file that was read by a
    /// safe way.
    fn glance(&self, kind: Kind, known: Option<&str>, leased: Option<&Place>) -> Option<LoadOutcome> {
        let found = match leased {
            Some(place) => place.file().map_or_else(|| Err(ErrorKind::NotFound.into()), Spot::stat),
            None => self.places.glance(kind)?,
        };
        match (found, known) {
            (Ok(stat), Some(known)) => {
                let seen = &self.seen()[kind as usize];
                let is_proof = seen.as_ref().is_some_and(|seen| seen.proves(&stat, known));
                is_proof.then_some(LoadOutcome::Unchanged)
            }
            (Err(error), _) if error.kind() == ErrorKind::NotFound => Some(LoadOutcome::Absent),
            _ => None,
        }
    }

    /// Finds a document: beside the lease that this thread holds, or else by walking to it.
    fn find(&self, kind: Kind) -> Result<Option<Place>, StorageError> {
        match self.leased(kind)? {
            Some(place) => Ok(Some(place)),
            None => self.places.find(kind),
        }
    }

    /// Where a document is for a caller that holds a lease: beside what was leased. None: no lease is held.
    fn leased(&self, kind: Kind) -> Result<Option<Place>, StorageError> {
        let this = thread::current().id();
        let is_near = |lease: &&Arc<Lease>| {
            let is_beside = (lease.claim.kind() == Kind::Profiles) == (kind == Kind::Profiles);
            is_beside && lease.thread == this && lease.held.is_of_this_process()
        };
        let anchor = self.leases().values().find(is_near).map(|lease| Arc::clone(&lease.place.anchor));
        anchor.map(|anchor| Place::of(anchor, kind)).transpose()
    }

    fn read(&self, kind: Kind, place: &Place) -> Result<Option<Text>, StorageError> {
        let Some(at) = place.file() else {
            return Ok(None);
        };
        let read = |at: &Spot| {
            let text = text::read(at, self.now, self.network_name)?;
            if let Some(text) = &text
                && kind.suffix().is_some()
            {
                belongs_to(place.anchor.owner(), &text.stat, &at.path())?;
            }
            Ok(text)
        };
        match place.unsynced(kind) {
            Some(beside) => unsynced::read(at, &beside, read),
            None => read(at),
        }
    }

    fn seen(&self) -> MutexGuard<'_, [Option<Seen>; Kind::ALL.len()]> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leases(&self) -> MutexGuard<'_, HashMap<String, Arc<Lease>>> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tickets(&self) -> MutexGuard<'_, HashMap<String, Ticket>> {
        self.tickets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stores a text, with what was made ready for it if that is still of use.
    fn store_with(
        &self,
        kind: Kind,
        text: &str,
        expected: Option<&str>,
        durable: bool,
        lease: Option<&str>,
        prepared: Option<&Prepared>,
    ) -> Result<StoreOutcome, StorageError> {
        // Held to the end of the store, even if somebody releases it meanwhile.
        let lease = match lease {
            Some(lease) => self.lease_for(kind, lease)?,
            None => self.lock_for_store(kind)?,
        };
        let place = &lease.place;
        if text.len() as u64 > MAX_BYTES {
            return Err(too_large(&place.path(), &errors::size(text.len() as u64)));
        }
        let target = place.file().ok_or_else(|| no_directory(place))?;
        let unsynced = place.unsynced(kind);
        let change = Change { target, unsynced: unsynced.as_ref(), text, expected, durable, prepared };
        replace(&*self.files, &change, || self.read(kind, place))
    }

    /// Takes the locks of a claim. The order never changes: a grant's lock before a document's, and another program's
    /// before our own.
    fn claim(
        &self,
        claim: Claim,
        grant: Option<&str>,
        patience: Patience,
    ) -> Result<Result<Lease, Holder>, StorageError> {
        // While one waits for a lock the link may be pointed elsewhere, or the lock file be removed: then it was the
        // wrong lock.
        for _ in 0..3 {
            let leased = self.leased(claim.kind())?;
            let place = match &leased {
                Some(place) => place.clone(),
                None => self.places.find(claim.kind())?.ok_or_else(no_profiles)?,
            };
            self.refuse_network(claim, &place)?;
            refuse_another_user(&place.anchor)?;
            let place = self.with_directories(place, claim.kind())?;
            let held = match self.locks(claim, grant, &place).take(&*self.files, patience)? {
                Taken::Busy(holder) => return Ok(Err(holder)),
                Taken::Held(held) => held,
            };
            // Who holds a lease already stays beside it.
            let now = match leased {
                Some(leased) => Some(leased),
                None => self.places.find(claim.kind())?,
            };
            if let Some(now) = now.filter(|now| now.is(&place) && held.is_in_place()) {
                if matches!(claim, Claim::Grant(_)) {
                    prepared::check(&self.files, &now.at)?;
                }
                return Ok(Ok(Lease { claim, place: now, held, thread: thread::current().id() }));
            }
        }
        let moving = format!("{} is being moved about; try again", self.places.vault.display());
        Err(StorageError::new("unavailable", moving))
    }

    /// The same place, when all directories on the way to it are there.
    fn with_directories(&self, place: Place, kind: Kind) -> Result<Place, StorageError> {
        if place.anchor.missing.is_empty() {
            return Ok(place);
        }
        let anchor = create_dirs(&*self.files, Way::clone(&place.anchor))?;
        Place::of(Arc::new(anchor), kind)
    }

    fn locks(&self, claim: Claim, grant: Option<&str>, place: &Place) -> Locks {
        let (foreign, marks) = match claim {
            Claim::Document(Kind::Vault) => {
                (foreign_locks(&place.anchor, self.foreign_lock), marks(&place.anchor, self.foreign_lock))
            }
            _ => Default::default(),
        };
        let owner = place.anchor.owner();
        let (home, own, grant) = (place.locks(), claim.lock_name().into(), grant.map(str::to_owned));
        Locks { foreign, marks, home, own, grant, owner, now: self.now }
    }

    fn refuse_network(&self, claim: Claim, place: &Place) -> Result<(), StorageError> {
        let matters = matches!(claim, Claim::Grant(_)) && !self.allow_network;
        match matters.then(|| self.network(&place.anchor)).flatten() {
            Some(network) => Err(StorageError::new(
                "unsupported",
                format!(
                    "{} lies on {network}, where a lock may not keep another machine from refreshing the same \
                     login; move it to a local disk, or allow network file systems if only this machine uses it",
                    place.path().display()
                ),
            )),
            None => Ok(()),
        }
    }

    /// The kind of network file system that a vault lies on, or will lie on.
    fn network(&self, vault: &Way) -> Option<&'static str> {
        (self.network_name)(&vault.folder)
    }

    /// The lease that a store was given, if it permits this store.
    fn lease_for(&self, kind: Kind, lease: &str) -> Result<Arc<Lease>, StorageError> {
        let held = self.leases().get(lease).cloned();
        let permits = |lease: &Arc<Lease>| lease.claim == Claim::Document(kind) && lease.held.is_of_this_process();
        let held = held.filter(permits).ok_or_else(|| invalid_lease(kind.name()))?;
        // Where the path leads by now does not matter: the lease is one on what it led to.
        if held.held.is_in_place() {
            return Ok(held);
        }
        let moved = format!("the lock of {} was moved away under the lease; try again", kind.name());
        Err(StorageError::new("unavailable", moved))
    }

    fn lock_for_store(&self, kind: Kind) -> Result<Arc<Lease>, StorageError> {
        match self.claim(Claim::Document(kind), None, Patience::new(self.store_wait))? {
            Ok(lease) => Ok(Arc::new(lease)),
            Err(holder) => {
                let name = if holder.name.is_empty() { "somebody" } else { &holder.name };
                let waited = self.store_wait.as_secs();
                let message = format!("{} has been locked by {name} for {waited} s; try again", kind.name());
                Err(StorageError::new("unavailable", message))
            }
        }
    }
}

impl Storage for FileStorage {
    fn load(&self, name: &str, known: Option<&str>) -> Result<LoadOutcome, StorageError> {
        if let Some((from, name)) = self.elsewhere(name) {
            return from.load(&name, known);
        }
        if let Some(loaded) = self.also.load(&self.places.vault, name, known) {
            return loaded;
        }
        if name == PLACE {
            return Ok(self.place(known));
        }
        if let Some(variable) = name.strip_prefix("env/").filter(|_| self.environment) {
            return Ok(variable_named(variable));
        }
        if let Some(provider) = name.strip_prefix("secret/") {
            return self.client_secret(provider);
        }
        let kind = Kind::of(name)?;
        let leased = self.leased(kind)?;
        if let Some(outcome) = self.glance(kind, known, leased.as_ref()) {
            return Ok(outcome);
        }
        let place = match leased {
            Some(place) => Some(place),
            None => self.places.find(kind)?,
        };
        let Some(place) = place else {
            return Ok(LoadOutcome::Absent);
        };
        let Some(Text { document, seen, .. }) = self.read(kind, &place)? else {
            return Ok(LoadOutcome::Absent);
        };
        self.seen()[kind as usize] = seen;
        Ok(if known == Some(&document.version) { LoadOutcome::Unchanged } else { LoadOutcome::Loaded(document) })
    }

    fn store(
        &self,
        name: &str,
        text: &str,
        expected: Option<&str>,
        durable: bool,
        lease: Option<&str>,
    ) -> Result<StoreOutcome, StorageError> {
        if let Some((from, name)) = self.elsewhere(name) {
            return from.store(&name, text, expected, durable, lease);
        }
        self.store_with(Kind::of(name)?, text, expected, durable, lease, None)
    }

    fn store_prepared(
        &self,
        name: &str,
        text: &str,
        expected: Option<&str>,
        durable: bool,
        lease: Option<&str>,
        ticket: &str,
    ) -> Result<StoreOutcome, StorageError> {
        if let Some((from, name)) = self.elsewhere(name) {
            return from.store_prepared(&name, text, expected, durable, lease, ticket);
        }
        let kind = Kind::of(name)?;
        // Whatever becomes of the store, what is left of it is removed in the end.
        let used = self.tickets().remove(ticket);
        let prepared = used.as_ref().filter(|used| used.kind == kind).map(|used| &used.prepared);
        self.store_with(kind, text, expected, durable, lease, prepared)
    }

    fn prepare(&self, name: &str, size: u64, lease: &str) -> Result<Option<String>, PrepareError> {
        if let Some((from, name)) = self.elsewhere(name) {
            return from.prepare(&name, size, lease);
        }
        let kind = Kind::of(name)?;
        let held = self.leases().get(lease).cloned().filter(|held| held.held.is_of_this_process());
        let held = held.ok_or_else(|| invalid_lease(kind.name()))?;
        if (held.claim.kind() == Kind::Profiles) != (kind == Kind::Profiles) {
            return Ok(None); // it lies elsewhere than what is leased
        }
        let place = Place::of(Arc::clone(&held.place.anchor), kind)?;
        if size > MAX_BYTES {
            return Err(too_large(&place.path(), &errors::size(size)).into());
        }
        let target = place.file().ok_or_else(|| no_directory(&place))?;
        let prepared = prepared::prepare(&self.files, target, size)?;
        let ticket = random_id()?;
        let new = Ticket { lease: lease.to_owned(), kind, prepared };
        let mut tickets = self.tickets();
        // One is enough: who asks again has no use for the first.
        let old: Vec<_> = tickets.extract_if(|_, old| old.lease == lease && old.kind == kind).collect();
        tickets.insert(ticket.clone(), new);
        drop(tickets);
        drop(old); // outside the lock of the table
        Ok(Some(ticket))
    }

    fn acquire(&self, scope: &Scope, _ttl_ms: u64, wait_ms: u64) -> Result<AcquireOutcome, StorageError> {
        if let Some((from, scope)) = self.scope_elsewhere(scope) {
            return from.acquire(&scope, 0, wait_ms); // no lease here ends by time
        }
        let claim = Claim::of(scope)?;
        let id = random_id()?;
        match self.claim(claim, fingerprint(scope), Patience::new(Duration::from_millis(wait_ms)))? {
            Err(holder) => Ok(AcquireOutcome::Busy(holder)),
            Ok(lease) => {
                self.leases().insert(id.clone(), Arc::new(lease));
                Ok(AcquireOutcome::Acquired(LeaseGrant { lease: id, granted_ttl_ms: None }))
            }
        }
    }

    fn release(&self, lease: &str) {
        if let Some(from) = &self.from {
            from.release(lease);
        }
        let unused: Vec<_> = self.tickets().extract_if(|_, ticket| ticket.lease == lease).collect();
        drop(unused); // outside the lock of the table
        let held = self.leases().remove(lease);
        drop(held);
    }

    fn holder_of(&self, scope: &Scope) -> Result<Option<Holder>, StorageError> {
        if let Some((from, scope)) = self.scope_elsewhere(scope) {
            return from.holder_of(&scope);
        }
        let claim = Claim::of(scope)?;
        match self.find(claim.kind())? {
            // Where there is no folder there is no lock.
            Some(place) if place.anchor.missing.is_empty() => self.locks(claim, fingerprint(scope), &place).holder(),
            _ => Ok(None),
        }
    }

    fn list(&self, prefix: &str) -> Result<Vec<String>, StorageError> {
        let mut names = Vec::new();
        for kind in Kind::ALL.into_iter().filter(|kind| kind.name().starts_with(prefix)) {
            let place = self.find(kind)?;
            let Some(at) = place.as_ref().and_then(Place::file) else {
                continue;
            };
            match at.stat() {
                Ok(_) => names.push(kind.name().to_owned()),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(errors::io_error("look at", &at.path(), &error)),
            }
        }
        Ok(names)
    }

    fn describe(&self) -> Capabilities {
        let way = Way::walk(&self.places.vault).ok();
        let is_network = way.as_ref().is_some_and(|way| self.network(way).is_some());
        Capabilities {
            cas: "emulated",
            reads: if is_network { "may-be-stale" } else { "linearizable" },
            durability: "machine-crash",
            // The reference knows its vault by one name only: a file of any other name has no foreign writer to exclude.
            excludes_foreign: way
                .is_some_and(|way| self.foreign_lock.is_none() || !foreign_locks(&way, self.foreign_lock).is_empty()),
        }
    }

    fn exposed(&self) -> Option<Exposed> {
        let place = self.places.find(Kind::Vault).ok()??;
        checkup::exposed(place.file()?)
    }

    fn rescue(&self, unsaved: &str) -> Result<String, StorageError> {
        self.keep_for_later(unsaved).map(|path| path.display().to_string())
    }

    fn rescued(&self) -> Vec<Rescued> {
        self.kept_for_later()
    }

    fn forget_rescued(&self, name: &str) {
        self.forget_kept(name);
    }
}

fn fingerprint(scope: &Scope) -> Option<&str> {
    match scope {
        Scope::Document(_) => None,
        Scope::Grant { fingerprint, .. } => Some(fingerprint),
    }
}

/// What lies beside a vault belongs to whom the vault belongs to, or to root: whatever else is there, somebody else has put there.
fn belongs_to(owner: u32, stat: &Stat, path: &Path) -> Result<(), StorageError> {
    match somebody_elses(owner, stat, path) {
        Some(what) => Err(StorageError::new("unsafe", format!("{what}; run: {}", set_aside(path)))),
        None => Ok(()),
    }
}

/// What is wrong with it, if somebody else has put it there.
fn somebody_elses(owner: u32, stat: &Stat, path: &Path) -> Option<String> {
    let is_somebody_elses = stat.user != owner && stat.user != 0;
    is_somebody_elses.then(|| {
        format!(
            "{} belongs to user {}, and the vault to user {owner}: nothing that somebody else put there is believed",
            path.display(),
            stat.user
        )
    })
}

/// What another user than the vault's owner wrote beside it would shut its owner out.
fn refuse_another_user(vault: &Way) -> Result<(), StorageError> {
    let user = rustix::process::geteuid().as_raw();
    match vault.file.map(|file| file.user).filter(|owner| *owner != user) {
        Some(owner) => Err(replaceable::Obstacle::NotOwner { file: vault.target(), owner, user }.into()),
        None => Ok(()),
    }
}

fn no_directory(place: &Place) -> StorageError {
    let what = format!("there is no directory for {}, where a link leads to", place.path().display());
    StorageError::new("other", what)
}

fn no_profiles() -> StorageError {
    let message = "no file for providers.json was named (--providers), so it cannot be written";
    StorageError::new("unsupported", message)
}

#[cfg(test)]
mod tests;
