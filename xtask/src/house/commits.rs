//! A commit says why in its body, and its subject is at most 72 characters long.

use std::path::Path;
use std::process::Command;

use crate::Result;

const SUBJECT_CHARACTERS: usize = 72;

/// Returns the commits after `since` that have no body or a longer subject. Empty, too, where the
/// clone does not hold `since`, as one without history does not.
///
/// # Errors
/// `git` cannot be run.
pub(super) fn bare(root: &Path, since: &str) -> Result<Vec<String>> {
    let range = format!("{since}..HEAD");
    let arguments = ["log", "--no-merges", "-z", "--format=%h%n%B", range.as_str()];
    let log = Command::new("git").args(arguments).current_dir(root).output()?;
    if !log.status.success() {
        println!("commits: this clone does not hold {since}, so none were measured");
        return Ok(Vec::new());
    }
    Ok(bare_in(&String::from_utf8_lossy(&log.stdout)))
}

/// As [`bare`], in a log whose commits end with a NUL, each its hash on a line before its message.
fn bare_in(log: &str) -> Vec<String> {
    let commits = log.split('\0').filter_map(|commit| commit.trim().split_once('\n'));
    commits.filter_map(|(hash, message)| Some(format!("{hash}: {}", fault(message)?))).collect()
}

fn fault(message: &str) -> Option<String> {
    let (subject, body) = message.split_once('\n').unwrap_or((message, ""));
    let is_trailer = |line: &&str| line.contains("-by: ");
    let has_body = body.lines().any(|line| !line.trim().is_empty() && !is_trailer(&line));
    if subject.chars().count() > SUBJECT_CHARACTERS {
        return Some(format!("a subject of {} characters: {subject}", subject.chars().count()));
    }
    (!has_body).then(|| format!("no body: {subject}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_without_a_body_or_with_a_long_subject_is_told() {
        let long = format!("a: {}", "b".repeat(70));
        let log = format!("1\na: b\n\nWhy.\n\0\n2\na: b\n\0\n3\n{long}\n\nWhy.\n\0\n4\na: b\n\nSigned-off-by: me\n");
        let told = bare_in(&log);
        let hashes: Vec<_> = told.iter().map(|one| one.split(':').next()).collect();
        assert_eq!(hashes, [Some("2"), Some("3"), Some("4")], "{told:?}");
    }
}
