//! `lazaret completions` and `lazaret man`: made from the same definition as the help, so that they cannot say anything else.

use std::io;
use std::path::Path;

use clap::{Command, CommandFactory};
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, roman};

use super::args::{Arguments, CompletionsArgs, ManArgs};
use super::failure::Failure;
use super::terminal;

const NAME: &str = "lazaret";

/// The script for a shell, on standard output.
pub(super) fn completions(args: &CompletionsArgs) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Arguments::command(), NAME, &mut script);
    terminal::print(&String::from_utf8_lossy(&script))
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
    terminal::print(&String::from_utf8_lossy(&text))
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
    let mut whole = Arguments::command();
    whole.build();
    let mut pages = vec![whole];
    let mut next = 0;
    while let Some(page) = pages.get(next) {
        let within: Vec<Command> =
            page.get_subcommands().filter(|command| command.get_name() != "help").cloned().collect();
        pages.extend(within);
        next += 1;
    }
    pages
}

/// `token`, `vaults-add`
fn short(command: &Command) -> &str {
    let name = command.get_display_name().unwrap_or(command.get_name());
    name.strip_prefix("lazaret-").unwrap_or(name)
}

/// The page's file name, and the page.
fn render(command: Command) -> io::Result<(String, Vec<u8>)> {
    // Each page by its own name: `lazaret-token`.
    let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
    // The examples are lines as they stand, which the generator would run together.
    let notes = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let has_commands = command.get_subcommands().next().is_some();
    let has_version = command.get_version().is_some();
    let man = Man::new(command).title(name.to_uppercase()).manual("lazaret");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if has_commands {
        man.render_subcommands_section(&mut page)?;
    }
    if !notes.is_empty() {
        let mut roff = Roff::new();
        roff.control("SH", ["NOTES"]);
        roff.control("nf", []);
        for line in notes.lines() {
            let line: Vec<Inline> = vec![roman(if line.is_empty() { " " } else { line })];
            roff.text(line);
        }
        roff.control("fi", []);
        roff.to_writer(&mut page)?;
    }
    if has_version {
        man.render_version_section(&mut page)?;
    }
    Ok((format!("{name}.1"), page))
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;
    use clap_complete::Shell;

    use super::*;

    fn commands() -> Vec<String> {
        pages()[0].get_subcommands().map(|command| command.get_name().to_owned()).collect()
    }

    #[test]
    fn every_command_and_option_is_in_every_shells_script() {
        assert!(pages().len() >= 12 && pages().iter().any(|page| short(page) == "vaults-add"));
        assert!(commands().len() >= 10, "{:?}", commands());
        for shell in Shell::value_variants() {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Arguments::command(), NAME, &mut script);
            let script = String::from_utf8(script).unwrap();
            for command in commands() {
                assert!(script.contains(&command), "{shell}: {command}");
            }
            for option in ["min-valid", "for-host", "git-credential", "allow-loopback-http"] {
                assert!(script.contains(option), "{shell}: {option}");
            }
        }
    }

    #[test]
    fn every_command_has_a_page_with_its_options_and_its_examples_line_by_line() {
        for page in pages() {
            let options: Vec<String> =
                page.get_arguments().filter_map(|option| option.get_long().map(str::to_owned)).collect();
            let (name, text) = render(page).unwrap();
            let text = String::from_utf8(text).unwrap().replace("\\-", "-");
            assert!(name.starts_with("lazaret") && name.ends_with(".1"), "{name}");
            for option in options {
                assert!(text.contains(&format!("--{option}")), "{name}: {option}");
            }
        }
        let whole = String::from_utf8(render(pages().remove(0)).unwrap().1).unwrap().replace("\\-", "-");
        for command in commands() {
            assert!(whole.contains(&format!("lazaret-{command}(1)")), "{command}");
        }
        assert!(whole.contains("\n  0  done"), "{whole}");
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
