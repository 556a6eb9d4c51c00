"""Row 12: the token is in its file, 0600, made O_EXCL, in a 0700 folder, and nowhere else."""

from __future__ import annotations

import os
import pickle
import re
import socket
import threading
import traceback
from pathlib import Path

import pytest
from checks import serving, unharmed
from live import SECONDS, family
from strangers import stranger

import rpc_magic
from rpc_magic import errors
from rpc_magic.runtime.addresses import parse_address
from rpc_magic.runtime.tokens import read_token

WATCH = """
import os, sys
if "rpc_magic.server" in sys.orig_argv:
    log = open(os.environ["WATCH_LOG"], "a", buffering=1)
    def hook(event, args):
        if event == "open" and ".token" in str(args[0]):
            log.write(f"{args[0]} {args[2]}\\n")
    sys.addaudithook(hook)
"""


def forms(token: bytes) -> list[bytes]:
    """Return the ways in which a token may be written."""
    return [bytes(token), token.hex().encode(), repr(bytes(token))[2:-1].encode()]


def relay_to(url: str, said: bytearray):
    """Return what relays a connection to a server and keeps every byte."""
    address = parse_address(url)

    def copy(source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(1 << 16):
                said.extend(data)
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def relay(sock: socket.socket) -> None:
        with socket.create_connection((address.host, address.port), SECONDS) as server:
            back = threading.Thread(target=copy, args=(server, sock))
            back.start()
            copy(sock, server)
            back.join()

    return relay


def test_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in argv, environment, log, record, repr, errors, tracebacks with variables, nor in any byte on the wire."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(WATCH)
    monkeypatch.setenv("PYTHONPATH", str(site))
    monkeypatch.setenv("WATCH_LOG", str(tmp_path / "opened"))
    said = bytearray()
    with serving(tmp_path, "--port", "0", "--name", "secretive") as server, unharmed(server):
        path = Path(server.token_file)
        token = read_token(path)
        texts = [server.log.encode()]
        with stranger(relay_to(server.url, said)) as place:
            with rpc_magic.connect(place, token_file=path) as conn:
                assert conn.call(abs, -1) == 1
                place_there = conn.attachment.place
                texts += [repr(one).encode() for one in (conn, conn.info(), place_there, [token])]
                texts += [str(place_there).encode(), f"{token}".encode()]
                for pid in family(server.process.pid):
                    for name in ("cmdline", "environ"):
                        texts.append(Path(f"/proc/{pid}/{name}").read_bytes())
            wrong = bytes(reversed(token))
            for attempt in ({"token": wrong.hex()}, {"token": wrong}, {"token": wrong.hex()[:-1]}):
                with pytest.raises(errors.RpcMagicError) as caught:
                    rpc_magic.connect(place, **attempt)
                texts.append(pickle.dumps(caught.value) + str(caught.value).encode())
                frames = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
                ours = [line for line in frames.format() if "/rpc_magic/" in line and "/tests/" not in line]
                assert ours
                texts += [line.encode() for line in ours]
        texts += [bytes(said), server.log.encode()]
        for record in (path.parents[1] / "servers").iterdir():
            texts.append(record.read_bytes())
        for text in texts:
            for secret in [*forms(token), *forms(wrong), wrong.hex()[:-1].encode()]:
                assert secret not in text
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700
        written = [line.split() for line in (tmp_path / "opened").read_text().splitlines()]
        made = [flags for name, flags in written if int(flags) & os.O_CREAT and re.search("secretive", name)]
        assert made
        assert all(int(flags) & os.O_EXCL for flags in made)
