//! An authorization server on loopback that rotates for real, counts what it sees, and misbehaves
//! on request.
//!
//! For `lazaretto demo`, the tests and the benchmarks. It knows the refresh grant of RFC 6749 and
//! nothing more: a login is a method call. The request count is what proves that a dead token was
//! not replayed.
//!
//! - [`Behaviour`]: what a healthy server does, above all how it rotates
//! - [`Fault`]: what goes wrong with the next request
//! - [`TokenServer`]: the running server, and what it saw
//!
//! ```
//! use lazaretto_testing::demo_server::{Behaviour, Fault, TokenServer};
//!
//! let server = TokenServer::start(Behaviour::default())?;
//! let login = server.login("demo-client");
//! server.fault([Fault::status(503, "text/plain", "try later")]);
//! // ... refresh `login.refresh_token` at `server.token_endpoint()` ...
//! assert!(server.is_live(&login.refresh_token));
//! assert_eq!((server.requests(), server.replays()), (0, 0));
//! # Ok::<(), std::io::Error>(())
//! ```

mod grants;
mod message;
mod serve;

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use grants::Grants;
use serve::Listening;

/// How the server treats a refresh token that was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// A new one each time; sending a spent one ends the whole grant (RFC 9700, section 4.14.2).
    RevokeFamilyOnReuse,
    /// A new one each time; sending a spent one is refused, and the grant lives on.
    RefuseReuse,
    /// A new one each time; for a while the spent one gives the same successor again, if that was
    /// not used itself. Later, sending it ends the whole grant.
    Grace {
        /// From the first use.
        window_ms: u64,
    },
    /// The same one, named in every answer.
    SameToken,
    /// The same one, not named in the answer.
    OmitToken,
}

/// What a healthy server does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behaviour {
    /// What happens to a refresh token that was used.
    pub rotate: Rotation,
    /// How long an access token is said to live.
    pub access_ttl_s: u64,
    /// Access tokens are JWTs with `iat`, `exp`, `sub`, `scope` and `client_id`; their signature is
    /// random bytes.
    pub jwt_access_tokens: bool,
    /// What every answer and every JWT names as scope.
    pub scope: String,
    /// How far the server's clock, so its `Date` header and its JWTs, is ahead of ours. Negative:
    /// behind.
    pub clock_offset_s: i64,
}

impl Default for Behaviour {
    /// Rotates, revokes the family on reuse, opaque access tokens for an hour.
    fn default() -> Self {
        Self {
            rotate: Rotation::RevokeFamilyOnReuse,
            access_ttl_s: 3600,
            jwt_access_tokens: false,
            scope: "openid offline_access".into(),
            clock_offset_s: 0,
        }
    }
}

/// What goes wrong with one request. *Processed* means that the token in it was used, and rotated
/// where the server rotates.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Nothing: answered as usual. To place a fault behind requests that go well.
    None,
    /// Not processed; answered with this.
    Status {
        /// Any status.
        code: u16,
        /// For the `content-type` header.
        content_type: String,
        /// The body.
        body: String,
        /// More headers.
        headers: Vec<(String, String)>,
    },
    /// Not processed; the connection closes without an answer.
    DropBeforeProcessing,
    /// Processed; the connection closes without an answer. The successor is lost.
    DropAfterProcessing,
    /// Processed; the connection closes in the middle of the answer.
    HalfBody,
    /// Processed at once, answered late.
    Slow {
        /// The delay.
        ms: u64,
    },
    /// Processed at once, answered when [`TokenServer::let_go`] says so.
    Held,
    /// Processed at once; when [`TokenServer::let_go`] says so the connection closes without an
    /// answer.
    HeldThenLost,
    /// Not processed; a 307, which would have the request sent again.
    Redirect {
        /// For the `location` header.
        to: String,
    },
    /// Not processed; a 200 with JSON that never ends.
    EndlessBody,
    /// Not processed; a 200 with JSON whose text is not UTF-8.
    NotUtf8,
}

impl Fault {
    /// An answer without more headers.
    #[must_use]
    pub fn status(code: u16, content_type: &str, body: &str) -> Self {
        Self::Status { code, content_type: content_type.into(), body: body.into(), headers: Vec::new() }
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            // A test may put a token into a body or a header.
            Self::Status { code, .. } => f.debug_struct("Status").field("code", code).finish_non_exhaustive(),
            Self::DropBeforeProcessing => f.write_str("DropBeforeProcessing"),
            Self::DropAfterProcessing => f.write_str("DropAfterProcessing"),
            Self::HalfBody => f.write_str("HalfBody"),
            Self::Slow { ms } => f.debug_struct("Slow").field("ms", ms).finish(),
            Self::Held => f.write_str("Held"),
            Self::HeldThenLost => f.write_str("HeldThenLost"),
            Self::Redirect { .. } => f.debug_struct("Redirect").finish_non_exhaustive(),
            Self::EndlessBody => f.write_str("EndlessBody"),
            Self::NotUtf8 => f.write_str("NotUtf8"),
        }
    }
}

/// What a user who has just logged in gets.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// Opaque or a JWT, see [`Behaviour`].
    pub access_token: String,
    /// The first of its grant.
    pub refresh_token: String,
    /// As the server would say it.
    pub expires_in_s: u64,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login")
            .field("access_token", &"[redacted]")
            .field("refresh_token", &"[redacted]")
            .field("expires_in_s", &self.expires_in_s)
            .finish()
    }
}

