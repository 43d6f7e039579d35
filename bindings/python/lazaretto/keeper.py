"""The keeper: an access token that works, or an exception that says what to do."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Dict, Iterable, List, Mapping, Optional, Tuple, Union

from ._component import Component, Limits
from ._world import OnEvent, World
from .errors import (
    ConfigurationNeeded,
    InspectionNeeded,
    LazarettoError,
    UsageError,
    error_of,
)
from .http import profile_origins
from .http.allow import AllowList, Malformed
from .http.contract import FailureKind, Http, HttpFailure, HttpRequest, HttpResponse, Sent
from .http.profile_origins import ProfilesError
from .http.network import NetworkHttp
from .storage.contract import VAULT, Loaded, Storage, StorageError
from .storage.file import FileStorage
from .types import (
    AccessToken,
    Advice,
    Advised,
    CredentialKind,
    CredentialStatus,
    Judgement,
    LastError,
    Origin,
    Picked,
    Renewal,
    StatusReport,
    Step,
    Usable,
    Verdict,
)

Path = Union[str, "os.PathLike[str]"]
Headers = Union[Mapping[str, str], Iterable[Tuple[str, str]]]


_MAY_SEND = {("keeper", "token"), ("keeper", "refresh"), ("pool", "report")}


class Keeper:
    """Keeps the credentials of one vault alive. Any thread may call it, and a forked process may
    use its own copy.

    >>> with Keeper(vault="~/.hermes/auth.json") as keeper:          # doctest: +SKIP
    ...     token = keeper.token("xai-oauth")

    Every call blocks until it is done, and lets other Python threads run meanwhile. In ``asyncio``
    use ``await asyncio.to_thread(keeper.token, "xai-oauth")``.

    **Nothing cancels a refresh.** From the moment its request leaves until its answer is stored, no
    refresh can be given up: the answer may hold the only refresh token that still works. A call of
    the main thread runs on a thread of its own, so that Ctrl-C ends the waiting at once and not the
    call; Python joins that thread before it exits.

    :param vault: The vault file; it need not exist.
    :param layout: Which program's layout the vault is in, for example ``codex``, where its name,
        its folder and what is in it do not tell for certain.
    :param providers: Your own provider profiles, a JSON file.
    :param allow_loopback_http: Allows plain http to this machine, for profiles that name it. For
        tests.
    :param on_event: Called with each :class:`~lazaretto.Event`, on the thread that makes the call.
        What it raises is logged and ignored.
    :param environment: Whether entries of the vault that only name an environment variable are
        served from it.
    :param also: Other files that may hold the same logins; those are refreshed only there.
    :param command: By which words a person calls the command ``lazaretto`` so that it is about this
        vault: what an error's ``run`` and a status' ``todo`` begin with. None: ``lazaretto --vault
        PATH``, with the layout and the profiles where they are named.
    :param login_hint: What a person runs, or does, to log in to your program, in place of that
        command. ``{provider}`` in it stands for the provider.
    :param storage: Where the documents live, instead of ``vault``: any object with the methods of
        :class:`lazaretto.storage.Storage`.
    :param http: How authorization servers are reached, instead of the network.
    :param limits: What one call may use up.
    """

    def __init__(
        self,
        vault: Optional[Path] = None,
        *,
        layout: Optional[str] = None,
        providers: Optional[Path] = None,
        allow_loopback_http: bool = False,
        on_event: Optional[OnEvent] = None,
        environment: bool = False,
        also: Iterable[Path] = (),
        command: Optional[str] = None,
        login_hint: Optional[str] = None,
        storage: Optional[Storage] = None,
        http: Optional[Http] = None,
        limits: Optional[Limits] = None,
        component: Optional[Component] = None,
    ) -> None:
        if (vault is None) == (storage is None):
            raise UsageError("bad-request", "a keeper needs either vault= (a file) or storage= (an object)")
        if storage is None:
            assert vault is not None
            try:
                storage = FileStorage(
                    vault,
                    layout=layout,
                    providers=providers,
                    environment=environment,
                    also=also,
                    command=command,
                    login_hint=login_hint,
                )
            except NotImplementedError as error:
                raise ConfigurationNeeded("unsupported", str(error)) from None
        elif environment or tuple(also) or any(one is not None for one in (layout, providers, command, login_hint)):
            message = "layout=, providers=, environment=, also=, command= and login_hint= are for vault=: a storage has its own"
            raise UsageError("bad-request", message)
        self._storage = storage
        self._http = http if http is not None else _Network(self, allow_loopback_http)
        self._on_event = on_event
        self._limits = limits if limits is not None else Limits()
        self._component = component if component is not None else Component.own()
        self._is_closed = False
        self._is_looked_at = False

    def __enter__(self) -> Keeper:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the keeper: it takes no more calls. Those under way run to their end, and nothing
        else is held between calls."""
        self._is_closed = True

    def token(
        self,
        provider: str,
        *,
        credential: Optional[str] = None,
        min_valid_s: int = 0,
        refused_access_token: Optional[str] = None,
        session: Optional[str] = None,
        vault: str = VAULT,
    ) -> AccessToken:
        """Returns an access token that is valid as asked, refreshed if need be.

        :param provider: A profile's id or one of its aliases.
        :param credential: A pool entry's id or label, or ``login``. None: the first that can serve.
        :param min_valid_s: The token must be good for at least so many seconds more.
        :param refused_access_token: An access token that an API refused. The answer is another one.
        :param session: Where the settings let a session keep its credential: any name of the
            session.
        :param vault: The document's name, for a ``storage`` that has several.
        """
        return _access_token(
            self._call(
                "keeper",
                "token",
                _token_request(vault, provider, credential, min_valid_s, refused_access_token, session),
            )
        )

    def refresh(
        self,
        provider: str,
        *,
        credential: Optional[str] = None,
        min_valid_s: int = 0,
        refused_access_token: Optional[str] = None,
        session: Optional[str] = None,
        vault: str = VAULT,
    ) -> AccessToken:
        """Returns another access token than the one named as refused, or than the one the vault
        holds now. If another process has replaced that one meanwhile, its token is the answer and
        nothing is sent."""
        return _access_token(
            self._call(
                "keeper",
                "refresh",
                _token_request(vault, provider, credential, min_valid_s, refused_access_token, session),
            )
        )

    def status(self, provider: Optional[str] = None, *, vault: str = VAULT) -> StatusReport:
        """Returns every credential, or those of one provider. Reads only: no request, no write, no
        lock."""
        report = self._call("keeper", "status", vault, provider)
        return StatusReport([_credential_status(each) for each in report["credentials"]], report["warnings"])

    def report(
        self,
        provider: str,
        *,
        access_token: str,
        status: Optional[int] = None,
        headers: Headers = (),
        body: str = "",
        credential: Optional[str] = None,
        session: Optional[str] = None,
        vault: str = VAULT,
    ) -> Advice:
        """Reports what an API answered to a call, and gives advice: go on, use another access
        token, wait, or give up.

        :param access_token: The access token or key that the call was made with.
        :param status: The HTTP status. None: no answer came.
        :param headers: Names and values: pairs, or a mapping such as ``response.headers``.
        """
        call = {
            "vault": vault,
            "provider": provider,
            "credential": credential,
            "session": session,
            "access_token": access_token,
            "status": status,
            "headers": _pairs(headers),
            "body": body,
        }
        advice = self._call("pool", "report", call)
        token = advice["token"]
        return Advice(
            Advised(advice["advice"]),
            None if token is None else _access_token(token),
            advice["retry_after_s"],
            advice["message"],
            advice["run"],
        )

    def end_use(self, provider: str, *, credential: Optional[str] = None, vault: str = VAULT) -> None:
        """Ends a use that :meth:`token` counted as in use, where the settings limit
        that."""
        self._call("pool", "end-use", _selector(vault, provider, credential))

    def reset(self, provider: str, *, credential: Optional[str] = None, vault: str = VAULT) -> CredentialStatus:
        """Ends a cooldown, a hold, a park or a rest, so that the next call may try once. Tombstones
        stay."""
        return _credential_status(self._call("keeper", "reset", _selector(vault, provider, credential)))

    def unquarantine(self, provider: str, *, credential: Optional[str] = None, vault: str = VAULT) -> CredentialStatus:
        """Puts a quarantined credential back as it was, and lifts its tombstone: possible for 7
        days."""
        return _credential_status(self._call("keeper", "unquarantine", _selector(vault, provider, credential)))

    def save_unsaved(self, unsaved: str) -> None:
        """Stores what :attr:`AccessToken.unsaved` held."""
        self._call("keeper", "save-unsaved", unsaved)

    def origins(self) -> List[str]:
        """Returns the origins (``scheme://host:port``) that the profiles name: what this keeper may
        send to."""
        return list(self._call("keeper", "origins"))

    def classify(
        self,
        provider: str,
        *,
        status: Optional[int] = None,
        headers: Headers = (),
        body: str = "",
        body_complete: bool = True,
        body_lossy: bool = False,
        transport_error: Optional[FailureKind] = None,
        now_s: Optional[int] = None,
    ) -> Judgement:
        """Returns what an answer of a token endpoint to a refresh means. Sends and stores nothing.

        :param transport_error: If no answer came: ``dns``, ``connect``, ``tls``, ``timeout``,
            ``reset``, ...
        :param now_s: The time in seconds since 1970 against which a date in Retry-After is read.
            None: now.
        """
        answer = {
            "provider": provider,
            "status": status,
            "headers": _pairs(headers),
            "body": body,
            "body_complete": body_complete,
            "body_lossy": body_lossy,
            "transport_error": None if transport_error is None else str(transport_error),
        }
        try:
            found = self._storage.load("providers.json", None)
        except StorageError as error:
            raise InspectionNeeded("internal", error.message) from None
        profiles = found.document.text if isinstance(found, Loaded) else None
        judged = self._call(
            "classifier", "classify", answer, profiles, int(time.time()) if now_s is None else now_s
        )
        steps = [Step(**step) for step in judged["steps"]]
        return Judgement(**{**judged, "verdict": Verdict(judged["verdict"]), "steps": steps})

    def _call(self, interface: str, name: str, *arguments: Any) -> Any:
        """Makes a call, and returns its value. An error of the component is raised from here, so
        that no traceback leads through more."""
        if self._is_closed:
            raise UsageError("bad-request", "this keeper is closed")
        tag, value = _uninterrupted(self._run, interface, name, arguments)
        if tag == "ok":
            return value
        raise value

    def _run(self, interface: str, name: str, arguments: Tuple[Any, ...]) -> Tuple[str, Any]:
        if (interface, name) in _MAY_SEND or name == "status":
            self._look_who_may_read()
        if (interface, name) not in _MAY_SEND or not isinstance(self._storage, FileStorage):
            return self._run_once(interface, name, arguments)
        self._store_what_was_kept(self._storage)
        tag, value = self._run_once(interface, name, arguments)
        token = value.get("token") if tag == "ok" and name == "report" else value
        if tag == "ok" and token is not None and token["unsaved"] is not None:
            _keep(self._storage, token)
        return (tag, value)

    def _look_who_may_read(self) -> None:
        """Tells once of a vault that everybody may read."""
        if self._is_looked_at or not isinstance(self._storage, FileStorage):
            return
        self._is_looked_at = True
        exposed = self._storage.exposed()
        if exposed is not None:
            message, run = exposed
            World(self._storage, self._http, self._on_event).emit(
                {
                    "name": "vault-exposed",
                    "severity": "warning",
                    "at_ms": int(time.time() * 1000),
                    "provider": "",
                    "credential": None,
                    "message": f"{message}. run: {run}",
                    "attributes": [{"key": "run", "value": run}],
                }
            )

    def _store_what_was_kept(self, storage: FileStorage) -> None:
        """Gives the vault what earlier calls could store nowhere. What cannot be stored now waits
        on."""
        try:
            for kept in storage.rescue().kept():
                tag, _ = self._run_once("keeper", "save-unsaved", (kept.unsaved,))
                if tag == "ok":
                    kept.remove()
        except (StorageError, OSError):
            pass  # the call that follows meets what is wrong with the vault, and says so

    def _run_once(self, interface: str, name: str, arguments: Tuple[Any, ...]) -> Tuple[str, Any]:
        world = World(self._storage, self._http, self._on_event)
        try:
            tag, value = self._component.call(world, self._limits, interface, name, *arguments)
        except LazarettoError as error:
            return ("err", error)
        if tag == "ok":
            return ("ok", value)
        return ("err", error_of({"action": "configure", **value}))


