//! A client's secret is read from the one place that the user's own `providers.json` names. The
//! component says only of which provider, so neither it nor a vault can have anything else read or
//! run.
//!
//! | member | what is read |
//! |---|---|
//! | `client_secret_env` | that environment variable |
//! | `client_secret_file` | the first line of that file; a relative path is beside `providers.json`, `~/` is the home directory |
//! | `client_secret_command` | the first line that the program prints; no shell runs it, and its standard error is ours |

use std::collections::HashMap;
use std::env;
use std::fs::{self, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::StorageError;

/// The members of which a profile has at most one.
const MEMBERS: [&str; 4] = ["client_secret", "client_secret_env", "client_secret_file", "client_secret_command"];
/// No profile lies over more others than this.
const DEEPEST: usize = 8;
/// A person may have to unlock what the secret is kept in.
const DEADLINE: Duration = Duration::from_secs(30);
/// For so long a program is not run again: a login by device code asks every few seconds.
const KEPT: Duration = Duration::from_secs(600);
const LONGEST: u64 = 64 * 1024;

/// What programs printed, by what was run.
#[derive(Default)]
pub(super) struct Secrets(Mutex<HashMap<Vec<String>, (Instant, String)>>);

/// Where a secret is.
#[derive(Debug, PartialEq)]
enum Place {
    Variable(String),
    File(String),
    Command(Vec<String>),
}

impl Secrets {
    /// The secret of a provider's client. None: its profile names no place.
    pub(super) fn of(&self, provider: &str, profiles: &str, path: &Path) -> Result<Option<String>, StorageError> {
        let Some(place) = place(provider, profiles) else { return Ok(None) };
        let text = match place {
            Place::Variable(name) => env::var(&name)
                .ok()
                .filter(|text| !text.is_empty())
                .ok_or_else(|| other(format!("the environment variable {name} is not set, or is no text")))?,
            Place::File(named) => of_file(&beside(path, &named)?)?,
            Place::Command(words) => {
                must_be_ours(path)?;
                self.printed_by(words)?
            }
        };
        let line = text.lines().next().unwrap_or_default().trim_end().to_owned();
        Ok(Some(line))
    }

    fn printed_by(&self, words: Vec<String>) -> Result<String, StorageError> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, text)) = kept.get(&words).filter(|(since, _)| since.elapsed() < KEPT) {
            return Ok(text.clone());
        }
        let text = run(&words, DEADLINE)?;
        kept.insert(words, (Instant::now(), text.clone()));
        Ok(text)
    }
}

/// Where a provider's profile says that the secret is: in the first of its layers that says
/// anything of it, and in none below one that names another client or another server.
fn place(provider: &str, profiles: &str) -> Option<Place> {
    let file: Value = serde_json::from_str(profiles).ok()?;
    let profiles = file.get("profiles")?;
    let mut profile = profiles.get(provider)?;
    for _ in 0..=DEEPEST {
        if MEMBERS.iter().any(|member| profile.get(member).is_some()) {
            return named_in(profile);
        }
        if profile.get("token_endpoint").is_some() || profile.get("client_id").is_some() {
            return None;
        }
        profile = profiles.get(profile.get("extends")?.as_str()?)?;
    }
    None
}

fn named_in(profile: &Value) -> Option<Place> {
    let mut named = MEMBERS.iter().filter(|member| profile.get(**member).is_some_and(|value| !value.is_null()));
    let (member, None) = (named.next()?, named.next()) else { return None };
    let value = &profile[*member];
    match *member {
        "client_secret_env" => Some(Place::Variable(value.as_str()?.to_owned())),
        "client_secret_file" => Some(Place::File(value.as_str()?.to_owned())),
        "client_secret_command" => {
            let words = value.as_array()?.iter().map(|word| word.as_str().map(str::to_owned));
            words.collect::<Option<Vec<_>>>().filter(|words| !words.is_empty()).map(Place::Command)
        }
        _ => None,
    }
}

fn other(message: String) -> StorageError {
    StorageError::new("other", message)
}

