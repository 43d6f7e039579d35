//! A token in other programs' protocols, as those programs ask for it: git itself where git asks, and the words that docker,
//! kubectl and the AWS SDKs exchange with a helper.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use crate::home::{Home, Ran};
use lazaretto_testing::demo_server::Fault;
use serde_json::{Value, json};

const DOCKER: [&str; 6] = ["token", "acme", "--format", "docker", "--for-host", "ghcr.io"];

fn fed(command: &mut Command, input: &str) -> Ran {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    // It may end without reading.
    let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
    Ran::of(child.wait_with_output().expect("it ends"))
}

fn ask(home: &Home, arguments: &[&str], input: &str) -> Ran {
    fed(&mut home.command(arguments), input)
}

fn docker(home: &Home, operation: &str, input: &str) -> Ran {
    ask(home, &[&DOCKER[..], &[operation]].concat(), input)
}

fn access_token(home: &Home) -> String {
    home.vault()["providers"]["acme"]["tokens"]["access_token"].as_str().expect("a token").to_owned()
}

/// What a user writes to git's configuration.
fn git(home: &Home, arguments: &[&str], input: &str) -> Ran {
    git_at(home, "git.example", arguments, input)
}

fn git_at(home: &Home, host: &str, arguments: &[&str], input: &str) -> Ran {
    let quoted = |path: &Path| format!("'{}'", path.display());
    let helper = format!(
        "!{} --vault {} --providers {} --allow-loopback-http token acme --format git-credential --for-host {host}",
        quoted(Path::new(env!("CARGO_BIN_EXE_lazaretto"))),
        quoted(&home.path("auth.json")),
        quoted(&home.path("providers.json")),
    );
    let config = |name: &str, value: &str| {
        let set =
            Command::new("git").args(["config", "--file"]).arg(home.path(".gitconfig")).args([name, value]).status();
        assert!(set.expect("git").success());
    };
    config("credential.helper", &helper);
    let mut command = Command::new("git");
    command.args(arguments).current_dir(home.folder.path()).env_clear();
    command.env("PATH", std::env::var_os("PATH").expect("a path")).env("HOME", home.folder.path());
    command.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_TERMINAL_PROMPT", "0").env("GIT_ASKPASS", "true");
    fed(&mut command, input)
}

const QUESTION: &str = "protocol=https\nhost=git.example\npath=a/b.git\n";

/// Git is given a password and another one after it refused that.
#[test]
fn git_gets_another_password_after_it_refused_one() {
    let home = Home::with_expired_login();
    let filled = git(&home, &["credential", "fill"], QUESTION);
    assert_eq!(filled.code, Some(0), "{filled:?}");
    let token = access_token(&home);
    let (user, password) = ("username=oauth2\n", format!("password={token}\n"));
    assert!(filled.out.contains(user) && filled.out.contains(&password), "{filled:?}");
    assert_eq!(git(&home, &["credential", "approve"], &filled.out).code, Some(0));
    assert_eq!((home.server.requests(), access_token(&home)), (1, token.clone()));

    // The git server answered 401: one refresh at once, and it is no more than that.
    assert_eq!(git(&home, &["credential", "reject"], &filled.out).code, Some(0));
    let next = access_token(&home);
    assert!(next != token && home.server.requests() == 2);
    let again = git(&home, &["credential", "reject"], &filled.out);
    assert_eq!(
        (again.code, access_token(&home), home.server.requests()),
        (Some(0), next.clone(), 2),
        "it is another now"
    );
    let filled = git(&home, &["credential", "fill"], QUESTION);
    assert!(filled.out.contains(&format!("password={next}\n")), "{filled:?}");
    assert_eq!(home.server.requests(), 2);
}

