//! The manual and the completions, as the programs take them that they are for. Where one is not installed, its part is skipped.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::home::{Home, Ran};

/// None: there is no such program.
fn fed(program: &str, arguments: &[&str], input: &str) -> Option<Ran> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| println!("{program}: {error}; skipped")).ok()?;
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("written");
    Some(Ran::of(child.wait_with_output().expect("it ends")))
}

#[test]
fn every_page_is_good_roff() {
    let home = Home::new();
    assert_eq!(home.run(&["man", "--into", home.folder.path().to_str().expect("text")]).code, Some(0));
    let pages = std::fs::read_dir(home.folder.path()).expect("a folder").flatten();
    let pages: Vec<_> = pages.filter(|file| file.path().extension().is_some_and(|kind| kind == "1")).collect();
    assert!(pages.len() >= 10, "{pages:?}");
    for page in pages {
        let text = std::fs::read_to_string(page.path()).expect("a page");
        let Some(shown) = fed("groff", &["-man", "-Tascii", "-wall", "-P-bou"], &text) else { return };
        assert_eq!((shown.code, shown.err.as_str()), (Some(0), ""), "{page:?}");
        for section in ["NAME", "SYNOPSIS", "OPTIONS", "FILES", "ENVIRONMENT", "SEE ALSO"] {
            assert!(shown.out.contains(section), "{page:?}: {section}");
        }
    }
    let ran = home.run(&["man", "no-such-command"]);
    assert!(ran.code == Some(2) && ran.err.contains("unquarantine"), "{ran:?}");
}

/// A vault with two credentials, of which one could be taken for something else by a shell.
fn with_credentials() -> Home {
    let home = Home::new();
    let entry = |id: &str| serde_json::json!({ "id": id, "label": "my key", "auth_type": "api_key", "source": "manual", "access_token": "sk" });
    let pool = serde_json::json!({ "acme": [entry("a1"), entry("$(touch gone)")], "bolt": [entry("b1")] });
    home.write(serde_json::json!({ "providers": {}, "credential_pool": pool }).to_string());
    home
}

/// What a shell runs when the key is pressed behind these words.
fn asked(home: &Home, shell: &str, words: &[&str]) -> Vec<String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lazaretto"));
    command.env("_LAZARETTO_COMPLETE", shell).env("_CLAP_COMPLETE_INDEX", words.len().to_string());
    command.env("_CLAP_IFS", "\n").env_remove("LAZARETTO_VAULT").env("XDG_CONFIG_HOME", home.path("config"));
    let ran = Ran::of(command.args(["--", "lazaretto"]).args(words).output().expect("it runs"));
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{words:?}");
    let values = ran.out.lines().filter_map(|line| line.split(['\t', ':']).next());
    values.filter(|value| !value.starts_with('-') && !value.is_empty()).map(str::to_owned).collect()
}

#[test]
fn providers_and_credentials_are_those_that_are_there() {
    let home = with_credentials();
    let vault = home.path("auth.json");
    let vault = vault.to_str().expect("text");
    for shell in ["bash", "zsh", "fish"] {
        let of = |words: &[&str]| asked(&home, shell, &[&["--vault", vault], words].concat());
        assert_eq!(of(&["token", ""]), ["acme", "bolt"], "{shell}");
        assert_eq!(of(&["refresh", "b"]), ["bolt"], "{shell}");
        assert_eq!(
            of(&["token", "acme", "--credential", ""]),
            ["a1"],
            "{shell}: what a shell could run is not offered"
        );
        assert_eq!(of(&["token", "acme", "--format", "k"]), ["kubernetes"], "{shell}");
        assert_eq!(of(&["man", "unq"]), ["unquarantine"], "{shell}");
        // What cannot be read offers nothing, and no file names either.
        assert_eq!(asked(&home, shell, &["--vault", "/nowhere", "token", ""]), [""; 0], "{shell}");
    }
}

#[test]
fn the_scripts_are_taken_by_their_shells() {
    let home = with_credentials();
    let folder = std::path::Path::new(env!("CARGO_BIN_EXE_lazaretto")).parent().expect("a folder");
    let vault = home.path("auth.json");
    let path = format!("PATH={}:$PATH", folder.display());
    let line = format!("lazaretto --vault {} token ", vault.display());
    let bash = home.run(&["completions", "bash"]).out;
    let bash = format!(
        "{path}\n{bash}\nCOMP_WORDS=({line} '')\nCOMP_CWORD=4\n_clap_complete_lazaretto lazaretto '' token\necho \"${{COMPREPLY[@]}}\"\n"
    );
    if let Some(ran) = fed("bash", &["--norc"], &bash) {
        assert!(ran.out.starts_with("acme bolt ") && ran.err.is_empty(), "{ran:?}");
    }
    let fish = home.run(&["completions", "fish"]).out;
    let fish = format!(
        "set {} $PATH\n{fish}\ncomplete -C '{line}'\n",
        path.trim_end_matches(":$PATH").replace("PATH=", "-x PATH ")
    );
    if let Some(ran) = fed("fish", &["--no-config"], &fish) {
        assert!(ran.out.contains("acme") && ran.out.contains("bolt"), "{ran:?}");
    }
    let zsh = home.run(&["completions", "zsh"]).out;
    // Outside of a line editor only that it is understood can be seen.
    if let Some(ran) = fed(
        "zsh",
        &["-f"],
        &format!("autoload -U compinit; compinit -u -D\n{zsh}\nwhence -w _clap_dynamic_completer_lazaretto\n"),
    ) {
        assert!(ran.out.contains("function") && ran.err.is_empty(), "{ran:?}");
    }
}
