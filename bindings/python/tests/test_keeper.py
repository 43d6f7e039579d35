"""The package as its user runs it, on a vault of its own and a server on loopback."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any, List, Optional

import pytest
from conftest import JSON, Home, wait_until

from lazaretto import (
    AccessToken,
    Event,
    InspectionNeeded,
    Keeper,
    LazarettoError,
    LoginNeeded,
    ConfigurationNeeded,
    RetryLater,
    UsageError,
)
from lazaretto.http import FailureKind, HttpFailure, HttpRequest, HttpResponse, Sent
from lazaretto.storage import MemoryStorage, StorageError


def test_a_valid_token_comes_from_the_file_without_a_request(home: Home) -> None:
    home.write("rt-0", expires_in=10**10)
    with home.keeper() as keeper:
        token = keeper.token("acme")
    assert (token.token, token.origin, token.credential) == ("at-old", "stored", "login")
    assert token.authorization == "Bearer at-old"
    assert home.server.requests == []


def test_an_expired_token_is_refreshed_once_and_other_bytes_stay(home: Home) -> None:
    """An expired token is refreshed once and the rest of the vault stays byte for byte."""
    before = (
        '{ "providers": {\n  "acme": {"tokens": {"access_token":"at-old", "refresh_token" : "rt-0","expires_in": 60, "x": 1.50e1},\n'
        '   "last_refresh":"2020-01-01T00:00:00Z", "odd": "\\u00e9"},\n   "other" : {"tokens":{"access_token":"keep"}} } , "n":1.0 }\n'
    )
    home.vault.write_text(before)
    with home.keeper() as keeper:
        token = keeper.token("acme")
        assert (token.token, token.origin) == ("at-1", "refreshed")
        assert keeper.token("acme").token == "at-1"
    assert [request["refresh_token"] for request in home.server.requests] == ["rt-0"]
    after = home.vault.read_text()
    assert after.startswith('{ "providers": {\n  "acme": {"tokens": {"access_token":"at-1", "refresh_token" : "rt-1","expires_in": ')
    assert after.endswith('"odd": "\\u00e9"},\n   "other" : {"tokens":{"access_token":"keep"}} } , "n":1.0 }\n')
    assert '"x": 1.50e1' in after
    assert home.vault.stat().st_mode & 0o777 == 0o640


def test_a_dead_token_is_quarantined_and_never_sent_again(home: Home) -> None:
    home.write("rt-dead")
    events: List[Event] = []
    with home.keeper(on_event=events.append) as keeper:
        with pytest.raises(LoginNeeded) as raised:
            keeper.token("acme")
        assert (raised.value.action, raised.value.provider) == ("login", "acme")
        home.write("rt-dead")  # somebody seeds it again
        with pytest.raises(LoginNeeded) as again:
            keeper.token("acme")
        assert again.value.code == "quarantined"
        assert len(home.server.requests) == 1
        assert "quarantined" in [event.name for event in events]
        status = keeper.status("acme").credentials[0]
        assert status.state == "quarantined" and status.last_error is not None
        assert keeper.unquarantine("acme").state in ("expired", "valid")
    assert home.tokens()["refresh_token"] == "rt-dead"


def test_a_vault_that_everybody_may_open_is_told_of_once(home: Home) -> None:
    home.write("rt-0", expires_in=10**10)
    events: List[Event] = []
    home.vault.chmod(0o644)
    with home.keeper(on_event=events.append) as keeper:
        keeper.status()
        keeper.status("acme")
    assert [(event.name, event.severity, event.attributes) for event in events] == [
        ("vault-exposed", "warning", {"run": f"chmod 600 {home.vault}"})
    ]
    home.vault.chmod(0o660)  # a group may share a login
    with home.keeper(on_event=events.append) as keeper:
        keeper.status()
    assert len(events) == 1


def test_an_error_has_the_command_that_helps_as_the_embedder_says_it(home: Home) -> None:
    home.vault.write_text('{"providers": {}}')

    def run(**more: Any) -> Optional[str]:
        with home.keeper(**more) as keeper, pytest.raises(LoginNeeded) as raised:
            keeper.token("xai-oauth")
        return raised.value.run

    assert run() == f"lazaretto --vault {home.vault} --providers {home.providers} login xai-oauth"
    assert run(command="acme auth") == "acme auth login xai-oauth"
    assert run(login_hint="acme login {provider}") == "acme login xai-oauth"


def test_a_status_says_who_is_refreshing(home: Home) -> None:
    with home.keeper() as keeper, home.keeper() as other:
        home.server.held.clear()
        refreshing = threading.Thread(target=keeper.token, args=("acme",))
        refreshing.start()
        try:
            assert home.server.arrived.wait(30)
            status = other.status("acme").credentials[0]
        finally:
            home.server.held.set()
            refreshing.join()
        assert (status.state, status.renewal, status.usable) == ("refreshing", "refreshing", "expired")
        assert status.refreshing_by is not None and status.refreshing_by.startswith(f"pid {os.getpid()}")
        assert status.refreshing_since_ms is not None
        assert other.status("acme").credentials[0].renewal == "ok"


def test_each_action_is_a_class(home: Home) -> None:
    with home.keeper() as keeper:
        home.server.script = [(503, JSON, "{}"), (400, JSON, json.dumps({"error": "invalid_client"}))]
        with pytest.raises(RetryLater) as retry:
            keeper.token("acme")
        assert retry.value.action == "retry"
        keeper.reset("acme")
        with pytest.raises(ConfigurationNeeded):
            keeper.token("acme")
        with pytest.raises(UsageError):
            keeper.token("acme", credential="nobody")
        with pytest.raises(ConfigurationNeeded) as unknown:
            keeper.token("nobody")
        assert unknown.value.code == "unknown-provider"
        home.vault.write_text("no json")
        with pytest.raises(InspectionNeeded) as corrupt:
            keeper.token("acme")
        assert corrupt.value.code == "corrupt-vault"
    with pytest.raises(UsageError):
        keeper.token("acme")  # closed


def test_an_error_can_be_pickled_and_says_all_that_the_wit_says(home: Home) -> None:
    home.write("rt-dead")
    with pytest.raises(LazarettoError) as raised:
        home.keeper().token("acme")
    again = pickle.loads(pickle.dumps(raised.value))
    assert type(again) is type(raised.value) and again.as_dict() == raised.value.as_dict()


@pytest.mark.parametrize("name", ["../vault", "/etc/passwd", "a/../b", "..", ""])
def test_a_name_that_leads_elsewhere_is_refused_twice(home: Home, name: str) -> None:
    """A name that leads elsewhere is refused by the core and by the storage."""
    with home.keeper() as keeper:
        with pytest.raises(UsageError) as raised:
            keeper.token("acme", vault=name)
        assert raised.value.code == "bad-request"
        storage: Any = keeper._storage
    for call in (lambda: storage.load(name, None), lambda: storage.store(name, "", None, True, None)):
        with pytest.raises(StorageError) as refused:
            call()
        assert refused.value.code == "invalid-name"


@pytest.mark.parametrize(
    "arguments",
    [{"min_valid_s": -1}, {"min_valid_s": 1 << 64}, {"min_valid_s": "1"}, {"credential": 7}, {"session": b"x"}],
)
def test_a_wrong_argument_is_a_usage_error_and_costs_nothing(home: Home, arguments: Any) -> None:
    with pytest.raises(UsageError) as raised:
        home.keeper().token("acme", **arguments)
    assert next(iter(arguments)) in raised.value.message
    assert home.server.requests == []


def test_a_report_of_a_refused_token_brings_another(home: Home) -> None:
    home.write("rt-0", expires_in=10**10)
    with home.keeper() as keeper:
        token = keeper.token("acme")
        advice = keeper.report("acme", access_token=token.token, status=401, headers={"a": "b"}, credential=token.credential)
        assert advice.advice == "use" and advice.token is not None and advice.token.token == "at-1"
        assert keeper.report("acme", access_token="at-1", status=200).advice == "go-on"
        with pytest.raises(UsageError):
            keeper.end_use("acme")
        assert keeper.refresh("acme", refused_access_token="at-1").token == "at-2"


def test_origins_and_verdicts_need_no_vault(home: Home) -> None:
    with home.keeper() as keeper:
        assert home.server.origin in keeper.origins()
        body = '{"error":"invalid_grant"}'
        judged = keeper.classify("acme", status=400, headers=JSON, body=body, now_s=1_700_000_000)
        assert (judged.verdict, judged.code) == ("terminal", "invalid_grant")
        assert judged.steps and judged.steps[0].name
        wall = keeper.classify("xai-oauth", status=403, headers=[("Content-Type", "text/html")], body="<html>")
        assert wall.verdict != "terminal"
        home.providers.write_text("[")
        with pytest.raises(ConfigurationNeeded) as raised:
            keeper.classify("acme", status=400)
        assert raised.value.code == "bad-profile"


def test_no_secret_is_in_a_repr_a_message_or_a_traceback(home: Home) -> None:
    token = home.keeper().token("acme")
    assert "at-1" not in repr(token) and "at-1" not in str(token)
    assert dataclasses.asdict(token)["token"] == "at-1"
    assert "secret" not in repr(AccessToken("secret", "Bearer", "p", "c", None, "only", "stored", None, "secret"))
    refresh, access = "rt-s3cret", "at-s3cret"
    home.write(refresh, access_token=access)
    home.server.script = [(400, JSON, json.dumps({"error": "invalid_grant", "error_description": refresh}))]
    try:
        home.keeper().refresh("acme", refused_access_token=access)
    except LazarettoError:
        shown = traceback.format_exc()
    assert "s3cret" not in shown and "lazaretto" in shown
    assert "s3cret" not in repr(HttpRequest("POST", "http://a/?s3cret", [("a", "s3cret")], "s3cret", 1))
    for path in home.folder.iterdir():
        if path.is_file() and not path.name.endswith(("-sealed", "auth.json")):
            assert "s3cret" not in path.read_text()


def test_twenty_threads_with_one_expired_token_make_one_request(home: Home) -> None:
    found: List[str] = []
    start = threading.Barrier(20)
    with home.keeper() as keeper:

        def ask() -> None:
            start.wait()
            found.append(keeper.token("acme").token)

        threads = [threading.Thread(target=ask) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == ["at-1"] * 20 and len(home.server.requests) == 1


def test_threads_on_many_calls_do_not_disturb_each_other(home: Home) -> None:
    home.write("rt-0", expires_in=10**10)
    failed: List[BaseException] = []
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    with home.keeper() as keeper:

        def ask() -> None:
            try:
                for _ in range(15):
                    assert keeper.token("acme").token == "at-old"
                    assert keeper.status().credentials[0].state == "valid"
                    keeper.report("acme", access_token="at-old", status=200)
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    sys.setswitchinterval(interval)
    assert failed == []


def test_a_slow_provider_delays_no_other_call(home: Home) -> None:
    home.server.held.clear()
    with home.keeper() as keeper:
        refreshing = threading.Thread(target=lambda: keeper.token("acme"))
        refreshing.start()
        assert home.server.arrived.wait(20)
        begun = time.monotonic()
        assert keeper.status().credentials
        assert time.monotonic() - begun < 2
        home.server.held.set()
        refreshing.join()
    assert home.tokens()["refresh_token"] == "rt-1"


def test_three_processes_with_one_expired_token_make_one_request(home: Home) -> None:
    processes = [home.process({"call": "token", "provider": "acme"}) for _ in range(3)]
    answers = [json.loads(process.communicate(timeout=60)[0]) for process in processes]
    assert [answer["ok"]["token"] for answer in answers] == ["at-1"] * 3
    assert len(home.server.requests) == 1


NATIVE = [
    path
    for folder in ("debug", "release")
    for path in [Path(__file__).parents[3] / "target" / folder / "lazaretto"]
    if path.is_file()
]


@pytest.mark.skipif(not NATIVE, reason="cargo has not built the lazaretto command here")
def test_a_native_lazaretto_and_two_of_python_make_one_request(home: Home) -> None:
    home.server.held.clear()
    native = subprocess.Popen(
        [str(NATIVE[0]), "--vault", str(home.vault), "--providers", str(home.providers)]
        + ["--allow-loopback-http", "token", "acme"],
        stdout=subprocess.PIPE,
        text=True,
    )
    processes = [home.process({"call": "token", "provider": "acme"}) for _ in range(2)]
    assert home.server.arrived.wait(20)
    time.sleep(0.5)
    home.server.held.set()
    assert native.communicate(timeout=60)[0].strip() == "at-1"
    answers = [json.loads(process.communicate(timeout=60)[0]) for process in processes]
    assert [answer["ok"]["token"] for answer in answers] == ["at-1"] * 2
    assert len(home.server.requests) == 1


def test_processes_that_refresh_again_and_again_replay_nothing(home: Home) -> None:
    lines = [{"call": "refresh", "provider": "acme"}] * 8
    processes = [home.process(*lines) for _ in range(3)]
    native = [
        subprocess.Popen(
            [str(NATIVE[0]), "--vault", str(home.vault), "--providers", str(home.providers), "--allow-loopback-http"]
            + ["refresh", "acme"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(4 if NATIVE else 0)
    ]
    for process in processes:
        answers = [json.loads(line) for line in process.communicate(timeout=120)[0].splitlines()]
        assert len(answers) == 8 and all("ok" in answer for answer in answers), answers
    assert [process.wait(60) for process in native] == [0] * len(native)
    sent = [request["refresh_token"] for request in home.server.requests]
    assert len(sent) == len(set(sent)) and home.tokens()["refresh_token"] == home.server.live


def test_a_process_killed_in_the_middle_of_a_refresh_blocks_nobody(home: Home) -> None:
    # Killed before its request is answered: the server has not rotated.
    home.server.script = [lambda handler: time.sleep(30)]
    process = home.process({"call": "token", "provider": "acme"})
    assert home.server.arrived.wait(20)
    process.kill()
    process.wait()
    begun = time.monotonic()
    assert home.keeper().token("acme").token == "at-1"
    assert time.monotonic() - begun < 15
    assert home.server.requests[1]["refresh_token"] == "rt-0", "the one resend that an open intent allows"


def test_processes_killed_at_any_moment_keep_vault_and_login(home: Home) -> None:
    """Processes killed at any moment leave a whole vault no lock and the login."""
    home.server.is_forgiving = True
    for at in range(15):
        process = home.process(*[{"call": "refresh", "provider": "acme"}] * 50)
        assert process.stdout is not None and "ok" in json.loads(process.stdout.readline())
        time.sleep(at * 0.002)
        process.kill()
        process.communicate()
        json.loads(home.vault.read_text())
    for _ in range(20):
        try:
            token = home.keeper().refresh("acme")
            break
        except RetryLater as error:
            time.sleep(min(error.retry_after_s or 1, 5))
    assert token.token == f"at-{home.server.count}" and home.tokens()["refresh_token"] == home.server.live
    home.keeper().refresh("acme")
    assert not list(home.folder.glob(".*lazaretto-tmp*")), "the next store takes away what the dead left"


def test_ctrl_c_ends_the_waiting_and_not_the_refresh(home: Home) -> None:
    home.server.held.clear()
    code = (
        "import sys; from lazaretto import Keeper\n"
        "keeper = Keeper(sys.argv[1], providers=sys.argv[2], allow_loopback_http=True)\n"
        "try:\n    keeper.token('acme')\n"
        "except KeyboardInterrupt:\n    print('interrupted', flush=True)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(home.vault), str(home.providers)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent.parent,
    )
    assert home.server.arrived.wait(20) and process.stdout is not None
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "interrupted\n"
    home.server.held.set()
    assert process.wait(20) == 0
    assert home.tokens()["refresh_token"] == "rt-1", "its answer is stored all the same"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a limit for another process is Linux's")
def test_a_vault_beyond_the_file_size_limit_loses_nothing(home: Home) -> None:
    """A vault beyond the file size limit ends nothing and loses nothing."""
    import resource

    vault = json.loads(home.vault.read_text())
    home.vault.write_text(json.dumps({**vault, "notes": "x" * 65536}))
    home.server.held.clear()
    process = home.process({"call": "token", "provider": "acme"})
    assert home.server.arrived.wait(20)
    # While the answer is on its way, so that nothing before it fails.
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (16384, resource.RLIM_INFINITY))
    home.server.held.set()
    process.communicate(timeout=60)
    assert process.returncode == 0 and home.tokens()["refresh_token"] == "rt-0"
    with home.keeper() as keeper:
        keeper.refresh("acme")
    assert len(home.server.requests) == 1 and home.tokens()["refresh_token"] == "rt-1", "it was sealed"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_process_may_use_the_keeper_that_it_got(home: Home) -> None:
    with home.keeper() as keeper:
        assert keeper.token("acme").token == "at-1"
        child = os.fork()
        if child == 0:
            os._exit(0 if keeper.token("acme").token == "at-1" else 1)
        wait_until(lambda: os.waitpid(child, os.WNOHANG)[0] == child)
        assert keeper.token("acme").token == "at-1"


class Refusing:
    """A storage that refuses some calls, and does the others."""

    def __init__(self, inner: MemoryStorage, *refused: str, raising: BaseException) -> None:
        self._inner = inner
        self._refused = refused
        self._raising = raising

    def __getattr__(self, name: str) -> Any:
        def refuse(*_: Any) -> Any:
            raise self._raising

        return refuse if name in self._refused else getattr(self._inner, name)


class Answering:
    """An HTTP that answers with one thing."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.requests: List[HttpRequest] = []

    def send(self, request: HttpRequest) -> HttpResponse:
        self.requests.append(request)
        if isinstance(self.answer, Exception):
            raise self.answer
        return HttpResponse(*self.answer)


