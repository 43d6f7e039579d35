"""A lock is held by an open file, so it ends with its holder and with nothing else: never by age, never because somebody
removed a file. Locks are ``flock`` on files of their own, which are never deleted; two handles exclude each other within
one process as between two.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import stat
import time
from dataclasses import dataclass
from typing import Callable, List, Optional, Tuple, Union

from . import _holder
from ._errors import io_error
from ._heartbeat import Heartbeat
from ._left_behind import LeftBehind
from ._marks import Made, Mark
from .contract import Holder, StorageError

try:
    import fcntl
except ImportError:  # Windows: FileStorage says so when it is made
    fcntl = None  # type: ignore[assignment]

HAVE_FLOCK = fcntl is not None
_FIRST_PAUSE_S = 0.001
_LONGEST_PAUSE_S = 0.025
LEFT_BEHIND = "made"
"""What is known of other tools' locks, in the directory of ours."""

Owner = Optional[Tuple[int, int]]


class Patience:
    """How long somebody is ready to wait, for all locks together."""

    def __init__(self, wait_s: float) -> None:
        self._until = time.monotonic() + wait_s
        self._next_s = _FIRST_PAUSE_S

    def pause(self) -> bool:
        """Waits a little. False: the patience has ended."""
        left = self._until - time.monotonic()
        if left <= 0:
            return False
        # Half of the pause by chance, so that those who wait do not all look at the same moment.
        time.sleep(min(self._next_s * (0.5 + random.random() / 2), left))
        self._next_s = min(self._next_s * 2, _LONGEST_PAUSE_S)
        return True


@dataclass(frozen=True)
class _Lock:
    handle: int
    path: str
    identity: Tuple[int, int]


class Held:
    """Locks that are held until this is let go."""

    def __init__(self, locks: List[_Lock], made: List[Made], heartbeat: Optional[Heartbeat]) -> None:
        # Another program's, in the order of taking, and our own as the last.
        self._locks = locks
        self._made = made
        self._heartbeat = heartbeat
        # One that is forked off has the files too, but not the right.
        self._pid = os.getpid()

    def is_of_this_process(self) -> bool:
        return self._pid == os.getpid()

    def is_in_place(self) -> bool:
        """Whether each is still the file that others would lock: somebody may have moved or removed it all the same."""
        for lock in self._locks:
            try:
                if _identity(os.lstat(lock.path)) != lock.identity:
                    return False
            except OSError:
                return False
        return all(made.is_in_place() for made in self._made)

    def let_go(self) -> None:
        locks, self._locks = self._locks, []
        made, self._made = self._made, []
        if not locks:
            return
        if self.is_of_this_process():
            _holder.clear(locks[-1].handle)
            if self._heartbeat:
                self._heartbeat.end()
            for mark in made:
                mark.remove()
            # Closing would do, but for a process forked off in between, which keeps the file open.
            _unlock(locks)
        _close(locks)
        for mark in made:
            mark.close()

    def __del__(self) -> None:
        self.let_go()


@dataclass(frozen=True)
class Locks:
    """The locks that make up one lease, in the order in which they are taken."""

    foreign: List[str]
    """Another program's own lock files: locked, never written."""
    marks: List[Mark]
    """Other programs' too, of those that lock by making something."""
    own: str
    """Ours, in a directory that is ours as well."""
    owner: Owner
    """Whom lock files that do not exist yet are to belong to. None: to this process."""
    now_ns: Callable[[], int] = time.time_ns
    """What time the marks are dated with and judged by."""

    def take(self, patience: Patience) -> Union[Held, Holder]:
        """Takes all of them, or none: then who may hold one of them."""
        self._create_own_dir()
        locks = self._open()
        held = None
        try:
            while True:
                busy = _lock_all(locks)
                if busy is None:
                    made = self._make_all()
                    if isinstance(made, tuple):
                        _holder.write(locks[-1].handle)
                        held = Held(locks, *made)
                        return held
                    _unlock(locks)
                    holder = Holder(_held_by_a_program(made.path))
                else:
                    holder = _who_holds(locks, busy)
                if not patience.pause():
                    return holder
        finally:
            if held is None:
                _close(locks)  # and so unlocks

    def _make_all(self) -> Union[Tuple[List[Made], Optional[Heartbeat]], Mark]:
        """Every mark, or none: then the one that somebody else holds. Our own lock is held, so nobody else reads or writes what
        is known of them."""
        if not self.marks:
            return [], None
        known = _open_lock(os.path.join(os.path.dirname(self.own), LEFT_BEHIND), self.owner).handle
        made: List[Made] = []
        try:
            left = LeftBehind(known)
            busy = self._make_each(made, left)
            left.write(known)
            if busy is None:
                return made, Heartbeat([mark.handle for mark in made], left.signature, self.now_ns)
        except StorageError:
            _remove_all(made)
            raise
        finally:
            os.close(known)
        _remove_all(made)
        return busy

    def _make_each(self, made: List[Made], left: LeftBehind) -> Optional[Mark]:
        for mark in self.marks:
            try:
                new = mark.make(self.owner, self.now_ns(), left)
            except StorageError:
                if mark.is_optional:
                    continue
                raise
            if new is None:
                return mark
            made.append(new)
        return None

    def _open(self) -> List[_Lock]:
        """All of them in their order, each once: two names of one lock file would wait for each other for ever."""
        locks: List[_Lock] = []
        try:
            for path in [*self.foreign, self.own]:
                lock = _open_lock(path, self.owner)
                if any(lock.identity == other.identity for other in locks):
                    os.close(lock.handle)
                else:
                    locks.append(lock)
        except StorageError:
            _close(locks)
            raise
        return locks

    def _create_own_dir(self) -> None:
        folder = os.path.dirname(self.own)
        _no_host_without_flock(folder)
        try:
            if stat.S_ISDIR(os.lstat(folder).st_mode):
                return
            what = "is not a directory: lazaret keeps its locks there; move it away"
            raise StorageError("unsafe", f"{folder} {what}")
        except FileNotFoundError:
            pass
        except OSError as error:
            raise io_error("look at", folder, error) from None
        create_dirs(folder)
        try:
            # Such a host makes its folder and then looks for this one: of two that begin at once none goes on.
            _no_host_without_flock(folder)
        except StorageError:
            with contextlib.suppress(OSError):
                os.rmdir(folder)
            raise
        if self.owner is not None:
            handle = open_dir(folder)
            try:
                os.fchown(handle, *self.owner)
            except OSError as error:
                raise io_error("give its owner the directory", folder, error) from None
            finally:
                os.close(handle)


