//! The same component from Rust, C, Node and Python, in one run on one machine: a token that is good, a refresh, a process that prints one
//! token. Run with `cargo bench --bench languages`, after `cargo test -p lazaretto --test conformance` has built the bindings.
//!
//! Each binding measures itself, with its own clock and in its own process. What is not there is left out. The machines are shared and
//! noisy: compare what stands in one line. Nothing is asserted.

#[path = "../../tests/conformance/server.rs"]
#[allow(dead_code, unreachable_pub, clippy::expect_used, reason = "each file uses its own part")]
mod server;

use std::collections::BTreeMap;
use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use lazaretto_host::storage::{FileStorage, VAULT};
use lazaretto_host::{Keeper, TokenRequest};
use serde_json::{Value, json};
use server::{Answer, Server};
use tempfile::TempDir;

/// Microseconds, by what was measured.
type Figures = BTreeMap<&'static str, f64>;

const ROWS: [(&str, &str); 5] = [
    ("warm", "token(), a new instance each"),
    ("kept", "token(), instances are kept"),
    ("open", "open, and token()"),
    ("refresh", "a refresh"),
    ("cold", "a process that prints one token"),
];
const REFRESHES: usize = 50;

fn main() {
    // `cargo test --benches` only wants to know that it builds.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let home = Home::new();
    // A stat proves a file unchanged once its stamps are older than two seconds.
    std::thread::sleep(std::time::Duration::from_millis(2_100));
    let columns = [("Rust", rust(&home)), ("C", c(&home)), ("Node", node(&home)), ("Python", python(&home))];
    print!("{:<36}", "medians");
    for (name, _) in &columns {
        print!("{name:>12}");
    }
    println!();
    for (row, what) in ROWS {
        print!("{what:<36}");
        for (_, figures) in &columns {
            let shown = figures.get(row).map_or_else(|| "-".to_owned(), |us| spelled(*us));
            print!("{shown:>12}");
        }
        println!();
    }
}

fn spelled(us: f64) -> String {
    if us < 1_000.0 { format!("{us:.1} us") } else { format!("{:.2} ms", us / 1e3) }
}

/// A home with a good login, a login to refresh, and a server that rotates whatever it is sent.
struct Home {
    folder: TempDir,
    server: Server,
}

