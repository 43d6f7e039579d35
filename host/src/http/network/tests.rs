//! Every kind of peer, on loopback sockets.

mod reach;

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::*;

const PATIENCE_MS: u64 = 10_000;

/// A server that answers its nth connection with `script`, which also gets the request.
struct Peer {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: mpsc::Receiver<String>,
}

impl Peer {
    /// The script may read and write as it likes.
    fn raw(script: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = connections.clone();
        let script = Arc::new(script);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                counted.fetch_add(1, Ordering::SeqCst);
                let script = script.clone();
                thread::spawn(move || script(stream));
            }
        });
        Self { address, connections, requests: mpsc::channel().1 }
    }

    /// The script writes an answer to a request that has been read whole.
    fn answering(script: impl Fn(TcpStream) + Send + Sync + 'static) -> Self {
        let (seen, requests) = mpsc::channel();
        let peer = Self::raw(move |mut stream| {
            let request = read_request(&mut stream);
            seen.send(request).expect("the test still runs");
            script(stream);
        });
        Self { requests, ..peer }
    }

    fn writing(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::answering(move |mut stream| drop(stream.write_all(&answer)))
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn client(&self) -> NetworkHttp {
        client(&[&self.url("")])
    }

    fn post(&self) -> Result<HttpResponse, HttpFailure> {
        self.client().send(&post(&self.url("/token"), PATIENCE_MS))
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

fn client(origins: &[&str]) -> NetworkHttp {
    NetworkHttp::new(AllowList::new(origins, true).expect("origins"))
}

fn client_with_proxy(origin: &str, proxy: &str) -> NetworkHttp {
    let mut client = client(&[origin]);
    client.surroundings.proxy = OnceLock::from(Some(Proxy::new(proxy).expect("a proxy")));
    client.surroundings.tls = OnceLock::from(Ok(TlsConfig::default()));
    client
}

fn post(url: &str, deadline_ms: u64) -> HttpRequest {
    HttpRequest {
        method: "POST".into(),
        url: url.into(),
        headers: vec![
            ("content-type".into(), "application/x-www-form-urlencoded".into()),
            ("x-nous-refresh-token".into(), "s3cret-header".into()),
        ],
        body: "refresh_token=s3cret-body".into(),
        deadline_ms,
        reach: Reach::Any,
    }
}

fn read_request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map_or(0, |length| length.parse().expect("a number"));
            if body.len() >= length {
                return text;
            }
        }
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => return text,
            Ok(read) => bytes.extend_from_slice(&chunk[..read]),
        }
    }
}

fn hold(stream: &TcpStream) {
    thread::sleep(Duration::from_secs(30));
    let _ = stream;
}

fn took<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let done = work();
    (done, start.elapsed())
}

#[track_caller]
fn assert_failed(result: Result<HttpResponse, HttpFailure>, kind: &str, sent: Sent) -> String {
    let failure = result.expect_err("no answer");
    assert_eq!((failure.kind, failure.sent), (kind, sent), "{failure}");
    assert!(!failure.message.contains("s3cret"), "{failure}");
    failure.message
}

#[test]
fn status_headers_and_body_arrive_as_the_server_sent_them() {
    let peer = Peer::writing(
        "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nX-A: 1\r\nX-A: 2\r\nContent-Length: 25\r\n\r\n\
         {\"error\":\"invalid_grant\"}",
    );
    let response = peer.post().expect("an answer");
    assert_eq!(response.status, 400);
    assert_eq!(response.body, "{\"error\":\"invalid_grant\"}");
    assert!(response.body_complete && !response.body_lossy);
    let values: Vec<_> = response.headers.iter().filter(|h| h.0 == "x-a").map(|h| h.1.as_str()).collect();
    assert_eq!(values, ["1", "2"]);
}

