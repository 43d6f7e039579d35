//! Drivers in other languages: a program each, that reads a call a line and answers a line.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use lazaretto_host::COMPONENT_WASM;
use serde_json::{Value, json};

use super::{Driver, Session};
use crate::tools;

/// A program and its arguments.
pub struct Program {
    command: Vec<OsString>,
    environment: Vec<(&'static str, OsString)>,
    excludes_foreign: bool,
    /// It is a test, and says more than it is asked for.
    is_test: bool,
}

impl Driver for Program {
    fn open(&self, vault: &Path, providers: &Path) -> Box<dyn Session> {
        Box::new(self.start(vault, providers))
    }

    fn open_apart(&self, vault: &Path, providers: &Path) -> Box<dyn Session> {
        self.open(vault, providers)
    }

    fn excludes_foreign(&self) -> bool {
        self.excludes_foreign
    }
}

impl Program {
    fn new(command: impl IntoIterator<Item = OsString>) -> Self {
        Self { command: command.into_iter().collect(), environment: Vec::new(), excludes_foreign: true, is_test: false }
    }

    pub fn start(&self, vault: &Path, providers: &Path) -> Running {
        let mut command = Command::new(&self.command[0]);
        // Cargo's own would lead to a library that an earlier build has left.
        command.env_remove("LD_LIBRARY_PATH").envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.args(&self.command[1..]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{:?}: {error}", self.command));
        let (calls, results) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        let mut running =
            Running { child, calls: Some(calls), results: BufReader::new(results), is_test: self.is_test };
        let open = json!({ "vault": vault, "providers": providers, "allow_loopback_http": true });
        // If it died, the first call says so.
        let _ = running.tell(&open);
        running
    }
}

/// A driver at work.
pub struct Running {
    child: Child,
    calls: Option<ChildStdin>,
    results: BufReader<ChildStdout>,
    is_test: bool,
}

impl Running {
    pub fn tell(&mut self, line: &Value) -> Result<(), String> {
        let calls = self.calls.as_mut().ok_or("it was closed")?;
        writeln!(calls, "{line}").and_then(|()| calls.flush()).map_err(|error| error.to_string())
    }

    pub fn answer(&mut self) -> Result<Value, String> {
        let mut line = String::new();
        let mut read = self.results.read_line(&mut line);
        while self.is_test && !line.starts_with('{') && read.as_ref().is_ok_and(|bytes| *bytes > 0) {
            line.clear();
            read = self.results.read_line(&mut line);
        }
        match read {
            Ok(0) | Err(_) => Err(format!("the driver ended: {}", self.last_words())),
            Ok(_) => serde_json::from_str(&line).map_err(|error| format!("{error}: {line:?}")),
        }
    }

    fn last_words(&mut self) -> String {
        use std::io::Read as _;
        self.calls = None;
        let mut words = String::new();
        if let Some(errors) = &mut self.child.stderr {
            let _ = errors.read_to_string(&mut words);
        }
        words
    }
}

impl Session for Running {
    fn call(&mut self, call: &Value) -> Result<Value, String> {
        self.tell(call).and_then(|()| self.answer())
    }

    fn process(&self) -> Option<u32> {
        Some(self.child.id())
    }

