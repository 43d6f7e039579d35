//! One request is one attempt: it goes to an allow-listed origin, once, on a connection of its own,
//! and ends at its deadline.
//!
//! The host side of `lazaretto:keeper/http`. A refresh token may be single use, so whatever an
//! ordinary HTTP client does to be helpful is off here: no retry, no redirect, no pool, no cookies,
//! no content coding.
//!
//! - [`AllowList`]: which origins may be sent to, and how an entry is written
//! - [`NetworkHttp`]: the real thing, over TCP and TLS; its doc says which environment variables
//!   count
//! - [`Http`]: what the embedding calls, so that a test or a simulation can stand in for the
//!   network

mod allow;
mod body;
mod head;
mod headers;
mod lookup;
mod named;
mod network;
mod origin;
mod public;
mod wire;

use std::fmt;

pub use allow::{AllowList, BadOrigin, Refusal};
pub(crate) use named::{Requests, origins};
pub use network::NetworkHttp;
pub use origin::Malformed;

/// The most bytes of a response body, or of its headers in all, that are handed on.
pub const CAP_BYTES: usize = 64 * 1024;

/// One request to an authorization server.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpRequest {
    /// `POST` or `GET`.
    pub method: String,
    /// Absolute, without user information and fragment.
    pub url: String,
    /// Name and value. `host`, `connection`, `content-length` and the like are the host's own;
    /// `accept-encoding` is always `identity`.
    pub headers: Vec<(String, String)>,
    /// Empty for a `GET`.
    pub body: String,
    /// From name resolution to the last byte of the body. More than a day counts as a day.
    pub deadline_ms: u64,
    /// Which addresses the host of the URL may be at.
    pub reach: Reach,
}

/// Which addresses a request may go to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// Any that the name of an allowed origin resolves to.
    #[default]
    Any,
    /// Public ones only, for an address that a person did not choose. The name is looked up once;
    /// if any of its addresses is private, loopback, link-local, shared, multicast or reserved,
    /// also within an IPv6 address, the request fails as `not-allowed`; else one that was looked at
    /// is connected to. What cannot keep this fails as `unsupported`.
    Public,
}

/// What came back with a status line, whatever the status.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpResponse {
    /// 3xx, 4xx and 5xx are answers like any other.
    pub status: u16,
    /// Names in lower case, repeated headers repeated; what is beyond [`CAP_BYTES`] in all is
    /// dropped.
    pub headers: Vec<(String, String)>,
    /// At most [`CAP_BYTES`].
    pub body: String,
    /// False: the body was cut, by the cap, by the connection or by the deadline.
    pub body_complete: bool,
    /// True: bytes that were not UTF-8 were replaced, or the body is in a content coding that
    /// cannot be read; then `content-encoding` still names it.
    pub body_lossy: bool,
}

/// Whether the server may have seen the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Not one byte of the request left this host.
    No,
    /// It may have.
    Maybe,
}

/// No response with a status line came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpFailure {
    /// `dns`, `connect`, `tls`, `timeout`, `reset`, `protocol`, `not-allowed`, `unsupported` or
    /// `other`.
    pub kind: &'static str,
    /// Decides whether the same token may be sent again.
    pub sent: Sent,
    /// For a person. Holds no header value, no body and no query.
    pub message: String,
}

/// One attempt at one exchange.
pub trait Http: Send + Sync {
    /// Sends `request` and waits for its answer, at most until its deadline.
    ///
    /// # Errors
    /// No status line came; [`HttpFailure::sent`] says whether the server may have seen the request
    /// all the same.
    fn send(&self, request: &HttpRequest) -> Result<HttpResponse, HttpFailure>;
}

impl fmt::Display for HttpFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind, self.message)
    }
}

impl std::error::Error for HttpFailure {}

impl fmt::Debug for HttpRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpRequest")
            .field("method", &self.method)
            .field("url", &without_secrets(&self.url))
            .field("headers", &Names(&self.headers))
            .field("body", &Length(&self.body))
            .field("deadline_ms", &self.deadline_ms)
            .field("reach", &self.reach)
            .finish()
    }
}

impl fmt::Debug for HttpResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpResponse")
            .field("status", &self.status)
            .field("headers", &Names(&self.headers))
            .field("body", &Length(&self.body))
            .field("body_complete", &self.body_complete)
            .field("body_lossy", &self.body_lossy)
            .finish()
    }
}

/// Scheme, host and path: what stands before the query and the fragment, less any user information.
fn without_secrets(url: &str) -> String {
    let end = url.find(['?', '#']).unwrap_or(url.len());
    let (start, rest) = match url[..end].find("://") {
        Some(at) => url[..end].split_at(at + 3),
        None => ("", &url[..end]),
    };
    let authority_end = rest.find('/').unwrap_or(rest.len());
    let shown = match rest[..authority_end].rfind('@') {
        Some(at) => format!("{start}[redacted]{}", &rest[at..]),
        None => format!("{start}{rest}"),
    };
    if end < url.len() { format!("{shown}?[redacted]") } else { shown }
}

/// Header names without their values.
struct Names<'a>(&'a [(String, String)]);

impl fmt::Debug for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// The length of a text without the text.
struct Length<'a>(&'a str);

impl fmt::Debug for Length<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[redacted, {} bytes]", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_where_a_request_goes_and_none_of_its_secrets() {
        let request = HttpRequest {
            method: "POST".into(),
            url: "https://us:s3cret-1@auth.example.com/token?code=s3cret-2#s3cret-3".into(),
            headers: vec![("x-nous-refresh-token".into(), "s3cret-4".into())],
            body: "refresh_token=s3cret-5".into(),
            deadline_ms: 1000,
            reach: Reach::Any,
        };
        let shown = format!("{request:?}");
        assert!(!shown.contains("s3cret"), "{shown}");
        assert!(shown.contains("https://[redacted]@auth.example.com/token?[redacted]"), "{shown}");
        assert!(shown.contains("x-nous-refresh-token"), "{shown}");
    }

    #[test]
    fn debug_of_a_response_shows_its_status_and_none_of_its_secrets() {
        let response = HttpResponse {
            status: 200,
            headers: vec![("set-cookie".into(), "s3cret-1".into())],
            body: "{\"access_token\":\"s3cret-2\"}".into(),
            body_complete: true,
            body_lossy: false,
        };
        let shown = format!("{response:?}");
        assert!(!shown.contains("s3cret"), "{shown}");
        assert!(shown.contains("status: 200"), "{shown}");
    }

    #[test]
    fn a_url_that_is_no_url_is_shown_without_its_query_too() {
        for url in ["?s3cret", "a@b?s3cret", "://?s3cret", "x://s3cret@", "s3cret@h/p"] {
            let shown = without_secrets(url);
            assert!(!shown.contains("s3cret"), "{url} is shown as {shown}");
        }
    }
}
