//! The use cases. Each call is complete in itself; what an instance remembers is only what it may forget at any time.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;

use crate::error::{Action, Code, KeeperError};
use crate::json::{self, Object};
use crate::layers::Layers;
use crate::pool::{self, Picked, State};
use crate::ports::{Event, Lease, Loaded, Ports, Severity, Stored, Version};
use crate::protocol::lease::{Held, Patience};
use crate::protocol::request;
use crate::protocol::store_successor::{Landed, Landing};
use crate::provider::{Catalog, Profile, ProfileError};
use crate::secret::Secret;
use crate::sendable;
use crate::state::document;
use crate::state::fingerprint::Fingerprint;
use crate::state::ledger::{self, Counterpart};
use crate::state::sealed::{self, Successor};
use crate::state::settings::Settings;
use crate::status::CredentialStatus;
use crate::unknown;
use crate::vault::edit::EditError;
use crate::vault::{Credential, CredentialKind, Outline, Provenance, Reading, Spot, Vault, VaultError};
use crate::visible::visible_line;
use std::collections::BTreeMap;

const PROFILES: &str = "providers.json";
/// What follows a vault's name in that of the document which says where the vault lies.
pub(crate) const PLACE: &str = ".lazaretto-place";
/// What a host calls the file that is imported from.
const FROM: &str = "from";
/// How often a vault is edited against others who write too.
const EDIT_ATTEMPTS: u32 = 64;

/// Keeps the credentials of any number of vaults.
pub struct Keeper<P> {
    pub(crate) ports: P,
    profiles: RefCell<Option<Rc<Profiles>>>,
    vaults: RefCell<BTreeMap<String, Rc<Snapshot>>>,
    /// Of vaults that are not in the reference's form: where they lie, and what a person states of them.
    provenances: RefCell<BTreeMap<String, Provenance>>,
    pub(crate) settings: RefCell<Option<Rc<Settings>>>,
    pub(crate) pools: RefCell<BTreeMap<String, Rc<State>>>,
    /// Drawn once: where in the advisory window this keeper refreshes.
    pub(crate) share: Cell<Option<u64>>,
}

/// Which access token is wanted.
#[derive(Clone, Debug)]
pub struct TokenRequest {
    /// The vault's document name.
    pub vault: String,
    /// A profile's id or alias.
    pub provider: String,
    /// An id, a label or `login`; none: the first that can serve.
    pub credential: Option<String>,
    /// For how many more seconds it must be good.
    pub min_valid_s: u64,
    /// One that an API refused.
    pub refused_access_token: Option<Secret>,
    /// Where a session keeps its credential: the session.
    pub session: Option<String>,
}

/// An access token to use.
#[derive(Clone, Debug)]
pub struct AccessToken {
    /// The token.
    pub token: Secret,
    /// `Bearer`, mostly.
    pub token_type: String,
    /// The profile's id.
    pub provider: String,
    /// An entry's id, or `login`.
    pub credential: String,
    /// Milliseconds since 1970; none if it is not known.
    pub expires_at_ms: Option<u64>,
    /// Why this credential and no other.
    pub picked: Picked,
    /// How it was come by.
    pub origin: Origin,
    /// What a person should know although the token is good.
    pub warning: Option<String>,
    /// A person must log in before it ends.
    pub needs_login: bool,
    /// New tokens that could be stored nowhere: for [`Keeper::save_unsaved`].
    pub unsaved: Option<Secret>,
}

impl AccessToken {
    /// The same with what keeps it from being refreshed.
    pub(crate) fn warned_by(self, error: &KeeperError) -> Self {
        let needs_login = error.action() == Action::Login;
        Self { needs_login, ..self.warned(Some(&error.message)) }
    }

    /// The same with one more thing that a person should know.
    pub(crate) fn warned(mut self, warning: Option<&str>) -> Self {
        let Some(warning) = warning else { return self };
        self.warning = Some(match self.warning.take() {
            Some(known) => format!("{known}; {warning}"),
            None => warning.to_owned(),
        });
        self
    }
}

/// How an access token was come by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It lay in the vault.
    Stored,
    /// This call refreshed it.
    Refreshed,
    /// Another process did, meanwhile.
    Adopted,
    /// Its refresh token is out of use, it is not.
    Sealed,
    /// It is a key.
    ApiKey,
}

