//! The refresh: a refresh token leaves this machine only when the steps of `docs/protocol.md` allow
//! it, in their order.
//!
//! | step | file |
//! |---|---|
//! | all steps, in their order | [`refresh`] |
//! | 1 and 3: is there a token that need not be refreshed | [`freshness`], [`why_ended`] |
//! | 2 and 6: who may refresh it now | [`lease`] |
//! | 4: what is known of the token | [`check_ledger`] |
//! | 4: does another file own the login | [`ownership`] |
//! | 4: can the successor be stored | [`can_store`] |
//! | 5: the intent | [`intent`] |
//! | 7: the request and its outcome | [`exchange`], [`request`], [`client_secret`] |
//! | 8: new tokens are stored | [`store_successor`], [`recover`], [`save_unsaved`] |
//! | 9: a token is dead | [`quarantine`], [`unquarantine`] |
//! | 9 and 10: a token is tried again later | [`backoff`] |
//!
//! This file holds the words that the steps share.

pub(crate) mod backoff;
pub(crate) mod can_store;
pub(crate) mod check_ledger;
pub(crate) mod client_secret;
pub(crate) mod events;
pub(crate) mod exchange;
pub(crate) mod freshness;
pub(crate) mod intent;
pub(crate) mod lease;
pub(crate) mod ownership;
pub(crate) mod quarantine;
pub(crate) mod recover;
pub(crate) mod refresh;
pub(crate) mod request;
pub(crate) mod save_unsaved;
pub(crate) mod store_successor;
pub(crate) mod unquarantine;
pub(crate) mod unsaved;
pub(crate) mod why_ended;

use std::rc::Rc;

use crate::classify::{self, Judgement};
use crate::error::{Code, KeeperError};
use crate::json::Object;
use crate::ports::{HttpFailure, Lease};
use crate::provider::Profile;
use crate::secret::Secret;
use crate::sendable;
use crate::session::Snapshot;
use crate::state::fingerprint::Fingerprint;
use crate::state::ledger::{self, Counterpart, Intent, Ledger};
use crate::state::sealed::Successor;
use crate::time::{self, Zone};
use crate::token::{AccessToken, Origin, Picked};
use crate::vault::{Credential, CredentialKind, Fresh, Place};

/// One call's wish, about one credential.
pub(crate) struct Demand<'a> {
    pub(crate) vault: &'a str,
    pub(crate) profile: Rc<Profile>,
    pub(crate) credential: String,
    pub(crate) min_valid_ms: u64,
    /// An API refused it.
    pub(crate) refused: Option<Secret>,
    /// Another one is wanted than this, although nobody refused it.
    pub(crate) replaced: Option<Secret>,
    /// Another one is wanted than whatever can be found.
    pub(crate) is_forced: bool,
}

impl Demand<'_> {
    /// An access token of the credential that is asked for. Nothing is handed out but through here,
    /// so nothing is that no header can carry, whoever wrote it where.
    pub(crate) fn served(
        &self,
        token: &Secret,
        token_type: &str,
        expires_at_ms: Option<u64>,
        origin: Origin,
    ) -> Result<AccessToken, KeeperError> {
        if !sendable::is_access_token(token.expose()) {
            return Err(self.unusable(if origin == Origin::ApiKey { "key" } else { "access token" }));
        }
        let is_scheme = sendable::is_scheme(token_type);
        let served = AccessToken {
            token: token.clone(),
            token_type: if is_scheme { token_type } else { "Bearer" }.to_owned(),
            provider: self.profile.id.clone(),
            credential: self.credential.clone(),
            expires_at_ms,
            picked: Picked::Named,
            origin,
            warning: None,
            needs_login: false,
            unsaved: None,
        };
        let warning = "its token type is no RFC 9110 token, so `Bearer` stands in its place";
        Ok(served.warned((!is_scheme).then_some(warning)))
    }

    /// Whether the caller said that it wants another access token than this.
    pub(crate) fn is_unwanted(&self, token: &Secret) -> bool {
        [&self.refused, &self.replaced].into_iter().flatten().any(|unwanted| unwanted == token)
    }

    /// A token of the credential that is there, and that no request could carry.
    pub(crate) fn unusable(&self, what: &str) -> KeeperError {
        let what = format!(
            "its {what} cannot be sent, for it holds white space, a control character or a letter beyond ASCII, \
             so it is given to nobody"
        );
        self.error(Code::Unusable, &what)
    }

    /// An error about the credential that is asked for.
    pub(crate) fn error(&self, code: Code, what: &str) -> KeeperError {
        let (id, credential) = (&self.profile.id, &self.credential);
        KeeperError::new(code, format!("{id} ({credential}): {what}")).of(id, credential)
    }
}

/// What step 1 of the protocol found.
pub(crate) enum Freshness {
    Serve(AccessToken),
    Due(Due),
}

/// A credential whose access token should be refreshed.
pub(crate) struct Due {
    /// The vault that it was found in.
    pub(crate) vault: Rc<Snapshot>,
    pub(crate) credential: Credential,
    /// Its access token, if it is still good enough should the refresh fail.
    pub(crate) usable: Option<AccessToken>,
    /// The token that was spent for tokens which wait in the sealed document, where its places hold
    /// none any more.
    pub(crate) spent: Option<Fingerprint>,
}

impl Due {
    /// The token that a lease is about: the one that would be sent.
    pub(crate) fn token(&self) -> Option<Fingerprint> {
        self.credential.leading().fingerprint().or_else(|| self.spent.clone())
    }