/// A git server without a single ref. What it is sent in `Authorization` is looked at, and refused or not.
fn git_server(challenge: &'static str, accepts: impl Fn(&str) -> bool + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let host = listener.local_addr().expect("an address").to_string();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut lines = BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
            let request = lines.next().unwrap_or_default();
            let sent = lines.find_map(|line| line.strip_prefix("Authorization: ").map(str::to_owned));
            // The rest is read too, or the answer may be lost.
            lines.for_each(drop);
            let answer = match sent {
                Some(sent) if accepts(&sent) && request.contains("info/refs") => {
                    "200 OK\r\nContent-Type: text/plain".to_owned()
                }
                Some(sent) if accepts(&sent) => "404 Not Found".to_owned(),
                _ => format!("401 Unauthorized\r\nWWW-Authenticate: {challenge} realm=\"git\""),
            };
            let answer = format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            let _ = (&stream).write_all(answer.as_bytes());
        }
    });
    host
}

/// A git server that refused a token takes the one of the next try.
#[test]
fn a_git_server_that_refused_a_token_accepts_the_next() {
    let home = Home::with_expired_login();
    assert_eq!(home.run(&["token", "acme"]).code, Some(0));
    let first = access_token(&home);
    let revoked = basic("oauth2", &first);
    let host = git_server("Basic", move |sent| sent.starts_with("Basic ") && sent != revoked);
    let url = format!("http://{host}/repository.git");
    let list = || git_at(&home, &host, &["ls-remote", &url], "");
    let ran = list();
    assert!(ran.code != Some(0) && ran.err.contains("Authentication failed"), "{ran:?}");
    assert_eq!(home.server.requests(), 2, "git has said that it was refused");
    assert_ne!(access_token(&home), first);
    let ran = list();
    assert_eq!((ran.code, ran.err.as_str(), home.server.requests()), (Some(0), "", 2), "{ran:?}");
    // Nothing else of git's configuration was touched, and no token is in it.
    assert!(!fs::read_to_string(home.path(".gitconfig")).expect("there").contains(&first));
}

fn basic(user: &str, password: &str) -> String {
    let encoded = fed(Command::new("base64").arg("-w0"), &format!("{user}:{password}"));
    format!("Basic {}", encoded.out)
}

#[test]
fn a_git_server_that_wants_a_bearer_token_gets_one() {
    let home = Home::with_expired_login();
    assert_eq!(home.run(&["token", "acme"]).code, Some(0));
    let wanted = format!("Bearer {}", access_token(&home));
    let host = git_server("Bearer", move |sent| sent == wanted);
    let ran = git_at(&home, &host, &["ls-remote", &format!("http://{host}/repository.git")], "");
    if git_version() < (2, 46) {
        println!("git cannot send a bearer token before 2.46; skipped");
        return;
    }
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{ran:?}");
    assert_eq!(home.server.requests(), 1);
}

fn git_version() -> (u32, u32) {
    let said = fed(Command::new("git").arg("version"), "").out;
    let mut numbers = said.split([' ', '.']).filter_map(|word| word.trim().parse().ok());
    (numbers.next().expect("a version"), numbers.next().expect("a version"))
}

/// Git learns when the password ends and gets a bearer header where it asks for one.
#[test]
fn git_learns_the_expiry_and_gets_a_bearer_header_on_request() {
    let home = Home::with_expired_login();
    let arguments = ["token", "acme", "--format", "git-credential", "--for-host", "git.example", "get"];
    let told = ask(&home, &arguments, QUESTION).out;
    let end: u64 = told
        .lines()
        .find_map(|line| line.strip_prefix("password_expiry_utc="))
        .and_then(|end| end.parse().ok())
        .expect("an end");
    assert!((1_700_000_000..4_000_000_000).contains(&end), "in seconds: {end}");
    let bearer = format!("capability[]=authtype\n{QUESTION}wwwauth[]=Bearer realm=\"acme\"\n\n");
    let told = ask(&home, &arguments, &bearer).out;
    let wanted = format!("capability[]=authtype\nauthtype=Bearer\ncredential={}\nephemeral=1\n", access_token(&home));
    assert!(told.starts_with(&wanted), "{told}");
}

