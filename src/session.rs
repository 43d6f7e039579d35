//! What every step of every call stands on: the ports, and what was read through them and may be
//! forgotten at any time.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::error::{Code, KeeperError};
use crate::json;
use crate::pool::PoolState;
use crate::ports::{Event, Lease, Loaded, Ports, Stored, Version};
use crate::profiles::ProfileCache;
use crate::provider::{Catalog, Profile};
use crate::secret::Secret;
use crate::state::document;
use crate::state::settings::{SETTINGS, Settings};
use crate::vault::edit::EditError;
use crate::vault::{Outline, Provenance, Reading, Vault, VaultError};
use crate::visible::visible_line;

/// What follows a vault's name in that of the document which says where the vault lies.
pub(crate) const PLACE: &str = ".lazaretto-place";
/// What a host calls the file that is imported from.
const FROM: &str = "from";

/// Holds the ports and the caches of any number of vaults.
pub(crate) struct Session<P> {
    pub(crate) ports: P,
    profiles: ProfileCache,
    vaults: RefCell<BTreeMap<String, Rc<Snapshot>>>,
    /// Where vaults lie that are not in the reference's form, and what a person states of them.
    provenances: RefCell<BTreeMap<String, Provenance>>,
    settings: RefCell<Option<Rc<Settings>>>,
    /// The pool documents as they were read, by the vault's name.
    pub(crate) pools: RefCell<BTreeMap<String, Rc<PoolState>>>,
    /// Where in the advisory window this session refreshes; drawn once.
    pub(crate) share: Cell<Option<u64>>,
}

/// A vault as it was read, and what was made of it.
pub(crate) struct Snapshot {
    pub(crate) version: Version,
    text: Secret,
    outline: Outline,
    /// What a person does to log in again, if it is another tool's own file.
    login_hint: Option<String>,
    /// And whose logins that file holds.
    logins: Vec<String>,
    readings: RefCell<BTreeMap<String, Rc<Reading>>>,
}

impl Snapshot {
    pub(crate) fn text(&self) -> &str {
        self.text.expose()
    }

    /// Opens the vault. Its text was checked when it was read, and is not checked again.
    pub(crate) fn open(&self) -> Vault<'_> {
        Vault::of_outline(self.text(), &self.outline)
    }

    /// Whether it is another tool's own file, in which no refusal is noted.
    pub(crate) fn is_foreign(&self) -> bool {
        self.login_hint.is_some()
    }

    pub(crate) fn reading(&self, profile: &Profile) -> Result<Rc<Reading>, KeeperError> {
        if let Some(reading) = self.readings.borrow().get(&profile.id) {
            return Ok(reading.clone());
        }
        let reading = Rc::new(self.open().read(profile));
        self.readings.borrow_mut().insert(profile.id.clone(), reading.clone());
        Ok(reading)
    }
}

#[lazaretto_macros::async_natively]
impl<P: Ports> Session<P> {
    /// Makes a session that reaches the world through these ports.
    pub(crate) fn new(ports: P) -> Self {
        Self {
            ports,
            profiles: ProfileCache::default(),
            vaults: RefCell::default(),
            provenances: RefCell::default(),
            settings: RefCell::new(None),
            pools: RefCell::default(),
            share: Cell::new(None),
        }
    }

