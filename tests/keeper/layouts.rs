//! Other tools' own files as vaults, through the compiled component: each is served, refreshed, quarantined and put back in
//! place, and everything else in it stays byte for byte. The files are in `tests/layouts/`.

use std::fs;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::common::{Home, client_id};
use lazaretto_host::storage::{FROM, FileStorage, VAULT};
use lazaretto_host::{Keeper, KeeperError, StatusReport, TokenRequest};
use lazaretto_testing::demo_server::{Behaviour, Fault, Login, TokenServer};
use serde_json::{Value, json};

const HOUR_MS: i64 = 3_600_000;

/// One tool's file.
#[derive(Clone, Copy)]
struct Layout {
    /// In `tests/layouts/`.
    name: &'static str,
    /// As the tool calls it.
    file: &'static str,
    provider: &'static str,
    login_hint: &'static str,
    /// Where a refresh writes the time.
    times: &'static [&'static str],
    /// Where the expiry is, and whether it is a number of milliseconds.
    expiry: Option<(&'static str, bool)>,
    /// What a quarantine leaves in place of the tokens.
    emptied: fn(&str) -> String,
}

const EMPTY: fn(&str) -> String = |template| template.replace("ACCESS", "").replace("REFRESH", "");

const LAYOUTS: [Layout; 7] = [
    Layout {
        name: "codex",
        file: ".codex/auth.json",
        provider: "openai-codex",
        login_hint: "codex login",
        times: &["/last_refresh"],
        expiry: None,
        emptied: |template| {
            let (before, rest) = template.split_once("\"tokens\": ").expect("tokens");
            let (_, after) = rest.split_once("  }").expect("their end");
            format!("{before}\"tokens\": null{after}")
        },
    },
    Layout {
        name: "claude-code",
        file: ".claude/.credentials.json",
        provider: "anthropic",
        login_hint: "claude auth login",
        times: &[],
        expiry: Some(("/claudeAiOauth/expiresAt", true)),
        emptied: EMPTY,
    },
    Layout {
        name: "hermes-anthropic",
        file: ".hermes/.anthropic_oauth.json",
        provider: "anthropic",
        login_hint: "hermes auth add anthropic",
        times: &[],
        expiry: Some(("/expiresAt", true)),
        emptied: EMPTY,
    },
    Layout {
        name: "hermes-nous",
        file: ".hermes/shared/nous_auth.json",
        provider: "nous",
        login_hint: "hermes auth add nous",
        times: &["/obtained_at", "/updated_at"],
        expiry: Some(("/expires_at", false)),
        emptied: EMPTY,
    },
    Layout {
        name: "gemini-cli",
        file: ".gemini/oauth_creds.json",
        provider: "gemini-cli",
        login_hint: "gemini  # then /auth",
        times: &[],
        expiry: Some(("/expiry_date", true)),
        emptied: EMPTY,
    },
    Layout {
        name: "qwen-code",
        file: ".qwen/oauth_creds.json",
        provider: "qwen",
        login_hint: "qwen  # then /auth",
        times: &[],
        expiry: Some(("/expiry_date", true)),
        emptied: EMPTY,
    },
    Layout {
        name: "opencode",
        file: ".local/share/opencode/auth.json",
        provider: "anthropic",
        login_hint: "opencode auth login",
        times: &[],
        expiry: Some(("/anthropic/expires", true)),
        emptied: EMPTY,
    },
];

/// A home in which one tool keeps its file, and a server that its provider's profile leads to.
struct Tool {
    layout: Layout,
    home: Home,
    login: Login,
}

