//! A case: see `cases/README.md`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;

use serde_json::{Value, json};

use super::drivers::{Driver, Session};
use super::matching::{blessed, differs, text_differs};
use super::server::{Answer, Server};
use super::tools;

pub struct Case {
    pub name: String,
    /// `case.json`, as it is.
    pub text: String,
    folder: PathBuf,
    json: Value,
}

/// Every case there is, in the order of their names.
pub fn all() -> Vec<Case> {
    let folder = tools::source("conformance/cases");
    let mut folders: Vec<PathBuf> = fs::read_dir(folder)
        .expect("the cases")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    folders.into_iter().map(Case::read).collect()
}

impl Case {
    fn read(folder: PathBuf) -> Self {
        let name = folder.file_name().expect("a name").to_string_lossy().into_owned();
        let text = fs::read_to_string(folder.join("case.json")).unwrap_or_else(|error| panic!("{name}: {error}"));
        let json = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        Self { name, text, folder, json }
    }

    /// What was not as it should be.
    pub fn run(&self, driver: &dyn Driver) -> Result<(), String> {
        let home = tempfile::TempDir::new().expect("a folder");
        let server = Server::start();
        let vault = home.path().join(self.json["file"].as_str().unwrap_or("vault.json"));
        let providers = home.path().join("providers.json");
        let endpoint = server.token_endpoint();
        let profiles = fs::read_to_string(
            self.file("providers.json").unwrap_or_else(|| tools::source("conformance/providers.json")),
        );
        write(&providers, &profiles.expect("profiles").replace("{{endpoint}}", &endpoint));
        let settings = self.json.get("settings").cloned().unwrap_or_else(|| json!({ "shared_with_reference": false }));
        let mut settings_file = vault.clone().into_os_string();
        settings_file.push(".lazaretto-settings.json");
        write(Path::new(&settings_file), &settings.to_string());
        let before = self.file("vault.json").map(|file| fs::read_to_string(file).expect("the vault"));
        if let Some(before) = &before {
            write(&vault, before);
        }

        if let Some(secret) = self.file("client-secret") {
            write(&home.path().join("client-secret"), &fs::read_to_string(secret).expect("the secret"));
        }

        // What is done to a process must be done to one that is not this.
        let is_apart = ["\"stopped_ms\"", "\"killed\""].iter().any(|what| self.text.contains(what));
        let stage = Stage { driver, server: &server, vault: &vault, providers: &providers };
        let open = || if is_apart { driver.open_apart(&vault, &providers) } else { driver.open(&vault, &providers) };
        let mut session = open();
        for (number, step) in self.json["steps"].as_array().expect("steps").iter().enumerate() {
            self.step(step, &mut *session, &stage)
                .map_err(|wrong| format!("{}, step {}: {wrong}", self.name, number + 1))?;
            if step["answers"][0]["killed"] == true {
                session = open();
            }
        }
        session.close().map_err(|wrong| format!("{}: {wrong}", self.name))?;
        let rest = server.sent();
        if !rest.is_empty() {
            return Err(format!("{}: sent afterwards: {rest:?}", self.name));
        }
        self.files(home.path(), &vault, before.as_deref(), driver.excludes_foreign())
    }

    fn step(&self, step: &Value, session: &mut dyn Session, stage: &Stage<'_>) -> Result<(), String> {
        let Stage { driver, server, vault, .. } = *stage;
        if let Some(file) = step["write"].as_str() {
            let text = fs::read_to_string(self.folder.join(file)).expect("what is written");
            write_as_others_do(vault, &text);
            return Ok(());
        }
        let of_this = |step: &Value, name: &str| {
            // A host that cannot keep other programs out is refused the refresh of a vault that is shared with one.
            // Nor does it know that the holder of a lease has ended before the lease's time is over.
            let differs = ["without_exclusion", "with_timed_leases"];
            let is_other = !driver.excludes_foreign();
            let without = differs.iter().filter(|_| is_other).find_map(|why| step.get(format!("{name}_{why}")));
            without.or_else(|| step.get(name)).cloned().unwrap_or(Value::Null)
        };
        let expected = |step: &Value, result: &Value, what: &str| {
            let wrong = differs(&of_this(step, "expect"), result, what);
            wrong.map_or(Ok(()), |wrong| Err(format!("{wrong}\n  of {result}")))
        };
        let mut answers = self.answers(step, vault);
        let result = if let Some(during) = step.get("during") {
            let (seen, result) = stage.call_during(answers, session, &step["call"], &during["call"]);
            expected(during, &seen?, "what another sees meanwhile")?;
            result
        } else {
            let is_killed = answers.first().is_some_and(|answer| answer.json["killed"] == true);
            server.expect(std::mem::take(&mut answers), session.process());
            match session.call(&step["call"]) {
                Err(_) if is_killed => Ok(Value::Null),
                result => result,
            }
        }?;
        expected(step, &result, "result")?;
        let sent: Vec<String> = serde_json::from_value(of_this(step, "sent")).unwrap_or_default();
        let found = server.sent();
        if sent != found {
            return Err(format!("expected the requests {sent:?}, found {found:?}\n  result {result}"));
        }
        let clients = server.clients();
        if let Ok(expected) = serde_json::from_value::<Vec<String>>(of_this(step, "clients"))
            && expected != clients
        {
            return Err(format!("expected the clients {expected:?}, found {clients:?}"));
        }
        Ok(())
    }

