"""What was synced survives the machine, if its disk does what a sync asks."""

from __future__ import annotations

import os

try:
    import fcntl
except ImportError:  # Windows: FileStorage says so when it is made
    fcntl = None  # type: ignore[assignment]


def sync(handle: int) -> None:
    """Returns once the content is on the disk."""
    full = getattr(fcntl, "F_FULLFSYNC", None)  # macOS: fsync alone leaves it in the disk's cache
    if full is not None:
        try:
            fcntl.fcntl(handle, full)
            return
        except OSError:
            pass  # a file system that does not know it
    os.fsync(handle)
