//! What can be typed. A secret is never an argument: arguments are seen by every process of the machine.

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;

use super::failure::{Exit, Failure};
use super::formats::format::Format;
use super::formats::host::Host;
use super::terminal;
use lazaretto_host::storage::VAULT;
use lazaretto_host::{Selector, TokenRequest};

/// Keeps OAuth credentials alive, and stops dead ones from being used again.
#[derive(Debug, Parser)]
#[command(name = "lazaretto", version, max_term_width = 100, arg_required_else_help = true, after_help = AFTER_HELP)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) command: Command,
}

const AFTER_HELP: &str = "\
Examples:
  lazaretto demo       see it work, on a server and a vault of its own
  lazaretto status     what is in the vault, and what to do about it
  lazaretto token xai  an access token, and nothing else, on standard output

Exit codes:
  0  done                            3  a person must log in
  1  input, output or internal       4  try again later
  2  wrong usage                     5  the configuration must change";

/// The commands as a person looks for them. What is in none of these groups is in the last.
const GROUPS: [(&str, &[&str]); 4] = [
    ("Use a credential", &["token", "refresh"]),
    ("Get and remove credentials", &["login", "logout", "add", "import", "remove", "providers"]),
    ("See and put right", &["status", "watch", "doctor", "reset", "unquarantine", "vaults"]),
    ("More", &["classify", "demo", "completions", "man", "help"]),
];

/// What every command takes, before or after its name.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Options of every command")]
pub(super) struct Global {
    /// The vault [default: $LAZARETTO_VAULT, or lazaretto/auth.json in the user's config directory]
    #[arg(long, global = true, value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub(super) vault: Option<PathBuf>,
    /// Which program's layout the vault is in, or the file that is imported, where it cannot be told for certain
    #[arg(long, global = true, value_name = "NAME")]
    pub(super) layout: Option<String>,
    /// Profiles of further providers [default: lazaretto/providers.json in the config directory, if there]
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) providers: Option<PathBuf>,
    /// Let a profile name a plain http address on this machine; for tests
    #[arg(long, global = true)]
    pub(super) allow_loopback_http: bool,
    /// Results, errors and events as JSON, one object a line
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// Log every decision to standard error; `status` also shows paths and sources
    #[arg(short, long, global = true)]
    pub(super) verbose: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Print a valid access token, refreshed if need be
    #[command(after_help = "\
Example:
  curl -H \"Authorization: Bearer $(lazaretto token xai)\" \\
    https://api.x.ai/v1/models

For other programs:
  plain           Claude Code, settings.json:
                    \"apiKeyHelper\": \"lazaretto token anthropic\"
  git-credential  git config credential.https://git.example.helper \\
                    '!lazaretto token acme --format git-credential \\
                      --for-host git.example'
  kubernetes      kubeconfig, users[].user.exec:
                    apiVersion: client.authentication.k8s.io/v1
                    command: lazaretto
                    args: [token, acme, --format, kubernetes]
                    interactiveMode: Never
  aws             ~/.aws/config:
                    credential_process = lazaretto token my-aws --format aws
                  for a key that is ID:SECRET, ID:SECRET:SESSION or JSON
  docker          ~/.docker/config.json:
                    \"credHelpers\": { \"ghcr.io\": \"lazaretto\" }
                  and on the PATH an executable docker-credential-lazaretto:
    #!/bin/sh
    exec lazaretto token github --format docker --for-host ghcr.io \"$@\"

With --json, one object:
  token           the access token
  token_type      Bearer, as a rule
  provider        the profile's id
  credential      an entry's id, or login
  expires_at      RFC 3339, UTC; null: not known, or never
  expires_at_ms   the same, in milliseconds since 1970
  picked          why this credential of several: see docs/protocol.md
  origin          stored, refreshed, adopted (another process did it), sealed
                  (not refreshed; the one before is still good) or api-key
  warning         null, or what a person should know
  run             null, or the command that helps against that

Warnings and events go to standard error. A token that is still good is printed without any request. On a terminal, what takes longer than a second is told of: a server that is asked, or another process that refreshes.

Ctrl-C, SIGTERM and SIGHUP wait for a refresh whose request has left: what comes back is stored first.")]
    Token(TokenArgs),
    /// Refresh once, although the token may still be good
    #[command(after_help = "\
