"""Finding the keepers of an earlier supervisor of this server, and taking them over with their sessions.

Each keeper waits at a Unix socket in the runtime folder (its *station*), whose name holds a digest of the server's
name, or of its address where it has none. All this happens before the first client is let in, so a client that comes
back finds its session in the table.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path

from rpc_magic.errors import ProtocolError
from rpc_magic.runtime.folders import runtime_folder, socket_path
from rpc_magic.runtime.launch import SupervisorConfig
from rpc_magic.transport.packets import PacketSocket, close_all
from rpc_magic.wire import internal

__all__ = ["TakenKeeper", "find_keepers", "identity", "station"]

log = logging.getLogger("rpc_magic.server")

_SECONDS = 5.0
"""For which a keeper is listened to before it is taken for hung."""


@dataclass(slots=True)
class TakenKeeper:
    """A keeper that was taken over, and what it has told.

    Attributes:
        packets: the packet socket to it.
        pid: of its process.
        url: the server's address when it was started.
        versions: of the packages in its template.
        living: its workers, each with the descriptors of its link and its status page.
        ended: how workers ended meanwhile, each with the descriptor of what it has left, -1 for nothing.
    """

    packets: PacketSocket
    pid: int = 0
    url: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    living: list[tuple[internal.Living, int, int]] = field(default_factory=list)
    ended: list[tuple[internal.Exited, int]] = field(default_factory=list)


def _pattern(identity: str) -> Path:
    digest = hashlib.sha256(f"{runtime_folder()}\0{identity}".encode()).hexdigest()[:16]
    return socket_path(f"keeper-{digest}")


def identity(config: SupervisorConfig, url: str) -> str:
    """Return by what a later supervisor is known to be the same server; `url` is where this one listens."""
    return config.name or url


def station(identity: str, pid: int) -> str:
    """Return where a keeper waits.

    Args:
        identity: the server's name, or its address where it has none.
        pid: the keeper's.
    """
    return f"{_pattern(identity)}-{pid}"


def find_keepers(identity: str) -> list[TakenKeeper]:
    """Take over all keepers that wait for a server of this name or address."""
    pattern = _pattern(identity)
    found = []
    for path in sorted(pattern.parent.glob(f"{pattern.name}-*")):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sock.settimeout(_SECONDS)
        try:
            sock.connect(str(path))
        except ConnectionRefusedError:
            sock.close()
            with contextlib.suppress(OSError):
                path.unlink()  # nobody waits there any more
            continue
        except OSError:
            sock.close()
            continue
        taken = _listen(TakenKeeper(PacketSocket(sock)))
        if taken is not None:
            found.append(taken)
    return found


def _listen(taken: TakenKeeper) -> TakenKeeper | None:
    """Take in what a keeper tells; None when it has another supervisor, or does not answer."""
    deadline = time.monotonic() + _SECONDS
    try:
        while taken.packets.wait(max(0.0, deadline - time.monotonic())):
            received = taken.packets.receive()
            if received is None:
                continue
            message, descriptors = received
            match message:
                case internal.KeeperReady(versions):
                    taken.versions = versions
                case internal.Living() if len(descriptors) == 2:
                    link, page = descriptors
                    taken.living.append((message, link, page))
                case internal.Exited():
                    taken.ended.append((message, descriptors[0] if descriptors else -1))
                case internal.Adopted(pid, url):
                    taken.pid, taken.url = pid, url
                    return taken
                case _:
                    close_all(descriptors)
    except EOFError:
        pass  # it has another supervisor, or ends just now
    except (OSError, ProtocolError) as error:
        log.warning("an earlier keeper could not be taken over: %s", error)
    for _, link, page in taken.living:
        close_all([link, page])
    close_all([spool for _, spool in taken.ended if spool >= 0])
    taken.packets.close()
    return None