#[test]
fn the_request_on_the_wire_is_the_one_asked_for() {
    let peer = Peer::writing("HTTP/1.1 204 No Content\r\n\r\n");
    let response = peer.client().send(&post(&peer.url("/token?a=1"), PATIENCE_MS)).expect("an answer");
    assert_eq!((response.status, response.body.as_str()), (204, ""));
    assert!(response.body_complete);
    let request = peer.requests.recv().expect("a request");
    assert!(request.starts_with("POST /token?a=1 HTTP/1.1\r\n"), "{request}");
    assert!(request.ends_with("\r\n\r\nrefresh_token=s3cret-body"), "{request}");
    for line in [
        format!("host: {}", peer.address).as_str(),
        "accept-encoding: identity",
        "connection: close",
        "content-length: 25",
        "content-type: application/x-www-form-urlencoded",
        "x-nous-refresh-token: s3cret-header",
        concat!("user-agent: lazaretto/", env!("CARGO_PKG_VERSION")),
    ] {
        assert_eq!(request.lines().filter(|sent| *sent == line).count(), 1, "{line} in {request}");
    }
}

/// A get request carries no body and a user agent of the caller wins.
#[test]
fn a_get_has_no_body_and_the_callers_user_agent_wins() {
    let peer = Peer::writing("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}");
    let request = HttpRequest {
        method: "GET".into(),
        headers: vec![("user-agent".into(), "axios/1".into()), ("accept-encoding".into(), "gzip".into())],
        body: String::new(),
        ..post(&peer.url("/.well-known/openid-configuration"), PATIENCE_MS)
    };
    assert_eq!(peer.client().send(&request).expect("an answer").body, "{}");
    let seen = peer.requests.recv().expect("a request");
    assert!(seen.starts_with("GET /.well-known/openid-configuration HTTP/1.1\r\n"), "{seen}");
    assert!(seen.contains("user-agent: axios/1\r\n") && !seen.contains("lazaretto"), "{seen}");
    assert!(seen.contains("accept-encoding: identity\r\n") && !seen.contains("gzip"), "{seen}");
    assert!(!seen.contains("content-length"), "{seen}");
}

#[test]
fn an_empty_post_says_that_its_length_is_zero() {
    let peer = Peer::writing("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}");
    let request = HttpRequest { body: String::new(), ..post(&peer.url("/"), PATIENCE_MS) };
    peer.client().send(&request).expect("an answer");
    let seen = peer.requests.recv().expect("a request");
    assert!(seen.contains("content-length: 0\r\n"), "{seen}");
}

#[test]
fn a_redirect_is_an_answer_and_is_not_followed() {
    let elsewhere = Peer::writing("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}");
    for status in [301, 302, 303, 307, 308] {
        for body in ["", "moved"] {
            let peer = Peer::writing(format!(
                "HTTP/1.1 {status} Moved\r\nlocation: {}\r\ncontent-length: {}\r\n\r\n{body}",
                elsewhere.url("/token"),
                body.len()
            ));
            let both = client(&[&peer.url(""), &elsewhere.url("")]);
            let response = both.send(&post(&peer.url("/token"), PATIENCE_MS)).expect("an answer");
            assert_eq!((response.status, response.body.as_str()), (status, body));
            assert!(response.headers.contains(&("location".into(), elsewhere.url("/token"))));
            assert_eq!(peer.connections(), 1);
        }
    }
    assert_eq!(elsewhere.connections(), 0);
}

