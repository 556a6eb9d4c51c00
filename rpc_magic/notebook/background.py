"""Cells that run while the notebook goes on.

A background cell is a `Call`, which a notebook shows live. What it shows, and at its end its value or its error,
appears under the cell that started it. What it bound is bound here by the kernel's main thread, before the next cell or
when its `result()` is asked for; a name that was bound here since it started keeps the value of here.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import sys
import threading
from collections import deque
from collections.abc import Generator, Iterable
from typing import Any

from rpc_magic.client import Call, RemoteValue
from rpc_magic.client.exchange import Show
from rpc_magic.client.running import Run, collect
from rpc_magic.client.waiting import End
from rpc_magic.errors import RpcMagicError
from rpc_magic.notebook.calllog import title_of
from rpc_magic.notebook.callview import Gate, LiveViews
from rpc_magic.notebook.cells import CellOptions, Runner, remember_text
from rpc_magic.notebook.errors import UsageError, prepare, rendered
from rpc_magic.notebook.pending import Pending, names_made
from rpc_magic.notebook.registry import Server
from rpc_magic.notebook.sync import Plan, note_sent
from rpc_magic.notebook.watching import is_watched
from rpc_magic.wire import control, messages
from rpc_magic.wire.handshake import Role

__all__ = ["Background", "CellCall"]

_REMEMBERED = 100
"""Background cells that %rpc_result knows; their values are kept as long."""


class CellCall(Call):
    """A cell that runs in the background; `result()` and `await` also bind what it bound.

    Attributes:
        owner: the notebook's background cells.
        server: where it runs.
        label: its first line.
        gate: shows its output, once it is open.
        began_in: number of the notebook's cell that began it, under which it has been shown.
    """

    owner: Background
    server: Server
    label: str
    gate: Gate
    began_in: int = 0

    def _ipython_display_(self) -> None:
        if self.began_in != self.owner.cell_number and not self.owner.show(self):
            sys.stdout.write(f"{self!r}\n")

    def __await__(self) -> Generator[Any, Any, Any]:
        try:
            return self.owner.here((yield from super().__await__()))
        except BaseException as error:
            prepare(error)
            raise
        finally:
            self.owner.bind_ended()

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the end; return the value of the cell's last expression or raise what it raised.

        Args:
            timeout: seconds to wait; None for no limit.
        """
        try:
            return self.owner.here(super().result(timeout))
        except BaseException as error:
            prepare(error)
            raise
        finally:
            self.owner.bind_ended()

    def lazy_result(self) -> Any:
        """Return what `result()` returns, and a placeholder for a value that its cell has left there."""
        concurrent.futures.wait([self])
        if self.cancelled() or self.exception() is not None:
            return self.result()
        self.owner.bind_ended()
        return super().result()


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
        self._views = LiveViews()
        self.pending = Pending(runner.shell.user_ns)
        self.calls: dict[int, CellCall] = {}
        runner.making = self.pending.on
        runner.wait_for = self.wait_for

    @property
    def cell_number(self) -> int:
        """Number of the cell that the notebook runs."""
        return int(self._runner.shell.execution_count)

    def run(self, server: Server, cell: str, options: CellOptions) -> CellCall:
        """Start a cell and show it, unless it ends in a semicolon; what it shows comes below that.

        Raises:
            TransferError: a variable that it names cannot travel; nothing was started.
        """
        call = self.start(server, cell, options)
        try:
            if not cell.rstrip().endswith(";") and self.show(call):
                call.began_in = self.cell_number
        finally:
            call.gate.open()
        return call

    def start(self, server: Server, cell: str, options: CellOptions) -> CellCall:
        """Start a cell; what it shows is held until its gate is opened.

        Raises:
            TransferError: a variable that it names cannot travel; nothing was started.
        """
        runner = self._runner
        plan = runner.plan(server, cell, options)
        request = runner.request(server, cell, options, plan, is_alone=False)
        connection = server.connection
        namespace = runner.shell.user_ns
        exchange = connection.exchange
        buffers = (
            exchange.objects.encode_variables(plan.inputs, carry=plan.carry, takes_over=plan.takes_over)
            if plan.inputs
            else []
        )
        link = connection.attachment.link(Role.DATA)
        before = dict(namespace)
        show = Gate(exchange.background_show())
        names = names_made(runner.shell.transform_cell(cell)) if options.outputs is None else options.outputs

        def finish(outcome: messages.Outcome, parts: list[memoryview]) -> Any:
            try:
                end = End(outcome, parts)
                run = collect(
                    end,
                    [],
                    connection,
                    connection.namespace,
                    is_plain_only=exchange.is_plain_only,
                    is_future=True,
                )
            except BaseException as error:
                self._ended.append((server, plan, None, before))
                _show_error(show, error)
                raise
            remember_text(run.file, request)
            self._ended.append((server, plan, run, before))
            if run.error is not None:
                _show_error(show, run.error)
                raise run.error
            return run.result.value

        def show_output(message: messages.Message, parts: list[memoryview]) -> None:
            if isinstance(message, messages.ExecuteResult):
                message = messages.Display(message.data, message.metadata, {}, update=False)
            record.keep(message)
            exchange.show_background(link, call.id, show, message, parts)

        def stop(number: int) -> None:
            with contextlib.suppress(RpcMagicError):
                link.send(0, messages.CancelCall(number))
                connection.attachment.control.say(control.Interrupt(number))

        call = CellCall(title_of(cell), finish, show_output, stop)
        call.owner, call.server, call.label, call.gate = self, server, title_of(cell), show
        record = server.calls.begin(call.label, call.cancel)
        call.add_done_callback(
            lambda done: record.end(is_cancelled=True) if done.cancelled() else record.end(done.exception())
        )
        link.start(call, request, buffers, wait=True)
        note_sent(server, plan)
        self.pending.add(call, call.label, server.name, frozenset(names), before)
        self.calls[call.id] = call
        while len(self.calls) > _REMEMBERED:
            del self.calls[next(iter(self.calls))]
        return call

    def show(self, call: CellCall) -> bool:
        """Show a call live; False where nobody looks at a page."""
        return is_watched(self._runner.shell) and self._views.show(call, call.label, call.server)

    def here(self, value: Any) -> Any:
        """Return a call's value itself, which its cell may have left there."""
        return self._runner.here(value) if type(value) is RemoteValue else value

    def wait_for(self, names: Iterable[str], besides: str = "") -> None:
        """Wait until no background cell makes these variables any more, and bind them; see `Pending.wait`."""
        if self.pending.wait(names, besides=besides):
            self.bind_ended()

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


def _show_error(show: Show, error: BaseException) -> None:
    """Show what a background cell has raised. Not as an error: tools would take it for that of the cell that runs."""
    lines = rendered(error) or [f"{type(error).__name__}: {error}"]
    with contextlib.suppress(Exception):  # a page that is gone
        show(messages.Stream("stderr", "\n".join([*lines, ""])), [])
