"""lazaretto keeps OAuth credentials alive, and stops dead ones from being used again.

>>> from lazaretto import Keeper, LoginRequired
>>> with Keeper(vault="~/.hermes/auth.json") as keeper:          # doctest: +SKIP
...     token = keeper.token("xai-oauth")

=====================================  =================
question                               see
=====================================  =================
how do I get a token                   :class:`Keeper`
what went wrong                        :class:`LazarettoError` and its subclasses
where do documents live                :mod:`lazaretto.storage`
who may be spoken to                   :mod:`lazaretto.http`
what may a call use up                 :class:`Limits`
=====================================  =================
"""

from __future__ import annotations

__version__ = "0.1.0"

from ._component import Component, Limits
from .errors import Inspect, LazarettoError, LoginRequired, Misconfigured, RetryLater, UsageError
from .keeper import Keeper
from .types import (
    AccessToken,
    Advice,
    CredentialStatus,
    Event,
    Judgement,
    LastError,
    StatusReport,
    Step,
)

__all__ = [
    "AccessToken",
    "Advice",
    "Component",
    "CredentialStatus",
    "Event",
    "Inspect",
    "Judgement",
    "Keeper",
    "LastError",
    "LazarettoError",
    "Limits",
    "LoginRequired",
    "Misconfigured",
    "RetryLater",
    "StatusReport",
    "Step",
    "UsageError",
]