#[test]
fn each_request_opens_a_connection_of_its_own() {
    // This server would keep the connection.
    let peer = Peer::answering(|mut stream| {
        loop {
            drop(stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: keep-alive\r\n\r\n{}"));
            if read_request(&mut stream).is_empty() {
                return;
            }
        }
    });
    let client = peer.client();
    for sent in 1..=3 {
        client.send(&post(&peer.url("/token"), PATIENCE_MS)).expect("an answer");
        assert_eq!(peer.connections(), sent);
    }
}

#[test]
fn a_server_error_is_an_answer_and_is_not_tried_again() {
    let peer = Peer::writing("HTTP/1.1 503 Service Unavailable\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n");
    let response = peer.post().expect("an answer");
    assert_eq!(response.status, 503);
    assert!(response.headers.contains(&("retry-after".into(), "7".into())));
    assert_eq!(peer.connections(), 1);
}

#[test]
fn an_interim_answer_is_not_taken_for_the_answer() {
    let peer = Peer::writing("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}");
    let response = peer.post().expect("an answer");
    assert_eq!((response.status, response.body.as_str()), (200, "{}"));
}

#[test]
fn an_endless_body_is_cut_at_the_cap() {
    for head in ["", "content-length: 99999999999\r\n", "transfer-encoding: chunked\r\n"] {
        let peer = Peer::answering(move |mut stream| {
            drop(write!(stream, "HTTP/1.1 200 OK\r\n{head}\r\n"));
            let filler = if head.contains("chunked") {
                format!("1000\r\n{}\r\n", "x".repeat(0x1000))
            } else {
                "x".repeat(0x1000)
            };
            while stream.write_all(filler.as_bytes()).is_ok() {}
        });
        let response = peer.post().expect("an answer");
        assert_eq!((response.status, response.body.len()), (200, CAP_BYTES));
        assert!(!response.body_complete && !response.body_lossy);
    }
}

#[test]
fn a_body_exactly_as_long_as_the_cap_is_complete() {
    for (length, complete) in [(CAP_BYTES, true), (CAP_BYTES + 1, false)] {
        let peer = Peer::writing(format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{}", "x".repeat(length)));
        let response = peer.post().expect("an answer");
        assert_eq!((response.body.len(), response.body_complete), (CAP_BYTES, complete));
    }
}

#[test]
fn a_body_that_drips_is_cut_at_the_deadline() {
    let peer = Peer::answering(|mut stream| {
        drop(write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n"));
        while stream.write_all(b"x").is_ok() {
            thread::sleep(Duration::from_millis(10));
        }
    });
    let (response, time) = took(|| peer.client().send(&post(&peer.url("/token"), 300)));
    let response = response.expect("an answer");
    assert!(!response.body_complete && !response.body.is_empty());
    assert!((250..2000).contains(&time.as_millis()), "{time:?}");
}

#[test]
fn a_head_that_drips_ends_at_the_deadline_in_doubt() {
    let peer = Peer::answering(|mut stream| {
        drop(write!(stream, "HTTP/1.1 200 OK\r\nx: "));
        while stream.write_all(b"x").is_ok() {
            thread::sleep(Duration::from_millis(10));
        }
    });
    let (result, time) = took(|| peer.client().send(&post(&peer.url("/token"), 300)));
    assert_failed(result, "timeout", Sent::Maybe);
    assert!((250..2000).contains(&time.as_millis()), "{time:?}");
}

/// A server that never answers is given up at the deadline in doubt.
#[test]
fn a_silent_server_leaves_doubt_at_the_deadline() {
    let peer = Peer::answering(|stream| hold(&stream));
    let (result, time) = took(|| peer.client().send(&post(&peer.url("/token"), 300)));
    let message = assert_failed(result, "timeout", Sent::Maybe);
    assert!(message.contains("300 ms passed while waiting for the answer"), "{message}");
    assert!((250..2000).contains(&time.as_millis()), "{time:?}");
}

/// A listener that never accepts is given up at the deadline in doubt.
#[test]
fn a_listener_that_never_accepts_leaves_doubt_at_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    let (result, time) = took(|| client(&[&url]).send(&post(&url, 300)));
    assert_failed(result, "timeout", Sent::Maybe);
    assert!((250..2000).contains(&time.as_millis()), "{time:?}");
}

#[test]
fn nothing_of_a_request_leaves_after_it_was_given_up() {
    let (seen, ended) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let may_go_on = std::sync::Mutex::new(may_go_on);
    let peer = Peer::raw(move |mut stream| {
        let _ = may_go_on.lock().expect("one reader").recv();
        let mut sink = vec![0; 1 << 20];
        let mut total = 0;
        let end = loop {
            match stream.read(&mut sink) {
                Ok(0) => break None,
                Ok(read) => total += read,
                Err(error) => break Some(error.kind()),
            }
        };
        seen.send((total, end)).expect("the test still runs");
    });
    // More than the sockets can hold: most of it waits in this process and in its kernel.
    let body = "x".repeat(64 << 20);
    let request = HttpRequest { body, ..post(&peer.url("/token"), 300) };
    let (result, time) = took(|| peer.client().send(&request));
    assert_failed(result, "timeout", Sent::Maybe);
    assert!((250..2000).contains(&time.as_millis()), "{time:?}");

    drop(go_on);
    let (total, end) = ended.recv().expect("the server ends");
    assert_eq!(end, Some(ErrorKind::ConnectionReset), "after {total} bytes");
    assert!(total < request.body.len(), "{total}");
}

#[test]
fn a_deadline_of_zero_sends_nothing() {
    let peer = Peer::writing("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    assert_failed(peer.client().send(&post(&peer.url("/"), 0)), "timeout", Sent::No);
    assert_eq!(peer.connections(), 0);
}

#[test]
fn the_longest_deadline_is_no_overflow() {
    let peer = Peer::writing("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    assert!(peer.client().send(&post(&peer.url("/"), u64::MAX)).is_ok());
}

#[test]
fn a_refused_connection_has_sent_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}/?s3cret", listener.local_addr().expect("an address"));
    drop(listener);
    let message = assert_failed(client(&[&url[..url.len() - 7]]).send(&post(&url, PATIENCE_MS)), "connect", Sent::No);
    assert!(message.contains("refused"), "{message}");
}

#[test]
fn a_name_without_an_address_has_sent_nothing() {
    let url = "https://no-such-host.invalid/";
    assert_failed(client(&[url]).send(&post(url, PATIENCE_MS)), "dns", Sent::No);
}

#[test]
fn localhost_reaches_a_server_on_this_machine() {
    let peer = Peer::writing("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}");
    let url = format!("http://localhost:{}/", peer.address.port());
    assert_eq!(client(&[&url]).send(&post(&url, PATIENCE_MS)).expect("an answer").status, 200);
}

#[test]
fn a_connection_closed_without_an_answer_is_in_doubt() {
    for answer in ["", "HTTP/1.1 200 OK\r\ncontent-le"] {
        let peer = Peer::writing(answer);
        assert_failed(peer.post(), "reset", Sent::Maybe);
        assert_eq!(peer.connections(), 1, "tried again");
    }
}

#[test]
fn a_connection_closed_before_the_request_was_read_is_in_doubt() {
    let peer = Peer::raw(drop);
    assert_failed(peer.post(), "reset", Sent::Maybe);
    assert_eq!(peer.connections(), 1, "tried again");
}

#[test]
fn an_answer_that_is_not_http_is_in_doubt() {
    for answer in [
        "SSH-2.0-OpenSSH_9.6\r\n\r\n".to_owned(),
        "HTTP/1.1 2OO OK\r\n\r\n".to_owned(),
        format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "x".repeat(3 * CAP_BYTES)),
        format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(CAP_BYTES / 2)),
    ] {
        assert_failed(Peer::writing(answer).post(), "protocol", Sent::Maybe);
    }
}

