"""The component's imports: what it asks of the world, and this host's answers.

No exception leaves a function here, not even one that is to end the thread: what a storage or a
network raises becomes the typed answer that the WIT has for it. An exception that unwound through
the guest could cost the tokens that are about to be stored.
"""

from __future__ import annotations

import logging
import os
import time
from typing import Any, Callable, Dict, List, Optional, Tuple

from .http.contract import FailureKind, Http, HttpFailure, HttpRequest, Reach, Sent
from .storage.contract import (
    Absent,
    Acquired,
    Cas,
    Document,
    DocumentScope,
    Durability,
    GrantScope,
    Holder,
    Loaded,
    PrepareCause,
    PrepareError,
    Reads,
    Scope,
    Stale,
    Storage,
    StorageError,
    Stored,
    Unchanged,
)
from .types import Event, Severity

_log = logging.getLogger("lazaretto")

Outcome = Tuple[str, Any]
OnEvent = Callable[[Event], object]


class World:
    """The world of one call. What the guest asks for comes as plain values, and so do the answers:
    see ``_wit_values``."""

    def __init__(self, storage: Storage, http: Http, on_event: Optional[OnEvent]) -> None:
        self._storage = storage
        self._http = http
        self._on_event = on_event
        # Leases that the call holds, so that none outlives it.
        self._leases: List[str] = []
        self.has_sent = False

    def functions(self) -> Dict[Tuple[str, str], Callable[..., Any]]:
        """Everything that the world ``keeper-world`` imports, and nothing else."""
        storage, wasi = "lazaretto:keeper/storage", "wasi:clocks"
        return {
            (storage, "load"): self._load,
            (storage, "store"): self._store,
            (storage, "prepare"): self._prepare,
            (storage, "acquire"): self._acquire,
            (storage, "release"): self._release,
            (storage, "holder-of"): self._holder_of,
            (storage, "list"): self._list,
            (storage, "describe"): self._describe,
            ("lazaretto:keeper/http", "send"): self._send,
            ("lazaretto:keeper/events", "emit"): self.emit,
            (f"{wasi}/wall-clock", "now"): _wall_clock,
            (f"{wasi}/monotonic-clock", "now"): time.monotonic_ns,
            ("wasi:random/random", "get-random-u64"): _random_u64,
        }

    def end(self) -> None:
        """The call is over, or trapped: what it still holds is given back."""
        leases, self._leases = self._leases, []
        for lease in leases:
            self._release_now(lease)

    def _load(self, name: str, known: Optional[str]) -> Outcome:
        try:
            outcome = self._storage.load(name, known)
            if isinstance(outcome, Unchanged):
                return ("ok", ("unchanged", None))
            if isinstance(outcome, Absent):
                return ("ok", ("absent", None))
            if isinstance(outcome, Loaded):
                return ("ok", ("loaded", _document(outcome.document)))
            return _broken("load", outcome)
        except BaseException as error:
            return _storage_error("load", error)

    def _store(
        self,
        name: str,
        text: str,
        expected: Optional[str],
        durable: bool,
        lease: Optional[str],
        ticket: Optional[str] = None,
    ) -> Outcome:
        try:
            outcome = self._storage.store(name, text, expected, durable, lease, ticket)
            if isinstance(outcome, Stored):
                return ("ok", ("stored", _text(outcome.version)))
            if isinstance(outcome, Stale):
                return ("ok", ("stale", None if outcome.current is None else _document(outcome.current)))
        except StorageError as error:
            return _storage_error("store", error)
        except BaseException as error:
            # Only a StorageError says that nothing was written.
            _log.warning("the storage raised %s in store: whether it wrote is not known", type(error).__name__)
        return ("ok", ("unknown", None))

    def _prepare(self, name: str, size: int, lease: str) -> Outcome:
        try:
            ticket = self._storage.prepare(name, size, lease)
            return ("ok", None if ticket is None else _text(ticket))
        except PrepareError as error:
            return ("err", {"cause": PrepareCause(error.cause).value, "message": str(error.message)})
        except BaseException as error:
            _, described = _storage_error("prepare", error)
            return ("err", {"cause": PrepareCause.OTHER.value, "message": described["message"]})

    def _acquire(self, scope: Tuple[str, Any], ttl_ms: int, wait_ms: int) -> Outcome:
        try:
            outcome = self._storage.acquire(_scope(scope), ttl_ms, wait_ms)
            if isinstance(outcome, Acquired):
                grant = outcome.grant
                self._leases.append(grant.lease)
                return ("ok", ("acquired", {"lease": _text(grant.lease), "granted_ttl_ms": _count(grant.granted_ttl_ms)}))
            return ("ok", ("busy", _described(outcome.holder)))
        except BaseException as error:
            return _storage_error("acquire", error)

    def _release(self, lease: str) -> None:
        # Only what this call holds: a call must not free another's.
        if lease in self._leases:
            self._leases.remove(lease)
            self._release_now(lease)

    def _release_now(self, lease: str) -> None:
        try:
            self._storage.release(lease)
        except BaseException as error:
            _log.warning("the storage raised %s in release", type(error).__name__)

    def _holder_of(self, scope: Tuple[str, Any]) -> Outcome:
        try:
            holder = self._storage.holder_of(_scope(scope))
            return ("ok", None if holder is None else _described(holder))
        except BaseException as error:
            return _storage_error("holder_of", error)

    def _list(self, prefix: str) -> Outcome:
        try:
            return ("ok", [_text(name) for name in self._storage.list(prefix)])
        except BaseException as error:
            return _storage_error("list", error)

    def _describe(self) -> Dict[str, Any]:
        try:
            promised = self._storage.describe()
            return {
                "cas": Cas(promised.cas).value,
                "reads": Reads(promised.reads).value,
                "durability": Durability(promised.durability).value,
                "excludes_foreign": bool(promised.excludes_foreign),
            }
        except BaseException as error:
            _log.warning("the storage raised %s in describe: it promises nothing", type(error).__name__)
            return {"cas": "emulated", "reads": "may-be-stale", "durability": "none", "excludes_foreign": False}

    def _send(self, request: Dict[str, Any]) -> Outcome:
        headers = [(header["name"], header["value"]) for header in request["headers"]]
        self.has_sent = True
        try:
            answer = self._http.send(
                HttpRequest(
                    request["method"],
                    request["url"],
                    headers,
                    request["body"],
                    request["deadline_ms"],
                    Reach(request.get("reach", Reach.ANY)),
                )
            )
            return (
                "ok",
                {
                    "status": _between(int(answer.status), 0, 0xFFFF),
                    "headers": [{"name": _text(name), "value": _text(value)} for name, value in answer.headers],
                    "body": _text(answer.body),
                    "body_complete": bool(answer.body_complete),
                    "body_lossy": bool(answer.body_lossy),
                },
            )
        except HttpFailure as error:
            sent = Sent.NO if error.sent == Sent.NO else Sent.MAYBE
            kind = error.kind if error.kind in tuple(FailureKind) else FailureKind.OTHER
            return ("err", {"kind": str(kind), "sent": str(sent), "message": str(error.message)})
        except BaseException as error:
            # Its text might hold the request.
            message = f"the HTTP client raised {type(error).__name__}"
            return ("err", {"kind": FailureKind.OTHER.value, "sent": Sent.MAYBE.value, "message": message})

    def emit(self, event: Dict[str, Any]) -> None:
        """Tells whoever listens. It cannot fail."""
        if self._on_event is None:
            return
        attributes = {attribute["key"]: attribute["value"] for attribute in event["attributes"]}
        try:
            self._on_event(Event(**{**event, "severity": Severity(event["severity"]), "attributes": attributes}))
        except BaseException as error:
            _log.warning("on_event raised %s at the event %s", type(error).__name__, event["name"])