VAULT = {
    "providers": {
        "xai-oauth": {
            "tokens": {"access_token": "at-0", "refresh_token": "rt-0", "expires_in": 60},
            "last_refresh": "2020-01-01T00:00:00Z",
        }
    }
}
FRESH = (200, JSON, json.dumps({"access_token": "at-1", "refresh_token": "rt-1", "expires_in": 3600}))


@pytest.mark.parametrize("refused", ["load", "store", "acquire"])
@pytest.mark.parametrize("raising", [StorageError("denied", "not yours"), ValueError("rt-0"), SystemExit("rt-0")])
def test_a_storage_that_refuses_is_a_typed_error(refused: str, raising: BaseException) -> None:
    """A storage that refuses is a typed error and nothing is sent or lost."""
    documents = MemoryStorage({"vault": json.dumps(VAULT)})
    http = Answering(FRESH)
    keeper = Keeper(storage=Refusing(documents, refused, raising=raising), http=http)
    with pytest.raises(LazarettoError) as raised:
        keeper.token("xai-oauth")
    assert raised.value.action in ("inspect", "retry") and "rt-0" not in str(raised.value)
    assert http.requests == []
    assert documents.text("vault") == json.dumps(VAULT)
    again = Keeper(storage=documents, http=http)
    assert again.token("xai-oauth").token == "at-1"


