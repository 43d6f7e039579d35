"""The ledger's newest text may lie beside it unsynced, and counts only if it is whole and about the
ledger that is there.

It is read **before** the document's own file. Whatever is stored meanwhile, the outcome was current
at some moment in between; the other way round, a text could come back that two stores had replaced.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Optional, Tuple

from . import _text
from ._folder import Spot
from ._text import MAX_BYTES, Text
from .contract import Document, StorageError, version_of

_MARK = "lazaretto-unsynced 1 "


def spelled(base: str, text: bytes) -> Optional[bytes]:
    """Returns what is to be written beside a document whose file is at ``base``. None if it would
    be too large to be read."""
    file = f"{_MARK}{base} {version_of(text)}\n".encode() + text
    return file if len(file) <= MAX_BYTES else None


def read(document: Spot, beside: str, owner: Optional[int]) -> Optional[Text]:
    """Reads a document, and what may lie beside it unsynced. None if there is no document."""
    try:
        found = _text.read(document.beside(beside), owner)
    except StorageError as error:
        if error.code != "corrupt":
            raise
        found = None  # a power cut may have left anything
    unsynced = found and parse(found.document.text)
    text = _text.read(document, owner)
    if text is None:
        return None
    # One stat cannot tell of two files.
    text = replace(text, proof=None)
    if unsynced and unsynced[0] == text.base:
        return replace(text, document=unsynced[1], is_unsynced=True)
    return text


def parse(file: str) -> Optional[Tuple[str, Document]]:
    """Returns the version of the file that the text was written over, and the text. None if it
    is not whole."""
    head, newline, text = file.partition("\n")
    if not newline or not head.startswith(_MARK):
        return None
    base, _, version = head[len(_MARK) :].partition(" ")
    return (base, Document(version, text)) if version_of(text.encode()) == version else None
