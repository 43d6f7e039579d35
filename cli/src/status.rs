//! `lazaretto status`: how many credentials there are and how many need a person; then each on a line, and beneath it why it stands so and
//! the command that helps. Text of others is escaped.

use serde_json::{Value, json};

use super::args::StatusArgs;
use super::failure::{Exit, Failure};
use super::need::{self, Count, some};
use super::open::Open;
use super::output;
use super::setup::Setup;
use super::table::{self, Look, Note, Row};
use super::terminal::{self, Style};
use super::{text, time, words};
use lazaretto_host::storage::VAULT;
use lazaretto_host::{CredentialStatus, KeeperError, StatusReport};

/// On a narrower terminal it is not shown whose a credential is.
const ROOM_FOR_ACCOUNTS: usize = 72;

pub(super) fn run(setup: &Setup, args: &StatusArgs) -> Result<(), Failure> {
    if args.all || setup.is_elsewhere_only() {
        return all(setup, args);
    }
    let open = setup.open()?;
    let read = Read::of(args, &open)?;
    let count = read.count();
    if count.all == 0
        && let Some(provider) = &args.provider
    {
        return Err(none_of(provider, &read.path).run(open.reach("status")));
    }
    output::print(&match setup.json {
        true => format!("{}\n", read.to_json()),
        false => Drawing::new(setup).alone(&read),
    })?;
    check(args, count.worst.and_then(need::Need::exit))
}

/// Every vault under a heading. One that cannot be read keeps none of the others from being shown.
fn all(setup: &Setup, args: &StatusArgs) -> Result<(), Failure> {
    let (mut first, mut read) = (None, Vec::new());
    for vault in setup.vaults()? {
        let open = setup.open_vault(vault, first.as_ref())?;
        let path = open.places.vault.display().to_string();
        read.push((path, Read::of(args, &open)));
        first.get_or_insert(open);
    }
    let mut trouble = read.iter().filter(|(_, read)| read.is_err()).count();
    let is_empty = |(_, read): &(String, Result<Read, Failure>)| read.as_ref().is_ok_and(|read| read.count().all == 0);
    if let (Some(provider), true, Some(first)) = (&args.provider, read.iter().all(is_empty), &first) {
        return Err(none_of(provider, "none of the known vaults").run(first.reach("status --all")));
    }
    if setup.json {
        for (_, read) in read.iter() {
            match read {
                Ok(read) => output::print(&format!("{}\n", read.to_json()))?,
                Err(failure) if trouble > 1 => {
                    trouble -= 1;
                    failure.print(true);
                }
                Err(_) => {}
            }
        }
    } else {
        output::print(&Drawing::new(setup).together(&read, args.provider.as_deref()))?;
    }
    let count =
        Count::of(read.iter().filter_map(|(_, read)| read.as_ref().ok()).flat_map(|read| &read.report.credentials));
    match (read.into_iter().filter_map(|(_, read)| read.err()).next_back(), setup.json, trouble) {
        (None, ..) => check(args, count.worst.and_then(need::Need::exit)),
        // A program was told of each before.
        (Some(last), true, _) => Err(last),
        (Some(_), false, 1) => Err(Failure::broken("one of the vaults cannot be read").coded("storage")),
        (Some(_), false, count) => {
            Err(Failure::broken(format_args!("{count} of the vaults cannot be read")).coded("storage"))
        }
    }
}

/// Nothing that was asked for: what a script takes for an answer must not look like one.
fn none_of(provider: &str, whose: &str) -> Failure {
    Failure::usage(format_args!("{whose} holds no credential of {provider}")).coded("unknown-credential")
}

/// The exit code, where it was asked for. Every line has said why.
fn check(args: &StatusArgs, exit: Option<Exit>) -> Result<(), Failure> {
    match exit.filter(|_| args.check) {
        Some(exit) => Err(Failure::of_many(exit, "not every credential works").said()),
        None => Ok(()),
    }
}

