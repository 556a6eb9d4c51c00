"""The servers that a notebook is connected to, and the placeholders that stand in it for values on them."""

from __future__ import annotations

import contextlib
import importlib
import re
import sys
import weakref
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import BuiltinMethodType, MethodType, ModuleType
from typing import Any

from rpc_magic.client import Connection, RemoteValue, connection_of
from rpc_magic.client.introducing import is_on_this_machine
from rpc_magic.errors import RemoteValueError
from rpc_magic.namespace import REMOTE, Anchors, Ledger
from rpc_magic.notebook.calllog import CallLog
from rpc_magic.notebook.errors import UsageError
from rpc_magic.notebook.progress import Progress
from rpc_magic.notebook.relay import Relay
from rpc_magic.notebook.status import Status

__all__ = ["Registry", "Server", "address_of"]

_IMPORT = re.compile(r"(?m)^[ \t]*import[ \t]+([^#\n;]+)")
_GONE = frozenset({"died", "lost", "closed"})
"""States of a connection whose session hears nothing any more."""


def address_of(value: RemoteValue) -> tuple[str, str]:
    """Return the session's ticket (hexadecimal) and the key there of a value that is elsewhere.

    The key of a value that is known by its variable is "=" and the variable's name.
    """
    _, (ticket, key) = value.__reduce__()
    return ticket, key


def _module_named(value: RemoteValue) -> str | None:
    """Return the name of the module that a placeholder stands for; None for anything else."""
    info = value._info  # noqa: SLF001 - its description has no other door
    name = info.preview.removeprefix("module ")
    return None if info.type_name != "module" or name in {info.preview, "__main__"} else name


@dataclass(eq=False)
class Server:
    """A connected server.

    Attributes:
        name: what the user calls it.
        connection: the way to it.
        arguments: of the %rpc_connect that made it.
        ledger: what its session holds.
        anchors: the objects of here that variables held when the ledger noted them.
        surroundings: what is around the cells of its session, as far as it is known.
        reads: for variables that its session bound, the names that the cell that bound them read: the code behind them
            may refer to these.
        status: how it is.
        relay: passes the messages of its widgets on.
        progress: shows how far what is sent or fetched has come.
        ticket: the session's that the ledger speaks of.
        calls: what was run on it lately.
        view: the widget that shows all this, once there is one.
        is_here: it runs on this machine.
        is_strange: its session has variables that this notebook was never told of.
    """

    name: str
    connection: Connection
    arguments: tuple[Any, ...]
    status: Status
    relay: Relay
    ledger: Ledger = field(default_factory=Ledger)
    anchors: Anchors = field(default_factory=Anchors)
    surroundings: dict[str, Any] = field(default_factory=dict)
    reads: dict[str, frozenset[str]] = field(default_factory=dict)
    progress: Progress = field(default_factory=lambda: Progress("", "none"))
    ticket: str = ""
    calls: CallLog = field(default_factory=CallLog)
    view: Any = None
    is_here: bool = False
    is_strange: bool = False

    def __post_init__(self) -> None:
        self.is_here = is_on_this_machine(self.connection.attachment.welcome)
        self.ticket = self.connection.attachment.ticket.hex()

    def notice(self) -> None:
        """The connection may have changed: widgets of a session that has gone go too; any thread."""
        if self.connection.state in _GONE:
            self.relay.close()
        self.status.wake()

    def current_ticket(self) -> str:
        """Return the session's ticket; what was known of an earlier session is forgotten."""
        ticket = self.connection.attachment.ticket.hex()
        if ticket != self.ticket:
            self.ticket = ticket
            self.ledger.clear()
            self.reads.clear()
            self.surroundings.clear()
        return ticket

    def is_bound_anew(self, name: str, value: object) -> bool:
        """Tell whether a variable that the session has holds another object here than what the session has.

        Args:
            name: the variable's.
            value: what it holds here.
        """
        held = self.ledger.held(name)
        if type(value) is RemoteValue:
            return held is not None and address_of(value) != (self.ticket, f"={name}")
        return held is REMOTE or (held is not None and not self.anchors.is_noted(name, value))


