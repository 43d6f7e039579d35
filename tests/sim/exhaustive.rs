//! Every schedule there is, of a small world. Schedules that come to the same state are one from there on: a state is the world and
//! where each session is in its history, and nothing else decides what can follow.

use std::hash::{Hash, Hasher};

use rustc_hash::{FxHashMap, FxHasher};

use super::action::Action;
use super::check::Broken;
use super::schedule::Lab;
use super::server::Kind;
use super::session::{About, Errand};
use super::world::{Running, Setting, World};

/// What there was.
#[derive(Clone, Copy, Debug, Default)]
pub struct Explored {
    pub states: u64,
    pub steps: u64,
    /// How many schedules pass through them.
    pub schedules: u128,
}

/// The same steps once more, in words.
pub fn told(setting: Setting, path: &[Action]) -> String {
    let (mut lab, mut running) = (Lab::telling(), Running::default());
    let mut world = World::new(setting, Default::default(), &lab.sessions);
    let _ = world.begin_all(&mut lab.sessions, &mut running);
    let all_done = path.iter().all(|action| lab.act(&mut world, *action, &mut running).is_ok());
    if all_done {
        let _ = lab.settle(&mut world, &mut running);
    }
    lab.trace.unwrap_or_default()
}

struct Search {
    lab: Lab,
    /// By state: how many schedules there are from it.
    known: FxHashMap<(u64, u64), u128>,
    steps: u64,
    path: Vec<Action>,
}

/// Two sessions and one fault at every server, with either kind of lease; and with others who write the vault beside them.
pub fn small_worlds() -> Vec<Setting> {
    let mut worlds = Vec::new();
    for kind in Kind::ALL {
        for leases_run_out in [true, false] {
            let world = Setting {
                kind,
                sessions: 2,
                faults: 1,
                meddling: 0,
                restarts: 0,
                leases_run_out,
                reads_may_be_stale: leases_run_out,
                is_shared: false,
                errands: [Errand::Token; 4],
                about: About::Login,
                is_wide: false,
            };
            worlds.push(world);
            if !leases_run_out {
                worlds.push(Setting { faults: 0, meddling: 2, is_shared: true, ..world });
            }
        }
    }
    // One session alone among others who do three things, with old reads and without.
    for (kind, reads_may_be_stale) in [(Kind::KillsTheFamily, true), (Kind::Refuses, false)] {
        worlds.push(Setting {
            kind,
            sessions: 1,
            faults: 1,
            meddling: 3,
            restarts: 0,
            leases_run_out: reads_may_be_stale,
            reads_may_be_stale,
            is_shared: true,
            errands: [Errand::Token; 4],
            about: About::Login,
            is_wide: false,
        });
    }
    // One that refreshes, in a wide world: a login that was ended and begun anew, and an old read of the vault.
    worlds.push(Setting {
        kind: Kind::KillsTheFamily,
        sessions: 1,
        faults: 1,
        meddling: 2,
        restarts: 0,
        leases_run_out: true,
        reads_may_be_stale: true,
        is_shared: false,
        errands: [Errand::Refresh; 4],
        about: About::Login,
        is_wide: true,
    });
    worlds.reverse();
    worlds
}

/// What is broken in any of them.
#[allow(dead_code, reason = "only mutants are broken")]
pub fn first_broken() -> Option<Broken> {
    small_worlds().into_iter().find_map(|world| explore(world).err()).map(|(broken, _)| broken)
}

pub fn explore(setting: Setting) -> Result<Explored, (Broken, Vec<Action>)> {
    let mut search = Search { lab: Lab::default(), known: FxHashMap::default(), steps: 0, path: Vec::new() };
    let mut world = World::new(setting, Default::default(), &search.lab.sessions);
    let mut running = Running::default();
    let begun = world.begin_all(&mut search.lab.sessions, &mut running);
    let schedules = begun.and_then(|()| search.from(&world)).map_err(|broken| (broken, search.path.clone()))?;
    Ok(Explored { states: search.known.len() as u64, steps: search.steps, schedules })
}

impl Search {
    fn from(&mut self, world: &World) -> Result<u128, Broken> {
        let key = key(world);
        if let Some(schedules) = self.known.get(&key) {
            return Ok(*schedules);
        }
        let (mut actions, mut faults) = (Vec::new(), Vec::new());
        world.ordinary(&self.lab.sessions, &mut actions);
        let may_rest = !actions.iter().any(|action| matches!(action, Action::Step(_) | Action::GiveUp(_)));
        world.faults(&self.lab.sessions, &mut faults);
        // Whatever goes wrong at rest goes wrong for nobody.
        if !may_rest {
            actions.append(&mut faults);
        }
        let mut schedules = 0;
        for action in actions {
            let mut next = world.clone();
            self.steps += 1;
            self.path.push(action);
            self.lab.act(&mut next, action, &mut Running::default())?;
            schedules += self.from(&next)?;
            self.path.pop();
        }
        if may_rest {
            self.lab.settle(&mut world.clone(), &mut Running::default())?;
            schedules += 1;
        }
        self.known.insert(key, schedules);
        Ok(schedules)
    }
}

/// Two hashes of a state: 128 bits, so that no two states of any run share them.
fn key(world: &World) -> (u64, u64) {
    let (mut one, mut other) = (FxHasher::default(), std::hash::DefaultHasher::new());
    world.hash(&mut one);
    world.hash(&mut other);
    (one.finish(), other.finish())
}
