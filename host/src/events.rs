//! Events are the component's words on what it decided: structured, and without secrets.

/// One event: `wit/events.wit` says what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// `refreshed`, `quarantined`, ...
    pub name: String,
    /// `info`, `warning` or `error`.
    pub severity: String,
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// The profile's id.
    pub provider: String,
    /// An entry's id, or `login`.
    pub credential: Option<String>,
    /// One line for a person.
    pub message: String,
    /// More, by name.
    pub attributes: Vec<(String, String)>,
}

/// Where events go. It may be called from many threads at once.
pub trait EventSink: Send + Sync {
    /// Takes one event; it cannot fail and should not block.
    fn emit(&self, event: &Event);
}

/// Drops every event.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoEvents;

impl EventSink for NoEvents {
    fn emit(&self, _: &Event) {}
}

impl<F: Fn(&Event) + Send + Sync> EventSink for F {
    fn emit(&self, event: &Event) {
        self(event);
    }
}
