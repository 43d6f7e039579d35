//! A request leaves once, after everything that can fail harmlessly, and nothing of it leaves after the deadline.
//!
//! ureq is given our own resolver, socket and last link of its transport chain. They share an [`Exchange`], which knows how
//! far the request got. Two things need that:
//! - **Sent or not.** The last link sits above TLS and proxy tunnels, so the first bytes handed to it are the request's own.
//! - **Given up for certain.** A socket closed in the usual way goes on retransmitting what it holds, minutes after its
//!   process is gone. Ours is set to reset instead (`SO_LINGER` 0) until a whole answer is in: what has not left by then
//!   never will, even if the process is killed.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_linger;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, RustlsConnector, Transport,
};
use ureq::{Error, Timeout};

/// The longest deadline; longer ones overflow clocks.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// How far a request got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Resolving,
    Connecting,
    /// The proxy and TLS.
    Negotiating,
    /// A byte of the request itself has been handed over.
    Sent,
}

/// One request on its way: its deadline, and what is known of it.
#[derive(Debug)]
pub(super) struct Exchange {
    deadline: Instant,
    uri: Uri,
    phase: AtomicU8,
    /// The connection failed under a reader, which an end without a length does not show.
    broken: AtomicBool,
    socket: Mutex<Option<TcpStream>>,
}

impl Exchange {
    pub(super) fn new(uri: Uri, deadline_ms: u64) -> Arc<Self> {
        let deadline = Instant::now() + Duration::from_millis(deadline_ms).min(LONGEST);
        Arc::new(Self {
            deadline,
            uri,
            phase: AtomicU8::new(Phase::Resolving as u8),
            broken: AtomicBool::new(false),
            socket: Mutex::new(None),
        })
    }

    /// The time that is left, or the error to end with.
    pub(super) fn left(&self) -> Result<Duration, Error> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(Error::Timeout(Timeout::Global)) } else { Ok(left) }
    }

    /// How long to wait on the socket before looking at the clock again. Linux may oversleep a socket's timeout by an eighth
    /// (its timer wheel), so the deadline is approached in shrinking steps instead of missed.
    fn nap(&self) -> Result<Duration, Error> {
        let left = self.left()?;
        Ok((left - left / 8).max(Duration::from_millis(1)))
    }

    pub(super) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::SeqCst) {
            0 => Phase::Resolving,
            1 => Phase::Connecting,
            2 => Phase::Negotiating,
            _ => Phase::Sent,
        }
    }

    fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::SeqCst);
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::SeqCst)
    }

    /// The answer is whole, so the request was: the connection may close in the usual way.
    pub(super) fn answered(&self) {
        let socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(socket) = &*socket {
            // At worst the server sees a reset after its answer.
            let _ = set_socket_linger(socket, None);
        }
    }
}

/// The links between a URI and the transport that carries the request.
pub(super) fn connector(exchange: &Arc<Exchange>, tls: &Arc<RustlsConnector>) -> impl Connector {
    use ureq::unversioned::transport::ConnectProxyConnector;
    ().chain(ConnectProxyConnector::default())
        .chain(Dial(exchange.clone()))
        .chain(SharedTls(tls.clone()))
        .chain(Mark(exchange.clone()))
}

/// Looks names up within the deadline, and holds `localhost` to its word.
#[derive(Debug)]
pub(super) struct Lookup(pub(super) Arc<Exchange>);

/// A name that ought to be this machine is not.
#[derive(Debug)]
pub(super) struct NotLoopback;

impl fmt::Display for NotLoopback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("localhost does not resolve to loopback here")
    }
}

impl std::error::Error for NotLoopback {}

impl Resolver for Lookup {
    fn resolve(&self, uri: &Uri, config: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let exchange = &self.0;
        exchange.enter(Phase::Resolving);
        let host = uri.host().ok_or(Error::HostNotFound)?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let default_port = if uri.scheme_str() == Some("https") { 443 } else { 80 };
        let port = uri.port_u16().unwrap_or(default_port);

        let found = match host.parse::<IpAddr>() {
            Ok(address) => vec![SocketAddr::new(address, port)],
            Err(_) => look_up(host, port, exchange.left()?)?,
        };
        let plain = *uri == exchange.uri && uri.scheme_str() == Some("http");
        if plain && !found.iter().all(|address| address.ip().is_loopback()) {
            return Err(Error::Other(Box::new(NotLoopback)));
        }
        let mut addresses = self.empty();
        for address in config.ip_family().keep_wanted(found.into_iter()).take(16) {
            addresses.push(address);
        }
        if addresses.is_empty() {
            return Err(Error::HostNotFound);
        }
        Ok(addresses)
    }
}

/// `getaddrinfo` cannot be given a deadline, so it is left behind on a thread of its own.
fn look_up(host: &str, port: u16, left: Duration) -> Result<Vec<SocketAddr>, Error> {
    let (answer, answers) = mpsc::sync_channel(1);
    let host = host.to_owned();
    thread::Builder::new().name("lazaret-dns".into()).spawn(move || {
        let found = (host.as_str(), port).to_socket_addrs();
        // Nobody waits any more: the deadline has passed.
        let _ = answer.send(found.map(Vec::from_iter));
    })?;
    match answers.recv_timeout(left) {
        Ok(found) => Ok(found?),
        Err(mpsc::RecvTimeoutError::Timeout) => Err(Error::Timeout(Timeout::Global)),
        Err(mpsc::RecvTimeoutError::Disconnected) => Err(Error::HostNotFound),
    }
}

