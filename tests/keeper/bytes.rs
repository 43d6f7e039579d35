//! A vault is somebody's file: only the values that must change are changed.

use crate::common::{Home, moment};
use lazaretto_testing::demo_server::Fault;
use serde_json::{Value, json};

/// Odd spacing, escapes, numbers that a parser would spell otherwise, unknown fields everywhere. `ACCESS`, `REFRESH` and
/// `SINCE` are filled in.
const ODD: &str = "{\r\n\t\"version\" : 1 ,\"n\":[1.00e+2, 9007199254740993, -0, 1E400,0.1000],  \"esc\":\"\\u0041\\/\\ud83d\\ude00\\t\", \"providers\"\t:{ \"xai-oauth\" : {\"tokens\":{ \"x\\u002dy\":null,\"access_token\" : \"ACCESS\",\n  \"refresh_token\":   \"REFRESH\" ,\"expires_in\":21600.0,\"big\":123456789012345678901234567890}, \"zeta\":{},\n\"last_refresh\":\"SINCE\",\"alpha\":[ ]}, \"unknown\":{\"a\":1,\"a\":2} },\n \"credential_pool\":{\"xai-oauth\":[ {\"id\":\"k1\" ,\"auth_type\":\"api_key\",\"access_token\":\"sk-\\u006bey\",\"weird\":1e-7} , 17, {\"id\":\"s1\",\"source\":\"device_code\",\"auth_type\":\"oauth\",\"access_token\":\"ACCESS\",\"refresh_token\":\"REFRESH\",\"last_refresh\":\"SINCE\"}]} , \"tail\":true}   \n\n";

fn odd_home() -> (Home, lazaretto_testing::demo_server::Login) {
    let home = Home::new();
    let own = home.log_in("xai-oauth");
    let text =
        ODD.replace("ACCESS", &own.access_token).replace("REFRESH", &own.refresh_token).replace("SINCE", &moment(0));
    home.write(&text);
    (home, own)
}

/// What was added to or taken from a text, character by character, as runs.
fn differences(before: &str, after: &str) -> Vec<(String, String)> {
    // Everything that lazaretto edits here is a JSON token, so comparing tokens is enough, and exact.
    let tokens = |text: &str| {
        let mut tokens = vec![String::new()];
        let (mut inside, mut escaped) = (false, false);
        for char in text.chars() {
            if let Some(last) = tokens.last_mut() {
                last.push(char);
            }
            inside ^= char == '"' && !escaped;
            escaped = char == '\\' && !escaped;
            if !inside && "{}[],:\" \t\r\n".contains(char) {
                tokens.push(String::new());
            }
        }
        tokens
    };
    let (before, after) = (tokens(before), tokens(after));
    // Longest common subsequence by table: the texts are small.
    let mut table = vec![vec![0u32; after.len() + 1]; before.len() + 1];
    for i in (0..before.len()).rev() {
        for j in (0..after.len()).rev() {
            table[i][j] =
                if before[i] == after[j] { table[i + 1][j + 1] + 1 } else { table[i + 1][j].max(table[i][j + 1]) };
        }
    }
    let (mut i, mut j, mut runs): (usize, usize, Vec<(String, String)>) = (0, 0, Vec::new());
    let mut in_run = false;
    while i < before.len() || j < after.len() {
        if i < before.len() && j < after.len() && before[i] == after[j] {
            (i, j, in_run) = (i + 1, j + 1, false);
            continue;
        }
        if !in_run {
            runs.push(Default::default());
            in_run = true;
        }
        let Some(run) = runs.last_mut() else { break };
        if j == after.len() || (i < before.len() && table[i + 1][j] >= table[i][j + 1]) {
            run.0.push_str(&before[i]);
            i += 1;
        } else {
            run.1.push_str(&after[j]);
            j += 1;
        }
    }
    runs
}

