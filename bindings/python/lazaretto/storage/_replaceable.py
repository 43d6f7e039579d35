"""Before a token is spent it is known that its vault can take the next one. It is no promise: what
follows a store that fails all the same stays as it is.
"""

from __future__ import annotations

import errno
import os
import struct
from typing import Optional

from ._errors import io_error, mounted
from ._folder import Spot
from ._replace import create_temp, temp_name
from ._file_owner import check_owner
from .contract import StorageError

try:
    import fcntl
except ImportError:  # Windows: FileStorage says so when it is made
    fcntl = None  # type: ignore[assignment]

_ROOM_BYTES = 64 * 1024
"""How much larger than it is a vault may get by one refresh."""

_FS_IOC_GETFLAGS = 2 << 30 | struct.calcsize("l") << 16 | ord("f") << 8 | 1
_IMMUTABLE, _APPEND_ONLY = 0x10, 0x20


def check_replaceable(vault: Spot) -> None:
    """Fails with cause and cure if ``vault`` cannot be replaced now."""
    size = _check_file(vault)
    _check_flags(vault.folder.path, _readable(vault))
    _check_room(vault, size + _ROOM_BYTES)


def _check_file(vault: Spot) -> int:
    """Checks the file itself, and gives its size; one that is not there yet has none."""
    try:
        handle = vault.folder.open(vault.name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise io_error("read", vault.path, error) from None
    try:
        found = os.fstat(handle)
        check_owner(vault.path, found.st_uid)
        if _is_mounted(handle, vault):
            raise mounted(vault.path)
        _check_flags(vault.path, handle)
        return found.st_size
    finally:
        os.close(handle)


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
            raise StorageError(
                "read-only", f"{path} is {word}, so the vault cannot be replaced. Run: chattr -{letter} {path}"
            )


def _check_room(vault: Spot, count: int) -> None:
    """Makes the temporary file that a store would make, with room for what it would write, and
    removes it again."""
    temp = vault.beside(temp_name(vault.name))
    handle = create_temp(temp)
    try:
        _allocate(handle, vault, count)
    finally:
        os.close(handle)
        try:
            temp.folder.remove(temp.name)
        except OSError:
            pass  # it is empty, and a later store removes it


def _allocate(handle: int, vault: Spot, count: int) -> None:
    allocate = getattr(os, "posix_fallocate", None)  # not on macOS
    if allocate is None:
        return
    try:
        allocate(handle, 0, count)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL):
            raise io_error(f"set {count // 1024} KiB aside beside", vault.path, error) from None
