"""The command line: what it takes, and which module does it.

Exit status 2 and one sentence on standard error when what was asked for cannot be done.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NoReturn

from rpc_magic.errors import ConnectError, RpcMagicError
from rpc_magic.runtime.sizes import parse_size
from rpc_magic.settings import COUNTS, LIMITS

__all__ = ["main"]

_EXAMPLES = """\
examples:
  rpc-magic demo                              a notebook with remote cells, in JupyterLab
  rpc-magic demo --execute report.html        the same notebook without a screen, as a page
  rpc-magic serve --name lab                  a server; in a notebook: %rpc_connect lab
  rpc-magic serve --port 0                    the same on a free port
  rpc-magic sessions                          which servers run on this machine, and their sessions
  rpc-magic token lab                         where the token of the server named lab is
  rpc-magic known                             which servers on other machines are remembered
"""
_SERVE_EXAMPLES = """\
examples:
  rpc-magic serve                             on tcp://127.0.0.1:8000
  rpc-magic serve --port 0 --name gpu         on a free port, under a name
  rpc-magic serve --unix ~/rpc/lab.sock       on a Unix socket, in a folder that is yours alone
  rpc-magic serve --expose mymodule           with the public functions of mymodule.py callable by name
  rpc-magic serve --expose mymodule --no-sessions --arguments data
                                              nothing but those functions, on plain data: no code from clients
  rpc-magic serve --host 0.0.0.0              for other machines too, with TLS; connect to the URL that it prints
"""
_TOKEN_EXAMPLES = """\
examples:
  rpc-magic token lab                         where it is
  rpc-magic token lab --show                  print it, to be typed elsewhere
  rpc-magic token lab --rotate                replace it; the one before is good for another day
  rpc-magic token lab --rotate --keep 0       replace it at once, as when somebody has seen it
"""
_KNOWN_EXAMPLES = """\
examples:
  rpc-magic known                             all of them, with the fingerprints of their certificates
  rpc-magic known --forget lab                forget the one named lab, as when it was given a new key
  rpc-magic known --forget lab.example:8000   forget the one at an address
"""
_DEMO_EXAMPLES = """\
examples:
  rpc-magic demo                              the quickstart, in JupyterLab
  rpc-magic demo --notebook explore           sliders here, the data and the work there
  rpc-magic demo --notebook socket_rpc        plain socket RPC done right
  rpc-magic demo --execute report.html        run it here and now, and write the page
