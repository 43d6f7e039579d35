"""Which origins the profiles name is computed here, by the host: a component that was exchanged
cannot name others.

A profile is laid over others as the component does it (``src/provider/mod.rs`` in the repository),
and only what matters for an address is read. What the component refuses for another reason still
names its origins here: the user's own file named them. A test holds both lists equal.
"""

from __future__ import annotations

import json
import re
from importlib import resources
from typing import Any, Dict, List, Optional, Sequence, Set

_GENERIC = "generic"
"""Under every profile; it names no provider itself."""
_MAX_LAYERS = 8
"""How far profiles may extend each other."""
_PLAIN = re.compile(r"[0-9a-z._~:\[\]-]+\Z")


class ProfilesError(Exception):
    """The user's file cannot be read."""


def origins(user: Optional[str]) -> List[str]:
    """Returns the origins that a refresh may be sent to: ``scheme://host:port``, sorted. ``user``
    is the text of the user's file, if there is one."""
    files = [_profiles_in(user if user is not None else '{"profiles":{}}'), _profiles_in(_built_in())]
    named: Set[str] = set()
    for name in {name for profiles in files for name in profiles if name != _GENERIC}:
        layers: List[Dict[str, Any]] = []
        if _pile_up(files, name, layers):
            named.update(_named_by(layers) or ())
    return sorted(named)


def _built_in() -> str:
    return resources.files("lazaretto").joinpath("providers.json").read_text(encoding="utf-8")


def _profiles_in(text: str) -> Dict[str, Any]:
    try:
        file = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ProfilesError(f"providers.json: {error}") from None
    profiles = file.get("profiles") if isinstance(file, dict) else None
    if not isinstance(profiles, dict):
        raise ProfilesError("providers.json: `profiles` is no object")
    return profiles


def _pile_up(files: Sequence[Dict[str, Any]], name: str, layers: List[Dict[str, Any]]) -> bool:
    """Returns what a profile is made of, the top first. False: it extends itself, or what there is
    not."""
    own = [profiles[name] for profiles in files if name in profiles]
    if not own or len(layers) > _MAX_LAYERS or not all(isinstance(layer, dict) for layer in own):
        return False
    base = own[0].get("extends")
    extends = isinstance(base, str)
    # A profile that extends another one is not also the built-in one of its name.
    layers.extend(own[:1] if extends else own)
    under = base if extends else _GENERIC
    return True if under == name == _GENERIC else _pile_up(files, under, layers)


def _named_by(layers: Sequence[Dict[str, Any]]) -> Optional[List[str]]:
    """Returns the origins of one profile. None: one of its addresses is none that may be sent to,
    so it can do nothing."""
    endpoint = _first(layers, "token_endpoint")
    # Who names an endpoint means that one, whatever a profile underneath says of its origins.
    depth = next((at for at, layer in enumerate(layers) if "token_endpoint" in layer), len(layers))
    more = _first(layers[: depth + 1], "origins")
    urls = [] if more is None else more
    if not isinstance(urls, list):
        return None
    urls = urls + ([] if endpoint in (None, "") else [endpoint])
    named = [_origin(url) for url in urls]
    return None if None in named else [origin for origin in named if origin is not None]


def _first(layers: Sequence[Dict[str, Any]], name: str) -> Any:
    """Returns a member, from the first layer that has it; null hides it."""
    return next((layer[name] for layer in layers if name in layer), None)


def _origin(url: Any) -> Optional[str]:
    """``scheme://host:port`` of a URL that may be sent to, as the component spells it."""
    if not isinstance(url, str) or "://" not in url:
        return None
    scheme, rest = url.split("://", 1)
    scheme = _lower(scheme)
    if scheme not in ("https", "http"):
        return None
    authority = _lower(re.split(r"[/?#]", rest, maxsplit=1)[0])
    if not _PLAIN.match(authority):
        return None
    host, colon, port = authority.rpartition(":")
    if not colon or port.endswith("]"):
        host, port = authority, "443" if scheme == "https" else "80"
    if not host or not re.fullmatch(r"[0-9]{1,20}", port) or int(port) > 65_535:
        return None
    return f"{scheme}://{host}:{int(port)}" if scheme == "https" or _is_loopback(host) else None


def _lower(text: str) -> str:
    # ASCII alone: other letters have no place in an address, and must not become ones that have.
    return re.sub("[A-Z]+", lambda found: found.group().lower(), text)


def _is_loopback(host: str) -> bool:
    if host in ("localhost", "[::1]"):
        return True
    octets = host.split(".")
    is_address = len(octets) == 4 and all(re.fullmatch(r"[0-9]{1,20}", octet) and int(octet) <= 255 for octet in octets)
    return is_address and int(octets[0]) == 127
