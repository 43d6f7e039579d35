"""A text is written beside its document under another name, and renamed over it. What a process that
died has left of such files is removed, for they may hold secrets.
"""

from __future__ import annotations

import errno
import os
import re
from dataclasses import dataclass
from typing import Optional

from . import _holder
from ._folder import Folder, Identity, Spot, identity_of
from .contract import random_id

try:
    import fcntl
except ImportError:  # Windows: FileStorage says so when it is made
    fcntl = None  # type: ignore[assignment]

_MAX_NAMES = 1024
_MAX_LEFTOVERS = 16
"""How many names are looked at, and how many files removed, in search of what was left."""


@dataclass(frozen=True)
class Temporary:
    """A temporary file of the document ``target``, open until it is closed."""

    target: Spot
    spot: Spot
    handle: int
    identity: Identity

    @staticmethod
    def create(target: Spot) -> Temporary:
        """Creates a file that its owner alone can read and write, from the first moment. Raises
        ``OSError``."""
        spot = target.beside(temp_name(target.name))
        handle = spot.folder.open(spot.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        return Temporary(target, spot, handle, identity_of(os.fstat(handle)))

    def is_in_place(self) -> bool:
        """Returns whether its name still leads to it."""
        return self.spot.folder.is_at(self.spot.name, self.identity)

    def show_that_it_is_wanted(self) -> None:
        """Locks it, so that no store of this document takes it for a leftover."""
        try:
            fcntl.flock(self.handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            pass  # then a store may remove it, and the one that it is for makes another

    def write(self, content: bytes) -> None:
        """Writes the whole content, and cuts off what was allocated beyond it. Raises ``OSError``."""
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(self.handle, rest) :]
        os.ftruncate(self.handle, len(content))

    def remove(self) -> None:
        """Removes it. If that cannot be done now, a later store does it."""
        remove_quietly(self.spot)

    def discard(self) -> None:
        """Removes it, if it still has its name, and closes it."""
        if self.is_in_place():
            self.remove()
        self.close()

    def close(self) -> None:
        """Closes it. It keeps its name, if it has one."""
        os.close(self.handle)


def temp_name(name: str) -> str:
    """Returns the name of a new temporary file of the document ``name``."""
    return f"{_temp_prefix(name)}{os.getpid()}.{random_id()}"


def _temp_prefix(name: str) -> str:
    return f".{name}.lazaretto-tmp."


def pid_in(entry: str, name: str) -> Optional[int]:
    """Returns the process that made a temporary file of the document ``name``, if its name is
    exactly one of ours."""
    prefix = _temp_prefix(name)
    if not entry.startswith(prefix):
        return None
    found = re.fullmatch(r"([0-9]{1,10})\.[0-9a-f]{32}", entry[len(prefix) :], re.ASCII)
    return int(found[1]) if found else None


def remove_leftovers(folder: Folder, name: str) -> None:
    """Removes what processes that are no more left of this document: it holds secrets. As we hold
    the document's lock, no living process has such a file but an empty one; that its process is
    gone as well is asked for safety. A file with our own pid is not ours either: in a container
    every process may have had it."""
    removed = 0
    try:
        with folder.entries() as entries:
            for looked_at, entry in enumerate(entries):
                if looked_at >= _MAX_NAMES or removed >= _MAX_LEFTOVERS:
                    return
                pid = pid_in(entry.name, name)
                if pid is None or (pid != os.getpid() and _holder.is_alive(pid)):
                    continue
                spot = Spot(folder, entry.name)
                if entry.is_file(follow_symlinks=False) and not _is_wanted(spot):
                    remove_quietly(spot)
                    removed += 1
    except OSError:
        pass


def _is_wanted(spot: Spot) -> bool:
    """Returns whether somebody prepared the file and still holds the lease that it is for."""
    try:
        handle = spot.folder.open(spot.name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in (errno.EAGAIN, errno.EACCES)
    finally:
        os.close(handle)
    return False


def remove_quietly(spot: Spot) -> None:
    """Removes a file, if that can be done now."""
    try:
        spot.folder.remove(spot.name)
    except OSError:
        pass
