"""One session of the reference, hermes-agent 0.19.0, that stays open: it does what it is told, a line at a time.

    python session.py HERMES_HOME TOKEN_ENDPOINT

Each line of standard input is one JSON object with a member `do`; each is answered by one line of
JSON on standard output, no token in it. README.md has the list. A pool that was loaded stays in
memory until it is loaded again, as it does in an agent that runs for hours: what it then writes is
its old list.

The reference's own functions do everything. They reach the host and port of TOKEN_ENDPOINT, which
must be on loopback, in place of the providers' own, and nothing else.
"""

import contextlib
import json
import random
import sys
import tempfile
import time
import uuid
from pathlib import Path
from urllib.parse import urlsplit

import reference

PROVIDERS = ("xai-oauth", "openai-codex", "openrouter")


def seal_process(hermes_home: Path, empty_home: Path, port: int) -> None:
    """As `reference.seal_process`, but for the server."""
    allowed = {
        "socket.connect": lambda _socket, address: address[:2] == ("127.0.0.1", port),
        "socket.getaddrinfo": lambda host, *_rest: host == "127.0.0.1",
    }
    reference.FORBIDDEN = tuple(event for event in reference.FORBIDDEN if event not in allowed)
    reference.seal_process(hermes_home, empty_home)

    def refuse(event, arguments):
        if event in allowed and not allowed[event](*arguments):
            raise reference.OutsideForbidden(f"{event} {arguments}")

    sys.addaudithook(refuse)


class Session:
    def __init__(self, endpoint: str):
        from agent import credential_pool
        from hermes_cli import auth

        # Where it would go; what it does there is its own.
        auth.CODEX_OAUTH_TOKEN_URL = endpoint
        auth._xai_oauth_discovery = lambda *_: {"authorization_endpoint": endpoint, "token_endpoint": endpoint}
        auth._xai_validate_oauth_endpoint = lambda *_, **__: endpoint
        self.library = credential_pool
        self.pools = {}

    def do(self, order: dict) -> dict:
        return getattr(self, "do_" + order.pop("do").replace("-", "_"))(**order)

    def pool(self, provider: str):
        if provider not in self.pools:
            self.pools[provider] = self.library.load_pool(provider)
        return self.pools[provider]

    def do_load(self, provider: str) -> dict:
        """Loads it anew."""
        self.pools.pop(provider, None)
        pool = self.pool(provider)
        usable = {entry.id for entry in pool._available_entries()}
        return {"rows": [reference.describe_row(pool, entry, entry.id in usable) for entry in pool.entries()]}

    def do_select(self, provider: str) -> dict:
        """The next to use. It refreshes each that is about to expire."""
        return self.told(self.pool(provider).select())

    def do_load_and_select(self, provider: str) -> dict:
        """As a program that begins."""
        self.pools.pop(provider, None)
        return self.do_select(provider)

    def do_mark(self, provider: str, status: int, id=None, reason=None, reset_in_s=None) -> dict:
        """An API refused a credential: the one named, or the current one."""
        pool = self.pool(provider)
        key = next((entry.runtime_api_key for entry in pool.entries() if entry.id == id), None)
        context = {"reason": reason, "message": reason, "reset_at": None if reset_in_s is None else time.time() + reset_in_s}
        return self.told(pool.mark_exhausted_and_rotate(status_code=status, error_context=context, api_key_hint=key))

    def do_reset(self, provider: str) -> dict:
        return {"count": self.pool(provider).reset_statuses()}

    def do_add(self, provider: str, access_token: str, refresh_token=None, label=None) -> dict:
        library = self.library
        entry = library.PooledCredential(
            provider=provider,
            id=uuid.uuid4().hex[:6],
            label=label or "theirs",
            auth_type=library.AUTH_TYPE_OAUTH if refresh_token else library.AUTH_TYPE_API_KEY,
            priority=0,
            source=library.SOURCE_MANUAL_DEVICE_CODE if refresh_token else library.SOURCE_MANUAL,
            access_token=access_token,
            refresh_token=refresh_token,
        )
        return {"id": self.pool(provider).add_entry(entry).id}

    def do_work(self, seconds: float, seed: int) -> dict:
        """Does one thing after the other. Now and then it starts anew; else it goes on with what it has in memory."""
        choose = random.Random(seed)
        done, failed, added = {}, [], []
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            provider = choose.choice(PROVIDERS)
            what = choose.choices(("load", "select", "mark", "reset", "add"), (3, 8, 5, 3, 1))[0]
            order = {"do": what, "provider": provider}
            if what == "mark":
                order["status"], order["reset_in_s"] = choose.choice(((429, 1), (402, 1), (401, 1)))
            if what == "add":
                order["access_token"] = f"sk-theirs-{uuid.uuid4().hex}"
            try:
                answer = self.do(order)
            except Exception as error:
                failed.append(f"{what}: {type(error).__name__}: {error}")
            else:
                done[what] = done.get(what, 0) + 1
                if what == "add":
                    added.append([provider, answer["id"]])
            time.sleep(choose.uniform(0, 0.02))
        return {"done": done, "failed": failed, "added": added}

    def told(self, entry) -> dict:
        return {"id": entry and entry.id, "key_sha256_128": entry and reference.fingerprint(entry.runtime_api_key)}


def main() -> None:
    hermes_home, endpoint = Path(sys.argv[1]).resolve(strict=True), sys.argv[2]
    with tempfile.TemporaryDirectory() as empty_home:
        seal_process(hermes_home, Path(empty_home), urlsplit(endpoint).port)
        answers = sys.stdout
        with contextlib.redirect_stdout(sys.stderr):
            session = Session(endpoint)
            for line in sys.stdin:
                order, start = json.loads(line), time.perf_counter()
                answer = session.do(order)
                answer["took_s"] = time.perf_counter() - start
                print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
