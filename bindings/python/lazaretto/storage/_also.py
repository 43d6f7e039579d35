"""Which other files may hold the grants that are in a vault, and own them. They are read, never written.

The reference keeps a second copy of a Nous login in ``<root>/shared/nous_auth.json`` and prefers that one, and the store of
one of its profiles, ``<root>/profiles/<name>/auth.json``, borrows from ``<root>/auth.json``. Beside each it may keep an
Anthropic login in ``.anthropic_oauth.json``.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from dataclasses import dataclass
from typing import List, Optional, Tuple

from ._places import REFERENCE_VAULT
from .contract import ABSENT, UNCHANGED, VAULT, Document, Loaded, LoadOutcome, version_of

LIST = "also.json"
PLACE = "vault.lazaretto-place"
_NAME = re.compile(r"also/([0-9]{1,6})(\..+)?", re.ASCII)


@dataclass(frozen=True)
class Owner:
    """One of them."""

    path: str
    owns: Tuple[str, ...]
    """The providers whose logins are its own, whatever their tokens."""


def document_in(name: str) -> Optional[Tuple[int, str]]:
    """Which of them has the document ``name``, and what it is called there."""
    found = _NAME.fullmatch(name)
    return (int(found[1]), VAULT + (found[2] or "")) if found else None


def owners(vault: str, named: Tuple[str, ...], shared: Optional[str]) -> List[Owner]:
    """Those that are there, and are not the vault by another name."""
    found = []
    home, name = os.path.split(vault)
    if name == REFERENCE_VAULT:
        profiles = os.path.dirname(home)
        root = os.path.dirname(profiles) if os.path.basename(profiles) == "profiles" else None
        folder = shared or os.path.join(home if root is None else root, "shared")
        found.append(Owner(os.path.join(folder, "nous_auth.json"), ("nous",)))
        # At each start the reference copies it over the entry that it once made from it, and never back.
        found.append(Owner(os.path.join(home, ".anthropic_oauth.json"), ()))
        if root is not None:
            found.append(Owner(os.path.join(root, REFERENCE_VAULT), ()))
    found.extend(Owner(path, ()) for path in named)
    own = _identity(vault)
    return [owner for owner in found if _identity(owner.path) not in (None, own)]


def listed(found: List[Owner], known: Optional[str]) -> LoadOutcome:
    """The document that lists them."""
    if not found:
        return ABSENT
    rows = {
        f"also/{at}": {"called": _text(owner.path), "owns": list(owner.owns)}
        for at, owner in enumerate(found)
    }
    text = json.dumps(rows, ensure_ascii=False, separators=(",", ":"))
    version = version_of(text.encode())
    return UNCHANGED if version == known else Loaded(Document(version, text))


def place(vault: str, layout: Optional[str], command: str, login_hint: Optional[str], known: Optional[str]) -> LoadOutcome:
    """The document that says where the vault lies, as it was named, and how a person reaches it."""
    rows = {"path": _text(vault), "layout": layout, "command": command, "login_hint": login_hint}
    text = json.dumps(rows, ensure_ascii=False, separators=(",", ":"))
    version = version_of(text.encode())
    return UNCHANGED if version == known else Loaded(Document(version, text))


def command_about(vault: str, layout: Optional[str], providers: Optional[str]) -> str:
    """The words by which a person calls the command ``lazaretto`` so that it is about this vault."""
    words = ["lazaretto", "--vault", _text(vault)]
    words += [] if layout is None else ["--layout", layout]
    words += [] if providers is None else ["--providers", _text(providers)]
    return " ".join(shlex.quote(word) for word in words)


def _text(path: str) -> str:
    return os.fsencode(path).decode("utf-8", "replace")


def _identity(path: str) -> Optional[Tuple[int, int]]:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return (found.st_dev, found.st_ino)
