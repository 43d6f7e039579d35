//! What is known of each refresh token, by fingerprint. It holds no secret, and it is ours alone.
//!
//! The ledger is why a dead token stays dead whoever puts it back, and why a send is safe: the
//! intent is compared-and-swapped into it before a token leaves.

mod record;
mod records;

use std::collections::BTreeMap;

use crate::error::KeeperError;
use crate::json;
use crate::layers::Layers;
use crate::ports::{Loaded, Ports, Stored, Version};
use crate::state::fingerprint::Fingerprint;
use crate::state::{document, pause};
use crate::time::DAY_MS;

pub use record::{Intent, Pause, Record, State, Tombstone, Until};
pub use records::Records;

const ABOUT: &str = "lazaretto's ledger. No secrets; without it dead tokens may be sent again.";
const NAME: &str = "the ledger";
const ADVICE: &str = ": nothing is sent, for it says which tokens are dead. Restore it, or set it aside";
/// Pruning takes the time of reading every record, so it is not done at every write.
const PRUNED_EVERY_MS: u64 = DAY_MS;
const DEAD_KEPT_MS: u64 = 400 * DAY_MS;
const SPENT_KEPT_MS: u64 = 90 * DAY_MS;
const SPENT_KEPT_PER_LINEAGE: u64 = 64;

/// The ledger's name beside a vault.
pub fn name(vault: &str) -> String {
    format!("{vault}.lazaretto")
}

/// Everything that is known.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// By fingerprint.
    pub tokens: Records,
    /// When what is old was taken out last, in milliseconds since 1970.
    pruned_at_ms: u64,
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

impl Counterpart {
    /// Whether the profile is still as it was when this was noted of it. A client's secret that
    /// only the host can read is not read for every look: then nothing is said of it, and the rest
    /// decides.
    fn is_still(&self, noted: &str) -> bool {
        self.profile == noted || self.profile.ends_with(SECRET) && noted.starts_with(&self.profile)
    }
}

