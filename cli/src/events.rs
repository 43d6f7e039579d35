//! What the component decided goes to standard error as it happens, one line each, and nothing is
//! said twice.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::thread::{self, ThreadId};

use serde_json::{Map, Value, json};

use super::terminal::{self, Style};
use super::{text, time};
use lazaretto_host::Event;

/// Where events go.
#[derive(Debug)]
pub(super) struct Events {
    json: bool,
    verbose: bool,
    /// The last one of each thread is held back, for it often says what the error at the end of its
    /// call says too.
    held: Mutex<HashMap<ThreadId, Event>>,
}

impl Events {
    pub(super) fn new(json: bool, verbose: bool) -> Self {
        Self { json, verbose, held: Mutex::default() }
    }

    /// Takes one event.
    pub(super) fn take(&self, event: &Event) {
        if self.json {
            return terminal::complain(&to_json(event).to_string());
        }
        if event.severity == "info" && !self.verbose {
            return;
        }
        let before = self.held().insert(thread::current().id(), event.clone());
        self.print(before);
    }

    /// Says something of the command's own at once.
    pub(super) fn tell(&self, event: &Event) {
        if self.json {
            return terminal::complain(&to_json(event).to_string());
        }
        terminal::complain(&line(event, terminal::stderr_style()));
    }

    /// Prints what this thread's call left held back, unless it says no more than `said`.
    pub(super) fn finish(&self, said: Option<&str>) {
        let last = self.held().remove(&thread::current().id());
        self.print(last.filter(|event| said.is_none_or(|said| !said.contains(&event.message))));
    }

    /// Drops what is held back if it is a `name`: the command says that better itself.
    pub(super) fn drop_last(&self, name: &str) {
        let (mut held, this) = (self.held(), thread::current().id());
        if held.get(&this).is_some_and(|event| event.name == name) {
            held.remove(&this);
        }
    }

    fn print(&self, event: Option<Event>) {
        if let Some(event) = event {
            terminal::complain(&line(&event, terminal::stderr_style()));
        }
    }

    fn held(&self) -> std::sync::MutexGuard<'_, HashMap<ThreadId, Event>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn line(event: &Event, style: Style) -> String {
    let severity = match event.severity.as_str() {
        "info" => style.faint("info:"),
        "warning" => style.warn("warning:"),
        "error" => style.bad("error:"),
        other => text::escape(other) + ":",
    };
    let credential = event.credential.as_ref().map(|credential| format!(" ({credential})")).unwrap_or_default();
    let of = format!("{}{credential}: ", event.provider);
    // What is about the vault names no provider.
    let of = if event.provider.is_empty() || event.message.starts_with(&of) { "" } else { &of };
    format!("{} {severity} {}{}", time::clock(event.at_ms), text::escape(of), text::escape(&event.message))
}

fn to_json(event: &Event) -> Value {
    let attributes: Map<String, Value> =
        event.attributes.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    json!({"event": {
        "name": event.name,
        "severity": event.severity,
        "at": time::rfc3339(event.at_ms),
        "at_ms": event.at_ms,
        "provider": event.provider,
        "credential": event.credential,
        "message": event.message,
        "attributes": attributes,
    }})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(message: &str) -> Event {
        Event {
            name: "quarantined".into(),
            severity: "warning".into(),
            at_ms: 1_784_541_661_000,
            provider: "xai-oauth".into(),
            credential: Some("login".into()),
            message: message.into(),
            attributes: vec![("code".into(), "invalid_grant".into())],
        }
    }

    #[test]
    fn a_line_names_the_credential_once_and_shows_nothing_hidden() {
        let wanted = "10:01:01 warning: xai-oauth (login): dead";
        assert_eq!(line(&event("dead"), Style::PLAIN), wanted);
        assert_eq!(line(&event("xai-oauth (login): dead"), Style::PLAIN), wanted);
        assert_eq!(line(&event("\u{1b}[2J"), Style::PLAIN), "10:01:01 warning: xai-oauth (login): \\u{1b}[2J");
    }

    #[test]
    fn the_json_form_is_one_object() {
        let json = to_json(&event("dead"));
        assert_eq!(json["event"]["at"], "2026-07-20T10:01:01Z");
        assert_eq!(json["event"]["attributes"]["code"], "invalid_grant");
    }

    #[test]
    fn the_last_event_is_held_back_and_dropped_by_name() {
        let events = Events::new(false, false);
        events.take(&event("a"));
        assert!(!events.held().is_empty());
        events.drop_last("refreshed");
        assert!(!events.held().is_empty());
        events.drop_last("quarantined");
        assert!(events.held().is_empty());
    }

    #[test]
    fn information_is_for_those_who_ask() {
        let info = Event { severity: "info".into(), ..event("a") };
        let (quiet, verbose) = (Events::new(false, false), Events::new(false, true));
        quiet.take(&info);
        verbose.take(&info);
        assert!(quiet.held().is_empty() && !verbose.held().is_empty());
        verbose.drop_last("quarantined");
    }

    #[test]
    fn what_one_thread_holds_back_no_other_thread_drops() {
        let events = Events::new(false, false);
        events.take(&event("a"));
        std::thread::scope(|scope| {
            scope.spawn(|| events.drop_last("quarantined"));
        });
        assert_eq!(events.held().len(), 1);
        events.drop_last("quarantined");
    }
}