fn beside(profiles: &Path, named: &str) -> Result<PathBuf, StorageError> {
    if let Some(rest) = named.strip_prefix("~/") {
        let home = env::var_os("HOME").filter(|home| !home.is_empty());
        let home = home.ok_or_else(|| other(format!("{named}: there is no home directory, for $HOME is not set")))?;
        return Ok(Path::new(&home).join(rest));
    }
    Ok(profiles.parent().unwrap_or(Path::new(".")).join(named))
}

fn of_file(path: &Path) -> Result<String, StorageError> {
    let cannot = |error: &dyn std::fmt::Display| other(format!("cannot read {}: {error}", path.display()));
    // A pipe that nobody writes to must not hold us up.
    let flags = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(|error| cannot(&error))?;
    if !file.metadata().map_err(|error| cannot(&error))?.is_file() {
        return Err(cannot(&"it is no file"));
    }
    let mut bytes = Vec::new();
    file.take(LONGEST + 1).read_to_end(&mut bytes).map_err(|error| cannot(&error))?;
    text(bytes).ok_or_else(|| cannot(&"it is no text, or too long for a secret"))
}

fn text(bytes: Vec<u8>) -> Option<String> {
    (bytes.len() as u64 <= LONGEST).then(|| String::from_utf8(bytes).ok()).flatten()
}

/// Whoever can write `providers.json` can have a program run: that must be its reader, or root.
fn must_be_ours(profiles: &Path) -> Result<(), StorageError> {
    let shown = profiles.display();
    let stat = fs::metadata(profiles).map_err(|error| other(format!("cannot look at {shown}: {error}")))?;
    let user = rustix::process::geteuid().as_raw();
    if stat.uid() != user && stat.uid() != 0 {
        return Err(other(format!("{shown} belongs to user {}, so no program is run that it names", stat.uid())));
    }
    if stat.mode() & 0o022 != 0 {
        return Err(other(format!(
            "others may write to {shown} (mode {:04o}), so no program is run that it names: chmod go-w",
            stat.mode() & 0o7777
        )));
    }
    Ok(())
}