impl Origin {
    /// The word in the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Refreshed => "refreshed",
            Self::Adopted => "adopted",
            Self::Sealed => "sealed",
            Self::ApiKey => "api-key",
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One call's wish, about one credential.
pub(crate) struct Ask<'a> {
    pub(crate) vault: &'a str,
    pub(crate) profile: Rc<Profile>,
    pub(crate) credential: String,
    pub(crate) min_valid_ms: u64,
    /// An API refused it.
    pub(crate) refused: Option<Secret>,
    /// Another one is wanted than this, although nobody refused it.
    pub(crate) replaced: Option<Secret>,
    /// Another one is wanted than whatever can be found.
    pub(crate) is_forced: bool,
}

impl Ask<'_> {
    /// An access token of the credential that is asked for. Nothing is handed out but through here, so nothing is that no header
    /// can carry, whoever wrote it where.
    pub(crate) fn served(
        &self,
        token: &Secret,
        token_type: &str,
        expires_at_ms: Option<u64>,
        origin: Origin,
    ) -> Result<AccessToken, KeeperError> {
        if !sendable::is_access_token(token.expose()) {
            return Err(self.unusable(if origin == Origin::ApiKey { "key" } else { "access token" }));
        }
        let is_scheme = sendable::is_scheme(token_type);
        let served = AccessToken {
            token: token.clone(),
            token_type: if is_scheme { token_type } else { "Bearer" }.to_owned(),
            provider: self.profile.id.clone(),
            credential: self.credential.clone(),
            expires_at_ms,
            picked: Picked::Named,
            origin,
            warning: None,
            needs_login: false,
            unsaved: None,
        };
        let warning = "its token type is no RFC 9110 token, so `Bearer` stands in its place";
        Ok(served.warned((!is_scheme).then_some(warning)))
    }

    /// Whether the caller said that it wants another access token than this.
    pub(crate) fn is_unwanted(&self, token: &Secret) -> bool {
        [&self.refused, &self.replaced].into_iter().flatten().any(|unwanted| unwanted == token)
    }

    /// A token of the credential that is there, and that no request could carry.
    pub(crate) fn unusable(&self, what: &str) -> KeeperError {
        let what = format!(
            "its {what} cannot be sent, for it holds white space, a control character or a letter beyond ASCII, \
             so it is given to nobody"
        );
        self.error(Code::Unusable, &what)
    }

    /// An error about the credential that is asked for.
    pub(crate) fn error(&self, code: Code, what: &str) -> KeeperError {
        let (id, credential) = (&self.profile.id, &self.credential);
        KeeperError::new(code, format!("{id} ({credential}): {what}")).of(id, credential)
    }
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

struct Profiles {
    version: Option<Version>,
    catalog: Catalog,
    read: RefCell<BTreeMap<String, Rc<Profile>>>,
    /// What names were found to stand for.
    ids: RefCell<BTreeMap<String, String>>,
}

impl Profiles {
    fn new(version: Option<Version>, text: Option<&str>) -> Result<Self, ProfileError> {
        Ok(Self { version, catalog: Catalog::new(text)?, read: RefCell::default(), ids: RefCell::default() })
    }
}

thread_local! {
    /// The built-in profiles alone: to unpack and index them is dear, and they are the same for every keeper.
    static BUILT_IN: RefCell<Option<Rc<Profiles>>> = const { RefCell::new(None) };
}

#[cfg_attr(target_arch = "wasm32", lazaretto_macros::synchronous)]
impl<P: Ports> Keeper<P> {
    /// A keeper that reaches the world through these ports.
    pub fn new(ports: P) -> Self {
        Self {
            ports,
            profiles: RefCell::new(None),
            vaults: RefCell::default(),
            provenances: RefCell::default(),
            settings: RefCell::new(None),
            pools: RefCell::default(),
            share: Cell::new(None),
        }
    }

