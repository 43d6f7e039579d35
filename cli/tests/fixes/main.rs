//! What `lazaretto doctor` tells a person to run is safe: each of its fixes is pasted into a shell, twice, and in every order of two, for every
//! fault that it can find. No byte of a live token is lost, no dead one is sent, and nothing gets worse.

mod scenarios;
mod server;
mod stage;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use lazaretto::admin::doctor::FindingCode;
use lazaretto_host::storage::CHECKUP_CODES;
use scenarios::Scenario;
use stage::{Found, Stage};

/// What cannot be brought about in a folder of a test, and the test that sees what is said then.
const ELSEWHERE: [(&str, &str); 7] = [
    ("owner-other", "another user: `another_users_vault`, and in `checkup/tests.rs`"),
    ("directory-closed", "not for root: `a_folder_that_its_user_may_not_write`"),
    ("owner-beside", "root gives a file away: here, if this is root, and in `cli/tests/command/doctor.rs`"),
    ("vault-mounted", "a mount of its own: `checkup/tests.rs`"),
    ("vault-read-only", "a mount of its own: `checkup/tests.rs`"),
    ("vault-immutable", "an attribute that not every file system has: `checkup/tests.rs`"),
    ("disk-full", "`checkup/tests.rs`"),
];
/// The same, and no test can bring it about: a network is pretended in `checkup/tests.rs`.
const PRETENDED: [&str; 1] = ["network-file-system"];
/// What stands in every report.
const ALWAYS: [&str; 5] = ["vault", "ledger", "sealed", "provider", "server"];

/// A vault in which these faults are.
fn staged(faults: &[&Scenario]) -> Stage {
    let mut stage = Stage::new();
    faults.iter().for_each(|fault| (fault.prepare)(&mut stage));
    stage.write();
    faults.iter().for_each(|fault| (fault.act)(&stage));
    faults.iter().for_each(|fault| (fault.befall)(&stage));
    stage
}

fn of<'a>(found: &'a [Found], fault: &Scenario) -> Option<&'a Found> {
    found
        .iter()
        .find(|finding| finding.code == fault.code && (fault.provider.is_empty() || finding.provider == fault.provider))
}

fn fixes(found: &[Found]) -> Vec<String> {
    let mut fixes: Vec<String> = Vec::new();
    for fix in found.iter().filter(|finding| finding.severity != "ok").filter_map(|finding| finding.fix.clone()) {
        if !fixes.contains(&fix) {
            fixes.push(fix);
        }
    }
    fixes
}

/// Whatever it was about: a command ran, and ended as its manual says.
fn assert_sane(fix: &str, (code, said): &(i32, String)) {
    let is_ours = fix.starts_with("lazaretto ");
    // Of ours 2 is a command that was spelled wrong; 101 a panic, 126 and 127 no command at all.
    // Whether anybody answers is what it tells.
    let is_sane =
        fix.starts_with("curl ") || if is_ours { matches!(code, 0 | 1 | 3 | 4 | 5) } else { matches!(code, 0..=2) };
    assert!(is_sane, "{fix}: {code} {said}");
}

/// What must not become less by any fix.
struct Before {
    live: Vec<(String, String)>,
    errors: BTreeSet<(String, String, String)>,
}

fn errors(found: &[Found]) -> BTreeSet<(String, String, String)> {
    let errors = found.iter().filter(|finding| finding.severity == "error");
    errors.map(|finding| (finding.code.clone(), finding.provider.clone(), finding.credential.clone())).collect()
}

impl Before {
    fn of(stage: &Stage, found: &[Found]) -> Self {
        let everything = stage.everything();
        let mut live = stage.server.books().live();
        live.retain(|(_, token)| everything.contains(token));
        Self { live, errors: errors(found) }
    }

    /// After these commands were run.
    fn check(&self, stage: &Stage, ran: &[&String], context: &str) {
        let everything = stage.everything();
        let books = stage.server.books();
        assert_eq!(books.dead_sent, 0, "{context}: a dead token was sent");
        for (provider, token) in &self.live {
            // A person who logs in anew gives the old login up.
            let logged_in = ran.iter().any(|fix| fix.ends_with(&format!(" login {provider}")));
            let now = books.now(token);
            assert!(
                logged_in || now.is_some_and(|now| everything.contains(now)),
                "{context}: {provider} lost its token"
            );
        }
        drop(books);
        let new: Vec<_> = errors(&stage.doctor()).difference(&self.errors).cloned().collect();
        assert!(new.is_empty(), "{context}: worse by {new:?}");
    }
}

