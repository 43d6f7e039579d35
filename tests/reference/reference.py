"""What the reference, hermes-agent 0.19.0, says about a vault; or a login stored by it.

    python reference.py load        HERMES_HOME PROVIDER
    python reference.py write-login HERMES_HOME PROVIDER < login.json

HERMES_HOME is a folder with an `auth.json`; PROVIDER is xai-oauth, openai-codex or nous (`load`
takes any other id too). One JSON object on standard output, no token in it: tokens appear as
lazaretto's fingerprints (SHA-256 shortened to 128 bits, hex). README.md has the shapes.

The reference's own functions decide everything said here. It cannot reach the network or start
a program: see `seal_process`.
"""

import argparse
import contextlib
import hashlib
import json
import os
import shutil
import sys
import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path

# Refused at Python's own audit points, so that no library beneath can go round it (httpx, urllib
# and requests all end in these). A kept environment variable, a proxy or `gh` would be a way out
# of the given folder too.
FORBIDDEN = (
    "socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto",
    "socket.sendmsg", "subprocess.Popen", "os.exec", "os.posix_spawn", "os.spawn", "os.system",
)
KEPT_ENVIRONMENT = ("PATH", "LANG", "LC_ALL", "TMPDIR", "SYSTEMROOT")


class OutsideForbidden(BaseException):
    """The reference wanted the network or another program.

    A BaseException, so that its many `except Exception` cannot take this for a failed refresh
    and write that down.
    """


def seal_process(hermes_home: Path, empty_home: Path) -> None:
    """Leave the reference nothing but the given folder. Before its first import."""
    kept = {name: os.environ[name] for name in KEPT_ENVIRONMENT if name in os.environ}
    os.environ.clear()
    # Other tools' logins (~/.codex, ~/.claude) are looked for under HOME.
    os.environ.update(kept, HOME=str(empty_home), HERMES_HOME=str(hermes_home))

    def refuse(event, _args):
        if event in FORBIDDEN:
            raise OutsideForbidden(event)

    sys.addaudithook(refuse)


def fingerprint(token):
    if not isinstance(token, str) or not token:
        return None
    return hashlib.sha256(token.encode()).hexdigest()[:32]


# --- load ---------------------------------------------------------------------------------------


def load(hermes_home: Path, provider: str) -> dict:
    from agent.credential_pool import load_pool

    vault = hermes_home / "auth.json"
    before = read_bytes(vault)
    answer = {"provider": provider, "rows": [], "selected": None, "load_error": None}
    try:
        pool = load_pool(provider)
    except Exception as error:
        answer["load_error"] = f"{type(error).__name__}: {error}"
    else:
        # What `peek` chooses from: statuses and cooldowns count, nothing is refreshed or reset.
        usable = {entry.id for entry in pool._available_entries()}
        answer["rows"] = [describe_row(pool, entry, entry.id in usable) for entry in pool.entries()]
        selected = pool.peek()
        answer["selected"] = selected.id if selected else None

    after = read_bytes(vault)
    answer["changed"] = before != after
    answer["lost"] = lost_paths(parsed(before), parsed(after))
    answer["taken_for_corrupt"] = vault.with_suffix(".json.corrupt").exists()
    answer.update(login_status(hermes_home, provider))
    return answer


def describe_row(pool, entry, usable: bool) -> dict:
    return {
        "id": entry.id,
        "label": entry.label,
        "source": entry.source,
        "auth_type": entry.auth_type,
        "last_status": entry.last_status,
        "usable": usable,
        # `usable` looks at statuses only: an expired token is refreshed before its use, and
        # a nous row without a valid inference JWT has no key to offer.
        "needs_refresh": pool._entry_needs_refresh(entry),
        "has_runtime_key": bool(entry.runtime_api_key),
        "runtime_key_sha256_128": fingerprint(entry.runtime_api_key),
        "has_access_token": bool(entry.access_token),
        "has_refresh_token": bool(entry.refresh_token),
        "access_token_sha256_128": fingerprint(entry.access_token),
        "refresh_token_sha256_128": fingerprint(entry.refresh_token),
    }


