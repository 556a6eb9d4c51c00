"""What the log says of connections that prove nothing: the first of a kind at once, then how many more there were.

Anyone can make such connections, so they must not fill the log; and nothing they say is written to it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter

__all__ = ["StrangerLog"]

log = logging.getLogger("rpc_magic.server")

_SECONDS = 60.0


class StrangerLog:
    """See the module's text; belongs to the running event loop.

    Args:
        seconds: between two lines about the same.
    """

    def __init__(self, seconds: float = _SECONDS) -> None:
        self._seconds = seconds
        self._more: Counter[str] = Counter()

    def note(self, fact: str) -> None:
        """A connection was closed before its proof; `fact` is a clause of ours that says why."""
        if fact in self._more:
            self._more[fact] += 1
            return
        log.warning("a connection was closed before its proof: %s", fact)
        self._begin(fact)

    def _begin(self, fact: str) -> None:
        self._more[fact] = 0
        asyncio.get_running_loop().call_later(self._seconds, self._sum_up, fact)

    def _sum_up(self, fact: str) -> None:
        more = self._more.pop(fact)
        if more:
            log.warning("%d more were closed within %g s: %s", more, self._seconds, fact)
            self._begin(fact)