"""


_MOST = 10**9  # of what is counted; as seconds, thirty years


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"rpc-magic: {message}; see {self.prog} --help\n")


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"a port is a number from 0 to 65535, not {text!r}")
    return int(text)


def _count(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= _MOST:
        raise argparse.ArgumentTypeError(f"this is a whole number from 1 on, not {text!r}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0.0 <= seconds <= _MOST:  # nan is not either
        raise argparse.ArgumentTypeError(f"this is a number of seconds, 0 or more, not {text!r}")
    return seconds


def _lifetime(text: str) -> float:
    seconds = _seconds(text)
    if not seconds:
        raise argparse.ArgumentTypeError(f"this is a number of seconds, more than 0, not {text!r}")
    return seconds


def _size(text: str) -> int:
    try:
        size = parse_size(text)
    except ValueError:
        size = 0
    if not size:
        raise argparse.ArgumentTypeError(f"a size is a number with a unit, as 500MB or 8GB, not {text!r}")
    return size


def _limit(text: str) -> tuple[str, int]:
    name, _, value = text.partition("=")
    if name not in LIMITS:
        raise argparse.ArgumentTypeError(
            f"a limit is one of {', '.join(LIMITS)}, as message=8GB, not {text!r}"
        )
    return name, (_count if name in COUNTS else _size)(value)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="rpc-magic",
        description="Run notebook cells and functions on another machine as if they had run here.",
        epilog=_EXAMPLES,
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_serve(commands)
    _add_demo(commands)
    sessions = commands.add_parser("sessions", help="list this machine's servers and their sessions")
    sessions.set_defaults(module="listing")
    _add_token(commands)
    _add_known(commands)
    version = commands.add_parser("version", help="print the version")
    version.set_defaults(module="versions")
    return parser


def _add_serve(commands: argparse._SubParsersAction[_Parser]) -> None:
    serve = commands.add_parser(
        "serve",
        help="start a server on this machine",
        description="Start a server. The first line that it prints is its URL; Ctrl-C ends it.",
        epilog=_SERVE_EXAMPLES,
    )
    serve.set_defaults(module="serving")
    add = serve.add_argument
    add("--host", help="address to listen at, on this machine (default: 127.0.0.1)")
    add("--port", type=_port, help="port to listen at, 0 for a free one (default: 8000)")
    add(
        "--unix",
        metavar="PATH",
        help="listen on a Unix socket instead; its folder has mode 0700, a missing one is made",
    )
    add("--tls", action="store_true", help="use TLS at a loopback address too; beyond, it is always used")
    add("--no-tls", action="store_true", help="use no TLS; refused where other machines can connect")
    add(
        "--tls-cert",
        default="",
        metavar="F",
        help="a certificate of one's own (PEM) instead of one made here",
    )
    add("--tls-key", default="", metavar="F", help="its private key (PEM), if that is not in the same file")
    add("--name", default="", help="name by which clients on this machine find the server")
    add(
        "--expose",
        metavar="MODULE",
        nargs="+",
        action="extend",
        default=[],
        help="make the public functions of these modules callable by name",
    )
    add("--no-sessions", action="store_true", help="run exposed functions only, no code from clients")
    add(
        "--arguments",
        choices=("any", "data"),
        default="any",
        help="what exposed functions take: data is never unpickled",
    )
    add(
        "--threads",
        type=_count,
        default=1,
        metavar="N",
        help="exposed functions that run at once (default: 1)",
    )
    add("--token-file", default="", metavar="F", help="file of the token, 64 hexadecimal digits, mode 0600")
    add(
        "--cwd",
        default="",
        metavar="DIR",
        help="where sessions of other machines' clients start (default: home)",
    )
    add(
        "--memory-limit",
        type=_size,
        default=0,
        metavar="SIZE",
        help="memory that a session's processes may take, as 8GB; one that takes more is ended (default: none)",
    )
    add(
        "--limit",
        type=_limit,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="message (4GiB), calls (100000 that wait), output (1GiB kept for an absent client), "
        "connections (256), kept (1GiB of a session's variables, see --no-keep)",
    )
    add(
        "--max-sessions", type=_count, default=64, metavar="N", help="sessions at once, at most (default: 64)"
    )
    add(
        "--session-ttl",
        type=_lifetime,
        default=24 * 3600.0,
        metavar="SEC",
        help="a named session without a client ends when it was idle for so long (default: a day)",
    )
    add(
        "--stop-seconds",
        type=_seconds,
        default=5.0,
        metavar="SEC",
        help="running calls get so long when the server is told to end; told again it ends at once (default: 5)",
    )
    add(
        "--no-keep",
        action="store_true",
        help="told to end, do not save the sessions' variables to this user's state folder for the next start",
    )
    add(
        "--orphan-ttl",
        type=_seconds,
        default=600.0,
        metavar="SEC",
        help="when the server was killed, sessions wait so long for it to be started again (default: 10 minutes)",
    )


def _add_token(commands: argparse._SubParsersAction[_Parser]) -> None:
    token = commands.add_parser(
        "token",
        help="say where a server's token is, show it, or replace it",
        description="The token of a server on this machine. Whoever has it can run code there.",
        epilog=_TOKEN_EXAMPLES,
    )
    token.set_defaults(module="tokening")
    add = token.add_argument
    add("name", nargs="?", default="", help="the server; without it, those that have no name")
    add("--show", action="store_true", help="print the token")
    add("--rotate", action="store_true", help="replace it; running servers take the new one at once")
    add(
        "--keep",
        type=_seconds,
        default=24 * 3600.0,
        metavar="SEC",
        help="how long the one before is good as well (default: a day)",
    )
    add("--token-file", default="", metavar="F", help="the file, for a server that was started with one")


def _add_known(commands: argparse._SubParsersAction[_Parser]) -> None:
    known = commands.add_parser(
        "known",
        help="list the servers on other machines that are remembered, or forget one",
        description="The servers that were connected to by TLS. One whose certificate has changed is refused.",
        epilog=_KNOWN_EXAMPLES,
    )
    known.set_defaults(module="knowing")
    known.add_argument(
        "--forget",
        metavar="NAME-OR-ADDRESS",
        help="forget a server, with the token that was kept for it; the next connection is as the first one",
    )


def _add_demo(commands: argparse._SubParsersAction[_Parser]) -> None:
    demo = commands.add_parser(
        "demo",
        help="open a notebook with remote cells in JupyterLab, or run it without a screen",
        description="Open a fresh copy of a notebook whose cells run in another process.",
        epilog=_DEMO_EXAMPLES,
    )
    demo.set_defaults(module="demo")
    add = demo.add_argument
    add(
        "--notebook", default="quickstart", metavar="NAME", help="quickstart (default), explore or socket_rpc"
    )
    add("--execute", metavar="PAGE", help="run the notebook without a screen and write it as an HTML page")
    add("--port", type=_port, help="JupyterLab's port (default: 8888, or the next free one)")
    add("--no-browser", action="store_true", help="print JupyterLab's URL and open no browser")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``rpc-magic``; return its exit status.

    Args:
        arguments: of the command line, without the program's name; None takes this process's.
    """
    options = _parser().parse_args(arguments)
    try:
        status: int = import_module(f"rpc_magic.cli.{options.module}").run(options)
    except ConnectError as error:
        print(f"rpc-magic: {error.reason}. {error.hint}".strip(), file=sys.stderr)
        return 2
    except RpcMagicError as error:
        print(f"rpc-magic: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return status
