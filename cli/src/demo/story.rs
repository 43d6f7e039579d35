//! The story in five steps. Every claim is about the real file, or about what the server itself
//! counted.

use std::time::Duration;

use serde_json::Value;

use super::super::failure::Failure;
use super::stage::{Ended, KEY, KEY_BESIDE, KEY_ELSEWHERE, Stage, UNKNOWN, fingerprint};
use super::telling::Telling;
use lazaretto_testing::demo_server::{Fault, TokenServer};

const XAI_REFRESH: &str = "/providers/xai-oauth/tokens/refresh_token";
const XAI_COPY: &str = "/credential_pool/xai-oauth/0/refresh_token";
const CODEX_REFRESH: &str = "/providers/openai-codex/tokens/refresh_token";
const CODEX_ACCESS: &str = "/providers/openai-codex/tokens/access_token";
const NOUS_REFRESH: &str = "/providers/nous/refresh_token";

/// Who plays, and who tells.
pub(super) struct Story {
    pub(super) server: TokenServer,
    pub(super) stage: Stage,
    pub(super) telling: Telling,
    /// Everything that was said where no token belongs.
    pub(super) said: Vec<String>,
}

impl Story {
    pub(super) fn tell(&mut self) -> Result<(), Failure> {
        self.prologue()?;
        self.a_refresh_that_rotates()?;
        let dead = self.a_revoked_token()?;
        self.a_new_session(&dead)?;
        self.answers_that_change_nothing()?;
        self.two_at_once()?;
        self.epilogue()
    }

    fn prologue(&mut self) -> Result<(), Failure> {
        self.telling.say(&format!(
            "An authorization server listens on {}. Every refresh there replaces the refresh token, and a token that is \
             sent twice ends the whole login. A vault with three logins and two API keys lies in {}.",
            self.server.address(),
            self.stage.directory().display()
        ))?;
        let status = self.stage.run("status")?;
        self.telling.quote("", &format!("$ lazaretto status\n{}", status.shown))
    }

    fn a_refresh_that_rotates(&mut self) -> Result<(), Failure> {
        self.telling.step("A refresh that rotates")?;
        let before = self.stage.in_vault(XAI_REFRESH)?.unwrap_or_default();
        let (ended, requests) = self.run("refresh xai-oauth")?;
        self.telling.ran(&ended)?;
        let after = self.stage.in_vault(XAI_REFRESH)?.unwrap_or_default();
        self.telling.say(&format!(
            "In the vault: refresh token {} before, {} now.",
            fingerprint(&before),
            fingerprint(&after)
        ))?;
        let copy = self.stage.in_vault(XAI_COPY)?;
        self.telling.check("one request, and the vault holds the server's new token", {
            ended.code == Some(0) && requests == 1 && before != after && self.server.is_live(&after)
        })?;
        let together = before != after && copy.as_ref() == Some(&after);
        self.telling.check("the login and the pool entry copied from it changed together", together)
    }

    /// The vault with the tokens that are dead in the end.
    fn a_revoked_token(&mut self) -> Result<String, Failure> {
        self.telling.step("A revoked token is quarantined")?;
        let before = self.stage.vault()?;
        let dead = self.stage.in_vault(CODEX_REFRESH)?.unwrap_or_default();
        self.server.revoke(&dead);
        self.telling.say("The user ends the openai-codex login in a browser. Nobody tells the vault.")?;
        let (ended, requests) = self.run("token openai-codex --credential login")?;
        self.telling.ran(&ended)?;
        let after = self.stage.vault()?;
        self.telling.quote("Written to the login:", &self.marker(&after)?)?;
        self.telling.say("Taken out: its access token, its refresh token, and the pool entry copied from it.")?;
        self.telling.check(
            "the server was asked once, and the exit code says: log in again",
            requests == 1 && ended.code == Some(3),
        )?;
        let marked = self.stage.in_vault("/providers/openai-codex/last_auth_error/code")?.is_some();
        self.telling.check("the dead token is gone from the whole vault, and the vault says why", {
            marked
                && !after.contains(&dead)
                && self.stage.in_vault(CODEX_ACCESS)?.is_none()
                && !after.contains("\"a0b1c2\"")
        })?;
        self.telling.check("keys, unknown fields and other logins are the same, byte for byte", {
            let other_login = between(&before, "\"xai-oauth\": {", "\"openai-codex\": {");
            let other_entries = between(&before, "\"xai-oauth\": [", "]");
            let others = [KEY_BESIDE, KEY_ELSEWHERE, UNKNOWN, other_login, other_entries];
            let is_kept = |piece: &&str| !piece.is_empty() && before.contains(*piece) && after.contains(*piece);
            before != after && others.iter().all(is_kept)
        })?;
        let (ended, requests) = self.run("token openai-codex")?;
        self.telling.ran(&ended)?;
        self.telling.check("the API key beside it serves on", ended.stdout.trim_end() == KEY && requests == 0)?;
        Ok(before)
    }

    fn a_new_session(&mut self, with_dead_tokens: &str) -> Result<(), Failure> {
        self.telling.step("A new session does not replay it")?;
        self.telling.say(&format!("The server has seen {} requests so far.", self.server.requests()))?;
        let (ended, requests) = self.run("token openai-codex --credential login")?;
        self.telling.ran(&ended)?;
        self.telling.check("a new process sends nothing", requests == 0 && ended.code == Some(3))?;
        self.telling.say(
            "Now the dead tokens are put back by hand, as another program does that still has them at its start.",
        )?;
        self.stage.write("auth.json", with_dead_tokens)?;
        let put_back = self.stage.in_vault(CODEX_REFRESH)?.unwrap_or_default();
        let (ended, requests) = self.run("token openai-codex --credential login")?;
        self.telling.ran(&ended)?;
        self.telling.say(&format!("The server has seen {} requests so far.", self.server.requests()))?;
        let vault = self.stage.vault()?;
        self.telling.check("put back by hand, it is still not sent, and is taken out again", {
            requests == 0 && ended.code == Some(3) && !put_back.is_empty() && !vault.contains(&put_back)
        })
    }

