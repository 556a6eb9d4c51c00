"""Calls of one function of which only the newest matters, as for a slider that moves.

At most one call is there at a time. When the position changes meanwhile, it is ended, and the newest position is
computed after it; positions in between are not. So results come in order, and the last position's comes last. A quick
function (`_PATIENCE`) is never ended, so its pictures follow the hand. A slow one that takes longer than the pauses of
the hand shows nothing until the hand rests: its last position is not to wait for an older one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from rpc_magic.client.calls import ShownCall
from rpc_magic.client.exchange import Exchange
from rpc_magic.wire import messages

__all__ = ["Newest", "Take"]

_PATIENCE = 0.04
"""Seconds that a call has before it may be ended: a hand that moves fast would else end each call, however quick."""

Take = Callable[[list[messages.Message], BaseException | None], None]
"""Takes what a call has shown, and its error; on a thread of its own."""


class Newest:
    """See the module's text. Thread-safe; its thread is there while there is something to compute.

    Args:
        exchange: how calls travel.
        f: the function.
        take: takes each result that is to be shown; also the error of a call that could not be made.
    """

    def __init__(self, exchange: Exchange, f: Callable[..., Any], take: Take) -> None:
        self._start, self._f, self._take = exchange.start_shown, f, take
        self._lock = threading.Lock()
        self._wanted: dict[str, Any] | None = None
        self._call: ShownCall | None = None
        self._thread: threading.Thread | None = None

    def move(self, kwargs: dict[str, Any]) -> None:
        """Compute this position, and no older one; returns at once."""
        with self._lock:
            self._wanted = kwargs
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="rpc_magic-newest", daemon=True)
                self._thread.start()
            call = self._call
        if call is not None:
            call.cancel()

    def _run(self) -> None:
        while True:
            with self._lock:
                kwargs, self._wanted = self._wanted, None
                if kwargs is None:
                    self._thread = None
                    return
            result = self._compute(kwargs)
            if result is not None:
                self._take(*result)

    def _compute(
        self, kwargs: dict[str, Any], *, may_retry: bool = True
    ) -> tuple[list[messages.Message], BaseException | None] | None:
        """Return what a call shows, and its error; None for one that was ended."""
        shown: list[messages.Message] = []
        try:
            call = self._start(self._f, kwargs, lambda message, _: shown.append(message))
        except Exception as error:  # noqa: BLE001 - whatever it is, it stands where the result would
            return [], error
        if not call.ended.wait(_PATIENCE):
            with self._lock:
                self._call, is_old = call, self._wanted is not None
            if is_old:
                call.cancel()
        call.ended.wait()  # also of one that was cancelled: its end there, not here
        with self._lock:
            self._call = None
        if call.cancelled():
            return None
        if call.is_forgotten and may_retry:
            return self._compute(kwargs, may_retry=False)
        return shown, call.exception()
