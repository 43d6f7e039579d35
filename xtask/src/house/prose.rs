//! What comments and documents look like: how wide their lines are, and which examples they hold.

use std::fs;
use std::path::Path;

use super::sources::Crate;
use crate::Result;

const COLUMNS: usize = 100;

/// Returns a place for each example in the doc comments of production code that is compiled.
pub(super) fn examples(crates: &[Crate]) -> Vec<String> {
    let mut places = Vec::new();
    for (path, source) in crates.iter().flat_map(Crate::production) {
        places.extend(examples_in(&source.text).into_iter().map(|line| format!("{path}:{line}: an example")));
    }
    places
}

/// Returns the lines of a Rust text at which a compiled example begins.
fn examples_in(text: &str) -> Vec<usize> {
    let (mut lines, mut in_fence) = (Vec::new(), false);
    for (number, line) in text.lines().enumerate() {
        let line = line.trim_start();
        let Some(doc) = line.strip_prefix("///").or_else(|| line.strip_prefix("//!")) else {
            in_fence = false;
            continue;
        };
        let Some(language) = doc.trim().strip_prefix("```") else { continue };
        if !in_fence && is_compiled(language) {
            lines.push(number + 1);
        }
        in_fence = !in_fence;
    }
    lines
}

fn is_compiled(language: &str) -> bool {
    const COMPILED: [&str; 5] = ["", "rust", "no_run", "should_panic", "compile_fail"];
    language.split(',').all(|word| COMPILED.contains(&word.trim()) || word.trim().starts_with("edition"))
}

/// Returns every line of a comment or a document that is wider than it may be.
///
/// # Errors
/// A folder or a file cannot be read.
pub(super) fn wide(root: &Path, crates: &[Crate]) -> Result<Vec<String>> {
    let mut places = Vec::new();
    for (path, source) in crates.iter().flat_map(|one| &one.files) {
        places.extend(told(path, comments(&source.text, "//")));
    }
    let mut others = Vec::new();
    for folder in
        ["", "wit", "docs", "bindings", "examples", "ffi", "adapters", "host", "cli", "testing", "xtask", "tests"]
    {
        collect(root, folder, folder.is_empty(), &mut others)?;
    }
    others.sort();
    others.dedup();
    for path in others {
        let text = fs::read_to_string(root.join(&path))?;
        let lines = match path.rsplit('.').next() {
            Some("md") => markdown(&text),
            Some("py" | "toml" | "sh") => comments(&text, "#"),
            _ => comments(&text, "//"),
        };
        places.extend(told(&path, lines));
    }
    Ok(places)
}

fn told(path: &str, lines: Vec<(usize, usize)>) -> impl Iterator<Item = String> {
    lines.into_iter().map(move |(line, columns)| format!("{path}:{line}: {columns} columns"))
}

/// Adds the files under a folder that hold prose and are not Rust.
fn collect(root: &Path, folder: &str, is_flat: bool, files: &mut Vec<String>) -> Result<()> {
    const NOT_OURS: [&str; 8] =
        ["target", "node_modules", "dist", "deps", "generated", "__pycache__", "conformance", "build"];
    const PROSE: [&str; 9] = ["md", "wit", "ts", "mjs", "js", "h", "py", "toml", "sh"];
    let Ok(entries) = fs::read_dir(root.join(folder)) else { return Ok(()) };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{folder}/{name}").trim_start_matches('/').to_owned();
        let kind = entry.file_type()?;
        let is_left = name.starts_with('.') || NOT_OURS.contains(&name.as_str());
        if kind.is_dir() && !is_flat && !is_left {
            collect(root, &path, false, files)?;
        } else if kind.is_file() && name.rsplit_once('.').is_some_and(|(_, kind)| PROSE.contains(&kind)) {
            files.push(path);
        }
    }
    Ok(())
}

/// Returns the comment lines that are too wide, with their widths. `sign` begins a comment.
fn comments(text: &str, sign: &str) -> Vec<(usize, usize)> {
    let (mut wide, mut in_fence) = (Vec::new(), false);
    for (number, line) in text.lines().enumerate() {
        let trimmed = line.trim_start();
        let is_star = sign == "//" && trimmed.starts_with("* ");
        let Some(prose) = trimmed.strip_prefix(sign).or(if is_star { trimmed.strip_prefix('*') } else { None }) else {
            in_fence = false;
            continue;
        };
        let prose = prose.trim_start_matches(['/', '!', '#']);
        if prose.trim_start().starts_with("```") {
            in_fence = !in_fence;
        } else if !in_fence {
            wide.extend(too_wide(number, line, prose));
        }
    }
    wide
}

/// Returns the lines of prose of a document that are too wide, with their widths.
fn markdown(text: &str) -> Vec<(usize, usize)> {
    let (mut wide, mut in_fence) = (Vec::new(), false);
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_fence = !in_fence;
        } else if !in_fence && !line.starts_with('#') {
            wide.extend(too_wide(number, line, line));
        }
    }
    wide
}

/// Returns the number and the width of a line that could be broken and is too wide.
fn too_wide(number: usize, line: &str, prose: &str) -> Option<(usize, usize)> {
    let columns = line.chars().count();
    let prose = prose.trim();
    let is_table = prose.starts_with('|');
    let is_one_word = !prose.trim_start_matches(['-', '*', ' ']).contains(' ');
    let is_link = prose.starts_with('[') && prose.contains("]: ");
    (columns > COLUMNS && !is_table && !is_one_word && !is_link).then_some((number + 1, columns))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_examples_that_are_compiled_count() {
        let text = "/// ```\n/// a\n/// ```\nfn a() {}\n//! ```text\n//! ```\n/// ```no_run\n/// ```\n/// ```ignore\n/// ```\n";
        assert_eq!(examples_in(text), [1, 7]);
    }

    #[test]
    fn wide_prose_is_told_and_what_cannot_be_broken_is_not() {
        let wide = "word ".repeat(21);
        let long = "w".repeat(110);
        let text = format!(
            "/// {wide}\n// {long}\n//! | {wide} |\n/// ```\n/// {wide}\n/// ```\nlet a = 1; // {wide}\n    // {wide}\n"
        );
        let lines: Vec<_> = comments(&text, "//").into_iter().map(|(line, _)| line).collect();
        assert_eq!(lines, [1, 8]);
        let text = format!("# {wide}\n{wide}\n[a]: {wide}\n```\n{wide}\n```\n- {long}\n- {wide}\n");
        let lines: Vec<_> = markdown(&text).into_iter().map(|(line, _)| line).collect();
        assert_eq!(lines, [2, 8]);
    }
}
