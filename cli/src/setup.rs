//! Which files are meant, and the keeper over them. What the component calls `vault` is named by
//! its path to a person.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::args::Global;
use super::events::Events;
use super::failure::{self, Failure};
use super::open::{Open, Places};
use super::signals::{self, Signals};
use super::waiting::Waiting;
use super::{elsewhere, known_vaults, owner, unsaved};
use lazaretto_host::storage::{FileStorage, shell_path};
use lazaretto_host::{AccessToken, Builder, Keeper, KeeperError, NoEvents, TokenRequest};

/// What holds for every command.
#[derive(Debug)]
pub(super) struct Setup {
    pub(super) json: bool,
    pub(super) verbose: bool,
    pub(super) events: Arc<Events>,
    vault: Option<PathBuf>,
    layout: Option<String>,
    providers: Option<PathBuf>,
    allow_loopback_http: bool,
}

/// An access token, from which vault, and whether all that was received with it is saved.
pub(super) struct Obtained {
    pub(super) token: AccessToken,
    pub(super) saved: Result<(), Failure>,
    pub(super) vault: PathBuf,
}

impl Setup {
    pub(super) fn new(global: Global) -> Self {
        let Global { vault, layout, providers, allow_loopback_http, json, verbose } = global;
        Self {
            json,
            verbose,
            events: Arc::new(Events::new(json, verbose)),
            vault,
            layout,
            providers,
            allow_loopback_http,
        }
    }

    /// The words by which a person calls this command so that it is about a vault, with the options
    /// in use.
    fn command_about(&self, vault: &Path, layout: Option<&str>) -> String {
        let mut command = "lazaretto".to_owned();
        // The one in use that is not named by an option is found by the next command as it was by
        // this one.
        if !(self.vault.is_none() && self.vault().is_ok_and(|used| used == vault)) {
            command += &format!(" --vault {}", shell_path(vault));
        }
        if let Some(layout) = layout {
            command += &format!(" --layout {}", shell_path(Path::new(layout)));
        }
        if let Some(providers) = &self.providers {
            command += &format!(" --providers {}", shell_path(providers));
        }
        if self.allow_loopback_http {
            command += " --allow-loopback-http";
        }
        command
    }

    /// A command of ours about another vault.
    pub(super) fn reach(&self, vault: &Path, rest: &str) -> String {
        format!("{} {rest}", self.command_about(vault, self.stated_of(vault).as_deref()))
    }

    /// Whether plain http may be sent to this machine.
    pub(super) fn allows_loopback_http(&self) -> bool {
        self.allow_loopback_http
    }

    /// The layout that a person states.
    pub(super) fn layout(&self) -> Option<&str> {
        self.layout.as_deref()
    }

    /// A keeper over the vault's file. It is not read yet.
    pub(super) fn open(&self) -> Result<Open, Failure> {
        self.open_with(|builder| builder)
    }

    /// An access token by a call that may refresh it. If a signal comes once a request has left,
    /// the process ends here, after everything is stored and before anything is printed.
    pub(super) fn access_token(
        &self,
        request: &TokenRequest,
        ask: impl Fn(&Keeper, &TokenRequest) -> Result<AccessToken, KeeperError>,
    ) -> Result<Obtained, Failure> {
        let signals = Signals::listen(self.events.clone(), &request.provider)?;
        let credential = request.credential.as_deref();
        let asked = |open: &Open| ask(&open.keeper, request);
        let done = match self.in_its_vault(&request.provider, credential, Some(&signals), asked)? {
            (open, Ok(token)) => {
                let saved = unsaved::save(&open, &token);
                Ok(Obtained { token, saved, vault: open.places.vault })
            }
            (open, Err(error)) => Err(open.failure(error)),
        };
        if let Some(signal) = signals.finished() {
            let failure = done.as_ref().map_or_else(Some, |obtained| obtained.saved.as_ref().err());
            self.events.finish(failure.map(|failure| failure.message.as_str()));
            if let Some(failure) = failure {
                failure.print(self.json);
            }
            signals::end(signal);
        }
        done
    }

    /// The same, and whatever is sent is finished before a signal ends the process.
    pub(super) fn open_listening(&self, provider: &str) -> Result<(Open, Arc<Signals>), Failure> {
        let signals = Signals::listen(self.events.clone(), provider)?;
        let open = self.open_with(|builder| self.telling(heeding(builder, Some(&signals)), provider))?;
        Ok((open, signals))
    }

    /// A keeper over another file than the vault's.
    pub(super) fn open_at(&self, vault: PathBuf) -> Result<Open, Failure> {
        owner::become_owner_of(&vault)?;
        self.open_on(vault, self.layout.clone(), |storage| storage, |builder| builder)
    }

