"""A lock is held by an open file, so it ends with its holder and with nothing else: never by age,
never because somebody removed a file. Locks are ``flock`` on files of their own, which are never
deleted; two handles exclude each other within one process as between two.
"""

from __future__ import annotations

import contextlib
import os
import random
import stat
import time
from dataclasses import dataclass
from typing import Callable, List, Optional, Tuple, Union

from . import _holder, _lock_probe
from ._errors import cannot_create, io_error
from ._folder import Folder, Identity, Spot, identity_of
from ._heartbeat import Heartbeat
from ._left_behind import LeftBehind
from ._foreign_marks import MadeMark, Mark
from ._file_owner import check_beside, check_locks_folder
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
    spot: Spot
    identity: Identity

    def is_in_place(self) -> bool:
        """Returns whether it is still the file that others would lock: somebody may have moved or
        removed it all the same."""
        return self.spot.folder.is_at(self.spot.name, self.identity)


class Held:
    """Locks that are held until this is let go."""

    def __init__(self, locks: List[_Lock], made: List[MadeMark], heartbeat: Optional[Heartbeat], folder: Spot) -> None:
        # Another program's, in the order of taking, and our own as the last.
        self._locks = locks
        self._made = made
        self._heartbeat = heartbeat
        # Where our own locks are looked for, and the folder that ours lies in.
        self._folder = folder
        # One that is forked off has the files too, but not the right.
        self._pid = os.getpid()

    def is_of_this_process(self) -> bool:
        return self._pid == os.getpid()

    def is_in_place(self) -> bool:
        """Returns whether all of them still are where others find them, seen from the folders that
        they were taken in."""
        locks = list(self._locks)
        if not locks or not self._folder.folder.is_at(self._folder.name, locks[-1].spot.folder.identity):
            return False
        return all(lock.is_in_place() for lock in locks) and all(made.is_in_place() for made in self._made)

    def let_go(self) -> None:
        locks, self._locks = self._locks, []
        made, self._made = self._made, []
        if not locks:
            return
        if self.is_of_this_process():
            _lock_probe.hide(locks[-1].handle)
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

    foreign: List[Spot]
    """Another program's own lock files: locked, never written."""
    marks: List[Mark]
    """Other programs' too, of those that lock by making something."""
    anchor: Spot
    """The file beside which the folder of our own locks lies."""
    own: str
    """Ours, by its name in that folder."""
    owner: int
    """The user to whom, or to root, all of them must belong."""
    grant: Optional[str] = None
    """The fingerprint of the grant that it is wanted for, if it is one on grants."""
    now_ns: Callable[[], int] = time.time_ns
    """What time the marks are dated with and judged by."""

    def take(self, patience: Patience) -> Union[Held, Holder]:
        """Takes all of them, or none: then who may hold one of them."""
        folder = self._own_folder()
        locks = self._open(self._open_own(folder))
        held = None
        try:
            while True:
                busy = _lock_all(locks)
                if busy is None:
                    made = self._make_all(locks[-1].spot.beside(LEFT_BEHIND))
                    if isinstance(made, tuple):
                        _holder.write(locks[-1].handle, self.grant)
                        _lock_probe.show(locks[-1].handle)
                        held = Held(locks, *made, folder)
                        return held
                    _unlock(locks)
                    holder = Holder(_held_by_a_program(made.spot.path))
                else:
                    holder = _who_holds(locks, busy)
                if not patience.pause():
                    return holder
        finally:
            if held is None:
                _close(locks)  # and so unlocks

    def holder(self) -> Optional[Holder]:
        """Returns who holds our own lock. Nothing is taken, made or written."""
        _no_host_without_flock(self.anchor)
        folder = self._own_folder()
        try:
            own = folder.folder.enter(folder.name)
            check_locks_folder(folder.path, own.stat, self.owner)
            handle = own.open(self.own, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise io_error("look at the lock in", folder.path, error) from None
        try:
            return _lock_probe.holder(handle, self.grant)
        finally:
            os.close(handle)

    def _own_folder(self) -> Spot:
        return self.anchor.beside(self.anchor.name + ".lazaretto-locks")

    def _make_all(self, known_in: Spot) -> Union[Tuple[List[MadeMark], Optional[Heartbeat]], Mark]:
        """Makes every mark, or none: then it returns the mark that somebody else holds. Our own
        lock is held, so nobody else reads or writes what is known of them."""
        if not self.marks:
            return [], None
        known = _open_lock(known_in, self.owner).handle
        made: List[MadeMark] = []
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

    def _make_each(self, made: List[MadeMark], left: LeftBehind) -> Optional[Mark]:
        for mark in self.marks:
            try:
                new = mark.make(self.now_ns(), left)
            except StorageError:
                if mark.is_optional:
                    continue
                raise
            if new is None:
                return mark
            made.append(new)
        return None

    def _open(self, own: Folder) -> List[_Lock]:
        """Opens all locks in their order, each once: two names of one lock file would wait for
        each other for ever."""
        locks: List[_Lock] = []
        try:
            for spot in [*self.foreign, Spot(own, self.own)]:
                lock = _open_lock(spot, self.owner)
                if any(lock.identity == other.identity for other in locks):
                    os.close(lock.handle)
                else:
                    locks.append(lock)
        except StorageError:
            _close(locks)
            raise
        return locks

    def _open_own(self, folder: Spot) -> Folder:
        """Opens the folder of our own locks, and creates it if it is missing."""
        _no_host_without_flock(self.anchor)
        try:
            own = folder.folder.enter(folder.name)
        except FileNotFoundError:
            own = self._create_own(folder)
        except OSError as error:
            raise _not_our_folder(folder, error) from None
        check_locks_folder(folder.path, own.stat, self.owner)
        return own

    def _create_own(self, folder: Spot) -> Folder:
        try:
            own = folder.folder.make(folder.name)
        except OSError as error:
            if folder.folder.has(folder.name):
                raise _not_our_folder(folder, error) from None
            raise cannot_create(folder.path, error) from None
        try:
            # Such a host makes its folder and then looks for this one: of two that begin at once
            # none goes on.
            _no_host_without_flock(self.anchor)
        except StorageError:
            with contextlib.suppress(OSError):
                folder.folder.remove_dir(folder.name)
            raise
        return own


def _remove_all(made: List[MadeMark]) -> None:
    for mark in made:
        mark.remove()
        mark.close()


def _not_our_folder(folder: Spot, error: OSError) -> StorageError:
    try:
        is_folder = stat.S_ISDIR(folder.folder.look(folder.name).st_mode)
    except OSError:
        is_folder = True
    if is_folder:
        return io_error("open the directory", folder.path, error)
    return StorageError("unsafe", f"{folder.path} is not a directory: lazaretto keeps its locks there; move it away")


def _no_host_without_flock(anchor: Spot) -> None:
    """A WASI host takes none of these locks, and keeps leases of its own in a folder beside ours:
    both at once would lose updates."""
    theirs = anchor.beside(anchor.name + ".lazaretto-wasi")
    if not theirs.folder.has(theirs.name):
        return
    what = f"{anchor.path} is used by a lazaretto on a WASI host, which sees none of this one's locks"
    fix = f"nothing is written. If no such lazaretto uses the vault any more, remove {theirs.path}"
    raise StorageError("unsupported", f"{what}: {fix}")


def _open_lock(spot: Spot, owner: int) -> _Lock:
    """Opens a lock file, and creates it for its owner alone if it is missing."""
    flags = os.O_RDWR | os.O_NONBLOCK | os.O_NOCTTY
    try:
        handle = spot.folder.open(spot.name, flags)
    except FileNotFoundError:
        try:
            handle = spot.folder.open(spot.name, flags | os.O_CREAT | os.O_EXCL)
        except FileExistsError:
            return _open_lock(spot, owner)  # somebody else was faster: theirs is the lock
        except OSError as error:
            raise cannot_create(spot.path, error) from None
    except OSError as error:
        raise io_error("open the lock", spot.path, error) from None
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise StorageError("unsafe", f"the lock {spot.path} is not a file: move it away")
        check_beside(spot.path, found, owner)
    except BaseException:
        os.close(handle)
        raise
    return _Lock(handle, spot, identity_of(found))


def _lock_all(locks: List[_Lock]) -> Optional[int]:
    """Locks all of them, or none: who kept the first while waiting for the second could wait for
    somebody who does the opposite, and another program's order is its own. A number: the one that
    somebody else holds."""
    for at, lock in enumerate(locks):
        try:
            fcntl.flock(lock.handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _unlock(locks[:at])
            return at
        except OSError as error:
            _unlock(locks[:at])
            raise io_error("lock", lock.spot.path, error) from None
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
    """Returns who may hold ``locks[busy]``. Another program's lock: a lazaretto, if one that lives
    says so in our own lock file."""
    hint = _holder.read(locks[-1].handle)
    if busy + 1 == len(locks):
        return hint.holder() if hint else Holder()
    if hint and hint.is_of_a_living_process_here():
        return hint.holder()
    return Holder(_held_by_a_program(locks[busy].spot.path))


def _held_by_a_program(path: str) -> str:
    return f"a program that holds {path}"
