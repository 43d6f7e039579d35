//! The world that sessions live in: documents, leases, clocks, a network and a server; and everything that can go wrong
//! there. One step at a time, and after each one it says which invariant was broken.

use super::action::Action;
use super::check::{self, Broken};
use super::outside::{self, Outside};
use super::server::{Answer, Kind, NO_TOKEN, Server, Token};
use super::session::{About, At, BEGINNING_MS, Call, Doc, Ended, Errand, Live, Now, Reply, Right, Sessions, Start};
use super::text::{Text, Tokens};

pub const MOST_SESSIONS: usize = 4;
/// A session that asks more often than this is in a loop.
const MOST_CALLS: u16 = 400;

/// What stays the same during a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Setting {
    pub kind: Kind,
    pub sessions: u8,
    /// How many of the things that go wrong may.
    pub faults: u8,
    /// How many things others may do to the vault.
    pub meddling: u8,
    /// How often a session that has ended or died may be followed by another.
    pub restarts: u8,
    /// Leases run out, instead of ending with their process.
    pub leases_run_out: bool,
    /// A load may serve what was there before.
    pub reads_may_be_stale: bool,
    /// The vault is shared with the reference, and its lock is taken.
    pub is_shared: bool,
    pub errands: [Errand; MOST_SESSIONS],
    pub about: About,
    /// What the first plans do not have: somebody has a copy of the vault from the beginning and puts it back, also where the vault is
    /// ours alone; logs out and in again at any time; and a server forgets the access token. Whoever begins later
    /// has the errand of his place.
    pub is_wide: bool,
}

/// What is wrong with this world: mutants of it, to see that the checks see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Flaw {
    #[default]
    None,
    /// Every lease is granted to everybody.
    LeasesExcludeNobody,
    /// A store does not look at the version it expects.
    StoresCompareNothing,
    /// The HTTP client sends again by itself when no answer comes.
    ClientSendsTwice,
    /// A durable store of the vault is not.
    StoresAreNotDurable,
    /// The other program's lock is granted, but does not exclude it.
    ForeignLockIsIgnored,
}

/// One document: what is there, what a crash of the machine leaves, and what a stale read still sees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Shelf {
    pub now: Option<Text>,
    pub durable: Option<Text>,
    before: Option<Text>,
}

