"""What the system says, as a :class:`StorageError`: a code to act on, and a sentence with the path
and the way out."""

from __future__ import annotations

import errno
import stat

from .contract import StorageError

_CODES = {
    errno.ENOSPC: ("full", "make room on that disk; what was there before is untouched"),
    errno.EDQUOT: ("full", "make room on that disk; what was there before is untouched"),
    errno.EFBIG: ("full", "this process may write no larger file: raise its limit (ulimit -f)"),
    errno.EROFS: ("read-only", "the file system is mounted read-only"),
    errno.EACCES: ("denied", "check who owns it and its directory, and run as that user"),
    errno.EPERM: ("denied", "check who owns it and its directory, and run as that user"),
    errno.ENOTDIR: ("other", "something on the way to it is a file where a directory must be"),
    errno.EMFILE: ("unavailable", "too many files are open; try again"),
    errno.ENFILE: ("unavailable", "too many files are open; try again"),
    errno.ELOOP: ("unsafe", "a link appeared in its place while it was being used"),
    **{
        code: ("unavailable", "try again")
        for code in (errno.EINTR, errno.ENOMEM, errno.EBUSY, errno.ESTALE, errno.ETIMEDOUT, errno.EAGAIN)
    },
}


def io_error(action: str, path: str, error: OSError) -> StorageError:
    """``action`` is what was tried, as in "cannot `read` /home/me/auth.json"."""
    code, hint = _CODES.get(error.errno or 0, ("other", "look at that path and its file system"))
    what = error.strerror or type(error).__name__
    return StorageError(code, f"cannot {action} {path}: {what}; {hint}")


def cannot_create(path: str, error: OSError) -> StorageError:
    """Returns why nothing could be created at ``path``."""
    if error.errno == errno.EPERM:
        # Rights of users are EACCES: this is a flag of the directory, or of the file system.
        return StorageError(
            "read-only",
            f"cannot create {path}: its directory is immutable, or takes no new files. Make it writable (chattr -i)",
        )
    return io_error("create", path, error)


def mounted(path: str) -> StorageError:
    """Returns the error for a file that nothing can be renamed over."""
    return StorageError(
        "read-only", f"{path} is mounted as a single file, so it cannot be replaced. Mount its folder instead"
    )


def not_a_file(path: str, what: str) -> StorageError:
    """Returns the error for a document that is ``what`` instead of a file."""
    return StorageError("unsupported", f"{path} is {what}: a document is a file that can be read and replaced")


def what_is(mode: int) -> str:
    """Returns what something that is no file is called."""
    if stat.S_ISDIR(mode):
        return "a directory"
    if stat.S_ISFIFO(mode):
        return "a pipe (FIFO)"
    if stat.S_ISSOCK(mode):
        return "a socket"
    return "a device"


def size(count: int) -> str:
    """Returns a number of bytes as a person says it."""
    if count < 10_240:
        return f"{count} bytes"
    if count < 10_485_760:
        return f"{count // 1024} KiB"
    return f"{count // (1024 * 1024)} MiB"

