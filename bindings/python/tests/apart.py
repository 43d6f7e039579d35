"""What the tests of files need: other users, mounts that nobody else sees, file attributes, and
folders that change places."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import struct
import sys
import traceback
from pathlib import Path
from typing import Any, Callable, List, NoReturn, Optional

import pytest

from lazaretto.storage import FileStorage, GrantScope, StorageError

STRANGER, OTHER = 4711, 4712
"""Users that own nothing but what a test gives them."""

GRANT = GrantScope("vault", "ff" + "0" * 30)

_CLONE_NEWNS = 0x20000
_MS_RDONLY, _MS_REMOUNT, _MS_BIND, _MS_REC, _MS_PRIVATE = 1, 32, 4096, 16384, 1 << 18
_RENAME_EXCHANGE = 2
IMMUTABLE, APPEND_ONLY = 0x10, 0x20
_LIBC = ctypes.CDLL(None, use_errno=True)


def cannot(what: str) -> NoReturn:
    """Ends a test that this system cannot run. In CI that is a failure: nothing may go untested
    there."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what}, and in CI every test must run")
    pytest.skip(what)


def need_root() -> None:
    if os.geteuid() != 0 or not sys.platform.startswith("linux"):
        cannot("only root on Linux can act as several users")


def in_child(run: Callable[[], Any], user: Optional[int] = None, group: Optional[int] = None, in_mounts: bool = False) -> Any:
    """Runs it in a forked process, as another user or where mounts are nobody else's, and gives its
    JSON-able result."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        answer: Any = {}
        try:
            if in_mounts:
                _checked("unshare", _LIBC.unshare(_CLONE_NEWNS))
                _mount(None, Path("/"), _MS_REC | _MS_PRIVATE)
            if user is not None:
                os.setgroups([])
                os.setresgid(*[user if group is None else group] * 3)
                os.setresuid(user, user, user)
            answer = {"ok": run()}
        except BaseException as error:
            denied = isinstance(error, OSError) and error.filename == "mount" and error.errno in (errno.EPERM, errno.EACCES)
            answer = {"cannot": "this system permits no mounts"} if denied else {"failed": traceback.format_exc()}
        finally:
            os.write(writing, json.dumps(answer).encode())
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        answer = json.loads(pipe.read() or b'{"failed": "it was killed"}')
    os.waitpid(child, 0)
    if "cannot" in answer:
        cannot(answer["cannot"])
    if "failed" in answer:
        pytest.fail(answer["failed"])
    return answer["ok"]


def bind(what: Path, to: Path, read_only: bool = False) -> None:
    _mount(what, to, _MS_BIND)
    if read_only:
        _mount(None, to, _MS_BIND | _MS_REMOUNT | _MS_RDONLY)


def mount_memory(to: Path, size_kib: int) -> None:
    _mount(Path("tmpfs"), to, 0, "tmpfs", f"size={size_kib}k")


def _mount(what: Optional[Path], to: Path, flags: int, kind: Optional[str] = None, options: str = "") -> None:
    def text(value: Any) -> Optional[bytes]:
        return None if value is None else os.fsencode(value)

    _checked("mount", _LIBC.mount(text(what), text(to), text(kind), ctypes.c_ulong(flags), text(options or None)))


def _checked(what: str, result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "mount" if what == "unshare" else what)


def exchange(one: Path, other: Path) -> None:
    """Both names change places in one step."""
    result = _LIBC.renameat2(-100, os.fsencode(one), -100, os.fsencode(other), _RENAME_EXCHANGE)
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(one))


class Attribute:
    """A file or folder has an attribute of chattr(1), for as long as the block lasts."""

    def __init__(self, path: Path, flag: int) -> None:
        self._path, self._flag = path, flag

    def __enter__(self) -> None:
        try:
            self._set(self._flag)
        except OSError as error:
            cannot(f"the file system of {self._path} has no attributes that can be set ({error.strerror})")

    def __exit__(self, *_: object) -> None:
        self._set(0)

    def _set(self, flag: int) -> None:
        handle = os.open(self._path, os.O_RDONLY)
        try:
            size = struct.calcsize("l")
            read, write = (2 << 30 | size << 16 | ord("f") << 8 | 1), (1 << 30 | size << 16 | ord("f") << 8 | 2)
            flags = struct.unpack_from("i", fcntl.ioctl(handle, read, bytes(size)))[0] & ~(IMMUTABLE | APPEND_ONLY)
            fcntl.ioctl(handle, write, struct.pack("l", flags | flag))
        finally:
            os.close(handle)


def storage(folder: Path, name: str = "auth.json") -> FileStorage:
    found = FileStorage(folder / name)
    found._store_wait_s = 0.05
    return found


def refusal(call: Callable[[], Any]) -> StorageError:
    with pytest.raises(StorageError) as raised:
        call()
    return raised.value


def names(folder: Path) -> List[str]:
    return sorted(path.name for path in folder.iterdir())


def own(path: Path, user: int, group: int = -1, mode: int = 0o600, text: str = "{}") -> Path:
    path.write_text(text)
    path.chmod(mode)
    os.chown(path, user, user if group == -1 else group)
    return path
