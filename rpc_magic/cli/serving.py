"""``rpc-magic serve``: this process becomes the supervisor."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import NoReturn

from rpc_magic.errors import ConnectError, RpcMagicError
from rpc_magic.runtime import launch, records, tokens
from rpc_magic.runtime.addresses import parse_address

__all__ = ["configuration", "run"]

_HOST, _PORT = "127.0.0.1", 8000


def configuration(options: argparse.Namespace) -> launch.SupervisorConfig:
    """Return what the supervisor is told.

    Raises:
        RpcMagicError: the options do not fit together, or one of them cannot be right.
    """
    if options.no_sessions and not options.expose:
        raise RpcMagicError("--no-sessions leaves nothing to serve; name functions with --expose MODULE")
    if options.name:
        records.check_name(options.name)
    if options.token_file:
        tokens.read_token(Path(options.token_file).expanduser())
    return launch.SupervisorConfig(
        url=_url(options),
        name=options.name,
        token_file=str(Path(options.token_file).expanduser().resolve()) if options.token_file else "",
        sessions=not options.no_sessions,
        plain_arguments=options.arguments == "data",
        expose=tuple(options.expose),
        threads=options.threads,
        cwd=_folder(options.cwd) if options.cwd else "",
        session_ttl=options.session_ttl,
        orphan_seconds=max(0.0, options.orphan_ttl),
        max_sessions=options.max_sessions,
    )


def _url(options: argparse.Namespace) -> str:
    if options.unix is not None:
        if options.host is not None or options.port is not None:
            raise RpcMagicError(
                "a server listens at a port or on a Unix socket; leave out --unix, or --host and --port"
            )
        return f"unix://{Path(options.unix).expanduser().absolute()}"
    host = options.host or _HOST
    url = f"tcp://{f'[{host}]' if ':' in host else host}:{_PORT if options.port is None else options.port}"
    try:
        return parse_address(url).url
    except ConnectError:
        raise RpcMagicError(
            f"cannot listen at {host}: serving beyond this machine needs TLS, which is not built yet; leave out "
            "--host, and reach the server from elsewhere through an SSH tunnel (ssh -L 8000:localhost:8000 HOST)"
        ) from None


def _folder(text: str) -> str:
    folder = Path(text).expanduser().absolute()
    if not folder.is_dir():
        raise RpcMagicError(f"--cwd: there is no folder {folder}")
    return str(folder)


def run(options: argparse.Namespace) -> NoReturn:
    """Turn this process into the supervisor, so that whoever started it watches and ends the server itself."""
    command = launch.command(configuration(options))
    sys.stdout.flush()
    os.execve(command[0], command, launch.environment())
