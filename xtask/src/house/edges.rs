//! Which file of a crate depends on which: by the paths in its code, and by the methods that it
//! calls on `self` where another file than the type's gives the type that method.

use std::collections::BTreeMap;

use proc_macro2::{Spacing, TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Expr, ExprMethodCall, ImplItem, Item, ItemImpl, ItemMod, ItemUse, Path, Type, Visibility};

use super::circles::Graph;
use super::modules::{self, Id, Modules, Target};
use super::sources::{self, Crate};

/// The file of each inherent method: by the module and name of its type, and its own name.
type Methods = BTreeMap<(Id, String, String), String>;

/// Returns the dependencies among the production files of a crate.
pub(super) fn of_crate(one: &Crate) -> Graph {
    let modules = Modules::of(one);
    let methods = methods(one, &modules);
    let mut graph = Graph::default();
    for (id, items) in bodies(one, &modules) {
        let mut walker = Walker { modules: &modules, methods: &methods, id, own: None, graph: &mut graph };
        items.iter().for_each(|item| walker.visit_item(item));
    }
    graph
}

/// Returns every module with its items.
fn bodies<'a>(one: &'a Crate, modules: &Modules) -> Vec<(Id, &'a [Item])> {
    let mut bodies = Vec::new();
    for (id, module) in modules.all() {
        // A module in a file is walked from that file's own, which comes before it.
        let is_known = bodies.iter().any(|(other, _)| modules.file(*other) == module.file);
        if let (false, Some(source)) = (is_known, one.files.get(&module.file)) {
            inner(id, &source.parsed.items, modules, &mut bodies);
        }
    }
    bodies
}

fn inner<'a>(id: Id, items: &'a [Item], modules: &Modules, bodies: &mut Vec<(Id, &'a [Item])>) {
    bodies.push((id, items));
    for item in items {
        if let Item::Mod(ItemMod { ident, content: Some((_, items)), .. }) = item
            && let Some(child) = modules.child(id, &ident.to_string())
        {
            inner(child, items, modules, bodies);
        }
    }
}

fn methods(one: &Crate, modules: &Modules) -> Methods {
    let mut methods = Methods::new();
    for (id, items) in bodies(one, modules) {
        for item in items {
            let Item::Impl(block) = item else { continue };
            let is_ours = block.trait_.is_none() && !sources::is_test(&block.attrs);
            let Some((home, name)) = owner(modules, id, block).filter(|_| is_ours) else { continue };
            for item in &block.items {
                if let ImplItem::Fn(method) = item {
                    let key = (home, name.clone(), method.sig.ident.to_string());
                    methods.insert(key, modules.file(id).to_owned());
                }
            }
        }
    }
    methods
}

/// Returns the module and the name of the type that a block is for.
fn owner(modules: &Modules, id: Id, block: &ItemImpl) -> Option<(Id, String)> {
    let Type::Path(path) = &*block.self_ty else { return None };
    match modules.resolve(id, &segments(&path.path))? {
        Target::Item(home, name, _) => Some((home, name)),
        Target::Module(_) => None,
    }
}

fn segments(path: &Path) -> Vec<String> {
    path.segments.iter().map(|segment| segment.ident.to_string()).collect()
}

struct Walker<'a> {
    modules: &'a Modules,
    methods: &'a Methods,
    id: Id,
    /// The type that `self` is of.
    own: Option<(Id, String)>,
    graph: &'a mut Graph,
}

impl Walker<'_> {
    fn path(&mut self, path: &[String], line: usize) {
        match self.modules.resolve(self.id, path) {
            Some(Target::Item(home, name, next)) => {
                self.edge(self.modules.file(home), &path.join("::"), line);
                if let Some(method) = next {
                    self.method((home, name), &method, line);
                }
            }
            // What is used of a module is named by another path.
            Some(Target::Module(_)) | None => {}
        }
        if let ([first, method, ..], Some(own)) = (path, self.own.clone())
            && first == "Self"
        {
            self.method(own, method, line);
        }
    }

    fn method(&mut self, (home, name): (Id, String), method: &str, line: usize) {
        let methods = self.methods;
        if let Some(file) = methods.get(&(home, name, method.to_owned())) {
            self.edge(file, &format!("{method}()"), line);
        }
    }

    fn edge(&mut self, to: &str, what: &str, line: usize) {
        let from = self.modules.file(self.id);
        self.graph.add(from, to, || format!("{from}:{line}: {what}"));
    }

    /// Finds paths and calls on `self` in what a macro is given.
    fn tokens(&mut self, tokens: TokenStream) {
        let tokens: Vec<_> = tokens.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            if let TokenTree::Group(group) = &tokens[at] {
                self.tokens(group.stream());
            }
            let (path, after) = path_at(&tokens, at);
            let line = tokens[at].span().start().line;
            if path.len() > 1 {
                self.path(&path, line);
            }
            if let ([word], [TokenTree::Punct(dot), TokenTree::Ident(method), ..]) = (&path[..], &tokens[after..])
                && (word == "self" && dot.as_char() == '.')
                && let Some(own) = self.own.clone()
            {
                self.method(own, &method.to_string(), line);
            }
            at = after;
        }
    }
}

