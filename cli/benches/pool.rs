//! lazaretto beside the reference, hermes-agent 0.19.0, in one run on one machine and on the same vaults: loading a pool and
//! choosing from it, a cold command, one refusal for good; and what a vault of 10,000 entries costs. Run with
//! `cargo bench --bench pool`.
//!
//! The reference's figures are taken inside its own process, which has imported everything before; where there is no Python to run it
//! on they are left out. The machines are shared and noisy: compare what stands in one line. Nothing is asserted.

#[path = "../../tests/common/reference.rs"]
#[allow(dead_code, unreachable_pub, reason = "each file uses its own part")]
mod reference;
#[path = "../../tests/common/tools.rs"]
#[allow(dead_code, unreachable_pub, reason = "each file uses its own part")]
mod tools;

use std::fs;
use std::hint::black_box;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use lazaretto_host::storage::{FileStorage, VAULT};
use lazaretto_host::{Keeper, TokenRequest};
use lazaretto_testing::demo_server::{Behaviour, Login, TokenServer};
use reference::{Reference, Session};
use serde_json::{Value, json};
use tempfile::TempDir;

const PROVIDER: &str = "xai-oauth";
const CLIENT: &str = "b1a00492-073a-47ea-816f-4c329264a828";

fn main() {
    // `cargo test --benches` only wants to know that it builds.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let reference = Reference::install();
    if reference.is_none() {
        println!("no Python to run the reference on: its figures are left out");
    }
    let reference = reference.as_ref();
    println!("{:<44}{:>11}{:>13}{:>9}", "median of many", "lazaretto", "reference", "ratio");
    for entries in [1, 10, 100, 1_000] {
        choosing(reference, entries);
    }
    cold(reference);
    refusals(reference);
    for entries in [1_000, 10_000] {
        large(entries);
    }
}

/// A line of the table.
fn show(what: &str, ours: Duration, theirs: Option<Duration>) {
    let theirs_and_ratio = theirs.map_or_else(
        || format!("{:>13}{:>9}", "-", "-"),
        |theirs| format!("{:>13}{:>8.0}x", spelled(theirs), theirs.as_secs_f64() / ours.as_secs_f64()),
    );
    println!("{what:<44}{:>11}{theirs_and_ratio}", spelled(ours));
}

fn spelled(time: Duration) -> String {
    let us = time.as_secs_f64() * 1e6;
    if us < 1_000.0 { format!("{us:.1} us") } else { format!("{:.2} ms", us / 1e3) }
}

fn median(rounds: usize, mut round: impl FnMut() -> Duration) -> Duration {
    let mut times: Vec<Duration> = (0..rounds).map(|_| round()).collect();
    times.sort();
    times[times.len() / 2]
}

fn timed<T>(work: impl FnOnce() -> T) -> Duration {
    let start = Instant::now();
    black_box(work());
    start.elapsed()
}

struct Home(TempDir);

impl Home {
    fn new(vault: &Value) -> Self {
        let home = Self(TempDir::new().expect("a folder"));
        home.write(vault);
        home
    }

    /// Whose first entry has a token that is good for years.
    fn with_entries(entries: usize) -> Self {
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        let entry = |index: usize| {
            json!({
                "id": format!("{index:06x}"), "label": format!("user{index}@example.com"), "auth_type": "oauth", "priority": index,
                "source": "manual:device_code", "access_token": format!("at-{index}-{}", "x".repeat(300)),
                "refresh_token": format!("rt-{index}-{}", "x".repeat(40)), "last_status": null, "last_status_at": null,
                "last_error_code": null, "last_error_reason": null, "last_error_message": null, "last_error_reset_at": null,
                "base_url": "https://api.x.ai/v1", "request_count": 0, "expires_at_ms": (now_s + 100_000_000) * 1_000,
                "last_refresh": "2026-07-20T10:00:00.123456Z"
            })
        };
        let rows: Vec<Value> = (0..entries).map(entry).collect();
        let home = Self::new(&json!({ "version": 1, "providers": {}, "credential_pool": { PROVIDER: rows } }));
        // What changed within two seconds is not trusted by its time stamp.
        std::thread::sleep(Duration::from_millis(2_100));
        home
    }

    fn vault(&self) -> PathBuf {
        self.0.path().join("auth.json")
    }

    fn write(&self, vault: &Value) {
        fs::write(self.vault(), serde_json::to_string_pretty(vault).expect("json") + "\n").expect("written");
    }

    fn keeper(&self, warm_instances: usize) -> Keeper {
        let storage = FileStorage::open(self.vault()).with_profiles(self.0.path().join("providers.json"));
        let builder = Keeper::builder().storage(storage).allow_loopback_http(true);
        builder.warm_instances(warm_instances).build().expect("a keeper")
    }

    fn session(&self, reference: &Reference, token_endpoint: &str) -> Session {
        reference.session(self.0.path(), token_endpoint)
    }
}

/// How long the reference was at it, by its own clock.
fn took(session: &mut Session, what: &str) -> Duration {
    let answer = session.ask(&json!({ "do": what, "provider": PROVIDER }));
    Duration::from_secs_f64(answer["took_s"].as_f64().expect("a time"))
}

