//! The only file that knows this is WebAssembly: the command on the streams of `wasi:cli`.

use lazaretto_wipe::Wiping;
use serde_json::{Map, Value, json};
use talc::wasm::{WasmDynamicTalc, new_wasm_dynamic_allocator};

use crate::args::{self, Asked, Command};
use crate::line::Line;
use crate::show;

use bindings::lazaretto::keeper::{classifier, keeper, storage};
use bindings::wasi::cli0_2_0::{environment, stderr, stdin, stdout};
use bindings::wasi::clocks::wall_clock;
use bindings::wasi::io::streams::OutputStream;

// The standard library's own allocator is three times its size. What is freed is wiped.
#[global_allocator]
static HEAP: Wiping<WasmDynamicTalc> = Wiping(new_wasm_dynamic_allocator());

#[allow(unsafe_code, missing_docs, unreachable_pub, clippy::all, reason = "generated")]
mod bindings {
    #[cfg(not(feature = "exit-codes"))]
    wit_bindgen::generate!({
        path: ["../../wit", "../wit", "wit"],
        world: "lazaretto:front/cli-front",
        generate_all,
    });

    #[cfg(feature = "exit-codes")]
    wit_bindgen::generate!({
        path: ["../../wit", "../wit", "wit"],
        world: "lazaretto:front/cli-front-exit-codes",
        generate_all,
    });

    export!(Component);
    /// The one type that exports.
    pub struct Component;
}

/// The name of the only vault there is here.
const VAULT: &str = "vault";
/// No stream takes more at once.
const PIECE: usize = 4096;
/// A line for `classify` is no longer than this.
const LONGEST_LINE: usize = 16 << 20;

/// Why it did not do what was asked.
struct Failure {
    /// What helps, as the contract calls it.
    action: String,
    message: String,
    /// The command that helps, as the keeper says it.
    run: Option<String>,
    /// For a program.
    json: Value,
}

impl bindings::exports::wasi::cli0_2_0::run::Guest for bindings::Component {
    fn run() -> Result<(), ()> {
        let arguments = environment::get_arguments();
        let asked = match args::parse(arguments.get(1..).unwrap_or_default()) {
            Ok(asked) => asked,
            Err(why) => {
                let _ = write(&stderr::get_stderr(), &format!("usage: {why}\n\n{}", args::USAGE));
                return failed("usage");
            }
        };
        let Err(failure) = obey(&asked) else { return Ok(()) };
        let line = if asked.as_json {
            format!("{}\n", json!({ "error": failure.json }))
        } else {
            let run = failure.run.as_deref().map(|run| format!("run: {}\n", show::escaped(run))).unwrap_or_default();
            format!("{}: {}\n{run}", show::first_word(&failure.action), show::escaped(&failure.message))
        };
        let _ = write(&stderr::get_stderr(), &line);
        failed(&failure.action)
    }
}

/// Ends the command. Where the host takes no exit code, the line on standard error has said what
/// helps.
#[cfg(not(feature = "exit-codes"))]
fn failed(_action: &str) -> Result<(), ()> {
    Err(())
}

/// Ends the command with the action's exit code.
#[cfg(feature = "exit-codes")]
fn failed(action: &str) -> Result<(), ()> {
    bindings::wasi::cli0_2_12::exit::exit_with_code(show::exit_code(action));
    Err(())
}

fn obey(asked: &Asked) -> Result<(), Failure> {
    match asked.command {
        Command::Token => token(asked),
        Command::Refresh => refresh(asked),
        Command::Status => status(asked),
        Command::Reset => put_in_order(asked, keeper::reset),
        Command::Unquarantine => put_in_order(asked, keeper::unquarantine),
        Command::Classify => classify(asked),
        Command::Help => print(args::USAGE),
        Command::Version => print(concat!("lazaretto ", env!("CARGO_PKG_VERSION"), "\n")),
    }
}

fn request(asked: &Asked) -> keeper::TokenRequest {
    keeper::TokenRequest {
        vault: VAULT.into(),
        provider: asked.provider.clone().unwrap_or_default(),
        credential: asked.credential.clone(),
        min_valid_s: asked.min_valid_s,
        refused_access_token: None,
        session: asked.session.clone(),
    }
}

/// The token and a newline on standard output; everything else goes to standard error.
fn token(asked: &Asked) -> Result<(), Failure> {
    let token = keeper::token(&request(asked))?;
    let saved = saved(&token);
    let printed = if asked.as_json {
        let mut json = described(&token);
        json["token"] = token.token.as_str().into();
        print(&format!("{json}\n"))
    } else {
        warn(&token);
        print(&format!("{}\n", token.token))
    };
    saved.and(printed)
}

