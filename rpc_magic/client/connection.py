"""Connections: what a program holds to run code on a server."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from rpc_magic import serial
from rpc_magic.client.attachment import Attachment
from rpc_magic.client.calls import Call, Waiter
from rpc_magic.client.functions import Functions
from rpc_magic.client.link import Link
from rpc_magic.client.locating import embedded, has_ended, locate
from rpc_magic.client.outcomes import exception_of, value_of
from rpc_magic.client.pool import Pool
from rpc_magic.client.results import Result, ServerInfo
from rpc_magic.client.running import Run, collect
from rpc_magic.client.showing import answer_prompt, show_plainly
from rpc_magic.client.values import RemoteValue
from rpc_magic.client.waiting import End, Hooks, wait_for
from rpc_magic.errors import ConnectError, ConnectionLostError, RpcMagicError, TransferError, UnknownFunctionError
from rpc_magic.wire import control, messages
from rpc_magic.wire.frames import Buffer
from rpc_magic.wire.handshake import Role

__all__ = ["Connection", "connect"]

Show = Callable[[messages.Message], None]
_DYING_SECONDS = 0.5
"""How long a killed process takes to be gone, at most."""


def connect(
    url: str | None = None,
    *,
    token: str | bytes | None = None,
    token_file: str | os.PathLike[str] | None = None,
    session: str | None = None,
    name: str | None = None,
    results: str = "any",
    timeout: float = 10.0,
    take: bool = False,
) -> Connection:
    """Connect to a server.

    Args:
        url: ``localhost:8000``, ``tcp://127.0.0.1:8000``, ``unix:///path.sock``, or the name of a server on this
            machine. None takes an embedded server: another process on this machine, one for each client process,
            shared by its connections and ended with it.
        token: 64 hexadecimal digits. For servers of this user on this machine it is found by itself.
        token_file: a file that holds the token, mode 0600.
        session: name of a session that outlives the connection; None for a private one, which ends with it.
        name: what to call the connection; None takes the server's name.
        results: "any", or "data": values other than plain data, numpy arrays and Arrow tables are not loaded but
            stay on the server, so that the server cannot run code here.
        timeout: seconds to connect.
        take: take the session over when another client holds it.

    Raises:
        ConnectError: no server there, or it would not have us.
        AuthenticationError: the token is missing or wrong.
        SessionInUseError: another client holds the session.
    """
    if results not in {"any", "data"}:
        raise ValueError(f"results must be 'any' or 'data', not {results!r}")
    place = embedded(timeout) if url is None else locate(url, token, token_file)

    def attach() -> Attachment:
        return Attachment(
            place,
            session or "",
            take=take,
            is_plain_only=results == "data",
            timeout=timeout,
            on_stray=_show_stray,
        )

    try:
        attachment = attach()
    except (ConnectError, ConnectionLostError):
        # An embedded server that was killed a moment ago may still seem to run.
        if url is not None or not has_ended(_DYING_SECONDS):
            raise
        place = embedded(timeout)
        attachment = attach()
    return Connection(
        attachment,
        name=name or ("local" if url is None else ""),
        is_plain_only=results == "data",
    )


def _show_stray(_: int, message: messages.Message, __: list[memoryview]) -> None:
    show_plainly(message)


class Connection:
    """A connection to a server and to a session on it; made by `connect`.

    Thread-safe. Calls of a session run one at a time, in the order in which they were made. After an error of
    the user's own code, and after Ctrl-C, the connection goes on working. It is a context manager that closes itself.

    Attributes:
        name: what it is called.
        functions: the exposed functions as attributes: ``conn.functions.add(2, 3)``.
        pool: a `concurrent.futures.Executor` on the server's engine.
        show: takes what calls show while they are waited for; a notebook puts its own here.
        ask: takes a call's prompts; likewise.
    """

    def __init__(self, attachment: Attachment, *, name: str = "", is_plain_only: bool = False) -> None:
        self._attachment = attachment
        self._is_plain_only = is_plain_only
        self._digests = serial.FunctionDigests(code=attachment.code)
        self._requests: dict[bytes, messages.CallFunction] = {}
        self.name = name or attachment.welcome.name
        self.functions = Functions(self)
        self.pool = Pool(self)
        self.show: Callable[[messages.Message, list[memoryview]], None] = lambda message, _: show_plainly(
            message
        )
        self.ask = answer_prompt

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
        link = self._link_for(f)
        end = self.exchange(link, *self._call_request(link, f, args, kwargs))
        if isinstance(end.outcome, messages.NeedFunction):
            link.known.discard(end.outcome.digest)
            return self.call(f, *args, **kwargs)
        return self._value(end)

    def submit(self, f: Callable[..., Any] | str, /, *args: Any, **kwargs: Any) -> Call:
        """Run a function there without waiting; arguments and errors as `call`.

        Large arguments are sent before it returns: they may be changed afterwards.
        """
        label = f if isinstance(f, str) else getattr(f, "__name__", repr(f))
        link = self._link_for(f)
        call = Call(
            label,
            lambda outcome, buffers: self._value(End(outcome, buffers), is_future=True),
            lambda message, buffers: self._show_background(link, call.id, message, buffers),
            lambda number: self._stop(link, number),
        )
        request, buffers = self._call_request(link, f, args, kwargs)
        link.start(call, request, buffers, wait=True)
        return call

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

    # ------------------------------------------------------------ cells and variables

    def run(
        self,
        source: str,
        *,
        inputs: Mapping[str, Any] | None = None,
        outputs: Iterable[str] | None = None,
        on_output: Show | None = None,
        timeout: float | None = None,
    ) -> Result:
        """Run a cell's text in the session.

        Args:
            source: Python, IPython's magics included.
            inputs: variables to set first.
            outputs: names of variables to bring back.
            on_output: sees output as it comes; without it, streams go to ``sys.stdout`` and ``sys.stderr``.
            timeout: seconds after which the cell is interrupted; None for no limit.

        Raises:
            CallTimeoutError: the time is over.
            Exception: the cell's own.
        """
        request = messages.RunCell(source, outputs=tuple(outputs or ()))
        run = self.run_cell(request, dict(inputs or {}), on_output, timeout)
        if run.error is not None:
            raise run.error
        return run.result

    def run_cell(
        self,
        request: messages.RunCell,
        inputs: dict[str, Any],
        on_output: Show | None = None,
        timeout: float | None = None,
        *,
        carry: bool = True,
    ) -> Run:
        """Run a cell as a notebook does; its exception is in what is returned.

        Args:
            request: the cell and what is to be reported of it.
            inputs: variables to set first.
            on_output: as in `run`.
            timeout: as in `run`.
            carry: functions among `inputs` take the globals they refer to with them.
        """
        buffers = self._encode_variables(inputs, carry=carry) if inputs else []
        link = self._attachment.link(Role.DATA)
        shown: list[messages.Message] = []

        def show(message: messages.Message, parts: list[memoryview]) -> None:
            shown.append(message)
            if on_output is not None:
                on_output(message)
            else:
                self.show(message, parts)

        end = self.exchange(link, request, buffers, show=show, timeout=timeout)
        return collect(end, shown, self, self.namespace, is_plain_only=self._is_plain_only)

    def push(self, /, **values: Any) -> None:
        """Set variables of the session.

        Raises:
            TransferError: one of them cannot travel; none is set.
        """
        self._request(messages.Push(), self._encode_variables(values))

    def pull(self, *names: str) -> Any:
        """Fetch variables of the session: one name gives its value, several a tuple in order.

        Raises:
            MissingNameError: one of them does not exist (a NameError).
            TransferError: one of them cannot travel; it stays in the session.
        """
        values = self.pull_all(names)
        if not isinstance(values, dict):
            return values
        return values[names[0]] if len(names) == 1 else tuple(values[name] for name in names)

    def pull_all(self, names: Iterable[str], *, carry: bool = True) -> Any:
        """Fetch variables of the session as a dict; see `pull`."""
        wanted = tuple(names)
        return self._request(messages.Pull(wanted, carry)) if wanted else {}

    def put(self, value: Any) -> RemoteValue:
        """Keep a value in the session; pass what is returned to any call without moving the data."""
        kept = self._request(messages.Put(), self.encode(value, name="the value"))
        assert isinstance(kept, RemoteValue)
        return kept

    def fetch(self, value: RemoteValue) -> Any:
        """Fetch what a `RemoteValue` stands for; its `get()`."""
        _, (ticket, key) = value.__reduce__()
        if ticket != self._attachment.ticket.hex():
            raise RpcMagicError(f"this value went with its session: {value!r}")
        if key.startswith("="):
            return self.pull(key[1:])
        return self._request(messages.Get(key))

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
        found = self._ask_session(messages.Inspect(name, detail))
        return found.data if isinstance(found, messages.Inspected) else {}

    def complete(self, text: str, cursor: int) -> list[str]:
        """Return the session's completions of `text` at `cursor`."""
        found = self._ask_session(messages.Complete(text, cursor))
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
        return sys.modules["__main__"].__dict__

    def interrupt(self) -> None:
        """Interrupt what runs in the session; its caller gets KeyboardInterrupt. Nothing happens when it is idle."""
        self._attachment.control.say(control.Interrupt(0))

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
        sent, received = attachment.traffic()
        return ServerInfo(
            url=welcome.url,
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

    # ------------------------------------------------------------ inside

    def _link_for(self, f: Callable[..., Any] | str) -> Link:
        if not isinstance(f, str):
            return self._attachment.link(Role.DATA)
        if not self._attachment.welcome.has_functions:
            raise UnknownFunctionError(f)
        return self._attachment.link(Role.FUNCTIONS)

    def _call_request(
        self, link: Link, f: Callable[..., Any] | str, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[messages.Message, Sequence[Buffer]]:
        """Return the request that calls `f`, and its objects."""
        if isinstance(f, str):
            is_plain = self._attachment.welcome.plain_arguments
            encode = serial.encode_plain if is_plain else serial.encode
            request = messages.CallExposed(f, is_plain, self._is_plain_only)
            return request, encode((args, kwargs), name="the arguments")
        _, known = self.define(link, f)
        return known, self.encode((args, kwargs), name="the arguments") if args or kwargs else ()

    def define(self, link: Link, f: Callable[..., Any]) -> tuple[bytes, messages.CallFunction]:
        """Make sure that the other side of `link` knows a function in its present state; return its name there."""
        if not callable(f):
            raise TypeError(f"a function is called, not a {type(f).__name__}")
        digest, encoded = self._digests.digest(f, self.namespace)
        if digest not in link.known:
            if encoded is None:
                name = getattr(f, "__name__", "the function")
                encoded = self.encode(f, name=name)
            link.send(0, messages.DefineFunction(digest), encoded)
            link.known.add(digest)
        request = self._requests.get(digest)
        if request is None:
            request = self._requests[digest] = messages.CallFunction(digest)
        return digest, request

    def exchange(
        self,
        link: Link,
        request: messages.Message,
        buffers: Sequence[Buffer] = (),
        *,
        show: Callable[[messages.Message, list[memoryview]], None] | None = None,
        timeout: float | None = None,
    ) -> End:
        """Send a request and wait for its end; see `rpc_magic.client.waiting.wait_for`."""
        if self._attachment.io.is_current:
            raise RpcMagicError(
                "a callback of a Call must not make blocking calls on the same connection: use submit()"
            )
        waiter = Waiter()

        def hooks() -> Hooks:
            return Hooks(
                show or self.show,
                lambda reply: link.send(waiter.call, reply),
                self.ask,
                lambda: self._stop(link, waiter.call),
                lambda: link.abandon(waiter.call),
            )

        is_stopped = False
        try:
            link.start(waiter, request, buffers, lead=timeout is None)
        except KeyboardInterrupt:
            if not waiter.call:
                raise
            is_stopped = True
        return wait_for(waiter, hooks, timeout, is_stopped=is_stopped)

    def _request(self, message: messages.Message, buffers: list[Buffer] | tuple[()] = ()) -> Any:
        return self._value(self.exchange(self._attachment.link(Role.DATA), message, buffers))

    def _ask_session(self, message: messages.Message) -> messages.Outcome:
        return self.exchange(self._attachment.link(Role.DATA), message).outcome

    def _value(self, end: End, *, is_future: bool = False) -> Any:
        outcome, buffers = end
        if isinstance(outcome, messages.Returned) and not outcome.plain and not self._is_plain_only:
            return serial.decode(buffers, namespace=self.namespace) if buffers else None
        if isinstance(outcome, messages.Kept):
            return self.remote_value(outcome.info)
        if isinstance(outcome, messages.Failed):
            raise exception_of(
                outcome.error, buffers, self.namespace, is_future=is_future, is_plain_only=self._is_plain_only
            )
        if isinstance(outcome, messages.NeedFunction):
            raise ConnectionLostError(self._attachment.url, "the session forgot a function; call again")
        return value_of(outcome, buffers, self.namespace, is_plain_only=self._is_plain_only)

    def encode(self, value: object, *, carry: bool = True, name: str = "") -> list[Buffer]:
        """Encode an object for the session; see `rpc_magic.serial.encode`."""
        code = self._attachment.code
        return serial.encode(value, namespace=self.namespace, carry=carry, name=name, code=code)

    def _encode_variables(self, values: dict[str, Any], *, carry: bool = True) -> list[Buffer]:
        """Encode variables together, so that what they share stays shared; name the one that cannot travel."""
        try:
            return self.encode(values, carry=carry)
        except TransferError:
            for name, value in values.items():
                self.encode(value, carry=carry, name=name)
            raise

    def _stop(self, link: Link, number: int) -> None:
        """End a call: take it out of the queue there, or interrupt it when it runs."""
        with contextlib.suppress(RpcMagicError):
            link.send(0, messages.CancelCall(number))
            self._attachment.control.say(control.Interrupt(number))

    def _show_background(
        self, link: Link, number: int, message: messages.Message, buffers: list[memoryview]
    ) -> None:
        """Show what a call shows that nobody waits for; nobody can be asked anything."""
        if isinstance(message, messages.InputRequest):
            link.send(number, messages.InputReply("", "a background call cannot ask"))
        else:
            self.show(message, buffers)
