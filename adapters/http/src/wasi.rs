//! The only file that knows this is WebAssembly: `http` by way of `wasi:http`.

use std::cell::{Cell, OnceCell};

use lazaretto_wipe::Wiping;
use talc::wasm::{WasmDynamicTalc, new_wasm_dynamic_allocator};

use crate::allow::{AllowList, Refusal};
use crate::headers::fitting;
use crate::message;
use crate::origin::parse_origin;
use crate::{CAP_BYTES, body};

use bindings::exports::lazaretto::keeper::http as wit;
use bindings::lazaretto::keeper::keeper;
use bindings::wasi::cli::environment::get_environment;
use bindings::wasi::clocks::monotonic_clock::{now, subscribe_duration, subscribe_instant};
use bindings::wasi::http::outgoing_handler::handle;
use bindings::wasi::http::types::{
    ErrorCode, Fields, IncomingBody, IncomingResponse, Method, OutgoingBody, OutgoingRequest, RequestOptions, Scheme,
};
use bindings::wasi::io::poll::{Pollable, poll};
use bindings::wasi::io::streams::StreamError;

// The standard library's own allocator is three times its size. What is freed is wiped.
#[global_allocator]
static HEAP: Wiping<WasmDynamicTalc> = Wiping(new_wasm_dynamic_allocator());

#[allow(unsafe_code, missing_docs, unreachable_pub, clippy::all, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({
        path: ["../../wit", "../wit"],
        world: "lazaretto:adapters/http-adapter",
        generate_all,
    });

    export!(Component);
    /// The one type that exports.
    pub struct Component;
}

/// What every body stream takes at once.
const PIECE: usize = 4096;

impl wit::Guest for bindings::Component {
    fn send(request: wit::Request) -> Result<wit::Response, wit::Failure> {
        let deadline = Deadline::new(request.deadline_ms);
        let target = check(&request)?;
        let outgoing = target
            .prepare(&request)
            .ok_or_else(|| not_sent("unsupported", format!("{}: the host takes no such request", target.origin)))?;
        send(&request, &target, outgoing, &deadline)
    }
}

/// Where a request goes, in the parts that `wasi:http` wants.
struct Target {
    /// For messages.
    origin: String,
    scheme: Scheme,
    authority: String,
    path: String,
}

fn check(request: &wit::Request) -> Result<Target, wit::Failure> {
    thread_local! {
        static ALLOWED: OnceCell<Result<AllowList, String>> = const { OnceCell::new() };
    }
    let headers = request.headers.iter().map(|header| (header.name.as_str(), header.value.as_str()));
    message::check(&request.method, &request.body, headers).map_err(|why| not_sent("unsupported", why))?;
    ALLOWED.with(|allowed| {
        let allowed = allowed.get_or_init(allow_list).as_ref().map_err(|why| not_sent("not-allowed", why.clone()))?;
        let target = allowed.target(&request.url).map_err(refused)?;
        // A native host looks at what the name stands for; here nobody can.
        let url = target.url();
        let is_https = url.starts_with("https://");
        let (authority, path) = url
            .split_once("://")
            .and_then(|(_, rest)| rest.find('/').map(|at| rest.split_at(at)))
            .ok_or_else(|| not_sent("unsupported", "the URL has no path".into()))?;
        if !is_https && authority.split(':').next() == Some("localhost") {
            let why =
                "without TLS nobody can tell whether `localhost` is this machine: write 127.0.0.1 or [::1] instead";
            return Err(not_sent("not-allowed", why.into()));
        }
        Ok(Target {
            origin: target.origin.to_string(),
            scheme: if is_https { Scheme::Https } else { Scheme::Http },
            authority: authority.to_owned(),
            path: path.to_owned(),
        })
    })
}

