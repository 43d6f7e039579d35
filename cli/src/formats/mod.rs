//! A token as another program wants it: one file a protocol, each after its published description.
//! A token goes to standard output only, and only for a host that the user named.
//!
//! | format | protocol |
//! |---|---|
//! | `git-credential` | gitcredentials(7), git-credential(1) |
//! | `kubernetes` | <https://kubernetes.io/docs/reference/config-api/client-authentication.v1/> |
//! | `aws` | <https://docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html> |
//! | `docker` | <https://github.com/docker/docker-credential-helpers>, `credentials/credentials.go` |

mod aws;
mod docker;
mod exchange;
pub(super) mod format;
mod git;
pub(super) mod host;
mod kubernetes;

use super::args::TokenArgs;
use super::failure::Failure;
use super::setup::Setup;
use super::token;
use format::Format;

pub(super) fn run(setup: &Setup, args: &TokenArgs) -> Result<(), Failure> {
    check(args)?;
    match args.format {
        Format::Plain => token::plain(setup, args),
        Format::GitCredential => git::run(setup, args),
        Format::Kubernetes => kubernetes::run(setup, args),
        Format::Aws => aws::run(setup, args),
        Format::Docker => docker::run(setup, args),
    }
}

/// What was typed makes sense together.
fn check(args: &TokenArgs) -> Result<(), Failure> {
    let format = args.format.name();
    let asks = matches!(args.format, Format::GitCredential | Format::Docker);
    if let (false, Some(_)) = (asks, &args.operation) {
        return Err(Failure::usage(format_args!(
            "--format {format} takes nothing after the provider; only git-credential and docker name an operation there"
        )));
    }
    if asks && args.operation.is_none() {
        return Err(Failure::usage(format_args!(
            "--format {format} is for the program that asks: it adds the operation, for example `get`, and writes the \
             question to standard input"
        )));
    }
    if asks && args.for_host.is_empty() {
        return Err(Failure::usage(format_args!(
            "--format {format} needs --for-host: without it this token would go to any host that is asked for"
        )));
    }
    if !asks && args.format != Format::Kubernetes && !args.for_host.is_empty() {
        return Err(Failure::usage(format_args!(
            "--format {format} is never told a host, so --for-host cannot be kept"
        )));
    }
    if !asks && args.username.is_some() {
        return Err(Failure::usage(format_args!("--format {format} has no user name, so --username means nothing")));
    }
    if args.format != Format::GitCredential && args.bearer {
        return Err(Failure::usage("--bearer is for --format git-credential"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::exchange::typed;
    use super::*;

    #[test]
    fn a_token_that_is_for_a_host_is_never_given_without_one() {
        for line in [
            "lazaretto token a --format git-credential get",
            "lazaretto token a --format docker get",
            "lazaretto token a --format git-credential --for-host a.example",
            "lazaretto token a --format plain get",
            "lazaretto token a get",
            "lazaretto token a --format aws --for-host a.example",
            "lazaretto token a --for-host a.example",
            "lazaretto token a --format kubernetes --username u",
            "lazaretto token a --format docker --for-host a.example --bearer get",
        ] {
            assert_eq!(check(&typed(line)).unwrap_err().exit as u8, 2, "{line}");
        }
        for line in [
            "lazaretto token a",
            "lazaretto token a --format git-credential --for-host a.example --username u --bearer get",
            "lazaretto token a --format docker --for-host a.example list",
            "lazaretto token a --format kubernetes --for-host k.example:6443",
        ] {
            check(&typed(line)).unwrap();
        }
    }
}
