//! What a page says to type works: each `sh` block is run as it is printed, in a clean home.
//!
//! `docs/README.md` says how a block is marked. Programs in other languages are the text of a file
//! that is compiled and run, or of a binding's own page.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

/// The pages with `sh` blocks: how many of them are run, and how many are not.
const PAGES: [(&str, usize, usize); 12] = [
    ("CONTRIBUTING.md", 0, 1),
    ("README.md", 6, 4),
    ("docs/command-line.md", 3, 3),
    ("docs/doctor.md", 1, 0),
    ("docs/errors.md", 1, 0),
    ("docs/languages.md", 0, 1),
    ("docs/other-programs.md", 1, 1),
    ("docs/providers.md", 2, 0),
    ("docs/proxies-and-certificates.md", 0, 1),
    ("docs/states.md", 1, 0),
    ("docs/timers.md", 1, 1),
    ("docs/troubleshooting.md", 5, 0),
];

/// One `sh` block of a page.
struct Block {
    page: String,
    line: usize,
    /// The words after the language.
    words: String,
    text: String,
}

impl Block {
    fn says(&self, word: &str) -> Option<&str> {
        self.words.strip_prefix(word)?.strip_prefix(": ").map(str::trim)
    }
}

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn page(path: &str) -> String {
    fs::read_to_string(repository(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Returns every block of the language on a page, also those that stand indented in a list.
fn blocks(path: &str, language: &str) -> Vec<Block> {
    let text = page(path);
    let mut lines = text.lines().enumerate();
    let mut blocks = Vec::new();
    while let Some((at, line)) = lines.next() {
        let Some(info) = line.trim_start().strip_prefix("```") else { continue };
        let indent = line.len() - line.trim_start().len();
        let inside = lines.by_ref().map(|(_, line)| line).take_while(|line| line.trim() != "```");
        let text = inside.map(|line| line.get(indent..).unwrap_or_default().to_owned() + "\n").collect();
        let (found, words) = info.split_once(' ').unwrap_or((info, ""));
        if found == language {
            blocks.push(Block { page: path.to_owned(), line: at + 1, words: words.to_owned(), text });
        }
    }
    blocks
}

/// Returns the first program in a language on a page.
fn program(path: &str, language: &str) -> String {
    blocks(path, language).into_iter().next().unwrap_or_else(|| panic!("{path} has no {language}")).text
}

/// Returns the pages below a folder that have a block of the language.
fn pages_with(language: &str) -> Vec<String> {
    let mut pages: Vec<String> = Vec::new();
    for folder in ["", "docs/"] {
        for entry in fs::read_dir(repository(folder)).expect("a folder").flatten() {
            let path = format!("{folder}{}", entry.file_name().to_string_lossy());
            if path.ends_with(".md") && !blocks(&path, language).is_empty() {
                pages.push(path);
            }
        }
    }
    pages.sort();
    pages
}

/// A home with the files of three tools, and `lazaretto` on its `PATH`.
struct Home(TempDir);

impl Home {
    fn new() -> Self {
        let home = Self(TempDir::new().expect("a folder"));
        fs::create_dir(home.0.path().join("bin")).expect("made");
        symlink(env!("CARGO_BIN_EXE_lazaretto"), home.0.path().join("bin/lazaretto")).expect("linked");
        home.write(
            ".hermes/auth.json",
            r#"{"version":1,"providers":{"xai-oauth":{"tokens":{"access_token":"at-xai","refresh_token":"rt-xai","expires_at":"2099-01-01T00:00:00Z"}}}}"#,
        );
        home.write(
            ".codex/auth.json",
            r#"{"OPENAI_API_KEY":null,"auth_mode":"chatgpt","tokens":{"access_token":"at-codex","refresh_token":"rt-codex"},"last_refresh":"2026-11-28T12:00:00Z"}"#,
        );
        home.write(
            ".claude/.credentials.json",
            r#"{"claudeAiOauth":{"accessToken":"at-claude","refreshToken":"rt-claude","expiresAt":4070908800000,"scopes":["user:inference"]}}"#,
        );
        home
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(&path, text).expect("written");
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("chmod");
    }

    fn sh(&self, text: &str) -> Output {
        let path = format!("{}:{}", self.0.path().join("bin").display(), std::env::var("PATH").expect("a path"));
        let mut sh = Command::new("sh");
        sh.args(["-euc", text]).current_dir(self.0.path()).stdin(Stdio::null()).env_clear();
        sh.env("HOME", self.0.path()).env("PATH", path).env("KEY", "sk-of-the-page");
        // A block that would send something fails here, and needs a mark on its page.
        sh.env("HTTPS_PROXY", "http://127.0.0.1:1").output().expect("sh")
    }
}

fn is_installed(program: &str) -> bool {
    Command::new("sh").args(["-c", &format!("command -v {program}")]).output().is_ok_and(|found| found.status.success())
}

/// Runs the blocks of a page one after the other in one home.
fn run(path: &str) -> (usize, usize) {
    let home = Home::new();
    let (mut ran, mut not_run) = (0, 0);
    for block in blocks(path, "sh") {
        let place = format!("{}:{}", block.page, block.line);
        if let Some(reason) = block.says("no-run") {
            assert!(reason.len() > 10, "{place} says not why it is not run");
            not_run += 1;
            continue;
        }
        ran += 1;
        if block.says("needs").is_some_and(|program| !is_installed(program)) && std::env::var("CI").is_err() {
            continue;
        }
        let code = block.says("fails").map_or(0, |code| code.parse().expect("an exit code"));
        let output = home.sh(&block.text);
        assert_eq!(output.status.code(), Some(code), "{place}\n{}\n{output:#?}", block.text);
    }
    (ran, not_run)
}

#[test]
fn every_command_on_a_page_runs_as_printed() {
    let known: Vec<&str> = PAGES.iter().map(|(page, ..)| *page).collect();
    assert_eq!(pages_with("sh"), known);
    for (page, ran, not_run) in PAGES {
        assert_eq!(run(page), (ran, not_run), "{page}: blocks that are run, and that are not");
    }
}

#[test]
fn the_readme_keeps_its_two_commands() {
    let readme = page("README.md");
    assert!(readme.lines().count() <= 200, "{} lines", readme.lines().count());
    for command in ["cargo run --release -- demo", "cargo test --workspace"] {
        assert!(blocks("README.md", "sh").iter().any(|block| block.text.trim() == command), "{command}");
    }
}

#[test]
fn a_link_on_a_page_leads_to_a_file() {
    let mut links = 0;
    for folder in ["", "docs/"] {
        for entry in fs::read_dir(repository(folder)).expect("a folder").flatten() {
            let path = format!("{folder}{}", entry.file_name().to_string_lossy());
            if !path.ends_with(".md") {
                continue;
            }
            for target in page(&path).split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
                let file = target.split('#').next().unwrap_or_default();
                if file.is_empty() || file.contains("://") {
                    continue;
                }
                links += 1;
                assert!(repository(folder).join(file).exists(), "{path}: {target}");
            }
        }
    }
    assert!(links > 60, "{links} links");
}

/// Paths of the repository stand between backticks, and follow when a file is moved.
#[test]
fn a_file_that_a_page_names_exists() {
    const FOLDERS: [&str; 11] =
        ["adapters", "bindings", "cli", "docs", "ffi", "host", "src", "testing", "tests", "wit", "xtask"];
    let mut named = 0;
    for folder in ["", "docs/", "examples/"] {
        for entry in fs::read_dir(repository(folder)).expect("a folder").flatten() {
            let path = format!("{folder}{}", entry.file_name().to_string_lossy());
            if !path.ends_with(".md") {
                continue;
            }
            for quoted in page(&path).lines().flat_map(|line| line.split('`').skip(1).step_by(2)) {
                let Some((first, _)) = quoted.split_once('/') else { continue };
                let is_path = quoted.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte));
                if is_path && FOLDERS.contains(&first) {
                    named += 1;
                    assert!(repository(quoted).exists(), "{path}: {quoted}");
                }
            }
        }
    }
    assert!(named > 200, "{named} paths");
}

