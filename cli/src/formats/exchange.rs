//! What the protocols share: the question on standard input, the token, and the answer on standard
//! output.

use std::io::{self, Read};

use super::super::args::TokenArgs;
use super::super::failure::Failure;
use super::super::setup::{Obtained, Setup};
use super::super::{output, token};
use super::format::Format;
use lazaretto_host::{AccessToken, Keeper};

/// The most bytes that a question of these programs may have.
const LONGEST_QUESTION: u64 = 256 * 1024;

/// A valid token, and whether all that was received is saved. Its warning has been said.
pub(super) fn ask(setup: &Setup, args: &TokenArgs) -> Result<(AccessToken, Result<(), Failure>), Failure> {
    let Obtained { token, saved, .. } = setup.access_token(&args.request(), Keeper::token)?;
    token::warn(setup, &token);
    Ok((token, saved))
}

/// Prints what a token became, then says what could not be saved: the token is good all the same.
pub(super) fn answer(text: &str, saved: Result<(), Failure>) -> Result<(), Failure> {
    let printed = output::print(text);
    saved.and(printed)
}

/// What the other program writes to standard input.
pub(super) fn question(format: Format) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    let read = io::stdin().lock().take(LONGEST_QUESTION + 1).read_to_end(&mut bytes);
    read.map_err(|error| Failure::broken(format_args!("cannot read standard input: {error}")).coded("input"))?;
    let wrong = |what| Failure::usage(format_args!("--format {}: what came on standard input {what}", format.name()));
    if bytes.len() as u64 > LONGEST_QUESTION {
        return Err(wrong("is too long"));
    }
    String::from_utf8(bytes).map_err(|_| wrong("is not UTF-8"))
}

/// What was typed, for a test.
#[cfg(test)]
pub(super) fn typed(line: &str) -> TokenArgs {
    use super::super::args::{Arguments, Command};
    use clap::Parser;
    match Arguments::try_parse_from(line.split(' ')).map(|arguments| arguments.command) {
        Ok(Command::Token(args)) => args,
        other => panic!("{other:?}"),
    }
}
