//! A real authorization server, oidc-provider on Node, which ends with the test that started it: `tests/servers/README.md`.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};

use lazaretto_host::http::{AllowList, Http, HttpRequest, NetworkHttp, Reach};
use lazaretto_testing::demo_server::Login;
use serde_json::{Value, json};

use super::tools;

/// It rotates refresh tokens, and revokes the grant of one that comes back.
pub struct OidcServer {
    process: Child,
    /// Open as long as the server shall run.
    _stdin: ChildStdin,
    pub token_endpoint: String,
    control: String,
    http: NetworkHttp,
}

/// What it counted: `count` in `server.mjs` says what each number is.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Counted {
    pub refresh_requests: u64,
    pub refreshed: u64,
    pub refused: u64,
    pub replays: u64,
    pub revoked_grants: u64,
}

impl OidcServer {
    /// With one public client; none where there is no Node to run it.
    pub fn start(client_id: &str) -> Option<Self> {
        Self::start_with(client_id, 300)
    }

    /// The same, with access tokens that live so long.
    pub fn start_with(client_id: &str, access_ttl_s: u64) -> Option<Self> {
        Self::spawn(client_id, access_ttl_s, &[])
    }

    /// With one client that has a secret, and proves itself by `client_secret_basic` or `client_secret_post`.
    pub fn start_confidential(client_id: &str, secret: &str, auth: &str) -> Option<Self> {
        Self::spawn(client_id, 300, &[("CLIENT_SECRET", secret), ("CLIENT_AUTH", auth)])
    }

    fn spawn(client_id: &str, access_ttl_s: u64, environment: &[(&str, &str)]) -> Option<Self> {
        let folder = install()?;
        let mut process = Command::new("node")
            .arg("server.mjs")
            .current_dir(folder)
            .env("CLIENT_ID", client_id)
            .env("ACCESS_TTL", access_ttl_s.to_string())
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("node");
        let stdin = process.stdin.take().expect("piped");
        let mut line = String::new();
        BufReader::new(process.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
        let ready: Value = serde_json::from_str(&line).expect("the server says where it listens");
        let text = |key: &str| ready[key].as_str().expect("text").to_owned();
        let allow = AllowList::new([text("issuer")], true).expect("an origin");
        Some(Self {
            process,
            _stdin: stdin,
            token_endpoint: text("token_endpoint"),
            control: text("control"),
            http: NetworkHttp::new(allow),
        })
    }

    /// A person logs in.
    pub fn log_in(&self) -> Login {
        let answer = self.ask("POST", "seed", &json!({}));
        let text = |key: &str| answer[key].as_str().expect("a token").to_owned();
        Login {
            access_token: text("access_token"),
            refresh_token: text("refresh_token"),
            expires_in_s: answer["expires_in"].as_u64().expect("a number"),
        }
    }

    /// A person types the code that a device shows, and approves or refuses.
    pub fn approve(&self, user_code: &str, approve: bool) {
        self.ask("POST", "approve", &json!({ "user_code": user_code, "approve": approve }));
    }

    /// A browser opens an address, a person approves or refuses, and the browser is sent here.
    pub fn browse(&self, url: &str, approve: bool) -> String {
        let answer = self.ask("POST", "browse", &json!({ "url": url, "approve": approve }));
        answer["url"].as_str().expect("an address").to_owned()
    }

    /// What a profile says of logging in here.
    pub fn authorization(&self) -> Value {
        let issuer = self.token_endpoint.strip_suffix("/token").expect("its path");
        json!({
            "device_authorization_endpoint": format!("{issuer}/device/auth"),
            "authorization_endpoint": format!("{issuer}/auth"),
            "issuer": issuer,
            "scope": "openid offline_access",
            "parameters": { "prompt": "consent" },
            "revocation_endpoint": format!("{issuer}/token/revocation"),
        })
    }

    /// How many grants were revoked.
    pub fn revoked_grants(&self) -> u64 {
        self.ask("GET", "state", &Value::Null)["revoked_grants"].as_u64().expect("a number")
    }

    /// A person withdraws the grant that a refresh token belongs to.
    pub fn revoke(&self, refresh_token: &str) {
        let answer = self.ask("POST", "revoke", &json!({ "refresh_token": refresh_token }));
        assert_eq!(answer["revoked"], true);
    }

    /// The next `times` requests go wrong.
    pub fn fault(&self, kind: &str, times: u32) {
        self.ask("POST", "fault", &json!({ "kind": kind, "times": times }));
    }

    /// The next request is processed at once, and answered so much later.
    pub fn answer_late(&self, delay_ms: u64) {
        self.ask("POST", "fault", &json!({ "kind": "slow", "delay_ms": delay_ms }));
    }

    /// Each of the next requests meets one of these, after those already waiting: a kind, and milliseconds for `slow`.
    pub fn faults(&self, faults: &[(&str, u64)]) {
        let faults: Vec<Value> =
            faults.iter().map(|(kind, delay_ms)| json!({ "kind": kind, "delay_ms": delay_ms })).collect();
        self.ask("POST", "faults", &json!({ "faults": faults }));
    }

    /// Answers what is held, now and from now on.
    pub fn let_go(&self) {
        self.ask("POST", "let-go", &json!({}));
    }

    /// The exchanges that were decided after the first `seen`: `server.mjs` says what is known of each.
    pub fn exchanges_after(&self, seen: usize) -> Vec<Value> {
        let mut answer = self.ask("POST", "exchanges", &json!({ "from": seen }));
        match answer["exchanges"].take() {
            Value::Array(exchanges) => exchanges,
            other => panic!("no list: {other}"),
        }
    }

    pub fn counted(&self) -> Counted {
        let state = self.ask("GET", "state", &Value::Null);
        let number = |key: &str| state[key].as_u64().expect("a number");
        assert_eq!(number("token_requests"), number("refresh_requests"), "nothing else is ever asked for");
        Counted {
            refresh_requests: number("refresh_requests"),
            refreshed: number("refreshed"),
            refused: number("refused"),
            replays: number("replays"),
            revoked_grants: number("revoked_grants"),
        }
    }

    /// Whether the server would take this refresh token.
    pub fn is_live(&self, refresh_token: &str) -> bool {
        let fingerprint = lazaretto::state::fingerprint::Fingerprint::of(refresh_token);
        let state = self.ask("GET", "state", &Value::Null);
        state["live_refresh_tokens"].as_array().expect("a list").iter().any(|live| live == fingerprint.as_str())
    }

    fn ask(&self, method: &str, what: &str, body: &Value) -> Value {
        let request = HttpRequest {
            method: method.into(),
            url: format!("{}/{what}", self.control),
            headers: Vec::new(),
            body: if body.is_null() { String::new() } else { body.to_string() },
            deadline_ms: 30_000,
            reach: Reach::Any,
        };
        let response = self.http.send(&request).expect("an answer");
        assert_eq!(response.status, 200, "{what}: {}", response.body);
        serde_json::from_str(&response.body).expect("json")
    }
}

impl Drop for OidcServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn install() -> Option<PathBuf> {
    let is_new_enough = "process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)";
    let node = tools::answer(Command::new("node").args(["-e", is_new_enough]));
    let npm = tools::answer(Command::new("npm").arg("--version"));
    if node.and(npm).is_none() {
        tools::skip("Node 20 or newer, with npm");
        return None;
    }
    let recipe =
        ["package.json", "package-lock.json", "server.mjs"].map(|name| tools::source("servers/oidc").join(name));
    Some(tools::installed("oidc", &recipe, "", |folder| {
        tools::run(Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(folder));
    }))
}
