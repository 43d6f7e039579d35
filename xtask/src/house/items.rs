//! What is measured of functions, types, comparisons and attributes.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{
    Arm, Attribute, BinOp, Block, Expr, ExprBinary, ExprMatch, ExprMethodCall, ImplItem, ImplItemFn, Item, ItemEnum,
    ItemFn, ItemMod, ItemStruct, ItemTrait, ItemType, ItemUnion, Lit, Pat, Signature, TraitItemFn,
};

use super::modules;
use super::sources::{self, Crate, Source};

const FUNCTION_LINES: usize = 60;
const FILE_LINES: usize = 400;
const TEST_NAME_CHARACTERS: usize = 60;
/// What the most careful of the models has is 2.9; ours has 0.3.
const PANICS_PER_1000_LINES: f64 = 1.0;

/// What one file holds.
#[derive(Default)]
pub(super) struct Found {
    /// Each function: its name, its line, how many lines it has, and whether it is in a test.
    pub(super) functions: Vec<(String, usize, usize, bool)>,
    types: Vec<(String, usize)>,
    panics: usize,
    compared: Vec<(usize, String)>,
    tests: Vec<(String, usize)>,
    features: Vec<usize>,
}

/// Reads what a file holds. `is_test`: all of it is tests.
pub(super) fn found(source: &Source, is_test: bool) -> Found {
    let mut visitor = Visitor { found: Found::default(), in_tests: is_test, depth: 0 };
    visitor.visit_file(&source.parsed);
    visitor.found
}

/// Returns the production functions that are too long.
pub(super) fn long_functions(crates: &[Crate]) -> Vec<String> {
    long(crates, false)
}

/// Returns the functions of tests that are too long.
pub(super) fn long_test_functions(crates: &[Crate]) -> Vec<String> {
    long(crates, true)
}

fn long(crates: &[Crate], of_tests: bool) -> Vec<String> {
    let mut places = Vec::new();
    for (path, source, is_test) in files(crates) {
        for (name, line, lines, in_test) in found(source, is_test).functions {
            if lines > FUNCTION_LINES && in_test == of_tests {
                places.push(format!("{path}:{line}: `{name}` has {lines} lines"));
            }
        }
    }
    places
}

/// Returns the production files that are large, tests not counted.
pub(super) fn large_files(crates: &[Crate]) -> Vec<String> {
    let files = crates.iter().flat_map(Crate::production);
    let large = files.filter(|(_, source)| source.lines() > FILE_LINES);
    large.map(|(path, source)| format!("{path}: {} lines", source.lines())).collect()
}

/// Returns each definition of a type whose name another module of its crate defines too.
pub(super) fn repeated_types(crates: &[Crate]) -> Vec<String> {
    let mut places = Vec::new();
    for one in crates {
        let mut by_name: BTreeMap<String, Vec<(&str, usize)>> = BTreeMap::new();
        for (path, source) in one.production() {
            let mut seen = BTreeSet::new();
            // Of two definitions in one file the compiler sees one: the other is for another
            // system.
            for (name, line) in found(source, false).types.into_iter().filter(|(name, _)| seen.insert(name.clone())) {
                by_name.entry(name).or_default().push((path, line));
            }
        }
        for (name, defined) in by_name.into_iter().filter(|(_, defined)| defined.len() > 1) {
            let told = defined.iter().map(|(path, line)| format!("{path}:{line}: `{name}` in {}", one.name));
            places.extend(told.skip(1));
        }
    }
    places
}

/// Returns the places in production code where a code is compared with a text.
pub(super) fn compared_codes(crates: &[Crate]) -> Vec<String> {
    each(crates, |found| found.compared.into_iter().map(|(line, what)| format!("{line}: {what}")).collect())
}

/// Returns the crates whose production code unwraps and expects too often.
pub(super) fn panicking(crates: &[Crate]) -> Vec<String> {
    let rates = crates.iter().map(|one| (one, panics_per_1000_lines(one)));
    let over = rates.filter(|(_, rate)| *rate > PANICS_PER_1000_LINES);
    over.map(|(one, rate)| format!("{}: {rate:.1} unwrap and expect per 1000 lines", one.name)).collect()
}

/// Returns how often production code unwraps and expects, per 1000 lines.
pub(super) fn panics_per_1000_lines(one: &Crate) -> f64 {
    let (mut panics, mut lines) = (0, 0);
    for (_, source) in one.production() {
        panics += found(source, false).panics;
        lines += source.lines();
    }
    panics as f64 * 1000.0 / lines.max(1) as f64
}