@pytest.mark.parametrize(
    "answer",
    [HttpFailure(FailureKind.CONNECT, Sent.NO, "nobody there"), ConnectionError("rt-0"), ("x", [], ""), (200, [], None)],
)
def test_an_http_that_refuses_is_a_typed_error_and_nothing_is_lost(answer: Any) -> None:
    documents = MemoryStorage({"vault": json.dumps(VAULT)})
    with pytest.raises(RetryLater) as raised:
        Keeper(storage=documents, http=Answering(answer)).token("xai-oauth")
    assert "rt-0" not in raised.value.message
    assert json.loads(documents.text("vault") or "") == VAULT
    keeper = Keeper(storage=documents, http=Answering(FRESH))
    keeper.reset("xai-oauth")
    assert keeper.token("xai-oauth").token == "at-1"


def test_tokens_that_cannot_be_stored_can_be_saved_later() -> None:
    """Tokens that cannot be stored are handed over and can be saved later."""
    documents = MemoryStorage({"vault": json.dumps(VAULT)})

    class Full(Refusing):
        sent = False

        def store(self, *arguments: Any) -> Any:
            if self.sent:
                raise StorageError("full", "no room")
            return self._inner.store(*arguments)

    storage = Full(documents, raising=StorageError("full", "no room"))

    class Sending(Answering):
        def send(self, request: HttpRequest) -> HttpResponse:
            storage.sent = True
            return super().send(request)

    keeper = Keeper(storage=storage, http=Sending(FRESH))
    token = keeper.token("xai-oauth")
    assert token.token == "at-1" and token.unsaved is not None and "rt-1" not in repr(token)
    storage.sent = False
    keeper.save_unsaved(token.unsaved)
    assert "rt-1" in (documents.text("vault") or "")


