//! `docs/proof.md` names tests and cases; each of them is there.

use std::fs;
use std::path::Path;

const CASES: [&str; 2] = [include_str!("cases/refresh-failures.jsonl"), include_str!("cases/more-answers.jsonl")];

#[test]
fn every_test_and_case_that_the_proof_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let proof = fs::read_to_string(root.join("docs/proof.md")).expect("it is there");
    let (_, rules) = proof.split_once("## Rules from the field").expect("its heading");
    let rules = rules.split("\n## ").next().expect("the section");
    let (mut rows, mut tests, mut cases) = (0, 0, 0);
    for row in rules.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| #")) {
        rows += 1;
        assert!(row.starts_with(&format!("| {rows} |")), "{row}");
        let held_by = row.trim_end_matches(" |").rsplit(" | ").next().expect("the last column");
        let mut file = String::new();
        // Every other piece stands between backticks.
        for name in held_by.split('`').skip(1).step_by(2) {
            if name.ends_with(".rs") {
                file = fs::read_to_string(root.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
            } else if name.matches('_').count() > 2 {
                assert!(file.contains(&format!("fn {name}(")), "{rows}: {name}");
                tests += 1;
            } else if name.contains('-') {
                assert!(CASES.iter().any(|cases| cases.contains(&format!("\"id\": \"{name}\""))), "{rows}: {name}");
                cases += 1;
            }
        }
    }
    assert_eq!(rows, 63);
    assert!(tests > 80 && cases > 25, "{tests} tests, {cases} cases");
}
