//! A token that the server refused for good leaves every place that held it, and comes back only when a person says so.
//!
//! Order of writes: tombstone, sealed copy, vault. Whatever is interrupted, the token is not sent again and no
//! token is gone that a person could still want.

use crate::classify;
use crate::error::{Code, KeeperError};
use crate::json::{self, Kind, Object, Value};
use crate::keeper::Keeper;
use crate::ports::{Event, Lease, Ports, Severity};
use crate::provider::Profile;
use crate::secret::Secret;
use crate::state::fingerprint::Fingerprint;
use crate::state::ledger::{self, Counterpart, Ledger, State, Tombstone};
use crate::state::sealed::{self, Quarantined, Removed};
use crate::time::{self, Zone};
use crate::vault::edit::{Change, EditError, Edits};
use crate::vault::{self, Credential, CredentialKind, LOGIN, LastError, Place, Spot, Vault};
use std::collections::BTreeMap;

/// Why a token counts as dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The server refused it.
    RefreshRefused,
    /// The server refused it after an answer had been lost: it may have been replaced then.
    AnswerLost,
    /// It was dead already, and somebody put it back.
    ReSeeded,
    /// It was replaced, and somebody wrote it over its successor.
    Overwritten,
    /// There is none.
    MissingRefreshToken,
}

impl Reason {
    /// The word in the documents.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::RefreshRefused => "refresh-refused",
            Self::AnswerLost => "answer-lost",
            Self::ReSeeded => "re-seeded",
            Self::Overwritten => "overwritten",
            Self::MissingRefreshToken => "missing-refresh-token",
        }
    }

    /// What happened, for a person.
    pub(crate) fn sentence(self) -> &'static str {
        match self {
            Self::RefreshRefused => "the server refused the refresh token for good",
            Self::AnswerLost => {
                "the answer to an earlier refresh was lost, and the server now refuses the refresh token"
            }
            Self::ReSeeded => "another program put back a refresh token that the server had refused for good",
            Self::Overwritten => "another program wrote an older, spent refresh token over the newer one",
            Self::MissingRefreshToken => "there is no refresh token, and the access token has expired",
        }
    }
}

/// A token to quarantine, and why.
pub(crate) struct Dead<'a> {
    pub(crate) provider: &'a Profile,
    pub(crate) credential: &'a str,
    /// The spot it was taken from: what is quarantined where there is no token to look for.
    pub(crate) place: &'a Place,
    pub(crate) reason: Reason,
    pub(crate) status: Option<u16>,
    /// The error code, or the rule that matched.
    pub(crate) code: String,
    /// Bounded and redacted.
    pub(crate) summary: String,
    /// An API refused the access token beside it.
    pub(crate) access_refused: bool,
}

#[cfg_attr(target_arch = "wasm32", lazaretto_macros::synchronous)]
impl<P: Ports> Keeper<P> {
    /// Takes a dead token out of use everywhere in the vault.
    pub(crate) async fn quarantine(
        &self,
        vault: &str,
        to: &Counterpart,
        dead: &Dead<'_>,
        lease: Option<&Lease>,
    ) -> Result<(), KeeperError> {
        let at_ms = self.ports.wall_ms();
        let token = dead.place.fingerprint();
        let mut known = None;
        if let Some(token) = &token {
            let tombstone = Tombstone {
                at_ms,
                reason: dead.reason.as_str().to_owned(),
                status: dead.status,
                code: dead.code.clone(),
                summary: dead.summary.clone(),
                access: dead.place.access_token.as_ref().map(|access| Fingerprint::of(access.expose())),
            };
            known = Some(
                ledger::update(&self.ports, vault, true, None, &|ledger| bury(ledger, token, to, &tombstone)).await?,
            );
        }
        let ledger = match known {
            Some(ledger) => ledger,
            None => ledger::load(&self.ports, vault).await?.ledger,
        };
        // Without a refresh token it is sealed by the access token that goes.
        let sealed_by =
            token.clone().or_else(|| dead.place.access_token.as_ref().map(|access| Fingerprint::of(access.expose())));
        let removed = |text: &str| self.without(vault, text, dead, &ledger, at_ms);
        let mut sealed = false;
        self.edit_vault(vault, lease, async |text| {
            let Some((edited, removed)) = removed(text)? else { return Ok(None) };
            if let (Some(by), false) = (&sealed_by, sealed) {
                self.seal(vault, by, dead, removed, at_ms).await?;
                sealed = true;
            }
            Ok(Some(edited))
        })
        .await?;
        self.tell_quarantined(dead, token.as_ref());
        Ok(())
    }

