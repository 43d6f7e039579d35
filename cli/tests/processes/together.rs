//! lazaretto and the reference, hermes-agent 0.19.0, at work on one `auth.json`: each reads what the other wrote and acts on it, one
//! after the other and both at once. A server on loopback ends a grant whose spent token is sent again.
//!
//! A known weakness of the reference is part of it: a session that loaded a list long ago writes that list back, whatever was
//! refreshed meanwhile, and so puts spent refresh tokens where live ones were.
//!
//! The short load runs with all tests. The long one, a minute or as many seconds as `LAZARETTO_TOGETHER_SECONDS` says:
//!
//! ```text
//! cargo test --workspace --test processes together:: -- --ignored --nocapture
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::io::Write;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use crate::home::{Home, Ran};
use crate::reference::{Reference, Session};
use lazaretto::state::fingerprint::Fingerprint;
use lazaretto_testing::demo_server::{Behaviour, Login, Rotation};
use serde_json::{Value, json};

/// Those whose refreshes the reference makes under the lock of the vault.
const PROVIDERS: [(&str, &str); 2] =
    [("xai-oauth", "b1a00492-073a-47ea-816f-4c329264a828"), ("openai-codex", "app_EMoamEEZ73f0CkXaXp7hrann")];

/// A vault that the reference wrote: for each provider a login, an entry of a second account, and a key; and keys alone.
struct Together {
    reference: Reference,
    home: Home,
    own: BTreeMap<&'static str, Login>,
    manual: BTreeMap<&'static str, Login>,
}

impl Together {
    /// With access tokens for a day. None where there is no Python.
    fn new() -> Option<Self> {
        Self::with(86_400, 0)
    }

    fn with(access_ttl_s: u64, clock_offset_s: i64) -> Option<Self> {
        let reference = Reference::install()?;
        let home = Home::with(Behaviour {
            rotate: Rotation::RevokeFamilyOnReuse,
            access_ttl_s,
            jwt_access_tokens: true,
            clock_offset_s,
            ..Behaviour::default()
        });
        let endpoint = json!({ "token_endpoint": home.server.token_endpoint() });
        home.profiles(&json!({ "xai-oauth": endpoint, "openai-codex": endpoint }));
        let mut together = Self { reference, home, own: BTreeMap::new(), manual: BTreeMap::new() };
        let mut session = together.session();
        for (provider, client_id) in PROVIDERS {
            let (own, manual) = (together.home.server.login(client_id), together.home.server.login(client_id));
            for (login, label) in [(&own, "first"), (&manual, "second")] {
                let response = json!({
                    "access_token": login.access_token, "refresh_token": login.refresh_token,
                    "expires_in": login.expires_in_s, "manual": label == "second", "label": label,
                });
                together.reference.write_login(together.home.folder.path(), provider, &response);
            }
            session.ask(
                &json!({ "do": "add", "provider": provider, "access_token": format!("sk-{provider}"), "label": "key" }),
            );
            together.own.insert(provider, own);
            together.manual.insert(provider, manual);
        }
        for key in ["sk-one", "sk-two"] {
            session.ask(&json!({ "do": "add", "provider": "openrouter", "access_token": key, "label": key }));
        }
        Some(together)
    }

    fn session(&self) -> Session {
        self.reference.session(self.home.folder.path(), &self.home.server.token_endpoint())
    }

    fn lazaretto(&self, arguments: &[&str]) -> Ran {
        self.home.run(arguments)
    }

    fn lazaretto_reads(&self, arguments: &[&str], given: &str) -> Ran {
        let mut command = self.home.command(arguments);
        let mut process =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
        process.stdin.take().expect("piped").write_all(given.as_bytes()).expect("read");
        Ran::of(process.wait_with_output().expect("it ends"))
    }

    /// What `lazaretto status` says of each credential of a provider.
    fn states(&self, provider: &str) -> BTreeMap<String, String> {
        let ran = self.lazaretto(&["status", provider, "--json"]);
        assert_eq!(ran.code, Some(0), "{}", ran.err);
        let report: Value = serde_json::from_str(&ran.out).expect("json");
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        let credentials = report["credentials"].as_array().expect("a list").iter();
        credentials.map(|status| (text(&status["credential"]), text(&status["state"]))).collect()
    }

