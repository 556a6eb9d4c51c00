"""Frames over real sockets: socket pairs and loopback TCP."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from rpc_magic.errors import ProtocolError
from rpc_magic.settings import WireLimits
from rpc_magic.transport import FrameSocket, framesocket
from rpc_magic.wire.frames import Frame, encode_frame

SECONDS = 60.0  # how long anything here may take before the test fails
MIB = 1 << 20


def socket_pair() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair()


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        one = socket.create_connection(listener.getsockname())
        other, _ = listener.accept()
    return one, other


@pytest.fixture(params=[socket_pair, tcp_pair], ids=["unix", "tcp"])
def raw(request: pytest.FixtureRequest) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two joined sockets."""
    pair = request.param()
    with pair[0], pair[1]:
        yield pair


@pytest.fixture
def pair(raw: tuple[socket.socket, socket.socket]) -> Iterator[tuple[FrameSocket, FrameSocket]]:
    """Two joined frame sockets."""
    one, other = FrameSocket(raw[0]), FrameSocket(raw[1])
    yield one, other
    one.close()
    other.close()


def read_until(sock: FrameSocket, count: int, flush: bool = False) -> list[Frame]:
    """Read, and flush if asked, as an I/O loop does, until `count` frames have come."""
    frames: list[Frame] = []
    poll = select.poll()
    while len(frames) < count or (flush and sock.has_unsent):
        poll.register(sock.fileno(), select.POLLIN | (select.POLLOUT if sock.has_unsent else 0))
        ready = poll.poll(SECONDS * 1000)
        assert ready, f"{len(frames)} of {count} frames came"
        if ready[0][1] & select.POLLOUT:
            sock.flush()
        frames += sock.read()
    return frames


def together(*actions: Callable[[], None]) -> None:
    """Run the actions in threads; raise what one of them raised."""
    errors: list[BaseException] = []

    def run(action: Callable[[], None]) -> None:
        try:
            action()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(action,), daemon=True) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
        assert not thread.is_alive()
    if errors:
        raise errors[0]


def plain(frames: list[Frame]) -> list[tuple[int, int, bytes, list[bytes]]]:
    return [(f.call, f.seq, f.message, [bytes(b) for b in f.buffers]) for f in frames]


def test_small_frames(pair: tuple[FrameSocket, FrameSocket]) -> None:
    """Small frames leave at once and come out equal, numbered from 1."""
    one, other = pair
    assert other.read() == []
    assert one.send(5, b"first")
    assert one.send(6, b"second", [b"", b"buffer", bytearray(b"x")])
    assert not one.has_unsent
    assert plain(read_until(other, 2)) == [
        (5, 1, b"first", []),
        (6, 2, b"second", [b"", b"buffer", b"x"]),
    ]
    assert one.bytes_sent == other.bytes_received > 0


def test_acknowledged_numbers(pair: tuple[FrameSocket, FrameSocket]) -> None:
    """A frame carries the number of the last frame that had come whole when it was sent."""
    one, other = pair
    for _ in range(3):
        one.send(0, b"m")
    read_until(other, 3)
    other.send(0, b"m")
    assert [f.ack for f in read_until(one, 1)] == [3]


def test_large_both_ways_at_once(pair: tuple[FrameSocket, FrameSocket]) -> None:
    """64 MiB each way at the same time arrive whole: neither side waits for the other to read first."""
    data = [bytes([n]) * (64 * MIB) for n in (1, 2)]
    got: dict[int, list[Frame]] = {}

    def side(n: int) -> None:
        pair[n].send(1, b"large", [b"head", data[n], b"tail"])
        got[n] = read_until(pair[n], 1, flush=True)

    together(lambda: side(0), lambda: side(1))
    for n in (0, 1):
        (frame,) = got[n]
        assert [len(b) for b in frame.buffers] == [4, 64 * MIB, 4]
        assert frame.buffers[1] == data[1 - n]
        assert not frame.buffers[1].readonly