/// Returns what the profiles name, of which the user may have named a part.
fn allow_list() -> Result<AllowList, String> {
    let environment = get_environment();
    let variable = |name: &str| environment.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str());
    let mut origins = keeper::origins().map_err(|error| format!("the allow-list cannot be made: {}", error.message))?;
    if let Some(only) = variable("LAZARETTO_ALLOWED_ORIGINS").filter(|only| !only.trim().is_empty()) {
        let only: Vec<_> = only
            .split(',')
            .map(|entry| parse_origin(entry.trim()).map_err(|why| format!("LAZARETTO_ALLOWED_ORIGINS: {why}")))
            .collect::<Result<_, _>>()?;
        origins.retain(|origin| parse_origin(origin).is_ok_and(|origin| only.contains(&origin)));
    }
    let is_loopback_allowed = variable("LAZARETTO_ALLOW_LOOPBACK_HTTP") == Some("1");
    AllowList::new(origins, is_loopback_allowed).map_err(|error| error.to_string())
}

impl Target {
    fn prepare(&self, request: &wit::Request) -> Option<OutgoingRequest> {
        let fields = Fields::new();
        for header in &request.headers {
            fields.append(&header.name, header.value.as_bytes()).ok()?;
        }
        fields.set("accept-encoding", &[b"identity".to_vec()]).ok()?;
        if !fields.has("user-agent") {
            fields.set("user-agent", &[concat!("lazaretto/", env!("CARGO_PKG_VERSION")).into()]).ok()?;
        }
        // Without it the body would go in chunks, which not every authorization server takes.
        if request.method == "POST" {
            fields.set("content-length", &[request.body.len().to_string().into_bytes()]).ok()?;
        }
        // A host that keeps connections is asked not to. Most do not let a program say so.
        let _ = fields.set("connection", &[b"close".to_vec()]);
        let outgoing = OutgoingRequest::new(fields);
        outgoing.set_method(if request.method == "POST" { &Method::Post } else { &Method::Get }).ok()?;
        outgoing.set_scheme(Some(&self.scheme)).ok()?;
        outgoing.set_authority(Some(&self.authority)).ok()?;
        outgoing.set_path_with_query(Some(&self.path)).ok()?;
        Some(outgoing)
    }
}

fn send(
    request: &wit::Request,
    target: &Target,
    outgoing: OutgoingRequest,
    deadline: &Deadline,
) -> Result<wit::Response, wit::Failure> {
    let origin = &target.origin;
    let failed = |kind: &str, what: &str| maybe_sent(kind, format!("{origin}: {what}"));
    let timeout = || failed("timeout", &format!("{} ms passed", request.deadline_ms));
    let Ok(body) = outgoing.body() else {
        return Err(not_sent("other", format!("{origin}: the host gives no body to write")));
    };
    // A host's own limit on the way there bounds what leaves. Its limits on the way back must not:
    // it would give an answer up that came while it was stopped. There the deadline is ours.
    let options = RequestOptions::new();
    let left_ns = deadline.left_ns();
    let long = Some(left_ns.saturating_add(HOST_ALLOWANCE_NS));
    let _ = (
        options.set_connect_timeout(Some(left_ns)),
        options.set_first_byte_timeout(long),
        options.set_between_bytes_timeout(long),
    );

    // What is refused here was not sent: nobody had a body to send yet.
    let coming = handle(outgoing, Some(options)).map_err(|error| {
        let (kind, _, what) = reading(&error);
        not_sent(kind, format!("{origin}: {what}"))
    })?;
    // Why a body is not taken to its end, the answer says.
    if let Err(Gone::Timeout) = write(body, request.body.as_bytes(), deadline) {
        return Err(timeout());
    }
    if !deadline.wait_for(&coming.subscribe()) {
        // Dropping it is what ends the exchange.
        return Err(timeout());
    }
    match coming.get() {
        Some(Ok(Ok(response))) => Ok(receive(&response, deadline)),
        Some(Ok(Err(error))) => {
            let (kind, sent, what) = reading(&error);
            Err(wit::Failure { kind: kind.into(), sent, message: format!("{origin}: {what}") })
        }
        _ => Err(failed("other", "the host gives no answer")),
    }
}

