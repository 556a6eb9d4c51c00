"""Waiting for several descriptors: epoll where there is one, else what `selectors` offers.

epoll is used itself because a descriptor's events can be changed by any thread while another one waits, which is
what lets a calling thread read for itself (`IoThread.pause`).
"""

from __future__ import annotations

import contextlib
import select
import selectors
import sys
from typing import Protocol

__all__ = ["READ", "WRITE", "Poller", "make_poller"]

READ, WRITE = 1, 4
"""Bits of events; the values of EPOLLIN and EPOLLOUT."""


class Poller(Protocol):
    """Descriptors and the events that are waited for on each.

    Attributes:
        can_pause: `watch` may be called by any thread while another one waits, and with no events.
    """

    can_pause: bool

    def watch(self, descriptor: int, events: int) -> None:
        """Wait for these events on a descriptor from now on; no error when it is closed."""

    def drop(self, descriptor: int) -> None:
        """Wait for nothing on a descriptor; no error when that is so already."""

    def wait(self, timeout: float | None) -> list[tuple[int, int]]:
        """Wait, at most `timeout` seconds; return descriptors and their events. One that has failed is readable."""

    def close(self) -> None:
        """Give up."""


class _Epoll:
    can_pause = True

    if sys.platform == "linux":

        def __init__(self) -> None:
            self._epoll = select.epoll()
            self._known: set[int] = set()

        def watch(self, descriptor: int, events: int) -> None:
            try:  # not `suppress`, which costs as much as the call: a small call comes here twice
                if descriptor in self._known:
                    self._epoll.modify(descriptor, events)
                else:
                    self._epoll.register(descriptor, events)
                    self._known.add(descriptor)
            except (OSError, ValueError):
                return

        def drop(self, descriptor: int) -> None:
            self._known.discard(descriptor)
            with contextlib.suppress(OSError, ValueError):
                self._epoll.unregister(descriptor)

        def wait(self, timeout: float | None) -> list[tuple[int, int]]:
            # A descriptor that has failed or hung up is reported whatever is waited for: reading tells how.
            return [
                (fd, events & WRITE | (READ if events & ~WRITE else 0))
                for fd, events in self._epoll.poll(timeout)
            ]

        def close(self) -> None:
            self._epoll.close()


class _Select:
    can_pause = False

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def watch(self, descriptor: int, events: int) -> None:
        wanted = (selectors.EVENT_READ if events & READ else 0) | (
            selectors.EVENT_WRITE if events & WRITE else 0
        )
        with contextlib.suppress(ValueError, OSError):
            try:
                self._selector.modify(descriptor, wanted)
            except KeyError:
                self._selector.register(descriptor, wanted)

    def drop(self, descriptor: int) -> None:
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(descriptor)

    def wait(self, timeout: float | None) -> list[tuple[int, int]]:
        return [
            (
                key.fd,
                (READ if events & selectors.EVENT_READ else 0)
                | (WRITE if events & selectors.EVENT_WRITE else 0),
            )
            for key, events in self._selector.select(timeout)
        ]

    def close(self) -> None:
        self._selector.close()


def make_poller() -> Poller:
    """Return the best poller of this system."""
    return _Epoll() if hasattr(select, "epoll") else _Select()
