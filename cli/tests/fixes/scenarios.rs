//! Every fault that doctor can find, and how it comes about. Each has providers of its own, so that any two can be in one vault.

use std::fs;
use std::os::unix::fs::{chown, symlink};

use lazaretto::time::{Zone, to_rfc3339};
use serde_json::{Value, json};

use super::stage::{Stage, chmod, now_ms, read, write};

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;

pub(crate) struct Scenario {
    /// What doctor finds then.
    pub(crate) code: &'static str,
    /// Of which provider, if it is about one.
    pub(crate) provider: &'static str,
    /// What is written before anything runs.
    pub(crate) prepare: fn(&mut Stage),
    /// What programs do then.
    pub(crate) act: fn(&Stage),
    /// What befalls the files in the end.
    pub(crate) befall: fn(&Stage),
    /// Whether the fix ends it.
    pub(crate) is_mended: bool,
    /// Whether it can be in a vault with any other.
    pub(crate) is_alone: bool,
}

const PLAIN: Scenario =
    Scenario { code: "", provider: "", prepare: |_| {}, act: |_| {}, befall: |_| {}, is_mended: true, is_alone: false };

fn login_of(token: &str, age_ms: u64) -> Value {
    let at = to_rfc3339(now_ms() - age_ms, Zone::Letter);
    json!({ "tokens": { "access_token": format!("at-of-{token}"), "refresh_token": token, "expires_in": 3600 }, "last_refresh": at })
}

fn entry_of(id: &str, token: &str) -> Value {
    json!({ "id": id, "label": id, "auth_type": "oauth", "source": "manual:device_code", "priority": 1, "expires_in": 3600,
        "access_token": format!("at-of-{token}"), "refresh_token": token, "last_refresh": to_rfc3339(now_ms(), Zone::Letter) })
}

/// The token that was spent has a successor that the vault could not take, and that waits in the sealed document.
fn waits_sealed(stage: &Stage, provider: &str, spent: &str, next: &str) {
    stage.record(provider, spent, json!({ "state": "spent", "successor": fingerprint(next) }));
    let parent = json!({ "parent": fingerprint(spent), "lineage": fingerprint(spent), "generation": 1 });
    stage.record(provider, next, parent);
    stage.waiting(provider, "login", spent, next);
}

/// A login that is alive at its server, and so many milliseconds old.
fn lives(stage: &mut Stage, id: &str, age_ms: u64) -> String {
    stage.profile(id, json!({}));
    let token = stage.server.books().log_in(id);
    stage.login(id, login_of(&token, age_ms));
    token
}

fn of_vault(stage: &Stage, pointer: &str) -> Value {
    read(&stage.vault_file()).and_then(|vault| vault.pointer(pointer).cloned()).expect("it is there")
}

/// The person ends a login at its server, and it is used once more.
fn ends(stage: &Stage, id: &str) {
    let token = of_vault(stage, &format!("/providers/{id}/tokens/refresh_token"));
    stage.server.books().revoke(token.as_str().expect("text"));
    let (code, said) = stage.lazaretto(&format!("refresh {id}"));
    assert_eq!(code, 3, "{said}");
    stage.server.books().dead_sent = 0;
}

fn touched(stage: &Stage, name: &str, text: &str) {
    fs::write(stage.path(name), text).expect("written");
    chmod(&stage.path(name), 0o600);
}

pub(crate) fn all() -> Vec<Scenario> {
    [of_credentials(), of_profiles_and_servers(), of_documents(), of_files()].into_iter().flatten().collect()
}

