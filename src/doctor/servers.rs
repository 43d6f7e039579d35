//! Each token endpoint that a vault uses is asked once, with nothing of the vault in it: does it answer, and what is its time.

use crate::classify::{self, Answer};
use crate::keeper::Keeper;
use crate::ports::{Ports, Request};
use crate::request::USER_AGENT;
use crate::secret::Secret;

use super::{CLOCK_ALLOWANCE_MS, Findings, Held, Level, shell_word};

/// A person waits for it.
const DEADLINE_MS: u64 = 10_000;

#[cfg_attr(target_arch = "wasm32", lazaret_macros::synchronous)]
impl<P: Ports> Keeper<P> {
    pub(super) async fn ask_servers(&self, held: &[Held], findings: &mut Findings) {
        let mut asked: Vec<&str> = Vec::new();
        for one in held.iter().filter(|held| held.has_oauth()) {
            let Some(to) = one.to.as_ref().filter(|to| !asked.contains(&to.endpoint.as_str())) else { continue };
            asked.push(&to.endpoint);
            self.ask_server(&one.profile.id, &to.endpoint, findings).await;
        }
    }

    async fn ask_server(&self, provider: &str, url: &str, findings: &mut Findings) {
        let request = Request {
            method: "GET",
            url: url.to_owned(),
            headers: vec![("user-agent".to_owned(), Secret::from(USER_AGENT))],
            body: Secret::from(""),
            deadline_ms: DEADLINE_MS,
        };
        let mut fix = String::from("curl -sS -o /dev/null -D - ");
        fix.push_str(&shell_word(url));
        let response = match self.ports.send(request).await {
            Ok(response) => response,
            Err(failure) => {
                let message = format!("{provider}: {url} cannot be reached ({}): {}", failure.kind, failure.message);
                return findings.note(Level::Error, "server-unreachable", message, Some(fix));
            }
        };
        let status = response.status;
        if status >= 500 {
            let message = format!("{provider}: {url} answers, and with the status {status}: it has trouble of its own");
            findings.note(Level::Warning, "server-failing", message, Some(fix));
        } else {
            // It is asked what it is not made for: 404 and 405 are what most say.
            findings.ok("server", format!("{provider}: {url} can be reached (status {status})"));
        }
        let answer = Answer {
            status: Some(status),
            headers: &response.headers,
            body: "",
            body_complete: true,
            body_lossy: false,
            transport_error: None,
        };
        let Some(date_ms) = classify::date_s(&answer).map(|seconds| seconds.saturating_mul(1_000)) else { return };
        let now_ms = self.ports.wall_ms();
        let apart_ms = date_ms.abs_diff(now_ms);
        if apart_ms > CLOCK_ALLOWANCE_MS {
            let side = if date_ms > now_ms { "behind" } else { "ahead of" };
            let message = format!("this machine's clock is {} s {side} that of {url}", apart_ms / 1_000);
            findings.note(Level::Error, "clock-wrong", message, Some("timedatectl set-ntp true".to_owned()));
        }
    }
}