/// Another host plain http and what is not known get nothing and cost nothing.
#[test]
fn other_hosts_and_plain_http_get_nothing_and_cost_nothing() {
    let home = Home::with_expired_login();
    for question in [
        "protocol=https\nhost=evil.example\n",
        "protocol=http\nhost=git.example\n",
        "protocol=https\nhost=git.example:8443\n",
        "protocol=ssh\nhost=git.example\n",
        "",
    ] {
        for operation in ["get", "erase"] {
            let arguments = ["token", "acme", "--format", "git-credential", "--for-host", "git.example", operation];
            let ran = ask(&home, &arguments, &format!("{question}password=at-old\n"));
            assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (Some(0), "", ""), "{question}");
        }
    }
    for operation in ["store", "approve-of"] {
        let arguments = ["token", "acme", "--format", "git-credential", "--for-host", "git.example", operation];
        let ran = ask(&home, &arguments, QUESTION);
        assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (Some(0), "", ""), "{operation}");
    }
    let filled = git(&home, &["credential", "fill"], "protocol=https\nhost=evil.example\n");
    assert!(!filled.out.contains("at-"), "{filled:?}");
    assert_eq!(home.server.requests(), 0);
    let ran = home.run(&["token", "acme", "--format", "git-credential", "get"]);
    assert!(ran.code == Some(2) && ran.err.contains("--for-host"), "{ran:?}");
}

