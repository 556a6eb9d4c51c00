"""``rpc-magic serve``: this process becomes the supervisor."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import NoReturn

from rpc_magic.errors import RpcMagicError
from rpc_magic.runtime import launch, records, tokens
from rpc_magic.runtime.addresses import is_loopback, parse_address

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
    if stated := options.token_file or os.environ.get(tokens.TOKEN_FILE_VARIABLE):
        tokens.read_token(Path(stated).expanduser())
    _check_tls(options)
    return launch.SupervisorConfig(
        url=_url(options),
        tls_cert=_file(options.tls_cert),
        tls_key=_file(options.tls_key),
        name=options.name,
        token_file=_file(options.token_file),
        sessions=not options.no_sessions,
        plain_arguments=options.arguments == "data",
        expose=tuple(options.expose),
        threads=options.threads,
        cwd=_folder(options.cwd) if options.cwd else "",
        session_ttl=options.session_ttl,
        stop_seconds=options.stop_seconds,
        orphan_seconds=options.orphan_ttl,
        max_sessions=options.max_sessions,
        memory_limit=options.memory_limit,
        keep=not options.no_keep,
        limits=dict(options.limit),
    )


def _url(options: argparse.Namespace) -> str:
    if options.unix is not None:
        if options.host is not None or options.port is not None:
            raise RpcMagicError(
                "a server listens at a port or on a Unix socket; leave out --unix, or --host and --port"
            )
        return f"unix://{Path(options.unix).expanduser().absolute()}"
    host = options.host or _HOST
    is_beyond = not is_loopback(host)
    if options.no_tls and is_beyond:
        raise RpcMagicError(
            f"--no-tls: {host} can be reached from other machines, and a server that can uses TLS; leave out --no-tls, "
            f"or --host to listen at {_HOST}"
        )
    is_secure = is_beyond or options.tls or options.tls_cert
    place = f"{f'[{host}]' if ':' in host else host}:{_PORT if options.port is None else options.port}"
    return parse_address(f"{'rpc' if is_secure else 'tcp'}://{place}").url


def _check_tls(options: argparse.Namespace) -> None:
    """Check that what is said of TLS fits together."""
    has_own = options.tls_cert or options.tls_key
    if options.no_tls and (options.tls or has_own):
        raise RpcMagicError(
            "--no-tls goes with neither --tls nor --tls-cert and --tls-key; leave out one of them"
        )
    if options.tls_key and not options.tls_cert:
        raise RpcMagicError("--tls-key names the key of a certificate; name that too, with --tls-cert")
    if options.unix is not None and (options.tls or has_own):
        raise RpcMagicError(
            "a Unix socket does not leave this machine and needs no TLS; leave out --tls, or --unix"
        )


def _file(text: str) -> str:
    return str(Path(text).expanduser().resolve()) if text else ""


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