/// A vault that is not there is told of as every command does: somebody must log in first.
pub(super) fn unreadable(open: &Open, error: KeeperError) -> Failure {
    open.failure(error)
}

/// One vault, as it was read.
struct Read {
    path: String,
    /// The words by which this command is called so that it is about this vault.
    command: String,
    report: StatusReport,
}

impl Read {
    fn of(args: &StatusArgs, open: &Open) -> Result<Self, Failure> {
        let report = open.keeper.status(VAULT, args.provider.as_deref()).map_err(|error| unreadable(open, error))?;
        let path = open.places.vault.display().to_string();
        Ok(Self { path, command: open.reach("").trim_end().to_owned(), report })
    }

    fn count(&self) -> Count {
        Count::of(&self.report.credentials)
    }

    /// In the order in which a pool picks. `check` is what `--check` would tell.
    fn to_json(&self) -> Value {
        let count = self.count();
        let exit_code = count.worst.and_then(need::Need::exit).map_or(0, |exit| exit as u8);
        json!({
            "vault": self.path,
            "check": { "exit_code": exit_code, "credentials": count.all, "need_a_person": count.need_a_person },
            "credentials": self.report.credentials.iter().map(in_json).collect::<Vec<_>>(),
            "warnings": self.report.warnings,
        })
    }
}

/// Each time in both forms.
fn in_json(status: &CredentialStatus) -> Value {
    let mut json = json!(status);
    for name in ["expires_at", "retry_at", "sealed_until", "refreshing_since"] {
        let at_ms = json[format!("{name}_ms")].as_u64();
        json[name] = at_ms.map(time::rfc3339).into();
    }
    json
}

/// How a report is drawn.
struct Drawing {
    style: Style,
    /// None: nothing is broken or cut.
    columns: Option<usize>,
    now_ms: u64,
    /// Paths and sources too.
    verbose: bool,
}

impl Drawing {
    fn new(setup: &Setup) -> Self {
        let (style, columns) = (terminal::stdout_style(), terminal::stdout_columns());
        Self { style, columns, now_ms: time::now_ms(), verbose: setup.verbose }
    }

    fn alone(&self, read: &Read) -> String {
        if read.report.credentials.is_empty() {
            let empty = text::escape(&format!("{} holds no credential", read.path));
            return format!("{empty}\n{}", self.warnings(&read.report));
        }
        let path = if self.verbose { format!("{}: ", text::escape(&read.path)) } else { String::new() };
        format!("{path}{}\n\n{}", self.summary(&read.count()), self.table(read))
    }

    fn together(&self, read: &[(String, Result<Read, Failure>)], about: Option<&str>) -> String {
        let readable = || read.iter().filter_map(|(_, read)| read.as_ref().ok());
        let count = Count::of(readable().flat_map(|read| &read.report.credentials));
        let unreadable = read.len() - readable().count();
        let mut drawn = format!("{}, {}", some(read.len(), "vault"), self.summary(&count));
        if unreadable > 0 {
            drawn += &format!(", {}", self.style.bad(&format!("{unreadable} cannot be read")));
        }
        drawn.push('\n');
        let about = about.map(|provider| format!(" of {provider}")).unwrap_or_default();
        for (path, read) in read {
            drawn += &format!("\n{}\n", self.style.strong(&text::escape(path)));
            drawn += &match read {
                Err(failure) => format!("{} {}\n", self.style.bad("cannot be read:"), text::escape(&failure.message)),
                Ok(read) if read.report.credentials.is_empty() => {
                    format!("no credential{}\n{}", text::escape(&about), self.warnings(&read.report))
                }
                Ok(read) => self.table(read),
            };
        }
        drawn
    }

    fn summary(&self, count: &Count) -> String {
        let (trouble, look) = count.trouble();
        format!("{}, {}", some(count.all, "credential"), look.paint(self.style, &trouble))
    }

