"""``rpc-magic known``: the servers on other machines that are remembered, and forgetting one."""

from __future__ import annotations

import argparse

from rpc_magic.cli.tables import as_table
from rpc_magic.errors import RpcMagicError
from rpc_magic.runtime import known
from rpc_magic.runtime.addresses import parse_address

__all__ = ["run"]

_TITLES = ("NAME", "ADDRESS", "FINGERPRINT", "TOKEN FILE")


def _row(server: known.KnownServer) -> tuple[str, ...]:
    address = parse_address(server.url)
    return server.name, address.place, address.fingerprint, server.token_file


def run(options: argparse.Namespace) -> int:
    """Print a table, or forget one."""
    if options.forget is not None:
        _forget(options.forget)
        return 0
    servers = known.all_known()
    if not servers:
        print("No server is remembered; those that use TLS are, once they were connected to.")
        return 0
    print(as_table([_TITLES, *map(_row, servers)]))
    return 0


def _forget(which: str) -> None:
    try:
        gone = known.forget(which)
    except OSError as error:
        raise RpcMagicError(f"{which} cannot be forgotten: {error.strerror or error}") from error
    if not gone:
        raise RpcMagicError(
            f"no server of the name or address {which!r} is remembered; see which are: rpc-magic known"
        )
    for server in gone:
        address = parse_address(server.url)
        title = f"{server.name} ({address.place})" if server.name else address.place
        print(f"Forgotten: {title}, whose certificate had the fingerprint {address.fingerprint}.")