#[allow(clippy::too_many_lines, reason = "a table")]
fn of_credentials() -> Vec<Scenario> {
    vec![
        Scenario {
            code: "quarantined",
            provider: "revoked",
            prepare: |stage| drop(lives(stage, "revoked", 2 * HOUR_MS)),
            act: |stage| ends(stage, "revoked"),
            ..PLAIN
        },
        Scenario {
            code: "token-dead",
            provider: "reseeded",
            prepare: |stage| drop(lives(stage, "reseeded", 2 * HOUR_MS)),
            act: |stage| {
                let before = of_vault(stage, "/providers/reseeded");
                ends(stage, "reseeded");
                let mut vault = read(&stage.vault_file()).expect("json");
                vault["providers"]["reseeded"] = before;
                write(&stage.vault_file(), &vault);
            },
            ..PLAIN
        },
        Scenario {
            code: "token-spent",
            provider: "older",
            prepare: |stage| {
                let spent = lives(stage, "older", 0);
                let next = stage.server.books().rotate(&spent);
                stage.record("older", &spent, json!({ "state": "spent", "successor": fingerprint(&next) }));
            },
            ..PLAIN
        },
        // The vault could not be written, and another program was refused the token that was spent, and emptied the login.
        Scenario {
            code: "successor-waiting",
            provider: "waiting",
            prepare: |stage| {
                let spent = lives(stage, "waiting", 0);
                let next = stage.server.books().rotate(&spent);
                let at = to_rfc3339(now_ms() + 1_000, Zone::Letter);
                stage.login(
                    "waiting",
                    json!({ "tokens": {}, "last_auth_error": { "code": "invalid_grant", "at": at } }),
                );
                waits_sealed(stage, "waiting", &spent, &next);
            },
            ..PLAIN
        },
        // The same while the spent one is still there.
        Scenario {
            code: "token-spent",
            provider: "behind",
            prepare: |stage| {
                let spent = lives(stage, "behind", 0);
                let next = stage.server.books().rotate(&spent);
                waits_sealed(stage, "behind", &spent, &next);
            },
            ..PLAIN
        },
        Scenario {
            code: "login-ended",
            provider: "ended",
            prepare: |stage| {
                stage.profile("ended", json!({}));
                stage.login("ended", json!({ "tokens": {}, "last_auth_error": { "code": "invalid_grant" } }));
            },
            ..PLAIN
        },
        Scenario {
            code: "entry-dead",
            provider: "marked",
            prepare: |stage| {
                stage.profile("marked", json!({}));
                let mut entry = entry_of("it's; touch pwned", "x-1");
                entry["last_status"] = json!("dead");
                stage.entries("marked", json!([entry]));
            },
            // The provider can be used again; the entry is somebody's to remove.
            is_mended: false,
            ..PLAIN
        },
        Scenario {
            code: "cannot-be-used",
            provider: "unsendable",
            prepare: |stage| {
                stage.profile("unsendable", json!({}));
                stage.login("unsendable", json!({ "tokens": { "access_token": "a b" } }));
            },
            ..PLAIN
        },
        Scenario {
            code: "held",
            provider: "client",
            prepare: |stage| drop(lives(stage, "client", 2 * HOUR_MS)),
            act: |stage| drop(stage.lazaretto("refresh client")),
            is_mended: false,
            ..PLAIN
        },
        Scenario {
            code: "held",
            provider: "interaction",
            prepare: |stage| drop(lives(stage, "interaction", 2 * HOUR_MS)),
            act: |stage| drop(stage.lazaretto("refresh interaction")),
            ..PLAIN
        },
        Scenario {
            code: "held",
            provider: "parked",
            prepare: |stage| {
                let token = lives(stage, "parked", 0);
                let pause = json!({ "kind": "parked", "failures": 9, "code": "odd", "summary": "", "at_ms": now_ms() });
                stage.record("parked", &token, json!({ "pause": pause }));
            },
            is_mended: false,
            ..PLAIN
        },
        Scenario {
            code: "cooling-down",
            provider: "cooling",
            prepare: |stage| drop(lives(stage, "cooling", 58 * 60_000)),
            act: |stage| drop(stage.lazaretto("refresh cooling")),
            is_mended: false,
            ..PLAIN
        },
        Scenario {
            code: "no-refresh-token",
            provider: "short",
            prepare: |stage| {
                stage.profile("short", json!({}));
                let mut login = login_of("x", 0);
                login["tokens"]["refresh_token"] = Value::Null;
                stage.login("short", login);
            },
            ..PLAIN
        },
        Scenario {
            code: "grant-ends",
            provider: "aged",
            prepare: |stage| {
                let token = lives(stage, "aged", 0);
                stage.profile("aged", json!({ "authorization": { "grant_lifetime_s": 30 * DAY_MS / 1_000 } }));
                stage.record("aged", &token, json!({ "granted_by_ms": now_ms() - 27 * DAY_MS }));
            },
            ..PLAIN
        },
        Scenario {
            code: "grant-shared",
            provider: "twin-b",
            prepare: |stage| {
                let token = lives(stage, "twin-a", 0);
                stage.profile("twin-b", json!({}));
                stage.login("twin-b", login_of(&token, 0));
            },
            ..PLAIN
        },
        Scenario {
            code: "account-twice",
            provider: "double",
            prepare: |stage| {
                stage.profile("double", json!({}));
                let entries = ["aa", "bb"].map(|id| {
                    let token = stage.server.books().log_in("double");
                    let mut entry = entry_of(id, &token);
                    // {"sub":"me"}
                    entry["access_token"] = json!(format!("e30.eyJzdWIiOiJtZSJ9.{id}"));
                    entry
                });
                stage.entries("double", json!(entries));
            },
            is_mended: false,
            ..PLAIN
        },
        Scenario {
            code: "issued-in-future",
            provider: "future",
            prepare: |stage| {
                let token = lives(stage, "future", 0);
                let mut login = login_of(&token, 0);
                login["last_refresh"] = json!(to_rfc3339(now_ms() + DAY_MS, Zone::Letter));
                stage.login("future", login);
            },
            is_mended: false,
            ..PLAIN
        },
        Scenario {
            code: "id-twice",
            provider: "same-id",
            prepare: |stage| entries_with(stage, "same-id", |entries| entries[1]["id"] = json!("aa")),
            is_mended: false,
            ..PLAIN
        },
        Scenario {
            code: "field-mistyped",
            provider: "typing",
            prepare: |stage| entries_with(stage, "typing", |entries| entries[1]["acess_token"] = json!("x")),
            is_mended: false,
            ..PLAIN
        },
        Scenario {
            code: "entry-without-id",
            provider: "nameless",
            prepare: |stage| {
                entries_with(stage, "nameless", |entries| {
                    drop(entries[1].as_object_mut().map(|entry| entry.remove("id")))
                })
            },
            is_mended: false,
            ..PLAIN
        },
        Scenario {
            code: "field-unreadable",
            provider: "numbered",
            prepare: |stage| entries_with(stage, "numbered", |entries| entries[1]["label"] = json!(7)),
            is_mended: false,
            ..PLAIN
        },
        Scenario {
            code: "expiry-unknown",
            provider: "endless",
            prepare: |stage| {
                let token = lives(stage, "endless", 0);
                stage.login("endless", json!({ "tokens": { "access_token": "at", "refresh_token": token } }));
            },
            ..PLAIN
        },
        Scenario {
            code: "lifetime-short",
            provider: "brief",
            prepare: |stage| {
                lives(stage, "brief", 0);
                stage.profile("brief", json!({ "skew_s": 7_200 }));
            },
            is_mended: false,
            ..PLAIN
        },
        Scenario {
            code: "intent-stale",
            provider: "doubtful",
            prepare: |stage| {
                let token = lives(stage, "doubtful", 0);
                stage.record("doubtful", &token, json!({ "intent": intent() }));
            },
            ..PLAIN
        },
        Scenario {
            code: "intent-over",
            provider: "forgotten",
            prepare: |stage| {
                lives(stage, "forgotten", 0);
                stage.record("forgotten", "gone", json!({ "intent": intent() }));
            },
            ..PLAIN
        },
        Scenario {
            code: "source-suppressed",
            provider: "removed",
            prepare: |stage| {
                lives(stage, "removed", 0);
                stage.top("suppressed_sources", json!({ "removed": ["device_code"] }));
            },
            ..PLAIN
        },
    ]
}

