"""Each storage of this package keeps the rules of ``wit/storage.wit``: the cases of
``tests/conformance/storage/cases.json``, which other languages run too."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Callable, Dict, List

import pytest

from lazaretto.storage import (
    ABSENT,
    UNCHANGED,
    Acquired,
    Busy,
    Document,
    DocumentScope,
    Durability,
    FileStorage,
    GrantScope,
    Loaded,
    MemoryStorage,
    Stale,
    Storage,
    StorageError,
    Stored,
    StoreOutcome,
)

PACKAGE = Path(__file__).parent.parent
CASES = PACKAGE.parent.parent / "tests" / "conformance" / "storage" / "cases.json"
VAULT = DocumentScope("vault")
GRANT = GrantScope("vault", "0123456789abcdef" * 2)


class Files:
    """A vault file in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "vault.json"

    def open(self) -> Storage:
        return FileStorage(self.path)

    reopen = open

    def crash(self, scope: str) -> None:
        """Takes a lease in a process that is then killed."""
        code = (
            "import sys; from lazaretto.storage import *\n"
            f"storage = FileStorage({str(self.path)!r})\n"
            f"taken = storage.acquire({scope}, 60_000, 10_000)\n"
            "print(type(taken).__name__, flush=True); sys.stdin.read()"
        )
        child = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=PACKAGE
        )
        assert child.stdout is not None and child.stdout.readline() == "Acquired\n"
        child.kill()
        child.communicate()


class Memory:
    """One value, which ends with its process."""

    def __init__(self, folder: Path) -> None:
        self._storage = MemoryStorage()

    def open(self) -> Storage:
        return self._storage

    reopen = open


@pytest.fixture(params=[Memory, Files])
def world(request: Any, tmp_path: Path) -> Any:
    return request.param(tmp_path)


def stored(outcome: StoreOutcome) -> str:
    assert isinstance(outcome, Stored)
    return outcome.version


def document(storage: Storage, name: str = "vault") -> Document:
    found = storage.load(name, None)
    assert isinstance(found, Loaded)
    return found.document


def code_of(call: Callable[[], Any]) -> str:
    with pytest.raises(StorageError) as raised:
        call()
    return raised.value.code


def lease_on(storage: Storage, scope: Any = VAULT) -> str:
    taken = storage.acquire(scope, 60_000, 10_000)
    assert isinstance(taken, Acquired)
    return taken.grant.lease


def an_absent_document_is_absent(world: Any) -> None:
    storage = world.open()
    assert storage.load("vault", None) == ABSENT
    assert storage.load("vault", "known") == ABSENT


def a_stored_text_is_loaded_with_its_version(world: Any) -> None:
    storage = world.open()
    version = stored(storage.store("vault", "{}", None, True, None))
    assert document(storage) == Document(version, "{}")


def any_text_comes_back_as_it_was(world: Any) -> None:
    storage = world.open()
    version = None
    for text in ("", "\ufeff{}\r\n", "a\nb\n", "é𝄞\u2028", "x" * 100_000):
        version = stored(storage.store("vault", text, version, True, None))
        assert document(storage).text == text


def a_known_version_is_unchanged(world: Any) -> None:
    storage = world.open()
    version = stored(storage.store("vault", "{}", None, True, None))
    assert storage.load("vault", version) == UNCHANGED


def an_old_version_loads_the_document(world: Any) -> None:
    storage = world.open()
    first = stored(storage.store("vault", "1", None, True, None))
    second = stored(storage.store("vault", "2", first, True, None))
    assert storage.load("vault", first) == Loaded(Document(second, "2"))


def no_two_texts_have_one_version(world: Any) -> None:
    storage = world.open()
    version = None
    seen: Dict[str, str] = {}
    for text in ("1", "2", "3", "1", "4"):
        version = stored(storage.store("vault", text, version, True, None))
        assert seen.setdefault(version, text) == text


def a_name_outside_the_grammar_is_refused(world: Any) -> None:
    storage = world.open()
    for name in ("", "../x", "a/../b", "/etc/passwd", "Vault", "a//b", "a\nb", "a b", "vault\0"):
        assert code_of(lambda: storage.load(name, None)) == "invalid-name"
        assert code_of(lambda: storage.store(name, "", None, True, None)) == "invalid-name"
        assert code_of(lambda: storage.acquire(DocumentScope(name), 1, 0)) == "invalid-name"


