//! `lazaretto completions` and `lazaretto man`: made from the same definition as the help, so that
//! they cannot say anything else.

use std::env;
use std::io;
use std::path::Path;

use clap::{Arg, ArgAction, Command};
use clap_complete::env::{Bash, CompleteEnv, Fish, Shells, Zsh};
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};

use super::args::{self, CompletionsArgs, ManArgs};
use super::complete::{self, VARIABLE};
use super::failure::Failure;
use super::output;

const NAME: &str = "lazaretto";
/// Those whose scripts ask this command what to offer. PowerShell's would evaluate what is typed,
/// so it is not among them.
const ASKING: Shells<'static> = Shells(&[&Bash, &Fish, &Zsh]);

const FILES: [(&str, &str); 6] = [
    ("lazaretto/auth.json", "The vault, in $XDG_CONFIG_HOME or ~/.config, unless another one is named."),
    ("lazaretto/providers.json", "Profiles of further providers."),
    ("lazaretto/vaults.json", "The vaults that are known besides the one in use."),
    ("VAULT.lazaretto", "The ledger: what was sent, spent and refused. It holds no secret."),
    (
        "VAULT.lazaretto-sealed",
        "What is quarantined, for seven days, and what is kept against a loss. It holds secrets.",
    ),
    ("VAULT.lazaretto-settings.json", "Settings of one vault, written by its user."),
];

const ENVIRONMENT: [(&str, &str); 8] = [
    ("LAZARETTO_VAULT", "The vault, where --vault does not name it."),
    (
        "XDG_CONFIG_HOME, XDG_STATE_HOME, HOME",
        "Where the files above lie, and tokens that could be stored nowhere else.",
    ),
    ("CODEX_HOME, CLAUDE_CONFIG_DIR, QWEN_HOME, HERMES_SHARED_AUTH_DIR", "Where other tools keep their own logins."),
    (
        "HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY",
        "The proxy that requests go through, and the hosts that are reached without it.",
    ),
    ("SSL_CERT_FILE", "A PEM bundle of the certificate authorities to trust instead of the built-in ones."),
    ("NO_COLOR, TERM", "No colours if NO_COLOR is set or TERM is dumb."),
    ("LC_ALL, LC_CTYPE, LANG", "Only ASCII is drawn unless the first that is set names UTF-8."),
    ("TZ", "The time zone in which times of day are shown."),
];

/// The script for a shell, on standard output.
pub(super) fn completions(args: &CompletionsArgs) -> Result<(), Failure> {
    let mut script = Vec::new();
    match ASKING.completer(&args.shell.to_string()) {
        Some(shell) => {
            shell.write_registration(VARIABLE, NAME, NAME, NAME, &mut script).map_err(Failure::broken)?;
        }
        None => clap_complete::generate(args.shell, &mut args::command(), NAME, &mut script),
    }
    output::print(&String::from_utf8_lossy(&script))
}

/// Answers a script that asks. False: this is no such call.
pub(super) fn complete() -> bool {
    if env::var_os(VARIABLE).is_none() {
        return false;
    }
    let shell = CompleteEnv::with_factory(complete::command).var(VARIABLE).bin(NAME).completer(NAME).shells(ASKING);
    // Who presses a key wants no error between his words.
    shell.try_complete(env::args_os(), env::current_dir().ok().as_deref()).unwrap_or(true)
}

/// A page in roff on standard output, or all of them as files.
pub(super) fn man(args: &ManArgs) -> Result<(), Failure> {
    if let Some(directory) = &args.into {
        return write_all(directory);
    }
    let wanted = args.of.as_deref();
    let page = pages().into_iter().find(|command| wanted.is_none_or(|wanted| short(command) == wanted));
    let page = page.ok_or_else(|| {
        let names: Vec<String> = pages().iter().skip(1).map(|command| short(command).to_owned()).collect();
        Failure::usage(format_args!("there is no such command; a page is there of {}", names.join(", ")))
    })?;
    let (_, text) = render(page).map_err(Failure::broken)?;
    output::print(&String::from_utf8_lossy(&text))
}

fn write_all(directory: &Path) -> Result<(), Failure> {
    for page in pages() {
        let (name, text) = render(page).map_err(Failure::broken)?;
        let path = directory.join(name);
        std::fs::write(&path, text).map_err(|error| {
            Failure::broken(format_args!("cannot write {}: {error}", path.display())).coded("output")
        })?;
    }
    Ok(())
}

/// The command itself, each of its commands, and each of theirs.
fn pages() -> Vec<Command> {
    // No page is made of the help, so none may be referred to.
    let mut whole =
        args::command().disable_help_subcommand(true).mut_subcommands(|command| match command.has_subcommands() {
            true => command.disable_help_subcommand(true),
            false => command,
        });
    whole.build();
    let mut pages = vec![whole];
    let mut next = 0;
    while let Some(page) = pages.get(next) {
        let within: Vec<Command> = page.get_subcommands().cloned().collect();
        pages.extend(within);
        next += 1;
    }
    pages
}

