"""The magics that connect and run; each reads its line, has the work done elsewhere, and shows what came of it."""

from __future__ import annotations

import sys
from typing import Any

from IPython.core.magic import Magics, magics_class, output_can_be_silenced

from rpc_magic.notebook.arguments import names_of, read_expression, read_line, seconds_of
from rpc_magic.notebook.cells import CellOptions
from rpc_magic.notebook.declaring import Argument, for_both, for_lines, plain_magic
from rpc_magic.notebook.errors import UsageError
from rpc_magic.notebook.extension import Extension
from rpc_magic.notebook.joining import join
from rpc_magic.notebook.registry import Server
from rpc_magic.notebook.watching import is_watched
from rpc_magic.notebook.widget import show_widget

__all__ = ["CallMagics"]


@magics_class
class CallMagics(Magics):  # type: ignore[misc]  # IPython is not typed here
    """%rpc_connect, %rpc_call and the alias magics.

    Args:
        shell: IPython's shell.
        extension: does the work.
    """

    def __init__(self, shell: Any, extension: Extension) -> None:
        super().__init__(shell)
        self._extension = extension

    @for_lines(
        Argument(
            "url", nargs="?", help="URL or name of a server; without it, a server beside this kernel is used"
        ),
        Argument(
            "--name", help="what to call the server: a Python identifier; also makes the magic %%%%NAME"
        ),
        Argument("--session", help="name of a session that outlives this kernel; without it, a private one"),
        Argument("--token-file", help="file that holds the server's token, mode 0600"),
        Argument(
            "--remember", action="store_true", help="keep the token, so that it need not be given again"
        ),
        Argument("--take", action="store_true", help="take the session over when another client holds it"),
        Argument("--no-widget", action="store_true", help="show the status as a line of text"),
    )
    def rpc_connect(self, line: str) -> None:
        """Connect to a server, on which %%rpc_call then runs cells.

        Several servers may be connected, each under its own name; the one connected last is the default. Run
        again with the same arguments, it keeps the connection. A server on another machine is remembered, with its
        name and the fingerprint of its certificate, and can be named from then on. Its token is asked for where it is
        not known; --remember keeps it in a file that only you can read.

        Examples::

            %rpc_connect
            %rpc_connect localhost:8000 --name gpu --session training
            %rpc_connect rpc://lab:8000/?fp=9f86d0... --name lab --remember
            %rpc_connect lab
        """
        arguments = read_line(self.rpc_connect, line)
        server, is_new = self._extension.connect(
            arguments.url,
            name=arguments.name,
            session=arguments.session,
            token_file=arguments.token_file,
            take=arguments.take,
            remember=arguments.remember,
        )
        if is_new:
            self._add_alias(server.name)
        self._show(server, is_text=arguments.no_widget)
        attachment = server.connection.attachment
        if is_new and attachment.died:
            sys.stdout.write(
                f"{server.name}: the session {attachment.session} has died ({attachment.died}) and begins anew; "
                "its variables are gone\n"
            )
        if is_new and (
            attachment.kept is not None or (arguments.session and (attachment.died or not attachment.is_new))
        ):
            for left in server.connection.left_calls():
                sys.stdout.write(
                    f"{server.name}: {left.state}: {left.label}  (%rpc_result {left.number} -s {server.name})\n"
                )
            server.is_strange = self._extension.config.auto
            join(self.shell, server, self._extension.registry)

    def _show(self, server: Server, *, is_text: bool) -> None:
        if is_text or not is_watched(self.shell) or not show_widget(self._extension, server):
            sys.stdout.write(f"{server.status.ask()}\n")

    # ------------------------------------------------------------ calls

    @for_both(
        Argument(
            "-s", "--server", metavar="NAME", help="where to run it; without it, on the server connected last"
        ),
        Argument(
            "-i", "--input", metavar="a,b", help="variables to send; without it, those that the cell reads"
        ),
        Argument(
            "-o", "--output", metavar="x,y", help="variables to bring back; without it, those it changes"
        ),
        Argument(
            "--noblock", action="store_true", help="return a live Call at once; %%rpc_result gives its result"
        ),
        Argument(
            "--timeout", metavar="SEC", help="interrupt the cell after so many seconds; without it, never"
        ),
        Argument("--local", action="store_true", help="run the cell here as well"),
    )
    def rpc_call(self, line: str, cell: str | None = None) -> Any:
        """Run this cell, or one expression, on a server.

        The variables and functions that the cell reads are sent, what it binds or changes is here when a later
        cell mentions it, and what it prints, shows, returns or raises appears as if it had run here.

        As a line magic it takes only -s, and an expression, and returns the expression's value; ``--`` before the
        expression ends the options.

        Examples::

            %%rpc_call -s gpu
            model = train(table)

            score = %rpc_call evaluate(model)
        """
        if cell is None:
            name, expression = read_expression(line)
            return self._expression(name, expression)
        return self._cell(read_line(self.rpc_call, line), cell)

    def _expression(self, name: str | None, expression: str) -> Any:
        server = self._extension.registry.get(name)
        return self._extension.runner.run_expression(server, expression.rstrip().removesuffix(";"))

    def _cell(self, arguments: Any, cell: str) -> Any:
        server = self._extension.registry.get(arguments.server)
        options = CellOptions(
            inputs=names_of(arguments.input, "-i"),
            outputs=names_of(arguments.output, "-o"),
            timeout=seconds_of(arguments.timeout),
        )
        if arguments.noblock:
            if options.timeout is not None or arguments.local:
                raise UsageError("--noblock goes neither with --timeout nor with --local")
            return self._extension.background.run(server, cell, options)
        value = self._extension.runner.run_cell(server, cell, options)
        if arguments.local:
            self._run_here(cell)
        return value

    def _run_here(self, cell: str) -> None:
        """Run a cell here; its error, which IPython has shown by then, fails the cell around it as well."""
        result = self.shell.run_cell(cell)
        error = result.error_before_exec or result.error_in_exec
        if error is not None:
            error._render_traceback_ = list
            raise error

    def _add_alias(self, name: str) -> None:
        """Make the magic %%NAME of a connected server."""

        def alias(line: str, cell: str | None = None) -> Any:
            if cell is None:
                if not line.strip():
                    raise UsageError(f"%{name} needs an expression, as: y = %{name} f(x)")
                _, expression = read_expression(line)
                return self._expression(name, expression)
            arguments = read_line(self.rpc_call, line)
            if arguments.server not in {None, name}:
                raise UsageError(f"%%{name} runs on {name}; use %%rpc_call -s {arguments.server}")
            arguments.server = name
            return self._cell(arguments, cell)

        alias.__name__ = name
        alias.__doc__ = (
            f"Run this cell, or one expression, on the server {name}: %%{name} is %%rpc_call -s {name}, and takes the "
            f"same options.\n\nExample::\n\n    %%{name}\n    model = train(table)\n"
        )
        self.shell.register_magic_function(output_can_be_silenced(plain_magic(alias)), "line_cell", name)
