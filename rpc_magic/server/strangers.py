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
"""Between two lines about the same."""


class StrangerLog:
    """See the module's text; belongs to the running event loop."""

    def __init__(self) -> None:
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
        asyncio.get_running_loop().call_later(_SECONDS, self._sum_up, fact)

    def _sum_up(self, fact: str) -> None:
        more = self._more.pop(fact)
        if more:
            log.warning("%d more were closed within %.0f s: %s", more, _SECONDS, fact)
            self._begin(fact)
