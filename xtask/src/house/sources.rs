//! Every Rust file of the workspace, parsed, by crate. A file is production code if a `lib.rs`,
//! a `main.rs` or another target that is no test reaches it without passing a `cfg(test)`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};

use syn::{Attribute, Expr, ExprLit, Item, ItemMod, Lit, Meta};
use toml::{Table, Value};

use crate::Result;

/// One crate of the workspace.
pub(super) struct Crate {
    /// The package's name.
    pub(super) name: String,
    /// Its files, by their paths from the workspace.
    pub(super) files: BTreeMap<String, Source>,
    /// The files that a target begins with, and that are no tests.
    pub(super) roots: Vec<String>,
    production: BTreeSet<String>,
}

/// One file.
pub(super) struct Source {
    pub(super) text: String,
    pub(super) parsed: syn::File,
}

impl Crate {
    /// Returns the files that are production code.
    pub(super) fn production(&self) -> impl Iterator<Item = (&String, &Source)> {
        self.files.iter().filter(|(path, _)| self.production.contains(*path))
    }

    /// Makes a crate of these files; those in `src/` that a root there reaches are production code.
    pub(super) fn of(name: &str, folder: &str, files: BTreeMap<String, Source>) -> Self {
        let within = |path: &str| path.strip_prefix(folder).unwrap_or(path).trim_start_matches('/').to_owned();
        let is_root = |path: &&String| {
            let within = within(path);
            matches!(within.as_str(), "src/lib.rs" | "src/main.rs" | "build.rs") || within.starts_with("src/bin/")
        };
        let roots: Vec<_> = files.keys().filter(is_root).cloned().collect();
        let mut production = BTreeSet::new();
        for root in &roots {
            reach(root, true, &files, &mut production);
        }
        Crate { name: name.to_owned(), files, roots, production }
    }
}

impl Source {
    /// Parses a text.
    ///
    /// # Errors
    /// It is not Rust.
    pub(super) fn parse(text: String) -> syn::Result<Self> {
        Ok(Source { parsed: syn::parse_file(&text)?, text })
    }

    /// Returns how many lines come before the first `#[cfg(test)] mod`: those that are no tests.
    pub(super) fn lines(&self) -> usize {
        let tests = self.parsed.items.iter().find_map(|item| match item {
            Item::Mod(module) if is_test(&module.attrs) => module.attrs.first(),
            _ => None,
        });
        let all = self.text.lines().count();
        tests.map_or(all, |attribute| attribute.pound_token.span.start().line.saturating_sub(1))
    }
}

/// Adds to `reached` the files that the modules declared in `path` lie in, and theirs.
fn reach(path: &str, is_root: bool, files: &BTreeMap<String, Source>, reached: &mut BTreeSet<String>) {
    let Some(source) = files.get(path) else { return };
    if !reached.insert(path.to_owned()) {
        return;
    }
    let folder = children_folder(path, is_root);
    reach_items(&source.parsed.items, path, &folder, files, reached);
}

fn reach_items(
    items: &[Item],
    path: &str,
    folder: &str,
    files: &BTreeMap<String, Source>,
    reached: &mut BTreeSet<String>,
) {
    for item in items {
        let Item::Mod(module) = item else { continue };
        if is_test(&module.attrs) {
            continue;
        }
        if let Some((_, inner)) = &module.content {
            reach_items(inner, path, &format!("{folder}/{}", module.ident), files, reached);
        } else if let Some(child) = module_file(module, path, folder, files) {
            reach(&child, false, files, reached);
        }
    }
}

/// Returns the folder that the modules declared in `path` lie in.
pub(super) fn children_folder(path: &str, is_root: bool) -> String {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    if is_root || name == "mod.rs" { folder.to_owned() } else { format!("{folder}/{}", name.trim_end_matches(".rs")) }
}

/// Returns the file of a module that is declared in the file `path`, if it is among `files`.
pub(super) fn module_file(
    module: &ItemMod,
    path: &str,
    folder: &str,
    files: &BTreeMap<String, Source>,
) -> Option<String> {
    let own = |attribute: &&Attribute| attribute.path().is_ident("path");
    if let Some(attribute) = module.attrs.iter().find(own) {
        let here = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let named = text_of(attribute)?;
        return Some(normal(&Path::new(here).join(named))).filter(|file| files.contains_key(file));
    }
    let name = module.ident.to_string();
    let name = name.trim_start_matches("r#");
    let candidates = [format!("{folder}/{name}.rs"), format!("{folder}/{name}/mod.rs")];
    candidates.into_iter().map(|file| file.trim_start_matches('/').to_owned()).find(|file| files.contains_key(file))
}

