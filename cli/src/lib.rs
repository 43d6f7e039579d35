//! The `lazaretto` command. Whatever happens, a token goes to standard output only, and only where
//! one was asked for.
//!
//! | question | file |
//! |---|---|
//! | what can be typed, and what the help says | `args.rs` |
//! | which files are meant | `setup.rs` `open.rs` `known_vaults.rs` `elsewhere.rs` |
//! | whose they are, and whom root becomes | `owner.rs` |
//! | what a failure prints, and its exit code | `failure.rs` |
//! | what happens to events | `events.rs` |
//! | how text of others reaches a terminal safely | `text.rs` |
//! | colours, characters, widths, tables, times | `output.rs` `terminal.rs` `glyphs.rs` `table.rs` `time.rs` |
//! | what a person is told while a call waits | `waiting.rs` |
//! | the commands | `token.rs` `refresh.rs` `sweep/` `tally.rs` `need.rs` `words.rs` `status.rs` `doctor.rs` `operator.rs` `login.rs` `add.rs` `import.rs` `providers.rs` `classify.rs` `vaults.rs` `watch/` `demo/` |
//! | where a browser comes back to | `redirect.rs` |
//! | the page that it sees, and a code to scan | `page.rs` `qr.rs` |
//! | where secrets come in | `stdin.rs` `unseen.rs` |
//! | a token in another program's protocol | `formats/` |
//! | completions and manual pages | `manual.rs` `complete.rs` |
//! | new tokens that could be stored nowhere | `unsaved.rs` |
//! | what Ctrl-C and other signals do | `signals.rs` |
//! | what holds for the process from its first line on | `process.rs` |

#![cfg(not(target_arch = "wasm32"))]
#![deny(missing_docs)]
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may panic"))]

mod add;
mod args;
mod classify;
mod complete;
mod demo;
mod doctor;
mod elsewhere;
mod events;
mod failure;
mod formats;
mod glyphs;
mod import;
mod known_vaults;
mod login;
mod manual;
mod need;
mod open;
mod operator;
mod output;
mod owner;
mod page;
mod process;
mod providers;
mod qr;
mod redirect;
mod refresh;
#[cfg(test)]
mod screens;
mod setup;
mod signals;
mod status;
mod stdin;
mod sweep;
mod table;
mod tally;
mod terminal;
mod text;
mod time;
mod token;
mod unsaved;
mod unseen;
mod vaults;
mod waiting;
mod watch;
mod words;

use std::process::ExitCode;

use args::Command;
use failure::Failure;
use setup::Setup;

/// The whole command: reads the arguments, does what they say, and gives the exit code.
pub fn main() -> ExitCode {
    process::begin();
    if manual::complete() {
        return ExitCode::SUCCESS;
    }
    let args = match args::parse() {
        Ok(args) => args,
        Err(code) => return code,
    };
    let setup = Setup::new(args.global);
    match run(&setup, &args.command) {
        Ok(()) => {
            setup.events.finish(None);
            ExitCode::SUCCESS
        }
        Err(failure) => {
            setup.events.finish(Some(&failure.message));
            failure.print(setup.json);
            failure.exit.into()
        }
    }
}

fn run(setup: &Setup, command: &Command) -> Result<(), Failure> {
    match command {
        Command::Token(args) => formats::run(setup, args),
        Command::Refresh(args) => refresh::run(setup, args),
        Command::Status(args) => status::run(setup, args),
        Command::Doctor(args) => doctor::run(setup, args),
        Command::Unquarantine(which) => operator::unquarantine(setup, which),
        Command::Reset(which) => operator::reset(setup, which),
        Command::Login(args) => login::login(setup, args),
        Command::Logout(args) => login::logout(setup, args),
        Command::Add(args) => add::add(setup, args),
        Command::Remove(which) => add::remove(setup, which),
        Command::Import(args) => import::run(setup, args),
        Command::Providers(args) => providers::run(setup, args),
        Command::Classify(args) => classify::run(setup, args),
        Command::Demo(args) => demo::run(setup, args),
        Command::Watch(args) => watch::run(setup, args),
        Command::Vaults(args) => vaults::run(setup, args),
        Command::Completions(args) => manual::completions(args),
        Command::Man(args) => manual::man(args),
    }
}
