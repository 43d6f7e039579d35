//! Which crate of the workspace depends on which, for building, for running and for its tests.

use std::fs;
use std::path::Path;

use toml::{Table, Value};

use super::circles::{self, Graph};
use super::sources::{members, normal};
use crate::Result;

/// Returns every dependency that lies within a circle of crates.
///
/// # Errors
/// A manifest cannot be read.
pub(super) fn circles(root: &Path) -> Result<Vec<String>> {
    let mut graph = Graph::default();
    for folder in members(root)? {
        let manifest = fs::read_to_string(root.join(&folder).join("Cargo.toml"))?.parse()?;
        add(&folder, &manifest, &mut graph);
    }
    Ok(circles::told(&graph))
}

fn add(folder: &str, manifest: &Table, graph: &mut Graph) {
    let here = if folder.is_empty() { "." } else { folder };
    let targets = manifest.get("target").and_then(Value::as_table);
    let of_targets = targets.into_iter().flat_map(Table::values).filter_map(Value::as_table);
    for table in of_targets.chain([manifest]) {
        for kind in ["dependencies", "build-dependencies", "dev-dependencies"] {
            for (name, dependency) in table.get(kind).and_then(Value::as_table).into_iter().flatten() {
                let Some(path) = dependency.get("path").and_then(Value::as_str) else { continue };
                let to = normal(&Path::new(folder).join(path));
                let to = if to.is_empty() { ".".to_owned() } else { to };
                graph.add(here, &to, || format!("{here}/Cargo.toml: {kind}: {name}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crates_that_depend_on_each_other_are_a_circle() {
        let mut graph = Graph::default();
        add("", &"[dependencies]\na = { path = \"a\" }\nserde = \"1\"".parse().expect("TOML"), &mut graph);
        add("b", &"[dependencies]\na = { path = \"../a\" }".parse().expect("TOML"), &mut graph);
        assert!(circles::told(&graph).is_empty());
        let manifest = "[target.'cfg(unix)'.dev-dependencies]\nroot = { path = \"..\" }";
        add("a", &manifest.parse().expect("TOML"), &mut graph);
        assert_eq!(circles::told(&graph).len(), 2);
    }
}
