//! Broken variants of the shipped code, to see that the checks see: each is the source with one small change, compiled and put
//! under the same scheduler.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One change to one file of `src/`.
pub struct Mutant {
    pub name: &'static str,
    pub file: &'static str,
    pub find: &'static str,
    pub replace: &'static str,
}

macro_rules! mutants {
    ($($name:literal in $file:literal: $find:literal => $replace:literal;)*) => {
        &[$(Mutant { name: $name, file: $file, find: $find, replace: $replace }),*]
    };
}

pub const MUTANTS: &[Mutant] = mutants! {
    "no-intent" in "protocol/intent.rs":
        "match ledger::swap(&session.ports, exchange.demand.vault, read, true, &ours).await? {"
        => "drop(ours); match Ok::<_, KeeperError>(Swapped::Done(read))? {";
    "no-reload-under-the-lease" in "protocol/refresh.rs":
        "let Some(now) = look_again(session, demand, due).await? else { return Ok(Next::Again) };"
        => "let _ = look_again(session, demand, due).await?; let now = Due { vault: due.vault.clone(), credential: due.credential.clone(), usable: due.usable.clone(), spent: due.spent.clone() };";
    "no-deadline-check" in "protocol/lease.rs":
        "let Some(ttl_ms) = exchange.held.granted_ttl_ms else { return true };"
        => "let Some(ttl_ms) = exchange.held.granted_ttl_ms.filter(|_| false) else { return true };";
    "clock-set-back-not-noticed" in "protocol/lease.rs":
        "monotonic_ms.saturating_sub(exchange.held.monotonic_ms).max(wall_ms - exchange.held.wall_ms)"
        => "monotonic_ms.saturating_sub(exchange.held.monotonic_ms)";
    "ledger-not-asked" in "protocol/check_ledger.rs":
        "match ledger.standing(&exchange.fingerprint, &exchange.to, now_ms) {"
        => "match ledger.standing(&Fingerprint::of(\"\"), &exchange.to, now_ms) {";
    "tombstone-ignored" in "protocol/check_ledger.rs":
        "Standing::Dead(tombstone) if earned_a_send(exchange.place, tombstone) => Ok(None),"
        => "Standing::Dead(_) => Ok(None), #[allow(unreachable_patterns)]";
    "spent-token-sent" in "protocol/check_ledger.rs":
        "Standing::Spent(_) => recover::restore_descendant(session, exchange, ledger).await.map(Some),"
        => "Standing::Spent(_) => Ok(None),";
    "unknown-outcome-taken-as-dead" in "protocol/refresh.rs":
        "Verdict::Terminal => end_refused(session, &exchange, &outcome).await,"
        => "Verdict::Terminal | Verdict::Unknown | Verdict::Transient => end_refused(session, &exchange, &outcome).await,";
    "answer-lost-is-not-resent-but-buried" in "protocol/exchange.rs":
        "let is_still_ours = lost(&outcome) && still_stored(session, exchange).await;"
        => "let is_still_ours = false; if lost(&outcome) { outcome.judgement.verdict = Verdict::Terminal; }";
    "resend-without-a-last-look-at-the-clock" in "protocol/exchange.rs":
        "if is_still_ours && deadline_ms >= LEAST_DEADLINE_MS && lease::has_time(session, exchange) {"
        => "if is_still_ours && deadline_ms >= LEAST_DEADLINE_MS {";
    "withdrawn-intent-stays" in "protocol/intent.rs":
        "ledger.record(&exchange.fingerprint, &exchange.to, now_ms).account_for(&intended.intent);"
        => "ledger.record(&exchange.fingerprint, &exchange.to, now_ms);";
    "sealed-successor-forgotten" in "protocol/check_ledger.rs":
        "if let Some(next) = recover::finish_sealed(session, exchange, ledger).await? {"
        => "if let Some(next) = None {";
    "intent-left-open-after-a-429" in "protocol/backoff.rs":
        "if !judgement.in_doubt && !outcome.is_resend {"
        => "if false {";
    "cooldown-ends-the-doubt" in "protocol/backoff.rs":
        "if !judgement.in_doubt && !outcome.is_resend {"
        => "record.intent = None; if false {";
    "successor-dropped-on-conflict" in "protocol/store_successor.rs":
        "Ok(Stored::Stale(_)) => {"
        => "Ok(Stored::Stale(_)) if true => return Ok(Some(StoreOutcome::Gone)), Ok(Stored::Stale(_)) => {";
    "only-one-place-written" in "protocol/store_successor.rs":
        "if place.fingerprint().as_ref().is_some_and(&ours) {"
        => "if !holds_it && place.fingerprint().as_ref().is_some_and(&ours) {";
    "new-login-overwritten" in "protocol/store_successor.rs":
        "if place.fingerprint().as_ref().is_some_and(&ours) {"
        => "if place.spot == crate::vault::Spot::Login || place.fingerprint().as_ref().is_some_and(&ours) {";
    "emptied-place-stays-empty" in "protocol/store_successor.rs":
        "for place in places().filter(|place| emptied(place)) {"
        => "for place in places().filter(|place| emptied(place) && false) {";
    "successor-not-sealed" in "protocol/store_successor.rs":
        "StoreOutcome::Failed | StoreOutcome::Overtaken => unsaved = seal_successor(session, exchange, &fresh).await,"
        => "StoreOutcome::Failed | StoreOutcome::Overtaken => unsaved = None,";
    "intent-never-resolved" in "protocol/intent.rs":
        "    let now_ms = session.ports.wall_ms();\n    let successor = fresh.refresh_token"
        => "    if true { return; }\n    let now_ms = session.ports.wall_ms();\n    let successor = fresh.refresh_token";
    "kept-taken-as-spent" in "protocol/intent.rs":
        "            record.state = State::Live;\n            record.pause = None;"
        => "            record.state = State::Spent { successor: sent.clone() };\n            record.pause = None;";
    "another-s-intent-closed" in "protocol/intent.rs":
        "Some(ours) if record.intent.as_ref().is_some_and(|intent| intent.nonce != ours.nonce) => {"
        => "Some(ours) if false => {";
    "stored-over-the-parent-only" in "protocol/store_successor.rs":
        "let ours = |token: &Fingerprint| token == sent || storing.ledger.is_ancestor(token, sent);"
        => "let ours = |token: &Fingerprint| token != sent && storing.ledger.is_ancestor(token, sent);";
    "restored-token-never-expires" in "protocol/can_store.rs":
        "issued_ms.min(at_ms.saturating_sub(1_000))"
        => "at_ms";
    "tombstone-of-the-successor-lifted" in "state/ledger/mod.rs":
        "        if is_news {\n"
        => "        if true {\n";
    "unsaved-without-a-lease" in "protocol/save_unsaved.rs":
        "let held = lease::acquire(session, &demand, Some(&unsaved.spent), Patience::OneRefresh).await?;"
        => "let held = lease::acquire(session, &demand, Some(&Fingerprint::of(\"\")), Patience::OneRefresh).await?;";
    "no-copy-kept" in "protocol/store_successor.rs":
        "StoreOutcome::Stored => keep_copy(session, exchange, &fresh).await,"
        => "StoreOutcome::Stored => {}";
    "a-spent-token-unsealed" in "protocol/recover.rs":
        "matches!(standing, Some(Standing::Sendable(_) | Standing::Paused(_)))"
        => "drop(standing); true";
    "quarantine-without-reload" in "protocol/mod.rs":
        "Some(token) => place.refresh_token.as_ref() == Some(token),"
        => "Some(_) => provider == self.provider.id && place.spot == self.place.spot,";
    "vault-cleared-before-the-tombstone" in "protocol/quarantine.rs":
        "    let mut known = None;\n"
        => "    let mut known = None;\n    let early = |text: &str| without_dead(session, vault, text, dead, &Ledger::default(), at_ms);\n    session.edit_vault(vault, lease, async |text| Ok(early(text)?.map(|(edited, _)| edited))).await?;\n";
    "dead-token-forgotten-with-its-process" in "protocol/quarantine.rs":
        "&|ledger| bury(ledger, token, to, &tombstone)"
        => "&|_| drop((&tombstone, token, to))";
    "not-sealed-before-it-is-cleared" in "protocol/quarantine.rs":
        "seal(session, vault, by, dead, removed, at_ms).await?;"
        => "drop((removed, by));";
    "live-neighbour-taken-out" in "protocol/quarantine.rs":
        "let goes = is_dead || (login_dies && (place.is_empty() || is_older(place)));"
        => "let goes = is_dead || login_dies;";
    "unknown-fields-respelled" in "vault/edit.rs":
        "        result.push_str(&text[at..]);\n        result\n"
        => "        result.push_str(&text[at..]);\n        result.replace(\" :  \", \": \")\n";
    "older-token-taken-for-a-new-login" in "protocol/store_successor.rs":
        "issued_ms.zip(parent_issued_ms).is_none_or(|(issued_ms, parent_ms)| issued_ms > parent_ms)"
        => "issued_ms.zip(parent_issued_ms).is_none_or(|_| true)";
    "takeover-does-not-wait" in "protocol/check_ledger.rs":
        "lease::check_other_sender(exchange, intent, now_ms)?;"
        => "let _ = (intent, now_ms);";
    "resend-although-a-successor-came" in "protocol/exchange.rs":
        "        && !new_token\n"
        => "        && (!new_token || true)\n";
    "resend-without-a-look-at-the-vault" in "protocol/exchange.rs":
        "let is_still_ours = lost(&outcome) && still_stored(session, exchange).await;"
        => "let is_still_ours = lost(&outcome);";
    "doubt-forgotten-by-the-next-sender" in "protocol/intent.rs":
        "sends: before.as_ref().map_or(0, |before| before.sends) + 1,"
        => "sends: 1,";
    "old-read-believed-when-landing" in "protocol/store_successor.rs":
        "if can_store::is_current(session, demand.vault, text, &document.version, lease).await =>"
        => "if true =>";
    "another-vault-confirmed-than-decided-on" in "protocol/can_store.rs":
        "    let vault = &exchange.due.vault;\n    Ok("
        => "    let vault = &crate::protocol::freshness::find(session, exchange.demand).await?.0;\n    Ok(";
    "a-dead-copy-ends-it-all" in "protocol/quarantine.rs":
        "if has_other || sealed.is_ok_and(|sealed| sealed.successor_for(&demand.profile.id, &demand.credential).is_some()) {"
        => "if has_other {";
    "older-token-ends-what-is-saved-later" in "protocol/save_unsaved.rs":
        "sealed.successors.insert(spent.clone(), successor.clone());"
        => "drop((sealed, spent, successor));";
    "old-refresh-token-lost-when-none-comes" in "vault/write_tokens.rs":
        "let about_expiry = matches!(field, Field::ExpiresInS"
        => "let about_expiry = matches!(field, Field::RefreshToken | Field::ExpiresInS";
};