    /// A keeper over the vault's file, which imports from another one. What is stated of a layout
    /// is stated of that one.
    pub(super) fn open_importing(&self, from: &Path) -> Result<Open, Failure> {
        let importing = |storage: FileStorage| {
            let storage = storage.from_file(from);
            match &self.layout {
                Some(layout) => storage.from_layout(layout),
                None => storage,
            }
        };
        let vault = self.vault()?;
        owner::become_owner_of(&vault)?;
        self.open_on(vault, None, importing, |builder| builder)
    }

    /// The layout that was stated of a vault: now if it is the one in use, when it was added if it
    /// is another one.
    fn stated_of(&self, vault: &Path) -> Option<String> {
        if self.vault().is_ok_and(|used| used == vault) {
            return self.layout.clone();
        }
        known_vaults::list().unwrap_or_default().into_iter().find(|known| known.path == vault)?.layout
    }

    /// A keeper over another vault than the one in use. It runs the code that `other` has loaded,
    /// if there is such.
    pub(super) fn open_vault(&self, vault: PathBuf, other: Option<&Open>) -> Result<Open, Failure> {
        let layout = self.stated_of(&vault);
        self.open_on(vault, layout, |storage| storage, |builder| loaded_by(builder, other))
    }

    /// The same, and what the component has to tell is told to nobody.
    pub(super) fn open_silently(&self, vault: PathBuf, other: Option<&Open>) -> Result<Open, Failure> {
        let layout = self.stated_of(&vault);
        let more = |builder: Builder| loaded_by(builder.events(NoEvents), other);
        self.open_on(vault, layout, |storage| storage, more)
    }

    /// The same with a keeper whose requests are known to the signals.
    pub(super) fn open_vault_heeding(
        &self,
        vault: PathBuf,
        other: Option<&Open>,
        signals: &Arc<Signals>,
    ) -> Result<Open, Failure> {
        let layout = self.stated_of(&vault);
        let more = |builder: Builder| loaded_by(heeding(builder, Some(signals)), other);
        self.open_on(vault, layout, |storage| storage, more)
    }

    /// The vaults in which everything is refreshed: the one that was named, or else those that are
    /// known.
    pub(super) fn vaults_to_refresh(&self) -> Result<Vec<PathBuf>, Failure> {
        if self.is_named() {
            let vault = self.vault()?;
            owner::become_owner_of(&vault)?;
            return Ok(vec![vault]);
        }
        let vaults = self.vaults()?;
        // Root can become one user only: of several vaults those of other users are refused.
        if let [only] = vaults.as_slice() {
            owner::become_owner_of(only)?;
        }
        Ok(vaults)
    }

    /// The vault in use, then the others that are known, each once. The one in use is left out if
    /// it is not there, nobody named it and others are known.
    pub(super) fn vaults(&self) -> Result<Vec<PathBuf>, Failure> {
        let mut known: Vec<PathBuf> = known_vaults::list()?.into_iter().map(|known| known.path).collect();
        let is_named = self.is_named();
        match self.vault() {
            Ok(used) if is_named || used.exists() || known.is_empty() => known.insert(0, used),
            Ok(_) => {}
            Err(failure) if known.is_empty() => return Err(failure),
            Err(_) => {}
        }
        // One vault may be known by several paths.
        let mut seen = HashSet::new();
        known.retain(|path| seen.insert(path.canonicalize().unwrap_or_else(|_| path.clone())));
        // Root can become one user only: of several vaults those of other users are refused.
        if let ([only], true) = (known.as_slice(), is_named) {
            owner::become_owner_of(only)?;
        }
        Ok(known)
    }

    /// Whoever sits at a terminal is told what its calls wait for.
    fn telling(&self, builder: Builder, provider: &str) -> Builder {
        match Waiting::for_a_person(self.json, provider) {
            Some(tell) => builder.on_wait(tell),
            None => builder,
        }
    }

    /// Does what is asked of a provider's credential in the vault in use; or, if nobody named a
    /// vault and that one holds no such credential, in the only known vault that does. Returns
    /// where it was done.
    pub(super) fn in_its_vault<T>(
        &self,
        provider: &str,
        credential: Option<&str>,
        signals: Option<&Arc<Signals>>,
        ask: impl Fn(&Open) -> Result<T, KeeperError>,
    ) -> Result<(Open, Result<T, KeeperError>), Failure> {
        let open = self.open_with(|builder| self.telling(heeding(builder, signals), provider))?;
        let done = ask(&open);
        let Err(error) = &done else { return Ok((open, done)) };
        if self.is_named() || !elsewhere::may_be(error) {
            return Ok((open, done));
        }
        let Some(vault) = elsewhere::find(&open, provider, credential, |vault| self.open_silently(vault, Some(&open)))?
        else {
            return Ok((open, done));
        };
        elsewhere::tell(self.json, &vault);
        let layout = self.stated_of(&vault);
        let more = |builder: Builder| self.telling(heeding(builder.code_of(&open.keeper), signals), provider);
        let open = self.open_on(vault, layout, |storage| storage, more)?;
        let done = ask(&open);
        Ok((open, done))
    }

