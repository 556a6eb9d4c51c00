"""Calls of one function of which only the newest matters, as for a slider that moves.

A call for an older position is ended, whether it waits or runs. The session runs calls in order, so results come in
order, and the last position's comes last. A function that takes longer than the pauses of a hand that moves shows
nothing until the hand rests: its last position is not to wait for an older one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Protocol

from rpc_magic.client.calls import Call
from rpc_magic.client.exchange import Exchange
from rpc_magic.wire import messages

__all__ = ["Newest", "Take"]

Take = Callable[[list[messages.Message], BaseException | None], None]
"""Takes what a call has shown, and its error; on the I/O thread, or on that of `move`."""


class Starter(Protocol):
    """Starts a call; `Exchange.start_shown`."""

    def __call__(
        self,
        f: Callable[..., Any],
        kwargs: dict[str, Any],
        show: Callable[[messages.Message, list[memoryview]], None],
        retried: Callable[[], None],
        /,
    ) -> Call:
        """Start it."""


class Newest:
    """See the module's text. Thread-safe.

    Args:
        exchange: how calls travel.
        f: the function.
        take: takes each result that is to be shown.
    """

    def __init__(self, exchange: Exchange, f: Callable[..., Any], take: Take) -> None:
        self._start: Starter = exchange.start_shown
        self._f, self._take = f, take
        self._lock = threading.Lock()
        self._position = 0
        self._running: Call | None = None

    def move(self, kwargs: dict[str, Any]) -> None:
        """Compute this position, and no older one.

        Raises:
            TransferError: an argument cannot travel.
            RpcMagicError: the connection is gone.
        """
        with self._lock:
            self._position += 1
            position, old = self._position, self._running
            self._running = None
        if old is not None:
            old.cancel()
        self._go(position, kwargs, may_retry=True)

    def _go(self, position: int, kwargs: dict[str, Any], *, may_retry: bool) -> None:
        shown: list[messages.Message] = []
        was_forgotten: list[bool] = []
        call = self._start(
            self._f, kwargs, lambda message, _: shown.append(message), lambda: was_forgotten.append(True)
        )
        with self._lock:
            if position == self._position:
                self._running = call
        call.add_done_callback(
            lambda done: self._end(position, kwargs, done, shown, was_forgotten, may_retry)
        )

    def _end(
        self,
        position: int,
        kwargs: dict[str, Any],
        call: Future[Any],
        shown: list[messages.Message],
        was_forgotten: list[bool],
        may_retry: bool,
    ) -> None:
        with self._lock:
            if position != self._position or call.cancelled():
                return
            self._running = None
        if was_forgotten and may_retry:
            # Not from here: this is the I/O thread, which must not wait for what it sends.
            threading.Thread(
                target=self._go, args=(position, kwargs), kwargs={"may_retry": False}, daemon=True
            ).start()
            return
        self._take(shown, call.exception())
