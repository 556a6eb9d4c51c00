"""What a session does with each request: its variables, functions, kept values, and cells.

Answers are pairs of an outcome and its buffers. Nothing here knows sockets or threads; everything runs on the
worker's main thread, user code inside the gate.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import json
import sys
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

import msgspec
from IPython.display import display

from rpc_magic import serial
from rpc_magic.errors import TransferError
from rpc_magic.namespace import attributes_of_class, with_nested
from rpc_magic.runtime.versions import version_note
from rpc_magic.settings import WireLimits, WorkerSettings
from rpc_magic.surroundings import Surroundings
from rpc_magic.wire import messages
from rpc_magic.wire.frames import Buffer
from rpc_magic.worker.answering import answering
from rpc_magic.worker.celldone import answer_asked_for, answer_automatic
from rpc_magic.worker.cells import CellResult, run_awaitable, run_cell, run_expression
from rpc_magic.worker.changes import TOGETHER, Before, State
from rpc_magic.worker.checkpoints import variables
from rpc_magic.worker.interrupts import InterruptGate
from rpc_magic.worker.modules import UserModules
from rpc_magic.worker.shell import ZMQInteractiveShell
from rpc_magic.worker.tracebacks import error_record
from rpc_magic.worker.values import Answer, Values

__all__ = ["Answer", "Session"]

_BEFORE_MODULES = frozenset({messages.Configure, messages.ModulesChanged, messages.Libraries})
"""Requests that run nothing of the user's: they need none of the user's modules, and show nothing."""


class _Broken:
    """Stands for a function that could not be loaded; calling it says why."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __call__(self, *_: object, **__: object) -> object:
        raise self._error


