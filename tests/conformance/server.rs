//! An authorization server that answers what it was told to, and writes down what it was asked.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

/// What a request is answered.
pub struct Answer {
    /// Happens before it is.
    pub before: Option<Box<dyn FnOnce() + Send>>,
    pub json: Value,
}

#[derive(Default)]
struct Script {
    answers: VecDeque<Answer>,
    /// The refresh tokens that were sent, in order.
    sent: Vec<String>,
}

pub struct Server {
    address: SocketAddr,
    script: Arc<Mutex<Script>>,
    ends: Arc<AtomicBool>,
}

impl Server {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let server =
            Self { address: listener.local_addr().expect("its address"), script: Arc::default(), ends: Arc::default() };
        let (script, ends) = (server.script.clone(), server.ends.clone());
        thread::spawn(move || {
            for connection in listener.incoming() {
                if ends.load(Ordering::SeqCst) {
                    break;
                }
                let (Ok(connection), script) = (connection, script.clone()) else { continue };
                thread::spawn(move || answer(connection, &script));
            }
        });
        server
    }

    pub fn token_endpoint(&self) -> String {
        format!("http://{}/token", self.address)
    }

    /// What the next requests are answered.
    pub fn expect(&self, answers: Vec<Answer>) {
        self.script.lock().expect("no panic").answers = answers.into();
    }

    /// The refresh tokens that came since this was asked last.
    pub fn sent(&self) -> Vec<String> {
        std::mem::take(&mut self.script.lock().expect("no panic").sent)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
    }
}

/// One request and its answer. No answer in the script: 500, and the request is written down all the same.
fn answer(mut connection: TcpStream, script: &Mutex<Script>) {
    let _ = connection.set_read_timeout(Some(Duration::from_secs(30)));
    let Some(body) = read(&connection) else { return };
    let answer = {
        let mut script = script.lock().expect("no panic");
        script.sent.push(refresh_token(&body));
        script.answers.pop_front()
    };
    let unexpected = || json!({ "status": 500, "body": "nobody said what to answer" });
    let (before, answer) = answer.map_or_else(|| (None, unexpected()), |answer| (answer.before, answer.json));
    if let Some(before) = before {
        before();
    }
    if let Some(wait_ms) = answer["wait_ms"].as_u64() {
        thread::sleep(Duration::from_millis(wait_ms));
    }
    if answer["close"] == true {
        return;
    }
    let status = answer["status"].as_u64().expect("a status");
    let body = answer["body"].as_str().map_or_else(|| answer["body"].to_string(), str::to_owned);
    // More is announced than will come.
    let missing = if answer["cut"] == true { 100 } else { 0 };
    let length = body.len() + missing;
    let mut head = format!("HTTP/1.1 {status} So\r\ncontent-length: {length}\r\nconnection: close\r\n");
    let headers = answer["headers"].as_object();
    if !headers.is_some_and(|headers| headers.contains_key("content-type")) {
        head += "content-type: application/json\r\n";
    }
    for (name, value) in headers.into_iter().flatten() {
        head += &format!("{name}: {}\r\n", value.as_str().expect("text"));
    }
    let _ = connection.write_all((head + "\r\n" + &body).as_bytes());
    let _ = connection.flush();
}

fn read(connection: &TcpStream) -> Option<String> {
    let mut reader = BufReader::new(connection);
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    String::from_utf8(body).ok()
}

/// Of a form, or of JSON.
fn refresh_token(body: &str) -> String {
    if let Ok(json) = serde_json::from_str::<Value>(body) {
        return json["refresh_token"].as_str().unwrap_or_default().to_owned();
    }
    let value = body.split('&').find_map(|pair| pair.strip_prefix("refresh_token="));
    value.unwrap_or_default().to_owned()
}
