//! What lazaret costs: a cold process, a warm call, loading, and one refresh. Run with `cargo bench`.
//!
//! Compare the figures of one run with each other; the machines are shared and noisy. `--features compiler` adds what
//! compiling ahead of time saves.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use divan::Bencher;
use lazaret_host::demo_server::{Behaviour, Rotation, TokenServer};
use lazaret_host::storage::{FileStorage, VAULT};
use lazaret_host::{Answer, Keeper, TokenRequest};
use serde_json::{Value, json};
use tempfile::TempDir;

fn main() {
    println!("largest child process so far: {}", peak_memory_of_a_cold_token());
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

fn lazaret(vault: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lazaret"));
    command.arg("--vault").arg(vault).args(["token", "xai-oauth"]);
    command
}

#[allow(unsafe_code, reason = "the standard library does not tell what a child used")]
fn peak_memory_of_a_cold_token() -> String {
    let home = Home::new(10);
    let output = lazaret(&home.path("auth.json")).output().expect("it runs");
    assert_eq!(output.stdout, b"at-0\n");
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the pointer is to a rusage of our own, which all zeroes is a valid value of.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_CHILDREN, usage.as_mut_ptr());
        usage.assume_init()
    };
    format!("{} KiB resident at its peak (lazaret token)", usage.ru_maxrss)
}

/// `lazaret token` on a fresh token, as a whole process.
#[divan::bench(sample_count = 50)]
fn cold_token_process(bencher: Bencher<'_, '_>) {
    let home = Home::new(10);
    let vault = home.path("auth.json");
    bencher.bench_local(|| lazaret(&vault).output().expect("it runs").stdout.len());
}

/// The same process doing nothing: what starting one costs.
#[divan::bench(sample_count = 50)]
fn cold_version_process(bencher: Bencher<'_, '_>) {
    bencher.bench_local(|| {
        Command::new(env!("CARGO_BIN_EXE_lazaret")).arg("--version").output().expect("it runs").stdout.len()
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
    use lazaret::classify::{Answer, classify};
    let filler = "Trace ID and correlation of the request that was refused. ".repeat(32);
    let (status, kind, body) = match body {
        "refusal" => (400, "application/json", json!({ "error": "invalid_grant", "error_description": format!("AADSTS700082: The refresh token has expired due to inactivity. {filler}"), "error_codes": [700_082] }).to_string()),
        "message" => (401, "application/json", json!({ "message": format!("Something that is no word of ours. {filler}"), "status": 401 }).to_string()),
        "success" => (200, "application/json", json!({ "access_token": "x".repeat(1_500), "refresh_token": "y".repeat(300), "expires_in": 3_600, "token_type": "Bearer" }).to_string()),
        _ => (403, "text/html", format!("<!DOCTYPE html><html><body>{filler}</body></html>")),
    };
    let catalog = lazaret::provider::Catalog::new(None).expect("the built-in profiles");
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
        wasmtime::component::Component::new(&engine, lazaret_host::COMPONENT_WASM).expect("a component")
    });
}

/// One refresh that rotates, against a server on loopback, every durable write included.
#[divan::bench(sample_count = 50)]
fn refresh(bencher: Bencher<'_, '_>) {
    let server = TokenServer::start(Behaviour { rotate: Rotation::RevokeFamilyOnReuse, ..Behaviour::default() })
        .expect("a port");
    let home = Home::new(1);
    let login = server.login("acme-client");
    let profiles =
        json!({ "profiles": { "acme": { "token_endpoint": server.token_endpoint(), "client_id": "acme-client" } } });
    fs::write(home.path("providers.json"), profiles.to_string()).expect("written");
    home.write(&json!({ "providers": { "acme": { "tokens": { "access_token": login.access_token, "refresh_token": login.refresh_token } } } }));
    let keeper = home.keeper(1);
    let request = TokenRequest::new(VAULT, "acme");
    bencher.bench_local(|| keeper.refresh(&request).expect("refreshed"));
}

/// Beside it: two bare replaces of a file of the same size, each synced with its folder.
#[divan::bench(sample_count = 50)]
fn two_synced_replaces(bencher: Bencher<'_, '_>) {
    let folder = TempDir::new().expect("a folder");
    let (temp, path) = (folder.path().join("temp"), folder.path().join("file"));
    let text = vec![b'x'; 1_000];
    bencher.bench_local(|| {
        for _ in 0..2 {
            let mut file = fs::File::create(&temp).expect("made");
            std::io::Write::write_all(&mut file, &text).expect("written");
            file.sync_all().expect("synced");
            fs::rename(&temp, &path).expect("renamed");
            fs::File::open(folder.path()).expect("a folder").sync_all().expect("synced");
        }
    });
}
