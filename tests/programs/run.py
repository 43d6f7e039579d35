"""The examples of docs/other-programs.md, with the real programs and libraries, against a server on this machine.

    run.py <path to lazaretto> <folder with node_modules>

Each example is taken from the page; only `acme.example` becomes this server, and a keeper is told of its profile. Every one begins
with an expired login: the program must get through, with the token of exactly one refresh. Ends with 0 if all do.
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
PAGE = (ROOT / "docs/other-programs.md").read_text()
SAID = "hello from this machine"


class Server(ThreadingHTTPServer):
    """A token endpoint that rotates, and the APIs that take its newest token: as a key, too, as Claude Code sends both."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.refreshes = 0
        self.good = "at-0"
        self.heard: list[str] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, *_: object) -> None:
        """Programs that end leave connections open."""


class Answer(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.path == "/token":
            return self.refresh(parse_qs(body.decode())["refresh_token"][0])
        if self.path == "/refuse":
            self.server.good = ""
            return self.say(200, {})
        token = (self.headers["authorization"] or "").removeprefix("Bearer ")
        self.server.heard.append(f"{self.path.split('?')[0]} {token}")
        if token != self.server.good or self.headers.get("x-api-key") not in (None, token):
            return self.say(401, {"type": "error", "error": {"type": "authentication_error", "message": "refused"}})
        asked = json.loads(body or b"{}")
        if self.path.startswith("/v1/messages"):
            return self.stream(self.message()) if asked.get("stream") else self.say(200, self.message()[0]["message"])
        if self.path.startswith("/v1/responses"):
            return self.stream(self.response()) if asked.get("stream") else self.say(200, self.response()[-1]["response"])
        self.say(404, {"error": {"message": "there is nothing here"}})

    do_GET = do_POST

    def refresh(self, token: str) -> None:
        if token != f"rt-{self.server.refreshes}":
            return self.say(400, {"error": "invalid_grant"})
        self.server.refreshes += 1
        self.server.good = f"at-{self.server.refreshes}"
        self.say(200, {"access_token": self.server.good, "refresh_token": f"rt-{self.server.refreshes}", "expires_in": 3600})

    @staticmethod
    def message() -> list[dict]:
        text = {"type": "text", "text": SAID}
        whole = {"id": "m", "type": "message", "role": "assistant", "model": "m", "content": [text], "stop_reason": "end_turn",
                 "stop_sequence": None, "usage": {"input_tokens": 1, "output_tokens": 1}}
        return [
            {"type": "message_start", "message": whole},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": SAID}},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": {"output_tokens": 1}},
            {"type": "message_stop"},
        ]

    @staticmethod
    def response() -> list[dict]:
        text = {"type": "output_text", "text": SAID, "annotations": []}
        item = {"type": "message", "id": "i", "role": "assistant", "status": "completed", "content": [text]}
        usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2, "input_tokens_details": {"cached_tokens": 0},
                 "output_tokens_details": {"reasoning_tokens": 0}}
        whole = {"id": "r", "object": "response", "created_at": 1, "status": "completed", "model": "m", "output": [item],
                 "usage": usage, "parallel_tool_calls": False, "tool_choice": "auto", "tools": []}
        return [
            {"type": "response.created", "response": {**whole, "status": "in_progress", "output": []}},
            {"type": "response.output_item.done", "output_index": 0, "item": item},
            {"type": "response.completed", "response": whole},
        ]

    def stream(self, events: list[dict]) -> None:
        if events[0]["type"] == "message_start":
            events[0]["message"] = {**events[0]["message"], "content": [], "stop_reason": None}
        text = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)
        self.send(200, "text/event-stream", text.encode())

    def say(self, status: int, answer: dict) -> None:
        self.send(status, "application/json", json.dumps(answer).encode())

    def send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Home:
    """A home with an expired login of `acme`, and `lazaretto` on the PATH, told where all this is."""

    def __init__(self, folder: Path, server: Server, lazaretto: Path, modules: Path) -> None:
        self.folder, self.server, self.modules = folder, server, modules
        tokens = {"access_token": "at-0", "refresh_token": "rt-0", "expires_at": "2020-01-01T00:00:00Z"}
        self.write("auth.json", json.dumps({"version": 1, "providers": {"acme": {"tokens": tokens}}}))
        profile = {"token_endpoint": f"{server.url}/token", "client_id": "me"}
        self.write("providers.json", json.dumps({"profiles": {"acme": profile}}))
        options = f"--vault '{folder}/auth.json' --providers '{folder}/providers.json' --allow-loopback-http"
        self.write("bin/lazaretto", f'#!/bin/sh\nexec \'{lazaretto}\' {options} "$@"\n').chmod(0o700)
        # Nothing of the caller's own programs.
        kept = {name: value for name, value in os.environ.items() if not re.match("ANTHROPIC|OPENAI|CLAUDE|CODEX|LAZARETTO", name)}
        quiet = {"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "DISABLE_AUTOUPDATER": "1", "no_proxy": "127.0.0.1"}
        self.env = {**kept, **quiet, "HOME": str(folder), "PATH": f"{folder}/bin:{os.environ['PATH']}"}

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o600)
        return path

    def example(self, language: str, mark: str) -> str:
        """The example of that language which has the mark, with this server in it."""
        blocks = re.findall(rf"```{language}\n(.*?)```", PAGE, re.S)
        found = [block for block in blocks if mark in block]
        assert len(found) == 1, f"{len(found)} examples in {language} with {mark}"
        text = re.sub(r"https://\w+\.acme\.example", self.server.url, found[0])
        text = text.replace('Keeper(vault="auth.json")', 'Keeper(vault="auth.json", providers="providers.json", allow_loopback_http=True)')
        return text.replace("{ vault: 'auth.json' }", "{ vault: 'auth.json', providers: 'providers.json', allowLoopbackHttp: true }")

    def run(self, *command: str | Path, **env: str) -> str:
        ran = subprocess.run(
            [str(part) for part in command], cwd=self.folder, env={**self.env, **env}, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=120,
        )
        assert ran.returncode == 0, f"{command}: {ran.returncode}\n{ran.stdout}\n{ran.stderr}"
        return ran.stdout

    def python(self, text: str) -> str:
        script = self.write("example.py", text)
        return self.run(sys.executable, "-B", script, PYTHONPATH=str(ROOT / "bindings/python"))

    def node(self, text: str) -> str:
        # Beside node_modules, where its imports are looked for.
        with tempfile.NamedTemporaryFile("w", suffix=".mjs", dir=self.modules) as script:
            script.write(text)
            script.flush()
            return self.run("node", script.name)