impl Home {
    fn new() -> Self {
        let home = Self { folder: TempDir::new().expect("a folder"), server: Server::start() };
        let answer = |number: u32| Answer {
            before: None,
            json: json!({ "status": 200, "body": {
                "access_token": format!("at-{number}"), "refresh_token": format!("rt-{number}"), "expires_in": 3600 } }),
        };
        home.server.expect((0..2_000).map(answer).collect(), None);
        fs::create_dir(home.path(".hermes")).expect("made");
        let profile = json!({ "token_endpoint": home.server.token_endpoint(), "client_id": "acme-client" });
        let profiles = json!({ "profiles": { "acme": profile } });
        fs::write(home.path("providers.json"), profiles.to_string()).expect("written");
        let login = |expires_in: u64| {
            json!({ "tokens": { "access_token": "at-0", "refresh_token": "rt-0", "expires_in": expires_in },
                "last_refresh": "2020-01-01T00:00:00Z" })
        };
        let vault = json!({ "providers": { "xai-oauth": login(10_000_000_000) } });
        fs::write(home.path(".hermes/auth.json"), vault.to_string()).expect("written");
        let vault = json!({ "providers": { "acme": login(60) } });
        fs::write(home.path("refresh.json"), vault.to_string()).expect("written");
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn median(rounds: usize, mut work: impl FnMut()) -> f64 {
    let mut times: Vec<f64> = (0..rounds)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[rounds / 2]
}

/// The median time of a process that ends well. None: it does not run.
fn process(mut command: impl FnMut() -> Command) -> Option<f64> {
    let mut run =
        || command().stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success());
    run().then(|| median(15, || assert!(black_box(run()))))
}

/// The line of JSON that a binding prints of itself.
fn measured(command: &mut Command) -> Option<Value> {
    let output = command.stderr(Stdio::inherit()).output().ok().filter(|output| output.status.success())?;
    serde_json::from_slice(&output.stdout).ok()
}

/// Those of the figures that are there, by our names for them.
fn figures(measured: Option<Value>, names: &[(&'static str, &str)], cold: Option<f64>) -> Figures {
    let found = |name: &str| measured.as_ref().and_then(|measured| measured[name].as_f64());
    let mut figures: Figures = names.iter().filter_map(|(ours, theirs)| Some((*ours, found(theirs)?))).collect();
    figures.extend(cold.map(|us| ("cold", us)));
    figures
}

fn rust(home: &Home) -> Figures {
    let open = |warm| {
        let storage = FileStorage::open(home.path(".hermes/auth.json"));
        Keeper::builder().storage(storage).warm_instances(warm).build().expect("it opens")
    };
    let request = TokenRequest::new(VAULT, "xai-oauth");
    let mut figures = Figures::new();
    for (row, keeper) in [("warm", open(0)), ("kept", open(1))] {
        let _ = keeper.token(&request);
        figures.insert(row, median(2_000, || drop(black_box(keeper.token(&request)))));
    }
    figures.insert("open", median(200, || drop(black_box(open(0).token(&request)))));
    let storage = FileStorage::open(home.path("refresh.json")).with_profiles(home.path("providers.json"));
    let keeper = Keeper::builder().storage(storage).allow_loopback_http(true).build().expect("it opens");
    let request = TokenRequest::new(VAULT, "acme");
    figures.insert("refresh", median(REFRESHES, || drop(keeper.refresh(&request).expect("refreshed"))));
    let vault = home.path(".hermes/auth.json");
    let cold = process(|| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lazaretto"));
        command.arg("--vault").arg(&vault).args(["token", "xai-oauth"]);
        command
    });
    figures.extend(cold.map(|us| ("cold", us)));
    figures
}

fn c(home: &Home) -> Figures {
    let root = repository("ffi");
    let built =
        Command::new(env!("CARGO")).args(["build", "--release", "--quiet", "--package", "lazaretto-ffi"]).status();
    if !built.is_ok_and(|status| status.success()) {
        return Figures::new();
    }
    let library = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("a target").join("release");
    let program = |name: &str| {
        let program = home.path(name);
        let mut build = Command::new("cc");
        build.arg("-O2").arg("-I").arg(root.join("include")).arg(root.join("examples").join(format!("{name}.c")));
        build.arg("-L").arg(&library).arg("-llazaretto_ffi").arg(format!("-Wl,-rpath,{}", library.display()));
        build.args(["-pthread", "-o"]).arg(&program);
        let built = build.status().is_ok_and(|status| status.success());
        built.then_some(program)
    };
    let (Some(bench), Some(token)) = (program("bench"), program("token")) else { return Figures::new() };
    let vault = home.path(".hermes/auth.json");
    let of_a_token = |options: Value| {
        let mut command = Command::new(&bench);
        measured(command.arg(options.to_string()).args(["xai-oauth", "2000"]))
    };
    let mut all = figures(
        of_a_token(json!({ "vault": vault })),
        &[("warm", "token_warm_us"), ("open", "open_and_token_us")],
        process(|| {
            let mut command = Command::new(&token);
            command.arg("xai-oauth").env("HOME", home.folder.path());
            command
        }),
    );
    all.extend(figures(of_a_token(json!({ "vault": vault, "warm_instances": 1 })), &[("kept", "token_warm_us")], None));
    let options = json!({
        "vault": home.path("refresh.json"), "providers": home.path("providers.json"), "allow_loopback_http": true,
    });
    let mut command = Command::new(&bench);
    let refreshing = measured(command.arg(options.to_string()).args(["acme", "1", &REFRESHES.to_string()]));
    all.extend(figures(refreshing, &[("refresh", "refresh_us")], None));
    all
}

fn node(home: &Home) -> Figures {
    let bench = repository("bindings/node/bench.mjs");
    let endpoint = home.server.token_endpoint();
    let origin = endpoint.trim_end_matches("/token");
    let vault = home.path(".hermes/auth.json");
    figures(
        measured(Command::new("node").arg(&bench).args(["--refresh", origin])),
        &[("warm", "token_us"), ("kept", "token_warm_instance_us"), ("refresh", "refresh_us")],
        process(|| {
            let mut command = Command::new("node");
            command.arg(&bench).arg("--once").arg(&vault);
            command
        }),
    )
}

fn python(home: &Home) -> Figures {
    let folder = repository("bindings/python");
    // Where the conformance tests have put what it needs.
    let environments =
        fs::read_dir(env!("CARGO_TARGET_TMPDIR")).into_iter().flatten().flatten().map(|entry| entry.path());
    let python = environments.map(|folder| folder.join("venv/bin/python")).find(|python| {
        python.display().to_string().contains("python-environment-")
            && Command::new(python).args(["-c", "import wasmtime"]).status().is_ok_and(|status| status.success())
    });
    let Some(python) = python else { return Figures::new() };
    let once = "import sys; sys.path.insert(0, sys.argv[2]); from lazaretto import Keeper; print(Keeper(sys.argv[1]).token('xai-oauth').token)";
    let vault = home.path(".hermes/auth.json");
    figures(
        measured(Command::new(&python).arg(folder.join("bench.py")).args(["--refresh", &home.server.token_endpoint()])),
        &[("warm", "token_warm_us"), ("open", "open_and_token_us"), ("refresh", "refresh_us")],
        process(|| {
            let mut command = Command::new(&python);
            command.args(["-c", once]).arg(&vault).arg(&folder);
            command
        }),
    )
}
