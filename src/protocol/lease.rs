//! Step 2 of the protocol, and step 6: the right to refresh one grant, and whether it lasts for one more exchange.

use crate::error::{Code, KeeperError};
use crate::keeper::{Ask, Keeper};
use crate::ports::{Acquired, Lease, Ports, Scope};
use crate::protocol::refresh::Sending;
use crate::state::fingerprint::Fingerprint;
use crate::state::ledger::Intent;

/// What a lease must last beyond the deadlines of two requests.
const LEASE_ALLOWANCE_MS: u64 = 5_000;
/// The reference's programs wait 15 s for their lock: within this, a second request must be over as well.
const SHARED_HOLD_MS: u64 = 14_000;

/// How long to wait for a lease.
#[derive(Clone, Copy)]
pub(crate) enum Patience {
    None,
    /// As long as somebody else's refresh can take.
    OneRefresh,
}

/// The leases of one refresh.
pub(crate) struct Held {
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

#[cfg_attr(target_arch = "wasm32", lazaretto_macros::synchronous)]
impl<P: Ports> Keeper<P> {
    /// Step 2: the lease on the grant, by the fingerprint about to be sent; then the vault's own lock, if another program
    /// writes the vault too.
    pub(crate) async fn lease(
        &self,
        ask: &Ask<'_>,
        token: Option<&Fingerprint>,
        patience: Patience,
    ) -> Result<Held, KeeperError> {
        let shared = self.settings(ask.vault).await?.shared_with_reference()?;
        if shared && !self.ports.describe().excludes_foreign {
            let settings = self.reach(ask.vault).await.settings();
            let what = format!(
                "the vault counts as shared with a program whose lock this host cannot take, so nothing is refreshed. If no other \
                 program writes it, put {{\"shared_with_reference\": false}} into {settings}"
            );
            return Err(ask.error(Code::SharedVault, &what));
        }
        let (monotonic_ms, wall_ms) = (self.ports.monotonic_ms(), self.ports.wall_ms());
        // A request whose answer is lost is made once more.
        let ttl_ms = ask.profile.deadline_ms.saturating_mul(2).saturating_add(LEASE_ALLOWANCE_MS);
        let wait_ms = match patience {
            Patience::None => 0,
            Patience::OneRefresh => ttl_ms,
        };
        let of_its_name = Fingerprint::of(&ask.credential);
        let fingerprint = token.unwrap_or(&of_its_name).as_str().to_owned();
        let scope = Scope::Grant { document: ask.vault.to_owned(), fingerprint };
        let (grant, granted_ttl_ms) = self.acquire(ask, &scope, ttl_ms, wait_ms).await?;
        if !shared {
            let since_ms = self.ports.monotonic_ms();
            return Ok(Held { grant, document: None, granted_ttl_ms, monotonic_ms, wall_ms, since_ms });
        }
        match self.acquire(ask, &Scope::Document(ask.vault.to_owned()), ttl_ms, wait_ms).await {
            Ok((document, _)) => {
                let since_ms = self.ports.monotonic_ms();
                Ok(Held { grant, document: Some(document), granted_ttl_ms, monotonic_ms, wall_ms, since_ms })
            }
            Err(error) => {
                self.ports.release(&grant).await;
                Err(error)
            }
        }
    }

    async fn acquire(
        &self,
        ask: &Ask<'_>,
        scope: &Scope,
        ttl_ms: u64,
        wait_ms: u64,
    ) -> Result<(Lease, Option<u64>), KeeperError> {
        match self.ports.acquire(scope, ttl_ms, wait_ms).await {
            Ok(Acquired::Granted { lease, granted_ttl_ms }) => Ok((lease, granted_ttl_ms)),
            Ok(Acquired::Busy(holder)) => {
                let holder = if holder.is_empty() { "another process".to_owned() } else { holder };
                let what = format!("{holder} holds the lock and did not let go within {wait_ms} ms");
                Err(ask.error(Code::Busy, &what).after(1))
            }
            Err(error) => Err(KeeperError::storage(ask.vault, &error).of(&ask.profile.id, &ask.credential)),
        }
    }

    pub(crate) async fn give_back(&self, held: Held) {
        if let Some(document) = &held.document {
            self.ports.release(document).await;
        }
        self.ports.release(&held.grant).await;
    }

    /// Step 6: the lease, counted from before it was asked for, outlasts one more exchange.
    pub(crate) fn has_time(&self, sending: &Sending<'_>) -> bool {
        let Some(ttl_ms) = sending.held.granted_ttl_ms else { return true };
        let (monotonic_ms, wall_ms) = (self.ports.monotonic_ms(), self.ports.wall_ms());
        if wall_ms < sending.held.wall_ms {
            return false;
        }
        let elapsed_ms = monotonic_ms.saturating_sub(sending.held.monotonic_ms).max(wall_ms - sending.held.wall_ms);
        elapsed_ms.saturating_add(sending.deadline_ms) < ttl_ms
    }

    /// Whoever waits for the vault's own lock waits for both requests.
    pub(crate) fn deadline_of_a_resend(&self, sending: &Sending<'_>) -> u64 {
        if sending.held.document.is_none() {
            return sending.deadline_ms;
        }
        let held_ms = self.ports.monotonic_ms().saturating_sub(sending.held.since_ms);
        sending.deadline_ms.min(SHARED_HOLD_MS.saturating_sub(held_ms))
    }

    /// A lease with a time to live may have passed while its holder was still sending: one HTTP deadline is waited out.
    pub(crate) fn wait_for_the_other(
        &self,
        sending: &Sending<'_>,
        intent: &Intent,
        now_ms: u64,
    ) -> Result<(), KeeperError> {
        let over_ms = intent.sent_at_ms.saturating_add(sending.ask.profile.deadline_ms);
        if sending.held.granted_ttl_ms.is_none() || now_ms >= over_ms || now_ms < intent.sent_at_ms {
            return Ok(());
        }
        let what = "another process may still be sending this refresh token";
        Err(sending.ask.error(Code::InDoubt, what).after((over_ms - now_ms).div_ceil(1_000)))
    }
}
