//! The refresh protocol, proved by running the shipped code through every schedule it could meet: see `docs/proof.md`.
#![allow(unreachable_pub, reason = "a test has no public side")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

mod action;
mod check;
mod chooser;
mod compiled;
mod exhaustive;
mod mutants;
mod native;
mod outside;
mod schedule;
mod server;
mod session;
mod text;
mod world;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use compiled::{Component, Wrong};
use schedule::{Figures, Lab, Seed};
use session::Sessions;
use world::Flaw;

/// In how many orders each plan is run: the more, the more often a session's history comes up again.
const ORDERS: u64 = 1024;
/// How many schedules a mutant may survive.
const OF_A_MUTANT: u64 = 3_000_000;

#[test]
fn five_million_schedules_or_a_minute_of_them_break_nothing() {
    let begun = Instant::now();
    let seeds = schedule::seeds(number("LAZARETTO_PLAN", 0), ORDERS).take(5_000_000);
    let figures = run(seeds, Duration::from_secs(60));
    say(&figures.told(begun.elapsed()));
}

/// A million schedules about an entry that lies in one place break nothing.
#[test]
fn a_million_schedules_of_a_single_entry_break_nothing() {
    let begun = Instant::now();
    let first = schedule::FIRST_PLAN_ABOUT_AN_ENTRY + number("LAZARETTO_PLAN", 0);
    let figures = run(schedule::seeds(first, ORDERS).take(1_000_000), Duration::from_secs(20));
    say(&figures.told(begun.elapsed()));
}

/// Copies are put back, users log out and in, and servers forget the access token.
#[test]
fn a_million_schedules_of_wide_worlds_break_nothing() {
    let begun = Instant::now();
    let first = schedule::FIRST_WIDE_PLAN + number("LAZARETTO_PLAN", 0);
    let figures = run(schedule::seeds(first, ORDERS).take(1_000_000), Duration::from_secs(20));
    say(&figures.told(begun.elapsed()));
}

/// By hand, on every core: `LAZARETTO_SCHEDULES` of them, 200 million if it does not say.
#[test]
#[ignore = "many minutes; run by cargo xtask prove --long"]
fn two_hundred_million_schedules_break_nothing() {
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let (each, begun) = (number("LAZARETTO_SCHEDULES", 200_000_000) / cores, Instant::now());
    let first = number("LAZARETTO_PLAN", 0);
    let part = |core: u64| {
        let seeds = schedule::seeds(first + core * (each / ORDERS + 1), ORDERS).take(each as usize);
        std::thread::spawn(move || run(seeds, Duration::MAX))
    };
    let parts: Vec<_> = (0..cores).map(part).collect();
    let mut figures = Figures::default();
    parts.into_iter().for_each(|part| figures.add(part.join().expect("nothing is broken")));
    say(&figures.told(begun.elapsed()));
}

#[test]
fn what_was_broken_once_stays_mended() {
    run(schedule::known_seeds(), Duration::MAX);
}

#[test]
#[ignore = "minutes; run by cargo xtask prove"]
fn every_schedule_of_two_sessions_and_one_fault_holds() {
    let (mut all, begun) = (exhaustive::Explored::default(), Instant::now());
    for setting in exhaustive::small_worlds() {
        match exhaustive::explore(setting) {
            Ok(explored) => {
                all.states += explored.states;
                all.steps += explored.steps;
                all.schedules += explored.schedules;
            }
            Err((broken, path)) => panic!("{setting:?}: {broken:?} after\n{}", exhaustive::told(setting, &path)),
        }
    }
    let (schedules, states, steps) = (all.schedules, all.states, all.steps);
    let took = begun.elapsed();
    say(&format!("every one of {schedules} schedules: {states} states, {steps} steps between them, in {took:.1?}"));
}