/// What a program prints. Nothing of it is in an error.
fn run(words: &[String], deadline: Duration) -> Result<String, StorageError> {
    let started = Instant::now();
    let program = &words[0];
    let mut child = Command::new(program)
        .args(&words[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| other(format!("cannot run {program}: {error}")))?;
    let printed = child.stdout.take().map(|output| {
        let (send, printed) = mpsc::channel();
        // Not waited for: a grandchild may keep the pipe open.
        thread::spawn(move || {
            let mut bytes = Vec::new();
            let read = output.take(LONGEST + 1).read_to_end(&mut bytes);
            let _ = send.send(read.map(|_| bytes));
        });
        printed
    });
    let left = || deadline.saturating_sub(started.elapsed());
    let bytes = printed.and_then(|printed| printed.recv_timeout(left()).ok());
    let status = bytes.as_ref().and_then(|_| ended(&mut child, left));
    let (Some(bytes), Some(status)) = (bytes, status) else {
        let _ = child.kill();
        let _ = child.wait();
        return Err(other(format!("{program} did not end within {} s, and was stopped", deadline.as_secs())));
    };
    if !status.success() {
        return Err(other(format!("{program} failed ({status})")));
    }
    let bytes = bytes.map_err(|error| other(format!("cannot read what {program} prints: {error}")))?;
    text(bytes).ok_or_else(|| other(format!("what {program} prints is no text, or too long for a secret")))
}

fn ended(child: &mut Child, left: impl Fn() -> Duration) -> Option<ExitStatus> {
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if !left().is_zero() => thread::sleep(Duration::from_millis(5)),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn profiles(&self, member: &str) -> PathBuf {
            let path = self.0.path().join("providers.json");
            let text = format!(
                r#"{{"profiles":{{"a":{{"token_endpoint":"https://a.example/t","client_id":"c",{member}}}}}}}"#
            );
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            path
        }

        fn secret(&self, member: &str) -> Result<Option<String>, String> {
            let path = self.profiles(member);
            let text = fs::read_to_string(&path).unwrap();
            Secrets::default().of("a", &text, &path).map_err(|error| error.message)
        }
    }

    #[test]
    fn a_secret_is_the_first_line_of_what_is_named() {
        let folder = Folder::new();
        fs::write(folder.0.path().join("secret"), "s-file\r\nrest\n").unwrap();
        for (member, wanted) in [
            (r#""client_secret_file":"secret""#, "s-file"),
            (r#""client_secret_command":["printf","%s\n%s\n","s-command","rest"]"#, "s-command"),
            (r#""client_secret_command":["printf","a b  "]"#, "a b"),
        ] {
            assert_eq!(folder.secret(member).unwrap().as_deref(), Some(wanted), "{member}");
        }
        assert_eq!(folder.secret(r#""client_secret":"s""#), Ok(None), "the component has it");
        assert_eq!(
            folder.secret(r#""client_secret_env":"LAZARETTO_TEST_NO_SUCH","client_secret_file":"secret""#),
            Ok(None)
        );
    }

    #[test]
    fn what_cannot_be_read_is_said_without_what_was_read() {
        let folder = Folder::new();
        for (member, wanted) in [
            (r#""client_secret_env":"LAZARETTO_TEST_NO_SUCH""#, "LAZARETTO_TEST_NO_SUCH is not set"),
            (r#""client_secret_file":"none""#, "cannot read"),
            (r#""client_secret_file":".""#, "it is no file"),
            (r#""client_secret_command":["/no/such/program"]"#, "cannot run /no/such/program"),
            (r#""client_secret_command":["sh","-c","echo s-secret; exit 3"]"#, "sh failed (exit status: 3)"),
        ] {
            let error = folder.secret(member).unwrap_err();
            assert!(error.contains(wanted) && !error.contains("s-secret"), "{member}: {error}");
        }
    }

    #[test]
    fn a_program_that_does_not_end_is_stopped() {
        let words: Vec<String> = ["sh", "-c", "echo s; exec sleep 600"].map(Into::into).into();
        let error = run(&words, Duration::from_millis(200)).unwrap_err();
        assert!(error.message.contains("was stopped"), "{}", error.message);
    }

    #[test]
    fn a_program_is_run_once_and_only_from_a_file_that_is_ours() {
        let folder = Folder::new();
        let path = folder.profiles(r#""client_secret_command":["sh","-c","echo x >> runs; echo s"]"#);
        let text = fs::read_to_string(&path).unwrap();
        let text = text.replace("runs", folder.0.path().join("runs").to_str().unwrap());
        let secrets = Secrets::default();
        for _ in 0..2 {
            assert_eq!(secrets.of("a", &text, &path).unwrap().as_deref(), Some("s"));
        }
        assert_eq!(fs::read_to_string(folder.0.path().join("runs")).unwrap(), "x\n");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o620)).unwrap();
        let error = secrets.of("a", &text, &path).unwrap_err();
        assert!(error.message.contains("mode 0620"), "{}", error.message);
    }

    /// A layer that names another client or server inherits no secret.
    #[test]
    fn a_layer_with_another_client_or_server_inherits_no_secret() {
        let of = |top: &str| {
            let text = format!(
                r#"{{"profiles":{{"a":{{"extends":"b",{top}}},"b":{{"token_endpoint":"https://b.example/t","client_id":"c","client_secret_env":"S"}}}}}}"#
            );
            place("a", &text)
        };
        assert_eq!(of(r#""name":"n""#), Some(Place::Variable("S".into())));
        for top in [r#""token_endpoint":"https://a.example/""#, r#""client_id":"d""#, r#""client_secret":null"#] {
            assert_eq!(of(top), None, "{top}");
        }
        assert_eq!(place("none", r#"{"profiles":{}}"#), None);
        assert_eq!(place("a", r#"{"profiles":{"a":{"extends":"a"}}}"#), None);
    }
}
