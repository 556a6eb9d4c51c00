"""Loading the objects of an answer, whose own code may fail here."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any

from rpc_magic import serial
from rpc_magic.errors import RpcMagicError, TransferError
from rpc_magic.wire.frames import Buffer

__all__ = ["load"]


def load(buffers: Sequence[Buffer], namespace: dict[str, Any], what: str = "the value") -> Any:
    """Return the object that buffers hold.

    Args:
        buffers: see `serial.decode`.
        namespace: this program's global namespace.
        what: the object, for messages.

    Raises:
        TransferError: code of its own failed; whatever that raised is the cause.
        ImportError: a library is not here.
        ProtocolError: the buffers are none of ours.
    """
    try:
        return serial.decode(buffers, namespace=namespace)
    except (ImportError, RpcMagicError, KeyboardInterrupt, MemoryError):
        raise
    except BaseException as error:
        reason = f"it came, and loading it here raised {type(error).__name__}: {error}"
        raise TransferError(what, _whose(error.__traceback__), reason) from error


def _whose(traceback: TracebackType | None) -> str:
    """Return the class, or the function, whose code failed while objects were loaded."""
    while traceback is not None and traceback.tb_frame.f_globals.get("__name__", "").startswith("rpc_magic."):
        traceback = traceback.tb_next
    if traceback is None:
        return "an object in it"  # it was no Python code
    frame = traceback.tb_frame
    return type(frame.f_locals["self"]).__name__ if "self" in frame.f_locals else frame.f_code.co_qualname