    fn rows(&self, provider: &str) -> Vec<Value> {
        self.home.vault()["credential_pool"][provider].as_array().expect("a pool").clone()
    }

    fn has_a_stale_copy(&self, provider: &str) -> bool {
        let vault = self.home.vault();
        let rows = vault["credential_pool"][provider].as_array().expect("a pool").iter();
        let live = &vault["providers"][provider]["tokens"]["refresh_token"];
        rows.filter(|row| row["source"] == "device_code").any(|row| row["refresh_token"] != *live)
    }

    fn id(&self, provider: &str, label: &str) -> String {
        let rows = self.rows(provider);
        let row = rows.iter().find(|row| row["label"] == label).unwrap_or_else(|| panic!("no {label} of {provider}"));
        row["id"].as_str().expect("an id").to_owned()
    }

    /// The refresh token that the server takes now for the grant of this login.
    fn live(&self, which: usize) -> String {
        self.home.server.live_tokens()[which].clone()
    }
}

fn fingerprint(token: &str) -> String {
    Fingerprint::of(token).as_str().to_owned()
}

impl Session {
    /// An API refused a credential, for so long.
    fn mark(&mut self, provider: &str, id: &str, status: u16, reset_in_s: u64) {
        self.ask(&json!({ "do": "mark", "provider": provider, "id": id, "status": status, "reset_in_s": reset_in_s }));
    }
}

/// What the reference marks and resets and adds counts for us at once.
#[test]
fn marks_resets_and_additions_of_the_reference_count_at_once() {
    let Some(together) = Together::new() else { return };
    let mut session = together.session();
    for (provider, _) in PROVIDERS {
        let rows = together.rows(provider);
        let id = |row: &Value| row["id"].as_str().expect("an id").to_owned();
        let [copy, second, key] = [&rows[0], &rows[1], &rows[2]].map(id);
        let before = together.states(provider);
        assert_eq!((&*before["login"], &*before[&second], &*before[&key]), ("valid", "valid", "key"));
        for (status, reason, state, marked) in [
            (429, "usage_limit_reached", "cooling-down", vec![("login", &copy), (&second, &second), (&key, &key)]),
            (401, "token_revoked", "dead", vec![(&second, &second), (&key, &key)]),
        ] {
            let count = marked.len();
            for (ours, theirs) in marked {
                session.ask(&json!({ "do": "load", "provider": provider }));
                let next = session.ask(&json!({ "do": "mark", "provider": provider, "id": theirs, "status": status,
                    "reason": reason, "reset_in_s": 600 }));
                assert_eq!(together.states(provider)[ours], state, "{provider} {ours}");
                // Both of us would use the same one now.
                let token = together.lazaretto(&["token", provider]);
                match next["key_sha256_128"].as_str() {
                    Some(next) => assert_eq!(fingerprint(token.out.trim_end()), next, "{provider}: {}", token.err),
                    None => assert_eq!((token.code, &*token.out), (Some(4), ""), "{provider}: {}", token.err),
                }
            }
            assert_eq!(session.ask(&json!({ "do": "reset", "provider": provider }))["count"], count);
            assert_eq!(together.states(provider), before, "{provider}");
        }
        let added = session.ask(&json!({ "do": "add", "provider": provider, "access_token": "sk-new" }));
        let token = together.lazaretto(&["token", provider, "--credential", added["id"].as_str().expect("an id")]);
        assert_eq!((token.code, token.out.as_str()), (Some(0), "sk-new\n"), "{}", token.err);
    }
    assert_eq!(together.home.server.requests(), 0);
}

/// What we add and remove the reference selects and no longer selects.
#[test]
fn the_reference_follows_what_we_add_and_remove() {
    let Some(together) = Together::new() else { return };
    let added = together.lazaretto_reads(&["add", "openrouter", "--label", "ours", "--json"], "sk-ours");
    assert_eq!(added.code, Some(0), "{}", added.err);
    let ours =
        serde_json::from_str::<Value>(&added.out).expect("json")["credential"].as_str().expect("an id").to_owned();
    for label in ["sk-one", "sk-two"] {
        let removed = together.lazaretto(&["remove", "openrouter", "--credential", label]);
        assert_eq!(removed.code, Some(0), "{}", removed.err);
    }
    let mut session = together.session();
    let selected = session.ask(&json!({ "do": "select", "provider": "openrouter" }));
    assert_eq!(
        (selected["id"].as_str(), selected["key_sha256_128"].as_str()),
        (Some(&*ours), Some(&*fingerprint("sk-ours")))
    );
    session.mark("openrouter", &ours, 402, 600);
    assert_eq!(session.ask(&json!({ "do": "select", "provider": "openrouter" }))["id"], Value::Null);
    assert_eq!(together.states("openrouter"), BTreeMap::from([(ours, "cooling-down".to_owned())]));
}

