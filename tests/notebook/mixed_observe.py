"""What a name holds, as text: values, and which objects are the same. Imported by the cells of `mixed_programs`."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

__all__ = ["observe"]

_ATOMS = (type(None), bool, int, float, str, bytes)


class _Text:
    """Writes values; an object that was met before is only named by its number."""

    def __init__(self) -> None:
        self._numbers: dict[int, int] = {}
        self._alive: list[Any] = []

    def of(self, value: Any) -> str:
        if isinstance(value, _ATOMS):
            return repr(value)
        if type(value) is tuple:
            return "(" + " ".join(map(self.of, value)) + ")"
        kind = type(value).__name__
        if kind not in {"ndarray", "DataFrame"} and type(value).__module__.startswith("numpy"):
            return repr(value.item())
        number = self._numbers.get(id(value))
        if number is not None:
            return f"#{number}"
        number = self._numbers[id(value)] = len(self._numbers)
        self._alive.append(value)
        return f"#{number}={self._content(value, kind)}"

    def _content(self, value: Any, kind: str) -> str:
        if isinstance(value, list):
            return "[" + " ".join(map(self.of, value)) + "]"
        if isinstance(value, dict):
            return "{" + " ".join(f"{key!r}: {self.of(item)}" for key, item in value.items()) + "}"
        if isinstance(value, set):
            return "{" + " ".join(sorted(map(repr, value))) + "}"
        if kind == "ndarray":
            return f"array({value.dtype}, {self.of(value.tolist()) if value.dtype != object else '?'})"
        if kind == "DataFrame":
            return f"frame({value.to_dict('list')})"
        if isinstance(value, types.FunctionType):
            cells = [self.of(cell.cell_contents) for cell in value.__closure__ or ()]
            return (
                f"function {value.__name__} {cells} {self.of(value.__defaults__)} {self.of(value.__dict__)}"
            )
        if isinstance(value, types.MethodType):
            return f"method {value.__name__} of {self.of(value.__self__)}"
        if isinstance(value, type):
            own = {k: v for k, v in sorted(vars(value).items()) if not k.startswith("_") and not callable(v)}
            return f"class {value.__name__} {self._content(own, 'dict')}"
        return f"{self.of(type(value))}({self._content(vars(value), 'dict')})"


def observe(**names: Callable[[], Any]) -> None:
    """Print what names hold; each is given as a function that returns it."""
    text = _Text()
    for name, value in names.items():
        try:
            print(name, text.of(value()))
        except NameError:
            print(name, "is not there")
