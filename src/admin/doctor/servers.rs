//! Each token endpoint that a vault uses is asked once, with nothing of the vault in it: is it an authorization server, and what is
//! its time.
//!
//! The request is a POST with an empty form: no client, no grant, no credential, and no header of the profile. RFC 6749 section 5.2 has an
//! authorization server answer that with a JSON error; whatever else answers does not.

use lazaretto_macros::async_natively;

use crate::classify::{self, Answer};
use crate::json::{self, Kind};
use crate::ports::{Ports, Request, Response};
use crate::protocol::request::USER_AGENT;
use crate::secret::Secret;
use crate::session::Session;

use super::{CLOCK_ALLOWANCE_MS, FindingCode, Findings, Help, Level, ProviderView, shell_word};

/// A person waits for it.
const DEADLINE_MS: u64 = 10_000;
/// RFC 6749 section 5.2, RFC 8628 section 3.5 and RFC 7591 section 3.2.2 know these.
const ERRORS: [&str; 9] = [
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
    "invalid_target",
    "access_denied",
    "slow_down",
];

/// What an answer to an empty request says of who gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    AuthorizationServer,
    /// It has trouble of its own, or too many ask it.
    Failing,
    /// No token endpoint is there.
    SomethingElse,
    /// Somebody answered before the server, or it keeps no standard.
    Unknown,
}

#[async_natively]
pub(crate) async fn ask_servers<P: Ports>(session: &Session<P>, held: &[ProviderView], findings: &mut Findings) {
    let mut asked: Vec<&str> = Vec::new();
    for one in held.iter().filter(|held| held.has_oauth()) {
        let Some(to) = one.to.as_ref().filter(|to| !asked.contains(&to.endpoint.as_str())) else { continue };
        asked.push(&to.endpoint);
        ask_server(session, one, &to.endpoint, findings).await;
    }
}

#[async_natively]
async fn ask_server<P: Ports>(session: &Session<P>, of: &ProviderView, url: &str, findings: &mut Findings) {
    let header = |name: &str, value: &str| (name.to_owned(), Secret::from(value));
    let request = Request {
        method: "POST",
        url: url.to_owned(),
        headers: vec![
            header("content-type", "application/x-www-form-urlencoded"),
            header("accept", "application/json"),
            header("user-agent", USER_AGENT),
        ],
        body: Secret::from(""),
        deadline_ms: DEADLINE_MS,
    };
    let provider = &of.profile.id;
    let response = match session.ports.send(request).await {
        Ok(response) => response,
        // Where the host sends nothing to, is told of by itself.
        Err(failure) if failure.kind == "not-allowed" && of.is_plain_http() => return,
        Err(failure) => {
            let what = format!("{url} cannot be reached ({}): {}", failure.kind, failure.message);
            let help = Help::fix(curl(url));
            return findings.of_provider(provider, Level::Error, FindingCode::ServerUnreachable, &what, help);
        }
    };
    told(of, url, &response, findings);
    compare_clocks(session, url, &response, findings);
}

fn compare_clocks<P: Ports>(session: &Session<P>, url: &str, response: &Response, findings: &mut Findings) {
    let answer = Answer {
        status: Some(response.status),
        headers: &response.headers,
        body: "",
        body_complete: true,
        body_lossy: false,
        transport_error: None,
    };
    let Some(date_ms) = classify::date_s(&answer).map(|seconds| seconds.saturating_mul(1_000)) else { return };
    let now_ms = session.ports.wall_ms();
    let apart_ms = date_ms.abs_diff(now_ms);
    if apart_ms > CLOCK_ALLOWANCE_MS {
        let side = if date_ms > now_ms { "behind" } else { "ahead of" };
        let message = format!("this machine's clock is {} s {side} that of {url}", apart_ms / 1_000);
        let help = Help::fix("timedatectl set-ntp true".to_owned());
        findings.note(Level::Error, FindingCode::ClockWrong, message, help);
    }
}

