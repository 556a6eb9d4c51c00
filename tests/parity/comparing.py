"""Compares what a cell showed in two plain runs and in a remote one.

What a cell shows is taken apart: its two streams, each MIME type of each display and result, the order of these, and
its error. A part that differs between the two plain runs is excluded. A cell that has no other part is not compared;
one that shows nothing in all runs is equal.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Comparison", "Difference", "compare", "parts_of_cell"]

_COLOURS = re.compile(r"\x1b\[[\d;]*m")
_CELL_FILE = re.compile(r"/\S*/ipykernel_\d+/(\d+\.py)(?::\d+)?")
_TIMED = re.compile(
    r"[\d.]+ (?:[nmuµμ]?s) ± [\d.]+ (?:[nmuµμ]?s)(?= per loop)"
)  # two plain runs may take as long
_SYNTAX_LINE = re.compile(r"(?<=line )\d+")
_OF_SYNTAX = {"SyntaxError", "IndentationError", "TabError"}
"""Errors whose text has a line's number, which the magic's own line moves."""
_ARROW = re.compile(r"^-+>\s*(?:\d+)?\s?(.*)$", re.MULTILINE)

Parts = Mapping[str, Any]


@dataclass(frozen=True)
class Difference:
    """A part of a cell that is not the same remotely; None stands for a part that is not there."""

    part: str
    plain: Any
    remote: Any


@dataclass(frozen=True)
class Comparison:
    """How a cell compares.

    Attributes:
        compared: names of the parts that are the same in both plain runs.
        excluded: names of those that are not.
        differences: what is not the same remotely.
    """

    compared: tuple[str, ...]
    excluded: tuple[str, ...]
    differences: tuple[Difference, ...]

    @property
    def status(self) -> str:
        """``equal``, ``differs``, or ``excluded`` where nothing could be compared."""
        if self.differences:
            return "differs"
        return "equal" if self.compared else "excluded"


def parts_of_cell(outputs: list[Any]) -> dict[str, Any]:
    """Return what a cell showed, by part.

    Args:
        outputs: of the cell, as a notebook file has them.
    """
    parts: dict[str, Any] = {}
    order: list[str] = []
    shown = 0
    for output in outputs:
        kind = output["output_type"]
        if kind == "stream":
            name = output["name"]
            parts[name] = parts.get(name, "") + _without_chance(output["text"])
        elif kind == "error":
            parts["error"] = _error(output)
        else:
            shown += 1
            for mime, data in output["data"].items():
                parts[f"{shown} {mime}"] = _without_chance(data) if isinstance(data, str) else data
        if kind != "stream" or (output["name"] == "stdout" and order[-1:] != ["stdout"]):
            order.append(kind if kind != "stream" else "stdout")
    parts["order"] = order
    return parts


def _error(output: Any) -> dict[str, Any]:
    text = _COLOURS.sub("", "\n".join(output["traceback"]))
    value = _without_chance(output["evalue"])
    if output["ename"] in _OF_SYNTAX:
        value = _SYNTAX_LINE.sub("", value)
    return {"name": output["ename"], "value": value, "lines": _ARROW.findall(text)}


def _without_chance(text: str) -> str:
    """Take out of cells' names the process's number, and the line in the cell, which the magic's own line moves.

    What `%timeit` has measured is taken out as well.
    """
    return _TIMED.sub("some time", _CELL_FILE.sub(r"\1", text))


def compare(first: list[Any], second: list[Any], remote: list[Any]) -> Comparison:
    """Compare a cell's outputs in two plain runs and a remote one."""
    one, two, there = map(parts_of_cell, (first, second, remote))
    compared, excluded, differences = [], [], []
    for part in dict.fromkeys((*one, *two, *there)):
        if one.get(part) != two.get(part):
            excluded.append(part)
            continue
        compared.append(part)
        if not _is_same(part, one.get(part), there.get(part)):
            differences.append(Difference(part, one.get(part), there.get(part)))
    return Comparison(tuple(compared), tuple(excluded), tuple(differences))


def _is_same(part: str, plain: Any, remote: Any) -> bool:
    """Tell whether a part is the same remotely; of a traceback, the lines of the plain one must be shown."""
    if part == "error" and plain is not None and remote is not None:
        same = plain["name"] == remote["name"] and plain["value"] == remote["value"]
        return same and set(plain["lines"]) <= set(remote["lines"])
    return bool(plain == remote)