/// Why a body is not written to its end.
enum Gone {
    Timeout,
    Broken,
}

fn write(body: OutgoingBody, bytes: &[u8], deadline: &Deadline) -> Result<(), Gone> {
    {
        let stream = body.write().map_err(|()| Gone::Broken)?;
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = stream.check_write().map_err(|_| Gone::Broken)?;
            if room == 0 {
                if !deadline.wait_for(&stream.subscribe()) {
                    return Err(Gone::Timeout);
                }
                continue;
            }
            let (piece, more) = rest.split_at(rest.len().min(PIECE).min(usize::try_from(room).unwrap_or(PIECE)));
            stream.write(piece).map_err(|_| Gone::Broken)?;
            rest = more;
        }
        // Finishing sends what is left.
        let _ = stream.flush();
    }
    OutgoingBody::finish(body, None).map_err(|_| Gone::Broken)
}

/// Returns the answer as far as it came. Nothing that happens after the status line makes it a
/// failure.
fn receive(response: &IncomingResponse, deadline: &Deadline) -> wit::Response {
    let headers = response.headers().entries();
    let announced = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let announced = announced.and_then(|(_, length)| std::str::from_utf8(length).ok()?.trim().parse::<usize>().ok());
    let (bytes, has_ended) = match response.consume() {
        Ok(body) => read(&body, deadline),
        Err(()) => (Vec::new(), false),
    };
    // Not every host says that a connection ended too early.
    let is_whole = has_ended && announced.is_none_or(|announced| bytes.len() >= announced);
    let body = body::read(&bytes, is_whole, &headers);
    let headers = fitting(headers, body.is_coded);
    wit::Response {
        status: response.status(),
        headers: headers.into_iter().map(|(name, value)| wit::Header { name, value }).collect(),
        body: body.text,
        body_complete: body.is_complete,
        body_lossy: body.is_lossy,
    }
}

/// Returns at most [`CAP_BYTES`], and whether that is where the body ended.
fn read(body: &IncomingBody, deadline: &Deadline) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    let Ok(stream) = body.stream() else {
        return (bytes, false);
    };
    loop {
        match stream.read(PIECE as u64) {
            Ok(piece) if piece.is_empty() => {
                if !deadline.wait_for(&stream.subscribe()) {
                    return (bytes, false);
                }
            }
            Ok(piece) => bytes.extend_from_slice(&piece),
            Err(StreamError::Closed) => return (bytes, true),
            Err(StreamError::LastOperationFailed(_)) => return (bytes, false),
        }
        if bytes.len() > CAP_BYTES {
            bytes.truncate(CAP_BYTES);
            return (bytes, false);
        }
    }
}

/// What a host may take longer than we do before its own limits count.
const HOST_ALLOWANCE_NS: u64 = 60_000_000_000;
/// The last part of a deadline, in pieces, and its share of a short one.
const PIECES: u32 = 20;
const LAST_PART_NS: u64 = 1_000_000_000;
const LAST_SHARE: u64 = 4;

/// When the exchange is over, whatever came of it.
///
/// Nobody can ask here what the kernel holds already, and a host needs time to read it: the last
/// part of the deadline is waited for in pieces, each by itself. One that was stopped meanwhile
/// (SIGSTOP, a paused container) loses a piece, and not the answer that came.
struct Deadline {
    at_ns: u64,
    over: Pollable,
    piece_ns: u64,
    pieces: Cell<u32>,
}

impl Deadline {
    fn new(deadline_ms: u64) -> Self {
        let whole_ns = deadline_ms.saturating_mul(1_000_000);
        let at_ns = now().saturating_add(whole_ns);
        let last_ns = LAST_PART_NS.min(whole_ns / LAST_SHARE);
        let over = subscribe_instant(at_ns.saturating_sub(last_ns));
        Self { at_ns, over, piece_ns: last_ns / u64::from(PIECES), pieces: Cell::new(PIECES) }
    }

