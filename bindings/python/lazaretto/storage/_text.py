"""A file is read whole, bounded and without ever blocking; and it is not read again while its stat
proves that it is the same: ``docs/file-store.md`` says when a stat proves that.
"""

from __future__ import annotations

import ctypes
import os
import platform
import stat
import sys
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Callable, Optional, Tuple

from ._errors import io_error, not_a_file, size, what_is
from ._folder import Spot
from ._file_owner import check_beside
from .contract import Document, StorageError, version_of

MAX_BYTES = 16 * 1024 * 1024
"""The largest document."""

_STAMP_STEP_NS = 2_000_000_000
"""The coarsest step in which a file system stamps files."""

StatKey = Tuple[int, int, int, int, int]


def stat_key(found: os.stat_result) -> StatKey:
    """Returns what a stat says about the content of a file."""
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


@dataclass(frozen=True)
class Text:
    """A document as read from its file."""

    document: Document
    base: str
    """The version of the document's own file."""
    is_unsynced: bool
    """Whether the text is that of another file, which lies beside the document's own."""
    stat: os.stat_result
    """The file's, when it was read."""
    proof: Optional[StatKey]
    """A stat equal to this proves that the file is unchanged. None: it must be read again next
    time."""


def read(spot: Spot, owner: Optional[int]) -> Optional[Text]:
    """Reads a file, which is no link. None if there is no file. ``owner``: it must belong to that
    user or root."""
    path = spot.path
    for tries_left in (2, 1, 0):
        read_at = time.time_ns()
        found = _read_once(spot, owner)
        if found is None:
            return None
        before, content, after, network = found
        is_steady = stat_key(before) == stat_key(after)
        if not is_steady and tries_left:
            continue  # somebody is writing in place: the text may be half theirs
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError as error:
            raise StorageError(
                "corrupt",
                f"{path} is not UTF-8 text: the first bad byte is at offset {error.start}; restore it or move it away",
            ) from None
        version = version_of(content)
        is_old = max(after.st_mtime_ns, after.st_ctime_ns) < read_at - _STAMP_STEP_NS
        is_proof = is_steady and is_old and network is None
        proof = stat_key(after) if is_proof else None
        return Text(Document(version, text), version, False, after, proof)
    return None


def _read_once(spot: Spot, owner: Optional[int]) -> Optional[Tuple[os.stat_result, bytes, os.stat_result, Optional[str]]]:
    path = spot.path
    try:
        # Without O_NONBLOCK, opening a FIFO waits for a writer.
        handle = spot.folder.open(spot.name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise io_error("read", path, error) from None
    try:
        before = os.fstat(handle)
        if owner is not None:
            check_beside(path, before, owner)
        if not stat.S_ISREG(before.st_mode):
            raise not_a_file(path, what_is(before.st_mode))
        if before.st_size > MAX_BYTES:
            raise too_large(path, size(before.st_size))
        chunks = []
        count = 0
        # One more than is there, so that the end is seen without growing.
        while chunk := os.read(handle, max(before.st_size - count, 0) + 1):
            chunks.append(chunk)
            count += len(chunk)
            if count > MAX_BYTES:
                raise too_large(path, "growing")
        return before, b"".join(chunks), os.fstat(handle), network_name(handle)
    except OSError as error:
        raise io_error("read", path, error) from None
    finally:
        os.close(handle)


def too_large(path: str, how_large: str) -> StorageError:
    """``how_large`` is a size, or a word for one that is not known."""
    limit = size(MAX_BYTES)
    return StorageError("too-large", f"{path} is too large: {how_large}, and the limit is {limit}; is it the right file?")


@lru_cache(maxsize=None)
def _fstatfs() -> Optional[Callable[..., int]]:
    # os.statvfs does not tell the kind.
    return getattr(ctypes.CDLL(None), "fstatfs", None)


def network_name(handle: int) -> Optional[str]:
    """Returns the kind of network file system that an open file or directory lies on. None: a local
    one, or it cannot be told."""
    if not sys.platform.startswith("linux"):
        return None  # macOS and the BSDs do lock over NFS, through lockd
    fstatfs = _fstatfs()
    buffer = ctypes.create_string_buffer(512)
    if fstatfs is None or fstatfs(handle, buffer) != 0:
        return None
    # Its first field is the magic number: 32 bits of a word.
    word = ctypes.c_uint if platform.machine() == "s390x" else ctypes.c_ulong
    magic = word.from_buffer(buffer).value & 0xFFFF_FFFF
    if magic == 0x6969:
        return "NFS"
    return "SMB" if magic in (0xFF53_4D42, 0xFE53_4D42, 0x517B) else None
