"""What an exchange is asked for and what it comes to. No ``repr`` here shows a header value, a body
or a query."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import List, Protocol, Tuple

from .._closed_set import ClosedSet

CAP_BYTES = 64 * 1024
"""The most bytes of a response body, or of its headers in all, that are handed on."""


class Reach(ClosedSet):
    """Which addresses a request may go to."""

    ANY = "any"
    """Any that the name of an allowed origin resolves to."""
    PUBLIC = "public"
    """Public ones only, for an address that a person did not choose."""


class Sent(ClosedSet):
    """Whether the server may have seen the request: it decides whether the same token may be sent
    again. In doubt, ``MAYBE``."""

    NO = "no"
    """Not one byte of the request left this host."""
    MAYBE = "maybe"
    """It may have."""


class FailureKind(ClosedSet):
    """What failed, where no answer with a status line came."""

    DNS = "dns"
    """The name was not resolved."""
    CONNECT = "connect"
    """No connection was made."""
    TLS = "tls"
    """The server did not prove who it is, or no secure connection was made."""
    TIMEOUT = "timeout"
    """The deadline passed."""
    RESET = "reset"
    """The connection ended before a response did."""
    PROTOCOL = "protocol"
    """What came is no HTTP."""
    NOT_ALLOWED = "not-allowed"
    """The origin is not on the host's list, or ``reach`` forbids its address."""
    UNSUPPORTED = "unsupported"
    """The host cannot do what the request asks for."""
    OTHER = "other"
    """Anything else."""


@dataclass(frozen=True)
class HttpRequest:
    """One request to an authorization server."""

    method: str
    """``POST`` or ``GET``."""
    url: str = field(repr=False)
    """Absolute, without user information and fragment."""
    headers: List[Tuple[str, str]] = field(repr=False)
    """``host``, ``content-length`` and the like are the host's own."""
    body: str = field(repr=False)
    deadline_ms: int
    """From name resolution to the last byte of the body."""
    reach: Reach = Reach.ANY
    """With ``PUBLIC`` the host refuses a name that resolves to any other address, and connects to
    the address that it checked."""


@dataclass(frozen=True)
class HttpResponse:
    """What came back with a status line, whatever the status."""

    status: int
    headers: List[Tuple[str, str]] = field(repr=False)
    """Repeated headers repeated; what is beyond :data:`CAP_BYTES` in all is dropped."""
    body: str = field(repr=False)
    """At most :data:`CAP_BYTES`."""
    body_complete: bool = True
    """False: the body was cut, by the cap, by the connection or by the deadline."""
    body_lossy: bool = False
    """True: bytes that were not UTF-8 were replaced."""


class HttpFailure(Exception):
    """No response with a status line came.

    The message holds no header value, no body and no query.
    """

    def __init__(self, kind: FailureKind, sent: Sent, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.sent = sent
        self.message = message


class Http(Protocol):
    """One attempt at one exchange. Any thread may make it. Raises :class:`HttpFailure`; whatever
    else it raises counts as ``sent`` ``maybe``."""

    def send(self, request: HttpRequest) -> HttpResponse:
        """Sends ``request`` and waits for its answer, at most until its deadline."""
        ...
