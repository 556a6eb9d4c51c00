"""``rpc-magic token``: where a server's token is, what it is, and another one in its place."""

from __future__ import annotations

import argparse
from pathlib import Path

from rpc_magic.errors import RpcMagicError
from rpc_magic.runtime import records, tokens

__all__ = ["run"]


def _path(options: argparse.Namespace) -> Path:
    if options.token_file:
        return Path(options.token_file).expanduser()
    record = records.find(options.name) if options.name else None
    if record is not None and record.token_file:
        return Path(record.token_file)
    path = tokens.token_path(records.check_name(options.name) if options.name else "")
    if not path.exists():
        start = f"rpc-magic serve --name {options.name}" if options.name else "rpc-magic serve"
        raise RpcMagicError(f"there is no token at {path} yet; the server makes it when it starts: {start}")
    return path


def run(options: argparse.Namespace) -> int:
    """Print where the token is, or the token itself when that is asked for."""
    path = _path(options)
    tokens.read_token(path)
    if options.rotate:
        try:
            tokens.rotate(path, options.keep)
        except OSError as error:
            raise RpcMagicError(
                f"the token in {path} cannot be replaced: {error.strerror or error}"
            ) from error
        before = f"for another {options.keep:g} s" if options.keep else "no longer"
        print(f"A new token is in {path}; the one before is good {before}.")
    elif not options.show:
        print(f"The token is in {path}; --show prints it.")
    if options.show:
        print(tokens.read_token(path).hex())
    return 0