    /// Puts a quarantined credential back as it was. The tombstone goes first: a token in a vault with a tombstone would
    /// only be taken out again.
    pub(crate) async fn restore(
        &self,
        vault: &str,
        profile: &Profile,
        credential: Option<&str>,
    ) -> Result<String, KeeperError> {
        let sealed = sealed::load(&self.ports, vault).await?;
        let now_ms = self.ports.wall_ms();
        let (token, entry) = sealed
            .quarantined
            .iter()
            .filter(|(_, entry)| entry.provider == profile.id && now_ms < entry.until_ms)
            .filter(|(_, entry)| credential.is_none_or(|wanted| entry.credential == wanted))
            .max_by_key(|(_, entry)| entry.sealed_at_ms)
            .ok_or_else(|| {
                KeeperError::new(
                    Code::NothingToDo,
                    format!("{}: nothing of it is quarantined, or its seven days are over", profile.id),
                )
                .of(&profile.id, credential.unwrap_or(LOGIN))
            })?;
        ledger::update(&self.ports, vault, true, None, &|ledger| {
            if let Some(record) = ledger.tokens.get_mut(token) {
                record.state = State::Live;
                record.pause = None;
                record.intent = None;
            }
        })
        .await?;
        self.edit_vault(vault, None, async |text| with(&self.opened(vault, text)?, text, entry).map(Some)).await?;
        sealed::update(&self.ports, vault, &|sealed| {
            sealed.quarantined.remove(token);
        })
        .await?;
        self.emit(Event {
            name: "unquarantined",
            severity: Severity::Warning,
            at_ms: now_ms,
            provider: profile.id.clone(),
            credential: Some(entry.credential.clone()),
            message: format!(
                "{} ({}): put back; the next refresh sends its refresh token once more",
                profile.id, entry.credential
            ),
            attributes: vec![("fingerprint", token.short().to_owned())],
        });
        Ok(entry.credential.clone())
    }

    async fn seal(
        &self,
        vault: &str,
        token: &Fingerprint,
        dead: &Dead<'_>,
        removed: Vec<Removed>,
        at_ms: u64,
    ) -> Result<(), KeeperError> {
        let place = dead.place;
        let entry = Quarantined {
            provider: dead.provider.id.clone(),
            credential: dead.credential.to_owned(),
            sealed_at_ms: at_ms,
            until_ms: at_ms.saturating_add(sealed::KEPT_MS),
            access_token: place.access_token.clone(),
            access_expires_at_ms: place.expires_at_ms,
            access_refused: dead.access_refused,
            removed,
        };
        sealed::update(&self.ports, vault, &|sealed| {
            // The first quarantine saw the vault as its owner knew it; a re-seeded token adds nothing to that while it is kept.
            let kept = sealed.quarantined.entry(token.clone()).or_insert_with(|| entry.clone());
            if kept.until_ms <= at_ms {
                *kept = entry.clone();
            }
            sealed
                .kept
                .retain(|_, kept| place.refresh_token.is_none() || kept.fresh.refresh_token != place.refresh_token);
        })
        .await
    }

    /// The vault's text without the dead token, and what was taken out; none if no place holds it.
    fn without(
        &self,
        vault: &str,
        text: &str,
        dead: &Dead<'_>,
        ledger: &Ledger,
        at_ms: u64,
    ) -> Result<Option<(String, Vec<Removed>)>, KeeperError> {
        let vault = self.opened(vault, text)?;
        let mut edits = Edits::default();
        let mut removed = Vec::new();
        for provider in vault.providers() {
            let profile = self.profile_or_generic(&provider)?;
            let places = vault.places(&profile, &mut Vec::new());
            take_out(&mut edits, &mut removed, &vault, &profile, &places, dead, ledger, at_ms)
                .map_err(|error| self.uneditable(&error))?;
        }
        Ok((!removed.is_empty()).then(|| (edits.apply(text), removed)))
    }

    fn tell_quarantined(&self, dead: &Dead<'_>, token: Option<&Fingerprint>) {
        let mut attributes = vec![("reason", dead.reason.as_str().to_owned()), ("code", dead.code.clone())];
        attributes.extend(dead.status.map(|status| ("status", status.to_string())));
        attributes.extend(token.map(|token| ("fingerprint", token.short().to_owned())));
        self.emit(Event {
            name: "quarantined",
            severity: Severity::Warning,
            at_ms: self.ports.wall_ms(),
            provider: dead.provider.id.clone(),
            credential: Some(dead.credential.to_owned()),
            message: dead.message(),
            attributes,
        });
    }
}

