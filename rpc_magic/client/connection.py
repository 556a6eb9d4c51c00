"""Connections: what a program holds to run code on a server."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from rpc_magic import serial
from rpc_magic.client.attachment import Attachment
from rpc_magic.client.calls import Call
from rpc_magic.client.events import Held
from rpc_magic.client.exchange import Exchange
from rpc_magic.client.functions import Functions
from rpc_magic.client.pool import Pool
from rpc_magic.client.results import Result, ServerInfo
from rpc_magic.client.running import Run, collect
from rpc_magic.client.values import RemoteValue, human_size
from rpc_magic.errors import RpcMagicError, TransferError
from rpc_magic.wire import control, messages
from rpc_magic.wire.handshake import Role

__all__ = ["Connection"]

OnOutput = Callable[[messages.Message], None]

_KEPT = 256 << 20
"""Bytes of what a cell has shown that its `Result` holds; of more, the middle is left out."""


def _shown() -> Held:
    return Held(_KEPT, f"a Result holds {human_size(_KEPT)} of what was shown")


class Connection:
    """A connection to a server and to a session on it; made by `connect`.

    Thread-safe. Calls of a session run one at a time, in the order in which they were made. After an error of
    the user's own code, and after Ctrl-C, the connection goes on working. It is a context manager that closes itself.

    Attributes:
        name: what it is called.
        functions: the exposed functions as attributes: ``conn.functions.add(2, 3)``.
        pool: a `concurrent.futures.Executor` on the server's engine.
        exchange: how its calls travel; a notebook puts its own `show` and `ask` there.
    """

    def __init__(self, attachment: Attachment, *, name: str = "", is_plain_only: bool = False) -> None:
        self._attachment = attachment
        self.exchange = Exchange(attachment, self.remote_value, is_plain_only=is_plain_only)
        self.name = name or attachment.welcome.name
        self.functions = Functions(self)
        self.pool = Pool(self)

    # ------------------------------------------------------------ functions

    def call(self, f: Callable[..., Any] | str, /, *args: Any, **kwargs: Any) -> Any:
        """Run a function there; return its value, or raise its exception.

        Args:
            f: a function, which runs in the session; or the name of one that the server exposes.
            *args: its arguments, any objects; a `RemoteValue` stands for the value itself.
            **kwargs: likewise.

        Raises:
            KeyboardInterrupt: the call was interrupted.
            UnknownFunctionError: no function of that name is exposed.
            TransferError: an argument, or the value, cannot travel.
            RemoteError: an exception there that could not arrive as its own class.
            SessionDiedError, ConnectionLostError: as they say.
        """
        return self.exchange.call(f, args, kwargs)

    def submit(self, f: Callable[..., Any] | str, /, *args: Any, **kwargs: Any) -> Call:
        """Run a function there without waiting; arguments and errors as `call`.

        Large arguments are sent before it returns: they may be changed afterwards.
        """
        return self.exchange.submit(f, args, kwargs)

    def map(
        self,
        f: Callable[..., Any],
        *iterables: Iterable[Any],
        chunksize: int | None = None,
        ordered: bool = True,
    ) -> Iterator[Any]:
        """Run a function on many arguments, in parallel on the server's engine.

        Args:
            f: the function; it does not see the session's variables.
            *iterables: its arguments, as for the built-in ``map``.
            chunksize: calls sent to a process at a time; None chooses.
            ordered: give results in the order of the arguments, else as they finish.

        Returns:
            An iterator of results. The first exception is raised where its result would have been.
        """
        return self.pool.run_map(f, iterables, chunksize=chunksize, ordered=ordered)

    def interact(self, f: Callable[..., Any] | None = None, /, **controls: Any) -> Any:
        """Show controls here for the arguments of a function that runs there, as ipywidgets' ``interact`` does.

        While a control moves, only its newest position is computed: a call for an older one is interrupted. What the
        function draws, prints and returns is shown as the session shows it; its value does not travel.

        Args:
            f: the function; without it, a decorator is returned.
            **controls: as for ``ipywidgets.interact``: ``(2013, 2023)`` is a slider, ``["a", "b"]`` a list to choose
                from, True a box to tick; a widget is itself.

        Returns:
            The function.

        Example::

            @conn.interact(year=(2013, 2023))
            def draw(year):
                table[table["year"] == year].plot()
        """
        if f is None:
            return lambda function: self.interact(function, **controls)
        if not callable(f):
            raise TypeError(f"what is explored must be a function, not {type(f).__name__}")
        # The package's root knows the notebook's side, which this layer must not.
        sys.modules["rpc_magic"]._show_controls(self, f, controls)  # noqa: SLF001 - of this package
        return f

    # ------------------------------------------------------------ cells and variables

    def run(
        self,
        source: str,
        *,
        inputs: Mapping[str, Any] | None = None,
        outputs: Iterable[str] | None = None,
        on_output: OnOutput | None = None,
        timeout: float | None = None,
    ) -> Result:
        """Run a cell's text in the session.

        Args:
            source: Python, IPython's magics included.
            inputs: variables to set first.
            outputs: names of variables to bring back.
            on_output: sees output as it comes; without it, streams go to ``sys.stdout`` and ``sys.stderr``. A cell
                that prints faster than this takes it is held up, until it is stopped: then the middle is left out.
            timeout: seconds after which the cell is interrupted; None for no limit.

        Raises:
            CallTimeoutError: the time is over.
            TypeError: an argument is not what it must be.
            Exception: the cell's own.
        """
        if not isinstance(source, str):
            raise TypeError(f"source is the text of a cell, not {type(source).__name__}")
        if isinstance(outputs, str):
            raise TypeError(f"outputs is a list of names; for one name write outputs=[{outputs!r}]")
        if inputs is not None and not isinstance(inputs, Mapping):
            raise TypeError(f"inputs is a mapping of names to values, not {type(inputs).__name__}")
        request = messages.RunCell(source, outputs=tuple(outputs or ()))
        run = self.run_cell(request, dict(inputs or {}), on_output, timeout)
        if run.error is not None:
            raise run.error
        return replace(run.result, outputs={**run.result.outputs, **run.kept})

    def run_cell(
        self,
        request: messages.RunCell,
        inputs: dict[str, Any],
        on_output: OnOutput | None = None,
        timeout: float | None = None,
        *,
        carry: bool = True,
        takes_over: serial.TakesOver = serial.by_origin,
        keep: bool = True,
    ) -> Run:
        """Run a cell as a notebook does; its exception is in what is returned.

        Args:
            request: the cell and what is to be reported of it.
            inputs: variables to set first.
            on_output: as in `run`.
            timeout: as in `run`.
            carry: functions among `inputs` take the globals they refer to with them.
            takes_over: tells of a class whether the session, where it has the class, takes over its attributes.
            keep: the result holds what the cell has shown.
        """
        buffers = (
            self.exchange.objects.encode_variables(inputs, carry=carry, takes_over=takes_over)
            if inputs
            else []
        )
        link = self._attachment.link(Role.DATA)
        shown = _shown()

        def show(message: messages.Message, parts: list[memoryview]) -> None:
            if keep:
                shown.add((message, []))
            if on_output is not None:
                on_output(message)
            else:
                self.exchange.show(message, parts)

        end = self.exchange.run(link, request, buffers, show=show, timeout=timeout)
        return collect(end, shown.take(), self, self.namespace, is_plain_only=self.exchange.is_plain_only)

    def left_calls(self) -> tuple[messages.CallInfo, ...]:
        """Return the calls of clients that have gone, which run, wait or have ended since, the oldest first."""
        found = self.exchange.ask_session(messages.ListCalls())
        return found.calls if isinstance(found, messages.CallList) else ()

    def left_result(
        self, number: int, on_output: OnOutput | None = None, timeout: float | None = None
    ) -> Any:
        """Wait for the end of such a call; return its value, or raise what it raised. It can be asked for once.

        Args:
            number: as `left_calls` tells it.
            on_output: sees what it has shown so far, and then what it shows.
            timeout: seconds after which it is interrupted; None for no limit.

        Raises:
            RpcMagicError: there is no such call.
            Exception: the call's own.
        """
        link = self._attachment.link(Role.DATA)
        shown = _shown()

        def show(message: messages.Message, parts: list[memoryview]) -> None:
            shown.add((message, []))
            if on_output is not None:
                on_output(message)
            else:
                self.exchange.show(message, parts)

        end = self.exchange.run(link, messages.Follow(number), show=show, timeout=timeout)
        if not isinstance(end.outcome, messages.CellDone):
            return self.exchange.value(end)
        run = collect(end, shown.take(), self, self.namespace, is_plain_only=self.exchange.is_plain_only)
        if run.error is not None:
            raise run.error
        return run.result.value

    def push(self, /, **values: Any) -> None:
        """Set variables of the session.

        Raises:
            TransferError: one of them cannot travel; none is set.
        """
        self.exchange.request(messages.Push(), self.exchange.objects.encode_variables(values))

    def pull(self, *names: str) -> Any:
        """Fetch variables of the session: one name gives its value, several a tuple in order.

        Raises:
            MissingNameError: one of them does not exist (a NameError).
            TransferError: one of them cannot travel, or not be loaded here; it stays in the session.
        """
        values = self.pull_all(names)
        return values[names[0]] if len(names) == 1 else tuple(values[name] for name in names)

    def pull_all(self, names: Iterable[str], *, carry: bool = True, mates: bool = False) -> Any:
        """Fetch variables as a dict; see `pull`. With `mates`, also those that share objects with them."""
        wanted = tuple(names)
        pull = messages.Pull(wanted, carry, mates)
        values = self.exchange.request(pull, what=", ".join(wanted)) if wanted else {}
        if isinstance(values, dict):
            return values
        # Together they are too much, or no plain data: each for itself, so that some come.
        if len(wanted) == 1:
            return {wanted[0]: values}
        return {name: self.pull_all((name,), carry=carry)[name] for name in wanted}

    def put(self, value: Any) -> RemoteValue:
        """Keep a value in the session; pass what is returned to any call without moving the data."""
        kept = self.exchange.request(messages.Put(), self.exchange.objects.encode(value, name="the value"))
        assert isinstance(kept, RemoteValue)
        return kept

    def fetch(self, value: RemoteValue) -> Any:
        """Fetch what a `RemoteValue` stands for; its `get()`."""
        _, (ticket, key) = value.__reduce__()
        if ticket != self._attachment.ticket.hex():
            raise RpcMagicError(f"this value went with its session: {value!r}")
        if key.startswith("="):
            return self.pull(key[1:])
        return self.exchange.request(messages.Get(key))

    def remote_value(self, info: messages.ValueInfo, name: str = "") -> RemoteValue:
        """Return what stands here for a value that stays there."""
        return RemoteValue(self, info, self._attachment.ticket.hex(), name)

    def drop_value(self, ticket: str, key: str) -> None:
        """Let the session forget a kept value: nobody here refers to it any more."""
        attachment = self._attachment
        if (
            attachment.state == "attached"
            and ticket == attachment.ticket.hex()
            and os.getpid() == attachment.io.pid
        ):

            def drop() -> None:
                attachment.drop(ticket, key)

            attachment.io.do(drop)

    def inspect(self, name: str, detail: int = 0) -> dict[str, str]:
        """Return what ``?`` shows for a name of the session, as MIME bundle; empty when it does not exist."""
        found = self.exchange.ask_session(messages.Inspect(name, detail))
        return found.data if isinstance(found, messages.Inspected) else {}

    def complete(self, text: str, cursor: int) -> list[str]:
        """Return the session's completions of `text` at `cursor`."""
        found = self.exchange.ask_session(messages.Complete(text, cursor))
        return list(found.matches) if isinstance(found, messages.Completions) else []

    # ------------------------------------------------------------ state

    @property
    def state(self) -> str:
        """One of "attached", "died", "lost", "closed"."""
        return self._attachment.state

    @property
    def attachment(self) -> Attachment:
        """The hold on the server that this connection stands on."""
        return self._attachment

    @property
    def namespace(self) -> dict[str, Any]:
        """This program's global namespace, whose counterpart is the session's."""
        return self.exchange.objects.namespace

    def interrupt(self) -> None:
        """Interrupt what runs in the session; its caller gets KeyboardInterrupt. Nothing happens when it is idle."""
        self._attachment.interrupt(0)

    def restart(self) -> None:
        """Give the session a fresh process; its variables are gone, calls that run or wait end."""
        self._attachment.restart()

    def close(self) -> None:
        """Leave the server; a private session ends. May be called more than once."""
        self._attachment.close()

    def info(self) -> ServerInfo:
        """Return what is known of the server and the session; asks the supervisor how the session is."""
        attachment, welcome = self._attachment, self._attachment.welcome
        state = {"died": "ended"}.get(attachment.state, attachment.state)
        if state == "attached":
            answer = attachment.control.ask_pong(attachment.timeout)
            state = answer.state if isinstance(answer, control.Pong) else "lost"
        sent, received = attachment.links.traffic
        return ServerInfo(
            url=attachment.url,
            name=welcome.name,
            session=attachment.session,
            state=state,
            supervisor_pid=welcome.pid,
            worker_pid=attachment.worker_pid,
            host=welcome.host,
            user=welcome.user,
            python=welcome.versions.get("python", ""),
            versions=dict(welcome.versions),
            bytes_sent=sent,
            bytes_received=received,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None, /
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        session = f", session {self._attachment.session!r}" if self._attachment.session else ""
        return f"<Connection {self.name!r} to {self._attachment.url}{session}: {self.state}>"

    def __reduce__(self) -> Any:
        raise TransferError(
            "", "rpc_magic.Connection", "a connection belongs to its process; connect() there"
        )
