//! The authorization servers: eight ways to treat a refresh token, with what only a god would know of each token.

use super::text::{Access, Tokens};

/// The number of a refresh token.
pub type Token = u8;
pub const MOST_TOKENS: usize = 32;
const MOST_FAMILIES: usize = 6;
/// A token that is none.
pub const NO_TOKEN: Token = u8::MAX;

/// How a server treats the token it gave another for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Its use ends the whole family.
    KillsTheFamily,
    /// Its use is refused, and nothing else.
    Refuses,
    /// Within a minute its use gives the same successor again; later it ends the family.
    LongGrace,
    /// The same, but for three seconds only: shorter than a deadline.
    ShortGrace,
    /// There is no other: the answer repeats it.
    SameToken,
    /// There is no other: the answer says nothing of it.
    Omits,
    /// It stays valid beside its successor.
    OldStaysValid,
    /// As `KillsTheFamily`, and sometimes it spends a token and then answers that it could not.
    SpendsAndFails,
}

impl Kind {
    pub const ALL: [Self; 8] = [
        Self::KillsTheFamily,
        Self::Refuses,
        Self::LongGrace,
        Self::ShortGrace,
        Self::SameToken,
        Self::Omits,
        Self::OldStaysValid,
        Self::SpendsAndFails,
    ];

    fn grace_ms(self) -> Option<u32> {
        match self {
            Self::LongGrace => Some(60_000),
            Self::ShortGrace => Some(3_000),
            _ => None,
        }
    }
}

/// What came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// New tokens; the refresh token if the server names one.
    Tokens { access: Access, refresh: Token },
    /// A refresh token, and no access token beside it.
    NoAccess { refresh: Token },
    /// The first bytes of such an answer.
    Half { access: Access, refresh: Token },
    /// 400 invalid_grant.
    Refused,
    /// 400 invalid_scope, after the token was spent.
    SpentAndBadScope,
    /// 503 with a JSON error.
    Unavailable,
    /// 429 with Retry-After: 30.
    SlowDown,
    /// A proxy's page: 403 in HTML. The server saw nothing.
    Page,
    /// A gateway's page: 502, whatever the server did.
    BadGateway,
}

/// One refresh token, as the server has it, and what became of it outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State {
    pub family: u8,
    pub parent: Token,
    pub successor: Token,
    pub spent_at_ms: u32,
    /// Good for a refresh.
    pub is_live: bool,
    /// A replay of it, or the loss of its successor, is nobody's fault: an answer was lost, a holder crashed or slept,
    /// or somebody outside meddled.
    pub window: bool,
    /// The server itself answered it with a terminal code although it was live.
    pub slandered: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Server {
    pub kind: Kind,
    pub tokens: [State; MOST_TOKENS],
    pub count: u8,
    pub dead_families: u8,
    pub families: u8,
    pub accesses: Access,
    /// Spent tokens seen again, without a grace for it.
    pub replays: u8,
    /// Of those, tokens without a window: each is a violation.
    pub unexcused: Token,
    /// By access token: the family. Grows with `accesses`.
    access_families: [u8; 96],
}

const NOTHING: State = State {
    family: 0,
    parent: NO_TOKEN,
    successor: NO_TOKEN,
    spent_at_ms: 0,
    is_live: false,
    window: false,
    slandered: false,
};

impl Server {
    pub fn new(kind: Kind) -> Self {
        let mut server = Self {
            kind,
            tokens: [NOTHING; MOST_TOKENS],
            count: 0,
            dead_families: 0,
            families: 0,
            accesses: 0,
            replays: 0,
            unexcused: NO_TOKEN,
            access_families: [0; 96],
        };
        // The login's, and the one of the manual entry.
        server.log_in();
        server.log_in();
        server
    }

    /// A new login: a family of its own.
    pub fn log_in(&mut self) -> Option<(Access, Token)> {
        if self.families as usize >= MOST_FAMILIES {
            return None;
        }
        let family = self.families;
        self.families += 1;
        let token = self.issue(family, NO_TOKEN)?;
        Some((self.access(family)?, token))
    }

    /// A login at a server that gives the same refresh token again.
    pub fn log_in_again(&mut self, token: Token) -> Option<Access> {
        let family = self.tokens[token as usize].family;
        self.access(family)
    }

    pub fn is_alive(&self, token: Token) -> bool {
        let state = &self.tokens[token as usize];
        state.is_live && self.dead_families >> state.family & 1 == 0
    }

    pub fn accepts(&self, access: Access) -> bool {
        access < self.accesses && self.dead_families >> self.access_families[access as usize] & 1 == 0
    }

    /// Whether `token` came before `of`.
    pub fn is_ancestor(&self, token: Token, of: Token) -> bool {
        let mut at = self.tokens[of as usize].parent;
        while at != NO_TOKEN {
            if at == token {
                return true;
            }
            at = self.tokens[at as usize].parent;
        }
        false
    }

    /// Whether `token` came before `of`, and all between them are among those that are known to be spent.
    pub fn leads_through(&self, token: Token, of: Token, known: Tokens) -> bool {
        let mut at = self.tokens[of as usize].parent;
        while at != NO_TOKEN && known.has(at) {
            if at == token {
                return true;
            }
            at = self.tokens[at as usize].parent;
        }
        false
    }

    /// A refresh arrives.
    pub fn exchange(&mut self, token: Token, now_ms: u32) -> Answer {
        let state = self.tokens[token as usize];
        if self.dead_families >> state.family & 1 == 1 {
            return Answer::Refused;
        }
        if state.is_live {
            return self.rotate(token, now_ms).unwrap_or(Answer::Unavailable);
        }
        let grace = self.kind.grace_ms().is_some_and(|grace_ms| now_ms <= state.spent_at_ms + grace_ms);
        if grace && state.successor != NO_TOKEN && self.tokens[state.successor as usize].is_live {
            return match self.access(state.family) {
                Some(access) => Answer::Tokens { access, refresh: state.successor },
                None => Answer::Unavailable,
            };
        }
        self.replays += 1;
        if !state.window {
            self.unexcused = token;
        }
        if self.kind != Kind::Refuses {
            self.dead_families |= 1 << state.family;
        }
        Answer::Refused
    }

    fn rotate(&mut self, token: Token, now_ms: u32) -> Option<Answer> {
        let family = self.tokens[token as usize].family;
        let access = self.access(family)?;
        Some(match self.kind {
            Kind::SameToken => Answer::Tokens { access, refresh: token },
            Kind::Omits => Answer::Tokens { access, refresh: NO_TOKEN },
            kind => {
                let refresh = self.issue(family, token)?;
                let state = &mut self.tokens[token as usize];
                state.successor = refresh;
                state.spent_at_ms = now_ms;
                state.is_live = kind == Kind::OldStaysValid;
                Answer::Tokens { access, refresh }
            }
        })
    }

    fn issue(&mut self, family: u8, parent: Token) -> Option<Token> {
        let token = self.count;
        let state = self.tokens.get_mut(usize::from(token))?;
        *state = State { family, parent, is_live: true, ..NOTHING };
        self.count += 1;
        Some(token)
    }

    fn access(&mut self, family: u8) -> Option<Access> {
        let access = self.accesses;
        *self.access_families.get_mut(usize::from(access))? = family;
        self.accesses += 1;
        Some(access)
    }

    pub fn excuse(&mut self, token: Token) {
        if let Some(state) = self.tokens.get_mut(usize::from(token)) {
            state.window = true;
        }
    }
}
