//! Which types are hand-written copies of a record of the contract. Each language may have one, and
//! the crate at the root, which is the component, may have one besides: its logic is built without
//! the bindings, too.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use syn::visit::{self, Visit};
use syn::{Fields, ItemStruct};
use wit_parser::{Resolve, TypeDefKind};

use super::sources::Crate;
use crate::Result;

/// A record with fewer fields says too little of which type is its copy.
const FEWEST_FIELDS: usize = 3;

/// The names of a type's fields, in snake case.
type Names = BTreeSet<String>;

/// Returns the copies of each record beyond the first of each language.
///
/// # Errors
/// The contract or a file cannot be read.
pub(super) fn copies(root: &Path, crates: &[Crate]) -> Result<Vec<String>> {
    let records = records(root)?;
    let mut languages: BTreeMap<&str, Vec<(String, Names)>> = BTreeMap::new();
    for (path, source) in crates.iter().flat_map(Crate::production) {
        let language = if path.starts_with("src/") { "the component" } else { "Rust" };
        languages.entry(language).or_default().extend(structs(path, &source.parsed));
    }
    for (language, folder, end) in
        [("TypeScript", "bindings/node/src", ".ts"), ("Python", "bindings/python/lazaretto", ".py")]
    {
        let mut files = Vec::new();
        collect(root, folder, end, &mut files)?;
        for path in files {
            let text = fs::read_to_string(root.join(&path))?;
            languages.entry(language).or_default().extend(blocks(&path, &text));
        }
    }
    Ok(languages.iter().flat_map(|(language, types)| beyond(language, types, &records)).collect())
}

fn beyond(language: &str, types: &[(String, Names)], records: &BTreeMap<String, Names>) -> Vec<String> {
    let mut places = Vec::new();
    for (record, fields) in records {
        let copies = types.iter().filter(|(_, names)| is_copy(fields, names));
        places.extend(copies.skip(1).map(|(place, _)| format!("{place} is one more `{record}` in {language}")));
    }
    places
}

/// Returns whether three of four names of both together are names of both.
fn is_copy(fields: &Names, names: &Names) -> bool {
    let (shared, all) = (fields.intersection(names).count(), fields.union(names).count());
    shared * 4 >= all * 3
}

/// Returns the records of the contract by name, those of the same fields once.
fn records(root: &Path) -> Result<BTreeMap<String, Names>> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(root.join("wit"))?;
    let mut records = BTreeMap::new();
    for (_, definition) in &resolve.types {
        let interface = match definition.owner {
            wit_parser::TypeOwner::Interface(id) => &resolve.interfaces[id],
            _ => continue,
        };
        if let (TypeDefKind::Record(record), Some(name)) = (&definition.kind, &definition.name)
            && interface.package == Some(package)
            && record.fields.len() >= FEWEST_FIELDS
        {
            let fields: Names = record.fields.iter().map(|field| field.name.replace('-', "_")).collect();
            if !records.values().any(|other| *other == fields) {
                records.insert(format!("{}.{name}", interface.name.as_deref().unwrap_or_default()), fields);
            }
        }
    }
    Ok(records)
}

fn structs(path: &str, parsed: &syn::File) -> Vec<(String, Names)> {
    struct Structs<'a>(&'a str, Vec<(String, Names)>);
    impl<'ast> Visit<'ast> for Structs<'_> {
        fn visit_item_struct(&mut self, item: &'ast ItemStruct) {
            if let Fields::Named(fields) = &item.fields {
                let names = fields.named.iter().filter_map(|field| Some(field.ident.as_ref()?.to_string())).collect();
                self.1.push((format!("{}:{}: {}", self.0, item.ident.span().start().line, item.ident), names));
            }
            visit::visit_item_struct(self, item);
        }
    }
    let mut visitor = Structs(path, Vec::new());
    visitor.visit_file(parsed);
    visitor.1
}

fn collect(root: &Path, folder: &str, end: &str, files: &mut Vec<String>) -> Result<()> {
    for entry in fs::read_dir(root.join(folder))? {
        let entry = entry?;
        let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            collect(root, &path, end, files)?;
        } else if path.ends_with(end) {
            files.push(path);
        }
    }
    Ok(())
}

/// Returns the interfaces, types and classes of a TypeScript or Python text, each with the names
/// of its members: what stands one step further in, and before a colon.
fn blocks(path: &str, text: &str) -> Vec<(String, Names)> {
    let mut blocks: Vec<(String, Names)> = Vec::new();
    let mut step = None;
    for (number, line) in text.lines().enumerate() {
        let trimmed = line.trim_start();
        let inset = line.len() - trimmed.len();
        if inset == 0 {
            let words: Vec<_> =
                line.split([' ', '(', ':']).filter(|word| !["export", "declare"].contains(word)).collect();
            if let ["interface" | "type" | "class", name, ..] = words[..] {
                blocks.push((format!("{path}:{}: {name}", number + 1), Names::new()));
                step = None;
            }
            continue;
        }
        let (name, is_member) = match trimmed.split_once(':') {
            Some((name, _)) => (name.trim_start_matches("readonly ").trim_end_matches('?'), true),
            None => (trimmed, false),
        };
        let is_name = !name.is_empty() && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
        if is_member
            && is_name
            && *step.get_or_insert(inset) == inset
            && let Some((_, names)) = blocks.last_mut()
        {
            names.insert(snake(name));
        }
    }
    blocks.retain(|(_, names)| !names.is_empty());
    blocks
}

fn snake(name: &str) -> String {
    let mut snake = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake.replace("seconds", "s")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Names {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn the_second_copy_of_a_language_is_told() {
        let records = BTreeMap::from([("keeper.error".to_owned(), names(&["code", "action", "message", "run"]))]);
        let parsed = syn::parse_file("struct A { code: u8, action: u8, message: u8 } struct B { code: u8, at: u8 }");
        let mut types = structs("a.rs", &parsed.expect("Rust"));
        assert_eq!(beyond("Rust", &types, &records), Vec::<String>::new());
        let again = syn::parse_file("struct C { code: u8, action: u8, message: u8, run: u8, more: u8 }");
        types.extend(structs("b.rs", &again.expect("Rust")));
        assert_eq!(beyond("Rust", &types, &records), ["b.rs:1: C is one more `keeper.error` in Rust"]);
    }

    #[test]
    fn members_of_other_languages_are_read() {
        let typescript = "export interface Error {\n  /** Why: so. */\n  readonly code: string;\n  retryAfterSeconds?: number;\n  in: {\n    no: string;\n  }\n}\n";
        assert_eq!(blocks("a.ts", typescript), [("a.ts:1: Error".to_owned(), names(&["code", "retry_after_s", "in"]))]);
        let python =
            "class Error(Base):\n    \"\"\"Why: so.\"\"\"\n\n    code: str\n    def f(self):\n        no: int\n";
        assert_eq!(blocks("a.py", python), [("a.py:1: Error".to_owned(), names(&["code"]))]);
    }
}