/// Returns the tests whose names are too long.
pub(super) fn long_test_names(crates: &[Crate]) -> Vec<String> {
    let mut places = Vec::new();
    for (path, source, is_test) in files(crates) {
        let tests = found(source, is_test).tests.into_iter();
        let long = tests.filter(|(name, _)| name.chars().count() > TEST_NAME_CHARACTERS);
        places.extend(long.map(|(name, line)| format!("{path}:{line}: `{name}`")));
    }
    places
}

/// Returns the places where a feature decides of more than a module of a `lib.rs`.
pub(super) fn features(crates: &[Crate]) -> Vec<String> {
    let told = |found: Found| found.features.iter().map(|line| format!("{line}: a feature")).collect();
    let places = each(crates, told);
    let on_map = |place: &String| {
        let (path, rest) = place.split_once(':').unwrap_or((place, ""));
        let line = rest.split(':').next().and_then(|line| line.parse().ok());
        line.is_some_and(|line| crates.iter().any(|one| is_module_of_lib(one, path, line)))
    };
    places.into_iter().filter(|place| !on_map(place)).collect()
}

/// Returns whether the attribute at a line is one of a module that a `lib.rs` declares.
fn is_module_of_lib(one: &Crate, path: &str, line: usize) -> bool {
    let is_lib = path.ends_with("src/lib.rs");
    let items = one.files.get(path).filter(|_| is_lib).map(|source| &source.parsed.items);
    items.into_iter().flatten().any(|item| match item {
        Item::Mod(module) => module.attrs.iter().any(|attribute| attribute.span().start().line == line),
        _ => false,
    })
}

fn each(crates: &[Crate], places: impl Fn(Found) -> Vec<String>) -> Vec<String> {
    let files = crates.iter().flat_map(Crate::production);
    let told =
        files.flat_map(|(path, source)| places(found(source, false)).into_iter().map(move |place| (path, place)));
    told.map(|(path, place)| format!("{path}:{place}")).collect()
}

/// Returns every file, with whether all of it is tests.
fn files(crates: &[Crate]) -> Vec<(&String, &Source, bool)> {
    let mut files = Vec::new();
    for one in crates {
        let production: BTreeSet<_> = one.production().map(|(path, _)| path).collect();
        files.extend(one.files.iter().map(|(path, source)| (path, source, !production.contains(path))));
    }
    files
}

struct Visitor {
    found: Found,
    in_tests: bool,
    /// How many functions enclose what is looked at.
    depth: usize,
}

impl Visitor {
    fn function(&mut self, signature: &Signature, attributes: &[Attribute], block: &Block) {
        let (line, end) = (signature.fn_token.span.start().line, block.brace_token.span.close().end().line);
        let name = signature.ident.to_string();
        let is_test = attributes.iter().any(|attribute| is_test_attribute(attribute.path()));
        if is_test {
            self.found.tests.push((name.clone(), line));
        }
        self.found.functions.push((name, line, end + 1 - line, self.in_tests || is_test));
    }

    fn named(&mut self, name: &syn::Ident) {
        self.found.types.push((name.to_string(), name.span().start().line));
    }

    fn compared(&mut self, line: usize, what: impl Into<String>) {
        if !self.in_tests {
            self.found.compared.push((line, what.into()));
        }
    }

    /// Finds in what a macro is given the tests, the panics, and the codes compared with texts.
    fn tokens(&mut self, tokens: TokenStream) {
        let tokens: Vec<_> = tokens.into_iter().collect();
        for (at, token) in tokens.iter().enumerate() {
            match token {
                TokenTree::Group(group) => self.tokens(group.stream()),
                TokenTree::Ident(word) if word == "fn" && is_after_test(&tokens[..at]) => {
                    if let Some(TokenTree::Ident(name)) = tokens.get(at + 1) {
                        self.found.tests.push((name.to_string(), name.span().start().line));
                    }
                }
                TokenTree::Ident(word) if is_after_dot(&tokens[..at]) => {
                    if (word == "unwrap" || word == "expect") && !self.in_tests {
                        self.found.panics += 1;
                    }
                    if word == "code" && is_before_text(&tokens[at + 1..]) {
                        self.compared(word.span().start().line, "a code compared with a text");
                    }
                }
                _ => {}
            }
        }
    }
}

fn is_test_attribute(path: &syn::Path) -> bool {
    path.segments.last().is_some_and(|segment| segment.ident == "test")
}

fn is_after_dot(before: &[TokenTree]) -> bool {
    matches!(before.last(), Some(TokenTree::Punct(dot)) if dot.as_char() == '.')
}

/// Whether the last of these is `#[test]`, but for what stands between it and `fn`.
fn is_after_test(before: &[TokenTree]) -> bool {
    let last = before.iter().rev().find(|token| matches!(token, TokenTree::Group(_)));
    matches!(last, Some(TokenTree::Group(group)) if group.stream().to_string() == "test")
}

