"""The locks of programs that lock by making something: whoever makes the file or the folder holds the lock until it is
gone, or is so old that its maker must have died. What we make is removed when it is let go.
"""

from __future__ import annotations

import os
import stat
import time
from dataclasses import dataclass
from typing import Optional

from ._errors import io_error
from ._folder import Identity, Spot, identity_of
from .contract import random_id

_STALE_S = 10
"""What is older was left behind: both programs that lock so take it away after ten seconds."""


@dataclass(frozen=True)
class Mark:
    """A lock of that kind."""

    spot: Spot
    is_folder: bool

    def make(self) -> Optional[Made]:
        """Makes it. None: somebody else holds it."""
        # A second time if what stood there was stale.
        for _ in range(2):
            try:
                return self._make()
            except FileExistsError:
                if not _take_away_if_stale(self.spot):
                    return None
            except OSError as error:
                raise io_error("make the lock", self.spot.path, error) from None
        return None

    def _make(self) -> Made:
        folder, name = self.spot.folder, self.spot.name
        if self.is_folder:
            os.mkdir(name, 0o700, dir_fd=folder.handle)
            made = Made(self.spot, True, identity_of(folder.look(name)))
        else:
            handle = folder.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            try:
                made = Made(self.spot, False, identity_of(os.fstat(handle)))
            finally:
                os.close(handle)
        made.outlast()
        return made


@dataclass(frozen=True)
class Made:
    """A mark that is ours, until it is removed."""

    spot: Spot
    is_folder: bool
    identity: Identity

    def is_in_place(self) -> bool:
        """Whether it is still what others find."""
        return self.spot.folder.is_at(self.spot.name, self.identity)

    def outlast(self) -> None:
        """One exchange may take longer than the others take a mark to be alive: so it is from a little later."""
        at = int(time.time()) + _STALE_S
        try:
            os.utime(self.spot.name, (at, at), dir_fd=self.spot.folder.handle, follow_symlinks=False)
        except (OSError, NotImplementedError):
            pass  # it is one all the same

    def remove(self) -> None:
        # What somebody took away for stale and made anew is theirs.
        if self.is_in_place():
            _remove(self.spot, self.is_folder)


def _take_away_if_stale(mark: Spot) -> bool:
    """Takes a mark away whose maker has died. False: he may be alive."""
    folder = mark.folder
    try:
        found = folder.look(mark.name)
    except FileNotFoundError:
        return True
    except OSError as error:
        raise io_error("look at the lock", mark.path, error) from None
    if time.time() - found.st_mtime <= _STALE_S:
        return False
    # Of two who find it stale one moves it; what the other would move is a new one.
    aside = mark.beside(f"{mark.name}.stale.{random_id()}")
    try:
        folder.rename(mark.name, aside.name)
    except OSError:
        return False
    try:
        if not folder.is_at(aside.name, identity_of(found)):
            # It was a new one: its maker finds it again, unless somebody made another meanwhile.
            folder.rename(aside.name, mark.name)
            return False
    except OSError:
        return False
    _remove(aside, stat.S_ISDIR(found.st_mode))
    return True


def _remove(mark: Spot, is_folder: bool) -> None:
    try:
        mark.folder.remove_dir(mark.name) if is_folder else mark.folder.remove(mark.name)
    except OSError:
        pass
