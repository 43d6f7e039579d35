"""The locks of programs that lock by making something: whoever makes the file or the folder holds
the lock until it is gone, or has shown no sign of life for so long that its maker must have died.
We show one while we hold it (``_heartbeat.py``), remove it when it is let go, and know again what a
lazaretto that was killed left behind (``_left_behind.py``).
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import Optional

from ._errors import io_error
from ._folder import Identity, Spot, identity_of
from ._heartbeat import BEAT_S, touch
from ._left_behind import LeftBehind
from .contract import random_id


@dataclass(frozen=True)
class Mark:
    """A lock of that kind. Which ones there are is ``_other_tools.py``."""

    spot: Spot
    is_folder: bool
    stale_after_s: int
    """Without a sign of life for longer than this it was left behind."""
    is_optional: bool = False
    """Its own program goes on without it, if it cannot be made."""

    @property
    def path(self) -> str:
        return self.spot.path

    def make(self, now_ns: int, left: LeftBehind) -> Optional[MadeMark]:
        """Makes it. None if somebody else holds it."""
        # A second time if what stood there was stale.
        for _ in range(2):
            try:
                handle = self._create()
            except FileExistsError:
                if not self._make_room(now_ns, left):
                    return None
                continue
            except OSError as error:
                raise io_error("make the lock", self.path, error) from None
            identity = identity_of(os.fstat(handle))
            touch(handle, now_ns, left.signature)
            left.note_made(self.path, identity[1])
            return MadeMark(self.spot, self.is_folder, handle, identity)
        return None

    def _create(self) -> int:
        folder, name = self.spot.folder, self.spot.name
        if not self.is_folder:
            return folder.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        os.mkdir(name, 0o700, dir_fd=folder.handle)
        return folder.open(name, os.O_RDONLY | os.O_DIRECTORY)

    def _make_room(self, now_ns: int, left: LeftBehind) -> bool:
        """Removes what its maker left behind. False if the maker may be alive."""
        try:
            found = self.spot.folder.look(self.spot.name)
        except FileNotFoundError:
            return True
        except OSError as error:
            raise io_error("look at the lock", self.path, error) from None
        return self.is_left_behind(found, now_ns, left) and _take_away(self.spot, found)

    def is_left_behind(self, found: os.stat_result, now_ns: int, left: LeftBehind) -> bool:
        """Returns whether its maker has died. A time in the future counts from when it was first
        seen."""
        if left.is_ours(self.path, found):
            return True
        age_s = (now_ns - found.st_mtime_ns) / 1e9
        # Clocks and the steps of file systems differ a little; the next sign of life mends that.
        if age_s >= -BEAT_S:
            return age_s > self.stale_after_s
        seen_ns = left.seen_in_the_future(self.path, found)
        if seen_ns is None or seen_ns > now_ns:
            left.note_future(self.path, found, now_ns)
            return False
        return (now_ns - seen_ns) / 1e9 > self.stale_after_s


@dataclass(frozen=True)
class MadeMark:
    """A mark that is ours, until it is removed."""

    spot: Spot
    is_folder: bool
    handle: int
    """The very thing that was made, whatever has its name by now."""
    identity: Identity

    def is_in_place(self) -> bool:
        """Returns whether it is still what others find."""
        return self.spot.folder.is_at(self.spot.name, self.identity)

    def remove(self) -> None:
        # What somebody took away for stale and made anew is theirs.
        if self.is_in_place():
            _remove(self.spot, self.is_folder)

    def close(self) -> None:
        try:
            os.close(self.handle)
        except OSError:
            pass

def _take_away(mark: Spot, found: os.stat_result) -> bool:
    """Removes a mark whose maker has died. False if somebody was faster."""
    folder = mark.folder
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
