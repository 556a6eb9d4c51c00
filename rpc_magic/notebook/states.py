"""States of values: equal states mean equal content, made of the same objects, as the ledger needs them."""

from __future__ import annotations

import types
from collections.abc import Hashable
from typing import Any, NamedTuple

import xxhash

from rpc_magic import serial
from rpc_magic.namespace import identities_within

__all__ = ["State", "is_immutable", "state_of"]

_SCALARS = frozenset({type(None), bool, int, str, bytes})
_SHORT = 256
"""Characters or bytes of text that is its own state; of longer text the digest is kept, not the text."""


class State(NamedTuple):
    """A value's state.

    Attributes:
        key: stands for the content.
        size: bytes that it has when it is sent, about.
    """

    key: Hashable
    size: int


def is_immutable(value: object) -> bool:
    """Tell whether a value never changes, so that sharing it between names means nothing."""
    kind = type(value)
    return kind in _SCALARS or kind in (float, complex) or kind is types.ModuleType


def state_of(value: Any, namespace: dict[str, Any], name: str = "") -> State:
    """Return the state of a value.

    Args:
        value: anything.
        namespace: the notebook's variables; the globals that functions refer to there are no part of their state.
        name: the variable's, for errors.

    Raises:
        TransferError: it cannot travel.
    """
    kind = type(value)
    if kind in _SCALARS and (kind not in (str, bytes) or len(value) <= _SHORT):
        return State((kind, value), 16)
    if kind is float:
        return State((kind, value.hex()), 16)
    if kind is types.ModuleType:
        return State((kind, value.__name__), 16)
    buffers = serial.encode(value, namespace=namespace, carry=False, name=name)
    digest = xxhash.xxh3_128()
    size = 0
    for buffer in buffers:
        count = memoryview(buffer).nbytes
        size += count
        digest.update(count.to_bytes(8, "little"))
        digest.update(buffer)
    return State((kind.__name__, digest.digest(), identities_within(value)), size)