#[test]
fn headers_beyond_the_cap_are_dropped_and_the_body_is_kept() {
    let peer = Peer::writing(format!(
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-a: {0}\r\nx-b: {0}\r\n\r\n{{}}",
        "x".repeat(40_000)
    ));
    let response = peer.post().expect("an answer");
    assert_eq!((response.headers.len(), response.body.as_str()), (2, "{}"));
}

#[test]
fn an_answer_may_have_a_thousand_headers() {
    for headers in [0, 100, 128, 200, 1000] {
        let peer = Peer::writing(format!(
            "HTTP/1.1 200 OK\r\n{}retry-after: 7\r\ncontent-length: 2\r\n\r\n{{}} and what follows",
            "x: y\r\n".repeat(headers)
        ));
        let response = peer.post().expect("an answer");
        assert_eq!((response.body.as_str(), response.body_complete, response.headers.len()), ("{}", true, headers + 2));
        assert!(response.headers.contains(&("retry-after".into(), "7".into())));
    }
}

#[test]
fn half_a_body_is_an_answer_whose_body_is_not_complete() {
    for (head, body) in [
        ("content-length: 100\r\n", "{\"access_tok"),
        ("transfer-encoding: chunked\r\n", "c\r\n{\"access_tok\r\n"),
        ("transfer-encoding: chunked\r\n", "64\r\n{\"access_tok"),
    ] {
        let response = Peer::writing(format!("HTTP/1.1 200 OK\r\n{head}\r\n{body}")).post().expect("an answer");
        assert_eq!((response.status, response.body.as_str()), (200, "{\"access_tok"));
        assert!(!response.body_complete && !response.body_lossy);
    }
}

