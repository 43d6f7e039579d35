"""The network: one attempt, to an allowed origin, by a deadline; and whether anything was sent is
said exactly."""

from __future__ import annotations

import gzip
import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
import zlib
from pathlib import Path
from typing import Any, Callable, Iterator, List

import pytest
from conftest import Server

from lazaretto.http import (
    AllowList,
    FailureKind,
    HttpFailure,
    HttpRequest,
    Malformed,
    NetworkHttp,
    Reach,
    Sent,
)
from lazaretto.http._public_address import is_public
from lazaretto.http.network import Exchange
from lazaretto.http.wire import Wire


def request(url: str, **more: Any) -> HttpRequest:
    given = {"method": "POST", "headers": [("x", "y")], "body": "a=b", "deadline_ms": 2000, **more}
    return HttpRequest(url=url, **given)


def failure(call: Callable[[], Any]) -> HttpFailure:
    with pytest.raises(HttpFailure) as raised:
        call()
    return raised.value


def network(*origins: str) -> NetworkHttp:
    return NetworkHttp(AllowList(origins, True))


class Raw:
    """A server that takes one connection after the other and hands each to a function."""

    def __init__(self, serve: Callable[[socket.socket], None]) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.origin = f"http://127.0.0.1:{self.listening.getsockname()[1]}"
        self.connections = 0

        def run() -> None:
            while True:
                try:
                    connection, _ = self.listening.accept()
                except OSError:
                    return
                self.connections += 1
                with connection:
                    try:
                        serve(connection)
                    except OSError:
                        pass

        threading.Thread(target=run, daemon=True).start()


def answers(*parts: bytes, pause: float = 0) -> Callable[[socket.socket], None]:
    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        for part in parts:
            connection.sendall(part)
            time.sleep(pause)

    return serve


HEAD = b"HTTP/1.1 200 OK\r\nConnection: close\r\n"


def test_what_is_sent_is_what_was_asked_for_and_no_more() -> None:
    seen: List[bytes] = []

    def serve(connection: socket.socket) -> None:
        while b"a=b" not in b"".join(seen):
            seen.append(connection.recv(65536))
        connection.sendall(HEAD + b"Set-Cookie: a\r\nset-cookie: b\r\nX: \xc3\xa9\r\nContent-Length: 2\r\n\r\nok")

    raw = Raw(serve)
    answer = network(raw.origin).send(request(raw.origin + "/token?x=1"))
    head, body = b"".join(seen).split(b"\r\n\r\n")
    host = raw.origin.split("//")[1]
    from lazaretto import __version__

    assert head.decode().split("\r\n") == [
        "POST /token?x=1 HTTP/1.1", f"host: {host}", "x: y", f"user-agent: lazaretto/{__version__}", "accept: */*",
        "accept-encoding: identity", "connection: close", "content-length: 3",
    ]  # fmt: skip
    assert body == b"a=b"
    assert (answer.status, answer.body, answer.body_complete, answer.body_lossy) == (200, "ok", True, False)
    assert [value for name, value in answer.headers if name == "set-cookie"] == ["a", "b"]
    assert ("x", "\u00e9") in answer.headers


