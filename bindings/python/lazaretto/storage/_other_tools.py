"""Whose file a vault is decides whose lock is taken, and place and content decide whose file it is:
a file's name alone proves nothing, for several tools call theirs the same.

Claude Code makes the folder ``.oauth_refresh.lock`` in its folder, and then ``<its folder, links
followed>.lock`` beside it, which is all that old versions make; both are good for 60 s without a
sign of life. Qwen Code makes the file ``oauth_creds.lock``, good for 35 s. Versions and sources:
``docs/file-store.md``.
"""

from __future__ import annotations

import contextlib
import json
import os
from typing import List, Optional, Tuple

from ._folder import Folder, Spot, identity_of
from ._foreign_marks import Mark
from ._places import in_path_order, names_of
from ._text import MAX_BYTES
from ._safe_path import SafePath

_CLAUDE_STALE_S = 60
_QWEN_STALE_S = 35


def marks(vault: SafePath, wanted: Optional[bool]) -> List[Mark]:
    """Returns what other tools make while they refresh a login in their own file."""
    found = {}
    for spot in names_of(vault) if wanted is not False else []:
        for mark in _marks_of(spot):
            found[mark.path] = mark
    return [found[path] for path in sorted(found, key=in_path_order)]


def _marks_of(file: Spot) -> List[Mark]:
    claude = ("CLAUDE_SECURESTORAGE_CONFIG_DIR", "CLAUDE_CONFIG_DIR")
    if file.name == ".credentials.json" and _is_of(file, ".claude", claude, "claudeAiOauth"):
        found = [Mark(file.beside(".oauth_refresh.lock"), True, _CLAUDE_STALE_S)]
        # The folder's own name, for no link leads to where the way has been walked to.
        name = os.path.basename(file.folder.path)
        with contextlib.suppress(OSError):
            found.append(Mark(Spot(file.folder.enter(".."), name + ".lock"), True, _CLAUDE_STALE_S, is_optional=True))
        return found
    if file.name == "oauth_creds.json" and _is_of(file, ".qwen", ("QWEN_HOME",), "resource_url"):
        return [Mark(file.beside("oauth_creds.lock"), False, _QWEN_STALE_S)]
    return []


def _is_of(file: Spot, name: str, variables: Tuple[str, ...], member: str) -> bool:
    if os.path.basename(file.folder.path) == name or any(_is_named_by(variable, file.folder) for variable in variables):
        return True
    return _has_member(file, member)


def _is_named_by(variable: str, folder: Folder) -> bool:
    """Returns whether a variable of the environment names this folder."""
    named = os.environ.get(variable)
    if not named:
        return False
    try:
        return named == folder.path or identity_of(os.stat(named)) == folder.identity
    except OSError:
        return False


def _has_member(file: Spot, member: str) -> bool:
    """Returns whether the file is an object with this member. What cannot be read is not sent from
    either."""
    try:
        handle = file.folder.open(file.name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        with os.fdopen(handle, "rb") as opened:
            content = json.loads(opened.read(MAX_BYTES))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and member in content
