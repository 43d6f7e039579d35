"""A link is followed only where nobody but the user and root could have put it, and only to a place
where nobody else can put another file. Without a link the path is the user's own word and is taken
as it is.

The way is walked by hand, one name at a time, because the kernel would follow anybody's link; and
from handle to handle, so that what was checked is what is used. What comes out is a place without
links, so that all names of one file lead to one set of locks.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import List, Optional, Tuple

from ._errors import io_error, not_a_file, what_is
from ._folder import Entry, Folder, Spot
from .contract import StorageError

MAX_FILE_LINKS = 5
"""How many links may stand for the file itself, one behind the other."""
MAX_LINKS = 40
"""How many links there may be in all, directories included: what Linux allows."""


@dataclass(frozen=True)
class SafePath:
    """Where a path leads."""

    folder: Folder
    """The last directory on the way that exists."""
    missing: Tuple[str, ...]
    """The directories below it that do not. Usually none: then the file's own is ``folder``."""
    name: str
    """The file's. It need not exist."""
    links: Tuple[Spot, ...]
    """The links that stood for the file, in the order they were followed."""
    found: Optional[os.stat_result]
    """The file's, if it exists."""
    doubt: Optional[str]
    """The first thing on the way that somebody else controls."""

    @property
    def target(self) -> str:
        """Returns the file's path, without links."""
        return os.path.join(self.folder.path, *self.missing, self.name)

    @property
    def spot(self) -> Spot:
        """Returns the file, in a directory that is there."""
        if self.missing:
            raise StorageError("other", f"there is no directory {os.path.dirname(self.target)}")
        return Spot(self.folder, self.name)

    @property
    def owner(self) -> Optional[int]:
        """Returns the user whose file it is, if it exists."""
        return None if self.found is None else self.found.st_uid

    def is_same(self, other: SafePath) -> bool:
        """Returns whether both lead to the same name in the same directory by the same links. Its
        owner may have changed."""
        if (self.missing, len(self.links)) != (other.missing, len(other.links)):
            return False
        ours, theirs = (Spot(self.folder, self.name), *self.links), (Spot(other.folder, other.name), *other.links)
        return all(one.is_same(two) for one, two in zip(ours, theirs))

    def make_folders(self) -> None:
        """Creates the directories that are missing, durably and for their owner alone."""
        folder = self.folder
        for name in self.missing:
            try:
                folder = folder.make(name)
            except OSError as error:
                raise io_error("create the directory", folder.joined(name), error) from None


def walk(path: str) -> SafePath:
    """Walks to ``path``, which must be absolute and lead to a file or to nothing."""
    return _Walk(Folder.root(), path, None).to_its_end()


def walk_beside(safe_path: SafePath, name: str) -> SafePath:
    """Walks to what lies beside the file of a way, which has been walked: only a link leads
    elsewhere."""
    return _Walk(safe_path.spot.folder, name, safe_path.doubt).to_its_end()


class _Walk:
    def __init__(self, start: Folder, path: str, doubt: Optional[str]) -> None:
        self.ahead: List[str] = []
        self.links: List[Spot] = []
        self.links_in_all = 0
        self.doubt = doubt
        self.enter(start)
        self.push(path)

    def push(self, path: str) -> None:
        self.ahead.extend(name for name in reversed(path.split("/")) if name not in ("", "."))

    def to_its_end(self) -> SafePath:
        while self.ahead:
            safe_path = self.step(self.ahead.pop())
            if safe_path is not None:
                return safe_path
        raise not_a_file(self.here.path, "a directory")

    def step(self, name: str) -> Optional[SafePath]:
        """Goes one name further. A way: this was the file."""
        path = self.here.joined(name)
        try:
            if name == "..":
                # The one that the directory lies in now, which may have been moved.
                self.enter(self.here.enter(".."))
                return None
            entry = self.here.entry(name)
        except FileNotFoundError:
            return self.arrive_nowhere(name)
        except OSError as error:
            raise io_error("look at", path, error) from None
        self.look_at_entry(path, entry.stat)
        if entry.link is not None:
            self.follow(Spot(self.here, name), entry)
            return None
        if entry.folder is not None:
            self.enter(entry.folder)
            return None
        if self.ahead:
            raise StorageError("other", f"{path} is not a directory")
        if not stat.S_ISREG(entry.stat.st_mode):
            raise not_a_file(path, what_is(entry.stat.st_mode))
        return self.arrive((), name, entry.stat)

    def follow(self, link: Spot, entry: Entry) -> None:
        if self.doubt is not None:
            raise _refused(link.path, self.doubt)
        self.links_in_all += 1
        if not self.ahead:
            self.links.append(link)
        if len(self.links) > MAX_FILE_LINKS or self.links_in_all > MAX_LINKS:
            limit = f"too many links on the way (at most {MAX_FILE_LINKS} for a file, {MAX_LINKS} in all)"
            raise _refused(link.path, limit)
        text = entry.link or ""
        if text.startswith("/"):
            self.enter(Folder.root())
        self.push(text)

    def enter(self, folder: Folder) -> None:
        directory = folder.stat
        if not _is_trusted(directory.st_uid):
            self.note(f"the directory {folder.path} belongs to user {directory.st_uid}")
        elif _is_writable_by_others(directory) and not directory.st_mode & stat.S_ISVTX:
            mode = directory.st_mode & 0o7777
            self.note(f"the directory {folder.path} is writable by others (mode {mode:04o})")
        self.here = folder

    def look_at_entry(self, path: str, entry: os.stat_result) -> None:
        """A link must be ours wherever it lies; anything must be ours in a directory where
        everybody may put things."""
        shared = _is_writable_by_others(self.here.stat)
        if (shared or stat.S_ISLNK(entry.st_mode)) and not _is_trusted(entry.st_uid):
            self.note(f"{path} belongs to user {entry.st_uid}")

    def note(self, reason: str) -> None:
        if self.doubt is None:
            self.doubt = reason

    def arrive_nowhere(self, name: str) -> SafePath:
        """There is nothing of that name. What is still ahead is missing too."""
        if ".." in self.ahead:
            raise StorageError("other", f"there is no directory {self.here.joined(name)}")
        *missing, last = (name, *reversed(self.ahead))
        return self.arrive(tuple(missing), last, None)

    def arrive(self, missing: Tuple[str, ...], name: str, found: Optional[os.stat_result]) -> SafePath:
        if self.links and self.doubt is not None:
            raise _refused(self.links[-1].path, self.doubt)
        return SafePath(self.here, missing, name, tuple(self.links), found, self.doubt)


def _refused(link: str, doubt: str) -> StorageError:
    return StorageError(
        "unsafe",
        f"will not follow the link {link}: {doubt}. Everything on the way must belong to you or root and be writable by "
        "nobody else (chmod go-w), or name the file itself instead of the link",
    )


def _is_trusted(uid: int) -> bool:
    return uid in (0, os.geteuid())


def _is_writable_by_others(directory: os.stat_result) -> bool:
    # In a sticky directory (/tmp) an entry can be replaced only by its owner: enter() lets that
    # pass.
    return directory.st_mode & 0o022 != 0