    /// The vault as it is now; not read again if it has not changed.
    pub(crate) async fn vault(&self, vault: &str) -> Result<Rc<Snapshot>, KeeperError> {
        if !is_document_name(vault) {
            let what = format!(
                "{} is no name of a document: it should be segments of a-z, 0-9, `.`, `_`, `-`, joined by `/`",
                json::quote(vault)
            );
            return Err(KeeperError::new(Code::BadRequest, what));
        }
        let known = self.vaults.borrow().get(vault).cloned();
        let loaded = self.ports.load(vault, known.as_ref().map(|snapshot| &snapshot.version)).await;
        match (loaded.map_err(|error| KeeperError::storage(vault, &error))?, known) {
            (Loaded::Unchanged, Some(snapshot)) => Ok(snapshot),
            (Loaded::Found(document), _) => {
                let text = document.text.expose();
                let opened = match Vault::open(text, &Provenance::default()) {
                    Err(VaultError::UnknownLayout(_)) => Vault::open(text, &self.provenance(vault).await?),
                    opened => opened,
                };
                let opened = opened.map_err(|error| corrupt(&error))?;
                let outline = opened.outline();
                let login_hint = opened.login_hint().map(str::to_owned);
                let logins = if login_hint.is_some() { opened.providers() } else { Vec::new() };
                let (version, text) = (document.version, document.text);
                let readings = RefCell::default();
                let snapshot = Rc::new(Snapshot { version, text, outline, login_hint, logins, readings });
                self.vaults.borrow_mut().insert(vault.to_owned(), snapshot.clone());
                Ok(snapshot)
            }
            (Loaded::Absent | Loaded::Unchanged, _) => {
                Err(KeeperError::new(Code::NoCredential, "there is no vault yet"))
            }
        }
    }

    /// Where a vault lies and what a person states of it. One in the reference's form is known by
    /// its members alone.
    async fn provenance(&self, vault: &str) -> Result<Provenance, KeeperError> {
        let name = format!("{vault}{PLACE}");
        // A host that does not know where a vault lies need not know the document.
        let mut known = match self.ports.load(&name, None).await {
            Ok(Loaded::Found(document)) => place_of(document.text.expose()),
            _ => Provenance::default(),
        };
        // The settings are those of the vault in use, not of one that is imported from.
        if known.layout.is_none() && vault != FROM {
            known.layout = self.settings(vault).await?.layout()?;
        }
        self.provenances.borrow_mut().insert(vault.to_owned(), known.clone());
        Ok(known)
    }

