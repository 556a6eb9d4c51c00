"""Row 1: a pickle sent anywhere before and in place of what is due: closed, and nothing is unpickled."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from checks import Server, serving, unharmed
from live import eventually
from speaking import attached, frame, pickled_touch, token_of
from strangers import dial, is_closed, prove, receive

from rpc_magic.wire import control
from rpc_magic.wire.handshake import (
    CHALLENGE_SIZE,
    VERDICT_SIZE,
    ClientHandshake,
    Role,
    Verdict,
    read_verdict,
)

AUDIT = """
import os, signal, sys

def hook(event, arguments):
    if event == "pickle.find_class":
        with open({folder!r} + "/found", "a") as file:
            file.write(f"{{os.getpid()}} {{arguments}}\\n")

def tell(*_):
    with open({folder!r} + f"/modules-{{os.getpid()}}.new", "w") as file:
        file.write("\\n".join(sys.modules))
    os.rename(file.name, file.name[:-4])

if "rpc_magic.server" in sys.orig_argv:
    sys.addaudithook(hook)
    signal.signal(signal.SIGUSR1, tell)
"""


class Watched(Server):
    """A server whose supervisor tells what it unpickles, and which modules it has loaded."""

    @property
    def found(self) -> str:
        path = self.folder / "found"
        return path.read_text() if path.exists() else ""

    @property
    def modules(self) -> set[str]:
        path = self.folder / f"modules-{self.process.pid}"
        path.unlink(missing_ok=True)
        os.kill(self.process.pid, signal.SIGUSR1)
        eventually(path.exists)
        return set(path.read_text().split())


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("watched")
    (folder / "sitecustomize.py").write_text(AUDIT.format(folder=str(folder)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder))
        server = Watched(folder, "--port", "0")
    try:
        yield server
    finally:
        server.stop()


def hello(server: Server, at: int, piece: bytes) -> bytes:
    """Return a hello with a piece of a pickle in it."""
    whole = ClientHandshake("x", token_of(server), Role.CONTROL, b"c" * 16).hello
    return whole[:at] + piece + whole[at + len(piece) :]


def test_in_the_hello(watched: Watched, tmp_path: Path) -> None:
    """As the first bytes, and in each field: closed, or a challenge that nobody can answer."""
    bad = pickled_touch(tmp_path / "touched")
    with unharmed(watched, "before its proof: it speaks another protocol"):
        for sent in (bad, bad * 100, hello(watched, 8, bad[:76])):
            with dial(watched) as sock:
                sock.sendall(sent)
                assert is_closed(sock)
        for at, size in (
            (12, 16),
            (28, 16),
            (44, 8),
            (52, 32),
            (12, 72),
        ):  # client, ticket, resume, nonce, all
            with dial(watched) as sock:
                sock.sendall(hello(watched, at, bad[:size]))
                receive(sock, CHALLENGE_SIZE)
                sock.sendall(bad[:32])
                assert read_verdict(receive(sock, VERDICT_SIZE)) is Verdict.REFUSED
                assert is_closed(sock)
    assert not (tmp_path / "touched").exists()
    assert watched.found == ""
    assert not watched.modules & {
        "dill",
        "pickle",
        "_pickle",
        "numpy",
        "IPython",
        "cloudpickle",
        "rpc_magic.serial",
    }


def test_after_the_proof(watched: Watched, tmp_path: Path) -> None:
    """As a frame, as a message, as the name of a session, as a ticket: not even of one who knows the token."""
    bad = pickled_touch(tmp_path / "touched")
    name = bad.decode("latin-1")
    client = control.ClientInfo(1, "here", "somebody", (3, 11, 0), process=bad)
    broken = (bad, frame(bad), frame(bad, seq=1), frame(b"\x91\x01" + bad, seq=1))
    with unharmed(watched, "broke the protocol"):
        for sent in broken:
            with dial(watched) as sock:
                assert prove(sock, token_of(watched)) is Verdict.ADMITTED
                sock.sendall(sent)
                while sock.recv(1 << 16):
                    pass
        for ticket in (bad[:16], bad):
            with dial(watched) as sock:
                assert prove(sock, token_of(watched)) is Verdict.ADMITTED
                attach = control.Attach(name, take=True, client=client, ticket=ticket)
                sock.sendall(
                    frame(control.encode(attach), seq=1)
                    + frame(control.encode(control.Detach(end=True)), seq=2)
                )
                while sock.recv(1 << 16):
                    pass
        with dial(watched) as sock:
            assert prove(sock, token_of(watched), Role.DATA, bad[:16]) is Verdict.NO_SUCH_SESSION
        with attached(watched, name) as speaker:
            speaker.say(control.encode(control.EndSession(name)))
            assert isinstance(control.decode_to_client(speaker.hear().message), control.SessionEnded)
    assert not (tmp_path / "touched").exists()
    assert watched.found == ""
    assert "pickle" not in watched.modules


def test_the_audit_sees(tmp_path: Path) -> None:
    """The hook tells of a pickle that is loaded, so that its silence means something."""
    (tmp_path / "sitecustomize.py").write_text(
        AUDIT.format(folder=str(tmp_path)) + "\nimport pickle\npickle.loads(b'cos\\ngetpid\\n.')\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(tmp_path))
        with serving(tmp_path, "--port", "0"):
            assert "getpid" in (tmp_path / "found").read_text()
