"""The file store, rule by rule of docs/file-store.md."""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, List, Optional, Tuple

import pytest

from lazaretto.storage import (
    ABSENT,
    UNCHANGED,
    UNKNOWN,
    Acquired,
    Busy,
    DocumentScope,
    FileStorage,
    GrantScope,
    MemoryStorage,
    Loaded,
    Stale,
    StorageError,
    Stored,
    version_of,
)
from lazaretto.storage import _folder, _heartbeat, _other_tools, _replace, _text, _unsynced, _safe_path
from lazaretto.storage._temporary import pid_in

FINGERPRINT = "ff" + "0" * 30


def storage(folder: Path, name: str = "auth.json", **more: Any) -> FileStorage:
    found = FileStorage(folder / name, **more)
    found._store_wait_s = 0.05
    return found


def tool(folder: Path, name: str) -> Tuple[FileStorage, List[Path], int]:
    """Returns a vault of another tool, what that locks, and the virtual time of the storage."""
    now_s = 1_800_000_000
    path = folder.resolve() / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("{}")
    found = storage(folder, name)
    found._now_ns = lambda: now_s * 10**9
    return found, [Path(mark.path) for mark in _other_tools.marks(_safe_path.walk(str(path)), None)], now_s


def code_of(call: Any) -> str:
    with pytest.raises(StorageError) as raised:
        call()
    return raised.value.code


def version(found: Any) -> str:
    assert isinstance(found, Loaded)
    return found.document.version


def text(found: Any) -> Optional[str]:
    return found.document.text if isinstance(found, Loaded) else None


def grant(acquired: Any) -> str:
    assert isinstance(acquired, Acquired)
    return acquired.grant.lease


def test_a_version_is_the_first_half_of_the_sha256() -> None:
    assert version_of(b"abc") == "ba7816bf8f01cfea414140de5dae2223"


def test_a_store_is_a_compare_and_swap(tmp_path: Path) -> None:
    store = storage(tmp_path / "new" / "er")
    assert store.load("vault", None) == ABSENT
    one = store.store("vault", "one", None, True, None)
    assert one == Stored(version_of(b"one"))
    assert store.store("vault", "two", None, True, None) == Stale(store.load("vault", None).document)  # type: ignore[union-attr]
    assert store.store("vault", "two", version_of(b"one"), True, None) == Stored(version_of(b"two"))
    assert isinstance(store.store("vault", "three", version_of(b"one"), False, None), Stale)
    assert text(storage(tmp_path / "new" / "er").load("vault", None)) == "two"
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "new/er/auth.json").stat().st_mode & 0o777 == 0o600
    assert stat.S_IMODE((tmp_path / "new/er/auth.json.lazaretto-locks").stat().st_mode) == 0o700
    assert sorted(path.name for path in (tmp_path / "new/er").iterdir()) == ["auth.json", "auth.json.lazaretto-locks", "auth.lock"]


def test_each_document_lies_where_the_page_says(tmp_path: Path) -> None:
    store = storage(tmp_path, providers=tmp_path / "profiles" / "mine.json")
    for name, file in {
        "vault": "auth.json",
        "vault.lazaretto": "auth.json.lazaretto",
        "vault.lazaretto-sealed": "auth.json.lazaretto-sealed",
        "vault.lazaretto-pool": "auth.json.lazaretto-pool",
        "settings.json": "auth.json.lazaretto-settings.json",
        "providers.json": "profiles/mine.json",
    }.items():
        assert isinstance(store.store(name, name, None, True, None), Stored)
        assert (tmp_path / file).read_text() == name
    assert sorted(store.list("vault")) == ["vault", "vault.lazaretto", "vault.lazaretto-pool", "vault.lazaretto-sealed"]
    assert (tmp_path / "profiles/mine.json.lazaretto-locks/document-profiles").exists()
    assert code_of(lambda: store.load("other", None)) == "unsupported"
    assert code_of(lambda: storage(tmp_path).store("providers.json", "", None, True, None)) == "unsupported"
    assert storage(tmp_path).load("providers.json", None) == ABSENT
    for name in ("..", "../a", "/a", "a//b", "A", "", "a\n", "vault\0", "t\u00fcr"):
        assert code_of(lambda: store.load(name, None)) == "invalid-name"  # noqa: B023