def _keep(storage: FileStorage, token: Dict[str, Any]) -> None:
    """Keeps the new tokens of an answer in a rescue file. If even that fails, the caller has
    them."""
    try:
        path = storage.rescue().keep(token["unsaved"])
    except (StorageError, OSError):
        return
    token["unsaved"] = None
    token["warning"] = f"the new tokens could not be stored in the vault: they are kept in {path}, and the next call stores them"


class _Network:
    """The network, to the origins that the profiles name when the first request is made: a call
    that sends nothing need not read them. The list never changes after that, and the component is
    not asked for it."""

    def __init__(self, keeper: Keeper, allow_loopback_http: bool) -> None:
        self._keeper = keeper
        self._allow_loopback_http = allow_loopback_http
        self._mutex = threading.Lock()
        self._http: Optional[NetworkHttp] = None

    def send(self, request: HttpRequest) -> HttpResponse:
        http = self._http
        if http is None:
            # Why there is none may pass, so only what works is kept.
            opened = self._open()
            with self._mutex:
                http = self._http = self._http or opened
        return http.send(request)

    def _open(self) -> NetworkHttp:
        try:
            loaded = self._keeper._storage.load("providers.json", None)
            user = loaded.document.text if isinstance(loaded, Loaded) else None
            return NetworkHttp(AllowList(profile_origins.origins(user), self._allow_loopback_http))
        except (Malformed, ProfilesError, StorageError) as error:
            raise HttpFailure(FailureKind.NOT_ALLOWED, Sent.NO, str(error)) from None


