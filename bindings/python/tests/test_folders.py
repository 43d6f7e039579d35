"""A folder that is exchanged, moved or linked while it is used: what is in it is used by handles
that were checked once."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import threading
from pathlib import Path
from typing import Any, Callable

import pytest
from apart import GRANT, STRANGER, exchange, names, need_root, own, refusal, storage
from conftest import Home, Server

from lazaretto.storage import ABSENT, Acquired, DocumentScope, Loaded, StorageError, Stored, version_of
from lazaretto.storage import _folder

# F1. Somebody who may write a folder on the way exchanges it, or the locks in it, for a link.


class Stage:
    """Root's vault in a stranger's folder, and a folder of root's that nothing may come into."""

    def __init__(self, base: Path, what: str) -> None:
        # Another tool's vault, whose lock is made and removed, or the reference's.
        home, self.name = (".qwen", "oauth_creds.json") if what == "tool" else ("home", "auth.json")
        self.base, self.home, self.elsewhere = base / "strange", base / "strange" / home, base / "elsewhere"
        for path in (self.base, self.elsewhere):
            shutil.rmtree(path, ignore_errors=True)
        self.home.mkdir(parents=True)
        self.elsewhere.mkdir()
        own(self.home / self.name, 0)
        locks = self.home / f"{self.name}.lazaretto-locks"
        locks.mkdir(0o700)
        self.exchanged = locks if what == "locks" else self.home
        self.link = self.exchanged.with_name("link")
        self.link.symlink_to(self.elsewhere)
        os.lchown(self.link, STRANGER, STRANGER)
        for path in (self.base, self.home):
            os.chown(path, STRANGER, STRANGER)

    def exchange(self) -> None:
        exchange(self.exchanged, self.link)

    def work(self) -> None:
        """Whatever a keeper does with a vault. What fails, fails."""
        store = storage(self.home, self.name)
        document = DocumentScope("vault")
        vault = version_of(b"{}")

        def under(scope: Any, run: Callable[[str], Any]) -> None:
            acquired = store.acquire(scope, 1000, 0)
            if isinstance(acquired, Acquired):
                try:
                    run(acquired.grant.lease)
                finally:
                    store.release(acquired.grant.lease)

        for step in (
            lambda: store.load("vault", None),
            lambda: under(document, lambda lease: store.store("vault", "{ }", vault, True, lease)),
            lambda: under(GRANT, lambda _: store.store("vault.lazaretto", "rt-secret", None, True, None)),
            lambda: store.store("vault.lazaretto", "rt-2", version_of(b"rt-secret"), False, None),
            lambda: store.store("vault.lazaretto-sealed", "rt-secret", None, True, None),
            lambda: store.list(""),
        ):
            try:
                step()
            except StorageError:
                pass

    def check(self, when: object) -> None:
        assert names(self.elsewhere) == [], when
        for path in self.base.rglob("*"):
            if path not in (self.base, self.home, self.exchanged, self.link):
                assert path.lstat().st_uid == 0, f"{path} was given away, {when}"


# All that may be given a path; what works on an open file sees no difference.
CALLS = ("open", "stat", "lstat", "mkdir", "rmdir", "rename", "unlink", "readlink", "scandir", "chown", "lchown", "chmod", "utime")