def test_where_the_vault_lies_and_what_is_stated_of_it_is_a_document(tmp_path: Path) -> None:
    vault, providers = tmp_path / "auth.json", tmp_path / "it's mine.json"
    for more, said in [
        ({}, {"layout": None, "command": f"lazaretto --vault {vault}", "login_hint": None}),
        (
            {"layout": "codex", "providers": providers},
            {
                "layout": "codex",
                "command": f"lazaretto --vault {vault} --layout codex --providers {shlex.quote(str(providers))}",
                "login_hint": None,
            },
        ),
        (
            {"command": "acme auth", "login_hint": "acme login {provider}"},
            {"layout": None, "command": "acme auth", "login_hint": "acme login {provider}"},
        ),
    ]:
        store = storage(tmp_path, **more)
        found = store.load("vault.lazaretto-place", None)
        assert json.loads(text(found) or "") == {"path": str(vault), **said}
        assert store.load("vault.lazaretto-place", version(found)) == UNCHANGED
        assert code_of(lambda: store.store("vault.lazaretto-place", "", None, True, None)) == "unsupported"  # noqa: B023
    other = tmp_path / "other.json"
    other.write_text("{}")
    found = storage(tmp_path, also=[other], shared_logins=tmp_path / "none").load("also/0.lazaretto-place", None)
    assert json.loads(text(found) or "")["path"] == str(other)


def test_a_stat_proves_unchanged_only_after_two_seconds(
    tmp_path: Path, monkeypatch: Any
) -> None:
    """Unchanged is answered by a stat only when the stamps are older than two seconds."""
    store = storage(tmp_path)
    (tmp_path / "auth.json").write_text("one")
    known = version(store.load("vault", None))
    assert store._seen == {}, "too young to be a proof"
    later = time.time_ns() + 3_000_000_000
    monkeypatch.setattr(_text.time, "time_ns", lambda: later)
    assert store.load("vault", known) == UNCHANGED
    monkeypatch.setattr(_text, "_read_once", lambda *_: pytest.fail("it is read again"))
    assert store.load("vault", known) == UNCHANGED
    monkeypatch.undo()
    os.utime(tmp_path / "auth.json", (1, 1))
    (tmp_path / "auth.json").write_text("two")
    os.utime(tmp_path / "auth.json", (1, 1))
    assert text(store.load("vault", known)) == "two", "nobody can set the change time"


def test_an_empty_file_is_a_document_and_a_strange_one_has_its_code(tmp_path: Path) -> None:
    store = storage(tmp_path)
    vault = tmp_path / "auth.json"
    vault.write_text("")
    assert text(store.load("vault", None)) == ""
    vault.write_bytes(b"{\xff}")
    with pytest.raises(StorageError) as raised:
        store.load("vault", None)
    assert raised.value.code == "corrupt" and "offset 1" in raised.value.message
    with open(vault, "wb") as file:
        file.truncate(_text.MAX_BYTES + 1)
    assert code_of(lambda: store.load("vault", None)) == "too-large"
    vault.unlink()
    vault.mkdir()
    assert code_of(lambda: store.load("vault", None)) == "unsupported"
    vault.rmdir()
    os.mkfifo(vault)
    assert code_of(lambda: store.load("vault", None)) == "unsupported"
    assert code_of(lambda: store.store("vault.lazaretto", "x" * (_text.MAX_BYTES + 1), None, True, None)) in (
        "too-large",
        "unsupported",
    )


def test_a_replaced_file_keeps_the_rights_of_owner_and_group(tmp_path: Path) -> None:
    vault = tmp_path / "auth.json"
    for before, after in ((0o644, 0o640), (0o660, 0o660), (0o606, 0o600), (0o700, 0o700), (0o400, 0o600), (0o4755, 0o750)):
        vault.write_text("{}")
        vault.chmod(before)
        assert isinstance(storage(tmp_path).store("vault", "{ }", version_of(b"{}"), True, None), Stored)
        assert vault.stat().st_mode & 0o7777 == after
        vault.unlink()