    fn answers_that_change_nothing(&mut self) -> Result<(), Failure> {
        self.telling.step("A server in trouble, and a proxy in between, change nothing")?;
        let before = self.stage.vault()?;
        self.server.fault([Fault::status(503, "text/plain", "try later")]);
        let (unavailable, requests) = self.run("refresh xai-oauth")?;
        self.telling.ran(&unavailable)?;
        self.telling.check("a 503 leaves the vault as it was, byte for byte", {
            requests == 1 && unavailable.code == Some(4) && self.stage.vault()? == before
        })?;
        let (cooling, requests) = self.run("refresh xai-oauth")?;
        self.telling.ran(&cooling)?;
        self.telling.check("until then nothing more is sent", requests == 0 && cooling.code == Some(4))?;
        let reset = self.stage.run("reset xai-oauth")?;
        self.telling.ran(&reset)?;
        let page = "<!DOCTYPE html><html><title>Access denied</title><body>Sorry, you have been blocked.</body></html>";
        self.server.fault([Fault::status(403, "text/html", page)]);
        let (blocked, requests) = self.run("refresh xai-oauth")?;
        self.telling.ran(&blocked)?;
        self.telling.check("a 403 page of HTML leaves the vault as it was, byte for byte", {
            requests == 1 && blocked.code == Some(4) && self.stage.vault()? == before
        })?;
        let refresh = self.stage.in_vault(XAI_REFRESH)?.unwrap_or_default();
        self.telling.check("and the login lives: its token is the server's", self.server.is_live(&refresh))
    }

    fn two_at_once(&mut self) -> Result<(), Failure> {
        self.telling.step("Two processes at once, one request")?;
        self.telling.say(
            "The nous access token has run out. Two processes want one at the same moment, and the server is slow.",
        )?;
        self.server.fault([Fault::Slow { ms: 300 }]);
        let before = self.server.requests();
        let (one, other) = (self.stage.start("token nous --json")?, self.stage.start("token nous --json")?);
        let both = [one.wait()?, other.wait()?];
        self.said.extend(both.iter().map(|ended| ended.stderr.clone()));
        let answers: Vec<Value> =
            both.iter().map(|ended| serde_json::from_str(&ended.stdout).unwrap_or_default()).collect();
        for (ended, answer) in both.into_iter().zip(&answers) {
            let shown = match answer["origin"].as_str() {
                Some(origin) => format!("(an access token; its origin: {origin})"),
                None => ended.stderr.clone(),
            };
            self.telling.ran(&Ended { shown, ..ended })?;
        }
        let requests = self.server.requests() - before;
        let asked = if requests == 1 { "once".to_owned() } else { format!("{requests} times") };
        self.telling.say(&format!("The server was asked {asked}."))?;
        let same = answers[0]["token"].is_string() && answers[0]["token"] == answers[1]["token"];
        self.telling.check("both have the same new token, and there was one request", same && requests == 1)
    }

    fn epilogue(&mut self) -> Result<(), Failure> {
        self.telling.step("In the end")?;
        let status = self.stage.run("status")?;
        self.telling.quote("", &format!("$ lazaretto status\n{}", status.shown))?;
        let held = [self.stage.in_vault(XAI_REFRESH)?, self.stage.in_vault(NOUS_REFRESH)?];
        let mut live = self.server.live_tokens();
        live.sort();
        let mut held: Vec<String> = held.into_iter().flatten().collect();
        held.sort();
        self.telling.check("the vault holds exactly the tokens that the server would take", held == live)?;
        self.telling.check("no token was ever sent twice", self.server.replays() == 0)?;
        self.said.push(self.stage.read("auth.json.lazaretto")?);
        let shown =
            self.stage.secrets.iter().chain(&held).any(|secret| self.said.iter().any(|said| said.contains(secret)));
        self.telling.check("no token stands in the ledger, nor in any message", !shown)
    }

    /// A process to its end, and how many requests the server saw of it. What it says is kept.
    fn run(&mut self, words: &str) -> Result<(Ended, u64), Failure> {
        let before = self.server.requests();
        let ended = self.stage.run(words)?;
        self.said.push(ended.shown.clone());
        // A request that was left behind would arrive now.
        let _ = self.server.wait_for_requests(u64::MAX, Duration::from_millis(5));
        Ok((ended, self.server.requests() - before))
    }

    /// What the vault says of the dead login, a member a line.
    fn marker(&self, vault: &str) -> Result<String, Failure> {
        let vault: Value = serde_json::from_str(vault).map_err(Failure::broken)?;
        let marker = &vault["providers"]["openai-codex"]["last_auth_error"];
        Ok(format!("\"last_auth_error\": {marker:#}"))
    }
}

/// What stands from `from` to the next `to`; nothing if they are not there.
fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
    let Some(start) = text.find(from) else { return "" };
    text[start..].find(to).map_or("", |length| &text[start..start + length])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_of_a_text_is_found_or_is_empty() {
        assert_eq!(between("ab[c]d]", "[", "]"), "[c");
        assert_eq!(between("ab", "[", "]"), "");
        assert_eq!(between("a[b", "[", "]"), "");
    }
}
