"""Drives a cell's coroutine so that each of its steps counts as user code, and its waits do not."""

from __future__ import annotations

from collections.abc import Awaitable, Generator
from typing import Any

from rpc_magic.worker.interrupts import InterruptGate

__all__ = ["GatedAwaitable"]


class GatedAwaitable:
    """Await it in place of `awaitable`: SIGINT raises in its steps, cancels the gate's task while it waits.

    Args:
        awaitable: the coroutine that user code compiled to, or anything else that can be awaited.
        gate: guards user code.
    """

    def __init__(self, awaitable: Awaitable[Any], gate: InterruptGate) -> None:
        self._awaitable, self._gate = awaitable, gate

    def __await__(self) -> Generator[Any, Any, Any]:
        gate = self._gate
        with gate.user_code():
            steps: Any = self._awaitable.__await__()
        if not hasattr(steps, "send"):  # a bare iterator, as `__await__` may return: it takes no answers
            steps = (step for step in steps)
        answer: Any = None
        error: BaseException | None = None
        while True:
            try:
                with gate.user_code():
                    waits_for = steps.send(answer) if error is None else steps.throw(error)
            except StopIteration as end:
                return end.value
            answer, error = None, None
            try:
                answer = yield waits_for
            except BaseException as thrown:  # noqa: BLE001 - whatever the loop throws is the coroutine's
                error = thrown
