"""Cheap facts about values: whether they may return at once, what to show of one that stays elsewhere."""

from __future__ import annotations

import importlib.util
import pickle
import sys
import types
from typing import Any, NamedTuple

__all__ = ["Description", "describe", "describe_variables", "head_html", "is_eager", "python_tag"]

_SCALARS = frozenset({bool, int, float, type(None)})
_TEXTS = frozenset({str, bytes})
_CONTAINERS = frozenset({list, tuple, set, frozenset})

_PREVIEW_LENGTH = 80
"""Characters; one line in a notebook."""

_PREVIEW_ITEMS = 20
"""Items of a container of which a preview is shown: of larger ones the `repr` may cost too much."""

_FIRST_ITEMS = 5
"""Items of an array that a preview shows."""


_VARIABLES = 2000
"""Variables that are described at once; people read no more, and a page takes no more."""


def is_eager(obj: object, limit: int = 1 << 20) -> bool:  # one loop, and speed matters
    """Tell whether a value is plain and small, so that it travels without being asked for.

    Args:
        obj: the value.
        limit: bytes that it may have when pickled.

    Returns: Whether it is made of None, bool, int, float, str, bytes, list, tuple, dict, set and frozenset
        only (no subclasses) and small enough. Takes time in proportion to `limit` at most.
    """
    waiting: list[Any] = [obj]
    least = most = 0
    ceiling = 2 * limit + 64  # items of containers are counted twice
    while waiting:
        item = waiting.pop()
        kind = type(item)
        most += 16
        least += 1
        if kind in _SCALARS:
            if kind is int:
                most += item.bit_length() >> 3
                least += item.bit_length() >> 4
        elif kind in _TEXTS:
            most += len(item) * (4 if kind is str else 1)
        elif kind in _CONTAINERS:
            least += len(item)
            if least <= ceiling:
                waiting.extend(item)
        elif kind is dict:
            least += 2 * len(item)
            if least <= ceiling:
                waiting.extend(item)
                waiting.extend(item.values())
        else:
            return False
        if least > ceiling or (kind in _TEXTS and len(item) > limit):
            return False
    if most <= limit:
        return True
    try:
        return len(pickle.dumps(obj, 5)) <= limit
    except RecursionError:
        return False


class Description(NamedTuple):
    """What is shown of a value without fetching it.

    Attributes:
        type_name: its type, as "pandas.DataFrame".
        size: bytes that it takes, -1 when that is not cheaply known.
        extent: how large it is in its own terms, as "336776 rows x 19 columns" (with a
            multiplication sign); may be empty.
        preview: one line of its `repr`, for small plain values; the first items of an array or a column, the columns
            of a table; may be empty.
    """

    type_name: str
    size: int
    extent: str
    preview: str


def describe(obj: object) -> Description:
    """Return cheap facts about a value; never raises, never makes the `repr` of something large.

    Args:
        obj: any object.
    """
    facts: list[Any] = ["object", -1, "", ""]
    for index, finder in enumerate((_type_name, _size, _extent, _preview)):
        try:
            facts[index] = finder(obj)
        except Exception:  # noqa: BLE001  # a value's own code may raise anything; the other facts stand
            continue
    return Description(*facts)


def describe_variables(hidden: tuple[str, ...]) -> dict[str, tuple[Any, ...]]:
    """Return facts about this process's variables; a session is asked for its own by calling this there.

    Args:
        hidden: names that are not the user's.
    """
    namespace = sys.modules["__main__"].__dict__
    return {
        name: tuple(describe(value))
        for name, value in list(namespace.items())[:_VARIABLES]
        if not name.startswith("_") and name not in hidden and not isinstance(value, types.ModuleType)
    }


def head_html(obj: Any) -> str:
    """Return the first rows of a table as HTML; empty for an object that has none to show."""
    head = getattr(obj, "head", None)
    text = getattr(head(), "_repr_html_", str)() if callable(head) else ""
    return text if isinstance(text, str) else ""


def _type_name(obj: Any) -> str:
    kind = type(obj)
    module = kind.__module__
    if not isinstance(module, str) or module in ("builtins", "__main__"):
        return kind.__qualname__
    public = module.partition(".")[0]
    if getattr(sys.modules.get(public), kind.__name__, None) is kind:
        return f"{public}.{kind.__qualname__}"
    return f"{module}.{kind.__qualname__}"


