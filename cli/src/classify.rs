//! `lazaretto classify`: one answer a line in, one judgement a line out, in the same order and as
//! they come.

use std::fs;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::Path;

use serde_json::{Map, Value, json};

use super::args::ClassifyArgs;
use super::failure::{Exit, Failure};
use super::setup::Setup;
use super::terminal::{self, Style};
use super::{text, time};
use lazaretto_host::http::CAP_BYTES;
use lazaretto_host::storage::{MemoryStorage, Storage};
use lazaretto_host::{Answer, Judgement, Keeper};

/// A line is no longer than this.
const LONGEST_LINE: u64 = 16 << 20;
const PROFILES: &str = "providers.json";
/// Who is judged by the generic rules alone.
const GENERIC: &str = "generic";
const SHAPE: &str = r#"{"id", "provider", "status", "headers", "body", "transport_error"}"#;

pub(super) fn run(setup: &Setup, args: &ClassifyArgs) -> Result<(), Failure> {
    let profiles = setup.providers()?;
    let keeper = keeper(profiles.as_deref())?;
    let form = match (args.explain, setup.json) {
        (false, _) => Form::Json,
        (true, true) => Form::JsonWithSteps,
        (true, false) => Form::Text(terminal::stdout_style()),
    };
    // Standard output by itself writes at every line.
    let mut stdout = BufWriter::with_capacity(64 * 1024, io::stdout().lock());
    let judged = judge_all(&keeper, &mut BufReader::with_capacity(64 * 1024, io::stdin().lock()), &mut stdout, form);
    let flushed = stdout.flush().map_err(|error| Failure::output(&error));
    judged.and(flushed).map_err(|failure| match (&profiles, failure.exit) {
        (Some(path), Exit::Configure) => failure.at(&path.display().to_string()),
        _ => failure,
    })
}

/// Judging needs no vault, and of the documents only the profiles.
fn keeper(profiles: Option<&Path>) -> Result<Keeper, Failure> {
    let storage = MemoryStorage::new();
    if let Some(path) = profiles {
        let profiles = fs::read_to_string(path).map_err(|error| {
            Failure::configure(format_args!("the profiles cannot be read: {error}")).at(&path.display().to_string())
        })?;
        storage.store(PROFILES, &profiles, None, false, None).map_err(Failure::broken)?;
    }
    Keeper::builder().storage(storage).warm_instances(1).build().map_err(Failure::broken)
}

#[derive(Clone, Copy)]
enum Form {
    Json,
    JsonWithSteps,
    Text(Style),
}

fn judge_all(
    keeper: &Keeper,
    input: &mut BufReader<impl Read>,
    output: &mut impl Write,
    form: Form,
) -> Result<(), Failure> {
    let mut bytes = Vec::new();
    for number in 1_u64.. {
        bytes.clear();
        let read = input.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut bytes);
        let read =
            read.map_err(|error| Failure::broken(format_args!("cannot read standard input: {error}")).coded("input"))?;
        if read == 0 {
            break;
        }
        if bytes.trim_ascii().is_empty() {
            continue;
        }
        let bad =
            |what: &dyn std::fmt::Display| Failure::usage(format_args!("line {number}: {what}")).coded("bad-line");
        if read as u64 == LONGEST_LINE && bytes.last() != Some(&b'\n') {
            return Err(bad(&format_args!("it is longer than {LONGEST_LINE} bytes")));
        }
        let (id, answer) = parse(&bytes).map_err(|error| bad(&error))?;
        let judgement = keeper.classify(&answer, time::now_ms() / 1_000).map_err(|error| {
            // A profile that cannot be used is no line's fault.
            let at = if error.action == "configure" { String::new() } else { format!("line {number}: ") };
            let message = at + &error.message;
            Failure::keeper(error, message)
        })?;
        output
            .write_all(form.render(&id, &answer.provider, &judgement).as_bytes())
            .map_err(|error| Failure::output(&error))?;
        // Whoever feeds one line and waits gets its answer; whoever feeds many gets them in large
        // pieces.
        if !input.buffer().contains(&b'\n') {
            output.flush().map_err(|error| Failure::output(&error))?;
        }
    }
    Ok(())
}

/// What is wrong is said without what was there: a line may hold secrets.
fn parse(bytes: &[u8]) -> Result<(Value, Answer), String> {
    let line = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
    let mut line: Map<String, Value> = match serde_json::from_str(line.trim_start_matches('\u{feff}')) {
        Ok(Value::Object(line)) => line,
        Ok(_) => return Err(format!("it is JSON, but should be {SHAPE}")),
        Err(error) => return Err(format!("it is not JSON (column {}); it should be {SHAPE}", error.column())),
    };
    let mut take = |name: &str| line.remove(name).unwrap_or_default();
    let mut body = string("body", take("body"))?.unwrap_or_default();
    // As the host cuts it when it comes from the network.
    let body_cut = body.len() > CAP_BYTES;
    body.truncate(body.floor_char_boundary(CAP_BYTES));
    let answer = Answer {
        provider: string("provider", take("provider"))?
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| GENERIC.to_owned()),
        status: status(&take("status"))?,
        headers: headers(take("headers"))?,
        body,
        body_cut,
        transport_error: string("transport_error", take("transport_error"))?,
    };
    Ok((take("id"), answer))
}

fn string(name: &str, value: Value) -> Result<Option<String>, String> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text)),
        _ => Err(format!("`{name}` should be a string or null")),
    }
}