/// Opens the one connection.
#[derive(Debug)]
struct Dial(Arc<Exchange>);

impl<In: Transport> Connector<In> for Dial {
    type Out = Either<In, Wire>;

    fn connect(&self, details: &ConnectionDetails, chained: Option<In>) -> Result<Option<Self::Out>, Error> {
        if let Some(tunnel) = chained {
            return Ok(Some(Either::A(tunnel)));
        }
        let exchange = &self.0;
        exchange.enter(Phase::Connecting);
        let socket = first_that_connects(&details.addrs, exchange)?;
        set_socket_linger(&socket, Some(Duration::ZERO)).map_err(io::Error::from)?;
        socket.set_nodelay(true)?;
        *exchange.socket.lock().unwrap_or_else(PoisonError::into_inner) = Some(socket.try_clone()?);
        exchange.enter(Phase::Negotiating);
        let config = details.config;
        Ok(Some(Either::B(Wire {
            socket,
            buffers: LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size()),
            exchange: exchange.clone(),
        })))
    }
}

/// Not one byte of the request has left yet, so each address may be tried.
fn first_that_connects(addresses: &[SocketAddr], exchange: &Exchange) -> Result<TcpStream, Error> {
    let mut last = Error::HostNotFound;
    for (tried, address) in addresses.iter().enumerate() {
        let left = exchange.left()?;
        // An address that swallows packets must not eat up the time of those behind it.
        let is_last = tried + 1 == addresses.len();
        let share = if is_last { left } else { left / 2 };
        match TcpStream::connect_timeout(address, share) {
            Ok(socket) => return Ok(socket),
            Err(error) if is_timeout(&error) => last = Error::Timeout(Timeout::Connect),
            Err(error) => last = Error::Io(error),
        }
    }
    Err(last)
}

/// A socket that is never waited for beyond the deadline.
struct Wire {
    socket: TcpStream,
    buffers: LazyBuffers,
    exchange: Arc<Exchange>,
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The buffers hold tokens.
        f.debug_struct("Wire").field("socket", &self.socket).finish_non_exhaustive()
    }
}

impl Transport for Wire {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Result<(), Error> {
        let mut rest = &self.buffers.output()[..amount];
        while !rest.is_empty() {
            self.socket.set_write_timeout(Some(self.exchange.nap()?))?;
            match self.socket.write(rest) {
                Ok(0) => return Err(io::Error::from(ErrorKind::WriteZero).into()),
                Ok(written) => rest = &rest[written..],
                Err(error) => again_or_fail(error)?,
            }
        }
        Ok(())
    }

    fn await_input(&mut self, _: NextTimeout) -> Result<bool, Error> {
        loop {
            self.socket.set_read_timeout(Some(self.exchange.nap()?))?;
            match self.socket.read(self.buffers.input_append_buf()) {
                Ok(read) => {
                    self.buffers.input_appended(read);
                    return Ok(read > 0);
                }
                Err(error) => again_or_fail(error)?,
            }
        }
    }

    fn is_open(&mut self) -> bool {
        false
    }
}

/// A wait that ended early is waited for again: [`Exchange::left`] says when that is enough.
fn again_or_fail(error: io::Error) -> Result<(), Error> {
    if error.kind() == ErrorKind::Interrupted || is_timeout(&error) { Ok(()) } else { Err(error.into()) }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

/// TLS settings that are built at the first https request and kept. No connection is kept with them.
#[derive(Debug)]
struct SharedTls(Arc<RustlsConnector>);

impl<In: Transport> Connector<In> for SharedTls {
    type Out = <RustlsConnector as Connector<In>>::Out;

    fn connect(&self, details: &ConnectionDetails, chained: Option<In>) -> Result<Option<Self::Out>, Error> {
        self.0.connect(details, chained)
    }
}

/// The last link: notes when the request itself begins to leave, and whether its answer broke off.
#[derive(Debug)]
struct Mark(Arc<Exchange>);

impl<In: Transport> Connector<In> for Mark {
    type Out = Marked<In>;

    fn connect(&self, details: &ConnectionDetails, chained: Option<In>) -> Result<Option<Self::Out>, Error> {
        // The chain also runs for the proxy itself, which is told the target's host and port and no more.
        let carries_request = *details.uri == self.0.uri;
        Ok(chained.map(|inner| Marked { inner, exchange: carries_request.then(|| self.0.clone()) }))
    }
}

#[derive(Debug)]
struct Marked<T> {
    inner: T,
    exchange: Option<Arc<Exchange>>,
}

impl<T: Transport> Transport for Marked<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        if let Some(exchange) = &self.exchange
            && amount > 0
        {
            exchange.left()?;
            exchange.enter(Phase::Sent);
        }
        self.inner.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let result = self.inner.await_input(timeout);
        if let (Some(exchange), Err(_)) = (&self.exchange, &result) {
            exchange.broken.store(true, Ordering::SeqCst);
        }
        result
    }

    fn is_open(&mut self) -> bool {
        false
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}