fn refresh(asked: &Asked) -> Result<(), Failure> {
    let token = keeper::refresh(&request(asked))?;
    let saved = saved(&token);
    let printed = if asked.as_json {
        print(&format!("{}\n", described(&token)))
    } else {
        warn(&token);
        let until =
            token.expires_at_ms.map(|at_ms| format!("; the access token expires {}", show::relative(at_ms, now_ms())));
        let what = show::origin(&token.origin);
        let line = format!("{} ({}): {what}{}", token.provider, token.credential, until.unwrap_or_default());
        print(&format!("{}\n", show::escaped(&line)))
    };
    saved.and(printed)
}

/// The rotated tokens that could not be stored anywhere are tried once more: this process is about
/// to end, and they with it.
fn saved(token: &keeper::AccessToken) -> Result<(), Failure> {
    match &token.unsaved {
        Some(unsaved) => Ok(keeper::save_unsaved(unsaved)?),
        None => Ok(()),
    }
}

fn warn(token: &keeper::AccessToken) {
    if let Some(warning) = &token.warning {
        let run = token.run.as_ref().map(|run| format!("run: {}\n", show::escaped(run))).unwrap_or_default();
        let _ = write(&stderr::get_stderr(), &format!("warning: {}\n{run}", show::escaped(warning)));
    }
}

/// Shows what is known of a token, without the token itself.
fn described(token: &keeper::AccessToken) -> Value {
    json!({
        "token_type": token.token_type,
        "provider": token.provider,
        "credential": token.credential,
        "expires_at_ms": token.expires_at_ms,
        "picked": token.picked,
        "origin": token.origin,
        "warning": token.warning,
        "run": token.run,
    })
}

fn status(asked: &Asked) -> Result<(), Failure> {
    let report = keeper::status(VAULT, asked.provider.as_deref())?;
    if asked.as_json {
        let credentials: Vec<Value> = report.credentials.iter().map(credential).collect();
        return print(&format!("{}\n", json!({ "credentials": credentials, "warnings": report.warnings })));
    }
    let now_ms = now_ms();
    let mut rows = vec![["PROVIDER", "CREDENTIAL", "USABLE", "RENEWAL", "EXPIRES"].map(str::to_owned).to_vec()];
    let mut notes = String::new();
    for status in &report.credentials {
        let expires = status.expires_at_ms.map_or_else(|| "-".to_owned(), |at_ms| show::relative(at_ms, now_ms));
        let cells = [&status.provider, &status.credential, &status.usable, &status.renewal, &expires];
        rows.push(cells.map(|cell| show::escaped(cell)).to_vec());
        let whose = show::escaped(&format!("{} {}", status.provider, status.credential));
        for (what, text) in [("note", &status.note), ("run", &status.todo)] {
            if let Some(text) = text {
                notes += &format!("{whose}: {what}: {}\n", show::escaped(text));
            }
        }
    }
    for warning in &report.warnings {
        notes += &format!("warning: {}\n", show::escaped(warning));
    }
    print(&(show::table(&rows) + &notes))
}

/// A call that changes what stands in the way of a credential, and how that is then.
fn put_in_order(
    asked: &Asked,
    call: fn(&keeper::Selector) -> Result<keeper::CredentialStatus, keeper::Error>,
) -> Result<(), Failure> {
    let provider = asked.provider.clone().unwrap_or_default();
    let status = call(&keeper::Selector { vault: VAULT.into(), provider, credential: asked.credential.clone() })?;
    if asked.as_json {
        return print(&format!("{}\n", credential(&status)));
    }
    let line = format!("{} ({}): {}", status.provider, status.credential, status.state);
    print(&format!("{}\n", show::escaped(&line)))
}

fn credential(status: &keeper::CredentialStatus) -> Value {
    let last_error = status.last_error.as_ref().map(
        |error| json!({ "code": error.code, "message": error.message, "reason": error.reason, "at_ms": error.at_ms }),
    );
    json!({
        "provider": status.provider,
        "credential": status.credential,
        "label": status.label,
        "source": status.source,
        "kind": status.kind,
        "state": status.state,
        "usable": status.usable,
        "renewal": status.renewal,
        "refreshing_by": status.refreshing_by,
        "refreshing_since_ms": status.refreshing_since_ms,
        "account": status.account,
        "expires_at_ms": status.expires_at_ms,
        "retry_at_ms": status.retry_at_ms,
        "sealed_until_ms": status.sealed_until_ms,
        "last_error": last_error,
        "note": status.note,
        "todo": status.todo,
    })
}

