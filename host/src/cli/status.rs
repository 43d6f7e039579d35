//! `lazaret status`: every credential on a line, and beneath it what went wrong and what to do. Text of others is escaped.

use serde_json::json;

use super::args::StatusArgs;
use super::failure::Failure;
use super::setup::{Open, Setup};
use super::table::{self, Look, Row};
use super::terminal::{self, Style};
use super::{text, time};
use crate::storage::VAULT;
use crate::{CredentialStatus, KeeperError, LastError, StatusReport};

pub(super) fn run(setup: &Setup, args: &StatusArgs) -> Result<(), Failure> {
    if args.all || setup.is_elsewhere_only() {
        return all(setup, args);
    }
    one(setup, args, &setup.open()?)
}

/// Every vault under a heading. One that cannot be read keeps none of the others from being shown.
fn all(setup: &Setup, args: &StatusArgs) -> Result<(), Failure> {
    let (mut first, mut trouble) = (None, Vec::new());
    for vault in setup.vaults()? {
        let open = setup.open_vault(vault, first.as_ref())?;
        if !setup.json {
            let gap = if first.is_some() { "\n" } else { "" };
            let heading = text::escape(&open.places.vault.display().to_string());
            terminal::print(&format!("{gap}{}\n", terminal::stdout_style().strong(&heading)))?;
        }
        match one(setup, args, &open) {
            Err(failure) if failure.is_silent() => return Err(failure),
            Err(failure) => {
                if !setup.json {
                    let mark = terminal::stdout_style().bad("cannot be read:");
                    terminal::print(&format!("{mark} {}\n", text::escape(&failure.message)))?;
                }
                trouble.push(failure);
            }
            Ok(()) => {}
        }
        first.get_or_insert(open);
    }
    if setup.json {
        // A program is told of each.
        let last = trouble.pop();
        trouble.iter().for_each(|failure| failure.print(true));
        return last.map_or(Ok(()), Err);
    }
    match trouble.len() {
        0 => Ok(()),
        1 => Err(Failure::broken("one of the vaults cannot be read").coded("storage")),
        count => Err(Failure::broken(format_args!("{count} of the vaults cannot be read")).coded("storage")),
    }
}

fn one(setup: &Setup, args: &StatusArgs, open: &Open) -> Result<(), Failure> {
    let report = open.keeper.status(VAULT, args.provider.as_deref()).map_err(|error| unreadable(open, error))?;
    let vault = open.places.vault.display().to_string();
    if setup.json {
        let json = json!({ "vault": vault, "credentials": report.credentials, "warnings": report.warnings });
        return terminal::print(&format!("{json}\n"));
    }
    let about = args.provider.as_deref().map(|provider| format!(" of {provider}")).unwrap_or_default();
    terminal::print(&draw(
        &report,
        &vault,
        &about,
        terminal::stdout_style(),
        terminal::stdout_columns(),
        time::now_ms(),
    ))
}

/// A vault that is not there is told of as every command does: somebody must log in first.
pub(super) fn unreadable(open: &Open, error: KeeperError) -> Failure {
    open.failure(error)
}

fn draw(report: &StatusReport, vault: &str, about: &str, style: Style, columns: Option<usize>, now_ms: u64) -> String {
    let mut drawn = String::new();
    if report.credentials.is_empty() {
        drawn += &text::escape(&format!("{vault} holds no credential{about}"));
        drawn.push('\n');
    } else {
        let rows: Vec<Row<5>> = report.credentials.iter().map(|status| row(status, now_ms)).collect();
        let heads = ["PROVIDER", "CREDENTIAL", "SOURCE", "STATE", "EXPIRES"];
        drawn += &table::draw(heads, [true, true, true, false, false], &rows, style, columns);
    }
    for warning in &report.warnings {
        let lines = match columns {
            Some(columns) => text::wrap(&text::escape(warning), columns.saturating_sub("warning: ".len())),
            None => vec![text::escape(warning)],
        };
        for (index, line) in lines.iter().enumerate() {
            let head = if index == 0 { style.warn("warning:") } else { " ".repeat("warning:".len()) };
            drawn += &format!("{head} {line}\n");
        }
    }
    drawn
}

fn row(status: &CredentialStatus, now_ms: u64) -> Row<5> {
    let (id, label) = (text::escape(&status.credential), text::escape(&status.label));
    // The id first: it is what `--credential` takes, and must not be cut off.
    let name = if label.is_empty() || label == id { id } else { format!("{id} ({label})") };
    let is_empty = matches!(status.state.as_str(), "quarantined" | "no-token" | "unusable");
    let expires = match status.expires_at_ms.filter(|_| !is_empty) {
        Some(at_ms) => time::relative(at_ms, now_ms),
        None if status.state == "unknown-expiry" => "unknown".to_owned(),
        None => "-".to_owned(),
    };
    Row {
        cells: [
            (text::escape(&status.provider), Look::Plain),
            (name, Look::Plain),
            (text::escape(&status.source), Look::Plain),
            (text::escape(&status.state), look(&status.state)),
            (expires, Look::Plain),
        ],
        notes: notes(status, now_ms),
    }
}