/// Writes each mutant as a package, builds them all, and returns the programs. What has not changed is not built again.
pub fn build(root: &Path) -> Vec<(&'static str, PathBuf)> {
    let at = root.join("target/mutants");
    for mutant in MUTANTS {
        write_package(root, &at, mutant);
    }
    let members: Vec<String> = MUTANTS.iter().map(|mutant| format!("{:?}", mutant.name)).collect();
    write(
        &at.join("Cargo.toml"),
        &format!(
            "[workspace]\nresolver = \"3\"\nmembers = [{}]\n\n[profile.dev]\nopt-level = 2\ndebug = false\nincremental = false\n",
            members.join(", ")
        ),
    );
    // The versions of the workspace, so that nothing has to be looked for.
    if !at.join("Cargo.lock").exists() {
        let _ = fs::copy(root.join("Cargo.lock"), at.join("Cargo.lock"));
    }
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--bins"])
        .current_dir(&at)
        .env("CARGO_TARGET_DIR", at.join("target"))
        .env_remove("RUSTFLAGS")
        .output()
        .expect("cargo runs");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    MUTANTS.iter().map(|mutant| (mutant.name, at.join("target/debug").join(mutant.name))).collect()
}

fn write_package(root: &Path, at: &Path, mutant: &Mutant) {
    let package = at.join(mutant.name);
    copy(&root.join("src"), &package.join("src"), &|path, text| {
        if path != root.join("src").join(mutant.file) {
            return text;
        }
        let count = text.matches(mutant.find).count();
        assert_eq!(count, 1, "{}: {:?} stands {count} times in src/{}", mutant.name, mutant.find, mutant.file);
        text.replacen(mutant.find, mutant.replace, 1)
    });
    write(
        &package.join("Cargo.toml"),
        &format!(
            r#"[package]
name = "{name}"
version = "0.0.0"
edition = "2024"
publish = false
autobins = false

[lib]
name = "lazaretto"

[[bin]]
name = "{name}"
path = {main:?}

[features]
default = ["keeper"]
keeper = []
admin = []

[dependencies]
lazaretto-macros = {{ path = {macros:?} }}
sha2 = {{ version = "0.11", default-features = false }}
zeroize = {{ version = "1.9", default-features = false, features = ["alloc"] }}
rustc-hash = "2.1"
serde_json = {{ version = "1", features = ["preserve_order"] }}
"#,
            name = mutant.name,
            macros = root.join("macros"),
            main = root.join("tests/sim/mutant.rs")
        ),
    );
}

fn copy(from: &Path, to: &Path, change: &dyn Fn(&Path, String) -> String) {
    for entry in fs::read_dir(from).expect("a directory").map(|entry| entry.expect("an entry").path()) {
        let to = to.join(entry.file_name().expect("a name"));
        if entry.is_dir() {
            copy(&entry, &to, change);
        } else {
            let text = fs::read_to_string(&entry).expect("source is text");
            write(&to, &change(&entry, text));
        }
    }
}

/// Only what is new, so that cargo sees what has changed.
fn write(path: &Path, text: &str) {
    if fs::read_to_string(path).is_ok_and(|known| known == text) {
        return;
    }
    fs::create_dir_all(path.parent().expect("a directory")).expect("it can be made");
    fs::write(path, text).expect("it can be written");
}
