"""A client's secret is read from the one place that the user's own ``providers.json`` names. The
component says only of which provider, so neither it nor a vault can have anything else read or run.

=========================  =========================================================================================
member                     what is read
=========================  =========================================================================================
``client_secret_env``      that environment variable ``client_secret_file``     the first line of
that file; a relative path is beside ``providers.json``, ``~/`` is the home directory
``client_secret_command``  the first line that the program prints; no shell runs it, and its
standard error is ours
=========================  =========================================================================================
"""

from __future__ import annotations

import json
import os
import stat
import subprocess
import threading
import time
from typing import Any, Dict, List, Optional, Tuple

from .contract import StorageError

#: The members of which a profile has at most one.
_MEMBERS = ("client_secret", "client_secret_env", "client_secret_file", "client_secret_command")
#: No profile lies over more others than this.
_DEEPEST = 8
#: A person may have to unlock what the secret is kept in.
_DEADLINE_S = 30.0
#: For so long a program is not run again.
_KEPT_S = 600.0
_LONGEST = 64 * 1024


class Secrets:
    """Reads the secrets of clients, and keeps what programs printed for a while."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._printed: Dict[Tuple[str, ...], Tuple[float, str]] = {}

    def of(self, provider: str, profiles: str, path: str) -> Optional[str]:
        """Returns the secret of a provider's client. None if its profile names no place."""
        named = _place(provider, profiles)
        if named is None:
            return None
        member, value = named
        if member == "client_secret_env":
            text = os.environ.get(value, "")
            if not text:
                raise _other(f"the environment variable {value} is not set")
        elif member == "client_secret_file":
            text = _of_file(_beside(path, value))
        else:
            _check_ours(path)
            text = self._printed_by(tuple(value))
        return text.split("\n", 1)[0].rstrip()

    def _printed_by(self, words: Tuple[str, ...]) -> str:
        with self._mutex:
            kept = self._printed.get(words)
            if kept is not None and time.monotonic() - kept[0] < _KEPT_S:
                return kept[1]
            text = _run(list(words))
            self._printed[words] = (time.monotonic(), text)
            return text


def _place(provider: str, text: str) -> Optional[Tuple[str, Any]]:
    """Returns where a provider's profile says that the secret is: in the first of its layers that
    says anything of it, and in none below one that names another client or another server."""
    try:
        profiles = json.loads(text)["profiles"]
        profile = profiles[provider]
        for _ in range(_DEEPEST + 1):
            if any(member in profile for member in _MEMBERS):
                return _named_in(profile)
            if "token_endpoint" in profile or "client_id" in profile:
                return None
            profile = profiles[profile["extends"]]
    except (ValueError, KeyError, TypeError, RecursionError):
        pass  # the component says what is wrong with it
    return None


def _named_in(profile: Dict[str, Any]) -> Optional[Tuple[str, Any]]:
    named = [member for member in _MEMBERS if profile.get(member) is not None]
    if len(named) != 1:
        return None
    member, value = named[0], profile[named[0]]
    if member == "client_secret_command":
        is_command = isinstance(value, list) and bool(value) and all(isinstance(word, str) for word in value)
        return (member, value) if is_command else None
    return (member, value) if member != "client_secret" and isinstance(value, str) else None


def _other(message: str) -> StorageError:
    return StorageError("other", message)


def _beside(profiles: str, named: str) -> str:
    if not named.startswith("~/"):
        return os.path.join(os.path.dirname(profiles), named)
    home = os.environ.get("HOME")
    if not home:
        raise _other(f"{named}: there is no home directory, for $HOME is not set")
    return os.path.join(home, named[2:])


def _of_file(path: str) -> str:
    try:
        # A pipe that nobody writes to must not hold us up.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise _other(f"cannot read {path}: it is no file")
            read = b""
            while len(read) <= _LONGEST and (part := os.read(handle, _LONGEST + 1 - len(read))):
                read += part
        finally:
            os.close(handle)
    except (OSError, ValueError) as error:
        raise _other(f"cannot read {path}: {getattr(error, 'strerror', None) or 'it is no path'}") from None
    return _text(read, f"cannot read {path}: it is no text, or too long for a secret")


def _text(read: bytes, otherwise: str) -> str:
    try:
        if len(read) <= _LONGEST:
            return read.decode()
    except UnicodeDecodeError:
        pass  # and nothing of it is shown
    raise _other(otherwise)


def _check_ours(profiles: str) -> None:
    """Whoever can write ``providers.json`` can have a program run: that must be its reader, or
    root."""
    try:
        found = os.stat(profiles)
    except OSError as error:
        raise _other(f"cannot look at {profiles}: {error.strerror}") from None
    if found.st_uid not in (0, os.geteuid()):
        raise _other(f"{profiles} belongs to user {found.st_uid}, so no program is run that it names")
    if found.st_mode & 0o022:
        mode = f"{found.st_mode & 0o7777:04o}"
        raise _other(f"others may write to {profiles} (mode {mode}), so no program is run that it names: chmod go-w")


def _run(words: List[str]) -> str:
    """Returns what a program prints. Nothing of it is in an error."""
    program = words[0]
    try:
        ran = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=_DEADLINE_S, check=False)
    except subprocess.TimeoutExpired:
        raise _other(f"{program} did not end within {_DEADLINE_S:.0f} s, and was stopped") from None
    except (OSError, ValueError) as error:
        raise _other(f"cannot run {program}: {getattr(error, 'strerror', None) or 'no such program'}") from None
    if ran.returncode != 0:
        raise _other(f"{program} failed (exit status: {ran.returncode})")
    return _text(ran.stdout, f"what {program} prints is no text, or too long for a secret")
