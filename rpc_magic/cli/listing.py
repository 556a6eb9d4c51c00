"""``rpc-magic sessions``: the servers of this user on this machine, and who uses them."""

from __future__ import annotations

import argparse
import datetime as dt
import secrets
import sys
import time
from collections.abc import Iterator

from rpc_magic.cli.tables import as_table
from rpc_magic.client.controlling import ControlLink
from rpc_magic.client.dialing import dial
from rpc_magic.client.locating import locate
from rpc_magic.errors import RpcMagicError
from rpc_magic.runtime import records
from rpc_magic.transport.iothread import IoThread
from rpc_magic.wire import control
from rpc_magic.wire.handshake import Role

__all__ = ["ask_sessions", "run"]

_SECONDS = 5.0
"""A server on this machine that has not answered by then is not well."""
_TITLES = ("SERVER", "URL", "SESSION", "STATE", "PROCESS", "AGE", "CLIENT")


def ask_sessions(record: records.ServerRecord) -> tuple[control.SessionInfo, ...]:
    """Ask a server for its sessions, without opening one.

    Raises:
        RpcMagicError: it does not answer, or would not have us.
    """
    place = locate(record.url, None, None)
    deadline = time.monotonic() + _SECONDS
    sock = dial(place.address, place.token, Role.CONTROL, secrets.token_bytes(16), deadline)
    io = IoThread()
    link = ControlLink(sock, record.url, io, lambda _: None, lambda: None, lambda: None)
    try:
        link.welcome(_SECONDS)
        answer = link.ask(control.ListSessions(), control.Sessions, _SECONDS)
        return answer.sessions if isinstance(answer, control.Sessions) else ()
    finally:
        link.close()
        io.end()
        io.join(1.0)


def _rows(record: records.ServerRecord) -> Iterator[tuple[str, ...]]:
    sessions = ask_sessions(record)
    for one in sessions:
        age = str(dt.timedelta(seconds=int(one.age)))
        yield record.name, record.url, one.name, one.state, str(one.pid), age, one.client
    if not sessions:
        yield record.name, record.url, "", "", "", "", ""


def run(_: argparse.Namespace) -> int:
    """Print a table; a server that does not answer is named on standard error, and makes the exit status 1."""
    servers = records.living()
    if not servers:
        print("No server of yours runs on this machine; start one with: rpc-magic serve")
        return 0
    rows: list[tuple[str, ...]] = [_TITLES]
    status = 0
    for record in servers:
        try:
            rows += _rows(record)
        except RpcMagicError as error:
            print(f"rpc-magic: {record.name}: {error}", file=sys.stderr)
            status = 1
    print(as_table(rows))
    return status
