//! The refresh protocol, proved by running the shipped code through every schedule it could meet: see `docs/proof.md`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

mod check;
mod chooser;
mod exhaustive;
mod mutants;
mod outside;
mod schedule;
mod server;
mod session;
mod text;
mod world;

use std::time::{Duration, Instant};

use schedule::{Figures, Lab};
use server::Kind;
use session::Errand;
use world::{Flaw, Setting};

/// Runs the schedules of seeds until they are done or the time is up; a schedule that breaks something is told step by
/// step.
fn run(seeds: impl Iterator<Item = u64>, at_most: Duration) -> Figures {
    let (mut lab, begun) = (Lab::default(), Instant::now());
    for seed in seeds {
        if let Err(broken) = lab.run(seed) {
            panic!("seed {seed}: {} is broken: {}\n{}", broken.invariant, broken.what, told(seed, Flaw::None));
        }
        if seed % 4096 == 0 && begun.elapsed() > at_most {
            break;
        }
    }
    lab.finish()
}

fn told(seed: u64, flaw: Flaw) -> String {
    let mut lab = Lab { flaw, ..Lab::telling() };
    let _ = lab.run(seed);
    lab.trace.unwrap_or_default()
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|number| number.parse().ok()).unwrap_or(default)
}

/// Past libtest, which keeps what a test prints.
fn say(text: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "{text}");
}

#[test]
fn five_million_schedules_or_a_minute_of_them_break_nothing() {
    let begun = Instant::now();
    let figures = run(number("LAZARET_SEED", 0).., Duration::from_secs(60));
    say(&figures.told(begun.elapsed()));
}

/// Seeds that once broke something.
#[test]
fn what_was_broken_once_stays_mended() {
    run(
        include_str!("seeds.txt").lines().filter_map(|line| line.split_whitespace().next()?.parse().ok()),
        Duration::MAX,
    );
}

#[test]
fn every_schedule_of_two_sessions_and_one_fault_holds() {
    let (mut all, begun) = (exhaustive::Explored::default(), Instant::now());
    for kind in Kind::ALL {
        for leases_run_out in [false, true] {
            let setting = Setting {
                kind,
                sessions: 2,
                faults: 1,
                meddling: 0,
                restarts: 0,
                leases_run_out,
                reads_may_be_stale: leases_run_out,
                is_shared: false,
                errands: [Errand::Token; 4],
            };
            match exhaustive::explore(setting) {
                Ok(explored) => {
                    all.states += explored.states;
                    all.steps += explored.steps;
                    all.schedules += explored.schedules;
                    say(&format!("{kind:?} {leases_run_out} {explored:?} {:?}", begun.elapsed()));
                }
                Err((broken, path)) => panic!("{setting:?}: {broken:?} after\n{}", exhaustive::told(setting, &path)),
            }
        }
    }
    say(&format!("every schedule of two sessions and one fault: {all:?} in {:.1?}", begun.elapsed()));
}

/// How many schedules a mutant may survive.
const OF_A_MUTANT: u64 = 3_000_000;

#[test]
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
        lines.push((format!("{flaw:?}"), caught.map(|(seed, broken)| format!("{} {}", seed + 1, broken.invariant))));
    }
    for (name, program) in mutants::build(std::path::Path::new(env!("CARGO_MANIFEST_DIR"))) {
        let ran = std::process::Command::new(program).arg(OF_A_MUTANT.to_string()).output().expect("it runs");
        let caught = ran.status.success().then(|| String::from_utf8_lossy(&ran.stdout).trim().to_owned());
        lines.push((name.to_owned(), caught));
    }
    say(&format!("{} mutants, and after how many schedules each was caught, by which invariant:", lines.len()));
    for (name, caught) in &lines {
        say(&format!("{name:>40}  {}", caught.as_deref().unwrap_or("NOT CAUGHT")));
    }
    let missed: Vec<_> = lines.iter().filter(|(_, caught)| caught.is_none()).map(|(name, _)| name).collect();
    assert!(missed.is_empty(), "not caught: {missed:?}");
}
