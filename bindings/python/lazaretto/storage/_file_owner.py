"""What lies beside a vault belongs to its owner or root, and root works on its own vaults only.
Whoever may write a folder must not be able to make another user read, lock or fill a file of
theirs.
"""

from __future__ import annotations

import os
import shlex
from typing import Optional

from .contract import StorageError

try:
    import pwd
except ImportError:  # Windows: FileStorage says so when it is made
    pwd = None  # type: ignore[assignment]


def user(uid: int) -> str:
    """Returns a user as a person knows them: by name, if there is one."""
    try:
        return f"user {pwd.getpwuid(uid).pw_name}"
    except (KeyError, AttributeError):
        return f"user {uid}"


def check_beside(path: str, found: os.stat_result, owner: int) -> None:
    """Refuses what lies beside the vault of user ``owner`` and belongs to somebody else than them
    and root."""
    if found.st_uid in (0, owner):
        return
    raise StorageError(
        "unsafe",
        f"{path} belongs to {user(found.st_uid)}, not to the vault's owner ({user(owner)}) or root, so it is neither read nor "
        f"written. Look at what it holds and who put it there, then run: rm -ri {shlex.quote(path)}",
    )


def check_locks_folder(path: str, found: os.stat_result, owner: int) -> None:
    """The same of a folder, which nobody else may write to either."""
    check_beside(path, found, owner)
    if found.st_mode & 0o022:
        mode = found.st_mode & 0o7777
        raise StorageError(
            "unsafe",
            f"{path} is writable by others (mode {mode:04o}), who could take the locks away. Run: chmod 700 {shlex.quote(path)}",
        )


def check_root(path: str, owner: Optional[int]) -> None:
    """Refuses, to root, a vault of somebody else: they could lead root's writes astray."""
    if os.geteuid() != 0 or owner in (None, 0):
        return
    assert owner is not None
    name = user(owner).split(" ")[1]
    who = name if not name.isdigit() else f"'#{name}'"
    raise StorageError(
        "unsafe",
        f"{path} belongs to {user(owner)}, and this process is root, which uses no vault of another user. Run it as that user: "
        f"sudo -u {who} ..., or use the command lazaretto, which becomes that user",
    )


def check_owner(path: str, owner: Optional[int]) -> None:
    """Refuses to write for anybody but the vault's owner. None: there is no vault yet."""
    if owner in (None, os.geteuid()):
        return
    assert owner is not None
    raise StorageError(
        "denied",
        f"{path} belongs to {user(owner)}, and only its owner can replace it and leave it so: nothing is sent or written. "
        "Run as that user",
    )