Examples:
  lazaretto refresh openai-codex
  printf %s \"$REFUSED\" | lazaretto refresh xai --refused-from-stdin --print
  lazaretto refresh --all --due        for a timer

If another process has replaced the token meanwhile, its token is the result and nothing is sent. A refused access token never makes a login count as dead: only the token endpoint can end it.

With --all, every OAuth credential of the vaults that `lazaretto status --all` shows is refreshed; of one vault alone if --vault or $LAZARETTO_VAULT names it. Up to four are refreshed at a time, one of a provider, and one of a vault whose own lock every refresh holds: that is so unless the vault's settings say {\"shared_with_reference\": false}. Ctrl-C lets those under way be stored, and begins no more. With --json each line has its `vault` too.

Exit codes of --all, that of the worst:
  0  all are refreshed (--due: or need nothing)
  4  some could not be refreshed now; only time helps
  3  a person must log in; with --due also if a login was quarantined before
  5  the configuration must change
  1  a vault cannot be read or written, or a state is not known")]
    Refresh(RefreshArgs),
    /// Show every credential: is it usable, will it renew, what to do
    #[command(after_help = "\
Examples:
  lazaretto status
  lazaretto status nous --json
  lazaretto status --check || notify

Whoever needs a person comes first, API keys come last; in --json the order is that in which a pool picks. With --verbose the vault's path, sources and times of day are shown too. Reads only: no request, no write, no lock.

The exit code is 0 whenever every vault could be read. With --check it is that of the worst:
  0  every credential works, or will at the next call
  4  a credential is not usable now, and only time helps
  3  a person must log in
  5  the configuration must change
  1  a vault cannot be read, or a state is not known

With --json the same stands in the member `check`.")]
    Status(StatusArgs),
    /// Check the vault: what is wrong, and the command that mends it
    #[command(after_help = "\
Examples:
  lazaretto doctor
  lazaretto doctor --ask-servers
  lazaretto doctor --json |
    jq -r '.findings[] | select(.severity != \"ok\") | .fix // empty'

Reads only: nothing is mended by itself. Looked at is what the next `token`, `refresh` and `login` need: the rights of the files, links, \
locks and the disk; the vault, the ledger and what is sealed; every profile in providers.json; tokens that other programs put back; \
fields that were mistyped; clocks.

`fix:` is safe in any order with every other, and twice. `or:` deletes or risks something: decide yourself. The exit code is 1 if there is an error.")]
    Doctor(DoctorArgs),
    /// Put a quarantined credential back as it was
    #[command(after_help = "\
Example:
  lazaretto unquarantine xai-oauth

Servers sometimes refuse a live token by mistake. A quarantined one is kept sealed for seven days; this puts it back, and the next refresh sends it once more. If it really was revoked, nothing is gained. If it had been used before, a server that watches for reuse may end every login that came from it. When in doubt, log in again instead.")]
    Unquarantine(Which),
    /// End a pause or a hold, so that the next call may try once
    #[command(after_help = "\
Example:
  lazaretto reset openai-codex

A dead token stays dead: see `lazaretto unquarantine`.")]
    Reset(Which),
    /// Log in: a person approves in a browser
    #[command(after_help = "\
Examples:
  lazaretto login xai-oauth
  lazaretto login openai-codex --no-browser   the answer is pasted
  lazaretto login google --label work         a second account

The tokens become the provider's own login in the vault, in place of the one before; with --label they are kept beside it. By device code the browser may be on any machine. By loopback it is sent back to http://127.0.0.1:<a free port>/callback, or to the profile's `redirect_url`: register that with the server. What a provider offers, `lazaretto providers` says.

A server that gives no refresh token often wants the scope offline_access, and some \"prompt\": \"consent\" in `authorization.parameters`. A server on this machine without TLS needs --allow-loopback-http.

With --json: first one object with `login` (url, url_complete, user_code, expires_at), then the credential.")]
    Login(LoginArgs),
    /// Log out: revoke at the server, then remove from the vault
    #[command(after_help = "\
Example:
  lazaretto logout xai-oauth

