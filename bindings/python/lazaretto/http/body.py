"""A body is read in the codings that servers use although none was asked for, and never beyond the
cap.

Gzip is known by its first bytes, for proxies strip ``content-encoding``; deflate by its name, be it
zlib or raw. Any other coding, a broken one, or a name with no coding under it leaves the body as it
came, marked as lossy, and ``content-encoding`` in place.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass, field, replace
from typing import List, Tuple

from .contract import CAP_BYTES

_MOST_CODINGS = 3  # one over the other
_GZIP, _ZLIB, _RAW = 31, 15, -15


@dataclass(frozen=True)
class Body:
    """As far as it came."""

    text: str = field(repr=False)
    """At most :data:`CAP_BYTES`."""
    is_complete: bool
    """Nothing of it is missing."""
    is_lossy: bool
    """Bytes that were not UTF-8 were replaced, or a coding could not be taken off."""
    is_coded: bool = False
    """A coding could not be taken off, or not to its end."""


def read_body(content: bytes, is_whole: bool, codings: List[str]) -> Body:
    """Reads at most :data:`CAP_BYTES` bytes, which are all there is if ``is_whole``. ``codings`` is
    what ``content-encoding`` names."""
    plain, end = _uncoded(content, list(codings))
    if end == "broken":
        return replace(_decode(plain, is_whole), is_lossy=True, is_coded=True)
    # The connection brought all there was, and the coding's own end is missing.
    is_coded = is_whole and end == "missing"
    body = _decode(plain, is_whole and end == "reached")
    return replace(body, is_lossy=body.is_lossy or is_coded, is_coded=is_coded)


def _uncoded(plain: bytes, named: List[str]) -> Tuple[bytes, str]:
    """Returns what is left when all codings are taken off that can be, and where it stops:
    ``reached`` its end, ``missing``, ``beyond`` the cap, or ``broken``."""
    end = "reached"
    for _ in range(_MOST_CODINGS):
        name = named[-1] if named else None
        is_gzip = plain.startswith(b"\x1f\x8b")
        if not is_gzip and (name != "deflate" or _is_text(plain)):
            break
        inner, inner_end = _gunzip(plain) if is_gzip else _inflate(plain)
        if inner_end == "broken":
            return plain, "broken"
        if not is_gzip or name in ("gzip", "x-gzip", "deflate"):
            del named[-1:]
        # What lies within a body that was cut is cut as well.
        end = inner_end if end == "reached" else end
        plain = inner
    return plain, "broken" if named and plain else end


def _is_text(content: bytes) -> bool:
    """No coding makes this of anything: each brings bytes that are no UTF-8 within the first
    few."""
    try:
        return not re.search(r"[\x00-\x08\x0b\x0e-\x1f\x7f]", content.decode("utf-8"))
    except UnicodeDecodeError:
        return False


def _gunzip(content: bytes) -> Tuple[bytes, str]:
    """Decompresses one member after the other, and leaves
    out what follows the last and is no member."""
    plain = b""
    while content.startswith(b"\x1f\x8b"):
        member, end, content = _unpack(_GZIP, content, CAP_BYTES + 1 - len(plain))
        plain += member
        if len(plain) > CAP_BYTES:
            return plain[:CAP_BYTES], "beyond"
        if end != "reached":
            return plain, end
    return plain, "reached"


def _inflate(content: bytes) -> Tuple[bytes, str]:
    """As RFC 9110 has it (zlib), or as some servers understand it (raw)."""
    for window in (_ZLIB, _RAW):
        plain, end, _ = _unpack(window, content, CAP_BYTES + 1)
        if len(plain) > CAP_BYTES:
            return plain[:CAP_BYTES], "beyond"
        if end != "broken":
            break
    return plain, end


def _unpack(window: int, content: bytes, most: int) -> Tuple[bytes, str, bytes]:
    decompressor = zlib.decompressobj(window)
    try:
        plain = decompressor.decompress(content, most)
    except zlib.error:
        return b"", "broken", b""
    return plain, "reached" if decompressor.eof else "missing", decompressor.unused_data


def _decode(content: bytes, is_whole: bool) -> Body:
    """Returns the text of at most :data:`CAP_BYTES` bytes without any coding."""
    try:
        return Body(content.decode("utf-8"), is_whole, False)
    except UnicodeDecodeError as error:
        # The cut went through a character: that is not the server's mistake.
        if not is_whole and error.reason == "unexpected end of data":
            return Body(content[: error.start].decode("utf-8"), False, False)
    replaced = content.decode("utf-8", "replace").encode()
    # A replaced byte becomes three.
    text = replaced[:CAP_BYTES].decode("utf-8", "ignore")
    return Body(text, is_whole and len(replaced) <= CAP_BYTES, True)


def codings_of(headers: List[Tuple[str, str]]) -> List[str]:
    """Returns what ``content-encoding`` names, in the order in which it was put on."""
    named = [part.strip().lower() for name, value in headers if name == "content-encoding" for part in value.split(",")]
    return [coding for coding in named if coding not in ("", "identity")]


def fitting(headers: List[Tuple[str, str]], is_coded: bool) -> List[Tuple[str, str]]:
    """Returns as many headers, from the first on, as fit under the cap; without
    ``content-encoding``, if that was taken off the body."""
    room = CAP_BYTES
    kept = []
    for name, value in headers:
        room -= len(name) + len(value.encode())
        if room < 0:
            break
        if is_coded or name != "content-encoding":
            kept.append((name, value))
    return kept
