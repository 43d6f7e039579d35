//! The modules of a crate, and which of them a path leads to. What a module re-exports belongs to
//! the module that defines it, so a file that only passes names on depends on nothing for it.

use std::collections::{BTreeMap, BTreeSet};

use syn::{Item, UseTree};

use super::sources::{self, Crate};

/// A module's number.
pub(super) type Id = usize;

/// One module: a file, or a `mod` with a body in one.
#[derive(Default)]
pub(super) struct Module {
    /// The file that it lies in.
    pub(super) file: String,
    parent: Option<Id>,
    children: BTreeMap<String, Id>,
    items: BTreeSet<String>,
    imports: BTreeMap<String, Vec<String>>,
    globs: Vec<Vec<String>>,
}

/// Where a path leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// To a module.
    Module(Id),
    /// To an item: the module that defines it, its name, and the name that follows it, if one does.
    Item(Id, String, Option<String>),
}

/// The modules of a crate's production code.
#[derive(Default)]
pub(super) struct Modules {
    all: Vec<Module>,
    roots: BTreeMap<Id, Id>,
}

impl Modules {
    /// Reads the modules of a crate.
    pub(super) fn of(one: &Crate) -> Self {
        let mut modules = Modules::default();
        for root in &one.roots {
            if let Some(source) = one.files.get(root) {
                let folder = sources::children_folder(root, true);
                modules.add(one, None, root, &folder, &source.parsed.items);
            }
        }
        modules
    }

    fn add(&mut self, one: &Crate, parent: Option<Id>, file: &str, folder: &str, items: &[Item]) -> Id {
        let id = self.all.len();
        self.all.push(Module { file: file.to_owned(), parent, ..Module::default() });
        let root = parent.and_then(|parent| self.roots.get(&parent).copied()).unwrap_or(id);
        self.roots.insert(id, root);
        for item in items.iter().filter(|item| !sources::is_test(attributes(item))) {
            if let Item::Mod(module) = item {
                let name = module.ident.to_string();
                let child = match &module.content {
                    Some((_, inner)) => Some(self.add(one, Some(id), file, &format!("{folder}/{name}"), inner)),
                    None => self.add_file(one, id, module, file, folder),
                };
                self.all[id].children.extend(child.map(|child| (name, child)));
            } else if let Item::Use(import) = item {
                self.import(id, &import.tree, &mut Vec::new());
            } else if let Some(name) = name_of(item) {
                self.all[id].items.insert(name);
            }
        }
        id
    }

    fn add_file(&mut self, one: &Crate, parent: Id, module: &syn::ItemMod, file: &str, folder: &str) -> Option<Id> {
        let child = sources::module_file(module, file, folder, &one.files)?;
        let source = one.files.get(&child)?;
        let folder = sources::children_folder(&child, false);
        Some(self.add(one, Some(parent), &child, &folder, &source.parsed.items))
    }

    /// Adds what a `use` in the module brings into it.
    pub(super) fn import(&mut self, id: Id, tree: &UseTree, before: &mut Vec<String>) {
        let mut names = Vec::new();
        flatten(tree, before, &mut names);
        for (path, alias) in names {
            match alias {
                Some(alias) => drop(self.all[id].imports.entry(alias).or_insert(path)),
                None => self.all[id].globs.push(path),
            }
        }
    }

    /// Returns every module.
    pub(super) fn all(&self) -> impl Iterator<Item = (Id, &Module)> {
        self.all.iter().enumerate()
    }

    /// Returns the module that `name` is declared as within `id`.
    pub(super) fn child(&self, id: Id, name: &str) -> Option<Id> {
        self.all[id].children.get(name).copied()
    }

    /// Returns the file of a module.
    pub(super) fn file(&self, id: Id) -> &str {
        &self.all[id].file
    }

    /// Returns where a path in the module `id` leads, if that is within the crate.
    pub(super) fn resolve(&self, id: Id, path: &[String]) -> Option<Target> {
        self.find(id, path, 0)
    }

    fn find(&self, id: Id, path: &[String], depth: usize) -> Option<Target> {
        // Two modules that pass each other's names on would send us round for ever.
        if depth > 16 {
            return None;
        }
        match path.first()?.as_str() {
            "crate" => self.walk(self.roots[&id], &path[1..], depth),
            "self" => self.walk(id, &path[1..], depth),
            "super" => self.walk(self.all[id].parent?, &path[1..], depth),
            _ => self.walk(id, path, depth),
        }
    }

    fn walk(&self, id: Id, path: &[String], depth: usize) -> Option<Target> {
        let Some((name, rest)) = path.split_first() else { return Some(Target::Module(id)) };
        let module = &self.all[id];
        if name == "super" {
            return self.walk(module.parent?, rest, depth);
        }
        if let Some(child) = module.children.get(name) {
            return self.walk(*child, rest, depth);
        }
        if module.items.contains(name) {
            return Some(Target::Item(id, name.clone(), rest.first().cloned()));
        }
        if let Some(import) = module.imports.get(name) {
            // `use a as a` and the names of other crates would lead here again.
            if import.first() == Some(name) {
                return None;
            }
            let whole: Vec<_> = import.iter().chain(rest).cloned().collect();
            return self.find(id, &whole, depth + 1);
        }
        module.globs.iter().find_map(|glob| match self.find(id, glob, depth + 1)? {
            Target::Module(from) if from != id => self.walk(from, path, depth + 1),
            _ => None,
        })
    }
}

/// Adds to `names` each path that a `use` names, with the name that it has here; none for a glob.
pub(super) fn flatten(tree: &UseTree, before: &mut Vec<String>, names: &mut Vec<(Vec<String>, Option<String>)>) {
    match tree {
        UseTree::Path(path) => {
            before.push(path.ident.to_string());
            flatten(&path.tree, before, names);
            before.pop();
        }
        UseTree::Name(name) if name.ident == "self" => names.push((before.clone(), before.last().cloned())),
        UseTree::Name(name) => names.push((with(before, &name.ident), Some(name.ident.to_string()))),
        UseTree::Rename(rename) if rename.ident == "self" => {
            names.push((before.clone(), Some(rename.rename.to_string())));
        }
        UseTree::Rename(rename) => names.push((with(before, &rename.ident), Some(rename.rename.to_string()))),
        UseTree::Glob(_) => names.push((before.clone(), None)),
        UseTree::Group(group) => group.items.iter().for_each(|item| flatten(item, before, names)),
    }
}

fn with(before: &[String], last: &syn::Ident) -> Vec<String> {
    before.iter().cloned().chain([last.to_string()]).collect()
}

/// Returns the attributes of an item.
pub(super) fn attributes(item: &Item) -> &[syn::Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

fn name_of(item: &Item) -> Option<String> {
    let name = match item {
        Item::Const(item) => &item.ident,
        Item::Enum(item) => &item.ident,
        Item::Fn(item) => &item.sig.ident,
        Item::Macro(item) => item.ident.as_ref()?,
        Item::Static(item) => &item.ident,
        Item::Struct(item) => &item.ident,
        Item::Trait(item) => &item.ident,
        Item::Type(item) => &item.ident,
        Item::Union(item) => &item.ident,
        _ => return None,
    };
    Some(name.to_string())
}