/// `token`, `vaults-add`
fn short(command: &Command) -> &str {
    short_of(command.get_display_name().unwrap_or(command.get_name()))
}

fn short_of(name: &str) -> &str {
    name.strip_prefix("lazaretto-").unwrap_or(name)
}

/// The page's file name, and the page.
fn render(command: Command) -> io::Result<(String, Vec<u8>)> {
    // Each page by its own name: `lazaretto-token`.
    let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
    // The examples are lines as they stand, which the generator would run together.
    let notes = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let has_version = command.get_version().is_some();
    let (synopsis, see_also) = (synopsis(&command), see_also(&command));
    let has_commands = command.has_subcommands();
    let man = Man::new(command).title(name.to_uppercase()).manual("lazaretto");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    synopsis.to_writer(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if has_commands {
        man.render_subcommands_section(&mut page)?;
    }
    if !notes.is_empty() {
        as_they_stand("NOTES", &notes).to_writer(&mut page)?;
    }
    terms("FILES", &FILES).to_writer(&mut page)?;
    terms("ENVIRONMENT", &ENVIRONMENT).to_writer(&mut page)?;
    see_also.to_writer(&mut page)?;
    if has_version {
        man.render_version_section(&mut page)?;
    }
    Ok((format!("{name}.1"), page))
}

/// With the names of values, and the options of every command as one word but on the first page.
fn synopsis(command: &Command) -> Roff {
    let mut line = vec![bold(command.get_bin_name().unwrap_or(command.get_name()))];
    let is_whole = command.get_version().is_some();
    let options = command.get_opts().filter(|option| !option.is_hide_set() && (is_whole || !option.is_global_set()));
    for option in options.filter(|option| !matches!(option.get_action(), ArgAction::Help | ArgAction::Version)) {
        line.push(roman(" ["));
        line.push(bold(format!("--{}", option.get_long().unwrap_or_default())));
        if option.get_action().takes_values() {
            line.push(roman(" "));
            line.push(italic(value_name(option)));
        }
        line.push(roman("]"));
    }
    let flags = command.get_arguments().filter(|flag| flag.get_long().is_some() && !flag.get_action().takes_values());
    for flag in
        flags.filter(|flag| matches!(flag.get_action(), ArgAction::SetTrue) && (is_whole || !flag.is_global_set()))
    {
        line.push(roman(" ["));
        line.push(bold(format!("--{}", flag.get_long().unwrap_or_default())));
        line.push(roman("]"));
    }
    if !is_whole {
        line.push(roman(" ["));
        line.push(italic("options of every command"));
        line.push(roman("]"));
    }
    for argument in command.get_positionals() {
        let (before, after) = if argument.is_required_set() { (" ", "") } else { (" [", "]") };
        line.extend([roman(before), italic(value_name(argument)), roman(after)]);
    }
    if command.has_subcommands() {
        line.extend([roman(" "), italic("COMMAND")]);
    }
    let mut roff = Roff::new();
    roff.control("SH", ["SYNOPSIS"]);
    roff.text(line);
    roff
}

fn value_name(argument: &Arg) -> String {
    let names: Vec<String> = argument.get_value_names().into_iter().flatten().map(ToString::to_string).collect();
    if names.is_empty() { argument.get_id().as_str().to_uppercase() } else { names.join(" ") }
}

/// Only pages that are made.
fn see_also(command: &Command) -> Roff {
    let name = command.get_display_name().unwrap_or(command.get_name());
    let is_whole = command.get_version().is_some();
    let others = pages().into_iter().map(|page| page.get_display_name().unwrap_or(page.get_name()).to_owned());
    let near = |other: &String| {
        is_whole
            || other == NAME
            || other.starts_with(&format!("{name}-"))
            || RELATED.iter().any(|related| related.contains(&short_of(name)) && related.contains(&short_of(other)))
    };
    let others: Vec<String> = others.filter(|other| other != name && near(other)).collect();
    let mut roff = Roff::new();
    roff.control("SH", ["SEE ALSO"]);
    let last = others.len().saturating_sub(1);
    let line = others
        .iter()
        .enumerate()
        .flat_map(|(index, other)| [bold(other.clone()), roman(if index == last { "(1)" } else { "(1), " })]);
    roff.text(line.collect::<Vec<_>>());
    roff
}

/// Commands that a reader of one wants to know of.
const RELATED: [&[&str]; 5] = [
    &["token", "refresh", "status"],
    &["login", "logout", "add", "remove", "import", "vaults"],
    &["status", "watch", "doctor", "refresh"],
    &["doctor", "reset", "unquarantine", "login"],
    &["classify", "token"],
];

fn terms(title: &str, terms: &[(&str, &str)]) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", [title]);
    for (term, meaning) in terms {
        roff.control("TP", []);
        roff.text([bold(*term)]);
        roff.text([roman(*meaning)]);
    }
    roff
}

