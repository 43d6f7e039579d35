//! Of a token that is not in use any more nothing is left on the command's heap.
#![cfg(target_os = "linux")]

use std::process::Stdio;
use std::time::Duration;

use crate::home::Home;
use lazaretto_testing::demo_server::{Behaviour, Fault};
use lazaretto_testing::times_in_memory;
use serde_json::json;

/// Two logins are refreshed one after the other. While the second answer is awaited, the first one's spent token is nowhere.
#[test]
fn a_spent_refresh_token_is_in_no_memory_of_the_command() {
    let home = Home::with(Behaviour::default());
    let endpoint = home.server.token_endpoint();
    let profile = json!({ "token_endpoint": endpoint, "client_id": "acme-client" });
    home.profiles(&json!({ "acme": profile, "beta": profile }));
    let tokens = ["acme-client", "acme-client"].map(|client| home.server.login(client).refresh_token);
    let login = |token: &str| {
        let tokens = json!({ "access_token": "at-old", "refresh_token": token, "expires_in": 60 });
        json!({ "tokens": tokens, "last_refresh": "2020-01-01T00:00:00Z" })
    };
    home.write(json!({ "providers": { "acme": login(&tokens[0]), "beta": login(&tokens[1]) } }).to_string());
    home.server.fault([Fault::None, Fault::Held]);
    let mut command = home.command(&["refresh", "--all"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs");
    assert!(home.server.wait_for_requests(2, Duration::from_secs(60)));
    let vault = home.text();
    let (spent, used) = if vault.contains(&tokens[0]) { (&tokens[1], &tokens[0]) } else { (&tokens[0], &tokens[1]) };
    assert!(!vault.contains(spent.as_str()), "the first is stored");
    assert!(times_in_memory(child.id(), used).expect("a process of ours") > 0, "what is in use is found");
    assert_eq!(times_in_memory(child.id(), spent).expect("a process of ours"), 0);
    home.server.let_go();
    assert!(child.wait().expect("it ends").success());
}