    /// Those who need a person first, keys last, and else as a pool picks.
    fn table(&self, read: &Read) -> String {
        let mut credentials: Vec<&CredentialStatus> = read.report.credentials.iter().collect();
        credentials.sort_by_key(|status| need::rank(status));
        let rows = credentials.iter().map(|status| self.row(status, &read.command));
        let has_accounts = credentials.iter().any(|status| account(status).is_some());
        let has_room = self.columns.is_none_or(|columns| columns >= ROOM_FOR_ACCOUNTS);
        let drawn = if has_accounts && has_room {
            let heads = ["PROVIDER", "CREDENTIAL", "ACCOUNT", "USABLE", "RENEWAL"];
            table::draw(heads, [true, true, true, false, false], &rows.collect::<Vec<_>>(), self.style, self.columns)
        } else {
            let heads = ["PROVIDER", "CREDENTIAL", "USABLE", "RENEWAL"];
            let without = |Row { cells: [provider, name, _, usable, renewal], notes }: Row<5>| Row {
                cells: [provider, name, usable, renewal],
                notes,
            };
            let rows: Vec<Row<4>> = rows.map(without).collect();
            table::draw(heads, [true, true, false, false], &rows, self.style, self.columns)
        };
        drawn + &self.warnings(&read.report)
    }

    fn row(&self, status: &CredentialStatus, command: &str) -> Row<5> {
        let look = need::look(status);
        Row {
            cells: [
                (text::escape(&status.provider), Look::Plain),
                (words::name(status), Look::Plain),
                (account(status).unwrap_or_default(), Look::Plain),
                (words::usable(status, self.now_ms, time::span), look),
                (words::renewal(status, self.now_ms, time::span), look),
            ],
            notes: self.notes(status, command),
        }
    }

    fn notes(&self, status: &CredentialStatus, command: &str) -> Vec<(&'static str, Note)> {
        let mut notes: Vec<(&str, Note)> = Vec::new();
        notes.extend(words::why(status, self.now_ms).into_iter().map(|why| ("why", Note::Text(why))));
        if self.verbose {
            notes.push(("source", Note::Text(text::escape(&status.source))));
            notes.extend(status.expires_at_ms.map(|at_ms| ("until", Note::Text(time::local(at_ms)))));
        }
        notes.extend(status.todo.as_ref().map(|todo| ("run", Note::Command(text::escape(todo)))));
        if let Some((command, when)) = words::alternative(status, command, self.now_ms) {
            // A shell takes the reason for a comment.
            notes.push(("or", Note::Command(format!("{command}  # {when}"))));
        }
        notes
    }

    fn warnings(&self, report: &StatusReport) -> String {
        let mut drawn = String::new();
        for warning in &report.warnings {
            let lines = match self.columns {
                Some(columns) => text::wrap(&text::escape(warning), columns.saturating_sub("warning: ".len())),
                None => vec![text::escape(warning)],
            };
            for (index, line) in lines.iter().enumerate() {
                let head = if index == 0 { self.style.warn("warning:") } else { " ".repeat("warning:".len()) };
                drawn += &format!("{head} {line}\n");
            }
        }
        drawn
    }
}

/// Whose it is, unless its name says so already.
fn account(status: &CredentialStatus) -> Option<String> {
    status.account.as_ref().filter(|account| **account != status.label).map(|account| text::escape(account))
}

#[cfg(test)]
mod tests {
    use super::super::need::example;
    use super::super::screens::{self, NOW_MS};
    use super::*;
    use lazaretto_host::LastError;

    fn drawing(columns: Option<usize>) -> Drawing {
        Drawing { style: Style::PLAIN, columns, now_ms: NOW_MS, verbose: false }
    }

    fn read(report: StatusReport) -> Read {
        Read { path: "/v".into(), command: "lazaretto --vault /v".into(), report }
    }

    #[test]
    fn a_credential_is_a_line_and_its_troubles_stand_beneath() {
        let read = read(screens::one_of_each());
        for columns in [60, 80, 120] {
            let drawn = drawing(Some(columns)).alone(&read);
            screens::compare(&format!("status-{columns}.txt"), columns, &drawn);
        }
        let verbose = Drawing { verbose: true, ..drawing(Some(100)) };
        screens::compare("status-verbose-100.txt", 100, &verbose.alone(&read));
    }

