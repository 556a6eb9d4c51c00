"""Random programs of cells over a few names, which share objects in every way that the namespace promises to keep.

Left out is what `docs/design.md`, section 4, says is not kept: generators, tuples that hold what is
changed, what is no variable of the notebook's, and attributes of a class that has lost its name.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import NamedTuple

__all__ = ["PLACES", "Cell", "first_cells", "program", "smaller"]

PLACES = ("local", "one", "two")

NAMES = (
    "i0",
    "i1",
    "l0",
    "l1",
    "l2",
    "d0",
    "d1",
    "s0",
    "s1",
    "o0",
    "o1",
    "o2",
    "a0",
    "a1",
    "t0",
    "C",
    "f0",
    "c0",
    "x0",
)

_CLASS = """
class C:
    n = 0
    shared = []
    keep = None
    def __init__(self, v): self.v = v; self.r = None
    def put(self, x): self.v = x; return self
    def bump(self): C.n += 1; self.v = C.n; return self
""".strip()

_CLOSURE = """
def make(box):
    def inc(): box.append(len(box)); return box
    return inc
""".strip()


class Cell(NamedTuple):
    """One cell.

    Attributes:
        place: where it runs.
        lines: its statements.
        observed: names that are observed at its end.
    """

    place: str
    lines: tuple[str, ...]
    observed: tuple[str, ...]

    @property
    def text(self) -> str:
        """The cell as it is run plainly."""
        lines = list(self.lines)
        if self.observed:
            names = ", ".join(f"{name}=lambda: {name}" for name in self.observed)
            lines.append(f"__import__('mixed_observe').observe({names})")
        lines.append("None")  # no result: its number would differ
        return "\n".join(lines)

    @property
    def placed(self) -> str:
        """The cell as it is run where it belongs."""
        return self.text if self.place == "local" else f"%%rpc_call -s {self.place}\n{self.text}"


def first_cells() -> list[str]:
    """Return the statements with which each program begins."""
    return [
        "import numpy as np\nimport pandas as pd",
        _CLASS,
        "i0, i1 = 0, 1",
        "l0, l1, l2 = [], [1], [2]",
        "d0, d1 = {}, {'x': 1}",
        "s0, s1 = {1}, {2}",
        "o0, o1, o2 = C(0), C(1), C(2)",
        "a0, a1 = np.arange(3), np.zeros(2)",
        "t0 = pd.DataFrame({'a': [1, 2]})",
        "def f0(x=0):\n    global i0\n    i0 += 1; l0.append(i0); return l0",
        f"{_CLOSURE}\nc0 = make(l1)",
    ]


def program(rng: random.Random, length: int) -> list[Cell]:
    """Return a random program."""
    maker = _Statements(rng)
    firsts = first_cells()
    cells = []
    while firsts:
        count = rng.choice((1, 4, 11))
        cells.append(Cell(rng.choice(PLACES), tuple(firsts[:count]), ()))
        firsts = firsts[count:]
    places = rng.choice((PLACES, ("local", "one"), ("one", "local", "local"), ("one", "two")))
    for _ in range(length):
        lines = tuple(maker.statement() for _ in range(rng.choice((1, 1, 2, 3))))
        count = rng.choice((0, 1, 2, 4, len(NAMES)))
        cells.append(
            Cell(rng.choice(places), lines, tuple(sorted(rng.sample(NAMES, count), key=NAMES.index)))
        )
    cells.append(Cell("local", (), NAMES))
    return cells


class _Statements:
    """Makes statements."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._redefines = rng.random() < 0.5
        self._kinds: list[Callable[[], str]] = [
            *[self._on_list, self._on_instance, self._on_dict] * 3,
            *[self._alias, self._through, self._out_of] * 2,
            *(self._on_number, self._on_set, self._on_array, self._on_frame, self._on_function),
            *(self._on_closure, self._on_class, self._on_names),
        ]

    def statement(self) -> str:
        return self._rng.choice(self._kinds)()

    def _one(self, kind: str) -> str:
        return self._rng.choice([name for name in NAMES if name[0] == kind])

    def _number(self) -> str:
        return self._rng.choice([str(self._rng.randrange(10)), "i0", "i1"])

    def _item(self) -> str:
        kinds = "lldooaxtsc"
        made = [f"[{self._number()}]", f"C({self._number()})", f"{{'x': {self._number()}}}", self._number()]
        return self._rng.choice([*(self._one(kind) for kind in kinds), *made])

    def _pick(self, *texts: str) -> str:
        return self._rng.choice(texts)

    def _alias(self) -> str:
        kind = self._rng.choice("ldosat")
        return f"{self._one(kind)} = {self._one(kind)}"

    def _on_number(self) -> str:
        a, b = self._one("i"), self._number()
        return self._pick(f"{a} += {b}", f"{a} = {b}", f"{a} = len({self._one('l')})", f"i0, i1 = i1, {b}")

    def _on_list(self) -> str:
        a, item = self._one("l"), self._item()
        return self._pick(
            f"{a}.append({item})",
            f"{a}.append({item})",
            f"{a}.append({item})",
            f"{a} = [{item}, {self._item()}]",
            f"{a}.pop()",
            f"{a}.clear()",
            f"{a}[0] = {item}",
            f"{a}.reverse()",
            f"{a} = {a} + [{item}]",
            f"{a} += [{item}]",
            f"{a}[:] = {self._one('l')}",
        )

    def _on_dict(self) -> str:
        a, item = self._one("d"), self._item()
        return self._pick(
            f"{a}['x'] = {item}",
            f"{a}['y'] = {item}",
            f"{a} = {{'x': {item}, 'z': {self._item()}}}",
            f"{a}.pop('x', None)",
            f"{a}.update(y={item})",
            f"{a}.clear()",
            f"{a}['x'], {a}['y'] = {a}['y'], {item}",
        )

    def _on_set(self) -> str:
        a, n = self._one("s"), self._number()
        return self._pick(f"{a}.add({n})", f"{a}.discard({n})", f"{a} = {{{n}}}", f"{a} |= {{{n}}}")

    def _on_instance(self) -> str:
        a, item = self._one("o"), self._item()
        return self._pick(
            f"{a}.v = {item}",
            f"{a}.r = {item}",
            f"{a}.r = {self._one('o')}",
            f"{a} = C({item})",
            f"{a}.put({item})",
            f"{a}.bump()",
            f"{a}.r.v = {item}",
            f"del {a}.r",
            f"{a}.r = [{item}]",
            f"{a}.w = {a}.put",
            f"{a}.v.append(1)",
        )

    def _on_array(self) -> str:
        a, b, n = self._one("a"), self._one("a"), self._number()
        return self._pick(
            f"{a}[0] = {n}",
            f"{a} += 1",
            f"{a} = np.arange({n})",
            f"{a} = {a} * 2",
            f"{a} = {b}[::2]",
            f"{a} = {b}[1:]",
            f"{self._one('l')}.append({a}[::-1])",
            f"{self._one('o')}.v = {a}[:2]",
            f"{a}[1:] = {n}",
        )

    def _on_frame(self) -> str:
        n = self._number()
        return self._pick(f"t0['c'] = {n}", f"t0.loc[0, 'a'] = {n}", f"t0 = pd.DataFrame({{'a': [{n}, 1]}})")

    def _on_function(self) -> str:
        a, item = self._one("l"), self._item()
        return self._pick(
            "f0()",
            "x0 = f0()",
            f"def f0(x={item}):\n    global x0\n    x0 = x; d0['f'] = x; return d0",
            f"def f0(x=0):\n    {a}.append(i1); {self._one('o')}.v = {item}; return {self._one('o')}",
            f"def f0(x=0):\n    globals()['{self._one('l')}'] = {item}",
            f"{a} = [f0() for _ in range(2)]",
        )

    def _on_closure(self) -> str:
        return self._pick(
            "c0()", "x0 = c0()", f"c0 = make({self._one('l')})", f"{self._one('d')}['c'] = c0", "c0.note = x0"
        )

    def _on_class(self) -> str:
        if self._redefines:
            return _CLASS
        return self._pick(
            f"C.n = {self._number()}",
            f"C.shared.append({self._number()})",
            f"C.extra = {self._number()}",
            f"C.shared = {self._one('l')}",
            f"{self._one('l')} = C.shared",
            f"C.keep = {self._item()}",
            f"{self._one('o')} = C.keep",
            f"{self._one('o')}.r = C.shared",
            "C.put = lambda self, x: setattr(self, 'v', [x]) or self",
        )

    def _on_names(self) -> str:
        a = self._one(self._rng.choice("lds"))
        return self._pick(
            f"del {a}", f"globals()['{a}'] = {self._item()}", f"x0 = {self._item()}", f"{a} = {a}.copy()"
        )

    def _through(self) -> str:
        place = self._pick(
            f"{self._one('l')}[0]",
            f"{self._one('d')}['x']",
            f"{self._one('o')}.r",
            f"{self._one('o')}.v",
            "x0",
        )
        item = self._item()
        return self._pick(
            f"{place}.append({item})",
            f"{place}['x'] = {item}",
            f"{place}.v = {item}",
            f"{place}[0] = {self._number()}",
            f"{place}.put({item})",
            f"{place}.clear()",
        )

    def _out_of(self) -> str:
        a = self._rng.choice("ldox")
        place = self._pick(
            f"{self._one('l')}[0]",
            f"{self._one('d')}['x']",
            f"{self._one('o')}.r",
            f"{self._one('o')}.v",
            "x0",
        )
        return f"{self._one(a)} = {place}"


def smaller(cells: list[Cell]) -> Iterator[list[Cell]]:
    """Yield programs that are a step simpler: a cell less, a statement less, a name observed less, a plainer place."""
    size = max(1, len(cells) // 2)
    while size:
        for start in range(0, len(cells), size):
            yield cells[:start] + cells[start + size :]
        size //= 2
    for index, cell in enumerate(cells):
        less = [cell._replace(lines=cell.lines[:k] + cell.lines[k + 1 :]) for k in range(len(cell.lines))]
        less += [cell._replace(observed=())] if cell.observed else []
        less += [
            cell._replace(observed=cell.observed[:k] + cell.observed[k + 1 :])
            for k in range(len(cell.observed))
        ]
        less += [cell._replace(place=place) for place in PLACES[: PLACES.index(cell.place)]]
        for one in less:
            yield [*cells[:index], one, *cells[index + 1 :]]
