"""The locks of programs that lock by making something: whoever makes the file or the folder holds the lock until it is
gone, or is so old that its maker must have died. What we make is removed when it is let go.
"""

from __future__ import annotations

import os
import stat
import time
from dataclasses import dataclass
from typing import Optional, Tuple

from ._errors import io_error
from .contract import random_id

_STALE_S = 10
"""What is older was left behind: both programs that lock so take it away after ten seconds."""


@dataclass(frozen=True)
class Mark:
    """A lock of that kind."""

    path: str
    is_folder: bool

    def make(self, owner: Optional[Tuple[int, int]]) -> Optional[Made]:
        """Makes it. None: somebody else holds it."""
        # A second time if what stood there was stale.
        for _ in range(2):
            try:
                if self.is_folder:
                    os.mkdir(self.path, 0o700)
                else:
                    os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
                made = Made(self.path, self.is_folder, _identity(os.lstat(self.path)))
                if owner is not None:
                    try:
                        os.lchown(self.path, *owner)
                    except OSError:
                        made.remove()
                        raise
                made.outlast()
                return made
            except FileExistsError:
                if not _take_away_if_stale(self.path):
                    return None
            except OSError as error:
                raise io_error("make the lock", self.path, error) from None
        return None


@dataclass(frozen=True)
class Made:
    """A mark that is ours, until it is removed."""

    path: str
    is_folder: bool
    identity: Tuple[int, int]

    def is_in_place(self) -> bool:
        """Whether it is still what others find."""
        try:
            return _identity(os.lstat(self.path)) == self.identity
        except OSError:
            return False

    def outlast(self) -> None:
        """One exchange may take longer than the others take a mark to be alive: so it is from a little later."""
        at = int(time.time()) + _STALE_S
        try:
            os.utime(self.path, (at, at))
        except OSError:
            pass  # it is one all the same

    def remove(self) -> None:
        # What somebody took away for stale and made anew is theirs.
        if self.is_in_place():
            _remove(self.path, self.is_folder)


def _take_away_if_stale(path: str) -> bool:
    """Takes a mark away whose maker has died. False: he may be alive."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return True
    except OSError as error:
        raise io_error("look at the lock", path, error) from None
    if time.time() - found.st_mtime <= _STALE_S:
        return False
    # Of two who find it stale one moves it; what the other would move is a new one.
    aside = f"{path}.stale.{random_id()}"
    try:
        os.rename(path, aside)
    except OSError:
        return False
    try:
        if _identity(os.lstat(aside)) != _identity(found):
            # It was a new one: its maker finds it again, unless somebody made another meanwhile.
            os.rename(aside, path)
            return False
    except OSError:
        return False
    _remove(aside, stat.S_ISDIR(found.st_mode))
    return True


def _remove(path: str, is_folder: bool) -> None:
    try:
        os.rmdir(path) if is_folder else os.unlink(path)
    except OSError:
        pass


def _identity(found: os.stat_result) -> Tuple[int, int]:
    return (found.st_dev, found.st_ino)
