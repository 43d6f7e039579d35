//! `docs/proof.md` and `docs/reference-parity.md` name tests and cases; each of them is there.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const CASES: [&str; 3] = [
    include_str!("../cases/refresh-failures.jsonl"),
    include_str!("../cases/more-answers.jsonl"),
    include_str!("../cases/field-answers.jsonl"),
];

/// The files of tests that were read, by their names in the documents.
#[derive(Default)]
struct Tests(BTreeMap<String, String>);

impl Tests {
    fn has(&mut self, file: &str, test: &str) -> bool {
        let text = self.0.entry(file.to_owned()).or_insert_with(|| {
            fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file} ({test}): {error}"))
        });
        text.contains(&format!("fn {test}("))
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn is_case(name: &str) -> bool {
    CASES.iter().any(|cases| cases.contains(&format!("\"id\": \"{name}\"")))
}

/// Every other piece of a text stands between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn every_test_and_case_that_the_proof_names_exists() {
    let proof = fs::read_to_string(root().join("docs/proof.md")).expect("it is there");
    let (_, rules) = proof.split_once("## Rules from the field").expect("its heading");
    let rules = rules.split("\n## ").next().expect("the section");
    let (mut rows, mut tests, mut cases) = (0, 0, 0);
    let mut known = Tests::default();
    for row in rules.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| #")) {
        rows += 1;
        assert!(row.starts_with(&format!("| {rows} |")), "{row}");
        let held_by = row.trim_end_matches(" |").rsplit(" | ").next().expect("the last column");
        let mut file = "";
        for name in quoted(held_by) {
            if name.ends_with(".rs") {
                file = name;
            } else if name.matches('_').count() > 2 {
                assert!(known.has(file, name), "{rows}: {name}");
                tests += 1;
            } else if name.contains('-') {
                assert!(is_case(name), "{rows}: {name}");
                cases += 1;
            }
        }
    }
    assert_eq!(rows, 63);
    assert!(tests > 80 && cases > 25, "{tests} tests, {cases} cases");
}

/// Of the reference each thing has a row, and each row a test, or says why it has none.
#[test]
fn every_test_that_the_parity_page_names_exists() {
    let parity = fs::read_to_string(root().join("docs/reference-parity.md")).expect("it is there");
    let mut known = Tests::default();
    let mut rows: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let (mut tests, mut open) = (0, Vec::new());
    for section in parity.split("\n## ").skip(1) {
        let (heading, text) = section.split_once('\n').expect("a section");
        // The first two lines of a table are its heading.
        for row in text.lines().filter(|line| line.starts_with("| ")).skip(1) {
            let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
            let [name, _, shown_by, remark] = cells[..] else { panic!("{heading}: not four cells: {row}") };
            rows.entry(heading).or_default().push(name);
            let mut named = 0;
            // A row may name more beside its remark.
            for cell in [shown_by, remark] {
                let mut file = "";
                for quoted in quoted(cell) {
                    if quoted.ends_with(".rs") {
                        file = quoted;
                    } else if cell == shown_by || (!file.is_empty() && quoted.matches('_').count() > 2) {
                        let exists =
                            if file.is_empty() || is_case(quoted) { is_case(quoted) } else { known.has(file, quoted) };
                        assert!(exists, "{heading}: {name}: {quoted}");
                        named += usize::from(cell == shown_by);
                    }
                }
            }
            if named == 0 {
                let says_so = shown_by == "**not shown yet**" || shown_by == "**does not apply**";
                assert!(says_so && !remark.is_empty(), "{heading}: {name} is shown by nothing and says not why");
                open.push(name);
            }
            tests += named;
        }
    }
    let count = |heading: &str| rows.get(heading).map_or(0, Vec::len);
    assert_eq!((count("Incidents"), count("Weak points")), (56, 38));
    for (at, name) in rows["Weak points"].iter().enumerate() {
        assert!(name.starts_with(&format!("W{} ", at + 1)), "{name}");
    }
    let others = ["Storage", "Providers", "Refresh, step by step", "The pool", "What a user sees"].map(count);
    assert!(others.iter().all(|rows| *rows > 10) && tests > 250, "{others:?}, {tests} tests");
    assert!(open.len() < 8, "{open:#?}");
}
