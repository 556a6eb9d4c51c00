"""Row 14: any bytes at all, whole or one at a time, to either side's parser: parsed, or the connection is closed."""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from checks import Server, serving, unharmed
from speaking import Speaker, attached, frame, hostile, token_of
from strangers import dial, prove

import rpc_magic
from rpc_magic import errors
from rpc_magic.wire import control, messages
from rpc_magic.wire.frames import Frame
from rpc_magic.wire.handshake import ClientHandshake, Role, Verdict

SAID = [
    messages.encode(m)
    for m in (
        messages.Put(),
        messages.Drop(("a",)),
        messages.CancelCall(7),
        messages.Follow(3),
        messages.InputReply("x"),
        messages.Acknowledge(),
        messages.ModuleFound(9),
        messages.AllNamed(1),
        messages.Lacking(1, ((0, 0),)),
        messages.Returned(),
        messages.Returned(plain=True),
        messages.Resumed(is_known=True),
        messages.Stream("stdout", "x"),
        messages.CommMessage("comm_msg", "x", {}, {}),
    )
] + [
    control.encode(m)
    for m in (control.Ping(1), control.ListSessions(), control.Taken("x"), control.Pong(1, "x"))
]


def streams(seed: int, count: int) -> Iterator[bytes]:
    """Noise, frames of noise, and frames of messages that somebody has bent."""
    chance = random.Random(seed)
    for number in range(count):
        if number % 3 == 0:
            yield chance.randbytes(chance.randrange(1, 300))
            continue
        stream = b""
        for seq in range(1, chance.randrange(2, 6)):
            message = bytearray(chance.choice(SAID) if number % 3 == 1 else chance.randbytes(20))
            if chance.randrange(2):
                message[chance.randrange(len(message))] = chance.randrange(256)
            buffers = [chance.randbytes(chance.randrange(50)) for _ in range(chance.randrange(3))]
            number_of = chance.choice([seq, seq, 0])
            stream += frame(bytes(message), buffers, call=chance.randrange(3), seq=number_of)
        yield stream


def pour(sock: socket.socket, stream: bytes, *, is_whole: bool) -> None:
    """Say it whole or one byte at a time, then no more; wait until the other side has closed."""
    with contextlib.suppress(OSError):  # closed already
        for start in range(0, len(stream), len(stream) if is_whole else 1):
            sock.sendall(stream[start : start + (len(stream) if is_whole else 1)])
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(1 << 16):
            pass


@pytest.fixture(scope="module")
def exposing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that exposes a function as well."""
    folder: Path = tmp_path_factory.mktemp("exposing")
    (folder / "exposed_here.py").write_text("def add(a, b):\n    return a + b\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder))
        with serving(folder, "--port", "0", "--expose", "exposed_here") as server:
            yield server


@pytest.mark.parametrize("is_whole", [True, False], ids=["whole", "byte by byte"])
def test_before_the_proof(exposing: Server, is_whole: bool) -> None:
    """Noise, a hello with a byte changed, a hello that is cut: closed."""
    chance = random.Random(1)
    with unharmed(exposing):
        for stream in streams(2, 12):
            with dial(exposing) as sock:
                pour(sock, stream, is_whole=is_whole)
        for _ in range(12):
            hello = bytearray(ClientHandshake("x", bytes(32), Role.CONTROL, bytes(16)).hello)
            hello[chance.randrange(len(hello))] ^= 1 << chance.randrange(8)
            with dial(exposing) as sock:
                pour(sock, bytes(hello[: chance.choice([84, 84, 50])]) + bytes(32), is_whole=is_whole)
    assert "a connection was closed before its proof: it speaks another protocol" in exposing.log


@pytest.mark.parametrize(
    "role", [Role.CONTROL, Role.DATA, Role.FUNCTIONS, Role.ENGINE], ids=lambda role: role.name
)
def test_after_the_proof(exposing: Server, role: Role) -> None:
    """Each parser of the server: what cannot be parsed closes that connection, and the process goes on."""
    with unharmed(exposing), attached(exposing, "") as held:
        ticket = held.ticket if role in {Role.DATA, Role.ENGINE} else bytes(16)
        for number, stream in enumerate(streams(int(role), 24)):
            with dial(exposing) as sock:
                assert prove(sock, token_of(exposing), role, ticket) is Verdict.ADMITTED
                pour(sock, stream, is_whole=number % 2 == 0)
        if role is Role.DATA:
            with dial(exposing) as sock:
                assert prove(sock, token_of(exposing), role, ticket) is Verdict.ADMITTED
                speaker = Speaker(sock)
                speaker.say(messages.encode(messages.Pull(("no_such_name",))), call=1)
                while not isinstance(
                    answer := messages.decode_answer(speaker.hear().message), messages.Missing
                ):
                    pass
                assert answer.names == ("no_such_name",)
        with rpc_magic.connect(exposing.url) as conn:
            assert conn.functions.add(2, 3) == 5


@pytest.mark.parametrize("results", ["any", "data"])
def test_a_client(server: Server, tmp_path: Path, results: str) -> None:
    """A server that answers with any bytes: the call ends with an error, and the process can do everything else."""
    waiting = list(streams(5 if results == "any" else 7, 6))

    def reply(speaker: Speaker, heard: Frame) -> None:
        if not waiting:
            return
        stream = waiting.pop()
        pieces = [stream] if len(waiting) % 2 else [stream[n : n + 1] for n in range(len(stream))]
        for piece in pieces:
            speaker.sock.sendall(piece)
        speaker.sock.sendall(b"this is no frame at all, and long enough for a header")

    with unharmed(server), hostile(tmp_path, reply) as place:
        while waiting:
            with (
                rpc_magic.connect(**place, results=results) as conn,
                contextlib.suppress(errors.RpcMagicError),
            ):
                conn.call(abs, 1)


def test_a_greeting(server: Server, tmp_path: Path) -> None:
    """A server that greets with any bytes: ConnectError or its like, at once."""
    with unharmed(server):
        for stream in streams(6, 15):
            with (
                hostile(
                    tmp_path, lambda *_: None, stream + b"this is no frame at all, and long enough"
                ) as place,
                pytest.raises(errors.RpcMagicError),
            ):
                rpc_magic.connect(**place).close()


SAYING = """
import contextlib, os, socket
for fd in map(int, os.listdir("/proc/self/fd")):
    try:
        link = socket.socket(fileno=os.dup(fd))
    except OSError:
        continue
    if link.type == socket.SOCK_SEQPACKET:
        for said in (b"\\x92\\x1a\\x63", b"\\x92\\x1a\\xc0", b"no message"):
            with contextlib.suppress(OSError):  # the other side hears no more
                socket.send_fds(link, [said], [0, 1])
    link.close()
"""


def test_what_user_code_says_to_its_own_server(server: Server) -> None:
    """On the sockets of its process it may say what it likes, with descriptors: nothing stays, nothing escapes."""
    with unharmed(server), rpc_magic.connect(server.url) as conn:
        conn.run(SAYING)
        assert conn.call(abs, -1) == 1
