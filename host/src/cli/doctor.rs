//! `lazaret doctor`: what is wrong around a vault, the worst first, and for each the command that mends it, to be pasted. The
//! component knows documents by their names; here they have paths.

use std::path::PathBuf;

use serde_json::json;

use super::args::DoctorArgs;
use super::failure::Failure;
use super::setup::{Places, Setup, config_directory};
use super::table::Look;
use super::terminal::{self, Style};
use super::text;
use crate::Finding;
use crate::storage::{FileStorage, VAULT, shell_path};

/// What stands before a message.
const INDENT: usize = "warning  ".len();

pub(super) fn run(setup: &Setup, args: &DoctorArgs) -> Result<(), Failure> {
    let open = setup.open()?;
    let mut findings = FileStorage::open(&open.places.vault).checkup();
    // Where no way leads to the vault, each document would say so once more.
    if !findings.iter().any(|finding| is_no_way(&finding.code)) {
        let found = open.keeper.admin().doctor(VAULT, args.ask_servers).map_err(|error| open.failure(error))?;
        let found = found.into_iter().filter(|finding| !is_told(finding, &findings)).collect::<Vec<_>>();
        findings.extend(found.into_iter().map(|finding| with_paths(finding, &open.places)));
    }
    // What lies around the vault is no better than what is in it.
    if findings.iter().any(|finding| finding.severity != "ok") {
        findings.retain(|finding| finding.code != "healthy");
    }
    findings.sort_by_key(|finding| rank(&finding.severity));
    let errors = findings.iter().filter(|finding| rank(&finding.severity) == 0).count();
    let vault = open.places.vault.display().to_string();
    if setup.json {
        let json = json!({ "vault": vault, "healthy": errors == 0, "findings": findings });
        terminal::print(&format!("{json}\n"))?;
    } else {
        terminal::print(&draw(&findings, &vault, terminal::stdout_style(), terminal::stdout_columns()))?;
    }
    if errors == 0 {
        return Ok(());
    }
    Err(Failure::broken(format_args!("{vault}: {}", counted(errors, "error"))).coded("unhealthy").said())
}

/// The vault cannot be reached.
fn is_no_way(code: &str) -> bool {
    matches!(code, "link-unsafe" | "path-unusable")
}

/// Whether a document that the component could not read is one whose owner has been told of: that is the cause.
fn is_told(of_component: &Finding, findings: &[Finding]) -> bool {
    let beside = findings.iter().filter(|finding| finding.code == "owner-beside");
    let mut files = beside.filter_map(|finding| finding.message.split_once(" belongs to user "));
    let is_unread = ["-unreadable", "-unreachable"].iter().any(|end| of_component.code.ends_with(end));
    is_unread && files.any(|(file, _)| of_component.message.contains(&format!("{file} belongs to user ")))
}

/// The worst first. A word that a newer component may know is not the best.
fn rank(severity: &str) -> u8 {
    match severity {
        "error" => 0,
        "ok" => 2,
        _ => 1,
    }
}

/// A finding of the component's, with the file that it is about.
fn with_paths(mut finding: Finding, places: &Places) -> Finding {
    let beside = |suffix: &str| {
        let mut path = places.vault.clone().into_os_string();
        path.push(suffix);
        PathBuf::from(path)
    };
    let providers = || {
        let named = places.providers.clone();
        named.or_else(|| config_directory().map(|folder| folder.join("providers.json")))
    };
    let (file, is_edited) = match finding.code.as_str() {
        "vault-absent" => (Some(beside("")), false),
        "vault-unreadable" | "field-unreadable" | "field-mistyped" | "entry-without-id" | "id-twice" => {
            (Some(beside("")), true)
        }
        "settings-unreadable" => (Some(beside(".lazaret-settings.json")), true),
        "profiles-unreadable" | "profile-wrong" | "profile-missing" | "lifetime-short" => (providers(), true),
        "ledger-unreadable" | "ledger-newer" | "ledger-unreachable" | "ledger-lost" => {
            (Some(beside(".lazaret")), false)
        }
        "sealed-unreadable" => (Some(beside(".lazaret-sealed")), false),
        "pool-unreadable" => (Some(beside(".lazaret-pool")), false),
        _ => (None, false),
    };
    if let Some(file) = file {
        let (shown, word) = (file.display().to_string(), shell_path(&file));
        if !finding.message.contains(&shown) {
            finding.message = format!("{shown}: {}", finding.message);
        }
        finding.fix = match finding.code.as_str() {
            _ if is_edited => Some(format!("${{EDITOR:-vi}} {word}")),
            "ledger-unreadable" | "ledger-newer" | "sealed-unreadable" | "pool-unreadable" => {
                Some(format!("mv -i {word} {word}.aside"))
            }
            "ledger-lost" => Some(format!("ls -la {word}*")),
            "ledger-unreachable" => Some(format!("ls -la {word}")),
            _ => finding.fix,
        };
    }
    finding
}