/// Returns the path that begins at a token, and where it ends: one token on if there is none.
fn path_at(tokens: &[TokenTree], at: usize) -> (Vec<String>, usize) {
    let TokenTree::Ident(first) = &tokens[at] else { return (Vec::new(), at + 1) };
    let mut path = vec![first.to_string()];
    let mut after = at + 1;
    while let [TokenTree::Punct(one), TokenTree::Punct(two), TokenTree::Ident(name), ..] = &tokens[after..] {
        if (one.as_char(), one.spacing(), two.as_char()) != (':', Spacing::Joint, ':') {
            break;
        }
        path.push(name.to_string());
        after += 3;
    }
    (path, after)
}

impl<'ast> Visit<'ast> for Walker<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        if !sources::is_test(modules::attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    // Its items are walked as a module of their own.
    fn visit_item_mod(&mut self, _: &'ast ItemMod) {}

    fn visit_item_use(&mut self, import: &'ast ItemUse) {
        // To pass a name on is no use of it.
        if !matches!(import.vis, Visibility::Inherited) {
            return;
        }
        let mut names = Vec::new();
        modules::flatten(&import.tree, &mut Vec::new(), &mut names);
        let line = import.span().start().line;
        for (path, alias) in names {
            match (self.modules.resolve(self.id, &path), alias) {
                (Some(Target::Module(home)), None) => self.edge(self.modules.file(home), &path.join("::"), line),
                _ => self.path(&path, line),
            }
        }
    }

    fn visit_item_impl(&mut self, block: &'ast ItemImpl) {
        let outer = self.own.take();
        self.own = owner(self.modules, self.id, block);
        visit::visit_item_impl(self, block);
        self.own = outer;
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        let attributes = match item {
            ImplItem::Fn(item) => &item.attrs[..],
            ImplItem::Const(item) => &item.attrs,
            _ => &[],
        };
        if !sources::is_test(attributes) {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_path(&mut self, path: &'ast Path) {
        self.path(&segments(path), path.span().start().line);
        visit::visit_path(self, path);
    }

    fn visit_expr_method_call(&mut self, call: &'ast ExprMethodCall) {
        if let (Expr::Path(receiver), Some(own)) = (&*call.receiver, self.own.clone())
            && receiver.path.is_ident("self")
        {
            self.method(own, &call.method.to_string(), call.span().start().line);
        }
        visit::visit_expr_method_call(self, call);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.tokens(call.tokens.clone());
        visit::visit_macro(self, call);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::house::circles;

    fn told(files: &[(&str, &str)]) -> Vec<String> {
        circles::told(&of_crate(&sources::crate_of(files)))
    }

    #[test]
    fn two_files_that_name_each_other_are_a_circle() {
        let told = told(&[
            ("src/lib.rs", "mod a; mod b;"),
            ("src/a.rs", "use crate::b::B; pub struct A(B);"),
            ("src/b.rs", "pub struct B; fn f() { let _: super::a::A; }"),
        ]);
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].starts_with("c/src/a.rs:1: crate::b::B"), "{told:?}");
    }

    #[test]
    fn a_name_in_a_macro_makes_a_circle_too() {
        let told = told(&[
            ("src/lib.rs", "mod a; mod b;"),
            ("src/a.rs", "pub const A: u8 = crate::b::B;"),
            ("src/b.rs", "pub const B: u8 = 1; fn f() { println!(\"{}\", crate::a::A) }"),
        ]);
        assert_eq!(told.len(), 2, "{told:?}");
    }

    #[test]
    fn methods_of_one_type_in_two_files_are_followed() {
        let told = told(&[
            ("src/lib.rs", "mod a; mod b;"),
            ("src/a.rs", "pub struct A; impl A { fn one(&self) { self.two() } }"),
            ("src/b.rs", "use crate::a::A; impl A { pub fn two(&self) {} }"),
        ]);
        assert_eq!(told.len(), 2, "{told:?}");
    }

    #[test]
    fn a_file_that_passes_names_on_is_in_no_circle() {
        let told = told(&[
            ("src/lib.rs", "mod a; pub use a::Thing; pub(crate) use a::*; mod b;"),
            ("src/a.rs", "pub struct Thing; pub struct Other;"),
            ("src/b.rs", "use crate::{Other, Thing}; fn f(_: Thing, _: Other) {}"),
        ]);
        assert_eq!(told, Vec::<String>::new());
    }

    #[test]
    fn tests_make_no_circle() {
        let told = told(&[
            ("src/lib.rs", "mod a; mod b;"),
            ("src/a.rs", "pub struct A; #[cfg(test)] mod tests { use crate::b::B; fn f(_: B) {} }"),
            ("src/b.rs", "use crate::a::A; pub struct B(A);"),
        ]);
        assert_eq!(told, Vec::<String>::new());
    }
}
