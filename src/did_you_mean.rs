//! What is said of a name that nobody knows: the known names that are near, or those that are
//! there.

use crate::error::{Code, KeeperError};
use crate::json;
use crate::ports::Ports;
use crate::provider::{Catalog, Profile};
use crate::session::{Session, Snapshot};
use crate::vault::Credential;

/// A list of more would be no help.
const SHOWN: usize = 8;

/// Whether lazaretto or the user's file has this id, if only for its keys.
pub(crate) fn is_known<P: Ports>(session: &Session<P>, id: &str) -> bool {
    asked_of_catalog(session, |catalog| catalog.ids().iter().any(|known| known == id)) || is_for_keys(session, id)
}

/// Whether an id has no profile, and is known for its keys.
pub(crate) fn is_for_keys<P: Ports>(session: &Session<P>, id: &str) -> bool {
    asked_of_catalog(session, |catalog| {
        catalog.ids_of_keys().iter().any(|known| known == id) && !catalog.ids().iter().any(|known| known == id)
    })
}

fn asked_of_catalog<P: Ports>(session: &Session<P>, ask: impl Fn(&Catalog) -> bool) -> bool {
    session.with_catalog(&mut |catalog| Ok(ask(catalog))).unwrap_or_default()
}

/// That neither a profile nor the vault knows a name, unless one does.
pub(crate) fn check_known<P: Ports>(
    session: &Session<P>,
    id: &str,
    name: &str,
    vault: Option<&Snapshot>,
) -> Result<(), KeeperError> {
    if is_known(session, id) {
        return Ok(());
    }
    let held = match vault {
        Some(vault) => vault.open().providers(),
        None => Vec::new(),
    };
    if held.iter().any(|held| held == id) { Ok(()) } else { Err(unknown_provider(session, name, &held)) }
}

fn unknown_provider<P: Ports>(session: &Session<P>, name: &str, held: &[String]) -> KeeperError {
    let mut known = session.with_catalog(&mut |catalog| Ok(catalog.names())).unwrap_or_default();
    known.extend_from_slice(held);
    known.sort();
    known.dedup();
    let question = question(name, known.iter().map(String::as_str));
    let what = format!("{name}: no provider of this name is known.{question}");
    let mut error = KeeperError::new(Code::UnknownProvider, what);
    error.provider = Some(name.to_owned());
    error
}

/// That no credential of a provider has this name.
pub(crate) fn credential(profile: &Profile, name: &str, known: &[Credential]) -> KeeperError {
    let what = format!("{}: no credential is called {}. There is {}", profile.id, json::quote(name), listed(known));
    KeeperError::new(Code::UnknownCredential, what).of(&profile.id, name)
}

/// What a person calls these credentials, with the id of each that has a label.
pub(crate) fn listed(credentials: &[Credential]) -> String {
    let name = |credential: &Credential| {
        let (id, label) = (credential.id(), &credential.leading().label);
        if label.is_empty() || label == id { id.to_owned() } else { format!("{} ({id})", json::quote(label)) }
    };
    let mut names: Vec<String> = credentials.iter().take(SHOWN).map(name).collect();
    if credentials.len() > SHOWN {
        names.push(format!("{} more", credentials.len() - SHOWN));
    }
    match names.split_last() {
        None => "none".to_owned(),
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
    }
}

/// More would be a list to read instead of a suggestion.
const MOST_NEAR: usize = 3;
/// No name of a provider is longer, and the work grows with the square of it.
const LONGEST: usize = 64;
/// A shorter part of a name is part of many.
const SHORTEST_PART: usize = 4;

/// The known names that are near.
pub(crate) fn names<'a>(typed: &str, known: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    if typed.is_empty() || typed.len() > LONGEST {
        return Vec::new();
    }
    let typed = typed.to_ascii_lowercase();
    // One slip in three letters, and never more than three.
    let allowed = (typed.chars().count() / 3).clamp(1, 3);
    let mut near: Vec<(usize, &str)> = Vec::new();
    for name in known.filter(|name| !name.is_empty() && name.len() <= LONGEST) {
        let slips = distance(&typed, &name.to_ascii_lowercase());
        let is_part = typed.len() >= SHORTEST_PART && name.contains(&typed);
        let rank = if slips <= allowed { slips } else { allowed + 1 };
        if (slips <= allowed || is_part) && !near.iter().any(|(_, other)| *other == name) {
            near.push((rank, name));
        }
    }
    near.sort_unstable();
    near.into_iter().take(MOST_NEAR).map(|(_, name)| name).collect()
}

/// The same as a question, with a space before it; empty if nothing is near.
pub(crate) fn question<'a>(typed: &str, known: impl Iterator<Item = &'a str>) -> String {
    let near = names(typed, known);
    match near.split_last() {
        None => String::new(),
        Some((only, [])) => format!(" Did you mean {only}?"),
        Some((last, others)) => format!(" Did you mean {} or {last}?", others.join(", ")),
    }
}

/// How many slips make one text of the other: a letter too many, missing, another one, or two that
/// changed places.
fn distance(one: &str, other: &str) -> usize {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=other.len()).collect();
    for (row, letter) in one.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, known) in other.iter().enumerate() {
            let other_letter = above[column] + usize::from(letter != known);
            let mut least = other_letter.min(above[column + 1] + 1).min(current[column] + 1);
            let changed_places =
                row > 0 && column > 0 && one[row - 1] == *known && other[column - 1] == *letter && letter != known;
            if changed_places {
                least = least.min(before[column - 1] + 1);
            }
            current.push(least);
        }
        before = std::mem::replace(&mut above, current);
    }
    above.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 7] = ["anthropic", "github", "gitlab", "nous", "openai-codex", "xai", "xai-oauth"];

    fn near(typed: &str) -> Vec<&'static str> {
        names(typed, KNOWN.into_iter())
    }

    #[test]
    fn slips_are_counted() {
        for (one, other, slips) in
            [("", "", 0), ("a", "", 1), ("xia", "xai", 1), ("abc", "abd", 1), ("kitten", "sitting", 3), ("ä", "a", 1)]
        {
            assert_eq!(distance(one, other), slips, "{one} {other}");
            assert_eq!(distance(other, one), slips, "{other} {one}");
        }
    }

    #[test]
    fn a_slip_finds_the_name_that_was_meant() {
        for (typed, wanted) in [
            ("xia", &["xai"][..]),
            ("xia-oauth", &["xai-oauth"]),
            ("XAI", &["xai"]),
            ("antropic", &["anthropic"]),
            ("gitlub", &["github", "gitlab"]),
            ("codex", &["openai-codex"]),
            ("noux", &["nous"]),
        ] {
            assert_eq!(near(typed), wanted, "{typed}");
        }
    }

    #[test]
    fn what_is_not_near_is_not_suggested() {
        for typed in ["", "acme", "zoom-meetings", &"x".repeat(65)] {
            assert!(near(typed).is_empty(), "{typed}: {:?}", near(typed));
        }
    }

    #[test]
    fn the_question_names_each_and_ends_once() {
        assert_eq!(question("xia", KNOWN.into_iter()), " Did you mean xai?");
        assert_eq!(question("gitlub", KNOWN.into_iter()), " Did you mean github or gitlab?");
        assert_eq!(question("acme", KNOWN.into_iter()), "");
    }
}