def test_nothing_is_written_beside_a_host_that_cannot_flock(tmp_path: Path) -> None:
    store = storage(tmp_path)
    (tmp_path / "auth.json").write_text("{}")
    theirs = tmp_path / "auth.json.lazaretto-wasi"
    theirs.mkdir()
    assert code_of(lambda: store.store("vault", "[]", version_of(b"{}"), True, None)) == "unsupported"
    assert code_of(lambda: store.acquire(GrantScope("vault", FINGERPRINT), 1000, 0)) == "unsupported"
    assert text(store.load("vault", None)) == "{}"
    assert not (tmp_path / "auth.json.lazaretto-locks").exists()
    theirs.rmdir()
    assert store.store("vault", "[]", version_of(b"{}"), True, None) == Stored(version_of(b"[]"))


def test_leases_exclude_each_other_and_name_their_holder(tmp_path: Path) -> None:
    one, two = storage(tmp_path), storage(tmp_path)
    document = DocumentScope("vault")
    lease = grant(one.acquire(document, 1000, 0))
    for other in (one, two):
        busy = other.acquire(document, 1000, 20)
        assert isinstance(busy, Busy) and busy.holder.name.startswith(f"pid {os.getpid()}")
    assert code_of(lambda: two.store("vault", "x", None, True, None)) == "unavailable"
    assert code_of(lambda: two.store("vault", "x", None, True, lease)) == "invalid-lease"
    assert code_of(lambda: one.store("vault.lazaretto", "x", None, True, lease)) == "invalid-lease"
    assert isinstance(one.store("vault", "x", None, True, lease), Stored)
    one.release(lease)
    two.release(grant(two.acquire(document, 1000, 0)))
    assert (tmp_path / "auth.json.lazaretto-locks/document-vault").read_bytes() == b""


def test_a_grant_s_lock_is_the_low_six_bits_of_its_first_byte(tmp_path: Path) -> None:
    store = storage(tmp_path)
    lease = grant(store.acquire(GrantScope("vault", FINGERPRINT), 1000, 0))
    locks = tmp_path / "auth.json.lazaretto-locks"
    assert [path.name for path in locks.iterdir()] == ["3f"]
    hint = json.loads((locks / "3f").read_text())
    assert hint["pid"] == os.getpid() and hint["since_ms"] > 1_700_000_000_000
    assert isinstance(store.acquire(GrantScope("vault", "3f" + "0" * 30), 1000, 0), Busy), "it shares the file"
    grant(store.acquire(GrantScope("vault", "00" + "0" * 30), 1000, 0))
    store.release(lease)
    assert code_of(lambda: store.acquire(GrantScope("vault", "rt-secret"), 1, 0)) == "other"
    assert code_of(lambda: store.acquire(GrantScope("vault.lazaretto", FINGERPRINT), 1, 0)) == "unsupported"


