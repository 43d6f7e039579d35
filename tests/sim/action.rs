//! What can happen next in a world: what its sessions do by themselves, what others do, and everything that can go wrong.

use super::outside;
use super::server::{Answer, Kind, NO_TOKEN};
use super::session::{Call, Sessions};
use super::world::{Phase, World};

/// Something that can happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    Begin(u8),
    /// What a session asks for is done, as it should be.
    Step(u8),
    /// Its wait for a lease is over.
    GiveUp(u8),
    Crash {
        session: u8,
        done_first: bool,
    },
    FailToLoad(u8),
    StaleLoad(u8),
    FailToStore(u8),
    StoreUnknown {
        session: u8,
        stored: bool,
    },
    NoLease(u8),
    /// The network, for a request on its way.
    NotSent(u8),
    RequestLost(u8),
    RequestLate(u8),
    AnswerLost(u8),
    AnswerHalved(u8),
    /// The server forgets the access token.
    AccessOmitted(u8),
    Instead {
        session: u8,
        answer: Answer,
        arrives: bool,
    },
    /// The server spends the token and says that it could not.
    SpentAndFailed {
        session: u8,
        answer: Answer,
    },
    /// It refuses a live token.
    Slander(u8),
    /// A late request arrives after all.
    Arrive(u8),
    /// What each clock shows more than before, and how much time it really was.
    Pass {
        wall_ms: i32,
        mono_ms: u32,
        real_ms: u32,
    },
    MachineCrash,
    LedgerLost,
    Outside(outside::Act),
}

impl Action {
    /// Time passes, and every clock shows it.
    pub fn pass(ms: u32) -> Self {
        Self::Pass { wall_ms: ms as i32, mono_ms: ms, real_ms: ms }
    }

    pub fn is_fault(self) -> bool {
        !matches!(self, Self::Begin(_) | Self::Step(_) | Self::GiveUp(_) | Self::Arrive(_) | Self::Outside(_))
    }

    /// Whether it can keep a session from closing its intent.
    pub fn hits_the_storage(self) -> bool {
        use Action::{Crash, FailToLoad, FailToStore, MachineCrash, StaleLoad, StoreUnknown};
        matches!(
            self,
            Crash { .. } | MachineCrash | FailToLoad(_) | FailToStore(_) | StoreUnknown { .. } | StaleLoad(_)
        )
    }

    /// For counting.
    pub fn name(self) -> &'static str {
        match self {
            Self::Begin(_) => "begin",
            Self::Step(_) => "step",
            Self::GiveUp(_) => "wait over",
            Self::Crash { done_first: false, .. } => "crash before",
            Self::Crash { done_first: true, .. } => "crash after",
            Self::FailToLoad(_) => "load fails",
            Self::StaleLoad(_) => "stale load",
            Self::FailToStore(_) => "disk full",
            Self::StoreUnknown { stored: true, .. } => "store unknown, done",
            Self::StoreUnknown { stored: false, .. } => "store unknown, not done",
            Self::NoLease(_) => "lease refused",
            Self::NotSent(_) => "not sent",
            Self::RequestLost(_) => "request lost",
            Self::RequestLate(_) => "request late",
            Self::AnswerLost(_) => "answer lost",
            Self::AnswerHalved(_) => "half an answer",
            Self::AccessOmitted(_) => "no access token",
            Self::Instead { answer: Answer::SlowDown, .. } => "429",
            Self::Instead { answer: Answer::Page, .. } => "403 page",
            Self::Instead { arrives: true, .. } => "502 after",
            Self::Instead { .. } => "502 or 503 before",
            Self::SpentAndFailed { .. } => "spent, then failed",
            Self::Slander(_) => "live token refused",
            Self::Arrive(_) => "late request arrives",
            Self::Pass { wall_ms, .. } if wall_ms < 0 => "clock back",
            Self::Pass { real_ms: 0, .. } => "clock forward",
            Self::Pass { mono_ms: 0, .. } => "suspend",
            Self::Pass { .. } => "time passes",
            Self::MachineCrash => "machine crash",
            Self::LedgerLost => "ledger lost",
            Self::Outside(act) => act.name(),
        }
    }
}

impl World {
    /// Whether a session can go on by itself.
    fn can_step(&self, session: u8, sessions: &Sessions) -> bool {
        let process = &self.processes[usize::from(session)];
        match process.phase {
            Phase::Off | Phase::Ended => false,
            Phase::Sent { .. } | Phase::Answered { .. } => true,
            Phase::Asking => match sessions.call(process.at) {
                Call::Acquire { right, wait_ms, .. } => self.is_free(right) || wait_ms == 0,
                _ => true,
            },
        }
    }

