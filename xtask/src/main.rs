//! What is made of the workspace and not by cargo alone.
//!
//! | command | what it makes |
//! |---|---|
//! | `cargo xtask stock` | `target/stock/lazaretto-stock.wasm`, `lazaretto-cli.wasm` and `lazaretto-cli-exit-codes.wasm`, which need nothing but WASI |
//! | `cargo xtask dist` | everything that is published, with checksums, in `dist/`. Nothing is uploaded |
//! | `cargo xtask dist --native` | and with it the command and the C library for this machine |
//! | `cargo xtask prove`, `prove --long` | nothing: it runs the long proofs |

use std::env;
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

mod builder;
#[path = "../../host/componentize.rs"]
mod componentize;
mod compose;
mod dist;
mod gate;
mod metadata;
mod native;
mod parts;
mod prove;
mod stock;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const USAGE: &str = "usage: cargo xtask stock | dist [--native] | prove [--long]";

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["stock"] => stock::run(),
        ["dist"] => dist::run(false),
        ["dist", "--native"] => dist::run(true),
        ["prove"] => prove::run(false),
        ["prove", "--long"] => prove::run(true),
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

/// The workspace.
fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().map_or(here.clone(), PathBuf::from)
}
