"""A document lies beside the vault file that all links lead to, whatever name it was opened by; and so do its locks."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, replace
from enum import Enum
from typing import List, Optional, Union

from . import _way
from ._folder import Spot
from ._trust import check_root
from ._way import Way
from .contract import DocumentScope, Scope, StorageError, VAULT, check_name, fingerprint_byte, quoted

REFERENCE_VAULT = "auth.json"
"""The reference program's vault."""
_REFERENCE_FILES = (REFERENCE_VAULT, "nous_auth.json")


class Kind(Enum):
    """The documents that have a place on disk: their name, and what follows the vault file's path in their own."""

    VAULT = (VAULT, "", "document-vault")
    LEDGER = ("vault.lazaretto", ".lazaretto", "document-ledger")
    SEALED = ("vault.lazaretto-sealed", ".lazaretto-sealed", "document-sealed")
    POOL = ("vault.lazaretto-pool", ".lazaretto-pool", "document-pool")
    SETTINGS = ("settings.json", ".lazaretto-settings.json", "document-settings")
    PROFILES = ("providers.json", "", "document-profiles")

    def __init__(self, document: str, suffix: str, lock_name: str) -> None:
        self.document = document
        self.suffix = suffix
        self.lock_name = lock_name

    @staticmethod
    def of(name: str) -> Kind:
        check_name(name)
        for kind in Kind:
            if kind.document == name:
                return kind
        known = ", ".join(kind.document for kind in Kind)
        raise StorageError("unsupported", f"file storage has no document {quoted(name)}, only {known}")


Claim = Union[Kind, int]
"""What a lock is wanted for: a document, or the number of a grant lock."""


def claim_of(scope: Scope) -> Claim:
    """What a lease on ``scope`` locks."""
    kind = Kind.of(scope.document)
    if isinstance(scope, DocumentScope):
        return kind
    if kind is not Kind.VAULT:
        raise StorageError("unsupported", f"{scope.document} holds no grants, only {VAULT} does")
    return fingerprint_byte(scope.fingerprint) & 0x3F


def kind_of(claim: Claim) -> Kind:
    """The document that is locked, or whose grant is."""
    return claim if isinstance(claim, Kind) else Kind.VAULT


@dataclass(frozen=True)
class Place:
    """Where a document lies."""

    anchor: Way
    """The file that the locks are named after: the vault's, or the profiles' own."""
    way: Way
    """The document's own file."""

    @property
    def path(self) -> str:
        """For messages."""
        return self.way.target

    @property
    def owner(self) -> int:
        """The user whose vault it is. One that does not exist yet will be this process's."""
        owner = self.anchor.owner
        return os.geteuid() if owner is None else owner

    @property
    def owner_beside(self) -> Optional[int]:
        """To whom, or to root, the document must belong. None: it is the anchor itself, which a person named."""
        return None if self.way is self.anchor else self.owner

    def is_same(self, other: Place) -> bool:
        """Whether both are the same file with the same locks; its owner may have changed."""
        return self.anchor.is_same(other.anchor) and self.way.is_same(other.way)

    def is_there(self) -> bool:
        return not self.way.missing and self.way.folder.has(self.way.name)

    def unsynced(self, kind: Kind) -> Optional[str]:
        """The name, beside the document, of a text of it that was not synced. None: there never is one."""
        # All other documents are read by people and by other programs, who would not know.
        return self.way.name + ".unsynced" if kind is Kind.LEDGER else None


def beside(anchor: Way, kind: Kind) -> Place:
    """Where a document lies whose anchor has been walked to."""
    if not kind.suffix or anchor.missing:
        return Place(anchor, anchor if not kind.suffix else replace(anchor, name=anchor.name + kind.suffix, found=None))
    return Place(anchor, _way.walk_beside(anchor, anchor.name + kind.suffix))


def lock_name(claim: Claim) -> str:
    """The name of our own lock file for a claim."""
    return claim.lock_name if isinstance(claim, Kind) else f"{claim:02x}"


@dataclass(frozen=True)
class Places:
    """The paths that a storage was opened with."""

    vault: str
    profiles: Optional[str]
    is_only_read: bool = False
    """Whether nothing here is ever written: then root may read what is anybody's."""

    def glance(self, kind: Kind) -> Optional[os.stat_result]:
        """Looks at a document with one stat, wherever the kernel finds it; raises ``OSError``. None: that may be the wrong file."""
        if kind is Kind.PROFILES:
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

    def find(self, kind: Kind) -> Optional[Place]:
        """Finds a document by walking to it. None: it has no place in this storage."""
        named = self.profiles if kind is Kind.PROFILES else self.vault
        if named is None:
            return None
        anchor = _way.walk(named)
        if kind is not Kind.PROFILES and not self.is_only_read:
            check_root(anchor.target, anchor.owner)
        return beside(anchor, kind)


def foreign_locks(vault: Way, wanted: Optional[bool]) -> List[Spot]:
    """The reference program's lock files for a vault, in the order of their paths. It locks beside the path that it was given
    and not beside what a link leads to: so there is one beside each. ``wanted`` none: if any of the paths is what the
    reference calls its vault.
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


def names_of(vault: Way) -> List[Spot]:
    """Every name by which a program may know the vault. A folder that is missing is created before anything is locked in it."""
    return [*vault.links, Spot(vault.folder, vault.name)]


def in_path_order(path: str) -> List[bytes]:
    """Name by name, as the other hosts sort: ``/a/b`` comes before ``/a-b``."""
    return [os.fsencode(name) for name in path.split("/")]