def test_peer_that_does_not_read(pair: tuple[FrameSocket, FrameSocket]) -> None:
    """What the kernel does not take waits in order, and leaves by flush when the peer reads again."""
    one, other = pair
    buffers = [bytes([n]) * MIB for n in range(24)]
    left = [one.send(n, b"m%d" % n, [buffers[n]]) for n in range(24)]
    assert not all(left)
    assert one.has_unsent
    assert not one.send(99, b"small")  # does not overtake
    assert not one.flush()
    frames: list[Frame] = []
    together(one.flush_all, lambda: frames.extend(read_until(other, 25)))
    assert not one.has_unsent
    assert one.flush()
    assert [(f.seq, f.call, f.message) for f in frames] == [
        *[(n + 1, n, b"m%d" % n) for n in range(24)],
        (25, 99, b"small"),
    ]
    assert [f.buffers[0] == buffers[n] for n, f in enumerate(frames[:24])] == [True] * 24
    assert one.bytes_sent == other.bytes_received


def test_small_frames_to_a_peer_that_does_not_read(pair: tuple[FrameSocket, FrameSocket]) -> None:
    """A small frame of which the kernel took only a part goes on where it was cut."""
    one, other = pair
    count = 0
    while one.send(count, b"x" * 9973):
        count += 1
    frames: list[Frame] = []
    together(one.flush_all, lambda: frames.extend(read_until(other, count + 1)))
    assert [(f.seq, f.call, len(f.message)) for f in frames] == [(n + 1, n, 9973) for n in range(count + 1)]


def test_many_sending_threads(pair: tuple[FrameSocket, FrameSocket]) -> None:
    """Frames of many threads arrive whole, numbered in the order of the wire, each thread's own in order."""
    one, other = pair
    frames: list[Frame] = []
    each = 150

    def send(thread: int) -> None:
        for n in range(each):
            one.send(thread, b"%d" % n, [bytes([thread]) * (n * 700 % 99_991)])

    def receive() -> None:
        frames.extend(read_until(other, 8 * each))

    def flush() -> None:
        poll = select.poll()
        poll.register(one.fileno(), select.POLLOUT)
        while other.bytes_received < total:
            one.flush()
            poll.poll(10)

    total = sum(
        sum(len(p) for p in encode_frame(0, 1, 0, b"%d" % n, [bytes(n * 700 % 99_991)]))
        for n in range(each)
        for _ in range(8)
    )
    together(receive, flush, *[lambda t=t: send(t) for t in range(8)])
    assert [f.seq for f in frames] == list(range(1, 8 * each + 1))
    for thread in range(8):
        mine = [f for f in frames if f.call == thread]
        assert [f.message for f in mine] == [b"%d" % n for n in range(each)]
        assert all(f.buffers[0] == bytes([thread]) * (n * 700 % 99_991) for n, f in enumerate(mine))


def test_one_reader_at_a_time(pair: tuple[FrameSocket, FrameSocket]) -> None:
    """A second reader finds nothing, and takes nothing from the first."""
    one, other = pair
    one.send(1, b"m")
    with other._reading:
        assert other.read() == []
    assert plain(read_until(other, 1)) == [(1, 1, b"m", [])]


def test_end(pair: tuple[FrameSocket, FrameSocket]) -> None:
    """What came before the other side closed is read first, then EOFError; sending there is an OSError."""
    one, other = pair
    one.send(1, b"last words")
    one.close()
    one.close()
    assert one.is_closed
    assert one.fileno() == -1
    assert plain(read_until(other, 1)) == [(1, 1, b"last words", [])]
    with pytest.raises(EOFError, match="closed the connection"):
        other.read()
    with contextlib.suppress(OSError):  # TCP tells by the second one only
        other.send(1, b"m")
    poll = select.poll()
    poll.register(other.fileno(), select.POLLHUP)
    poll.poll(SECONDS * 1000)
    with pytest.raises(OSError):  # noqa: PT011 - broken pipe or reset
        other.send(1, b"m")
    with pytest.raises(OSError):  # noqa: PT011 - bad descriptor
        one.send(1, b"m")


