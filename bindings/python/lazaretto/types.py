"""What the keeper answers. Times are milliseconds since 1970, or seconds: the name says which."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Dict, List, Optional


@dataclass(frozen=True)
class AccessToken:
    """An access token to use. Its ``repr`` does not show the secret ones of its members."""

    token: str = field(repr=False)
    """Secret."""
    token_type: str
    """``Bearer``, or what the server or the vault says."""
    provider: str
    credential: str
    """The entry it belongs to: its id, or ``login``."""
    expires_at_ms: Optional[int]
    """None: unknown; it is good until an API refuses it."""
    picked: str
    """Why this one: ``named``, ``only``, ``priority``, ``round-robin``, ``random``, ``least-used``,
    ``sticky``."""
    origin: str
    """How it was come by: ``stored``, ``refreshed``, ``adopted``, ``sealed``, ``api-key``."""
    warning: Optional[str]
    """Something a person should know although the token is good."""
    unsaved: Optional[str] = field(repr=False)
    """The rotated tokens could not be stored anywhere, and with ``vault=`` not in a rescue file
    either. Secret and opaque: hand it to ``save_unsaved`` as soon as the storage works again, or
    the login is lost."""
    run: Optional[str] = None
    """The one command that ends what the warning tells of, as a shell takes it."""

    @property
    def authorization(self) -> str:
        """Returns the value of an ``Authorization`` header. Secret."""
        return f"{self.token_type} {self.token}"


@dataclass(frozen=True)
class LastError:
    """The last thing that went wrong with a credential."""

    code: str
    message: str
    reason: str
    at_ms: Optional[int]


@dataclass(frozen=True)
class CredentialStatus:
    """One credential, as a person wants to see it. ``wit/keeper.wit`` explains each member."""

    provider: str
    credential: str
    label: str
    """Another program's text: escape it before it goes to a terminal."""
    source: str
    kind: str
    state: str
    usable: str
    renewal: str
    refreshing_by: Optional[str]
    refreshing_since_ms: Optional[int]
    account: Optional[str]
    """Whose it is, by what its tokens claim. Another program's text."""
    expires_at_ms: Optional[int]
    retry_at_ms: Optional[int]
    sealed_until_ms: Optional[int]
    last_error: Optional[LastError]
    note: Optional[str]
    todo: Optional[str]
    """The one command that helps, if any does."""


@dataclass(frozen=True)
class StatusReport:
    """Every credential of a vault, and what could not be read as it should be."""

    credentials: List[CredentialStatus]
    warnings: List[str]


@dataclass(frozen=True)
class Advice:
    """What to do with an API call that was reported."""

    advice: str
    """``go-on``, ``use`` (call again with ``token``), ``wait``, ``give-up``."""
    token: Optional[AccessToken]
    retry_after_s: Optional[int]
    message: str
    run: Optional[str] = None
    """With ``give-up``: the one command that helps, as a shell takes it."""


@dataclass(frozen=True)
class Step:
    """One step of reading an answer."""

    name: str
    finding: str


@dataclass(frozen=True)
class Judgement:
    """What an answer to a refresh means, and why. No member holds a secret."""

    verdict: str
    """``refreshed``, ``terminal``, ``interaction``, ``config``, ``transient`` or ``unknown``."""
    status: Optional[int]
    code: Optional[str]
    sub_code: Optional[str]
    rule: str
    retry_after_s: Optional[int]
    summary: str
    in_doubt: bool
    steps: List[Step]


@dataclass(frozen=True)
class Event:
    """One decision of the keeper. Free of secrets: it may be logged anywhere."""

    name: str
    severity: str
    """``info``, ``warning`` or ``error``."""
    at_ms: int
    provider: str
    credential: Optional[str]
    message: str
    attributes: Dict[str, str]

