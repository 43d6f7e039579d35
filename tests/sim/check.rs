//! What must hold: the invariants of `docs/proof.md`, by their numbers there. What the checks know of tokens, they know from
//! the server; the sessions know nothing of it.

use rustc_hash::FxHashSet;
use serde_json::Value;

use super::server::{Kind, NO_TOKEN, Token};
use super::session::{About, Doc, End, Ended, Errand, Sessions};
use super::text::{ROW, Text, Texts, Tokens};
use super::world::{Orphan, Phase, World};

/// More requests than this in one session, if nobody else changes the vault: two calls, of at most two each.
const MOST_SENDS: u8 = 4;
/// A call that meets a new login goes on with it.
const MOST_SENDS_OF_A_CHANGE: u8 = 2;

/// An invariant that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    pub invariant: &'static str,
    pub what: String,
}

impl Broken {
    pub fn new(invariant: &'static str, what: String) -> Self {
        Self { invariant, what }
    }
}

/// A session is about to send a token.
pub fn send(world: &World, session: u8, token: Token, sessions: &Sessions) -> Result<(), Broken> {
    let broken =
        |invariant, what: &str| Err(Broken::new(invariant, format!("session {session} sends Rt_{token}: {what}")));
    let texts = sessions.texts.borrow();
    let ledger = world.shelves[1].now.map(|text| texts.ledger(text)).unwrap_or_default();
    let forgot = world.forgotten.has(token);
    // Somebody sends it after his lease had run out, as he slept after his last look at the clock.
    let too_late = world.setting.leases_run_out && world.slept.has(token);
    let came_back = world.unresolved.has(token) && world.server.tokens[usize::from(token)].window;
    // Its successor was written over by somebody who knows nothing of us.
    let is_lost = world.outside.lost.iter().any(|lost| world.server.is_ancestor(token, lost));
    let known = is_lost || world.overslept(session) || world.pardoned.has(token) || came_back || forgot || too_late;
    if !known {
        if world.buried.has(token) {
            return broken("I1", "it was taken out of use");
        }
        if ledger.dead.has(token) {
            return broken("I1", "the ledger has its tombstone");
        }
        if ledger.spent.has(token) {
            return broken("I1", "the ledger says that it is spent");
        }
        let has_successor = world.stored_tokens(sessions).iter().any(|stored| world.server.is_ancestor(token, stored));
        // What another program refreshed, only its dates tell.
        if has_successor && !world.clock_went_back {
            return broken("I1", "a successor of it is stored");
        }
    }
    if !world.processes[usize::from(session)].saw.has(token) {
        return broken("look", "it has not looked since its last request whether the vault still holds it");
    }
    let may_still_arrive = |orphan: &&Orphan| orphan.token == token && world.real_ms < orphan.until_ms;
    if let Some(orphan) = world.orphans.iter().find(may_still_arrive) {
        // A wait is measured by the wall clock, and the ledger says since when.
        if !world.clock_lied && !world.amnesia && !world.pardoned.has(token) {
            let left_ms = orphan.until_ms - world.real_ms;
            return broken("I3", &format!("one that died may still be sending it for {left_ms} ms"));
        }
    }
    for other in (0..world.setting.sessions).filter(|other| *other != session) {
        let sending = match world.processes[usize::from(other)].phase {
            Phase::Sent { token, .. } | Phase::Answered { token, .. } => token,
            _ => NO_TOKEN,
        };
        if sending == token && world.has_lease(other, token) && !world.overslept(session) {
            return broken("I3", "another session, which has the lease, is sending it");
        }
    }
    if !ledger.open.has(token) && !world.overslept(session) && !world.amnesia && !too_late {
        return broken("intent", "no open intent of it is in the ledger");
    }
    let changes = world.setting.meddling - world.meddling_left;
    if world.sends(session) >= MOST_SENDS + MOST_SENDS_OF_A_CHANGE * changes {
        return broken("I10", "that is one request too many");
    }
    Ok(())
}

/// After anything that reached the server.
pub fn server(world: &World) -> Result<(), Broken> {
    match world.server.unexcused {
        NO_TOKEN => Ok(()),
        token => Err(Broken::new("I2", format!("the server sees Rt_{token} again, and nothing excuses it"))),
    }
}

