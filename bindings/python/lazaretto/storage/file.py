"""Documents as files. ``docs/file-store.md`` is the written protocol, for hosts in any language;
this is it in Python.

======================  ==========================================================================
file                    what it holds true
======================  ==========================================================================
``_documents.py``       which documents there are, and what can be locked
``_places.py``          a document and its locks lie beside the file that all links lead to
``_safe_path.py``       links are followed only where they are safe
``_folder.py``          a folder that was checked stays open, and everything in it is reached
                        through it
``_file_owner.py``      what lies beside a vault belongs to its owner or root
``_prepared.py``        what a store needs is made ready before a token is spent
``_temporary.py``       a text is written beside its document, and what was left is removed
``_text.py``            files are read bounded, and not again while a stat proves them unchanged
``_locks.py``           a lock lasts as long as its holder
``_lock_probe.py``      asking who holds a lock never takes it
``_holder.py``          the holder of a lock is named for people, and decides nothing
``_other_tools.py``     which other tool's lock belongs to a vault is decided by place and content
``_foreign_marks.py``   the locks that other tools make are made, and end with their maker
``_heartbeat.py``       what we made shows that we live
``_left_behind.py``     a mark that a killed lazaretto made is recognised
``_replace.py``         a document is the old text or the new one, whole
``_sync.py``            what was synced survives the machine
``_unsynced.py``        the ledger's newest text may lie beside it, and counts only if it is whole
``_rescue.py``          tokens that could be stored nowhere are kept until the vault takes them
``_secrets.py``         a client's secret is read from the place that the user's profile names
``_other_owners.py``    which other files may own what is in the vault
``_vault_place.py``     where the vault lies, and by which command a person reaches it
======================  ==========================================================================
"""

from __future__ import annotations

import dataclasses
import os
import shlex
import stat
import threading
import time
from dataclasses import dataclass
from typing import Dict, Iterable, List, Optional, Tuple, Union

from . import _locks, _other_owners, _text, _unsynced, _vault_place
from ._documents import Claim, DocumentKind, claim_of, kind_of, lock_name
from ._errors import size as text_size
from ._file_owner import check_owner
from ._locks import Held, Locks, Patience
from ._other_tools import marks
from ._places import Place, Places, beside, foreign_locks
from ._prepared import check_replaceable, prepare
from ._replace import Change, replace
from ._rescue import Rescue
from ._safe_path import SafePath
from ._secrets import Secrets
from ._temporary import Temporary
from ._text import MAX_BYTES, StatKey, Text, network_name, stat_key, too_large
from .contract import (
    ABSENT,
    STORE_WAIT_S,
    UNCHANGED,
    AcquireOutcome,
    Acquired,
    Busy,
    Capabilities,
    Cas,
    Document,
    DocumentScope,
    Durability,
    Holder,
    LeaseGrant,
    Loaded,
    LoadOutcome,
    PrepareCause,
    PrepareError,
    Reads,
    Scope,
    StorageError,
    StoreOutcome,
    check_name,
    invalid_lease,
    random_id,
    version_of,
)

_LIKE_A_KEY = ("_key", "_token", "_pat")


@dataclass(frozen=True)
class _Lease:
    """Locks that are held, and for what."""

    claim: Claim
    place: Place
    held: Held


@dataclass(frozen=True)
class _Ticket:
    """What was made ready for one store, as long as a lease is held."""

    kind: DocumentKind
    lease: str
    temporary: Temporary


