"""What sessions that have ended leave behind: how they ended, and the spool of what their clients had not received.

A session that died by itself leaves its spool, an unlinked file whose descriptor keeper and supervisor hold: it is gone
when both let go of it, however they end. It is kept for as long as the session would have waited for a client, for at
most as many sessions as may live at once; until somebody takes the name over, or the client of a private one leaves.
What a server has of them when it is told to end, it writes to files, as it does what it keeps of living sessions.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

from rpc_magic.runtime.keptremains import Death
from rpc_magic.runtime.keptsessions import digest_of
from rpc_magic.settings import ServerSettings
from rpc_magic.wire import messages
from rpc_magic.wire.frames import encode_frame
from rpc_magic.wire.spooled import Spooled, scan

__all__ = ["Remains", "RemainsTable", "open_spool", "send_rest"]

_REMEMBERED = 256
"""Sessions that have left nothing, of which it is known how they ended, for clients that were not connected then."""

_ALL = (1 << 64) - 1
"""Acknowledges whatever the client has sent: nobody will take it any more."""

_QUESTIONS = {messages.encode(one)[1] for one in (messages.InputRequest(""), messages.FindModule(0, ""))}
"""Tags of what the session asked its client: nobody will hear the answer."""

_PIECE = 1 << 20
_DRAIN_SECONDS = 60.0
"""For the client to take what was sent, and to close; closing before it does would lose what is on its way."""


@dataclass(slots=True, eq=False)
class Remains:
    """Those of one session; `spool` is a descriptor, -1 for none. `is_open`: it died, and nobody has taken its name."""

    death: Death
    is_open: bool
    spool: int
    forget: Callable[[], None]  # lets the keeper let go of the spool, or removes its file
    at: float

    def close(self) -> None:
        """Let go of all but how it ended."""
        self.is_open = False
        if self.spool >= 0:
            os.close(self.spool)
            self.spool = -1
            self.forget()


class RemainsTable:
    """All remains of a server; belongs to the event loop.

    Args:
        settings: how long they are kept, and of how many sessions.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._all: dict[str, Remains] = {}  # by their owners

    def add(self, remains: Remains) -> None:
        """A session has ended."""
        earlier = self._all.pop(remains.death.owner, None)  # of a session that was had back
        if earlier is not None:
            earlier.close()
        self._all[remains.death.owner] = remains
        for one in self.with_spool()[: -self._settings.sessions]:
            one.close()
        without = [owner for owner, one in self._all.items() if one.spool < 0]
        for owner in without[:-_REMEMBERED]:
            del self._all[owner]

    def death(self, ticket: bytes) -> Death | None:
        """Return how a session ended; None when that is not known."""
        remains = self._all.get(digest_of(ticket))
        return remains.death if remains is not None else None

    def spool_of(self, ticket: bytes, client_id: bytes) -> int:
        """Return the descriptor of what a session had not sent to this client; -1 for nothing."""
        remains = self._all.get(digest_of(ticket))
        return remains.spool if remains is not None and remains.death.client == digest_of(client_id) else -1

    def with_spool(self) -> list[Remains]:
        """Return those that have left something."""
        return [one for one in self._all.values() if one.spool >= 0]

    def dead(self) -> list[Remains]:
        """Return the named sessions that died by themselves, and whose name nobody has taken since."""
        return [one for one in self._all.values() if one.is_open and not one.death.is_private]

    def leave(self, client_id: bytes) -> None:
        """A client wants another session, or has gone for good: its own ones are of no use any more."""
        for one in self._all.values():
            if one.death.is_private and one.death.client == digest_of(client_id):
                one.close()

    def take(self, name: str) -> Remains | None:
        """Somebody takes a name over: return what its last session has left, to be closed; None for nothing."""
        found = [one for one in self.dead() if one.death.session == name]
        for one in found[:-1]:
            one.close()
        return found[-1] if found else None

    def sweep(self) -> None:
        """Let go of what nobody has come back for; called from time to time."""
        now = time.monotonic()
        for one in self._all.values():
            kept = self._settings.vanished_seconds if one.death.is_private else self._settings.session_ttl
            if now - one.at > kept:
                one.close()


def open_spool(spool: int) -> BufferedReader:
    """Open a spool once more: with a place to read from of its own, and for as long as that takes."""
    return Path(f"/proc/self/fd/{spool}").open("rb")


async def send_rest(sock: socket.socket, file: BufferedReader, due: int) -> None:
    """Send to a client that has come back what its session had not sent, then end the connection.

    Args:
        sock: the proved connection; it is closed.
        file: the session's spool; it is closed.
        due: number of the frame that the client is due to get.
    """
    loop = asyncio.get_running_loop()
    with sock, file, contextlib.suppress(OSError, TimeoutError):
        sock.setblocking(False)
        resumed = encode_frame(0, 0, _ALL, messages.encode(messages.Resumed(is_known=True)))
        await loop.sock_sendall(sock, b"".join(resumed))

        def read(at: int, size: int) -> bytes:
            file.seek(at)
            return file.read(size)

        with ThreadPoolExecutor(1) as pool:  # there may be millions of frames
            spooled = await loop.run_in_executor(pool, scan, read, os.fstat(file.fileno()).st_size)
        for start, size in _ranges(spooled, due):
            for at in range(start, start + size, _PIECE):
                await loop.sock_sendall(sock, os.pread(file.fileno(), min(_PIECE, start + size - at), at))
        await loop.sock_sendall(
            sock, b"".join(encode_frame(0, 0, _ALL, messages.encode(messages.NothingMore())))
        )
        sock.shutdown(socket.SHUT_WR)
        async with asyncio.timeout(_DRAIN_SECONDS):
            while await loop.sock_recv(sock, _PIECE):
                pass


def _ranges(spooled: Spooled, due: int) -> list[tuple[int, int]]:
    """Return where lies what the last client is due to get, in order; neighbours are one."""
    ranges: list[tuple[int, int]] = []
    for one in sorted(spooled.frames, key=lambda frame: frame.number):
        if one.base != spooled.base or one.number < max(1, due) or one.tag in _QUESTIONS:
            continue
        if ranges and sum(ranges[-1]) == one.start:
            ranges[-1] = (ranges[-1][0], ranges[-1][1] + one.size)
        else:
            ranges.append((one.start, one.size))
    return ranges