@pytest.mark.parametrize("raised", [RuntimeError("mine"), SystemExit(1), KeyboardInterrupt()])
def test_what_on_event_raises_costs_nothing(home: Home, raised: BaseException) -> None:
    """What `on_event` raises costs nothing and its leases are given back."""
    def sink(event: Event) -> None:
        raise raised

    with home.keeper(on_event=sink) as keeper:
        assert keeper.token("acme").token == "at-1"
        storage: Any = keeper._storage
        assert storage._leases == {}


def test_a_keeper_says_what_it_needs() -> None:
    with pytest.raises(UsageError):
        Keeper()
    with pytest.raises(UsageError):
        Keeper("a", storage=MemoryStorage())
    with pytest.raises(UsageError):
        Keeper(storage=MemoryStorage(), providers="a")


@pytest.mark.parametrize("file", ["auth.json", "profiles/work/auth.json"])
def test_a_shared_login_is_refreshed_in_its_file_alone(home: Home, file: str) -> None:
    """A login that the shared file holds is refreshed there and served everywhere."""
    login = {
        "access_token": "at-0", "refresh_token": "rt-0", "token_type": "Bearer", "client_id": "hermes-cli",
        "portal_base_url": "https://portal.nousresearch.com", "expires_at": "2020-01-01T01:00:00+00:00",
        "obtained_at": "2020-01-01T00:00:00+00:00",
    }  # fmt: skip
    home.providers.write_text(json.dumps({"profiles": {"nous": {"token_endpoint": home.server.url}}}))
    vault, shared = home.folder / file, home.folder / "shared" / "nous_auth.json"
    vault.parent.mkdir(parents=True, exist_ok=True)
    shared.parent.mkdir()
    vault.write_text(json.dumps({"version": 1, "providers": {"nous": login}, "credential_pool": {}}))
    shared.write_text(json.dumps({"_schema": 1, **login}))

    def keeper(path: Path) -> Keeper:
        return Keeper(path, providers=home.providers, allow_loopback_http=True)

    with pytest.raises(ConfigurationNeeded) as raised:
        keeper(vault).token("nous")
    assert raised.value.code == "owned-elsewhere" and str(shared) in raised.value.message
    assert home.server.requests == []
    fresh = keeper(shared).token("nous")
    assert fresh.origin == "refreshed"
    served = keeper(vault).token("nous")
    assert (served.origin, served.token) == ("adopted", fresh.token) and len(home.server.requests) == 1