    /// What the server answers in a step. An answer with a file in `meanwhile` is one that comes after another program wrote the vault.
    fn answers(&self, step: &Value, vault: &Path) -> Vec<Answer> {
        let mut answers = Vec::new();
        for answer in step["answers"].as_array().into_iter().flatten() {
            let written = answer["meanwhile"].as_str().map(|file| (self.folder.join(file), vault.to_owned()));
            let before: Option<Box<dyn FnOnce() + Send>> = written.map(|(from, vault)| {
                Box::new(move || write_as_others_do(&vault, &fs::read_to_string(from).expect("what is written"))) as _
            });
            answers.push(Answer { before, json: answer.clone() });
        }
        answers
    }

    /// The vault is as it should be, to the byte; nothing else holds a secret, and nothing is left lying about.
    fn files(&self, home: &Path, vault: &Path, before: Option<&str>, excludes: bool) -> Result<(), String> {
        let wrong = |what: String| Err(format!("{}: {what}", self.name));
        let after = fs::read_to_string(vault).ok();
        if env::var_os("LAZARETTO_BLESS").is_some() {
            match &after {
                Some(after) if Some(after.as_str()) != before => {
                    write(&self.folder.join("after.json"), &blessed(after))
                }
                _ => drop(fs::remove_file(self.folder.join("after.json"))),
            }
        }
        // What is refused changes nothing.
        let is_refused = !excludes && self.text.contains("_without_exclusion");
        let expected =
            self.file("after.json").filter(|_| !is_refused).map(|file| fs::read_to_string(file).expect("text"));
        match (expected.as_deref().or(before), &after) {
            (Some(expected), Some(after)) => {
                if let Some(differs) = text_differs(expected, after) {
                    return wrong(format!("the vault afterwards: {differs}"));
                }
            }
            (None, None) => {}
            (expected, _) => {
                return wrong(format!("the vault is there: {}, expected: {}", after.is_some(), expected.is_some()));
            }
        }
        for entry in fs::read_dir(home).expect("the folder") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            if name.contains(".lazaretto-tmp.") {
                return wrong(format!("{name} was left behind"));
            }
            if name.ends_with(".lazaretto")
                && fs::read_to_string(&path).is_ok_and(|text| text.contains("rt-") || text.contains("at-"))
            {
                return wrong("there is a token in the ledger".to_owned());
            }
        }
        Ok(())
    }

    /// Why one way to run lazaretto cannot do what this case wants.
    pub fn exception(&self, way: &str) -> Option<&str> {
        self.json["except"][way].as_str()
    }

    fn file(&self, name: &str) -> Option<PathBuf> {
        Some(self.folder.join(name)).filter(|path| path.exists())
    }
}

/// What all steps of a case have.
struct Stage<'a> {
    driver: &'a dyn Driver,
    server: &'a Server,
    vault: &'a Path,
    providers: &'a Path,
}

impl Stage<'_> {
    /// Makes a call, and while its first request waits for its answer another one by another instance: what that one saw, and the result.
    fn call_during(
        &self,
        mut answers: Vec<Answer>,
        session: &mut dyn Session,
        call: &Value,
        other_call: &Value,
    ) -> (Result<Value, String>, Result<Value, String>) {
        let ((is_ready, ready), (has_come, came)) = (mpsc::channel(), mpsc::channel());
        let (go_on, goes_on) = mpsc::channel::<()>();
        if let Some(first) = answers.first_mut() {
            // Until the other one has seen it, or is gone.
            first.before = Some(Box::new(move || {
                let _ = has_come.send(());
                let _ = goes_on.recv();
            }));
        }
        thread::scope(|scope| {
            let other = scope.spawn(move || {
                let _go_on = go_on;
                let mut other = self.driver.open(self.vault, self.providers);
                // It has started, and has compiled whatever it compiles.
                other.call(other_call)?;
                let _ = is_ready.send(());
                came.recv().map_err(|_| "no request was made".to_owned())?;
                let seen = other.call(other_call)?;
                other.close().map(|()| seen)
            });
            let _ = ready.recv();
            self.server.expect(answers, session.process());
            let result = session.call(call);
            // What was not asked for is not waited for.
            self.server.expect(Vec::new(), None);
            (other.join().expect("no panic"), result)
        })
    }
}

/// A file of its own, renamed.
fn write_as_others_do(vault: &Path, text: &str) {
    let other = vault.with_extension("other");
    write(&other, text);
    fs::rename(other, vault).expect("renamed");
}

/// As a secret is kept: readable by its owner alone.
fn write(path: &Path, text: &str) {
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = fs::OpenOptions::new();
    let file = options.create(true).truncate(true).write(true).mode(0o600).open(path);
    std::io::Write::write_all(&mut file.expect("a file"), text.as_bytes()).expect("written");
}
