//! Every order in which writers can take their steps, and every step at which one of them can stop
//! for good, on a disk in memory. What is run is the shipped code.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::problem::Problem;
use crate::replace::{Change, Disk, Outcome, Put, replace};
use crate::text::{Document, version_of};

#[derive(Default)]
struct World {
    document: Option<String>,
    prepared: BTreeMap<String, String>,
    /// Every text that the document ever was.
    history: Vec<Option<String>>,
}

struct Memory {
    world: Rc<RefCell<World>>,
    writer: usize,
    attempts: RefCell<usize>,
    most_attempts: usize,
    /// To see that the tests see it.
    forgets_to_look: bool,
}

/// A step of which others may come in front.
async fn step() {
    let mut is_ready = false;
    std::future::poll_fn(|_| if std::mem::replace(&mut is_ready, true) { Poll::Ready(()) } else { Poll::Pending })
        .await;
}

impl Disk for Memory {
    fn fresh_name(&self) -> String {
        *self.attempts.borrow_mut() += 1;
        format!("{}.{}", self.writer, self.attempts.borrow())
    }

    async fn prepare(&self, name: &str, text: &str, _: bool) -> Result<(), Problem> {
        // A file is there before it is whole.
        step().await;
        self.world.borrow_mut().prepared.insert(name.to_owned(), String::new());
        step().await;
        if let Some(file) = self.world.borrow_mut().prepared.get_mut(name) {
            text.clone_into(file);
        }
        Ok(())
    }

    async fn prepared(&self) -> Result<Vec<String>, Problem> {
        // Of what comes or goes while a folder is read nothing is promised: at its worst it is not
        // seen.
        step().await;
        let before: Vec<String> = self.world.borrow().prepared.keys().cloned().collect();
        step().await;
        let world = self.world.borrow();
        let seen = before.into_iter().filter(|name| world.prepared.contains_key(name));
        Ok(if self.forgets_to_look { Vec::new() } else { seen.collect() })
    }

    async fn discard(&self, name: &str) -> Result<(), Problem> {
        step().await;
        self.world.borrow_mut().prepared.remove(name);
        Ok(())
    }

    async fn permitted(&self) -> Result<(), Problem> {
        Ok(())
    }

    async fn read(&self) -> Result<Option<Document>, Problem> {
        step().await;
        Ok(self.world.borrow().document.clone().map(Document::new))
    }

    async fn put(&self, name: &str) -> Result<Put, Problem> {
        step().await;
        let mut world = self.world.borrow_mut();
        let Some(text) = world.prepared.remove(name) else {
            return Ok(Put::Gone);
        };
        world.history.push(Some(text.clone()));
        world.document = Some(text);
        Ok(Put::Done)
    }

    async fn settle(&self) -> Result<(), Problem> {
        Ok(())
    }

    async fn pause(&self) -> bool {
        *self.attempts.borrow() < self.most_attempts
    }
}

type Ended = Result<Outcome, Problem>;

fn writer(
    world: &Rc<RefCell<World>>,
    writer: usize,
    expected: Option<String>,
    most_attempts: usize,
    forgets_to_look: bool,
) -> Pin<Box<dyn Future<Output = Ended>>> {
    let disk = Memory { world: Rc::clone(world), writer, attempts: RefCell::default(), most_attempts, forgets_to_look };
    Box::pin(async move {
        let text = format!("text of {writer}");
        let change = Change { text: &text, expected: expected.as_deref(), is_synced: true, is_durable: true };
        replace(&disk, change).await
    })
}

/// What is tried.
#[derive(Clone, Copy)]
struct Case {
    writers: usize,
    /// How many of them may stop for good.
    stops: usize,
    attempts: usize,
    start: Option<&'static str>,
    is_blind: bool,
}

/// One run: `choose` says which of so many goes on at each step, or stops.
fn run(case: Case, mut choose: impl FnMut(usize) -> usize) -> Result<(), String> {
    let Case { writers, stops, attempts, start, is_blind } = case;
    let world = Rc::new(RefCell::new(World { document: start.map(str::to_owned), ..World::default() }));
    world.borrow_mut().history.push(start.map(str::to_owned));
    let expected = start.map(|text| version_of(text.as_bytes()));
    let mut running: Vec<_> =
        (0..writers).map(|at| Some(writer(&world, at, expected.clone(), attempts, is_blind))).collect();
    let mut ended: Vec<(usize, Ended)> = Vec::new();
    let mut stopped = 0;
    loop {
        let alive: Vec<usize> = (0..writers).filter(|at| running[*at].is_some()).collect();
        if alive.is_empty() {
            return judge(&world, &ended, stopped, writers);
        }
        // Each goes on; or each stops, as often as this run allows.
        let choice = choose(if stopped < stops { alive.len() * 2 } else { alive.len() });
        let at = alive[choice % alive.len()];
        if choice >= alive.len() {
            running[at] = None;
            stopped += 1;
            continue;
        }
        let Some(future) = &mut running[at] else { continue };
        if let Poll::Ready(outcome) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            running[at] = None;
            ended.push((at, outcome));
        }
    }
}