impl Dead<'_> {
    /// What happened, for a person.
    pub(crate) fn message(&self) -> String {
        let (id, credential) = (&self.provider.id, self.credential);
        let said = if self.summary.is_empty() {
            String::new()
        } else {
            format!(" ({})", classify::in_brackets(&self.summary))
        };
        format!("{id} ({credential}): {}{said}", self.reason.sentence())
    }

    /// The error for the caller.
    pub(crate) fn error(&self) -> KeeperError {
        KeeperError::new(Code::Quarantined, self.message()).of(&self.provider.id, self.credential)
    }

    fn marker(&self, at_ms: u64) -> String {
        let message = if self.summary.is_empty() { self.reason.sentence() } else { &self.summary };
        Object::default()
            .text("provider", &self.provider.id)
            .text("code", &self.code)
            .text("message", message)
            .text("reason", self.reason.as_str())
            .raw("relogin_required", "true".to_owned())
            .text("at", &time::to_rfc3339(at_ms, Zone::Offset))
            .line()
    }

    /// Whether a place holds what is dead.
    fn is_in(&self, provider: &str, place: &Place) -> bool {
        if place.kind == CredentialKind::ApiKey {
            return false;
        }
        match &self.place.refresh_token {
            Some(token) => place.refresh_token.as_ref() == Some(token),
            None => provider == self.provider.id && place.spot == self.place.spot && place.refresh_token.is_none(),
        }
    }
}

/// Says why a login was emptied whose place cannot say it: by what the ledger knows of its provider's last end.
pub(crate) fn explain(credential: &mut Credential, ledger: &Ledger) {
    let provider = &credential.provider;
    let Some(login) = credential.places.first_mut().filter(|place| place.spot == Spot::Login && place.is_empty())
    else {
        return;
    };
    let ends = ledger.tokens.values().filter(|record| record.provider == *provider);
    let last = ends.filter_map(|record| record.tombstone()).max_by_key(|tombstone| tombstone.at_ms);
    login.last_error = last.map(|tombstone| LastError {
        code: tombstone.code.clone(),
        message: tombstone.summary.clone(),
        reason: tombstone.reason.clone(),
        at_ms: Some(tombstone.at_ms),
    });
}

pub(crate) fn bury(ledger: &mut Ledger, token: &Fingerprint, to: &Counterpart, tombstone: &Tombstone) {
    let record = ledger.record(token, to, tombstone.at_ms);
    let keep = matches!(
        (&record.state, tombstone.reason.as_str()),
        (State::Dead(_) | State::Spent { .. }, "re-seeded" | "overwritten")
    );
    if !keep {
        record.state = State::Dead(tombstone.clone());
    }
    record.intent = None;
    record.pause = None;
}

#[allow(clippy::too_many_arguments, reason = "one provider's part of one plan")]
fn take_out(
    edits: &mut Edits,
    removed: &mut Vec<Removed>,
    vault: &Vault<'_>,
    profile: &Profile,
    places: &[Place],
    dead: &Dead<'_>,
    ledger: &Ledger,
    at_ms: u64,
) -> Result<(), EditError> {
    let has_login = places.iter().any(|place| place.spot == Spot::Login);
    let login_dies = places.iter().any(|place| place.spot == Spot::Login && dead.is_in(&profile.id, place));
    let is_older = |place: &Place| match (place.fingerprint(), dead.place.fingerprint()) {
        (Some(token), Some(dead)) => ledger.is_ancestor(&token, &dead),
        _ => false,
    };
    let mut gone = Vec::new();
    for place in places {
        let Some(node) = vault.node(&profile.id, place.spot) else { continue };
        let is_dead = dead.is_in(&profile.id, place);
        match place.spot {
            Spot::Login if is_dead => {
                // Another tool's file says nothing of it: the ledger does.
                let marker = ("/last_auth_error", Change::Set(dead.marker(at_ms)));
                let marker = vault.tool().is_none().then_some(marker);
                let values = erase(edits, node, &vault.layout(profile, place.spot).erase, marker)?;
                removed.push(Removed::Login { provider: profile.id.clone(), values });
            }
            // A copy goes with its login; a copy alone goes because the login has moved on.
            Spot::Entry(index) if vault::is_seeded(place, profile) && has_login => {
                let goes = is_dead || (login_dies && (place.is_empty() || is_older(place)));
                gone.extend(goes.then_some(index));
                removed.extend(goes.then(|| Removed::Entry {
                    provider: profile.id.clone(),
                    id: place.id.clone(),
                    text: node.raw().to_owned(),
                }));
            }
            Spot::Entry(_) if is_dead => {
                let values = erase(edits, node, &vault.layout(profile, place.spot).erase, death(dead, node, at_ms))?;
                removed.push(Removed::EntryValues { provider: profile.id.clone(), id: place.id.clone(), values });
            }
            _ => {}
        }
    }
    if let Some(pool) = vault.pool(&profile.id).filter(|_| !gone.is_empty()) {
        edits.remove_items(pool, &gone);
    }
    Ok(())
}