#[test]
#[ignore = "many minutes; run by cargo xtask prove"]
fn every_mutant_is_caught() {
    let mut lines = Vec::new();
    for flaw in [
        Flaw::LeasesExcludeNobody,
        Flaw::StoresCompareNothing,
        Flaw::ClientSendsTwice,
        Flaw::StoresAreNotDurable,
        Flaw::ForeignLockIsIgnored,
    ] {
        let caught = schedule::first_broken(flaw, OF_A_MUTANT);
        let caught =
            caught.map(|(count, seed, broken)| format!("{count}  {}  (plan and order {seed})", broken.invariant));
        lines.push((format!("{flaw:?}"), caught));
    }
    // Two at a time.
    for pair in mutants::build(Path::new(env!("CARGO_MANIFEST_DIR"))).chunks(2) {
        let run = |(name, program): &(&'static str, PathBuf)| {
            let command = Command::new(program).arg(OF_A_MUTANT.to_string()).stdout(Stdio::piped()).spawn();
            (*name, command.expect("it runs"))
        };
        for (name, running) in pair.iter().map(run).collect::<Vec<_>>() {
            let ran = running.wait_with_output().expect("it ends");
            let caught = ran.status.success().then(|| String::from_utf8_lossy(&ran.stdout).trim().to_owned());
            lines.push((name.to_owned(), caught));
        }
    }
    say(&format!("{} mutants, and after how many schedules each was caught, by which invariant:", lines.len()));
    for (name, caught) in &lines {
        say(&format!("{name:>40}  {}", caught.as_deref().unwrap_or("NOT CAUGHT")));
    }
    let missed: Vec<_> = lines.iter().filter(|(_, caught)| caught.is_none()).map(|(name, _)| name).collect();
    assert!(missed.is_empty(), "not caught: {missed:?}");
}

/// The seeds are spread over plans. `LAZARETTO_COMPILED` asks for more of them.
#[test]
fn the_compiled_component_takes_the_native_codes_steps() {
    let (component, begun) = (Arc::new(Component::load()), Instant::now());
    let compared = compiled::compare(
        compiled::spread(number("LAZARETTO_COMPILED", 2_000)),
        64,
        |per_call| Sessions::forgetful().with_a_keeper_per_call(per_call),
        |per_call| component.sessions().with_a_keeper_per_call(per_call),
    );
    let compared = compared.unwrap_or_else(|difference| panic!("- native, + component: {difference}"));
    say(&compiled::told(&compared, &component, begun.elapsed()));
    let (all, missing) = compared.faults();
    assert_eq!(compared.kinds_and_errands(), (8, 5));
    assert!(missing.len() * 10 <= all, "too little went wrong: {missing:?} never did");
}

#[test]
fn a_host_that_differs_from_the_native_ports_is_found_out() {
    for wrong in [Wrong::Clock, Wrong::Event, Wrong::Random, Wrong::Forgets] {
        let difference = compiled::found_out(wrong).unwrap_or_else(|| panic!("nobody noticed {wrong:?}"));
        say(&format!("{wrong:?}: {}", difference.lines().next().unwrap_or_default()));
    }
}

#[test]
fn a_history_that_is_remembered_goes_on_as_one_that_is_run() {
    // Sixteen schedules of each plan, so that most of what they do is remembered.
    let seeds = (0..4_096).map(|number| Seed { plan: number / 16, order: number % 16 });
    let native = |sessions: Sessions, per_call| sessions.with_a_keeper_per_call(per_call);
    let compared = compiled::compare(
        seeds,
        512,
        |per_call| native(Sessions::forgetful(), per_call),
        |per_call| native(Sessions::default(), per_call),
    );
    let compared = compared.unwrap_or_else(|difference| panic!("- run, + remembered: {difference}"));
    say(&format!(
        "{} seeds remembered as they run: {} steps, {} of them by running the code",
        compared.seeds, compared.figures.steps, compared.figures.polls
    ));
}

/// Runs schedules until they are done or the time is up; one that breaks something is told step by step.
fn run(seeds: impl Iterator<Item = Seed>, at_most: Duration) -> Figures {
    let (mut lab, begun) = (Lab::default(), Instant::now());
    for (count, seed) in seeds.enumerate() {
        if let Err(broken) = lab.run(seed) {
            let mut telling = Lab::telling();
            let _ = telling.run(seed);
            let told = telling.trace.unwrap_or_default();
            panic!("seed {seed}: {} is broken: {}\n{told}", broken.invariant, broken.what);
        }
        if count % 4096 == 0 && begun.elapsed() > at_most {
            break;
        }
    }
    lab.finish()
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|number| number.parse().ok()).unwrap_or(default)
}

/// Past libtest, which keeps what a test prints.
fn say(text: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "{text}");
}
