"""The supervisor's process: ``python -m rpc_magic.server CONFIG`` (JSON of `SupervisorConfig`).

Prints its URL as the first line on standard output. Exit status 2, with one sentence on standard error, when it
cannot start.
"""

from __future__ import annotations

import os
import socket
import sys


def _start_keeper() -> tuple[int, socket.socket]:
    """Start a keeper; the first one before anything else is loaded, as its template takes the longest."""
    mine, keepers = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    keepers.set_inheritable(True)
    argv = [sys.executable, "-P", "-m", "rpc_magic.worker.keeper", str(keepers.fileno()), sys.argv[1]]
    pid = os.posix_spawn(
        sys.executable, argv, os.environ, file_actions=[(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)]
    )
    keepers.close()
    return pid, mine


def main() -> int:
    """Run a supervisor; return its exit status."""
    if len(sys.argv) != 2:
        print("usage: rpc-magic serve --help", file=sys.stderr)  # noqa: T201 - a program's own words
        return 2
    keeper = _start_keeper() if '"sessions":true' in sys.argv[1] else None
    from rpc_magic.server.starting import run

    return run(sys.argv[1], keeper, _start_keeper)


if __name__ == "__main__":
    sys.exit(main())
