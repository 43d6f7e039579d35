//! The network: what is sent, what the environment adds, and what every failure is called.

use std::fs;
use std::io::{self, ErrorKind, Read};
use std::sync::{Arc, OnceLock};

use ureq::http::{HeaderName, HeaderValue, Method, Request, Response, header};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::unversioned::transport::RustlsConnector;
use ureq::{Agent, Body, Error, Proxy};

use super::allow::{AllowList, Refusal};
use super::body;
use super::headers::{fitting, is_reserved};
use super::lookup::{Forbidden, Lookup, Resolution};
use super::origin::Origin;
use super::wire::{self, Exchange, Phase};
use super::{CAP_BYTES, Http, HttpFailure, HttpRequest, HttpResponse, Reach, Sent};

/// HTTP/1.1 over TCP and TLS, to the origins of an [`AllowList`].
///
/// Nothing is read or built before the first request; settings are then kept, connections never.
///
/// | variable | what it does |
/// |---|---|
/// | `ALL_PROXY`, `HTTPS_PROXY`, `HTTP_PROXY`, or in lower case: the first that holds a proxy | https requests go through it, by `CONNECT`. A SOCKS proxy fails the request rather than being passed by |
/// | `NO_PROXY` | hosts that are reached directly: `host`, `.domain`, `*.domain` or `*`, separated by commas without spaces |
/// | `SSL_CERT_FILE` | a PEM bundle of the certificate authorities to trust *instead of* Mozilla's, which are built in; what OpenSSL, curl, Go and Python make of it |
///
/// Loopback is never proxied. A request with [`Reach::Public`] fails as `unsupported` where it
/// would go through a proxy: the proxy looks the name up, so which address it connects to cannot be
/// seen.
///
/// No message and no `Debug` of ours shows a token. ureq and ureq-proto write the bytes of a
/// message into the `log` crate at level *trace*: a program that collects that level leaves these
/// two out.
#[derive(Debug)]
pub struct NetworkHttp {
    allow: AllowList,
    surroundings: Surroundings,
    resolution: Resolution,
}

impl NetworkHttp {
    /// Sends to the origins of `allow`, for good.
    #[must_use]
    pub fn new(allow: AllowList) -> Self {
        Self { allow, surroundings: Surroundings::default(), resolution: Resolution::default() }
    }
}

impl Http for NetworkHttp {
    fn send(&self, request: &HttpRequest) -> Result<HttpResponse, HttpFailure> {
        let target = self.allow.target(&request.url).map_err(refused)?;
        let prepared = prepare(request, target.url())?;
        let proxy = self.surroundings.proxy(&target.origin, &prepared)?;
        if let (Reach::Public, Some(proxy)) = (request.reach, &proxy) {
            return Err(cannot_pin(&target.origin, proxy));
        }
        let exchange = Exchange::new(prepared.uri().clone(), request.deadline_ms);
        let report = |error| failure(error, &exchange, &target.origin, proxy.as_ref(), request);

        exchange.left().map_err(report)?;

        // No timeout of ureq's own: at one, it would give up an answer that has come already.
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(proxy.clone())
            .user_agent(concat!("lazaretto/", env!("CARGO_PKG_VERSION")))
            .max_response_header_size(2 * CAP_BYTES)
            .input_buffer_size(4 * CAP_BYTES)
            .output_buffer_size(CAP_BYTES / 4);
        if target.origin.tls {
            config = config.tls_config(self.surroundings.tls()?);
        }
        let agent = Agent::with_parts(
            config.build(),
            wire::connector(&exchange, &self.surroundings.connector),
            Lookup { exchange: exchange.clone(), resolution: self.resolution.clone(), reach: request.reach },
        );
        let answer = match *prepared.method() {
            Method::POST => agent.run(prepared.map(|()| request.body.as_str())),
            _ => agent.run(prepared),
        };
        match answer {
            Ok(response) => Ok(receive(response, &exchange)),
            Err(error) => Err(report(error)),
        }
    }
}

/// What the environment says of the network, read when it is first needed.
#[derive(Debug, Default)]
struct Surroundings {
    proxy: OnceLock<Option<Proxy>>,
    tls: OnceLock<Result<TlsConfig, String>>,
    connector: Arc<RustlsConnector>,
}