# Python runs signal handlers in the main thread only, between two steps of whatever it does there:
# a KeyboardInterrupt could end a storage in the middle of keeping the only refresh token that
# works. So the main thread waits, and these threads work.
_workers: Optional[ThreadPoolExecutor] = None
_workers_pid = 0


def _uninterrupted(run: Any, *arguments: Any) -> Any:
    global _workers, _workers_pid
    if threading.current_thread() is not threading.main_thread():
        return run(*arguments)
    if _workers is None or _workers_pid != os.getpid():  # a fork has none of its parent's threads
        _workers, _workers_pid = ThreadPoolExecutor(64, "lazaretto"), os.getpid()
    try:
        future = _workers.submit(run, *arguments)
    except RuntimeError:  # Python is ending, or there is no thread to be had
        return run(*arguments)
    return future.result()


def _token_request(
    vault: str,
    provider: str,
    credential: Optional[str],
    min_valid_s: int,
    refused_access_token: Optional[str],
    session: Optional[str],
) -> Dict[str, Any]:
    return {
        "vault": vault,
        "provider": provider,
        "credential": credential,
        "min_valid_s": min_valid_s,
        "refused_access_token": refused_access_token,
        "session": session,
    }


def _pairs(headers: Headers) -> List[Any]:
    return list(headers.items() if isinstance(headers, Mapping) else headers)


def _selector(vault: str, provider: str, credential: Optional[str]) -> Dict[str, Any]:
    return {"vault": vault, "provider": provider, "credential": credential}


def _access_token(members: Dict[str, Any]) -> AccessToken:
    words = {"picked": Picked(members["picked"]), "origin": Origin(members["origin"])}
    return AccessToken(**{**members, **words})


def _credential_status(members: Dict[str, Any]) -> CredentialStatus:
    last = members["last_error"]
    more = {
        "kind": CredentialKind(members["kind"]),
        "usable": Usable(members["usable"]),
        "renewal": Renewal(members["renewal"]),
        "last_error": None if last is None else LastError(**last),
    }
    return CredentialStatus(**{**members, **more})
