"""The HTTP adapter on wasmtime-py against servers that behave badly, on loopback.

    wasi_http.py <path to lazaretto-http.wasm>

What must hold: one attempt, no redirect followed, the deadline kept whatever the server does,
bodies cut, and `sent: no` only where nothing can have been sent. Ends with 0 if it does.
"""

from __future__ import annotations

import gzip
import json
import socket
import sys
import tempfile
import threading
import time
import zlib
from pathlib import Path

from wasi_host import Refused, Wasi, load

HTTP = "lazaretto:keeper/http@0.1.0"
SECRET = "s3cret"


class Server:
    """Answers each connection with bytes, in pieces with pauses between; None as the last one
    resets it."""

    def __init__(self, *pieces: bytes | float | None) -> None:
        self.pieces = pieces
        self.requests: list[bytes] = []
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        while True:
            connection, _ = self.socket.accept()
            request = b""
            # To its end: what is closed with something unread is reset.
            while not request.endswith(f"refresh_token={SECRET}".encode()) and (more := connection.recv(65536)):
                request += more
            self.requests.append(request)
            try:
                for piece in self.pieces:
                    match piece:
                        case bytes():
                            connection.sendall(piece)
                        case None:
                            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                        case _:
                            time.sleep(piece)
            except OSError:
                pass
            connection.close()


def head(*lines: str, length: int | None = None, status: str = "200 OK") -> bytes:
    lines = (f"HTTP/1.1 {status}", *lines, *([f"content-length: {length}"] if length is not None else []))
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def main() -> None:
    engine, component = load(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:

        def send(server: Server | int, deadline_ms: int = 5_000, loopback: str = "1", **more: str) -> dict:
            port = server if isinstance(server, int) else server.port
            endpoint = more.get("endpoint", f"http://127.0.0.1:{port}/token")
            profiles = {"profiles": {"acme": {"token_endpoint": endpoint, "client_id": "c"}}}
            Path(folder, "providers.json").write_text(json.dumps(profiles))
            env = {"LAZARETTO_PROVIDERS": "providers.json", "LAZARETTO_ALLOW_LOOPBACK_HTTP": loopback}
            env |= {name: value for name, value in more.items() if name.isupper()}
            http = Wasi(engine, component, folders=[(folder, "/")], env=env)
            request = {
                "method": more.get("method", "POST"),
                "url": more.get("url", endpoint),
                "headers": [{"name": more.get("header", "x-token"), "value": SECRET}],
                "body": f"refresh_token={SECRET}",
                "deadline_ms": deadline_ms,
            }
            try:
                return http.call(HTTP, "send", request)
            except Refused as refused:
                assert SECRET not in refused.value["message"], refused.value
                return refused.value

        def failed(kind: str, sent: str, *arguments: object, **more: str) -> None:
            answer = send(*arguments, **more)
            assert (answer.get("kind"), answer.get("sent")) == (kind, sent), answer

        server = Server(head("a: 1", "A: 2", length=2), b"{}")
        answer = send(server)
        assert (answer["status"], answer["body"], answer["body_complete"], answer["body_lossy"]) == (200, "{}", True, False)
        assert [header["value"] for header in answer["headers"] if header["name"].lower() == "a"] == ["1", "2"]
        request = server.requests[0].lower()
        assert b"content-length: 20" in request and b"transfer-encoding" not in request, request
        assert b"accept-encoding: identity" in request, request

        other = Server(head(length=0))
        server = Server(head(f"location: http://127.0.0.1:{other.port}/", length=0, status="307 Temporary Redirect"))
        assert send(server)["status"] == 307
        assert (len(server.requests), len(other.requests)) == (1, 0), "a redirect was followed"

        answer = send(Server(head(length=100_000), b"x" * 100_000))
        assert (len(answer["body"]), answer["body_complete"]) == (65_536, False)
        answer = send(Server(head(length=10), b"12345"))
        assert (answer["body"], answer["body_complete"]) == ("12345", False), answer
        answer = send(Server(head("transfer-encoding: chunked"), b"2\r\n{}\r\n", 0.05, b"0\r\n\r\n"))
        assert (answer["body"], answer["body_complete"]) == ("{}", True), answer
        answer = send(Server(head("transfer-encoding: chunked"), b"5\r\n{}\r\n", None))
        assert answer["status"] == 200 and not answer["body_complete"], answer
        answer = send(Server(head(length=3), b"a\xffb"))
        assert (answer["body"], answer["body_complete"], answer["body_lossy"]) == ("a\ufffdb", True, True), answer
        answer = send(Server(head("content-encoding: gzip", length=2), b"ab"))
        assert answer["body_lossy"], answer
        for named, coded in [
            ("a: b", gzip.compress(b"{}")),
            ("content-encoding: gzip", gzip.compress(b"{}")),
            ("content-encoding: deflate", zlib.compress(b"{}")),
            ("content-encoding: deflate", zlib.compress(b"{}")[2:-4]),
        ]:
            answer = send(Server(head(named, length=len(coded)), coded))
            assert (answer["body"], answer["body_complete"], answer["body_lossy"]) == ("{}", True, False), answer
            assert all(header["name"].lower() != "content-encoding" for header in answer["headers"]), answer
        answer = send(Server(head("content-encoding: zstd", length=3), b"\x28\xb5\x2f"))
        assert (answer["body"], answer["body_complete"], answer["body_lossy"]) == ("(\ufffd/", True, True), answer
        assert any(header["value"] == "zstd" for header in answer["headers"]), answer

        for server in [Server(30.0), Server(b"HTTP/1.1 200", 30.0)]:
            started = time.monotonic()
            failed("timeout", "maybe", server, 1_000)
            assert time.monotonic() - started < 15, "the deadline passed"
            assert len(server.requests) == 1, "there was a second attempt"
        started = time.monotonic()
        answer = send(Server(head(length=100), *[b"x", 0.4] * 75), 2_000)
        assert answer["status"] == 200 and 0 < len(answer["body"]) < 10 and not answer["body_complete"], answer
        assert time.monotonic() - started < 15, "a server that drips outlasts the deadline"

        for server in [Server(), Server(None), Server(b"nonsense\r\n\r\n")]:
            answer = send(server)
            assert (answer["sent"], len(server.requests)) == ("maybe", 1), answer
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]
        failed("connect", "no", port)

        # What is not allowed never leaves.
        server = Server(head(length=0))
        failed("not-allowed", "no", server, loopback="0")
        failed("not-allowed", "no", server, url=f"http://127.0.0.1:{other.port}/")
        failed("not-allowed", "no", server, endpoint=f"http://localhost:{server.port}/token")
        failed("not-allowed", "no", server, url="http://example.com/")
        failed("not-allowed", "no", server, LAZARETTO_ALLOWED_ORIGINS="https://auth.x.ai")
        failed("unsupported", "no", server, url=f"http://{SECRET}@127.0.0.1:{server.port}/")
        failed("unsupported", "no", server, method="PUT")
        failed("unsupported", "no", server, header="host")
        assert (server.requests, other.requests) == ([], []), "something was sent"
        assert send(server, LAZARETTO_ALLOWED_ORIGINS=f"https://auth.x.ai, http://127.0.0.1:{server.port}")["status"] == 200
    print("HTTP over WASI: all held")


if __name__ == "__main__":
    main()
