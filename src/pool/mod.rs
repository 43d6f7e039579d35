//! Several credentials of one provider: which is picked, which rests, and what an API's word on one
//! leads to.
//!
//! A rest never ends a grant, and no entry rests for another's failure. What is written where:
//!
//! | what | where |
//! |---|---|
//! | an entry's rest | the entry's own status fields, for other programs read them too |
//! | a login's rest, failures in a row, whose turn it is, who is using what | the pool document `N.lazaretto-pool` |
//!
//! The pool document holds no secret. It may be lost at any time: then every turn begins anew.

mod memory;
mod pick;
mod report;
mod rest;

use std::collections::BTreeMap;

use crate::error::KeeperError;
use crate::json::Object;
use crate::layers::Layers;
use crate::ports::Version;
use crate::state::document;
use crate::state::fingerprint::Fingerprint;

pub use crate::token::Picked;
pub(crate) use memory::load;
pub(crate) use pick::{demand, is_sole, token};
pub use report::{Advice, ApiCall, WhatToDo};
pub(crate) use report::{end_rests, end_use, report};
pub(crate) use rest::{Resting, resting};

const ABOUT: &str = "Whose turn it is in lazaretto's pools, and what rests. No secrets; it may be deleted.";
/// How often a change is tried against others who write too. It is only a count that is lost.
const ATTEMPTS: usize = 16;
/// Sessions of one pool that are remembered.
const MOST_SESSIONS: usize = 1_000;

/// The pool document's name beside a vault.
pub fn name(vault: &str) -> String {
    format!("{vault}.lazaretto-pool")
}

/// The pool document, as it was read.
#[derive(Default)]
pub(crate) struct PoolState {
    version: Option<Version>,
    /// It cannot be understood, so it is not written either.
    is_foreign: bool,
    text: String,
    pools: BTreeMap<String, Pool>,
}

/// What is remembered of one provider's pool.
#[derive(Default)]
pub(crate) struct Pool {
    /// The id of the credential that was picked last.
    last: String,
    /// By the credential's id.
    members: BTreeMap<String, Member>,
    /// Which credential a session has, and when it was seen last.
    sessions: BTreeMap<String, (String, u64)>,
}

/// What is remembered of one credential.
#[derive(Default)]
struct Member {
    /// How often it was picked.
    uses: u64,
    /// Since when it is being used, in milliseconds since 1970; one number a use.
    in_use: Vec<u64>,
    /// What an API had against it.
    trouble: Option<Trouble>,
    /// The access token that a refresh brought because an API had refused the one before, and when.
    renewed: Option<(Fingerprint, u64)>,
}

/// What an API had against a credential.
#[derive(Clone, Debug)]
pub(crate) struct Trouble {
    /// The access token it was about: another one is not concerned.
    access: Fingerprint,
    /// The word of the API's verdict.
    kind: String,
    /// How often in a row.
    failures: u64,
    at_ms: u64,
    /// None: until the access token is another one.
    until_ms: Option<u64>,
    /// The entry says until when, not this.
    in_entry: bool,
    /// The HTTP status, or an error code.
    code: String,
    /// One redacted line.
    summary: String,
}

impl PoolState {
    /// What is remembered of a provider's pool.
    pub(crate) fn pool(&self, provider: &str) -> Option<&Pool> {
        self.pools.get(provider)
    }

    fn read(text: &str) -> Result<BTreeMap<String, Pool>, KeeperError> {
        document::read(text, "the pool document", ". Delete it: only whose turn it is, is lost", |top| {
            let mut pools = BTreeMap::new();
            for (provider, pool) in top.entries("pools") {
                pools.insert(provider, Pool::read(&pool));
            }
            pools
        })
    }
}

fn spelled(pools: &BTreeMap<String, Pool>) -> String {
    let mut all = Object::default();
    for (provider, pool) in pools.iter() {
        all.raw(provider, pool.spelled());
    }
    let mut top = Object::default();
    top.number("schema", document::SCHEMA).text("about", ABOUT).raw("pools", all.lines());
    top.lines() + "\n"
}

impl Pool {
    fn read(pool: &Layers<'_>) -> Self {
        let mut read = Self { last: pool.maybe_text("last").unwrap_or_default(), ..Self::default() };
        for (id, member) in pool.entries("credentials") {
            read.members.insert(id, Member::read(&member));
        }
        for (session, has) in pool.entries("sessions") {
            read.sessions.insert(session, (has.text("credential"), has.number("at_ms")));
        }
        read
    }

    fn spelled(&self) -> String {
        let (mut members, mut sessions) = (Object::default(), Object::default());
        for (id, member) in self.members.iter() {
            members.raw(id, member.spelled());
        }
        for (session, (id, at_ms)) in self.sessions.iter() {
            sessions.raw(session, Object::default().text("credential", id).number("at_ms", *at_ms).line());
        }
        let mut pool = Object::default();
        pool.text("last", &self.last).raw("credentials", members.lines()).raw("sessions", sessions.lines());
        pool.lines()
    }

