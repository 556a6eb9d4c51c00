"""Naming functions by digest, so that one that the other side holds in the same state is not sent again.

The first time, a function is encoded and the bytes are hashed. Where everything that its state depends on is
either immutable or named by identity, the identities are kept as a `_Watch`; as long as they hold, the digest
does. Anything else is encoded again each time.
"""

from __future__ import annotations

import sys
import types
import weakref
from typing import Any

import xxhash

from rpc_magic.serial.codec import encode
from rpc_magic.serial.encoding import CodeMode, global_names
from rpc_magic.serial.locate import is_importable_module, locate, type_constants
from rpc_magic.serial.segments import Buffer

__all__ = ["FunctionDigests"]

_MISSING: Any = object()

_IMMUTABLE = frozenset({type(None), bool, int, float, complex, str, bytes, type(...), type(NotImplemented)})

_MOST_WATCHED = 100
"""Functions and items of constant tuples that are watched for one function; beyond, encoding is as quick."""


class _UnwatchableError(Exception):
    """The state depends on something that may change without a change of identity."""


class _Watch:
    """The identities that a function's state consists of.

    Args:
        function: the function.
        namespace: the user's global namespace.
    """

    __slots__ = ("_budget", "_cells", "_functions", "_globals", "_modules", "_namespace", "digest")

    def __init__(self, function: types.FunctionType, namespace: dict[str, Any] | None) -> None:
        self.digest = b""
        self._namespace = namespace
        self._functions: list[tuple[weakref.ref[Any], Any, Any, dict[str, Any] | None]] = []
        self._globals: dict[str, Any] = {}
        self._cells: list[tuple[types.CellType, Any]] = []
        self._modules = 0
        self._budget = _MOST_WATCHED
        self._add_function(function, set())

    def holds(self, namespace: dict[str, Any] | None) -> bool:
        """Tell whether nothing has changed."""
        if namespace is not self._namespace:
            return False
        for reference, code, defaults, noted in self._functions:
            function = reference()
            if (
                function is None
                or function.__code__ is not code
                or function.__defaults__ is not defaults
                or function.__kwdefaults__ is not None
                or function.__dict__
                or (noted is not None and function.__annotations__ != noted)
            ):
                return False
        if namespace is not None:
            for name, value in self._globals.items():
                if namespace.get(name, _MISSING) is not value:
                    return False
        for cell, value in self._cells:
            try:
                if cell.cell_contents is not value:
                    return False
            except ValueError:  # it has been emptied
                return False
        return not self._modules or self._modules == len(sys.modules)

    def _add_function(self, function: types.FunctionType, seen: set[int]) -> None:
        if id(function) in seen:
            return
        seen.add(id(function))
        self._spend()
        if function.__kwdefaults__ is not None or function.__dict__:
            raise _UnwatchableError
        noted = dict(function.__annotations__) or None
        for value in (*(function.__defaults__ or ()), *(noted or {}).values()):
            self._add_value(value, seen)
        entry = (weakref.ref(function), function.__code__, function.__defaults__, noted)
        self._functions.append(entry)
        for cell in function.__closure__ or ():
            try:
                content = cell.cell_contents
            except ValueError:  # an empty cell
                raise _UnwatchableError from None
            self._cells.append((cell, content))
            self._add_value(content, seen)
        names = global_names(function.__code__)
        if names and function.__globals__ is not self._namespace:
            raise _UnwatchableError
        for name in names:
            if name in self._globals:
                continue
            value = function.__globals__.get(name, _MISSING)
            self._globals[name] = value
            if value is not _MISSING:
                self._add_value(value, seen)

    def _add_value(self, value: Any, seen: set[int]) -> None:
        kind = type(value)
        if kind in _IMMUTABLE or (kind is type and value in type_constants):
            return
        if kind is types.GenericAlias:
            value = (value.__origin__, *value.__args__)
        elif kind is types.UnionType:
            value = value.__args__
        if type(value) is tuple or kind is frozenset:
            for item in value:
                self._spend()
                self._add_value(item, seen)
        elif kind is types.FunctionType:
            if locate(value) is None:
                self._add_function(value, seen)
        elif kind is types.ModuleType and is_importable_module(value):
            self._modules = len(sys.modules)  # a submodule imported later may be one that the code names
        elif not isinstance(value, (type, types.BuiltinFunctionType)) or locate(value) is None:
            raise _UnwatchableError

    def _spend(self) -> None:
        self._budget -= 1
        if self._budget < 0:
            raise _UnwatchableError


class FunctionDigests:
    """Remembers the digests of functions; not thread-safe.

    Args:
        code: how functions travel, as for `encode`.
        modules: takes up the names of the modules that they refer to.
    """

    def __init__(self, code: CodeMode = "bytecode", modules: set[str] | None = None) -> None:
        self._code, self._modules = code, modules
        self._watches: dict[int, tuple[weakref.ref[Any], _Watch]] = {}

    def digest(
        self, function: Any, namespace: dict[str, Any] | None, *, name: str = ""
    ) -> tuple[bytes, list[Buffer] | None]:
        """Return the name of a function in its present state.

        Args:
            function: a function, or another callable (which is encoded each time).
            namespace: the user's global namespace: the state includes the globals that the function refers to
                there, and those that they refer to.
            name: the root of the path that an error tells; empty for the function's own name.

        Returns:
            A digest of 16 bytes, and the encoded function where it had to be encoded, else None.

        Raises:
            TransferError: it cannot travel.
        """
        entry = self._watches.get(id(function))
        if entry is not None and entry[0]() is function and entry[1].holds(namespace):
            return entry[1].digest, None
        watch = self._watch(function, namespace)
        root = name or getattr(function, "__name__", "")
        buffers = encode(function, namespace=namespace, name=root, code=self._code, modules=self._modules)
        hasher = xxhash.xxh3_128(len(buffers).to_bytes(4, "little"))
        for buffer in buffers:
            hasher.update(memoryview(buffer).nbytes.to_bytes(8, "little"))
            hasher.update(buffer)
        digest = hasher.digest()
        key = id(function)
        if watch is not None:
            watch.digest = digest
            reference = weakref.ref(function, lambda _: self._watches.pop(key, None))
            self._watches[key] = (reference, watch)
        else:
            self._watches.pop(key, None)
        return digest, buffers

    def _watch(self, function: Any, namespace: dict[str, Any] | None) -> _Watch | None:
        if type(function) is not types.FunctionType:
            return None
        try:
            return _Watch(function, namespace)
        except _UnwatchableError:
            return None