def test_end_in_the_middle_of_a_frame(raw: tuple[socket.socket, socket.socket]) -> None:
    """A frame that is cut off is no frame: EOFError."""
    data = b"".join(encode_frame(1, 1, 0, b"m", [b"x" * 300_000]))
    other = FrameSocket(raw[1])
    raw[0].sendall(data[:1000])
    raw[0].shutdown(socket.SHUT_WR)
    with pytest.raises(EOFError):
        read_until(other, 1)
    other.close()


def test_single_bytes(raw: tuple[socket.socket, socket.socket]) -> None:
    """A frame that comes byte by byte comes out when its last byte is there."""
    other = FrameSocket(raw[1])
    if raw[0].family == socket.AF_INET:
        raw[0].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    data = b"".join(encode_frame(1, 1, 0, b"m", [b"abc"]))
    frames: list[Frame] = []
    poll = select.poll()
    poll.register(raw[1], select.POLLIN)
    for byte in data:
        assert frames == []
        raw[0].send(bytes([byte]))
        assert poll.poll(SECONDS * 1000)
        frames += other.read()
    assert plain(frames) == [(1, 1, b"m", [b"abc"])]
    other.close()


def test_no_frame_and_limits(raw: tuple[socket.socket, socket.socket]) -> None:
    """Bytes that are no frame, and frames over the given limits, are `ProtocolError`."""
    other = FrameSocket(raw[1], WireLimits(payload=10))
    raw[0].sendall(b"".join(encode_frame(1, 1, 0, b"m", [b"x" * 11])))
    with pytest.raises(ProtocolError, match="over the limit"):
        read_until(other, 1)
    with contextlib.closing(FrameSocket(raw[0])) as one:
        raw[1].send(b"GET / HTTP/1.1\r\n\r\n")
        with pytest.raises(ProtocolError, match="no frame"):
            read_until(one, 1)
    other.close()


def test_a_frame_that_cannot_be_made_takes_no_number(pair: tuple[FrameSocket, FrameSocket]) -> None:
    """After a buffer that cannot be sent the connection is as good as before."""
    one, other = pair
    strided = memoryview(bytes(100))[::2]
    with pytest.raises(TypeError):
        one.send(1, b"m", [strided])
    one.send(2, b"next")
    assert plain(read_until(other, 1)) == [(2, 1, b"next", [])]


class GreedySocket(socket.socket):
    """A socket whose kernel takes everything at once, as with very large buffers, and keeps it here."""

    taken: bytearray

    def sendmsg(self, buffers: object, *args: object) -> int:  # type: ignore[override]
        data = b"".join(buffers)  # type: ignore[call-overload]
        self.taken += data
        return len(data)

    def send(self, data: object, *args: object) -> int:  # type: ignore[override]
        self.taken += data  # type: ignore[operator]
        return memoryview(data).nbytes  # type: ignore[arg-type]


def test_pieces_larger_than_one_system_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing follows a piece of which only the beginning is handed to the kernel, however much it takes."""
    monkeypatch.setattr(framesocket, "_PIECE", 1 << 17)
    buffers = [b"a" * (1 << 18), b"b" * 100, b"c" * ((1 << 17) + 1), b"d" * (1 << 17), *[b"e"] * 200]
    with GreedySocket(socket.AF_UNIX, socket.SOCK_STREAM) as greedy:
        greedy.taken = bytearray()
        assert FrameSocket(greedy).send(1, b"m", buffers)
        assert bytes(greedy.taken) == b"".join(encode_frame(1, 1, 0, b"m", buffers))


def test_close_while_others_send(raw: tuple[socket.socket, socket.socket]) -> None:
    """Closing while other threads send and flush ends them by OSError at most, nothing else."""
    one = FrameSocket(raw[0])
    started = threading.Barrier(4)

    def send() -> None:
        started.wait(SECONDS)
        with contextlib.suppress(OSError):
            while not one.is_closed:
                one.send(1, b"m", [b"x" * 100_000])

    def flush() -> None:
        started.wait(SECONDS)
        with contextlib.suppress(OSError):
            while not one.is_closed:
                one.flush()

    def close() -> None:
        started.wait(SECONDS)
        raw[1].recv(1 << 16)
        one.close()

    together(send, send, flush, close)
    assert not one.has_unsent
