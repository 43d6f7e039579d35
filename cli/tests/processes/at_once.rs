//! Many who find the same expired token at the same instant make one request, and all end with the same token. The server counts,
//! and it keeps its answer until everybody else is known to wait.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use crate::home::{Home, Ran};
use crate::oidc::OidcServer;
use lazaretto_host::storage::{FileStorage, VAULT};
use lazaretto_host::{Keeper, TokenRequest};
use lazaretto_testing::demo_server::{Fault, Rotation, TokenServer};
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(60);

trait Server {
    /// The next request is processed at once, and answered when it is let go.
    fn hold(&self);
    fn let_go(&self);
    fn is_live(&self, refresh_token: &str) -> bool;
    /// Requests that were decided.
    fn requests(&self) -> usize;
}

impl Server for TokenServer {
    fn hold(&self) {
        self.fault([Fault::Held]);
    }
    fn let_go(&self) {
        self.let_go();
    }
    fn is_live(&self, refresh_token: &str) -> bool {
        self.is_live(refresh_token)
    }
    fn requests(&self) -> usize {
        self.requests() as usize
    }
}

impl Server for OidcServer {
    fn hold(&self) {
        self.faults(&[("held", 0)]);
    }
    fn let_go(&self) {
        self.let_go();
    }
    fn is_live(&self, refresh_token: &str) -> bool {
        self.is_live(refresh_token)
    }
    fn requests(&self) -> usize {
        self.counted().refresh_requests as usize
    }
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// How many locks of this home's grants a process has open: it holds them, or waits for them.
fn locks_open(process: &str, folder: &Path) -> usize {
    let locks = folder.join("auth.json.lazaretto-locks");
    let open = fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
    let paths = open.filter_map(|file| fs::read_link(file.path()).ok());
    paths.filter(|path| path.parent() == Some(&locks) && path.file_name().is_some_and(|name| name.len() == 2)).count()
}

/// Holds the answer until so many are at the lock.
fn hold_until_all_wait(server: &dyn Server, count: usize, mut at_the_lock: impl FnMut() -> usize) {
    wait_until("a request arrives", || server.requests() > 0);
    if cfg!(target_os = "linux") {
        wait_until("all come to the lock", || at_the_lock() == count);
    }
    server.let_go();
}

fn ten_processes(home: &Home, server: &dyn Server) {
    server.hold();
    // One pipe for all: when it closes, all go on.
    let (held, starting_gun) = io::pipe().expect("a pipe");
    let children: Vec<Child> = (0..10)
        .map(|_| {
            let mut shell = Command::new("sh");
            shell.args(["-c", "read line; exec \"$0\" \"$@\""]).arg(env!("CARGO_BIN_EXE_lazaretto"));
            shell.args(home.command(&["token", "acme"]).get_args());
            shell.stdin(held.try_clone().expect("a descriptor")).stdout(Stdio::piped()).stderr(Stdio::piped());
            shell.spawn().expect("it runs")
        })
        .collect();
    drop(starting_gun);
    hold_until_all_wait(server, 10, || {
        children.iter().map(|child| locks_open(&child.id().to_string(), home.folder.path())).sum()
    });
    let tokens: Vec<String> = children
        .into_iter()
        .map(|child| {
            let ran = Ran::of(child.wait_with_output().expect("it ends"));
            assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
            ran.out
        })
        .collect();
    assert_one_token(home, server, tokens.iter().map(|token| token.trim_end()));
}

fn a_hundred_callers(home: &Home, server: &dyn Server) {
    server.hold();
    let storage = FileStorage::open(home.path("auth.json")).with_profiles(home.path("providers.json"));
    let keeper = Keeper::builder().storage(storage).allow_loopback_http(true).build().expect("a keeper");
    let start = Barrier::new(100);
    let tokens: Vec<String> = thread::scope(|scope| {
        let ask = || {
            start.wait();
            keeper.token(&TokenRequest::new(VAULT, "acme")).expect("a token").token
        };
        let callers: Vec<_> = (0..100).map(|_| scope.spawn(ask)).collect();
        hold_until_all_wait(server, 100, || locks_open("self", home.folder.path()));
        callers.into_iter().map(|caller| caller.join().expect("no panic")).collect()
    });
    assert_one_token(home, server, tokens.iter().map(String::as_str));
}

fn assert_one_token<'a>(home: &Home, server: &dyn Server, mut tokens: impl Iterator<Item = &'a str>) {
    let stored = home.vault()["providers"]["acme"]["tokens"]["access_token"].clone();
    assert!(tokens.all(|token| stored == token) && stored != "at-old", "all have the token that is stored");
    assert!(server.is_live(&home.refresh_token()));
    assert_eq!(server.requests(), 1);
}

fn each_rotation(play: impl Fn(&Home, &dyn Server)) {
    for rotate in [Rotation::RevokeFamilyOnReuse, Rotation::SameToken, Rotation::OmitToken] {
        let home = Home::rotating(rotate);
        play(&home, &home.server);
        assert_eq!(home.server.replays(), 0);
    }
}

fn real_server(play: impl Fn(&Home, &dyn Server)) {
    let Some(server) = OidcServer::start("acme-client") else { return };
    let home = Home::new();
    home.profiles(&json!({ "acme": { "token_endpoint": server.token_endpoint, "client_id": "acme-client" } }));
    home.write(home.vault_with(&server.log_in().refresh_token));
    play(&home, &server);
    assert_eq!(server.counted().replays, 0);
}

/// Ten processes at the same instant on an expired token make one request.
#[test]
fn ten_processes_on_an_expired_token_make_one_request() {
    each_rotation(ten_processes);
}

/// Ten processes at the same instant make one request of a real server.
#[test]
fn ten_processes_make_one_request_of_a_real_server() {
    real_server(ten_processes);
}

#[test]
fn a_hundred_callers_in_one_process_make_one_request() {
    each_rotation(a_hundred_callers);
}

/// A hundred callers in one process make one request of a real server.
#[test]
fn a_hundred_callers_make_one_request_of_a_real_server() {
    real_server(a_hundred_callers);
}
