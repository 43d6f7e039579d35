//! What the component reads that is nobody's answer: the time, and chance. Whoever embeds it may
//! supply both.

use std::io;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Both clocks, as the component reads them: to the millisecond. They date what it stores, and
/// decide whether a token has run out and how long a lease is still good for. Deadlines of
/// requests, and waits for leases, are kept by [`Http`](crate::http::Http) and
/// [`Storage`](crate::storage::Storage), on clocks of their own.
pub trait Clock: Send + Sync {
    /// The time since 1970, UTC. It may be wrong, and it may step.
    fn wall(&self) -> Duration;

    /// The time since some moment, the same one for as long as the keeper lives. It never goes
    /// back.
    fn monotonic(&self) -> Duration;
}

/// The clocks of this machine.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    started: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self { started: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn wall(&self) -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }
}

/// Where the component's random numbers come from. They spread the retries of many callers, and
/// name what must not be mixed up; no secret is made of them.
pub trait Random: Send + Sync {
    /// 64 bits that nobody else draws.
    ///
    /// # Errors
    /// None are to be had. The call that asked ends with
    /// [`KeeperError::code`](crate::KeeperError::code) `internal`.
    fn random_u64(&self) -> io::Result<u64>;
}

/// The random numbers of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn random_u64(&self) -> io::Result<u64> {
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
        Ok(u64::from_le_bytes(bytes))
    }
}
