//! The manual and the completions, as the programs take them that they are for. Where one is not installed, its part is skipped.

mod home;

use std::io::Write;
use std::process::{Command, Stdio};

use home::{Home, Ran};

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
        for section in ["NAME", "SYNOPSIS", "OPTIONS"] {
            assert!(shown.out.contains(section), "{page:?}: {section}");
        }
    }
    let ran = home.run(&["man", "no-such-command"]);
    assert!(ran.code == Some(2) && ran.err.contains("unquarantine"), "{ran:?}");
}

#[test]
fn bash_completes_commands_and_formats() {
    let home = Home::new();
    let script = home.run(&["completions", "bash"]);
    assert_eq!(script.code, Some(0));
    let complete = |words: &str, at: usize| {
        let tail = format!(
            "\nCOMP_WORDS=({words})\nCOMP_CWORD={at}\n_lazaret lazaret \"${{COMP_WORDS[{at}]}}\" \"${{COMP_WORDS[{}]}}\"\necho \"${{COMPREPLY[*]}}\"\n",
            at - 1
        );
        fed("bash", &[], &(script.out.clone() + &tail))
    };
    let Some(commands) = complete("lazaret un", 1) else { return };
    assert_eq!((commands.out.trim(), commands.err.as_str()), ("unquarantine", ""));
    assert_eq!(complete("lazaret token --format k", 3).expect("bash").out.trim(), "kubernetes");
}