fn status(value: &Value) -> Result<Option<u16>, String> {
    let status =
        value.as_u64().and_then(|status| u16::try_from(status).ok()).filter(|status| (100..=999).contains(status));
    if status.is_none() && !value.is_null() {
        return Err("`status` should be an HTTP status or null".into());
    }
    Ok(status)
}

fn headers(value: Value) -> Result<Vec<(String, String)>, String> {
    let wrong = || "`headers` should be null, or an object of strings or lists of strings".to_owned();
    let one = |value: Value| match value {
        Value::String(text) => Ok(text),
        Value::Number(number) => Ok(number.to_string()),
        _ => Err(wrong()),
    };
    let mut headers = Vec::new();
    let named = match value {
        Value::Null => return Ok(headers),
        Value::Object(named) => named,
        _ => return Err(wrong()),
    };
    for (name, value) in named {
        let values = match value {
            Value::Null => Vec::new(),
            Value::Array(values) => values,
            value => vec![value],
        };
        for value in values {
            headers.push((name.clone(), one(value)?));
        }
    }
    Ok(headers)
}

impl Form {
    fn render(self, id: &Value, provider: &str, judged: &Judgement) -> String {
        match self {
            Self::Text(style) => explain(id, provider, judged, style),
            Self::Json | Self::JsonWithSteps => {
                let mut json = json!({
                    "id": id,
                    "verdict": judged.verdict,
                    "code": judged.code,
                    "rule": judged.rule,
                    "retry_after_s": judged.retry_after_s,
                    "summary": judged.summary,
                });
                if matches!(self, Self::JsonWithSteps) {
                    json["sub_code"] = json!(judged.sub_code);
                    json["in_doubt"] = json!(judged.in_doubt);
                    json["steps"] = json!(judged.steps);
                }
                format!("{json}\n")
            }
        }
    }
}

fn explain(id: &Value, provider: &str, judged: &Judgement, style: Style) -> String {
    let id = match id {
        Value::Null => String::new(),
        Value::String(id) => format!("{}: ", text::escape(id)),
        other => format!("{}: ", text::escape(&other.to_string())),
    };
    let verdict = match judged.verdict.as_str() {
        "refreshed" => style.good(&judged.verdict),
        "terminal" => style.bad(&judged.verdict),
        _ => style.warn(&judged.verdict),
    };
    let mut shown = format!("{}{verdict}, {}\n", style.strong(&id), text::escape(&judged.summary));
    let mut say = |name: &str, what: &str| {
        shown += &format!("    {}  {}\n", style.faint(&format!("{name:<13}")), text::escape(what))
    };
    say("provider", provider);
    for step in &judged.steps {
        say(&step.name, &step.finding);
    }
    say("decided", &judged.rule);
    if let Some(seconds) = judged.retry_after_s {
        say("wait", &format!("{seconds} s, the server says"));
    }
    if judged.in_doubt {
        say("in doubt", "the server may have replaced the refresh token although this answer does not say so");
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(line: &str) -> Answer {
        parse(line.as_bytes()).unwrap().1
    }

    #[test]
    fn everything_may_be_missing_or_null() {
        for line in
            ["{}", r#"{"id":null,"provider":null,"status":null,"headers":null,"body":null,"transport_error":null}"#]
        {
            assert_eq!(answer(line), Answer { provider: "generic".into(), ..Answer::default() });
        }
    }

    #[test]
    fn headers_are_strings_or_lists_of_them() {
        let headers = answer(r#"{"headers":{"a":"1","b":["2","3"],"c":null,"retry-after":30}}"#).headers;
        let headers: Vec<_> = headers.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(headers, ["a=1", "b=2", "b=3", "retry-after=30"]);
    }

    /// A bad line says what it should be and nothing of what it holds.
    #[test]
    fn a_bad_line_is_refused_without_repeating_it() {
        for bad in [
            "{",
            "[]",
            "1",
            r#"{"status":"400"}"#,
            r#"{"status":70000}"#,
            r#"{"headers":{"a":{}}}"#,
            r#"{"headers":"secret"}"#,
            r#"{"body":{"secret":1}}"#,
            r#"{"status":"secret"}"#,
        ] {
            let error = parse(bad.as_bytes()).err().unwrap();
            assert!(error.contains("should be") && !error.contains("secret"), "{bad}: {error}");
        }
        assert_eq!(parse(b"{\"body\":\"\xff\"}").err().unwrap(), "it is not UTF-8");
    }

    #[test]
    fn a_body_is_cut_where_the_host_would_cut_it() {
        let line = json!({"body": "é".repeat(40_000)}).to_string();
        let answer = answer(&line);
        assert!(answer.body_cut && answer.body.len() == CAP_BYTES);
    }

    #[test]
    fn an_explanation_shows_the_steps_the_rule_and_nothing_hidden() {
        let judged = Judgement {
            verdict: "terminal".into(),
            status: Some(400),
            code: Some("invalid_grant".into()),
            sub_code: None,
            rule: "rfc6749:invalid_grant".into(),
            retry_after_s: Some(3),
            summary: "HTTP 400\u{1b}".into(),
            in_doubt: false,
            steps: vec![lazaretto_host::Step { name: "body".into(), finding: "JSON".into() }],
        };
        assert_eq!(
            explain(&json!("a"), "xai", &judged, Style::PLAIN),
            "a: terminal, HTTP 400\\u{1b}\n    provider       xai\n    body           JSON\n    decided        rfc6749:invalid_grant\n    \
             wait           3 s, the server says\n"
        );
    }
}