/// A login that the reference refreshes or quarantines is that to us too and nothing is sent.
#[test]
fn refreshes_and_quarantines_of_the_reference_are_adopted() {
    for revoked in [false, true] {
        // Their tokens have expired, so that a selection refreshes.
        let Some(together) = Together::with(86_400, -100_000) else { return };
        let mut session = together.session();
        for (provider, _) in PROVIDERS {
            if revoked {
                together.home.server.revoke(&together.own[provider].refresh_token);
                together.home.server.revoke(&together.manual[provider].refresh_token);
            }
            let sent = together.home.server.requests();
            session.ask(&json!({ "do": "select", "provider": provider }));
            assert!(together.home.server.requests() > sent, "{provider}: the reference asked the server");
            let login = &together.home.vault()["providers"][provider];
            let spent = &together.own[provider].refresh_token;
            assert!(!login.to_string().contains(spent), "{provider}");
            assert_eq!(login["last_auth_error"].is_object(), revoked, "{provider}");
            let sent = together.home.server.requests();
            let state = together.states(provider)["login"].clone();
            if revoked {
                assert_eq!(state, "quarantined", "{provider}");
                let token = together.lazaretto(&["token", provider, "--credential", "login"]);
                assert_eq!((token.code, token.out.as_str()), (Some(3), ""), "{provider}: {}", token.err);
                assert_eq!(together.home.server.requests(), sent, "{provider}");
            } else {
                assert_eq!(state, "expired", "the server's clock is behind, {provider}");
                let refreshed = together.lazaretto(&["refresh", provider, "--credential", "login"]);
                assert_eq!(refreshed.code, Some(0), "{provider}: {}", refreshed.err);
                assert_eq!(
                    together.home.server.replays(),
                    0,
                    "{provider}: its successor was sent, not the token it had spent"
                );
            }
        }
    }
}

/// A quarantine of ours leaves the reference nothing to send but the other accounts.
#[test]
fn our_quarantine_leaves_the_reference_only_other_accounts() {
    let Some(together) = Together::new() else { return };
    for (provider, _) in PROVIDERS {
        together.home.server.revoke(&together.own[provider].refresh_token);
        assert_eq!(together.lazaretto(&["refresh", provider, "--credential", "login"]).code, Some(3));
        let sent = together.home.server.requests();
        let mut session = together.session();
        let loaded = session.ask(&json!({ "do": "load", "provider": provider }));
        let dead = fingerprint(&together.own[provider].refresh_token);
        let rows = loaded["rows"].as_array().expect("rows");
        assert!(rows.iter().all(|row| row["refresh_token_sha256_128"] != *dead && row["usable"] == true), "{loaded}");
        let selected = session.ask(&json!({ "do": "select", "provider": provider }));
        assert_eq!(selected["id"], *together.id(provider, "second"), "{provider}");
        assert_eq!(together.home.server.requests(), sent);
    }
}

