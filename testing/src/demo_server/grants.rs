//! What the server knows of every refresh token it ever issued. No sockets, and no clock but the
//! one it is told.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::json;
use sha2::{Digest, Sha256};

use super::{Behaviour, Login, Rotation};

pub(super) struct Grants {
    behaviour: Behaviour,
    seed: [u8; 32],
    drawn: u64,
    grants: Vec<Grant>,
    tokens: HashMap<String, Token>,
    clients: HashSet<String>,
    replays: u64,
}

struct Grant {
    client_id: String,
    current: String,
    revoked: bool,
}

struct Token {
    /// An index into the grants.
    grant: usize,
    spent: Option<Spent>,
}

struct Spent {
    at: Instant,
    successor: String,
}

/// What a refresh gives.
pub(super) struct Issued {
    pub(super) access_token: String,
    pub(super) refresh_token: Option<String>,
    pub(super) expires_in_s: u64,
    pub(super) scope: String,
}

/// Why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    UnknownClient,
    UnknownToken,
    OtherClient,
    Revoked,
    Reused,
}

impl Refused {
    /// The error code of RFC 6749, section 5.2, and its description.
    pub(super) fn describe(self) -> (&'static str, &'static str) {
        match self {
            Self::UnknownClient => ("invalid_client", "The client is not known here."),
            Self::UnknownToken => ("invalid_grant", "The refresh token is not known here."),
            Self::OtherClient => ("invalid_grant", "The refresh token was issued to another client."),
            Self::Revoked => ("invalid_grant", "The refresh token has been revoked."),
            Self::Reused => ("invalid_grant", "The refresh token has already been used."),
        }
    }
}

impl Grants {
    pub(super) fn new(behaviour: Behaviour, seed: [u8; 32]) -> Self {
        Self {
            behaviour,
            seed,
            drawn: 0,
            grants: Vec::new(),
            tokens: HashMap::new(),
            clients: HashSet::new(),
            replays: 0,
        }
    }

    pub(super) fn log_in(&mut self, client_id: &str) -> Login {
        let grant = self.grants.len();
        let refresh_token = self.new_refresh_token(grant);
        self.clients.insert(client_id.to_owned());
        self.grants.push(Grant { client_id: client_id.to_owned(), current: refresh_token.clone(), revoked: false });
        Login { access_token: self.new_access_token(grant), refresh_token, expires_in_s: self.behaviour.access_ttl_s }
    }

    pub(super) fn refresh(
        &mut self,
        client_id: Option<&str>,
        refresh_token: &str,
        now: Instant,
    ) -> Result<Issued, Refused> {
        let client_id =
            client_id.filter(|client_id| self.clients.contains(*client_id)).ok_or(Refused::UnknownClient)?;
        let token = self.tokens.get(refresh_token).ok_or(Refused::UnknownToken)?;
        let index = token.grant;
        let grant = &mut self.grants[index];
        if grant.client_id != client_id {
            return Err(Refused::OtherClient);
        }
        if let Some(spent) = &token.spent {
            self.replays += 1;
            if grant.revoked {
                return Err(Refused::Revoked);
            }
            match self.behaviour.rotate {
                Rotation::RefuseReuse => return Err(Refused::Reused),
                Rotation::Grace { window_ms }
                    if now.saturating_duration_since(spent.at) <= Duration::from_millis(window_ms)
                        && spent.successor == grant.current =>
                {
                    let successor = spent.successor.clone();
                    return Ok(self.issue(index, Some(successor)));
                }
                _ => {
                    grant.revoked = true;
                    return Err(Refused::Reused);
                }
            }
        }
        if grant.revoked {
            return Err(Refused::Revoked);
        }
        let named = match self.behaviour.rotate {
            Rotation::OmitToken => None,
            Rotation::SameToken => Some(refresh_token.to_owned()),
            Rotation::RevokeFamilyOnReuse | Rotation::RefuseReuse | Rotation::Grace { .. } => {
                let successor = self.new_refresh_token(index);
                self.grants[index].current.clone_from(&successor);
                if let Some(token) = self.tokens.get_mut(refresh_token) {
                    token.spent = Some(Spent { at: now, successor: successor.clone() });
                }
                Some(successor)
            }
        };
        Ok(self.issue(index, named))
    }