def login_status(hermes_home: Path, provider: str) -> dict:
    """`hermes auth status` and the marker, asked on a copy: asking may write, and `changed` is
    about loading alone."""
    from hermes_cli import auth

    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        shutil.copytree(hermes_home, copy)
        os.environ["HERMES_HOME"] = str(copy)
        try:
            shared_token = (auth._read_shared_nous_state() or {}).get("refresh_token")
            next_token = nous_next_refresh_token(auth) if provider == "nous" else None
            marker = (auth.get_provider_auth_state(provider) or {}).get("last_auth_error")
            status = ask(auth.get_auth_status, provider)
            answer = {
                "login": {
                    "logged_in": status.get("logged_in"),
                    "source": status.get("source"),
                    "api_key_sha256_128": fingerprint(
                        status.get("api_key") or status.get("access_token")
                    ),
                    "error": status.get("error"),
                    "error_code": status.get("error_code"),
                    "relogin_required": status.get("relogin_required"),
                    "wanted_network": status.get("wanted_network", False),
                    "own_tokens": read_own_tokens(auth, provider),
                    "last_auth_error": marker,
                },
            }
            if provider == "nous":
                # A second copy of the login, shared by profiles. While it is there the reference
                # restores an emptied login from it, and asking the status may write it: so these
                # two were read before.
                answer["nous_shared_refresh_token_sha256_128"] = fingerprint(shared_token)
                answer["nous_next_refresh_token_sha256_128"] = fingerprint(next_token)
                answer["nous_session_valid"] = ask(
                    lambda: {"value": auth.get_nous_session_validity()}
                ).get("value")
            return answer
        finally:
            os.environ["HERMES_HOME"] = str(hermes_home)


def nous_next_refresh_token(auth):
    """What its next refresh would send: it merges the shared copy into the login first."""
    state = dict(auth.get_provider_auth_state("nous") or {})
    auth._merge_shared_nous_oauth_state(state)
    return state.get("refresh_token")


def ask(function, *arguments) -> dict:
    try:
        return function(*arguments)
    except OutsideForbidden as refused:
        return {"wanted_network": True, "error": f"would have gone outside: {refused}"}


def read_own_tokens(auth, provider: str):
    """The login's block as the chat path reads it: "ok", or the reference's error code.

    For xai-oauth this reads through to the pool: "ok" then means the first row with both tokens.
    """
    readers = {
        "xai-oauth": auth._read_xai_oauth_tokens,
        "openai-codex": auth._read_codex_tokens,
    }
    if provider not in readers:
        return None
    try:
        readers[provider]()
    except auth.AuthError as error:
        return error.code
    return "ok"


# --- write-login --------------------------------------------------------------------------------


def write_login(hermes_home: Path, provider: str, login: dict) -> dict:
    """Store a token response as the reference's login, or its `auth add`, would after the exchange.

    `manual: true` appends an independent row (xai-oauth, openai-codex); else it is the login.
    """
    from agent.credential_pool import load_pool

    if login.get("manual"):
        add_manual_row(provider, login)
    else:
        store_login(provider, login)
    # Seeds the login's row, as the next start would.
    rows = load_pool(provider).entries()
    return {
        "vault": str(hermes_home / "auth.json"),
        "rows": [
            {
                "id": row.id,
                "source": row.source,
                "access_token_sha256_128": fingerprint(row.access_token),
                "refresh_token_sha256_128": fingerprint(row.refresh_token),
            }
            for row in rows
        ],
    }


def store_login(provider: str, login: dict) -> None:
    from hermes_cli import auth

    if provider == "xai-oauth":
        auth._save_xai_oauth_tokens(
            {
                "access_token": login["access_token"],
                "refresh_token": login["refresh_token"],
                "id_token": login.get("id_token", ""),
                "expires_in": login.get("expires_in"),
                "token_type": login.get("token_type", "Bearer"),
            },
            discovery={
                "authorization_endpoint": "https://auth.x.ai/oauth2/auth",
                "token_endpoint": "https://auth.x.ai/oauth2/token",
            },
            last_refresh=login.get("last_refresh"),
            auth_mode="oauth_device_code",
        )
    elif provider == "openai-codex":
        auth._save_codex_tokens(
            {"access_token": login["access_token"], "refresh_token": login["refresh_token"]},
            login.get("last_refresh"),
            label=login.get("label"),
        )
    elif provider == "nous":
        auth.persist_nous_credentials(nous_state(auth, login), label=login.get("label"))
    else:
        raise SystemExit(f"write-login does not know {provider}")


