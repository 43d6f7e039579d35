//! An authorization server that answers what it was told to, as oddly as it was told to, and writes down what it was asked.

use std::collections::VecDeque;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use flate2::Compression;
use flate2::read::{DeflateEncoder, GzEncoder, ZlibEncoder};
use rustix::process::{Pid, Signal, kill_process};
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
    /// Who asks.
    process: Option<u32>,
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

    /// What the next requests of a process are answered.
    pub fn expect(&self, answers: Vec<Answer>, process: Option<u32>) {
        let mut script = self.script.lock().expect("no panic");
        (script.answers, script.process) = (answers.into(), process);
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
fn answer(connection: TcpStream, script: &Mutex<Script>) {
    let _ = connection.set_read_timeout(Some(Duration::from_secs(30)));
    let Some(body) = read(&connection) else { return };
    let (answer, process) = {
        let mut script = script.lock().expect("no panic");
        script.sent.push(refresh_token(&body));
        (script.answers.pop_front(), script.process)
    };
    let unexpected = || json!({ "status": 500, "body": "nobody said what to answer" });
    let (before, answer) = answer.map_or_else(|| (None, unexpected()), |answer| (answer.before, answer.json));
    if let Some(before) = before {
        before();
    }
    if let Some(wait_ms) = answer["wait_ms"].as_u64() {
        thread::sleep(Duration::from_millis(wait_ms));
    }
    if answer["killed"] == true {
        let process = process.and_then(|id| Pid::from_raw(id.try_into().ok()?)).expect("a process to kill");
        return kill_process(process, Signal::KILL).expect("it is there");
    }
    if answer["close"] == true {
        return;
    }
    let bytes = spelled(&answer);
    match answer["stopped_ms"].as_u64() {
        None => drop(write(&connection, &bytes, answer["byte_ms"].as_u64())),
        Some(stopped_ms) => {
            let process = process.and_then(|id| Pid::from_raw(id.try_into().ok()?)).expect("a process to stop");
            stop(process);
            write(&connection, &bytes, None).expect("there is room in the kernels");
            connection.shutdown(Shutdown::Write).expect("it ends");
            wait_until_acknowledged(&connection);
            // Its deadline began before the request came, so it passes before this does.
            thread::sleep(Duration::from_millis(stopped_ms));
            kill_process(process, Signal::CONT).expect("it goes on");
        }
    }
}

/// The answer as it stands on the wire.
fn spelled(answer: &Value) -> Vec<u8> {
    let mut body = match answer["hex"].as_str() {
        Some(hex) => {
            (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).expect("hex")).collect()
        }
        None => answer["body"].as_str().map_or_else(|| answer["body"].to_string(), str::to_owned).into_bytes(),
    };
    body.resize(body.len() + answer["padding"].as_u64().unwrap_or_default() as usize, b' ');
    for coding in answer["coded"].as_array().into_iter().flatten() {
        body = coded(coding.as_str().expect("text"), &body);
    }
    body.truncate(body.len() - answer["without_end"].as_u64().unwrap_or_default() as usize);

    let mut head = String::new();
    for interim in answer["interim"].as_array().into_iter().flatten() {
        head += &format!("HTTP/1.1 {}\r\nlink: </a>\r\n\r\n", interim.as_str().expect("text"));
    }
    head += &format!("HTTP/1.1 {} So\r\nconnection: close\r\n", answer["status"].as_u64().expect("a status"));
    for number in 0..answer["more_headers"].as_u64().unwrap_or_default() {
        head += &format!("x-more-{number}: {number}\r\n");
    }
    let headers = answer["headers"].as_object();
    if !headers.is_some_and(|headers| headers.contains_key("content-type")) {
        head += "content-type: application/json\r\n";
    }
    for (name, value) in headers.into_iter().flatten() {
        head += &format!("{name}: {}\r\n", value.as_str().expect("text"));
    }
    let chunk = answer["chunk"].as_u64().map(|bytes| bytes as usize);
    if chunk.is_some() {
        head += "transfer-encoding: chunked\r\n";
    } else if answer["without_length"] != true {
        // More is announced than will come.
        let missing = if answer["cut"] == true { 100 } else { 0 };
        head += &format!("content-length: {}\r\n", body.len() + missing);
    }
    let kept = answer["cut"].as_u64().map_or(body.len(), |cut| cut as usize);
    let kept = kept - answer["cut_end"].as_u64().unwrap_or_default() as usize;
    let is_cut = kept < body.len();
    body.truncate(kept);
    if let Some(bytes) = chunk {
        body = chunked(&body, bytes, !is_cut);
    }
    body.extend(answer["behind"].as_str().unwrap_or_default().bytes());
    [(head + "\r\n").into_bytes(), body].concat()
}

fn coded(coding: &str, bytes: &[u8]) -> Vec<u8> {
    let (level, mut coded) = (Compression::default(), Vec::new());
    let written = match coding {
        "gzip" => GzEncoder::new(bytes, level).read_to_end(&mut coded),
        "zlib" => ZlibEncoder::new(bytes, level).read_to_end(&mut coded),
        "deflate" => DeflateEncoder::new(bytes, level).read_to_end(&mut coded),
        other => panic!("{other} is no coding"),
    };
    written.expect("in memory");
    coded
}

/// In chunks with extensions, and with a trailer at the end.
fn chunked(body: &[u8], bytes: usize, has_end: bool) -> Vec<u8> {
    let mut all = Vec::new();
    for chunk in body.chunks(bytes) {
        all.extend(format!("{:x};name=\"value\"\r\n", chunk.len()).bytes());
        all.extend(chunk);
        all.extend(b"\r\n");
    }
    if has_end {
        all.extend(b"0\r\nx-trailer: a\r\n\r\n");
    }
    all
}

/// All at once, or a byte at a time.
fn write(mut connection: &TcpStream, bytes: &[u8], byte_ms: Option<u64>) -> io::Result<()> {
    let Some(byte_ms) = byte_ms else { return connection.write_all(bytes) };
    connection.set_nodelay(true)?;
    for byte in bytes {
        connection.write_all(&[*byte])?;
        thread::sleep(Duration::from_millis(byte_ms));
    }
    Ok(())
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

/// The peer's kernel has all that was written.
fn wait_until_acknowledged(connection: &TcpStream) {
    let port = |address: SocketAddr| format!("{:04X}", address.port());
    let (ours, theirs) = (connection.local_addr().expect("bound"), connection.peer_addr().expect("connected"));
    let has_unsent = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        let (local, remote) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let is_ours = local.ends_with(&port(ours)) && remote.ends_with(&port(theirs));
        is_ours && words.nth(1).is_none_or(|queues| !queues.starts_with("00000000:"))
    };
    while fs::read_to_string("/proc/net/tcp").expect("Linux").lines().any(has_unsent) {
        thread::sleep(Duration::from_millis(5));
    }
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
