//! A vault of its own in a directory of its own, and real `lazaretto` processes on it. Nothing of
//! the user's is touched.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::super::failure::Failure;
use super::super::time;
use lazaretto_testing::demo_server::{Login, TokenServer};

/// The clients of the built-in profiles.
const CLIENTS: [(&str, &str); 3] = [
    ("xai-oauth", "b1a00492-073a-47ea-816f-4c329264a828"),
    ("openai-codex", "app_EMoamEEZ73f0CkXaXp7hrann"),
    ("nous", "hermes-cli"),
];

/// An API key beside the login that will die. Another program's spelling, to be kept as it is.
pub(super) const KEY_BESIDE: &str = r#"{"id":"b7c1d2","label":"work key","auth_type":"api_key", "source" : "manual",
        "access_token":"sk-demo-beside", "priority": 1.0, "x-note":"caf\u00e9", "request_count": 1e2}"#;
/// An API key of another provider.
pub(super) const KEY_ELSEWHERE: &str = r#"{ "id":"d4e5f6", "label":"my key", "auth_type":"api_key", "source":"manual",
        "access_token":"sk-demo-elsewhere","base_url":"https:\/\/openrouter.ai\/api\/v1", "priority":0,
        "request_count":12345678901234567890 }"#;
/// What no program of ours knows.
pub(super) const UNKNOWN: &str = r#""x-unknown" :  { "kept":[1.0E+3, 0.10, -0], "tabs":	true, "escapes":"\u0041\/" }"#;
/// The value of the key beside the login.
pub(super) const KEY: &str = "sk-demo-beside";

/// The directory and what is in it.
pub(super) struct Stage {
    directory: PathBuf,
    keep: bool,
    executable: PathBuf,
    /// Every token that the server gave out at the start: none may ever be shown.
    pub(super) secrets: Vec<String>,
}

/// A process that has ended.
pub(super) struct Ended {
    /// Its command line, without what only says where things are.
    pub(super) words: String,
    pub(super) code: Option<i32>,
    pub(super) stdout: String,
    pub(super) stderr: String,
    /// What of it a person is shown.
    pub(super) shown: String,
}

/// A process that runs.
pub(super) struct Running {
    words: String,
    child: Child,
}

impl Stage {
    /// Logs in at the server, and writes the vault of the story.
    pub(super) fn set(server: &TokenServer, keep: bool) -> Result<Self, Failure> {
        let executable = std::env::current_exe().map_err(|error| {
            Failure::broken(format_args!("cannot find this program's own file, to start it again: {error}"))
        })?;
        let directory = std::env::temp_dir().join(format!("lazaretto-demo-{}", random_name()?));
        DirBuilder::new().mode(0o700).create(&directory).map_err(|error| cannot("make", &directory, &error))?;
        let mut stage = Self { directory, keep, executable, secrets: Vec::new() };
        let [xai, codex, nous] = CLIENTS.map(|(_, client)| server.login(client));
        for login in [&xai, &codex, &nous] {
            stage.secrets.extend([login.access_token.clone(), login.refresh_token.clone()]);
        }
        stage.write("auth.json", &vault(&xai, &codex, &nous))?;
        let endpoint = server.token_endpoint();
        let profiles = CLIENTS.map(|(id, _)| (id.to_owned(), json!({ "token_endpoint": endpoint })));
        let profiles = json!({ "profiles": Value::Object(profiles.into_iter().collect()) });
        stage.write("providers.json", &format!("{profiles:#}\n"))?;
        Ok(stage)
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// A file of the stage, as it is now.
    pub(super) fn read(&self, name: &str) -> Result<String, Failure> {
        let path = self.directory.join(name);
        fs::read_to_string(&path).map_err(|error| cannot("read", &path, &error))
    }

    /// The vault, as it is now.
    pub(super) fn vault(&self) -> Result<String, Failure> {
        self.read("auth.json")
    }

    /// A text in the vault.
    pub(super) fn in_vault(&self, pointer: &str) -> Result<Option<String>, Failure> {
        let vault: Value = serde_json::from_str(&self.vault()?)
            .map_err(|error| Failure::broken(format_args!("the vault of the demo is not JSON any more: {error}")))?;
        Ok(vault.pointer(pointer).and_then(Value::as_str).map(str::to_owned))
    }

    /// Writes a file as another program would: at once, and for its owner alone.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<(), Failure> {
        let path = self.directory.join(name);
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
        file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| cannot("write", &path, &error))
    }

    /// A process of its own, to its end.
    pub(super) fn run(&self, words: &str) -> Result<Ended, Failure> {
        self.start(words)?.wait()
    }

    /// A process of its own.
    pub(super) fn start(&self, words: &str) -> Result<Running, Failure> {
        let mut command = Command::new(&self.executable);
        command.args(words.split(' '));
        command.args([OsStr::new("--vault"), self.directory.join("auth.json").as_os_str()]);
        command.args([OsStr::new("--providers"), self.directory.join("providers.json").as_os_str()]);
        command.arg("--allow-loopback-http").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().map_err(|error| {
            Failure::broken(format_args!("cannot start {} again: {error}", self.executable.display()))
        })?;
        Ok(Running { words: words.to_owned(), child })
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if !self.keep {
            // Left behind it holds nothing of worth: a server that is gone gave these tokens.
            let _ = fs::remove_dir_all(&self.directory);
        }
    }
}

