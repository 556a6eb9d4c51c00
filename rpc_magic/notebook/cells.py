"""Runs cells and expressions on a server for the magics: send what they need, wait, bind what they did."""

from __future__ import annotations

import contextlib
import io
import json
import linecache
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from rpc_magic.client import RemoteValue
from rpc_magic.client.running import Run
from rpc_magic.client.values import human_size
from rpc_magic.namespace import parts_of, stored_by
from rpc_magic.notebook.binding import bind
from rpc_magic.notebook.calllog import title_of
from rpc_magic.notebook.config import Config
from rpc_magic.notebook.errors import SERVER, UsageError
from rpc_magic.notebook.registry import Registry, Server
from rpc_magic.notebook.render import show_here
from rpc_magic.notebook.results import ResultHook
from rpc_magic.notebook.sync import (
    Plan,
    explain_missing,
    names_named,
    names_needed,
    note_sent,
    plan_automatic,
    plan_explicit,
)
from rpc_magic.surroundings import Surroundings
from rpc_magic.wire import messages
from rpc_magic.wire.handshake import Role

__all__ = ["CellOptions", "Runner", "remember_text"]

_GLANCE = 100
"""Objects of a stored result that are looked at to see whether it can be changed."""


@dataclass(frozen=True)
class CellOptions:
    """How a cell shall run.

    Attributes:
        inputs: the variables to send; None finds them.
        outputs: the variables to bring back as values; None leaves it to what the cell does.
        timeout: seconds after which it is interrupted; None for no limit.
    """

    inputs: tuple[str, ...] | None = None
    outputs: tuple[str, ...] | None = None
    timeout: float | None = None


class Runner:
    """Runs cells of one notebook.

    Args:
        shell: IPython's shell.
        registry: the connected servers.
        config: the notebook's settings.

    Attributes:
        results: shows the values of cells.
        surroundings: what is around the cells here.
        bring: called before a cell's plan is made, to fetch what it needs of other servers.
        making: tells which variables a server's background cells are making.
        wait_for: waits until no background cell, besides those of one server, makes any of these variables.
        settle: called before a cell's results are bound, to bind those of background cells that ended before it.
    """

    def __init__(self, shell: Any, registry: Registry, config: Config) -> None:
        self.shell, self.registry, self.config = shell, registry, config
        self.results = ResultHook(shell)
        self.surroundings = Surroundings(shell)
        self.settle: Callable[[], None] = lambda: None
        self.making: Callable[[str], frozenset[str]] = lambda _: frozenset()
        self.wait_for: Callable[[Iterable[str], str], None] = lambda *_: None
        self.bring: Callable[..., None] = lambda *_: None

    def run_cell(self, server: Server, cell: str, options: CellOptions) -> Any:
        """Run a cell and return the value of its last expression.

        Raises:
            Exception: the cell's own.
            TransferError: a variable that it names cannot travel; nothing was run.
        """
        self.results.begin()
        plan = self.plan(server, cell, options)
        run = self._send(server, self.request(server, cell, options, plan), plan, options.timeout)
        return self.results.expect(self.finish(server, plan, run))

    def run_expression(self, server: Server, text: str, *, timeout: float | None = None) -> Any:
        """Evaluate an expression and return its value; one that cannot be had here is returned as placeholder.

        Raises:
            Exception: the expression's own.
        """
        options = CellOptions(timeout=timeout)
        plan = self.plan(server, text, options)
        request = replace_request(self.request(server, text, options, plan), expression=True, line_offset=0)
        run = self._send(server, request, plan, timeout)
        value = self.finish(server, plan, run)
        return self.here(value) if type(value) is RemoteValue else value

    def here(self, value: RemoteValue) -> Any:
        """Return a value itself, or its placeholder where it cannot be had."""
        try:
            return value.get()
        except (TypeError, ImportError) as error:
            sys.stderr.write(f"rpc_magic: the value stays there: {error}\n")
            return value

    # ------------------------------------------------------------ steps

    def plan(self, server: Server, cell: str, options: CellOptions) -> Plan:
        """Decide what to send, and say so when it is much."""
        namespace = self.shell.user_ns
        if server.connection.state == "closed":
            raise UsageError(f"{server.name} is disconnected; run %rpc_connect again")
        server.connection.attachment.link(Role.DATA)  # raises where there is no session
        making = self.making(server.name)
        if options.inputs is not None:
            self.wait_for(options.inputs, server.name)
            self.bring(options.inputs, server)
            plan = plan_explicit(options.inputs, namespace, server, self.registry)
        elif self.config.auto:
            text = self.shell.transform_cell(cell)
            named, needed = names_named(text), names_needed(text, namespace)
            self.wait_for(needed, server.name)
            if making:  # they have their values when the cell's turn comes
                namespace = {name: value for name, value in namespace.items() if name not in making}
                needed = [name for name in needed if name not in making]
                named = [name for name in named if name not in making]
            self.bring(named, server, needed)
            plan = plan_automatic(text, namespace, server, self.registry, self._holders())
            plan = replace(plan, watch=(*plan.watch, *making))
        else:
            plan = Plan()
        for name, value in plan.inputs.items():
            if any(parts_of(one, _GLANCE).marks for one in stored_by(value)):
                self.registry.tell_stored(name)
        if plan.size > self.config.upload_warning:
            largest = sorted(plan.sizes, key=plan.sizes.__getitem__, reverse=True)[:3]
            parts = ", ".join(f"{name} {human_size(plan.sizes[name])}" for name in largest)
            sys.stderr.write(f"rpc_magic: sending {human_size(plan.size)} to {server.name} ({parts})\n")
            sys.stderr.flush()
        return plan

    def _holders(self) -> list[Iterable[object]]:
        """Return views of what refers to the notebook's values besides its variables."""
        anchored = [server.anchors.held() for server in self.registry.servers.values()]
        return [*history_of(self.shell), *anchored]

    def request(
        self, server: Server, cell: str, options: CellOptions, plan: Plan, *, is_alone: bool = True
    ) -> messages.RunCell:
        """Return the message that asks for a cell to be run; `is_alone`: nothing else runs meanwhile."""
        named = (self.shell.user_ns.get(name) for name in (*plan.inputs, *plan.watch))
        modules = [value for value in named if isinstance(value, ModuleType)]
        is_automatic = self.config.auto and options.outputs is None
        is_captured = isinstance(sys.stdout, io.StringIO)  # as by %%capture: no page has to take it
        news = None
        if is_automatic and options.inputs is None:
            news = self.surroundings.news(server.surroundings, is_here=server.is_here, is_alone=is_alone)
        return messages.RunCell(
            cell,
            outputs=options.outputs if options.outputs is not None else None if is_automatic else (),
            automatic=is_automatic,
            delete=plan.delete,
            watch=plan.watch if is_automatic else (),
            parent=parent_of(self.shell),
            line_offset=lines_above(self.shell, cell),
            eager=self.config.eager,
            number=number_of(self.shell),
            lines=0 if is_captured else self.config.output_lines,
            size=0 if is_captured else self.config.output_size,
            surroundings=news,
            imports=tuple(part for module in modules for part in self.registry.parts_of(module)),
        )

    def _send(self, server: Server, request: messages.RunCell, plan: Plan, timeout: float | None) -> Run:
        record = server.calls.begin(title_of(request.source), server.connection.interrupt)

        def show(message: messages.Message) -> None:
            record.keep(message)
            show_here(self.shell, message, self.results)

        try:
            run = server.connection.run_cell(
                request,
                plan.inputs,
                show,
                timeout,
                carry=plan.carry,
                takes_over=plan.takes_over,
                keep=False,
            )
            record.end(run.error)
        except BaseException as error:
            record.end(error)
            # Whether the variables arrived, and what the cell did to them, is not known: they will be sent again.
            for name in {*plan.inputs, *plan.watch}:
                server.ledger.forget(name)
            server.surroundings.clear()
            raise
        remember_text(run.file, request)
        self.settle()
        note_sent(server, plan)
        return run

    def finish(self, server: Server, plan: Plan, run: Run, before: dict[str, Any] | None = None) -> Any:
        """Bind what a cell did; return its value, or raise what it raised."""
        self.surroundings.take(
            run.surroundings, server.surroundings, is_here=server.is_here, is_alone=before is None
        )
        left = bind(run, self.shell.user_ns, server, self.registry, reads=plan.reads, before=before)
        for note in run.notes:
            sys.stderr.write(f"rpc_magic: {note}\n")
        if left:
            names = ", ".join(left)
            sys.stderr.write(
                f"rpc_magic: {names} kept the value bound here while the cell ran; what it made is on {server.name} "
                f"(%rpc_pull fetches it)\n"
            )
        if run.error is not None:
            explain_missing(run.error, plan)
            with contextlib.suppress(
                Exception
            ):  # a class that takes no attributes still is the user's exception
                setattr(run.error, SERVER, server.name)
            raise run.error
        value = run.result.value
        if type(value) is RemoteValue:
            self.registry.placed.setdefault(value, None)
        return value