/// Whether these begin with `== "..."`, `!= "..."` or `, "..."`, perhaps after `.as_str()`.
fn is_before_text(after: &[TokenTree]) -> bool {
    let is_operator = |token: &&TokenTree| matches!(token, TokenTree::Punct(sign) if "=!,".contains(sign.as_char()));
    let rest = match after {
        [TokenTree::Punct(dot), TokenTree::Ident(_), TokenTree::Group(_), rest @ ..] if dot.as_char() == '.' => rest,
        rest => rest,
    };
    let operators = rest.iter().take_while(is_operator).count();
    operators > 0 && matches!(rest.get(operators), Some(TokenTree::Literal(text)) if text.to_string().starts_with('"'))
}

/// Returns whether an expression is a code: a member or a call named so, perhaps borrowed or as a
/// text.
fn is_code(expression: &Expr) -> bool {
    match expression {
        Expr::Field(field) => matches!(&field.member, syn::Member::Named(name) if name == "code"),
        Expr::MethodCall(call) if call.method == "code" => true,
        Expr::MethodCall(call) => {
            ["as_str", "as_ref", "as_deref", "word", "to_string"].iter().any(|name| call.method == name)
                && is_code(&call.receiver)
        }
        Expr::Reference(inner) => is_code(&inner.expr),
        Expr::Unary(inner) => is_code(&inner.expr),
        Expr::Paren(inner) => is_code(&inner.expr),
        _ => false,
    }
}

fn is_text(expression: &Expr) -> bool {
    matches!(expression, Expr::Lit(literal) if matches!(literal.lit, Lit::Str(_)))
}

fn is_text_pattern(arm: &Arm) -> bool {
    let is_text = |pattern: &Pat| matches!(pattern, Pat::Lit(literal) if matches!(literal.lit, Lit::Str(_)));
    match &arm.pat {
        Pat::Or(cases) => cases.cases.iter().any(is_text),
        pattern => is_text(pattern),
    }
}

impl<'ast> Visit<'ast> for Visitor {
    fn visit_item(&mut self, item: &'ast Item) {
        let outer = self.in_tests;
        self.in_tests |= sources::is_test(modules::attributes(item));
        visit::visit_item(self, item);
        self.in_tests = outer;
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        let outer = self.in_tests;
        if let ImplItem::Fn(method) = item {
            self.in_tests |= sources::is_test(&method.attrs);
        }
        visit::visit_impl_item(self, item);
        self.in_tests = outer;
    }

    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        visit::visit_item_mod(self, module);
    }

    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        self.function(&item.sig, &item.attrs, &item.block);
        self.depth += 1;
        visit::visit_item_fn(self, item);
        self.depth -= 1;
    }

    fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
        self.function(&item.sig, &item.attrs, &item.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast TraitItemFn) {
        if let Some(block) = &item.default {
            self.function(&item.sig, &item.attrs, block);
        }
        visit::visit_trait_item_fn(self, item);
    }

    fn visit_item_struct(&mut self, item: &'ast ItemStruct) {
        if !self.in_tests {
            self.named(&item.ident);
        }
        visit::visit_item_struct(self, item);
    }

    fn visit_item_enum(&mut self, item: &'ast ItemEnum) {
        if !self.in_tests {
            self.named(&item.ident);
        }
        visit::visit_item_enum(self, item);
    }

    fn visit_item_union(&mut self, item: &'ast ItemUnion) {
        if !self.in_tests {
            self.named(&item.ident);
        }
        visit::visit_item_union(self, item);
    }

    fn visit_item_trait(&mut self, item: &'ast ItemTrait) {
        if !self.in_tests {
            self.named(&item.ident);
        }
        visit::visit_item_trait(self, item);
    }

    fn visit_item_type(&mut self, item: &'ast ItemType) {
        if !self.in_tests {
            self.named(&item.ident);
        }
        visit::visit_item_type(self, item);
    }

    fn visit_expr_method_call(&mut self, call: &'ast ExprMethodCall) {
        let is_panic = (call.method == "unwrap" && call.args.is_empty()) || call.method == "expect";
        if is_panic && !self.in_tests {
            self.found.panics += 1;
        }
        visit::visit_expr_method_call(self, call);
    }

    fn visit_expr_binary(&mut self, binary: &'ast ExprBinary) {
        let is_compared = matches!(binary.op, BinOp::Eq(_) | BinOp::Ne(_));
        let (left, right) = (&binary.left, &binary.right);
        if is_compared && ((is_code(left) && is_text(right)) || (is_text(left) && is_code(right))) {
            self.compared(binary.span().start().line, "a code compared with a text");
        }
        visit::visit_expr_binary(self, binary);
    }

    fn visit_expr_match(&mut self, chosen: &'ast ExprMatch) {
        if is_code(&chosen.expr) && chosen.arms.iter().any(is_text_pattern) {
            self.compared(chosen.match_token.span.start().line, "a code matched with texts");
        }
        visit::visit_expr_match(self, chosen);
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if let syn::Meta::List(list) = &attribute.meta {
            let is_condition = list.path.is_ident("cfg") || list.path.is_ident("cfg_attr");
            if is_condition && !self.in_tests && names_feature(list.tokens.clone()) {
                self.found.features.push(attribute.span().start().line);
            }
        }
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        if call.path.is_ident("cfg") && !self.in_tests && names_feature(call.tokens.clone()) {
            self.found.features.push(call.span().start().line);
        }
        self.tokens(call.tokens.clone());
    }
}

