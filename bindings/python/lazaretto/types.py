"""What the keeper answers. Times are milliseconds since 1970, or seconds: the name says which."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Dict, List, Optional

from ._closed_set import ClosedSet


class CredentialKind(ClosedSet):
    """What a credential is."""

    OAUTH = "oauth"
    """A login, with an access token that ends."""
    API_KEY = "api-key"
    """A key, which is used as it is."""


class Usable(ClosedSet):
    """Whether a credential can be used now."""

    YES = "yes"
    """Its access token or key is good."""
    EXPIRING = "expiring"
    """It is good, and ends soon."""
    EXPIRED = "expired"
    """Its access token has ended; a refresh can replace it."""
    UNKNOWN = "unknown"
    """Nobody knows when its access token ends."""
    NO = "no"
    """It cannot be used."""


class Renewal(ClosedSet):
    """Whether a credential will be refreshed."""

    OK = "ok"
    """As soon as it must be."""
    REFRESHING = "refreshing"
    """A process is refreshing it now."""
    IN_DOUBT = "in-doubt"
    """The answer to its last refresh was lost; the next call asks once more."""
    PAUSED = "paused"
    """Not before ``retry_at_ms``, or before ``todo`` is done."""
    NEEDS_LOGIN = "needs-login"
    """Not before a person has logged in."""
    NEEDS_CONFIGURATION = "needs-configuration"
    """Not before a profile or the client has changed."""
    QUARANTINED = "quarantined"
    """Never: its tokens were taken out of use. They are sealed until ``sealed_until_ms``."""
    DEAD = "dead"
    """Never: its refresh token is known to be dead."""
    NONE = "none"
    """There is nothing to refresh: a key, or a login without a refresh token."""


class Severity(ClosedSet):
    """How much an event matters."""

    INFO = "info"
    """As it should be."""
    WARNING = "warning"
    """A person should look."""
    ERROR = "error"
    """Something was lost, or is about to be."""


class Origin(ClosedSet):
    """Where an access token is from."""

    STORED = "stored"
    """The vault had it."""
    REFRESHED = "refreshed"
    """This call refreshed it."""
    ADOPTED = "adopted"
    """Another process refreshed it meanwhile."""
    SEALED = "sealed"
    """Its refresh token is dead and sealed; the access token is still good."""
    API_KEY = "api-key"
    """It is a key."""


class Picked(ClosedSet):
    """Why a credential was chosen among those of its provider."""

    NAMED = "named"
    """The call named it."""
    ONLY = "only"
    """There is no other."""
    PRIORITY = "priority"
    """It comes first by priority."""
    ROUND_ROBIN = "round-robin"
    """It was its turn."""
    RANDOM = "random"
    """By chance."""
    LEAST_USED = "least-used"
    """It was used least."""
    STICKY = "sticky"
    """The session has used it before."""


class Advised(ClosedSet):
    """What to do with a call that was reported."""

    GO_ON = "go-on"
    """Nothing: it went through."""
    USE = "use"
    """Call again with ``token``."""
    WAIT = "wait"
    """Call again later: see ``retry_after_s``."""
    GIVE_UP = "give-up"
    """Give up: ``run`` is what helps."""


class Verdict(ClosedSet):
    """What an answer to a refresh means."""

    REFRESHED = "refreshed"
    """The answer carries a usable access token."""
    TERMINAL = "terminal"
    """This refresh token will never work again."""
    INTERACTION = "interaction"
    """A person must do something at the provider; the token may live."""
    CONFIG = "config"
    """The client, the request or the account's plan is wrong; the token may live."""
    TRANSIENT = "transient"
    """Nothing is said about the token: try again later."""
    UNKNOWN = "unknown"
    """It cannot be told."""


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
    picked: Picked
    """Why this one."""
    origin: Origin
    """Where it is from."""
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
    kind: CredentialKind
    state: str
    usable: Usable
    renewal: Renewal
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

    advice: Advised
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

    verdict: Verdict
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
    severity: Severity
    at_ms: int
    provider: str
    credential: Optional[str]
    message: str
    attributes: Dict[str, str]