Without --credential it is the provider's own login. If the server cannot be told, the tokens are removed all the same, and you are told: sign the device out on the provider's pages then.")]
    Logout(LogoutArgs),
    /// Add a key, or a login's tokens, from standard input
    #[command(after_help = "\
Examples:
  lazaretto add openrouter                    asks for the key
  lazaretto add anthropic --label work < key.txt
  lazaretto add anthropic --label work --replace < new.txt
  aws sts assume-role ... | lazaretto add my-aws --replace
  echo '{\"access_token\":\"...\",\"refresh_token\":\"...\",\"expires_in\":3600}' |
    lazaretto add acme

Of a JSON object these members are kept: access_token (or token), refresh_token, expires_in (or expires_at, expiry), scope, token_type, id_token. client_id, client_secret and token_uri must be as the profile has them. Others are named and not kept. A key that is JSON itself, as AWS keys are, is kept as it is: with --api-key, or where it has AccessKeyId and SecretAccessKey.

A secret is never an argument. The vault is made if there is none, for you alone (0600). Tokens of an account that is there already take the place of its old ones. Take care that no other program goes on refreshing the same login.")]
    Add(AddArgs),
    /// Remove a credential from the vault, and what is sealed of it
    #[command(after_help = "\
Example:
  lazaretto remove xai-oauth --credential work

Nothing is sent. It needs no --credential where the provider has only one. What another program found somewhere and would put back is suppressed by its source.")]
    Remove(Which),
    /// Use the login of another tool's own file: in place, or taken out
    #[command(after_help = "\
Examples:
  lazaretto import ~/.codex/auth.json
  lazaretto import ~/.claude/.credentials.json --move

Known are the files of Codex CLI, Claude Code, Gemini CLI, Qwen Code and opencode, and hermes-agent's shared Nous and own Anthropic login, under their own names and in their own folders; of a copy elsewhere, state the layout with --layout.

Without --move nothing is copied: the file is a vault as it is, that tool goes on using it, and both see what the other refreshed. With --move the login is stored in the vault first and then erased from the file; interrupted, the same command completes it. There is no way back: to hand a login back, log in with that tool, then `lazaretto logout` here.")]
    Import(ImportArgs),
    /// List the providers that are known, or show how to log in to one
    #[command(after_help = "\
Examples:
  lazaretto providers
  lazaretto providers google
  lazaretto providers --json

Known are the built-in profiles and those of your providers.json, which is in lazaretto's config directory or where --providers says. Of one that offers no login it says why, and what to write into that file. Nothing is sent, and no secret is shown.

With --json: one object with `file` and `providers`.")]
    Providers(ProvidersArgs),
    /// Judge token endpoint answers: JSON lines in, JSON lines out
    #[command(after_help = "\