/// A body that ends with its connection is complete only if that was closed in order.
#[test]
fn a_body_ended_by_close_is_complete_only_after_a_clean_close() {
    for in_order in [true, false] {
        let peer = Peer::answering(move |mut stream| {
            drop(write!(stream, "HTTP/1.1 200 OK\r\n\r\n{{}}"));
            if !in_order {
                // Let it arrive first: a reset discards what is not read yet.
                thread::sleep(Duration::from_millis(200));
                let _ = rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO));
            }
        });
        let response = peer.post().expect("an answer");
        assert_eq!((response.body.as_str(), response.body_complete), ("{}", in_order));
    }
}

#[test]
fn a_body_that_is_not_utf_8_is_replaced_and_marked() {
    let peer = Peer::writing(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\na\xff\xfeb\xe9".to_vec());
    let response = peer.post().expect("an answer");
    assert_eq!(response.body, "a\u{fffd}\u{fffd}b\u{fffd}");
    assert!(response.body_complete && response.body_lossy);
}

#[test]
fn a_body_in_a_content_coding_nobody_asked_for_is_marked() {
    let peer = Peer::writing("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\n{}");
    assert!(peer.post().expect("an answer").body_lossy);
    let peer = Peer::writing("HTTP/1.1 200 OK\r\ncontent-encoding: Identity\r\ncontent-length: 2\r\n\r\n{}");
    assert!(!peer.post().expect("an answer").body_lossy);
}

#[test]
fn a_coding_that_is_taken_off_is_not_named_any_more() {
    use flate2::{Compression, write::GzEncoder};
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(b"{\"access_token\":\"at\"}").expect("written");
    let gzip = gzip.finish().expect("written");
    for named in ["", "content-encoding: gzip\r\n"] {
        let mut answer = format!("HTTP/1.1 200 OK\r\n{named}content-length: {}\r\n\r\n", gzip.len()).into_bytes();
        answer.extend(&gzip);
        let response = Peer::writing(answer).post().expect("an answer");
        assert_eq!(response.body, "{\"access_token\":\"at\"}");
        assert!(response.body_complete && !response.body_lossy);
        assert!(response.headers.iter().all(|(name, _)| name != "content-encoding"), "{named}");
    }
}

#[test]
fn an_origin_that_is_not_listed_is_not_reached() {
    let listed = Peer::writing("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let other = Peer::writing("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let message =
        assert_failed(listed.client().send(&post(&other.url("/?s3cret"), PATIENCE_MS)), "not-allowed", Sent::No);
    assert!(message.contains("--providers"), "{message}");
    assert_eq!(other.connections(), 0);
}

#[test]
fn plain_http_leaves_neither_this_machine_nor_loopback_unasked() {
    let peer = Peer::writing("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let strict = NetworkHttp::new(AllowList::new([peer.url("")], false).expect("an origin"));
    assert_failed(strict.send(&post(&peer.url("/"), PATIENCE_MS)), "not-allowed", Sent::No);
    assert_failed(peer.client().send(&post("http://auth.example.com/", PATIENCE_MS)), "not-allowed", Sent::No);
    assert_eq!(peer.connections(), 0);
}

#[test]
fn a_request_that_is_no_request_is_refused_without_quoting_it() {
    let peer = Peer::writing("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let good = post(&peer.url("/"), PATIENCE_MS);
    let header = |name: &str, value: &str| HttpRequest { headers: vec![(name.into(), value.into())], ..good.clone() };
    for request in [
        HttpRequest { method: "DELETE".into(), ..good.clone() },
        HttpRequest { method: "GET".into(), ..good.clone() },
        HttpRequest { url: peer.url("/#s3cret"), ..good.clone() },
        HttpRequest { url: peer.url("/s3cret<>\"{}|^`"), ..good.clone() },
        HttpRequest { url: format!("http://s3cret@{}/", peer.address), ..good.clone() },
        header("host", "s3cret.example"),
        header("Content-Length", "5"),
        header("transfer-encoding", "chunked"),
        header("s3cret: x\r\nname", "value"),
        header("name", "s3cret\r\nhost: evil"),
        header("name", "s3cret-\u{e9}"),
        header("", "s3cret"),
    ] {
        let result = peer.client().send(&request);
        assert!(result.is_err(), "{request:?} was sent");
        assert_failed(result, "unsupported", Sent::No);
    }
    assert_eq!(peer.connections(), 0);
}

#[test]
fn a_peer_that_speaks_no_tls_has_seen_nothing_of_the_request() {
    let (seen, hello) = mpsc::channel();
    let peer = Peer::raw(move |mut stream| {
        let mut bytes = vec![0; 1 << 16];
        let read = stream.read(&mut bytes).expect("a hello");
        drop(stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n"));
        seen.send(String::from_utf8_lossy(&bytes[..read]).into_owned()).expect("the test still runs");
    });
    let url = format!("https://{}/", peer.address);
    assert_failed(client(&[&url]).send(&post(&url, PATIENCE_MS)), "tls", Sent::No);
    assert!(!hello.recv().expect("a hello").contains("s3cret"));
}

/// A connection closed while tls is agreed on has seen nothing of the request.
#[test]
fn a_close_during_the_tls_handshake_sent_nothing() {
    let peer = Peer::raw(|mut stream| {
        let _ = stream.read(&mut [0; 1 << 16]);
    });
    let url = format!("https://{}/", peer.address);
    assert_failed(client(&[&url]).send(&post(&url, PATIENCE_MS)), "reset", Sent::No);
}

/// A peer silent while tls is agreed on has seen nothing of the request.
#[test]
fn silence_during_the_tls_handshake_sent_nothing() {
    let peer = Peer::raw(|stream| hold(&stream));
    let url = format!("https://{}/", peer.address);
    let (result, time) = took(|| client(&[&url]).send(&post(&url, 300)));
    assert_failed(result, "timeout", Sent::No);
    assert!((250..2000).contains(&time.as_millis()), "{time:?}");
}

#[test]
fn loopback_is_never_proxied() {
    let peer = Peer::writing("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let proxy = Peer::writing("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let client = client_with_proxy(&peer.url(""), &proxy.url(""));
    client.send(&post(&peer.url("/"), PATIENCE_MS)).expect("an answer");
    assert_eq!((peer.connections(), proxy.connections()), (1, 0));
}

/// A proxy that refuses has seen only where the request was to go.
#[test]
fn a_refusing_proxy_has_seen_only_the_destination() {
    let proxy = Peer::writing("HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n");
    let client = client_with_proxy("https://auth.example.com", &format!("http://me:s3cret@{}", proxy.address));
    let result = client.send(&post("https://auth.example.com/token?s3cret", PATIENCE_MS));
    let message = assert_failed(result, "connect", Sent::No);
    assert!(message.contains(&format!("through the proxy {}", proxy.address)), "{message}");
    let seen = proxy.requests.recv().expect("a request");
    assert!(seen.starts_with("CONNECT auth.example.com:443 HTTP/1.1\r\n"), "{seen}");
    assert!(!seen.contains("s3cret"), "{seen}");
}

/// A proxy that is gone or silent or no proxy has sent nothing on.
#[test]
fn a_broken_proxy_has_forwarded_nothing() {
    let gone = TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("an address");
    let silent = Peer::raw(|stream| hold(&stream));
    let closing = Peer::writing("");
    let no_proxy = Peer::writing("SSH-2.0-OpenSSH_9.6\r\n\r\n");
    let no_tunnel = Peer::writing("HTTP/1.1 200 OK\r\n\r\nno TLS here, only text that goes on");
    for (address, kind) in [
        (gone, "connect"),
        (silent.address, "timeout"),
        (closing.address, "connect"),
        (no_proxy.address, "connect"),
        (no_tunnel.address, "tls"),
    ] {
        let client = client_with_proxy("https://auth.example.com", &format!("http://{address}"));
        let result = client.send(&post("https://auth.example.com/token", 500));
        assert_failed(result, kind, Sent::No);
    }
}

#[test]
fn a_socks_proxy_is_refused_rather_than_passed_by() {
    let client = client_with_proxy("https://auth.example.com", "socks5://me:s3cret@127.0.0.1:1080");
    let result = client.send(&post("https://auth.example.com/token", PATIENCE_MS));
    let message = assert_failed(result, "unsupported", Sent::No);
    assert!(message.contains("HTTPS_PROXY"), "{message}");
}

/// A bundle of authorities that cannot be used is an error and not an empty trust.
#[test]
fn an_unusable_authority_bundle_is_an_error() {
    for pem in ["", "hello", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"] {
        assert!(read_roots(pem.as_bytes()).is_err(), "{pem}");
    }
}
