"""Whose file a vault is decides whose lock is taken, and place and content decide whose file it is: a file's name alone proves
nothing, for several tools call theirs the same.

Claude Code makes the folder ``.oauth_refresh.lock`` in its folder, and then ``<its folder, links followed>.lock`` beside it, which is all
that old versions make; both are good for 60 s without a sign of life. Qwen Code makes the file ``oauth_creds.lock``, good for 35 s.
Versions and sources: ``docs/file-store.md``.
"""

from __future__ import annotations

import json
import os
from typing import List, Optional, Tuple

from ._marks import Mark
from ._text import MAX_BYTES
from ._way import Way

_CLAUDE_STALE_S = 60
_QWEN_STALE_S = 35


def marks(vault: Way, wanted: Optional[bool]) -> List[Mark]:
    """What other tools make while they refresh a login in their own file."""
    found = set()
    for path in [*vault.links, vault.target] if wanted is not False else []:
        folder, name = os.path.split(path)
        claude = ("CLAUDE_SECURESTORAGE_CONFIG_DIR", "CLAUDE_CONFIG_DIR")
        if name == ".credentials.json" and _is_of(path, ".claude", claude, "claudeAiOauth"):
            found.add(Mark(os.path.join(folder, ".oauth_refresh.lock"), True, _CLAUDE_STALE_S))
            found.add(Mark(os.path.realpath(folder) + ".lock", True, _CLAUDE_STALE_S, is_optional=True))
        if name == "oauth_creds.json" and _is_of(path, ".qwen", ("QWEN_HOME",), "resource_url"):
            found.add(Mark(os.path.join(folder, "oauth_creds.lock"), False, _QWEN_STALE_S))
    # Name by name, as the other hosts sort: `/a/b` comes before `/a-b`.
    return sorted(found, key=lambda mark: [os.fsencode(name) for name in mark.path.split("/")])


def _is_of(path: str, name: str, variables: Tuple[str, ...], member: str) -> bool:
    folder = os.path.dirname(path)
    if os.path.basename(folder) == name or any(_is_named_by(variable, folder) for variable in variables):
        return True
    return _has_member(path, member)


def _is_named_by(variable: str, folder: str) -> bool:
    """Whether a variable of the environment names this folder."""
    named = os.environ.get(variable)
    if not named:
        return False
    try:
        return named == folder or os.path.samefile(named, folder)
    except OSError:
        return False


def _has_member(path: str, member: str) -> bool:
    """Whether the file is an object with this member. What cannot be read is not sent from either."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            content = json.loads(file.read(MAX_BYTES))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and member in content