In:
  {\"id\", \"provider\", \"status\", \"headers\", \"body\", \"transport_error\"}
Out:
  {\"id\", \"verdict\", \"code\", \"rule\", \"retry_after_s\", \"summary\"}

The verdict is one of: refreshed terminal interaction config transient unknown. What is not known is null.

Example:
  echo '{\"status\":400,\"body\":\"{\\\"error\\\":\\\"invalid_grant\\\"}\"}' |
    lazaretto classify --explain

A line that cannot be read ends it with exit code 2; the lines before it are answered. No vault is needed.")]
    Classify(ClassifyArgs),
    /// See the whole story, on a server and a vault of its own
    #[command(after_help = "\
Nothing of yours is read or written: the server listens on this machine only, and the vault lies in a temporary directory. The exit code is 0 if all that was checked is so, and 1 otherwise.")]
    Demo(DemoArgs),
    /// Watch all known vaults: times running down, and what happens
    #[command(after_help = "\
Examples:
  lazaretto watch
  lazaretto watch --interval 0.2

Shows the vault in use and those of `lazaretto vaults`. Reads only: no request, no write, no lock. Whoever changes a vault, what happened is shown: refreshed, quarantined, paused, added, removed.

Keys: q quits, ? shows what the words mean; arrows, Page Up, Page Down, g and G select a credential, and what it needs stands at the bottom.")]
    Watch(WatchArgs),
    /// List, add or remove the vaults that are known
    #[command(after_help = "\
Examples:
  lazaretto vaults
  lazaretto vaults add ~/.codex/auth.json
  lazaretto vaults remove ~/.codex/auth.json

`status --all`, `refresh --all` and `watch` use them. The list is vaults.json in lazaretto's config directory. No vault is changed by it.")]
    Vaults(VaultsArgs),
    /// Print a completion script for a shell
    #[command(after_help = "\
Examples, for the file that your shell reads at its start:
  source <(lazaretto completions bash)
  source <(lazaretto completions zsh)
  lazaretto completions fish | source

In these three the script asks `lazaretto` what to offer, so that it knows the providers and credentials that are in your vaults. In the others commands and options are completed.")]
    Completions(CompletionsArgs),
    /// Print a manual page, in roff
    #[command(after_help = "\
Examples:
  lazaretto man | man -l -
  lazaretto man token | man -l -
  lazaretto man --into /usr/local/share/man/man1")]
    Man(ManArgs),
}

/// One credential.
#[derive(Debug, Args)]
pub(super) struct Which {
    /// A provider's id or alias, for example xai-oauth, openai-codex, nous, anthropic
    pub(super) provider: String,
    /// A credential's id or label, or `login` for the provider's own login [default: the first that fits]
    #[arg(long, value_name = "ID")]
    pub(super) credential: Option<String>,
}

impl Which {
    pub(super) fn request(&self) -> TokenRequest {
        TokenRequest { credential: self.credential.clone(), ..TokenRequest::new(VAULT, self.provider.clone()) }
    }

    pub(super) fn selector(&self) -> Selector {
        Selector { vault: VAULT.into(), provider: self.provider.clone(), credential: self.credential.clone() }
    }
}

#[derive(Debug, Args)]
pub(super) struct TokenArgs {
    #[command(flatten)]
    pub(super) which: Which,
    /// Refresh it unless it is good for so many seconds more
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    pub(super) min_valid: u64,
    /// Output format
    #[arg(long, value_enum, default_value_t)]
    pub(super) format: Format,
    /// The host that the token is for, and no other gets it; may be repeated [git-credential, docker, kubernetes]
    #[arg(long, value_name = "HOST[:PORT]", value_parser = Host::parse)]
    pub(super) for_host: Vec<Host>,
    /// The user name beside the token [git-credential: the one git asks for, or oauth2; docker: oauth2accesstoken]
    #[arg(long, value_name = "NAME", value_parser = user_name)]
    pub(super) username: Option<String>,
    /// git-credential: a bearer header, although the server takes passwords too; needs git 2.46
    #[arg(long)]
    pub(super) bearer: bool,
    /// What git or docker adds: get, store, erase, list
    #[arg(value_parser = operation)]
    pub(super) operation: Option<String>,
}

impl TokenArgs {
    pub(super) fn request(&self) -> TokenRequest {
        TokenRequest { min_valid_s: self.min_valid, ..self.which.request() }
    }
}

/// A short word. Not a longer one: that may be a token, which was meant to come another way.
fn operation(word: &str) -> Result<String, String> {
    let is_word = (1..=20).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    if is_word { Ok(word.to_owned()) } else { Err("it should be get, store, erase or list".to_owned()) }
}

fn user_name(name: &str) -> Result<String, String> {
    let is_name = !name.is_empty() && !name.chars().any(char::is_control);
    if is_name { Ok(name.to_owned()) } else { Err("it should be one line of visible text".to_owned()) }
}

#[derive(Debug, Args)]
pub(super) struct RefreshArgs {
    /// A provider's id or alias, for example xai-oauth, openai-codex, nous, anthropic
    #[arg(required_unless_present = "all")]
    pub(super) provider: Option<String>,
    /// A credential's id or label, or `login` for the provider's own login [default: the first that fits]
    #[arg(long, value_name = "ID", conflicts_with = "all")]
    pub(super) credential: Option<String>,
    /// Read from standard input an access token that an API refused: the result is another one
    #[arg(long, conflicts_with = "all")]
    pub(super) refused_from_stdin: bool,
    /// Print the new access token on standard output
    #[arg(long, conflicts_with = "all")]
    pub(super) print: bool,
    /// Every OAuth credential of all known vaults, or of the provider
    #[arg(long)]
    pub(super) all: bool,
    /// With --all: only what has expired or is about to
    #[arg(long, requires = "all")]
    pub(super) due: bool,
}

impl RefreshArgs {
    pub(super) fn request(&self) -> TokenRequest {
        let provider = self.provider.clone().unwrap_or_default();
        TokenRequest { credential: self.credential.clone(), ..TokenRequest::new(VAULT, provider) }
    }
}

#[derive(Debug, Args)]
pub(super) struct LoginArgs {
    /// A provider's id or alias
    pub(super) provider: String,
    /// How [default: the first that the profile offers]
    #[arg(long, value_enum)]
    pub(super) flow: Option<Flow>,
    /// Call the login so, and keep it beside the provider's others: for a second account
    #[arg(long, value_name = "NAME")]
    pub(super) label: Option<String>,
    /// Open the address in a browser here [default: on a desktop, where a person sits at the terminal]
    #[arg(long, conflicts_with = "no_browser")]
    pub(super) open: bool,
    /// Open no browser; by loopback, take the address that it was sent to from the terminal, or from standard input
    #[arg(long)]
    pub(super) no_browser: bool,
}

/// A way to log in.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Flow {
    /// Type a short code in a browser on any machine (RFC 8628)
    DeviceCode,
    /// A browser on this machine comes back by itself (RFC 8252)
    LoopbackPkce,
}

