"""The worker's helper thread: hears the supervisor and the keeper, and reads for a main thread that is busy.

It ticks only while calls come: at each tick it looks whether the same call runs as at the tick before, and if so
watches the data connection until that call has ended. When no call has come for a while it sleeps without ticking,
and the next call wakes it.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
import time
from typing import TYPE_CHECKING

from rpc_magic.errors import ProtocolError
from rpc_magic.settings import WorkerSettings
from rpc_magic.transport import FrameSocket, PacketSocket
from rpc_magic.transport.packets import close_all
from rpc_magic.wire import internal
from rpc_magic.wire.handshake import Role
from rpc_magic.worker.enginehost import EngineHost

if TYPE_CHECKING:
    from rpc_magic.worker.worker import Worker

__all__ = ["Helper"]


class Helper:
    """The thread; a daemon.

    Args:
        worker: whose it is.
        link: packet socket to the supervisor.
        own: packet socket to the keeper.
        settings: its times.
    """

    def __init__(
        self, worker: Worker, link: PacketSocket, own: PacketSocket, settings: WorkerSettings
    ) -> None:
        self._worker, self._link, self._own, self._settings = worker, link, own, settings
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._is_parked = True
        self._poll = select.poll()
        self._watched: FrameSocket | None = None
        self._watched_fd = -1
        self._engine = EngineHost(own, worker.resolve_for_engine, settings)
        self._engine.note_tasks = worker.note_tasks
        self._engine.on_broken = lambda: self.tell_broken(Role.ENGINE)

    def start(self) -> None:
        """Start the thread."""
        threading.Thread(target=self._run, name="rpc_magic-helper", daemon=True).start()

    def arm(self) -> None:
        """Main thread: a call begins."""
        if self._is_parked:
            self._is_parked = False
            os.eventfd_write(self._wake, 1)

    def tell_broken(self, role: Role) -> None:
        """Any thread: a connection broke the protocol; the server's log says so."""
        with contextlib.suppress(OSError):
            self._link.send(internal.Broken(int(role)))

    def _run(self) -> None:
        link, own, wake = self._link.fileno(), self._own.fileno(), self._wake
        for descriptor in (link, own, wake):
            self._poll.register(descriptor, select.POLLIN)
        tick = self._settings.takeover_seconds * 1000
        last, last_run = 0, time.monotonic()
        while True:
            ready = {fd for fd, _ in self._poll.poll(None if self._is_parked else tick)}
            if wake in ready:
                with contextlib.suppress(BlockingIOError):
                    os.eventfd_read(wake)
            if link in ready:
                self._hear(self._link)
            if own in ready:
                self._hear(self._own)
            running = self._worker.running
            if running:
                last_run = time.monotonic()
            self._watch(self._worker.channel if running and running == last else None)
            last = running
            if self._watched is not None and not self._worker.is_over and self._worker.read():
                self._worker.wake_queue()
            if not running and time.monotonic() - last_run > self._settings.park_seconds:
                self._is_parked = True
                # A call may have begun meanwhile and found the thread awake: look once more.
                if self._worker.running:
                    self._is_parked = False

    def _watch(self, channel: FrameSocket | None) -> None:
        if channel is self._watched:
            return
        if self._watched is not None:
            with contextlib.suppress(KeyError, ValueError, OSError):
                self._poll.unregister(self._watched_fd)
        self._watched = channel
        if channel is not None:
            self._watched_fd = channel.fileno()
            if self._watched_fd < 0:
                self._watched = None
                return
            self._poll.register(self._watched_fd, select.POLLIN)

    def _hear(self, packets: PacketSocket) -> None:
        try:
            received = packets.receive()
        except (EOFError, OSError):
            with contextlib.suppress(KeyError, ValueError):
                self._poll.unregister(packets.fileno())
            return
        except ProtocolError:  # a newer supervisor's, after an upgrade
            return
        if received is None:
            return
        message, descriptors = received
        match message:
            case internal.Adopt(role, client, resume) if descriptors:  # else the client tries again
                sock = socket.socket(fileno=descriptors[0])
                if role == Role.ENGINE:
                    self._engine.adopt(sock, client, resume)
                else:
                    self._worker.adopt(sock, client, resume)
            case internal.Keep():
                self._worker.keep(message, self._link.send)
            case internal.Inherit(cause, last_words) if descriptors:
                self._worker.inherit(descriptors[0], cause, last_words)
            case internal.Absent(client):
                self._worker.miss(client)
            case internal.Drained():
                self._worker.descriptors.show(message)
            case internal.Synced(number):
                self._worker.descriptors.synced(number)
            case internal.EngineForked(pids):
                self._engine.forked(pids if descriptors else (), descriptors)
            case _:
                close_all(descriptors)
