//! One vault, eight slots, and in each one process after the other.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use lazaretto::state::fingerprint::Fingerprint;
use lazaretto_testing::demo_server::Login;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::chooser::{Chooser, Fate, fate, fate_of_a_reset, fault};
use super::figures::Figures;
use super::referee::{Book, Server, Window, user_agent};
use crate::tools;

pub(crate) const CLIENT: &str = "acme-client";
const SLOTS: u64 = 8;

/// What is not of the login, in another program's spelling: kept to the byte, whatever is killed when.
const KEPT: [&str; 5] = [
    r#""x-unknown" :  { "kept":[1.0E+3, 0.10, -0], "tabs":	true, "escapes":"\u0041\/" }"#,
    r#"{"id":"b7c1d2","label":"work key","auth_type":"api_key", "source" : "manual",
        "access_token":"sk-beside", "priority": 1.0, "x-note":"caf\u00e9", "request_count": 1e2}"#,
    r#"{ "id":"d4e5f6", "label":"my key", "auth_type":"api_key", "source":"manual",
        "access_token":"sk-elsewhere","base_url":"https:\/\/openrouter.ai\/api\/v1", "request_count":12345678901234567890 }"#,
    r#""other" : { "tokens":{ "access_token":"x" } , "refreshed":  null }"#,
    r#""note" : [1, 2.50,{ "deep":true }]"#,
];

/// Who else writes the vault.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sharing {
    /// The reference, by its lock, which is held across each exchange.
    WithTheReference,
    /// Nobody: its lock is held for each store alone.
    OursAlone,
}

impl Sharing {
    fn vault(self) -> &'static str {
        match self {
            Self::WithTheReference => "auth.json",
            Self::OursAlone => "vault.json",
        }
    }
}

pub(crate) struct Rig<S> {
    folder: TempDir,
    sharing: Sharing,
    server: S,
    executable: PathBuf,
    chooser: Mutex<Chooser>,
    next_process: AtomicU64,
    /// How many requests have their fault, by the chooser's word.
    doomed: AtomicU64,
    stop: AtomicBool,
    seen: Mutex<usize>,
    book: Mutex<Book>,
    figures: Mutex<Figures>,
}

struct Ended {
    process: u64,
    output: Output,
}

impl<S: Server> Rig<S> {
    pub(crate) fn new(server: S, sharing: Sharing, seed: u64) -> Self {
        let folder = TempDir::new().expect("a folder");
        // A long run must not be disturbed by whoever builds meanwhile. Copied here, the file might still be open for writing in
        // what another thread is just starting, and could not be run.
        let executable = folder.path().join("lazaretto");
        tools::run(Command::new("cp").arg(env!("CARGO_BIN_EXE_lazaretto")).arg(&executable));
        let rig = Self {
            folder,
            sharing,
            server,
            executable,
            chooser: Mutex::new(Chooser(seed)),
            next_process: AtomicU64::new(1),
            doomed: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            seen: Mutex::default(),
            book: Mutex::default(),
            figures: Mutex::default(),
        };
        if let Sharing::OursAlone = sharing {
            let settings = json!({ "shared_with_reference": false }).to_string();
            fs::write(rig.beside_the_vault(".lazaretto-settings.json"), settings).expect("written");
        }
        rig.log_in();
        rig
    }

    /// One stretch: the slots run until a login is lost or the chooser has enough, and then the referee looks at what is left. How
    /// many processes there were so far.
    pub(crate) fn run_until_at_rest(&self) -> u64 {
        let most = self.next_process.load(Ordering::SeqCst) + 20 + self.choose(80);
        // Without pauses most processes find that another is about to refresh; with them most refresh.
        let longest_pause_ms = [1, 100, 400, 800][self.choose(4) as usize];
        self.stop.store(false, Ordering::SeqCst);
        thread::scope(|scope| {
            for slot in 0..SLOTS {
                let mut chooser = Chooser(self.choose(u64::MAX));
                scope.spawn(move || {
                    while !self.stop.load(Ordering::SeqCst) && self.next_process.load(Ordering::SeqCst) < most {
                        thread::sleep(Duration::from_millis(chooser.below(longest_pause_ms)));
                        self.one_process(slot, &mut chooser);
                    }
                });
            }
        });
        self.look_at_what_is_left();
        self.figures().processes
    }

