"""One request is one attempt: it goes to an allow-listed origin, once, on a connection of its own,
and ends at its deadline.

What serves the component's ``http`` import. A refresh token may be single use, so whatever an
ordinary HTTP client does to be helpful is off here: no retry, no redirect, no pool, no cookies.

- :class:`AllowList`: which origins may be sent to
- :class:`NetworkHttp`: the real thing, over TCP and TLS; its doc says which environment variables
  count
- :class:`Http`: what a keeper calls, so that a test can stand in for the network
"""

from __future__ import annotations

from .allow import AllowList, Malformed
from .contract import CAP_BYTES, FailureKind, Http, HttpFailure, HttpRequest, HttpResponse, Reach, Sent
from .network import NetworkHttp

__all__ = [
    "CAP_BYTES",
    "AllowList",
    "FailureKind",
    "Http",
    "HttpFailure",
    "HttpRequest",
    "HttpResponse",
    "Malformed",
    "NetworkHttp",
    "Reach",
    "Sent",
]