class Session:
    """A session's state and what can be asked of it.

    Args:
        shell: runs the cells; its namespace is the session's.
        gate: user code runs inside it.
        modules: the user's own modules.
        ticket: the session's; values kept here are known by it.
        settings: limits.
        payload: bytes of buffers that an answer may hold.

    Attributes:
        values: its objects on their way in and out.
    """

    def __init__(
        self,
        shell: ZMQInteractiveShell,
        gate: InterruptGate,
        modules: UserModules,
        ticket: bytes,
        settings: WorkerSettings,
        payload: int,
    ) -> None:
        self.shell, self.gate, self._modules = shell, gate, modules
        self.namespace: dict[str, Any] = shell.user_ns
        self._surroundings = Surroundings(shell, is_session=True)
        self._surroundings_there: dict[str, Any] = {}
        self.values = Values(self.namespace, gate, ticket.hex(), min(payload, WireLimits().payload))
        shell.advise = modules.advise
        self._settings = settings
        self._functions: OrderedDict[bytes, Callable[..., Any]] = OrderedDict()
        self._told: dict[str, State] = {}
        self._notes = ""
        self._actions: dict[type, Callable[[Any, Sequence[Buffer]], Answer | Awaitable[Answer] | None]] = {
            messages.DefineFunction: self._define,
            messages.CallFunction: self._call,
            messages.RunCell: self._run,
            messages.Push: self._push,
            messages.Pull: self._pull,
            messages.Put: self._put,
            messages.Get: self._get,
            messages.Inspect: self._inspect,
            messages.Complete: self._complete,
            messages.Configure: self._configure,
            messages.ModulesChanged: self._note_changed,
            messages.Libraries: self._compare,
        }

    def handle(
        self, request: messages.Message, buffers: Sequence[Buffer]
    ) -> Answer | Awaitable[Answer] | None:
        """Do what a request asks; errors of user code become answers.

        Returns:
            The answer, something to await that gives it, or None for a request that has none.
        """
        action = self._actions.get(type(request))
        if action is None:
            return messages.Refused(f"a session does not answer {type(request).__name__}"), ()
        try:
            if self._modules.is_stale and type(request) not in _BEFORE_MODULES:
                self._refresh()
            if self._notes and type(request) not in _BEFORE_MODULES:
                notes, self._notes = self._notes, ""
                sys.stderr.write(notes)
            return action(request, buffers)
        except BaseException as error:  # noqa: BLE001 - it belongs to the caller, whatever it is
            return self.failure(error)

    def failure(self, error: BaseException) -> Answer:
        """Return the answer that says what a call raised."""
        error = answering(error)
        self._modules.advise(error)
        return messages.Failed(error_record(error, shell=self.shell)), self.values.encode_error(error)

    def _compare(self, request: messages.Libraries, _: Sequence[Buffer]) -> None:
        for library, mine, theirs in self.values.libraries.compare(request.versions):
            self._notes += version_note(library, theirs, mine)

    def _note_changed(self, request: messages.ModulesChanged, _: Sequence[Buffer]) -> None:
        self._modules.note_changed(request.names)

    def _refresh(self) -> None:
        """Load the user's edited modules again; functions that came by their names are then asked for anew."""
        with self.gate.user_code():
            if self._modules.refresh():
                self._functions.clear()

    def _configure(self, request: messages.Configure, _: Sequence[Buffer]) -> None:
        self.values.is_plain = request.plain_results
        self.values.code = "source" if request.source else "bytecode"

    # ------------------------------------------------------------ functions

    def _define(self, request: messages.DefineFunction, buffers: Sequence[Buffer]) -> None:
        try:
            function = self.values.decode(buffers)
        except BaseException as error:  # noqa: BLE001 - said when it is called
            function = _Broken(error)
        self._functions[request.digest] = function
        self._functions.move_to_end(request.digest)
        while len(self._functions) > self._settings.functions:
            self._functions.popitem(last=False)

    def _call(self, request: messages.CallFunction, buffers: Sequence[Buffer]) -> Answer | Awaitable[Answer]:
        function = self._functions.get(request.digest)
        if function is None:
            return messages.NeedFunction(request.digest), ()
        if request.parent:
            self.shell.set_parent(json.loads(request.parent))
        args, kwargs = self.values.decode(buffers) if buffers else ((), {})
        if request.show:
            return self._call_shown(function, args, kwargs)
        with self.gate.user_code():
            value = function(*args, **kwargs)
        if inspect.iscoroutine(value):
            return self._await(value)
        return self.values.returned(value, name="the result")

    async def _call_shown(
        self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Answer:
        """Call a function and show its value, as a cell's; figures that it leaves open are shown before it."""
        error: BaseException | None = None
        value = None
        try:
            with self.gate.user_code():
                value = function(*args, **kwargs)
            if inspect.iscoroutine(value):
                value, error = await run_awaitable(self.shell, value)
        except BaseException as raised:  # noqa: BLE001 - it is the caller's
            error = raised
        try:
            with self.gate.user_code():
                self.shell.events.trigger("post_execute")
                if error is None and value is not None:
                    display(value)
        except BaseException as raised:  # noqa: BLE001 - of the value's own formatters; Stop
            error = error or raised
        return self.failure(error) if error is not None else (messages.Returned(), ())

    async def _await(self, coroutine: Any) -> Answer:
        value, error = await run_awaitable(self.shell, coroutine)
        if error is not None:
            return self.failure(error)
        try:
            return self.values.returned(value, name="the result")
        except TransferError as refused:
            return self.failure(refused)

    # ------------------------------------------------------------ variables and values

    def _push(self, _: messages.Push, buffers: Sequence[Buffer]) -> Answer:
        self.namespace.update(self.values.decode(buffers))
        return messages.Returned(), ()

    def _pull(self, request: messages.Pull, _: Sequence[Buffer]) -> Answer:
        missing = tuple(name for name in request.names if name not in self.namespace)
        if missing:
            return messages.Missing(missing), ()
        values = {name: self.namespace[name] for name in request.names}
        if request.mates and not self.values.is_plain:
            mates = Before(self.namespace, ()).mates({}, values, TOGETHER)
            # Of a class that the client keeps as it is, it needs the objects in its attributes.
            classes = {name: one for name, one in mates.items() if isinstance(one, type)}
            mates |= {f"{name}.": attributes_of_class(one) for name, one in classes.items()}
            if mates and self.values.can_travel({**values, **mates}):
                values |= mates
        # What the client asks for by name is newest here; what comes along with it may be newer there.
        asked = [values[name] for name in request.names if isinstance(values[name], type)]
        newest = [kind for one in asked for kind in with_nested(one)]

        def is_newest(kind: type) -> bool:
            return any(kind is one for one in newest)

        takes_over = serial.by_origin if request.carry else is_newest
        try:
            outcome, buffers = self.values.returned(values, carry=request.carry, takes_over=takes_over)
        except TransferError as error:
            raise self._name_culprit(values, error, carry=request.carry) from None
        if isinstance(outcome, messages.Kept) and len(values) == 1:
            # What stands for one variable stands for its value.
            outcome = messages.Kept(self.values.keep_instead(outcome.info, *values.values()))
        return outcome, buffers

    def _name_culprit(self, values: dict[str, object], error: TransferError, *, carry: bool) -> TransferError:
        """Find the variable that cannot travel, so that the error's path starts with its name."""
        for name, value in values.items():
            try:
                self.values.encode(value, carry=carry, name=name)
            except TransferError as named:
                return named
        return error

    def _put(self, _: messages.Put, buffers: Sequence[Buffer]) -> Answer:
        return messages.Kept(self.values.keep(self.values.decode(buffers))), ()

    def _get(self, request: messages.Get, _: Sequence[Buffer]) -> Answer:
        return self.values.returned(self.values.resolve(self.values.ticket, request.key))

    # ------------------------------------------------------------ cells

    async def _run(self, request: messages.RunCell, buffers: Sequence[Buffer]) -> Answer:
        began = time.monotonic()
        limit = request.eager if request.eager >= 0 else self._settings.eager
        self.shell.outputs.limit(request.lines, request.size)
        for name in request.delete:
            self.namespace.pop(name, None)
        if buffers or request.delete or not request.automatic:
            self._told.clear()  # what comes may be part of other variables
        parent = json.loads(request.parent) if request.parent else {}
        try:
            if buffers:
                values = self.values.decode(buffers)
                self.namespace.update(values)
                self.shell.keep_results(values)
                self._modules.note_functions(values.values())
            with self.gate.user_code():
                for name in request.imports:
                    with contextlib.suppress(Exception):  # the cell meets what is missing, where it uses it
                        importlib.import_module(name)
            if request.surroundings is not None:
                with self.gate.user_code():  # it may load libraries
                    self._surroundings.take(
                        request.surroundings, self._surroundings_there, is_here=True, text=request.source
                    )
            with self.gate.user_code():
                unknown = variables(self.shell) if request.anew else ()
                before = Before(
                    self.namespace, request.watch if request.automatic else (), self._told, unknown
                )
        except BaseException as error:  # noqa: BLE001 - a variable that cannot be loaded, or Stop; no cell was run
            return self.failure(error)
        if request.number:
            self.shell.continue_at(request.number)
        run = run_expression if request.expression else run_cell
        result = await run(self.shell, request.source, parent=parent, line_offset=request.line_offset)
        duration = time.monotonic() - began
        if request.automatic and request.outputs is None:
            with self.gate.user_code():
                changes = before.changes(limit)
            done, answer = answer_automatic(result, changes, self.values, self.shell, limit)
        else:
            wanted = self._wanted(request.outputs or (), result)
            done, answer = answer_asked_for(result, wanted, self.values, self.shell, limit)
        news = {}
        if request.surroundings is not None and not self.values.is_plain:
            news = self._surroundings.news(self._surroundings_there, is_here=True)
        return msgspec.structs.replace(done, duration=duration, surroundings=news), answer

    def _wanted(self, names: Sequence[str], result: CellResult) -> dict[str, object]:
        """Return the variables that are asked for; one that is missing is the cell's error, if it has no other."""
        missing = [name for name in names if name not in self.namespace]
        if missing and result.error is None:
            result.error = NameError(
                f"the cell bound no variable {', '.join(map(repr, missing))}, which outputs (-o) asks for"
            )
            result.record = error_record(result.error)
        return {name: self.namespace[name] for name in names if name in self.namespace}

    # ------------------------------------------------------------ questions

    def _inspect(self, request: messages.Inspect, _: Sequence[Buffer]) -> Answer:
        with self._standing(request.values), self.gate.user_code():
            try:
                found = self.shell.object_inspect_mime(request.name, detail_level=request.detail)
            except KeyError:
                found = {}
        return messages.Inspected({str(k): str(v) for k, v in found.items()}), ()

    def _complete(self, request: messages.Complete, _: Sequence[Buffer]) -> Answer:
        self.shell.Completer.use_jedi = (
            False  # it would read sources, where the objects themselves are at hand
        )
        with self._standing(request.values), self.gate.user_code():
            text, matches = self.shell.complete(text=None, line=request.text, cursor_pos=request.cursor)[:2]
        return messages.Completions(tuple(matches), request.cursor - len(text), request.cursor), ()

    @contextlib.contextmanager
    def _standing(self, values: dict[str, str]) -> Iterator[None]:
        """Have names stand for values, as they do at the client."""
        there = {name: self.values.resolve(self.values.ticket, key) for name, key in values.items()}
        hidden = {name: self.namespace[name] for name in there if name in self.namespace}
        self.namespace.update(there)
        try:
            yield
        finally:
            for name in there:
                self.namespace.pop(name, None)
            self.namespace.update(hidden)
