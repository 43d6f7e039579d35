//! Which file of a TypeScript folder imports which.

use std::fs;
use std::path::Path;

use super::circles::Graph;
use super::sources::normal;
use crate::Result;

/// Returns the imports among the files under a folder, types as well as values.
///
/// # Errors
/// A file cannot be read.
pub(super) fn edges(root: &Path, folder: &str) -> Result<Graph> {
    let mut graph = Graph::default();
    walk(root, folder, &mut graph)?;
    Ok(graph)
}

fn walk(root: &Path, folder: &str, graph: &mut Graph) -> Result<()> {
    for entry in fs::read_dir(root.join(folder))? {
        let entry = entry?;
        let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            walk(root, &path, graph)?;
        } else if path.ends_with(".ts") {
            let text = fs::read_to_string(entry.path())?;
            add(&path, &text, graph);
        }
    }
    Ok(())
}

fn add(path: &str, text: &str, graph: &mut Graph) {
    let here = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    for (line, named) in imports(text) {
        let target = normal(&Path::new(here).join(&named));
        let target = target.strip_suffix(".js").map_or(target.clone(), |stem| format!("{stem}.ts"));
        graph.add(path, &target, || format!("{path}:{line}: {named}"));
    }
}

/// Returns what a text imports from beside it, with the line of each.
fn imports(text: &str) -> Vec<(usize, String)> {
    let code = without_comments(text);
    let mut found = Vec::new();
    for word in ["from", "import", "import("] {
        for (at, _) in code.match_indices(word) {
            let after = code[at + word.len()..].trim_start();
            let Some(sign) = after.chars().next().filter(|sign| ['\'', '"'].contains(sign)) else { continue };
            let named = after[1..].split(sign).next().unwrap_or_default();
            if named.starts_with('.') {
                found.push((code[..at].matches('\n').count() + 1, named.to_owned()));
            }
        }
    }
    found
}

/// Returns a text with blanks for its comments. What stands in quotation marks is no comment.
fn without_comments(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if ['\'', '"', '`'].contains(&first) {
            let length = quoted(rest, first);
            kept.push_str(&rest[..length]);
            rest = &rest[length..];
            continue;
        } else {
            kept.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        kept.extend(rest[..length].chars().map(|letter| if letter == '\n' { '\n' } else { ' ' }));
        rest = &rest[length..];
    }
    kept
}

/// Returns how long the quoted text is that begins here.
fn quoted(text: &str, sign: char) -> usize {
    let mut is_escaped = false;
    for (at, letter) in text.char_indices().skip(1) {
        match letter {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            _ if letter == sign || (letter == '\n' && sign != '`') => return at + letter.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::house::circles;

    #[test]
    fn every_way_to_import_is_read() {
        let text = "// import './no.js'\nimport { a,\n  b } from './b.js';\nexport * from \"../c.js\";\nimport './d.js';\n\
                    const e = await import('./e.js'); /* from './no.js' */\nimport { f } from 'node:fs';\nconst g = \"from\";\n";
        let mut named: Vec<_> = imports(text).into_iter().map(|(line, name)| format!("{line} {name}")).collect();
        named.sort();
        assert_eq!(named, ["3 ./b.js", "4 ../c.js", "5 ./d.js", "6 ./e.js"]);
    }

    #[test]
    fn files_that_import_each_other_are_a_circle() {
        let mut graph = Graph::default();
        add("s/a.ts", "import { b } from './x/b.js';", &mut graph);
        add("s/x/b.ts", "import type { a } from '../a.js';", &mut graph);
        assert_eq!(circles::told(&graph).len(), 2);
    }
}
