"""Row 13: a server that knows the token and lies: refused with an error; nothing is loaded by name from the wire."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import sys
import types
from pathlib import Path

import msgspec
import psutil
import pyarrow as pa
import pytest
import zstandard
from checks import Server, unharmed
from speaking import Speaker, frame, hostile, pickled_touch, returned
from strangers import stranger

import rpc_magic
from rpc_magic import errors
from rpc_magic.server.certificates import new_identity
from rpc_magic.transport.tls import server_context
from rpc_magic.wire import messages
from rpc_magic.wire.chunks import CHUNK, LARGE, digest_of
from rpc_magic.wire.frames import HEADER, MAGIC, VERSION, Frame


def test_a_wrong_fingerprint(server: Server, tmp_path: Path) -> None:
    """One that even has the token, and another certificate than is known: refused, and nothing is said to it."""
    pem, heard = tmp_path / "pem", []
    pem.write_bytes(new_identity())
    context = server_context(pem)

    def answer(sock: socket.socket) -> None:
        with contextlib.suppress(OSError), context.wrap_socket(sock, server_side=True) as secured:
            heard.append(secured.recv(1000))

    with unharmed(server), stranger(answer) as place, pytest.raises(errors.AuthenticationError) as caught:
        rpc_magic.connect(f"rpc://{place}/?fp={'0' * 64}", token="ab" * 32)
    assert caught.value.fault == "certificate"
    assert b"".join(heard) == b""


def record(name: str) -> messages.ErrorRecord:
    return messages.ErrorRecord("error", name, "touch it", "")


def call(conn: rpc_magic.Connection) -> object:
    return conn.call("f")


def cell(conn: rpc_magic.Connection) -> object:
    return conn.run("x", outputs=["x"])


def mapped(conn: rpc_magic.Connection) -> object:
    return list(conn.map(abs, [1]))


def submitted(conn: rpc_magic.Connection) -> object:
    return conn.submit(abs, 1).result(30)


def cell_done(payload: object, **fields: object) -> messages.CellDone:
    return messages.CellDone(1, 0.0, **fields)


@pytest.mark.parametrize("ask", [call, cell, mapped, submitted])
def test_a_pickle_in_the_result(server: Server, tmp_path: Path, ask) -> None:
    """Objects where data were agreed upon, as results, variables, exceptions and inside of plain data: not loaded."""
    touched = tmp_path / "touched"
    bad = pickled_touch(touched)
    plain = lambda thing: [msgspec.msgpack.encode(thing)]  # noqa: E731 - shorter below
    answers: list[tuple[messages.Message, list[bytes]]] = [
        (messages.Returned(), [bad]),
        (messages.Returned(plain=True), [bad]),
        (messages.Failed(record("os.system")), [bad]),
        (cell_done(None), [bad]),
        (cell_done(None, error=record("os.system")), plain([1, [[0, [bad]], None, [2, []]]])),
        (cell_done(None), plain([0, [None, None, [2, []]]])),
        (cell_done(None), plain([1, [None, None, [2, [[0, []], 1]]]])),
        (cell_done(None), plain([1, [None, None, [2, [1, 1]]]])),
    ]
    if ask is mapped:
        answers.append((messages.Returned(plain=True), plain([0, [[1, [False, [0, [bad]], bad]]]])))
        answers.append((messages.Returned(plain=True), plain([0, [5]])))
        answers.append((messages.Returned(plain=True), plain([0, []])))

    def reply(speaker: Speaker, heard: Frame) -> None:
        message, buffers = answers[0]
        speaker.say(messages.encode(message), buffers, call=heard.call)

    with (
        unharmed(server),
        hostile(tmp_path, reply) as place,
        rpc_magic.connect(**place, results="data") as conn,
    ):
        while answers:
            with pytest.raises((errors.ProtocolError, errors.RemoteError)):
                ask(conn)
            answers.pop(0)
    assert not touched.exists()


def test_names_of_functions_and_classes(server: Server, tmp_path: Path) -> None:
    """What names ``os.system`` is text: it is shown, listed and raised, and nothing is called or imported."""
    asked: list[str] = []
    module = types.ModuleType("rpc_magic_lazy")
    module.__getattr__ = asked.append
    info = messages.ValueInfo(
        "k", "rpc_magic_lazy.Thing", bundle={"text/html": "<script>1</script>"}, extent="2 columns"
    )

    def reply(speaker: Speaker, heard: Frame) -> None:
        match messages.decode_request(heard.message):
            case messages.CallExposed("fails"):
                speaker.say(messages.encode(messages.Failed(record("os.system"))), call=heard.call)
            case _:
                speaker.say(messages.encode(messages.Kept(info)), call=heard.call)

    sys.modules["rpc_magic_lazy"] = module
    try:
        with (
            unharmed(server),
            hostile(tmp_path, reply) as place,
            rpc_magic.connect(**place, results="data") as conn,
        ):
            with pytest.raises(errors.RemoteError, match=r"os\.system: touch it") as caught:
                conn.call("fails")
            assert type(caught.value) is errors.RemoteError
            value = conn.call("f")
            assert isinstance(value, rpc_magic.RemoteValue)
            assert "get" in dir(value)
            assert "script" not in str(value._repr_mimebundle_())
    finally:
        del sys.modules["rpc_magic_lazy"]
    assert asked == []


def parts(packed: bytes | None = None, **changes: object) -> bytes:
    content = bytes(CHUNK)
    fields = {
        "transfer": 1,
        "buffer": 0,
        "total": LARGE,
        "size": LARGE,
        "start": 0,
        "sizes": (CHUNK,),
        "digests": digest_of(content),
        "named": (False,),
        "packed": packed is not None,
    }
    message = messages.encode(messages.Parts(**(fields | changes)))
    return frame(message, [content if packed is None else packed])


def arrow_bomb() -> bytes:
    sink = pa.BufferOutputStream()
    table = pa.table({"a": pa.array([0.0] * 1000)})
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


HUGE = 1 << 40
BOMB = zstandard.ZstdCompressor(19).compress(bytes(200_000_000))
HOSTILE = {
    "a result of 2^40 bytes": HEADER.pack(MAGIC, VERSION, 0, 2, 1, 1, 0, 1, 0)
    + b"\x91\x3c"
    + struct.pack("!Q", HUGE),
    "2^32 buffers": HEADER.pack(MAGIC, VERSION, 0, 2, 1, 1, 0, (1 << 32) - 1, 0) + b"\x91\x3c",
    "a message of 4 GiB": HEADER.pack(MAGIC, VERSION, 0, (1 << 32) - 1, 1, 1, 0, 0, 0),
    "a buffer of 2^40 bytes in chunks": parts(size=HUGE, total=HUGE),
    "a bomb in a chunk": parts(BOMB),
    "a bomb that says it is small": parts(
        zstandard.ZstdCompressor(write_content_size=False).compress(bytes(10**7))
    ),
    "a digest too many": parts(digests=bytes(32)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_results_beyond_all_limits(server: Server, tmp_path: Path, name: str) -> None:
    """What is too large, or would become so, ends the connection before memory is taken for it."""

    def reply(speaker: Speaker, heard: Frame) -> None:
        speaker.sock.sendall(HOSTILE[name])

    with (
        unharmed(server),
        hostile(tmp_path, reply) as place,
        rpc_magic.connect(**place, results="data") as conn,
    ):
        before = psutil.Process(os.getpid()).memory_info().rss
        with pytest.raises(errors.RpcMagicError):
            conn.call(abs, 1)
        assert psutil.Process(os.getpid()).memory_info().rss < before + 50_000_000


def test_a_compressed_table(server: Server, tmp_path: Path) -> None:
    """An Arrow table that would grow is refused; the connection goes on."""
    message, buffers = returned(msgspec.msgpack.encode([13]), arrow_bomb(), is_plain=True)

    def reply(speaker: Speaker, heard: Frame) -> None:
        speaker.say(message, buffers, call=heard.call)

    with (
        unharmed(server),
        hostile(tmp_path, reply) as place,
        rpc_magic.connect(**place, results="data") as conn,
    ):
        for _ in range(2):
            with pytest.raises(errors.ProtocolError, match="compressed"):
                conn.call("f")