/// W3: what was loaded before our refresh is written after it. The login's own block still holds the successor.
#[test]
fn a_spent_login_from_an_old_list_gives_way_to_its_successor() {
    let Some(together) = Together::new() else { return };
    for (grant, (provider, _)) in PROVIDERS.into_iter().enumerate() {
        let spent = &together.own[provider].refresh_token;
        let mut old = together.session();
        old.ask(&json!({ "do": "select", "provider": provider }));
        assert_eq!(together.lazaretto(&["refresh", provider, "--credential", "login"]).code, Some(0));
        assert!(!together.home.text().contains(spent.as_str()), "{provider}");
        old.mark(provider, &together.id(provider, "key"), 429, 0);
        assert!(together.home.text().contains(spent.as_str()), "{provider}: the old list is back");

        let token = together.lazaretto(&["token", provider, "--credential", "login"]);
        assert_eq!(token.code, Some(0), "{provider}: {}", token.err);
        let refreshed = together.lazaretto(&["refresh", provider, "--credential", "login"]);
        assert_eq!(refreshed.code, Some(0), "{provider}: {}", refreshed.err);
        assert_eq!(together.home.server.replays(), 0, "{provider}");
        assert!(!together.home.text().contains(spent.as_str()), "{provider}: the spent token is out of every place");
        let stored = &together.home.vault()["providers"][provider]["tokens"]["refresh_token"];
        assert_eq!(*stored, *together.live(2 * grant), "{provider}");
        let loaded = together.session().ask(&json!({ "do": "load", "provider": provider }));
        let seeded = loaded["rows"].as_array().expect("rows").iter().find(|row| row["source"] == "device_code");
        assert_eq!(
            seeded.expect("the login's copy")["refresh_token_sha256_128"],
            *fingerprint(&together.live(2 * grant))
        );
    }
}

/// W3 again: the successor of an entry that was added by itself lay only where the old list was written. A copy of it was kept.
#[test]
fn a_spent_entry_from_an_old_list_gives_way_to_its_successor() {
    let Some(together) = Together::new() else { return };
    for (grant, (provider, _)) in PROVIDERS.into_iter().enumerate() {
        let (spent, id) = (&together.manual[provider].refresh_token, together.id(provider, "second"));
        let mut old = together.session();
        old.ask(&json!({ "do": "select", "provider": provider }));
        assert_eq!(together.lazaretto(&["refresh", provider, "--credential", &id]).code, Some(0));
        assert!(!together.home.text().contains(spent.as_str()), "{provider}");
        old.mark(provider, &together.id(provider, "key"), 429, 0);
        assert!(together.home.text().contains(spent.as_str()), "{provider}: the old list is back");

        // The access token it came with is still good.
        assert_eq!(together.lazaretto(&["token", provider, "--credential", &id]).code, Some(0));
        for again in ["once", "and once more, as often as the list is written"] {
            let refreshed = together.lazaretto(&["refresh", provider, "--credential", &id]);
            assert_eq!(refreshed.code, Some(0), "{provider}, {again}: {}", refreshed.err);
            assert_eq!(together.home.server.replays(), 0, "{provider}, {again}");
            let row = together.rows(provider).into_iter().find(|row| row["id"] == *id).expect("the entry");
            assert_eq!(row["refresh_token"], *together.live(2 * grant + 1), "{provider}, {again}");
            old.mark(provider, &together.id(provider, "key"), 429, 0);
            assert!(together.home.text().contains(spent.as_str()), "{provider}: the old list is back");
        }
    }
}

/// What was kept goes when its login does: by a refusal, or by hand.
#[test]
fn a_kept_successor_does_not_outlive_its_login() {
    let Some(together) = Together::new() else { return };
    for (grant, (provider, _)) in PROVIDERS.into_iter().enumerate() {
        let id = together.id(provider, "second");
        let mut old = together.session();
        old.ask(&json!({ "do": "select", "provider": provider }));
        assert_eq!(together.lazaretto(&["refresh", provider, "--credential", &id]).code, Some(0));
        let row = together.rows(provider).into_iter().find(|row| row["id"] == *id).expect("the entry");
        let live = row["refresh_token"].as_str().expect("text").to_owned();
        let sealed = || fs::read_to_string(together.home.path("auth.json.lazaretto-sealed")).unwrap_or_default();
        assert!(sealed().contains(&live), "{provider}: a copy is kept");
        if grant == 0 {
            together.home.server.revoke(&live);
            assert_eq!(together.lazaretto(&["refresh", provider, "--credential", &id]).code, Some(3));
            let sent = together.home.server.requests();
            old.mark(provider, &together.id(provider, "key"), 429, 0);
            let refreshed = together.lazaretto(&["refresh", provider, "--credential", &id]);
            assert_eq!((refreshed.code, together.home.server.requests()), (Some(3), sent), "{}", refreshed.err);
            assert_eq!(together.home.server.replays(), 0);
        } else {
            assert_eq!(together.lazaretto(&["remove", provider, "--credential", &id]).code, Some(0));
            assert!(!sealed().contains(&live), "{provider}: nothing of it is left");
        }
    }
}

