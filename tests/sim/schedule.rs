//! One schedule: a world, sessions in it, and who goes on when, until nobody does; then a fresh caller, for whom nothing
//! goes wrong any more.

use std::fmt::Write as _;
use std::hash::{Hash, Hasher};

use rustc_hash::{FxHashMap, FxHashSet, FxHasher};

use super::action::Action;
use super::check::{self, Broken};
use super::chooser::Chance;
use super::server::{Kind, NO_TOKEN, Token};
use super::session::{About, Call, Ended, Errand, Sessions};
use super::text::Tokens;
use super::world::{Flaw, MOST_SESSIONS, Phase, Running, Setting, World};

/// A session remembers this many points of histories before it starts anew.
const MOST_POINTS: usize = 4_000_000;

/// The place of the last caller.
const FRESH: usize = MOST_SESSIONS - 1;

/// Where schedules are run, and what they came to.
#[derive(Default)]
pub struct Lab {
    pub sessions: Sessions,
    pub figures: Figures,
    pub flaw: Flaw,
    pub actions: Vec<Action>,
    /// One line a step, if somebody wants to read it.
    pub trace: Option<String>,
}

/// What all schedules came to.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    pub schedules: u64,
    /// Of those, how many had nothing in them that excuses a loss.
    pub strict: u64,
    pub steps: u64,
    pub polls: u64,
    /// Of the processor, for all threads together.
    pub busy_s: f64,
    pub by_name: FxHashMap<&'static str, u64>,
    pub end_states: FxHashSet<u64>,
    /// How the last caller fared.
    pub ends: FxHashMap<&'static str, u64>,
}

impl Figures {
    /// For a person.
    pub fn told(&self, took: std::time::Duration) -> String {
        let (seconds, schedules) = (took.as_secs_f64(), self.schedules as f64);
        let mut by_name: Vec<_> = self.by_name.iter().chain(&self.ends).collect();
        by_name.sort();
        let mut told = format!(
            "{} schedules in {seconds:.1} s ({:.0} a second of one core's time): {} steps, {} of them by running the code; {} distinct end states; {:.1} % strict\n",
            self.schedules,
            schedules / self.busy_s,
            self.steps,
            self.polls,
            self.end_states.len(),
            100.0 * self.strict as f64 / schedules
        );
        for (name, count) in by_name {
            let _ = writeln!(told, "{count:>12}  {name}");
        }
        told
    }

    pub fn add(&mut self, other: Self) {
        self.schedules += other.schedules;
        self.strict += other.strict;
        self.steps += other.steps;
        self.polls += other.polls;
        self.busy_s += other.busy_s;
        self.end_states.extend(other.end_states);
        for (name, count) in other.by_name {
            *self.by_name.entry(name).or_default() += count;
        }
        for (name, count) in other.ends {
            *self.ends.entry(name).or_default() += count;
        }
    }
}

/// Which schedule: a plan, that is a setting and what is not as it should be, and an order, that is who goes on when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seed {
    pub plan: u64,
    pub order: u64,
}

impl std::fmt::Display for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.plan, self.order)
    }
}

/// Every plan from the first on, each in so many orders.
pub fn seeds(first_plan: u64, orders: u64) -> impl Iterator<Item = Seed> {
    (first_plan..).flat_map(move |plan| (0..orders).map(move |order| Seed { plan, order }))
}

const MOST_INCIDENTS: usize = 8;
/// From this plan on it is the entry that was added by itself which sessions ask for.
pub const FIRST_PLAN_ABOUT_AN_ENTRY: u64 = 1 << 40;
/// From this plan on worlds are wide: see [`Setting::is_wide`].
pub const FIRST_WIDE_PLAN: u64 = 1 << 41;

