//! The README's examples are true: each is the text of a file or of a binding's own page, and is run.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

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

/// The rules of the example decide what the general ones do not know.
#[test]
fn the_example_of_a_profile_needs_its_rules() {
    let home = tempfile::TempDir::new().expect("a folder");
    let profiles = home.path().join("providers.json");
    fs::write(&profiles, example("README.md", "json")).expect("written");
    let page = fs::read_to_string(repository("README.md")).expect("a page");
    let (_, after) = page.split_once("what lazaretto makes of an answer: `echo '").expect("the command");
    let asked = after.split_once("' | lazaretto classify").expect("its end").0;
    let verdict = |arguments: &[&std::ffi::OsStr]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lazaretto"));
        command.args(arguments).arg("classify").env("XDG_CONFIG_HOME", home.path()).env_remove("LAZARETTO_VAULT");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it runs");
        child.stdin.take().expect("piped").write_all(asked.as_bytes()).expect("written");
        let output = child.wait_with_output().expect("it ends");
        let judged: serde_json::Value = serde_json::from_slice(&output.stdout).expect("json");
        judged["verdict"].as_str().expect("a verdict").to_owned()
    };
    assert_eq!(verdict(&["--providers".as_ref(), profiles.as_os_str()]), "terminal");
    assert_eq!(verdict(&[]), "unknown");
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
