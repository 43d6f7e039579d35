"""Why a call did not do what was asked. The class says what helps, ``code`` what happened."""

from __future__ import annotations

from typing import Any, Dict, Optional, Type


class LazarettoError(Exception):
    """What happened to which credential, and why. Never holds a secret.

    :ivar code: What happened, in kebab case: ``quarantined``, ``cooling-down``, ... (``wit/keeper.wit`` has the list).
    :ivar action: What helps: ``login``, ``retry``, ``configure``, ``inspect`` or ``usage``. Each has a subclass.
    :ivar message: One sentence or more for a person.
    :ivar retry_after_s: In how many seconds a retry can succeed, where that is known.
    :ivar run: The one command that helps, as a shell takes it. None: time alone helps, or the message says what must change.
    """

    action: str = "inspect"

    def __init__(
        self,
        code: str,
        message: str,
        *,
        action: Optional[str] = None,
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
        """The members that ``wit/keeper.wit`` names."""
        return {
            "code": self.code,
            "action": self.action,
            "message": self.message,
            "provider": self.provider,
            "credential": self.credential,
            "retry_after_s": self.retry_after_s,
            "run": self.run,
        }


class LoginRequired(LazarettoError):
    """A person must log in again. Trying once more helps nobody."""

    action = "login"


class RetryLater(LazarettoError):
    """It may work later, by itself: ``retry_after_s`` says when, where that is known."""

    action = "retry"


class Misconfigured(LazarettoError):
    """A profile, a setting or the client must change."""

    action = "configure"


class Inspect(LazarettoError):
    """Something around the vault is broken: a person should look."""

    action = "inspect"


class UsageError(LazarettoError):
    """The call was wrong."""

    action = "usage"


_CLASSES: Dict[str, Type[LazarettoError]] = {
    kind.action: kind for kind in (LoginRequired, RetryLater, Misconfigured, Inspect, UsageError)
}


def error_of(members: Dict[str, Any]) -> LazarettoError:
    """The exception for an error record. An action of a newer component stays a plain :class:`LazarettoError`."""
    return _again(_CLASSES.get(members["action"], LazarettoError), members)


def _again(kind: Type[LazarettoError], members: Dict[str, Any]) -> LazarettoError:
    return kind(
        members["code"],
        members["message"],
        action=members["action"],
        provider=members.get("provider"),
        credential=members.get("credential"),
        retry_after_s=members.get("retry_after_s"),
        run=members.get("run"),
    )