    fn close(mut self: Box<Self>) -> Result<(), String> {
        self.calls = None;
        let ended = self.child.wait().map_err(|error| error.to_string())?;
        if ended.success() { Ok(()) } else { Err(format!("the driver ended with {ended}: {}", self.last_words())) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.calls = None;
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// This very program, as a driver of that name.
pub fn this_test_as(name: &str) -> Program {
    let this = env::current_exe().expect("this program").into_os_string();
    let mut program = Program::new([this, "--exact".into(), AS_A_PROGRAM.into(), "--nocapture".into()]);
    program.environment.push((DRIVER, name.into()));
    Program { is_test: true, ..program }
}

/// The test that is a program where [`DRIVER`] names a driver.
const AS_A_PROGRAM: &str = "a_driver_in_a_process_of_its_own";
pub const DRIVER: &str = "LAZARETTO_TEST_DRIVER";

/// Serves a driver of this process on standard input and output.
pub fn serve(driver: &dyn Driver) {
    let mut lines = std::io::stdin().lines().map(|line| line.expect("a line"));
    let read = |line: String| -> Value { serde_json::from_str(&line).expect("JSON") };
    let Some(open) = lines.next().map(read) else { return };
    let path = |name: &str| PathBuf::from(open[name].as_str().expect("a path"));
    let mut session = driver.open(&path("vault"), &path("providers"));
    // The test's own output ends in the middle of a line.
    println!();
    for call in lines {
        println!("{}", session.call(&read(call)).expect("an answer"));
    }
}

/// The stock component on wasmtime-py: a folder and the network are granted, and nothing there is ours.
pub fn stock() -> Option<Box<dyn Driver>> {
    let python = environment()?;
    let component = stock_component();
    let driver = tools::source("conformance/stock.py");
    let program =
        Program::new([python.into_os_string(), "-B".into(), driver.into_os_string(), component.into_os_string()]);
    Some(Box::new(Program { excludes_foreign: false, ..program }))
}

/// What `cargo xtask stock` makes.
pub fn stock_component() -> PathBuf {
    let root = tools::repository("");
    tools::run(Command::new(env!("CARGO")).args(["xtask", "stock"]).current_dir(&root));
    target().join("stock/lazaretto-stock.wasm")
}

pub fn node() -> Option<Box<dyn Driver>> {
    node_program().map(|program| Box::new(program) as _)
}

/// The package for Node, built in its own folder.
pub fn node_program() -> Option<Program> {
    let version = tools::answer(Command::new("node").arg("--version"));
    let major = version.as_deref().and_then(|version| version.strip_prefix('v')?.split('.').next()?.parse().ok());
    if major.is_none_or(|major: u32| major < 20) || tools::answer(Command::new("npm").arg("--version")).is_none() {
        tools::skip("Node 20 or newer, with npm");
        return None;
    }
    let folder = tools::repository("bindings/node");
    once("node-binding", &[&folder.join("package-lock.json"), &folder.join("src"), &folder.join("scripts")], || {
        tools::run(Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(&folder));
        tools::run(Command::new("npm").args(["run", "build"]).current_dir(&folder).env("LAZARETTO_WASM", component()));
    });
    Some(Program::new(["node".into(), folder.join("test/driver.mjs").into_os_string()]))
}

pub fn python() -> Option<Box<dyn Driver>> {
    python_program().map(|program| Box::new(program) as _)
}

/// The package for Python, from its own folder, with what it needs in an environment of its own.
pub fn python_program() -> Option<Program> {
    let folder = tools::repository("bindings/python");
    let python = environment()?;
    once("python-binding", &[&folder.join("build_component.py")], || {
        let mut copy = Command::new(&python);
        tools::run(copy.arg("build_component.py").current_dir(&folder).env("LAZARETTO_WASM", component()));
    });
    let mut program =
        Program::new([python.into_os_string(), "-B".into(), folder.join("tests/driver.py").into_os_string()]);
    program.environment.push(("PYTHONPATH", folder.into_os_string()));
    Some(program)
}

/// The C program, on the library that C programs link with.
pub fn c() -> Option<Box<dyn Driver>> {
    let root = tools::repository("ffi");
    let Some(compiler) =
        ["cc", "gcc", "clang"].into_iter().find(|name| tools::answer(Command::new(name).arg("--version")).is_some())
    else {
        tools::skip("a C compiler");
        return None;
    };
    // The features that `cargo test --workspace` chooses, which are those with an example: others would build wasmtime again.
    let features_of_tests = ["build", "--quiet", "--workspace", "--lib", "--example", "token"];
    tools::run(Command::new(env!("CARGO")).args(features_of_tests).current_dir(&root));
    let library = target().join("debug");
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("conformance-driver-c");
    let mut rpath = OsString::from("-Wl,-rpath,");
    rpath.push(&library);
    let mut build = Command::new(compiler);
    build.args(["-std=c99", "-Wall", "-Wextra", "-Werror", "-I"]).arg(root.join("include"));
    build.arg(root.join("examples/driver.c")).arg("-L").arg(&library).arg("-llazaretto_ffi").arg(rpath);
    tools::run(build.args(["-pthread", "-o"]).arg(&program));
    Some(Box::new(Program::new([program.into_os_string()])))
}

/// A Python with what the binding for it needs.
fn environment() -> Option<PathBuf> {
    let requirements = tools::repository("bindings/python/requirements.txt");
    let usable = |python: &&str| {
        tools::answer(Command::new(python).args(["-c", "import sys, venv; assert sys.version_info >= (3, 11)"]))
            .is_some()
    };
    let Some(python) = ["python3", "python3.13", "python3.12", "python3.11"].into_iter().find(usable) else {
        tools::skip("Python 3.11 or newer, with venv and pip");
        return None;
    };
    let version = tools::answer(Command::new(python).arg("--version")).unwrap_or_default();
    let folder = tools::installed("python-environment", &[requirements], &version, |folder| {
        tools::run(Command::new(python).args(["-m", "venv", "venv"]).current_dir(folder));
        tools::run(
            Command::new(folder.join("venv/bin/python"))
                .args(["-m", "pip", "install", "--disable-pip-version-check", "--require-hashes"])
                .args(["-r", "requirements.txt"])
                .current_dir(folder),
        );
    });
    Some(folder.join("venv/bin/python"))
}

/// The component that this build has, as a file.
fn component() -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("lazaretto.wasm");
    if !fs::read(&path).is_ok_and(|known| known == COMPONENT_WASM) {
        // Whole or not at all: another test may be reading it.
        let new = path.with_extension(format!("{}.new", std::process::id()));
        fs::write(&new, COMPONENT_WASM).expect("written");
        fs::rename(new, &path).expect("renamed");
    }
    path
}

/// The target directory.
fn target() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("a target directory")
}

/// Builds something in a folder of the repository, once for each component and each text of its sources.
fn once(name: &str, sources: &[&Path], build: impl FnOnce()) {
    let mut hash = DefaultHasher::new();
    COMPONENT_WASM.hash(&mut hash);
    sources.iter().for_each(|source| hash_all(source, &mut hash));
    let (wanted, tools) = (format!("{:016x}", hash.finish()), Path::new(env!("CARGO_TARGET_TMPDIR")));
    let lock = File::create(tools.join(format!("{name}.lock"))).expect("a lock file");
    lock.lock().expect("the lock");
    let stamp = tools.join(format!("{name}.built"));
    if !fs::read_to_string(&stamp).is_ok_and(|built| built == wanted) {
        let _ = fs::remove_file(&stamp);
        build();
        fs::write(stamp, wanted).expect("stamped");
    }
}

fn hash_all(path: &Path, hash: &mut DefaultHasher) {
    if path.is_dir() {
        let mut entries: Vec<PathBuf> =
            fs::read_dir(path).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
        entries.sort();
        entries.iter().for_each(|entry| hash_all(entry, hash));
    } else {
        (path, fs::read(path).expect("a source")).hash(hash);
    }
}