def _is_from(obj: Any, package: str) -> bool:
    return str(type(obj).__module__).partition(".")[0] == package


def _size(obj: Any) -> int:
    if isinstance(obj, (str, bytes, bytearray)):
        return len(obj)
    if isinstance(obj, memoryview):
        return obj.nbytes
    if _is_from(obj, "pandas"):
        usage = obj.memory_usage(index=True, deep=False)
        return int(usage.sum()) if hasattr(usage, "sum") else int(usage)
    if _is_from(obj, "polars") and hasattr(obj, "estimated_size"):
        return int(obj.estimated_size())
    nbytes = getattr(obj, "nbytes", None) if _has_arrays(obj) else None
    return nbytes if isinstance(nbytes, int) and not isinstance(nbytes, bool) else -1


def _has_arrays(obj: Any) -> bool:
    return any(_is_from(obj, package) for package in ("numpy", "pyarrow", "torch", "jax", "cupy", "xarray"))


def _extent(obj: Any) -> str:
    shape = getattr(obj, "shape", None)
    if isinstance(shape, tuple) and all(isinstance(n, int) for n in shape):
        is_table = hasattr(obj, "columns") or _is_from(obj, "pyarrow")
        if is_table and len(shape) == 2:
            return f"{shape[0]} rows \N{MULTIPLICATION SIGN} {shape[1]} columns"
        if len(shape) == 1 and (_is_from(obj, "pandas") or _is_from(obj, "polars")):
            return f"{shape[0]} rows {obj.dtype}"
        return f"shape {shape} {getattr(obj, 'dtype', '')}".rstrip()
    if isinstance(obj, (types.ModuleType, type)):
        return ""
    length = getattr(type(obj), "__len__", None)
    return f"len {length(obj)}" if length is not None else ""


def _preview(obj: Any) -> str:
    kind = type(obj)
    if kind is int and obj.bit_length() > 256:
        return ""
    if kind in _TEXTS:
        return _cut(repr(obj[:_PREVIEW_LENGTH]))
    if kind in _SCALARS or kind is complex or is_eager(obj, 4096):
        items = len(obj) if hasattr(obj, "__len__") else 0
        return _cut(repr(obj)) if items <= _PREVIEW_ITEMS else ""
    if isinstance(obj, (types.FunctionType, types.BuiltinFunctionType, type)):
        return _cut(f"{'class' if isinstance(obj, type) else 'function'} {obj.__qualname__}")
    if _is_from(obj, "pandas") or _is_from(obj, "polars") or _is_from(obj, "numpy"):
        return _cut(_first_of(obj))
    return ""


def _first_of(obj: Any) -> str:
    """Return the names of a table's columns, or the first items of a column or an array."""
    kind = type(obj).__name__
    if kind == "DataFrame":
        return _listed([str(column) for column in obj.columns[: _PREVIEW_ITEMS + 1]])
    if kind == "Series":
        items = obj.head(_FIRST_ITEMS + 1).to_list()
    elif kind == "ndarray" and obj.ndim and obj.dtype.kind in "biufcmMSU":
        items = obj.flat[: _FIRST_ITEMS + 1].tolist()
    else:
        return ""
    words = [repr(item) for item in items if is_eager(item, 4096)]
    return f"[{_listed(words, _FIRST_ITEMS)}]" if words and len(words) == len(items) else ""


def _listed(words: list[str], most: int = _PREVIEW_ITEMS) -> str:
    return ", ".join([*words[:most], *(["…"] if len(words) > most else [])])


def _cut(text: str) -> str:
    line = text.replace("\n", " ")
    return line if len(line) <= _PREVIEW_LENGTH else line[: _PREVIEW_LENGTH - 1] + "…"


def python_tag() -> tuple[int, int, int]:
    """Return what must be equal for bytecode to travel: major and minor version, bytecode magic number."""
    magic = int.from_bytes(importlib.util.MAGIC_NUMBER, "little")
    return sys.version_info.major, sys.version_info.minor, magic
