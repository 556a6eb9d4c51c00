"""Taking over what a session of this name had spooled before it died, as calls whose client has gone."""

from __future__ import annotations

import os
from collections.abc import Sequence

from rpc_magic.errors import ProtocolError
from rpc_magic.wire import messages
from rpc_magic.wire.frames import Buffer
from rpc_magic.wire.spooled import scan
from rpc_magic.worker.backlog import Backlog
from rpc_magic.worker.spool import Place, read_frame

__all__ = ["inherit"]


def inherit(backlog: Backlog, spool: int, death: tuple[messages.Failed, Sequence[Buffer]]) -> None:
    """Give a fresh session's backlog the calls of one that has died.

    Args:
        backlog: no client has been there yet.
        spool: descriptor of what the other session has left; it is closed.
        death: how the calls end that had not ended.
    """
    with os.fdopen(spool, "rb") as file:

        def read(at: int, size: int) -> bytes:
            return os.pread(file.fileno(), size, at)

        spooled = scan(read, os.fstat(spool).st_size)
        # By the numbers there, those here: below all clients', whose numbers begin anew.
        going_on = {one.number: backlog.calls.inherit(one.label) for one in spooled.calls}
        # What was numbered was said before the client left, and the largest was written first.
        for frame in sorted(spooled.frames, key=lambda frame: (not frame.number, frame.number)):
            call = going_on.get(frame.call)
            if call is not None and _take(backlog, call, spool, Place(frame.start, frame.size)):
                del going_on[frame.call]
    failed, buffers = death
    for call in sorted(going_on.values()):
        backlog.leave(call, messages.encode(failed), buffers, is_output=False, is_end=True)
    backlog.list_calls()


def _take(backlog: Backlog, call: int, spool: int, place: Place) -> bool:
    """Keep what a call has said; True when that was its end."""
    try:
        frame = read_frame(spool, place)
        message = messages.decode_answer(frame.message)
    except (OSError, ProtocolError):
        return False
    is_end = isinstance(message, messages.Outcome)
    if is_end or (isinstance(message, messages.Output) and not isinstance(message, messages.InputRequest)):
        backlog.leave(call, frame.message, frame.buffers, is_output=not is_end, is_end=is_end)
    return is_end
