"""Those who know the token and then lie: clients that say any bytes to a server, servers that do so to a client."""

from __future__ import annotations

import contextlib
import os
import pickle
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from checks import Server
from live import SECONDS
from strangers import dial, prove, receive, stranger

from rpc_magic.runtime.processes import machine_id, python_tag
from rpc_magic.wire import control, messages
from rpc_magic.wire.frames import Frame, FrameReader, encode_frame
from rpc_magic.wire.handshake import HELLO_SIZE, PROOF_SIZE, Role, ServerHandshake, Verdict, write_verdict

__all__ = ["Speaker", "attached", "frame", "hostile", "pickled_touch", "token_of"]

TOKEN = bytes(range(32))


def frame(
    message: bytes, buffers: list[bytes] | tuple[()] = (), *, call: int = 0, seq: int = 0, transfer: int = 0
) -> bytes:
    return b"".join(encode_frame(call, seq, 0, message, buffers, transfer))


def token_of(server: Server) -> bytes:
    return bytes.fromhex(Path(server.token_file).read_text().strip())


class _Touch:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.path}",)


def pickled_touch(path: Path) -> bytes:
    """Return a pickle that makes a file when it is loaded."""
    return pickle.dumps(_Touch(path), protocol=2)


class Speaker:
    """One proved connection, on which anything is said."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._reader = FrameReader()
        self._frames: list[Frame] = []
        self.seq = 0
        self.ticket, self.worker_pid = bytes(16), 0

    def hear(self) -> Frame:
        """Return the next frame that comes."""
        while not self._frames:
            n = self.sock.recv_into(self._reader.buffer_to_fill())
            if not n:
                raise EOFError
            self._frames = self._reader.filled(n)
        return self._frames.pop(0)

    def say(self, message: bytes, buffers: list[bytes] | tuple[()] = (), *, call: int = 0) -> None:
        self.seq += 1
        self.sock.sendall(frame(message, buffers, call=call, seq=self.seq))

    def is_closed(self) -> bool:
        """Tell whether the other side closes, whatever it says before."""
        with contextlib.suppress(ConnectionError):
            while self.sock.recv(1 << 16):
                pass
        return True


@contextmanager
def attached(server: Server, session: str, role: Role = Role.CONTROL) -> Iterator[Speaker]:
    """Hold a session; gives its control connection, or the one of another role."""
    token = token_of(server)
    with contextlib.ExitStack() as closing:
        sock = closing.enter_context(dial(server))
        assert prove(sock, token) is Verdict.ADMITTED
        if role is Role.FUNCTIONS:
            sock = closing.enter_context(dial(server))
            assert prove(sock, token, role) is Verdict.ADMITTED
            yield Speaker(sock)
            return
        speaker = Speaker(sock)
        client = control.ClientInfo(os.getpid(), "here", "somebody", python_tag(), process=os.urandom(16))
        speaker.say(control.encode(control.Attach(session, take=True, client=client)))
        while not isinstance(
            answer := control.decode_to_client(speaker.hear().message),
            (control.Attached, control.NotAttached),
        ):
            pass
        assert isinstance(answer, control.Attached), answer
        speaker.ticket, speaker.worker_pid = answer.ticket, answer.worker_pid
        held = speaker
        if role is not Role.CONTROL:
            other = closing.enter_context(dial(server))
            assert prove(other, token, role, answer.ticket) is Verdict.ADMITTED
            speaker = Speaker(other)
        try:
            yield speaker
        finally:
            with contextlib.suppress(OSError):
                held.say(control.encode(control.Detach(end=True)))


Reply = Callable[[Speaker, Frame], object]


def _welcome() -> control.Welcome:
    return control.Welcome(
        name="hostile",
        url="",
        pid=1,
        host="there",
        user="mallory",
        machine=machine_id(),
        python=python_tag(),
        versions={},
        has_sessions=True,
        has_functions=True,
        plain_arguments=False,
        payload=1 << 40,
    )


@contextmanager
def hostile(folder: Path, reply: Reply, greeting: bytes | None = None) -> Iterator[dict[str, Any]]:
    """Run a server that knows the token; gives the arguments for `connect`.

    Args:
        folder: for the token's file.
        reply: answers a request on a data or functions connection.
        greeting: what it says on the control connection, in place of a welcome.
    """
    path = folder / "hostile.token"
    path.touch(mode=0o600)
    path.write_text(TOKEN.hex() + "\n")

    def answer(sock: socket.socket) -> None:
        with contextlib.suppress(EOFError, ConnectionError, AssertionError):  # the client has gone
            handshake = ServerHandshake((TOKEN,))
            hello, challenge = handshake.challenge(receive(sock, HELLO_SIZE))
            sock.sendall(challenge)
            assert handshake.is_proved(receive(sock, PROOF_SIZE))
            sock.sendall(write_verdict(Verdict.ADMITTED))
            speaker = Speaker(sock)
            if hello.role is Role.CONTROL:
                _control(speaker, greeting)
            while True:
                heard = speaker.hear()
                if heard.call:
                    reply(speaker, heard)

    with stranger(answer) as url:
        yield {"url": url, "token_file": str(path), "timeout": SECONDS}


def _control(speaker: Speaker, greeting: bytes | None) -> None:
    if greeting is not None:
        speaker.sock.sendall(greeting)
    else:
        speaker.say(control.encode(_welcome()))
    while True:
        match control.decode_to_supervisor(speaker.hear().message):
            case control.Attach(session):
                speaker.say(control.encode(control.Attached(session or "s", b"t" * 16, 1, is_new=True)))
            case control.Ping(number):
                speaker.say(control.encode(control.Pong(number, "idle")))
            case control.Detach():
                return


def returned(*buffers: bytes, is_plain: bool = False) -> tuple[bytes, list[bytes]]:
    """Return the message and buffers of a result."""
    return messages.encode(messages.Returned(is_plain)), list(buffers)