impl Tool {
    fn new(layout: Layout) -> Self {
        let jwt_access_tokens = layout.name == "codex";
        // Some profiles are shown another scope than the files name.
        let scope = if layout.name == "hermes-nous" { "inference:invoke" } else { GEMINI_SCOPE };
        let behaviour = Behaviour { jwt_access_tokens, scope: scope.into(), ..Behaviour::default() };
        let server = TokenServer::start(behaviour).expect("a loopback port");
        let profiles = json!({ layout.provider: { "token_endpoint": server.token_endpoint() } });
        let client = match layout.provider {
            "gemini-cli" => "681255809395-oo8ft2oprdrnp9e3aqf6av3hmdib135j.apps.googleusercontent.com",
            "qwen" => "f0304373b74a44d2b584a3fb70ca9e56",
            known => client_id(known),
        };
        let login = server.login(client);
        Self { layout, home: Home::around(server, &profiles), login }
    }

    fn path(&self) -> PathBuf {
        self.home.folder.path().join(self.layout.file)
    }

    /// The tool's file around these tokens, as the tool would write it, but for the times.
    fn filled(&self, template: &str, access: &str, refresh: &str, expires_ms: i64) -> String {
        let expires = match self.layout.expiry {
            Some((_, false)) => lazaretto::time::to_rfc3339(expires_ms as u64, lazaretto::time::Zone::Offset),
            _ => expires_ms.to_string(),
        };
        template.replace("ACCESS", access).replace("REFRESH", refresh).replace("EXPIRES", &expires)
    }

    fn template(&self) -> String {
        let path = format!("{}/tests/layouts/{}.json", env!("CARGO_MANIFEST_DIR"), self.layout.name);
        fs::read_to_string(path).expect("a template")
    }

    /// Writes the file, with an access token that ends then.
    fn write(&self, expires_ms: i64) -> String {
        let text = self.filled(&self.template(), &self.login.access_token, &self.login.refresh_token, expires_ms);
        self.put(&text);
        text
    }

    fn put(&self, text: &str) {
        fs::create_dir_all(self.path().parent().expect("a folder")).expect("made");
        fs::write(self.path(), text).expect("written");
    }

    fn text(&self) -> String {
        fs::read_to_string(self.path()).expect("a file")
    }

    fn session(&self) -> Keeper {
        let profiles = self.home.folder.path().join("providers.json");
        self.home.keeper_on(FileStorage::open(self.path()).with_profiles(profiles))
    }

    fn request(&self) -> TokenRequest {
        TokenRequest::new(VAULT, self.layout.provider)
    }

    fn status(&self) -> StatusReport {
        self.session().status(VAULT, None).expect("a status")
    }

    fn error(&self) -> KeeperError {
        self.session().token(&self.request()).expect_err("nothing to serve")
    }

    /// What another program left beside the file.
    fn beside(&self) -> Vec<String> {
        let folder = fs::read_dir(self.path().parent().expect("a folder")).expect("a folder");
        let mut names: Vec<String> =
            folder.map(|entry| entry.expect("an entry").file_name().into_string().expect("a name")).collect();
        names.sort();
        names
    }
}

const GEMINI_SCOPE: &str =
    "https://www.googleapis.com/auth/cloud-platform https://www.googleapis.com/auth/userinfo.email openid";

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as i64
}

fn at<'a>(json: &'a Value, pointer: &str) -> &'a Value {
    json.pointer(pointer).expect("it is there")
}

/// A valid token is served from every file and nothing is written.
#[test]
fn a_valid_token_of_every_layout_is_served_without_a_write() {
    for layout in LAYOUTS {
        let tool = Tool::new(layout);
        let expires_ms = (now_ms() + HOUR_MS) / 1_000 * 1_000;
        let before = tool.write(expires_ms);
        let token = tool.session().token(&tool.request()).expect(layout.name);
        assert_eq!((token.token.as_str(), token.origin.as_str()), (tool.login.access_token.as_str(), "stored"));
        assert_eq!((token.credential.as_str(), token.token_type.as_str()), ("login", "Bearer"), "{}", layout.name);
        match layout.expiry {
            Some(_) => assert_eq!(token.expires_at_ms, Some(expires_ms as u64), "{}", layout.name),
            None => assert!(token.expires_at_ms > Some(now_ms() as u64), "its JWT says so"),
        }
        assert_eq!((tool.text(), tool.home.server.requests()), (before, 0));
    }
}

