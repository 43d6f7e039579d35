//! Every proof that `cargo test` leaves out for its length is run by one of these commands, and a
//! proof that fails ends the run.
//!
//! | tier | command | what it adds |
//! |---|---|---|
//! | 1 | `cargo test --workspace` | every invariant, the seeds that once broke something, a minute of random schedules |
//! | 2 | `cargo xtask prove` | mutants, every schedule of the small worlds, every case by every binding, short kill loops |
//! | 3 | `cargo xtask prove --long` | 100 million schedules, kill loops of ten minutes, fuzzing |

use std::env;
use std::process::Command;
use std::time::Instant;

use crate::{Result, root};

/// One command, and what it shows.
struct Proof {
    what: &'static str,
    /// For `cargo`; no argument has a space. `--workspace` and not `-p`, which selects other
    /// features and builds wasmtime once more.
    command: &'static str,
    environment: &'static [(&'static str, &'static str)],
}

const SHORT: &[Proof] = &[
    Proof {
        what: "every schedule of the small worlds; every mutant is caught",
        command: "test --workspace --test sim -- --ignored --nocapture --test-threads 1 every_schedule_of_two_sessions every_mutant_is_caught",
        environment: &[],
    },
    Proof {
        what: "every conformance case, by every way to run lazaretto",
        command: "test --workspace --test conformance -- --ignored",
        environment: &[],
    },
    Proof {
        what: "processes that are killed lose no login that a client could have kept",
        command: "test --workspace --test processes kills:: -- --ignored --test-threads 1",
        environment: &[("LAZARETTO_KILLS_MINUTES", "1")],
    },
    Proof {
        what: "lazaretto and hermes-agent at work on one vault",
        command: "test --workspace --test processes together:: -- --ignored",
        environment: &[("LAZARETTO_TOGETHER_SECONDS", "20")],
    },
];

const LONG: &[Proof] = &[
    Proof {
        what: "a hundred million schedules",
        command: "test --profile bench --workspace --test sim -- --ignored --nocapture two_hundred_million_schedules",
        environment: &[("LAZARETTO_SCHEDULES", "100000000")],
    },
    Proof {
        what: "kill loops, ten minutes at each of two servers",
        command: "test --release --workspace --test processes kills:: -- --ignored --nocapture --test-threads 1",
        environment: &[("LAZARETTO_KILLS_MINUTES", "10")],
    },
    Proof {
        what: "fuzzing: any answer",
        command: "fuzz run --fuzz-dir fuzz classify -- -max_total_time=600",
        environment: FUZZING,
    },
    Proof {
        what: "fuzzing: any vault, and edits of it",
        command: "fuzz run --fuzz-dir fuzz vault -- -max_total_time=600",
        environment: FUZZING,
    },
];

/// The pinned toolchain is a stable one; the sanitizers' flags need this.
const FUZZING: &[(&str, &str)] = &[("RUSTC_BOOTSTRAP", "1")];

/// Runs the proofs of tier 2, or with `is_long` those of tier 3.
///
/// # Errors
/// The first proof that fails.
pub(crate) fn run(is_long: bool) -> Result<()> {
    let proofs = if is_long { LONG } else { SHORT };
    if is_long {
        have_cargo_fuzz()?;
    }
    let begun = Instant::now();
    for proof in proofs {
        prove(proof)?;
    }
    println!("proved in {} s", begun.elapsed().as_secs());
    Ok(())
}

fn prove(proof: &Proof) -> Result<()> {
    println!("== {}", proof.what);
    let begun = Instant::now();
    let mut cargo = Command::new("cargo");
    // What the caller's environment says already goes before.
    let defaults = proof.environment.iter().filter(|(name, _)| env::var_os(name).is_none());
    cargo.args(proof.command.split(' ')).envs(defaults.copied()).current_dir(root());
    if !cargo.status()?.success() {
        return Err(format!("not shown: {}", proof.what).into());
    }
    println!("   shown in {} s", begun.elapsed().as_secs());
    Ok(())
}

fn have_cargo_fuzz() -> Result<()> {
    let is_there = Command::new("cargo").args(["fuzz", "--version"]).output().is_ok_and(|ran| ran.status.success());
    if is_there {
        return Ok(());
    }
    Err("`cargo fuzz` is not installed; run: cargo install cargo-fuzz".into())
}
