"""A link is followed only where nobody but the user and root could have put it, and only to a place where nobody else can
put another file. Without a link the path is the user's own word and is taken as it is.

The way is walked by hand, one name at a time, because the kernel would follow anybody's link. What comes out is a path
without links, so that all names of one file lead to one set of locks.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import List, Optional, Tuple

from ._errors import io_error, not_a_file, what_is
from .contract import StorageError

MAX_FILE_LINKS = 5
"""How many links may stand for the file itself, one behind the other."""
MAX_LINKS = 40
"""How many links there may be in all, directories included: what Linux allows."""


@dataclass(frozen=True)
class Way:
    """Where a path leads."""

    target: str
    """The file, in a directory named without links. It need not exist, nor its directory."""
    links: Tuple[str, ...]
    """The links that stood for the file, in the order they were followed; each in a directory named without links."""
    owner: Optional[Tuple[int, int]]
    """User and group of the file, if it exists."""


def walk(path: str) -> Way:
    """Walks to ``path``, which must be absolute and lead to a file or to nothing."""
    return _Walk(path).to_its_end()


class _Walk:
    def __init__(self, path: str) -> None:
        self.ahead: List[str] = []
        self.links: List[str] = []
        self.links_in_all = 0
        # The first thing on the way that somebody else controls.
        self.doubt: Optional[str] = None
        self.back_to_root()
        self.push(path)

    def back_to_root(self) -> None:
        self.real = "/"
        try:
            root = os.lstat("/")
        except OSError as error:
            raise io_error("look at", "/", error) from None
        # The directory reached so far and all above it, the root first.
        self.inside: List[os.stat_result] = []
        self.enter(root)

    def push(self, path: str) -> None:
        self.ahead.extend(name for name in reversed(path.split("/")) if name not in ("", "."))

    def to_its_end(self) -> Way:
        while self.ahead:
            way = self.step(self.ahead.pop())
            if way is not None:
                return way
        raise not_a_file(self.real, "a directory")

    def step(self, name: str) -> Optional[Way]:
        """Goes one name further. A way: this was the file."""
        if name == "..":
            if len(self.inside) > 1:
                self.inside.pop()
                self.real = os.path.dirname(self.real)
            return None
        here = os.path.join(self.real, name)
        try:
            found = os.lstat(here)
        except FileNotFoundError:
            return self.arrive_nowhere(here)
        except OSError as error:
            raise io_error("look at", here, error) from None
        self.look_at_entry(here, found)
        if stat.S_ISLNK(found.st_mode):
            self.follow(here)
            return None
        if stat.S_ISDIR(found.st_mode):
            self.real = here
            self.enter(found)
            return None
        if self.ahead:
            raise StorageError("other", f"{here} is not a directory")
        if not stat.S_ISREG(found.st_mode):
            raise not_a_file(here, what_is(found.st_mode))
        return self.arrive(here, (found.st_uid, found.st_gid))

    def follow(self, link: str) -> None:
        if self.doubt is not None:
            raise _refused(link, self.doubt)
        self.links_in_all += 1
        try:
            text = os.readlink(link)
        except OSError as error:
            raise io_error("read the link", link, error) from None
        if not self.ahead:
            self.links.append(link)
        if len(self.links) > MAX_FILE_LINKS or self.links_in_all > MAX_LINKS:
            limit = f"too many links on the way (at most {MAX_FILE_LINKS} for a file, {MAX_LINKS} in all)"
            raise _refused(link, limit)
        if text.startswith("/"):
            self.back_to_root()
        self.push(text)

    def enter(self, directory: os.stat_result) -> None:
        if not _is_trusted(directory.st_uid):
            self.note(f"the directory {self.real} belongs to user {directory.st_uid}")
        elif _is_writable_by_others(directory) and not directory.st_mode & stat.S_ISVTX:
            mode = directory.st_mode & 0o7777
            self.note(f"the directory {self.real} is writable by others (mode {mode:04o})")
        self.inside.append(directory)

    def look_at_entry(self, path: str, entry: os.stat_result) -> None:
        """A link must be ours wherever it lies; anything must be ours in a directory where everybody may put things."""
        shared = _is_writable_by_others(self.inside[-1])
        if (shared or stat.S_ISLNK(entry.st_mode)) and not _is_trusted(entry.st_uid):
            self.note(f"{path} belongs to user {entry.st_uid}")

    def note(self, reason: str) -> None:
        if self.doubt is None:
            self.doubt = reason

    def arrive_nowhere(self, here: str) -> Way:
        """There is nothing at ``here``. What is still ahead is missing too."""
        if ".." in self.ahead:
            raise StorageError("other", f"there is no directory {here}")
        return self.arrive(os.path.join(here, *reversed(self.ahead)), None)

    def arrive(self, target: str, owner: Optional[Tuple[int, int]]) -> Way:
        if self.links and self.doubt is not None:
            raise _refused(self.links[-1], self.doubt)
        return Way(target, tuple(self.links), owner)


def _refused(link: str, doubt: str) -> StorageError:
    return StorageError(
        "unsafe",
        f"will not follow the link {link}: {doubt}. Everything on the way must belong to you or root and be writable by "
        "nobody else (chmod go-w), or name the file itself instead of the link",
    )


def _is_trusted(uid: int) -> bool:
    return uid in (0, os.geteuid())


def _is_writable_by_others(directory: os.stat_result) -> bool:
    # In a sticky directory (/tmp) an entry can be replaced only by its owner: enter() lets that pass.
    return directory.st_mode & 0o022 != 0
