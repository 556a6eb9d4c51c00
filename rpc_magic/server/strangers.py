"""What the log says of connections that are closed for what they do: the first of a kind, then how many more came.

Such connections can be made as fast as one likes, so they must not fill the log; and nothing they say is written to it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter

from rpc_magic.wire.handshake import Role

__all__ = ["BrokenLog", "StrangerLog", "on_one_line"]

log = logging.getLogger("rpc_magic.server")

_SECONDS = 60.0


def on_one_line(text: str, size: int) -> str:
    """Return what a client has said of itself as it may stand in a line of the log: printable, of limited size."""
    return "".join(one if one.isprintable() else "?" for one in text[:size])


class StrangerLog:
    """See the module's text; belongs to the running event loop.

    Args:
        deed: what has happened to them, a clause.
        seconds: between two lines about the same.
    """

    def __init__(
        self, deed: str = "a connection was closed before its proof", seconds: float = _SECONDS
    ) -> None:
        self._deed, self._seconds = deed, seconds
        self._more: Counter[str] = Counter()

    def note(self, fact: str) -> None:
        """It has happened to one; `fact` is a clause of ours that says why."""
        if fact in self._more:
            self._more[fact] += 1
            return
        log.warning("%s: %s", self._deed, fact)
        self._begin(fact)

    def _begin(self, fact: str) -> None:
        self._more[fact] = 0
        asyncio.get_running_loop().call_later(self._seconds, self._sum_up, fact)

    def _sum_up(self, fact: str) -> None:
        more = self._more.pop(fact)
        if more:
            log.warning("%d more were closed within %g s: %s", more, self._seconds, fact)
            self._begin(fact)


class BrokenLog:
    """What the log says of connections that have proved themselves and then broke the protocol."""

    def __init__(self) -> None:
        self._logs: dict[int, StrangerLog] = {
            role: StrangerLog(f"a {role.name.lower()} connection was closed") for role in Role
        }

    def note(self, role: int) -> None:
        """One of this role was closed for that."""
        log_of_role = self._logs.get(role)
        if log_of_role is not None:
            log_of_role.note("it broke the protocol")