/// The fields with which the reference marks an entry that is never to be used again.
fn death<'a>(dead: &Dead<'_>, node: Value<'_>, at_ms: u64) -> Vec<(&'a str, Change)> {
    let mut changes = vec![
        ("/last_status", Change::Set("\"dead\"".to_owned())),
        ("/last_status_at", Change::Set(format!("{}.{:03}", at_ms / 1_000, at_ms % 1_000))),
        ("/last_error_code", Change::Set(dead.status.map_or("null".to_owned(), |status| status.to_string()))),
        ("/last_error_reason", Change::Set(json::quote(&dead.code))),
        ("/last_error_message", Change::Set(json::quote(&dead.summary))),
    ];
    if node.get("last_error_reset_at").is_some() {
        changes.push(("/last_error_reset_at", Change::Set("null".to_owned())));
    }
    changes
}

/// Erases values and makes the other changes; returns how each was spelled before.
pub(crate) fn erase<'a>(
    edits: &mut Edits,
    node: Value<'_>,
    erased: &[(String, Option<String>)],
    others: impl IntoIterator<Item = (&'a str, Change)>,
) -> Result<BTreeMap<String, Option<String>>, EditError> {
    let there = erased.iter().filter(|(pointer, _)| node.pointer(pointer).is_some());
    let change = |empty: &Option<String>| empty.clone().map_or(Change::Remove, Change::Set);
    let mut changes: Vec<(String, Change)> = there.map(|(pointer, empty)| (pointer.clone(), change(empty))).collect();
    changes.extend(others.into_iter().map(|(pointer, change)| (pointer.to_owned(), change)));
    edits.members(node, &changes)?;
    let mut values = BTreeMap::new();
    for (pointer, _) in &changes {
        values.insert(pointer.clone(), node.pointer(pointer).map(|value| value.raw().to_owned()));
    }
    Ok(values)
}

/// The vault's text with a quarantined credential back in its places.
fn with(vault: &Vault<'_>, text: &str, entry: &Quarantined) -> Result<String, KeeperError> {
    let taken = |what: &str| {
        KeeperError::new(
            Code::NothingToDo,
            format!("{} ({}): {what}, so the old tokens are not put back", entry.provider, entry.credential),
        )
        .of(&entry.provider, &entry.credential)
    };
    let uneditable =
        |error: EditError| KeeperError::new(Code::CorruptVault, format!("the vault cannot be edited: {error}"));
    let mut edits = Edits::default();
    for removed in &entry.removed {
        match removed {
            Removed::Login { provider, values } => {
                let login =
                    vault.node(provider, Spot::Login).ok_or_else(|| taken("its login is gone from the vault"))?;
                put_back(&mut edits, login, values, vault.tool().is_some())
                    .map_err(uneditable)?
                    .ok_or_else(|| taken("there is a newer login"))?;
            }
            Removed::EntryValues { provider, id, values } => {
                let pool = vault.pool(provider);
                let node = pool
                    .and_then(|pool| pool.items().find(|item| item.get("id").is_some_and(|value| value.is_str(id))))
                    .ok_or_else(|| taken("its entry is gone from the vault"))?;
                put_back(&mut edits, node, values, false)
                    .map_err(uneditable)?
                    .ok_or_else(|| taken("the entry has newer tokens"))?;
            }
            Removed::Entry { provider, id, text } => match vault.pool(provider) {
                Some(pool) if pool.items().any(|item| item.get("id").is_some_and(|value| value.is_str(id))) => {}
                Some(pool) => edits.push_item(pool, text),
                // The pool went with its last entry; the program that seeds it will make it again.
                None => {}
            },
        }
    }
    Ok(edits.apply(text))
}

/// None: the place holds other tokens now.
fn put_back(
    edits: &mut Edits,
    node: Value<'_>,
    values: &BTreeMap<String, Option<String>>,
    is_foreign: bool,
) -> Result<Option<()>, EditError> {
    // From another tool's file nothing is taken but tokens.
    let is_token = |pointer: &str| is_foreign || pointer.ends_with("_token");
    let taken = |pointer: &str, text: &str| {
        node.pointer(pointer).is_some_and(|now| match now.as_str() {
            Some(token) => !token.is_empty() && json::quote(&token) != text,
            None => now.kind() == Kind::Object && now.raw() != text,
        })
    };
    let changes: Vec<(String, Change)> = values
        .iter()
        .map(|(pointer, before)| (pointer.clone(), before.clone().map_or(Change::Remove, Change::Set)))
        .collect();
    for (pointer, before) in values.iter() {
        if is_token(pointer) && before.as_deref().is_some_and(|text| taken(pointer, text)) {
            return Ok(None);
        }
    }
    edits.members(node, &changes).map(Some)
}

/// Whether a secret is one that a caller named as refused.
pub(crate) fn is_refused(token: Option<&Secret>, refused: Option<&Secret>) -> bool {
    token.is_some() && token == refused
}
