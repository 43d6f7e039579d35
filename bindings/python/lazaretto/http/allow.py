"""Only an origin on the list is sent to; the list is parsed once and never widened. A URL or an
origin is either read the one way every parser reads it, or refused. An entry is one origin, a
scheme, a host and a port, and matches exactly that.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import FrozenSet, Iterable, Tuple

from .contract import FailureKind, HttpFailure, Sent


class Malformed(ValueError):
    """What is wrong with a URL or an origin. Never quotes it whole."""

    kind = FailureKind.UNSUPPORTED


class _PlainHttp(Malformed):
    kind = FailureKind.NOT_ALLOWED


@dataclass(frozen=True, order=True)
class Origin:
    """Scheme, host and port. Prints with its port."""

    tls: bool
    host: str
    """In lower case; an IPv6 address without its brackets."""
    port: int

    @property
    def is_loopback(self) -> bool:
        """127.0.0.0/8, ::1 or ``localhost``. What ``localhost`` stands for is looked at when it is
        resolved."""
        address = self.address
        return self.host == "localhost" if address is None else is_loopback(address)

    @property
    def address(self) -> "ipaddress.IPv4Address | ipaddress.IPv6Address | None":
        try:
            return ipaddress.ip_address(self.host)
        except ValueError:
            return None

    @property
    def host_header(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _default_port(self.tls) else f"{host}:{self.port}"

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"


def is_loopback(address: "ipaddress.IPv4Address | ipaddress.IPv6Address") -> bool:
    """127.0.0.0/8 or ::1, and not an IPv4 address in IPv6's clothes: Pythons differ about those."""
    if isinstance(address, ipaddress.IPv6Address):
        return int(address) == 1
    return address.packed[0] == 127


class AllowList:
    """The origins that may be sent to.

    >>> AllowList(["https://auth.example.com"]).target("HTTPS://Auth.Example.com:443/token?a=1")[1]
    '/token?a=1'
    """

    def __init__(self, origins: Iterable[str], allow_loopback_http: bool = False) -> None:
        found = set()
        for entry in origins:
            try:
                found.add(parse_origin(entry))
            except Malformed as why:
                raise Malformed(f"{_without_secrets(entry)!r} cannot be on the allow-list: {why}") from None
        self._origins: FrozenSet[Origin] = frozenset(found)
        self._allow_loopback_http = allow_loopback_http

    def target(self, url: str) -> Tuple[Origin, str]:
        """Returns the parts of an allowed ``url``: what is dialled comes from the same parse that
        was checked.

        Raises :class:`HttpFailure`, which says why not and what to change.
        """
        try:
            origin, path = parse_url(url)
        except Malformed as why:
            raise HttpFailure(why.kind, Sent.NO, f"nothing is sent to this URL: {why}") from None
        if not origin.tls and not self._allow_loopback_http:
            raise HttpFailure(
                FailureKind.NOT_ALLOWED,
                Sent.NO,
                f"nothing is sent to {origin}: http without TLS must be asked for. For a server on this machine set "
                "allow_loopback_http=True",
            )
        if origin not in self._origins:
            listed = ", ".join(str(listed) for listed in sorted(self._origins)) or "nothing"
            raise HttpFailure(
                FailureKind.NOT_ALLOWED,
                Sent.NO,
                f"nothing is sent to {origin}: it is not on the allow-list, which holds {listed}. To allow it, give a profile "
                f"an endpoint on {origin} in the providers file (providers=) and start again; the list is never widened "
                "while a vault is open",
            )
        return origin, path if path.startswith("/") else "/" + path


def parse_origin(entry: str) -> Origin:
    origin, path = parse_url(entry)
    if path not in ("", "/"):
        raise Malformed("an origin has no path and no query; write only https://host or https://host:port")
    return origin


def parse_url(url: str) -> Tuple[Origin, str]:
    """Returns the origin, and the path with its query as they stand in the URL."""
    if not re.fullmatch(r"[!-~]*", url) or "\\" in url:
        raise Malformed(
            "it holds a space, a control character, a backslash or a character outside ASCII; percent-encode it"
        )
    if "#" in url:
        raise Malformed("it has a fragment after a #; leave that out")
    scheme, separator, rest = url.partition("://")
    if not separator or scheme.lower() not in ("https", "http"):
        raise Malformed("it does not begin with https://")
    tls = scheme.lower() == "https"
    end = min((at for at in (rest.find("/"), rest.find("?")) if at >= 0), default=len(rest))
    authority, path = rest[:end], rest[end:]
    if "@" in authority:
        raise Malformed("it names a user before an @; leave that out, credentials do not go into URLs")
    # The colons of an IPv6 address stand in brackets.
    host_end = authority.find("]") + 1
    more, colon, port = authority[host_end:].partition(":")
    host = _parse_host(authority[:host_end] + more)
    if colon and not (re.fullmatch(r"[0-9]{1,9}", port) and 1 <= int(port) <= 65535):
        raise Malformed("its port is not a number from 1 to 65535")
    origin = Origin(tls, host, int(port) if colon else _default_port(tls))
    if not tls and not origin.is_loopback:
        raise _PlainHttp(
            f"plain http is only for loopback (127.0.0.0/8, ::1, localhost); use https://{authority.lower()}"
        )
    return origin, path


def _parse_host(host: str) -> str:
    bad = Malformed("its host is neither a name like auth.example.com nor an address like 192.0.2.7 or [2001:db8::7]")
    if host.startswith("["):
        if not host.endswith("]") or "%" in host:
            raise bad
        try:
            return str(ipaddress.IPv6Address(host[1:-1]))
        except ValueError:
            raise bad from None
    labels = host.split(".")
    if len(host) > 253 or not all(re.fullmatch(r"[A-Za-z0-9_-]{1,63}", label) for label in labels):
        raise bad
    # WHATWG URL, "ends in a number": such a host is an IPv4 address, which resolvers also read in
    # octal, in hex and with parts left out.
    if re.fullmatch(r"[0-9]+|0[xX][0-9a-fA-F]*", labels[-1]):
        if len(labels) != 4 or not all(re.fullmatch(r"0|[1-9][0-9]{0,2}", label) for label in labels):
            raise bad
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError:
            raise bad from None
    return host.lower()


def _default_port(tls: bool) -> int:
    return 443 if tls else 80


def _without_secrets(url: str) -> str:
    """Scheme, host and path: what stands before the query and the fragment, less any user
    information."""
    shown = re.split(r"[?#]", url, maxsplit=1)[0]
    return re.sub(r"(://)[^/]*@", r"\1[redacted]@", shown)
