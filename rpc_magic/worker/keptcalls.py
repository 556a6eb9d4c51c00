"""What calls have said that ended for nobody, in a file: for the session that takes the place of this one.

The file is frames, as on a data connection: a `CallList` with what tells which calls they were, then what each has
said, in order, under its place in that list, from 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from rpc_magic.runtime.privatefiles import writing
from rpc_magic.settings import WireLimits
from rpc_magic.wire import messages
from rpc_magic.wire.frames import Buffer, FrameReader, encode_frame

__all__ = ["Calls", "read_calls", "write_calls"]

Calls = list[tuple[str, list[tuple[bytes, Sequence[Buffer]]]]]
"""What tells which call it was, and its messages, each with its buffers."""


def write_calls(file: Path, calls: Calls, limit: int) -> tuple[int, dict[str, str]]:
    """Write a file, of the calls that fit into `limit` bytes.

    Returns:
        Its size, 0 when there is none; and which results are left out, each with the reason.

    Raises:
        OSError: it cannot be written.
    """
    kept: Calls = []
    left: dict[str, str] = {}
    size = 0
    for place, (label, said) in enumerate(calls, 1):
        more = sum(len(message) + sum(map(len, buffers)) for message, buffers in said)
        if size + more <= limit:
            kept.append((label, said))
            size += more
        else:
            reason = f"it has {more:,} bytes; with the others it is over the limit of {limit:,}"
            left[f"result {place} of {len(calls)}, of {label!r}"] = reason
    if not kept:
        return 0, left
    listing = messages.CallList(
        tuple(messages.CallInfo(number, label, "ended") for number, (label, _) in enumerate(kept, 1))
    )
    with writing(file) as out:
        out.writelines(encode_frame(0, 1, 0, messages.encode(listing)))
        seq = 1
        for number, (_, said) in enumerate(kept, 1):
            for message, buffers in said:
                seq += 1
                out.writelines(encode_frame(number, seq, 0, message, buffers))
        return out.tell(), left


def read_calls(file: Path) -> Iterator[tuple[str, list[tuple[messages.Message, bytes, Sequence[Buffer]]]]]:
    """Return the calls that a file holds, each with its messages; none when there is no such file.

    Raises:
        OSError: it cannot be read.
        ProtocolError: it is none of `write_calls`'s.
    """
    if not file.exists():
        return
    reader = FrameReader(WireLimits())
    said: dict[int, list[tuple[messages.Message, bytes, Sequence[Buffer]]]] = {}
    listing: messages.Message | None = None
    with file.open("rb", buffering=0) as data:
        while count := data.readinto(reader.buffer_to_fill()):
            for frame in reader.filled(count):
                message = messages.decode_answer(frame.message)
                if listing is None:
                    listing = message
                else:
                    said.setdefault(frame.call, []).append((message, bytes(frame.message), frame.buffers))
    if isinstance(listing, messages.CallList):
        for one in listing.calls:
            yield one.label, said.get(one.number, [])