/// A session is about to replace a document.
pub fn store(world: &World, session: u8, doc: Doc, new: Text, sessions: &Sessions) -> Result<(), Broken> {
    let mut texts = sessions.texts.borrow_mut();
    let name = |token: Token| format!("Rt_{token}");
    let process = &world.processes[usize::from(session)];
    match doc {
        Doc::Vault => {
            let old = world.vault();
            let (before, after) = (texts.vault(old), texts.vault(new));
            for (was, is) in before.places.iter().zip(after.places) {
                if let (Some(was), Some(is)) = (was.refresh, is.refresh)
                    && world.server.is_ancestor(is, was)
                {
                    let what = format!("session {session} writes {} over its descendant {}", name(is), name(was));
                    return Err(Broken::new("I6", what));
                }
            }
            let sealed = world.shelves[2].now.map(|text| texts.sealed(text)).unwrap_or_default();
            let is_new = |token: &Token| !before.tokens.has(*token);
            let ledger = world.shelves[1].now.map(|text| texts.ledger(text)).unwrap_or_default();
            for new in after.tokens.iter().filter(is_new) {
                // What the server has just given is good, whatever was thought of it.
                if new != process.holding && (ledger.dead.has(new) || ledger.spent.has(new)) {
                    let what =
                        format!("session {session} writes {}, which the ledger knows to be of no use", name(new));
                    return Err(Broken::new("places", what));
                }
                let parent = world.server.tokens[usize::from(new)].parent;
                if parent != NO_TOKEN && after.tokens.has(parent) {
                    let what = format!("session {session} writes {} beside its parent {}", name(new), name(parent));
                    return Err(Broken::new("places", what));
                }
            }
            let kept = Tokens(after.tokens.0 | sealed.successors.0);
            for gone in before.tokens.minus(after.tokens).iter() {
                let has_descendant = kept.iter().any(|token| world.server.is_ancestor(gone, token));
                let is_put_away = sealed.quarantined.has(gone) || process.errand == Errand::Unquarantine;
                let is_spent = world.server.tokens[usize::from(gone)].successor != NO_TOKEN;
                if !has_descendant && !is_put_away && !is_spent {
                    let what =
                        format!("session {session} takes {} out, and it is not in the sealed document", name(gone));
                    return Err(Broken::new("sealed", what));
                }
                let state = &world.server.tokens[usize::from(gone)];
                let is_last = state.successor == NO_TOKEN && !has_descendant;
                if world.server.is_alive(gone) && !state.slandered && is_last {
                    return Err(Broken::new(
                        "I5",
                        format!("session {session} takes {} out, and it is live", name(gone)),
                    ));
                }
            }
            texts
                .compare(old, new, world.setting.about)
                .map_err(|what| Broken::new("I7", format!("session {session}: {what}")))
        }
        Doc::Ledger => {
            let before = world.shelves[1].now.map(|text| texts.ledger(text)).unwrap_or_default();
            let after = texts.ledger(new);
            if !after.is_clean {
                return Err(Broken::new("I9", "there is a token in the ledger".to_owned()));
            }
            for dead in after.dead.minus(before.dead).iter() {
                let state = &world.server.tokens[usize::from(dead)];
                if world.server.is_alive(dead) && !state.slandered && state.successor == NO_TOKEN {
                    return Err(Broken::new("I5", format!("session {session} buries {}, and it is live", name(dead))));
                }
            }
            // Two who send at once, as one of them slept, know nothing of each other's answers.
            // And who puts a token back by hand says that it is as good as new.
            let excused =
                |token: Token| world.slept.has(token) || world.forgotten.has(token) || world.pardoned.has(token);
            let in_doubt = |token: &Token| world.doubtful.has(*token) && !excused(*token);
            if let Some(dead) = after.refused.minus(before.refused).iter().find(in_doubt) {
                let what = format!("session {session} buries {} as refused, and an answer to it was lost", name(dead));
                return Err(Broken::new("doubt", what));
            }
            let ended = before.open.minus(after.open).minus(after.spent.and(after.dead));
            if process.errand != Errand::Unquarantine
                && let Some(closed) = ended.iter().find(in_doubt)
            {
                let what =
                    format!("session {session} closes the intent of {}, an answer to which was lost", name(closed));
                return Err(Broken::new("doubt", what));
            }
            for forgotten in before.dead.minus(after.dead).iter() {
                let may = process.errand == Errand::Unquarantine || world.server.is_alive(forgotten);
                if !may && !after.spent.has(forgotten) {
                    return Err(Broken::new(
                        "I1",
                        format!("session {session} lifts the tombstone of {}", name(forgotten)),
                    ));
                }
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// A session has ended.
pub fn end(world: &World, session: u8, end: &End, sessions: &Sessions) -> Result<(), Broken> {
    let ledger = world.shelves[1].now.map(|text| sessions.texts.borrow().ledger(text)).unwrap_or_default();
    let is_in_doubt = matches!(end.calls[..], [Ended::Error { code: "in-doubt", .. }]);
    let sent = world.sent(session);
    // Where a lease can run out, somebody else may have ended the doubt.
    if is_in_doubt && sent != NO_TOKEN && !world.amnesia && !world.setting.leases_run_out {
        let known = Tokens(ledger.open.0 | ledger.spent.0 | ledger.dead.0);
        if !known.has(sent) {
            return Err(Broken::new("intent", format!("Rt_{sent} is in doubt, and the ledger does not say so")));
        }
    }
    // Whoever has seen that new tokens wait asks nobody to log in again.
    let is_dead = matches!(end.calls.last(), Some(Ended::Error { code: "quarantined", .. }));
    let sealed = world.shelves[2].now.map(|text| sessions.texts.borrow().sealed(text)).unwrap_or_default();
    let saw = world.processes[usize::from(session)].saw_waiting;
    for waiting in saw.iter().filter(|token| is_dead && sealed.waiting.has(*token)) {
        let state = &world.server.tokens[usize::from(waiting)];
        let is_good = world.server.is_alive(waiting) && !state.slandered && state.successor == NO_TOKEN;
        if is_good && !world.outside.has_left(state.family) && !ledger.dead.has(waiting) {
            let what = format!("session {session} asks for a login, and Rt_{waiting} waits in the sealed document");
            return Err(Broken::new("I8", what));
        }
    }
    let held = world.holding(session);
    if held == NO_TOKEN || end.unsaved.has(held) || world.stored_tokens(sessions).has(held) {
        return Ok(());
    }
    let vault = sessions.texts.borrow().vault(world.vault());
    let family = |token: Token| world.server.tokens[usize::from(token)].family;
    let parent = world.server.tokens[usize::from(held)].parent;
    // A new login wins; and what was removed stays removed.
    let place = &vault.places[world.setting.about.places()[0]];
    let is_superseded = world.outside.has_left(family(held))
        || !place.exists
        // One that is older than what was spent was put back by somebody, and does not. Tokens are numbered as they are issued.
        || place.refresh.is_some_and(|token| family(token) != family(held) && (token > parent || world.clock_went_back));
    let as_good = |token: Token| {
        let is_sibling = world.server.tokens[usize::from(token)].parent == parent && world.server.is_alive(token);
        // Where old tokens stay good, any of the family does.
        let is_kin = world.server.kind == Kind::OldStaysValid && family(token) == family(held);
        world.server.is_ancestor(held, token) || is_sibling || is_kin
    };
    if is_superseded || world.stored_tokens(sessions).iter().any(as_good) {
        return Ok(());
    }
    Err(Broken::new("I6", format!("session {session} had Rt_{held} in hand and let it go")))
}

/// Nothing is under way: whatever the server holds live, the vault holds, unless something excuses it.
pub fn at_rest(world: &World, sessions: &Sessions) -> Result<(), Broken> {
    let stored = world.stored_tokens(sessions);
    let server = &world.server;
    let ledger = world.shelves[1].now.map(|text| sessions.texts.borrow().ledger(text)).unwrap_or_default();
    for open in ledger.open.minus(world.unresolved).iter() {
        if !server.tokens[usize::from(open)].window {
            return Err(Broken::new("intent", format!("the intent of Rt_{open} stays open, and nothing is in doubt")));
        }
    }
    for family in (0..server.families).filter(|family| !world.outside.has_left(*family)) {
        let of_family = |token: &Token| server.tokens[usize::from(*token)].family == family;
        let Some(live) = (0..server.count).rev().filter(of_family).find(|token| server.is_alive(*token)) else {
            continue;
        };
        if stored.has(live) {
            continue;
        }
        // A token that stays good beside its successors is as good.
        if (0..server.count).filter(of_family).any(|token| server.is_alive(token) && stored.has(token)) {
            continue;
        }
        let parent = server.tokens[usize::from(live)].parent;
        let excused = server.tokens[usize::from(live)].slandered
            || world.outside.lost.has(live)
            // A whole login was written over while it was being refreshed, by an older one that was refreshed after it.
            || world.setting.is_wide && world.outside.lost.iter().any(|lost| server.is_ancestor(lost, live))
            || (parent != NO_TOKEN && server.tokens[usize::from(parent)].window);
        if !excused {
            return Err(Broken::new("I4", format!("the server's live token is Rt_{live}, and it is stored nowhere")));
        }
    }
    Ok(())
}

impl Texts {
    /// Whether all that lies beside the tokens that may change is as it was, to the byte.
    fn compare(&mut self, old: Text, new: Text, about: About) -> Result<(), String> {
        if old == new || self.compared.contains(&(old, new, about)) {
            return Ok(());
        }
        let (before, after) = (self.text(old), self.text(new));
        // What is spelled in a way that no writer of JSON would choose.
        for spelled in [
            r#""x_top" :  [1.0e+2, "é\u00e9" ,{ "b":1,"a":2 } ]"#,
            r#""x_in_login":[ 3 , 2.50 ]"#,
            r#""x_in_tokens" : 1.50"#,
            r#""other":{"tokens":{"access_token":"opaque-1"},"x_other":  {"y":[ ] }}"#,
            r#"{"id":"man1","label":"second","source":"manual:device_code","auth_type":"oauth","priority":5, "x_in_manual" :  [ 7 ]"#,
            r#"{"id":"key1","label":"a key","source":"manual","auth_type":"api_key", "access_token":"opaque-2" ,"priority": 10 }"#,
            r#""x_in_alias":null"#,
        ] {
            if before.contains(spelled) && !after.contains(spelled) {
                return Err(format!("{spelled} is not as it was"));
            }
        }
        let (mut was, mut is) = (self.json(old), self.json(new));
        let row_is_gone = self.vault(old).places[ROW].exists != self.vault(new).places[ROW].exists;
        without_what_may_change(&mut was, about, row_is_gone);
        without_what_may_change(&mut is, about, row_is_gone);
        // As text: order and spelling count.
        let (was, is) = (was.to_string(), is.to_string());
        if was != is {
            return Err(format!("more changed than may: {was}\nbecame {is}"));
        }
        self.compared.insert((old, new, about));
        Ok(())
    }
}

/// Pairs of texts that were found to differ only where they may.
pub type Compared = FxHashSet<(Text, Text, About)>;

fn without_what_may_change(json: &mut Value, about: About, without_row: bool) {
    let erase = |node: &mut Value, names: &[&str]| {
        if let Some(object) = node.as_object_mut() {
            names.iter().for_each(|name| drop(object.shift_remove(*name)));
        }
    };
    let of_tokens = ["access_token", "refresh_token", "expires_in", "expires_at"];
    let of_entry =
        ["last_refresh", "last_status", "last_status_at", "last_error_code", "last_error_reason", "last_error_message"];
    if about == About::Entry {
        let rows = json["credential_pool"]["xai-oauth"].as_array_mut().into_iter().flatten();
        for row in rows.filter(|row| row["id"] == about.id()) {
            erase(row, &of_tokens);
            erase(row, &of_entry);
        }
        return;
    }
    let login = &mut json["providers"]["xai-oauth"];
    erase(login, &["last_refresh", "last_auth_error"]);
    erase(&mut login["tokens"], &of_tokens);
    if let Some(rows) = json["credential_pool"]["xai-oauth"].as_array_mut() {
        if without_row {
            rows.retain(|row| row["id"] != "row1");
        }
        for row in rows.iter_mut().filter(|row| row["id"] == "row1") {
            erase(row, &of_tokens);
            erase(row, &of_entry);
        }
    }
    let alias = &mut json["credential_pool"]["grok"][0];
    erase(alias, &of_tokens);
    erase(alias, &of_entry);
}
