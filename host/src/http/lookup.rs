//! A name is looked up once, within the deadline, and only what was looked at is connected to: there
//! is no second answer that a name server could give in between.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;
use ureq::{Error, Timeout};

use super::Reach;
use super::public::is_public;
use super::wire::{Exchange, Phase};

/// How many addresses of a name are tried.
const MOST_ADDRESSES: usize = 16;

/// Who knows the addresses of a name.
pub(super) trait Names: fmt::Debug + Send + Sync {
    /// Returns the addresses of `host`, each with `port`. May take as long as it likes.
    fn addresses(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>>;
}

/// The system, with whatever it is configured to ask.
#[derive(Debug)]
struct System;

impl Names for System {
    fn addresses(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        (host, port).to_socket_addrs().map(Vec::from_iter)
    }
}

/// How names become addresses, and which addresses are public.
#[derive(Clone, Debug)]
pub(super) struct Resolution {
    pub(super) names: Arc<dyn Names>,
    pub(super) is_public: fn(IpAddr) -> bool,
}

impl Default for Resolution {
    fn default() -> Self {
        Self { names: Arc::new(System), is_public }
    }
}

/// Looks names up within the deadline of one exchange. It holds `localhost` to its word, and a
/// request with [`Reach::Public`] to public addresses.
#[derive(Debug)]
pub(super) struct Lookup {
    pub(super) exchange: Arc<Exchange>,
    pub(super) resolution: Resolution,
    pub(super) reach: Reach,
}

/// An address may not be connected to.
#[derive(Debug)]
pub(super) enum Forbidden {
    /// A name that ought to be this machine is not.
    NotLoopback,
    /// An address that is not public, for a request that may only go to public ones.
    NotPublic(IpAddr),
}

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotLoopback => f.write_str("localhost does not resolve to loopback here"),
            Self::NotPublic(address) => {
                write!(f, "it is at {address}, and this request may only go to a public address")
            }
        }
    }
}

impl std::error::Error for Forbidden {}

impl Resolver for Lookup {
    fn resolve(&self, uri: &Uri, config: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        self.exchange.enter(Phase::Resolving);
        let host = uri.host().ok_or(Error::HostNotFound)?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let default_port = if uri.scheme_str() == Some("https") { 443 } else { 80 };
        let port = uri.port_u16().unwrap_or(default_port);

        let found = match host.parse::<IpAddr>() {
            Ok(address) => vec![SocketAddr::new(address, port)],
            Err(_) => self.look_up(host, port, self.exchange.left()?)?,
        };
        let is_plain = self.exchange.is_for(uri) && uri.scheme_str() == Some("http");
        self.allowed(&found, is_plain).map_err(|forbidden| Error::Other(Box::new(forbidden)))?;
        let mut addresses = self.empty();
        for address in config.ip_family().keep_wanted(found.into_iter()).take(MOST_ADDRESSES) {
            addresses.push(address);
        }
        if addresses.is_empty() {
            return Err(Error::HostNotFound);
        }
        Ok(addresses)
    }
}

impl Lookup {
    /// Refuses a name if any of its addresses may not be connected to: one that has good and bad
    /// ones was made to be tried until a bad one is taken.
    fn allowed(&self, found: &[SocketAddr], is_plain: bool) -> Result<(), Forbidden> {
        if is_plain && !found.iter().all(|address| address.ip().is_loopback()) {
            return Err(Forbidden::NotLoopback);
        }
        let is_forbidden = |address: &IpAddr| self.reach == Reach::Public && !(self.resolution.is_public)(*address);
        match found.iter().map(SocketAddr::ip).find(is_forbidden) {
            Some(address) => Err(Forbidden::NotPublic(address)),
            None => Ok(()),
        }
    }

    /// `getaddrinfo` cannot be given a deadline, so it is left behind on a thread of its own.
    fn look_up(&self, host: &str, port: u16, left: Duration) -> Result<Vec<SocketAddr>, Error> {
        let (answer, answers) = mpsc::sync_channel(1);
        let (names, host) = (self.resolution.names.clone(), host.to_owned());
        thread::Builder::new().name("lazaretto-dns".into()).spawn(move || {
            let found = names.addresses(&host, port);
            // Nobody waits any more: the deadline has passed.
            let _ = answer.send(found);
        })?;
        match answers.recv_timeout(left) {
            Ok(found) => Ok(found?),
            Err(mpsc::RecvTimeoutError::Timeout) => Err(Error::Timeout(Timeout::Global)),
            Err(mpsc::RecvTimeoutError::Disconnected) => Err(Error::HostNotFound),
        }
    }
}
