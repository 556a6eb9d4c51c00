"""What lies in a session's spool file, as whoever comes after the session reads it. Pure: it is given a way to read.

The file has frames (protocol page, section 4) as they were to be sent, one after the other. Those with a number were
meant for the client that the session had then, and name its call; those without belong to calls whose client had gone,
and name the session's own call. Now and then there is a list of calls (`CallList` in a frame without number): of all
that had not ended then, by their numbers in the session. Its header's call is what the client's numbers have to be
raised by to be those of the session.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import NamedTuple

from rpc_magic.errors import ProtocolError
from rpc_magic.wire import messages
from rpc_magic.wire.frames import HEADER, MAGIC

__all__ = ["Spooled", "SpooledFrame", "scan"]

_LENGTHS = Struct(">Q")
_LIST = messages.encode(messages.CallList(()))[1]


class SpooledFrame(NamedTuple):
    """A frame of the file.

    Attributes:
        start, size: its first byte, and how many it has.
        call: in the session.
        number: 0 for what was said to no client.
        base: what its client's numbers have to be raised by.
        tag: its message's.
    """

    start: int
    size: int
    call: int
    number: int
    base: int
    tag: int


class Spooled(NamedTuple):
    """The frames of a file, in the order of the file, the calls that had not ended, and the last client's base."""

    frames: list[SpooledFrame]
    calls: tuple[messages.CallInfo, ...]
    base: int


def scan(read: Callable[[int, int], bytes], end: int) -> Spooled:
    """Find what is in a file of `end` bytes; `read` gives so many bytes from an offset. What is broken is left out."""
    found: list[tuple[int, SpooledFrame]] = []  # with the number of lists before it
    lists: list[tuple[int, tuple[messages.CallInfo, ...]]] = []
    at = 0
    while at + HEADER.size <= end:
        magic, _, _, length, call, number, _, count, _ = HEADER.unpack(read(at, HEADER.size))
        message = at + HEADER.size
        if magic != MAGIC or length < 2 or message + length + count * _LENGTHS.size > end:
            break
        table = read(message + length, count * _LENGTHS.size)
        size = HEADER.size + length + len(table) + sum(one for (one,) in _LENGTHS.iter_unpack(table))
        if at + size > end:
            break
        tag = read(message, 2)[1]
        if not number and tag == _LIST:
            try:
                told = messages.decode_answer(read(message, length))
            except ProtocolError:
                break
            assert isinstance(told, messages.CallList)
            lists.append((call, told.calls))
        else:
            found.append((len(lists), SpooledFrame(at, size, call, number, 0, tag)))
        at += size
    if not lists:
        return Spooled([], (), 0)
    frames: list[SpooledFrame] = []
    for before, one in found:
        base = lists[max(0, before - 1)][0]  # of the list before it; before the first one, of that
        frames.append(one._replace(call=one.call + base if one.number else one.call, base=base))
    return Spooled(frames, lists[-1][1], lists[-1][0])
