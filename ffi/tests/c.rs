//! C programs, built with the system's compiler against the library that cargo has just built, and
//! run: with a server on loopback, and where there is a valgrind, under it.

#![cfg(unix)]

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use lazaretto_testing::demo_server::{Behaviour, Fault, TokenServer};
#[cfg(target_os = "linux")]
use lazaretto_testing::times_in_memory;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A vault, a profile and a server of its own, and programs.
struct Home {
    folder: TempDir,
    server: TokenServer,
}

impl Home {
    fn new() -> Self {
        let server = TokenServer::start(Behaviour::default()).expect("a port");
        let home = Self { folder: TempDir::new().expect("a folder"), server };
        let profile = json!({ "token_endpoint": home.server.token_endpoint(), "client_id": "acme-client" });
        fs::write(home.path("providers.json"), json!({ "profiles": { "acme": profile } }).to_string())
            .expect("written");
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A vault with one login.
    fn write(&self, path: &Path, provider: &str, access_token: &str, refresh_token: &str, expires_in: u64) {
        let tokens = json!({ "access_token": access_token, "refresh_token": refresh_token, "expires_in": expires_in });
        let vault = json!({ "providers": { provider: { "tokens": tokens, "last_refresh": "2020-01-01T00:00:00Z" } } });
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, vault.to_string()).expect("written");
    }

    fn with_expired_login() -> Self {
        let home = Self::new();
        let login = home.server.login("acme-client");
        home.write(&home.path("auth.json"), "acme", "at-old", &login.refresh_token, 60);
        home
    }

    fn options(&self) -> Value {
        json!({ "vault": self.path("auth.json"), "providers": self.path("providers.json"), "allow_loopback_http": true })
    }

    /// Builds a program.
    fn cc(&self, source: &Path, flags: &[&str]) -> PathBuf {
        let library = library();
        let program = self.path(&source.file_stem().expect("a name").to_string_lossy());
        let mut rpath = std::ffi::OsString::from("-Wl,-rpath,");
        rpath.push(&library);
        let built = Command::new(compiler())
            .args(["-Wall", "-Wextra", "-Werror", "-g"])
            .args(flags)
            .arg("-I")
            .arg(here().join("include"))
            .arg(source)
            .arg("-L")
            .arg(&library)
            .args([OsStr::new("-llazaretto_ffi"), &rpath, OsStr::new("-pthread"), OsStr::new("-o")])
            .arg(&program)
            .output()
            .expect("there is a C compiler");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        program
    }

    /// Returns the answers of the driver.
    fn drive(&self, options: &Value, calls: &[Value]) -> Vec<Value> {
        let lines: Vec<String> = [options].into_iter().chain(calls).map(Value::to_string).collect();
        let driver = self.cc(&here().join("examples/driver.c"), &["-std=c99", "-pedantic"]);
        let ran = run(Command::new(driver), &(lines.join("\n") + "\n"));
        assert!(ran.status.success(), "{ran:?}");
        let answers: Vec<Value> =
            text(&ran.stdout).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!(answers.len(), calls.len());
        answers
    }
}

fn compiler() -> std::ffi::OsString {
    env::var_os("CC").unwrap_or_else(|| "cc".into())
}

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns where cargo has put the library: beside the tests.
fn library() -> PathBuf {
    let tests = env::current_exe().expect("a test").parent().expect("a folder").to_owned();
    let name = if cfg!(target_os = "macos") { "liblazaretto_ffi.dylib" } else { "liblazaretto_ffi.so" };
    assert!(tests.join(name).is_file(), "no {name} in {}", tests.display());
    tests
}

fn started(mut command: Command) -> Child {
    // Cargo's own would lead to a library that an earlier build has left.
    command.env_remove("LD_LIBRARY_PATH").env_remove("DYLD_FALLBACK_LIBRARY_PATH");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs")
}

fn run(command: Command, input: &str) -> Output {
    let mut child = started(command);
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("written");
    child.wait_with_output().expect("it ends")
}

fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).expect("text")
}