impl Running {
    /// Waits for its end.
    pub(super) fn wait(self) -> Result<Ended, Failure> {
        let Output { status, stdout, stderr } = self
            .child
            .wait_with_output()
            .map_err(|error| Failure::broken(format_args!("a process of the demo cannot be waited for: {error}")))?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let (stdout, stderr) = (text(stdout), text(stderr));
        let shown = if self.words.starts_with("token") && !stdout.is_empty() {
            format!("(an access token, {} characters)\n{stderr}", stdout.trim().len())
        } else {
            format!("{stdout}{stderr}")
        };
        Ok(Ended { words: self.words, code: status.code(), stdout, stderr, shown })
    }
}

/// Eight digits of a token's fingerprint: enough to tell two apart, and nothing of the token.
pub(super) fn fingerprint(token: &str) -> String {
    Sha256::digest(token.as_bytes()).iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

/// The layout of the reference: a login, its seeded copy, keys, and what only other programs know.
/// The healthy login of xai-oauth has an hour left; the others' access tokens have run out.
fn vault(xai: &Login, codex: &Login, nous: &Login) -> String {
    let (now, earlier) = (time::rfc3339(time::now_ms()), time::rfc3339(time::now_ms().saturating_sub(7_200_000)));
    let (xai_access, xai_refresh) = (&xai.access_token, &xai.refresh_token);
    let (codex_access, codex_refresh) = (&codex.access_token, &codex.refresh_token);
    let (nous_access, nous_refresh) = (&nous.access_token, &nous.refresh_token);
    format!(
        r#"{{
  "version": 1,
  "updated_at": "{now}",
  "active_provider": "xai-oauth",
  {UNKNOWN},
  "providers": {{
    "xai-oauth": {{
      "tokens": {{"access_token": "{xai_access}", "refresh_token": "{xai_refresh}", "expires_in": 3600, "token_type": "Bearer"}},
      "last_refresh": "{now}", "auth_mode": "oauth_device_code"
    }},
    "openai-codex": {{
      "tokens": {{"access_token": "{codex_access}", "refresh_token": "{codex_refresh}", "expires_in": 3600}},
      "last_refresh": "{earlier}", "auth_mode": "chatgpt", "label": "work"
    }},
    "nous": {{
      "access_token": "{nous_access}", "refresh_token": "{nous_refresh}", "token_type": "Bearer", "client_id": "hermes-cli",
      "obtained_at": "{earlier}", "expires_in": 3600
    }}
  }},
  "credential_pool": {{
    "xai-oauth": [
      {{"id": "909e61", "label": "me@example.com", "auth_type": "oauth", "priority": 0, "source": "device_code",
        "access_token": "{xai_access}", "refresh_token": "{xai_refresh}", "last_refresh": "{now}", "request_count": 7}}
    ],
    "openai-codex": [
      {{"id": "a0b1c2", "label": "work", "auth_type": "oauth", "priority": 0, "source": "device_code",
        "access_token": "{codex_access}", "refresh_token": "{codex_refresh}", "expires_in": 3600, "last_refresh": "{earlier}"}},
      {KEY_BESIDE}
    ],
    "openrouter": [
      {KEY_ELSEWHERE}
    ]
  }}
}}
"#
    )
}

fn random_name() -> Result<String, Failure> {
    let mut bytes = [0; 6];
    getrandom::fill(&mut bytes).map_err(|error| Failure::broken(format_args!("no random bytes to be had: {error}")))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn cannot(what: &str, path: &Path, error: &std::io::Error) -> Failure {
    Failure::broken(format_args!("cannot {what} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use lazaretto_testing::demo_server::Behaviour;

    /// The vault is json for its owner alone and goes with the stage.
    #[test]
    fn the_demo_vault_is_private_and_removed_at_the_end() {
        let server = TokenServer::start(Behaviour::default()).unwrap();
        let stage = Stage::set(&server, false).unwrap();
        let directory = stage.directory().to_owned();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&directory), mode(&directory.join("auth.json"))), (0o700, 0o600));
        let token = stage.in_vault("/providers/nous/refresh_token").unwrap().unwrap();
        assert!(server.is_live(&token) && stage.secrets.contains(&token));
        for piece in [KEY_BESIDE, KEY_ELSEWHERE, UNKNOWN] {
            assert!(stage.vault().unwrap().contains(piece));
        }
        drop(stage);
        assert!(!directory.exists());
    }

    #[test]
    fn a_token_that_a_process_printed_is_not_shown() {
        let child = Command::new("echo").arg("at-secret").stdout(Stdio::piped()).spawn().unwrap();
        let ended = Running { words: "token xai".into(), child }.wait().unwrap();
        assert_eq!(ended.stdout, "at-secret\n");
        assert_eq!(ended.shown, "(an access token, 9 characters)\n");
    }
}
