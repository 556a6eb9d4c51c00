"""Interrupts that a cut may have lost: they are said again, for the call that they were meant for.

"Whatever runs" means, during a cut, the oldest call that has not ended here: when the connection is back, that one may
have ended there, and another one run that nobody wanted to stop.
"""

from __future__ import annotations

from rpc_magic.client.links import Links
from rpc_magic.wire.handshake import Role

__all__ = ["Stops"]


class Stops:
    """See the module's text. Thread-safe.

    Args:
        links: those of the calls.
    """

    def __init__(self, links: Links) -> None:
        self._links = links
        self._calls: frozenset[int] = frozenset()
        self._is_for_any = False  # nothing of ours was under way: meant for what an earlier client has left

    def note(self, call: int, *, is_cut: bool) -> None:
        """An interrupt is said for `call`, 0 for whatever runs; with `is_cut` there is no connection to say it on."""
        link = self._links.get(Role.DATA)
        meant = call or (link.oldest if link is not None else 0)
        self._is_for_any = is_cut and not meant
        self._calls = frozenset(one for one in {*self._calls, meant} if self._links.has(one))

    def take(self) -> tuple[int, ...]:
        """The connection is back: return the calls that have to be interrupted again, 0 for whatever runs."""
        link = self._links.get(Role.DATA)
        is_for_any, self._is_for_any = self._is_for_any, False
        calls = tuple(one for one in self._calls if self._links.has(one))
        return (*calls, 0) if is_for_any and (link is None or not link.is_busy) else calls
