"""A document lies beside the vault file that all links lead to, whatever name it was opened by; and
so do its locks."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, replace
from typing import List, Optional

from . import _safe_path
from ._documents import DocumentKind
from ._folder import Spot
from ._file_owner import check_root
from ._safe_path import SafePath

REFERENCE_VAULT = "auth.json"
"""The reference program's vault."""
_REFERENCE_FILES = (REFERENCE_VAULT, "nous_auth.json")


@dataclass(frozen=True)
class Place:
    """Where a document lies."""

    anchor: SafePath
    """The file that the locks are named after: the vault's, or the profiles' own."""
    file: SafePath
    """The document's own file."""

    @property
    def path(self) -> str:
        """For messages."""
        return self.file.target

    @property
    def owner(self) -> int:
        """Returns the user whose vault it is. One that does not exist yet will be this
        process's."""
        owner = self.anchor.owner
        return os.geteuid() if owner is None else owner

    @property
    def owner_beside(self) -> Optional[int]:
        """To whom, or to root, the document must belong. None: it is the anchor itself, which a
        person named."""
        return None if self.file is self.anchor else self.owner

    def is_same(self, other: Place) -> bool:
        """Returns whether both are the same file with the same locks; its owner may have
        changed."""
        return self.anchor.is_same(other.anchor) and self.file.is_same(other.file)

    def is_there(self) -> bool:
        return not self.file.missing and self.file.folder.has(self.file.name)

    def unsynced(self, kind: DocumentKind) -> Optional[str]:
        """Returns the name, beside the document, of a text of it that was not synced. None: there
        never is one."""
        # All other documents are read by people and by other programs, who would not know.
        return self.file.name + ".unsynced" if kind is DocumentKind.LEDGER else None


def beside(anchor: SafePath, kind: DocumentKind) -> Place:
    """Returns where a document lies whose anchor has been walked to."""
    if not kind.suffix or anchor.missing:
        return Place(anchor, anchor if not kind.suffix else replace(anchor, name=anchor.name + kind.suffix, found=None))
    return Place(anchor, _safe_path.walk_beside(anchor, anchor.name + kind.suffix))


@dataclass(frozen=True)
class Places:
    """The paths that a storage was opened with."""

    vault: str
    profiles: Optional[str]
    is_only_read: bool = False
    """Whether nothing here is ever written: then root may read what is anybody's."""

    def glance(self, kind: DocumentKind) -> Optional[os.stat_result]:
        """Looks at a document with one stat, wherever the kernel finds it; raises ``OSError``.
        None: that may be the wrong file."""
        if kind is DocumentKind.PROFILES:
            if self.profiles is None:
                raise FileNotFoundError
            return os.stat(self.profiles)
        if kind.suffix:
            # Beside a link there lies nothing of ours, but beside its target.
            try:
                if stat.S_ISLNK(os.lstat(self.vault).st_mode):
                    return None
            except OSError:
                pass
        return os.stat(self.vault + kind.suffix)

    def find(self, kind: DocumentKind) -> Optional[Place]:
        """Finds a document by walking to it. None: it has no place in this storage."""
        named = self.profiles if kind is DocumentKind.PROFILES else self.vault
        if named is None:
            return None
        anchor = _safe_path.walk(named)
        if kind is not DocumentKind.PROFILES and not self.is_only_read:
            check_root(anchor.target, anchor.owner)
        return beside(anchor, kind)


def foreign_locks(vault: SafePath, wanted: Optional[bool]) -> List[Spot]:
    """Returns the reference program's lock files for a vault, in the order of their paths. It locks
    beside the path that it was given and not beside what a link leads to: so there is one beside
    each. ``wanted`` none: if any of the paths is what the reference calls its vault.
    """
    names = names_of(vault)
    if wanted is None:
        wanted = any(spot.name in _REFERENCE_FILES for spot in names)
    if not wanted:
        return []
    found = {}
    for spot in names:
        stem, extension = os.path.splitext(spot.name)
        if extension == ".json":
            lock = spot.beside(stem + ".lock")
            found[lock.path] = lock
    return [found[path] for path in sorted(found, key=in_path_order)]


def names_of(vault: SafePath) -> List[Spot]:
    """Returns every name by which a program may know the vault. A folder that is missing is created
    before anything is locked in it."""
    return [*vault.links, Spot(vault.folder, vault.name)]


def in_path_order(path: str) -> List[bytes]:
    """Name by name, as the other hosts sort: ``/a/b`` comes before ``/a-b``."""
    return [os.fsencode(name) for name in path.split("/")]