impl Shelf {
    pub fn put(&mut self, text: Option<Text>, durable: bool) {
        if text != self.now {
            self.before = self.now;
        }
        self.now = text;
        if durable {
            self.durable = text;
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Held {
    right: Right,
    by: u8,
    /// In real time; `u32::MAX`: until its holder ends.
    until_ms: u32,
}

/// Where a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// It was not begun, or it died.
    Off,
    /// What it asks for waits for an answer.
    Asking,
    /// Its request is on its way.
    Sent {
        token: Token,
        since_ms: u32,
        deadline_ms: u32,
    },
    /// Its answer is.
    Answered {
        token: Token,
        answer: Answer,
        since_ms: u32,
        deadline_ms: u32,
    },
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Process {
    pub at: At,
    pub phase: Phase,
    pub errand: Errand,
    number: u8,
    /// What it sent and got a successor for that is not stored yet.
    pub holding: Token,
    /// What it sent last.
    sent: Token,
    sends: u8,
    calls: u16,
    /// It slept when a lease could run out between its last check and the packet.
    overslept: bool,
    /// The tokens of the vault as it last saw it, since it last sent one.
    pub saw: Tokens,
    /// What waited in the sealed document when it last looked.
    pub saw_waiting: Tokens,
    /// When it last wrote to the ledger, in real time.
    noted_at_ms: u32,
}

/// A request whose sender is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Orphan {
    pub token: Token,
    /// One deadline after its intent, in real time.
    pub until_ms: u32,
}

const NO_ORPHAN: Orphan = Orphan { token: NO_TOKEN, until_ms: 0 };

impl Process {
    fn new(at: At, phase: Phase, errand: Errand, number: u8) -> Self {
        Self {
            at,
            phase,
            errand,
            number,
            holding: NO_TOKEN,
            sent: NO_TOKEN,
            sends: 0,
            calls: 0,
            overslept: false,
            saw: Tokens::default(),
            saw_waiting: Tokens::default(),
            noted_at_ms: 0,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    pub setting: Setting,
    pub flaw: Flaw,
    pub now: Now,
    /// How much time has passed, whatever the clocks show.
    pub real_ms: u32,
    pub shelves: [Shelf; 3],
    settings: Option<Text>,
    leases: Vec<Held>,
    pub server: Server,
    pub processes: [Process; MOST_SESSIONS],
    begun: [u8; MOST_SESSIONS],
    /// Requests whose sender has given up, and that may still arrive.
    pub late: [Token; 2],
    /// And those whose sender has died, with leases that run out.
    pub orphans: [Orphan; 2],
    pub outside: Outside,
    pub faults_left: u8,
    pub meddling_left: u8,
    pub restarts_left: u8,
    /// Something happened that lets a token be lost.
    pub is_excused: bool,
    /// A ledger was lost, or the vault was taken from under us: what was known of tokens may be gone.
    pub amnesia: bool,
    /// Tokens that a ledger which was lost knew something of.
    pub forgotten: Tokens,
    /// Tokens whose intent stayed open because a crash or the storage kept it from being closed.
    pub unresolved: Tokens,
    /// What is dated later need not be later any more.
    pub clock_went_back: bool,
    /// A wall clock has shown more or less than the time that passed.
    pub clock_lied: bool,
    /// Tokens whose holder slept while his lease could run out.
    pub slept: Tokens,
    /// Tokens of which an answer was lost: nobody knows what the server did.
    pub doubtful: Tokens,
    /// Tokens whose quarantine a person undid.
    pub pardoned: Tokens,
    /// Tokens that a session took out of use.
    pub buried: Tokens,
}

/// The code that runs behind each session, where it must be run.
pub type Running = [Option<Live>; MOST_SESSIONS];

impl World {
    pub fn new(setting: Setting, flaw: Flaw, sessions: &Sessions) -> Self {
        let (first, ours_alone) = sessions.first_texts();
        let settings = (!setting.is_shared).then_some(ours_alone);
        let vault = Shelf { now: Some(first), durable: Some(first), before: None };
        let process = Process::new(0, Phase::Off, Errand::Token, 0);
        Self {
            setting,
            flaw,
            now: Now { wall_ms: BEGINNING_MS, mono_ms: 1_000 },
            real_ms: 1_000,
            shelves: [vault, Shelf::default(), Shelf::default()],
            settings,
            leases: Vec::with_capacity(4),
            server: Server::new(setting.kind),
            processes: [process; MOST_SESSIONS],
            begun: [0; MOST_SESSIONS],
            late: [NO_TOKEN; 2],
            orphans: [NO_ORPHAN; 2],
            outside: if setting.is_wide { Outside::with_a_copy(first) } else { Outside::default() },
            faults_left: setting.faults,
            meddling_left: setting.meddling,
            restarts_left: setting.restarts,
            is_excused: false,
            amnesia: false,
            forgotten: Tokens::default(),
            unresolved: Tokens::default(),
            clock_went_back: false,
            clock_lied: false,
            slept: Tokens::default(),
            doubtful: Tokens::default(),
            pardoned: Tokens::default(),
            buried: Tokens::default(),
        }
    }

    pub fn vault(&self) -> Text {
        self.shelves[0].now.expect("nobody deletes the vault")
    }

    /// Nobody but one goes on.
    pub fn only(&mut self, session: u8) {
        self.setting.sessions = MOST_SESSIONS as u8;
        for other in (0..MOST_SESSIONS).filter(|other| *other != usize::from(session)) {
            self.processes[other].phase = Phase::Off;
        }
    }

    pub fn begin_all(&mut self, sessions: &mut Sessions, running: &mut Running) -> Result<(), Broken> {
        (0..self.setting.sessions).try_for_each(|session| {
            self.begin(
                session,
                self.setting.errands[usize::from(session)],
                sessions,
                &mut running[usize::from(session)],
            )
        })
    }

    pub fn begin(
        &mut self,
        session: u8,
        errand: Errand,
        sessions: &mut Sessions,
        live: &mut Option<Live>,
    ) -> Result<(), Broken> {
        // Whoever begins in the same place for the same time draws the same numbers: so that histories come up again.
        let number = session + 4 * self.begun[usize::from(session)];
        self.begun[usize::from(session)] += 1;
        let Setting { about, reads_may_be_stale, .. } = self.setting;
        let start = Start { number, errand, about, reads_may_be_stale };
        *live = None;
        let at = sessions.start(start, self.now, live);
        self.processes[usize::from(session)] = Process::new(at, Phase::Asking, errand, number);
        self.go_on(session, sessions, live)
    }

    pub fn act(&mut self, action: Action, sessions: &mut Sessions, running: &mut Running) -> Result<(), Broken> {
        if action.is_fault() {
            self.faults_left -= 1;
        }
        let result = self.happen(action, sessions, running);
        if action.hits_the_storage() {
            let ledger = self.shelves[1].now.map(|text| sessions.texts.borrow().ledger(text)).unwrap_or_default();
            self.unresolved = Tokens(self.unresolved.0 | ledger.open.0);
            if self.setting.is_wide {
                self.excuse_what_came_back(ledger.open, sessions);
            }
        }
        result
    }

    fn happen(&mut self, action: Action, sessions: &mut Sessions, running: &mut Running) -> Result<(), Broken> {
        match action {
            Action::Begin(session) => {
                self.restarts_left -= 1;
                let errand =
                    if self.setting.is_wide { self.setting.errands[usize::from(session)] } else { Errand::Token };
                self.begin(session, errand, sessions, &mut running[usize::from(session)])
            }
            Action::Step(session) => self.step(session, sessions, running),
            Action::GiveUp(session) => {
                let Call::Acquire { right, wait_ms, .. } = self.call(session, sessions) else { return Ok(()) };
                // Until the lease runs out, or the patience.
                let ends_ms = self.leases.iter().filter(|held| held.right == right).map(|held| held.until_ms).max();
                let left_ms = ends_ms.unwrap_or(0).saturating_sub(self.real_ms).min(wait_ms);
                self.pass(left_ms);
                let reply = if self.is_free(right) { self.grant(session, sessions) } else { Reply::Busy };
                self.answer(session, reply, sessions, running)
            }
            Action::Crash { session, done_first } => {
                if done_first {
                    let call = self.call(session, sessions);
                    self.perform(session, call, sessions)?;
                }
                self.crash(session);
                Ok(())
            }
            Action::FailToLoad(session) | Action::FailToStore(session) | Action::NoLease(session) => {
                self.excuse_what_cannot_be_sealed(session, sessions);
                self.answer(session, Reply::Failed, sessions, running)
            }
            Action::StaleLoad(session) => {
                let Call::Load { doc, known } = self.call(session, sessions) else { return Ok(()) };
                let text = self.shelf(doc).and_then(|shelf| self.shelves[shelf].before);
                self.answer(session, found(text, known), sessions, running)
            }
            Action::StoreUnknown { session, stored } => {
                self.excuse_what_cannot_be_sealed(session, sessions);
                if stored {
                    let call = self.call(session, sessions);
                    self.perform(session, call, sessions)?;
                }
                self.answer(session, Reply::Unknown, sessions, running)
            }
            Action::NotSent(session) => self.answer(session, Reply::NoAnswer { maybe_sent: false }, sessions, running),
            Action::RequestLost(session) => self.no_answer(session, sessions, running),
            Action::RequestLate(session) => {
                if let Phase::Sent { token, .. } = self.processes[usize::from(session)].phase
                    && let Some(free) = self.late.iter_mut().find(|late| **late == NO_TOKEN)
                {
                    *free = token;
                }
                self.no_answer(session, sessions, running)
            }
            Action::AnswerLost(session) => self.no_answer(session, sessions, running),
            Action::AnswerHalved(session) => {
                if let Phase::Answered { answer: Answer::Tokens { access, refresh }, .. } =
                    &mut self.processes[usize::from(session)].phase
                {
                    let half = Answer::Half { access: *access, refresh: *refresh };
                    self.excuse_what_is_sent(session);
                    return self.answer(session, Reply::Answered(half), sessions, running);
                }
                Ok(())
            }
            Action::AccessOmitted(session) => {
                if let Phase::Answered { token, answer: Answer::Tokens { refresh, .. }, .. } =
                    self.processes[usize::from(session)].phase
                {
                    self.hand_over(session, token, refresh);
                    return self.answer(session, Reply::Answered(Answer::NoAccess { refresh }), sessions, running);
                }
                Ok(())
            }
            Action::Instead { session, answer, .. } => {
                if !matches!(answer, Answer::SlowDown | Answer::Page) {
                    self.excuse_what_is_sent(session);
                }
                self.answer(session, Reply::Answered(answer), sessions, running)
            }
            Action::SpentAndFailed { session, answer } => {
                if let Phase::Sent { token, .. } = self.processes[usize::from(session)].phase {
                    self.server.exchange(token, self.real_ms);
                    self.excuse_what_is_sent(session);
                }
                self.answer(session, Reply::Answered(answer), sessions, running)
            }
            Action::Slander(session) => {
                if let Phase::Sent { token, .. } = self.processes[usize::from(session)].phase {
                    self.server.tokens[usize::from(token)].slandered = true;
                    self.is_excused = true;
                }
                self.answer(session, Reply::Answered(Answer::Refused), sessions, running)
            }
            Action::Arrive(late) => {
                let token = std::mem::replace(&mut self.late[usize::from(late)], NO_TOKEN);
                self.server.exchange(token, self.real_ms);
                check::server(self)
            }
            Action::Pass { wall_ms, mono_ms, real_ms } => {
                if real_ms > 0 {
                    self.sleep();
                }
                self.clock_went_back |= wall_ms < 0;
                self.clock_lied |= i64::from(wall_ms) != i64::from(real_ms);
                self.now.wall_ms = self.now.wall_ms.saturating_add_signed(wall_ms);
                self.now.mono_ms += mono_ms;
                self.real_ms += real_ms;
                Ok(())
            }
            Action::MachineCrash => {
                (0..self.setting.sessions).for_each(|session| self.crash(session));
                self.leases.clear();
                let spent =
                    self.shelves[1].now.map(|text| sessions.texts.borrow().ledger(text)).unwrap_or_default().spent;
                for shelf in &mut self.shelves {
                    shelf.now = shelf.durable;
                    shelf.before = None;
                }
                // The write that closed an intent need not survive; whoever has put the parent back since, has put it back
                // as if its answer were lost.
                let texts = sessions.texts.borrow();
                let open = self.shelves[1].now.map(|text| texts.ledger(text)).unwrap_or_default().open;
                for token in
                    texts.vault(self.vault()).tokens.iter().filter(|token| open.has(*token) && spent.has(*token))
                {
                    self.server.excuse(token);
                    self.is_excused = true;
                }
                Ok(())
            }
            Action::LedgerLost => {
                let known = self.shelves[1].now.map(|text| sessions.texts.borrow().ledger(text)).unwrap_or_default();
                self.forgotten = Tokens(self.forgotten.0 | known.spent.0 | known.dead.0 | known.open.0);
                self.shelves[1].put(None, true);
                // Whoever is about to send a spent token has no way to know any more.
                for token in 0..self.server.count {
                    self.server.excuse(token);
                }
                self.is_excused = true;
                self.amnesia = true;
                Ok(())
            }
            Action::Outside(act) => outside::act(self, act, sessions),
        }
    }

    fn step(&mut self, session: u8, sessions: &mut Sessions, running: &mut Running) -> Result<(), Broken> {
        match self.processes[usize::from(session)].phase {
            Phase::Sent { token, since_ms, deadline_ms } => {
                let answer = self.server.exchange(token, self.real_ms);
                check::server(self)?;
                let process = &mut self.processes[usize::from(session)];
                process.phase = Phase::Answered { token, answer, since_ms, deadline_ms };
                process.calls += 1;
                if self.flaw == Flaw::ClientSendsTwice && self.faults_left % 2 == 1 {
                    self.server.exchange(token, self.real_ms);
                    check::server(self)?;
                }
                Ok(())
            }
            Phase::Answered { token, answer, since_ms, deadline_ms } => {
                if self.real_ms - since_ms > deadline_ms {
                    // The client has given up.
                    return self.no_answer(session, sessions, running);
                }
                if let Answer::Tokens { refresh, .. } = answer {
                    self.hand_over(session, token, refresh);
                }
                self.answer(session, Reply::Answered(answer), sessions, running)
            }
            Phase::Asking => {
                let call = self.call(session, sessions);
                match call {
                    Call::Send { token, deadline_ms } => {
                        check::send(self, session, token, sessions)?;
                        if self.overslept(session) {
                            // Its lease may have run out, and somebody else may have gone on.
                            self.server.excuse(token);
                            self.is_excused = true;
                            self.slept = self.slept.with(token);
                        }
                        let process = &mut self.processes[usize::from(session)];
                        process.sends += 1;
                        // Its way there and its way back are steps of their own, at which something can go wrong.
                        process.calls += 1;
                        process.sent = token;
                        process.overslept = false;
                        process.saw = Tokens::default();
                        process.phase = Phase::Sent { token, since_ms: self.real_ms, deadline_ms };
                        Ok(())
                    }
                    call => {
                        let reply = self.perform(session, call, sessions)?;
                        self.answer(session, reply, sessions, running)
                    }
                }
            }
            Phase::Off | Phase::Ended => Ok(()),
        }
    }

    /// A parent that was put back before its intent could be closed: whoever finds it finds the intent of a token that was sent.
    fn excuse_what_came_back(&mut self, open: Tokens, sessions: &Sessions) {
        let there = sessions.texts.borrow().vault(self.vault()).tokens;
        for token in there.iter().filter(|token| open.has(*token)) {
            if self.server.tokens[usize::from(token)].successor != NO_TOKEN {
                self.server.excuse(token);
                self.is_excused = true;
            }
        }
    }

    /// No answer comes, and nobody can say what the server did.
    fn no_answer(&mut self, session: u8, sessions: &mut Sessions, running: &mut Running) -> Result<(), Broken> {
        self.excuse_what_is_sent(session);
        self.doubt_what_is_sent(session);
        self.answer(session, Reply::NoAnswer { maybe_sent: true }, sessions, running)
    }

    /// A session has a token's successor in hand; the server has said what became of that token.
    fn hand_over(&mut self, session: u8, token: Token, refresh: Token) {
        self.doubtful = self.doubtful.minus(Tokens::default().with(token));
        if refresh != NO_TOKEN && refresh != token {
            self.processes[usize::from(session)].holding = refresh;
        }
    }

    fn doubt_what_is_sent(&mut self, session: u8) {
        if let Phase::Sent { token, .. } | Phase::Answered { token, .. } = self.processes[usize::from(session)].phase {
            self.doubtful = self.doubtful.with(token);
        }
    }

    /// A successor that neither the vault nor the sealed document takes is only in its caller's hands.
    fn excuse_what_cannot_be_sealed(&mut self, session: u8, sessions: &Sessions) {
        let holding = self.processes[usize::from(session)].holding;
        let (Call::Load { doc, .. } | Call::Store { doc, .. }) = self.call(session, sessions) else { return };
        if holding != NO_TOKEN && doc == Doc::Sealed {
            let parent = self.server.tokens[usize::from(holding)].parent;
            self.server.excuse(parent);
            self.is_excused = true;
        }
    }

    fn excuse_what_is_sent(&mut self, session: u8) {
        if let Phase::Sent { token, .. } | Phase::Answered { token, .. } = self.processes[usize::from(session)].phase {
            self.server.excuse(token);
            self.is_excused = true;
        }
    }

    fn call(&self, session: u8, sessions: &Sessions) -> Call {
        sessions.call(self.processes[usize::from(session)].at)
    }

    fn shelf(&self, doc: Doc) -> Option<usize> {
        match doc {
            Doc::Vault => Some(0),
            Doc::Ledger => Some(1),
            Doc::Sealed => Some(2),
            Doc::Settings | Doc::Profiles => None,
        }
    }

    /// A call that ends at once.
    fn perform(&mut self, session: u8, call: Call, sessions: &Sessions) -> Result<Reply, Broken> {
        Ok(match call {
            Call::Load { doc, known } => match self.shelf(doc) {
                Some(shelf) => found(self.shelves[shelf].now, known),
                None if doc == Doc::Settings => found(self.settings, known),
                None => Reply::Absent,
            },
            Call::Store { doc, text, expected, durable } => {
                let shelf = self.shelf(doc).expect("only documents of a vault are stored");
                if self.shelves[shelf].now != expected && self.flaw != Flaw::StoresCompareNothing {
                    return Ok(Reply::Stale);
                }
                check::store(self, session, doc, text, sessions)?;
                if doc == Doc::Vault {
                    let texts = sessions.texts.borrow();
                    let (before, after) = (texts.vault(self.vault()).tokens, texts.vault(text).tokens);
                    let has_descendant = |gone: &Token| after.iter().any(|token| self.server.is_ancestor(*gone, token));
                    let buried = before.minus(after).iter().filter(|gone| !has_descendant(gone));
                    self.buried = buried.fold(self.buried.minus(after), Tokens::with);
                }
                let durable = durable && !(self.flaw == Flaw::StoresAreNotDurable && doc == Doc::Vault);
                self.shelves[shelf].put(Some(text), durable);
                if doc == Doc::Ledger {
                    self.processes[usize::from(session)].noted_at_ms = self.real_ms;
                }
                self.let_go_of_what_is_stored(session, sessions);
                Reply::Stored(text)
            }
            Call::Acquire { right, .. } if self.is_free(right) => self.grant(session, sessions),
            Call::Acquire { .. } => Reply::Busy,
            Call::Release { right } => {
                self.leases.retain(|held| held.by != session || held.right != right);
                Reply::Released
            }
            Call::Holder { right } if self.is_free(right) => Reply::Free,
            Call::Holder { .. } => Reply::Held,
            Call::Send { .. } | Call::End(_) => Reply::Failed,
        })
    }

    fn let_go_of_what_is_stored(&mut self, session: u8, sessions: &Sessions) {
        let held = self.processes[usize::from(session)].holding;
        if held != NO_TOKEN && self.stored_tokens(sessions).has(held) {
            self.processes[usize::from(session)].holding = NO_TOKEN;
        }
    }

    /// The tokens that can still be found: in the vault, or on their way to it.
    pub fn stored_tokens(&self, sessions: &Sessions) -> Tokens {
        let texts = sessions.texts.borrow();
        let sealed = self.shelves[2].now.map(|text| texts.sealed(text)).unwrap_or_default();
        Tokens(texts.vault(self.vault()).tokens.0 | sealed.successors.0)
    }

    /// Nothing has gone wrong, and nobody is in the middle of anything.
    pub fn is_quiet(&self) -> bool {
        let is_idle = |process: &Process| matches!(process.phase, Phase::Off | Phase::Ended);
        self.faults_left == self.setting.faults && self.processes.iter().all(is_idle)
    }

    pub fn is_free(&self, right: Right) -> bool {
        self.flaw == Flaw::LeasesExcludeNobody
            || !self.leases.iter().any(|held| held.right == right && self.real_ms < held.until_ms)
    }

    fn grant(&mut self, session: u8, sessions: &Sessions) -> Reply {
        let Call::Acquire { right, ttl_ms, .. } = self.call(session, sessions) else { return Reply::Failed };
        let until_ms = if self.setting.leases_run_out { self.real_ms + ttl_ms } else { u32::MAX };
        self.leases.retain(|held| held.right != right);
        self.leases.push(Held { right, by: session, until_ms });
        Reply::Granted { ttl_ms: if self.setting.leases_run_out { ttl_ms } else { 0 } }
    }

    /// Whether a session still has the lease on a grant.
    pub fn has_lease(&self, session: u8, token: Token) -> bool {
        let ours = |held: &Held| held.by == session && held.right == Right::Grant(token);
        self.leases.iter().any(|held| ours(held) && self.real_ms < held.until_ms)
    }

    fn answer(
        &mut self,
        session: u8,
        reply: Reply,
        sessions: &mut Sessions,
        running: &mut Running,
    ) -> Result<(), Broken> {
        let live = &mut running[usize::from(session)];
        self.move_on(session, reply, sessions, live);
        self.go_on(session, sessions, live)
    }

    fn move_on(&mut self, session: u8, reply: Reply, sessions: &mut Sessions, live: &mut Option<Live>) {
        self.see(session, reply, sessions);
        let process = &mut self.processes[usize::from(session)];
        process.at = sessions.answer(process.at, reply, self.now, live);
        process.phase = Phase::Asking;
        process.calls += 1;
        process.overslept = false;
    }

    /// What a session is shown of the vault and of what waits for it.
    fn see(&mut self, session: u8, reply: Reply, sessions: &Sessions) {
        let text = match (self.call(session, sessions), reply) {
            (Call::Load { doc, .. }, Reply::Found(text)) => (doc, Some(text)),
            (Call::Load { doc, known }, Reply::Unchanged) => (doc, known),
            (Call::Load { doc, .. }, Reply::Absent) => (doc, None),
            _ => return,
        };
        let (texts, process) = (sessions.texts.borrow(), &mut self.processes[usize::from(session)]);
        match text {
            (Doc::Vault, text) => process.saw = text.map(|text| texts.vault(text).tokens).unwrap_or_default(),
            (Doc::Sealed, text) => {
                process.saw_waiting = text.map(|text| texts.sealed(text).waiting).unwrap_or_default();
            }
            _ => {}
        }
    }

    /// What is of no interest to anybody else is answered at once.
    fn go_on(&mut self, session: u8, sessions: &mut Sessions, live: &mut Option<Live>) -> Result<(), Broken> {
        loop {
            let call = self.call(session, sessions);
            let calls = self.processes[usize::from(session)].calls;
            if calls > MOST_CALLS {
                return Err(Broken::new("I10", format!("session {session} has asked {calls} times")));
            }
            match call {
                Call::Load { doc: Doc::Settings | Doc::Profiles, .. } | Call::Release { .. } | Call::Holder { .. } => {
                    let reply = self.perform(session, call, sessions)?;
                    self.move_on(session, reply, sessions, live);
                }
                Call::End(end) => {
                    self.processes[usize::from(session)].phase = Phase::Ended;
                    if let Some(leak) = sessions.leak.take() {
                        return Err(Broken::new("I9", format!("a secret was told: {leak}")));
                    }
                    let ended = sessions.end(end).clone();
                    self.leases.retain(|held| held.by != session || held.until_ms != u32::MAX);
                    if self.processes[usize::from(session)].errand == Errand::Unquarantine
                        && ended.calls == [Ended::Done]
                    {
                        let texts = sessions.texts.borrow();
                        let places = texts.vault(self.vault()).places;
                        let back = places[self.setting.about.places()[0]].refresh;
                        self.pardoned = back.map_or(self.pardoned, |token| self.pardoned.with(token));
                    }
                    return check::end(self, session, &ended, sessions);
                }
                _ => return Ok(()),
            }
        }
    }

    fn crash(&mut self, session: u8) {
        let process = &mut self.processes[usize::from(session)];
        if matches!(process.phase, Phase::Off | Phase::Ended) {
            return;
        }
        let noted_at_ms = process.noted_at_ms;
        let phase = std::mem::replace(&mut process.phase, Phase::Off);
        let holding = std::mem::replace(&mut process.holding, NO_TOKEN);
        if holding != NO_TOKEN {
            let parent = self.server.tokens[usize::from(holding)].parent;
            self.server.excuse(parent);
            self.is_excused = true;
        }
        if let Phase::Sent { token, .. } | Phase::Answered { token, .. } = phase {
            self.server.excuse(token);
            self.is_excused = true;
            self.doubtful = self.doubtful.with(token);
            if let Phase::Sent { deadline_ms, .. } | Phase::Answered { deadline_ms, .. } = phase
                && self.setting.leases_run_out
                && let Some(free) = self.orphans.iter_mut().find(|orphan| orphan.until_ms <= self.real_ms)
            {
                *free = Orphan { token, until_ms: noted_at_ms + deadline_ms };
            }
            // The packet is out there, with nobody to hear the answer.
            if let (Phase::Sent { .. }, Some(free)) = (phase, self.late.iter_mut().find(|late| **late == NO_TOKEN)) {
                *free = token;
            }
        }
        // A lock ends with its holder; what runs out runs out.
        self.leases.retain(|held| held.by != session || held.until_ms != u32::MAX);
    }

    /// Who is between its last check and the durable write now, and whose lease can run out, may come too late.
    fn sleep(&mut self) {
        if !self.setting.leases_run_out {
            return;
        }
        for session in 0..self.setting.sessions {
            let process = self.processes[usize::from(session)];
            let on_its_way = match process.phase {
                Phase::Sent { token, .. } | Phase::Answered { token, .. } => token,
                _ if process.holding != NO_TOKEN => self.server.tokens[usize::from(process.holding)].parent,
                _ => NO_TOKEN,
            };
            if on_its_way != NO_TOKEN {
                self.slept = self.slept.with(on_its_way);
                self.server.excuse(on_its_way);
                self.is_excused = true;
            }
            self.processes[usize::from(session)].overslept |= process.phase == Phase::Asking;
        }
    }

    /// A session is about to send a token: whether it slept since its last look at the clock.
    pub fn overslept(&self, session: u8) -> bool {
        self.processes[usize::from(session)].overslept
    }

    /// How often a session has gone on: it was answered, or its request was.
    pub fn answers(&self, session: u8) -> u16 {
        self.processes[usize::from(session)].calls
    }

    pub fn holding(&self, session: u8) -> Token {
        self.processes[usize::from(session)].holding
    }

    /// What a session has sent last.
    pub fn sent(&self, session: u8) -> Token {
        self.processes[usize::from(session)].sent
    }

    pub fn sends(&self, session: u8) -> u8 {
        self.processes[usize::from(session)].sends
    }

    pub fn pass(&mut self, ms: u32) {
        self.now.wall_ms += ms;
        self.now.mono_ms += ms;
        self.real_ms += ms;
    }
}

fn found(text: Option<Text>, known: Option<Text>) -> Reply {
    match text {
        None => Reply::Absent,
        Some(text) if known == Some(text) => Reply::Unchanged,
        Some(text) => Reply::Found(text),
    }
}
