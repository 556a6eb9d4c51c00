"""The magics that look after servers, sessions and variables."""

from __future__ import annotations

import sys
from typing import Any

from IPython.core.magic import Magics, magics_class

from rpc_magic.client.running import Run
from rpc_magic.errors import RpcMagicError
from rpc_magic.notebook.arguments import read_command, read_line
from rpc_magic.notebook.binding import bind
from rpc_magic.notebook.declaring import SERVER, SERVER_NAME, Argument, for_lines
from rpc_magic.notebook.errors import SERVER as FROM
from rpc_magic.notebook.errors import UsageError
from rpc_magic.notebook.extension import Extension
from rpc_magic.notebook.joining import join
from rpc_magic.notebook.moving import fetch, send
from rpc_magic.notebook.registry import Server
from rpc_magic.notebook.render import show_here
from rpc_magic.notebook.watching import is_watched
from rpc_magic.notebook.widget import show_widget
from rpc_magic.runtime.addresses import short_url
from rpc_magic.wire import control, messages

__all__ = ["ServerMagics"]


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


@magics_class
class ServerMagics(Magics):  # type: ignore[misc]  # IPython is not typed here
    """Status, interrupt, restart, disconnect; push, pull, functions, results, settings.

    Args:
        shell: IPython's shell.
        extension: does the work.
    """

    def __init__(self, shell: Any, extension: Extension) -> None:
        super().__init__(shell)
        self._extension = extension

    def _server(self, arguments: Any) -> Server:
        return self._extension.registry.get(getattr(arguments, "name", None) or arguments.server)

    # ------------------------------------------------------------ servers

    @for_lines()
    def rpc_status(self, line: str) -> None:
        """Show how each connected server is, as its supervisor says; it answers while the session computes.

        In a notebook this is the widget that %rpc_connect shows; elsewhere a line of text for each server.

        Example::

            %rpc_status
        """
        if line.strip():
            raise UsageError("%rpc_status takes no arguments; it tells of all connected servers")
        servers = self._extension.registry.servers
        if not servers:
            _say("No server is connected; %rpc_connect connects one.")
        for server in servers.values():
            if not is_watched(self.shell) or not show_widget(self._extension, server):
                _say(str(server.status.ask()))

    @for_lines(SERVER_NAME, SERVER)
    def rpc_disconnect(self, line: str) -> None:
        """Leave a server. A private session ends with that; a named one lives on.

        Example::

            %rpc_disconnect gpu
        """
        server = self._server(read_line(self.rpc_disconnect, line))
        self._extension.disconnect(server.name)
        _say(f"{server.name}: disconnected")

    @for_lines(SERVER_NAME, SERVER)
    def rpc_interrupt(self, line: str) -> None:
        """Interrupt what runs in a session, as Stop does; for cells that were started with --noblock.

        Where the code has not reacted to that for 5 seconds, a second %rpc_interrupt ends the session.

        Example::

            %rpc_interrupt
        """
        server = self._server(read_line(self.rpc_interrupt, line))
        if server.status.stop().is_deaf:
            _say(
                f"{server.name}: the code did not react to an interrupt, so its session is ended; %rpc_restart"
            )

    @for_lines(SERVER_NAME, SERVER)
    def rpc_debug(self, line: str) -> None:
        """Look at the frames of a remote error with the debugger, where it happened.

        Without a name it goes where the last error came from. Its prompt appears here; ``q`` leaves it.

        Example::

            %rpc_debug
        """
        arguments = read_line(self.rpc_debug, line)
        if arguments.name is None and arguments.server is None:
            arguments.name = getattr(getattr(sys, "last_value", None), FROM, None)
        server = self._server(arguments)
        run = server.connection.run_cell(
            messages.RunCell("get_ipython().debugger(force=True)", expression=True),
            {},
            lambda message: show_here(self.shell, message),
        )
        if run.error is not None:
            raise run.error

    @for_lines(SERVER_NAME, SERVER)
    def rpc_restart(self, line: str) -> None:
        """Give a session a fresh process. Its variables are gone; the next cell sends again what it needs.

        Example::

            %rpc_restart gpu
        """
        server = self._server(read_line(self.rpc_restart, line))
        self._extension.restart(server)
        _say(f"{server.name}: restarted")

    @for_lines(SERVER_NAME, SERVER)
    def rpc_sessions(self, line: str) -> None:
        """List the sessions of a server.

        Example::

            %rpc_sessions
        """
        server = self._server(read_line(self.rpc_sessions, line))
        attachment = server.connection.attachment
        answer = attachment.control.ask(control.ListSessions(), control.Sessions, attachment.timeout)
        if not isinstance(answer, control.Sessions):
            raise UsageError(f"{server.name} tells no sessions: {answer.reason}")
        for one in answer.sessions:
            mark = " (this one)" if one.name == attachment.session else ""
            held = f"held by {one.client}" if one.client else "no client"
            if one.state == "died":
                _say(
                    f"{one.name}: died {one.age:.0f} s ago ({one.cause}); %rpc_connect {short_url(attachment.url)} "
                    f"--session {one.name} tells what can still be read"
                )
                continue
            _say(f"{one.name}{mark}: {one.state}, process {one.pid}, {one.age:.0f} s old, {held}")
        for left in server.connection.left_calls() if attachment.state != "died" else ():
            ask = f"%rpc_result {left.number} -s {server.name}"
            _say(f"  left by an earlier client, {left.state}: {left.label}  ({ask})")

    # ------------------------------------------------------------ variables

    @for_lines(Argument("names", nargs="+", help="variables, separated by commas or spaces"), SERVER)
    def rpc_push(self, line: str) -> None:
        """Send variables to a session now, whether a cell reads them or not.

        Example::

            %rpc_push table, settings
        """
        arguments = read_line(self.rpc_push, line)
        server = self._server(arguments)
        send(_names(arguments.names), self.shell.user_ns, server, self._extension.registry)

    @for_lines(Argument("names", nargs="+", help="variables, separated by commas or spaces"), SERVER)
    def rpc_pull(self, line: str) -> None:
        """Fetch variables of a session and bind them here.

        Example::

            %rpc_pull model, score
        """
        arguments = read_line(self.rpc_pull, line)
        server = self._server(arguments)
        fetch(_names(arguments.names), self.shell, server, self._extension.registry)

    @for_lines(Argument("file", help="a file on the server's machine"), SERVER)
    def rpc_save(self, line: str) -> None:
        """Save a session's variables to a file where it runs; what cannot be kept is told, the rest is kept.

        Example::

            %rpc_save monday.session
        """
        arguments = read_line(self.rpc_save, line)
        kept, left = self._checkpoint(self._server(arguments), "save", arguments.file).result.value
        _say(f"saved to {arguments.file}: {', '.join(kept) or 'nothing'}")
        for name, reason in left.items():
            _say(f"not saved: {name}: {reason}")

    @for_lines(Argument("file", help="a file on the server's machine, written by %rpc_save"), SERVER)
    def rpc_load(self, line: str) -> None:
        """Set a session's variables from a file that %rpc_save has written, as a cell would that binds them.

        It runs code that the file names.

        Example::

            %rpc_load monday.session
        """
        arguments = read_line(self.rpc_load, line)
        server = self._server(arguments)
        run = self._checkpoint(server, "load", arguments.file)
        for name in run.result.value:
            server.ledger.forget(name)
        bind(run, self.shell.user_ns, server, self._extension.registry, reads=frozenset())
        _say(f"loaded: {', '.join(run.result.value) or 'nothing'}")

    def _checkpoint(self, server: Server, deed: str, file: str) -> Run:
        source = f"__import__('rpc_magic.worker.checkpoints', fromlist=['{deed}']).{deed}({file!r})"
        run = server.connection.run_cell(
            messages.RunCell(source, automatic=True, expression=True),
            {},
            lambda message: show_here(self.shell, message),
        )
        if isinstance(run.error, RpcMagicError):
            # The file cannot be used; where in the session that was found tells nothing.
            raise RpcMagicError(f"on {server.name}, {run.error}")
        if run.error is not None:
            raise run.error
        return run

    # ------------------------------------------------------------ the rest

    @for_lines()
    def rpc_pip(self, line: str) -> None:
        """Run pip where a session runs, with its Python: ``%rpc_pip [-s NAME] install LIBRARY ...``.

        What is installed can be imported at once; a library that is imported already is the new one in the next
        session (``%rpc_restart``).

        Examples::

            %rpc_pip install polars
            %rpc_pip -s gpu install "scikit-learn>=1.5"
        """
        name, arguments = read_command(line, "pip", "%rpc_pip install polars")
        server = self._extension.registry.get(name)
        source = f"__import__('rpc_magic.worker.packages', fromlist=['pip']).pip({arguments!r})"
        run = server.connection.run_cell(
            messages.RunCell(source, expression=True), {}, lambda message: show_here(self.shell, message)
        )
        if run.error is not None:
            raise run.error
        if run.result.value:
            raise UsageError(f"pip ended with status {run.result.value} on {server.name}; it says why above")

    @for_lines(SERVER)
    def rpc_functions(self, line: str) -> None:
        """List the functions that a server exposes; call them as ``conn.functions.NAME(...)``.

        Example::

            %rpc_functions
        """
        server = self._server(read_line(self.rpc_functions, line))
        functions = server.connection.functions.all()
        if not functions:
            _say(f"{server.name} exposes no functions.")
        for name, function in functions.items():
            doc = (function.__doc__ or "").strip().partition("\n")[0]
            _say(f"{name}{function.__signature__ or '(...)'}" + (f"  # {doc}" if doc else ""))

    @for_lines(Argument("id", nargs="?", help="number of the call; without it, the latest"), SERVER)
    def rpc_result(self, line: str) -> Any:
        """Wait for a cell that was started with --noblock; return its value or raise what it raised.

        A cell that an earlier kernel has left in the session is asked for likewise: what it has shown comes first.
        %rpc_sessions lists these; with --server a number is one of theirs, else one of this notebook's own first.

        Examples::

            %rpc_result 12
            %rpc_result 1 --server gpu
        """
        arguments = read_line(self.rpc_result, line)
        text = arguments.id
        if text is not None and not text.isdecimal():
            raise UsageError(f"%rpc_result takes the number that a Call shows, not {text!r}")
        number = None if text is None else int(text)
        calls = self._extension.background.calls
        is_own = number in calls if number is not None else bool(calls)
        if self._extension.registry.servers and (arguments.server is not None or not is_own):
            server = self._server(arguments)
            left = [one for one in server.connection.left_calls() if number in {None, one.number}]
            if left:
                try:
                    return server.connection.left_result(left[-1].number)
                finally:
                    join(self.shell, server, self._extension.registry)
        return self._extension.background.get(number).lazy_result()

    @for_lines(
        Argument("key", nargs="?", help="a setting; without it, all are shown"),
        Argument("value", nargs="?", help="its new value; without it, it is shown"),
    )
    def rpc_config(self, line: str) -> None:
        """Show or change settings of this notebook.

        ``auto`` (on): variables travel by themselves; off leaves it to -i and -o. ``eager`` (1 MiB): plain values up
        to this size come back at once, everything else when a local cell mentions it. ``upload_warning`` (100 MB):
        above this size of what one cell sends, the size is said first. ``output_lines`` (10000), ``output_size``
        (10 MB): so much of what a cell prints is shown, and a tenth as much of its end; what is left out in between
        is counted; 0 shows all. Sizes are written as 500kB, 250MB, 1.5GB or
        a number of bytes.

        Examples::

            %rpc_config
            %rpc_config eager
            %rpc_config eager 20MB
            %rpc_config upload_warning 1GB
            %rpc_config auto off
        """
        arguments = read_line(self.rpc_config, line)
        config = self._extension.config
        if arguments.value is not None:
            config.set(arguments.key, arguments.value)
        else:
            _say(config.show(arguments.key or ""))


def _names(words: list[str]) -> list[str]:
    names = [name for word in words for name in word.split(",") if name]
    for name in names:
        if not name.isidentifier():
            raise UsageError(f"{name!r} is no name of a variable; give names, as: %rpc_push a, b")
    return names
