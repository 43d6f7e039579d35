//! `lazaretto login`, `logout`, `add` and `remove` as a person meets them: what stands on which stream, exit codes, and where secrets are not.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::home::{Home, Ran};
use serde_json::{Value, json};

/// A server for one login: what it was asked, and what it answers to each path, in order, the last one for ever.
struct Stub {
    origin: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Stub {
    fn start(answers: Vec<(&'static str, u16, Value)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let origin = format!("http://{}", listener.local_addr().expect("an address"));
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let (noted, answers) = (asked.clone(), Mutex::new(answers));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                answer(stream, &noted, &answers);
            }
        });
        Self { origin, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no panic").clone()
    }
}

fn answer(mut stream: TcpStream, asked: &Mutex<Vec<String>>, answers: &Mutex<Vec<(&'static str, u16, Value)>>) {
    let mut reader = BufReader::new(stream.try_clone().expect("a handle"));
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("a line");
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a number");
        }
        if line.trim().is_empty() {
            break;
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("a body");
    let path = head.split(' ').nth(1).expect("a path").to_owned();
    asked.lock().expect("no panic").push(format!("{path} {}", String::from_utf8(body).expect("text")));
    let mut answers = answers.lock().expect("no panic");
    let at = answers.iter().position(|(known, ..)| *known == path).expect("a path that is known");
    let (_, status, body) = answers[at].clone();
    if answers.iter().filter(|(known, ..)| *known == path).count() > 1 {
        answers.remove(at);
    }
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 {status} -\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).expect("written");
}

fn home_at(stub: &Stub) -> Home {
    let home = Home::new();
    let url = |path: &str| format!("{}{path}", stub.origin);
    home.profiles(&json!({ "acme": { "token_endpoint": url("/token"), "client_id": "c-1", "authorization": {
        "device_authorization_endpoint": url("/device"), "authorization_endpoint": url("/authorize"), "revocation_endpoint": url("/revoke") } } }));
    home
}

fn tokens() -> Value {
    json!({ "access_token": "at-secret", "refresh_token": "rt-secret", "expires_in": 3600, "token_type": "Bearer" })
}

fn fed(home: &Home, arguments: &[&str], input: &str) -> Ran {
    let mut child = home
        .command(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    // A command that is wrong already may have ended without reading it.
    let written = child.stdin.take().expect("piped").write_all(input.as_bytes());
    assert!(written.is_ok() || written.is_err_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe));
    Ran::of(child.wait_with_output().expect("it ends"))
}

fn begun(home: &Home, arguments: &[&str]) -> (Child, Value) {
    let mut child = home.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().expect("piped")).read_line(&mut line).expect("a line");
    (child, serde_json::from_str(&line).expect("json"))
}

/// A login by device code shows address and code and then says that it is done.
#[test]
fn a_device_login_shows_address_and_code_and_its_success() {
    let device = json!({ "device_code": "dc-secret", "user_code": "AB\u{1b}[31mCD", "verification_uri": "https://acme.example/go", "expires_in": 60, "interval": 1 });
    let pending = json!({ "error": "authorization_pending" });
    let stub = Stub::start(vec![
        ("/device", 200, device),
        ("/token", 400, pending),
        ("/token", 200, tokens()),
        ("/revoke", 200, json!({})),
    ]);
    let home = home_at(&stub);
    let ran = home.run(&["login", "acme"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), "acme (login): logged in\n"), "{ran:?}");
    assert!(
        ran.err.contains("https://acme.example/go") && ran.err.contains("AB") && !ran.err.contains('\u{1b}'),
        "{ran:?}"
    );
    assert!(!ran.err.contains("secret"), "{ran:?}");
    assert_eq!(fs::metadata(home.path("auth.json")).expect("a vault").permissions().mode() & 0o777, 0o600);
    assert_eq!(home.run(&["token", "acme"]).out, "at-secret\n");
    assert_eq!(stub.asked().len(), 3);

    let ran = home.run(&["logout", "acme"]);
    assert_eq!(
        (ran.code, ran.out.as_str()),
        (Some(0), "acme (login): revoked at the server, and removed\n"),
        "{ran:?}"
    );
    assert_eq!(stub.asked()[3], "/revoke client_id=c-1&token=rt-secret&token_type_hint=refresh_token");
    assert!(!home.text().contains("secret"));
    assert_eq!(home.run(&["logout", "acme"]).code, Some(3), "there is nothing to log out of");
}