/// Returns the text of an attribute like `#[path = "..."]`.
fn text_of(attribute: &Attribute) -> Option<String> {
    match &attribute.meta {
        Meta::NameValue(pair) => match &pair.value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value()),
            _ => None,
        },
        _ => None,
    }
}

/// Returns whether these attributes leave an item to the tests alone.
pub(super) fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let Meta::List(list) = &attribute.meta else { return false };
        let words = list.tokens.to_string();
        list.path.is_ident("cfg") && (words == "test" || (words.starts_with("all") && words.contains("test")))
    })
}

/// Reads and parses every crate of the workspace at `root`.
///
/// # Errors
/// A file cannot be read or parsed.
pub(super) fn workspace(root: &Path) -> Result<Vec<Crate>> {
    let members = members(root)?;
    let mut crates = Vec::new();
    for folder in &members {
        let manifest: Table = fs::read_to_string(root.join(folder).join("Cargo.toml"))?.parse()?;
        let name = manifest.get("package").and_then(|package| package.get("name")).and_then(Value::as_str);
        let others: Vec<_> = members.iter().filter(|other| *other != folder).cloned().collect();
        let mut files = BTreeMap::new();
        collect(root, folder, &others, &mut files)?;
        crates.push(Crate::of(name.unwrap_or(folder), folder, files));
    }
    Ok(crates)
}

/// Returns the folders of the workspace's members, from its root; `""` is the root itself.
///
/// # Errors
/// The manifest cannot be read.
pub(super) fn members(root: &Path) -> Result<Vec<String>> {
    let manifest: Table = fs::read_to_string(root.join("Cargo.toml"))?.parse()?;
    let members = manifest.get("workspace").and_then(|workspace| workspace.get("members"));
    let members = members.and_then(Value::as_array).ok_or("the manifest has no members")?;
    Ok(members.iter().filter_map(Value::as_str).map(|member| member.trim_start_matches('.').to_owned()).collect())
}

/// Adds the Rust files under `folder`, but those in `others`, in what is built, and in what
/// packages from elsewhere brought.
fn collect(root: &Path, folder: &str, others: &[String], files: &mut BTreeMap<String, Source>) -> Result<()> {
    const NOT_OURS: [&str; 6] = ["target", "node_modules", "dist", "bindings", "fuzz", "generated"];
    for entry in fs::read_dir(root.join(folder))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{folder}/{name}").trim_start_matches('/').to_owned();
        let kind = entry.file_type()?;
        if kind.is_dir() {
            let is_left = name.starts_with('.') || NOT_OURS.contains(&name.as_str()) || others.contains(&path);
            if !is_left {
                collect(root, &path, others, files)?;
            }
        } else if kind.is_file() && name.ends_with(".rs") {
            let text = fs::read_to_string(entry.path())?;
            let source = Source::parse(text).map_err(|error| format!("{path}: {error}"))?;
            files.insert(path, source);
        }
    }
    Ok(())
}

/// Returns a path without `.` and `..` in it.
pub(super) fn normal(path: &Path) -> String {
    let mut kept = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(kept.pop()),
            Component::Normal(name) => kept.push(name),
            _ => {}
        }
    }
    kept.to_string_lossy().into_owned()
}

/// Makes a crate in the folder `c` of these texts, for tests.
#[cfg(test)]
pub(super) fn crate_of(files: &[(&str, &str)]) -> Crate {
    let parsed = |text: &str| Source::parse(text.to_owned()).expect("Rust");
    let files = files.iter().map(|(path, text)| (format!("c/{path}"), parsed(text))).collect();
    Crate::of("c", "c", files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_tests_reach_is_no_production_code() {
        let one = crate_of(&[
            ("src/lib.rs", "mod a; mod b { mod c; } #[cfg(test)] mod t; #[path = \"odd.rs\"] mod d;"),
            ("src/a.rs", "mod e;"),
            ("src/a/e.rs", ""),
            ("src/b/c.rs", ""),
            ("src/odd.rs", ""),
            ("src/t.rs", ""),
            ("src/nobody.rs", ""),
            ("tests/it.rs", ""),
        ]);
        let production: Vec<_> = one.production().map(|(path, _)| path.as_str()).collect();
        assert_eq!(production, ["c/src/a.rs", "c/src/a/e.rs", "c/src/b/c.rs", "c/src/lib.rs", "c/src/odd.rs"]);
    }

    #[test]
    fn lines_end_where_the_tests_begin() {
        let source = Source::parse("fn a() {}\n\n#[cfg(test)]\nmod tests {\n}\n".to_owned()).expect("Rust");
        assert_eq!(source.lines(), 2);
    }
}