def _scope(scope: Tuple[str, Any]) -> Scope:
    tag, payload = scope
    return DocumentScope(payload) if tag == "document" else GrantScope(**payload)


def _described(holder: Holder) -> Dict[str, Any]:
    return {"name": _text(holder.name), "since_ms": _count(holder.since_ms)}


def _document(document: Document) -> Dict[str, str]:
    return {"version": _text(document.version), "text": _text(document.text)}


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("expected str")
    return value


def _count(value: Any) -> Optional[int]:
    return None if value is None else _between(int(value), 0, (1 << 64) - 1)


def _between(value: int, least: int, most: int) -> int:
    return min(max(value, least), most)


def _storage_error(call: str, error: BaseException) -> Outcome:
    if isinstance(error, StorageError):
        return ("err", {"code": str(error.code), "message": str(error.message)})
    # Its text might hold a document.
    return ("err", {"code": "other", "message": f"the storage raised {type(error).__name__} in {call}"})


def _broken(call: str, outcome: object) -> Outcome:
    return ("err", {"code": "other", "message": f"the storage answered {call} with {type(outcome).__name__}"})


def _wall_clock() -> Dict[str, int]:
    seconds, nanoseconds = divmod(max(time.time_ns(), 0), 1_000_000_000)
    return {"seconds": seconds, "nanoseconds": nanoseconds}


def _random_u64() -> int:
    return int.from_bytes(os.urandom(8), "little")