impl Surroundings {
    /// The proxy on the way to `origin`, if there is one.
    fn proxy<T>(&self, origin: &Origin, request: &Request<T>) -> Result<Option<Proxy>, HttpFailure> {
        if origin.is_loopback() {
            return Ok(None);
        }
        let proxy = self.proxy.get_or_init(Proxy::try_from_env);
        let Some(proxy) = proxy.as_ref().filter(|proxy| !proxy.is_no_proxy(request.uri())) else {
            return Ok(None);
        };
        match proxy.protocol() {
            ureq::ProxyProtocol::Http | ureq::ProxyProtocol::Https => Ok(Some(proxy.clone())),
            // ureq would warn in its log and connect directly.
            socks => Err(not_sent(
                "unsupported",
                format!(
                    "{origin}: the environment asks for the {socks} proxy {}:{}, and only http and https proxies work here. \
                     Set HTTPS_PROXY and unset ALL_PROXY, or add the host to NO_PROXY",
                    proxy.host(),
                    proxy.port()
                ),
            )),
        }
    }

    fn tls(&self) -> Result<TlsConfig, HttpFailure> {
        let settings = self.tls.get_or_init(|| {
            let bundle = std::env::var_os("SSL_CERT_FILE").filter(|path| !path.is_empty());
            let roots = match bundle {
                None => RootCerts::WebPki,
                Some(path) => fs::read(&path)
                    .map_err(|error| error.to_string())
                    .and_then(|pem| read_roots(&pem))
                    .map_err(|error| {
                        format!(
                            "SSL_CERT_FILE names {}, which cannot be used: {error}. Correct it, or unset it to trust Mozilla's \
                             certificate authorities",
                            path.display()
                        )
                    })?,
            };
            Ok(TlsConfig::builder().root_certs(roots).build())
        });
        settings.clone().map_err(|message| not_sent("tls", message))
    }
}

fn read_roots(pem: &[u8]) -> Result<RootCerts, String> {
    let mut certificates = Vec::new();
    for item in parse_pem(pem) {
        match item {
            Ok(PemItem::Certificate(certificate)) => certificates.push(certificate),
            Ok(_) => {}
            Err(_) => return Err("it is not well-formed PEM".into()),
        }
    }
    if certificates.is_empty() {
        return Err("it holds no PEM certificate".into());
    }
    Ok(RootCerts::new_with_certs(&certificates))
}

/// The request as it will stand on the wire.
fn prepare(request: &HttpRequest, url: String) -> Result<Request<()>, HttpFailure> {
    let unsupported = |message: String| not_sent("unsupported", message);
    let method = match request.method.as_str() {
        "POST" => Method::POST,
        "GET" if request.body.is_empty() => Method::GET,
        "GET" => return Err(unsupported("a GET request has no body; use POST".into())),
        _ => return Err(unsupported("the method is neither POST nor GET".into())),
    };
    let mut prepared = Request::builder()
        .method(method)
        .uri(url)
        .body(())
        .map_err(|_| unsupported("the URL holds a character that must be percent-encoded".into()))?;
    let headers = prepared.headers_mut();
    for (index, (name, value)) in request.headers.iter().enumerate() {
        let name = HeaderName::try_from(name)
            .map_err(|_| unsupported(format!("the name of header {} is not one", index + 1)))?;
        if is_reserved(name.as_str()) {
            return Err(unsupported(format!("the header {name} is the host's to set; leave it out")));
        }
        let mut value = HeaderValue::from_str(value).ok().filter(|_| value.is_ascii()).ok_or_else(|| {
            unsupported(format!("the value of the header {name} holds a control character or one outside ASCII"))
        })?;
        value.set_sensitive(true);
        headers.append(name, value);
    }
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    Ok(prepared)
}

/// The answer as far as it came. Nothing that happens after the status line makes it a failure.
fn receive(response: Response<Body>, exchange: &Exchange) -> HttpResponse {
    let (head, body) = response.into_parts();
    let headers = exchange.take_headers();
    let (bytes, ended) = read_up_to_cap(body.into_reader());
    let whole = ended && !exchange.is_broken();
    if whole {
        exchange.answered();
    }
    let body = body::read(&bytes, whole, &headers);
    HttpResponse {
        status: head.status.as_u16(),
        headers: fitting(headers, body.is_coded),
        body: body.text,
        body_complete: body.is_complete,
        body_lossy: body.is_lossy,
    }
}

