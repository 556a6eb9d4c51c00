"""The worker of a session: one process whose main thread reads requests and runs them, one at a time.

Theory of operation. While nothing runs, the main thread's loop reads the data connection itself, so a small call
costs no thread hand-off. Once a call has run for some milliseconds, the helper thread reads too, so that answers to
``input()``, widget messages and further requests are taken in. Both may try at once: `FrameSocket.read` lets one
through. Requests are queued in the order of the wire and only the main thread takes from the queue.

Outcomes are sent by the main thread outside user code; output is sent by whoever shows it, under the gate's mask.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import itertools
import select
import socket
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from rpc_magic import serial
from rpc_magic.errors import ProtocolError, SessionDiedError
from rpc_magic.settings import WorkerSettings
from rpc_magic.transport import PacketSocket
from rpc_magic.wire import internal, messages
from rpc_magic.wire.chunks import LARGE
from rpc_magic.wire.frames import Frame
from rpc_magic.wire.handshake import Role
from rpc_magic.worker.comms import Comms
from rpc_magic.worker.datachannel import Chunks, DataChannel
from rpc_magic.worker.descriptors import Descriptors
from rpc_magic.worker.helper import Helper
from rpc_magic.worker.interrupts import InterruptGate
from rpc_magic.worker.keeping import keep_for
from rpc_magic.worker.lastwords import LastWords
from rpc_magic.worker.line import Line
from rpc_magic.worker.modules import UserModules
from rpc_magic.worker.output import Outputs
from rpc_magic.worker.prompts import Prompts
from rpc_magic.worker.questions import Questions
from rpc_magic.worker.session import Answer, Session
from rpc_magic.worker.shell import make_shell
from rpc_magic.worker.spool import Spool
from rpc_magic.worker.statuspage import StatusPage
from rpc_magic.worker.tracebacks import error_record
from rpc_magic.worker.waiting import CANCELLED, Waiting

__all__ = ["Worker", "run_worker"]

_AT_ANY_TIME = frozenset(
    {
        messages.AllNamed,
        messages.Lacking,
        messages.InputReply,
        messages.CommMessage,
        messages.ModuleFound,
        messages.Drop,
        messages.Acknowledge,
        messages.CancelCall,
        messages.ListCalls,
        messages.Follow,
    }
)

_RECEIPT_SECONDS = 2.0
"""A client that is there acknowledges within a second."""


class Worker:
    """A session's process; made on its main thread, after the fork.

    Args:
        request: what the keeper was asked for.
        link: packet socket to the supervisor.
        own: packet socket to the keeper.
        page: the status page.
        words: the last ones, which the keeper reads.
        folder: where files that the client sends are kept.
        spool: descriptor of the file for what the client has not received, -1 when there is none.

    Attributes:
        descriptors: shows what is written to file descriptors 1 and 2.
        is_over: the server ends, and the variables are kept for the next one: nothing more is to begin.
    """

    def __init__(
        self,
        request: internal.Fork,
        link: PacketSocket,
        own: PacketSocket,
        page: StatusPage,
        words: LastWords,
        folder: Path,
        spool: int,
    ) -> None:
        self._page, self._words = page, words
        self._name = request.session
        self._loop = asyncio.new_event_loop()
        self._context = contextvars.copy_context()  # what a call sets in it, the next one finds
        settings = WorkerSettings(message=request.payload, calls=request.calls, spool=request.output)
        self._settings = settings
        self._lost_at = 0.0
        self.is_over = False
        self._queue = Waiting()
        self._task: asyncio.Task[None] | None = None
        self._runs = itertools.count(1)
        self._running = self._current = 0
        gate = self._gate = InterruptGate()
        self._line = Line(
            Spool(spool, settings.spool),
            Chunks(settings),
            settings,
            self._release,
            lambda: gate.kept,
            self._take_in,
        )
        self._gate.is_wanted = page.is_interrupt_wanted
        self._prompts = Prompts(self._line.send)
        self._outputs = Outputs(self._line.send, self._prompts.ask, words)
        self._outputs.install()
        self._shell = make_shell(self._outputs, self._gate)
        self._shell.context = self._context
        self._shell.readmit = self._line.readmit
        self.descriptors = Descriptors(own, page, self._outputs)
        self._outputs.sync = self.descriptors.sync
        self._comms: Comms = self._shell.comms
        self._taking = threading.Lock()
        self._taker = 0  # the thread that holds it
        self._questions = Questions(lambda message: self._line.send(0, message), self._take_in, self._can_ask)
        self._modules = UserModules(self._questions, folder)
        self._modules.install()
        self._session = Session(
            self._shell, self._gate, self._modules, request.ticket, settings, request.payload
        )
        self._helper = Helper(self, link, own, settings)

    def run(self) -> None:
        """Serve until the process is ended."""
        asyncio.set_event_loop(self._loop)
        self._gate.install()
        self._helper.start()
        while True:
            # What a task or a callback of the user's raises to end a program must not end the session.
            with contextlib.suppress(KeyboardInterrupt, SystemExit):
                self._loop.run_forever()
                return

    # ------------------------------------------------------------ connections (any thread)

    @property
    def channel(self) -> DataChannel | None:
        """The data connection, while a client is there."""
        return self._line.channel

    @property
    def running(self) -> int:
        """A number that names what runs now, 0 for nothing."""
        return self._running

    def note_tasks(self, count: int) -> None:
        """Engine thread: so many tasks have not ended."""
        self._page.note_tasks(count)

    def adopt(self, sock: socket.socket, client: bytes, resume: int) -> None:
        """Helper thread: serve this connection from now on; an older one is closed. See `Line.adopt`."""
        old = self._line.channel
        if old is not None:
            old.hang_up()  # nobody must wait for it any longer
        with self._taking:
            if old is not None:
                self._line.lose(old)
            is_known = self._line.adopt(sock, client, resume)
            if not is_known:  # before anybody reads what it wants
                self._session.values.note_new_client()
        if not is_known:
            self._page.forget_interrupts()
            self._page.rename(self._page_number)
            self._modules.note_new_client()
            self._questions.note_new_client()
        self._loop.call_soon_threadsafe(self._switch, self._line.channel)

    def miss(self, client: bytes) -> None:
        """Helper thread: this client has not been heard of for long. See `Line.miss`."""
        self._line.miss(client)

    def inherit(self, spool: int, cause: str, last_words: str) -> None:
        """Helper thread, before any client is there: take over what a session of this name has left that died."""
        error = SessionDiedError(self._name, cause, last_words)
        failed = messages.Failed(error_record(error))
        self._line.inherit(spool, (failed, serial.encode_error(error, namespace=self._session.namespace)))

    def _switch(self, new: DataChannel | None) -> None:
        if new is not None and new is self._line.channel and not self.is_over:
            self._loop.add_reader(new.fileno(), self._readable)
            self._readable()

    def _release(self, channel: DataChannel) -> None:
        """A connection is gone."""
        self._lost_at = time.monotonic()
        self._loop.call_soon_threadsafe(self._forget, channel)

    def _forget(self, channel: DataChannel) -> None:
        if not channel.is_closed:
            self._loop.remove_reader(channel.fileno())
            channel.close()

    def read(self) -> bool:
        """Take in what has come; True when there are new requests in the queue."""
        # What another thread has read it also takes, before anybody reads more: requests stay in order.
        channel = self._line.channel
        if channel is None or not self._taking.acquire(blocking=False):
            return False
        self._taker = threading.get_ident()
        try:
            if channel is not self._line.channel:
                return False
            are_requests = [self._take(channel, frame) for frame in channel.read()]  # all of them are taken
        except (EOFError, OSError):
            self._line.lose(channel)
            return False
        except ProtocolError:
            self._line.lose(channel, is_broken=True)
            self._helper.tell_broken(Role.DATA)
            return False
        finally:
            self._taker = 0
            self._taking.release()
        return any(are_requests)

    def _can_ask(self) -> bool:
        """Tell whether this thread may ask the client, and will not itself have to read the answer just now."""
        is_there = not self.is_over and (  # or may well come back
            self._line.channel is not None or time.monotonic() - self._lost_at < self._settings.answer_seconds
        )
        return is_there and self._taker != threading.get_ident()

    def _take_in(self) -> None:
        """Any thread that waits for the client: read what has come."""
        with self._gate.masked():
            if self.read():
                self.wake_queue()

    def _take(self, channel: DataChannel, frame: Frame) -> bool:
        """Handle what may come at any time; queue a request."""
        self._line.acknowledge(frame.ack)
        request = messages.decode_request(frame.message)
        if isinstance(request, messages.Configure):
            self._line.note_far(is_far=request.far)
        if frame.buffers and sum(map(len, frame.buffers)) >= LARGE:
            with contextlib.suppress(OSError, ValueError):  # reading will tell; what came must be taken
                channel.acknowledge()
        if type(request) not in _AT_ANY_TIME:
            return self._add(frame, request)
        match request:
            case messages.InputReply():
                self._prompts.take(self._line.calls.inside(frame.call), request)
            case messages.CommMessage():
                self._loop.call_soon_threadsafe(self._comms.handle, request, frame.buffers)
            case messages.ModuleFound():
                self._questions.take(request, frame.buffers)
            case messages.AllNamed() | messages.Lacking():
                with contextlib.suppress(OSError, ValueError):
                    channel.answer(frame.call, request)
            case messages.Drop(keys):
                self._session.values.drop(keys)
            case messages.CancelCall(call):
                self._cancel(self._line.calls.inside(call))
            case messages.ListCalls():
                call = self._line.calls.inside(frame.call)
                self._line.send(call, self._line.calls.listing(self._current))
            case messages.Follow(number):
                if self._line.follow(frame.call, number):
                    self._page.rename(self._page_number)
                else:
                    refused = messages.Refused(f"there is no call {number} that was left here")
                    self._line.send(self._line.calls.inside(frame.call), refused)
        return False

    def _add(self, frame: Frame, request: messages.Request) -> bool:
        """Queue a request, or refuse a call that is one too many."""
        if self._queue.admits(request, self._settings.calls):
            self._queue.append((self._line.open(frame.call, request), request, frame.buffers))
            return True
        if not isinstance(request, messages.DefineFunction):
            call = self._line.open(frame.call, request)
            self._line.send(call, self._queue.refusal(self._settings.calls))
        return False

    def _cancel(self, call: int) -> None:
        if self._queue.take_back(call):
            self._line.send(call, CANCELLED)

    # ------------------------------------------------------------ running requests (main thread)

    def _readable(self) -> None:
        if self.read():
            self.run_queue()

    def run_queue(self) -> None:
        """Run what is queued, in order, until something has to be awaited. Main thread only."""
        self._context.run(self._run_queue)

    def _run_queue(self) -> None:
        while self._queue and self._task is None:
            try:
                call, request, buffers = self._queue.take()
            except IndexError:
                return
            self._line.settle()
            token = self._begin(call)
            answer = self._session.handle(request, buffers)
            del buffers
            if answer is not None and not isinstance(answer, tuple):
                self._task = self._loop.create_task(self._finish(call, answer), context=self._context)
                self._outputs.leave(token)
                return
            self._outputs.leave(token)
            self._end(call, answer)

    async def _finish(self, call: int, answer: Awaitable[Answer]) -> None:
        token = self._outputs.enter(call)
        try:
            try:
                done = await answer
            except asyncio.CancelledError:
                raise
            except BaseException as error:  # noqa: BLE001 - whatever it is, the call must end on both sides
                done = self._session.failure(error)
            self._outputs.leave(token)
            self._end(call, done)
        finally:
            self._task = None
            self._loop.call_soon(self.run_queue)

    def _begin(self, call: int) -> Any:
        self._running = next(self._runs)
        self._current = call
        number = self._page_number()
        self._gate.install_again()
        self._gate.early = self._gate.heard = False
        self._gate.in_call = True
        self._page.begin(number)
        self._words.begin()
        if self._page.is_stopped(number):
            self._gate.early = True
        self._helper.arm()
        return self._outputs.enter(call)

    def _page_number(self) -> int:
        """Return what stands on the status page for what runs."""
        return self._line.calls.on_page(self._current)

    def _end(self, call: int, answer: Answer | None) -> None:
        self.descriptors.sync()
        self._outputs.end(call)
        self._gate.in_call = False
        self._page.end()
        self._running = 0
        if answer is not None:
            versions = self._session.values.libraries.take()
            if versions:
                self._line.send(call, messages.Libraries(versions))
            outcome, buffers = answer
            if self._gate.heard:
                outcome = messages.as_heard(outcome)
            self._line.end(call, outcome, buffers, self.read)

    def resolve_for_engine(self, session: str, key: str) -> Answer:
        """Engine thread: return a value of the session for one of the engine's processes; or where a module is."""
        try:
            value = self._session.values.resolve(session, key) if session else self._modules.locate(key)
            return messages.Returned(), serial.encode(value, namespace=self._session.namespace)
        except Exception as error:  # noqa: BLE001 - whatever it is, the task fails with it
            return self._session.failure(error)

    def keep(self, request: internal.Keep, say: Callable[[internal.Internal], None]) -> None:
        """Helper thread: the server ends; keep the variables, once no call runs. See `rpc_magic.worker.keeping`."""

        def do() -> None:
            channel = self._line.channel
            if channel is not None:
                self._loop.remove_reader(channel.fileno())  # what would come now would not be kept
                self._await_receipt(channel)
            with contextlib.suppress(OSError):
                ticket, calls = self._session.values.ticket, self._line.ended()
                say(self._context.run(keep_for, request, ticket, calls))

        self.is_over = True
        self._queue.clear()  # what has not begun does not begin any more
        with contextlib.suppress(OSError):
            say(internal.Keeping())
        self._loop.call_soon_threadsafe(do)

    def _await_receipt(self, channel: DataChannel) -> None:
        """Give the client a moment to acknowledge the last outcomes: what it does not is kept for it."""
        poll = select.poll()
        poll.register(channel.fileno(), select.POLLIN)
        deadline = time.monotonic() + _RECEIPT_SECONDS
        while self._line.owes_receipt and (left := deadline - time.monotonic()) > 0:
            if poll.poll(left * 1000):
                self.read()

    def wake_queue(self) -> None:
        """Helper thread: requests have been queued."""
        self._loop.call_soon_threadsafe(self.run_queue)


def run_worker(request: internal.Fork, link: int, own: int, page: int, folder: Path, spool: int) -> None:
    """Be a session's worker; returns when the loop is stopped."""
    sockets = PacketSocket.from_descriptor(link), PacketSocket.from_descriptor(own)
    worker = Worker(request, *sockets, StatusPage(page), LastWords(page), folder, spool)
    worker.run()