    /// An access token that is valid as asked, refreshed if need be.
    pub async fn token(&self, request: &TokenRequest) -> Result<AccessToken, KeeperError> {
        let (profile, reading) = self.profile_in(&request.vault, &request.provider).await?;
        let found = candidates(&reading, &profile, request.credential.as_deref())?;
        if request.credential.is_none() {
            return self.picked(request, &profile, &reading).await;
        }
        // Who names a credential means that one, though it rests.
        let mut first_error = None;
        for credential in found {
            match self.ensure(&pool::ask(request, &profile, credential.id())).await {
                Ok(token) => return Ok(token),
                // One label may stand for several.
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        Err(first_error.unwrap_or_else(|| no_credential(&profile)))
    }

    /// Another access token than the one named as refused, or than the one found now.
    pub async fn refresh(&self, request: &TokenRequest) -> Result<AccessToken, KeeperError> {
        let (profile, reading) = self.profile_in(&request.vault, &request.provider).await?;
        let named = request.credential.as_deref();
        let candidates = candidates(&reading, &profile, named)?;
        let mut refreshable = candidates.filter(|credential| credential.leading().kind == CredentialKind::OAuth);
        // What is dead has nothing to refresh; if all are, the first says so.
        let first = refreshable.clone().next();
        let credential =
            refreshable.find(|credential| credential.leading().refresh_token.is_some()).or(first).ok_or_else(|| {
                KeeperError::new(Code::NothingToDo, format!("{}: only keys, and keys are not refreshed", profile.id))
                    .of(&profile.id, named.unwrap_or_default())
            })?;
        let is_forced = request.refused_access_token.is_none();
        let ask = Ask {
            vault: &request.vault,
            profile: profile.clone(),
            credential: credential.id().to_owned(),
            min_valid_ms: request.min_valid_s.saturating_mul(1_000),
            refused: request.refused_access_token.clone(),
            replaced: credential.leading().access_token.clone().filter(|_| is_forced),
            is_forced,
        };
        self.ensure(&ask).await
    }

    /// Puts a quarantined credential back as it was.
    pub async fn unquarantine(
        &self,
        vault: &str,
        provider: &str,
        credential: Option<&str>,
    ) -> Result<CredentialStatus, KeeperError> {
        let (profile, _) = self.profile_in(vault, provider).await?;
        let restored = self.restore(vault, &profile, credential).await?;
        self.status_of(vault, &profile, &restored).await
    }

    /// Ends a cooldown, a hold, a park or a rest. Tombstones stay.
    pub async fn reset(
        &self,
        vault: &str,
        provider: &str,
        credential: Option<&str>,
    ) -> Result<CredentialStatus, KeeperError> {
        let (profile, reading) = self.profile_in(vault, provider).await?;
        let tokens: Vec<(Fingerprint, String)> = candidates(&reading, &profile, credential)?
            .flat_map(|found| {
                found.places.iter().filter_map(|place| Some((place.fingerprint()?, found.id().to_owned())))
            })
            .collect();
        let ledger = ledger::load(&self.ports, vault).await?.ledger;
        let is_paused = |token: &Fingerprint| ledger.tokens.get(token).is_some_and(|record| record.pause.is_some());
        let paused = tokens.iter().find(|(token, _)| is_paused(token));
        ledger.understood()?;
        let found: Vec<&Credential> = candidates(&reading, &profile, credential)?.collect();
        let rested = self.end_rests(vault, &profile, &found).await?;
        let first = found.first().filter(|_| rested).map(|found| found.id());
        let Some(id) = paused.map(|(_, id)| id.as_str()).or(first) else {
            let what = format!("{}: nothing of it is cooling down, held, parked or resting", profile.id);
            return Err(KeeperError::new(Code::NothingToDo, what));
        };
        if paused.is_none() {
            return self.status_of(vault, &profile, id).await;
        }
        ledger::update(&self.ports, vault, true, None, &|ledger| {
            for (token, _) in &tokens {
                if let Some(record) = ledger.tokens.get_mut(token) {
                    record.pause = None;
                }
            }
        })
        .await?;
        self.status_of(vault, &profile, id).await
    }

    /// Stores what [`AccessToken::unsaved`] held.
    pub async fn save_unsaved(&self, unsaved: &Secret) -> Result<(), KeeperError> {
        let unsaved = Unsaved::read(unsaved.expose())
            .ok_or_else(|| KeeperError::new(Code::BadRequest, "this is not what `unsaved` held"))?;
        let profile = self.profile(&unsaved.successor.provider).await?;
        let snapshot = self.vault(&unsaved.vault).await?;
        let login = snapshot.open().node(&profile.id, Spot::Login);
        let (to, _) = request::counterpart(&profile, login, None)?;
        let ask = Ask {
            vault: &unsaved.vault,
            profile,
            credential: unsaved.successor.credential.clone(),
            min_valid_ms: 0,
            refused: None,
            replaced: None,
            is_forced: false,
        };
        // Nobody sends the spent token while its successor is on its way.
        let held = self.lease(&ask, Some(&unsaved.spent), Patience::OneRefresh).await?;
        let saved = self.save(&ask, &unsaved.spent, &to, &unsaved.successor, &held).await;
        self.give_back(held).await;
        saved
    }

    async fn save(
        &self,
        ask: &Ask<'_>,
        spent: &Fingerprint,
        to: &Counterpart,
        successor: &Successor,
        held: &Held,
    ) -> Result<(), KeeperError> {
        let ledger = ledger::load(&self.ports, ask.vault).await?.ledger;
        let unsaved = || {
            let what = "the vault still cannot be written: keep `unsaved`";
            KeeperError::new(Code::Unsaved, what)
        };
        match self.land(ask, &Landing::of(spent, successor, &ledger, held)).await? {
            Landed::Failed => return Err(unsaved()),
            // Older tokens that somebody put back are not written over; these wait until they are refused.
            Landed::Overtaken => sealed::update(&self.ports, ask.vault, &|sealed| {
                sealed.successors.insert(spent.clone(), successor.clone());
            })
            .await
            .map_err(|_| unsaved())?,
            Landed::Stored | Landed::Superseded | Landed::Gone => {}
        }
        self.resolve(ask.vault, spent, to, &successor.fresh, None).await;
        Ok(())
    }

    /// The origins that the profiles name.
    pub async fn origins(&self) -> Result<Vec<String>, KeeperError> {
        self.load_profiles().await?;
        let profiles = self.profiles.borrow();
        let catalog = profiles.as_ref().map(|profiles| &profiles.catalog);
        Ok(catalog.map(Catalog::origins).unwrap_or_default())
    }

    /// What is made of all profiles.
    pub(crate) fn with_catalog<T>(
        &self,
        look: &mut dyn FnMut(&Catalog) -> Result<T, KeeperError>,
    ) -> Result<T, KeeperError> {
        match self.profiles.borrow().clone() {
            Some(profiles) => look(&profiles.catalog),
            None => Err(not_read()),
        }
    }

    /// Every profile that can be read.
    #[cfg(feature = "admin")]
    pub(crate) fn each_profile(&self, look: &mut dyn FnMut(&Profile)) {
        let profiles = self.profiles.borrow().clone();
        for profiles in profiles.iter() {
            for id in profiles.catalog.ids() {
                profiles.catalog.profile(&id).ok().flatten().iter().for_each(&mut *look);
            }
        }
    }

    /// The ids of the profiles that the user's own file describes.
    #[cfg(feature = "admin")]
    pub(crate) fn own_profiles(&self) -> Vec<String> {
        self.profiles.borrow().as_ref().map(|profiles| profiles.catalog.own_ids()).unwrap_or_default()
    }

    #[cfg(feature = "admin")]
    pub(crate) async fn reading(&self, vault: &str, profile: &Profile) -> Result<Rc<Reading>, KeeperError> {
        self.vault(vault).await?.reading(profile)
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

    /// Where a vault lies and what a person states of it. One in the reference's form is known by its members alone.
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
        for _ in 0..EDIT_ATTEMPTS {
            let loaded = document::loaded(vault, self.ports.load(vault, None).await)?;
            let Some(document) = loaded else { return Ok(()) };
            let Some(edited) = edit(document.text.expose()).await?.map(Secret::new) else { return Ok(()) };
            match self.ports.store(vault, edited.expose(), Some(&document.version), true, lease).await {
                Ok(Stored::Done(_)) => return Ok(()),
                Ok(Stored::Stale(_) | Stored::Unknown) => {}
                Err(error) => return Err(KeeperError::storage(vault, &error)),
            }
        }
        Err(KeeperError::new(Code::Busy, "the vault is being written by others all the time").after(1))
    }

    /// The profile a name stands for. A name that only a vault knows is read as the generic one.
    pub(crate) async fn profile(&self, name: &str) -> Result<Rc<Profile>, KeeperError> {
        self.load_profiles().await?;
        let id = match self.profiles.borrow().as_ref() {
            Some(profiles) => profiles
                .ids
                .borrow_mut()
                .entry(name.to_owned())
                .or_insert_with(|| profiles.catalog.resolve(name))
                .clone(),
            None => name.to_owned(),
        };
        let profile = self.profile_or_generic(&id)?;
        profile.wrong.as_ref().map_or(Ok(()), |error| Err(self.bad_profile(error)))?;
        Ok(profile)
    }

    /// The profile a name stands for, as it is for a vault, and what that holds of it.
    pub(crate) async fn profile_in(&self, vault: &str, name: &str) -> Result<(Rc<Profile>, Rc<Reading>), KeeperError> {
        let profile = self.profile(name).await?;
        let snapshot = match self.vault(vault).await {
            // A name that nobody knows is the first mistake.
            Err(error) if error.code == Code::NoCredential => {
                self.check_known(&profile.id, name, None)?;
                return Err(error);
            }
            found => found?,
        };
        self.check_known(&profile.id, name, Some(&*snapshot))?;
        let reading = snapshot.reading(&profile)?;
        Ok((profile, reading))
    }

    pub(crate) fn profile_or_generic(&self, id: &str) -> Result<Rc<Profile>, KeeperError> {
        let Some(profiles) = self.profiles.borrow().clone() else {
            return Err(not_read());
        };
        if let Some(profile) = profiles.read.borrow().get(id) {
            return Ok(profile.clone());
        }
        let (found, wrong) = match profiles.catalog.profile(id) {
            Ok(found) => (found, None),
            Err(error) => (None, Some(error)),
        };
        let mut profile = match found {
            Some(profile) => profile,
            None => profiles.catalog.generic(id).map_err(|error| self.bad_profile(&error))?,
        };
        profile.wrong = wrong;
        let profile = Rc::new(profile);
        profiles.read.borrow_mut().insert(id.to_owned(), profile.clone());
        Ok(profile)
    }

    /// What a person runs to log in again, if a vault is another tool's own file and holds such a login.
    pub(crate) fn login_hint_of_tool(&self, vault: &str, provider: &str) -> Option<String> {
        let vaults = self.vaults.borrow();
        let snapshot = vaults.get(vault)?;
        let holds = snapshot.logins.iter().any(|login| login == provider);
        snapshot.login_hint.clone().filter(|_| holds)
    }

    pub(crate) async fn load_profiles(&self) -> Result<(), KeeperError> {
        let known = self.profiles.borrow().as_ref().map(|profiles| profiles.version.clone());
        let loaded = self.ports.load(PROFILES, known.as_ref().and_then(Option::as_ref)).await;
        let profiles = match loaded.map_err(|error| KeeperError::storage(PROFILES, &error))? {
            Loaded::Unchanged => return Ok(()),
            Loaded::Absent if known == Some(None) => return Ok(()),
            Loaded::Absent => BUILT_IN.with_borrow_mut(|built_in| match built_in {
                Some(profiles) => Ok(profiles.clone()),
                None => Ok(built_in.insert(Rc::new(Profiles::new(None, None)?)).clone()),
            }),
            Loaded::Found(document) => Profiles::new(Some(document.version), Some(document.text.expose())).map(Rc::new),
        };
        *self.profiles.borrow_mut() = Some(profiles.map_err(|error| self.bad_profile(&error))?);
        // What was read by the old profiles may read otherwise by these.
        self.forget_vaults();
        Ok(())
    }

    /// Each is read anew when it is asked for.
    pub(crate) fn forget_vaults(&self) {
        self.vaults.borrow_mut().clear();
    }

    /// One event about the credential that is asked for.
    pub(crate) fn tell(&self, ask: &Ask<'_>, name: &'static str, severity: Severity, what: &str) {
        self.tell_with(ask, name, severity, format!("{} ({}): {what}", ask.profile.id, ask.credential), Vec::new());
    }

    /// One event with the evidence of a judgement.
    pub(crate) fn tell_judged(
        &self,
        ask: &Ask<'_>,
        name: &'static str,
        judgement: &crate::classify::Judgement,
        message: &str,
    ) {
        let mut attributes = vec![("verdict", judgement.verdict.word().to_owned()), ("rule", judgement.rule.clone())];
        attributes.extend(judgement.status.map(|status| ("status", status.to_string())));
        attributes.extend(judgement.code.clone().map(|code| ("code", code)));
        attributes.extend(judgement.retry_after_s.map(|seconds| ("retry-after-s", seconds.to_string())));
        self.tell_with(ask, name, Severity::Warning, message.to_owned(), attributes);
    }

    fn tell_with(
        &self,
        ask: &Ask<'_>,
        name: &'static str,
        severity: Severity,
        message: String,
        attributes: Vec<(&'static str, String)>,
    ) {
        self.emit(Event {
            name,
            severity,
            at_ms: self.ports.wall_ms(),
            provider: ask.profile.id.clone(),
            credential: Some(ask.credential.clone()),
            message,
            attributes,
        });
    }

    /// Tells of something, each text on one line.
    pub(crate) fn emit(&self, event: Event) {
        let attributes = event.attributes.iter().map(|(name, value)| (*name, visible_line(value))).collect();
        self.ports.emit(Event { message: visible_line(&event.message), attributes, ..event });
    }

    pub(crate) fn bad_profile(&self, error: &ProfileError) -> KeeperError {
        KeeperError::new(Code::BadProfile, &error.0)
    }

    /// A vault's text, opened to have a credential put in: what another tool keeps in its own file is that tool's to log in.
    pub(crate) fn open_ours<'a>(&self, vault: &str, text: &'a str) -> Result<Vault<'a>, KeeperError> {
        let vault = self.opened(vault, text)?;
        let (Some(tool), Some(hint)) = (vault.tool(), vault.login_hint()) else { return Ok(vault) };
        let what = format!("this is the own file of {tool}, and nothing is added to it");
        Err(KeeperError::new(Code::BadRequest, what).run(hint))
    }

    pub(crate) fn uneditable(&self, error: &EditError) -> KeeperError {
        KeeperError::new(
            Code::CorruptVault,
            format!("the vault cannot be edited safely, so nothing was sent or changed: {error}. Mend it by hand"),
        )
    }
}

/// What a host says of where a vault lies: `{"path": "/home/you/.codex/auth.json", "layout": "codex"}`, each if it is known.
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

struct Unsaved {
    vault: String,
    spent: Fingerprint,
    successor: Successor,
}

impl Unsaved {
    fn read(text: &str) -> Option<Self> {
        let read = Layers::read(vec![json::check(text).ok()?], |unsaved| Self {
            vault: unsaved.text("vault"),
            spent: document::fingerprint(unsaved, "spent", &unsaved.text("spent")),
            successor: Successor::read(&unsaved.object("successor")),
        });
        read.ok()
    }
}

/// What a caller must keep until the storage works again.
pub(crate) fn unsaved(vault: &str, spent: &Fingerprint, successor: &Successor) -> Secret {
    Secret::new(
        Object::default()
            .text("vault", vault)
            .text("spent", spent.as_str())
            .raw("successor", successor.spelled())
            .line(),
    )
}

/// The credentials to try, in order. A name that nobody answers to is the caller's mistake.
fn candidates<'a>(
    reading: &'a Reading,
    profile: &Profile,
    named: Option<&'a str>,
) -> Result<impl Iterator<Item = &'a Credential> + Clone + use<'a>, KeeperError> {
    let found =
        reading.credentials.iter().filter(move |credential| named.is_none_or(|name| credential.answers_to(name)));
    match (found.clone().next(), named) {
        (Some(_), _) => Ok(found),
        (None, None) => Err(no_credential(profile)),
        (None, Some(name)) => Err(unknown::credential(profile, name, &reading.credentials)),
    }
}

pub(crate) fn no_credential(profile: &Profile) -> KeeperError {
    let what = format!("{}: the vault holds no credential of it", profile.id);
    let mut error = KeeperError::new(Code::NoCredential, what);
    error.provider = Some(profile.id.clone());
    error
}

fn not_read() -> KeeperError {
    KeeperError::new(Code::Internal, "a profile was asked for before they were read")
}

fn corrupt(error: &VaultError) -> KeeperError {
    if let VaultError::UnknownLayout(_) = error {
        let what = format!("nothing was sent or changed: {error}");
        return KeeperError::new(Code::UnknownLayout, what);
    }
    KeeperError::new(Code::CorruptVault, format!("the vault cannot be used, and was not touched: {error}"))
}
