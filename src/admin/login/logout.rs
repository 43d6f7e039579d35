//! Logging out: the server is told first (RFC 7009), for afterwards nobody has the token to tell it
//! with.

use lazaretto_macros::async_natively;

use crate::admin::remove::{self, meant};
use crate::admin::{add, login};
use crate::error::{Code, KeeperError};
use crate::ports::{Ports, Severity};
use crate::protocol::quarantine::bury;
use crate::protocol::{Demand, Patience, events, lease, request};
use crate::provider::Profile;
use crate::secret::Secret;
use crate::session::Session;
use crate::state::fingerprint::Fingerprint;
use crate::state::ledger::{self, Tombstone};
use crate::vault::{Credential, CredentialKind, LOGIN, Reading};
use crate::visible::visible_line;
use crate::{lookup, next_step};

use super::With;

/// While the vault's lock is held nobody else can write.
const DEADLINE_MS: u64 = 10_000;

/// What became of a logout: `logged-out` in the contract.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "wit/login.wit documents them")]
pub struct LoggedOut {
    pub revocation: Revocation,
    pub message: Option<String>,
}

/// What the server was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// It takes the tokens no more.
    Revoked,
    /// The profile names no place to say it.
    NotOffered,
    /// There was no token.
    Nothing,
    /// It may still take them.
    Failed,
}

impl Revocation {
    /// The word in the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Revoked => "revoked",
            Self::NotOffered => "not-offered",
            Self::Nothing => "nothing",
            Self::Failed => "failed",
        }
    }
}

/// Revokes at the server where that can be done, then removes.
#[async_natively]
pub(crate) async fn logout<P: Ports>(
    session: &Session<P>,
    vault: &str,
    provider: &str,
    credential: Option<&str>,
    keep_if_not_revoked: bool,
) -> Result<LoggedOut, KeeperError> {
    let (profile, reading) = lookup::profile_in(session, vault, provider).await?;
    let found = leaving(&reading, &profile, credential)?;
    if found.leading().kind == CredentialKind::ApiKey {
        let what = format!("{} ({}): it is an API key, and of a key nobody logs out", profile.id, found.id());
        let mut error = KeeperError::new(Code::NothingToDo, what).of(&profile.id, found.id());
        error.run = Some(next_step::reach(session, vault).await.about("remove", &profile.id, found.id()));
        return Err(error);
    }
    let with = login::party(session, vault, provider).await?;
    let demand = Demand {
        vault,
        profile: profile.clone(),
        credential: found.id().to_owned(),
        min_valid_ms: 0,
        refused: None,
        replaced: None,
        is_forced: false,
    };
    // A refresh that is on its way ends first: what it brings is what must be revoked.
    let token = found.leading().fingerprint();
    let held = match lease::acquire(session, &demand, token.as_ref(), Patience::OneRefresh).await {
        Ok(held) => Some(held),
        // Nothing is refreshed there, so nothing can be on its way.
        Err(error) if error.code == Code::SharedVault => None,
        Err(error) => return Err(error),
    };
    let left = revoke_and_remove(
        session,
        &with,
        &demand,
        held.as_ref().and_then(|held| held.document.as_ref()),
        keep_if_not_revoked,
    )
    .await;
    if let Some(held) = held {
        lease::release(session, held).await;
    }
    left
}

#[async_natively]
async fn revoke_and_remove<P: Ports>(
    session: &Session<P>,
    with: &With,
    demand: &Demand<'_>,
    lease: Option<&crate::ports::Lease>,
    keep_if_not_revoked: bool,
) -> Result<LoggedOut, KeeperError> {
    let profile = &with.profile;
    let found = leaving(&*session.vault(demand.vault).await?.reading(profile)?, profile, Some(&demand.credential))?;
    let left = revoke(session, with, &found).await;
    if left.revocation == Revocation::Failed {
        let why = left.message.as_deref().unwrap_or_default();
        let kept = if keep_if_not_revoked { "it stays in the vault" } else { "it is removed all the same" };
        let what = format!("the server did not revoke it ({why}): {kept}");
        if keep_if_not_revoked {
            return Err(demand.error(Code::NotRevoked, &what));
        }
        events::tell(session, demand, "not-revoked", Severity::Warning, &what);
    }
    if let (Revocation::Revoked, Some(token)) = (left.revocation, found.leading().fingerprint()) {
        // Whoever puts it back finds it dead.
        let tombstone = Tombstone {
            at_ms: session.ports.wall_ms(),
            reason: "logged-out".into(),
            status: None,
            code: "logged_out".into(),
            summary: "a person logged out".into(),
            access: found.leading().access_token.as_ref().map(|access| Fingerprint::of(access.expose())),
        };
        let noted = ledger::update(&session.ports, demand.vault, true, None, &|ledger| {
            bury(ledger, &token, &with.to, &tombstone);
        })
        .await;
        // Without it the server is asked once more, and says the same.
        drop(noted);
    }
    remove::remove_credential(session, demand.vault, profile, &found, lease).await?;
    let ids = found.places.iter().map(|place| place.id.clone());
    let ids: Vec<String> = ids.chain([LOGIN.to_owned()].into_iter().filter(|_| found.is_login())).collect();
    remove::wipe_sealed(session, demand.vault, profile, &ids).await?;
    add::tell_person(session, "logged-out", Severity::Info, profile, &demand.credential, "a person logged out");
    Ok(left)
}

/// The refresh token, for the whole grant ends with it (section 2.1); the access token where there
/// is no other.
#[async_natively]
async fn revoke<P: Ports>(session: &Session<P>, with: &With, found: &Credential) -> LoggedOut {
    let place = found.leading();
    let nothing = |revocation| LoggedOut { revocation, message: None };
    let failed = |message: String| LoggedOut { revocation: Revocation::Failed, message: Some(visible_line(&message)) };
    let tokens: [(&Option<Secret>, &str); 2] =
        [(&place.refresh_token, "refresh_token"), (&place.access_token, "access_token")];
    let token = tokens.into_iter().find_map(|(token, hint)| token.as_ref().map(|token| (token, hint)));
    let Some((token, hint)) = token.filter(|_| place.kind == CredentialKind::OAuth) else {
        return nothing(Revocation::Nothing);
    };
    let authorization = &with.profile.authorization;
    let Some(endpoint) = &authorization.revocation_endpoint else { return nothing(Revocation::NotOffered) };
    if let Some(error) = &with.unread_secret {
        return failed(error.message.clone());
    }
    let deadline_ms = with.profile.deadline_ms.min(DEADLINE_MS);
    let request = request::post(
        &with.profile,
        authorization.revocation_body,
        endpoint,
        &with.to.client,
        with.client_secret.as_ref(),
        None,
        &[("token", token.expose()), ("token_type_hint", hint)],
        deadline_ms,
    );
    let result = session.ports.send(request).await;
    match &result {
        // A token that the server does not know is as good as revoked (section 2.2), and most say
        // 200 to it.
        Ok(response) if (200..300).contains(&response.status) => nothing(Revocation::Revoked),
        Ok(_) => failed(with.judged(&result, session.ports.wall_ms() / 1_000).summary),
        Err(failure) => failed(failure.message.clone()),
    }
}

/// The credential that a logout is about: the login, unless another one is named.
fn leaving(reading: &Reading, profile: &Profile, credential: Option<&str>) -> Result<Credential, KeeperError> {
    let login = reading.credentials.iter().find(|found| credential.is_none() && found.is_login());
    match login {
        Some(login) => Ok(login.clone()),
        None => meant(&reading.credentials, profile, credential).cloned(),
    }
}