def test_a_redirect_is_an_answer(server: Server) -> None:
    server.script = [(307, [("location", f"{server.origin}/elsewhere")], "")]
    assert network(server.origin).send(request(server.url)).status == 307
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "parts, body, complete, lossy",
    [
        ([HEAD + b"Content-Length: 10\r\n\r\nhalf"], "half", False, False),
        ([HEAD + b"\r\n", b"to the", b" end"], "to the end", True, False),
        ([HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", b"0\r\n\r\n"], "abc", True, False),
        ([HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n9\r\nde"], "abcde", False, False),
        ([HEAD + b"Content-Length: 3\r\n\r\na\xffb"], "a\ufffdb", True, True),
        ([HEAD + b"Content-Length: 9\r\n\r\na\xc3"], "a", False, False),
        ([HEAD + b"\r\n" + b"x" * 70000], "x" * 65536, False, False),
        ([HEAD + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b"plain")], "plain", True, False),
        ([HEAD + b"Content-Encoding: deflate\r\n\r\n" + zlib.compress(b"plain")], "plain", True, False),
        ([HEAD + b"Content-Encoding: deflate\r\n\r\n" + zlib.compress(b"plain")[2:-4]], "plain", True, False),
        ([HEAD + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(b"x" * 10**6)], "x" * 65536, False, False),
        ([HEAD + b"Content-Encoding: br\r\n\r\nzz"], "zz", True, True),
        ([HEAD + b"\r\n" + gzip.compress(b"plain")], "plain", True, False),
        ([HEAD + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(gzip.compress(b"plain"))], "plain", True, False),
        ([HEAD + b"\r\n" + gzip.compress(b"pl") + gzip.compress(b"ain") + b"\0"], "plain", True, False),
        ([HEAD + b"\r\n" + gzip.compress(b"plain")[:-8]], "plain", False, True),
        ([HEAD + b"Content-Length: 99\r\n\r\n" + gzip.compress(b"plain")[:-8]], "plain", False, False),
        ([HEAD + b"Content-Encoding: gzip\r\n\r\nplain"], "plain", True, True),
        ([HEAD + b"Content-Encoding: deflate\r\n\r\nplain"], "plain", True, True),
        ([HEAD + b"Content-Encoding: zstd\r\n\r\n\x28\xb5\x2f\xfd"], "(\ufffd/\ufffd", True, True),
        ([HEAD + b"\r\n\x1f\x8b\x08\0\0\0\0\0\0\xff\xff"], "\x1f\ufffd\x08\0\0\0\0\0\0\ufffd\ufffd", True, True),
        ([HEAD + b"Content-Encoding: deflate\r\nContent-Length: 0\r\n\r\n"], "", True, False),
        ([b"\r\nHTTP/1.1 103\r\na: b\r\n\r\n" + HEAD + b"\r\nlater"], "later", True, False),
        ([b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD + b"\r\nlater"], "later", True, False),
    ],
)
def test_the_body_is_told_as_far_as_it_came(parts: List[bytes], body: str, complete: bool, lossy: bool) -> None:
    raw = Raw(answers(*parts))
    answer = network(raw.origin).send(request(raw.origin))
    assert (answer.body, answer.body_complete, answer.body_lossy) == (body, complete, lossy)
    assert raw.connections == 1


def test_a_coding_that_is_taken_off_is_not_named_any_more() -> None:
    for content, left in ((gzip.compress(b"{}"), []), (b"\x80\x81", ["gzip"])):
        raw = Raw(answers(HEAD + b"Content-Encoding: gzip\r\n\r\n" + content))
        answer = network(raw.origin).send(request(raw.origin))
        assert [value for name, value in answer.headers if name == "content-encoding"] == left


@pytest.mark.parametrize("count", [0, 100, 200, 1000])
def test_an_answer_may_have_a_thousand_headers(count: int) -> None:
    odd = b"no header\r\nfolded: a\r\n\tb\r\n"
    raw = Raw(answers(HEAD + b"a: b\r\n" * count + odd + b"Retry-After : 7\r\nContent-Length: 2\r\n\r\n{} and more"))
    answer = network(raw.origin).send(request(raw.origin))
    assert (answer.body, answer.body_complete, len(answer.headers)) == ("{}", True, count + 4)
    assert answer.headers[-2:] == [("retry-after", "7"), ("content-length", "2")] and ("folded", "a b") in answer.headers


class Late:
    """An exchange whose deadline has passed."""

    def left(self) -> float:
        raise socket.timeout


def test_what_has_arrived_by_the_deadline_is_read_to_its_end() -> None:
    ours, peer = socket.socketpair()
    wire, buffer = Wire(ours, Late()), bytearray(9)  # type: ignore[arg-type]
    with ours, peer:
        for part in (b"one", b"two"):
            peer.sendall(part)
            assert wire.readinto(buffer) == 3 and buffer.startswith(part)
        with pytest.raises(socket.timeout):
            wire.readinto(buffer)
        peer.close()
        assert wire.readinto(buffer) == 0


def test_a_peer_that_goes_on_sending_keeps_nobody_beyond_the_deadline() -> None:
    ours, peer = socket.socketpair()

    def fill() -> None:
        try:
            while True:
                peer.sendall(b"x" * 4096)
        except OSError:
            pass

    filler = threading.Thread(target=fill, daemon=True)
    filler.start()
    wire, buffer, read = Wire(ours, Late()), bytearray(4096), 0  # type: ignore[arg-type]
    with pytest.raises(socket.timeout):
        while True:
            read += wire.readinto(buffer)
    assert read <= 4 * 65536 + 4096
    ours.close()
    filler.join(10)


@pytest.mark.parametrize(
    "serve, kind",
    [
        (answers(), "reset"),
        (answers(b"SSH-2.0-OpenSSH\r\n"), "protocol"),
        (answers(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 30000 + b"\r\n"), "protocol"),
        (lambda connection: time.sleep(5), "timeout"),
    ],
)
def test_what_may_have_been_sent_is_said(serve: Any, kind: str) -> None:
    raw = Raw(serve)
    failed = failure(lambda: network(raw.origin).send(request(raw.origin, deadline_ms=400)))
    assert (failed.kind, failed.sent, raw.connections) == (kind, "maybe", 1)
    assert raw.origin in failed.message


def test_the_deadline_holds_for_an_answer_that_drips() -> None:
    raw = Raw(answers(HEAD + b"Content-Length: 100\r\n\r\n", *[b"x"] * 100, pause=0.05))
    begun = time.monotonic()
    answer = network(raw.origin).send(request(raw.origin, deadline_ms=400))
    assert 0.35 < time.monotonic() - begun < 4
    assert answer.status == 200 and not answer.body_complete and answer.body.startswith("xx")
    raw = Raw(answers(*[bytes([byte]) for byte in HEAD], pause=0.05))
    begun = time.monotonic()
    assert failure(lambda: network(raw.origin).send(request(raw.origin, deadline_ms=400))).kind == "timeout"
    assert time.monotonic() - begun < 4


def test_nothing_leaves_after_the_deadline() -> None:
    ended: List[Any] = []
    go_on = threading.Event()

    def serve(connection: socket.socket) -> None:
        go_on.wait(10)
        try:
            while connection.recv(65536):
                pass
            ended.append("in peace")
        except ConnectionResetError:
            ended.append("reset")

    raw = Raw(serve)
    raw.listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    failed = failure(lambda: network(raw.origin).send(request(raw.origin, body="x" * (16 << 20), deadline_ms=1000)))
    assert (failed.kind, failed.sent) == ("timeout", "maybe")
    go_on.set()
    until = time.monotonic() + 10
    while not ended and time.monotonic() < until:
        time.sleep(0.01)
    assert ended == ["reset"], "what the socket still held was dropped"


def test_what_was_not_sent_is_said(monkeypatch: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}"
    failed = failure(lambda: network(nobody).send(request(nobody)))
    assert (failed.kind, failed.sent) == ("connect", "no")
    allowed = network("https://auth.example.invalid", "http://localhost:9")
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: time.sleep(3))
    begun = time.monotonic()
    failed = failure(lambda: allowed.send(request("https://auth.example.invalid/", deadline_ms=200)))
    assert (failed.kind, failed.sent) == ("timeout", "no") and time.monotonic() - begun < 2.5

    def unknown(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    failed = failure(lambda: allowed.send(request("https://auth.example.invalid/")))
    assert (failed.kind, failed.sent) == ("dns", "no")
    elsewhere = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("192.0.2.1", 9))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: elsewhere)
    failed = failure(lambda: allowed.send(request("http://localhost:9/")))
    assert (failed.kind, failed.sent) == ("not-allowed", "no")


