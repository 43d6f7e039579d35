"""Whose a vault is and what lies beside it: F5, and root on somebody else's vault (F1), and the
group that shares one (K9b)."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any, Callable, Dict, List

import pytest
from apart import GRANT, OTHER, STRANGER, in_child, names, need_root, own, refusal, storage

from lazaretto.storage import DocumentScope, FileStorage, Loaded, Stored, version_of

# F5. What lies beside a vault belongs to its owner or root.

BESIDE: Dict[str, Callable[[FileStorage], Any]] = {
    "auth.json.lazaretto": lambda store: store.load("vault.lazaretto", None),
    "auth.json.lazaretto.unsynced": lambda store: store.load("vault.lazaretto", None),
    "auth.json.lazaretto-sealed": lambda store: store.load("vault.lazaretto-sealed", None),
    "auth.json.lazaretto-pool": lambda store: store.load("vault.lazaretto-pool", None),
    "auth.json.lazaretto-settings.json": lambda store: store.load("settings.json", None),
    "auth.json.lazaretto-locks/3f": lambda store: store.acquire(GRANT, 1000, 0),
    "auth.lock": lambda store: store.acquire(DocumentScope("vault"), 1000, 0),
}


@pytest.mark.parametrize("name", BESIDE)
@pytest.mark.parametrize("user", [0, OTHER])
def test_what_a_stranger_put_beside_a_vault_is_refused(open_path: Path, name: str, user: int) -> None:
    need_root()
    home = open_path / "home"
    home.mkdir()
    home.chmod(0o1777)
    own(home / "auth.json", user)
    own(home / "auth.json.lazaretto", user)
    (home / "auth.json.lazaretto-locks").mkdir(0o700)
    os.chown(home / "auth.json.lazaretto-locks", user, user)
    theirs = own(home / name, STRANGER, mode=0o666, text="theirs")

    def attempt() -> List[str]:
        store = storage(home)
        read = refusal(lambda: BESIDE[name](store))
        document = {"auth.json.lazaretto-sealed": "vault.lazaretto-sealed", "auth.lock": "vault"}.get(name)
        if document is not None:
            expected = version_of(b"{}") if document == "vault" else version_of(b"theirs")
            assert refusal(lambda: store.store(document, "rt-secret", expected, True, None)).code == "unsafe"
        return [read.code, read.message]

    code, message = in_child(attempt, user)
    assert code == "unsafe" and f"{theirs} belongs to user {STRANGER}" in message and "rm -ri" in message
    assert theirs.read_text() == "theirs" and not list(home.glob(".*"))


@pytest.mark.parametrize("user, mode", [(STRANGER, 0o700), (OTHER, 0o770), (OTHER, 0o707)])
def test_a_locks_folder_that_others_can_change_is_refused(open_path: Path, user: int, mode: int) -> None:
    need_root()
    own(open_path / "auth.json", OTHER)
    open_path.chmod(0o777)
    locks = open_path / "auth.json.lazaretto-locks"
    locks.mkdir()
    locks.chmod(mode)
    os.chown(locks, user, user)
    for scope in (GRANT, DocumentScope("vault.lazaretto")):
        assert in_child(lambda: refusal(lambda: storage(open_path).acquire(scope, 1, 0)).code, OTHER) == "unsafe"
    assert names(locks) == []


def test_what_root_put_beside_a_user_s_vault_is_read(open_path: Path) -> None:
    need_root()
    os.chown(open_path, OTHER, OTHER)
    own(open_path / "auth.json", OTHER)
    own(open_path / "auth.json.lazaretto-settings.json", 0, mode=0o644, text="set")
    assert in_child(lambda: isinstance(storage(open_path).load("settings.json", None), Loaded), OTHER)


# Root uses no vault of another user.


def test_root_refuses_a_vault_of_another_user_and_leaves_nothing(open_path: Path) -> None:
    need_root()
    own(open_path / "auth.json", STRANGER)
    (open_path / "auth.json.lazaretto").mkdir()  # would be `unsupported`, if anybody looked
    store = storage(open_path)
    for call in (
        lambda: store.load("vault", None),
        lambda: store.load("vault.lazaretto", None),
        lambda: store.store("vault", "{ }", version_of(b"{}"), True, None),
        lambda: store.store("vault.lazaretto-sealed", "{}", None, True, None),
        lambda: store.acquire(GRANT, 1, 0),
        lambda: store.acquire(DocumentScope("vault"), 1, 0),
    ):
        error = refusal(call)
        assert error.code == "unsafe" and f"sudo -u '#{STRANGER}'" in error.message, error.message
    assert names(open_path) == ["auth.json", "auth.json.lazaretto"]
    assert (open_path / "auth.json").read_text() == "{}"


# K9b. A replaced file keeps its group, and the rights of it.


@pytest.mark.parametrize("user", [0, OTHER])
def test_a_group_keeps_its_rights_or_nobody_gets_them(open_path: Path, user: int) -> None:
    need_root()
    group = 4713
    os.chown(open_path, user, user)
    vault = own(open_path / "auth.json", user, group, 0o664)

    def attempt() -> bool:
        return isinstance(storage(open_path).store("vault", "{ }", version_of(b"{}"), True, None), Stored)

    assert in_child(attempt, user, group if user else None)
    found = vault.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (user, group, 0o660)
    if user:
        own(vault, user, group, 0o664)
        assert in_child(attempt, user)
        found = vault.stat()
        assert (found.st_gid, stat.S_IMODE(found.st_mode)) == (user, 0o600), "that group is not what it was shared with"
