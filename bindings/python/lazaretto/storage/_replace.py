"""A document is the old text or the new one at every moment, whole, whatever fails or crashes: the
new text is written beside it under another name, synced, and renamed over it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from dataclasses import dataclass
from typing import Callable, Optional

from . import _unsynced
from ._errors import cannot_create, io_error, mounted
from ._folder import Folder, Spot, sync_dir
from ._sync import sync
from ._file_owner import check_owner
from ._temporary import Temporary, remove_leftovers
from ._text import Text
from .contract import UNKNOWN, Stale, Stored, StoreOutcome, version_of


@dataclass(frozen=True)
class Change:
    """One replacement of a document."""

    target: Spot
    """The document."""
    unsynced: Optional[str]
    """The name of a text beside it that need not be durable. None: there never is one."""
    text: bytes
    expected: Optional[str]
    """The version that it must be at. None: it must not exist."""
    durable: bool
    prepared: Optional[Temporary] = None
    """What was made ready for it. It is used if it is still there."""

    def __repr__(self) -> str:
        return f"<Change of {self.target.path}, {len(self.text)} bytes>"


def replace(change: Change, read: Callable[[], Optional[Text]]) -> StoreOutcome:
    """Performs ``change`` under the document's lock, which the caller holds. ``read`` reads the
    document."""
    before = read()
    if _version(before) != change.expected:
        return _stale(before)
    _clear(change, before)

    # The first text of a document needs a file of its own.
    spelled = None
    if change.unsynced is not None and before is not None and not change.durable:
        spelled = _unsynced.spelled(before.base, change.text)

    temp = change.prepared
    if temp is None or not temp.is_in_place():
        try:
            temp = Temporary.create(change.target)
        except OSError as error:
            raise cannot_create(f"a file in {change.target.folder.path}", error) from None
    try:
        return _replace_by(temp, change, before, spelled, read)
    finally:
        if temp is not change.prepared:
            temp.close()


def _replace_by(
    temp: Temporary,
    change: Change,
    before: Optional[Text],
    spelled: Optional[bytes],
    read: Callable[[], Optional[Text]],
) -> StoreOutcome:
    """Writes the text into ``temp``, and renames it over the document."""
    folder = change.target.folder
    try:
        _write(temp, change, before, spelled)
        # As late as can be, for programs that keep no lock.
        now = read()
        if _version(now) != change.expected or (now and now.base) != (before and before.base):
            temp.remove()
            return _stale(now)
        to = change.unsynced if spelled is not None and change.unsynced is not None else change.target.name
        try:
            folder.rename(temp.spot.name, to)
        except OSError as error:
            # What still has its own name has not taken the other's.
            if folder.has(temp.spot.name):
                if error.errno == errno.EBUSY:
                    raise mounted(change.target.path) from None
                raise io_error("replace", change.target.path, error) from None
            return UNKNOWN
    except BaseException:
        temp.remove()
        raise

    try:
        if change.unsynced is not None and _is_unsynced(before) and spelled is None:
            folder.remove(change.unsynced)
        if change.durable:
            sync_dir(folder)
    except OSError:
        return UNKNOWN
    return Stored(version_of(change.text))


def _clear(change: Change, before: Optional[Text]) -> None:
    """Sees to what may lie in the directory and must not stay there."""
    folder = change.target.folder
    try:
        folder.readable()  # what cannot be opened is found out before anything is changed
    except OSError as error:
        raise io_error("open the directory", folder.path, error) from None
    remove_leftovers(folder, change.target.name)
    if change.durable and before is None:
        _sync_way_to(folder)

    if change.unsynced is not None and not _is_unsynced(before) and folder.has(change.unsynced):
        # It was left behind. It must not come back if the file below it should ever be at that
        # version again.
        try:
            folder.remove(change.unsynced)
            sync_dir(folder)
        except OSError as error:
            raise io_error("remove", folder.joined(change.unsynced), error) from None


def _write(temp: Temporary, change: Change, before: Optional[Text], spelled: Optional[bytes]) -> None:
    target = change.target.path
    _keep_group_and_mode(temp.handle, target, before)
    try:
        temp.write(change.text if spelled is None else spelled)
    except OSError as error:
        raise io_error("write", target, error) from None
    # Also when the store need not be durable: a rename that reaches the disk before the content it
    # names would leave an empty document after a power cut.
    if spelled is None:
        try:
            sync(temp.handle)
        except OSError as error:
            raise io_error("sync", target, error) from None


def _version(text: Optional[Text]) -> Optional[str]:
    return None if text is None else text.document.version


def _is_unsynced(text: Optional[Text]) -> bool:
    return text is not None and text.is_unsynced


def _stale(current: Optional[Text]) -> Stale:
    return Stale(None if current is None else current.document)


def _keep_group_and_mode(file: int, target: str, before: Optional[Text]) -> None:
    """The file keeps its owner and its group, and never gets more rights than it had; everybody
    else has none."""
    born = os.fstat(file)
    mode = 0o600
    if before is not None:
        check_owner(target, before.stat.st_uid)
        mode |= before.stat.st_mode & 0o770
        if before.stat.st_gid != born.st_gid:
            try:
                os.fchown(file, -1, before.stat.st_gid)
            except OSError:
                mode &= 0o700  # what was meant for that group is for no other
    if stat.S_IMODE(born.st_mode) != mode:
        try:
            os.fchmod(file, mode)
        except OSError as error:
            raise io_error("set the mode of the new", target, error) from None


def _sync_way_to(folder: Folder) -> None:
    """Makes the names of the directories that lead to ``folder`` durable, on its file system.
    Somebody else may have created them just now, and have died before telling the disk."""
    below = folder
    while True:
        try:
            above = below.enter("..")
            if above.stat.st_dev != folder.stat.st_dev or above.identity == below.identity:
                return
            with contextlib.suppress(PermissionError):  # who may not read a directory has hardly created one in it
                sync_dir(above)
        except OSError as error:
            raise io_error("sync the directories above", folder.path, error) from None
        below = above
