//! `lazaretto doctor`: what is wrong around a vault, the worst first, and for each the command that
//! mends it, to be pasted. The component knows documents by their names; here they have paths.

use std::path::PathBuf;

use serde_json::json;

use super::args::DoctorArgs;
use super::failure::Failure;
use super::known_vaults::config_directory;
use super::open::Places;
use super::output;
use super::setup::Setup;
use super::table::Look;
use super::terminal::{self, Style};
use super::text;
use lazaretto_host::Finding;
use lazaretto_host::storage::{FileStorage, VAULT, set_aside, shell_path};

/// What stands before a message.
const INDENT: usize = "warning  ".len();

pub(super) fn run(setup: &Setup, args: &DoctorArgs) -> Result<(), Failure> {
    let open = setup.open()?;
    let mut findings = FileStorage::open(&open.places.vault).command(open.reach("").trim_end()).checkup();
    // Where no way leads to the vault, each document would say so once more.
    if !findings.iter().any(|finding| is_no_way(&finding.code)) {
        let found = open.keeper.admin().doctor(VAULT, args.ask_servers).map_err(|error| open.failure(error))?;
        let found = found.into_iter().filter(|finding| !is_told(finding, &findings)).collect::<Vec<_>>();
        findings.extend(found.into_iter().map(|finding| located(finding, &open.places)));
    }
    let with_option = (!setup.allows_loopback_http()).then(|| open.reach("--allow-loopback-http doctor --ask-servers"));
    let findings = findings.into_iter().map(|finding| allowed(finding, with_option.as_deref())).collect();
    let findings = ordered(findings);
    let errors = findings.iter().filter(|finding| rank(&finding.severity) == 0).count();
    let vault = open.places.vault.display().to_string();
    if setup.json {
        let json = json!({ "vault": vault, "healthy": errors == 0, "findings": findings });
        output::print(&format!("{json}\n"))?;
    } else {
        output::print(&draw(&findings, &vault, terminal::stdout_style(), terminal::stdout_columns()))?;
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

/// Whether a document that the component could not read is one whose owner has been told of: that
/// is the cause.
fn is_told(of_component: &Finding, findings: &[Finding]) -> bool {
    if !["-unreadable", "-unreachable"].iter().any(|end| of_component.code.ends_with(end)) {
        return false;
    }
    let beside = findings.iter().filter(|finding| finding.code == "owner-beside");
    let mut files = beside.filter_map(|finding| finding.message.split_once(" belongs to user "));
    let is_anothers = findings.iter().any(|finding| finding.code == "owner-other" && finding.severity == "error");
    is_anothers || files.any(|(file, _)| of_component.message.contains(&format!("{file} belongs to user ")))
}

/// Plain http goes nowhere without the option: then what is only worth knowing else keeps a login
/// from working.
fn allowed(mut finding: Finding, with_option: Option<&str>) -> Finding {
    if finding.code != "plain-http" {
        return finding;
    }
    let is_used = finding.severity != "ok";
    finding.severity = match with_option {
        None => "ok",
        Some(_) if is_used => "error",
        Some(_) => "warning",
    }
    .into();
    if let Some(command) = with_option {
        finding.message += ". Without --allow-loopback-http nothing is sent there";
        finding.fix = Some(command.to_owned());
    }
    finding
}

/// The worst first, and of the same kind what somebody can do something about.
fn ordered(mut findings: Vec<Finding>) -> Vec<Finding> {
    // What lies around the vault is no better than what is in it; and what is allowed is well.
    findings.retain(|finding| finding.code != "healthy");
    if findings.iter().all(|finding| finding.severity == "ok") {
        let healthy = ("ok".into(), "healthy".into(), "nothing is wrong".into());
        let (severity, code, message) = healthy;
        findings.push(Finding { severity, code, message, ..Finding::default() });
    }
    let is_ill = |provider: &Option<String>| {
        provider.is_some() && findings.iter().any(|other| other.severity != "ok" && other.provider == *provider)
    };
    let contradicts: Vec<bool> =
        findings.iter().map(|finding| finding.code == "provider" && is_ill(&finding.provider)).collect();
    let mut contradicts = contradicts.into_iter();
    findings.retain(|_| !contradicts.next().unwrap_or_default());
    findings.sort_by_key(|finding| (rank(&finding.severity), finding.fix.is_none() && finding.alternative.is_none()));
    findings
}

/// The worst first. A word that a newer component may know is not the best.
fn rank(severity: &str) -> u8 {
    match severity {
        "error" => 0,
        "ok" => 2,
        _ => 1,
    }
}

/// What a person does with a file that a finding is about.
#[derive(Clone, Copy)]
enum Deed {
    Edit,
    SetAside,
    List,
    /// The component knows better.
    Nothing,
}

/// A finding of the component's, with the file that it is about.
fn located(mut finding: Finding, places: &Places) -> Finding {
    let beside = |suffix: &str| {
        let mut path = places.vault.clone().into_os_string();
        path.push(suffix);
        PathBuf::from(path)
    };
    let providers = || {
        let named = places.providers.clone();
        named.or_else(|| config_directory().map(|folder| folder.join("providers.json")))
    };
    let (file, deed) = match finding.code.as_str() {
        "vault-absent" => (Some(beside("")), Deed::Nothing),
        "vault-unreadable" | "field-unreadable" | "field-mistyped" | "entry-without-id" | "id-twice" => {
            (Some(beside("")), Deed::Edit)
        }
        "settings-unreadable" => (Some(beside(".lazaretto-settings.json")), Deed::Edit),
        "profiles-unreadable" | "profile-wrong" | "lifetime-short" => (providers(), Deed::Edit),
        "not-an-authorization-server" if finding.fix.is_none() => (providers(), Deed::Edit),
        "ledger-unreadable" | "ledger-newer" => (Some(beside(".lazaretto")), Deed::SetAside),
        "ledger-unreachable" | "ledger-lost" => (Some(beside(".lazaretto")), Deed::List),
        "sealed-unreadable" => (Some(beside(".lazaretto-sealed")), Deed::SetAside),
        "pool-unreadable" => (Some(beside(".lazaretto-pool")), Deed::SetAside),
        _ => (None, Deed::Nothing),
    };
    let Some(file) = file else { return finding };
    let (shown, word) = (file.display().to_string(), shell_path(&file));
    if !finding.message.contains(&shown) {
        finding.message = format!("{shown}: {}", finding.message);
    }
    match deed {
        // Where it is one of several facts, another may have the better command.
        Deed::Edit if finding.fix.is_none() => finding.fix = Some(format!("${{EDITOR:-vi}} {word}")),
        Deed::SetAside => {
            let command = if finding.fix.is_some() { &mut finding.fix } else { &mut finding.alternative };
            *command = Some(set_aside(&file));
        }
        Deed::List if finding.code == "ledger-lost" => finding.fix = Some(format!("ls -la {word}*")),
        Deed::List => finding.fix = Some(format!("ls -la {word}")),
        Deed::Edit | Deed::Nothing => {}
    }
    finding
}

fn draw(findings: &[Finding], vault: &str, style: Style, columns: Option<usize>) -> String {
    let mut drawn = String::new();
    let mut last = None;
    for finding in findings {
        let group = rank(&finding.severity);
        if last.is_some_and(|last| last != group) {
            drawn.push('\n');
        }
        last = Some(group);
        drawn += &draw_one(finding, style, columns);
    }
    let count = |wanted: u8| findings.iter().filter(|finding| rank(&finding.severity) == wanted).count();
    let counts = format!("{}, {}", counted(count(0), "error"), counted(count(1), "warning"));
    drawn + &format!("\n{}: {counts}\n", text::escape(vault))
}

fn draw_one(finding: &Finding, style: Style, columns: Option<usize>) -> String {
    let severity = text::escape(&finding.severity);
    let padding = " ".repeat(INDENT.saturating_sub(text::width(&severity)).max(1));
    let message = format!("{}: {}", text::escape(&finding.code), text::escape(&finding.message));
    let lines = match columns {
        Some(columns) => text::wrap(&message, columns.saturating_sub(INDENT)),
        None => vec![message],
    };
    let indent = " ".repeat(INDENT);
    let lines = lines.join(&format!("\n{indent}"));
    let mut drawn = format!("{}{padding}{lines}\n", look(&finding.severity).paint(style, &severity));
    for (name, command) in [("fix:", &finding.fix), ("or: ", &finding.alternative)] {
        if let Some(command) = command {
            // Not broken: it is copied from here.
            drawn += &format!("{indent}{} {}\n", style.faint(name), style.strong(&text::escape(command)));
        }
    }
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
        let risky = Finding {
            alternative: Some("lazaretto unquarantine acme".into()),
            ..finding("error", "quarantined", "acme (login): refused", Some("lazaretto login acme"))
        };
        let findings = [
            finding("error", "mode-wide", "/v has the mode 0644", Some("chmod 600 /v")),
            risky,
            finding("warning", "expiry-unknown", "acme (login): nobody knows", None),
            finding("ok", "vault", "it can be read", None),
        ];
        assert_eq!(
            draw(&findings, "/v", Style::PLAIN, None),
            "error    mode-wide: /v has the mode 0644\n         fix: chmod 600 /v\n\
             error    quarantined: acme (login): refused\n         fix: lazaretto login acme\n         or:  lazaretto unquarantine acme\n\n\
             warning  expiry-unknown: acme (login): nobody knows\n\n\
             ok       vault: it can be read\n\n\
             /v: 2 errors, one warning\n"
        );
    }

    #[test]
    fn the_first_line_is_the_worst_that_one_can_act_on() {
        let of = |severity: &str, code: &str, fix: Option<&str>, provider: Option<&str>| Finding {
            provider: provider.map(Into::into),
            ..finding(severity, code, "", fix)
        };
        let found = ordered(vec![
            of("ok", "provider", None, Some("acme")),
            of("ok", "provider", None, Some("other")),
            of("ok", "healthy", None, None),
            of("warning", "a", None, None),
            of("warning", "b", Some("x"), None),
            of("critical", "c", None, None),
            of("error", "d", None, None),
            of("error", "e", Some("x"), Some("acme")),
        ]);
        let codes: Vec<_> = found.iter().map(|finding| finding.code.as_str()).collect();
        assert_eq!(codes, ["e", "d", "b", "a", "c", "provider"]);
        assert_eq!(found[5].provider.as_deref(), Some("other"));
    }

    #[test]
    fn a_document_is_called_by_its_path() {
        let places = Places { vault: "/my v/auth.json".into(), providers: Some("/p/providers.json".into()) };
        for (code, fix, path, wanted) in [
            ("vault-unreadable", None, "/my v/auth.json: ", Some("${EDITOR:-vi} '/my v/auth.json'")),
            ("field-mistyped", None, "/my v/auth.json: ", Some("${EDITOR:-vi} '/my v/auth.json'")),
            ("profile-wrong", None, "/p/providers.json: ", Some("${EDITOR:-vi} /p/providers.json")),
            ("not-an-authorization-server", None, "/p/providers.json: ", Some("${EDITOR:-vi} /p/providers.json")),
            ("not-an-authorization-server", Some("curl"), "", Some("curl")),
            ("ledger-lost", Some("ls"), "/my v/auth.json.lazaretto: ", Some("ls -la '/my v/auth.json.lazaretto'*")),
            (
                "settings-unreadable",
                None,
                "/my v/auth.json.lazaretto-settings.json: ",
                Some("${EDITOR:-vi} '/my v/auth.json.lazaretto-settings.json'"),
            ),
            (
                "ledger-unreadable",
                Some("mv -n vault.lazaretto vault.lazaretto.aside"),
                "/my v/auth.json.lazaretto: ",
                Some("mv -n '/my v/auth.json.lazaretto' '/my v/auth.json.lazaretto.aside'"),
            ),
            (
                "sealed-unreadable",
                Some("mv"),
                "/my v/auth.json.lazaretto-sealed: ",
                Some("mv -n '/my v/auth.json.lazaretto-sealed' '/my v/auth.json.lazaretto-sealed.aside'"),
            ),
            // Two facts of one credential: the better command stays.
            ("id-twice", Some("lazaretto login a"), "/my v/auth.json: ", Some("lazaretto login a")),
            ("token-dead", Some("hermes auth add a"), "", Some("hermes auth add a")),
            ("vault", None, "", None),
        ] {
            let found = located(finding("error", code, "what", fix), &places);
            assert_eq!((found.message, found.fix.as_deref()), (format!("{path}what"), wanted), "{code}");
        }
        let newer = Finding { alternative: Some("mv".into()), ..finding("error", "ledger-newer", "what", None) };
        let newer = located(newer, &places);
        assert_eq!(newer.fix, None, "a newer lazaretto can read it");
        assert!(newer.alternative.is_some_and(|mv| mv.starts_with("mv -n '/my v/auth.json.lazaretto' ")));
    }

    #[test]
    fn plain_http_without_the_option_is_an_error_where_it_is_used() {
        for (severity, with_option, wanted) in [
            ("warning", Some("l --allow"), "error"),
            ("ok", Some("l --allow"), "warning"),
            ("warning", None, "ok"),
            ("ok", None, "ok"),
        ] {
            let found = allowed(finding(severity, "plain-http", "what", None), with_option);
            assert_eq!((found.severity.as_str(), found.fix.as_deref()), (wanted, with_option));
        }
        let other = finding("warning", "held", "what", None);
        assert_eq!(allowed(other.clone(), Some("l")), other);
    }

    /// Text of others cannot touch the terminal and a command is never broken.
    #[test]
    fn foreign_text_is_escaped_and_commands_are_never_wrapped() {
        let bad = "\u{1b}[31m\n\u{202e}x\u{9b}";
        let fix = "lazaretto remove acme --credential=0123456789012345678901234567890123456789";
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
