//! Listens on this machine for the browser that an authorization server sends back (RFC 8252
//! section 7.3). Nothing of what it hears is believed here, and nothing of it is shown: the
//! component checks it.

use std::io::{self, BufRead, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use super::failure::Failure;
use super::page::Page;
use super::unseen;

/// No request of a browser has a longer head, and none takes longer.
const LONGEST_HEAD: usize = 32 * 1024;
const PATIENCE: Duration = Duration::from_secs(10);

/// A port that a browser is sent back to. It is closed with the process.
pub(super) struct Listener {
    /// Where it listens.
    pub(super) redirect_url: String,
    heard: Receiver<Heard>,
    hears: Sender<Heard>,
}

/// What came.
pub(super) enum Heard {
    /// A browser, which waits for a page.
    Browser(Redirected),
    /// An address that a person pasted.
    Pasted(Result<String, Failure>),
}

/// A browser that came back, and waits for a page.
pub(super) struct Redirected {
    /// The whole address that it was sent to. Secret: it holds the code.
    pub(super) url: String,
    stream: TcpStream,
}

impl Listener {
    /// `redirect_url` as the profile has it; port 0 stands for any free one.
    pub(super) fn at(redirect_url: &str) -> Result<Self, Failure> {
        let bad =
            || Failure::configure(format_args!("the redirect URL {redirect_url} is not http://127.0.0.1:<port>/..."));
        let rest = redirect_url.strip_prefix("http://").ok_or_else(bad)?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse::<u16>().map_err(|_| bad())?),
            _ => (authority, 80),
        };
        let (v4, v6) = (Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into());
        // A browser may take `localhost` for either.
        let addresses = match host {
            "localhost" => vec![v4, v6],
            "[::1]" => vec![v6],
            host => vec![host.parse::<Ipv4Addr>().ok().filter(Ipv4Addr::is_loopback).ok_or_else(bad)?.into()],
        };
        let cannot = |error: io::Error| match error.kind() {
            ErrorKind::AddrInUse => Failure::broken(format_args!(
                "port {port} is taken, and the server sends the browser to no other: end the program that listens there"
            )),
            _ => Failure::broken(format_args!("cannot listen for the browser: {error}")),
        };
        let first = TcpListener::bind(SocketAddr::new(addresses[0], port)).map_err(cannot)?;
        let port = first.local_addr().map_err(cannot)?.port();
        // Where there is no IPv6 nobody comes that way.
        let second = addresses.get(1).and_then(|address| TcpListener::bind(SocketAddr::new(*address, port)).ok());
        let origin = format!("http://{host}:{port}");
        let (hears, heard) = mpsc::channel();
        for listener in [Some(first), second].into_iter().flatten() {
            let (hears, origin) = (hears.clone(), origin.clone());
            thread::Builder::new()
                .name("lazaretto-redirect".into())
                .spawn(move || listen(&listener, &origin, &hears))
                .map_err(cannot)?;
        }
        Ok(Self { redirect_url: format!("{origin}{path}"), heard, hears })
    }

    /// From now on also what is pasted is heard: where the browser is on another machine, a person
    /// brings the address that it could not open.
    pub(super) fn hear_pasted(&self) -> Result<(), Failure> {
        let hears = self.hears.clone();
        let started = thread::Builder::new().name("lazaretto-pasted".into()).spawn(move || pasted(&hears));
        started.map(drop).map_err(|error| Failure::broken(format_args!("cannot listen for what is pasted: {error}")))
    }

    /// What comes next; nothing if nothing does within so many milliseconds.
    pub(super) fn next(&self, wait_ms: u64) -> Option<Heard> {
        self.heard.recv_timeout(Duration::from_millis(wait_ms)).ok()
    }
}

fn listen(listener: &TcpListener, origin: &str, hears: &Sender<Heard>) {
    for stream in listener.incoming().flatten() {
        let (origin, hears) = (origin.to_owned(), hears.clone());
        // A browser opens connections ahead of time, and says nothing on them.
        let heard = thread::Builder::new().spawn(move || {
            if let Some(redirected) = hear(stream, &origin) {
                // Nobody may be waiting any more.
                let _ = hears.send(Heard::Browser(redirected));
            }
        });
        drop(heard);
    }
}