    /// A process from its start to its end, whatever that is.
    fn one_process(&self, slot: u64, chooser: &mut Chooser) {
        self.doom_requests();
        let refused = chooser.per_cent(25).then(|| self.tokens().next()).flatten();
        let words: &[&str] = match (refused.is_some(), chooser.per_cent(50)) {
            (true, _) => &["refresh", "acme", "--refused-from-stdin"],
            (false, true) => &["refresh", "acme"],
            (false, false) => &["token", "acme"],
        };
        let fate = fate(chooser);
        let ended = self.run(slot, words, refused.as_deref(), &fate);
        match ended.output.status.code() {
            // Cooling down: a person who cannot wait. That process, too, may be killed.
            Some(4) if chooser.per_cent(80) => {
                self.figures().resets += 1;
                self.run(slot, &["reset", "acme"], None, &fate_of_a_reset(chooser));
            }
            Some(3) => self.stop.store(true, Ordering::SeqCst),
            _ => {}
        }
    }

    fn run(&self, slot: u64, words: &[&str], stdin: Option<&str>, fate: &Fate) -> Ended {
        let process = self.next_process.fetch_add(1, Ordering::SeqCst);
        let profiles = self.path(&format!("providers-{slot}.json"));
        let profile = json!({ "token_endpoint": self.server.endpoint(), "client_id": CLIENT,
            "deadline_ms": 8000, "request": { "headers": { "user-agent": user_agent(process) } } });
        fs::write(&profiles, json!({ "profiles": { "acme": profile } }).to_string()).expect("written");
        let mut command = Command::new(&self.executable);
        command.arg("--vault").arg(self.vault()).arg("--providers").arg(&profiles);
        command.arg("--allow-loopback-http").args(words).env_remove("LAZARETTO_VAULT");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it runs");
        // A killed one does not read it.
        let _ = child.stdin.take().expect("piped").write_all(stdin.unwrap_or_default().as_bytes());
        self.carry_out(fate, process, &mut child);
        let ended = Ended { process, output: child.wait_with_output().expect("it ends") };
        self.look_at_the_ended(words, &ended);
        ended
    }

    fn carry_out(&self, fate: &Fate, process: u64, child: &mut Child) {
        let signal = match fate {
            Fate::Lives => return,
            Fate::Signal { signal, after } => {
                thread::sleep(*after);
                *signal
            }
            Fate::SignalAtTheServer { signal, after } => {
                let seen = *self.seen.lock().expect("no panic");
                let is_over = |child: &mut Child| child.try_wait().expect("asked").is_some();
                while !is_over(child) && !self.server.arrives(process, seen, Duration::from_millis(5)) {}
                thread::sleep(*after);
                *signal
            }
        };
        if child.try_wait().expect("asked").is_none() {
            kill_process(Pid::from_child(child), signal).expect("it is not waited for yet");
        }
    }

    /// Right after a process has ended, while the others go on.
    fn look_at_the_ended(&self, words: &[&str], ended: &Ended) {
        let Output { status, stdout, stderr } = &ended.output;
        let (killed, said) = (status.signal() == Some(Signal::KILL.as_raw()), String::from_utf8_lossy(stderr));
        // First what is stored, then what was sent: a token that moved on between the two was sent.
        let stored = self.stored();
        let mut book = self.book();
        self.read_the_servers_books(&mut book);
        book.ended(ended.process, killed, &stored);
        let may_end_so = match (status.code(), status.signal()) {
            (Some(0 | 3 | 4), _) => true,
            // There may be nothing to reset any more.
            (Some(2), _) => words[0] == "reset",
            (None, Some(signal)) => signal == Signal::KILL.as_raw() || signal == Signal::TERM.as_raw(),
            _ => false,
        };
        if status.code() == Some(3) {
            book.asked_for_login.push(ended.process);
        }
        if !may_end_so {
            book.problems.push(format!("process {} ({words:?}) ended with {status}: {said}", ended.process));
        }
        let mut shown = said.into_owned();
        if words[0] != "token" {
            shown += &String::from_utf8_lossy(stdout);
        }
        if shown.contains("demo-rt-") || shown.contains("demo-at-") || self.tokens().any(|token| shown.contains(&token))
        {
            book.problems.push(format!("process {} shows a token", ended.process));
        }
        drop(book);
        let mut figures = self.figures();
        figures.processes += 1;
        figures.kills += u64::from(killed);
        figures.terms += u64::from(status.signal() == Some(Signal::TERM.as_raw()));
        let how = status.code().map_or("signal".to_owned(), |code| format!("exit {code}"));
        *figures.ended.entry(how).or_default() += 1;
    }