    pub(super) fn revoke(&mut self, refresh_token: &str) {
        if let Some(token) = self.tokens.get(refresh_token) {
            self.grants[token.grant].revoked = true;
        }
    }

    pub(super) fn replays(&self) -> u64 {
        self.replays
    }

    pub(super) fn is_live(&self, refresh_token: &str) -> bool {
        self.tokens.get(refresh_token).is_some_and(|token| {
            let grant = &self.grants[token.grant];
            !grant.revoked && grant.current == refresh_token
        })
    }

    pub(super) fn live_tokens(&self) -> Vec<String> {
        let live = self.grants.iter().filter(|grant| !grant.revoked);
        live.map(|grant| grant.current.clone()).collect()
    }

    /// The server's clock, in seconds since 1970.
    pub(super) fn unix_time_s(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX).saturating_add(self.behaviour.clock_offset_s)
    }

    fn issue(&mut self, grant: usize, refresh_token: Option<String>) -> Issued {
        Issued {
            access_token: self.new_access_token(grant),
            refresh_token,
            expires_in_s: self.behaviour.access_ttl_s,
            scope: self.behaviour.scope.clone(),
        }
    }

    fn new_refresh_token(&mut self, grant: usize) -> String {
        let token = format!("demo-rt-{}", self.draw());
        self.tokens.insert(token.clone(), Token { grant, spent: None });
        token
    }

    fn new_access_token(&mut self, grant: usize) -> String {
        let random = self.draw();
        if !self.behaviour.jwt_access_tokens {
            return format!("demo-at-{random}");
        }
        let issued_at = self.unix_time_s();
        let ttl = i64::try_from(self.behaviour.access_ttl_s).unwrap_or(i64::MAX);
        let header = json!({"alg": "ES256", "typ": "at+jwt"}).to_string();
        let payload = json!({
            "iat": issued_at,
            "exp": issued_at.saturating_add(ttl),
            "sub": format!("demo-user-{grant}"),
            "scope": self.behaviour.scope,
            "client_id": self.grants[grant].client_id,
            "jti": random,
        })
        .to_string();
        let signature = self.draw() + &self.draw();
        format!("{}.{}.{signature}", base64url(header.as_bytes()), base64url(payload.as_bytes()))
    }

    /// 256 bits nobody can guess, and never the same twice.
    fn draw(&mut self) -> String {
        self.drawn += 1;
        let mut hash = Sha256::new();
        hash.update(self.seed);
        hash.update(self.drawn.to_le_bytes());
        base64url(&hash.finalize())
    }
}

