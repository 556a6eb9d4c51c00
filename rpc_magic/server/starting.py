"""Starting a supervisor: its token, certificate and address, and what an earlier one has left."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import subprocess
import sys
from pathlib import Path

import msgspec

from rpc_magic.errors import ConnectError, RpcMagicError
from rpc_magic.runtime import records, tokens
from rpc_magic.runtime.addresses import Address, parse_address
from rpc_magic.runtime.folders import runtime_folder, state_folder
from rpc_magic.runtime.launch import SupervisorConfig, environment
from rpc_magic.server.adoption import TakenKeeper, find_keepers, identity
from rpc_magic.server.certificates import find_identity
from rpc_magic.server.keepers import Start
from rpc_magic.server.listening import listen
from rpc_magic.server.supervisor import Supervisor
from rpc_magic.transport.packets import PacketSocket

__all__ = ["run"]


def _find_token(config: SupervisorConfig) -> tuple[bytes, str]:
    """Return the token and the path of its file; make both where nothing is stated."""
    if config.token_fd >= 0:
        with os.fdopen(config.token_fd) as pipe:
            return tokens.parse_token(pipe.read()), ""
    stated = config.token_file or os.environ.get(tokens.TOKEN_FILE_VARIABLE, "")
    if stated:
        return tokens.read_token(Path(stated)), str(Path(stated).resolve())
    path = tokens.token_path(config.name)
    if not path.exists():
        tokens.make_token(path)
    return tokens.read_token(path), str(path)


def _start_program(config: SupervisorConfig) -> PacketSocket:
    """Start the process that exposes the functions of modules; wait until they are imported."""
    mine, theirs = PacketSocket.pair()
    argv = [
        sys.executable,
        "-m",
        "rpc_magic.worker.program",
        str(theirs.fileno()),
        msgspec.json.encode(config).decode(),
    ]
    process = subprocess.Popen(
        argv,
        pass_fds=[theirs.fileno()],
        env=environment(),
        stdin=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C in the terminal is for the server, which ends it
    )
    theirs.close()
    mine.wait()
    try:
        mine.receive()
    except EOFError:
        process.wait()
        raise RpcMagicError(
            f"the functions of {', '.join(config.expose)} could not be exposed (see above)"
        ) from None
    return mine


def _listen_again(config: SupervisorConfig) -> tuple[socket.socket, Address, list[TakenKeeper]]:
    """Listen, and take over what an earlier supervisor of this server has left; open ports are its ports again."""
    keepers: list[TakenKeeper] = []
    wanted = parse_address(config.url)
    may_adopt = config.sessions and config.orphan_seconds
    if may_adopt and config.name and wanted.scheme != "unix" and not wanted.port:
        keepers = find_keepers(config.name)
        for keeper in keepers:
            with contextlib.suppress(ConnectError):
                return *listen(keeper.url), keepers
    listener, address = listen(wanted.url)
    if may_adopt and not keepers:
        keepers = find_keepers(identity(config, address.url))
    return listener, address, keepers


def _check_free(name: str) -> None:
    other = records.find(name)
    if other is not None:
        raise RpcMagicError(f"a server named {name!r} runs already at {other.url}; use another --name")


def run(text: str, keeper: tuple[int, socket.socket] | None, start_keeper: Start) -> int:
    """Run a supervisor until it is told to end; return its exit status."""
    config = msgspec.json.decode(text, type=SupervisorConfig)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    try:
        token, token_file = _find_token(config)
        if config.name:
            _check_free(records.check_name(config.name))
        is_secure = parse_address(config.url).scheme == "rpc"
        tls = find_identity(config.tls_cert, config.tls_key) if is_secure else None
        listener, address, keepers = _listen_again(config)
        program = PacketSocket.from_descriptor(config.program_fd) if config.program_fd >= 0 else None
        if config.expose:
            program = _start_program(config)
    except (RpcMagicError, OSError) as error:
        return _refuse(error)

    async def main() -> None:
        supervisor = Supervisor(
            config, listener, address, token, token_file, keeper, start_keeper, program, tls
        )
        supervisor.adopt(keepers)
        await supervisor.serve()

    try:
        asyncio.run(main())
    except OSError as error:  # what it wanted to write before it served
        return _refuse(error)
    return 0


def _refuse(error: RpcMagicError | OSError) -> int:
    """Say in one sentence why there is no server; return the exit status."""
    match error:
        case ConnectError():
            text = f"{error.reason}. {error.hint}"
        case OSError():
            text = f"the server cannot start: {error.strerror or error}; its files are in {runtime_folder()}"
            text += "" if state_folder() == runtime_folder() else f" and {state_folder()}"
        case _:
            text = str(error)
    with contextlib.suppress(OSError):
        print(f"rpc-magic: {text}", file=sys.stderr)  # noqa: T201 - a program's own words
    return 2