/// The pools that the reference writes here.
const WRITTEN: [&str; 3] = ["xai-oauth", "openai-codex", "openrouter"];

/// What the reference drops from a vault when it writes one, by itself: what it does not know of an entry.
const DROPPED_BY_THE_REFERENCE: [&str; 8] = [
    "credential_pool.openai-codex[first].note",
    "credential_pool.openai-codex[key].note",
    "credential_pool.openai-codex[second].note",
    "credential_pool.openrouter[sk-one].note",
    "credential_pool.openrouter[sk-two].note",
    "credential_pool.xai-oauth[device_code].note",
    "credential_pool.xai-oauth[key].note",
    "credential_pool.xai-oauth[second].note",
];

/// A member that nobody knows, wherever there can be one.
fn with_unknown_members(mut vault: Value) -> Value {
    let unknown = json!({ "kept": [1, 2.5, null] });
    vault["note"] = unknown.clone();
    vault["suppressed_sources"] = json!({ "elsewhere": ["somehow"] });
    vault["providers"]["other"] = json!({ "tokens": { "access_token": "at-other" }, "note": unknown });
    for (provider, _) in PROVIDERS {
        vault["providers"][provider]["note"] = unknown.clone();
        vault["providers"][provider]["tokens"]["note"] = unknown.clone();
    }
    vault["credential_pool"]["elsewhere"] =
        json!([{ "id": "eeeeee", "label": "other", "note": unknown, "access_token": "sk-other" }]);
    for provider in WRITTEN {
        for row in vault["credential_pool"][provider].as_array_mut().expect("a pool") {
            row["note"] = unknown.clone();
        }
    }
    vault
}

/// Paths of what was there before and is not after. Entries go by their labels.
fn dropped(before: &Value, after: &Value, path: &str, paths: &mut BTreeSet<String>) {
    match before {
        Value::Object(members) => {
            for (name, value) in members {
                let here = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                match after.get(name) {
                    Some(left) => dropped(value, left, &here, paths),
                    None => drop(paths.insert(here)),
                }
            }
        }
        Value::Array(rows) if rows.iter().all(|row| row["label"].is_string()) => {
            for row in rows {
                let here = format!("{path}[{}]", row["label"].as_str().unwrap_or_default());
                match after.as_array().and_then(|left| left.iter().find(|left| left["id"] == row["id"])) {
                    Some(left) => dropped(row, left, &here, paths),
                    None => drop(paths.insert(here)),
                }
            }
        }
        Value::Array(values) => {
            for (index, value) in values.iter().enumerate() {
                let here = format!("{path}[{index}]");
                match after.get(index) {
                    Some(left) => dropped(value, left, &here, paths),
                    None => drop(paths.insert(here)),
                }
            }
        }
        _ => {}
    }
}

fn all_dropped(before: &Value, after: &Value) -> Vec<String> {
    let mut paths = BTreeSet::new();
    dropped(before, after, "", &mut paths);
    paths.into_iter().collect()
}

