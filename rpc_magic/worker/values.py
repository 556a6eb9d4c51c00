"""The objects of a session on their way in and out: encoded, decoded, kept for the client, named."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType
from typing import Any

from rpc_magic import serial
from rpc_magic.errors import RemoteValueError, TransferError
from rpc_magic.runtime.versions import Libraries
from rpc_magic.wire import messages
from rpc_magic.wire.frames import Buffer
from rpc_magic.worker.interrupts import InterruptGate
from rpc_magic.worker.patience import OutOfPatienceError, at_most
from rpc_magic.worker.tracebacks import is_unprintable

__all__ = ["Answer", "Values"]

Answer = tuple[messages.Outcome, Sequence[Buffer]]
"""What a request is answered with."""

_BACKEND = "matplotlib_inline.backend_inline"

_PATIENCE = 5.0
"""Seconds for the way of an exception into bytes, which user code may have a part in."""


class Values:
    """A session's objects as its client meets them.

    Belongs to the worker's main thread.

    Args:
        namespace: the session's variables.
        gate: code of the user's classes, which encoding and decoding may run, runs inside it.
        ticket: the session's; values kept here are known by it.
        limit: bytes of buffers that an answer may hold.

    Attributes:
        libraries: what was told to the client of the versions of libraries.
        is_plain: the client takes plain data only.
        code: how functions travel.
    """

    def __init__(self, namespace: dict[str, Any], gate: InterruptGate, ticket: str, limit: int) -> None:
        self.namespace, self.gate, self.ticket, self._limit = namespace, gate, ticket, limit
        self.libraries = Libraries()
        self.is_plain = False
        self.code: serial.CodeMode = "bytecode"
        self._kept: dict[str, object] = {}
        self._made = 0

    # ------------------------------------------------------------ in

    def decode(self, buffers: Sequence[Buffer]) -> Any:
        """Return the object that came; its own loading code runs as user code."""
        with self.gate.user_code():
            value = serial.decode(buffers, namespace=self.namespace, resolve=self.resolve)
            _have_figures_drawn()
        return value

    def resolve(self, session: str, key: str) -> object:
        """Return the value that a `RemoteValue` of the client stands for.

        Raises:
            RemoteValueError: it is not in this session (any more).
        """
        if session == self.ticket:
            if key.startswith("=") and key[1:] in self.namespace:
                return self.namespace[key[1:]]
            if key in self._kept:
                return self._kept[key]
        raise RemoteValueError(
            "a RemoteValue that was sent is not in this session (any more): send its .get() instead"
        )

    def note_new_client(self) -> None:
        """Another client is there, which says by itself what it wants."""
        self.is_plain, self.code, self.libraries = False, "bytecode", Libraries()

    # ------------------------------------------------------------ out

    def encode(
        self,
        value: object,
        *,
        carry: bool = True,
        name: str = "",
        takes_over: serial.TakesOver = serial.by_origin,
    ) -> list[Buffer]:
        """Return what is sent of a value; see `serial.encode`.

        Raises:
            TransferError: it cannot travel.
        """
        modules: set[str] = set()
        with self.gate.user_code():
            buffers = serial.encode(
                value,
                namespace=self.namespace,
                carry=carry,
                name=name,
                code=self.code,
                takes_over=takes_over,
                modules=modules,
            )
        self.libraries.note(modules)
        return buffers

    def encode_error(self, error: BaseException) -> Sequence[Buffer]:
        """Return what is sent of an exception; nothing if it cannot travel in time, be printed, or is too large."""
        buffers: Sequence[Buffer] = ()
        if is_unprintable(error):
            return buffers
        with contextlib.suppress(OutOfPatienceError), at_most(_PATIENCE):
            buffers = serial.encode_error(error, namespace=self.namespace, code=self.code)
        return () if self.is_plain or self.over_limit(sum(map(len, buffers))) else buffers

    def can_travel(self, value: object) -> bool:
        """Tell whether a value can be encoded."""
        try:
            self.encode(value, carry=False)
        except TransferError:
            return False
        return True

    def returned(
        self,
        value: object,
        *,
        carry: bool = True,
        name: str = "",
        takes_over: serial.TakesOver = serial.by_origin,
    ) -> Answer:
        """Return the answer that holds a value; see `serial.encode`.

        Raises:
            TransferError: it cannot travel.
        """
        if value is None:
            return messages.Returned(), ()
        if self.is_plain:
            try:
                buffers = serial.encode_plain(value)
            except TransferError as error:
                return messages.Kept(self.keep(value, f"it is not plain data ({error})")), ()
        else:
            buffers = self.encode(value, carry=carry, name=name, takes_over=takes_over)
        reason = self.over_limit(sum(map(len, buffers)))
        if reason:
            return messages.Kept(self.keep(value, reason)), ()
        return messages.Returned(plain=self.is_plain), buffers

    def over_limit(self, size: int) -> str:
        """Return why something of `size` bytes stays here, one clause; empty when it may leave in one answer."""
        return f"it has {size:,} bytes, the limit is {self._limit:,}" if size > self._limit else ""

    # ------------------------------------------------------------ what stays

    def keep(self, value: object, reason: str = "") -> messages.ValueInfo:
        """Keep a value for the client, and return what it is told of it."""
        self._made += 1
        key = f"v{self._made}"
        self._kept[key] = value
        return self.info(value, key, reason)

    def keep_instead(self, info: messages.ValueInfo, value: object) -> messages.ValueInfo:
        """Keep another value under the same key."""
        self._kept[info.key] = value
        return self.info(value, info.key, info.reason)

    def info(self, value: object, key: str = "", reason: str = "") -> messages.ValueInfo:
        """Return what the client is told of a value."""
        with self.gate.user_code():
            facts = serial.describe(value)
        preview = f"module {value.__name__}" if isinstance(value, ModuleType) else facts.preview
        return messages.ValueInfo(key, facts.type_name, facts.size, facts.extent, preview, reason=reason)

    def drop(self, keys: Sequence[str]) -> None:
        """Forget kept values."""
        for key in keys:
            self._kept.pop(key, None)


def _have_figures_drawn() -> None:
    """Load the backend that shows figures as pictures, as matplotlib does with the first one that is made here."""
    if (
        "matplotlib.figure" in sys.modules
        and _BACKEND not in sys.modules
        and os.environ.get("MPLBACKEND") == f"module://{_BACKEND}"
    ):
        import_module(_BACKEND)