#[test]
fn the_example_for_rust_prints_the_token() {
    let file = fs::read_to_string(repository("host/examples/token.rs")).expect("the example");
    assert_eq!(program("README.md", "rust"), file);
    assert_eq!(program("docs/languages.md", "rust"), file);

    let home = TempDir::new().expect("a folder");
    fs::create_dir(home.path().join(".hermes")).expect("made");
    let vault = r#"{"providers":{"xai-oauth":{"tokens":{"access_token":"at-of-the-readme","refresh_token":"rt"}}}}"#;
    fs::write(home.path().join(".hermes/auth.json"), vault).expect("written");
    // `cargo test --test command` alone does not build it. With --package cargo would choose other
    // features, and build wasmtime again.
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
    let home = TempDir::new().expect("a folder");
    let profiles = home.path().join("providers.json");
    fs::write(&profiles, program("docs/providers.md", "json")).expect("written");
    let text = page("docs/providers.md");
    let (_, after) = text.split_once("echo '").expect("the command");
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
fn programs_for_other_languages_are_those_of_their_pages() {
    for (language, path) in
        [("python", "bindings/python/README.md"), ("c", "ffi/README.md"), ("js", "bindings/node/README.md")]
    {
        assert_eq!(program("docs/languages.md", language), program(path, language), "{language}");
    }
}