#[test]
fn the_header_is_c90() {
    let home = Home::new();
    let source =
        "#include <lazaretto.h>\n#include <lazaretto.h>\nint main(void) { return lazaretto_version() == 0; }\n";
    fs::write(home.path("old.c"), source).expect("written");
    let program = home.cc(&home.path("old.c"), &["-ansi", "-pedantic"]);
    assert!(Command::new(program).status().expect("it runs").success());
}

#[test]
fn an_error_has_the_command_that_helps_as_the_embedder_says_it() {
    let home = Home::new();
    fs::write(home.path("auth.json"), r#"{"providers":{}}"#).expect("written");
    let call = json!({ "call": "token", "provider": "xai-oauth" });
    let with = |more: Value| {
        let mut options = home.options();
        options.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        home.drive(&options, std::slice::from_ref(&call))[0]["error"]["run"].clone()
    };
    let (vault, providers) = (home.path("auth.json"), home.path("providers.json"));
    let ours = format!("lazaretto --vault {} --providers {} login xai-oauth", vault.display(), providers.display());
    assert_eq!(with(json!({})), json!(ours));
    assert_eq!(with(json!({ "command": "acme auth" })), json!("acme auth login xai-oauth"));
    assert_eq!(with(json!({ "login_hint": "acme login {provider}" })), json!("acme login xai-oauth"));
}

/// An expired token is refreshed once and a dead one is never sent again.
#[test]
fn a_token_is_refreshed_once_and_a_dead_one_never_sent() {
    let home = Home::with_expired_login();
    let token = json!({ "call": "token", "provider": "acme", "credential": null, "session": null });
    let answers = home.drive(&home.options(), &[token.clone(), token.clone(), json!({ "call": "status" })]);
    assert_eq!(answers[0]["ok"]["origin"], "refreshed");
    assert_eq!(
        (&answers[1]["ok"]["origin"], &answers[1]["ok"]["token"]),
        (&json!("stored"), &answers[0]["ok"]["token"])
    );
    assert_eq!(answers[2]["ok"][0]["state"], "valid");
    assert_eq!((home.server.requests(), home.server.replays()), (1, 0));

    home.write(&home.path("auth.json"), "acme", "at-old", "rt-dead", 60);
    let answers = home
        .drive(&home.options(), &[token.clone(), token.clone(), json!({ "call": "unquarantine", "provider": "acme" })]);
    for answer in &answers[..2] {
        assert_eq!(answer["error"]["action"], "login", "{answer}");
        assert_eq!(answer["error"]["provider"], "acme");
    }
    assert_eq!(answers[2]["ok"]["state"], "expired");
    assert_eq!(home.server.requests(), 2);
}

/// The program has no handler for SIGXFSZ, and gets none: the write fails, and what was received is
/// sealed.
#[test]
#[cfg(target_os = "linux")]
fn a_vault_beyond_the_file_size_limit_ends_no_program() {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};

    let home = Home::with_expired_login();
    let mut vault: Value = serde_json::from_slice(&fs::read(home.path("auth.json")).expect("read")).expect("JSON");
    vault["notes"] = "x".repeat(64 * 1024).into();
    fs::write(home.path("auth.json"), vault.to_string()).expect("written");
    home.server.fault([Fault::Held]);
    let driver = home.cc(&here().join("examples/driver.c"), &["-std=c99", "-pedantic"]);
    let mut child = started(Command::new(driver));
    let token = json!({ "call": "token", "provider": "acme", "credential": null, "session": null });
    let mut input = child.stdin.take().expect("a pipe");
    input.write_all(format!("{}\n{token}\n", home.options()).as_bytes()).expect("written");
    drop(input);
    // While the answer is on its way, so that nothing before it fails.
    assert!(home.server.wait_for_requests(1, Duration::from_secs(60)));
    let limit = Rlimit { current: Some(16 * 1024), maximum: None };
    prlimit(Some(Pid::from_child(&child)), Resource::Fsize, limit).expect("limited");
    home.server.let_go();
    let ended = child.wait_with_output().expect("it ends");
    assert!(ended.status.success(), "{ended:?}");
    let answers = home.drive(&home.options(), &[token, json!({ "call": "refresh", "provider": "acme" })]);
    assert!(answers.iter().all(|answer| answer["ok"]["token"].is_string()), "{answers:?}");
    assert_eq!(home.server.replays(), 0);
    let vault: Value = serde_json::from_slice(&fs::read(home.path("auth.json")).expect("read")).expect("JSON");
    let stored = vault["providers"]["acme"]["tokens"]["refresh_token"].as_str().expect("a token");
    assert!(home.server.is_live(stored));
}

