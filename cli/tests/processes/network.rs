//! Networks with a certificate authority or a proxy of their own: a refresh goes the way that the environment names, and where
//! there is no way the tokens stay.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use crate::home::{Home, Ran};
use rustix::process::{Pid, Signal, kill_process};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::json;

/// The name in its certificate. No name server knows it: who wants there must ask the proxy.
const ENDPOINT: &str = "auth.example.test";

/// A token endpoint whose certificate is signed by `tls/authority.pem`, and how many requests came as far as it.
struct Endpoint {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
}

impl Endpoint {
    fn start() -> Self {
        Self::after(|| {})
    }

    /// Does this before it answers.
    fn after(before: impl Fn() + Send + Sync + 'static) -> Self {
        let certificate = CertificateDer::from_pem_slice(include_bytes!("tls/server.pem")).expect("a certificate");
        let key = PrivateKeyDer::from_pem_slice(include_bytes!("tls/server.key")).expect("a key");
        let config = ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .expect("they belong together");
        let (config, requests) = (Arc::new(config), Arc::new(AtomicUsize::new(0)));
        let counted = requests.clone();
        let address = serve(move |stream| {
            let connection = ServerConnection::new(config.clone()).map_err(io::Error::other)?;
            let mut stream = StreamOwned::new(connection, stream);
            read_request(&mut stream)?;
            counted.fetch_add(1, Ordering::SeqCst);
            before();
            let body = json!({ "access_token": "at-new", "refresh_token": "rt-new", "expires_in": 3600 }).to_string();
            let head =
                format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
            stream.write_all((head + &body).as_bytes())?;
            stream.conn.send_close_notify();
            stream.flush()
        });
        Self { address, requests }
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

/// A proxy that leads everybody to one address, and tells where they wanted to go.
fn proxy_to(address: SocketAddr) -> (String, mpsc::Receiver<String>) {
    proxy_to_and(address, || {})
}

/// The same, and does this once it has handed the answer on.
fn proxy_to_and(address: SocketAddr, then: impl Fn() + Send + Sync + 'static) -> (String, mpsc::Receiver<String>) {
    let (tell, asked) = mpsc::channel();
    let proxy = serve(move |mut client| {
        let request = read_request(&mut client)?;
        let _ = tell.send(request.lines().next().unwrap_or_default().to_owned());
        let mut server = TcpStream::connect(address)?;
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
        let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
        let there = thread::spawn(move || {
            let _ = io::copy(&mut from_client, &mut to_server);
            to_server.shutdown(Shutdown::Write)
        });
        io::copy(&mut server, &mut client)?;
        client.shutdown(Shutdown::Write)?;
        then();
        there.join().expect("no panic")
    });
    (format!("http://{proxy}"), asked)
}

/// Does this with every connection. A client that breaks off is no failure here.
fn serve(each: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    let each = Arc::new(each);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let each = each.clone();
            thread::spawn(move || drop(each(stream)));
        }
    });
    address
}

/// Reads until as much of a body has come as the head says.
fn read_request(stream: &mut impl Read) -> io::Result<String> {
    let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return Ok(text);
            }
        }
        match stream.read(&mut chunk)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => bytes.extend_from_slice(&chunk[..read]),
        }
    }
}

/// With an expired login at an endpoint on that host.
fn home_at(host: &str) -> Home {
    let home = Home::new();
    home.profiles(
        &json!({ "acme": { "token_endpoint": format!("https://{host}/token"), "client_id": "acme-client" } }),
    );
    home.write(home.vault_with("rt-old"));
    home
}

/// `lazaretto token acme`, in an environment that says this of the network and nothing else.
fn token(home: &Home, environment: &[(&str, &str)]) -> Ran {
    Ran::of(token_command(home, environment).output().expect("it runs"))
}

fn token_command(home: &Home, environment: &[(&str, &str)]) -> Command {
    let mut command = home.command(&["token", "acme"]);
    for name in ["ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"] {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    command.env_remove("SSL_CERT_FILE").envs(environment.iter().copied());
    command
}

/// Every thread of it stands still.
fn stop(process: Pid) {
    kill_process(process, Signal::STOP).expect("it stops");
    let stands = |task: &fs::DirEntry| {
        let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_none_or(|(_, state)| state.starts_with('T'))
    };
    let tasks = format!("/proc/{}/task", process.as_raw_nonzero());
    while !fs::read_dir(&tasks).expect("it is there").flatten().all(|task| stands(&task)) {
        thread::sleep(Duration::from_millis(5));
    }
}

fn authority() -> &'static str {
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/processes/tls/authority.pem")
}

