"""A vault, a profile and a rotating server of its own for each test."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple
from urllib.parse import parse_qs

import pytest

from lazaretto import Keeper

JSON = [("content-type", "application/json")]


class Server:
    """An authorization server on loopback that rotates, records and does as it is told."""

    def __init__(self) -> None:
        self.requests: List[Dict[str, str]] = []
        self.live = "rt-0"
        self.count = 0
        # The token that was used last gives its successor again, as servers with a grace window do.
        self.is_forgiving = False
        self.spent = ""
        self.lock = threading.Lock()
        # What to answer instead, the next first: a status, headers and a body, or a function of the
        # handler.
        self.script: List[Any] = []
        self.held = threading.Event()
        self.held.set()
        self.arrived = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
                form = {name: values[0] for name, values in parse_qs(body).items()}
                if "x-nous-refresh-token" in self.headers:
                    form["refresh_token"] = self.headers["x-nous-refresh-token"]
                with outer.lock:
                    outer.requests.append(form)
                    scripted = outer.script.pop(0) if outer.script else None
                    answer = outer.rotate(form) if scripted is None else scripted
                outer.arrived.set()
                outer.held.wait(30)
                if callable(answer):
                    answer(self)
                    return
                self.reply(*answer)

            def reply(self, status: int, headers: List[Tuple[str, str]], body: Any) -> None:
                content = body if isinstance(body, bytes) else body.encode()
                self.send_response(status)
                for name, value in headers:
                    self.send_header(name, value)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None:
                pass  # clients that go away are part of the tests

        self.http = Quiet(("127.0.0.1", 0), Handler)
        self.origin = f"http://127.0.0.1:{self.http.server_address[1]}"
        self.url = f"{self.origin}/token"
        threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()

    def rotate(self, form: Dict[str, str]) -> Tuple[int, Any, str]:
        is_again = self.is_forgiving and form.get("refresh_token") == self.spent
        if form.get("refresh_token") != self.live and not is_again:
            return (400, JSON, json.dumps({"error": "invalid_grant"}))
        if not is_again:
            self.spent = self.live
            self.count += 1
        self.live = f"rt-{self.count}"
        tokens = {"access_token": f"at-{self.count}", "refresh_token": self.live, "expires_in": 3600, "token_type": "Bearer"}
        return (200, JSON, json.dumps(tokens))

    def close(self) -> None:
        self.held.set()
        self.http.shutdown()
        self.http.server_close()


class Home:
    """A folder with a vault whose access token has expired, and the profile of its server."""

    def __init__(self, folder: Path, server: Server) -> None:
        self.folder = folder
        self.server = server
        self.vault = folder / "auth.json"
        self.providers = folder / "providers.json"
        profile = {"token_endpoint": server.url, "client_id": "acme-client"}
        self.providers.write_text(json.dumps({"profiles": {"acme": profile}}))
        self.write("rt-0")

    def write(self, refresh_token: str, **more: Any) -> None:
        tokens = {"access_token": "at-old", "refresh_token": refresh_token, "expires_in": 60, **more}
        login = {"tokens": tokens, "last_refresh": "2020-01-01T00:00:00Z"}
        self.vault.write_text(json.dumps({"providers": {"acme": login}}))

    def tokens(self) -> Dict[str, Any]:
        return dict(json.loads(self.vault.read_text())["providers"]["acme"]["tokens"])

    def keeper(self, **more: Any) -> Keeper:
        return Keeper(self.vault, providers=self.providers, allow_loopback_http=True, **more)

    def process(self, *lines: Dict[str, Any]) -> subprocess.Popen[str]:
        """Starts a driver process and gives it these calls."""
        process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("driver.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parent.parent,
            env={"PYTHONPATH": str(Path(__file__).parent.parent), "PATH": "/usr/bin:/bin"},
        )
        assert process.stdin is not None
        options = {"vault": str(self.vault), "providers": str(self.providers), "allow_loopback_http": True}
        process.stdin.write("".join(json.dumps(line) + "\n" for line in (options, *lines)))
        process.stdin.flush()
        return process


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@pytest.fixture
def open_path() -> Iterator[Path]:
    """Returns a folder that every user can reach."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # many small files: a disk takes its time
    folder = Path(tempfile.mkdtemp(prefix="lazaretto-test-", dir=memory))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def home(tmp_path: Path, server: Server) -> Home:
    return Home(tmp_path, server)


def wait_until(is_so: Callable[[], Optional[object]], seconds: float = 20) -> None:
    import time

    until = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < until, "it does not happen"
        time.sleep(0.005)