impl Flow {
    /// The word in the contract.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::DeviceCode => "device-code",
            Self::LoopbackPkce => "loopback-pkce",
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct LogoutArgs {
    #[command(flatten)]
    pub(super) which: Which,
    /// Keep the tokens if the server does not revoke them, to try again later
    #[arg(long)]
    pub(super) keep_if_not_revoked: bool,
}

#[derive(Debug, Args)]
pub(super) struct AddArgs {
    /// A provider's id or alias
    pub(super) provider: String,
    /// What to call it [default: what its token says]
    #[arg(long, value_name = "NAME")]
    pub(super) label: Option<String>,
    /// It is a key that does not expire
    #[arg(long, conflicts_with = "oauth")]
    pub(super) api_key: bool,
    /// It is an OAuth access token, or a JSON object with one
    #[arg(long)]
    pub(super) oauth: bool,
    /// Take the place of the one of that label; without a label, of the same account's or the only one
    #[arg(long)]
    pub(super) replace: bool,
}

#[derive(Debug, Args)]
pub(super) struct ImportArgs {
    /// The other tool's file
    #[arg(value_hint = ValueHint::FilePath)]
    pub(super) file: PathBuf,
    /// Only this provider
    pub(super) provider: Option<String>,
    /// Take the login over into the vault and out of the file
    #[arg(long = "move", conflicts_with = "both_will_refresh")]
    pub(super) moves: bool,
    /// Copy it, although two files that refresh one login end it for each other
    #[arg(long)]
    pub(super) both_will_refresh: bool,
}

#[derive(Debug, Args)]
pub(super) struct StatusArgs {
    /// Only this provider
    pub(super) provider: Option<String>,
    /// The vault in use and all of `lazaretto vaults`; with --json one object a line for each
    #[arg(long)]
    pub(super) all: bool,
    /// Let the exit code tell what is needed, for a timer or a monitor
    #[arg(long)]
    pub(super) check: bool,
}

#[derive(Debug, Args)]
pub(super) struct ProvidersArgs {
    /// Show this one: an id or alias
    pub(super) provider: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    /// Send each token endpoint that the vault uses one empty request: is it an authorization server, and what is its time? Nothing of
    /// the vault is in it
    #[arg(long)]
    pub(super) ask_servers: bool,
}

#[derive(Debug, Args)]
pub(super) struct ClassifyArgs {
    /// Show for a person what was looked at, step by step, and the rule that decided
    #[arg(long)]
    pub(super) explain: bool,
}

#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// Keep the temporary directory, and print its path
    #[arg(long)]
    pub(super) keep: bool,
}

#[derive(Debug, Args)]
pub(super) struct WatchArgs {
    /// How often to look for changes and to draw
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = interval)]
    pub(super) interval: f64,
}

