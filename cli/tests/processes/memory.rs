//! Of a token that is not in use any more nothing is left on the command's heap.
#![cfg(target_os = "linux")]

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use crate::home::Home;
use lazaretto_testing::demo_server::{Behaviour, Fault};
use serde_json::json;

/// How often a text is in what a process can write of its memory.
#[cfg(target_os = "linux")]
fn times_in_memory(pid: u32, text: &str) -> usize {
    use std::os::unix::fs::FileExt;

    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("read");
    let memory = fs::File::open(format!("/proc/{pid}/mem")).expect("a process of ours");
    let mut times = 0;
    for map in maps.lines().filter(|map| map.split(' ').nth(1).is_some_and(|rights| rights.starts_with("rw"))) {
        let (from, to) = map.split(' ').next().and_then(|range| range.split_once('-')).expect("a range");
        let [from, to] = [from, to].map(|address| u64::from_str_radix(address, 16).expect("hex"));
        let mut bytes = vec![0; usize::try_from(to - from).expect("it fits")];
        // What cannot be read (a guard page) holds nothing.
        if memory.read_exact_at(&mut bytes, from).is_ok() {
            times += bytes.windows(text.len()).filter(|window| *window == text.as_bytes()).count();
        }
    }
    times
}

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
    assert!(times_in_memory(child.id(), used) > 0, "what is in use is found");
    assert_eq!(times_in_memory(child.id(), spent), 0);
    home.server.let_go();
    assert!(child.wait().expect("it ends").success());
}
