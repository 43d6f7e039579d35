//! What hermes-agent makes of a vault, in a Python environment of its own: `tests/reference/README.md`.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::tools;

pub struct Reference {
    python: PathBuf,
}

impl Reference {
    /// None where there is no Python to run it.
    pub fn install() -> Option<Self> {
        let Some((python, version)) =
            ["python3", "python3.13", "python3.12", "python3.11"].into_iter().find_map(usable)
        else {
            tools::skip("Python 3.11, 3.12 or 3.13, with venv and pip");
            return None;
        };
        let recipe = [tools::source("reference/requirements.txt")];
        let folder = tools::installed("reference", &recipe, &version, |folder| {
            tools::run(Command::new(python).args(["-m", "venv", "venv"]).current_dir(folder));
            tools::run(
                Command::new(folder.join("venv/bin/python"))
                    .args(["-m", "pip", "install", "--no-deps", "--disable-pip-version-check"])
                    .args(["-r", "requirements.txt"])
                    .current_dir(folder),
            );
        });
        Some(Self { python: folder.join("venv/bin/python") })
    }

    /// Has the reference store a token response in a home, as its own login does.
    pub fn write_login(&self, home: &Path, provider: &str, login: &Value) {
        let mut process = self
            .command("write-login", home, provider)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("python");
        process.stdin.take().expect("piped").write_all(login.to_string().as_bytes()).expect("read");
        let output = process.wait_with_output().expect("an end");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// What the reference reads in a home. It is given a copy, for it leaves files behind.
    pub fn load(&self, home: &Path, provider: &str) -> Value {
        let copy = TempDir::new().expect("a folder");
        copy_folder(home, copy.path());
        let output = tools::run(&mut self.command("load", copy.path(), provider));
        serde_json::from_slice(&output.stdout).expect("json")
    }

    /// A session that stays open, and whose refreshes go to this token endpoint on loopback.
    pub fn session(&self, home: &Path, token_endpoint: &str) -> Session {
        let mut command = Command::new(&self.python);
        command.arg("-B").arg(tools::source("reference/session.py")).arg(home).arg(token_endpoint);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python");
        let orders = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().expect("piped"));
        Session { process, orders, answers }
    }

    pub fn python(&self) -> &Path {
        &self.python
    }

    fn command(&self, what: &str, home: &Path, provider: &str) -> Command {
        let mut command = Command::new(&self.python);
        command.arg(tools::source("reference/reference.py")).arg(what).arg(home).arg(provider);
        command
    }
}

/// An agent of the reference that runs for long: what it has loaded once stays in its memory. `tests/reference/README.md` has what
/// can be asked of it.
pub struct Session {
    process: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Session {
    pub fn ask(&mut self, order: &Value) -> Value {
        self.tell(order);
        self.answer()
    }

    /// Does not wait for the answer.
    pub fn tell(&mut self, order: &Value) {
        writeln!(self.orders.as_ref().expect("open"), "{order}").expect("it listens");
    }

    pub fn answer(&mut self) -> Value {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("an answer");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("the reference ended: {error}: {line}"))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // The end of its orders is its own end.
        self.orders = None;
        let _ = self.process.wait();
    }
}

/// A Python that the reference runs on and that can make environments; and which one it is.
fn usable(python: &'static str) -> Option<(&'static str, String)> {
    let check =
        "import ensurepip, sys, venv\nassert (3, 11) <= sys.version_info < (3, 14)\nprint(sys.executable, sys.version)";
    Some((python, tools::answer(Command::new(python).args(["-c", check]))?))
}

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copied");
        }
    }
}
