//! What is made of the workspace and not by cargo alone.
//!
//! | command | what it makes |
//! |---|---|
//! | `cargo xtask stock` | `target/stock/lazaretto-stock.wasm`, `lazaretto-cli.wasm` and `lazaretto-cli-exit-codes.wasm`, which need nothing but WASI |
//! | `cargo xtask dist` | everything that is published, with checksums, in `dist/`. Nothing is uploaded |
//! | `cargo xtask dist --native` | and with it the command and the C library for this machine |
//! | `cargo xtask prove`, `prove --long` | nothing: it runs the long proofs |
//! | `cargo xtask reference`, `reference --check` | the last sections of `docs/providers.md` and `docs/errors.md`, from the types of the core |
//! | `cargo xtask house`, `house --check` | nothing: it measures the house rules, and checks them |
//! | `cargo xtask house --list <rule>` | nothing: it prints every place that breaks one rule |
//! | `cargo xtask house --lower` | `xtask/house.toml`, with every number that has become better |

use std::env;
use std::process::ExitCode;

mod builder;
#[path = "../../host/componentize.rs"]
mod componentize;
mod compose;
mod dist;
mod gate;
mod house;
mod metadata;
mod native;
mod parts;
mod prove;
mod reference;
mod stock;
mod workspace;

use workspace::{Result, root};

const USAGE: &str = "usage: cargo xtask stock | dist [--native] | prove [--long] | reference [--check] | house [--check | --lower | --list <rule>]";

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["stock"] => stock::run(),
        ["dist"] => dist::run(false),
        ["dist", "--native"] => dist::run(true),
        ["prove"] => prove::run(false),
        ["prove", "--long"] => prove::run(true),
        ["reference"] => reference::run(false),
        ["reference", "--check"] => reference::run(true),
        ["house"] => house::run(house::Mode::Print),
        ["house", "--check"] => house::run(house::Mode::Check),
        ["house", "--lower"] => house::run(house::Mode::Lower),
        ["house", "--list", rule] => house::list(rule),
        _ => Err(USAGE.into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