def _remove_all(made: List[Made]) -> None:
    for mark in made:
        mark.remove()
        mark.close()


def _no_host_without_flock(folder: str) -> None:
    """A WASI host takes none of these locks, and keeps leases of its own in a folder beside ours: both at once would lose updates."""
    ours = ".lazaret-locks"
    theirs = folder[: -len(ours)] + ".lazaret-wasi"
    if not folder.endswith(ours) or not os.path.lexists(theirs):
        return
    what = f"{folder[: -len(ours)]} is used by a lazaret on a WASI host, which sees none of this one's locks"
    fix = f"nothing is written. If no such lazaret uses the vault any more, remove {theirs}"
    raise StorageError("unsupported", f"{what}: {fix}")


def create_dirs(path: str) -> None:
    """Creates ``path`` and the directories above it that are missing, durably and for their owner alone."""
    if os.path.isdir(path):
        return
    above = os.path.dirname(path)
    if above == path:
        return
    create_dirs(above)
    try:
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            pass
        handle = open_dir(above)
        try:
            sync_dir(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise io_error("create the directory", path, error) from None


def open_dir(path: str) -> int:
    """A directory, open since before anything in it is changed: what cannot be opened is found out in time."""
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise io_error("open the directory", path, error) from None


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


def sync_dir(handle: int) -> None:
    """Returns once the names in the directory are on the disk."""
    try:
        sync(handle)
    except OSError as error:
        # A file system that has nothing to sync in a directory says so; it is not a failure.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise


def _open_lock(path: str, owner: Owner) -> _Lock:
    """Opens a lock file, and creates it for its owner alone if it is missing."""
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        try:
            handle = os.open(path, flags)
        except FileNotFoundError:
            try:
                handle = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
            except FileExistsError:
                handle = os.open(path, flags)  # somebody else was faster: theirs is the lock
            else:
                if owner is not None:
                    try:
                        os.fchown(handle, *owner)
                    except OSError:
                        os.close(handle)
                        raise
        found = os.fstat(handle)
    except OSError as error:
        raise io_error("open the lock", path, error) from None
    if stat.S_ISREG(found.st_mode):
        return _Lock(handle, path, _identity(found))
    os.close(handle)
    raise StorageError("unsafe", f"the lock {path} is not a file: move it away")


def _identity(found: os.stat_result) -> Tuple[int, int]:
    return (found.st_dev, found.st_ino)


def _lock_all(locks: List[_Lock]) -> Optional[int]:
    """Locks all of them, or none: who kept the first while waiting for the second could wait for somebody who does the
    opposite, and another program's order is its own. A number: the one that somebody else holds."""
    for at, lock in enumerate(locks):
        try:
            fcntl.flock(lock.handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _unlock(locks[:at])
            return at
        except OSError as error:
            _unlock(locks[:at])
            raise io_error("lock", lock.path, error) from None
    return None


def _unlock(locks: List[_Lock]) -> None:
    """In the reverse of the order of taking."""
    for lock in reversed(locks):
        try:
            fcntl.flock(lock.handle, fcntl.LOCK_UN)
        except OSError:
            pass  # it is unlocked when it is closed


def _close(locks: List[_Lock]) -> None:
    for lock in locks:
        try:
            os.close(lock.handle)
        except OSError:
            pass


def _who_holds(locks: List[_Lock], busy: int) -> Holder:
    """Who may hold ``locks[busy]``. Another program's lock: a lazaret, if one that lives says so in our own lock file."""
    hint = _holder.read(locks[-1].handle)
    if busy + 1 == len(locks):
        return hint.holder() if hint else Holder()
    if hint and hint.is_of_a_living_process_here():
        return hint.holder()
    return Holder(_held_by_a_program(locks[busy].path))


def _held_by_a_program(path: str) -> str:
    return f"a program that holds {path}"
