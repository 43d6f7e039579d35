"""What a person must say to the stock command, and what it tells, on a wasmtime that nobody here
built.

    wasi_command.py <path to wasmtime> [<folder of the components>]

What must hold: a vault never becomes readable for others without somebody's word, whatever the
umask; what is told on standard error is what LAZARETTO_EVENTS asks for; a pause and a quarantine
can be ended. Ends with 0 if it does.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

ROOT = Path(__file__).resolve().parents[2]
PRIVATE = {"LAZARETTO_FOLDER_IS_PRIVATE": "1"}
EXPIRED, LATER = "2020-01-01T00:00:00Z", "2099-01-01T00:00:00Z"


class Answer(BaseHTTPRequestHandler):
    """Says `invalid_grant` of `rt-dead`, 429 of `rt-busy`, and rotates every other token."""

    def do_POST(self) -> None:
        token = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())["refresh_token"][0]
        self.server.sent.append(token)  # type: ignore[attr-defined]
        status, answer = 200, {"access_token": "at-2", "refresh_token": "rt-2", "expires_in": 3600}
        if token == "rt-dead":
            status, answer = 400, {"error": "invalid_grant"}
        if token == "rt-busy":
            status, answer = 429, {"error": "slow_down"}
        data = json.dumps(answer).encode()
        self.send_response(status)
        for name, value in {"content-type": "application/json", "content-length": str(len(data)), "retry-after": "900"}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


class Host:
    """A vault with one login in a folder of its own, and the command on it."""

    def __init__(self, wasmtime: Path, component: Path, folder: Path) -> None:
        self.wasmtime, self.component, self.folder = wasmtime, component, folder
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.server.sent = self.sent = []  # type: ignore[attr-defined]
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        self.vault = folder / "auth.json"

    def login(self, refresh_token: str, expires_at: str = EXPIRED) -> None:
        for file in self.folder.iterdir():
            if file.is_file():
                file.unlink()
        tokens = {"access_token": "at-1", "refresh_token": refresh_token, "expires_at": expires_at}
        endpoint = f"http://127.0.0.1:{self.server.server_address[1]}/token"
        for name, document in {
            "auth.json": {"providers": {"acme": {"tokens": tokens}}},
            "auth.json.lazaretto-settings.json": {"shared_with_reference": False},
            "providers.json": {"profiles": {"acme": {"token_endpoint": endpoint, "client_id": "me"}}},
        }.items():
            (self.folder / name).write_text(json.dumps(document))
            (self.folder / name).chmod(0o600)
        self.sent.clear()

    def run(self, *words: str, umask: int = 0o022, **env: str) -> subprocess.CompletedProcess[str]:
        env = {"LAZARETTO_PROVIDERS": "providers.json", "LAZARETTO_ALLOW_LOOPBACK_HTTP": "1", **env}
        options = [word for name, value in env.items() for word in ("--env", f"{name}={value}")]
        command = [self.wasmtime, "run", "-S", "http", "--dir", f"{self.folder}::/", *options, self.component, *words]
        return subprocess.run(command, capture_output=True, text=True, umask=umask, stdin=subprocess.DEVNULL, timeout=300)

    def mode(self) -> int:
        return self.vault.stat().st_mode & 0o777


def is_event(line: str) -> bool:
    return line.startswith('{"event":')


def events(ran: subprocess.CompletedProcess[str]) -> list[str]:
    return [json.loads(line)["severity"] for line in ran.stderr.splitlines() if is_event(line)]


def no_token_is_sent_or_written_before_somebody_said_that_the_folder_is_private(host: Host) -> None:
    for umask in (0o022, 0o077):
        host.login("rt-1")
        before = host.vault.read_bytes()
        for word in ({}, {"LAZARETTO_FOLDER_IS_PRIVATE": "0"}):
            ran = host.run("token", "acme", umask=umask, **word)
            assert ran.returncode != 0 and ran.stdout == "", ran
            assert "LAZARETTO_FOLDER_IS_PRIVATE=1" in ran.stderr and "umask 077" in ran.stderr, ran.stderr
            as_json = host.run("token", "acme", "--json", umask=umask, **word)
            error = json.loads([line for line in as_json.stderr.splitlines() if not is_event(line)][-1])["error"]
            assert (error["code"], error["action"]) == ("storage-not-private", "configure"), error
        assert (host.sent, host.vault.read_bytes(), host.mode()) == ([], before, 0o600)


def what_is_stored_is_served_without_that_word(host: Host) -> None:
    host.login("rt-1", LATER)
    ran = host.run("token", "acme")
    assert (ran.returncode, ran.stdout, host.sent) == (0, "at-1\n", []), ran
    assert host.run("status").returncode == 0
    assert host.mode() == 0o600


def with_it_and_the_umask_the_vault_stays_its_owners(host: Host) -> None:
    host.login("rt-1")
    ran = host.run("token", "acme", umask=0o077, **PRIVATE)
    assert (ran.returncode, ran.stdout, host.sent) == (0, "at-2\n", ["rt-1"]), ran
    for file in host.folder.rglob("*"):
        assert file.stat().st_mode & 0o077 == 0, file


def events_are_told_as_they_are_asked_for(host: Host) -> None:
    for which, told in {"": [], "all": ["info"], "errors": [], "off": []}.items():
        host.login("rt-1")
        ran = host.run("token", "acme", umask=0o077, **PRIVATE, **({"LAZARETTO_EVENTS": which} if which else {}))
        assert ran.returncode == 0 and events(ran) == told, (which, ran.stderr)
    host.login("rt-dead")
    ran = host.run("token", "acme", umask=0o077, **PRIVATE)
    assert events(ran) and "info" not in events(ran), ran.stderr
    host.login("rt-dead")
    ran = host.run("token", "acme", umask=0o077, LAZARETTO_EVENTS="off", **PRIVATE)
    assert ran.returncode != 0 and events(ran) == [], ran.stderr


def a_pause_and_a_quarantine_can_be_ended(host: Host) -> None:
    host.login("rt-busy")
    assert host.run("token", "acme", umask=0o077, **PRIVATE).returncode != 0
    paused = host.run("token", "acme", umask=0o077, **PRIVATE)
    assert paused.returncode != 0 and host.sent == ["rt-busy"], paused
    ran = host.run("reset", "acme", umask=0o077, **PRIVATE)
    assert (ran.returncode, ran.stdout) == (0, "acme (login): expired\n"), ran
    host.run("token", "acme", umask=0o077, **PRIVATE)
    assert host.sent == ["rt-busy"] * 2
    host.login("rt-dead")
    assert host.run("token", "acme", umask=0o077, **PRIVATE).returncode != 0
    assert "rt-dead" not in host.vault.read_text()
    refused = host.run("unquarantine", "acme", umask=0o077)
    assert refused.returncode != 0 and "LAZARETTO_FOLDER_IS_PRIVATE=1" in refused.stderr, refused
    ran = host.run("unquarantine", "acme", "--json", umask=0o077, **PRIVATE)
    assert (ran.returncode, json.loads(ran.stdout)["credential"]) == (0, "login"), ran
    assert "rt-dead" in host.vault.read_text()


def a_command_of_the_embedders_own_is_proposed(host: Host) -> None:
    host.login("rt-dead")
    ran = host.run("token", "acme", "--json", umask=0o077, LAZARETTO_LOGIN_HINT="acme login {provider}", **PRIVATE)
    error = json.loads(ran.stderr.splitlines()[-1])["error"]
    assert error["run"] == "acme login acme", error


def main() -> int:
    wasmtime = Path(sys.argv[1]).resolve()
    components = Path(sys.argv[2] if len(sys.argv) > 2 else ROOT / "target/stock").resolve()
    for case in (
        no_token_is_sent_or_written_before_somebody_said_that_the_folder_is_private,
        what_is_stored_is_served_without_that_word,
        with_it_and_the_umask_the_vault_stays_its_owners,
        events_are_told_as_they_are_asked_for,
        a_pause_and_a_quarantine_can_be_ended,
        a_command_of_the_embedders_own_is_proposed,
    ):
        with tempfile.TemporaryDirectory() as folder:
            case(Host(wasmtime, components / "lazaretto-cli.wasm", Path(folder)))
        print(case.__name__.replace("_", " "))
    return 0


if __name__ == "__main__":
    sys.exit(main())
