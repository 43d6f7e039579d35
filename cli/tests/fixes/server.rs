//! An authorization server for any number of providers, one a path. It rotates, ends a grant at reuse, lets everybody log in by device
//! code at once, and keeps books that can be put back.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use serde_json::{Value, json};

pub(crate) struct Server {
    pub(crate) origin: String,
    books: Arc<Mutex<Books>>,
}

/// Everything that a request can change.
#[derive(Clone, Default)]
pub(crate) struct Books {
    grants: Vec<Grant>,
    /// The grant of each token that was ever given out.
    tokens: HashMap<String, usize>,
    /// How often a spent or dead token was sent.
    pub(crate) dead_sent: u32,
    /// Requests that carried anything.
    pub(crate) requests: u32,
}

#[derive(Clone)]
struct Grant {
    provider: String,
    current: String,
    is_ended: bool,
}

impl Books {
    pub(crate) fn log_in(&mut self, provider: &str) -> String {
        let token = format!("rt-{provider}-{}", self.tokens.len());
        self.tokens.insert(token.clone(), self.grants.len());
        self.grants.push(Grant { provider: provider.to_owned(), current: token.clone(), is_ended: false });
        token
    }

    /// As if a refresh had been answered.
    pub(crate) fn rotate(&mut self, token: &str) -> String {
        let grant = self.tokens[token];
        let next = format!("rt-{}-{}", self.grants[grant].provider, self.tokens.len());
        self.tokens.insert(next.clone(), grant);
        self.grants[grant].current.clone_from(&next);
        next
    }

    pub(crate) fn revoke(&mut self, token: &str) {
        let grant = self.tokens[token];
        self.grants[grant].is_ended = true;
    }

    /// Provider and current token of each grant that lives.
    pub(crate) fn live(&self) -> Vec<(String, String)> {
        let live = self.grants.iter().filter(|grant| !grant.is_ended);
        live.map(|grant| (grant.provider.clone(), grant.current.clone())).collect()
    }

    /// Whether the grant of a token that was live lives, and what its token is now.
    pub(crate) fn now(&self, token: &str) -> Option<&str> {
        let grant = &self.grants[*self.tokens.get(token)?];
        (!grant.is_ended).then_some(grant.current.as_str())
    }

    fn refresh(&mut self, token: &str) -> (u16, Value) {
        let refused = || (400, json!({ "error": "invalid_grant" }));
        let Some(grant) = self.tokens.get(token).copied() else { return refused() };
        if self.grants[grant].is_ended || self.grants[grant].current != token {
            self.dead_sent += 1;
            self.grants[grant].is_ended = true;
            return refused();
        }
        let next = self.rotate(token);
        (200, json!({ "access_token": format!("at-of-{next}"), "refresh_token": next, "expires_in": 3600 }))
    }
}

impl Server {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let origin = format!("http://{}", listener.local_addr().expect("an address"));
        let books: Arc<Mutex<Books>> = Arc::default();
        let shared = books.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let books = shared.clone();
                // Who goes away in the middle is answered by nobody.
                thread::spawn(move || serve(stream, &books));
            }
        });
        Self { origin, books }
    }

    pub(crate) fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().expect("no panic")
    }
}

fn serve(mut stream: TcpStream, books: &Mutex<Books>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        if line.trim().is_empty() {
            break;
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let form: HashMap<String, String> = String::from_utf8(body)
        .ok()?
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let path = head.split(' ').nth(1)?.to_owned();
    let (_, rest) = path.split_once('/')?;
    let (provider, what) = rest.split_once('/')?;
    let (status, extra, body) = answer(provider, what, &form, &mut *books.lock().ok()?);
    let head = format!(
        "HTTP/1.1 {status} -\r\ncontent-type: {}\r\n{extra}content-length: {}\r\nconnection: close\r\n\r\n",
        if body.starts_with('<') { "text/html" } else { "application/json" },
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).ok()
}

/// What a provider is called decides how its server behaves.
fn answer(
    provider: &str,
    what: &str,
    form: &HashMap<String, String>,
    books: &mut Books,
) -> (u16, &'static str, String) {
    books.requests += u32::from(!form.is_empty());
    let error = |status: u16, code: &str| (status, "", json!({ "error": code }).to_string());
    if what == "device" {
        let device = json!({ "device_code": "dc", "user_code": "AB-CD", "verification_uri": "https://a.example/go",
            "expires_in": 60, "interval": 1 });
        return (200, "", device.to_string());
    }
    if what != "token" {
        return (404, "", "<html>no such page</html>".to_owned());
    }
    if form.is_empty() {
        return match provider {
            "failing" => (503, "", "<html>busy</html>".to_owned()),
            "clock" => {
                (400, "date: Mon, 20 Jul 2020 10:00:00 GMT\r\n", json!({ "error": "invalid_request" }).to_string())
            }
            _ => error(400, "invalid_request"),
        };
    }
    let grant_type = form.get("grant_type").map_or("", String::as_str);
    if grant_type.ends_with("device_code") {
        let token = books.log_in(provider);
        let tokens = json!({ "access_token": format!("at-of-{token}"), "refresh_token": token, "expires_in": 3600 });
        return (200, "", tokens.to_string());
    }
    match provider {
        "interaction" => error(400, "interaction_required"),
        "client" => error(401, "invalid_client"),
        "cooling" => (429, "retry-after: 900\r\n", json!({ "error": "slow_down" }).to_string()),
        _ => {
            let token = form.get("refresh_token").map_or("", String::as_str);
            let (status, body) = books.refresh(token);
            (status, "", body.to_string())
        }
    }
}