class FileStorage:
    """One vault file and what lies beside it. Any number of values, in any number of processes, may
    share one vault.

    :param vault: The vault file; it need not exist. Nothing is touched before the first call.
    :param layout: Which program's layout the vault is in, where its name, its folder and what is in
        it do not tell for certain.
    :param providers: Where ``providers.json`` lies. None: it is absent.
    :param foreign_lock: Whether ``<stem>.lock`` beside ``<stem>.json``, the reference program's own
        lock, is taken for writing the vault. None: for a vault file called ``auth.json`` or
        ``nous_auth.json``. False also leaves other tools' locks for their own files alone, which
        are taken else.
    :param environment: Whether keys of this process's environment may be read, for entries of a
        vault that only name a variable. Only variables called like a key or a token (``..._KEY``,
        ``..._TOKEN``, ``..._PAT``) can be.
    :param also: Other files that may hold the same grants. Those that they hold are refreshed only
        there. What the reference's own layout says of its shared and its root store is known
        without this.
    :param shared_logins: Where the reference keeps the logins that its profiles share, if not in
        ``shared`` in its root.
    :param command: By which words a person calls the command ``lazaretto`` so that it is about this
        vault. None: ``lazaretto --vault PATH``, with the layout and the profiles where they are
        named.
    :param login_hint: What a person runs, or does, to log in, in place of that command.
        ``{provider}`` in it stands for the provider.
    :param allow_network_filesystem: Lets grants be leased where locks may not exclude other
        machines.
    """

    def __init__(
        self,
        vault: Union[str, os.PathLike[str]],
        *,
        layout: Optional[str] = None,
        providers: Union[str, os.PathLike[str], None] = None,
        foreign_lock: Optional[bool] = None,
        environment: bool = False,
        also: Iterable[Union[str, os.PathLike[str]]] = (),
        shared_logins: Union[str, os.PathLike[str], None] = None,
        allow_network_filesystem: bool = False,
        command: Optional[str] = None,
        login_hint: Optional[str] = None,
    ) -> None:
        if not _locks.HAVE_FLOCK:
            raise NotImplementedError(
                "FileStorage needs flock(2), which this system does not have: without it two processes would refresh one "
                "login at once. Use Linux, macOS or WSL, or give Keeper a storage= of your own"
            )
        self._places = Places(_absolute(vault), None if providers is None else _absolute(providers))
        self._layout = layout
        self._command = _vault_place.command_about(self._places.vault, layout, self._places.profiles) if command is None else command
        self._login_hint = login_hint
        self._foreign_lock = foreign_lock
        self._environment = environment
        self._secrets = Secrets()
        self._also = tuple(_absolute(path) for path in also)
        self._shared_logins = None if shared_logins is None else _absolute(shared_logins)
        self._allow_network = allow_network_filesystem
        self._store_wait_s = STORE_WAIT_S
        self._now_ns = time.time_ns
        self._mutex = threading.Lock()
        self._leases: Dict[str, _Lease] = {}
        self._tickets: Dict[str, _Ticket] = {}
        # The names of the leases that a thread took, the oldest first.
        self._of_this_thread = threading.local()
        # Per kind: the stat and the version of what was last read, if the stat proves it.
        self._seen: Dict[DocumentKind, Tuple[StatKey, str]] = {}

    def __repr__(self) -> str:
        return f"FileStorage({self._places.vault!r})"

    def load(self, name: str, known: Optional[str]) -> LoadOutcome:
        check_name(name)
        vault = self._places.vault
        if name == _other_owners.LIST:
            return _other_owners.load_list(_other_owners.owners(vault, self._also, self._shared_logins), known)
        elsewhere = _other_owners.document_in(name)
        if elsewhere is not None:
            at, document = elsewhere
            owners = _other_owners.owners(vault, self._also, self._shared_logins)
            if at >= len(owners):
                return ABSENT
            other = FileStorage(owners[at].path)
            other._places = dataclasses.replace(other._places, is_only_read=True)
            return other.load(document, known)
        if name == _vault_place.PLACE:
            return _vault_place.load_place(vault, self._layout, self._command, self._login_hint, known)
        if self._environment and name.startswith("env/"):
            return _variable_named(name[len("env/") :])
        if name.startswith("secret/"):
            return self._client_secret(name[len("secret/") :])
        kind = DocumentKind.of(name)
        outcome = self._glance(kind, known)
        if outcome is not None:
            return outcome
        place = self._find(kind)
        text = None if place is None else _read(kind, place)
        if text is None:
            return ABSENT
        with self._mutex:
            if text.proof is None:
                self._seen.pop(kind, None)
            else:
                self._seen[kind] = (text.proof, text.document.version)
        return UNCHANGED if text.document.version == known else Loaded(text.document)

    def _client_secret(self, provider: str) -> LoadOutcome:
        """Returns the secret of a provider's client, as ``providers.json`` says where it is."""
        path = self._places.profiles
        found = self.load(DocumentKind.PROFILES.document, None)
        if path is None or not isinstance(found, Loaded):
            return ABSENT
        text = self._secrets.of(provider, found.document.text, path)
        return ABSENT if text is None else Loaded(Document(version_of(text.encode()), text))

    def store(
        self,
        name: str,
        text: str,
        expected: Optional[str],
        durable: bool,
        lease: Optional[str],
        ticket: Optional[str] = None,
    ) -> StoreOutcome:
        kind = DocumentKind.of(name)
        with self._mutex:
            prepared = None if ticket is None else self._tickets.pop(ticket, None)
        try:
            temporary = prepared.temporary if prepared is not None and prepared.kind is kind else None
            return self._store_under(kind, text, expected, durable, lease, temporary)
        finally:
            if prepared is not None:
                prepared.temporary.discard()

    def _store_under(
        self,
        kind: DocumentKind,
        text: str,
        expected: Optional[str],
        durable: bool,
        lease: Optional[str],
        prepared: Optional[Temporary],
    ) -> StoreOutcome:
        """Stores under the lease that the caller holds, or under a lock for this store alone."""
        if lease is not None:
            return self._store(kind, self._lease_for(kind, lease).place, text, expected, durable, prepared)
        claimed = self._claim(kind, Patience(self._store_wait_s))
        if isinstance(claimed, Holder):
            holder = claimed.name or "somebody"
            raise StorageError(
                "unavailable",
                f"{kind.document} has been locked by {holder} for {self._store_wait_s:.0f} s; try again",
            )
        try:
            return self._store(kind, claimed.place, text, expected, durable, prepared)
        finally:
            claimed.held.let_go()

    def prepare(self, name: str, size: int, lease: str) -> Optional[str]:
        try:
            kind = DocumentKind.of(name)
            with self._mutex:
                held = self._leases.get(lease)
            if held is None or not held.held.is_of_this_process():
                raise invalid_lease(name)
            if size > MAX_BYTES:
                raise too_large(held.place.path, text_size(size))
            target = beside(held.place.anchor, kind).file.spot
        except PrepareError:
            raise
        except StorageError as error:
            raise PrepareError(PrepareCause.OTHER, error.code, error.message) from None
        ticket = _Ticket(kind, lease, prepare(target, size))
        number = random_id()
        with self._mutex:
            self._tickets[number] = ticket
        return number

    def acquire(self, scope: Scope, ttl_ms: int, wait_ms: int) -> AcquireOutcome:
        lease = self._claim(claim_of(scope), Patience(wait_ms / 1000), _fingerprint(scope))
        if isinstance(lease, Holder):
            return Busy(lease)
        name = random_id()
        with self._mutex:
            self._leases[name] = lease
        self._names_here().append(name)
        return Acquired(LeaseGrant(name))  # no lease here ends by time

    def release(self, lease: str) -> None:
        with self._mutex:
            held = self._leases.pop(lease, None)
            unused = [number for number, ticket in self._tickets.items() if ticket.lease == lease]
            tickets = [self._tickets.pop(number) for number in unused]
        for ticket in tickets:
            ticket.temporary.discard()
        if held is not None:
            held.held.let_go()

    def holder_of(self, scope: Scope) -> Optional[Holder]:
        claim = claim_of(scope)
        place = self._find(kind_of(claim))
        # Where there is no folder there is no lock.
        if place is None or place.anchor.missing:
            return None
        return self._locks(claim, place, _fingerprint(scope)).holder()

    def list(self, prefix: str) -> List[str]:
        names = []
        for kind in DocumentKind:
            place = self._find(kind) if kind.document.startswith(prefix) else None
            if place is not None and place.is_there():
                names.append(kind.document)
        return names

    def describe(self) -> Capabilities:
        safe_path: Optional[SafePath] = None
        try:
            place = self._find(DocumentKind.VAULT)
            safe_path = None if place is None else place.anchor
        except StorageError:
            pass
        is_network = safe_path is not None and _network(safe_path) is not None
        return Capabilities(
            cas=Cas.EMULATED,
            reads=Reads.MAY_BE_STALE if is_network else Reads.LINEARIZABLE,
            durability=Durability.MACHINE_CRASH,
            # The reference knows its vault by one name only: a file of any other name has no
            # foreign writer to exclude.
            excludes_foreign=safe_path is not None
            and (self._foreign_lock is None or bool(foreign_locks(safe_path, self._foreign_lock))),
        )

    def exposed(self) -> Optional[Tuple[str, str]]:
        """Returns what is wrong, for a person, and the command that ends it, if every user of the
        machine may open the vault. A group may share it."""
        try:
            mode = stat.S_IMODE(self._places.glance(DocumentKind.VAULT).st_mode)  # type: ignore[union-attr]
        except OSError:
            return None
        if not mode & 0o007:
            return None
        path = self._places.vault
        return (
            f"{path} has the mode {mode:04o}: every user of this machine may open it",
            f"chmod 600 {shlex.quote(path)}",
        )

    def rescue(self) -> Rescue:
        """Returns the files that keep tokens of this vault which could be stored nowhere."""
        place = self._places.find(DocumentKind.VAULT)
        assert place is not None
        return Rescue(place.anchor.target)

    def _names_here(self) -> List[str]:
        """Returns the leases that this thread took and still holds."""
        held = [name for name in getattr(self._of_this_thread, "names", []) if name in self._leases]
        self._of_this_thread.names = held
        return held

    def _held_here(self, kind: DocumentKind) -> Optional[_Lease]:
        """Returns the lease under which this thread works on a document, if it holds one."""
        for name in self._names_here():
            lease = self._leases.get(name)
            is_profiles = kind is DocumentKind.PROFILES
            if lease and lease.held.is_of_this_process() and is_profiles == (lease.claim is DocumentKind.PROFILES):
                return lease
        return None

    def _find(self, kind: DocumentKind) -> Optional[Place]:
        """Returns where a document lies. Whoever holds a lease stays in the folder that it was
        taken in, wherever that was moved."""
        lease = self._held_here(kind)
        return self._places.find(kind) if lease is None else beside(lease.place.anchor, kind)

    def _glance(self, kind: DocumentKind, known: Optional[str]) -> Optional[LoadOutcome]:
        """Returns what one stat can say: that the document certainly is at version ``known``, or
        that there is none. None: nothing.

        The kernel followed whatever links there are. But it came to nothing, or to the very file
        that was read by a safe way.
        """
        if self._held_here(kind) is not None:
            return None
        try:
            found = self._places.glance(kind)
        except FileNotFoundError:
            return ABSENT
        except OSError:
            return None
        if found is None or known is None:
            return None
        with self._mutex:
            seen = self._seen.get(kind)
        return UNCHANGED if seen == (stat_key(found), known) else None

    def _claim(self, claim: Claim, patience: Patience, grant: Optional[str] = None) -> Union[_Lease, Holder]:
        """Takes the locks of a claim. The order never changes: a grant's lock before a document's,
        and another program's before our own."""
        # While one waits for a lock the link may be pointed elsewhere, or the lock file be removed:
        # then it was the wrong lock.
        for _ in range(3):
            place = self._place_to_write(kind_of(claim))
            self._refuse_network(claim, place)
            taken = self._locks(claim, place, grant).take(patience)
            if isinstance(taken, Holder):
                return taken
            lease = _Lease(claim, place, taken)
            try:
                if self._is_where_it_was(lease):
                    if isinstance(claim, int):
                        check_replaceable(place.file.spot)
                    return lease
            except BaseException:
                taken.let_go()
                raise
            taken.let_go()
        raise StorageError("unavailable", f"{self._places.vault} is being moved about; try again")

    def _place_to_write(self, kind: DocumentKind) -> Place:
        """Returns where a document lies, in a folder that is created if it is missing."""
        for _ in range(3):
            place = self._find(kind)
            if place is None:
                raise StorageError(
                    "unsupported", "no file for providers.json was named (providers=), so it cannot be written"
                )
            # Not even a lock is left beside a vault of somebody else: its owner could not use it.
            check_owner(place.anchor.target, place.anchor.owner)
            if not place.anchor.missing:
                return place
            place.anchor.make_folders()
        raise StorageError("unavailable", f"{self._places.vault} is being moved about; try again")

    def _is_where_it_was(self, lease: _Lease) -> bool:
        """Returns whether, now that it is locked, the document still lies where the locks are, and
        these where others find them."""
        now = self._find(kind_of(lease.claim))
        return now is not None and now.is_same(lease.place) and lease.held.is_in_place()

    def _locks(self, claim: Claim, place: Place, grant: Optional[str]) -> Locks:
        is_vault = claim is DocumentKind.VAULT
        return Locks(
            foreign=foreign_locks(place.anchor, self._foreign_lock) if is_vault else [],
            marks=marks(place.anchor, self._foreign_lock) if is_vault else [],
            anchor=place.anchor.spot,
            own=lock_name(claim),
            owner=place.owner,
            grant=grant,
            now_ns=self._now_ns,
        )

    def _refuse_network(self, claim: Claim, place: Place) -> None:
        network = _network(place.anchor) if isinstance(claim, int) and not self._allow_network else None
        if network is not None:
            raise StorageError(
                "unsupported",
                f"{place.path} lies on {network}, where a lock may not keep another machine from refreshing the same login; "
                "move it to a local disk, or allow network file systems if only this machine uses it",
            )

    def _lease_for(self, kind: DocumentKind, lease: str) -> _Lease:
        """Returns the lease that a store was given, if it permits this store."""
        with self._mutex:
            held = self._leases.get(lease)
        if held is None or held.claim is not kind or not held.held.is_of_this_process():
            raise invalid_lease(kind.document)
        # The folder may have been moved since: the lease is one on what lies in it.
        if not held.held.is_in_place():
            raise StorageError(
                "unavailable", f"the lock of {kind.document} was moved or removed, and the lease permits nothing any more; try again"
            )
        return held

    def _store(
        self,
        kind: DocumentKind,
        place: Place,
        text: str,
        expected: Optional[str],
        durable: bool,
        prepared: Optional[Temporary],
    ) -> StoreOutcome:
        content = text.encode()
        if len(content) > MAX_BYTES:
            raise too_large(place.path, text_size(len(content)))
        target = place.file.spot
        # The vault may have been moved since: then the file lies beside another document.
        usable = prepared if prepared is not None and prepared.target.is_same(target) else None
        change = Change(target, place.unsynced(kind), content, expected, durable, usable)
        return replace(change, lambda: _read(kind, place))


