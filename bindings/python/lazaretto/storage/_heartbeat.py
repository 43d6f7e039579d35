"""A mark of ours shows that its maker lives, from a thread that touches nothing but the very thing
that was made: what another program puts in its place is never touched, for that program takes a
changed time for the loss of its lock.
"""

from __future__ import annotations

import os
import threading
from typing import Callable, List, Optional

BEAT_S = 5
"""How often a holder shows that it lives, by the mark's modification time."""
_AT_MOST_S = 600
"""A holder that hangs for longer must not keep another program out for ever."""


class Heartbeat:
    """Signs of life for open files and folders, until it is ended. The handles are its own."""

    def __init__(self, handles: List[int], signature: int, now_ns: Callable[[], int], every_s: float = BEAT_S) -> None:
        self._handles = [os.dup(handle) for handle in handles]
        self._signature = signature
        self._now_ns = now_ns
        self._every_s = every_s
        self._ended = threading.Event()
        self._thread: Optional[threading.Thread] = threading.Thread(target=self._beat, name="lazaretto-heartbeat", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:
            # No thread to spare: a mark is good for longer than a refresh takes without it.
            self._thread = None
            self._close()

    def end(self) -> None:
        self._ended.set()

    def _beat(self) -> None:
        for _ in range(int(_AT_MOST_S / self._every_s)):
            if self._ended.wait(self._every_s):
                break
            for handle in self._handles:
                touch(handle, self._now_ns(), self._signature)
        self._close()

    def _close(self) -> None:
        for handle in self._handles:
            os.close(handle)


def touch(handle: int, now_ns: int, signature: int) -> None:
    """Sets the time of a mark to now. ``signature`` are its microseconds: what a lazaretto made is
    known by them."""
    at = now_ns // 1_000_000_000 * 1_000_000_000 + signature * 1_000
    try:
        os.utime(handle, ns=(at, at))
    except OSError:
        pass  # it is a lock all the same
