"""A session's variables in a file: what ``%rpc_save`` and ``%rpc_load`` call there.

The file is ``_MAGIC``, Python's minor version (zeros where any will do), the number of buffers, their lengths, and the
buffers as `rpc_magic.serial.encode` gives them for the dict of variables. Objects that variables share stay shared.
Loading runs code that the file names, as unpickling does.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from struct import Struct
from typing import Any

from IPython import get_ipython

from rpc_magic import serial
from rpc_magic.errors import RpcMagicError, TransferError
from rpc_magic.runtime.privatefiles import writing
from rpc_magic.wire.frames import Buffer

__all__ = ["load", "save", "variables", "write"]

_MAGIC = b"rpc_magic session 1\n"
_HEAD = Struct("<BBQ")
_LENGTH = Struct("<Q")
_ANY = (0, 0)
"""Stands for a Python version where the file holds no bytecode."""


def save(path: str) -> tuple[list[str], dict[str, str]]:
    """Write the session's variables to a new file, which then takes the place of an older one in one step.

    Args:
        path: the file, on the session's machine; relative to its folder.

    Returns:
        The names that were kept; and the others, each with the reason.

    Raises:
        RpcMagicError: the file cannot be written.
    """
    shell: Any = get_ipython()
    values, namespace = variables(shell), shell.user_ns
    left: dict[str, str] = {}
    try:
        version, buffers = _encode(values, namespace)
    except TransferError:
        for name, value in list(values.items()):
            try:
                serial.encode(value, namespace=namespace, carry=False, name=name)
            except TransferError as error:
                left[name] = str(error)
                del values[name]
        version, buffers = _encode(values, namespace)
    file = Path(path).expanduser()
    try:
        write(file, buffers, version)
    except OSError as error:
        raise RpcMagicError(f"the variables cannot be saved to {file}: {error.strerror or error}") from error
    return list(values), left


def _encode(values: dict[str, object], namespace: dict[str, Any]) -> tuple[tuple[int, int], Sequence[Buffer]]:
    """Encode variables for every Python version, which takes the source of each function; else for this one."""
    try:
        return _ANY, serial.encode(values, namespace=namespace, carry=False, code="source")
    except TransferError:
        return sys.version_info[:2], serial.encode(values, namespace=namespace, carry=False)


def variables(shell: Any) -> dict[str, object]:
    """Return the session's variables; without those that begin with an underscore, and the shell's own."""
    hidden = shell.user_ns_hidden
    return {
        name: value
        for name, value in list(shell.user_ns.items())
        if not name.startswith("_") and not (name in hidden and hidden[name] is value)
    }


def write(file: Path, buffers: Sequence[Buffer], version: tuple[int, int] = sys.version_info[:2]) -> None:
    """Write encoded variables to a new file, which then takes the place of an older one in one step.

    Args:
        file: the file.
        buffers: the variables.
        version: of the Python that can load them; `_ANY` where it does not matter.

    Raises:
        OSError: it cannot be written; what was there is as it was.
    """
    with writing(file) as out:
        views = [memoryview(buffer).cast("B") if len(buffer) else memoryview(b"") for buffer in buffers]
        out.write(_MAGIC + _HEAD.pack(*version, len(views)))
        out.write(b"".join(_LENGTH.pack(len(view)) for view in views))
        for view in views:
            out.write(view)
        out.flush()
        os.fsync(out.fileno())


def load(path: str) -> list[str]:
    """Set the variables that a file holds; return their names.

    Raises:
        RpcMagicError: the file cannot be read, is none of `save`'s, or is another Python version's.
    """
    file = Path(path).expanduser()
    try:
        buffers = _read(file)
    except OSError as error:
        raise RpcMagicError(f"{file} cannot be loaded: {error.strerror or error}") from error
    shell: Any = get_ipython()
    values = serial.decode(buffers, namespace=shell.user_ns)
    shell.user_ns.update(values)
    return list(values)


def _read(file: Path) -> list[bytearray]:
    with file.open("rb") as data:
        if data.read(len(_MAGIC)) != _MAGIC:
            raise RpcMagicError(f"{file} was not written by %rpc_save")
        head = data.read(_HEAD.size)
        if len(head) < _HEAD.size:
            raise RpcMagicError(f"{file} is cut short; save it again")
        major, minor, count = _HEAD.unpack(head)
        if (major, minor) not in {_ANY, sys.version_info[:2]}:
            raise RpcMagicError(
                f"{file} was saved by Python {major}.{minor}, this session runs "
                f"{sys.version_info[0]}.{sys.version_info[1]}, and a function in it has no source that this one could "
                "take: load it in a session of the same version"
            )
        rest = file.stat().st_size - data.tell()
        if count * _LENGTH.size > rest:
            raise RpcMagicError(f"{file} is cut short; save it again")
        lengths = [length for (length,) in _LENGTH.iter_unpack(data.read(count * _LENGTH.size))]
        if sum(lengths) + count * _LENGTH.size != rest:
            raise RpcMagicError(f"{file} is cut short; save it again")
        buffers = []
        for length in lengths:
            buffer = bytearray(length)
            data.readinto(buffer)
            buffers.append(buffer)
        return buffers
