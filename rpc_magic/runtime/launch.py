"""Starting a server: the supervisor's configuration, and the process itself."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from rpc_magic.errors import ConnectError

__all__ = ["SupervisorConfig", "command", "start"]

_PACKAGE_PARENT = str(Path(__file__).resolve().parents[2])


class SupervisorConfig(msgspec.Struct, frozen=True):
    """What a supervisor is told at its start. It stands on the command line, so it holds no secret.

    Attributes:
        url: where to listen; port 0 asks for a free one.
        name: the server's; empty takes one from the address.
        token_file: where the token is read; empty makes one in the runtime folder.
        token_fd: an inherited descriptor from which 64 hexadecimal digits are read instead; -1 for none.
        sessions: run cells and functions.
        plain_arguments: exposed functions take plain data only.
        program_fd: an inherited packet socket to the program that exposes functions; -1 for none.
        expose: modules to expose; the supervisor then starts the exposing program itself.
        threads: of that program.
        watch_pid: the process that this server ends with; 0 for none.
        cwd: folder in which sessions of clients on other machines start; empty is the home folder.
        is_recorded: write a record, by which clients on this machine find the server.
        orphan_seconds, session_ttl, stop_seconds: see `ServerSettings`.
        max_sessions: its `sessions`.
        memory_limit: its `memory`.
        keep: when it is told to end, keep its sessions' variables for a server that is started again.
        limits: its other `LIMITS`, by name.
        tls_cert, tls_key: files of a certificate and its key, for an `rpc://` URL; empty takes the user's own, which is
            made when it is first needed.
    """

    url: str
    name: str = ""
    token_file: str = ""
    token_fd: int = -1
    sessions: bool = True
    plain_arguments: bool = False
    program_fd: int = -1
    expose: tuple[str, ...] = ()
    threads: int = 1
    watch_pid: int = 0
    cwd: str = ""
    is_recorded: bool = True
    orphan_seconds: float = 600.0
    session_ttl: float = 24 * 3600.0
    stop_seconds: float = 5.0
    max_sessions: int = 64
    memory_limit: int = 0
    keep: bool = True
    limits: dict[str, int] = {}
    tls_cert: str = ""
    tls_key: str = ""


def environment() -> dict[str, str]:
    """Return the environment for a process of ours: it must find the same rpc_magic as this one."""
    environ = dict(os.environ)
    path = environ.get("PYTHONPATH", "")
    if _PACKAGE_PARENT not in path.split(os.pathsep):
        environ["PYTHONPATH"] = _PACKAGE_PARENT + (os.pathsep + path if path else "")
    return environ


def command(config: SupervisorConfig) -> list[str]:
    """Return the supervisor's command line. ``-P``: a module of the current folder must not stand in for Python's."""
    return [sys.executable, "-P", "-m", "rpc_magic.server", msgspec.json.encode(config).decode()]


def start(
    config: SupervisorConfig,
    *,
    token: bytes | None = None,
    pass_fds: tuple[int, ...] = (),
    timeout: float = 10.0,
) -> tuple[subprocess.Popen[bytes], str]:
    """Start a supervisor and wait until it listens.

    Args:
        config: what it is told.
        token: handed over through a pipe, never through the command line, the environment or a file.
        pass_fds: further descriptors it inherits.
        timeout: seconds.

    Returns:
        The process, and the URL that it printed.

    Raises:
        ConnectError: it ended, or did not listen in time; the end of what it wrote is in the message.
    """
    if token is not None:
        reading, writing = os.pipe()
        os.write(writing, token.hex().encode())
        os.close(writing)
        config = msgspec.structs.replace(config, token_fd=reading)
        pass_fds = (*pass_fds, reading)
    try:
        process = subprocess.Popen(
            command(config),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
            pass_fds=pass_fds,
            start_new_session=True,
        )
    finally:
        if token is not None:
            os.close(reading)
    assert process.stdout is not None
    assert process.stderr is not None
    line = _first_line(process, time.monotonic() + timeout)
    if line.endswith(b"\n"):
        process.stdout.close()
        process.stderr.close()
        return process, line.decode().strip()
    process.kill()
    words = process.communicate()[1].decode(errors="replace").strip()
    last = words.splitlines()[-1].removeprefix("rpc-magic: ").removesuffix(".") if words else ""
    reason = last or f"it did not listen within {timeout:g} s"
    raise ConnectError(config.url, f"the server could not be started: {reason}")


def _first_line(process: subprocess.Popen[bytes], deadline: float) -> bytes:
    assert process.stdout is not None
    line = b""
    poll = select.poll()
    poll.register(process.stdout, select.POLLIN)
    while not line.endswith(b"\n") and (left := deadline - time.monotonic()) > 0:
        if not poll.poll(left * 1000):
            continue
        with contextlib.suppress(BlockingIOError):
            more = os.read(process.stdout.fileno(), 4096)
            if not more:
                break
            line += more
    return line