#[test]
fn a_browser_that_comes_back_logs_in_and_a_stranger_does_not() {
    let stub = Stub::start(vec![("/token", 200, tokens())]);
    let home = home_at(&stub);
    let (child, shown) = begun(&home, &["login", "acme", "--flow", "loopback-pkce", "--json"]);
    let url = shown["login"]["url"].as_str().expect("an address");
    let query = |name: &str| {
        let query = url.split_once('?').expect("a query").1;
        query.split('&').filter_map(|pair| pair.split_once('=')).find(|pair| pair.0 == name).expect("it is there").1
    };
    let redirect = query("redirect_uri").replace("%3A", ":").replace("%2F", "/");
    let address = redirect.strip_prefix("http://").expect("an address").strip_suffix("/callback").expect("its path");
    let visit = |target: &str| {
        let mut stream = TcpStream::connect(address).expect("it listens");
        write!(stream, "GET {target} HTTP/1.1\r\nhost: x\r\n\r\n").expect("sent");
        let mut page = String::new();
        stream.read_to_string(&mut page).expect("a page");
        page
    };
    assert!(visit("/callback?code=stolen&state=guessed").starts_with("HTTP/1.1 400 "));
    assert!(visit("/").starts_with("HTTP/1.1 400 "));
    assert!(stub.asked().is_empty());
    let page = visit(&format!("/callback?code=c-1&state={}", query("state")));
    assert!(page.starts_with("HTTP/1.1 200 ") && page.contains("You are logged in"), "{page}");
    let ran = Ran::of(child.wait_with_output().expect("it ends"));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(stub.asked()[0].contains("code=c-1&") && stub.asked()[0].contains("&code_verifier="));
    assert_eq!(home.refresh_token(), "rt-secret");
}

#[test]
fn what_a_login_fails_for_is_said_with_its_exit_code() {
    let refused = Stub::start(vec![("/device", 401, json!({ "error": "invalid_client" }))]);
    let home = home_at(&refused);
    assert_eq!(home.run(&["login", "acme"]).code, Some(5));
    assert_eq!(home.run(&["login", "xai", "--flow", "loopback-pkce"]).code, Some(5), "its profile describes none");
    assert_eq!(home.run(&["login", "nobody-knows"]).code, Some(5));
    assert_eq!(home.run(&["login", "acme", "--flow", "password"]).code, Some(2));
    assert!(!home.path("auth.json").exists());
    home.write("{");
    assert_eq!(home.run(&["login", "acme"]).code, Some(1));
    assert_eq!((home.text().as_str(), refused.asked().len()), ("{", 1));
}

