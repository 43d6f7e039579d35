"""The document ``vault.lazaretto-place`` says where the vault lies, as a person named it, and by
which command a person reaches it."""

from __future__ import annotations

import json
import shlex
from typing import Optional

from ._other_owners import text_of
from .contract import UNCHANGED, Document, Loaded, LoadOutcome, version_of

PLACE = "vault.lazaretto-place"


def load_place(vault: str, layout: Optional[str], command: str, login_hint: Optional[str], known: Optional[str]) -> LoadOutcome:
    """Loads the document."""
    rows = {"path": text_of(vault), "layout": layout, "command": command, "login_hint": login_hint}
    text = json.dumps(rows, ensure_ascii=False, separators=(",", ":"))
    version = version_of(text.encode())
    return UNCHANGED if version == known else Loaded(Document(version, text))


def command_about(vault: str, layout: Optional[str], providers: Optional[str]) -> str:
    """Returns the words by which a person calls the command ``lazaretto`` so that it is about this
    vault."""
    words = ["lazaretto", "--vault", text_of(vault)]
    words += [] if layout is None else ["--layout", layout]
    words += [] if providers is None else ["--providers", text_of(providers)]
    return " ".join(shlex.quote(word) for word in words)