fn names_feature(tokens: TokenStream) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(word) => word == "feature",
        TokenTree::Group(group) => names_feature(group.stream()),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Vec<Crate> {
        vec![sources::crate_of(&[("src/lib.rs", text)])]
    }

    #[test]
    fn a_function_over_the_limit_is_told() {
        let body = |lines: usize| format!("fn f()\n{{{}}}", "\n".repeat(lines - 2));
        assert_eq!(long_functions(&one(&body(60))), Vec::<String>::new());
        assert_eq!(long_functions(&one(&body(61))), ["c/src/lib.rs:1: `f` has 61 lines"]);
        let test = format!("#[cfg(test)] mod t {{ {} }}", body(61));
        assert_eq!(long_functions(&one(&test)), Vec::<String>::new());
        assert_eq!(long_test_functions(&one(&test)).len(), 1);
    }

    #[test]
    fn a_type_name_of_two_modules_is_told() {
        let files =
            [("src/lib.rs", "mod a; mod b { pub enum State {} }"), ("src/a.rs", "struct State; type Own = u8;")];
        assert_eq!(repeated_types(&[sources::crate_of(&files)]).len(), 1);
        let tests = [("src/lib.rs", "mod a; #[cfg(test)] mod t { struct State; }"), ("src/a.rs", "struct State;")];
        assert_eq!(repeated_types(&[sources::crate_of(&tests)]), Vec::<String>::new());
    }

    #[test]
    fn a_code_compared_with_a_text_is_told() {
        for bad in [
            "fn f(e: E) -> bool { e.code == \"busy\" }",
            "fn f(e: E) -> bool { \"busy\" != e.code.as_str() }",
            "fn f(e: E) -> bool { *e.code() == \"busy\" }",
            "fn f(e: E) { match e.code.as_str() { \"busy\" | \"held\" => {} _ => {} } }",
            "fn f(e: E) -> bool { matches!(e.code.as_str(), \"busy\") }",
            "fn f(e: E) { assert!(e.code == \"busy\") }",
        ] {
            assert_eq!(compared_codes(&one(bad)).len(), 1, "{bad}");
        }
        let good = "fn f(e: E) -> bool { e.code == Code::Busy || e.word == \"busy\" || g(e.code, \"busy\") }";
        assert_eq!(compared_codes(&one(good)), Vec::<String>::new());
    }

    #[test]
    fn panics_are_counted_outside_tests() {
        let text = "fn f() { g().unwrap(); h!(g().expect(\"\")); }\n#[cfg(test)]\nmod t { fn f() { g().unwrap(); } }";
        assert_eq!(found(&one(text)[0].files["c/src/lib.rs"], false).panics, 2);
        assert_eq!(panicking(&one(text)).len(), 1);
        assert_eq!(panicking(&one("fn f() { g().unwrap_or(1); }")), Vec::<String>::new());
    }

    #[test]
    fn a_long_test_name_is_told_in_a_macro_too() {
        let name = "a".repeat(61);
        for text in [format!("#[test] fn {name}() {{}}"), format!("proptest! {{ #[test] fn {name}(a in 1..2) {{}} }}")]
        {
            assert_eq!(long_test_names(&one(&text)).len(), 1, "{text}");
        }
        let short = format!("#[test] fn {}() {{}} fn {name}() {{}}", &name[1..]);
        assert_eq!(long_test_names(&one(&short)), Vec::<String>::new());
    }

    #[test]
    fn a_feature_below_the_map_is_told() {
        let map = "#[cfg(feature = \"a\")]\nmod a;\n#[cfg(feature = \"a\")]\npub use a::b;";
        assert_eq!(features(&one(map)), ["c/src/lib.rs:3: a feature"]);
        let body = "fn f() -> bool { cfg!(feature = \"a\") }\n#[cfg_attr(all(feature = \"a\"), b)]\nfn g() {}";
        assert_eq!(features(&one(body)).len(), 2);
        assert_eq!(features(&one("#[cfg(unix)]\nfn f() {}")), Vec::<String>::new());
    }
}