fn draw(findings: &[Finding], vault: &str, style: Style, columns: Option<usize>) -> String {
    let mut drawn = String::new();
    for finding in findings {
        let severity = text::escape(&finding.severity);
        let padding = " ".repeat(INDENT.saturating_sub(text::width(&severity)).max(1));
        let message = format!("{}: {}", text::escape(&finding.code), text::escape(&finding.message));
        let lines = match columns {
            Some(columns) => text::wrap(&message, columns.saturating_sub(INDENT)),
            None => vec![message],
        };
        let further = format!("\n{}", " ".repeat(INDENT));
        drawn += &format!("{}{padding}{}\n", look(&finding.severity).paint(style, &severity), lines.join(&further));
        if let Some(fix) = &finding.fix {
            // Not broken: it is copied from here.
            drawn += &format!("{}{} {}\n", " ".repeat(INDENT), style.faint("fix:"), style.strong(&text::escape(fix)));
        }
    }
    let count = |wanted: u8| findings.iter().filter(|finding| rank(&finding.severity) == wanted).count();
    drawn += &format!("{}: {}, {}\n", text::escape(vault), counted(count(0), "error"), counted(count(1), "warning"));
    drawn
}

fn counted(count: usize, what: &str) -> String {
    match count {
        0 => format!("no {what}"),
        1 => format!("one {what}"),
        _ => format!("{count} {what}s"),
    }
}

fn look(severity: &str) -> Look {
    match severity {
        "ok" => Look::Good,
        "error" => Look::Bad,
        _ => Look::Warn,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(severity: &str, code: &str, message: &str, fix: Option<&str>) -> Finding {
        Finding {
            severity: severity.into(),
            code: code.into(),
            message: message.into(),
            fix: fix.map(Into::into),
            ..Finding::default()
        }
    }

    #[test]
    fn each_finding_is_a_line_with_its_command_beneath() {
        let findings = [
            finding("error", "mode-wide", "/v has the mode 0644", Some("chmod 600 /v")),
            finding("warning", "expiry-unknown", "acme (login): nobody knows", None),
            finding("ok", "vault", "it can be read", None),
        ];
        assert_eq!(
            draw(&findings, "/v", Style::PLAIN, None),
            "error    mode-wide: /v has the mode 0644\n         fix: chmod 600 /v\n\
             warning  expiry-unknown: acme (login): nobody knows\n\
             ok       vault: it can be read\n\
             /v: one error, one warning\n"
        );
    }

    #[test]
    fn a_document_is_called_by_its_path_and_a_command_is_about_the_same_vault() {
        let places = Places { vault: "/my v/auth.json".into(), providers: Some("/p/providers.json".into()) };
        for (code, fix, path, wanted) in [
            ("vault-unreadable", None, "/my v/auth.json: ", Some("${EDITOR:-vi} '/my v/auth.json'")),
            ("field-mistyped", None, "/my v/auth.json: ", Some("${EDITOR:-vi} '/my v/auth.json'")),
            ("profile-wrong", None, "/p/providers.json: ", Some("${EDITOR:-vi} /p/providers.json")),
            (
                "settings-unreadable",
                None,
                "/my v/auth.json.lazaret-settings.json: ",
                Some("${EDITOR:-vi} '/my v/auth.json.lazaret-settings.json'"),
            ),
            (
                "ledger-newer",
                Some("mv -i vault.lazaret vault.lazaret.aside"),
                "/my v/auth.json.lazaret: ",
                Some("mv -i '/my v/auth.json.lazaret' '/my v/auth.json.lazaret'.aside"),
            ),
            (
                "sealed-unreadable",
                Some("mv"),
                "/my v/auth.json.lazaret-sealed: ",
                Some("mv -i '/my v/auth.json.lazaret-sealed' '/my v/auth.json.lazaret-sealed'.aside"),
            ),
            ("quarantined", Some("lazaret --vault '/my v' login a"), "", Some("lazaret --vault '/my v' login a")),
            ("token-dead", Some("hermes auth add a"), "", Some("hermes auth add a")),
            ("vault", None, "", None),
        ] {
            let found = with_paths(finding("error", code, "what", fix), &places);
            assert_eq!((found.message, found.fix.as_deref()), (format!("{path}what"), wanted), "{code}");
        }
    }

    #[test]
    fn text_of_others_cannot_touch_the_terminal_and_a_command_is_never_broken() {
        let bad = "\u{1b}[31m\n\u{202e}x\u{9b}";
        let fix = "lazaret remove acme --credential=0123456789012345678901234567890123456789";
        let findings = [finding(bad, bad, bad, Some(bad)), finding("error", "x", &"word ".repeat(40), Some(fix))];
        let drawn = draw(&findings, bad, Style::PLAIN, Some(40));
        assert!(drawn.chars().all(|char| char == '\n' || (!char.is_control() && char != '\u{202e}')), "{drawn:?}");
        assert!(drawn.contains(fix), "{drawn}");
        assert!(drawn.lines().filter(|line| line.contains("word")).all(|line| line.len() <= 40), "{drawn}");
    }

    #[test]
    fn what_a_newer_component_says_is_not_taken_for_well() {
        assert!(rank("error") < rank("critical") && rank("critical") < rank("ok"));
        assert_eq!(look("critical"), Look::Warn);
    }
}
