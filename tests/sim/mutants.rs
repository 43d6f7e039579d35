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
    "no-intent" in "protocol/refresh.rs":
        "match ledger::swap(&self.ports, sending.ask.vault, read, true, &ours).await? {"
        => "drop(ours); match Ok::<_, KeeperError>(Swapped::Done(read))? {";
    "no-reload-under-the-lease" in "protocol/refresh.rs":
        "let Some(now) = self.look_again(ask, due).await? else { return Ok(Next::Again) };"
        => "let _ = self.look_again(ask, due).await?; let now = Due { vault: due.vault.clone(), credential: due.credential.clone(), usable: due.usable.clone(), spent: due.spent.clone() };";
    "no-deadline-check" in "protocol/lease.rs":
        "let Some(ttl_ms) = sending.held.granted_ttl_ms else { return true };"
        => "let Some(ttl_ms) = sending.held.granted_ttl_ms.filter(|_| false) else { return true };";
    "clock-set-back-not-noticed" in "protocol/lease.rs":
        "monotonic_ms.saturating_sub(sending.held.monotonic_ms).max(wall_ms - sending.held.wall_ms)"
        => "monotonic_ms.saturating_sub(sending.held.monotonic_ms)";
    "ledger-not-asked" in "protocol/refresh.rs":
        "match ledger.standing(&sending.fingerprint, &sending.to, now_ms) {"
        => "match ledger.standing(&Fingerprint::of(\"\"), &sending.to, now_ms) {";
    "tombstone-ignored" in "protocol/refresh.rs":
        "Standing::Dead(tombstone) if earned_a_send(sending.place, tombstone) => Ok(None),"
        => "Standing::Dead(_) => Ok(None), #[allow(unreachable_patterns)]";
    "spent-token-sent" in "protocol/refresh.rs":
        "Standing::Spent(_) => self.restore_the_descendant(sending, ledger).await.map(Some),"
        => "Standing::Spent(_) => Ok(None),";
    "unknown-outcome-taken-as-dead" in "protocol/refresh.rs":
        "Verdict::Terminal => self.refused(&sending, &outcome).await,"
        => "Verdict::Terminal | Verdict::Unknown | Verdict::Transient => self.refused(&sending, &outcome).await,";
    "answer-lost-is-not-resent-but-buried" in "protocol/exchange.rs":
        "let is_still_ours = lost(&outcome) && self.still_stored(sending).await;"
        => "let is_still_ours = false; if lost(&outcome) { outcome.judgement.verdict = Verdict::Terminal; }";
    "resend-without-a-last-look-at-the-clock" in "protocol/exchange.rs":
        "if is_still_ours && deadline_ms >= LEAST_DEADLINE_MS && self.has_time(sending) {"
        => "if is_still_ours && deadline_ms >= LEAST_DEADLINE_MS {";
    "withdrawn-intent-stays" in "protocol/refresh.rs":
        "ledger.record(&sending.fingerprint, &sending.to, now_ms).account_for(&intended.intent);"
        => "ledger.record(&sending.fingerprint, &sending.to, now_ms);";
    "sealed-successor-forgotten" in "protocol/refresh.rs":
        "if let Some(next) = self.finish_a_sealed_successor(sending, ledger).await? {"
        => "if let Some(next) = None {";
    "intent-left-open-after-a-429" in "protocol/backoff.rs":
        "if !judgement.in_doubt && !outcome.is_resend {"
        => "if false {";
    "cooldown-ends-the-doubt" in "protocol/backoff.rs":
        "if !judgement.in_doubt && !outcome.is_resend {"
        => "record.intent = None; if false {";
    "successor-dropped-on-conflict" in "protocol/store_successor.rs":
        "Ok(Stored::Stale(_)) => self.tell("
        => "Ok(Stored::Stale(_)) if true => return Ok(Landed::Gone), Ok(Stored::Stale(_)) => self.tell(";
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
        "Landed::Failed | Landed::Overtaken => unsaved = self.seal_successor(sending, &fresh).await,"
        => "Landed::Failed | Landed::Overtaken => unsaved = None,";
    "intent-never-resolved" in "protocol/store_successor.rs":
        "        let now_ms = self.ports.wall_ms();\n        let successor = fresh.refresh_token"
        => "        if true { return; }\n        let now_ms = self.ports.wall_ms();\n        let successor = fresh.refresh_token";
    "kept-taken-as-spent" in "protocol/store_successor.rs":
        "                record.state = State::Live;\n                record.pause = None;"
        => "                record.state = State::Spent { successor: sent.clone() };\n                record.pause = None;";
    "another-s-intent-closed" in "protocol/store_successor.rs":
        "Some(ours) if record.intent.as_ref().is_some_and(|intent| intent.nonce != ours.nonce) => {"
        => "Some(ours) if false => {";
    "stored-over-the-parent-only" in "protocol/store_successor.rs":
        "let ours = |token: &Fingerprint| token == sent || landing.ledger.is_ancestor(token, sent);"
        => "let ours = |token: &Fingerprint| token != sent && landing.ledger.is_ancestor(token, sent);";
    "restored-token-never-expires" in "protocol/store_successor.rs":
        "issued_ms.min(at_ms.saturating_sub(1_000))"
        => "at_ms";
    "tombstone-of-the-successor-lifted" in "state/ledger/mod.rs":
        "        if is_news {\n"
        => "        if true {\n";
    "unsaved-without-a-lease" in "keeper.rs":
        "let held = self.lease(&ask, Some(&unsaved.spent), Patience::OneRefresh).await?;"
        => "let held = self.lease(&ask, Some(&Fingerprint::of(\"\")), Patience::OneRefresh).await?;";
    "no-copy-kept" in "protocol/store_successor.rs":
        "Landed::Stored => self.keep_a_copy(sending, &fresh).await,"
        => "Landed::Stored => {}";
    "a-spent-token-unsealed" in "protocol/store_successor.rs":
        "matches!(standing, Some(Standing::Sendable(_) | Standing::Paused(_)))"
        => "drop(standing); true";
    "quarantine-without-reload" in "protocol/quarantine.rs":
        "Some(token) => place.refresh_token.as_ref() == Some(token),"
        => "Some(_) => provider == self.provider.id && place.spot == self.place.spot,";
    "vault-cleared-before-the-tombstone" in "protocol/quarantine.rs":
        "        let mut known = None;\n"
        => "        let mut known = None;\n        let early = |text: &str| self.without(vault, text, dead, &Ledger::default(), at_ms);\n        self.edit_vault(vault, lease, async |text| Ok(early(text)?.map(|(edited, _)| edited))).await?;\n";
    "dead-token-forgotten-with-its-process" in "protocol/quarantine.rs":
        "&|ledger| bury(ledger, token, to, &tombstone)"
        => "&|_| drop((&tombstone, token, to))";
    "not-sealed-before-it-is-cleared" in "protocol/quarantine.rs":
        "self.seal(vault, by, dead, removed, at_ms).await?;"
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
    "takeover-does-not-wait" in "protocol/refresh.rs":
        "self.wait_for_the_other(sending, intent, now_ms)?;"
        => "let _ = (intent, now_ms);";
    "resend-although-a-successor-came" in "protocol/exchange.rs":
        "        && !new_token\n"
        => "        && (!new_token || true)\n";
    "resend-without-a-look-at-the-vault" in "protocol/exchange.rs":
        "let is_still_ours = lost(&outcome) && self.still_stored(sending).await;"
        => "let is_still_ours = lost(&outcome);";
    "doubt-forgotten-by-the-next-sender" in "protocol/refresh.rs":
        "sends: before.as_ref().map_or(0, |before| before.sends) + 1,"
        => "sends: 1,";
    "old-read-believed-when-landing" in "protocol/store_successor.rs":
        "Ok(Plan::Done(landed)) if self.is_current(ask.vault, text, &document.version, lease).await => {"
        => "Ok(Plan::Done(landed)) if true => {";
    "another-vault-confirmed-than-decided-on" in "protocol/store_successor.rs":
        "        let vault = &sending.due.vault;\n        Ok("
        => "        let vault = &self.found(sending.ask).await?.0;\n        Ok(";
    "a-dead-copy-ends-it-all" in "protocol/refresh.rs":
        "if has_other || sealed.is_ok_and(|sealed| sealed.successor_for(&ask.profile.id, &ask.credential).is_some()) {"
        => "if has_other {";
    "older-token-ends-what-is-saved-later" in "keeper.rs":
        "sealed.successors.insert(spent.clone(), successor.clone());"
        => "drop((sealed, spent, successor));";
    "old-refresh-token-lost-when-none-comes" in "vault/fresh.rs":
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
sha2 = {{ version = "0.11", default-features = false }}
zeroize = {{ version = "1.9", default-features = false, features = ["alloc"] }}
rustc-hash = "2.1"
serde_json = {{ version = "1", features = ["preserve_order"] }}
"#,
            name = mutant.name,
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
