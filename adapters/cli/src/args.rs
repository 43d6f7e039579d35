//! What the user asked for, or what is wrong with it. No argument is repeated in a message: a token
//! may have slipped in.

/// How it is used.
pub const USAGE: &str = "\
lazaretto: OAuth access tokens that are good, from a vault in a folder that the host grants

usage: token <provider>     an access token on standard output; refreshed if need be
       refresh <provider>   another one than the vault holds, and what is known of it
       status [<provider>]  every credential
       reset <provider>     ends a pause: the next call may try once
       unquarantine <provider>
                            puts a quarantined credential back as it was
       classify             one answer of a token endpoint a line in, one judgement a line out

  --credential <id>   of a pool, by id or label; `login` is the provider's own
  --min-valid <s>     token: good for so many seconds more
  --session <name>    token, refresh: where the settings keep a session on its credential
  --json              one JSON object on standard output

environment: LAZARETTO_VAULT (auth.json), LAZARETTO_LAYOUT (as its name and content tell), LAZARETTO_PROVIDERS (none), LAZARETTO_ALLOWED_ORIGINS (all that the profiles name),
             LAZARETTO_COMMAND (lazaretto: what the commands that are proposed begin with), LAZARETTO_LOGIN_HINT (what a person runs to log in, {provider} stands for the provider),
             LAZARETTO_ALLOW_LOOPBACK_HTTP (1 for servers on this machine), LAZARETTO_EVENTS (off, errors, warnings, all; warnings),
             LAZARETTO_FOLDER_IS_PRIVATE (1: nobody else can read what is made in the vault's folder. Without it no token is written or sent)
failures:    one line on standard error that begins with what helps: `login:`, `retry:`, `configure:`, `inspect:` or `usage:`;
             with --json the member `action`
exit codes:  0 done, 1 failed. lazaretto-cli-exit-codes.wasm, for hosts with wasi:cli/exit 0.2.12: 1 inspect, 2 usage, 3 login, 4 retry, 5 configure
";

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// An access token.
    Token,
    /// Another access token.
    Refresh,
    /// Every credential.
    Status,
    /// The end of a pause.
    Reset,
    /// The end of a quarantine.
    Unquarantine,
    /// What answers mean.
    Classify,
    /// How it is used.
    Help,
    /// Which version this is.
    Version,
}

/// A command with what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// What to do.
    pub command: Command,
    /// With which provider.
    pub provider: Option<String>,
    /// With which of its credentials.
    pub credential: Option<String>,
    /// For whom.
    pub session: Option<String>,
    /// How long the token must be good.
    pub min_valid_s: u64,
    /// For a program.
    pub as_json: bool,
}

/// Reads the arguments, without the program's name.
///
/// # Errors
/// What is wrong, for a person.
pub fn parse(arguments: &[String]) -> Result<Asked, String> {
    let mut words = Vec::new();
    let mut asked = Asked {
        command: Command::Help,
        provider: None,
        credential: None,
        session: None,
        min_valid_s: 0,
        as_json: false,
    };
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let (name, inline) = match argument.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name, Some(value.to_owned())),
            _ => (argument.as_str(), None),
        };
        let mut value =
            || inline.clone().or_else(|| rest.next().cloned()).ok_or_else(|| format!("{name} needs a value"));
        match name {
            "--credential" => asked.credential = Some(value()?),
            "--session" => asked.session = Some(value()?),
            "--min-valid" => {
                asked.min_valid_s = value()?.parse().map_err(|_| "--min-valid needs a number of seconds".to_owned())?;
            }
            "--json" if inline.is_none() => asked.as_json = true,
            "--help" | "-h" => return Ok(Asked { command: Command::Help, ..asked }),
            "--version" | "-V" => return Ok(Asked { command: Command::Version, ..asked }),
            option if option.starts_with('-') => return Err("there is no such option".into()),
            _ => words.push(argument.clone()),
        }
    }
    let mut words = words.into_iter();
    asked.command = match words.next().as_deref() {
        Some("token") => Command::Token,
        Some("refresh") => Command::Refresh,
        Some("status") => Command::Status,
        Some("reset") => Command::Reset,
        Some("unquarantine") => Command::Unquarantine,
        Some("classify") => Command::Classify,
        Some("help") => Command::Help,
        Some(_) => {
            return Err(
                "there is no such command; there are token, refresh, status, reset, unquarantine and classify".into()
            );
        }
        None => return Err("a command is missing: token, refresh, status, reset, unquarantine or classify".into()),
    };
    asked.provider = words.next();
    let named = asked.provider.is_some();
    match asked.command {
        Command::Token | Command::Refresh | Command::Reset | Command::Unquarantine if !named => {
            Err("the provider is missing".into())
        }
        Command::Classify if named => Err("classify reads the provider from each line".into()),
        _ if words.next().is_some() => Err("there is a word too many".into()),
        _ => Ok(asked),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Asked, String> {
        parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn options_stand_anywhere_and_take_their_value_either_way() {
        let asked = parsed("--json token acme --credential=a --min-valid 60 --session s").unwrap();
        assert_eq!((asked.command, asked.provider.as_deref(), asked.min_valid_s), (Command::Token, Some("acme"), 60));
        assert_eq!(
            (asked.credential.as_deref(), asked.session.as_deref(), asked.as_json),
            (Some("a"), Some("s"), true)
        );
    }

    #[test]
    fn what_is_wrong_is_said_without_what_was_written() {
        for bad in [
            "",
            "s3cret",
            "token",
            "token a s3cret",
            "classify a",
            "token a --s3cret",
            "token a --min-valid s3cret",
            "status --credential",
        ] {
            let why = parsed(bad).unwrap_err();
            assert!(!why.contains("s3cret"), "{why}");
        }
        assert_eq!(parsed("--help").unwrap().command, Command::Help);
        for (line, command) in [("reset acme", Command::Reset), ("unquarantine acme", Command::Unquarantine)] {
            assert_eq!(parsed(line).unwrap().command, command);
            assert!(parsed(line.split(' ').next().unwrap()).is_err(), "of which provider?");
        }
    }
}
