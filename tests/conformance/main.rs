//! One list of cases for every way to run lazaretto: the native code, the component in the Rust host, the stock component in a host that
//! nobody here wrote, and the bindings for Node, Python and C. Each gets the same vault, the same answers from the same
//! server and the same calls, and has to come to the same results, the same requests and the same bytes.
//!
//! `cases/README.md` says what a case is made of. A case is a folder; a driver is a program in its binding's own language that
//! only calls and reports. All that is compared is compared here.
#![allow(unreachable_pub, reason = "a test has no public side")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may panic")]

mod case;
mod drivers;
mod matching;
mod mixed;
mod server;
#[path = "../common/tools.rs"]
#[allow(dead_code, reason = "each test file uses its own part")]
mod tools;

use std::collections::BTreeSet;
use std::env;
use std::fs;

use drivers::Driver;

/// A way to run lazaretto.
struct Way {
    name: &'static str,
    /// None where the machine has not what it needs.
    driver: fn() -> Option<Box<dyn Driver>>,
}

/// Another one begins with a line here.
const WAYS: [Way; 6] = [
    Way { name: "native", driver: drivers::native },
    Way { name: "wasmtime", driver: drivers::wasmtime },
    Way { name: "stock", driver: drivers::stock },
    Way { name: "node", driver: drivers::node },
    Way { name: "python", driver: drivers::python },
    Way { name: "c", driver: drivers::c },
];

fn all_cases_by(name: &str) {
    let way = WAYS.iter().find(|way| way.name == name).expect("a way");
    let Some(driver) = (way.driver)() else { return };
    let cases = case::all();
    let run = |case: &case::Case| match (case.run(&*driver), case.exception(name)) {
        (Err(_), Some(_)) => None,
        (Ok(()), Some(why)) => Some(format!("{}: it can do this after all, although {why}", case.name)),
        (ran, None) => ran.err(),
    };
    let failed: Vec<String> = cases.iter().filter_map(run).collect();
    assert!(failed.is_empty(), "{name}: {} of {} cases\n\n{}", failed.len(), cases.len(), failed.join("\n\n"));
    // Nobody skips one.
    assert!(cases.len() >= 25, "{} cases", cases.len());
}

#[test]
fn every_case_by_the_native_code() {
    all_cases_by("native");
}

#[test]
fn every_case_by_the_component_in_the_rust_host() {
    all_cases_by("wasmtime");
}

/// Every case by the stock component in a host that nobody here wrote.
#[test]
#[ignore = "builds a package; run by cargo xtask prove"]
fn every_case_by_the_stock_component() {
    all_cases_by("stock");
}

#[test]
#[ignore = "builds a package; run by cargo xtask prove"]
fn every_case_by_the_binding_for_node() {
    all_cases_by("node");
}

#[test]
#[ignore = "builds a package; run by cargo xtask prove"]
fn every_case_by_the_binding_for_python() {
    all_cases_by("python");
}

#[test]
#[ignore = "builds a package; run by cargo xtask prove"]
fn every_case_by_the_binding_for_c() {
    all_cases_by("c");
}

/// Not a test but a program, for cases that do something to a process: see `drivers::process::this_test_as`.
#[test]
fn a_driver_in_a_process_of_its_own() {
    let Some(name) = env::var_os(drivers::process::DRIVER) else { return };
    let way = WAYS.iter().find(|way| name == way.name).expect("a way");
    drivers::process::serve(&*(way.driver)().expect("it is in this process"));
}

/// A driver without a test here would skip every case.
#[test]
fn every_driver_has_its_test() {
    let text = fs::read_to_string(tools::source("conformance/main.rs")).expect("this file");
    let tested: BTreeSet<&str> =
        text.split("all_cases_by(\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let known: BTreeSet<&str> = WAYS.iter().map(|way| way.name).collect();
    assert_eq!(tested.intersection(&known).count(), known.len());
}

#[test]
fn every_verdict_and_every_action_comes_up_in_the_cases() {
    let text: String = case::all().iter().map(|case| case.text.clone()).collect();
    for word in ["refreshed", "terminal", "interaction", "config", "transient", "unknown"] {
        assert!(text.contains(&format!("\"verdict\": \"{word}\"")), "no case has the verdict {word}");
    }
    for word in ["login", "retry", "configure", "inspect", "usage"] {
        assert!(text.contains(&format!("\"action\": \"{word}\"")), "no case ends in {word}");
    }
}
