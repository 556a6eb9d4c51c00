"""What a session does with each request: its variables, functions, kept values, and cells.

Answers are pairs of an outcome and its buffers. Nothing here knows sockets or threads; everything runs on the
worker's main thread, user code inside the gate.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import sys
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from types import ModuleType
from typing import Any

import msgspec
from IPython.display import display

from rpc_magic import serial
from rpc_magic.errors import RemoteValueError, TransferError
from rpc_magic.namespace import parts_of, shared_groups
from rpc_magic.runtime.versions import Libraries, version_note
from rpc_magic.settings import WorkerSettings
from rpc_magic.wire import messages
from rpc_magic.wire.frames import Buffer
from rpc_magic.worker.cells import CellResult, render, run_awaitable, run_cell, run_expression
from rpc_magic.worker.changes import Before
from rpc_magic.worker.interrupts import InterruptGate
from rpc_magic.worker.modules import UserModules
from rpc_magic.worker.shell import ZMQInteractiveShell
from rpc_magic.worker.tracebacks import error_record

__all__ = ["Answer", "Session"]

Answer = tuple[messages.Outcome, Sequence[Buffer]]


_BEFORE_MODULES = frozenset({messages.Configure, messages.ModulesChanged, messages.Libraries})
"""Requests that run nothing of the user's: they need none of the user's modules, and show nothing."""

_TOGETHER = 32 << 20
"""Bytes of arrays, tables and containers in variables that share objects, up to which they are fetched together."""


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
        libraries: what was told to the client of the versions of libraries.
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
        self.ticket = ticket.hex()
        self.namespace: dict[str, Any] = shell.user_ns
        shell.advise = modules.advise
        self._settings, self._payload = settings, payload
        self._functions: OrderedDict[bytes, Callable[..., Any]] = OrderedDict()
        self._values: dict[str, object] = {}
        self._made = 0
        self._changed: set[str] = set()
        self._plain = False
        self._notes = ""
        self.libraries = Libraries()
        self._code: serial.CodeMode = "bytecode"
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
        self._modules.advise(error)
        return messages.Failed(error_record(error, shell=self.shell)), self._encode_error(error)

    def _encode_error(self, error: BaseException) -> Sequence[Buffer]:
        return serial.encode_error(error, namespace=self.namespace, code=self._code)

    def resolve(self, session: str, key: str) -> object:
        """Return the value that a `RemoteValue` of the client stands for.

        Raises:
            RemoteValueError: it is not in this session (any more).
        """
        if session == self.ticket:
            if key.startswith("=") and key[1:] in self.namespace:
                return self.namespace[key[1:]]
            if key in self._values:
                return self._values[key]
        raise RemoteValueError(
            "a RemoteValue that was sent is not in this session (any more): send its .get() instead"
        )

    def drop(self, keys: Sequence[str]) -> None:
        """Forget kept values."""
        for key in keys:
            self._values.pop(key, None)

    # ------------------------------------------------------------ objects in and out

    def decode(self, buffers: Sequence[Buffer]) -> Any:
        """Return the object that came; its own loading code runs as user code."""
        with self.gate.user_code():
            return serial.decode(buffers, namespace=self.namespace, resolve=self.resolve)

    def _encode(
        self,
        value: object,
        *,
        carry: bool = True,
        name: str = "",
        changed: tuple[type, ...] | None = None,
    ) -> list[Buffer]:
        modules: set[str] = set()
        with self.gate.user_code():
            buffers = serial.encode(
                value,
                namespace=self.namespace,
                carry=carry,
                name=name,
                code=self._code,
                changed=changed or (),
                is_settled=changed is not None,
                modules=modules,
            )
        self.libraries.note(modules)
        return buffers

    def _keep(self, value: object, reason: str = "") -> messages.ValueInfo:
        self._made += 1
        key = f"v{self._made}"
        self._values[key] = value
        return self._info(value, key, reason)

    def _info(self, value: object, key: str = "", reason: str = "") -> messages.ValueInfo:
        with self.gate.user_code():
            facts = serial.describe(value)
        preview = f"module {value.__name__}" if isinstance(value, ModuleType) else facts.preview
        return messages.ValueInfo(key, facts.type_name, facts.size, facts.extent, preview, reason=reason)

    def _returned(
        self,
        value: object,
        *,
        carry: bool = True,
        name: str = "",
        changed: tuple[type, ...] | None = None,
    ) -> Answer:
        """Return the answer that holds a value; `changed`: the only classes that the client shall take over."""
        if value is None:
            return messages.Returned(), ()
        if self._plain:
            try:
                return messages.Returned(plain=True), serial.encode_plain(value)
            except TransferError as error:
                return messages.Kept(self._keep(value, f"it is not plain data ({error})")), ()
        buffers = self._encode(value, carry=carry, name=name, changed=changed)
        size = sum(map(len, buffers))
        if size > self._payload:
            return messages.Kept(
                self._keep(value, f"it has {size:,} bytes, the limit is {self._payload:,}")
            ), ()
        return messages.Returned(), buffers

    def _compare(self, request: messages.Libraries, _: Sequence[Buffer]) -> None:
        for library, mine, theirs in self.libraries.compare(request.versions):
            self._notes += version_note(library, theirs, mine)

    def _note_changed(self, request: messages.ModulesChanged, _: Sequence[Buffer]) -> None:
        self._modules.note_changed(request.names)

    def _refresh(self) -> None:
        """Load the user's edited modules again; functions that came by their names are then asked for anew."""
        with self.gate.user_code():
            if self._modules.refresh():
                self._functions.clear()

    def _configure(self, request: messages.Configure, _: Sequence[Buffer]) -> None:
        self._plain = request.plain_results
        self._code = "source" if request.source else "bytecode"

    # ------------------------------------------------------------ functions

    def _define(self, request: messages.DefineFunction, buffers: Sequence[Buffer]) -> None:
        try:
            function = self.decode(buffers)
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
        args, kwargs = self.decode(buffers) if buffers else ((), {})
        if request.show:
            return self._call_shown(function, args, kwargs)
        with self.gate.user_code():
            value = function(*args, **kwargs)
        if inspect.iscoroutine(value):
            return self._await(value)
        return self._returned(value, name="the result")

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
            return self._returned(value, name="the result")
        except TransferError as refused:
            return self.failure(refused)

    # ------------------------------------------------------------ variables and values

    def _push(self, _: messages.Push, buffers: Sequence[Buffer]) -> Answer:
        self.namespace.update(self.decode(buffers))
        return messages.Returned(), ()

    def _pull(self, request: messages.Pull, _: Sequence[Buffer]) -> Answer:
        missing = tuple(name for name in request.names if name not in self.namespace)
        if missing:
            return messages.Missing(missing), ()
        values = {name: self.namespace[name] for name in request.names}
        if request.mates and not self._plain:
            mates = Before(self.namespace, ()).mates({}, values, _TOGETHER)
            values |= mates if self._is_sendable({**values, **mates}) else {}
        changed = tuple(v for n, v in values.items() if n in self._changed and isinstance(v, type))
        try:
            outcome, buffers = self._returned(
                values, carry=request.carry, changed=None if request.carry else changed
            )
            self._changed.difference_update(values)
        except TransferError as error:
            raise self._name_culprit(values, error, carry=request.carry) from None
        if isinstance(outcome, messages.Kept) and len(values) == 1:
            # What stands for one variable stands for its value.
            key, reason = outcome.info.key, outcome.info.reason
            (self._values[key],) = values.values()
            outcome = messages.Kept(self._info(self._values[key], key, reason))
        return outcome, buffers

    def _name_culprit(self, values: dict[str, object], error: TransferError, *, carry: bool) -> TransferError:
        """Find the variable that cannot travel, so that the error's path starts with its name."""
        for name, value in values.items():
            try:
                self._encode(value, carry=carry, name=name)
            except TransferError as named:
                return named
        return error

    def _put(self, _: messages.Put, buffers: Sequence[Buffer]) -> Answer:
        return messages.Kept(self._keep(self.decode(buffers))), ()

    def _get(self, request: messages.Get, _: Sequence[Buffer]) -> Answer:
        return self._returned(self.resolve(self.ticket, request.key))

    # ------------------------------------------------------------ cells

    async def _run(self, request: messages.RunCell, buffers: Sequence[Buffer]) -> Answer:
        began = time.monotonic()
        limit = request.eager if request.eager >= 0 else self._settings.eager
        self.shell.outputs.limit(request.lines, request.size)
        for name in request.delete:
            self.namespace.pop(name, None)
        parent = json.loads(request.parent) if request.parent else {}
        try:
            if buffers:
                values = self.decode(buffers)
                self.namespace.update(values)
                self.shell.keep_results(values)
            with self.gate.user_code():
                before = Before(self.namespace, request.watch if request.automatic else ())
        except BaseException as error:  # noqa: BLE001 - a variable that cannot be loaded, or Stop; no cell was run
            return self.failure(error)
        if request.number:
            self.shell.continue_at(request.number)
        run = run_expression if request.expression else run_cell
        result = await run(self.shell, request.source, parent=parent, line_offset=request.line_offset)
        if request.automatic and request.outputs is None:
            with self.gate.user_code():
                mutated = before.mutated()
                bound = before.bound()
                self._changed.update(mutated)
                mutated.update(before.mates(mutated, bound, limit))
            return self._done(result, began, limit, {**mutated, **bound}, mutated, before.deleted())
        names = request.outputs or ()
        missing = [name for name in names if name not in self.namespace]
        if missing and result.error is None:
            result.error = NameError(
                f"the cell bound no variable {', '.join(map(repr, missing))}, which outputs (-o) asks for"
            )
            result.record = error_record(result.error)
        wanted = {name: self.namespace[name] for name in names if name in self.namespace}
        return self._done(result, began, limit, wanted, {}, is_asked_for=True)

    def _done(
        self,
        result: CellResult,
        began: float,
        limit: int,
        changed: dict[str, object],
        mutated: dict[str, object],
        deleted: tuple[str, ...] = (),
        *,
        is_asked_for: bool = False,
    ) -> Answer:
        """Return the answer of a cell: what comes back as values, of at most `limit` bytes by itself; what stays."""
        names: dict[str, object] = {}
        kept: dict[str, messages.ValueInfo] = {}
        notes: list[str] = []
        eager = {name for name, value in changed.items() if serial.is_eager(value, limit)}
        firsts: dict[int | str, str] = {}
        if not is_asked_for and len(changed) > 1:
            parts = {name: parts_of(value) for name, value in changed.items()}
            for group in shared_groups(parts, changed):
                if group <= eager:
                    continue
                # All stay, to be fetched together; but what is small waits for nothing that is large or cannot travel.
                size = sum(parts[name].size for name in group)
                together = group if size <= limit else group - eager
                if size <= _TOGETHER and self._is_sendable({name: changed[name] for name in together}):
                    eager -= together
                    firsts.update(dict.fromkeys(together, min(together)))
        for name, value in changed.items():
            if name in eager or (is_asked_for and self._can_travel(name, value, notes)):
                names[name] = value
            else:
                # Of several variables that share an object, the others name the first.
                first = firsts.get(name) or firsts.setdefault(id(value), name)
                kept[name] = self._info(value, "" if first == name else f"={first}")
        value_here, info = False, None
        if result.has_value:
            value_here = serial.is_eager(result.value, limit)
            if not value_here:
                shown = result.shown
                data, metadata = (shown.data, shown.metadata) if shown else render(self.shell, result.value)
                info = msgspec.structs.replace(self._keep(result.value), bundle=data, metadata=metadata)
        if self._plain:
            return self._done_plain(result, began, names, kept, info, deleted)
        exception = _join(self._encode_error(result.error)) if result.error else None
        payload = (exception, result.value if value_here else None, names)
        buffers = serial.encode(payload, namespace=self.namespace, carry=is_asked_for, code=self._code)
        done = messages.CellDone(
            execution_count=result.execution_count,
            duration=time.monotonic() - began,
            error=result.record,
            has_value=result.has_value,
            value_here=value_here,
            value=info,
            kept=kept,
            deleted=deleted,
            mutated=tuple(mutated),
            notes=tuple(notes),
        )
        return done, buffers

    def _done_plain(
        self,
        result: CellResult,
        began: float,
        names: dict[str, object],
        kept: dict[str, messages.ValueInfo],
        info: messages.ValueInfo | None,
        deleted: tuple[str, ...],
    ) -> Answer:
        """The same for a client that takes plain data only: what is none stays."""
        for name, value in list(names.items()):
            try:
                serial.encode_plain(value)
            except TransferError as error:
                kept[name] = self._info(names.pop(name), reason=f"it is not plain data ({error})")
        value_here = result.has_value and info is None
        buffers = serial.encode_plain((None, result.value if value_here else None, names))
        done = messages.CellDone(
            execution_count=result.execution_count,
            duration=time.monotonic() - began,
            error=result.record,
            has_value=result.has_value,
            value_here=value_here,
            value=info,
            kept=kept,
            deleted=deleted,
        )
        return done, buffers

    def _is_sendable(self, values: dict[str, object]) -> bool:
        try:
            self._encode(values, carry=False)
        except TransferError:
            return False
        return True

    def _can_travel(self, name: str, value: object, notes: list[str]) -> bool:
        try:
            self._encode(value, name=name)
        except TransferError as error:
            notes.append(f"{error}; it stays in the session")
            return False
        return True

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
        there = {name: self.resolve(self.ticket, key) for name, key in values.items()}
        hidden = {name: self.namespace[name] for name in there if name in self.namespace}
        self.namespace.update(there)
        try:
            yield
        finally:
            for name in there:
                self.namespace.pop(name, None)
            self.namespace.update(hidden)


def _join(buffers: Sequence[Buffer]) -> list[bytes] | None:
    """Return an exception's buffers as data inside the cell's own, so that it can be refused without the rest."""
    return [bytes(buffer) for buffer in buffers] or None