/// What parts a profile's fingerprint from that of a secret which the host reads.
pub(crate) const SECRET: char = '/';

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
                // Whoever mends what was refused need not wait.
                pause.profile.as_ref().is_none_or(|profile| same_client && to.is_still(profile))
                    && pause::holds(Some(pause.at_ms), *until_ms, now_ms)
            }
            Until::Change { profile } => same_client && to.is_still(profile),
            Until::Operator => true,
        };
        match record.pause.as_ref().filter(holds) {
            Some(pause) => Standing::Paused(pause),
            None => Standing::Sendable(record.intent.as_ref()),
        }
    }

    /// Lets a token be sent again: drops the tombstone, the pause and the intent that are known of
    /// it.
    pub(crate) fn allow_again(&mut self, token: &Fingerprint) {
        if let Some(record) = self.tokens.get_mut(token) {
            record.state = State::Live;
            record.pause = None;
            record.intent = None;
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
        let record = self.tokens.entry(token, || Record {
            provider: to.provider.clone(),
            endpoint: to.endpoint.clone(),
            client: to.client.clone(),
            generation: 0,
            lineage: token.clone(),
            parent: None,
            changed_at_ms: now_ms,
            granted_by_ms: now_ms,
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

    /// Notes that the server gave `successor` for `parent`. `was` is what was known of the
    /// successor before that: what has become of it since, stays.
    pub fn rotate(
        &mut self,
        parent: &Fingerprint,
        successor: &Fingerprint,
        to: &Counterpart,
        was: Option<&State>,
        now_ms: u64,
    ) {
        let is_news = self.tokens.get(successor).map(|record| &record.state) == was;
        let spent = self.record(parent, to, now_ms);
        spent.state = State::Spent { successor: successor.clone() };
        spent.intent = None;
        spent.pause = None;
        let (generation, lineage, granted_by_ms) = (spent.generation, spent.lineage.clone(), spent.granted_by_ms);
        let record = self.record(successor, to, now_ms);
        record.generation = generation + 1;
        record.lineage = lineage;
        record.granted_by_ms = granted_by_ms.min(record.granted_by_ms);
        record.parent = Some(parent.clone());
        if is_news {
            record.state = State::Live;
            record.pause = None;
        }
    }

    /// That every record that was asked for could be understood. One that could not came as none:
    /// nothing is written, and so nothing sent, on the word of that.
    pub(crate) fn understood(&self) -> Result<(), KeeperError> {
        self.tokens.wrong().map_or(Ok(()), |what| Err(document::corrupt(NAME, &what, ADVICE)))
    }

    fn read(top: &Layers<'_>, text: &str) -> Self {
        if top.one("tokens").is_none() {
            top.misread("tokens", "is missing");
        }
        let pruned_at_ms = top.one("pruned_at_ms").and_then(|at| at.as_u64());
        Self { tokens: Records::read(top, text), pruned_at_ms: pruned_at_ms.unwrap_or_default() }
    }

    fn prune(&mut self, now_ms: u64) {
        // However the clock was set.
        if now_ms.abs_diff(self.pruned_at_ms) < PRUNED_EVERY_MS {
            return;
        }
        self.pruned_at_ms = now_ms;
        let mut latest: BTreeMap<Fingerprint, u64> = BTreeMap::new();
        for record in self.tokens.values() {
            let generation = latest.entry(record.lineage.clone()).or_insert(0);
            *generation = record.generation.max(*generation);
        }
        self.tokens.retain(|record| {
            let age_ms = now_ms.saturating_sub(record.changed_at_ms);
            match &record.state {
                _ if record.intent.is_some() => true,
                State::Dead(_) | State::Live => age_ms < DEAD_KEPT_MS,
                State::Spent { .. } => {
                    let latest = latest.get(&record.lineage).copied().unwrap_or_default();
                    age_ms < SPENT_KEPT_MS || latest - record.generation < SPENT_KEPT_PER_LINEAGE
                }
            }
        });
    }
}

/// A ledger as it was read.
#[derive(Clone, Debug, Default)]
pub struct Read {
    /// What it says.
    pub ledger: Ledger,
    /// None: there was none.
    pub version: Option<Version>,
}

/// Reads the ledger of a vault. One that cannot be understood is an error: nothing may be sent
/// without it.
#[lazaretto_macros::async_natively]
pub async fn load<P: Ports>(ports: &P, vault: &str) -> Result<Read, KeeperError> {
    let name = name(vault);
    match document::loaded(&name, ports.load(&name, None).await)? {
        Some(document) => Ok(Read { ledger: parse(document.text.expose())?, version: Some(document.version) }),
        None => Ok(Read { ledger: Ledger::default(), version: None }),
    }
}

/// Whether somebody stored the ledger since it was read at this version.
#[lazaretto_macros::async_natively]
pub(crate) async fn has_changed<P: Ports>(ports: &P, vault: &str, version: &Option<Version>) -> bool {
    match ports.load(&name(vault), version.as_ref()).await {
        Ok(Loaded::Unchanged) => false,
        Ok(Loaded::Found(document)) => version.as_ref() != Some(&document.version),
        Ok(Loaded::Absent) => version.is_some(),
        Err(_) => false,
    }
}

/// What came of [`swap`].
pub enum Swapped {
    /// The ledger is this now.
    Done(Read),
    /// Somebody else was first.
    Stale,
}

/// Writes a ledger that was read and changed, if nobody changed it meanwhile. `written` tells it
/// from another's when the storage cannot say.
#[lazaretto_macros::async_natively]
pub async fn swap<P: Ports>(
    ports: &P,
    vault: &str,
    mut read: Read,
    durable: bool,
    written: &dyn Fn(&Ledger) -> bool,
) -> Result<Swapped, KeeperError> {
    read.ledger.prune(ports.wall_ms());
    read.ledger.understood()?;
    let text = render(&read.ledger);
    match ports.store(&name(vault), &text, read.version.as_ref(), durable, None).await {
        Ok(Stored::Done(version)) => Ok(Swapped::Done(Read { version: Some(version), ..read })),
        Ok(Stored::Stale(_)) => Ok(Swapped::Stale),
        Ok(Stored::Unknown) => {
            let name = name(vault);
            let Some(document) = document::loaded(&name, ports.load(&name, None).await)? else {
                return Ok(Swapped::Stale);
            };
            // To the byte what was to be written: made once more, a change that counts sends would
            // count one twice.
            let is_there = *document.text.expose() == text;
            let now = Read { ledger: parse(document.text.expose())?, version: Some(document.version) };
            Ok(if is_there || written(&now.ledger) { Swapped::Done(now) } else { Swapped::Stale })
        }
        Err(error) => Err(KeeperError::storage(&name(vault), &error)),
    }
}

/// Changes the ledger, whoever else does too. The change must come to the same when it is made
/// twice. `known` is the ledger as this call wrote it last: if nobody has changed it since, it need
/// not be read.
#[lazaretto_macros::async_natively]
pub async fn update<P: Ports>(
    ports: &P,
    vault: &str,
    durable: bool,
    mut known: Option<Read>,
    change: &dyn Fn(&mut Ledger),
) -> Result<Ledger, KeeperError> {
    let stored = document::until_stored(async || {
        let mut read = match known.take() {
            Some(read) => read,
            None => load(ports, vault).await?,
        };
        change(&mut read.ledger);
        match swap(ports, vault, read, durable, &|_| false).await? {
            Swapped::Done(read) => Ok(Some(read.ledger)),
            Swapped::Stale => Ok(None),
        }
    });
    stored.await?.ok_or_else(|| document::busy(&format!("the ledger `{}`", name(vault))))
}

fn parse(text: &str) -> Result<Ledger, KeeperError> {
    document::read(text, NAME, ADVICE, |top| Ledger::read(top, text))
}

/// A record is a line, and those that nobody asked for are not even looked at.
fn render(ledger: &Ledger) -> String {
    format!(
        "{{\n  \"schema\": {},\n  \"about\": {},\n  \"pruned_at_ms\": {},\n  \"tokens\": {{\n{}\n  }}\n}}\n",
        document::SCHEMA,
        json::quote(ABOUT),
        ledger.pruned_at_ms,
        ledger.tokens.spelled()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

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
        ledger.rotate(&a, &b, &to(), None, 1);
        ledger.rotate(&b, &c, &to(), Some(&State::Live), 2);
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
        let pause = |until| Pause {
            until,
            failures: 1,
            refusals: 0,
            profile: None,
            code: "x".into(),
            summary: String::new(),
            at_ms: 1_000_000,
        };
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
        ledger.rotate(&a, &b, &to(), None, 9);
        assert!(matches!(ledger.tokens.get(&b).unwrap().state, State::Dead(_)));
        // But a server that gives a token once more that was dead before has brought it back to
        // life.
        ledger.rotate(&a, &b, &to(), Some(&dead(7)), 21);
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
            ledger.rotate(&pair[0], &pair[1], &to(), None, 1);
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
    fn what_is_old_is_looked_for_once_a_day() {
        let mut ledger = Ledger::default();
        ledger.record(&Fingerprint::of("dead"), &to(), 1).state = dead(1);
        ledger.prune(DEAD_KEPT_MS);
        let mut ledger = parse(&render(&ledger)).unwrap();
        ledger.prune(DEAD_KEPT_MS + DAY_MS - 1);
        assert_eq!(ledger.tokens.len(), 1);
        ledger.prune(DEAD_KEPT_MS + DAY_MS);
        assert_eq!(ledger.tokens.len(), 0);
        // A clock that was ahead is no reason to keep what is old for longer.
        ledger.record(&Fingerprint::of("dead"), &to(), 1).state = dead(1);
        ledger.pruned_at_ms = u64::MAX;
        ledger.prune(DEAD_KEPT_MS + 1);
        assert_eq!(ledger.tokens.len(), 0);
    }

    #[test]
    fn a_ledger_that_cannot_be_understood_is_an_error() {
        for (text, code) in [
            ("{", Code::CorruptLedger),
            ("[]", Code::CorruptLedger),
            (r#"{"schema":1}"#, Code::CorruptLedger),
            (r#"{"schema":1,"tokens":[]}"#, Code::CorruptLedger),
            (r#"{"schema":1,"tokens":{"short":{}}}"#, Code::CorruptLedger),
            (r#"{"schema":1,"tokens":{"ba7816bf8f01cfea414140de5dae2223":1}}"#, Code::CorruptLedger),
            (r#"{"schema":2,"new":1}"#, Code::NewerLedger),
        ] {
            assert_eq!(parse(text).unwrap_err().code, code, "{text}");
        }
    }

    #[test]
    fn a_record_that_cannot_be_understood_is_an_error_once_it_is_asked_for_or_pruned() {
        let mut known = Ledger::default();
        let [a, b, c] = ["a", "b", "c"].map(Fingerprint::of);
        known.rotate(&a, &b, &to(), None, 1);
        known.rotate(&b, &c, &to(), Some(&State::Live), 2);
        let broken = render(&known).replace(&format!("\"parent\":\"{}\"", a.as_str()), "\"parent\":17");
        let asked = |ask: &dyn Fn(&mut Ledger)| {
            let mut ledger = parse(&broken).unwrap();
            ask(&mut ledger);
            ledger.understood().err().map(|error| (error.code, error.message.clone()))
        };
        assert_eq!(asked(&|ledger| assert!(matches!(ledger.standing(&a, &to(), 3), Standing::Spent(_)))), None);
        let (code, message) = asked(&|ledger| assert!(ledger.tokens.get(&b).is_none())).unwrap();
        assert_eq!(code, Code::CorruptLedger);
        assert!(message.contains(&format!("{}: `parent` should be a string", b.short())), "{message}");
        assert!(asked(&|ledger| assert!(matches!(ledger.standing(&b, &to(), 3), Standing::Sendable(None)))).is_some());
        assert!(asked(&|ledger| assert!(!ledger.is_ancestor(&a, &c))).is_some());
        assert!(asked(&|ledger| ledger.record(&b, &to(), 3).pause = None).is_some());
        assert!(asked(&|ledger| ledger.prune(DAY_MS)).is_some());
    }

    #[test]
    fn a_record_that_nobody_asked_for_is_written_as_it_was_spelled() {
        let [a, b, c] = ["a", "b", "c"].map(Fingerprint::of);
        let mut known = Ledger::default();
        known.rotate(&a, &b, &to(), None, 1);
        let text = render(&known).replace("\"generation\":0", "\"generation\" : 0.0e0, \"new\":[\"}\"]");
        let mut ledger = parse(&text).unwrap();
        assert_eq!(render(&ledger), text);
        ledger.record(&c, &to(), 2);
        ledger.record(&b, &to(), 3);
        let changed = render(&ledger);
        assert!(changed.contains("0.0e0") && changed.contains("\"changed_at_ms\":3"), "{changed}");
        ledger.record(&a, &to(), 3);
        assert_eq!(parse(&render(&ledger)).unwrap().tokens.get(&a), ledger.tokens.get(&a));
        assert!(!render(&ledger).contains("0.0e0"));
    }

    #[test]
    fn a_ledger_reads_back_as_it_was_written() {
        let mut ledger = Ledger::default();
        let [a, b] = ["a", "b"].map(Fingerprint::of);
        ledger.rotate(&a, &b, &to(), None, 1);
        let record = ledger.record(&b, &to(), 2);
        record.intent = Some(Intent { nonce: "n".into(), since_ms: 1, sent_at_ms: 2, sends: 3 });
        let pause = |until| {
            Some(Pause {
                until,
                failures: 2,
                refusals: 1,
                profile: Some("f".into()),
                code: "c\"".into(),
                summary: "s\n".into(),
                at_ms: 4,
            })
        };
        record.pause = pause(Until::Time(5));
        ledger.record(&Fingerprint::of("held"), &to(), 1).pause = pause(Until::Change { profile: "p".into() });
        ledger.record(&Fingerprint::of("parked"), &to(), 1).pause = pause(Until::Operator);
        ledger.record(&Fingerprint::of("dead"), &to(), 1).state = dead(1);
        let text = render(&ledger);
        assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{text}");
        let read = parse(&text).unwrap();
        assert!(read.tokens.values().eq(ledger.tokens.values()));
        assert_eq!(render(&read), text);
    }
}
