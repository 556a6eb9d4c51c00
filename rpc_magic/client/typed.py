"""Asking a person for a token: typed unseen, in no cell and in no history."""

from __future__ import annotations

import getpass
import sys

from rpc_magic.runtime.addresses import short_url
from rpc_magic.runtime.tokens import Token, parse_token

__all__ = ["ask_token"]


def ask_token(url: str, *, is_watched: bool = False) -> Token | None:
    """Return what somebody types as the token of a server; None where nobody can be asked.

    Args:
        url: the server's.
        is_watched: somebody may look at a notebook's page; else standard input must be a terminal.

    Raises:
        RpcMagicError: it is no token.
    """
    if not is_watched and (sys.stdin is None or not sys.stdin.isatty()):
        return None
    try:
        return parse_token(
            getpass.getpass(
                f"The token of {short_url(url)} (`rpc-magic token --show [NAME]` prints it there): "
            )
        )
    except (NotImplementedError, EOFError):  # as a kernel's whose front end, nbclient, has no place to type
        return None
