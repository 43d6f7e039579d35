//! The component is what `wit/` says: it imports that and nothing else, and it is small.

use std::collections::BTreeSet;

use wit_component::DecodedWasm;

fn world(component: &[u8]) -> (BTreeSet<String>, BTreeSet<String>) {
    let DecodedWasm::Component(resolve, world) = wit_component::decode(component).expect("a component") else {
        panic!("this is a WIT package, not a component");
    };
    let world = &resolve.worlds[world];
    let imports = world.imports.keys().map(|key| resolve.name_world_key(key)).collect();
    let exports = world.exports.keys().map(|key| resolve.name_world_key(key)).collect();
    (imports, exports)
}

fn names(list: &[&str]) -> BTreeSet<String> {
    list.iter().map(|name| (*name).to_owned()).collect()
}

const IMPORTS: [&str; 6] = [
    "lazaretto:keeper/events@0.1.0",
    "lazaretto:keeper/http@0.1.0",
    "lazaretto:keeper/storage@0.1.0",
    "wasi:clocks/monotonic-clock@0.2.0",
    "wasi:clocks/wall-clock@0.2.0",
    "wasi:random/random@0.2.0",
];

#[test]
fn the_keeper_imports_what_its_world_says_and_nothing_else() {
    let (imports, exports) = world(lazaretto_host::COMPONENT_WASM);
    assert_eq!(imports, names(&IMPORTS));
    assert_eq!(
        exports,
        names(&["lazaretto:keeper/classifier@0.1.0", "lazaretto:keeper/keeper@0.1.0", "lazaretto:keeper/pool@0.1.0"])
    );
}

/// What persons do needs no more than the keeper has and gives no tokens.
#[test]
fn the_admin_component_imports_no_more_and_gives_no_tokens() {
    let (imports, exports) = world(lazaretto_host::ADMIN_WASM);
    let more: Vec<_> = imports.difference(&names(&IMPORTS)).cloned().collect();
    assert!(more.is_empty(), "{more:?}");
    assert_eq!(exports, names(&["lazaretto:keeper/admin@0.1.0", "lazaretto:keeper/login@0.1.0"]));
}

#[test]
fn the_classifier_imports_nothing_at_all() {
    let (imports, exports) = world(lazaretto_host::CLASSIFIER_WASM);
    assert_eq!((imports, exports), (BTreeSet::new(), names(&["lazaretto:keeper/classifier@0.1.0"])));
}

#[test]
fn the_components_keep_their_budget() {
    let size = lazaretto_host::COMPONENT_WASM.len();
    // Speed and clarity come before size, but an embedder downloads it.
    assert!(size <= 1024 * 1024, "lazaretto.wasm is {size} bytes");
    let size = lazaretto_host::ADMIN_WASM.len();
    assert!(size <= 1024 * 1024, "lazaretto-admin.wasm is {size} bytes");
    // A web page carries the classifier.
    let size = lazaretto_host::CLASSIFIER_WASM.len();
    assert!(size <= 300 * 1000, "lazaretto-classifier.wasm is {size} bytes");
}
