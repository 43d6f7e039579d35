//! The screens as they are: one vault with one of each, drawn at every width, beside this as text. `BLESS=1 cargo test --workspace --lib
//! screens` writes them anew.

use std::fs;
use std::path::Path;

use super::need::example;
use super::text;
use lazaretto_host::{CredentialStatus, LastError, StatusReport};

/// Monday, 20 July 2026, 10:00 UTC.
pub(super) const NOW_MS: u64 = 1_784_541_600_000;

const MIN: u64 = 60_000;
const DAY: u64 = 1_440 * MIN;

/// Compares lines with a file of this folder, without what is blank at their ends.
pub(super) fn compare(name: &str, columns: usize, drawn: &str) {
    for line in drawn.lines() {
        let is_command = ["run: ", "or: "].iter().any(|head| line.trim_start().starts_with(head));
        assert!(is_command || text::width(line) <= columns, "{name}: {line:?} is wider than {columns}");
    }
    let drawn: String = drawn.lines().map(|line| format!("{}\n", line.trim_end())).collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/screens").join(name);
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, &drawn).expect("written");
    }
    let wanted = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(drawn, wanted, "{name}");
}

fn left(min: u64) -> Option<u64> {
    Some(NOW_MS + min * MIN)
}

fn failed(code: &str, message: &str) -> Option<LastError> {
    Some(LastError {
        code: code.into(),
        message: message.into(),
        reason: "refresh-refused".into(),
        at_ms: Some(NOW_MS - 3 * MIN),
    })
}

fn login(provider: &str, usable: &str, renewal: &str) -> CredentialStatus {
    CredentialStatus { provider: provider.into(), todo: None, last_error: None, ..example(usable, renewal) }
}

/// In the order in which they would be picked.
pub(super) fn one_of_each() -> StatusReport {
    let key = |id: &str, label: &str| CredentialStatus {
        credential: id.into(),
        label: label.into(),
        source: "manual".into(),
        kind: "api-key".into(),
        expires_at_ms: None,
        ..login("anthropic", "yes", "none")
    };
    let credentials = vec![
        key("3da445", "my personal key that has a very long label"),
        key("9f0a12", "日本語のラベル"),
        CredentialStatus { account: Some("alice@example.com".into()), ..login("acme", "yes", "ok") },
        CredentialStatus { expires_at_ms: left(1), ..login("expiring", "expiring", "ok") },
        CredentialStatus {
            refreshing_by: Some("pid 4711 on build-3".into()),
            refreshing_since_ms: Some(NOW_MS - 3_000),
            ..login("in-flight", "expired", "refreshing")
        },
        CredentialStatus {
            retry_at_ms: left(14),
            last_error: failed("slow_down", "HTTP 429 slow_down: try again later"),
            ..login("cooling", "yes", "paused")
        },
        CredentialStatus {
            last_error: failed("interaction_required", "HTTP 400: the user has to confirm something at the provider"),
            todo: Some("lazaretto login confirm".into()),
            ..login("confirm", "expired", "needs-login")
        },
        CredentialStatus {
            sealed_until_ms: Some(NOW_MS + 6 * DAY),
            last_error: failed("invalid_grant", "the server refused the refresh token: revoked"),
            todo: Some("lazaretto --vault '/srv/my vaults/auth.json' login nous --flow device-code".into()),
            ..login("nous", "no", "quarantined")
        },
        CredentialStatus {
            expires_at_ms: left(10),
            note: Some("it has no refresh token: a person must log in when it ends".into()),
            ..login("one-off", "yes", "none")
        },
        CredentialStatus {
            last_error: failed("invalid_client", "HTTP 401 invalid_client: the client is refused, not the token"),
            todo: Some("lazaretto providers corp".into()),
            ..login("corp", "yes", "needs-configuration")
        },
        CredentialStatus { credential: "77aa01".into(), label: "work".into(), ..login("lost", "expired", "in-doubt") },
    ];
    StatusReport { credentials, warnings: vec!["an entry of acme's pool has no token and is left alone".into()] }
}
