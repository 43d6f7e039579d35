"""Other files may hold the grants that are in a vault, and own them. They are read, never written.

The reference keeps a second copy of a Nous login in ``<root>/shared/nous_auth.json`` and prefers
that one, and the store of one of its profiles, ``<root>/profiles/<name>/auth.json``, borrows from
``<root>/auth.json``. Beside each it may keep an Anthropic login in ``.anthropic_oauth.json``.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from typing import List, Optional, Tuple

from ._places import REFERENCE_VAULT
from .contract import ABSENT, UNCHANGED, VAULT, Document, Loaded, LoadOutcome, version_of

LIST = "also.json"
_NAME = re.compile(r"also/([0-9]{1,6})(\..+)?", re.ASCII)


@dataclass(frozen=True)
class OwnerFile:
    """A file that may own grants of the vault."""

    path: str
    owns: Tuple[str, ...]
    """The providers whose logins this file owns, whatever their tokens."""


def document_in(name: str) -> Optional[Tuple[int, str]]:
    """Returns which of the files has the document ``name``, and what the document is called
    there."""
    found = _NAME.fullmatch(name)
    return (int(found[1]), VAULT + (found[2] or "")) if found else None


def owners(vault: str, named: Tuple[str, ...], shared: Optional[str]) -> List[OwnerFile]:
    """Returns the files that exist and are not the vault by another name."""
    found = []
    home, name = os.path.split(vault)
    if name == REFERENCE_VAULT:
        profiles = os.path.dirname(home)
        root = os.path.dirname(profiles) if os.path.basename(profiles) == "profiles" else None
        folder = shared or os.path.join(home if root is None else root, "shared")
        found.append(OwnerFile(os.path.join(folder, "nous_auth.json"), ("nous",)))
        # At each start the reference copies it over the entry that it once made from it, and never
        # back.
        found.append(OwnerFile(os.path.join(home, ".anthropic_oauth.json"), ()))
        if root is not None:
            found.append(OwnerFile(os.path.join(root, REFERENCE_VAULT), ()))
    found.extend(OwnerFile(path, ()) for path in named)
    own = _identity(vault)
    return [owner for owner in found if _identity(owner.path) not in (None, own)]


def load_list(found: List[OwnerFile], known: Optional[str]) -> LoadOutcome:
    """Loads the document that lists the files."""
    if not found:
        return ABSENT
    rows = {
        f"also/{at}": {"called": text_of(owner.path), "owns": list(owner.owns)}
        for at, owner in enumerate(found)
    }
    text = json.dumps(rows, ensure_ascii=False, separators=(",", ":"))
    version = version_of(text.encode())
    return UNCHANGED if version == known else Loaded(Document(version, text))


def text_of(path: str) -> str:
    """Returns a path as text; bytes that are not UTF-8 are replaced."""
    return os.fsencode(path).decode("utf-8", "replace")


def _identity(path: str) -> Optional[Tuple[int, int]]:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return (found.st_dev, found.st_ino)
