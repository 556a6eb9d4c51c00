"""From an outcome on the wire to a value or an exception here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rpc_magic import serial
from rpc_magic.client.loading import load
from rpc_magic.errors import (
    LimitError,
    MissingNameError,
    ProtocolError,
    RemoteError,
    RemoteExit,
    RemoteGeneratorExit,
    RemoteInterrupt,
    RemoteStopIteration,
    RpcMagicError,
    UnknownFunctionError,
)
from rpc_magic.wire import messages
from rpc_magic.wire.frames import Buffer

__all__ = ["RECORD", "exception_of", "value_of"]

RECORD = "__rpc_magic_record__"
"""Attribute of an exception that came from there: its `ErrorRecord`."""

_IN_FUTURES: dict[str, type[RemoteError]] = {
    "interrupt": RemoteInterrupt,
    "stop": RemoteStopIteration,
    "generator_exit": RemoteGeneratorExit,
}


def value_of(
    outcome: messages.Outcome,
    buffers: Sequence[Buffer],
    namespace: dict[str, Any],
    *,
    is_plain_only: bool = False,
) -> Any:
    """Return what a call returned.

    Args:
        outcome: `Returned`, or one of the refusals.
        buffers: its objects.
        namespace: this program's global namespace.
        is_plain_only: decode nothing but plain data.

    Raises:
        RpcMagicError: whatever the outcome says.
        TransferError: the value cannot be loaded here.
    """
    match outcome:
        case messages.Returned(plain):
            if not buffers:
                return None
            if plain:
                return serial.decode_plain(buffers)
            if is_plain_only:
                raise ProtocolError(
                    "the server sent objects where plain data was agreed upon; nothing was loaded"
                )
            return load(buffers, namespace)
        case messages.Missing(names):
            raise MissingNameError(names, "in the session")
        case messages.UnknownFunction(name, near, known):
            raise UnknownFunctionError(name, near, known)
        case messages.OverLimit(what, size, limit, unit, setting):
            raise LimitError(what, size, limit, unit, setting)
        case messages.Refused(reason):
            raise RpcMagicError(reason)
    raise ProtocolError(f"{type(outcome).__name__} is no answer to this request")


def exception_of(
    record: messages.ErrorRecord,
    buffers: Sequence[Buffer],
    namespace: dict[str, Any],
    *,
    is_future: bool = False,
    is_plain_only: bool = False,
) -> BaseException:
    """Return the exception that a call raised, as its own class where that is possible.

    Args:
        record: the exception as text.
        buffers: the exception itself, or none.
        namespace: this program's global namespace.
        is_future: it goes into a `Call`, which must not hold SystemExit, KeyboardInterrupt and their like.
        is_plain_only: load nothing; the exception is a `RemoteError`.
    """
    error: BaseException | None = None
    if buffers and not is_plain_only:
        try:
            loaded = serial.decode(buffers, namespace=namespace)
        except Exception:  # noqa: BLE001 - a class that is not here, or whose loading fails: the record remains
            loaded = None
        if isinstance(loaded, BaseException):
            error = loaded
    if record.kind == "exit":
        code = error.code if isinstance(error, SystemExit) else record.message or None
        error = RemoteExit(code, record.traceback)
    elif record.kind in _IN_FUTURES and is_future:
        error = _IN_FUTURES[record.kind](record.type_name, record.message, record.traceback)
    elif record.kind == "interrupt" and error is None:
        error = KeyboardInterrupt(record.message)
    elif error is None:
        error = RemoteError(record.type_name, record.message, record.traceback)
    return _marked(error, record)


def _marked(error: BaseException, record: messages.ErrorRecord) -> BaseException:
    """Give the exception the remote traceback: as a note for plain programs, as a record for notebooks."""
    try:
        setattr(error, RECORD, record)
        if record.traceback:
            error.add_note(f"\nThere it happened like this:\n\n{record.traceback.rstrip()}")
    except Exception:  # noqa: BLE001 - a class that takes no attributes still is the user's exception
        return error
    return error