/// Lines that begin with a space and short ones stay as they are; a long one is a paragraph.
fn as_they_stand(title: &str, notes: &str) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", [title]);
    for line in notes.lines() {
        if line.is_empty() {
            roff.control("PP", []);
        } else if line.len() > 90 && !line.starts_with(' ') {
            roff.text([roman(line)]);
        } else {
            roff.control("nf", []);
            let line: Vec<Inline> = vec![roman(line)];
            roff.text(line);
            roff.control("fi", []);
        }
    }
    roff
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;
    use clap_complete::Shell;

    use super::*;

    fn commands() -> Vec<String> {
        pages()[0].get_subcommands().map(|command| command.get_name().to_owned()).collect()
    }

    /// What is offered behind a line.
    fn offered(line: &[&str]) -> Vec<String> {
        let words: Vec<_> = [NAME].iter().chain(line).map(Into::into).collect();
        let at = words.len() - 1;
        let offered = clap_complete::engine::complete(&mut complete::command(), words, at, None).unwrap();
        offered.iter().map(|candidate| candidate.get_value().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn every_command_and_option_is_offered_in_every_shell() {
        assert!(pages().len() >= 12 && pages().iter().any(|page| short(page) == "vaults-add"));
        assert!(commands().len() >= 10, "{:?}", commands());
        for command in commands() {
            assert!(offered(&[""]).contains(&command), "{command}");
            let options = args::command().find_subcommand(&command).unwrap().clone();
            for option in options.get_opts().filter_map(Arg::get_long) {
                assert!(offered(&[&command, "--"]).contains(&format!("--{option}")), "{command}: {option}");
            }
        }
        assert!(offered(&["token", "--format", "g"]).contains(&"git-credential".to_owned()));
        assert!(offered(&["token", "--"]).contains(&"--allow-loopback-http".to_owned()));
        assert!(offered(&["man", "un"]).contains(&"unquarantine".to_owned()));
        for shell in Shell::value_variants().iter().filter(|shell| ASKING.completer(&shell.to_string()).is_none()) {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut args::command(), NAME, &mut script);
            let script = String::from_utf8(script).unwrap();
            for word in commands().iter().map(String::as_str).chain([
                "min-valid",
                "for-host",
                "git-credential",
                "allow-loopback-http",
            ]) {
                assert!(script.contains(word), "{shell}: {word}");
            }
        }
    }

    /// Every command has a page with its options and its examples line by line.
    #[test]
    fn every_command_has_a_manual_page_with_options_and_examples() {
        for page in pages() {
            let options: Vec<String> =
                page.get_arguments().filter_map(|option| option.get_long().map(str::to_owned)).collect();
            let (name, text) = render(page).unwrap();
            let text = String::from_utf8(text).unwrap().replace("\\-", "-");
            assert!(name.starts_with("lazaretto") && name.ends_with(".1"), "{name}");
            for option in options {
                assert!(text.contains(&format!("--{option}")), "{name}: {option}");
            }
        }
        let whole = String::from_utf8(render(pages().remove(0)).unwrap().1).unwrap().replace("\\-", "-");
        for command in commands() {
            assert!(whole.contains(&format!("lazaretto-{command}(1)")), "{command}");
        }
        assert!(whole.contains("\n  0  done"), "{whole}");
        assert!(whole.contains("[\\fB--vault\\fR \\fIPATH\\fR]"), "{whole}");
    }

    #[test]
    fn a_page_refers_only_to_pages_that_are_made() {
        let made: Vec<String> =
            pages().iter().map(|page| page.get_display_name().unwrap_or(page.get_name()).to_owned()).collect();
        for page in pages() {
            let (name, text) = render(page).unwrap();
            let text = String::from_utf8(text).unwrap().replace("\\-", "-").replace("\\fB", "").replace("\\fR", "");
            let referred = text
                .split(|char: char| char.is_whitespace() || char == ',')
                .filter_map(|word| word.strip_suffix("(1)"));
            let referred: Vec<&str> = referred.collect();
            assert!(!referred.is_empty(), "{name}: {text}");
            for other in referred {
                assert!(made.iter().any(|made| made == other), "{name}: {other}");
            }
        }
    }

    /// Arguments are seen by every process of the machine, and in every shell's history.
    #[test]
    fn no_option_and_no_argument_takes_a_secret() {
        for page in pages() {
            for argument in page.get_arguments() {
                let takes_text = argument.get_action().takes_values() && argument.get_possible_values().is_empty();
                let names =
                    [argument.get_id().as_str(), argument.get_long().unwrap_or_default()].map(str::to_lowercase);
                for word in ["token", "secret", "password", "passwd", "key", "refused", "code", "verifier", "bearer"] {
                    let is_secret =
                        takes_text && names.iter().any(|name| name.contains(word) && !name.contains("file"));
                    assert!(!is_secret, "{} {}: read it from standard input", page.get_name(), argument.get_id());
                }
            }
        }
    }
}
