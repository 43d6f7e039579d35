"""Before a token is spent, what its successor needs is made ready, or the obstacle is found."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any, List

import pytest
from apart import (
    APPEND_ONLY,
    GRANT,
    IMMUTABLE,
    OTHER,
    STRANGER,
    Attribute,
    bind,
    in_child,
    mount_memory,
    names,
    need_root,
    own,
    refusal,
    storage,
)
from conftest import Home, Server

from lazaretto import InspectionNeeded, Keeper
from lazaretto.storage import Acquired, PrepareCause, PrepareError, Stored, StorageError, version_of
from lazaretto.storage import _prepared


def acquired(folder: Path) -> List[str]:
    """Returns what becomes of a lease on a grant: nothing, or code and message."""
    store = storage(folder)
    try:
        lease = store.acquire(GRANT, 1000, 0)
    except StorageError as error:
        return [error.code, error.message]
    assert isinstance(lease, Acquired)
    store.release(lease.grant.lease)
    return []


def prepared(folder: Path) -> List[str]:
    """Returns why nothing can be made ready, if so."""
    store = storage(folder)
    try:
        lease = store.acquire(GRANT, 1000, 0)
        assert isinstance(lease, Acquired)
    except PrepareError as error:
        return [error.cause.value, error.message]
    except StorageError as error:  # where no lock can be made there is no lease either
        return [error.code, error.message]
    try:
        assert store.prepare("vault", 100, lease.grant.lease) is not None
    except PrepareError as error:
        return [error.cause.value, error.message]
    finally:
        store.release(lease.grant.lease)
    return []


def test_a_store_uses_what_was_prepared_and_leaves_nothing(tmp_path: Path) -> None:
    store = storage(tmp_path)
    lease = store.acquire(GRANT, 1000, 0)
    assert isinstance(lease, Acquired)
    ticket = store.prepare("vault", 100, lease.grant.lease)
    [temporary] = tmp_path.glob(".*")
    inode, size = temporary.stat().st_ino, temporary.stat().st_size
    assert size >= 100 and temporary.stat().st_mode & 0o777 == 0o600
    assert isinstance(store.store("vault", "{}", None, True, None, ticket), Stored)
    assert (tmp_path / "auth.json").read_text() == "{}" and (tmp_path / "auth.json").stat().st_ino == inode
    store.release(lease.grant.lease)
    assert not list(tmp_path.glob(".*"))


def test_what_was_prepared_goes_with_its_lease(tmp_path: Path) -> None:
    store = storage(tmp_path)
    lease = store.acquire(GRANT, 1000, 0)
    assert isinstance(lease, Acquired)
    for _ in range(2):
        assert store.prepare("vault", 100, lease.grant.lease) is not None
    assert len(list(tmp_path.glob(".*"))) == 2
    store.release(lease.grant.lease)
    assert not list(tmp_path.glob(".*"))


def test_another_store_of_the_process_leaves_what_is_prepared(tmp_path: Path) -> None:
    store = storage(tmp_path)
    lease = store.acquire(GRANT, 1000, 0)
    assert isinstance(lease, Acquired)
    ticket = store.prepare("vault", 100, lease.grant.lease)
    [temporary] = tmp_path.glob(".*")
    first = storage(tmp_path).store("vault", "1", None, True, None)
    assert isinstance(first, Stored) and temporary.exists()
    assert isinstance(store.store("vault", "2", first.version, True, None, ticket), Stored)
    assert (tmp_path / "auth.json").read_text() == "2" and not temporary.exists()


def test_a_store_works_although_what_was_prepared_is_gone(tmp_path: Path) -> None:
    store = storage(tmp_path)
    lease = store.acquire(GRANT, 1000, 0)
    assert isinstance(lease, Acquired)
    ticket = store.prepare("vault", 100, lease.grant.lease)
    [temporary] = tmp_path.glob(".*")
    temporary.unlink()
    assert isinstance(store.store("vault", "{}", None, True, None, ticket), Stored)
    assert not list(tmp_path.glob(".*"))


def test_what_a_killed_process_prepared_is_removed_by_a_store(tmp_path: Path) -> None:
    def die() -> List[str]:
        store = storage(tmp_path)
        lease = store.acquire(GRANT, 1000, 0)
        assert isinstance(lease, Acquired)
        store.prepare("vault", 100, lease.grant.lease)
        return [each.name for each in tmp_path.glob(".*")]

    assert len(in_child(die)) == 1
    store = storage(tmp_path)
    assert isinstance(store.store("vault", "{}", None, True, None), Stored)
    assert not list(tmp_path.glob(".*"))


def test_nothing_is_prepared_without_a_lease_that_is_held(tmp_path: Path) -> None:
    store = storage(tmp_path)
    lease = store.acquire(GRANT, 1000, 0)
    assert isinstance(lease, Acquired)
    store.release(lease.grant.lease)
    for name in (lease.grant.lease, "no-such-lease"):
        with pytest.raises(PrepareError) as raised:
            store.prepare("vault", 100, name)
        assert (raised.value.cause, raised.value.code) == (PrepareCause.OTHER, "invalid-lease")
    assert not list(tmp_path.glob(".*"))


def test_each_obstacle_has_its_cause(open_path: Path) -> None:
    need_root()

    def on(folder: str) -> Path:
        made = open_path / folder
        made.mkdir()
        (made / "auth.json").write_text("{}")
        return made

    def read_only() -> List[str]:
        bind(on("read-only"), open_path / "read-only", read_only=True)
        return prepared(open_path / "read-only")

    def mount_point() -> List[str]:
        folder = on("mount-point")
        bind(folder / "auth.json", folder / "auth.json")
        return prepared(folder)

    def no_room() -> List[str]:
        (open_path / "no-room").mkdir()
        mount_memory(open_path / "no-room", 64)
        return prepared(open_path / "no-room")

    for cause, inside in (("read-only", read_only), ("mount-point", mount_point), ("no-room", no_room)):
        assert in_child(inside, in_mounts=True)[0] == cause
    with Attribute(on("immutable") / "auth.json", IMMUTABLE):
        assert prepared(open_path / "immutable")[0] == "immutable"
    folder = on("folder")
    own(folder / "auth.json", OTHER)
    os.chown(folder, OTHER, OTHER)
    assert in_child(lambda: acquired(folder), OTHER) == []
    folder.chmod(0o555)
    assert in_child(lambda: prepared(folder), OTHER)[0] == "folder"


def test_a_vault_that_can_be_replaced_shows_no_trace_of_the_question(tmp_path: Path) -> None:
    assert acquired(tmp_path) == []
    (tmp_path / "auth.json").write_text("{}")
    assert acquired(tmp_path) == []
    assert names(tmp_path) == ["auth.json", "auth.json.lazaretto-locks"]


@pytest.mark.parametrize("read_only", [False, True])
def test_a_vault_mounted_as_one_file_is_found_out_before_the_send(home: Home, read_only: bool) -> None:
    need_root()
    box = home.folder / "box"
    box.mkdir()
    (box / "auth.json").touch()
    before = home.vault.read_text()

    def inside() -> List[str]:
        bind(home.vault, box / "auth.json", read_only)
        with Keeper(box / "auth.json", providers=home.providers, allow_loopback_http=True) as keeper:
            with pytest.raises(InspectionNeeded) as raised:
                keeper.token("acme")
        return [raised.value.message, *acquired(box)]

    message, code, _ = in_child(inside, in_mounts=True)
    assert code == "read-only" and "mounted as a single file" in message and "Mount its folder instead" in message
    assert home.server.requests == [] and home.vault.read_text() == before
    assert names(box) == ["auth.json", "auth.json.lazaretto-locks"]


def test_a_store_onto_a_mounted_file_says_so_and_leaves_nothing(home: Home) -> None:
    need_root()
    text = home.vault.read_bytes()

    def inside() -> List[str]:
        bind(home.vault, home.vault)
        error = refusal(lambda: storage(home.folder).store("vault", "{}", version_of(text), True, None))
        return [error.code, error.message]

    code, message = in_child(inside, in_mounts=True)
    assert code == "read-only" and "mounted as a single file" in message
    assert home.vault.read_bytes() == text and not list(home.folder.glob(".*"))


def test_without_proc_a_mount_from_another_file_system_is_seen(home: Home, monkeypatch: Any) -> None:
    need_root()
    (home.folder / "memory").mkdir()

    def inside() -> List[str]:
        mount_memory(home.folder / "memory", 256)
        (home.folder / "memory/auth.json").write_text("{}")
        bind(home.folder / "memory/auth.json", home.vault)
        monkeypatch.setattr(_prepared, "_mount_of", lambda _: None)
        return acquired(home.folder)

    assert in_child(inside, in_mounts=True)[0] == "read-only"


@pytest.mark.parametrize("has_locks", [False, True])
def test_a_read_only_file_system_is_found_out_before_the_send(home: Home, has_locks: bool) -> None:
    need_root()
    if has_locks:
        assert acquired(home.folder) == []

    def inside() -> List[str]:
        bind(home.folder, home.folder, read_only=True)
        with home.keeper() as keeper, pytest.raises(InspectionNeeded):
            keeper.token("acme")
        return acquired(home.folder)

    assert in_child(inside, in_mounts=True)[0] == "read-only"
    assert home.server.requests == []


@pytest.mark.parametrize("flag", [IMMUTABLE, APPEND_ONLY])
@pytest.mark.parametrize("what", ["auth.json", ""])
@pytest.mark.parametrize("has_locks", [False, True])
def test_an_immutable_vault_or_folder_is_found_out_before_the_send(home: Home, flag: int, what: str, has_locks: bool) -> None:
    need_root()
    if has_locks:
        assert acquired(home.folder) == []
    with Attribute(home.folder / what, flag):
        code, message = acquired(home.folder)
        with home.keeper() as keeper, pytest.raises(InspectionNeeded):
            keeper.token("acme")
    assert code == "read-only" and "chattr -" in message, message
    assert home.server.requests == [] and not list(home.folder.glob(".*"))
    with home.keeper() as keeper:
        assert keeper.token("acme").token == "at-1"


def test_who_is_not_the_owner_sends_nothing_and_leaves_nothing(open_path: Path, server: Server) -> None:
    need_root()
    home = Home(open_path, server)
    open_path.chmod(0o777)
    home.vault.chmod(0o640)
    home.providers.chmod(0o644)
    os.chown(home.vault, STRANGER, OTHER)

    def attempt() -> List[str]:
        with home.keeper() as keeper:
            assert [each.provider for each in keeper.status().credentials] == ["acme"], "reading is permitted"
            with pytest.raises(InspectionNeeded) as raised:
                keeper.token("acme")
        return [raised.value.message, *acquired(open_path)]

    def read() -> str:
        with home.keeper() as keeper:
            return keeper.token("acme").token

    message, code, _ = in_child(attempt, OTHER)
    assert code == "denied" and f"belongs to user {STRANGER}" in message
    assert server.requests == [] and names(open_path) == ["auth.json", "providers.json"]
    home.write("rt-0", expires_in=10**10)
    assert in_child(read, OTHER) == "at-old", "what is good yet is served"
    assert names(open_path) == ["auth.json", "providers.json"]


@pytest.mark.parametrize("has_locks", [False, True])
def test_a_folder_that_cannot_be_written_is_found_out_before_the_send(open_path: Path, has_locks: bool) -> None:
    need_root()
    os.chown(open_path, OTHER, OTHER)
    own(open_path / "auth.json", OTHER)
    if has_locks:
        assert in_child(lambda: acquired(open_path), OTHER) == []
    open_path.chmod(0o555)
    code, message = in_child(lambda: acquired(open_path), OTHER)
    assert code == "denied" and str(open_path) in message


def test_a_disk_without_room_is_found_out_before_the_send(home: Home) -> None:
    need_root()
    box = home.folder / "box"
    box.mkdir()

    def inside() -> List[Any]:
        mount_memory(box, 256)
        shutil.copy(home.vault, box)
        free = acquired(box)
        with open(box / "large", "wb", buffering=0) as large, pytest.raises(OSError) as full:
            while True:
                large.write(bytes(4096))
        assert full.value.errno == errno.ENOSPC
        os.truncate(box / "large", (box / "large").stat().st_size - 32 * 1024)
        with Keeper(box / "auth.json", providers=home.providers, allow_loopback_http=True) as keeper:
            with pytest.raises(InspectionNeeded):
                keeper.token("acme")
        return [free, acquired(box), names(box)]

    free, (code, message), left = in_child(inside, in_mounts=True)
    assert free == [] and code == "full" and "make room" in message
    assert home.server.requests == [] and left == ["auth.json", "auth.json.lazaretto-locks", "large"]


def test_a_file_system_that_cannot_allocate_is_not_asked_again(tmp_path: Path, monkeypatch: Any) -> None:
    for number in (errno.EOPNOTSUPP, errno.ENOSYS):

        def fail(*_: Any, number: int = number) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "posix_fallocate", fail)
        assert acquired(tmp_path) == []
    monkeypatch.delattr(os, "posix_fallocate")
    assert acquired(tmp_path) == []
