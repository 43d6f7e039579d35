"""A directory is opened once, checked by that handle, and kept: whatever lies in it is reached by
its bare name from there, so no link that somebody puts on the way meanwhile leads anywhere else,
and a directory that is moved keeps what is under way in it.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from typing import Any, Callable, List, Optional, Tuple

from ._errors import io_error
from ._sync import sync

_CLOEXEC = getattr(os, "O_CLOEXEC", 0)
_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_DIRECTORY = getattr(os, "O_DIRECTORY", 0)
# A handle that says what something is and where, without the right to read it. Elsewhere than on
# Linux a directory on the way must be readable.
_PATH = getattr(os, "O_PATH", 0)

Identity = Tuple[int, int]


def identity_of(found: os.stat_result) -> Identity:
    """Returns what no two files have at one time, whatever their names."""
    return (found.st_dev, found.st_ino)


class Folder:
    """A directory that is open.

    It is closed when nobody refers to it any more, and by nothing else: another thread that still
    worked with a closed handle would work in whatever directory got its number next.
    """

    def __init__(self, path: str, handle: int) -> None:
        self.path = path
        """Where it lay when it was opened: for messages, and for nothing else."""
        self.handle = handle
        self._readable: List[int] = []
        self.stat = os.fstat(handle)

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        for handle in (self.handle, *self._readable):
            close(handle)

    def __repr__(self) -> str:
        return f"<Folder {self.path}>"

    @staticmethod
    def root() -> Folder:
        try:
            return Folder("/", os.open("/", os.O_RDONLY | _PATH | _DIRECTORY | _CLOEXEC))
        except OSError as error:
            raise io_error("look at", "/", error) from None

    @property
    def identity(self) -> Identity:
        return identity_of(self.stat)

    def joined(self, name: str) -> str:
        """Returns the path of what lies in it, for messages."""
        return os.path.join(self.path, name)

    def entry(self, name: str) -> Entry:
        """Looks at what has that name, and follows no link. All that is said of it is of one and
        the same thing. Raises ``OSError``."""
        if not _PATH:
            return self._entry_by_two_looks(name)
        handle = os.open(name, _PATH | _NOFOLLOW | _CLOEXEC, dir_fd=self.handle)
        try:
            found = os.fstat(handle)
            if stat.S_ISDIR(found.st_mode):
                folder, handle = Folder(self.joined(name), handle), -1
                return Entry(found, folder, None)
            return Entry(found, None, os.readlink("", dir_fd=handle) if stat.S_ISLNK(found.st_mode) else None)
        finally:
            if handle != -1:
                os.close(handle)

    def _entry_by_two_looks(self, name: str) -> Entry:
        found = self.look(name)
        if stat.S_ISDIR(found.st_mode):
            folder = self.enter(name)
            return Entry(folder.stat, folder, None)
        if not stat.S_ISLNK(found.st_mode):
            return Entry(found, None, None)
        link = os.readlink(name, dir_fd=self.handle)
        if identity_of(self.look(name)) != identity_of(found):
            raise OSError(errno.ESTALE, "it was replaced while it was looked at")
        return Entry(found, None, link)

    def enter(self, name: str) -> Folder:
        """Opens the directory of that name, or the one above for ``..``. Raises ``OSError``; so
        it does for a link."""
        flags = os.O_RDONLY | _PATH | _DIRECTORY | _NOFOLLOW | _CLOEXEC
        path = os.path.dirname(self.path) if name == ".." else self.joined(name)
        return Folder(path, os.open(name, flags, dir_fd=self.handle))

    def make(self, name: str) -> Folder:
        """Opens the directory of that name. One that is
        missing is created, durably and for its owner alone. Raises ``OSError``."""
        try:
            os.mkdir(name, 0o700, dir_fd=self.handle)
        except FileExistsError:
            pass
        made = self.enter(name)
        sync_dir(self)
        return made

    def look(self, name: str) -> os.stat_result:
        """Returns the stat of what has that name, links not followed. Raises ``OSError``."""
        return os.stat(name, dir_fd=self.handle, follow_symlinks=False)

    def has(self, name: str) -> bool:
        """Returns whether anything has that name, a dangling link too."""
        try:
            self.look(name)
        except OSError:
            return False
        return True

    def is_at(self, name: str, identity: Identity) -> bool:
        """Returns whether that name still leads to what it led to."""
        try:
            return identity_of(self.look(name)) == identity
        except OSError:
            return False

    def open(self, name: str, flags: int) -> int:
        """Opens a file of that name, never through a link; a new one is for its owner alone. Raises
        ``OSError``."""
        return os.open(name, flags | _NOFOLLOW | _CLOEXEC, 0o600, dir_fd=self.handle)

    def rename(self, name: str, to: str) -> None:
        os.rename(name, to, src_dir_fd=self.handle, dst_dir_fd=self.handle)

    def remove(self, name: str) -> None:
        os.unlink(name, dir_fd=self.handle)

    def remove_dir(self, name: str) -> None:
        os.rmdir(name, dir_fd=self.handle)

    def readable(self) -> int:
        """Returns a handle that its names can be read by, and synced. Raises ``OSError``."""
        if not self._readable:
            # Two threads may come here at once: then there are two.
            self._readable.append(os.open(".", os.O_RDONLY | _DIRECTORY | _CLOEXEC, dir_fd=self.handle))
        return self._readable[0]

    def entries(self) -> Any:
        """As ``os.scandir``. Raises ``OSError``."""
        return os.scandir(self.readable())


@dataclass(frozen=True)
class Entry:
    """What a name in a directory stands for."""

    stat: os.stat_result
    folder: Optional[Folder]
    """If it is a directory."""
    link: Optional[str]
    """If it is a link: where it points."""


@dataclass(frozen=True)
class Spot:
    """A name in an open directory. Nothing need be there."""

    folder: Folder
    name: str

    @property
    def path(self) -> str:
        """For messages."""
        return self.folder.joined(self.name)

    def beside(self, name: str) -> Spot:
        return Spot(self.folder, name)

    def is_same(self, other: Spot) -> bool:
        """Returns whether both are one name in one directory, and were reached by the same path."""
        return (self.path, self.folder.identity) == (other.path, other.folder.identity)


def sync_dir(folder: Folder) -> None:
    """Returns once the names in the directory are on the disk."""
    try:
        sync(folder.readable())
    except OSError as error:
        # A file system that has nothing to sync in a directory says so; it is not a failure.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
