//! A person takes a quarantine back: the credential is stored as it was, and its token may be sent
//! once more.

use std::collections::BTreeMap;

use lazaretto_macros::async_natively;

use crate::error::{Code, KeeperError};
use crate::json::{self, Kind, Value};
use crate::ports::{Event, Ports, Severity};
use crate::provider::Profile;
use crate::session::Session;
use crate::state::ledger;
use crate::state::sealed::{self, Quarantined, Removed};
use crate::vault::edit::{Change, EditError, Edits};
use crate::vault::{LOGIN, Spot, Vault};

/// Puts a quarantined credential back as it was. The tombstone goes first: a token in a vault with
/// a tombstone would only be taken out again.
#[async_natively]
pub(crate) async fn restore<P: Ports>(
    session: &Session<P>,
    vault: &str,
    profile: &Profile,
    credential: Option<&str>,
) -> Result<String, KeeperError> {
    let sealed = sealed::load(&session.ports, vault).await?;
    let now_ms = session.ports.wall_ms();
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
    ledger::update(&session.ports, vault, true, None, &|ledger| {
        ledger.allow_again(token);
    })
    .await?;
    session.edit_vault(vault, None, async |text| with(&session.opened(vault, text)?, text, entry).map(Some)).await?;
    sealed::update(&session.ports, vault, &|sealed| {
        sealed.quarantined.remove(token);
    })
    .await?;
    session.emit(Event {
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