    /// All processes have ended. One fresh one asks, and the server says whether what it got is right.
    fn look_at_what_is_left(&self) {
        self.server.no_more_faults();
        self.run(SLOTS, &["reset", "acme"], None, &Fate::Lives);
        let before = self.exchanges_so_far();
        let fresh = self.run(SLOTS, &["refresh", "acme"], None, &Fate::Lives);
        let requests = self.exchanges_so_far() - before;
        let stored = self.stored();
        let mut book = self.book();
        self.read_the_servers_books(&mut book);
        book.close(&stored);
        let mut hit = book.windows_that_hit();
        let said = String::from_utf8_lossy(&fresh.output.stderr).into_owned();
        let lost = match fresh.output.status.code() {
            Some(0) => false,
            Some(3) => true,
            other => panic!("a fresh process cannot go on: {other:?} {said}"),
        };
        if lost && hit.is_empty() {
            hit.extend(book.came_too_late());
        }
        if !lost && !book.asked_for_login.is_empty() {
            let what = format!("processes {:?} ask for a login that is not needed", book.asked_for_login);
            book.problems.push(what);
        }
        if requests > 2 {
            book.problems.push(format!("a fresh process needed {requests} requests"));
        }
        match (self.server.window(), lost) {
            (Window::CostsNothing, true) => {
                book.problems.push(format!("a login is lost at a server that loses none: {said}"))
            }
            (Window::CostsTheLogin, true) if hit.is_empty() => {
                book.problems.push(format!("a login is lost, and no window explains it: {said}"));
            }
            (Window::CostsTheLogin, false) if !hit.is_empty() => {
                book.problems.push(format!("no login is lost, and yet there is a window that hit: {hit:?}"));
            }
            _ => {}
        }
        if hit.len() > 1 && self.server.window() == Window::CostsTheLogin {
            book.problems.push(format!("more than one window on one login: {hit:?}"));
        }
        self.look_at_the_vault(lost, &mut book);
        let leftovers = self.leftovers();
        assert!(book.problems.is_empty(), "{:#?}\n{}\n{}", book.problems, self.exchanges_told(&book), self.ledger());

        let mut figures = self.figures();
        figures.rests += 1;
        figures.lost += u64::from(lost);
        figures.most_leftovers = figures.most_leftovers.max(leftovers);
        for exchange in &book.exchanges {
            figures.requests += 1;
            figures.refreshes += u64::from(exchange.refreshed);
            figures.replays += u64::from(exchange.replay);
            *figures.faults.entry(exchange.fault.clone()).or_default() += 1;
        }
        for why in book.windows() {
            *figures.windows.entry(why).or_default() += 1;
        }
        if self.server.window() == Window::CostsTheLogin {
            for why in hit {
                *figures.hit.entry(why).or_default() += 1;
            }
        }
        drop(figures);
        // The book is closed up to here, also where the login goes on.
        *book = book.next();
        drop(book);
        if lost {
            self.a_dead_token_stays_unsent();
            self.book().asked_for_login.clear();
            self.log_in();
        }
        self.doomed.store(0, Ordering::SeqCst);
    }

    fn look_at_the_vault(&self, lost: bool, book: &mut Book) {
        let text = fs::read_to_string(self.vault()).expect("a vault");
        let vault: Value = serde_json::from_str(&text).expect("json");
        for kept in KEPT {
            if !text.contains(kept) {
                book.problems.push(format!("not kept to the byte: {kept}"));
            }
        }
        let (login, row) = (&vault["providers"]["acme"], &vault["credential_pool"]["acme"][0]);
        if lost {
            let reason = &login["last_auth_error"]["reason"];
            if login["tokens"].get("refresh_token").is_some() || !reason.is_string() {
                book.problems.push("a lost login is not taken out of the vault".into());
            }
            return;
        }
        let token = login["tokens"]["refresh_token"].as_str().unwrap_or_default();
        if !self.server.is_live(token) {
            book.problems.push("the token in the vault is not the server's live one".into());
        }
        if row["refresh_token"] != token || row["access_token"] != login["tokens"]["access_token"] {
            book.problems.push("the login and its copy differ".into());
        }
    }

    fn a_dead_token_stays_unsent(&self) {
        let before = self.exchanges_so_far();
        let ended = self.run(SLOTS, &["refresh", "acme"], None, &Fate::Lives);
        assert_eq!(ended.output.status.code(), Some(3));
        assert_eq!(self.exchanges_so_far(), before, "a dead token was sent again");
    }