def test_a_key_of_the_environment_is_served_if_allowed(home: Home, monkeypatch: Any) -> None:
    """A key that is in the environment is served if that is allowed."""
    from lazaretto.storage import ABSENT, FileStorage, Loaded

    monkeypatch.setenv("ACME_API_KEY", "key-1")
    monkeypatch.setenv("ACME_HOME", "not for you")
    storage = FileStorage(home.vault, environment=True)
    found = storage.load("env/acme_api_key", None)
    assert isinstance(found, Loaded) and found.document.text == "key-1"
    assert storage.load("env/acme_home", None) == ABSENT
    with pytest.raises(StorageError):
        FileStorage(home.vault).load("env/acme_api_key", None)


def test_the_snippet_of_the_readme_runs_as_it_stands(home: Home, tmp_path: Path, monkeypatch: Any) -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    snippet = readme.split("```python\n")[1].split("```")[0]
    user = tmp_path / "user"
    (user / ".hermes").mkdir(parents=True)
    login = {"tokens": {"access_token": "at-x", "refresh_token": "rt-x", "expires_in": 10**10}}
    login["last_refresh"] = "2020-01-01T00:00:00Z"  # type: ignore[assignment]
    (user / ".hermes" / "auth.json").write_text(json.dumps({"providers": {"xai-oauth": login}}))
    monkeypatch.setenv("HOME", str(user))
    names: dict[str, Any] = {}
    exec(snippet, names)
    assert names["headers"] == {"Authorization": "Bearer at-x"}
    (user / ".hermes" / "auth.json").unlink()
    with pytest.raises(SystemExit) as ended:
        exec(snippet, {})
    assert str(ended.value).endswith("\nrun: hermes auth add xai-oauth")