    fn open_with(&self, more: impl FnOnce(Builder) -> Builder) -> Result<Open, Failure> {
        let vault = self.vault()?;
        owner::become_owner_of(&vault)?;
        self.open_on(vault, self.layout.clone(), |storage| storage, more)
    }

    fn open_on(
        &self,
        vault: PathBuf,
        layout: Option<String>,
        with: impl FnOnce(FileStorage) -> FileStorage,
        more: impl FnOnce(Builder) -> Builder,
    ) -> Result<Open, Failure> {
        let places = Places { vault, providers: self.providers()? };
        let storage = with(FileStorage::open(&places.vault).with_environment(true));
        let command = self.command_about(&places.vault, layout.as_deref());
        let storage = match layout {
            Some(layout) => storage.layout(layout),
            None => storage,
        };
        let storage = storage.command(command.clone());
        let storage = match &places.providers {
            Some(path) => storage.with_profiles(path.clone()),
            None => storage,
        };
        let storage = match set("HERMES_SHARED_AUTH_DIR") {
            Some(folder) => storage.shared_logins(PathBuf::from(folder)),
            None => storage,
        };
        let storage = match state_directory() {
            Some(folder) => storage.state_folder(folder),
            None => storage,
        };
        let storage = tools_files().into_iter().fold(storage, FileStorage::also);
        let events = self.events.clone();
        let keeper = Keeper::builder()
            .storage(storage)
            .events(move |event: &_| events.take(event))
            .allow_loopback_http(self.allow_loopback_http);
        let keeper = more(keeper).build().map_err(Failure::broken)?;
        let with_plain_http = (!self.allow_loopback_http).then(|| failure::again_with("--allow-loopback-http"));
        Ok(Open { keeper, places, command, with_plain_http })
    }

    /// The file with the user's profiles, if there is one.
    pub(super) fn providers(&self) -> Result<Option<PathBuf>, Failure> {
        match &self.providers {
            // What cannot be looked at is there, and will say so itself.
            Some(path) if path.try_exists().unwrap_or(true) => Ok(Some(path.clone())),
            Some(path) => Err(Failure::usage(format_args!("--providers: there is no file {}", path.display()))),
            None => Ok(known_vaults::config_directory()
                .map(|directory| directory.join("providers.json"))
                .filter(|path| path.exists())),
        }
    }

    /// Nobody named a vault, the default one is not there, and others are known.
    pub(super) fn is_elsewhere_only(&self) -> bool {
        let is_there = self.vault().is_ok_and(|used| used.exists());
        !self.is_named() && !is_there && known_vaults::list().is_ok_and(|known| !known.is_empty())
    }

    /// A person said which vault is meant: no other is looked into.
    pub(super) fn is_named(&self) -> bool {
        self.vault.is_some() || set("LAZARETTO_VAULT").is_some()
    }

    fn vault(&self) -> Result<PathBuf, Failure> {
        let named = self.vault.clone().or_else(|| set("LAZARETTO_VAULT").map(PathBuf::from));
        named.or_else(|| known_vaults::config_directory().map(|directory| directory.join("auth.json"))).ok_or_else(
            || {
                Failure::usage(
                    "which vault? There is no home directory to look in: name one with --vault or $LAZARETTO_VAULT",
                )
            },
        )
    }
}

/// A keeper that runs the code which another one has loaded, if there is such.
fn loaded_by(builder: Builder, other: Option<&Open>) -> Builder {
    match other {
        Some(open) => builder.code_of(&open.keeper),
        None => builder,
    }
}

fn heeding(builder: Builder, signals: Option<&Arc<Signals>>) -> Builder {
    match signals.cloned() {
        Some(signals) => builder.before_send(move |request: &_| signals.before_send(request)),
        None => builder,
    }
}

/// The own files of tools whose logins other programs borrow: they own what is in them.
fn tools_files() -> Vec<PathBuf> {
    let home = |name: &str, variable: &str, default: &str| {
        let folder = set(variable).map(PathBuf::from);
        let folder = folder.or_else(|| set("HOME").map(|home| Path::new(&home).join(default)))?;
        Some(folder.join(name))
    };
    let files = [
        home("auth.json", "CODEX_HOME", ".codex"),
        home(".credentials.json", "CLAUDE_CONFIG_DIR", ".claude"),
        home("oauth_creds.json", "QWEN_HOME", ".qwen"),
    ];
    files.into_iter().flatten().collect()
}

/// `$XDG_STATE_HOME`, or `~/.local/state`.
fn state_directory() -> Option<PathBuf> {
    let state = set("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    state.or_else(|| set("HOME").map(|home| Path::new(&home).join(".local/state")))
}

/// A variable that is set to something.
fn set(name: &str) -> Option<std::ffi::OsString> {
    owner::variable(name)
}