/// Often enough for an eye, and not so seldom that it seems dead.
fn interval(seconds: &str) -> Result<f64, String> {
    let wrong = || "it should be a number of seconds from 0.1 to 3600".to_owned();
    seconds.parse().ok().filter(|seconds| (0.1..=3_600.0).contains(seconds)).ok_or_else(wrong)
}

#[derive(Debug, Args)]
pub(super) struct VaultsArgs {
    #[command(subcommand)]
    pub(super) command: Option<VaultsCommand>,
}

#[derive(Debug, Subcommand)]
pub(super) enum VaultsCommand {
    /// Add a vault to the list
    Add {
        /// Its file
        #[arg(value_hint = ValueHint::FilePath)]
        path: PathBuf,
    },
    /// Remove a vault from the list; the file stays
    Remove {
        /// Its file
        path: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// Whose script
    pub(super) shell: Shell,
}

#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// The page of this command [default: of lazaretto itself]
    #[arg(value_name = "COMMAND")]
    pub(super) of: Option<String>,
    /// Write the pages of all commands as files into this directory
    #[arg(long, value_name = "DIRECTORY", conflicts_with = "of")]
    pub(super) into: Option<PathBuf>,
}

/// Everything that can be typed.
pub(super) fn command() -> clap::Command {
    Arguments::command()
}

/// The same, with a help that shows the commands in groups. They are hidden in it where clap would list them once more.
fn command_with_groups() -> clap::Command {
    let whole = command();
    let style = whole.get_styles().clone();
    let (head, name_of) = (style.get_header(), style.get_literal());
    let about = |name: &str| match whole.find_subcommand(name) {
        Some(command) => command.get_about().map(ToString::to_string),
        None => (name == "help").then(|| "Print this, or the help of a command".to_owned()),
    };
    let grouped: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| *names).copied().collect();
    let others = whole.get_subcommands().map(clap::Command::get_name).filter(|name| !grouped.contains(name));
    let others: Vec<&str> = others.collect();
    let mut groups = String::new();
    for (index, (title, names)) in GROUPS.iter().enumerate() {
        let others: &[&str] = if index + 1 == GROUPS.len() { &others } else { &[] };
        groups += &format!("{head}{title}:{head:#}\n");
        for name in names.iter().chain(others) {
            let Some(about) = about(name) else { continue };
            groups += &format!("  {name_of}{name:<12}{name_of:#}  {about}\n");
        }
        groups.push('\n');
    }
    let usage = format!("{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{groups}{{all-args}}{{after-help}}");
    whole
        .mut_subcommands(|command| command.hide(true))
        .override_usage("lazaretto [OPTIONS] <COMMAND>")
        .help_template(clap::builder::StyledStr::from(usage))
}