/// A refused password ends no login and a dead login is said on standard error.
#[test]
fn a_refused_password_ends_no_login() {
    let home = Home::with_expired_login();
    home.server.fault([Fault::status(400, "application/json", r#"{"error":"invalid_grant"}"#)]);
    let arguments = ["token", "acme", "--format", "git-credential", "--for-host", "git.example"];
    let ran = ask(&home, &[&arguments[..], &["get"]].concat(), QUESTION);
    assert_eq!((ran.code, ran.out.as_str()), (Some(3), ""), "{ran:?}");
    assert!(ran.err.lines().any(|line| line.starts_with("run: lazaretto ")), "{ran:?}");

    let home = Home::new();
    let pool = json!({ "credential_pool": { "acme": [{ "id": "k", "auth_type": "api_key", "source": "manual", "access_token": "key" }] } });
    home.write(pool.to_string());
    let ran = ask(&home, &[&arguments[..], &["erase"]].concat(), &format!("{QUESTION}password=key\n"));
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (Some(0), "", ""), "no better key can be had");
    assert_eq!(home.vault(), pool);
}

#[test]
fn kubectl_gets_an_exec_credential_in_its_version() {
    let home = Home::with_expired_login();
    for version in ["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"] {
        let info = json!({ "apiVersion": version, "kind": "ExecCredential", "spec": { "interactive": false } });
        let mut command = home.command(&["token", "acme", "--format", "kubernetes"]);
        let ran = fed(command.env("KUBERNETES_EXEC_INFO", info.to_string()), "");
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{ran:?}");
        let credential: Value = serde_json::from_str(&ran.out).expect("json");
        assert_eq!((&credential["apiVersion"], &credential["kind"]), (&json!(version), &json!("ExecCredential")));
        assert_eq!(credential["status"]["token"], access_token(&home));
        let end = credential["status"]["expirationTimestamp"].as_str().expect("an end");
        assert!(end.len() == 20 && end.ends_with('Z'), "{end}");
    }
    let mut command = home.command(&["token", "acme", "--format", "kubernetes"]);
    let ran = fed(command.env("KUBERNETES_EXEC_INFO", r#"{"apiVersion":"client.authentication.k8s.io/v1alpha1"}"#), "");
    assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""));
    assert!(ran.err.contains("apiVersion in the kubeconfig"), "{ran:?}");
}

#[test]
fn aws_gets_an_access_key_and_no_bearer_token() {
    let home = Home::with_expired_login();
    let ran = home.run(&["token", "acme", "--format", "aws"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(5), ""));
    assert!(ran.err.contains("signed with a secret access key") && !ran.err.contains("at-"), "{ran:?}");
    let key = "AKIAIOSFODNN7EXAMPLE:wJalr/K7MDENG:token==";
    let pool = json!({ "credential_pool": { "acme": [{ "id": "k", "auth_type": "api_key", "source": "manual", "access_token": key }] } });
    home.write(pool.to_string());
    let ran = home.run(&["token", "acme", "--format", "aws"]);
    let wanted = r#"{"Version":1,"AccessKeyId":"AKIAIOSFODNN7EXAMPLE","SecretAccessKey":"wJalr/K7MDENG","SessionToken":"token=="}"#;
    assert_eq!((ran.code, ran.out.trim_end(), ran.err.as_str()), (Some(0), wanted, ""));
}

#[test]
fn docker_is_answered_in_its_own_words_on_standard_output() {
    let home = Home::with_expired_login();
    for (operation, input, wanted) in [
        ("get", "quay.io\n", "credentials not found in native keychain\n"),
        ("get", "", "no credentials server URL\n"),
        ("erase", "quay.io", "credentials not found in native keychain\n"),
        ("store", r#"{"Username":"u","Secret":"s"}"#, "no credentials server URL\n"),
        ("store", r#"{"ServerURL":"ghcr.io","Secret":"s"}"#, "no credentials username\n"),
        ("frobnicate", "", "Unknown credential action `frobnicate`\n"),
    ] {
        let ran = docker(&home, operation, input);
        assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (Some(1), wanted, ""), "{operation} {input}");
    }
    let ran = docker(&home, "store", r#"{"ServerURL":"ghcr.io","Username":"u","Secret":"pw-secret"}"#);
    assert!(ran.code == Some(1) && ran.out.contains("acme") && !ran.out.contains("pw-secret"), "{ran:?}");
    assert_eq!(docker(&home, "list", "").out, "{\"ghcr.io\":\"oauth2accesstoken\"}\n");
    assert_eq!(home.server.requests(), 0, "none of it needed a token");

    let ran = docker(&home, "get", "ghcr.io\n");
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    let credentials: Value = serde_json::from_str(&ran.out).expect("json");
    assert_eq!(
        credentials,
        json!({ "ServerURL": "ghcr.io", "Username": "oauth2accesstoken", "Secret": access_token(&home) })
    );

    let home = Home::new();
    home.write("{}");
    assert_eq!(docker(&home, "get", "ghcr.io").out, "credentials not found in native keychain\n");
    let home = Home::with_expired_login();
    home.server.fault([Fault::status(400, "application/json", r#"{"error":"invalid_grant"}"#)]);
    let ran = docker(&home, "get", "ghcr.io");
    assert!(ran.code == Some(1) && ran.out.contains("; run: lazaretto ") && ran.out.lines().count() == 1, "{ran:?}");
}

/// The two lines of the help, as the file that docker runs.
#[test]
fn the_wrapper_of_the_help_is_a_docker_credential_helper() {
    let home = Home::with_expired_login();
    let help = home.run(&["token", "--help"]).out;
    let lines: Vec<&str> = help.lines().map(str::trim).skip_while(|line| *line != "#!/bin/sh").take(2).collect();
    let [shebang, exec] = lines[..] else { panic!("{help}") };
    let options = format!(
        "{} --vault {} --providers {} --allow-loopback-http token acme",
        env!("CARGO_BIN_EXE_lazaretto"),
        home.path("auth.json").display(),
        home.path("providers.json").display()
    );
    let exec = exec.replace("lazaretto token github", &options);
    assert!(exec.contains("--format docker"), "{exec}");
    let wrapper = home.path("docker-credential-lazaretto");
    fs::write(&wrapper, format!("{shebang}\n{exec}\n")).expect("written");
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755)).expect("set");
    let ran = fed(Command::new(wrapper).arg("get"), "https://ghcr.io");
    let credentials: Value = serde_json::from_str(&ran.out).expect("json");
    assert_eq!(credentials["Secret"], access_token(&home));
}