/// RFC 4648, section 5, without padding.
fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let mut three = [0; 3];
        three[..chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
        for place in 0..=chunk.len() {
            let sextet = (bits >> (18 - 6 * place)) & 0x3f;
            text.push(char::from(ALPHABET[sextet as usize]));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: &str = "demo-client";

    struct Server {
        grants: Grants,
        now: Instant,
    }

    impl Server {
        fn new(rotate: Rotation) -> Self {
            let behaviour = Behaviour { rotate, ..Behaviour::default() };
            Self { grants: Grants::new(behaviour, [7; 32]), now: Instant::now() }
        }

        fn log_in(&mut self) -> String {
            self.grants.log_in(CLIENT).refresh_token
        }

        fn refresh(&mut self, token: &str) -> Result<Option<String>, Refused> {
            let issued = self.grants.refresh(Some(CLIENT), token, self.now)?;
            Ok(issued.refresh_token)
        }

        #[track_caller]
        fn rotate(&mut self, token: &str) -> String {
            self.refresh(token).expect("an answer").expect("a refresh token")
        }
    }

    #[test]
    fn a_rotating_server_takes_each_token_once() {
        let mut server = Server::new(Rotation::RevokeFamilyOnReuse);
        let first = server.log_in();
        let second = server.rotate(&first);
        let third = server.rotate(&second);
        assert!(first != second && second != third);
        assert_eq!(server.grants.live_tokens(), [third]);
        assert_eq!(server.grants.replays(), 0);
    }

    #[test]
    fn reuse_ends_the_whole_grant_and_no_other() {
        let mut server = Server::new(Rotation::RevokeFamilyOnReuse);
        let (first, other) = (server.log_in(), server.log_in());
        let second = server.rotate(&first);
        assert_eq!(server.refresh(&first), Err(Refused::Reused));
        assert!(!server.grants.is_live(&second));
        assert_eq!(server.refresh(&second), Err(Refused::Revoked));
        assert_eq!(server.grants.live_tokens(), [other]);
        assert_eq!(server.grants.replays(), 1);
    }

    #[test]
    fn a_server_that_only_refuses_reuse_leaves_the_grant_alive() {
        let mut server = Server::new(Rotation::RefuseReuse);
        let first = server.log_in();
        let second = server.rotate(&first);
        assert_eq!(server.refresh(&first), Err(Refused::Reused));
        assert!(server.grants.is_live(&second));
        assert_eq!(server.grants.replays(), 1);
    }

    /// Within the grace window a spent token gives its successor again.
    #[test]
    fn in_the_grace_window_a_spent_token_repeats_its_successor() {
        let mut server = Server::new(Rotation::Grace { window_ms: 1000 });
        let first = server.log_in();
        let second = server.rotate(&first);
        server.now += Duration::from_millis(1000);
        assert_eq!(server.rotate(&first), second);
        assert_eq!(server.grants.replays(), 1);
        server.now += Duration::from_millis(1);
        assert_eq!(server.refresh(&first), Err(Refused::Reused));
        assert!(!server.grants.is_live(&second));
    }

    #[test]
    fn the_grace_window_ends_once_the_successor_is_used() {
        let mut server = Server::new(Rotation::Grace { window_ms: 1000 });
        let first = server.log_in();
        let second = server.rotate(&first);
        let third = server.rotate(&second);
        assert_eq!(server.refresh(&first), Err(Refused::Reused));
        assert!(!server.grants.is_live(&third));
    }

    #[test]
    fn a_server_that_does_not_rotate_takes_the_same_token_for_ever() {
        for (rotate, named) in [(Rotation::SameToken, true), (Rotation::OmitToken, false)] {
            let mut server = Server::new(rotate);
            let token = server.log_in();
            for _ in 0..10 {
                assert_eq!(server.refresh(&token), Ok(named.then(|| token.clone())));
            }
            assert_eq!(server.grants.live_tokens(), [token]);
            assert_eq!(server.grants.replays(), 0);
        }
    }

    #[test]
    fn a_user_can_end_a_grant_with_any_of_its_tokens() {
        let mut server = Server::new(Rotation::RevokeFamilyOnReuse);
        let first = server.log_in();
        let second = server.rotate(&first);
        server.grants.revoke(&first);
        assert_eq!(server.refresh(&second), Err(Refused::Revoked));
        assert!(server.grants.live_tokens().is_empty());
    }

    #[test]
    fn a_token_is_refused_to_a_client_it_was_not_issued_to() {
        let mut server = Server::new(Rotation::RevokeFamilyOnReuse);
        let token = server.log_in();
        let _ = server.grants.log_in("other-client");
        let now = server.now;
        let mut as_client = |client| server.grants.refresh(client, &token, now).map(drop);
        assert_eq!(as_client(None), Err(Refused::UnknownClient));
        assert_eq!(as_client(Some("nobody")), Err(Refused::UnknownClient));
        assert_eq!(as_client(Some("other-client")), Err(Refused::OtherClient));
        assert!(server.grants.is_live(&token));
        assert_eq!(server.refresh("made-up"), Err(Refused::UnknownToken));
    }

    #[test]
    fn base64url_is_that_of_rfc_4648() {
        for (bytes, text) in [("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foob", "Zm9vYg")] {
            assert_eq!(base64url(bytes.as_bytes()), text);
        }
        assert_eq!(base64url(&[0xfb, 0xff]), "-_8");
    }
}