#[test]
fn a_key_comes_on_standard_input_and_leaves_again() {
    let home = Home::new();
    let ran = fed(&home, &["add", "anthropic", "--label", "wo\u{1b}rk"], "sk-secret\n");
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(!format!("{ran:?}").contains("secret"));
    assert_eq!(fs::metadata(home.path("auth.json")).expect("a vault").permissions().mode() & 0o777, 0o600);
    assert_eq!(home.run(&["token", "anthropic"]).out, "sk-secret\n");
    assert!(!home.run(&["status"]).out.contains('\u{1b}'));
    let again = fed(&home, &["add", "anthropic"], "sk-secret");
    assert!(again.code == Some(2) && !again.err.contains("secret"), "{again:?}");
    let id = home.vault()["credential_pool"]["anthropic"][0]["id"].as_str().expect("an id").to_owned();
    assert_eq!(home.run(&["remove", "anthropic", "--credential", "none-such"]).code, Some(2));
    let ran = home.run(&["remove", "anthropic", "--credential", &id]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{ran:?}");
    assert_eq!(home.vault()["credential_pool"]["anthropic"], json!([]));
}

/// A secret that is typed as an argument or is none is refused and not repeated.
#[test]
fn a_secret_as_argument_is_refused_and_not_repeated() {
    let home = Home::new();
    let typed = home.run(&["add", "anthropic", "sk-secret-secret-secret-secret"]);
    assert!(typed.code == Some(2) && !typed.err.contains("secret-secret"), "{typed:?}");
    for (arguments, input) in [
        (&["add", "anthropic"][..], ""),
        (&["add", "anthropic"], "secret secret"),
        (&["add", "anthropic"], "{\"secret\""),
        (&["add", "anthropic", "--api-key"], "{\"access_token\":\"secret\",\"refresh_token\":\"secret\"}"),
        (&["add", "anthropic", "--api-key", "--oauth"], "secret"),
        (&["add", "anthropic", "--api-key"], "{\"refresh_token\":\"secret\"}"),
    ] {
        let ran = fed(&home, arguments, input);
        assert!(ran.code == Some(2) && !ran.err.contains("secret"), "{ran:?}");
    }
    assert_eq!(fed(&home, &["add", "nobody-knows", "--oauth"], "secret").code, Some(5));
    assert!(!home.path("auth.json").exists());
}

/// What follows `run: ` on standard error.
fn next_step(ran: &Ran) -> &str {
    ran.err.lines().find_map(|line| line.strip_prefix("run: ")).unwrap_or_default()
}

#[test]
fn what_no_time_mends_is_never_exit_4() {
    let stub = Stub::start(vec![("/device", 200, json!({}))]);
    let home = home_at(&stub);
    let vault = home.path("auth.json");
    let providers = home.path("providers.json");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_lazaretto"));
    command.arg("--vault").arg(&vault).arg("--providers").arg(&providers).args(["login", "acme", "--json"]);
    let ran = Ran::of(command.stdin(Stdio::null()).output().expect("it runs"));
    let error: Value = serde_json::from_str(&ran.err).expect("one object");
    assert_eq!((ran.code, &error["error"]["action"]), (Some(5), &json!("configure")), "{ran:?}");
    assert!(stub.asked().is_empty());
}

/// A built in profile without a login blames no file of the users.
#[test]
fn a_profile_without_a_login_blames_no_user_file() {
    let home = Home::new();
    let ran = home.run(&["login", "anthropic"]);
    assert_eq!(ran.code, Some(5), "{ran:?}");
    assert!(!ran.err.contains("providers.json:") && next_step(&ran).ends_with("providers anthropic"), "{ran:?}");
    // Whose client must be one's own is told where to write it.
    let ran = home.run(&["login", "google"]);
    assert!(ran.code == Some(5) && next_step(&ran).ends_with("providers google"), "{ran:?}");
}

/// Of a key nobody logs out and the command that removes it is told.
#[test]
fn logout_of_a_key_names_the_command_that_removes_it() {
    let home = Home::new();
    assert_eq!(fed(&home, &["add", "openrouter"], "sk-secret").code, Some(0));
    let ran = home.run(&["logout", "openrouter"]);
    assert_eq!(ran.code, Some(2), "{ran:?}");
    let run = next_step(&ran);
    assert!(run.contains(" remove openrouter --credential="), "{run}");
    let ran = std::process::Command::new("sh")
        .args(["-c", &run.replacen("lazaretto", env!("CARGO_BIN_EXE_lazaretto"), 1)])
        .output()
        .expect("it runs");
    assert!(ran.status.success(), "{ran:?}");
    assert_eq!(home.vault()["credential_pool"]["openrouter"], json!([]));
}

/// Without a browser here the address is pasted and its state is checked.
#[test]
fn without_a_browser_the_pasted_address_is_checked() {
    let stub = Stub::start(vec![("/token", 200, tokens())]);
    let home = home_at(&stub);
    let mut command = home.command(&["login", "acme", "--flow", "loopback-pkce", "--no-browser", "--json"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    let mut line = String::new();
    let mut out = BufReader::new(child.stdout.take().expect("piped"));
    out.read_line(&mut line).expect("a line");
    let shown: Value = serde_json::from_str(&line).expect("json");
    let url = shown["login"]["url"].as_str().expect("an address").to_owned();
    let query = |name: &str| {
        let query = url.split_once('?').expect("a query").1;
        query.split('&').filter_map(|pair| pair.split_once('=')).find(|pair| pair.0 == name).expect("it is there").1
    };
    let redirect = query("redirect_uri").replace("%3A", ":").replace("%2F", "/");
    let mut input = child.stdin.take().expect("piped");
    writeln!(input, "https://evil.example/?code=c\n{redirect}?code=stolen&state=guessed").expect("written");
    writeln!(input, "  {redirect}?code=c-secret&state={}  ", query("state")).expect("written");
    line.clear();
    out.read_line(&mut line).expect("a line");
    let ran = Ran::of(child.wait_with_output().expect("it ends"));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(line.contains("\"login\"") && !ran.err.contains("c-secret"), "{line} {ran:?}");
    let asked = stub.asked();
    assert!(asked.len() == 1 && asked[0].contains("code=c-secret&"), "{asked:?}");
    assert_eq!(home.refresh_token(), "rt-secret");
}

#[test]
fn a_second_account_is_kept_beside_the_first() {
    let device = json!({ "device_code": "dc", "user_code": "AB", "verification_uri": "https://acme.example/go", "expires_in": 60, "interval": 1 });
    let stub = Stub::start(vec![
        ("/device", 200, device),
        ("/token", 200, tokens()),
        ("/token", 200, json!({ "access_token": "at-2", "refresh_token": "rt-2", "expires_in": 3600 })),
    ]);
    let home = home_at(&stub);
    assert_eq!(home.run(&["login", "acme"]).code, Some(0));
    let ran = home.run(&["login", "acme", "--label", "work"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(home.refresh_token(), "rt-secret");
    assert_eq!(home.run(&["token", "acme", "--credential", "work"]).out, "at-2\n");
}

#[test]
fn an_aws_key_that_is_json_is_added_and_served_as_such() {
    let home = Home::new();
    let keys = |id: &str| format!(r#"{{"AccessKeyId": "{id}", "SecretAccessKey": "s-secret", "SessionToken": "t"}}"#);
    let first = format!(r#"{{ "Version": 1, {}"#, &keys("AKIAIOSFODNN7EXAMPLE")[1..]);
    let ran = fed(&home, &["add", "my-aws", "--api-key"], &first);
    assert!(ran.code == Some(0) && !format!("{ran:?}").contains("secret"), "{ran:?}");
    let served = |home: &Home| -> Value {
        let ran = home.run(&["token", "my-aws", "--format", "aws"]);
        serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
    };
    assert_eq!(served(&home)["SecretAccessKey"], "s-secret");
    // As `aws sts assume-role` prints them, on several lines, in place of the first.
    let role = format!(
        "{{\n    \"Credentials\": {},\n    \"AssumedRoleUser\": {{\"Arn\": \"a b\"}}\n}}\n",
        keys("ASIAIOSFODNN7EXAMPLE")
    );
    let ran = fed(&home, &["add", "my-aws", "--replace"], &role.replace("a b", "ab"));
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(served(&home)["AccessKeyId"], "ASIAIOSFODNN7EXAMPLE");
    assert_eq!(home.vault()["credential_pool"]["my-aws"].as_array().map(Vec::len), Some(1));
}

#[test]
fn what_is_told_of_tokens_and_cannot_be_kept_is_named() {
    let home = Home::new();
    let tokens = r#"{"type":"authorized_user","token":"at-secret","refresh_token":"rt-secret","client_id":"c-1","client_secret":"cs-secret","quota":"q"}"#;
    let ran = fed(&home, &["add", "acme"], tokens);
    assert!(ran.code == Some(5) && ran.err.contains("acme-client") && !ran.err.contains("secret\""), "{ran:?}");
    assert!(!home.path("auth.json").exists());
    let endpoint = home.server.token_endpoint();
    home.profiles(&json!({ "acme": { "token_endpoint": endpoint, "client_id": "c-1", "client_secret": "cs-secret" } }));
    let ran = fed(&home, &["add", "acme"], tokens);
    assert!(ran.code == Some(0) && ran.err.contains("type, quota") && !ran.err.contains("-secret"), "{ran:?}");
    assert!(home.text().contains("rt-secret") && !home.text().contains("cs-secret"));
}
