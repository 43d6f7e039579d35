//! What lazaretto costs: a cold process, a warm call, loading, and one refresh. Run with `cargo bench`.
//!
//! Compare the figures of one run with each other; the machines are shared and noisy. `--features compiler` adds what
//! compiling ahead of time saves.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use divan::Bencher;
use lazaretto_host::storage::{FileStorage, LoadOutcome, Storage, VAULT};
use lazaretto_host::{Answer, Keeper, TokenRequest};
use lazaretto_testing::demo_server::{Behaviour, Rotation, TokenServer};
use serde_json::{Value, json};
use tempfile::TempDir;

fn main() {
    println!("largest child process so far: {}", peak_memory_of_a_cold_token());
    for spent in [1, 100] {
        println!("{}", cost_of_writing(spent));
    }
    divan::main();
}

/// A folder with a vault whose first entry holds a token that is good for years.
struct Home {
    folder: TempDir,
}

impl Home {
    fn new(entries: usize) -> Self {
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        let entry = |index: usize| {
            json!({
                "id": format!("{index:06x}"), "label": format!("user{index}@example.com"), "auth_type": "oauth", "priority": index,
                "source": "manual:device_code", "access_token": format!("at-{index}"), "refresh_token": format!("rt-{index}"),
                "last_status": null, "base_url": "https://api.x.ai/v1", "request_count": 0,
                "expires_at_ms": (now_s + 100_000_000) * 1_000, "last_refresh": "2026-07-20T10:00:00.123456Z"
            })
        };
        let rows: Vec<Value> = (0..entries).map(entry).collect();
        let home = Self { folder: TempDir::new().expect("a folder") };
        home.write(&json!({ "version": 1, "providers": {}, "credential_pool": { "xai-oauth": rows } }));
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Written as long ago as a real one: what changed within two seconds is not trusted by its time stamp.
    fn write(&self, vault: &Value) {
        let path = self.path("auth.json");
        fs::write(&path, serde_json::to_string_pretty(vault).expect("json")).expect("written");
        std::thread::sleep(std::time::Duration::from_millis(2_100));
    }

    fn storage(&self) -> FileStorage {
        FileStorage::open(self.path("auth.json")).with_profiles(self.path("providers.json"))
    }

    fn keeper(&self, warm_instances: usize) -> Keeper {
        let builder =
            Keeper::builder().storage(self.storage()).allow_loopback_http(true).warm_instances(warm_instances);
        builder.build().expect("a keeper")
    }
}

fn lazaretto(vault: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lazaretto"));
    command.arg("--vault").arg(vault).args(["token", "xai-oauth"]);
    command
}

#[allow(unsafe_code, reason = "the standard library does not tell what a child used")]
fn peak_memory_of_a_cold_token() -> String {
    let home = Home::new(10);
    let output = lazaretto(&home.path("auth.json")).output().expect("it runs");
    assert_eq!(output.stdout, b"at-0\n");
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the pointer is to a rusage of our own, which all zeroes is a valid value of.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_CHILDREN, usage.as_mut_ptr());
        usage.assume_init()
    };
    format!("{} KiB resident at its peak (lazaretto token)", usage.ru_maxrss)
}

/// `lazaretto token` on a fresh token, as a whole process.
#[divan::bench(sample_count = 50)]
fn cold_token_process(bencher: Bencher<'_, '_>) {
    let home = Home::new(10);
    let vault = home.path("auth.json");
    bencher.bench_local(|| lazaretto(&vault).output().expect("it runs").stdout.len());
}

/// The same process doing nothing: what starting one costs.
#[divan::bench(sample_count = 50)]
fn cold_version_process(bencher: Bencher<'_, '_>) {
    bencher.bench_local(|| {
        Command::new(env!("CARGO_BIN_EXE_lazaretto")).arg("--version").output().expect("it runs").stdout.len()
    });
}

/// `token()` in a warm instance, on a vault that has not changed.
#[divan::bench(args = [1, 10, 100, 1000])]
fn warm_token(bencher: Bencher<'_, '_>, entries: usize) {
    let home = Home::new(entries);
    let keeper = home.keeper(1);
    let request = TokenRequest::new(VAULT, "xai-oauth");
    bencher.bench_local(|| keeper.token(&request).expect("a token"));
}

/// `token()` in an instance of its own, as is the default.
#[divan::bench(args = [1, 10, 100, 1000])]
fn token_in_a_new_instance(bencher: Bencher<'_, '_>, entries: usize) {
    let home = Home::new(entries);
    let keeper = home.keeper(0);
    let request = TokenRequest::new(VAULT, "xai-oauth");
    bencher.bench_local(|| keeper.token(&request).expect("a token"));
}

