//! What the ledger says of one refresh token, and how that is spelled: on one line.

use crate::json::Object;
use crate::layers::Layers;
use crate::state::document;
use crate::state::fingerprint::Fingerprint;

/// What is known of one refresh token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The profile's id.
    pub provider: String,
    /// The token endpoint it belongs to.
    pub endpoint: String,
    /// The client it was issued to.
    pub client: String,
    /// How often its grant was refreshed, as far as is known.
    pub generation: u64,
    /// The first known token of its grant.
    pub lineage: Fingerprint,
    /// The token it replaced.
    pub parent: Option<Fingerprint>,
    /// Milliseconds since 1970.
    pub changed_at_ms: u64,
    /// Since when its grant is known, in milliseconds since 1970: it may be older, not younger.
    pub granted_by_ms: u64,
    /// What it is good for.
    pub state: State,
    /// It is being sent, or was and no answer told what became of it.
    pub intent: Option<Intent>,
    /// It must not be sent for now.
    pub pause: Option<Pause>,
}

impl Record {
    /// If the server refused it for good.
    pub(crate) fn tombstone(&self) -> Option<&Tombstone> {
        match &self.state {
            State::Dead(tombstone) => Some(tombstone),
            _ => None,
        }
    }
}

/// What a token is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It may be sent.
    Live,
    /// The server gave another for it.
    Spent {
        /// That one.
        successor: Fingerprint,
    },
    /// The server refused it for good.
    Dead(Tombstone),
}

/// That a token is dead, for one token endpoint and client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tombstone {
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// Why it counts: see `last-error.reason` in the contract.
    pub reason: String,
    /// The HTTP status of the refusal.
    pub status: Option<u16>,
    /// The error code of the refusal, or the rule that matched.
    pub code: String,
    /// One redacted line.
    pub summary: String,
    /// The access token that lay beside it: one issued later, and not this one, earns one more
    /// send.
    pub access: Option<Fingerprint>,
}

/// The note that a token is being sent, durable before the send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// Random: tells this intent from any other.
    pub nonce: String,
    /// Since when, in milliseconds since 1970.
    pub since_ms: u64,
    /// When it was last sent, in milliseconds since 1970.
    pub sent_at_ms: u64,
    /// How many sends of it there were or may be, this one among them, of which nobody knows the
    /// end.
    pub sends: u32,
}

/// That a token must not be sent for now, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    /// How it ends.
    pub until: Until,
    /// How often in a row it came to this.
    pub failures: u32,
    /// How many of those refused the client or the request, and not the token.
    pub refusals: u32,
    /// A cooldown after such a refusal ends when this changes, too: the profile as it was.
    pub profile: Option<String>,
    /// The error code, or the rule that matched.
    pub code: String,
    /// One redacted line.
    pub summary: String,
    /// Milliseconds since 1970.
    pub at_ms: u64,
}

impl Pause {
    /// Whether the server asked for a person: it refused neither the token nor the client.
    pub(crate) fn needs_login(&self) -> bool {
        matches!(self.until, Until::Change { .. }) && self.profile.is_none() && self.refusals == 0
    }
}

/// How a pause ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Until {
    /// Cooling down: at this moment.
    Time(u64),
    /// Held: when the token, the endpoint, the client or the profile changes.
    Change {
        /// The profile as it was.
        profile: String,
    },
    /// Parked: when an operator says so.
    Operator,
}

impl Record {
    /// The send that `ours` was for has come to an end that is known, or was never made. What else
    /// was sent stays in doubt.
    pub(crate) fn account_for(&mut self, ours: &Intent) {
        let Some(intent) = &mut self.intent else { return };
        if intent.nonce == ours.nonce {
            // What is left is of others.
            intent.nonce.clear();
        }
        intent.sends = intent.sends.saturating_sub(1);
        match (intent.sends, intent.nonce.is_empty()) {
            (0, true) => self.intent = None,
            (0, false) => intent.sends = 1,
            _ => {}
        }
    }

    pub(super) fn read(record: &Layers<'_>) -> Self {
        let fingerprint = |name| document::fingerprint(record, name, &record.text(name));
        let maybe_fingerprint = |name| record.one(name).map(|_| fingerprint(name));
        Self {
            provider: record.text("provider"),
            endpoint: record.text("endpoint"),
            client: record.text("client"),
            generation: record.number("generation"),
            lineage: fingerprint("lineage"),
            parent: maybe_fingerprint("parent"),
            changed_at_ms: record.number("changed_at_ms"),
            granted_by_ms: record
                .one("granted_by_ms")
                .and_then(|at| at.as_u64())
                .unwrap_or_else(|| record.number("changed_at_ms")),
            state: match record.which_of("state", &["live", "spent", "dead"]) {
                0 => State::Live,
                1 => State::Spent { successor: fingerprint("successor") },
                _ => State::Dead(Tombstone::read(&record.object("tombstone"))),
            },
            intent: record.maybe_object("intent").as_ref().map(Intent::read),
            pause: record.maybe_object("pause").as_ref().map(Pause::read),
        }
    }