/// At most [`CAP_BYTES`], and whether that is where the body ended.
fn read_up_to_cap(mut body: impl Read) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    // On the heap, which the allocator wipes: a stack keeps the new tokens until something else is
    // written over them.
    let mut chunk = vec![0; 8 * 1024];
    loop {
        match body.read(&mut chunk) {
            Ok(0) => return (bytes, true),
            Ok(read) => bytes.extend_from_slice(&chunk[..read]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return (bytes, false),
        }
        if bytes.len() > CAP_BYTES {
            bytes.truncate(CAP_BYTES);
            return (bytes, false);
        }
    }
}

fn refused(refusal: Refusal) -> HttpFailure {
    not_sent(refusal.kind(), refusal.to_string())
}

/// Behind a proxy the proxy looks the name up, and nobody here sees which address it takes.
fn cannot_pin(origin: &Origin, proxy: &Proxy) -> HttpFailure {
    not_sent(
        "unsupported",
        format!(
            "{origin}: this request may only go to a public address, and which one the proxy {}:{} connects to cannot be seen \
             from here. Add the host to NO_PROXY to have it reached directly",
            proxy.host(),
            proxy.port()
        ),
    )
}

fn not_sent(kind: &'static str, message: String) -> HttpFailure {
    HttpFailure { kind, sent: Sent::No, message }
}

/// Names a failure by what went wrong and how far the request had got. Never quotes ureq where that
/// could quote the request.
fn failure(
    error: Error,
    exchange: &Exchange,
    origin: &Origin,
    proxy: Option<&Proxy>,
    request: &HttpRequest,
) -> HttpFailure {
    let phase = exchange.phase();
    let (kind, what) = match error {
        Error::Timeout(_) => ("timeout", timed_out(phase, request.deadline_ms)),
        Error::Other(cause) if cause.is::<Forbidden>() => ("not-allowed", cause.to_string()),
        Error::HostNotFound => ("dns", "the name has no address".into()),
        Error::Io(error) => match io_kind(&error, phase, origin) {
            "reset" => ("reset", broken_off(phase).into()),
            "tls" => ("tls", with_advice(error.to_string())),
            kind => (kind, error.to_string()),
        },
        Error::Tls(error) => ("tls", error.into()),
        Error::Rustls(error) => ("tls", error.to_string()),
        Error::ConnectProxyFailed(_) => ("connect", "the proxy refused to connect".into()),
        Error::Protocol(_) | Error::LargeResponseHeader(..) if phase == Phase::Sent => {
            ("protocol", "the answer is not HTTP/1.1 as it should be".into())
        }
        Error::Protocol(_) => ("connect", "the proxy's answer is not HTTP".into()),
        _ => ("other", "the HTTP client failed".into()),
    };
    let via = proxy.map_or_else(String::new, |proxy| format!(" through the proxy {}:{}", proxy.host(), proxy.port()));
    HttpFailure {
        kind,
        sent: if phase == Phase::Sent { Sent::Maybe } else { Sent::No },
        message: format!("{origin}{via}: {what}"),
    }
}

fn io_kind(error: &io::Error, phase: Phase, origin: &Origin) -> &'static str {
    match (phase, error.kind()) {
        (Phase::Resolving, _) => "dns",
        (Phase::Connecting, _) => "connect",
        (
            _,
            ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::BrokenPipe
            | ErrorKind::NotConnected
            | ErrorKind::UnexpectedEof
            | ErrorKind::WriteZero,
        ) => "reset",
        // How rustls reports what it cannot accept.
        (_, ErrorKind::InvalidData) if origin.tls => "tls",
        _ => "other",
    }
}

fn broken_off(phase: Phase) -> &'static str {
    if phase == Phase::Sent {
        "the connection ended before an answer came"
    } else {
        "the connection ended before anything was sent, while TLS was agreed on"
    }
}

fn with_advice(error: String) -> String {
    if error.contains("UnknownIssuer") {
        error + ". If your network has a certificate authority of its own, name its PEM bundle in SSL_CERT_FILE"
    } else {
        error
    }
}

fn timed_out(phase: Phase, deadline_ms: u64) -> String {
    let doing = match phase {
        Phase::Resolving => "looking up the name",
        Phase::Connecting => "connecting",
        Phase::Negotiating => "negotiating with the proxy or about TLS",
        Phase::Sent => "waiting for the answer",
    };
    format!("{deadline_ms} ms passed while {doing}")
}

#[cfg(test)]
mod tests;
