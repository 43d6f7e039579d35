//! A folder with a vault and a server, in which a fault can be made, a doctor be asked, and what it says be pasted into a shell.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use lazaretto::state::fingerprint::Fingerprint;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::server::{Books, Server};

/// What another program's command is, for a test: it is there, and does nothing.
const STUBS: [&str; 5] = ["timedatectl", "codex", "hermes", "editor", "fuser"];

pub(crate) struct Stage {
    folder: TempDir,
    pub(crate) server: Server,
    vault: Value,
    profiles: Map<String, Value>,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Found {
    pub(crate) severity: String,
    pub(crate) code: String,
    pub(crate) provider: String,
    pub(crate) credential: String,
    pub(crate) message: String,
    pub(crate) fix: Option<String>,
    pub(crate) alternative: Option<String>,
}

/// All that a fix could change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Picture(BTreeMap<PathBuf, (u32, u32, Option<Vec<u8>>)>);

/// To put everything back as it was.
pub(crate) struct Kept {
    copy: TempDir,
    books: Books,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let stage = Self {
            folder: in_memory(),
            server: Server::start(),
            vault: json!({ "version": 1, "providers": {}, "credential_pool": {} }),
            profiles: Map::new(),
        };
        fs::create_dir(stage.folder.path().join("v")).expect("made");
        fs::create_dir(stage.folder.path().join("bin")).expect("made");
        chmod(&stage.path(""), 0o700);
        let mut stubs: Vec<(&str, &str)> = STUBS.iter().map(|name| (*name, "exit 0")).collect();
        // Who is root needs none, and it need not be installed.
        stubs.push(("sudo", "exec \"$@\""));
        if Command::new("curl").arg("--version").output().is_err() {
            stubs.push(("curl", "exit 0"));
        }
        for (name, body) in stubs {
            let stub = stage.folder.path().join("bin").join(name);
            fs::write(&stub, format!("#!/bin/sh\n{body}\n")).expect("written");
            chmod(&stub, 0o755);
        }
        stage
    }

