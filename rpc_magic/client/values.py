"""Values that are elsewhere."""

from __future__ import annotations

import html
import sys
import weakref
from typing import TYPE_CHECKING, Any, NoReturn

from rpc_magic import serial
from rpc_magic.errors import RemoteValueError
from rpc_magic.wire.messages import ValueInfo

if TYPE_CHECKING:
    from rpc_magic.client.connection import Connection

__all__ = ["RemoteValue", "class_of", "connection_of", "human_size", "type_name_of"]


class _MisusedError(RemoteValueError, AttributeError):
    """An attribute of a value that is elsewhere was asked for."""


def human_size(size: int) -> str:
    """Return a number of bytes as people write it: "12.3 MB"; empty when it is negative (unknown)."""
    if size < 0:
        return ""
    if size < 1000:
        return f"{size} B"
    amount = float(size)
    for unit in ("kB", "MB", "GB", "TB"):
        amount /= 1000
        if amount < 999.5 or unit == "TB":
            break
    return f"{amount:.1f} {unit}" if amount < 99.5 else f"{amount:.0f} {unit}"


class RemoteValue:
    """A value that stays on the server.

    `get()` fetches it. Given as an argument to a call on the same session it stands for the value itself, which
    does not travel. Anything else that is done with it raises `RemoteValueError`.

    Made by rpc_magic, as by `Connection.put`.
    """

    __slots__ = ("__weakref__", "_connection", "_info", "_name", "_ticket")

    def __init__(self, connection: Connection, info: ValueInfo, ticket: str, name: str = "") -> None:
        self._connection, self._info, self._ticket, self._name = connection, info, ticket, name
        if info.key:
            weakref.finalize(self, connection.drop_value, ticket, info.key).atexit = False

    def get(self) -> Any:
        """Fetch the value.

        Raises:
            RemoteValueError: it is not there any more.
            TransferError: it cannot travel.
        """
        return self._connection.fetch(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return serial.reference, (self._ticket, self._info.key or f"={self._name}")

    def _facts(self) -> str:
        info = self._info
        facts = [info.type_name, info.extent, human_size(info.size), f"on {self._connection.name}"]
        return ", ".join(fact for fact in facts if fact)

    def __repr__(self) -> str:
        info = self._info
        name = f"{self._name}: " if self._name else ""
        text = f"<RemoteValue {name}{self._facts()}"
        if info.preview:
            text += f": {info.preview}"
        return text + (f" ({info.reason})" if info.reason else "") + ">"

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Show what was rendered on the server, where that was done; else what is known of the value."""
        if self._is_untrusted:
            return {"text/plain": repr(self)}, {}
        if self._info.bundle:
            return self._info.bundle, self._info.metadata
        return {"text/plain": repr(self), "text/html": self._html()}, {}

    @property
    def _is_untrusted(self) -> bool:
        """True where only data are taken: a page that shows what the server made runs its scripts."""
        return self._connection.exchange.is_plain_only

    def _html(self) -> str:
        """Return what is known of the value, and the first rows of a table, for which the server is asked."""
        info = self._info
        name = f"<b>{html.escape(self._name)}</b>: " if self._name else ""
        lines = [
            f"<div>{name}{html.escape(self._facts())} <small>(<code>.get()</code> fetches it)</small></div>"
        ]
        lines += [f"<div>{html.escape(info.reason)}</div>"] if info.reason else []
        head = (
            self._connection.exchange.call_soon(serial.head_html, self) if "columns" in info.extent else None
        )
        if isinstance(head, str) and head:
            lines.append(head)
        elif info.preview:
            lines.append(f"<pre>{html.escape(info.preview)}</pre>")
        return "\n".join(lines)

    def __dir__(self) -> list[str]:
        """Return the names of the value's attributes, as its server says, and `get`.

        Where the server does not answer within a moment, those of the value's class, as far as it is known here.
        """
        names = self._connection.exchange.call_soon(dir, self)
        if not isinstance(names, list):
            names = dir(class_of(self) or object)
        return sorted({*(name for name in names if isinstance(name, str)), "get"})

    def _misused(self, how: str) -> str:
        what = self._name or f"this {self._info.type_name}"
        return f"{what} is on {self._connection.name}, so it cannot be {how} here; {what}.get() fetches it"

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith(("__", "_ipython_", "_repr_")):
            raise AttributeError(name)
        raise _MisusedError(self._misused(f"asked for .{name}"))

    def _refuse(self, *_: object) -> NoReturn:
        raise RemoteValueError(self._misused("used"))

    __len__ = __iter__ = __getitem__ = __setitem__ = __delitem__ = __contains__ = _refuse
    __call__ = __enter__ = __float__ = __int__ = __index__ = _refuse
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _refuse
    __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = __pow__ = __rpow__ = __matmul__ = __rmatmul__ = (
        _refuse
    )
    __and__ = __rand__ = __or__ = __ror__ = __xor__ = __rxor__ = __neg__ = __pos__ = __invert__ = __abs__ = (
        _refuse
    )
    __lt__ = __le__ = __gt__ = __ge__ = _refuse

    def __bool__(self) -> NoReturn:
        raise RemoteValueError(self._misused("tested"))


# Functions, not attributes of the value: what is asked of a `RemoteValue` is a mistake, and is told so.


def connection_of(value: RemoteValue) -> Connection:
    """Return the connection by which a value came."""
    return value._connection  # noqa: SLF001 - of this module


def type_name_of(value: RemoteValue) -> str:
    """Return the name of a value's type, as "pandas.DataFrame"."""
    return value._info.type_name  # noqa: SLF001 - of this module


def class_of(value: RemoteValue) -> type | None:
    """Return a value's class, where its module is imported here already."""
    module, _, name = value._info.type_name.rpartition(".")  # noqa: SLF001 - of this module
    # Not by getattr: a module may import what it is asked for.
    found = vars(sys.modules.get(module or "builtins", sys)).get(name)
    return found if isinstance(found, type) else None
