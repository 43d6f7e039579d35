//! Only an origin on the list is sent to; the list is parsed once and never widened.
//!
//! An entry is one origin: a scheme, a host and a port. It matches that origin exactly, whatever
//! the path.
//!
//! | entry | what it lets through |
//! |---|---|
//! | `https://auth.example.com` | that host on port 443, no other; not its subdomains |
//! | `https://auth.example.com:8443` | that host on port 8443 only |
//! | `https://AUTH.Example.com/` | the same as the first: case, a default port and one closing slash do not matter |
//! | `https://192.0.2.7`, `https://[2001:db8::7]` | that address; an IPv4 address is four decimal numbers |
//! | `http://127.0.0.1:8080`, `http://[::1]:8080`, `http://localhost:8080` | loopback without TLS, only where loopback http was asked for (`--allow-loopback-http`) |
//!
//! | entry | why it is refused |
//! |---|---|
//! | `http://auth.example.com` | plain http is for loopback only (127.0.0.0/8, ::1, localhost) |
//! | `https://*.example.com` | no patterns: name each origin |
//! | `auth.example.com`, `ftp://auth.example.com` | no scheme, or one that is not https or http |
//! | `https://auth.example.com/oauth` | an origin has no path, no query, no fragment |
//! | `https://user@auth.example.com` | no user information, in an origin or in a URL |
//! | `https://127.1`, `https://0x7f000001`, `https://example.com.` | a host that another parser may read differently |
//!
//! ```
//! use lazaretto_host::http::AllowList;
//!
//! let allow = AllowList::new(["https://auth.example.com", "http://127.0.0.1:8080"], false)?;
//!
//! assert!(allow.check("https://auth.example.com/oauth/token").is_ok());
//! assert!(allow.check("HTTPS://Auth.Example.com:443/").is_ok());
//!
//! for refused in [
//!     "https://auth.example.com:8443/oauth/token",
//!     "https://sub.auth.example.com/oauth/token",
//!     "https://auth.example.com.evil.example/oauth/token",
//!     "https://auth.example.com@evil.example/oauth/token",
//!     "http://auth.example.com/oauth/token",
//!     "http://127.0.0.1:8080/oauth/token", // listed, but loopback http was not asked for
//! ] {
//!     assert!(allow.check(refused).is_err(), "{refused}");
//! }
//!
//! let allow = AllowList::new(["http://127.0.0.1:8080", "http://[::1]:80/"], true)?;
//! assert!(allow.check("http://127.0.0.1:8080/oauth/token").is_ok());
//! assert!(allow.check("http://[0:0:0:0:0:0:0:1]/oauth/token").is_ok());
//! # Ok::<(), lazaretto_host::http::BadOrigin>(())
//! ```
//!
//! ```
//! use lazaretto_host::http::AllowList;
//!
//! for bad in [
//!     "http://auth.example.com",
//!     "https://*.example.com",
//!     "auth.example.com",
//!     "ftp://auth.example.com",
//!     "https://auth.example.com/oauth",
//!     "https://user@auth.example.com",
//!     "https://auth.example.com:0",
//!     "https://127.1",
//!     "https://example.com.",
//!     "https://",
//! ] {
//!     assert!(AllowList::new([bad], true).is_err(), "{bad}");
//! }
//! ```

use std::collections::BTreeSet;
use std::fmt;

use super::origin::{Malformed, Origin, Target, parse_origin, parse_url};

/// The origins that may be sent to.
#[derive(Clone, Debug, Default)]
pub struct AllowList {
    origins: BTreeSet<Origin>,
    allow_loopback_http: bool,
}

/// An entry that is not an origin, or one that could never be allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadOrigin {
    entry: String,
    why: Malformed,
}

/// Why a request was not sent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The URL is not one this host sends to, whatever the list says.
    Url(Malformed),
    /// The origin is not on the list.
    NotListed {
        /// As it would stand on the list.
        origin: String,
        /// What stands on the list.
        listed: Vec<String>,
    },
    /// A loopback origin without TLS, and that was not asked for.
    LoopbackHttp {
        /// As it would stand on the list.
        origin: String,
    },
}

impl AllowList {
    /// Parses every origin.
    ///
    /// # Errors
    /// The first entry that is not an origin. A loopback http origin is no error where
    /// `allow_loopback_http` is false: it is refused when it is sent to, so that one such profile
    /// does not stop the others.
    pub fn new(
        origins: impl IntoIterator<Item = impl AsRef<str>>,
        allow_loopback_http: bool,
    ) -> Result<Self, BadOrigin> {
        let origins = origins
            .into_iter()
            .map(|entry| {
                let entry = entry.as_ref();
                parse_origin(entry).map_err(|why| BadOrigin { entry: super::without_secrets(entry), why })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { origins, allow_loopback_http })
    }

    /// Whether a request to `url` may be sent.
    ///
    /// # Errors
    /// Why not, and what to change.
    pub fn check(&self, url: &str) -> Result<(), Refusal> {
        self.target(url).map(drop)
    }

    /// The parts of an allowed `url`: what is dialled comes from the same parse that was checked.
    pub(super) fn target<'a>(&self, url: &'a str) -> Result<Target<'a>, Refusal> {
        let target = parse_url(url).map_err(Refusal::Url)?;
        let origin = &target.origin;
        if !origin.tls && !self.allow_loopback_http {
            return Err(Refusal::LoopbackHttp { origin: origin.to_string() });
        }
        if !self.origins.contains(origin) {
            return Err(Refusal::NotListed {
                origin: origin.to_string(),
                listed: self.origins.iter().map(Origin::to_string).collect(),
            });
        }
        Ok(target)
    }
}

