//! A docker credential helper: the operation is the only argument, the question on standard input,
//! and the answer, errors too, on standard output, with exit code 1 for any error. docker knows
//! three errors by their exact words.
//!
//! <https://github.com/docker/docker-credential-helpers>, `credentials/credentials.go` and
//! `credentials/error.go`

use serde_json::{Map, Value, json};

use super::super::args::TokenArgs;
use super::super::failure::Failure;
use super::super::setup::Setup;
use super::super::{output, text};
use super::exchange;
use super::format::Format;
use super::host::{self, Host};

const NOT_FOUND: &str = "credentials not found in native keychain";
const NO_SERVER: &str = "no credentials server URL";
const NO_USERNAME: &str = "no credentials username";
/// What Google's registries want with an access token; others take any name.
const USUAL_NAME: &str = "oauth2accesstoken";
/// docker calls its own registry by this address, and every other by its host alone.
const DOCKER_HUB: (&str, &str) = ("index.docker.io", "https://index.docker.io/v1/");

pub(super) fn run(setup: &Setup, args: &TokenArgs) -> Result<(), Failure> {
    let done = match args.operation.as_deref().unwrap_or_default() {
        "get" => get(setup, args),
        "list" => output::print(&format!("{}\n", list(args))).map_err(Wrong::Failed),
        "store" => store(args),
        "erase" => erase(args),
        "version" => {
            let version = env!("CARGO_PKG_VERSION");
            output::print(&format!("docker-credential-lazaretto (lazaretto) {version}\n")).map_err(Wrong::Failed)
        }
        other => Err(Wrong::Said(format!("Unknown credential action `{other}`"))),
    };
    // docker reads standard output, and passes on what it does not know.
    done.map_err(|wrong| match wrong {
        Wrong::Failed(failure) if failure.is_silent() => failure,
        wrong => {
            let said = match wrong {
                Wrong::Said(said) => said,
                Wrong::Failed(failure) if failure.code() == "no-credential" => NOT_FOUND.to_owned(),
                // It shows one line.
                Wrong::Failed(failure) => {
                    let run = failure.command().map_or_else(String::new, |command| format!("; run: {command}"));
                    text::escape(&format!("{}{run}", failure.message))
                }
            };
            let printed = output::print(&format!("{said}\n"));
            printed.err().unwrap_or_else(|| Failure::broken(said).said())
        }
    })
}

enum Wrong {
    /// In docker's own words.
    Said(String),
    Failed(Failure),
}

fn known(word: &str) -> Wrong {
    Wrong::Said(word.to_owned())
}

fn get(setup: &Setup, args: &TokenArgs) -> Result<(), Wrong> {
    let question = exchange::question(Format::Docker).map_err(Wrong::Failed)?;
    let server = wanted(&question, args)?;
    let (token, saved) = exchange::ask(setup, args).map_err(Wrong::Failed)?;
    if let Err(unsaved) = saved {
        // The token is good all the same. With an error's exit code docker would show all of
        // standard output, it too.
        unsaved.print(setup.json);
    }
    let credentials = json!({ "ServerURL": server, "Username": name(args), "Secret": token.token });
    output::print(&format!("{credentials}\n")).map_err(Wrong::Failed)
}

fn name(args: &TokenArgs) -> &str {
    args.username.as_deref().unwrap_or(USUAL_NAME)
}

/// The server as it was asked for, if it is one that the token is for.
fn wanted<'a>(question: &'a str, args: &TokenArgs) -> Result<&'a str, Wrong> {
    let server = question.trim();
    if server.is_empty() {
        return Err(known(NO_SERVER));
    }
    let goes = Host::of_url(server).is_some_and(|(asked, is_plain)| host::may_go(&args.for_host, &asked, is_plain));
    if goes { Ok(server) } else { Err(known(NOT_FOUND)) }
}

fn list(args: &TokenArgs) -> Value {
    let server = |host: &Host| match host.to_string() {
        hub if hub == DOCKER_HUB.0 => DOCKER_HUB.1.to_owned(),
        host => host,
    };
    let servers: Map<String, Value> = args.for_host.iter().map(|host| (server(host), name(args).into())).collect();
    servers.into()
}

/// `docker login` would believe that what it hands over is kept.
fn store(args: &TokenArgs) -> Result<(), Wrong> {
    let question = exchange::question(Format::Docker).map_err(Wrong::Failed)?;
    let no_json = || Wrong::Said("what came on standard input is not JSON".to_owned());
    let login: Map<String, Value> = serde_json::from_str(&question).map_err(|_| no_json())?;
    for (member, missing) in [("ServerURL", NO_SERVER), ("Username", NO_USERNAME)] {
        if login.get(member).and_then(Value::as_str).is_none_or(str::is_empty) {
            return Err(known(missing));
        }
    }
    let provider = text::escape(&args.which.provider);
    Err(Wrong::Said(format!(
        "lazaretto does not take a password from docker: it gives docker the token of {provider}, and `docker login` is not needed"
    )))
}

fn erase(args: &TokenArgs) -> Result<(), Wrong> {
    let question = exchange::question(Format::Docker).map_err(Wrong::Failed)?;
    wanted(&question, args)?;
    let provider = text::escape(&args.which.provider);
    Err(Wrong::Said(format!(
        "lazaretto keeps this login for other programs too: end {provider}'s with lazaretto, not with `docker logout`"
    )))
}

#[cfg(test)]
mod tests {
    use super::super::exchange::typed;
    use super::*;

    const TYPED: &str = "lazaretto token a --format docker --for-host ghcr.io --for-host index.docker.io get";

    fn said(wrong: Result<&str, Wrong>) -> String {
        match wrong {
            Ok(server) => format!("ok {server}"),
            Err(Wrong::Said(said)) => said,
            Err(Wrong::Failed(failure)) => failure.message,
        }
    }

    #[test]
    fn a_server_is_known_by_its_host_however_it_is_written() {
        let args = typed(TYPED);
        for (question, wanted_) in [
            ("ghcr.io\n", "ok ghcr.io"),
            ("https://ghcr.io", "ok https://ghcr.io"),
            ("https://index.docker.io/v1/\n", "ok https://index.docker.io/v1/"),
            ("http://ghcr.io", NOT_FOUND),
            ("quay.io", NOT_FOUND),
            ("ghcr.io.evil.example", NOT_FOUND),
            ("user@ghcr.io", NOT_FOUND),
            (" \n", NO_SERVER),
        ] {
            assert_eq!(said(wanted(question, &args)), wanted_, "{question}");
        }
    }

    #[test]
    fn a_list_names_servers_as_docker_does() {
        let wanted = r#"{"ghcr.io":"oauth2accesstoken","https://index.docker.io/v1/":"oauth2accesstoken"}"#;
        assert_eq!(list(&typed(TYPED)).to_string(), wanted);
    }
}