    #[test]
    fn several_vaults_have_one_count_and_a_heading_each() {
        let empty = StatusReport { credentials: vec![], warnings: vec![] };
        let one = StatusReport { credentials: vec![example("no", "dead"), example("yes", "ok")], warnings: vec![] };
        let unreadable = Failure::broken("/c: it is not JSON");
        let vaults =
            [("/a".to_owned(), Ok(read(one))), ("/b".to_owned(), Ok(read(empty))), ("/c".to_owned(), Err(unreadable))];
        screens::compare("status-all-80.txt", 80, &drawing(Some(80)).together(&vaults, None));
    }

    /// A program gets each time in both forms and what check would tell.
    #[test]
    fn json_has_each_time_in_both_forms_and_the_check_result() {
        let status = CredentialStatus { retry_at_ms: Some(NOW_MS + 1_000), ..example("yes", "paused") };
        let report = StatusReport { credentials: vec![status, example("no", "needs-login")], warnings: vec![] };
        let json = read(report).to_json();
        assert_eq!(json["check"], json!({ "exit_code": 3, "credentials": 2, "need_a_person": 1 }));
        let first = &json["credentials"][0];
        assert_eq!(
            (&first["expires_at"], &first["retry_at"]),
            (&json!("2026-07-20T10:59:00Z"), &json!("2026-07-20T10:00:01Z"))
        );
        assert_eq!((&first["sealed_until"], &first["expires_at_ms"]), (&Value::Null, &json!(NOW_MS + 3_540_000)));
        assert_eq!((&first["usable"], &first["renewal"]), (&json!("yes"), &json!("paused")));
    }

    #[test]
    fn text_of_others_cannot_touch_the_terminal_or_the_lines() {
        let bad = "\u{1b}[31m\n\u{202e}x\u{9b}";
        let hostile = CredentialStatus {
            provider: bad.into(),
            credential: bad.into(),
            label: format!("{bad}!"),
            source: bad.into(),
            account: Some(bad.into()),
            usable: bad.into(),
            renewal: bad.into(),
            note: Some(bad.into()),
            refreshing_by: Some(bad.into()),
            sealed_until_ms: Some(NOW_MS + 1_000),
            todo: Some(bad.into()),
            last_error: Some(LastError { code: bad.into(), message: bad.into(), reason: bad.into(), at_ms: None }),
            ..example("", "")
        };
        let report = StatusReport { credentials: vec![hostile], warnings: vec![bad.into()] };
        let read = Read { path: bad.into(), command: "lazaretto".into(), report };
        let drawing = Drawing { verbose: true, ..drawing(Some(80)) };
        for drawn in [drawing.alone(&read), drawing.together(&[(bad.to_owned(), Ok(read))], Some(bad))] {
            assert!(drawn.chars().all(|char| char == '\n' || (!char.is_control() && char != '\u{202e}')), "{drawn:?}");
        }
    }

    #[test]
    fn nothing_but_a_command_is_wider_than_the_terminal() {
        let long = "word ".repeat(60);
        let wide = CredentialStatus {
            label: long.clone(),
            account: Some(long.clone()),
            note: Some(long.clone()),
            todo: Some("lazaretto login acme".into()),
            ..example("no", "needs-configuration")
        };
        for columns in [60, 80, 120] {
            let report = StatusReport { credentials: vec![wide.clone()], warnings: vec![long.clone()] };
            let drawn = drawing(Some(columns)).alone(&read(report));
            assert!(drawn.lines().all(|line| text::width(line) <= columns), "{drawn}");
        }
    }

    #[test]
    fn an_empty_vault_says_so() {
        let empty = read(StatusReport { credentials: vec![], warnings: vec![] });
        assert_eq!(drawing(Some(80)).alone(&empty), "/v holds no credential\n");
    }
}