def test_the_reference_s_lock_is_taken_and_never_written(tmp_path: Path) -> None:
    """The reference's lock is taken with a document lease and never written."""
    (tmp_path / "auth.lock").write_text("theirs")
    store = storage(tmp_path)
    with open(tmp_path / "auth.lock", "rb+") as theirs:
        fcntl.flock(theirs, fcntl.LOCK_EX)
        busy = store.acquire(DocumentScope("vault"), 1, 20)
        assert isinstance(busy, Busy) and busy.holder.name == f"a program that holds {tmp_path / 'auth.lock'}"
        grant(store.acquire(GrantScope("vault", FINGERPRINT), 1, 0))
        assert isinstance(store.store("vault.lazaretto", "", None, True, None), Stored)
        fcntl.flock(theirs, fcntl.LOCK_UN)
        lease = grant(store.acquire(DocumentScope("vault"), 1, 0))
        with pytest.raises(BlockingIOError):
            fcntl.flock(theirs, fcntl.LOCK_EX | fcntl.LOCK_NB)
        store.release(lease)
        fcntl.flock(theirs, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert (tmp_path / "auth.lock").read_text() == "theirs"
    assert storage(tmp_path).describe().excludes_foreign
    assert storage(tmp_path, "other.json").describe().excludes_foreign
    assert not storage(tmp_path, foreign_lock=False).describe().excludes_foreign


@pytest.mark.parametrize("name, limit_s", [(".qwen/oauth_creds.json", 35), (".claude/.credentials.json", 60)])
def test_other_tools_locks_are_made_and_stale_ones_removed(tmp_path: Path, name: str, limit_s: int) -> None:
    """Other tools' locks are made and removed and a stale one is taken away."""
    store, paths, now_s = tool(tmp_path, name)
    lease = grant(store.acquire(DocumentScope("vault"), 1, 0))
    assert all(path.exists() and int(path.stat().st_mtime) == now_s for path in paths)
    assert isinstance(tool(tmp_path, name)[0].acquire(DocumentScope("vault"), 1, 0), Busy)
    store.release(lease)
    assert not any(path.exists() for path in paths)
    for path in paths:
        path.mkdir() if name.startswith(".claude") else path.touch()
        for age_s in (0, limit_s, -5):
            os.utime(path, (now_s - age_s, now_s - age_s))
            assert isinstance(store.acquire(DocumentScope("vault"), 1, 0), Busy)
        os.utime(path, (now_s - limit_s - 1, now_s - limit_s - 1))
        store.release(grant(store.acquire(DocumentScope("vault"), 1, 0)))
        assert not path.exists() and not list(path.parent.glob("*.stale.*"))


def test_a_tools_lock_from_the_future_ends_after_its_limit(tmp_path: Path) -> None:
    """A tool's lock with a time in the future ends when it was seen unchanged for its limit."""
    store, (path, _), now_s = tool(tmp_path, ".claude/.credentials.json")
    path.mkdir()
    os.utime(path, (now_s + 10**6, now_s + 10**6))
    for later_s in (0, 60):
        store._now_ns = lambda: (now_s + later_s) * 10**9
        assert isinstance(store.acquire(DocumentScope("vault"), 1, 0), Busy)
    os.utime(path, (now_s + 10**6 + 5, now_s + 10**6 + 5))  # it lives
    for later_s in (61, 121, 10, 70):
        store._now_ns = lambda: (now_s + later_s) * 10**9
        assert isinstance(store.acquire(DocumentScope("vault"), 1, 0), Busy)
    store._now_ns = lambda: (now_s + 71) * 10**9
    store.release(grant(store.acquire(DocumentScope("vault"), 1, 0)))
    assert not path.exists()


def test_what_a_killed_process_made_is_removed_at_once(tmp_path: Path) -> None:
    """What a killed process made is known again and taken away at once."""
    store, paths, _ = tool(tmp_path, ".claude/.credentials.json")
    script = "import sys, os, signal; from lazaretto.storage import *; s = FileStorage(sys.argv[1]); s.acquire(DocumentScope('vault'), 1, 0)"
    kill = "; os.kill(os.getpid(), signal.SIGKILL)"
    for _ in range(2):
        ended = subprocess.run([sys.executable, "-c", script + kill, str(tmp_path / ".claude/.credentials.json")])
        assert ended.returncode == -9 and all(path.exists() and not list(path.iterdir()) for path in paths)
        store.release(grant(store.acquire(DocumentScope("vault"), 1, 0)))
        assert not any(path.exists() for path in paths)
    subprocess.run([sys.executable, "-c", script + kill, str(tmp_path / ".claude/.credentials.json")])
    os.utime(paths[0])  # another program's sign of life in that place
    store._now_ns = time.time_ns
    assert isinstance(store.acquire(DocumentScope("vault"), 1, 0), Busy)


def test_a_mark_shows_life_and_what_takes_its_place_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "lock").mkdir()
    handle = os.open(tmp_path / "lock", os.O_RDONLY)
    os.utime(handle, (1, 1))
    heartbeat = _heartbeat.Heartbeat([handle], 1001, time.time_ns, every_s=0.001)

    def wait_for_a_sign(after_ns: int) -> None:
        until = time.monotonic() + 60
        while os.fstat(handle).st_mtime_ns <= after_ns:
            assert time.monotonic() < until
            time.sleep(0.001)

    wait_for_a_sign(10**18)
    assert os.fstat(handle).st_mtime_ns % 10**9 == 1001 * 1000
    (tmp_path / "lock").rmdir()
    (tmp_path / "lock").mkdir()
    os.utime(tmp_path / "lock", (7, 7))
    wait_for_a_sign(os.fstat(handle).st_mtime_ns)
    assert (tmp_path / "lock").stat().st_mtime == 7
    heartbeat.end()
    os.close(handle)