/// What one of our loops did.
#[derive(Debug, Default)]
struct Ours {
    /// By command and exit code.
    ran: BTreeMap<(&'static str, i32), u32>,
    unexpected: Vec<String>,
    /// Ids of keys.
    kept: Vec<String>,
    removed: Vec<String>,
    /// How often a login's copy was seen to hold another refresh token than the login.
    stale: u32,
}

/// Runs one `lazaretto` after the other. `which` makes the loops do different things at a time.
fn our_loop(together: &Together, which: usize, end: Instant, who: Refreshing) -> Ours {
    let mut ours = Ours::default();
    let second: Vec<String> = PROVIDERS.iter().map(|(provider, _)| together.id(provider, "second")).collect();
    for turn in which.. {
        if Instant::now() >= end {
            break;
        }
        let at = (turn / 7 + which) % PROVIDERS.len();
        let provider = PROVIDERS[at].0;
        let last = ours.kept.last().cloned().unwrap_or_default();
        let (what, ran) = match turn % 7 {
            0 | 3 => ("refresh", together.lazaretto(&["refresh", provider, "--credential", "login"])),
            1 => ("token", together.lazaretto(&["token", provider])),
            // Where the reference leaves it alone: see `at_once`.
            2 if who == Refreshing::Ours => {
                ("refresh of the second", together.lazaretto(&["refresh", provider, "--credential", &second[at]]))
            }
            2 => ("token of the second", together.lazaretto(&["token", provider, "--credential", &second[at]])),
            4 => {
                ("add", together.lazaretto_reads(&["add", "openrouter", "--json"], &format!("sk-ours-{which}-{turn}")))
            }
            5 if !last.is_empty() && turn % 2 == 0 => {
                let ran = together.lazaretto(&["remove", "openrouter", "--credential", &last]);
                ours.removed.extend(ours.kept.pop());
                ("remove", ran)
            }
            5 => ("reset", together.lazaretto(&["reset", provider])),
            _ => ("status", together.lazaretto(&["status"])),
        };
        ours.stale += u32::from(together.has_a_stale_copy(provider));
        let code = ran.code.unwrap_or(-1);
        if what == "add" && code == 0 {
            let added: Value = serde_json::from_str(&ran.out).expect("json");
            ours.kept.push(added["credential"].as_str().expect("an id").to_owned());
        }
        // The reference says of entries that they rest for a second. Where nothing does, there is nothing to reset.
        let expected =
            code == 0 || (code == 4 && !matches!(what, "add" | "remove" | "status")) || (what == "reset" && code == 2);
        if !expected {
            ours.unexpected.push(format!("{what} of {provider}: {code}: {}", ran.err));
        }
        *ours.ran.entry((what, code)).or_default() += 1;
    }
    ours
}

/// Whose calls rotate the logins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refreshing {
    Ours,
    Both,
}