class Registry:
    """Connected servers by name, the default one, and the placeholders that the notebook's magics made.

    Attributes:
        servers: by name, in the order in which they were connected.
        default: name of the one connected last.
        placed: placeholders that are fetched when they are mentioned, each with the object that it replaced, where that
            was changed in place there (None otherwise). A `RemoteValue` that the user made is not among them.
    """

    def __init__(self) -> None:
        self.servers: dict[str, Server] = {}
        self.default = ""
        self.placed: weakref.WeakKeyDictionary[RemoteValue, Any] = weakref.WeakKeyDictionary()
        self._told: set[str] = set()
        self._parts: dict[str, dict[str, None]] = {}
        self._groups: weakref.WeakKeyDictionary[RemoteValue, object] = weakref.WeakKeyDictionary()

    def add(self, server: Server) -> None:
        """Add a server; it becomes the default."""
        self.servers[server.name] = server
        self.default = server.name

    def remove(self, name: str) -> Server:
        """Remove a server; the one connected before it becomes the default."""
        server = self.servers.pop(name)
        if self.default == name:
            self.default = next(reversed(self.servers), "")
        return server

    def get(self, name: str | None) -> Server:
        """Return a server by name, the default one for None.

        Raises:
            UsageError: there is none.
        """
        if name is None:
            if not self.servers:
                raise UsageError(
                    "no server is connected; run %rpc_connect first (alone it starts one beside this kernel)"
                )
            return self.servers[self.default]
        server = self.servers.get(name)
        if server is None:
            known = ", ".join(self.servers) or "none"
            raise UsageError(
                f"no server is connected under the name {name!r} (connected: {known}); "
                f"%rpc_connect URL --name {name} connects one"
            )
        return server

    def group(self, values: Iterable[RemoteValue]) -> None:
        """Note that placeholders stand for one object: they are fetched together, so that it stays one."""
        mark = object()
        for value in values:
            self._groups[value] = mark

    def with_mates(self, wanted: dict[str, RemoteValue], namespace: dict[str, Any]) -> dict[str, RemoteValue]:
        """Return placeholders together with those that stand for the same objects."""
        marks = [mark for value in wanted.values() if (mark := self._groups.get(value)) is not None]
        if not marks:
            return wanted
        mates = {n: v for n, v in self.placeholders(namespace).items() if self._groups.get(v) in marks}
        return {**wanted, **mates}

    def tell_rebound(self, name: str, value: object) -> None:
        """Tell the user, once a variable, that a change made there could not be made in the object of here."""
        if name in self._told or isinstance(value, (MethodType, BuiltinMethodType)):
            return  # one method of an object is as good as another
        self._told.add(name)
        sys.stderr.write(
            f"rpc_magic: {name} was changed there and is bound anew here, because this {type(value).__name__} "
            "cannot be changed in place; what else refers to the old object keeps the old content\n"
        )

    def tell_stored(self, name: str) -> None:
        """Tell the user, once a function, that what it has stored is not shared."""
        if f"{name}()" in self._told:
            return
        self._told.add(f"{name}()")
        sys.stderr.write(
            f"rpc_magic: the results that {name} has stored (functools.lru_cache) do not travel: there it makes "
            "its own, which are other objects\n"
        )

    def owner(self, value: RemoteValue) -> Server | None:
        """Return the server on which a value is; None when its session is gone or was never this notebook's."""
        ticket, _ = address_of(value)
        for server in self.servers.values():
            if server.current_ticket() == ticket:
                return server
        return None

    def here_instead(self, name: str, value: RemoteValue) -> ModuleType:
        """Return what a variable holds when `owner` knows nobody who has its value: a module can be had here.

        Raises:
            RemoteValueError: it is no module, or there is none of that name here; the text says where it was.
        """
        module = self.module_of(value)
        if module is None:
            raise self._gone(name, value)
        return module

    def note_imports(self, cell: str) -> None:
        """Note which parts of packages a cell imports, wherever it runs: ``import a.b`` binds `a`, and means both."""
        for line in _IMPORT.findall(cell):
            for part in line.split(","):
                package, dot, _ = part.strip().partition(".")
                if dot and part.split()[1:] == []:
                    self._parts.setdefault(package, {})[part.strip()] = None

    def parts_of(self, module: ModuleType) -> list[str]:
        """Return the parts of a package that cells have imported."""
        return list(self._parts.get(module.__name__, ()))

    def module_of(self, value: RemoteValue) -> ModuleType | None:
        """Return the module that a placeholder stands for, imported here with those parts; None where it cannot be."""
        name = _module_named(value)
        if name is None:
            return None
        with contextlib.suppress(ImportError):
            module = importlib.import_module(name)
            for part in self._parts.get(name, ()):
                with contextlib.suppress(ImportError):
                    importlib.import_module(part)
            return module
        return None

    def module_here(self, value: RemoteValue) -> ModuleType | None:
        """Return the module that a placeholder stands for, where it is imported here already, with those parts."""
        name = _module_named(value)
        if name is None or not sys.modules.keys() >= self._parts.get(name, {}).keys():
            return None
        return sys.modules.get(name)

    def _gone(self, name: str, value: RemoteValue) -> RemoteValueError:
        """Return the error that says where a variable's value was."""
        attachment, where = connection_of(value).attachment, connection_of(value).name
        if where in self.servers:
            return RemoteValueError(
                f"{name} is gone: it was in a session on {where} that has ended. Make it anew: {value!r}"
            )
        if attachment.is_private:
            return RemoteValueError(
                f"{name} is gone: it was on {where}, which is disconnected, and its session has ended with that. "
                f"Make it anew: {value!r}"
            )
        return RemoteValueError(
            f"{name} is on {where}, which is disconnected: connect again with --session {attachment.session}. {value!r}"
        )

    def placeholders(self, namespace: dict[str, Any]) -> dict[str, RemoteValue]:
        """Return the names that hold a placeholder."""
        if not self.placed:
            return {}
        return {
            name: value
            for name, value in list(namespace.items())
            if type(value) is RemoteValue and value in self.placed
        }