    /// A vault's text as it is now, by what was known of the vault when it was last read.
    pub(crate) fn opened<'a>(&self, vault: &str, text: &'a str) -> Result<Vault<'a>, KeeperError> {
        let provenances = self.provenances.borrow();
        let unknown = Provenance::default();
        Vault::open(text, provenances.get(vault).unwrap_or(&unknown)).map_err(|error| corrupt(&error))
    }

    /// Edits a vault, whoever else does too. The edit returns none if there is nothing to do.
    pub(crate) async fn edit_vault(
        &self,
        vault: &str,
        lease: Option<&Lease>,
        mut edit: impl AsyncFnMut(&str) -> Result<Option<String>, KeeperError>,
    ) -> Result<(), KeeperError> {
        let stored = document::until_stored(async || {
            let loaded = document::loaded(vault, self.ports.load(vault, None).await)?;
            let Some(document) = loaded else { return Ok(Some(())) };
            let Some(edited) = edit(document.text.expose()).await?.map(Secret::new) else { return Ok(Some(())) };
            match self.ports.store(vault, edited.expose(), Some(&document.version), true, lease).await {
                Ok(Stored::Done(_)) => Ok(Some(())),
                Ok(Stored::Stale(_) | Stored::Unknown) => Ok(None),
                Err(error) => Err(KeeperError::storage(vault, &error)),
            }
        });
        stored.await?.ok_or_else(|| document::busy("the vault").after(1))
    }

    /// The settings of a vault as they are now; not read again if they have not changed.
    pub(crate) async fn settings(&self, vault: &str) -> Result<Rc<Settings>, KeeperError> {
        let known = self.settings.borrow().clone();
        let loaded = self.ports.load(SETTINGS, known.as_ref().and_then(|settings| settings.version.as_ref())).await;
        let (version, text) = match (loaded.map_err(|error| KeeperError::storage(vault, &error))?, known) {
            (Loaded::Unchanged, Some(settings)) => return Ok(settings),
            (Loaded::Absent, Some(settings)) if settings.version.is_none() => return Ok(settings),
            (Loaded::Found(document), _) => (Some(document.version), document.text),
            (Loaded::Absent | Loaded::Unchanged, _) => (None, Secret::from("{}")),
        };
        let settings = Rc::new(Settings::new(version, text));
        // What a vault was read as may be stated otherwise now.
        if self.settings.borrow_mut().replace(settings.clone()).is_some() {
            self.forget_vaults();
        }
        Ok(settings)
    }

    /// Each is read anew when it is asked for.
    pub(crate) fn forget_vaults(&self) {
        self.vaults.borrow_mut().clear();
    }

    /// What a person runs to log in again, if a vault is another tool's own file and holds such a
    /// login.
    pub(crate) fn login_hint_of_tool(&self, vault: &str, provider: &str) -> Option<String> {
        let vaults = self.vaults.borrow();
        let snapshot = vaults.get(vault)?;
        let holds = snapshot.logins.iter().any(|login| login == provider);
        snapshot.login_hint.clone().filter(|_| holds)
    }

    /// Reads the user's profiles again if they have changed.
    pub(crate) async fn load_profiles(&self) -> Result<(), KeeperError> {
        if self.profiles.load(&self.ports).await? {
            // What was read by the old profiles may read otherwise by these.
            self.forget_vaults();
        }
        Ok(())
    }

    /// Returns the profile that a name stands for. A name that only a vault knows is read as the
    /// generic one.
    pub(crate) async fn profile(&self, name: &str) -> Result<Rc<Profile>, KeeperError> {
        self.load_profiles().await?;
        let profile = self.profile_or_generic(&self.profiles.resolve(name))?;
        profile.wrong.as_ref().map_or(Ok(()), |error| Err(KeeperError::from(error)))?;
        Ok(profile)
    }

    /// Returns the profile of an id as it was read last.
    pub(crate) fn profile_or_generic(&self, id: &str) -> Result<Rc<Profile>, KeeperError> {
        self.profiles.profile_or_generic(id)
    }

    /// Returns what `look` makes of all profiles as they were read last.
    pub(crate) fn with_catalog<T>(
        &self,
        look: &mut dyn FnMut(&Catalog) -> Result<T, KeeperError>,
    ) -> Result<T, KeeperError> {
        self.profiles.with_catalog(look)
    }

    /// Returns the origins that the profiles name.
    pub(crate) async fn origins(&self) -> Result<Vec<String>, KeeperError> {
        self.load_profiles().await?;
        self.with_catalog(&mut |catalog| Ok(catalog.origins()))
    }

    /// Tells of something, each text on one line.
    pub(crate) fn emit(&self, event: Event) {
        let attributes = event.attributes.iter().map(|(name, value)| (*name, visible_line(value))).collect();
        self.ports.emit(Event { message: visible_line(&event.message), attributes, ..event });
    }
}

/// What a host says of where a vault lies:
/// `{"path": "/home/you/.codex/auth.json", "layout": "codex"}`, each if it is known.
fn place_of(text: &str) -> Provenance {
    let Ok(root) = json::check(text) else { return Provenance::default() };
    let text = |name: &str| root.get(name).and_then(|value| value.as_str());
    Provenance { path: text("path"), layout: text("layout") }
}

/// The names that `wit/storage.wit` allows.
fn is_document_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    name.split('/').all(|segment| !matches!(segment, "" | "." | "..") && segment.bytes().all(allowed))
}

fn corrupt(error: &VaultError) -> KeeperError {
    if let VaultError::UnknownLayout(_) = error {
        let what = format!("nothing was sent or changed: {error}");
        return KeeperError::new(Code::UnknownLayout, what);
    }
    KeeperError::new(Code::CorruptVault, format!("the vault cannot be used, and was not touched: {error}"))
}

pub(crate) fn uneditable(error: &EditError) -> KeeperError {
    KeeperError::new(
        Code::CorruptVault,
        format!("the vault cannot be edited safely, so nothing was sent or changed: {error}. Mend it by hand"),
    )
}