fn classify(asked: &Asked) -> Result<(), Failure> {
    let profiles = profiles()?;
    let input = stdin::get_stdin();
    let mut pending = Vec::new();
    let mut number = 0;
    loop {
        let piece = input.blocking_read(64 << 10).unwrap_or_default();
        let has_ended = piece.is_empty();
        pending.extend_from_slice(&piece);
        if has_ended && pending.last().is_some_and(|last| *last != b'\n') {
            pending.push(b'\n');
        }
        let mut judged = String::new();
        let mut rest = pending.as_slice();
        let mut failed = Ok(());
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (line, more) = rest.split_at(end);
            rest = &more[1..];
            number += 1;
            if line.trim_ascii().is_empty() {
                continue;
            }
            match judge(line, profiles.as_deref(), asked) {
                Ok(line) => judged += &line,
                Err(failure) => {
                    failed = Err(Failure { message: format!("line {number}: {}", failure.message), ..failure });
                    break;
                }
            }
        }
        let rest = rest.to_vec();
        print(&judged)?;
        failed?;
        pending = rest;
        if has_ended {
            return Ok(());
        }
        if pending.len() > LONGEST_LINE {
            return Err(Failure::new(
                "bad-line",
                "usage",
                &format!("line {}: it is longer than {LONGEST_LINE} bytes", number + 1),
            ));
        }
    }
}

/// Returns the user's own profiles. A host that grants no folder has none: judging needs no vault.
fn profiles() -> Result<Option<String>, Failure> {
    if !environment::get_environment().iter().any(|(name, path)| name == "LAZARETTO_PROVIDERS" && !path.is_empty()) {
        return Ok(None);
    }
    match storage::load("providers.json", None) {
        Ok(storage::LoadOutcome::Loaded(document)) => Ok(Some(document.text)),
        Ok(_) => Err(Failure::new("bad-profile", "configure", "the file that LAZARETTO_PROVIDERS names is not there")),
        Err(error) => Err(Failure::new("bad-profile", "configure", &error.message)),
    }
}

fn judge(line: &[u8], profiles: Option<&str>, asked: &Asked) -> Result<String, Failure> {
    let line = Line::parse(line).map_err(|why| Failure::new("bad-line", "usage", &why))?;
    let answer = classifier::Answer {
        provider: line.provider,
        status: line.status,
        headers: line.headers,
        body: line.body,
        body_complete: !line.is_cut,
        body_lossy: false,
        transport_error: line.transport_error,
    };
    let judged = classifier::classify(&answer, profiles, now_ms() / 1_000)
        .map_err(|error| Failure::new(&error.code, "configure", &error.message))?;
    let mut shown = Map::new();
    let mut add = |name: &str, value: Value| drop(shown.insert(name.into(), value));
    add("id", line.id);
    add("verdict", verdict(judged.verdict).into());
    add("code", judged.code.into());
    add("rule", judged.rule.into());
    add("retry_after_s", judged.retry_after_s.into());
    add("summary", judged.summary.into());
    if asked.as_json {
        add("sub_code", judged.sub_code.into());
        add("in_doubt", judged.in_doubt.into());
        let steps = judged.steps.iter().map(|step| json!({ "name": step.name, "finding": step.finding }));
        add("steps", steps.collect::<Vec<_>>().into());
    }
    Ok(format!("{}\n", Value::Object(shown)))
}

fn verdict(verdict: classifier::Verdict) -> &'static str {
    match verdict {
        classifier::Verdict::Refreshed => "refreshed",
        classifier::Verdict::Terminal => "terminal",
        classifier::Verdict::Interaction => "interaction",
        classifier::Verdict::Config => "config",
        classifier::Verdict::Transient => "transient",
        classifier::Verdict::Unknown => "unknown",
    }
}

fn now_ms() -> u64 {
    let now = wall_clock::now();
    now.seconds.saturating_mul(1_000).saturating_add(u64::from(now.nanoseconds / 1_000_000))
}

fn print(text: &str) -> Result<(), Failure> {
    write(&stdout::get_stdout(), text)
        .map_err(|()| Failure::new("output", "inspect", "cannot write to standard output"))
}

fn write(stream: &OutputStream, text: &str) -> Result<(), ()> {
    text.as_bytes().chunks(PIECE).try_for_each(|piece| stream.blocking_write_and_flush(piece).map_err(drop))
}

impl Failure {
    fn new(code: &str, action: &str, message: &str) -> Self {
        let json = json!({
            "code": code, "action": action, "provider": null, "credential": null, "retry_after_s": null, "message": message, "run": null,
        });
        Self { action: action.to_owned(), message: message.to_owned(), run: None, json }
    }
}

impl From<keeper::Error> for Failure {
    fn from(error: keeper::Error) -> Self {
        let json = json!({
            "code": error.code,
            "action": error.action,
            "provider": error.provider,
            "credential": error.credential,
            "retry_after_s": error.retry_after_s,
            "message": error.message,
            "run": error.run,
        });
        Self { action: error.action, message: error.message, run: error.run, json }
    }
}
