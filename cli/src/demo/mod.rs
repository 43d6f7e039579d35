//! `lazaretto demo`: the whole story on a server, a vault and processes of its own. What it claims
//! it checks.
//!
//! - `stage.rs`: the temporary directory, the files in it, and the processes that are started on
//!   them
//! - `story.rs`: the steps, readable in order
//! - `telling.rs`: how it is told, and what was checked

mod stage;
mod story;
mod telling;

use std::time::Instant;

use serde_json::json;

use super::args::DemoArgs;
use super::failure::Failure;
use super::setup::Setup;
use super::{output, terminal};
use lazaretto_testing::demo_server::{Behaviour, TokenServer};

use stage::Stage;
use story::Story;
use telling::Telling;

pub(super) fn run(setup: &Setup, args: &DemoArgs) -> Result<(), Failure> {
    let begun = Instant::now();
    let server =
        TokenServer::start(Behaviour { jwt_access_tokens: true, ..Behaviour::default() }).map_err(|error| {
            Failure::broken(format_args!("no authorization server can be started on 127.0.0.1: {error}"))
        })?;
    // Removed when it goes out of scope, however this ends.
    let stage = Stage::set(&server, args.keep)?;
    let directory = args.keep.then(|| stage.directory().display().to_string());
    let mut story = Story { server, stage, telling: Telling::new(setup.json), said: Vec::new() };
    let told = story.tell();
    let Story { server, telling, .. } = &story;
    let told = told.and_then(|()| match setup.json {
        false => telling.conclude(server.requests(), begun.elapsed()),
        true => {
            let json = json!({
                "ok": telling.failed() == 0,
                "checks": telling.checks(),
                "requests": server.requests(),
                "replays": server.replays(),
                "directory": directory,
            });
            output::print(&format!("{json}\n"))
        }
    });
    if let (Some(directory), false) = (&directory, setup.json) {
        terminal::complain(&format!("Kept: {directory}"));
    }
    told?;
    match telling.failed() {
        0 => Ok(()),
        failed => {
            Err(Failure::broken(format_args!("{failed} of {} checks failed", telling.checks().len())).coded("demo"))
        }
    }
}