/// What is not as it should be in a schedule, and when.
#[derive(Clone, Debug)]
struct Plan {
    setting: Setting,
    /// Unfolds when a session has been answered so many times.
    incidents: [Incident; MOST_INCIDENTS],
    count: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Incident {
    session: u8,
    answers: u16,
    kind: IncidentKind,
    /// Which of all that can happen then.
    pick: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum IncidentKind {
    /// It has happened.
    #[default]
    Past,
    /// Something goes wrong for the session.
    Fault,
    /// Something goes wrong for it while its request, or the answer, is on its way.
    OnTheWay,
    /// Something goes wrong in the world.
    World,
    /// Somebody else does something, a session begins anew, or a late request arrives.
    Others,
}

impl Plan {
    fn new(chance: &mut Chance) -> Self {
        let errand = |chance: &mut Chance| match chance.below(8) {
            0..4 => Errand::Token,
            4 | 5 => Errand::Refresh,
            6 => Errand::TokenTwice,
            _ if chance.one_in(2) => Errand::Unquarantine,
            _ => Errand::Reset,
        };
        let leases_run_out = chance.one_in(3);
        let setting = Setting {
            kind: chance.of(&Kind::ALL),
            sessions: 2 + chance.below(3).min(1) as u8,
            faults: chance.of(&[0, 1, 1, 1, 2, 2, 3]),
            meddling: chance.of(&[0, 0, 0, 1, 2, 4]),
            restarts: chance.below(3) as u8,
            leases_run_out,
            reads_may_be_stale: leases_run_out && chance.one_in(3),
            is_shared: chance.one_in(2),
            errands: [errand(chance), errand(chance), errand(chance), errand(chance)],
            about: About::Login,
            is_wide: false,
        };
        Self::with(setting, chance)
    }

    /// Fewer sessions that want more, and others who do more.
    fn wide(chance: &mut Chance) -> Self {
        let errand =
            |chance: &mut Chance| chance.of(&[Errand::Refresh, Errand::Refresh, Errand::Refresh, Errand::Token]);
        let leases_run_out = chance.one_in(2);
        let setting = Setting {
            kind: chance.of(&Kind::ALL),
            sessions: 1 + chance.below(2) as u8,
            faults: chance.of(&[0, 1, 1, 2]),
            meddling: chance.of(&[0, 1, 2, 2, 3, 3]),
            restarts: 1 + chance.below(2) as u8,
            leases_run_out,
            reads_may_be_stale: leases_run_out && chance.one_in(2),
            is_shared: chance.one_in(4),
            errands: [errand(chance), errand(chance), errand(chance), errand(chance)],
            about: About::Login,
            is_wide: true,
        };
        Self::with(setting, chance)
    }

    fn with(setting: Setting, chance: &mut Chance) -> Self {
        let mut plan = Self { setting, incidents: Default::default(), count: 0 };
        for _ in 0..setting.faults {
            let kind = match chance.below(8) {
                0 | 1 => IncidentKind::World,
                2..5 => IncidentKind::OnTheWay,
                _ => IncidentKind::Fault,
            };
            plan.add(kind, chance);
        }
        for _ in 0..(setting.meddling + setting.restarts).min(5) {
            plan.add(IncidentKind::Others, chance);
        }
        plan
    }

    fn add(&mut self, kind: IncidentKind, chance: &mut Chance) {
        let session = chance.below(self.setting.sessions.into()) as u8;
        // Most of what a session asks, it asks in its first two dozen questions.
        let answers = chance.below(26) as u16;
        self.incidents[self.count] = Incident { session, answers, kind, pick: chance.next() as u32 };
        self.count += 1;
    }
}

impl Lab {
    /// One that tells what it does.
    pub fn telling() -> Self {
        Self { trace: Some(String::new()), ..Self::default() }
    }

    /// What it came to.
    pub fn finish(mut self) -> Figures {
        self.figures.polls += self.sessions.polls;
        self.figures.busy_s = busy_s();
        self.figures
    }

    /// Runs the schedule of a seed.
    pub fn run(&mut self, seed: Seed) -> Result<(), Broken> {
        if self.sessions.len() > MOST_POINTS {
            self.figures.polls += self.sessions.polls;
            self.sessions = Sessions::default();
        }
        let mut chance = Chance::new(seed.plan);
        let mut plan = if seed.plan >= FIRST_WIDE_PLAN { Plan::wide(&mut chance) } else { Plan::new(&mut chance) };
        if (FIRST_PLAN_ABOUT_AN_ENTRY..FIRST_WIDE_PLAN).contains(&seed.plan) {
            plan.setting.about = About::Entry;
        }
        // Plans and orders that follow each other must have nothing in common.
        let mut chance = Chance::new(Chance::new(!seed.plan).next() ^ seed.order);
        let mut world = World::new(plan.setting, self.flaw, &self.sessions);
        let mut running: Running = Default::default();
        if self.trace.is_some() {
            self.note(&format!("{plan:?}\n"));
        }
        world.begin_all(&mut self.sessions, &mut running)?;
        while let Some(action) = self.choose(&world, &mut plan, &mut chance) {
            self.act(&mut world, action, &mut running)?;
        }
        self.settle(&mut world, &mut running)?;
        self.figures.schedules += 1;
        self.figures.strict += u64::from(!world.is_excused);
        let mut hasher = FxHasher::default();
        (&world.shelves, &world.server).hash(&mut hasher);
        self.figures.end_states.insert(hasher.finish());
        Ok(())
    }

    /// Who goes on, or what goes wrong.
    fn choose(&mut self, world: &World, plan: &mut Plan, chance: &mut Chance) -> Option<Action> {
        let actions = &mut self.actions;
        world.steps(&self.sessions, actions);
        let step = (!actions.is_empty()).then(|| chance.of(actions));
        let (at, answers) = match step {
            Some(Action::Step(session) | Action::GiveUp(session)) => (Some(session), world.answers(session)),
            _ => (None, u16::MAX),
        };
        for incident in &mut plan.incidents[..plan.count] {
            // At rest, whatever is left to happen happens.
            let is_due = match incident.kind {
                IncidentKind::OnTheWay => {
                    let phase = world.processes[usize::from(incident.session)].phase;
                    matches!(phase, Phase::Answered { .. } | Phase::Sent { .. })
                        && incident.pick % 2 == answers as u32 % 2
                }
                _ => answers >= incident.answers,
            };
            let is_now = at.is_none() || at == Some(incident.session) && is_due;
            if incident.kind == IncidentKind::Past || !is_now {
                continue;
            }
            actions.clear();
            match incident.kind {
                IncidentKind::Past => {}
                IncidentKind::Fault | IncidentKind::OnTheWay => {
                    world.faults_of(incident.session, &self.sessions, actions)
                }
                IncidentKind::World => world.faults_of_the_world(actions),
                IncidentKind::Others => world.more(&self.sessions, actions),
            }
            incident.kind = IncidentKind::Past;
            if !actions.is_empty() {
                return Some(actions[(incident.pick / 2) as usize % actions.len()]);
            }
        }
        step
    }

    pub fn act(&mut self, world: &mut World, action: Action, running: &mut Running) -> Result<(), Broken> {
        self.figures.steps += 1;
        if !matches!(action, Action::Step(_)) {
            *self.figures.by_name.entry(action.name()).or_default() += 1;
        }
        if self.trace.is_some() {
            self.note_action(world, action);
        }
        let before = self.trace.as_ref().map(|_| world.processes.map(|process| process.at));
        let result = world.act(action, &mut self.sessions, running);
        if let Some(before) = before {
            self.note_events(world, before);
        }
        result
    }

    /// Nothing goes wrong any more: time passes, and a fresh caller comes.
    pub fn settle(&mut self, world: &mut World, running: &mut Running) -> Result<(), Broken> {
        check::at_rest(world, &self.sessions)?;
        (world.faults_left, world.meddling_left) = (0, 0);
        world.pass(7_200_000);
        let place = world.setting.about.places()[0];
        let is_there = self.sessions.texts.borrow().vault(world.vault()).places[place].exists;
        if !is_there {
            return self.ended("logged out");
        }
        // Which of two tokens is the later one, only dates tell.
        let good = self.can_be_refreshed(world) && !world.clock_went_back;
        let (mut sends, mut errand) = (0, Errand::Token);
        for _ in 0..4 {
            let ended = self.alone(world, errand, running)?;
            sends += world.sends(FRESH as u8);
            if sends > 2 {
                return Err(Broken::new("I8", format!("a fresh caller has sent {sends} requests")));
            }
            match ended {
                Ended::Token(access) if world.server.accepts(access) => return self.ended("a token"),
                Ended::Token(access) => {
                    return Err(Broken::new("I8", format!("a fresh caller got At_{access}, which is of no use")));
                }
                Ended::Done => errand = Errand::Token,
                Ended::Error { action: "retry", retry_after_s, .. } => {
                    world.pass(retry_after_s.unwrap_or(1).saturating_mul(1_000).min(600_000) as u32);
                }
                Ended::Error { action: "configure", .. } if errand != Errand::Reset => errand = Errand::Reset,
                Ended::Error { code, .. } if good => {
                    return Err(Broken::new(
                        "I8",
                        format!("the vault holds a live token, and a fresh caller got `{code}`"),
                    ));
                }
                Ended::Error { .. } => return self.ended("log in again"),
            }
        }
        if good { Err(Broken::new("I8", "a fresh caller never got a token".to_owned())) } else { self.ended("not yet") }
    }

    /// Whether the credential's places hold a token that the server would take, or one whose descendant can be found.
    fn can_be_refreshed(&self, world: &World) -> bool {
        let texts = self.sessions.texts.borrow();
        let places = texts.vault(world.vault()).places;
        let sealed = world.shelves[2].now.map(|text| texts.sealed(text)).unwrap_or_default();
        let own = world.setting.about.places().iter().filter_map(|place| places[*place].refresh);
        let own = own.fold(Tokens::default(), Tokens::with);
        // What was written over its successor by somebody who knows nothing of us leads nowhere.
        if own.iter().any(|own| world.outside.lost.iter().any(|lost| world.server.is_ancestor(own, lost))) {
            return false;
        }
        // Of a token that came back after its intent had stayed open, or after the ledger was lost, nobody can say whether
        // it was spent.
        let doubtful = |own: Token| world.unresolved.has(own) || world.forgotten.has(own);
        if own.iter().any(|own| doubtful(own) && world.server.tokens[usize::from(own)].window) {
            return false;
        }
        // Lineage is what the ledger knows of it.
        let spent = world.shelves[1].now.map(|text| texts.ledger(text)).unwrap_or_default().spent;
        drop(texts);
        world.stored_tokens(&self.sessions).iter().any(|token| {
            let state = &world.server.tokens[usize::from(token)];
            let is_reachable = own.has(token)
                || sealed.successors.has(token)
                || own.iter().any(|own| world.server.leads_through(own, token, spent));
            is_reachable
                && world.server.is_alive(token)
                && state.successor == NO_TOKEN
                && !state.slandered
                && !world.outside.has_left(state.family)
        })
    }

    fn ended(&mut self, how: &'static str) -> Result<(), Broken> {
        *self.figures.ends.entry(how).or_default() += 1;
        Ok(())
    }

    /// One session, and nobody else.
    fn alone(&mut self, world: &mut World, errand: Errand, running: &mut Running) -> Result<Ended, Broken> {
        world.only(FRESH as u8);
        if self.trace.is_some() {
            self.note(&format!("-- a fresh caller: {errand:?}\n"));
        }
        world.begin(FRESH as u8, errand, &mut self.sessions, &mut running[FRESH])?;
        loop {
            match world.processes[FRESH].phase {
                Phase::Ended => break,
                _ => {
                    let mut actions = std::mem::take(&mut self.actions);
                    world.steps(&self.sessions, &mut actions);
                    let action = actions.first().copied();
                    self.actions = actions;
                    let Some(action) = action else {
                        return Err(Broken::new("I8", "a fresh caller waits for ever".to_owned()));
                    };
                    self.act(world, action, running)?;
                }
            }
        }
        let Call::End(end) = self.sessions.call(world.processes[FRESH].at) else {
            return Err(Broken::new("I8", "a session ended without an end".to_owned()));
        };
        Ok(self.sessions.end(end).calls[0])
    }

    // ---- The trace.

    fn note(&mut self, line: &str) {
        if let Some(trace) = &mut self.trace {
            trace.push_str(line);
        }
        self.sessions.note(line);
    }

    fn note_action(&mut self, world: &World, action: Action) {
        let session = match action {
            Action::Step(session) | Action::GiveUp(session) | Action::StaleLoad(session) => Some(session),
            Action::Crash { session, .. } | Action::StoreUnknown { session, .. } => Some(session),
            Action::FailToLoad(session) | Action::FailToStore(session) | Action::NoLease(session) => Some(session),
            _ => None,
        };
        let asks = session.map(|session| {
            let process = &world.processes[usize::from(session)];
            match process.phase {
                Phase::Asking => describe(self.sessions.call(process.at), &self.sessions),
                phase => format!("{phase:?}"),
            }
        });
        self.note(&format!("{:>8} ms  {action:?}  {}\n", world.real_ms, asks.unwrap_or_default()));
    }

    fn note_events(&mut self, world: &World, before: [u32; MOST_SESSIONS]) {
        let mut lines = String::new();
        for (session, (process, before)) in world.processes.iter().zip(before).enumerate() {
            if process.at == before {
                continue;
            }
            for event in self.sessions.events(process.at) {
                let _ = writeln!(lines, "             {session} tells {}", self.sessions.texts.borrow().text(*event));
            }
            if let Call::End(end) = self.sessions.call(process.at) {
                let _ = writeln!(lines, "             {session} ends {:?}", self.sessions.end(end));
            }
        }
        self.note(&lines);
    }
}

/// A call, with what matters in its text.
fn describe(call: Call, sessions: &Sessions) -> String {
    use super::session::Doc;
    let texts = sessions.texts.borrow();
    match call {
        Call::Store { doc, text, expected, durable } => {
            let what = match doc {
                Doc::Vault => format!("{:?}", texts.vault(text).places.map(|place| (place.refresh, place.access))),
                Doc::Ledger => {
                    let ledger = texts.ledger(text);
                    let list = |tokens: super::text::Tokens| tokens.iter().collect::<Vec<_>>();
                    format!("dead {:?} spent {:?} open {:?}", list(ledger.dead), list(ledger.spent), list(ledger.open))
                }
                Doc::Sealed => format!("{:?}", texts.sealed(text)),
                _ => String::new(),
            };
            format!("Store {doc:?} {what} durable={durable} expected={expected:?}")
        }
        call => format!("{call:?}"),
    }
}

/// Schedules that once broke something.
pub fn known_seeds() -> impl Iterator<Item = Seed> {
    let lines = include_str!("seeds.txt").lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| {
        let mut numbers = line.split_whitespace().map(|number| number.parse().expect("a number"));
        Seed { plan: numbers.next().expect("a plan"), order: numbers.next().expect("an order") }
    })
}

/// How long this thread had a processor: what others do to the machine does not count.
fn busy_s() -> f64 {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    told.split(' ').next().and_then(|ns| ns.parse::<f64>().ok()).map_or(f64::NAN, |ns| ns / 1e9)
}

/// The first schedule that breaks something, and how many it took: of those that once did, then of plans in a few orders each.
pub fn first_broken(flaw: Flaw, at_most: u64) -> Option<(u64, Seed, Broken)> {
    let mut lab = Lab { flaw, ..Lab::default() };
    let numbered = (1..=at_most).zip(known_seeds().chain(seeds(0, 32)));
    numbered.into_iter().find_map(|(count, seed)| lab.run(seed).err().map(|broken| (count, seed, broken)))
}
