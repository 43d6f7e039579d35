//! A vault, a profile and a server of its own for one test, and `lazaretto` processes on them.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]

pub mod terminal;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use lazaretto_testing::demo_server::{Behaviour, Rotation, TokenServer};
use serde_json::{Value, json};
use tempfile::TempDir;

pub struct Home {
    pub folder: TempDir,
    pub server: TokenServer,
}

impl Home {
    pub fn new() -> Self {
        Self::with(Behaviour::default())
    }

    /// With a server that does as it is told.
    pub fn with(behaviour: Behaviour) -> Self {
        let server = TokenServer::start(behaviour).expect("a port");
        let home = Self { folder: TempDir::new().expect("a folder"), server };
        home.profiles(
            &json!({ "acme": { "token_endpoint": home.server.token_endpoint(), "client_id": "acme-client" } }),
        );
        home
    }

    /// With a login whose access token has expired.
    pub fn with_expired_login() -> Self {
        Self::rotating(Rotation::RevokeFamilyOnReuse)
    }

    /// The same, at a server that treats used refresh tokens so.
    pub fn rotating(rotate: Rotation) -> Self {
        let home = Self::with(Behaviour { rotate, ..Behaviour::default() });
        let login = home.server.login("acme-client");
        home.write(home.vault_with(&login.refresh_token));
        home
    }

    pub fn vault_with(&self, refresh_token: &str) -> String {
        json!({ "providers": { "acme": { "tokens": { "access_token": "at-old", "refresh_token": refresh_token, "expires_in": 60 },
            "last_refresh": "2020-01-01T00:00:00Z" } } })
        .to_string()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn profiles(&self, profiles: &Value) {
        fs::write(self.path("providers.json"), json!({ "profiles": profiles }).to_string()).expect("written");
    }

    pub fn write(&self, vault: impl AsRef<[u8]>) {
        fs::write(self.path("auth.json"), vault).expect("written");
        // One that everybody may read is warned of.
        fs::set_permissions(self.path("auth.json"), fs::Permissions::from_mode(0o600)).expect("chmod");
    }

    pub fn text(&self) -> String {
        fs::read_to_string(self.path("auth.json")).expect("a vault")
    }

    pub fn vault(&self) -> Value {
        serde_json::from_str(&self.text()).expect("json")
    }

    /// Of the login, as it is stored.
    pub fn refresh_token(&self) -> String {
        self.vault()["providers"]["acme"]["tokens"]["refresh_token"].as_str().expect("a token").to_owned()
    }

    /// Waits until some process holds the lock of a grant.
    pub fn wait_for_a_grants_lock(&self) {
        let held = || {
            let locks = fs::read_dir(self.path("auth.json.lazaretto-locks")).into_iter().flatten().flatten();
            let grants = locks.filter(|lock| lock.file_name().len() == 2);
            grants.filter_map(|lock| lock.metadata().ok()).any(|lock| lock.len() > 0)
        };
        let start = Instant::now();
        while !held() {
            assert!(start.elapsed() < Duration::from_secs(60), "no process takes a grant's lock");
            thread::sleep(Duration::from_millis(1));
        }
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lazaretto"));
        command.arg("--vault").arg(self.path("auth.json")).arg("--providers").arg(self.path("providers.json"));
        command.arg("--allow-loopback-http").args(arguments).env_remove("LAZARETTO_VAULT").stdin(Stdio::null());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.command(arguments).output().expect("it runs"))
    }
}

#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Ran {
    pub fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).expect("text"),
            err: String::from_utf8(output.stderr).expect("text"),
        }
    }
}

/// Of a process's output.
pub fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).expect("text")
}