@pytest.mark.parametrize(
    "more",
    [
        {"method": "PUT"}, {"method": "GET"}, {"headers": [("host", "a")]}, {"headers": [("a b", "c")]},
        {"headers": [("a", "b\r\nc: d")]}, {"headers": [("a", "\u00e9")]}, {"headers": [("Content-Length", "1")]},
    ],
)  # fmt: skip
def test_what_cannot_be_sent_as_asked_is_not_sent(server: Server, more: Any) -> None:
    failed = failure(lambda: network(server.origin).send(request(server.url, **more)))
    assert (failed.kind, failed.sent) == ("unsupported", "no") and server.requests == []


def test_only_listed_origins_are_sent_to() -> None:
    allow = AllowList(["https://auth.example.com", "http://127.0.0.1:8080", "https://[2001:DB8::7]:8443/"], True)
    for url in (
        "https://auth.example.com/oauth/token", "HTTPS://Auth.Example.com:443/", "http://127.0.0.1:8080",
        "https://[2001:db8:0:0::7]:8443?a=/",
    ):  # fmt: skip
        allow.target(url)
    for url in (
        "https://auth.example.com:8443/", "https://sub.auth.example.com/", "https://auth.example.com.evil.example/",
        "https://auth.example.com@evil.example/", "http://auth.example.com/", "http://127.0.0.1:8081/", "http://127.0.0.2:8080/",
        "https://auth.example.com\\@evil.example/", "https://evil.example#@auth.example.com/", "https://auth.example.com:+443/",
        "https://auth.example.com:/", "https://auth.example.com:65536/", "https://auth%2eexample.com/",
        "https://auth.example.com./", "https://auth..example.com/", "https://127.0.0.01/", "https://2130706433/", "https://0x7f.1/",
        "https:///auth.example.com/", "https://[::1]x/", "https://[::1/", "https://[fe80::1%25lo]/", "https://\u00e4.example/",
        "https://auth.example.com/ ", "https://auth.example.com\r\n/", "//auth.example.com/", "auth.example.com", "file:///etc/passwd",
        "http://[::ffff:127.0.0.1]:8080/", "http://0.0.0.0/", "",
    ):  # fmt: skip
        failed = failure(lambda: allow.target(url))  # noqa: B023
        assert failed.sent == "no" and failed.kind in ("not-allowed", "unsupported"), url
    assert failure(lambda: AllowList(["http://[::1]:1"]).target("http://[::1]:1/")).kind == "not-allowed"
    for bad in (
        "http://auth.example.com", "https://*.example.com", "auth.example.com", "https://a.example/oauth", "https://u@a.example",
        "https://a.example:0", "https://127.1", "https://example.com.", "https://",
    ):  # fmt: skip
        with pytest.raises(Malformed):
            AllowList([bad], True)
    with pytest.raises(Malformed) as raised:
        AllowList(["https://me:s3cret@a.example?s3cret"])
    assert "s3cret" not in str(raised.value) and "a.example" in str(raised.value)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: Any) -> Path:
    """For localhost, by nobody but itself."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    folder: Path = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
        + ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
        + ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")],
        check=True,
        capture_output=True,
    )
    return folder


@pytest.fixture
def tls(certificate: Path) -> Iterator[Raw]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")

    def serve(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as wrapped:
            wrapped.recv(65536)
            wrapped.sendall(HEAD + b"Content-Length: 6\r\n\r\nsecure")

    raw = Raw(serve)
    raw.origin = raw.origin.replace("http://127.0.0.1", "https://localhost")
    yield raw
    raw.listening.close()


def test_ssl_cert_file_names_whom_to_trust(tls: Raw, certificate: Path, monkeypatch: Any) -> None:
    """Certificates are verified and `SSL_CERT_FILE` names whom to trust."""
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    failed = failure(lambda: network(tls.origin).send(request(tls.origin)))
    assert (failed.kind, failed.sent) == ("tls", "no") and "SSL_CERT_FILE" in failed.message
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "cert.pem"))
    assert network(tls.origin).send(request(tls.origin)).body == "secure"
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "none.pem"))
    failed = failure(lambda: network(tls.origin).send(request(tls.origin)))
    assert (failed.kind, failed.sent) == ("tls", "no") and "none.pem" in failed.message


def test_a_handshake_that_never_ends_ends_with_the_deadline() -> None:
    raw = Raw(lambda connection: time.sleep(3))
    origin = raw.origin.replace("http", "https")
    begun = time.monotonic()
    failed = failure(lambda: network(origin).send(request(origin, deadline_ms=300)))
    assert (failed.kind, failed.sent) == ("timeout", "no") and time.monotonic() - begun < 4


def test_https_goes_through_the_proxy_of_the_environment(tls: Raw, certificate: Path, monkeypatch: Any) -> None:
    asked: List[bytes] = []
    port = int(tls.origin.rsplit(":", 1)[1])

    def serve(connection: socket.socket) -> None:
        asked.append(connection.recv(65536))
        if b"refuse" in asked[-1]:
            connection.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")
            return
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with socket.create_connection(("127.0.0.1", port)) as onward:

            def pipe(one: socket.socket, other: socket.socket) -> None:
                try:
                    while data := one.recv(65536):
                        other.sendall(data)
                    other.shutdown(socket.SHUT_WR)
                except OSError:
                    pass

            back = threading.Thread(target=pipe, args=(onward, connection), daemon=True)
            back.start()
            pipe(connection, onward)
            back.join()

    proxy = Raw(serve)
    for name in ("NO_PROXY", "no_proxy", "https_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTPS_PROXY", proxy.origin.replace("http://", "http://me:pw@"))
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "cert.pem"))
    # Loopback is never proxied, so the name must be another; the certificate is then not for it,
    # which shows that it is checked.
    origin = f"https://auth.example.test:{port}"
    failed = failure(lambda: network(origin).send(request(origin)))
    assert (failed.kind, failed.sent) == ("tls", "no") and "through the proxy" in failed.message
    assert asked[0].startswith(f"CONNECT auth.example.test:{port} HTTP/1.1\r\n".encode()) and b"proxy-authorization: Basic " in asked[0]
    refused = f"https://refuse.example.test:{port}"
    failed = failure(lambda: network(refused).send(request(refused)))
    assert (failed.kind, failed.sent) == ("connect", "no")
    assert network(tls.origin).send(request(tls.origin)).body == "secure" and len(asked) == 2
    monkeypatch.setenv("HTTPS_PROXY", "socks5://127.0.0.1:1")
    failed = failure(lambda: network(origin).send(request(origin)))
    assert (failed.kind, failed.sent) == ("unsupported", "no")


ADDRESSES = Path(__file__).parents[3] / "tests/conformance/http/addresses.json"


@pytest.mark.skipif(not ADDRESSES.is_file(), reason="the list is in the repository")
def test_the_list_of_addresses_is_judged_as_it_says() -> None:
    listed = json.loads(ADDRESSES.read_text())
    assert [each for each in listed["public"] if not is_public(each)] == []
    assert [each for each in listed["not-public"] if is_public(each)] == []
    assert not is_public("fe80::1%eth0") and not is_public("localhost") and not is_public("")


def resolving_to(monkeypatch: Any, *addresses: str) -> List[str]:
    """Resolves every name to these addresses; returns the names that were asked for."""
    asked: List[str] = []

    def look_up(host: str, port: int, **_: Any) -> Any:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return asked


@pytest.mark.parametrize("addresses", [("10.0.0.1",), ("8.8.8.8", "169.254.169.254"), ("127.0.0.1",)])
def test_a_request_that_must_stay_public_goes_nowhere_else(monkeypatch: Any, addresses: Any) -> None:
    """One address that is not public refuses the name, whichever would have been connected to."""
    resolving_to(monkeypatch, *addresses)
    connected: List[Any] = []
    monkeypatch.setattr(Exchange, "_first_that_connects", lambda self, found: connected.append(found))
    allowed = NetworkHttp(AllowList(["https://auth.example.invalid"]))
    failed = failure(lambda: allowed.send(request("https://auth.example.invalid/", reach=Reach.PUBLIC)))
    assert (failed.kind, failed.sent, connected) == (FailureKind.NOT_ALLOWED, Sent.NO, [])
    assert not any(address in failed.message for address in addresses)


def test_a_request_that_must_stay_public_is_pinned(monkeypatch: Any) -> None:
    """The name is looked up once, and the addresses that were checked are connected to."""
    asked = resolving_to(monkeypatch, "8.8.8.8", "1.1.1.1")
    connected: List[Any] = []

    def connect(self: Any, found: Any) -> Any:
        connected.extend(address[4][0] for address in found)
        raise ConnectionRefusedError

    monkeypatch.setattr(Exchange, "_first_that_connects", connect)
    allowed = NetworkHttp(AllowList(["https://auth.example.invalid"]))
    failed = failure(lambda: allowed.send(request("https://auth.example.invalid/", reach=Reach.PUBLIC)))
    assert (failed.kind, asked, connected) == (
        FailureKind.CONNECT, ["auth.example.invalid"], ["8.8.8.8", "1.1.1.1"],
    )


def test_a_request_that_must_stay_public_takes_no_proxy(monkeypatch: Any) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    allowed = NetworkHttp(AllowList(["https://auth.example.invalid"]))
    failed = failure(lambda: allowed.send(request("https://auth.example.invalid/", reach=Reach.PUBLIC)))
    assert (failed.kind, failed.sent) == (FailureKind.UNSUPPORTED, Sent.NO)
