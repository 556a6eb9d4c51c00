"""The answer of a cell that has ended: which of its variables come back as values, and which stay in the session."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec

from rpc_magic import serial
from rpc_magic.errors import TransferError
from rpc_magic.namespace import parts_of, shared_groups
from rpc_magic.wire import messages
from rpc_magic.worker.cells import CellResult, render
from rpc_magic.worker.changes import TOGETHER, Changes
from rpc_magic.worker.shell import ZMQInteractiveShell
from rpc_magic.worker.values import Answer, Values

__all__ = ["answer_asked_for", "answer_automatic"]


def answer_automatic(
    result: CellResult, changes: Changes, values: Values, shell: ZMQInteractiveShell, limit: int
) -> Answer:
    """Return the answer of a cell whose changes all are told.

    Args:
        result: how it ended.
        changes: what it did to the variables.
        values: the session's.
        shell: it ran the cell.
        limit: bytes of a plain value up to which it comes back at once.
    """
    changed = changes.values
    eager = {name for name, value in changed.items() if serial.is_eager(value, limit)}
    firsts = _gathered(changed, eager, values, limit) if len(changed) > 1 else {}
    names: dict[str, object] = {}
    kept: dict[str, messages.ValueInfo] = {}
    seen: dict[int, str] = {}
    for name, value in changed.items():
        if name in eager:
            names[name] = value
        else:
            # Of several variables that share an object, the others name the first.
            first = firsts.get(name) or seen.setdefault(id(value), name)
            kept[name] = values.info(value, "" if first == name else f"={first}")
    done = _done(result, kept, limit)
    done = msgspec.structs.replace(
        done, deleted=changes.deleted, mutated=tuple(changes.mutated), mates=tuple(changes.mates)
    )
    return _answer(done, result, names, values, shell)


def answer_asked_for(
    result: CellResult,
    wanted: Mapping[str, object],
    values: Values,
    shell: ZMQInteractiveShell,
    limit: int,
) -> Answer:
    """Return the answer of a cell of which some variables are asked for: they come as values where they can travel."""
    names: dict[str, object] = {}
    kept: dict[str, messages.ValueInfo] = {}
    notes = []
    size = 0
    for name, value in wanted.items():
        try:
            own = sum(map(len, values.encode(value, name=name)))
        except TransferError as error:
            notes.append(f"{error}; it stays in the session")
            kept[name] = values.info(value)
            continue
        reason = values.over_limit(size + own)
        if reason:
            kept[name] = values.info(value, reason=values.over_limit(own) or f"with the others {reason}")
        else:
            size += own
            names[name] = value
    done = msgspec.structs.replace(_done(result, kept, limit), notes=tuple(notes))
    return _answer(done, result, names, values, shell, carry=True)


def _gathered(changed: Mapping[str, object], eager: set[str], values: Values, limit: int) -> dict[str, str]:
    """Take from `eager` what shares objects with what stays; return the first of its group for each that stays."""
    firsts: dict[str, str] = {}
    parts = {name: parts_of(value) for name, value in changed.items()}
    for group in shared_groups(parts, changed):
        if group <= eager:
            continue
        # All stay, to be fetched together; but what is small waits for nothing that is large or cannot travel.
        size = sum(parts[name].size for name in group)
        together: Collection[str] = group if size <= limit else group - eager
        if size <= TOGETHER and values.can_travel({name: changed[name] for name in together}):
            eager.difference_update(together)
            firsts.update(dict.fromkeys(together, min(together)))
    return firsts


def _done(result: CellResult, kept: dict[str, messages.ValueInfo], limit: int) -> messages.CellDone:
    return messages.CellDone(
        execution_count=result.execution_count,
        duration=0.0,
        error=result.record,
        has_value=result.has_value,
        value_here=result.has_value and serial.is_eager(result.value, limit),
        kept=kept,
        file=result.file,
    )


def _answer(
    done: messages.CellDone,
    result: CellResult,
    names: dict[str, object],
    values: Values,
    shell: ZMQInteractiveShell,
    *,
    carry: bool = False,
) -> Answer:
    if done.has_value and not done.value_here:
        shown = result.shown
        data, metadata = (shown.data, shown.metadata) if shown else render(shell, result.value)
        info = msgspec.structs.replace(values.keep(result.value), bundle=data, metadata=metadata)
        done = msgspec.structs.replace(done, value=info)
    value = result.value if done.value_here else None
    if values.is_plain:
        return _answer_plain(done, value, names, values)
    # An exception's buffers are data inside the cell's own, so that it can be refused without the rest.
    exception = [bytes(b) for b in values.encode_error(result.error)] if result.error else None
    payload = (exception or None, value, names)
    return done, serial.encode(payload, namespace=values.namespace, carry=carry, code=values.code)


def _answer_plain(done: messages.CellDone, value: object, names: dict[str, object], values: Values) -> Answer:
    """The same for a client that takes plain data only: what is none stays."""
    kept = dict(done.kept)
    for name, one in list(names.items()):
        try:
            serial.encode_plain(one)
        except TransferError as error:
            kept[name] = values.info(names.pop(name), reason=f"it is not plain data ({error})")
    return msgspec.structs.replace(done, kept=kept), serial.encode_plain((None, value, names))
