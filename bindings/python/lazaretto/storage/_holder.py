"""Who holds a lock, as its holder wrote into the lock file: a hint for a person, which nothing is
decided by."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from typing import Dict, Optional

from .contract import Holder


@dataclass(frozen=True)
class Hint:
    """One line of JSON."""

    pid: int
    host: str
    since_ms: Optional[int]
    grant: Optional[str] = None
    """The fingerprint of the grant that the lock is held for: several share one."""

    def may_be_for(self, grant: Optional[str]) -> bool:
        """Returns whether its writer holds the lock for this grant, or does not say what for."""
        return self.grant is None or grant is None or self.grant == grant

    def is_of_a_living_process_here(self) -> bool:
        return self.host == host_name() and is_alive(self.pid)

    def holder(self) -> Holder:
        name = f"pid {self.pid} on {self.host}" if self.host else f"pid {self.pid}"
        return Holder(name, self.since_ms)


def write(handle: int, grant: Optional[str] = None) -> None:
    """Says who holds the lock, and for which grant."""
    hint: Dict[str, object] = {"pid": os.getpid(), "host": host_name(), "since_ms": time.time_ns() // 1_000_000}
    if grant is not None:
        hint["grant"] = grant
    line = json.dumps(hint, separators=(",", ":"))
    try:
        os.pwrite(handle, (line + "\n").encode(), 0)
        os.ftruncate(handle, len(line) + 1)  # the last holder may have died and left a longer one
    except OSError:
        pass  # a full disk is no reason not to hold a lock


def clear(handle: int) -> None:
    """So that there is a hint only while there is a holder."""
    try:
        os.ftruncate(handle, 0)
    except OSError:
        pass


def read(handle: int) -> Optional[Hint]:
    """None: nothing there that can be understood."""
    try:
        found = json.loads(os.pread(handle, 512, 0).split(b"\n")[0])
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    pid, host, since = found.get("pid"), found.get("host", ""), found.get("since_ms")
    if not isinstance(pid, int) or isinstance(pid, bool) or not 0 <= pid < 1 << 32 or not isinstance(host, str):
        return None
    is_time = isinstance(since, int) and not isinstance(since, bool) and 0 <= since < 1 << 63
    grant = found.get("grant")
    return Hint(pid, _printable(host), since if is_time else None, grant if isinstance(grant, str) else None)


def is_alive(pid: int) -> bool:
    """Returns whether there is such a process on this machine. In doubt, yes."""
    if not 0 < pid < 1 << 31:
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def host_name() -> str:
    """Returns the name of this machine; empty if it cannot be told."""
    try:
        return _printable(os.uname().nodename)
    except OSError:
        return ""


def _printable(text: str) -> str:
    # It is shown on a terminal, and anybody who can write the lock file wrote it.
    return "".join(c for c in text if "!" <= c <= "~")[:64]