@pytest.mark.parametrize(
    "file, content, locks",
    [
        (".claude/.credentials.json", "{}", [".claude/.oauth_refresh.lock", ".claude.lock"]),
        ("else/.credentials.json", '{"claudeAiOauth":{}}', ["else/.oauth_refresh.lock", "else.lock"]),
        (".codex/.credentials.json", '{"linear|1":{"server_name":"linear","access_token":"a"}}', []),
        ("else/.credentials.json", "{}", []),
        ("else/.credentials.json", '{"claudeAiOauth":', []),
        (".qwen/oauth_creds.json", "{}", [".qwen/oauth_creds.lock"]),
        ("q/oauth_creds.json", '{"resource_url":"x"}', ["q/oauth_creds.lock"]),
        (".gemini/oauth_creds.json", '{"scope":"x"}', []),
    ],
)
def test_a_tools_lock_is_never_taken_by_name_alone(
    tmp_path: Path, file: str, content: str, locks: List[str]
) -> None:
    """A tool's lock is taken by place or content and never by name alone."""
    path = tmp_path.resolve() / file
    path.parent.mkdir()
    path.write_text(content)
    assert [mark.path for mark in _other_tools.marks(_safe_path.walk(str(path)), None)] == [str(tmp_path.resolve() / lock) for lock in locks]


def test_a_folder_that_the_environment_names_is_the_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "c").mkdir()
    safe_path = _safe_path.walk(str(tmp_path.resolve() / "c/.credentials.json"))
    assert _other_tools.marks(safe_path, None) == []
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path / "c"))
    assert len(_other_tools.marks(safe_path, None)) == 2


def test_who_waits_for_one_lock_holds_no_other(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "auth.json").write_text("{}")
    (tmp_path / "auth.json").symlink_to("real/auth.json")
    store = storage(tmp_path)
    locks = [tmp_path / "auth.lock", tmp_path / "real" / "auth.lock"]
    for free, held in (locks, locks[::-1]):
        free.touch(), held.touch()
        with open(held, "rb+") as theirs, open(free, "rb+") as other:
            fcntl.flock(theirs, fcntl.LOCK_EX)
            waiting = threading.Thread(target=lambda: store.acquire(DocumentScope("vault"), 1, 300))
            waiting.start()
            for _ in range(20):
                for _ in range(200):
                    try:
                        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        break
                    except BlockingIOError:
                        time.sleep(0.0005)
                else:
                    pytest.fail("the one who waits keeps it")
                fcntl.flock(other, fcntl.LOCK_UN)
                time.sleep(0.001)
            waiting.join()


def test_a_lock_that_was_moved_away_permits_nothing_any_more(tmp_path: Path) -> None:
    store = storage(tmp_path)
    lease = grant(store.acquire(DocumentScope("vault"), 1, 0))
    (tmp_path / "auth.json.lazaretto-locks").rename(tmp_path / "moved")
    assert code_of(lambda: store.store("vault", "x", None, True, lease)) == "unavailable"


def test_a_lock_that_is_a_link_is_refused(tmp_path: Path) -> None:
    locks = tmp_path / "auth.json.lazaretto-locks"
    locks.mkdir()
    (tmp_path / "keep").write_text("keep")
    (locks / "document-vault").symlink_to(tmp_path / "keep")
    assert code_of(lambda: storage(tmp_path).store("vault", "x", None, True, None)) == "unsafe"
    assert (tmp_path / "keep").read_text() == "keep"


