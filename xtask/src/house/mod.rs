//! Measures the house rules of this workspace, and fails where one of them is broken.
//!
//! | question | module |
//! |---|---|
//! | which files are there, and which of them are tests | `sources` |
//! | which module does a path name | `modules` |
//! | which file depends on which | `edges`, `typescript`, `crates` |
//! | what is a circle | `circles` |
//! | how long, how often, under what name | `items` |
//! | what do comments and documents look like | `prose` |
//! | which types mirror a record of the contract | `records` |
//! | which commits say why | `commits` |
//! | what is still allowed | `ratchet` |

mod circles;
mod commits;
mod crates;
mod edges;
mod items;
mod modules;
mod prose;
mod ratchet;
mod records;
mod rule;
mod sources;
mod table;
mod typescript;

use std::path::Path;

use crate::{Result, root};
use ratchet::Ratchet;
use rule::Measured;
use sources::Crate;

/// What the command does with the figures.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Prints them.
    Print,
    /// Prints them, and fails where a rule is broken or a number of the ratchet is out of date.
    Check,
    /// Prints them, and lowers every number of the ratchet that is too high.
    Lower,
}

/// Measures the workspace and does what `mode` says.
///
/// # Errors
/// A file cannot be read or parsed, or with [`Mode::Check`] a rule is broken.
pub(crate) fn run(mode: Mode) -> Result<()> {
    let root = root();
    let crates = sources::workspace(&root)?;
    let ratchet_file = root.join("xtask/house.toml");
    let mut ratchet = Ratchet::read(&ratchet_file)?;
    let rules = measure(&root, &crates, &ratchet)?;
    print!("{}", table::crates(&crates));
    print!("{}", table::rules(&rules, &ratchet));
    if mode == Mode::Lower {
        ratchet.lower(&rules);
        return ratchet.write(&ratchet_file);
    }
    if mode == Mode::Check { check(&rules, &ratchet) } else { Ok(()) }
}

/// Prints every place where the rule `name` is broken.
///
/// # Errors
/// A file cannot be read or parsed, or there is no such rule.
pub(crate) fn list(name: &str) -> Result<()> {
    let root = root();
    let crates = sources::workspace(&root)?;
    let ratchet = Ratchet::read(&root.join("xtask/house.toml"))?;
    let rules = measure(&root, &crates, &ratchet)?;
    let names: Vec<_> = rules.iter().map(|rule| rule.name).collect();
    let rule = rules.iter().find(|rule| rule.name == name);
    let rule = rule.ok_or_else(|| format!("no rule `{name}`; there are: {}", names.join(", ")))?;
    rule.places.iter().for_each(|place| println!("{place}"));
    Ok(())
}

fn measure(root: &Path, crates: &[Crate], ratchet: &Ratchet) -> Result<Vec<Measured>> {
    let mut rules = vec![
        Measured::most("file-circles", 0, file_circles(root, crates)?),
        Measured::most("crate-circles", 0, crates::circles(root)?),
        Measured::most("long-functions", 0, items::long_functions(crates)),
        Measured::reported("long-test-functions", items::long_test_functions(crates)),
        Measured::reported("large-files", items::large_files(crates)),
        Measured::most("type-names-with-two-meanings", 0, items::repeated_types(crates)),
        Measured::most("codes-compared-as-text", 0, items::compared_codes(crates)),
        Measured::most("panicking-crates", 0, items::panicking(crates)),
        Measured::least("rustdoc-examples", 20, prose::examples(crates)),
        Measured::most("long-test-names", 0, items::long_test_names(crates)),
        Measured::most("wide-prose", 0, prose::wide(root, crates)?),
        Measured::most("feature-cfgs-below-lib", 0, items::features(crates)),
        Measured::most("copied-records", 0, records::copies(root, crates)?),
    ];
    rules.push(Measured::most("commits-without-a-body", 0, commits::bare(root, &ratchet.since)?));
    Ok(rules)
}

fn file_circles(root: &Path, crates: &[Crate]) -> Result<Vec<String>> {
    let mut places = Vec::new();
    for one in crates {
        places.extend(circles::told(&edges::of_crate(one)));
    }
    places.extend(circles::told(&typescript::edges(root, "bindings/node/src")?));
    Ok(places)
}

fn check(rules: &[Measured], ratchet: &Ratchet) -> Result<()> {
    let broken = ratchet.broken(rules);
    for (rule, why) in &broken {
        eprintln!("\n{}: {why}", rule.name);
        rule.places.iter().take(40).for_each(|place| eprintln!("  {place}"));
        if rule.places.len() > 40 {
            eprintln!("  and more: cargo xtask house --list {}", rule.name);
        }
    }
    match broken.len() {
        0 => Ok(()),
        count => Err(format!("{count} house rules are broken").into()),
    }
}
