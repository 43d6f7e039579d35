//! HTTP/1.1 on loopback, one thread and one request per connection; dropping it ends them all.

use std::collections::HashMap;
use std::io::{self, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::json;

use super::grants::Refused;
use super::message::{Answer, Request, fingerprint, http_date};
use super::{Books, Fault, Processed, Received, State};

pub(super) const TOKEN_PATH: &str = "/oauth/token";

/// How long a client may take to send or to receive something.
const PATIENCE: Duration = Duration::from_secs(10);

/// The listening thread and its connections.
pub(super) struct Listening {
    address: SocketAddr,
    open: Arc<Open>,
    accepting: Option<JoinHandle<()>>,
}

/// The connections that are open, so that they can be closed from outside.
#[derive(Default)]
struct Open {
    connections: Mutex<Connections>,
    /// It stops, or lets go of what it held.
    changed: Condvar,
}

#[derive(Default)]
struct Connections {
    stopping: bool,
    let_go: bool,
    opened: u64,
    sockets: HashMap<u64, TcpStream>,
}

impl Listening {
    pub(super) fn start(state: Arc<State>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let open = Arc::new(Open::default());
        let accepting = thread::Builder::new().name("token-server".into()).spawn({
            let open = open.clone();
            move || accept(&listener, &state, &open)
        })?;
        Ok(Self { address, open, accepting: Some(accepting) })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn let_go(&self) {
        self.open.lock().let_go = true;
        self.open.changed.notify_all();
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        {
            let mut connections = self.open.lock();
            connections.stopping = true;
            for socket in connections.sockets.values() {
                let _ = socket.shutdown(Shutdown::Both);
            }
            self.open.changed.notify_all();
        }
        // Wakes the thread that waits for the next connection.
        let _ = TcpStream::connect_timeout(&self.address, PATIENCE);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

impl Open {
    fn lock(&self) -> MutexGuard<'_, Connections> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None`: no more connections are taken.
    fn enter(&self, socket: &TcpStream) -> Option<io::Result<u64>> {
        let mut connections = self.lock();
        if connections.stopping {
            return None;
        }
        connections.opened += 1;
        let id = connections.opened;
        Some(socket.try_clone().map(|clone| {
            connections.sockets.insert(id, clone);
            id
        }))
    }

    fn leave(&self, id: u64) {
        self.lock().sockets.remove(&id);
    }

    fn is_stopping(&self) -> bool {
        self.lock().stopping
    }

    /// Until what is held is let go of, or until the server stops.
    fn hold(&self) {
        let mut connections = self.lock();
        while !connections.stopping && !connections.let_go {
            connections = self.changed.wait(connections).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Until then, or until the server stops.
    fn sleep(&self, time: Duration) {
        let start = Instant::now();
        let mut connections = self.lock();
        while !connections.stopping {
            let left = time.saturating_sub(start.elapsed());
            if left.is_zero() {
                return;
            }
            connections = match self.changed.wait_timeout(connections, left) {
                Ok((connections, _)) => connections,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }
}

fn accept(listener: &TcpListener, state: &Arc<State>, open: &Arc<Open>) {
    let mut workers: Vec<JoinHandle<()>> = Vec::new();
    for socket in listener.incoming() {
        let Ok(socket) = socket else {
            if open.is_stopping() {
                break;
            }
            // Out of file descriptors, most likely; some will be closed.
            thread::sleep(Duration::from_millis(1));
            continue;
        };
        let id = match open.enter(&socket) {
            None => break,
            Some(Err(_)) => continue,
            Some(Ok(id)) => id,
        };
        workers.retain(|worker| !worker.is_finished());
        let worker = thread::Builder::new().name("token-request".into()).spawn({
            let (state, open) = (state.clone(), open.clone());
            move || {
                // The client is gone: nobody is left to tell.
                let _ = serve(socket, &state, &open);
                open.leave(id);
            }
        });
        match worker {
            Ok(worker) => workers.push(worker),
            Err(_) => open.leave(id),
        }
    }
    for worker in workers {
        let _ = worker.join();
    }
}

/// One request, one answer, or whatever is to go wrong with it.
fn serve(mut socket: TcpStream, state: &State, open: &Open) -> io::Result<()> {
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    socket.set_nodelay(true)?;
    let Some(request) = Request::read(&mut socket)? else {
        return Ok(());
    };
    let (fault, answer) = decide(&request, &mut state.books());
    state.written.notify_all();
    let Some(answer) = answer else {
        return Ok(());
    };
    match fault {
        Fault::HalfBody => {
            let (head, body) = answer.bytes();
            socket.write_all(&head)?;
            socket.write_all(&body[..body.len() / 2])
        }
        Fault::EndlessBody => {
            let (head, body) = Answer { length: false, ..answer }.bytes();
            socket.write_all(&head)?;
            socket.write_all(&body)?;
            while !open.is_stopping() {
                socket.write_all(&[b'x'; 4096])?;
            }
            Ok(())
        }
        Fault::Slow { ms } => {
            open.sleep(Duration::from_millis(ms));
            answer.write(&mut socket)
        }
        Fault::Held => {
            open.hold();
            answer.write(&mut socket)
        }
        Fault::HeldThenLost => {
            open.hold();
            Ok(())
        }
        _ => answer.write(&mut socket),
    }
}

/// Everything that changes the books, under their one lock. No answer: the connection closes.
fn decide(request: &Request, books: &mut Books) -> (Fault, Option<Answer>) {
    let fault = books.faults.pop_front().unwrap_or(Fault::None);
    books.received.push(Received { fault: fault.clone(), ..request.received() });
    let json = "application/json";
    let answer = match &fault {
        Fault::None | Fault::HalfBody | Fault::Slow { .. } | Fault::Held | Fault::HeldThenLost => {
            Some(process(request, books))
        }
        Fault::DropAfterProcessing => {
            let _ = process(request, books);
            None
        }
        Fault::DropBeforeProcessing => None,
        Fault::Status { code, content_type, body, headers } => {
            Some(Answer { headers: headers.clone(), ..Answer::new(*code, content_type, body.as_bytes()) })
        }
        Fault::Redirect { to } => {
            Some(Answer { headers: vec![("location".into(), to.clone())], ..Answer::new(307, "text/html", b"") })
        }
        Fault::EndlessBody => Some(Answer::new(200, json, b"{\"access_token\":\"")),
        Fault::NotUtf8 => Some(Answer::new(200, json, b"{\"access_token\":\"\xff\xfe\",\"token_type\":\"\xe9\"}")),
    };
    let date = http_date(books.grants.unix_time_s());
    (fault, answer.map(|answer| Answer { date, ..answer }))
}

/// What a healthy server answers.
fn process(request: &Request, books: &mut Books) -> Answer {
    let error = |status, code: &str, description: &str| {
        Answer::json(status, &json!({"error": code, "error_description": description}))
    };
    if request.path() != TOKEN_PATH {
        return error(404, "not_found", "There is only /oauth/token here.");
    }
    if request.method != "POST" {
        return error(405, "invalid_request", "The token endpoint takes POST.");
    }
    let Some(parameters) = request.parameters() else {
        return error(400, "invalid_request", "The body is neither a form nor a JSON object.");
    };
    match parameters.get("grant_type").map(String::as_str) {
        Some("refresh_token") => {}
        Some(_) => {
            return error(400, "unsupported_grant_type", "Only refresh_token is known here.");
        }
        None => return error(400, "invalid_request", "grant_type is missing."),
    }
    let Some(refresh_token) = request.refresh_token() else {
        return error(400, "invalid_request", "refresh_token is missing.");
    };
    let client_id = parameters.get("client_id").map(String::as_str);
    let replays = books.grants.replays();
    let decided = books.grants.refresh(client_id, &refresh_token, Instant::now());
    if let Some(received) = books.received.last_mut() {
        received.replay = books.grants.replays() > replays;
        received.processed = match &decided {
            Ok(issued) => {
                let named = issued.refresh_token.as_ref().filter(|token| **token != refresh_token);
                Processed::Refreshed { successor: named.map(|token| fingerprint(token)) }
            }
            Err(_) => Processed::Refused,
        };
    }
    match decided {
        Ok(issued) => {
            let mut answer = json!({
                "access_token": issued.access_token,
                "token_type": "Bearer",
                "expires_in": issued.expires_in_s,
                "scope": issued.scope,
            });
            if let Some(refresh_token) = issued.refresh_token {
                answer["refresh_token"] = refresh_token.into();
            }
            Answer::json(200, &answer)
        }
        Err(refused) => {
            let (code, description) = refused.describe();
            let status = if refused == Refused::UnknownClient { 401 } else { 400 };
            error(status, code, description)
        }
    }
}
