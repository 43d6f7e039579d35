"""lazaretto keeps OAuth credentials alive, and stops dead ones from being used again.

>>> from lazaretto import Keeper, LoginNeeded
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

from ._component import Component, Limits
from .errors import (
    Action,
    ConfigurationNeeded,
    InspectionNeeded,
    LazarettoError,
    LoginNeeded,
    RetryLater,
    UsageError,
)
from ._version import __version__
from .keeper import Keeper
from .types import (
    AccessToken,
    Advice,
    Advised,
    CredentialKind,
    CredentialStatus,
    Event,
    Judgement,
    LastError,
    Origin,
    Picked,
    Renewal,
    Severity,
    StatusReport,
    Step,
    Usable,
    Verdict,
)

__all__ = [
    "__version__",
    "AccessToken",
    "Action",
    "Advice",
    "Advised",
    "Component",
    "ConfigurationNeeded",
    "CredentialKind",
    "CredentialStatus",
    "Event",
    "InspectionNeeded",
    "Judgement",
    "Keeper",
    "LastError",
    "LazarettoError",
    "Limits",
    "LoginNeeded",
    "Origin",
    "Picked",
    "Renewal",
    "RetryLater",
    "Severity",
    "StatusReport",
    "Step",
    "Usable",
    "UsageError",
    "Verdict",
]
