"""What `%load_ext rpc_magic` makes: one object a shell, which holds everything the magics use."""

from __future__ import annotations

import contextlib
import sys
from functools import partial
from typing import Any

from rpc_magic.client import Connection, connect
from rpc_magic.client.connecting import keep_token
from rpc_magic.client.typed import ask_token
from rpc_magic.errors import TokenMissingError
from rpc_magic.notebook.arguments import as_identifier
from rpc_magic.notebook.asking import Asking
from rpc_magic.notebook.background import Background
from rpc_magic.notebook.cells import Runner
from rpc_magic.notebook.config import Config
from rpc_magic.notebook.errors import TracebackHook, UsageError
from rpc_magic.notebook.leaving import is_leaving
from rpc_magic.notebook.mention import HIDDEN, Fetcher, Mentions
from rpc_magic.notebook.progress import BarKind, Progress
from rpc_magic.notebook.registry import Registry, Server
from rpc_magic.notebook.relay import Relay
from rpc_magic.notebook.render import Places, show_here
from rpc_magic.notebook.status import Status
from rpc_magic.notebook.watching import is_watched

__all__ = ["Extension"]


def _bars(shell: Any) -> BarKind:
    """Return where progress can be seen: on a page, in a terminal, or nowhere."""
    if is_watched(shell):
        return "notebook"
    return "text" if not hasattr(shell, "kernel") and sys.stderr.isatty() else "none"


class Extension:
    """The extension in one shell.

    Args:
        shell: IPython's shell.
    """

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        self.registry = Registry()
        for text in shell.user_ns.get("In", ()):
            self.registry.note_imports(str(text))
        self.config = Config()
        self.runner = Runner(shell, self.registry, self.config)
        self.background = Background(self.runner)
        self.fetcher = Fetcher(shell, self.registry, self.background)
        self.runner.bring = self.fetcher.bring
        self._mentions = Mentions(shell, self.registry, self.fetcher, self.background.bind_ended)
        self._hook = TracebackHook(shell)
        self._places = Places(shell)
        self._asking = Asking(shell, self.registry)
        self._asking.install()
        self._events = {"pre_run_cell": self._cell_begins, "post_run_cell": self._cell_ends}
        for event, function in self._events.items():
            shell.events.register(event, function)
        shell.ast_transformers.append(self._mentions)

    def close(self) -> None:
        """Close all connections and take everything away from the shell."""
        for name in list(self.registry.servers):
            self.disconnect(name)
        self._hook.remove()
        self._asking.remove()
        for event, function in self._events.items():
            with contextlib.suppress(ValueError):
                self.shell.events.unregister(event, function)
        self.runner.results.remove()
        with contextlib.suppress(ValueError):
            self.shell.ast_transformers.remove(self._mentions)
        for namespace in (self.shell.user_ns, self.shell.user_ns_hidden):
            namespace.pop(HIDDEN, None)

    def _cell_begins(self, info: Any = None) -> None:
        text = str(getattr(info, "raw_cell", ""))
        self.runner.surroundings.settle(text)
        self.registry.note_imports(text)
        for server in self.registry.servers.values():
            server.status.cell_begins()

    def _cell_ends(self, *_: Any) -> None:
        for server in self.registry.servers.values():
            server.status.cell_ends()
            server.anchors.prune(self.shell.user_ns)

    # ------------------------------------------------------------ servers

    def connect(
        self,
        url: str | None,
        *,
        name: str | None = None,
        session: str | None = None,
        token_file: str | None = None,
        take: bool = False,
        remember: bool = False,
    ) -> tuple[Server, bool]:
        """Connect, or keep a connection that was made with the same arguments and is well.

        Where no token is known, and somebody can be asked, it is asked for: at a terminal by `connect`, on a page here.

        Returns:
            The server, and whether it is new.

        Raises:
            UsageError: the name cannot be one, or a token is given for no server.
            RpcMagicError: no connection could be made.
        """
        if url is None and token_file is not None:
            raise UsageError(
                "--token-file is for a server that runs already: give its URL or its name as well"
            )
        arguments = (url, name, session, token_file)
        if name is not None:
            self._check_name(name)
        for server in self.registry.servers.values():
            if (
                server.arguments == arguments
                and server.connection.state in {"attached", "reconnecting"}
                and not take
            ):
                self.registry.default = server.name
                return server, False
        make = partial(connect, url, name=name, session=session, token_file=token_file, take=take)
        try:
            connection, missing = make(), None
        except TokenMissingError as error:
            missing = error
        if missing is not None:
            token = ask_token(missing.url, is_watched=True) if is_watched(self.shell) else None
            if token is None:
                raise missing
            connection = make(token=token)
        if remember or (missing is not None and missing.is_stale):
            keep_token(connection)
        for server in list(self.registry.servers.values()):
            if server.name == name or server.arguments == arguments:
                self.disconnect(server.name)
        return self._add(connection, name, arguments), True

    def _add(self, connection: Connection, name: str | None, arguments: tuple[Any, ...]) -> Server:
        if name is None:
            name = self._free_name(as_identifier(connection.name))
        connection.name = name
        connection.exchange.show = lambda message, _: show_here(self.shell, message)
        connection.exchange.place = self._places
        connection.exchange.is_leaving = partial(is_leaving, self.shell)
        progress = connection.exchange.watch = Progress(name, _bars(self.shell))
        server = Server(
            name, connection, arguments, Status(name, connection), Relay(connection), progress=progress
        )
        if getattr(self.shell, "kernel", None) is not None:
            connection.attachment.links.on_comm = server.relay.take
        connection.attachment.on_change = server.notice
        self.registry.add(server)
        return server

    def disconnect(self, name: str) -> None:
        """Leave a server; its alias magic goes."""
        server = self.registry.remove(name)
        magics = self.shell.magics_manager.magics
        for kind in ("line", "cell"):
            magics[kind].pop(name, None)
        server.relay.close()
        server.connection.close()
        server.status.end()

    def _is_magic(self, name: str) -> bool:
        return bool(self.shell.find_line_magic(name) or self.shell.find_cell_magic(name))

    def _check_name(self, name: str) -> None:
        if not name.isidentifier():
            raise UsageError(f"--name takes a name that is a Python identifier, as gpu; {name!r} is none")
        if name not in self.registry.servers and self._is_magic(name):
            raise UsageError(f"--name {name}: there is a magic %{name} already; choose another name")

    def _free_name(self, name: str) -> str:
        number, free = 1, name
        while free in self.registry.servers or self._is_magic(free):
            number += 1
            free = f"{name}_{number}"
        return free

    def restart(self, server: Server) -> None:
        """Give a session a fresh process; what was in it is gone, and its placeholders say so."""
        server.relay.close()
        server.connection.restart()
        server.current_ticket()
