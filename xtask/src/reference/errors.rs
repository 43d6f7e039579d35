//! Every error code with its action and its meaning, from `enum Code` of the core.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;

use syn::{Expr, ImplItem, Item, Lit, Pat, Stmt};

use super::documentation;
use crate::workspace::{Result, root};

const SOURCE: &str = "src/error.rs";

/// The actions in the order of the page, with the exit code of the command.
const ACTIONS: [(&str, u8, &str); 5] = [
    ("Login", 3, "A person must log in again."),
    ("Retry", 4, "The same call can succeed later."),
    ("Configure", 5, "A profile, a setting or the client must change."),
    ("Inspect", 1, "Something around the vault is broken: a person must look at it."),
    ("Usage", 2, "The call was wrong."),
];

/// Returns a table for each action.
pub(super) fn tables() -> Result<String> {
    let file = syn::parse_file(&fs::read_to_string(root().join(SOURCE))?)?;
    let (mut codes, mut words, mut actions) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
    for item in &file.items {
        match item {
            Item::Enum(found) if found.ident == "Code" => {
                codes = found.variants.iter().map(|one| (one.ident.to_string(), documentation(&one.attrs))).collect();
            }
            Item::Impl(found) if super::names(&found.self_ty, "Code") => {
                for item in &found.items {
                    match item {
                        ImplItem::Fn(one) if one.sig.ident == "as_str" => words = arms(&one.block),
                        ImplItem::Fn(one) if one.sig.ident == "action" => actions = arms(&one.block),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    let mut text = String::new();
    for (action, exit, about) in ACTIONS {
        write!(text, "\n### `{}`, exit code {exit}\n\n{about}\n\n", action.to_lowercase())?;
        text += "| code | meaning |\n|---|---|\n";
        for (code, meaning) in codes.iter().filter(|(code, _)| actions.get(code).is_some_and(|of| of == action)) {
            let word = words.get(code).ok_or(format!("{SOURCE}: {code} has no word"))?;
            writeln!(text, "| `{word}` | {meaning} |")?;
        }
    }
    if let Some((code, _)) = codes.iter().find(|(code, _)| !actions.contains_key(code)) {
        return Err(format!("{SOURCE}: {code} has no action").into());
    }
    if codes.is_empty() {
        return Err(format!("{SOURCE} has no enum Code").into());
    }
    Ok(text)
}

/// Returns what each variant is mapped to by the one `match` of a function: a text, or the last
/// name of a path.
fn arms(block: &syn::Block) -> BTreeMap<String, String> {
    let mut arms = BTreeMap::new();
    let Some(Stmt::Expr(Expr::Match(found), _)) = block.stmts.last() else { return arms };
    for arm in &found.arms {
        let value = match &*arm.body {
            Expr::Lit(literal) => match &literal.lit {
                Lit::Str(text) => text.value(),
                _ => continue,
            },
            Expr::Path(path) => path.path.segments.last().map(|name| name.ident.to_string()).unwrap_or_default(),
            _ => continue,
        };
        let cases = match &arm.pat {
            Pat::Or(several) => several.cases.iter().collect(),
            one => vec![one],
        };
        for case in cases {
            if let Pat::Path(path) = case
                && let Some(name) = path.path.segments.last()
            {
                arms.insert(name.ident.to_string(), value.clone());
            }
        }
    }
    arms
}
