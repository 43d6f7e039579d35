"""Whoever wants to know who holds a lock does not touch it.

``flock`` can be asked only by trying, and a try that succeeds keeps others out, if only for an
instant. So whoever holds a lock of ours with ``flock`` also holds a lock of its open file
(``F_OFD_SETLK``) on the first byte. That one excludes nobody, since nobody waits for it, and
whether it is held can be asked without taking anything (``F_OFD_GETLK``). Both end with their
holder.
"""

from __future__ import annotations

import os
import struct
import sys
from typing import Optional

from . import _holder
from .contract import Holder

_FLOCK = "hhqqi"
"""``struct flock`` of Linux: type, whence, start, length, pid."""


def show(handle: int) -> None:
    """Lets others see that the lock is held. Where that cannot be done, they go by the hint."""
    if sys.platform == "linux":
        import fcntl

        _ask(handle, fcntl.F_OFD_SETLK, fcntl.F_WRLCK)


def hide(handle: int) -> None:
    """The lock is about to be let go."""
    if sys.platform == "linux":
        import fcntl

        _ask(handle, fcntl.F_OFD_SETLK, fcntl.F_UNLCK)


def holder(handle: int, grant: Optional[str]) -> Optional[Holder]:
    """Returns who holds the lock for ``grant``, if it is one on grants. None if nobody does."""
    # Between two holders there is no hint, and between a holder's last steps too.
    for _ in range(3):
        held = _is_held(handle)
        hint = _holder.read(handle)
        if not (hint is not None and hint.is_of_a_living_process_here() if held is None else held):
            return None
        if hint is not None:
            return hint.holder() if hint.may_be_for(grant) else None
    return Holder()


def _is_held(handle: int) -> Optional[bool]:
    """None: this system cannot tell."""
    if sys.platform == "linux":
        import fcntl

        found = _ask(handle, fcntl.F_OFD_GETLK, fcntl.F_WRLCK)
        return None if found is None else found != fcntl.F_UNLCK
    return None


def _ask(handle: int, command: int, kind: int) -> Optional[int]:
    """Returns the kind of lock that the answer names. None: it cannot be told or done."""
    if sys.platform != "linux":
        return None
    import fcntl

    try:
        answer = fcntl.fcntl(handle, command, struct.pack(_FLOCK, kind, os.SEEK_SET, 0, 1, 0))
    except OSError:
        return None
    return int(struct.unpack(_FLOCK, answer)[0])
