"""Documents that live as long as the process. For tests, and for hosts that keep what they know
elsewhere."""

from __future__ import annotations

import threading
from typing import Dict, List, Optional

from .contract import (
    ABSENT,
    STORE_WAIT_S,
    UNCHANGED,
    AcquireOutcome,
    Acquired,
    Busy,
    Capabilities,
    Cas,
    Document,
    DocumentScope,
    Durability,
    Holder,
    LeaseGrant,
    Loaded,
    LoadOutcome,
    Reads,
    Scope,
    Stale,
    StorageError,
    Stored,
    StoreOutcome,
    check_name,
    fingerprint_byte,
    invalid_lease,
    random_id,
    version_of,
)


_HOLDER = Holder("another call of this process", None)


def _check(scope: Scope) -> None:
    check_name(scope.document)
    if not isinstance(scope, DocumentScope):
        fingerprint_byte(scope.fingerprint)


class MemoryStorage:
    """Documents in memory, for this process alone."""

    def __init__(self, documents: Optional[Dict[str, str]] = None) -> None:
        self._texts: Dict[str, str] = {}
        self._leases: Dict[str, Scope] = {}
        self._changed = threading.Condition()
        for name, text in (documents or {}).items():
            check_name(name)
            self._texts[name] = text

    def text(self, name: str) -> Optional[str]:
        """Returns what a document holds now."""
        with self._changed:
            return self._texts.get(name)

    def load(self, name: str, known: Optional[str]) -> LoadOutcome:
        check_name(name)
        with self._changed:
            document = self._document(name)
        if document is None:
            return ABSENT
        return UNCHANGED if document.version == known else Loaded(document)

    def store(
        self,
        name: str,
        text: str,
        expected: Optional[str],
        durable: bool,
        lease: Optional[str],
        ticket: Optional[str] = None,
    ) -> StoreOutcome:
        check_name(name)
        whole = DocumentScope(name)
        with self._changed:
            if lease is not None and self._leases.get(lease) != whole:
                raise invalid_lease(name)
            if lease is None and not self._changed.wait_for(lambda: not self._is_held(whole), STORE_WAIT_S):
                raise StorageError("unavailable", f"{name} has been locked for {STORE_WAIT_S:.0f} s; try again")
            current = self._document(name)
            if (current and current.version) != expected:
                return Stale(current)
            self._texts[name] = text
            return Stored(version_of(text.encode()))

    def prepare(self, name: str, size: int, lease: str) -> Optional[str]:
        check_name(name)
        return None  # memory needs nothing made ready

    def acquire(self, scope: Scope, ttl_ms: int, wait_ms: int) -> AcquireOutcome:
        _check(scope)
        with self._changed:
            if not self._changed.wait_for(lambda: not self._is_held(scope), wait_ms / 1000):
                return Busy(_HOLDER)
            lease = random_id()
            self._leases[lease] = scope
            return Acquired(LeaseGrant(lease))

    def release(self, lease: str) -> None:
        with self._changed:
            self._leases.pop(lease, None)
            self._changed.notify_all()

    def holder_of(self, scope: Scope) -> Optional[Holder]:
        _check(scope)
        with self._changed:
            return _HOLDER if self._is_held(scope) else None

    def list(self, prefix: str) -> List[str]:
        with self._changed:
            return [name for name in self._texts if name.startswith(prefix)]

    def describe(self) -> Capabilities:
        return Capabilities(Cas.NATIVE, Reads.LINEARIZABLE, Durability.NONE, excludes_foreign=True)

    def _is_held(self, scope: Scope) -> bool:
        return scope in self._leases.values()

    def _document(self, name: str) -> Optional[Document]:
        text = self._texts.get(name)
        return None if text is None else Document(version_of(text.encode()), text)


