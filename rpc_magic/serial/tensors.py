"""Storages of torch's tensors on the CPU: out-of-band, and one where tensors share one.

A tensor says itself how it is made of its storage. torch would write the storage with its own `save`, which
copies it a few times; here the storage's memory leaves as a buffer. A storage travels whole, also for a tensor
that shows a part of it: which other tensors will share it is not known when the first one is met.
"""

from __future__ import annotations

import pickle
import sys
from importlib import import_module
from typing import Any

from rpc_magic.serial.encoding import Encoding

__all__ = ["make_storage", "make_typed_storage", "reduce_storage", "reduce_typed_storage"]


def reduce_storage(_encoding: Encoding, storage: Any) -> Any:
    """The memory of a storage; elsewhere than in the CPU's memory torch knows better."""
    torch = sys.modules["torch"]
    if storage.device.type != "cpu" or "numpy" not in sys.modules:
        return NotImplemented
    shown = torch.empty(0, dtype=torch.uint8).set_(storage).numpy()
    return make_storage, (pickle.PickleBuffer(shown),)


def make_storage(data: Any) -> Any:
    """Make a storage on a buffer; stands in a stream.

    Args:
        data: its bytes; they are copied when they are read-only.
    """
    torch: Any = import_module("torch")
    view = memoryview(data)
    if not view.nbytes:
        return torch.UntypedStorage(0)
    return torch.frombuffer(bytearray(view) if view.readonly else data, dtype=torch.uint8).untyped_storage()


def reduce_typed_storage(_encoding: Encoding, storage: Any) -> Any:
    """A storage and the type of its items; torch makes a new such object whenever a tensor is asked."""
    return make_typed_storage, (storage._untyped_storage, storage.dtype)  # noqa: SLF001  # asking publicly warns


def make_typed_storage(storage: Any, kind: Any) -> Any:
    """Make a storage with a type of items; stands in a stream."""
    typed: Any = import_module("torch.storage").TypedStorage
    return typed(wrap_storage=storage, dtype=kind, _internal=True)
