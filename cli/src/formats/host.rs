//! The host a token is for. A token goes to that host and to no other: not to a part of its name,
//! not to another port.

use std::net::IpAddr;

/// `HOST` or `HOST:PORT`; without a port it is that of the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Host {
    name: String,
    port: Option<u16>,
}

impl Host {
    /// As a person types it, and as git and docker write it. The error says what is wrong without
    /// what was there.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || "it should be a host, or HOST:PORT, without `https://` and without a path".to_owned();
        let (name, port) = match text.rsplit_once(':') {
            // The colons of an IPv6 address stand in brackets.
            Some((name, port)) if !text.ends_with(']') => (name, Some(port)),
            _ => (text, None),
        };
        let port = match port {
            Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => Some(port.parse().map_err(|_| wrong())?),
            Some(_) => return Err(wrong()),
            None => None,
        };
        let inner = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
        let is_host = match inner {
            Some(inner) => matches!(inner.parse(), Ok(IpAddr::V6(_))),
            None => !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)),
        };
        if !is_host {
            return Err(wrong());
        }
        Ok(Self { name: name.trim_end_matches('.').to_ascii_lowercase(), port })
    }

    /// The host of a URL, or of an address without a scheme, which is taken for https; and whether
    /// it is plain http.
    pub(super) fn of_url(url: &str) -> Option<(Self, bool)> {
        let (rest, plain) = match url.split_once("://") {
            Some(("https", rest)) => (rest, false),
            Some(("http", rest)) => (rest, true),
            Some(_) => return None,
            None => (url, false),
        };
        let host = rest.split(['/', '?', '#']).next()?;
        Self::parse(host).ok().map(|host| (host, plain))
    }

    /// Whether a request to `asked` goes where this says.
    pub(super) fn is(&self, asked: &Self, is_plain: bool) -> bool {
        let usual = if is_plain { 80 } else { 443 };
        self.name == asked.name && self.port.unwrap_or(usual) == asked.port.unwrap_or(usual)
    }

    /// On this machine: what is sent there crosses no network.
    pub(super) fn is_loopback(&self) -> bool {
        let address = self.name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        self.name == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }
}

impl std::fmt::Display for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// Whether a token for `hosts` may go there. Over plain http only to this machine.
pub(super) fn may_go(hosts: &[Host], asked: &Host, is_plain: bool) -> bool {
    (!is_plain || asked.is_loopback()) && hosts.iter().any(|host| host.is(asked, is_plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> Host {
        Host::parse(text).unwrap()
    }

    #[test]
    fn a_token_goes_to_that_host_only() {
        let hosts = [host("Git.Example"), host("git.example:8443"), host("127.0.0.1:80"), host("[::1]:3000")];
        for (asked, is_plain, goes) in [
            ("git.example", false, true),
            ("GIT.EXAMPLE:443", false, true),
            ("git.example.", false, true),
            ("git.example:8443", false, true),
            ("git.example:8444", false, false),
            ("git.example", true, false),
            ("evil.git.example", false, false),
            ("git.example.evil", false, false),
            ("it.example", false, false),
            ("127.0.0.1", true, true),
            ("127.0.0.1", false, false),
            ("[::1]:3000", true, true),
            ("localhost", true, false),
        ] {
            assert_eq!(may_go(&hosts, &host(asked), is_plain), goes, "{asked} {is_plain}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for bad in
            ["", ":", "a:", "a:b", "a:99999", "a b", "https://a.example", "a/b", "u@a", "::1", "[::1", "[a]", "a\n"]
        {
            assert!(Host::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_url_names_its_host() {
        let of = |url| Host::of_url(url).map(|(host, is_plain)| (host.to_string(), is_plain));
        assert_eq!(of("https://index.docker.io/v1/"), Some(("index.docker.io".into(), false)));
        assert_eq!(of("ghcr.io"), Some(("ghcr.io".into(), false)));
        assert_eq!(of("http://localhost:5000/x"), Some(("localhost:5000".into(), true)));
        for bad in ["ftp://a", "https://u:p@a", "https://", ""] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }
}
