"""Keeping a session's variables when its server is told to end, and having them again in a session of the next one.

What is to be kept is bounded by a time and a size. All variables are tried together, so that what they share stays
shared; where that fails, each is tried alone, and those that can be kept are kept without the others. An alarm ends
what takes too long; code that lets no signal through is the supervisor's to end.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from IPython import get_ipython

from rpc_magic import serial
from rpc_magic.errors import TransferError
from rpc_magic.runtime.keptsessions import KeptRecord, calls_of, digest_of, remove, write_record
from rpc_magic.wire import internal
from rpc_magic.wire.frames import Buffer
from rpc_magic.worker.checkpoints import load, variables, write
from rpc_magic.worker.keptcalls import Calls, read_calls, write_calls

__all__ = ["keep", "keep_for", "restore"]

_PARTS = 3
"""Parts of the time: for all together, for each alone, and for those that are left together."""


class _TooLongError(KeyboardInterrupt):
    """The time is over; like Stop it passes through the serializer, which makes everything else its own error."""


def keep_for(request: internal.Keep, ticket: str, calls: Calls) -> internal.Kept:
    """Keep the session's variables as the supervisor wants it, and write the record that offers them.

    Args:
        request: what it wants.
        ticket: the session's, in hexadecimal.
        calls: those that have ended for nobody, and what they have said; see `Line.ended`.
    """
    file = Path(request.file)
    try:
        size, results = write_calls(calls_of(file), calls, request.limit)
        names, left = keep(file, request.seconds, request.limit - size)
        if names or left or calls:
            owner = digest_of(bytes.fromhex(ticket))
            now = time.time()
            told = {**left, **results}
            write_record(file, KeptRecord(request.session, owner, now, request.until, tuple(names), told))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is said
        return internal.Kept(0, 0, getattr(error, "strerror", None) or str(error))
    return internal.Kept(len(names), len(left), results=len(results))


def keep(file: Path, seconds: float, limit: int) -> tuple[list[str], dict[str, str]]:
    """Write the session's variables to a file. Main thread only; the session is at its end.

    Args:
        file: the file; its folder exists.
        seconds: for all of it.
        limit: bytes of the file.

    Returns:
        The names that were kept; and the others, each with the reason. There is no file when no name was kept.

    Raises:
        OSError: the file cannot be written.
    """
    shell: Any = get_ipython()
    names, buffers, left = _encode(variables(shell), shell.user_ns, seconds / _PARTS, limit)
    if names:
        write(file, buffers)
    return names, left


def restore(path: str) -> list[str]:
    """Set the variables that `keep` has written; return their names. It is done once, whether it succeeds or not.

    Raises:
        RpcMagicError: they cannot be loaded; the file stays where it is.
    """
    file = Path(path)
    remove(file, record_only=True)  # later it would set variables that are newer by then
    shell: Any = get_ipython()
    for label, said in read_calls(calls_of(file)):
        shell.readmit(label, said)
    calls_of(file).unlink(missing_ok=True)
    names = load(path) if file.exists() else []
    remove(file)
    return names


def _encode(
    values: dict[str, object], namespace: dict[str, Any], seconds: float, limit: int
) -> tuple[list[str], Sequence[Buffer], dict[str, str]]:
    with contextlib.suppress(TransferError, _TooLongError), _within(seconds):
        buffers = serial.encode(values, namespace=namespace, carry=False)
        if _size(buffers) <= limit:
            return list(values), buffers, {}
    sizes, left = _sizes(values, namespace, time.monotonic() + seconds)
    room = limit
    for name, size in sorted(sizes.items(), key=lambda item: item[1]):
        if size > room:
            left[name] = f"it has {size:,} bytes; with the others it is over the limit of {limit:,}"
            del sizes[name]
        else:
            room -= size
    kept = {name: value for name, value in values.items() if name in sizes}
    try:
        with _within(seconds):
            return list(kept), serial.encode(kept, namespace=namespace, carry=False), left
    except _TooLongError:
        return [], (), {**left, **dict.fromkeys(kept, "saving it takes too long")}


def _sizes(
    values: dict[str, object], namespace: dict[str, Any], deadline: float
) -> tuple[dict[str, int], dict[str, str]]:
    """Return the size of each variable, and why others have none; one may take half of the time that is left."""
    sizes: dict[str, int] = {}
    left: dict[str, str] = {}
    for name, value in values.items():
        try:
            with _within((deadline - time.monotonic()) / 2):
                sizes[name] = _size(serial.encode(value, namespace=namespace, carry=False, name=name))
        except TransferError as error:
            left[name] = str(error)
        except _TooLongError:
            left[name] = "saving it takes too long"
    return sizes, left


def _size(buffers: Sequence[Buffer]) -> int:
    return sum(memoryview(buffer).nbytes for buffer in buffers)


@contextlib.contextmanager
def _within(seconds: float) -> Iterator[None]:
    """End the block by `_TooLongError` when the time is over."""

    def ring(*_: object) -> None:
        raise _TooLongError

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
