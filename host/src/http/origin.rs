//! A URL or an origin is either read the one way every parser reads it, or refused.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// What is wrong with a URL or an origin.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Malformed {
    /// A space, a control character, a backslash or a character outside ASCII.
    Character,
    /// Neither `https://` nor `http://` in front.
    Scheme,
    /// Something before an `@`.
    UserInfo,
    /// Something after a `#`.
    Fragment,
    /// No host, or one that not every parser reads alike.
    Host,
    /// Not a number from 1 to 65535.
    Port,
    /// A path or a query, in an origin.
    Path,
    /// Plain http to a host that is not loopback.
    PlainHttp {
        /// The host, to say what to write instead.
        host: String,
    },
}

/// An allowed URL in parts.
#[derive(Debug)]
pub(super) struct Target<'a> {
    pub(super) origin: Origin,
    /// Begins with `/`, unless it is empty or begins with `?`.
    path_and_query: &'a str,
}

impl Target<'_> {
    /// The URL put together again from its parts, without a default port.
    pub(super) fn url(&self) -> String {
        let Origin { tls, host, port } = &self.origin;
        let scheme = if *tls { "https" } else { "http" };
        let slash = if self.path_and_query.starts_with('/') { "" } else { "/" };
        if *port == default_port(*tls) {
            format!("{scheme}://{host}{slash}{}", self.path_and_query)
        } else {
            format!("{scheme}://{host}:{port}{slash}{}", self.path_and_query)
        }
    }
}

/// Scheme, host and port. Prints with its port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Origin {
    pub(super) tls: bool,
    host: Host,
    port: u16,
}

impl Origin {
    /// 127.0.0.0/8, ::1 or `localhost`. What `localhost` stands for is looked at when it is
    /// resolved.
    pub(super) fn is_loopback(&self) -> bool {
        match &self.host {
            Host::Name(name) => name == "localhost",
            Host::V4(address) => address.is_loopback(),
            Host::V6(address) => address.is_loopback(),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Host {
    /// In lower case.
    Name(String),
    V4(Ipv4Addr),
    V6(Ipv6Addr),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::V4(address) => address.fmt(f),
            Self::V6(address) => write!(f, "[{address}]"),
        }
    }
}

pub(super) fn parse_origin(entry: &str) -> Result<Origin, Malformed> {
    let target = parse_url(entry)?;
    match target.path_and_query {
        "" | "/" => Ok(target.origin),
        _ => Err(Malformed::Path),
    }
}

pub(super) fn parse_url(url: &str) -> Result<Target<'_>, Malformed> {
    if !url.bytes().all(|b| b.is_ascii_graphic() && b != b'\\') {
        return Err(Malformed::Character);
    }
    if url.contains('#') {
        return Err(Malformed::Fragment);
    }
    let (scheme, rest) = url.split_once("://").ok_or(Malformed::Scheme)?;
    let tls = match scheme.to_ascii_lowercase().as_str() {
        "https" => true,
        "http" => false,
        _ => return Err(Malformed::Scheme),
    };
    let (authority, path_and_query) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    if authority.contains('@') {
        return Err(Malformed::UserInfo);
    }
    let (host, port) = split_port(authority)?;
    let origin = Origin { tls, host: parse_host(host)?, port: port.map_or(Ok(default_port(tls)), parse_port)? };
    if !tls && !origin.is_loopback() {
        return Err(Malformed::PlainHttp { host: host.to_ascii_lowercase() });
    }
    Ok(Target { origin, path_and_query })
}

fn split_port(authority: &str) -> Result<(&str, Option<&str>), Malformed> {
    // The colons of an IPv6 address stand in brackets.
    let host_end = authority.find(']').map_or(0, |at| at + 1);
    match authority[host_end..].split_once(':') {
        Some((more, port)) => Ok((&authority[..host_end + more.len()], Some(port))),
        None => Ok((authority, None)),
    }
}

fn parse_port(port: &str) -> Result<u16, Malformed> {
    // `u16::from_str` takes a plus sign.
    if !port.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Malformed::Port);
    }
    match port.parse() {
        Ok(0) | Err(_) => Err(Malformed::Port),
        Ok(port) => Ok(port),
    }
}

fn parse_host(host: &str) -> Result<Host, Malformed> {
    if let Some(inner) = host.strip_prefix('[') {
        return inner.strip_suffix(']').and_then(|address| address.parse().ok()).map(Host::V6).ok_or(Malformed::Host);
    }
    let labels_are_good = host.len() <= 253
        && host.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        });
    if !labels_are_good {
        return Err(Malformed::Host);
    }
    // WHATWG URL, "ends in a number": such a host is an IPv4 address, which resolvers also read in
    // octal, in hex and with parts left out.
    let last = host.rsplit('.').next().unwrap_or(host);
    let digits = last.strip_prefix(['0']).and_then(|rest| rest.strip_prefix(['x', 'X']));
    let ends_in_number = last.bytes().all(|b| b.is_ascii_digit())
        || digits.is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()));
    if ends_in_number {
        return host.parse().map(Host::V4).map_err(|_| Malformed::Host);
    }
    Ok(Host::Name(host.to_ascii_lowercase()))
}

fn default_port(tls: bool) -> u16 {
    if tls { 443 } else { 80 }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Character => f.write_str(
                "it holds a space, a control character, a backslash or a character outside ASCII; percent-encode it",
            ),
            Self::Scheme => f.write_str("it does not begin with https://"),
            Self::UserInfo => {
                f.write_str("it names a user before an @; leave that out, credentials do not go into URLs")
            }
            Self::Fragment => f.write_str("it has a fragment after a #; leave that out"),
            Self::Host => f.write_str(
                "its host is neither a name like auth.example.com nor an address like 192.0.2.7 or [2001:db8::7]",
            ),
            Self::Port => f.write_str("its port is not a number from 1 to 65535"),
            Self::Path => {
                f.write_str("an origin has no path and no query; write only https://host or https://host:port")
            }
            Self::PlainHttp { host } => {
                write!(f, "plain http is only for loopback (127.0.0.0/8, ::1, localhost); use https://{host}")
            }
        }
    }
}
