"""The functions that a program exposes: finding, describing and calling them. No sockets here."""

from __future__ import annotations

import contextlib
import difflib
import inspect
import sys
import threading
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

from rpc_magic import serial
from rpc_magic.errors import RpcMagicError, TransferError
from rpc_magic.settings import WireLimits, WorkerSettings
from rpc_magic.wire import messages
from rpc_magic.wire.frames import Buffer
from rpc_magic.worker.answering import answering
from rpc_magic.worker.tracebacks import error_record, is_unprintable

__all__ = ["Exposed", "public_functions"]

Answer = tuple[messages.Outcome, Sequence[Buffer]]


class Exposed:
    """Exposed functions by name; thread-safe.

    Args:
        arguments: "any", or "data": plain data only.
        limit: bytes of the objects of one answer.
    """

    def __init__(self, arguments: str, limit: int = WorkerSettings().message) -> None:
        if arguments not in {"any", "data"}:
            raise ValueError(f"arguments must be 'any' or 'data', not {arguments!r}")
        self._is_plain_only = arguments == "data"
        self._limit = min(limit, WireLimits().payload)
        self._functions: dict[str, Callable[..., Any]] = {}
        self._lock = threading.Lock()

    def add(self, function: Callable[..., Any], name: str | None) -> str:
        """Expose a function; return its name.

        Raises:
            TypeError: it cannot be called.
            ValueError: it has no name, or another function has it.
        """
        if not callable(function):
            raise TypeError(f"a function is exposed, not a {type(function).__name__}")
        name = name or getattr(function, "__name__", "")
        if not name or name == "<lambda>":
            raise ValueError("a function without a name needs one: server.register(f, name='add')")
        with self._lock:
            if self._functions.get(name, function) is not function:
                raise ValueError(f"another function is exposed as {name!r} already; use another name=")
            self._functions[name] = function
        return name

    @property
    def names(self) -> tuple[str, ...]:
        """The names, in order of registration."""
        return tuple(self._functions)

    def listing(self) -> messages.FunctionList:
        """Describe all functions."""
        return messages.FunctionList(tuple(_describe(n, f) for n, f in list(self._functions.items())))

    def call(self, request: messages.CallExposed, buffers: Sequence[Buffer]) -> Answer:
        """Call a function; its own exceptions become answers.

        Raises:
            KeyboardInterrupt: as the function did; who interrupted is the caller's to know.
        """
        function = self._functions.get(request.name)
        if function is None:
            near = tuple(difflib.get_close_matches(request.name, self._functions, 3))
            return messages.UnknownFunction(request.name, near, len(self._functions)), ()
        if self._is_plain_only and not request.plain:
            return messages.Refused("this server takes plain data only; nothing was loaded"), ()
        try:
            if request.plain:
                args, kwargs = serial.decode_plain(buffers)
            else:
                args, kwargs = serial.decode(buffers, namespace=_main_namespace())
            value = function(*args, **kwargs)
            return self._returned(value, plain_results=request.plain_results)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - it is the caller's
            outcome, encoded = failure(error)
            return outcome, encoded if sum(map(len, encoded)) <= self._limit else ()

    def _returned(self, value: object, *, plain_results: bool) -> Answer:
        if value is None:
            return messages.Returned(), ()
        outcome, buffers = messages.Returned(), []
        if plain_results or self._is_plain_only:
            with contextlib.nullcontext() if plain_results else contextlib.suppress(TransferError):
                outcome, buffers = (
                    messages.Returned(plain=True),
                    serial.encode_plain(value, name="the result"),
                )
        if not outcome.plain:
            buffers = serial.encode(value, namespace=_main_namespace(), name="the result")
        size = sum(map(len, buffers))
        if size > self._limit:
            return messages.OverLimit("the result", size, self._limit, "bytes", "message"), ()
        return outcome, buffers


def failure(error: BaseException) -> Answer:
    """Return the answer that says what a function raised."""
    error = answering(error)
    record = messages.Failed(error_record(error))
    return record, () if is_unprintable(error) else serial.encode_error(error, namespace=_main_namespace())


def public_functions(module: ModuleType) -> dict[str, Callable[..., Any]]:
    """Return the functions that a module offers: those of ``__all__``, else its own whose names have no underscore.

    Raises:
        RpcMagicError: it offers none.
    """
    stated = getattr(module, "__all__", None)
    names = list(stated) if stated is not None else [n for n in vars(module) if not n.startswith("_")]
    found: dict[str, Callable[..., Any]] = {
        name: value
        for name in names
        if inspect.isroutine(value := getattr(module, name, None))
        and (stated is not None or getattr(value, "__module__", None) == module.__name__)
    }
    if not found:
        raise RpcMagicError(f"the module {module.__name__} has no public function to expose")
    return found


def _describe(name: str, function: Callable[..., Any]) -> messages.FunctionInfo:
    try:
        signature = str(inspect.signature(function))
    except (TypeError, ValueError):
        signature = "(*args, **kwargs)"
    return messages.FunctionInfo(name, signature, inspect.getdoc(function) or "")


def _main_namespace() -> dict[str, Any]:
    return sys.modules["__main__"].__dict__
