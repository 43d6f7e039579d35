//! Every code that a finding of the component can have, and which of several facts about one
//! credential is told first.

/// One kind of finding. The order is that of usefulness: of several facts about one credential the
/// first decides what is done. `docs/doctor.md` says what each means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "docs/doctor.md documents them")]
pub enum FindingCode {
    // Of one credential: it cannot be used any more.
    TokenDead,
    TokenSpent,
    Quarantined,
    LoginEnded,
    EntryDead,
    CannotBeUsed,
    // It is not renewed.
    SuccessorWaiting,
    ProviderView,
    CoolingDown,
    NoRefreshToken,
    GrantEnds,
    // It is in danger, or written in a way that loses something.
    GrantShared,
    AccountTwice,
    IssuedInFuture,
    IdTwice,
    FieldMistyped,
    EntryWithoutId,
    ExpiryUnknown,
    LifetimeShort,
    // Of a provider.
    ProfileWrong,
    ProfileMissing,
    PlainHttp,
    FieldUnreadable,
    IntentStale,
    IntentOver,
    SourceSuppressed,
    // Of a server.
    ServerUnreachable,
    ServerFailing,
    NotAnAuthorizationServer,
    ClockWrong,
    // Of the vault's documents.
    VaultAbsent,
    VaultUnreadable,
    SettingsUnreadable,
    ProfilesUnreadable,
    LedgerUnreadable,
    LedgerNewer,
    LedgerUnreachable,
    LedgerLost,
    SealedUnreadable,
    PoolUnreadable,
    // What is well.
    Vault,
    Ledger,
    Sealed,
    Provider,
    Server,
    Healthy,
}

impl FindingCode {
    /// All of them.
    pub const ALL: [Self; 46] = [
        Self::TokenDead,
        Self::TokenSpent,
        Self::Quarantined,
        Self::LoginEnded,
        Self::EntryDead,
        Self::CannotBeUsed,
        Self::SuccessorWaiting,
        Self::ProviderView,
        Self::CoolingDown,
        Self::NoRefreshToken,
        Self::GrantEnds,
        Self::GrantShared,
        Self::AccountTwice,
        Self::IssuedInFuture,
        Self::IdTwice,
        Self::FieldMistyped,
        Self::EntryWithoutId,
        Self::ExpiryUnknown,
        Self::LifetimeShort,
        Self::ProfileWrong,
        Self::ProfileMissing,
        Self::PlainHttp,
        Self::FieldUnreadable,
        Self::IntentStale,
        Self::IntentOver,
        Self::SourceSuppressed,
        Self::ServerUnreachable,
        Self::ServerFailing,
        Self::NotAnAuthorizationServer,
        Self::ClockWrong,
        Self::VaultAbsent,
        Self::VaultUnreadable,
        Self::SettingsUnreadable,
        Self::ProfilesUnreadable,
        Self::LedgerUnreadable,
        Self::LedgerNewer,
        Self::LedgerUnreachable,
        Self::LedgerLost,
        Self::SealedUnreadable,
        Self::PoolUnreadable,
        Self::Vault,
        Self::Ledger,
        Self::Sealed,
        Self::Provider,
        Self::Server,
        Self::Healthy,
    ];

    /// The word in the contract.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TokenDead => "token-dead",
            Self::TokenSpent => "token-spent",
            Self::Quarantined => "quarantined",
            Self::LoginEnded => "login-ended",
            Self::EntryDead => "entry-dead",
            Self::CannotBeUsed => "cannot-be-used",
            Self::SuccessorWaiting => "successor-waiting",
            Self::ProviderView => "held",
            Self::CoolingDown => "cooling-down",
            Self::NoRefreshToken => "no-refresh-token",
            Self::GrantEnds => "grant-ends",
            Self::GrantShared => "grant-shared",
            Self::AccountTwice => "account-twice",
            Self::IssuedInFuture => "issued-in-future",
            Self::IdTwice => "id-twice",
            Self::FieldMistyped => "field-mistyped",
            Self::EntryWithoutId => "entry-without-id",
            Self::ExpiryUnknown => "expiry-unknown",
            Self::LifetimeShort => "lifetime-short",
            Self::ProfileWrong => "profile-wrong",
            Self::ProfileMissing => "profile-missing",
            Self::PlainHttp => "plain-http",
            Self::FieldUnreadable => "field-unreadable",
            Self::IntentStale => "intent-stale",
            Self::IntentOver => "intent-over",
            Self::SourceSuppressed => "source-suppressed",
            Self::ServerUnreachable => "server-unreachable",
            Self::ServerFailing => "server-failing",
            Self::NotAnAuthorizationServer => "not-an-authorization-server",
            Self::ClockWrong => "clock-wrong",
            Self::VaultAbsent => "vault-absent",
            Self::VaultUnreadable => "vault-unreadable",
            Self::SettingsUnreadable => "settings-unreadable",
            Self::ProfilesUnreadable => "profiles-unreadable",
            Self::LedgerUnreadable => "ledger-unreadable",
            Self::LedgerNewer => "ledger-newer",
            Self::LedgerUnreachable => "ledger-unreachable",
            Self::LedgerLost => "ledger-lost",
            Self::SealedUnreadable => "sealed-unreadable",
            Self::PoolUnreadable => "pool-unreadable",
            Self::Vault => "vault",
            Self::Ledger => "ledger",
            Self::Sealed => "sealed",
            Self::Provider => "provider",
            Self::Server => "server",
            Self::Healthy => "healthy",
        }
    }

    /// Whether a credential of which this is so gives no token until a person acts.
    pub(super) fn is_end(self) -> bool {
        self <= Self::CannotBeUsed
    }

    /// Whether it is only about how a credential is renewed: of one that has ended that is of no
    /// interest.
    pub(super) fn is_of_renewal(self) -> bool {
        matches!(
            self,
            Self::ProviderView
                | Self::CoolingDown
                | Self::NoRefreshToken
                | Self::GrantEnds
                | Self::ExpiryUnknown
                | Self::LifetimeShort
        )
    }
}