/// A keeper that is open and has refreshed: no refresh token is left in its process, not even
/// another login's of the same vault.
#[test]
#[cfg(target_os = "linux")]
fn after_a_refresh_no_refresh_token_is_left_in_memory() {
    use std::io::{BufRead, BufReader};

    let home = Home::with_expired_login();
    let mut vault: Value = serde_json::from_slice(&fs::read(home.path("auth.json")).expect("read")).expect("JSON");
    let spent = vault["providers"]["acme"]["tokens"]["refresh_token"].as_str().expect("a token").to_owned();
    let other = "rt-of-another-login-0123456789";
    vault["providers"]["other"] = json!({ "tokens": { "access_token": "at", "refresh_token": other } });
    fs::write(home.path("auth.json"), vault.to_string()).expect("written");
    let driver = home.cc(&here().join("examples/driver.c"), &["-std=c99", "-pedantic"]);
    let mut child = started(Command::new(driver));
    let mut input = child.stdin.take().expect("a pipe");
    let token = json!({ "call": "token", "provider": "acme", "credential": null, "session": null });
    input.write_all(format!("{}\n{token}\n", home.options()).as_bytes()).expect("written");
    let mut answer = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut answer).expect("answered");
    assert!(answer.contains("refreshed"), "{answer}");
    let vault: Value = serde_json::from_slice(&fs::read(home.path("auth.json")).expect("read")).expect("JSON");
    let stored = vault["providers"]["acme"]["tokens"]["refresh_token"].as_str().expect("a token");
    let path = home.path("auth.json").display().to_string();
    assert!(times_in_memory(child.id(), &path).expect("a process of ours") > 0, "what is in memory is found");
    for secret in [spent.as_str(), stored, other] {
        assert_eq!(times_in_memory(child.id(), secret).expect("a process of ours"), 0, "{secret}");
    }
    drop(input);
    assert!(child.wait().expect("it ends").success());
}

#[test]
fn every_call_is_there() {
    let home = Home::with_expired_login();
    let calls = [
        json!({ "call": "refresh", "provider": "acme", "refused_access_token": "at-old", "min_valid_s": null }),
        json!({ "call": "report", "provider": "acme", "access_token": "at-none", "status": 401, "headers": [["a", "b"]], "body": "" }),
        json!({ "call": "reset", "provider": "acme" }),
        json!({ "call": "end_use", "provider": "acme" }),
        json!({ "call": "origins" }),
        json!({ "call": "classify", "now_s": 1_700_000_000, "answer": { "provider": "acme", "status": 400, "body_lossy": false,
            "headers": [["content-type", "application/json"]], "body": "{\"error\":\"invalid_grant\"}", "body_complete": true } }),
        json!({ "call": "token", "provider": "acme", "vault": "../auth" }),
        json!({ "call": "save_unsaved", "unsaved": "{}" }),
    ];
    let answers = home.drive(&home.options(), &calls);
    assert_eq!(answers[0]["ok"]["origin"], "refreshed");
    assert_eq!(answers[1]["ok"]["advice"], "use");
    assert_eq!(answers[2]["error"]["code"], "nothing-to-do");
    assert_eq!(answers[3]["error"]["code"], "nothing-to-do");
    let origins = answers[4]["ok"].as_array().expect("a list");
    assert!(origins.contains(&json!(home.server.origin())), "{origins:?}");
    assert_eq!(
        (&answers[5]["ok"]["verdict"], &answers[5]["ok"]["code"]),
        (&json!("terminal"), &json!("invalid_grant"))
    );
    assert_eq!(answers[6]["error"]["code"], "bad-request");
    assert_eq!(answers[7]["error"]["action"], "usage");
}