fn told(of: &ProviderView, url: &str, response: &Response, findings: &mut Findings) {
    let (provider, status) = (&of.profile.id, response.status);
    let (level, code, what) = match who(response) {
        Who::AuthorizationServer => (
            Level::Ok,
            FindingCode::Server,
            format!("{url} is an authorization server (status {status} to an empty request)"),
        ),
        Who::Failing => (
            Level::Warning,
            FindingCode::ServerFailing,
            format!("{url} answers with the status {status}: try again later"),
        ),
        Who::SomethingElse => (
            Level::Error,
            FindingCode::NotAnAuthorizationServer,
            format!(
                "no token endpoint is at {url} (status {status}, no OAuth error): `token_endpoint` may be mistyped"
            ),
        ),
        Who::Unknown => (
            Level::Warning,
            FindingCode::NotAnAuthorizationServer,
            format!(
                "what answers at {url} does not show that it is a token endpoint (status {status}, no OAuth error): a proxy may \
                 answer in its place, or `token_endpoint` is mistyped"
            ),
        ),
    };
    // The host knows the file that names the endpoint.
    let is_the_users = code == FindingCode::NotAnAuthorizationServer && of.is_the_users;
    let help = match code {
        FindingCode::Server => Help::NONE,
        _ if is_the_users => Help::NONE,
        _ => Help::fix(curl(url)),
    };
    findings.of_provider(provider, level, code, &what, help);
}

fn who(response: &Response) -> Who {
    if response.status >= 500 || response.status == 429 {
        return Who::Failing;
    }
    let body = json::check(response.body.expose()).ok().filter(|body| body.kind() == Kind::Object);
    let error = body.and_then(|body| body.get("error"));
    let is_known = error.is_some_and(|error| ERRORS.iter().any(|known| error.is_str(known)));
    match response.status {
        400..=428 if is_known => Who::AuthorizationServer,
        // A web framework says `"error": "Not Found"` of any path; GitHub says it of a client that is not named.
        404 | 410 if error.is_some() => Who::Unknown,
        404 | 410 => Who::SomethingElse,
        // Some name an error in words of their own.
        400..=428 if error.is_some() => Who::AuthorizationServer,
        _ => Who::Unknown,
    }
}

fn curl(url: &str) -> String {
    let mut command = String::from("curl -sS -o /dev/null -D - -d '' ");
    command.push_str(&shell_word(url));
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_json_error_shows_an_authorization_server_and_nothing_else_does() {
        for (status, body, wanted) in [
            (400, r#"{"error":"invalid_request"}"#, Who::AuthorizationServer),
            (400, r#"{"error":"unsupported_grant_type","error_description":"x"}"#, Who::AuthorizationServer),
            (401, r#"{"error":"invalid_client"}"#, Who::AuthorizationServer),
            // Servers that take parameters from another form say so with 415 or in words of their own.
            (415, r#"{"error":{"type":"invalid_request_error","message":"x"}}"#, Who::AuthorizationServer),
            (404, r#"{"error":"invalid_request"}"#, Who::AuthorizationServer),
            (404, r#"{"error":"Not Found","path":"/tokken"}"#, Who::Unknown),
            (404, r#"{"detail":"Not Found"}"#, Who::SomethingElse),
            (404, "<html>", Who::SomethingElse),
            (410, "", Who::SomethingElse),
            (405, "", Who::Unknown),
            (200, "<html>", Who::Unknown),
            (200, r#"{"error":"invalid_request"}"#, Who::Unknown),
            (302, "", Who::Unknown),
            (403, "<html>", Who::Unknown),
            (400, "Bad Request", Who::Unknown),
            (422, r#"{"detail":"x"}"#, Who::Unknown),
            (429, "", Who::Failing),
            (503, r#"{"error":"invalid_request"}"#, Who::Failing),
        ] {
            let response = Response {
                status,
                headers: Vec::new(),
                body: Secret::from(body),
                body_complete: true,
                body_lossy: false,
            };
            assert_eq!(who(&response), wanted, "{status} {body}");
        }
    }
}
