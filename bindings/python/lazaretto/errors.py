"""Errors of a keeper: the class says what helps, ``code`` says what happened."""

from __future__ import annotations

from typing import Any, Dict, Optional, Type

from ._closed_set import ClosedSet


class Action(ClosedSet):
    """What helps after an error. Each has a subclass of :class:`LazarettoError`."""

    LOGIN = "login"
    """A person must log in again."""
    RETRY = "retry"
    """The call may succeed later, by itself."""
    CONFIGURE = "configure"
    """A profile, a setting or the client must change."""
    INSPECT = "inspect"
    """Something around the vault is broken: a person should look."""
    USAGE = "usage"
    """The call was wrong."""


class LazarettoError(Exception):
    """What happened to which credential, and why. Never holds a secret.

    :ivar code: What happened, in kebab case: ``quarantined``, ``cooling-down``, ... The WIT has
        the list, and it is open.
    :ivar action: What helps. Each action has a subclass, so callers need not compare it.
    :ivar message: One sentence or more for a person.
    :ivar retry_after_s: In how many seconds a retry can succeed, where that is known.
    :ivar run: The one command that helps, as a shell takes it. None: time alone helps, or the
        message says what must change.
    """

    action: Action = Action.INSPECT

    def __init__(
        self,
        code: str,
        message: str,
        *,
        action: Optional[Action] = None,
        provider: Optional[str] = None,
        credential: Optional[str] = None,
        retry_after_s: Optional[int] = None,
        run: Optional[str] = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        if action is not None:
            self.action = action
        self.provider = provider
        self.credential = credential
        self.retry_after_s = retry_after_s
        self.run = run

    def __repr__(self) -> str:
        return f"{type(self).__name__}(code={self.code!r}, message={self.message!r})"

    def __reduce__(self) -> Any:
        return (_again, (type(self), self.as_dict()))

    def as_dict(self) -> Dict[str, Any]:
        """Returns the members that the WIT record ``error`` names."""
        return {
            "code": self.code,
            "action": self.action.value,
            "message": self.message,
            "provider": self.provider,
            "credential": self.credential,
            "retry_after_s": self.retry_after_s,
            "run": self.run,
        }


class LoginNeeded(LazarettoError):
    """A person must log in again. Another try does not help."""

    action = Action.LOGIN


class RetryLater(LazarettoError):
    """The call may succeed later, by itself: ``retry_after_s`` says when, where that is known."""

    action = Action.RETRY


class ConfigurationNeeded(LazarettoError):
    """A profile, a setting or the client must change."""

    action = Action.CONFIGURE


class InspectionNeeded(LazarettoError):
    """Something around the vault is broken: a person should look."""

    action = Action.INSPECT


class UsageError(LazarettoError):
    """The call was wrong."""

    action = Action.USAGE


_CLASSES: Dict[Action, Type[LazarettoError]] = {
    kind.action: kind for kind in (LoginNeeded, RetryLater, ConfigurationNeeded, InspectionNeeded, UsageError)
}


def error_of(members: Dict[str, Any]) -> LazarettoError:
    """Returns the exception for the members of a WIT record ``error``.

    An action of a newer component is a plain :class:`LazarettoError`, for a person to look at.
    """
    try:
        action = Action(members["action"])
    except ValueError:
        return _again(LazarettoError, {**members, "action": Action.INSPECT})
    return _again(_CLASSES[action], members)


def _again(kind: Type[LazarettoError], members: Dict[str, Any]) -> LazarettoError:
    return kind(
        members["code"],
        members["message"],
        action=Action(members["action"]),
        provider=members.get("provider"),
        credential=members.get("credential"),
        retry_after_s=members.get("retry_after_s"),
        run=members.get("run"),
    )