def _read(kind: DocumentKind, place: Place) -> Optional[Text]:
    if place.file.missing:
        return None
    owner = place.owner_beside
    if kind is DocumentKind.VAULT and os.geteuid() == 0:
        owner = place.owner  # it may have been replaced since it was walked to
    unsynced = place.unsynced(kind)
    spot = place.file.spot
    return _text.read(spot, owner) if unsynced is None else _unsynced.read(spot, unsynced, owner)


def _fingerprint(scope: Scope) -> Optional[str]:
    return None if isinstance(scope, DocumentScope) else scope.fingerprint


def _network(vault: SafePath) -> Optional[str]:
    """Returns the kind of network file system that a vault lies on, or will lie on."""
    return network_name(vault.folder.handle)


def _variable_named(variable: str) -> LoadOutcome:
    """Returns an environment variable as a document, its name in lower case. What is called like a
    key or a token, and nothing else: who can write a vault must not be able to ask for just
    anything."""
    if not variable.endswith(_LIKE_A_KEY):
        return ABSENT
    value = os.environ.get(variable.upper(), "")
    try:
        version = version_of(value.encode())
    except UnicodeEncodeError:
        return ABSENT  # not text
    return Loaded(Document(version, value)) if value else ABSENT


def _absolute(path: Union[str, os.PathLike[str]]) -> str:
    """Later changes of the current directory must not move a vault."""
    text = os.path.expanduser(os.fspath(path))
    # Not abspath: that would take `..` away without looking at links.
    return text if text.startswith("/") else os.path.join(os.getcwd(), text)