/// A pool is loaded, and one of it is chosen.
fn choosing(reference: Option<&Reference>, entries: usize) {
    let home = Home::with_entries(entries);
    let request = TokenRequest::new(VAULT, PROVIDER);
    let [fresh, warm] = [0, 1].map(|warm_instances| {
        let keeper = home.keeper(warm_instances);
        let call = || keeper.token(&request).expect("a token");
        call();
        median(300, || timed(call))
    });
    let (mut load, mut select) = (None, None);
    if let Some(reference) = reference {
        let mut session = home.session(reference, "http://127.0.0.1:1/");
        took(&mut session, "load-and-select");
        load = Some(median(100, || took(&mut session, "load-and-select")));
        select = Some(median(100, || took(&mut session, "select")));
    }
    show(&format!("load and select, {entries}: a new instance"), fresh, load);
    show(&format!("load and select, {entries}: a warm instance"), warm, load);
    show(&format!("select from what is loaded, {entries}: warm"), warm, select);
}

/// A whole process that prints a token.
fn cold(reference: Option<&Reference>) {
    let home = Home::with_entries(10);
    let run = |command: &mut Command| {
        let start = Instant::now();
        let output = command.output().expect("it runs");
        assert!(output.stdout.starts_with(b"at-0-"), "{}", String::from_utf8_lossy(&output.stderr));
        start.elapsed()
    };
    let ours = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lazaretto"));
        run(command.arg("--vault").arg(home.vault()).args(["token", PROVIDER]))
    };
    let theirs = |reference: &Reference| {
        let program =
            "from agent.credential_pool import load_pool; print(load_pool('xai-oauth').select().access_token)";
        run(Command::new(reference.python()).args(["-c", program]).env("HERMES_HOME", home.0.path()))
    };
    ours();
    let theirs = reference.map(|reference| {
        theirs(reference);
        median(20, || theirs(reference))
    });
    show("a cold command that prints a token", median(50, ours), theirs);
}

/// A login whose access token has ended and whose grant was revoked, to the end: request, verdict, and quarantine on disk.
fn refusals(reference: Option<&Reference>) {
    const ROUNDS: usize = 30;
    let behaviour = Behaviour { jwt_access_tokens: true, clock_offset_s: -100_000, ..Behaviour::default() };
    let server = TokenServer::start(behaviour).expect("a port");
    let revoked = |home: &Home| {
        let login = server.login(CLIENT);
        server.revoke(&login.refresh_token);
        home.write(&vault_with(&login));
    };
    let (home, their_home) = (Home::new(&json!({})), Home::new(&json!({})));
    let profiles = json!({ "profiles": { PROVIDER: { "token_endpoint": server.token_endpoint() } } });
    fs::write(home.0.path().join("providers.json"), profiles.to_string()).expect("written");
    let request = TokenRequest::new(VAULT, PROVIDER);
    let [fresh, warm] = [0, 1].map(|warm_instances| {
        let keeper = home.keeper(warm_instances);
        median(ROUNDS, || {
            revoked(&home);
            let start = Instant::now();
            let error = keeper.token(&request).expect_err("revoked");
            let time = start.elapsed();
            assert_eq!(error.code, "quarantined", "{error}");
            time
        })
    });
    let theirs = reference.map(|reference| {
        let mut session = their_home.session(reference, &server.token_endpoint());
        median(ROUNDS, || {
            revoked(&their_home);
            let requests = server.requests();
            let time = took(&mut session, "load-and-select");
            assert_eq!(server.requests(), requests + 1);
            let vault = fs::read_to_string(their_home.vault()).expect("a vault");
            assert!(vault.contains("relogin_required"), "it was quarantined");
            time
        })
    });
    show("a refusal for good, quarantine: a new instance", fresh, theirs);
    show("a refusal for good, quarantine: a warm one", warm, theirs);
}

/// A login and its copy in the pool.
fn vault_with(login: &Login) -> Value {
    let (access, refresh) = (&login.access_token, &login.refresh_token);
    json!({
        "version": 1,
        "providers": { PROVIDER: { "tokens": { "access_token": access, "refresh_token": refresh, "token_type": "Bearer" },
            "last_refresh": "2026-07-20T10:00:00.123456Z", "auth_mode": "oauth_device_code" } },
        "credential_pool": { PROVIDER: [{
            "id": "aaaaaa", "label": "device_code", "auth_type": "oauth", "priority": 0, "source": "device_code",
            "access_token": access, "refresh_token": refresh, "last_status": null, "last_status_at": null, "last_error_code": null,
            "last_error_reason": null, "last_error_message": null, "last_error_reset_at": null,
            "base_url": "https://api.x.ai/v1", "last_refresh": "2026-07-20T10:00:00.123456Z", "request_count": 0 }] }
    })
}

/// What has no like in the reference.
fn large(entries: usize) {
    let home = Home::with_entries(entries);
    let (request, keeper) = (TokenRequest::new(VAULT, PROVIDER), home.keeper(1));
    let status = || keeper.status(VAULT, None).expect("a status");
    assert_eq!(status().credentials.len(), entries);
    show(&format!("status of {entries} entries: warm"), median(20, || timed(status)), None);
    let token = || keeper.token(&request).expect("a token");
    token();
    show(&format!("select from {entries} entries: warm"), median(300, || timed(token)), None);
    let cold = home.keeper(0);
    show(&format!("load and select, {entries}: a new instance"), median(20, || timed(|| cold.token(&request))), None);
}
