//! The scheduler over one mutant of the shipped code: says after how many schedules something was broken, and what.
#![allow(unreachable_pub, reason = "a test has no public side")]
#![allow(dead_code, reason = "the modules are those of the tests")]

mod action;
mod check;
mod chooser;
mod exhaustive;
mod native;
mod outside;
mod schedule;
mod server;
mod session;
mod text;
mod world;

fn main() {
    let at_most = std::env::args().nth(1).and_then(|number| number.parse().ok()).unwrap_or(1_000_000);
    if let Some((count, seed, broken)) = schedule::first_broken(world::Flaw::None, at_most) {
        println!("{count}  {}  (plan and order {seed})", broken.invariant);
    } else if let Some(broken) = exhaustive::first_broken() {
        println!("all of a small world  {}", broken.invariant);
    } else {
        std::process::exit(1);
    }
}