fn judge(world: &Rc<RefCell<World>>, ended: &[(usize, Ended)], stopped: usize, writers: usize) -> Result<(), String> {
    let history = world.borrow().history.clone();
    let stored = ended.iter().filter(|(_, ended)| matches!(ended, Ok(Outcome::Stored(_)))).count();
    let put = history.len() - 1;
    // All of them saw the same text: the second would have written over the first.
    if put > 1 {
        return Err(format!("lost: {history:?}"));
    }
    if stored > put || put > stored + stopped {
        return Err(format!("{stored} were told that they stored, {put} did"));
    }
    if history.last().is_some_and(|text| text.as_deref() == Some("")) {
        return Err("a text that was not whole".into());
    }
    // Whoever was not stopped and did not store was told so.
    for (at, outcome) in ended {
        match outcome {
            Ok(Outcome::Stored(version)) => {
                if world.borrow().document.as_deref().map(|text| version_of(text.as_bytes())).as_ref() != Some(version)
                {
                    return Err(format!("what {at} stored is gone"));
                }
            }
            Ok(Outcome::Stale(current)) if current.as_ref().map(|it| &it.text) == world.borrow().document.as_ref() => {}
            Err(problem) if problem.code == "unavailable" => {}
            other => return Err(format!("{at}: {other:?}")),
        }
    }
    // Whatever is left behind, the next one alone gets through, and leaves nothing.
    let expected = world.borrow().document.as_deref().map(|text| version_of(text.as_bytes()));
    let mut next = writer(world, writers, expected, 1, false);
    for _ in 0..100 {
        if let Poll::Ready(outcome) = pin!(&mut next).poll(&mut Context::from_waker(Waker::noop())) {
            let left = world.borrow().prepared.len();
            return match outcome {
                Ok(Outcome::Stored(_)) if left == 0 => Ok(()),
                other => Err(format!("the next one: {other:?}, {left} left behind")),
            };
        }
    }
    Err("the next one never ended".into())
}

/// Goes through all choices in order, as an odometer does, and returns how many runs there were.
fn explore(case: Case) -> Result<usize, String> {
    let mut choices: Vec<usize> = Vec::new();
    for runs in 1.. {
        let mut options = Vec::new();
        let verdict = run(case, |count| {
            options.push(count);
            choices.get(options.len() - 1).copied().unwrap_or(0)
        });
        verdict.map_err(|what| format!("{what}, with {choices:?}"))?;
        choices.resize(options.len(), 0);
        loop {
            let Some(last) = choices.pop() else { return Ok(runs) };
            if last + 1 < options[choices.len()] {
                choices.push(last + 1);
                break;
            }
        }
    }
    unreachable!("the choices end")
}

const TWO: Case = Case { writers: 2, stops: 0, attempts: 1, start: None, is_blind: false };

/// Of two writers that saw one text at most one writes in every order.
#[test]
fn of_two_writers_of_one_text_at_most_one_writes() {
    for start in [None, Some("before")] {
        let runs = explore(Case { start, ..TWO }).unwrap();
        assert!(runs > 10_000, "{runs}");
    }
}

#[test]
fn whoever_stops_at_whatever_step_stands_in_nobodys_way() {
    let runs = explore(Case { stops: 1, ..TWO }).unwrap();
    assert!(runs > 100_000, "{runs}");
}

/// Three writers that try again and may stop lose nothing in any order that chance finds.
#[test]
fn three_writers_in_random_order_lose_nothing() {
    let case = Case { writers: 3, stops: 2, attempts: 3, start: Some("before"), is_blind: false };
    // xorshift: the same runs each time.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for number in 0..100_000 {
        let verdict = run(case, |count| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let chance = (state >> 33) as usize;
            // A stop at one step of sixteen.
            if count > 3 && !chance.is_multiple_of(16) { (chance / 16) % (count / 2) } else { (chance / 16) % count }
        });
        verdict.unwrap_or_else(|what| panic!("{what}, in run {number}"));
    }
}

#[test]
fn the_model_sees_a_writer_that_keeps_the_others_texts() {
    assert!(explore(Case { is_blind: true, ..TWO }).unwrap_err().starts_with("lost"));
}
