//! All at once: processes in several languages, one vault, one token that has expired, one request.

use std::fs;
use std::path::Path;
use std::thread;

use serde_json::{Value, json};

use super::drivers::process::{Program, node_program, python_program};
use super::drivers::{self, Session};
use super::server::{Answer, Server};
use super::tools;

const CALL: &str = r#"{"call":"token","provider":"acme"}"#;

/// Two processes of Node, one of Python and a native one: one of them sends one request.
#[test]
#[ignore = "builds packages; run by cargo xtask prove"]
fn processes_of_three_languages_refresh_once() {
    let (Some(node), Some(python)) = (node_program(), python_program()) else { return };
    for round in 0..3 {
        let (home, server) = (tempfile::TempDir::new().expect("a folder"), Server::start());
        let (vault, providers) = (home.path().join("vault.json"), home.path().join("providers.json"));
        let case = tools::source("conformance/cases/an-expired-token-is-refreshed/vault.json");
        fs::copy(case, &vault).expect("a vault");
        let profiles = fs::read_to_string(tools::source("conformance/providers.json")).expect("profiles");
        fs::write(&providers, profiles.replace("{{endpoint}}", &server.token_endpoint())).expect("written");
        // Whoever comes second would be given another token; and all have time to come while the first one waits.
        let answer = |number: u32| Answer {
            before: None,
            json: json!({ "status": 200, "wait_ms": 400,
                "body": { "access_token": format!("at-new-{number}"), "refresh_token": format!("rt-new-{number}"), "expires_in": 3600 } }),
        };
        server.expect((0..4).map(answer).collect(), None);

        let tokens = all_at_once(&[&node, &node, &python], &vault, &providers);
        assert_eq!(tokens.len(), 4);
        for token in tokens {
            assert_eq!(token["ok"]["token"], "at-new-0", "round {round}: {token}");
        }
        assert_eq!(server.sent(), ["rt-1"], "round {round}");
    }
}

/// What each of these, and a native one, is given for the one call.
fn all_at_once(programs: &[&Program], vault: &Path, providers: &Path) -> Vec<Value> {
    let call: Value = serde_json::from_str(CALL).expect("json");
    let mut running: Vec<_> = programs.iter().map(|program| program.start(vault, providers)).collect();
    // All have started before the first is asked.
    for session in &mut running {
        session.call(&json!({ "call": "status" })).expect("it is there");
    }
    thread::scope(|scope| {
        let native = scope.spawn(|| {
            let driver = drivers::native().expect("it is in this process");
            driver.open(vault, providers).call(&call).expect("an answer")
        });
        let asked: Vec<_> = running
            .iter_mut()
            .map(|session| {
                let call = &call;
                scope.spawn(move || session.call(call).expect("an answer"))
            })
            .collect();
        let mut tokens: Vec<Value> = asked.into_iter().map(|asked| asked.join().expect("no panic")).collect();
        tokens.push(native.join().expect("no panic"));
        tokens
    })
}
