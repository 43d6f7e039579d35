"""The line of docs/languages.md for any WASI host, run as it stands there by a wasmtime that nobody here built.

    wasi_cli.py <path to wasmtime> [<folder of the components>]

The line is taken from docs/languages.md, not typed again. What must hold on wasmtime 36 LTS and on the
newest: a stored token, one refresh, a quarantine, and failures that say on standard error what
helps. Ends with 0 if it does.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

ROOT = Path(__file__).resolve().parents[2]
COMPONENT = "target/stock/lazaretto-cli.wasm"
COMMAND = "token acme"


class Server(ThreadingHTTPServer):
    """A token endpoint. It rotates `rt-N` into `rt-N+1` once, says `invalid_grant` of `rt-dead` and 429 of `rt-busy`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.sent: list[str] = []
        self.agents: set[str | None] = set()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/token"


class Answer(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        token = parse_qs(body)["refresh_token"][0]
        self.server.sent.append(token)
        self.server.agents.add(self.headers["user-agent"])
        status, headers, answer = self.judge(token)
        data = json.dumps(answer).encode()
        self.send_response(status)
        for name, value in {"content-type": "application/json", "content-length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    @staticmethod
    def judge(token: str) -> tuple[int, dict[str, str], dict[str, object]]:
        if token == "rt-dead":
            return 400, {}, {"error": "invalid_grant"}
        if token == "rt-busy":
            return 429, {"retry-after": "900"}, {"error": "slow_down"}
        number = int(token.removeprefix("rt-")) + 1
        return 200, {}, {"access_token": f"at-{number}", "refresh_token": f"rt-{number}", "expires_in": 3600}

    def log_message(self, *_: object) -> None:
        pass


def documented_block() -> str:
    """Returns what the page tells to type, without the build, which has been done."""
    text = (ROOT / "docs/languages.md").read_text()
    block = next(block for block in re.findall(r"```sh[^\n]*\n(.*?)```", text, re.S) if "wasmtime run" in block)
    return block.replace("cargo xtask stock\n", "")


class Host:
    """A home with `~/.acme`, and the wasmtime to be tried, first on the PATH."""

    def __init__(self, wasmtime: Path, components: Path, home: Path, server: Server) -> None:
        self.components = components
        self.acme = home / ".acme"
        self.acme.mkdir(mode=0o700)
        self.profiles = {"acme": {"token_endpoint": server.url, "client_id": "me"}}
        self.env = {"HOME": str(home), "PATH": f"{wasmtime.parent}:{os.environ['PATH']}"}

    def vault(self, access: str, refresh: str, expires_at: str) -> None:
        """A fresh vault: nothing is known of its tokens."""
        for file in self.acme.iterdir():
            if file.is_file():
                file.unlink()
        tokens = {"access_token": access, "refresh_token": refresh, "expires_at": expires_at}
        self.write("auth.json", {"version": 1, "providers": {"acme": {"tokens": tokens}}})
        self.write("auth.json.lazaretto-settings.json", {"shared_with_reference": False})
        self.write("providers.json", {"profiles": self.profiles})

    def write(self, name: str, document: object) -> None:
        (self.acme / name).write_text(json.dumps(document))
        (self.acme / name).chmod(0o600)

    def run(self, command: str = COMMAND, component: str = "lazaretto-cli", flags: str = "") -> subprocess.CompletedProcess[str]:
        """Runs the page's block, with another command or another component in the place of its
        own. The server is on this machine and without TLS, which has to be asked for."""
        block = documented_block()
        assert block.count(COMPONENT) == 1 and block.rstrip().endswith(COMMAND), block
        block = block.replace(COMMAND, command)
        block = block.replace(COMPONENT, f"{flags} --env LAZARETTO_ALLOW_LOOPBACK_HTTP=1 {self.components / component}.wasm")
        return self.sh(block)

    def sh(self, block: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["sh", "-c", block], cwd=ROOT, env=self.env, capture_output=True, text=True, timeout=300)

    def tokens(self) -> dict[str, object]:
        return json.loads((self.acme / "auth.json").read_text())["providers"]["acme"].get("tokens", {})


def first_word(stderr: str) -> str:
    """What the failure's line begins with. Events come before it, as JSON."""
    lines = [line for line in stderr.splitlines() if re.match(r"(login|retry|configure|inspect|usage): ", line)]
    assert len(lines) == 1, stderr
    return lines[0].split(":")[0]


def the_readme_line_runs_unchanged(host: Host, _: Server) -> None:
    host.vault("at-stored", "rt-1", "2099-01-01T00:00:00Z")
    ran = host.sh(documented_block())
    assert (ran.returncode, ran.stdout) == (0, "at-stored\n"), ran


def an_expired_login_is_refreshed_once_and_stored_for_its_owner(host: Host, server: Server) -> None:
    host.vault("at-old", "rt-1", "2020-01-01T00:00:00Z")
    ran = [host.run(), host.run()]
    assert [(one.returncode, one.stdout) for one in ran] == [(0, "at-2\n")] * 2, ran
    assert server.sent == ["rt-1"], server.sent
    assert host.tokens()["refresh_token"] == "rt-2"
    open_to_others = [file.name for file in host.acme.rglob("*") if file.stat().st_mode & 0o077]
    assert open_to_others == [], open_to_others


def a_dead_login_is_quarantined_and_says_what_helps(host: Host, server: Server) -> None:
    host.vault("at-old", "rt-dead", "2020-01-01T00:00:00Z")
    first, again = host.run(), host.run()
    assert (first.returncode, first.stdout, first_word(first.stderr)) == (1, "", "login"), first
    assert (again.returncode, first_word(again.stderr)) == (1, "login"), again
    assert server.sent == ["rt-dead"], server.sent
    assert "rt-dead" not in (host.acme / "auth.json").read_text()
    as_json = host.run("token acme --json")
    error = json.loads(as_json.stderr.splitlines()[-1])["error"]
    assert (as_json.returncode, error["action"]) == (1, "login"), as_json
    assert f"run: {error['run']}" in again.stderr.splitlines(), again
    listed = host.run("status")
    row = listed.stdout.splitlines()[1].split()
    assert (listed.returncode, row) == (0, ["acme", "login", "no", "quarantined", "-"]), listed


def what_time_mends_and_what_is_misused_are_told_apart(host: Host, server: Server) -> None:
    host.vault("at-old", "rt-busy", "2020-01-01T00:00:00Z")
    busy = host.run()
    assert (busy.returncode, first_word(busy.stderr)) == (1, "retry"), busy
    assert host.tokens()["refresh_token"] == "rt-busy"
    misused = host.run("token")
    assert misused.returncode == 1 and misused.stderr.startswith("usage: "), misused
    assert server.sent == ["rt-busy"], server.sent


def the_other_component_has_the_exit_codes_of_the_native_command(host: Host, _: Server) -> None:
    version = subprocess.run(["wasmtime", "--version"], env=host.env, capture_output=True, text=True, check=True).stdout
    # Newer hosts have the import by themselves.
    flags = "" if int(re.search(r"(\d+)\.", version)[1]) >= 46 else "-S cli-exit-with-code"
    host.vault("at-old", "rt-dead", "2020-01-01T00:00:00Z")
    codes = {command: host.run(command, "lazaretto-cli-exit-codes", flags).returncode for command in (COMMAND, "token", "help")}
    assert codes == {COMMAND: 3, "token": 2, "help": 0}, codes


def main() -> int:
    wasmtime = Path(sys.argv[1]).resolve()
    components = Path(sys.argv[2] if len(sys.argv) > 2 else ROOT / "target/stock").resolve()
    version = subprocess.run([wasmtime, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    for case in (
        the_readme_line_runs_unchanged,
        an_expired_login_is_refreshed_once_and_stored_for_its_owner,
        a_dead_login_is_quarantined_and_says_what_helps,
        what_time_mends_and_what_is_misused_are_told_apart,
        the_other_component_has_the_exit_codes_of_the_native_command,
    ):
        server = Server()
        with tempfile.TemporaryDirectory() as home:
            case(Host(wasmtime, components, Path(home), server), server)
        assert all(agent and agent.startswith("lazaretto/") for agent in server.agents), server.agents
        print(f"{version}: {case.__name__.replace('_', ' ')}")
        server.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
