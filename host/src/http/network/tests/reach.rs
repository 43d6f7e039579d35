//! A request that may only go to public addresses reaches no other, whatever a name server says.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Mutex;

use super::super::super::lookup::Names;
use super::*;

/// A name server that gives each answer once, in order.
#[derive(Debug)]
struct Script(Mutex<Vec<Vec<SocketAddr>>>);

impl Script {
    fn new(answers: &[&[SocketAddr]]) -> Arc<Self> {
        Arc::new(Self(Mutex::new(answers.iter().rev().map(|answer| answer.to_vec()).collect())))
    }

    fn left(&self) -> usize {
        self.0.lock().expect("not poisoned").len()
    }
}

impl Names for Script {
    fn addresses(&self, _: &str, _: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(self.0.lock().expect("not poisoned").pop().expect("an answer"))
    }
}

fn public(url: &str) -> HttpRequest {
    HttpRequest { reach: Reach::Public, ..post(url, PATIENCE_MS) }
}

fn resolving(origin: &str, names: &Arc<Script>) -> NetworkHttp {
    let mut client = client(&[origin]);
    client.surroundings.proxy = OnceLock::from(None);
    client.resolution.names = names.clone();
    client
}

#[test]
fn a_name_at_an_address_that_is_not_public_is_refused() {
    let peer = Peer::writing("");
    let private = [peer.address, "10.0.0.1:443".parse().expect("an address")];
    let public_one = "8.8.8.8:443".parse().expect("an address");
    let mapped: SocketAddr = "[::ffff:127.0.0.1]:443".parse().expect("an address");
    for addresses in [&private[..1], &private[1..], &[public_one, peer.address], &[mapped]] {
        let names = Script::new(&[addresses]);
        let client = resolving("https://auth.example.com", &names);
        let message = assert_failed(client.send(&public("https://auth.example.com/token")), "not-allowed", Sent::No);
        assert!(message.contains("public address"), "{message}");
        assert_eq!(names.left(), 0);
    }
    assert_eq!(peer.connections(), 0);
}

#[test]
fn an_address_in_the_url_is_judged_like_a_name() {
    let peer = Peer::writing("");
    for origin in [peer.url(""), "https://169.254.169.254".into(), "https://[fd00::1]".into()] {
        let client = client(&[&origin]);
        assert_failed(client.send(&public(&format!("{origin}/token"))), "not-allowed", Sent::No);
    }
    assert_eq!(peer.connections(), 0);
}

#[test]
fn what_was_looked_at_is_what_is_connected_to() {
    let peer = Peer::writing("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}");
    let other = Peer::writing("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}");
    let names = Script::new(&[&[peer.address], &[other.address]]);
    let url = format!("http://localhost:{}/", peer.address.port());
    let mut client = resolving(&url, &names);
    // There is no public address here to connect to, so one of loopback stands for it.
    client.resolution.is_public = |address| address == IpAddr::V4(Ipv4Addr::LOCALHOST);
    assert_eq!(client.send(&public(&url)).expect("an answer").status, 200);
    assert_eq!((peer.connections(), other.connections()), (1, 0));
    assert_eq!(names.left(), 1, "the name was looked up once more");
}

#[test]
fn a_request_to_any_address_is_held_to_none() {
    let peer = Peer::writing("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}");
    let names = Script::new(&[&[peer.address]]);
    let url = format!("http://localhost:{}/", peer.address.port());
    assert_eq!(resolving(&url, &names).send(&post(&url, PATIENCE_MS)).expect("an answer").status, 200);
}

#[test]
fn a_proxy_cannot_promise_a_public_address() {
    let proxy = Peer::writing("");
    let client = client_with_proxy("https://auth.example.com", &proxy.url(""));
    let result = client.send(&public("https://auth.example.com/token"));
    let message = assert_failed(result, "unsupported", Sent::No);
    assert!(message.contains("NO_PROXY"), "{message}");
    assert_eq!(proxy.connections(), 0);
}