def history_of(shell: Any) -> list[Iterable[object]]:
    """Return views of what the shell itself keeps of results."""
    keepers = [one for one in (shell.displayhook, shell.last_execution_result) if one is not None]
    return [
        *(vars(one).values() for one in keepers),
        shell.user_ns.get("_oh", {}).values(),
        shell.user_ns_hidden.values(),
    ]


def remember_text(file: str, request: messages.RunCell) -> None:
    """Have tracebacks and `inspect` find the text of a cell that ran elsewhere: functions that it made refer to it.

    Args:
        file: the name by which they do; no real file is hidden by it.
        request: the cell.
    """
    if file and file not in linecache.cache and not Path(file).exists():
        text = "\n" * request.line_offset + request.source
        linecache.cache[file] = len(text), None, text.splitlines(keepends=True), file


def replace_request(request: messages.RunCell, **changes: Any) -> messages.RunCell:
    """Return a request with some fields changed."""
    fields = {name: getattr(request, name) for name in request.__struct_fields__}
    return messages.RunCell(**{**fields, **changes})


def parent_of(shell: Any) -> bytes:
    """Return the notebook's message that caused the running cell (JSON); empty outside notebooks."""
    kernel = getattr(shell, "kernel", None)
    if kernel is None:
        return b""
    try:
        parent = dict(kernel.get_parent() or {})
        slim = {key: parent.get(key, {}) for key in ("header", "parent_header", "metadata")}
        return json.dumps({**slim, "content": {}}, default=str).encode()
    except Exception:  # noqa: BLE001 - without it, only the packages that ask for it miss it
        return b""


def number_of(shell: Any) -> int:
    """Return the number of the running cell in the notebook; 0 where it is not known."""
    history = getattr(getattr(shell, "history_manager", None), "input_hist_parsed", None) or [""]
    return len(history) - 1


def lines_above(shell: Any, cell: str) -> int:
    """Return the lines above a cell magic's code in the notebook's cell.

    That is 1 for the magic's own line, more below other cell magics, and the empty lines that IPython takes off.
    """
    empty = cell[: len(cell) - len(cell.lstrip())].count("\n")
    history = getattr(getattr(shell, "history_manager", None), "input_hist_raw", None) or [""]
    raw, body = str(history[-1]).rstrip(), cell.rstrip()
    if body and raw.endswith(body):
        return max(1, raw[: len(raw) - len(body)].count("\n")) + empty
    return 1 + empty