/// A refresh in place changes the tokens and their times and not a byte else.
#[test]
fn a_refresh_in_place_changes_tokens_and_times_only() {
    for layout in LAYOUTS {
        let tool = Tool::new(layout);
        let mut refresh_token = tool.login.refresh_token.clone();
        tool.write(now_ms() - HOUR_MS);
        for round in 1..=3 {
            let token = tool.session().refresh(&tool.request()).expect(layout.name);
            assert_eq!(token.origin, "refreshed", "{}", layout.name);
            assert_eq!((tool.home.server.requests(), tool.home.server.replays()), (round, 0), "{}", layout.name);
            let json: Value = serde_json::from_str(&tool.text()).expect("still JSON");
            // Whatever is not a token or a time of it is what the template has.
            let mut template = tool.template();
            let old: Value = serde_json::from_str(&tool.filled(&template, "", "", 0)).expect("the template is JSON");
            for time in layout.times {
                let (old, new) = (at(&old, time).as_str().expect("a time"), at(&json, time).as_str().expect("a time"));
                assert!(new.starts_with("20") && new != old, "{time} is {new}");
                template = template.replace(old, new);
            }
            let mut expires_ms = 0;
            if let Some((pointer, is_ms)) = layout.expiry {
                let expiry = at(&json, pointer);
                expires_ms = if is_ms {
                    expiry.as_i64().expect("a number")
                } else {
                    lazaretto::time::from_rfc3339(expiry.as_str().expect("a text")).expect("a time") as i64
                };
                assert!((expires_ms - now_ms() - HOUR_MS).abs() < 60_000, "{} says {expiry}", layout.name);
            }
            let text = tool.text();
            let spent = refresh_token.clone();
            assert!(!text.contains(&spent), "{}", layout.name);
            let found = json.to_string();
            refresh_token = found
                .split('"')
                .find(|word| tool.home.server.is_live(word))
                .unwrap_or_else(|| panic!("{}: no live token", layout.name))
                .to_owned();
            assert_eq!(text, tool.filled(&template, &token.token, &refresh_token, expires_ms), "{}", layout.name);
        }
    }
}

#[test]
fn an_expired_token_is_refreshed_without_being_told_to() {
    for layout in LAYOUTS.iter().filter(|layout| layout.expiry.is_some()) {
        let tool = Tool::new(*layout);
        tool.write(now_ms() - 1_000);
        let token = tool.session().token(&tool.request()).expect(layout.name);
        assert_eq!((token.origin.as_str(), tool.home.server.requests()), ("refreshed", 1), "{}", layout.name);
    }
}

/// A refused token leaves the file says why and is put back byte for byte.
#[test]
fn a_refused_token_is_removed_and_restored_byte_for_byte() {
    for layout in LAYOUTS {
        let tool = Tool::new(layout);
        let name = layout.name;
        let expires_ms = now_ms() - HOUR_MS;
        let before = tool.write(expires_ms);
        tool.home.server.fault([Fault::status(
            400,
            "application/json",
            r#"{"error":"invalid_grant","error_description":"gone"}"#,
        )]);
        let error = tool.session().refresh(&tool.request()).expect_err("refused");
        assert_eq!((error.code.as_str(), error.action.as_str()), ("quarantined", "login"), "{name}");
        let emptied = tool.filled(&(layout.emptied)(&tool.template()), "", "", expires_ms);
        assert_eq!(tool.text(), emptied, "{name}");
        // A later session says why, and what to do with this very tool; nothing is sent. One tool's access token is good for
        // longer than its file says, and is served to whoever was not refused it.
        let refused_access_token = Some(tool.login.access_token.clone());
        let request = TokenRequest { refused_access_token, ..tool.request() };
        let error = tool.session().token(&request).expect_err("nothing to serve");
        assert_eq!(error.code, "quarantined", "{name}");
        for part in ["gone", "invalid_grant"] {
            assert!(error.message.contains(part), "{name}: {}", error.message);
        }
        assert_eq!(error.run.as_deref(), Some(layout.login_hint), "{name}");
        let status = tool.status();
        let login = status.credentials.iter().find(|status| status.provider == layout.provider).expect("a login");
        let why = login.last_error.as_ref().expect("why");
        assert_eq!((login.state.as_str(), why.code.as_str()), ("quarantined", "invalid_grant"), "{name}");
        assert_eq!((login.sealed_until_ms.is_some(), login.todo.as_deref()), (true, Some(layout.login_hint)), "{name}");
        assert_eq!(tool.home.server.requests(), 1, "{name}");
        tool.session().unquarantine(&tool.home.selector(layout.provider)).expect(name);
        assert_eq!(tool.text(), before, "{name}");
        tool.session().refresh(&tool.request()).expect(name);
    }
}

