"""Documents with versions, and leases on them: what serves the component's ``storage`` import.

``wit/storage.wit`` is the contract; the types here mirror it name by name and add nothing to it.
:class:`FileStorage` keeps documents as files (``docs/file-store.md``), :class:`MemoryStorage` only
as long as it lives. A storage of your own is any object that has the methods of :class:`Storage`.
"""

from __future__ import annotations

from .contract import (
    ABSENT,
    UNCHANGED,
    UNKNOWN,
    VAULT,
    Absent,
    AcquireOutcome,
    Acquired,
    Busy,
    Capabilities,
    Cas,
    Document,
    DocumentScope,
    Durability,
    GrantScope,
    Holder,
    LeaseGrant,
    Loaded,
    LoadOutcome,
    PrepareCause,
    PrepareError,
    Reads,
    Scope,
    Stale,
    Storage,
    StorageError,
    Stored,
    StoreOutcome,
    Unchanged,
    Unknown,
    check_name,
    version_of,
)
from .file import FileStorage
from .memory import MemoryStorage

__all__ = [
    "ABSENT",
    "UNCHANGED",
    "UNKNOWN",
    "VAULT",
    "Absent",
    "AcquireOutcome",
    "Acquired",
    "Busy",
    "Capabilities",
    "Cas",
    "Document",
    "DocumentScope",
    "Durability",
    "FileStorage",
    "GrantScope",
    "Holder",
    "LeaseGrant",
    "LoadOutcome",
    "Loaded",
    "MemoryStorage",
    "PrepareCause",
    "PrepareError",
    "Reads",
    "Scope",
    "Stale",
    "Storage",
    "StorageError",
    "StoreOutcome",
    "Stored",
    "Unchanged",
    "Unknown",
    "check_name",
    "version_of",
]
