//! A line for `classify`: one answer of a token endpoint, as the native command reads it. What is
//! wrong is said without what was there.

use serde_json::{Map, Value};

/// Longer bodies are cut, as they are when they come from the network.
const CAP_BYTES: usize = 64 << 10;
/// Who is judged by the generic rules alone.
const GENERIC: &str = "generic";
const SHAPE: &str = r#"{"id", "provider", "status", "headers", "body", "transport_error"}"#;

/// One answer, and what the user calls it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Line {
    /// Given back as it is.
    pub id: Value,
    /// A profile's id or alias.
    pub provider: String,
    /// None: no answer came.
    pub status: Option<u16>,
    /// In their order.
    pub headers: Vec<(String, String)>,
    /// As text.
    pub body: String,
    /// It was longer.
    pub is_cut: bool,
    /// `failure.kind`, if no answer came.
    pub transport_error: Option<String>,
}

impl Line {
    /// Reads a line.
    ///
    /// # Errors
    /// What it should be.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
        let mut line: Map<String, Value> = match serde_json::from_str(text.trim_start_matches('\u{feff}')) {
            Ok(Value::Object(line)) => line,
            Ok(_) => return Err(format!("it is JSON, but should be {SHAPE}")),
            Err(error) => return Err(format!("it is not JSON (column {}); it should be {SHAPE}", error.column())),
        };
        let mut take = |name: &str| line.remove(name).unwrap_or_default();
        let mut body = string("body", take("body"))?.unwrap_or_default();
        let is_cut = body.len() > CAP_BYTES;
        body.truncate(body.floor_char_boundary(CAP_BYTES));
        Ok(Self {
            provider: string("provider", take("provider"))?
                .filter(|name| !name.is_empty())
                .unwrap_or_else(|| GENERIC.to_owned()),
            status: status(&take("status"))?,
            headers: headers(take("headers"))?,
            body,
            is_cut,
            transport_error: string("transport_error", take("transport_error"))?,
            id: take("id"),
        })
    }
}

fn string(name: &str, value: Value) -> Result<Option<String>, String> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text)),
        _ => Err(format!("`{name}` should be a string or null")),
    }
}

fn status(value: &Value) -> Result<Option<u16>, String> {
    let status = value.as_u64().and_then(|status| u16::try_from(status).ok());
    let status = status.filter(|status| (100..=999).contains(status));
    if status.is_none() && !value.is_null() {
        return Err("`status` should be an HTTP status or null".into());
    }
    Ok(status)
}

fn headers(value: Value) -> Result<Vec<(String, String)>, String> {
    let wrong = || "`headers` should be null, or an object of strings or lists of strings".to_owned();
    let named = match value {
        Value::Null => return Ok(Vec::new()),
        Value::Object(named) => named,
        _ => return Err(wrong()),
    };
    let mut headers = Vec::new();
    for (name, value) in named {
        let values = match value {
            Value::Null => Vec::new(),
            Value::Array(values) => values,
            value => vec![value],
        };
        for value in values {
            let value = match value {
                Value::String(text) => text,
                Value::Number(number) => number.to_string(),
                _ => return Err(wrong()),
            };
            headers.push((name.clone(), value));
        }
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_may_be_missing_or_null() {
        for line in ["{}", r#"{"id":null,"status":null,"headers":null,"body":null,"transport_error":null}"#] {
            assert_eq!(Line::parse(line.as_bytes()).unwrap(), Line { provider: "generic".into(), ..Line::default() });
        }
    }

    /// A bad line says what it should be and nothing of what it holds.
    #[test]
    fn a_bad_line_is_refused_without_repeating_it() {
        for bad in [
            "{",
            "[]",
            r#"{"status":"s3cret"}"#,
            r#"{"status":70000}"#,
            r#"{"headers":"s3cret"}"#,
            r#"{"body":{"s3cret":1}}"#,
        ] {
            let why = Line::parse(bad.as_bytes()).unwrap_err();
            assert!(why.contains("should be") && !why.contains("s3cret"), "{bad}: {why}");
        }
    }

    #[test]
    fn headers_are_strings_or_lists_of_them() {
        let line = Line::parse(br#"{"headers":{"a":"1","b":["2","3"],"c":null,"retry-after":30}}"#).unwrap();
        let headers: Vec<_> = line.headers.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(headers, ["a=1", "b=2", "b=3", "retry-after=30"]);
    }
}
