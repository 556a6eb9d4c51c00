"""Requests on a connection's links: functions are made known, calls started and waited for, outcomes become values.

This is the part of a `Connection` that knows how a call travels; the connection itself is what users hold.
"""

from __future__ import annotations

import contextlib
import functools
import queue
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from rpc_magic import serial
from rpc_magic.client.attachment import Attachment
from rpc_magic.client.calls import Call, ShownCall, Waiter
from rpc_magic.client.link import Link
from rpc_magic.client.listener import Transfer
from rpc_magic.client.loading import load
from rpc_magic.client.objects import Objects
from rpc_magic.client.outcomes import exception_of, value_of
from rpc_magic.client.showing import answer_prompt, show_plainly
from rpc_magic.client.values import RemoteValue
from rpc_magic.client.waiting import End, Hooks, wait_for
from rpc_magic.errors import ConnectionLostError, RpcMagicError, UnknownFunctionError
from rpc_magic.settings import ClientSettings
from rpc_magic.wire import messages
from rpc_magic.wire.frames import Buffer
from rpc_magic.wire.handshake import Role

__all__ = ["Exchange", "Show"]

Show = Callable[[messages.Message, list[memoryview]], None]

_PLACES = 10_000
"""Calls of which it is known where their output goes; threads of older ones write where the present call does."""


def _look(link: Link, waiter: Waiter, watch: Callable[[Transfer | None], None]) -> None:
    watch(link.transfer(waiter.call))