def test_a_fork_neither_unlocks_nor_writes_under_its_parent_s_lock(tmp_path: Path) -> None:
    code = (
        "import os, sys; from lazaretto.storage import *\n"
        "store = FileStorage(sys.argv[1]); store._store_wait_s = 0.05\n"
        "lease = store.acquire(DocumentScope('vault'), 1, 0).grant.lease\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    try: store.store('vault', 'x', None, True, lease)\n"
        "    except StorageError as error: print(error.code, flush=True)\n"
        "    store.release(lease); os._exit(0)\n"
        "os.waitpid(child, 0)\n"
        "print(type(FileStorage(sys.argv[1]).acquire(DocumentScope('vault'), 1, 0)).__name__)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "auth.json")]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1])
    assert ran.stdout == "invalid-lease\nBusy\n", ran.stderr


def test_who_holds_a_lease_is_told_without_making_anything(tmp_path: Path) -> None:
    (tmp_path / "auth.json").write_text("{}")
    one, two = storage(tmp_path), storage(tmp_path)
    scope, sibling = GrantScope("vault", FINGERPRINT), GrantScope("vault", "3f" + "0" * 30)
    assert two.holder_of(scope) is None
    assert [path.name for path in tmp_path.iterdir()] == ["auth.json"], "nothing was made"
    assert FileStorage(tmp_path / "nowhere/auth.json").holder_of(scope) is None
    lease = grant(one.acquire(scope, 1000, 0))
    for store in (one, two):
        holder = store.holder_of(scope)
        assert holder is not None and holder.name.startswith(f"pid {os.getpid()}") and holder.since_ms
        assert store.holder_of(sibling) is None, "the same lock, held for another grant"
        assert store.holder_of(DocumentScope("vault")) is None
    assert [path.name for path in (tmp_path / "auth.json.lazaretto-locks").iterdir()] == ["3f"], "nothing was made"
    one.release(lease)
    assert two.holder_of(scope) is None
    assert code_of(lambda: two.holder_of(DocumentScope("../x"))) == "invalid-name"
    (tmp_path / "auth.json.lazaretto-wasi").mkdir()
    assert code_of(lambda: two.holder_of(scope)) == "unsupported", "what holds it there cannot be seen from here"


def test_asking_who_holds_a_lease_keeps_nobody_out(tmp_path: Path) -> None:
    store, scope, is_over = storage(tmp_path), GrantScope("vault", FINGERPRINT), threading.Event()
    store.release(grant(store.acquire(scope, 1, 0)))
    asked: List[int] = []

    def ask() -> None:
        other, count = storage(tmp_path), 0
        while not is_over.is_set():
            other.holder_of(scope)
            count += 1
        asked.append(count)

    asking = [threading.Thread(target=ask) for _ in range(2)]
    for thread in asking:
        thread.start()
    try:
        for _ in range(500):
            store.release(grant(store.acquire(scope, 1, 0)))
    finally:
        is_over.set()
        for thread in asking:
            thread.join()
    assert all(asked)


def test_memory_tells_who_holds_a_lease() -> None:
    store, scope = MemoryStorage(), GrantScope("vault", FINGERPRINT)
    assert store.holder_of(scope) is None
    lease = grant(store.acquire(scope, 1, 0))
    assert store.holder_of(scope) is not None
    store.release(lease)
    assert store.holder_of(scope) is None


def test_a_killed_holder_blocks_nobody(tmp_path: Path) -> None:
    code = (
        "import sys, time; from lazaretto.storage import *\n"
        "store = FileStorage(sys.argv[1]); store.acquire(DocumentScope('vault'), 1, 0); print('held', flush=True); time.sleep(60)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "auth.json")]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[1])
    assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
    store = storage(tmp_path)
    assert isinstance(store.acquire(DocumentScope("vault"), 1, 20), Busy)
    seen = store.holder_of(DocumentScope("vault"))
    assert seen is not None and seen.name.startswith(f"pid {holder.pid}")
    holder.kill()
    holder.wait()
    assert str(holder.pid) in (tmp_path / "auth.json.lazaretto-locks/document-vault").read_text(), "it is left behind"
    assert store.holder_of(DocumentScope("vault")) is None
    grant(store.acquire(DocumentScope("vault"), 1, 1000))


def test_links_are_followed_where_only_we_could_have_put_them(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real/vault.json").write_text("{}")
    (tmp_path / "auth.json").symlink_to("real/vault.json")
    store = storage(tmp_path)
    assert text(store.load("vault", None)) == "{}"
    lease = grant(store.acquire(DocumentScope("vault"), 1, 0))
    assert isinstance(store.store("vault", "{ }", version_of(b"{}"), True, lease), Stored)
    assert (tmp_path / "auth.json").is_symlink() and (tmp_path / "real/vault.json").read_text() == "{ }"
    assert (tmp_path / "auth.lock").exists() and (tmp_path / "real/vault.lock").exists()
    assert (tmp_path / "real/vault.json.lazaretto-locks").is_dir() and not (tmp_path / "auth.json.lazaretto-locks").exists()
    (tmp_path / "other.json").write_text("{}")
    (tmp_path / "auth.json").unlink()
    (tmp_path / "auth.json").symlink_to("other.json")
    assert isinstance(store.store("vault", "{  }", version_of(b"{ }"), True, lease), Stored), "the lease holds its folder"
    assert (tmp_path / "real/vault.json").read_text() == "{  }" and (tmp_path / "other.json").read_text() == "{}"
    store.release(lease)
    assert text(store.load("vault", None)) == "{}", "and without it the link leads"
    (tmp_path / "real").chmod(0o777)
    (tmp_path / "auth.json").unlink()
    (tmp_path / "auth.json").symlink_to("real/vault.json")
    with pytest.raises(StorageError) as raised:
        storage(tmp_path).load("vault", None)
    assert raised.value.code == "unsafe" and "0777" in raised.value.message
    (tmp_path / "loop").symlink_to("loop")
    assert code_of(lambda: _safe_path.walk(str(tmp_path / "loop"))) == "unsafe"
    assert _safe_path.walk(str(tmp_path / "real/../none/at/all")).target == str(tmp_path / "none/at/all")
    assert code_of(lambda: _safe_path.walk(str(tmp_path / "none/../all"))) == "other"


def test_an_unsynced_ledger_counts_if_it_is_whole(tmp_path: Path) -> None:
    """A text that need not be durable lies beside the ledger and counts if it is whole."""
    store, beside = storage(tmp_path), tmp_path / "auth.json.lazaretto.unsynced"
    store.store("vault.lazaretto", "one", None, False, None)
    assert not beside.exists(), "the first text needs a file of its own"
    assert store.store("vault.lazaretto", "two", version_of(b"one"), False, None) == Stored(version_of(b"two"))
    assert beside.read_text() == f"lazaretto-unsynced 1 {version_of(b'one')} {version_of(b'two')}\ntwo"
    assert (tmp_path / "auth.json.lazaretto").read_text() == "one" and text(store.load("vault.lazaretto", None)) == "two"
    whole = beside.read_bytes()
    for torn in (whole[:-1], whole.replace(b"two", b"tw\0"), b"\xff" + whole, b""):
        beside.write_bytes(torn)
        assert text(store.load("vault.lazaretto", None)) == "one"
    # It must not come back when the file below it is at that version again.
    assert isinstance(store.store("vault.lazaretto", "three", version_of(b"one"), True, None), Stored)
    assert not beside.exists()
    store.store("vault.lazaretto", "four", version_of(b"three"), False, None)
    store.store("vault.lazaretto", "five", version_of(b"four"), True, None)
    assert not beside.exists() and (tmp_path / "auth.json.lazaretto").read_text() == "five"
    beside.mkdir()
    assert code_of(lambda: store.load("vault.lazaretto", None)) == "unsupported"
    assert _unsynced.spelled("base", b"x" * _text.MAX_BYTES) is None


def test_leftovers_of_dead_processes_are_removed_and_nothing_else(tmp_path: Path) -> None:
    random = "0123456789abcdef" * 2
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    gone = [f".auth.json.lazaretto-tmp.{dead.pid}.{random}", f".auth.json.lazaretto-tmp.{os.getpid()}.{random}"]
    kept = [f".auth.json.lazaretto-tmp.1.{random}", f".auth.json.lazaretto-tmp.{dead.pid}.{random}.bak", f".auth.json.lazaretto.lazaretto-tmp.{dead.pid}.{random}"]
    for name in gone + kept:
        (tmp_path / name).write_text("rt-secret")
    storage(tmp_path).store("vault", "{}", None, True, None)
    assert [name for name in gone + kept if (tmp_path / name).exists()] == kept
    assert pid_in(f".auth.json.lazaretto-tmp.+17.{random}", "auth.json") is None
    assert pid_in(f".auth.json.lazaretto-tmp.17.{random.upper()}", "auth.json") is None


def test_a_store_that_fails_at_any_step_keeps_the_old_text(tmp_path: Path, monkeypatch: Any) -> None:
    """A store that fails at any step leaves the old text and no temporary file."""
    vault = tmp_path / "auth.json"
    vault.write_text("{}")

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    for module, step in ((_replace.os, "write"), (_replace, "sync"), (_replace.os, "rename"), (_replace.os, "fchmod")):
        vault.chmod(0o700)  # so that the mode must be set
        with monkeypatch.context() as patched:
            patched.setattr(module, step, fail)
            assert code_of(lambda: storage(tmp_path).store("vault", "{ }", version_of(b"{}"), True, None)) == "full", step
        assert vault.read_text() == "{}" and not list(tmp_path.glob(".*")), step
    with monkeypatch.context() as patched:
        patched.setattr(_replace, "sync_dir", fail)
        assert storage(tmp_path).store("vault", "{ }", version_of(b"{}"), True, None) == UNKNOWN
    assert vault.read_text() == "{ }"


def test_a_text_that_somebody_writes_meanwhile_is_not_overwritten(tmp_path: Path, monkeypatch: Any) -> None:
    vault = tmp_path / "auth.json"
    vault.write_text("{}")
    real = _replace.sync

    def sync(handle: int) -> None:
        real(handle)
        vault.write_text("theirs")

    monkeypatch.setattr(_replace, "sync", sync)
    outcome = storage(tmp_path).store("vault", "ours", version_of(b"{}"), True, None)
    assert isinstance(outcome, Stale) and outcome.current is not None and outcome.current.text == "theirs"
    assert vault.read_text() == "theirs" and not list(tmp_path.glob(".*"))


def test_a_store_syncs_file_and_directory_around_the_rename(tmp_path: Path, monkeypatch: Any) -> None:
    """A store syncs the file before and the directory after the rename."""
    steps: List[str] = []
    for module, name in ((_replace, "sync"), (_replace.os, "rename"), (_replace, "sync_dir")):
        real = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *a, real=real, name=name, **more: (steps.append(name), real(*a, **more)) and None)
    (tmp_path / "auth.json").write_text("{}")
    store = storage(tmp_path)
    store.store("vault", "1", version_of(b"{}"), True, None)
    store.store("vault", "2", version_of(b"1"), False, None)
    assert steps == ["sync", "rename", "sync_dir", "sync", "rename"]


def test_a_network_file_system_leases_no_grants_and_promises_less(tmp_path: Path, monkeypatch: Any) -> None:
    from lazaretto.storage import file

    assert _text.network_name(_folder.Folder.root().handle) is None
    monkeypatch.setattr(file, "network_name", lambda handle: "NFS")
    store = storage(tmp_path)
    assert code_of(lambda: store.acquire(GrantScope("vault", FINGERPRINT), 1, 0)) == "unsupported"
    assert store.describe().reads == "may-be-stale"
    assert isinstance(storage(tmp_path, allow_network_filesystem=True).acquire(GrantScope("vault", FINGERPRINT), 1, 0), Acquired)


def test_where_there_is_no_flock_it_says_so_and_the_rest_works() -> None:
    code = (
        "import sys; sys.modules['fcntl'] = None\n"
        "from lazaretto import *; from lazaretto.storage import MemoryStorage\n"
        "try: Keeper('auth.json')\n"
        "except ConfigurationNeeded as error: print(error.code, 'flock' in error.message)\n"
        "print(len(Keeper(storage=MemoryStorage()).origins()) > 9)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[1])
    assert ran.stdout == "unsupported True\nTrue\n", ran.stderr


def test_paths_mean_what_they_meant_at_the_opening(tmp_path: Path, monkeypatch: Any) -> None:
    """A relative path and a tilde mean what they meant when it was opened."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    relative, home = FileStorage("auth.json"), FileStorage("~/auth.json")
    monkeypatch.chdir("/")
    relative.store("vault", "{}", None, True, None)
    assert text(home.load("vault", None)) == "{}"