    /// In the vault's folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join("v").join(name)
    }

    pub(crate) fn vault_file(&self) -> PathBuf {
        self.path("auth.json")
    }

    /// A profile at the server, with a login by device code.
    pub(crate) fn profile(&mut self, id: &str, more: Value) {
        let url = |what: &str| format!("{}/{id}/{what}", self.server.origin);
        let mut profile = json!({ "token_endpoint": url("token"), "client_id": "c-1",
            "authorization": { "device_authorization_endpoint": url("device") } });
        merge(&mut profile, more);
        self.profiles.insert(id.to_owned(), profile);
    }

    pub(crate) fn bare_profile(&mut self, id: &str, profile: Value) {
        self.profiles.insert(id.to_owned(), profile);
    }

    pub(crate) fn login(&mut self, id: &str, login: Value) {
        self.vault["providers"][id] = login;
    }

    pub(crate) fn entries(&mut self, id: &str, entries: Value) {
        self.vault["credential_pool"][id] = entries;
    }

    pub(crate) fn top(&mut self, name: &str, value: Value) {
        merge(&mut self.vault[name], value);
    }

    /// Writes the vault and the profiles as they are told so far.
    pub(crate) fn write(&self) {
        write(&self.vault_file(), &self.vault);
        write(&self.path("providers.json"), &json!({ "profiles": self.profiles }));
    }

    /// Adds a record to the ledger; no process has written it yet.
    pub(crate) fn record(&self, id: &str, token: &str, more: Value) {
        let name = Fingerprint::of(token).as_str().to_owned();
        let mut record = json!({ "provider": id, "endpoint": format!("{}/{id}/token", self.server.origin), "client": "c-1",
            "generation": 0, "lineage": name, "changed_at_ms": now_ms() - 1_000, "state": "live" });
        merge(&mut record, more);
        let path = self.path("auth.json.lazaretto");
        let mut ledger =
            read(&path).unwrap_or_else(|| json!({ "schema": 1, "about": "", "pruned_at_ms": now_ms(), "tokens": {} }));
        ledger["tokens"][name] = record;
        write(&path, &ledger);
    }

    /// Adds tokens that wait for the vault.
    pub(crate) fn waiting(&self, id: &str, credential: &str, spent: &str, token: &str) {
        let path = self.path("auth.json.lazaretto-sealed");
        let mut sealed = read(&path)
            .unwrap_or_else(|| json!({ "schema": 1, "about": "", "quarantined": {}, "successors": {}, "kept": {} }));
        sealed["successors"][Fingerprint::of(spent).as_str()] = json!({ "provider": id, "credential": credential,
            "access_token": format!("at-of-{token}"), "refresh_token": token, "expires_in_s": 3600, "received_at_ms": now_ms() });
        write(&path, &sealed);
    }

    fn shell(&self, command: &str) -> Command {
        let lazaretto = Path::new(env!("CARGO_BIN_EXE_lazaretto")).parent().expect("a folder");
        let path = format!(
            "{}:{}:{}",
            self.folder.path().join("bin").display(),
            lazaretto.display(),
            std::env::var("PATH").unwrap_or_default()
        );
        let mut shell = Command::new("sh");
        shell.args(["-c", command]).env("PATH", path).env("EDITOR", "editor").env("HOME", self.folder.path());
        for name in ["LAZARETTO_VAULT", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "DISPLAY", "WAYLAND_DISPLAY", "BROWSER"] {
            shell.env_remove(name);
        }
        shell.stdin(Stdio::null()).current_dir(self.folder.path());
        shell
    }

    /// A command as a person pastes it; its exit code, and what it said.
    pub(crate) fn paste(&self, command: &str) -> (i32, String) {
        let output = self.shell(command).output().expect("sh runs");
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        (output.status.code().unwrap_or(-1), said)
    }

    /// `lazaretto` on this vault.
    pub(crate) fn lazaretto(&self, rest: &str) -> (i32, String) {
        let (vault, providers) = (self.vault_file(), self.path("providers.json"));
        self.paste(&format!(
            "lazaretto --vault {} --providers {} --allow-loopback-http {rest}",
            vault.display(),
            providers.display()
        ))
    }

    pub(crate) fn doctor(&self) -> Vec<Found> {
        let (code, said) = self.lazaretto("--json doctor --ask-servers");
        let told: Value = serde_json::from_str(said.lines().next().unwrap_or_default())
            .unwrap_or_else(|error| panic!("{error}: {said}"));
        assert!(!said.contains("rt-") && !said.contains("at-of"), "no token is shown: {said}");
        let found = told["findings"].as_array().unwrap_or_else(|| panic!("{said}"));
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let found: Vec<Found> = found
            .iter()
            .map(|finding| Found {
                severity: text(&finding["severity"]),
                code: text(&finding["code"]),
                provider: text(&finding["provider"]),
                credential: text(&finding["credential"]),
                message: text(&finding["message"]),
                fix: finding["fix"].as_str().map(str::to_owned),
                alternative: finding["alternative"].as_str().map(str::to_owned),
            })
            .collect();
        let has_error = found.iter().any(|finding| finding.severity == "error");
        assert_eq!(code, i32::from(has_error), "{said}");
        found
    }

    pub(crate) fn picture(&self) -> Picture {
        let mut all = BTreeMap::new();
        look(&self.path(""), &mut all);
        Picture(all)
    }

    /// All text of all files: a token that is in none of them is lost.
    pub(crate) fn everything(&self) -> String {
        let Picture(all) = self.picture();
        all.into_values()
            .filter_map(|(_, _, text)| text)
            .map(|text| String::from_utf8_lossy(&text).into_owned())
            .collect()
    }

    pub(crate) fn keep(&self) -> Kept {
        let copy = in_memory();
        copy_all(&self.path(""), &copy.path().join("v"));
        Kept { copy, books: self.server.books().clone() }
    }

    pub(crate) fn put_back(&self, kept: &Kept) {
        // A folder that may not be written could not be removed either, but for root.
        chmod(&self.path(""), 0o700);
        fs::remove_dir_all(self.path("")).expect("removed");
        copy_all(&kept.copy.path().join("v"), &self.path(""));
        *self.server.books() = kept.books.clone();
    }
}

/// A folder where a sync costs nothing, if there is such.
fn in_memory() -> TempDir {
    TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).expect("a folder")
}

/// With modes, owners, links and hard links.
fn copy_all(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).output().expect("cp runs");
    assert!(copied.status.success(), "{copied:?}");
}

fn look(path: &Path, all: &mut BTreeMap<PathBuf, (u32, u32, Option<Vec<u8>>)>) {
    let stat = fs::symlink_metadata(path).expect("there");
    // Who looked when is no change, and who holds a lock says so in it.
    let is_lock = path.components().any(|part| part.as_os_str().to_string_lossy().ends_with(".lazaretto-locks"));
    let text = if stat.is_file() && !is_lock { fs::read(path).ok() } else { None };
    if !is_lock || stat.is_dir() {
        all.insert(path.to_owned(), (stat.mode(), stat.uid(), text));
    }
    if stat.is_dir() {
        for entry in fs::read_dir(path).expect("a folder") {
            look(&entry.expect("an entry").path(), all);
        }
    }
}

pub(crate) fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
}

/// For its owner alone.
pub(crate) fn write(path: &Path, value: &Value) {
    fs::write(path, value.to_string()).expect("written");
    chmod(path, 0o600);
}

pub(crate) fn read(path: &Path) -> Option<Value> {
    serde_json::from_str(&fs::read_to_string(path).ok()?).ok()
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (name, value) in from {
                merge(into.entry(name).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as u64
}