def nous_state(auth, login: dict) -> dict:
    """The state its device-code login builds; it then passes it through its own refresh, which
    sends nothing while the token is a usable inference JWT and fills the agent key fields."""
    lifetime = int(login.get("expires_in", 3600))
    now = time.time()
    return auth.refresh_nous_oauth_from_state({
        "portal_base_url": auth.DEFAULT_NOUS_PORTAL_URL,
        "inference_base_url": auth.DEFAULT_NOUS_INFERENCE_URL,
        "client_id": auth.DEFAULT_NOUS_CLIENT_ID,
        "scope": login.get("scope", auth.DEFAULT_NOUS_SCOPE),
        "token_type": login.get("token_type", "Bearer"),
        "access_token": login["access_token"],
        "refresh_token": login["refresh_token"],
        "obtained_at": iso(now),
        "expires_at": iso(now + lifetime),
        "expires_in": lifetime,
        "tls": {"insecure": False, "ca_bundle": None},
    })


def add_manual_row(provider: str, login: dict) -> None:
    import uuid

    from agent.credential_pool import (
        AUTH_TYPE_OAUTH,
        SOURCE_MANUAL_DEVICE_CODE,
        PooledCredential,
        label_from_token,
        load_pool,
    )
    from hermes_cli import auth

    base_urls = {
        "xai-oauth": auth.DEFAULT_XAI_OAUTH_BASE_URL,
        "openai-codex": auth.DEFAULT_CODEX_BASE_URL,
    }
    if provider not in base_urls:
        raise SystemExit(f"the reference adds no independent OAuth row for {provider}")
    pool = load_pool(provider)
    default_label = f"{provider}-oauth-{len(pool.entries()) + 1}"
    pool.add_entry(PooledCredential(
        provider=provider,
        id=uuid.uuid4().hex[:6],
        label=login.get("label") or label_from_token(login["access_token"], default_label),
        auth_type=AUTH_TYPE_OAUTH,
        priority=0,
        source=SOURCE_MANUAL_DEVICE_CODE,
        access_token=login["access_token"],
        refresh_token=login["refresh_token"],
        base_url=base_urls[provider],
        last_refresh=login.get("last_refresh") or iso(time.time()).replace("+00:00", "Z"),
    ))


def iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, tz=timezone.utc).isoformat()


# --- comparing ----------------------------------------------------------------------------------


def read_bytes(path: Path):
    try:
        return path.read_bytes()
    except OSError:
        return None


def parsed(content):
    try:
        return json.loads(content)
    except (TypeError, ValueError):
        return None


def lost_paths(before, after, path="") -> list:
    """Keys and rows of `before` that `after` no longer has; rows are matched by id."""
    if isinstance(before, dict):
        lost = []
        for key, value in before.items():
            here = f"{path}.{key}" if path else key
            if not isinstance(after, dict) or key not in after:
                lost.append(here)
            else:
                lost += lost_paths(value, after[key], here)
        return lost
    if isinstance(before, list):
        left = rows_by_name(after if isinstance(after, list) else [])
        lost = []
        for name, value in rows_by_name(before).items():
            here = f"{path}[{name}]"
            lost += lost_paths(value, left[name], here) if name in left else [here]
        return lost
    return []


def rows_by_name(rows: list) -> dict:
    return {
        row["id"] if isinstance(row, dict) and row.get("id") else str(position): row
        for position, row in enumerate(rows)
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=("load", "write-login"))
    parser.add_argument("hermes_home", type=Path)
    parser.add_argument("provider")
    arguments = parser.parse_args()
    hermes_home = arguments.hermes_home.resolve(strict=True)

    with tempfile.TemporaryDirectory() as empty_home:
        seal_process(hermes_home, Path(empty_home))
        # Whatever the reference prints is not the answer.
        with contextlib.redirect_stdout(sys.stderr):
            try:
                if arguments.command == "load":
                    answer = load(hermes_home, arguments.provider)
                else:
                    answer = write_login(hermes_home, arguments.provider, json.load(sys.stdin))
            except OutsideForbidden as refused:
                raise SystemExit(f"the reference wanted to go outside: {refused}") from None
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