/// Three sessions of the reference and three loops of ours, for some time.
fn at_once(time: Duration, who: Refreshing) {
    const LOOPS: usize = 3;
    // The reference refreshes what ends within two minutes.
    let access_ttl_s = if who == Refreshing::Both { 121 } else { 86_400 };
    let Some(together) = Together::with(access_ttl_s, 0) else { return };
    let mut before = with_unknown_members(together.home.vault());
    for (provider, _) in PROVIDERS {
        let rows = before["credential_pool"][provider].as_array_mut().expect("a pool").iter_mut();
        for row in rows.filter(|row| row["label"] == "second") {
            // When it ends cannot be seen in it. An entry of its own would be lost by two sessions of the reference alone, one of
            // which refreshes it (W3, W4).
            row["access_token"] = json!(format!("at-{provider}"));
        }
    }
    together.home.write(serde_json::to_string_pretty(&before).expect("json") + "\n");

    // What the reference drops by itself, on a copy.
    {
        let copy = tempfile::TempDir::new().expect("a folder");
        fs::copy(together.home.path("auth.json"), copy.path().join("auth.json")).expect("copied");
        let mut alone = together.reference.session(copy.path(), &together.home.server.token_endpoint());
        for provider in WRITTEN {
            alone.ask(&json!({ "do": "add", "provider": provider, "access_token": "sk-new" }));
        }
        let after: Value =
            serde_json::from_slice(&fs::read(copy.path().join("auth.json")).expect("read")).expect("json");
        assert_eq!(all_dropped(&before, &after), DROPPED_BY_THE_REFERENCE);
    }

    let mut sessions: Vec<Session> = (0..LOOPS).map(|_| together.session()).collect();
    for session in &mut sessions {
        session.ask(&json!({ "do": "select", "provider": "openrouter" }));
    }
    let end = Instant::now() + time;
    for (seed, session) in sessions.iter_mut().enumerate() {
        session.tell(&json!({ "do": "work", "seconds": time.as_secs_f64(), "seed": seed }));
    }
    let ours: Vec<Ours> = thread::scope(|scope| {
        let loops: Vec<_> = (0..LOOPS)
            .map(|which| {
                scope.spawn({
                    let together = &together;
                    move || our_loop(together, which, end, who)
                })
            })
            .collect();
        loops.into_iter().map(|ours| ours.join().expect("no panic")).collect()
    });
    let theirs: Vec<Value> = sessions.iter_mut().map(Session::answer).collect();
    drop(sessions);
    let (requests, vault) = (together.home.server.requests(), together.home.vault());
    let received = together.home.server.received();
    let is_theirs = |agent: &str| agent.contains("httpx") || agent.contains("hermes");
    let by_them = received.iter().filter(|received| received.user_agent.as_deref().is_some_and(is_theirs)).count();
    for ours in &ours {
        println!("ours: {:?}, {} kept, {} removed", ours.ran, ours.kept.len(), ours.removed.len());
        assert!(ours.unexpected.is_empty(), "{:#?}", ours.unexpected);
        assert!(ours.ran.contains_key(&("refresh", 0)), "{ours:?}");
    }
    for theirs in &theirs {
        println!("theirs: {}, {} failed", theirs["done"], theirs["failed"].as_array().expect("a list").len());
        assert_eq!(theirs["failed"], json!([]));
    }

    // Nobody's entry is gone, but for those that were removed; and of those an old list may have brought some back.
    let ids = |provider: &str| -> BTreeSet<String> {
        let rows = vault["credential_pool"][provider].as_array().expect("a pool").iter();
        rows.map(|row| row["id"].as_str().expect("an id").to_owned()).collect()
    };
    let keys = ids("openrouter");
    let kept = ours.iter().flat_map(|ours| &ours.kept);
    assert_eq!(kept.filter(|id| !keys.contains(*id)).collect::<Vec<_>>(), Vec::<&String>::new());
    for added in theirs.iter().flat_map(|theirs| theirs["added"].as_array().expect("a list")) {
        let (provider, id) = (added[0].as_str().expect("a provider"), added[1].as_str().expect("an id"));
        assert!(ids(provider).contains(id), "{provider} {id}");
    }
    let back = ours.iter().flat_map(|ours| &ours.removed).filter(|id| keys.contains(*id)).count();
    assert_eq!(all_dropped(&before, &vault), DROPPED_BY_THE_REFERENCE);

    // No login is lost, and no token was sent twice, although spent ones lay in the vault again.
    let stale: u32 = ours.iter().map(|ours| ours.stale).sum();
    println!(
        "{requests} requests, {by_them} of them theirs; a stale copy seen {stale} times; {back} removed keys were back in the end"
    );
    assert!(by_them > 0 || who == Refreshing::Ours);
    assert_eq!(together.home.server.replays(), 0);
    assert_eq!(together.home.server.live_tokens().len(), 2 * PROVIDERS.len());
    for (grant, (provider, _)) in PROVIDERS.into_iter().enumerate() {
        together.session().ask(&json!({ "do": "reset", "provider": provider }));
        let stored = |key: &str, value: &str| {
            let row = together.rows(provider).into_iter().find(|row| row[key] == value);
            row.expect("a row")["refresh_token"].clone()
        };
        if who == Refreshing::Ours {
            let refreshed =
                together.lazaretto(&["refresh", provider, "--credential", &together.id(provider, "second")]);
            assert_eq!(refreshed.code, Some(0), "{provider}: {}", refreshed.err);
        }
        assert_eq!(stored("label", "second"), *together.live(2 * grant + 1), "{provider}");
        let refreshed = together.lazaretto(&["refresh", provider, "--credential", "login"]);
        assert_eq!(refreshed.code, Some(0), "{provider}: {}", refreshed.err);
        let live = together.live(2 * grant);
        assert_eq!(together.home.vault()["providers"][provider]["tokens"]["refresh_token"], *live, "{provider}");
        assert_eq!(stored("source", "device_code"), *live, "{provider}: and its copy");
    }
    assert_eq!(together.home.server.replays(), 0);
}

#[test]
fn both_at_once_lose_no_login_and_no_entry_and_no_field() {
    at_once(Duration::from_secs(3), Refreshing::Ours);
}

/// Both at once and both refreshing lose no login and no entry and no field.
#[test]
fn both_refreshing_at_once_lose_no_login_entry_or_field() {
    at_once(Duration::from_secs(4), Refreshing::Both);
}

#[test]
#[ignore = "a minute; run by cargo xtask prove, 20 seconds"]
fn both_at_once_for_a_long_time() {
    let seconds = env::var("LAZARETTO_TOGETHER_SECONDS").ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(60.0);
    for who in [Refreshing::Ours, Refreshing::Both] {
        at_once(Duration::from_secs_f64(seconds / 2.0), who);
    }
}
