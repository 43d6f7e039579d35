"""What a storage is asked and what it answers. Losing a race is an outcome, not an error."""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass, field
from typing import List, Optional, Protocol, Union

from .._closed_set import ClosedSet

VAULT = "vault"
"""The name by which the component knows the vault that a storage was opened for."""

STORE_WAIT_S = 10.0
"""How long a store that was given no lease waits for the document's lock."""


class StorageError(Exception):
    """Why a call could not be answered. An error of :meth:`Storage.store` means that nothing was
    written.

    ``code`` is one that ``wit/storage.wit`` lists, or ``invalid-lease``; the message never holds
    text of a document.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class PrepareCause(ClosedSet):
    """Why a document cannot be replaced."""

    READ_ONLY = "read-only"
    """The file system is mounted read-only."""
    MOUNT_POINT = "mount-point"
    """The file itself is a mount point, which nothing can replace."""
    IMMUTABLE = "immutable"
    """The file or its folder has the attribute immutable or append-only."""
    NOT_OWNER = "not-owner"
    """The file belongs to another user, and only that user can replace it."""
    FOLDER = "folder"
    """Nothing may be created in its folder."""
    NO_ROOM = "no-room"
    """There is no room for another text."""
    OTHER = "other"
    """Anything else: the message says what."""


class PrepareError(StorageError):
    """Why :meth:`Storage.prepare` could make nothing ready. The message says what to do."""

    def __init__(self, cause: PrepareCause, code: str, message: str) -> None:
        super().__init__(code, message)
        self.cause = cause


@dataclass(frozen=True)
class Document:
    """A text and its version, read together. Its ``repr`` does not show the text."""

    version: str
    text: str = field(repr=False)


@dataclass(frozen=True)
class Unchanged:
    """The version is the known one."""


@dataclass(frozen=True)
class Absent:
    """There certainly is no such document."""


@dataclass(frozen=True)
class Loaded:
    """The document, whole."""

    document: Document


UNCHANGED = Unchanged()
ABSENT = Absent()
LoadOutcome = Union[Unchanged, Absent, Loaded]


@dataclass(frozen=True)
class Stored:
    """Stored as durably as was asked for, and this is the version."""

    version: str


@dataclass(frozen=True)
class Stale:
    """The document is not at the expected version: nothing was written. Carries what is there
    instead, if anything."""

    current: Optional[Document]


@dataclass(frozen=True)
class Unknown:
    """It cannot be said whether the text was written."""


UNKNOWN = Unknown()
StoreOutcome = Union[Stored, Stale, Unknown]


@dataclass(frozen=True)
class DocumentScope:
    """All writing of one document, by anyone."""

    document: str


@dataclass(frozen=True)
class GrantScope:
    """The refreshing of one grant, named by the fingerprint of its refresh token: 32 lower-case hex
    digits."""

    document: str
    fingerprint: str


Scope = Union[DocumentScope, GrantScope]


@dataclass(frozen=True)
class LeaseGrant:
    """A lease that was granted. ``granted_ttl_ms`` none: until it is released or the process
    ends."""

    lease: str
    granted_ttl_ms: Optional[int] = None


@dataclass(frozen=True)
class Holder:
    """Who holds a lease, as far as is known: a hint for a person, never a reason to act."""

    name: str = ""
    since_ms: Optional[int] = None


@dataclass(frozen=True)
class Acquired:
    """The lease is held from now on."""

    grant: LeaseGrant


@dataclass(frozen=True)
class Busy:
    """Somebody else held it for the whole wait."""

    holder: Holder


AcquireOutcome = Union[Acquired, Busy]


class Cas(ClosedSet):
    """Whether compare and swap is one step."""

    NATIVE = "native"
    """It is."""
    EMULATED = "emulated"
    """It is made of a lock, a read and a write."""


class Reads(ClosedSet):
    """What a load sees."""

    LINEARIZABLE = "linearizable"
    """Every store that ended before it."""
    MAY_BE_STALE = "may-be-stale"
    """Perhaps not the latest store."""


class Durability(ClosedSet):
    """What a durable store survives."""

    NONE = "none"
    """Not even the end of the process."""
    PROCESS_CRASH = "process-crash"
    """The end of the process."""
    MACHINE_CRASH = "machine-crash"
    """A crash of the machine, or a power cut."""
    QUORUM = "quorum"
    """The loss of any machine of a minority."""


@dataclass(frozen=True)
class Capabilities:
    """What a storage promises. It must not promise more than it keeps."""

    cas: Cas
    reads: Reads
    durability: Durability
    excludes_foreign: bool
    """Whether a document lease also excludes other programs that write the same document."""


class Storage(Protocol):
    """A place for documents. Every call is complete when it returns; any thread may make it.

    What cannot be answered is raised as :class:`StorageError`. Whatever else :meth:`store` raises
    counts as :class:`Unknown`, and elsewhere as a storage that failed.
    """

    def load(self, name: str, known: Optional[str]) -> LoadOutcome:
        """Reads a document. ``known`` is the version that the caller already has, if any."""
        ...

    def store(
        self,
        name: str,
        text: str,
        expected: Optional[str],
        durable: bool,
        lease: Optional[str],
        ticket: Optional[str] = None,
    ) -> StoreOutcome:
        """Replaces a document if it is still at ``expected`` (none: if it does not exist).

        ``ticket`` is what :meth:`prepare` returned for this document; the store consumes it,
        whatever the outcome. One that is not known changes nothing.
        """
        ...

    def prepare(self, name: str, size: int, lease: str) -> Optional[str]:
        """Makes ready what a later store of ``size`` bytes needs, and returns a ticket for it. None
        if there is nothing to make ready.

        ``lease`` is held on the grant that is about to be refreshed. Nothing of the document
        changes, and what is not used goes with the lease. Raises :class:`PrepareError`.
        """
        ...

    def acquire(self, scope: Scope, ttl_ms: int, wait_ms: int) -> AcquireOutcome:
        """Takes a lease, waiting at most ``wait_ms`` for it."""
        ...

    def release(self, lease: str) -> None:
        """Releases a lease. An unknown lease is ignored."""
        ...

    def holder_of(self, scope: Scope) -> Optional[Holder]:
        """Returns who holds a lease now; none: nobody. Takes no lease, writes nothing, waits for
        nothing and keeps nobody out.

        The answer is for people: what may be done is decided by :meth:`acquire` alone.
        """
        ...

    def list(self, prefix: str) -> List[str]:
        """Returns the names of the documents that exist and begin with ``prefix``."""
        ...

    def describe(self) -> Capabilities:
        """Returns what this storage promises."""
        ...


_SEGMENT = re.compile(r"[a-z0-9._-]+", re.ASCII)


def check_name(name: str) -> None:
    """Raises ``invalid-name`` unless the name is segments of ``[a-z0-9._-]+`` joined by ``/``, none
    of them ``.`` or ``..``."""
    if all(segment not in (".", "..") and _SEGMENT.fullmatch(segment) for segment in name.split("/")):
        return
    raise StorageError(
        "invalid-name",
        f"{quoted(name)} is not a document name: use segments of a-z, 0-9, '.', '_' and '-' joined by '/'",
    )


def quoted(name: str) -> str:
    """``name`` as it may stand in a message: escaped, and cut short."""
    return json.dumps(name[:80] + ("..." if len(name) > 80 else ""))


def version_of(text: bytes) -> str:
    """SHA-256 shortened to 128 bits, in hex. No text has two, no two texts share one."""
    return hashlib.sha256(text).hexdigest()[:32]


def random_id() -> str:
    """128 random bits in hex: the name of a lease or of a temporary file."""
    return os.urandom(16).hex()


def fingerprint_byte(fingerprint: str) -> int:
    """Checks a fingerprint and gives its first byte."""
    if re.fullmatch(r"[0-9a-f]{32}", fingerprint, re.ASCII):
        return int(fingerprint[:2], 16)
    # Not shown: whoever passes something else may have passed the token itself.
    raise StorageError("other", "a grant lease is named by a fingerprint: 32 lower-case hex digits")


def invalid_lease(name: str) -> StorageError:
    """Returns the refusal of a lease that does not permit a store."""
    return StorageError(
        "invalid-lease",
        f"the lease given for storing {name} is not a lease on that document, or is no longer held",
    )