    /// As the reference does it: under its lock, by a file that takes the vault's place.
    fn log_in(&self) {
        let Login { access_token, refresh_token, .. } = self.server.log_in();
        let [unknown, beside, elsewhere, other, note] = KEPT;
        let vault = format!(
            r#"{{
  "version": 1,
  {unknown},
  "providers": {{
    "acme": {{ "tokens": {{"access_token":"{access_token}", "refresh_token":"{refresh_token}", "expires_in": 2}},
      "last_refresh": "2020-01-01T00:00:00Z", {note} }},
    {other}
  }},
  "credential_pool": {{
    "acme": [
      {{"id": "909e61", "label": "me", "auth_type": "oauth", "priority": 0, "source": "device_code",
        "access_token":"{access_token}", "refresh_token":"{refresh_token}", "last_refresh": "2020-01-01T00:00:00Z"}},
      {beside}
    ],
    "openrouter": [
      {elsewhere}
    ]
  }}
}}
"#
        );
        let lock = File::create(self.path("auth.lock")).expect("a lock file");
        lock.lock().expect("the lock");
        fs::write(self.path("new"), vault).expect("written");
        fs::rename(self.path("new"), self.vault()).expect("renamed");
        self.figures().logins += 1;
    }

    /// The next requests get their faults.
    fn doom_requests(&self) {
        let wanted = self.exchanges_so_far() as u64 + 2 * SLOTS;
        let mut chooser = self.chooser.lock().expect("no panic");
        let doomed = self.doomed.load(Ordering::SeqCst);
        // The doors were emptied at rest.
        let doomed = if doomed == 0 { self.exchanges_so_far() as u64 } else { doomed };
        let faults: Vec<_> = (doomed..wanted.max(doomed)).map(|_| fault(&mut chooser)).collect();
        if !faults.is_empty() {
            self.server.faults(&faults);
        }
        self.doomed.store(wanted.max(doomed), Ordering::SeqCst);
    }

    fn read_the_servers_books(&self, book: &mut Book) {
        let mut seen = self.seen.lock().expect("no panic");
        let new = self.server.exchanges_after(*seen);
        *seen += new.len();
        book.exchanges.extend(new);
    }

    fn exchanges_so_far(&self) -> usize {
        let mut book = self.book();
        self.read_the_servers_books(&mut book);
        *self.seen.lock().expect("no panic")
    }

    /// The fingerprints of every text that is stored where refresh tokens may be.
    fn stored(&self) -> BTreeSet<String> {
        fn texts(value: &Value, found: &mut BTreeSet<String>) {
            match value {
                Value::String(text) => {
                    found.insert(Fingerprint::of(text).as_str().to_owned());
                }
                Value::Array(rows) => rows.iter().for_each(|row| texts(row, found)),
                Value::Object(fields) => fields.values().for_each(|field| texts(field, found)),
                _ => {}
            }
        }
        let mut found = BTreeSet::new();
        // The successor waits in the sealed document before it comes into the vault, so that is read first.
        for path in [self.beside_the_vault(".lazaretto-sealed"), self.vault()] {
            if let Ok(text) = fs::read_to_string(path) {
                texts(&serde_json::from_str(&text).expect("whole"), &mut found);
            }
        }
        found
    }

    /// The access token and the refresh token in the vault, as far as there are any.
    fn tokens(&self) -> impl Iterator<Item = String> {
        let text = fs::read_to_string(self.vault()).expect("a vault");
        let vault: Value = serde_json::from_str(&text).expect("whole");
        let tokens = vault["providers"]["acme"]["tokens"].clone();
        ["access_token", "refresh_token"].into_iter().filter_map(move |name| tokens[name].as_str().map(str::to_owned))
    }

    /// What killed processes left behind. A later store removes it.
    fn leftovers(&self) -> usize {
        let names = fs::read_dir(self.folder.path()).expect("a folder").flatten();
        names.filter(|entry| entry.file_name().to_string_lossy().contains("lazaretto-tmp")).count()
    }

    fn exchanges_told(&self, book: &Book) -> String {
        book.exchanges.iter().map(|exchange| format!("{exchange:?}\n")).collect()
    }

    fn ledger(&self) -> String {
        fs::read_to_string(self.beside_the_vault(".lazaretto")).unwrap_or_default()
    }

    fn choose(&self, end: u64) -> u64 {
        self.chooser.lock().expect("no panic").below(end)
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().expect("no panic")
    }

    fn figures(&self) -> MutexGuard<'_, Figures> {
        self.figures.lock().expect("no panic")
    }

    fn vault(&self) -> PathBuf {
        self.beside_the_vault("")
    }

    fn beside_the_vault(&self, suffix: &str) -> PathBuf {
        self.path(&format!("{}{suffix}", self.sharing.vault()))
    }

    fn path(&self, name: &str) -> PathBuf {
        Path::join(self.folder.path(), name)
    }

    pub(crate) fn summary(&self) -> String {
        self.figures().to_string()
    }

    pub(crate) fn must_have_tried(&self) {
        self.figures().must_be_of_a_fair_try();
    }
}