/// One request as the server saw it, without its secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Method and path.
    pub target: String,
    /// SHA-256 of the refresh token, shortened to 128 bits, in hex.
    pub refresh_token_fingerprint: Option<String>,
    /// From the body.
    pub client_id: Option<String>,
    /// As sent.
    pub content_type: Option<String>,
    /// The token came in the header `x-nous-refresh-token`.
    pub had_header_token: bool,
    /// As sent.
    pub user_agent: Option<String>,
    /// What the server did with the token.
    pub processed: Processed,
    /// The token had been used before.
    pub replay: bool,
    /// What went wrong with it.
    pub fault: Fault,
}

/// What a request came to at the server, whatever its client heard of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Processed {
    /// Nothing.
    #[default]
    No,
    /// An access token, and perhaps another refresh token.
    Refreshed {
        /// The fingerprint of the refresh token that is the current one now, unless that is the one
        /// sent.
        successor: Option<String>,
    },
    /// Refused, for good.
    Refused,
}

/// A running server. Clones are handles to the same one; it stops when the last is dropped.
#[derive(Clone)]
pub struct TokenServer(Arc<Running>);

struct Running {
    state: Arc<State>,
    listening: Listening,
}

/// What the connections share. One lock: a refresh is decided whole or not at all.
struct State {
    books: Mutex<Books>,
    /// Something was written into them.
    written: Condvar,
}

struct Books {
    grants: Grants,
    faults: VecDeque<Fault>,
    received: Vec<Received>,
}

impl State {
    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TokenServer {
    /// Listens on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// No port, no thread or no random bytes.
    pub fn start(behaviour: Behaviour) -> io::Result<Self> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(io::Error::other)?;
        let books = Books { grants: Grants::new(behaviour, seed), faults: VecDeque::new(), received: Vec::new() };
        let state = Arc::new(State { books: Mutex::new(books), written: Condvar::new() });
        let listening = Listening::start(state.clone())?;
        Ok(Self(Arc::new(Running { state, listening })))
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.0.listening.address()
    }

    /// `http://127.0.0.1:PORT`
    #[must_use]
    pub fn origin(&self) -> String {
        format!("http://{}", self.address())
    }

    /// `http://127.0.0.1:PORT/oauth/token`
    #[must_use]
    pub fn token_endpoint(&self) -> String {
        format!("{}{}", self.origin(), serve::TOKEN_PATH)
    }

    /// A fresh grant, as if a user had logged in. From here on the server knows the client.
    #[must_use]
    pub fn login(&self, client_id: &str) -> Login {
        self.books().grants.log_in(client_id)
    }

    /// The user ends the grant that this refresh token belongs to, whichever of its generations it
    /// is.
    pub fn revoke(&self, refresh_token: &str) {
        self.books().grants.revoke(refresh_token);
    }

    /// Each of the next requests meets one of these, after those already waiting.
    pub fn fault(&self, faults: impl IntoIterator<Item = Fault>) {
        self.books().faults.extend(faults);
    }

    /// Forgets the faults that no request has met yet.
    pub fn no_more_faults(&self) {
        self.books().faults.clear();
    }

    /// Answers what is [held](Fault::Held), now and from now on.
    pub fn let_go(&self) {
        self.0.listening.let_go();
    }

    /// How many requests arrived, of any kind and with any fault.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.books().received.len() as u64
    }

    /// How often a spent refresh token was processed, within a grace window or not.
    #[must_use]
    pub fn replays(&self) -> u64 {
        self.books().grants.replays()
    }

    /// Whether this refresh token would be accepted as the current one of its grant.
    #[must_use]
    pub fn is_live(&self, refresh_token: &str) -> bool {
        self.books().grants.is_live(refresh_token)
    }

    /// The current refresh token of every grant that was not ended, oldest grant first.
    #[must_use]
    pub fn live_tokens(&self) -> Vec<String> {
        self.books().grants.live_tokens()
    }

    /// Every request so far, oldest first.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        self.books().received.clone()
    }

    /// The requests after the first `seen`, oldest first.
    #[must_use]
    pub fn received_after(&self, seen: usize) -> Vec<Received> {
        self.books().received.get(seen..).map(<[_]>::to_vec).unwrap_or_default()
    }

    /// Waits until `count` requests have arrived, at most for `patience`; whether they have.
    #[must_use]
    pub fn wait_for_requests(&self, count: u64, patience: Duration) -> bool {
        self.wait_until(patience, |received| received.len() as u64 >= count)
    }

    /// Waits until this is so of the requests that arrived, oldest first, at most for `patience`;
    /// whether it is.
    #[must_use]
    pub fn wait_until(&self, patience: Duration, mut is_so: impl FnMut(&[Received]) -> bool) -> bool {
        let (start, mut books) = (Instant::now(), self.books());
        loop {
            if is_so(&books.received) {
                return true;
            }
            let Some(left) = patience.checked_sub(start.elapsed()) else { return false };
            books = match self.0.state.written.wait_timeout(books, left) {
                Ok((books, _)) => books,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.state.books()
    }
}

impl fmt::Debug for TokenServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenServer")
            .field("address", &self.address())
            .field("requests", &self.requests())
            .field("replays", &self.replays())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
