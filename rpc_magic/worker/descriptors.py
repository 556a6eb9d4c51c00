"""What is written to a session's file descriptors 1 and 2: the keeper drains them, and here it is shown.

What a call has written is shown before the call ends: the status page counts what has been drained, so that most calls
need ask nobody.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import threading

from rpc_magic.transport import PacketSocket
from rpc_magic.wire import internal
from rpc_magic.worker.output import Outputs
from rpc_magic.worker.statuspage import StatusPage
from rpc_magic.worker.system import waiting_bytes

__all__ = ["Descriptors"]

_SYNC_SECONDS = 2.0
_LIBC = ctypes.CDLL(None)


class Descriptors:
    """See the module's text.

    Args:
        keeper: packet socket to the keeper.
        page: the status page.
        outputs: where it is shown.
    """

    def __init__(self, keeper: PacketSocket, page: StatusPage, outputs: Outputs) -> None:
        self._keeper, self._page, self._outputs = keeper, page, outputs
        self._seen_drained = 0
        self._syncs = itertools.count(1)
        self._synced = threading.Event()
        self._synced_number = 0

    def sync(self) -> None:
        """Main thread: wait until what the call has written is sent."""
        _LIBC.fflush(None)
        if self._page.drained() == self._seen_drained and not waiting_bytes(1) and not waiting_bytes(2):
            return
        number = next(self._syncs)
        self._synced.clear()
        self._seen_drained = self._page.drained()
        with contextlib.suppress(OSError):
            self._keeper.send(internal.SyncOutput(number))
            while self._synced_number < number and self._synced.wait(_SYNC_SECONDS):
                self._synced.clear()
        self._outputs.flush()
        self._seen_drained = self._page.drained()

    def synced(self, number: int) -> None:
        """Helper thread: all output up to `number` has been shown."""
        self._synced_number = number
        self._synced.set()

    def show(self, message: internal.Drained) -> None:
        """Helper thread: show what was written."""
        name = "stdout" if message.fd == 1 else "stderr"
        if message.dropped:
            self._outputs.write(name, f"\n[{message.dropped:,} bytes dropped]\n")
        self._outputs.write(name, message.data.decode("utf-8", "replace"))