/// Loading the component that the build compiled: engine, code, linker.
#[divan::bench]
fn load(bencher: Bencher<'_, '_>) {
    let home = Home::new(1);
    bencher.bench_local(|| home.keeper(0));
}

/// An instance, and the smallest call.
#[divan::bench]
fn instantiate_and_classify(bencher: Bencher<'_, '_>) {
    let (home, answer) = (Home::new(1), refusal());
    let keeper = home.keeper(0);
    bencher.bench_local(|| keeper.classify(&answer, 1_784_541_600).expect("a judgement"));
}

/// The same call in a warm instance.
#[divan::bench]
fn classify_warm(bencher: Bencher<'_, '_>) {
    let (home, answer) = (Home::new(1), refusal());
    let keeper = home.keeper(1);
    bencher.bench_local(|| keeper.classify(&answer, 1_784_541_600).expect("a judgement"));
}

/// One judgement of a body of 2 KB, natively: what the classifier itself costs. A refusal as Entra writes them, a message without
/// a code, a success, and a page.
#[divan::bench(args = ["refusal", "message", "success", "page"])]
fn classify_2_kb_natively(bencher: Bencher<'_, '_>, body: &str) {
    use lazaretto::classify::{Answer, classify};
    let filler = "Trace ID and correlation of the request that was refused. ".repeat(32);
    let (status, kind, body) = match body {
        "refusal" => (400, "application/json", json!({ "error": "invalid_grant", "error_description": format!("AADSTS700082: The refresh token has expired due to inactivity. {filler}"), "error_codes": [700_082] }).to_string()),
        "message" => (401, "application/json", json!({ "message": format!("Something that is no word of ours. {filler}"), "status": 401 }).to_string()),
        "success" => (200, "application/json", json!({ "access_token": "x".repeat(1_500), "refresh_token": "y".repeat(300), "expires_in": 3_600, "token_type": "Bearer" }).to_string()),
        _ => (403, "text/html", format!("<!DOCTYPE html><html><body>{filler}</body></html>")),
    };
    let catalog = lazaretto::provider::Catalog::new(None).expect("the built-in profiles");
    let rules = catalog.profile("microsoft-entra").expect("a good profile").expect("it is there").rules;
    let headers = [("content-type".to_owned(), kind.to_owned())];
    let answer = Answer {
        status: Some(status),
        headers: &headers,
        body: &body,
        body_complete: true,
        body_lossy: false,
        transport_error: None,
    };
    bencher.bench_local(|| classify(&rules, &answer, 1_784_541_600));
}

fn refusal() -> Answer {
    Answer {
        provider: "xai-oauth".into(),
        status: Some(400),
        headers: vec![("content-type".into(), "application/json".into())],
        body: r#"{"error":"invalid_grant","error_description":"Refresh token not found or invalid"}"#.into(),
        ..Answer::default()
    }
}

/// What a build without ahead-of-time compilation would pay at every start.
#[cfg(feature = "compiler")]
#[divan::bench(sample_count = 10)]
fn compile(bencher: Bencher<'_, '_>) {
    let mut config = wasmtime::Config::new();
    config.wasm_component_model(true).epoch_interruption(true);
    let engine = wasmtime::Engine::new(&config).expect("an engine");
    bencher.bench_local(|| {
        wasmtime::component::Component::new(&engine, lazaretto_host::COMPONENT_WASM).expect("a component")
    });
}

/// A server that answers at once, and a vault with one login at it.
fn home_with_a_login() -> (TokenServer, Home) {
    let server = TokenServer::start(Behaviour { rotate: Rotation::RevokeFamilyOnReuse, ..Behaviour::default() })
        .expect("a port");
    let home = Home::new(1);
    let login = server.login("acme-client");
    let profiles =
        json!({ "profiles": { "acme": { "token_endpoint": server.token_endpoint(), "client_id": "acme-client" } } });
    fs::write(home.path("providers.json"), profiles.to_string()).expect("written");
    home.write(&json!({ "providers": { "acme": { "tokens": { "access_token": login.access_token, "refresh_token": login.refresh_token } } } }));
    (server, home)
}

/// One refresh that rotates, against a server on loopback, every durable write included.
#[divan::bench(sample_count = 50)]
fn refresh(bencher: Bencher<'_, '_>) {
    let (_server, home) = home_with_a_login();
    let keeper = home.keeper(1);
    let request = TokenRequest::new(VAULT, "acme");
    bencher.bench_local(|| keeper.refresh(&request).expect("refreshed"));
}