    pub(crate) fn usable_or(self, error: KeeperError) -> Result<AccessToken, KeeperError> {
        self.usable.map(|token| token.warned_by(&error)).ok_or(error)
    }
}

/// How long to wait for a lease.
#[derive(Clone, Copy)]
pub(crate) enum Patience {
    None,
    /// As long as somebody else's refresh can take.
    OneRefresh,
}

/// The leases of one refresh.
pub(crate) struct HeldLease {
    pub(crate) grant: Lease,
    /// The vault's own lock, if another program writes it too.
    pub(crate) document: Option<Lease>,
    pub(crate) granted_ttl_ms: Option<u64>,
    /// Read before the lease was asked for.
    pub(crate) monotonic_ms: u64,
    pub(crate) wall_ms: u64,
    /// Read when all of it was held, on the monotonic clock.
    pub(crate) since_ms: u64,
}

/// What follows from a round under the lease.
pub(crate) enum Next {
    /// An access token for the caller.
    Serve(AccessToken),
    /// Something changed: start over.
    Again,
}

/// What is about to be sent, and for whom.
pub(crate) struct Exchange<'a> {
    pub(crate) demand: &'a Demand<'a>,
    pub(crate) due: &'a Due,
    pub(crate) place: &'a Place,
    pub(crate) token: &'a Secret,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) to: Counterpart,
    pub(crate) client_secret: Option<Secret>,
    pub(crate) deadline_ms: u64,
    pub(crate) held: &'a HeldLease,
}

/// A send that may go out.
pub(crate) struct Intended {
    pub(crate) intent: Intent,
    /// The ledger as it was stored with the intent.
    pub(crate) ledger: ledger::Read,
}

/// What became of a send.
pub(crate) struct Outcome {
    pub(crate) judgement: Judgement,
    pub(crate) failure: Option<HttpFailure>,
    pub(crate) sent_at_ms: u64,
    /// An earlier answer was lost: a refusal now may be about a token that was replaced.
    pub(crate) answer_lost: bool,
    /// It was lost in this call: its send is still in doubt, whatever came of the one after it.
    pub(crate) is_resend: bool,
}

/// What became of fresh tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StoreOutcome {
    /// They are in the vault.
    Stored,
    /// A new login is: it wins.
    Superseded,
    /// Somebody put older tokens in its place meanwhile.
    Overtaken,
    /// The credential is not in the vault any more.
    Gone,
    /// The vault cannot be written.
    Failed,
}

impl StoreOutcome {
    /// What a person should know although the access token is good.
    fn warning(self, is_unsaved: bool, is_replaced: bool) -> Option<&'static str> {
        match (self, is_unsaved) {
            (Self::Failed | Self::Overtaken, true) => Some(
                "the new tokens could not be stored anywhere: hand `unsaved` to save-unsaved, or this login is lost",
            ),
            (Self::Failed | Self::Overtaken, false) if !is_replaced => {
                Some("the new access token could not be written to the vault; the refresh token in it was not touched")
            }
            (Self::Overtaken, false) => {
                Some("another program put older tokens back meanwhile; the new ones wait in the sealed document")
            }
            (Self::Failed, false) => {
                Some("the new tokens could not be written to the vault; they wait in the sealed document")
            }
            (Self::Superseded, _) => {
                Some("somebody logged in anew meanwhile: the vault has that login, this token is of the old one")
            }
            (Self::Gone, _) => {
                Some("the credential was removed from the vault meanwhile: its new tokens were not put back")
            }
            (Self::Stored, _) => None,
        }
    }
}

/// Fresh tokens on their way.
pub(crate) struct Storing<'a> {
    /// The token that was spent for them.
    pub(crate) sent: &'a Fingerprint,
    pub(crate) fresh: &'a Fresh,
    /// Who came before whom.
    pub(crate) ledger: &'a Ledger,
    /// A place that was emptied after this moment, by somebody who was refused the parent, is a
    /// place for them,
    pub(crate) since_ms: u64,
    /// and so is one that held the parent here and is empty now.
    pub(crate) was: Option<&'a Credential>,
    /// When the parent was issued, if that is known: what is older is no new login.
    pub(crate) parent_issued_ms: Option<u64>,
    pub(crate) lease: Option<&'a Lease>,
}

impl<'a> Storing<'a> {
    /// Tokens that were received some time ago.
    pub(crate) fn of(sent: &'a Fingerprint, successor: &'a Successor, ledger: &'a Ledger, held: &'a HeldLease) -> Self {
        let (fresh, parent_issued_ms) = (&successor.fresh, successor.parent_issued_at_ms);
        let lease = held.document.as_ref();
        Self { sent, fresh, ledger, since_ms: fresh.received_at_ms, was: None, parent_issued_ms, lease }
    }
}

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

impl<'a> Dead<'a> {
    /// Describes the end of a login for `reason` alone: without an answer of a server.
    pub(crate) fn new(demand: &'a Demand<'a>, place: &'a Place, reason: Reason) -> Self {
        Self {
            provider: &demand.profile,
            credential: &demand.credential,
            place,
            reason,
            status: None,
            code: reason.as_str().to_owned(),
            summary: String::new(),
            access_refused: is_refused(place.access_token.as_ref(), demand.refused.as_ref()),
        }
    }

    /// Describes the end of the login whose token an exchange sends.
    pub(crate) fn of(exchange: &Exchange<'a>, reason: Reason) -> Self {
        Self::new(exchange.demand, exchange.place, reason)
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

/// Whether a secret is one that a caller named as refused.
fn is_refused(token: Option<&Secret>, refused: Option<&Secret>) -> bool {
    token.is_some() && token == refused
}