fn hear(mut stream: TcpStream, origin: &str) -> Option<Redirected> {
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.set_write_timeout(Some(PATIENCE)).ok()?;
    let mut head = Vec::new();
    let mut part = [0; 4096];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let read = stream.read(&mut part).ok().filter(|read| *read > 0)?;
        head.extend_from_slice(&part[..read]);
        if head.len() > LONGEST_HEAD {
            return None;
        }
    }
    let target = target(&head)?.to_owned();
    let redirected = Redirected { url: format!("{origin}{target}"), stream };
    if target.starts_with("/favicon.ico") {
        redirected.write(404, "");
        return None;
    }
    Some(redirected)
}

/// Sends on each line that is pasted, for as long as there are any. On a terminal it is not shown:
/// an answer holds a code.
fn pasted(hears: &Sender<Heard>) {
    if unseen::is_possible() {
        loop {
            let line = unseen::read(LONGEST_HEAD, |_| true).map(|line| String::from_utf8_lossy(&line).into_owned());
            let is_over = line.as_ref().map_or(true, String::is_empty);
            if is_over || hears.send(Heard::Pasted(line)).is_err() {
                return;
            }
        }
    }
    for line in io::stdin().lock().lines() {
        let Ok(line) = line else { return };
        if !line.trim().is_empty() && hears.send(Heard::Pasted(Ok(line))).is_err() {
            return;
        }
    }
}

/// What a GET asks for.
fn target(head: &[u8]) -> Option<&str> {
    let line = head.split(|byte| *byte == b'\r').next()?;
    let (target, version) = str::from_utf8(line).ok()?.strip_prefix("GET ")?.split_once(' ')?;
    (target.starts_with('/') && version.starts_with("HTTP/1.")).then_some(target)
}

impl Redirected {
    /// Shows a page of our own, and closes.
    pub(super) fn answer(self, page: &Page) {
        self.write(page.status, &page.html());
    }

    fn write(mut self, status: u16, body: &str) {
        let head = format!(
            "HTTP/1.1 {status} -\r\ncontent-type: text/html; charset=utf-8\r\ncontent-length: {}\r\n\
             content-security-policy: default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'\r\n\
             x-content-type-options: nosniff\r\ncache-control: no-store\r\nreferrer-policy: no-referrer\r\n\
             connection: close\r\n\r\n",
            body.len()
        );
        // A browser that has gone misses a sentence.
        let _ = self.stream.write_all(head.as_bytes()).and_then(|()| self.stream.write_all(body.as_bytes()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_get_of_a_path_is_heard() {
        assert_eq!(target(b"GET /cb?code=1 HTTP/1.1\r\nhost: x\r\n\r\n"), Some("/cb?code=1"));
        for bad in
            ["POST / HTTP/1.1\r\n", "GET http://x/ HTTP/1.1\r\n", "GET /\r\n", "GET / SPDY\r\n", "\r\n", "\u{fffd}"]
        {
            assert_eq!(target(bad.as_bytes()), None, "{bad}");
        }
    }

    /// A browser that comes back is heard and gets a page and an idle one stops nobody.
    #[test]
    fn a_returning_browser_gets_a_page_and_an_idle_one_blocks_none() {
        for host in ["127.0.0.1", "localhost"] {
            let listener = Listener::at(&format!("http://{host}:0/callback")).unwrap();
            let port: u16 =
                listener.redirect_url.rsplit(':').next().unwrap().split('/').next().unwrap().parse().unwrap();
            assert_eq!(listener.redirect_url, format!("http://{host}:{port}/callback"));
            let _idle = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
            let mut browser = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
            browser.write_all(b"GET /callback?code=c HTTP/1.1\r\n\r\n").unwrap();
            let Some(Heard::Browser(redirected)) = listener.next(10_000) else { panic!("nobody came") };
            assert_eq!(redirected.url, format!("http://{host}:{port}/callback?code=c"));
            redirected.answer(&Page::done("acme", None));
            let mut page = String::new();
            browser.read_to_string(&mut page).unwrap();
            assert!(page.starts_with("HTTP/1.1 200 ") && page.contains("acme"), "{page}");
            assert!(listener.next(1).is_none());
        }
    }

    /// It listens on this machine only and says when a port is taken.
    #[test]
    fn it_listens_on_loopback_only_and_reports_a_taken_port() {
        for bad in ["https://127.0.0.1/", "http://0.0.0.0:0/", "http://192.0.2.1:0/", "http://127.0.0.1:99999/", "x"] {
            assert!(Listener::at(bad).is_err(), "{bad}");
        }
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let failure = Listener::at(&format!("http://127.0.0.1:{port}/")).err().unwrap();
        assert!(failure.message.contains("is taken"), "{}", failure.message);
    }
}
