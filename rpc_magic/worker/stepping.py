"""Drives a cell's coroutine so that each of its steps counts as user code, and its waits do not."""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from typing import Any

from rpc_magic.worker.interrupts import InterruptGate

__all__ = ["GatedAwaitable"]


class GatedAwaitable:
    """Await it in place of `coroutine`: SIGINT raises in its steps, cancels the gate's task while it waits.

    Args:
        coroutine: what user code compiled to.
        gate: guards user code.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, Any], gate: InterruptGate) -> None:
        self._coroutine, self._gate = coroutine, gate

    def __await__(self) -> Generator[Any, Any, Any]:
        coroutine, gate = self._coroutine, self._gate
        answer: Any = None
        error: BaseException | None = None
        while True:
            try:
                with gate.user_code():
                    waits_for = coroutine.send(answer) if error is None else coroutine.throw(error)
            except StopIteration as end:
                return end.value
            answer, error = None, None
            try:
                answer = yield waits_for
            except BaseException as thrown:  # noqa: BLE001 - whatever the loop throws is the coroutine's
                error = thrown
