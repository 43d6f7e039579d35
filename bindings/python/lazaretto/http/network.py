"""The network: what is sent, what the environment adds, and what every failure is called."""

from __future__ import annotations

import os
import queue
import re
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING, Any, Dict, List, NoReturn, Optional, Tuple

from .._version import __version__
from ._public_address import is_public
from .allow import AllowList, Origin, is_loopback
from .body import codings_of, fitting, read_body
from .contract import CAP_BYTES, FailureKind, HttpFailure, HttpRequest, HttpResponse, Reach, Sent
from .wire import Wire

if TYPE_CHECKING:
    import http.client
    import ssl

# Headers that say how a message is carried. They are the host's.
_RESERVED = frozenset(
    ["connection", "content-length", "cookie", "expect", "host", "keep-alive", "te", "trailer", "transfer-encoding"]
    + ["upgrade", "proxy-authorization"]
)
_LONGEST_S = 24 * 60 * 60.0

_DOING = {
    "resolving": "looking up the name",
    "connecting": "connecting",
    "negotiating": "negotiating with the proxy or about TLS",
    "sent": "waiting for the answer",
}


class NetworkHttp:
    """HTTP/1.1 over TCP and TLS, to the origins of an :class:`AllowList`.

    ================================  ======================================================================================
    variable                          what it does
    ================================  ======================================================================================
    ``HTTPS_PROXY``, ``ALL_PROXY``    https requests go through it, by ``CONNECT``. Any but an http
    proxy fails the request rather than being passed by ``NO_PROXY``                      hosts that
    are reached directly, as ``urllib`` reads it ``SSL_CERT_FILE``                 a PEM bundle of
    the certificate authorities to trust *instead of* the system's
    ================================  ======================================================================================

    Each counts in lower case too. Loopback is never proxied.
    """

    def __init__(self, allow: AllowList) -> None:
        self._allow = allow
        self._tls: Optional[ssl.SSLContext] = None

    def send(self, request: HttpRequest) -> HttpResponse:
        origin, path = self._allow.target(request.url)
        headers = _prepare(request)
        proxy = _proxy(origin)
        if proxy is not None and request.reach is Reach.PUBLIC:
            raise HttpFailure(
                FailureKind.UNSUPPORTED,
                Sent.NO,
                f"{origin}: behind a proxy nobody here can tell whether the address is public. Add the host to NO_PROXY",
            )
        tls = self._context() if origin.tls else None
        return Exchange(origin, path, request, headers, proxy, tls).run()

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            import ssl

            bundle = os.environ.get("SSL_CERT_FILE") or None
            try:
                self._tls = ssl.create_default_context(cafile=bundle)
            except (OSError, ValueError) as error:
                raise HttpFailure(
                    FailureKind.TLS,
                    Sent.NO,
                    f"SSL_CERT_FILE names {bundle}, which cannot be used: {error}. Correct it, or unset it to trust the "
                    "system's certificate authorities",
                ) from None
        return self._tls


def _prepare(request: HttpRequest) -> List[Tuple[str, str]]:
    """Returns the headers as they will stand on the wire, besides the host's own."""
    if request.method not in ("POST", "GET"):
        raise HttpFailure(FailureKind.UNSUPPORTED, Sent.NO, "the method is neither POST nor GET")
    if request.method == "GET" and request.body:
        raise HttpFailure(FailureKind.UNSUPPORTED, Sent.NO, "a GET request has no body; use POST")
    prepared = []
    for at, (name, value) in enumerate(request.headers):
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
            raise HttpFailure(FailureKind.UNSUPPORTED, Sent.NO, f"the name of header {at + 1} is not one")
        if name.lower() in _RESERVED:
            raise HttpFailure(FailureKind.UNSUPPORTED, Sent.NO, f"the header {name} is the host's to set; leave it out")
        if not re.fullmatch(r"[\t -~]*", value):
            raise HttpFailure(
                FailureKind.UNSUPPORTED,
                Sent.NO,
                f"the value of the header {name} holds a control character or one outside ASCII",
            )
        if name.lower() != "accept-encoding":
            prepared.append((name, value))
    given = {name.lower() for name, _ in prepared}
    defaults = [("user-agent", f"lazaretto/{__version__}"), ("accept", "*/*")]
    prepared += [header for header in defaults if header[0] not in given]
    return [*prepared, ("accept-encoding", "identity"), ("connection", "close")]


def _proxy(origin: Origin) -> Optional[Tuple[str, int, Optional[str]]]:
    """Returns the proxy on the way to ``origin``: its host, port and the authorization it asks
    for."""
    if origin.is_loopback:
        return None
    import urllib.request
    from urllib.parse import unquote, urlsplit

    proxies: Dict[str, str] = urllib.request.getproxies()
    url = proxies.get("https") or proxies.get("all")
    if not url or urllib.request.proxy_bypass(origin.host):
        return None
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        host, port = parts.hostname, parts.port
    except ValueError:
        raise HttpFailure(FailureKind.UNSUPPORTED, Sent.NO, "the environment names a proxy that is not a URL") from None
    if parts.scheme != "http" or not host:
        raise HttpFailure(
            FailureKind.UNSUPPORTED,
            Sent.NO,
            f"{origin}: the environment asks for the {parts.scheme or 'nameless'} proxy {host}:{port}, and only http proxies "
            "work here. Set HTTPS_PROXY to one, or add the host to NO_PROXY",
        )
    authorization = None
    if parts.username is not None:
        import base64

        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = "Basic " + base64.b64encode(pair.encode()).decode()
    return host, port or 80, authorization


