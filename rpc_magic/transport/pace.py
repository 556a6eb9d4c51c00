"""How fast a connection takes what is sent: slower than compressing it, or not."""

from __future__ import annotations

import time

__all__ = ["FAR_SECONDS", "Pace"]

FAR_SECONDS = 0.02
"""Seconds that connecting takes (two round trips at least) from which on the other side is far away."""

_SLOW = 200e6
"""Bytes a second below which a link is slower than compression."""

_ENOUGH = 1 << 20
"""Bytes after which the pace can be told: what comes first only fills buffers."""


class Pace:
    """The pace of one large sending, from the moment it is made.

    Args:
        is_far: the other side is far away; near ones are never slow, however long they are busy.
    """

    def __init__(self, *, is_far: bool) -> None:
        self._is_far = is_far
        self._began = time.monotonic()

    def is_slow(self, sent: int) -> bool:
        """Tell whether compressing pays, after `sent` bytes have left."""
        return self._is_far and sent >= _ENOUGH and sent < _SLOW * (time.monotonic() - self._began)