class Exchange:
    """See the module's text. Thread-safe.

    Args:
        attachment: the hold on the server.
        is_plain_only: decode nothing but plain data.
        remote_value: makes what stands here for a value that stays there.

    Attributes:
        objects: encodes what is sent.
        show: takes what calls show while they are waited for.
        ask: takes a call's prompts.
        place: where it is set, makes what shows the output of a call that starts now while nobody waits for it: of one
            that runs in the background, and of threads that the call leaves behind. None: `show` does.
        is_leaving: tells whether a Ctrl-C that has just come is of those that Jupyter sends before it ends a kernel;
            asked for named sessions, as nobody comes back to another one.
        watch: where it is set, told every tenth of a second how far the objects of the call that is waited for have
            come, on the thread that waits; None when none are on their way, and at the end.
    """

    def __init__(
        self,
        attachment: Attachment,
        remote_value: Callable[[messages.ValueInfo], RemoteValue],
        *,
        is_plain_only: bool,
    ) -> None:
        self._attachment, self._remote_value = attachment, remote_value
        self.is_plain_only = is_plain_only
        self.objects = Objects(attachment)
        self._modules: set[str] = set()  # that functions refer to
        self._digests = serial.FunctionDigests(code=attachment.code, modules=self._modules)
        self.show: Show = lambda message, _: show_plainly(message)
        self.ask = answer_prompt
        self.place: Callable[[], Show] | None = None
        self.is_leaving: Callable[[], bool] = lambda: False
        self._places: OrderedDict[int, Show] = OrderedDict()
        self._links = attachment.links
        self._links.on_stray = self._show_stray
        self.watch: Callable[[Transfer | None], None] | None = None

    # ------------------------------------------------------------ functions

    def call(self, f: Callable[..., Any] | str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a function there and wait for its value; see `Connection.call`."""
        link = self._link_for(f)
        end = self.run(link, *self._call_request(link, f, args, kwargs))
        if isinstance(end.outcome, messages.NeedFunction):
            link.known.discard(end.outcome.digest)
            if not end.is_missed:
                return self.call(f, args, kwargs)
        return self.value(end)

    def submit(self, f: Callable[..., Any] | str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        """Call a function there without waiting; see `Connection.submit`."""
        link = self._link_for(f)
        show = self.background_show()
        call = Call(
            f if isinstance(f, str) else getattr(f, "__name__", repr(f)),
            lambda outcome, buffers: self.value(End(outcome, buffers), is_future=True),
            lambda message, buffers: self.show_background(link, call.id, show, message, buffers),
            lambda number: self.stop(link, number),
        )
        link.start(call, *self._call_request(link, f, args, kwargs), wait=True)
        return call

    def start_shown(self, f: Callable[..., Any], kwargs: dict[str, Any], show: Show) -> ShownCall:
        """Call a function whose value the session shows, without waiting.

        Args:
            f: the function.
            kwargs: its arguments.
            show: takes what it shows, on the I/O thread.
        """
        link = self._attachment.link(Role.DATA)
        digest = self.define(link, f)

        def finish(outcome: messages.Outcome, buffers: list[memoryview]) -> Any:
            if isinstance(outcome, messages.NeedFunction):
                link.known.discard(digest)
                call.is_forgotten = True
                return None
            return self.value(End(outcome, buffers), is_future=True)

        call: ShownCall = ShownCall(
            getattr(f, "__name__", repr(f)),
            finish,
            lambda message, parts: self.show_background(link, call.id, show, message, parts),
            lambda number: self.stop(link, number),
        )
        request = messages.CallFunction(digest, show=True)
        link.start(call, request, self.objects.encode_arguments(f, (), kwargs) if kwargs else (), wait=True)
        return call

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
            code = self._attachment.code
            encode = serial.encode_plain if is_plain else functools.partial(serial.encode, code=code)
            request: messages.Message = messages.CallExposed(f, is_plain, self.is_plain_only)
            return request, self.objects.encode_arguments(f, args, kwargs, encode)
        request = messages.CallFunction(self.define(link, f))
        return request, self.objects.encode_arguments(f, args, kwargs) if args or kwargs else ()

    def define(self, link: Link, f: Callable[..., Any]) -> bytes:
        """Make sure that the other side of `link` knows a function in its present state; return its name there."""
        if not callable(f):
            raise TypeError(f"what is called must be a function, not {type(f).__name__}")
        digest, encoded = self._digests.digest(f, self.objects.namespace)
        self._links.libraries.note(self._modules)
        if digest not in link.known:
            if encoded is None:
                name = getattr(f, "__name__", "the function")
                encoded = self.objects.encode(f, name=name)
            link.send(0, messages.DefineFunction(digest), encoded)
            link.known.add(digest)
        return digest

    # ------------------------------------------------------------ requests

    def run(
        self,
        link: Link,
        request: messages.Message,
        buffers: Sequence[Buffer] = (),
        *,
        show: Show | None = None,
        timeout: float | None = None,
    ) -> End:
        """Send a request and wait for its end; see `rpc_magic.client.waiting.wait_for`."""
        if self._attachment.io.is_current:
            raise RpcMagicError(
                "a callback of a Call must not make blocking calls on the same connection: use submit()"
            )
        waiter = Waiter()
        waiter.events.on_room = link.read_on

        def show_in_order(message: messages.Message, parts: list[memoryview]) -> None:
            if isinstance(message, messages.CommMessage):
                self._links.on_comm(message, parts)
            else:
                (show or self.show)(message, parts)

        def hooks() -> Hooks:
            return Hooks(
                show_in_order,
                lambda reply: link.send(waiter.call, reply),
                self.ask,
                lambda: self.stop(link, waiter.call),
                lambda: self._tell_deaf(link),
                lambda: self._attachment.state == "reconnecting",
                self._tell_away,
                lambda reason: link.is_session and self._attachment.end_session(reason),
                lambda: link.abandon(waiter.call),
                lambda: not self._attachment.is_private and self.is_leaving(),
            )

        is_stopped = False
        place = self.place() if self.place is not None else None
        try:
            link.start(waiter, request, buffers, lead=timeout is None)
            if place is not None:
                self._note_place(waiter.call, place)
        except KeyboardInterrupt:
            if not waiter.call:
                raise
            is_stopped = True
        watch = self.watch
        if watch is None:
            return wait_for(waiter, hooks, timeout, is_stopped=is_stopped)
        try:
            look = functools.partial(_look, link, waiter, watch)
            return wait_for(waiter, hooks, timeout, is_stopped=is_stopped, look=look)
        finally:
            watch(None)

    def request(
        self, message: messages.Message, buffers: list[Buffer] | tuple[()] = (), what: str = "the value"
    ) -> Any:
        """Send a request to the session; return the value of its outcome, which is `what` in messages."""
        return self.value(self.run(self._attachment.link(Role.DATA), message, buffers), what=what)

    def ask_session(self, message: messages.Message) -> messages.Outcome:
        """Send a request to the session; return its outcome."""
        end = self.run(self._attachment.link(Role.DATA), message)
        if end.is_missed:
            raise KeyboardInterrupt
        return end.outcome

    # ------------------------------------------------------------ questions at the prompt

    def ask_soon(self, message: messages.Message, buffers: Sequence[Buffer] = ()) -> End | None:
        """Ask the session what a user waits for while typing.

        Returns:
            None where it does not answer within a moment: it is busy, or gone. It never raises for that.
        """
        attachment = self._attachment
        if attachment.state != "attached" or attachment.io.is_current:
            return None
        waiter = Waiter()
        try:
            link = attachment.link(Role.DATA)
            if link.is_busy:
                return None
            link.start(waiter, message, buffers, lead=True)
            deadline = time.monotonic() + ClientSettings().prompt_seconds
            while True:
                try:
                    outcome, parts = waiter.events.get(timeout=max(0.0, deadline - time.monotonic()))
                except queue.Empty:
                    self.stop(link, waiter.call)
                    link.abandon(waiter.call)
                    return None
                if isinstance(outcome, messages.Outcome):
                    return End(outcome, parts)
                if isinstance(outcome, Exception):
                    return None
        except RpcMagicError:
            return None

    def call_soon(self, f: Callable[..., Any], *args: Any) -> Any:
        """Call a function as `ask_soon` asks; None where there is no answer, or the function has raised."""
        if self._attachment.state != "attached":
            return None
        try:
            link = self._attachment.link(Role.DATA)
            end = self.ask_soon(*self._call_request(link, f, args, {}))
            if end is not None and isinstance(end.outcome, messages.NeedFunction):
                link.known.discard(end.outcome.digest)  # the next question defines it anew
            return None if end is None else self.value(end)
        except Exception:  # noqa: BLE001 - the user's own code may raise anything; who types is not to see it
            return None

    # ------------------------------------------------------------ outcomes

    def value(self, end: End, *, is_future: bool = False, what: str = "the value") -> Any:
        """Return the value that an outcome holds, or raise what it says; `what` it is, for messages.

        Raises:
            KeyboardInterrupt: Ctrl-C, which the code was too quick for.
        """
        if not end.is_missed:
            return self._value(end.outcome, end.buffers, is_future, what)
        try:
            self._value(end.outcome, end.buffers, is_future, what)
        except Exception as error:
            raise KeyboardInterrupt from error
        raise KeyboardInterrupt

    def _value(self, outcome: messages.Outcome, buffers: list[memoryview], is_future: bool, what: str) -> Any:
        if isinstance(outcome, messages.Returned) and not outcome.plain and not self.is_plain_only:
            return load(buffers, self.objects.namespace, what) if buffers else None
        if isinstance(outcome, messages.Kept):
            return self._remote_value(outcome.info)
        if isinstance(outcome, messages.Failed):
            raise exception_of(
                outcome.error,
                buffers,
                self.objects.namespace,
                is_future=is_future,
                is_plain_only=self.is_plain_only,
            )
        if isinstance(outcome, messages.NeedFunction):
            raise ConnectionLostError(self._attachment.url, "the session forgot a function; call again")
        return value_of(outcome, buffers, self.objects.namespace, is_plain_only=self.is_plain_only)

    # ------------------------------------------------------------ interrupts

    def stop(self, link: Link, number: int) -> None:
        """End a call: take it out of the queue there, or interrupt it when it runs."""
        with contextlib.suppress(RpcMagicError):
            link.send(0, messages.CancelCall(number))
            self._attachment.interrupt(number)

    @staticmethod
    def _tell_deaf(link: Link) -> None:
        """Tell the user that a call does not end although it was interrupted."""
        last = (
            "ends its session, and the session's variables are gone" if link.is_session else "waits no longer"
        )
        sys.stderr.write(
            "rpc_magic: the remote code does not react to Stop; it may be in compiled code, or catch the interrupt. "
            f"Stop (Ctrl-C) again {last}.\n"
        )
        sys.stderr.flush()

    @staticmethod
    def _tell_away() -> None:
        """Tell the user that nothing is known of a call that was interrupted."""
        sys.stderr.write(
            "rpc_magic: the server cannot be reached just now; Stop is delivered when the connection is back. "
            "Stop (Ctrl-C) again waits no longer.\n"
        )
        sys.stderr.flush()

    # ------------------------------------------------------------ output that nobody waits for

    def background_show(self) -> Show:
        """Return what shows the output of a call that starts now and runs in the background."""
        return self.show if self.place is None else self.place()

    def _note_place(self, call: int, place: Show) -> None:
        self._places[call] = place
        if len(self._places) > _PLACES:
            with contextlib.suppress(KeyError):  # another thread was faster
                self._places.popitem(last=False)

    def _show_stray(self, call: int, message: messages.Message, buffers: list[memoryview]) -> None:
        """I/O thread: show what comes after a call's end where the call's output is."""
        self._places.get(call, self.show)(message, buffers)

    def show_background(
        self, link: Link, number: int, show: Show, message: messages.Message, buffers: list[memoryview]
    ) -> None:
        """Show what a call shows that nobody waits for; nobody can be asked anything."""
        if isinstance(message, messages.InputRequest):
            link.send(number, messages.InputReply("", "a background call cannot ask"))
        else:
            self._note_place(number, show)
            show(message, buffers)