fn fingerprint(token: &str) -> String {
    lazaretto::state::fingerprint::Fingerprint::of(token).as_str().to_owned()
}

fn intent() -> Value {
    json!({ "nonce": "n", "since_ms": now_ms() - 2 * HOUR_MS, "sent_at_ms": now_ms() - 2 * HOUR_MS, "sends": 1 })
}

fn entries_with(stage: &mut Stage, id: &str, change: impl FnOnce(&mut Vec<Value>)) {
    stage.profile(id, json!({}));
    let mut entries: Vec<Value> = ["aa", "bb"]
        .iter()
        .map(|name| {
            let token = stage.server.books().log_in(id);
            entry_of(name, &token)
        })
        .collect();
    change(&mut entries);
    stage.entries(id, json!(entries));
}

fn of_profiles_and_servers() -> Vec<Scenario> {
    vec![
        Scenario {
            code: "profile-wrong",
            provider: "later",
            prepare: |stage| stage.bare_profile("later", json!({ "token_endpont": "https://later.example/token" })),
            is_mended: false,
            ..PLAIN
        },
        Scenario {
            code: "profile-missing",
            provider: "elsewhere",
            prepare: |stage| stage.login("elsewhere", login_of("x-2", 0)),
            is_mended: false,
            ..PLAIN
        },
        Scenario { code: "plain-http", provider: "local", prepare: |stage| drop(lives(stage, "local", 0)), ..PLAIN },
        Scenario {
            code: "server-unreachable",
            provider: "nowhere",
            prepare: |stage| {
                lives(stage, "nowhere", 0);
                stage.profile("nowhere", json!({ "token_endpoint": "http://127.0.0.1:1/token" }));
            },
            is_mended: false,
            ..PLAIN
        },
        Scenario {
            code: "server-failing",
            provider: "failing",
            prepare: |stage| drop(lives(stage, "failing", 0)),
            is_mended: false,
            ..PLAIN
        },
        Scenario {
            code: "not-an-authorization-server",
            provider: "tokn",
            prepare: |stage| {
                lives(stage, "tokn", 0);
                let url = format!("{}/tokn/tokn", stage.server.origin);
                stage.profile("tokn", json!({ "token_endpoint": url }));
            },
            is_mended: false,
            ..PLAIN
        },
        Scenario { code: "clock-wrong", prepare: |stage| drop(lives(stage, "clock", 0)), is_mended: false, ..PLAIN },
        Scenario { code: "healthy", prepare: |stage| drop(lives(stage, "well", 0)), is_alone: true, ..PLAIN },
    ]
}

