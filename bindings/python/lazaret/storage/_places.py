"""A document lies beside the vault file that all links lead to, whatever name it was opened by; and so do its locks."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from enum import Enum
from typing import List, Optional, Tuple, Union

from . import _way
from ._way import Way
from .contract import DocumentScope, Scope, StorageError, VAULT, check_name, fingerprint_byte, quoted

REFERENCE_VAULT = "auth.json"
"""The reference program's vault."""
_REFERENCE_FILES = (REFERENCE_VAULT, "nous_auth.json")


class Kind(Enum):
    """The documents that have a place on disk: their name, and what follows the vault file's path in their own."""

    VAULT = (VAULT, "", "document-vault")
    LEDGER = ("vault.lazaret", ".lazaret", "document-ledger")
    SEALED = ("vault.lazaret-sealed", ".lazaret-sealed", "document-sealed")
    POOL = ("vault.lazaret-pool", ".lazaret-pool", "document-pool")
    SETTINGS = ("settings.json", ".lazaret-settings.json", "document-settings")
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
    path: str
    """The document's own file."""

    def is_same(self, other: Place) -> bool:
        """Whether both are the same file with the same locks; its owner may have changed."""
        ours, theirs = self.anchor, other.anchor
        return (self.path, ours.target, ours.links) == (other.path, theirs.target, theirs.links)

    def unsynced(self, kind: Kind) -> Optional[str]:
        """Where a text of this document may lie that was not synced. None: nowhere."""
        # All other documents are read by people and by other programs, who would not know.
        return self.path + ".unsynced" if kind is Kind.LEDGER else None

    def lock(self, claim: Claim) -> str:
        """Our own lock file for ``claim``."""
        name = claim.lock_name if isinstance(claim, Kind) else f"{claim:02x}"
        return os.path.join(self.anchor.target + ".lazaret-locks", name)

    def owner_of_new(self) -> Optional[Tuple[int, int]]:
        """Whom anything new here is to belong to. None: to this process. What root creates beside somebody's vault belongs to
        that somebody, or they could never use it."""
        owner = self.anchor.owner
        return owner if owner is not None and owner[0] != 0 and os.geteuid() == 0 else None


@dataclass(frozen=True)
class Places:
    """The paths that a storage was opened with."""

    vault: str
    profiles: Optional[str]

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
        path = anchor.target + kind.suffix
        # Its directory has been walked to already; only a link leads elsewhere.
        if kind.suffix and os.path.islink(path):
            path = _way.walk(path).target
        return Place(anchor, path)


def foreign_locks(vault: Way, wanted: Optional[bool]) -> List[str]:
    """The reference program's lock files for a vault, in the order of their paths. It locks beside the path that it was given
    and not beside what a link leads to: so there is one beside each. ``wanted`` none: if any of the paths is what the
    reference calls its vault.
    """
    names = [*vault.links, vault.target]
    if wanted is None:
        wanted = any(os.path.basename(path) in _REFERENCE_FILES for path in names)
    if not wanted:
        return []
    return sorted({path[: -len(".json")] + ".lock" for path in names if os.path.splitext(path)[1] == ".json"}, key=_in_path_order)


def _in_path_order(path: str) -> List[bytes]:
    # Name by name, as the other hosts sort: `/a/b` comes before `/a-b`.
    return [os.fsencode(name) for name in path.split("/")]