/// A refresh changes the tokens and their times and not one byte else.
#[test]
fn a_refresh_changes_tokens_and_times_and_no_other_byte() {
    let (home, own) = odd_home();
    let before = home.text();
    let token = home.refresh("xai-oauth").expect("refreshed").token;
    let after = home.text();
    let refresh = serde_json::from_str::<Value>(&after.replace("1E400", "1")).expect("json")["providers"]["xai-oauth"]
        ["tokens"]["refresh_token"]
        .as_str()
        .expect("a token")
        .to_owned();
    // Undo the edits that are known, and the old text must be left.
    let since = |text: &str| {
        text.split("\"last_refresh\":\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a time").to_owned()
    };
    let expires = |text: &str| {
        text.split("\"expires_in\":").nth(1).and_then(|rest| rest.split(',').next()).expect("a lifetime").to_owned()
    };
    let undone = after
        .replace(&token, &own.access_token)
        .replace(&refresh, &own.refresh_token)
        .replace(&since(&after), &since(&before))
        .replacen(&expires(&after), &expires(&before), 1);
    // What the entry did not have before stands at its end, and nowhere else.
    let end_of_entry = undone.find("}]} , \"tail\"").expect("the last entry");
    let entry_before = before.find("}]} , \"tail\"").expect("the last entry");
    let added = &undone[entry_before..end_of_entry];
    let added_keys: Vec<&str> = added.split(',').skip(1).filter_map(|member| member.split('"').nth(1)).collect();
    assert_eq!(added_keys, ["expires_at", "expires_in"]);
    assert_eq!(format!("{}{}", &undone[..entry_before], &undone[end_of_entry..]), before);
    assert!(after.starts_with(&before[..before.find("\"access_token\"").expect("there")]));
    assert!(after.ends_with("} , \"tail\":true}   \n\n"));
}

/// A quarantine takes out the tokens and the copy and not one byte else.
#[test]
fn a_quarantine_removes_tokens_and_copy_and_no_other_byte() {
    let (home, own) = odd_home();
    let before = home.text();
    home.server.fault([Fault::status(401, "application/json", r#"{"error":"invalid_grant"}"#)]);
    home.refresh("xai-oauth").expect_err("refused");
    let after = home.text();
    let runs = differences(&before, &after);
    let gone: String = runs.iter().map(|(gone, _)| gone.as_str()).collect();
    let added: String = runs.iter().map(|(_, added)| added.as_str()).collect();
    assert!(added.contains("\"last_auth_error\"") && !added.contains(&own.refresh_token));
    assert!(gone.contains("\"access_token\"") && gone.contains("\"refresh_token\"") && gone.contains("\"id\":\"s1\""));
    for kept in [
        "\"n\":[1.00e+2, 9007199254740993, -0, 1E400,0.1000]",
        "\"esc\":\"\\u0041\\/\\ud83d\\ude00\\t\"",
        "\"x\\u002dy\":null",
        "\"big\":123456789012345678901234567890",
        "{\"id\":\"k1\" ,\"auth_type\":\"api_key\",\"access_token\":\"sk-\\u006bey\",\"weird\":1e-7} , 17",
        "\"unknown\":{\"a\":1,\"a\":2}",
    ] {
        assert!(after.contains(kept), "{kept}");
    }
    // And back again.
    home.session().unquarantine(&home.selector("xai-oauth")).expect("sealed");
    let restored: Value = serde_json::from_str(&home.text().replace("1E400", "1")).expect("json");
    let original: Value = serde_json::from_str(&before.replace("1E400", "1")).expect("json");
    assert_eq!(restored["providers"], original["providers"]);
    assert_eq!(restored["credential_pool"]["xai-oauth"][2], original["credential_pool"]["xai-oauth"][2]);
}

/// A key that stands twice on the way is refused before anything is sent.
#[test]
fn a_repeated_key_on_the_path_stops_the_send() {
    let home = Home::new();
    let own = home.log_in("xai-oauth");
    let text = format!(
        r#"{{"providers":{{"xai-oauth":{{"tokens":{{"refresh_token":"old","access_token":"x","refresh_token":"{}"}}}}}}}}"#,
        own.refresh_token
    );
    home.write(&text);
    let error = home.refresh("xai-oauth").expect_err("which one counts?");
    assert_eq!(error.code, "corrupt-vault");
    assert!(error.message.contains("`refresh_token` stands more than once"), "{error}");
    assert_eq!((home.text(), home.server.requests()), (text, 0));
}

#[test]
fn one_bad_row_or_field_spoils_nothing_else() {
    let home = Home::new();
    let own = home.log_in("xai-oauth");
    home.write_json(&json!({
        "providers": { "nous": "what?", "xai-oauth": crate::common::login("xai-oauth", &own), "7": [] },
        "credential_pool": { "xai-oauth": [null, 4, [], "x", { "id": 7, "priority": "high", "access_token": {} }], "nous": 3, "x": {} },
        "suppressed_sources": 12
    }));
    home.refresh("xai-oauth").expect("refreshed all the same");
    let report = home.session().status(lazaretto_host::storage::VAULT, None).expect("a status");
    assert_eq!(report.warnings.len(), 10, "{:#?}", report.warnings);
}
