//! The rules that do not hold yet, each with the number that it is allowed: a number only ever
//! moves towards its limit, and an entry goes once the limit holds.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use toml::{Table, Value};

use super::rule::{Limit, Measured};
use crate::Result;

const HEAD: &str = "\
# The house rules that do not hold yet, with the number of places that break each of them today.
# `cargo xtask house --check` fails when a number grows, and when one is better than this file says;
# `cargo xtask house --lower` writes the better ones down. The file is done when [allowed] is empty.
";

/// What `xtask/house.toml` says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Ratchet {
    /// The last commit before those that must have a body.
    pub(super) since: String,
    allowed: BTreeMap<String, usize>,
}

impl Ratchet {
    /// Reads the file.
    ///
    /// # Errors
    /// It cannot be read, is no TOML, or a number in it is none.
    pub(super) fn read(file: &Path) -> Result<Self> {
        Ratchet::parse(&fs::read_to_string(file)?)
    }

    fn parse(text: &str) -> Result<Self> {
        let table: Table = text.parse()?;
        let since = table.get("since").and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut allowed = BTreeMap::new();
        let numbers = table.get("allowed").and_then(Value::as_table);
        for (name, number) in numbers.into_iter().flatten() {
            let number = number.as_integer().and_then(|number| usize::try_from(number).ok());
            let number = number.ok_or_else(|| format!("house.toml: `{name}` is no number"))?;
            allowed.insert(name.clone(), number);
        }
        Ok(Ratchet { since, allowed })
    }

    /// Returns what the file allows for a rule that does not hold yet.
    pub(super) fn allowed(&self, name: &str) -> Option<usize> {
        self.allowed.get(name).copied()
    }

    /// Returns the rules that are broken, each with the reason.
    pub(super) fn broken<'a>(&self, rules: &'a [Measured]) -> Vec<(&'a Measured, String)> {
        rules.iter().filter_map(|rule| Some((rule, self.reason(rule)?))).collect()
    }

    fn reason(&self, rule: &Measured) -> Option<String> {
        let count = rule.count();
        let Some(allowed) = self.allowed(rule.name) else {
            return (!rule.holds()).then(|| match rule.limit {
                Limit::Least(limit) => format!("{count}, and at least {limit} is asked"),
                Limit::Most(limit) => format!("{count}, and at most {limit} is allowed"),
                Limit::None => format!("{count}"),
            });
        };
        let better = match rule.limit {
            Limit::Most(_) => count < allowed,
            Limit::Least(_) => count > allowed,
            Limit::None => true,
        };
        if better || rule.holds() {
            return Some(format!("{count} is better than the {allowed} of house.toml; run: cargo xtask house --lower"));
        }
        (count != allowed).then(|| format!("{count}, and it was {allowed}"))
    }

    /// Takes over every number that is nearer to its limit than the one in the file.
    pub(super) fn lower(&mut self, rules: &[Measured]) {
        let known = |name: &String| rules.iter().any(|rule| rule.name == name);
        self.allowed.retain(|name, _| known(name));
        for rule in rules {
            let Some(allowed) = self.allowed.get_mut(rule.name) else { continue };
            match rule.limit {
                Limit::Most(_) => *allowed = rule.count().min(*allowed),
                Limit::Least(_) => *allowed = rule.count().max(*allowed),
                Limit::None => {}
            }
            if rule.holds() {
                self.allowed.remove(rule.name);
            }
        }
    }

    /// Writes the file.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn write(&self, file: &Path) -> Result<()> {
        Ok(fs::write(file, self.spell())?)
    }

    fn spell(&self) -> String {
        let mut text = format!("{HEAD}\nsince = {:?}\n\n[allowed]\n", self.since);
        for (name, number) in &self.allowed {
            text.push_str(&format!("{name} = {number}\n"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ratchet(text: &str) -> Ratchet {
        Ratchet::parse(text).expect("TOML")
    }

    fn places(count: usize) -> Vec<String> {
        vec![String::new(); count]
    }

    fn is_broken(ratchet: &Ratchet, rule: Measured) -> bool {
        !ratchet.broken(&[rule]).is_empty()
    }

    #[test]
    fn a_rule_without_an_entry_is_held_to_its_limit() {
        let none = ratchet("");
        assert!(!is_broken(&none, Measured::most("a", 0, places(0))));
        assert!(is_broken(&none, Measured::most("a", 0, places(1))));
        assert!(!is_broken(&none, Measured::least("a", 2, places(2))));
        assert!(is_broken(&none, Measured::least("a", 2, places(1))));
        assert!(!is_broken(&none, Measured::reported("a", places(9))));
    }

    #[test]
    fn an_entry_must_be_the_present_number() {
        let three = ratchet("[allowed]\na = 3\n");
        assert!(!is_broken(&three, Measured::most("a", 0, places(3))));
        assert!(is_broken(&three, Measured::most("a", 0, places(4))));
        assert!(is_broken(&three, Measured::most("a", 0, places(2))));
        assert!(is_broken(&three, Measured::most("a", 0, places(0))));
        assert!(is_broken(&three, Measured::least("a", 5, places(2))));
        assert!(is_broken(&three, Measured::least("a", 5, places(4))));
    }

    #[test]
    fn numbers_are_lowered_and_entries_that_hold_go() {
        let mut some = ratchet("since = \"abc\"\n[allowed]\na = 3\nb = 3\nc = 3\nd = 3\ngone = 1\n");
        some.lower(&[
            Measured::most("a", 0, places(2)),
            Measured::most("b", 0, places(0)),
            Measured::most("c", 0, places(4)),
            Measured::least("d", 5, places(4)),
        ]);
        let again = ratchet(&some.spell());
        assert_eq!(again, ratchet("since = \"abc\"\n[allowed]\na = 2\nc = 3\nd = 4\n"));
    }
}