/// A login anew with the tool ends a quarantine and is not overwritten by one undone.
#[test]
fn a_new_login_ends_a_quarantine_and_is_not_overwritten() {
    for layout in LAYOUTS {
        let tool = Tool::new(layout);
        tool.write(now_ms() - HOUR_MS);
        tool.home.server.fault([Fault::status(400, "application/json", r#"{"error":"invalid_grant"}"#)]);
        tool.session().refresh(&tool.request()).expect_err("refused");
        let login = tool.home.server.login("somebody");
        let anew = tool.filled(&tool.template(), &login.access_token, &login.refresh_token, now_ms() + HOUR_MS);
        tool.put(&anew);
        let token = tool.session().token(&tool.request()).expect(layout.name);
        assert_eq!(token.token, login.access_token, "{}", layout.name);
        let error = tool.session().unquarantine(&tool.home.selector(layout.provider)).expect_err("taken");
        assert_eq!((error.code.as_str(), tool.text()), ("nothing-to-do", anew), "{}", layout.name);
    }
}

#[test]
fn keys_in_other_tools_files_are_served_and_never_refreshed() {
    let opencode = LAYOUTS[6];
    let tool = Tool::new(opencode);
    let before = tool.write(now_ms() + HOUR_MS);
    for (provider, key) in [("openrouter", "sk-or-v1-not-touched"), ("https://example.com", "well-known-token")] {
        let token = tool.session().token(&TokenRequest::new(VAULT, provider)).expect(provider);
        assert_eq!((token.token.as_str(), token.origin.as_str(), token.credential.as_str()), (key, "api-key", "key"));
    }
    let status = tool.status();
    assert_eq!(status.credentials.len(), 3, "{:?}", status.credentials);
    assert!(status.warnings.iter().any(|warning| warning.contains("broken")), "{:?}", status.warnings);
    let codex = Tool::new(LAYOUTS[0]);
    codex.put(r#"{"auth_mode":"apikey","OPENAI_API_KEY":"sk-proj-1"}"#);
    let token = codex.session().token(&codex.request()).expect("a key");
    assert_eq!((token.token.as_str(), token.origin.as_str()), ("sk-proj-1", "api-key"));
    assert_eq!(codex.session().refresh(&codex.request()).expect_err("a key").code, "nothing-to-do");
    assert_eq!((tool.text(), tool.home.server.requests()), (before, 0));
}

/// What holds nothing is an empty vault and what nobody is known to write is left alone.
#[test]
fn an_empty_file_is_a_vault_and_an_unknown_one_is_untouched() {
    let tool = Tool::new(LAYOUTS[0]);
    for text in [r#"{"version":1}"#, "{}"] {
        tool.put(text);
        assert_eq!(tool.error().code, "no-credential", "{text}");
        assert_eq!(tool.status().credentials.len(), 0);
        assert_eq!(tool.text(), text);
    }
    for text in [r#"{"login":{"access":"x"}}"#, r#"{"access_token":""}"#] {
        tool.put(text);
        assert_eq!(tool.error().code, "unknown-layout", "{text}");
        assert_eq!(tool.text(), text);
    }
    tool.write(0);
    let error = tool.session().token(&TokenRequest::new(VAULT, "nous")).expect_err("not in there");
    assert_eq!(error.code, "no-credential");
    assert!(!error.message.contains("codex login"), "that would not help: {}", error.message);
    tool.put("[1]");
    assert_eq!(tool.error().code, "corrupt-vault");
    assert_eq!(tool.beside(), ["auth.json"], "a look leaves nothing behind");
}

/// A login is moved into a vault out of every file and refreshed there.
#[test]
fn a_login_of_every_layout_is_moved_and_refreshed_there() {
    for layout in LAYOUTS {
        let tool = Tool::new(layout);
        let expires_ms = now_ms() + HOUR_MS;
        tool.write(expires_ms);
        let admin = || {
            let storage = tool.home.storage().from_file(tool.path());
            tool.home.keeper_on(storage).admin().import(VAULT, FROM, Some(layout.provider), true)
        };
        let brought = admin().expect(layout.name);
        assert_eq!(brought.len(), 1, "{}: {brought:?}", layout.name);
        let emptied = tool.filled(&(layout.emptied)(&tool.template()), "", "", expires_ms);
        assert_eq!(tool.text(), emptied, "{}", layout.name);
        assert!(tool.home.text().contains(&tool.login.refresh_token), "{}", layout.name);
        assert_eq!(admin().expect_err("done").code, "nothing-to-do", "{}", layout.name);
        let token = tool.home.refresh(layout.provider).expect(layout.name);
        assert_eq!((token.origin.as_str(), tool.home.server.replays()), ("refreshed", 0), "{}", layout.name);
        // Interrupted before it was erased there, and refreshed here since: once more completes it.
        tool.write(expires_ms);
        admin().expect(layout.name);
        assert_eq!(tool.text(), emptied, "{}", layout.name);
        assert!(!tool.home.text().contains(&tool.login.refresh_token), "{}", layout.name);
        assert_eq!(tool.home.json()["credential_pool"][layout.provider].as_array().expect("a pool").len(), 1);
    }
}

#[test]
fn a_copy_leaves_the_file_as_it_was_and_keys_come_too() {
    let tool = Tool::new(LAYOUTS[6]);
    let before = tool.write(now_ms() + HOUR_MS);
    let storage = tool.home.storage().from_file(tool.path());
    let brought = tool.home.keeper_on(storage).admin().import(VAULT, FROM, None, false).expect("copied");
    assert_eq!((brought.len(), tool.text()), (3, before));
    assert_eq!(tool.home.token("openrouter").expect("a key").token, "sk-or-v1-not-touched");
}

/// A file that no tool we know is certain to have written: `tests/layouts/others.jsonl`.
struct Other {
    name: String,
    path: PathBuf,
    text: String,
    code: String,
    /// Whose it is in fact, where a person could know.
    layout: Option<String>,
    home: Home,
}

impl Other {
    fn all() -> Vec<Self> {
        let path = format!("{}/tests/layouts/others.jsonl", env!("CARGO_MANIFEST_DIR"));
        let rows = fs::read_to_string(path).expect("the table");
        let others: Vec<Self> = rows.lines().map(Self::read).collect();
        assert!(others.len() >= 30);
        others
    }

    fn read(row: &str) -> Self {
        let row: Value = serde_json::from_str(row).expect("a row");
        let server = TokenServer::start(Behaviour::default()).expect("a loopback port");
        let endpoint = json!({ "token_endpoint": server.token_endpoint() });
        let profiles: serde_json::Map<String, Value> =
            PROVIDERS.iter().map(|provider| ((*provider).to_owned(), endpoint.clone())).collect();
        let home = Home::around(server, &Value::Object(profiles));
        let text_of = |name: &str| row[name].as_str().map(str::to_owned);
        let path = home.folder.path().join(text_of("path").expect("a path").trim_start_matches('/'));
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        let text = row["text"].to_string();
        fs::write(&path, &text).expect("written");
        let code = text_of("code").unwrap_or_else(|| "unknown-layout".to_owned());
        Self { name: text_of("name").expect("a name"), path, text, code, layout: text_of("layout"), home }
    }

    fn storage(&self) -> FileStorage {
        FileStorage::open(&self.path).with_profiles(self.home.folder.path().join("providers.json"))
    }

    fn is_refused<T: std::fmt::Debug>(&self, call: &str, result: Result<T, KeeperError>) {
        let error = result.expect_err(&format!("{}: {call}", self.name));
        assert_eq!(error.code, self.code, "{}: {call}: {}", self.name, error.message);
        if error.code == "unknown-layout" {
            assert_eq!(error.action, "usage", "{}: {call}", self.name);
            assert!(error.message.contains("--layout NAME"), "{}: {call}: {}", self.name, error.message);
        }
        assert!(!error.message.contains("of-another"), "{}: {call}: {}", self.name, error.message);
    }
}

/// Every one whose logins some layout holds, and more.
const PROVIDERS: [&str; 8] = ["anthropic", "openai-codex", "gemini-cli", "google", "qwen", "nous", "kimi", "xai-oauth"];

#[test]
fn a_file_of_another_tool_is_not_taken_for_one_that_is_known() {
    for other in Other::all() {
        let keeper = other.home.keeper_on(other.storage());
        for provider in PROVIDERS {
            other.is_refused("token", keeper.token(&TokenRequest::new(VAULT, provider)));
            other.is_refused("refresh", keeper.refresh(&TokenRequest::new(VAULT, provider)));
        }
        let selector = other.home.selector("anthropic");
        other.is_refused("status", keeper.status(VAULT, None));
        other.is_refused("unquarantine", keeper.unquarantine(&selector));
        other.is_refused("reset", keeper.reset(&selector));
        let admin = keeper.admin();
        other.is_refused("remove", admin.remove(&selector));
        other.is_refused("logout", admin.logout(&selector, false));
        if other.code == "unknown-layout" {
            other.is_refused("doctor", admin.doctor(VAULT, true));
        }
        for is_move in [true, false] {
            let storage = other.home.storage().from_file(&other.path);
            other.is_refused("import", other.home.keeper_on(storage).admin().import(VAULT, FROM, None, is_move));
        }
        assert_eq!(other.home.server.requests(), 0, "{}", other.name);
        assert_eq!(fs::read_to_string(&other.path).expect("a file"), other.text, "{}", other.name);
        let beside = fs::read_dir(other.path.parent().expect("a folder")).expect("a folder").count();
        assert_eq!(beside, 1, "{}: a look leaves nothing behind", other.name);
    }
}

#[test]
fn whose_a_renamed_file_is_a_person_can_state() {
    for other in Other::all() {
        let Some(layout) = &other.layout else { continue };
        let provider = LAYOUTS.iter().find(|known| known.name == layout).expect("a layout").provider;
        let stated = other.home.keeper_on(other.storage().layout(layout.as_str()));
        assert_eq!(stated.status(VAULT, None).expect("known").credentials[0].provider, provider, "{}", other.name);
        // Or once and for all, in the settings.
        let settings = format!("{}.lazaretto-settings.json", other.path.display());
        fs::write(settings, json!({ "layout": layout }).to_string()).expect("written");
        let keeper = other.home.keeper_on(other.storage());
        assert_eq!(keeper.status(VAULT, None).expect("known").credentials[0].provider, provider, "{}", other.name);
        other.home.server.fault([Fault::status(400, "application/json", r#"{"error":"invalid_grant"}"#)]);
        let error = keeper.refresh(&TokenRequest::new(VAULT, provider)).expect_err("refused");
        assert_eq!((error.code.as_str(), other.home.server.requests()), ("quarantined", 1), "{}", other.name);
        keeper.unquarantine(&other.home.selector(provider)).expect("put back");
        assert_eq!(fs::read_to_string(&other.path).expect("a file"), other.text, "{}", other.name);
        // A layout that there is not is no layout.
        let wrong = other.home.keeper_on(other.storage().layout("codecs"));
        let error = wrong.token(&TokenRequest::new(VAULT, provider)).expect_err("no such layout");
        assert_eq!(error.code, "unknown-layout");
        assert!(error.message.contains("\"codecs\"") && error.message.contains(layout.as_str()), "{}", error.message);
        // What is stated of the vault in use says nothing of a file that is imported from.
        let import = |storage: FileStorage| {
            let storage = storage.from_file(&other.path);
            other.home.keeper_on(storage).admin().import(VAULT, FROM, None, true)
        };
        other.is_refused("import", import(other.home.storage().layout(layout.as_str())));
        let stated = other.home.storage().from_file(&other.path).from_layout(layout.as_str());
        let brought = other.home.keeper_on(stated).admin().import(VAULT, FROM, None, true).expect("moved");
        assert_eq!(brought[0].provider, provider, "{}", other.name);
    }
}

/// Settings that come to state a layout are heeded by an open keeper.
#[test]
fn an_open_keeper_follows_a_newly_stated_layout() {
    let other = Other::all().into_iter().find(|other| other.layout.is_some()).expect("one");
    let keeper = other.home.keeper_on(other.storage());
    other.is_refused("status", keeper.status(VAULT, None));
    let settings = format!("{}.lazaretto-settings.json", other.path.display());
    fs::write(settings, json!({ "layout": other.layout }).to_string()).expect("written");
    assert_eq!(keeper.status(VAULT, None).expect("known").credentials.len(), 1);
}

/// A file that nobody is known to write owns the token that it holds.
#[test]
fn a_file_of_unknown_layout_owns_its_token() {
    let home = Home::new();
    let own = home.log_in("xai-oauth");
    let mut login = crate::common::login("xai-oauth", &own);
    login["last_refresh"] = json!("2020-01-01T00:00:00Z");
    home.write_json(&json!({ "version": 1, "providers": { "xai-oauth": login } }));
    let path = home.folder.path().join("somebody.json");
    fs::write(&path, json!({ "session": { "rt": own.refresh_token } }).to_string()).expect("written");
    let keeper = home.keeper_on(home.storage().also(&path));
    let error = keeper.token(&TokenRequest::new(VAULT, "xai-oauth")).expect_err("owned");
    assert_eq!((error.code.as_str(), home.server.requests()), ("owned-elsewhere", 0));
    fs::write(&path, json!({ "session": { "rt": "another" } }).to_string()).expect("written");
    assert_eq!(keeper.token(&TokenRequest::new(VAULT, "xai-oauth")).expect("its own").origin, "refreshed");
}

/// Without a refresh token no clock erases anything of another tool.
#[test]
fn without_a_refresh_token_no_clock_erases_foreign_data() {
    for layout in LAYOUTS {
        let tool = Tool::new(layout);
        // A JWT that ended, and a time that did.
        let access = "e30.eyJleHAiOjE3MDAwMDAwMDB9.c2ln";
        let before = tool.filled(&tool.template(), access, "", 1_700_000_000_000);
        tool.put(&before);
        for _ in 0..2 {
            let error = tool.error();
            assert_eq!((error.code.as_str(), error.action.as_str()), ("login-required", "login"), "{}", layout.name);
            let said = (error.message.contains("clock"), error.run.as_deref());
            assert_eq!(said, (true, Some(layout.login_hint)), "{}: {}", layout.name, error.message);
        }
        let status = tool.status();
        let login = status.credentials.iter().find(|status| status.provider == layout.provider).expect("a login");
        assert_eq!(login.state, "no-token", "{}", layout.name);
        assert_eq!((tool.text(), tool.home.server.requests()), (before, 0), "{}", layout.name);
    }
}

#[test]
fn what_a_move_erases_is_sealed_and_can_be_put_back() {
    for layout in LAYOUTS {
        let tool = Tool::new(layout);
        let before = tool.write(now_ms() + HOUR_MS);
        let storage = tool.home.storage().from_file(tool.path());
        tool.home.keeper_on(storage).admin().import(VAULT, FROM, Some(layout.provider), true).expect(layout.name);
        assert_ne!(tool.text(), before, "{}", layout.name);
        // Its old tokens are not served from there.
        assert_eq!(tool.error().action, "login", "{}", layout.name);
        tool.session().unquarantine(&tool.home.selector(layout.provider)).expect(layout.name);
        assert_eq!(tool.text(), before, "{}", layout.name);
    }
}

#[test]
fn an_end_in_another_spelling_is_read_in_every_layout() {
    for layout in LAYOUTS.iter().filter(|layout| layout.expiry.is_some()) {
        let (end, later) = (now_ms() / 1_000 - 60, now_ms() / 1_000 + 36_000);
        let iso = |at: i64| lazaretto::time::to_rfc3339(at as u64 * 1_000, lazaretto::time::Zone::Letter);
        let spelled = |at: i64| {
            let nanoseconds = iso(at).replace(".000000Z", ".000000000+00:00");
            [
                at.to_string(),
                (at * 1_000).to_string(),
                format!("\"{at}\""),
                format!("\"{}\"", at * 1_000),
                format!("\"{nanoseconds}\""),
            ]
        };
        for (over, good) in spelled(end).into_iter().zip(spelled(later)) {
            let tool = Tool::new(*layout);
            let put = |expires: &str| {
                // Where the template has a text, the quotes are its own.
                let template = tool.template().replace("\"EXPIRES\"", "EXPIRES");
                tool.put(
                    &template
                        .replace("ACCESS", &tool.login.access_token)
                        .replace("REFRESH", &tool.login.refresh_token)
                        .replace("EXPIRES", expires),
                );
            };
            put(&good);
            let token = tool.session().token(&tool.request()).expect(layout.name);
            assert_eq!(
                (token.origin.as_str(), token.expires_at_ms),
                ("stored", Some(later as u64 * 1_000)),
                "{} {good}",
                layout.name
            );
            put(&over);
            let token = tool.session().token(&tool.request()).expect(layout.name);
            assert_eq!(
                (token.origin.as_str(), tool.home.server.requests()),
                ("refreshed", 1),
                "{} {over}",
                layout.name
            );
        }
    }
}

#[test]
fn an_end_that_no_server_named_is_never_written_as_1970() {
    for layout in LAYOUTS.iter().filter(|layout| layout.expiry.is_some()) {
        for before in ["0", "\"0\"", "1700000000000"] {
            let tool = Tool::new(*layout);
            let template = tool.template().replace("\"EXPIRES\"", "EXPIRES").replace("EXPIRES", before);
            tool.put(&tool.filled(&template, &tool.login.access_token, &tool.login.refresh_token, 0));
            tool.home.server.fault([Fault::status(
                200,
                "application/json",
                r#"{"access_token":"opaque-2","refresh_token":"rt-2","token_type":"Bearer"}"#,
            )]);
            let name = layout.name;
            assert_eq!(tool.session().token(&tool.request()).expect(name).token, "opaque-2", "{name} {before}");
            let json: Value = serde_json::from_str(&tool.text()).expect("JSON");
            let (pointer, _) = layout.expiry.expect("an expiry");
            match json.pointer(pointer) {
                None | Some(Value::Null) => assert_ne!(name, "opencode", "it takes an entry without a number for none"),
                Some(end) => assert_eq!((name, end.as_i64() > Some(now_ms())), ("opencode", true), "{end}"),
            }
            // And then there is no end of it.
            let token = tool.session().token(&tool.request()).expect(name);
            assert_eq!((token.origin.as_str(), tool.home.server.requests()), ("stored", 1), "{name} {before}");
        }
    }
}