    fn left_ns(&self) -> u64 {
        self.at_ns.saturating_sub(now())
    }

    /// False: the deadline passed first.
    fn wait_for(&self, what: &Pollable) -> bool {
        if poll(&[what, &self.over]).contains(&0) {
            return true;
        }
        while self.pieces.get() > 0 {
            self.pieces.set(self.pieces.get() - 1);
            if poll(&[what, &subscribe_duration(self.piece_ns)]).contains(&0) {
                return true;
            }
        }
        what.ready()
    }
}

/// Returns the failure's kind, whether the server may have seen the request, and what to say. Only
/// what by its definition happens before a connection stands is `no`; `connection-timeout` is not,
/// as there are hosts that say so of any silence.
fn reading(error: &ErrorCode) -> (&'static str, wit::Sent, &'static str) {
    use wit::Sent::{Maybe, No};
    match error {
        ErrorCode::DnsTimeout => ("dns", No, "looking up the name takes too long"),
        ErrorCode::DnsError(_) => ("dns", No, "the name has no address"),
        ErrorCode::DestinationNotFound => ("connect", No, "there is no such host"),
        ErrorCode::DestinationUnavailable => ("connect", No, "the host cannot be reached"),
        ErrorCode::DestinationIpProhibited => ("not-allowed", No, "this program's host forbids the address"),
        ErrorCode::DestinationIpUnroutable => ("connect", No, "there is no way to the address"),
        ErrorCode::ConnectionRefused => ("connect", No, "the connection was refused"),
        ErrorCode::ConnectionLimitReached => ("connect", No, "this program's host has too many connections"),
        ErrorCode::TlsCertificateError => ("tls", No, "the certificate is not one to be trusted"),
        ErrorCode::HttpRequestDenied => ("not-allowed", No, "this program's host forbids the request"),
        ErrorCode::ConnectionTimeout
        | ErrorCode::ConnectionReadTimeout
        | ErrorCode::ConnectionWriteTimeout
        | ErrorCode::HttpResponseTimeout => ("timeout", Maybe, "the server takes too long"),
        ErrorCode::ConnectionTerminated | ErrorCode::HttpResponseIncomplete => {
            ("reset", Maybe, "the connection ended before an answer came")
        }
        ErrorCode::TlsProtocolError | ErrorCode::TlsAlertReceived(_) => ("tls", Maybe, "TLS failed"),
        ErrorCode::HttpProtocolError
        | ErrorCode::HttpResponseHeaderSectionSize(_)
        | ErrorCode::HttpResponseHeaderSize(_)
        | ErrorCode::HttpResponseTransferCoding(_) => ("protocol", Maybe, "the answer is not HTTP as it should be"),
        _ => ("other", Maybe, "this program's host could not complete the exchange"),
    }
}

fn refused(refusal: Refusal) -> wit::Failure {
    let what = match &refusal {
        Refusal::Url(_) => refusal.to_string(),
        Refusal::NotListed { origin, .. } => format!(
            "nothing is sent to {origin}: no profile names it. To allow it, give a profile an endpoint there in the file that \
             LAZARETTO_PROVIDERS names; LAZARETTO_ALLOWED_ORIGINS, if it is set, must name the origin too"
        ),
        Refusal::LoopbackHttp { origin } => format!(
            "nothing is sent to {origin}: http without TLS must be asked for. For a server on this machine set \
             LAZARETTO_ALLOW_LOOPBACK_HTTP=1"
        ),
    };
    not_sent(refusal.kind(), what)
}

fn not_sent(kind: &str, message: String) -> wit::Failure {
    wit::Failure { kind: kind.into(), sent: wit::Sent::No, message }
}

fn maybe_sent(kind: &str, message: String) -> wit::Failure {
    wit::Failure { kind: kind.into(), sent: wit::Sent::Maybe, message }
}