    /// Everything that happens when nothing goes wrong.
    pub fn ordinary(&self, sessions: &Sessions, actions: &mut Vec<Action>) {
        self.steps(sessions, actions);
        self.more(sessions, actions);
    }

    /// Who can go on.
    pub fn steps(&self, sessions: &Sessions, actions: &mut Vec<Action>) {
        actions.clear();
        let all = 0..self.setting.sessions;
        actions.extend(all.clone().filter(|session| self.can_step(*session, sessions)).map(Action::Step));
        if actions.is_empty() {
            // Who waits for a lease that nobody will give back waits it out.
            let waits = |session: &u8| self.processes[usize::from(*session)].phase == Phase::Asking;
            actions.extend(all.filter(waits).map(Action::GiveUp));
        }
    }

    /// What else may happen.
    pub fn more(&self, sessions: &Sessions, actions: &mut Vec<Action>) {
        actions.extend((0..2).filter(|late| self.late[usize::from(*late)] != NO_TOKEN).map(Action::Arrive));
        if self.restarts_left > 0 {
            let over = |session: &u8| matches!(self.processes[usize::from(*session)].phase, Phase::Off | Phase::Ended);
            actions.extend((0..self.setting.sessions).filter(over).map(Action::Begin));
        }
        if self.meddling_left > 0 {
            outside::acts(self, sessions, actions);
        }
    }

    /// Everything that can go wrong now.
    pub fn faults(&self, sessions: &Sessions, actions: &mut Vec<Action>) {
        actions.clear();
        if self.faults_left == 0 {
            return;
        }
        for session in 0..self.setting.sessions {
            self.faults_of(session, sessions, actions);
        }
        self.faults_of_the_world(actions);
    }

    pub fn faults_of_the_world(&self, actions: &mut Vec<Action>) {
        actions.extend([12_000, 60_000, 4_000_000].map(Action::pass));
        // A clock set back, set forward, and a lid that was closed.
        actions.push(Action::Pass { wall_ms: -3_600_000, mono_ms: 0, real_ms: 0 });
        actions.push(Action::Pass { wall_ms: 90_000_000, mono_ms: 0, real_ms: 0 });
        actions.push(Action::Pass { wall_ms: 60_000, mono_ms: 0, real_ms: 60_000 });
        actions.push(Action::MachineCrash);
        if self.shelves[1].now.is_some() {
            actions.push(Action::LedgerLost);
        }
    }

    /// Everything that can go wrong for one session.
    pub fn faults_of(&self, session: u8, sessions: &Sessions, actions: &mut Vec<Action>) {
        let process = &self.processes[usize::from(session)];
        match process.phase {
            Phase::Off | Phase::Ended => {}
            Phase::Sent { .. } => {
                actions.push(Action::Crash { session, done_first: false });
                actions.push(Action::RequestLost(session));
                if self.late.contains(&NO_TOKEN) {
                    actions.push(Action::RequestLate(session));
                }
                for answer in [Answer::Unavailable, Answer::SlowDown, Answer::Page, Answer::BadGateway] {
                    actions.push(Action::Instead { session, answer, arrives: false });
                }
                actions.push(Action::Slander(session));
                if self.setting.kind == Kind::SpendsAndFails {
                    for answer in [Answer::SpentAndBadScope, Answer::Unavailable] {
                        actions.push(Action::SpentAndFailed { session, answer });
                    }
                }
            }
            Phase::Answered { answer, .. } => {
                actions.push(Action::Crash { session, done_first: false });
                actions.push(Action::AnswerLost(session));
                if matches!(answer, Answer::Tokens { .. }) {
                    actions.push(Action::AnswerHalved(session));
                }
                actions.push(Action::Instead { session, answer: Answer::BadGateway, arrives: true });
                if self.setting.is_wide && matches!(answer, Answer::Tokens { refresh, .. } if refresh != NO_TOKEN) {
                    actions.push(Action::AccessOmitted(session));
                }
            }
            Phase::Asking => {
                actions.push(Action::Crash { session, done_first: false });
                match sessions.call(process.at) {
                    Call::Load { .. } => {
                        actions.push(Action::FailToLoad(session));
                        if self.setting.reads_may_be_stale {
                            actions.push(Action::StaleLoad(session));
                        }
                    }
                    Call::Store { .. } => {
                        actions.push(Action::Crash { session, done_first: true });
                        actions.push(Action::FailToStore(session));
                        actions.push(Action::StoreUnknown { session, stored: false });
                        actions.push(Action::StoreUnknown { session, stored: true });
                    }
                    Call::Acquire { .. } => actions.push(Action::NoLease(session)),
                    Call::Send { .. } => actions.push(Action::NotSent(session)),
                    Call::Release { .. } | Call::Holder { .. } | Call::End(_) => {}
                }
            }
        }
    }
}