fn of_documents() -> Vec<Scenario> {
    vec![
        Scenario {
            code: "vault-absent",
            befall: |stage| fs::remove_file(stage.vault_file()).expect("removed"),
            is_mended: false,
            ..PLAIN
        },
        Scenario {
            code: "vault-unreadable",
            befall: |stage| touched(stage, "auth.json", "{ half"),
            is_mended: false,
            ..PLAIN
        },
        Scenario {
            code: "settings-unreadable",
            befall: |stage| touched(stage, "auth.json.lazaretto-settings.json", "[]x"),
            is_mended: false,
            ..PLAIN
        },
        Scenario {
            code: "profiles-unreadable",
            befall: |stage| touched(stage, "providers.json", "[]x"),
            is_mended: false,
            ..PLAIN
        },
        Scenario {
            code: "ledger-unreadable",
            befall: |stage| touched(stage, "auth.json.lazaretto", "{ half"),
            ..PLAIN
        },
        Scenario {
            code: "ledger-newer",
            befall: |stage| touched(stage, "auth.json.lazaretto", r#"{"schema":2,"tokens":{}}"#),
            is_mended: false,
            ..PLAIN
        },
        Scenario {
            code: "ledger-unreachable",
            befall: |stage| {
                let _ = fs::remove_file(stage.path("auth.json.lazaretto"));
                fs::create_dir(stage.path("auth.json.lazaretto")).expect("made");
            },
            is_mended: false,
            ..PLAIN
        },
        Scenario {
            code: "ledger-lost",
            befall: |stage| {
                for name in ["auth.json.lazaretto", "auth.json.lazaretto.unsynced"] {
                    let _ = fs::remove_file(stage.path(name));
                }
                if !stage.path("auth.json.lazaretto-sealed").exists() {
                    let empty = json!({ "schema": 1, "about": "", "quarantined": {}, "successors": {}, "kept": {} });
                    write(&stage.path("auth.json.lazaretto-sealed"), &empty);
                }
            },
            is_mended: false,
            ..PLAIN
        },
        Scenario {
            code: "sealed-unreadable",
            befall: |stage| touched(stage, "auth.json.lazaretto-sealed", "no"),
            ..PLAIN
        },
        Scenario {
            code: "pool-unreadable",
            befall: |stage| touched(stage, "auth.json.lazaretto-pool", "{ half"),
            ..PLAIN
        },
    ]
}

fn of_files() -> Vec<Scenario> {
    let mut all = vec![
        Scenario { code: "mode-wide", befall: |stage| mode_of_vault(stage, 0o644), ..PLAIN },
        Scenario { code: "mode-group", befall: |stage| mode_of_vault(stage, 0o640), is_mended: false, ..PLAIN },
        Scenario { code: "directory-open", befall: |stage| chmod(&stage.path(""), 0o777), ..PLAIN },
        Scenario {
            code: "hard-linked",
            befall: |stage| {
                let _ = fs::hard_link(stage.vault_file(), stage.path("backup.json"));
            },
            is_mended: false,
            ..PLAIN
        },
        Scenario {
            code: "linked",
            befall: |stage| {
                let _ = fs::rename(stage.vault_file(), stage.path("real.json"));
                symlink("real.json", stage.vault_file()).expect("linked");
            },
            is_alone: true,
            ..PLAIN
        },
        Scenario {
            code: "link-unsafe",
            befall: |stage| {
                let open = stage.path("open");
                fs::create_dir_all(open.join("b")).expect("made");
                fs::rename(stage.vault_file(), open.join("b/x.json")).expect("moved");
                symlink("open/auth.json", stage.vault_file()).expect("linked");
                symlink("b/x.json", open.join("auth.json")).expect("linked");
                chmod(&open, 0o775);
            },
            is_mended: false,
            is_alone: true,
            ..PLAIN
        },
        Scenario {
            code: "path-unusable",
            befall: |stage| {
                fs::remove_file(stage.vault_file()).expect("removed");
                fs::create_dir(stage.vault_file()).expect("made");
            },
            is_mended: false,
            is_alone: true,
            ..PLAIN
        },
        Scenario {
            code: "locks-unusable",
            befall: |stage| {
                let _ = fs::remove_dir_all(stage.path("auth.json.lazaretto-locks"));
                touched(stage, "auth.json.lazaretto-locks", "");
            },
            ..PLAIN
        },
        Scenario {
            code: "locks-unusable",
            befall: |stage| {
                let locks = stage.path("auth.json.lazaretto-locks");
                let _ = fs::remove_file(&locks);
                let _ = fs::create_dir(&locks);
                chmod(&locks, 0o777);
            },
            ..PLAIN
        },
        Scenario {
            code: "locks-unusable",
            befall: |stage| {
                let locks = stage.path("auth.json.lazaretto-locks");
                let _ = fs::remove_file(&locks);
                let _ = fs::create_dir(&locks);
                chmod(&locks, 0o700);
                let _ = fs::remove_file(locks.join("05"));
                fs::create_dir_all(locks.join("05")).expect("made");
            },
            ..PLAIN
        },
        Scenario {
            code: "lock-held",
            befall: |stage| {
                // Held until this process ends.
                let file = fs::File::create(stage.path("auth.lock")).expect("made");
                file.lock().expect("free");
                std::mem::forget(file);
            },
            is_alone: true,
            ..PLAIN
        },
        Scenario {
            code: "unsynced-left-over",
            prepare: |stage| drop(lives(stage, "syncing", 2 * HOUR_MS)),
            act: |stage| drop(stage.lazaretto("refresh syncing")),
            befall: |stage| touched(stage, "auth.json.lazaretto.unsynced", "half"),
            is_alone: true,
            ..PLAIN
        },
    ];
    // Only root can give a file away.
    if rustix::process::geteuid().is_root() {
        all.push(Scenario {
            code: "owner-beside",
            befall: |stage| {
                touched(stage, "auth.json.lazaretto-pool", "{}");
                chown(stage.path("auth.json.lazaretto-pool"), Some(54_321), None).expect("given");
            },
            ..PLAIN
        });
    }
    all
}

fn mode_of_vault(stage: &Stage, mode: u32) {
    if stage.vault_file().is_file() {
        chmod(&stage.vault_file(), mode);
    }
}
