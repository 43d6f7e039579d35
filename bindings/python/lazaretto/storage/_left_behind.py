"""What is known of the marks that a lazaretto made and may have left behind, and of those that lie
in the future: one line of JSON in ``T.lazaretto-locks/made``, read and written only by who holds
the vault's own lock. So whoever finds a mark of ours knows that its maker is gone. It may be
missing or torn: then a mark is as good as another program's, and ends by its age.
"""

from __future__ import annotations

import json
import os
import random
from typing import Any, Dict, List, Optional

_MAX_BYTES = 16 * 1024
"""What is longer was not written by us."""


class LeftBehind:
    """See above. From ``None`` nothing is known."""

    def __init__(self, handle: Optional[int] = None) -> None:
        known = _read(handle) if handle is not None else {}
        self._made = _records(known, "made", {"path": str, "inode": int, "micros": int})
        self._future = _records(known, "future", {"path": str, "inode": int, "modified_us": int, "seen_ms": int})
        self._is_changed = False
        # Microseconds that no clock with milliseconds shows.
        self.signature = random.randrange(1_000) * 1_000 + random.randrange(1, 1_000)
        """What this process's marks are known by."""

    def write(self, handle: int) -> None:
        """Writes it down, if anything is new."""
        if not self._is_changed:
            return
        self._is_changed = False
        try:
            line = json.dumps({"made": self._made, "future": self._future}, separators=(",", ":")) + "\n"
            os.ftruncate(handle, 0)
            os.pwrite(handle, line.encode(), 0)
        except (OSError, ValueError):
            pass  # without it a mark that is left behind ends by its age

    def note_made(self, path: str, inode: int) -> None:
        self._made = [ours for ours in self._made if ours["path"] != path]
        self._future = [future for future in self._future if future["path"] != path]
        self._made.append({"path": path, "inode": inode, "micros": self.signature})
        self._is_changed = True

    def is_ours(self, path: str, found: os.stat_result) -> bool:
        ours = {"path": path, "inode": found.st_ino, "micros": found.st_mtime_ns // 1_000 % 1_000_000}
        return any(made == ours for made in self._made)

    def note_future(self, path: str, found: os.stat_result, now_ns: int) -> None:
        self._future = [future for future in self._future if future["path"] != path]
        seen = {"path": path, "inode": found.st_ino, "modified_us": found.st_mtime_ns // 1_000, "seen_ms": now_ns // 1_000_000}
        self._future.append(seen)
        self._is_changed = True

    def seen_in_the_future(self, path: str, found: os.stat_result) -> Optional[int]:
        """Returns when a mark was first seen with the time that it has, in nanoseconds."""
        for future in self._future:
            if (future["path"], future["inode"], future["modified_us"]) == (path, found.st_ino, found.st_mtime_ns // 1_000):
                return int(future["seen_ms"]) * 1_000_000
        return None


def _read(handle: int) -> Dict[str, Any]:
    try:
        known = json.loads(os.pread(handle, _MAX_BYTES, 0))
    except (OSError, ValueError, RecursionError):
        return {}
    return known if isinstance(known, dict) else {}


def _records(known: Dict[str, Any], name: str, members: Dict[str, type]) -> List[Dict[str, Any]]:
    found = known.get(name)
    if not isinstance(found, list):
        return []
    return [
        {member: record[member] for member in members}
        for record in found
        if isinstance(record, dict) and all(type(record.get(member)) is kind for member, kind in members.items())
    ]
