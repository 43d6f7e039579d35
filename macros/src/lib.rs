//! In the component every import answers before it returns, so nothing there is ever waited for: `async` would only be
//! weight, a tenth of its code. This takes it out. Natively the same lines stay async, for a scheduler to stop at every
//! call that leaves the logic.

use proc_macro::{Delimiter, Group, Ident, TokenStream, TokenTree};

/// Leaves an item `async` in a native build, and makes it synchronous in the component.
///
/// Expands to the item twice: as it stands for every target but wasm32, and for wasm32 without its
/// `async` and `.await`, and with closures for async closures. Nothing else changes.
#[proc_macro_attribute]
pub fn async_natively(_: TokenStream, item: TokenStream) -> TokenStream {
    let on = |target: &str| format!("#[cfg({target})]").parse::<TokenStream>().unwrap_or_default();
    let mut both = on("not(target_arch = \"wasm32\")");
    both.extend(item.clone());
    both.extend(on("target_arch = \"wasm32\""));
    both.extend(stripped(item));
    both
}

fn stripped(tokens: TokenStream) -> TokenStream {
    let mut kept = Vec::new();
    for token in tokens {
        match token {
            TokenTree::Ident(word) => match word.to_string().as_str() {
                "async" => {}
                // With the dot before it.
                "await" => drop(kept.pop()),
                "AsyncFnMut" => kept.push(Ident::new("FnMut", word.span()).into()),
                _ => kept.push(word.into()),
            },
            TokenTree::Group(group) if group.delimiter() != Delimiter::None => {
                let mut inner = Group::new(group.delimiter(), stripped(group.stream()));
                inner.set_span(group.span());
                kept.push(inner.into());
            }
            other => kept.push(other),
        }
    }
    kept.into_iter().collect()
}