#[test]
fn what_cannot_be_opened_answers_every_call_with_why() {
    let home = Home::new();
    let answers = home.drive(&json!({ "vault": 7 }), &[json!({ "call": "origins" }), json!({ "call": "status" })]);
    assert_eq!(answers[0]["error"]["code"], "bad-request");
    assert_eq!(answers[0], answers[1]);
}

/// The example and the readme's snippet print a token or what to do.
#[test]
fn example_and_readme_print_a_token_or_what_to_do() {
    let home = Home::new();
    let readme = fs::read_to_string(here().join("README.md")).expect("a readme");
    let snippet = readme.split("```c\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a snippet");
    fs::write(home.path("snippet.c"), snippet).expect("written");
    for (source, printed) in [
        (here().join("examples/token.c"), "Bearer at-good\n"),
        (home.path("snippet.c"), "Authorization: Bearer at-good\n"),
    ] {
        let program = home.cc(&source, &["-std=c99", "-pedantic"]);
        let started = || {
            let mut command = Command::new(&program);
            command.env("HOME", home.folder.path());
            run(command, "")
        };
        let vault = home.path(".hermes/auth.json");
        home.write(&vault, "xai-oauth", "at-good", "rt-good", 10_000_000_000);
        let ran = started();
        assert_eq!((ran.status.code(), text(&ran.stdout)), (Some(0), printed), "{}", text(&ran.stderr));
        fs::remove_file(vault).expect("removed");
        let ran = started();
        assert_eq!((ran.status.code(), text(&ran.stdout)), (Some(1), ""));
        assert!(text(&ran.stderr).contains("hermes auth add xai-oauth"), "{}", text(&ran.stderr));
    }
}

#[test]
fn every_wrong_way_to_call_is_an_error_and_no_crash() {
    let home = Home::new();
    home.write(&home.path("auth.json"), "acme", "at-good", "rt-good", 10_000_000_000);
    let program = home.cc(&here().join("tests/misuse.c"), &["-std=c99", "-pedantic"]);
    let mut command = Command::new(&program);
    command.arg(home.options().to_string());
    let ran = run(command, "");
    assert!(ran.status.success(), "{:?}\n{}", ran.status, text(&ran.stderr));
    // A memory error that does no harm here.
    if Command::new("valgrind").arg("--version").output().is_ok() {
        let mut command = Command::new("valgrind");
        command.args(["--quiet", "--error-exitcode=99", "--leak-check=full", "--errors-for-leak-kinds=definite"]);
        command.arg(&program).arg(home.options().to_string());
        let ran = run(command, "");
        assert!(ran.status.success(), "{:?}\n{}", ran.status, text(&ran.stderr));
    }
}

#[test]
fn the_header_is_c_plus_plus_too_and_the_benchmark_measures() {
    let home = Home::with_expired_login();
    let knows_cpp = Command::new(compiler()).args(["-x", "c++", "-E", "-"]).stdin(Stdio::null()).output();
    fs::write(
        home.path("plus.cc"),
        "#include <lazaretto.h>\n#include <lazaretto.h>\nint main() { return lazaretto_version() == nullptr; }\n",
    )
    .expect("written");
    if knows_cpp.is_ok_and(|ran| ran.status.success()) {
        home.cc(&home.path("plus.cc"), &["-x", "c++", "-std=c++11"]);
    }
    let mut command = Command::new(home.cc(&here().join("examples/bench.c"), &["-std=c99", "-pedantic"]));
    command.arg(home.options().to_string()).args(["acme", "3", "2"]);
    let ran = run(command, "");
    let figures: Value = serde_json::from_slice(&ran.stdout).expect("a line of JSON");
    for figure in ["token_warm_us", "open_and_token_us", "refresh_us"] {
        assert!(figures[figure].as_f64().is_some_and(|figure| figure > 0.0), "{figures}");
    }
    assert_eq!(home.server.requests(), 3);
}
