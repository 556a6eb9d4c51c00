"""Who has to go when too many connections are in their handshake at once.

Anybody can open connections, so their number is bounded, and one more closes another. Room is kept for whoever has the
token: the one that goes is of the address that has most of them, and of those first one that has not even said a hello
though others have come since, the oldest; else the oldest of all. So a flood closes its own connections, from wherever
it comes; where owner and flood share an address, as on loopback, those go that are silent or stay long. No address is
ever locked out: what it has had refused is forgotten.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

__all__ = ["Newcomer", "origin_of", "who_goes"]

_FRESH = 64
"""Newest connections of an address that may be silent yet: a hello takes a while on its way."""

_V6_PREFIX = 64  # bits of an IPv6 address that one network has; the rest its users choose freely


@dataclass(slots=True, eq=False)
class Newcomer:
    """A connection in its handshake.

    Attributes:
        origin: where it comes from, see `origin_of`.
        has_spoken: it has said a hello of this protocol.
        is_proved: it has proved the token, and is about to be served.
    """

    origin: str
    has_spoken: bool = False
    is_proved: bool = False


def origin_of(peer: Any) -> str:
    """Return by what the address of a peer, as the system gives it, is counted."""
    if not isinstance(peer, tuple):
        return "this machine"  # a Unix socket
    address = ipaddress.ip_address(str(peer[0]).partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
        return str(ipaddress.ip_network((address, _V6_PREFIX), strict=False))
    return str(getattr(address, "ipv4_mapped", None) or address)


def who_goes(newcomers: Collection[Newcomer]) -> Newcomer:
    """Return the one that is closed; `newcomers` are in order of arrival, and not none."""
    counts = Counter(one.origin for one in newcomers)
    most = max(counts.values())
    crowd = [one for one in newcomers if counts[one.origin] == most]
    return next((one for one in crowd[:-_FRESH] if not one.has_spoken), crowd[0])
