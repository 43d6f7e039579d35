"""A document is the old text or the new one at every moment, whole, whatever fails or crashes: the new text is written
beside it under another name, synced, and renamed over it.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from typing import Callable, Optional, Tuple

from . import _holder, _unsynced
from ._errors import io_error, is_there
from ._locks import open_dir, sync, sync_dir
from ._text import Text
from .contract import UNKNOWN, Stale, StorageError, Stored, StoreOutcome, random_id, version_of

_MAX_NAMES = 1024
_MAX_LEFTOVERS = 16
"""How many names are looked at, and how many files removed, in search of what crashed processes left."""


@dataclass(frozen=True)
class Change:
    """One replacement of a document."""

    target: str
    """The document, in a directory named without links."""
    unsynced: Optional[str]
    """Where a text that need not be durable may lie, in the same directory."""
    text: bytes
    expected: Optional[str]
    """The version that it must be at. None: it must not exist."""
    durable: bool
    new_owner: Optional[Tuple[int, int]]
    """Whom the document is to belong to if it is new. None: to this process."""

    def __repr__(self) -> str:
        return f"<Change of {self.target}, {len(self.text)} bytes>"


def replace(change: Change, read: Callable[[], Optional[Text]]) -> StoreOutcome:
    """Performs ``change`` under the document's lock, which the caller holds. ``read`` reads the document."""
    before = read()
    if _version(before) != change.expected:
        return _stale(before)
    folder, name = os.path.split(change.target)
    handle = open_dir(folder)
    try:
        return _replace(change, read, before, folder, handle, name)
    finally:
        os.close(handle)


def _replace(
    change: Change, read: Callable[[], Optional[Text]], before: Optional[Text], folder: str, handle: int, name: str
) -> StoreOutcome:
    _remove_leftovers(folder, name)
    if change.durable and before is None:
        _sync_way_to(folder, handle)

    is_replaced = before is not None and before.is_unsynced
    if change.unsynced is not None and not is_replaced and is_there(change.unsynced):
        # It was left behind. It must not come back if the file below it should ever be at that version again.
        try:
            os.unlink(change.unsynced)
            sync_dir(handle)
        except OSError as error:
            raise io_error("remove", change.unsynced, error) from None

    # The first text of a document needs a file of its own.
    spelled = None
    if change.unsynced is not None and before is not None and not change.durable:
        spelled = _unsynced.spelled(before.base, change.text)

    temp = os.path.join(folder, f"{_temp_prefix(name)}{os.getpid()}.{random_id()}")
    _write_temp(temp, change, before, spelled)
    try:
        # As late as can be, for programs that keep no lock.
        now = read()
        if _version(now) != change.expected or (now and now.base) != (before and before.base):
            _remove(temp)
            return _stale(now)
        to = change.unsynced if spelled is not None and change.unsynced is not None else change.target
        try:
            os.rename(temp, to)
        except OSError as error:
            # What still has its own name has not taken the other's.
            if is_there(temp):
                raise io_error("replace", change.target, error) from None
            return UNKNOWN
    except BaseException:
        _remove(temp)  # if it cannot be removed now, a later store does it
        raise

    try:
        if change.unsynced is not None and is_replaced and spelled is None:
            os.unlink(change.unsynced)
        if change.durable:
            sync_dir(handle)
    except OSError:
        return UNKNOWN
    return Stored(version_of(change.text))


def _write_temp(temp: str, change: Change, before: Optional[Text], spelled: Optional[bytes]) -> None:
    try:
        file = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise io_error("create", temp, error) from None
    try:
        _keep_owner_and_mode(file, temp, before, change)
        try:
            rest = memoryview(change.text if spelled is None else spelled)
            while rest:
                rest = rest[os.write(file, rest) :]
        except OSError as error:
            raise io_error("write", change.target, error) from None
        # Also when the store need not be durable: a rename that reaches the disk before the content it names would leave
        # an empty document after a power cut.
        if spelled is None:
            try:
                sync(file)
            except OSError as error:
                raise io_error("sync", change.target, error) from None
    except BaseException:
        _remove(temp)
        raise
    finally:
        os.close(file)


def _version(text: Optional[Text]) -> Optional[str]:
    return None if text is None else text.document.version


def _stale(current: Optional[Text]) -> Stale:
    return Stale(None if current is None else current.document)


def _keep_owner_and_mode(file: int, temp: str, before: Optional[Text], change: Change) -> None:
    """The file keeps its owner, and never gets more rights than its owner's own."""
    born = os.fstat(file)
    owner = change.new_owner if before is None else (before.stat.st_uid, before.stat.st_gid)
    if owner is not None and owner != (born.st_uid, born.st_gid):
        try:
            os.fchown(file, *owner)
        except OSError:
            # A group that cannot be kept has no rights to lose: the mode gives it none.
            if owner[0] != born.st_uid:
                raise StorageError(
                    "denied",
                    f"{change.target} belongs to user {owner[0]}, and only that user or root can replace it and leave it so; "
                    "nothing was written. Run as that user",
                ) from None
    mode = (0 if before is None else before.stat.st_mode & 0o700) | 0o600
    if stat.S_IMODE(born.st_mode) != mode:
        try:
            os.fchmod(file, mode)
        except OSError as error:
            raise io_error("set the mode of", temp, error) from None


def _sync_way_to(folder: str, handle: int) -> None:
    """Makes the names of the directories that lead to ``folder`` durable, on its file system. Somebody else may have created
    them just now, and have died before telling the disk."""
    device = os.fstat(handle).st_dev
    while folder != "/":
        folder = os.path.dirname(folder)
        try:
            above = open_dir(folder)
        except StorageError as error:
            if error.code == "denied":
                continue  # who may not read a directory has hardly created one in it
            raise
        try:
            if os.fstat(above).st_dev != device:
                return
            sync_dir(above)
        except OSError as error:
            raise io_error("sync", folder, error) from None
        finally:
            os.close(above)


def _temp_prefix(name: str) -> str:
    return f".{name}.lazaret-tmp."


def pid_in(entry: str, name: str) -> Optional[int]:
    """The process that made a temporary file of the document ``name``, if its name is exactly one of ours."""
    prefix = _temp_prefix(name)
    if not entry.startswith(prefix):
        return None
    found = re.fullmatch(r"([0-9]{1,10})\.[0-9a-f]{32}", entry[len(prefix) :], re.ASCII)
    return int(found[1]) if found else None


def _remove_leftovers(folder: str, name: str) -> None:
    """Removes what processes that are no more left of this document: it holds secrets. As we hold the document's lock, no living
    process has such a file; that its process is gone as well is asked for safety. A file with our own pid is not ours either: in
    a container every process may have had it."""
    removed = 0
    try:
        with os.scandir(folder) as entries:
            for looked_at, entry in enumerate(entries):
                if looked_at >= _MAX_NAMES or removed >= _MAX_LEFTOVERS:
                    return
                pid = pid_in(entry.name, name)
                if pid is None or (pid != os.getpid() and _holder.is_alive(pid)):
                    continue
                if entry.is_file(follow_symlinks=False):
                    _remove(entry.path)
                    removed += 1
    except OSError:
        pass


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass
