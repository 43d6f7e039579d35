//! Eight slots start `lazaretto` processes on one vault again and again, some are killed at random, and the server misbehaves. The
//! server is the referee: a login is lost only where no client could have kept it, and never once more.
//!
//! A login must be lost if the server has replaced its refresh token and the answer is gone: lost on the way, or with
//! the process that was killed before it could store it. These are the windows; the loop opens them on purpose, counts
//! them, and counts the lost logins. The two numbers must be equal. A server that gives a successor again, or that does not
//! rotate, loses none.
//!
//! The short loops run with all tests. The long ones, ten minutes for each server or as many as `LAZARETTO_KILLS_MINUTES` says:
//!
//! ```text
//! cargo test --release --workspace --test processes kills:: -- --ignored --nocapture --test-threads 1
//! ```
//!
//! `LAZARETTO_KILLS_SEED` is what the choices are made from. When the kernel runs which process is not in it.

mod chooser;
mod figures;
mod referee;
mod slots;

use std::env;
use std::time::{Duration, Instant};

use crate::oidc::OidcServer;
use lazaretto_testing::demo_server::{Behaviour, Rotation, TokenServer};
use referee::{Server, Window};
use slots::{CLIENT, Rig, Sharing};

fn seed() -> u64 {
    env::var("LAZARETTO_KILLS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_123)
}

/// Until so many processes have run, or so much time has passed.
enum Until {
    Processes(u64),
    Time(Duration),
}

/// The whole loop against one server.
fn play(name: &str, server: impl Server, sharing: Sharing, until: &Until) {
    let start = Instant::now();
    let rig = Rig::new(server, sharing, seed());
    let over = |processes| match until {
        Until::Processes(count) => processes >= *count,
        Until::Time(time) => start.elapsed() >= *time,
    };
    while !over(rig.run_until_at_rest()) {}
    println!("{name}, {sharing:?}, seed {}, {:.0?}: {}", seed(), start.elapsed(), rig.summary());
    rig.must_have_tried();
}

/// Half of it with a vault that is shared, half with one that is not.
fn play_at_loopback(until: impl Fn(Rotation) -> Until) {
    for (name, rotate, window) in BEHAVIOURS {
        for sharing in [Sharing::WithTheReference, Sharing::OursAlone] {
            let server = TokenServer::start(Behaviour { rotate, access_ttl_s: 2, ..Behaviour::default() });
            play(name, (server.expect("a port"), window), sharing, &until(rotate));
        }
    }
}

fn play_at_a_real_server(until: &Until) {
    for sharing in [Sharing::WithTheReference, Sharing::OursAlone] {
        let Some(server) = OidcServer::start_with(CLIENT, 2) else { return };
        play("oidc-provider", server, sharing, until);
    }
}

fn minutes() -> Duration {
    let minutes = env::var("LAZARETTO_KILLS_MINUTES").ok().and_then(|minutes| minutes.parse().ok()).unwrap_or(10.0);
    Duration::from_secs_f64(60.0 * minutes)
}

const BEHAVIOURS: [(&str, Rotation, Window); 4] = [
    ("ends the family on reuse", Rotation::RevokeFamilyOnReuse, Window::CostsTheLogin),
    ("refuses reuse", Rotation::RefuseReuse, Window::CostsTheLogin),
    ("gives the successor again", Rotation::Grace { window_ms: 3_600_000 }, Window::CostsNothing),
    ("does not rotate", Rotation::SameToken, Window::CostsNothing),
];

/// Killed processes lose a login only where no client could have kept it.
#[test]
fn kills_lose_a_login_only_where_no_client_could_keep_it() {
    play_at_loopback(|_| Until::Processes(80));
}

#[test]
fn killed_processes_lose_no_other_login_at_a_real_server() {
    play_at_a_real_server(&Until::Processes(80));
}

#[test]
#[ignore = "ten minutes; run by cargo xtask prove, one minute"]
fn for_a_long_time_at_the_loopback_server() {
    // Most of it where most can be lost.
    let share = |rotate| if rotate == Rotation::RevokeFamilyOnReuse { 0.2 } else { 0.1 };
    play_at_loopback(|rotate| Until::Time(minutes().mul_f64(share(rotate))));
}

#[test]
#[ignore = "ten minutes; run by cargo xtask prove, one minute"]
fn for_a_long_time_at_a_real_server() {
    play_at_a_real_server(&Until::Time(minutes() / 2));
}
