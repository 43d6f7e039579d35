"""A file storage knows six documents and 64 grant locks, and nothing else."""

from __future__ import annotations

from enum import Enum
from typing import Union

from .contract import DocumentScope, Scope, StorageError, VAULT, check_name, fingerprint_byte, quoted


class DocumentKind(Enum):
    """The documents that have a place on disk: their name, and what follows the vault file's path
    in their own."""

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
    def of(name: str) -> DocumentKind:
        check_name(name)
        for kind in DocumentKind:
            if kind.document == name:
                return kind
        known = ", ".join(kind.document for kind in DocumentKind)
        raise StorageError("unsupported", f"file storage has no document {quoted(name)}, only {known}")


Claim = Union[DocumentKind, int]
"""What a lock is wanted for: a document, or the number of a grant lock."""


def claim_of(scope: Scope) -> Claim:
    """Returns what a lease on ``scope`` locks."""
    kind = DocumentKind.of(scope.document)
    if isinstance(scope, DocumentScope):
        return kind
    if kind is not DocumentKind.VAULT:
        raise StorageError("unsupported", f"{scope.document} holds no grants, only {VAULT} does")
    return fingerprint_byte(scope.fingerprint) & 0x3F


def kind_of(claim: Claim) -> DocumentKind:
    """Returns the document that is locked, or whose grant is."""
    return claim if isinstance(claim, DocumentKind) else DocumentKind.VAULT


def lock_name(claim: Claim) -> str:
    """Returns the name of our own lock file for a claim."""
    return claim.lock_name if isinstance(claim, DocumentKind) else f"{claim:02x}"
