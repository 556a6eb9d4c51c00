"""Cells that run while the notebook goes on.

A background cell is a `Call`. What it shows appears under the cell that started it. What it bound is bound here by the
kernel's main thread, before the next cell or when its `result()` is asked for; a name that was bound here since it
started keeps the value of here.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from typing import Any

from rpc_magic.client import Call
from rpc_magic.client.running import Run, collect
from rpc_magic.client.waiting import End
from rpc_magic.errors import RpcMagicError
from rpc_magic.notebook.calllog import title_of
from rpc_magic.notebook.cells import CellOptions, Runner
from rpc_magic.notebook.errors import UsageError, prepare
from rpc_magic.notebook.registry import Server
from rpc_magic.notebook.sync import Plan, note_sent
from rpc_magic.wire import control, messages
from rpc_magic.wire.handshake import Role

__all__ = ["Background", "CellCall"]

_REMEMBERED = 100
"""Background cells that %rpc_result knows; their values are kept as long."""


class CellCall(Call):
    """A cell that runs in the background; `result()` also binds what it bound."""

    owner: Background

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the end; return the value of the cell's last expression or raise what it raised.

        Args:
            timeout: seconds to wait; None for no limit.
        """
        try:
            return super().result(timeout)
        except BaseException as error:
            prepare(error)
            raise
        finally:
            self.owner.bind_ended()


class Background:
    """The background cells of a notebook.

    Args:
        runner: plans and finishes cells.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        runner.settle = self.bind_ended
        self._ended: deque[tuple[Server, Plan, Run | None, dict[str, Any]]] = deque()
        self._thread = threading.main_thread()
        self.calls: dict[int, CellCall] = {}

    def start(self, server: Server, cell: str, options: CellOptions) -> CellCall:
        """Start a cell.

        Raises:
            TransferError: a variable that it names cannot travel; nothing was started.
        """
        runner = self._runner
        plan = runner.plan(server, cell, options)
        request = runner.request(cell, options, plan)
        connection = server.connection
        namespace = runner.shell.user_ns
        exchange = connection.exchange
        buffers = (
            exchange.encode_variables(plan.inputs, carry=plan.carry, changed=plan.changed)
            if plan.inputs
            else []
        )
        link = connection.attachment.link(Role.DATA)
        before = dict(namespace)
        show = connection.exchange.background_show()

        def finish(outcome: messages.Outcome, parts: list[memoryview]) -> Any:
            try:
                end = End(outcome, parts)
                run = collect(end, [], connection, connection.namespace, is_plain_only=False, is_future=True)
            except BaseException:
                self._ended.append((server, plan, None, before))
                raise
            self._ended.append((server, plan, run, before))
            if run.error is not None:
                raise run.error
            return run.result.value

        def show_output(message: messages.Message, parts: list[memoryview]) -> None:
            record.keep(message)
            connection.exchange.show_background(link, call.id, show, message, parts)

        def stop(number: int) -> None:
            with contextlib.suppress(RpcMagicError):
                link.send(0, messages.CancelCall(number))
                connection.attachment.control.say(control.Interrupt(number))

        call = CellCall(title_of(cell), finish, show_output, stop)
        call.owner = self
        record = server.calls.begin(title_of(cell), call.cancel)
        call.add_done_callback(
            lambda done: record.end(is_cancelled=True) if done.cancelled() else record.end(done.exception())
        )
        link.start(call, request, buffers, wait=True)
        note_sent(server, plan)
        self.calls[call.id] = call
        while len(self.calls) > _REMEMBERED:
            del self.calls[next(iter(self.calls))]
        return call

    def bind_ended(self) -> None:
        """Bind what background cells that have ended did; only on the kernel's main thread."""
        if threading.current_thread() is not self._thread:
            return
        while self._ended:
            server, plan, run, before = self._ended.popleft()
            if run is None:  # the cell did not run: its variables were not set
                for name in plan.inputs:
                    server.ledger.forget(name)
                continue
            with contextlib.suppress(BaseException):  # the cell's own error belongs to its call
                self._runner.finish(server, plan, run, before)

    def get(self, number: int | None) -> CellCall:
        """Return a background cell by its number, the latest for None.

        Raises:
            UsageError: there is none.
        """
        if not self.calls:
            raise UsageError("no cell was started in the background; %%rpc_call --noblock starts one")
        if number is None:
            return next(reversed(self.calls.values()))
        call = self.calls.get(number)
        if call is None:
            raise UsageError(
                f"no background cell has the number {number} (known: {', '.join(map(str, self.calls))})"
            )
        return call