/// Runs something for each on several threads: what they do is waiting, mostly. All that fail are told.
fn each<T: Sync>(items: &[T], run: impl Fn(&T) + Sync) {
    let (next, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if catch_unwind(AssertUnwindSafe(|| run(item))).is_err() {
                        failed.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert_eq!(failed.into_inner(), 0, "of {}", items.len());
}

/// One fault: it is found, its fix runs, mends it if it can, and does nothing more when it is run again. Whether it changed anything.
fn alone(fault: &Scenario) -> bool {
    let stage = staged(&[fault]);
    let found = stage.doctor();
    let name = format!("{} {}", fault.code, fault.provider);
    assert!(of(&found, fault).is_some(), "{name} is not in {found:#?}");
    let (before, picture) = (Before::of(&stage, &found), stage.picture());
    let (fixes, requests) = (fixes(&found), stage.server.books().requests);
    for fix in &fixes {
        let ran = stage.paste(fix);
        assert_sane(fix, &ran);
        assert!(ran.0 == 0 || !fault.is_mended, "{name}: {fix} {ran:?}");
    }
    let changed = stage.picture() != picture || stage.server.books().requests != requests;
    let ran: Vec<&String> = fixes.iter().collect();
    before.check(&stage, &ran, &name);
    if fault.is_mended && of(&found, fault).is_some_and(|finding| finding.fix.is_some()) {
        let after = stage.doctor();
        assert!(of(&after, fault).is_none(), "{name} is not mended: {after:#?}");
    }
    // The same once more.
    for fix in &fixes {
        assert_sane(fix, &stage.paste(fix));
    }
    before.check(&stage, &ran, &format!("{name} twice"));
    changed
}

/// Two faults: each fix before and after each other.
fn together(one: &Scenario, other: &Scenario) {
    let stage = staged(&[one, other]);
    let found = stage.doctor();
    let (fixes, before, kept) = (fixes(&found), Before::of(&stage, &found), stage.keep());
    for first in &fixes {
        for second in fixes.iter().filter(|second| *second != first) {
            for fix in [first, second, first] {
                assert_sane(fix, &stage.paste(fix));
            }
            let context = format!("{}+{}: {first} && {second}", one.code, other.code);
            before.check(&stage, &[first, second], &context);
            stage.put_back(&kept);
        }
    }
}

#[test]
fn every_fix_is_safe_twice_and_in_every_order_of_two() {
    let all = scenarios::all();
    let effective = Mutex::new(Vec::new());
    let numbers: Vec<usize> = (0..all.len()).collect();
    each(&numbers, |number| {
        if alone(&all[*number]) {
            effective.lock().expect("no panic").push(*number);
        }
    });
    let effective = effective.into_inner().expect("no panic");
    // What changes nothing may stand before and after anything.
    let is_paired = |number: &usize| effective.contains(number) && !all[*number].is_alone;
    let paired: Vec<usize> = numbers.iter().copied().filter(is_paired).collect();
    assert!(paired.len() > 15, "{paired:?}");
    let mut pairs = Vec::new();
    for (at, one) in paired.iter().enumerate() {
        pairs.extend(paired[at + 1..].iter().map(|other| (*one, *other)));
    }
    each(&pairs, |(one, other)| together(&all[*one], &all[*other]));
}

/// Whoever adds a code to doctor brings it about here.
#[test]
fn there_is_no_code_that_no_test_brings_about() {
    let all = scenarios::all();
    let made: BTreeSet<&str> = all.iter().map(|fault| fault.code).chain(ALWAYS).collect();
    let elsewhere: BTreeSet<&str> = ELSEWHERE.iter().map(|(code, _)| *code).chain(PRETENDED).collect();
    let known: BTreeSet<&str> = FindingCode::ALL.iter().map(|code| code.as_str()).chain(CHECKUP_CODES).collect();
    let missing: Vec<_> = known.iter().filter(|code| !made.contains(*code) && !elsewhere.contains(*code)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    let page = include_str!("../../../docs/doctor.md");
    let untold: Vec<_> = known.iter().filter(|code| !page.contains(&format!("`{code}`"))).collect();
    assert!(untold.is_empty(), "docs/doctor.md does not say what these mean: {untold:?}");
    let contract = include_str!("../../../wit/admin.wit");
    let unlisted: Vec<_> =
        FindingCode::ALL.iter().filter(|code| !contract.contains(&format!("`{}`", code.as_str()))).collect();
    assert!(unlisted.is_empty(), "wit/admin.wit: {unlisted:?}");
    let unknown: Vec<_> = made.union(&elsewhere).filter(|code| !known.contains(*code)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}
