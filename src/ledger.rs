//! What is known of each refresh token, by fingerprint. It holds no secret, and it is ours alone.
//!
//! The ledger is why a dead token stays dead whoever puts it back, and why a send is safe: the intent is
//! compared-and-swapped into it before a token leaves.

use crate::document;
use crate::error::{Action, KeeperError};
use crate::fingerprint::Fingerprint;
use crate::json::Object;
use crate::layers::Layers;
use crate::ports::{Ports, Stored, Version};
use crate::table::Table;
use crate::time::DAY_MS;

const ABOUT: &str = "lazaret's ledger. No secrets; without it dead tokens may be sent again.";
const DEAD_KEPT_MS: u64 = 400 * DAY_MS;
const SPENT_KEPT_MS: u64 = 90 * DAY_MS;
const SPENT_KEPT_PER_LINEAGE: u64 = 64;
/// How often a write is tried against others who write too.
const ATTEMPTS: usize = 64;

/// The ledger's name beside a vault.
pub fn name(vault: &str) -> String {
    format!("{vault}.lazaret")
}

/// Everything that is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// By fingerprint.
    pub tokens: Table<Fingerprint, Record>,
}

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
    /// What it is good for.
    pub state: State,
    /// It is being sent, or was and no answer told what became of it.
    pub intent: Option<Intent>,
    /// It must not be sent for now.
    pub pause: Option<Pause>,
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
    /// The access token that lay beside it: one issued later, and not this one, earns one more send.
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
    /// How many sends of it there were or may be, this one among them, of which nobody knows the end.
    pub sends: u32,
}

/// That a token must not be sent for now, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pause {
    /// How it ends.
    pub until: Until,
    /// How often in a row it came to this.
    pub failures: u32,
    /// The error code, or the rule that matched.
    pub code: String,
    /// One redacted line.
    pub summary: String,
    /// Milliseconds since 1970.
    pub at_ms: u64,
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

/// Whom a token is sent to, and as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counterpart {
    /// The profile's id.
    pub provider: String,
    /// The token endpoint.
    pub endpoint: String,
    /// The client id.
    pub client: String,
    /// A fingerprint of what of the profile a refusal may depend on.
    pub profile: String,
}

