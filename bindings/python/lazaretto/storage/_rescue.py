"""Tokens that could be stored nowhere are kept in a file of their own until the vault takes them:
whoever holds them may end, and nobody else has them.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from dataclasses import dataclass, field
from typing import Iterator, Optional

from . import _safe_path
from ._errors import io_error
from ._folder import Folder, Spot, sync_dir
from ._sync import sync
from ._text import MAX_BYTES
from .contract import StorageError, random_id

_MAX_FILES = 16
"""How many files one call gives to its vault."""


@dataclass(frozen=True)
class Kept:
    """One rescue file."""

    spot: Spot
    unsaved: str = field(repr=False)
    """Secret and opaque: for ``save-unsaved``."""

    def remove(self) -> None:
        """The vault has its tokens."""
        try:
            self.spot.folder.remove(self.spot.name)
        except OSError:
            pass  # they are stored once more, which changes nothing


@dataclass(frozen=True)
class Rescue:
    """The rescue files of one vault."""

    vault: str
    """The vault file's path, without links."""

    @property
    def _prefix(self) -> str:
        return hashlib.sha256(os.fsencode(self.vault)).hexdigest()[:32]

    def keep(self, unsaved: str) -> str:
        """Keeps what could be stored nowhere, durably, and gives the file's path."""
        name = f"{self._prefix}.{random_id()}"
        safe_path = _walk_to(name)
        if safe_path.missing:
            safe_path.make_folders()
            safe_path = _walk_to(name)
        spot = Spot(_checked(safe_path.spot.folder), name)
        try:
            _write(spot, unsaved.encode())
        except OSError as error:
            raise io_error("keep the new tokens in", spot.path, error) from None
        return spot.path

    def kept(self) -> Iterator[Kept]:
        """Returns what earlier calls kept, of whatever process."""
        safe_path = _walk_to(self._prefix)
        if safe_path.missing:
            return
        folder = _checked(safe_path.folder)
        try:
            with folder.entries() as entries:
                names = [entry.name for entry in entries if self._is_ours(entry.name)]
        except OSError as error:
            raise io_error("read the directory", folder.path, error) from None
        for name in sorted(names)[:_MAX_FILES]:
            spot = Spot(folder, name)
            unsaved = _read(spot)
            if unsaved is not None:
                yield Kept(spot, unsaved)

    def _is_ours(self, name: str) -> bool:
        return re.fullmatch(self._prefix + r"\.[0-9a-f]{32}", name, re.ASCII) is not None


def _walk_to(name: str) -> _safe_path.SafePath:
    named = os.environ.get("XDG_STATE_HOME", "")
    state = named if os.path.isabs(named) else os.path.expanduser("~/.local/state")
    if not os.path.isabs(state):
        raise StorageError("other", "this process has no home directory, so there is no place for a rescue file")
    return _safe_path.walk(os.path.join(state, "lazaretto", "rescue", name))


def _checked(folder: Folder) -> Folder:
    if folder.stat.st_uid != os.geteuid() or folder.stat.st_mode & 0o022:
        raise StorageError(
            "unsafe", f"{folder.path} must belong to you and be writable by nobody else, for tokens are kept in it"
        )
    return folder


def _write(spot: Spot, content: bytes) -> None:
    file = spot.folder.open(spot.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(file, rest) :]
        sync(file)
        sync_dir(spot.folder)
    except BaseException:
        spot.folder.remove(spot.name)
        raise
    finally:
        os.close(file)


def _read(spot: Spot) -> Optional[str]:
    """None: it is not ours to use, or not there any more."""
    try:
        file = spot.folder.open(spot.name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        return None
    try:
        found = os.fstat(file)
        is_ours = stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and stat.S_IMODE(found.st_mode) == 0o600
        if not is_ours or found.st_size > MAX_BYTES:
            return None
        content = b""
        while chunk := os.read(file, MAX_BYTES + 1 - len(content)):
            content += chunk
        return content.decode()
    except (OSError, UnicodeDecodeError):
        return None
    finally:
        os.close(file)
