//! A request leaves once, after everything that can fail harmlessly, and nothing of it leaves after
//! the deadline. What has arrived by then is read to its end: the deadline bounds what leaves.
//!
//! ureq is given our own resolver, socket and last link of its transport chain. They share an
//! [`Exchange`], which knows how far the request got. Two things need that:
//! - **Sent or not.** The last link sits above TLS and proxy tunnels, so the first bytes handed to
//!   it are the request's own.
//! - **Given up for certain.** A socket closed in the usual way goes on retransmitting what it
//!   holds, minutes after its process is gone. Ours is set to reset instead (`SO_LINGER` 0) until a
//!   whole answer is in: what has not left by then never will, even if the process is killed.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_linger;
use rustix::net::{RecvFlags, recv};
use ureq::http::Uri;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, RustlsConnector, Transport,
};
use ureq::{Error, Timeout};

use super::CAP_BYTES;
use super::head::{Head, TooLong};

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
    /// The headers of the answer, once they are all there.
    headers: Mutex<Vec<(String, Vec<u8>)>>,
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
            headers: Mutex::new(Vec::new()),
        })
    }

    /// The time that is left, or the error to end with.
    pub(super) fn left(&self) -> Result<Duration, Error> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(Error::Timeout(Timeout::Global)) } else { Ok(left) }
    }

    /// How long to wait on the socket before looking at the clock again; none: the deadline has
    /// passed. Linux may oversleep a socket's timeout by an eighth (its timer wheel), so the
    /// deadline is approached in shrinking steps instead of missed.
    fn nap(&self) -> Option<Duration> {
        let left = self.left().ok()?;
        Some((left - left / 8).max(Duration::from_millis(1)))
    }

    pub(super) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::SeqCst) {
            0 => Phase::Resolving,
            1 => Phase::Connecting,
            2 => Phase::Negotiating,
            _ => Phase::Sent,
        }
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::SeqCst);
    }

    /// Returns whether a URI is the request's own, and not that of a proxy on the way.
    pub(super) fn is_for(&self, uri: &Uri) -> bool {
        *uri == self.uri
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::SeqCst)
    }

    /// The headers of the answer, whose head is in.
    pub(super) fn take_headers(&self) -> Vec<(String, Vec<u8>)> {
        std::mem::take(&mut *self.headers.lock().unwrap_or_else(PoisonError::into_inner))
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
            late_bytes: 0,
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

/// What is read after the deadline, at most: no peer that goes on sending keeps us beyond it.
const MOST_LATE_BYTES: usize = 4 * CAP_BYTES;

/// A socket that is never waited for beyond the deadline.
struct Wire {
    socket: TcpStream,
    buffers: LazyBuffers,
    exchange: Arc<Exchange>,
    late_bytes: usize,
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
            let Some(nap) = self.exchange.nap() else {
                // Nothing leaves any more. An answer may be there all the same: TLS has things of
                // its own to say.
                return if self.exchange.phase() == Phase::Sent {
                    Ok(())
                } else {
                    Err(Error::Timeout(Timeout::Global))
                };
            };
            self.socket.set_write_timeout(Some(nap))?;
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
            // At the deadline, and after it, what the kernel holds already is read to its end: a
            // process that was stopped in between (SIGSTOP, a paused container, a debugger) must
            // not throw an answer away that has come in time.
            let nap = self.exchange.nap();
            let read = match nap {
                Some(nap) => {
                    self.socket.set_read_timeout(Some(nap))?;
                    self.socket.read(self.buffers.input_append_buf())
                }
                None if self.late_bytes > MOST_LATE_BYTES => return Err(Error::Timeout(Timeout::Global)),
                None => recv(&self.socket, self.buffers.input_append_buf(), RecvFlags::DONTWAIT)
                    .map(|(read, _)| read)
                    .map_err(io::Error::from),
            };
            match read {
                Ok(read) => {
                    self.buffers.input_appended(read);
                    self.late_bytes += if nap.is_none() { read } else { 0 };
                    return Ok(read > 0);
                }
                Err(error) if nap.is_none() && is_timeout(&error) => return Err(Error::Timeout(Timeout::Global)),
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

/// TLS settings that are built at the first https request and kept. No connection is kept with
/// them.
#[derive(Debug)]
struct SharedTls(Arc<RustlsConnector>);

impl<In: Transport> Connector<In> for SharedTls {
    type Out = <RustlsConnector as Connector<In>>::Out;

    fn connect(&self, details: &ConnectionDetails, chained: Option<In>) -> Result<Option<Self::Out>, Error> {
        self.0.connect(details, chained)
    }
}

/// The last link: notes when the request itself begins to leave, whether its answer broke off, and
/// what headers that has.
#[derive(Debug)]
struct Mark(Arc<Exchange>);

impl<In: Transport> Connector<In> for Mark {
    type Out = Either<In, Marked<In>>;

    fn connect(&self, details: &ConnectionDetails, chained: Option<In>) -> Result<Option<Self::Out>, Error> {
        let Some(inner) = chained else { return Ok(None) };
        // The chain also runs for the proxy itself, which is told the target's host and port and no
        // more.
        if !self.0.is_for(details.uri) {
            return Ok(Some(Either::A(inner)));
        }
        let config = details.config;
        Ok(Some(Either::B(Marked {
            inner,
            exchange: self.0.clone(),
            head: Head::default(),
            ready: Vec::new(),
            buffers: LazyBuffers::new(config.input_buffer_size(), config.output_buffer_size()),
        })))
    }
}

struct Marked<T> {
    inner: T,
    exchange: Arc<Exchange>,
    head: Head,
    /// What the client is still to see.
    ready: Vec<u8>,
    buffers: LazyBuffers,
}

impl<T: fmt::Debug> fmt::Debug for Marked<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The buffers hold tokens.
        f.debug_struct("Marked").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl<T: Transport> Marked<T> {
    /// Reads on until there is something to show. False: the connection has ended.
    fn read(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        while self.ready.is_empty() {
            if !self.inner.await_input(timeout)? {
                return Ok(false);
            }
            let input = self.inner.buffers().input();
            let read = input.len();
            let shown = self.head.take(input).map_err(|TooLong| Error::LargeResponseHeader(read, 2 * CAP_BYTES))?;
            self.inner.buffers().input_consume(read);
            self.ready = shown;
            if let Some(headers) = self.head.take_fields() {
                let mut kept = self.exchange.headers.lock().unwrap_or_else(PoisonError::into_inner);
                // Of the body's part there are none.
                if kept.is_empty() {
                    *kept = headers;
                }
            }
        }
        Ok(true)
    }
}

impl<T: Transport> Transport for Marked<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let mut rest = &self.buffers.output()[..amount];
        if !rest.is_empty() && self.exchange.phase() != Phase::Sent {
            self.exchange.left()?;
            self.exchange.enter(Phase::Sent);
        }
        while !rest.is_empty() {
            let output = self.inner.buffers().output();
            let (piece, more) = rest.split_at(rest.len().min(output.len()));
            output[..piece.len()].copy_from_slice(piece);
            self.inner.transmit_output(piece.len(), timeout)?;
            rest = more;
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let result = self.read(timeout);
        if result.is_err() {
            self.exchange.broken.store(true, Ordering::SeqCst);
        }
        let has_more = result?;
        let room = self.buffers.input_append_buf();
        let shown = self.ready.len().min(room.len());
        room[..shown].copy_from_slice(&self.ready[..shown]);
        self.buffers.input_appended(shown);
        self.ready.drain(..shown);
        Ok(has_more && shown > 0)
    }

    fn is_open(&mut self) -> bool {
        false
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    const NO_TIMEOUT: fn() -> NextTimeout = NextTimeout::default;

    /// Both ends of a connection, of which the deadline of ours has passed.
    fn late() -> (Wire, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let socket = TcpStream::connect(listener.local_addr().expect("its address")).expect("connected");
        let exchange = Exchange::new(Uri::from_static("http://127.0.0.1/"), 0);
        let buffers = LazyBuffers::new(4 * CAP_BYTES, CAP_BYTES);
        (Wire { socket, buffers, exchange, late_bytes: 0 }, listener.accept().expect("a peer").0)
    }

    #[test]
    fn what_has_arrived_by_the_deadline_is_read_to_its_end() {
        let (mut wire, mut peer) = late();
        for part in [b"one", b"two"] {
            peer.write_all(part).expect("written");
            wire.socket.peek(&mut [0]).expect("it has come");
            assert!(wire.await_input(NO_TIMEOUT()).expect("read"));
        }
        assert_eq!(wire.buffers.input(), b"onetwo");
        assert!(matches!(wire.await_input(NO_TIMEOUT()), Err(Error::Timeout(_))));
        drop(peer);
        wire.socket.peek(&mut [0]).expect("the end has come");
        assert!(!wire.await_input(NO_TIMEOUT()).expect("the end"));
    }

    #[test]
    fn nothing_leaves_after_the_deadline() {
        let (mut wire, mut peer) = late();
        wire.buffers.output()[..3].copy_from_slice(b"one");
        assert!(matches!(wire.transmit_output(3, NO_TIMEOUT()), Err(Error::Timeout(_))));
        wire.exchange.enter(Phase::Sent);
        assert!(wire.transmit_output(3, NO_TIMEOUT()).is_ok());
        drop(wire);
        assert_eq!(peer.read(&mut [0; 3]).expect("the end"), 0);
    }

    #[test]
    fn a_peer_that_goes_on_sending_keeps_nobody_beyond_the_deadline() {
        let (mut wire, mut peer) = late();
        let filler = thread::spawn(move || while peer.write_all(&[b'x'; 4096]).is_ok() {});
        wire.socket.peek(&mut [0]).expect("it has come");
        let read = (0..=MOST_LATE_BYTES).take_while(|_| {
            let more = matches!(wire.await_input(NO_TIMEOUT()), Ok(true));
            let came = wire.buffers.input().len();
            wire.buffers.input_consume(came);
            more
        });
        assert!(read.count() <= MOST_LATE_BYTES);
        drop(wire);
        filler.join().expect("it ends");
    }
}
