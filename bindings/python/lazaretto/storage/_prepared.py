"""Before a refresh token is spent, what the store of its successor needs is made ready: a temporary
file beside the document, with its blocks allocated. It is no promise: a disk can fail at any time.
"""

from __future__ import annotations

import errno
import os
import struct
from typing import Optional

from ._errors import cannot_create, io_error, mounted
from ._file_owner import check_owner
from ._folder import Spot
from ._temporary import Temporary
from .contract import PrepareCause, PrepareError, StorageError

try:
    import fcntl
except ImportError:  # Windows: FileStorage says so when it is made
    fcntl = None  # type: ignore[assignment]

_ROOM_BYTES = 64 * 1024
"""How much larger than expected the text may become."""

_CAUSES = {
    errno.EROFS: PrepareCause.READ_ONLY,
    errno.EPERM: PrepareCause.IMMUTABLE,  # an attribute that the file system does not tell of
    errno.EACCES: PrepareCause.FOLDER,
    errno.ENOSPC: PrepareCause.NO_ROOM,
    errno.EDQUOT: PrepareCause.NO_ROOM,
    errno.EFBIG: PrepareCause.NO_ROOM,
}
"""What an error means of a file that is being made or allocated."""

_FS_IOC_GETFLAGS = 2 << 30 | struct.calcsize("l") << 16 | ord("f") << 8 | 1
_IMMUTABLE, _APPEND_ONLY = 0x10, 0x20


def prepare(target: Spot, size: int) -> Temporary:
    """Makes the temporary file for a text of ``size`` bytes. Raises :class:`PrepareError`."""
    try:
        _check_file(target)
        _check_flags(target.folder.path, _readable(target))
    except PrepareError:
        raise
    except StorageError as error:
        raise PrepareError(PrepareCause.OTHER, error.code, error.message) from None
    try:
        temp = Temporary.create(target)
    except OSError as error:
        raise _because(error, cannot_create(f"a file in {target.folder.path}", error)) from None
    try:
        _allocate(temp.handle, target, size + _ROOM_BYTES)
    except BaseException:
        temp.remove()
        temp.close()
        raise
    temp.show_that_it_is_wanted()
    return temp


def check_replaceable(vault: Spot) -> None:
    """Raises :class:`PrepareError` if ``vault`` cannot be replaced now by a text of its size."""
    try:
        size = vault.folder.look(vault.name).st_size
    except OSError:
        size = 0
    temp = prepare(vault, size)
    temp.remove()
    temp.close()


def _check_file(vault: Spot) -> None:
    """Checks the file itself, if it exists."""
    try:
        handle = vault.folder.open(vault.name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except FileNotFoundError:
        return
    except OSError as error:
        raise io_error("read", vault.path, error) from None
    try:
        found = os.fstat(handle)
        _check_owner(vault, found)
        if _is_mounted(handle, vault):
            refused = mounted(vault.path)
            raise PrepareError(PrepareCause.MOUNT_POINT, refused.code, refused.message)
        _check_flags(vault.path, handle)
    finally:
        os.close(handle)


def _check_owner(vault: Spot, found: os.stat_result) -> None:
    try:
        check_owner(vault.path, found.st_uid)
    except StorageError as error:
        raise PrepareError(PrepareCause.NOT_OWNER, error.code, error.message) from None


def _is_mounted(handle: int, vault: Spot) -> bool:
    """Returns whether the file is the root of a mount: nothing can be renamed over one."""
    mount, of_folder = _mount_of(handle), _mount_of(vault.folder.handle)
    if mount is None or of_folder is None:
        return os.fstat(handle).st_dev != vault.folder.stat.st_dev
    return mount != of_folder


def _mount_of(handle: int) -> Optional[str]:
    """Returns what tells one mount from another. None: this system does not say."""
    try:
        with open(f"/proc/self/fdinfo/{handle}", "rb") as lines:
            for line in lines:
                if line.startswith(b"mnt_id:"):
                    return line[len(b"mnt_id:") :].strip().decode("ascii", "replace")
    except OSError:
        pass
    return None


def _readable(vault: Spot) -> int:
    try:
        return vault.folder.readable()
    except OSError as error:
        raise io_error("open the directory", vault.folder.path, error) from None


def _check_flags(path: str, handle: int) -> None:
    try:
        answer = fcntl.ioctl(handle, _FS_IOC_GETFLAGS, bytes(struct.calcsize("l")))
    except OSError:
        return  # a file system without such flags
    # The kernel fills in an int, whatever the request says.
    flags = struct.unpack_from("i", answer)[0]
    for flag, word, letter in ((_IMMUTABLE, "immutable", "i"), (_APPEND_ONLY, "append-only", "a")):
        if flags & flag:
            raise PrepareError(
                PrepareCause.IMMUTABLE,
                "read-only",
                f"{path} is {word}, so the vault cannot be replaced. Run: chattr -{letter} {path}"
            )


def _allocate(handle: int, vault: Spot, count: int) -> None:
    allocate = getattr(os, "posix_fallocate", None)  # not on macOS
    if allocate is None:
        return
    try:
        allocate(handle, 0, count)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL):
            failed = io_error(f"set {count // 1024} KiB aside beside", vault.path, error)
            raise _because(error, failed) from None


def _because(error: OSError, said: StorageError) -> PrepareError:
    cause = _CAUSES.get(error.errno or 0, PrepareCause.OTHER)
    return PrepareError(cause, said.code, said.message)