    pub(super) fn spelled(&self) -> String {
        let (state, successor, tombstone) = match &self.state {
            State::Live => ("live", None, None),
            State::Spent { successor } => ("spent", Some(successor.as_str()), None),
            State::Dead(tombstone) => ("dead", None, Some(tombstone.spelled())),
        };
        Object::default()
            .text("provider", &self.provider)
            .text("endpoint", &self.endpoint)
            .text("client", &self.client)
            .text("state", state)
            .maybe_text("successor", successor)
            .maybe_raw("tombstone", tombstone)
            .number("generation", self.generation)
            .text("lineage", self.lineage.as_str())
            .maybe_text("parent", self.parent.as_ref().map(Fingerprint::as_str))
            .number("changed_at_ms", self.changed_at_ms)
            .number("granted_by_ms", self.granted_by_ms)
            .maybe_raw("intent", self.intent.as_ref().map(Intent::spelled))
            .maybe_raw("pause", self.pause.as_ref().map(Pause::spelled))
            .line()
    }
}

impl Tombstone {
    fn read(tombstone: &Layers<'_>) -> Self {
        Self {
            at_ms: tombstone.number("at_ms"),
            reason: tombstone.text("reason"),
            status: tombstone
                .one("status")
                .and_then(|status| status.as_u64())
                .and_then(|status| u16::try_from(status).ok()),
            code: tombstone.text("code"),
            summary: tombstone.text("summary"),
            access: tombstone.maybe_text("access").map(|access| document::fingerprint(tombstone, "access", &access)),
        }
    }

    fn spelled(&self) -> String {
        Object::default()
            .number("at_ms", self.at_ms)
            .text("reason", &self.reason)
            .maybe_number("status", self.status.map(u64::from))
            .text("code", &self.code)
            .text("summary", &self.summary)
            .maybe_text("access", self.access.as_ref().map(Fingerprint::as_str))
            .line()
    }
}

impl Intent {
    fn read(intent: &Layers<'_>) -> Self {
        Self {
            nonce: intent.text("nonce"),
            since_ms: intent.number("since_ms"),
            sent_at_ms: intent.number("sent_at_ms"),
            sends: intent.number("sends").try_into().unwrap_or(u32::MAX),
        }
    }

    fn spelled(&self) -> String {
        Object::default()
            .text("nonce", &self.nonce)
            .number("since_ms", self.since_ms)
            .number("sent_at_ms", self.sent_at_ms)
            .number("sends", self.sends.into())
            .line()
    }
}

impl Pause {
    fn read(pause: &Layers<'_>) -> Self {
        Self {
            until: match pause.which_of("kind", &["cooling", "held", "parked"]) {
                0 => Until::Time(pause.number("until_ms")),
                1 => Until::Change { profile: pause.text("profile") },
                _ => Until::Operator,
            },
            failures: pause.number("failures").try_into().unwrap_or(u32::MAX),
            refusals: pause
                .one("refusals")
                .and_then(|refusals| refusals.as_u64())
                .map_or(0, |refusals| refusals.try_into().unwrap_or(u32::MAX)),
            profile: pause.maybe_text("of_profile"),
            code: pause.text("code"),
            summary: pause.text("summary"),
            at_ms: pause.number("at_ms"),
        }
    }

    fn spelled(&self) -> String {
        let (kind, until_ms, profile) = match &self.until {
            Until::Time(until_ms) => ("cooling", Some(*until_ms), None),
            Until::Change { profile } => ("held", None, Some(profile.as_str())),
            Until::Operator => ("parked", None, None),
        };
        Object::default()
            .text("kind", kind)
            .maybe_number("until_ms", until_ms)
            .maybe_text("profile", profile)
            .number("failures", self.failures.into())
            .maybe_number("refusals", (self.refusals > 0).then_some(self.refusals.into()))
            .maybe_text("of_profile", self.profile.as_deref())
            .text("code", &self.code)
            .text("summary", &self.summary)
            .number("at_ms", self.at_ms)
            .line()
    }
}
