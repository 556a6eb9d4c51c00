"""The pump of a server with TLS, and two other ways to build one: bytes a second of one processor, and a ping beside.

Each way runs in a process of its own on one processor, as the supervisor does: its main thread is an asyncio loop that
answers pings, and a TLS connection is moved to and from a plain socket. Who sends and who receives share the other
processor, so the speed that is seen may be theirs; the figure for the pump is bytes by its process's own time.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from rpc_magic.server.certificates import new_identity
from rpc_magic.transport.pump import start_pump
from rpc_magic.transport.tls import TlsEnd, client_context, server_context

SIZE = 1 << 30  # bytes moved each way
PIECE = 1 << 20
GOAL_SPEED, GOAL_PING = 0.4, 20.0  # GB/s, ms


def ours(sock: socket.socket, context: ssl.SSLContext, _: asyncio.AbstractEventLoop) -> socket.socket:
    """`rpc_magic.transport.pump`, between the TLS connection and one end of a socket pair."""
    tls = TlsEnd(context, is_server=True)
    while not tls.shake_hands():
        sock.sendall(tls.data_to_send())
        tls.receive(sock.recv(1 << 16))
    sock.sendall(tls.data_to_send())
    return start_pump(tls, sock)


def blocking(sock: socket.socket, context: ssl.SSLContext, _: asyncio.AbstractEventLoop) -> socket.socket:
    """Two threads over one blocking SSL socket (which from Python 3.13 on takes turns by a lock)."""
    secured = context.wrap_socket(sock, server_side=True)
    mine, theirs = socket.socketpair()

    def copy(receive: Callable[[memoryview], int], send: Callable[[memoryview], object]) -> None:
        buffer = memoryview(bytearray(1 << 18))
        with contextlib.suppress(OSError):
            while n := receive(buffer):
                send(buffer[:n])

    for way in ((secured.recv_into, mine.sendall), (mine.recv_into, secured.sendall)):
        threading.Thread(target=copy, args=way, daemon=True).start()
    return theirs


def with_asyncio(
    sock: socket.socket, context: ssl.SSLContext, loop: asyncio.AbstractEventLoop
) -> socket.socket:
    """Streams with asyncio's own TLS, on the loop that answers the pings."""
    mine, theirs = socket.socketpair()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 18):
                writer.write(data)
                await writer.drain()

    async def serve() -> None:
        reader = asyncio.StreamReader(limit=1 << 18)
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await loop.connect_accepted_socket(lambda: protocol, sock, ssl=context)
        writer = asyncio.StreamWriter(transport, protocol, reader, loop)
        inside, outside = await asyncio.open_unix_connection(sock=mine, limit=1 << 18)
        await asyncio.gather(copy(reader, outside), copy(inside, writer))

    asyncio.run_coroutine_threadsafe(serve(), loop)
    return theirs


WAYS = {
    "MemoryBIO, a thread, large reads (ours)": ours,
    "blocking SSL socket, two threads": blocking,
    "asyncio": with_asyncio,
}


def pump_process(
    way: str, pem: Path, connection: socket.socket, plain: socket.socket, pings: socket.socket
) -> None:
    """The process under test: answers pings on the loop, and its own processor time when it is asked."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

    async def main() -> None:
        loop = asyncio.get_running_loop()

        def begin() -> None:
            with WAYS[way](connection, server_context(pem), loop) as inner:
                socket.send_fds(plain, [b"."], [inner.fileno()])

        threading.Thread(target=begin).start()
        reader, writer = await asyncio.open_unix_connection(sock=pings)
        while asked := await reader.read(1):
            writer.write(b"." * 8 if asked == b"p" else int(time.process_time() * 1e6).to_bytes(8, "big"))

    asyncio.run(main())


def ask(pings: socket.socket, what: bytes) -> bytes:
    """Ask the process under test for an answer (p) or its processor time in microseconds (t)."""
    pings.sendall(what)
    return pings.recv(8, socket.MSG_WAITALL)


def move(
    source: socket.socket, target: socket.socket, pings: socket.socket
) -> tuple[float, float, list[float]]:
    """Move `SIZE` bytes; return the wall and processor seconds, and the round trips of pings meanwhile, in ms."""
    data, done = bytes(PIECE), threading.Event()
    trips: list[float] = []

    def send() -> None:
        for _ in range(SIZE // PIECE):
            source.sendall(data)

    def receive() -> None:
        buffer, left = memoryview(bytearray(PIECE)), SIZE
        while left:
            left -= target.recv_into(buffer[: min(left, PIECE)])
        done.set()

    used = int.from_bytes(ask(pings, b"t"), "big")
    began = time.perf_counter()
    threads = [threading.Thread(target=job) for job in (send, receive)]
    for thread in threads:
        thread.start()
    while not done.wait(0.01):
        sent = time.perf_counter()
        ask(pings, b"p")
        trips.append((time.perf_counter() - sent) * 1e3)
    seconds = time.perf_counter() - began
    for thread in threads:
        thread.join()
    return seconds, (int.from_bytes(ask(pings, b"t"), "big") - used) / 1e6, trips


def measure(way: str, pem: Path) -> None:
    """Print a way's rows."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    giving, given = socket.socketpair()
    pings, answers = socket.socketpair()
    pid = os.fork()
    if not pid:
        for sock in (near, given, pings):
            sock.close()
        try:
            pump_process(way, pem, far, giving, answers)
        finally:
            os._exit(0)
    for sock in (far, giving, answers):
        sock.close()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    secured = client_context().wrap_socket(near)
    _, [descriptor], _, _ = socket.recv_fds(given, 1, 1)
    with secured, given, pings, socket.socket(fileno=descriptor) as inner:
        for name, source, target in (("there", secured, inner), ("back", inner, secured)):
            seconds, used, trips = move(source, target, pings)
            print(
                f"| {way} | {name} | {SIZE / used / 1e9:.2f} GB/s | {SIZE / seconds / 1e9:.2f} GB/s "
                f"| {statistics.median(trips):.1f} ms, {max(trips):.1f} ms |",
                flush=True,
            )
    os.waitpid(pid, 0)


def main() -> int:
    """Measure all ways, each in a process of its own."""
    if len(sys.argv) > 2:
        measure(sys.argv[1], Path(sys.argv[2]))
        return 0
    print(f"goal: {GOAL_SPEED} GB/s of one processor, a ping in {GOAL_PING:.0f} ms")
    print("| way | direction | by the pump's processor time | as seen | ping: median, longest |")
    print("| --- | --- | --- | --- | --- |", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        pem = Path(folder) / "pem"
        pem.write_bytes(new_identity())
        for way in WAYS:
            if os.spawnl(os.P_WAIT, sys.executable, sys.executable, __file__, way, str(pem)):
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
