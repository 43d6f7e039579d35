//! The README's examples are true: each is the text of a file or of a binding's own page, and is run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// The first example in a language on a page.
fn example(page: &str, language: &str) -> String {
    let text = fs::read_to_string(repository(page)).expect("a page");
    let (_, after) = text.split_once(&format!("```{language}\n")).unwrap_or_else(|| panic!("{page} has no {language}"));
    after.split_once("```").expect("its end").0.to_owned()
}

#[test]
fn the_example_for_rust_prints_the_token() {
    let file = fs::read_to_string(repository("host/examples/token.rs")).expect("the example");
    assert_eq!(example("README.md", "rust"), file);

    let home = tempfile::TempDir::new().expect("a folder");
    fs::create_dir(home.path().join(".hermes")).expect("made");
    let vault = r#"{"providers":{"xai-oauth":{"tokens":{"access_token":"at-of-the-readme","refresh_token":"rt"}}}}"#;
    fs::write(home.path().join(".hermes/auth.json"), vault).expect("written");
    // `cargo test --test readme` alone does not build it. With --package cargo would choose other features, and build wasmtime again.
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--workspace", "--example", "token"]);
    assert!(build.status().expect("cargo").success());
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("a target");
    let output = Command::new(target.join("debug/examples/token")).env("HOME", home.path()).output().expect("it runs");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "Authorization: Bearer at-of-the-readme\n", "{output:?}");
}

/// Where they stand they are run: `bindings/python/tests`, `ffi/tests`, `bindings/node/test`.
#[test]
fn the_examples_for_other_languages_are_those_of_their_own_pages() {
    for (language, page) in
        [("python", "bindings/python/README.md"), ("c", "ffi/README.md"), ("js", "bindings/node/README.md")]
    {
        assert_eq!(example("README.md", language), example(page, language), "{language}");
    }
}