fn notes(status: &CredentialStatus, now_ms: u64) -> Vec<(&'static str, String)> {
    let mut notes = Vec::new();
    if let Some(error) = &status.last_error {
        notes.push(("last error", said(error, now_ms)));
    }
    if let Some(at_ms) = status.retry_at_ms {
        notes.push(("next try", time::relative(at_ms, now_ms)));
    }
    if let Some(todo) = &status.todo {
        notes.push(("to do", text::escape(todo)));
    }
    // A token that was used before must not be sent again: that may end every login that came from it.
    let reason = status.last_error.as_ref().map_or("", |error| &error.reason);
    let was_used = matches!(reason, "overwritten" | "answer-lost");
    if let Some(until_ms) = status.sealed_until_ms.filter(|until_ms| *until_ms > now_ms && !was_used) {
        let (provider, credential) = (text::escape(&status.provider), text::escape(&status.credential));
        let which = if credential == "login" { String::new() } else { format!(" --credential {credential}") };
        notes.push((
            "or",
            format!(
                "`lazaret unquarantine {provider}{which}`, if the server was wrong: for {} more",
                time::span(until_ms - now_ms)
            ),
        ));
    }
    notes
}

fn said(error: &LastError, now_ms: u64) -> String {
    let when = error.at_ms.map(|at_ms| time::relative(at_ms, now_ms)).unwrap_or_default();
    let known = [&error.code, &error.reason, &when];
    let known: Vec<&str> = known.into_iter().map(String::as_str).filter(|part| !part.is_empty()).collect();
    let message = if error.message.is_empty() { String::new() } else { format!(": {}", error.message) };
    text::escape(&format!("{}{message}", known.join(", ")))
}

/// Green: usable. Yellow: it will mend itself. Red: a person is needed.
pub(super) fn look(state: &str) -> Look {
    match state {
        "valid" | "key" => Look::Good,
        "expiring" | "expired" | "unknown-expiry" | "cooling-down" | "in-doubt" => Look::Warn,
        "held" | "parked" | "quarantined" | "dead" | "no-token" | "unusable" => Look::Bad,
        _ => Look::Plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: u64 = 1_784_541_600_000;

    fn credential(state: &str) -> CredentialStatus {
        CredentialStatus {
            provider: "xai-oauth".into(),
            credential: "login".into(),
            label: "login".into(),
            source: "login".into(),
            kind: "oauth".into(),
            state: state.into(),
            expires_at_ms: Some(NOW_MS + 3_540_000),
            ..CredentialStatus::default()
        }
    }

    fn drawn(credentials: Vec<CredentialStatus>, columns: Option<usize>) -> String {
        draw(&StatusReport { credentials, warnings: vec![] }, "/v", "", Style::PLAIN, columns, NOW_MS)
    }

    #[test]
    fn a_credential_is_a_line_and_its_troubles_stand_beneath() {
        let dead = CredentialStatus {
            expires_at_ms: None,
            sealed_until_ms: Some(NOW_MS + 6 * 86_400_000),
            last_error: Some(LastError {
                code: "invalid_grant".into(),
                message: "revoked".into(),
                reason: "refresh-refused".into(),
                at_ms: Some(NOW_MS - 180_000),
            }),
            todo: Some("log in again: hermes auth add xai-oauth".into()),
            ..credential("quarantined")
        };
        assert_eq!(
            drawn(vec![credential("valid"), dead], None),
            "PROVIDER   CREDENTIAL  SOURCE  STATE        EXPIRES\n\
             xai-oauth  login       login   valid        in 59 min\n\
             xai-oauth  login       login   quarantined  -\n    \
             last error: invalid_grant, refresh-refused, 3 min ago: revoked\n    \
             to do: log in again: hermes auth add xai-oauth\n    \
             or: `lazaret unquarantine xai-oauth`, if the server was wrong: for 6 d more\n"
        );
    }

    #[test]
    fn what_was_used_before_is_not_offered_back() {
        let sealed = |reason: &str| CredentialStatus {
            sealed_until_ms: Some(NOW_MS + 1_000),
            last_error: Some(LastError {
                code: "x".into(),
                message: String::new(),
                reason: reason.into(),
                at_ms: None,
            }),
            ..credential("quarantined")
        };
        assert!(drawn(vec![sealed("refresh-refused")], None).contains("unquarantine"));
        for reason in ["overwritten", "answer-lost"] {
            assert!(!drawn(vec![sealed(reason)], None).contains("unquarantine"), "{reason}");
        }
    }

    #[test]
    fn text_of_others_cannot_touch_the_terminal_or_the_lines() {
        let bad = "\u{1b}[31m\n\u{202e}x\u{9b}";
        let hostile = CredentialStatus {
            provider: bad.into(),
            credential: bad.into(),
            label: format!("{bad}!"),
            source: bad.into(),
            state: bad.into(),
            todo: Some(bad.into()),
            last_error: Some(LastError { code: bad.into(), message: bad.into(), reason: bad.into(), at_ms: None }),
            ..credential("")
        };
        let report = StatusReport { credentials: vec![hostile], warnings: vec![bad.into()] };
        let drawn = draw(&report, bad, bad, Style::PLAIN, Some(80), NOW_MS);
        assert!(drawn.chars().all(|char| char == '\n' || (!char.is_control() && char != '\u{202e}')), "{drawn:?}");
    }

    #[test]
    fn nothing_is_wider_than_the_terminal() {
        let long = "word ".repeat(60);
        let wide = CredentialStatus {
            label: long.clone(),
            source: "manual:device_code_of_some_program".into(),
            todo: Some(long.clone()),
            ..credential("quarantined")
        };
        for columns in [80, 120] {
            let report = StatusReport { credentials: vec![wide.clone()], warnings: vec![long.clone()] };
            let drawn = draw(&report, "/v", "", Style::PLAIN, Some(columns), NOW_MS);
            assert!(drawn.lines().all(|line| text::width(line) <= columns), "{drawn}");
        }
    }

    #[test]
    fn an_empty_vault_says_so() {
        assert_eq!(drawn(vec![], Some(80)), "/v holds no credential\n");
    }
}