/// A refresh less a bare exchange with the same server, beside two bare replaces of files of the same sizes in the same folder. They
/// take turns, so that a busy machine is as slow for each. The ledger knows of `spent` tokens, and of six more before it is put back.
fn cost_of_writing(spent: usize) -> String {
    const ROUNDS: usize = 60;
    const PUT_BACK_EVERY: usize = 7;
    let (server, home) = home_with_a_login();
    let keeper = home.keeper(1);
    let request = TokenRequest::new(VAULT, "acme");
    keeper.refresh(&request).expect("refreshed");
    let ledger = ledger_that_knows(spent, &home.storage());
    let (mut bare_token, mut requests) = (server.login("acme-client").refresh_token, 0);
    let (mut refreshes, mut exchanges, mut replaces) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0.. {
        let is_put_back = round % PUT_BACK_EVERY == 0;
        if is_put_back {
            bare_replace(&home.path("auth.json.lazaretto"), ledger.as_bytes());
        }
        let before = server.requests();
        let refresh = timed(|| keeper.refresh(&request).map(drop).expect("refreshed"));
        requests = requests.max(server.requests() - before);
        let exchange = timed(|| bare_token = bare_exchange(&server, &bare_token));
        let texts = ["auth.json", "auth.json.lazaretto"].map(|name| fs::read(home.path(name)).expect("there"));
        let replace = timed(|| texts.iter().for_each(|text| bare_replace(&home.path("bare"), text)));
        if refreshes.len() == ROUNDS {
            break;
        }
        // The first after a ledger that somebody replaced has more to do.
        if !is_put_back {
            refreshes.push(refresh);
            exchanges.push(exchange);
            replaces.push(replace);
        }
    }
    let [refresh, exchange, replace] = [refreshes, exchanges, replaces].map(median_ms);
    let overhead = refresh - exchange;
    format!(
        "a ledger of {spent} spent tokens, {} KiB, median of {ROUNDS}: a refresh {refresh:.2} ms, with {requests} request; a bare \
         exchange {exchange:.2} ms\n  so beyond the network {overhead:.2} ms; two bare synced replaces {replace:.2} ms; ratio {:.2} (aim: at most 1.5)",
        ledger.len() / 1024,
        overhead / replace
    )
}

/// A ledger as a first refresh left it, with more tokens of other lineages.
fn ledger_that_knows(spent: usize, storage: &FileStorage) -> String {
    let Ok(LoadOutcome::Loaded(ledger)) = storage.load("vault.lazaretto", None) else { panic!("no ledger") };
    let mut ledger: Value = serde_json::from_str(&ledger.text).expect("json");
    let tokens = ledger["tokens"].as_object_mut().expect("tokens");
    let record = tokens.values().find(|record| record["state"] == "spent").expect("a spent token").clone();
    for n in tokens.len()..=spent {
        tokens.insert(format!("{n:032x}"), record.clone());
    }
    serde_json::to_string(&ledger).expect("json")
}

fn timed(work: impl FnOnce()) -> Duration {
    let started = Instant::now();
    work();
    started.elapsed()
}

fn median_ms(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1_000.0
}

/// One refresh grant over a connection of its own, without any client. Gives the successor.
fn bare_exchange(server: &TokenServer, refresh_token: &str) -> String {
    let body = format!("grant_type=refresh_token&refresh_token={refresh_token}&client_id=acme-client");
    let (endpoint, origin) = (server.token_endpoint(), server.origin());
    let path = endpoint.strip_prefix(&origin).expect("an endpoint of the server");
    let mut stream = TcpStream::connect(server.address()).expect("connected");
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{body}",
        server.address(),
        body.len()
    )
    .expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("answered");
    let body = answer.split_once("\r\n\r\n").expect("a body").1;
    let body: Value = serde_json::from_str(body).expect("json");
    body["refresh_token"].as_str().expect("a successor").to_owned()
}

/// What any program does that wants a file to survive: written beside, synced, renamed, and the folder synced.
fn bare_replace(path: &Path, text: &[u8]) {
    let (temp, folder) = (path.with_extension("bare-temp"), path.parent().expect("a folder"));
    let mut file = fs::File::create(&temp).expect("made");
    file.write_all(text).expect("written");
    file.sync_all().expect("synced");
    fs::rename(&temp, path).expect("renamed");
    fs::File::open(folder).expect("a folder").sync_all().expect("synced");
}

/// Beside the refresh: two bare replaces of a file of the same size, each synced with its folder.
#[divan::bench(sample_count = 50)]
fn two_synced_replaces(bencher: Bencher<'_, '_>) {
    let folder = TempDir::new().expect("a folder");
    let text = vec![b'x'; 1_000];
    bencher.bench_local(|| (0..2).for_each(|_| bare_replace(&folder.path().join("file"), &text)));
}