@pytest.mark.parametrize("what", ["locks", "folder", "tool"])
@pytest.mark.parametrize("returns", [False, True])
def test_no_exchange_between_two_steps_leads_elsewhere(open_path: Path, monkeypatch: Any, what: str, returns: bool) -> None:
    """The exchange comes before the first step of all work, then before the second, and so on; or
    for one step only."""
    need_root()
    monkeypatch.setattr(os, "fsync", lambda _: None)
    count, at, stage = 0, -1, Stage(open_path, what)

    def hooked(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            nonlocal count
            count += 1
            is_now = count - 1 == at
            if is_now:
                stage.exchange()
            try:
                return real(*arguments, **named)
            finally:
                if is_now and returns:
                    stage.exchange()

        return call

    steps = 1
    while at < steps:
        with monkeypatch.context() as patched:
            for name in CALLS:
                patched.setattr(os, name, hooked(getattr(os, name)))
            count = 0
            stage.work()
            steps = max(steps, count)
        stage.check(f"exchanged at step {at} of {count}")
        at, stage = at + 1, Stage(open_path, what)
    assert steps > 100


@pytest.mark.parametrize("what", ["locks", "folder", "tool"])
def test_a_stranger_who_exchanges_folders_all_the_time_gets_nothing(open_path: Path, what: str) -> None:
    need_root()
    stage = Stage(open_path, what)
    reading, writing = os.pipe()
    stranger = os.fork()
    if stranger == 0:
        try:
            os.setgroups([])
            os.setresgid(STRANGER, STRANGER, STRANGER)
            os.setresuid(STRANGER, STRANGER, STRANGER)
            os.write(writing, b"x")
            while True:
                stage.exchange()
        finally:
            os._exit(1)
    try:
        assert os.read(reading, 1) == b"x"
        for at in range(100):
            stage.work()
            assert names(stage.elsewhere) == [], at
        assert os.waitpid(stranger, os.WNOHANG) == (0, 0), "it ended by itself"
    finally:
        os.kill(stranger, signal.SIGKILL)
        os.waitpid(stranger, 0)
        os.close(reading), os.close(writing)
    if stage.exchanged.is_symlink():
        stage.exchange()
    stage.check("at its end")


def test_without_handles_that_only_name_links_are_no_less_refused(open_path: Path, monkeypatch: Any) -> None:
    """As on macOS, which has no O_PATH."""
    monkeypatch.setattr(_folder, "_PATH", 0)
    (open_path / "real").mkdir()
    (open_path / "real/auth.json").write_text("{}")
    (open_path / "link").symlink_to("real")
    store = storage(open_path / "link")
    assert isinstance(store.load("vault", None), Loaded)
    assert isinstance(store.store("vault", "{ }", version_of(b"{}"), True, None), Stored)
    (open_path / "real/auth.json.lazaretto").symlink_to("../beside")
    assert isinstance(store.store("vault.lazaretto", "x", None, True, None), Stored)
    assert (open_path / "beside").read_text() == "x" and (open_path / "real/auth.json.lazaretto").is_symlink()
    real = os.readlink

    def another(name: str, **where: Any) -> str:
        text = real(name, **where)
        (open_path / "link").unlink()
        (open_path / "link").symlink_to("real")
        (open_path / "used").touch()  # takes the inode number that became free
        return text

    monkeypatch.setattr(os, "readlink", another)
    (open_path / "kept").touch()
    os.link(open_path / "link", open_path / "keeps its inode", follow_symlinks=False)
    assert refusal(lambda: storage(open_path / "link").load("vault", None)).code == "unavailable"


# F1b. A folder that is moved takes along what is under way in it.


def test_a_lease_holds_its_folder_wherever_it_is_moved(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    (old / "auth.json").write_text("{}")
    store = storage(old)
    grant = store.acquire(GRANT, 1000, 0)
    document = store.acquire(DocumentScope("vault"), 1000, 0)
    assert isinstance(grant, Acquired) and isinstance(document, Acquired)
    old.rename(new)
    assert isinstance(store.store("vault.lazaretto", "ledger", None, True, None), Stored)
    assert isinstance(store.store("vault", "{ }", version_of(b"{}"), True, document.grant.lease), Stored)
    assert isinstance(store.store("vault.lazaretto-sealed", "s", None, True, None), Stored)
    assert isinstance(store.load("vault", None), Loaded) and isinstance(store.load("vault.lazaretto", None), Loaded)
    assert "vault" in store.list("vault")
    store.release(document.grant.lease)
    assert isinstance(store.store("vault", "{  }", version_of(b"{ }"), True, None), Stored), "the grant's lease is held yet"
    store.release(grant.grant.lease)
    assert not old.exists() and (new / "auth.json").read_text() == "{  }"
    assert (new / "auth.json.lazaretto").read_text() == "ledger" and (new / "auth.json.lazaretto-sealed").read_text() == "s"
    assert store.load("vault", None) == ABSENT, "without a lease the path leads"


def test_another_thread_s_lease_leads_nobody_astray(tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.mkdir()
    (old / "auth.json").write_text("{}")
    store = storage(old)
    taken = threading.Thread(target=lambda: store.acquire(GRANT, 1000, 0))
    taken.start()
    taken.join()
    old.rename(tmp_path / "new")
    assert store.load("vault", None) == ABSENT


def test_a_vault_that_is_moved_during_an_exchange_has_the_successor(tmp_path: Path, server: Server) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    home = Home(old, server)
    home.providers = home.providers.rename(tmp_path / "providers.json")
    server.script = [lambda handler: (old.rename(new), handler.reply(*server.rotate({"refresh_token": "rt-0"})))]
    with home.keeper() as keeper:
        token = keeper.token("acme")
    assert (token.token, token.warning, token.unsaved) == ("at-1", None, None)
    assert not old.exists()
    home.vault = new / "auth.json"
    assert home.tokens()["refresh_token"] == "rt-1" and not (new / "auth.json.lazaretto-sealed").exists()
    with home.keeper() as keeper:
        assert keeper.refresh("acme").token == "at-2"
    assert [request["refresh_token"] for request in server.requests] == ["rt-0", "rt-1"]


def test_no_handle_is_left_open(tmp_path: Path) -> None:
    (tmp_path / "auth.json").write_text("{}")
    (tmp_path / "auth.json.lazaretto-pool").symlink_to("loop")
    (tmp_path / "loop").symlink_to("loop")
    store = storage(tmp_path)

    def work() -> None:
        for scope in (GRANT, DocumentScope("vault")):
            acquired = store.acquire(scope, 1000, 0)
            assert isinstance(acquired, Acquired)
            assert isinstance(store.store("vault.lazaretto-sealed", "s", None, True, None), Stored)
            (tmp_path / "auth.json.lazaretto-sealed").unlink()
            assert refusal(lambda: store.load("vault.lazaretto-pool", None)).code == "unsafe"
            store.release(acquired.grant.lease)
        assert refusal(lambda: storage(tmp_path / "auth.json/x").load("vault", None)).code == "other"

    def count() -> int:
        gc.collect()  # an exception that was caught holds its frames, and they it
        return len(os.listdir("/dev/fd"))

    work()
    before = count()
    for _ in range(20):
        work()
    assert count() == before