class Exchange:
    """One request on its way: its deadline, and how far it got."""

    def __init__(
        self,
        origin: Origin,
        path: str,
        request: HttpRequest,
        headers: List[Tuple[str, str]],
        proxy: Optional[Tuple[str, int, Optional[str]]],
        tls: Optional[ssl.SSLContext],
    ) -> None:
        self._deadline = time.monotonic() + min(request.deadline_ms / 1000, _LONGEST_S)
        self._origin = origin
        self._path = path
        self._request = request
        self._headers = headers
        self._proxy = proxy
        self._tls = tls
        self._phase = "resolving"
        self._socket: Optional[socket.socket] = None

    def left(self) -> float:
        """Returns the time that is left; raises ``TimeoutError`` when there is none."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise socket.timeout
        return left

    def begin_to_send(self) -> None:
        """From here on the server may have seen something."""
        self.left()
        self._phase = "sent"

    def run(self) -> HttpResponse:
        import http.client

        try:
            self._connect()
            return self._exchange()
        except HttpFailure:
            raise
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._fail(error)
        finally:
            if self._socket is not None:
                self._socket.close()

    def _connect(self) -> None:
        host, port = (self._origin.host, self._origin.port) if self._proxy is None else self._proxy[:2]
        addresses = self._look_up(host, port)
        self._phase = "connecting"
        self._socket = self._first_that_connects(addresses)
        # Given up for certain: a socket closed in the usual way goes on retransmitting what it
        # holds, minutes after its process is gone. This one resets instead, until a whole answer is
        # in.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _linger(True))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._phase = "negotiating"
        if self._proxy is not None:
            self._tunnel(self._proxy[2])
        if self._tls is not None:
            self._socket.settimeout(self.left())
            self._socket = self._tls.wrap_socket(
                self._socket, server_hostname=self._origin.host, do_handshake_on_connect=False
            )
            self._socket.settimeout(self.left())  # of the whole handshake
            self._socket.do_handshake()

    def _look_up(self, host: str, port: int) -> List[Tuple[Any, ...]]:
        # getaddrinfo cannot be given a deadline, so it is left behind on a thread of its own.
        answers: queue.SimpleQueue[Any] = queue.SimpleQueue()

        def look_up() -> None:
            try:
                answers.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
            except (OSError, UnicodeError) as error:
                answers.put(error)

        if _is_address(host):
            look_up()
        else:
            threading.Thread(target=look_up, name="lazaretto-dns", daemon=True).start()
        try:
            found = answers.get(timeout=self.left())
        except queue.Empty:
            raise socket.timeout from None
        if isinstance(found, UnicodeError):
            raise OSError("the name cannot be looked up")
        if isinstance(found, OSError):
            raise found
        if not self._origin.tls and not all(_is_loopback(address[4][0]) for address in found):
            raise HttpFailure(FailureKind.NOT_ALLOWED, Sent.NO, f"{self._origin}: localhost does not resolve to loopback here")
        if self._request.reach is Reach.PUBLIC and not all(is_public(address[4][0]) for address in found):
            # The address is not told: a server that is probed would learn of this network.
            raise HttpFailure(
                FailureKind.NOT_ALLOWED, Sent.NO, f"{self._origin}: its address is not a public one"
            )
        return list(found)[:16]

    def _first_that_connects(self, addresses: List[Tuple[Any, ...]]) -> socket.socket:
        # Not one byte of the request has left yet, so each address may be tried.
        last: OSError = OSError("the name has no address")
        for at, (family, kind, protocol, _, address) in enumerate(addresses):
            left = self.left()
            # An address that swallows packets must not eat up the time of those behind it.
            share = left if at + 1 == len(addresses) else left / 2
            dialled = socket.socket(family, kind, protocol)
            try:
                dialled.settimeout(share)
                dialled.connect(address)
                return dialled
            except OSError as error:
                dialled.close()
                last = error
        raise last

    def _tunnel(self, authorization: Optional[str]) -> None:
        """Asks the proxy for a way through, byte by byte so that nothing behind its answer is
        read."""
        assert self._socket is not None
        host = f"[{self._origin.host}]" if ":" in self._origin.host else self._origin.host
        ask = f"CONNECT {host}:{self._origin.port} HTTP/1.1\r\nhost: {host}:{self._origin.port}\r\n"
        if authorization is not None:
            ask += f"proxy-authorization: {authorization}\r\n"
        self._socket.settimeout(self.left())
        self._socket.sendall((ask + "\r\n").encode())
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            self._socket.settimeout(self.left())
            byte = self._socket.recv(1)
            if not byte or len(answer) > CAP_BYTES:
                raise HttpFailure(FailureKind.CONNECT, Sent.NO, f"{self._origin}{self._via()}: the proxy's answer is not HTTP")
            answer += byte
        if not re.match(rb"HTTP/1\.[01] 2[0-9][0-9]\b", answer):
            raise HttpFailure(FailureKind.CONNECT, Sent.NO, f"{self._origin}{self._via()}: the proxy refused to connect")

    def _exchange(self) -> HttpResponse:
        import http.client

        assert self._socket is not None
        wire = Wire(self._socket, self)
        connection = http.client.HTTPConnection(self._origin.host, self._origin.port)
        connection.sock = wire  # type: ignore[assignment]
        connection.auto_open = 0
        connection.putrequest(self._request.method, self._path, skip_host=True, skip_accept_encoding=True)
        connection.putheader("host", self._origin.host_header)
        for name, value in self._headers:
            connection.putheader(name, value)
        body = self._request.body.encode()
        if self._request.method == "POST":
            connection.putheader("content-length", str(len(body)))
        connection.endheaders(body or None)
        wire.transmit()
        answer = connection.getresponse()
        return self._receive(answer, wire.reader.headers)

    def _receive(self, answer: http.client.HTTPResponse, headers: List[Tuple[str, str]]) -> HttpResponse:
        """Returns the answer as far as it came. Nothing that happens after the status line makes it
        a failure."""
        content, whole = _read_up_to_cap(answer)
        if whole and self._socket is not None:
            # The answer is whole, so the request was: the connection may close in the usual way.
            try:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _linger(False))
            except OSError:
                pass
        body = read_body(content, whole, codings_of(headers))
        return HttpResponse(answer.status, fitting(headers, body.is_coded), body.text, body.is_complete, body.is_lossy)

    def _fail(self, error: Exception) -> NoReturn:
        """Names a failure by what went wrong and how far the request had got. Never quotes what
        could quote the request."""
        import http.client
        import ssl

        phase = self._phase
        is_sent = phase == "sent"
        if isinstance(error, socket.timeout):
            kind, what = FailureKind.TIMEOUT, f"{self._request.deadline_ms} ms passed while {_DOING[phase]}"
        elif isinstance(error, ssl.SSLCertVerificationError):
            kind = FailureKind.TLS
            what = (
                f"the certificate is not good: {error.verify_message}. If your network has a certificate authority of its own, "
                "name its PEM bundle in SSL_CERT_FILE"
            )
        elif phase == "resolving":
            kind, what = FailureKind.DNS, getattr(error, "strerror", None) or "the name cannot be looked up"
        elif phase == "connecting":
            kind, what = FailureKind.CONNECT, getattr(error, "strerror", None) or "no connection"
        elif isinstance(error, (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError, http.client.RemoteDisconnected)):
            ended = "before an answer came" if is_sent else "before anything was sent, while TLS was agreed on"
            kind, what = FailureKind.RESET, f"the connection ended {ended}"
        elif isinstance(error, ssl.SSLError):
            kind, what = FailureKind.TLS, f"TLS failed: {error.reason or 'without a reason'}"
        elif isinstance(error, http.client.HTTPException):
            kind, what = FailureKind.PROTOCOL, "the answer is not HTTP/1.1 as it should be"
        else:
            kind, what = FailureKind.OTHER, getattr(error, "strerror", None) or "the HTTP client failed"
        raise HttpFailure(
            kind, Sent.MAYBE if is_sent else Sent.NO, f"{self._origin}{self._via()}: {what}"
        ) from None

    def _via(self) -> str:
        return "" if self._proxy is None else f" through the proxy {self._proxy[0]}:{self._proxy[1]}"


def _read_up_to_cap(answer: http.client.HTTPResponse) -> Tuple[bytes, bool]:
    """Returns at most :data:`CAP_BYTES`, and whether that is where the body ended."""
    import http.client

    content = b""
    # Counted here: http.client takes an end before the promised length for the end, and not every
    # Python counts in read1.
    promised = None if answer.chunked else answer.length
    while len(content) <= CAP_BYTES:
        if promised is not None and len(content) == promised:
            return content, True
        try:
            chunk = answer.read1(8192 if promised is None else min(8192, promised - len(content)))
        except (OSError, http.client.HTTPException, ValueError):
            return content, False
        if not chunk:
            return content, promised is None
        content += chunk
    return content[:CAP_BYTES], False


def _linger(is_reset: bool) -> bytes:
    """``struct linger``: with no time to linger, closing resets."""
    return struct.pack("hh" if os.name == "nt" else "ii", is_reset, 0)


def _is_address(host: str) -> bool:
    import ipaddress

    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_loopback(address: str) -> bool:
    import ipaddress

    return is_loopback(ipaddress.ip_address(address.split("%")[0]))