impl Refusal {
    /// The `kind` of the failure this becomes.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Url(Malformed::PlainHttp { .. }) | Self::NotListed { .. } | Self::LoopbackHttp { .. } => {
                "not-allowed"
            }
            Self::Url(_) => "unsupported",
        }
    }
}

impl fmt::Display for BadOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} cannot be on the allow-list: {}", self.entry, self.why)
    }
}

impl std::error::Error for BadOrigin {}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(why) => write!(f, "nothing is sent to this URL: {why}"),
            Self::NotListed { origin, listed } => {
                write!(f, "nothing is sent to {origin}: it is not on the allow-list, which holds ")?;
                if listed.is_empty() {
                    f.write_str("nothing")?;
                } else {
                    f.write_str(&listed.join(", "))?;
                }
                write!(
                    f,
                    ". To allow it, give a profile an endpoint on {origin} in the providers file (--providers FILE) and \
                     start again; the list is never widened while a vault is open"
                )
            }
            Self::LoopbackHttp { origin } => write!(
                f,
                "nothing is sent to {origin}: http without TLS must be asked for. For a server on this machine add \
                 --allow-loopback-http"
            ),
        }
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(allow: &AllowList, url: &str) -> String {
        allow.check(url).expect_err(url).to_string()
    }

    /// The refusal of an unlisted origin names it the list and the fix.
    #[test]
    fn a_refused_origin_is_named_with_the_list_and_the_fix() {
        let allow = AllowList::new(["https://auth.x.ai"], false).expect("an origin");
        let text = refusal(&allow, "https://evil.example/oauth/token?refresh_token=s3cret");
        for part in ["https://evil.example:443", "https://auth.x.ai:443", "--providers"] {
            assert!(text.contains(part), "{text}");
        }
        assert!(!text.contains("s3cret"), "{text}");
    }

    #[test]
    fn the_refusal_of_loopback_http_names_the_flag() {
        let allow = AllowList::new(["http://localhost:8080"], false).expect("an origin");
        let text = refusal(&allow, "http://localhost:8080/");
        assert!(text.contains("--allow-loopback-http"), "{text}");
    }

    /// Plain http beyond loopback is refused even where loopback http is allowed.
    #[test]
    fn plain_http_beyond_loopback_is_always_refused() {
        let allow = AllowList::new(["https://auth.example.com"], true).expect("an origin");
        for url in [
            "http://auth.example.com/",
            "http://10.0.0.1/",
            "http://[::ffff:10.0.0.1]/",
            "http://localhost.example.com/",
            "http://0.0.0.0/",
        ] {
            assert!(refusal(&allow, url).contains("only for loopback"), "{url}");
        }
    }

    #[test]
    fn a_loopback_origin_is_still_only_allowed_with_its_port() {
        let allow = AllowList::new(["http://127.0.0.1:8080"], true).expect("an origin");
        assert!(allow.check("http://127.0.0.1:8080").is_ok());
        assert!(allow.check("http://127.0.0.1:8081/").is_err());
        assert!(allow.check("http://127.0.0.2:8080/").is_err());
        assert!(allow.check("https://127.0.0.1:8080/").is_err());
    }

    #[test]
    fn a_url_that_parsers_read_differently_is_refused() {
        let allow = AllowList::new(["https://a.example", "https://127.0.0.1"], true).expect("origins");
        for url in [
            "https://a.example\\@evil.example/",
            "https://a.example@evil.example/",
            "https://evil.example#@a.example/",
            "https://a.example:443@evil.example/",
            "https://a.example:+443/",
            "https://a.example:/",
            "https://a.example:65536/",
            "https://a%2eexample/",
            "https://a.example./",
            "https://a..example/",
            "https://127.0.0.01/",
            "https://2130706433/",
            "https://0x7f.0.0.0x1/",
            "https:///a.example/",
            "https://a.example:443:443/",
            "https://[a.example]/",
            "https://[::1]x/",
            "https://[::1/",
            "https://ä.example/",
            "https://a.example/ ",
            "https://a.example\r\n/",
            "//a.example/",
            "a.example",
            "file:///etc/passwd",
            "",
        ] {
            assert!(allow.check(url).is_err(), "{url}");
        }
    }

    #[test]
    fn what_is_dialled_is_what_was_checked() {
        let allow = AllowList::new(["https://a.example", "https://a.example:8443"], false).expect("origins");
        for (url, dialled) in [
            ("HTTPS://A.example", "https://a.example/"),
            ("https://a.example:443/x?y=1", "https://a.example/x?y=1"),
            ("https://a.example:8443?y=/", "https://a.example:8443/?y=/"),
        ] {
            assert_eq!(allow.target(url).expect(url).url(), dialled);
        }
    }

    #[test]
    fn a_bad_entry_is_named_without_its_secrets() {
        let error = AllowList::new(["https://me:s3cret@a.example?s3cret"], false).expect_err("bad");
        assert!(!format!("{error} {error:?}").contains("s3cret"), "{error}");
        assert!(error.to_string().contains("a.example"), "{error}");
    }
}