def claude_code(home: Home) -> str:
    home.write(".claude/settings.json", home.example("json", "apiKeyHelper"))
    packages = home.modules / "node_modules/@anthropic-ai"
    found = [file for file in packages.glob("claude-code-*/claude") if os.access(file, os.X_OK)]
    mcp = home.write("mcp.json", home.example("json", "headersHelper"))
    said = home.run(found[0], "--mcp-config", mcp, "-p", "say something")
    assert "/mcp at-1" in home.server.heard, home.server.heard
    return said


def codex(home: Home) -> str:
    home.write(".codex/config.toml", 'model = "m"\n' + home.example("toml", "model_providers"))
    return home.run(home.modules / "node_modules/.bin/codex", "exec", "--skip-git-repo-check", "say something")


def hermes_agent(home: Home) -> str:
    """What its `key_cmd` expects: ends with 0 within 15 s, one line without a space on standard output."""
    command = re.search(r"key_cmd: (.*)", home.example("yaml", "key_cmd"))[1]
    lines = home.run("sh", "-c", command).splitlines()
    assert lines == ["at-1"], lines
    return SAID


ASK_OPENAI = 'client.responses.create(model="m", input="say something").output_text'
ASK_ANTHROPIC = 'client.messages.create(model="m", max_tokens=9, messages=[{"role": "user", "content": "hi"}]).content[0].text'


def openai_for_python(home: Home) -> str:
    return home.python(f"{home.example('python', 'from openai')}\nprint({ASK_OPENAI})\nprint({ASK_OPENAI})\n")


def anthropic_for_python(home: Home) -> str:
    refuse = f"import urllib.request\nurllib.request.urlopen('{home.server.url}/refuse').read()"
    return home.python(f"{home.example('python', 'from anthropic')}\nprint({ASK_ANTHROPIC})\n{refuse}\nprint({ASK_ANTHROPIC})\n")


def openai_for_node(home: Home) -> str:
    ask = "console.log((await client.responses.create({ model: 'm', input: 'say something' })).output_text);"
    return home.node(f"{home.example('js', 'import OpenAI')}\n{ask}\n{ask}\nawait keeper.close();\n")


def anthropic_for_node(home: Home) -> str:
    body = "{ model: 'm', max_tokens: 9, messages: [{ role: 'user', content: 'hi' }] }"
    ask = f"console.log((await client.messages.create({body})).content[0].text);"
    refuse = f"await fetch('{home.server.url}/refuse');"
    return home.node(f"{home.example('js', '@anthropic-ai/sdk')}\n{ask}\n{refuse}\n{ask}\nawait keeper.close();\n")


# With the refreshes that each needs: after a 401 one more, and that one only.
PROGRAMS = {
    claude_code: 1,
    codex: 1,
    hermes_agent: 1,
    openai_for_python: 1,
    anthropic_for_python: 2,
    openai_for_node: 1,
    anthropic_for_node: 2,
}


def main() -> int:
    lazaretto, modules = (Path(argument).resolve() for argument in sys.argv[1:3])
    link = modules / "node_modules/lazaretto"
    link.unlink(missing_ok=True)
    link.symlink_to(ROOT / "bindings/node", target_is_directory=True)
    for program, refreshes in PROGRAMS.items():
        server = Server()
        with tempfile.TemporaryDirectory() as folder:
            said = program(Home(Path(folder).resolve(), server, lazaretto, modules))
        assert said.split("\n")[-2 if said.endswith("\n") else -1] == SAID, said
        assert server.refreshes == refreshes, f"{server.refreshes} refreshes: {server.heard}"
        print(f"{program.__name__.replace('_', ' ')}: through, with {refreshes} refresh{'es'[:2 * (refreshes > 1)]}")
        server.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