/// The arguments of this process; or, if they are wrong or ask only for help, the exit code after saying so.
pub(super) fn parse() -> Result<Arguments, ExitCode> {
    let matches = command_with_groups().try_get_matches();
    matches.and_then(|matches| Arguments::from_arg_matches(&matches)).map_err(|error| {
        if !error.use_stderr() {
            // Help and version are no errors; if they cannot be written, nobody is left to tell.
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        let arguments: Vec<String> = env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
        let rendered = error.render();
        if arguments.iter().any(|argument| argument == "--json") {
            let text = without_long(&rendered.to_string(), &arguments);
            let what = text.split("\n\n").next().unwrap_or(&text);
            Failure::usage(what.strip_prefix("error: ").unwrap_or(what)).print(true);
        } else {
            let text =
                if terminal::stderr_style().is_coloured() { rendered.ansi().to_string() } else { rendered.to_string() };
            terminal::complain(without_long(&text, &arguments).trim_end());
        }
        Exit::Usage.into()
    })
}

/// A text without the arguments in it that may be a token: whoever typed one by mistake need not find it in a log.
fn without_long(text: &str, arguments: &[String]) -> String {
    let long = arguments.iter().filter(|argument| argument.len() > 20 && !argument.starts_with("--"));
    long.fold(text.to_owned(), |text, argument| text.replace(argument, "[a long word, not shown]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arguments_make_sense() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn global_options_may_stand_before_or_after_the_command() {
        for line in ["lazaretto --json --vault v token xai", "lazaretto token xai --vault v --json"] {
            let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
            assert!(arguments.global.json && arguments.global.vault == Some("v".into()), "{line}");
        }
    }

    #[test]
    fn wrong_usage_is_exit_code_2() {
        for line in [
            "lazaretto",
            "lazaretto tokn",
            "lazaretto token",
            "lazaretto token x --min-valid -1",
            "lazaretto status a b",
        ] {
            assert_eq!(Arguments::try_parse_from(line.split(' ')).unwrap_err().exit_code(), 2, "{line}");
        }
    }

    /// Whatever a person is told to run can be typed.
    #[test]
    fn every_command_that_the_component_tells_of_is_one_of_ours() {
        use lazaretto::error::Code;
        use lazaretto::next_step::{Reach, step_of};
        let told = Code::ALL.into_iter().filter_map(|code| {
            let command = step_of(code).command(&Reach::default(), Some("acme"), Some("a1b2c3"))?;
            Some((code.as_str(), command))
        });
        let others =
            ["lazaretto providers", "lazaretto status", "lazaretto add openrouter --api-key", "lazaretto help import"];
        let all: Vec<(&str, String)> = told.chain(others.map(|command| ("", command.to_owned()))).collect();
        assert!(all.len() > 15, "{all:?}");
        for (code, command) in all {
            let parsed = Arguments::try_parse_from(command.split(' '));
            let is_help = parsed.as_ref().is_err_and(|error| !error.use_stderr());
            assert!(parsed.is_ok() || is_help, "{code}: {command}: {:?}", parsed.err());
        }
    }

    #[test]
    fn a_token_typed_by_mistake_is_not_repeated() {
        let arguments = ["token", "xai", "eyJhbGciOiJFUzI1NiJ9.secret"].map(str::to_owned);
        let error = Arguments::try_parse_from(["lazaretto".to_owned()].iter().chain(&arguments)).unwrap_err();
        let shown = without_long(&error.render().to_string(), &arguments);
        assert!(shown.contains("not shown") && !shown.contains("secret"), "{shown}");
    }

    #[test]
    fn help_fits_a_page_and_says_the_exit_codes() {
        let help = command_with_groups().render_help().to_string();
        assert!(help.lines().count() <= 56, "{} lines: {help}", help.lines().count());
        for code in 0..=5 {
            assert!(help.contains(&format!("{code}  ")), "{code}");
        }
    }

    #[test]
    fn every_command_is_in_one_group_of_the_help() {
        let help = command_with_groups().render_help().to_string();
        for command in command().get_subcommands() {
            let name = command.get_name();
            let groups = GROUPS.iter().filter(|(_, names)| names.contains(&name)).count();
            assert_eq!(groups, 1, "{name}");
            let listed = help.lines().filter(|line| line.trim_start().starts_with(&format!("{name} ")));
            assert_eq!(listed.count(), 1, "{name}: {help}");
        }
        assert!(!help.contains("Commands:"), "not listed a second time: {help}");
    }

    /// A text that is broken by hand and broken again has lines of one word: what is laid out by hand fits, and all else is in paragraphs.
    #[test]
    fn no_help_is_wrapped_twice() {
        let whole = command_with_groups();
        for line in whole.clone().render_help().to_string().lines().take_while(|line| !line.starts_with("Options")) {
            assert!(line.chars().count() <= 80, "{line}");
        }
        for command in [&whole].into_iter().chain(whole.get_subcommands()) {
            let notes = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            for (line, next) in notes.lines().zip(notes.lines().skip(1).chain([""])) {
                let is_laid_out = line.starts_with(' ');
                assert!(!is_laid_out || line.chars().count() <= 80, "{}: {line}", command.get_name());
                let is_a_title = next.starts_with(' ');
                let is_broken = !is_laid_out && !is_a_title && !next.is_empty() && !line.is_empty();
                assert!(!is_broken, "{}: {line:?} {next:?}", command.get_name());
            }
        }
    }

    #[test]
    fn every_member_of_a_tokens_json_is_in_the_help() {
        let json = super::super::token::to_json(&super::super::token::example(), true);
        let command = command();
        let help = command.find_subcommand("token").and_then(clap::Command::get_after_help).expect("notes").to_string();
        for member in json.as_object().expect("an object").keys() {
            assert!(help.contains(&format!("\n  {member:<15} ")), "{member}");
        }
    }
}