/// What the ledger says of a token that somebody wants to send.
#[derive(Clone, Debug)]
pub enum Standing<'a> {
    /// It may be sent. An open intent says that it was.
    Sendable(Option<&'a Intent>),
    /// It may not, ever.
    Dead(&'a Tombstone),
    /// It was replaced by this one.
    Spent(&'a Fingerprint),
    /// Not now.
    Paused(&'a Pause),
}

impl Ledger {
    /// What it says of a token.
    pub fn standing(&self, token: &Fingerprint, to: &Counterpart, now_ms: u64) -> Standing<'_> {
        let Some(record) = self.tokens.get(token) else { return Standing::Sendable(None) };
        let same_client = record.endpoint == to.endpoint && record.client == to.client;
        match &record.state {
            State::Dead(tombstone) if same_client => return Standing::Dead(tombstone),
            State::Spent { successor } if same_client => return Standing::Spent(successor),
            _ => {}
        }
        let holds = |pause: &&Pause| match &pause.until {
            Until::Time(until_ms) => {
                // A clock set back must not stretch a cooldown.
                now_ms < *until_ms
                    && now_ms.saturating_add(DAY_MS * 8) > *until_ms
                    && now_ms >= pause.at_ms.saturating_sub(60_000)
            }
            Until::Change { profile } => same_client && *profile == to.profile,
            Until::Operator => true,
        };
        match record.pause.as_ref().filter(holds) {
            Some(pause) => Standing::Paused(pause),
            None => Standing::Sendable(record.intent.as_ref()),
        }
    }

    /// Whether `token` came before `of` in one lineage.
    pub fn is_ancestor(&self, token: &Fingerprint, of: &Fingerprint) -> bool {
        let mut at = of;
        // Bounded, for a ledger that was tampered with can hold a ring.
        for _ in 0..self.tokens.len() {
            match self.tokens.get(at).and_then(|record| record.parent.as_ref()) {
                Some(parent) if parent == token => return true,
                Some(parent) => at = parent,
                None => return false,
            }
        }
        false
    }

    /// The record of a token, made if there is none.
    pub fn record(&mut self, token: &Fingerprint, to: &Counterpart, now_ms: u64) -> &mut Record {
        let record = self.tokens.entry(token.clone(), || Record {
            provider: to.provider.clone(),
            endpoint: to.endpoint.clone(),
            client: to.client.clone(),
            generation: 0,
            lineage: token.clone(),
            parent: None,
            changed_at_ms: now_ms,
            state: State::Live,
            intent: None,
            pause: None,
        });
        if record.endpoint != to.endpoint || record.client != to.client {
            // What was known was about another client; it says nothing here.
            record.endpoint.clone_from(&to.endpoint);
            record.client.clone_from(&to.client);
            record.state = State::Live;
            record.pause = None;
        }
        record.changed_at_ms = now_ms;
        record
    }

    /// Notes that the server gave `successor` for `parent`, at `since_ms`. What has become of the successor since, stays.
    pub fn rotate(
        &mut self,
        parent: &Fingerprint,
        successor: &Fingerprint,
        to: &Counterpart,
        since_ms: u64,
        now_ms: u64,
    ) {
        let is_known = self.tokens.get(successor).is_some_and(|record| record.changed_at_ms >= since_ms);
        let spent = self.record(parent, to, now_ms);
        spent.state = State::Spent { successor: successor.clone() };
        spent.intent = None;
        spent.pause = None;
        let (generation, lineage) = (spent.generation, spent.lineage.clone());
        let record = self.record(successor, to, now_ms);
        record.generation = generation + 1;
        record.lineage = lineage;
        record.parent = Some(parent.clone());
        if !is_known {
            record.state = State::Live;
            record.pause = None;
        }
    }

    fn read(top: &Layers<'_>) -> Self {
        let mut ledger = Self::default();
        if top.one("tokens").is_none() {
            top.misread("tokens", "is missing");
        }
        for (key, record) in top.entries("tokens") {
            ledger.tokens.insert(document::fingerprint(top, "tokens", &key), Record::read(&record));
        }
        ledger
    }

    fn prune(&mut self, now_ms: u64) {
        let mut latest: Table<Fingerprint, u64> = Table::default();
        for record in self.tokens.values() {
            let generation = latest.entry(record.lineage.clone(), || 0);
            *generation = record.generation.max(*generation);
        }
        self.tokens.retain(|_, record| {
            let age_ms = now_ms.saturating_sub(record.changed_at_ms);
            match &record.state {
                _ if record.intent.is_some() => true,
                State::Dead(_) => age_ms < DEAD_KEPT_MS,
                State::Live => age_ms < DEAD_KEPT_MS,
                State::Spent { .. } => {
                    let latest = latest.get(&record.lineage).copied().unwrap_or_default();
                    age_ms < SPENT_KEPT_MS || latest - record.generation < SPENT_KEPT_PER_LINEAGE
                }
            }
        });
    }
}

/// A ledger as it was read.
#[derive(Clone, Debug)]
pub struct Read {
    /// What it says.
    pub ledger: Ledger,
    /// None: there was none.
    pub version: Option<Version>,
}

/// Reads the ledger of a vault. One that cannot be understood is an error: nothing may be sent without it.
#[cfg_attr(target_arch = "wasm32", lazaret_macros::synchronous)]
pub async fn load<P: Ports>(ports: &P, vault: &str) -> Result<Read, KeeperError> {
    let name = name(vault);
    match document::loaded(&name, ports.load(&name, None).await)? {
        Some(document) => Ok(Read { ledger: parse(document.text.expose())?, version: Some(document.version) }),
        None => Ok(Read { ledger: Ledger::default(), version: None }),
    }
}

/// What came of [`swap`].
pub enum Swapped {
    /// The ledger is this now.
    Done(Read),
    /// Somebody else was first.
    Stale,
}

/// Writes a ledger that was read and changed, if nobody changed it meanwhile. `written` tells it from another's
/// when the storage cannot say.
#[cfg_attr(target_arch = "wasm32", lazaret_macros::synchronous)]
pub async fn swap<P: Ports>(
    ports: &P,
    vault: &str,
    mut read: Read,
    durable: bool,
    written: &dyn Fn(&Ledger) -> bool,
) -> Result<Swapped, KeeperError> {
    read.ledger.prune(ports.wall_ms());
    let text = render(&read.ledger);
    match ports.store(&name(vault), &text, read.version.as_ref(), durable, None).await {
        Ok(Stored::Done(version)) => Ok(Swapped::Done(Read { version: Some(version), ..read })),
        Ok(Stored::Stale(_)) => Ok(Swapped::Stale),
        Ok(Stored::Unknown) => {
            let now = load(ports, vault).await?;
            Ok(if written(&now.ledger) { Swapped::Done(now) } else { Swapped::Stale })
        }
        Err(error) => Err(KeeperError::storage(&name(vault), &error)),
    }
}

/// Changes the ledger, whoever else does too. The change must come to the same when it is made twice. `known` is the ledger as
/// this call wrote it last: if nobody has changed it since, it need not be read.
#[cfg_attr(target_arch = "wasm32", lazaret_macros::synchronous)]
pub async fn update<P: Ports>(
    ports: &P,
    vault: &str,
    durable: bool,
    mut known: Option<Read>,
    change: &dyn Fn(&mut Ledger),
) -> Result<Ledger, KeeperError> {
    for _ in 0..ATTEMPTS {
        let mut read = match known.take() {
            Some(read) => read,
            None => load(ports, vault).await?,
        };
        change(&mut read.ledger);
        match swap(ports, vault, read, durable, &|_| false).await? {
            Swapped::Done(read) => return Ok(read.ledger),
            Swapped::Stale => {}
        }
    }
    Err(KeeperError::new(
        "busy",
        Action::Retry,
        format!("the ledger `{}` is being written by others all the time", name(vault)),
    ))
}

fn parse(text: &str) -> Result<Ledger, KeeperError> {
    let advice = ": nothing is sent, for it says which tokens are dead. Restore it, or set it aside";
    document::read(text, "the ledger", advice, Ledger::read)
}

fn render(ledger: &Ledger) -> String {
    let mut tokens = Object::default();
    for (token, record) in ledger.tokens.iter() {
        tokens.raw(token.as_str(), record.spelled());
    }
    Object::default().number("schema", document::SCHEMA).text("about", ABOUT).raw("tokens", tokens.lines()).lines()
        + "\n"
}

impl Record {
    /// The send that `ours` was for has come to an end that is known, or was never made. What else was sent stays in doubt.
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

    fn read(record: &Layers<'_>) -> Self {
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
            state: match record.which_of("state", &["live", "spent", "dead"]) {
                0 => State::Live,
                1 => State::Spent { successor: fingerprint("successor") },
                _ => State::Dead(Tombstone::read(&record.object("tombstone"))),
            },
            intent: record.maybe_object("intent").as_ref().map(Intent::read),
            pause: record.maybe_object("pause").as_ref().map(Pause::read),
        }
    }

    fn spelled(&self) -> String {
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
            .maybe_raw("intent", self.intent.as_ref().map(Intent::spelled))
            .maybe_raw("pause", self.pause.as_ref().map(Pause::spelled))
            .lines()
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
            .lines()
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
            .lines()
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
            .text("code", &self.code)
            .text("summary", &self.summary)
            .number("at_ms", self.at_ms)
            .lines()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to() -> Counterpart {
        Counterpart { provider: "p".into(), endpoint: "e".into(), client: "c".into(), profile: "f".into() }
    }

    fn dead(at_ms: u64) -> State {
        State::Dead(Tombstone {
            at_ms,
            reason: "refresh-refused".into(),
            status: Some(400),
            code: "invalid_grant".into(),
            summary: String::new(),
            access: None,
        })
    }

    #[test]
    fn a_rotation_makes_the_parent_spent_and_carries_the_lineage_on() {
        let mut ledger = Ledger::default();
        let [a, b, c] = ["a", "b", "c"].map(Fingerprint::of);
        ledger.rotate(&a, &b, &to(), 1, 1);
        ledger.rotate(&b, &c, &to(), 2, 2);
        assert!(matches!(ledger.standing(&a, &to(), 3), Standing::Spent(successor) if *successor == b));
        assert!(matches!(ledger.standing(&c, &to(), 3), Standing::Sendable(None)));
        assert!(ledger.is_ancestor(&a, &c) && !ledger.is_ancestor(&c, &a));
        assert_eq!((ledger.tokens.get(&c).unwrap().generation, &ledger.tokens.get(&c).unwrap().lineage), (2, &a));
    }

    #[test]
    fn a_tombstone_counts_for_its_endpoint_and_client_only() {
        let mut ledger = Ledger::default();
        let token = Fingerprint::of("a");
        ledger.record(&token, &to(), 1).state = dead(1);
        assert!(matches!(ledger.standing(&token, &to(), 2), Standing::Dead(_)));
        let other = Counterpart { client: "other".into(), ..to() };
        assert!(matches!(ledger.standing(&token, &other, 2), Standing::Sendable(None)));
    }

    #[test]
    fn a_hold_ends_with_the_profile_and_a_cooldown_with_time_or_a_clock_that_steps() {
        let mut ledger = Ledger::default();
        let token = Fingerprint::of("a");
        let pause = |until| Pause { until, failures: 1, code: "x".into(), summary: String::new(), at_ms: 1_000_000 };
        ledger.record(&token, &to(), 1).pause = Some(pause(Until::Change { profile: "f".into() }));
        assert!(matches!(ledger.standing(&token, &to(), 2), Standing::Paused(_)));
        assert!(matches!(
            ledger.standing(&token, &Counterpart { profile: "g".into(), ..to() }, 2),
            Standing::Sendable(_)
        ));
        ledger.record(&token, &to(), 1).pause = Some(pause(Until::Time(1_005_000)));
        assert!(matches!(ledger.standing(&token, &to(), 1_004_999), Standing::Paused(_)));
        assert!(matches!(ledger.standing(&token, &to(), 1_005_000), Standing::Sendable(_)));
        assert!(matches!(ledger.standing(&token, &to(), 100_000), Standing::Sendable(_)));
    }

    #[test]
    fn a_late_note_of_a_rotation_does_not_lift_the_tombstone_of_its_successor() {
        let mut ledger = Ledger::default();
        let [a, b] = ["a", "b"].map(Fingerprint::of);
        ledger.record(&b, &to(), 7).state = dead(7);
        ledger.rotate(&a, &b, &to(), 5, 9);
        assert!(matches!(ledger.tokens.get(&b).unwrap().state, State::Dead(_)));
        // But a server that gives the same token once more, later, has brought it back to life.
        ledger.rotate(&a, &b, &to(), 20, 21);
        assert_eq!(ledger.tokens.get(&b).unwrap().state, State::Live);
    }

    #[test]
    fn an_intent_ends_when_every_send_it_stands_for_has() {
        let intent = |nonce: &str, sends| Intent { nonce: nonce.into(), since_ms: 1, sent_at_ms: 1, sends };
        let after = |open: Intent, accounted: &[&str]| {
            let mut record = Ledger::default().record(&Fingerprint::of("t"), &to(), 1).clone();
            record.intent = Some(open);
            accounted.iter().for_each(|nonce| record.account_for(&intent(nonce, 1)));
            record.intent.map(|intent| (intent.nonce, intent.sends))
        };
        assert_eq!(after(intent("a", 1), &["a"]), None);
        // Somebody sent it before, and nobody knows what came of it.
        assert_eq!(after(intent("b", 2), &["b"]), Some((String::new(), 1)));
        // Both are accounted for, in either order.
        assert_eq!(after(intent("b", 2), &["b", "a"]), None);
        assert_eq!(after(intent("b", 2), &["a", "b"]), None);
        // Another's is another's, however often.
        assert_eq!(after(intent("b", 1), &["a", "a"]), Some(("b".to_owned(), 1)));
    }

    #[test]
    fn what_is_old_goes_but_not_open_intents_nor_the_last_of_a_lineage() {
        let mut ledger = Ledger::default();
        let tokens: Vec<_> = (0..100).map(|n| Fingerprint::of(&n.to_string())).collect();
        for pair in tokens.windows(2) {
            ledger.rotate(&pair[0], &pair[1], &to(), 1, 1);
        }
        let open = Fingerprint::of("open");
        ledger.record(&open, &to(), 1).intent =
            Some(Intent { nonce: "n".into(), since_ms: 1, sent_at_ms: 1, sends: 1 });
        ledger.record(&Fingerprint::of("dead"), &to(), 1).state = dead(1);
        ledger.prune(SPENT_KEPT_MS + 2);
        assert_eq!(ledger.tokens.len(), 64 + 2);
        ledger.prune(DEAD_KEPT_MS + 2);
        assert!(ledger.tokens.get(&open).is_some() && ledger.tokens.get(&Fingerprint::of("dead")).is_none());
    }

    #[test]
    fn a_ledger_that_cannot_be_understood_is_an_error() {
        assert_eq!(parse("{").unwrap_err().code, "corrupt-ledger");
        assert_eq!(parse("{\"schema\":2,\"new\":1}").unwrap_err().code, "newer-ledger");
    }

    #[test]
    fn a_ledger_reads_back_as_it_was_written() {
        let mut ledger = Ledger::default();
        let [a, b] = ["a", "b"].map(Fingerprint::of);
        ledger.rotate(&a, &b, &to(), 1, 1);
        let record = ledger.record(&b, &to(), 2);
        record.intent = Some(Intent { nonce: "n".into(), since_ms: 1, sent_at_ms: 2, sends: 3 });
        let pause = |until| Some(Pause { until, failures: 2, code: "c\"".into(), summary: "s\n".into(), at_ms: 4 });
        record.pause = pause(Until::Time(5));
        ledger.record(&Fingerprint::of("held"), &to(), 1).pause = pause(Until::Change { profile: "p".into() });
        ledger.record(&Fingerprint::of("parked"), &to(), 1).pause = pause(Until::Operator);
        ledger.record(&Fingerprint::of("dead"), &to(), 1).state = dead(1);
        let text = render(&ledger);
        assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{text}");
        assert_eq!(parse(&text).unwrap(), ledger);
    }
}