/// A refresh goes through the proxy and trusts the authority that the environment names.
#[test]
fn a_refresh_uses_the_environments_proxy_and_authority() {
    let (home, endpoint) = (home_at(ENDPOINT), Endpoint::start());
    let (proxy, asked) = proxy_to(endpoint.address);
    let ran = token(&home, &[("SSL_CERT_FILE", authority()), ("HTTPS_PROXY", &proxy)]);
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (Some(0), "at-new\n", ""));
    assert_eq!(asked.recv().expect("the proxy was asked"), format!("CONNECT {ENDPOINT}:443 HTTP/1.1"));
    assert_eq!((endpoint.requests(), home.refresh_token().as_str()), (1, "rt-new"));
}

#[test]
fn a_host_that_no_proxy_names_is_reached_without_the_proxy() {
    let (home, endpoint) = (home_at(ENDPOINT), Endpoint::start());
    let (proxy, asked) = proxy_to(endpoint.address);
    let ran = token(&home, &[("HTTPS_PROXY", &proxy), ("NO_PROXY", ENDPOINT)]);
    // There is no such host to reach directly.
    assert_eq!((ran.code, endpoint.requests()), (Some(4), 0), "{ran:?}");
    assert!(asked.try_recv().is_err(), "the proxy was asked");
}

/// A certificate of an unknown authority or for another name costs no token and asks for no login.
#[test]
fn a_bad_certificate_costs_no_token_and_asks_for_no_login() {
    for (host, environment, reason) in [
        (ENDPOINT, None, "SSL_CERT_FILE"),
        ("another.example.test", Some(("SSL_CERT_FILE", authority())), "another.example.test"),
    ] {
        let (home, endpoint) = (home_at(host), Endpoint::start());
        let (proxy, _asked) = proxy_to(endpoint.address);
        let before = home.text();
        let environment: Vec<_> = environment.into_iter().chain([("HTTPS_PROXY", proxy.as_str())]).collect();
        let ran = token(&home, &environment);
        assert_eq!(ran.code, Some(4), "{host}: {ran:?}");
        assert!(ran.err.contains(reason), "{host}: {ran:?}");
        assert_eq!((home.text(), endpoint.requests()), (before, 0), "{host}: nothing was told to a stranger");
    }
}

/// A proxy that wants a password costs no token and asks for no login.
#[test]
fn a_proxy_password_prompt_costs_no_token_and_asks_no_login() {
    let home = home_at(ENDPOINT);
    let before = home.text();
    let proxy = serve(|mut client| {
        read_request(&mut client)?;
        client.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n")
    });
    let ran = token(&home, &[("SSL_CERT_FILE", authority()), ("HTTPS_PROXY", &format!("http://{proxy}"))]);
    assert_eq!(ran.code, Some(4), "{ran:?}");
    assert!(ran.err.contains(&format!("through the proxy {proxy}")), "{ran:?}");
    assert_eq!(home.text(), before);
    // And nothing but time, or an operator, has to come between it and the next try.
    assert_eq!(home.run(&["reset", "acme"]).code, Some(0));
    let endpoint = Endpoint::start();
    let (proxy, _asked) = proxy_to(endpoint.address);
    assert_eq!(token(&home, &[("SSL_CERT_FILE", authority()), ("HTTPS_PROXY", &proxy)]).code, Some(0));
}

/// Ctrl-Z and `fg`, a paused container, a debugger: the answer lies in the kernel, in TLS's own records.
#[test]
fn a_tls_answer_received_while_stopped_is_stored() {
    const DEADLINE_MS: u64 = 3_000;
    let home = home_at(ENDPOINT);
    let endpoint = format!("https://{ENDPOINT}/token");
    home.profiles(
        &json!({ "acme": { "token_endpoint": endpoint, "client_id": "acme-client", "deadline_ms": DEADLINE_MS } }),
    );
    let process = Arc::new(OnceLock::new());
    let (stopped, resumed) = (process.clone(), process.clone());
    let endpoint = Endpoint::after(move || stop(*stopped.wait()));
    let (proxy, _asked) = proxy_to_and(endpoint.address, move || {
        // Its deadline began before the request came.
        thread::sleep(Duration::from_millis(DEADLINE_MS + 200));
        kill_process(*resumed.wait(), Signal::CONT).expect("it goes on");
    });
    let mut command = token_command(&home, &[("SSL_CERT_FILE", authority()), ("HTTPS_PROXY", &proxy)]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    process.set(Pid::from_child(&child)).expect("the first");
    let ran = Ran::of(child.wait_with_output().expect("it ends"));
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (Some(0), "at-new\n", ""));
    assert_eq!((endpoint.requests(), home.refresh_token().as_str()), (1, "rt-new"));
}
