"""What a cell gave back, as a notebook and `Connection.run` need it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rpc_magic import serial
from rpc_magic.client.events import Event
from rpc_magic.client.loading import load
from rpc_magic.client.outcomes import exception_of, value_of
from rpc_magic.client.results import Result
from rpc_magic.client.values import RemoteValue
from rpc_magic.client.waiting import End
from rpc_magic.errors import ProtocolError
from rpc_magic.wire import messages
from rpc_magic.wire.frames import Buffer

if TYPE_CHECKING:
    from rpc_magic.client.connection import Connection

__all__ = ["Run", "collect"]


@dataclass(frozen=True)
class Run:
    """A cell that has ended.

    Attributes:
        result: what it gave; `result.outputs` holds the variables that came back as values.
        error: what it raised, or None.
        has_value: its last expression has a value.
        kept: variables that were bound or changed and stay there.
        deleted: variables it deleted.
        mutated: those of the others that were changed in place.
        mates: those of `mutated` that are as they were, and came because they share objects with others.
        notes: sentences for the user.
        file: the name under which the functions that it made know its text.
        surroundings: what it changed of what is around it, encoded.
    """

    result: Result
    error: BaseException | None = None
    has_value: bool = False
    kept: dict[str, RemoteValue] = field(default_factory=dict)
    deleted: tuple[str, ...] = ()
    mutated: frozenset[str] = frozenset()
    mates: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()
    file: str = ""
    surroundings: dict[str, bytes] = field(default_factory=dict)


def collect(
    end: End,
    shown: Iterable[Event],
    connection: Connection,
    namespace: dict[str, Any],
    *,
    is_plain_only: bool,
    is_future: bool = False,
) -> Run:
    """Return what a cell gave back; `is_future` as for `exception_of`.

    Raises:
        Exception: the variables to be set first could not be loaded there; the cell was not run.
        ProtocolError: the answer is none.
        TransferError: something cannot be loaded here.
    """
    done = end.outcome
    if isinstance(done, messages.Failed):
        raise exception_of(
            done.error, end.buffers, namespace, is_future=is_future, is_plain_only=is_plain_only
        )
    if not isinstance(done, messages.CellDone):
        value_of(done, end.buffers, namespace, is_plain_only=is_plain_only)
        raise ProtocolError(f"{type(done).__name__} is no answer to a cell")
    if is_plain_only:
        exception, value, names = _plain_parts(end.buffers)
    else:
        exception, value, names = load(end.buffers, namespace, "what the cell made")
    if done.has_value and not done.value_here and done.value is not None:
        value = connection.remote_value(done.value)
    error: BaseException | None = KeyboardInterrupt() if end.is_missed else None
    if done.error is not None:
        error = exception_of(
            done.error, exception or (), namespace, is_future=is_future, is_plain_only=is_plain_only
        )
    texts: dict[str, list[str]] = {"stdout": [], "stderr": []}
    display: list[dict[str, Any]] = []
    for message, _ in shown:
        match message:
            case messages.Stream(name, text):
                texts.setdefault(name, []).append(text)
            case messages.ShownError(_, _, lines):
                texts["stderr"].append("\n".join((*lines, "")))
            case messages.Display(data):
                display.append(data)
    result = Result(
        value=value,
        outputs=names,
        stdout="".join(texts["stdout"]),
        stderr="".join(texts["stderr"]),
        display=display,
        execution_count=done.execution_count,
        duration=done.duration,
    )
    return Run(
        result=result,
        error=error,
        has_value=done.has_value,
        kept={name: connection.remote_value(info, name) for name, info in done.kept.items()},
        deleted=done.deleted,
        mutated=frozenset(done.mutated),
        mates=frozenset(done.mates),
        notes=done.notes,
        file=done.file,
        surroundings={} if is_plain_only else done.surroundings,
    )


def _plain_parts(buffers: Sequence[Buffer]) -> tuple[None, Any, dict[str, Any]]:
    """Return value and variables out of the buffers of a server that is not trusted."""
    parts = serial.decode_plain(buffers)
    match parts:
        case (None, value, dict(names)) if isinstance(parts, tuple) and all(
            isinstance(name, str) for name in names
        ):
            return None, value, names
    raise ProtocolError("the server's answer to a cell is none")