    fn member(&mut self, id: &str) -> &mut Member {
        self.members.entry(id.to_owned()).or_default()
    }

    /// What an API had against a credential.
    fn trouble(&self, id: &str) -> Option<&Trouble> {
        self.members.get(id)?.trouble.as_ref()
    }

    /// Whether anything is remembered against a credential.
    fn has_trouble(&self, id: &str) -> bool {
        self.members.get(id).is_some_and(|member| member.trouble.is_some() || member.renewed.is_some())
    }

    fn forget_trouble(&mut self, id: &str) {
        let member = self.member(id);
        member.trouble = None;
        member.renewed = None;
    }

    /// How many are using a credential.
    fn users(&self, id: &str, now_ms: u64, in_use_s: u64) -> u64 {
        let is_on = |since: &&u64| is_recent(**since, now_ms, in_use_s);
        self.members.get(id).map_or(0, |member| member.in_use.iter().filter(is_on).count() as u64)
    }

    /// How often a credential was picked, as far as lazaretto knows.
    pub(crate) fn uses(&self, id: &str) -> u64 {
        self.members.get(id).map_or(0, |member| member.uses)
    }

    /// Who picks a credential, leaves this behind.
    fn take(&mut self, id: &str, session: Option<&str>, now_ms: u64, policy: &crate::state::settings::PoolPolicy) {
        id.clone_into(&mut self.last);
        let member = self.member(id);
        member.uses += 1;
        if policy.max_in_use > 0 {
            member.in_use.retain(|since| is_recent(*since, now_ms, policy.in_use_s));
            member.in_use.push(now_ms);
        }
        if let Some(session) = session {
            self.sessions.retain(|_, (_, at_ms)| is_recent(*at_ms, now_ms, policy.session_s));
            if self.sessions.len() >= MOST_SESSIONS {
                let oldest = self.sessions.iter().min_by_key(|(_, (_, at_ms))| *at_ms).map(|(name, _)| name.clone());
                if let Some(name) = oldest {
                    self.sessions.remove(&name);
                }
            }
            self.sessions.insert(session.to_owned(), (id.to_owned(), now_ms));
        }
    }
}

/// Whether something is not older than so many seconds. A clock that was set back is no reason to
/// remember for ever.
fn is_recent(at_ms: u64, now_ms: u64, seconds: u64) -> bool {
    now_ms.abs_diff(at_ms) < seconds.saturating_mul(1_000)
}

impl Member {
    fn read(member: &Layers<'_>) -> Self {
        let renewed = |renewed: Layers<'_>| {
            (document::fingerprint(&renewed, "access", &renewed.text("access")), renewed.number("at_ms"))
        };
        Self {
            uses: member.number("uses"),
            in_use: member
                .one("in_use")
                .into_iter()
                .flat_map(|since| since.items())
                .filter_map(|at| at.as_u64())
                .collect(),
            trouble: member.maybe_object("trouble").as_ref().map(Trouble::read),
            renewed: member.maybe_object("renewed").map(renewed),
        }
    }

    fn spelled(&self) -> String {
        let mut member = Object::default();
        member.number("uses", self.uses);
        if !self.in_use.is_empty() {
            let since: Vec<String> = self.in_use.iter().map(u64::to_string).collect();
            member.raw("in_use", format!("[{}]", since.join(", ")));
        }
        member.maybe_raw("trouble", self.trouble.as_ref().map(Trouble::spelled));
        if let Some((access, at_ms)) = &self.renewed {
            member.raw("renewed", Object::default().text("access", access.as_str()).number("at_ms", *at_ms).line());
        }
        member.line()
    }
}

impl Trouble {
    fn read(trouble: &Layers<'_>) -> Self {
        Self {
            access: document::fingerprint(trouble, "access", &trouble.text("access")),
            kind: trouble.text("kind"),
            failures: trouble.number("failures"),
            at_ms: trouble.number("at_ms"),
            until_ms: trouble.one("until_ms").and_then(|at| at.as_u64()),
            in_entry: trouble.flag("in_entry"),
            code: trouble.text("code"),
            summary: trouble.text("summary"),
        }
    }

    fn spelled(&self) -> String {
        Object::default()
            .text("access", self.access.as_str())
            .text("kind", &self.kind)
            .number("failures", self.failures)
            .number("at_ms", self.at_ms)
            .maybe_number("until_ms", self.until_ms)
            .raw("in_entry", self.in_entry.to_string())
            .text("code", &self.code)
            .text("summary", &self.summary)
            .line()
    }
}