def expected_none_stores_only_what_is_absent(world: Any) -> None:
    storage = world.open()
    version = stored(storage.store("vault", "1", None, True, None))
    assert storage.store("vault", "2", None, True, None) == Stale(Document(version, "1"))
    assert document(storage).text == "1"


def a_stale_store_writes_nothing(world: Any) -> None:
    storage = world.open()
    first = stored(storage.store("vault", "1", None, True, None))
    second = stored(storage.store("vault", "2", first, True, None))
    assert storage.store("vault", "3", first, True, None) == Stale(Document(second, "2"))
    assert document(storage) == Document(second, "2")


def a_stale_store_of_an_absent_document_carries_nothing(world: Any) -> None:
    storage = world.open()
    assert storage.store("vault", "1", "some-version", True, None) == Stale(None)
    assert storage.load("vault", None) == ABSENT


def of_two_stores_at_one_version_one_wins(world: Any) -> None:
    storage = world.open()
    version = stored(storage.store("vault", "0", None, True, None))
    outcomes: List[StoreOutcome] = []

    def store(text: str) -> None:
        outcomes.append(world.open().store("vault", text, version, True, None))

    threads = [threading.Thread(target=store, args=(str(at),)) for at in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Stale", "Stale", "Stale", "Stored"]


def a_durable_store_survives_reopen(world: Any) -> None:
    version = stored(world.open().store("vault", "kept", None, True, None))
    assert document(world.reopen()) == Document(version, "kept")


def a_store_that_need_not_be_durable_survives_reopen(world: Any) -> None:
    storage = world.open()
    first = stored(storage.store("vault.lazaretto", "1", None, True, None))
    version = stored(storage.store("vault.lazaretto", "2", first, False, None))
    assert document(world.reopen(), "vault.lazaretto") == Document(version, "2")


def a_store_under_its_lease_takes_no_lock(world: Any) -> None:
    storage = world.open()
    lease = lease_on(storage)
    version = stored(storage.store("vault", "1", None, True, lease))
    stored(storage.store("vault", "2", version, True, lease))


def a_lease_keeps_other_stores_out(world: Any) -> None:
    """However late the other thread begins: its store ends after the holder's, and is stale."""
    storage = world.open()
    first = stored(storage.store("vault", "1", None, True, None))
    lease = lease_on(storage)
    outcomes: List[StoreOutcome] = []
    other = threading.Thread(
        target=lambda: outcomes.append(world.open().store("vault", "theirs", first, True, None))
    )
    other.start()
    second = stored(storage.store("vault", "ours", first, True, lease))
    storage.release(lease)
    other.join()
    assert outcomes == [Stale(Document(second, "ours"))]


def a_lease_on_another_document_permits_no_store(world: Any) -> None:
    storage = world.open()
    for scope in (DocumentScope("settings.json"), GRANT):
        lease = lease_on(storage, scope)
        assert code_of(lambda: storage.store("vault", "1", None, True, lease)) == "invalid-lease"
        storage.release(lease)
    assert storage.load("vault", None) == ABSENT


def a_released_lease_permits_no_store(world: Any) -> None:
    storage = world.open()
    lease = lease_on(storage)
    storage.release(lease)
    assert code_of(lambda: storage.store("vault", "1", None, True, lease)) == "invalid-lease"


def a_document_lease_excludes_every_other(world: Any) -> None:
    storage = world.open()
    lease_on(storage)
    assert isinstance(storage.acquire(VAULT, 1_000, 0), Busy)
    assert isinstance(world.open().acquire(VAULT, 1_000, 0), Busy)
    assert isinstance(world.open().acquire(DocumentScope("settings.json"), 1_000, 0), Acquired)


def a_grant_lease_excludes_every_other(world: Any) -> None:
    storage = world.open()
    lease_on(storage, GRANT)
    assert isinstance(storage.acquire(GRANT, 1_000, 0), Busy)
    assert isinstance(world.open().acquire(GRANT, 1_000, 0), Busy)


def a_grant_lease_leaves_the_document_free(world: Any) -> None:
    storage = world.open()
    lease_on(storage, GRANT)
    stored(storage.store("vault", "1", None, True, lease_on(storage)))


def a_fingerprint_outside_the_grammar_is_refused(world: Any) -> None:
    storage = world.open()
    for fingerprint in ("", "rt-secret", "0" * 31, "0" * 33, "A" * 32):
        with pytest.raises(StorageError) as raised:
            storage.acquire(GrantScope("vault", fingerprint), 1_000, 0)
        assert not fingerprint or fingerprint not in raised.value.message


def a_released_lease_is_free(world: Any) -> None:
    storage = world.open()
    for scope in (VAULT, GRANT):
        storage.release(lease_on(storage, scope))
        lease_on(world.open(), scope)


def an_unknown_lease_releases_nothing(world: Any) -> None:
    storage = world.open()
    lease = lease_on(storage)
    world.open().release("no-such-lease")
    storage.release("no-such-lease")
    assert isinstance(world.open().acquire(VAULT, 1_000, 0), Busy)
    stored(storage.store("vault", "1", None, True, lease))


def the_holder_is_told_and_keeps_its_lease(world: Any) -> None:
    storage = world.open()
    for scope in (VAULT, GRANT):
        lease = lease_on(storage, scope)
        assert world.open().holder_of(scope) is not None
        assert isinstance(world.open().acquire(scope, 1_000, 0), Busy)
        storage.release(lease)


def nobody_holds_a_free_lease(world: Any) -> None:
    storage = world.open()
    for scope in (VAULT, GRANT):
        assert storage.holder_of(scope) is None
        storage.release(lease_on(storage, scope))
        assert world.open().holder_of(scope) is None


def a_holder_that_ended_holds_nothing(world: Any) -> None:
    if not hasattr(world, "crash"):
        return  # nothing is left of a memory whose holder crashed
    for scope, spelled in ((VAULT, "DocumentScope('vault')"), (GRANT, repr(GRANT))):
        world.crash(spelled)
        storage = world.reopen()
        assert storage.holder_of(scope) is None
        storage.release(lease_on(storage, scope))


def list_names_what_begins_with_the_prefix(world: Any) -> None:
    storage = world.open()
    assert storage.list("") == []
    for name in ("vault", "vault.lazaretto", "settings.json"):
        stored(storage.store(name, "{}", None, True, None))
    assert sorted(storage.list("vault")) == ["vault", "vault.lazaretto"]
    assert sorted(storage.list("")) == ["settings.json", "vault", "vault.lazaretto"]


def describe_promises_what_reopen_shows(world: Any) -> None:
    storage = world.open()
    stored(storage.store("vault", "1", None, True, None))
    is_kept = isinstance(world.reopen(), FileStorage)
    assert (storage.describe().durability is not Durability.NONE) == is_kept


CHECKS: Dict[str, Callable[[Any], None]] = {
    check.__name__.replace("_", "-"): check
    for check in (
        an_absent_document_is_absent,
        a_stored_text_is_loaded_with_its_version,
        any_text_comes_back_as_it_was,
        a_known_version_is_unchanged,
        an_old_version_loads_the_document,
        no_two_texts_have_one_version,
        a_name_outside_the_grammar_is_refused,
        expected_none_stores_only_what_is_absent,
        a_stale_store_writes_nothing,
        a_stale_store_of_an_absent_document_carries_nothing,
        of_two_stores_at_one_version_one_wins,
        a_durable_store_survives_reopen,
        a_store_that_need_not_be_durable_survives_reopen,
        a_store_under_its_lease_takes_no_lock,
        a_lease_keeps_other_stores_out,
        a_lease_on_another_document_permits_no_store,
        a_released_lease_permits_no_store,
        a_document_lease_excludes_every_other,
        a_grant_lease_excludes_every_other,
        a_grant_lease_leaves_the_document_free,
        a_fingerprint_outside_the_grammar_is_refused,
        a_released_lease_is_free,
        an_unknown_lease_releases_nothing,
        the_holder_is_told_and_keeps_its_lease,
        nobody_holds_a_free_lease,
        a_holder_that_ended_holds_nothing,
        list_names_what_begins_with_the_prefix,
        describe_promises_what_reopen_shows,
    )
}


@pytest.mark.parametrize("name", CHECKS)
def test_the_storage_keeps_its_contract(name: str, world: Any) -> None:
    CHECKS[name](world)


@pytest.mark.skipif(not CASES.is_file(), reason="the list is in the repository")
def test_every_case_of_the_list_is_run() -> None:
    listed = [case["name"] for case in json.loads(CASES.read_text())["cases"]]
    assert sorted(CHECKS) == sorted(listed)
